//! States of matrices over blocks of time, as matrix products.
//!
//! A state is a matrix `S` (keys by values) for each *head*. In step `t`
//!
//! ```text
//! S[t]    = decay[t] S[t-1] + sum over writes (key[t] x[t]ᵀ)
//! x[t]    = value[t] + sum over answers (scale[t] probe[t]ᵀ S[t-1])
//! y[t]    = query[t]ᵀ S[t]   or   query[t]ᵀ S[t-1]
//! ```
//!
//! where the decay is a number for each head, or one for each key, `x` and `y` are rows of values, and all factors are
//! given for all steps. In a block of steps that starts from `S`, with `D[t, s]` the product of the decays after step `s` up
//! to step `t`,
//!
//! ```text
//! y[t] = D[t, start] query[t]ᵀ S + sum over s <= t (D[t, s] (query[t]ᵀ key[s]) x[s]ᵀ)
//! ```
//!
//! and so for every probe. That is a product with the state for a whole block of queries, one of queries and keys, and one
//! of these *scores* and the rows `x`, which probes make a triangular system, solved forwards; then the state takes all
//! writes of the block in one more product. `D` is built from running products, so that nothing is ever divided by a
//! decay, and no row is multiplied by what a later step brings, be it infinite.
//!
//! Heads and sequences are independent of each other: they are what threads share. Blocks follow from the steps alone.

mod block;
mod scores;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, PoisonError};

use crate::driver::each;
use crate::memory::Aligned;
use crate::product::{PAD, Vectors};
use crate::tensor::Float;
use block::Scratch;

/// What is computed, for all heads alike.
#[derive(Clone, Debug)]
pub struct Program {
    /// The extents.
    pub shape: Shape,
    /// What the state is multiplied by.
    pub decay: Decay,
    /// What is added to it.
    pub writes: Vec<Write>,
    /// What is read from it.
    pub reads: Vec<Read>,
    /// The instructions that products stay within.
    pub vectors: Vectors,
}

/// The extents of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How many matrices a sequence has.
    pub heads: usize,
    /// Their rows: what is contracted.
    pub keys: usize,
    /// Their columns.
    pub values: usize,
    /// How many steps a block has.
    pub block: usize,
}

/// What the state is multiplied by in a step. Numbers are places in the list of factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decay {
    /// Nothing.
    One,
    /// A number for each head.
    Head(usize),
    /// A number for each key.
    Key(usize),
}

/// An outer product that is added to the state. Numbers are places in the list of factors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The column, an element for each key.
    pub key: usize,
    /// The row, an element for each value; zero where absent.
    pub value: Option<usize>,
    /// What of the old state is added to the row.
    pub answers: Vec<Answer>,
}

/// A contraction of the old state that is written back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it is contracted with, an element for each key.
    pub probe: usize,
    /// What it is multiplied by, an element for each value; 1 where absent.
    pub scale: Option<usize>,
}

/// A contraction of the state that is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// What it is contracted with, an element for each key.
    pub query: usize,
    /// Whether it reads the state after the step.
    pub after: bool,
}

/// Where the elements of one head stand in a row of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// How many elements a row of the tensor has.
    pub row: usize,
    /// Where each head begins.
    pub heads: Vec<usize>,
    /// Where its elements are from there; one place for what is a number.
    pub inner: Vec<usize>,
}

impl Access {
    /// Whether elements of a head follow each other.
    pub fn is_dense(&self) -> bool {
        self.inner.iter().enumerate().all(|(at, &place)| at == place)
    }

    /// Where the furthest element of a row stands.
    fn last(&self) -> usize {
        self.heads.iter().max().unwrap_or(&0) + self.inner.iter().max().unwrap_or(&0)
    }
}

/// A factor of the program for all steps of a run.
#[derive(Clone, Copy, Debug)]
pub struct Factor<'a, F> {
    /// The elements of a tensor, row after row.
    pub elements: &'a [F],
    /// Where they stand.
    pub access: &'a Access,
    /// The first row of each sequence.
    pub start: &'a [usize],
}

impl<F: Float> Factor<'_, F> {
    /// The elements of the row in which a step of a sequence stands, from a head on.
    fn at(&self, sequence: usize, head: usize, step: usize) -> &[F] {
        let row = (self.start[sequence] + step) * self.access.row;
        &self.elements[row..row + self.access.row][self.access.heads[head]..]
    }

    fn holds(&self, lengths: &[usize]) -> bool {
        // Rows of no elements are as many as are asked for.
        let rows = self.elements.len().checked_div(self.access.row).unwrap_or(usize::MAX);
        let inside = lengths.iter().zip(self.start).all(|(&n, &start)| n == 0 || start + n <= rows);
        inside && self.start.len() == lengths.len() && self.access.last() < self.access.row.max(1)
    }
}

/// The state of one head of one sequence.
#[derive(Clone, Debug)]
pub struct State<F: Float> {
    /// Keys by values, rows padded.
    elements: Aligned<F>,
}

impl Shape {
    /// From row to row of matrices with that many columns: whole vectors, and no power of two, which would put all
    /// rows to the same places of a cache.
    fn stride(columns: usize) -> usize {
        let wide = columns.next_multiple_of(PAD);
        if wide.is_multiple_of(4 * PAD) { wide + PAD } else { wide }
    }

    /// A state with these elements, by key and value.
    pub fn state<F: Float>(&self, element: impl Fn(usize, usize) -> F) -> State<F> {
        let row = Self::stride(self.values);
        let mut elements = Aligned::zeros(self.keys * row);
        for (key, row) in elements.chunks_exact_mut(row).enumerate() {
            for (value, to) in row[..self.values].iter_mut().enumerate() {
                *to = element(key, value);
            }
        }
        State { elements }
    }

    /// The element of a state.
    pub fn element<F: Float>(&self, state: &State<F>, key: usize, value: usize) -> F {
        state.elements[key * Self::stride(self.values) + value]
    }
}

/// A stretch of all sequences: what a program gets.
pub struct Task<'a, F: Float> {
    /// How many steps each sequence has.
    pub lengths: &'a [usize],
    /// The factors.
    pub factors: &'a [Factor<'a, F>],
    /// Before which steps of each sequence the state takes its initial value; ascending.
    pub restarts: &'a [Vec<usize>],
    /// The initial value of each head; not looked at where nothing restarts.
    pub initial: &'a [State<F>],
    /// How many threads; 0 for all of the machine.
    pub threads: usize,
}

/// What one head of one sequence has: its state, and the rows that were read.
#[derive(Debug)]
pub struct Unit<F: Float> {
    /// The state, which goes in and comes out.
    pub state: State<F>,
    /// For each read `[steps, values]`; as long as the longest run so far.
    pub rows: Vec<Vec<F>>,
}

/// The memory that blocks are worked on in, kept from run to run.
#[derive(Debug)]
pub struct Workspace<F: Float> {
    free: Mutex<Vec<Scratch<F>>>,
}

impl<F: Float> Default for Workspace<F> {
    fn default() -> Self {
        Self { free: Mutex::new(Vec::new()) }
    }
}

/// Numbers that states are made of. Its functions are those of [`Program::run`] and [`collect()`], made here, as optimised as
/// this crate is.
pub trait Blocks: Sized {
    #[doc(hidden)]
    fn run_blocks(program: &Program, task: &Task<'_, Self>, units: &[Mutex<Unit<Self>>], workspace: &Workspace<Self>)
    where
        Self: Float;

    #[doc(hidden)]
    #[allow(clippy::too_many_arguments, reason = "where from and where to")]
    fn collect_rows(
        shape: Shape,
        read: usize,
        lengths: &[usize],
        units: &mut [Mutex<Unit<Self>>],
        access: &Access,
        to: &mut [Self],
        starts: &[usize],
        threads: usize,
    ) where
        Self: Float;
}

macro_rules! blocks {
    ($($float:ty)*) => {$(
        impl Blocks for $float {
            fn run_blocks(program: &Program, task: &Task<'_, Self>, units: &[Mutex<Unit<Self>>], workspace: &Workspace<Self>) {
                program.run_all(task, units, workspace);
            }

            fn collect_rows(
                shape: Shape,
                read: usize,
                lengths: &[usize],
                units: &mut [Mutex<Unit<Self>>],
                access: &Access,
                to: &mut [Self],
                starts: &[usize],
                threads: usize,
            ) {
                collect_all(shape, read, lengths, units, access, to, starts, threads);
            }
        }
    )*};
}

blocks!(f32 f64);

impl Program {
    /// Runs all sequences; `units` has the heads of the first sequence, then those of the second, and so on.
    ///
    /// # Panics
    /// If factors are shorter than the sequences, there are not as many units as heads of sequences, or states are not
    /// those of the shape.
    pub fn run<F: Float>(&self, task: &Task<'_, F>, units: &[Mutex<Unit<F>>], workspace: &Workspace<F>) {
        F::run_blocks(self, task, units, workspace);
    }

    fn run_all<F: Float>(&self, task: &Task<'_, F>, units: &[Mutex<Unit<F>>], workspace: &Workspace<F>) {
        assert_eq!(units.len(), task.lengths.len() * self.shape.heads, "one unit for each head of each sequence");
        assert!(task.factors.iter().all(|factor| factor.holds(task.lengths)), "factors have all steps");
        each(units.len(), task.threads, |at| {
            let (sequence, head) = (at / self.shape.heads, at % self.shape.heads);
            let kept = workspace.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut scratch = kept.filter(|s| s.fits(self)).unwrap_or_else(|| Scratch::new(self));
            let mut unit = units[at].lock().unwrap_or_else(PoisonError::into_inner);
            self.unit(task, (sequence, head), &mut unit, &mut scratch);
            workspace.free.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
        });
    }

    /// One head of one sequence, block after block.
    fn unit<F: Float>(
        &self,
        task: &Task<'_, F>,
        (sequence, head): (usize, usize),
        unit: &mut Unit<F>,
        scratch: &mut Scratch<F>,
    ) {
        let steps = task.lengths[sequence];
        unit.rows.resize(self.reads.len(), Vec::new());
        for rows in &mut unit.rows {
            if rows.len() < steps * self.shape.values {
                rows.resize(steps * self.shape.values, F::default());
            }
        }
        let none = Vec::new();
        let restarts = task.restarts.get(sequence).unwrap_or(&none);
        let mut start = 0;
        while start < steps {
            if restarts.binary_search(&start).is_ok() {
                unit.state.elements.copy_from_slice(&task.initial[head].elements);
            }
            let next = restarts.iter().find(|&&at| at > start).copied().unwrap_or(steps);
            let end = (start + self.shape.block).min(next).min(steps);
            let place = block::Place { sequence, head, start, steps: end - start };
            scratch.block(self, task.factors, place, unit);
            start = end;
        }
    }
}

/// Puts what the units have read into the rows of a tensor; `starts` are the first rows of the sequences, ascending.
///
/// # Panics
/// If the tensor is shorter than that, or places lie outside of its rows.
#[allow(clippy::too_many_arguments, reason = "where from and where to")]
pub fn collect<F: Float>(
    shape: Shape,
    read: usize,
    lengths: &[usize],
    units: &mut [Mutex<Unit<F>>],
    access: &Access,
    to: &mut [F],
    starts: &[usize],
    threads: usize,
) {
    F::collect_rows(shape, read, lengths, units, access, to, starts, threads);
}

#[allow(clippy::too_many_arguments, reason = "where from and where to")]
fn collect_all<F: Float>(
    shape: Shape,
    read: usize,
    lengths: &[usize],
    units: &mut [Mutex<Unit<F>>],
    access: &Access,
    to: &mut [F],
    starts: &[usize],
    threads: usize,
) {
    const ROWS: usize = 64;
    if access.row == 0 {
        return;
    }
    let units: Vec<&Unit<F>> =
        units.iter_mut().map(|unit| &*unit.get_mut().unwrap_or_else(PoisonError::into_inner)).collect();
    // The rows of all sequences, in pieces that threads share.
    let (mut pieces, mut rest, mut row) = (Vec::new(), to, 0);
    for (sequence, (&start, &length)) in starts.iter().zip(lengths).enumerate().filter(|(_, (_, n))| **n > 0) {
        let (own, behind) = std::mem::take(&mut rest)[(start - row) * access.row..].split_at_mut(length * access.row);
        (rest, row) = (behind, start + length);
        for (n, piece) in own.chunks_mut(ROWS * access.row).enumerate() {
            pieces.push((sequence, n * ROWS, Mutex::new(piece)));
        }
    }
    let dense = access.is_dense();
    each(pieces.len(), threads, |at| {
        let (sequence, first, piece) = &pieces[at];
        let mut piece = piece.lock().unwrap_or_else(PoisonError::into_inner);
        for (t, row) in piece.chunks_exact_mut(access.row).enumerate() {
            for (head, &place) in access.heads.iter().enumerate() {
                let from =
                    &units[sequence * shape.heads + head].rows[read][(first + t) * shape.values..][..shape.values];
                match dense {
                    true => row[place..place + shape.values].copy_from_slice(from),
                    false => from.iter().zip(&access.inner).for_each(|(&x, &at)| row[place + at] = x),
                }
            }
        }
    });
}
