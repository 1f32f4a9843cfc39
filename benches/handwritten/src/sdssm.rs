//! SD-SSM: the transition is a softmax mixture of dense matrices, its columns divided by their p-norms.
//!
//! ```text
//! T[i, j] = sum[k](softmax(logits[t])[k]·A[k, i, j])
//! x[i]    = sum[j](T[i, j]·x[j] / norm(T[., j])) + drive[t, i]
//! ```
//!
//! The lanes lie along the rows i, so that the product with x is a sum of broadcasts. The norm scales x, never T. What
//! does not depend on x (the mixture and its norms) is made for eight steps at a time, so that the matrices are read once
//! for eight; with more threads these blocks are made side by side, and only the products wait for each other.
//!
//! |t|^p is a polynomial in the mantissa times an entry of a table for the exponent. For that the matrices are scaled
//! so that no entry reaches 2, which the norm takes out again; entries below 2^-30 count as that.
//!
//! Source: Terzić et al. 2025, eq. 3 to 5.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::memory::{Aligned, Error, Shared, expect, parallel, place, round_up, share};
use crate::simd::{Isa, Kernel, Simd, math, unroll};

/// Steps of a block.
const BLOCK: usize = 8;

/// What is put between the matrices of a block, so that their lines do not fall on one set of the cache.
const PAD: usize = 80;

/// Entries below this count as this.
const SMALLEST: f32 = 1.0 / (1 << 30) as f32;

/// The parameters of a layer.
pub struct SdSsm {
    states: usize,
    mixed: usize,
    /// States, padded to whole lines.
    row: usize,
    power: f32,
    /// As given, `[mixed, states, states]`.
    given: Vec<f32>,
    /// Scaled, `[column, mixed, row]`.
    columns: Aligned,
    /// m^p on [1, 2], the highest coefficient first.
    mantissa: [f32; 7],
    /// 2^(e·p) at the exponent with its bias, modulo 32.
    exponent: [f32; 32],
    /// Buffers of earlier runs: new ones would cost a page fault for every four kilobytes.
    buffers: Mutex<Vec<Buffers>>,
}

/// What a thread writes before it is its turn.
struct Buffers {
    /// The transitions of a block, `[BLOCK, column, row]`.
    mixture: Aligned,
    /// One over the norms of their columns, `[BLOCK, row]`.
    factors: Aligned,
    /// A state times these.
    scaled: Aligned,
}

/// What a run reads.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// `[batch, steps, mixed]`.
    pub logits: &'a [f32],
    /// `[batch, steps, states]`.
    pub drive: &'a [f32],
}

/// The polynomial through m^p at seven Chebyshev nodes of [1, 2], the highest coefficient first.
fn power_polynomial(p: f64) -> [f32; 7] {
    let nodes: [f64; 7] = std::array::from_fn(|i| 1.5 + 0.5 * (std::f64::consts::PI * (2 * i + 1) as f64 / 14.0).cos());
    // Divided differences, then the products multiplied out.
    let mut difference = nodes.map(|m| m.powf(p));
    for level in 1..7 {
        for i in (level..7).rev() {
            difference[i] = (difference[i] - difference[i - 1]) / (nodes[i] - nodes[i - level]);
        }
    }
    let mut c = [0.0; 7];
    for i in (0..7).rev() {
        for k in (0..7).rev() {
            c[k] = if k > 0 { c[k - 1] } else { 0.0 } - nodes[i] * c[k];
        }
        c[0] += difference[i];
    }
    c.reverse();
    c.map(|c| c as f32)
}

impl SdSsm {
    /// # Shapes
    /// a: `[mixed, states, states]`
    /// # Errors
    /// An array of another length, a power outside of 1 to 4, entries that are not finite, extents of 0.
    pub fn new(states: usize, mixed: usize, power: f32, a: &[f32]) -> Result<Self, Error> {
        if states == 0 || mixed == 0 {
            return Err(Error::Value { name: "states, mixed", reason: "at least 1" });
        }
        expect("a", a.len(), mixed * states * states)?;
        if !(1.0..=4.0).contains(&power) {
            return Err(Error::Value { name: "power", reason: "1 to 4" });
        }
        let largest = a.iter().fold(0.0_f32, |m, a| m.max(a.abs()));
        if !a.iter().all(|a| a.is_finite()) {
            return Err(Error::Value { name: "a", reason: "finite" });
        }
        // A power of two, so that nothing is rounded.
        let scale = if largest > 0.0 { (-f64::from(largest).log2().floor()).exp2() } else { 1.0 };
        let row = round_up(states, 16);
        let mut columns = Aligned::zeros(states * mixed * row);
        for k in 0..mixed {
            for i in 0..states {
                for j in 0..states {
                    let entry = f64::from(a[(k * states + i) * states + j]) * scale;
                    columns[(j * mixed + k) * row + i] = entry as f32;
                }
            }
        }
        let p = f64::from(power);
        let exponent = std::array::from_fn(|i| (p * if i == 0 { 1.0 } else { i as f64 - 31.0 }).exp2() as f32);
        let mantissa = power_polynomial(p);
        Ok(Self {
            states,
            mixed,
            row,
            power,
            given: a.to_vec(),
            columns,
            mantissa,
            exponent,
            buffers: Mutex::default(),
        })
    }

    fn check(&self, batch: usize, steps: usize, inputs: &Inputs, state: &[f32], y: &[f32]) -> Result<(), Error> {
        expect("logits", inputs.logits.len(), batch * steps * self.mixed)?;
        expect("drive", inputs.drive.len(), batch * steps * self.states)?;
        expect("state", state.len(), batch * self.states)?;
        expect("y", y.len(), batch * steps * self.states)
    }

    /// The recurrence as it stands.
    ///
    /// # Shapes
    /// state: `[batch, states]`, in and out; y: `[batch, steps, states]`, x after every step
    /// # Errors
    /// An array of another length.
    pub fn plain(
        &self,
        batch: usize,
        steps: usize,
        inputs: &Inputs,
        state: &mut [f32],
        y: &mut [f32],
    ) -> Result<(), Error> {
        self.check(batch, steps, inputs, state, y)?;
        let n = self.states;
        let (mut transition, mut scaled) = (vec![0.0; n * n], vec![0.0; n]);
        for t in 0..batch * steps {
            let weights = softmax(&inputs.logits[t * self.mixed..][..self.mixed]);
            for (e, entry) in transition.iter_mut().enumerate() {
                *entry = weights.iter().enumerate().map(|(k, w)| w * self.given[k * n * n + e]).sum();
            }
            let x = &mut state[t / steps * n..][..n];
            for j in 0..n {
                let sum: f32 = (0..n).map(|i| transition[i * n + j].abs().powf(self.power)).sum();
                scaled[j] = x[j] / sum.powf(1.0 / self.power);
            }
            for i in 0..n {
                let product: f32 = transition[i * n..][..n].iter().zip(&scaled).map(|(a, x)| a * x).sum();
                x[i] = product + inputs.drive[t * n + i];
            }
            y[t * n..][..n].copy_from_slice(x);
        }
        Ok(())
    }

    /// The recurrence, eight steps at a time.
    ///
    /// # Shapes
    /// As for [`SdSsm::plain`]. Columns of zeros stay zeros.
    /// # Errors
    /// An array of another length.
    #[allow(clippy::too_many_arguments, reason = "how, the extents, what is read and what is written")]
    pub fn run(
        &self,
        isa: Isa,
        threads: usize,
        batch: usize,
        steps: usize,
        inputs: &Inputs,
        state: &mut [f32],
        y: &mut [f32],
    ) -> Result<(), Error> {
        if isa.lanes() == 1 || !isa.is_available() {
            return self.plain(batch, steps, inputs, state, y);
        }
        self.check(batch, steps, inputs, state, y)?;
        let threads = threads.max(1);
        let blocks = steps.div_ceil(BLOCK);
        // Zeros behind the last step.
        let mut weights = Aligned::zeros(batch * blocks * BLOCK * self.mixed);
        let mut block = vec![0.0; BLOCK * self.mixed];
        for b in 0..batch {
            let from = &inputs.logits[b * steps * self.mixed..][..steps * self.mixed];
            let to = &mut weights[b * blocks * BLOCK * self.mixed..];
            for (from, to) in from.chunks(BLOCK * self.mixed).zip(to.chunks_exact_mut(BLOCK * self.mixed)) {
                isa.run(Softmax { logits: from, mixed: self.mixed, exponentials: &mut block, weights: to });
            }
        }
        let (state, y) = (Shared::new(state), Shared::new(y));
        let sequence = |b: usize| Sequence {
            layer: self,
            b,
            steps,
            weights: &weights[b * blocks * BLOCK * self.mixed..][..blocks * BLOCK * self.mixed],
            drive: inputs.drive,
            state,
            y,
        };
        if batch == 1 {
            let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
            parallel(threads, |_| {
                isa.run(Blocks { sequence: sequence(0), next: &next, done: &done });
            });
        } else {
            parallel(threads, |n| {
                for b in share(batch, 1, n, threads) {
                    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
                    isa.run(Blocks { sequence: sequence(b), next: &next, done: &done });
                }
            });
        }
        Ok(())
    }
}

/// Weights of the matrices at one step.
fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().fold(f32::NEG_INFINITY, |m, &l| m.max(l));
    let weights: Vec<f32> = logits.iter().map(|l| (l - largest).exp()).collect();
    let sum: f32 = weights.iter().sum();
    weights.into_iter().map(|w| w / sum).collect()
}

/// The weights of the matrices in a block of steps.
struct Softmax<'a> {
    /// `[steps, mixed]`, at most [`BLOCK`] steps.
    logits: &'a [f32],
    mixed: usize,
    /// `[BLOCK, mixed]`.
    exponentials: &'a mut [f32],
    /// `[mixed, BLOCK]`, so that the product of a matrix with all of its weights reads one after the other.
    weights: &'a mut [f32],
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let values = &mut self.exponentials[..self.logits.len()];
        for (to, from) in values.chunks_exact_mut(self.mixed).zip(self.logits.chunks_exact(self.mixed)) {
            let mut largest = f32::NEG_INFINITY;
            for &logit in from {
                largest = if logit > largest { logit } else { largest };
            }
            for (to, logit) in to.iter_mut().zip(from) {
                *to = logit - largest;
            }
        }
        for part in values.chunks_mut(4 * S::LANES) {
            let mut v = [s.splat(0.0); 4];
            for (v, part) in v.iter_mut().zip(part.chunks(S::LANES)) {
                // SAFETY: the part has as many values as it says.
                *v = s.max(s.splat(-104.0), unsafe { s.load_up_to(part.as_ptr(), part.len()) });
            }
            for (v, part) in math::exp(s, v).into_iter().zip(part.chunks_mut(S::LANES)) {
                // SAFETY: the part has as many values as it says.
                unsafe { s.store_up_to(part.as_mut_ptr(), v, part.len()) };
            }
        }
        for (t, from) in values.chunks_exact(self.mixed).enumerate() {
            let factor = 1.0 / from.iter().sum::<f32>();
            for (k, from) in from.iter().enumerate() {
                self.weights[k * BLOCK + t] = from * factor;
            }
        }
    }
}

/// One sequence of the batch.
#[derive(Clone, Copy)]
struct Sequence<'a> {
    layer: &'a SdSsm,
    b: usize,
    steps: usize,
    /// `[blocks, mixed, BLOCK]`.
    weights: &'a [f32],
    drive: &'a [f32],
    state: Shared<'a, f32>,
    y: Shared<'a, f32>,
}

/// The blocks of a sequence, which threads take in turn.
struct Blocks<'a> {
    sequence: Sequence<'a>,
    /// The block that nobody has taken yet.
    next: &'a AtomicUsize,
    /// Blocks that are done.
    done: &'a AtomicUsize,
}

impl Kernel for Blocks<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let layer = self.sequence.layer;
        let kept = layer.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut buffers = kept.unwrap_or_else(|| Buffers {
            mixture: Aligned::zeros(BLOCK * stride(layer)),
            factors: Aligned::zeros(BLOCK * layer.row),
            scaled: Aligned::zeros(layer.row),
        });
        let Buffers { mixture, factors, scaled } = &mut buffers;
        let mut sums = vec![s.splat(0.0); BLOCK * layer.row];
        loop {
            let block = self.next.fetch_add(1, Ordering::Relaxed);
            if block * BLOCK >= self.sequence.steps {
                break;
            }
            mix(s, layer, &self.sequence.weights[block * BLOCK * layer.mixed..], mixture, &mut sums);
            norms(s, layer, &sums, factors);
            // Whoever has the block before is running, so this ends.
            while self.done.load(Ordering::Acquire) != block {
                std::hint::spin_loop();
            }
            let steps = BLOCK.min(self.sequence.steps - block * BLOCK);
            for t in 0..steps {
                self.sequence.step(
                    s,
                    block * BLOCK + t,
                    &mixture[t * stride(layer)..],
                    &factors[t * layer.row..],
                    scaled,
                );
            }
            self.done.store(block + 1, Ordering::Release);
        }
        layer.buffers.lock().unwrap_or_else(PoisonError::into_inner).push(buffers);
    }
}

/// Values from one matrix of a block to the next.
#[inline(always)]
fn stride(layer: &SdSsm) -> usize {
    layer.states * layer.row + PAD
}

/// The mixtures of a block, `[BLOCK, column, row]`, and for each of their columns a vector that adds up to its norm's
/// power.
#[inline(always)]
fn mix<S: Simd>(s: S, layer: &SdSsm, weights: &[f32], mixture: &mut [f32], sums: &mut [S::V]) {
    let (w, row, mixed) = (S::LANES, layer.row, layer.mixed);
    let table = s.table(&layer.exponent);
    let stride = stride(layer);
    let weights = place(weights, 0, BLOCK * mixed);
    let to = Shared::new(mixture);
    let smallest = s.splat(SMALLEST);
    for j in 0..layer.states {
        unroll!(G in [0 4] {
            let mut sum = [s.splat(0.0); 4];
            let mut i = 0;
            while i < row {
                let mut t = [[s.splat(0.0); 4]; 2];
                let pair = if i + w < row { w } else { 0 };
                for k in 0..mixed {
                    // SAFETY: columns of the parameters are whole lines; weights have a whole block.
                    unsafe {
                        let from = place(&layer.columns, (j * mixed + k) * row + i, w);
                        let a = [s.load(from), s.load(from.add(pair))];
                        unroll!(B in [0 1 2 3] {
                            let weight = s.broadcast(weights.add(k * BLOCK + G + B));
                            t[0][B] = s.fma(a[0], weight, t[0][B]);
                            t[1][B] = s.fma(a[1], weight, t[1][B]);
                        });
                    }
                }
                unroll!(V in [0 1] {
                    if V == 0 || pair > 0 {
                        let (mut m, mut scale) = ([smallest; 4], [smallest; 4]);
                        unroll!(B in [0 1 2 3] {
                            // SAFETY: the matrices of a block have whole lines in their columns.
                            unsafe { s.store(to.place((G + B) * stride + j * row + i + V * w, w), t[V][B]) };
                            let a = s.larger_abs(t[V][B], smallest);
                            m[B] = s.exponent_mantissa(a).1;
                            scale[B] = s.look_up_exponent(table, a);
                        });
                        let p = math::polynomial(s, &layer.mantissa, m);
                        unroll!(B in [0 1 2 3] {
                            sum[B] = s.fma(p[B], scale[B], sum[B]);
                        });
                    }
                });
                i += 2 * w;
            }
            for (b, sum) in sum.into_iter().enumerate() {
                sums[(G + b) * row + j] = sum;
            }
        });
    }
}

/// 1 / norm of all columns of a block.
#[inline(always)]
fn norms<S: Simd>(s: S, layer: &SdSsm, sums: &[S::V], factors: &mut [f32]) {
    let exponent = s.splat(-1.0 / layer.power);
    // A block has eight rows of whole lines, so vectors come in fours.
    for (to, from) in factors.chunks_exact_mut(4 * S::LANES).zip(sums.chunks_exact(4 * S::LANES)) {
        let mut z = [exponent; 4];
        for (z, from) in z.iter_mut().zip(from.chunks_exact(S::LANES)) {
            // Sums of columns that do not exist are 0.
            *z = s.larger_abs(s.sums(from), s.splat(1e-30));
        }
        z = math::log2(s, z);
        for z in &mut z {
            *z = s.mul(*z, exponent);
        }
        for (to, factor) in to.chunks_exact_mut(S::LANES).zip(math::exp2(s, z)) {
            // SAFETY: a chunk is a vector.
            unsafe { s.store(to.as_mut_ptr(), factor) };
        }
    }
}

impl Sequence<'_> {
    /// One product with the state.
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, t: usize, mixture: &[f32], factors: &[f32], scaled: &mut [f32]) {
        let (n, row) = (self.layer.states, self.layer.row);
        let mut j = 0;
        while j < n {
            let valid = (n - j).min(S::LANES);
            // SAFETY: `valid` states from `j` on are there; it is this thread's turn.
            unsafe {
                let x = s.load_up_to(self.state.place(self.b * n + j, valid), n - j);
                let factor = s.load(place(factors, j, S::LANES));
                s.store(scaled.as_mut_ptr().add(j), s.mul(x, factor));
            }
            j += S::LANES;
        }
        let mut i = 0;
        while i < n {
            if i + 4 * S::LANES <= n {
                self.rows::<S, 4>(s, t, i, mixture, scaled);
                i += 4 * S::LANES;
            } else {
                self.rows::<S, 1>(s, t, i, mixture, scaled);
                i += S::LANES;
            }
        }
        debug_assert!(scaled.len() >= row);
    }

    /// `NV` vectors of rows from `i` on, four columns at a time.
    #[inline(always)]
    fn rows<S: Simd, const NV: usize>(&self, s: S, t: usize, i: usize, mixture: &[f32], scaled: &[f32]) {
        let (w, n, row) = (S::LANES, self.layer.states, self.layer.row);
        let left = n - i;
        let valid = if NV == 1 { left.min(w) } else { w };
        let at = (self.b * self.steps + t) * n + i;
        // SAFETY: columns of a mixture are whole lines; `valid` states from `i` on are there (all of them where `NV` is
        // more than 1); it is this thread's turn.
        unsafe {
            let mut sum = [[s.splat(0.0); NV]; 4];
            for v in 0..NV {
                sum[0][v] = s.load_up_to(place(self.drive, at + v * w, valid), left);
            }
            let mut j = 0;
            while j + 4 <= n {
                unroll!(U in [0 1 2 3] {
                    let x = s.broadcast(place(scaled, j + U, 1));
                    for v in 0..NV {
                        sum[U][v] = s.fma(s.load(place(mixture, (j + U) * row + i + v * w, w)), x, sum[U][v]);
                    }
                });
                j += 4;
            }
            while j < n {
                let x = s.broadcast(place(scaled, j, 1));
                for v in 0..NV {
                    sum[0][v] = s.fma(s.load(place(mixture, j * row + i + v * w, w)), x, sum[0][v]);
                }
                j += 1;
            }
            for v in 0..NV {
                let x = s.add(s.add(sum[0][v], sum[1][v]), s.add(sum[2][v], sum[3][v]));
                s.store_up_to(self.y.place(at + v * w, valid), x, left);
                s.store_up_to(self.state.place(self.b * n + i + v * w, valid), x, left);
            }
        }
    }
}
