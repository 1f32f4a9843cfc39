//! What each plan takes, as predicted.
//!
//! In: an [`Instance`], the [`Extents`] of a run, a [`Profile`]. Out: a [`Prediction`] for a plan. A scan is priced by the
//! layers that it consists of, with the extents in which it runs them.

use super::choose::{Extents, Plan};
use super::delays::reach;
use super::group::{Layers, derived};
use super::{LEAST, MOST, SUMMARIES, across, fixed, lanes};
use crate::analysis::verdict::summary::summary;
use crate::analysis::verdict::{Verdict, judge};
use crate::chunked;
use crate::diag::{Code, Diagnostic};
use crate::ir::{Instance, Layer, StateId, ValueId};
use crate::jit::backend::{Candidate, chosen};
use crate::jit::finite::counts;
use crate::jit::{Form, Isa};
use crate::predict::{PhaseTime, Prediction, Run};
use crate::profile::Profile;

/// Cycles in which an element changes its place between the order of time and that of lanes.
const TRANSPOSED: f64 = 0.4;

/// A plan with its time.
#[derive(Clone, Debug)]
pub struct Priced {
    /// The kernel of the layer itself: what runs, but for a scan's summaries, and of blocks what stands in their place.
    pub kernel: Candidate,
    /// The time of the whole run.
    pub prediction: Prediction,
}

impl Extents {
    /// How many threads there are, of the machine where none are asked for.
    pub fn workers(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        }
    }

    fn run(&self) -> Run {
        Run::even(self.sequences, self.longest, self.workers())
    }
}

/// The time of a plan that the layer allows, all sequences being as long as the longest.
///
/// # Errors
/// What stands in the way of a kernel.
pub fn price(
    plan: Plan,
    instance: &Instance,
    extents: Extents,
    isa: Isa,
    profile: &Profile,
) -> Result<Priced, Vec<Diagnostic>> {
    let pricer = Pricer { instance, extents, isa, profile };
    let alone = |kernel: Candidate| Priced { prediction: kernel.prediction.clone(), kernel };
    match plan {
        Plan::Parallel => pricer.parallel(),
        Plan::Chunked => {
            let Extents { bits, .. } = extents;
            let prediction = chunked::price(instance, extents.run(), bits, isa, profile)?;
            let kernel = pricer.kernel(&instance.layer, Form::Sequence, extents.run())?;
            Ok(Priced { kernel, prediction })
        }
        Plan::Step => pricer.kernel(&instance.layer, Form::Step, extents.run()).map(alone),
        Plan::Sequential | Plan::Interp => pricer.kernel(&instance.layer, Form::Sequence, extents.run()).map(alone),
    }
}

struct Pricer<'a> {
    instance: &'a Instance,
    extents: Extents,
    isa: Isa,
    profile: &'a Profile,
}

impl Pricer<'_> {
    /// A layer that is made of the instance's.
    fn kernel(&self, layer: &Layer, form: Form, run: Run) -> Result<Candidate, Vec<Diagnostic>> {
        self.candidate(&derived(layer, self.instance)?, form, run)
    }

    fn candidate(&self, instance: &Instance, form: Form, run: Run) -> Result<Candidate, Vec<Diagnostic>> {
        chosen(instance, form, self.extents.bits, self.isa, &run, self.profile)
    }

    /// The states and the layers of all groups.
    fn groups(&self, verdict: &Verdict) -> Vec<(Vec<StateId>, Layers)> {
        let layers = verdict.groups.iter().filter_map(|group| {
            let summary = summary(verdict, group)?;
            Some((group.states.clone(), Layers::of(&summary, fixed(&self.instance.layer, group))))
        });
        layers.collect()
    }

    fn parallel(&self) -> Result<Priced, Vec<Diagnostic>> {
        let verdict = judge(&self.instance.layer);
        if let Some(refusal) = super::refused(&self.instance.layer, &verdict) {
            return Err(vec![refusal]);
        }
        if counts(self.instance).is_some() {
            return self.on_maps();
        }
        if let Some(rows) = across::rows(self.instance, &verdict, self.isa, self.extents.bits) {
            return self.on_rows(&rows);
        }
        let groups = self.groups(&verdict);
        if lanes::narrow(self.instance) {
            return self.on_lanes(&groups);
        }
        let Run { sequences, longest, total, threads, .. } = self.extents.run();
        let reach = reach(self.instance).unwrap_or(0);
        let held = groups.iter().map(|(_, group)| self.elements(&group.neutral)).max().unwrap_or(0).max(1);
        let few = longest.div_ceil(MOST).max(total.div_ceil((SUMMARIES / held).max(1)));
        let stretch = few.next_power_of_two().max(LEAST).max(4 * reach).max(1);
        self.is_cut(stretch)?;
        let each = longest.div_ceil(stretch);
        let stretches = each * sequences;
        let cut = |n: usize| Run { total: total.min(n * stretch), ..Run::even(n, stretch.min(longest), threads) };
        let kernel = self.kernel(&self.instance.layer, Form::Sequence, cut(stretches))?;
        let mut prediction = named(&kernel.prediction, "run");
        for (_, group) in &groups {
            let summarised = self.kernel(&group.summary, Form::Sequence, cut(stretches - sequences))?;
            add(&mut prediction, named(&summarised.prediction, "summary"));
            let scanned = Run::even(sequences, each, threads);
            let apply = self.kernel(&group.apply, Form::Sequence, scanned)?;
            add(&mut prediction, named(&apply.prediction, "scan"));
        }
        Ok(Priced { kernel, prediction })
    }

    /// The maps of stretches on all threads: once to compose them, once to run them.
    fn on_maps(&self) -> Result<Priced, Vec<Diagnostic>> {
        let Run { sequences, longest, total, threads, .. } = self.extents.run();
        let pieces = threads.div_ceil(sequences.max(1));
        let run = Run { total, ..Run::even(sequences * pieces, longest.div_ceil(pieces), threads) };
        let kernel = self.kernel(&self.instance.layer, Form::Sequence, run)?;
        let mut prediction = named(&kernel.prediction, "run");
        add(&mut prediction, named(&kernel.prediction, "summary"));
        Ok(Priced { kernel, prediction })
    }

    /// Rows of steps in order, and the steps around them.
    fn on_rows(&self, rows: &across::Rows) -> Result<Priced, Vec<Diagnostic>> {
        let Run { sequences, longest, threads, .. } = self.extents.run();
        let lanes = rows.instance.filled().unwrap_or(1);
        let again = rows.instance.layer.inputs.len() - self.instance.layer.inputs.len();
        self.is_cut(lanes)?;
        let in_rows = Run { again, ..Run::even(sequences, longest / lanes, threads) };
        let kernel = self.candidate(&rows.instance, Form::Sequence, in_rows)?;
        let mut prediction = named(&kernel.prediction, "rows");
        let rest = Run::even(sequences, lanes, threads);
        add(&mut prediction, named(&self.kernel(&self.instance.layer, Form::Sequence, rest)?.prediction, "rest"));
        Ok(Priced { kernel, prediction })
    }

    /// Segments of stretches on lanes, and what is left behind them in order.
    fn on_lanes(&self, groups: &[(Vec<StateId>, Layers)]) -> Result<Priced, Vec<Diagnostic>> {
        let Run { sequences, longest, threads, .. } = self.extents.run();
        let (lanes, steps) = (lanes::LANES, lanes::steps(self.instance, self.extents.bits));
        self.is_cut(lanes * steps)?;
        let segments = longest / (lanes * steps) * sequences;
        let wide = |layer: &Layer| {
            let run = Run::even(segments, steps, threads);
            self.candidate(&lanes::wide(layer, self.instance, lanes)?, Form::Sequence, run)
        };
        let kernel = wide(&self.instance.layer)?;
        let mut prediction = named(&kernel.prediction, "run");
        let (recent, _) = lanes::recent(self.instance, steps);
        let summarised = groups.iter().filter(|(own, _)| own.iter().any(|s| !recent.contains(s)));
        for (_, group) in summarised {
            add(&mut prediction, named(&wide(&group.summary)?.prediction, "summary"));
            let run = Run::even(segments, lanes, threads);
            let scanned = self.kernel(&group.apply, Form::Sequence, run)?;
            add(&mut prediction, named(&scanned.prediction, "scan"));
        }
        let left = longest % (lanes * steps);
        let run = Run::even(sequences, left, threads);
        add(&mut prediction, named(&self.kernel(&self.instance.layer, Form::Sequence, run)?.prediction, "rest"));
        let layer = &self.instance.layer;
        let elements =
            |values: &mut dyn Iterator<Item = ValueId>| values.map(|v| self.instance.elements(v)).sum::<usize>();
        let moved = elements(&mut layer.inputs.iter().copied())
            + elements(&mut layer.outputs.iter().map(|output| output.value));
        let cycles = TRANSPOSED * (moved * segments * lanes * steps) as f64 / threads.min(segments.max(1)) as f64;
        prediction.overhead += cycles / (self.profile.widest().ghz * 1e9);
        Ok(Priced { kernel, prediction })
    }

    /// Refuses sequences of which none has more than one stretch.
    fn is_cut(&self, stretch: usize) -> Result<(), Vec<Diagnostic>> {
        if self.extents.longest > stretch {
            return Ok(());
        }
        let message = format!("no sequence is longer than a stretch, which has {stretch} steps here");
        Err(vec![Diagnostic::error_at(Code::S301, "--plan parallel", message)])
    }

    /// How many numbers the states of a layer hold.
    fn elements(&self, layer: &Layer) -> usize {
        let Ok(instance) = Instance::new(layer.clone(), self.instance.dims.clone()) else { return 0 };
        layer.states.iter().map(|state| instance.elements(state.value)).sum()
    }
}

/// The phases of a part of a scan, with its name before theirs.
fn named(prediction: &Prediction, part: &str) -> Prediction {
    let phase = |phase: &PhaseTime| PhaseTime { name: format!("{part}, {}", phase.name), ..phase.clone() };
    Prediction { phases: prediction.phases.iter().map(phase).collect(), overhead: prediction.overhead }
}

fn add(sum: &mut Prediction, part: Prediction) {
    sum.phases.extend(part.phases);
    sum.overhead += part.overhead;
}
