//! The end of a statement: extents are known, and every access is shown to stay inside.

use std::rc::Rc;

use super::range::{Divides, NotShown, Poly, Prover};
use super::scope::Lowering;
use crate::diag::{Code, Diagnostic, Span};
use crate::ir::{Expr, ExprKind, Extent, Requirement};

/// What has to be shown once the extents of a statement's indices are known.
pub(super) struct Pending {
    pub(super) goal: Goal,
    pub(super) expr: Expr,
    /// The conditions of the enclosing `if`s, and which branch this is.
    pub(super) guards: Vec<(Rc<Expr>, bool)>,
}

/// What is to be shown of an integer.
pub(super) enum Goal {
    /// It lies in `[0, extent)`: a position in an axis of this tensor.
    Inside { extent: Extent, tensor: String, declared: Option<Span> },
    /// It is not negative: a number of steps.
    Steps,
    /// It is not zero: a divisor.
    Divisor,
}

impl Lowering<'_> {
    pub(super) fn expect(&mut self, goal: Goal, expr: &Expr) {
        let guards = self.guards.clone();
        self.pending.push(Pending { goal, expr: expr.clone(), guards });
    }

    /// Gives lifted values their axes, and shows what is to be shown.
    pub(super) fn settle(&mut self) {
        for (value, pairs) in std::mem::take(&mut self.lifted) {
            let mut axes = Vec::new();
            for (outer, inner) in pairs {
                let extent = self.layer.index(outer).extent.clone();
                self.layer.indices[inner.at()].extent = extent.clone();
                axes.push(extent);
            }
            self.layer.values[value.at()].axes = axes;
        }
        // Divisors come before what is computed with them, and of that nothing more is said.
        let mut failed: Vec<Span> = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            let whole = pending.expr.span;
            let said = failed.iter().any(|part| whole.start <= part.start && part.end <= whole.end);
            if !said && !self.full() && !self.show_pending(pending) {
                failed.push(whole);
            }
        }
    }

    fn show_pending(&mut self, pending: Pending) -> bool {
        let Pending { goal, expr, guards } = pending;
        let mut prover = Prover::new(&self.layer);
        prover.assume_inhabited(&expr);
        for (condition, holds) in &guards {
            prover.assume_that(condition, *holds);
        }
        let value = prover.integer(&expr);
        let one = Poly::constant(1);
        let (found, error) = match &goal {
            Goal::Inside { extent, tensor, declared } => {
                let size = prover.extent(extent);
                let low = prover.shows(&value);
                let high = prover.shows(&size.minus(&one).minus(&value));
                let size = extent.text(&self.layer.dims);
                let what = match (low.is_ok(), high.is_ok()) {
                    (true, true) => String::new(),
                    (false, true) => "not shown to be at least 0".to_owned(),
                    (true, false) => format!("not shown to be less than `{size}`"),
                    (false, false) => format!("not shown to lie between 0 and `{size}`"),
                };
                let mut error =
                    Diagnostic::error(Code::S208, expr.span, format!("this may leave `{tensor}`")).label(what);
                if let Some(declared) = declared {
                    error = error.also(*declared, format!("`{size}` elements along this axis"));
                }
                if !matches!((&expr.kind, extent), (ExprKind::Int(_), Extent::Lit(_))) {
                    let way = "guard it with an `if` on the index, as in `if i == 0 then u else h[i - 1]`";
                    error = error.help(way);
                }
                ([low, high], error)
            }
            Goal::Steps => {
                let low = prover.shows(&value);
                let error = Diagnostic::error(Code::S218, expr.span, "a delay may not be negative")
                    .label("not shown to be at least 0");
                ([low, Ok(None)], error)
            }
            Goal::Divisor => {
                let above = prover.shows(&value.minus(&one));
                let shown = match above {
                    Ok(_) => above,
                    Err(_) => prover.shows(&Poly::constant(-1).minus(&value)),
                };
                let mut error = Diagnostic::error(Code::S219, expr.span, "an integer divisor may be zero");
                if expr.kind == ExprKind::Int(0) {
                    error = error.label("this is zero");
                } else {
                    error = error
                        .label("not shown to be positive")
                        .help("guard it with an `if`, as in `if b > 0 then a // b else 0`");
                }
                ([shown, Ok(None)], error)
            }
        };
        let shown = self.rests_on(found, expr.span);
        if !shown {
            self.report(error);
        }
        shown
    }

    /// Whether all was shown; keeps what the proofs require of the dimensions.
    fn rests_on(&mut self, shown: [Result<Option<Divides>, NotShown>; 2], span: Span) -> bool {
        let [Ok(first), Ok(second)] = shown else {
            return false;
        };
        for Divides { divisor, dividend } in [first, second].into_iter().flatten() {
            let known = &self.layer.requirements;
            if !known.iter().any(|r| r.divisor == divisor && r.dividend == dividend) {
                self.layer.requirements.push(Requirement { divisor, dividend, span });
            }
        }
        true
    }

    /// Shows that an integer that becomes a value of an index type is in its range.
    pub(super) fn check_range(&mut self, body: &Expr, extent: &Extent, at: Span, declared: Span) -> bool {
        let mut prover = Prover::new(&self.layer);
        prover.assume_inhabited(body);
        let value = prover.integer(body);
        let above = prover.extent(extent).minus(&Poly::constant(1)).minus(&value);
        let shown = [prover.shows(&value), prover.shows(&above)];
        let shown = self.rests_on(shown, at);
        if !shown {
            let size = extent.text(&self.layer.dims);
            let message = format!("this may leave the range of `index({size})`");
            let mut error =
                Diagnostic::error(Code::S221, at, message).label(format!("not shown to lie in `[0, {size})`"));
            if at != declared {
                error = error
                    .also(declared, "declared here")
                    .help(format!("take the remainder: `(..) % {}`", grouped(&size)));
            }
            self.report(error);
        }
        shown
    }
}

/// An extent as an operand: in parentheses where it is more than a name or a number.
fn grouped(extent: &str) -> String {
    if extent.contains(' ') { format!("({extent})") } else { extent.to_owned() }
}
