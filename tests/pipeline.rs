//! Regions in which the first loop of a step runs with the last one of the step before, against the interpreter.

#[path = "kernels/agree.rs"]
mod agree;
#[allow(dead_code, reason = "other tests need more of it")]
#[path = "kernels/data.rs"]
mod data;

use agree::agrees;
use data::{Data, compare, rounded_all, rounded_carry, rows};
use ssmc::ir::{Instance, interp};
use ssmc::jit::{Form, Isa, Kernel, compile_for};
use ssmc::plan::{Plan, Target, plan};
use ssmc::{sema, syntax};
use ssmc_runtime::{Bound, Carry, Float, Sequences, Tensor};

const WIDE: Target = Target { bits: 32, width: 16, registers: 32 };

/// Layers whose states are passed over once a step, though it reads them before it writes over them. None can be run in blocks
/// of steps, but the first.
const CASES: &[(&str, &str)] = &[
    (
        "delta",
        "{ input q[2, 40], k[2, 40], v[2, 75], beta[2] state S[2, 40, 75] = 0.5
        let error[h, j] = v[h, j] - 0.2 * sum[i](S[h, i, j] * k[h, i])
        S[h, i, j] <- S[h, i, j] + 0.2 * beta[h] * k[h, i] * error[h, j]
        output y[h, j] = sum[i](q[h, i] * S[h, i, j]) }",
    ),
    (
        "an error that is not linear",
        "{ input q[40], k[40], v[64] state S[40, 64] = 0.5
        let error[j] = tanh(v[j] - sum[i](S[i, j] * k[i]))
        S[i, j] <- 0.9 * S[i, j] + k[i] * error[j]
        output y[j] = sum[i](q[i] * S[i, j]) }",
    ),
    (
        "an output of the state before",
        "{ input q[40], k[40], v[33] state S[40, 33] = 0.5
        output y[j] = sum[i](q[i] * S[i, j])
        output most[j] = max[i](S[i, j])
        S[i, j] <- tanh(S[i, j] + k[i] * v[j] - k[i] * y[j]) }",
    ),
    (
        "the same function of a state before and after",
        "{ input k[40], v[64] state S[40, 64] = 0.5
        let old[j] = sum[i](tanh(S[i, j]) * k[i])
        S[i, j] <- 0.5 * tanh(S[i, j]) + k[i] * (v[j] - 0.1 * old[j])
        output y[j] = sum[i](tanh(S[i, j])) }",
    ),
    (
        "a state that is returned as it was",
        "{ input k[40], v[32] state S[40, 32] = 0.5
        output S
        let old[j] = sum[i](S[i, j] * k[i])
        S[i, j] <- 0.9 * S[i, j] + k[i] * max(v[j] - old[j], 0) }",
    ),
    (
        "two states",
        "{ input k[40], v[20], u[20] state S[40, 20] = 0.5, M[40, 20] = 0, n[20] = 1
        let a[j] = sum[i](S[i, j] * k[i] + M[i, j])
        let b[j] = sum[i](M[i, j] * k[i])
        let c[j] = tanh(v[j] - 0.1 * a[j])
        let d[j] = sin(u[j] - 0.1 * b[j] * n[j])
        S[i, j] <- 0.9 * S[i, j] + k[i] * c[j]
        M[i, j] <- 0.5 * M[i, j] + k[i] * d[j]
        n[j] <- 0.5 * n[j] + 0.1 * cos(a[j])
        output y[j] = sum[i](S[i, j] * M[i, j]) + n[j] }",
    ),
    (
        "complex",
        "{ input k[40]: complex, v[20] state S[40, 20]: complex = 0.5
        let e[j] = tanh(v[j] - 0.1 * re(sum[i](S[i, j] * k[i])))
        S[i, j] <- 0.9 * cis(0.1) * S[i, j] + conj(k[i]) * e[j]
        output y[j] = sum[i](S[i, j] * k[i]) }",
    ),
];

/// Layers in which the loops of two steps stay apart, and why.
const APART: &[(&str, &str)] = &[
    (
        "what is read is another element",
        "{ input k[40], v[64] state S[40, 64] = 0.5
        let old[j] = sum[i](S[39 - i, j] * k[i])
        S[i, j] <- 0.9 * S[i, j] + k[i] * tanh(v[j] - 0.1 * old[j])
        output y[j] = sum[i](S[i, j]) }",
    ),
    (
        "the first loop reads what the step before leaves last",
        "{ input k[40], v[64] state S[40, 64] = 0.5, n[64] = 0
        let old[j] = sum[i](tanh(S[i, j] + n[j]) * k[i])
        S[i, j] <- 0.9 * S[i, j] + k[i] * tanh(v[j] - 0.1 * old[j])
        n[j] <- sum[i](S[i, j]) / 40
        output n }",
    ),
    (
        "the first loop asks which step it is",
        "{ input k[40], v[64] state S[40, 64] = 0.5
        let old[j] = sum[i](if first then 0 else S[i, j] * k[i])
        S[i, j] <- 0.9 * S[i, j] + k[i] * tanh(v[j] - 0.1 * old[j])
        output y[j] = sum[i](S[i, j]) }",
    ),
    (
        "one loop",
        "{ input b[40], c[40], x[64] state h[64, 40] = 0
        h[p, n] <- 0.9 * tanh(h[p, n]) + x[p] * b[n]
        output y[p] = sum[n](c[n] * h[p, n]) }",
    ),
];

fn instance(body: &str) -> Instance {
    let text = format!("layer a {body}");
    let (layers, problems) = sema::lower(&syntax::parse(&text).0);
    assert!(problems.is_empty(), "{problems:?}\n{text}");
    Instance::new(layers.into_iter().next().expect("a layer"), Vec::new()).expect("sizes that can be run")
}

fn planned(body: &str, form: Form) -> Plan {
    plan(&instance(body), form, WIDE).expect("it is planned")
}

/// How many regions have loops of two steps in one.
fn pipelined(plan: &Plan) -> usize {
    plan.to_string().matches("between two steps").count()
}

#[test]
fn loops_of_two_steps_are_one_where_that_is_sound() {
    for (name, body) in CASES {
        let plan = planned(body, Form::Sequence);
        assert_eq!(pipelined(&plan), 1, "{name}:\n{plan}");
        let plan = planned(body, Form::Step);
        assert_eq!(pipelined(&plan), 0, "{name}: a step kernel has one step\n{plan}");
    }
    for (name, body) in APART {
        let plan = planned(body, Form::Sequence);
        assert_eq!(pipelined(&plan), 0, "{name}:\n{plan}");
    }
}

fn against_interpreter<F: Float>(name: &str, body: &str) {
    let packed = Sequences::packed(vec![0, 0, 1, 3, 6, 11, 75]).expect("ascending offsets");
    let all = [packed, Sequences::batch(2, 33), Sequences::batch(1, 2), Sequences::batch(1, 150)];
    agrees::<F>(name, &instance(body), &all);
}

#[test]
fn kernels_in_f32_agree_with_the_interpreter() {
    CASES.iter().chain(APART).for_each(|(name, body)| against_interpreter::<f32>(name, body));
}

#[test]
fn kernels_in_f64_agree_with_the_interpreter() {
    CASES.iter().chain(APART).for_each(|(name, body)| against_interpreter::<f64>(name, body));
}

/// Heads with rows on pages of their own, in blocks of lanes of which the last is not full. What is read ahead of the recurrence is
/// asked for a tile before, behind the last row too.
const FAR: &str = "{
    input q[8, 64], k[8, 64], v[8, 80], beta[8] state S[8, 64, 80] = 0.5
    let length[h] = sqrt(sum[i](k[h, i]^2) + 1)
    let error[h, j] = 0.2 * tanh(v[h, j] - beta[h] * sum[i](S[h, i, j] * k[h, i]) / length[h])
    S[h, i, j] <- S[h, i, j] + k[h, i] * error[h, j]
    output y[h, j] = sum[i](q[h, i] * S[h, i, j])
}";

#[test]
fn what_comes_from_far_is_asked_for_a_tile_before() {
    let asks = |body: &str, form| planned(body, form).to_string().contains("asks for the next tile of k\n");
    assert!(asks(FAR, Form::Sequence), "{}", planned(FAR, Form::Sequence));
    assert!(!asks(FAR, Form::Step), "a step is no tile");
    assert!(!asks(&FAR.replace('8', "4"), Form::Sequence), "rows on one page follow each other");
    assert!(
        !asks(&FAR.replace("sum[i](k[h, i]^2)", "beta[h]^2"), Form::Sequence),
        "nothing ahead of the recurrence reads k"
    );
    let instance = instance(FAR);
    let sequences = Sequences::batch(2, 21);
    let data = Data::new(&instance, &sequences, 3);
    let bound = Bound { params: Vec::new(), initial: rounded_all(&data.bound.initial) };
    let inputs: Vec<Tensor<f32>> = rounded_all(&data.inputs);
    let mut truth = data.carry.clone();
    let expected = interp::run(&instance, &data.bound, &sequences, &data.inputs, &mut truth);
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_here()) {
        let kernel: Kernel<f32> = compile_for(&instance, Form::Sequence, isa).expect("it compiles");
        for threads in [1, 2] {
            let mut carry = rounded_carry(&data.carry);
            let got = kernel.run(&bound, &sequences, &inputs, &mut carry, threads, &|_| {}).expect("the tensors fit");
            compare(&format!("{isa}, {threads} threads, outputs"), &got, &expected, 1e4);
            compare(&format!("{isa}, {threads} threads, states"), &carry.states, &truth.states, 1e4);
        }
    }
}

/// A piece begins and ends with whole states, wherever it is cut.
#[test]
fn pieces_agree_with_the_whole_to_the_bit() {
    for (name, body) in &CASES[1..] {
        let instance = instance(body);
        let kernel: Kernel<f64> = compile_for(&instance, Form::Sequence, Isa::widest()).expect("it compiles");
        let whole = Sequences::batch(1, 90);
        let data = Data::new(&instance, &whole, 5);
        let (mut carry, mut parts) = (data.carry.clone(), data.carry.clone());
        let run = |inputs: &[Tensor<f64>], carry: &mut Carry<f64>| {
            let sequences = Sequences::batch(1, inputs[0].shape[0]);
            kernel.run(&data.bound, &sequences, inputs, carry, 1, &|_| {}).expect("the tensors fit")
        };
        let expected = run(&data.inputs, &mut carry);
        for range in [0..1, 1..3, 3..8, 8..73, 73..90] {
            let inputs: Vec<_> = data.inputs.iter().map(|tensor| rows(tensor, range.clone())).collect();
            let got = run(&inputs, &mut parts);
            let expected: Vec<_> = expected.iter().map(|tensor| rows(tensor, range.clone())).collect();
            assert_eq!(got, expected, "{name} {range:?}");
        }
        assert_eq!(parts.states, carry.states, "{name}");
    }
}
