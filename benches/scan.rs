//! Scans over time beside the same layers in order: one channel on one thread, 64 channels on two.
//!
//! `cargo bench --bench scan -- ema` (options of criterion's with their values behind `=`)
//!
//! In order, `channels` gives each thread half of the channels, as two sequences. Outputs of both ways are compared
//! before anything is timed, over the kernel in order, and each run writes to outputs that are there. `copy` reads and
//! writes as much memory as `ema`.

use std::num::NonZeroUsize;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ssmc::ir::{Instance, bind, interp};
use ssmc::jit::{Form, compile};
use ssmc::scan::{self, Options};
use ssmc_runtime::{Elements, Sequences, Tensor};

const EMA: &str = "layer ema { input x state h = 0 h <- 0.99 * h + 0.01 * x output y = h }";
const BIQUAD: &str = "layer biquad { param b[3], a[3] input x state s[2] = 0
    let y = b[0] * x + s[0]
    s[i] <- b[i + 1] * x - a[i + 1] * y + (if i == 0 then s[1] else 0)
    output y }";
const CHANNELS: &str = "layer channels(D) { param a[D] input x[D], g[D] state h[D] = 0
    h[d] <- a[d] * g[d] * h[d] + x[d] output y[d] = h[d] }";

/// What another order of roundings may make, relative to the largest output: a state lasts about a hundred steps.
const TOLERANCE: f32 = 1e-4;

/// A layer and what it runs on.
struct Case {
    name: &'static str,
    text: &'static str,
    dims: Vec<i64>,
    params: Vec<Tensor<f32>>,
    inputs: Vec<Tensor<f32>>,
    sequences: Sequences,
    threads: usize,
    plan: Plan,
}

#[derive(Clone, Copy)]
enum Plan {
    InOrder,
    Scan,
}

impl Case {
    /// Runs it and gives the outputs; with a bencher, times that as well.
    fn run(&self, bencher: Option<&mut criterion::Bencher<'_>>) -> Vec<Tensor<f32>> {
        let (layers, problems) = ssmc::sema::lower(&ssmc::syntax::parse(self.text).0);
        assert!(problems.is_empty(), "{problems:?}");
        let layer = layers.into_iter().next().expect("a layer");
        let instance = Instance::new(layer, self.dims.clone()).expect("sizes that can be run");
        let params = self.params.iter().cloned().map(Some).collect();
        let bound = bind::bind(&instance, params, 0).expect("parameters that fit");
        let kernel = compile::<f32>(&instance, Form::Sequence).expect("it compiles");
        let scan = match self.plan {
            Plan::InOrder => None,
            Plan::Scan => Some(scan::compile::<f32>(&instance, Options::default()).expect("a verdict that allows it")),
        };
        let start = interp::initial_carry(&instance, &bound, self.sequences.count());
        let (mut carry, mut outputs) = (start.clone(), kernel.blank_outputs(&self.sequences));
        let mut run = || {
            carry.clone_from(&start);
            let (inputs, threads, quiet) = (&self.inputs, self.threads, |_| {});
            match &scan {
                None => kernel.run_into(&bound, &self.sequences, inputs, &mut outputs, &mut carry, threads, &quiet),
                Some(scan) => scan.run_into(&bound, &self.sequences, inputs, &mut outputs, &mut carry, threads, &quiet),
            }
            .expect("the tensors fit");
        };
        match bencher {
            None => run(),
            Some(bencher) => bencher.iter(run),
        }
        outputs
    }
}

/// Whether the filter lets a group through: without this, it would still pay for the arrays of all of them.
fn wanted(name: &str) -> bool {
    let filter = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default();
    name.contains(filter.split('/').next().unwrap_or_default())
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

/// The largest difference, relative to the largest value.
fn difference(found: &[Tensor<f32>], want: &[Tensor<f32>]) -> f32 {
    let reals = |tensors: &[Tensor<f32>]| match tensors {
        [Tensor { elements: Elements::Real(values), .. }] => values.clone(),
        _ => unreachable!("every layer has one output of reals"),
    };
    let (found, want) = (reals(found), reals(want));
    assert_eq!(found.len(), want.len());
    let errors = found.iter().zip(&want).map(|(f, w)| (f - w).abs());
    let worst = errors.fold(0.0_f32, |m, e| if e.is_nan() { f32::INFINITY } else { m.max(e) });
    worst / want.iter().fold(f32::MIN_POSITIVE, |m, w| m.max(w.abs()))
}

/// Times both ways of a layer.
fn time(criterion: &mut Criterion, in_order: &Case, scanned: &Case) {
    let mut group = criterion.benchmark_group(in_order.name);
    group.sample_size(10).throughput(Throughput::Elements(in_order.inputs[0].elements.len() as u64));
    for (what, case) in [("in order", in_order), ("scan", scanned)] {
        group.bench_function(format!("{what}, threads: {}", case.threads), |bencher| {
            case.run(Some(bencher));
        });
    }
    group.finish();
}

fn one_channel(criterion: &mut Criterion, name: &'static str, text: &'static str, params: &[[f32; 3]], steps: usize) {
    if !wanted(name) {
        return;
    }
    let case = |plan| Case {
        name,
        text,
        dims: Vec::new(),
        params: params.iter().map(|v| real(&[3], |n| v[n])).collect(),
        inputs: vec![real(&[steps], noise)],
        sequences: Sequences::batch(1, steps),
        threads: 1,
        plan,
    };
    let (in_order, scanned) = (case(Plan::InOrder), case(Plan::Scan));
    let error = difference(&scanned.run(None), &in_order.run(None));
    assert!(error < TOLERANCE, "{name}: off by {error:.1e}");
    time(criterion, &in_order, &scanned);
}

fn ema(criterion: &mut Criterion) {
    one_channel(criterion, "ema", EMA, &[], 16 << 20);
}

fn biquad(criterion: &mut Criterion) {
    one_channel(criterion, "biquad", BIQUAD, &[[0.2, 0.3, 0.1], [1.0, -1.2, 0.5]], 4 << 20);
}

/// 64 channels over a million steps.
///
/// The scan's tensors are `[steps, 64]`; in order, the same numbers are two sequences of 32 channels.
fn channels(criterion: &mut Criterion) {
    if !wanted("channels") {
        return;
    }
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(2);
    let steps = 1 << 20;
    let case = |plan| {
        let (batch, width) = match plan {
            Plan::InOrder => (2, 32),
            Plan::Scan => (1, 64),
        };
        // Where channel `d` of step `t` lies in either shape.
        let place = |n: usize| match plan {
            Plan::Scan => n,
            Plan::InOrder => n / 32 % steps * 64 + n / 32 / steps * 32 + n % 32,
        };
        Case {
            name: "channels",
            text: CHANNELS,
            dims: vec![width as i64],
            params: vec![real(&[width], |d| 0.9 + noise(d % 32) * 0.1)],
            inputs: [0, 99].map(|at| real(&[batch * steps, width], |n| noise(place(n) + at))).to_vec(),
            sequences: Sequences::batch(batch, steps),
            threads,
            plan,
        }
    };
    let (in_order, scanned) = (case(Plan::InOrder), case(Plan::Scan));
    let halves = in_order.run(None);
    let both = real(&[steps, 64], |n| match &halves[0].elements {
        Elements::Real(y) => y[(n % 64 / 32 * steps + n / 64) * 32 + n % 32],
        _ => unreachable!("the output is real"),
    });
    let error = difference(&scanned.run(None), &[both]);
    assert!(error < TOLERANCE, "channels: off by {error:.1e}");
    time(criterion, &in_order, &scanned);
}

fn copy(criterion: &mut Criterion) {
    if !wanted("copy") {
        return;
    }
    let from: Vec<f32> = (0..16 << 20).map(noise).collect();
    let mut to = vec![1.0_f32; from.len()];
    let mut group = criterion.benchmark_group("copy");
    group.sample_size(10).throughput(Throughput::Elements(from.len() as u64));
    group.bench_function("64 MiB", |bencher| bencher.iter(|| to.copy_from_slice(&from)));
    group.finish();
}

criterion_group!(benches, ema, biquad, channels, copy);
criterion_main!(benches);
