//! The structure of an objective's second derivative, from where its squares read the unknown.
//!
//! An axis of the unknown is *tied* in a square where every read of it is at one index over which the whole square is
//! summed: the square falls apart along it. A square whose axes are all tied holds each entry by itself; any other is a
//! *residual*: it mixes the axes that are not tied.

use super::quadratic::Square;
use crate::analysis::verdict::algebra::Algebra;
use crate::analysis::verdict::build::{self, Scope};
use crate::analysis::verdict::form::{Form, Term, plain};
use crate::diag::Span;
use crate::ir::{BinaryOp, Expr, ExprKind, Extent, IndexId, ReduceOp, Scalar};

const FIELD: Algebra = Algebra::Field;

/// A square, with the index to which each axis of the unknown is tied.
#[derive(Clone, Debug)]
pub(super) struct Tied {
    pub(super) square: Square,
    pub(super) axes: Vec<Option<IndexId>>,
    /// The extents of the unknown's axes.
    extents: Vec<Extent>,
}

/// A square at an entry: `weight * (v * z[entry] + .. - target)^2`.
pub(super) struct Entry {
    pub(super) weight: Expr,
    pub(super) v: Expr,
    pub(super) target: Expr,
}

impl Tied {
    /// Finds the ties of a square over an unknown of that many axes.
    pub(super) fn of(square: Square, extents: &[Extent]) -> Self {
        let mut ties: Vec<Option<IndexId>> = Vec::new();
        for axis in 0..extents.len() {
            let mut places = square.form.terms.iter().map(|term| plain(&term.at[axis]));
            let first = places.next().flatten();
            let tied = first.filter(|i| square.bound.contains(i) && places.all(|place| place == Some(*i)));
            ties.push(tied.filter(|i| !ties.contains(&Some(*i))));
        }
        Self { square, axes: ties, extents: extents.to_vec() }
    }

    /// Whether it holds each entry by itself.
    pub(super) fn is_entrywise(&self) -> bool {
        self.axes.iter().all(Option::is_some)
    }

    /// Whether it holds every entry, whatever the data.
    pub(super) fn is_everywhere(&self, scope: &Scope) -> bool {
        let extent = |i: IndexId| &scope.layer.index(i).extent;
        let whole = self.axes.iter().zip(&self.extents).all(|(tie, axis)| tie.is_some_and(|tie| extent(tie) == axis));
        whole && self.square.guards.is_empty()
    }

    /// The indices over which it is summed that no axis is tied to.
    pub(super) fn extra(&self) -> Vec<IndexId> {
        self.square.bound.iter().copied().filter(|i| !self.axes.contains(&Some(*i))).collect()
    }

    /// The square at an entry, with `more` in the place of the extra indices.
    pub(super) fn at(&self, scope: &mut Scope, entry: &[Expr], more: &[Expr]) -> Entry {
        let square = &self.square;
        let (mut map, mut inside): (Vec<(IndexId, Expr)>, Vec<Expr>) = (Vec::new(), Vec::new());
        for ((tie, at), axis) in self.axes.iter().zip(entry).zip(&self.extents) {
            let Some(tie) = *tie else { continue };
            map.push((tie, at.clone()));
            inside.extend(below(scope, at, tie, axis));
        }
        map.extend(self.extra().into_iter().zip(more.iter().cloned()));
        let zero = || build::real(0.0, square.span);
        let guards: Vec<Expr> = square.guards.iter().map(|guard| scope.substitute(guard, &map)).collect();
        let guarded =
            |e: Expr| guards.iter().chain(&inside).fold(e, |e, guard| build::select(guard.clone(), e, zero()));
        let weight = guarded(scope.substitute(&square.weight, &map));
        let form = square.form.instantiate(scope, &map);
        let v = guarded(coefficient_at(scope, &form, (entry, &self.extents), Scalar::Real, square.span));
        let target = guarded(build::neg(form.offset.unwrap_or_else(zero)));
        Entry { weight, v, target }
    }
}

/// The condition that a place in an axis lies below the extent of an index, where that is not the axis's.
fn below(scope: &Scope, at: &Expr, index: IndexId, axis: &Extent) -> Option<Expr> {
    let extent = &scope.layer.index(index).extent;
    (extent != axis).then(|| build::binary(BinaryOp::Lt, at.clone(), build::extent(extent, at.span)))
}

/// What multiplies an entry of the unknown in a form: the element at a place in axes of these extents.
pub(super) fn coefficient_at(
    scope: &mut Scope,
    form: &Form,
    entry: (&[Expr], &[Extent]),
    ty: Scalar,
    span: Span,
) -> Expr {
    form.terms.iter().fold(build::number(0.0, ty, span), |sum, term| {
        let weight = weight_at(scope, term, entry);
        build::add(sum, build::widen(weight, ty))
    })
}

fn weight_at(scope: &mut Scope, term: &Term, (entry, extents): (&[Expr], &[Extent])) -> Expr {
    // Bound indices of its own, since the same term may be asked for several entries.
    let term = term.instantiate(scope, &[]);
    let mut map: Vec<(IndexId, Expr)> = Vec::new();
    let mut conditions: Vec<Expr> = Vec::new();
    for ((at, wanted), axis) in term.at.iter().zip(entry).zip(extents) {
        match plain(at) {
            _ if build::same(at, wanted) => {}
            Some(i) if term.bound.contains(&i) && map.iter().all(|(known, _)| *known != i) => {
                map.push((i, wanted.clone()));
                conditions.extend(below(scope, wanted, i, axis));
            }
            _ => conditions.push(build::binary(BinaryOp::Eq, at.clone(), wanted.clone())),
        }
    }
    let rest: Vec<IndexId> = term.bound.iter().copied().filter(|i| map.iter().all(|(known, _)| known != i)).collect();
    let weight = scope.substitute(&term.weight(FIELD), &map);
    let zero = build::number(0.0, weight.ty, weight.span);
    let conditions: Vec<Expr> = conditions.iter().map(|c| scope.substitute(c, &map)).collect();
    let guarded = conditions.into_iter().rev().fold(weight, |e, c| build::select(c, e, zero.clone()));
    sum(rest, guarded)
}

/// The sum over indices; 0 of nothing but zeros.
pub(super) fn sum(indices: Vec<IndexId>, e: Expr) -> Expr {
    if build::constant(&e) == Some(0.0) { e } else { build::reduce(ReduceOp::Sum, indices, e) }
}

/// Whether an expression is worth a name.
pub(super) fn is_long(e: &Expr) -> bool {
    let (mut nodes, mut reduces) = (0, false);
    e.walk(&mut |e| {
        nodes += usize::from(!matches!(e.kind, ExprKind::Index(_)));
        reduces |= matches!(e.kind, ExprKind::Reduce { .. } | ExprKind::Call(..));
    });
    reduces || nodes > 5
}
