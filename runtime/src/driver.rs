//! Runs a kernel over sequences and threads.
//!
//! In: a [`Signature`], one entry point per pass, the tensors. Out: the outputs, and the carry for the next piece.
//! Each sequence is one task and writes only its own rows. Where there are fewer sequences than threads, phases are cut
//! into ranges, which write different elements. So the result does not depend on the number of threads. Long
//! sequences are run in pieces, so that progress can be reported.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use crate::check::{RunError, check, check_outputs, check_rows};
use crate::kernel::{Buffer, Cut, Entry, Event, Kind, NEVER, PassSignature, Signature, Slot, Tensors};
use crate::memory::Memory;
use crate::pass::{Running, derived};
use crate::tensor::{Bound, Carry, Elements, Float, Sequences, Tensor};

/// How many steps run between two reports of progress.
pub const PIECE: usize = 4096;

/// From how many operations on it pays to cut a phase: about twenty microseconds.
pub const SPLIT: u64 = 50_000;

/// From how many bytes of inputs and outputs on the caches do not keep them: a few times what a core has for itself.
pub(crate) const MANY: usize = 8 << 20;

/// The bytes of inputs and outputs of so many steps.
fn moved(signature: &Signature, steps: usize, bits: u32) -> usize {
    let planes = |slice: &Tensors| if slice.kind == Kind::Complex { 2 } else { 1 };
    let bytes = |slice: &Tensors| slice.size() * slice.kind.bytes(bits) * planes(slice);
    signature.inputs.iter().chain(&signature.outputs).map(bytes).sum::<usize>() * steps
}

/// Runs the passes of a layer over all sequences; the carry goes in and comes out.
///
/// `threads` is the number of threads, 0 for all of the machine. `progress` is told, now and then and from any
/// thread, how many steps are done.
///
/// # Errors
/// A tensor that is not the one that the signature describes.
///
/// # Safety
/// There is one entry for each phase; it keeps to the contract of [`crate::kernel`] for this signature: it reads and
/// writes the buffers of its slots only, inside of their extents, wherever integers lie in the ranges that the
/// signature gives.
#[allow(clippy::too_many_arguments, reason = "what a run takes")]
pub unsafe fn run<F: Float>(
    signature: &Signature,
    entries: &[Entry],
    bound: &Bound<F>,
    sequences: &Sequences,
    inputs: &[Tensor<F>],
    carry: &mut Carry<F>,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<Tensor<F>>, RunError> {
    let mut outputs = blank_outputs(signature, sequences.total());
    // SAFETY: as for this function.
    unsafe { run_into(signature, entries, bound, sequences, inputs, &mut outputs, carry, threads, progress)? };
    Ok(outputs)
}

/// Outputs for that many rows, all of them 0.
pub fn blank_outputs<F: Float>(signature: &Signature, total: usize) -> Vec<Tensor<F>> {
    signature.outputs.iter().map(|slice| slice.zeros(&[total])).collect()
}

/// The same into outputs that are there; rows that belong to no sequence stay as they are. Returns for each of the
/// signature's reports where it happened first, if it did: the first step of the first sequence that has it.
///
/// # Errors
/// As for [`run`].
///
/// # Safety
/// As for [`run`].
#[allow(clippy::too_many_arguments, reason = "what a run takes")]
pub unsafe fn run_into<F: Float>(
    signature: &Signature,
    entries: &[Entry],
    bound: &Bound<F>,
    sequences: &Sequences,
    inputs: &[Tensor<F>],
    outputs: &mut [Tensor<F>],
    carry: &mut Carry<F>,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<Option<Event>>, RunError> {
    check(signature, bound, sequences, inputs, carry)?;
    check_outputs(signature, sequences, outputs)?;
    let inputs = planes_of(inputs);
    // SAFETY: all tensors were compared with the signature.
    Ok(unsafe { run_checked(signature, entries, bound, sequences, 1, inputs, outputs, carry, threads, progress) })
}

/// Runs a kernel each of whose steps is a *row* of as many steps as its inputs and outputs have elements, of sequences that
/// hold whole rows: `[total]` elements of a tensor are taken as rows of them, from wherever a sequence begins. `views` says of
/// each of the kernel's inputs which tensor it is, and how many steps before. The carry is the kernel's own; it counts rows.
///
/// # Errors
/// A tensor that is not the one that the signature describes, or a sequence that does not hold whole rows.
///
/// # Safety
/// As for [`run`].
#[allow(clippy::too_many_arguments, reason = "what a run takes")]
pub unsafe fn run_rows<F: Float>(
    signature: &Signature,
    entries: &[Entry],
    bound: &Bound<F>,
    sequences: &Sequences,
    inputs: &[Tensor<F>],
    views: &[(usize, usize)],
    outputs: &mut [Tensor<F>],
    carry: &mut Carry<F>,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(), RunError> {
    let lanes = check_rows(signature, bound, sequences, inputs, views, outputs, carry)?;
    let inputs = views.iter().map(|&(input, back)| earlier(&inputs[input], back)).collect();
    // SAFETY: all tensors were compared with the signature.
    unsafe { run_checked(signature, entries, bound, sequences, lanes, inputs, outputs, carry, threads, progress) };
    Ok(())
}

/// # Safety
/// As for [`run`]; all tensors are those that the signature describes, with rows of that many steps, and `inputs` are the
/// addresses of its inputs.
#[allow(clippy::too_many_arguments, reason = "what a run takes")]
unsafe fn run_checked<F: Float>(
    signature: &Signature,
    entries: &[Entry],
    bound: &Bound<F>,
    sequences: &Sequences,
    lanes: usize,
    inputs: Vec<Planes>,
    outputs: &mut [Tensor<F>],
    carry: &mut Carry<F>,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Vec<Option<Event>> {
    let bases = Bases {
        params: planes_of(&bound.params),
        initial: planes_of(&bound.initial),
        inputs,
        outputs: planes_of_mut(outputs),
        states: planes_of_mut(&mut carry.states),
        delays: planes_of_mut(&mut carry.delays),
    };
    let count = sequences.count();
    // SAFETY: `check` has compared the parameters with the signature.
    let mut derived = if count > 0 { unsafe { derived(signature, entries, &bases.params) } } else { Memory::new(0) };
    let workers = match threads {
        0 => rayon::current_num_threads(),
        threads => threads,
    };
    let cuts = signature.passes.iter().flat_map(|pass| &pass.phases).any(|phase| phase.cut != Cut::Blocks(1))
        && !signature.step;
    let ranges = if cuts && count < workers { workers.div_ceil(count.max(1)) } else { 1 };
    let task = Task {
        signature,
        entries,
        sequences,
        lanes,
        bases,
        derived: derived.base(),
        steps: &carry.steps,
        ranges,
        many: moved(signature, sequences.total() / lanes, F::BITS) >= MANY,
        done: AtomicU64::new(0),
        events: Mutex::new(vec![None; signature.reports]),
        progress,
    };
    // SAFETY: `check` has compared all tensors with the signature, the bases are theirs, and each sequence is run
    // once, so that no two calls write the same rows.
    let one = |sequence: usize| unsafe { task.sequence::<F>(sequence) };
    // The ranges of one sequence are done on the pool, too.
    match if ranges > 1 && count == 1 { pool(threads) } else { None } {
        Some(pool) => pool.install(|| one(0)),
        None => each(count, threads, one),
    }
    let events = task.events.into_inner().unwrap_or_else(PoisonError::into_inner);
    for sequence in 0..count {
        carry.steps[sequence] += (sequences.range(sequence).len() / lanes) as u64;
    }
    events
}

/// The planes of a tensor of scalars, so many steps before.
fn earlier<F>(tensor: &Tensor<F>, back: usize) -> Planes {
    let bytes = match &tensor.elements {
        Elements::Real(_) | Elements::Complex { .. } => size_of::<F>(),
        Elements::Int(_) => 4,
        Elements::Bool(_) | Elements::Byte(_) => 1,
    };
    planes_of(std::slice::from_ref(tensor))[0].map(|plane| plane.wrapping_sub(back * bytes))
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

/// The addresses of the planes of a tensor.
pub(crate) type Planes = [*mut u8; 2];

pub(crate) fn planes_of<F>(tensors: &[Tensor<F>]) -> Vec<Planes> {
    let null = std::ptr::null_mut();
    let planes = |tensor: &Tensor<F>| match &tensor.elements {
        Elements::Real(v) => [v.as_ptr() as *mut u8, null],
        Elements::Complex { re, im } => [re.as_ptr() as *mut u8, im.as_ptr() as *mut u8],
        Elements::Int(v) => [v.as_ptr() as *mut u8, null],
        Elements::Bool(v) | Elements::Byte(v) => [v.as_ptr() as *mut u8, null],
    };
    tensors.iter().map(planes).collect()
}

pub(crate) fn planes_of_mut<F>(tensors: &mut [Tensor<F>]) -> Vec<Planes> {
    let null = std::ptr::null_mut();
    let planes = |tensor: &mut Tensor<F>| match &mut tensor.elements {
        Elements::Real(v) => [v.as_mut_ptr().cast(), null],
        Elements::Complex { re, im } => [re.as_mut_ptr().cast(), im.as_mut_ptr().cast()],
        Elements::Int(v) => [v.as_mut_ptr().cast(), null],
        Elements::Bool(v) | Elements::Byte(v) => [v.as_mut_ptr(), null],
    };
    tensors.iter_mut().map(planes).collect()
}

/// The addresses of all tensors of a run.
struct Bases {
    params: Vec<Planes>,
    initial: Vec<Planes>,
    inputs: Vec<Planes>,
    outputs: Vec<Planes>,
    states: Vec<Planes>,
    delays: Vec<Planes>,
}

struct Task<'a> {
    signature: &'a Signature,
    entries: &'a [Entry],
    sequences: &'a Sequences,
    /// How many steps of a sequence are one of the kernel's.
    lanes: usize,
    bases: Bases,
    /// What the prologue has made.
    derived: *mut u8,
    steps: &'a [u64],
    /// Into how many ranges phases may be cut.
    ranges: usize,
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
    /// The tensors behind the bases fit the signature, and no other call runs this sequence.
    unsafe fn sequence<F: Float>(&self, sequence: usize) {
        let signature = self.signature;
        let steps = self.sequences.range(sequence);
        let rows = steps.len() / self.lanes;
        let mut kept: Vec<[Memory; 2]> = signature.kept.iter().map(|slice| planes_for::<F>(slice, rows)).collect();
        let mut rings = rings::<F>(signature);
        let delays = |rings: &mut [[Memory; 2]], now: u64, direction: Direction| {
            // SAFETY: the carry's rows of this sequence are touched by this call only.
            unsafe { copy_delays::<F>(signature, &self.bases.delays, sequence, rings, now, direction) }
        };
        delays(&mut rings, self.steps[sequence], Direction::In);
        let mut reports = vec![NEVER; signature.reports];
        for pass in &signature.passes {
            if rows == 0 {
                continue;
            }
            let address = |slot: &Slot| {
                let plane = usize::from(slot.imaginary);
                let row = |base: &Planes, slice: &Tensors, row: usize, lanes: usize| {
                    base[plane].wrapping_add(row * (slice.size() / lanes) * slice.kind.bytes(F::BITS))
                };
                match slot.buffer {
                    Buffer::Param(i) => self.bases.params[i][plane],
                    Buffer::Initial(i) => self.bases.initial[i][plane],
                    Buffer::Input(i) => row(&self.bases.inputs[i], &signature.inputs[i], steps.start, self.lanes),
                    Buffer::Output(i) => row(&self.bases.outputs[i], &signature.outputs[i], steps.start, self.lanes),
                    Buffer::State(i) => row(&self.bases.states[i], &signature.states[i], sequence, 1),
                    Buffer::Delay(i) => rings[i][plane].base(),
                    Buffer::Kept(i) => kept[i][plane].base(),
                    Buffer::Derived => self.derived,
                    Buffer::Report => reports.as_mut_ptr().cast(),
                    Buffer::Home | Buffer::Scratch | Buffer::Local => unreachable!("a pass has its own"),
                }
            };
            let mut running = Running::new(pass, self.entries, self.ranges, address);
            running.set_many(self.many);
            // SAFETY: as for this function; the addresses are those that the pass's slots ask for.
            unsafe { self.pass(pass, &running, rows, self.steps[sequence]) };
        }
        self.note(sequence, &reports);
        delays(&mut rings, self.steps[sequence] + rows as u64, Direction::Out);
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
        let piece = if self.signature.step { 1 } else { PIECE };
        let pieces = rows.div_ceil(piece);
        for i in 0..pieces {
            let i = if pass.reverse { pieces - 1 - i } else { i };
            let steps = (i * piece, ((i + 1) * piece).min(rows));
            // SAFETY: as above; the steps lie inside of the sequence.
            unsafe { running.steps(steps, number) };
            let ran = ((steps.1 - steps.0) * self.lanes) as u64;
            let done = self.done.fetch_add(ran, Ordering::Relaxed) + ran;
            (self.progress)(done / self.signature.passes.len() as u64);
        }
        // SAFETY: as above.
        unsafe { running.end((0, rows), number) };
    }
}

/// Memory for so many rows of a slice, one for each plane.
fn planes_for<F: Float>(slice: &Tensors, rows: usize) -> [Memory; 2] {
    let bytes = slice.size() * rows * slice.kind.bytes(F::BITS);
    let imaginary = if slice.kind == Kind::Complex { bytes } else { 0 };
    [Memory::new(bytes), Memory::new(imaginary)]
}

/// Memory for the delays of a sequence: `depth + 1` rows each.
pub(crate) fn rings<F: Float>(signature: &Signature) -> Vec<[Memory; 2]> {
    signature.delays.iter().map(|line| planes_for::<F>(&line.slice, line.depth + 1)).collect()
}

/// Copies delays between the carry, where row `j` is the value of `j + 1` steps ago, and the rings, where the value of
/// step `s` is in row `s % (depth + 1)`. `now` is the number of the next step.
///
/// # Safety
/// `outer` are the carry's delays; the rings have `depth + 1` rows each, and no other call touches the carry's rows of this
/// sequence.
pub(crate) unsafe fn copy_delays<F: Float>(
    signature: &Signature,
    outer: &[Planes],
    sequence: usize,
    rings: &mut [[Memory; 2]],
    now: u64,
    direction: Direction,
) {
    for ((line, ring), planes) in signature.delays.iter().zip(rings).zip(outer) {
        let bytes = line.slice.size() * line.slice.kind.bytes(F::BITS);
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
