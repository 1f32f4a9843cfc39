//! Second-order sections of one channel:
//! `y[t] = b0·x[t] + b1·x[t-1] + b2·x[t-2] - a1·y[t-1] - a2·y[t-2]`.
//!
//! With constant coefficients the lanes lie along time: a vector of `W` outputs is a sum of `W + 2` inputs, each times
//! its column of the section's response, and of the two outputs before, each times the answer to it. The columns stay in
//! registers; only the last two multiply-adds wait for the vector before. In f64 half as many lanes do the same.
//!
//! With varying coefficients, what does not feed back is a vector pass into a small buffer, and the chain that is left
//! is one multiply-add a step: the product with y[t-2] is ready before y[t-1] is.
//!
//! Two threads take half of the time each; the second starts at rest, and what it has missed is put on top until it has
//! decayed.

use crate::memory::{Error, Shared, expect, parallel, place};
use crate::simd::{Isa, Kernel, Simd, unroll};

/// `[b0, b1, b2, a1, a2]`, with a0 = 1.
pub type Section<T> = [T; 5];

/// Steps of the buffer of [`varying`].
const TILE: usize = 256;

macro_rules! plain {
    ($name:ident, $t:ty) => {
        /// The section as it stands, from rest.
        ///
        /// # Errors
        /// Arrays of different lengths.
        pub fn $name(c: &Section<$t>, x: &[$t], y: &mut [$t]) -> Result<(), Error> {
            expect("y", y.len(), x.len())?;
            let (mut x1, mut x2, mut y1, mut y2) = (0.0, 0.0, 0.0, 0.0);
            for (&x, y) in x.iter().zip(y) {
                *y = c[0] * x + c[1] * x1 + c[2] * x2 - c[3] * y1 - c[4] * y2;
                (x2, x1, y2, y1) = (x1, x, y1, *y);
            }
            Ok(())
        }
    };
}
plain!(plain_f32, f32);
plain!(plain_f64, f64);

/// The section with a coefficient array for each of `[b0, b1, b2, a1, a2]` as it stands, from rest.
///
/// # Errors
/// Arrays of different lengths.
pub fn plain_varying(c: [&[f32]; 5], x: &[f32], y: &mut [f32]) -> Result<(), Error> {
    check(c, x, y)?;
    let (mut x1, mut x2, mut y1, mut y2) = (0.0, 0.0, 0.0, 0.0);
    for t in 0..x.len() {
        y[t] = c[0][t] * x[t] + c[1][t] * x1 + c[2][t] * x2 - c[3][t] * y1 - c[4][t] * y2;
        (x2, x1, y2, y1) = (x1, x[t], y1, y[t]);
    }
    Ok(())
}

fn check(c: [&[f32]; 5], x: &[f32], y: &[f32]) -> Result<(), Error> {
    for (c, name) in c.iter().zip(["b0", "b1", "b2", "a1", "a2"]) {
        expect(name, c.len(), x.len())?;
    }
    expect("y", y.len(), x.len())
}

/// The columns of a block of `W` steps.
struct Columns {
    /// What input `k - 2` adds to each output; there are `W + 2`.
    input: [[f64; 16]; 18],
    /// What the last output before the block adds, and the one before it.
    output: [[f64; 16]; 2],
}

impl Columns {
    fn new(c: &Section<f64>, steps: usize) -> Self {
        let respond = |(mut y1, mut y2): (f64, f64), drive: &dyn Fn(usize) -> f64| {
            let mut column = [0.0; 16];
            for (t, y) in column.iter_mut().take(steps).enumerate() {
                *y = drive(t) - c[3] * y1 - c[4] * y2;
                (y2, y1) = (y1, *y);
            }
            column
        };
        let input = std::array::from_fn(|k| {
            // Input k - 2 meets coefficient t - (k - 2) at step t.
            respond((0.0, 0.0), &|t| match (t + 2).checked_sub(k) {
                Some(lag @ 0..3) => c[lag],
                _ => 0.0,
            })
        });
        let none: &dyn Fn(usize) -> f64 = &|_| 0.0;
        Self { input, output: [respond((1.0, 0.0), none), respond((0.0, 1.0), none)] }
    }
}

macro_rules! constant {
    ($name:ident, $plain:ident, $t:ty, $part:ident) => {
        /// The section on lanes, from rest.
        ///
        /// # Errors
        /// Arrays of different lengths.
        pub fn $name(isa: Isa, threads: usize, c: &Section<$t>, x: &[$t], y: &mut [$t]) -> Result<(), Error> {
            if isa.lanes() == 1 || !isa.is_available() {
                return $plain(c, x, y);
            }
            expect("y", y.len(), x.len())?;
            let cut = if threads > 1 && x.len() >= 4096 { x.len() / 2 / 16 * 16 } else { x.len() };
            let shared = Shared::new(&mut *y);
            parallel(if cut < x.len() { 2 } else { 1 }, |n| {
                let (x, from) = if n == 0 { (&x[..cut], 0) } else { (&x[cut..], cut) };
                isa.run($part { c, x, from, y: shared });
            });
            if cut < x.len() {
                // The second half has missed two inputs and two outputs.
                let (mut y1, mut y2) = (y[cut - 1], y[cut - 2]);
                for (t, y) in y[cut..].iter_mut().enumerate() {
                    let missed = match t {
                        0 => c[1] * x[cut - 1] + c[2] * x[cut - 2],
                        1 => c[2] * x[cut - 1],
                        _ => 0.0,
                    };
                    let add = missed - c[3] * y1 - c[4] * y2;
                    if t > 1 && add.abs() + y1.abs() < <$t>::MIN_POSITIVE {
                        break;
                    }
                    *y += add;
                    (y2, y1) = (y1, add);
                }
            }
            Ok(())
        }

        struct $part<'a> {
            c: &'a Section<$t>,
            x: &'a [$t],
            from: usize,
            y: Shared<'a, $t>,
        }
    };
}
constant!(constant_f32, plain_f32, f32, PartF32);
constant!(constant_f64, plain_f64, f64, PartF64);

/// Writes the steps that do not fill a vector, going on from what is there.
macro_rules! rest {
    ($self:ident, $t:ident) => {
        let (x, c) = ($self.x, $self.c);
        let back = |i: usize, k: usize| if i < k { 0.0 } else { x[i - k] };
        for i in $t..x.len() {
            // SAFETY: outputs up to `i` belong to this part, and those before it are written.
            unsafe {
                let y = $self.y.place($self.from, x.len());
                let y1 = if i < 1 { 0.0 } else { *y.add(i - 1) };
                let y2 = if i < 2 { 0.0 } else { *y.add(i - 2) };
                *y.add(i) = c[0] * x[i] + c[1] * back(i, 1) + c[2] * back(i, 2) - c[3] * y1 - c[4] * y2;
            }
        }
    };
}

impl Kernel for PartF32<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let w = S::LANES;
        let columns = Columns::new(&self.c.map(f64::from), w);
        let zero = s.splat(0.0);
        let mut g = [zero; 18];
        let mut r = [zero; 2];
        for (to, from) in g.iter_mut().chain(&mut r).zip(columns.input.iter().chain(&columns.output)) {
            let column = from.map(|v| v as f32);
            // SAFETY: a column has 16 values.
            *to = unsafe { s.load(column.as_ptr()) };
        }
        let (mut y1, mut y2) = (zero, zero);
        let (mut x1, mut x2) = (zero, zero);
        let mut t = 0;
        while t + w <= self.x.len() {
            // SAFETY: `w` inputs and outputs from `t` on are there; no other part has these outputs.
            unsafe {
                let x = place(self.x, t, w);
                let mut even = s.mul(g[0], x2);
                let mut odd = s.mul(g[1], x1);
                unroll!(K in [0 1 2 3 4 5 6 7] {
                    if 2 * K < S::LANES {
                        even = s.fma(g[2 * K + 2], s.broadcast(x.add(2 * K)), even);
                        odd = s.fma(g[2 * K + 3], s.broadcast(x.add(2 * K + 1)), odd);
                    }
                });
                let y = s.fma(r[0], y1, s.fma(r[1], y2, s.add(even, odd)));
                s.store(self.y.place(self.from + t, w), y);
                (y1, y2) = (s.splat_from_end::<0>(y), s.splat_from_end::<1>(y));
                (x1, x2) = (s.broadcast(x.add(w - 1)), s.broadcast(x.add(w - 2)));
            }
            t += w;
        }
        rest!(self, t);
    }
}

impl Kernel for PartF64<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let w = S::LANES / 2;
        let columns = Columns::new(self.c, w);
        let zero = s.splat_f64(0.0);
        let mut g = [zero; 10];
        let mut r = [zero; 2];
        for (to, from) in g.iter_mut().zip(&columns.input).chain(r.iter_mut().zip(&columns.output)) {
            // SAFETY: a column has 16 values.
            *to = unsafe { s.load_f64(from.as_ptr()) };
        }
        let (mut y1, mut y2) = (zero, zero);
        let (mut x1, mut x2) = (zero, zero);
        let mut t = 0;
        while t + w <= self.x.len() {
            // SAFETY: `w` inputs and outputs from `t` on are there; no other part has these outputs.
            unsafe {
                let x = place(self.x, t, w);
                let mut even = s.mul_f64(g[0], x2);
                let mut odd = s.mul_f64(g[1], x1);
                unroll!(K in [0 1 2 3] {
                    if 4 * K < S::LANES {
                        even = s.fma_f64(g[2 * K + 2], s.splat_f64(*x.add(2 * K)), even);
                        odd = s.fma_f64(g[2 * K + 3], s.splat_f64(*x.add(2 * K + 1)), odd);
                    }
                });
                let y = s.fma_f64(r[0], y1, s.fma_f64(r[1], y2, s.add_f64(even, odd)));
                s.store_f64(self.y.place(self.from + t, w), y);
                (y1, y2) = (s.splat_from_end_f64::<0>(y), s.splat_from_end_f64::<1>(y));
                (x1, x2) = (s.splat_f64(*x.add(w - 1)), s.splat_f64(*x.add(w - 2)));
            }
            t += w;
        }
        rest!(self, t);
    }
}

/// The section with a coefficient array for each of `[b0, b1, b2, a1, a2]`, from rest.
///
/// # Errors
/// Arrays of different lengths.
pub fn varying(isa: Isa, c: [&[f32]; 5], x: &[f32], y: &mut [f32]) -> Result<(), Error> {
    check(c, x, y)?;
    match isa.run(Varying { c, x, y: &mut *y }) {
        Some(()) => Ok(()),
        None => plain_varying(c, x, y),
    }
}

struct Varying<'a> {
    c: [&'a [f32]; 5],
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Varying<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (w, len) = (S::LANES, self.x.len());
        let [b0, b1, b2, a1, a2] = self.c;
        let mut u = [0.0_f32; TILE];
        let (mut y1, mut y2) = (0.0_f32, 0.0_f32);
        for t0 in (0..len).step_by(TILE) {
            let steps = TILE.min(len - t0);
            let mut i = 0;
            while i < steps {
                let t = t0 + i;
                if t < 2 || i + w > steps {
                    // The first two inputs have no past; what does not fill a vector goes one by one.
                    let back = |k: usize| if t < k { 0.0 } else { self.x[t - k] };
                    u[i] = b0[t] * self.x[t] + b1[t] * back(1) + b2[t] * back(2);
                    i += 1;
                    continue;
                }
                // SAFETY: `w` steps from `t` on and two before it are inside of the arrays, whose lengths were compared.
                unsafe {
                    let two = s.mul(s.load(place(b2, t, w)), s.load(place(self.x, t - 2, w)));
                    let one = s.fma(s.load(place(b1, t, w)), s.load(place(self.x, t - 1, w)), two);
                    s.store(u.as_mut_ptr().add(i), s.fma(s.load(place(b0, t, w)), s.load(place(self.x, t, w)), one));
                }
                i += w;
            }
            let rows = self.y[t0..][..steps].iter_mut().zip(&u).zip(&a1[t0..]).zip(&a2[t0..]);
            for (((y, u), a1), a2) in rows {
                *y = (-a1).mul_add(y1, (-a2).mul_add(y2, *u));
                (y2, y1) = (y1, *y);
            }
        }
    }
}
