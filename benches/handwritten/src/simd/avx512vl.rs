//! 256 bits with the instructions and the 32 registers of AVX-512.

use std::arch::asm;
use std::arch::x86_64::*;

use super::{Kernel, Simd, avx2};

/// The proof that the host has AVX-512 with VL.
#[derive(Clone, Copy)]
pub(super) struct Avx512Vl(());

/// Runs a kernel that is compiled for AVX-512 at 256 bits.
///
/// # Safety
/// The host has AVX-512 F, BW, DQ and VL, and what [`avx2`] needs.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2")]
pub(super) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512Vl(()))
}

#[target_feature(enable = "avx512f,avx512vl")]
#[inline]
fn pin(mut a: __m256) -> __m256 {
    // SAFETY: no instruction, so nothing changes.
    unsafe { asm!("/* {0} */", inout(ymm_reg) a, options(nomem, nostack, preserves_flags)) };
    a
}

#[target_feature(enable = "avx512f,avx512vl")]
#[inline]
fn look_up_exponent(t: [__m256; 4], a: __m256) -> __m256 {
    let place = _mm256_srli_epi32::<23>(_mm256_castps_si256(a));
    let low = _mm256_permutex2var_ps(t[0], place, t[1]);
    let high = _mm256_permutex2var_ps(t[2], place, t[3]);
    _mm256_mask_mov_ps(low, _mm256_test_epi32_mask(place, _mm256_set1_epi32(16)), high)
}

#[inline(always)]
fn mask(n: usize) -> __mmask8 {
    (1_u8 << n) - 1
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
impl Simd for Avx512Vl {
    type V = __m256;
    type D = __m256d;
    type Table = [__m256; 4];
    const LANES: usize = 8;
    const REGISTERS: usize = 32;

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
        select_by_sign(sign: __m256, a: __m256, b: __m256) -> __m256 =
            _mm256_mask_mov_ps(a, _mm256_movepi32_mask(_mm256_castps_si256(sign)), b);
        reciprocal_estimate(a: __m256) -> __m256 = _mm256_rcp14_ps(a);
        // Rounds towards -inf and raises no exception.
        split(z: __m256) -> (__m256, __m256) = (_mm256_reduce_ps::<0x09>(z), z);
        scale(p: __m256, z: __m256) -> __m256 = _mm256_scalef_ps(p, z);
        exponent_mantissa(a: __m256) -> (__m256, __m256) =
            (_mm256_getexp_ps(a), _mm256_getmant_ps::<_MM_MANT_NORM_1_2, _MM_MANT_SIGN_ZERO>(a));
        sum(a: __m256) -> f32 = avx2::sum(a);
        pin(a: __m256) -> __m256 = pin(a);
        splat_f64(x: f64) -> __m256d = _mm256_set1_pd(x);
        add_f64(a: __m256d, b: __m256d) -> __m256d = _mm256_add_pd(a, b);
        mul_f64(a: __m256d, b: __m256d) -> __m256d = _mm256_mul_pd(a, b);
        fma_f64(a: __m256d, b: __m256d, c: __m256d) -> __m256d = _mm256_fmadd_pd(a, b, c);
        look_up_exponent(t: [__m256; 4], a: __m256) -> __m256 = look_up_exponent(t, a);
        // The larger magnitude, its sign cleared.
        larger_abs(a: __m256, b: __m256) -> __m256 = _mm256_range_ps::<0x0b>(a, b);
        sums(rows: &[__m256]) -> __m256 = avx2::sums(rows);
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

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m256 {
        // SAFETY: as required of the caller.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_part(self, from: *const f32, n: usize) -> __m256 {
        // SAFETY: lanes outside of the mask are not accessed.
        unsafe { _mm256_maskz_loadu_ps(mask(n), from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: __m256) {
        // SAFETY: as required of the caller.
        unsafe { _mm256_storeu_ps(to, v) }
    }

    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, v: __m256, n: usize) {
        // SAFETY: lanes outside of the mask are not accessed.
        unsafe { _mm256_mask_storeu_ps(to, mask(n), v) }
    }

    #[inline(always)]
    unsafe fn stream(self, to: *mut f32, v: __m256) {
        // SAFETY: as required of the caller.
        unsafe { _mm256_stream_ps(to, v) }
    }

    #[inline(always)]
    unsafe fn load_f64(self, from: *const f64) -> __m256d {
        // SAFETY: as required of the caller.
        unsafe { _mm256_loadu_pd(from) }
    }

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
        unsafe { avx2::splat_from_end_f64::<K>(a) }
    }

    #[inline(always)]
    fn shift_in<const K: usize>(self, high: __m256, low: __m256) -> __m256 {
        // SAFETY: `self` exists only where the host has the instructions.
        unsafe {
            let (high, low) = (_mm256_castps_si256(high), _mm256_castps_si256(low));
            _mm256_castsi256_ps(match K {
                1 => _mm256_alignr_epi32::<7>(high, low),
                2 => _mm256_alignr_epi32::<6>(high, low),
                4 => _mm256_alignr_epi32::<4>(high, low),
                _ => unreachable!("shifts are by powers of two below the lane count"),
            })
        }
    }
}
