//! Linear systems: residuals, sizes, what is not positive definite.

use super::{layer, random, run_all};
use crate::data::Data;
use ssmc::ir::{Instance, interp};
use ssmc::jit::{Form, compile};
use ssmc_runtime::{Elements, Float, Sequences, Tensor};

const SOURCE: &str = "layer l(M, N, K) { input A[M, N, N], b[M, K, N] state s = 0 s <- s + 1
    output x[m, k, i] = solve[i, j](A[m, i, j], b[m, k, i]) }";

/// Matrices `B Bᵀ + I / 2`, row-major.
fn definite(n: usize, count: usize, seed: u64) -> Vec<f64> {
    let mut random = random(seed);
    let mut all = Vec::new();
    for _ in 0..count {
        let b: Vec<f64> = (0..n * n).map(|_| random.next() - 0.5).collect();
        for i in 0..n {
            for j in 0..n {
                let dot: f64 = (0..n).map(|k| b[i * n + k] * b[j * n + k]).sum();
                all.push(dot + if i == j { 0.5 } else { 0.0 });
            }
        }
    }
    all
}

fn residual<F: Float>(n: usize, bound: f64) {
    let (m, k, seq) = (2, 3, 2);
    let instance = Instance::new(layer(SOURCE), vec![m as i64, n as i64, k as i64]).expect("the sizes are sound");
    let sequences = Sequences::batch(1, seq);
    let mut data = Data::new(&instance, &sequences, n as u64);
    data.inputs[0].elements = Elements::Real(definite(n, m * seq, 7 + n as u64));
    let round = |t: &Tensor<f64>| crate::data::rounded::<F>(t);
    let inputs: Vec<Tensor<F>> = data.inputs.iter().map(round).collect();
    let (Elements::Real(a), Elements::Real(b)) = (&inputs[0].elements, &inputs[1].elements) else { panic!("reals") };
    let (a, b): (Vec<f64>, Vec<f64>) = (a.iter().map(|x| x.to_f64()).collect(), b.iter().map(|x| x.to_f64()).collect());
    let bound_params = ssmc::ir::bind::bind::<f64>(&instance, Vec::new(), 0).expect("no parameters");
    let parameters = ssmc_runtime::Bound {
        params: bound_params.params.iter().map(round).collect(),
        initial: bound_params.initial.iter().map(round).collect(),
    };
    for form in [Form::Sequence, Form::Step] {
        let kernel = compile::<F>(&instance, form).expect("it compiles");
        let mut carry = crate::data::rounded_carry::<F>(&data.carry);
        let mut x: Vec<f64> = Vec::new();
        for t in 0..seq {
            let rows: Vec<Tensor<F>> = inputs.iter().map(|i| crate::data::rows(i, t..t + 1)).collect();
            let (found, reports) = kernel
                .run_reporting(&parameters, &Sequences::batch(1, 1), &rows, &mut carry, 1, &|_| {})
                .expect("it runs");
            assert!(reports.is_empty(), "{reports:?}");
            let Elements::Real(found) = &found[0].elements else { panic!("reals") };
            x.extend(found.iter().map(|x| x.to_f64()));
        }
        for system in 0..m * seq {
            for side in 0..k {
                for i in 0..n {
                    let row = |j: usize| a[(system * n + i.max(j)) * n + i.min(j)];
                    let at = (system * k + side) * n;
                    let sum: f64 = (0..n).map(|j| row(j) * x[at + j]).sum();
                    let size: f64 = (0..n).map(|j| (row(j) * x[at + j]).abs()).sum::<f64>() + 1.0;
                    let off = (sum - b[at + i]).abs() / size;
                    assert!(off < bound, "{form:?} n = {n}: {off}");
                }
            }
        }
    }
}

#[test]
fn solutions_solve_at_every_size() {
    for n in [1, 2, 3, 5, 16, 63, 64] {
        residual::<f64>(n, 1e-12);
        residual::<f32>(n, 1e-4);
    }
}

#[test]
fn kernels_agree_with_the_interpreter() {
    for (n, k) in [(1, 1), (4, 2), (7, 5)] {
        let instance = Instance::new(layer(SOURCE), vec![2, n as i64, k]).expect("the sizes are sound");
        let mut data = Data::new(&instance, &Sequences::batch(1, 3), 9);
        data.inputs[0].elements = Elements::Real(definite(n, 6, 11));
        let (_, _, reports) = run_all(&instance, &data, 3, "systems");
        assert!(reports.is_empty());
    }
    // With the systems of a condition, of a constant matrix, and where the solution is read at another place.
    for source in [
        "layer l(N) { param A[N, N] input b[N] state h[N] = 0
            h[n] <- 0.5 * h[n] + (if n > 0 then solve[n, m](A[n, m], b[n]) else b[n]) output h }",
        "layer l(N) { param A[N, N] input b[N] state h[N] = 0
            let x[n] = solve[n, m](A[n, m], b[n] - h[n])
            h[n] <- sum[m](A[n, m] * x[N - 1 - m]) output h }",
    ] {
        let instance = Instance::new(layer(source), vec![5]).expect("the sizes are sound");
        let mut data = Data::new(&instance, &Sequences::batch(1, 4), 2);
        data.bound.params[0].elements = Elements::Real(definite(5, 1, 3));
        run_all(&instance, &data, 4, source);
    }
}

#[test]
fn matrices_that_are_not_positive_definite_give_nan_and_a_report() {
    let instance = Instance::new(layer(SOURCE), vec![1, 2, 1]).expect("the sizes are sound");
    let mut data = Data::new(&instance, &Sequences::batch(1, 4), 1);
    let good = [2.0, 0.0, 0.5, 2.0];
    let bad = [1.0, 0.0, 2.0, 1.0];
    data.inputs[0].elements = Elements::Real([good, good, bad, bad].concat());
    let (outputs, _, reports) = run_all(&instance, &data, 4, "indefinite");
    let Elements::Real(x) = &outputs[0].elements else { panic!("reals") };
    assert!(x[..4].iter().all(|x| x.is_finite()) && x[4..].iter().all(|x| x.is_nan()), "{x:?}");
    assert_eq!(reports.len(), 1);
    assert_eq!((reports[0].event.sequence, reports[0].event.step), (0, 2));
    let place = reports[0].span.start as usize..reports[0].span.end as usize;
    assert_eq!(&SOURCE[place], "solve[i, j](A[m, i, j], b[m, k, i])");
    assert!(reports[0].diagnostic().message.contains("not positive definite"));

    // Of several sequences the first one that has it, whatever the threads.
    let sequences = Sequences::batch(3, 4);
    let three = |t: &Tensor<f64>| {
        let Elements::Real(v) = &t.elements else { panic!("reals") };
        let shape = [12].iter().chain(&t.shape[1..]).copied().collect();
        Tensor { shape, elements: Elements::Real(v.repeat(3)) }
    };
    let mut inputs: Vec<Tensor<f64>> = data.inputs.iter().map(three).collect();
    inputs[0].elements = Elements::Real([[good; 4], [good, good, good, bad], [bad; 4]].concat().concat());
    let kernel = compile::<f64>(&instance, Form::Sequence).expect("it compiles");
    for threads in [1, 2] {
        let mut carry = interp::initial_carry(&instance, &data.bound, 3);
        let (_, reports) =
            kernel.run_reporting(&data.bound, &sequences, &inputs, &mut carry, threads, &|_| {}).expect("it runs");
        assert_eq!((reports[0].event.sequence, reports[0].event.step), (1, 3));
    }
}

#[test]
fn larger_systems_are_refused() {
    let errors = Instance::new(layer(SOURCE), vec![1, 65, 1]).expect_err("65 unknowns are too many");
    assert_eq!(errors[0].code.name(), "S408");
    assert!(errors[0].message.contains("65 unknowns"), "{errors:?}");
}
