//! Mamba-2's SSD: one decay for each head and step.
//!
//! ```text
//! h[k, n, p] = a[t, k]·h[k, n, p] + dt[t, k]·x[t, k, p]·B[t, n]
//! y[t, k, p] = sum[n](C[t, n]·h[k, n, p])
//! ```
//!
//! The lanes lie along p. Four steps go over the state in one pass. Inside of these the state is kept divided by the
//! product of the decays so far, which makes each step two multiply-adds for an element; one product for four steps puts
//! it right again. Where that product is so small that the quotients might overflow, the four steps go one by one. A
//! tile of steps is worked off for one head, whose state stays in the first level, while the inputs of the next head are
//! prefetched.
//!
//! Source: Dao and Gu 2024, eq. 1 with a scalar A.

use crate::memory::{Error, Shared, expect, parallel, place, round_up, share, streams};
use crate::simd::{Isa, Kernel, Simd, fence, prefetch_l2};

/// Steps in a tile.
const TILE: usize = 32;

/// Steps in a pass over the state.
const PASS: usize = 4;

/// The product of four decays below which steps go one by one: quotients stay 60 powers of two away from overflow.
const SMALLEST: f32 = 1.0 / (1_u64 << 60) as f32;

/// The extents: heads, channels of a head (p) and states (n).
#[derive(Clone, Copy, Debug)]
pub struct Extents {
    /// Heads.
    pub heads: usize,
    /// Channels of a head.
    pub channels: usize,
    /// States of a channel.
    pub states: usize,
}

impl Extents {
    /// Values from one row of the state to the next: the channels and what fills a line.
    pub fn row(self) -> usize {
        round_up(self.channels, 16)
    }

    /// Values of the state of [`run`]: `[heads, states, row]`.
    pub fn state_len(self) -> usize {
        self.heads * self.states * self.row()
    }
}

/// What a run reads.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// `[steps, heads, channels]`.
    pub x: &'a [f32],
    /// `[steps, heads]`.
    pub dt: &'a [f32],
    /// `[steps, heads]`.
    pub a: &'a [f32],
    /// `[steps, states]`.
    pub b: &'a [f32],
    /// `[steps, states]`.
    pub c: &'a [f32],
}

fn check(extents: Extents, steps: usize, inputs: &Inputs, y: &[f32]) -> Result<(), Error> {
    let Extents { heads, channels, states } = extents;
    expect("x", inputs.x.len(), steps * heads * channels)?;
    expect("dt", inputs.dt.len(), steps * heads)?;
    expect("a", inputs.a.len(), steps * heads)?;
    expect("b", inputs.b.len(), steps * states)?;
    expect("c", inputs.c.len(), steps * states)?;
    expect("y", y.len(), steps * heads * channels)
}

/// The recurrence as it stands.
///
/// # Shapes
/// state: `[heads, channels, states]`, in and out; y: `[steps, heads, channels]`
/// # Errors
/// An array of another length.
pub fn plain(extents: Extents, steps: usize, inputs: &Inputs, state: &mut [f32], y: &mut [f32]) -> Result<(), Error> {
    check(extents, steps, inputs, y)?;
    let Extents { heads, channels, states } = extents;
    expect("state", state.len(), heads * channels * states)?;
    for t in 0..steps {
        let (b, c) = (&inputs.b[t * states..][..states], &inputs.c[t * states..][..states]);
        for k in 0..heads {
            let (a, dt) = (inputs.a[t * heads + k], inputs.dt[t * heads + k]);
            for p in 0..channels {
                let i = (t * heads + k) * channels + p;
                let dx = dt * inputs.x[i];
                let mut sum = 0.0;
                for ((h, b), c) in state[(k * channels + p) * states..][..states].iter_mut().zip(b).zip(c) {
                    *h = a * *h + dx * b;
                    sum += *h * c;
                }
                y[i] = sum;
            }
        }
    }
    Ok(())
}

/// The recurrence, four steps in a pass.
///
/// # Shapes
/// state: `[heads, states, row]` ([`Extents::state_len`]), or as for [`plain`] with [`Isa::Plain`], in and out;
/// y: `[steps, heads, channels]`
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
    let stream = streams(y, extents.channels);
    let (state, y) = (Shared::new(state), Shared::new(y));
    parallel(threads, |n| {
        let heads = share(extents.heads, 1, n, threads.max(1));
        isa.run(Part { extents, heads, steps, stream, inputs: *inputs, state, y });
    });
    Ok(())
}

struct Part<'a> {
    extents: Extents,
    heads: std::ops::Range<usize>,
    steps: usize,
    stream: bool,
    inputs: Inputs<'a>,
    state: Shared<'a, f32>,
    y: Shared<'a, f32>,
}

impl Kernel for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // B and C of a tile, `[passes, states, B or C, PASS]`: one address for all that a pass reads of them.
        let mut packed = vec![0.0; TILE * 2 * self.extents.states + PASS];
        for t0 in (0..self.steps).step_by(TILE) {
            let end = self.steps.min(t0 + TILE);
            self.pack(t0, end, &mut packed);
            for head in self.heads.clone() {
                for t in (t0..end).step_by(PASS) {
                    let bc = &packed[(t - t0) * 2 * self.extents.states..];
                    if t + PASS <= end && self.fits(t, head) {
                        self.vectors::<S, PASS>(s, t, head, bc);
                    } else {
                        for t in t..end.min(t + PASS) {
                            self.vectors::<S, 1>(s, t, head, &bc[t % PASS..]);
                        }
                    }
                }
            }
        }
        fence();
    }
}

impl Part<'_> {
    /// Puts B and C of a tile beside each other.
    fn pack(&self, t0: usize, end: usize, packed: &mut [f32]) {
        let states = self.extents.states;
        for t in t0..end {
            let to = &mut packed[(t - t0) / PASS * PASS * 2 * states..][..PASS * 2 * states];
            for (j, to) in to.chunks_exact_mut(2 * PASS).enumerate() {
                to[t % PASS] = self.inputs.b[t * states + j];
                to[PASS + t % PASS] = self.inputs.c[t * states + j];
            }
        }
    }

    /// Whether the decays of a pass are large enough to divide by their product.
    #[inline(always)]
    fn fits(&self, t: usize, head: usize) -> bool {
        let decays: [f32; PASS] = std::array::from_fn(|k| self.inputs.a[(t + k) * self.extents.heads + head]);
        decays.iter().all(|&a| (0.0..=2.0).contains(&a)) && decays.iter().product::<f32>() >= SMALLEST
    }

    /// `T` steps of a head.
    #[inline(always)]
    fn vectors<S: Simd, const T: usize>(&self, s: S, t: usize, head: usize, bc: &[f32]) {
        let mut p = 0;
        while p < self.extents.channels {
            if p + 2 * S::LANES <= self.extents.channels {
                self.pass::<S, T, 2>(s, t, head, p, bc);
                p += 2 * S::LANES;
            } else {
                self.pass::<S, T, 1>(s, t, head, p, bc);
                p += S::LANES;
            }
        }
    }

    /// `T` steps for `NV` vectors of channels.
    #[inline(always)]
    fn pass<S: Simd, const T: usize, const NV: usize>(&self, s: S, t: usize, head: usize, p: usize, bc: &[f32]) {
        let Extents { heads, channels, states } = self.extents;
        let (w, row) = (S::LANES, self.extents.row());
        let n = channels - p;
        let valid = n.min(w);
        // SAFETY: steps from `t` to `t + T` and channels from `p` on (`valid` of them where `NV` is 1) are inside of all
        // arrays; rows of the state are whole lines; no other part has this
        // head; where stores are streamed, rows of y are whole lines and begin with one.
        unsafe {
            let zero = s.splat(0.0);
            let (mut dx, mut y) = ([[zero; NV]; T], [[zero; NV]; T]);
            // The state is kept divided by `product`; a single step multiplies instead.
            let mut product = [1.0_f32; T];
            let mut so_far = 1.0;
            for k in 0..T {
                let i = (t + k) * heads + head;
                so_far *= *place(self.inputs.a, i, 1);
                product[k] = so_far;
                let scale = *place(self.inputs.dt, i, 1) / if T == 1 { 1.0 } else { so_far };
                for v in 0..NV {
                    let x = place(self.inputs.x, i * channels + p + v * w, if NV == 1 { valid } else { w });
                    let x = if NV == 1 { s.load_up_to(x, n) } else { s.load(x) };
                    dx[k][v] = s.mul(s.splat(scale), x);
                }
            }
            let whole = s.splat(so_far);
            let bc = place(bc, 0, (states * 2 * PASS).saturating_sub(PASS - T));
            // The same steps of the next head, or the next tile of the first one.
            let ahead =
                if head + 1 < self.heads.end { t * heads + head + 1 } else { (t + TILE) * heads + self.heads.start };
            let next = self.inputs.x.as_ptr().wrapping_add(ahead * channels);
            for j in 0..states {
                if p == 0 && j % 16 == 0 {
                    for k in 0..T {
                        prefetch_l2(next.wrapping_add(k * heads * channels + j));
                    }
                }
                let at = self.state.place((head * states + j) * row + p, NV * w);
                let mut z = [zero; NV];
                for v in 0..NV {
                    z[v] = s.load(at.add(v * w));
                    if T == 1 {
                        z[v] = s.mul(whole, z[v]);
                    }
                }
                for k in 0..T {
                    let (b, c) = (s.broadcast(bc.add(j * 2 * PASS + k)), s.broadcast(bc.add((j * 2 + 1) * PASS + k)));
                    for v in 0..NV {
                        z[v] = s.fma(dx[k][v], b, z[v]);
                        y[k][v] = s.fma(z[v], c, y[k][v]);
                    }
                }
                for v in 0..NV {
                    let z = if T == 1 { z[v] } else { s.mul(whole, z[v]) };
                    s.store(at.add(v * w), z);
                }
            }
            for k in 0..T {
                for v in 0..NV {
                    let y = if T == 1 { y[k][v] } else { s.mul(s.splat(product[k]), y[k][v]) };
                    let i = ((t + k) * heads + head) * channels + p + v * w;
                    if NV == 1 {
                        s.store_up_to(self.y.place(i, valid), y, n);
                    } else if self.stream {
                        s.stream(self.y.place(i, w), y);
                    } else {
                        s.store(self.y.place(i, w), y);
                    }
                }
            }
        }
    }
}
