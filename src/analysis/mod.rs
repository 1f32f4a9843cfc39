//! What follows from a layer alone: in which direction and order it runs ([`passes`]), by what algebra its steps
//! compose ([`verdict`]), what a step costs ([`cost`]), and what the minimum of an objective is ([`implicit`]).

pub mod bounds;
pub mod cost;
pub(crate) mod implicit;
pub mod passes;
pub mod verdict;
