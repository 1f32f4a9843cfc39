//! Random objectives: the gradient at the derived step, by differences of the objective itself, is zero.

use super::{layer, random, reals};
use crate::data::{Data, Random};
use ssmc::ir::{Instance, interp};
use ssmc_runtime::{Elements, Sequences, Tensor};

const DECLARATIONS: &str = "param A[R, N], B[R, D], c[N]
    input x[D], y[R], k[N], q[N], u[D], v[D, N], w";

fn pick<'a>(random: &mut Random, all: &[&'a str]) -> &'a str {
    all[(random.next() * all.len() as f64) as usize]
}

/// A term that holds every entry.
fn anchor(random: &mut Random) -> String {
    let weight = pick(random, &["1", "0.5", "exp(u[d])", "(0.1 + sigmoid(k[n]))", "softplus(v[d, n])", "(1 + k[n]^2)"]);
    let target = pick(random, &["S[d, n]", "0.9 * S[d, n]", "sigmoid(u[d]) * S[d, n] + k[n]", "v[d, n]", "0"]);
    match (random.next() * 3.0) as usize {
        0 => format!("sum[d, n]({weight} * (Z[d, n] - {target})^2)"),
        1 => format!("sum[d](sum[n]({weight} * ({target} - Z[d, n])^2))"),
        _ => format!("3 * mean[d, n]({weight} * (2 * Z[d, n] - {target}) * (2 * Z[d, n] - {target}))"),
    }
}

/// A term that holds some combinations of entries.
fn residual(random: &mut Random) -> String {
    let rate = pick(random, &["1", "exp(u[d])", "sigmoid(x[d])", "0.3", "(w^2 + 0.1)", "abs(x[d])"]);
    let key = pick(random, &["k[n]", "q[n]", "(k[n] + 0.5 * q[n])", "c[n] * q[n]"]);
    match (random.next() * 6.0) as usize {
        0..3 => format!("sum[d]({rate} * (sum[n](Z[d, n] * {key}) - x[d])^2)"),
        3 => "sum[d, r]((sum[n](A[r, n] * Z[d, n]) - y[r])^2)".to_owned(),
        4 => format!("sum[n](({key} - sum[d](Z[d, n] * u[d]))^2)"),
        _ => "sum[r](exp(y[r]) * (sum[d, n](A[r, n] * B[r, d] * Z[d, n]) - y[r] - sum[n](S[0, n]))^2)".to_owned(),
    }
}

/// A term that goes with others.
fn other(random: &mut Random) -> String {
    pick(
        random,
        &[
            "sum[d, n](k[n] * Z[d, n])",
            "sum[d, n](if n > 0 then 0.2 * (Z[d, n] - Z[d, n - 1])^2 else 0)",
            "sum[d](if u[d] > 0 then (Z[d, 0] - x[d])^2 else 0)",
            "sum[d, n](0.5 * Z[d, n]^2 / (1 + w^2))",
            "(if w > 0 then sum[d, n]((Z[d, n] - v[d, n])^2) else 2 * sum[d, n](Z[d, n]^2))",
            "norm[n](c[n] * w, 2)",
        ],
    )
    .to_owned()
}

fn objective(random: &mut Random) -> String {
    let mut terms = vec![anchor(random)];
    for _ in 0..(random.next() * 4.0) as usize {
        terms.push(if random.next() < 0.6 { residual(random) } else { other(random) });
    }
    terms.join(" + ")
}

/// The largest part of the gradient at the new state, over the size of the objective around it.
fn slope(objective: &str, dims: &[i64], seed: u64) -> f64 {
    let step = format!(
        "layer step(D, N, R) {{ {DECLARATIONS} state S[D, N] = 0
            S[d, n] <- argmin[Z]({objective}) }}"
    );
    let value = format!("layer value(D, N, R) {{ {DECLARATIONS} input S[D, N], Z[D, N] output f = {objective} }}");
    let instance = Instance::new(layer(&step), dims.to_vec()).expect("the sizes are sound");
    let one = Sequences::batch(1, 1);
    let data = Data::new(&instance, &one, seed);
    let old = data.bound.initial[0].elements.clone();
    let (_, after, reports) = super::run_all(&instance, &data, 1, objective);
    assert!(reports.is_empty(), "{objective}: {reports:?}");
    let new = reals(&after.states[0]).to_vec();

    let objective_instance = Instance::new(layer(&value), dims.to_vec()).expect("the sizes are sound");
    let shape = vec![1, dims[0] as usize, dims[1] as usize];
    let mut bound = data.bound.clone();
    bound.initial.clear();
    let at = |z: &[f64]| -> f64 {
        let mut inputs = data.inputs.clone();
        inputs.push(Tensor { shape: shape.clone(), elements: old.clone() });
        inputs.push(Tensor { shape: shape.clone(), elements: Elements::Real(z.to_vec()) });
        let mut carry = interp::initial_carry(&objective_instance, &bound, 1);
        reals(&interp::run(&objective_instance, &bound, &one, &inputs, &mut carry)[0])[0]
    };
    let mut worst = 0.0f64;
    for entry in 0..new.len() {
        let mut moved = new.clone();
        moved[entry] += 1.0;
        let above = at(&moved);
        moved[entry] -= 2.0;
        let below = at(&moved);
        // Of a quadratic, the difference is the derivative exactly.
        let here = at(&new);
        assert!(above > here && below > here, "{objective}: not a minimum");
        worst = worst.max((above - below).abs() / 2.0 / (above.abs() + below.abs()));
    }
    worst
}

#[test]
fn the_derived_step_is_a_stationary_point_of_random_objectives() {
    let mut worst = 0.0f64;
    for seed in 0..200 {
        let random = &mut random(seed);
        let text = objective(random);
        let dims = [[1, 3, 2], [2, 4, 3], [3, 1, 1], [3, 5, 2]][(random.next() * 4.0) as usize];
        let found = slope(&text, &dims, seed);
        assert!(found < 1e-9, "{found}: {text}");
        worst = worst.max(found);
    }
    println!("largest relative slope {worst:e}");
}
