//! One block of steps of one head.

use super::{Decay, Factor, Program, Shape, Unit};
use crate::memory::Aligned;
use crate::product::{Extents, Left, Right, Target, Vectors};
use crate::tensor::Float;

/// The side of the squares in which matrices are turned.
const SIDE: usize = 8;

/// How many rows are solved, and read, one after the other, between products.
const ROWS: usize = 8;

/// Which steps of which head.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) sequence: usize,
    pub(super) head: usize,
    pub(super) start: usize,
    pub(super) steps: usize,
}

/// A contraction of the state.
#[derive(Clone, Copy)]
struct Probe {
    /// The factor that it is contracted with.
    factor: usize,
    /// Whether it reads the state after the step.
    after: bool,
}

/// The memory for a block. Matrices by step have a row for each step; those by key have one for each key.
#[derive(Debug)]
pub(super) struct Scratch<F: Float> {
    /// The extents that it was made for: the shape, writes and probes.
    made_for: (Shape, usize, usize, bool),
    /// From row to row of matrices with a column for each key, step or value.
    pub(super) key_row: usize,
    pub(super) step_row: usize,
    value_row: usize,
    /// The keys of a write by step, where decays are by key.
    pub(super) keys: Aligned<F>,
    /// The keys of each write by key: a column for each step.
    pub(super) keys_across: Vec<Aligned<F>>,
    /// The rows of each write by step.
    values: Vec<Aligned<F>>,
    /// A probe by step.
    pub(super) probe: Aligned<F>,
    /// A probe, or half of its rows, times decays; and keys so, by key.
    pub(super) scaled: Aligned<F>,
    pub(super) scaled_across: Aligned<F>,
    /// The scores of each probe and write by step: a column for each step that writes.
    pub(super) scores: Vec<Aligned<F>>,
    /// What each probe finds, by step.
    found: Vec<Aligned<F>>,
    /// The decays of the block: a number for each step, or for each step and key.
    pub(super) decays: Aligned<F>,
    /// The products of decays from column to row.
    pub(super) spans: Aligned<F>,
    /// A running product for each key, or for each step.
    pub(super) running: Aligned<F>,
}

impl Program {
    /// All contractions: those that are written back, then those that are returned.
    fn probes(&self) -> impl Iterator<Item = Probe> + '_ {
        let answers = self.writes.iter().flat_map(|w| &w.answers).map(|a| Probe { factor: a.probe, after: false });
        answers.chain(self.reads.iter().map(|r| Probe { factor: r.query, after: r.after }))
    }

    fn answers(&self) -> usize {
        self.writes.iter().map(|w| w.answers.len()).sum()
    }
}

impl<F: Float> Scratch<F> {
    fn wanted(program: &Program) -> (Shape, usize, usize, bool) {
        let probes = program.answers() + program.reads.len();
        (program.shape, program.writes.len(), probes, matches!(program.decay, Decay::Key(_)))
    }

    pub(super) fn fits(&self, program: &Program) -> bool {
        self.made_for == Self::wanted(program)
    }

    pub(super) fn new(program: &Program) -> Self {
        let made_for = Self::wanted(program);
        let (Shape { keys, values, block, .. }, writes, probes, by_key) = made_for;
        let (key_row, step_row, value_row) = (Shape::stride(keys), Shape::stride(block), Shape::stride(values));
        let zeros = Aligned::zeros;
        let only = |n: usize, wanted: bool| zeros(if wanted { n } else { 0 });
        Self {
            made_for,
            key_row,
            step_row,
            value_row,
            keys: only(block * key_row, by_key),
            keys_across: vec![zeros(keys * step_row); writes],
            values: vec![zeros(block * value_row); writes],
            probe: zeros(block * key_row),
            scaled: only(block * key_row, by_key),
            scaled_across: only(keys * step_row, by_key),
            scores: vec![zeros(block * step_row); writes * probes],
            found: vec![zeros(block * value_row); probes],
            decays: zeros(if by_key { block * key_row } else { block }),
            spans: only(block * step_row, !by_key),
            running: zeros(key_row.max(step_row)),
        }
    }

    /// Runs a block: from the state at its start to the state at its end.
    pub(super) fn block(&mut self, program: &Program, factors: &[Factor<'_, F>], place: Place, unit: &mut Unit<F>) {
        let Shape { keys, values, .. } = program.shape;
        let Place { start, steps, .. } = place;
        for (w, write) in program.writes.iter().enumerate() {
            across(&factors[write.key], place, &mut self.keys_across[w], self.step_row);
            match write.value {
                Some(value) => along(&factors[value], place, &mut self.values[w], self.value_row),
                None => self.values[w].fill(F::default()),
            }
        }
        match program.decay {
            Decay::One => {}
            Decay::Head(factor) => self.take_spans(&factors[factor], place),
            Decay::Key(factor) => along(&factors[factor], place, &mut self.decays, self.key_row),
        }
        for (p, probe) in program.probes().enumerate() {
            along(&factors[probe.factor], place, &mut self.probe, self.key_row);
            self.find_at_start(program, p, probe.after, steps, &unit.state.elements);
            for (w, write) in program.writes.iter().enumerate() {
                let scores = p * program.writes.len() + w;
                match program.decay {
                    Decay::Key(_) => {
                        along(&factors[write.key], place, &mut self.keys, self.key_row);
                        self.scores_by_key(program.vectors, (scores, keys), probe.after, 0..steps);
                    }
                    decay => self.scores_by_head(program.vectors, (scores, w, keys), decay, probe.after, steps),
                }
            }
        }
        self.solve(program, factors, place);
        for (r, read) in program.reads.iter().enumerate() {
            let p = program.answers() + r;
            for first in (0..steps).step_by(ROWS) {
                let rows = first..(first + ROWS).min(steps);
                self.before(program, p, rows.clone());
                for t in rows {
                    self.within(program, p, first..t + usize::from(read.after), t);
                }
            }
            let to = &mut unit.rows[r][start * values..(start + steps) * values];
            for (to, from) in to.chunks_exact_mut(values.max(1)).zip(self.found[p].chunks_exact(self.value_row)) {
                to.copy_from_slice(&from[..values]);
            }
        }
        self.write(program, steps, &mut unit.state.elements);
    }

    /// The products of decays between steps, for a number a step: row `t`, column `s` has those after `s` up to `t`. What
    /// comes from the start of the block to `t` stands in `running`.
    fn take_spans(&mut self, factor: &Factor<'_, F>, place: Place) {
        let row = self.step_row;
        let mut product = F::from_f64(1.0);
        for t in 0..place.steps {
            let decay = factor.at(place.sequence, place.head, place.start + t)[factor.access.inner[0]];
            self.decays[t] = decay;
            product *= decay;
            self.running[t] = product;
            let (before, now) = self.spans.split_at_mut(t * row);
            if let Some(before) = before.len().checked_sub(row).map(|at| &before[at..]) {
                for (to, from) in now[..t].iter_mut().zip(before) {
                    *to = *from * decay;
                }
            }
            now[t] = F::from_f64(1.0);
        }
    }

    /// What a probe finds of the state at the start of the block.
    fn find_at_start(&mut self, program: &Program, p: usize, after: bool, steps: usize, state: &[F]) {
        let Shape { keys, values, .. } = program.shape;
        let by_key = matches!(program.decay, Decay::Key(_));
        if by_key {
            self.scale_probe(keys, after, 0..steps);
        }
        F::product(
            program.vectors,
            Extents { rows: steps, columns: values, inner: keys },
            Left { elements: if by_key { &self.scaled } else { &self.probe }, row: self.key_row, column: 1 },
            Right { elements: state, row: self.value_row },
            Target { elements: &mut self.found[p], row: self.value_row, add: false },
        );
        if let Decay::Head(_) = program.decay {
            let first = usize::from(!after);
            for (t, row) in self.found[p].chunks_exact_mut(self.value_row).enumerate().take(steps).skip(first) {
                let factor = self.running[t - first];
                row[..values].iter_mut().for_each(|x| *x *= factor);
            }
        }
    }

    /// Completes the rows of the writes, in the order of the steps.
    fn solve(&mut self, program: &Program, factors: &[Factor<'_, F>], place: Place) {
        let values = program.shape.values;
        if program.answers() == 0 {
            return;
        }
        for first in (0..place.steps).step_by(ROWS) {
            let rows = first..(first + ROWS).min(place.steps);
            (0..program.answers()).for_each(|p| self.before(program, p, rows.clone()));
            for t in rows {
                let mut p = 0;
                (0..program.answers()).for_each(|p| self.within(program, p, first..t, t));
                for (w, write) in program.writes.iter().enumerate() {
                    for answer in &write.answers {
                        let found = &self.found[p][t * self.value_row..][..values];
                        let to = &mut self.values[w][t * self.value_row..][..values];
                        match answer.scale {
                            None => to.iter_mut().zip(found).for_each(|(x, &y)| *x += y),
                            Some(scale) => {
                                let factor = &factors[scale];
                                let scale = factor.at(place.sequence, place.head, place.start + t);
                                match factor.access.inner[..] {
                                    [at] => {
                                        let scale = scale[at];
                                        to.iter_mut().zip(found).for_each(|(x, &y)| *x += scale * y);
                                    }
                                    _ => {
                                        let each = to.iter_mut().zip(found).zip(&factor.access.inner);
                                        each.for_each(|((x, &y), &at)| *x += scale[at] * y);
                                    }
                                }
                            }
                        }
                        p += 1;
                    }
                }
            }
        }
    }

    /// Adds to what a probe finds in these steps what all steps before them have written.
    fn before(&mut self, program: &Program, p: usize, rows: std::ops::Range<usize>) {
        if rows.start == 0 {
            return;
        }
        self.add_written(program, p, 0..rows.start, rows);
    }

    /// The same for one step, and what some steps have written.
    fn within(&mut self, program: &Program, p: usize, written: std::ops::Range<usize>, t: usize) {
        if !written.is_empty() {
            self.add_written(program, p, written, t..t + 1);
        }
    }

    fn add_written(
        &mut self,
        program: &Program,
        p: usize,
        written: std::ops::Range<usize>,
        rows: std::ops::Range<usize>,
    ) {
        let writes = program.writes.len();
        for w in 0..writes {
            let scores = &self.scores[p * writes + w];
            F::product(
                program.vectors,
                Extents { rows: rows.len(), columns: program.shape.values, inner: written.len() },
                Left { elements: &scores[rows.start * self.step_row + written.start..], row: self.step_row, column: 1 },
                Right { elements: &self.values[w][written.start * self.value_row..], row: self.value_row },
                Target { elements: &mut self.found[p][rows.start * self.value_row..], row: self.value_row, add: true },
            );
        }
    }

    /// The state at the end of the block.
    fn write(&mut self, program: &Program, steps: usize, state: &mut [F]) {
        let Shape { keys, values, .. } = program.shape;
        match program.decay {
            Decay::One => {}
            Decay::Head(_) => {
                let whole = self.running[steps - 1];
                for row in state.chunks_exact_mut(self.value_row) {
                    row[..values].iter_mut().for_each(|x| *x *= whole);
                }
                let last = &self.spans[(steps - 1) * self.step_row..][..steps];
                for row in self.keys_across.iter_mut().flat_map(|keys| keys.chunks_exact_mut(self.step_row)) {
                    row.iter_mut().zip(last).for_each(|(x, &span)| *x *= span);
                }
            }
            Decay::Key(_) => {
                self.running.fill(F::from_f64(1.0));
                for t in (0..steps).rev() {
                    for across in &mut self.keys_across {
                        for (key, &running) in self.running[..keys].iter().enumerate() {
                            across[key * self.step_row + t] *= running;
                        }
                    }
                    let decays = &self.decays[t * self.key_row..][..keys];
                    self.running.iter_mut().zip(decays).for_each(|(x, &decay)| *x *= decay);
                }
                for (row, &whole) in state.chunks_exact_mut(self.value_row).zip(self.running.iter()) {
                    row[..values].iter_mut().for_each(|x| *x *= whole);
                }
            }
        }
        for (across, rows) in self.keys_across.iter().zip(&self.values) {
            F::product(
                program.vectors,
                Extents { rows: keys, columns: values, inner: steps },
                Left { elements: across, row: self.step_row, column: 1 },
                Right { elements: rows, row: self.value_row },
                Target { elements: state, row: self.value_row, add: true },
            );
        }
    }
}

/// Copies the rows of a factor: one for each step.
fn along<F: Float>(factor: &Factor<'_, F>, place: Place, to: &mut [F], row: usize) {
    let dense = factor.access.is_dense();
    let n = factor.access.inner.len();
    for (t, to) in to.chunks_exact_mut(row).enumerate().take(place.steps) {
        let from = factor.at(place.sequence, place.head, place.start + t);
        if dense {
            to[..n].copy_from_slice(&from[..n]);
        } else {
            to.iter_mut().zip(&factor.access.inner).for_each(|(to, &at)| *to = from[at]);
        }
    }
}

/// Copies the rows of a factor as columns: one for each step.
fn across<F: Float>(factor: &Factor<'_, F>, place: Place, to: &mut [F], row: usize) {
    let n = factor.access.inner.len();
    // What is turned in squares, which stay in registers.
    let dense = if factor.access.is_dense() { n - n % SIDE } else { 0 };
    for first in (0..place.steps).step_by(SIDE) {
        let steps = SIDE.min(place.steps - first);
        let mut from: [&[F]; SIDE] = [&[]; SIDE];
        for (t, from) in from.iter_mut().enumerate().take(steps) {
            *from = factor.at(place.sequence, place.head, place.start + first + t);
        }
        let whole = if steps == SIDE { dense } else { 0 };
        for key in (0..whole).step_by(SIDE) {
            let mut square = [[F::default(); SIDE]; SIDE];
            for (side, from) in square.iter_mut().zip(&from) {
                side.copy_from_slice(&from[key..key + SIDE]);
            }
            for k in 0..SIDE {
                let to = &mut to[(key + k) * row + first..][..SIDE];
                for (to, side) in to.iter_mut().zip(&square) {
                    *to = side[k];
                }
            }
        }
        let rest = to.chunks_exact_mut(row).zip(&factor.access.inner).skip(whole);
        for (to, &at) in rest {
            for (to, from) in to[first..first + steps].iter_mut().zip(&from) {
                *to = from[at];
            }
        }
    }
}

/// The product of two matrices of a block, with the left one by step.
pub(super) fn product<F: Float>(
    vectors: Vectors,
    (rows, columns, inner): (usize, usize, usize),
    (left, left_row): (&[F], usize),
    (right, right_row): (&[F], usize),
    (target, target_row): (&mut [F], usize),
) {
    F::product(
        vectors,
        Extents { rows, columns, inner },
        Left { elements: left, row: left_row, column: 1 },
        Right { elements: right, row: right_row },
        Target { elements: target, row: target_row, add: false },
    );
}
