//! Whether every access of a layer stays inside.
//!
//! In: an [`Instance`], wherever it comes from. Out: nothing, or the integers that are not shown to be in range. Shown
//! is, for every equation:
//!
//! - a position lies inside its axis, and the place in a normalised vector inside the vector;
//! - what is stored as an index lies below its extent;
//! - an integer divisor is not zero;
//! - a delay is not read from a step to come.
//!
//! An interval of the integer, for the dimensions that the instance has, shows most of it; the rest is for the proofs
//! of [`crate::sema::range`], which know the conditions around a place. What they require of the dimensions is
//! compared with these. Inputs, parameters, states and delays of index types are taken for in range: whoever runs
//! code compares them. An integer that mentions an index without values is never evaluated.
//!
//! Initialisers are left out: they are only interpreted, and the interpreter looks at every access.

use crate::diag::{Code, Diagnostic, Span};
use crate::ir::ranges::{Range, Ranges};
use crate::ir::{BinaryOp, Expr, ExprKind, Extent, Instance, Scalar, Type};
use crate::plan::shape::free_indices;
use crate::sema::range::{Poly, Prover};

/// Shows that every access stays inside.
///
/// # Errors
/// S208, S218, S219 and S221 for what is not shown; S408 and S414 where the instance does not keep the promises of
/// [`Instance::new`].
pub fn check(instance: &Instance) -> Result<(), Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let ranges = Ranges::of(instance, &mut problems);
    let values = ranges.values();
    let mut checker = Checker { instance, values, guards: Vec::new(), problems };
    for equation in &instance.layer.equations {
        checker.expr(&equation.body);
        let value = instance.layer.value(equation.value);
        if let Type::Index(extent) = &value.ty
            && !checker.below(&equation.body, extent)
        {
            let message = format!("`{}` may leave its range", value.name);
            checker.report(Code::S221, equation.body.span, message);
        }
    }
    if checker.problems.is_empty() { Ok(()) } else { Err(checker.problems) }
}

struct Checker<'a> {
    instance: &'a Instance,
    /// What is known of each value.
    values: Vec<Range>,
    /// The conditions around this place, and whether they hold here.
    guards: Vec<(&'a Expr, bool)>,
    problems: Vec<Diagnostic>,
}

impl<'a> Checker<'a> {
    fn report(&mut self, code: Code, span: Span, message: String) {
        self.problems.push(Diagnostic::error(code, span, message));
    }

    fn under(&mut self, condition: &'a Expr, holds: bool, e: &'a Expr) {
        self.guards.push((condition, holds));
        self.expr(e);
        self.guards.pop();
    }

    fn expr(&mut self, e: &'a Expr) {
        match &e.kind {
            ExprKind::If(parts) => {
                let [condition, then, other] = &**parts;
                self.expr(condition);
                self.under(condition, true, then);
                self.under(condition, false, other);
                return;
            }
            ExprKind::Binary(op @ (BinaryOp::And | BinaryOp::Or), a, b) => {
                self.expr(a);
                self.under(a, *op == BinaryOp::And, b);
                return;
            }
            ExprKind::Binary(BinaryOp::FloorDiv | BinaryOp::Mod, _, divisor)
                if e.ty == Scalar::Int && !self.differs_from_zero(divisor) =>
            {
                self.report(Code::S219, divisor.span, "an integer divisor may be zero".to_owned());
            }
            ExprKind::Read { value, at } => self.positions(*value, at),
            ExprKind::Past { delay, at, steps } => {
                self.positions(*delay, at);
                let interval = self.interval(steps).is_some_and(|range| range.lo >= 0);
                if !interval && !self.shown(steps, |_, steps| vec![steps.clone()]) {
                    self.report(Code::S218, steps.span, "a delay may be negative".to_owned());
                }
            }
            ExprKind::Normalise { index, at, .. } | ExprKind::Solve { row: index, at, .. } => {
                let index = self.instance.layer.index(*index);
                if !self.below(at, &index.extent) {
                    let message = format!("this may leave the range of `{}`", index.name);
                    self.report(Code::S208, at.span, message);
                }
            }
            _ => {}
        }
        for operand in e.operands() {
            self.expr(operand);
        }
    }

    fn positions(&mut self, value: crate::ir::ValueId, at: &'a [Expr]) {
        let value = self.instance.layer.value(value);
        for (e, axis) in at.iter().zip(&value.axes) {
            if !self.below(e, axis) {
                self.report(Code::S208, e.span, format!("this may leave `{}`", value.name));
            }
        }
    }

    fn interval(&self, e: &Expr) -> Option<Range> {
        Ranges::known(self.instance, &self.values, e)
    }

    /// Whether the integer lies in `[0, extent)`.
    fn below(&self, e: &Expr, extent: &Extent) -> bool {
        let Some(n) = self.instance.extent(extent) else { return false };
        if self.interval(e).is_some_and(|range| range.lo >= 0 && range.hi < n.into()) {
            return true;
        }
        self.shown(e, |prover, value| {
            let size = prover.extent(extent);
            vec![value.clone(), size.minus(&Poly::constant(1)).minus(value)]
        })
    }

    fn differs_from_zero(&self, e: &Expr) -> bool {
        if self.interval(e).is_some_and(|range| range.lo > 0 || range.hi < 0) {
            return true;
        }
        self.shown(e, |_, value| vec![value.minus(&Poly::constant(1))])
            || self.shown(e, |_, value| vec![Poly::constant(-1).minus(value)])
    }

    /// Whether no polynomial that is made from the integer's can be negative here.
    fn shown(&self, e: &Expr, goals: impl FnOnce(&mut Prover<'_>, &Poly) -> Vec<Poly>) -> bool {
        if free_indices(e).iter().any(|i| self.instance.extents[i.at()] == 0) {
            return true;
        }
        let mut prover = Prover::new(&self.instance.layer);
        prover.assume_inhabited(e);
        for (condition, holds) in &self.guards {
            prover.assume_that(condition, *holds);
        }
        let value = prover.integer(e);
        let goals = goals(&mut prover, &value);
        goals.iter().all(|goal| match prover.shows(goal) {
            Ok(None) => true,
            Ok(Some(rule)) => {
                let pair = (self.instance.extent(&rule.dividend), self.instance.extent(&rule.divisor));
                matches!(pair, (Some(a), Some(b)) if b > 0 && a % b == 0)
            }
            Err(_) => false,
        })
    }
}
