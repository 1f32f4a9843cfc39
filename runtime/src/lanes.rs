//! Scans with time on the lanes of vectors, for layers of a few channels.
//!
//! In: kernels whose values have one more axis, the innermost, of `lanes` elements: each lane runs a stretch of its
//! own. Out: what the layer's own kernel gives. A *segment* is as many stretches as there are lanes. Its inputs are
//! transposed into memory that stays in the cache, are used there by the summaries and by the run, and its outputs are
//! transposed back, so that main memory is read once and written once.
//!
//! | kernel | its states | its rows |
//! | --- | --- | --- |
//! | `delays` | none | the steps before each stretch, to fill the delays |
//! | [`Group::summary`] | those of earlier groups, the group's own, the products; `[.., lanes]` | the steps of a stretch |
//! | [`Group::apply`] | the group's own | the stretches, in order; its inputs are their summaries |
//! | `whole` | all; `[.., lanes]` | the steps of a stretch |
//!
//! The start of a stretch is what applying all summaries before it gives. Threads take segments in turn. Each summarises its
//! own, waits until the one before has applied its summaries, applies them, which is short, and runs it. So any number of
//! threads do the same operations on the same numbers, and read main memory once.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::driver::{Planes, each, planes_of, planes_of_mut};
use crate::kernel::{Entry, Signature, Tensors};
use crate::memory::Memory;
use crate::pass::derived;
use crate::tensor::{Bound, Carry, Float, Tensor};
use crate::transpose::{Far, LINE, Reach, fence, transpose, transpose_and};

mod check;
mod place;

use place::{Bench, Room, bytes, copy_row, from_lanes, planes, to_lanes};

/// A kernel with what it is bound to.
pub struct Program<'a, F> {
    signature: &'a Signature,
    entries: &'a [Entry],
    bound: &'a Bound<F>,
    /// What the prologue has made of the parameters.
    derived: Memory,
}

impl<'a, F: Float> Program<'a, F> {
    /// # Safety
    /// As for [`crate::driver::run`]; and the tensors of `bound` are those that the signature asks for.
    pub unsafe fn new(signature: &'a Signature, entries: &'a [Entry], bound: &'a Bound<F>) -> Self {
        // SAFETY: the parameters are those that the signature asks for.
        let derived = unsafe { derived(signature, entries, &planes_of(&bound.params)) };
        Self { signature, entries, bound, derived }
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

/// A layer on lanes.
pub struct Lanes<'a, F> {
    /// How many lanes.
    pub lanes: usize,
    /// How many steps a stretch has.
    pub steps: usize,
    /// The kernel of the delays alone, and how many steps it has to run; at most those of a stretch.
    pub delays: Option<(Program<'a, F>, usize)>,
    /// The groups, each after those it reads.
    pub groups: Vec<Group<'a, F>>,
    /// The layer.
    pub whole: Program<'a, F>,
}

/// From how many bytes of outputs on they go past the caches: they would be gone from there before anyone reads them.
const PAST: usize = 8 << 20;

/// After how many rows of a kernel some lines of the next segment's inputs are fetched.
const PIECE: usize = 16;

/// What a segment moves, and which parts of its work fetch how many lines of the next one's inputs.
struct Shares {
    /// The bytes of the inputs.
    inputs: usize,
    /// The bytes of the outputs.
    outputs: usize,
    /// Lines while inputs are brought to the lanes: what is left, as this reads many lines itself.
    pack: usize,
    /// Lines while one of the kernels runs.
    kernel: usize,
    /// Lines while outputs are brought back: at most one for each that is written.
    unpack: usize,
}

impl Shares {
    fn new<F: Float>(plan: &Lanes<'_, F>) -> Self {
        let moved = |slices: &[Tensors]| {
            let bytes = |slice: &Tensors| bytes::<F>(slice) * planes(slice.kind).len() * plan.steps;
            slices.iter().map(bytes).sum::<usize>()
        };
        let (inputs, outputs) = (moved(&plan.whole.signature.inputs), moved(&plan.whole.signature.outputs));
        let (lines, written) = (inputs.div_ceil(LINE), outputs / LINE);
        // Measured for one input and one output, whose kernels only read from the second-level cache and add.
        let kernels = lines * 3 / 8;
        let unpack = (lines - kernels).min(written);
        let kernel = kernels.div_ceil(plan.groups.len() + 1);
        Self { inputs, outputs, pack: lines - kernels - unpack, kernel, unpack }
    }
}

/// Runs whole segments: `segments[i]` of sequence `i` from row `first[i]` on. The carry goes in and comes out; no
/// sequence may be before its first step where the layer looks at that.
///
/// # Panics
/// If the rows are not inside of the tensors, or the kernels do not belong together.
#[allow(clippy::too_many_arguments, reason = "what a run takes")]
pub fn run<F: Float>(
    plan: &Lanes<'_, F>,
    first: &[usize],
    segments: &[usize],
    inputs: &[Tensor<F>],
    outputs: &mut [Tensor<F>],
    carry: &mut Carry<F>,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) {
    plan.check(first, segments, inputs, outputs, carry);
    let shares = Shares::new(plan);
    let run = Run {
        plan,
        inputs: planes_of(inputs),
        outputs: planes_of_mut(outputs),
        states: planes_of_mut(&mut carry.states),
        delays: planes_of_mut(&mut carry.delays),
        past: segments.iter().sum::<usize>() * shares.outputs >= PAST,
        shares,
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

/// The number of the first step of every stretch. None is the first of its sequence; delays count from it.
const NUMBER: u64 = 1;

struct Run<'a, F> {
    plan: &'a Lanes<'a, F>,
    inputs: Vec<Planes>,
    outputs: Vec<Planes>,
    states: Vec<Planes>,
    delays: Vec<Planes>,
    /// Whether the outputs go past the caches.
    past: bool,
    shares: Shares,
    done: AtomicU64,
    progress: &'a (dyn Fn(u64) + Sync),
}

// SAFETY: the addresses are those of tensors that outlive the run; tasks read the shared ones and write only the rows of
// their own segments and sequences.
unsafe impl<F: Sync> Sync for Run<'_, F> {}

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
    /// By state: a row for each stretch, and one behind the last.
    starts: &'a [Planes],
    /// By group: the summaries, a row for each stretch.
    summaries: &'a [Vec<Planes>],
    /// By group: what applies summaries to the state that came in. One segment at a time: see `turns`.
    scans: Vec<Bench<'a>>,
    /// By group.
    turns: Vec<Turn>,
}

// SAFETY: every segment writes its own rows, and reads those of others after it was its turn, which is after theirs; so
// are the scans' own states used by one thread after the other.
unsafe impl Sync for Shared<'_> {}

/// Which segment is the next to be scanned.
///
/// Threads take segments in order, so that the one that all others wait for is always being worked on.
#[derive(Default)]
struct Turn {
    next: AtomicUsize,
    /// How many threads sleep until it is their turn.
    asleep: Mutex<usize>,
    passed: Condvar,
}

impl Turn {
    /// For how many looks a thread stays awake, about as long as a segment takes. Where the thread before has lost its
    /// core to another process, it should find this one's free.
    const LOOKS: usize = 1000;

    /// Waits for the segments before this one.
    fn wait(&self, segment: usize) {
        let mine = || self.next.load(Ordering::Acquire) == segment;
        for _ in 0..Self::LOOKS {
            if mine() {
                return;
            }
            std::hint::spin_loop();
        }
        let mut asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        *asleep += 1;
        while !mine() {
            asleep = self.passed.wait(asleep).unwrap_or_else(PoisonError::into_inner);
        }
        *asleep -= 1;
    }

    /// Lets the next segment go on.
    fn pass(&self) {
        let asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        self.next.fetch_add(1, Ordering::Release);
        if *asleep > 0 {
            self.passed.notify_all();
        }
    }
}

/// The memory of one thread.
struct Worker<'a> {
    packed: Vec<Planes>,
    window: Vec<Planes>,
    /// The delays at the starts of a segment's stretches: `[depth, .., lanes]`.
    before: Vec<Planes>,
    delays: Option<Bench<'a>>,
    summaries: Vec<Bench<'a>>,
    whole: Bench<'a>,
    _room: Room,
}

impl<F: Float> Run<'_, F> {
    fn sequence(&self, sequence: usize, first: usize, segments: usize, threads: usize) {
        let plan = self.plan;
        let stretches = segments * plan.lanes;
        let mut room = Room::default();
        let mut own = |slice: &Tensors, rows: usize| room.rows::<F>(slice, rows);
        let narrow =
            |slice: &Tensors| Tensors { shape: slice.shape[..slice.shape.len() - 1].to_vec(), ..slice.clone() };
        let slices: Vec<Tensors> = plan.whole.signature.states.iter().map(narrow).collect();
        let starts: Vec<Planes> = slices.iter().map(|slice| own(slice, stretches + 1)).collect();
        // The last segment writes the carry's delays, and another thread may come to the first one later.
        let mut delays = Vec::new();
        for (line, carried) in plan.whole.signature.delays.iter().zip(&self.delays) {
            let elements = line.depth * line.slice.size() / plan.lanes;
            let slice = Tensors { shape: vec![elements], ..line.slice.clone() };
            let planes = own(&slice, 1);
            // SAFETY: the carry's row of this sequence, and as much memory.
            unsafe { copy_row::<F>(&slice, carried, sequence, &planes, 0) };
            delays.push(planes);
        }
        let mut summaries = Vec::new();
        for group in &plan.groups {
            summaries.push(group.apply.signature.inputs.iter().map(|slice| own(slice, stretches)).collect::<Vec<_>>());
        }
        for ((slice, starts), carried) in slices.iter().zip(&starts).zip(&self.states) {
            // SAFETY: the carry's row of this sequence, and the first of the starts.
            unsafe { copy_row::<F>(slice, carried, sequence, starts, 0) };
        }
        let mut scans = Vec::new();
        for (group, summaries) in plan.groups.iter().zip(&summaries) {
            let apply = group.apply.signature;
            let own = &group.states[group.earlier..];
            let after = own
                .iter()
                .zip(&apply.outputs)
                .map(|(&s, slice)| starts[s].map(|plane| plane.wrapping_add(bytes::<F>(slice))));
            let scan = Bench::new(&group.apply, stretches, summaries, Some(after.collect()));
            for ((slice, state), &s) in apply.states.iter().zip(&scan.states).zip(own) {
                // SAFETY: both hold one slice.
                unsafe { copy_row::<F>(slice, &self.states[s], sequence, state, 0) };
            }
            scans.push(scan);
        }
        let turns = scans.iter().map(|_| Turn::default()).collect();
        let workers = threads.min(segments);
        let (delays, starts, summaries) = (&delays[..], &starts[..], &summaries[..]);
        let shared = Shared { sequence, first, segments, workers, delays, starts, summaries, scans, turns };
        let next = AtomicUsize::new(0);
        each(workers, threads, |_| {
            let (shared, worker) = (&shared, self.worker());
            let taken = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
            for segment in taken.take_while(|&segment| segment < segments) {
                // SAFETY: `Lanes::check` has shown that kernels and tensors fit; a segment is taken once, summarised before it
                // is scanned, and scanned before it is run.
                unsafe {
                    let reach = &mut self.reach(shared, segment);
                    self.pack(shared, &worker, segment, reach);
                    for g in 0..plan.groups.len() {
                        self.summarise(shared, &worker, segment, g, reach);
                        self.scan(shared, segment, g);
                    }
                    self.run(shared, &worker, segment, reach);
                }
            }
            fence();
        });
        for ((slice, starts), carried) in slices.iter().zip(starts).zip(&self.states) {
            // SAFETY: what stands behind the last stretch becomes the carry's row of this sequence.
            unsafe { copy_row::<F>(slice, starts, stretches, carried, sequence) };
        }
    }

    fn worker(&self) -> Worker<'_> {
        let plan = self.plan;
        let whole = plan.whole.signature;
        let mut room = Room::default();
        let mut own = |slice: &Tensors, rows: usize| room.rows::<F>(slice, rows);
        let packed: Vec<Planes> = whole.inputs.iter().map(|slice| own(slice, plan.steps)).collect();
        let reach = plan.delays.as_ref().map_or(0, |(_, steps)| *steps);
        let window: Vec<Planes> = whole.inputs.iter().map(|slice| own(slice, reach)).collect();
        let before = whole.delays.iter().map(|line| own(&line.slice, line.depth)).collect();
        let delays = plan.delays.as_ref().map(|(program, _)| Bench::new(program, reach, &window, None));
        let summaries = plan.groups.iter().map(|g| Bench::new(&g.summary, plan.steps, &packed, None)).collect();
        let whole = Bench::new(&plan.whole, plan.steps, &packed, None);
        Worker { packed, window, before, delays, summaries, whole, _room: room }
    }

    /// Transposes a segment's inputs, and finds what its delays hold before each stretch.
    ///
    /// # Safety
    /// [`Lanes::check`] has shown that kernels and tensors fit; the segment is inside of the sequence, and nobody else uses
    /// the worker.
    unsafe fn pack(&self, shared: &Shared<'_>, worker: &Worker<'_>, segment: usize, reach: &mut Reach) {
        let (lanes, steps) = (self.plan.lanes, self.plan.steps);
        reach.pace(self.shares.pack, self.shares.inputs);
        let row = shared.first + segment * lanes * steps;
        for ((slice, from), to) in self.plan.whole.signature.inputs.iter().zip(&self.inputs).zip(&worker.packed) {
            let (size, width) = (slice.kind.bytes(F::BITS), slice.size() / lanes);
            for plane in planes(slice.kind) {
                let from = from[plane].wrapping_add(row * width * size);
                // SAFETY: `lanes` stretches of `steps` rows follow in the input; the packed one has as many elements.
                unsafe {
                    transpose_and(size, from, steps * width, to[plane], lanes, lanes, steps * width, Far::None, reach);
                }
            }
        }
        let (Some(bench), Some((_, reach))) = (&worker.delays, &self.plan.delays) else { return };
        for ((slice, from), to) in self.plan.whole.signature.inputs.iter().zip(&self.inputs).zip(&worker.window) {
            let (size, width) = (slice.kind.bytes(F::BITS), slice.size() / lanes);
            // Before the first stretch stands what was carried in.
            let skip = usize::from(segment == 0);
            for plane in planes(slice.kind) {
                let from = from[plane].wrapping_add((row + skip * steps - reach) * width * size);
                let to = to[plane].wrapping_add(skip * size);
                // SAFETY: the rows before a stretch are those of another, which are at least as many.
                unsafe { transpose(size, from, steps * width, to, lanes, lanes - skip, reach * width) };
            }
        }
        // SAFETY: the window has `reach` rows.
        unsafe { bench.run(0..*reach, NUMBER, usize::MAX, |_| {}) };
        let now = NUMBER + *reach as u64;
        for (d, line) in self.plan.whole.signature.delays.iter().enumerate() {
            let (size, slice) = (line.slice.kind.bytes(F::BITS), line.slice.size());
            for plane in planes(line.slice.kind) {
                let to = worker.before[d][plane];
                for j in 0..line.depth {
                    let row = ring_row(now, j, line.depth);
                    let from = bench.rings[d][plane].wrapping_add(row * slice * size);
                    // SAFETY: both rows have a slice.
                    unsafe { std::ptr::copy_nonoverlapping(from, to.add(j * slice * size), slice * size) };
                }
                if segment == 0 {
                    let elements = line.depth * slice / lanes;
                    let from = shared.delays[d][plane];
                    // SAFETY: what was carried in becomes the first lane.
                    unsafe { transpose(size, from, elements, to, lanes, 1, elements) };
                }
            }
        }
    }

    /// What the thread that works on this segment will read of its next one.
    fn reach(&self, shared: &Shared<'_>, segment: usize) -> Reach {
        let (lanes, steps) = (self.plan.lanes, self.plan.steps);
        let next = segment + shared.workers;
        if next >= shared.segments {
            return Reach::nothing();
        }
        let mut ranges = Vec::new();
        for (slice, from) in self.plan.whole.signature.inputs.iter().zip(&self.inputs) {
            let bytes = bytes::<F>(slice) / lanes;
            for plane in planes(slice.kind) {
                let row = shared.first + next * lanes * steps;
                ranges.push((from[plane].wrapping_add(row * bytes).cast_const(), lanes * steps * bytes));
            }
        }
        Reach::new(ranges)
    }

    /// Runs a kernel, and meanwhile reaches for its share of the next inputs.
    ///
    /// # Safety
    /// As for [`Run::pack`].
    unsafe fn reaching(&self, bench: &Bench<'_>, reach: &mut Reach) {
        let steps = self.plan.steps;
        reach.pace(self.shares.kernel, steps.div_ceil(PIECE));
        // SAFETY: as for `Bench::run`.
        unsafe { bench.run(0..steps, NUMBER, PIECE, |_| reach.worked(1)) };
    }

    /// Fills a bench's delays with what they hold before each stretch.
    ///
    /// # Safety
    /// As for [`Run::pack`].
    unsafe fn fill(&self, worker: &Worker<'_>, bench: &Bench<'_>) {
        for (d, line) in self.plan.whole.signature.delays.iter().enumerate() {
            let bytes = bytes::<F>(&line.slice);
            for plane in planes(line.slice.kind) {
                for j in 0..line.depth {
                    let to = bench.rings[d][plane].wrapping_add(ring_row(NUMBER, j, line.depth) * bytes);
                    // SAFETY: both rows have a slice.
                    unsafe { std::ptr::copy_nonoverlapping(worker.before[d][plane].add(j * bytes), to, bytes) };
                }
            }
        }
    }

    /// Summarises the stretches of a segment.
    ///
    /// # Safety
    /// As for [`Run::pack`].
    unsafe fn summarise(&self, shared: &Shared<'_>, worker: &Worker<'_>, segment: usize, g: usize, reach: &mut Reach) {
        let (group, bench) = (&self.plan.groups[g], &worker.summaries[g]);
        let (lanes, stretch) = (self.plan.lanes, segment * self.plan.lanes);
        let slices = &group.summary.signature.states;
        // SAFETY: all rows are those of this segment's stretches; earlier groups have been scanned.
        unsafe {
            for (n, slice) in slices.iter().enumerate() {
                match group.states[..group.earlier].get(n) {
                    Some(&state) => to_lanes::<F>(slice, lanes, &shared.starts[state], stretch, &bench.states[n]),
                    None => {
                        let neutral = planes_of(std::slice::from_ref(&group.neutral[n - group.earlier]))[0];
                        let size = slice.kind.bytes(F::BITS);
                        for plane in planes(slice.kind) {
                            transpose(
                                size,
                                neutral[plane],
                                0,
                                bench.states[n][plane],
                                lanes,
                                lanes,
                                slice.size() / lanes,
                            );
                        }
                    }
                }
            }
            self.fill(worker, bench);
            self.reaching(bench, reach);
            for (n, slice) in slices.iter().enumerate().skip(group.earlier) {
                let to = &shared.summaries[g][n - group.earlier];
                from_lanes::<F>(slice, lanes, &bench.states[n], to, stretch);
            }
        }
    }

    /// Finds the starts of a group's states, and what stands behind the last of the segment's stretches.
    ///
    /// # Safety
    /// As for [`Run::pack`].
    unsafe fn scan(&self, shared: &Shared<'_>, segment: usize, g: usize) {
        let lanes = self.plan.lanes;
        shared.turns[g].wait(segment);
        // SAFETY: the segment's summaries are there, and it is its turn.
        unsafe { shared.scans[g].run(segment * lanes..(segment + 1) * lanes, NUMBER, usize::MAX, |_| {}) };
        shared.turns[g].pass();
    }

    /// Runs the stretches of a segment from their starts.
    ///
    /// # Safety
    /// As for [`Run::pack`].
    unsafe fn run(&self, shared: &Shared<'_>, worker: &Worker<'_>, segment: usize, reach: &mut Reach) {
        let (lanes, steps, whole) = (self.plan.lanes, self.plan.steps, self.plan.whole.signature);
        let (stretch, bench) = (segment * lanes, &worker.whole);
        // SAFETY: all rows are those of this segment's stretches; all groups have been scanned.
        unsafe {
            for ((slice, starts), state) in whole.states.iter().zip(shared.starts).zip(&bench.states) {
                to_lanes::<F>(slice, lanes, starts, stretch, state);
            }
            self.fill(worker, bench);
            self.reaching(bench, reach);
            reach.pace(self.shares.unpack, self.shares.outputs);
            for ((slice, from), to) in whole.outputs.iter().zip(&bench.outputs).zip(&self.outputs) {
                let (size, width) = (slice.kind.bytes(F::BITS), slice.size() / lanes);
                let row = shared.first + stretch * steps;
                for plane in planes(slice.kind) {
                    let to = to[plane].wrapping_add(row * width * size);
                    let next = shared.workers * lanes * steps * width * size;
                    let far = if self.past { Far::Past(next) } else { Far::To(next) };
                    transpose_and(size, from[plane], lanes, to, steps * width, steps * width, lanes, far, reach);
                }
            }
            if segment + 1 == shared.segments {
                self.carry_delays(shared, bench);
            }
        }
        let ran = (lanes * steps) as u64;
        (self.progress)(self.done.fetch_add(ran, Ordering::Relaxed) + ran);
    }

    /// Takes the delays of the last lane into the carry.
    unsafe fn carry_delays(&self, shared: &Shared<'_>, bench: &Bench<'_>) {
        let lanes = self.plan.lanes;
        let now = NUMBER + self.plan.steps as u64;
        for (d, line) in self.plan.whole.signature.delays.iter().enumerate() {
            let (size, elements) = (line.slice.kind.bytes(F::BITS), line.slice.size() / lanes);
            for plane in planes(line.slice.kind) {
                for j in 0..line.depth {
                    let row = ring_row(now, j, line.depth);
                    let from = bench.rings[d][plane].wrapping_add((row * elements * lanes + lanes - 1) * size);
                    let at = (shared.sequence * line.depth + j) * elements;
                    let to = self.delays[d][plane].wrapping_add(at * size);
                    // SAFETY: one lane of a ring's row becomes a row of the carry.
                    unsafe { transpose(size, from, lanes, to, elements, elements, 1) };
                }
            }
        }
    }
}

/// Where the value of `j + 1` steps before step `now` stands in a ring.
fn ring_row(now: u64, j: usize, depth: usize) -> usize {
    let rows = depth as u64 + 1;
    ((now % rows + rows - (j as u64 + 1)) % rows) as usize
}
