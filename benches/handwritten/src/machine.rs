//! What the machine does at best, from which bounds follow: measured in about a second.
//!
//! - Vector operations per second: twelve chains of multiply-adds side by side, which keep all units busy.
//! - The clock while it does that: one chain of multiply-adds, each of four cycles (Intel since Skylake, AMD since Zen).
//! - Bandwidth: a streamed sum of two arrays into a third, each of 64 MB, with a store past the caches.
//!
//! The smallest of many times counts, so that a preempted measurement does no harm.

use std::hint::black_box;

use crate::clock::now;
use crate::memory::{Shared, parallel, place, share};
use crate::simd::{Isa, Kernel, Simd, fence};

/// Cycles of a multiply-add.
const LATENCY: f64 = 4.0;

/// The figures of a machine.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// Vector operations per second for each of [`Isa::ALL`]; one value at a time for the first.
    pub operations: [f64; 4],
    /// Cycles per second while these run.
    pub hertz: [f64; 4],
    /// Bytes per second with one and with two threads.
    pub bandwidth: [f64; 2],
}

impl Profile {
    /// Measures the machine.
    pub fn measure() -> Self {
        let mut operations = [0.0; 4];
        let mut hertz = [0.0; 4];
        for (at, isa) in Isa::ALL.into_iter().enumerate().filter(|(_, isa)| isa.is_available()) {
            let steps = 20_000;
            // One value at a time is what a plain loop has: its figures are those of the narrowest vectors.
            let vector = if isa == Isa::Plain { Isa::Avx2 } else { isa };
            let wide = smallest(1, 50, || _ = black_box(vector.run(Chains { steps })));
            let chain = smallest(1, 50, || _ = black_box(vector.run(Chain { steps })));
            operations[at] = f64::from(steps) * 12.0 / wide;
            hertz[at] = f64::from(steps) * LATENCY / chain;
        }
        Self { operations, hertz, bandwidth: [bandwidth(1), bandwidth(2)] }
    }

    /// Vector operations and cycles per second with these instructions.
    pub fn of(&self, isa: Isa) -> (f64, f64) {
        let at = Isa::ALL.iter().position(|of| *of == isa).unwrap_or(0);
        (self.operations[at], self.hertz[at])
    }
}

/// The smallest time of some runs.
fn smallest(threads: usize, runs: usize, mut run: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..runs {
        let start = now(threads);
        run();
        best = best.min((now(threads) - start).as_secs_f64());
    }
    best
}

struct Chains {
    steps: i32,
}

impl Kernel for Chains {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let (factor, offset) = (s.splat(black_box(0.9999)), s.splat(black_box(0.0001)));
        let mut sums = [s.splat(0.5); 12];
        for _ in 0..self.steps {
            for sum in &mut sums {
                *sum = s.pin(s.fma(*sum, factor, offset));
            }
        }
        let mut all = sums[0];
        for sum in &sums[1..] {
            all = s.add(all, *sum);
        }
        s.sum(all)
    }
}

struct Chain {
    steps: i32,
}

impl Kernel for Chain {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let (factor, offset) = (s.splat(black_box(0.9999)), s.splat(black_box(0.0001)));
        let mut sum = s.splat(0.5);
        for _ in 0..self.steps {
            sum = s.pin(s.fma(sum, factor, offset));
        }
        s.sum(sum)
    }
}

/// Bytes per second of `c = a + b` over arrays that no cache holds.
fn bandwidth(threads: usize) -> f64 {
    let len = 1 << 24;
    let (a, b, mut c) = (vec![1.0_f32; len], vec![2.0_f32; len], vec![0.0_f32; len + 16]);
    let from = c.as_ptr().align_offset(64);
    let c = Shared::new(&mut c[from..][..len]);
    let seconds = smallest(threads, 6, || {
        parallel(threads, |n| {
            let part = share(len, 16, n, threads);
            // Streams of 256 bits are the fastest where both are there.
            let isa = if Isa::Avx2.is_available() { Isa::Avx2 } else { Isa::Plain };
            if isa.run(Sum { a: &a, b: &b, c, part: part.clone() }).is_none() {
                for i in part {
                    // SAFETY: every thread has a part of its own.
                    unsafe { *c.place(i, 1) = a[i] + b[i] };
                }
            }
        });
    });
    12.0 * len as f64 / seconds
}

struct Sum<'a> {
    a: &'a [f32],
    b: &'a [f32],
    c: Shared<'a, f32>,
    part: std::ops::Range<usize>,
}

impl Kernel for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for i in self.part.step_by(S::LANES) {
            // SAFETY: parts are whole lines, begin with one, and belong to one thread each.
            unsafe {
                let sum = s.add(s.load(place(self.a, i, S::LANES)), s.load(place(self.b, i, S::LANES)));
                s.stream(self.c.place(i, S::LANES), sum);
            }
        }
        fence();
    }
}
