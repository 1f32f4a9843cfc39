//! Maps of a finite set to itself.
//!
//! In: a group whose states are all of index types or truth values. Any step of such states is a map of a finite
//! set to itself, and maps compose; what is to be shown is that the set is small: every element of a state may depend
//! on the elements at its own indices only, so that the set is the product of the states' ranges and a map is a table of
//! that size for each value of the batch. What mixes indices is a map of all vectors, whose table would be
//! exponential in their length.

use super::build::{self, Scope};
use super::form::{Form, Term};
use super::{Atom, Dependence, Failure, Part};
use crate::ir::{Expr, ExprKind, Type, ValueId, ValueKind};

/// The most states that a table may have, where the ranges are known.
pub const MAX_STATES: i64 = 256;

/// The most elements of states that an element may depend on, where there are fewer states.
const MOST_ACCESSES: usize = 64;

/// Which elements of the states each new state is computed from, as a form whose coefficients mean nothing.
///
/// # Errors
/// More of them than a small table has entries along.
pub(super) fn accesses(scope: &mut Scope, of: &Dependence) -> Result<Vec<Option<Form>>, Failure> {
    let most = MOST_ACCESSES.max(scope.layer.states.len());
    let mut forms: Vec<Option<Form>> = vec![None; scope.layer.values.len()];
    for &e in &of.equations {
        let equation = scope.layer.equations[e].clone();
        let mut found = Form::default();
        let mut reads: Vec<(ValueId, Vec<Expr>, Expr)> = Vec::new();
        equation.body.walk(&mut |e| {
            if let ExprKind::Read { value, at } = &e.kind
                && of.on[value.at()]
            {
                reads.push((*value, at.clone(), e.clone()));
            }
        });
        for (value, at, e) in reads {
            if let ValueKind::State(state) = scope.layer.value(value).kind {
                let atom = Atom { state, part: Part::Whole, complex: false };
                let coefficient = build::truth(true, e.span);
                let term = Term { bound: Vec::new(), guards: Vec::new(), coefficient, atom, at };
                if !found.terms.contains(&term) {
                    found.terms.push(term);
                }
                continue;
            }
            let form = forms[value.at()].clone().expect("definitions stand in order");
            let definition = scope.layer.definition(value).expect("it is defined");
            let map: Vec<_> = definition.indices.iter().copied().zip(at).collect();
            for term in form.instantiate(scope, &map).terms {
                if !found.terms.contains(&term) {
                    found.terms.push(term);
                }
            }
        }
        if found.terms.len() > most {
            return Err(Failure::new(equation.span, format!("it depends on more than {most} elements of the states")));
        }
        forms[equation.value.at()] = Some(found);
    }
    Ok(forms)
}

/// Whether all states of the group have finitely many values.
pub(super) fn is_finite(ty: &Type) -> bool {
    matches!(ty, Type::Index(_) | Type::Bool)
}

/// Why a finite step has no small table.
pub(super) fn too_large(scope: &Scope, value: ValueId, mixed: &[String]) -> Failure {
    let layer = &scope.layer;
    let span = layer.definition(value).map_or(layer.value(value).span, |equation| equation.span);
    let names = mixed.join("`, `");
    Failure::new(
        span,
        format!("elements along `{names}` depend on each other: a table of all their values is too large"),
    )
}

/// The number of values of a state's element, where it is known.
pub(super) fn values(scope: &Scope, ty: &Type) -> Option<i64> {
    match ty {
        Type::Bool => Some(2),
        Type::Index(extent) => extent.eval(&vec![None; scope.layer.dims.len()]),
        _ => None,
    }
}
