//! How long compiled kernels take over whole sequences.
//!
//! `cargo run --release --example speed [THREADS [PART OF A NAME]]` prints the smallest of many times for every case:
//! processor time on one thread, else wall time.
//! Inputs are seeded; states neither overflow nor vanish.

use std::time::Instant;

use ssmc::ir::Instance;
use ssmc::jit::{self, Form};
use ssmc_runtime::{Bound, Carry, Elements, Sequences, Tensor};

/// A file, a layer in it, its dimensions, and how long the sequence is.
struct Case {
    name: &'static str,
    source: &'static str,
    layer: &'static str,
    dims: &'static [(&'static str, i64)],
    length: usize,
}

const DIAGONAL: &str = "layer diagonal(D) {
    input a[D], x[D]
    state h[D] = 0
    h[d] <- a[d] * h[d] + x[d]
    output h
}";

const FUSED: &str = "layer fused(D, N) {
    param A[D, N], skip[D], bias[D]
    input x[D], dt[D], B[N], C[N], z[D]
    state h[D, N] = 0
    let step[d] = softplus(dt[d] + bias[d])
    h[d, n] <- exp(step[d] * A[d, n]) * h[d, n] + step[d] * B[n] * x[d]
    output y[d] = (sum[n](C[n] * h[d, n]) + skip[d] * x[d]) * silu(z[d])
}";

const CASES: &[Case] = &[
    Case {
        name: "mamba",
        source: include_str!("mamba.ssm"),
        layer: "mamba",
        dims: &[("D", 1024), ("N", 16)],
        length: 2048,
    },
    Case { name: "fused mamba", source: FUSED, layer: "fused", dims: &[("D", 1024), ("N", 16)], length: 2048 },
    Case { name: "diagonal", source: DIAGONAL, layer: "diagonal", dims: &[("D", 1024)], length: 4096 },
    Case {
        name: "longhorn",
        source: include_str!("longhorn_closed.ssm"),
        layer: "plain",
        dims: &[("D", 1024), ("N", 16)],
        length: 2048,
    },
    Case {
        name: "delta rule",
        source: include_str!("delta_rule.ssm"),
        layer: "delta_rule",
        dims: &[("H", 16), ("K", 64), ("V", 64)],
        length: 2048,
    },
    Case {
        name: "sd-ssm",
        source: include_str!("sdssm.ssm"),
        layer: "sdssm",
        dims: &[("E", 64), ("N", 64), ("K", 8), ("O", 64)],
        length: 512,
    },
    Case { name: "s5", source: include_str!("s5.ssm"), layer: "s5", dims: &[("H", 128), ("P", 64)], length: 4096 },
    Case {
        name: "ssd",
        source: include_str!("ssd.ssm"),
        layer: "ssd",
        dims: &[("H", 16), ("P", 64), ("N", 64)],
        length: 2048,
    },
    Case { name: "viterbi", source: include_str!("viterbi.ssm"), layer: "viterbi", dims: &[("S", 64)], length: 4096 },
];

/// Numbers in (0, 1).
struct Uniform(u64);

impl Uniform {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 24) as f32
    }

    fn tensor(&mut self, name: &str, shape: Vec<usize>, complex: bool) -> Tensor<f32> {
        let size = shape.iter().product();
        let scaled = |x: f32| match name {
            "A" => -0.5 - x,
            "a" => 0.9 + 0.1 * x,
            "dt" => 0.001 + 0.1 * x,
            "Lambda" => -0.1 - x,
            _ => 0.25 * (x - 0.5),
        };
        let mut plane = || (0..size).map(|_| scaled(self.next())).collect::<Vec<f32>>();
        let elements = match complex {
            true => Elements::Complex { re: plane(), im: plane() },
            false => Elements::Real(plane()),
        };
        Tensor { shape, elements }
    }
}

/// Seconds on a processor for one thread (Linux tells, also on a busy machine), else seconds on the clock.
fn now(start: Instant, threads: usize) -> f64 {
    let own = || -> Option<f64> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok().map(|nanoseconds| nanoseconds * 1e-9)
    };
    let own = if threads == 1 { own() } else { None };
    own.unwrap_or_else(|| start.elapsed().as_secs_f64())
}

fn measure(case: &Case, threads: usize) -> (f64, f64) {
    let (file, _) = ssmc::syntax::parse(case.source);
    let (layers, problems) = ssmc::sema::lower(&file);
    assert!(problems.is_empty(), "{problems:?}");
    let layer = layers.into_iter().find(|layer| layer.name == case.layer).expect("the file has the layer");
    let named: Vec<(String, i64)> = case.dims.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
    let given: Vec<Option<i64>> =
        layer.dims.iter().map(|dim| named.iter().find(|(name, _)| *name == dim.name).map(|(_, n)| *n)).collect();
    let dims: Vec<i64> = given.into_iter().map(|n| n.expect("the case gives all dimensions")).collect();
    let instance = Instance::new(layer, dims).expect("the sizes can be run");
    let start = Instant::now();
    let kernel = jit::compile::<f32>(&instance, Form::Sequence).expect("the layer compiles");
    let compiled = start.elapsed().as_secs_f64() * 1e3;
    let mut uniform = Uniform(7);
    let mut make = |slice: &ssmc_runtime::kernel::Tensors, leading: &[usize]| {
        let shape = leading.iter().chain(&slice.shape).copied().collect();
        uniform.tensor(&slice.name, shape, slice.kind == ssmc_runtime::kernel::Kind::Complex)
    };
    let signature = kernel.signature().clone();
    let params = signature.params.iter().map(|slice| make(slice, &[])).collect();
    let initial = signature.states.iter().map(|slice| make(slice, &[])).collect();
    let bound = Bound { params, initial };
    let inputs: Vec<Tensor<f32>> = signature.inputs.iter().map(|slice| make(slice, &[case.length])).collect();
    let states: Vec<Tensor<f32>> = signature.states.iter().map(|slice| make(slice, &[1])).collect();
    let sequences = Sequences::batch(1, case.length);
    let mut carry = Carry { steps: vec![0], states: states.clone(), delays: Vec::new() };
    let mut outputs = kernel.run(&bound, &sequences, &inputs, &mut carry, threads, &|_| {}).expect("the tensors fit");
    let mut best = f64::INFINITY;
    let whole = Instant::now();
    while whole.elapsed().as_secs_f64() < 0.4 {
        let mut carry = Carry { steps: vec![0], states: states.clone(), delays: Vec::new() };
        let start = now(whole, threads);
        let outputs = &mut outputs;
        kernel.run_into(&bound, &sequences, &inputs, &mut carry, outputs, threads, &|_| {}).expect("the tensors fit");
        best = best.min((now(whole, threads) - start) * 1e3);
    }
    (best, compiled)
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let threads = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(1);
    let wanted = arguments.next().unwrap_or_default();
    for case in CASES.iter().filter(|case| case.name.contains(&wanted)) {
        let (ms, compiled) = measure(case, threads);
        println!("{:12} {threads} threads {ms:9.3} ms   compiled in {compiled:5.1} ms", case.name);
    }
}
