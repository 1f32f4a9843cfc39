//! Blocks in the registers of x86-64.
//!
//! A register is filled with pieces of 128 bits, each from another row: loads that insert a piece cost no shuffle. The
//! pieces are chosen so that a transposition inside of each 128 bits, four by four elements of 4 bytes or two by two of
//! 8, leaves whole columns in registers.

use std::arch::x86_64::{
    __m128i, __m256i, __m512i, _MM_HINT_ET0, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm_sfence, _mm_storeu_si128,
    _mm_stream_si128, _mm_unpackhi_epi32, _mm_unpackhi_epi64, _mm_unpacklo_epi32, _mm_unpacklo_epi64,
    _mm256_castsi128_si256, _mm256_inserti128_si256, _mm256_storeu_si256, _mm256_stream_si256, _mm256_unpackhi_epi32,
    _mm256_unpackhi_epi64, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64, _mm512_castsi128_si512, _mm512_inserti32x4,
    _mm512_storeu_si512, _mm512_stream_si512, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64,
};

use super::{Far, LINE, Part, Reach, Sweep};

/// The sweeps of this machine for elements of 4 bytes, the widest first.
pub(super) fn sweeps_4() -> &'static [Sweep<u32>] {
    static ALL: [Sweep<u32>; 3] = [
        Sweep { block: 16, run: sweep_4_512 },
        Sweep { block: 8, run: sweep_4_256 },
        Sweep { block: 4, run: sweep_4_128 },
    ];
    &ALL[narrower()..]
}

/// The sweeps of this machine for elements of 8 bytes, the widest first.
pub(super) fn sweeps_8() -> &'static [Sweep<u64>] {
    static ALL: [Sweep<u64>; 3] = [
        Sweep { block: 8, run: sweep_8_512 },
        Sweep { block: 4, run: sweep_8_256 },
        Sweep { block: 2, run: sweep_8_128 },
    ];
    &ALL[narrower()..]
}

/// How many of the three widths the machine does not have.
fn narrower() -> usize {
    if is_x86_feature_detected!("avx512f") {
        0
    } else if is_x86_feature_detected!("avx2") {
        1
    } else {
        2
    }
}

pub(super) fn fence() {
    // SAFETY: every x86-64 has it.
    unsafe { _mm_sfence() };
}

#[inline(always)]
pub(super) fn fetch<T>(at: *const T) {
    // SAFETY: a prefetch accesses nothing, wherever it points.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
}

#[inline(always)]
pub(super) fn fetch_to_write<T>(at: *const T) {
    // SAFETY: a prefetch accesses nothing, wherever it points.
    unsafe { _mm_prefetch::<_MM_HINT_ET0>(at.cast()) };
}

/// Reaches for the lines of a block's columns that the next transposition writes.
#[inline(always)]
fn fetch_columns<T>(part: &Part<T>, r: usize, c: usize, block: usize, ahead: usize) {
    if (r * size_of::<T>()).is_multiple_of(LINE) {
        for c in c..c + block {
            fetch_to_write(part.to.wrapping_add(c * part.to_stride + r).wrapping_byte_add(ahead));
        }
    }
}

/// One piece of 128 bits.
#[inline(always)]
unsafe fn gather_128(at: *const __m128i, _: usize) -> __m128i {
    // SAFETY: the caller vouches for the piece.
    unsafe { _mm_loadu_si128(at) }
}

/// Two pieces, so many bytes apart.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn gather_256(at: *const __m128i, stride: usize) -> __m256i {
    // SAFETY: the caller vouches for the pieces.
    unsafe {
        let low = _mm256_castsi128_si256(_mm_loadu_si128(at));
        _mm256_inserti128_si256::<1>(low, _mm_loadu_si128(at.byte_add(stride)))
    }
}

/// Four pieces, each so many bytes behind the one before.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn gather_512(at: *const __m128i, stride: usize) -> __m512i {
    // SAFETY: the caller vouches for the pieces.
    unsafe {
        let all = _mm512_castsi128_si512(_mm_loadu_si128(at));
        let all = _mm512_inserti32x4::<1>(all, _mm_loadu_si128(at.byte_add(stride)));
        let all = _mm512_inserti32x4::<2>(all, _mm_loadu_si128(at.byte_add(2 * stride)));
        _mm512_inserti32x4::<3>(all, _mm_loadu_si128(at.byte_add(3 * stride)))
    }
}

/// A block of each size, and the loops around it, for registers of so many pieces.
macro_rules! width {
    (
        $feature:literal, $pieces:literal, $vector:ty, $gather:ident, $store:ident, $stream:ident,
        $low_4:ident, $high_4:ident, $low_8:ident, $high_8:ident,
        $block_4:ident, $block_8:ident, $sweep_4:ident, $sweep_8:ident
    ) => {
        #[inline]
        #[target_feature(enable = $feature)]
        unsafe fn $block_4<const PAST: bool>(from: *const u32, from_stride: usize, to: *mut u32, to_stride: usize) {
            for c in (0..4 * $pieces).step_by(4) {
                // SAFETY: the caller vouches for the block.
                unsafe {
                    let rows = |r: usize| $gather(from.add(r * from_stride + c).cast(), 16 * from_stride);
                    let put = |c: usize, v: $vector| {
                        let to = to.add(c * to_stride).cast();
                        if PAST { $stream(to, v) } else { $store(to, v) }
                    };
                    let (i, j, k, l) = (rows(0), rows(1), rows(2), rows(3));
                    let (ij_low, ij_high) = ($low_4(i, j), $high_4(i, j));
                    let (kl_low, kl_high) = ($low_4(k, l), $high_4(k, l));
                    put(c, $low_8(ij_low, kl_low));
                    put(c + 1, $high_8(ij_low, kl_low));
                    put(c + 2, $low_8(ij_high, kl_high));
                    put(c + 3, $high_8(ij_high, kl_high));
                }
            }
        }

        #[inline]
        #[target_feature(enable = $feature)]
        unsafe fn $block_8<const PAST: bool>(from: *const u64, from_stride: usize, to: *mut u64, to_stride: usize) {
            for c in (0..2 * $pieces).step_by(2) {
                // SAFETY: the caller vouches for the block.
                unsafe {
                    let rows = |r: usize| $gather(from.add(r * from_stride + c).cast(), 16 * from_stride);
                    let put = |c: usize, v: $vector| {
                        let to = to.add(c * to_stride).cast();
                        if PAST { $stream(to, v) } else { $store(to, v) }
                    };
                    let (i, j) = (rows(0), rows(1));
                    put(c, $low_8(i, j));
                    put(c + 1, $high_8(i, j));
                }
            }
        }

        sweep!($feature, u32, 4 * $pieces, $block_4, $sweep_4);
        sweep!($feature, u64, 2 * $pieces, $block_8, $sweep_8);
    };
}

/// Block after block, along the lines of what is written, where that is far.
macro_rules! sweep {
    ($feature:literal, $ty:ty, $n:expr, $block:ident, $sweep:ident) => {
        #[target_feature(enable = $feature)]
        unsafe fn $sweep(part: Part<$ty>, far: Far, reach: &mut Reach) {
            const N: usize = $n;
            let Part { from, from_stride, to, to_stride, rows, columns } = part;
            let place =
                |r: usize, c: usize| (from.wrapping_add(r * from_stride + c), to.wrapping_add(c * to_stride + r));
            let bytes = N * N * size_of::<$ty>();
            // SAFETY: the caller vouches for blocks that lie inside of both matrices, and for the lines of what goes
            // past the caches.
            unsafe {
                match far {
                    Far::None => {
                        for r in (0..rows).step_by(N) {
                            for c in (0..columns).step_by(N) {
                                reach.worked(bytes);
                                let (from, to) = place(r, c);
                                $block::<false>(from, from_stride, to, to_stride);
                            }
                        }
                    }
                    Far::To(ahead) => {
                        for c in (0..columns).step_by(N) {
                            for r in (0..rows).step_by(N) {
                                reach.worked(bytes);
                                fetch_columns(&part, r, c, N, ahead);
                                let (from, to) = place(r, c);
                                $block::<false>(from, from_stride, to, to_stride);
                            }
                        }
                    }
                    Far::Past(_) => {
                        for c in (0..columns).step_by(N) {
                            for r in (0..rows).step_by(N) {
                                reach.worked(bytes);
                                let (from, to) = place(r, c);
                                $block::<true>(from, from_stride, to, to_stride);
                            }
                        }
                    }
                }
            }
        }
    };
}

width!(
    "sse2",
    1,
    __m128i,
    gather_128,
    _mm_storeu_si128,
    _mm_stream_si128,
    _mm_unpacklo_epi32,
    _mm_unpackhi_epi32,
    _mm_unpacklo_epi64,
    _mm_unpackhi_epi64,
    block_4_128,
    block_8_128,
    sweep_4_128,
    sweep_8_128
);
width!(
    "avx2",
    2,
    __m256i,
    gather_256,
    _mm256_storeu_si256,
    _mm256_stream_si256,
    _mm256_unpacklo_epi32,
    _mm256_unpackhi_epi32,
    _mm256_unpacklo_epi64,
    _mm256_unpackhi_epi64,
    block_4_256,
    block_8_256,
    sweep_4_256,
    sweep_8_256
);
width!(
    "avx512f",
    4,
    __m512i,
    gather_512,
    _mm512_storeu_si512,
    _mm512_stream_si512,
    _mm512_unpacklo_epi32,
    _mm512_unpackhi_epi32,
    _mm512_unpacklo_epi64,
    _mm512_unpackhi_epi64,
    block_4_512,
    block_8_512,
    sweep_4_512,
    sweep_8_512
);
