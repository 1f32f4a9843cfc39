//! Which plans are measured, and within which instructions.

use ssmc::diag::Diagnostic;
use ssmc::{ir, jit, scan};

use crate::cli::args::{Isa, Plan};

/// The plans that a layer allows. The interpreter is none of them: it is the judge.
pub fn of(layer: &ir::Layer) -> Vec<Plan> {
    let allowed = |plan| scan::plans(layer).into_iter().any(|(allowed, refusal)| allowed == plan && refusal.is_none());
    let all = [
        (Plan::Sequential, scan::Plan::Sequential),
        (Plan::Parallel, scan::Plan::Parallel),
        (Plan::Chunked, scan::Plan::Chunked),
        (Plan::Step, scan::Plan::Step),
    ];
    all.into_iter().filter_map(|(plan, same)| allowed(same).then_some(plan)).collect()
}

/// Whether a plan takes the steps of a sequence one after the other.
pub fn runs_in_order(plan: Plan) -> bool {
    !matches!(plan, Plan::Parallel | Plan::Chunked)
}

/// The instructions that kernels stay within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The widest that kernels may use.
    pub isa: jit::Isa,
    /// The widest vectors that were asked for, in bits; absent where the machine decides.
    pub limit: Option<u32>,
}

/// What kernels are compiled for, for each of the choices; for the machine as it is where there is none.
///
/// # Errors
/// S302 for instructions that the machine does not have.
pub fn targets(choices: &[Isa]) -> Result<Vec<Target>, Vec<Diagnostic>> {
    if choices.is_empty() {
        return Ok(vec![Target { isa: jit::Isa::widest(), limit: None }]);
    }
    let target = |&choice: &Isa| {
        let isa = Isa::limit(Some(choice)).map_err(|error| vec![error])?;
        let bits = match isa {
            jit::Isa::Narrow => 128,
            jit::Isa::Avx2 => 256,
            jit::Isa::Avx512 => 512,
        };
        Ok(Target { isa, limit: Some(bits) })
    };
    choices.iter().map(target).collect()
}
