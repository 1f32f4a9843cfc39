//! Outputs on their way back, from the order of lanes to that of time.
//!
//! In: the rows of an output as the kernel writes them, a few steps at a time, in memory that is used again by the next
//! few. Out: every stretch's rows in the output's tensor. Where these go past the caches, only whole lines do: rows whose
//! line is not complete wait for the next steps; lines that hold the end of a stretch and the beginning of the next are
//! put together from what waits at the end and what was laid aside at the beginning.

use crate::kernel::Tensors;
use crate::memory::Memory;
use crate::tensor::Float;
use crate::transpose::{Far, LINE, Reach, fetch_to_write, transpose, transpose_and};

/// One plane of an output. Its *elements* are those of one lane: the steps of a stretch, each with as many as the output
/// has in a step.
pub(super) struct Back {
    /// The bytes of an element.
    size: usize,
    /// How many elements a step has.
    width: usize,
    /// How many elements a stretch has.
    stretch: usize,
    lanes: usize,
    /// The rows that wait, which end after a line's worth; then those of the steps that are run.
    rows: Memory,
    /// Whether the steps of a turn fill a line, so that lines may be written whole.
    fills: bool,
    /// A line of every stretch: the last elements of the stretch, the first ones of the next.
    seam: Memory,
    /// Where the segment's first stretch begins.
    to: *mut u8,
    far: Far,
    /// How many elements stand before the first line that is the stretch's own.
    head: usize,
    /// How many elements of every stretch were taken.
    taken: usize,
    /// How many of them wait.
    waiting: usize,
}

/// How many elements stand before the first that begins a line, in each stretch; `None` where stretches differ.
fn before_line(to: *mut u8, size: usize, stretch: usize) -> Option<usize> {
    let address = to as usize;
    let alike = (stretch * size).is_multiple_of(LINE) && address.is_multiple_of(size);
    alike.then(|| (address.next_multiple_of(LINE) - address) / size)
}

impl Back {
    /// For stretches of so many steps, of which at least `turn` come at a time, and fewer than three times as many.
    pub(super) fn new<F: Float>(slice: &Tensors, lanes: usize, steps: usize, turn: usize) -> Self {
        let (size, width) = (slice.kind.bytes(F::BITS), slice.size() / lanes);
        let rows = Memory::new((LINE / size + 3 * turn * width) * lanes * size);
        let seam = Memory::new(LINE * lanes);
        let (stretch, fills) = (steps * width, turn * width * size >= LINE);
        let to = std::ptr::null_mut();
        Self { size, width, stretch, lanes, rows, fills, seam, to, far: Far::None, head: 0, taken: 0, waiting: 0 }
    }

    /// Begins a segment. What this thread writes next lies `ahead` bytes further on.
    pub(super) fn begin(&mut self, to: *mut u8, past: bool, ahead: usize) {
        let head = before_line(to, self.size, self.stretch).filter(|_| past && self.fills);
        (self.to, self.taken, self.waiting, self.head) = (to, 0, 0, head.unwrap_or(0));
        self.far = if head.is_some() { Far::Past(ahead) } else { Far::To(ahead) };
        if past {
            // The one line that is not written whole. A store that waits for its line keeps all later ones waiting.
            fetch_to_write(to.wrapping_add(self.stretch * self.lanes * self.size - 1));
        }
    }

    /// After how many steps a line begins, if it is after a step.
    pub(super) fn line(&self) -> Option<usize> {
        self.head.is_multiple_of(self.width).then_some(self.head / self.width)
    }

    /// Elements of a line, where lines have to be whole.
    fn unit(&self) -> usize {
        if matches!(self.far, Far::Past(_)) { LINE / self.size } else { 1 }
    }

    /// The bytes of an element of all lanes.
    fn row(&self) -> usize {
        self.lanes * self.size
    }

    /// Where the kernel's rows would begin if it wrote those from this step on to the memory for them.
    pub(super) fn rows_before(&mut self, step: usize) -> *mut u8 {
        let (row, line) = (self.row(), LINE / self.size);
        self.rows.base().wrapping_add(line * row).wrapping_sub(step * self.width * row)
    }

    /// Takes what the kernel has written for so many steps.
    ///
    /// # Safety
    /// The output has room for the segment's stretches, and nobody else uses it. The kernel has written these rows; the first
    /// ones reach a line of their own.
    pub(super) unsafe fn take(&mut self, steps: usize, reach: &mut Reach) {
        let (size, row, unit) = (self.size, self.row(), self.unit());
        let line = LINE / size;
        let (mut from, mut rows) = (line - self.waiting, self.waiting + steps * self.width);
        let base = self.rows.base();
        // SAFETY: the rows lie inside of the memory for them; the places are those of this segment's stretches, from the
        // elements that were taken before on.
        unsafe {
            if self.taken == 0 && self.head > 0 {
                // They are moved by a lane, to where the stretch before has its last elements.
                let aside = (line - self.head) * row - size;
                std::ptr::copy_nonoverlapping(base.add(from * row), self.seam.base().add(aside), self.head * row);
                transpose(size, base.add(from * row), self.lanes, self.to, self.stretch, self.head, 1);
                (from, rows, self.taken) = (from + self.head, rows - self.head, self.head);
            }
            let whole = rows / unit * unit;
            let to = self.to.add(self.taken * size);
            let from_base = base.add(from * row);
            transpose_and(size, from_base, self.lanes, to, self.stretch, whole, self.lanes, self.far, reach);
            self.taken += whole;
            self.waiting = rows - whole;
            let rest = base.add((line - self.waiting) * row);
            std::ptr::copy(base.add((from + whole) * row), rest, self.waiting * row);
        }
    }

    /// Ends a segment: writes the lines that two stretches share.
    ///
    /// # Safety
    /// As for [`Back::take`].
    pub(super) unsafe fn end(&mut self, reach: &mut Reach) {
        /// As many columns as the largest block has.
        const COLUMNS: usize = 16;
        if self.waiting == 0 {
            return;
        }
        let (size, row, lanes, stretch) = (self.size, self.row(), self.lanes, self.stretch);
        let (line, seams) = (LINE / size, lanes - 1);
        let (bottom, seam) = (self.rows.base().wrapping_add((line - self.waiting) * row), self.seam.base());
        let to = self.to.wrapping_add(self.taken * size);
        // SAFETY: what waits, and what was laid aside, is a line for every stretch but the last.
        unsafe {
            std::ptr::copy_nonoverlapping(bottom, seam, self.waiting * row);
            // The last ones may be some of those before again, so that blocks are whole.
            for first in (0..seams).step_by(COLUMNS) {
                let (first, columns) = (first.min(seams.saturating_sub(COLUMNS)), COLUMNS.min(seams));
                let to = to.add(first * stretch * size);
                transpose_and(size, seam.add(first * size), lanes, to, stretch, line, columns, self.far, reach);
            }
            let (bottom, to) = (bottom.add(seams * size), to.add(seams * stretch * size));
            transpose(size, bottom, lanes, to, stretch, self.waiting, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Kind;

    /// Steps of outputs in all sizes come to their places, whatever comes at a time, past the caches and not.
    #[test]
    fn rows_come_back_in_the_order_of_time() {
        const LANES: usize = 19;
        for (kind, width, steps, first, turn) in [
            (Kind::Real, 1, 48, 28, 16),
            (Kind::Real, 1, 48, 19, 16),
            (Kind::Real, 1, 40, 16, 16),
            (Kind::Real, 3, 32, 16, 16),
            (Kind::Real, 8, 6, 2, 2),
            (Kind::Int, 2, 24, 8, 8),
            (Kind::Bool, 1, 64, 20, 16),
            (Kind::Bool, 4, 32, 20, 16),
        ] {
            let slice = Tensors { name: "y".to_owned(), kind, shape: vec![width, LANES], below: None };
            let (size, stretch) = (kind.bytes(32), steps * width);
            let byte = |lane: usize, at: usize| (lane * stretch * size + at) as u8 ^ 0x5a;
            for (skip, past) in [(0, true), (4, true), (3, true), (0, false), (5, false)] {
                let mut tensor = Memory::new((LANES * stretch + 2 * LINE) * size);
                let mut back = Back::new::<f32>(&slice, LANES, steps, turn);
                back.begin(tensor.base().wrapping_add(skip * size), past, 64);
                let reach = &mut Reach::nothing();
                let mut step = 0;
                while step < steps {
                    let more = if step == 0 { first } else { turn }.min(steps - step);
                    for row in step * width..(step + more) * width {
                        let to = back.rows_before(step).wrapping_add(row * LANES * size);
                        for (lane, k) in (0..LANES).flat_map(|lane| (0..size).map(move |k| (lane, k))) {
                            // SAFETY: a turn has room for its steps.
                            unsafe { *to.add(lane * size + k) = byte(lane, row * size + k) };
                        }
                    }
                    // SAFETY: the tensor has room for all stretches; the rows were written.
                    unsafe { back.take(more, reach) };
                    step += more;
                }
                // SAFETY: as above.
                unsafe { back.end(reach) };
                crate::transpose::fence();
                for at in 0..(LANES * stretch + LINE) * size {
                    let inside = at.checked_sub(skip * size).filter(|at| *at < LANES * stretch * size);
                    let expected = inside.map_or(0, |at| byte(at / (stretch * size), at % (stretch * size)));
                    // SAFETY: inside of the tensor.
                    let found = unsafe { *tensor.base().add(at) };
                    assert_eq!(found, expected, "{kind:?} {width} x {steps}, {first} first, skip {skip}, {past}: {at}");
                }
            }
        }
    }
}
