//! Transitions that are diagonal plus low rank: `h' = a h + sum_r u_r (v_rᵀ h) + b`.
//!
//! In: the component of a group with one state. Out: its diagonal and its factors, or nothing where some term
//! couples the index that is written and the one that is read in a way that does not come apart. A coefficient comes
//! apart through products, quotients, powers, exponentials of sums, sums (one factor pair each), sums over a further
//! index (whose extent is the rank), and the `let`s that define what it reads. Factors with the same `u`
//! are added up, so that the rank of a composition of `n` updates of rank 1 is `n`.

use super::algebra::Algebra;
use super::build::{self, Scope};
use super::classify::Component;
use super::form::{Term, plain, sum_over};
use crate::diag::Span;
use crate::ir::{BinaryOp, Expr, ExprKind, Extent, Function, IndexId, ReduceOp, UnaryOp, ValueKind};

const FIELD: Algebra = Algebra::Field;

/// How often a coefficient may be taken apart.
const MAX_PARTS: usize = 64;

/// A diagonal and factors.
#[derive(Clone, Debug, PartialEq)]
pub struct LowRank {
    /// What multiplies the element itself, at the component's indices.
    pub diagonal: Expr,
    /// The factors; their ranks add up.
    pub factors: Vec<Factor>,
}

/// `sum[rank](u * sum[..](v * h[..]))`
#[derive(Clone, Debug, PartialEq)]
pub struct Factor {
    /// The indices over which outer products are summed; none for rank 1.
    pub rank: Vec<IndexId>,
    /// The column, at the component's indices.
    pub u: Expr,
    /// The row times the state: terms that do not mention the component's mixed indices.
    pub v: Vec<Term>,
}

/// Takes a transition apart.
pub(super) fn low_rank(scope: &mut Scope, component: &Component) -> Option<LowRank> {
    let mixed: Vec<IndexId> =
        component.axes.iter().zip(&component.indices).filter(|(axis, _)| axis.is_none()).map(|(_, i)| *i).collect();
    let mut diagonal = build::number(0.0, component.ty, Span::default());
    let mut factors: Vec<Factor> = Vec::new();
    for term in &component.form.terms {
        let own = term.at.iter().zip(&component.indices).all(|(at, i)| plain(at) == Some(*i));
        if own {
            diagonal = build::add(diagonal, term.weight(FIELD));
            continue;
        }
        if term.at.iter().any(|at| mixed.iter().any(|&i| build::mentions(at, i))) {
            return None;
        }
        let mut apart = Apart { scope, mixed: &mixed, fuel: MAX_PARTS };
        for factor in apart.term(term)? {
            merge(&mut factors, factor);
        }
    }
    Some(LowRank { diagonal, factors })
}

/// Adds a factor to the one with the same column.
fn merge(factors: &mut Vec<Factor>, factor: Factor) {
    let like = |f: &&mut Factor| f.rank.is_empty() && factor.rank.is_empty() && build::same(&f.u, &factor.u);
    match factors.iter_mut().find(like) {
        Some(found) => found.v.extend(factor.v),
        None => factors.push(factor),
    }
}

struct Apart<'a> {
    scope: &'a mut Scope,
    mixed: &'a [IndexId],
    fuel: usize,
}

/// A factor of a product, and whether it divides.
pub(crate) type Piece = (Expr, bool);

impl Apart<'_> {
    fn term(&mut self, term: &Term) -> Option<Vec<Factor>> {
        let summed: Vec<IndexId> = term.bound.clone();
        let mut work = vec![(Vec::<IndexId>::new(), vec![(term.coefficient.clone(), false)])];
        let mut factors = Vec::new();
        while let Some((rank, pieces)) = work.pop() {
            self.fuel = self.fuel.checked_sub(1)?;
            let (mut rows, mut columns, mut both) = (Vec::new(), Vec::new(), None);
            for piece in pieces {
                match (self.row(&piece.0), summed.iter().any(|&i| build::mentions(&piece.0, i))) {
                    (true, true) if both.is_none() => both = Some(piece),
                    (true, true) => return None,
                    (true, false) => rows.push(piece),
                    (false, _) => columns.push(piece),
                }
            }
            let Some((e, divides)) = both else {
                factors.push(self.factor(term, rank, rows, columns)?);
                continue;
            };
            let rest = || rows.iter().chain(&columns).cloned().collect::<Vec<Piece>>();
            for (more, pieces) in apart(self.scope, &e, divides)? {
                let rank = rank.iter().copied().chain(more).collect();
                work.push((rank, rest().into_iter().chain(pieces).collect()));
            }
        }
        factors.reverse();
        Some(factors)
    }

    fn row(&self, e: &Expr) -> bool {
        self.mixed.iter().any(|&i| build::mentions(e, i))
    }

    /// Whether an access stands in the expression that is not plainly inside.
    fn may_need_a_guard(&self, e: &Expr) -> bool {
        let layer = &self.scope.layer;
        let mut found = false;
        e.walk(&mut |e| match &e.kind {
            ExprKind::Read { value, at } => {
                let axes = &layer.value(*value).axes;
                found |= at.iter().zip(axes).any(|(at, axis)| match plain(at) {
                    Some(i) => layer.index(i).extent != *axis,
                    None => true,
                });
            }
            ExprKind::Past { .. } => found = true,
            _ => {}
        });
        found
    }

    /// The factor of a product that has come apart.
    fn factor(&mut self, term: &Term, rank: Vec<IndexId>, rows: Vec<Piece>, columns: Vec<Piece>) -> Option<Factor> {
        let span = term.coefficient.span;
        let mut u = multiplied(&rows, term.coefficient.ty, span);
        let mut coefficient = multiplied(&columns, term.coefficient.ty, span);
        // What the row reads may be inside its tensor only where a guard on what is summed holds, which `u` cannot have.
        let summed = |g: &Expr| term.bound.iter().any(|&i| build::mentions(g, i));
        let row_guards = term.guards.iter().filter(|g| !summed(g));
        if term.guards.iter().any(summed) && row_guards.chain([&u]).any(|e| self.may_need_a_guard(e)) {
            return None;
        }
        let mut v = term.clone();
        v.guards.clear();
        for guard in &term.guards {
            let summed = term.bound.iter().any(|&i| build::mentions(guard, i));
            let zero = build::number(0.0, u.ty, span);
            match (self.row(guard), summed) {
                (true, true) => return None,
                (true, false) => u = build::select(guard.clone(), u, zero),
                // What does not depend on the row guards both: an access in either may need it.
                (false, _) => {
                    if !summed {
                        u = build::select(guard.clone(), u, zero);
                    }
                    v.guards.push(guard.clone());
                }
            }
        }
        // An index of the rank that only one side mentions is summed there.
        let mut kept = Vec::new();
        for r in rank {
            match (build::mentions(&u, r), build::mentions(&coefficient, r)) {
                (true, true) => kept.push(r),
                (true, false) => u = sum_over(self.scope, FIELD, &[r], &u),
                _ => coefficient = sum_over(self.scope, FIELD, &[r], &coefficient),
            }
        }
        // A rank as large as the state is not low.
        let extent = |i: IndexId| &self.scope.layer.index(i).extent;
        let product = |a: Extent, i: &IndexId| Extent::Mul(Box::new(a), Box::new(extent(*i).clone()));
        let whole = self.mixed.split_first().map(|(&first, rest)| rest.iter().fold(extent(first).clone(), product));
        if kept.iter().any(|&r| self.mixed.iter().any(|&i| extent(i) == extent(r)) || whole.as_ref() == Some(extent(r)))
        {
            return None;
        }
        v.coefficient = coefficient;
        Some(Factor { rank: kept, u, v: vec![v] })
    }
}

/// Takes one factor apart: a sum of products, some of them summed over a further index.
pub(crate) fn apart(scope: &mut Scope, e: &Expr, divides: bool) -> Option<Vec<(Vec<IndexId>, Vec<Piece>)>> {
    let one = |pieces: Vec<Piece>| Some(vec![(Vec::new(), pieces)]);
    match &e.kind {
        ExprKind::Binary(BinaryOp::Mul, a, b) => one(vec![((**a).clone(), divides), ((**b).clone(), divides)]),
        ExprKind::Binary(BinaryOp::Div, a, b) => one(vec![((**a).clone(), divides), ((**b).clone(), !divides)]),
        ExprKind::Unary(UnaryOp::Neg, a) => {
            one(vec![(build::number(-1.0, a.ty, a.span), false), ((**a).clone(), divides)])
        }
        ExprKind::Widen(a) => {
            let pieces = apart(scope, a, divides)?.into_iter().map(|(rank, pieces)| {
                let pieces = pieces.into_iter().map(|(p, d)| (build::widen(p, e.ty), d)).collect();
                (rank, pieces)
            });
            Some(pieces.collect())
        }
        ExprKind::Powi(a, n) => match &a.kind {
            ExprKind::Binary(op @ (BinaryOp::Mul | BinaryOp::Div), x, y) => {
                let power = |e: &Expr| build::expr(ExprKind::Powi(Box::new(e.clone()), *n), e.ty, e.span);
                one(vec![(power(x), divides), (power(y), divides != (*op == BinaryOp::Div))])
            }
            _ => None,
        },
        ExprKind::Call(Function::Exp, args) => match &args[0].kind {
            ExprKind::Binary(op @ (BinaryOp::Add | BinaryOp::Sub), x, y) => {
                let exp = |e: &Expr| build::call(Function::Exp, vec![e.clone()]);
                one(vec![(exp(x), divides), (exp(y), divides != (*op == BinaryOp::Sub))])
            }
            _ => None,
        },
        ExprKind::Binary(op @ (BinaryOp::Add | BinaryOp::Sub), a, b) if !divides => {
            let b = if *op == BinaryOp::Sub { build::neg((**b).clone()) } else { (**b).clone() };
            Some(vec![(Vec::new(), vec![(b, false)]), (Vec::new(), vec![((**a).clone(), false)])])
        }
        ExprKind::Reduce { op: ReduceOp::Sum, indices, body } if !divides => {
            let fresh: Vec<IndexId> = indices.iter().map(|&i| scope.fresh(i)).collect();
            let map: Vec<_> = indices.iter().zip(&fresh).map(|(&old, &new)| (old, build::index(new, e.span))).collect();
            let body = scope.substitute(body, &map);
            Some(vec![(fresh, vec![(body, false)])])
        }
        ExprKind::Read { value, at } if scope.layer.value(*value).kind == ValueKind::Let => {
            let equation = scope.layer.definition(*value)?.clone();
            let map: Vec<_> = equation.indices.iter().copied().zip(at.iter().cloned()).collect();
            one(vec![(scope.substitute(&equation.body, &map), divides)])
        }
        _ => None,
    }
}

/// The product of pieces, of that type.
pub(crate) fn multiplied(pieces: &[Piece], ty: crate::ir::Scalar, span: Span) -> Expr {
    let one = build::number(1.0, ty, span);
    pieces.iter().fold(
        one,
        |product, (e, divides)| {
            if *divides { build::div(product, e.clone()) } else { build::mul(product, e.clone()) }
        },
    )
}
