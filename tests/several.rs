//! Several steps as one against the interpreter: the layer that is made, and the kernels that run it.

#[path = "kernels/agree.rs"]
mod agree;
#[allow(dead_code, reason = "other tests need more of it")]
#[path = "kernels/data.rs"]
mod data;

use agree::agrees;
use data::{Data, compare, rows};
use ssmc::chunked::several;
use ssmc::ir::{Instance, interp};
use ssmc::jit::{Form, Isa, Kernel, compile_for, plan_text};
use ssmc::plan::Target;
use ssmc::{sema, syntax};
use ssmc_runtime::{Elements, Float, Sequences, Tensor};

/// Name, program (without `layer`).
const CASES: &[(&str, &str)] = &[
    (
        "decay by head",
        "{ input x[3, 33], dt[3], a[3], b[24], c[24] state h[3, 33, 24] = 0.25
        h[g, p, n] <- sigmoid(a[g]) * h[g, p, n] + dt[g] * x[g, p] * b[n]
        output y[g, p] = sum[n](c[n] * h[g, p, n]) }",
    ),
    (
        "no decay, old state",
        "{ input q[25], k[25], v[40] state S[25, 40] = 0
        output y[j] = sum[i](q[i] * S[i, j]) / 3
        S[i, j] <- S[i, j] + 0.1 * k[i] * v[j] }",
    ),
    (
        "decay by key, old and new state",
        "{ input q[2, 24], k[2, 24], v[2, 16], a[2, 24] state S[2, 24, 16] = 0.5
        output before[h, j] = sum[i](q[h, i] * (S[h, i, j] + 0.5 * k[h, i] * v[h, j]))
        S[h, i, j] <- sigmoid(a[h, i]) * S[h, i, j] + k[h, i] * v[h, j]
        output after[j, h] = sum[i](q[h, i] * S[h, i, j]) }",
    ),
    (
        "decay of 0",
        "{ input x[32], a, b[24], c[24] state h[32, 24] = 0.25
        h[p, n] <- max(a, 0) * h[p, n] + x[p] * b[n]
        output y[p] = sum[n](c[n] * h[p, n]) }",
    ),
    (
        "delta",
        "{ input q[2, 24], k[2, 24], v[2, 35], beta[2] state S[2, 24, 35] = 0.5
        let error[h, j] = v[h, j] - 0.2 * sum[i](S[h, i, j] * k[h, i])
        S[h, i, j] <- S[h, i, j] + 0.2 * beta[h] * k[h, i] * error[h, j]
        output y[h, j] = sum[i](q[h, i] * S[h, i, j]) }",
    ),
    (
        "delta by channel, its error alone",
        "{ input k[26], v[17], beta[17] state S[26, 17] = 0.5
        let error[j] = v[j] - 0.2 * sum[i](S[i, j] * k[i])
        S[i, j] <- S[i, j] + 0.2 * beta[j] * k[i] * error[j] output error }",
    ),
    (
        "gated delta by key",
        "{ input k[24], v[48], beta, a[24] state S[24, 48] = 0.5
        S[i, j] <- sigmoid(a[i]) * S[i, j]
        let error[j] = v[j] - 0.2 * sum[i](S[i, j] * k[i])
        S[i, j] <- S[i, j] + 0.25 * beta * k[i] * error[j]
        output y[j] = sum[i](k[i] * S[i, j]) }",
    ),
    (
        "two updates, one behind the other",
        "{ input k[2, 24], v[2, 16] state S[24, 16] = 0.5
        let e[j] = v[0, j] - 0.1 * sum[i](S[i, j] * k[0, i])
        S[i, j] <- S[i, j] + 0.1 * k[0, i] * e[j]
        let f[j] = v[1, j] - 0.1 * sum[i](S[i, j] * k[1, i])
        S[i, j] <- S[i, j] + 0.1 * k[1, i] * f[j]
        output y[j] = sum[i](k[0, i] * S[i, j]) }",
    ),
];

/// What is run step by step, and why.
const APART: &[(&str, &str)] = &[
    (
        "a state in registers",
        "{ input b[8], x[64] state h[64, 8] = 0 h[p, n] <- 0.9 * h[p, n] + x[p] * b[n]
        output y[p] = sum[n](b[n] * h[p, n]) }",
    ),
    (
        "a reset",
        "{ input b[32], x[64], go: bool state h[64, 32] = 0 reset when go
        h[p, n] <- 0.9 * h[p, n] + x[p] * b[n] output y[p] = sum[n](b[n] * h[p, n]) }",
    ),
    (
        "the first step",
        "{ input b[32], x[64] state h[64, 32] = 0
        h[p, n] <- (if first then 1 else 0.9) * h[p, n] + x[p] * b[n] output y[p] = sum[n](b[n] * h[p, n]) }",
    ),
    (
        "a delay",
        "{ input b[32], x[64] state h[64, 32] = 0
        h[p, n] <- 0.9 * h[p, n] + past(x[p], 1) * b[n] output y[p] = sum[n](b[n] * h[p, n]) }",
    ),
];

fn instance(body: &str) -> Instance {
    let text = format!("layer a {body}");
    let (layers, problems) = sema::lower(&syntax::parse(&text).0);
    assert!(problems.is_empty(), "{problems:?}\n{text}");
    Instance::new(layers.into_iter().next().expect("a layer"), Vec::new()).expect("sizes that can be run")
}

/// The rows `step`, `step + steps`, .. of a tensor.
fn every(tensor: &Tensor<f64>, step: usize, steps: usize) -> Tensor<f64> {
    let size: usize = tensor.shape[1..].iter().product();
    let Elements::Real(all) = &tensor.elements else { panic!("the cases have real inputs") };
    let rows: Vec<f64> = all.chunks(size).skip(step).step_by(steps).flatten().copied().collect();
    let shape = [tensor.shape[0] / steps].iter().chain(&tensor.shape[1..]).copied().collect();
    Tensor { shape, elements: Elements::Real(rows) }
}

#[test]
fn the_interpreter_agrees_with_itself() {
    for (name, body) in CASES {
        let one = instance(body);
        let mut counts = Vec::new();
        for (width, registers) in [(4, 16), (4, 32), (16, 32)] {
            let Some(more) = several(&one, Target { bits: 32, width, registers }) else { continue };
            let steps = more.steps;
            counts.push(steps);
            let (short, long) = (Sequences::batch(2, 3), Sequences::batch(2, 3 * steps));
            let data = Data::new(&one, &long, 3);
            let (mut truth, mut carry) = (data.carry.clone(), data.carry.clone());
            let expected = interp::run(&one, &data.bound, &long, &data.inputs, &mut truth);
            let apart = |tensors: &[Tensor<f64>]| -> Vec<Tensor<f64>> {
                tensors.iter().flat_map(|tensor| (0..steps).map(|step| every(tensor, step, steps))).collect()
            };
            let got = interp::run(&more, &data.bound, &short, &apart(&data.inputs), &mut carry);
            compare(&format!("{name}, {steps} steps"), &got, &apart(&expected), 1e4);
            compare(&format!("{name}, {steps} steps, states"), &carry.states, &truth.states, 1e4);
        }
        assert!(!counts.is_empty(), "{name}");
    }
}

fn against_interpreter<F: Float>(name: &str, body: &str) {
    let packed = Sequences::packed(vec![0, 0, 1, 4, 9, 11, 32, 97]).expect("ascending offsets");
    let all = [packed, Sequences::batch(2, 33), Sequences::batch(1, 3), Sequences::batch(1, 260)];
    agrees::<F>(name, &instance(body), &all);
}

#[test]
fn kernels_in_f32_agree_with_the_interpreter() {
    CASES.iter().for_each(|(name, body)| against_interpreter::<f32>(name, body));
}

#[test]
fn kernels_in_f64_agree_with_the_interpreter() {
    CASES.iter().for_each(|(name, body)| against_interpreter::<f64>(name, body));
}

/// What comes in pieces is told apart where a piece ends, not where several steps do.
#[test]
fn pieces_of_any_length_agree_with_the_whole() {
    let instance = instance(CASES[4].1);
    let kernel: Kernel<f64> = compile_for(&instance, Form::Sequence, Isa::widest()).expect("it compiles");
    let whole = Sequences::batch(1, 50);
    let data = Data::new(&instance, &whole, 5);
    let (mut truth, mut carry) = (data.carry.clone(), data.carry.clone());
    let expected = interp::run(&instance, &data.bound, &whole, &data.inputs, &mut truth);
    for range in [0..1, 1..8, 8..11, 11..50] {
        let inputs: Vec<_> = data.inputs.iter().map(|tensor| rows(tensor, range.clone())).collect();
        let piece = Sequences::batch(1, range.len());
        let got = kernel.run(&data.bound, &piece, &inputs, &mut carry, 1, &|_| {}).expect("the tensors fit");
        let expected: Vec<_> = expected.iter().map(|tensor| rows(tensor, range.clone())).collect();
        compare(&format!("{range:?}"), &got, &expected, 1e4);
    }
    compare("states", &carry.states, &truth.states, 1e4);
}

#[test]
fn what_gains_nothing_is_run_step_by_step() {
    let target = Target { bits: 32, width: 16, registers: 32 };
    for (name, body) in APART {
        assert!(several(&instance(body), target).is_none(), "{name}");
    }
    let text = plan_text(&instance(CASES[4].1), Form::Step, 32, Isa::widest()).expect("it is planned");
    assert_eq!(text.matches("plan a").count(), 1, "a step kernel takes one step:\n{text}");
}
