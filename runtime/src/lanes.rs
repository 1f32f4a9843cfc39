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
//! The start of a stretch is what applying all summaries before it gives. One thread works segment after segment; several
//! threads first summarise all of them, group by group, then run all of them. Both do the same operations on the same
//! numbers.
//!
//! One module though it is long: what shows that kernels and tensors belong together stands beside the accesses that rely
//! on it.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::driver::{Planes, each, planes_of, planes_of_mut};
use crate::kernel::{Buffer, Entry, Kind, Signature, Slot, Tensors};
use crate::memory::Memory;
use crate::pass::{Running, derived};
use crate::tensor::{Bound, Carry, Elements, Float, Tensor};
use crate::transpose::{Ahead, transpose};

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
    let run = Run {
        plan,
        inputs: planes_of(inputs),
        outputs: planes_of_mut(outputs),
        states: planes_of_mut(&mut carry.states),
        delays: planes_of_mut(&mut carry.delays),
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

/// The bytes of a slice's plane.
fn bytes<F: Float>(slice: &Tensors) -> usize {
    slice.size() * slice.kind.bytes(F::BITS)
}

fn planes(kind: Kind) -> Range<usize> {
    if kind == Kind::Complex { 0..2 } else { 0..1 }
}

impl<F: Float> Lanes<'_, F> {
    /// The code below reads and writes what the signatures say; here they are shown to belong together.
    fn check(
        &self,
        first: &[usize],
        segments: &[usize],
        inputs: &[Tensor<F>],
        outputs: &[Tensor<F>],
        carry: &Carry<F>,
    ) {
        let lanes = self.lanes;
        assert!(lanes > 0 && self.steps > 0 && first.len() == segments.len() && carry.steps.len() == first.len());
        let widened = |slice: &Tensors, tensor: &Tensor<F>, before: usize| {
            let shape: Vec<usize> = tensor.shape[before..].iter().copied().chain([lanes]).collect();
            assert_eq!((&slice.shape, slice.kind), (&shape, kind(tensor)), "`{}` has lanes", slice.name);
            assert!(sound(slice, tensor), "`{}` has as many elements as its shape says, in its range", slice.name);
        };
        let all = |slices: &[Tensors], tensors: &[Tensor<F>], before: usize| {
            assert_eq!(slices.len(), tensors.len(), "as many tensors as the kernel has");
            slices.iter().zip(tensors).for_each(|(slice, tensor)| widened(slice, tensor, before));
        };
        let whole = self.whole.signature;
        all(&whole.inputs, inputs, 1);
        all(&whole.outputs, outputs, 1);
        all(&whole.states, &carry.states, 1);
        for tensor in inputs.iter().chain(outputs) {
            let fits = |(first, segments): (&usize, &usize)| first + segments * lanes * self.steps <= tensor.shape[0];
            assert!(first.iter().zip(segments).all(fits), "the rows are inside of the tensors");
        }
        for tensor in carry.states.iter().chain(&carry.delays) {
            assert_eq!(tensor.shape[0], first.len(), "the carry has a row for each sequence");
        }
        assert_eq!(whole.delays.len(), carry.delays.len(), "as many delays as the kernel has");
        for (line, tensor) in whole.delays.iter().zip(&carry.delays) {
            widened(&line.slice, tensor, 2);
            assert_eq!(line.depth, tensor.shape[1], "the depth of `{}`", line.slice.name);
        }
        for group in &self.groups {
            let (summary, apply) = (group.summary.signature, group.apply.signature);
            let own = group.states.len() - group.earlier;
            assert!(group.states.iter().all(|&s| s < carry.states.len()), "the group's states are the layer's");
            for (slice, &state) in summary.states.iter().zip(&group.states[..group.earlier]) {
                assert_eq!(slice, &Tensors { name: slice.name.clone(), ..whole.states[state].clone() });
            }
            let (sums, offsets) = (&summary.states[group.earlier..], own);
            assert_eq!(sums.len(), group.neutral.len(), "a neutral value for each part of the summary");
            sums.iter().zip(group.neutral).for_each(|(slice, tensor)| widened(slice, tensor, 0));
            assert_eq!(sums.len(), apply.inputs.len(), "the parts of the summary are what is applied");
            for (slice, input) in sums.iter().zip(&apply.inputs) {
                let (shape, last) = slice.shape.split_at(slice.shape.len() - 1);
                assert!(shape == input.shape && last == [lanes] && slice.kind == input.kind, "`{}`", slice.name);
            }
            assert!(apply.states.len() == offsets && apply.outputs.len() == offsets, "the scan gives the own states");
            for (n, &state) in group.states[group.earlier..].iter().enumerate() {
                let shape = &carry.states[state].shape[1..];
                let (state, output) = (&apply.states[n], &apply.outputs[n]);
                assert!(state.shape == shape && output.shape == shape && state.kind == output.kind);
                assert_eq!(state.kind, kind(&carry.states[group.states[group.earlier + n]]));
            }
            assert!(summary.inputs == whole.inputs && summary.delays == whole.delays, "one packed input serves all");
        }
        if let Some((delays, steps)) = &self.delays {
            assert!(delays.signature.inputs == whole.inputs && delays.signature.delays == whole.delays);
            assert!(*steps <= self.steps, "delays reach into the stretch before, no further");
        } else {
            assert!(whole.delays.is_empty(), "delays are filled");
        }
        let programs = self.groups.iter().flat_map(|g| [&g.summary, &g.apply]);
        for program in programs.chain(self.delays.iter().map(|d| &d.0)).chain([&self.whole]) {
            let signature = program.signature;
            assert!(signature.bits == F::BITS && !signature.step && signature.functions() == program.entries.len());
            assert!(signature.passes.len() == 1 && !signature.passes[0].reverse, "one pass, forward");
        }
    }
}

/// Whether the elements are as many as the shape says, and integers in the range that kernels rely on.
fn sound<F>(slice: &Tensors, tensor: &Tensor<F>) -> bool {
    let count = tensor.shape.iter().product::<usize>();
    match &tensor.elements {
        Elements::Real(v) => v.len() == count,
        Elements::Complex { re, im } => re.len() == count && im.len() == count,
        Elements::Int(v) => {
            let inside = |x: &i32| slice.below.is_none_or(|below| (0..below).contains(&i64::from(*x)));
            v.len() == count && v.iter().all(inside)
        }
        Elements::Bool(v) => v.len() == count && v.iter().all(|&x| x <= 1),
        Elements::Byte(v) => {
            v.len() == count && v.iter().all(|&x| slice.below.is_none_or(|below| i64::from(x) < below))
        }
    }
}

fn kind<F>(tensor: &Tensor<F>) -> Kind {
    match tensor.elements {
        Elements::Real(_) => Kind::Real,
        Elements::Complex { .. } => Kind::Complex,
        Elements::Int(_) => Kind::Int,
        Elements::Bool(_) => Kind::Bool,
        Elements::Byte(_) => Kind::Byte,
    }
}

/// Two planes of memory.
struct Pair([Memory; 2]);

impl Pair {
    fn new<F: Float>(slice: &Tensors, rows: usize) -> Self {
        let bytes = bytes::<F>(slice) * rows;
        let imaginary = if slice.kind == Kind::Complex { bytes } else { 0 };
        Self([Memory::new(bytes), Memory::new(imaginary)])
    }

    fn planes(&mut self) -> Planes {
        self.0.each_mut().map(Memory::base)
    }
}

/// A program with memory of its own; inputs and outputs may be another's.
struct Bench<'a> {
    running: Running<'a>,
    states: Vec<Planes>,
    rings: Vec<Planes>,
    outputs: Vec<Planes>,
    _memory: Vec<Pair>,
    _reports: Memory,
}

impl<'a> Bench<'a> {
    fn new<F: Float>(program: &Program<'a, F>, rows: usize, inputs: &[Planes], outputs: Option<Vec<Planes>>) -> Self {
        let signature = program.signature;
        let mut memory = Vec::new();
        let mut own = |slice: &Tensors, rows: usize| {
            let mut pair = Pair::new::<F>(slice, rows);
            let planes = pair.planes();
            memory.push(pair);
            planes
        };
        let states: Vec<Planes> = signature.states.iter().map(|slice| own(slice, 1)).collect();
        let rings: Vec<Planes> = signature.delays.iter().map(|line| own(&line.slice, line.depth + 1)).collect();
        let outputs = outputs.unwrap_or_else(|| signature.outputs.iter().map(|slice| own(slice, rows)).collect());
        let kept: Vec<Planes> = signature.kept.iter().map(|slice| own(slice, rows)).collect();
        let (params, initial) = (planes_of(&program.bound.params), planes_of(&program.bound.initial));
        let pass = &signature.passes[0];
        // Whatever is reported here happened in a step that is not to be known.
        let mut reports = Memory::new(8 * signature.reports);
        let address = |slot: &Slot| {
            let plane = usize::from(slot.imaginary);
            match slot.buffer {
                Buffer::Param(i) => params[i][plane],
                Buffer::Initial(i) => initial[i][plane],
                Buffer::Input(i) => inputs[i][plane],
                Buffer::Output(i) => outputs[i][plane],
                Buffer::State(i) => states[i][plane],
                Buffer::Delay(i) => rings[i][plane],
                Buffer::Kept(i) => kept[i][plane],
                Buffer::Derived => program.derived.start(),
                Buffer::Report => reports.base(),
                Buffer::Scratch | Buffer::Local => unreachable!("a pass has its own"),
            }
        };
        let running = Running::new(pass, program.entries, 1, address);
        Self { running, states, rings, outputs, _memory: memory, _reports: reports }
    }

    /// # Safety
    /// The rows are inside of the inputs and outputs.
    unsafe fn run(&self, rows: Range<usize>, number: u64) {
        let steps = (rows.start, rows.end);
        // SAFETY: the addresses are those of the slots, with room for these rows.
        unsafe {
            self.running.begin(steps, number);
            self.running.steps(steps, number);
            self.running.end(steps, number);
        }
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
    /// The delays that were carried in.
    delays: &'a [Planes],
    /// By state: a row for each stretch, and one behind the last.
    starts: &'a [Planes],
    /// By group: the summaries, a row for each stretch.
    summaries: &'a [Vec<Planes>],
}

// SAFETY: every segment writes its own rows, and reads those of others only after all of them are written.
unsafe impl Sync for Shared<'_> {}

/// The memory of one thread.
struct Worker<'a> {
    packed: Vec<Planes>,
    window: Vec<Planes>,
    /// The delays at the starts of a segment's stretches: `[depth, .., lanes]`.
    before: Vec<Planes>,
    delays: Option<Bench<'a>>,
    summaries: Vec<Bench<'a>>,
    whole: Bench<'a>,
    _memory: Vec<Pair>,
}

impl<F: Float> Run<'_, F> {
    fn sequence(&self, sequence: usize, first: usize, segments: usize, threads: usize) {
        let plan = self.plan;
        let stretches = segments * plan.lanes;
        let mut memory = Vec::new();
        let mut own = |slice: &Tensors, rows: usize| {
            let mut pair = Pair::new::<F>(slice, rows);
            let planes = pair.planes();
            memory.push(pair);
            planes
        };
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
        let shared = Shared { sequence, first, segments, delays: &delays, starts: &starts, summaries: &summaries };
        // SAFETY: `Lanes::check` has shown that kernels and tensors fit; segments are summarised before they are scanned, and
        // scanned before they are run, each once.
        unsafe {
            if threads == 1 {
                let worker = self.worker();
                for segment in 0..segments {
                    self.pack(&shared, &worker, segment);
                    for (g, scan) in scans.iter().enumerate() {
                        self.summarise(&shared, &worker, segment, g);
                        scan.run(segment * plan.lanes..(segment + 1) * plan.lanes, NUMBER);
                    }
                    self.run(&shared, &worker, segment);
                }
            } else {
                let chunk = segments.div_ceil(4 * threads);
                let chunks = segments.div_ceil(chunk);
                let range = |c: usize| c * chunk..((c + 1) * chunk).min(segments);
                for (g, scan) in scans.iter().enumerate() {
                    each(chunks, threads, |c| {
                        let worker = self.worker();
                        for segment in range(c) {
                            self.pack(&shared, &worker, segment);
                            self.summarise(&shared, &worker, segment, g);
                        }
                    });
                    scan.run(0..stretches, NUMBER);
                }
                each(chunks, threads, |c| {
                    let worker = self.worker();
                    for segment in range(c) {
                        self.pack(&shared, &worker, segment);
                        self.run(&shared, &worker, segment);
                    }
                });
            }
            for ((slice, starts), carried) in slices.iter().zip(&starts).zip(&self.states) {
                copy_row::<F>(slice, starts, stretches, carried, sequence);
            }
        }
    }

    fn worker(&self) -> Worker<'_> {
        let plan = self.plan;
        let whole = plan.whole.signature;
        let mut memory = Vec::new();
        let mut own = |slice: &Tensors, rows: usize| {
            let mut pair = Pair::new::<F>(slice, rows);
            let planes = pair.planes();
            memory.push(pair);
            planes
        };
        let packed: Vec<Planes> = whole.inputs.iter().map(|slice| own(slice, plan.steps)).collect();
        let reach = plan.delays.as_ref().map_or(0, |(_, steps)| *steps);
        let window: Vec<Planes> = whole.inputs.iter().map(|slice| own(slice, reach)).collect();
        let before = whole.delays.iter().map(|line| own(&line.slice, line.depth)).collect();
        let delays = plan.delays.as_ref().map(|(program, _)| Bench::new(program, reach, &window, None));
        let summaries = plan.groups.iter().map(|g| Bench::new(&g.summary, plan.steps, &packed, None)).collect();
        let whole = Bench::new(&plan.whole, plan.steps, &packed, None);
        Worker { packed, window, before, delays, summaries, whole, _memory: memory }
    }

    /// Transposes a segment's inputs, and finds what its delays hold before each stretch.
    unsafe fn pack(&self, shared: &Shared<'_>, worker: &Worker<'_>, segment: usize) {
        let (lanes, steps) = (self.plan.lanes, self.plan.steps);
        let row = shared.first + segment * lanes * steps;
        for ((slice, from), to) in self.plan.whole.signature.inputs.iter().zip(&self.inputs).zip(&worker.packed) {
            let (size, width) = (slice.kind.bytes(F::BITS), slice.size() / lanes);
            for plane in planes(slice.kind) {
                let from = from[plane].wrapping_add(row * width * size);
                // SAFETY: `lanes` stretches of `steps` rows follow in the input; the packed one has as many elements.
                unsafe {
                    let ahead = Ahead::Read(lanes * steps * width * size);
                    transpose(size, from, steps * width, to[plane], lanes, lanes, steps * width, ahead);
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
                unsafe { transpose(size, from, steps * width, to, lanes, lanes - skip, reach * width, Ahead::None) };
            }
        }
        // SAFETY: the window has `reach` rows.
        unsafe { bench.run(0..*reach, NUMBER) };
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
                    unsafe { transpose(size, from, elements, to, lanes, 1, elements, Ahead::None) };
                }
            }
        }
    }

    /// Fills a bench's delays with what they hold before each stretch.
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
    unsafe fn summarise(&self, shared: &Shared<'_>, worker: &Worker<'_>, segment: usize, g: usize) {
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
                                Ahead::None,
                            );
                        }
                    }
                }
            }
            self.fill(worker, bench);
            bench.run(0..self.plan.steps, NUMBER);
            for (n, slice) in slices.iter().enumerate().skip(group.earlier) {
                let to = &shared.summaries[g][n - group.earlier];
                from_lanes::<F>(slice, lanes, &bench.states[n], to, stretch);
            }
        }
    }

    /// Runs the stretches of a segment from their starts.
    unsafe fn run(&self, shared: &Shared<'_>, worker: &Worker<'_>, segment: usize) {
        let (lanes, steps, whole) = (self.plan.lanes, self.plan.steps, self.plan.whole.signature);
        let (stretch, bench) = (segment * lanes, &worker.whole);
        // SAFETY: all rows are those of this segment's stretches; all groups have been scanned.
        unsafe {
            for ((slice, starts), state) in whole.states.iter().zip(shared.starts).zip(&bench.states) {
                to_lanes::<F>(slice, lanes, starts, stretch, state);
            }
            self.fill(worker, bench);
            bench.run(0..steps, NUMBER);
            for ((slice, from), to) in whole.outputs.iter().zip(&bench.outputs).zip(&self.outputs) {
                let (size, width) = (slice.kind.bytes(F::BITS), slice.size() / lanes);
                let row = shared.first + stretch * steps;
                for plane in planes(slice.kind) {
                    let to = to[plane].wrapping_add(row * width * size);
                    let ahead = Ahead::Write(lanes * steps * width * size);
                    transpose(size, from[plane], lanes, to, steps * width, steps * width, lanes, ahead);
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
                    unsafe { transpose(size, from, lanes, to, elements, elements, 1, Ahead::None) };
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

/// # Safety
/// Both buffers have these rows of the slice.
unsafe fn copy_row<F: Float>(slice: &Tensors, from: &Planes, row: usize, to: &Planes, at: usize) {
    let bytes = bytes::<F>(slice);
    for plane in planes(slice.kind) {
        // SAFETY: as for this function.
        unsafe {
            std::ptr::copy_nonoverlapping(from[plane].add(row * bytes), to[plane].add(at * bytes), bytes);
        }
    }
}

/// Rows, one a stretch, to lanes; `slice` has the lanes.
///
/// # Safety
/// The buffers have as many elements.
unsafe fn to_lanes<F: Float>(slice: &Tensors, lanes: usize, from: &Planes, row: usize, to: &Planes) {
    let (size, elements) = (slice.kind.bytes(F::BITS), slice.size() / lanes);
    for plane in planes(slice.kind) {
        // SAFETY: as for this function.
        unsafe {
            transpose(
                size,
                from[plane].add(row * elements * size),
                elements,
                to[plane],
                lanes,
                lanes,
                elements,
                Ahead::None,
            );
        }
    }
}

/// Lanes to rows, one a stretch; `slice` has the lanes.
///
/// # Safety
/// The buffers have as many elements.
unsafe fn from_lanes<F: Float>(slice: &Tensors, lanes: usize, from: &Planes, to: &Planes, row: usize) {
    let (size, elements) = (slice.kind.bytes(F::BITS), slice.size() / lanes);
    for plane in planes(slice.kind) {
        // SAFETY: as for this function.
        unsafe {
            transpose(
                size,
                from[plane],
                lanes,
                to[plane].add(row * elements * size),
                elements,
                elements,
                lanes,
                Ahead::None,
            );
        }
    }
}
