//! Cases of one channel, whose lanes lie along time.

use std::sync::Arc;

use super::{Array, Case, Lined, Runner, Values, Work, array, fits, lined};
use crate::finite_map::Table;
use crate::random::Random;
use crate::{Isa, biquad, first_order};

const LONG: usize = 1 << 24;
const SECTION: biquad::Section<f64> = [0.0675, 0.1349, 0.0675, -1.143, 0.4128];

fn one_channel(name: &'static str, layer: &'static str, steps: usize, arrays: Vec<Array>) -> Case {
    let nothing = Runner { buffers: (), run: |(): &mut (), _, _| {}, output: |(): &()| Vec::new() };
    Case {
        name,
        layer,
        dims: Vec::new(),
        batch: 1,
        steps,
        arrays,
        work: Work::new(0.0, 0.0),
        // The state is rounded in another order than step by step.
        tolerance: 1e-5,
        threads: 2,
        runner: Box::new(nothing),
    }
}

pub(super) fn ema() -> Case {
    let mut r = Random::new(4);
    let (x, a, b) = (lined(r.normals(LONG)), 0.99_f32, 0.01_f32);
    let arrays = vec![array("a", &lined(vec![a])), array("b", &lined(vec![b])), array("x", &x)];
    let runner = Runner {
        buffers: Lined::zeros(LONG),
        run: move |y: &mut Lined<f32>, isa: Isa, threads: usize| {
            fits(first_order::constant(isa, threads, a, b, &x, 0.0, y));
        },
        output: Lined::wide,
    };
    let work = Work { operations: [9.0 * LONG as f64, 7.0 * LONG as f64], bytes: 8.0 * LONG as f64, cycles: 0.0 };
    Case { work, runner: Box::new(runner), ..one_channel("ema", "ema", LONG, arrays) }
}

pub(super) fn first_order() -> Case {
    let mut r = Random::new(5);
    let (a, b) = (lined(r.uniforms(LONG, 0.9, 1.0)), lined(r.normals(LONG)));
    let arrays = vec![array("a", &a), array("b", &b)];
    let runner = Runner {
        buffers: Lined::zeros(LONG),
        run: move |y: &mut Lined<f32>, isa: Isa, threads: usize| {
            fits(first_order::varying(isa, threads, &a, &b, 0.0, y));
        },
        output: Lined::wide,
    };
    let work = Work { operations: [18.0 * LONG as f64, 14.0 * LONG as f64], bytes: 12.0 * LONG as f64, cycles: 0.0 };
    Case { work, runner: Box::new(runner), ..one_channel("first order, varying", "first_order", LONG, arrays) }
}

/// A vector of `W` outputs takes `W + 4` multiply-adds.
fn biquad_operations(steps: usize, width: f64) -> [f64; 2] {
    [16.0 / width, 8.0 / width].map(|w| steps as f64 * (w + 4.0) * width)
}

pub(super) fn biquad_f32() -> Case {
    let steps = LONG / 4;
    let mut r = Random::new(6);
    let (x, c) = (lined(r.normals(steps)), SECTION.map(|c| c as f32));
    let arrays = vec![array("c", &lined(c.to_vec())), array("x", &x)];
    let runner = Runner {
        buffers: Lined::zeros(steps),
        run: move |y: &mut Lined<f32>, isa: Isa, threads: usize| {
            fits(biquad::constant_f32(isa, threads, &c, &x, y));
        },
        output: Lined::wide,
    };
    let work = Work { operations: biquad_operations(steps, 1.0), bytes: 8.0 * steps as f64, cycles: 0.0 };
    Case { work, runner: Box::new(runner), ..one_channel("biquad f32", "biquad", steps, arrays) }
}

pub(super) fn biquad_f64() -> Case {
    let steps = LONG / 4;
    let mut r = Random::new(7);
    let x: Arc<Lined<f64>> = lined((0..steps).map(|_| f64::from(r.normal())).collect::<Vec<f64>>());
    let arrays = vec![
        Array { name: "c", values: Values::F64(lined(SECTION.to_vec())) },
        Array { name: "x", values: Values::F64(Arc::clone(&x)) },
    ];
    let runner = Runner {
        buffers: vec![0.0; steps],
        run: move |y: &mut Vec<f64>, isa: Isa, threads: usize| {
            if isa == Isa::Plain {
                fits(biquad::plain_f64(&SECTION, &x, y));
            } else {
                fits(biquad::constant_f64(isa, threads, &SECTION, &x, y));
            }
        },
        output: Vec::clone,
    };
    let work = Work { operations: biquad_operations(steps, 2.0), bytes: 16.0 * steps as f64, cycles: 0.0 };
    let case = one_channel("biquad f64", "biquad", steps, arrays);
    Case { work, tolerance: 1e-13, runner: Box::new(runner), ..case }
}

pub(super) fn biquad_varying() -> Case {
    let steps = LONG / 4;
    let mut r = Random::new(8);
    let x = lined(r.normals(steps));
    let c: [Arc<Lined<f32>>; 5] =
        SECTION.map(|c| lined((0..steps).map(|_| c as f32 * r.uniform(1.0, 1.02)).collect::<Vec<f32>>()));
    let mut arrays = vec![array("x", &x)];
    arrays.extend(["b0", "b1", "b2", "a1", "a2"].into_iter().zip(&c).map(|(name, c)| array(name, c)));
    let runner = Runner {
        buffers: Lined::zeros(steps),
        run: move |y: &mut Lined<f32>, isa: Isa, _| {
            let c = std::array::from_fn(|k| &c[k][..]);
            if isa == Isa::Plain {
                fits(biquad::plain_varying(c, &x, y));
            } else {
                fits(biquad::varying(isa, c, &x, y));
            }
        },
        output: Lined::wide,
    };
    // One multiply-add of four cycles after the other.
    let work = Work { cycles: 4.0 * steps as f64, ..Work::new(0.0, 28.0 * steps as f64) };
    let case = one_channel("biquad, varying", "biquad_varying", steps, arrays);
    Case { work, threads: 1, runner: Box::new(runner), ..case }
}

/// The state after the last token only.
pub(super) fn finite_map() -> Case {
    let steps = 1 << 26;
    let mut r = Random::new(9);
    // Permutations: states never fall together.
    let mut maps = [[0_u8; 16]; 256];
    for map in &mut maps {
        *map = std::array::from_fn(|s| s as u8);
        for s in (1..16).rev() {
            map.swap(s, (r.bits() >> 33) as usize % (s + 1));
        }
    }
    let tokens: Arc<Lined<u8>> = lined((0..steps).map(|_| (r.bits() >> 33) as u8).collect::<Vec<u8>>());
    let arrays = vec![
        Array { name: "next", values: Values::Bytes(lined(maps.concat())) },
        Array { name: "tok", values: Values::Bytes(Arc::clone(&tokens)) },
    ];
    let table = fits(Table::new(&maps));
    let runner = Runner {
        buffers: 0_u8,
        run: move |state: &mut u8, isa: Isa, threads: usize| {
            *state = match isa {
                Isa::Plain => table.plain(&tokens, 3),
                _ => table.compose(isa, threads, &tokens)[3],
            };
        },
        output: |state: &u8| vec![f64::from(*state)],
    };
    // A shuffle for every token, two a cycle; it is the same at every width.
    let work = Work { cycles: 0.5 * steps as f64, ..Work::new(0.0, steps as f64) };
    Case { work, tolerance: 0.0, runner: Box::new(runner), ..one_channel("finite map", "finite_map", steps, arrays) }
}
