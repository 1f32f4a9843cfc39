//! The cases that kernels are measured on: shapes, numbers, and what bounds the time.
//!
//! A [`Case`] has its arrays by name, for whoever computes the same by other means, and runs this crate's kernel or the
//! plain loop on them. `benches/cases.rs` times them; the results that a case gives are the last outputs, so that what
//! was timed can be compared.

mod along_time;
mod blocks;
mod channels;

use std::sync::Arc;

use crate::Isa;
use crate::machine::Profile;

/// The numbers of an array.
#[derive(Clone)]
pub enum Values {
    /// Real numbers.
    F32(Arc<Lined<f32>>),
    /// Real numbers in f64.
    F64(Arc<Lined<f64>>),
    /// Real and imaginary parts.
    Complex(Arc<Lined<f32>>, Arc<Lined<f32>>),
    /// Small integers.
    Bytes(Arc<Lined<u8>>),
}

/// An array that a case reads.
#[derive(Clone)]
pub struct Array {
    /// Its name in `benches/programs/cases.ssm`.
    pub name: &'static str,
    /// Row-major.
    pub values: Values,
}

/// What a run has to do at least, from which a bound on its time follows.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Operations on single f32 values (a multiply-add is one, an f64 counts twice) at 512 and at 256 bits, or steps of a
    /// chain that nothing can shorten.
    pub operations: [f64; 2],
    /// Bytes between memory and the processor; 0 where the arrays stay in the caches.
    pub bytes: f64,
    /// Cycles that must follow each other.
    pub cycles: f64,
}

impl Work {
    const fn new(operations: f64, bytes: f64) -> Self {
        Self { operations: [operations; 2], bytes, cycles: 0.0 }
    }

    /// The least time in seconds.
    pub fn bound(&self, isa: Isa, threads: usize, profile: &Profile) -> f64 {
        let (per_second, hertz) = profile.of(isa);
        let operations = self.operations[usize::from(isa.lanes() < 16)] / isa.lanes() as f64;
        let arithmetic = operations / per_second + self.cycles / hertz;
        (arithmetic / threads as f64).max(self.bytes / profile.bandwidth[usize::from(threads > 1)])
    }
}

/// Runs one case.
trait Run {
    fn run(&mut self, isa: Isa, threads: usize);
    fn output(&self) -> Vec<f64>;
}

/// Buffers and what is done with them.
struct Runner<S, F, G> {
    buffers: S,
    run: F,
    output: G,
}

impl<S, F: FnMut(&mut S, Isa, usize), G: Fn(&S) -> Vec<f64>> Run for Runner<S, F, G> {
    fn run(&mut self, isa: Isa, threads: usize) {
        (self.run)(&mut self.buffers, isa, threads);
    }

    fn output(&self) -> Vec<f64> {
        (self.output)(&self.buffers)
    }
}

/// A shape at which kernels are compared.
pub struct Case {
    /// What it is called.
    pub name: &'static str,
    /// The layer of `benches/programs/cases.ssm` that computes the same.
    pub layer: &'static str,
    /// The layer's dimensions.
    pub dims: Vec<(&'static str, i64)>,
    /// Sequences.
    pub batch: usize,
    /// Steps of each.
    pub steps: usize,
    /// What is read.
    pub arrays: Vec<Array>,
    /// What has to be done at least.
    pub work: Work,
    /// The difference that roundings may make, relative to the largest output.
    pub tolerance: f64,
    /// Threads that the kernel can use.
    pub threads: usize,
    runner: Box<dyn Run>,
}

impl Case {
    /// Runs the kernel, or the plain loop with [`Isa::Plain`], from the initial state.
    pub fn run(&mut self, isa: Isa, threads: usize) {
        self.runner.run(isa, threads);
    }

    /// The outputs of the last run: of all steps, or of the last one where a case says so.
    pub fn output(&self) -> Vec<f64> {
        self.runner.output()
    }

    /// The extents, as `D=1024 N=16, L=2048`.
    pub fn shape(&self) -> String {
        let dims: Vec<String> = self.dims.iter().map(|(name, n)| format!("{name}={n} ")).collect();
        let batch = if self.batch > 1 { format!("B={} ", self.batch) } else { String::new() };
        format!("{batch}{}L={}", dims.concat(), self.steps)
    }
}

/// The names of all cases.
pub const NAMES: [&str; 18] = [
    "mamba scan",
    "mamba fused",
    "mamba decode",
    "diagonal, streamed",
    "diagonal, in L2",
    "ema",
    "first order, varying",
    "biquad f32",
    "biquad f64",
    "biquad, varying",
    "longhorn",
    "delta rule",
    "sd-ssm, batch 1",
    "sd-ssm, batch 8",
    "s5",
    "finite map",
    "ssd",
    "viterbi",
];

/// The case of that name.
pub fn case(name: &str) -> Option<Case> {
    Some(match name {
        "mamba scan" => channels::mamba("mamba scan", 2048, false),
        "mamba fused" => channels::mamba("mamba fused", 2048, true),
        "mamba decode" => channels::decode(),
        "diagonal, streamed" => channels::diagonal("diagonal, streamed", 4096, 1024),
        "diagonal, in L2" => channels::diagonal("diagonal, in L2", 512, 64),
        "longhorn" => channels::longhorn(),
        "ema" => along_time::ema(),
        "first order, varying" => along_time::first_order(),
        "biquad f32" => along_time::biquad_f32(),
        "biquad f64" => along_time::biquad_f64(),
        "biquad, varying" => along_time::biquad_varying(),
        "finite map" => along_time::finite_map(),
        "delta rule" => blocks::delta(),
        "sd-ssm, batch 1" => blocks::sdssm("sd-ssm, batch 1", 1),
        "sd-ssm, batch 8" => blocks::sdssm("sd-ssm, batch 8", 8),
        "s5" => blocks::s5(),
        "ssd" => blocks::ssd(),
        "viterbi" => blocks::viterbi(),
        _ => return None,
    })
}

/// Values from the start of a line of the cache: elsewhere, every other vector would lie on two lines.
pub struct Lined<T> {
    values: Vec<T>,
    from: usize,
    len: usize,
}

impl<T: Copy + Default> Lined<T> {
    fn zeros(len: usize) -> Self {
        let values = vec![T::default(); len + 64 / size_of::<T>()];
        Self { from: values.as_ptr().align_offset(64), values, len }
    }
}

impl Lined<f32> {
    fn wide(&self) -> Vec<f64> {
        self.iter().map(|&y| f64::from(y)).collect()
    }
}

impl<T> std::ops::Deref for Lined<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values[self.from..][..self.len]
    }
}

impl<T> std::ops::DerefMut for Lined<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values[self.from..][..self.len]
    }
}

/// The same values from the start of a line.
fn lined<T: Copy + Default>(values: Vec<T>) -> Arc<Lined<T>> {
    let mut to = Lined::zeros(values.len());
    to.copy_from_slice(&values);
    Arc::new(to)
}

fn array(name: &'static str, values: &Arc<Lined<f32>>) -> Array {
    Array { name, values: Values::F32(Arc::clone(values)) }
}

fn fits<T>(result: Result<T, crate::Error>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => unreachable!("a case is wrong: {error}"),
    }
}
