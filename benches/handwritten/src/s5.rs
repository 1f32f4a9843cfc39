//! S5: a complex diagonal transition between two dense products.
//!
//! ```text
//! x[p]    = a[p]·x[p] + sum[h](B[p, h]·u[t, h])
//! y[t, h] = 2·Re(sum[p](C[h, p]·x[p])) + D[h]·u[t, h]
//! ```
//!
//! A tile of 64 steps is one matrix product (all inputs times B, real parts beside imaginary parts), a scan in place
//! with the states in registers, and another product (2C, with the sign of the imaginary part in it). The matrices are
//! packed in panels of two vectors, and eight rows go against a panel at a time. With more threads, tiles are taken in
//! turn: only the scan waits for the tile before.
//!
//! Source: Smith, Warrington and Linderman 2023, eq. 5; Goto and van de Geijn 2008 (panels).

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::memory::{Aligned, Error, Shared, expect, parallel, place, round_up};
use crate::simd::{Isa, Kernel, Simd, unroll};

/// Steps in a tile.
const TILE: usize = 64;

/// Rows against one panel at a time.
const ROWS: usize = 8;

/// A matrix in panels of 32 columns, `[panels, rows, 32]`, zeros where there is no column.
///
/// At 512 bits a panel is two vectors; at 256 bits its halves are worked off one after the other.
#[derive(Clone)]
struct Panels {
    rows: usize,
    columns: usize,
    values: Aligned,
}

/// Columns of a panel.
const PANEL: usize = 32;

impl Panels {
    fn new(rows: usize, columns: usize, value: impl Fn(usize, usize) -> f32) -> Self {
        let panels = columns.div_ceil(PANEL);
        let mut values = Aligned::zeros(panels * rows * PANEL);
        for j in 0..columns {
            for i in 0..rows {
                values[(j / PANEL * rows + i) * PANEL + j % PANEL] = value(i, j);
            }
        }
        Self { rows, columns, values }
    }
}

/// The parameters of a layer.
#[derive(Clone)]
pub struct S5 {
    states: usize,
    width: usize,
    /// Real parts, then imaginary parts, each padded to `row`.
    a: Aligned,
    /// States, padded to whole lines.
    row: usize,
    /// `[width, 2·row]`.
    b: Panels,
    /// `[2·row, width]`.
    c: Panels,
    d: Vec<f32>,
    /// What was given: `[a, B, C]`, real and imaginary parts.
    given: [Vec<f32>; 6],
}

/// Real and imaginary parts.
pub type Complex<'a> = [&'a [f32]; 2];

impl S5 {
    /// # Shapes
    /// a: `[states]`; b: `[states, width]`; c: `[width, states]`; d: `[width]`
    /// # Errors
    /// An array of another length.
    pub fn new(states: usize, width: usize, a: Complex, b: Complex, c: Complex, d: &[f32]) -> Result<Self, Error> {
        for k in 0..2 {
            expect("a", a[k].len(), states)?;
            expect("b", b[k].len(), states * width)?;
            expect("c", c[k].len(), states * width)?;
        }
        expect("d", d.len(), width)?;
        let row = round_up(states, 16);
        let mut diagonal = Aligned::zeros(2 * row);
        diagonal[..states].copy_from_slice(a[0]);
        diagonal[row..][..states].copy_from_slice(a[1]);
        let b_panels =
            Panels::new(width, 2 * row, |h, k| if k % row < states { b[k / row][k % row * width + h] } else { 0.0 });
        let c_panels = Panels::new(2 * row, width, |k, h| {
            let sign = if k < row { 2.0 } else { -2.0 };
            if k % row < states { sign * c[k / row][h * states + k % row] } else { 0.0 }
        });
        let given = [a[0], a[1], b[0], b[1], c[0], c[1]].map(<[f32]>::to_vec);
        Ok(Self { states, width, a: diagonal, row, b: b_panels, c: c_panels, d: d.to_vec(), given })
    }

    /// The recurrence as it stands.
    ///
    /// # Shapes
    /// u, y: `[steps, width]`; state: `[2, states]`, real and imaginary parts, in and out
    /// # Errors
    /// An array of another length.
    pub fn plain(&self, steps: usize, u: &[f32], state: &mut [f32], y: &mut [f32]) -> Result<(), Error> {
        self.check(steps, u, state, y)?;
        let (states, width) = (self.states, self.width);
        let [ar, ai, br, bi, cr, ci] = &self.given;
        let (re, im) = state.split_at_mut(states);
        for t in 0..steps {
            let u = &u[t * width..][..width];
            for p in 0..states {
                let (mut r, mut i) = (0.0, 0.0);
                for h in 0..width {
                    r += br[p * width + h] * u[h];
                    i += bi[p * width + h] * u[h];
                }
                (re[p], im[p]) = (ar[p] * re[p] - ai[p] * im[p] + r, ar[p] * im[p] + ai[p] * re[p] + i);
            }
            for h in 0..width {
                let mut sum = 0.0;
                for p in 0..states {
                    sum += cr[h * states + p] * re[p] - ci[h * states + p] * im[p];
                }
                y[t * width + h] = 2.0 * sum + self.d[h] * u[h];
            }
        }
        Ok(())
    }

    fn check(&self, steps: usize, u: &[f32], state: &[f32], y: &[f32]) -> Result<(), Error> {
        expect("u", u.len(), steps * self.width)?;
        expect("state", state.len(), 2 * self.states)?;
        expect("y", y.len(), steps * self.width)
    }

    /// The recurrence, tile by tile.
    ///
    /// # Shapes
    /// As for [`S5::plain`].
    /// # Errors
    /// An array of another length.
    pub fn run(
        &self,
        isa: Isa,
        threads: usize,
        steps: usize,
        u: &[f32],
        state: &mut [f32],
        y: &mut [f32],
    ) -> Result<(), Error> {
        // Matrices without entries have no panels either.
        if isa.lanes() == 1 || !isa.is_available() || self.states == 0 || self.width == 0 {
            return self.plain(steps, u, state, y);
        }
        self.check(steps, u, state, y)?;
        let (states, row) = (self.states, self.row);
        let mut padded = Aligned::zeros(2 * row);
        for k in 0..2 {
            padded[k * row..][..states].copy_from_slice(&state[k * states..][..states]);
        }
        let (next, scanned) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (shared, y) = (Shared::new(&mut padded), Shared::new(y));
        parallel(threads, |_| {
            isa.run(Part { layer: self, steps, u, next: &next, scanned: &scanned, state: shared, y });
        });
        for k in 0..2 {
            state[k * states..][..states].copy_from_slice(&padded[k * row..][..states]);
        }
        Ok(())
    }
}

struct Part<'a> {
    layer: &'a S5,
    steps: usize,
    u: &'a [f32],
    /// The tile that nobody has taken yet.
    next: &'a AtomicUsize,
    /// Tiles whose scan is done.
    scanned: &'a AtomicUsize,
    state: Shared<'a, f32>,
    y: Shared<'a, f32>,
}

impl Kernel for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (width, row) = (self.layer.width, self.layer.row);
        let mut x = Aligned::zeros(TILE * 2 * row);
        loop {
            let tile = self.next.fetch_add(1, Ordering::Relaxed);
            let t0 = tile * TILE;
            if t0 >= self.steps {
                break;
            }
            let steps = TILE.min(self.steps - t0);
            let u = &self.u[t0 * width..][..steps * width];
            let to = Shared::new(&mut x);
            product::<S, false>(s, steps, u, width, &self.layer.b, (to, 0, 2 * row), (&[], &[]));
            // Whoever has the tile before is running, so this ends.
            while self.scanned.load(Ordering::Acquire) != tile {
                std::hint::spin_loop();
            }
            self.scan(s, steps, to);
            self.scanned.store(tile + 1, Ordering::Release);
            let skip = (self.layer.d.as_slice(), u);
            product::<S, true>(s, steps, &x, 2 * row, &self.layer.c, (self.y, t0 * width, width), skip);
        }
    }
}

impl Part<'_> {
    /// Runs the diagonal transition over a tile, in place.
    #[inline(always)]
    fn scan<S: Simd>(&self, s: S, steps: usize, x: Shared<f32>) {
        let (w, row) = (S::LANES, self.layer.row);
        let mut p = 0;
        while p < row {
            if p + 4 * w <= row {
                self.scan_block::<S, 4>(s, steps, x, p);
                p += 4 * w;
            } else {
                self.scan_block::<S, 1>(s, steps, x, p);
                p += w;
            }
        }
    }

    #[inline(always)]
    fn scan_block<S: Simd, const NV: usize>(&self, s: S, steps: usize, x: Shared<f32>, p: usize) {
        let (w, row) = (S::LANES, self.layer.row);
        // SAFETY: `NV` vectors from `p` on are inside of a row; the tile belongs to this thread, and the state to the one
        // whose turn it is.
        unsafe {
            let zero = s.splat(0.0);
            let (mut ar, mut ai, mut re, mut im) = ([zero; NV], [zero; NV], [zero; NV], [zero; NV]);
            for v in 0..NV {
                ar[v] = s.load(place(&self.layer.a, p + v * w, w));
                ai[v] = s.load(place(&self.layer.a, row + p + v * w, w));
                re[v] = s.load(self.state.place(p + v * w, w));
                im[v] = s.load(self.state.place(row + p + v * w, w));
            }
            for t in 0..steps {
                for v in 0..NV {
                    let to_re = x.place(t * 2 * row + p + v * w, w);
                    let to_im = x.place(t * 2 * row + row + p + v * w, w);
                    let r = s.fma(ar[v], re[v], s.fnma(ai[v], im[v], s.load(to_re)));
                    let i = s.fma(ar[v], im[v], s.fma(ai[v], re[v], s.load(to_im)));
                    (re[v], im[v]) = (r, i);
                    s.store(to_re, r);
                    s.store(to_im, i);
                }
            }
            for v in 0..NV {
                s.store(self.state.place(p + v * w, w), re[v]);
                s.store(self.state.place(row + p + v * w, w), im[v]);
            }
        }
    }
}

/// `to = from·panels`, plus `d·u` with `SKIP`.
///
/// # Shapes
/// from: `[steps, depth]`; to: rows of the last number, from the second number on
#[inline(always)]
fn product<S: Simd, const SKIP: bool>(
    s: S,
    steps: usize,
    from: &[f32],
    depth: usize,
    panels: &Panels,
    to: (Shared<f32>, usize, usize),
    skip: (&[f32], &[f32]),
) {
    let mut j = 0;
    while j < panels.columns {
        let mut t = 0;
        while t < steps {
            if t + ROWS <= steps {
                block::<S, ROWS, SKIP>(s, t, from, depth, panels, j, to, skip);
                t += ROWS;
            } else {
                block::<S, 1, SKIP>(s, t, from, depth, panels, j, to, skip);
                t += 1;
            }
        }
        j += 2 * S::LANES;
    }
}

/// `M` rows against two vectors of columns from `j` on.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "two matrices and the coordinates of a block")]
fn block<S: Simd, const M: usize, const SKIP: bool>(
    s: S,
    t: usize,
    from: &[f32],
    depth: usize,
    panels: &Panels,
    j: usize,
    (to, start, row): (Shared<f32>, usize, usize),
    (d, u): (&[f32], &[f32]),
) {
    let w = S::LANES;
    // SAFETY: rows from `t` to `t + M` are inside of `from` and of the output, whose rows have as many values as there
    // are columns; panels are whole; no other thread has these rows.
    unsafe {
        let mut sum = [[s.splat(0.0); 2]; M];
        let panel =
            place(&panels.values, j / PANEL * panels.rows * PANEL + j % PANEL, (panels.rows.max(1) - 1) * PANEL);
        let rows = place(from, t * depth, M * depth);
        for k in 0..depth {
            let b = [s.load(panel.add(k * PANEL)), s.load(panel.add(k * PANEL + w))];
            for m in 0..M {
                let a = s.broadcast(rows.add(m * depth + k));
                sum[m][0] = s.fma(a, b[0], sum[m][0]);
                sum[m][1] = s.fma(a, b[1], sum[m][1]);
            }
        }
        for m in 0..M {
            unroll!(V in [0 1] {
                let at = j + V * S::LANES;
                if at < panels.columns {
                    let n = panels.columns - at;
                    let valid = n.min(w);
                    let mut value = sum[m][V];
                    if SKIP {
                        let u = s.load_up_to(place(u, (t + m) * row + at, valid), n);
                        value = s.fma(s.load_up_to(place(d, at, valid), n), u, value);
                    }
                    s.store_up_to(to.place(start + (t + m) * row + at, valid), value, n);
                }
            });
        }
    }
}
