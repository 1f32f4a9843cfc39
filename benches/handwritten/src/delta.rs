//! The delta rule: for each head a matrix S of `[values, keys]` is corrected towards `S·k = v`.
//!
//! ```text
//! u[i]    = beta[t]·(v[t, i] - sum[j](S[i, j]·k[t, j]))
//! S[i, j] = S[i, j] + u[i]·k[t, j]
//! y[t, i] = sum[j](S[i, j]·q[t, j])
//! ```
//!
//! The lanes lie along i and S is kept as `[keys, values]`, so that no sum crosses lanes. Two steps go over S in one
//! pass, and the pass that puts in the corrections of two steps also takes the products with k and q of the next two.
//! What those miss of each other is made up with the scalars k·k' and k·q', so S is read and written once for two steps
//! (the WY form of a product of two reflections).
//!
//! Source: Schlag et al. 2021; Yang et al. 2024, eq. 8 (WY).

use crate::memory::{Error, Shared, expect, parallel, place, round_up, share, streams};
use crate::simd::{Isa, Kernel, Simd, fence, prefetch_l2};

/// Steps in a pass.
const PASS: usize = 2;

/// Steps in a tile.
const TILE: usize = 64;

/// The extents: heads, keys (j) and values (i).
#[derive(Clone, Copy, Debug)]
pub struct Extents {
    /// Heads.
    pub heads: usize,
    /// Columns of S.
    pub keys: usize,
    /// Rows of S.
    pub values: usize,
}

impl Extents {
    /// Values from one row of the state to the next: the values and what fills a line.
    pub fn row(self) -> usize {
        round_up(self.values, 16)
    }

    /// Values of the state of [`run`]: `[heads, keys, row]`.
    pub fn state_len(self) -> usize {
        self.heads * self.keys * self.row()
    }
}

/// What a run reads.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// `[steps, heads, keys]`.
    pub q: &'a [f32],
    /// `[steps, heads, keys]`.
    pub k: &'a [f32],
    /// `[steps, heads, values]`.
    pub v: &'a [f32],
    /// `[steps, heads]`.
    pub beta: &'a [f32],
}

fn check(extents: Extents, steps: usize, inputs: &Inputs, y: &[f32]) -> Result<(), Error> {
    let Extents { heads, keys, values } = extents;
    expect("q", inputs.q.len(), steps * heads * keys)?;
    expect("k", inputs.k.len(), steps * heads * keys)?;
    expect("v", inputs.v.len(), steps * heads * values)?;
    expect("beta", inputs.beta.len(), steps * heads)?;
    expect("y", y.len(), steps * heads * values)
}

/// The recurrence as it stands.
///
/// # Shapes
/// state: `[heads, values, keys]`, in and out; y: `[steps, heads, values]`
/// # Errors
/// An array of another length.
pub fn plain(extents: Extents, steps: usize, inputs: &Inputs, state: &mut [f32], y: &mut [f32]) -> Result<(), Error> {
    check(extents, steps, inputs, y)?;
    let Extents { heads, keys, values } = extents;
    expect("state", state.len(), heads * keys * values)?;
    for i in 0..steps * heads {
        let (k, q) = (&inputs.k[i * keys..][..keys], &inputs.q[i * keys..][..keys]);
        let state = &mut state[i % heads * keys * values..][..keys * values];
        for r in 0..values {
            let row = &mut state[r * keys..][..keys];
            let read: f32 = row.iter().zip(k).map(|(s, k)| s * k).sum();
            let u = inputs.beta[i] * (inputs.v[i * values + r] - read);
            let mut sum = 0.0;
            for ((s, k), q) in row.iter_mut().zip(k).zip(q) {
                *s += u * k;
                sum += *s * q;
            }
            y[i * values + r] = sum;
        }
    }
    Ok(())
}

/// The recurrence, two steps in a pass.
///
/// # Shapes
/// state: `[heads, keys, row]` ([`Extents::state_len`]), or as for [`plain`] with [`Isa::Plain`], in and out;
/// y: `[steps, heads, values]`
/// # Errors
/// An array of another length.
pub fn run(
    isa: Isa,
    threads: usize,
    extents: Extents,
    steps: usize,
    inputs: &Inputs,
    state: &mut [f32],
    y: &mut [f32],
) -> Result<(), Error> {
    if isa.lanes() == 1 || !isa.is_available() {
        return plain(extents, steps, inputs, state, y);
    }
    check(extents, steps, inputs, y)?;
    expect("state", state.len(), extents.state_len())?;
    // In place of the step before the first and of the one behind the last.
    let nothing = vec![0.0; extents.keys.max(extents.values)];
    if extents.keys == 0 {
        y.fill(0.0);
        return Ok(());
    }
    let stream = streams(y, extents.values);
    let (state, y) = (Shared::new(state), Shared::new(y));
    parallel(threads, |n| {
        let heads = share(extents.heads, 1, n, threads.max(1));
        isa.run(Part { extents, heads, steps, stream, inputs: *inputs, nothing: &nothing, state, y });
    });
    Ok(())
}

struct Part<'a> {
    extents: Extents,
    heads: std::ops::Range<usize>,
    steps: usize,
    stream: bool,
    inputs: Inputs<'a>,
    nothing: &'a [f32],
    state: Shared<'a, f32>,
    y: Shared<'a, f32>,
}

impl Kernel for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // The corrections of the pass before, which the next pass puts into the state.
        let mut u = vec![0.0_f32; PASS * self.extents.row()];
        for t0 in (0..self.steps).step_by(TILE) {
            let end = self.steps.min(t0 + TILE);
            for head in self.heads.clone() {
                u.fill(0.0);
                let mut before = None;
                for t in (t0..end).step_by(PASS) {
                    self.pass(s, t, end, head, before, &mut u);
                    before = Some(t);
                }
                self.finish(s, end, head, before, &u);
            }
        }
        fence();
    }
}

/// a·b.
///
/// # Safety
/// Both have `n` values.
#[inline(always)]
unsafe fn dot<S: Simd>(s: S, a: *const f32, b: *const f32, n: usize) -> f32 {
    let mut sum = s.splat(0.0);
    let mut j = 0;
    while j < n {
        // SAFETY: `n - j` values are left.
        unsafe { sum = s.fma(s.load_up_to(a.add(j), n - j), s.load_up_to(b.add(j), n - j), sum) };
        j += S::LANES;
    }
    s.sum(sum)
}

impl Part<'_> {
    /// The keys of the steps of a pass, zeros for those that are not there.
    #[inline(always)]
    fn rows(&self, of: &[f32], t: Option<usize>, end: usize, head: usize) -> [*const f32; PASS] {
        let Extents { heads, keys, .. } = self.extents;
        let mut rows = [self.nothing.as_ptr(); PASS];
        if let Some(t) = t {
            for (k, row) in rows.iter_mut().enumerate() {
                if t + k < end {
                    *row = place(of, ((t + k) * heads + head) * keys, keys);
                }
            }
        }
        rows
    }

    /// Puts in the corrections of the pass before, and makes those of this one.
    #[inline(always)]
    fn pass<S: Simd>(&self, s: S, t: usize, end: usize, head: usize, before: Option<usize>, u: &mut [f32]) {
        let old = self.rows(self.inputs.k, before, end, head);
        let k = self.rows(self.inputs.k, Some(t), end, head);
        let q = self.rows(self.inputs.q, Some(t), end, head);
        let keys = self.extents.keys;
        // SAFETY: rows have `keys` values.
        let dots = unsafe {
            [dot(s, k[0], k[1], keys), dot(s, k[0], q[0], keys), dot(s, k[0], q[1], keys), dot(s, k[1], q[1], keys)]
        };
        let mut i = 0;
        while i < self.extents.values {
            if i + 4 * S::LANES <= self.extents.values {
                self.block::<S, 4>(s, t, end, head, i, [old, k, q], dots, u);
                i += 4 * S::LANES;
            } else {
                self.block::<S, 1>(s, t, end, head, i, [old, k, q], dots, u);
                i += S::LANES;
            }
        }
    }

    /// A pass over `NV` vectors of values.
    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "the coordinates of a block and what its pass shares")]
    fn block<S: Simd, const NV: usize>(
        &self,
        s: S,
        t: usize,
        end: usize,
        head: usize,
        i: usize,
        [old, k, q]: [[*const f32; PASS]; 3],
        [kk, kq0, kq01, kq1]: [f32; 4],
        u: &mut [f32],
    ) {
        let Extents { heads, keys, .. } = self.extents;
        let (w, row) = (S::LANES, self.extents.row());
        // SAFETY: rows of keys have `keys` values; values from `i` on are inside of all arrays; rows of the state and of `u` are whole lines; no other part has this head.
        unsafe {
            let zero = s.splat(0.0);
            let (mut u0, mut u1) = ([zero; NV], [zero; NV]);
            for v in 0..NV {
                u0[v] = s.load(place(u, i + v * w, w));
                u1[v] = s.load(place(u, row + i + v * w, w));
            }
            let (mut a0, mut a1, mut y0, mut y1) = ([zero; NV], [zero; NV], [zero; NV], [zero; NV]);
            let state = self.state.place(head * keys * row + i, keys.saturating_sub(1) * row + NV * w);
            for j in 0..keys {
                if i == 0 && j % 16 == 0 {
                    self.ahead(t, head, j);
                }
                let at = state.add(j * row);
                let mut z = [zero; NV];
                for v in 0..NV {
                    z[v] = s.load(at.add(v * w));
                }
                let o = s.broadcast(old[0].add(j));
                for v in 0..NV {
                    z[v] = s.fma(u0[v], o, z[v]);
                }
                let o = s.broadcast(old[1].add(j));
                for v in 0..NV {
                    z[v] = s.fma(u1[v], o, z[v]);
                    s.store(at.add(v * w), z[v]);
                }
                let (k0, k1) = (s.broadcast(k[0].add(j)), s.broadcast(k[1].add(j)));
                let (q0, q1) = (s.broadcast(q[0].add(j)), s.broadcast(q[1].add(j)));
                for v in 0..NV {
                    a0[v] = s.fma(z[v], k0, a0[v]);
                    y0[v] = s.fma(z[v], q0, y0[v]);
                    a1[v] = s.fma(z[v], k1, a1[v]);
                    y1[v] = s.fma(z[v], q1, y1[v]);
                }
            }
            let first = t * heads + head;
            for v in 0..NV {
                let beta = s.splat(*place(self.inputs.beta, first, 1));
                let now = s.mul(beta, s.sub(self.read::<S, NV>(s, first, i + v * w), a0[v]));
                self.write::<S, NV>(s, first, i + v * w, s.fma(now, s.splat(kq0), y0[v]));
                s.store(u.as_mut_ptr().add(i + v * w), now);
                let mut then = zero;
                if t + 1 < end {
                    let beta = s.splat(*place(self.inputs.beta, first + heads, 1));
                    then = s.mul(
                        beta,
                        s.sub(self.read::<S, NV>(s, first + heads, i + v * w), s.fma(now, s.splat(kk), a1[v])),
                    );
                    let y = s.fma(then, s.splat(kq1), s.fma(now, s.splat(kq01), y1[v]));
                    self.write::<S, NV>(s, first + heads, i + v * w, y);
                }
                s.store(u.as_mut_ptr().add(row + i + v * w), then);
            }
        }
    }

    /// v of one step (`at` counts steps and heads) from value `i` on; only a single vector may be cut short.
    ///
    /// # Safety
    /// The place exists.
    #[inline(always)]
    unsafe fn read<S: Simd, const NV: usize>(&self, s: S, at: usize, i: usize) -> S::V {
        let n = if NV == 1 { self.extents.values - i } else { S::LANES };
        // SAFETY: `n` values are left in the row.
        unsafe { s.load_up_to(place(self.inputs.v, at * self.extents.values + i, n.min(S::LANES)), n) }
    }

    /// The output of the same place.
    ///
    /// # Safety
    /// The place exists, and no other part has this head.
    #[inline(always)]
    unsafe fn write<S: Simd, const NV: usize>(&self, s: S, at: usize, i: usize, y: S::V) {
        let n = if NV == 1 { self.extents.values - i } else { S::LANES };
        // SAFETY: `n` values are left in the row; where stores are streamed, rows are whole lines and begin with one.
        unsafe {
            let to = self.y.place(at * self.extents.values + i, n.min(S::LANES));
            if NV > 1 && self.stream { s.stream(to, y) } else { s.store_up_to(to, y, n) }
        }
    }

    /// Prefetches a line of what the same pass reads for the next head, or for the first one in the next tile.
    #[inline(always)]
    fn ahead(&self, t: usize, head: usize, j: usize) {
        let Extents { heads, keys, values } = self.extents;
        let first =
            if head + 1 < self.heads.end { t * heads + head + 1 } else { (t + TILE) * heads + self.heads.start };
        for step in 0..PASS {
            let i = first + step * heads;
            prefetch_l2(self.inputs.k.as_ptr().wrapping_add(i * keys + j));
            prefetch_l2(self.inputs.q.as_ptr().wrapping_add(i * keys + j));
            if j < values {
                prefetch_l2(self.inputs.v.as_ptr().wrapping_add(i * values + j));
                if !self.stream {
                    prefetch_l2(self.y.place(0, 0).wrapping_add(i * values + j));
                }
            }
        }
    }

    /// Puts the last corrections into the state.
    #[inline(always)]
    fn finish<S: Simd>(&self, s: S, end: usize, head: usize, before: Option<usize>, u: &[f32]) {
        let row = self.extents.row();
        let old = self.rows(self.inputs.k, before, end, head);
        for j in 0..self.extents.keys {
            for i in (0..row).step_by(S::LANES) {
                // SAFETY: rows of the state and of `u` are whole lines, rows of keys have `keys` values.
                unsafe {
                    let at = self.state.place((head * self.extents.keys + j) * row + i, S::LANES);
                    let z = s.fma(s.load(place(u, i, S::LANES)), s.broadcast(old[0].add(j)), s.load(at));
                    s.store(at, s.fma(s.load(place(u, row + i, S::LANES)), s.broadcast(old[1].add(j)), z));
                }
            }
        }
    }
}
