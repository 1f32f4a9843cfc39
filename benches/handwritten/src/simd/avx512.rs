//! 512 bits: AVX-512 F, BW, DQ and VL.

use std::arch::asm;
use std::arch::x86_64::*;

use super::{Kernel, Simd};

/// The proof that the host has AVX-512.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

/// Runs a kernel that is compiled for AVX-512.
///
/// # Safety
/// The host has AVX-512 F, BW, DQ and VL, and what [`super::avx2`] needs.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2")]
pub(super) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512(()))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn pin(mut a: __m512) -> __m512 {
    // SAFETY: no instruction, so nothing changes.
    unsafe { asm!("/* {0} */", inout(zmm_reg) a, options(nomem, nostack, preserves_flags)) };
    a
}

#[inline(always)]
fn mask(n: usize) -> __mmask16 {
    (1_u16 << n) - 1
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
impl Simd for Avx512 {
    type V = __m512;
    type D = __m512d;
    type Table = [__m512; 2];
    const LANES: usize = 16;
    const REGISTERS: usize = 32;

    operations! {
        splat(x: f32) -> __m512 = _mm512_set1_ps(x);
        add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        fma(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        fnma(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fnmadd_ps(a, b, c);
        fms(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmsub_ps(a, b, c);
        max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        negative_abs(a: __m512) -> __m512 = _mm512_or_ps(a, _mm512_set1_ps(-0.0));
        select_by_sign(sign: __m512, a: __m512, b: __m512) -> __m512 =
            _mm512_mask_mov_ps(a, _mm512_movepi32_mask(_mm512_castps_si512(sign)), b);
        reciprocal_estimate(a: __m512) -> __m512 = _mm512_rcp14_ps(a);
        // Rounds towards -inf and raises no exception.
        split(z: __m512) -> (__m512, __m512) = (_mm512_reduce_ps::<0x09>(z), z);
        scale(p: __m512, z: __m512) -> __m512 = _mm512_scalef_ps(p, z);
        exponent_mantissa(a: __m512) -> (__m512, __m512) =
            (_mm512_getexp_ps(a), _mm512_getmant_ps::<_MM_MANT_NORM_1_2, _MM_MANT_SIGN_ZERO>(a));
        sum(a: __m512) -> f32 = _mm512_reduce_add_ps(a);
        pin(a: __m512) -> __m512 = pin(a);
        splat_f64(x: f64) -> __m512d = _mm512_set1_pd(x);
        add_f64(a: __m512d, b: __m512d) -> __m512d = _mm512_add_pd(a, b);
        mul_f64(a: __m512d, b: __m512d) -> __m512d = _mm512_mul_pd(a, b);
        fma_f64(a: __m512d, b: __m512d, c: __m512d) -> __m512d = _mm512_fmadd_pd(a, b, c);
        look_up_exponent(t: [__m512; 2], a: __m512) -> __m512 =
            _mm512_permutex2var_ps(t[0], _mm512_srli_epi32::<23>(_mm512_castps_si512(a)), t[1]);
        // The larger magnitude, its sign cleared.
        larger_abs(a: __m512, b: __m512) -> __m512 = _mm512_range_ps::<0x0b>(a, b);
        sums(rows: &[__m512]) -> __m512 = sums(rows);
    }

    #[inline(always)]
    fn table(self, values: &[f32; 32]) -> Self::Table {
        let from = values.as_ptr();
        // SAFETY: `2` vectors are 32 values.
        unsafe { [_mm512_loadu_ps(from), _mm512_loadu_ps(from.add(16))] }
    }

    // SAFETY: what the caller must see to stands at the trait.
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m512 {
        // SAFETY: as required of the caller.
        unsafe { _mm512_loadu_ps(from) }
    }

    // SAFETY: what the caller must see to stands at the trait.
    #[inline(always)]
    unsafe fn load_part(self, from: *const f32, n: usize) -> __m512 {
        // SAFETY: lanes outside of the mask are not accessed.
        unsafe { _mm512_maskz_loadu_ps(mask(n), from) }
    }

    // SAFETY: what the caller must see to stands at the trait.
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: __m512) {
        // SAFETY: as required of the caller.
        unsafe { _mm512_storeu_ps(to, v) }
    }

    // SAFETY: what the caller must see to stands at the trait.
    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, v: __m512, n: usize) {
        // SAFETY: lanes outside of the mask are not accessed.
        unsafe { _mm512_mask_storeu_ps(to, mask(n), v) }
    }

    // SAFETY: what the caller must see to stands at the trait.
    #[inline(always)]
    unsafe fn stream(self, to: *mut f32, v: __m512) {
        // SAFETY: as required of the caller.
        unsafe { _mm512_stream_ps(to, v) }
    }

    // SAFETY: what the caller must see to stands at the trait.
    #[inline(always)]
    unsafe fn load_f64(self, from: *const f64) -> __m512d {
        // SAFETY: as required of the caller.
        unsafe { _mm512_loadu_pd(from) }
    }

    // SAFETY: what the caller must see to stands at the trait.
    #[inline(always)]
    unsafe fn store_f64(self, to: *mut f64, v: __m512d) {
        // SAFETY: as required of the caller.
        unsafe { _mm512_storeu_pd(to, v) }
    }

    #[inline(always)]
    fn splat_from_end<const K: usize>(self, a: __m512) -> __m512 {
        // SAFETY: `self` exists only where the host has the instructions.
        unsafe { _mm512_permutexvar_ps(_mm512_set1_epi32(15 - K as i32), a) }
    }

    #[inline(always)]
    fn splat_from_end_f64<const K: usize>(self, a: __m512d) -> __m512d {
        // SAFETY: `self` exists only where the host has the instructions.
        unsafe { _mm512_permutexvar_pd(_mm512_set1_epi64(7 - K as i64), a) }
    }

    #[inline(always)]
    fn shift_in<const K: usize>(self, high: __m512, low: __m512) -> __m512 {
        // SAFETY: `self` exists only where the host has the instructions.
        unsafe {
            let (high, low) = (_mm512_castps_si512(high), _mm512_castps_si512(low));
            _mm512_castsi512_ps(match K {
                1 => _mm512_alignr_epi32::<15>(high, low),
                2 => _mm512_alignr_epi32::<14>(high, low),
                4 => _mm512_alignr_epi32::<12>(high, low),
                8 => _mm512_alignr_epi32::<8>(high, low),
                _ => unreachable!("shifts are by powers of two below the lane count"),
            })
        }
    }
}

/// Adds pairs of rows while interleaving them, so that every step halves the number of vectors.
#[target_feature(enable = "avx512f")]
#[inline]
fn sums(rows: &[__m512]) -> __m512 {
    let rows: &[__m512; 16] = rows.first_chunk().expect("a row for every lane");
    // Two rows: in every quarter (0 and 2, 1 and 3) of each.
    let pair = |a, b| _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    // Four rows: the sum of a quarter of each.
    let four = |k: usize| {
        let a = _mm512_castps_pd(pair(rows[k], rows[k + 1]));
        let b = _mm512_castps_pd(pair(rows[k + 2], rows[k + 3]));
        _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)))
    };
    // Twice: neighbouring quarters added.
    let quarters = |a, b| _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
    quarters(quarters(four(0), four(4)), quarters(four(8), four(12)))
}
