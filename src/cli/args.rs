//! The arguments of the command line.
//!
//! What clap cannot parse is wrong usage and ends with exit code 2. What parses and does not fit the program or
//! the data is a diagnostic and ends with exit code 1.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ssmc::diag::{Code, Diagnostic};
use ssmc::jit::isa;

/// Compiles sequence-model recurrences, written as one time step in index notation, and runs them.
///
/// Exit codes: 0 done; 1 the program or the data is at fault, and stderr says what and where; 2 wrong usage.
#[derive(Debug, Parser)]
#[command(name = "ssmc", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check types and shapes, and print what each layer takes, keeps and gives
    Check(CheckArgs),
    /// Print the plan, what it is predicted to take, and the plans that lost
    ///
    /// Dimensions without a value are 16. The figures of the machine are measured once, in a few seconds, and kept (see
    /// `bench --profile`); `SSMC_PROFILE` may name a file with other ones, as `bench --profile --json` prints them.
    Explain(Box<ExplainArgs>),
    /// Run a layer over sequences from tensor files
    Run(Box<RunArgs>),
    /// Run one step for each line of JSON on standard input
    ///
    /// Each line is an object of the step's inputs by name: `{"x": [0.5, 1], "tok": 3}`. Complex numbers are
    /// `[re, im]`; numbers that are not finite are the strings "NaN", "Infinity" and "-Infinity". For each line
    /// one object of the outputs is written (of the states, where the layer has no outputs). A line that cannot
    /// be used gives `{"error": {"code", "message", "line"}}` and leaves the state as it was; the exit code is
    /// then 1 at the end of the input. Blank lines are skipped.
    Step(StepArgs),
    /// Measure every plan that a layer allows, and what the machine could do at best
    ///
    /// Each plan is compared with the interpreter before it is timed. Where --params or --input are not given, values
    /// are seeded and uniform in (0, 1), and dimensions without a value are 16. All layers of the program are measured,
    /// unless --layer names one. Options that take lists are swept over: `--seq 1k,4k,16k`.
    Bench(Box<BenchArgs>),
    /// Compare a layer's answers with labels, and print how many are right for each length
    ///
    /// The layer has one input, which gets the tokens: `index`, `bool`, or a vector of reals, one-hot. Its answer is its
    /// only output (--score names one of several; without outputs, its only state behind the last step): the place of the
    /// largest element of a vector, or the integer itself.
    Eval(Box<EvalArgs>),
    /// Print what a stage of the compiler makes of the program
    Dump(DumpArgs),
    /// Put programs into the standard format, in place
    Fmt(FmtArgs),
}

/// Which layer, and its dimensions.
#[derive(Debug, Args)]
pub struct LayerArgs {
    /// The program
    pub file: PathBuf,
    /// The layer; needed only where the program has several
    #[arg(long, value_name = "NAME")]
    pub layer: Option<String>,
    /// The value of a dimension (repeatable)
    #[arg(long = "dim", value_name = "N=16", value_parser = parse_dim)]
    pub dims: Vec<(String, i64)>,
}

/// `ssmc check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Which layer, and its dimensions.
    #[command(flatten)]
    pub layer: LayerArgs,
    /// Print the verdict on every group of states of one layer as JSON
    #[arg(long)]
    pub json: bool,
}

/// `ssmc explain`
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Which layer, and its dimensions.
    #[command(flatten)]
    pub layer: LayerArgs,
    /// Steps of a sequence (`k` is 1024, `m` 1024k)
    #[arg(long, value_name = "L", value_parser = parse_count, default_value = "1k")]
    pub seq: usize,
    /// Sequences
    #[arg(long, value_name = "B", value_parser = parse_count, default_value = "1")]
    pub batch: usize,
    /// How many threads, up to 1024 [default: as many as the processor runs]
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// The plan to explain
    #[arg(long, value_enum, default_value = "auto")]
    pub plan: Plan,
    /// The type of real numbers
    #[arg(long, value_enum, default_value = "f32")]
    pub dtype: Dtype,
    /// Stay within these vector instructions; the widest of the machine, if it is not given
    #[arg(long, value_enum)]
    pub isa: Option<Isa>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// How a sequence is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Plan {
    /// `parallel` for long sequences that are fewer than the threads, or have a few channels only, and `chunked`, where
    /// they are predicted to be faster; else `sequential`
    Auto,
    /// The compiled sequence kernel, in order
    Sequential,
    /// A parallel scan over time: stretches side by side; refused where the verdict is `nonlinear`
    Parallel,
    /// Blocks of time as matrix products; refused where no state's step is a decay, or a decay plus low rank, with
    /// outer products added
    Chunked,
    /// The compiled step kernel, once per step
    Step,
    /// The interpreter, which defines what is right; slow
    Interp,
}

impl Plan {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Plan::Auto => "auto",
            Plan::Sequential => "sequential",
            Plan::Parallel => "parallel",
            Plan::Chunked => "chunked",
            Plan::Step => "step",
            Plan::Interp => "interp",
        }
    }
}

/// The type of real numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Dtype {
    /// 32 bits
    F32,
    /// 64 bits
    F64,
}

/// Vector instructions to stay within.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Isa {
    /// 128 bits
    Sse2,
    /// 256 bits
    Avx2,
    /// 512 bits
    Avx512,
}

impl Isa {
    /// What code may use: this, or all that the machine has.
    ///
    /// # Errors
    /// S302 where the machine does not have it.
    pub fn limit(given: Option<Isa>) -> Result<isa::Isa, Diagnostic> {
        let limit = match given {
            None => return Ok(isa::Isa::widest()),
            Some(Isa::Sse2) => isa::Isa::Narrow,
            Some(Isa::Avx2) => isa::Isa::Avx2,
            Some(Isa::Avx512) => isa::Isa::Avx512,
        };
        if limit.is_here() {
            return Ok(limit);
        }
        let message = format!("this machine has no such instructions: `{}` is the widest it has", isa::Isa::widest());
        Err(Diagnostic::error_at(Code::S302, format!("--isa {limit}"), message))
    }
}

/// Parameters and states: what `run` and `step` share.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// Parameters: `.safetensors`, `.npz` or `NAME=FILE.npy` (repeatable; of several files with one tensor, the
    /// last counts). A tensor `A` is looked up as `param.A`, then as `A`
    #[arg(long, value_name = "F", value_parser = parse_tensor_file)]
    pub params: Vec<TensorFileArg>,
    /// States, delays and `step` to start from (repeatable, as --params). A state `h` is looked up as `state0.h`,
    /// then as `h`; what no file has starts from its initial value
    #[arg(long, value_name = "F", value_parser = parse_tensor_file)]
    pub state_in: Vec<TensorFileArg>,
    /// Where to write the states after the last step: `.safetensors` or `.npz`
    #[arg(long, value_name = "F", value_parser = parse_output_file)]
    pub state_out: Option<OutputFileArg>,
    /// Put before the names of parameters, behind the role: `param.` PREFIX `A`
    #[arg(long, value_name = "P", default_value = "")]
    pub prefix: String,
    /// The type of real numbers
    #[arg(long, value_enum, default_value = "f32")]
    pub dtype: Dtype,
    /// The seed of `normal` and `uniform` in initialisers
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Stay within these vector instructions; the widest of the machine, if it is not given
    #[arg(long, value_enum)]
    pub isa: Option<Isa>,
}

/// `ssmc run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Which layer, and its dimensions.
    #[command(flatten)]
    pub layer: LayerArgs,
    /// Parameters and states.
    #[command(flatten)]
    pub data: DataArgs,
    /// Inputs, `[seq, ..]` or `[batch, seq, ..]` (repeatable, as --params). An input `x` is looked up as `in.x`,
    /// then as `x`; with `cu_seqlens`, `[total, ..]` holds packed sequences
    #[arg(long, value_name = "F", value_parser = parse_tensor_file)]
    pub input: Vec<TensorFileArg>,
    /// Where to write the outputs (the final states, where the layer has no outputs): `.safetensors` or `.npz`
    #[arg(long, value_name = "F", value_parser = parse_output_file)]
    pub output: Option<OutputFileArg>,
    /// What must come out (repeatable, as --params): outputs `out.y` or `y`, final states `final.h` or `h`, and
    /// the time steps `idx.y` at which an output is held. An output without a time axis is that of the last step
    #[arg(long, value_name = "F", value_parser = parse_tensor_file)]
    pub expect: Vec<TensorFileArg>,
    /// An element may be off by R times the largest expected value of its tensor [default: 1e-4, with f64 1e-10]
    #[arg(long, value_name = "R", value_parser = parse_tolerance, requires = "expect")]
    pub rtol: Option<f64>,
    /// .. and by A more
    #[arg(long, value_name = "A", value_parser = parse_tolerance, default_value = "0", requires = "expect")]
    pub atol: f64,
    /// How to run the sequence
    #[arg(long, value_enum, default_value = "auto")]
    pub plan: Plan,
    /// How many threads, up to 1024 [default: as many as the processor runs]
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// The number of steps, for a layer without inputs [default: 1]
    #[arg(long, value_name = "L")]
    pub seq: Option<usize>,
}

/// `ssmc bench`
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The program
    #[arg(required_unless_present_any = ["profile", "compare"])]
    pub file: Option<PathBuf>,
    /// The layer [default: all]
    #[arg(long, value_name = "NAME")]
    pub layer: Option<String>,
    /// The value of a dimension (repeatable)
    #[arg(long = "dim", value_name = "N=16", value_parser = parse_dim)]
    pub dims: Vec<(String, i64)>,
    /// Parameters, as for `run`
    #[arg(long, value_name = "F", value_parser = parse_tensor_file)]
    pub params: Vec<TensorFileArg>,
    /// Inputs, as for `run`; they have the number of steps
    #[arg(long, value_name = "F", value_parser = parse_tensor_file, conflicts_with_all = ["seq", "batch"])]
    pub input: Vec<TensorFileArg>,
    /// Put before the names of parameters, behind the role
    #[arg(long, value_name = "P", default_value = "")]
    pub prefix: String,
    /// The seed of all random numbers
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Steps of a sequence (a list; `k` is 1024, `m` 1024k)
    #[arg(long, value_name = "L,..", value_delimiter = ',', value_parser = parse_count, default_value = "1k")]
    pub seq: Vec<usize>,
    /// Sequences (a list)
    #[arg(long, value_name = "B,..", value_delimiter = ',', value_parser = parse_count, default_value = "1")]
    pub batch: Vec<usize>,
    /// Threads, up to 1024 (a list) [default: as many as the processor runs]
    #[arg(long, value_name = "T,..", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Vec<u16>,
    /// Stay within these vector instructions (a list)
    #[arg(long, value_enum, value_delimiter = ',')]
    pub isa: Vec<Isa>,
    /// The type of real numbers (a list)
    #[arg(long, value_enum, value_delimiter = ',', default_value = "f32")]
    pub dtype: Vec<Dtype>,
    /// About how many seconds each row may take
    #[arg(long, value_name = "S", default_value = "1", value_parser = parse_budget)]
    pub budget: f64,
    /// Pin each thread to a core of its own
    #[arg(long)]
    pub pin: bool,
    /// Print an array of the rows instead of a table
    #[arg(long)]
    pub json: bool,
    /// Draw the time per element over what is swept, as SVG
    #[arg(long, value_name = "F.svg", value_parser = parse_plot, conflicts_with_all = ["profile", "compare"])]
    pub plot: Option<PathBuf>,
    /// Measure the machine anew, keep its profile in the cache directory, and print it
    #[arg(long, conflicts_with_all = ["file", "compare"])]
    pub profile: bool,
    /// Print the ratios of two arrays that --json has printed, B over A
    #[arg(long, value_names = ["A.json", "B.json"], num_args = 2, conflicts_with = "file")]
    pub compare: Option<Vec<PathBuf>>,
}

/// `ssmc eval`
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// Which layer, and its dimensions.
    #[command(flatten)]
    pub layer: LayerArgs,
    /// Parameters: `.safetensors`, `.npz` or `NAME=FILE.npy` (repeatable; of several files with one tensor, the
    /// last counts). A tensor `A` is looked up as `param.A`, then as `A`
    #[arg(long, value_name = "F", value_parser = parse_tensor_file)]
    pub params: Vec<TensorFileArg>,
    /// Put before the names of parameters, behind the role: `param.` PREFIX `A`
    #[arg(long, value_name = "P", default_value = "")]
    pub prefix: String,
    /// Sequences and labels (repeatable, as --params): `tokens_S` and `labels_S`, with `cu_seqlens_S` for sequences of
    /// different lengths, or `S.input_ids` and `S.mask`; each looked up as `data.tokens_S` too, and without `S`
    #[arg(long, value_name = "F", value_parser = parse_tensor_file, required = true)]
    pub data: Vec<TensorFileArg>,
    /// Only the sets of this name, or whose names go on with a length (`copy` for `copy_L20`) (repeatable)
    #[arg(long = "set", value_name = "S")]
    pub sets: Vec<String>,
    /// The output that has the answer; needed only where the layer has several
    #[arg(long, value_name = "NAME")]
    pub score: Option<String>,
    /// Tokens below N are letters, and all are equally likely: prints the bits of an answer's letters, the most that the
    /// carried state allows to be right, and the length where its bits are used up
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..))]
    pub alphabet: Option<u16>,
    /// The type of real numbers
    #[arg(long, value_enum, default_value = "f32")]
    pub dtype: Dtype,
    /// The seed of `normal` and `uniform` in initialisers
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// How to run the sequences
    #[arg(long, value_enum, default_value = "auto")]
    pub plan: Plan,
    /// How many threads, up to 1024 [default: as many as the processor runs]
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Stay within these vector instructions
    #[arg(long, value_enum)]
    pub isa: Option<Isa>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Draw accuracy over length
    #[arg(long, value_name = "F.svg", value_parser = parse_svg)]
    pub plot: Option<PathBuf>,
}

impl EvalArgs {
    /// What it shares with `run`; every sequence starts from the initial states.
    pub fn data_args(&self) -> DataArgs {
        DataArgs {
            params: self.params.clone(),
            state_in: Vec::new(),
            state_out: None,
            prefix: self.prefix.clone(),
            dtype: self.dtype,
            seed: self.seed,
            isa: self.isa,
        }
    }
}

/// `ssmc step`
#[derive(Debug, Args)]
pub struct StepArgs {
    /// Which layer, and its dimensions.
    #[command(flatten)]
    pub layer: LayerArgs,
    /// Parameters and states.
    #[command(flatten)]
    pub data: DataArgs,
    /// `step` for the compiled step kernel, `interp` for the interpreter
    #[arg(long, value_enum, default_value = "auto")]
    pub plan: Plan,
}

/// A stage of the compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// The tokens of the text
    Tokens,
    /// The syntax tree
    Ast,
    /// The typed IR in index notation
    Ir,
    /// The verdict on every group of states
    Verdict,
    /// The loops of the kernels
    Plan,
    /// Cranelift IR of the kernels
    Clif,
    /// Machine code of the kernels
    Asm,
}

/// `ssmc dump`
#[derive(Debug, Args)]
pub struct DumpArgs {
    /// Which layer, and its dimensions.
    #[command(flatten)]
    pub layer: LayerArgs,
    /// Which stage
    #[arg(long, value_enum)]
    pub stage: Stage,
    /// The type of real numbers, for clif and asm, which also need all dimensions
    #[arg(long, value_enum, default_value = "f32")]
    pub dtype: Dtype,
    /// Stay within these vector instructions; the widest of the machine, if it is not given
    #[arg(long, value_enum)]
    pub isa: Option<Isa>,
}

/// `ssmc fmt`
#[derive(Debug, Args)]
pub struct FmtArgs {
    /// The programs
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Write nothing; fail if a file is not in the standard format
    #[arg(long)]
    pub check: bool,
}

/// A file of tensors to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorFileArg {
    /// The tensor's name, for a `.npy`, which has none of its own.
    pub name: Option<String>,
    /// The file.
    pub path: PathBuf,
    /// How its contents are laid out.
    pub format: Format,
}

/// How a file of tensors is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.safetensors`
    Safetensors,
    /// `.npz`
    Npz,
    /// `.npy`
    Npy,
}

impl Format {
    fn of(path: &str) -> Option<Self> {
        let (_, ending) = path.rsplit_once('.')?;
        match ending {
            "safetensors" => Some(Format::Safetensors),
            "npz" => Some(Format::Npz),
            "npy" => Some(Format::Npy),
            _ => None,
        }
    }
}

/// A file of tensors to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputFileArg {
    /// The file.
    pub path: PathBuf,
    /// How its contents are laid out: not [`Format::Npy`].
    pub format: Format,
}

fn parse_tensor_file(text: &str) -> Result<TensorFileArg, String> {
    match Format::of(text) {
        Some(Format::Npy) => match text.split_once('=') {
            Some((name, path)) if !name.is_empty() => {
                Ok(TensorFileArg { name: Some(name.into()), path: path.into(), format: Format::Npy })
            }
            _ => Err("a .npy file holds one tensor without a name: write NAME=FILE.npy".into()),
        },
        Some(format) => Ok(TensorFileArg { name: None, path: text.into(), format }),
        None => Err("expected a file that ends in .safetensors, .npz or .npy".into()),
    }
}

fn parse_output_file(text: &str) -> Result<OutputFileArg, String> {
    match Format::of(text) {
        Some(format @ (Format::Safetensors | Format::Npz)) => Ok(OutputFileArg { path: text.into(), format }),
        _ => Err("expected a file that ends in .safetensors or .npz".into()),
    }
}

fn parse_svg(text: &str) -> Result<PathBuf, String> {
    if text.ends_with(".svg") { Ok(text.into()) } else { Err("expected a file that ends in .svg".into()) }
}

fn parse_dim(text: &str) -> Result<(String, i64), String> {
    let (name, value) =
        text.split_once('=').filter(|(name, _)| !name.trim().is_empty()).ok_or("expected NAME=VALUE")?;
    let value: i64 = value.trim().parse().map_err(|_| format!("`{value}` is not an integer"))?;
    if value < 1 {
        return Err("a dimension is at least 1".into());
    }
    Ok((name.trim().to_owned(), value))
}

/// `4k` is 4096.
fn parse_count(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1 << 10),
        Some((at, 'm' | 'M')) => (&text[..at], 1 << 20),
        _ => (text, 1),
    };
    match digits.parse::<usize>().ok().and_then(|n| n.checked_mul(unit)) {
        Some(n) if (1..=1 << 40).contains(&n) && digits.starts_with(|c: char| c.is_ascii_digit()) => Ok(n),
        _ => Err("expected a number of at least 1, like 1000 or 16k".into()),
    }
}

fn parse_budget(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value <= 3600.0 => Ok(value),
        _ => Err("expected a number of seconds above 0, at most 3600".into()),
    }
}

fn parse_plot(text: &str) -> Result<PathBuf, String> {
    match text.strip_suffix(".svg") {
        Some(stem) if !stem.is_empty() && !stem.ends_with('/') => Ok(text.into()),
        _ => Err("expected a file that ends in .svg".into()),
    }
}

fn parse_tolerance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value >= 0.0 && value.is_finite() => Ok(value),
        _ => Err("expected a number that is not negative".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn files_are_told_apart_by_their_endings() {
        let npy = parse_tensor_file("in.x=a=b.npy").expect("a named .npy");
        assert_eq!((npy.name.as_deref(), npy.path.to_str()), (Some("in.x"), Some("a=b.npy")));
        let plain = parse_tensor_file("a=b.npz").expect("a .npz with an equals sign");
        assert_eq!((plain.name, plain.format), (None, Format::Npz));
        for bad in ["x.npy", "=x.npy", "x", "x.bin", "", "x.NPZ", "npz"] {
            assert!(parse_tensor_file(bad).is_err(), "{bad}");
        }
        assert!(parse_output_file("y.npy").is_err());
        assert_eq!(parse_output_file("y.npz").map(|f| f.format), Ok(Format::Npz));
    }

    #[test]
    fn counts_have_units() {
        for (text, count) in [("1", 1), ("4k", 4096), ("2M", 2 << 20), ("16K", 16384)] {
            assert_eq!(parse_count(text), Ok(count));
        }
        for bad in ["", "k", "0", "0k", "-1", "+1", "1.5k", "1kk", "99999999999999999999", "9999999m", "\u{212a}"] {
            assert!(parse_count(bad).is_err(), "{bad}");
        }
        for bad in ["0", "-1", "NaN", "inf", "1e9", ""] {
            assert!(parse_budget(bad).is_err(), "{bad}");
        }
        for bad in ["a.png", ".svg", "a/.svg", "svg"] {
            assert!(parse_plot(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dimensions_are_positive() {
        assert_eq!(parse_dim("N=16"), Ok(("N".into(), 16)));
        for bad in ["N", "N=", "=1", "N=0", "N=-1", "N=1.5", "N=99999999999999999999"] {
            assert!(parse_dim(bad).is_err(), "{bad}");
        }
    }
}
