//! Outputs that go past the caches: the same results, on one thread and several, and only where they may.

#[allow(dead_code, reason = "other test files need the rest")]
#[path = "kernels/data.rs"]
mod data;

use data::{Data, rounded_all, rounded_carry};
use ssmc::ir::Instance;
use ssmc::ir::interp::{self, Real};
use ssmc::jit::{self, Form, Isa, Kernel};
use ssmc_runtime::{Bound, Elements, Sequences, Tensor};

/// Outputs begin with a line, without which nothing goes past the caches.
#[global_allocator]
static ALLOCATOR: ssmc_runtime::Lines = ssmc_runtime::Lines;

fn instance(text: &str, dims: &[i64]) -> Instance {
    let (file, problems) = ssmc::syntax::parse(text);
    let (layers, more) = ssmc::sema::lower(&file);
    assert!(problems.is_empty() && more.is_empty(), "{problems:?} {more:?}");
    let layer = layers.into_iter().next().expect("a layer");
    Instance::new(layer, dims.to_vec()).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn kernel<F: Real>(instance: &Instance, isa: Isa) -> Kernel<F> {
    jit::compile_for(instance, Form::Sequence, isa).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// How many phases have a function that writes past the caches.
fn phases_past<F>(kernel: &Kernel<F>) -> usize
where
    F: Real,
{
    kernel.signature().passes.iter().flat_map(|pass| &pass.phases).filter(|phase| phase.past.is_some()).count()
}

const DIAGONAL: &str = "layer diagonal(D) {
    input a[D], b[D]
    state h[D] = 0
    h[d] <- a[d] * h[d] + b[d]
    output y[d] = h[d]
}";

/// Its output is written behind the recurrence, step after step.
const GATED: &str = "layer gated(D) {
    input a[D], b[D], z[D]
    state h[D] = 0
    h[d] <- a[d] * h[d] + b[d]
    output y[d] = h[d] * sigmoid(z[d])
}";

/// One output is read by what another needs.
const READ: &str = "layer read(D) {
    input x[D]
    state h[D] = 0
    h[d] <- 0.5 * h[d] + x[d]
    output y[d] = h[d]
    output s = sum[d](y[d])
}";

const COMPLEX: &str = "layer turned(D) {
    param w[D]: complex
    input x[D]
    state h[D]: complex = 0
    h[d] <- w[d] * h[d] + x[d]
    output h
}";

/// The same run as one, and as pieces that are too small to be many, agree to the bit; a sample of the first and the last
/// steps agrees with the interpreter.
fn agree<F: Real>(text: &str, dims: &[i64], steps: usize, past: bool) {
    let instance = instance(text, dims);
    let sequences = Sequences::packed(vec![0, steps]).expect("ascending offsets");
    let data = Data::new(&instance, &sequences, 0);
    let mut expected_carry = data.carry.clone();
    let expected = interp::run(&instance, &data.bound, &sequences, &data.inputs, &mut expected_carry);
    let bound = Bound { params: rounded_all(&data.bound.params), initial: rounded_all(&data.bound.initial) };
    let inputs: Vec<Tensor<F>> = rounded_all(&data.inputs);
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_here()) {
        let kernel = kernel::<F>(&instance, isa);
        let what = format!("{} {dims:?} f{} {isa}", instance.layer.name, F::BITS);
        assert_eq!(phases_past(&kernel) > 0, past && isa != Isa::Narrow, "{what}");
        let mut runs = Vec::new();
        for threads in [1, 2, 3] {
            let mut carry = rounded_carry(&data.carry);
            runs.push(kernel.run(&bound, &sequences, &inputs, &mut carry, threads, &|_| {}).expect("they fit"));
        }
        assert!(runs.iter().all(|run| *run == runs[0]), "{what}");
        // In pieces, nothing is many.
        let mut carry = rounded_carry(&data.carry);
        let (half, mut at) = (steps.div_ceil(16), 0);
        while at < steps {
            let to = (at + half).min(steps);
            let part: Vec<Tensor<F>> = inputs.iter().map(|input| input.rows(at..to)).collect();
            let piece = Sequences::packed(vec![0, to - at]).expect("ascending offsets");
            let got = kernel.run(&bound, &piece, &part, &mut carry, 1, &|_| {}).expect("they fit");
            for (got, all) in got.iter().zip(&runs[0]) {
                assert_eq!(*got, all.rows(at..to), "{what} from {at}");
            }
            at = to;
        }
        for (got, expected) in runs[0].iter().zip(&expected) {
            near(&what, got, expected);
        }
    }
}

fn near<F: Real>(what: &str, got: &Tensor<F>, expected: &Tensor<f64>) {
    let bound = if F::BITS == 32 { 1e-4 } else { 1e-12 };
    let planes = |got: &[F], expected: &[f64]| {
        let largest = expected.iter().fold(1.0_f64, |m, x| m.max(x.abs()));
        for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
            let got: f64 = ssmc_runtime::Float::to_f64(*got);
            assert!((got - expected).abs() <= bound * largest, "{what}[{at}]: {got}, expected {expected}");
        }
    };
    match (&got.elements, &expected.elements) {
        (Elements::Real(got), Elements::Real(expected)) => planes(got, expected),
        (Elements::Complex { re, im }, Elements::Complex { re: a, im: b }) => {
            planes(re, a);
            planes(im, b);
        }
        _ => panic!("{what}: another element type"),
    }
}

#[test]
fn regions_write_past_the_caches() {
    agree::<f32>(DIAGONAL, &[64], 12_000, true);
    agree::<f64>(DIAGONAL, &[40], 9_000, true);
    // One vector a row, as a layer of one channel on lanes has it; two thirds of a line in a row.
    agree::<f32>(DIAGONAL, &[16], 50_000, true);
    agree::<f32>(DIAGONAL, &[24], 30_000, false);
}

#[test]
fn steps_behind_the_recurrence_do() {
    agree::<f32>(GATED, &[64], 9_000, true);
}

#[test]
fn planes_of_complex_outputs_do() {
    agree::<f32>(COMPLEX, &[32], 25_000, true);
}

#[test]
fn what_is_read_back_does_not() {
    agree::<f32>(READ, &[64], 18_000, false);
}

/// Only a prefetch may look behind the end of an input: without the selector's there is none.
#[test]
fn plain_code_loads_nothing_ahead_of_its_row() {
    for lanes in [4, 8, 16] {
        let text = jit::clif(&instance(DIAGONAL, &[lanes]), Form::Sequence, 32, Isa::Narrow).expect("it is planned");
        let far = |line: &str| line.split('+').skip(1).any(|rest| rest.trim().parse().is_ok_and(|n: i64| n >= 512));
        let loads: Vec<&str> = text.lines().filter(|line| line.contains("load") && far(line)).collect();
        assert!(loads.is_empty(), "{loads:?}");
    }
}
