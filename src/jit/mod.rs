//! Callable machine code.
//!
//! In: an [`Instance`]. Out: a [`Kernel`], whose [`Kernel::run`] takes tensors and is safe: it compares them with
//! the signature before anything runs. [`clif`] and [`asm`] give the text of the same code.
//!
//! Code does not look at what it accesses, so [`compile`] trusts nobody with it: the layer is verified, its instance is
//! the one that [`Instance::new`] makes, and [`bounds::check`] shows again that every access stays inside, for a layer
//! from [`crate::sema`] as for one that was read as IR. What a run brings (shapes, and the values of index types) is
//! compared by [`Kernel::run`].
//!
//! Memory is writable while code is put there and executable from then on, never both.

pub mod isa;

use std::marker::PhantomData;
use std::sync::Mutex;

use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, default_libcall_names};
use ssmc_runtime::kernel::{Entry, Signature};
use ssmc_runtime::{Bound, Carry, Float, RunError, Sequences, Tensor, driver, scalar};

use crate::analysis::bounds;
use crate::codegen::{self, Machine};
use crate::diag::Diagnostic;
use crate::ir::{Instance, verify};
use crate::plan::{self, Plan, Target};

pub use crate::plan::Form;

/// A compiled layer.
pub struct Kernel<F> {
    signature: Signature,
    entries: Vec<Entry>,
    /// Holds the code; taken when it is freed.
    module: Mutex<Option<JITModule>>,
    float: PhantomData<F>,
}

/// Compiles a layer for the host.
///
/// # Errors
/// What [`bounds::check`] and [`plan::plan`] refuse; S302 on processors without a back end.
///
/// # Panics
/// If the layer does not verify, or the instance is not one that [`Instance::new`] has made.
pub fn compile<F: Float>(instance: &Instance, form: Form) -> Result<Kernel<F>, Vec<Diagnostic>> {
    check(instance)?;
    let isa = isa::host()?;
    let plan = plan::plan(instance, form, target(F::BITS))?;
    let machine = Machine::of(&*isa);
    let mut builder = JITBuilder::with_isa(isa, default_libcall_names());
    for (name, address) in scalar::routines() {
        builder.symbol(name, address);
    }
    let mut module = JITModule::new(builder);
    let ids = declare_and_define(&mut module, &plan, machine);
    bug("finalize", &plan, module.finalize_definitions());
    let entries = ids
        .into_iter()
        .map(|id| {
            let code = module.get_finalized_function(id);
            // SAFETY: the function was defined with the type of an entry.
            unsafe { std::mem::transmute::<*const u8, Entry>(code) }
        })
        .collect();
    Ok(Kernel { signature: plan.signature, entries, module: Mutex::new(Some(module)), float: PhantomData })
}

/// Makes sure that the code for an instance accesses nothing outside of its tensors.
fn check(instance: &Instance) -> Result<(), Vec<Diagnostic>> {
    if let Err(error) = verify::verify(&instance.layer) {
        panic!("the compiler was given a layer that does not verify: {error}");
    }
    let fresh = Instance::new(instance.layer.clone(), instance.dims.clone())?;
    let same = fresh.axes == instance.axes && fresh.extents == instance.extents && fresh.depths == instance.depths;
    assert!(same, "the compiler was given an instance whose sizes are not those of its layer");
    bounds::check(instance)
}

/// The text of the plan, with reals of that many bits.
///
/// # Errors
/// As for [`compile`].
pub fn plan_text(instance: &Instance, form: Form, bits: u32) -> Result<String, Vec<Diagnostic>> {
    Ok(plan::plan(instance, form, target(bits))?.to_string())
}

/// The CLIF of all functions, with reals of that many bits.
///
/// # Errors
/// As for [`compile`].
pub fn clif(instance: &Instance, form: Form, bits: u32) -> Result<String, Vec<Diagnostic>> {
    let isa = isa::host()?;
    let plan = plan::plan(instance, form, target(bits))?;
    let parts = 0..plan.parts().len();
    Ok(parts.map(|part| codegen::emit(&plan, part, Machine::of(&*isa), &*isa).display().to_string()).collect())
}

/// The machine code of all functions as text, with reals of that many bits.
///
/// # Errors
/// As for [`compile`].
pub fn asm(instance: &Instance, form: Form, bits: u32) -> Result<String, Vec<Diagnostic>> {
    let isa = isa::host()?;
    let plan = plan::plan(instance, form, target(bits))?;
    let mut text = String::new();
    for part in 0..plan.parts().len() {
        let mut context = Context::for_function(codegen::emit(&plan, part, Machine::of(&*isa), &*isa));
        context.set_disasm(true);
        let compiled = context.compile(&*isa, &mut ControlPlane::default());
        let code = bug("compile", &plan, compiled.map_err(|error| error.inner));
        text += code.vcode.as_deref().unwrap_or_default();
    }
    Ok(text)
}

/// Cranelift selects vectors of 128 bits, in sixteen registers on x86-64.
fn target(bits: u32) -> Target {
    let registers = if cfg!(target_arch = "x86_64") { 16 } else { 32 };
    Target { bits, width: 128 / bits as usize, registers }
}

fn declare_and_define(module: &mut JITModule, plan: &Plan, machine: Machine) -> Vec<FuncId> {
    for (n, (routine, lane)) in codegen::ROUTINES.into_iter().enumerate() {
        let signature = codegen::routine_signature(routine, lane, machine.call_conv);
        let id = bug("declare", plan, module.declare_function(routine.symbol(lane), Linkage::Import, &signature));
        assert_eq!(id.as_u32() as usize, n, "the ids of routines are their places in the list");
    }
    let mut ids = Vec::new();
    for part in 0..plan.parts().len() {
        let function = codegen::emit(plan, part, machine, module.isa());
        let id =
            bug("declare", plan, module.declare_function(&format!("part{part}"), Linkage::Local, &function.signature));
        let mut context = Context::for_function(function);
        bug("define", plan, module.define_function(id, &mut context));
        ids.push(id);
    }
    ids
}

/// What only a bug of the compiler can make fail.
fn bug<T, E: std::fmt::Debug>(pass: &str, plan: &Plan, result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("jit: {pass} failed: {error:?}\n{plan}"))
}

impl<F: Float> Kernel<F> {
    /// What it takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Runs all sequences; the carry goes in and comes out.
    ///
    /// `threads` is the number of threads, 0 for all of the machine; results do not depend on it. `progress` is
    /// told, now and then and from any thread, how many steps are done.
    ///
    /// # Errors
    /// A tensor that does not fit the layer, an integer outside of its range: nothing was computed.
    #[allow(clippy::too_many_arguments, reason = "what a run takes")]
    pub fn run(
        &self,
        bound: &Bound<F>,
        sequences: &Sequences,
        inputs: &[Tensor<F>],
        carry: &mut Carry<F>,
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Tensor<F>>, RunError> {
        // SAFETY: the entries were compiled for this signature and live as long as the module, which `self` holds.
        unsafe { driver::run(&self.signature, &self.entries, bound, sequences, inputs, carry, threads, progress) }
    }
}

impl<F: Float> Kernel<F> {
    /// The same into outputs that are there already, `[total, ..]` each; every element is overwritten.
    ///
    /// # Errors
    /// As for [`Kernel::run`].
    #[allow(clippy::too_many_arguments, reason = "what a run takes")]
    pub fn run_into(
        &self,
        bound: &Bound<F>,
        sequences: &Sequences,
        inputs: &[Tensor<F>],
        carry: &mut Carry<F>,
        outputs: &mut [Tensor<F>],
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), RunError> {
        let (signature, entries) = (&self.signature, &self.entries[..]);
        // SAFETY: as for `run`.
        unsafe { driver::run_into(signature, entries, bound, sequences, inputs, carry, outputs, threads, progress) }
    }
}

impl<F> Drop for Kernel<F> {
    fn drop(&mut self) {
        let module = self.module.get_mut().ok().and_then(Option::take);
        if let Some(module) = module {
            // SAFETY: the entries are private to this value and cannot be called any more.
            unsafe { module.free_memory() };
        }
    }
}
