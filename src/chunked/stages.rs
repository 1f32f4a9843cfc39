//! The layers around the states that run in blocks.
//!
//! In: a layer. Out: [`Staged`]: the [`Core`]s, and layers that run in order, tile after tile of steps. Layer 0 has what
//! depends on no core: the factors, above all, and groups of states that stay in order. What a core reads is its `rank`: one more
//! than that of its factors; layer `r` has what depends on cores of rank `r` and below. A layer takes from earlier ones what it
//! reads of them as inputs. All layers have the tables of one, so that a value is the same number everywhere.

use super::Refusal;
use super::reads::{Reads, Stop, contracted};
use super::terms::{Core, core};
use crate::analysis::verdict::build::{self, Scope};
use crate::analysis::verdict::form::plain;
use crate::analysis::verdict::{Group, judge};
use crate::diag::Span;
use crate::ir::{
    Equation, Expr, ExprKind, IndexId, Layer, Output, Scalar, State, StateId, Type, Value, ValueId, ValueKind,
};

/// The most cores that depend on each other.
const MAX_RANK: usize = 8;

/// A layer in parts.
#[derive(Clone, Debug)]
pub(super) struct Staged {
    /// The tables of all parts.
    pub(super) layer: Layer,
    /// The states that run in blocks.
    pub(super) cores: Vec<Core>,
    /// The rank of each core, at least 1.
    pub(super) ranks: Vec<usize>,
    /// By rank, from 0 on: what runs in order behind the cores of that rank, if anything does.
    pub(super) stages: Vec<Option<Stage>>,
    /// Outputs that are what a core reads, with the output's axis for each axis of what is read.
    pub(super) direct: Vec<Direct>,
}

/// A part that runs in order.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) layer: Layer,
    /// The states of the whole layer that it has.
    pub(super) states: Vec<usize>,
    /// The delays of the whole layer that it has.
    pub(super) delays: Vec<usize>,
}

/// An output that is what a core reads.
#[derive(Clone, Debug)]
pub(super) struct Direct {
    pub(super) output: usize,
    pub(super) result: ValueId,
    /// The axis of the output that each axis of the result is.
    pub(super) axes: Vec<usize>,
}

/// Takes a layer apart.
///
/// # Errors
/// Why each of its groups has to run in order.
pub(super) fn staged(layer: &Layer) -> Result<Staged, Vec<Refusal>> {
    let verdict = judge(layer);
    let mut refusals = Vec::new();
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    for group in &verdict.groups {
        match Candidate::of(layer, group) {
            Ok(candidate) => candidates.push(candidate),
            Err(refusal) => refusals.push(refusal),
        }
    }
    // What says most about the layer comes last: a state that has no linear step, or one that came close.
    refusals.sort_by_key(|refusal| verdict.groups.iter().any(|g| g.failure.is_some() && g.states[0] == refusal.state));
    loop {
        let mut scope = Scope::new(verdict.layer.clone());
        match attempt(&mut scope, &candidates) {
            Ok(_) if candidates.is_empty() => return Err(refusals),
            Ok(cores) => {
                match ranks(&scope.layer, &cores) {
                    Ok((ranks, of)) => return Ok(parts(layer, scope.layer, cores, ranks, &of)),
                    Err(refusal) => {
                        candidates.retain(|c| c.state != refusal.state);
                        refusals.push(refusal);
                    }
                };
            }
            Err(Stop::Head(state, axis)) => {
                let candidate = candidates.iter_mut().find(|c| c.state == state).expect("it is a candidate");
                candidate.heads.push(axis);
            }
            Err(Stop::Refused(refusal)) => {
                candidates.retain(|c| c.state != refusal.state);
                refusals.push(refusal);
            }
        }
    }
}

/// A group that may run in blocks.
struct Candidate<'a> {
    group: &'a Group,
    state: StateId,
    key: usize,
    /// Axes that have to be heads.
    heads: Vec<usize>,
}

impl<'a> Candidate<'a> {
    fn of(layer: &Layer, group: &'a Group) -> Result<Self, Refusal> {
        let state = group.states[0];
        let span = layer.value(layer.states[state.at()].value).span;
        let refuse = |span: Span, why: &str| Err(Refusal { state, span, why: why.to_owned() });
        if let Some(failure) = &group.failure {
            return refuse(failure.span, &failure.reason);
        }
        if group.states.len() > 1 {
            return refuse(span, "it is coupled with another state");
        }
        if layer.reset.is_some_and(|reset| depends_on_delays(layer, reset)) {
            return refuse(span, "delays decide when it is reset");
        }
        if layer.states[state.at()].reverse {
            return refuse(span, "it is carried from the last step to the first");
        }
        let mixed = group.transition.iter().flat_map(|t| &t.components).next().map_or(Vec::new(), |component| {
            component.axes.iter().enumerate().filter(|(_, axis)| axis.is_none()).map(|(k, _)| k).collect()
        });
        let key = match mixed[..] {
            [] => contracted(layer, state),
            [one] => Some(one),
            _ => return refuse(span, "its transition mixes more than one axis"),
        };
        match key {
            Some(key) => Ok(Self { group, state, key, heads: Vec::new() }),
            None => refuse(span, "nothing reads it in a sum of products"),
        }
    }
}

/// Whether the condition of a reset is other behind it: it forgets delays. One that no step changes is taken for such, too.
fn depends_on_delays(layer: &Layer, value: ValueId) -> bool {
    let mut wanted = vec![false; layer.values.len()];
    wanted[value.at()] = true;
    let mut found = layer.value(value).kind == ValueKind::Param;
    for equation in layer.equations.iter().rev() {
        if wanted[equation.value.at()] {
            equation.body.walk(&mut |e| match e.kind {
                ExprKind::Read { value, .. } => wanted[value.at()] = true,
                ExprKind::Past { .. } | ExprKind::First => found = true,
                _ => {}
            });
        }
    }
    found
}

/// The cores of all candidates, in a layer that reads them.
fn attempt(scope: &mut Scope, candidates: &[Candidate<'_>]) -> Result<Vec<Core>, Stop> {
    let (mut cores, mut indices): (Vec<Core>, Vec<Vec<IndexId>>) = (Vec::new(), Vec::new());
    for candidate in candidates {
        cores.push(core(scope, candidate.group, candidate.key, &candidate.heads).map_err(Stop::Refused)?);
        let components = candidate.group.transition.iter().flat_map(|t| &t.components);
        indices.push(components.flat_map(|c| c.indices.clone()).collect());
    }
    Reads::new(scope, &mut cores, &indices).replace()?;
    Ok(cores)
}

/// The ranks of the cores and of all values.
fn ranks(layer: &Layer, cores: &[Core]) -> Result<(Vec<usize>, Vec<usize>), Refusal> {
    let mut of = vec![0_usize; layer.values.len()];
    let mut ranks = vec![1_usize; cores.len()];
    loop {
        let before = (ranks.clone(), of.clone());
        for equation in &layer.equations {
            let reads = equation.body.reads().into_iter().map(|v| of[v.at()]).max().unwrap_or(0);
            let rank = &mut of[equation.value.at()];
            *rank = reads.max(*rank);
        }
        for state in layer.states.iter().filter(|s| layer.definition(s.next).is_some()) {
            // A state lives where its new value is known.
            of[state.value.at()] = of[state.next.at()];
        }
        for (core, rank) in cores.iter().zip(&mut ranks) {
            let factors = core.factors().map(|f| of[f.value.at()]).max().unwrap_or(0);
            *rank = (*rank).max(factors + 1);
            if *rank > MAX_RANK {
                let span = layer.value(layer.states[core.state.at()].value).span;
                let why = "what is read from it decides how it is read or written".to_owned();
                return Err(Refusal { state: core.state, span, why });
            }
            core.reads.iter().for_each(|read| of[read.result.at()] = *rank);
        }
        if before == (ranks.clone(), of.clone()) {
            return Ok((ranks, of));
        }
    }
}

/// Puts all equations into the layers of their ranks.
fn parts(whole: &Layer, mut layer: Layer, cores: Vec<Core>, ranks: Vec<usize>, of: &[usize]) -> Staged {
    let direct = take_direct(&mut layer, &cores);
    let last = of.iter().chain(&ranks).copied().max().unwrap_or(0);
    let own = |s: usize| cores.iter().any(|core| core.state.at() == s);
    let mut stages: Vec<Option<Stage>> = vec![None; last + 1];
    // What later parts, cores and the results need of each.
    let mut wanted = vec![false; layer.values.len()];
    for factor in cores.iter().flat_map(Core::factors) {
        wanted[factor.value.at()] = true;
    }
    for (n, output) in layer.outputs.iter().enumerate() {
        if !direct.iter().any(|d| d.output == n) {
            wanted[output.value.at()] = true;
        }
    }
    layer.reset.iter().for_each(|reset| wanted[reset.at()] = true);
    let inputs = |v: ValueId| layer.value(v).kind == ValueKind::Input;
    let exported = |v: usize, wanted: &[bool]| {
        let named = layer.outputs.iter().any(|o| o.value.at() == v);
        wanted[v] && (named || !matches!(layer.values[v].kind, ValueKind::Input | ValueKind::Param))
    };
    for rank in (0..=last).rev() {
        let results = |v: usize| cores.iter().flat_map(|c| &c.reads).any(|read| read.result.at() == v);
        let outputs: Vec<ValueId> = (0..layer.values.len())
            .filter(|&v| of[v] == rank && exported(v, &wanted) && !results(v))
            .map(|v| ValueId(v as u32))
            .collect();
        let states: Vec<usize> =
            (0..layer.states.len()).filter(|&s| !own(s) && of[layer.states[s].next.at()] == rank).collect();
        let checks: Vec<_> = layer.checks.iter().filter(|c| of[c.value.at()] == rank).cloned().collect();
        let maker = Maker { layer: &layer, of, rank };
        let Some((stage, imports)) = maker.stage(whole, outputs, states, checks) else { continue };
        imports.iter().filter(|v| !inputs(**v)).for_each(|v| wanted[v.at()] = true);
        stages[rank] = Some(stage);
    }
    Staged { layer, cores, ranks, stages, direct }
}

/// Takes the outputs out that are what a core reads, with their axes in any order, and that nothing else reads.
fn take_direct(layer: &mut Layer, cores: &[Core]) -> Vec<Direct> {
    let mut found = Vec::new();
    for (n, output) in layer.outputs.iter().enumerate() {
        let Some(equation) = layer.definition(output.value) else { continue };
        let ExprKind::Read { value, at } = &equation.body.kind else { continue };
        let is_result = cores.iter().flat_map(|c| &c.reads).any(|read| read.result == *value);
        let place = |at: &Expr| plain(at).and_then(|i| equation.indices.iter().position(|j| *j == i));
        let axes: Option<Vec<usize>> = at.iter().map(place).collect();
        let Some(axes) = axes.filter(|axes| is_result && axes.len() == equation.indices.len()) else { continue };
        let all = (0..axes.len()).all(|k| axes.contains(&k));
        let same =
            axes.iter().zip(&layer.value(*value).axes).all(|(&k, extent)| layer.value(output.value).axes[k] == *extent);
        let read = layer.equations.iter().any(|e| e.body.reads().contains(&output.value));
        let twice = layer.outputs.iter().filter(|o| o.value == output.value).count() > 1;
        if all && same && !read && !twice {
            found.push((output.value, Direct { output: n, result: *value, axes }));
        }
    }
    layer.equations.retain(|e| !found.iter().any(|(value, _)| *value == e.value));
    found.into_iter().map(|(_, direct)| direct).collect()
}

struct Maker<'a> {
    layer: &'a Layer,
    of: &'a [usize],
    rank: usize,
}

impl Maker<'_> {
    /// The part of this rank that gives these outputs, with what it takes from others; `None` where it has nothing to do.
    fn stage(
        &self,
        whole: &Layer,
        outputs: Vec<ValueId>,
        states: Vec<usize>,
        checks: Vec<crate::ir::Check>,
    ) -> Option<(Stage, Vec<ValueId>)> {
        let layer = self.layer;
        let mut wanted = vec![false; layer.values.len()];
        outputs.iter().for_each(|v| wanted[v.at()] = true);
        states.iter().for_each(|&s| wanted[layer.states[s].next.at()] = true);
        checks.iter().for_each(|c| wanted[c.value.at()] = true);
        if self.rank == 0 {
            // Whatever reads delays, what they hold is known without a core.
            layer.delays.iter().chain(&layer.reset).for_each(|v| wanted[v.at()] = true);
        }
        let (mut imports, mut first) = (Vec::new(), false);
        let (mut kept, mut delays) = loop {
            let before = wanted.clone();
            let (mut kept, mut delays) = (Vec::new(), Vec::new());
            for equation in layer.equations.iter().rev() {
                let value = equation.value;
                let delay = layer.delays.iter().position(|d| *d == value);
                if !wanted[value.at()] || (self.of[value.at()] != self.rank && delay.is_none()) {
                    continue;
                }
                delays.extend(delay);
                equation.body.walk(&mut |e| match e.kind {
                    ExprKind::Read { value, .. } | ExprKind::Past { delay: value, .. } => wanted[value.at()] = true,
                    ExprKind::First => first = true,
                    _ => {}
                });
                kept.push(equation.clone());
            }
            // What `past` reads may stand behind it.
            if wanted == before {
                break (kept, delays);
            }
        };
        kept.reverse();
        delays.sort_unstable();
        if outputs.is_empty() && states.is_empty() && delays.is_empty() && checks.is_empty() {
            return None;
        }
        let mut made = layer.clone();
        let has_state = |v: &Value| match v.kind {
            ValueKind::State(s) => states.contains(&s.at()),
            _ => false,
        };
        let defined = |v: usize| kept.iter().any(|e| e.value.at() == v);
        for v in (0..layer.values.len()).filter(|&v| wanted[v]) {
            let value = &layer.values[v];
            if !defined(v) && value.kind != ValueKind::Param && !has_state(value) {
                imports.push(ValueId(v as u32));
            }
        }
        self.restrict(&mut made, &states, &delays, &imports);
        made.equations = kept;
        made.checks = checks;
        made.outputs = outputs.iter().map(|&value| Output { name: layer.value(value).name.clone(), value }).collect();
        if self.rank > 0
            && let Some(reset) = layer.reset
        {
            made.reset = None;
            if first || !states.is_empty() || !delays.is_empty() {
                if !imports.contains(&reset) {
                    imports.push(reset);
                    made.inputs.push(reset);
                    made.values[reset.at()].kind = ValueKind::Input;
                }
                repeat_reset(&mut made, reset);
            }
        }
        debug_assert!(whole.delays.len() == layer.delays.len(), "delays are those of the whole");
        Some((Stage { layer: made, states, delays }, imports))
    }

    /// Leaves the layer these states, delays and inputs.
    fn restrict(&self, made: &mut Layer, states: &[usize], delays: &[usize], imports: &[ValueId]) {
        let layer = self.layer;
        made.name = format!("{}.{}", layer.name, self.rank);
        made.derived.clear();
        made.delays = delays.iter().map(|&d| layer.delays[d]).collect();
        made.states = states.iter().map(|&s| layer.states[s].clone()).collect::<Vec<State>>();
        for (v, value) in made.values.iter_mut().enumerate() {
            if let ValueKind::State(s) | ValueKind::Next(s) = &mut value.kind {
                match states.iter().position(|kept| *kept == s.at()) {
                    Some(at) => *s = StateId(at as u32),
                    None => value.kind = ValueKind::Let,
                }
            }
            let unread_delay = value.kind == ValueKind::Delay && !made.delays.contains(&ValueId(v as u32));
            if value.kind == ValueKind::Input || unread_delay {
                value.kind = ValueKind::Let;
            }
        }
        made.inputs = imports.to_vec();
        imports.iter().for_each(|v| made.values[v.at()].kind = ValueKind::Input);
    }
}

/// Lets the condition of a reset, which comes as an input, be that of the layer too.
fn repeat_reset(layer: &mut Layer, reset: ValueId) {
    let value = ValueId(layer.values.len() as u32);
    let span = Span::default();
    let name = "reset.again".to_owned();
    layer.values.push(Value { name, kind: ValueKind::Let, axes: Vec::new(), ty: Type::Bool, span });
    let body = build::expr(ExprKind::Read { value: reset, at: Vec::new() }, Scalar::Bool, span);
    layer.equations.insert(0, Equation { value, indices: Vec::new(), body, span });
    layer.reset = Some(value);
}
