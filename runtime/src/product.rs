//! Products of small matrices that stay in the caches.
//!
//! In: `A` with any strides, `B` and `C` row by row. Out: `C = A B`, or `C += A B`. Nothing is packed: the elements of
//! `A` are broadcast, a few rows of `C` stay in registers, and the columns of `B` and `C` are taken in whole vectors, so that
//! their rows are padded to a multiple of [`PAD`]. The sums run in the order of the inner index, each element of `C` by
//! itself: with one instruction set, results do not depend on the other rows and columns.
//!
//! A library's product would choose its instructions by itself; these stay within the ones that are asked for.

#[cfg(not(target_arch = "x86_64"))]
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::{Add, AddAssign, Mul, MulAssign};

/// The rows of `B` and `C` are padded to a multiple of that many elements.
pub const PAD: usize = 16;

/// The vector instructions that a product stays within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vectors {
    /// 128 bits, on any processor.
    Narrow,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 F.
    Avx512,
}

impl Vectors {
    /// All of them, the narrowest first.
    pub const ALL: [Self; 3] = [Self::Narrow, Self::Avx2, Self::Avx512];

    /// Whether the host has them.
    pub fn is_here(self) -> bool {
        match self {
            Self::Narrow => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }
}

/// The left factor: element `(i, k)` stands at `i * row + k * column`.
#[derive(Clone, Copy, Debug)]
pub struct Left<'a, F> {
    /// The elements.
    pub elements: &'a [F],
    /// From row to row.
    pub row: usize,
    /// From column to column.
    pub column: usize,
}

/// The right factor: rows of whole vectors.
#[derive(Clone, Copy, Debug)]
pub struct Right<'a, F> {
    /// The elements.
    pub elements: &'a [F],
    /// From row to row.
    pub row: usize,
}

/// What the product goes to, or is added to: rows of whole vectors.
#[derive(Debug)]
pub struct Target<'a, F> {
    /// The elements.
    pub elements: &'a mut [F],
    /// From row to row.
    pub row: usize,
    /// Whether the product is added to what is there.
    pub add: bool,
}

/// The extents of a product: `C` is `rows` by `columns`, `inner` is what is summed over.
#[derive(Clone, Copy, Debug)]
pub struct Extents {
    /// Rows of `A` and `C`.
    pub rows: usize,
    /// Columns of `B` and `C`.
    pub columns: usize,
    /// Columns of `A`, rows of `B`.
    pub inner: usize,
}

/// Addresses and extents that were compared with the memory behind them.
struct Checked<F> {
    a: *const F,
    b: *const F,
    c: *mut F,
    strides: (usize, usize, usize, usize),
    extents: Extents,
    add: bool,
}

/// The elements of matrices: `f32` and `f64`.
pub trait Element: Copy + Add<Output = Self> + Mul<Output = Self> + AddAssign + MulAssign {
    /// `C = A B` or `C += A B`; the columns up to the next multiple of [`PAD`] are written too.
    ///
    /// # Panics
    /// If a matrix is shorter than its extents, padding included, or the host lacks the instructions.
    fn product(vectors: Vectors, extents: Extents, a: Left<'_, Self>, b: Right<'_, Self>, c: Target<'_, Self>) {
        let Extents { rows, columns, inner } = extents;
        if rows == 0 || columns == 0 {
            return;
        }
        let wide = columns.next_multiple_of(PAD);
        assert!(vectors.is_here(), "the processor has no {vectors:?}");
        assert!(c.elements.len() >= (rows - 1) * c.row + wide, "the target is shorter than the product");
        if inner > 0 {
            assert!(b.elements.len() >= (inner - 1) * b.row + wide, "the right factor is too short");
            assert!(a.elements.len() > (rows - 1) * a.row + (inner - 1) * a.column, "the left factor is too short");
        }
        let checked = Checked {
            a: a.elements.as_ptr(),
            b: b.elements.as_ptr(),
            c: c.elements.as_mut_ptr(),
            strides: (a.row, a.column, b.row, c.row),
            extents,
            add: c.add,
        };
        // SAFETY: the extents were compared with the memory, and the instructions with the host.
        unsafe { Self::run(vectors, &checked) }
    }

    /// # Safety
    /// The memory has the extents, columns rounded up to [`PAD`]; the host has the instructions.
    #[doc(hidden)]
    #[allow(private_interfaces, reason = "only this module makes operands")]
    unsafe fn run(vectors: Vectors, checked: &Checked<Self>);
}

/// A vector of reals.
trait Vector: Copy {
    /// What it holds.
    type Real: Copy;
    /// How many of them.
    const LANES: usize;

    /// # Safety
    /// The host has the instructions.
    unsafe fn zero() -> Self;

    /// # Safety
    /// As for [`Vector::zero`]; there is an element.
    unsafe fn splat(at: *const Self::Real) -> Self;

    /// # Safety
    /// As for [`Vector::zero`]; there are [`Vector::LANES`] elements.
    unsafe fn load(at: *const Self::Real) -> Self;

    /// # Safety
    /// As for [`Vector::load`].
    unsafe fn store(self, at: *mut Self::Real);

    /// `self * b + c`
    ///
    /// # Safety
    /// As for [`Vector::zero`].
    unsafe fn multiply_add(self, b: Self, c: Self) -> Self;
}

/// `M` rows, at most 8, and `N` vectors of the target, in registers.
///
/// # Safety
/// The rows and columns lie inside of the target; the host has the instructions.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "iterators over vectors are not inlined, and sums leave the registers")]
unsafe fn tile<V: Vector, const M: usize, const N: usize>(p: &Checked<V::Real>, row: usize, column: usize) {
    let (a_row, a_column, b_row, c_row) = p.strides;
    // SAFETY: all places lie inside of the matrices, as the caller vouches.
    unsafe {
        let mut sums = [[V::zero(); N]; M];
        // Rows of four have one address and three distances, so that no chain of additions finds them.
        let far = [0, a_row, 2 * a_row, 3 * a_row];
        let mut a = [p.a.wrapping_add(row * a_row), p.a.wrapping_add((row + 4) * a_row)];
        let mut b = p.b.wrapping_add(column);
        let c = p.c.wrapping_add(row * c_row + column);
        if p.add {
            for m in 0..M {
                for n in 0..N {
                    sums[m][n] = V::load(c.wrapping_add(m * c_row + n * V::LANES));
                }
            }
        }
        for _ in 0..p.extents.inner {
            let mut right = [V::zero(); N];
            for n in 0..N {
                right[n] = V::load(b.wrapping_add(n * V::LANES));
            }
            for m in 0..M {
                let left = V::splat(a[m / 4].wrapping_add(far[m % 4]));
                for n in 0..N {
                    sums[m][n] = left.multiply_add(right[n], sums[m][n]);
                }
            }
            a = [a[0].wrapping_add(a_column), a[1].wrapping_add(a_column)];
            b = b.wrapping_add(b_row);
        }
        for m in 0..M {
            for n in 0..N {
                sums[m][n].store(c.wrapping_add(m * c_row + n * V::LANES));
            }
        }
    }
}

/// All rows of `N` vectors of columns, `M` rows at a time.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn columns<V: Vector, const M: usize, const N: usize>(p: &Checked<V::Real>, column: usize) {
    let mut row = 0;
    // SAFETY: as for this function.
    unsafe {
        while row + M <= p.extents.rows {
            tile::<V, M, N>(p, row, column);
            row += M;
        }
        while row + 2 <= p.extents.rows {
            tile::<V, 2, N>(p, row, column);
            row += 2;
        }
        if row < p.extents.rows {
            tile::<V, 1, N>(p, row, column);
        }
    }
}

/// The whole product, in tiles of `M` rows and `N` vectors.
///
/// # Safety
/// The memory has the extents, columns rounded up to [`PAD`]; the host has the instructions.
#[inline(always)]
unsafe fn all<V: Vector, const M: usize, const N: usize>(p: &Checked<V::Real>) {
    let vectors = p.extents.columns.div_ceil(V::LANES);
    let mut at = 0;
    // SAFETY: as for this function; vectors of at most `PAD` elements end before the padding does.
    unsafe {
        while at + N <= vectors {
            columns::<V, M, N>(p, at * V::LANES);
            at += N;
        }
        while at < vectors {
            columns::<V, M, 1>(p, at * V::LANES);
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Float;

    fn fits<F: Float>(vectors: Vectors, tolerance: f64) {
        let number = |at: usize| F::from_f64(((at * 37 + 11) % 101) as f64 / 50.0 - 1.0);
        for rows in [1, 2, 3, 7, 8, 9, 17] {
            for columns in [1_usize, 5, 15, 16, 17, 40, 64] {
                for inner in [0, 1, 2, 33] {
                    for (a_row, a_column) in [(inner.max(1) + 3, 1), (1, rows + 2)] {
                        let wide = columns.next_multiple_of(PAD) + 16;
                        let a: Vec<F> = (0..rows * a_row + inner * a_column).map(number).collect();
                        let b: Vec<F> = (0..inner.max(1) * wide).map(|at| number(at + 5)).collect();
                        for add in [false, true] {
                            let mut c: Vec<F> = (0..rows * wide).map(|at| number(at + 9)).collect();
                            let before = c.clone();
                            F::product(
                                vectors,
                                Extents { rows, columns, inner },
                                Left { elements: &a, row: a_row, column: a_column },
                                Right { elements: &b, row: wide },
                                Target { elements: &mut c, row: wide, add },
                            );
                            for i in 0..rows {
                                for j in 0..columns {
                                    let old = if add { before[i * wide + j].to_f64() } else { 0.0 };
                                    let term =
                                        |k: usize| a[i * a_row + k * a_column].to_f64() * b[k * wide + j].to_f64();
                                    let sum = old + (0..inner).map(term).sum::<f64>();
                                    let found = c[i * wide + j].to_f64();
                                    assert!(
                                        (found - sum).abs() <= tolerance * (1.0 + inner as f64),
                                        "{vectors:?} {rows} {columns} {inner}: {found} for {sum} at {i}, {j}"
                                    );
                                }
                                let beyond = i * wide + columns.next_multiple_of(PAD)..(i + 1) * wide;
                                assert_eq!(c[beyond.clone()], before[beyond], "nothing behind the padding is touched");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn products_are_sums_of_products() {
        for vectors in Vectors::ALL.into_iter().filter(|v| v.is_here()) {
            fits::<f32>(vectors, 1e-6);
            fits::<f64>(vectors, 1e-15);
        }
    }

    #[test]
    #[should_panic(expected = "too short")]
    fn a_factor_that_is_too_short_is_refused() {
        let (a, b) = ([0.0_f32; 8], [0.0_f32; 31]);
        let mut c = [0.0_f32; 64];
        f32::product(
            Vectors::Narrow,
            Extents { rows: 4, columns: 3, inner: 2 },
            Left { elements: &a, row: 2, column: 1 },
            Right { elements: &b, row: 16 },
            Target { elements: &mut c, row: 16, add: false },
        );
    }
}
