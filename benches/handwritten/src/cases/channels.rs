//! Cases whose lanes lie along channels.

use std::sync::Arc;

use super::{Array, Case, Lined, Runner, Work, array, fits, lined};
use crate::random::Random;
use crate::{Isa, diagonal, longhorn, mamba};

const CHANNELS: usize = 1024;
const STATES: usize = 16;

/// Parameters and inputs of Mamba.
#[derive(Clone)]
struct Data {
    layer: mamba::Mamba,
    gates: bool,
    arrays: Vec<Array>,
    x: Arc<Lined<f32>>,
    dt: Arc<Lined<f32>>,
    z: Arc<Lined<f32>>,
    b: Arc<Lined<f32>>,
    c: Arc<Lined<f32>>,
}

impl Data {
    fn new(steps: usize, gates: bool) -> Self {
        let (d, n) = (CHANNELS, STATES);
        let mut r = Random::new(1);
        let a: Vec<f32> = (0..d * n).map(|i| -((i % n + 1) as f32) * r.uniform(1.0, 1.2)).collect();
        let a = lined(a);
        let skip = lined(r.uniforms(d, 0.8, 1.2));
        let bias = lined(r.uniforms(d, -4.0, -1.0));
        let x = lined(r.normals(steps * d));
        let dt = lined(if gates { r.normals(steps * d) } else { r.uniforms(steps * d, 0.001, 0.1) });
        let z = lined(if gates { r.normals(steps * d) } else { Vec::new() });
        let (b, c) = (lined(r.normals(steps * n)), lined(r.normals(steps * n)));
        let mut layer = fits(mamba::Mamba::new(d, n, &a, &skip));
        let mut arrays = vec![
            array("A", &a),
            array("skip", &skip),
            array("x", &x),
            array("dt", &dt),
            array("B", &b),
            array("C", &c),
        ];
        if gates {
            layer = fits(layer.with_gates(&bias));
            arrays.extend([array("bias", &bias), array("z", &z)]);
        }
        Self { layer, gates, arrays, x, dt, z, b, c }
    }

    fn inputs(&self) -> mamba::Inputs<'_> {
        mamba::Inputs { x: &self.x, dt: &self.dt, z: &self.z, b: &self.b, c: &self.c }
    }

    /// For each state an exponential of 7 operations and 4 more; softplus and silu are 45 for a channel.
    fn operations(&self) -> f64 {
        let pointwise = if self.gates { 49.0 } else { 4.0 };
        self.x.len() as f64 * (STATES as f64 * 11.0 + pointwise)
    }

    fn case(self, name: &'static str, steps: usize, bytes: f64, threads: usize, runner: Box<dyn super::Run>) -> Case {
        Case {
            name,
            layer: if self.gates { "mamba_fused" } else { "mamba_scan" },
            dims: vec![("D", CHANNELS as i64), ("N", STATES as i64)],
            batch: 1,
            steps,
            work: Work::new(self.operations(), bytes),
            arrays: self.arrays,
            // Decays of products that were rounded, over as many steps as a state lasts.
            tolerance: 1e-5,
            threads,
            runner,
        }
    }
}

pub(super) fn mamba(name: &'static str, steps: usize, gates: bool) -> Case {
    let data = Data::new(steps, gates);
    let run = data.clone();
    let bytes = if gates { 16.0 } else { 12.0 } * (steps * CHANNELS) as f64;
    let runner = Runner {
        buffers: (Lined::zeros(CHANNELS * STATES), Lined::zeros(steps * CHANNELS)),
        run: move |(state, y): &mut (Lined<f32>, Lined<f32>), isa: Isa, threads: usize| {
            state.fill(0.0);
            fits(run.layer.run(isa, threads, steps, &run.inputs(), state, y));
        },
        output: |(_, y): &(Lined<f32>, Lined<f32>)| y.wide(),
    };
    data.case(name, steps, bytes, 2, Box::new(runner))
}

/// What decoding keeps: a state for every instruction set, so that the first step of each is the same.
struct Decoding {
    decoders: Vec<(Isa, mamba::Decoder)>,
    state: Vec<f32>,
    y: Vec<f32>,
}

/// One step; the first run is from a state of zeros, and the others go on from there.
pub(super) fn decode() -> Case {
    let data = Data::new(1, true);
    let own = data.clone();
    let decoder = fits(mamba::Decoder::new(data.layer.clone()));
    let runner = Runner {
        buffers: Decoding {
            decoders: Isa::ALL.map(|isa| (isa, decoder.clone())).to_vec(),
            state: vec![0.0; CHANNELS * STATES],
            y: vec![0.0; CHANNELS],
        },
        run: move |buffers: &mut Decoding, isa: Isa, _| {
            let Decoding { decoders, state, y } = buffers;
            match decoders.iter_mut().find(|(of, _)| *of == isa) {
                Some((_, decoder)) if isa != Isa::Plain => fits(decoder.step(isa, &own.inputs(), y)),
                _ => fits(own.layer.plain(1, &own.inputs(), state, y)),
            }
        },
        output: |buffers: &Decoding| buffers.y.iter().map(|&y| f64::from(y)).collect(),
    };
    data.case("mamba decode", 1, 0.0, 1, Box::new(runner))
}

pub(super) fn diagonal(name: &'static str, steps: usize, channels: usize) -> Case {
    let mut r = Random::new(2);
    let n = steps * channels;
    let (a, b) = (lined(r.uniforms(n, 0.9, 1.0)), lined(r.normals(n)));
    let arrays = vec![array("a", &a), array("b", &b)];
    let runner = Runner {
        buffers: (Lined::zeros(channels), Lined::zeros(n)),
        run: move |(h, y): &mut (Lined<f32>, Lined<f32>), isa: Isa, threads: usize| {
            h.fill(0.0);
            fits(diagonal::run(isa, threads, channels, &a, &b, h, y));
        },
        output: |(_, y): &(Lined<f32>, Lined<f32>)| y.wide(),
    };
    let streamed = n > 1 << 20;
    // In the second level a line takes four cycles: two in, one out, one for the line that is written.
    let cycles = if streamed { 0.0 } else { n as f64 / 16.0 * 4.0 };
    Case {
        name,
        layer: "diagonal",
        dims: vec![("D", channels as i64)],
        batch: 1,
        steps,
        arrays,
        work: Work { cycles, ..Work::new(0.0, if streamed { 12.0 * n as f64 } else { 0.0 }) },
        tolerance: 1e-5,
        threads: if streamed { 2 } else { 1 },
        runner: Box::new(runner),
    }
}

pub(super) fn longhorn() -> Case {
    let (steps, d, n) = (2048, CHANNELS, STATES);
    let mut r = Random::new(3);
    let (x, beta) = (lined(r.normals(steps * d)), lined(r.uniforms(steps * d, 0.0, 1.0)));
    let (k, q) = (lined(r.uniforms(steps * n, -0.8, 0.8)), lined(r.normals(steps * n)));
    let arrays = vec![array("x", &x), array("beta", &beta), array("k", &k), array("q", &q)];
    let runner = Runner {
        buffers: (Lined::zeros(d * n), Lined::zeros(steps * d)),
        run: move |(state, y): &mut (Lined<f32>, Lined<f32>), isa: Isa, threads: usize| {
            state.fill(0.0);
            let inputs = longhorn::Inputs { x: &x, beta: &beta, k: &k, q: &q };
            fits(longhorn::run(isa, threads, d, n, steps, &inputs, state, y));
        },
        output: |(_, y): &(Lined<f32>, Lined<f32>)| y.wide(),
    };
    Case {
        name: "longhorn",
        layer: "longhorn",
        dims: vec![("D", d as i64), ("N", n as i64)],
        batch: 1,
        steps,
        arrays,
        work: Work::new((steps * d) as f64 * (4.0 * n as f64 + 9.0), 12.0 * (steps * d) as f64),
        tolerance: 1e-5,
        threads: 2,
        runner: Box::new(runner),
    }
}
