//! The functions on real and complex numbers.
//!
//! All are computed in `f64`, with the same code on every host, and then rounded once: in `f32` each function is
//! the true value to within a hair more than half a unit in the last place.

use std::f64::consts::FRAC_1_SQRT_2;
use std::ops::{Add, Div, Mul, Neg, Sub};

use ssmc_runtime::Float;

/// The real numbers that the interpreter computes with: `f32` and `f64`.
pub trait Real:
    Float + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
}

impl<F> Real for F where
    F: Float + Add<Output = F> + Sub<Output = F> + Mul<Output = F> + Div<Output = F> + Neg<Output = F>
{
}

/// The larger one, NaN if either is.
pub(super) fn max<F: Real>(a: F, b: F) -> F {
    if a > b || is_nan(a) { a } else { b }
}

/// The smaller one, NaN if either is.
pub(super) fn min<F: Real>(a: F, b: F) -> F {
    if a < b || is_nan(a) { a } else { b }
}

/// Whether `a` comes before `b` as the largest: it is larger, or the first NaN.
pub(super) fn beats<F: Real>(a: F, b: F) -> bool {
    a > b || (is_nan(a) && !is_nan(b))
}

pub(super) fn is_nan<F: PartialEq>(a: F) -> bool {
    #[allow(clippy::eq_op, reason = "only NaN differs from itself")]
    let differs = a != a;
    differs
}

pub(super) fn zero<F: Real>() -> F {
    F::from_f64(0.0)
}

pub(super) fn one<F: Real>() -> F {
    F::from_f64(1.0)
}

/// `a // b`: the quotient, rounded down.
pub(super) fn floor_div<F: Real>(a: F, b: F) -> F {
    F::from_f64(libm::floor((a / b).to_f64()))
}

/// `a % b`: the exact remainder, with the sign of the divisor.
pub(super) fn floor_mod<F: Real>(a: F, b: F) -> F {
    // The remainder of two numbers of one format is a number of that format.
    let rest = libm::fmod(a.to_f64(), b.to_f64());
    let divisor = b.to_f64();
    if rest == 0.0 {
        F::from_f64(libm::copysign(0.0, divisor))
    } else if (rest < 0.0) != (divisor < 0.0) {
        F::from_f64(rest) + b
    } else {
        F::from_f64(rest)
    }
}

/// The integer power by repeated squaring, lowest bit first; the reciprocal of it for a negative exponent.
pub(super) fn powi<T: Copy>(base: T, exponent: i32, one: T, mul: impl Fn(T, T) -> T, inverse: impl Fn(T) -> T) -> T {
    let mut left = exponent.unsigned_abs();
    let mut square = base;
    let mut result = None;
    while left > 0 {
        if left & 1 == 1 {
            result = Some(result.map_or(square, |r| mul(r, square)));
        }
        left >>= 1;
        if left > 0 {
            square = mul(square, square);
        }
    }
    let result = result.unwrap_or(one);
    if exponent < 0 { inverse(result) } else { result }
}

pub(super) fn rsqrt(x: f64) -> f64 {
    1.0 / libm::sqrt(x)
}

pub(super) fn sign(x: f64) -> f64 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        x
    }
}

pub(super) fn sigmoid(x: f64) -> f64 {
    if x < 0.0 {
        let e = libm::exp(x);
        e / (1.0 + e)
    } else {
        1.0 / (1.0 + libm::exp(-x))
    }
}

pub(super) fn silu(x: f64) -> f64 {
    // The limit, where the product would be infinity times 0.
    if x == f64::NEG_INFINITY { -0.0 } else { x * sigmoid(x) }
}

pub(super) fn softplus(x: f64) -> f64 {
    if x > 0.0 { x + libm::log1p(libm::exp(-x)) } else { libm::log1p(libm::exp(x)) }
}

pub(super) fn relu(x: f64) -> f64 {
    if x < 0.0 { 0.0 } else { x }
}

pub(super) fn gelu(x: f64) -> f64 {
    if x == f64::NEG_INFINITY { -0.0 } else { x * 0.5 * libm::erfc(-x * FRAC_1_SQRT_2) }
}

/// A complex number.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub(super) struct Complex<F> {
    pub(super) re: F,
    pub(super) im: F,
}

/// Shorthand for a number and its parts.
pub(super) fn complex<F>(re: F, im: F) -> Complex<F> {
    Complex { re, im }
}

impl<F: Real> Complex<F> {
    pub(super) fn add(self, other: Self) -> Self {
        complex(self.re + other.re, self.im + other.im)
    }

    pub(super) fn sub(self, other: Self) -> Self {
        complex(self.re - other.re, self.im - other.im)
    }

    pub(super) fn mul(self, other: Self) -> Self {
        complex(self.re * other.re - self.im * other.im, self.re * other.im + self.im * other.re)
    }

    pub(super) fn neg(self) -> Self {
        complex(-self.re, -self.im)
    }

    /// The quotient, computed in `f64`.
    pub(super) fn div(self, other: Self) -> Self {
        Self::narrow(div(self.widen(), other.widen()))
    }

    pub(super) fn widen(self) -> Complex<f64> {
        complex(self.re.to_f64(), self.im.to_f64())
    }

    pub(super) fn narrow(z: Complex<f64>) -> Self {
        complex(F::from_f64(z.re), F::from_f64(z.im))
    }
}

/// Smith's division: no intermediate result is much larger than operands and result.
fn div(a: Complex<f64>, b: Complex<f64>) -> Complex<f64> {
    if b.im == 0.0 {
        return complex(a.re / b.re, a.im / b.re);
    }
    if b.re == 0.0 {
        return complex(a.im / b.im, -a.re / b.im);
    }
    if b.re.abs() >= b.im.abs() {
        let ratio = b.im / b.re;
        let scale = b.re + b.im * ratio;
        complex((a.re + a.im * ratio) / scale, (a.im - a.re * ratio) / scale)
    } else {
        let ratio = b.re / b.im;
        let scale = b.re * ratio + b.im;
        complex((a.re * ratio + a.im) / scale, (a.im * ratio - a.re) / scale)
    }
}

/// The modulus.
pub(super) fn abs(z: Complex<f64>) -> f64 {
    libm::hypot(z.re, z.im)
}

/// The argument in `(-pi, pi]`.
pub(super) fn arg(z: Complex<f64>) -> f64 {
    libm::atan2(z.im, z.re)
}

/// `cos x + i sin x`
pub(super) fn cis(x: f64) -> Complex<f64> {
    complex(libm::cos(x), libm::sin(x))
}

pub(super) fn exp(z: Complex<f64>) -> Complex<f64> {
    let modulus = libm::exp(z.re);
    if z.im == 0.0 {
        return complex(modulus, z.im);
    }
    if modulus == 0.0 {
        return complex(0.0, 0.0);
    }
    let unit = cis(z.im);
    complex(modulus * unit.re, modulus * unit.im)
}

/// The principal logarithm.
pub(super) fn log(z: Complex<f64>) -> Complex<f64> {
    let modulus = abs(z);
    let real = if (0.5..=2.0).contains(&modulus) {
        // Near the unit circle the modulus itself has lost what the logarithm needs.
        let (large, small) = (z.re.abs().max(z.im.abs()), z.re.abs().min(z.im.abs()));
        0.5 * libm::log1p((large - 1.0) * (large + 1.0) + small * small)
    } else {
        libm::log(modulus)
    };
    complex(real, arg(z))
}

/// The square root with a real part that is not negative.
pub(super) fn sqrt(z: Complex<f64>) -> Complex<f64> {
    if z.re == 0.0 && z.im == 0.0 {
        return complex(0.0, z.im);
    }
    // Scaled so that the sum below does not overflow.
    let large = z.re.abs().max(z.im.abs()) > f64::MAX / 4.0;
    let (re, im) = if large { (z.re / 16.0, z.im / 16.0) } else { (z.re, z.im) };
    let root = libm::sqrt((re.abs() + libm::hypot(re, im)) * 0.5);
    let scale = if large { 4.0 } else { 1.0 };
    if re >= 0.0 {
        complex(root * scale, im / (2.0 * root) * scale)
    } else {
        complex(im.abs() / (2.0 * root) * scale, libm::copysign(root, im) * scale)
    }
}

pub(super) fn sin(z: Complex<f64>) -> Complex<f64> {
    if z.im == 0.0 {
        return complex(libm::sin(z.re), z.im * libm::cos(z.re));
    }
    complex(libm::sin(z.re) * libm::cosh(z.im), libm::cos(z.re) * libm::sinh(z.im))
}

pub(super) fn cos(z: Complex<f64>) -> Complex<f64> {
    if z.im == 0.0 {
        return complex(libm::cos(z.re), -z.im * libm::sin(z.re));
    }
    complex(libm::cos(z.re) * libm::cosh(z.im), -(libm::sin(z.re) * libm::sinh(z.im)))
}

/// `exp(w log z)`; `0 ^ 0` is 1, and 0 to a power with a positive real part is 0.
pub(super) fn pow(z: Complex<f64>, w: Complex<f64>) -> Complex<f64> {
    if w.re == 0.0 && w.im == 0.0 {
        return complex(1.0, 0.0);
    }
    if z.re == 0.0 && z.im == 0.0 && w.re > 0.0 {
        return complex(0.0, 0.0);
    }
    exp(w.mul(log(z)))
}
