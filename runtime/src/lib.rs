//! Buffers and drivers under the kernels that `ssmc` compiles.
//!
//! This crate knows no IR and no code generator: it holds tensors, cuts a run into sequences, and calls a kernel
//! on each, or cuts sequences into stretches that kernels can run side by side. For measuring the machine that it runs
//! on, it has loops whose work is known ([`probe`]).

mod addresses;
#[allow(unsafe_code, reason = "hands out memory")]
mod allocator;
pub mod check;
#[allow(unsafe_code, reason = "kernels call it with addresses")]
pub mod cholesky;
pub mod chunked;
#[allow(unsafe_code, reason = "calls kernels, which are machine code")]
pub mod driver;
pub mod kernel;
#[allow(unsafe_code, reason = "calls kernels, which are machine code")]
pub mod lanes;
mod memory;
#[allow(unsafe_code, reason = "calls kernels, which are machine code")]
mod pass;
#[allow(unsafe_code, reason = "loops in assembly")]
pub mod probe;
#[allow(unsafe_code, reason = "vector instructions, on memory whose extents were checked")]
pub mod product;
pub mod scalar;
#[allow(unsafe_code, reason = "calls kernels, which are machine code")]
pub mod session;
pub mod stretch;
pub mod tensor;
#[allow(unsafe_code, reason = "vector instructions, on memory whose extents the caller vouches for")]
mod transpose;

pub use allocator::Lines;
pub use check::RunError;
pub use driver::Code;
pub use kernel::Event;
pub use session::Session;
pub use tensor::{Bound, Carry, Elements, Float, Run, Sequences, Tensor};
