//! Which back end makes the code of a layer, and for which width of vectors.
//!
//! The wide selector (`ssmc-wide`) serves x86-64 with AVX2 or AVX-512 at every width. Where it has no code for what the
//! emitter wrote, and on all other machines, Cranelift selects, 128 bits wide. One back end makes all functions.

use std::fmt;

use super::finite;
use super::isa::Isa;
use crate::codegen::{self, Machine};
use crate::diag::{Code, Diagnostic};
use crate::ir::Instance;
use crate::plan::{self, Form, Plan, Target};
use crate::predict::{self, Prediction, Run};
use crate::profile::Profile;
use cranelift_codegen::ir::Function;
use cranelift_codegen::isa::TargetIsa;

/// What makes the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The instructions that the code stays within.
    pub isa: Isa,
    /// The bits of the vectors that it works on.
    pub vector_bits: u32,
    /// Whether Cranelift has selected the instructions, not the wide selector.
    pub by_cranelift: bool,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = if self.by_cranelift { "cranelift" } else { "wide" };
        write!(f, "{} at {} bits by {by}", self.isa, self.vector_bits)
    }
}

/// The functions of a plan, with the code that the wide selector has made of them.
pub(super) struct Selected {
    pub(super) plan: Plan,
    pub(super) backend: Backend,
    pub(super) parts: Vec<(Function, Option<ssmc_wide::Code>)>,
}

/// Plans a layer and selects its instructions.
///
/// # Errors
/// What the plan refuses.
pub(super) fn select(
    instance: &Instance,
    form: Form,
    bits: u32,
    limit: Isa,
    isa: &dyn TargetIsa,
) -> Result<Selected, Vec<Diagnostic>> {
    let machine = Machine::of(isa);
    let limit = limit.min(Isa::widest());
    let filled = instance.filled();
    if let Some(level) = limit.level() {
        let plan = widest(instance, form, bits, limit)?;
        let parts: Option<Vec<_>> = (0..plan.parts().len())
            .map(|part| {
                let function = codegen::emit(&plan, part, machine.within(level), isa);
                let code = ssmc_wide::compile(&function, level).ok()?;
                Some((function, Some(code)))
            })
            .collect();
        if let Some(parts) = parts {
            let vector_bits = plan.target.width as u32 * bits;
            let backend = Backend { isa: limit, vector_bits, by_cranelift: false };
            return Ok(Selected { plan, backend, parts });
        }
    }
    if let Some(lanes) = filled.filter(|lanes| lanes * bits as usize != 128) {
        let message = format!("no code can be made for vectors of {lanes} numbers");
        return Err(vec![Diagnostic::error_at(Code::S302, "this machine", message)]);
    }
    let plan = plan::plan(instance, form, target(bits, 128, Isa::Narrow))?.within_caches();
    let parts = (0..plan.parts().len()).map(|part| (codegen::emit(&plan, part, machine, isa), None)).collect();
    let backend = Backend { isa: Isa::Narrow, vector_bits: 128, by_cranelift: true };
    Ok(Selected { plan, backend, parts })
}

/// A plan for vectors of one width, and how long it takes.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The plan.
    pub plan: Plan,
    /// The time of the run that was asked about.
    pub prediction: Prediction,
}

impl Candidate {
    /// The bits of its vectors.
    pub fn vector_bits(&self) -> u32 {
        self.plan.target.width as u32 * self.plan.target.bits
    }
}

/// What is planned for one width of vectors within some instructions.
fn target(bits: u32, vector_bits: u32, limit: Isa) -> Target {
    let registers = match limit.level() {
        Some(level) => level.registers(),
        // Cranelift selects vectors of 128 bits, in sixteen registers on x86-64.
        None if cfg!(target_arch = "x86_64") => 16,
        None => 32,
    };
    Target { bits, width: (vector_bits / bits) as usize, registers }
}

/// The plans for every width of vectors within some instructions, widest first, each with its time for a run.
///
/// # Errors
/// What the plan refuses; S302 on processors without a back end.
pub fn candidates(
    instance: &Instance,
    form: Form,
    bits: u32,
    limit: Isa,
    run: &Run,
    profile: &Profile,
) -> Result<Vec<Candidate>, Vec<Diagnostic>> {
    let mut found = every(instance, form, bits, limit, run, profile)?;
    let (isa, limit) = (super::isa::host()?, limit.min(Isa::widest()));
    for candidate in &mut found {
        let (plan, run) = mostly(instance, candidate.plan.clone(), run)?;
        *candidate = Candidate { prediction: kernel_time(&plan, &*isa, limit, &run, profile), plan };
    }
    Ok(found)
}

/// The same, of kernels that take each step by itself.
fn every(
    instance: &Instance,
    form: Form,
    bits: u32,
    limit: Isa,
    run: &Run,
    profile: &Profile,
) -> Result<Vec<Candidate>, Vec<Diagnostic>> {
    let isa = super::isa::host()?;
    let limit = limit.min(Isa::widest());
    let most = limit.level().map_or(128, |level| level.vector_bytes() * 8);
    // An index that fills a vector says how wide that is.
    let filled = instance.filled().map(|lanes| lanes as u32 * bits);
    let mut found = Vec::new();
    let mut vector_bits = filled.unwrap_or(most);
    while vector_bits >= filled.unwrap_or(128) {
        let plan = plan::plan(instance, form, target(bits, vector_bits, limit))?;
        let prediction = kernel_time(&plan, &*isa, limit, run, profile);
        found.push(Candidate { plan, prediction });
        vector_bits /= 2;
    }
    Ok(found)
}

/// The time of a run of the kernel that a back end has made of a layer.
///
/// # Errors
/// What the plan refuses; S302 on processors without a back end.
pub fn predicted(
    instance: &Instance,
    form: Form,
    bits: u32,
    backend: Backend,
    run: &Run,
    profile: &Profile,
) -> Result<Prediction, Vec<Diagnostic>> {
    let limit = if backend.by_cranelift { Isa::Narrow } else { backend.isa };
    let plan = plan::plan(instance, form, target(bits, backend.vector_bits, limit))?;
    let (plan, run) = mostly(instance, plan, run)?;
    Ok(kernel_time(&plan, &*super::isa::host()?, limit, &run, profile))
}

/// The plan that becomes a kernel within some instructions, and the time of a run of it.
///
/// # Errors
/// What the plan refuses; S302 on processors without a back end.
pub fn chosen(
    instance: &Instance,
    form: Form,
    bits: u32,
    limit: Isa,
    run: &Run,
    profile: &Profile,
) -> Result<Candidate, Vec<Diagnostic>> {
    let limit = limit.min(Isa::widest());
    let plan = match limit.level() {
        Some(_) => widest(instance, form, bits, limit)?,
        None => plan::plan(instance, form, target(bits, 128, limit))?,
    };
    let (plan, run) = mostly(instance, plan, run)?;
    let prediction = kernel_time(&plan, &*super::isa::host()?, limit, &run, profile);
    Ok(Candidate { plan, prediction })
}

/// The plan that runs most of the steps, and what it runs: that of several steps as one, where the kernel has such.
fn mostly(instance: &Instance, plan: Plan, run: &Run) -> Result<(Plan, Run), Vec<Diagnostic>> {
    let Some(more) = super::several(instance, &plan).filter(|more| run.longest >= more.steps) else {
        return Ok((plan, *run));
    };
    let run = Run { longest: run.longest / more.steps, total: run.total / more.steps, ..*run };
    Ok((plan::plan(&more, plan.form, plan.target)?, run))
}

/// The time of a run of a plan, or of the finite map that a kernel runs in its place.
fn kernel_time(plan: &Plan, isa: &dyn TargetIsa, limit: Isa, run: &Run, profile: &Profile) -> Prediction {
    match finite::sizes(&plan.instance, &plan.signature) {
        Some(sizes) if sizes.pays(run.total) && codegen::finite::can_shuffle(isa) => {
            predict::finite(&plan.signature, run, profile)
        }
        _ => {
            let mut prediction = predict::predict(plan, isa, limit.level(), run, profile);
            // What is said of a step is of one of the layer's.
            let steps = plan.instance.steps as f64;
            for phase in &mut prediction.phases {
                (phase.instructions, phase.bytes) = (phase.instructions / steps, phase.bytes / steps);
            }
            prediction
        }
    }
}

/// Of the plans for every width the one that takes the least time for a long sequence on one thread, on a processor
/// that stands for all; of equals the one with the widest vectors.
fn widest(instance: &Instance, form: Form, bits: u32, limit: Isa) -> Result<Plan, Vec<Diagnostic>> {
    let run = Run::even(1, 1024, 1);
    let mut all = every(instance, form, bits, limit, &run, &Profile::reference())?.into_iter();
    let mut best = all.next().expect("a vector has at least 128 bits");
    for candidate in all {
        if candidate.prediction.seconds() < 0.98 * best.prediction.seconds() {
            best = candidate;
        }
    }
    Ok(best.plan)
}
