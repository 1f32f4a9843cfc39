//! What follows from a layer alone: in which direction and order it runs ([`passes`]), at which stage each equation can
//! run at the earliest ([`stages`]), by what algebra its steps compose ([`verdict`]), what a step costs ([`cost`]),
//! what the minimum of an objective is ([`implicit`]), and in which order equations stand that a rewrite has made (`settle`).

pub mod bounds;
pub mod cost;
pub(crate) mod implicit;
pub mod passes;
pub(crate) mod settle;
pub mod stages;
pub mod verdict;
