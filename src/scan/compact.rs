//! What the summary of a stretch costs for a low-rank transition: dense, or compact.
//!
//! The transition of a step is `A = D + U Vᵀ` with `D` diagonal, `n` by `n`, and `U` and `V` with `r` columns. Over a stretch
//! of `L` steps its product `P` is held in one of two ways:
//!
//! - *dense*, as `n` by `n` numbers: a step is `D P + U (Vᵀ P)`, `(2 r + 1) n²` multiply-adds, whatever came before;
//! - *compact*, as `diag(Λ) + W Zᵀ` with `r` more columns at every step (the WY form of products of Householder
//!   matrices: Bischof and Van Loan 1987): behind `t` steps, `D W` and `Vᵀ W` and their product with `Z` are
//!   `(2 r + 1) n r t`.
//!
//! To apply a summary to a state of `m` columns costs `m n²`, or `2 m n r L`. Summed over a stretch, a compact product is
//! the cheaper one to make for `r L < 2 n`, and the cheaper one to apply for `2 r L < n`. Running a stretch costs `(2 r + 1) m n`
//! a step in either way, and is done in order too.
//!
//! Stretches have at least [`super::LEAST`] steps, since there are never more than [`super::MOST`] of a long sequence. So
//! the summaries that [`super::group`] makes are dense. No code takes this choice: what is here is built for tests alone,
//! and fails if stretches become so short that compact summaries should be built.

use super::LEAST;
use super::choose::MARGIN;

/// A low-rank transition, and the stretches over which it is summarised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    /// The elements of the state along the mixed indices.
    size: u64,
    /// The elements of the state along the batch indices that share a transition.
    columns: u64,
    /// The rank of one step.
    rank: u64,
    /// The steps of a stretch.
    steps: u64,
}

/// Multiply-adds for a stretch.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cost {
    /// To make the summary.
    make: f64,
    /// To apply it.
    apply: f64,
    /// To run the stretch from its true start.
    run: f64,
}

impl Cost {
    /// All of it.
    fn all(&self) -> f64 {
        self.make + self.apply + self.run
    }
}

impl Shape {
    fn numbers(&self) -> [f64; 4] {
        [self.size, self.columns, self.rank, self.steps].map(|n| n as f64)
    }

    /// With a product of `n` by `n` numbers.
    fn dense(&self) -> Cost {
        let [n, m, r, steps] = self.numbers();
        Cost { make: steps * (2.0 * r + 1.0) * n * n, apply: m * n * n, run: self.run() }
    }

    /// With a product of a diagonal and as many columns as steps times rank; loops run as far as there are columns.
    fn compact(&self) -> Cost {
        let [n, m, r, steps] = self.numbers();
        let make = (2.0 * r + 1.0) * n * r * steps * (steps - 1.0) / 2.0;
        Cost { make, apply: 2.0 * m * n * r * steps, run: self.run() }
    }

    fn run(&self) -> f64 {
        let [n, m, r, steps] = self.numbers();
        steps * (2.0 * r + 1.0) * m * n
    }

    /// In order: only what the run of stretches does.
    fn in_order(&self) -> f64 {
        self.run()
    }
}

/// Whether compact summaries make a scan that is worth taking on that many threads: faster than with dense ones, and,
/// as [`mod@super::choose`] asks, by its margin faster than running in order.
fn pays(shape: &Shape, threads: u64) -> bool {
    let compact = shape.compact().all();
    compact < shape.dense().all() && compact / threads as f64 * MARGIN < shape.in_order()
}

fn shape(size: u64, columns: u64, rank: u64, steps: u64) -> Shape {
    Shape { size, columns, rank, steps }
}

/// Counts what the two ways do by doing it, without the numbers.
fn counted(shape: &Shape) -> (u64, u64) {
    let Shape { size: n, rank: r, steps, .. } = *shape;
    let (mut dense, mut compact, mut columns) = (0, 0, 0);
    for _ in 0..steps {
        // D P, then Vᵀ P, then U times that.
        dense += n * n + r * n * n + n * r * n;
        // D W, then Vᵀ W, then Z times that.
        compact += n * columns + r * n * columns + n * columns * r;
        columns += r;
    }
    (dense, compact)
}

#[test]
fn formulas_are_the_loops_counts() {
    for shape in [shape(8, 4, 1, 16), shape(64, 64, 2, 256), shape(5, 1, 3, 7), shape(3, 3, 1, 1)] {
        let (dense, compact) = counted(&shape);
        assert_eq!(shape.dense().make, dense as f64, "{shape:?}");
        assert_eq!(shape.compact().make, compact as f64, "{shape:?}");
    }
}

#[test]
fn the_sides_turn_where_the_module_says() {
    for (n, r, steps) in [(64, 1, 100), (64, 1, 200), (256, 2, 200), (256, 2, 300), (128, 3, 64), (128, 3, 256)] {
        let shape = shape(n, n, r, steps);
        let (dense, compact) = (shape.dense(), shape.compact());
        assert_eq!(compact.make < dense.make, r * (steps - 1) < 2 * n, "{shape:?}");
        assert_eq!(compact.apply < dense.apply, 2 * r * steps < n, "{shape:?}");
    }
}

/// What the scan builds on: at its shortest stretches, summaries of the sizes that models have are cheaper dense.
#[test]
fn dense_summaries_are_the_cheaper_ones_that_are_worth_it() {
    let least = LEAST as u64;
    for rank in 1..=4 {
        for size in [8, 16, 32, 64, 128] {
            for columns in [size / 2, size, 2 * size] {
                let shape = shape(size, columns, rank, least);
                assert!(shape.dense().all() <= shape.compact().all() || !pays(&shape, 64), "{shape:?}");
            }
            // Vectors: neither is ever faster than running in order.
            assert!(!pays(&shape(size, 1, rank, least), 16), "{size} {rank}");
        }
    }
    // Two threads never pay, of any size.
    for size in [256, 512, 1024, 4096] {
        assert!(!pays(&shape(size, size, 1, least), 2), "{size}");
    }
    // Where a compact summary would pay: a matrix of 256 by 256 and more, and three idle threads.
    assert!(pays(&shape(256, 256, 1, least), 3));
    assert!(!pays(&shape(256, 256, 1, 2 * least), 3));
    assert!(!pays(&shape(256, 256, 2, least), 64));
}
