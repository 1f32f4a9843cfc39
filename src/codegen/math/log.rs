//! Logarithms.
//!
//! `x = 2^k (1 + f)` with `1 + f` within √½ and √2, and with `s = f/(2 + f)`
//! `ln(1 + f) = ln((1 + s)/(1 - s)) = f - f²/2 + s (f²/2 + R(s²))`, the form of fdlibm's `e_log.c` (Sun 1993).

use super::coefficients::{LN_2, LOG, LOG_NEAR, TWO_THIRDS};
use super::lanes::Float;
use super::pair::Pair;

/// A positive normal number as `2^exponent·(1 + fraction)`.
pub(super) struct Split<'e> {
    pub(super) exponent: Float<'e>,
    pub(super) fraction: Float<'e>,
}

pub(super) fn split(x: Float<'_>) -> Split<'_> {
    let bits = x.fraction_bits();
    let one = x.number(1.0);
    let root = x.number(std::f64::consts::FRAC_1_SQRT_2).bits();
    // The exponent field of x/√½: k + bias.
    let shifted = x.bits() + (one.bits() - root);
    // It goes into the fraction of 2^23 (or 2^52), from where a subtraction takes it as a number.
    let carrier = x.power(i32::try_from(bits).expect("small"));
    let exponent = (shifted.shift_right(bits) | carrier.bits()).float()
        - x.number(2f64.powi(i32::try_from(bits).expect("small")) + f64::from(x.bias()));
    let mantissa = one.bits().number((1 << bits) - 1);
    let fraction = ((shifted & mantissa) + root).float() - one;
    Split { exponent, fraction }
}

/// `x` where it is normal, else `x·2^shift` with `-shift` to add to the exponent.
fn normalise(x: Float<'_>) -> (Float<'_>, Float<'_>) {
    let (shift, lowest) = x.either((24, -126), (54, -1022));
    let tiny = x.lt(x.power(lowest));
    (tiny.select(x * x.power(shift), x), tiny.select(x.number(-f64::from(shift)), x.number(0.0)))
}

/// `ln(x)·(1 + δ) + correction + exponent·ln 2` as a pair, for positive normal `x`.
///
/// `correction` stands for what `x` lacks, relative to it; `exponent` is added to that of `x`.
pub(super) fn log_pair<'e>(x: Float<'e>, correction: Float<'e>, exponent: Float<'e>) -> Pair<'e> {
    let Split { exponent: k, fraction: f } = split(x);
    let k = k + exponent;
    let s = f / (f + x.number(2.0));
    let z = s * s;
    let series = z * z.fma(z.polynomial(&LOG, 0), x.entry(&TWO_THIRDS, 0));
    let half = f * x.number(0.5);
    let rest = s.fma(half.fma(f, series), k.fma(x.entry(&LN_2, 1), correction));
    Pair::fast_sum(k * x.entry(&LN_2, 0), f).nudge(half.negated_fma(f, rest))
}

/// `value`, but what a logarithm with the given pole has at and beyond the pole, at infinity and for NaN.
fn at_the_ends<'e>(x: Float<'e>, pole: Float<'e>, value: Float<'e>) -> Float<'e> {
    let inside = x.lt(x.number(f64::INFINITY)).select(value, x);
    let outside = x.eq(pole).select(x.number(f64::NEG_INFINITY), x.number(f64::NAN));
    x.gt(pole).select(inside, outside)
}

pub(super) fn log(x: Float<'_>) -> Float<'_> {
    let zero = x.number(0.0);
    let (normal, exponent) = normalise(x);
    at_the_ends(x, zero, log_pair(normal, zero, exponent).round())
}

pub(super) fn log1p(x: Float<'_>) -> Float<'_> {
    let one = x.number(1.0);
    let sum = Pair::sum(one, x);
    let value = log_pair(sum.high, sum.low / sum.high, x.number(0.0)).round();
    let value = at_the_ends(x, -one, value);
    x.abs().lt(x.power(x.either(-25, -54))).select(x, value)
}

/// `ln(1 + f)` for a fraction of [`split`], to a small part of the precision of 1, without a division.
pub(super) fn log_near(f: Float<'_>) -> Float<'_> {
    (f * f).fma(f.polynomial(&LOG_NEAR, 0), f)
}

/// `ln(x)` for positive finite `x`, to about twice the precision of a lane, for `pow`.
pub(super) fn log_precise(x: Float<'_>) -> Pair<'_> {
    let (normal, exponent) = normalise(x);
    let Split { exponent: k, fraction: f } = split(normal);
    let k = k + exponent;
    let two = x.number(2.0);
    let s = Pair::new(f, x.number(0.0)).over(Pair::fast_sum(two, f));
    let z = s.times(s);
    // ln((1 + s)/(1 - s)) = s (2 + z (2/3 + z·B(z)))
    let inner = z.high.fma(z.high.polynomial(&LOG, 0), x.entry(&TWO_THIRDS, 1));
    let outer = z.times(Pair::fast_sum(x.entry(&TWO_THIRDS, 0), inner));
    let log = s.times(Pair::fast_sum(two, outer.high).nudge(outer.low));
    let sum = Pair::fast_sum(k * x.entry(&LN_2, 0), log.high);
    sum.nudge(k.fma(x.entry(&LN_2, 1), log.low)).normal()
}

/// `ln(sum)·factor + exponent·ln 2` for a positive sum of two parts in the middle of the range.
pub(super) fn log_of_sum<'e>(sum: Pair<'e>, exponent: Float<'e>) -> Float<'e> {
    log_pair(sum.high, sum.low / sum.high, exponent).round()
}
