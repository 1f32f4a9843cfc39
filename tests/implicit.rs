//! Implicit updates and linear systems: the derived step is where the objective is least, the solution solves.

#[path = "kernels/data.rs"]
#[allow(dead_code, reason = "the tests of kernels use the rest")]
mod data;

#[path = "../examples/online_ridge.rs"]
mod online_ridge;

#[path = "implicit/problems.rs"]
mod problems;

#[path = "implicit/systems.rs"]
mod systems;

use std::fs;

use data::{Data, Random};
use ssmc::analysis::verdict::{Class, judge, print::derived};
use ssmc::ir::{Instance, Layer, Report, interp};
use ssmc::jit::{Form, compile};
use ssmc_runtime::{Carry, Elements, Sequences, Tensor};

fn layers(source: &str) -> Vec<Layer> {
    let (file, diagnostics) = ssmc::syntax::parse(source);
    assert!(diagnostics.is_empty(), "{source}\n{diagnostics:?}");
    let (layers, diagnostics) = ssmc::sema::lower(&file);
    assert!(diagnostics.is_empty(), "{source}\n{diagnostics:?}");
    layers
}

fn layer(source: &str) -> Layer {
    layers(source).remove(0)
}

fn example(file: &str, name: &str) -> Layer {
    let source = fs::read_to_string(format!("examples/{file}")).unwrap();
    layers(&source).into_iter().find(|l| l.name == name).expect("the layer is there")
}

fn reals(tensor: &Tensor<f64>) -> &[f64] {
    match &tensor.elements {
        Elements::Real(v) => v,
        other => panic!("not real: {other:?}"),
    }
}

/// Runs a layer in every way; the interpreter's outputs and carry are given, the others compared with them.
fn run_all(instance: &Instance, data: &Data, seq: usize, what: &str) -> (Vec<Tensor<f64>>, Carry<f64>, Vec<Report>) {
    let sequences = Sequences::batch(1, seq);
    let mut expected = data.carry.clone();
    let (outputs, reports) = interp::run_reporting(instance, &data.bound, &sequences, &data.inputs, &mut expected);
    for form in [Form::Sequence, Form::Step] {
        let kernel = compile::<f64>(instance, form).unwrap_or_else(|e| panic!("{what}: {e:?}"));
        let mut carry = data.carry.clone();
        let mut found: Vec<Vec<f64>> = vec![Vec::new(); outputs.len()];
        let mut said: Vec<Report> = Vec::new();
        let pieces: Vec<_> =
            if form == Form::Step { (0..seq).map(|t| t..t + 1).collect() } else { std::iter::once(0..seq).collect() };
        for piece in pieces {
            let inputs: Vec<_> = data.inputs.iter().map(|input| data::rows(input, piece.clone())).collect();
            let sequences = Sequences::batch(1, piece.len());
            let (rows, more) =
                kernel.run_reporting(&data.bound, &sequences, &inputs, &mut carry, 1, &|_| {}).expect("it runs");
            found.iter_mut().zip(&rows).for_each(|(all, row)| all.extend(reals(row)));
            said.extend(
                more.into_iter().filter(|new| !said.iter().any(|old| old.message == new.message)).collect::<Vec<_>>(),
            );
        }
        let pairs = outputs.iter().map(reals).zip(found.iter().map(Vec::as_slice));
        for (expected, found) in pairs.chain(expected.states.iter().map(reals).zip(carry.states.iter().map(reals))) {
            close(expected, found, 1e-11, &format!("{what} {form:?}"));
        }
        assert_eq!(said, reports, "{what} {form:?}");
    }
    (outputs, expected, reports)
}

fn close(expected: &[f64], found: &[f64], tolerance: f64, what: &str) {
    assert_eq!(expected.len(), found.len(), "{what}");
    let largest = expected.iter().filter(|x| x.is_finite()).fold(1e-300f64, |m, x| m.max(x.abs()));
    for (e, f) in expected.iter().zip(found) {
        let same = (e.is_nan() && f.is_nan()) || (e - f).abs() <= tolerance * largest;
        assert!(same, "{what}: {e} and {f}");
    }
}

#[test]
fn longhorn_is_the_papers_term_for_term() {
    let longhorn = example("longhorn.ssm", "longhorn");
    let lines = [
        "let eps[d] = beta[d] / (1 + beta[d] * sum[n](k[n]^2))",
        "S[d, n] <- S[d, n] * (1 - eps[d] * k[n]^2) + eps[d] * x[d] * k[n]",
    ];
    assert_eq!(derived(&longhorn), lines);
    let verdict = judge(&longhorn);
    assert_eq!(verdict.groups[0].class, Class::AffineDiagonal);

    let exact = example("longhorn_exact.ssm", "longhorn_exact");
    let lines = [
        "let eps[d] = beta[d] / (1 + beta[d] * sum[n](k[n]^2))",
        "let error[d] = x[d] - sum[n](S[d, n] * k[n])",
        "S[d, n] <- S[d, n] + eps[d] * error[d] * k[n]",
    ];
    assert_eq!(derived(&exact), lines);
    let verdict = judge(&exact);
    assert_eq!(verdict.groups[0].class, Class::AffineLowRank);
    let low_rank = verdict.groups[0].transition.as_ref().and_then(|t| t.low_rank.as_ref()).expect("it is low rank");
    assert_eq!((low_rank.factors.len(), low_rank.factors[0].rank.len()), (1, 0));
}

/// The text of what was derived, in the place of the update, means the same.
#[test]
fn derived_updates_are_programs() {
    let rest = "input x[D], k[N], q[N], u[D] state S[D, N] = 0";
    for objective in [
        "sum[d, n]((Z[d, n] - S[d, n])^2) + sum[d](exp(u[d]) * (sum[n](Z[d, n] * k[n]) - x[d])^2)",
        "sum[d, n](exp(k[n]) * (Z[d, n] - S[d, n])^2) + sum[d](exp(u[d]) * (sum[n](Z[d, n] * k[n]) - x[d])^2)",
        "sum[d, n]((Z[d, n] - 0.5 * S[d, n])^2) + sum[d]((sum[n](Z[d, n] * k[n]) - x[d])^2) + \
         sum[d](2 * (sum[n](Z[d, n] * q[n]) - u[d])^2)",
        "sum[d, n]((Z[d, n] - S[d, n])^2) + sum[d]((sum[n](Z[d, n] * k[n]) - x[d])^2) + \
         sum[n]((sum[d](Z[d, n] * u[d]) - q[n])^2)",
        "sum[d, n](2 * Z[d, n]^2) - sum[d, n](S[d, n] * Z[d, n] + k[n] * Z[d, n])",
    ] {
        let source = format!("layer l(D, N) {{ {rest} S[d, n] <- argmin[Z]({objective}) output S }}");
        let first = layer(&source);
        let text = format!("layer l(D, N) {{ {rest} {} output S }}", derived(&first).join("\n"));
        let second = layer(&text);
        let run = |layer: Layer| {
            let instance = Instance::new(layer, vec![3, 5]).expect("the sizes are sound");
            let data = Data::new(&instance, &Sequences::batch(1, 6), 3);
            run_all(&instance, &data, 6, &source).0
        };
        let (a, b) = (run(first), run(second));
        close(reals(&a[0]), reals(&b[0]), 1e-14, &text);
    }
}

#[test]
fn the_gated_delta_rule_is_a_step_of_online_regression() {
    let instance = |layer| Instance::new(layer, vec![2, 5, 3]).expect("the sizes are sound");
    let written = layer(
        "layer gated(H, K, V) { input q[H, K], k[H, K], v[H, V], beta[H], g[H] state S[H, K, V] = 0
            S[h, i, j] <- exp(g[h]) * S[h, i, j]
            let error[h, j] = v[h, j] - sum[i](S[h, i, j] * k[h, i])
            S[h, i, j] <- S[h, i, j] + beta[h] * k[h, i] * error[h, j]
            output o[h, j] = sum[i](q[h, i] * S[h, i, j]) / sqrt(K) }",
    );
    let (written, stated) = (instance(written), instance(example("online_regression.ssm", "gated_delta")));
    let data = Data::new(&written, &Sequences::batch(1, 12), 5);
    let (a, b) = (run_all(&written, &data, 12, "written").0, run_all(&stated, &data, 12, "stated").0);
    close(reals(&a[0]), reals(&b[0]), 1e-12, "gated delta");
}

/// The kernel of the derived Longhorn has the same instructions as the one that is written out, so it is as fast.
#[test]
fn derived_longhorn_is_the_written_kernel() {
    let instructions = |file: &str, name: &str, form| {
        let instance = Instance::new(example(file, name), vec![64, 16]).expect("the sizes are sound");
        let clif = ssmc::jit::clif(&instance, form, 32, ssmc::jit::Isa::widest()).expect("it compiles");
        let mut found: Vec<String> = clif
            .lines()
            .map(|line| line.split(';').next().unwrap_or_default())
            .map(|line| line.split_once(" = ").map_or(line, |(_, instruction)| instruction))
            .filter_map(|line| line.split_whitespace().next())
            .filter(|word| !word.starts_with("block"))
            .map(str::to_owned)
            .collect();
        found.sort();
        found
    };
    for name in ["plain", "full"] {
        for form in [Form::Sequence, Form::Step] {
            let derived = instructions("longhorn_derived.ssm", name, form);
            assert!(derived.len() > 100, "{derived:?}");
            // A product's factors may stand the other way round, and the constant 1 in another place.
            assert_eq!(derived, instructions("longhorn_closed.ssm", name, form), "{name} {form:?}");
        }
    }
}

#[test]
fn weights_that_are_not_positive_are_reported_once_with_the_step() {
    let source = "layer l(N) { input w, x[N], k[N] state h[N] = 0
        h[n] <- argmin[Z](sum[n]((Z[n] - h[n])^2) + w * (sum[n](Z[n] * k[n] - x[n]))^2)
        output h }";
    let instance = Instance::new(layer(source), vec![4]).expect("the sizes are sound");
    let mut data = Data::new(&instance, &Sequences::batch(1, 6), 1);
    data.inputs[0].elements = Elements::Real(vec![1.0, 0.0, 2.0, -0.01, 1.0, -0.02]);
    let (_, _, reports) = run_all(&instance, &data, 6, "a weight");
    assert_eq!(reports.len(), 1);
    assert!(reports[0].message.contains("negative"), "{reports:?}");
    assert_eq!((reports[0].event.sequence, reports[0].event.step), (0, 3));
    let text = &source[reports[0].span.start as usize..reports[0].span.end as usize];
    assert!(text.starts_with("(sum[n](Z[n] * k[n]"), "{text}");

    let source = "layer l(N) { input w[N], x[N] state h[N] = 0 \
        h[n] <- argmin[Z](sum[n](w[n] * (Z[n] - x[n])^2)) output h }";
    let instance = Instance::new(layer(source), vec![3]).expect("the sizes are sound");
    let mut data = Data::new(&instance, &Sequences::batch(1, 2), 1);
    data.inputs[0].elements = Elements::Real(vec![1.0, 1.0, 1.0, 1.0, 0.0, 1.0]);
    let (_, _, reports) = run_all(&instance, &data, 2, "a weight of zero");
    assert_eq!(reports.iter().map(|r| r.event.step).collect::<Vec<_>>(), [1]);

    // What is positive by its form is not looked at.
    for weight in ["exp(w)", "sigmoid(w)", "softplus(w)", "2", "w^2", "(1 + w^2)", "exp(w) / 3", "b"] {
        let source = format!(
            "layer l(N) {{ input w, x[N] state h[N] = 0 let b = 1 + abs(w) \
             h[n] <- argmin[Z](sum[n]((Z[n] - h[n])^2) + sum[n]({weight} * (Z[n] - x[n])^2)) output h }}"
        );
        assert!(layer(&source).checks.is_empty(), "{weight}");
    }
}

#[test]
fn online_ridge_predicts_as_the_batch_solution() {
    let found = online_ridge::compare();
    close(&found.batch, &found.online, 1e-9, "predictions");
    let (online, batch) = (found.error(&found.online, 1), found.error(&found.batch, 1));
    assert!((online - batch).abs() < 1e-8 * batch, "{online} {batch}");
    // Better than always saying the mean of what was seen.
    assert!(online < 40.0, "{online}");
}

fn random(seed: u64) -> Random {
    Random(0x9E37_79B9_7F4A_7C15 ^ (seed.wrapping_mul(0x2545_F491_4F6C_DD1D) | 1))
}
