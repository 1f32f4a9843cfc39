//! Objectives as sums of weighted squares of affine forms, plus an affine form, by structural induction.
//!
//! In: an expression that depends on an unknown. Out: a [`Quadratic`], whose weights, coefficients and offsets are free of
//! the unknown, or the smallest expression that is in the way. What does not depend on the unknown is left out: it
//! does not move the minimum.

use super::Unknown;
use crate::analysis::verdict::algebra::Algebra;
use crate::analysis::verdict::build;
use crate::analysis::verdict::form::Form;
use crate::analysis::verdict::linear::Linear;
use crate::analysis::verdict::{Dependence, Failure};
use crate::diag::Span;
use crate::ir::{BinaryOp, Expr, ExprKind, Function, IndexId, ReduceOp, UnaryOp};

const FIELD: Algebra = Algebra::Field;

/// `sum[bound](if guards then weight * form^2 else 0)`
#[derive(Clone, Debug)]
pub(super) struct Square {
    /// The indices over which it is summed.
    pub(super) bound: Vec<IndexId>,
    /// Where one of them does not hold, there is no square.
    pub(super) guards: Vec<Expr>,
    /// Free of the unknown.
    pub(super) weight: Expr,
    /// Affine in the unknown.
    pub(super) form: Form,
    /// The term of the objective.
    pub(super) span: Span,
}

/// An objective.
#[derive(Clone, Debug, Default)]
pub(super) struct Quadratic {
    /// Its squares.
    pub(super) squares: Vec<Square>,
    /// What is linear.
    pub(super) linear: Form,
}

impl Quadratic {
    fn plus(mut self, other: Quadratic) -> Self {
        self.squares.extend(other.squares);
        self.linear = self.linear.plus(FIELD, other.linear);
        self
    }

    fn scale(mut self, by: &Expr) -> Self {
        for square in &mut self.squares {
            square.weight = build::mul(by.clone(), square.weight.clone());
        }
        self.linear = self.linear.scale(FIELD, by);
        self
    }

    fn guard(mut self, condition: &Expr) -> Self {
        self.squares.iter_mut().for_each(|square| square.guards.push(condition.clone()));
        self
    }
}

/// The factors of a product.
fn collect<'e>(e: &'e Expr, factors: &mut Vec<&'e Expr>) {
    match &e.kind {
        ExprKind::Binary(BinaryOp::Mul, a, b) => {
            collect(a, factors);
            collect(b, factors);
        }
        _ => factors.push(e),
    }
}

/// Puts objectives into normal form.
pub(super) struct Normaliser<'a, 'b> {
    pub(super) linear: &'b mut Linear<'a>,
    pub(super) of: &'b Dependence,
    pub(super) unknown: &'b Unknown<'b>,
}

impl Normaliser<'_, '_> {
    /// The normal form of an objective.
    ///
    /// # Errors
    /// The smallest expression that is not quadratic.
    pub(super) fn quadratic(&mut self, e: &Expr) -> Result<Quadratic, Failure> {
        if !self.of.depends(e) {
            return Ok(Quadratic::default());
        }
        if let Ok(linear) = self.linear.form(e) {
            return Ok(Quadratic { squares: Vec::new(), linear: Form { offset: None, ..linear } });
        }
        let name = self.unknown.name;
        match &e.kind {
            ExprKind::Unary(UnaryOp::Neg, a) => Ok(self.quadratic(a)?.scale(&build::real(-1.0, e.span))),
            ExprKind::Binary(BinaryOp::Add, a, b) => Ok(self.quadratic(a)?.plus(self.quadratic(b)?)),
            ExprKind::Binary(BinaryOp::Sub, a, b) => {
                let (a, b) = (self.quadratic(a)?, self.quadratic(b)?);
                Ok(a.plus(b.scale(&build::real(-1.0, e.span))))
            }
            ExprKind::Binary(BinaryOp::Mul, ..) => {
                let mut factors = Vec::new();
                collect(e, &mut factors);
                let (unknown, free): (Vec<&Expr>, Vec<&Expr>) = factors.into_iter().partition(|f| self.of.depends(f));
                let product = match unknown[..] {
                    [only] => self.quadratic(only)?,
                    [a, b] if build::same(a, b) => self.square(a, e.span)?,
                    _ => {
                        unknown.iter().try_for_each(|factor| self.affine(factor).map(|_| ()))?;
                        let reason = match unknown.len() {
                            2 => format!("different entries of `{name}` are multiplied: this is no square"),
                            n => format!("{n} factors depend on `{name}`: only squares are quadratic"),
                        };
                        return Err(Failure::new(e.span, reason));
                    }
                };
                Ok(free.into_iter().fold(product, Quadratic::scale))
            }
            ExprKind::Binary(BinaryOp::Div, a, b) if !self.of.depends(b) => {
                let by = build::div(build::real(1.0, b.span), (**b).clone());
                Ok(self.quadratic(a)?.scale(&by))
            }
            ExprKind::Powi(a, 1) => self.quadratic(a),
            ExprKind::Powi(a, 2) => match &a.kind {
                ExprKind::Call(Function::Sqrt, inner) => self.quadratic(&inner[0]),
                ExprKind::Call(Function::Abs, inner) => self.square(&inner[0], e.span),
                _ => self.square(a, e.span),
            },
            ExprKind::Powi(a, n) => {
                self.affine(a)?;
                Err(Failure::new(e.span, format!("`{name}` is raised to the power {n}: only squares are quadratic")))
            }
            ExprKind::If(parts) if !self.of.depends(&parts[0]) => {
                let (then, other) = (self.quadratic(&parts[1])?, self.quadratic(&parts[2])?);
                let not = build::not(parts[0].clone());
                let linear = then.linear.clone().guard(FIELD, &parts[0], other.linear.clone(), e.ty);
                let mut both = then.guard(&parts[0]);
                both.squares.extend(other.guard(&not).squares);
                Ok(Quadratic { linear: Form { offset: None, ..linear }, ..both })
            }
            ExprKind::Reduce { op: op @ (ReduceOp::Sum | ReduceOp::Mean), indices, body } => {
                let mut sum = self.quadratic(body)?;
                sum.squares.iter_mut().for_each(|square| {
                    square.bound.splice(0..0, indices.iter().copied());
                });
                sum.linear = sum.linear.bind(self.linear.scope, FIELD, indices);
                if *op == ReduceOp::Sum {
                    return Ok(sum);
                }
                for i in indices {
                    let count = build::extent(&self.linear.scope.layer.index(*i).extent.clone(), e.span);
                    sum = sum.scale(&build::div(build::real(1.0, e.span), build::widen(count, e.ty)));
                }
                Ok(sum)
            }
            ExprKind::Call(function, args) => {
                args.iter().try_for_each(|arg| self.quadratic(arg).map(|_| ()))?;
                let reason = format!("`{}` of `{name}` is not quadratic", function.name());
                Err(Failure::new(e.span, reason))
            }
            _ => {
                self.affine(e)?;
                Err(Failure::new(e.span, format!("this is not quadratic in `{name}`")))
            }
        }
    }

    fn square(&mut self, a: &Expr, span: Span) -> Result<Quadratic, Failure> {
        let form = self.affine(a)?;
        let form = form.settle(self.linear.scope, FIELD);
        let weight = build::real(1.0, span);
        let square = Square { bound: Vec::new(), guards: Vec::new(), weight, form, span };
        Ok(Quadratic { squares: vec![square], linear: Form::default() })
    }

    /// The affine form of an expression.
    fn affine(&mut self, e: &Expr) -> Result<Form, Failure> {
        self.linear.form(e).map_err(|failure| {
            let reason = failure.reason.replace("the state", &format!("`{}`", self.unknown.name));
            Failure::new(failure.span, reason)
        })
    }
}
