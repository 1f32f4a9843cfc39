//! Elementary functions on vectors, each within 2 units in the last place.
//!
//! The polynomials are minimax fits of this crate's own, whose coefficients were then searched for the smallest error
//! after rounding; `tests/math.rs` measures them. Four vectors go through every function together, breadth first: the
//! chains are long and independent, and a processor does not look far enough ahead to overlap them by itself.

use super::{Simd, unroll};

/// 2^f on [0, 1], degree 5: 1.86 ulp with rounding.
const EXP2: [f32; 6] = [0.001_885_298_4, 0.008_973_373, 0.055_835_906, 0.240_152_8, 0.693_152_5, 1.0];

/// 2^f on [0, 1], degree 6: 1.4 ulp of e^x with rounding.
#[allow(clippy::approx_constant, reason = "a fitted coefficient that comes close to ln 2")]
const EXP: [f32; 7] = [0.000_216_129_32, 0.001_246_784_6, 0.009_675_449, 0.055_485_256, 0.240_229_37, 0.693_147, 1.0];

/// (log(1 + e) - e) / e² on [0, 1].
const LOG1P: [f32; 9] = [
    -0.003_388_212,
    0.020_524_213,
    -0.058_278_993,
    0.107_448_936,
    -0.153_951_67,
    0.197_100_74,
    -0.249_616_74,
    0.333_308_34,
    -0.499_999_43,
];

/// log2(1 + t) / t on [-1/4, 1/2].
#[allow(clippy::approx_constant, reason = "a fitted coefficient that comes close to log2 e")]
const LOG2: [f32; 9] = [
    0.080_215_33,
    -0.176_379_86,
    0.216_661_48,
    -0.242_505_39,
    0.288_139_6,
    -0.360_582_53,
    0.480_903_6,
    -0.721_348_4,
    1.442_695,
];

/// Evaluates one polynomial, the highest coefficient first, at four vectors.
#[inline(always)]
pub(crate) fn polynomial<S: Simd, const N: usize>(s: S, c: &[f32; N], x: [S::V; 4]) -> [S::V; 4] {
    let mut p = [s.splat(c[0]); 4];
    for &c in &c[1..] {
        let c = s.splat(c);
        unroll!(K in [0 1 2 3] {
            p[K] = s.pin(s.fma(p[K], x[K], c));
        });
    }
    p
}

/// 2^z within 2 ulp; 0 below -150 and infinity above 128.
#[inline(always)]
pub(crate) fn exp2<S: Simd>(s: S, z: [S::V; 4]) -> [S::V; 4] {
    let mut f = z;
    let mut n = z;
    unroll!(K in [0 1 2 3] {
        (f[K], n[K]) = s.split(z[K]);
    });
    let mut p = polynomial(s, &EXP2, f);
    unroll!(K in [0 1 2 3] {
        p[K] = s.pin(s.scale(p[K], n[K]));
    });
    p
}

/// e^x within 1.5 ulp for -104 <= x <= 88.7: the product with log2 e is carried to twice the precision.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: [S::V; 4]) -> [S::V; 4] {
    let high = s.splat(std::f32::consts::LOG2_E);
    let low = s.splat((std::f64::consts::LOG2_E - std::f32::consts::LOG2_E as f64) as f32);
    let mut f = x;
    let mut n = x;
    unroll!(K in [0 1 2 3] {
        let z = s.mul(x[K], high);
        let error = s.fma(x[K], low, s.fms(x[K], high, z));
        (f[K], n[K]) = s.split(z);
        f[K] = s.pin(s.add(f[K], error));
    });
    let mut p = polynomial(s, &EXP, f);
    unroll!(K in [0 1 2 3] {
        p[K] = s.pin(s.scale(p[K], n[K]));
    });
    p
}

/// log(1 + e^x) within 2 ulp, as max(x, 0) + log(1 + e^-|x|).
#[inline(always)]
pub(crate) fn softplus<S: Simd>(s: S, x: [S::V; 4]) -> [S::V; 4] {
    let mut a = x;
    unroll!(K in [0 1 2 3] {
        a[K] = s.max(s.splat(-104.0), s.negative_abs(x[K]));
    });
    let e = exp(s, a);
    let mut p = polynomial(s, &LOG1P, e);
    unroll!(K in [0 1 2 3] {
        p[K] = s.fma(s.mul(e[K], e[K]), p[K], e[K]);
        p[K] = s.add(p[K], s.max(s.splat(0.0), x[K]));
    });
    p
}

/// `num[x] / (1 + e^-|x|)` for a numerator that is 1 or e^-|x|, so that nothing overflows, times `factor`.
///
/// What 1 + e loses in rounding goes into the remainder of the division.
#[inline(always)]
fn logistic<S: Simd>(s: S, x: [S::V; 4], factor: [S::V; 4]) -> [S::V; 4] {
    let one = s.splat(1.0);
    let mut a = x;
    unroll!(K in [0 1 2 3] {
        a[K] = s.max(s.splat(-104.0), s.negative_abs(x[K]));
    });
    let e = exp(s, a);
    let mut q = x;
    unroll!(K in [0 1 2 3] {
        let d = s.add(one, e[K]);
        let lost = s.sub(e[K], s.sub(d, one));
        let numerator = s.mul(factor[K], s.select_by_sign(x[K], one, e[K]));
        let r = s.reciprocal_estimate(d);
        let estimate = s.mul(numerator, r);
        let remainder = s.fnma(lost, estimate, s.fnma(d, estimate, numerator));
        q[K] = s.fma(r, remainder, estimate);
    });
    q
}

/// 1 / (1 + e^-x) within 2 ulp.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: [S::V; 4]) -> [S::V; 4] {
    logistic(s, x, [s.splat(1.0); 4])
}

/// x / (1 + e^-x) within 2.5 ulp.
#[inline(always)]
pub(crate) fn silu<S: Simd>(s: S, x: [S::V; 4]) -> [S::V; 4] {
    logistic(s, x, x)
}

/// 1/a within 1 ulp for normal numbers.
#[inline(always)]
pub(crate) fn reciprocal<S: Simd>(s: S, a: S::V) -> S::V {
    let r = s.reciprocal_estimate(a);
    s.fma(r, s.fnma(a, r, s.splat(1.0)), r)
}

/// log2 a of normal positive numbers, with an error of 2^-22 or 4 ulp, whichever is larger.
#[inline(always)]
pub(crate) fn log2<S: Simd>(s: S, a: [S::V; 4]) -> [S::V; 4] {
    let mut e = a;
    let mut t = a;
    unroll!(K in [0 1 2 3] {
        // From 3/4 on, so that the logarithms of numbers close to 1 come from one side of the polynomial's zero.
        e[K] = s.exponent_mantissa(s.mul(a[K], s.splat(4.0 / 3.0))).0;
        t[K] = s.sub(s.scale(a[K], s.sub(s.splat(0.0), e[K])), s.splat(1.0));
    });
    let mut p = polynomial(s, &LOG2, t);
    unroll!(K in [0 1 2 3] {
        p[K] = s.fma(p[K], t[K], e[K]);
    });
    p
}
