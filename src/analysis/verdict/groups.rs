//! Groups of states that depend on each other, in the order in which they can be worked out.
//!
//! In: a layer. Out: the strongly connected components of the states' dependence, each after those it reads; and for
//! each what of the step depends on it. Dependence is that of values: a new state that is computed without an
//! old one does not depend on it.

use super::Dependence;
use crate::ir::{Layer, StateId};

/// The groups, each with its states in the order of their declaration.
pub(super) fn groups(layer: &Layer) -> Vec<Vec<StateId>> {
    let count = layer.states.len();
    let mut reach = direct(layer);
    for via in 0..count {
        for from in 0..count {
            if reach[from][via] {
                let further = reach[via].clone();
                for (to, reached) in further.into_iter().enumerate() {
                    reach[from][to] |= reached;
                }
            }
        }
    }
    let mut groups: Vec<Vec<StateId>> = Vec::new();
    let mut placed = vec![false; count];
    // Whoever has all it reads outside of its own group placed comes next, in the order of the declaration.
    while let Some(next) =
        (0..count).find(|&s| !placed[s] && (0..count).all(|t| placed[t] || !reach[s][t] || s == t || reach[t][s]))
    {
        let group: Vec<usize> = (0..count).filter(|&t| t == next || (reach[next][t] && reach[t][next])).collect();
        group.iter().for_each(|&t| placed[t] = true);
        groups.push(group.into_iter().map(|t| StateId(t as u32)).collect());
    }
    groups
}

/// Which old states each new state is computed from.
fn direct(layer: &Layer) -> Vec<Vec<bool>> {
    let count = layer.states.len();
    let mut cones = vec![vec![false; count]; layer.values.len()];
    for (s, state) in layer.states.iter().enumerate() {
        cones[state.value.at()][s] = true;
    }
    for equation in &layer.equations {
        let mut cone = vec![false; count];
        for read in equation.body.reads() {
            for (mine, theirs) in cone.iter_mut().zip(&cones[read.at()]) {
                *mine |= theirs;
            }
        }
        cones[equation.value.at()] = cone;
    }
    layer.states.iter().map(|state| cones[state.next.at()].clone()).collect()
}

impl Dependence {
    /// What of the layer depends on these states.
    pub(super) fn of(layer: &Layer, states: &[StateId]) -> Self {
        let mut on = vec![false; layer.values.len()];
        for state in states {
            on[layer.states[state.at()].value.at()] = true;
        }
        let mut wanted = vec![false; layer.values.len()];
        for state in states {
            wanted[layer.states[state.at()].next.at()] = true;
        }
        for equation in layer.equations.iter().rev() {
            if wanted[equation.value.at()] {
                equation.body.reads().iter().for_each(|read| wanted[read.at()] = true);
            }
        }
        let mut equations = Vec::new();
        for (at, equation) in layer.equations.iter().enumerate() {
            let depends = equation.body.reads().iter().any(|read| on[read.at()]);
            on[equation.value.at()] |= depends;
            if depends && wanted[equation.value.at()] {
                equations.push(at);
            }
        }
        Self { on, equations }
    }

    /// What of the layer depends on this value.
    pub(crate) fn of_value(layer: &Layer, value: crate::ir::ValueId) -> Self {
        let mut on = vec![false; layer.values.len()];
        on[value.at()] = true;
        let mut equations = Vec::new();
        for (at, equation) in layer.equations.iter().enumerate() {
            if equation.value != value && equation.body.reads().iter().any(|read| on[read.at()]) {
                on[equation.value.at()] = true;
                equations.push(at);
            }
        }
        Self { on, equations }
    }

    /// Whether the expression depends on the group's states.
    pub(crate) fn depends(&self, e: &crate::ir::Expr) -> bool {
        let mut found = false;
        e.walk(&mut |e| {
            if let crate::ir::ExprKind::Read { value, .. } = e.kind {
                // What was added after the analysis is free of the states.
                found |= self.on.get(value.at()).copied().unwrap_or(false);
            }
        });
        found
    }
}
