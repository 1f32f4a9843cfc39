//! Whether a plan computes what the interpreter does.
//!
//! The interpreter runs the first steps of the first and the last sequence, as many as it can in the time there is,
//! once with the reals of the plan and once with the other width. How far the two are apart says how much rounding
//! does to this layer; a plan may be off by a multiple of that, and by some units in the last place of the largest
//! value so far. Steps at which the two have parted (a number that is no longer finite, an index that is another, a
//! tenth of the largest value) say nothing about the plan; what comes before them is compared.

use std::time::{Duration, Instant};

use ssmc::ir::{Instance, interp};
use ssmc_runtime::{Bound, Carry, Elements, Float, Sequences, Tensor};

use super::workload::Workload;
use crate::cli::engine::{Engine, Number, Task};
use crate::cli::results::number;
use crate::cli::slices;

/// How far a plan may be off, in multiples of what rounding does to the interpreter.
const ROUNDING: f64 = 64.0;

/// How far it may be off besides, in units in the last place of the largest value.
const PLACES: f64 = 128.0;

/// What the interpreter says about a workload.
pub struct Judge<F> {
    sequences: Sequences,
    inputs: Vec<Tensor<F>>,
    /// Outputs, then states; each with what it is called.
    expected: Vec<Expected>,
    /// How many steps of each sequence can be compared.
    steps: usize,
    /// Whether the final states can be.
    finals: bool,
}

/// A tensor as the interpreter has it.
struct Expected {
    name: String,
    /// How many numbers a row has: a step of an output, a sequence of a state.
    row: usize,
    /// With the reals of the plan, or, where these are narrow, with wide ones.
    values: Vec<f64>,
    /// How far the two widths are apart, scaled to the width of the plan.
    apart: Vec<f64>,
}

/// What was compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Checked {
    /// How many steps of each sequence that was looked at.
    pub steps: usize,
    /// The largest error over the largest value.
    pub error: f64,
}

impl<F: Number> Judge<F> {
    /// Runs the interpreter.
    pub fn new(work: &Workload<F>, budget: f64) -> Self {
        let limit = Duration::from_secs_f64((budget / 4.0).clamp(0.01, 0.5));
        let all = work.layout.sequences();
        let chosen: Vec<usize> = if all.count() > 1 { vec![0, all.count() - 1] } else { vec![0] };
        let longest = chosen.iter().map(|&sequence| all.range(sequence).len()).max().unwrap_or(0);
        // As long as it takes: ever longer prefixes, until the time is used up.
        let mut steps = 4.min(longest);
        loop {
            let started = Instant::now();
            let (sequences, inputs) = prefix(work, &all, &chosen, steps);
            let own = interpret(&work.instance, &work.bound, &sequences, &inputs);
            let time = started.elapsed();
            if steps >= longest || time * 3 > limit {
                return Self::from_runs(work, sequences, inputs, own);
            }
            let factor = (limit.as_secs_f64() / 2.0 / time.as_secs_f64().max(1e-6)).clamp(2.0, 16.0);
            steps = ((steps as f64 * factor) as usize).min(longest);
        }
    }

    fn from_runs(work: &Workload<F>, sequences: Sequences, inputs: Vec<Tensor<F>>, own: Run<F>) -> Self {
        // The other width, and how its distance shrinks to that of the plan's.
        let (other, scale) = if F::BITS == 32 {
            (flat(&rerun::<F, f64>(work, &sequences, &inputs)), 1.0)
        } else {
            let scale = f64::EPSILON / f64::from(f32::EPSILON);
            (flat(&rerun::<F, f32>(work, &sequences, &inputs)), scale)
        };
        let own = flat(&own);
        let names = work.instance.layer.outputs.iter().map(|output| output.name.clone());
        let names: Vec<String> =
            names.chain(work.instance.layer.states.iter().map(|state| format!("final {}", state.name))).collect();
        let outputs = work.instance.layer.outputs.len();
        let rows = |at: usize| if at < outputs { sequences.total() } else { sequences.count() };
        let longest = (0..sequences.count()).map(|i| sequences.range(i).len()).max().unwrap_or(0);
        let mut steps = longest;
        let mut expected = Vec::new();
        for (at, ((name, own), other)) in names.into_iter().zip(own).zip(other).enumerate() {
            let row = own.values.len() / rows(at).max(1);
            let apart: Vec<f64> = own.values.iter().zip(&other.values).map(|(a, b)| (a - b).abs()).collect();
            if at < outputs {
                for sequence in 0..sequences.count() {
                    let range = sequences.range(sequence);
                    let mut largest = 0f64;
                    for (step, t) in range.enumerate() {
                        let mut parted = false;
                        let numbers = t * row..(t + 1) * row;
                        for (x, apart) in own.values[numbers.clone()].iter().zip(&apart[numbers]) {
                            largest = largest.max(x.abs());
                            let sound = x.is_finite() && x.abs() < own.limit;
                            parted |= !sound || !apart.is_finite() || own.exact && *apart != 0.0;
                            parted |= *apart > 0.1 * largest;
                        }
                        if parted {
                            steps = steps.min(step);
                            break;
                        }
                    }
                }
            }
            let values = if F::BITS == 32 { other.values } else { own.values };
            let apart = apart.into_iter().map(|x| x * scale).collect();
            expected.push(Expected { name, row, values, apart });
        }
        let finals = steps == longest
            && expected[outputs..].iter().all(|state| {
                let largest = state.values.iter().fold(0f64, |most, x| most.max(x.abs()));
                state.values.iter().zip(&state.apart).all(|(x, apart)| x.is_finite() && *apart <= 0.1 * largest * scale)
            });
        Self { sequences, inputs, expected, steps, finals }
    }

    /// Runs a plan on the same steps and compares what comes out.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self, engine: &Engine<F>, work: &Workload<F>, threads: usize) -> Result<Checked, String> {
        let mut carry = interp::initial_carry(&work.instance, &work.bound, self.sequences.count());
        let task = Task {
            instance: &work.instance,
            bound: &work.bound,
            sequences: &self.sequences,
            inputs: &self.inputs,
            threads,
            progress: &|_| {},
        };
        let (outputs, _) = engine.run(&task, &mut carry).map_err(|error| error.to_string())?;
        let found = flat(&Run { outputs, carry });
        let count = work.instance.layer.outputs.len();
        let mut error = 0f64;
        for (at, (expected, found)) in self.expected.iter().zip(&found).enumerate() {
            let rows = if at < count { self.sequences.total() } else { self.sequences.count() };
            if at >= count && !self.finals {
                break;
            }
            for sequence in 0..self.sequences.count() {
                let range = if at < count {
                    let range = self.sequences.range(sequence);
                    range.start..range.end.min(range.start + self.steps)
                } else {
                    sequence..sequence + 1
                };
                debug_assert!(range.end <= rows);
                error = error.max(expected.compare(&found.values, range, F::BITS)?);
            }
        }
        Ok(Checked { steps: self.steps, error })
    }
}

impl Expected {
    /// The largest error over the largest value in a range of rows.
    fn compare(&self, found: &[f64], rows: std::ops::Range<usize>, bits: u32) -> Result<f64, String> {
        let unit = if bits == 32 { f64::from(f32::EPSILON) } else { f64::EPSILON };
        let (mut largest, mut apart, mut worst) = (0f64, 0f64, 0f64);
        for (step, t) in rows.enumerate() {
            let row = t * self.row..(t + 1) * self.row;
            for i in row.clone() {
                largest = largest.max(self.values[i].abs());
                apart = apart.max(self.apart[i]);
            }
            for i in row {
                let error = (found[i] - self.values[i]).abs();
                // Not a comparison that a NaN passes.
                let close = error <= ROUNDING * apart + PLACES * unit * largest.max(f64::from(f32::MIN_POSITIVE));
                if !close {
                    return Err(format!(
                        "`{}` at step {step} is {}, and {} by the interpreter",
                        self.name,
                        number(found[i]),
                        number(self.values[i])
                    ));
                }
                if largest > 0.0 {
                    worst = worst.max(error / largest);
                }
            }
        }
        Ok(worst)
    }
}

/// The first steps of some sequences, end to end.
fn prefix<F: Number>(
    work: &Workload<F>,
    all: &Sequences,
    chosen: &[usize],
    steps: usize,
) -> (Sequences, Vec<Tensor<F>>) {
    let mut offsets = vec![0];
    for &sequence in chosen {
        offsets.push(offsets[offsets.len() - 1] + all.range(sequence).len().min(steps));
    }
    let inputs = work.inputs.iter().map(|input| {
        let mut joined = slices::rows(input, 0..0);
        for &sequence in chosen {
            let range = all.range(sequence);
            slices::append(&mut joined, &slices::rows(input, range.start..range.end.min(range.start + steps)));
        }
        joined
    });
    let inputs = inputs.collect();
    (Sequences::packed(offsets).unwrap_or(Sequences::batch(0, 0)), inputs)
}

/// What a run gives.
struct Run<F> {
    outputs: Vec<Tensor<F>>,
    carry: Carry<F>,
}

fn interpret<F: Number>(instance: &Instance, bound: &Bound<F>, sequences: &Sequences, inputs: &[Tensor<F>]) -> Run<F> {
    let mut carry = interp::initial_carry(instance, bound, sequences.count());
    let outputs = interp::run(instance, bound, sequences, inputs, &mut carry);
    Run { outputs, carry }
}

/// The interpreter with other reals, on the same numbers.
fn rerun<F: Number, G: Number>(work: &Workload<F>, sequences: &Sequences, inputs: &[Tensor<F>]) -> Run<G> {
    let all = |tensors: &[Tensor<F>]| tensors.iter().map(convert::<F, G>).collect::<Vec<_>>();
    let bound = Bound { params: all(&work.bound.params), initial: all(&work.bound.initial) };
    interpret(&work.instance, &bound, sequences, &all(inputs))
}

fn convert<F: Float, G: Float>(tensor: &Tensor<F>) -> Tensor<G> {
    let reals = |v: &[F]| v.iter().map(|x| G::from_f64(x.to_f64())).collect();
    let elements = match &tensor.elements {
        Elements::Real(v) => Elements::Real(reals(v)),
        Elements::Complex { re, im } => Elements::Complex { re: reals(re), im: reals(im) },
        Elements::Int(v) => Elements::Int(v.clone()),
        Elements::Bool(v) => Elements::Bool(v.clone()),
        Elements::Byte(v) => Elements::Byte(v.clone()),
    };
    Tensor { shape: tensor.shape.clone(), elements }
}

/// All numbers of a tensor, row by row.
struct Flat {
    values: Vec<f64>,
    /// Whether they are no reals.
    exact: bool,
    /// From where on they count as overflown.
    limit: f64,
}

fn flat<F: Float>(run: &Run<F>) -> Vec<Flat> {
    let limit = if F::BITS == 32 { 1e30 } else { 1e300 };
    let tensors = run.outputs.iter().chain(&run.carry.states);
    let flat = tensors.map(|tensor| match &tensor.elements {
        Elements::Real(v) => Flat { values: v.iter().map(|x| x.to_f64()).collect(), exact: false, limit },
        Elements::Complex { re, im } => {
            let values = re.iter().zip(im).flat_map(|(re, im)| [re.to_f64(), im.to_f64()]).collect();
            Flat { values, exact: false, limit }
        }
        Elements::Int(v) => Flat { values: v.iter().map(|&x| f64::from(x)).collect(), exact: true, limit },
        Elements::Bool(v) | Elements::Byte(v) => {
            Flat { values: v.iter().map(|&x| f64::from(x)).collect(), exact: true, limit }
        }
    });
    flat.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected() -> Expected {
        let values = vec![1.0, 2.0, 100.0, 200.0];
        Expected { name: "y".to_owned(), row: 2, values, apart: vec![0.0, 0.0, 1e-3, 0.0] }
    }

    #[test]
    fn errors_are_judged_by_what_rounding_does() {
        let close = [1.0, 2.0 + 1e-5, 100.05, 200.0];
        assert!(expected().compare(&close, 0..2, 32).is_ok());
        // In the first step rounding does nothing.
        assert!(expected().compare(&[1.05, 2.0, 100.0, 200.0], 0..2, 32).is_err());
        assert!(expected().compare(&[1.0, 2.0, 100.0, 200.2], 0..2, 32).is_err());
        assert!(expected().compare(&[1.0, 2.0, 100.0, 200.2], 0..1, 32).is_ok());
        assert!(expected().compare(&[1.0, 2.0 + 1e-5, 100.0, 200.0], 0..2, 64).is_err());
    }

    #[test]
    fn what_is_no_number_is_an_error() {
        for bad in [f64::NAN, f64::INFINITY] {
            let message = expected().compare(&[1.0, bad, 100.0, 200.0], 0..2, 32).expect_err("an error");
            assert!(message.contains("`y` at step 0"), "{message}");
        }
    }
}
