//! Steps that are several updates of one state.
//!
//! Each update is judged as a step of its own: the step is their product, and where each has at most the norm 1, in one
//! norm for all, the step has.

use super::super::build::Scope;
use super::super::{Dependence, affine};
use super::{Answer, Norms, Stability};
use crate::ir::{Layer, StateId, ValueId, ValueKind};

/// The most updates that are judged apart.
const MAX_UPDATES: usize = 16;

/// Decides for a state that is updated more than once.
pub(super) fn judge(layer: &Layer, state: StateId) -> Option<Answer> {
    let updates: Vec<ValueId> = layer
        .equations
        .iter()
        .map(|equation| equation.value)
        .filter(|value| layer.value(*value).kind == ValueKind::Next(state))
        .collect();
    if updates.len() < 2 || updates.len() > MAX_UPDATES || updates.last() != Some(&layer.states[state.at()].next) {
        return None;
    }
    let mut norms = Norms::ALL;
    let mut reasons: Vec<String> = Vec::new();
    for at in 0..updates.len() {
        let answer = update(layer, state, &updates, at)?;
        norms = norms.both(answer.norms);
        let Stability::Always(reason) = answer.stability else {
            let (which, why) = (at + 1, answer.stability.reason());
            return Some(Answer::new(Stability::Unknown(format!("update {which} of {}: {why}", updates.len()))));
        };
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    let norm = norms.name()?;
    let stability = Stability::Always(format!(
        "each of the {} updates has at most the {norm} 1, and so has their product: {}",
        updates.len(),
        reasons.join("; ")
    ));
    Some(Answer { stability, norms })
}

/// One update as a step, if it reads the state as the update before it has left it.
fn update(layer: &Layer, state: StateId, updates: &[ValueId], at: usize) -> Option<Answer> {
    let mut own = layer.clone();
    let first = own.states[state.at()].value;
    let before = if at == 0 { first } else { updates[at - 1] };
    own.states[state.at()].value = before;
    own.states[state.at()].next = updates[at];
    if at > 0 {
        own.values[first.at()].kind = ValueKind::Input;
        own.values[before.at()].kind = ValueKind::State(state);
        own.equations.retain(|equation| equation.value != before);
    }
    // What is wanted of the step up to here, and whether any of it is of an earlier version.
    let mut wanted = vec![false; own.values.len()];
    wanted[updates[at].at()] = true;
    for equation in own.equations.iter().rev() {
        if wanted[equation.value.at()] {
            equation.body.reads().into_iter().for_each(|read| wanted[read.at()] = true);
        }
    }
    let earlier = [first].into_iter().chain(updates[..at].iter().copied()).filter(|value| *value != before);
    if earlier.into_iter().any(|value| wanted[value.at()]) {
        return None;
    }
    own.equations.retain(|equation| wanted[equation.value.at()]);
    for &other in updates.iter().filter(|value| **value != updates[at] && **value != before) {
        own.values[other.at()].kind = ValueKind::Let;
    }
    own.reset = None;
    let of = Dependence::of(&own, &[state]);
    let mut scope = Scope::new(own);
    let affine = affine(&mut scope, &of, &[state]).ok()?;
    Some(super::of_one(&mut scope, &affine))
}
