//! Buffers and drivers under the kernels that `ssmc` compiles.
//!
//! This crate knows no IR and no code generator: it holds tensors, cuts a run into sequences, and calls a kernel
//! on each. For measuring the machine that it runs on, it has loops whose work is known ([`probe`]).

pub mod check;
#[allow(unsafe_code, reason = "calls kernels, which are machine code")]
pub mod driver;
pub mod kernel;
#[allow(unsafe_code, reason = "loops in assembly")]
pub mod probe;
pub mod scalar;
pub mod tensor;

pub use check::RunError;
pub use tensor::{Bound, Carry, Elements, Float, Sequences, Tensor};
