//! The transition of a group as layers that can be run.
//!
//! In: a [`Verdict`] and one of its groups. Out: a [`Summary`], four layers that every part of the compiler can
//! take as it takes the user's:
//!
//! - `layer` works out what a stretch of steps does. Its states are those of earlier groups, the group's own states,
//!   and the products `P`. Started from `identity`, it holds after the stretch its composed transition: `P` the
//!   product of the coefficients, the own states the offset.
//! - `compose` takes a summary as its state and later ones as its inputs: `P <- P2 P`, `h <- P2 h + h2`. That is the
//!   associative operator of the scan.
//! - `apply` takes the state before a stretch as its state and the stretch's summary as its inputs: `h <- P h + h2`.
//!
//! So a parallel run is: `layer` on every stretch, a scan with `compose`, `apply` to the true start of each, and the
//! user's layer from there. `P` has the axes of the batch, without those that the coefficients share, then the
//! mixed axes of the row, then those of the column. A diagonal transition has no mixed axes. A finite map has one axis
//! for each state of the group, and instead of `P` a table of next values for each of them; it has no offset.
//!
//! A reset puts `P` to zero and the offset to the initial value: that is why these are the initial values in
//! `layer`, and the identity has to be carried in.

use super::algebra::Algebra;
use super::build::{self, Scope};
use super::classify::Component;
use super::form::Term;
use super::{Atom, Class, Group, Part, Transition, Verdict};
use crate::diag::Span;
use crate::ir::{Expr, Extent, IndexId, Init, Layer, Scalar, State, StateId, Type, ValueId, ValueKind};

/// A transition as layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Works out what a stretch does; has the parameters, inputs and delays of the layer that was judged.
    pub layer: Layer,
    /// What `layer` starts a stretch from: the same states, with the neutral summary as initial values.
    pub identity: Layer,
    /// Which states of the layer that was judged the first states of `layer` are: those of earlier groups, then the
    /// group's own (of a finite map, their tables).
    pub states: Vec<StateId>,
    /// How many of them belong to earlier groups.
    pub earlier: usize,
    /// Composes summaries. Its states are those of `layer` without the earlier ones; its inputs are such again.
    pub compose: Layer,
    /// Applies summaries. Its states are the group's; its inputs are those of `compose`.
    pub apply: Layer,
}

/// The layers of a group's transition; `None` for `nonlinear`, and for finite maps that are not a single step of values
/// at their own indices.
pub fn summary(verdict: &Verdict, group: &Group) -> Option<Summary> {
    let transition = group.transition.as_ref()?;
    if group.class == Class::FiniteMap {
        return super::tables::summary(verdict, group, transition);
    }
    let algebra = transition.algebra?;
    let maker = Maker { group, transition, algebra };
    let (layer, states) = maker.stretch(verdict);
    let earlier = states.len() - group.states.len();
    let mut identity = layer.clone();
    maker.neutral(&mut identity, earlier);
    Some(Summary {
        layer,
        identity,
        states,
        earlier,
        compose: maker.operator(verdict, true),
        apply: maker.operator(verdict, false),
    })
}

struct Maker<'a> {
    group: &'a Group,
    transition: &'a Transition,
    algebra: Algebra,
}

/// Which old states the step of a group needs besides its own, in the order of their declaration.
pub(super) fn earlier(layer: &Layer, states: &[StateId]) -> Vec<StateId> {
    let mut needed: Vec<StateId> = states.to_vec();
    loop {
        let mut wanted = vec![false; layer.values.len()];
        needed.iter().for_each(|s| wanted[layer.states[s.at()].next.at()] = true);
        for equation in layer.equations.iter().rev() {
            if wanted[equation.value.at()] {
                equation.body.reads().iter().for_each(|r| wanted[r.at()] = true);
            }
        }
        let all: Vec<StateId> = (0..layer.states.len() as u32)
            .map(StateId)
            .filter(|s| needed.contains(s) || wanted[layer.states[s.at()].value.at()])
            .collect();
        if all.len() == needed.len() {
            return all.into_iter().filter(|s| !states.contains(s)).collect();
        }
        needed = all;
    }
}

/// A layer with these states only, in this order; without outputs.
pub(crate) fn restrict(layer: &mut Layer, states: &[StateId]) {
    leave(layer, states);
    sweep(layer);
}

fn leave(layer: &mut Layer, states: &[StateId]) {
    let old = std::mem::take(&mut layer.states);
    layer.outputs.clear();
    layer.checks.clear();
    layer.derived.clear();
    layer.states = states.iter().map(|s| old[s.at()].clone()).collect();
    for value in &mut layer.values {
        if let ValueKind::State(s) | ValueKind::Next(s) = &mut value.kind {
            match states.iter().position(|kept| kept == s) {
                Some(at) => *s = StateId(at as u32),
                None => value.kind = ValueKind::Let,
            }
        }
    }
}

/// Leaves out equations that no state, delay or reset needs, and versions of states that are overwritten unread.
pub(crate) fn sweep(layer: &mut Layer) {
    let mut wanted = vec![false; layer.values.len()];
    let roots = layer.states.iter().map(|s| s.next).chain(layer.delays.iter().copied()).chain(layer.reset);
    roots.for_each(|v| wanted[v.at()] = true);
    let mut kept = Vec::new();
    for equation in std::mem::take(&mut layer.equations).into_iter().rev() {
        if wanted[equation.value.at()] {
            equation.body.reads().iter().for_each(|r| wanted[r.at()] = true);
            kept.push(equation);
        }
    }
    kept.reverse();
    layer.equations = kept;
}

impl Maker<'_> {
    /// The mixed indices of a component.
    fn mixed<'c>(&self, component: &'c Component) -> impl Iterator<Item = IndexId> + 'c {
        component.axes.iter().zip(&component.indices).filter(|(axis, _)| axis.is_none()).map(|(_, i)| *i)
    }

    /// Whether the axis of a component is one that the products have.
    fn kept(&self, axis: Option<usize>) -> bool {
        axis.is_none_or(|b| !self.group.batch[b].shared)
    }

    fn name(&self, layer: &Layer, component: &Component) -> String {
        let name = &layer.states[component.atom.state.at()].name;
        match component.atom.part {
            Part::Whole => name.clone(),
            Part::Re => format!("{name}.re"),
            Part::Im => format!("{name}.im"),
        }
    }

    /// The axes of the product of a row and a column, as indices to copy.
    fn axes(&self, row: &Component, column: &Component) -> Vec<IndexId> {
        let batch =
            row.axes.iter().zip(&row.indices).filter(|(axis, _)| axis.is_some() && self.kept(**axis)).map(|(_, i)| *i);
        batch.chain(self.mixed(row)).chain(self.mixed(column)).collect()
    }

    /// Where the product of a row and a column is read: the row's element at `at`, the column's at `column`.
    fn place(&self, row: &Component, at: &[Expr], column: &[Expr]) -> Vec<Expr> {
        let batch = row.axes.iter().zip(at).filter(|(axis, _)| axis.is_some() && self.kept(**axis)).map(|(_, e)| e);
        let mixed = row.axes.iter().zip(at).filter(|(axis, _)| axis.is_none()).map(|(_, e)| e);
        batch.chain(mixed).chain(column).cloned().collect()
    }

    fn component(&self, atom: Atom) -> usize {
        let found = self.transition.components.iter().position(|c| c.atom == atom);
        found.expect("a term reads the group's states")
    }

    fn ty(component: &Component) -> Type {
        match component.ty {
            Scalar::Complex => Type::Complex,
            Scalar::Bool => Type::Bool,
            _ => Type::Real,
        }
    }

    /// The layer of a stretch, and its states that are no products.
    fn stretch(&self, verdict: &Verdict) -> (Layer, Vec<StateId>) {
        let mut states = earlier(&verdict.layer, &self.group.states);
        states.extend(&self.group.states);
        let mut scope = Scope::new(verdict.layer.clone());
        let names: Vec<String> = self.transition.components.iter().map(|c| self.name(&verdict.layer, c)).collect();
        if self.algebra != Algebra::Field {
            self.offsets(&mut scope);
        }
        leave(&mut scope.layer, &states);
        let reverse = verdict.layer.states[self.group.states[0].at()].reverse;
        let products = self.products(&mut scope, &names, reverse, false);
        for (r, row) in self.transition.components.iter().enumerate() {
            for c in 0..self.transition.components.len() {
                self.step(&mut scope, &products, r, c, row);
            }
        }
        sweep(&mut scope.layer);
        (scope.layer, states)
    }

    /// Gives the own states the normal form as their step, which is defined for the zero of the algebra.
    fn offsets(&self, scope: &mut Scope) {
        let of = super::Dependence::of(&scope.layer, &self.group.states);
        for component in &self.transition.components {
            let next = scope.layer.states[component.atom.state.at()].next;
            // What reads none of them may be read by what stays as it is, and stays in its place.
            if !scope.layer.definition(next).is_some_and(|equation| of.depends(&equation.body)) {
                continue;
            }
            let form = component.form.instantiate(scope, &[]);
            let body = form.emit(self.algebra, component.ty, Span::default(), |term| {
                let value = scope.layer.states[term.atom.state.at()].value;
                build::read(&scope.layer, value, term.at.clone(), Span::default())
            });
            scope.layer.equations.retain(|e| e.value != next);
            scope.define(next, &component.indices, &body);
        }
    }

    /// Adds the states (or inputs) of the products; by row and column.
    fn products(
        &self,
        scope: &mut Scope,
        names: &[String],
        reverse: bool,
        input: bool,
    ) -> Vec<Vec<(ValueId, StateId)>> {
        let components = &self.transition.components;
        let mut products = Vec::new();
        for (r, row) in components.iter().enumerate() {
            let mut line = Vec::new();
            for (c, column) in components.iter().enumerate() {
                let name = match components.len() {
                    1 => format!("{}.P", names[r]),
                    _ => format!("{}.P.{}", names[r], names[c]),
                };
                let axes: Vec<Extent> =
                    self.axes(row, column).iter().map(|i| scope.layer.index(*i).extent.clone()).collect();
                line.push(if input {
                    let name = format!("{name}.2");
                    let value = scope.add_value(&name, ValueKind::Input, axes, Self::ty(row), Span::default());
                    scope.layer.inputs.push(value);
                    (value, StateId(0))
                } else {
                    let zero = self.algebra.zero(row.ty, Span::default());
                    self.add_state(scope, &name, axes, Self::ty(row), reverse, zero)
                });
            }
            products.push(line);
        }
        products
    }

    fn add_state(
        &self,
        scope: &mut Scope,
        name: &str,
        axes: Vec<Extent>,
        ty: Type,
        reverse: bool,
        init: Expr,
    ) -> (ValueId, StateId) {
        let id = StateId(scope.layer.states.len() as u32);
        let value = scope.add_value(name, ValueKind::State(id), axes.clone(), ty.clone(), Span::default());
        let next = scope.add_value(name, ValueKind::Next(id), axes.clone(), ty, Span::default());
        let indices = axes
            .iter()
            .enumerate()
            .map(|(at, e)| scope.add_index(&format!("i{at}"), e.clone(), Span::default()))
            .collect();
        let init = Some(Init { indices, body: init });
        scope.layer.states.push(State { name: name.to_owned(), value, next, init, reverse });
        (value, id)
    }

    /// `P[r, c] <- sum over terms (coefficient * P[term, c])`
    fn step(&self, scope: &mut Scope, products: &[Vec<(ValueId, StateId)>], r: usize, c: usize, row: &Component) {
        let column: Vec<IndexId> = self.mixed(&self.transition.components[c]).map(|i| scope.fresh(i)).collect();
        let at: Vec<Expr> = column.iter().map(|&i| build::index(i, Span::default())).collect();
        let mut left = self.axes(row, &self.transition.components[c]);
        left.truncate(left.len() - column.len());
        left.extend(&column);
        let (_, state) = products[r][c];
        let next = scope.layer.states[state.at()].next;
        let read = |scope: &Scope, term: &Term| {
            let of = self.component(term.atom);
            let place = self.place(&self.transition.components[of], &term.at, &at);
            build::read(&scope.layer, products[of][c].0, place, Span::default())
        };
        let body = match &self.transition.low_rank {
            None => {
                let form = row.form.instantiate(scope, &[]);
                let form = super::Form { offset: None, ..form };
                form.emit(self.algebra, row.ty, Span::default(), |term| read(scope, term))
            }
            Some(low_rank) => {
                let own: Vec<Expr> = row.indices.iter().map(|&i| build::index(i, Span::default())).collect();
                let place = self.place(row, &own, &at);
                let own = build::read(&scope.layer, products[r][c].0, place, Span::default());
                let mut sum = build::mul(low_rank.diagonal.clone(), own);
                for factor in &low_rank.factors {
                    // The row times the product, once for all elements of the column.
                    let mixed: Vec<IndexId> = self.mixed(row).collect();
                    let axes: Vec<IndexId> = left
                        .iter()
                        .copied()
                        .filter(|i| !mixed.contains(i))
                        .chain(factor.rank.iter().copied())
                        .collect();
                    let zero = build::number(0.0, row.ty, Span::default());
                    let inner = factor.v.iter().fold(zero, |sum, term| {
                        let product = build::mul(term.coefficient.clone(), read(scope, term));
                        build::add(sum, term.around(Algebra::Field, product))
                    });
                    let extents = axes.iter().map(|i| scope.layer.index(*i).extent.clone()).collect();
                    let name = format!("row.{}", scope.layer.values.len());
                    let value = scope.add_value(&name, ValueKind::Let, extents, Self::ty(row), Span::default());
                    scope.define(value, &axes, &inner);
                    let at = axes.iter().map(|&i| build::index(i, Span::default())).collect();
                    let inner = build::read(&scope.layer, value, at, Span::default());
                    let outer = build::mul(factor.u.clone(), inner);
                    sum = build::add(sum, super::form::sum_over(scope, Algebra::Field, &factor.rank, &outer));
                }
                sum
            }
        };
        scope.define(next, &left, &body);
    }

    /// Gives the group's own states and the products the neutral summary as initial values.
    fn neutral(&self, layer: &mut Layer, earlier: usize) {
        let mut scope = Scope::new(layer.clone());
        let own = earlier..earlier + self.group.states.len();
        for at in own.clone() {
            let state = &scope.layer.states[at];
            let value = scope.layer.value(state.value).clone();
            let zero = self.algebra.zero(value.ty.scalar(), Span::default());
            let indices = value.axes.iter().map(|e| scope.add_index("i", e.clone(), Span::default())).collect();
            scope.layer.states[at].init = Some(Init { indices, body: zero });
        }
        let mut at = own.end;
        for (r, row) in self.transition.components.iter().enumerate() {
            for c in 0..self.transition.components.len() {
                let mixed = self.mixed(row).count();
                let axes = scope.layer.value(scope.layer.states[at].value).axes.clone();
                let indices: Vec<IndexId> =
                    axes.iter().map(|e| scope.add_index("i", e.clone(), Span::default())).collect();
                let zero = self.algebra.zero(row.ty, Span::default());
                let body = if r == c {
                    let one = self.algebra.one(row.ty, Span::default());
                    let first = indices.len() - 2 * mixed;
                    let equal = (0..mixed).fold(build::truth(true, Span::default()), |all, k| {
                        let index = |i| build::index(i, Span::default());
                        let same = build::binary(
                            crate::ir::BinaryOp::Eq,
                            index(indices[first + k]),
                            index(indices[first + mixed + k]),
                        );
                        build::and(all, same)
                    });
                    build::select(equal, one, zero)
                } else {
                    zero
                };
                scope.layer.states[at].init = Some(Init { indices, body });
                at += 1;
            }
        }
        *layer = scope.layer;
    }

    /// The layer that composes summaries, or the one that applies them.
    fn operator(&self, verdict: &Verdict, compose: bool) -> Layer {
        let mut scope = Scope::new(skeleton(&verdict.layer, if compose { "compose" } else { "apply" }));
        let components = &self.transition.components;
        let names: Vec<String> = components.iter().map(|c| self.name(&verdict.layer, c)).collect();
        // The vectors: the states before, and the offsets that come as inputs.
        let mut old = Vec::new();
        for &state in &self.group.states {
            let declared = verdict.layer.value(verdict.layer.states[state.at()].value).clone();
            let zero = self.algebra.zero(declared.ty.scalar(), Span::default());
            let added = self.add_state(&mut scope, &declared.name, declared.axes, declared.ty, false, zero);
            old.push((state, added));
        }
        let products = if compose { self.products(&mut scope, &names, false, false) } else { Vec::new() };
        let mut offsets = Vec::new();
        for &state in &self.group.states {
            let declared = verdict.layer.value(verdict.layer.states[state.at()].value).clone();
            let name = format!("{}.2", declared.name);
            let value = scope.add_value(&name, ValueKind::Input, declared.axes, declared.ty, Span::default());
            scope.layer.inputs.push(value);
            offsets.push((state, value));
        }
        let later = self.products(&mut scope, &names, false, true);
        if compose {
            for (r, row) in components.iter().enumerate() {
                for (c, column) in components.iter().enumerate() {
                    let at: Vec<IndexId> = self.mixed(column).map(|i| scope.fresh(i)).collect();
                    let place: Vec<Expr> = at.iter().map(|&i| build::index(i, Span::default())).collect();
                    let mut left = self.axes(row, column);
                    left.truncate(left.len() - at.len());
                    left.extend(&at);
                    let body = self.act(&mut scope, &later, r, |scope, t, element| {
                        let at = self.place(&components[t], element, &place);
                        build::read(&scope.layer, products[t][c].0, at, Span::default())
                    });
                    let next = scope.layer.states[products[r][c].1.at()].next;
                    scope.define(next, &left, &body);
                }
            }
        }
        for &(state, (_, id)) in &old {
            let next = scope.layer.states[id.at()].next;
            let mut parts = Vec::new();
            let mut indices = Vec::new();
            for (r, row) in components.iter().enumerate().filter(|(_, c)| c.atom.state == state) {
                let body = self.act(&mut scope, &later, r, |scope, t, element| {
                    let atom = components[t].atom;
                    let value = old.iter().find(|(s, _)| *s == atom.state).expect("it is in the group").1.0;
                    of_part(atom.part, build::read(&scope.layer, value, element.to_vec(), Span::default()))
                });
                let at = row.indices.iter().map(|&i| build::index(i, Span::default())).collect();
                let offset = offsets.iter().find(|(s, _)| *s == state).expect("it is in the group").1;
                let offset = of_part(row.atom.part, build::read(&scope.layer, offset, at, Span::default()));
                parts.push(self.algebra.plus(body, offset));
                indices.clone_from(&row.indices);
            }
            let body = if parts.len() == 2 {
                let imaginary = parts.pop().expect("there are two");
                build::complex(parts.pop().expect("there are two"), imaginary)
            } else {
                parts.pop().expect("every state has a component")
            };
            scope.define(next, &indices, &body);
        }
        scope.layer
    }

    /// A row of the later products times what `read` gives, at the row's indices.
    fn act(
        &self,
        scope: &mut Scope,
        later: &[Vec<(ValueId, StateId)>],
        r: usize,
        read: impl Fn(&Scope, usize, &[Expr]) -> Expr,
    ) -> Expr {
        let row = &self.transition.components[r];
        let own: Vec<Expr> = row.indices.iter().map(|&i| build::index(i, Span::default())).collect();
        let mut parts = Vec::new();
        for (t, other) in self.transition.components.iter().enumerate() {
            let mut bound = Vec::new();
            let mut element = Vec::new();
            for (axis, &i) in other.axes.iter().zip(&other.indices) {
                element.push(match axis {
                    Some(_) => {
                        let k = row.axes.iter().position(|a| a == axis).expect("every component has every batch index");
                        own[k].clone()
                    }
                    None => {
                        let i = scope.fresh(i);
                        bound.push(i);
                        build::index(i, Span::default())
                    }
                });
            }
            let column: Vec<Expr> = bound.iter().map(|&i| build::index(i, Span::default())).collect();
            let place = self.place(row, &own, &column);
            let weight = build::read(&scope.layer, later[r][t].0, place, Span::default());
            let product = self.algebra.times(weight, read(scope, t, &element));
            let product = build::reduce(self.algebra.row().reduce, bound, build::widen(product, row.ty));
            parts.push(product);
        }
        self.algebra.sum(parts, row.ty, Span::default())
    }
}

fn of_part(part: Part, e: Expr) -> Expr {
    match part {
        Part::Whole => e,
        Part::Re => build::part(crate::ir::Function::Re, e),
        Part::Im => build::part(crate::ir::Function::Im, e),
    }
}

/// A layer with the dimensions of another one, and its indices to copy.
pub(super) fn skeleton(layer: &Layer, name: &str) -> Layer {
    Layer {
        name: format!("{}.{name}", layer.name),
        dims: layer.dims.clone(),
        indices: layer.indices.clone(),
        ..Layer::default()
    }
}
