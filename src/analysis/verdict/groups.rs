//! Groups of states that depend on each other, in the order in which they can be worked out.
//!
//! In: a layer. Out: the strongly connected components of the states' dependence, each after those it reads; and for
//! each what of the step depends on it. Dependence is that of values: a new state that is computed without an
//! old one does not depend on it.

use super::Dependence;
use crate::ir::{Layer, StateId, ValueId};

/// The groups, each with its states in the order of their declaration.
pub(super) fn groups(layer: &Layer) -> Vec<Vec<StateId>> {
    let count = layer.states.len();
    let mut reach = direct(layer);
    for via in 0..count {
        let further = reach[via].clone();
        for from in &mut reach {
            if from.has(via) {
                from.add(&further);
            }
        }
    }
    let mut back = vec![Set::new(count); count];
    for (from, reached) in reach.iter().enumerate() {
        (0..count).filter(|&to| reached.has(to)).for_each(|to| back[to].insert(from));
    }
    let mut groups: Vec<Vec<StateId>> = Vec::new();
    let mut placed = Set::new(count);
    // Whoever has all it reads outside of its own group placed comes next, in the order of the declaration.
    while let Some(next) = (0..count).find(|&s| !placed.has(s) && reach[s].within(&placed, &back[s])) {
        let group: Vec<usize> =
            (0..count).filter(|&t| t == next || (reach[next].has(t) && back[next].has(t))).collect();
        group.iter().for_each(|&t| placed.insert(t));
        groups.push(group.into_iter().map(|t| StateId(t as u32)).collect());
    }
    groups
}

/// A set of states, one bit each.
#[derive(Clone)]
struct Set(Vec<u64>);

impl Set {
    fn new(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn has(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }

    fn insert(&mut self, at: usize) {
        self.0[at / 64] |= 1 << (at % 64);
    }

    fn add(&mut self, other: &Set) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| *mine |= theirs);
    }

    /// Whether all its elements are in one of two others.
    fn within(&self, a: &Set, b: &Set) -> bool {
        self.0.iter().zip(&a.0).zip(&b.0).all(|((own, a), b)| own & !(a | b) == 0)
    }
}

/// Which old states each new state is computed from.
fn direct(layer: &Layer) -> Vec<Set> {
    let count = layer.states.len();
    let mut cones = vec![Set::new(count); layer.values.len()];
    for (s, state) in layer.states.iter().enumerate() {
        cones[state.value.at()].insert(s);
    }
    for equation in &layer.equations {
        let mut cone = Set::new(count);
        equation.body.reads().iter().for_each(|read| cone.add(&cones[read.at()]));
        cones[equation.value.at()] = cone;
    }
    layer.states.iter().map(|state| cones[state.next.at()].clone()).collect()
}

/// What each equation of the layer reads.
pub(super) fn reads(layer: &Layer) -> Vec<Vec<ValueId>> {
    layer.equations.iter().map(|equation| equation.body.reads()).collect()
}

impl Dependence {
    /// What of the layer depends on these states.
    pub(super) fn of(layer: &Layer, states: &[StateId]) -> Self {
        Self::from_reads(layer, &reads(layer), states)
    }

    /// The same, given what each equation reads.
    pub(super) fn from_reads(layer: &Layer, reads: &[Vec<ValueId>], states: &[StateId]) -> Self {
        let mut on = vec![false; layer.values.len()];
        for state in states {
            on[layer.states[state.at()].value.at()] = true;
        }
        let mut wanted = vec![false; layer.values.len()];
        for state in states {
            wanted[layer.states[state.at()].next.at()] = true;
        }
        for (equation, reads) in layer.equations.iter().zip(reads).rev() {
            if wanted[equation.value.at()] {
                reads.iter().for_each(|read| wanted[read.at()] = true);
            }
        }
        let mut equations = Vec::new();
        for (at, (equation, reads)) in layer.equations.iter().zip(reads).enumerate() {
            let depends = reads.iter().any(|read| on[read.at()]);
            on[equation.value.at()] |= depends;
            if depends && wanted[equation.value.at()] {
                equations.push(at);
            }
        }
        Self { on, equations }
    }

    /// What of the layer depends on this value.
    pub(crate) fn of_value(layer: &Layer, value: ValueId) -> Self {
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
        match e.kind {
            // What was added after the analysis is free of the states.
            crate::ir::ExprKind::Read { value, .. } if self.on.get(value.at()).copied().unwrap_or(false) => true,
            _ => e.operands().into_iter().any(|operand| self.depends(operand)),
        }
    }
}
