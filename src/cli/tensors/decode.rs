//! From the bytes of a file to elements.
//!
//! In: little-endian bytes, row-major, in pieces of whole elements. Out: [`Elements`] in the type that a kernel
//! takes, or plain integers. Which file types may become which elements is decided here and nowhere else.

use half::{bf16, f16};
use ssmc::diag::Code;
use ssmc_runtime::{Elements, Float};

use super::{Dtype, Fault};

/// What a layer expects of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Real numbers.
    Real,
    /// Complex numbers.
    Complex,
    /// Integers from 0 to below a bound; any 32-bit integers where there is none.
    Int {
        /// The bound.
        below: Option<i64>,
    },
    /// Integers from 0 to below a bound, which stay bytes where the file has bytes.
    Token {
        /// The bound.
        below: i64,
    },
    /// Truth values.
    Bool,
}

impl Kind {
    /// What a value of this type expects, where dimensions have these values.
    pub fn of(ty: &ssmc::ir::Type, dims: &[Option<i64>]) -> Self {
        match ty {
            ssmc::ir::Type::Real => Kind::Real,
            ssmc::ir::Type::Complex => Kind::Complex,
            ssmc::ir::Type::Bool => Kind::Bool,
            ssmc::ir::Type::Int => Kind::Int { below: None },
            ssmc::ir::Type::Index(extent) => Kind::Int { below: extent.eval(dims) },
        }
    }

    /// Whether a file may hold it in that type.
    pub fn accepts(self, dtype: Dtype) -> bool {
        match self {
            Kind::Real => dtype.is_real(),
            Kind::Complex => dtype.is_real() || dtype.is_complex(),
            Kind::Int { .. } | Kind::Token { .. } => dtype.is_integer(),
            Kind::Bool => matches!(dtype, Dtype::Bool | Dtype::U8),
        }
    }

    /// Whether a file that has it in that type spends its last axis on real and imaginary part.
    pub fn has_pair_axis(self, dtype: Option<Dtype>) -> bool {
        self == Kind::Complex && !dtype.is_some_and(Dtype::is_complex)
    }

    /// What integers must be below.
    pub fn below(self) -> Option<i64> {
        match self {
            Kind::Int { below } => below,
            Kind::Token { below } => Some(below),
            Kind::Real | Kind::Complex | Kind::Bool => None,
        }
    }

    /// What is expected, in words.
    pub fn expected(self) -> &'static str {
        match self {
            Kind::Real => "f16, bf16, f32 or f64",
            Kind::Complex => "a complex type, or f16, bf16, f32 or f64 with a last axis of 2",
            Kind::Int { .. } | Kind::Token { .. } => "an integer type",
            Kind::Bool => "bool or u8",
        }
    }
}

/// Collects the elements of one tensor.
pub struct Decoder<F> {
    dtype: Dtype,
    kind: Kind,
    elements: Elements<F>,
}

impl<F: Float> Decoder<F> {
    /// A decoder for elements that `kind` accepts in `dtype`, with room for some of them.
    pub fn new(dtype: Dtype, kind: Kind, room: usize) -> Self {
        let elements = match kind {
            Kind::Real => Elements::Real(Vec::with_capacity(room)),
            Kind::Complex => {
                let numbers = if dtype.is_complex() { room } else { room / 2 };
                Elements::Complex { re: Vec::with_capacity(numbers), im: Vec::with_capacity(numbers) }
            }
            Kind::Token { .. } if dtype == Dtype::U8 => Elements::Byte(Vec::with_capacity(room)),
            Kind::Int { .. } | Kind::Token { .. } => Elements::Int(Vec::with_capacity(room)),
            Kind::Bool => Elements::Bool(Vec::with_capacity(room)),
        };
        Self { dtype, kind, elements }
    }

    /// Takes the next elements.
    ///
    /// # Errors
    /// A value outside its range, with its position.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match &mut self.elements {
            Elements::Real(values) => {
                reals(self.dtype, bytes, |v| values.push(v));
                Ok(())
            }
            Elements::Complex { re, im } => {
                // Pieces are cut at even numbers of elements, so that every piece starts with a real part.
                let mut real_next = true;
                reals(self.dtype, bytes, |v| {
                    if real_next {
                        re.push(v)
                    } else {
                        im.push(v)
                    }
                    real_next = !real_next;
                });
                Ok(())
            }
            Elements::Int(values) => {
                let below = self.kind.below();
                integers(self.dtype, bytes, |v| {
                    if let Some(below) = below {
                        in_range(values.len(), v, below)?;
                    }
                    let Ok(small) = i32::try_from(v) else {
                        return Err(Fault::new(
                            Code::S414,
                            format!("element {} is {v}, which does not fit into 32 bits", values.len()),
                        ));
                    };
                    values.push(small);
                    Ok(())
                })
            }
            Elements::Byte(values) => {
                if let Some(below) = self.kind.below() {
                    for (at, &byte) in bytes.iter().enumerate() {
                        in_range(values.len() + at, byte.into(), below)?;
                    }
                }
                values.extend_from_slice(bytes);
                Ok(())
            }
            Elements::Bool(values) => {
                for &byte in bytes {
                    if byte > 1 {
                        return Err(Fault::new(
                            Code::S406,
                            format!("element {} is {byte}, which is neither 0 nor 1", values.len()),
                        ));
                    }
                    values.push(byte);
                }
                Ok(())
            }
        }
    }

    /// What was taken.
    pub fn finish(self) -> Elements<F> {
        self.elements
    }
}

/// Makes sure that an integer is one of those that are expected.
fn in_range(at: usize, value: i64, below: i64) -> Result<(), Fault> {
    if (0..below).contains(&value) {
        return Ok(());
    }
    Err(Fault::new(Code::S406, format!("element {at} is {value}, which is not in the range 0 to {}", below - 1)))
}

/// Reads real numbers: the components, for a complex type.
fn reals<F: Float>(dtype: Dtype, bytes: &[u8], mut take: impl FnMut(F)) {
    fn each<const N: usize>(bytes: &[u8], mut take: impl FnMut([u8; N])) {
        bytes.as_chunks::<N>().0.iter().for_each(|chunk| take(*chunk));
    }
    match dtype {
        Dtype::F16 => each(bytes, |b| take(F::from_f64(f16::from_le_bytes(b).to_f64()))),
        Dtype::Bf16 => each(bytes, |b| take(F::from_f64(bf16::from_le_bytes(b).to_f64()))),
        Dtype::F32 | Dtype::C64 => each(bytes, |b| take(F::from_f64(f32::from_le_bytes(b).into()))),
        Dtype::F64 | Dtype::C128 => each(bytes, |b| take(F::from_f64(f64::from_le_bytes(b)))),
        _ => {}
    }
}

/// Reads integers. One beyond 63 bits is given as the largest that fits, which no range holds.
pub fn integers(dtype: Dtype, bytes: &[u8], mut take: impl FnMut(i64) -> Result<(), Fault>) -> Result<(), Fault> {
    fn each<const N: usize>(bytes: &[u8], mut take: impl FnMut([u8; N]) -> Result<(), Fault>) -> Result<(), Fault> {
        bytes.as_chunks::<N>().0.iter().try_for_each(|chunk| take(*chunk))
    }
    match dtype {
        Dtype::U8 => each(bytes, |b| take(u8::from_le_bytes(b).into())),
        Dtype::I8 => each(bytes, |b| take(i8::from_le_bytes(b).into())),
        Dtype::U16 => each(bytes, |b| take(u16::from_le_bytes(b).into())),
        Dtype::I16 => each(bytes, |b| take(i16::from_le_bytes(b).into())),
        Dtype::U32 => each(bytes, |b| take(u32::from_le_bytes(b).into())),
        Dtype::I32 => each(bytes, |b| take(i32::from_le_bytes(b).into())),
        Dtype::U64 => each(bytes, |b| take(u64::from_le_bytes(b).try_into().unwrap_or(i64::MAX))),
        Dtype::I64 => each(bytes, |b| take(i64::from_le_bytes(b))),
        _ => Ok(()),
    }
}

/// Reverses the bytes of every number.
pub fn swap_bytes(dtype: Dtype, bytes: &mut [u8]) {
    if dtype.unit() > 1 {
        bytes.chunks_exact_mut(dtype.unit()).for_each(<[u8]>::reverse);
    }
}

/// Column-major elements in row-major order.
pub fn row_major(shape: &[usize], size: usize, bytes: &[u8]) -> Vec<u8> {
    let mut ordered = Vec::with_capacity(bytes.len());
    // The stride of each axis in the file, in elements.
    let strides: Vec<usize> = shape
        .iter()
        .scan(1, |stride, extent| {
            let here = *stride;
            *stride *= extent;
            Some(here)
        })
        .collect();
    let mut at = vec![0; shape.len()];
    let mut element = 0;
    for _ in 0..bytes.len() / size.max(1) {
        ordered.extend_from_slice(&bytes[element * size..(element + 1) * size]);
        for axis in (0..shape.len()).rev() {
            at[axis] += 1;
            element += strides[axis];
            if at[axis] < shape[axis] {
                break;
            }
            element -= strides[axis] * shape[axis];
            at[axis] = 0;
        }
    }
    ordered
}
