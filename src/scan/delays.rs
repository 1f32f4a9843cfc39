//! What delays hold at the start of a stretch.
//!
//! A delay remembers what its argument was in the steps before; that depends on inputs, on other delays, and on
//! resets, on no state. So a layer with the delays alone, run over the steps before a stretch, leaves in its carry
//! what the stretch starts from. It has to start as many steps back as a value can reach through delays of delays.
//! Where the condition of a reset reads delays, what a delay holds can depend on all steps before: then the layer of
//! delays runs over the whole sequence first, stretch after stretch.

use ssmc_runtime::{Bound, Carry, RunError};

use super::group::kernel;
use super::starts::Starts;
use crate::analysis::verdict::summary::restrict;
use crate::diag::Diagnostic;
use crate::ir::interp::Real;
use crate::ir::{ExprKind, Instance, Layer, ValueKind};
use crate::jit::{Isa, Kernel};

/// The delays of a layer.
pub(super) struct Delays<F> {
    /// The layer of delays; `None` where there are none.
    kernel: Option<Kernel<F>>,
    /// How many steps back a value reaches; `None` where that is not bounded.
    reach: Option<usize>,
}

/// The layer without its states and outputs.
fn alone(layer: &Layer) -> Layer {
    let mut alone = layer.clone();
    restrict(&mut alone, &[]);
    alone
}

impl<F: Real> Delays<F> {
    pub(super) fn new(instance: &Instance, isa: Isa) -> Result<Self, Vec<Diagnostic>> {
        if instance.layer.delays.is_empty() {
            return Ok(Self { kernel: None, reach: Some(0) });
        }
        Ok(Self { kernel: Some(kernel(&alone(&instance.layer), instance, isa)?), reach: reach(instance) })
    }

    /// How many steps a stretch must have at least.
    pub(super) fn reach(&self) -> usize {
        self.reach.unwrap_or(0)
    }

    /// Puts into the starts of all stretches but the first ones what the delays hold there.
    pub(super) fn fill(&self, run: &Starts<'_, F>, starts: &mut Carry<F>) -> Result<(), RunError> {
        let Some(kernel) = &self.kernel else { return Ok(()) };
        let bound = Bound { params: run.bound.params.clone(), initial: Vec::new() };
        let most = run.cut.of().iter().map(ExactSizeIterator::len).max().unwrap_or(0);
        match self.reach {
            Some(reach) => {
                let later: Vec<usize> = run.cut.of().iter().flat_map(|s| s.clone().skip(1)).collect();
                let mut carry = Carry {
                    steps: later.iter().map(|&s| starts.steps[s] - reach as u64).collect(),
                    states: Vec::new(),
                    delays: starts.delays.iter().map(|d| d.rows(later.iter().copied())).collect(),
                };
                let before = run.cut.before(&later, reach);
                kernel.run(&bound, &before, run.inputs, &mut carry, run.threads, &|_| {})?;
                for (to, from) in starts.delays.iter_mut().zip(&carry.delays) {
                    to.set_rows(later.iter().copied(), from);
                }
            }
            None => {
                for nth in 0..most.saturating_sub(1) {
                    let of = run.cut.of().iter().filter(|s| s.len() > nth + 1);
                    let now: Vec<usize> = of.map(|s| s.start + nth).collect();
                    let mut carry = Carry {
                        steps: now.iter().map(|&s| starts.steps[s]).collect(),
                        states: Vec::new(),
                        delays: starts.delays.iter().map(|d| d.rows(now.iter().copied())).collect(),
                    };
                    let sequences = run.cut.pick(&now);
                    kernel.run(&bound, &sequences, run.inputs, &mut carry, run.threads, &|_| {})?;
                    for (to, from) in starts.delays.iter_mut().zip(&carry.delays) {
                        to.set_rows(now.iter().map(|s| s + 1), from);
                    }
                }
            }
        }
        Ok(())
    }
}

/// How many steps back the value of any delay reaches; `None` where resets depend on delays.
pub(super) fn reach(instance: &Instance) -> Option<usize> {
    let layer = &instance.layer;
    // By value: how many steps back it reaches itself.
    let mut back = vec![0_usize; layer.values.len()];
    for equation in &layer.equations {
        let mut most = 0;
        equation.body.walk(&mut |e| match &e.kind {
            ExprKind::Read { value, .. } => most = most.max(back[value.at()]),
            ExprKind::Past { delay, .. } => {
                let place = layer.delays.iter().position(|d| d == delay).expect("`past` reads a delay");
                most = most.max(back[delay.at()].saturating_add(instance.depths[place]));
            }
            _ => {}
        });
        back[equation.value.at()] = most;
    }
    if layer.reset.is_some_and(|reset| back[reset.at()] > 0) {
        return None;
    }
    let reaches = layer.delays.iter().zip(&instance.depths).map(|(d, &depth)| {
        debug_assert_eq!(layer.value(*d).kind, ValueKind::Delay, "delays are listed");
        back[d.at()].saturating_add(depth)
    });
    Some(reaches.max().unwrap_or(0))
}
