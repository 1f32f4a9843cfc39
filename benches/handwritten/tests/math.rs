//! The elementary functions against f64, in units in the last place.

use ssmc_handwritten::Isa;
use ssmc_handwritten::functions::Function;

/// Distance of an f32 from the exact value, in spacings of f32 there.
fn ulp(found: f32, exact: f64) -> f64 {
    let exponent = (exact.abs() as f32).max(f32::MIN_POSITIVE).log2().floor();
    // A power of two just below: rounding of the logarithm must not move the spacing.
    let spacing = if f64::from(exponent).exp2() > exact.abs() { exponent - 24.0 } else { exponent - 23.0 };
    (f64::from(found) - exact).abs() / f64::from(spacing).exp2()
}

fn exact(function: Function, x: f64) -> f64 {
    match function {
        Function::Exp => x.exp(),
        Function::Exp2 => x.exp2(),
        Function::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Function::Silu => x / (1.0 + (-x).exp()),
    }
}

/// The largest error over evenly spaced arguments, where the result is a normal number.
fn largest_error(function: Function, isa: Isa, from: f32, to: f32) -> f64 {
    let count = 400_000;
    let x: Vec<f32> = (0..count).map(|i| from + (to - from) * i as f32 / count as f32).collect();
    let mut y = x.clone();
    function.apply(isa, &mut y);
    let errors = x.iter().zip(&y).map(|(&x, &y)| (exact(function, f64::from(x)), y));
    errors
        .filter(|(want, _)| want.abs() >= 2.0 * f64::from(f32::MIN_POSITIVE))
        .map(|(want, y)| ulp(y, want))
        .fold(0.0, f64::max)
}

#[test]
fn functions_are_within_their_bounds() {
    let cases = [
        (Function::Exp, -87.0, 88.0, 1.5),
        (Function::Exp, -2.0, 2.0, 1.5),
        (Function::Exp2, -125.0, 127.9, 2.0),
        (Function::Exp2, -1.0, 1.0, 2.0),
        (Function::Softplus, -87.0, 100.0, 2.0),
        (Function::Softplus, -3.0, 3.0, 2.0),
        (Function::Sigmoid, -86.0, 100.0, 2.0),
        (Function::Sigmoid, -6.0, 6.0, 2.0),
        (Function::Silu, -86.0, 100.0, 2.5),
        (Function::Silu, -6.0, 6.0, 2.5),
    ];
    for isa in Isa::ALL.into_iter().filter(|isa| isa.lanes() > 1 && isa.is_available()) {
        for (function, from, to, bound) in cases {
            let error = largest_error(function, isa, from, to);
            assert!(error <= bound, "{function:?} on {isa} over {from}..{to}: {error:.2} ulp");
        }
    }
}

#[test]
fn ends_of_the_range_are_right() {
    let inf = f32::INFINITY;
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        let apply = |function: Function, x: f32| {
            // Behind other values, so that a vector's tail is looked at too.
            let mut values = [0.5, 0.5, 0.5, x, x];
            function.apply(isa, &mut values);
            assert_eq!(values[3].to_bits(), values[4].to_bits(), "{function:?} on {isa}");
            values[3]
        };
        for (function, x, want) in [
            (Function::Exp2, 1000.0, inf),
            (Function::Exp2, inf, inf),
            (Function::Exp2, -1000.0, 0.0),
            (Function::Exp2, -inf, 0.0),
            (Function::Exp2, 0.0, 1.0),
            (Function::Exp2, 3.0, 8.0),
            (Function::Exp, 0.0, 1.0),
            (Function::Softplus, -inf, 0.0),
            (Function::Softplus, inf, inf),
            (Function::Softplus, -1000.0, 0.0),
            (Function::Softplus, 1000.0, 1000.0),
            (Function::Sigmoid, 0.0, 0.5),
            (Function::Sigmoid, 1000.0, 1.0),
            (Function::Sigmoid, -1000.0, 0.0),
            (Function::Silu, 0.0, 0.0),
            (Function::Silu, 1000.0, 1000.0),
        ] {
            assert_eq!(apply(function, x), want, "{function:?}({x}) on {isa}");
        }
        for function in [Function::Exp2, Function::Softplus, Function::Sigmoid, Function::Silu] {
            assert!(apply(function, f32::NAN).is_nan(), "{function:?}(NaN) on {isa}");
        }
    }
}
