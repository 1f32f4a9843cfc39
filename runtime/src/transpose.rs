//! Transposition of matrices of small elements: rows of time to vectors of lanes, and back.

/// What the next transposition of this kind will touch, so many bytes further on: it is fetched ahead, because many
/// short rows are more than a processor's own prefetching follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ahead {
    /// Nothing.
    None,
    /// What it reads.
    Read(usize),
    /// What it writes.
    Write(usize),
}

/// `to[c * to_stride + r] = from[r * from_stride + c]` for `rows` rows and `columns` columns of `size` bytes each.
///
/// # Safety
/// All these places are inside of the two buffers, which lie apart and are aligned to elements; the size is 1, 4 or 8.
#[allow(clippy::too_many_arguments, reason = "two matrices")]
pub(crate) unsafe fn transpose(
    size: usize,
    from: *const u8,
    from_stride: usize,
    to: *mut u8,
    to_stride: usize,
    rows: usize,
    columns: usize,
    ahead: Ahead,
) {
    macro_rules! by {
        ($ty:ty, $n:literal, $block:path) => {
            blocks::<$ty, $n>(from.cast(), from_stride, to.cast(), to_stride, rows, columns, ahead, |a, b, c, d| {
                $block(a, b, c, d)
            })
        };
    }
    // SAFETY: as for this function; `blocks` asks for blocks that lie inside of both matrices.
    unsafe {
        match size {
            1 => by!(u8, 8, simple::<u8, 8>),
            4 => by!(u32, 4, four),
            _ => by!(u64, 4, simple::<u64, 4>),
        }
    }
}

/// Block after block, those of a column of blocks first: the rows of the result are written whole.
#[allow(clippy::too_many_arguments, reason = "two matrices, and how to move a block")]
unsafe fn blocks<T: Copy, const N: usize>(
    from: *const T,
    from_stride: usize,
    to: *mut T,
    to_stride: usize,
    rows: usize,
    columns: usize,
    ahead: Ahead,
    block: impl Fn(*const T, usize, *mut T, usize),
) {
    let (whole_rows, whole_columns) = (rows / N * N, columns / N * N);
    // A line of the cache holds this many elements.
    let line = 64 / size_of::<T>();
    for c in (0..whole_columns).step_by(N) {
        match ahead {
            Ahead::Read(bytes) if c % line == 0 => {
                for r in 0..whole_rows {
                    fetch(from.wrapping_add(r * from_stride + c).wrapping_byte_add(bytes));
                }
            }
            Ahead::Write(bytes) => {
                for c in c..c + N {
                    for r in (0..whole_rows).step_by(line) {
                        fetch_to_write(to.wrapping_add(c * to_stride + r).wrapping_byte_add(bytes));
                    }
                }
            }
            _ => {}
        }
        for r in (0..whole_rows).step_by(N) {
            // SAFETY: the block lies inside of both matrices.
            unsafe { block(from.add(r * from_stride + c), from_stride, to.add(c * to_stride + r), to_stride) };
        }
    }
    let one = |r: usize, c: usize| {
        // SAFETY: the element lies inside of both matrices.
        unsafe { *to.add(c * to_stride + r) = *from.add(r * from_stride + c) }
    };
    for c in 0..columns {
        let done = if c < whole_columns { whole_rows } else { 0 };
        (done..rows).for_each(|r| one(r, c));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn fetch<T>(at: *const T) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch accesses nothing, wherever it points.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn fetch_to_write<T>(at: *const T) {
    use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
    // SAFETY: a prefetch accesses nothing, wherever it points.
    unsafe { _mm_prefetch::<_MM_HINT_ET0>(at.cast()) };
}

#[cfg(not(target_arch = "x86_64"))]
fn fetch<T>(_: *const T) {}

#[cfg(not(target_arch = "x86_64"))]
fn fetch_to_write<T>(_: *const T) {}

unsafe fn simple<T: Copy, const N: usize>(from: *const T, from_stride: usize, to: *mut T, to_stride: usize) {
    for c in 0..N {
        for r in 0..N {
            // SAFETY: the caller vouches for the block.
            unsafe { *to.add(c * to_stride + r) = *from.add(r * from_stride + c) };
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
unsafe fn four(from: *const u32, from_stride: usize, to: *mut u32, to_stride: usize) {
    // SAFETY: as for this function.
    unsafe { simple::<u32, 4>(from, from_stride, to, to_stride) }
}

/// Four by four in registers of 128 bits, which every x86-64 has.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn four(from: *const u32, from_stride: usize, to: *mut u32, to_stride: usize) {
    use std::arch::x86_64::{
        __m128i, _mm_loadu_si128, _mm_storeu_si128, _mm_unpackhi_epi32, _mm_unpackhi_epi64, _mm_unpacklo_epi32,
        _mm_unpacklo_epi64,
    };
    // SAFETY: the caller vouches for four elements of each of the four rows, and unaligned accesses are allowed.
    unsafe {
        let row = |r: usize| _mm_loadu_si128(from.add(r * from_stride).cast::<__m128i>());
        let (a, b, c, d) = (row(0), row(1), row(2), row(3));
        let (ab_low, ab_high) = (_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b));
        let (cd_low, cd_high) = (_mm_unpacklo_epi32(c, d), _mm_unpackhi_epi32(c, d));
        let put = |c: usize, v: __m128i| _mm_storeu_si128(to.add(c * to_stride).cast::<__m128i>(), v);
        put(0, _mm_unpacklo_epi64(ab_low, cd_low));
        put(1, _mm_unpackhi_epi64(ab_low, cd_low));
        put(2, _mm_unpacklo_epi64(ab_high, cd_high));
        put(3, _mm_unpackhi_epi64(ab_high, cd_high));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Copy + PartialEq + std::fmt::Debug + Default>(of: impl Fn(usize) -> T) {
        for rows in [0, 1, 3, 4, 5, 8, 9, 16] {
            for columns in [0, 1, 2, 4, 7, 8, 17] {
                let (wide, high) = (columns + 3, rows + 2);
                let from: Vec<T> = (0..rows * wide).map(&of).collect();
                let untouched = of(251);
                let mut to = vec![untouched; columns * high];
                let size = size_of::<T>();
                // SAFETY: the matrices have these strides, rows and columns.
                unsafe {
                    let (from, to) = (from.as_ptr().cast(), to.as_mut_ptr().cast());
                    transpose(size, from, wide, to, high, rows, columns, Ahead::Read(4096));
                    transpose(size, from, wide, to, high, rows, columns, Ahead::Write(4096));
                }
                for c in 0..columns {
                    for r in 0..high {
                        let expected = if r < rows { from[r * wide + c] } else { untouched };
                        assert_eq!(to[c * high + r], expected, "{rows} x {columns}, {size} bytes, [{c}, {r}]");
                    }
                }
            }
        }
    }

    #[test]
    fn all_sizes_at_all_edges() {
        check(|n| (n % 250) as u8);
        check(|n| n as u32 * 7);
        check(|n| n as u64 * 1_000_003);
    }
}
