//! The table of algebras: what adds, what multiplies, what is neutral, and where it is from.
//!
//! A step is linear over an algebra when every new element is a sum of products of coefficients, which are free of the
//! state, with elements of the state, plus an offset. Such steps compose by products of their matrices, and
//! that composition is associative because both operations are and the one distributes over the other. A new
//! algebra is a row here, its transfer rules in [`super::semiring`], and a test.

use super::build;
use crate::diag::Span;
use crate::ir::{Expr, Function, ReduceOp, Scalar};

/// An algebra over which a step may be linear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algebra {
    /// Sums and products of real or complex numbers.
    Field,
    /// `max` and `+`.
    MaxPlus,
    /// `min` and `+`.
    MinPlus,
    /// `logaddexp` and `+`.
    LogSumExp,
    /// `or` and `and`.
    Bool,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The algebra.
    pub algebra: Algebra,
    /// What adds, as it is printed between two operands or before them.
    pub plus: &'static str,
    /// What multiplies.
    pub times: &'static str,
    /// What is neutral for addition.
    pub zero: f64,
    /// What is neutral for multiplication.
    pub one: f64,
    /// The reduction that sums.
    pub reduce: ReduceOp,
    /// Where it is described.
    pub source: &'static str,
}

/// All algebras, the narrowest first.
pub const TABLE: &[Row] = &[
    Row {
        algebra: Algebra::Field,
        plus: "+",
        times: "*",
        zero: 0.0,
        one: 1.0,
        reduce: ReduceOp::Sum,
        source: "Blelloch 1990, Prefix Sums and Their Applications, §1.4",
    },
    Row {
        algebra: Algebra::MaxPlus,
        plus: "max",
        times: "+",
        zero: f64::NEG_INFINITY,
        one: 0.0,
        reduce: ReduceOp::Max,
        source: "Baccelli, Cohen, Olsder, Quadrat 1992, Synchronization and Linearity, ch. 3",
    },
    Row {
        algebra: Algebra::MinPlus,
        plus: "min",
        times: "+",
        zero: f64::INFINITY,
        one: 0.0,
        reduce: ReduceOp::Min,
        source: "Baccelli, Cohen, Olsder, Quadrat 1992, Synchronization and Linearity, ch. 3",
    },
    Row {
        algebra: Algebra::LogSumExp,
        plus: "logsumexp",
        times: "+",
        zero: f64::NEG_INFINITY,
        one: 0.0,
        reduce: ReduceOp::LogSumExp,
        source: "Hassan, Särkkä, García-Fernández 2021, Temporal Parallelization of Inference in Hidden Markov Models",
    },
    Row {
        algebra: Algebra::Bool,
        plus: "or",
        times: "and",
        zero: 0.0,
        one: 1.0,
        reduce: ReduceOp::Max,
        source: "Golan 1999, Semirings and their Applications, ch. 1",
    },
];

impl Algebra {
    /// Its row.
    pub fn row(self) -> &'static Row {
        TABLE.iter().find(|row| row.algebra == self).expect("every algebra has a row")
    }

    fn element(self, x: f64, ty: Scalar, span: Span) -> Expr {
        match self {
            Algebra::Bool => build::truth(x != 0.0, span),
            Algebra::Field => build::number(x, ty, span),
            _ => build::real(x, span),
        }
    }

    /// What is neutral for addition.
    pub(crate) fn zero(self, ty: Scalar, span: Span) -> Expr {
        self.element(self.row().zero, ty, span)
    }

    /// What is neutral for multiplication.
    pub(crate) fn one(self, ty: Scalar, span: Span) -> Expr {
        self.element(self.row().one, ty, span)
    }

    /// Whether an expression plainly is the neutral element of addition.
    pub(crate) fn is_zero(self, e: &Expr) -> bool {
        build::same(e, &self.zero(e.ty, e.span)) || build::constant(e).is_some_and(|x| x == self.row().zero)
    }

    /// Whether an expression plainly is the neutral element of multiplication.
    pub(super) fn is_one(self, e: &Expr) -> bool {
        build::same(e, &self.one(e.ty, e.span)) || build::constant(e).is_some_and(|x| x == self.row().one)
    }

    /// The sum.
    pub(crate) fn plus(self, a: Expr, b: Expr) -> Expr {
        if self.is_zero(&a) {
            return build::widen(b, a.ty);
        }
        if self.is_zero(&b) {
            return build::widen(a, b.ty);
        }
        if matches!(self, Algebra::MaxPlus | Algebra::MinPlus | Algebra::Bool) && build::same(&a, &b) {
            return a;
        }
        match self {
            Algebra::Field => build::add(a, b),
            Algebra::MaxPlus => build::call(Function::Max, vec![a, b]),
            Algebra::MinPlus => build::call(Function::Min, vec![a, b]),
            Algebra::LogSumExp => log_add_exp(a, b),
            Algebra::Bool => build::or(a, b),
        }
    }

    /// The sum of several.
    ///
    /// A `logaddexp` says each of its operands three times, so that a row of them would be exponential in its length: they are
    /// added in pairs.
    pub(super) fn sum(self, mut parts: Vec<Expr>, ty: Scalar, span: Span) -> Expr {
        if self != Algebra::LogSumExp {
            return parts.into_iter().fold(self.zero(ty, span), |sum, part| self.plus(sum, part));
        }
        while parts.len() > 1 {
            let mut rest = parts.into_iter();
            parts = Vec::new();
            while let Some(part) = rest.next() {
                parts.push(match rest.next() {
                    Some(other) => self.plus(part, other),
                    None => part,
                });
            }
        }
        parts.pop().unwrap_or_else(|| self.zero(ty, span))
    }

    /// The product.
    pub(crate) fn times(self, a: Expr, b: Expr) -> Expr {
        match self {
            Algebra::Field => build::mul(a, b),
            Algebra::Bool => build::and(a, b),
            _ if self.is_zero(&a) => a,
            _ if self.is_zero(&b) => b,
            _ => build::add(a, b),
        }
    }
}

/// `log(exp(a) + exp(b))` that neither overflows nor stumbles over two minus infinities.
fn log_add_exp(a: Expr, b: Expr) -> Expr {
    let span = a.span;
    let most = build::call(Function::Max, vec![a.clone(), b.clone()]);
    let gap = build::call(Function::Abs, vec![build::binary(crate::ir::BinaryOp::Sub, a, b)]);
    let tail = build::call(Function::Log1p, vec![build::call(Function::Exp, vec![build::neg(gap)])]);
    let sum = build::binary(crate::ir::BinaryOp::Add, most.clone(), tail);
    let nothing = build::real(f64::NEG_INFINITY, span);
    let empty = build::binary(crate::ir::BinaryOp::Eq, most, nothing.clone());
    build::select(empty, nothing, sum)
}
