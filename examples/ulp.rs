//! Measures the error of the elementary functions.
//!
//! ```sh
//! cargo run --release --example ulp                        # every f32 function; one argument: over all 2^32 inputs
//! cargo run --release --example ulp -- exp tanh --stride 101
//! cargo run --release --example ulp -- exp --isa avx2                       # not at every width of the machine
//! cargo run --release --example ulp -- --speed
//! python3 tools/reference.py --count 20000 > /tmp/reference.txt
//! cargo run --release --example ulp -- --reference /tmp/reference.txt      # f64
//! ```

#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::time::Instant;

use cranelift_codegen::ir::types;
use rayon::prelude::*;
use ssmc::codegen::math::Elementary;
use ssmc_wide::Level;

#[path = "../tests/math/exact.rs"]
mod exact;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/math/kernel.rs"]
mod kernel;
#[path = "../tests/math/samples.rs"]
mod samples;

use kernel::Maker;

const SIZE: usize = 1 << 14;
const CHUNK: u64 = SIZE as u64;

/// Correct rounding is not looked at further.
const CORRECT: Worst = (0.5, 0.0, 0.0, 0.0);

type Worst = (f64, f32, f32, f32);

fn worse(a: Worst, b: Worst) -> Worst {
    if b.0 > a.0 { b } else { a }
}

/// For functions that are odd or even: the sign bit of the result for a negative argument.
fn mirrored(function: Elementary) -> Option<u32> {
    match function {
        Elementary::Sin | Elementary::Tanh | Elementary::Erf => Some(1 << 31),
        Elementary::Cos => Some(0),
        _ => None,
    }
}

/// What the command line calls it.
fn name_of(maker: Maker) -> &'static str {
    match maker {
        None => "sse2",
        Some(Level::Avx2) => "avx2",
        Some(Level::Avx512) => "avx512",
    }
}

/// The largest error of each maker's kernel.
fn measure(function: Elementary, makers: &[Maker], stride: u64) -> Vec<Worst> {
    let kernels: Vec<kernel::Kernel<f32>> =
        makers.iter().map(|&m| kernel::real_by(m, function, kernel::widest(m, types::F32))).collect();
    let mirror = mirrored(function);
    let range = if mirror.is_some() { 1u64 << 31 } else { 1 << 32 };
    let chunks = if function.arity() == 2 { 1 << 14 } else { range.div_ceil(CHUNK * stride) };
    let start = || (vec![0f32; SIZE], vec![0f32; SIZE], vec![0f64; SIZE], [vec![0f32; SIZE]]);
    (0..chunks)
        .into_par_iter()
        .map_init(start, |(x, y, exact, out), chunk| {
            for (i, (x, y)) in (0..).zip(x.iter_mut().zip(y.iter_mut())) {
                if function.arity() == 1 {
                    *x = f32::from_bits(((chunk * CHUNK + i) * stride) as u32);
                } else {
                    (*x, *y) = samples::pair(function, chunk * CHUNK + i);
                }
            }
            for (exact, (&x, &y)) in exact.iter_mut().zip(x.iter().zip(y.iter())) {
                *exact = exact::value(function, f64::from(x), f64::from(y));
            }
            let one = |kernel: &kernel::Kernel<f32>| {
                let inputs: [&[f32]; 2] = [&x[..], &y[..]];
                kernel.run(&inputs[..function.arity()], out);
                let mut worst = CORRECT;
                for ((&got, &exact), (&x, &y)) in out[0].iter().zip(exact.iter()).zip(x.iter().zip(y.iter())) {
                    if got.to_bits() != (exact as f32).to_bits() {
                        worst = worse(worst, (exact::ulp_f32(got, exact), x, y, got));
                    }
                }
                if let Some(sign) = mirror {
                    // The other half of the arguments must give the same, but for the sign.
                    let half = out[0].clone();
                    x.iter_mut().for_each(|x| *x = -*x);
                    kernel.run(&[&x[..]], out);
                    for ((&got, &other), &x) in out[0].iter().zip(&half).zip(x.iter()) {
                        if got.to_bits() != other.to_bits() ^ sign && !(got.is_nan() && other.is_nan()) {
                            worst = worse(worst, (f64::INFINITY, x, 0.0, got));
                        }
                    }
                    x.iter_mut().for_each(|x| *x = -*x);
                }
                worst
            };
            kernels.iter().map(one).collect()
        })
        .reduce(|| vec![CORRECT; makers.len()], |a, b| a.into_iter().zip(b).map(|(a, b)| worse(a, b)).collect())
}

fn reference(path: &str, wanted: &[String], makers: &[Maker]) -> std::io::Result<()> {
    let text = std::fs::read_to_string(path)?;
    let mut groups: BTreeMap<&str, Vec<samples::Sample>> = BTreeMap::new();
    for (name, sample) in text.lines().filter_map(samples::parse) {
        groups.entry(name).or_default().push(sample);
    }
    println!("{:<10} {:<7} {:>8} {:>10}  worst input", "f64", "", "ulp", "inputs");
    for function in Elementary::ALL {
        let Some(samples) = groups.get(function.name()) else {
            continue;
        };
        if !wanted.is_empty() && !wanted.iter().any(|name| name == function.name()) {
            continue;
        }
        for &maker in makers {
            let kernel = kernel::real_by::<f64>(maker, function, kernel::widest(maker, types::F64));
            let (ulp, worst, got) = samples::worst(&kernel, function, samples);
            let (name, isa) = (function.name(), name_of(maker));
            println!("{name:<10} {isa:<7} {ulp:>8.3} {:>10}  {worst:?} -> {got:e}", samples.len());
        }
    }
    Ok(())
}

/// Nanoseconds per element on one thread, for arguments between -4 and 4 (0 and 4 where only those are in the domain).
fn speed<T: kernel::Lane>(function: Elementary, maker: Maker, from: impl Fn(f64) -> T) -> f64 {
    let kernel = kernel::real_by::<T>(maker, function, kernel::widest(maker, T::TYPE));
    let positive = matches!(
        function,
        Elementary::Log | Elementary::Log1p | Elementary::Sqrt | Elementary::Rsqrt | Elementary::Pow
    );
    let low = if positive { 0.0 } else { -4.0 };
    let number = |i: u64| from(low + (4.0 - low) * (samples::scramble(i) >> 11) as f64 / 2f64.powi(53));
    let (x, y): (Vec<T>, Vec<T>) = (0..4096).map(|i| (number(2 * i), number(2 * i + 1))).unzip();
    let inputs: &[&[T]] = if function.arity() == 1 { &[&x] } else { &[&x, &y] };
    let mut out = [Vec::new()];
    let round = || {
        let start = Instant::now();
        kernel.run(inputs, &mut out);
        start.elapsed().as_secs_f64() * 1e9 / x.len() as f64
    };
    std::iter::repeat_with(round).take(300).fold(f64::INFINITY, f64::min)
}

fn main() -> std::io::Result<()> {
    let (mut wanted, mut stride, mut path, mut timed) = (Vec::new(), 1, None, false);
    let mut makers = kernel::makers();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--stride" => stride = arguments.next().and_then(|n| n.parse().ok()).expect("a number after --stride"),
            "--reference" => path = Some(arguments.next().expect("a file after --reference")),
            "--isa" => {
                let name = arguments.next().expect("a name after --isa");
                makers.retain(|&maker| name_of(maker) == name);
                assert!(!makers.is_empty(), "this machine has no `{name}`");
            }
            "--speed" => timed = true,
            _ => wanted.push(argument),
        }
    }
    let is_wanted = |f: Elementary| wanted.is_empty() || wanted.iter().any(|name| name == f.name());
    if timed {
        println!("{:<10} {:<7} {:>8} {:>8}  ns per element", "", "", "f32", "f64");
        for function in Elementary::ALL.into_iter().filter(|&f| is_wanted(f)) {
            for &maker in &makers {
                let (single, double) = (speed(function, maker, |x| x as f32), speed(function, maker, |x| x));
                println!("{:<10} {:<7} {single:>8.3} {double:>8.3}", function.name(), name_of(maker));
            }
        }
        return Ok(());
    }
    if let Some(path) = path {
        return reference(&path, &wanted, &makers);
    }
    println!("{:<10} {:<7} {:>8} {:>15} {:>15} {:>15} {:>8}", "f32", "", "ulp", "x", "y", "result", "s");
    for function in Elementary::ALL.into_iter().filter(|&f| is_wanted(f)) {
        let start = Instant::now();
        let worst = measure(function, &makers, stride);
        let seconds = start.elapsed().as_secs_f64();
        for (&maker, (ulp, x, y, got)) in makers.iter().zip(worst) {
            let y = if function.arity() == 2 { format!("{y:e}") } else { String::new() };
            let (name, isa) = (function.name(), name_of(maker));
            println!("{name:<10} {isa:<7} {ulp:>8.3} {x:>15e} {y:>15} {got:>15e} {seconds:>8.1}");
        }
    }
    Ok(())
}
