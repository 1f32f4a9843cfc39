//! Special values: the results that C's library gives, or the limits, to the bit and in both formats.

use cranelift_codegen::ir::types;
use ssmc::codegen::math::Elementary::{self, *};

use super::kernel;

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

/// Function, arguments, result.
const ONE: &[(Elementary, &[(f64, f64)])] = &[
    (Exp, &[(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), (NAN, NAN), (-1e30, 0.0), (1e30, INF)]),
    (Expm1, &[(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1.0), (NAN, NAN), (-1e30, -1.0), (1e30, INF)]),
    (Log, &[(0.0, -INF), (-0.0, -INF), (1.0, 0.0), (INF, INF), (-INF, NAN), (-1.0, NAN), (NAN, NAN)]),
    (Log1p, &[(0.0, 0.0), (-0.0, -0.0), (-1.0, -INF), (INF, INF), (-INF, NAN), (-2.0, NAN), (NAN, NAN)]),
    (Sin, &[(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (NAN, NAN)]),
    (Cos, &[(0.0, 1.0), (-0.0, 1.0), (INF, NAN), (-INF, NAN), (NAN, NAN)]),
    (Tanh, &[(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (NAN, NAN), (100.0, 1.0), (-1e30, -1.0)]),
    (
        Exp2,
        &[
            (0.0, 1.0),
            (-0.0, 1.0),
            (1.0, 2.0),
            (-3.0, 0.125),
            (-126.0, 1.175_494_350_822_287_5e-38),
            (INF, INF),
            (-INF, 0.0),
            (NAN, NAN),
            (-1e30, 0.0),
            (1e30, INF),
            (-1e-30, 1.0),
        ],
    ),
    (Sigmoid, &[(0.0, 0.5), (-0.0, 0.5), (INF, 1.0), (-INF, 0.0), (NAN, NAN), (-1e30, 0.0), (1e30, 1.0)]),
    (Silu, &[(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -0.0), (NAN, NAN), (-1e30, -0.0), (128.0, 128.0)]),
    (Softplus, &[(INF, INF), (-INF, 0.0), (NAN, NAN), (-1e30, 0.0), (128.0, 128.0)]),
    (Gelu, &[(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -0.0), (NAN, NAN), (-1e30, -0.0), (128.0, 128.0)]),
    (Erf, &[(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (NAN, NAN), (10.0, 1.0), (-1e30, -1.0)]),
    (Sqrt, &[(0.0, 0.0), (-0.0, -0.0), (4.0, 2.0), (INF, INF), (-INF, NAN), (-1.0, NAN), (NAN, NAN)]),
    (Rsqrt, &[(0.0, INF), (-0.0, -INF), (4.0, 0.5), (INF, 0.0), (-INF, NAN), (-1.0, NAN), (NAN, NAN)]),
];

/// Functions of one argument that map the smallest numbers to themselves.
const IDENTITIES: [Elementary; 4] = [Expm1, Log1p, Sin, Tanh];

/// Two arguments and the result.
type Case = (f64, f64, f64);

const TWO: &[(Elementary, &[Case])] = &[
    (
        Pow,
        &[
            (NAN, 0.0, 1.0),
            (INF, -0.0, 1.0),
            (0.0, 0.0, 1.0),
            (1.0, NAN, 1.0),
            (1.0, INF, 1.0),
            (-1.0, INF, 1.0),
            (-1.0, -INF, 1.0),
            (NAN, 1.0, NAN),
            (2.0, NAN, NAN),
            (0.0, -1.0, INF),
            (-0.0, -1.0, -INF),
            (-0.0, -3.0, -INF),
            (-0.0, -2.0, INF),
            (-0.0, -0.5, INF),
            (0.0, -INF, INF),
            (-0.0, -INF, INF),
            (0.0, 3.0, 0.0),
            (-0.0, 3.0, -0.0),
            (-0.0, 2.0, 0.0),
            (-0.0, 0.5, 0.0),
            (-0.0, INF, 0.0),
            (0.5, -INF, INF),
            (0.5, INF, 0.0),
            (-0.5, INF, 0.0),
            (2.0, INF, INF),
            (2.0, -INF, 0.0),
            (-2.0, INF, INF),
            (INF, 1.0, INF),
            (INF, -1.0, 0.0),
            (INF, 0.25, INF),
            (-INF, -3.0, -0.0),
            (-INF, -2.0, 0.0),
            (-INF, -0.5, 0.0),
            (-INF, 3.0, -INF),
            (-INF, 2.0, INF),
            (-INF, 0.5, INF),
            (-INF, INF, INF),
            (-2.0, 0.5, NAN),
            (-2.0, 3.0, -8.0),
            (-2.0, -2.0, 0.25),
            (-2.0, 1e30, INF),
            (2.0, 10.0, 1024.0),
            (9.0, 0.5, 3.0),
            (2.0, -1e30, 0.0),
        ],
    ),
    (
        Atan2,
        &[
            (0.0, 1.0, 0.0),
            (-0.0, 1.0, -0.0),
            (0.0, 0.0, 0.0),
            (-0.0, 0.0, -0.0),
            (0.0, -0.0, std::f64::consts::PI),
            (-0.0, -1.0, -std::f64::consts::PI),
            (1.0, 0.0, std::f64::consts::FRAC_PI_2),
            (-1.0, -0.0, -std::f64::consts::FRAC_PI_2),
            (INF, INF, std::f64::consts::FRAC_PI_4),
            (INF, 1.0, std::f64::consts::FRAC_PI_2),
            (-INF, -1.0, -std::f64::consts::FRAC_PI_2),
            (1.0, INF, 0.0),
            (-1.0, INF, -0.0),
            (1.0, -INF, std::f64::consts::PI),
            (NAN, 1.0, NAN),
            (1.0, NAN, NAN),
            (INF, NAN, NAN),
        ],
    ),
    (
        Remainder,
        &[
            (5.0, 3.0, 2.0),
            (-5.0, 3.0, 1.0),
            (5.0, -3.0, -1.0),
            (-5.0, -3.0, -2.0),
            (6.0, 3.0, 0.0),
            (-6.0, 3.0, 0.0),
            (6.0, -3.0, -0.0),
            (0.0, -1.0, -0.0),
            (1.0, 0.0, NAN),
            (0.0, 0.0, NAN),
            (INF, 1.0, NAN),
            (1.0, INF, 1.0),
            (-1.0, INF, INF),
            (1.0, -INF, -INF),
            (NAN, 1.0, NAN),
            (1.0, NAN, NAN),
            (1e30, 1.0, 0.0),
        ],
    ),
];

fn check(function: Elementary, x: f64, y: f64, expected: f64) {
    #[allow(clippy::cast_possible_truncation)]
    let (a, b, e) = (x as f32, y as f32, expected as f32);
    let both = |n: usize| function.arity() == n;
    for maker in kernel::makers() {
        let mut out = [Vec::new()];
        let inputs: [&[f32]; 2] = [&[a; 4], &[b; 4]];
        let kernel = kernel::real_by(maker, function, kernel::widest(maker, types::F32));
        kernel.run(if both(1) { &inputs[..1] } else { &inputs }, &mut out);
        let got = out[0][0];
        assert!(
            got.to_bits() == e.to_bits() || got.is_nan() && e.is_nan(),
            "{maker:?} f32 {}({x:e}, {y:e}): {got:e}",
            function.name()
        );

        let mut out = [Vec::new()];
        let inputs: [&[f64]; 2] = [&[x; 4], &[y; 4]];
        let kernel = kernel::real_by(maker, function, kernel::widest(maker, types::F64));
        kernel.run(if both(1) { &inputs[..1] } else { &inputs }, &mut out);
        let (got, e) = (out[0][0], expected);
        assert!(
            got.to_bits() == e.to_bits() || got.is_nan() && e.is_nan(),
            "{maker:?} f64 {}({x:e}, {y:e}): {got:e}",
            function.name()
        );
    }
}

#[test]
fn special_values() {
    for &(function, cases) in ONE {
        for &(x, expected) in cases {
            check(function, x, 0.0, expected);
        }
    }
    for &(function, cases) in TWO {
        for &(x, y, expected) in cases {
            check(function, x, y, expected);
        }
    }
}

#[test]
fn the_smallest_numbers_survive() {
    for function in IDENTITIES {
        let x = [f32::MIN_POSITIVE, -f32::MIN_POSITIVE, 1e-45, -1e-45];
        let mut out = [Vec::new()];
        kernel::real(function, types::F32X4).run(&[&x], &mut out);
        assert_eq!(out[0], x, "f32 {}", function.name());
        let x = [f64::MIN_POSITIVE, -f64::MIN_POSITIVE, 5e-324, -5e-324];
        let mut out = [Vec::new()];
        kernel::real(function, types::F64X2).run(&[&x], &mut out);
        assert_eq!(out[0], x, "f64 {}", function.name());
    }
}

#[test]
fn f64_overflows_and_underflows_where_it_should() {
    for (function, x, expected) in [
        (Exp, 709.782712893384, 1.797_693_134_862_273_2e308),
        (Exp, 709.782_712_893_384_2, INF),
        (Exp, -745.133_219_101_941_1, 5e-324),
        (Exp, -745.133_219_101_941_2, 0.0),
        (Expm1, 709.782_712_893_384_2, INF),
        (Log, 5e-324, -744.440_071_921_381_2),
        (Log, f64::MAX, 709.782_712_893_384),
        (Rsqrt, 5e-324, 4.498_913_794_543_196e161),
        (Sigmoid, -745.133_219_101_941_2, 0.0),
        (Softplus, -745.133_219_101_941_1, 5e-324),
    ] {
        for maker in kernel::makers() {
            let mut out = [Vec::new()];
            kernel::real_by(maker, function, kernel::widest(maker, types::F64)).run(&[&[x; 4]], &mut out);
            let close = (out[0][0] - expected).abs() <= expected.abs() * 1e-14 || out[0][0] == expected;
            assert!(close, "{maker:?} {}({x:e}) = {expected:e}, not {:e}", function.name(), out[0][0]);
        }
    }
}
