//! The shapes of values in vector registers.

use crate::inst::View;

/// How many lanes' worth of a register an operation works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Scalar,
    W128,
    W256,
    W512,
}

/// The shape of a float or vector type: its width, and 0 for 32-bit lanes, 1 for 64-bit lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) width: Width,
    pub(super) lane: usize,
}

impl Shape {
    pub(super) fn view(self) -> View {
        match self.width {
            Width::Scalar | Width::W128 => View::Xmm,
            Width::W256 => View::Ymm,
            Width::W512 => View::Zmm,
        }
    }

    /// The bytes of a lane.
    pub(super) fn lane_bytes(self) -> u8 {
        if self.lane == 0 { 4 } else { 8 }
    }

    /// The bytes of the register that it takes.
    pub(super) fn bytes(self) -> u8 {
        match self.width {
            Width::Scalar | Width::W128 => 16,
            Width::W256 => 32,
            Width::W512 => 64,
        }
    }

    /// How many lanes it has.
    pub(super) fn lanes(self) -> u8 {
        if self.width == Width::Scalar { 1 } else { self.bytes() / self.lane_bytes() }
    }

    /// The same in all of a register.
    pub(super) fn packed(self) -> Shape {
        Shape { width: if self.width == Width::Scalar { Width::W128 } else { self.width }, ..self }
    }
}
