//! Transposition of matrices of small elements: rows of time to vectors of lanes, and back.
//!
//! A matrix is covered with blocks of the widest registers that the machine has, what is left at its edges with smaller
//! ones. Where the result lies in main memory, its lines are followed in order. What is to be transposed should be in a
//! cache: a [`Reach`] brings it there in time.

mod reach;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use reach::Reach;

/// Whether what is written lies in main memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Far {
    /// It does not.
    None,
    /// It does, and the next transposition writes so many bytes further on, which are fetched.
    To(usize),
    /// The same, and it is not read for long: lines that are whole go past the caches, where all columns begin with one. See
    /// [`fence`].
    Past(usize),
}

/// `to[c * to_stride + r] = from[r * from_stride + c]` for `rows` rows and `columns` columns.
struct Part<T> {
    from: *const T,
    from_stride: usize,
    to: *mut T,
    to_stride: usize,
    rows: usize,
    columns: usize,
}

impl<T> Clone for Part<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Part<T> {}

impl<T: Copy> Part<T> {
    /// The first rows, and the others.
    fn rows(self, at: usize) -> (Self, Self) {
        let from = self.from.wrapping_add(at * self.from_stride);
        (Self { rows: at, ..self }, Self { from, to: self.to.wrapping_add(at), rows: self.rows - at, ..self })
    }

    /// The first columns, and the others.
    fn columns(self, at: usize) -> (Self, Self) {
        let to = self.to.wrapping_add(at * self.to_stride);
        (
            Self { columns: at, ..self },
            Self { from: self.from.wrapping_add(at), to, columns: self.columns - at, ..self },
        )
    }

    /// Whether every column begins with a line of the cache.
    fn lines(&self) -> bool {
        (self.to as usize).is_multiple_of(LINE) && (self.to_stride * size_of::<T>()).is_multiple_of(LINE)
    }

    /// One element after the other.
    unsafe fn plain(self) {
        for c in 0..self.columns {
            for r in 0..self.rows {
                // SAFETY: the caller vouches for the part.
                unsafe { *self.to.add(c * self.to_stride + r) = *self.from.add(r * self.from_stride + c) };
            }
        }
    }
}

/// The bytes of a line of the cache.
pub(crate) const LINE: usize = 64;

/// Moves parts that are made of whole blocks.
#[derive(Clone, Copy)]
struct Sweep<T> {
    /// The rows and columns of a block.
    block: usize,
    /// Its safety: the part lies inside of both matrices, which lie apart, and is made of whole blocks; with
    /// [`Far::Past`] every column begins with a line of the cache.
    run: unsafe fn(Part<T>, Far, &mut Reach),
}

/// Covers a part with blocks, the largest first.
///
/// # Safety
/// As for [`transpose`]; the machine has what the sweeps need.
unsafe fn cover<T: Copy>(part: Part<T>, far: Far, sweeps: &[Sweep<T>], reach: &mut Reach) {
    // SAFETY: parts of the part, of whole blocks each; `lines` says where they begin with one.
    unsafe {
        let Some((sweep, smaller)) = sweeps.split_first() else { return part.plain() };
        let far = match far {
            Far::Past(ahead) if !part.lines() => Far::To(ahead),
            _ => far,
        };
        // Blocks are powers of 2; a division would take as long as half a block.
        let whole = |n: usize| n & !(sweep.block - 1);
        let (top, bottom) = part.rows(whole(part.rows));
        let (blocks, right) = top.columns(whole(part.columns));
        let none = blocks.rows == 0 || blocks.columns == 0;
        if !none {
            (sweep.run)(blocks, far, reach);
        }
        let edges = match far {
            // Only whole lines should go past the caches.
            Far::Past(ahead) => [(right, far), (bottom, Far::To(ahead))],
            _ if none => [(right, far), (bottom, far)],
            // Lines of the edges are mostly those of blocks.
            _ => [(right, Far::None), (bottom, Far::None)],
        };
        for (rest, far) in edges {
            if rest.rows > 0 && rest.columns > 0 {
                cover(rest, far, smaller, reach);
            }
        }
    }
}

/// `to[c * to_stride + r] = from[r * from_stride + c]` for `rows` rows and `columns` columns of `size` bytes each.
///
/// # Safety
/// All these places are inside of the two buffers, which lie apart and are aligned to elements; the size is 1, 4 or 8.
pub(crate) unsafe fn transpose(
    size: usize,
    from: *const u8,
    from_stride: usize,
    to: *mut u8,
    to_stride: usize,
    rows: usize,
    columns: usize,
) {
    let reach = &mut Reach::nothing();
    // SAFETY: as for this function.
    unsafe { transpose_and(size, from, from_stride, to, to_stride, rows, columns, Far::None, reach) }
}

/// The same, fetching meanwhile; the work is counted in bytes.
///
/// # Safety
/// As for [`transpose`].
#[allow(clippy::too_many_arguments, reason = "two matrices")]
pub(crate) unsafe fn transpose_and(
    size: usize,
    from: *const u8,
    from_stride: usize,
    to: *mut u8,
    to_stride: usize,
    rows: usize,
    columns: usize,
    far: Far,
    reach: &mut Reach,
) {
    // SAFETY: as for this function; elements follow each other on both sides.
    unsafe {
        match (rows, columns) {
            (1, _) if to_stride == 1 => return std::ptr::copy_nonoverlapping(from, to, columns * size),
            (_, 1) if from_stride == 1 => return std::ptr::copy_nonoverlapping(from, to, rows * size),
            _ => {}
        }
    }
    macro_rules! by {
        ($ty:ty, $sweeps:expr) => {{
            let part = Part { from: from.cast(), from_stride, to: to.cast(), to_stride, rows, columns };
            let sweeps: &[Sweep<$ty>] = $sweeps;
            match sweeps.first() {
                // Most are made of whole blocks, and come often.
                Some(Sweep { block, run }) if (rows | columns) & (block - 1) == 0 && rows > 0 && columns > 0 => {
                    let far = if matches!(far, Far::Past(_)) && !part.lines() { Far::None } else { far };
                    run(part, far, reach)
                }
                _ => cover::<$ty>(part, far, sweeps, reach),
            }
        }};
    }
    // SAFETY: as for this function; the sweeps are those of this machine.
    unsafe {
        match size {
            1 => by!(u8, &[]),
            4 => by!(u32, sweeps_4()),
            _ => by!(u64, sweeps_8()),
        }
    }
}

/// Makes what went past the caches visible to other threads, once they are told.
pub(crate) fn fence() {
    #[cfg(target_arch = "x86_64")]
    x86::fence();
}

/// Fetches a line that will be written, wherever that is.
pub(crate) fn fetch_to_write(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    x86::fetch_to_write(at);
    let _ = at;
}

#[cfg(target_arch = "x86_64")]
use x86::{sweeps_4, sweeps_8};

#[cfg(not(target_arch = "x86_64"))]
fn sweeps_4() -> &'static [Sweep<u32>] {
    &[]
}

#[cfg(not(target_arch = "x86_64"))]
fn sweeps_8() -> &'static [Sweep<u64>] {
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares parts of all sizes around those of blocks with single elements, with some of the sweeps.
    fn check<T: Copy + PartialEq + std::fmt::Debug>(sweeps: &[Sweep<T>], of: impl Fn(usize) -> T) {
        let size = size_of::<T>();
        // Rows of the result begin at all places of a line of the cache, or all at one.
        for (pad, skip) in [(0, 0), (0, 5), (2, 0), (LINE, 0), (LINE, 1), (LINE, 5)] {
            for rows in [0usize, 1, 3, 4, 5, 8, 9, 16, 17, 31, 32, 47, 96] {
                for columns in [0, 1, 2, 4, 7, 8, 15, 16, 17, 35, 64, 83] {
                    let wide = columns + 3;
                    let high = if pad == LINE { (rows + 1).next_multiple_of(LINE) } else { rows + pad };
                    let from: Vec<T> = (0..rows * wide).map(&of).collect();
                    for far in [Far::None, Far::To(4096), Far::Past(4096)] {
                        let untouched = of(251);
                        let mut to = vec![untouched; columns * high + skip + LINE];
                        let first = (to.as_ptr() as usize).next_multiple_of(LINE) - to.as_ptr() as usize;
                        let first = first / size + skip;
                        let part = Part {
                            from: from.as_ptr(),
                            from_stride: wide,
                            to: to[first..].as_mut_ptr(),
                            to_stride: high,
                            rows,
                            columns,
                        };
                        // SAFETY: the matrices have these strides, rows and columns; the sweeps are this machine's.
                        unsafe { cover(part, far, sweeps, &mut Reach::nothing()) };
                        fence();
                        let inside = |at: usize| {
                            let (c, r) = (at.checked_sub(first)?.checked_div(high)?, (at - first) % high);
                            (c < columns && r < rows).then(|| from[r * wide + c])
                        };
                        for (at, &found) in to.iter().enumerate() {
                            let expected = inside(at).unwrap_or(untouched);
                            assert_eq!(found, expected, "{rows} x {columns}, {size} bytes, {far:?}, skip {skip}, {at}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn all_sizes_at_all_edges() {
        check(&[], |n| (n % 250) as u8);
        for n in 0..=sweeps_4().len() {
            check(&sweeps_4()[n..], |n| n as u32 * 7);
        }
        for n in 0..=sweeps_8().len() {
            check(&sweeps_8()[n..], |n| n as u64 * 1_000_003);
        }
    }

    #[test]
    fn one_row_may_be_read_as_many() {
        let from = [1u32, 2, 3];
        let mut to = [0u32; 3 * 20];
        // SAFETY: with a stride of 0 all rows are the first.
        unsafe { transpose(4, from.as_ptr().cast(), 0, to.as_mut_ptr().cast(), 20, 20, 3) };
        assert!(to.chunks(20).zip(from).all(|(row, x)| row.iter().all(|&y| y == x)), "{to:?}");
    }
}
