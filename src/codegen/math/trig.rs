//! Sine, cosine and the angle of a point.
//!
//! Arguments up to 2^17 are reduced by π/2 in three parts (Cody and Waite 1980, with fused multiply-adds); the few
//! beyond go to a scalar routine, lane by lane, in a cold block.

use std::f64::consts::FRAC_2_PI;

use super::Routine;
use super::coefficients::{ATAN, COS, HALF_PI, QUARTER_PI, SIN};
use super::exp::rounder;
use super::lanes::{Float, Int, Mask};
use super::pair::Pair;

/// `|x| = quadrant·π/2 + rest`.
struct Quadrant<'e> {
    /// Its two lowest bits count quadrants.
    quadrant: Int<'e>,
    sine: Float<'e>,
    cosine: Float<'e>,
}

fn quadrant(magnitude: Float<'_>) -> Quadrant<'_> {
    let x = magnitude;
    let rounder = rounder(x, 0);
    let shifted = x.fma(x.number(FRAC_2_PI), rounder);
    let turns = rounder - shifted;
    let near = turns.fma(x.entry(&HALF_PI, 0), x);
    let middle = Pair::product(turns, x.entry(&HALF_PI, 1));
    let rest = Pair::sum(near, middle.high);
    let r = rest.high;
    let low = turns.fma(x.entry(&HALF_PI, 2), rest.low + middle.low);

    let z = r * r;
    let sine = r + (r * z).fma(z.polynomial(&SIN, 0), low);
    let half = z * x.number(0.5);
    let flat = Pair::fast_sum(x.number(1.0), -half);
    let cosine = flat.high + (z * z).fma(z.polynomial(&COS, 0), r.negated_fma(low, flat.low));
    Quadrant { quadrant: shifted.bits(), sine, cosine }
}

impl<'e> Quadrant<'e> {
    /// The sine, `ahead` quadrants further on.
    fn sine_at(&self, ahead: u64) -> Float<'e> {
        let quadrant = self.quadrant + self.quadrant.number(ahead);
        let even = (quadrant & quadrant.number(1)).is_zero();
        let sign = (quadrant & quadrant.number(2)).shift_left(self.sine.either(30, 62));
        even.select(self.sine, self.cosine).flip(sign)
    }
}

fn large(x: Float<'_>) -> Mask<'_> {
    x.abs().gt(x.power(17))
}

pub(super) fn sin(x: Float<'_>) -> Float<'_> {
    let value = quadrant(x.abs()).sine_at(0).flip(x.sign());
    value.unless(large(x), || x.by_lane(Routine::Sin, None))
}

pub(super) fn cos(x: Float<'_>) -> Float<'_> {
    let value = quadrant(x.abs()).sine_at(1);
    value.unless(large(x), || x.by_lane(Routine::Cos, None))
}

/// `(sin x, cos x)`, sharing the reduction.
pub(super) fn sin_cos(x: Float<'_>) -> (Float<'_>, Float<'_>) {
    let parts = quadrant(x.abs());
    let (sine, cosine) = (parts.sine_at(0).flip(x.sign()), parts.sine_at(1));
    let sine = sine.unless(large(x), || x.by_lane(Routine::Sin, None));
    (sine, cosine.unless(large(x), || x.by_lane(Routine::Cos, None)))
}

/// The angle of the point `(x, y)`, as C's `atan2(y, x)`.
///
/// With `q` the smaller coordinate over the larger, `atan q` is a polynomial up to `tan π/8`, and above it
/// `π/4 + atan((q - 1)/(q + 1))`; the angle is that, taken from or added to a multiple of `π/4`.
pub(super) fn atan2<'e>(y: Float<'e>, x: Float<'e>) -> Float<'e> {
    let (zero, one) = (x.number(0.0), x.number(1.0));
    let (up, along) = (y.abs(), x.abs());
    let steep = along.lt(up);
    let (small, large) = (steep.select(along, up), steep.select(up, along));
    // Keep the sum of both finite and the remainder of the division above underflow.
    let scale =
        large.gt(x.power(100)).select(x.power(-2), large.lt(x.power(-100)).select(x.power(x.either(24, 53)), one));
    let infinity = x.number(f64::INFINITY);
    let beyond = large.eq(infinity);
    let small = beyond.select(small.eq(infinity).select(one, zero), small * scale);
    let large = (beyond | large.eq(zero)).select(one, large * scale);

    let diagonal = (large * x.number(0.414_213_56)).lt(small);
    let above = Pair::select(diagonal, Pair::sum(small, -large), Pair::new(small, zero));
    let below = Pair::select(diagonal, Pair::fast_sum(large, small), Pair::new(large, zero));
    let q = above.high / below.high;
    let rest = q.negated_fma(below.high, above.high) + (above.low - q * below.low);
    let z = q * q;
    let curve = (q * z).fma(z.polynomial(&ATAN, 0), rest / below.high);

    // The angle is eighths·π/4 ± atan q.
    let eighths = diagonal.select(one, zero);
    let eighths = steep.select(x.number(2.0) - eighths, eighths);
    let behind = one.flip(x.sign()).lt(zero);
    let eighths = behind.select(x.number(4.0) - eighths, eighths);
    let turned = steep.select(-one, one).flip(x.sign());
    let quarter = Pair::new(x.entry(&QUARTER_PI, 0), x.entry(&QUARTER_PI, 1));
    let base = quarter.scale(eighths);
    let sum = Pair::fast_sum(base.high, q * turned);
    let angle = (sum.high + (sum.low + curve.fma(turned, base.low))).flip(y.sign());
    x.unordered(y).select(x + y, angle)
}
