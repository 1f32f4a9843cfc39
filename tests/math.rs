//! The elementary functions of `codegen::math` against exact values: compiled, on samples, special values and
//! neighbourhoods. `examples/ulp.rs` does the same on everything; `docs/numerics.md` has its results.

#![allow(unsafe_code)]

use cranelift_codegen::ir::types;
use ssmc::codegen::math::{Elementary, power_in_sum};

#[path = "math/complex.rs"]
mod complex;
#[path = "math/exact.rs"]
mod exact;
#[path = "math/kernel.rs"]
mod kernel;
#[path = "math/samples.rs"]
mod samples;
#[path = "math/special.rs"]
mod special;
#[path = "math/verify.rs"]
mod verify;

/// The bounds that the language's documentation gives: ulp in f32 and f64.
fn bounds(function: Elementary) -> (f64, f64) {
    match function {
        Elementary::Sqrt => (0.5, 0.5),
        Elementary::Remainder => (0.5, 0.5),
        Elementary::Pow => (8.0, 8.0),
        _ => (2.0, 4.0),
    }
}

/// Bit patterns at a stride, and those around special values.
fn singles() -> Vec<f32> {
    let strided = (0..=u32::MAX).step_by(4001).map(f32::from_bits);
    let around = samples::SPECIAL
        .iter()
        .flat_map(|x| (0..128).map(move |i| f32::from_bits(x.to_bits().wrapping_add(i).wrapping_sub(64))));
    let mut all: Vec<f32> = strided.chain(around).collect();
    all.resize(all.len().next_multiple_of(4), 0.0);
    all
}

#[test]
fn one_argument_in_f32() {
    let x = singles();
    for function in Elementary::ALL.into_iter().filter(|f| f.arity() == 1) {
        let mut out = [Vec::new()];
        kernel::real(function, types::F32X4).run(&[&x], &mut out);
        for (&x, &got) in x.iter().zip(&out[0]) {
            let exact = exact::value(function, f64::from(x), 0.0);
            let ulp = exact::ulp_f32(got, exact);
            assert!(ulp <= bounds(function).0, "{}({x:e}) = {exact:e}, not {got:e}: {ulp} ulp", function.name());
        }
    }
}

#[test]
fn two_arguments_in_f32() {
    for function in Elementary::ALL.into_iter().filter(|f| f.arity() == 2) {
        let (x, y): (Vec<f32>, Vec<f32>) = (0..1 << 20).map(|i| samples::pair(function, i)).unzip();
        let mut out = [Vec::new()];
        kernel::real(function, types::F32X4).run(&[&x, &y], &mut out);
        for ((&x, &y), &got) in x.iter().zip(&y).zip(&out[0]) {
            let exact = exact::value(function, f64::from(x), f64::from(y));
            let ulp = exact::ulp_f32(got, exact);
            assert!(ulp <= bounds(function).0, "{}({x:e}, {y:e}) = {exact:e}, not {got:e}: {ulp} ulp", function.name());
        }
    }
}

/// `math/reference.txt` comes from `tools/reference.py`.
#[test]
fn reference_values_in_f64() {
    let text = include_str!("math/reference.txt");
    for function in Elementary::ALL.into_iter().filter(|&f| f != Elementary::Remainder) {
        let samples: Vec<samples::Sample> = text
            .lines()
            .filter_map(samples::parse)
            .filter(|(name, _)| *name == function.name())
            .map(|(_, s)| s)
            .collect();
        assert!(samples.len() >= 100, "samples of {}", function.name());
        let kernel = kernel::real::<f64>(function, types::F64X2);
        let (ulp, sample, got) = samples::worst(&kernel, function, &samples);
        assert!(ulp <= bounds(function).1, "{}: {sample:?}, not {got:e}: {ulp} ulp", function.name());
    }
}

#[test]
fn remainders_in_f64_are_exact() {
    let (x, y): (Vec<f64>, Vec<f64>) = (0..1 << 16)
        .map(|i| {
            let (x, y) = samples::pair(Elementary::Remainder, i);
            // More bits than f32 has.
            (f64::from(x) * 1.000_000_000_3, f64::from(y) * 0.999_999_97)
        })
        .unzip();
    let mut out = [Vec::new()];
    kernel::real(Elementary::Remainder, types::F64X2).run(&[&x, &y], &mut out);
    for ((&x, &y), &got) in x.iter().zip(&y).zip(&out[0]) {
        let exact = exact::remainder(x, y);
        assert!(
            got.to_bits() == exact.to_bits() || got.is_nan() && exact.is_nan(),
            "{x:e} % {y:e} = {exact:e}, not {got:e}"
        );
    }
}

/// `x` to a power as a term of a sum: normal numbers to a relative error, all else to what a sum notices.
fn check_power<T: kernel::Lane>(x: &[T], exponent: f64, bound: f64, least: f64, value: impl Fn(T) -> f64) {
    let kernel =
        kernel::Kernel::<T>::new(T::TYPE, 1, 1, |b, environment, x| vec![power_in_sum(b, environment, x[0], exponent)]);
    let mut out = [Vec::new()];
    kernel.run(&[x], &mut out);
    for (&x, &got) in x.iter().zip(&out[0]) {
        let (x, got) = (value(x), value(got));
        let exact = x.powf(exponent);
        let same = got == exact || (got.is_nan() && exact.is_nan());
        // Where the result leaves the range, or the argument is subnormal, nothing is promised but the size.
        let small = x < least && got >= 0.0 && got <= x;
        let edge = exact < 2.0 * least && got >= 0.0 && got < 2.0 * least;
        let off = (got - exact).abs() / exact;
        assert!(
            same || small || edge || off <= bound || exact > 1.0 / least,
            "{x:e}^{exponent} = {exact:e}, not {got:e}"
        );
    }
}

#[test]
fn powers_in_sums_are_as_precise_as_promised() {
    let single: Vec<f32> = singles().into_iter().map(f32::abs).collect();
    let double: Vec<f64> =
        (0..1u64 << 18).map(|i| f64::from_bits(i.wrapping_mul(0x1fff_ffff_ffff_f35b) >> 1)).collect();
    for exponent in [1.0, 1.2, 1.5, 1.999, 2.3, 3.7, 8.0] {
        check_power(&single, exponent, 1e-6, f64::from(f32::MIN_POSITIVE), f64::from);
        check_power(&double, exponent, 1e-14, f64::MIN_POSITIVE, |x| x);
    }
}

/// A lane's result depends on that lane alone, so a scalar is any lane of a vector.
#[test]
fn scalars_and_vectors_agree_to_the_bit() {
    for function in Elementary::ALL {
        let (x, y): (Vec<f32>, Vec<f32>) = (0..1 << 14).map(|i| samples::pair(function, i)).unzip();
        let inputs: &[&[f32]] = if function.arity() == 1 { &[&x] } else { &[&x, &y] };
        let (mut vector, mut scalar) = ([Vec::new()], [Vec::new()]);
        kernel::real(function, types::F32X4).run(inputs, &mut vector);
        kernel::real(function, types::F32).run(inputs, &mut scalar);
        for ((&a, &b), &x) in vector[0].iter().zip(&scalar[0]).zip(&x) {
            assert!(a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(), "{}({x:e}): {a:e}, {b:e}", function.name());
        }

        let wide = |x: &[f32]| -> Vec<f64> { x.iter().map(|&x| f64::from(x) * 1.000_000_1).collect() };
        let (x, y) = (wide(&x), wide(&y));
        let inputs: &[&[f64]] = if function.arity() == 1 { &[&x] } else { &[&x, &y] };
        let (mut vector, mut scalar) = ([Vec::new()], [Vec::new()]);
        kernel::real(function, types::F64X2).run(inputs, &mut vector);
        kernel::real(function, types::F64).run(inputs, &mut scalar);
        for ((&a, &b), &x) in vector[0].iter().zip(&scalar[0]).zip(&x) {
            assert!(a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(), "{}({x:e}): {a:e}, {b:e}", function.name());
        }
    }
}
