//! Operations that machines have and CLIF does not: calls of functions with certain names.
//!
//! Such a call is an instruction or two: it changes no registers, and takes vectors of any width (not scalars) where it is on
//! floats. Those without a result are there for what they do. Where [`Primitive::is_at`] says no, the function is refused.

use cranelift_codegen::ir::{AbiParam, Signature, Type, UserExternalName, types};
use cranelift_codegen::isa::CallConv;

use crate::Level;

/// An operation. Most have a result and work on vectors of floats, lane by lane but for [`Primitive::LookUp`] and
/// [`Primitive::Move`]; all their arguments and the result are of one type.
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
    /// The same with a constant `at`: lanes that follow each other, from one of `low` on, or the last lane of `high` for all.
    Move,
    /// `address`: asks for the cache line there to be in the first cache soon. It neither fails, wherever that is, nor waits.
    Prefetch,
    /// `value, address`: writes a vector past the caches. The address is a multiple of its size. A thread that is told of it by
    /// another sees it only behind an `sfence` of the one that wrote.
    Stream,
    /// The thread's word of control and status (MXCSR), an `i32`: its lowest bit is set once an operation on floats, anywhere in
    /// the blocks that ran before, was invalid or took the larger or smaller of two of which one was NaN.
    Status,
    /// `word`: what [`Primitive::Status`] is from now on.
    SetStatus,
}

/// The namespace of the names.
const NAMESPACE: u32 = 0x6f70;

impl Primitive {
    /// All of them.
    pub const ALL: [Primitive; 9] = [
        Primitive::Scale,
        Primitive::Fraction,
        Primitive::Mantissa,
        Primitive::LookUp,
        Primitive::Move,
        Primitive::Prefetch,
        Primitive::Stream,
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
            Primitive::Fraction | Primitive::Mantissa | Primitive::Prefetch | Primitive::SetStatus => 1,
            Primitive::Scale | Primitive::Stream => 2,
            Primitive::LookUp | Primitive::Move => 3,
        }
    }

    /// Whether it has no result, and is there for what it does.
    pub fn has_effect(self) -> bool {
        matches!(self, Primitive::Prefetch | Primitive::Stream | Primitive::SetStatus)
    }

    /// Whether it writes to memory.
    pub(crate) fn writes(self) -> bool {
        self == Primitive::Stream
    }

    /// The signature of the function, for vectors of that type.
    pub fn signature(self, vector: Type, convention: CallConv) -> Signature {
        let mut signature = Signature::new(convention);
        signature.params = match self {
            Primitive::Prefetch => vec![AbiParam::new(types::I64)],
            Primitive::Stream => vec![AbiParam::new(vector), AbiParam::new(types::I64)],
            Primitive::SetStatus => vec![AbiParam::new(types::I32)],
            _ => vec![AbiParam::new(vector); self.arity()],
        };
        match self {
            Primitive::Status => signature.returns.push(AbiParam::new(types::I32)),
            _ if self.has_effect() => {}
            _ => signature.returns.push(AbiParam::new(vector)),
        }
        signature
    }

    /// Whether processors of that level have it.
    pub fn is_at(self, level: Level) -> bool {
        !self.is_on_floats() || self == Primitive::Move || level == Level::Avx512
    }

    /// Whether its arguments and its result are vectors of floats.
    pub(crate) fn is_on_floats(self) -> bool {
        use Primitive::*;
        !matches!(self, Prefetch | Stream | Status | SetStatus)
    }
}
