//! What follows from a layer alone: in which direction and order it runs ([`passes`]), and by what algebra its steps
//! compose ([`verdict`]); and what the minimum of an objective is ([`implicit`]).

pub mod bounds;
pub(crate) mod implicit;
pub mod passes;
pub mod verdict;
