//! Roots, powers and the remainder.

use std::f64::consts::{LN_2, LOG2_E};

use super::Routine;
use super::exp::{exp_near, exp_pair, exp_range, rounder};
use super::lanes::Float;
use super::log::{Split, log_near, log_precise, split};
use super::pair::Pair;

pub(super) fn sqrt(x: Float<'_>) -> Float<'_> {
    x.sqrt()
}

pub(super) fn rsqrt(x: Float<'_>) -> Float<'_> {
    x.number(1.0) / x.sqrt()
}

/// `x^y` with the special cases of C's `pow`: `exp(y·ln|x|)`, the logarithm in two parts.
pub(super) fn pow<'e>(x: Float<'e>, y: Float<'e>) -> Float<'e> {
    let (zero, one, infinity) = (x.number(0.0), x.number(1.0), x.number(f64::INFINITY));
    let base = x.abs();
    let log = log_precise(base);
    let at_end = base.eq(infinity).select(infinity, log.high);
    let high = base.eq(zero).select(-infinity, at_end);

    let product = y * high;
    let (least, most) = exp_range(x);
    let clamped = product.at_most(most).at_least(least);
    let low = y.fma(log.low, y.fma(high, -product));
    // Where the product was clamped or infinite its rest may be anything.
    let low = clamped.eq(product).select(low, zero);
    let e = exp_pair(Pair::new(clamped, low));
    let power = e.apply(e.value.round());

    let whole = y.floor().eq(y);
    let half = y * x.number(0.5);
    let odd = whole & half.floor().ne(half);
    let sign = odd.select(x, zero).sign();
    let finite_negative = x.lt(zero) & x.gt(-infinity);
    let fraction = finite_negative & y.floor().ne(y);
    let power = fraction.select(x.number(f64::NAN), power.flip(sign));
    let power = x.unordered(y).select(x + y, power);
    let unit = y.eq(zero) | x.eq(one) | (base.eq(one) & y.abs().eq(infinity));
    unit.select(one, power)
}

/// `sum + |x|^exponent` for a constant exponent from 1 to 8, as it is needed in a sum of such powers: the power's relative error
/// is at most 1e-6 (f32), 1e-14 (f64). Powers of subnormal numbers may be anything from zero to them.
///
/// `x^n·x^f`, `n` the integer part of the exponent and `f` the rest: only the rest is more than products, and need not be
/// precise.
pub(super) fn add_power<'e>(sum: Float<'e>, x: Float<'e>, exponent: f64) -> Float<'e> {
    let n = exponent.floor();
    let f = exponent - n;
    let odd = n as usize % 2 == 1;
    let looked_up = f > 0.0 && !x.is_double() && x.count() >= 8 && x.can_look_up();
    // A table can hold both signs: of an odd power and of the rest, which give a positive product.
    let signed = looked_up && SIGNED / (2 * x.count()) <= 2 * x.count();
    let x = if signed { x } else { x.abs() };
    let whole = (1..n as usize).fold(x, |power, _| power * x);
    if f == 0.0 {
        return sum + whole;
    }
    let rest = if looked_up { root_looked_up(x, f, if signed && odd { -1.0 } else { 1.0 }) } else { root(x, f) };
    whole.fma(rest, sum)
}

/// `x^exponent` for a constant exponent between 0 and 0.95 and an `x` that is not negative, as it is needed of a sum of powers: its
/// relative error is at most 1e-6 (f32), 1e-14 (f64). Of a subnormal number it is something between 0 and that of the smallest
/// that is not.
pub(super) fn near_root(x: Float<'_>, exponent: f64) -> Float<'_> {
    let looked_up = !x.is_double() && x.count() >= 8 && x.can_look_up();
    let root = if looked_up { root_looked_up(x, exponent, 1.0) } else { root(x, exponent) };
    let sound = x.gt(x.number(0.0)) & x.lt(x.number(f64::INFINITY));
    // Zero, infinity and NaN are their own roots.
    sound.select(root, x)
}

/// `x^f` for a constant below 1, as `2^(f·log2 x)` with a short logarithm.
fn root(x: Float<'_>, f: f64) -> Float<'_> {
    let (high, low) = x.either((f64::from(f as f32), f - f64::from(f as f32)), (f, 0.0));
    let Split { exponent: k, fraction } = split(x);
    let log = log_near(fraction);
    let power = k.fma(x.number(high), log * x.number(f * LOG2_E));
    let rounder = rounder(x, i32::try_from(x.bias()).expect("small"));
    let shifted = power.at_least(x.number(1.0 - f64::from(x.bias()))) + rounder;
    let left = k.fma(x.number(high), rounder - shifted);
    let tail = k.fma(x.number(low * LN_2), log * x.number(f));
    exp_near(left.fma(x.number(LN_2), tail), shifted)
}

/// How many exponents f32 has.
const EXPONENTS: usize = 256;

/// The same with either sign.
const SIGNED: usize = 2 * EXPONENTS;

/// The same of `|x|` in f32 as `m^f·2^(e·f)`: a polynomial made for this `f`, and tables for parts of the exponent field. Exact
/// for 1: a matrix of zeros and ones has norms that leave it what it is, however often it is applied.
///
/// The root of what is below zero is multiplied with `below`, where a table has room for both signs.
fn root_looked_up(x: Float<'_>, f: f64, below: f32) -> Float<'_> {
    let entries = 2 * x.count();
    let (bits, bias) = (x.fraction_bits(), x.bias() as usize);
    let power = |exponent: usize, zero: usize| ((exponent as f64 - zero as f64) * f).exp2() as f32;
    let low: Vec<f32> = (0..entries).map(|i| power(i, bias % entries)).collect();
    let high = (0..EXPONENTS / entries).map(|i| power(i * entries, bias / entries * entries));
    let high: Vec<f32> = high.clone().chain(high.map(|power| below * power)).take(entries).collect();
    let m = x.mantissa();
    let coefficients = power_of_mantissa(f);
    let (highest, others) = coefficients.split_last().expect("at least one");
    let mantissa = others.iter().rev().fold(m.number(*highest), |sum, &c| sum.fma(m, m.number(c)));
    let low = x.bits().shift_right(bits).look_up(&low);
    let high = x.bits().shift_right(bits + entries.ilog2()).look_up(&high);
    mantissa * (low * high)
}

/// The polynomial in `m`, lowest power first, that is `m^f` at 1, 2 and five points between them, but for its lowest
/// coefficient, with which it is 1 at 1 as f32 computes it: elsewhere in there its relative error is below 5e-7 for `f` from 0
/// to 1, roundings included.
fn power_of_mantissa(f: f64) -> [f64; 7] {
    const POINTS: usize = 7;
    // Newton's form at Lobatto's points, then multiplied out.
    let points: [f64; POINTS] =
        std::array::from_fn(|i| 1.5 - 0.5 * (std::f64::consts::PI * i as f64 / (POINTS - 1) as f64).cos());
    let mut differences = points.map(|m| m.powf(f));
    for order in 1..POINTS {
        for i in (order..POINTS).rev() {
            differences[i] = (differences[i] - differences[i - 1]) / (points[i] - points[i - order]);
        }
    }
    let mut sum = [0.0; POINTS];
    for i in (0..POINTS).rev() {
        // sum · (m - point) + difference
        for power in (0..POINTS).rev() {
            let below = if power > 0 { sum[power - 1] } else { 0.0 };
            sum[power] = below - points[i] * sum[power];
        }
        sum[0] += differences[i];
    }
    sum[0] = 1.0 - f64::from(sum[1..].iter().rev().fold(0.0, |at_one, &c| at_one + c as f32));
    sum
}

/// `x - y·floor(x/y)` as one exact number, rounded: the remainder with the sign of the divisor.
///
/// A zero result has the divisor's sign; a zero divisor or an infinite dividend gives NaN; a finite number modulo an
/// infinity is itself, or that infinity if the signs differ.
pub(super) fn remainder<'e>(x: Float<'e>, y: Float<'e>) -> Float<'e> {
    let zero = x.number(0.0);
    let (dividend, divisor) = (x.abs(), y.abs());
    // |x| mod |y|: the quotient is right or, rounded up, one too large; every step is exact.
    let quotient = (dividend / divisor).trunc();
    let rest = quotient.negated_fma(divisor, dividend);
    let rest = rest.lt(zero).select(rest + divisor, rest);
    let limit = x.power(x.either(22, 51));
    let simple = quotient.lt(limit) & divisor.lt(x.number(f64::INFINITY));
    let rest = rest.unless(!simple, || dividend.by_lane(Routine::Remainder, Some(divisor)));
    let opposite = x.number(1.0).flip(x.sign() ^ y.sign()).lt(zero);
    let turned = opposite & rest.ne(zero);
    turned.select(divisor - rest, rest).flip(y.sign())
}
