//! The `ssmc` command.
//!
//! All reading, writing and printing is done in [`cli`]; the library does none of it.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
