//! The elementary functions of `codegen::math` against exact values: compiled, on samples, special values and
//! neighbourhoods. `examples/ulp.rs` does the same on everything; `docs/numerics.md` has its results.

#![allow(unsafe_code)]

use cranelift_codegen::ir::{Type, types};
use ssmc::codegen::math::{Elementary, add_power, near_root};

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
        let exact: Vec<f64> = x.iter().map(|&x| exact::value(function, f64::from(x), 0.0)).collect();
        for maker in kernel::makers() {
            let mut out = [Vec::new()];
            kernel::real_by(maker, function, kernel::widest(maker, types::F32)).run(&[&x], &mut out);
            for ((&x, &got), &exact) in x.iter().zip(&out[0]).zip(&exact) {
                let ulp = exact::ulp_f32(got, exact);
                let name = function.name();
                assert!(ulp <= bounds(function).0, "{maker:?} {name}({x:e}) = {exact:e}, not {got:e}: {ulp} ulp");
            }
        }
    }
}

#[test]
fn two_arguments_in_f32() {
    for function in Elementary::ALL.into_iter().filter(|f| f.arity() == 2) {
        let (x, y): (Vec<f32>, Vec<f32>) = (0..1 << 20).map(|i| samples::pair(function, i)).unzip();
        let exact = |(&x, &y): (&f32, &f32)| exact::value(function, f64::from(x), f64::from(y));
        let exact: Vec<f64> = x.iter().zip(&y).map(exact).collect();
        for maker in kernel::makers() {
            let mut out = [Vec::new()];
            kernel::real_by(maker, function, kernel::widest(maker, types::F32)).run(&[&x, &y], &mut out);
            for (((&x, &y), &got), &exact) in x.iter().zip(&y).zip(&out[0]).zip(&exact) {
                let ulp = exact::ulp_f32(got, exact);
                let name = function.name();
                assert!(
                    ulp <= bounds(function).0,
                    "{maker:?} {name}({x:e}, {y:e}) = {exact:e}, not {got:e}: {ulp} ulp"
                );
            }
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
        for maker in kernel::makers() {
            let kernel = kernel::real_by::<f64>(maker, function, kernel::widest(maker, types::F64));
            let (ulp, sample, got) = samples::worst(&kernel, function, &samples);
            let name = function.name();
            assert!(ulp <= bounds(function).1, "{maker:?} {name}: {sample:?}, not {got:e}: {ulp} ulp");
        }
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

/// The magnitude of `x` to a power as a term of a sum: normal numbers to a relative error, all else to what a sum notices.
fn check_power<T: kernel::Lane>(
    maker: kernel::Maker,
    ty: Type,
    x: &[T],
    exponent: f64,
    bound: f64,
    least: f64,
    value: impl Fn(T) -> f64,
) {
    let zero = vec![T::ZERO; x.len()];
    let mut out = [Vec::new()];
    let kernel = kernel::Kernel::<T>::made(maker, ty, 2, 1, |b, environment, x| {
        vec![add_power(b, environment, x[0], x[1], exponent)]
    });
    kernel.run(&[&zero, x], &mut out);
    for (&x, &got) in x.iter().zip(&out[0]) {
        let (x, got) = (value(x), value(got));
        let x = x.abs();
        let exact = x.powf(exponent);
        let same = got == exact || (got.is_nan() && exact.is_nan());
        // Where the result leaves the range, or the argument is subnormal, nothing is promised but the size.
        assert!(x != 1.0 || got == 1.0, "1^{exponent} = {got:e}");
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
    let single = singles();
    let double: Vec<f64> = (0..1u64 << 18).map(|i| f64::from_bits(i.wrapping_mul(0x1fff_ffff_ffff_f35b))).collect();
    for exponent in [1.0, 1.2, 1.5, 1.999, 2.3, 3.7, 8.0] {
        for maker in kernel::makers() {
            for bytes in [16, 32, 64].into_iter().filter(|&bytes| bytes <= kernel::widest(maker, types::F32).bytes()) {
                let (f32s, f64s) = (types::F32.by(bytes / 4).unwrap(), types::F64.by(bytes / 8).unwrap());
                check_power(maker, f32s, &single, exponent, 1e-6, f64::from(f32::MIN_POSITIVE), f64::from);
                check_power(maker, f64s, &double, exponent, 1e-14, f64::MIN_POSITIVE, |x| x);
            }
        }
    }
}

/// Roots of what is not negative: to a relative error, but for subnormal numbers.
fn check_root<T: kernel::Lane>(
    maker: kernel::Maker,
    ty: Type,
    x: &[T],
    exponent: f64,
    (bound, least): (f64, f64),
    value: impl Fn(T) -> f64,
) {
    let mut out = [Vec::new()];
    let kernel =
        kernel::Kernel::<T>::made(maker, ty, 1, 1, |b, environment, x| vec![near_root(b, environment, x[0], exponent)]);
    kernel.run(&[x], &mut out);
    for (&x, &got) in x.iter().zip(&out[0]) {
        let (x, got) = (value(x), value(got));
        let exact = x.powf(exponent);
        let same = got == exact || (got.is_nan() && exact.is_nan());
        assert!(x != 1.0 || got == 1.0, "1^{exponent} = {got:e}");
        let small = x < least && got >= 0.0 && got <= 1.001 * least.powf(exponent);
        let off = (got - exact).abs() / exact;
        assert!(x < 0.0 || same || small || off <= bound, "{x:e}^{exponent} = {exact:e}, not {got:e}");
    }
}

#[test]
fn roots_of_sums_are_as_precise_as_promised() {
    let single = singles();
    let double: Vec<f64> = (0..1u64 << 18).map(|i| f64::from_bits(i.wrapping_mul(0x1fff_ffff_ffff_f35b))).collect();
    for exponent in [0.95, 1.0 / 1.2, 0.5, 1.0 / 3.7, 0.125, 0.001] {
        for maker in kernel::makers() {
            for bytes in [16, 32, 64].into_iter().filter(|&bytes| bytes <= kernel::widest(maker, types::F32).bytes()) {
                let (f32s, f64s) = (types::F32.by(bytes / 4).unwrap(), types::F64.by(bytes / 8).unwrap());
                check_root(maker, f32s, &single, exponent, (1e-6, f64::from(f32::MIN_POSITIVE)), f64::from);
                check_root(maker, f64s, &double, exponent, (1e-14, f64::MIN_POSITIVE), |x| x);
            }
        }
    }
}

/// What the machine has beyond CLIF, and how wide its vectors are, changes no result (of `exp2`, some).
#[test]
fn every_maker_gives_the_same_to_the_bit() {
    let x = singles();
    let y: Vec<f32> = (0..).map(|i| samples::pair(Elementary::Pow, i).1).take(x.len()).collect();
    // More bits than f32 has, and more exponents.
    let wider =
        |(i, &x): (u64, &f32)| f64::from(x).powi(1 + (i % 8 == 0) as i32 * 6) * (1.0 + (i % 4096) as f64 * 1e-15);
    let wide: Vec<f64> = (0..).zip(&x).map(wider).collect();
    let other: Vec<f64> = (0..).zip(&y).map(wider).collect();
    for function in Elementary::ALL.into_iter().filter(|&f| f != Elementary::Exp2) {
        let one = function.arity() == 1;
        let (single, double): ([&[f32]; 2], [&[f64]; 2]) = ([&x, &y], [&wide, &other]);
        let (mut singles, mut doubles) = ([Vec::new()], [Vec::new()]);
        kernel::real(function, types::F32X4).run(if one { &single[..1] } else { &single }, &mut singles);
        kernel::real(function, types::F64X2).run(if one { &double[..1] } else { &double }, &mut doubles);
        for maker in kernel::makers().into_iter().filter(Option::is_some) {
            let (mut out, name) = ([Vec::new()], function.name());
            let kernel = kernel::real_by(maker, function, kernel::widest(maker, types::F32));
            kernel.run(if one { &single[..1] } else { &single }, &mut out);
            for (((&a, &b), &x), &y) in out[0].iter().zip(&singles[0]).zip(&x).zip(&y) {
                let same = a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
                assert!(same, "{maker:?} {name}({x:e}, {y:e}): {a:e}, not {b:e}");
            }
            let mut out = [Vec::new()];
            let kernel = kernel::real_by(maker, function, kernel::widest(maker, types::F64));
            kernel.run(if one { &double[..1] } else { &double }, &mut out);
            for (((&a, &b), &x), &y) in out[0].iter().zip(&doubles[0]).zip(&wide).zip(&other) {
                let same = a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
                assert!(same, "{maker:?} {name}({x:e}, {y:e}): {a:e}, not {b:e}");
            }
        }
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
