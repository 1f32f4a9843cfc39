//! The exponential and what is made of it: `exp2`, `expm1`, `tanh`, `sigmoid`, `silu`, `softplus`.
//!
//! `exp(x) = p·2^2m`, `m` the integer next to `x/(2 ln 2)` and `p = exp(x - 2m ln 2)` from a polynomial. An even power
//! costs one more coefficient than the usual `2^n` and saves taking `n` apart (cf. Muller 2016, Elementary Functions,
//! §11). `m` falls out of adding a large constant.
//!
//! A machine with [`Primitive::Scale`](ssmc_wide::Primitive::Scale) scales by `2m` in one operation. Elsewhere
//! `s = 2^m` is made of bits: the exponent field of `s` lies in the low bits of the sum with the large constant, so that
//! one shift makes it. Multiplying by `s` twice passes through the whole range: an overflow becomes infinity, a subnormal
//! result is rounded once. Both give the same results, to the bit.
//!
//! Processors charge some hundred cycles for a result that underflows. Far below the range there is none: `s` is clamped
//! to where its exponent field is zero, hence itself zero; scaling is masked off, or goes by so much that it costs nothing
//! (from about 2^-512 on).

use std::f64::consts::{LN_2 as LN_2_F64, LOG2_E};

use super::coefficients::{EXP, EXP2, EXPM1, LN_2, LOG1P};
use super::lanes::{Float, Mask};
use super::pair::Pair;

/// The number beyond which adding it leaves the nearest integer in the low bits.
pub(super) fn rounder(x: Float<'_>, offset: i32) -> Float<'_> {
    let base = x.either(2f64.powi(23), 2f64.powi(52)) * 1.5;
    x.number(base + f64::from(offset))
}

/// A power of four.
#[derive(Clone, Copy)]
pub(super) enum Power<'e> {
    /// Its square root.
    Root(Float<'e>),
    /// Its logarithm to base 2; the machine can scale.
    Exponent(Float<'e>),
}

impl<'e> Power<'e> {
    /// `factor` times it, rounded once.
    pub(super) fn times(self, factor: Float<'e>) -> Float<'e> {
        match self {
            Power::Root(root) => factor * root * root,
            Power::Exponent(exponent) => factor.scale_by(exponent),
        }
    }

    /// The power where the mask is set, else 1.
    pub(super) fn or_one(self, mask: Mask<'e>) -> Power<'e> {
        match self {
            Power::Root(root) => Power::Root(mask.select(root, root.number(1.0))),
            Power::Exponent(exponent) => Power::Exponent(mask.select(exponent, exponent.number(0.0))),
        }
    }

    /// `factor` times it, for a `factor` that is not negative, where `kept` is set; zero elsewhere.
    ///
    /// Where it is not set, the product must be too small for a number, or anything if the power is an exponent.
    fn times_where(self, kept: Mask<'e>, factor: Float<'e>) -> Float<'e> {
        match self {
            Power::Root(_) => self.times(factor),
            Power::Exponent(_) => kept.select(self.times(factor), factor.number(0.0)),
        }
    }
}

/// `x` less the nearest multiple of `2 ln 2`, in steps: what is left after a short product, the factor, and the power.
struct Halved<'e> {
    near: Float<'e>,
    /// What the second part of `ln 2` is multiplied with.
    factor: Float<'e>,
    tail: Float<'e>,
    power: Power<'e>,
}

fn halved(x: Float<'_>) -> Halved<'_> {
    let rounder = |step: f64| {
        let base = x.either(2f64.powi(23), 2f64.powi(52)) * 1.5 + f64::from(x.bias());
        x.number(base * step)
    };
    // The numbers with and without a root differ by powers of two, which change no rounding.
    let step = if x.can_scale() { 2.0 } else { 1.0 };
    let shifted = x.fma(x.number(LOG2_E / 2.0 * step), rounder(step));
    let factor = shifted - rounder(step);
    let power = match x.can_scale() {
        true => Power::Exponent(factor),
        false => Power::Root(shifted.bits().shift_left(x.fraction_bits()).float()),
    };
    let part = |n: usize| x.scaled(&LN_2, n, -2.0 / step);
    Halved { near: factor.fma(part(0), x), factor, tail: part(1), power }
}

impl<'e> Halved<'e> {
    /// What is left, rounded.
    fn rest(&self) -> Float<'e> {
        self.factor.fma(self.tail, self.near)
    }

    /// What is left, in two parts.
    fn rest_pair(&self) -> Pair<'e> {
        let high = self.rest();
        Pair::new(high, self.factor.fma(self.tail, self.near - high))
    }
}

/// `exp(x) = power·value`, `value` between 1/2 and 2.
pub(super) struct Exponential<'e> {
    pub(super) value: Pair<'e>,
    pub(super) power: Power<'e>,
}

impl<'e> Exponential<'e> {
    /// `power · factor`.
    pub(super) fn apply(&self, factor: Float<'e>) -> Float<'e> {
        self.power.times(factor)
    }

    /// The pair times the power: good to a relative error while it is normal.
    pub(super) fn apply_pair(&self, factor: Pair<'e>) -> Pair<'e> {
        Pair::new(self.apply(factor.high), self.apply(factor.low))
    }
}

/// `exp(x.high + x.low)` to a small part of an ulp. `x.high` must be clamped to [`exp_range`].
pub(super) fn exp_pair(x: Pair<'_>) -> Exponential<'_> {
    let halved = halved(x.high);
    let rest = halved.rest_pair();
    let r = rest.high;
    let value = Pair::fast_sum(r.number(1.0), r).nudge(r * r * r.polynomial(&EXP, 0)).normal();
    // exp(r + low) = exp(r) + exp(r)·low
    let low = value.high.fma(rest.low + x.low, value.low);
    Exponential { value: Pair::new(value.high, low), power: halved.power }
}

/// Where to clamp the argument of `exp`: below, where the result is zero without cost, and above, where it is infinite.
pub(super) fn exp_range(x: Float<'_>) -> (Float<'_>, Float<'_>) {
    let low = if x.can_scale() { x.either(-400.0, -2900.0) } else { x.either(-176.1, -1418.5) };
    (x.number(low), x.number(x.either(89.0, 710.0)))
}

/// Where `exp(x)` does not vanish, or `x` is NaN.
fn lasts(x: Float<'_>) -> Mask<'_> {
    x.not_below(x.number(x.either(-104.0, -746.0)))
}

/// `exp(r)` for a small `r`.
fn exp_small(r: Float<'_>) -> Float<'_> {
    let one = r.number(1.0);
    r.fma(r.fma(r.polynomial(&EXP, 0), one), one)
}

pub(super) fn exp(x: Float<'_>) -> Float<'_> {
    let (low, high) = exp_range(x);
    let top = x.at_most(high);
    if x.can_scale() {
        let halved = halved(top);
        return halved.power.times_where(lasts(x), exp_small(halved.rest()));
    }
    let halved = halved(top.at_least(low));
    halved.power.times(exp_small(halved.rest()))
}

/// `2^x`.
pub(super) fn exp2(x: Float<'_>) -> Float<'_> {
    let lowest = x.either(-151.0, -1076.0);
    if x.can_scale() {
        let f = x.fraction();
        let value = f.fma(f.polynomial(&EXP2, 0), x.number(1.0));
        return Power::Exponent(x).times_where(x.not_below(x.number(lowest)), value);
    }
    let x = x.at_most(x.number(x.either(129.0, 1025.0))).at_least(x.number(x.either(-253.9, -2045.9)));
    let rounder = rounder(x, i32::try_from(x.bias()).expect("small"));
    let shifted = x.fma(x.number(0.5), rounder);
    let rest = (shifted - rounder).fma(x.number(-2.0), x) * x.number(LN_2_F64);
    Power::Root(shifted.bits().shift_left(x.fraction_bits()).float()).times(exp_small(rest))
}

/// `exp(-|x|)` before its power: a float, and what rounding took from it.
fn exp_negative(negative: Float<'_>) -> Exponential<'_> {
    let halved = halved(negative);
    let (r, one) = (halved.rest(), negative.number(1.0));
    let curve = r.polynomial(&EXP, 0);
    let slope = r.fma(curve, one);
    let high = r.fma(slope, one);
    let low = r.fma(r.fma(curve, one - slope), r.fma(slope, one - high));
    Exponential { value: Pair::new(high, low), power: halved.power }
}

/// `exp(-|x|)` as a float and what rounding took from it, but where that is small.
fn decay(x: Float<'_>) -> Pair<'_> {
    let negative = x.negative();
    let e = exp_negative(if x.can_scale() { negative } else { negative.at_least(exp_range(x).0) });
    let kept = lasts(negative);
    Pair::new(e.power.times_where(kept, e.value.high), e.power.times_where(kept, e.value.low))
}

/// An argument less the nearest multiple of `ln 2`, and a power of two.
struct Reduced<'e> {
    rest: Pair<'e>,
    scale: Float<'e>,
}

/// `x = multiple·ln 2 + rest`, `scale = 2^(multiple - 1)`.
fn reduce(x: Float<'_>) -> Reduced<'_> {
    let rounder = rounder(x, i32::try_from(x.bias()).expect("small") - 1);
    let shifted = x.fma(x.number(LOG2_E), rounder);
    let multiple = shifted - rounder;
    let scale = shifted.bits().shift_left(x.fraction_bits()).float();
    let near = multiple.fma(x.scaled(&LN_2, 0, -1.0), x);
    let tail = x.scaled(&LN_2, 1, -1.0);
    let high = multiple.fma(tail, near);
    let low = multiple.fma(tail, near - high);
    Reduced { rest: Pair::new(high, low), scale }
}

/// `2^halves·exp(rest)` for a rest within ±ln 2 / 2 and an integer that the exponent field has room for, given as the sum
/// with [`rounder`] at the bias.
pub(super) fn exp_near<'e>(rest: Float<'e>, shifted: Float<'e>) -> Float<'e> {
    exp_small(rest) * shifted.bits().shift_left(rest.fraction_bits()).float()
}

/// Half of `exp(x) - 1` (which stays finite) for `x` from some way below zero to overflow.
fn half_expm1(x: Float<'_>) -> Pair<'_> {
    let Reduced { rest, scale } = reduce(x);
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

/// `1/(1 + e)` for `e` between 0 and 1, and what is missing, relative to it.
fn inverse_above_one(e: Float<'_>) -> (Float<'_>, Float<'_>) {
    let one = e.number(1.0);
    let below = Pair::fast_sum(one, e);
    let inverse = one / below.high;
    (inverse, inverse.negated_fma(below.low, inverse.negated_fma(below.high, one)))
}

/// `exp(-|x|)` for negative `x`, else 1.
fn numerator<'e>(x: Float<'e>, e: Pair<'e>) -> Pair<'e> {
    let zero = x.number(0.0);
    Pair::select(x.lt(zero), e, Pair::new(x.number(1.0), zero))
}

pub(super) fn sigmoid(x: Float<'_>) -> Float<'_> {
    // With e = exp(-|x|) it is 1/(1 + e) or e/(1 + e). The second part of e matters to the numerator only.
    let e = decay(x);
    let (inverse, slack) = inverse_above_one(e.high);
    let above = numerator(x, e);
    above.high.fma(inverse, above.high.fma(slack, above.low) * inverse)
}

pub(super) fn silu(x: Float<'_>) -> Float<'_> {
    // As for the sigmoid, but the power comes last: x·e is a number for longer than e.
    let low = exp_range(x).0;
    let e = exp_negative(x.negative().at_least(low));
    let (inverse, slack) = inverse_above_one(e.apply(e.value.high));
    let above = numerator(x, e.value);
    let part = Pair::new(above.high, above.high.fma(slack, above.low)).scale(inverse);
    // Infinities times zeros would be NaN.
    let near = x.at_least(low);
    let last = near.at_most(x.number(x.either(f64::from(f32::MAX), f64::MAX)));
    e.power.or_one(x.lt(x.number(0.0))).times(near.fma(part.high, last * part.low))
}

pub(super) fn softplus(x: Float<'_>) -> Float<'_> {
    // max(x, 0) + ln(1 + e), e = exp(-|x|)
    let e = decay(x);
    let square = e.high * e.high;
    let curve = square.fma(e.high.polynomial(&LOG1P, 0), e.low);
    // For small x the result is below 1, where x + e would be rounded as above it.
    e.high + (x.at_least(x.number(0.0)) + curve)
}
