//! Blocks of time against the interpreter: every form of a step, what stands around the blocks, and what is refused.
//!
//! Blocks run on the same numbers as the `f64` interpreter. An error in a state fades or stays as the state does, so the bound
//! grows with the steps, with the roundings of one of them, relative to the largest expected value.

#[allow(dead_code, reason = "other tests need more of it")]
#[path = "kernels/data.rs"]
mod data;

use data::{Data, compare, rounded_all, rounded_carry};
use ssmc::chunked::{self, Chunked};
use ssmc::diag::Code;
use ssmc::ir::{Instance, Layer, interp};
use ssmc::jit::Isa;
use ssmc::profile::Profile;
use ssmc::scan::{self, Plan};
use ssmc::{sema, syntax};
use ssmc_runtime::{Bound, Carry, Elements, Float, Sequences, Tensor};

/// Name, program (without `layer`), roundings of a step.
const CASES: &[(&str, &str, f64)] = &[
    (
        "decay by head",
        "{ input x[2, 7], a[2], b[2, 5], c[2, 5] state h[2, 7, 5] = 0.25
        h[g, p, n] <- sigmoid(a[g]) * h[g, p, n] + x[g, p] * b[g, n]
        output y[g, p] = sum[n](c[g, n] * h[g, p, n]) }",
        16.0,
    ),
    (
        "no decay, old state",
        "{ input q[5], k[5], v[18] state S[5, 18] = 0
        output y[j] = sum[i](q[i] * S[i, j]) / 3
        S[i, j] <- S[i, j] + 0.1 * k[i] * v[j] }",
        16.0,
    ),
    (
        "decay of 0",
        "{ input x[7], a, b[5], c[5] state h[7, 5] = 0.25
        h[p, n] <- max(a, 0) * h[p, n] + x[p] * b[n]
        output y[p] = sum[n](c[n] * h[p, n]) }",
        16.0,
    ),
    (
        "decay by key, old and new state",
        "{ input q[2, 20], k[2, 20], v[2, 3], a[2, 20] state S[2, 20, 3] = 0.5
        output before[h, j] = sum[i](q[h, i] * (S[h, i, j] + 0.5 * k[h, i] * v[h, j]))
        S[h, i, j] <- sigmoid(a[h, i]) * S[h, i, j] + k[h, i] * v[h, j]
        output after[j, h] = sum[i](q[h, i] * S[h, i, j]) }",
        16.0,
    ),
    (
        "decay of 0 by key",
        "{ input q[20], v[3], a[20] state S[20, 3] = 0.5
        S[i, j] <- max(a[i], 0) * S[i, j] + q[i] * v[j]
        output y[j] = sum[i](q[i] * S[i, j]) }",
        16.0,
    ),
    (
        "delta",
        "{ input k[2, 4], v[2, 3], beta[2] state S[2, 4, 3] = 0.5
        let error[h, j] = v[h, j] - sum[i](S[h, i, j] * k[h, i])
        S[h, i, j] <- S[h, i, j] + beta[h] * k[h, i] * error[h, j]
        output y[h, j] = sum[i](k[h, i] * S[h, i, j]) }",
        32.0,
    ),
    (
        "delta by channel, with its error",
        "{ input k[4], v[17], beta[17] state S[4, 17] = 0.5
        let error[j] = v[j] - sum[i](S[i, j] * k[i])
        S[i, j] <- S[i, j] + beta[j] * k[i] * error[j]
        output y[j] = sum[i](k[i] * S[i, j]) output error }",
        32.0,
    ),
    (
        "gated delta by key",
        "{ input k[20], v[3], beta, a[20] state S[20, 3] = 0.5
        S[i, j] <- sigmoid(a[i]) * S[i, j]
        let error[j] = v[j] - sum[i](S[i, j] * k[i])
        S[i, j] <- S[i, j] + 0.25 * beta * k[i] * error[j]
        output y[j] = sum[i](k[i] * S[i, j]) }",
        48.0,
    ),
    (
        "two deltas and a decay",
        "{ input k[2, 8], p[2, 8], v[2, 3], w[2, 3], a[2], q[2, 8] state S[2, 8, 3] = 0
        S[h, i, j] <- sigmoid(a[h]) * S[h, i, j]
        S[h, i, j] <- S[h, i, j] + 0.5 * k[h, i] * (v[h, j] - sum[l](k[h, l] * S[h, l, j]))
        S[h, i, j] <- S[h, i, j] + 0.5 * p[h, i] * (w[h, j] - sum[l](p[h, l] * S[h, l, j]))
        output y[h, j] = sum[i](q[h, i] * S[h, i, j]) }",
        64.0,
    ),
    (
        "before and behind the blocks",
        "{ param w[6, 4] input x[4] state g[6] = 0.5, S[6, 4] = 0
        let k[i] = sum[e](w[i, e] * x[e])
        g[i] <- 0.9 * g[i] + k[i]
        S[i, j] <- 0.8 * S[i, j] + tanh(g[i]) * past(x[j], 2)
        let y[j] = sum[i](k[i] * S[i, j])
        output z[j] = y[j] / (1 + sum[l](y[l]^2)) + past(x[j], 1) + past(x[j], 3) }",
        48.0,
    ),
    (
        "one behind the other",
        "{ input q[5], k[5], v[6], a state S[5, 6] = 0, T[6, 4] = 0, m[4] = 0
        S[i, j] <- 0.9 * S[i, j] + k[i] * v[j]
        let p[j] = softmax[j](sum[i](q[i] * S[i, j]))
        T[j, l] <- sigmoid(a) * T[j, l] + p[j] * k[l]
        let y[l] = sum[j](p[j] * T[j, l])
        m[l] <- 0.5 * m[l] + y[l] + past(v[l], 1)
        output y output m }",
        64.0,
    ),
    (
        "with a normaliser",
        "{ input q[5], k[5], v[3] state S[5, 3] = 0, z[5] = 0
        S[i, j] <- S[i, j] + exp(k[i]) * v[j] z[i] <- z[i] + exp(k[i])
        output o[j] = sum[i](exp(q[i]) * S[i, j]) / (sum[i](exp(q[i]) * z[i]) + 1)
        output z }",
        64.0,
    ),
    (
        "resets",
        "{ input x[3], b[5], go: bool state h[3, 5] = 0.25, n = 1 reset when go
        n <- 0.5 * n + (if first then 2 else 0)
        h[p, i] <- 0.9 * h[p, i] + n * x[p] * b[i]
        output y[p] = sum[i](b[i] * h[p, i]) + past(x[p], 1) }",
        32.0,
    ),
    (
        "resets, of a state behind",
        "{ input x[3], b[5], go: bool state h[3, 5] = 0.25, m[3] = 1 reset when go and x[0] > 0
        h[p, i] <- 0.9 * h[p, i] + x[p] * b[i]
        m[p] <- 0.5 * m[p] + sum[i](b[i] * h[p, i]) + past(x[p], 1)
        output m }",
        32.0,
    ),
    (
        "a mean, and ranks under a sum",
        "{ input q[2, 5], k[3, 2, 5], v[3, 2, 4], a[2] state S[2, 5, 4] = 0
        S[h, i, j] <- a[h] * S[h, i, j] + sum[r in 3](k[r, h, i] * v[r, h, j])
        output y[h, j] = mean[i](q[h, i] * S[h, i, j]) }",
        32.0,
    ),
    (
        "steps that are left out",
        "{ input q[2, 5], k[2, 5], v[2, 4], z[2], go: bool state S[2, 5, 4] = 0
        S[h, i, j] <- if go then S[h, i, j] else 0.5 * S[h, i, j] - k[h, i] * (v[h, j] + 1) / (2 + z[h] * z[h])
        output y[h, j] = sum[i](q[h, i] * S[h, i, j]) }",
        48.0,
    ),
    (
        "groups of heads",
        "{ input q[4, 5], k[2, 5], v[4, 3] state S[4, 5, 3] = 0
        S[h, i, j] <- 0.9 * S[h, i, j] + k[h // 2, i] * v[h, j]
        let twice[h, i] = 2 * q[h, i]
        output y[h, j] = sum[i](twice[h, i] * S[h, i, j] - q[h, i] * k[h // 2, i]) }",
        16.0,
    ),
];

/// Program (without `layer`), and a part of the reason why it cannot run in blocks.
const REFUSED: &[(&str, &str)] = &[
    ("{ input x state h = 0 h <- tanh(h) + x output h }", "`tanh` of a value"),
    ("{ input x[3] output y[i] = 2 * x[i] }", "the layer has no state"),
    ("{ input x[3], a[3] state h[3] = 0 h[i] <- a[i] * h[i] + x[i] output h }", "nothing reads it in a sum"),
    (
        "{ input x[3], a[3, 4], c[4] state h[3, 4] = 0 h[d, n] <- a[d, n] * h[d, n] + x[d]
        output y[d] = sum[n](c[n] * h[d, n]) }",
        "differ along all axes",
    ),
    (
        "{ input k[3], v[4] state S[3, 4] = 0 S[i, j] <- S[i, j] + k[i] * v[j]
        output y[j] = sum[i](k[i] * S[i, j]) output S }",
        "the state itself is an output",
    ),
    (
        "{ input k[3], v[4] state S[3, 4] = 0 S[i, j] <- S[i, j] + k[i] * v[j]
        output y[j] = sum[i](k[i] * S[i, j]) output z = max[i, j](S[i, j]) }",
        "it is read by element",
    ),
    (
        "{ input k[3], v[4] state S[3, 4] = 0 S[i, j] <- S[i, j] + k[i] * v[j]
        output y[j] = sum[i](k[i] * S[i, j]) output z[i] = sum[j](v[j] * S[i, j]) }",
        "in a sum over the same axis everywhere",
    ),
    (
        "{ input k[3], v[4] state S[3, 4] = 0 reverse S[i, j] <- S[i, j] + k[i] * v[j]
        output y[j] = sum[i](k[i] * S[i, j]) }",
        "from the last step to the first",
    ),
    (
        "{ input k[3]: complex, v[4] state S[3, 4]: complex = 0 S[i, j] <- S[i, j] + k[i] * v[j]
        output y[j] = re(sum[i](k[i] * S[i, j])) }",
        "it is complex",
    ),
    (
        "{ param A[3, 3] input x[3, 4], k[3] state S[3, 4] = 0
        S[i, j] <- sum[l](A[i, l] * S[l, j]) + x[i, j] output y[j] = sum[i](k[i] * S[i, j]) }",
        "dense",
    ),
    (
        "{ input k[3], v[4] state S[3, 4] = 0, T[3, 4] = 0 S[i, j] <- S[i, j] + T[i, j] + k[i] * v[j]
        T[i, j] <- T[i, j] - 0.1 * S[i, j] output y[j] = sum[i](k[i] * S[i, j]) }",
        "coupled with another state",
    ),
    (
        "{ input k[3], v[4] state S[3, 4] = 0 S[i, j] <- 0.9 * S[i, j]
        output y[j] = sum[i](k[i] * S[i, j]) S[i, j] <- S[i, j] + k[i] * v[j] }",
        "between two of its updates",
    ),
    (
        "{ input q[6, 3], k[2, 3], v[2, 4] state S[2, 3, 4] = 0 S[h, i, j] <- S[h, i, j] + k[h, i] * v[h, j]
        output y[g, j] = sum[i](q[g, i] * S[g // 3, i, j]) }",
        "an index that the state lacks",
    ),
    (
        "{ input k[3], v[4], go: bool state S[3, 4] = 0 reset when past(go, 2) S[i, j] <- S[i, j] + k[i] * v[j]
        output y[j] = sum[i](k[i] * S[i, j]) }",
        "delays decide",
    ),
    (
        "{ input k[3], v[4] state S[3, 4] = 0, m[3, 4] = 0 S[i, j] <- S[i, j] + k[i] * v[j]
        m[i, j] <- max(m[i, j], S[i, j]) output y[j] = sum[i](k[i] * S[i, j]) output z[j] = sum[i](k[i] * m[i, j]) }",
        "it is read by element",
    ),
    (
        "{ input k[4], v[4] state S[4, 4] = 0 S[i, j] <- S[i, j] + k[i] * v[j]
        let y[j] = sum[i](k[i] * S[i, j]) output z[j] = sum[i](y[i] * S[i, j]) }",
        "decides how it is read",
    ),
];

fn layer(text: &str) -> Layer {
    let (layers, problems) = sema::lower(&syntax::parse(text).0);
    assert!(problems.is_empty(), "{problems:?}\n{text}");
    layers.into_iter().next().expect("a layer")
}

fn instance(body: &str) -> Instance {
    Instance::new(layer(&format!("layer a {body}")), Vec::new()).expect("sizes that can be run")
}

fn compile<F: Float>(instance: &Instance, isa: Isa) -> Chunked<F> {
    chunked::compile(instance, isa).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// Two runs, the second from where the first ends; on one and on two threads.
fn against_interpreter<F: Float>(name: &str, body: &str, roundings: f64) {
    let instance = instance(body);
    // Blocks of steps are 32 long here.
    let packed = Sequences::packed(vec![0, 0, 1, 32, 32, 64, 97, 160]).expect("ascending offsets");
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_here()) {
        let chunked = compile::<F>(&instance, isa);
        let mut all = vec![packed.clone(), Sequences::batch(2, 33), Sequences::batch(0, 0)];
        if isa == Isa::widest() {
            all.extend([Sequences::batch(1, 1000), Sequences::batch(19, 40)]);
        }
        for sequences in all {
            let data = Data::new(&instance, &sequences, 3);
            let bound = Bound { params: rounded_all(&data.bound.params), initial: rounded_all(&data.bound.initial) };
            let inputs: Vec<Tensor<F>> = rounded_all(&data.inputs);
            let (mut truth, mut carry) = (data.carry.clone(), rounded_carry(&data.carry));
            let mut other: Carry<F> = carry.clone();
            for round in 0..2 {
                let what = format!("{name} {isa} f{}, {} rows, run {round}", F::BITS, sequences.total());
                let expected = interp::run(&instance, &data.bound, &sequences, &data.inputs, &mut truth);
                let got = chunked.run(&bound, &sequences, &inputs, &mut carry, 1, &|_| {}).expect("the tensors fit");
                let roundings = roundings * (1.0 + sequences.total() as f64);
                compare(&format!("{what} outputs"), &got, &expected, roundings);
                compare(&format!("{what} states"), &carry.states, &truth.states, roundings);
                compare(&format!("{what} delays"), &carry.delays, &truth.delays, roundings);
                assert_eq!(carry.steps, truth.steps, "{what}");
                let again = chunked.run(&bound, &sequences, &inputs, &mut other, 2, &|_| {}).expect("the tensors fit");
                assert_eq!(format!("{got:?}{carry:?}"), format!("{again:?}{other:?}"), "{what} on two threads");
            }
        }
    }
}

#[test]
fn blocks_in_f32_agree_with_the_interpreter() {
    CASES.iter().for_each(|(name, body, roundings)| against_interpreter::<f32>(name, body, *roundings));
}

#[test]
fn blocks_in_f64_agree_with_the_interpreter() {
    CASES.iter().for_each(|(name, body, roundings)| against_interpreter::<f64>(name, body, *roundings));
}

#[test]
fn what_has_no_blocks_is_refused_with_its_reason() {
    for (body, why) in REFUSED {
        let layer = layer(&format!("layer a {body}"));
        let refusal = chunked::refusal(&layer).unwrap_or_else(|| panic!("`{body}` runs in blocks"));
        assert_eq!(refusal.code, Code::S301, "{body}");
        assert!(refusal.message.contains(why), "{body}: {}", refusal.message);
        assert!(refusal.primary.is_some(), "{body}: it has a place");
        let plans = scan::plans(&layer);
        assert!(plans.iter().any(|(plan, why)| *plan == Plan::Chunked && why.is_some()), "{body}");
        let instance = Instance::new(layer, Vec::new()).expect("it has no sizes");
        let problems = chunked::compile::<f32>(&instance, Isa::widest()).err().expect("it is refused");
        assert_eq!(problems[0].message, refusal.message);
    }
}

/// What is infinite or no number before a reset is gone behind it, and nothing comes from a later step.
#[test]
fn what_is_not_finite_goes_no_further_than_in_order() {
    let instance = instance(
        "{ input x[3], b[5], go: bool state h[3, 5] = 0.5 reset when go
        h[p, i] <- 0.9 * h[p, i] + x[p] * b[i] output y[p] = sum[i](b[i] * h[p, i]) }",
    );
    let sequences = Sequences::batch(1, 80);
    for special in [f64::NAN, f64::INFINITY] {
        let mut data = Data::new(&instance, &sequences, 0);
        let Elements::Real(x) = &mut data.inputs[0].elements else { panic!("reals") };
        x[3 * 9 + 1] = special;
        data.inputs[2].elements = Elements::Bool((0..80).map(|t| u8::from(t == 17 || t == 50)).collect());
        let mut truth = data.carry.clone();
        let expected = interp::run(&instance, &data.bound, &sequences, &data.inputs, &mut truth);
        let chunked = compile::<f64>(&instance, Isa::widest());
        let got = chunked.run(&data.bound, &sequences, &data.inputs, &mut data.carry, 1, &|_| {}).expect("it fits");
        // Sums are in another order: what is infinite there may be no number here.
        let finite = |tensors: &[Tensor<f64>]| {
            let mut tensors = tensors.to_vec();
            for tensor in &mut tensors {
                let Elements::Real(x) = &mut tensor.elements else { panic!("reals") };
                x.iter_mut().filter(|x| !x.is_finite()).for_each(|x| *x = f64::NAN);
            }
            tensors
        };
        compare("outputs", &finite(&got), &finite(&expected), 400.0);
        compare("states", &finite(&data.carry.states), &finite(&truth.states), 400.0);
    }
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    let instance = instance(CASES[0].1);
    let sequences = Sequences::batch(1, 5);
    let data = Data::new(&instance, &sequences, 0);
    let chunked = compile::<f64>(&instance, Isa::widest());
    let mut carry = data.carry.clone();
    let short: Vec<Tensor<f64>> = data.inputs[1..].to_vec();
    assert!(chunked.run(&data.bound, &sequences, &short, &mut carry, 1, &|_| {}).is_err());
    assert_eq!(carry, data.carry, "nothing was computed");
}

/// `auto` takes blocks where they are predicted to be faster, which small states never are, and short runs are not looked at.
#[test]
fn auto_takes_blocks_by_their_price() {
    let text = "layer a(K, V) { input q[K], k[K], v[V], a state S[K, V] = 0
        S[i, j] <- sigmoid(a) * S[i, j] + k[i] * v[j] output y[j] = sum[i](q[i] * S[i, j]) }";
    let profile = Profile::reference();
    for (size, longest) in [(4, 1 << 16), (64, 1 << 14), (256, 1 << 14), (256, 1000), (384, 1 << 13)] {
        let instance = Instance::new(layer(text), vec![size, size]).expect("sizes that can be run");
        let extents = scan::Extents { sequences: 1, longest, threads: 1, bits: 32 };
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_here()) {
            let price =
                |plan| scan::price(plan, &instance, extents, isa, &profile).expect("a price").prediction.seconds();
            let faster = 1.2 * price(Plan::Chunked) < price(Plan::Sequential);
            let choice = scan::choose(&instance, extents, isa, &profile);
            let taken = choice.plan == Plan::Chunked;
            assert_eq!(taken, faster && longest >= 1 << 12, "{size}, {longest}, {isa}: {choice:?}");
            assert!(size > 4 || !taken, "{isa}: a small state");
        }
    }
}

/// A prediction is there for all, and grows with the run.
#[test]
fn blocks_have_a_price() {
    for (name, body, _) in CASES {
        let instance = instance(body);
        let price = |longest| {
            let extents = scan::Extents { sequences: 1, longest, threads: 1, bits: 32 };
            let priced = scan::price(Plan::Chunked, &instance, extents, Isa::widest(), &Profile::reference());
            priced.unwrap_or_else(|problems| panic!("{name}: {problems:?}")).prediction.seconds()
        };
        let (short, long) = (price(1 << 10), price(1 << 14));
        assert!(short > 0.0 && long > 8.0 * short && long < 32.0 * short, "{name}: {short}, {long}");
    }
}
