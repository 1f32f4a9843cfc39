//! Runs a kernel over sequences and threads.
//!
//! In: a [`Signature`], one entry point per pass, the tensors. Out: the outputs, and the carry for the next piece.
//! Each sequence is one task and writes only its own rows. Where there are fewer sequences than threads, phases are cut
//! into ranges of blocks, which write different elements. So the result does not depend on the number of threads. Long
//! sequences are run in pieces, so that progress can be reported.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use crate::check::{RunError, check, check_outputs};
use crate::kernel::{Arguments, Buffer, Entry, Kind, PassSignature, PhaseSignature, Signature, Slot, Tensors};
use crate::tensor::{Bound, Carry, Elements, Float, Sequences, Tensor};

/// How many steps run between two reports of progress.
const PIECE: usize = 4096;

/// From how many operations on it pays to cut a phase: about twenty microseconds.
const SPLIT: u64 = 50_000;

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
    check(signature, bound, sequences, inputs, carry)?;
    let total = sequences.total();
    let mut outputs: Vec<Tensor<F>> = signature.outputs.iter().map(|slice| zeros(slice, &[total])).collect();
    // SAFETY: the caller vouches for the entries; all tensors are those of the signature.
    unsafe { run_checked(signature, entries, bound, sequences, inputs, carry, &mut outputs, threads, progress) };
    Ok(outputs)
}

/// The same into outputs that are there already, `[total, ..]` each; every element is overwritten.
///
/// # Errors
/// A tensor that is not the one that the signature describes.
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
    carry: &mut Carry<F>,
    outputs: &mut [Tensor<F>],
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(), RunError> {
    check(signature, bound, sequences, inputs, carry)?;
    check_outputs(signature, sequences, outputs)?;
    // SAFETY: as in `run`.
    unsafe { run_checked(signature, entries, bound, sequences, inputs, carry, outputs, threads, progress) };
    Ok(())
}

/// # Safety
/// As for [`run`], and all tensors are those that the signature describes.
#[allow(clippy::too_many_arguments, reason = "what a run takes")]
unsafe fn run_checked<F: Float>(
    signature: &Signature,
    entries: &[Entry],
    bound: &Bound<F>,
    sequences: &Sequences,
    inputs: &[Tensor<F>],
    carry: &mut Carry<F>,
    outputs: &mut [Tensor<F>],
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) {
    let bases = Bases {
        params: planes_of(&bound.params),
        initial: planes_of(&bound.initial),
        inputs: planes_of(inputs),
        outputs: planes_of_mut(outputs),
        states: planes_of_mut(&mut carry.states),
        delays: planes_of_mut(&mut carry.delays),
    };
    let mut derived = Memory::new(signature.prologue.as_ref().map_or(0, |prologue| prologue.bytes));
    let derived = derived.base();
    let count = sequences.count();
    let pool = if threads == 1 { None } else { pool(threads) };
    let workers = match &pool {
        _ if threads == 1 => 1,
        Some(pool) => pool.current_num_threads(),
        None => rayon::current_num_threads(),
    };
    let ranges = if count < workers { workers.div_ceil(count.max(1)) } else { 1 };
    let done = AtomicU64::new(0);
    let task = Task { signature, entries, sequences, bases, derived, steps: &carry.steps, ranges, done, progress };
    if count > 0 {
        // SAFETY: the tensors are those of the signature, and the bases are theirs.
        unsafe { task.prologue() };
    }
    // SAFETY: as above, and each sequence is run once, so that no two calls write the same rows.
    let one = |sequence: usize| unsafe { task.sequence::<F>(sequence) };
    let all = || (0..count).into_par_iter().for_each(one);
    match pool {
        _ if threads == 1 => (0..count).for_each(one),
        Some(pool) => pool.install(all),
        None => all(),
    }
    for sequence in 0..count {
        carry.steps[sequence] += sequences.range(sequence).len() as u64;
    }
}

/// A pool of that many threads, made once; `None` stands for the global one, which has one thread per core.
fn pool(threads: usize) -> Option<Arc<rayon::ThreadPool>> {
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

fn zeros<F: Float>(slice: &Tensors, leading: &[usize]) -> Tensor<F> {
    let shape: Vec<usize> = leading.iter().chain(&slice.shape).copied().collect();
    let size = shape.iter().product();
    let elements = match slice.kind {
        Kind::Real => Elements::Real(vec![F::default(); size]),
        Kind::Complex => Elements::Complex { re: vec![F::default(); size], im: vec![F::default(); size] },
        Kind::Int => Elements::Int(vec![0; size]),
        Kind::Bool => Elements::Bool(vec![0; size]),
    };
    Tensor { shape, elements }
}

/// The addresses of the planes of a tensor.
type Planes = [*mut u8; 2];

fn planes_of<F>(tensors: &[Tensor<F>]) -> Vec<Planes> {
    let null = std::ptr::null_mut();
    let planes = |tensor: &Tensor<F>| match &tensor.elements {
        Elements::Real(v) => [v.as_ptr() as *mut u8, null],
        Elements::Complex { re, im } => [re.as_ptr() as *mut u8, im.as_ptr() as *mut u8],
        Elements::Int(v) => [v.as_ptr() as *mut u8, null],
        Elements::Bool(v) => [v.as_ptr() as *mut u8, null],
    };
    tensors.iter().map(planes).collect()
}

fn planes_of_mut<F>(tensors: &mut [Tensor<F>]) -> Vec<Planes> {
    let null = std::ptr::null_mut();
    let planes = |tensor: &mut Tensor<F>| match &mut tensor.elements {
        Elements::Real(v) => [v.as_mut_ptr().cast(), null],
        Elements::Complex { re, im } => [re.as_mut_ptr().cast(), im.as_mut_ptr().cast()],
        Elements::Int(v) => [v.as_mut_ptr().cast(), null],
        Elements::Bool(v) => [v.as_mut_ptr(), null],
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
    bases: Bases,
    /// What the prologue has made.
    derived: *mut u8,
    steps: &'a [u64],
    /// Into how many ranges of blocks a sequence may be cut.
    ranges: usize,
    done: AtomicU64,
    progress: &'a (dyn Fn(u64) + Sync),
}

// SAFETY: the addresses are those of tensors that outlive the run; tasks read the shared ones and write only the
// rows of their own sequence.
unsafe impl Sync for Task<'_> {}

/// Zeroed memory, aligned to a cache line.
struct Memory {
    lines: Vec<Line>,
}

#[repr(align(64))]
#[derive(Clone, Copy)]
struct Line(#[allow(dead_code, reason = "only its address is used")] [u8; 64]);

impl Memory {
    fn new(bytes: usize) -> Self {
        Self { lines: vec![Line([0; 64]); bytes.div_ceil(64)] }
    }

    fn base(&mut self) -> *mut u8 {
        self.lines.as_mut_ptr().cast()
    }
}

/// What the calls for one range of blocks share.
struct BlockRange {
    pointers: Vec<*mut u8>,
    /// Stands behind [`Buffer::Local`].
    _local: Memory,
}

// SAFETY: a range is used by one thread at a time; the addresses are those of `Task`.
unsafe impl Send for BlockRange {}

impl BlockRange {
    fn new(pass: &PassSignature, pointers: &[*mut u8]) -> Self {
        let mut local = Memory::new(pass.local);
        let base = local.base();
        let own = |(slot, &pointer): (&Slot, _)| if slot.buffer == Buffer::Local { base } else { pointer };
        Self { pointers: pass.slots.iter().zip(pointers).map(own).collect(), _local: local }
    }
}

/// The tiles of these steps in the order in which they run.
fn tiles(steps: (usize, usize), tile: usize, reverse: bool) -> impl Iterator<Item = (usize, usize)> + Clone {
    let (begin, end) = steps;
    let tile = if tile == 0 { (end - begin).max(1) } else { tile };
    let count = (end - begin).div_ceil(tile);
    (0..count).map(move |i| {
        let start = begin + tile * if reverse { count - 1 - i } else { i };
        (start, (start + tile).min(end))
    })
}

/// Whether a phase is to be cut for these steps.
fn worth(phase: &PhaseSignature, steps: (usize, usize), ranges: &[BlockRange]) -> bool {
    ranges.len() > 1 && phase.blocks > 1 && phase.work.saturating_mul((steps.1 - steps.0) as u64) >= SPLIT
}

/// Runs a phase's blocks in ranges of about equal size, at the same time.
fn in_ranges(phase: &PhaseSignature, ranges: &mut [BlockRange], run: impl Fn(&BlockRange, (usize, usize)) + Sync) {
    let count = ranges.len().min(phase.blocks);
    ranges[..count].par_iter_mut().enumerate().for_each(|(n, range)| {
        run(range, (n * phase.blocks / count, (n + 1) * phase.blocks / count));
    });
}

impl Task<'_> {
    /// # Safety
    /// The tensors behind the bases fit the signature, and no other call runs this sequence.
    unsafe fn sequence<F: Float>(&self, sequence: usize) {
        let signature = self.signature;
        let steps = self.sequences.range(sequence);
        let rows = steps.len();
        let both = |slice: &Tensors, rows: usize| {
            let bytes = slice.size() * rows * slice.kind.bytes(F::BITS);
            let imaginary = if slice.kind == Kind::Complex { bytes } else { 0 };
            [Memory::new(bytes), Memory::new(imaginary)]
        };
        let mut kept: Vec<[Memory; 2]> = signature.kept.iter().map(|slice| both(slice, rows)).collect();
        let mut rings: Vec<[Memory; 2]> =
            signature.delays.iter().map(|line| both(&line.slice, line.depth + 1)).collect();
        // SAFETY: the carry's rows of this sequence are touched by this call only.
        unsafe { self.delays::<F>(sequence, &mut rings, self.steps[sequence], Direction::In) };
        for pass in &signature.passes {
            if rows == 0 {
                continue;
            }
            let mut scratch = Memory::new(pass.scratch);
            let address = |slot: &Slot| {
                let plane = usize::from(slot.imaginary);
                let row = |base: &Planes, slice: &Tensors, row: usize| {
                    base[plane].wrapping_add(row * slice.size() * slice.kind.bytes(F::BITS))
                };
                match slot.buffer {
                    Buffer::Param(i) => self.bases.params[i][plane],
                    Buffer::Initial(i) => self.bases.initial[i][plane],
                    Buffer::Input(i) => row(&self.bases.inputs[i], &signature.inputs[i], steps.start),
                    Buffer::Output(i) => row(&self.bases.outputs[i], &signature.outputs[i], steps.start),
                    Buffer::State(i) => row(&self.bases.states[i], &signature.states[i], sequence),
                    Buffer::Delay(i) => rings[i][plane].base(),
                    Buffer::Kept(i) => kept[i][plane].base(),
                    Buffer::Derived => self.derived,
                    Buffer::Scratch => scratch.base(),
                    // Every range of blocks has its own.
                    Buffer::Local => std::ptr::null_mut(),
                }
            };
            let pointers: Vec<*mut u8> = pass.slots.iter().map(address).collect();
            let most = pass.begin.iter().chain(&pass.phases).chain(&pass.end).map(|phase| phase.blocks).max();
            let count = self.ranges.min(most.unwrap_or(1)).max(1);
            let mut ranges: Vec<BlockRange> = (0..count).map(|_| BlockRange::new(pass, &pointers)).collect();
            // SAFETY: as for this function; the addresses are those that the pass's slots ask for.
            unsafe { self.pass(pass, &mut ranges, rows, self.steps[sequence]) };
        }
        let after = self.steps[sequence] + rows as u64;
        // SAFETY: as above.
        unsafe { self.delays::<F>(sequence, &mut rings, after, Direction::Out) };
    }

    /// # Safety
    /// The bases are those of tensors that fit the signature; nothing else uses the derived memory.
    unsafe fn prologue(&self) {
        let Some(prologue) = &self.signature.prologue else { return };
        let address = |slot: &Slot| match slot.buffer {
            Buffer::Param(i) => self.bases.params[i][usize::from(slot.imaginary)],
            _ => self.derived,
        };
        let pointers: Vec<*mut u8> = prologue.slots.iter().map(address).collect();
        let arguments =
            Arguments { pointers: pointers.as_ptr(), begin: 0, end: 1, number: 0, from: 0, to: u64::MAX >> 1 };
        // SAFETY: the caller vouches for the addresses.
        unsafe { self.entries[prologue.entry](&arguments) };
    }

    /// # Safety
    /// The addresses fit the pass's slots for a sequence of `rows` steps.
    unsafe fn pass(&self, pass: &PassSignature, ranges: &mut [BlockRange], rows: usize, number: u64) {
        let whole = |phase: &PhaseSignature, range: &BlockRange| {
            // SAFETY: the caller vouches for the addresses.
            unsafe { self.call(phase, range, (0, rows), number, (0, phase.blocks)) }
        };
        if let Some(begin) = &pass.begin {
            whole(begin, &ranges[0]);
        }
        let piece = if self.signature.step { 1 } else { PIECE };
        let pieces = rows.div_ceil(piece);
        for i in 0..pieces {
            let i = if pass.reverse { pieces - 1 - i } else { i };
            let steps = (i * piece, ((i + 1) * piece).min(rows));
            // SAFETY: the caller vouches for the addresses; the steps lie inside of the sequence.
            unsafe { self.piece(pass, ranges, steps, number) };
            let ran = (steps.1 - steps.0) as u64;
            let done = self.done.fetch_add(ran, Ordering::Relaxed) + ran;
            (self.progress)(done / self.signature.passes.len() as u64);
        }
        if let Some(end) = &pass.end {
            whole(end, &ranges[0]);
        }
    }

    /// All phases of all tiles of these steps.
    ///
    /// # Safety
    /// As for [`Task::pass`].
    unsafe fn piece(&self, pass: &PassSignature, ranges: &mut [BlockRange], steps: (usize, usize), number: u64) {
        let tiles = tiles(steps, pass.tile, pass.reverse);
        if let [phase] = &pass.phases[..]
            && worth(phase, steps, ranges)
        {
            // Blocks of one phase do not depend on each other, whatever the step.
            in_ranges(phase, ranges, |range, blocks| {
                for tile in tiles.clone() {
                    // SAFETY: the ranges of blocks do not overlap, so that no two calls write the same elements.
                    unsafe { self.call(phase, range, tile, number, blocks) };
                }
            });
            return;
        }
        for tile in tiles {
            for phase in &pass.phases {
                if worth(phase, tile, ranges) {
                    // SAFETY: as above.
                    in_ranges(phase, ranges, |range, blocks| unsafe { self.call(phase, range, tile, number, blocks) });
                } else {
                    // SAFETY: the caller vouches for the addresses.
                    unsafe { self.call(phase, &ranges[0], tile, number, (0, phase.blocks)) };
                }
            }
        }
    }

    /// # Safety
    /// The addresses of the range fit the pass's slots, and the steps lie inside of the sequence.
    unsafe fn call(
        &self,
        phase: &PhaseSignature,
        range: &BlockRange,
        steps: (usize, usize),
        number: u64,
        blocks: (usize, usize),
    ) {
        let arguments = Arguments {
            pointers: range.pointers.as_ptr(),
            begin: steps.0 as u64,
            end: steps.1 as u64,
            number,
            from: blocks.0 as u64,
            to: blocks.1 as u64,
        };
        // SAFETY: the caller vouches for the arguments.
        unsafe { self.entries[phase.entry](&arguments) };
    }

    /// Copies delays between the carry, where row `j` is the value of `j + 1` steps ago, and the rings, where the
    /// value of step `s` is in row `s % (depth + 1)`. `now` is the number of the next step.
    ///
    /// # Safety
    /// The rings have `depth + 1` rows each, and no other call touches the carry's rows of this sequence.
    unsafe fn delays<F: Float>(&self, sequence: usize, rings: &mut [[Memory; 2]], now: u64, direction: Direction) {
        for (i, (line, ring)) in self.signature.delays.iter().zip(rings).enumerate() {
            let bytes = line.slice.size() * line.slice.kind.bytes(F::BITS);
            let planes = if line.slice.kind == Kind::Complex { 2 } else { 1 };
            let rows = line.depth as u64 + 1;
            for (plane, memory) in ring.iter_mut().enumerate().take(planes) {
                for j in 0..line.depth {
                    // Row of step `now - (j + 1)`, modulo the number of rows.
                    let row = ((now % rows) + rows - (j as u64 + 1)) % rows;
                    let outer = self.bases.delays[i][plane].wrapping_add((sequence * line.depth + j) * bytes);
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
}

#[derive(Clone, Copy)]
enum Direction {
    In,
    Out,
}
