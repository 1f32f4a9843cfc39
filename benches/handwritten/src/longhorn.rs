//! Longhorn, with the diagonal approximation of its transition:
//!
//! ```text
//! e       = beta[t, d] / (1 + beta[t, d]·sum[n](k[t, n]²))
//! S[d, n] = (1 - e·k[t, n]²)·S[d, n] + e·x[t, d]·k[t, n]
//! y[t, d] = sum[n](S[d, n]·q[t, n])
//! ```
//!
//! As in [`crate::mamba`], the lanes lie along the channels and a tile of steps is worked off with one block's states in
//! registers. The division is a pass over the tile before: an estimate and one Newton step.
//!
//! Source: Liu et al. 2024, eq. 7.

use crate::memory::{Error, Shared, expect, parallel, place, share, streams};
use crate::simd::{Isa, Kernel, Simd, fence, math, prefetch, stream_line, unroll};

/// Steps in a tile.
const TILE: usize = 16;

/// What a run reads.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// `[steps, channels]`.
    pub x: &'a [f32],
    /// `[steps, channels]`.
    pub beta: &'a [f32],
    /// `[steps, states]`.
    pub k: &'a [f32],
    /// `[steps, states]`.
    pub q: &'a [f32],
}

fn check(channels: usize, states: usize, steps: usize, inputs: &Inputs, state: &[f32], y: &[f32]) -> Result<(), Error> {
    expect("x", inputs.x.len(), steps * channels)?;
    expect("beta", inputs.beta.len(), steps * channels)?;
    expect("k", inputs.k.len(), steps * states)?;
    expect("q", inputs.q.len(), steps * states)?;
    expect("state", state.len(), channels * states)?;
    expect("y", y.len(), steps * channels)
}

/// The recurrence as it stands.
///
/// # Shapes
/// state: `[channels, states]`, in and out; y: `[steps, channels]`
/// # Errors
/// An array of another length.
pub fn plain(
    channels: usize,
    states: usize,
    steps: usize,
    inputs: &Inputs,
    state: &mut [f32],
    y: &mut [f32],
) -> Result<(), Error> {
    check(channels, states, steps, inputs, state, y)?;
    for t in 0..steps {
        let (k, q) = (&inputs.k[t * states..][..states], &inputs.q[t * states..][..states]);
        let norm: f32 = k.iter().map(|k| k * k).sum();
        for d in 0..channels {
            let i = t * channels + d;
            let e = inputs.beta[i] / (1.0 + inputs.beta[i] * norm);
            let mut sum = 0.0;
            for ((s, k), q) in state[d * states..][..states].iter_mut().zip(k).zip(q) {
                *s = (1.0 - e * k * k) * *s + e * inputs.x[i] * k;
                sum += *s * q;
            }
            y[i] = sum;
        }
    }
    Ok(())
}

/// The recurrence, tile by tile.
///
/// # Shapes
/// state: `[states, channels]` (`[channels, states]` for [`Isa::Plain`]), in and out; y: `[steps, channels]`
/// # Errors
/// An array of another length.
#[allow(clippy::too_many_arguments, reason = "how, the extents, what is read and what is written")]
pub fn run(
    isa: Isa,
    threads: usize,
    channels: usize,
    states: usize,
    steps: usize,
    inputs: &Inputs,
    state: &mut [f32],
    y: &mut [f32],
) -> Result<(), Error> {
    if isa.lanes() == 1 || !isa.is_available() {
        return plain(channels, states, steps, inputs, state, y);
    }
    check(channels, states, steps, inputs, state, y)?;
    if states == 0 {
        y.fill(0.0);
        return Ok(());
    }
    let stream = streams(y, channels);
    let squares: Vec<f32> = inputs.k.iter().map(|k| k * k).collect();
    let (state, y) = (Shared::new(state), Shared::new(y));
    parallel(threads, |n| {
        let part = share(channels, 64, n, threads.max(1));
        isa.run(Part { channels, states, steps, part, stream, inputs: *inputs, squares: &squares, state, y });
    });
    Ok(())
}

struct Part<'a> {
    channels: usize,
    states: usize,
    steps: usize,
    part: std::ops::Range<usize>,
    stream: bool,
    inputs: Inputs<'a>,
    /// k².
    squares: &'a [f32],
    state: Shared<'a, f32>,
    y: Shared<'a, f32>,
}

/// What a tile of steps needs of the inputs, for one block of channels.
struct Tile<V> {
    e: [V; TILE],
    /// e·x.
    ex: [V; TILE],
    y: [V; TILE],
    /// The first halves of lines that are stored with their second ones.
    kept: [V; TILE],
}

impl Kernel for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if self.stream {
            self.tiles::<S, true>(s)
        } else {
            self.tiles::<S, false>(s)
        }
        fence();
    }
}

impl Part<'_> {
    #[inline(always)]
    fn tiles<S: Simd, const STREAM: bool>(&self, s: S) {
        let zero = s.splat(0.0);
        let mut tile = Tile { e: [zero; TILE], ex: [zero; TILE], y: [zero; TILE], kept: [zero; TILE] };
        let mut norm = [0.0_f32; TILE];
        for t0 in (0..self.steps).step_by(TILE) {
            let steps = TILE.min(self.steps - t0);
            for (t, norm) in norm.iter_mut().enumerate().take(steps) {
                *norm = self.squares[(t0 + t) * self.states..][..self.states].iter().sum();
            }
            for d in self.part.clone().step_by(S::LANES) {
                let n = self.part.end - d;
                let valid = n.min(S::LANES);
                for t in 0..steps {
                    let i = (t0 + t) * self.channels + d;
                    // SAFETY: `valid` channels from `d` on are inside of every row.
                    unsafe {
                        let beta = s.load_up_to(place(self.inputs.beta, i, valid), n);
                        let divisor = s.fma(beta, s.splat(norm[t]), s.splat(1.0));
                        tile.e[t] = s.mul(beta, math::reciprocal(s, divisor));
                        tile.ex[t] = s.mul(tile.e[t], s.load_up_to(place(self.inputs.x, i, valid), n));
                        tile.y[t] = zero;
                    }
                }
                let mut first = 0;
                while first + 16 <= self.states && S::REGISTERS == 32 {
                    self.states::<S, 16, STREAM>(s, &mut tile, t0, steps, d, first);
                    first += 16;
                }
                while first + 4 <= self.states {
                    self.states::<S, 4, STREAM>(s, &mut tile, t0, steps, d, first);
                    first += 4;
                }
                while first < self.states {
                    self.states::<S, 1, STREAM>(s, &mut tile, t0, steps, d, first);
                    first += 1;
                }
            }
        }
    }

    /// The recurrence of `NB` states of a block of channels.
    #[inline(always)]
    fn states<S: Simd, const NB: usize, const STREAM: bool>(
        &self,
        s: S,
        tile: &mut Tile<S::V>,
        t0: usize,
        steps: usize,
        d: usize,
        first: usize,
    ) {
        let (width, states) = (self.channels, self.states);
        let n = self.part.end - d;
        let valid = n.min(S::LANES);
        let line = d / 16 * 16;
        let ahead = if d != line {
            None
        } else if line + 16 < self.part.end {
            Some(line + 16)
        } else {
            (t0 + TILE < self.steps).then_some(TILE * width + self.part.start)
        };
        let last = first + NB == states;
        // SAFETY: states from `first` to `first + NB`, steps from `t0` to `t0 + steps` and channels from `d` to
        // `d + valid` are inside of all arrays; no other part has these channels. Where stores are streamed, rows of y are
        // whole lines and begin with one, and so does the part, whose channels come in order.
        unsafe {
            let mut h = [s.splat(0.0); 16];
            unroll!(K in [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] {
                if K < NB {
                    h[K] = s.load_up_to(self.state.place((first + K) * width + d, valid), n);
                }
            });
            for t in 0..steps {
                if let Some(ahead) = ahead {
                    let i = (t0 + t) * width + ahead;
                    prefetch(self.inputs.x.as_ptr().wrapping_add(i));
                    prefetch(self.inputs.beta.as_ptr().wrapping_add(i));
                    if !STREAM {
                        prefetch(self.y.place(0, 0).wrapping_add(i));
                    }
                }
                let (e, ex, one) = (tile.e[t], tile.ex[t], s.splat(1.0));
                let mut y = [s.splat(0.0); 4];
                y[0] = tile.y[t];
                let i = (t0 + t) * states + first;
                let k = place(self.inputs.k, i, NB);
                let q = place(self.inputs.q, i, NB);
                let square = place(self.squares, i, NB);
                unroll!(K in [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] {
                    if K < NB {
                        let keep = s.fnma(e, s.broadcast(square.add(K)), one);
                        h[K] = s.fma(keep, h[K], s.mul(ex, s.broadcast(k.add(K))));
                        y[K % 4] = s.fma(h[K], s.broadcast(q.add(K)), y[K % 4]);
                    }
                });
                let y = s.add(s.add(y[0], y[1]), s.add(y[2], y[3]));
                if last {
                    // Stored while other steps are computed: all at once, they would stall.
                    let to = self.y.place((t0 + t) * width + d, valid);
                    if STREAM { stream_line(s, to, y, &mut tile.kept[t]) } else { s.store_up_to(to, y, n) }
                } else {
                    tile.y[t] = y;
                }
            }
            unroll!(K in [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] {
                if K < NB {
                    s.store_up_to(self.state.place((first + K) * width + d, valid), h[K], n);
                }
            });
        }
    }
}
