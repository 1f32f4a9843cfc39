//! What follows from a layer alone: in which direction and order it runs ([`passes`]), by what algebra its steps
//! compose ([`verdict`]), and what a step costs ([`cost`]).

pub mod bounds;
pub mod cost;
pub mod passes;
pub mod verdict;
