//! Cranelift IR from a plan.
