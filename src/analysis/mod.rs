//! What follows from a layer alone: in which direction and order it runs ([`passes`]), and by what algebra its steps
//! compose ([`verdict`]).

pub mod bounds;
pub mod passes;
pub mod verdict;
