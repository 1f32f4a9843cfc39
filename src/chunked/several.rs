//! Several steps of a layer as one.
//!
//! In: an [`Instance`] whose states all run in blocks of time ([`super::terms`]). Out: one whose step is several of its steps:
//! its inputs and outputs come that many times in a row, and its state is what it is behind them all. A state that does
//! not fit into registers is loaded and stored once in that time.
//!
//! With `P` the product of the decays so far, the state behind some of the steps is
//!
//! ```text
//! S = P S[0] + sum over those steps and their writes (key' x'ᵀ)
//! ```
//!
//! with keys and rows decayed since. So what a query or a probe finds is what it finds in `S[0]`, and for each of those writes
//! the number that it finds in its key, times the row. Those numbers depend on no state. Nothing is divided by a decay.
//!
//! Invariant: the interpreter agrees with that many steps of the layer, up to roundings.

use std::collections::HashMap;

use super::stages::staged;
use super::terms::{Core, Factor, Place};
use crate::analysis::settle::settle;
use crate::analysis::verdict::build::{self, Scope};
use crate::diag::Span;
use crate::ir::{
    Equation, Expr, ExprKind, IndexId, Instance, Layer, Output, ReduceOp, Scalar, Type, ValueId, ValueKind,
};
use crate::plan::Target;
use crate::plan::cost::Machine;

/// The most steps that are taken together. What they find in each other's keys grows with the square.
const MOST: usize = 4;

/// A state with fewer elements along the contracted axis is better run step by step.
const LEAST: usize = 24;

/// The layer whose step is several of this one's, as many as pay with such registers; `None` where none do.
pub fn several(instance: &Instance, target: Target) -> Option<Instance> {
    let layer = &instance.layer;
    // What is known without the algebra comes first.
    let may_pay = layer.states.iter().all(|state| {
        let shape = &instance.axes[state.value.at()];
        shape.len() > 1 && shape.iter().product::<usize>() >= LEAST * target.width
    });
    if instance.steps > 1 || instance.filled().is_some() || !may_pay || !suits(layer) {
        return None;
    }
    let staged = staged(layer).ok()?;
    if staged.cores.len() != layer.states.len() {
        return None;
    }
    let steps = staged.cores.iter().map(|core| together(instance, core, target)).min()?;
    if steps < 2 {
        return None;
    }
    let mut maker = Maker { scope: Scope::new(staged.layer.clone()), instead: vec![HashMap::new(); steps], steps };
    maker.copies(&staged.direct);
    for core in &staged.cores {
        maker.core(core);
    }
    let layer = maker.finish();
    let made = Instance::new(layer, instance.dims.clone()).ok()?;
    Some(Instance { steps, one_thread: instance.one_thread, ..made })
}

/// Whether nothing in a step asks which one it is, looks back, or has something to report.
fn suits(layer: &Layer) -> bool {
    let mut plain = layer.reset.is_none() && layer.delays.is_empty() && layer.checks.is_empty();
    plain &= !layer.states.is_empty() && layer.states.iter().all(|state| !state.reverse);
    for equation in &layer.equations {
        equation.body.walk(&mut |e| {
            plain &= !matches!(e.kind, ExprKind::First | ExprKind::Past { .. } | ExprKind::Solve { .. });
        });
    }
    plain
}

/// How many steps are taken together: as many as have registers for what they find in a block of the state, and for the rows
/// that they add to it.
fn together(instance: &Instance, core: &Core, target: Target) -> usize {
    let state = instance.layer.states[core.state.at()].value;
    let shape = &instance.axes[state.at()];
    let values: usize = core.values.iter().map(|&k| shape[k]).product();
    if shape[core.key] < LEAST || values < target.width {
        return 1;
    }
    let found = core.reads.len() + core.writes.iter().map(|write| write.answers.len()).sum::<usize>();
    let parts = Machine::default().parts(target, values, shape[core.key], usize::MAX, instance.one_thread);
    let vectors = parts * found.max(core.writes.len());
    let mut steps = MOST;
    // What is left of the registers is for the elements of the state and for what they are multiplied by.
    while steps > 1 && steps * vectors * 8 > target.registers * 5 {
        steps /= 2;
    }
    steps
}

struct Maker {
    scope: Scope,
    /// By step: in the place of each value, that of the step.
    instead: Vec<HashMap<ValueId, ValueId>>,
    steps: usize,
}

/// A row that has been added, and with what.
struct Added {
    /// At the indices of the state.
    key: Expr,
    /// The row; a value with the axes of the state but the key.
    row: ValueId,
    /// The product of the decays since that differ between heads alone.
    decay: Option<Expr>,
}

impl Maker {
    /// Inputs and definitions of each step but the first, which keeps the layer's own.
    fn copies(&mut self, direct: &[super::stages::Direct]) {
        self.define_direct(direct);
        let equations = std::mem::take(&mut self.scope.layer.equations);
        let inputs = std::mem::take(&mut self.scope.layer.inputs);
        let outputs = std::mem::take(&mut self.scope.layer.outputs);
        let states = self.scope.layer.states.clone();
        let own = |value: ValueId| states.iter().all(|state| state.value != value && state.next != value);
        let fixed: Vec<ValueId> = self.scope.layer.params.iter().map(|param| param.value).collect();
        let values: Vec<ValueId> = (0..self.scope.layer.values.len() as u32).map(ValueId).collect();
        for step in 1..self.steps {
            for &value in values.iter().filter(|v| own(**v) && !fixed.contains(v)) {
                let like = self.scope.layer.value(value).clone();
                let name = format!("{}.{step}", like.name);
                let copy = self.scope.add_value(&name, like.kind, like.axes, like.ty, like.span);
                self.instead[step].insert(value, copy);
            }
        }
        for step in 0..self.steps {
            for Equation { value, indices, body, .. } in &equations {
                let mut body = body.clone();
                self.rename(&mut body, step);
                self.scope.define(self.at(*value, step), indices, &body);
            }
        }
        let each = |value: ValueId| (0..self.steps).map(move |step| (value, step));
        self.scope.layer.inputs = inputs.into_iter().flat_map(each).map(|(value, step)| self.at(value, step)).collect();
        let named = |output: Output| (0..self.steps).map(move |step| (output.clone(), step));
        self.scope.layer.outputs = outputs
            .into_iter()
            .flat_map(named)
            .map(|(output, step)| Output {
                name: format!("{}.{step}", output.name),
                value: self.at(output.value, step),
            })
            .collect();
    }

    /// Outputs that are what a core reads are definitions like all others.
    fn define_direct(&mut self, direct: &[super::stages::Direct]) {
        for found in direct {
            let value = self.scope.layer.outputs[found.output].value;
            let axes = self.scope.layer.value(value).axes.clone();
            let indices: Vec<IndexId> =
                axes.into_iter().map(|extent| self.scope.add_index("i", extent, Span::default())).collect();
            let at = found.axes.iter().map(|&axis| build::index(indices[axis], Span::default())).collect();
            let body = build::read(&self.scope.layer, found.result, at, Span::default());
            self.scope.define(value, &indices, &body);
        }
    }

    /// The value of a step.
    fn at(&self, value: ValueId, step: usize) -> ValueId {
        self.instead[step].get(&value).copied().unwrap_or(value)
    }

    fn rename(&self, e: &mut Expr, step: usize) {
        if let ExprKind::Read { value, .. } = &mut e.kind {
            *value = self.at(*value, step);
        }
        e.operands_mut().into_iter().for_each(|operand| self.rename(operand, step));
    }

    /// The states behind all steps, and what is found in them on the way.
    fn core(&mut self, core: &Core) {
        let span = Span::default();
        let state = self.scope.layer.states[core.state.at()].clone();
        let axes = self.scope.layer.value(state.value).axes.clone();
        let indices: Vec<IndexId> = axes.into_iter().map(|extent| self.scope.add_index("i", extent, span)).collect();
        let here = indices.iter().map(|&i| build::index(i, span)).collect();
        let before = build::read(&self.scope.layer, state.value, here, span);
        let mut walk =
            Walk { maker: self, core, indices: &indices, before, keys: None, heads: None, added: Vec::new() };
        for step in 0..walk.maker.steps {
            walk.step(step);
        }
        let next = walk.behind();
        self.scope.define(state.next, &indices, &next);
    }

    /// The layer, with all definitions in order.
    fn finish(self) -> Layer {
        let mut layer = self.scope.layer;
        layer.derived.clear();
        settle(&mut layer);
        layer
    }
}

/// The way through the steps of a core.
struct Walk<'a> {
    maker: &'a mut Maker,
    core: &'a Core,
    /// The indices of the state.
    indices: &'a [IndexId],
    /// The state before all steps.
    before: Expr,
    /// The products of the decays so far, along the contracted axis or not.
    keys: Option<Expr>,
    heads: Option<Expr>,
    added: Vec<Added>,
}

impl Walk<'_> {
    fn step(&mut self, step: usize) {
        let core = self.core;
        let mut rows = Vec::new();
        for write in &core.writes {
            let mut row = write.value.as_ref().map(|value| self.factor(value, step));
            for (probe, scale) in &write.answers {
                let probe = self.factor(probe, step);
                let mut found = self.found(&probe);
                if let Some(scale) = scale {
                    let found_at = self.row("found", found);
                    found = build::mul(self.factor(scale, step), self.read(found_at));
                }
                row = Some(match row {
                    Some(row) => build::add(row, found),
                    None => found,
                });
            }
            let row = row.unwrap_or_else(|| build::number(0.0, Scalar::Real, Span::default()));
            rows.push(self.row("row", row));
        }
        self.reads(step, false);
        if let Some((decay, along)) = &core.decay {
            let decay = self.factor(decay, step);
            for n in 0..self.added.len() {
                if *along {
                    self.added[n].key = self.named("key", build::mul(self.added[n].key.clone(), decay.clone()));
                } else {
                    self.added[n].decay = Some(self.times(self.added[n].decay.clone(), &decay));
                }
            }
            if *along {
                self.keys = Some(self.times(self.keys.clone(), &decay));
            } else {
                self.heads = Some(self.times(self.heads.clone(), &decay));
            }
        }
        for (write, row) in core.writes.iter().zip(rows) {
            let key = self.factor(&write.key, step);
            self.added.push(Added { key, row, decay: None });
        }
        self.reads(step, true);
    }

    /// What is found behind the step, or before it.
    fn reads(&mut self, step: usize, after: bool) {
        let core = self.core;
        for read in core.reads.iter().filter(|read| read.after == after) {
            let query = self.factor(&read.query, step);
            let found = self.found(&query);
            let (rest, result) = (self.rest(), self.maker.at(read.result, step));
            self.maker.scope.define(result, &rest, &found);
        }
    }

    /// What a query finds in the state so far.
    fn found(&mut self, query: &Expr) -> Expr {
        let old = match self.keys.clone() {
            Some(keys) => self.named("query", build::mul(query.clone(), keys)),
            None => query.clone(),
        };
        let key = self.indices[self.core.key];
        let mut found = build::reduce(ReduceOp::Sum, vec![key], build::mul(old, self.before.clone()));
        if let Some(heads) = &self.heads {
            found = build::mul(heads.clone(), found);
        }
        for n in 0..self.added.len() {
            let Added { key: other, row, decay } = &self.added[n];
            let (row, decay) = (*row, decay.clone());
            let mut number = build::reduce(ReduceOp::Sum, vec![key], build::mul(query.clone(), other.clone()));
            if let Some(decay) = decay {
                number = build::mul(decay, number);
            }
            let number = self.named("number", number);
            found = build::add(found, build::mul(number, self.read(row)));
        }
        found
    }

    /// The state behind all steps so far.
    fn behind(&mut self) -> Expr {
        let mut state = self.before.clone();
        for decay in [self.keys.clone(), self.heads.clone()].into_iter().flatten() {
            state = build::mul(decay, state);
        }
        for Added { key, row, decay } in std::mem::take(&mut self.added) {
            let row = match decay {
                Some(decay) => {
                    let decayed = build::mul(decay, self.read(row));
                    self.row("decayed", decayed)
                }
                None => row,
            };
            state = build::add(state, build::mul(key, self.read(row)));
        }
        state
    }

    /// A product of decays.
    fn times(&mut self, so_far: Option<Expr>, decay: &Expr) -> Expr {
        match so_far {
            Some(so_far) => self.named("decay", build::mul(so_far, decay.clone())),
            None => decay.clone(),
        }
    }

    /// A factor of a step at the indices of the state.
    fn factor(&self, factor: &Factor, step: usize) -> Expr {
        let place = |place: &Place| match *place {
            Place::Axis(k) => build::index(self.indices[k], Span::default()),
            Place::Fixed(at) => build::int(at as i64, Span::default()),
        };
        let at = factor.at.iter().map(place).collect();
        build::read(&self.maker.scope.layer, self.maker.at(factor.value, step), at, Span::default())
    }

    /// A definition with those indices of the state that an expression mentions.
    fn named(&mut self, name: &str, e: Expr) -> Expr {
        let mut bound = Vec::new();
        e.walk(&mut |e| {
            if let ExprKind::Reduce { indices, .. } = &e.kind {
                bound.extend(indices.iter().copied());
            }
        });
        let own: Vec<IndexId> =
            self.indices.iter().copied().filter(|&i| build::mentions(&e, i) && !bound.contains(&i)).collect();
        self.defined(name, own, &e)
    }

    fn defined(&mut self, name: &str, own: Vec<IndexId>, e: &Expr) -> Expr {
        let scope = &mut self.maker.scope;
        let axes = own.iter().map(|i| scope.layer.index(*i).extent.clone()).collect();
        let value = scope.add_value(name, ValueKind::Let, axes, Type::Real, Span::default());
        scope.define(value, &own, e);
        let at = own.iter().map(|&i| build::index(i, Span::default())).collect();
        build::read(&scope.layer, value, at, Span::default())
    }

    /// The indices of the state but the contracted one.
    fn rest(&self) -> Vec<IndexId> {
        (0..self.indices.len()).filter(|k| *k != self.core.key).map(|k| self.indices[k]).collect()
    }

    /// A definition with the axes of the state but the contracted one.
    fn row(&mut self, name: &str, e: Expr) -> ValueId {
        let rest = self.rest();
        match self.defined(name, rest, &e).kind {
            ExprKind::Read { value, .. } => value,
            _ => unreachable!("a definition is read"),
        }
    }

    fn read(&self, row: ValueId) -> Expr {
        let at = self.rest().into_iter().map(|i| build::index(i, Span::default())).collect();
        build::read(&self.maker.scope.layer, row, at, Span::default())
    }
}
