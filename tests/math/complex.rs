//! Complex functions against `num_complex` in f64.

use std::f32::consts::FRAC_PI_4;

use cranelift_codegen::ir::types;
use nalgebra::Complex as Number;
use ssmc::codegen::math::complex::{self, Complex};

use super::kernel::Kernel;
use super::samples::scramble;

/// A complex function as a kernel on real and imaginary parts.
fn compile(function: Complex) -> Kernel<f32> {
    Kernel::new(types::F32X4, 2 * function.arity(), 2, |b, environment, x| {
        let arguments: Vec<complex::Parts> = x.chunks(2).map(|z| (z[0], z[1])).collect();
        let (re, im) = complex::emit(b, environment, function, &arguments);
        vec![re, im]
    })
}

fn exact(function: Complex, z: Number<f64>, w: Number<f64>) -> Number<f64> {
    match function {
        Complex::Exp => z.exp(),
        Complex::Log => Number::new(z.norm().ln(), z.arg()),
        Complex::Sqrt => z.sqrt(),
        Complex::Sin => z.sin(),
        Complex::Cos => z.cos(),
        Complex::Pow => (w * Number::new(z.norm().ln(), z.arg())).exp(),
        Complex::Divide => z / w,
    }
}

/// Parts between ±`width`, one in eight of them zero or on the unit circle's axes.
fn numbers(count: u64, width: f64, seed: u64) -> Vec<f32> {
    #[allow(clippy::cast_possible_truncation)]
    let number = |i: u64| {
        let bits = scramble(i + seed);
        let unit = (bits >> 11) as f64 / 2f64.powi(52) - 1.0;
        match bits % 16 {
            0 => 0.0,
            1 => 1f32.copysign(unit as f32),
            _ => (unit * width) as f32,
        }
    };
    (0..count).map(number).collect()
}

/// The largest distance from the exact value over its modulus, in units of 2^-24.
fn worst(function: Complex, width: f64) -> f64 {
    let inputs: Vec<Vec<f32>> = (0..4).map(|part| numbers(1 << 16, width, part << 32)).collect();
    let used: Vec<&[f32]> = inputs[..2 * function.arity()].iter().map(Vec::as_slice).collect();
    let mut out = [Vec::new(), Vec::new()];
    compile(function).run(&used, &mut out);
    let at = |part: usize, i: usize| f64::from(inputs[part][i]);
    let mut worst = 0f64;
    for (i, (&re, &im)) in out[0].iter().zip(&out[1]).enumerate() {
        let (z, w) = (Number::new(at(0, i), at(1, i)), Number::new(at(2, i), at(3, i)));
        let singular = match function {
            Complex::Divide => w == Number::ZERO,
            Complex::Log | Complex::Pow => z == Number::ZERO,
            _ => false,
        };
        if singular {
            continue;
        }
        let got = Number::new(f64::from(re), f64::from(im));
        let exact = exact(function, z, w);
        let error = (got - exact).norm() / exact.norm().max(f64::from(f32::MIN_POSITIVE)) * 2f64.powi(24);
        assert!(!error.is_nan(), "{function:?}({z}, {w}) = {exact}, not {got}");
        worst = worst.max(error);
    }
    worst
}

#[test]
fn moderate_arguments() {
    for (function, width, bound) in [
        (Complex::Exp, 20.0, 4.0),
        (Complex::Log, 3.0, 4.0),
        (Complex::Log, 1e18, 4.0),
        (Complex::Sqrt, 5.0, 4.0),
        (Complex::Sin, 10.0, 6.0),
        (Complex::Sin, 40.0, 6.0),
        (Complex::Cos, 10.0, 6.0),
        (Complex::Divide, 4.0, 4.0),
        (Complex::Divide, 1e18, 4.0),
        // The error of the logarithm times the exponent.
        (Complex::Pow, 2.0, 30.0),
    ] {
        let error = worst(function, width);
        println!("{function:?} within {width}: {error:.2}");
        assert!(error <= bound, "{function:?} within {width}: {error}");
    }
}

fn one(function: Complex, z: (f32, f32), w: (f32, f32)) -> (f32, f32) {
    let inputs = [[z.0; 4], [z.1; 4], [w.0; 4], [w.1; 4]];
    let used: Vec<&[f32]> = inputs[..2 * function.arity()].iter().map(<[f32; 4]>::as_slice).collect();
    let mut out = [Vec::new(), Vec::new()];
    compile(function).run(&used, &mut out);
    (out[0][0], out[1][0])
}

#[test]
fn the_ends_of_the_range() {
    let none = (0.0, 0.0);
    let inf = f32::INFINITY;
    for (function, z, w, expected) in [
        (Complex::Divide, (1e38, 1e38), (1e38, 1e38), (1.0, 0.0)),
        (Complex::Divide, (1e-38, 1e-38), (1e-38, -1e-38), (0.0, 1.0)),
        (Complex::Divide, (1.0, 2.0), (1e-38, 0.0), (1e38, 2e38)),
        (Complex::Divide, (1.0, 2.0), (0.0, 2.0), (1.0, -0.5)),
        (Complex::Divide, (1.0, 2.0), (inf, 1.0), (0.0, 0.0)),
        (Complex::Sqrt, (-4.0, 0.0), none, (0.0, 2.0)),
        (Complex::Sqrt, (-4.0, -0.0), none, (0.0, -2.0)),
        (Complex::Sqrt, (0.0, 0.0), none, (0.0, 0.0)),
        (Complex::Sqrt, (-1e38, 0.0), none, (0.0, 1e19)),
        (Complex::Sqrt, (4e-38, 0.0), none, (2e-19, 0.0)),
        (Complex::Log, (0.0, 0.0), none, (-inf, 0.0)),
        (Complex::Log, (3e38, 3e38), none, (88.943_4, FRAC_PI_4)),
        (Complex::Exp, (0.0, 0.0), none, (1.0, 0.0)),
        (Complex::Exp, (-inf, 1.0), none, (0.0, 0.0)),
        (Complex::Exp, (89.0, 1.57), none, (3.575e35, inf)),
        (Complex::Exp, (2.0, 0.0), none, (7.389_056, 0.0)),
        (Complex::Pow, none, (2.0, 0.0), (0.0, 0.0)),
        (Complex::Pow, (5.0, -1.0), none, (1.0, 0.0)),
        (Complex::Sin, (0.5, 0.0), none, (0.479_425_54, 0.0)),
        (Complex::Cos, (0.0, 0.0), none, (1.0, -0.0)),
    ] {
        let got = one(function, z, w);
        let close = |got: f32, expected: f32| got == expected || (got - expected).abs() <= expected.abs() * 1e-3;
        assert!(
            close(got.0, expected.0) && close(got.1, expected.1),
            "{function:?}({z:?}, {w:?}) = {expected:?}, not {got:?}"
        );
    }
}

#[test]
fn modulus_and_cis() {
    let modulus = Kernel::<f32>::new(types::F32X4, 2, 1, |b, environment, x| {
        vec![complex::emit_abs(b, environment, (x[0], x[1]))]
    });
    let (re, im) = ([3.0, 3e38, 1e-45, f32::INFINITY], [-4.0, 0.0, 0.0, f32::NAN]);
    let mut out = [Vec::new()];
    modulus.run(&[&re, &im], &mut out);
    assert_eq!(out[0], [5.0, 3e38, 1e-45, f32::INFINITY]);

    let cis = Kernel::<f32>::new(types::F32, 1, 2, |b, environment, x| {
        let (re, im) = complex::emit_cis(b, environment, x[0]);
        vec![re, im]
    });
    let mut out = [Vec::new(), Vec::new()];
    cis.run(&[&[0.0, 0.5, 1e6, -2.0]], &mut out);
    for (i, angle) in [0.0, 0.5, 1e6f64, -2.0].into_iter().enumerate() {
        assert!((f64::from(out[0][i]) - angle.cos()).abs() < 1e-7);
        assert!((f64::from(out[1][i]) - angle.sin()).abs() < 1e-7);
    }
}
