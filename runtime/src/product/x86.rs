//! Vectors of x86-64: SSE2, AVX2 with FMA, AVX-512.

use std::arch::x86_64::*;

use super::{Checked, Element, Vector, Vectors, all};

macro_rules! vector {
    ($($name:ident($register:ty): $float:ty, $lanes:literal, $zero:ident, $splat:ident, $load:ident, $store:ident,
       |$a:ident, $b:ident, $c:ident| $fma:expr;)*) => {$(
        #[derive(Clone, Copy)]
        struct $name($register);

        impl Vector for $name {
            type Real = $float;
            const LANES: usize = $lanes;

            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY: the caller vouches for the instructions.
                Self(unsafe { $zero() })
            }

            #[inline(always)]
            unsafe fn splat(at: *const $float) -> Self {
                // SAFETY: the caller vouches for the instructions and the element.
                Self(unsafe { $splat(*at) })
            }

            #[inline(always)]
            unsafe fn load(at: *const $float) -> Self {
                // SAFETY: the caller vouches for the instructions and the elements.
                Self(unsafe { $load(at) })
            }

            #[inline(always)]
            unsafe fn store(self, at: *mut $float) {
                // SAFETY: the caller vouches for the instructions and the elements.
                unsafe { $store(at, self.0) }
            }

            #[inline(always)]
            unsafe fn multiply_add(self, b: Self, c: Self) -> Self {
                let ($a, $b, $c) = (self.0, b.0, c.0);
                // SAFETY: the caller vouches for the instructions.
                Self(unsafe { $fma })
            }
        }
    )*};
}

vector! {
    F32x4(__m128): f32, 4, _mm_setzero_ps, _mm_set1_ps, _mm_loadu_ps, _mm_storeu_ps,
        |a, b, c| _mm_add_ps(_mm_mul_ps(a, b), c);
    F64x2(__m128d): f64, 2, _mm_setzero_pd, _mm_set1_pd, _mm_loadu_pd, _mm_storeu_pd,
        |a, b, c| _mm_add_pd(_mm_mul_pd(a, b), c);
    F32x8(__m256): f32, 8, _mm256_setzero_ps, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps,
        |a, b, c| _mm256_fmadd_ps(a, b, c);
    F64x4(__m256d): f64, 4, _mm256_setzero_pd, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd,
        |a, b, c| _mm256_fmadd_pd(a, b, c);
    F32x16(__m512): f32, 16, _mm512_setzero_ps, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps,
        |a, b, c| _mm512_fmadd_ps(a, b, c);
    F64x8(__m512d): f64, 8, _mm512_setzero_pd, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd,
        |a, b, c| _mm512_fmadd_pd(a, b, c);
}

macro_rules! real {
    ($($float:ty: $narrow:ident $avx2:ident $avx512:ident, $at_256:ident $at_512:ident;)*) => {$(
        /// # Safety
        /// The host has AVX2 and FMA; else as for [`all`].
        #[target_feature(enable = "avx2,fma")]
        unsafe fn $at_256(p: &Checked<$float>) {
            // SAFETY: as for this function.
            unsafe { all::<$avx2, 6, 2>(p) }
        }

        /// # Safety
        /// The host has AVX-512 F; else as for [`all`].
        #[target_feature(enable = "avx512f")]
        unsafe fn $at_512(p: &Checked<$float>) {
            // SAFETY: as for this function.
            unsafe { all::<$avx512, 8, 2>(p) }
        }

        impl Element for $float {
            #[allow(private_interfaces, reason = "only this module's parent makes operands")]
            unsafe fn run(vectors: Vectors, p: &Checked<Self>) {
                // SAFETY: as the caller vouches.
                unsafe {
                    match vectors {
                        Vectors::Narrow => all::<$narrow, 4, 2>(p),
                        Vectors::Avx2 => $at_256(p),
                        Vectors::Avx512 => $at_512(p),
                    }
                }
            }
        }
    )*};
}

real! {
    f32: F32x4 F32x8 F32x16, f32_256 f32_512;
    f64: F64x2 F64x4 F64x8, f64_256 f64_512;
}
