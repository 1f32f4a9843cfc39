//! Cranelift IR from a plan.

pub mod math;
