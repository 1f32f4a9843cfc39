//! In which direction, and after what, each equation runs.
//!
//! A layer without `reverse` states runs in one pass from the first step to the last. With them, groups of states
//! run one after the other, each in its own direction, and the values that a later pass needs are kept for all
//! steps. In: an [`ir::Layer`](crate::ir::Layer). Out: its passes, in the order in which they run.
//!
//! Definitions that depend on no state and no delay are repeated in every pass that needs them; all others run in
//! exactly one. Delays live in the first pass, which always runs forward.

use crate::ir::{Layer, StateId, ValueId, ValueKind};

/// One run over a sequence.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Pass {
    /// Whether it runs from the last step to the first.
    pub reverse: bool,
    /// The states that it carries.
    pub states: Vec<StateId>,
    /// The places in [`Layer::equations`] that it computes, in order.
    pub equations: Vec<usize>,
    /// The values that later passes read: they are kept for all steps. A state in here
    /// ([`ValueKind::State`]) is its value before the step.
    pub kept: Vec<ValueId>,
}

/// A forward and a reverse state that depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The state that runs forward.
    pub forward: StateId,
    /// The state that runs backward.
    pub reverse: StateId,
}

/// The passes of a layer, in the order in which they run; at least one, the first one forward.
///
/// # Errors
/// A forward and a reverse state that depend on each other.
pub fn passes(layer: &Layer) -> Result<Vec<Pass>, Conflict> {
    let cones = Cones::of(layer);
    let levels = levels(layer, &cones)?;
    let mut keys = vec![(0, false)];
    keys.extend(layer.states.iter().zip(&levels).map(|(state, &level)| (level, state.reverse)));
    keys.sort_unstable();
    keys.dedup();
    let place = |state: usize| {
        let key = (levels[state], layer.states[state].reverse);
        keys.iter().position(|k| *k == key).expect("every state has a pass")
    };

    // The pass of each equation; `None` for those that can be computed anywhere.
    let home: Vec<Option<usize>> = (0..layer.equations.len())
        .map(|e| {
            let cone = &cones.of_value[layer.equations[e].value.at()];
            let last = (0..layer.states.len()).filter(|&s| cone.states[s]).map(place).max();
            if last.is_none() && cone.delays { Some(0) } else { last }
        })
        .collect();

    let mut passes: Vec<Pass> = keys.iter().map(|&(_, reverse)| Pass { reverse, ..Pass::default() }).collect();
    for s in 0..layer.states.len() {
        passes[place(s)].states.push(StateId(s as u32));
    }
    let defined_by: Vec<Option<usize>> =
        (0..layer.values.len()).map(|v| layer.equations.iter().position(|e| e.value.at() == v)).collect();
    let mut kept: Vec<ValueId> = Vec::new();
    for p in (0..passes.len()).rev() {
        let mut wanted: Vec<ValueId> = Vec::new();
        for (e, equation) in layer.equations.iter().enumerate() {
            let output = layer.value(equation.value).kind == ValueKind::Output;
            if home[e] == Some(p) || (p == 0 && home[e].is_none() && output) {
                wanted.push(equation.value);
            }
        }
        // What is returned without a definition of its own, and the reset, which every pass obeys.
        if p == 0 {
            wanted.extend(
                layer.outputs.iter().map(|o| o.value).filter(|v| defined_by[v.at()].is_some_and(|e| home[e].is_none())),
            );
        }
        wanted.extend(layer.checks.iter().map(|check| check.value).filter(|v| {
            let home = defined_by[v.at()].and_then(|e| home[e]);
            home.unwrap_or(0) == p
        }));
        wanted.extend(layer.reset);
        let mut computed = vec![false; layer.equations.len()];
        while let Some(value) = wanted.pop() {
            let from = match (defined_by[value.at()], layer.value(value).kind) {
                (Some(e), _) if home[e].is_none_or(|h| h == p) => {
                    if !std::mem::replace(&mut computed[e], true) {
                        wanted.extend(layer.equations[e].body.reads());
                    }
                    continue;
                }
                (Some(e), _) => home[e],
                (None, ValueKind::State(s)) => Some(place(s.at())),
                (None, _) => None,
            };
            if from.is_some_and(|from| from != p) && !kept.contains(&value) {
                kept.push(value);
            }
        }
        passes[p].equations = (0..computed.len()).filter(|&e| computed[e]).collect();
    }
    kept.sort_unstable();
    for value in kept {
        let home = match (defined_by[value.at()], layer.value(value).kind) {
            (Some(e), _) => home[e],
            (None, ValueKind::State(s)) => Some(place(s.at())),
            _ => None,
        };
        passes[home.expect("only values with a pass are kept")].kept.push(value);
    }
    Ok(passes)
}

/// What a value depends on within one step.
#[derive(Clone, Default)]
struct Cone {
    states: Vec<bool>,
    delays: bool,
}

struct Cones {
    of_value: Vec<Cone>,
}

impl Cones {
    fn of(layer: &Layer) -> Self {
        let empty = Cone { states: vec![false; layer.states.len()], delays: false };
        let mut of_value = vec![empty.clone(); layer.values.len()];
        for (s, state) in layer.states.iter().enumerate() {
            of_value[state.value.at()].states[s] = true;
        }
        for delay in &layer.delays {
            of_value[delay.at()].delays = true;
        }
        // Equations read only what stands before them.
        for equation in &layer.equations {
            let mut cone = of_value[equation.value.at()].clone();
            for read in equation.body.reads() {
                let other = &of_value[read.at()];
                cone.delays |= other.delays;
                for (mine, theirs) in cone.states.iter_mut().zip(&other.states) {
                    *mine |= theirs;
                }
            }
            // An updated state belongs to its state, even where the update does not read it.
            if let ValueKind::Next(s) = layer.value(equation.value).kind {
                cone.states[s.at()] = true;
            }
            of_value[equation.value.at()] = cone;
        }
        Self { of_value }
    }
}

/// How many changes of direction lie before each state.
fn levels(layer: &Layer, cones: &Cones) -> Result<Vec<usize>, Conflict> {
    let count = layer.states.len();
    let mut levels = vec![0; count];
    loop {
        let mut changed = false;
        for s in 0..count {
            let cone = &cones.of_value[layer.states[s].next.at()];
            for r in (0..count).filter(|&r| cone.states[r]) {
                let turn = layer.states[r].reverse != layer.states[s].reverse;
                let least = levels[r] + usize::from(turn);
                if levels[s] < least {
                    levels[s] = least;
                    changed = true;
                    if least > count {
                        let other = StateId(r as u32);
                        let this = StateId(s as u32);
                        let reverse = layer.states[s].reverse;
                        let (forward, reverse) = if reverse { (other, this) } else { (this, other) };
                        return Err(Conflict { forward, reverse });
                    }
                }
            }
        }
        if !changed {
            return Ok(levels);
        }
    }
}
