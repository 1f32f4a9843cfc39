//! Operations that machines have and CLIF does not: calls of functions with certain names.
//!
//! Such a call is an instruction or two: it changes no registers, and it has no effects but for [`Primitive::SetStatus`].
//! Operations on floats take vectors of any width (not scalars). Where [`Primitive::is_at`] says no, the function is refused.

use cranelift_codegen::ir::UserExternalName;

use crate::Level;

/// An operation on vectors of floats, lane by lane but for [`Primitive::LookUp`], where all arguments and the result are of one
/// type; or one on the thread's word of control and status, an `i32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Primitive {
    /// `p, n`: `p·2^⌊n⌋`, rounded once. For `n = -∞` it is zero and for `n = ∞` infinite, with the sign of `p`; NaN for
    /// `0·2^∞` and `∞·2^-∞`, where `n` is NaN, and where `p` is and `n` is finite (else zero or infinite).
    Scale,
    /// `x`: `x - ⌊x⌋`, rounded down (hence below 1); zero for infinities, of either sign.
    Fraction,
    /// `x`: the number from 1 to below 2 that is `|x|` times a power of 2; 1 for zeros and infinities.
    Mantissa,
    /// `at, low, high`: the lane of `low`, or behind them of `high`, that the lowest bits of the bits of `at` number. Lanes of
    /// `low` and `high` meet those of `at` in any place.
    LookUp,
    /// The word of control and status (MXCSR): its lowest bit is set once an operation on floats, anywhere in the blocks that
    /// ran before, was invalid or took the larger or smaller of two of which one was NaN.
    Status,
    /// `word`: what [`Primitive::Status`] is from now on. No result.
    SetStatus,
}

/// The namespace of the names.
const NAMESPACE: u32 = 0x6f70;

impl Primitive {
    /// All of them.
    pub const ALL: [Primitive; 6] = [
        Primitive::Scale,
        Primitive::Fraction,
        Primitive::Mantissa,
        Primitive::LookUp,
        Primitive::Status,
        Primitive::SetStatus,
    ];

    /// The name of the function whose call is this.
    pub fn name(self) -> UserExternalName {
        UserExternalName { namespace: NAMESPACE, index: self as u32 }
    }

    /// What a name stands for.
    pub(crate) fn of(name: &UserExternalName) -> Option<Primitive> {
        Primitive::ALL.into_iter().find(|primitive| primitive.name() == *name)
    }

    /// The number of arguments.
    pub fn arity(self) -> usize {
        match self {
            Primitive::Status => 0,
            Primitive::Fraction | Primitive::Mantissa | Primitive::SetStatus => 1,
            Primitive::Scale => 2,
            Primitive::LookUp => 3,
        }
    }

    /// Whether processors of that level have it.
    pub fn is_at(self, level: Level) -> bool {
        level == Level::Avx512 || !self.is_on_floats()
    }

    /// Whether its arguments and its result are vectors of floats.
    pub fn is_on_floats(self) -> bool {
        !matches!(self, Primitive::Status | Primitive::SetStatus)
    }
}
