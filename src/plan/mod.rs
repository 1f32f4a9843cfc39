//! Which loops a layer becomes.
//!
//! In: an [`Instance`]. Out: a [`Plan`]. [`lower`] rewrites the equations first; [`crate::analysis::stages`] says when
//! each can run at the earliest; [`place`] gives values their buffers. What depends on parameters alone runs once, in
//! the prologue. A pass over time is cut into tiles of steps, and each tile into phases:
//!
//! - [`Phase::Steps`]: step after step, all of its nests; [`lanes`] orders and vectorises each nest;
//! - [`Phase::Region`]: block of lanes after block of lanes, and for each all steps of the tile. [`batch`] finds the
//!   indices of which the elements of a state never meet, [`region`] fuses the loops of what is left, and [`pipeline`] those of a
//!   step with those of the next.
//!
//! Invariants: every nest and statement reads only what stands before it, or a state before the step whose buffer
//! nothing has overwritten yet; every row of an output and of a kept value is written in every step; a value that one
//! phase defines and another reads has a row for every step of the tile.

pub mod batch;
pub mod cost;
pub mod fetch;
mod fuse;
pub mod lanes;
pub mod lower;
pub mod pack;
pub mod past;
pub mod pipeline;
pub mod place;
mod print;
pub mod region;
pub mod shape;
pub mod split;
pub mod tile;

use ssmc_runtime::kernel::{Buffer, Signature, Slot};

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
    /// How many vector registers there are.
    pub registers: usize,
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
    /// What runs once for all sequences; its one phase list is [`PassPlan::begin`].
    pub prologue: Option<PassPlan>,
    /// The runs over a sequence, in order; the first is a forward one.
    pub passes: Vec<PassPlan>,
}

/// One run over a sequence.
#[derive(Clone, Debug, Default)]
pub struct PassPlan {
    /// Whether it runs from the last step to the first.
    pub reverse: bool,
    /// The states that it carries.
    pub states: Vec<usize>,
    /// The delays that it carries.
    pub delays: Vec<usize>,
    /// Where each value lies; by [`ValueId`].
    pub places: Vec<Option<Place>>,
    /// The condition of the reset.
    pub reset: Option<ValueId>,
    /// How many steps a tile has at most; 0 where there is no limit.
    pub tile: usize,
    /// The outputs that may go past the caches.
    pub past: Vec<ValueId>,
    /// What runs before the first tile: states are brought into the layout of their region.
    pub begin: Vec<Phase>,
    /// What runs in every tile.
    pub phases: Vec<Phase>,
    /// What runs after the last tile.
    pub end: Vec<Phase>,
}

/// What runs for all steps of a tile before the next phase begins.
#[derive(Clone, Debug)]
pub enum Phase {
    /// One step after the other.
    Steps(Steps),
    /// One block of lanes after the other.
    Region(Region),
}

/// Nests that run step by step.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    /// What decides whether the step resets; runs first.
    pub cone: Vec<Nest>,
    /// The rest of the step.
    pub body: Vec<Nest>,
    /// Whether no step reads what another writes.
    pub apart: bool,
}

/// Statements that run for one block of lanes after the other.
#[derive(Clone, Debug)]
pub struct Region {
    /// Loops around the blocks; no two of their elements meet.
    pub outer: Vec<IndexId>,
    /// The index on the lanes; no two of its elements meet either.
    pub lane: IndexId,
    /// How many vectors a block has.
    pub parts: usize,
    /// Whether the steps of the tile run in each block; else it runs once, outside of time.
    pub timed: bool,
    /// Whether no step reads what another writes.
    pub apart: bool,
    /// How many steps run side by side, so that what they all read is loaded once; 1 where a step needs the one before.
    pub together: usize,
    /// The states that stay in registers from step to step.
    pub carried: Vec<Carried>,
    /// What one step does, in order.
    pub items: Vec<Item>,
    /// The last loop of a step with the first one of the step behind it, where these run as one. Then the first item is that loop.
    pub pipelined: Option<Pipelined>,
    /// Inputs whose rows of the next tile it asks for: each step of a block for its share of one.
    pub fetches: Vec<ValueId>,
}

/// The last loop of a step with the first one of the step behind it.
#[derive(Clone, Debug)]
pub struct Pipelined {
    /// The last loop.
    pub fused: Fused,
    /// What runs in each turn for the step behind.
    pub ahead: Vec<Statement>,
    /// Before and after a step, the states of which a turn reads an element for the step behind when it has computed it.
    pub states: Vec<(ValueId, ValueId)>,
}

/// A state that stays in registers.
#[derive(Clone, Debug)]
pub struct Carried {
    /// Its value before the step.
    pub before: ValueId,
    /// Its value after the step.
    pub after: ValueId,
    /// An element: one index per axis.
    pub at: Vec<Expr>,
    /// The indices of `at` that the region does not loop over.
    pub rest: Vec<IndexId>,
}

/// A part of a region's step.
#[derive(Clone, Debug)]
pub enum Item {
    /// A statement without a loop.
    One(Statement),
    /// Statements in one loop.
    Loop(Fused),
}

/// Statements in one loop.
#[derive(Clone, Debug)]
pub struct Fused {
    /// The indices, outermost first.
    pub indices: Vec<IndexId>,
    /// How many turns of the innermost loop are written out; all of all loops if `whole`.
    pub unroll: usize,
    /// Whether no loop is left.
    pub whole: bool,
    /// What runs in each turn.
    pub body: Vec<Statement>,
}

/// The definition of a value within a region.
#[derive(Clone, Debug)]
pub struct Statement {
    /// What is defined.
    pub value: ValueId,
    /// The element that is defined: one index per axis.
    pub at: Vec<Expr>,
    /// Its value; a reduction over the loop's indices if `sums`.
    pub body: Expr,
    /// Whether the loop that it stands in is the one of its reduction.
    pub sums: bool,
    /// Where it is written.
    pub stores: Vec<Place>,
}

/// Where a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The buffer.
    pub buffer: Buffer,
    /// Where in the buffer its first plane starts, in bytes.
    pub offset: usize,
    /// How many bytes its second plane starts behind the first; home, scratch, local and derived only.
    pub plane: usize,
    /// How many bytes lie between the rows of two steps of a tile; 0 where there is one row.
    pub row: usize,
    /// The order of its elements.
    pub layout: Layout,
}

/// The order of a tensor's elements in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layout {
    /// The last axis is contiguous.
    RowMajor,
    /// Blocks along one axis; in each, the other axes row-major, and the lanes of the block contiguous. The last block
    /// is padded.
    Blocked {
        /// The axis.
        axis: usize,
        /// How many elements of it a block has.
        block: usize,
    },
    /// As one block, without the axes that the region loops over.
    Local {
        /// The axis on the lanes.
        axis: usize,
        /// How many elements of it there are.
        block: usize,
        /// A bit for every axis that the region loops over.
        outer: u64,
    },
}

impl Layout {
    /// How far apart elements lie along each axis, in elements; 0 for axes that take no room. Along the axis on the
    /// lanes, the distance per element between whole blocks.
    pub fn strides(self, shape: &[usize]) -> Vec<i64> {
        let (lane, block, outer) = match self {
            Layout::RowMajor => (usize::MAX, 1, 0),
            Layout::Blocked { axis, block } => (axis, block, 0),
            Layout::Local { axis, block, outer } => (axis, block, outer),
        };
        let mut strides = vec![0; shape.len()];
        let mut stride = 1;
        for (axis, &extent) in shape.iter().enumerate().rev() {
            if axis != lane && outer >> axis & 1 == 0 {
                strides[axis] = stride * block as i64;
                stride *= extent as i64;
            }
        }
        if let Layout::Blocked { axis, .. } = self {
            strides[axis] = stride;
        }
        strides
    }

    /// How many elements it takes.
    pub fn size(self, shape: &[usize]) -> usize {
        let others = |skip: &dyn Fn(usize) -> bool| -> usize {
            shape.iter().enumerate().filter(|(axis, _)| !skip(*axis)).map(|(_, extent)| extent).product()
        };
        match self {
            Layout::RowMajor => shape.iter().product(),
            Layout::Blocked { axis, block } => shape[axis].next_multiple_of(block) * others(&|a| a == axis),
            Layout::Local { axis, block, outer } => block * others(&|a| a == axis || outer >> a & 1 == 1),
        }
    }

    /// Whether whole vectors may be read and written behind the last element.
    pub fn is_padded(self) -> bool {
        self != Layout::RowMajor
    }
}

impl Place {
    /// The start of a buffer.
    pub fn start(buffer: Buffer) -> Self {
        Self { buffer, offset: 0, plane: 0, row: 0, layout: Layout::RowMajor }
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
    /// The indices that lie on vector lanes: the innermost loop, or an index of each reduction that is outermost, or both.
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

/// One function of a kernel.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The pass, or the prologue.
    pub pass: &'a PassPlan,
    /// The addresses that it gets.
    pub slots: &'a [Slot],
    /// What it runs, in order.
    pub phases: &'a [Phase],
    /// Whether the pass's outputs that may go past the caches do.
    pub past: bool,
}

impl Plan {
    /// The functions of the kernel, in the order of their places in the signature: those that write past the caches come last.
    pub fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = Vec::new();
        if let (Some(pass), Some(signature)) = (&self.prologue, &self.signature.prologue) {
            parts.push(Part { pass, slots: &signature.slots, phases: &pass.begin, past: false });
        }
        for (pass, signature) in self.passes.iter().zip(&self.signature.passes) {
            let slots = &signature.slots[..];
            let mut add = |phases| parts.push(Part { pass, slots, phases, past: false });
            if !pass.begin.is_empty() {
                add(&pass.begin);
            }
            pass.phases.chunks(1).for_each(&mut add);
            if !pass.end.is_empty() {
                add(&pass.end);
            }
        }
        for (pass, signature) in self.passes.iter().zip(&self.signature.passes) {
            let again = pass.phases.chunks(1).zip(&signature.phases).filter(|(_, phase)| phase.past.is_some());
            let slots = &signature.slots[..];
            parts.extend(again.map(|(phases, _)| Part { pass, slots, phases, past: true }));
        }
        parts
    }

    /// The same plan where nothing can be written past the caches.
    pub fn within_caches(mut self) -> Self {
        for phase in self.signature.passes.iter_mut().flat_map(|pass| &mut pass.phases) {
            phase.past = None;
        }
        self
    }
}

impl Phase {
    /// Whether no step reads what another writes.
    pub fn is_apart(&self) -> bool {
        match self {
            Phase::Steps(steps) => steps.apart,
            Phase::Region(region) => region.apart,
        }
    }

    /// What it reads, values of its own included; each as often as it is written.
    pub fn reads(&self) -> Vec<ValueId> {
        let bodies = self.nests().map(|nest| &nest.body).chain(self.statements().map(|statement| &statement.body));
        bodies.flat_map(Expr::reads).collect()
    }

    /// All nests of a phase that runs step by step.
    pub fn nests(&self) -> impl Iterator<Item = &Nest> {
        let steps = match self {
            Phase::Steps(steps) => Some(steps),
            Phase::Region(_) => None,
        };
        steps.into_iter().flat_map(|steps| steps.cone.iter().chain(&steps.body))
    }

    /// All statements of a region.
    pub fn statements(&self) -> impl Iterator<Item = &Statement> {
        let items = match self {
            Phase::Steps(_) => &[][..],
            Phase::Region(region) => &region.items[..],
        };
        items.iter().flat_map(|item| match item {
            Item::One(statement) => std::slice::from_ref(statement),
            Item::Loop(fused) => &fused.body[..],
        })
    }
}

/// The size of an element of one plane in bytes.
pub fn element_bytes(ty: Scalar, bits: u32) -> usize {
    match ty {
        Scalar::Real | Scalar::Complex => bits as usize / 8,
        Scalar::Int => 4,
        Scalar::Bool => 1,
    }
}
