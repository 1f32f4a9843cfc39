//! `ssmc dump`: what a stage of the compiler makes of the program.

use ssmc::diag::Diagnostic;
use ssmc::ir::print;

use super::args::{DumpArgs, Stage};
use super::program::{Program, has_errors};
use super::{Outcome, Verdict, report};

/// Prints the stage. Tokens and tree are printed as far as they go, also where the program is at fault.
pub fn execute(program: &Program, args: &DumpArgs) -> Outcome {
    if args.isa.is_some() {
        return Err(vec![report::not_yet("--isa", "narrowing the vector instructions")]);
    }
    let (text, diagnostics) = match args.stage {
        Stage::Tokens => ssmc::syntax::tokens(&program.text),
        Stage::Ast => {
            let (file, diagnostics) = ssmc::syntax::parse(&program.text);
            (ssmc::syntax::dump_ast(&file), diagnostics)
        }
        Stage::Ir => (print::print(&program.layer(&args.layer)?), Vec::new()),
        Stage::Verdict => return later("verdict", "the verdict"),
        Stage::Plan => return later("plan", "the plan"),
        Stage::Clif => return later("clif", "the dump of Cranelift IR"),
        Stage::Asm => return later("asm", "the dump of machine code"),
    };
    report::out(&text).map_err(|error| vec![error])?;
    program.report(&diagnostics);
    Ok(if has_errors(&diagnostics) { Verdict::Failed } else { Verdict::Done })
}

fn later(stage: &str, what: &str) -> Result<Verdict, Vec<Diagnostic>> {
    Err(vec![report::not_yet(&format!("--stage {stage}"), what)])
}
