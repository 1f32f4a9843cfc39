//! The scores of a block: what a step's probe finds of what an earlier step has written.
//!
//! With a decay for each head, a score is the product of probe and key times one number. With a decay for each key it is a
//! sum over keys of three factors. Between the two halves of a block, the decays fall apart into those up to the middle
//! and those behind it: both are running products, no more than 1 where decays are, and what is left is a product of
//! matrices again. So it goes on in each half, until few steps are left.

use std::ops::Range;

use super::Decay;
use super::block::{Scratch, product};
use crate::product::{PAD, Vectors};
use crate::tensor::Float;

/// How many steps are not halved any more; whole vectors of them.
const FEW: usize = PAD;

impl<F: Float> Scratch<F> {
    /// The scores of the probe and a write, for a decay that is a number or nothing.
    pub(super) fn scores_by_head(
        &mut self,
        vectors: Vectors,
        (scores, write, keys): (usize, usize, usize),
        decay: Decay,
        after: bool,
        steps: usize,
    ) {
        let row = self.step_row;
        for first in (0..steps).step_by(PAD) {
            let rows = first..(first + PAD).min(steps);
            product(
                vectors,
                (rows.len(), rows.end, keys),
                (&self.probe[first * self.key_row..], self.key_row),
                (&self.keys_across[write], row),
                (&mut self.scores[scores][first * row..], row),
            );
        }
        if decay == Decay::One {
            return;
        }
        // What a probe of the old state finds has decayed up to the step before.
        let first = usize::from(!after);
        let spans = self.spans.chunks_exact(row).take(steps - first);
        for (t, (scores, spans)) in self.scores[scores].chunks_exact_mut(row).skip(first).zip(spans).enumerate() {
            scores[..=t].iter_mut().zip(spans).for_each(|(score, &span)| *score *= span);
        }
    }

    /// The scores of the probe and the keys in these steps, for a decay for each key.
    pub(super) fn scores_by_key(
        &mut self,
        vectors: Vectors,
        (scores, keys): (usize, usize),
        after: bool,
        steps: Range<usize>,
    ) {
        if steps.len() <= FEW {
            return self.few_scores_by_key((scores, keys), after, steps);
        }
        let middle = steps.start + (steps.len() / 2).next_multiple_of(FEW);
        self.scores_by_key(vectors, (scores, keys), after, steps.start..middle);
        self.scores_by_key(vectors, (scores, keys), after, middle..steps.end);
        self.scale_probe(keys, after, middle..steps.end);
        self.scale_keys(keys, steps.start..middle);
        let row = self.step_row;
        product(
            vectors,
            (steps.end - middle, middle - steps.start, keys),
            (&self.scaled, self.key_row),
            (&self.scaled_across, row),
            (&mut self.scores[scores][middle * row + steps.start..], row),
        );
    }

    fn few_scores_by_key(&mut self, (scores, keys): (usize, usize), after: bool, steps: Range<usize>) {
        let of = |matrix: &[F], t: usize, row: usize| t * row..(t * row + keys).min(matrix.len());
        for s in steps.clone() {
            let key = of(&self.keys, s, self.key_row);
            self.running[..keys].copy_from_slice(&self.keys[key]);
            for t in s..steps.end {
                let decays = &self.decays[of(&self.decays, t, self.key_row)];
                let probe = &self.probe[of(&self.probe, t, self.key_row)];
                // A probe of the old state comes before the decay of its step, another one behind it.
                let decay = |running: &mut [F]| running.iter_mut().zip(decays).for_each(|(x, &d)| *x *= d);
                if after && t > s {
                    decay(&mut self.running[..keys]);
                }
                if after || t > s {
                    self.scores[scores][t * self.step_row + s] = dot(probe, &self.running[..keys]);
                }
                if !after && t > s {
                    decay(&mut self.running[..keys]);
                }
            }
        }
    }

    /// The probe's rows in these steps times the decays from the first of them on.
    pub(super) fn scale_probe(&mut self, keys: usize, after: bool, steps: Range<usize>) {
        self.running[..keys].fill(F::from_f64(1.0));
        let row = self.key_row;
        for (to, t) in self.scaled.chunks_exact_mut(row).zip(steps) {
            let decays = &self.decays[t * row..][..keys];
            let probe = &self.probe[t * row..][..keys];
            let running = &mut self.running[..keys];
            if after {
                running.iter_mut().zip(decays).for_each(|(x, &decay)| *x *= decay);
            }
            for ((to, &probe), &running) in to.iter_mut().zip(probe).zip(running.iter()) {
                *to = probe * running;
            }
            if !after {
                running.iter_mut().zip(decays).for_each(|(x, &decay)| *x *= decay);
            }
        }
    }

    /// The keys of these steps times the decays behind each up to the last of them, a column for each step.
    fn scale_keys(&mut self, keys: usize, steps: Range<usize>) {
        self.running[..keys].fill(F::from_f64(1.0));
        for t in steps.clone().rev() {
            let from = &self.keys[t * self.key_row..][..keys];
            let decays = &self.decays[t * self.key_row..][..keys];
            let column = t - steps.start;
            for (k, running) in self.running[..keys].iter_mut().enumerate() {
                self.scaled_across[k * self.step_row + column] = from[k] * *running;
                *running *= decays[k];
            }
        }
    }
}

/// The sum of products, on several sums side by side.
fn dot<F: Float>(a: &[F], b: &[F]) -> F {
    const SUMS: usize = 16;
    let mut sums = [F::default(); SUMS];
    let (a, b) = (a.chunks_exact(SUMS), b.chunks_exact(SUMS));
    let rest = a.remainder().iter().zip(b.remainder()).fold(F::default(), |sum, (&x, &y)| sum + x * y);
    for (a, b) in a.zip(b) {
        for (sum, (&x, &y)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += x * y;
        }
    }
    sums.into_iter().fold(rest, |sum, x| sum + x)
}
