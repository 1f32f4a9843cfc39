//! Runs a kernel over sequences and threads.
//!
//! In: a kernel's [`Code`], the tensors of a [`Run`]. Out: the outputs, and the carry for the next piece.
//! Each sequence is one task and writes only its own rows. Where there are fewer sequences than threads, phases are cut
//! into ranges, which write different elements. So the result does not depend on the number of threads. Long
//! sequences are run in pieces, so that progress can be reported.
//!
//! Runs may be short and many: what one needs for itself it leaves to the next, and work that is done sooner than another thread
//! wakes stays with the thread that calls.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use crate::addresses::{Bases, Of, Planes, each_step, earlier, planes_of, planes_of_mut};
use crate::check::{RunError, check, check_outputs, check_rows};
use crate::kernel::{Buffer, Cut, Entry, Event, Kind, NEVER, PassSignature, Signature, Slot, Tensors};
use crate::memory::Memory;
use crate::pass::{Derived, Room, Running};
use crate::tensor::{Float, Run, Sequences};

/// How many steps run between two reports of progress.
pub const PIECE: usize = 4096;

/// From how many operations on it pays to cut a phase, or to share a run: about twenty microseconds.
pub const SPLIT: u64 = 50_000;

/// From how many bytes of inputs and outputs on the caches do not keep them: a few times what a core has for itself.
pub(crate) const MANY: usize = 8 << 20;

/// The bytes of inputs and outputs of so many steps.
fn moved(signature: &Signature, steps: usize) -> usize {
    let planes = |slice: &Tensors| if slice.kind == Kind::Complex { 2 } else { 1 };
    let bytes = |slice: &Tensors| slice.size() * slice.kind.bytes(signature.bits) * planes(slice);
    signature.inputs.iter().chain(&signature.outputs).map(bytes).sum::<usize>() * steps
}

/// A kernel's functions with what they take and give, and memory that one run leaves to the next.
pub struct Code {
    signature: Signature,
    entries: Vec<Entry>,
    /// What runs need for themselves, while none has it.
    spare: Mutex<Vec<Place>>,
}

/// What a run, or one of its sequences, needs for itself.
struct Place {
    /// How many ranges phases may be cut into.
    ranges: usize,
    /// The tensors of the run.
    bases: Bases,
    derived: Derived,
    rings: Vec<[Memory; 2]>,
    reports: Vec<u64>,
    /// By pass.
    rooms: Vec<Room>,
}

// SAFETY: its addresses are written anew by whoever takes it.
unsafe impl Send for Place {}

impl Place {
    fn new(signature: &Signature, ranges: usize) -> Self {
        Self {
            ranges,
            bases: Bases::default(),
            derived: Derived::new(signature),
            rings: rings(signature),
            reports: vec![NEVER; signature.reports],
            rooms: signature.passes.iter().map(|pass| Room::new(pass, ranges)).collect(),
        }
    }
}

impl Code {
    /// # Safety
    /// There is one entry for each phase; as long as this value is used it can be called and keeps to the contract of
    /// [`crate::kernel`] for this signature: it reads and writes the buffers of its slots only, inside of their extents,
    /// wherever integers lie in the ranges that the signature gives.
    pub unsafe fn new(signature: Signature, entries: Vec<Entry>) -> Self {
        Self { signature, entries, spare: Mutex::default() }
    }

    /// What the functions take and give.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Place>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place where phases may be cut into that many ranges.
    fn take(&self, ranges: usize) -> Place {
        let fit = {
            let mut spare = self.spare();
            let fit = spare.iter().rposition(|place| place.ranges == ranges);
            fit.map(|fit| spare.swap_remove(fit))
        };
        fit.unwrap_or_else(|| Place::new(&self.signature, ranges))
    }

    /// Runs the passes of the layer over all sequences; the carry goes in and comes out. Rows of outputs that belong to no
    /// sequence stay as they are. Returns for each of the signature's reports where it happened first, if it did: the first
    /// step of the first sequence that has it.
    ///
    /// # Errors
    /// A tensor that is not the one that the signature describes: nothing was computed.
    pub fn run<F: Float>(&self, run: Run<'_, F>) -> Result<Vec<Option<Event>>, RunError> {
        check(&self.signature, run.bound, run.sequences, run.inputs, run.carry)?;
        check_outputs(&self.signature, run.sequences, run.outputs)?;
        let Signature { bits, steps, ref inputs, .. } = self.signature;
        let inputs = run.inputs.iter().zip(inputs.iter().step_by(steps));
        let inputs = inputs.flat_map(|(tensor, slice)| each_step(planes_of(tensor), slice, bits, steps));
        // SAFETY: all tensors were compared with the signature.
        Ok(unsafe { self.run_checked(run, 1, inputs) })
    }

    /// Runs a kernel each of whose steps is a *row* of as many steps as its inputs and outputs have elements, of sequences
    /// that hold whole rows: `[total]` elements of a tensor are taken as rows of them, from wherever a sequence begins.
    /// `views` says of each of the kernel's inputs which tensor it is, and how many steps before. The carry is the kernel's
    /// own; it counts rows.
    ///
    /// # Errors
    /// A tensor that is not the one that the signature describes, or a sequence that does not hold whole rows.
    pub fn run_rows<F: Float>(&self, run: Run<'_, F>, views: &[(usize, usize)]) -> Result<(), RunError> {
        let lanes = check_rows(&self.signature, &run, views)?;
        let inputs = run.inputs;
        let inputs = views.iter().map(|&(input, back)| earlier(&inputs[input], back));
        // SAFETY: all tensors were compared with the signature.
        unsafe { self.run_checked(run, lanes, inputs) };
        Ok(())
    }

    /// # Safety
    /// All tensors are those that the signature describes, with rows of that many steps, and `inputs` are the addresses of
    /// its inputs.
    unsafe fn run_checked<F: Float>(
        &self,
        run: Run<'_, F>,
        lanes: usize,
        inputs: impl Iterator<Item = Planes>,
    ) -> Vec<Option<Event>> {
        let Run { bound, sequences, outputs, carry, threads, progress, .. } = run;
        let signature = &self.signature;
        let count = sequences.count();
        let steps = lanes * signature.steps;
        let rows = sequences.steps() / steps;
        if rows == 0 {
            return vec![None; signature.reports];
        }
        let phases = || signature.passes.iter().flat_map(|pass| &pass.phases);
        let work = phases().map(|phase| phase.work).sum::<u64>().saturating_mul(rows as u64);
        let threads = if work < SPLIT { 1 } else { threads };
        let workers = match threads {
            0 => rayon::current_num_threads(),
            threads => threads,
        };
        let cuts = !signature.step && phases().any(|phase| phase.cut != Cut::Blocks(1));
        let ranges = if cuts && count < workers { workers.div_ceil(count) } else { 1 };
        let mut place = self.take(ranges);
        let mut bases = std::mem::take(&mut place.bases);
        bases.clear();
        bases.add(Of::Params, bound.params.iter().map(planes_of));
        bases.add(Of::Initial, bound.initial.iter().map(planes_of));
        bases.add(Of::Inputs, inputs);
        let outputs = outputs.iter_mut().map(planes_of_mut).zip(signature.outputs.iter().step_by(signature.steps));
        let outputs = outputs.flat_map(|(planes, slice)| each_step(planes, slice, signature.bits, signature.steps));
        bases.add(Of::Outputs, outputs);
        bases.add(Of::States, carry.states.iter_mut().map(planes_of_mut));
        bases.add(Of::Delays, carry.delays.iter_mut().map(planes_of_mut));
        // SAFETY: as for this function: the parameters are those that the signature asks for.
        unsafe { place.derived.make(signature, &self.entries, |i| *bases.at(Of::Params, i)) };
        let task = Task {
            code: self,
            sequences,
            lanes,
            bases: &bases,
            derived: place.derived.base(),
            steps: &carry.steps,
            many: moved(signature, sequences.total() / steps) >= MANY,
            done: AtomicU64::new(0),
            events: Mutex::new(vec![None; signature.reports]),
            progress,
        };
        // SAFETY: as for this function; each sequence is run once, so that no two calls write the same rows.
        let one = |sequence: usize, place: &mut Place| unsafe { task.sequence(sequence, place) };
        // The ranges of one sequence are done on the pool, too.
        match if ranges > 1 && count == 1 { pool(threads) } else { None } {
            Some(pool) => pool.install(|| one(0, &mut place)),
            None if count == 1 || threads == 1 => (0..count).for_each(|sequence| one(sequence, &mut place)),
            None => each(count, threads, |sequence| {
                let mut place = self.take(ranges);
                one(sequence, &mut place);
                self.spare().push(place);
            }),
        }
        let events = task.events.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (sequence, before) in carry.steps.iter_mut().enumerate() {
            *before += (sequences.range(sequence).len() / steps) as u64;
        }
        place.bases = bases;
        self.spare().push(place);
        events
    }
}

/// Does tasks `0..count`, each once, on that many threads; 0 for all of the machine.
pub(crate) fn each(count: usize, threads: usize, one: impl Fn(usize) + Sync + Send) {
    if threads == 1 || count <= 1 {
        (0..count).for_each(one);
        return;
    }
    let all = || (0..count).into_par_iter().for_each(one);
    match pool(threads) {
        Some(pool) => pool.install(all),
        None => all(),
    }
}

/// The pool that runs with that many threads use, made once; `None` stands for the global one, which has one thread
/// per core.
pub fn pool(threads: usize) -> Option<Arc<rayon::ThreadPool>> {
    static POOLS: Mutex<BTreeMap<usize, Arc<rayon::ThreadPool>>> = Mutex::new(BTreeMap::new());
    if threads == 0 {
        return None;
    }
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pool) = pools.get(&threads) {
        return Some(pool.clone());
    }
    let pool = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(threads).build().ok()?);
    pools.insert(threads, pool.clone());
    Some(pool)
}

struct Task<'a> {
    code: &'a Code,
    sequences: &'a Sequences,
    /// How many steps of a sequence one element more of each input and output is.
    lanes: usize,
    bases: &'a Bases,
    /// What the prologue has made.
    derived: *mut u8,
    steps: &'a [u64],
    /// Whether inputs and outputs are too many for the caches.
    many: bool,
    done: AtomicU64,
    /// What was reported so far; the least of all sequences.
    events: Mutex<Vec<Option<Event>>>,
    progress: &'a (dyn Fn(u64) + Sync),
}

// SAFETY: the addresses are those of tensors that outlive the run; tasks read the shared ones and write only the
// rows of their own sequence.
unsafe impl Sync for Task<'_> {}

impl Task<'_> {
    /// # Safety
    /// The tensors behind the bases fit the signature, the place was made for it, and no other call runs this sequence.
    unsafe fn sequence(&self, sequence: usize, place: &mut Place) {
        let signature = &self.code.signature;
        let steps = self.sequences.range(sequence);
        let rows = steps.len() / (self.lanes * signature.steps);
        if rows == 0 {
            return;
        }
        let Place { rings, reports, rooms, .. } = place;
        // To fill nothing takes long: `memset` is given an address where nothing is.
        if !reports.is_empty() {
            reports.fill(NEVER);
        }
        let mut kept: Vec<[Memory; 2]> =
            signature.kept.iter().map(|slice| planes_for(slice, rows, signature.bits)).collect();
        let delays = |rings: &mut [[Memory; 2]], now: u64, direction: Direction| {
            // SAFETY: the carry's rows of this sequence are touched by this call only.
            unsafe { copy_delays(signature, |i| *self.bases.at(Of::Delays, i), sequence, rings, now, direction) }
        };
        delays(rings, self.steps[sequence], Direction::In);
        for (pass, room) in signature.passes.iter().zip(rooms) {
            let address = |slot: &Slot| {
                let plane = usize::from(slot.imaginary);
                let row = |base: &Planes, slice: &Tensors, row: usize, lanes: usize| {
                    base[plane].wrapping_add(row * (slice.size() / lanes) * slice.kind.bytes(signature.bits))
                };
                let (bases, lanes) = (self.bases, self.lanes);
                match slot.buffer {
                    Buffer::Param(i) => bases.at(Of::Params, i)[plane],
                    Buffer::Initial(i) => bases.at(Of::Initial, i)[plane],
                    Buffer::Input(i) => row(bases.at(Of::Inputs, i), &signature.inputs[i], steps.start, lanes),
                    Buffer::Output(i) => row(bases.at(Of::Outputs, i), &signature.outputs[i], steps.start, lanes),
                    Buffer::State(i) => row(bases.at(Of::States, i), &signature.states[i], sequence, 1),
                    Buffer::Delay(i) => rings[i][plane].base(),
                    Buffer::Kept(i) => kept[i][plane].base(),
                    Buffer::Derived => self.derived,
                    Buffer::Report => reports.as_mut_ptr().cast(),
                    Buffer::Home | Buffer::Scratch | Buffer::Local => unreachable!("a pass has its own"),
                }
            };
            let mut running = Running::new(pass, &self.code.entries, std::mem::take(room), address);
            running.set_many(self.many);
            // SAFETY: as for this function; the addresses are those that the pass's slots ask for.
            unsafe { self.pass(pass, &running, rows, self.steps[sequence]) };
            *room = running.into_room();
        }
        self.note(sequence, reports);
        delays(rings, self.steps[sequence] + rows as u64, Direction::Out);
    }

    /// Writes down what a sequence reported.
    fn note(&self, sequence: usize, reports: &[u64]) {
        if reports.iter().all(|&step| step == NEVER) {
            return;
        }
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        for (event, &step) in events.iter_mut().zip(reports).filter(|(_, step)| **step != NEVER) {
            let here = Event { sequence, step };
            *event = Some(event.map_or(here, |there| there.min(here)));
        }
    }

    /// # Safety
    /// The addresses fit the pass's slots for a sequence of `rows` steps.
    unsafe fn pass(&self, pass: &PassSignature, running: &Running<'_>, rows: usize, number: u64) {
        // SAFETY: the caller vouches for the addresses.
        unsafe { running.begin((0, rows), number) };
        let signature = &self.code.signature;
        let piece = if signature.step { 1 } else { PIECE };
        let pieces = rows.div_ceil(piece);
        for i in 0..pieces {
            let i = if pass.reverse { pieces - 1 - i } else { i };
            let steps = (i * piece, ((i + 1) * piece).min(rows));
            // SAFETY: as above; the steps lie inside of the sequence.
            unsafe { running.steps(steps, number) };
            let ran = ((steps.1 - steps.0) * self.lanes * signature.steps) as u64;
            let done = self.done.fetch_add(ran, Ordering::Relaxed) + ran;
            (self.progress)(done / signature.passes.len() as u64);
        }
        // SAFETY: as above.
        unsafe { running.end((0, rows), number) };
    }
}

/// Memory for so many rows of a slice, one for each plane.
fn planes_for(slice: &Tensors, rows: usize, bits: u32) -> [Memory; 2] {
    let bytes = slice.size() * rows * slice.kind.bytes(bits);
    let imaginary = if slice.kind == Kind::Complex { bytes } else { 0 };
    [Memory::new(bytes), Memory::new(imaginary)]
}

/// Memory for the delays of a sequence: `depth + 1` rows each.
pub(crate) fn rings(signature: &Signature) -> Vec<[Memory; 2]> {
    signature.delays.iter().map(|line| planes_for(&line.slice, line.depth + 1, signature.bits)).collect()
}

/// Copies delays between the carry, where row `j` is the value of `j + 1` steps ago, and the rings, where the value of
/// step `s` is in row `s % (depth + 1)`. `now` is the number of the next step.
///
/// # Safety
/// `outer` gives the carry's delays; the rings have `depth + 1` rows each, and no other call touches the carry's rows of this
/// sequence.
pub(crate) unsafe fn copy_delays(
    signature: &Signature,
    outer: impl Fn(usize) -> Planes,
    sequence: usize,
    rings: &mut [[Memory; 2]],
    now: u64,
    direction: Direction,
) {
    for (delay, (line, ring)) in signature.delays.iter().zip(rings).enumerate() {
        let planes = outer(delay);
        let bytes = line.slice.size() * line.slice.kind.bytes(signature.bits);
        let count = if line.slice.kind == Kind::Complex { 2 } else { 1 };
        let rows = line.depth as u64 + 1;
        for (plane, memory) in ring.iter_mut().enumerate().take(count) {
            for j in 0..line.depth {
                // Row of step `now - (j + 1)`, modulo the number of rows.
                let row = ((now % rows) + rows - (j as u64 + 1)) % rows;
                let outer = planes[plane].wrapping_add((sequence * line.depth + j) * bytes);
                let inner = memory.base().wrapping_add(row as usize * bytes);
                let (from, to) = match direction {
                    Direction::In => (outer, inner),
                    Direction::Out => (inner, outer),
                };
                // SAFETY: both rows have `bytes` bytes and lie in different allocations.
                unsafe { std::ptr::copy_nonoverlapping(from, to, bytes) };
            }
        }
    }
}

/// Which way delays are copied.
#[derive(Clone, Copy)]
pub(crate) enum Direction {
    /// From the carry to the rings.
    In,
    /// From the rings to the carry.
    Out,
}
