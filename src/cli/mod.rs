//! The command line: all reading, writing, printing and exit codes.
//!
//! Exit codes: 0 done; 1 the program or the data is at fault, with a diagnostic on stderr; 2 wrong usage. A panic is
//! a fault of the compiler: it becomes a request for a report, and exit code 1.
//!
//! | module | what it has |
//! | --- | --- |
//! | [`args`] | what may be written behind `ssmc` |
//! | [`program`] | the text, and the layer that is meant |
//! | [`tensors`] | files of tensors; [`files`]: those of one option |
//! | [`data`], [`setup`] | which tensor of which file is which value of the layer; [`layout`]: the leading axes |
//! | [`memory`] | whether the run fits |
//! | [`engine`] | the plans behind one call |
//! | [`check`], [`run`], [`step`], [`eval`], [`dump`], [`fmt`] | the commands |
//! | [`bench`] | the measuring, and the profile of the machine |
//! | [`explain`] | stages, plans, and what they are predicted to take |
//! | [`carried`] | how much a sequence carries from step to step |
//! | [`plot`] | charts |
//! | [`results`], [`expect`] | what came out, and whether it should have |
//! | [`replace`] | files that are written at once |
//! | [`json`] | tensors of one step as JSON |
//! | [`report`], [`progress`] | what is said on stderr |

mod args;
mod bench;
mod carried;
mod check;
mod data;
mod dump;
mod engine;
mod eval;
mod expect;
mod explain;
mod files;
mod fmt;
mod json;
mod layout;
mod memory;
mod plot;
mod program;
mod progress;
mod replace;
mod report;
mod results;
mod run;
mod setup;
mod slices;
mod step;
mod tensors;
mod verdict;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use ssmc::diag::{Code, Diagnostic};

use args::{Cli, Command};
use program::Program;

/// What a command ends with, where nothing is wrong with the program or the data it was given: 0, or 1 where what
/// was asked about does not hold.
type Outcome = Result<Verdict, Vec<Diagnostic>>;

/// Whether what was asked about holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// All is well.
    Done,
    /// Something failed, and was reported.
    Failed,
}

/// Expressions may nest as deep as the parser lets them; the stages behind it recurse.
const STACK: usize = 256 << 20;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(|l| format!(" at {}:{}", l.file(), l.line())).unwrap_or_default();
        let _ = writeln!(
            std::io::stderr().lock(),
            "error: ssmc {} has a fault{place}: {message}\n\
             This is not the fault of your program. Please report it, with the program and the command line.",
            env!("CARGO_PKG_VERSION"),
        );
    }));
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, on stdout; a reader that went away is no error.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let worker = std::thread::Builder::new().stack_size(STACK).spawn(move || execute(cli.command));
    match worker.map(std::thread::JoinHandle::join) {
        Ok(Ok(Verdict::Done)) => ExitCode::SUCCESS,
        Ok(Ok(Verdict::Failed) | Err(_)) => ExitCode::FAILURE,
        Err(error) => {
            let message = format!("cannot start a thread: {error}");
            report::print(&[Diagnostic::error_at(Code::S408, "the command", message)], "", "");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Verdict {
    match command {
        Command::Check(args) => on_program(&args.layer.file, |program| check::execute(program, &args)),
        Command::Run(args) => on_program(&args.layer.file, |program| run::execute(program, &args)),
        Command::Step(args) => on_program(&args.layer.file, |program| step::execute(program, &args)),
        Command::Eval(args) => on_program(&args.layer.file, |program| eval::execute(program, &args)),
        Command::Dump(args) => on_program(&args.layer.file, |program| dump::execute(program, &args)),
        Command::Bench(args) => bench::execute(&args),
        Command::Fmt(args) => fmt::execute(&args),
        Command::Explain(args) => on_program(&args.layer.file, |program| explain::execute(program, &args)),
    }
}

/// Loads a program, does something with it, and reports what is wrong.
fn on_program(path: &std::path::Path, action: impl FnOnce(&Program) -> Outcome) -> Verdict {
    let program = match Program::load(path) {
        Ok(program) => program,
        Err(error) => {
            report::print(&[error], "", "");
            return Verdict::Failed;
        }
    };
    action(&program).unwrap_or_else(|diagnostics| {
        program.report(&diagnostics);
        Verdict::Failed
    })
}
