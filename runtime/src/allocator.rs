//! An allocator that lets large arrays begin with a line of the cache.
//!
//! What the system gives begins 16 bytes behind a page: every vector of 64 bytes would lie on two lines, and none could go
//! past the caches. Programs that hold tensors take [`Lines`] as their global allocator; all else works without.
//!
//! Arrays do not begin at the same place of a page each: the first elements of many would share few places of the first cache.
//! A large block has, in front of what it is asked for, the distance to where the system's begins.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes in a line.
const LINE: usize = 64;

/// Bytes in a page.
const PAGE: usize = 4096;

/// From how many bytes on a block begins with a line.
const LARGE: usize = 16 << 10;

/// The lines between where two blocks begin within their pages; odd, so that all places are taken in turn.
const APART: usize = 11;

/// The system's allocator; blocks of 16 KiB or more begin with a line of the cache.
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: ssmc_runtime::Lines = ssmc_runtime::Lines;
///
/// let tensor = vec![0f32; 1 << 20];
/// assert_eq!(tensor.as_ptr().addr() % 64, 0);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines;

/// What a large block is to the system; `None` for those that it may place as it likes.
fn outer(layout: Layout) -> Option<Layout> {
    let large = layout.size() >= LARGE && layout.align() <= LINE;
    large.then(|| Layout::from_size_align(layout.size().checked_add(LINE + PAGE)?, align_of::<usize>()).ok()).flatten()
}

/// Where a block is to begin behind `start`: with a line, and with room in front of it.
fn distance(start: usize) -> usize {
    static BLOCKS: AtomicUsize = AtomicUsize::new(0);
    let lines = BLOCKS.fetch_add(APART, Ordering::Relaxed) % (PAGE / LINE);
    (start + size_of::<usize>()).next_multiple_of(LINE) - start + lines * LINE
}

/// Writes the distance in front of where the block begins.
///
/// # Safety
/// `start` is null, or that of a block of the system with room for the distance and what was asked for.
unsafe fn begin(start: *mut u8) -> *mut u8 {
    if start.is_null() {
        return start;
    }
    let distance = distance(start.addr());
    // SAFETY: as for this function; the distance is at least that of a `usize`, and a line is aligned for it.
    unsafe {
        let block = start.add(distance);
        block.cast::<usize>().sub(1).write(distance);
        block
    }
}

/// The distance of a block.
///
/// # Safety
/// [`begin`] has made the block.
unsafe fn distance_of(block: *mut u8) -> usize {
    // SAFETY: as for this function.
    unsafe { block.cast::<usize>().sub(1).read() }
}

// SAFETY: blocks are those of the system, moved to where a line begins; `outer` depends on the layout alone, so that every block
// goes back as it came.
unsafe impl GlobalAlloc for Lines {
    /// # Safety
    /// As [`GlobalAlloc::alloc`] says.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise; the outer layout has room for the distance.
        unsafe {
            match outer(layout) {
                Some(outer) => begin(System.alloc(outer)),
                None => System.alloc(layout),
            }
        }
    }

    /// # Safety
    /// As [`GlobalAlloc::alloc_zeroed`] says.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for `alloc`; the distance is written in front of the block.
        unsafe {
            match outer(layout) {
                Some(outer) => begin(System.alloc_zeroed(outer)),
                None => System.alloc_zeroed(layout),
            }
        }
    }

    /// # Safety
    /// As [`GlobalAlloc::dealloc`] says.
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block came from `alloc` with this layout.
        unsafe {
            match outer(layout) {
                Some(outer) => System.dealloc(block.sub(distance_of(block)), outer),
                None => System.dealloc(block, layout),
            }
        }
    }

    /// # Safety
    /// As [`GlobalAlloc::realloc`] says.
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises a size that makes a layout.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: the block came from `alloc` with this layout; both outer layouts differ in size only.
        unsafe {
            match (outer(layout), outer(wanted)) {
                (None, None) => System.realloc(block, layout, size),
                (Some(old), Some(new)) => {
                    let before = distance_of(block);
                    let start = System.realloc(block.sub(before), old, new.size());
                    if start.is_null() {
                        return start;
                    }
                    let moved = start.add(before);
                    if moved.addr() % LINE == 0 {
                        return moved;
                    }
                    // The contents come to the place of another line, and the distance in front of it.
                    let distance = distance(start.addr());
                    std::ptr::copy(moved, start.add(distance), layout.size().min(size));
                    let block = start.add(distance);
                    block.cast::<usize>().sub(1).write(distance);
                    block
                }
                _ => {
                    let other = self.alloc(wanted);
                    if !other.is_null() {
                        std::ptr::copy_nonoverlapping(block, other, layout.size().min(size));
                        self.dealloc(block, layout);
                    }
                    other
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks keep what they hold while they grow and shrink over the size from which on they begin with a line.
    #[test]
    fn blocks_keep_their_contents_and_begin_with_lines() {
        let sizes = [1, 100, LARGE - 1, LARGE, LARGE + 1, 1 << 20, 3 << 20, LARGE, 64, 5 << 20, 1 << 21, 8];
        for align in [1, 4, 8, 64, 128] {
            let mut layout = Layout::from_size_align(sizes[0], align).expect("a layout");
            // SAFETY: a layout with a size.
            let mut block = unsafe { Lines.alloc_zeroed(layout) };
            let mut held = vec![0u8; layout.size()];
            for (n, &size) in sizes.iter().enumerate() {
                // SAFETY: the block has this layout; what is read and written is inside of it.
                unsafe {
                    block = Lines.realloc(block, layout, size);
                    layout = Layout::from_size_align(size, align).expect("a layout");
                    assert_eq!(block.addr() % if size >= LARGE { align.max(LINE) } else { align }, 0);
                    held.truncate(size);
                    assert_eq!(std::slice::from_raw_parts(block, held.len()), held, "{align} {size}");
                    held = (0..size).map(|i| (i * 7 + n) as u8).collect();
                    std::ptr::copy_nonoverlapping(held.as_ptr(), block, size);
                }
            }
            // SAFETY: as above.
            unsafe { Lines.dealloc(block, layout) };
        }
    }

    #[test]
    fn zeroed_blocks_are_zero() {
        for size in [LARGE - 1, LARGE, 1 << 20] {
            let layout = Layout::from_size_align(size, 8).expect("a layout");
            for _ in 0..3 {
                // SAFETY: a layout with a size; what is read and written is inside of the block.
                unsafe {
                    let block = Lines.alloc_zeroed(layout);
                    assert!(std::slice::from_raw_parts(block, size).iter().all(|&byte| byte == 0));
                    block.write_bytes(0xff, size);
                    Lines.dealloc(block, layout);
                }
            }
        }
    }
}
