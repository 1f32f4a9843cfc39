//! One pass of a kernel over a sequence: its tiles of steps, and in each of them its phases.
//!
//! In: the functions of a kernel, a [`PassSignature`], the addresses of its slots. A [`Running`] pass owns the memory that
//! only the pass uses. Phases are cut into ranges for several threads, of blocks or of steps; ranges write different
//! elements, so that results do not depend on their number.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::addresses::Planes;
use crate::driver::SPLIT;
use crate::kernel::{Arguments, Buffer, Cut, Entry, PassSignature, PhaseSignature, Signature, Slot, WHOLE, Way};
use crate::memory::Memory;
use crate::transpose::fence;

/// What depends on parameters alone: what stands behind [`Buffer::Derived`]. It may be made again for other parameters.
pub(crate) struct Derived {
    memory: Memory,
    /// The addresses that the prologue gets.
    pointers: Vec<*mut u8>,
}

// SAFETY: the addresses are written before the prologue runs, and are nobody's after that.
unsafe impl Send for Derived {}
// SAFETY: as above; nobody but the prologue reads them.
unsafe impl Sync for Derived {}

impl Derived {
    /// Memory for what the signature's prologue makes.
    pub(crate) fn new(signature: &Signature) -> Self {
        let prologue = signature.prologue.as_ref();
        let memory = Memory::new(prologue.map_or(0, |prologue| prologue.bytes));
        Self { memory, pointers: vec![std::ptr::null_mut(); prologue.map_or(0, |prologue| prologue.slots.len())] }
    }

    /// Where it is.
    pub(crate) fn base(&self) -> *mut u8 {
        self.memory.start()
    }

    /// Computes it.
    ///
    /// # Safety
    /// The entries keep to the contract of [`crate::kernel`] for this signature, for which the memory was made, and `parameter`
    /// gives the parameters that it asks for.
    pub(crate) unsafe fn make(
        &mut self,
        signature: &Signature,
        entries: &[Entry],
        parameter: impl Fn(usize) -> Planes,
    ) {
        let Some(prologue) = &signature.prologue else { return };
        let base = self.memory.base();
        for (pointer, slot) in self.pointers.iter_mut().zip(&prologue.slots) {
            *pointer = match slot.buffer {
                Buffer::Param(i) => parameter(i)[usize::from(slot.imaginary)],
                _ => base,
            };
        }
        let pointers = self.pointers.as_ptr();
        let arguments = Arguments { pointers, begin: 0, end: 1, number: 0, from: 0, to: WHOLE };
        // SAFETY: the caller vouches for the entry; the addresses are those of its slots.
        unsafe { entries[prologue.entry](&arguments) };
    }
}

/// The memory that only a pass uses. It may serve one run after the other.
#[derive(Default)]
pub(crate) struct Room {
    ranges: Vec<PieceRange>,
    way: Way,
    /// Stands behind [`Buffer::Home`].
    home: Memory,
    /// Stands behind [`Buffer::Scratch`]: one for all ranges, or one for each.
    _scratch: Vec<Memory>,
}

/// What the calls for one range of pieces share.
struct PieceRange {
    /// An address for each slot of the pass; those of the pass's own memory stay, the others are of the run.
    pointers: Vec<*mut u8>,
    /// Stands behind [`Buffer::Local`].
    _local: Memory,
}

// SAFETY: a range is used by one thread at a time, and its addresses are those that the caller of `Running` vouches for.
unsafe impl Send for PieceRange {}
// SAFETY: as above; ranges are only read.
unsafe impl Sync for PieceRange {}

impl Room {
    /// For a pass whose phases may be cut into that many ranges.
    pub(crate) fn new(pass: &PassSignature, ranges: usize) -> Self {
        let pieces = |phase: &PhaseSignature| phase.cut.pieces(if pass.tile == 0 { usize::MAX } else { pass.tile });
        let most = pass.begin.iter().chain(&pass.phases).chain(&pass.end).map(pieces).max();
        let count = ranges.min(most.unwrap_or(1)).max(1);
        let way = pass.way(count);
        let own = if way == Way::Pieces { 1 } else { count };
        let mut home = Memory::new(pass.home);
        let mut scratch: Vec<Memory> = (0..own).map(|_| Memory::new(pass.scratch)).collect();
        let bases: Vec<*mut u8> = scratch.iter_mut().map(Memory::base).collect();
        let range = |n: usize| {
            let mut local = Memory::new(pass.local);
            let address = |slot: &Slot| match slot.buffer {
                Buffer::Home => home.base(),
                Buffer::Scratch => bases[n % own],
                Buffer::Local => local.base(),
                _ => std::ptr::null_mut(),
            };
            PieceRange { pointers: pass.slots.iter().map(address).collect(), _local: local }
        };
        let ranges = (0..count).map(range).collect();
        Self { ranges, way, home, _scratch: scratch }
    }
}

/// A pass with its addresses and its memory.
pub(crate) struct Running<'a> {
    pass: &'a PassSignature,
    entries: &'a [Entry],
    room: Room,
    /// Whether outputs are so many that they are to go past the caches.
    many: bool,
}

impl<'a> Running<'a> {
    /// A pass in a room that was made for it. `address` knows all buffers but the pass's own.
    pub(crate) fn new(
        pass: &'a PassSignature,
        entries: &'a [Entry],
        mut room: Room,
        mut address: impl FnMut(&Slot) -> *mut u8,
    ) -> Self {
        for range in &mut room.ranges {
            for (pointer, slot) in range.pointers.iter_mut().zip(&pass.slots) {
                if !matches!(slot.buffer, Buffer::Home | Buffer::Scratch | Buffer::Local) {
                    *pointer = address(slot);
                }
            }
        }
        Self { pass, entries, room, many: false }
    }

    /// Its memory, for the next run. What blocks of states are padded with is 0 there again.
    pub(crate) fn into_room(mut self) -> Room {
        self.room.home.clear();
        self.room
    }

    /// Says whether outputs are too many for the caches. Where they begin with a line of those, they then go past them; results
    /// are the same.
    pub(crate) fn set_many(&mut self, many: bool) {
        self.many = many && self.pass.phases.iter().any(|phase| phase.past.is_some());
    }

    /// Whether outputs go past the caches.
    fn goes_past(&self) -> bool {
        let slots = self.pass.slots.iter().zip(&self.room.ranges[0].pointers);
        let mut outputs = slots.filter(|(slot, _)| matches!(slot.buffer, Buffer::Output(_)));
        self.many && outputs.all(|(_, address)| address.addr() % LINE == 0)
    }

    /// Puts another address in the place of that slot's.
    pub(crate) fn point(&mut self, slot: usize, to: *mut u8) {
        for range in &mut self.room.ranges {
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
            unsafe { self.call(phase, false, &self.room.ranges[0], steps, number, ALL) };
        }
    }

    /// What stands behind the last tile of a sequence.
    ///
    /// # Safety
    /// As for [`Running::begin`].
    pub(crate) unsafe fn end(&self, steps: (usize, usize), number: u64) {
        if let Some(phase) = &self.pass.end {
            // SAFETY: as for this function.
            unsafe { self.call(phase, false, &self.room.ranges[0], steps, number, ALL) };
        }
    }

    /// All phases of one step, of a pass in one range whose outputs stay in the caches.
    ///
    /// # Safety
    /// As for [`Running::begin`].
    pub(crate) unsafe fn step(&self, number: u64) {
        for phase in &self.pass.phases {
            // SAFETY: as for this function.
            unsafe { self.call(phase, false, &self.room.ranges[0], (0, 1), number, ALL) };
        }
    }

    /// All phases of all tiles of these steps.
    ///
    /// # Safety
    /// As for [`Running::begin`].
    pub(crate) unsafe fn steps(&self, steps: (usize, usize), number: u64) {
        let tiles = tiles(steps, self.pass.tile, self.pass.reverse);
        let past = self.goes_past();
        let blocks = self.pass.phases.iter().find(|phase| phase.cut != Cut::Steps);
        match (self.room.way, blocks) {
            // SAFETY: as for this function.
            (Way::Tiles(from, to), _) => return unsafe { self.tile_by_tile(steps, number, (from, to), past) },
            (Way::Blocks, Some(phase)) => {
                // Blocks of one phase do not depend on each other, whatever the step.
                let count = self.ranges_of(phase, steps, SPLIT).unwrap_or(1);
                self.room.ranges[..count].par_iter().enumerate().for_each(|(n, range)| {
                    for tile in tiles.clone() {
                        for phase in &self.pass.phases {
                            let cut = if phase.cut == Cut::Steps { ALL } else { phase.cut.range(0, n, count) };
                            // SAFETY: ranges do not overlap, so that no two calls write the same elements.
                            unsafe { self.call(phase, past, range, tile, number, cut) };
                        }
                    }
                    show(past);
                });
                return;
            }
            _ => {}
        }
        for tile in tiles {
            for phase in &self.pass.phases {
                match self.ranges_of(phase, tile, SPLIT) {
                    Some(count) => self.room.ranges[..count].par_iter().enumerate().for_each(|(n, range)| {
                        let cut = phase.cut.range(tile.1 - tile.0, n, count);
                        // SAFETY: as above.
                        unsafe { self.call(phase, past, range, tile, number, cut) };
                        show(past);
                    }),
                    // SAFETY: as for this function.
                    None => unsafe { self.call(phase, past, &self.room.ranges[0], tile, number, ALL) },
                }
            }
        }
        show(past);
    }

    /// The same as [`Way::Tiles`] says, with the phases that run in the order of tiles. Threads take the next tile when they are
    /// there, so that nobody waits for one that has other things to do.
    ///
    /// # Safety
    /// As for [`Running::begin`].
    unsafe fn tile_by_tile(&self, steps: (usize, usize), number: u64, (from, to): (usize, usize), past: bool) {
        let (ahead, rest) = self.pass.phases.split_at(from);
        let (ordered, behind) = rest.split_at(to - from);
        let tiles: Vec<(usize, usize)> = tiles(steps, self.pass.tile, self.pass.reverse).collect();
        let (taken, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = |range: &PieceRange| {
            loop {
                let turn = taken.fetch_add(1, Ordering::Relaxed);
                let Some(&tile) = tiles.get(turn) else { return show(past) };
                let run = |phases: &[PhaseSignature]| {
                    for phase in phases {
                        // SAFETY: as for this function: these write rows of this tile and memory of this range, or it is this
                        // tile's turn.
                        unsafe { self.call(phase, past, range, tile, number, ALL) };
                    }
                };
                run(ahead);
                wait_until(|| done.load(Ordering::Acquire) == turn);
                run(ordered);
                done.store(turn + 1, Ordering::Release);
                run(behind);
            }
        };
        let worth = self.pass.phases.iter().any(|phase| self.ranges_of(phase, steps, SPLIT).is_some());
        let helpers = if worth { &self.room.ranges[1..] } else { &[] };
        rayon::scope(|scope| {
            for range in helpers {
                scope.spawn(|_| work(range));
            }
            work(&self.room.ranges[0]);
        });
    }

    /// Into how many ranges a phase is to be cut for these steps, if it has at least so many operations.
    fn ranges_of(&self, phase: &PhaseSignature, steps: (usize, usize), least: u64) -> Option<usize> {
        let count = steps.1 - steps.0;
        let work = phase.work.saturating_mul(count as u64);
        let pieces = self.room.ranges.len().min(phase.cut.pieces(count));
        (pieces > 1 && work >= least).then_some(pieces)
    }

    /// # Safety
    /// As for [`Running::begin`].
    unsafe fn call(
        &self,
        phase: &PhaseSignature,
        past: bool,
        range: &PieceRange,
        steps: (usize, usize),
        number: u64,
        pieces: (usize, usize),
    ) {
        let arguments = Arguments {
            pointers: range.pointers.as_ptr(),
            begin: steps.0 as u64,
            end: steps.1 as u64,
            number,
            from: pieces.0 as u64,
            to: pieces.1 as u64,
        };
        let entry = phase.past.filter(|_| past).unwrap_or(phase.entry);
        // SAFETY: the caller vouches for the arguments; outputs begin with a line where they go past the caches.
        unsafe { self.entries[entry](&arguments) };
    }
}

/// Bytes in a line of the caches.
const LINE: usize = 64;

/// Makes what a thread has written visible to others, where it went past the caches.
fn show(past: bool) {
    if past {
        fence();
    }
}

/// All pieces of a phase.
const ALL: (usize, usize) = (0, WHOLE as usize);

/// How often a thread looks before it lets others have its core, on which the one that it waits for may be queueing.
const LOOKS: usize = 50;

fn wait_until(done: impl Fn() -> bool) {
    let mut looks = 0;
    while !done() {
        looks += 1;
        if looks < LOOKS { std::hint::spin_loop() } else { std::thread::yield_now() }
    }
}

// SAFETY: see `PieceRange`; a running pass is used by one thread at a time, which lends ranges to others.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes which function it is to the first byte of the first slot.
    unsafe extern "C" fn within(arguments: *const Arguments) {
        // SAFETY: the test's slot has a byte.
        unsafe { (*(*arguments).pointers).write(1) };
    }

    unsafe extern "C" fn past(arguments: *const Arguments) {
        // SAFETY: as above.
        unsafe { (*(*arguments).pointers).write(2) };
    }

    /// Which function runs where the output is at that distance from a line.
    fn ran(many: bool, distance: usize, entry: Option<usize>) -> u8 {
        let mut pass = PassSignature::plain(vec![Slot { buffer: Buffer::Output(0), imaginary: false }]);
        pass.phases[0].past = entry;
        let mut memory = Memory::new(256);
        let to = memory.base().wrapping_add(distance);
        let mut running = Running::new(&pass, &[within, past], Room::new(&pass, 1), |_| std::ptr::null_mut());
        running.set_many(many);
        running.point(0, to);
        // SAFETY: both functions write a byte of the slot, which is there.
        unsafe {
            running.steps((0, 1), 0);
            to.read()
        }
    }

    #[test]
    fn outputs_go_past_the_caches_where_they_are_many_and_begin_with_a_line() {
        assert_eq!(ran(true, 0, Some(1)), 2);
        assert_eq!(ran(true, 64, Some(1)), 2);
        assert_eq!(ran(true, 16, Some(1)), 1);
        assert_eq!(ran(false, 0, Some(1)), 1);
        assert_eq!(ran(true, 0, None), 1);
    }
}
