//! The indices along which the elements of a recurrence never meet.
//!
//! In: equations over values that depend on states. Out: for each batch index, which axis of every such value it is.
//! Every equation then has the index on its left side and reads those values at that index alone, so that the whole
//! recurrence can run for one element of the index after the other, or for several side by side.

use std::collections::HashMap;

use crate::ir::{Equation, ExprKind, IndexId, Layer, ValueId, ValueKind};

/// One batch index.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The axis of each value; by the value before the step for all versions of a state.
    axes: HashMap<ValueId, usize>,
}

/// Whether an equation has the index.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cover {
    Yes,
    No,
    /// Nothing that is known yet is read.
    Open,
}

/// All versions of a state have one axis for an index.
fn key(layer: &Layer, value: ValueId) -> ValueId {
    match layer.value(value).kind {
        ValueKind::State(s) | ValueKind::Next(s) => layer.states[s.at()].value,
        _ => value,
    }
}

impl Batch {
    /// The axis of a value.
    pub fn axis(&self, layer: &Layer, value: ValueId) -> Option<usize> {
        self.axes.get(&key(layer, value)).copied()
    }

    /// The index that an equation has for it.
    pub fn index(&self, layer: &Layer, equation: &Equation) -> Option<IndexId> {
        self.axis(layer, equation.value).map(|axis| equation.indices[axis])
    }

    fn cover(&mut self, layer: &Layer, equation: &Equation, inside: &dyn Fn(ValueId) -> bool) -> Cover {
        let mut found = self.index(layer, equation);
        let mut sound = true;
        equation.body.walk(&mut |e| {
            if let ExprKind::Read { value, at } = &e.kind
                && inside(*value)
                && let Some(axis) = self.axis(layer, *value)
            {
                match at[axis].kind {
                    ExprKind::Index(i) if found.is_none_or(|found| found == i) => found = Some(i),
                    _ => sound = false,
                }
            }
        });
        let Some(index) = found else { return if sound { Cover::Open } else { Cover::No } };
        let Some(axis) = equation.indices.iter().position(|i| *i == index) else { return Cover::No };
        let mut axes = vec![(key(layer, equation.value), axis)];
        equation.body.walk(&mut |e| {
            if let ExprKind::Read { value, at } = &e.kind
                && inside(*value)
            {
                match at.iter().position(|e| e.kind == ExprKind::Index(index)) {
                    Some(axis) => axes.push((key(layer, *value), self.axis(layer, *value).unwrap_or(axis))),
                    None => sound = false,
                }
            }
        });
        if !sound {
            return Cover::No;
        }
        for (value, axis) in axes {
            if *self.axes.entry(value).or_insert(axis) != axis {
                return Cover::No;
            }
        }
        Cover::Yes
    }

    /// The batch with one more equation, where that has the index too.
    pub fn with(&self, layer: &Layer, equation: &Equation, inside: &dyn Fn(ValueId) -> bool) -> Option<Batch> {
        let mut batch = self.clone();
        (batch.cover(layer, equation, inside) == Cover::Yes).then_some(batch)
    }

    /// Gives a value an axis.
    pub fn insert(&mut self, layer: &Layer, value: ValueId, axis: usize) {
        self.axes.insert(key(layer, value), axis);
    }
}

/// All batch indices of some equations, in the order of the axes of `state`; `inside` are the values that depend on
/// states.
pub fn batches(layer: &Layer, equations: &[usize], state: ValueId, inside: &dyn Fn(ValueId) -> bool) -> Vec<Batch> {
    let axes = layer.value(state).axes.len();
    (0..axes).filter_map(|axis| batch(layer, equations, state, axis, inside)).collect()
}

fn batch(
    layer: &Layer,
    equations: &[usize],
    state: ValueId,
    axis: usize,
    inside: &dyn Fn(ValueId) -> bool,
) -> Option<Batch> {
    let mut batch = Batch { axes: HashMap::from([(state, axis)]) };
    loop {
        let known = batch.axes.len();
        let mut open = false;
        for &e in equations {
            match batch.cover(layer, &layer.equations[e], inside) {
                Cover::Yes => {}
                Cover::No => return None,
                Cover::Open => open = true,
            }
        }
        match (open, batch.axes.len() > known) {
            (false, false) => return Some(batch),
            (true, false) => return None,
            (_, true) => {}
        }
    }
}
