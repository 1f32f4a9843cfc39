//! Bounds of sums of absolute values, from which norms follow.
//!
//! In: an expression and indices. Out: a sum of products that is at least as large as the sum of the expression's
//! absolute value over the indices. A condition that fixes an index leaves one value of it; a softmax sums to 1 along its
//! index; what is divided by its own sum cancels.

use super::super::build;
use super::symbols::{Poly, Symbols, add, negate};
use crate::ir::{BinaryOp, Expr, ExprKind, IndexId, ReduceOp, Scalar, UnaryOp, ValueKind};

/// An expression that is a sum, a choice or a sum over indices, with what multiplies it inside.
enum Open {
    Parts(Vec<Expr>),
    Choice(Expr, Expr, Expr),
    Over(Vec<IndexId>, Expr),
}

impl Symbols<'_> {
    /// Bounds the sum of an absolute value; with `apart`, products of sums are taken apart first.
    pub(super) fn absolute_sum(&mut self, e: &Expr, over: &[IndexId], apart: bool) -> Option<Poly> {
        if !self.spend() {
            return None;
        }
        if let Some(sum) = self.of_one_sign(e, over) {
            return Some(sum);
        }
        match self.open(e, apart) {
            Some(Open::Parts(parts)) => {
                let mut sum = Poly::new();
                for part in parts {
                    sum = add(sum, self.absolute_sum(&part, over, apart)?);
                }
                Some(sum)
            }
            Some(Open::Over(indices, body)) => {
                let all: Vec<IndexId> = indices.into_iter().chain(over.iter().copied()).collect();
                self.absolute_sum(&body, &all, apart)
            }
            Some(Open::Choice(condition, then, other)) => {
                let (then, other) = self.choice(&condition, &then, &other, over, apart)?;
                let summed = over.iter().any(|&i| build::mentions(&condition, i));
                if summed || then.is_empty() || other.is_empty() {
                    return Some(add(then, other));
                }
                if then == other {
                    return Some(then);
                }
                let most = self.bounds(&then).1.max(self.bounds(&other).1);
                most.is_finite().then(|| vec![super::symbols::Monomial::number(most)])
            }
            None => {
                let m = self.factor(e);
                let m = self.absolute(&m);
                let (outer, inner, left) = self.sum_out(m, over);
                if outer.coefficient == 0.0 {
                    return Some(Poly::new());
                }
                if left.is_empty() {
                    return Some(vec![outer]);
                }
                let body = self.product(&inner);
                let sum = self.factor(&build::reduce(ReduceOp::Sum, left, body));
                Some(vec![self.times(&outer, &sum)])
            }
        }
    }

    /// The sum of what is the same at all indices and has one sign: its parts may cancel.
    fn of_one_sign(&mut self, e: &Expr, over: &[IndexId]) -> Option<Poly> {
        if over.iter().any(|&i| build::mentions(e, i)) || e.ty == Scalar::Complex {
            return None;
        }
        let terms = self.expand(e);
        let terms = match self.bounds(&terms) {
            (low, _) if low >= 0.0 => terms,
            (_, high) if high <= 0.0 => negate(terms),
            _ => return None,
        };
        let mut sum = Poly::new();
        for m in terms {
            let (outer, ..) = self.sum_out(m, over);
            sum = add(sum, vec![outer]);
        }
        Some(sum)
    }

    /// The sums of both sides of a choice.
    fn choice(
        &mut self,
        condition: &Expr,
        then: &Expr,
        other: &Expr,
        over: &[IndexId],
        apart: bool,
    ) -> Option<(Poly, Poly)> {
        if let ExprKind::Unary(UnaryOp::Not, inner) = &condition.kind {
            return self.choice(inner, other, then, over, apart).map(|(a, b)| (b, a));
        }
        let mut sides = [Poly::new(), Poly::new()];
        for (at, (side, holds)) in [(then, true), (other, false)].into_iter().enumerate() {
            if build::constant(side) == Some(0.0) {
                continue;
            }
            sides[at] = match self.fixed(condition, holds, over) {
                Some((i, value)) => {
                    let side = self.scope.substitute(side, &[(i, value)]);
                    let rest: Vec<IndexId> = over.iter().copied().filter(|&j| j != i).collect();
                    self.absolute_sum(&side, &rest, apart)?
                }
                None => self.absolute_sum(side, over, apart)?,
            };
        }
        let [then, other] = sides;
        Some((then, other))
    }

    /// The index that a condition fixes, and its value.
    fn fixed(&self, condition: &Expr, holds: bool, over: &[IndexId]) -> Option<(IndexId, Expr)> {
        match (&condition.kind, holds) {
            (ExprKind::Unary(UnaryOp::Not, inner), _) => self.fixed(inner, !holds, over),
            (ExprKind::Binary(BinaryOp::And, a, b), true) | (ExprKind::Binary(BinaryOp::Or, a, b), false) => {
                self.fixed(a, holds, over).or_else(|| self.fixed(b, holds, over))
            }
            (ExprKind::Binary(BinaryOp::Eq, a, b), true) | (ExprKind::Binary(BinaryOp::Ne, a, b), false) => {
                let plain = |e: &Expr, to: &Expr| match e.kind {
                    ExprKind::Index(i) if over.contains(&i) && !build::mentions(to, i) && to.ty == Scalar::Int => {
                        Some((i, to.clone()))
                    }
                    _ => None,
                };
                plain(a, b).or_else(|| plain(b, a))
            }
            _ => None,
        }
    }

    fn open(&mut self, e: &Expr, apart: bool) -> Option<Open> {
        let each = |open: Open, change: &mut dyn FnMut(Expr) -> Expr| match open {
            Open::Parts(parts) => Open::Parts(parts.into_iter().map(change).collect()),
            Open::Choice(c, a, b) => {
                let a = change(a);
                Open::Choice(c, a, change(b))
            }
            Open::Over(indices, body) => Open::Over(indices, change(body)),
        };
        if e.ty == Scalar::Complex {
            return None;
        }
        match &e.kind {
            ExprKind::Binary(BinaryOp::Add, a, b) => Some(Open::Parts(vec![(**a).clone(), (**b).clone()])),
            ExprKind::Binary(BinaryOp::Sub, a, b) => Some(Open::Parts(vec![(**a).clone(), build::neg((**b).clone())])),
            ExprKind::If(parts) => {
                let [c, a, b] = (**parts).clone();
                Some(Open::Choice(c, a, b))
            }
            ExprKind::Unary(UnaryOp::Neg, a) => self.open(a, apart),
            ExprKind::Widen(a) => Some(each(self.open(a, apart)?, &mut |x| build::widen(x, e.ty))),
            _ if !apart => None,
            ExprKind::Reduce { op: ReduceOp::Sum, indices, body } => {
                let fresh: Vec<IndexId> = indices.iter().map(|&i| self.scope.fresh(i)).collect();
                let map: Vec<_> = indices.iter().zip(&fresh).map(|(&i, &j)| (i, build::index(j, e.span))).collect();
                Some(Open::Over(fresh, self.scope.substitute(body, &map)))
            }
            ExprKind::Binary(BinaryOp::Mul, a, b) => match self.open(a, apart) {
                Some(open) => Some(each(open, &mut |x| build::mul(x, (**b).clone()))),
                None => Some(each(self.open(b, apart)?, &mut |x| build::mul((**a).clone(), x))),
            },
            ExprKind::Binary(BinaryOp::Div, a, b) => {
                Some(each(self.open(a, apart)?, &mut |x| build::div(x, (**b).clone())))
            }
            ExprKind::Read { value, at } if self.scope.layer.value(*value).kind == ValueKind::Let => {
                let body = self.definition(*value, at)?;
                self.inside(|this| this.open(&body, apart))
            }
            _ => None,
        }
    }
}
