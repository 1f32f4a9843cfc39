//! The first-order recurrence of one channel, `s = a·s + b`: the lanes lie along time.
//!
//! With a constant `a` (the exponential moving average `s = a·s + b·x[t]`) the recurrence is looked ahead by a whole
//! vector of `W` steps: `y[t] = a^W·y[t-W] + sum[k < W](a^k·b·x[t-k])`. The sum factors into `1 + a^k z^-k` for
//! k = 1, 2, 4, 8: a shift across vectors and one multiply-add each, none of which waits for the state.
//!
//! With a varying `a[t]`, pairs (a, b) are composed inside of a vector by a scan of `log2 W` shifts, and the state
//! enters at the end. Two threads take half of the time each; the second starts from zero, and what the state at the
//! cut adds is put on top until it has decayed.
//!
//! Source: Parhi and Messerschmitt 1989 (look-ahead); Kogge and Stone 1973 (the scan).

use crate::memory::{Error, Shared, expect, parallel, place, streams};
use crate::simd::{Isa, Kernel, Simd, fence, prefetch, unroll};

/// What is added to the state is dropped where it is smaller than the smallest normal number.
const GONE: f32 = f32::MIN_POSITIVE;

/// Elements that are prefetched ahead.
const AHEAD: usize = 512;

/// The moving average as it stands; gives the last state.
///
/// # Errors
/// Arrays of different lengths.
pub fn plain_constant(a: f32, b: f32, x: &[f32], start: f32, y: &mut [f32]) -> Result<f32, Error> {
    expect("y", y.len(), x.len())?;
    let mut s = start;
    for (y, x) in y.iter_mut().zip(x) {
        s = a * s + b * x;
        *y = s;
    }
    Ok(s)
}

/// The recurrence with a varying factor as it stands; gives the last state.
///
/// # Errors
/// Arrays of different lengths.
pub fn plain_varying(a: &[f32], b: &[f32], start: f32, y: &mut [f32]) -> Result<f32, Error> {
    expect("b", b.len(), a.len())?;
    expect("y", y.len(), a.len())?;
    let mut s = start;
    for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
        s = a * s + b;
        *y = s;
    }
    Ok(s)
}

/// `s = a·s + b·x[t]`, `y[t] = s`, on lanes; gives the last state.
///
/// # Errors
/// Arrays of different lengths.
pub fn constant(isa: Isa, threads: usize, a: f32, b: f32, x: &[f32], start: f32, y: &mut [f32]) -> Result<f32, Error> {
    if isa.lanes() == 1 || !isa.is_available() {
        return plain_constant(a, b, x, start, y);
    }
    expect("y", y.len(), x.len())?;
    let stream = streams(y, 16);
    let cut = cut(x.len(), threads);
    let shared = Shared::new(&mut *y);
    parallel(if cut < x.len() { 2 } else { 1 }, |n| {
        let (x, from, start) = if n == 0 { (&x[..cut], 0, start) } else { (&x[cut..], cut, 0.0) };
        isa.run(Constant { a, b, x, from, start, stream, y: shared });
    });
    if cut < y.len() {
        let mut c = y[cut - 1];
        for y in &mut y[cut..] {
            c *= a;
            if c.abs() < GONE {
                break;
            }
            *y += c;
        }
    }
    Ok(y.last().copied().unwrap_or(start))
}

/// `s = a[t]·s + b[t]`, `y[t] = s`, on lanes; gives the last state.
///
/// # Errors
/// Arrays of different lengths.
pub fn varying(isa: Isa, threads: usize, a: &[f32], b: &[f32], start: f32, y: &mut [f32]) -> Result<f32, Error> {
    if isa.lanes() == 1 || !isa.is_available() {
        return plain_varying(a, b, start, y);
    }
    expect("b", b.len(), a.len())?;
    expect("y", y.len(), a.len())?;
    let stream = streams(y, 16);
    let cut = cut(a.len(), threads);
    let shared = Shared::new(&mut *y);
    parallel(if cut < a.len() { 2 } else { 1 }, |n| {
        let (part, start) = if n == 0 { (0..cut, start) } else { (cut..a.len(), 0.0) };
        isa.run(Varying { a: &a[part.clone()], b: &b[part.clone()], from: part.start, start, stream, y: shared });
    });
    if cut < y.len() {
        let mut c = y[cut - 1];
        for (y, a) in y[cut..].iter_mut().zip(&a[cut..]) {
            c *= a;
            if c.abs() < GONE {
                break;
            }
            *y += c;
        }
    }
    Ok(y.last().copied().unwrap_or(start))
}

/// Where the second thread begins: at a line, and only where there is enough to do.
fn cut(len: usize, threads: usize) -> usize {
    if threads > 1 && len >= 4096 { len / 2 / 16 * 16 } else { len }
}

struct Constant<'a> {
    a: f32,
    b: f32,
    x: &'a [f32],
    /// Where the outputs begin in `y`.
    from: usize,
    start: f32,
    stream: bool,
    y: Shared<'a, f32>,
}

/// The factors of the look-ahead and the vectors that came before, from which their shifts take lanes.
#[derive(Clone, Copy)]
struct Ahead<V> {
    b: V,
    power: [V; 4],
    whole: V,
    before: [V; 4],
}

impl<V: Copy> Ahead<V> {
    /// Four products and shifts: the outputs of a vector of inputs, without the state.
    #[inline(always)]
    fn sum<S: Simd<V = V>>(&mut self, s: S, x: V) -> V {
        let u0 = s.mul(self.b, x);
        let u1 = s.fma(self.power[0], s.shift_in::<1>(u0, self.before[0]), u0);
        let u2 = s.fma(self.power[1], s.shift_in::<2>(u1, self.before[1]), u1);
        let mut u3 = s.fma(self.power[2], s.shift_in::<4>(u2, self.before[2]), u2);
        self.before = [u0, u1, u2, u3];
        if S::LANES == 16 {
            let low = self.before[3];
            u3 = s.fma(self.power[3], s.shift_in::<8>(low, self.last(low)), low);
        }
        u3
    }

    /// Takes the vector before and puts this one in its place.
    #[inline(always)]
    fn last(&mut self, now: V) -> V {
        let before = self.whole;
        self.whole = now;
        before
    }
}

impl Kernel for Constant<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (w, len) = (S::LANES, self.x.len());
        // The first outputs one by one: they are the vector's state.
        let first = w.min(len);
        let mut state = self.start;
        let mut head = [0.0; 16];
        for t in 0..first {
            state = self.a.mul_add(state, self.b * self.x[t]);
            head[t] = state;
        }
        // SAFETY: `first` outputs are there, and no other part has them.
        unsafe { std::ptr::copy_nonoverlapping(head.as_ptr(), self.y.place(self.from, first), first) };
        if len <= w {
            return;
        }
        let zero = s.splat(0.0);
        let powers: [f32; 5] = std::array::from_fn(|k| self.a.powi(1 << k));
        let mut power = [zero; 4];
        unroll!(K in [0 1 2 3] {
            power[K] = s.splat(powers[K]);
        });
        let mut ahead = Ahead { b: s.splat(self.b), power, whole: zero, before: [zero; 4] };
        let step = s.splat(if w == 16 { powers[4] } else { powers[3] });
        // SAFETY: vectors from `t` on are inside of `x` and of the outputs, which no other part has; where stores are
        // streamed, outputs begin with a line.
        unsafe {
            let mut y = s.load(head.as_ptr());
            ahead.sum(s, s.load(place(self.x, 0, w)));
            let mut t = w;
            while t + 4 * w <= len {
                unroll!(K in [0 1 2 3] {
                    if 16 * K < 4 * S::LANES {
                        prefetch(self.x.as_ptr().wrapping_add(t + AHEAD + 16 * K));
                    }
                });
                unroll!(K in [0 1 2 3] {
                    let i = t + K * w;
                    y = s.fma(step, y, ahead.sum(s, s.load(place(self.x, i, w))));
                    let to = self.y.place(self.from + i, w);
                    if self.stream { s.stream(to, y) } else { s.store(to, y) }
                });
                t += 4 * w;
            }
            while t < len {
                let n = len - t;
                let valid = n.min(w);
                y = s.fma(step, y, ahead.sum(s, s.load_up_to(place(self.x, t, valid), n)));
                s.store_up_to(self.y.place(self.from + t, valid), y, n);
                t += w;
            }
        }
        fence();
    }
}

struct Varying<'a> {
    a: &'a [f32],
    b: &'a [f32],
    /// Where the outputs begin in `y`.
    from: usize,
    start: f32,
    stream: bool,
    y: Shared<'a, f32>,
}

/// Composes the steps of a vector: lane `t` becomes the steps 0 to `t`.
#[inline(always)]
fn compose<S: Simd>(s: S, mut a: S::V, mut b: S::V) -> (S::V, S::V) {
    let (one, zero) = (s.splat(1.0), s.splat(0.0));
    b = s.fma(a, s.shift_in::<1>(b, zero), b);
    a = s.mul(a, s.shift_in::<1>(a, one));
    b = s.fma(a, s.shift_in::<2>(b, zero), b);
    a = s.mul(a, s.shift_in::<2>(a, one));
    b = s.fma(a, s.shift_in::<4>(b, zero), b);
    a = s.mul(a, s.shift_in::<4>(a, one));
    if S::LANES == 16 {
        b = s.fma(a, s.shift_in::<8>(b, zero), b);
        a = s.mul(a, s.shift_in::<8>(a, one));
    }
    (a, b)
}

impl Kernel for Varying<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (w, len) = (S::LANES, self.a.len());
        let mut state = s.splat(self.start);
        let mut t = 0;
        // SAFETY: vectors from `t` on are inside of `a`, `b` and the outputs, which no other part has; where stores are
        // streamed, outputs begin with a line.
        unsafe {
            while t + 4 * w <= len {
                unroll!(K in [0 1 2 3] {
                    if 16 * K < 4 * S::LANES {
                        prefetch(self.a.as_ptr().wrapping_add(t + AHEAD + 16 * K));
                        prefetch(self.b.as_ptr().wrapping_add(t + AHEAD + 16 * K));
                    }
                });
                unroll!(K in [0 1 2 3] {
                    let i = t + K * w;
                    let (a, b) = compose(s, s.load(place(self.a, i, w)), s.load(place(self.b, i, w)));
                    let y = s.fma(a, state, b);
                    state = s.splat_from_end::<0>(y);
                    let to = self.y.place(self.from + i, w);
                    if self.stream { s.stream(to, y) } else { s.store(to, y) }
                });
                t += 4 * w;
            }
            while t < len {
                let n = len - t;
                let valid = n.min(w);
                let a = s.load_up_to(place(self.a, t, valid), n);
                let (a, b) = compose(s, a, s.load_up_to(place(self.b, t, valid), n));
                let y = s.fma(a, state, b);
                state = s.splat_from_end::<0>(y);
                s.store_up_to(self.y.place(self.from + t, valid), y, n);
                t += w;
            }
        }
        fence();
    }
}
