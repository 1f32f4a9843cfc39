//! What follows from a layer alone: in which direction and order it runs ([`passes`]), at which stage each equation can
//! run at the earliest ([`stages`]), by what algebra its steps compose ([`verdict`]), what a step costs ([`cost`]), and
//! what the minimum of an objective is ([`implicit`]).

pub mod bounds;
pub mod cost;
pub(crate) mod implicit;
pub mod passes;
pub mod stages;
pub mod verdict;
