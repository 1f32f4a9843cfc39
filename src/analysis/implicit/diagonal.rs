//! The diagonal of a transition: each element's weight on itself, and the offset.

use super::hessian::coefficient_at;
use super::{as_state, tidy::tidy};
use crate::analysis::verdict::build::{self, Scope};
use crate::analysis::verdict::{Dependence, Failure, Part};
use crate::ir::{Expr, IndexId, ValueId};

/// What is left of an expression that is affine in a version of a state, at the indices on the left, when of its
/// transition only the diagonal is kept.
///
/// # Errors
/// The smallest expression that is not affine.
pub(crate) fn diagonal(scope: &mut Scope, state: ValueId, left: &[IndexId], e: &Expr) -> Result<Expr, Failure> {
    let of = Dependence::of_value(&scope.layer, state);
    let form = as_state(scope, state, &of, |linear| linear.form(e))?;
    if form.terms.iter().any(|term| term.atom.part != Part::Whole) {
        return Err(Failure::new(e.span, "a part of a complex state has no weight on the whole of it"));
    }
    let at: Vec<Expr> = left.iter().map(|&i| build::index(i, e.span)).collect();
    let extents = scope.layer.value(state).axes.clone();
    let own = coefficient_at(scope, &form, (&at, &extents), e.ty, e.span);
    let own = tidy(own, left);
    let offset = tidy(form.offset.unwrap_or_else(|| build::number(0.0, e.ty, e.span)), left);
    let element = build::read(&scope.layer, state, at, e.span);
    Ok(build::add(build::mul(build::widen(element, e.ty), own), offset))
}
