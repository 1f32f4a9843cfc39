//! The `ssmc` command.
//!
//! All reading, writing and printing is done in [`cli`]; the library does none of it.

mod cli;

/// Tensors begin with a line of the cache.
#[global_allocator]
static ALLOCATOR: ssmc_runtime::Lines = ssmc_runtime::Lines;

fn main() -> std::process::ExitCode {
    cli::main()
}
