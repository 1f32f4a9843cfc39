//! What follows from a layer alone: in which direction and order it runs ([`passes`]), at which stage each
//! equation can run at the earliest ([`stages`]), and by what algebra its steps compose ([`verdict`]).

pub mod bounds;
pub mod passes;
pub mod stages;
pub mod verdict;
