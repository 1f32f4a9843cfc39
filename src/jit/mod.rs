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

pub mod backend;
pub mod finite;
pub mod isa;

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Mutex;

use cranelift_codegen::Context;
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{ExternalName, Function};
use cranelift_codegen::isa::TargetIsa;
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, ModuleReloc, ModuleRelocTarget, default_libcall_names};
use ssmc_runtime::kernel::{Entry, Signature};
use ssmc_runtime::lanes::Program;
use ssmc_runtime::{
    Bound, Carry, Code, Event, Float, Run, RunError, Sequences, Session, Tensor, check, cholesky, scalar,
};

use crate::analysis::bounds;
use crate::chunked;
use crate::codegen::{self, Machine};
use crate::diag::{Diagnostic, Span};
use crate::ir::{Instance, Report, verify};
use crate::plan::Plan;
use backend::{Selected, select};

pub use crate::plan::Form;
pub use backend::Backend;
use finite::{Finite, Map};
pub use isa::Isa;

/// A compiled layer.
pub struct Kernel<F> {
    code: Code,
    backend: Backend,
    /// What the signature's reports say.
    reports: Vec<(Span, String)>,
    /// The same layer as maps of its states, where these are few.
    finite: Option<Finite<F>>,
    /// Several steps of it as one, where that saves loads and stores of its states.
    several: Option<Box<Kernel<F>>>,
    /// Holds the code; taken when it is freed.
    module: Mutex<Option<JITModule>>,
    float: PhantomData<F>,
}

/// Compiles a layer for the host, with the widest vectors that it has.
///
/// # Errors
/// What [`bounds::check`] and the plan refuse; S302 on processors without a back end.
///
/// # Panics
/// If the layer does not verify, or the instance is not one that [`Instance::new`] has made; its delays may keep more
/// steps than the layer reads.
pub fn compile<F: Float>(instance: &Instance, form: Form) -> Result<Kernel<F>, Vec<Diagnostic>> {
    compile_for(instance, form, Isa::widest())
}

/// Compiles a layer for the host, within some of its instructions.
///
/// # Errors
/// As for [`compile`].
///
/// # Panics
/// As for [`compile`].
pub fn compile_for<F: Float>(instance: &Instance, form: Form, limit: Isa) -> Result<Kernel<F>, Vec<Diagnostic>> {
    provable(instance)?;
    let isa = isa::host()?;
    let selected = select(instance, form, F::BITS, limit, &*isa)?;
    let machine = Machine::of(&*isa);
    let mut builder = JITBuilder::with_isa(isa, default_libcall_names());
    for (name, address) in scalar::routines().into_iter().chain(cholesky::routines()) {
        builder.symbol(name, address);
    }
    let mut module = JITModule::new(builder);
    let Selected { plan, backend, parts } = selected;
    let several = several(instance, &plan).and_then(|several| compile_for(&several, form, limit).ok()).map(Box::new);
    let ids = declare_and_define(&mut module, &plan, parts, machine);
    bug("finalize", &plan, module.finalize_definitions());
    let entries = ids
        .into_iter()
        .map(|id| {
            let code = module.get_finalized_function(id);
            // SAFETY: the function was defined with the type of an entry.
            unsafe { std::mem::transmute::<*const u8, Entry>(code) }
        })
        .collect();
    let reports = plan.reports();
    let finite = Finite::of(&plan.instance, &plan.signature).filter(|_| reports.is_empty());
    // SAFETY: the entries were compiled for this signature, and the module is freed with the kernel.
    let code = unsafe { Code::new(plan.signature, entries) };
    Ok(Kernel { code, backend, finite, several, reports, module: Mutex::new(Some(module)), float: PhantomData })
}

/// Several steps of a layer as one, for a kernel that takes the others with this plan.
fn several(instance: &Instance, plan: &Plan) -> Option<Instance> {
    if plan.form == Form::Step { None } else { chunked::several(instance, plan.target) }
}

/// Which back end makes the code of a layer with reals of that many bits.
///
/// # Errors
/// As for [`compile`].
pub fn backend_of(instance: &Instance, form: Form, bits: u32, limit: Isa) -> Result<Backend, Vec<Diagnostic>> {
    Ok(select(instance, form, bits, limit, &*isa::host()?)?.backend)
}

/// Makes sure that the code for an instance accesses nothing outside of its tensors.
fn provable(instance: &Instance) -> Result<(), Vec<Diagnostic>> {
    if let Err(error) = verify::verify(&instance.layer) {
        panic!("the compiler was given a layer that does not verify: {error}");
    }
    let fresh = Instance::new(instance.layer.clone(), instance.dims.clone())?;
    let deep =
        fresh.depths.len() == instance.depths.len() && fresh.depths.iter().zip(&instance.depths).all(|(a, b)| a <= b);
    let same = fresh.axes == instance.axes && fresh.extents == instance.extents && deep;
    assert!(same, "the compiler was given an instance whose sizes are not those of its layer");
    bounds::check(instance)
}

/// The text of the plan, with reals of that many bits.
///
/// # Errors
/// As for [`compile`].
pub fn plan_text(instance: &Instance, form: Form, bits: u32, limit: Isa) -> Result<String, Vec<Diagnostic>> {
    let Selected { plan, .. } = select(instance, form, bits, limit, &*isa::host()?)?;
    Ok(match several(instance, &plan) {
        Some(more) => format!("{plan}\n{}", plan_text(&more, form, bits, limit)?),
        None => plan.to_string(),
    })
}

/// The CLIF of all functions, with reals of that many bits.
///
/// # Errors
/// As for [`compile`].
pub fn clif(instance: &Instance, form: Form, bits: u32, limit: Isa) -> Result<String, Vec<Diagnostic>> {
    let Selected { plan, parts, .. } = select(instance, form, bits, limit, &*isa::host()?)?;
    let text: String = parts.iter().map(|(function, _)| function.display().to_string()).collect();
    Ok(match several(instance, &plan) {
        Some(more) => format!("{text}\n{}", clif(&more, form, bits, limit)?),
        None => text,
    })
}

/// The machine code of all functions as text, with reals of that many bits.
///
/// # Errors
/// As for [`compile`].
pub fn asm(instance: &Instance, form: Form, bits: u32, limit: Isa) -> Result<String, Vec<Diagnostic>> {
    let isa = isa::host()?;
    let Selected { plan, backend, parts } = select(instance, form, bits, limit, &*isa)?;
    let mut text = format!("; {backend}\n");
    for (function, code) in parts {
        text += &match code {
            Some(code) => code.text(),
            None => by_cranelift(function, &plan, &*isa),
        };
    }
    if let Some(more) = several(instance, &plan) {
        text += &format!("\n{}", asm(&more, form, bits, limit)?);
    }
    Ok(text)
}

fn by_cranelift(function: Function, plan: &Plan, isa: &dyn TargetIsa) -> String {
    let mut context = Context::for_function(function);
    context.set_disasm(true);
    let compiled = context.compile(isa, &mut ControlPlane::default());
    let code = bug("compile", plan, compiled.map_err(|error| error.inner));
    code.vcode.clone().unwrap_or_default()
}

fn declare_and_define(
    module: &mut JITModule,
    plan: &Plan,
    parts: Vec<(Function, Option<ssmc_wide::Code>)>,
    machine: Machine,
) -> Vec<FuncId> {
    for (n, (routine, lane)) in codegen::ROUTINES.into_iter().enumerate() {
        let signature = codegen::routine_signature(routine, lane, machine.call_conv);
        let id = bug("declare", plan, module.declare_function(routine.symbol(lane), Linkage::Import, &signature));
        assert_eq!(id.as_u32() as usize, n, "the ids of routines are their places in the list");
    }
    let mut ids = Vec::new();
    for (part, (function, code)) in parts.into_iter().enumerate() {
        let id =
            bug("declare", plan, module.declare_function(&format!("part{part}"), Linkage::Local, &function.signature));
        match code {
            Some(code) => {
                let relocations = relocations(&function, &code);
                bug("define", plan, module.define_function_bytes(id, 64, &code.bytes, &relocations));
            }
            None => bug("define", plan, module.define_function(id, &mut Context::for_function(function))),
        }
        ids.push(id);
    }
    ids
}

/// Where the addresses of routines go.
fn relocations(function: &Function, code: &ssmc_wide::Code) -> Vec<ModuleReloc> {
    let each = code.relocations.iter().map(|relocation| {
        let ExternalName::User(name) = relocation.name else { panic!("jit: kernels call routines only") };
        let name = &function.params.user_named_funcs()[name];
        let name = ModuleRelocTarget::User { namespace: name.namespace, index: name.index };
        ModuleReloc { offset: relocation.offset, kind: Reloc::Abs8, name, addend: 0 }
    });
    each.collect()
}

/// What only a bug of the compiler can make fail.
fn bug<T, E: std::fmt::Debug>(pass: &str, plan: &Plan, result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("jit: {pass} failed: {error:?}\n{plan}"))
}

impl<F: Float> Kernel<F> {
    /// What it takes and gives.
    pub fn signature(&self) -> &Signature {
        self.code.signature()
    }

    /// What has made its code.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Runs all sequences, as [`Self::run`] does, and says what is to be said about the data: of each thing where it
    /// happened first.
    ///
    /// # Errors
    /// As for [`Self::run`].
    pub fn run_reporting(
        &self,
        bound: &Bound<F>,
        sequences: &Sequences,
        inputs: &[Tensor<F>],
        carry: &mut Carry<F>,
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(Vec<Tensor<F>>, Vec<Report>), RunError> {
        let mut outputs = self.blank_outputs(sequences);
        let reports = self.run_into(bound, sequences, inputs, &mut outputs, carry, threads, progress)?;
        Ok((outputs, reports))
    }

    /// What happened, in words.
    fn said(&self, events: Vec<Option<Event>>) -> Vec<Report> {
        let happened = self.reports.iter().zip(events);
        let report = |((span, message), event): (&(Span, String), Option<Event>)| {
            Some(Report { span: *span, message: message.clone(), event: event? })
        };
        happened.filter_map(report).collect()
    }

    /// Runs all sequences; the carry goes in and comes out.
    ///
    /// `threads` is the number of threads, 0 for all of the machine; results do not depend on it. `progress` is
    /// told, now and then and from any thread, how many steps are done.
    ///
    /// # Errors
    /// A tensor that does not fit the layer, an integer outside of its range: nothing was computed.
    pub fn run(
        &self,
        bound: &Bound<F>,
        sequences: &Sequences,
        inputs: &[Tensor<F>],
        carry: &mut Carry<F>,
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Tensor<F>>, RunError> {
        self.run_reporting(bound, sequences, inputs, carry, threads, progress).map(|(outputs, _)| outputs)
    }

    /// One sequence behind what the carry counts, to be run step by step: nothing is allocated in a step, and what
    /// depends on parameters alone is computed once. For kernels of layers that run forward in one pass.
    ///
    /// # Errors
    /// A tensor that does not fit.
    ///
    /// # Panics
    /// If the layer has reverse states.
    pub fn session<'a>(&'a self, bound: &'a Bound<F>, carry: Carry<F>) -> Result<Session<'a, F>, RunError> {
        Session::new(&self.code, bound, carry)
    }

    /// What a session has to report so far, in words; of sequence 0.
    pub fn reports_of(&self, session: &Session<'_, F>) -> Vec<Report> {
        let event = |step: Option<u64>| step.map(|step| Event { sequence: 0, step });
        self.said(session.reports().map(event).collect())
    }

    /// The kernel with what it is bound to, for [`ssmc_runtime::lanes`].
    ///
    /// # Errors
    /// A tensor that does not fit.
    pub(crate) fn program<'a>(&'a self, bound: &'a Bound<F>) -> Result<Program<'a, F>, RunError> {
        Program::new(&self.code, bound)
    }

    /// Outputs for such sequences, all of them 0.
    pub fn blank_outputs(&self, sequences: &Sequences) -> Vec<Tensor<F>> {
        self.signature().blank_outputs(sequences.total())
    }

    /// Compares what a run would get with the signature.
    ///
    /// # Errors
    /// What [`Kernel::run_into`] would say.
    pub fn check(
        &self,
        bound: &Bound<F>,
        sequences: &Sequences,
        inputs: &[Tensor<F>],
        outputs: &[Tensor<F>],
        carry: &Carry<F>,
    ) -> Result<(), RunError> {
        check::check(self.signature(), bound, sequences, inputs, carry)?;
        check::check_outputs(self.signature(), sequences, outputs)
    }

    /// Compares what a run writes to with the signature: its outputs and its carry.
    ///
    /// # Errors
    /// What [`Kernel::run_into`] would say.
    pub(crate) fn check_places(
        &self,
        sequences: &Sequences,
        outputs: &[Tensor<F>],
        carry: &Carry<F>,
    ) -> Result<(), RunError> {
        check::check_carry(self.signature(), sequences, carry)?;
        check::check_outputs(self.signature(), sequences, outputs)
    }

    /// As [`Kernel::run_reporting`], into outputs that are there.
    ///
    /// # Errors
    /// As for [`Kernel::run`], the outputs included.
    #[allow(clippy::too_many_arguments, reason = "what a run takes")]
    pub fn run_into(
        &self,
        bound: &Bound<F>,
        sequences: &Sequences,
        inputs: &[Tensor<F>],
        outputs: &mut [Tensor<F>],
        carry: &mut Carry<F>,
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Report>, RunError> {
        self.perform(Run { bound, sequences, inputs, outputs, carry, threads, progress })
    }

    /// As [`Kernel::run_into`].
    ///
    /// # Errors
    /// As for [`Kernel::run_into`].
    pub(crate) fn perform(&self, run: Run<'_, F>) -> Result<Vec<Report>, RunError> {
        if let Some(finite) = self.finite.as_ref().filter(|finite| finite.pays(run.bound, run.sequences.total())) {
            finite.perform(&self.code, run)?;
            return Ok(Vec::new());
        }
        let inputs = &Tensor::all_widened(run.inputs);
        let run = Run { inputs, ..run };
        match &self.several {
            Some(several) => self.mostly(several, run),
            None => self.code.run(run).map(|events| self.said(events)),
        }
    }

    /// Runs several steps at a time, and then those that are left.
    fn mostly(&self, several: &Kernel<F>, mut run: Run<'_, F>) -> Result<Vec<Report>, RunError> {
        self.check(run.bound, run.sequences, run.inputs, run.outputs, run.carry)?;
        let (sequences, each) = (run.sequences, several.signature().steps);
        let all = || (0..sequences.count()).map(|s| sequences.range(s));
        let left = |range: &Range<usize>| range.end - range.len() % each;
        let spaced = |ranges| Sequences::spaced(sequences.total(), ranges).expect("parts of sequences lie apart");
        let whole = spaced(all().map(|range| range.start..left(&range)).collect());
        let rest = spaced(all().map(|range| left(&range)..range.end).collect());
        let before = run.carry.steps.clone();
        if whole.steps() > 0 {
            several.code.run(Run { sequences: &whole, ..run.lent() })?;
        }
        for (s, steps) in run.carry.steps.iter_mut().enumerate() {
            *steps = before[s] + whole.range(s).len() as u64;
        }
        if rest.steps() > 0 {
            self.code.run(run.part(&rest))?;
        }
        // A layer with something to report is run step by step.
        Ok(Vec::new())
    }

    /// As [`Kernel::perform`], for a kernel each of whose steps is a row of several: see [`Code::run_rows`].
    ///
    /// # Errors
    /// As for [`Kernel::run`], the outputs included.
    pub(crate) fn run_rows(&self, run: Run<'_, F>, views: &[(usize, usize)]) -> Result<(), RunError> {
        self.code.run_rows(run, views)
    }

    /// The layer as maps of its states, where these are few: see [`finite`].
    pub fn finite(&self) -> Option<&Finite<F>> {
        self.finite.as_ref()
    }

    /// The map of each stretch of steps, for a layer that [`Kernel::finite`] has. `stretches` cuts the inputs,
    /// `[total, ..]`, wherever it may.
    ///
    /// # Errors
    /// A tensor that does not fit the layer, an integer outside of its range.
    pub fn maps(
        &self,
        bound: &Bound<F>,
        stretches: &Sequences,
        inputs: &[Tensor<F>],
        threads: usize,
    ) -> Option<Result<Vec<Map>, RunError>> {
        let finite = self.finite.as_ref()?;
        Some(finite.maps(&self.code, bound, stretches, inputs, threads))
    }
}

impl<F> Drop for Kernel<F> {
    fn drop(&mut self) {
        let module = self.module.get_mut().ok().and_then(Option::take);
        if let Some(module) = module {
            // SAFETY: the code is private to this value and cannot be called any more.
            unsafe { module.free_memory() };
        }
    }
}
