//! The plans behind one call: interpreter, sequence kernel, step kernel, scan, blocks.

use std::ops::{Add, Div, Mul, Neg, Sub};

use ssmc::chunked::{self, Chunked};
use ssmc::diag::{Code, Diagnostic};
use ssmc::ir::{self, Instance, Report, interp};
use ssmc::jit::{Backend, Form, Isa, Kernel, compile_for};
use ssmc::profile::Profile;
use ssmc::scan::{self, Scan};
use ssmc_runtime::{Bound, Carry, Float, RunError, Sequences, Tensor};

use super::args::{self, Plan};
use super::bench::machine;
use super::slices;

/// The real numbers that every plan computes with: `f32` and `f64`.
pub trait Number:
    Float + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
}

impl Number for f32 {}
impl Number for f64 {}

/// A way to run a layer.
pub enum Engine<F: Number> {
    /// The interpreter.
    Interp,
    /// The sequence kernel.
    Sequence(Kernel<F>),
    /// The step kernel, once per step.
    Step(Kernel<F>),
    /// The scan over stretches of time.
    Scan(Box<Scan<F>>),
    /// Blocks of time as matrix products.
    Chunked(Box<Chunked<F>>),
}

/// The outputs of a run, and what is to be said about its data.
pub type Ran<F> = (Vec<Tensor<F>>, Vec<Report>);

/// What every call of an engine gets.
pub struct Task<'a, F> {
    /// The layer.
    pub instance: &'a Instance,
    /// Its parameters and initial states.
    pub bound: &'a Bound<F>,
    /// How the time axis is cut.
    pub sequences: &'a Sequences,
    /// The inputs, `[total, ..]`.
    pub inputs: &'a [Tensor<F>],
    /// How many threads; 0 for all of the machine.
    pub threads: usize,
    /// Is told how many steps are done.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

impl<F: Number> Engine<F> {
    /// Compiles what the plan needs. The plan is one that [`check_plan`] lets pass.
    ///
    /// # Errors
    /// What stands in the way of a kernel.
    pub fn prepare(instance: &Instance, plan: Plan, isa: Isa) -> Result<Self, Vec<Diagnostic>> {
        Ok(match plan {
            Plan::Interp => Engine::Interp,
            Plan::Step => Engine::Step(compile_for(instance, Form::Step, isa)?),
            Plan::Parallel => {
                let options = scan::Options { isa: Some(isa), ..scan::Options::default() };
                Engine::Scan(Box::new(scan::compile(instance, options)?))
            }
            Plan::Chunked => Engine::Chunked(Box::new(chunked::compile(instance, isa)?)),
            Plan::Auto | Plan::Sequential => Engine::Sequence(compile_for(instance, Form::Sequence, isa)?),
        })
    }

    /// Compiles what a run over such sequences needs, with what the user has to know about the choice.
    ///
    /// # Errors
    /// As for [`Engine::prepare`].
    pub fn prepare_run(
        instance: &Instance,
        asked: Plan,
        isa: Isa,
        sequences: &Sequences,
        threads: usize,
    ) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let mut notes = Vec::new();
        let plan = match asked {
            Plan::Auto => {
                let longest = (0..sequences.count()).map(|s| sequences.range(s).len()).max().unwrap_or(0);
                let extents = scan::Extents { sequences: sequences.count(), longest, threads, bits: F::BITS };
                // Without a profile of this machine, one that stands for all.
                let profile = machine::known()?.unwrap_or_else(Profile::reference);
                let choice = scan::choose(instance, extents, isa, &profile);
                notes.extend(choice.note);
                match choice.plan {
                    scan::Plan::Parallel => Plan::Parallel,
                    scan::Plan::Chunked => Plan::Chunked,
                    _ => Plan::Sequential,
                }
            }
            plan => plan,
        };
        let engine = match Self::prepare(instance, plan, isa) {
            Err(problems) if plan != Plan::Sequential && asked == Plan::Auto => {
                notes.extend(problems.into_iter().map(Diagnostic::into_note));
                Self::prepare(instance, Plan::Sequential, isa)?
            }
            engine => engine?,
        };
        if let Engine::Scan(scan) = &engine
            && !scan.cuts(sequences)
        {
            let message = format!(
                "running in order: no sequence is longer than a stretch, which has {} steps here",
                scan.stretch(sequences)
            );
            notes.push(Diagnostic::error_at(Code::S301, "--plan parallel", message).into_note());
        }
        Ok((engine, notes))
    }

    /// The name of the plan that it runs.
    pub fn plan(&self) -> &'static str {
        match self {
            Engine::Interp => "interp",
            Engine::Sequence(_) => "sequential",
            Engine::Step(_) => "step",
            Engine::Scan(_) => "parallel",
            Engine::Chunked(_) => "chunked",
        }
    }

    /// What has made its code; nothing for the interpreter.
    pub fn backend(&self) -> Option<Backend> {
        match self {
            Engine::Interp => None,
            Engine::Sequence(kernel) | Engine::Step(kernel) => Some(kernel.backend()),
            Engine::Scan(scan) => Some(scan.backend()),
            Engine::Chunked(chunked) => Some(chunked.backend()),
        }
    }

    /// Runs all sequences; the carry goes in and comes out.
    ///
    /// # Errors
    /// A tensor that does not fit; nothing was computed then.
    pub fn run(&self, task: &Task<'_, F>, carry: &mut Carry<F>) -> Result<Ran<F>, RunError> {
        let Task { instance, bound, sequences, inputs, threads, progress } = *task;
        match self {
            Engine::Interp => Ok(interp::run_reporting(instance, bound, sequences, inputs, carry)),
            Engine::Sequence(kernel) => kernel.run_reporting(bound, sequences, inputs, carry, threads, progress),
            Engine::Step(kernel) => run_steps(kernel, task, carry),
            Engine::Scan(scan) => scan.run_reporting(bound, sequences, inputs, carry, threads, progress),
            Engine::Chunked(chunked) => chunked.run_reporting(bound, sequences, inputs, carry, threads, progress),
        }
    }

    /// Runs all sequences into outputs that may be there from a run before; makes them where there are none.
    ///
    /// # Errors
    /// A tensor that does not fit; nothing was computed then.
    pub fn run_again(
        &self,
        task: &Task<'_, F>,
        outputs: &mut Vec<Tensor<F>>,
        carry: &mut Carry<F>,
    ) -> Result<(), RunError> {
        let Task { bound, sequences, inputs, threads, progress, .. } = *task;
        match self {
            Engine::Sequence(kernel) => {
                if outputs.is_empty() {
                    *outputs = kernel.blank_outputs(sequences);
                }
                kernel.run_into(bound, sequences, inputs, outputs, carry, threads, progress)?;
            }
            Engine::Scan(scan) => {
                if outputs.is_empty() {
                    *outputs = scan.blank_outputs(sequences);
                }
                scan.run_into(bound, sequences, inputs, outputs, carry, threads, progress)?;
            }
            Engine::Chunked(chunked) => {
                if outputs.is_empty() {
                    *outputs = chunked.blank_outputs(sequences);
                }
                chunked.run_into(bound, sequences, inputs, outputs, carry, threads, progress)?;
            }
            Engine::Interp | Engine::Step(_) => *outputs = self.run(task, carry)?.0,
        }
        Ok(())
    }
}

/// Runs the step kernel once for every step of every sequence.
fn run_steps<F: Number>(kernel: &Kernel<F>, task: &Task<'_, F>, carry: &mut Carry<F>) -> Result<Ran<F>, RunError> {
    let mut outputs = kernel.blank_outputs(&Sequences::batch(0, 0));
    // A session reads integers of 32 bits.
    let all = Tensor::all_widened(task.inputs);
    let mut after = slices::no_carry(carry);
    let mut reports: Vec<Report> = Vec::new();
    let mut done = 0;
    for sequence in 0..task.sequences.count() {
        let mut session = kernel.session(task.bound, slices::carry_of(carry, sequence))?;
        let mut row = session.blank_outputs();
        for step in task.sequences.range(sequence) {
            let inputs: Vec<Tensor<F>> = all.iter().map(|input| slices::rows(input, step..step + 1)).collect();
            session.step(&inputs, &mut row)?;
            for (output, row) in outputs.iter_mut().zip(&row) {
                slices::append(output, row);
            }
            done += 1;
            (task.progress)(done);
        }
        for mut report in kernel.reports_of(&session) {
            report.event.sequence = sequence;
            note(&mut reports, report);
        }
        slices::append_carry(&mut after, session.carry());
    }
    *carry = after;
    Ok((outputs, reports))
}

/// Adds a report, unless the same was said of an earlier step.
pub fn note(reports: &mut Vec<Report>, report: Report) {
    if !reports.iter().any(|known| known.span == report.span && known.message == report.message) {
        reports.push(report);
    }
}

/// Refuses plans that the layer does not allow, and instructions that the machine does not have.
///
/// # Errors
/// S301, S302
pub fn check_plan(layer: &ir::Layer, plan: Plan, isa: Option<args::Isa>) -> Result<(), Diagnostic> {
    let place = format!("--plan {}", plan.name());
    match plan {
        Plan::Parallel => scan::refusal(layer).map_or(Ok(()), Err),
        Plan::Chunked => chunked::refusal(layer).map_or(Ok(()), Err),
        Plan::Step => check_step(layer, &place),
        Plan::Auto | Plan::Sequential | Plan::Interp => Ok(()),
    }?;
    args::Isa::limit(isa).map(|_| ())
}

/// Refuses layers without a step kernel.
///
/// # Errors
/// S301
pub fn check_step(layer: &ir::Layer, place: &str) -> Result<(), Diagnostic> {
    let refusal = scan::plans(layer).into_iter().find(|(plan, _)| *plan == scan::Plan::Step);
    match refusal.and_then(|(_, why)| why) {
        None => Ok(()),
        Some(error) => Err(Diagnostic { place: Some(place.to_owned()), ..error }),
    }
}
