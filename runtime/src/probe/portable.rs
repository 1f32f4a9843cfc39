//! The loops in plain Rust, for processors without loops of their own.

use std::hint::black_box;

use super::{CHAIN, CHAINS, Line, Load};

/// Dependent operations on integers that take a cycle each and that no compiler folds into one.
pub(super) fn chain(rounds: u64) {
    let mut x = black_box(1u64);
    for _ in 0..rounds {
        for _ in 0..CHAIN / 4 {
            x ^= x << 13;
            x ^= x >> 7;
        }
    }
    black_box(x);
}

pub(super) fn multiply_add(load: Load, rounds: u64) {
    let (scale, offset) = (black_box([0.5f32; 4]), black_box([0.25f32; 4]));
    let mut chains = [[1f32; 4]; CHAINS as usize];
    let count = match load {
        Load::Waiting => 4,
        Load::Full => chains.len(),
    };
    for _ in 0..rounds {
        for chain in &mut chains[..count] {
            for (lane, x) in chain.iter_mut().enumerate() {
                *x = *x * scale[lane] + offset[lane];
            }
        }
        black_box(&mut chains);
    }
}

pub(super) fn divide(bits: u32, rounds: u64) {
    fn run<T: Copy + std::ops::Div<Output = T>, const N: usize>(a: T, b: T, rounds: u64) {
        for _ in 0..rounds {
            for _ in 0..CHAINS {
                let (a, b) = (black_box([a; N]), black_box([b; N]));
                black_box(std::array::from_fn::<T, N, _>(|lane| a[lane] / b[lane]));
            }
        }
    }
    match bits {
        64 => run::<f64, 2>(1.5, 1.25, rounds),
        _ => run::<f32, 4>(1.5, 1.25, rounds),
    }
}

pub(super) fn load(from: &[Line]) {
    let mut sums = [0u64; 8];
    for line in from {
        for (sum, x) in sums.iter_mut().zip(&line.0) {
            *sum ^= x;
        }
    }
    black_box(sums);
}

pub(super) fn store(to: &mut [Line]) {
    to.fill(black_box(Line::ZERO));
    black_box(to);
}

pub(super) fn stream(to: &mut [Line]) {
    store(to);
}

pub(super) fn load_ahead(from: &[Line]) {
    load(from);
}

pub(super) fn copy_ahead(from: &[Line], to: &mut [Line]) {
    copy(from, to, true);
}

pub(super) fn copy(from: &[Line], to: &mut [Line], _past_caches: bool) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
    black_box(to);
}
