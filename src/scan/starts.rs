//! The starts of all stretches.

use ssmc_runtime::stretch::Stretches;
use ssmc_runtime::{Bound, Carry, Float, RunError, Sequences, Tensor};

use super::Scan;
use super::group::Group;
use crate::ir::interp::Real;

/// What the starts of a run's stretches follow from.
pub(super) struct Starts<'a, F> {
    pub(super) scan: &'a Scan<F>,
    pub(super) bound: &'a Bound<F>,
    pub(super) sequences: &'a Sequences,
    pub(super) inputs: &'a [Tensor<F>],
    pub(super) cut: &'a Stretches,
    pub(super) threads: usize,
}

impl<F: Real> Starts<'_, F> {
    /// What every stretch starts from: the carry with a row for each of them.
    pub(super) fn find(&self, carry: &Carry<F>) -> Result<Carry<F>, RunError> {
        let owners = self.cut.owners();
        let rows = |tensor: &Tensor<F>| tensor.rows(owners.iter().copied());
        let steps = owners.iter().enumerate().map(|(stretch, &owner)| {
            let passed = self.cut.rows(stretch).start - self.sequences.range(owner).start;
            carry.steps[owner] + passed as u64
        });
        let mut starts = Carry {
            steps: steps.collect(),
            states: carry.states.iter().map(rows).collect(),
            delays: carry.delays.iter().map(rows).collect(),
        };
        self.scan.delays.fill(self, &mut starts)?;
        for group in &self.scan.groups {
            self.group(group, carry, &mut starts)?;
        }
        Ok(starts)
    }

    /// Gives a group's states their starts.
    fn group(&self, group: &Group<F>, carry: &Carry<F>, starts: &mut Carry<F>) -> Result<(), RunError> {
        if let Some(maps) = &group.maps {
            return maps.fill(self, group.own(), starts);
        }
        // The stretch that comes last needs no summary.
        let shorter = |stretches: &std::ops::Range<usize>| match group.reverse {
            false => stretches.start..stretches.end.saturating_sub(1).max(stretches.start),
            true => (stretches.start + 1).min(stretches.end)..stretches.end,
        };
        let needed: Vec<std::ops::Range<usize>> = self.cut.of().iter().map(shorter).collect();
        let all: Vec<usize> = needed.iter().cloned().flatten().collect();
        let mut offsets = vec![0];
        offsets.extend(needed.iter().scan(0, |sum, stretches| {
            *sum += stretches.len();
            Some(*sum)
        }));
        let summarised = self.summarise(group, starts, &all)?;
        let order = Sequences::packed(offsets).expect("offsets ascend");
        let length = all.first().map_or(0, |&s| self.cut.rows(s).len());
        let bound = group.apply_bound(self.bound, length)?;
        let before = group.own().iter().map(|&s| carry.states[s].clone()).collect();
        let mut scanned = Carry { steps: vec![0; order.count()], states: before, delays: Vec::new() };
        let after = group.apply.run(&bound, &order, &summarised, &mut scanned, self.threads, &|_| {})?;
        let next = |&stretch: &usize| if group.reverse { stretch - 1 } else { stretch + 1 };
        for (&state, after) in group.own().iter().zip(&after) {
            starts.states[state].set_rows(all.iter().map(next), after);
        }
        Ok(())
    }

    /// The summaries of these stretches: the own states and the products, with a row for each.
    fn summarise(&self, group: &Group<F>, starts: &Carry<F>, stretches: &[usize]) -> Result<Vec<Tensor<F>>, RunError> {
        let rows = |tensor: &Tensor<F>| tensor.rows(stretches.iter().copied());
        let earlier = group.states[..group.earlier].iter().map(|&s| rows(&starts.states[s]));
        let neutral = group.neutral.iter().map(|tensor| repeated(tensor, stretches.len()));
        let mut carry = Carry {
            steps: stretches.iter().map(|&s| starts.steps[s]).collect(),
            states: earlier.chain(neutral).collect(),
            delays: starts.delays.iter().map(rows).collect(),
        };
        let bound = group.summary_bound(self.bound);
        let sequences = self.cut.pick(stretches);
        group.summary.run(&bound, &sequences, self.inputs, &mut carry, self.threads, &|_| {})?;
        Ok(carry.states.split_off(group.earlier))
    }

    /// Takes what stands behind each sequence from what stands behind its stretches.
    pub(super) fn finish(&self, ends: &Carry<F>, carry: &mut Carry<F>) {
        for (sequence, stretches) in self.cut.of().iter().enumerate().filter(|(_, stretches)| !stretches.is_empty()) {
            let last = stretches.end - 1;
            for group in &self.scan.groups {
                let end = if group.reverse { stretches.start } else { last };
                for &state in group.own() {
                    carry.states[state].set_rows([sequence], &ends.states[state].rows([end]));
                }
            }
            for (delay, ends) in carry.delays.iter_mut().zip(&ends.delays) {
                delay.set_rows([sequence], &ends.rows([last]));
            }
            carry.steps[sequence] = ends.steps[last];
        }
    }
}

/// That many rows, each the same slice.
pub(super) fn repeated<F: Float>(slice: &Tensor<F>, rows: usize) -> Tensor<F> {
    let mut row = slice.clone();
    row.shape.insert(0, 1);
    row.rows(std::iter::repeat_n(0, rows))
}
