//! Which answers a layer gets right.
//!
//! In: a compiled layer and a set. Out: for every answer how many of its targets are right. Sequences are packed, as many in
//! one call as a bounded amount of memory holds, and a longer one is run in pieces with its state carried on.

use ssmc::diag::{Code, Diagnostic};
use ssmc::ir::{Instance, Type, ValueId, interp};
use ssmc_runtime::{Bound, Carry, Elements, Sequences, Tensor};

use super::sets::Set;
use crate::cli::engine::{Engine, Number, Task};

/// How much of inputs and outputs is in memory at a time, in bytes.
const MEMORY: usize = 64 << 20;

/// The least number of steps in a call.
const LEAST: usize = 1024;

/// What a layer is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// The layer's only input.
    pub input: ValueId,
    /// Where the answer is.
    pub answer: Source,
}

/// Where a layer's answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In this output, at every step.
    Output(usize),
    /// In this state, behind the last step.
    State(usize),
}

/// A compiled layer with its parameters.
pub struct Subject<'a, F: Number> {
    /// The layer.
    pub instance: &'a Instance,
    /// Its parameters.
    pub bound: &'a Bound<F>,
    /// How it runs.
    pub engine: &'a Engine<F>,
    /// How many threads; 0 for all of the machine.
    pub threads: usize,
    /// What it is asked.
    pub question: &'a Question,
}

impl<F: Number> Subject<'_, F> {
    /// How many steps of a set one call takes at most.
    pub fn most_steps(&self, set: &Set) -> usize {
        let longest = set.sequences.iter().map(std::ops::Range::len).max().unwrap_or(0);
        let whole = if self.reverse() { longest } else { 0 };
        self.steps_per_call().max(whole).min(set.tokens.len())
    }

    /// Reverse states enter behind the last step, so that sequences of such a layer cannot be cut.
    fn reverse(&self) -> bool {
        self.instance.layer.states.iter().any(|state| state.reverse)
    }

    /// How many steps of several sequences, or of a piece of one, are in one call.
    fn steps_per_call(&self) -> usize {
        let layer = &self.instance.layer;
        let outputs = layer.outputs.iter().map(|output| output.value);
        let size = |value: ValueId| {
            let element = match layer.value(value).ty {
                Type::Complex => F::BITS as usize / 4,
                Type::Real => F::BITS as usize / 8,
                Type::Int | Type::Index(_) => 4,
                Type::Bool => 1,
            };
            self.instance.elements(value).saturating_mul(element)
        };
        let step: usize = layer.inputs.iter().copied().chain(outputs).map(size).fold(1, usize::saturating_add);
        (MEMORY / step).max(LEAST)
    }

    /// How many targets of each answer are right. `progress` is told how many steps are done.
    ///
    /// # Errors
    /// S408 for tensors that a run refuses.
    pub fn score(&self, set: &Set, progress: &(dyn Fn(u64) + Sync)) -> Result<Vec<usize>, Diagnostic> {
        let limit = self.steps_per_call();
        let mut right = vec![0; set.answers.len()];
        let (mut done, mut next) = (0u64, 0);
        while next < set.sequences.len() {
            // As many whole sequences as fit.
            let begin = set.sequences[next].start;
            let fits = set.sequences[next..].iter().take_while(|steps| steps.end - begin <= limit).count();
            let count = fits.max(1);
            let end = set.sequences[next + count - 1].end;
            let piece = if fits == 0 && !self.reverse() { limit } else { end - begin };
            let before = |sequence: usize| set.answers.partition_point(|answer| answer.sequence < sequence);
            let answers = before(next)..before(next + count);
            let mut carry = interp::initial_carry(self.instance, self.bound, count);
            let mut from = begin;
            while from < end {
                let to = (from + piece).min(end);
                let offsets = match piece < end - begin {
                    true => vec![0, to - from],
                    false => {
                        let ends = set.sequences[next..next + count].iter().map(|steps| steps.end - begin);
                        std::iter::once(0).chain(ends).collect()
                    }
                };
                let sequences = Sequences::packed(offsets).expect("sequences lie end to end");
                let outputs =
                    self.run(&set.tokens[from..to], &sequences, &mut carry, &|steps| progress(done + steps))?;
                done += (to - from) as u64;
                progress(done);
                for (expected, right) in set.answers[answers.clone()].iter().zip(&mut right[answers.clone()]) {
                    let start = set.sequences[expected.sequence].start;
                    for &(step, label) in &expected.targets {
                        let row = start + step;
                        if !(from..to).contains(&row) {
                            continue;
                        }
                        let given = match self.question.answer {
                            Source::Output(output) => chosen(&outputs[output], row - from),
                            Source::State(state) => chosen(&carry.states[state], expected.sequence - next),
                        };
                        *right += usize::from(given == Some(label));
                    }
                }
                from = to;
            }
            next += count;
        }
        Ok(right)
    }

    fn run(
        &self,
        tokens: &[i32],
        sequences: &Sequences,
        carry: &mut Carry<F>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Tensor<F>>, Diagnostic> {
        let input = self.question.input;
        let elements = match self.instance.layer.value(input).ty {
            Type::Real => {
                let width = self.instance.elements(input);
                let mut rows = vec![F::default(); tokens.len() * width];
                for (at, &token) in tokens.iter().enumerate() {
                    rows[at * width + token as usize] = F::from_f64(1.0);
                }
                Elements::Real(rows)
            }
            Type::Bool => Elements::Bool(tokens.iter().map(|&token| token as u8).collect()),
            _ => Elements::Int(tokens.to_vec()),
        };
        let shape = [&[tokens.len()], &self.instance.axes[input.at()][..]].concat();
        let inputs = [Tensor { shape, elements }];
        let task = Task {
            instance: self.instance,
            bound: self.bound,
            sequences,
            inputs: &inputs,
            threads: self.threads,
            progress,
        };
        let ran = self.engine.run(&task, carry);
        // What is to be said about the data of linear systems is the business of `run`.
        ran.map(|(outputs, _)| outputs).map_err(|error| Diagnostic::error_at(Code::S408, "the run", error.to_string()))
    }
}

/// What a row says: an integer or truth value as it is, of a vector the place of the first of the largest; nothing
/// where an element is NaN.
fn chosen<F: Number>(tensor: &Tensor<F>, row: usize) -> Option<i32> {
    let width: usize = tensor.shape[1..].iter().product();
    let elements = row * width..(row + 1) * width;
    match &tensor.elements {
        Elements::Int(values) if tensor.shape.len() == 1 => Some(values[row]),
        Elements::Bool(values) => Some(i32::from(values[row])),
        Elements::Byte(values) if tensor.shape.len() == 1 => Some(i32::from(values[row])),
        Elements::Byte(values) => largest(&values[elements]),
        Elements::Int(values) => largest(&values[elements]),
        Elements::Real(values) if values[elements.clone()].iter().any(|value| value.to_f64().is_nan()) => None,
        Elements::Real(values) => largest(&values[elements]),
        Elements::Complex { .. } => None,
    }
}

/// The place of the first of the largest; nothing where there is none.
fn largest<T: PartialOrd>(values: &[T]) -> Option<i32> {
    let mut best = 0;
    for (at, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = at;
        }
    }
    (!values.is_empty()).then_some(best as i32)
}
