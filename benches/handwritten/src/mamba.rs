//! Mamba-1: the selective scan.
//!
//! ```text
//! h[d, n] = exp(dt[t, d]·A[d, n])·h[d, n] + dt[t, d]·x[t, d]·B[t, n]
//! y[t, d] = sum[n](C[t, n]·h[d, n]) + skip[d]·x[t, d]
//! ```
//!
//! With gates, `dt` is softplus(dt + bias) first, and y is multiplied with silu(z) last.
//!
//! The lanes lie along the channels, so that nothing is summed across them. A tile of steps is worked off for one block
//! of channels with its states in registers; what does not depend on them (softplus, products with x) goes into a pass
//! over the tile before, silu into one after. While a block is computed, the lines of the next one are prefetched, one
//! row for each step. [`Decoder`] does one step; it keeps states and parameters in blocks of 16 channels, so that a step
//! reads them from one end to the other.
//!
//! Source: Gu and Dao 2023, eq. 2.

use crate::functions::Function;
use crate::memory::{Aligned, Error, Shared, expect, parallel, place, round_up, share, streams};
use crate::simd::{Isa, Kernel, Simd, fence, math, prefetch, stream_line, unroll};

/// Steps in a tile.
const TILE: usize = 16;

/// Channels in a block of a [`Decoder`].
const BLOCK: usize = 16;

/// The parameters of a layer.
#[derive(Clone)]
pub struct Mamba {
    channels: usize,
    states: usize,
    /// `[channels, states]`.
    a: Vec<f32>,
    /// A·log2 e, `[states, channels]`.
    rates: Aligned,
    skip: Vec<f32>,
    bias: Option<Vec<f32>>,
}

/// What a run reads.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// `[steps, channels]`.
    pub x: &'a [f32],
    /// `[steps, channels]`; positive without gates, before the softplus with them.
    pub dt: &'a [f32],
    /// `[steps, channels]` with gates, else empty.
    pub z: &'a [f32],
    /// `[steps, states]`.
    pub b: &'a [f32],
    /// `[steps, states]`.
    pub c: &'a [f32],
}

impl Mamba {
    /// A layer without gates.
    ///
    /// # Shapes
    /// a: `[channels, states]`; skip: `[channels]`
    /// # Errors
    /// An array of another length.
    pub fn new(channels: usize, states: usize, a: &[f32], skip: &[f32]) -> Result<Self, Error> {
        expect("a", a.len(), channels * states)?;
        expect("skip", skip.len(), channels)?;
        let mut rates = Aligned::zeros(a.len());
        for d in 0..channels {
            for n in 0..states {
                rates[n * channels + d] = (f64::from(a[d * states + n]) * std::f64::consts::LOG2_E) as f32;
            }
        }
        Ok(Self { channels, states, a: a.to_vec(), rates, skip: skip.to_vec(), bias: None })
    }

    /// The layer with softplus(dt + bias) and silu(z).
    ///
    /// # Shapes
    /// bias: `[channels]`
    /// # Errors
    /// An array of another length.
    pub fn with_gates(self, bias: &[f32]) -> Result<Self, Error> {
        expect("bias", bias.len(), self.channels)?;
        Ok(Self { bias: Some(bias.to_vec()), ..self })
    }

    fn check(&self, inputs: &Inputs, steps: usize, y: &[f32]) -> Result<(), Error> {
        expect("x", inputs.x.len(), steps * self.channels)?;
        expect("dt", inputs.dt.len(), steps * self.channels)?;
        expect("z", inputs.z.len(), if self.bias.is_some() { steps * self.channels } else { 0 })?;
        expect("b", inputs.b.len(), steps * self.states)?;
        expect("c", inputs.c.len(), steps * self.states)?;
        expect("y", y.len(), steps * self.channels)
    }

    /// The recurrence as it stands.
    ///
    /// # Shapes
    /// state: `[channels, states]`, in and out; y: `[steps, channels]`
    /// # Errors
    /// An array of another length.
    pub fn plain(&self, steps: usize, inputs: &Inputs, state: &mut [f32], y: &mut [f32]) -> Result<(), Error> {
        self.check(inputs, steps, y)?;
        expect("state", state.len(), self.channels * self.states)?;
        let (channels, states) = (self.channels, self.states);
        for t in 0..steps {
            let (b, c) = (&inputs.b[t * states..][..states], &inputs.c[t * states..][..states]);
            for d in 0..channels {
                let i = t * channels + d;
                let x = inputs.x[i];
                let dt = match &self.bias {
                    Some(bias) => Function::Softplus.plain(inputs.dt[i] + bias[d]),
                    None => inputs.dt[i],
                };
                let mut sum = self.skip[d] * x;
                for (n, h) in state[d * states..][..states].iter_mut().enumerate() {
                    *h = (dt * self.a[d * states + n]).exp() * *h + dt * x * b[n];
                    sum += c[n] * *h;
                }
                y[i] = if self.bias.is_some() { sum * Function::Silu.plain(inputs.z[i]) } else { sum };
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
    pub fn run(
        &self,
        isa: Isa,
        threads: usize,
        steps: usize,
        inputs: &Inputs,
        state: &mut [f32],
        y: &mut [f32],
    ) -> Result<(), Error> {
        if isa.lanes() == 1 || !isa.is_available() {
            return self.plain(steps, inputs, state, y);
        }
        self.check(inputs, steps, y)?;
        expect("state", state.len(), self.channels * self.states)?;
        let stream = streams(y, self.channels);
        let (state, y) = (Shared::new(state), Shared::new(y));
        parallel(threads, |n| {
            let channels = share(self.channels, 64, n, threads.max(1));
            isa.run(Part { layer: self, inputs: *inputs, steps, channels, stream, state, y });
        });
        Ok(())
    }
}

/// A run over some of the channels.
struct Part<'a> {
    layer: &'a Mamba,
    inputs: Inputs<'a>,
    steps: usize,
    channels: std::ops::Range<usize>,
    stream: bool,
    state: Shared<'a, f32>,
    y: Shared<'a, f32>,
}

/// What a tile of steps needs of the inputs, for one block of channels.
struct Tile<V> {
    dt: [V; TILE],
    /// dt·x.
    dx: [V; TILE],
    /// skip·x, then the sum over the states.
    y: [V; TILE],
    /// The first halves of lines that are stored with their second ones.
    kept: [V; TILE],
}

impl Kernel for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match (self.layer.bias.is_some(), self.stream) {
            (false, false) => self.tiles::<S, false, false>(s),
            (false, true) => self.tiles::<S, false, true>(s),
            (true, false) => self.tiles::<S, true, false>(s),
            (true, true) => self.tiles::<S, true, true>(s),
        }
        fence();
    }
}

impl Part<'_> {
    #[inline(always)]
    fn tiles<S: Simd, const GATES: bool, const STREAM: bool>(&self, s: S) {
        let zero = s.splat(0.0);
        let mut tile = Tile { dt: [zero; TILE], dx: [zero; TILE], y: [zero; TILE], kept: [zero; TILE] };
        for t0 in (0..self.steps).step_by(TILE) {
            let steps = TILE.min(self.steps - t0);
            for d in self.channels.clone().step_by(S::LANES) {
                let n = self.channels.end - d;
                self.before::<S, GATES>(s, &mut tile, t0, steps, d, n);
                let states = self.layer.states;
                let mut first = 0;
                while first + 16 <= states && S::REGISTERS == 32 {
                    self.states::<S, 16, GATES, STREAM>(s, &mut tile, t0, steps, d, n, first);
                    first += 16;
                }
                while first + 4 <= states {
                    self.states::<S, 4, GATES, STREAM>(s, &mut tile, t0, steps, d, n, first);
                    first += 4;
                }
                while first < states {
                    self.states::<S, 1, GATES, STREAM>(s, &mut tile, t0, steps, d, n, first);
                    first += 1;
                }
                if GATES || states == 0 {
                    self.after::<S, GATES, STREAM>(s, &mut tile, t0, steps, d, n);
                }
            }
        }
    }

    /// Everything that the states do not take part in.
    #[inline(always)]
    fn before<S: Simd, const GATES: bool>(
        &self,
        s: S,
        tile: &mut Tile<S::V>,
        t0: usize,
        steps: usize,
        d: usize,
        n: usize,
    ) {
        let width = self.layer.channels;
        let valid = n.min(S::LANES);
        // SAFETY: steps from `t0` to `t0 + steps` and channels from `d` to `d + valid` are inside of all arrays, whose
        // lengths were compared with the layer's.
        unsafe {
            let skip = s.load_up_to(place(&self.layer.skip, d, valid), n);
            let bias = match &self.layer.bias {
                Some(bias) => s.load_up_to(place(bias, d, valid), n),
                None => s.splat(0.0),
            };
            let mut t = 0;
            while t < steps {
                let mut dt = [s.splat(0.0); 4];
                let mut x = [s.splat(0.0); 4];
                unroll!(K in [0 1 2 3] {
                    // A row past the end is the last one once more.
                    let i = (t0 + (t + K).min(steps - 1)) * width + d;
                    dt[K] = s.load_up_to(place(self.inputs.dt, i, valid), n);
                    x[K] = s.load_up_to(place(self.inputs.x, i, valid), n);
                });
                if GATES {
                    unroll!(K in [0 1 2 3] {
                        dt[K] = s.add(dt[K], bias);
                    });
                    dt = math::softplus(s, dt);
                }
                unroll!(K in [0 1 2 3] {
                    tile.dt[t + K] = dt[K];
                    tile.dx[t + K] = s.mul(dt[K], x[K]);
                    tile.y[t + K] = s.mul(skip, x[K]);
                });
                t += 4;
            }
        }
    }

    /// The recurrence of `NB` states of a block of channels.
    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "the coordinates of a tile")]
    fn states<S: Simd, const NB: usize, const GATES: bool, const STREAM: bool>(
        &self,
        s: S,
        tile: &mut Tile<S::V>,
        t0: usize,
        steps: usize,
        d: usize,
        n: usize,
        first: usize,
    ) {
        let (width, states) = (self.layer.channels, self.layer.states);
        let valid = n.min(S::LANES);
        let ahead = self.ahead(t0, d);
        let last = !GATES && first + NB == states;
        // SAFETY: states from `first` to `first + NB`, steps from `t0` to `t0 + steps` and channels from `d` to
        // `d + valid` are inside of all arrays; no other part has these channels. Where stores are streamed, rows of y are
        // whole lines and begin with one, and so does the part, whose channels come in order.
        unsafe {
            let mut h = [s.splat(0.0); 16];
            let mut rate = [s.splat(0.0); 16];
            unroll!(K in [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] {
                if K < NB {
                    h[K] = s.load_up_to(self.state.place((first + K) * width + d, valid), n);
                    rate[K] = s.load_up_to(place(&self.layer.rates, (first + K) * width + d, valid), n);
                }
            });
            for t in 0..steps {
                if let Some(ahead) = ahead {
                    let i = (t0 + t) * width + ahead;
                    prefetch(self.inputs.x.as_ptr().wrapping_add(i));
                    prefetch(self.inputs.dt.as_ptr().wrapping_add(i));
                    if GATES {
                        prefetch(self.inputs.z.as_ptr().wrapping_add(i));
                    }
                    if !STREAM {
                        prefetch(self.y.place(0, 0).wrapping_add(i));
                    }
                }
                let (dt, dx) = (tile.dt[t], tile.dx[t]);
                let (mut y0, mut y1) = (tile.y[t], s.splat(0.0));
                let b = place(self.inputs.b, (t0 + t) * states + first, NB);
                let c = place(self.inputs.c, (t0 + t) * states + first, NB);
                unroll!(G in [0 4 8 12] {
                    if G < NB {
                        let mut z = [s.splat(0.0); 4];
                        unroll!(K in [0 1 2 3] {
                            z[K] = s.pin(s.mul(dt, rate[G + K]));
                        });
                        let decay = math::exp2(s, z);
                        unroll!(K in [0 1 2 3] {
                            if G + K < NB {
                                let offset = s.mul(dx, s.broadcast(b.add(G + K)));
                                h[G + K] = s.pin(s.fma(decay[K], h[G + K], offset));
                            }
                        });
                        unroll!(K in [0 1 2 3] {
                            if G + K < NB {
                                let y = if K & 1 == 0 { &mut y0 } else { &mut y1 };
                                *y = s.fma(h[G + K], s.broadcast(c.add(G + K)), *y);
                            }
                        });
                    }
                });
                let y = s.add(y0, y1);
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

    /// Where, relative to a row of this tile, the line begins that is needed next.
    #[inline(always)]
    fn ahead(&self, t0: usize, d: usize) -> Option<usize> {
        let width = self.layer.channels;
        let line = d / 16 * 16;
        if d != line {
            return None;
        }
        if line + 16 < self.channels.end {
            return Some(line + 16);
        }
        (t0 + TILE < self.steps).then_some(TILE * width + self.channels.start)
    }

    /// Gates and stores the outputs of a tile.
    #[inline(always)]
    fn after<S: Simd, const GATES: bool, const STREAM: bool>(
        &self,
        s: S,
        tile: &mut Tile<S::V>,
        t0: usize,
        steps: usize,
        d: usize,
        n: usize,
    ) {
        let width = self.layer.channels;
        let valid = n.min(S::LANES);
        // SAFETY: as in `states`.
        unsafe {
            let mut t = 0;
            while t < steps {
                let mut y = [s.splat(0.0); 4];
                unroll!(K in [0 1 2 3] {
                    y[K] = tile.y[t + K];
                });
                if GATES {
                    let mut z = [s.splat(0.0); 4];
                    unroll!(K in [0 1 2 3] {
                        let i = (t0 + (t + K).min(steps - 1)) * width + d;
                        z[K] = s.load_up_to(place(self.inputs.z, i, valid), n);
                    });
                    let gate = math::silu(s, z);
                    unroll!(K in [0 1 2 3] {
                        y[K] = s.mul(y[K], gate[K]);
                    });
                }
                unroll!(K in [0 1 2 3] {
                    if t + K < steps {
                        let to = self.y.place((t0 + t + K) * width + d, valid);
                        if STREAM { stream_line(s, to, y[K], &mut tile.kept[t + K]) } else { s.store_up_to(to, y[K], n) }
                    }
                });
                t += 4;
            }
        }
    }
}

/// One step at a time, with states and parameters in blocks of 16 channels.
#[derive(Clone)]
pub struct Decoder {
    layer: Mamba,
    /// A·log2 e, `[blocks, states, 16]`.
    rates: Aligned,
    /// `[blocks, states, 16]`.
    state: Aligned,
}

impl Decoder {
    /// Starts with a state of zeros.
    ///
    /// # Errors
    /// A layer without gates.
    pub fn new(layer: Mamba) -> Result<Self, Error> {
        if layer.bias.is_none() {
            return Err(Error::Value { name: "layer", reason: "it has no gates" });
        }
        let states = layer.states;
        let mut rates = Aligned::zeros(round_up(layer.channels, BLOCK) * states);
        for n in 0..states {
            for d in 0..layer.channels {
                rates[(d / BLOCK * states + n) * BLOCK + d % BLOCK] = layer.rates[n * layer.channels + d];
            }
        }
        let state = Aligned::zeros(rates.len());
        Ok(Self { layer, rates, state })
    }

    /// The next step.
    ///
    /// # Shapes
    /// inputs: of one step; y: `[channels]`
    /// # Errors
    /// An array of another length. [`Isa::Plain`] is refused: [`Mamba::plain`] with one step does that.
    pub fn step(&mut self, isa: Isa, inputs: &Inputs, y: &mut [f32]) -> Result<(), Error> {
        self.layer.check(inputs, 1, y)?;
        let Self { layer, rates, state } = self;
        let bias = layer.bias.as_deref().unwrap_or_default();
        let step = Step { layer, bias, rates, inputs: *inputs, state: Shared::new(state), y: Shared::new(y) };
        isa.run(step).ok_or(Error::Value { name: "isa", reason: "a vector instruction set of this host" })
    }

    /// h of channel `d` and state `n`.
    pub fn state(&self, d: usize, n: usize) -> f32 {
        self.state[(d / BLOCK * self.layer.states + n) * BLOCK + d % BLOCK]
    }
}

struct Step<'a> {
    layer: &'a Mamba,
    bias: &'a [f32],
    rates: &'a [f32],
    inputs: Inputs<'a>,
    state: Shared<'a, f32>,
    y: Shared<'a, f32>,
}

impl Kernel for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let channels = self.layer.channels;
        // Four vectors of channels at a time, so that their gates overlap.
        for d in (0..channels).step_by(4 * S::LANES) {
            // SAFETY: channels from `d` on below `channels` are inside of all inputs, whose lengths were compared; rates
            // and states have whole blocks.
            unsafe {
                let zero = s.splat(0.0);
                let (mut dt, mut z) = ([zero; 4], [zero; 4]);
                unroll!(K in [0 1 2 3] {
                    let at = d + K * S::LANES;
                    if at < channels {
                        let (n, valid) = (channels - at, (channels - at).min(S::LANES));
                        let bias = s.load_up_to(place(self.bias, at, valid), n);
                        dt[K] = s.add(s.load_up_to(place(self.inputs.dt, at, valid), n), bias);
                        z[K] = s.load_up_to(place(self.inputs.z, at, valid), n);
                    }
                });
                let dt = math::softplus(s, dt);
                let gate = math::silu(s, z);
                unroll!(K in [0 1 2 3] {
                    let at = d + K * S::LANES;
                    if at < channels {
                        self.block(s, at, dt[K], gate[K]);
                    }
                });
            }
        }
    }
}

impl Step<'_> {
    /// The states of one vector of channels.
    ///
    /// # Safety
    /// `d` is a channel and a multiple of the lane count.
    #[inline(always)]
    unsafe fn block<S: Simd>(&self, s: S, d: usize, dt: S::V, gate: S::V) {
        let (channels, states) = (self.layer.channels, self.layer.states);
        let (n, valid) = (channels - d, (channels - d).min(S::LANES));
        let start = d / BLOCK * states * BLOCK + d % BLOCK;
        // SAFETY: the block is whole in rates and states; the rest has `valid` values from `d` on.
        unsafe {
            let x = s.load_up_to(place(self.inputs.x, d, valid), n);
            let dx = s.mul(dt, x);
            let skip = s.load_up_to(place(&self.layer.skip, d, valid), n);
            let (mut y0, mut y1) = (s.mul(skip, x), s.splat(0.0));
            let mut k = 0;
            while k + 4 <= states {
                let mut z = [s.splat(0.0); 4];
                unroll!(K in [0 1 2 3] {
                    z[K] = s.pin(s.mul(dt, s.load(place(self.rates, start + (k + K) * BLOCK, S::LANES))));
                });
                let decay = math::exp2(s, z);
                unroll!(K in [0 1 2 3] {
                    let at = self.state.place(start + (k + K) * BLOCK, S::LANES);
                    let offset = s.mul(dx, s.broadcast(place(self.inputs.b, k + K, 1)));
                    let h = s.fma(decay[K], s.load(at), offset);
                    s.store(at, h);
                    let y = if K & 1 == 0 { &mut y0 } else { &mut y1 };
                    *y = s.fma(h, s.broadcast(place(self.inputs.c, k + K, 1)), *y);
                });
                k += 4;
            }
            while k < states {
                let z = s.mul(dt, s.load(place(self.rates, start + k * BLOCK, S::LANES)));
                let decay = math::exp2(s, [z; 4])[0];
                let at = self.state.place(start + k * BLOCK, S::LANES);
                let h = s.fma(decay, s.load(at), s.mul(dx, s.broadcast(place(self.inputs.b, k, 1))));
                s.store(at, h);
                y0 = s.fma(h, s.broadcast(place(self.inputs.c, k, 1)), y0);
                k += 1;
            }
            s.store_up_to(self.y.place(d, valid), s.mul(s.add(y0, y1), gate), n);
        }
    }
}
