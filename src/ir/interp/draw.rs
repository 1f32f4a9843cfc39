//! What only initialisers use: random numbers and tables of eigenvalues.
//!
//! Random numbers come from ChaCha with 8 rounds. Its key is the seed (as `seed_from_u64` of `rand_core` 0.9
//! spreads it over the key), and its stream is the FNV-1a hash of the name of the parameter or state in 64 bits, so
//! that what one parameter gets depends neither on the others nor on their order. A uniform number in `[0, 1)` is the upper
//! 53 bits of one word of 64 bits; a normal one is made of two of them by the transform of Box and Muller:
//! `sqrt(-2 log(1 - u)) cos(2 pi v)`. They are drawn in the order in which elements are evaluated: row-major.

use std::collections::HashMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::ir::hippo;

/// The source of random numbers, and the eigenvalues found so far.
#[derive(Default)]
pub(super) struct Draws {
    random: Option<ChaCha8Rng>,
    eigenvalues: HashMap<i64, Vec<f64>>,
    /// A size of which no eigenvalues are computed was asked for.
    pub(super) too_large: Option<i64>,
}

impl Draws {
    /// For what draws nothing.
    pub(super) fn none() -> Self {
        Self::default()
    }

    /// Starts the stream of a parameter or state.
    pub(super) fn start(&mut self, seed: u64, name: &str) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(fnv1a(name));
        self.random = Some(random);
    }

    /// Uniform in `[0, 1)`.
    pub(super) fn uniform(&mut self) -> f64 {
        let random = self.random.as_mut().expect("only initialisers draw random numbers");
        (random.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Mean 0, variance 1.
    pub(super) fn normal(&mut self) -> f64 {
        let (u, v) = (self.uniform(), self.uniform());
        libm::sqrt(-2.0 * libm::log1p(-u)) * libm::cos(std::f64::consts::TAU * v)
    }

    /// The imaginary part of eigenvalue `i` of the normal part of HiPPO-LegS of size `n`.
    pub(super) fn hippo_n(&mut self, n: i64, i: i64) -> f64 {
        if n > hippo::MAX_SIZE {
            self.too_large = Some(n);
            return f64::NAN;
        }
        let all = self.eigenvalues.entry(n).or_insert_with(|| hippo::normal_frequencies(n.max(0) as usize));
        usize::try_from(i).ok().and_then(|i| all.get(i)).copied().unwrap_or(f64::NAN)
    }
}

fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
