//! Which loops a layer becomes.
//!
//! In: an [`Instance`]. Out: a [`Plan`]: for every pass over time the buffers of its values and the loop nests of
//! one step, with the index that lies on the vector lanes. [`lower`] rewrites the equations first, [`place`] gives
//! values their buffers, [`lanes`] orders and vectorises each nest.
//!
//! Invariants: every nest reads only what stands before it, or a state before the step whose buffer nothing has
//! overwritten yet; every row of an output and of a kept value is written in every step.

pub mod lanes;
pub mod lower;
pub mod place;
mod print;
pub mod shape;

use ssmc_runtime::kernel::{Buffer, Signature};

use crate::diag::{Code, Diagnostic, Span};
use crate::ir::report::NOT_DEFINITE;
use crate::ir::{Expr, IndexId, Instance, Scalar, ValueId};

pub use lanes::Lanes;

/// Which kernel is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Any number of steps in one call.
    Sequence,
    /// One step a call.
    Step,
}

/// What the planner has to know about the code that will be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The width of reals: 32 or 64.
    pub bits: u32,
    /// How many reals a vector holds.
    pub width: usize,
}

/// The loops of a layer.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The lowered layer.
    pub instance: Instance,
    /// Which kernel is made.
    pub form: Form,
    /// What it is planned for.
    pub target: Target,
    /// What the kernels take and give.
    pub signature: Signature,
    /// What kernels report, in the order of [`Signature::reports`].
    pub reports: Vec<ValueId>,
    /// The runs over a sequence, in order; the first is a forward one.
    pub passes: Vec<PassPlan>,
}

/// One run over a sequence.
#[derive(Clone, Debug)]
pub struct PassPlan {
    /// Whether it runs from the last step to the first.
    pub reverse: bool,
    /// The states that it carries.
    pub states: Vec<usize>,
    /// The delays that it carries.
    pub delays: Vec<usize>,
    /// Where each value lies; by [`ValueId`].
    pub places: Vec<Option<Place>>,
    /// What decides whether the step resets; runs first.
    pub cone: Vec<Nest>,
    /// The condition of the reset.
    pub reset: Option<ValueId>,
    /// The rest of the step.
    pub body: Vec<Nest>,
}

/// Where a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The buffer.
    pub buffer: Buffer,
    /// Where in the buffer its first plane starts, in bytes; scratch only.
    pub offset: usize,
}

impl Place {
    /// The start of a buffer.
    pub fn start(buffer: Buffer) -> Self {
        Self { buffer, offset: 0 }
    }
}

/// An equation as loops.
#[derive(Clone, Debug)]
pub struct Nest {
    /// What is defined. A copy has the value that it copies.
    pub value: ValueId,
    /// Where it is written.
    pub target: Place,
    /// The element that is written: one index per axis.
    pub at: Vec<Expr>,
    /// Its value.
    pub body: Expr,
    /// The loops over the axes, outermost first.
    pub loops: Vec<IndexId>,
    /// The indices that lie on vector lanes: the innermost loop, or an index of each reduction that is outermost.
    pub lanes: Vec<Lanes>,
}

impl Plan {
    /// Of what kernels report, the expressions that it is about and what is said of them.
    pub fn reports(&self) -> Vec<(Span, String)> {
        let layer = &self.instance.layer;
        let about = |value: &ValueId| match layer.checks.iter().find(|check| check.value == *value) {
            Some(check) => (check.span, check.message.clone()),
            None => (layer.value(*value).span, NOT_DEFINITE.to_owned()),
        };
        self.reports.iter().map(about).collect()
    }
}

/// Plans a kernel.
///
/// # Errors
/// S301 for a step kernel of a layer with reverse states; S217 where these have no order.
pub fn plan(instance: &Instance, form: Form, target: Target) -> Result<Plan, Vec<Diagnostic>> {
    let layer = &instance.layer;
    if form == Form::Step
        && let Some(state) = layer.states.iter().find(|state| state.reverse)
    {
        let span = layer.value(state.value).span;
        let message = format!("`{}` runs in reverse: this layer has no step kernel", state.name);
        return Err(vec![
            Diagnostic::error(Code::S301, span, message).label("carried from the last step to the first"),
        ]);
    }
    let lowered = lower::lower(instance);
    if cfg!(debug_assertions)
        && let Err(error) = crate::ir::verify::verify(&lowered.layer)
    {
        panic!("plan: lowering broke the layer: {error}\n{}", lowered.layer);
    }
    let passes = crate::analysis::passes::passes(&lowered.layer).map_err(|conflict| {
        let state = |s: crate::ir::StateId| &lowered.layer.states[s.at()];
        let (forward, reverse) = (state(conflict.forward), state(conflict.reverse));
        let span = |s: &crate::ir::State| -> Span { lowered.layer.value(s.value).span };
        let message = format!("`{}` and `{}` depend on each other", forward.name, reverse.name);
        vec![
            Diagnostic::error(Code::S217, span(forward), message)
                .label("runs forward")
                .also(span(reverse), "runs backward"),
        ]
    })?;
    Ok(place::place(lowered, &passes, form, target))
}

/// The size of an element of one plane in bytes.
pub fn element_bytes(ty: Scalar, bits: u32) -> usize {
    match ty {
        Scalar::Real | Scalar::Complex => bits as usize / 8,
        Scalar::Int => 4,
        Scalar::Bool => 1,
    }
}
