//! 256 bits: AVX2 and FMA.

use std::arch::asm;
use std::arch::x86_64::*;

use super::{Kernel, Simd};

/// The proof that the host has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

/// Runs a kernel that is compiled for AVX2.
///
/// # Safety
/// The host has AVX2, FMA, BMI1 and BMI2.
#[target_feature(enable = "avx2,fma,bmi1,bmi2")]
pub(super) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2(()))
}

#[target_feature(enable = "avx2")]
#[inline]
fn pin(mut a: __m256) -> __m256 {
    // SAFETY: no instruction, so nothing changes.
    unsafe { asm!("/* {0} */", inout(ymm_reg) a, options(nomem, nostack, preserves_flags)) };
    a
}

/// All bits of the first `n` lanes.
#[target_feature(enable = "avx2")]
#[inline]
fn mask(n: usize) -> __m256i {
    _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
}

macro_rules! operations {
    ($($name:ident($($a:ident: $t:ty),*) -> $r:ty = $e:expr;)*) => { $(
        #[inline(always)]
        fn $name(self, $($a: $t),*) -> $r {
            // SAFETY: `self` exists only where the host has the instructions.
            unsafe { $e }
        }
    )* };
}

// What callers of the unsafe functions have to see to stands at [`Simd`].
impl Simd for Avx2 {
    type V = __m256;
    type D = __m256d;
    type Table = [__m256; 4];
    const LANES: usize = 8;
    const REGISTERS: usize = 16;

    operations! {
        splat(x: f32) -> __m256 = _mm256_set1_ps(x);
        add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        fma(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        fnma(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fnmadd_ps(a, b, c);
        fms(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmsub_ps(a, b, c);
        max(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        negative_abs(a: __m256) -> __m256 = _mm256_or_ps(a, _mm256_set1_ps(-0.0));
        select_by_sign(sign: __m256, a: __m256, b: __m256) -> __m256 = _mm256_blendv_ps(a, b, sign);
        reciprocal_estimate(a: __m256) -> __m256 = reciprocal_estimate(a);
        split(z: __m256) -> (__m256, __m256) = split(z);
        scale(p: __m256, z: __m256) -> __m256 = scale(p, z);
        exponent_mantissa(a: __m256) -> (__m256, __m256) = exponent_mantissa(a);
        sum(a: __m256) -> f32 = sum(a);
        pin(a: __m256) -> __m256 = pin(a);
        splat_f64(x: f64) -> __m256d = _mm256_set1_pd(x);
        add_f64(a: __m256d, b: __m256d) -> __m256d = _mm256_add_pd(a, b);
        mul_f64(a: __m256d, b: __m256d) -> __m256d = _mm256_mul_pd(a, b);
        fma_f64(a: __m256d, b: __m256d, c: __m256d) -> __m256d = _mm256_fmadd_pd(a, b, c);
        look_up_exponent(t: [__m256; 4], a: __m256) -> __m256 = look_up_exponent(t, a);
        larger_abs(a: __m256, b: __m256) -> __m256 = larger_abs(a, b);
        sums(rows: &[__m256]) -> __m256 = sums(rows);
    }

    #[inline(always)]
    fn table(self, values: &[f32; 32]) -> Self::Table {
        let from = values.as_ptr();
        // SAFETY: `4` vectors are 32 values.
        unsafe {
            [
                _mm256_loadu_ps(from),
                _mm256_loadu_ps(from.add(8)),
                _mm256_loadu_ps(from.add(16)),
                _mm256_loadu_ps(from.add(24)),
            ]
        }
    }

    // SAFETY: what the caller must see to stands at the trait.
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m256 {
        // SAFETY: as required of the caller.
        unsafe { _mm256_loadu_ps(from) }
    }

    // SAFETY: what the caller must see to stands at the trait.
    #[inline(always)]
    unsafe fn load_part(self, from: *const f32, n: usize) -> __m256 {
        // SAFETY: lanes outside of the mask are not accessed.
        unsafe { _mm256_maskload_ps(from, mask(n)) }
    }

    // SAFETY: what the caller must see to stands at the trait.
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: __m256) {
        // SAFETY: as required of the caller.
        unsafe { _mm256_storeu_ps(to, v) }
    }

    // SAFETY: what the caller must see to stands at the trait.
    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, v: __m256, n: usize) {
        // SAFETY: lanes outside of the mask are not accessed.
        unsafe { _mm256_maskstore_ps(to, mask(n), v) }
    }

    // SAFETY: what the caller must see to stands at the trait.
    #[inline(always)]
    unsafe fn stream(self, to: *mut f32, v: __m256) {
        // SAFETY: as required of the caller.
        unsafe { _mm256_stream_ps(to, v) }
    }

    // SAFETY: what the caller must see to stands at the trait.
    #[inline(always)]
    unsafe fn load_f64(self, from: *const f64) -> __m256d {
        // SAFETY: as required of the caller.
        unsafe { _mm256_loadu_pd(from) }
    }

    // SAFETY: what the caller must see to stands at the trait.
    #[inline(always)]
    unsafe fn store_f64(self, to: *mut f64, v: __m256d) {
        // SAFETY: as required of the caller.
        unsafe { _mm256_storeu_pd(to, v) }
    }

    #[inline(always)]
    fn splat_from_end<const K: usize>(self, a: __m256) -> __m256 {
        // SAFETY: `self` exists only where the host has the instructions.
        unsafe { _mm256_permutevar8x32_ps(a, _mm256_set1_epi32(7 - K as i32)) }
    }

    #[inline(always)]
    fn splat_from_end_f64<const K: usize>(self, a: __m256d) -> __m256d {
        // SAFETY: `self` exists only where the host has the instructions.
        unsafe { splat_from_end_f64::<K>(a) }
    }

    #[inline(always)]
    fn shift_in<const K: usize>(self, high: __m256, low: __m256) -> __m256 {
        // SAFETY: `self` exists only where the host has the instructions.
        unsafe { shift_in::<K>(high, low) }
    }
}

/// The upper half of `low` beside the lower half of `high`; shorter shifts take their lanes from there.
#[target_feature(enable = "avx2")]
#[inline]
fn shift_in<const K: usize>(high: __m256, low: __m256) -> __m256 {
    let middle = _mm256_permute2f128_ps::<0x21>(low, high);
    let (h, m) = (_mm256_castps_si256(high), _mm256_castps_si256(middle));
    match K {
        1 => _mm256_castsi256_ps(_mm256_alignr_epi8::<12>(h, m)),
        2 => _mm256_castsi256_ps(_mm256_alignr_epi8::<8>(h, m)),
        4 => middle,
        _ => unreachable!("shifts are by powers of two below the lane count"),
    }
}

/// Lane `3 - K` everywhere.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn splat_from_end_f64<const K: usize>(a: __m256d) -> __m256d {
    match K {
        0 => _mm256_permute4x64_pd::<0xff>(a),
        _ => _mm256_permute4x64_pd::<0xaa>(a),
    }
}

/// The processor's estimate has 12 bits; one Newton step doubles them.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn reciprocal_estimate(a: __m256) -> __m256 {
    let r = _mm256_rcp_ps(a);
    _mm256_fmadd_ps(r, _mm256_fnmadd_ps(a, r, _mm256_set1_ps(1.0)), r)
}

/// Arguments outside of the exponent's range are moved to its ends, where [`scale`] gives 0 and infinity.
#[target_feature(enable = "avx2")]
#[inline]
fn split(z: __m256) -> (__m256, __m256) {
    let z = _mm256_min_ps(_mm256_set1_ps(128.0), _mm256_max_ps(_mm256_set1_ps(-127.0), z));
    let floor = _mm256_floor_ps(z);
    (_mm256_sub_ps(z, floor), floor)
}

/// Puts `floor` into the exponent of a factor; -127 and 128 become 0 and infinity.
#[target_feature(enable = "avx2")]
#[inline]
fn scale(p: __m256, floor: __m256) -> __m256 {
    let biased = _mm256_add_epi32(_mm256_cvtps_epi32(floor), _mm256_set1_epi32(127));
    _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased)))
}

/// Looks in all quarters of the table, and chooses by the two upper bits of the place.
#[target_feature(enable = "avx2")]
#[inline]
fn look_up_exponent(t: [__m256; 4], a: __m256) -> __m256 {
    let place = _mm256_srli_epi32::<23>(_mm256_castps_si256(a));
    let bit3 = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(place));
    let bit4 = _mm256_castsi256_ps(_mm256_slli_epi32::<27>(place));
    let low = _mm256_blendv_ps(_mm256_permutevar8x32_ps(t[0], place), _mm256_permutevar8x32_ps(t[1], place), bit3);
    let high = _mm256_blendv_ps(_mm256_permutevar8x32_ps(t[2], place), _mm256_permutevar8x32_ps(t[3], place), bit3);
    _mm256_blendv_ps(low, high, bit4)
}

#[target_feature(enable = "avx2")]
#[inline]
fn larger_abs(a: __m256, b: __m256) -> __m256 {
    let sign = _mm256_set1_ps(-0.0);
    _mm256_max_ps(_mm256_andnot_ps(sign, a), _mm256_andnot_ps(sign, b))
}

#[target_feature(enable = "avx2")]
#[inline]
fn exponent_mantissa(a: __m256) -> (__m256, __m256) {
    let bits = _mm256_castps_si256(a);
    let exponent = _mm256_sub_epi32(_mm256_srli_epi32::<23>(bits), _mm256_set1_epi32(127));
    let mantissa = _mm256_and_si256(bits, _mm256_set1_epi32(0x007f_ffff));
    let mantissa = _mm256_or_si256(mantissa, _mm256_set1_epi32(0x3f80_0000));
    (_mm256_cvtepi32_ps(exponent), _mm256_castsi256_ps(mantissa))
}

/// Halves, then quarters, then neighbours.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn sum(a: __m256) -> f32 {
    let half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
    let quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
    _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)))
}

/// Adds pairs of rows while interleaving them, so that every step halves the number of vectors.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn sums(rows: &[__m256]) -> __m256 {
    let rows: &[__m256; 8] = rows.first_chunk().expect("a row for every lane");
    // Two rows: in every half (0 and 2, 1 and 3) of each.
    let pair = |a, b| _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    // Four rows: the sum of a half of each.
    let four = |k: usize| {
        let a = _mm256_castps_pd(pair(rows[k], rows[k + 1]));
        let b = _mm256_castps_pd(pair(rows[k + 2], rows[k + 3]));
        _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(a, b)), _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)))
    };
    let (a, b) = (four(0), four(4));
    _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b))
}
