//! How fast scans over time are: `cargo run --release --example scan [NAME..]`.
//!
//! `ema` and `biquad` are one channel on one thread; `channels` is 64 channels on two threads, in order (each thread has
//! half of the channels, as two sequences) and as a scan. Outputs are compared before anything is timed; a time is the
//! least of several runs into outputs that are there. `copy` reads and writes as much memory as `ema`.

use std::time::Instant;

use ssmc::ir::{Instance, bind, interp};
use ssmc::jit::{Form, compile};
use ssmc::scan::{self, Options};
use ssmc_runtime::{Bound, Carry, Elements, Sequences, Tensor};

const EMA: &str = "layer ema { input x state h = 0 h <- 0.99 * h + 0.01 * x output y = h }";
const BIQUAD: &str = "layer biquad { param b[3], a[3] input x state s[2] = 0
    let y = b[0] * x + s[0]
    s[i] <- b[i + 1] * x - a[i + 1] * y + (if i == 0 then s[1] else 0)
    output y }";
const COUPLED: &str =
    "layer coupled { param b0 = 0.2, b1 = 0.3, b2 = 0.1, a1 = -1.2, a2 = 0.5 input x state s = 0, r = 0
    let y = b0 * x + s
    let old = r
    s <- b1 * x - a1 * y + old
    r <- b2 * x - a2 * y
    output y }";
const CHANNELS: &str = "layer channels(D) { param a[D] input x[D], g[D] state h[D] = 0
    h[d] <- a[d] * g[d] * h[d] + x[d] output y[d] = h[d] }";

fn instance(text: &str, dims: &[i64]) -> Instance {
    let (layers, problems) = ssmc::sema::lower(&ssmc::syntax::parse(text).0);
    assert!(problems.is_empty(), "{problems:?}");
    Instance::new(layers.into_iter().next().expect("a layer"), dims.to_vec()).expect("sizes that can be run")
}

fn real(shape: &[usize], of: impl Fn(usize) -> f32) -> Tensor<f32> {
    let count = shape.iter().product();
    Tensor { shape: shape.to_vec(), elements: Elements::Real((0..count).map(of).collect()) }
}

/// Numbers in (0, 1).
fn noise(n: usize) -> f32 {
    let z = (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((z ^ (z >> 29)) >> 40) as f32 / (1u64 << 24) as f32
}

type Run<'a> = dyn Fn(&mut [Tensor<f32>], &mut Carry<f32>) + 'a;

/// The least time in milliseconds.
fn time(times: usize, outputs: &mut [Tensor<f32>], carry: &Carry<f32>, run: &Run<'_>) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..times {
        let mut carry = carry.clone();
        let start = Instant::now();
        run(outputs, &mut carry);
        least = least.min(start.elapsed().as_secs_f64() * 1e3);
    }
    least
}

fn largest_difference(a: &[Tensor<f32>], b: &[Tensor<f32>]) -> f64 {
    let mut most = (0.0_f64, 0.0_f64);
    for (a, b) in a.iter().zip(b) {
        let (Elements::Real(a), Elements::Real(b)) = (&a.elements, &b.elements) else { panic!("reals") };
        for (x, y) in a.iter().zip(b) {
            most = (most.0.max(f64::from((x - y).abs())), most.1.max(f64::from(y.abs())));
        }
    }
    most.0 / most.1
}

#[allow(clippy::too_many_arguments, reason = "one measurement")]
fn measure(
    name: &str,
    instance: &Instance,
    params: Vec<Option<Tensor<f32>>>,
    inputs: &[Tensor<f32>],
    in_order: &Sequences,
    scanned: &Sequences,
    threads: usize,
    options: &[Options],
) {
    let bound: Bound<f32> = bind::bind(instance, params, 0).expect("parameters that fit");
    let kernel = compile::<f32>(instance, Form::Sequence).expect("it compiles");
    let carry = interp::initial_carry(instance, &bound, in_order.count());
    let mut expected = kernel.blank_outputs(in_order);
    let sequential = time(5, &mut expected, &carry, &|outputs, carry| {
        kernel.run_into(&bound, in_order, inputs, outputs, carry, threads, &|_| {}).expect("it runs");
    });
    println!("{name}: sequential {sequential:.2} ms on {threads} threads");
    let carry = interp::initial_carry(instance, &bound, scanned.count());
    for &options in options {
        let scan = scan::compile::<f32>(instance, options).expect("a verdict that allows it");
        let mut outputs = kernel.blank_outputs(scanned);
        for threads in [1, threads].into_iter().skip(usize::from(threads == 1)) {
            let parallel = time(7, &mut outputs, &carry, &|outputs, carry| {
                scan.run_into(&bound, scanned, inputs, outputs, carry, threads, &|_| {}).expect("it runs");
            });
            println!(
                "  parallel {parallel:.2} ms on {threads} threads, {:.2} times as fast; off by {:.1e}; {options:?}",
                sequential / parallel,
                if in_order == scanned { largest_difference(&outputs, &expected) } else { f64::NAN },
            );
        }
    }
}

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|a| a == name);
    let own = [Options::default()];
    let more: Vec<Options> = [(32, 128), (32, 256), (64, 128), (64, 256), (64, 512), (128, 256)]
        .map(|(lanes, steps)| Options { stretch: Some(steps), lanes: Some(lanes), isa: None })
        .into_iter()
        .chain(own)
        .collect();
    let options = if wanted("sizes") && !asked.is_empty() { &more[..] } else { &own[..] };
    if wanted("copy") {
        let from: Vec<f32> = (0..16 << 20).map(noise).collect();
        let mut to = vec![1.0_f32; from.len()];
        let mut least = f64::INFINITY;
        for _ in 0..7 {
            let start = Instant::now();
            to.copy_from_slice(&from);
            least = least.min(start.elapsed().as_secs_f64() * 1e3);
        }
        println!("copy: {least:.2} ms for 64 MiB ({})", to[to.len() / 2]);
    }
    if wanted("ema") {
        let one = Sequences::batch(1, 16 << 20);
        let inputs = [real(&[one.total()], noise)];
        measure("ema", &instance(EMA, &[]), Vec::new(), &inputs, &one, &one, 1, options);
    }
    if wanted("biquad") {
        let one = Sequences::batch(1, 4 << 20);
        let inputs = [real(&[one.total()], noise)];
        let of = |v: [f32; 3]| Some(real(&[3], |n| v[n]));
        let params = vec![of([0.2, 0.3, 0.1]), of([1.0, -1.2, 0.5])];
        measure("biquad", &instance(BIQUAD, &[]), params, &inputs, &one, &one, 1, options);
        measure("coupled", &instance(COUPLED, &[]), Vec::new(), &inputs, &one, &one, 1, options);
    }
    if wanted("channels") {
        let steps = 1 << 20;
        let a = |n: usize| vec![Some(real(&[n], |d| 0.9 + noise(d) * 0.1))];
        let inputs = [real(&[steps, 64], noise), real(&[steps, 64], |n| noise(n + 99))];
        let one = Sequences::batch(1, steps);
        measure("channels, one sequence", &instance(CHANNELS, &[64]), a(64), &inputs, &one, &one, 2, &own);
        let halves = Sequences::batch(2, steps);
        let shape = |t: &Tensor<f32>| Tensor { shape: vec![2 * steps, 32], elements: t.elements.clone() };
        let inputs = inputs.each_ref().map(shape);
        measure("channels, halves", &instance(CHANNELS, &[32]), a(32), &inputs, &halves, &halves, 2, &own);
    }
}
