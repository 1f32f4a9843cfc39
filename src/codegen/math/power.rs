//! Roots, powers and the remainder.

use super::Routine;
use super::exp::{exp_pair, exp_range};
use super::lanes::Float;
use super::log::log_precise;
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
