//! Whether the tensors of a run are those that a kernel expects. No unsafe code relies on anything else.

use crate::kernel::{Kind, Signature, Tensors};
use crate::tensor::{Bound, Carry, Elements, Float, Sequences, Tensor};

/// Why a run was refused. Nothing was computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// Another number of tensors.
    #[error("expected {expected} {what}, found {found}")]
    Count {
        /// What is counted.
        what: &'static str,
        /// How many there must be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A tensor of another shape.
    #[error("`{name}`: expected {expected:?}, found {found:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// The shape that it must have.
        expected: Vec<usize>,
        /// The shape that it has.
        found: Vec<usize>,
    },
    /// A tensor of another element type, or with another number of elements than its shape says.
    #[error("`{name}`: the elements are not those of a {expected:?} tensor of its shape")]
    Elements {
        /// The tensor.
        name: String,
        /// The type that its elements must have.
        expected: Kind,
    },
    /// An integer outside of its range.
    #[error("`{name}`: element {at} is {found}, which is not in 0..{below}")]
    Range {
        /// The tensor.
        name: String,
        /// The place of the element, row-major.
        at: usize,
        /// Its value.
        found: i32,
        /// What it must be below.
        below: i64,
    },
    /// Reals of another width.
    #[error("the kernel was compiled for {expected} bits, the tensors have {found}")]
    Bits {
        /// The width that the kernel was compiled for.
        expected: u32,
        /// The width of the tensors.
        found: u32,
    },
    /// A run that does not fit into memory.
    #[error("the run is too long for the memory of this machine")]
    Size,
}

/// Checks everything that a run gets.
///
/// # Errors
/// The first thing that is wrong.
pub fn check<F: Float>(
    signature: &Signature,
    bound: &Bound<F>,
    sequences: &Sequences,
    inputs: &[Tensor<F>],
    carry: &Carry<F>,
) -> Result<(), RunError> {
    if F::BITS != signature.bits {
        return Err(RunError::Bits { expected: signature.bits, found: F::BITS });
    }
    let n = sequences.count();
    count("parameters", signature.params.len(), bound.params.len())?;
    count("initial values", signature.states.len(), bound.initial.len())?;
    count("inputs", signature.inputs.len(), inputs.len())?;
    count("states", signature.states.len(), carry.states.len())?;
    count("delays", signature.delays.len(), carry.delays.len())?;
    count("step counts", n, carry.steps.len())?;
    for (expected, found) in signature.params.iter().zip(&bound.params) {
        tensor(expected, &[], found)?;
    }
    for (expected, found) in signature.states.iter().zip(&bound.initial) {
        tensor(expected, &[], found)?;
    }
    for (expected, found) in signature.inputs.iter().zip(inputs) {
        tensor(expected, &[sequences.total()], found)?;
    }
    for (expected, found) in signature.states.iter().zip(&carry.states) {
        tensor(expected, &[n], found)?;
    }
    for (expected, found) in signature.delays.iter().zip(&carry.delays) {
        tensor(&expected.slice, &[n, expected.depth], found)?;
    }
    // What the kernel writes; addresses inside of one tensor must fit an `isize`.
    for slice in signature.outputs.iter().chain(&signature.kept) {
        let bytes =
            slice.size().checked_mul(sequences.total()).and_then(|n| n.checked_mul(slice.kind.bytes(signature.bits)));
        if bytes.is_none_or(|bytes| bytes > isize::MAX as usize) {
            return Err(RunError::Size);
        }
    }
    Ok(())
}

/// Checks that tensors can take the outputs of a run; what they hold does not matter.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_outputs<F: Float>(
    signature: &Signature,
    sequences: &Sequences,
    outputs: &[Tensor<F>],
) -> Result<(), RunError> {
    count("outputs", signature.outputs.len(), outputs.len())?;
    for (expected, found) in signature.outputs.iter().zip(outputs) {
        let open = Tensors { below: None, ..expected.clone() };
        tensor(&open, &[sequences.total()], found)?;
    }
    Ok(())
}

fn count(what: &'static str, expected: usize, found: usize) -> Result<(), RunError> {
    if expected == found { Ok(()) } else { Err(RunError::Count { what, expected, found }) }
}

fn tensor<F>(slice: &Tensors, leading: &[usize], found: &Tensor<F>) -> Result<(), RunError> {
    let name = || slice.name.clone();
    let expected: Vec<usize> = leading.iter().chain(&slice.shape).copied().collect();
    if expected != found.shape {
        return Err(RunError::Shape { name: name(), expected, found: found.shape.clone() });
    }
    let size = expected.iter().try_fold(1_usize, |n, &extent| n.checked_mul(extent));
    let sound = match (&found.elements, slice.kind) {
        (Elements::Real(v), Kind::Real) => Some(v.len()) == size,
        (Elements::Complex { re, im }, Kind::Complex) => Some(re.len()) == size && re.len() == im.len(),
        (Elements::Int(v), Kind::Int) => Some(v.len()) == size,
        (Elements::Bool(v), Kind::Bool) => Some(v.len()) == size && v.iter().all(|&b| b <= 1),
        _ => false,
    };
    if !sound {
        return Err(RunError::Elements { name: name(), expected: slice.kind });
    }
    if let (Some(below), Elements::Int(v)) = (slice.below, &found.elements)
        && let Some(at) = v.iter().position(|&x| x < 0 || i64::from(x) >= below)
    {
        return Err(RunError::Range { name: name(), at, found: v[at], below });
    }
    Ok(())
}
