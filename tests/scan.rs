//! Scans against the interpreter: every class, and what a stretch has to start with.
//!
//! The scan runs on the same numbers as the `f64` interpreter. An error in a state fades or stays as the state does, so the
//! bound grows with the steps, with the roundings of one of them, relative to the largest expected value.

#[allow(dead_code, reason = "other tests need more of it")]
#[path = "kernels/data.rs"]
mod data;

use std::sync::atomic::{AtomicU64, Ordering};

use data::{Data, compare, rounded_all, rounded_carry};
use ssmc::analysis::verdict::{Class, judge};
use ssmc::ir::{Instance, Layer, interp};
use ssmc::jit::Isa;
use ssmc::profile::Profile;
use ssmc::scan::{self, Options, Plan, Scan};
use ssmc::{sema, syntax};
use ssmc_runtime::{Bound, Carry, Elements, Float, Sequences, Tensor};

/// Name, class of the last group, program (without `layer`), roundings of a step.
const CASES: &[(&str, Class, &str, f64)] = &[
    (
        "decay",
        Class::AffineDiagonal,
        "{ input x[3], g[3] state h[3] = 0.3
        h[i] <- sigmoid(g[i]) * h[i] + x[i] output h }",
        8.0,
    ),
    (
        "ema",
        Class::AffineDiagonal,
        "{ param a = 0.9 input x state h = 1 h <- a * h + (1 - a) * x output y = 2 * h }",
        8.0,
    ),
    (
        "phasor",
        Class::AffineDiagonal,
        "{ input x[2]: complex, p[2] state z[2]: complex = 1i
        z[i] <- 0.9 * cis(p[i]) * z[i] + x[i] output z }",
        16.0,
    ),
    ("biquad", Class::AffineDense, BIQUAD, 16.0),
    (
        "dense",
        Class::AffineDense,
        "{ param A[4, 4] input x[4], g state h[4] = 1
        h[i] <- g * sum[j](A[i, j] * h[j]) + x[i] output h }",
        32.0,
    ),
    (
        "fixed",
        Class::AffineDense,
        "{ param A[4, 4] input x[4] state h[4] = 1
        h[i] <- 0.5 * sum[j](A[i, j] * h[j]) + x[i] output h }",
        32.0,
    ),
    (
        "conjugate",
        Class::AffineDense,
        "{ input x: complex, g state z: complex = 1
        z <- 0.5 * z + 0.4 * g * conj(z) + x output z }",
        24.0,
    ),
    (
        "parts",
        Class::AffineDense,
        "{ input g[3], x[5] state z[3, 5]: complex = 1
        z[n, m] <- 0.9 * cos(g[n]) * conj(z[n, m]) + x[m] output z }",
        24.0,
    ),
    (
        "delta",
        Class::AffineLowRank,
        "{ input k[4], v[3], beta state S[4, 3] = 0.5
        S[i, j] <- S[i, j] - beta * k[i] * sum[l](k[l] * S[l, j]) + beta * k[i] * v[j]
        output y[j] = sum[i](k[i] * S[i, j]) }",
        32.0,
    ),
    (
        "gated delta",
        Class::AffineLowRank,
        "{ input k[4], v[3], beta, a[4] state S[4, 3] = 0.5
        S[i, j] <- sigmoid(a[i]) * S[i, j] - beta * k[i] * sum[l](k[l] * S[l, j]) + beta * k[i] * v[j]
        output y[j] = sum[i](k[i] * S[i, j]) }",
        32.0,
    ),
    (
        "viterbi",
        Class::MaxPlus,
        "{ input a[3, 3], b[3] state v[3] = 0 v[j] <- max[i](v[i] + a[i, j]) + b[j] output v }",
        8.0,
    ),
    ("lowest", Class::MinPlus, "{ input x state m = 3 m <- min(m + 0.25, x) output m }", 4.0),
    (
        "forward",
        Class::LogSumExp,
        "{ param a[3, 3] input b[3] state v[3] = 0
        v[j] <- logsumexp[i](v[i] + a[i, j]) + b[j] output v }",
        32.0,
    ),
    (
        "reach",
        Class::Bool,
        "{ input e[3, 3]: bool state r[3]: bool = true
        r[j] <- max[i](r[i] and e[i, j]) output r }",
        1.0,
    ),
    (
        "automaton",
        Class::FiniteMap,
        "{ param next[3, 5]: index(5) input tok: index(3) state s: index(5) = 2
        s <- next[tok, s] output s }",
        1.0,
    ),
    (
        "gates",
        Class::FiniteMap,
        "{ input x: index(4) state s: index(4) = 1, up: bool
        let old = s s <- if up then (s + x) % 4 else s up <- old > x output s, up }",
        1.0,
    ),
    (
        "two groups",
        Class::AffineDiagonal,
        "{ input x[2] state a[2] = 0.5, b[2] = 0.25
        a[i] <- 0.8 * a[i] + x[i] b[i] <- sigmoid(a[i]) * b[i] + tanh(a[i]) output y[i] = a[i] * b[i] }",
        32.0,
    ),
    (
        "delays",
        Class::AffineDiagonal,
        "{ input x[2] state h[2] = 0
        let w[i] = sum[k in 3](past(x[i], k + 1) / (k + 2)) + past(past(x[i], 1) * x[i], 2)
        h[i] <- 0.7 * h[i] + w[i] output y[i] = h[i] + past(x[i], 2) }",
        32.0,
    ),
    (
        "first",
        Class::AffineDiagonal,
        "{ input x state h = 9 h <- if first then x else 0.5 * h + past(x, 1) output h }",
        8.0,
    ),
    (
        "resets",
        Class::AffineDiagonal,
        "{ input x[2], go: bool state h[2] = 0.5 reset when go
        h[i] <- 0.9 * h[i] + past(x[i], 2) + (if first then 1 else 0) output h }",
        16.0,
    ),
    (
        "dense resets",
        Class::AffineDense,
        "{ param A[3, 3] input x[3], go: bool state h[3] = 1 reset when go
        h[i] <- 0.5 * sum[j](A[i, j] * h[j]) + x[i] output h }",
        32.0,
    ),
    (
        "map resets",
        Class::FiniteMap,
        "{ input tok: index(3), go: bool state s: index(7) = 4 reset when go
        s <- (s * 2 + tok) % 7 output s }",
        1.0,
    ),
    (
        "large map",
        Class::FiniteMap,
        "{ input tok: index(3) state s: index(19) = 4
        s <- (s * 2 + tok) % 19 output s }",
        1.0,
    ),
    (
        "map, then decay",
        Class::AffineDiagonal,
        "{ param a = 0.9 input x[3], tok: index(3) state s: index(5) = 2, up: bool, h[3] = 0.5
        s <- (s * 2 + tok) % 5 up <- up != (tok == 2)
        h[i] <- (if s == 1 then 0.5 else a) * h[i] + x[i] output h, s, up }",
        8.0,
    ),
    (
        "map without outputs",
        Class::FiniteMap,
        "{ input tok: index(3), go: bool state s: index(7) = 4, odd: bool reset when go
        s <- (s * 2 + tok) % 7 odd <- odd != (tok == 1) }",
        1.0,
    ),
    (
        "max resets",
        Class::MaxPlus,
        "{ input x, go: bool state m = 3 reset when go m <- max(m - 0.25, x) output m }",
        4.0,
    ),
    (
        "resets by delays",
        Class::AffineDiagonal,
        "{ input x, go: bool state h = 0.5 reset when past(go, 2)
        h <- 0.9 * h + past(x, 3) output h }",
        16.0,
    ),
    (
        "reverse",
        Class::AffineDiagonal,
        "{ input x[2] state f[2] = 0.5, b[2] = 0.25 reverse
        f[i] <- 0.8 * f[i] + x[i] b[i] <- 0.7 * b[i] + past(x[i], 1) * f[i] output y[i] = f[i] + b[i] }",
        24.0,
    ),
    (
        "reverse resets",
        Class::AffineDense,
        "{ input x, go: bool state b[2] = 0.25 reverse reset when go
        b[i] <- 0.5 * b[i] + 0.25 * b[1 - i] + x output b }",
        24.0,
    ),
    (
        "reverse, then on",
        Class::AffineDiagonal,
        "{ input x state b = 0.25 reverse, f = 1
        b <- 0.7 * b + x f <- 0.5 * f + tanh(b) output f }",
        24.0,
    ),
    ("inputs held", Class::AffineDiagonal, INPUTS_HELD, 16.0),
    (
        "nothing but held",
        Class::AffineDiagonal,
        "{ input x[2] state held[2]: complex = 3, last = 1
        last <- re(held[1]) + past(x[0], 2) held[i] <- x[1 - i] + 2.0i
        output y[i] = x[i] + re(2 * held[i]) - last }",
        16.0,
    ),
    ("no state", Class::Nonlinear, "{ input x[2] output y[i] = x[i] + past(x[i], 5) }", 4.0),
];

/// Layers of scalars, for rows of steps: name, program, roundings of a step.
const SCALARS: &[(&str, &str, f64)] = &[
    ("ema", "{ param a = 0.9 input x state h = 1 h <- a * h + (1 - a) * x output y = 2 * h }", 8.0),
    ("varying", "{ input g, x state h = 0.5 h <- sigmoid(g) * h + x output y = h }", 8.0),
    ("no offset", "{ input g state h = 3 h <- 0.3 + h * (0.9 + 0.05 * sin(g)) - 0.3 output h }", 16.0),
    ("product", "{ input g state h = 3 h <- h * (1 + 0.01 * sin(g)) output h }", 16.0),
    ("biquad", BIQUAD, 16.0),
    ("inputs held", INPUTS_HELD, 16.0),
    ("complex", "{ input x: complex, p state z: complex = 1i z <- 0.9 * cis(p) * z + x output z, y = abs(z) }", 16.0),
    ("fixed complex", "{ param a: complex = 0.8i input x state z: complex = 1 z <- a * z + x output z }", 16.0),
    ("max", "{ input x, a state m = -1 m <- max(m + a - 1, x) output m }", 8.0),
    ("min", "{ input x state m = 2, n = 0 n <- min(n + 0.1, m + x) m <- min(m + 0.3, x) output m, n }", 8.0),
    (
        "coupled",
        "{ input x, c state s = 1, r = 0 let o = s
        s <- 0.9 * cos(c) * s - 0.9 * sin(c) * r + x r <- 0.9 * sin(c) * o + 0.9 * cos(c) * r output s, r }",
        24.0,
    ),
    (
        "three",
        "{ input x state s = 1, r = 0, q = 0 let o = s let p = r
        s <- 0.5 * s + 0.2 * r + x r <- 0.3 * o - 0.4 * q q <- 0.9 * q + 0.1 * p output s, r, q }",
        24.0,
    ),
    (
        "gates",
        "{ input x state n = 0.1, h = 0, k = 1 let before = n
        n <- 0.9 * n + 0.1 * x h <- sigmoid(n) * h + before^2 k <- tanh(h) * k + exp(-n^2) output h, k }",
        32.0,
    ),
    (
        "held and computed",
        "{ input x state p = 4, q = 5, h = 0
        let both = p + 2 * q q <- p p <- exp(-x^2) h <- 0.5 * h + both output h, both }",
        16.0,
    ),
    ("past", "{ input x state h = 0 h <- 0.7 * h + past(x, 3) - 0.5 * past(x, 1) output h, w = past(x, 4) }", 16.0),
    ("past of a value", "{ input x let e = exp(-x^2) state h = 0 h <- 0.7 * h + past(e, 3) output h }", 16.0),
    ("first", "{ input x state h = 2 h <- if first then x else 0.5 * h + x output h }", 8.0),
    (
        "table",
        "{ param t[3] input k: index(3), on: bool state h = 1
        h <- if on then 0.4 * t[k] * h + 1 else h output h, up = h > 0.5, twice = 2 * k }",
        16.0,
    ),
    ("twice", "{ input x state h = 1 h <- 0.5 * h let y = h h <- h + x output y, old = past(x, 1), h }", 16.0),
    (
        "one channel",
        "{ param a[1], w[1, 1] input x[1] state h[1] = 1
        h[i] <- sum[j](0.5 * tanh(w[i, j]) * h[j]) + a[i] * x[i] output y[i] = 3 * h[i] + x[0] }",
        16.0,
    ),
    ("only held", "{ input x state a = 1, b = 2 let y = x + a - b b <- a a <- x output y }", 8.0),
    (
        "resonator",
        "{ param f = 0.3 input x, g state s = 1, r = 0 let o = s
        s <- 0.9 * cos(f) * s - 0.9 * sin(f) * r + x / 2 r <- 0.9 * sin(f) * o + 0.9 * cos(f) * r - (x - 0.25 * x) * f
        output s, r, w = g * s }",
        24.0,
    ),
    (
        "each other",
        "{ input x state s = 1, r = 0 let o = s s <- 0.5 * r - exp(-x^2) r <- 1 - 0.25 * o output s, r }",
        24.0,
    ),
    ("small powers", "{ param a = 0.0001 input x state h = 1 h <- a * h + x output h }", 8.0),
];

const BIQUAD: &str = "{ input x state s = 0, r = 0
    let y = 0.2 * x + s let old = r s <- 0.3 * x + 1.2 * y + old r <- 0.1 * x - 0.5 * y output y }";

const INPUTS_HELD: &str = "{ input x, g state x1 = 3, x2 = 4, y = 1
    let w = x + 0.5 * x1 + 0.25 * x2
    x2 <- x1 x1 <- x y <- 0.7 * tanh(g) * y + w output y, x2 }";

fn layer(text: &str) -> Layer {
    let (layers, problems) = sema::lower(&syntax::parse(text).0);
    assert!(problems.is_empty(), "{problems:?}\n{text}");
    layers.into_iter().next().expect("a layer")
}

fn instance(body: &str) -> Instance {
    let layer = layer(&format!("layer a {body}"));
    let dims = vec![3; layer.dims.len()];
    Instance::new(layer, dims).expect("sizes that can be run")
}

fn compile<F: Float + interp::Real>(instance: &Instance, stretch: usize, lanes: usize) -> Scan<F> {
    let options = Options { stretch: Some(stretch), lanes: Some(lanes), isa: None };
    scan::compile(instance, options).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// Two runs, the second from where the first ends; on one and on two threads.
fn against_interpreter<F: Float + interp::Real>(name: &str, body: &str, roundings: f64) {
    let instance = instance(body);
    let packed = Sequences::packed(vec![0, 0, 1, 3, 7, 40, 40, 103]).expect("ascending offsets");
    for (stretch, lanes) in [(1, 0), (4, 0), (7, 0), (64, 0), (4, 4), (3, 8), (5, 3)] {
        let scan = compile::<F>(&instance, stretch, lanes);
        for sequences in [packed.clone(), Sequences::batch(1, 101), Sequences::batch(2, 32), Sequences::batch(0, 0)] {
            let data = Data::new(&instance, &sequences, 3);
            let bound = Bound { params: rounded_all(&data.bound.params), initial: rounded_all(&data.bound.initial) };
            let inputs: Vec<Tensor<F>> = rounded_all(&data.inputs);
            let (mut truth, mut carry) = (data.carry.clone(), rounded_carry(&data.carry));
            let mut other: Carry<F> = carry.clone();
            for round in 0..2 {
                let what = format!("{name} f{} {stretch} x {lanes}, {} rows, run {round}", F::BITS, sequences.total());
                let expected = interp::run(&instance, &data.bound, &sequences, &data.inputs, &mut truth);
                let got = scan.run(&bound, &sequences, &inputs, &mut carry, 1, &|_| {}).expect("the tensors fit");
                let roundings = roundings * (1.0 + sequences.total() as f64);
                compare(&format!("{what} outputs"), &got, &expected, roundings);
                compare(&format!("{what} states"), &carry.states, &truth.states, roundings);
                compare(&format!("{what} delays"), &carry.delays, &truth.delays, roundings);
                assert_eq!(carry.steps, truth.steps, "{what}");
                let again = scan.run(&bound, &sequences, &inputs, &mut other, 2, &|_| {}).expect("the tensors fit");
                assert_eq!(format!("{got:?}{carry:?}"), format!("{again:?}{other:?}"), "{what} on two threads");
            }
        }
    }
}

#[test]
fn scans_in_f32_agree_with_the_interpreter() {
    CASES.iter().for_each(|(name, _, body, roundings)| against_interpreter::<f32>(name, body, *roundings));
}

#[test]
fn scans_in_f64_agree_with_the_interpreter() {
    CASES.iter().for_each(|(name, _, body, roundings)| against_interpreter::<f64>(name, body, *roundings));
}

/// Lengths around one row and around a tile of rows, in one piece and in two, on one thread and on more.
fn rows_against_interpreter<F: Float + interp::Real>(name: &str, body: &str, roundings: f64) {
    for isa in [Isa::Avx2, Isa::Avx512].into_iter().filter(|isa| isa.is_here()) {
        rows_within::<F>(name, body, roundings, isa);
    }
}

fn rows_within<F: Float + interp::Real>(name: &str, body: &str, roundings: f64, isa: Isa) {
    let instance = instance(body);
    let options = Options { isa: Some(isa), ..Options::default() };
    let scan: Scan<F> = scan::compile(&instance, options).unwrap_or_else(|problems| panic!("{problems:?}"));
    let packed = Sequences::packed(vec![0, 0, 1, 8, 24, 25, 42, 42, 75, 1100]).expect("ascending offsets");
    let mut all = vec![packed, Sequences::batch(0, 0), Sequences::batch(3, 33), Sequences::batch(1, 9001)];
    all.extend([7, 8, 9, 15, 16, 17, 31, 32].map(|length| Sequences::batch(1, length)));
    for sequences in all {
        let data = Data::new(&instance, &sequences, 3);
        let bound = Bound { params: rounded_all(&data.bound.params), initial: rounded_all(&data.bound.initial) };
        let inputs: Vec<Tensor<F>> = rounded_all(&data.inputs);
        let (mut truth, mut carry) = (data.carry.clone(), rounded_carry(&data.carry));
        let mut others: Vec<Carry<F>> = vec![carry.clone(); 2];
        for round in 0..2 {
            let what = format!("{name} f{} {isa}, {} rows, run {round}", F::BITS, sequences.total());
            let expected = interp::run(&instance, &data.bound, &sequences, &data.inputs, &mut truth);
            let done = AtomicU64::new(0);
            let progress = |steps| _ = done.fetch_max(steps, Ordering::Relaxed);
            let got = scan.run(&bound, &sequences, &inputs, &mut carry, 1, &progress).expect("the tensors fit");
            // Of one sequence, most steps are told of: not those around its rows, or around its stretches.
            let (done, total) = (done.into_inner() as usize, sequences.total());
            assert!(
                done <= total && (sequences.count() != 1 || 2 * done + 64 >= total),
                "{what}: {done} steps are done"
            );
            let roundings = roundings * (1.0 + sequences.total() as f64);
            compare(&format!("{what} outputs"), &got, &expected, roundings);
            compare(&format!("{what} states"), &carry.states, &truth.states, roundings);
            compare(&format!("{what} delays"), &carry.delays, &truth.delays, roundings);
            assert_eq!(carry.steps, truth.steps, "{what}");
            for (other, threads) in others.iter_mut().zip([2, 3]) {
                let again = scan.run(&bound, &sequences, &inputs, other, threads, &|_| {}).expect("the tensors fit");
                assert_eq!(format!("{got:?}{carry:?}"), format!("{again:?}{other:?}"), "{what} on {threads} threads");
            }
        }
    }
}

#[test]
fn rows_of_steps_in_f32_agree_with_the_interpreter() {
    SCALARS.iter().for_each(|(name, body, roundings)| rows_against_interpreter::<f32>(name, body, *roundings));
}

#[test]
fn rows_of_steps_in_f64_agree_with_the_interpreter() {
    SCALARS.iter().for_each(|(name, body, roundings)| rows_against_interpreter::<f64>(name, body, *roundings));
}

/// Where the machine has moves of lanes, all of these but the one that keeps a computed value run in rows.
#[test]
fn layers_of_scalars_run_in_rows() {
    if Isa::widest() != Isa::Avx512 {
        return;
    }
    for (name, body, _) in SCALARS {
        let scan: Scan<f32> = scan::compile(&instance(body), Options::default()).expect("it composes");
        let stretch = scan.stretch(&Sequences::batch(1, 9001));
        assert_eq!(stretch == 16, *name != "past of a value", "{name}: {stretch}");
    }
}

#[test]
fn the_cases_are_of_all_classes() {
    for (name, class, body, _) in CASES {
        let verdict = judge(&instance(body).layer);
        let found = verdict.groups.last().map_or(Class::Nonlinear, |group| group.class);
        assert_eq!(found, *class, "{name}");
    }
}

/// A sequence without an end, cut by resets: what is infinite or no number before one is gone behind it.
#[test]
fn resets_forget_what_is_not_finite() {
    let instance = instance("{ input x, go: bool state h = 0.5 reset when go h <- 0.9 * h + x output h }");
    let sequences = Sequences::batch(1, 40);
    for special in [f64::NAN, f64::INFINITY] {
        let mut data = Data::new(&instance, &sequences, 0);
        let Elements::Real(x) = &mut data.inputs[0].elements else { panic!("reals") };
        x[2] = special;
        data.inputs[1].elements = Elements::Bool((0..40).map(|t| u8::from(t == 17)).collect());
        let mut truth = data.carry.clone();
        let expected = interp::run(&instance, &data.bound, &sequences, &data.inputs, &mut truth);
        let scan = compile::<f64>(&instance, 5, 0);
        let got = scan.run(&data.bound, &sequences, &data.inputs, &mut data.carry, 1, &|_| {}).expect("it fits");
        compare("outputs", &got, &expected, 400.0);
    }
}

/// What is not finite makes no step before it NaN, in rows as little as in order.
#[test]
fn steps_before_what_is_not_finite_are_numbers() {
    let instance = instance(BIQUAD);
    let sequences = Sequences::packed(vec![0, 300, 700, 900]).expect("ascending offsets");
    for special in [f64::NAN, f64::INFINITY] {
        let mut data = Data::new(&instance, &sequences, 0);
        let Elements::Real(x) = &mut data.inputs[0].elements else { panic!("reals") };
        x[489] = special;
        let mut truth = data.carry.clone();
        let expected = interp::run(&instance, &data.bound, &sequences, &data.inputs, &mut truth);
        let scan: Scan<f64> = scan::compile(&instance, Options::default()).expect("it composes");
        let got = scan.run(&data.bound, &sequences, &data.inputs, &mut data.carry, 1, &|_| {}).expect("it fits");
        compare("outputs", &got, &expected, 1e4);
        compare("states", &data.carry.states, &truth.states, 1e4);
        assert_eq!(data.carry.steps, truth.steps);
    }
}

/// Outputs of more than eight megabytes go past the caches, in lines that also lie across the ends of stretches.
#[test]
fn long_outputs_on_lanes_are_the_same() {
    let instance = instance("{ param a = 0.9 input x state h = 1 h <- a * h + (1 - a) * x output y = 2 * h }");
    let sequences = Sequences::packed(vec![0, 3, 1_070_000]).expect("ascending offsets");
    let mut data = Data::new(&instance, &sequences, 3);
    let mut truth = data.carry.clone();
    let expected = interp::run(&instance, &data.bound, &sequences, &data.inputs, &mut truth);
    let scan = compile::<f64>(&instance, 208, 64);
    let mut other = data.carry.clone();
    let run = |carry: &mut Carry<f64>, threads: usize| {
        scan.run(&data.bound, &sequences, &data.inputs, carry, threads, &|_| {}).expect("the tensors fit")
    };
    let got = run(&mut data.carry, 1);
    // What a step adds in errors fades in ten steps.
    compare("outputs", &got, &expected, 64.0);
    compare("states", &data.carry.states, &truth.states, 64.0);
    assert!(run(&mut other, 3) == got && other == data.carry, "three threads");
}

#[test]
fn what_does_not_compose_is_refused_with_its_reason() {
    let text = "layer a { input x state h = 0 h <- tanh(h) + x output h }";
    let layer = layer(text);
    let refusal = scan::refusal(&layer).expect("it is refused");
    assert_eq!(refusal.code, ssmc::diag::Code::S301);
    let span = refusal.primary.as_ref().expect("it has a place").span;
    assert_eq!(&text[span.start as usize..span.end as usize], "tanh(h)", "{refusal:?}");
    assert!(refusal.message.contains("`h`"), "{refusal:?}");
    let allowed: Vec<Plan> =
        scan::plans(&layer).into_iter().filter(|(_, why)| why.is_none()).map(|(plan, _)| plan).collect();
    assert_eq!(allowed, [Plan::Interp, Plan::Step, Plan::Sequential]);
    let instance = Instance::new(layer, Vec::new()).expect("it has no sizes");
    assert!(scan::compile::<f32>(&instance, Options::default()).is_err());
}

#[test]
fn auto_takes_a_scan_where_threads_are_idle() {
    let extents = |sequences, longest, threads| scan::Extents { sequences, longest, threads, bits: 32 };
    let channels = |n: usize| {
        instance(&format!(
            "{{ param a[{n}] input x[{n}] state h[{n}] = 0 h[i] <- a[i] * h[i] + x[i] output y[i] = exp(h[i]) }}"
        ))
    };
    let fixed = channels(16);
    for (run, plan) in [
        (extents(1, 1 << 20, 4), Plan::Parallel),
        (extents(1, 1 << 20, 1), Plan::Sequential),
        (extents(4, 1 << 20, 4), Plan::Sequential),
        (extents(1, 100, 4), Plan::Sequential),
        (extents(0, 0, 4), Plan::Sequential),
    ] {
        let choice = scan::choose(&fixed, run, Isa::widest(), &Profile::reference());
        assert_eq!((choice.plan, choice.note), (plan, None), "{run:?}");
    }
    // With blocks of channels for all threads, none is idle.
    let blocks = scan::choose(&channels(64), extents(1, 1 << 20, 4), Isa::widest(), &Profile::reference());
    assert_eq!(blocks, scan::Choice { plan: Plan::Sequential, note: None });
    // One channel has all lanes to itself.
    let narrow = instance("{ input x state h = 0 h <- 0.9 * h + x output y = h }");
    let choose = |instance: &Instance, run| scan::choose(instance, run, Isa::widest(), &Profile::reference()).plan;
    assert_eq!(choose(&narrow, extents(1, 1 << 20, 1)), Plan::Parallel);
    assert_eq!(choose(&narrow, extents(1, 100, 1)), Plan::Sequential);
    // Maps of a few states have no use for lanes.
    let map = instance("{ input tok: index(3) state s: index(7) = 4 s <- (s * 2 + tok) % 7 output s }");
    assert_eq!(choose(&map, extents(1, 1 << 20, 1)), Plan::Sequential);
    assert_eq!(choose(&map, extents(1, 1 << 20, 2)), Plan::Parallel);
    let nonlinear = instance("{ input x state h = 0 h <- tanh(h) + x output h }");
    let choice = scan::choose(&nonlinear, extents(1, 1 << 20, 4), Isa::widest(), &Profile::reference());
    assert_eq!(choice.plan, Plan::Sequential);
    assert!(choice.note.is_some_and(|note| note.message.contains("on 1 of 4 threads")));
    assert_eq!(scan::choose(&nonlinear, extents(1, 100, 4), Isa::widest(), &Profile::reference()).note, None);
}
