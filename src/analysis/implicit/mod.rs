//! Implicit updates: a new state that is the minimum of an objective, in closed form.
//!
//! In: an objective that is quadratic in an unknown of the state's shape. Out: definitions and an expression for the
//! minimum, all of it ordinary IR, so that nothing behind it knows where it comes from. [`quadratic`] puts the objective in
//! normal form, [`hessian`] finds the structure of its second derivative, [`solution`] writes the minimum down:
//!
//! | second derivative | minimum |
//! | --- | --- |
//! | diagonal | a division |
//! | diagonal plus rank one | Sherman and Morrison (1950) |
//! | diagonal plus rank r | Woodbury (1950): a system with r unknowns |
//! | dense along some indices | a system with as many unknowns as these have values |
//!
//! All of it falls apart over the indices that no term mixes. [`diagonal()`] keeps of an affine expression each
//! element's weight on itself. What is positive is shown by [`sign`], or else looked at in every step
//! ([`crate::ir::Check`]).

mod diagonal;
mod hessian;
mod quadratic;
mod sign;
mod solution;
mod tidy;

use crate::analysis::verdict::build::Scope;
use crate::analysis::verdict::linear::Linear;
use crate::analysis::verdict::{Dependence, Failure};
use crate::diag::Span;
use crate::ir::{Expr, ExprKind, IndexId, StateId, ValueId, ValueKind};
use quadratic::{Normaliser, Quadratic};

pub(crate) use diagonal::diagonal;

/// What is to be found.
#[derive(Clone, Copy)]
pub(crate) struct Unknown<'a> {
    /// The value that stands for it in the objective: no equation defines or reads it.
    pub(crate) value: ValueId,
    /// What the user calls it.
    pub(crate) name: &'a str,
    /// The version of the state before the update.
    pub(crate) state: ValueId,
    /// The indices on the left of the update.
    pub(crate) left: &'a [IndexId],
    /// Whether a name cannot be given to a definition.
    pub(crate) taken: &'a dyn Fn(&str) -> bool,
}

/// A minimum.
#[derive(Debug)]
pub(crate) struct Minimum {
    /// The definitions that were added to the layer, in order.
    pub(crate) definitions: Vec<ValueId>,
    /// The element of the minimum at the indices on the left.
    pub(crate) element: Expr,
}

/// Finds the minimum of an objective, and adds the definitions and checks that it needs to the layer.
///
/// # Errors
/// The term that stands in the way: one that is not quadratic, one that depends on the state in another way than
/// affinely, or what does not hold every entry.
pub(crate) fn minimum(scope: &mut Scope, unknown: &Unknown<'_>, objective: &Expr) -> Result<Minimum, Failure> {
    let of = Dependence::of_value(&scope.layer, unknown.value);
    let quadratic =
        as_state(scope, unknown.value, &of, |linear| Normaliser { linear, of: &of, unknown }.quadratic(objective))?;
    affine_in_state(scope, unknown, &quadratic)?;
    solution::solve(scope, unknown, quadratic, objective.span)
}

/// Runs the analysis of affine forms with a value in the place of a state.
fn as_state<T>(scope: &mut Scope, value: ValueId, of: &Dependence, run: impl FnOnce(&mut Linear<'_>) -> T) -> T {
    let kind = std::mem::replace(&mut scope.layer.values[value.at()].kind, ValueKind::State(StateId(0)));
    let result = run(&mut Linear::new(scope, of));
    scope.layer.values[value.at()].kind = kind;
    result
}

/// The state may stand in affine terms only: what the unknown is compared with.
fn affine_in_state(scope: &mut Scope, unknown: &Unknown<'_>, quadratic: &Quadratic) -> Result<(), Failure> {
    let of = Dependence::of_value(&scope.layer, unknown.state);
    let name = scope.layer.value(unknown.state).name.clone();
    for square in &quadratic.squares {
        let places = square.form.terms.iter().flat_map(|term| term.coefficients().chain(&term.at));
        for e in square.guards.iter().chain([&square.weight]).chain(places) {
            if let Some(span) = reads(&of, e) {
                let reason = format!("`{name}` stands in a factor of `{}`: it may only be added to it", unknown.name);
                return Err(Failure::new(span, reason));
            }
        }
    }
    let offsets = quadratic.squares.iter().filter_map(|square| square.form.offset.clone());
    let weights = quadratic.linear.terms.iter().map(|term| term.coefficient.clone());
    let all: Vec<Expr> = offsets.chain(weights).collect();
    as_state(scope, unknown.state, &of, |linear| {
        all.iter().try_for_each(|e| {
            linear.form(e).map(|_| ()).map_err(|failure| {
                let reason = failure.reason.replace("the state", &format!("`{name}`"));
                Failure::new(failure.span, reason)
            })
        })
    })
}

/// Where an expression reads what depends on a value.
fn reads(of: &Dependence, e: &Expr) -> Option<Span> {
    let mut found = None;
    e.walk(&mut |e| {
        if let ExprKind::Read { value, .. } = e.kind
            && of.on.get(value.at()).copied().unwrap_or(false)
        {
            found.get_or_insert(e.span);
        }
    });
    found
}
