//! Sweeps the sizes of a layer, and shows where time does not grow with them.
//!
//! `cargo run --release --example sizes -- [--layer mamba_scan] [--seconds S]`
//!
//! Each dimension runs from 1 upwards with the others at 64 (D) and 16 (N), over 64 steps; and L from 1 to 5,000 at those
//! sizes. Printed for each sweep: how much the time of an element grows at most from one size to the next (a cliff, if it
//! doubles), and how much longer an element takes at most than at the nearest multiple of 16 above. Sizes that take less
//! than a microsecond are left out: there a call costs more than its work. The layer is one of
//! `benches/programs/cases.ssm`. A time is the smallest of those that fit into `--seconds` (0.005), at least five; it is
//! measured again where a cliff seems to be, because a machine that does something else for a moment makes them too.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use ssmc::ir::bind::bind;
use ssmc::ir::interp;
use ssmc::ir::{Instance, Layer, ValueId};
use ssmc::jit::{self, Form};
use ssmc::{sema, syntax};
use ssmc_handwritten::clock::now;
use ssmc_runtime::{Elements, Sequences, Tensor};

const PROGRAM: &str = include_str!("../benches/programs/cases.ssm");

/// The value behind an option.
fn option(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|a| a != name);
    arguments.nth(1)
}

fn layer(name: &str) -> Result<Layer, String> {
    let (file, diagnostics) = syntax::parse(PROGRAM);
    let (layers, more) = sema::lower(&file);
    if let Some(problem) = diagnostics.iter().chain(&more).next() {
        return Err(problem.message.clone());
    }
    layers.into_iter().find(|layer| layer.name == name).ok_or_else(|| format!("no layer `{name}`"))
}

/// Numbers between -0.5 and 0 that differ from element to element.
fn tensor(instance: &Instance, value: ValueId, leading: &[usize]) -> Tensor<f32> {
    let shape: Vec<usize> = leading.iter().chain(&instance.axes[value.at()]).copied().collect();
    let n: usize = shape.iter().product();
    let numbers = |salt: usize| (0..n).map(|i| ((i * 7919 + salt) % 1000) as f32 * -5e-4).collect();
    let elements = match instance.layer.value(value).ty {
        ssmc::ir::Type::Complex => Elements::Complex { re: numbers(1), im: numbers(2) },
        _ => Elements::Real(numbers(3)),
    };
    Tensor { shape, elements }
}

/// The smallest time of a run for each of these lengths, in seconds.
fn times(layer: &Layer, dims: &[i64], lengths: &[usize], budget: Duration) -> Result<Vec<f64>, String> {
    let said = |problems: Vec<ssmc::diag::Diagnostic>| format!("{problems:?}");
    let instance = Instance::new(layer.clone(), dims.to_vec()).map_err(said)?;
    let kernel = jit::compile::<f32>(&instance, Form::Sequence).map_err(said)?;
    let params = layer.params.iter().map(|p| Some(tensor(&instance, p.value, &[]))).collect();
    let bound = bind(&instance, params, 0).map_err(said)?;
    let start = interp::initial_carry(&instance, &bound, 1);
    let mut found = Vec::new();
    for &steps in lengths {
        let sequences = Sequences::batch(1, steps);
        let inputs: Vec<_> = layer.inputs.iter().map(|&v| tensor(&instance, v, &[steps])).collect();
        let mut outputs: Vec<_> = layer.outputs.iter().map(|o| tensor(&instance, o.value, &[steps])).collect();
        let (begin, mut best, mut runs) = (Instant::now(), f64::INFINITY, 0);
        while runs < 5 || begin.elapsed() < budget {
            let mut carry = start.clone();
            let from = now(1);
            kernel
                .run_into(&bound, &sequences, &inputs, &mut outputs, &mut carry, 1, &|_| {})
                .map_err(|error| error.to_string())?;
            best = best.min((now(1) - from).as_secs_f64());
            runs += 1;
        }
        found.push(best);
    }
    Ok(found)
}

/// Times of elements by size: the worst growth from one size to the next, and over the multiple of 16 above.
struct Sweep<'a> {
    name: &'a str,
    sizes: Vec<usize>,
    times: Vec<f64>,
}

impl Sweep<'_> {
    /// Where an element takes so much longer than at another size, for pairs of places.
    fn worst(&self, pairs: impl Iterator<Item = (usize, usize)>) -> (f64, usize, usize) {
        let element = |n: usize| self.times[n] / self.sizes[n] as f64;
        let ratios = pairs
            .filter(|&(a, b)| self.times[a].min(self.times[b]) > 1e-6)
            .map(|(a, b)| (element(b) / element(a), self.sizes[a], self.sizes[b]));
        ratios.fold((0.0, 0, 0), |worst, ratio| if ratio.0 > worst.0 { ratio } else { worst })
    }

    fn neighbours(&self) -> (f64, usize, usize) {
        self.worst((1..self.sizes.len()).map(|n| (n - 1, n)))
    }

    /// Against the next multiple of 16, for sizes of at least half of it.
    fn rounded(&self) -> (f64, usize, usize) {
        let place = |size: usize| self.sizes.iter().position(|&s| s == size);
        self.worst((0..self.sizes.len()).filter_map(|n| {
            let round = self.sizes[n].next_multiple_of(16);
            (self.sizes[n] * 2 >= round).then(|| place(round)).flatten().map(|to| (to, n))
        }))
    }

    fn print(&self) {
        let (growth, from, to) = self.neighbours();
        let (over, round, odd) = self.rounded();
        println!(
            "{}: {} sizes; an element takes at most {growth:.2} times as long as one size before ({from} to {to}), and {over:.2} \
             times as long as at the multiple of 16 above ({odd} against {round})",
            self.name,
            self.sizes.len()
        );
    }
}

fn run() -> Result<bool, String> {
    let seconds = option("--seconds").and_then(|s| s.parse().ok()).unwrap_or(0.005);
    let budget = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO);
    let name = option("--layer").unwrap_or_else(|| "mamba_scan".into());
    let layer = layer(&name)?;
    let standard: Vec<i64> = layer.dims.iter().map(|d| if d.name == "D" { 64 } else { 16 }).collect();
    let mut flat = true;
    for (at, dim) in layer.dims.iter().enumerate() {
        let most = if dim.name == "D" { 300 } else { 70 };
        let mut dims = standard.clone();
        let mut measured = |size: usize| {
            dims[at] = size as i64;
            times(&layer, &dims, &[64], budget).map(|times| times[0])
        };
        let sizes: Vec<usize> = (1..=most).collect();
        let first = sizes.iter().map(|&size| measured(size)).collect::<Result<Vec<_>, _>>()?;
        let mut sweep = Sweep { name: &dim.name, sizes, times: first };
        let mut again = Vec::new();
        for n in 1..sweep.sizes.len() {
            if sweep.times[n] > 1.5 * sweep.times[n - 1] {
                again.extend([n - 1, n]);
            }
        }
        for n in again {
            sweep.times[n] = sweep.times[n].min(measured(sweep.sizes[n])?);
        }
        sweep.print();
        flat &= sweep.neighbours().0 <= 2.0;
    }
    let lengths: Vec<usize> = (1..=256).chain((257..=5000).step_by(31)).collect();
    let mut sweep = Sweep { name: "L", times: times(&layer, &standard, &lengths, budget)?, sizes: lengths.clone() };
    for (time, again) in sweep.times.iter_mut().zip(times(&layer, &standard, &lengths, budget)?) {
        *time = time.min(again);
    }
    sweep.print();
    flat &= sweep.neighbours().0 <= 2.0;
    Ok(flat)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            println!("there is a cliff");
            ExitCode::FAILURE
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}
