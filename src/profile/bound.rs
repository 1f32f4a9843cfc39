//! What a run takes at least on a machine: by its arithmetic, by the memory it moves, by what has to wait.
//!
//! In: the [`Cost`] of a layer's step, a [`Run`] of it, a [`Profile`]. Out: [`Bound`], in seconds. All three are
//! lower bounds for code that does the operations that the layer names, one vector instruction for each:
//!
//! - *arithmetic*: additions, multiplications and the like go through the multiply-add units, all lanes full;
//!   divisions and square roots through theirs, at the same time; the slower counts. Work is spread over all threads.
//! - *memory*: every input is read once and every output written once, and parameters and states are read once. The
//!   bandwidth is that of the level that holds all of it, since a run that is repeated finds its data there.
//! - *latency*: the chain of operations from a step's state to the next one's, step after step. It holds for
//!   plans that run in order, and not for those that compose steps in parallel.

use super::{Profile, Width};
use crate::analysis::cost::{Cost, Operations};

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// The steps of all sequences together.
    pub total: usize,
    /// The steps of the longest sequence.
    pub longest: usize,
    /// How many sequences there are.
    pub sequences: usize,
    /// How many threads compute.
    pub threads: usize,
    /// The width of reals in bits.
    pub bits: u32,
    /// The width of vectors in bits.
    pub vector: u32,
    /// Whether steps run in order.
    pub in_order: bool,
}

/// What bounds a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The operations.
    Arithmetic,
    /// The bytes.
    Memory,
    /// The chain from state to state.
    Latency,
}

impl Limit {
    /// Its name in the contract.
    pub fn name(self) -> &'static str {
        match self {
            Limit::Arithmetic => "arithmetic",
            Limit::Memory => "memory",
            Limit::Latency => "latency",
        }
    }
}

/// Lower bounds of a run's time in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// By its operations.
    pub arithmetic: f64,
    /// By its bytes.
    pub memory: f64,
    /// By the chain from state to state; 0 where steps need not run in order.
    pub latency: f64,
}

impl Bound {
    /// The bounds of a run.
    pub fn of(cost: &Cost, run: &Run, profile: &Profile) -> Self {
        let width = profile.width(run.vector);
        let lanes = f64::from(width.bits) / f64::from(run.bits);
        let steps = run.total as f64;
        let threads = run.threads.max(1) as f64;
        let seconds = |operations: &Operations| arithmetic(operations, width, run.bits) / lanes;
        let arithmetic = (seconds(&cost.step) * steps + seconds(&cost.once)) / threads;

        let bytes = &cost.bytes;
        let carried = bytes.state as f64 * run.sequences as f64;
        let read = bytes.inputs as f64 * steps + bytes.params as f64 + carried;
        let written = bytes.outputs as f64 * steps + carried;
        let level = profile.level(read + bytes.outputs as f64 * steps, run.threads);
        let memory = level.bandwidth(run.threads).seconds(read, written);

        let cycles = cost.chain.cycles(profile.latency);
        let latency = if run.in_order { cycles * run.longest as f64 / (width.ghz * 1e9) } else { 0.0 };
        Self { arithmetic, memory, latency }
    }

    /// The largest of the three.
    pub fn seconds(&self) -> f64 {
        self.arithmetic.max(self.memory).max(self.latency)
    }

    /// Which one is the largest.
    pub fn limit(&self) -> Limit {
        let all = [(self.arithmetic, Limit::Arithmetic), (self.memory, Limit::Memory), (self.latency, Limit::Latency)];
        all.into_iter().fold(all[0], |most, next| if next.0 > most.0 { next } else { most }).1
    }
}

/// The seconds that operations take on one lane.
fn arithmetic(operations: &Operations, width: &Width, bits: u32) -> f64 {
    let cycles = 1e-9 / width.ghz;
    let plain = operations.instructions(bits) / width.multiply_adds;
    let divisions = operations.divided() / width.divisions(bits);
    plain.max(divisions) * cycles
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::cost::{Bytes, Chain};
    use crate::profile::tests::sample;

    /// 100 multiplications and 2 divisions a step, 12 bytes in and 4 out, a chain of 3.
    fn cost() -> Cost {
        Cost {
            once: Operations { adds: 800, ..Operations::default() },
            step: Operations { multiplies: 100, divisions: 2, ..Operations::default() },
            bytes: Bytes { inputs: 12, outputs: 4, state: 0, params: 0 },
            chain: Chain { operations: 3.0 },
        }
    }

    fn run() -> Run {
        Run { total: 1000, longest: 500, sequences: 2, threads: 1, bits: 32, vector: 512, in_order: true }
    }

    fn near(a: f64, b: f64) {
        assert!((a / b - 1.0).abs() < 1e-9, "{a} {b}");
    }

    #[test]
    fn bounds_are_those_of_the_profile() {
        let bound = Bound::of(&cost(), &run(), &sample());
        // 16 lanes, two a cycle, at 2 GHz: 100 000 and 800 operations.
        near(bound.arithmetic, 100_800.0 / 16.0 / 2.0 / 2e9);
        // 16 000 bytes lie in the first cache: twice 4000 copied at 100, 8000 read at 100, in 10^9 bytes a second.
        near(bound.memory, 16_000.0 / 100e9);
        // 3 operations of 4 cycles, 500 times.
        near(bound.latency, 6000.0 / 2e9);
        assert_eq!((bound.limit(), bound.seconds()), (Limit::Latency, bound.latency));
    }

    #[test]
    fn threads_share_operations_and_not_the_chain() {
        let two = Bound::of(&cost(), &Run { threads: 2, ..run() }, &sample());
        let one = Bound::of(&cost(), &run(), &sample());
        near(two.arithmetic, one.arithmetic / 2.0);
        near(two.latency, one.latency);
        assert!(two.memory < one.memory);
    }

    #[test]
    fn composed_steps_do_not_wait() {
        let bound = Bound::of(&cost(), &Run { in_order: false, ..run() }, &sample());
        assert_eq!((bound.latency, bound.limit()), (0.0, Limit::Arithmetic));
    }

    #[test]
    fn divisions_have_a_unit_of_their_own() {
        let mut cost = cost();
        cost.once = Operations::default();
        cost.step.divisions = 40;
        // 40 a step, 16 lanes, a tenth of a vector a cycle.
        near(Bound::of(&cost, &run(), &sample()).arithmetic, 40_000.0 / 16.0 / 0.1 / 2e9);
        // In 128 bits of f64: 2 lanes at 3 GHz, an eighth of a vector a cycle.
        let narrow = Run { bits: 64, vector: 128, ..run() };
        near(Bound::of(&cost, &narrow, &sample()).arithmetic, 40_000.0 / 2.0 / 0.125 / 3e9);
    }
}
