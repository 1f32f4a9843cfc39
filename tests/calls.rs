//! Calls that are short and many: what they need they have from the calls before, and nothing of that can be seen in results.

#![allow(unsafe_code, reason = "counts what the allocator is asked for")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[allow(dead_code, reason = "other tests need more of it")]
#[path = "kernels/data.rs"]
mod data;

use data::{Data, rounded_all, rounded_carry, rows};
use ssmc::ir::{Instance, interp};
use ssmc::jit::{self, Form};
use ssmc::{sema, syntax};
use ssmc_runtime::{Bound, Carry, Elements, Float, Sequences, Tensor};

thread_local! {
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, which counts how often each thread asks it for memory.
struct Counting;

impl Counting {
    fn count() {
        // A thread that ends has no counter any more.
        let _ = ASKED.try_with(|asked| asked.set(asked.get() + 1));
    }
}

// SAFETY: everything is the system's own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::count();
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often this thread asks for memory while it does that.
fn asked(action: impl FnOnce()) -> usize {
    let before = ASKED.get();
    action();
    ASKED.get() - before
}

/// Layers that bring what a call may have to prepare: parameters of which something is made, states in blocks that are padded,
/// values of a tile, delays, integers, a report.
const LAYERS: [(&str, &[i64]); 6] = [
    (
        "layer scalar {
            input x
            state h = 0
            h <- 0.5 * h + x
            output y = h
        }",
        &[],
    ),
    (
        "layer selective(D, N) {
            param A[D, N], bias[D]
            input x[D], dt[D], z[D], B[N], C[N]
            state h[D, N] = 0
            let step[d] = softplus(dt[d] + bias[d])
            h[d, n] <- exp(-step[d] * abs(A[d, n])) * h[d, n] + step[d] * x[d] * B[n]
            output y[d] = sum[n](C[n] * h[d, n]) * silu(z[d])
        }",
        &[19, 5],
    ),
    (
        "layer delayed(D) {
            input x[D]
            state h[D] = 0
            let u[d] = silu(x[d] + past(x[d], 3))
            h[d] <- 0.5 * h[d] + u[d]
            output y[d] = h[d] + past(u[d], 2)
        }",
        &[7],
    ),
    (
        "layer table(V, S) {
            param next[V, S]: index(S)
            input token: index(V), x
            state s: index(S) = 0, h = 0
            s <- next[token, s]
            h <- 0.5 * h + x
            output s, y = h
        }",
        &[40, 30],
    ),
    (
        "layer rotating(P, H) {
            param a[P]: complex, B[P, H]: complex
            input u[H]
            state x[P]: complex = 0
            x[p] <- 0.1 * a[p] * x[p] + sum[h](B[p, h] * u[h])
            output y[p] = re(x[p])
        }",
        &[9, 6],
    ),
    (
        "layer largest(D, E) {
            input x[D], z[E], w[E]
            state a[D] = 0, b[E] = 0
            a[d] <- sigmoid(x[d]) * a[d] + x[d]
            b[e] <- tanh(z[e]) * b[e] + w[e]
            output y[d] = a[d], m = max[e](b[e]), t[e] = softmax[e](b[e])
        }",
        &[5, 21],
    ),
];

fn instance(text: &str, dims: &[i64]) -> Instance {
    let (file, problems) = syntax::parse(text);
    assert!(problems.is_empty(), "{problems:?}");
    let (layers, problems) = sema::lower(&file);
    assert!(problems.is_empty(), "{problems:?}");
    Instance::new(layers[0].clone(), dims.to_vec()).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn near(what: &str, got: &[Tensor<f32>], expected: &[Tensor<f64>]) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let planes = |got: &[f32], expected: &[f64]| {
        let largest = expected.iter().fold(1.0_f64, |most, x| most.max(x.abs()));
        for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
            let off = (f64::from(*got) - expected).abs();
            assert!(off <= 1e-5 * largest, "{what}[{at}]: {got}, expected {expected}");
        }
    };
    for (got, expected) in got.iter().zip(expected) {
        assert_eq!(got.shape, expected.shape, "{what}");
        match (&got.elements, &expected.elements) {
            (Elements::Real(got), Elements::Real(expected)) => planes(got, expected),
            (Elements::Complex { re, im }, Elements::Complex { re: a, im: b }) => {
                planes(re, a);
                planes(im, b);
            }
            (Elements::Int(got), Elements::Int(expected)) => assert_eq!(got, expected, "{what}"),
            _ => panic!("{what}: another element type"),
        }
    }
}

fn bound(data: &Data) -> Bound<f32> {
    Bound { params: rounded_all(&data.bound.params), initial: rounded_all(&data.bound.initial) }
}

/// The same tensor with nothing but infinities, of which most sums and differences are no numbers.
fn infinite<F: Float>(tensor: &Tensor<F>) -> Tensor<F> {
    let all = |v: &[F]| vec![F::from_f64(f64::INFINITY); v.len()];
    let elements = match &tensor.elements {
        Elements::Real(v) => Elements::Real(all(v)),
        Elements::Complex { re, im } => Elements::Complex { re: all(re), im: all(im) },
        other => other.clone(),
    };
    Tensor { shape: tensor.shape.clone(), elements }
}

#[test]
fn a_step_allocates_nothing() {
    const STEPS: usize = 9;
    for (text, dims) in LAYERS {
        let instance = instance(text, dims);
        let name = &instance.layer.name;
        let data = Data::new(&instance, &Sequences::batch(1, STEPS), 0);
        let mut carry = data.carry.clone();
        let expected = interp::run(&instance, &data.bound, &Sequences::batch(1, STEPS), &data.inputs, &mut carry);
        let kernel = jit::compile::<f32>(&instance, Form::Step).expect("it compiles");
        let bound = bound(&data);
        let mut session = kernel.session(&bound, rounded_carry(&data.carry)).expect("the tensors fit");
        let mut outputs = session.blank_outputs();
        for step in 0..STEPS {
            let row: Vec<Tensor<f32>> =
                rounded_all::<f32>(&data.inputs).iter().map(|t| rows(t, step..step + 1)).collect();
            let count = asked(|| session.step(&row, &mut outputs).expect("the row fits"));
            assert_eq!(count, 0, "{name}: step {step} allocates");
            let row: Vec<Tensor<f64>> = expected.iter().map(|t| rows(t, step..step + 1)).collect();
            near(&format!("{name}, step {step}"), &outputs, &row);
        }
    }
}

#[test]
fn short_runs_allocate_nothing_but_the_first_time() {
    for (text, dims) in LAYERS {
        let instance = instance(text, dims);
        let name = &instance.layer.name;
        let kernel = jit::compile::<f32>(&instance, Form::Sequence).expect("it compiles");
        for sequences in [Sequences::batch(1, 1), Sequences::batch(1, 13), Sequences::batch(3, 7)] {
            let data = Data::new(&instance, &sequences, 0);
            let (bound, inputs) = (bound(&data), rounded_all::<f32>(&data.inputs));
            let mut carry = data.carry.clone();
            let expected = interp::run(&instance, &data.bound, &sequences, &data.inputs, &mut carry);
            for threads in [1, 2, 0] {
                let mut outputs = kernel.blank_outputs(&sequences);
                let mut carried: Carry<f32> = rounded_carry(&data.carry);
                let mut run = |carry: &mut Carry<f32>| {
                    let run = kernel.run_into(&bound, &sequences, &inputs, &mut outputs, carry, threads, &|_| {});
                    assert!(run.expect("the tensors fit").is_empty(), "{name}: nothing is reported");
                };
                run(&mut carried);
                let mut carried = rounded_carry(&data.carry);
                let count = asked(|| run(&mut carried));
                assert_eq!(count, 0, "{name}: a run of {} steps on {threads} threads", sequences.steps());
                near(name, &outputs, &expected);
                near(name, &carried.states, &carry.states);
                near(name, &carried.delays, &carry.delays);
            }
        }
    }
}

/// A run full of infinities before each.
#[test]
fn what_a_run_leaves_behind_is_not_seen_by_the_next() {
    for (text, dims) in LAYERS {
        let instance = instance(text, dims);
        let name = &instance.layer.name;
        let kernel = jit::compile::<f32>(&instance, Form::Sequence).expect("it compiles");
        for (seed, length) in [1, 2, 5, 40, 3, 1].into_iter().enumerate() {
            let sequences = Sequences::batch(2, length);
            let data = Data::new(&instance, &sequences, seed as u64);
            let (bound, inputs) = (bound(&data), rounded_all::<f32>(&data.inputs));
            let all = |tensors: &[Tensor<f32>]| tensors.iter().map(infinite).collect::<Vec<_>>();
            let mut carry: Carry<f32> = rounded_carry(&data.carry);
            carry.states = all(&carry.states);
            carry.delays = all(&carry.delays);
            let wild = Bound { params: all(&bound.params), initial: all(&bound.initial) };
            kernel.run(&wild, &sequences, &all(&inputs), &mut carry, 1, &|_| {}).expect("the tensors fit");

            let mut carry = data.carry.clone();
            let expected = interp::run(&instance, &data.bound, &sequences, &data.inputs, &mut carry);
            let mut carried = rounded_carry(&data.carry);
            let outputs = kernel.run(&bound, &sequences, &inputs, &mut carried, 1, &|_| {}).expect("the tensors fit");
            near(&format!("{name}, {length} steps"), &outputs, &expected);
            near(&format!("{name}, {length} steps, states"), &carried.states, &carry.states);
            near(&format!("{name}, {length} steps, delays"), &carried.delays, &carry.delays);
        }
    }
}
