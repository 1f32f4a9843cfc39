//! Scans over time: a layer run on stretches of its sequences side by side.
//!
//! In: an [`Instance`] whose groups all have a verdict other than `nonlinear`. Out: a [`Scan`], which runs it as a
//! [`Kernel`] does. A sequence is cut into stretches of equal length. Group by group, each after those it reads:
//!
//! 1. every stretch is *summarised* by the group's summary layer ([`crate::analysis::verdict::summary`]), started from
//!    the neutral summary, with the true starts of earlier groups;
//! 2. the summaries are *scanned*: applied one after the other to the state that came in. That costs one matrix
//!    times vector a stretch, where a tree of compositions would cost one matrix times matrix a stretch; the
//!    stretches are long enough that either is small beside the rest.
//!
//! Then every stretch is *run* from its true start by the layer's own kernel. Summaries and runs of different stretches
//! go to different threads. The cut and the order of the scan follow from the lengths of the sequences, so results
//! are the same for every number of threads, bit for bit.
//!
//! What [`group`] leaves to others: a delay's values before a stretch are those of its argument in the steps before
//! it, computed again by a layer of delays alone ([`delays`]). For a few channels, [`lanes`] puts stretches on vector
//! lanes. A layer that is a map of at most 16 states has a summary of its own ([`finite`]).

mod across;
mod choose;
#[cfg(test)]
mod compact;
mod delays;
mod finite;
mod group;
mod lanes;
mod price;
mod starts;

use ssmc_runtime::stretch::Stretches;
use ssmc_runtime::{Bound, Carry, Run, RunError, Sequences, Tensor};

use crate::analysis::bounds;
use crate::analysis::verdict::summary::summary;
use crate::analysis::verdict::{self, Class, Verdict, judge};
use crate::diag::{Code, Diagnostic};
use crate::ir::interp::Real;
use crate::ir::{Instance, Layer, Report};
use crate::jit::finite::Finite;
use crate::jit::{Backend, Form, Isa, Kernel, compile_for};
use across::Across;
pub use choose::{Choice, Extents, Plan, choose, plans, plans_of};
use delays::Delays;
use group::{Group, Layers};
use lanes::Lanes;
pub use price::{Priced, price};
use starts::Starts;

/// How a scan is made. The default leaves all to the length of the sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Options {
    /// How many steps a stretch has; more where delays reach further back.
    pub stretch: Option<usize>,
    /// How many stretches lie on the lanes of vectors, where the layer can run so: 0 for none.
    pub lanes: Option<usize>,
    /// The instructions that its kernels stay within; all that the machine has, if it is not given.
    pub isa: Option<Isa>,
}

/// A layer that runs on stretches of time.
pub struct Scan<F> {
    /// The layer itself.
    whole: Kernel<F>,
    groups: Vec<Group<F>>,
    delays: Delays<F>,
    /// Rows of steps, in the place of all that follows.
    across: Option<Across<F>>,
    lanes: Option<Lanes<F>>,
    options: Options,
    /// How many reals the summary of one stretch holds.
    summary: usize,
}

/// Why a layer cannot be run as a scan; `None` where it can.
///
/// The diagnostic is S301, at the expression that stands in the way.
pub fn refusal(layer: &Layer) -> Option<Diagnostic> {
    refused(layer, &judge(layer))
}

fn refused(layer: &Layer, verdict: &Verdict) -> Option<Diagnostic> {
    for group in &verdict.groups {
        let names: Vec<String> = group.states.iter().map(|s| format!("`{}`", layer.states[s.at()].name)).collect();
        let names = names.join(", ");
        let refuse = |span, why: &str| {
            let message = format!("time cannot be parallelised: {names}: {why}");
            Some(Diagnostic::error(Code::S301, span, message))
        };
        if let Some(failure) = &group.failure {
            let verdict = format!("the verdict on {names} is `nonlinear`");
            return refuse(failure.span, &failure.reason).map(|d| d.label(verdict));
        }
        if summary(verdict, group).is_none() {
            let span = layer.value(layer.states[group.states[0].at()].value).span;
            let why = match group.class {
                Class::FiniteMap => "the map has no table of its own for each element",
                _ => "there is no summary of a stretch",
            };
            return refuse(span, why);
        }
    }
    None
}

/// Why a layer cannot be run as a scan with these numbers for its dimensions; `None` where it can.
///
/// The diagnostic is S301: beside what [`refusal`] says, summaries may be too large, or their accesses not shown to stay
/// inside.
pub fn refusal_of(instance: &Instance) -> Option<Diagnostic> {
    let layer = &instance.layer;
    let verdict = judge(layer);
    if let Some(refusal) = refused(layer, &verdict) {
        return Some(refusal);
    }
    let fits = |layer: &Layer| {
        let mut sized = Instance::new(layer.clone(), instance.dims.clone())?;
        if !layer.delays.is_empty() {
            sized.depths.clone_from(&instance.depths);
        }
        bounds::check(&sized)
    };
    for group in &verdict.groups {
        let layers = Layers::of(&summary(&verdict, group)?, fixed(layer, group));
        let power = layers.power.iter().flat_map(|power| [&power.step, &power.compose]);
        if let Err(problems) = [&layers.summary, &layers.apply].into_iter().chain(power).try_for_each(fits) {
            return unsuitable(layer, group, &problems).pop();
        }
    }
    None
}

/// The refusal of a layer whose summaries cannot be compiled: their products are too large, or their accesses cannot be
/// shown to stay inside.
fn unsuitable(layer: &Layer, group: &verdict::Group, problems: &[Diagnostic]) -> Vec<Diagnostic> {
    let state = &layer.states[group.states[0].at()];
    let why = problems.first().map_or("it cannot be compiled", |problem| &problem.message);
    let message = format!("time cannot be parallelised: the summary of a stretch for `{}`: {why}", state.name);
    vec![Diagnostic::error(Code::S301, layer.value(state.value).span, message)]
}

/// Whether the products of all summarised stretches are the same.
///
/// A reset cuts a product short; in reverse the last stretch, which may be shorter, comes first.
fn fixed(layer: &Layer, group: &verdict::Group) -> bool {
    let reverse = layer.states[group.states[0].at()].reverse;
    group.time_invariant && group.class != Class::FiniteMap && layer.reset.is_none() && !reverse
}

/// Compiles a layer to run as a scan.
///
/// # Errors
/// S301 where a group is `nonlinear`, or its summary cannot be compiled (for its size, above all); what the compiler refuses
/// of the layer.
pub fn compile<F: Real>(instance: &Instance, options: Options) -> Result<Scan<F>, Vec<Diagnostic>> {
    let layer = &instance.layer;
    let verdict = judge(layer);
    if let Some(refusal) = refused(layer, &verdict) {
        return Err(vec![refusal]);
    }
    let isa = options.isa.unwrap_or_else(Isa::widest);
    let whole = compile_for(instance, Form::Sequence, isa)?;
    if let Options { stretch: None, lanes: None, .. } = options
        && let Some(across) = Across::new(instance, &verdict, isa)
    {
        let delays = Delays::new(instance, isa)?;
        return Ok(Scan { whole, groups: Vec::new(), delays, across: Some(across), lanes: None, options, summary: 0 });
    }
    let (mut groups, mut layers) = (Vec::new(), Vec::new());
    for group in &verdict.groups {
        let summary = summary(&verdict, group).expect("groups without a summary are refused");
        let parts = Layers::of(&summary, fixed(layer, group));
        let group =
            Group::new(&summary, &parts, instance, isa).map_err(|problems| unsuitable(layer, group, &problems))?;
        layers.push((group.own().to_vec(), parts));
        groups.push(group);
    }
    let size = |tensor: &Tensor<F>| tensor.elements.len();
    let summary = groups.iter().map(|g| g.neutral.iter().map(size).sum::<usize>()).max().unwrap_or(0);
    let count = options.lanes.unwrap_or(if lanes::narrow(instance) { lanes::LANES } else { 0 });
    let lanes = match count {
        0 => None,
        _ if !lanes::suits(layer) => None,
        _ => Lanes::new(
            instance,
            &layers,
            count,
            options.stretch.unwrap_or_else(|| lanes::steps(instance, F::BITS)),
            isa,
        )?,
    };
    Ok(Scan { whole, groups, delays: Delays::new(instance, isa)?, across: None, lanes, options, summary })
}

/// The fewest steps of a stretch that is not asked for.
const LEAST: usize = 256;

/// How many stretches a long sequence is cut into.
const MOST: usize = 128;

/// How many reals all summaries may hold, where longer stretches can help it.
const SUMMARIES: usize = 1 << 26;

impl<F: Real> Scan<F> {
    /// How many steps the stretches of such sequences have; on lanes, all stretches of a segment together.
    pub fn stretch(&self, sequences: &Sequences) -> usize {
        if self.maps().is_none() {
            match (&self.across, &self.lanes) {
                (Some(across), _) => return across.lanes(),
                (None, Some(lanes)) => return lanes.segment(),
                (None, None) => {}
            }
        }
        let longest = (0..sequences.count()).map(|s| sequences.range(s).len()).max().unwrap_or(0);
        let held = SUMMARIES / self.summary.max(1);
        let chosen = self.options.stretch.unwrap_or_else(|| {
            let few = longest.div_ceil(MOST).max(sequences.steps().div_ceil(held.max(1)));
            few.next_power_of_two().max(LEAST).max(4 * self.delays.reach())
        });
        chosen.max(self.delays.reach()).max(1)
    }

    /// Runs all sequences; the carry goes in and comes out.
    ///
    /// `threads` is the number of threads, 0 for all of the machine; results do not depend on it. `progress` is
    /// told, now and then and from any thread, how many steps are done.
    ///
    /// # Errors
    /// A tensor that does not fit the layer, an integer outside of its range: nothing was computed.
    pub fn run(
        &self,
        bound: &Bound<F>,
        sequences: &Sequences,
        inputs: &[Tensor<F>],
        carry: &mut Carry<F>,
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Tensor<F>>, RunError> {
        self.run_reporting(bound, sequences, inputs, carry, threads, progress).map(|(outputs, _)| outputs)
    }

    /// Runs all sequences, as [`Self::run`] does, and says what is to be said about the data.
    ///
    /// # Errors
    /// As for [`Scan::run`].
    pub fn run_reporting(
        &self,
        bound: &Bound<F>,
        sequences: &Sequences,
        inputs: &[Tensor<F>],
        carry: &mut Carry<F>,
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(Vec<Tensor<F>>, Vec<Report>), RunError> {
        let mut outputs = self.blank_outputs(sequences);
        let reports = self.run_into(bound, sequences, inputs, &mut outputs, carry, threads, progress)?;
        Ok((outputs, reports))
    }

    /// Outputs for such sequences, all of them 0.
    pub fn blank_outputs(&self, sequences: &Sequences) -> Vec<Tensor<F>> {
        self.whole.blank_outputs(sequences)
    }

    /// What has made the code of its runs.
    pub fn backend(&self) -> Backend {
        self.across.as_ref().map_or_else(|| self.whole.backend(), Across::backend)
    }

    /// The layer as maps of its states, where these are few and no lanes were asked for.
    fn maps(&self) -> Option<&Finite<F>> {
        self.whole.finite().filter(|_| self.options.lanes.unwrap_or(0) == 0)
    }

    /// Whether the stretches of such sequences are run side by side: some sequence has more than one.
    pub fn cuts(&self, sequences: &Sequences) -> bool {
        let stretch = self.stretch(sequences);
        (0..sequences.count()).any(|s| sequences.range(s).len() > stretch)
    }

    /// As [`Scan::run_reporting`], into outputs that are there.
    ///
    /// # Errors
    /// As for [`Scan::run`], the outputs included.
    #[allow(clippy::too_many_arguments, reason = "what a run takes")]
    pub fn run_into(
        &self,
        bound: &Bound<F>,
        sequences: &Sequences,
        inputs: &[Tensor<F>],
        outputs: &mut [Tensor<F>],
        carry: &mut Carry<F>,
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Report>, RunError> {
        self.perform(Run { bound, sequences, inputs, outputs, carry, threads, progress })
    }

    /// As [`Scan::run_into`].
    fn perform(&self, run: Run<'_, F>) -> Result<Vec<Report>, RunError> {
        if let Some(finite) = self.maps() {
            // Layers that report anything are no maps.
            finite::run(self, finite, run)?;
            return Ok(Vec::new());
        }
        let inputs = &Tensor::all_widened(run.inputs);
        let mut run = Run { inputs, ..run };
        self.whole.check(run.bound, run.sequences, inputs, run.outputs, run.carry)?;
        if let Some(across) = &self.across {
            across.run(&self.whole, run)?;
            return Ok(Vec::new());
        }
        if let Some(lanes) = &self.lanes {
            // Layers that report anything do not run on lanes.
            lanes.run(self, run)?;
            return Ok(Vec::new());
        }
        let cut = Stretches::cut(run.sequences, self.stretch(run.sequences));
        if cut.of().iter().all(|stretches| stretches.len() <= 1) {
            return self.whole.perform(run);
        }
        let Run { bound, sequences, threads, .. } = run;
        let side = Starts { scan: self, bound, sequences, inputs, cut: &cut, threads };
        let mut starts = side.find(run.carry)?;
        let sequences = &cut.sequences();
        let mut reports = self.whole.perform(Run { sequences, carry: &mut starts, ..run.lent() })?;
        side.finish(&starts, run.carry);
        // Stretches stand in the order of their sequences, and know how many steps came before them.
        let owners = cut.owners();
        reports.iter_mut().for_each(|report| report.event.sequence = owners[report.event.sequence]);
        Ok(reports)
    }
}
