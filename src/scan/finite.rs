//! Maps of a few states, on stretches of time.
//!
//! In: a layer that its kernel runs as maps ([`crate::jit::finite`]), or a group of states that alone makes such a layer.
//! A stretch's summary is its [`Map`], 16 bytes that are composed by byte shuffles; applied one after the other they
//! give the true start of every stretch. Where a layer has no outputs that is all there is to do.

use std::ops::Range;

use ssmc_runtime::stretch::Stretches;
use ssmc_runtime::{Bound, Carry, Run, RunError, Tensor};

use super::Scan;
use super::starts::Starts;
use crate::analysis::verdict::summary::restrict;
use crate::diag::Diagnostic;
use crate::ir::interp::Real;
use crate::ir::{Instance, StateId, ValueKind};
use crate::jit::finite::{Finite, Map, counts};
use crate::jit::{Form, Isa, Kernel, compile_for};

/// Runs all sequences.
///
/// # Errors
/// As for [`Scan::run`].
pub(super) fn run<F: Real>(scan: &Scan<F>, finite: &Finite<F>, run: Run<'_, F>) -> Result<(), RunError> {
    let whole = &scan.whole;
    let inputs = &finite.taken(whole.signature(), run.sequences, run.inputs)?;
    let mut run = Run { inputs, ..run };
    let Run { bound, sequences, threads, .. } = run;
    let cut = Stretches::cut(sequences, scan.stretch(sequences));
    if cut.of().iter().all(|stretches| stretches.len() <= 1) {
        whole.perform(run)?;
        return Ok(());
    }
    whole.check_places(sequences, run.outputs, run.carry)?;
    // What follows the last stretch is what running it leaves.
    let summarised =
        |stretches: &Range<usize>| if run.outputs.is_empty() { stretches.clone() } else { followed(stretches) };
    let needed: Vec<usize> = cut.of().iter().flat_map(summarised).collect();
    let maps = whole.maps(bound, &cut.pick(&needed), inputs, threads).expect("the layer has maps")?;
    let mut maps = maps.into_iter();
    if run.outputs.is_empty() {
        for (sequence, stretches) in cut.of().iter().enumerate() {
            for map in maps.by_ref().take(stretches.len()) {
                finite.apply(map, run.carry, sequence);
            }
            run.carry.steps[sequence] += sequences.range(sequence).len() as u64;
        }
        (run.progress)(sequences.steps() as u64);
        return Ok(());
    }
    let owners = cut.owners();
    let steps = owners.iter().enumerate().map(|(stretch, &owner)| {
        run.carry.steps[owner] + (cut.rows(stretch).start - sequences.range(owner).start) as u64
    });
    let states = run.carry.states.iter().map(|state| state.rows(owners.iter().copied())).collect();
    let mut starts = Carry { steps: steps.collect(), states, delays: Vec::new() };
    advance(finite, &cut, maps, &mut starts);
    whole.perform(Run { sequences: &cut.sequences(), carry: &mut starts, ..run.lent() })?;
    let carry = run.carry;
    for (sequence, stretches) in cut.of().iter().enumerate().filter(|(_, stretches)| !stretches.is_empty()) {
        let last = stretches.end - 1;
        for (state, ends) in carry.states.iter_mut().zip(&starts.states) {
            state.set_rows([sequence], &ends.rows([last]));
        }
        carry.steps[sequence] = starts.steps[last];
    }
    Ok(())
}

/// Gives every stretch but the first of each sequence its start; there is a map for every stretch but the last of each.
fn advance<F: Real>(finite: &Finite<F>, cut: &Stretches, mut maps: impl Iterator<Item = Map>, starts: &mut Carry<F>) {
    for stretches in cut.of() {
        for stretch in stretches.clone().skip(1) {
            for state in &mut starts.states {
                let before = state.rows([stretch - 1]);
                state.set_rows([stretch], &before);
            }
            finite.apply(maps.next().expect("all stretches but the last have a map"), starts, stretch);
        }
    }
}

/// A group of states that alone is a layer of maps.
pub(super) struct Maps<F> {
    kernel: Kernel<F>,
    /// The inputs that it reads.
    inputs: Vec<usize>,
}

impl<F: Real> Maps<F> {
    /// The maps of a group, where it reads no earlier one; `None` where it has too many states, or they depend on more
    /// than a few values of inputs.
    ///
    /// # Errors
    /// What [`compile_for`] refuses.
    pub(super) fn of(whole: &Instance, states: &[StateId], isa: Isa) -> Result<Option<Self>, Vec<Diagnostic>> {
        let mut alone = whole.layer.clone();
        restrict(&mut alone, states);
        let mut read = vec![false; alone.values.len()];
        for equation in &alone.equations {
            equation.body.reads().iter().for_each(|value| read[value.at()] = true);
        }
        alone.reset.iter().for_each(|reset| read[reset.at()] = true);
        let inputs = (0..alone.inputs.len()).filter(|&i| read[alone.inputs[i].at()]).collect();
        let (kept, left): (Vec<_>, Vec<_>) = alone.inputs.iter().partition(|input| read[input.at()]);
        alone.inputs = kept;
        left.iter().for_each(|value| alone.values[value.at()].kind = ValueKind::Let);
        let instance = Instance::new(alone, whole.dims.clone())?;
        if counts(&instance).is_none() {
            return Ok(None);
        }
        let kernel = compile_for(&instance, Form::Sequence, isa)?;
        Ok(kernel.finite().is_some().then_some(Self { kernel, inputs }))
    }

    /// Gives the group's states their starts in all stretches but the first ones.
    ///
    /// # Errors
    /// An integer outside of its range.
    pub(super) fn fill(&self, run: &Starts<'_, F>, own: &[usize], starts: &mut Carry<F>) -> Result<(), RunError> {
        let finite = self.kernel.finite().expect("only such kernels are kept");
        let initial = own.iter().map(|&s| run.bound.initial[s].clone()).collect();
        let bound = Bound { params: run.bound.params.clone(), initial };
        let inputs: Vec<Tensor<F>> = self.inputs.iter().map(|&i| run.inputs[i].clone()).collect();
        let needed: Vec<usize> = run.cut.of().iter().flat_map(followed).collect();
        let maps = self.kernel.maps(&bound, &run.cut.pick(&needed), &inputs, run.threads);
        let maps = maps.expect("the kernel has maps")?;
        let states = own.iter().map(|&s| starts.states[s].clone()).collect();
        let mut scanned = Carry { steps: starts.steps.clone(), states, delays: Vec::new() };
        advance(finite, run.cut, maps.into_iter(), &mut scanned);
        for (&s, state) in own.iter().zip(scanned.states) {
            starts.states[s] = state;
        }
        Ok(())
    }
}

/// A sequence's stretches that others follow.
fn followed(stretches: &Range<usize>) -> Range<usize> {
    stretches.start..stretches.end.saturating_sub(1).max(stretches.start)
}
