//! One pass over one sequence.

use ssmc_runtime::{Bound, Carry, Elements, Sequences, Tensor};

use super::Programs;
use super::elements::{clear, copy, shift};
use super::eval::Env;
use super::math::Real;
use crate::analysis::passes::Pass;
use crate::ir::{Instance, StateId};

/// A run over all sequences.
pub(super) struct Run<'a, F> {
    pub(super) instance: &'a Instance,
    pub(super) bound: &'a Bound<F>,
    pub(super) sequences: &'a Sequences,
    pub(super) inputs: &'a [Tensor<F>],
    pub(super) passes: &'a [Pass],
    pub(super) programs: &'a Programs<F>,
    pub(super) env: Env<F>,
    /// What is returned and what later passes need, at all steps; by value.
    pub(super) recorded: Vec<Option<Elements<F>>>,
    /// The steps that reset; the first pass finds them.
    pub(super) resets: Vec<bool>,
    /// The delays as the run found them.
    pub(super) delays_before: Vec<Tensor<F>>,
}

impl<F: Real> Run<'_, F> {
    /// Runs the pass over the sequence.
    pub(super) fn pass(&mut self, pass: usize, sequence: usize, carry: &mut Carry<F>) {
        let this = &self.passes[pass];
        let layer = &self.instance.layer;
        let range = self.sequences.range(sequence);
        for &state in &this.states {
            let value = layer.states[state.at()].value;
            let size = self.instance.elements(value);
            let from = &carry.states[state.at()].elements;
            copy(&mut self.env.values[value.at()], 0, from, sequence * size..(sequence + 1) * size);
        }
        self.env.delays = (0..layer.delays.len()).map(|d| self.rows_before(d, sequence)).collect();
        for n in 0..range.len() {
            let step = if this.reverse { range.end - 1 - n } else { range.start + n };
            let taken = carry.steps[sequence] + (step - range.start) as u64;
            self.env.step = taken;
            self.step(pass, sequence, step, taken == 0);
        }
        for &state in &this.states {
            let value = layer.states[state.at()].value;
            let size = self.instance.elements(value);
            let into = &mut carry.states[state.at()].elements;
            copy(into, sequence * size, &self.env.values[value.at()], 0..size);
        }
        if pass == 0 {
            for (d, rows) in self.env.delays.iter().enumerate() {
                let size = rows.len();
                copy(&mut carry.delays[d].elements, sequence * size, rows, 0..size);
            }
        }
    }

    fn step(&mut self, pass: usize, sequence: usize, step: usize, start: bool) {
        let this = &self.passes[pass];
        self.load(pass, sequence, step);
        self.env.first = start;
        self.env.sequence = sequence;
        if pass == 0 {
            self.resets[step] = self.reset_holds();
        }
        let reset = self.resets[step];
        if reset {
            self.env.first = true;
            if !this.reverse {
                self.reset_states(this);
            }
            for rows in &mut self.env.delays {
                let all = rows.len();
                clear(rows, 0..all);
            }
        }
        for &equation in &this.equations {
            if let Some(program) = &self.programs.step[equation] {
                self.env.define(program);
                self.env.check(self.programs.checks[equation], self.instance.layer.equations[equation].value);
            }
        }
        self.record(pass, step);
        self.advance(pass);
        if reset && this.reverse {
            self.reset_states(this);
        }
    }

    /// Makes this step's inputs, and what earlier passes kept, the values of the environment.
    fn load(&mut self, pass: usize, sequence: usize, step: usize) {
        let layer = &self.instance.layer;
        for (&value, tensor) in layer.inputs.iter().zip(self.inputs) {
            let size = self.instance.elements(value);
            copy(&mut self.env.values[value.at()], 0, &tensor.elements, step * size..(step + 1) * size);
        }
        for earlier in &self.passes[..pass] {
            for &value in &earlier.kept {
                let size = self.instance.elements(value);
                let kept = self.recorded[value.at()].as_ref().expect("kept values are recorded");
                copy(&mut self.env.values[value.at()], 0, kept, step * size..(step + 1) * size);
            }
        }
        if pass > 0 {
            self.load_delays(sequence, step);
        }
    }

    /// The rows of delays that the first pass kept, as they were before the step.
    fn load_delays(&mut self, sequence: usize, step: usize) {
        let start = self.sequences.range(sequence).start;
        for (d, &delay) in self.instance.layer.delays.iter().enumerate() {
            if !self.passes[0].kept.contains(&delay) {
                continue;
            }
            let size = self.instance.elements(delay);
            let mut rows = self.rows_before(d, sequence);
            let before = self.rows_before(d, sequence);
            let kept = self.recorded[delay.at()].as_ref().expect("kept values are recorded");
            let mut parted = false;
            for row in 0..self.instance.depths[d] {
                // What lies before a reset in between is forgotten; so is what lies before the start.
                let after = step.checked_sub(row).filter(|&t| t > start);
                parted |= row > 0 && step + 1 > start + row && self.resets[step - row];
                let at = row * size;
                match after {
                    _ if parted => clear(&mut rows, at..at + size),
                    Some(t) => copy(&mut rows, at, kept, (t - 1) * size..t * size),
                    None => {
                        let old = row + start - step;
                        copy(&mut rows, at, &before, old * size..(old + 1) * size);
                    }
                }
            }
            self.env.delays[d] = rows;
        }
    }

    /// The rows of the delay as the run found them.
    fn rows_before(&self, delay: usize, sequence: usize) -> Elements<F> {
        let value = self.instance.layer.delays[delay];
        let size = self.instance.depths[delay] * self.instance.elements(value);
        let mut rows = super::zeros(&self.instance.layer.value(value).ty, size);
        let from = &self.delays_before[delay].elements;
        copy(&mut rows, 0, from, sequence * size..(sequence + 1) * size);
        rows
    }

    fn reset_holds(&mut self) -> bool {
        let Some(reset) = self.instance.layer.reset else { return false };
        for &equation in &self.programs.reset {
            if let Some(program) = &self.programs.step[equation] {
                self.env.define(program);
            }
        }
        self.env.holds(reset)
    }

    fn reset_states(&mut self, pass: &Pass) {
        for &StateId(s) in &pass.states {
            let state = &self.instance.layer.states[s as usize];
            let initial = &self.bound.initial[s as usize].elements;
            copy(&mut self.env.values[state.value.at()], 0, initial, 0..initial.len());
        }
    }

    /// Writes down what is returned and what later passes need.
    fn record(&mut self, pass: usize, step: usize) {
        for &value in &self.programs.recorded[pass] {
            let size = self.instance.elements(value);
            let into = self.recorded[value.at()].as_mut().expect("there is room for what is recorded");
            copy(into, step * size, &self.env.values[value.at()], 0..size);
        }
    }

    /// Hands states and delays to the next step.
    fn advance(&mut self, pass: usize) {
        let layer = &self.instance.layer;
        for &state in &self.passes[pass].states {
            let state = &layer.states[state.at()];
            let next = std::mem::replace(&mut self.env.values[state.next.at()], Elements::Bool(Vec::new()));
            copy(&mut self.env.values[state.value.at()], 0, &next, 0..next.len());
            self.env.values[state.next.at()] = next;
        }
        if pass == 0 {
            for (d, &delay) in layer.delays.iter().enumerate() {
                let size = self.instance.elements(delay);
                shift(&mut self.env.delays[d], size);
                copy(&mut self.env.delays[d], 0, &self.env.values[delay.at()], 0..size);
            }
        }
    }
}
