//! Hand-written kernels for sequence-model recurrences, in stable Rust with `std::arch`.
//!
//! They are what compiled kernels are measured against, and meant to be read: one module for each recurrence, which
//! says what it computes, how it lays things out, and which idea makes it fast. Each has
//!
//! - a plain loop, `plain`: what a competent user writes in ten lines;
//! - a vector kernel, written once over [`simd`] and compiled for three instruction sets, chosen at run time by an
//!   [`Isa`]; lengths and widths are arbitrary;
//! - one or more threads ([rayon]'s), where a recurrence leaves something to share out.
//!
//! | module | recurrence | lanes along |
//! | --- | --- | --- |
//! | [`mamba`] | Mamba-1's selective scan, alone, with its gates, and one step of it | channels |
//! | [`diagonal`] | `h = a·h + b` for many channels | channels |
//! | [`first_order`] | `h = a·h + b` for one channel, `a` constant or not | time |
//! | [`biquad`] | second-order sections in f32 and f64, constant or not | time |
//! | [`longhorn`] | Longhorn in its diagonal form | channels |
//! | [`delta`] | the delta rule | rows of the state |
//! | [`sdssm`] | a softmax mixture of dense transitions, its columns normalised | rows of the state |
//! | [`s5`] | S5: a complex diagonal transition between two matrix products | states, outputs |
//! | [`finite_map`] | an automaton of up to 16 states over bytes | maps of all states |
//! | [`ssd`] | Mamba-2's SSD: a scalar decay for each head | rows of the state |
//! | [`viterbi`] | the max-plus product with a dense matrix | destinations |
//!
//! All arrays are row-major. Lengths are checked before anything runs ([`Error`]). Arrays may begin anywhere, but vectors
//! are read and written fastest where arrays and their rows begin with a line of the cache (64 bytes).

#![allow(unsafe_code, reason = "vector instructions and unchecked accesses in the kernels' inner loops")]
#![allow(clippy::needless_range_loop, reason = "loops over registers, by number")]

pub mod biquad;
pub mod cases;
pub mod clock;
pub mod delta;
pub mod diagonal;
pub mod finite_map;
pub mod first_order;
pub mod functions;
pub mod longhorn;
pub mod machine;
pub mod mamba;
mod memory;
pub mod random;
pub mod s5;
pub mod sdssm;
pub mod simd;
pub mod ssd;
pub mod viterbi;

pub use memory::Error;
pub use simd::Isa;
