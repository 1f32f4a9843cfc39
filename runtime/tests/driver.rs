//! The driver with kernels written by hand.
//!
//! The layer is `h <- h + p * x + past(x, 2)`, `output y = h`: one parameter, one input, one state, one delay of depth
//! 2, one output, all scalars.

#![allow(unsafe_code, reason = "kernels are machine code as far as the driver knows")]

use ssmc_runtime::driver::SPLIT;
use ssmc_runtime::kernel::{Arguments, Buffer, DelayLine, Kind, PassSignature, Signature, Slot, Tensors};
use ssmc_runtime::{Bound, Carry, Code, Elements, Run, RunError, Sequences, Tensor};

/// # Safety
/// As in the table of `ssmc_runtime::kernel`, for the slots of [`signature`].
unsafe extern "C" fn forward(arguments: *const Arguments) {
    // SAFETY: the driver hands over the slots in the order of the signature, for `begin..end` inside the sequence.
    unsafe {
        let Arguments { pointers, begin, end, number, .. } = arguments.read();
        let slot = |n: usize| pointers.add(n).read().cast::<f64>();
        let (p, x, y, h, ring) = (slot(0), slot(1), slot(2), slot(3), slot(4));
        for t in begin as usize..end as usize {
            let step = number as usize + t;
            *ring.add(step % 3) = *x.add(t);
            *h += *p * *x.add(t) + *ring.add((step + 1) % 3);
            *y.add(t) = *h;
        }
    }
}

fn scalar(name: &str, kind: Kind) -> Tensors {
    Tensors { name: name.to_owned(), kind, shape: vec![], below: None }
}

fn signature(step: bool) -> Signature {
    let buffers = [Buffer::Param(0), Buffer::Input(0), Buffer::Output(0), Buffer::State(0), Buffer::Delay(0)];
    let slots = buffers.into_iter().map(|buffer| Slot { buffer, imaginary: false }).collect();
    let mut pass = PassSignature::plain(slots);
    // So much that other threads are asked.
    pass.phases[0].work = SPLIT;
    Signature {
        bits: 64,
        step,
        params: vec![scalar("p", Kind::Real)],
        inputs: vec![scalar("x", Kind::Real)],
        states: vec![scalar("h", Kind::Real)],
        delays: vec![DelayLine { slice: scalar("delay.0", Kind::Real), depth: 2 }],
        outputs: vec![scalar("y", Kind::Real)],
        kept: vec![],
        reports: 0,
        prologue: None,
        passes: vec![pass],
    }
}

fn reals(shape: &[usize], v: &[f64]) -> Tensor<f64> {
    Tensor { shape: shape.to_vec(), elements: Elements::Real(v.to_vec()) }
}

fn carry(n: usize) -> Carry<f64> {
    Carry {
        steps: vec![0; n],
        states: vec![reals(&[n], &vec![1.0; n])],
        delays: vec![reals(&[n, 2], &vec![0.0; 2 * n])],
    }
}

fn code(step: bool) -> Code {
    // SAFETY: `forward` is a kernel for this signature.
    unsafe { Code::new(signature(step), vec![forward]) }
}

fn run(
    code: &Code,
    sequences: &Sequences,
    x: &[f64],
    carry: &mut Carry<f64>,
    threads: usize,
) -> Result<Vec<f64>, RunError> {
    let bound = &Bound { params: vec![reals(&[], &[10.0])], initial: vec![reals(&[], &[1.0])] };
    let inputs = &[reals(&[x.len()], x)];
    let outputs = &mut code.signature().blank_outputs(sequences.total());
    code.run(Run { bound, sequences, inputs, outputs, carry, threads, progress: &|_| {} })?;
    match &outputs[0].elements {
        Elements::Real(v) => Ok(v.clone()),
        _ => panic!("the output is real"),
    }
}

fn expected(x: &[f64]) -> Vec<f64> {
    let mut h = 1.0;
    (0..x.len())
        .map(|t| {
            h += 10.0 * x[t] + if t >= 2 { x[t - 2] } else { 0.0 };
            h
        })
        .collect()
}

#[test]
fn packed_sequences_run_apart_on_any_number_of_threads() {
    let x: Vec<f64> = (0..20).map(f64::from).collect();
    let sequences = Sequences::packed(vec![0, 7, 7, 8, 20]).expect("ascending offsets");
    let all: Vec<f64> = (0..4).flat_map(|s| expected(&x[sequences.range(s)])).collect();
    for threads in [0, 1, 2, 3] {
        for step in [false, true] {
            let mut carry = carry(4);
            assert_eq!(run(&code(step), &sequences, &x, &mut carry, threads).as_ref(), Ok(&all));
            assert_eq!(carry.steps, [7, 0, 1, 12]);
            assert_eq!(carry.delays[0], reals(&[4, 2], &[6.0, 5.0, 0.0, 0.0, 7.0, 0.0, 19.0, 18.0]));
        }
    }
}

#[test]
fn pieces_are_joined_by_the_carry() {
    // What one run leaves to the next is nothing that this could see.
    let code = &code(false);
    let x: Vec<f64> = (0..9).map(|n| f64::from(n * n)).collect();
    let whole = expected(&x);
    for cut in 0..=9 {
        let mut carry = carry(1);
        let mut got = run(code, &Sequences::batch(1, cut), &x[..cut], &mut carry, 1).expect("the tensors fit");
        got.extend(run(code, &Sequences::batch(1, 9 - cut), &x[cut..], &mut carry, 1).expect("the tensors fit"));
        assert_eq!(got, whole, "cut at {cut}");
    }
}

#[test]
fn long_sequences_report_progress() {
    let x = vec![1.0; 10_000];
    let mut carry = carry(1);
    let got = run(&code(false), &Sequences::batch(1, x.len()), &x, &mut carry, 1).expect("the tensors fit");
    assert_eq!(got, expected(&x));
}

#[test]
fn what_does_not_fit_is_refused_before_anything_runs() {
    let mut broken = carry(1);
    broken.delays[0].shape = vec![1, 3];
    let error = run(&code(false), &Sequences::batch(1, 2), &[1.0, 2.0], &mut broken, 1).expect_err("it does not fit");
    assert_eq!(error.to_string(), "`delay.0`: expected [1, 2], found [1, 3]");
    let error = run(&code(false), &Sequences::batch(1, 3), &[1.0, 2.0], &mut carry(1), 1).expect_err("it does not fit");
    assert_eq!(error.to_string(), "`x`: expected [3], found [2]");
}
