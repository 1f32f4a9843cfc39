//! Online ridge regression with forgetting on thirteen cements, against the batch solution.
//!
//! `cargo run --example online_ridge` runs `online_ridge.ssm` over `data/hald.csv` (the heat that a cement gives off
//! while it hardens, from its composition; Hald 1952, "Statistical Theory with Engineering Applications") and prints
//! each prediction, made before the answer is seen, beside that of the weights which a batch regression on all
//! observations before it has. The batch weights come from Gaussian elimination, written here.

use ssmc::ir::{Instance, bind::bind, interp};
use ssmc::jit::{Form, compile};
use ssmc_runtime::{Elements, Sequences, Tensor};

const PROGRAM: &str = include_str!("online_ridge.ssm");
const DATA: &str = include_str!("data/hald.csv");
const FORGET: f64 = 0.98;
const RIDGE: f64 = 1.0;

/// What comes out.
pub struct Comparison {
    /// What was measured.
    pub targets: Vec<f64>,
    /// The predictions of the layer.
    pub online: Vec<f64>,
    /// Those of batch regressions on what came before.
    pub batch: Vec<f64>,
}

impl Comparison {
    /// The root of the mean squared error of predictions, from the given observation on.
    pub fn error(&self, predictions: &[f64], from: usize) -> f64 {
        let squares = self.targets.iter().zip(predictions).skip(from).map(|(y, p)| (y - p) * (y - p));
        (squares.sum::<f64>() / (self.targets.len() - from) as f64).sqrt()
    }
}

/// The rows: a constant and the shares of the four compounds, and the heat.
fn observations() -> Vec<(Vec<f64>, f64)> {
    let row = |line: &str| {
        let numbers: Vec<f64> = line.split(',').map(|n| n.parse().expect("a number")).collect();
        let (heat, parts) = numbers.split_last().expect("a row has columns");
        (std::iter::once(1.0).chain(parts.iter().map(|share| share / 100.0)).collect(), *heat)
    };
    DATA.lines().skip(1).map(row).collect()
}

/// The weights of a ridge regression in which an observation of age `a` counts `FORGET^a`.
fn batch_weights(seen: &[(Vec<f64>, f64)], n: usize) -> Vec<f64> {
    let mut rows: Vec<Vec<f64>> = (0..n).map(|i| (0..=n).map(|j| if i == j { RIDGE } else { 0.0 }).collect()).collect();
    for (age, (x, y)) in seen.iter().rev().enumerate() {
        let weight = FORGET.powi(age as i32);
        for i in 0..n {
            for j in 0..n {
                rows[i][j] += weight * x[i] * x[j];
            }
            rows[i][n] += weight * x[i] * y;
        }
    }
    for pivot in 0..n {
        for i in 0..n {
            if i != pivot {
                let factor = rows[i][pivot] / rows[pivot][pivot];
                let above = rows[pivot].clone();
                rows[i].iter_mut().zip(&above).for_each(|(e, a)| *e -= factor * a);
            }
        }
    }
    (0..n).map(|i| rows[i][n] / rows[i][i]).collect()
}

/// Runs the layer, and the batch regressions.
pub fn compare() -> Comparison {
    let (file, problems) = ssmc::syntax::parse(PROGRAM);
    assert!(problems.is_empty(), "{problems:?}");
    let (mut layers, problems) = ssmc::sema::lower(&file);
    assert!(problems.is_empty(), "{problems:?}");
    let data = observations();
    let (seq, n) = (data.len(), data[0].0.len());
    let instance = Instance::new(layers.remove(0), vec![n as i64]).expect("the sizes are sound");
    let given = [FORGET, RIDGE].map(|x| Some(Tensor { shape: Vec::new(), elements: Elements::Real(vec![x]) }));
    let bound = bind::<f64>(&instance, given.into(), 0).expect("the parameters fit");
    let kernel = compile::<f64>(&instance, Form::Sequence).expect("the layer compiles");
    let x: Vec<f64> = data.iter().flat_map(|(x, _)| x.clone()).collect();
    let targets: Vec<f64> = data.iter().map(|(_, y)| *y).collect();
    let inputs = [
        Tensor { shape: vec![seq, n], elements: Elements::Real(x) },
        Tensor { shape: vec![seq], elements: Elements::Real(targets.clone()) },
    ];
    let mut carry = interp::initial_carry(&instance, &bound, 1);
    let outputs = kernel.run(&bound, &Sequences::batch(1, seq), &inputs, &mut carry, 1, &|_| {}).expect("it runs");
    let Elements::Real(online) = outputs[0].elements.clone() else { panic!("predictions are real") };
    let predict = |t: usize| -> f64 {
        if t == 0 {
            return 0.0;
        }
        batch_weights(&data[..t], n).iter().zip(&data[t].0).map(|(w, x)| w * x).sum()
    };
    let batch = (0..seq).map(predict).collect();
    Comparison { targets, online, batch }
}

#[allow(dead_code, reason = "the tests use the rest")]
fn main() {
    let found = compare();
    println!("heat    online    batch");
    for ((y, online), batch) in found.targets.iter().zip(&found.online).zip(&found.batch) {
        println!("{y:5.1} {online:9.3} {batch:8.3}");
    }
    let (online, batch) = (found.error(&found.online, 1), found.error(&found.batch, 1));
    println!("root mean squared error from the second on: online {online:.6}, batch {batch:.6}");
}
