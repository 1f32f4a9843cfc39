//! Linear systems with a symmetric positive definite matrix, by Cholesky's factorisation.
//!
//! In: the matrices, and for each of them right sides. Out: the solutions; NaN where a matrix is not positive
//! definite, which is reported. Everything is computed in the type of the elements, in one order.

use std::ops::{Div, Mul, Sub};

use crate::kernel::NEVER;
use crate::tensor::Float;

/// How many unknowns a system may have.
pub const MAX_UNKNOWNS: usize = 64;

/// Solves systems; says whether all matrices are positive definite.
///
/// # Shapes
/// matrix: `[systems, n, n]`, of which the lower triangle is used; right and solution: `[systems, sides, n]`
///
/// # Panics
/// If the slices have other lengths, or `n` is larger than [`MAX_UNKNOWNS`].
pub fn solve<F>(matrix: &[F], right: &[F], solution: &mut [F], n: usize, sides: usize) -> bool
where
    F: Float + Sub<Output = F> + Mul<Output = F> + Div<Output = F>,
{
    assert!(n <= MAX_UNKNOWNS, "{n} unknowns");
    assert_eq!(right.len(), solution.len(), "a solution for each right side");
    let mut factor = [F::default(); MAX_UNKNOWNS * MAX_UNKNOWNS];
    let factor = &mut factor[..n * n];
    let mut definite = true;
    if n == 0 || sides == 0 {
        return definite;
    }
    assert_eq!(matrix.len() * sides, right.len() * n, "right sides for each matrix");
    let systems = matrix.chunks_exact(n * n).zip(right.chunks_exact(sides * n));
    for ((matrix, right), solution) in systems.zip(solution.chunks_exact_mut(sides * n)) {
        if !factorise(matrix, factor, n) {
            definite = false;
            solution.fill(F::from_f64(f64::NAN));
            continue;
        }
        solution.copy_from_slice(right);
        for x in solution.chunks_exact_mut(n) {
            substitute(factor, x, n);
        }
    }
    definite
}

/// The lower triangle `L` with `L Lᵀ == matrix`, where there is one.
fn factorise<F>(matrix: &[F], factor: &mut [F], n: usize) -> bool
where
    F: Float + Sub<Output = F> + Mul<Output = F> + Div<Output = F>,
{
    for i in 0..n {
        for j in 0..=i {
            let mut rest = matrix[i * n + j];
            for k in 0..j {
                rest = rest - factor[i * n + k] * factor[j * n + k];
            }
            factor[i * n + j] = if i > j {
                rest / factor[j * n + j]
            } else {
                let pivot = rest.to_f64();
                if pivot.is_nan() || pivot <= 0.0 || pivot.is_infinite() {
                    return false;
                }
                F::from_f64(pivot.sqrt())
            };
        }
    }
    true
}

/// Solves `L Lᵀ x == b` in place of `b`.
fn substitute<F>(factor: &[F], x: &mut [F], n: usize)
where
    F: Float + Sub<Output = F> + Mul<Output = F> + Div<Output = F>,
{
    for i in 0..n {
        let mut rest = x[i];
        for k in 0..i {
            rest = rest - factor[i * n + k] * x[k];
        }
        x[i] = rest / factor[i * n + i];
    }
    for i in (0..n).rev() {
        let mut rest = x[i];
        for k in i + 1..n {
            rest = rest - factor[k * n + i] * x[k];
        }
        x[i] = rest / factor[i * n + i];
    }
}

/// Declares the routine that kernels call, for one type.
macro_rules! routine {
    ($name:ident, $ty:ty) => {
        /// Solves systems for a kernel, and writes the step down where a matrix is not positive definite.
        ///
        /// # Safety
        /// `matrix` has `systems * n * n` elements, `right` and `solution` have `systems * sides * n`; they do not
        /// overlap the solution, `n` is up to [`MAX_UNKNOWNS`], and all addresses are aligned. `report` is the
        /// address of one number that nothing else accesses meanwhile.
        pub unsafe extern "C" fn $name(
            matrix: *const $ty,
            right: *const $ty,
            solution: *mut $ty,
            n: u64,
            systems: u64,
            sides: u64,
            report: *mut u64,
            step: u64,
        ) {
            let (n, systems, sides) = (n as usize, systems as usize, sides as usize);
            // SAFETY: the caller vouches for the addresses and their extents.
            let (matrix, right, solution, report) = unsafe {
                (
                    std::slice::from_raw_parts(matrix, systems * n * n),
                    std::slice::from_raw_parts(right, systems * sides * n),
                    std::slice::from_raw_parts_mut(solution, systems * sides * n),
                    &mut *report,
                )
            };
            if !solve(matrix, right, solution, n, sides) {
                *report = if *report == NEVER { step } else { step.min(*report) };
            }
        }
    };
}

routine!(ssmc_solve_f32, f32);
routine!(ssmc_solve_f64, f64);

/// The symbols of the routines, with their addresses.
pub fn routines() -> Vec<(&'static str, *const u8)> {
    vec![("ssmc_solve_f32", ssmc_solve_f32 as *const u8), ("ssmc_solve_f64", ssmc_solve_f64 as *const u8)]
}
