//! One pass of a kernel over a sequence: its tiles of steps, and in each of them its phases.
//!
//! In: the functions of a kernel, a [`PassSignature`], the addresses of its slots. A [`Running`] pass owns the memory that
//! only the pass uses. Phases are cut into ranges of blocks for several threads; ranges write different elements, so
//! that results do not depend on their number.

use rayon::prelude::*;

use crate::driver::{Planes, SPLIT};
use crate::kernel::{Arguments, Buffer, Entry, PassSignature, PhaseSignature, Signature, Slot};
use crate::memory::Memory;

/// Computes what depends on parameters alone: what stands behind [`Buffer::Derived`].
///
/// # Safety
/// The entries keep to the contract of [`crate::kernel`] for this signature, and the parameters are those that it asks
/// for.
pub(crate) unsafe fn derived(signature: &Signature, entries: &[Entry], params: &[Planes]) -> Memory {
    let Some(prologue) = &signature.prologue else { return Memory::new(0) };
    let mut memory = Memory::new(prologue.bytes);
    let base = memory.base();
    let address = |slot: &Slot| match slot.buffer {
        Buffer::Param(i) => params[i][usize::from(slot.imaginary)],
        _ => base,
    };
    let pointers: Vec<*mut u8> = prologue.slots.iter().map(address).collect();
    let to = u64::MAX >> 1;
    let arguments = Arguments { pointers: pointers.as_ptr(), begin: 0, end: 1, number: 0, from: 0, to };
    // SAFETY: the caller vouches for the entry; the addresses are those of its slots.
    unsafe { entries[prologue.entry](&arguments) };
    memory
}

/// A pass with its addresses and its memory.
pub(crate) struct Running<'a> {
    pass: &'a PassSignature,
    entries: &'a [Entry],
    ranges: Vec<BlockRange>,
    /// Stands behind [`Buffer::Scratch`].
    _scratch: Memory,
}

/// What the calls for one range of blocks share.
struct BlockRange {
    pointers: Vec<*mut u8>,
    /// Stands behind [`Buffer::Local`].
    _local: Memory,
}

// SAFETY: a range is used by one thread at a time, and its addresses are those that the caller of `Running` vouches for.
unsafe impl Send for BlockRange {}
// SAFETY: as above; ranges are only read.
unsafe impl Sync for BlockRange {}

impl<'a> Running<'a> {
    /// A pass whose phases may be cut into that many ranges. `address` knows all buffers but the pass's own.
    pub(crate) fn new(
        pass: &'a PassSignature,
        entries: &'a [Entry],
        ranges: usize,
        mut address: impl FnMut(&Slot) -> *mut u8,
    ) -> Self {
        let mut scratch = Memory::new(pass.scratch);
        let base = scratch.base();
        let most = pass.begin.iter().chain(&pass.phases).chain(&pass.end).map(|phase| phase.blocks).max();
        let range = |_| {
            let mut local = Memory::new(pass.local);
            let own = local.base();
            let address = |slot: &Slot| match slot.buffer {
                Buffer::Scratch => base,
                Buffer::Local => own,
                _ => address(slot),
            };
            BlockRange { pointers: pass.slots.iter().map(address).collect(), _local: local }
        };
        let ranges = (0..ranges.min(most.unwrap_or(1)).max(1)).map(range).collect();
        Self { pass, entries, ranges, _scratch: scratch }
    }

    /// Puts another address in the place of that slot's.
    pub(crate) fn point(&mut self, slot: usize, to: *mut u8) {
        for range in &mut self.ranges {
            range.pointers[slot] = to;
        }
    }

    /// What stands before the first tile of a sequence.
    ///
    /// # Safety
    /// The entries keep to the contract of [`crate::kernel`] for this pass, the addresses fit its slots, nothing else
    /// writes what is behind them, and the steps lie inside of them.
    pub(crate) unsafe fn begin(&self, steps: (usize, usize), number: u64) {
        if let Some(phase) = &self.pass.begin {
            // SAFETY: as for this function.
            unsafe { self.call(phase, &self.ranges[0], steps, number, (0, phase.blocks)) };
        }
    }

    /// What stands behind the last tile of a sequence.
    ///
    /// # Safety
    /// As for [`Running::begin`].
    pub(crate) unsafe fn end(&self, steps: (usize, usize), number: u64) {
        if let Some(phase) = &self.pass.end {
            // SAFETY: as for this function.
            unsafe { self.call(phase, &self.ranges[0], steps, number, (0, phase.blocks)) };
        }
    }

    /// All phases of all tiles of these steps.
    ///
    /// # Safety
    /// As for [`Running::begin`].
    pub(crate) unsafe fn steps(&self, steps: (usize, usize), number: u64) {
        let tiles = tiles(steps, self.pass.tile, self.pass.reverse);
        if let [phase] = &self.pass.phases[..]
            && self.worth(phase, steps)
        {
            // Blocks of one phase do not depend on each other, whatever the step.
            self.in_ranges(phase, |range, blocks| {
                for tile in tiles.clone() {
                    // SAFETY: the ranges of blocks do not overlap, so that no two calls write the same elements.
                    unsafe { self.call(phase, range, tile, number, blocks) };
                }
            });
            return;
        }
        for tile in tiles {
            for phase in &self.pass.phases {
                if self.worth(phase, tile) {
                    // SAFETY: as above.
                    self.in_ranges(phase, |range, blocks| unsafe { self.call(phase, range, tile, number, blocks) });
                } else {
                    // SAFETY: as for this function.
                    unsafe { self.call(phase, &self.ranges[0], tile, number, (0, phase.blocks)) };
                }
            }
        }
    }

    /// Whether a phase is to be cut for these steps.
    fn worth(&self, phase: &PhaseSignature, steps: (usize, usize)) -> bool {
        let work = phase.work.saturating_mul((steps.1 - steps.0) as u64);
        self.ranges.len() > 1 && phase.blocks > 1 && work >= SPLIT
    }

    /// Runs a phase's blocks in ranges of about equal size, at the same time.
    fn in_ranges(&self, phase: &PhaseSignature, run: impl Fn(&BlockRange, (usize, usize)) + Sync) {
        let count = self.ranges.len().min(phase.blocks);
        self.ranges[..count].par_iter().enumerate().for_each(|(n, range)| {
            run(range, (n * phase.blocks / count, (n + 1) * phase.blocks / count));
        });
    }

    /// # Safety
    /// As for [`Running::begin`].
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
}

// SAFETY: see `BlockRange`; a running pass is used by one thread at a time, which lends ranges to others.
unsafe impl Sync for Running<'_> {}

/// The tiles of these steps in the order in which they run.
fn tiles(steps: (usize, usize), tile: usize, reverse: bool) -> impl Iterator<Item = (usize, usize)> + Clone {
    let (begin, end) = steps;
    let steps = end - begin;
    // Few steps come often, and a division takes as long as some of them.
    let (tile, count) = match tile {
        _ if steps == 0 => (1, 0),
        0 => (steps, 1),
        _ if steps <= tile => (steps, 1),
        _ => (tile, steps.div_ceil(tile)),
    };
    (0..count).map(move |i| {
        let start = begin + tile * if reverse { count - 1 - i } else { i };
        (start, (start + tile).min(end))
    })
}
