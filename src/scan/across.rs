//! Layers in rows of steps: their kernel, and runs of it.
//!
//! In: a layer whose states are scalars, with its verdict; then what a run reads and writes. [`rows()`] makes the layer in
//! rows. Steps before the first whole row and behind the last one are run by the layer's own kernel.

use std::ops::Range;

use ssmc_runtime::{Bound, Carry, Elements, Run, RunError, Sequences, Tensor};

use super::group::unread;
use super::lanes::asks_for_first;
use crate::analysis::verdict::Verdict;
use crate::ir::Instance;
use crate::ir::interp::Real;
use crate::jit::{Backend, Form, Isa, Kernel, compile_for};

mod rows;

use rows::lanes;
pub(super) use rows::{Rows, rows};

/// A layer's kernel for rows.
pub(super) struct Across<F> {
    lanes: usize,
    rows: Rows,
    /// Whether the layer asks for the first step.
    first: bool,
    /// How many steps before a row have to be there.
    back: usize,
    kernel: Kernel<F>,
}

impl<F: Real> Across<F> {
    /// Compiles the rows of a layer; `None` where it has none.
    pub(super) fn new(instance: &Instance, verdict: &Verdict, isa: Isa) -> Option<Self> {
        let rows = rows(instance, verdict, isa, F::BITS)?;
        let kernel = compile_for(&rows.instance, Form::Sequence, isa).ok()?;
        let first = asks_for_first(&instance.layer);
        let kept = instance.depths.iter().copied().chain(rows.recent.iter().map(|recent| recent.2 + 1));
        let back = kept.chain(rows.views.iter().map(|view| view.1)).max().unwrap_or(0);
        Some(Self { lanes: lanes(isa, F::BITS)?, rows, first, back, kernel })
    }

    /// What has made the code.
    pub(super) fn backend(&self) -> Backend {
        self.kernel.backend()
    }

    /// How many steps a row has.
    pub(super) fn lanes(&self) -> usize {
        self.lanes
    }

    /// Runs all sequences: the first steps where something looks back from them, then rows, then what is left.
    pub(super) fn run(&self, whole: &Kernel<F>, mut run: Run<'_, F>) -> Result<(), RunError> {
        let Run { bound, sequences, inputs, .. } = run;
        let (mut heads, mut rows, mut rests) = (Vec::new(), Vec::new(), Vec::new());
        for (s, &steps) in run.carry.steps.iter().enumerate() {
            let range = sequences.range(s);
            // Whole rows, so that where the outputs begin with a line of the cache, each row is one.
            let head = self.back.max(usize::from(self.first && steps == 0)).next_multiple_of(self.lanes);
            let first = range.start + head.min(range.len());
            let last = first + (range.end - first) / self.lanes * self.lanes;
            heads.push(range.start..first);
            rows.push(first..last);
            rests.push(last..range.end);
        }
        let part = |ranges: Vec<Range<usize>>, run: &mut Run<'_, F>| {
            if ranges.iter().all(Range::is_empty) {
                return Ok(());
            }
            let part = Sequences::spaced(sequences.total(), ranges).expect("parts of sequences lie apart");
            whole.perform(run.part(&part)).map(|_| ())
        };
        part(heads, &mut run)?;
        let own = Bound {
            params: bound.params.clone(),
            initial: self.kernel.signature().states.iter().map(unread).collect(),
        };
        let states = self.rows.states.iter().map(|&s| spread(&run.carry.states[s], self.lanes)).collect();
        // No row holds the first step of its sequence.
        let mut wide = Carry { steps: vec![1; run.carry.steps.len()], states, delays: Vec::new() };
        let apart = &Sequences::spaced(sequences.total(), rows.clone()).expect("parts of sequences lie apart");
        let in_rows = Run { bound: &own, sequences: apart, carry: &mut wide, ..run.lent() };
        self.kernel.run_rows(in_rows, &self.rows.views)?;
        let carry = &mut *run.carry;
        let mut again: Vec<_> = rows.iter().map(|range| range.start..range.start).collect();
        for (s, range) in rows.iter().enumerate().filter(|(_, range)| !range.is_empty()) {
            let of = |(&state, wide): (&usize, &Tensor<F>)| is_finite(&carry.states[state], s) && !is_finite(wide, s);
            if self.rows.mixed && self.rows.states.iter().zip(&wide.states).any(of) {
                // In order, the steps before the first one that is not finite are numbers.
                again[s] = range.clone();
                continue;
            }
            for (&state, wide) in self.rows.states.iter().zip(&wide.states) {
                copy(wide, s * self.lanes, &mut carry.states[state], s);
            }
            carry.steps[s] += range.len() as u64;
            for &(state, input, back) in &self.rows.recent {
                copy(&inputs[input], range.end - 1 - back, &mut carry.states[state], s);
            }
            for (delay, &input) in carry.delays.iter_mut().zip(&self.rows.delays) {
                let depth = delay.shape[1];
                (0..depth).for_each(|j| copy(&inputs[input], range.end - 1 - j, delay, s * depth + j));
            }
        }
        part(again, &mut run)?;
        part(rests, &mut run)
    }
}

/// Copies an element.
fn copy<F: Real>(from: &Tensor<F>, at: usize, to: &mut Tensor<F>, place: usize) {
    match (&from.elements, &mut to.elements) {
        (Elements::Real(from), Elements::Real(to)) => to[place] = from[at],
        (Elements::Complex { re, im }, Elements::Complex { re: to_re, im: to_im }) => {
            (to_re[place], to_im[place]) = (re[at], im[at]);
        }
        (Elements::Int(from), Elements::Int(to)) => to[place] = from[at],
        (Elements::Bool(from), Elements::Bool(to)) => to[place] = from[at],
        _ => unreachable!("what holds an input has its type"),
    }
}

/// Every element so many times.
fn spread<F: Real>(tensor: &Tensor<F>, lanes: usize) -> Tensor<F> {
    let repeat = |v: &[F]| v.iter().flat_map(|&x| std::iter::repeat_n(x, lanes)).collect();
    let elements = match &tensor.elements {
        Elements::Real(v) => Elements::Real(repeat(v)),
        Elements::Complex { re, im } => Elements::Complex { re: repeat(re), im: repeat(im) },
        _ => unreachable!("states along rows are numbers"),
    };
    Tensor { shape: vec![tensor.shape[0], lanes], elements }
}

/// Whether all elements of a row are finite numbers.
fn is_finite<F: Real>(tensor: &Tensor<F>, row: usize) -> bool {
    let size = tensor.shape[1..].iter().product::<usize>();
    let finite = |v: &[F]| v[row * size..(row + 1) * size].iter().all(|x| x.to_f64().is_finite());
    match &tensor.elements {
        Elements::Real(v) => finite(v),
        Elements::Complex { re, im } => finite(re) && finite(im),
        _ => true,
    }
}
