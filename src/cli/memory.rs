//! Whether there is memory for a run, asked before any of it is taken.
//!
//! In: a layer with numbers, and how its sequences lie. What a run takes at most is added up and asked for once, and
//! given back untouched; a system that promises more memory than it has is believed.

use ssmc::analysis::passes::passes;
use ssmc::diag::{Code, Diagnostic};
use ssmc::ir::{Instance, Type, ValueId};

use super::engine::Number;
use super::layout::Layout;

/// Makes sure that there is memory for the parameters, for what is carried, for one step, and for what the run gives.
///
/// # Errors
/// S408
pub fn check<F: Number>(instance: &Instance, layout: &Layout) -> Result<(), Vec<Diagnostic>> {
    if needed::<F>(instance, layout).is_some_and(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).is_ok()) {
        return Ok(());
    }
    let message =
        format!("there is no memory for the tensors of `{}` in {} steps", instance.layer.name, layout.total());
    Err(vec![Diagnostic::error_at(Code::S408, "the run", message)])
}

/// The bytes that a run takes at most; `None` where nobody has so many.
fn needed<F: Number>(instance: &Instance, layout: &Layout) -> Option<usize> {
    let layer = &instance.layer;
    let bytes = |value: ValueId, real: usize| {
        let size = match layer.value(value).ty {
            Type::Real => real,
            Type::Complex => 2 * real,
            Type::Int | Type::Index(_) => 4,
            Type::Bool => 1,
        };
        instance.elements(value).checked_mul(size)
    };
    let real = F::BITS as usize / 8;
    let mut sum = 0usize;
    let mut add = |times: usize, bytes: Option<usize>| {
        sum = sum.checked_add(times.checked_mul(bytes?)?)?;
        Some(())
    };
    // Parameters and initial states: computed in 64 bits, then rounded.
    let states = layer.states.iter().map(|state| state.value);
    for value in layer.params.iter().map(|param| param.value).chain(states.clone()) {
        add(1, bytes(value, 8))?;
        add(2, bytes(value, real))?;
    }
    // One step: the tensors in between.
    for equation in &layer.equations {
        add(1, bytes(equation.value, real))?;
    }
    // Carried, with the copy that the run works on.
    let carried =
        states.map(|state| (state, 1)).chain(layer.delays.iter().copied().zip(instance.depths.iter().copied()));
    for (value, rows) in carried {
        add(2, bytes(value, real).and_then(|n| n.checked_mul(rows)?.checked_mul(layout.count())))?;
    }
    // For all steps: inputs, outputs, what a pass keeps for a later one, and a mark for each.
    let kept = passes(layer).into_iter().flatten().flat_map(|pass| pass.kept);
    let outputs = layer.outputs.iter().map(|output| output.value);
    for value in layer.inputs.iter().copied().chain(outputs).chain(kept) {
        add(layout.total(), bytes(value, real))?;
    }
    add(layout.total(), Some(1))?;
    Some(sum)
}
