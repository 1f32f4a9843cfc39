//! One sequence, step after step, with its state kept where the kernel works on it.
//!
//! In: a kernel's signature and functions, what it is bound to, a carry. Then rows of inputs and of outputs, one pair a
//! step. What depends on parameters alone is computed once, states are brought into the kernel's layout once, and a step
//! allocates nothing.

use crate::addresses::{all_planes, all_planes_mut, planes_of, planes_of_mut};
use crate::check::{RunError, check, check_row};
use crate::driver::{Code, Direction, copy_delays, rings};
use crate::kernel::{Buffer, NEVER, Signature, Slot};
use crate::memory::Memory;
use crate::pass::{Derived, Room, Running};
use crate::tensor::{Bound, Carry, Float, Sequences, Tensor};

/// A sequence that is run step by step.
pub struct Session<'a, F> {
    signature: &'a Signature,
    running: Running<'a>,
    carry: Carry<F>,
    rings: Vec<[Memory; 2]>,
    reports: Vec<u64>,
    /// Which addresses of the pass are those of a step's rows.
    inputs: Vec<(usize, Slot)>,
    outputs: Vec<(usize, Slot)>,
    /// Stands behind [`Buffer::Derived`].
    _derived: Derived,
    _bound: &'a Bound<F>,
}

impl<'a, F: Float> Session<'a, F> {
    /// Starts behind the steps that the carry counts; it is that of one sequence.
    ///
    /// # Errors
    /// A tensor that is not the one that the signature describes.
    ///
    /// # Panics
    /// If the kernel runs over a sequence more than once, or backwards.
    pub fn new(code: &'a Code, bound: &'a Bound<F>, mut carry: Carry<F>) -> Result<Self, RunError> {
        let (signature, entries) = (code.signature(), code.entries());
        let nothing: Vec<Tensor<F>> = signature.inputs.iter().map(|slice| slice.zeros(&[0])).collect();
        check(signature, bound, &Sequences::batch(1, 0), &nothing, &carry)?;
        let [pass] = &signature.passes[..] else { panic!("runtime: a step is one pass") };
        assert!(!pass.reverse, "runtime: a step runs forward");
        let (params, initial) = (all_planes(&bound.params), all_planes(&bound.initial));
        let mut derived = Derived::new(signature);
        // SAFETY: `check` has compared the parameters with the signature.
        unsafe { derived.make(signature, entries, |i| params[i]) };
        let made = derived.base();
        let states = all_planes_mut(&mut carry.states);
        let mut rings = rings(signature);
        let delays = all_planes_mut(&mut carry.delays);
        // SAFETY: the carry has the delays of one sequence.
        unsafe { copy_delays(signature, |i| delays[i], 0, &mut rings, carry.steps[0], Direction::In) };
        let mut reports = vec![NEVER; signature.reports];
        let address = |slot: &Slot| {
            let plane = usize::from(slot.imaginary);
            match slot.buffer {
                Buffer::Param(i) => params[i][plane],
                Buffer::Initial(i) => initial[i][plane],
                Buffer::State(i) => states[i][plane],
                Buffer::Delay(i) => rings[i][plane].base(),
                Buffer::Derived => made,
                Buffer::Report => reports.as_mut_ptr().cast(),
                // Every step has its own.
                Buffer::Input(_) | Buffer::Output(_) => std::ptr::null_mut(),
                Buffer::Kept(_) => unreachable!("only other passes read what is kept"),
                Buffer::Home | Buffer::Scratch | Buffer::Local => unreachable!("a pass has its own"),
            }
        };
        let running = Running::new(pass, entries, Room::new(pass, 1), address);
        let of = |wanted: fn(Buffer) -> bool| -> Vec<(usize, Slot)> {
            pass.slots.iter().copied().enumerate().filter(|(_, slot)| wanted(slot.buffer)).collect()
        };
        let (inputs, outputs) = (of(|b| matches!(b, Buffer::Input(_))), of(|b| matches!(b, Buffer::Output(_))));
        // SAFETY: the addresses are those of the slots; no step is run yet.
        unsafe { running.begin((0, 1), carry.steps[0]) };
        Ok(Self { signature, running, carry, rings, reports, inputs, outputs, _derived: derived, _bound: bound })
    }

    /// Runs one step; inputs and outputs are `[1, ..]`.
    ///
    /// # Errors
    /// A tensor that does not fit, an integer outside of its range: nothing was computed.
    pub fn step(&mut self, inputs: &[Tensor<F>], outputs: &mut [Tensor<F>]) -> Result<(), RunError> {
        check_row(self.signature, inputs, outputs)?;
        for &(at, slot) in &self.inputs {
            let Buffer::Input(i) = slot.buffer else { continue };
            self.running.point(at, planes_of(&inputs[i])[usize::from(slot.imaginary)]);
        }
        for &(at, slot) in &self.outputs {
            let Buffer::Output(i) = slot.buffer else { continue };
            self.running.point(at, planes_of_mut(&mut outputs[i])[usize::from(slot.imaginary)]);
        }
        let number = self.carry.steps[0];
        // SAFETY: the kernel was vouched for, and the rows are those of one step.
        unsafe { self.running.step(number) };
        self.carry.steps[0] += 1;
        Ok(())
    }

    /// Rows for the outputs of a step, all of them 0.
    pub fn blank_outputs(&self) -> Vec<Tensor<F>> {
        self.signature.blank_outputs(1)
    }

    /// The carry behind the last step.
    pub fn carry(&mut self) -> &Carry<F> {
        let now = self.carry.steps[0];
        // SAFETY: as for a step; states and delays are those of one sequence.
        unsafe {
            self.running.end((0, 1), now);
            let delays = all_planes_mut(&mut self.carry.delays);
            copy_delays(self.signature, |i| delays[i], 0, &mut self.rings, now, Direction::Out);
        }
        &self.carry
    }

    /// Of each of the signature's reports the step where it happened first, counted from the start of the sequence.
    pub fn reports(&self) -> impl Iterator<Item = Option<u64>> {
        self.reports.iter().map(|&step| (step != NEVER).then_some(step))
    }
}
