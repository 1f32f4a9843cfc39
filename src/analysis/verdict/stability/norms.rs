//! Operator norms of a transition whose extents are not known: the largest row sum, the largest column sum, and the root of
//! the sum of squares.
//!
//! In: the components of a group. Out: numbers that bound the norm for all parameters and inputs; infinity where nothing
//! bounds it.

use super::super::Algebra;
use super::super::build;
use super::super::classify::Component;
use super::super::form::{Term, plain};
use super::symbols::{Monomial, Poly, Symbols, add};
use crate::diag::Span;
use crate::ir::{BinaryOp, Expr, ExprKind, IndexId, ReduceOp};

/// Bounds the norm that belongs to the largest absolute value, which is the largest sum of a row.
pub(super) fn rows(symbols: &mut Symbols<'_>, components: &[Component]) -> f64 {
    let parts = components.iter().map(|component| {
        let terms = component.form.terms.iter();
        terms.map(|term| (term.weight(Algebra::Field), term.bound.clone())).collect::<Vec<_>>()
    });
    let parts: Vec<_> = parts.collect();
    largest(symbols, &parts)
}

/// Bounds the norm that belongs to the sum of absolute values, which is the largest sum of a column.
pub(super) fn columns(symbols: &mut Symbols<'_>, components: &[Component]) -> f64 {
    let mut parts = Vec::new();
    for column in components {
        let own: Vec<IndexId> = column.indices.iter().map(|&i| symbols.scope.fresh(i)).collect();
        let mut sums = Vec::new();
        for row in components {
            for term in row.form.terms.iter().filter(|term| term.atom == column.atom) {
                sums.push(in_column(symbols, row, term, column, &own));
            }
        }
        parts.push(sums);
    }
    largest(symbols, &parts)
}

/// The weight of a term at a column, and over what it is summed there.
fn in_column(
    symbols: &mut Symbols<'_>,
    row: &Component,
    term: &Term,
    column: &Component,
    own: &[IndexId],
) -> (Expr, Vec<IndexId>) {
    let mut map: Vec<(IndexId, Expr)> = Vec::new();
    let mut free: Vec<IndexId> = term.bound.clone();
    for (axis, &i) in row.axes.iter().zip(&row.indices) {
        match axis.and_then(|b| column.axes.iter().position(|other| *other == Some(b))) {
            Some(at) => map.push((i, build::index(own[at], Span::default()))),
            None => free.push(i),
        }
    }
    for ((at, axis), &own) in term.at.iter().zip(&column.axes).zip(own) {
        if axis.is_some() {
            continue;
        }
        let of = |i: &IndexId| free.contains(i);
        if let Some(i) = plain(at).filter(of) {
            map.push((i, build::index(own, Span::default())));
            free.retain(|&j| j != i);
        } else if let Some(i) = one_to_one(symbols, at, &free) {
            // One value of the index at most reads this column: which, nobody knows.
            free.retain(|&j| j != i);
        }
    }
    let weight = term.weight(Algebra::Field);
    (symbols.scope.substitute(&weight, &map), free)
}

/// The index of which a position takes each value once at most: `i - 1`, `N - 1 - i`, `(i + 1) % N`.
fn one_to_one(symbols: &Symbols<'_>, at: &Expr, free: &[IndexId]) -> Option<IndexId> {
    let still = |e: &Expr| free.iter().all(|&i| !build::mentions(e, i));
    match &at.kind {
        ExprKind::Index(i) if free.contains(i) => Some(*i),
        ExprKind::Binary(BinaryOp::Add, a, b) if still(b) => one_to_one(symbols, a, free),
        ExprKind::Binary(BinaryOp::Add, a, b) if still(a) => one_to_one(symbols, b, free),
        ExprKind::Binary(BinaryOp::Sub, a, b) if still(b) => one_to_one(symbols, a, free),
        ExprKind::Binary(BinaryOp::Sub, a, b) if still(a) => one_to_one(symbols, b, free),
        ExprKind::Binary(BinaryOp::Mod, a, b) => {
            // Values that differ by less than the divisor have different remainders.
            let i = one_to_one(symbols, a, free)?;
            let extent = build::extent(&symbols.scope.layer.index(i).extent, Span::default());
            build::same(&extent, b).then_some(i)
        }
        _ => None,
    }
}

/// The largest of sums of absolute values.
fn largest(symbols: &mut Symbols<'_>, sums: &[Vec<(Expr, Vec<IndexId>)>]) -> f64 {
    let mut all: f64 = 0.0;
    for parts in sums {
        let mut best = f64::INFINITY;
        for apart in [false, true] {
            let sum = parts.iter().try_fold(Poly::new(), |sum, (weight, over)| {
                Some(add(sum, symbols.absolute_sum(weight, over, apart)?))
            });
            if let Some(sum) = sum {
                best = best.min(symbols.bounds(&sum).1);
            }
        }
        all = all.max(best);
    }
    all
}

/// Bounds the root of the sum of squares of a single state's transition.
pub(super) fn squares(symbols: &mut Symbols<'_>, components: &[Component]) -> f64 {
    let [component] = components else { return f64::INFINITY };
    let [term] = &component.form.terms[..] else { return f64::INFINITY };
    let mut over: Vec<IndexId> = Vec::new();
    for (axis, i) in component.axes.iter().zip(&component.indices) {
        if axis.is_none() {
            over.push(*i);
        }
    }
    let read: Vec<IndexId> = term.at.iter().filter_map(plain).filter(|i| term.bound.contains(i)).collect();
    let distinct = read.iter().enumerate().all(|(at, i)| !read[..at].contains(i));
    if !term.guards.is_empty() || read.len() != over.len() || read.len() != term.bound.len() || !distinct {
        return f64::INFINITY;
    }
    over.extend(read);
    let weight = symbols.factor(&term.coefficient);
    let Some(square) = symbols.power(&weight, 2.0) else { return f64::INFINITY };
    let square = symbols.product(&square);
    let sum = symbols.factor(&build::reduce(ReduceOp::Sum, over, square));
    symbols.bounds(&vec![sum]).1.max(0.0).sqrt()
}

/// Vectors whose elements are divided by their own p-norm: which index they run along, and `p`.
pub(super) fn normalised(symbols: &mut Symbols<'_>, components: &[Component]) -> Option<(IndexId, bool, f64)> {
    let [component] = components else { return None };
    let [term] = &component.form.terms[..] else { return None };
    let weight = symbols.factor(&term.coefficient);
    for &(below, e) in weight.factors.iter().filter(|(_, e)| *e < 0.0) {
        let Some((indices, body)) = symbols.as_sum(below) else { continue };
        let [own] = indices[..] else { continue };
        let Some((base, p)) = symbols.single(&body) else { continue };
        if (e * p + 1.0).abs() > 1e-12 || p <= 1.0 {
            continue;
        }
        let rest = Monomial {
            coefficient: weight.coefficient,
            factors: weight.factors.iter().filter(|(atom, _)| *atom != below).copied().collect(),
        };
        let rest = symbols.absolute(&rest);
        let rows = component.indices.iter().copied().map(|i| (i, true));
        for (i, row) in rows.chain(term.bound.iter().map(|&i| (i, false))) {
            let element = symbols.atom(base);
            let element = symbols.scope.substitute(&element, &[(own, build::index(i, Span::default()))]);
            let element = symbols.factor(&element);
            let element = symbols.absolute(&element);
            if element == rest && symbols.monomial_mentions(&rest, i) {
                return Some((i, row, p));
            }
        }
    }
    None
}

impl Symbols<'_> {
    /// The indices of an atom that is a sum, and what is summed.
    fn as_sum(&self, atom: usize) -> Option<(Vec<IndexId>, Expr)> {
        match self.atom(atom).kind {
            ExprKind::Reduce { op: ReduceOp::Sum, indices, body } => Some((indices, *body)),
            _ => None,
        }
    }
}
