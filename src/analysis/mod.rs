//! What the shape of a layer says about how it may run.

pub mod bounds;
pub mod passes;
