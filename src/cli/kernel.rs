//! Stands in for the compiled kernels until `ssmc::jit` has them: the same calls, run by the interpreter.

use ssmc::diag::Diagnostic;
use ssmc::ir::{Instance, interp};
use ssmc_runtime::{Bound, Carry, RunError, Sequences, Tensor};

use super::engine::Number;

/// What a kernel runs in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Whole sequences.
    Sequence,
    /// One step.
    Step,
}

/// A compiled layer.
pub struct Kernel<F> {
    instance: Instance,
    number: std::marker::PhantomData<F>,
}

/// Compiles a layer.
///
/// # Errors
/// None yet.
pub fn compile<F: Number>(instance: &Instance, _form: Form) -> Result<Kernel<F>, Vec<Diagnostic>> {
    Ok(Kernel { instance: instance.clone(), number: std::marker::PhantomData })
}

impl<F: Number> Kernel<F> {
    /// Runs it.
    ///
    /// # Errors
    /// None yet.
    pub fn run(
        &self,
        bound: &Bound<F>,
        sequences: &Sequences,
        inputs: &[Tensor<F>],
        carry: &mut Carry<F>,
        _threads: usize,
        _progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Tensor<F>>, RunError> {
        Ok(interp::run(&self.instance, bound, sequences, inputs, carry))
    }
}
