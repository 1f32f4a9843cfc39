//! Exact values of the functions on f32, as f64 (good to some f64 ulps), and distances in ulp.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, LN_2};

use ssmc::codegen::math::Elementary;

/// `function(x, y)`; `y` is ignored by functions of one argument.
pub fn value(function: Elementary, x: f64, y: f64) -> f64 {
    let series = if x.abs() < 2f64.powi(-30) {
        near_zero(function, x)
    } else if x.abs() >= 1024.0 {
        far_out(function, x)
    } else {
        None
    };
    series.unwrap_or_else(|| library(function, x, y))
}

/// The first terms, which are enough below 2^-30 and take less time.
fn near_zero(function: Elementary, x: f64) -> Option<f64> {
    Some(match function {
        Elementary::Exp => 1.0 + x,
        Elementary::Exp2 => 1.0 + x * LN_2,
        Elementary::Expm1 => x * (1.0 + x / 2.0),
        Elementary::Log1p => x * (1.0 - x / 2.0),
        Elementary::Sin | Elementary::Tanh => x,
        Elementary::Cos => 1.0,
        Elementary::Sigmoid => 0.5 + x / 4.0,
        Elementary::Silu => x * (0.5 + x / 4.0),
        Elementary::Softplus => LN_2 + x / 2.0,
        Elementary::Gelu => x * (0.5 + x * 0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2),
        Elementary::Erf => x * FRAC_2_SQRT_PI,
        _ => return None,
    })
}

/// Limits that f32 cannot tell from the value from 1024 on.
fn far_out(function: Elementary, x: f64) -> Option<f64> {
    let positive = x > 0.0;
    Some(match function {
        Elementary::Exp | Elementary::Exp2 => {
            if positive {
                f64::INFINITY
            } else {
                0.0
            }
        }
        Elementary::Expm1 => {
            if positive {
                f64::INFINITY
            } else {
                -1.0
            }
        }
        Elementary::Sigmoid => {
            if positive {
                1.0
            } else {
                0.0
            }
        }
        Elementary::Silu | Elementary::Gelu => {
            if positive {
                x
            } else {
                -0.0
            }
        }
        Elementary::Softplus => x.max(0.0),
        Elementary::Tanh | Elementary::Erf => 1f64.copysign(x),
        _ => return None,
    })
}

fn library(function: Elementary, x: f64, y: f64) -> f64 {
    match function {
        Elementary::Exp => x.exp(),
        Elementary::Exp2 => x.exp2(),
        Elementary::Expm1 => x.exp_m1(),
        Elementary::Log => x.ln(),
        Elementary::Log1p => x.ln_1p(),
        Elementary::Sin => x.sin(),
        Elementary::Cos => x.cos(),
        Elementary::Tanh => x.tanh(),
        Elementary::Sigmoid => sigmoid(x),
        Elementary::Silu => x * sigmoid(x),
        Elementary::Softplus if x > 0.0 => x + (-x).exp().ln_1p(),
        Elementary::Softplus => x.exp().ln_1p(),
        Elementary::Gelu => 0.5 * x * libm::erfc(-x * FRAC_1_SQRT_2),
        Elementary::Erf => libm::erf(x),
        Elementary::Sqrt => x.sqrt(),
        Elementary::Rsqrt => 1.0 / x.sqrt(),
        Elementary::Pow => x.powf(y),
        Elementary::Atan2 => x.atan2(y),
        Elementary::Remainder => remainder(x, y),
    }
}

fn sigmoid(x: f64) -> f64 {
    if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
}

/// The remainder with the sign of the divisor.
pub fn remainder(x: f64, y: f64) -> f64 {
    let rest = x % y;
    if rest == 0.0 {
        0f64.copysign(y)
    } else if (rest < 0.0) != (y < 0.0) {
        rest + y
    } else {
        rest
    }
}

/// The distance of an f32 from the exact value, in ulp of that value; infinite where one is NaN and the other not.
pub fn ulp_f32(got: f32, exact: f64) -> f64 {
    if got.is_nan() || exact.is_nan() {
        return if got.is_nan() && exact.is_nan() { 0.0 } else { f64::INFINITY };
    }
    #[allow(clippy::cast_possible_truncation)]
    let rounded = exact as f32;
    if rounded == got {
        if got == 0.0 && got.is_sign_negative() != exact.is_sign_negative() {
            return f64::INFINITY;
        }
        if got.is_infinite() {
            return 0.0;
        }
    }
    let finite = |x: f64| x.clamp(-2f64.powi(128), 2f64.powi(128));
    let (got, exact) = (finite(f64::from(got)), finite(exact));
    let exponent = ((exact.to_bits() >> 52) & 2047).clamp(1023 - 126, 1023 + 127);
    let per_ulp = f64::from_bits((2 * 1023 + 23 - exponent) << 52);
    (got - exact).abs() * per_ulp
}

/// The distance of an f64 from `exact + fraction ulp`, in ulp.
pub fn ulp_f64(got: f64, exact: f64, fraction: f64) -> f64 {
    if got.is_nan() || exact.is_nan() {
        return if got.is_nan() && exact.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if got == exact && (got != 0.0 || got.is_sign_negative() == exact.is_sign_negative()) {
        return if got.is_infinite() { 0.0 } else { fraction.abs() };
    }
    if got.is_infinite() || exact.is_infinite() || got == exact {
        return f64::INFINITY;
    }
    let exponent = (((exact.to_bits() >> 52) & 2047) as i32 - 1023).max(-1022);
    // The scale in two steps: its inverse may overflow.
    let distance = (got - exact) * 2f64.powi(-(exponent / 2)) * 2f64.powi(52 - (exponent - exponent / 2));
    (distance - fraction).abs()
}
