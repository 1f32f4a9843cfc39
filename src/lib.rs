//! `ssmc` compiles layer recurrences, written as one time step in index notation, to SIMD CPU kernels.
//!
//! The way of the data, one module per stop:
//!
//! [`syntax`] turns text into [`syntax::ast`]; [`sema`] resolves names, index extents and types into
//! [`ir::Layer`]; [`ir::Instance`] fixes its dimensions; [`ir::interp`] runs it one value at a time and so
//! defines what is right; [`plan`] orders it into loops; [`codegen`] emits Cranelift IR for them; [`jit`]
//! makes that callable, and [`scan`] calls it on stretches of time side by side, [`chunked`] around blocks of time that are
//! products of matrices. [`profile`] measures what the machine
//! could do at best, and [`predict`] how long a plan takes on it.
//!
//! Nothing in this library reads or writes a file: only the command line does.

pub mod analysis;
pub mod chunked;
pub mod codegen;
pub mod diag;
pub mod ir;
#[allow(unsafe_code, reason = "runs machine code")]
pub mod jit;
pub mod plan;
pub mod predict;
pub mod profile;
pub mod scan;
pub mod sema;
pub mod syntax;
