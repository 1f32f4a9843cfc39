//! Scans with time on the lanes of vectors, for layers of a few channels.
//!
//! In: kernels whose values have one more axis, the innermost, of `lanes` elements: each lane runs a stretch of its
//! own. Out: what the layer's own kernel gives. A *segment* is as many stretches as there are lanes. It is worked on in
//! *turns* of a few steps, so that what one loop hands to the next is still in the first cache: inputs are transposed and
//! summarised turn by turn; then, from the true starts, turns are run and their outputs transposed back. Main memory is
//! read once and written once.
//!
//! | kernel | its states | its rows |
//! | --- | --- | --- |
//! | [`Recent::program`] | those that only hold what was lately; `[.., lanes]` | the steps before each stretch, to find these states and what delays hold |
//! | [`Group::summary`] | those of earlier groups, the group's own, the products; `[.., lanes]` | the steps of a stretch |
//! | [`Group::apply`] | the group's own | the stretches, in order; its inputs are their summaries |
//! | `whole` | all; `[.., lanes]` | the steps of a stretch |
//!
//! The start of a stretch is what applying all summaries before it gives. Threads take segments in turn. Each summarises its
//! own, waits until the one before has applied its summaries, applies them, which is short, and runs it. So any number of
//! threads do the same operations on the same numbers, and read main memory once.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::addresses::{Planes, all_planes, all_planes_mut, planes_of};
use crate::check::{RunError, check_bound};
use crate::driver::{Code, each};
use crate::kernel::{Entry, Signature, Tensors};
use crate::pass::Derived;
use crate::tensor::{Bound, Float, Run, Tensor};
use crate::transpose::fence;

mod back;
mod check;
mod place;
mod turn;
mod worker;

use place::{Room, bytes, copy_row, planes};
use turn::Turn;
use worker::Worker;

/// A kernel with what it is bound to.
pub struct Program<'a, F> {
    signature: &'a Signature,
    entries: &'a [Entry],
    bound: &'a Bound<F>,
    /// What the prologue has made of the parameters.
    derived: Derived,
}

impl<'a, F: Float> Program<'a, F> {
    /// # Errors
    /// A tensor that is not the one that the signature describes.
    pub fn new(code: &'a Code, bound: &'a Bound<F>) -> Result<Self, RunError> {
        let (signature, entries) = (code.signature(), code.entries());
        check_bound(signature, bound)?;
        let mut derived = Derived::new(signature);
        // SAFETY: the parameters are those that the signature asks for.
        unsafe { derived.make(signature, entries, |i| planes_of(&bound.params[i])) };
        Ok(Self { signature, entries, bound, derived })
    }
}

/// The kernels of one group of states.
pub struct Group<'a, F> {
    /// Summarises stretches, one a lane.
    pub summary: Program<'a, F>,
    /// Applies summaries, one a row.
    pub apply: Program<'a, F>,
    /// The layer's states that the summary's first states are: of earlier groups, then the group's own.
    pub states: &'a [usize],
    /// How many of them belong to earlier groups.
    pub earlier: usize,
    /// The neutral summary: the states of the summary behind those of earlier groups, without lanes.
    pub neutral: &'a [Tensor<F>],
}

/// The delays of a layer, and states that a few steps determine, whatever they were before.
pub struct Recent<'a, F> {
    /// The kernel of these alone.
    pub program: Program<'a, F>,
    /// How many steps it has to run; at most those of a stretch.
    pub steps: usize,
    /// The layer's states that it has, in their order.
    pub states: &'a [usize],
}

/// A layer on lanes.
pub struct Lanes<'a, F> {
    /// How many lanes.
    pub lanes: usize,
    /// How many steps a stretch has.
    pub steps: usize,
    /// What is known from a few steps before a stretch; needed where there are delays.
    pub recent: Option<Recent<'a, F>>,
    /// The groups, each after those it reads.
    pub groups: Vec<Group<'a, F>>,
    /// The layer.
    pub whole: Program<'a, F>,
}

/// From how many bytes of outputs on they go past the caches: they would be gone from there before anyone reads them.
const PAST: usize = 8 << 20;

/// After how many steps a thread reports its progress.
const REPORT: u64 = 1 << 17;

/// Runs whole segments of a layer's sequences: `segments[i]` of sequence `i` from row `first[i]` on. The carry goes in and comes
/// out; no sequence may be before its first step where the layer looks at that. What the kernels are bound to is the plan's.
///
/// # Panics
/// If the rows are not inside of the tensors, or the kernels do not belong together.
pub fn run<F: Float>(plan: &Lanes<'_, F>, first: &[usize], segments: &[usize], run: Run<'_, F>) {
    let Run { inputs, outputs, carry, threads, progress, .. } = run;
    plan.check(first, segments, inputs, outputs, carry);
    let moved = |slices: &[Tensors]| {
        let bytes = |slice: &Tensors| bytes::<F>(slice) * planes(slice.kind).len() * plan.steps;
        slices.iter().map(bytes).sum::<usize>()
    };
    let whole = plan.whole.signature;
    let moved = (moved(&whole.inputs), moved(&whole.outputs));
    let run = Segments {
        plan,
        inputs: all_planes(inputs),
        outputs: all_planes_mut(outputs),
        states: all_planes_mut(&mut carry.states),
        delays: all_planes_mut(&mut carry.delays),
        past: segments.iter().sum::<usize>() * moved.1 >= PAST,
        moved,
        done: AtomicU64::new(0),
        progress,
    };
    let busy = segments.iter().filter(|n| **n > 0).count();
    let workers = if threads == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { threads };
    let inner = if busy >= workers { 1 } else { workers };
    let one = |sequence: usize| {
        if segments[sequence] > 0 {
            run.sequence(sequence, first[sequence], segments[sequence], inner);
        }
    };
    if inner == 1 {
        each(segments.len(), threads, one);
    } else {
        (0..segments.len()).for_each(one);
    }
    for (steps, segments) in carry.steps.iter_mut().zip(segments) {
        *steps += (segments * plan.lanes * plan.steps) as u64;
    }
}

/// A run of segments.
struct Segments<'a, F> {
    plan: &'a Lanes<'a, F>,
    inputs: Vec<Planes>,
    outputs: Vec<Planes>,
    states: Vec<Planes>,
    delays: Vec<Planes>,
    /// Whether the outputs go past the caches.
    past: bool,
    /// The bytes of a segment's inputs, and of its outputs.
    moved: (usize, usize),
    done: AtomicU64,
    progress: &'a (dyn Fn(u64) + Sync),
}

// SAFETY: the addresses are those of tensors that outlive the run; tasks read the shared ones and write only the rows of
// their own segments and sequences.
unsafe impl<F: Sync> Sync for Segments<'_, F> {}

/// What one sequence's segments share.
struct Shared<'a> {
    sequence: usize,
    /// The row at which the first segment starts.
    first: usize,
    segments: usize,
    /// How many threads work on them.
    workers: usize,
    /// The delays that were carried in.
    delays: &'a [Planes],
    /// The states of [`Recent`] that were carried in.
    recent: &'a [Planes],
    /// By group: who may use the carry's states of the group, which are those after the segment that was scanned last.
    turns: Vec<Turn>,
}

// SAFETY: what was carried in is only read.
unsafe impl Sync for Shared<'_> {}

impl<F: Float> Segments<'_, F> {
    fn sequence(&self, sequence: usize, first: usize, segments: usize, threads: usize) {
        let plan = self.plan;
        let mut room = Room::default();
        // The last segment writes the carry's delays and recent states, and another thread may come to the first one later.
        let mut delays = Vec::new();
        for (line, carried) in plan.whole.signature.delays.iter().zip(&self.delays) {
            let elements = line.depth * line.slice.size() / plan.lanes;
            let slice = Tensors { shape: vec![elements], ..line.slice.clone() };
            let planes = room.rows::<F>(&slice, 1);
            // SAFETY: the carry's row of this sequence, and as much memory.
            unsafe { copy_row::<F>(&slice, carried, sequence, &planes, 0) };
            delays.push(planes);
        }
        let mut recent = Vec::new();
        for &s in plan.recent.iter().flat_map(|recent| recent.states) {
            let slice = &plan.whole.signature.states[s];
            let slice = Tensors { shape: vec![slice.size() / plan.lanes], ..slice.clone() };
            let planes = room.rows::<F>(&slice, 1);
            // SAFETY: as above.
            unsafe { copy_row::<F>(&slice, &self.states[s], sequence, &planes, 0) };
            recent.push(planes);
        }
        let turns = plan.groups.iter().map(|_| Turn::default()).collect();
        let workers = threads.min(segments);
        let shared = Shared { sequence, first, segments, workers, delays: &delays, recent: &recent, turns };
        let next = AtomicUsize::new(0);
        each(workers, threads, |_| {
            let mut worker = Worker::new(self, &shared);
            let (mut alone, mut ran) = (0.., 0);
            // Whatever locks memory waits for all that is on its way past the caches.
            let take = || if workers == 1 { alone.next() } else { Some(next.fetch_add(1, Ordering::Relaxed)) };
            for segment in std::iter::from_fn(take).take_while(|&segment| segment < segments) {
                // SAFETY: `Lanes::check` has shown that kernels and tensors fit; a segment is taken once, in order.
                unsafe { worker.segment(segment) };
                ran += (plan.lanes * plan.steps) as u64;
                if ran >= REPORT || segment + 1 == segments {
                    (self.progress)(self.done.fetch_add(ran, Ordering::Relaxed) + ran);
                    ran = 0;
                }
            }
            self.done.fetch_add(ran, Ordering::Relaxed);
            fence();
        });
    }
}
