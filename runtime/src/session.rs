//! One sequence, step after step, with its state kept where the kernel works on it.
//!
//! In: a kernel's signature and functions, what it is bound to, a carry. Then rows of inputs and of outputs, one pair a
//! step. What depends on parameters alone is computed once, states are brought into the kernel's layout once, and a step
//! allocates nothing.

use crate::check::{RunError, check, check_row};
use crate::driver::{Direction, Planes, copy_delays, planes_of, planes_of_mut, rings};
use crate::kernel::{Buffer, Entry, NEVER, Signature, Slot};
use crate::memory::Memory;
use crate::pass::{Running, derived};
use crate::tensor::{Bound, Carry, Elements, Float, Sequences, Tensor};

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
    _derived: Memory,
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
    ///
    /// # Safety
    /// As for [`crate::driver::run`].
    pub unsafe fn new(
        signature: &'a Signature,
        entries: &'a [Entry],
        bound: &'a Bound<F>,
        mut carry: Carry<F>,
    ) -> Result<Self, RunError> {
        let nothing: Vec<Tensor<F>> = signature.inputs.iter().map(|slice| slice.zeros(&[0])).collect();
        check(signature, bound, &Sequences::batch(1, 0), &nothing, &carry)?;
        let [pass] = &signature.passes[..] else { panic!("runtime: a step is one pass") };
        assert!(!pass.reverse, "runtime: a step runs forward");
        let (params, initial) = (planes_of(&bound.params), planes_of(&bound.initial));
        // SAFETY: `check` has compared the parameters with the signature.
        let mut derived = unsafe { derived(signature, entries, &params) };
        let made = derived.base();
        let states = planes_of_mut(&mut carry.states);
        let mut rings = rings::<F>(signature);
        // SAFETY: the carry has the delays of one sequence.
        unsafe {
            let delays = planes_of_mut(&mut carry.delays);
            copy_delays::<F>(signature, &delays, 0, &mut rings, carry.steps[0], Direction::In);
        }
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
        let running = Running::new(pass, entries, 1, address);
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
            self.running.point(at, plane_of(&inputs[i], slot.imaginary));
        }
        for &(at, slot) in &self.outputs {
            let Buffer::Output(i) = slot.buffer else { continue };
            self.running.point(at, plane_of_mut(&mut outputs[i], slot.imaginary));
        }
        let number = self.carry.steps[0];
        // SAFETY: the kernel was vouched for, and the rows are those of one step.
        unsafe { self.running.steps((0, 1), number) };
        self.carry.steps[0] += 1;
        Ok(())
    }

    /// Rows for the outputs of a step, all of them 0.
    pub fn blank_outputs(&self) -> Vec<Tensor<F>> {
        self.signature.outputs.iter().map(|slice| slice.zeros(&[1])).collect()
    }

    /// The carry behind the last step.
    pub fn carry(&mut self) -> &Carry<F> {
        let now = self.carry.steps[0];
        // SAFETY: as for a step; states and delays are those of one sequence.
        unsafe {
            self.running.end((0, 1), now);
            let delays: Vec<Planes> = planes_of_mut(&mut self.carry.delays);
            copy_delays::<F>(self.signature, &delays, 0, &mut self.rings, now, Direction::Out);
        }
        &self.carry
    }

    /// Of each of the signature's reports the step where it happened first, counted from the start of the sequence.
    pub fn reports(&self) -> impl Iterator<Item = Option<u64>> {
        self.reports.iter().map(|&step| (step != NEVER).then_some(step))
    }
}

fn plane_of<F>(tensor: &Tensor<F>, imaginary: bool) -> *mut u8 {
    match &tensor.elements {
        Elements::Complex { im, .. } if imaginary => im.as_ptr() as *mut u8,
        Elements::Real(v) | Elements::Complex { re: v, .. } => v.as_ptr() as *mut u8,
        Elements::Int(v) => v.as_ptr() as *mut u8,
        Elements::Bool(v) | Elements::Byte(v) => v.as_ptr() as *mut u8,
    }
}

fn plane_of_mut<F>(tensor: &mut Tensor<F>, imaginary: bool) -> *mut u8 {
    match &mut tensor.elements {
        Elements::Complex { im, .. } if imaginary => im.as_mut_ptr().cast(),
        Elements::Real(v) | Elements::Complex { re: v, .. } => v.as_mut_ptr().cast(),
        Elements::Int(v) => v.as_mut_ptr().cast(),
        Elements::Bool(v) | Elements::Byte(v) => v.as_mut_ptr(),
    }
}
