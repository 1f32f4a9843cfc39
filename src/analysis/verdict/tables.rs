//! The layers of a finite map: tables of next values.
//!
//! Each state gets a table with the axes of its batch and one axis for the old value of each state of the group. A step
//! looks up the tables' entries: the step's own equations are repeated for every entry, with the entries in the place
//! of the old states.

use super::build::{self, Scope};
use super::summary::{Summary, earlier, restrict, skeleton, sweep};
use super::{Group, Transition, Verdict};
use crate::diag::Span;
use crate::ir::{
    BinaryOp, Expr, ExprKind, Extent, IndexId, Init, Layer, Scalar, State, StateId, Type, ValueId, ValueKind,
};

/// The layers of a finite map; `None` where a definition between has other indices than the states.
pub(super) fn summary(verdict: &Verdict, group: &Group, transition: &Transition) -> Option<Summary> {
    let ranges: Vec<Extent> = group.states.iter().map(|s| range(&verdict.layer, *s)).collect();
    let before = earlier(&verdict.layer, &group.states);
    let mut scope = Scope::new(verdict.layer.clone());
    let of = super::Dependence::of(&verdict.layer, &group.states);
    let mut tables = Vec::new();
    // Tables replace the group's states: a definition that depends on them gets an axis for each.
    let mut lifted: Vec<Option<ValueId>> = vec![None; scope.layer.values.len()];
    for &state in &group.states {
        let declared = scope.layer.states[state.at()].clone();
        let value = scope.layer.value(declared.value).clone();
        let axes: Vec<Extent> = value.axes.iter().chain(&ranges).cloned().collect();
        let kind = ValueKind::State(state);
        let table =
            scope.add_value(&format!("{}.table", value.name), kind, axes.clone(), value.ty.clone(), Span::default());
        lifted[declared.value.at()] = Some(table);
        let init = declared.init.as_ref().map(|init| {
            let more = ranges.iter().map(|e| scope.add_index("i", e.clone(), Span::default()));
            let more: Vec<IndexId> = more.collect();
            Init { indices: init.indices.iter().copied().chain(more).collect(), body: init.body.clone() }
        });
        tables.push((state, table, init));
    }
    let equations = std::mem::take(&mut scope.layer.equations);
    for (at, old) in equations.into_iter().enumerate() {
        let own = matches!(scope.layer.value(old.value).kind, ValueKind::Next(s) if group.states.contains(&s));
        if !of.equations.contains(&at) && !own {
            scope.layer.equations.push(old);
            continue;
        }
        let entries: Vec<IndexId> = ranges.iter().map(|e| scope.add_index("s", e.clone(), Span::default())).collect();
        let extra: Vec<Expr> = entries.iter().map(|&i| build::index(i, Span::default())).collect();
        let mut body = old.body.clone();
        redirect(&mut body, &lifted, &extra);
        let value = scope.layer.value(old.value).clone();
        let axes = value.axes.iter().chain(&ranges).cloned().collect();
        let new = scope.add_value(&format!("{}.table", value.name), value.kind, axes, value.ty, Span::default());
        lifted[old.value.at()] = Some(new);
        let indices: Vec<IndexId> = old.indices.iter().copied().chain(entries).collect();
        if !of.equations.contains(&at) {
            // A new state that depends on no old one may be read by what stays as it is.
            scope.layer.equations.push(old);
        }
        scope.define(new, &indices, &body);
    }
    for (state, table, init) in tables {
        let next = lifted[scope.layer.states[state.at()].next.at()]?;
        let entry = &mut scope.layer.states[state.at()];
        entry.value = table;
        entry.next = next;
        entry.init = init;
        entry.name = scope.layer.values[table.at()].name.clone();
    }
    // What was the group's is nobody's now.
    for (at, new) in lifted.iter().enumerate() {
        if new.is_some() {
            scope.layer.values[at].kind = ValueKind::Let;
        }
    }
    let mut states = before.clone();
    states.extend(&group.states);
    restrict(&mut scope.layer, &states);
    sweep(&mut scope.layer);
    let layer = scope.layer;
    let identity = identity(&layer, before.len(), group.states.len());
    Some(Summary {
        identity,
        earlier: before.len(),
        states,
        compose: operator(verdict, group, transition, &ranges, true),
        apply: operator(verdict, group, transition, &ranges, false),
        layer,
    })
}

fn range(layer: &Layer, state: StateId) -> Extent {
    match &layer.value(layer.states[state.at()].value).ty {
        Type::Index(extent) => extent.clone(),
        _ => Extent::Lit(2),
    }
}

/// Reads tables in the place of what depends on the states.
fn redirect(e: &mut Expr, lifted: &[Option<ValueId>], extra: &[Expr]) {
    e.operands_mut().into_iter().for_each(|operand| redirect(operand, lifted, extra));
    if let ExprKind::Read { value, at } = &mut e.kind
        && let Some(Some(new)) = lifted.get(value.at())
    {
        *value = *new;
        at.extend(extra.iter().cloned());
    }
}

/// The old value that stands for itself.
fn old_value(ty: &Type, entry: IndexId) -> Expr {
    let entry = build::index(entry, Span::default());
    match ty {
        Type::Bool => build::binary(BinaryOp::Ne, entry, build::int(0, Span::default())),
        _ => entry,
    }
}

/// A value as a place in a table.
fn as_place(e: Expr) -> Expr {
    let span = e.span;
    if e.ty == Scalar::Bool { build::select(e, build::int(1, span), build::int(0, span)) } else { e }
}

fn identity(layer: &Layer, earlier: usize, count: usize) -> Layer {
    let mut scope = Scope::new(layer.clone());
    for k in 0..count {
        let value = scope.layer.value(scope.layer.states[earlier + k].value).clone();
        let indices: Vec<IndexId> =
            value.axes.iter().map(|e| scope.add_index("i", e.clone(), Span::default())).collect();
        let own = indices[indices.len() - count + k];
        scope.layer.states[earlier + k].init = Some(Init { body: old_value(&value.ty, own), indices });
    }
    scope.layer
}

/// Composes tables, or looks states up in them.
fn operator(verdict: &Verdict, group: &Group, transition: &Transition, ranges: &[Extent], compose: bool) -> Layer {
    let mut scope = Scope::new(skeleton(&verdict.layer, if compose { "compose" } else { "apply" }));
    let declared: Vec<_> =
        group.states.iter().map(|s| verdict.layer.value(verdict.layer.states[s.at()].value).clone()).collect();
    let mut old = Vec::new();
    for (k, value) in declared.iter().enumerate() {
        let id = StateId(k as u32);
        let more: &[Extent] = if compose { ranges } else { &[] };
        let axes: Vec<Extent> = value.axes.iter().chain(more).cloned().collect();
        let name = if compose { format!("{}.table", value.name) } else { value.name.clone() };
        let now = scope.add_value(&name, ValueKind::State(id), axes.clone(), value.ty.clone(), Span::default());
        let next = scope.add_value(&name, ValueKind::Next(id), axes, value.ty.clone(), Span::default());
        scope.layer.states.push(State { name, value: now, next, init: None, reverse: false });
        old.push((now, next));
    }
    let mut later = Vec::new();
    for value in &declared {
        let axes = value.axes.iter().chain(ranges).cloned().collect();
        let input =
            scope.add_value(&format!("{}.2", value.name), ValueKind::Input, axes, value.ty.clone(), Span::default());
        scope.layer.inputs.push(input);
        later.push(input);
    }
    for (k, row) in transition.components.iter().enumerate() {
        let entries: Vec<IndexId> = match compose {
            true => ranges.iter().map(|e| scope.add_index("s", e.clone(), Span::default())).collect(),
            false => Vec::new(),
        };
        let places: Vec<Expr> = transition
            .components
            .iter()
            .enumerate()
            .map(|(t, other)| {
                let own = other.axes.iter().map(|axis| {
                    let k = row.axes.iter().position(|a| a == axis).expect("every state has every batch index");
                    build::index(row.indices[k], Span::default())
                });
                let at = own.chain(entries.iter().map(|&i| build::index(i, Span::default()))).collect();
                as_place(build::read(&scope.layer, old[t].0, at, Span::default()))
            })
            .collect();
        let own = row.indices.iter().map(|&i| build::index(i, Span::default()));
        let body = build::read(&scope.layer, later[k], own.chain(places).collect(), Span::default());
        let left: Vec<IndexId> = row.indices.iter().copied().chain(entries).collect();
        scope.define(old[k].1, &left, &body);
    }
    scope.layer
}
