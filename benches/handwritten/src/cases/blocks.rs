//! Cases whose lanes lie along a side of a matrix.

use std::sync::Arc;

use super::{Array, Case, Lined, Runner, Values, Work, array, fits, lined};
use crate::random::Random;
use crate::{Isa, delta, s5, sdssm, ssd, viterbi};

pub(super) fn delta() -> Case {
    let (steps, heads, n) = (2048, 16, 64);
    let mut r = Random::new(10);
    let rows = steps * heads;
    let (q, mut k, v) = (r.normals(rows * n), r.normals(rows * n), r.normals(rows * n));
    for k in k.chunks_exact_mut(n) {
        let norm = k.iter().map(|k| k * k).sum::<f32>().sqrt();
        k.iter_mut().for_each(|k| *k /= norm);
    }
    let (q, k, v, beta) = (lined(q), lined(k), lined(v), lined(r.uniforms(rows, 0.0, 1.0)));
    let arrays = vec![array("q", &q), array("k", &k), array("v", &v), array("beta", &beta)];
    let extents = delta::Extents { heads, keys: n, values: n };
    let runner = Runner {
        buffers: (Lined::zeros(extents.state_len()), Lined::zeros(rows * n)),
        run: move |(state, y): &mut (Lined<f32>, Lined<f32>), isa: Isa, threads: usize| {
            state.fill(0.0);
            let inputs = delta::Inputs { q: &q, k: &k, v: &v, beta: &beta };
            fits(delta::run(isa, threads, extents, steps, &inputs, state, y));
        },
        output: |(_, y): &(Lined<f32>, Lined<f32>)| y.wide(),
    };
    Case {
        name: "delta rule",
        layer: "delta",
        dims: vec![("H", heads as i64), ("K", n as i64), ("V", n as i64)],
        batch: 1,
        steps,
        arrays,
        work: Work::new(3.0 * (rows * n * n) as f64, 16.0 * (rows * n) as f64),
        tolerance: 1e-5,
        threads: 2,
        runner: Box::new(runner),
    }
}

pub(super) fn ssd() -> Case {
    let (steps, heads, n) = (2048, 16, 64);
    let mut r = Random::new(11);
    let rows = steps * heads;
    let x = lined(r.normals(rows * n));
    let dt = lined(r.uniforms(rows, 0.01, 0.11));
    let a: Arc<Lined<f32>> = lined(dt.iter().map(|dt| (-dt * r.uniform(1.0, 16.0)).exp()).collect::<Vec<f32>>());
    let (b, c) = (lined(r.normals(steps * n)), lined(r.normals(steps * n)));
    let arrays = vec![array("x", &x), array("dt", &dt), array("a", &a), array("B", &b), array("C", &c)];
    let extents = ssd::Extents { heads, channels: n, states: n };
    let runner = Runner {
        buffers: (Lined::zeros(extents.state_len()), Lined::zeros(rows * n)),
        run: move |(state, y): &mut (Lined<f32>, Lined<f32>), isa: Isa, threads: usize| {
            state.fill(0.0);
            let inputs = ssd::Inputs { x: &x, dt: &dt, a: &a, b: &b, c: &c };
            fits(ssd::run(isa, threads, extents, steps, &inputs, state, y));
        },
        output: |(_, y): &(Lined<f32>, Lined<f32>)| y.wide(),
    };
    Case {
        name: "ssd",
        layer: "ssd",
        dims: vec![("H", heads as i64), ("P", n as i64), ("N", n as i64)],
        batch: 1,
        steps,
        arrays,
        work: Work::new(2.0 * (rows * n * n) as f64, 8.0 * (rows * n) as f64),
        tolerance: 1e-5,
        threads: 2,
        runner: Box::new(runner),
    }
}

pub(super) fn sdssm(name: &'static str, batch: usize) -> Case {
    let (steps, n, mixed) = (512, 64, 8);
    let mut r = Random::new(12);
    let a: Arc<Lined<f32>> = lined(r.normals(mixed * n * n).into_iter().map(|a| 0.3 * a).collect::<Vec<f32>>());
    let logits = lined(r.normals(batch * steps * mixed));
    let drive = lined(r.normals(batch * steps * n));
    let arrays = vec![array("A", &a), array("logits", &logits), array("drive", &drive)];
    let layer = fits(sdssm::SdSsm::new(n, mixed, 1.2, &a));
    let runner = Runner {
        buffers: (Lined::zeros(batch * n), Lined::zeros(batch * steps * n)),
        run: move |(state, y): &mut (Lined<f32>, Lined<f32>), isa: Isa, threads: usize| {
            state.fill(0.0);
            let inputs = sdssm::Inputs { logits: &logits, drive: &drive };
            fits(layer.run(isa, threads, batch, steps, &inputs, state, y));
        },
        output: |(_, y): &(Lined<f32>, Lined<f32>)| y.wide(),
    };
    // For each entry 8 multiply-adds, the power (11 operations, 15 where the table takes more) and the product.
    let operations = [8.0 + 11.0 + 1.0, 8.0 + 15.0 + 1.0].map(|entry| entry * (batch * steps * n * n) as f64);
    Case {
        name,
        layer: "sdssm",
        dims: vec![("N", n as i64), ("K", mixed as i64)],
        batch,
        steps,
        arrays,
        work: Work { operations, bytes: 0.0, cycles: 0.0 },
        tolerance: 1e-5,
        threads: 2,
        runner: Box::new(runner),
    }
}

pub(super) fn s5() -> Case {
    let (steps, states, width) = (4096, 64, 128);
    let mut r = Random::new(13);
    let polar: Vec<(f32, f32)> = (0..states).map(|_| ((-r.uniform(0.001, 0.101)).exp(), r.uniform(0.0, 3.0))).collect();
    let ar = lined(polar.iter().map(|(m, angle)| m * angle.cos()).collect::<Vec<f32>>());
    let ai = lined(polar.iter().map(|(m, angle)| m * angle.sin()).collect::<Vec<f32>>());
    let mut matrix = || lined(r.normals(states * width).into_iter().map(|b| 0.1 * b).collect::<Vec<f32>>());
    let [br, bi, cr, ci] = [matrix(), matrix(), matrix(), matrix()];
    let (d, u) = (lined(r.normals(width)), lined(r.normals(steps * width)));
    let complex = |name, re: &Arc<Lined<f32>>, im: &Arc<Lined<f32>>| Array {
        name,
        values: Values::Complex(Arc::clone(re), Arc::clone(im)),
    };
    let arrays =
        vec![complex("a", &ar, &ai), complex("B", &br, &bi), complex("C", &cr, &ci), array("D", &d), array("u", &u)];
    let layer = fits(s5::S5::new(states, width, [&ar, &ai], [&br, &bi], [&cr, &ci], &d));
    let runner = Runner {
        buffers: (Lined::zeros(2 * states), Lined::zeros(steps * width)),
        run: move |(state, y): &mut (Lined<f32>, Lined<f32>), isa: Isa, threads: usize| {
            state.fill(0.0);
            fits(layer.run(isa, threads, steps, &u, state, y));
        },
        output: |(_, y): &(Lined<f32>, Lined<f32>)| y.wide(),
    };
    Case {
        name: "s5",
        layer: "s5",
        dims: vec![("H", width as i64), ("P", states as i64)],
        batch: 1,
        steps,
        arrays,
        work: Work::new((steps * (4 * states * width + 4 * states)) as f64, 0.0),
        tolerance: 1e-5,
        threads: 2,
        runner: Box::new(runner),
    }
}

/// The scores after the last step only.
pub(super) fn viterbi() -> Case {
    let (steps, states) = (4096, 64);
    let mut r = Random::new(14);
    let a = lined(r.uniforms(states * states, -5.0, 0.0));
    let e = lined(r.uniforms(steps * states, -1.0, 0.0));
    let arrays = vec![array("A", &a), array("e", &e)];
    let runner = Runner {
        buffers: vec![0.0_f32; states],
        run: move |scores: &mut Vec<f32>, isa: Isa, _| {
            scores.fill(0.0);
            fits(viterbi::run(isa, states, &a, &e, scores));
        },
        output: |scores: &Vec<f32>| scores.iter().map(|&s| f64::from(s)).collect(),
    };
    Case {
        name: "viterbi",
        layer: "viterbi",
        dims: vec![("S", states as i64)],
        batch: 1,
        steps,
        arrays,
        work: Work::new(2.0 * (steps * states * states) as f64, 0.0),
        tolerance: 1e-5,
        threads: 1,
        runner: Box::new(runner),
    }
}
