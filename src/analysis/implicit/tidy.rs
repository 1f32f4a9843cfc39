//! Products in one form: equal factors as a power, what is above and below the line apart, and the factors of an earlier
//! index in front of those of a later one, sums last.
//!
//! In: an expression. Out: one that has the same value for finite numbers other than zero, and is shorter to read.

use crate::analysis::verdict::build;
use crate::ir::{BinaryOp, Expr, ExprKind, IndexId, ReduceOp, Scalar, UnaryOp};

/// A product taken apart.
struct Product {
    constant: f64,
    /// Bases with their exponents, none 0.
    factors: Vec<(Expr, i32)>,
}

/// Puts the products of an expression in order; `left` are the indices in the order of the axes.
pub(super) fn tidy(e: Expr, left: &[IndexId]) -> Expr {
    if e.ty != Scalar::Real && e.ty != Scalar::Complex {
        return e;
    }
    let Expr { kind, ty, span } = e;
    match kind {
        ExprKind::Binary(BinaryOp::Add, a, b) => build::add(tidy(*a, left), tidy(*b, left)),
        ExprKind::Binary(BinaryOp::Sub, a, b) => build::sub(tidy(*a, left), tidy(*b, left)),
        ExprKind::Reduce { op: ReduceOp::Sum, indices, body } => {
            let order: Vec<IndexId> = left.iter().chain(&indices).copied().collect();
            build::reduce(ReduceOp::Sum, indices, tidy(*body, &order))
        }
        kind @ (ExprKind::Binary(BinaryOp::Mul | BinaryOp::Div, ..)
        | ExprKind::Unary(UnaryOp::Neg, _)
        | ExprKind::Powi(..)) => {
            let mut product = Product { constant: 1.0, factors: Vec::new() };
            product.take(Expr { kind, ty, span }, 1, left);
            product.put(left, ty, span)
        }
        kind => Expr { kind, ty, span },
    }
}

impl Product {
    fn take(&mut self, e: Expr, exponent: i32, left: &[IndexId]) {
        if let Some(x) = build::constant(&e).filter(|x| *x != 0.0) {
            self.constant *= x.powi(exponent);
            return;
        }
        let Expr { kind, ty, span } = e;
        match kind {
            ExprKind::Unary(UnaryOp::Neg, a) => {
                self.constant *= if exponent % 2 == 0 { 1.0 } else { -1.0 };
                self.take(*a, exponent, left);
            }
            ExprKind::Binary(BinaryOp::Mul, a, b) => {
                self.take(*a, exponent, left);
                self.take(*b, exponent, left);
            }
            ExprKind::Binary(BinaryOp::Div, a, b) => {
                self.take(*a, exponent, left);
                self.take(*b, -exponent, left);
            }
            ExprKind::Powi(a, n) if n > 0 && n.checked_mul(exponent).is_some_and(|n| n.abs() <= 64) => {
                self.take(*a, n * exponent, left);
            }
            kind => {
                let e = tidy(Expr { kind, ty, span }, left);
                match self.factors.iter_mut().find(|(known, _)| build::same(known, &e)) {
                    Some((_, n)) => *n += exponent,
                    None => self.factors.push((e, exponent)),
                }
            }
        }
    }

    fn put(mut self, left: &[IndexId], ty: Scalar, span: crate::diag::Span) -> Expr {
        self.factors.retain(|(_, n)| *n != 0);
        let place = |e: &Expr| match e.kind {
            ExprKind::Reduce { .. } => usize::MAX,
            _ => left.iter().rposition(|&i| build::mentions(e, i)).map_or(0, |at| at + 1),
        };
        self.factors.sort_by_key(|(e, _)| place(e));
        let power = |(e, n): &(Expr, i32)| match n.abs() {
            1 => e.clone(),
            n => build::expr(ExprKind::Powi(Box::new(e.clone()), n), e.ty, e.span),
        };
        let (above, below): (Vec<_>, Vec<_>) = self.factors.iter().partition(|(_, n)| *n > 0);
        let times = |start: Expr, factors: Vec<&(Expr, i32)>| factors.into_iter().map(power).fold(start, build::mul);
        let one = || build::number(1.0, ty, span);
        let size = build::number(self.constant.abs(), ty, span);
        let product = build::div(times(size, above), times(one(), below));
        if self.constant < 0.0 { build::neg(product) } else { product }
    }
}
