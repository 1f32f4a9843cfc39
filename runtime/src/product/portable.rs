//! Four elements in plain Rust, for processors without code of their own.

use super::{Checked, Element, Vector, Vectors, all};

/// Four elements.
#[derive(Clone, Copy)]
pub(super) struct Four<F>([F; 4]);

macro_rules! four {
    ($($float:ty)*) => {$(
        impl Vector for Four<$float> {
            type Real = $float;
            const LANES: usize = 4;

            #[inline(always)]
            unsafe fn zero() -> Self {
                Self([0.0; 4])
            }

            #[inline(always)]
            unsafe fn splat(at: *const $float) -> Self {
                // SAFETY: the caller has an element there.
                Self([unsafe { *at }; 4])
            }

            #[inline(always)]
            unsafe fn load(at: *const $float) -> Self {
                // SAFETY: the caller has four elements there.
                Self(unsafe { at.cast::<[$float; 4]>().read() })
            }

            #[inline(always)]
            unsafe fn store(self, at: *mut $float) {
                // SAFETY: the caller has four elements there.
                unsafe { at.cast::<[$float; 4]>().write(self.0) }
            }

            #[inline(always)]
            unsafe fn multiply_add(self, b: Self, c: Self) -> Self {
                let mut sum = c.0;
                for (sum, (a, b)) in sum.iter_mut().zip(self.0.iter().zip(b.0)) {
                    *sum += a * b;
                }
                Self(sum)
            }
        }
    )*};
}

four!(f32 f64);

#[cfg(not(target_arch = "x86_64"))]
macro_rules! real {
    ($($float:ty)*) => {$(
        impl Element for $float {
            #[allow(private_interfaces, reason = "only this module's parent makes operands")]
            unsafe fn run(_: Vectors, checked: &Checked<Self>) {
                // SAFETY: as the caller vouches.
                unsafe { all::<Four<$float>, 4, 2>(checked) }
            }
        }
    )*};
}

#[cfg(not(target_arch = "x86_64"))]
real!(f32 f64);
