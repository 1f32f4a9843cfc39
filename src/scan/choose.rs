//! Which plans a layer allows, and which one `auto` takes.
//!
//! All that decides between plans stands in [`choose`].

use super::price::price;
use crate::chunked;
use crate::diag::{Code, Diagnostic};
use crate::ir::{Instance, Layer};
use crate::jit::Isa;
use crate::jit::finite::counts;
use crate::profile::Profile;

/// A way to run a layer over sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Plan {
    /// The interpreter.
    Interp,
    /// The step kernel, once per step.
    Step,
    /// The sequence kernel.
    Sequential,
    /// The scan over stretches of time.
    Parallel,
    /// Blocks of time as matrix products.
    Chunked,
}

impl Plan {
    /// All plans.
    pub const ALL: [Plan; 5] = [Plan::Interp, Plan::Step, Plan::Sequential, Plan::Parallel, Plan::Chunked];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Plan::Interp => "interp",
            Plan::Step => "step",
            Plan::Sequential => "sequential",
            Plan::Parallel => "parallel",
            Plan::Chunked => "chunked",
        }
    }
}

/// Every plan, with why the layer does not allow it with these numbers for its dimensions where it does not.
pub fn plans_of(instance: &Instance) -> Vec<(Plan, Option<Diagnostic>)> {
    let mut plans = plans(&instance.layer);
    for (plan, refusal) in &mut plans {
        match plan {
            Plan::Parallel => *refusal = super::refusal_of(instance),
            Plan::Chunked => *refusal = chunked::refusal_of(instance),
            Plan::Interp | Plan::Step | Plan::Sequential => {}
        }
    }
    plans
}

/// Every plan, with why the layer does not allow it where it does not, for all dimensions.
pub fn plans(layer: &Layer) -> Vec<(Plan, Option<Diagnostic>)> {
    let why = |plan| match plan {
        Plan::Interp | Plan::Sequential => None,
        Plan::Step => layer.states.iter().find(|state| state.reverse).map(|state| {
            let message = format!(
                "`{}` is carried from the last step to the first, so `{}` cannot run step by step",
                state.name, layer.name
            );
            Diagnostic::error(Code::S301, layer.value(state.value).span, message)
        }),
        Plan::Parallel => super::refusal(layer),
        Plan::Chunked => chunked::refusal(layer),
    };
    Plan::ALL.into_iter().map(|plan| (plan, why(plan))).collect()
}

/// The extents of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extents {
    /// How many sequences.
    pub sequences: usize,
    /// The steps of the longest.
    pub longest: usize,
    /// How many threads; 0 for all of the machine.
    pub threads: usize,
    /// The width of reals: 32 or 64.
    pub bits: u32,
}

/// What `auto` takes, and what the user has to know about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// [`Plan::Sequential`], [`Plan::Parallel`] or [`Plan::Chunked`].
    pub plan: Plan,
    /// Why it is not the one that would be faster, where the layer does not allow that.
    pub note: Option<Diagnostic>,
}

/// The fewest steps for which a scan is looked at: two of its shortest stretches.
const STEPS: usize = 512;

/// The least time in order, in seconds, for which a plan that fills lanes is worth being looked at.
const WORTH: f64 = 20e-6;

/// The same for other plans: cores that are asleep take as long to wake as some runs take.
const WAKING: f64 = 200e-6;

/// From how many steps on maps of states are composed, and idle threads are worth a note.
const LONG: usize = 1 << 14;

/// By how much a scan must be predicted to be faster.
pub(super) const MARGIN: f64 = 1.2;

/// The fewest steps for which blocks of time are worth being looked at.
const BLOCKS: usize = 1 << 12;

/// Picks the plan of `auto`.
///
/// In order, as many threads work as there are sequences and blocks. A scan has the work of the summaries on top, and all
/// threads for it; a layer of a few channels also has the lanes of a vector, which in order are empty. Where there is
/// one of the two, the sequences have at least [`STEPS`] steps, and running in order is predicted to take at least [`WORTH`] or [`WAKING`], the
/// scan is taken if it is predicted to be faster by [`MARGIN`]. Blocks of time are taken by the same margin, of a layer that
/// allows them. Maps of states have no price that tells the two apart: they are composed where threads are idle.
pub fn choose(instance: &Instance, run: Extents, isa: Isa, profile: &Profile) -> Choice {
    let in_order = Choice { plan: Plan::Sequential, note: None };
    let threads = run.workers();
    let idle = run.sequences < threads;
    let blocks = run.longest >= BLOCKS && run.sequences > 0 && chunked::refusal_of(instance).is_none();
    let narrow = super::lanes::narrow(instance);
    let scans = run.longest >= STEPS && run.sequences > 0 && (idle || narrow);
    if !(blocks || scans) {
        return in_order;
    }
    let time = |plan: Plan| {
        let priced = price(plan, instance, run, isa, profile).map(|priced| priced.prediction.seconds());
        priced.unwrap_or(f64::INFINITY)
    };
    let mut plans = vec![Plan::Sequential];
    let mut note = None;
    match super::refusal(&instance.layer).filter(|_| scans) {
        Some(refusal) if idle && run.longest >= LONG => {
            let refusal = refusal.into_note();
            let message = format!("running in order, on {} of {threads} threads: {}", run.sequences, refusal.message);
            note = Some(Diagnostic { message, ..refusal });
        }
        Some(_) => {}
        None if scans && counts(instance).is_some() => {
            // Composing the maps of stretches takes about half as long as running them.
            let plan = if idle && run.longest >= LONG { Plan::Parallel } else { Plan::Sequential };
            return Choice { plan, note: None };
        }
        None if scans => plans.push(Plan::Parallel),
        None => {}
    }
    if blocks {
        plans.push(Plan::Chunked);
    }
    if plans.len() == 1 {
        return Choice { plan: Plan::Sequential, note };
    }
    let mut times = vec![time(Plan::Sequential)];
    if times[0] < if narrow { WORTH } else { WAKING } {
        return Choice { plan: Plan::Sequential, note };
    }
    times.extend(plans[1..].iter().map(|&plan| time(plan) * MARGIN));
    let best = (1..plans.len()).fold(0, |best, n| if times[n] < times[best] { n } else { best });
    match plans[best] {
        Plan::Chunked => Choice { plan: Plan::Chunked, note: None },
        plan => Choice { plan, note },
    }
}
