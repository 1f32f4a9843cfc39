//! Whether the tensors of a run are those that a kernel expects. No unsafe code relies on anything else.

use crate::kernel::{Kind, Signature, Tensors};
use crate::tensor::{Bound, Carry, Elements, Float, Run, Sequences, Tensor};

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
    check_bound(signature, bound)?;
    check_inputs(signature, sequences, inputs)?;
    check_carry(signature, sequences, carry)?;
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

/// Checks everything that a run of rows gets, and returns how many steps a row has.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_rows<F: Float>(
    signature: &Signature,
    run: &Run<'_, F>,
    views: &[(usize, usize)],
) -> Result<usize, RunError> {
    let Run { bound, sequences, inputs, outputs, carry, .. } = run;
    check_bound(signature, bound)?;
    check_carry(signature, sequences, carry)?;
    count("inputs", signature.inputs.len(), views.len())?;
    count("outputs", signature.outputs.len(), outputs.len())?;
    let slices = || signature.inputs.iter().chain(&signature.outputs);
    let lanes = slices().map(Tensors::size).next().unwrap_or(1).max(1);
    // What has one element a step, whatever its axes.
    let single = |slice: &Tensors, shape: &[usize]| {
        let single = Tensors { shape: shape.get(1..).unwrap_or_default().to_vec(), ..slice.clone() };
        if slice.size() == lanes && single.size() == 1 {
            return Ok(single);
        }
        let (expected, found) = (vec![sequences.total()], shape.to_vec());
        Err(RunError::Shape { name: slice.name.clone(), expected, found })
    };
    for (expected, &(input, _)) in signature.inputs.iter().zip(views) {
        let found =
            inputs.get(input).ok_or(RunError::Count { what: "inputs", expected: input + 1, found: inputs.len() })?;
        tensor(&single(expected, &found.shape)?, &[sequences.total()], found)?;
    }
    for (expected, found) in signature.outputs.iter().zip(outputs.iter()) {
        holds(&single(expected, &found.shape)?, &[sequences.total()], found)?;
    }
    let back = views.iter().map(|view| view.1).max().unwrap_or(0);
    let unfit = |range: &std::ops::Range<usize>| {
        !range.is_empty() && (!range.len().is_multiple_of(lanes) || range.start < back)
    };
    if let Some(range) = (0..sequences.count()).map(|s| sequences.range(s)).find(unfit) {
        let (expected, found) = (vec![back, range.len() / lanes * lanes], vec![range.start, range.len()]);
        return Err(RunError::Shape { name: "a sequence of rows".to_owned(), expected, found });
    }
    Ok(lanes)
}

/// Checks the inputs of a run.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_inputs<F>(signature: &Signature, sequences: &Sequences, inputs: &[Tensor<F>]) -> Result<(), RunError> {
    count("inputs", signature.inputs.len(), inputs.len())?;
    for (expected, found) in signature.inputs.iter().zip(inputs) {
        tensor(expected, &[sequences.total()], found)?;
    }
    Ok(())
}

/// Checks what stands before a run.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_carry<F>(signature: &Signature, sequences: &Sequences, carry: &Carry<F>) -> Result<(), RunError> {
    let n = sequences.count();
    count("states", signature.states.len(), carry.states.len())?;
    count("delays", signature.delays.len(), carry.delays.len())?;
    count("step counts", n, carry.steps.len())?;
    for (expected, found) in signature.states.iter().zip(&carry.states) {
        tensor(expected, &[n], found)?;
    }
    for (expected, found) in signature.delays.iter().zip(&carry.delays) {
        tensor(&expected.slice, &[n, expected.depth], found)?;
    }
    Ok(())
}

/// Checks what a kernel is bound to.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_bound<F: Float>(signature: &Signature, bound: &Bound<F>) -> Result<(), RunError> {
    if F::BITS != signature.bits {
        return Err(RunError::Bits { expected: signature.bits, found: F::BITS });
    }
    count("parameters", signature.params.len(), bound.params.len())?;
    count("initial values", signature.states.len(), bound.initial.len())?;
    for (expected, found) in signature.params.iter().zip(&bound.params) {
        tensor(expected, &[], found)?;
    }
    for (expected, found) in signature.states.iter().zip(&bound.initial) {
        tensor(expected, &[], found)?;
    }
    Ok(())
}

/// Checks the outputs that a run writes to.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_outputs<F>(signature: &Signature, sequences: &Sequences, outputs: &[Tensor<F>]) -> Result<(), RunError> {
    count("outputs", signature.outputs.len(), outputs.len())?;
    for (expected, found) in signature.outputs.iter().zip(outputs) {
        holds(expected, &[sequences.total()], found)?;
    }
    Ok(())
}

/// Checks what one step of one sequence reads and writes.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_row<F>(signature: &Signature, inputs: &[Tensor<F>], outputs: &[Tensor<F>]) -> Result<(), RunError> {
    count("inputs", signature.inputs.len(), inputs.len())?;
    for (expected, found) in signature.inputs.iter().zip(inputs) {
        tensor(expected, &[1], found)?;
    }
    count("outputs", signature.outputs.len(), outputs.len())?;
    for (expected, found) in signature.outputs.iter().zip(outputs) {
        holds(expected, &[1], found)?;
    }
    Ok(())
}

fn count(what: &'static str, expected: usize, found: usize) -> Result<(), RunError> {
    if expected == found { Ok(()) } else { Err(RunError::Count { what, expected, found }) }
}

fn tensor<F>(slice: &Tensors, leading: &[usize], found: &Tensor<F>) -> Result<(), RunError> {
    holds(slice, leading, found)?;
    let Some(below) = slice.below else { return Ok(()) };
    let outside = match &found.elements {
        Elements::Int(v) => outside(v, below).map(|at| (at, v[at])),
        Elements::Byte(v) => bytes_outside(v, below).map(|at| (at, v[at].into())),
        _ => None,
    };
    match outside {
        Some((at, found)) => Err(RunError::Range { name: slice.name.clone(), at, found, below }),
        None => Ok(()),
    }
}

/// Checks all of a tensor but the range of its integers.
fn holds<F>(slice: &Tensors, leading: &[usize], found: &Tensor<F>) -> Result<(), RunError> {
    let Some(size) = size_of_shape(slice, leading, &found.shape) else {
        let expected: Vec<usize> = leading.iter().chain(&slice.shape).copied().collect();
        return Err(RunError::Shape { name: slice.name.clone(), expected, found: found.shape.clone() });
    };
    let sound = match (&found.elements, slice.kind) {
        (Elements::Real(v), Kind::Real) => Some(v.len()) == size,
        (Elements::Complex { re, im }, Kind::Complex) => Some(re.len()) == size && re.len() == im.len(),
        (Elements::Int(v), Kind::Int) => Some(v.len()) == size,
        (Elements::Bool(v), Kind::Bool) => Some(v.len()) == size && v.iter().all(|&b| b <= 1),
        (Elements::Byte(v), Kind::Byte) => Some(v.len()) == size,
        _ => false,
    };
    if !sound {
        return Err(RunError::Elements { name: slice.name.clone(), expected: slice.kind });
    }
    Ok(())
}

/// How many elements a tensor of such slices has, if that is its shape; within that, nothing if there are more than can be
/// counted.
fn size_of_shape(slice: &Tensors, leading: &[usize], found: &[usize]) -> Option<Option<usize>> {
    if found.len() != leading.len() + slice.shape.len() {
        return None;
    }
    let mut size = Some(1_usize);
    // A comparison of slices calls `memcmp`, which takes long for empty ones: it loads from addresses where nothing is.
    for (&extent, wanted) in found.iter().zip(leading.iter().chain(&slice.shape)) {
        if extent != *wanted {
            return None;
        }
        size = size.and_then(|size| size.checked_mul(extent));
    }
    Some(size)
}

/// The first integer that is not in `0..below`.
///
/// The largest of many is found on vectors, which matters for a long run of a small step. Without the sign, negative
/// integers are the largest.
fn outside(values: &[i32], below: i64) -> Option<usize> {
    const MANY: usize = 4096;
    let below = below.clamp(0, 1 << 31) as u32;
    for (n, many) in values.chunks(MANY).enumerate() {
        if many.iter().fold(0, |largest, &x| largest.max(x as u32)) >= below {
            return many.iter().position(|&x| x as u32 >= below).map(|at| n * MANY + at);
        }
    }
    None
}

/// The first byte that is not in `0..below`.
fn bytes_outside(values: &[u8], below: i64) -> Option<usize> {
    const MANY: usize = 4096;
    let most = match below {
        256.. => return None,
        1.. => (below - 1) as u8,
        _ => return if values.is_empty() { None } else { Some(0) },
    };
    for (n, many) in values.chunks(MANY).enumerate() {
        if many.iter().fold(0, |largest, &x| largest.max(x)) > most {
            return many.iter().position(|&x| x > most).map(|at| n * MANY + at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{bytes_outside, outside};

    #[test]
    fn bytes_outside_of_their_range_are_found() {
        assert_eq!(bytes_outside(&[], 0), None);
        for length in [1, 2, 4095, 4096, 4097, 9000] {
            let mut values = vec![4; length];
            assert_eq!(bytes_outside(&values, 5), None);
            assert_eq!(bytes_outside(&values, 4), Some(0));
            assert_eq!(bytes_outside(&values, 0), Some(0));
            values[length - 1] = 255;
            assert_eq!(bytes_outside(&values, 255), Some(length - 1));
            assert_eq!(bytes_outside(&values, 256), None);
            assert_eq!(bytes_outside(&values, i64::MAX), None);
        }
    }

    #[test]
    fn integers_outside_of_their_range_are_found() {
        assert_eq!(outside(&[], 0), None);
        for length in [1, 2, 4095, 4096, 4097, 9000] {
            let mut values = vec![4; length];
            assert_eq!(outside(&values, 5), None);
            assert_eq!(outside(&values, 4), Some(0));
            assert_eq!(outside(&values, 0), Some(0));
            for wrong in [-1, 5, i32::MIN, i32::MAX] {
                values[length - 1] = wrong;
                assert_eq!(outside(&values, 5), Some(length - 1), "{wrong}");
            }
            // All that is not negative is below what 32 bits cannot hold.
            values[length - 1] = i32::MAX;
            assert_eq!(outside(&values, i64::MAX), None);
            values[length - 1] = -1;
            assert_eq!(outside(&values, i64::MAX), Some(length - 1));
        }
    }
}
