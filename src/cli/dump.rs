//! `ssmc dump`: what a stage of the compiler makes of the program.

use ssmc::analysis::verdict;
use ssmc::diag::Diagnostic;
use ssmc::ir::{Instance, instance, print};
use ssmc::jit::{self, Form};

use super::args::{Dtype, DumpArgs, Isa, Stage};
use super::program::{Program, given_dims, has_errors};
use super::{Outcome, Verdict, report};

/// Prints the stage. Tokens and tree are printed as far as they go, also where the program is at fault.
pub fn execute(program: &Program, args: &DumpArgs) -> Outcome {
    let (text, diagnostics) = match args.stage {
        Stage::Tokens => ssmc::syntax::tokens(&program.text),
        Stage::Ast => {
            let (file, diagnostics) = ssmc::syntax::parse(&program.text);
            (ssmc::syntax::dump_ast(&file), diagnostics)
        }
        Stage::Ir => (print::print(&program.layer(&args.layer)?), Vec::new()),
        Stage::Verdict => {
            let judged = verdict::judge(&program.layer(&args.layer)?);
            (verdict::print::verdict(&judged, &program.text), Vec::new())
        }
        Stage::Plan => (kernels(program, args, jit::plan_text)?, Vec::new()),
        Stage::Clif => (kernels(program, args, jit::clif)?, Vec::new()),
        Stage::Asm => (kernels(program, args, jit::asm)?, Vec::new()),
    };
    report::out(&text).map_err(|error| vec![error])?;
    program.report(&diagnostics);
    Ok(if has_errors(&diagnostics) { Verdict::Failed } else { Verdict::Done })
}

/// The text of the sequence kernel and, where the layer has one, of the step kernel.
fn kernels(
    program: &Program,
    args: &DumpArgs,
    text: impl Fn(&Instance, Form, u32, jit::Isa) -> Result<String, Vec<Diagnostic>>,
) -> Result<String, Vec<Diagnostic>> {
    let layer = program.layer(&args.layer)?;
    let dims = instance::solve_dims(&layer, &given_dims(&layer, &args.layer.dims), &[])?;
    let instance = Instance::new(layer, dims)?;
    let isa = Isa::limit(args.isa).map_err(|error| vec![error])?;
    let bits = match args.dtype {
        Dtype::F32 => 32,
        Dtype::F64 => 64,
    };
    let mut all = format!("; sequence kernel\n{}", text(&instance, Form::Sequence, bits, isa)?);
    if instance.layer.states.iter().all(|state| !state.reverse) {
        all.push_str(&format!("\n; step kernel\n{}", text(&instance, Form::Step, bits, isa)?));
    }
    Ok(all)
}
