//! Writes the weights of `examples/regular`, which follow from the automata, and strings to evaluate them on.
//!
//! ```sh
//! cargo run --release --example automata -- weights target/regular
//! cargo run --release --example automata -- strings D4 target/regular/D4.safetensors --length 1000000 --count 4
//! cargo run --release --example automata -- copy target/regular/copy.safetensors --length 70 --length 80
//! ```

mod strings;
#[allow(dead_code, reason = "the tests use the rest")]
mod tasks;
mod tensors;
mod weights;

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

/// Weights and strings for examples/regular and examples/copy
#[derive(Parser)]
#[command(arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write the weights of every task in every form that has it: FORM-TASK.safetensors
    Weights {
        /// Where to; made if it is not there
        folder: PathBuf,
        /// How far the selected logit of the SD-SSM lies above the others
        #[arg(long, default_value_t = weights::GAP)]
        gap: f32,
    },
    /// Write strings of a task with a label for every step
    Strings {
        /// parity, even_pairs, cycle_navigation, modular_arithmetic, C2xC4, D4 or A5
        task: String,
        /// The file
        file: PathBuf,
        /// The length of a string (repeatable)
        #[arg(long, required = true)]
        length: Vec<usize>,
        /// How many strings of each length
        #[arg(long, default_value_t = 1)]
        count: usize,
        /// The seed
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// Write strings that are to be copied
    Copy {
        /// The file
        file: PathBuf,
        /// The length of a string (repeatable)
        #[arg(long, required = true)]
        length: Vec<usize>,
        /// How many strings of each length
        #[arg(long, default_value_t = 200)]
        count: usize,
        /// The seed
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
}

fn main() -> Result<(), Box<dyn Error>> {
    match Cli::parse().command {
        Command::Weights { folder, gap } => write_weights(&folder, gap),
        Command::Strings { task, file, length, count, seed } => {
            let task = tasks::named(&task).ok_or_else(|| format!("there is no task `{task}`"))?;
            let tensors: Vec<_> = length.iter().flat_map(|&l| strings::of_task(&task, l, count, seed)).collect();
            tensors::write(&file, &tensors)
        }
        Command::Copy { file, length, count, seed } => {
            let tensors: Vec<_> = length.iter().flat_map(|&l| strings::to_copy(l, count, seed)).collect();
            tensors::write(&file, &tensors)
        }
    }
}

fn write_weights(folder: &Path, gap: f32) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    for task in tasks::all() {
        let file = |form: &str| folder.join(format!("{form}-{}.safetensors", task.name));
        tensors::write(&file("sdssm"), &weights::sdssm(&task, gap))?;
        tensors::write(&file("automaton"), &weights::automaton(&task))?;
        if let Some(diagonal) = weights::diagonal(&task) {
            tensors::write(&file("diagonal"), &diagonal)?;
        }
    }
    Ok(())
}
