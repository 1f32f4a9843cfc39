//! Binding: parameters and initial states become tensors.
//!
//! In: the tensors that are at hand. Out: [`Bound`], all that is fixed for all sequences. What is not given is
//! computed from its initialiser in `f64` and rounded to `F`; later initialisers read the rounded values, so that
//! a given tensor and an initialised one with the same elements lead to the same results. How random numbers
//! are drawn is defined in [`super::interp`].

use ssmc_runtime::{Bound, Elements, Tensor};

use super::interp::math::Real;
use super::interp::{self, zeros};
use super::{Init, Instance, Type, Value, ValueId};
use crate::diag::{Code, Diagnostic};

/// Fixes the parameters and the initial states.
///
/// `given` has the tensors that are at hand, in the order of the layer's parameters (missing at the end: not
/// given). `seed` picks the random numbers of initialisers.
///
/// # Errors
/// S403 a parameter that is neither given nor initialised; S404 a wrong shape; S405 elements of another type;
/// S406 an index out of range; S408 eigenvalues of a matrix that is too large.
pub fn bind<F: Real>(
    instance: &Instance,
    given: Vec<Option<Tensor<F>>>,
    seed: u64,
) -> Result<Bound<F>, Vec<Diagnostic>> {
    let layer = &instance.layer;
    let mut problems = Vec::new();
    let mut initialisers = interp::Initialisers::new(instance, seed);
    let mut bound = Bound { params: Vec::new(), initial: Vec::new() };
    let mut given = given.into_iter();
    for param in &layer.params {
        let value = layer.value(param.value);
        let tensor = match (given.next().flatten(), &param.init) {
            (Some(tensor), _) => {
                problems.extend(check(instance, param.value, &tensor));
                tensor
            }
            (None, Some(init)) => initial(instance, &mut initialisers, param.value, init, &mut problems),
            (None, None) => {
                let message = format!("parameter `{}` is not given and has no initialiser", value.name);
                let mut diagnostic = Diagnostic::error(Code::S403, value.span, message);
                if param.key != value.name {
                    diagnostic = diagnostic.label(format!("its tensor is `{}`", param.key));
                }
                problems.push(diagnostic);
                blank(instance, param.value)
            }
        };
        if !problems.is_empty() {
            // Nothing that depends on it can be evaluated.
            bound.params.push(blank(instance, param.value));
            continue;
        }
        initialisers.set(param.value, &tensor);
        bound.params.push(tensor);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    for state in &layer.states {
        let tensor = match &state.init {
            Some(init) => initial(instance, &mut initialisers, state.value, init, &mut problems),
            None => blank(instance, state.value),
        };
        bound.initial.push(tensor);
    }
    if problems.is_empty() { Ok(bound) } else { Err(problems) }
}

fn blank<F: Real>(instance: &Instance, value: ValueId) -> Tensor<F> {
    let elements = zeros(&instance.layer.value(value).ty, instance.elements(value));
    Tensor { shape: instance.axes[value.at()].clone(), elements }
}

fn initial<F: Real>(
    instance: &Instance,
    initialisers: &mut interp::Initialisers<'_>,
    value: ValueId,
    init: &Init,
    problems: &mut Vec<Diagnostic>,
) -> Tensor<F> {
    if !problems.is_empty() {
        return blank(instance, value);
    }
    match initialisers.evaluate(value, init) {
        Ok(tensor) => {
            let declared = instance.layer.value(value);
            if let Some(message) = out_of_range(instance, declared, &tensor) {
                problems.push(Diagnostic::error(Code::S406, init.body.span, message));
            }
            tensor
        }
        Err(size) => {
            let message = format!(
                "`hippo_n({size})` is too large: its eigenvalues are computed up to size {}",
                super::hippo::MAX_SIZE
            );
            problems.push(Diagnostic::error(Code::S408, init.body.span, message));
            blank(instance, value)
        }
    }
}

/// What is wrong with a tensor that is given for a parameter.
fn check<F>(instance: &Instance, id: ValueId, tensor: &Tensor<F>) -> Option<Diagnostic> {
    let value = instance.layer.value(id);
    let name = &value.name;
    let shape = &instance.axes[id.at()];
    let count: Option<usize> = tensor.shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    if tensor.shape != *shape || count != Some(tensor.elements.len()) {
        let message = format!("expected `{shape:?}` for `{name}`, found `{:?}`", tensor.shape);
        return Some(Diagnostic::error(Code::S404, value.span, message));
    }
    let found = match (&tensor.elements, &value.ty) {
        (Elements::Real(_), Type::Real)
        | (Elements::Complex { .. }, Type::Complex)
        | (Elements::Int(_), Type::Int | Type::Index(_))
        | (Elements::Bool(_), Type::Bool) => None,
        (Elements::Real(_), _) => Some("real numbers"),
        (Elements::Complex { .. }, _) => Some("complex numbers"),
        (Elements::Int(_), _) => Some("integers"),
        (Elements::Bool(_), _) => Some("truth values"),
        (Elements::Byte(_), _) => Some("bytes"),
    };
    if let Some(found) = found {
        let expected = match value.ty {
            Type::Real => "real numbers",
            Type::Complex => "complex numbers",
            Type::Int | Type::Index(_) => "integers",
            Type::Bool => "truth values",
        };
        let message = format!("expected {expected} for `{name}`, found {found}");
        return Some(Diagnostic::error(Code::S405, value.span, message));
    }
    let message = out_of_range(instance, value, tensor)?;
    Some(Diagnostic::error(Code::S406, value.span, message))
}

/// The first element of an index type that is out of range.
fn out_of_range<F>(instance: &Instance, value: &Value, tensor: &Tensor<F>) -> Option<String> {
    let (Type::Index(extent), Elements::Int(elements)) = (&value.ty, &tensor.elements) else { return None };
    let extent = instance.extent(extent)?;
    let place = elements.iter().position(|&e| !(0..extent).contains(&i64::from(e)))?;
    let mut rest = place;
    let mut at = Vec::new();
    for &length in tensor.shape.iter().rev() {
        at.insert(0, rest % length);
        rest /= length;
    }
    Some(format!("`{}` is {} at {at:?}; it must be in 0..{extent}", value.name, elements[place]))
}
