//! Which back end makes the code of a layer, and for which width of vectors.
//!
//! The wide selector (`ssmc-wide`) serves x86-64 with AVX2 or AVX-512 at every width. Where it has no code for what the
//! emitter wrote, and on all other machines, Cranelift selects, 128 bits wide. One back end makes all functions.

use std::fmt;

use cranelift_codegen::ir::Function;
use cranelift_codegen::isa::TargetIsa;
use ssmc_wide::Level;

use super::isa::Isa;
use crate::codegen::{self, Machine};
use crate::diag::Diagnostic;
use crate::ir::{Expr, ExprKind, IndexId, Instance};
use crate::plan::{self, Form, Item, Nest, Phase, Plan, Region, Target};

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
    if let Some(level) = limit.level() {
        let plan = widest(instance, form, bits, level)?;
        let parts: Option<Vec<_>> = (0..plan.parts().len())
            .map(|part| {
                let (function, code) = ordered(codegen::emit(&plan, part, machine, isa), level)?;
                Some((function, Some(code)))
            })
            .collect();
        if let Some(parts) = parts {
            let vector_bits = plan.target.width as u32 * bits;
            let backend = Backend { isa: limit, vector_bits, by_cranelift: false };
            return Ok(Selected { plan, backend, parts });
        }
    }
    // Cranelift selects vectors of 128 bits, in sixteen registers on x86-64.
    let registers = if cfg!(target_arch = "x86_64") { 16 } else { 32 };
    let plan = plan::plan(instance, form, Target { bits, width: 128 / bits as usize, registers })?;
    let parts = (0..plan.parts().len()).map(|part| (codegen::emit(&plan, part, machine, isa), None)).collect();
    let backend = Backend { isa: Isa::Narrow, vector_bits: 128, by_cranelift: true };
    Ok(Selected { plan, backend, parts })
}

/// A function with its instructions in the order that runs best, and its code.
fn ordered(given: Function, level: Level) -> Option<(Function, ssmc_wide::Code)> {
    let mut function = given.clone();
    codegen::schedule(&mut function, level.registers());
    let code = ssmc_wide::compile(&function, level).ok()?;
    if code.stats.inner_spills > 0 {
        // More was live than the scheduler saw.
        let as_given = ssmc_wide::compile(&given, level).ok()?;
        if as_given.stats.inner_spills < code.stats.inner_spills {
            return Some((given, as_given));
        }
    }
    Some((function, code))
}

/// The plan that goes through its innermost loops least often; of equals the one with the widest vectors.
fn widest(instance: &Instance, form: Form, bits: u32, level: Level) -> Result<Plan, Vec<Diagnostic>> {
    let mut best: Option<(u64, Plan)> = None;
    let mut width = (level.vector_bytes() * 8 / bits) as usize;
    while width * bits as usize >= 128 {
        let plan = plan::plan(instance, form, Target { bits, width, registers: level.registers() })?;
        let rounds = rounds(&plan);
        if best.as_ref().is_none_or(|(fewest, _)| rounds < *fewest) {
            best = Some((rounds, plan));
        }
        width /= 2;
    }
    Ok(best.expect("a vector has at least 128 bits").1)
}

/// How often the loops of one step go through their bodies, with those of reductions, vectors counting once.
fn rounds(plan: &Plan) -> u64 {
    let width = plan.target.width;
    let each = |index: &IndexId, on_lanes: bool| {
        let n = plan.instance.extents[index.at()];
        (if on_lanes { n / width + n % width } else { n }) as u64
    };
    let nest = |nest: &Nest| {
        let on_lanes = |i: &IndexId| nest.lanes.iter().any(|lanes| lanes.index == *i);
        let count = |i: &IndexId| each(i, on_lanes(i));
        nest.loops.iter().map(count).product::<u64>().saturating_mul(weight(&nest.body, &count))
    };
    let region = |region: &Region| {
        let plain = |i: &IndexId| each(i, false);
        let blocks = plan.instance.extents[region.lane.at()].div_ceil(width) as u64;
        let items = region.items.iter().map(|item| match item {
            Item::One(statement) => weight(&statement.body, &plain),
            Item::Loop(fused) => {
                let turns: u64 = fused.indices.iter().map(plain).product();
                let each = fused.body.iter().map(|s| if s.sums { 1 } else { weight(&s.body, &plain) });
                each.fold(0, u64::saturating_add).saturating_mul(turns)
            }
        });
        let blocks = region.outer.iter().map(plain).fold(blocks, u64::saturating_mul);
        items.fold(0, u64::saturating_add).saturating_mul(blocks)
    };
    let phase = |phase: &Phase| match phase {
        Phase::Steps(steps) => steps.cone.iter().chain(&steps.body).map(nest).fold(0, u64::saturating_add),
        Phase::Region(it) => region(it),
    };
    plan.passes.iter().flat_map(|pass| &pass.phases).map(phase).fold(0, u64::saturating_add)
}

/// How many bodies of reductions an expression runs, itself counted.
fn weight(e: &Expr, count: &dyn Fn(&IndexId) -> u64) -> u64 {
    let inside = e.operands().into_iter().map(|operand| weight(operand, count)).fold(1, u64::saturating_add);
    match &e.kind {
        ExprKind::Reduce { indices, .. } => indices.iter().map(count).fold(inside, u64::saturating_mul),
        _ => inside,
    }
}
