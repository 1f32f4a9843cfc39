//! Which plans are measured, and what they are compiled for.

use ssmc::diag::Diagnostic;
use ssmc::ir;

use crate::cli::args::{Isa, Plan};
use crate::cli::engine::check_step;
use crate::cli::report;

/// The plans that a layer allows. The interpreter is none of them: it is the judge.
pub fn of(layer: &ir::Layer) -> Vec<Plan> {
    let mut plans = vec![Plan::Sequential];
    if check_step(layer, "").is_ok() {
        plans.push(Plan::Step);
    }
    plans
}

/// Whether it is the plan that `auto` picks.
pub fn is_auto(plan: Plan) -> bool {
    plan == Plan::Sequential
}

/// Whether a plan takes the steps of a sequence one after the other.
pub fn runs_in_order(plan: Plan) -> bool {
    !matches!(plan, Plan::Parallel | Plan::Chunked)
}

/// What kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The name of the vector instructions.
    pub isa: &'static str,
    /// The width of the kernels' vectors in bits.
    pub vector: u32,
    /// The widest vectors that were asked for; absent where the machine decides.
    pub limit: Option<u32>,
}

/// What kernels are compiled for, for each of the choices; for the machine as it is where there is none.
///
/// # Errors
/// S302 for a choice that this version does not have.
pub fn targets(choices: &[Isa]) -> Result<Vec<Target>, Vec<Diagnostic>> {
    if !choices.is_empty() {
        return Err(vec![report::not_yet("--isa", "narrowing the vector instructions")]);
    }
    let isa = if cfg!(target_arch = "x86_64") { "sse2" } else { std::env::consts::ARCH };
    Ok(vec![Target { isa, vector: 128, limit: None }])
}
