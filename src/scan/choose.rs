//! Which plans a layer allows, and which one `auto` takes.
//!
//! All that decides between plans stands in [`choose`].

use std::num::NonZeroUsize;

use super::group::Layers;
use super::{fixed, refused};
use crate::analysis::verdict::judge;
use crate::analysis::verdict::summary::summary;
use crate::diag::{Code, Diagnostic};
use crate::ir::{Expr, ExprKind, Instance, Layer, Scalar};
use crate::jit::finite::counts;
use crate::plan::shape::weight;

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
}

impl Plan {
    /// All plans.
    pub const ALL: [Plan; 4] = [Plan::Interp, Plan::Step, Plan::Sequential, Plan::Parallel];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Plan::Interp => "interp",
            Plan::Step => "step",
            Plan::Sequential => "sequential",
            Plan::Parallel => "parallel",
        }
    }
}

/// Every plan, with why the layer does not allow it where it does not.
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
    /// [`Plan::Sequential`] or [`Plan::Parallel`].
    pub plan: Plan,
    /// Why it is not the one that would be faster, where the layer does not allow that.
    pub note: Option<Diagnostic>,
}

/// The fewest steps for which a scan is worth its compilation.
const WORTH: usize = 1 << 14;

/// The bits of the vectors that kernels have.
const VECTOR: f64 = 128.0;

/// By how much a scan must be faster on paper.
const MARGIN: f64 = 1.2;

/// Picks the plan of `auto`.
///
/// In order, as many threads work as there are sequences. A scan has the work of the summaries on top, and all
/// threads for it; a layer of a few channels also has the lanes of a vector, which in order are empty. It is taken where
/// the sequences have at least [`WORTH`] steps and the counted operations, divided by the threads and lanes that
/// share them, are fewer by [`MARGIN`].
pub fn choose(instance: &Instance, run: Extents) -> Choice {
    let in_order = Choice { plan: Plan::Sequential, note: None };
    let threads = match run.threads {
        0 => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        n => n,
    };
    let idle = run.sequences < threads;
    let narrow = super::lanes::narrow(instance);
    if run.longest < WORTH || run.sequences == 0 || !(idle || narrow) {
        return in_order;
    }
    let verdict = judge(&instance.layer);
    if let Some(refusal) = refused(&instance.layer, &verdict) {
        if !idle {
            return in_order;
        }
        let note = refusal.into_note();
        let message = format!("running in order, on {} of {threads} threads: {}", run.sequences, note.message);
        return Choice { plan: Plan::Sequential, note: Some(Diagnostic { message, ..note }) };
    }
    if counts(instance).is_some() {
        // Composing the maps of stretches takes about half as long as running them.
        let plan = if idle { Plan::Parallel } else { Plan::Sequential };
        return Choice { plan, note: None };
    }
    let step = operations(instance);
    let mut all = step;
    for group in &verdict.groups {
        let Some(summary) = summary(&verdict, group) else { return in_order };
        let layers = Layers::of(&summary, fixed(&instance.layer, group));
        let Ok(summary) = Instance::new(layers.summary, instance.dims.clone()) else { return in_order };
        all += operations(&summary);
    }
    let lanes = if narrow { VECTOR / f64::from(run.bits) } else { 1.0 };
    let parallel = all / (threads as f64 * lanes);
    let sequential = step / run.sequences.min(threads) as f64;
    if parallel * MARGIN < sequential { Choice { plan: Plan::Parallel, note: None } } else { in_order }
}

/// About how many plain operations one step takes.
pub(super) fn operations(instance: &Instance) -> f64 {
    let each = |equation: &crate::ir::Equation| {
        let elements: f64 = equation.indices.iter().map(|i| instance.extents[i.at()] as f64).product();
        elements * (cost(instance, &equation.body) + 1.0)
    };
    instance.layer.equations.iter().map(each).sum()
}

fn cost(instance: &Instance, e: &Expr) -> f64 {
    let complex = e.ty == Scalar::Complex;
    let below: f64 = e.operands().into_iter().map(|operand| cost(instance, operand)).sum();
    match &e.kind {
        ExprKind::Reduce { indices, .. } => {
            indices.iter().map(|i| instance.extents[i.at()] as f64).product::<f64>() * (below + 1.0)
        }
        ExprKind::Normalise { index, .. } => instance.extents[index.at()] as f64 * (below + 20.0),
        ExprKind::Call(f, args) => below + weight(*f, args[0].ty == Scalar::Complex) as f64,
        // Indices and places are free: they are the loops.
        ExprKind::Read { .. } | ExprKind::Past { .. } => 1.0,
        ExprKind::Binary(..) | ExprKind::Unary(..) | ExprKind::If(_) | ExprKind::Powi(..) => {
            below + if complex { 3.0 } else { 1.0 }
        }
        _ => below,
    }
}
