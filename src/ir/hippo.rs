//! The HiPPO matrices that initialise state space models.

use nalgebra::{Complex, DMatrix};

/// The largest size whose eigenvalues are computed.
pub(super) const MAX_SIZE: i64 = 2048;

/// An element of the HiPPO-LegS matrix, the same for every size that has it.
///
/// # Source
/// Gu et al. 2020, eq. 3
pub(super) fn legs(n: i64, k: i64) -> f64 {
    let (row, column) = (n as f64, k as f64);
    match n.cmp(&k) {
        std::cmp::Ordering::Greater => -libm::sqrt((2.0 * row + 1.0) * (2.0 * column + 1.0)),
        std::cmp::Ordering::Equal => -(row + 1.0),
        std::cmp::Ordering::Less => 0.0,
    }
}

/// The imaginary parts of the eigenvalues of the normal part of HiPPO-LegS of size `n`, ascending; all real parts
/// are -1/2.
///
/// With `p[i] = sqrt(i + 1/2)`, `A + p p^T` is -1/2 on the diagonal and skew-symmetric beside it: -1/2 + S. Then
/// `-i S` is Hermitian, and its eigenvalues are what is asked for.
///
/// # Source
/// Smith et al. 2022 (S5), §B.1
pub(super) fn normal_frequencies(n: usize) -> Vec<f64> {
    let skew = |row: usize, column: usize| {
        let product = libm::sqrt((row as f64 + 0.5) * (column as f64 + 0.5));
        match row.cmp(&column) {
            std::cmp::Ordering::Greater => -product,
            std::cmp::Ordering::Equal => 0.0,
            std::cmp::Ordering::Less => product,
        }
    };
    let hermitian = DMatrix::from_fn(n, n, |row, column| Complex::new(0.0, -skew(row, column)));
    let mut found: Vec<f64> = hermitian.symmetric_eigenvalues().iter().copied().collect();
    found.sort_by(f64::total_cmp);
    // They come in pairs of opposite sign: the mean of two estimates keeps that exact.
    (0..n).map(|i| (found[i] - found[n - 1 - i]) / 2.0).collect()
}
