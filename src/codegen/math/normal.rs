//! The normal distribution: `erf` and `gelu`.
//!
//! `Q(t)`, the probability of more than `t`, is `exp(-t²/2)·g(t)` with a smooth `g` that falls like `1/t`: `g` is
//! `y·P(y)` in `y = 1/(t + c)` (cf. Shepherd and Laframboise 1981). Both factors are kept in two parts and the scale of
//! the exponential aside, so that the relative error stays small to the last subnormal result.

use std::f64::consts::SQRT_2;

use super::coefficients::{ERF, TAIL, TAIL_AT, TAIL_SLOPE};
use super::exp::{Exponential, exp_pair};
use super::lanes::Float;
use super::pair::Pair;

/// `exp(-square)·exp(t²/2)·Q(t)` for `t ≥ 0`, before its scale.
fn tail<'e>(t: Float<'e>, square: Pair<'e>) -> Exponential<'e> {
    let e = exp_pair(Pair::new(-square.high, -square.low));
    let y = Pair::new(t.number(1.0), t.number(0.0)).over(Pair::sum(t, t.entry(&TAIL_AT, 0)));
    let middle = t.entry(&TAIL_AT, 1);
    let z = y.high - middle;
    let slack = ((y.high - z) - middle) + y.low;
    let upper = z.polynomial(&TAIL, 1);
    let lowest = t.entry(&TAIL, 0);
    let high = z.fma(upper, lowest);
    let low = slack.fma(z.polynomial(&TAIL_SLOPE, 0), z.fma(upper, lowest - high));
    let value = e.value.times(y.times(Pair::new(high, low)));
    Exponential { value, power: e.power }
}

pub(super) fn erf(x: Float<'_>) -> Float<'_> {
    let one = x.number(1.0);
    let magnitude = x.abs();
    let inner = (magnitude * magnitude).polynomial(&ERF, 0);
    let near = magnitude.fma(inner, magnitude);
    // From 6 on the result is 1.
    let far = magnitude.at_most(x.number(6.0));
    let q = tail(far * x.number(SQRT_2), Pair::product(far, far));
    let far = one - q.apply((q.value.high + q.value.low) * x.number(2.0));
    magnitude.lt(one).select(near, far).flip(x.sign())
}

pub(super) fn gelu(x: Float<'_>) -> Float<'_> {
    let one = x.number(1.0);
    // Beyond, the result is x or zero; there the scale of exp(-t²/2) is zero.
    let bound = x.number(x.either(18.78, 53.26));
    let t = x.abs().at_most(bound);
    let q = tail(t, Pair::product(t, t * x.number(0.5)));
    // x < 0: -t·Q(t)
    let negative = q.apply(q.value.scale(t).round());
    // x ≥ 0: t·(1 - Q(t))
    let part = q.apply_pair(q.value);
    let rest = Pair::fast_sum(one, -part.high).nudge(-part.low);
    let positive = t.fma(rest.high, t * rest.low);
    let value = x.lt(x.number(0.0)).select(negative, positive).flip(x.sign());
    x.gt(bound).select(x, value)
}
