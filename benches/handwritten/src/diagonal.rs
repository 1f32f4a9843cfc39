//! The diagonal recurrence `h[d] = a[t, d]·h[d] + b[t, d]`, `y[t, d] = h[d]` for many channels.
//!
//! There is one multiply-add for twelve bytes, so only the way of the bytes matters. What is larger than the second
//! level is read row by row with the rows to come prefetched, and written past the caches, with h in the first level.
//! What fits is worked off in columns of four vectors, whose h stays in registers over all steps.

use crate::memory::{Error, Shared, expect, parallel, place, share, streams};
use crate::simd::{Isa, Kernel, Simd, fence, prefetch, unroll};

/// Rows that are prefetched ahead.
const AHEAD: usize = 4;

fn check(channels: usize, a: &[f32], b: &[f32], h: &[f32], y: &[f32]) -> Result<usize, Error> {
    expect("h", h.len(), channels)?;
    let steps = a.len().checked_div(channels).unwrap_or(0);
    expect("a", a.len(), steps * channels)?;
    expect("b", b.len(), a.len())?;
    expect("y", y.len(), a.len())?;
    Ok(steps)
}

/// The recurrence as it stands.
///
/// # Shapes
/// a, b, y: `[steps, channels]`; h: `[channels]`, in and out
/// # Errors
/// An array of another length.
pub fn plain(channels: usize, a: &[f32], b: &[f32], h: &mut [f32], y: &mut [f32]) -> Result<(), Error> {
    check(channels, a, b, h, y)?;
    if channels == 0 {
        return Ok(());
    }
    let rows = a.chunks_exact(channels).zip(b.chunks_exact(channels));
    for (y, (a, b)) in y.chunks_exact_mut(channels).zip(rows) {
        for (((y, h), a), b) in y.iter_mut().zip(&mut *h).zip(a).zip(b) {
            *h = a * *h + b;
            *y = *h;
        }
    }
    Ok(())
}

/// The recurrence on lanes, the channels shared out to the threads.
///
/// # Shapes
/// As for [`plain`].
/// # Errors
/// An array of another length.
pub fn run(
    isa: Isa,
    threads: usize,
    channels: usize,
    a: &[f32],
    b: &[f32],
    h: &mut [f32],
    y: &mut [f32],
) -> Result<(), Error> {
    if isa.lanes() == 1 || !isa.is_available() {
        return plain(channels, a, b, h, y);
    }
    let steps = check(channels, a, b, h, y)?;
    let stream = streams(y, channels);
    let (h, y) = (Shared::new(h), Shared::new(y));
    parallel(threads, |n| {
        let part = share(channels, 16, n, threads.max(1));
        isa.run(Part { steps, channels, part, stream, a, b, h, y });
    });
    Ok(())
}

struct Part<'a> {
    steps: usize,
    channels: usize,
    part: std::ops::Range<usize>,
    stream: bool,
    a: &'a [f32],
    b: &'a [f32],
    h: Shared<'a, f32>,
    y: Shared<'a, f32>,
}

impl Kernel for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if self.stream {
            self.rows(s);
            fence();
            return;
        }
        let mut d = self.part.start;
        while d + 4 * S::LANES <= self.part.end {
            self.columns(s, d);
            d += 4 * S::LANES;
        }
        while d < self.part.end {
            self.column(s, d, self.part.end - d);
            d += S::LANES;
        }
    }
}

impl Part<'_> {
    /// Row by row; rows are whole lines and begin with one.
    #[inline(always)]
    fn rows<S: Simd>(&self, s: S) {
        for t in 0..self.steps {
            let mut d = self.part.start;
            while d < self.part.end {
                let i = t * self.channels + d;
                prefetch(self.a.as_ptr().wrapping_add(i + AHEAD * self.channels));
                prefetch(self.b.as_ptr().wrapping_add(i + AHEAD * self.channels));
                let mut e = 0;
                while e < 16 {
                    // SAFETY: the part is whole lines of 16 channels; no other part has them.
                    unsafe {
                        let at = self.h.place(d + e, S::LANES);
                        let a = s.load(place(self.a, i + e, S::LANES));
                        let b = s.load(place(self.b, i + e, S::LANES));
                        let h = s.fma(a, s.load(at), b);
                        s.store(at, h);
                        s.stream(self.y.place(i + e, S::LANES), h);
                    }
                    e += S::LANES;
                }
                d += 16;
            }
        }
    }

    /// Four vectors of channels over all steps.
    #[inline(always)]
    fn columns<S: Simd>(&self, s: S, d: usize) {
        let w = S::LANES;
        // SAFETY: four vectors from `d` on are inside of the part, and no other part has them.
        unsafe {
            let mut h = [s.splat(0.0); 4];
            unroll!(K in [0 1 2 3] {
                h[K] = s.load(self.h.place(d + K * w, w));
            });
            for t in 0..self.steps {
                let i = t * self.channels + d;
                unroll!(K in [0 1 2 3] {
                    h[K] = s.fma(s.load(place(self.a, i + K * w, w)), h[K], s.load(place(self.b, i + K * w, w)));
                    s.store(self.y.place(i + K * w, w), h[K]);
                });
            }
            unroll!(K in [0 1 2 3] {
                s.store(self.h.place(d + K * w, w), h[K]);
            });
        }
    }

    /// One vector of channels, or the `n` that are left.
    #[inline(always)]
    fn column<S: Simd>(&self, s: S, d: usize, n: usize) {
        let valid = n.min(S::LANES);
        // SAFETY: `valid` channels from `d` on are inside of the part, and no other part has them.
        unsafe {
            let mut h = s.load_up_to(self.h.place(d, valid), n);
            for t in 0..self.steps {
                let i = t * self.channels + d;
                h = s.fma(s.load_up_to(place(self.a, i, valid), n), h, s.load_up_to(place(self.b, i, valid), n));
                s.store_up_to(self.y.place(i, valid), h, n);
            }
            s.store_up_to(self.h.place(d, valid), h, n);
        }
    }
}
