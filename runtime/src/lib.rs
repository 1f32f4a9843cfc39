//! Buffers and drivers under the kernels that `ssmc` compiles.
//!
//! This crate knows no IR and no code generator: it holds tensors, cuts a run into sequences, and calls a kernel
//! on each.

pub mod check;
#[allow(unsafe_code, reason = "kernels call it with addresses")]
pub mod cholesky;
#[allow(unsafe_code, reason = "calls kernels, which are machine code")]
pub mod driver;
pub mod kernel;
pub mod scalar;
pub mod tensor;

pub use check::RunError;
pub use kernel::Event;
pub use tensor::{Bound, Carry, Elements, Float, Sequences, Tensor};
