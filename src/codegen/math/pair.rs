//! Unevaluated sums of two floats, for the places where one rounding too many shows.
//!
//! A [`Pair`] stands for `high + low` with `low` at most about an ulp of `high`. The error-free steps are those of
//! Dekker 1971 and Knuth 1969 (sums) and of the fused multiply-add (products); the rest keeps errors near the square of
//! one rounding, not correctly rounded.

use super::lanes::{Float, Mask};

/// The number `high + low`.
#[derive(Clone, Copy)]
pub(super) struct Pair<'e> {
    pub(super) high: Float<'e>,
    pub(super) low: Float<'e>,
}

impl<'e> Pair<'e> {
    pub(super) fn new(high: Float<'e>, low: Float<'e>) -> Pair<'e> {
        Pair { high, low }
    }

    /// `a + b` exactly, for `|a| ≥ |b|` or `a = 0`.
    pub(super) fn fast_sum(a: Float<'e>, b: Float<'e>) -> Pair<'e> {
        let high = a + b;
        Pair { high, low: (a - high) + b }
    }

    /// `a + b` exactly.
    pub(super) fn sum(a: Float<'e>, b: Float<'e>) -> Pair<'e> {
        let high = a + b;
        let back = high - a;
        Pair { high, low: (a - (high - back)) + (b - back) }
    }

    /// `a · b` exactly, but for underflow.
    pub(super) fn product(a: Float<'e>, b: Float<'e>) -> Pair<'e> {
        let high = a * b;
        Pair { high, low: a.fma(b, -high) }
    }

    /// The product of two pairs.
    pub(super) fn times(self, other: Pair<'e>) -> Pair<'e> {
        let exact = Pair::product(self.high, other.high);
        let low = self.high.fma(other.low, self.low.fma(other.high, exact.low));
        Pair { high: exact.high, low }
    }

    /// The product with one float.
    pub(super) fn scale(self, factor: Float<'e>) -> Pair<'e> {
        let exact = Pair::product(self.high, factor);
        Pair { high: exact.high, low: self.low.fma(factor, exact.low) }
    }

    /// Adds a small number to the low part.
    pub(super) fn nudge(self, term: Float<'e>) -> Pair<'e> {
        Pair { high: self.high, low: self.low + term }
    }

    /// `self / divisor`, with one division.
    pub(super) fn over(self, divisor: Pair<'e>) -> Pair<'e> {
        let inverse = self.high.number(1.0) / divisor.high;
        let high = self.high * inverse;
        let rest = high.negated_fma(divisor.high, self.high) + high.negated_fma(divisor.low, self.low);
        Pair { high, low: rest * inverse }
    }

    /// The parts, added so that the low one is at most half an ulp of the high one.
    pub(super) fn normal(self) -> Pair<'e> {
        Pair::fast_sum(self.high, self.low)
    }

    /// The number, rounded.
    pub(super) fn round(self) -> Float<'e> {
        self.high + self.low
    }

    /// `yes` where set, else `no`.
    pub(super) fn select(mask: Mask<'e>, yes: Pair<'e>, no: Pair<'e>) -> Pair<'e> {
        Pair { high: mask.select(yes.high, no.high), low: mask.select(yes.low, no.low) }
    }
}
