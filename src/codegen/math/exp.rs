//! The exponential and what is made of it: `expm1`, `tanh`, `sigmoid`, `silu`, `softplus`.
//!
//! `exp(x) = p·s·s` with `s = 2^m`, `m` the integer next to `x/(2 ln 2)` and `p = exp(x - 2m ln 2)` from a polynomial.
//! Multiplying by `s` twice passes through the whole range: an overflow becomes infinity, a subnormal result is rounded
//! once. Below the range `s` is clamped to where its exponent field is zero, hence itself zero: the result is zero without
//! the penalty that processors charge for underflow. An even power costs one more coefficient than the usual `2^n` and saves taking `n` apart (cf. Muller 2016,
//! Elementary Functions, §11). The argument is clamped to where the result no longer changes.
//!
//! `m` falls out of adding a large constant; its exponent field lies in the low bits of that sum, so that one shift
//! makes the bits of `s`.

use std::f64::consts::LOG2_E;

use super::coefficients::{EXP, EXPM1, LN_2};
use super::lanes::Float;
use super::log::log_pair;
use super::pair::Pair;

/// The number beyond which adding it leaves the nearest integer in the low bits.
pub(super) fn rounder(x: Float<'_>, offset: i32) -> Float<'_> {
    let base = x.either(2f64.powi(23), 2f64.powi(52)) * 1.5;
    x.number(base + f64::from(offset))
}

/// An argument less the nearest multiple of `step·ln 2`, and a power of two.
struct Reduced<'e> {
    rest: Pair<'e>,
    scale: Float<'e>,
}

/// `x = multiple·step·ln 2 + rest`, `scale = 2^(multiple + offset)`.
fn reduce(x: Float<'_>, step: f64, offset: i32) -> Reduced<'_> {
    let rounder = rounder(x, i32::try_from(x.bias()).expect("small") + offset);
    let shifted = x.fma(x.number(LOG2_E / step), rounder);
    let multiple = shifted - rounder;
    let scale = shifted.bits().shift_left(x.fraction_bits()).float();
    let near = multiple.fma(x.scaled(&LN_2, 0, -step), x);
    let tail = x.scaled(&LN_2, 1, -step);
    let high = multiple.fma(tail, near);
    let low = multiple.fma(tail, near - high);
    Reduced { rest: Pair::new(high, low), scale }
}

/// `exp(x) = value·scale·scale`, `value` between 1/2 and 2.
pub(super) struct Exponential<'e> {
    pub(super) value: Pair<'e>,
    pub(super) scale: Float<'e>,
}

impl<'e> Exponential<'e> {
    /// `factor · scale · scale`.
    pub(super) fn apply(&self, factor: Float<'e>) -> Float<'e> {
        factor * self.scale * self.scale
    }

    /// The pair times `scale²`: good to a relative error while it is normal.
    pub(super) fn apply_pair(&self, factor: Pair<'e>) -> Pair<'e> {
        factor.shift(self.scale).shift(self.scale)
    }
}

/// `exp(x.high + x.low)` to a small part of an ulp. `x.high` must be clamped to where the scale has an exponent.
pub(super) fn exp_pair(x: Pair<'_>) -> Exponential<'_> {
    let Reduced { rest, scale } = reduce(x.high, 2.0, 0);
    let r = rest.high;
    let value = Pair::fast_sum(r.number(1.0), r).nudge(r * r * r.polynomial(&EXP, 0)).normal();
    // exp(r + low) = exp(r) + exp(r)·low
    let low = value.high.fma(rest.low + x.low, value.low);
    Exponential { value: Pair::new(value.high, low), scale }
}

/// `exp(-|x|)`.
fn exp_negative(x: Float<'_>) -> Exponential<'_> {
    exp_pair(Pair::new((-x.abs()).at_least(exp_range(x).0), x.number(0.0)))
}

/// Where to clamp the argument of `exp`: below, where the scale is zero, and above, where the result is infinite.
pub(super) fn exp_range(x: Float<'_>) -> (Float<'_>, Float<'_>) {
    (x.number(x.either(-176.1, -1418.5)), x.number(x.either(89.0, 710.0)))
}

pub(super) fn exp(x: Float<'_>) -> Float<'_> {
    let (low, high) = exp_range(x);
    let x = x.at_most(high).at_least(low);
    let one = x.number(1.0);
    let rounder = rounder(x, i32::try_from(x.bias()).expect("small"));
    let shifted = x.fma(x.number(LOG2_E / 2.0), rounder);
    let half = shifted - rounder;
    let scale = shifted.bits().shift_left(x.fraction_bits()).float();
    let r = half.fma(x.scaled(&LN_2, 1, -2.0), half.fma(x.scaled(&LN_2, 0, -2.0), x));
    r.fma(r.fma(r.polynomial(&EXP, 0), one), one) * scale * scale
}

/// `2^halves·exp(rest)` for a rest within ±ln 2 / 2 and an integer that the exponent field has room for, given as the sum
/// with [`rounder`] at the bias.
pub(super) fn exp_near<'e>(rest: Float<'e>, shifted: Float<'e>) -> Float<'e> {
    let one = rest.number(1.0);
    let scale = shifted.bits().shift_left(rest.fraction_bits()).float();
    rest.fma(rest.fma(rest.polynomial(&EXP, 0), one), one) * scale
}

/// Half of `exp(x) - 1` (which stays finite) for `x` from some way below zero to overflow.
fn half_expm1(x: Float<'_>) -> Pair<'_> {
    let Reduced { rest, scale } = reduce(x, 1.0, -1);
    let r = rest.high;
    let curve = (r * r).fma(r.polynomial(&EXPM1, 0), rest.low);
    Pair::new(scale.fma(r, scale - x.number(0.5)), scale * curve)
}

/// `x` where `exp(x) - 1` rounds to it, else `value`.
fn or_tiny<'e>(x: Float<'e>, value: Float<'e>) -> Float<'e> {
    x.abs().lt(x.power(x.either(-25, -54))).select(x, value)
}

pub(super) fn expm1(x: Float<'_>) -> Float<'_> {
    let (_, high) = exp_range(x);
    let half = half_expm1(x.at_most(high).at_least(x.number(x.either(-20.0, -40.0)))).round();
    or_tiny(x, half + half)
}

pub(super) fn tanh(x: Float<'_>) -> Float<'_> {
    // With g = (exp(2|x|) - 1)/2 it is g/(g + 1).
    let magnitude = x.abs().at_most(x.number(x.either(10.0, 20.0)));
    let grown = half_expm1(magnitude + magnitude).normal();
    let below = Pair::sum(x.number(1.0), grown.high).nudge(grown.low);
    or_tiny(x, grown.over(below).round().flip(x.sign()))
}

/// `1/(1 + exp(-x)) = value·scale·scale`, from `exp(-|x|)`: `1/(1 + e)` or `e/(1 + e)`.
fn logistic(x: Float<'_>) -> Exponential<'_> {
    let e = exp_negative(x);
    let one = x.number(1.0);
    let small = e.apply_pair(e.value);
    let below = Pair::fast_sum(one, small.high).nudge(small.low);
    let negative = x.lt(x.number(0.0));
    let above = Pair::select(negative, e.value, Pair::new(one, x.number(0.0)));
    Exponential { value: above.over(below), scale: negative.select(e.scale, one) }
}

pub(super) fn sigmoid(x: Float<'_>) -> Float<'_> {
    let part = logistic(x);
    part.apply(part.value.round())
}

pub(super) fn silu(x: Float<'_>) -> Float<'_> {
    // Beyond the bound on either side the result is x or zero.
    let bound = -exp_range(x).0;
    let part = logistic(x);
    let near = x.at_least(-bound);
    let value = part.apply(near.fma(part.value.high, near * part.value.low));
    x.gt(bound).select(x, value)
}

pub(super) fn softplus(x: Float<'_>) -> Float<'_> {
    let one = x.number(1.0);
    let e = exp_negative(x);
    let small = e.apply_pair(e.value);
    let sum = Pair::fast_sum(one, small.high).nudge(small.low);
    let log = log_pair(sum.high, sum.low / sum.high, x.number(0.0));
    let total = Pair::sum(x.at_least(x.number(0.0)), log.high).nudge(log.low);
    x.gt(-exp_range(x).0).select(x, total.round())
}
