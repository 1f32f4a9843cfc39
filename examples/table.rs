//! Prints what compiled layers take beside plain loops, hand-written kernels and the machine's bound.
//!
//! `cargo run --release --example table -- [--only NAME] [--seconds S] [--rounds N] [--c COMMAND]`
//!
//! Every result is compared with the plain loop's before it is timed; a case that differs is reported and makes the
//! program fail. A time is the smallest of those that fit into `--seconds` (0.1), at least two, in each of `--rounds` (1).
//! `--c` adds the times of other kernels for the same cases: a command for the shell, run in each round with the kernel's
//! name as `$1`, that prints lines of JSON with `kernel`, `variant`, `lanes`, `threads`, `shape` and `ms_min`. Machines
//! change their speed from minute to minute: in turns, both meet the same one.
//!
//! The bound is the larger of two times: the operations that a case cannot do without, at as many vector operations per
//! second as the machine does with independent multiply-adds, and the bytes that come from and go to memory, at the
//! bandwidth of a streamed sum. Both are measured first (`ssmc_handwritten::machine`).

#[path = "../benches/compiled/mod.rs"]
mod compiled;

use std::process::ExitCode;
use std::time::Duration;

use comfy_table::Table;
use compiled::Compiled;
use serde_json::Value;
use ssmc_handwritten::Isa;
use ssmc_handwritten::cases::{self, Case};
use ssmc_handwritten::clock::smallest;
use ssmc_handwritten::machine::Profile;

/// The value behind an option.
fn option(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|a| a != name);
    arguments.nth(1)
}

/// The times of one case, in milliseconds; by threads where there are two.
struct Times {
    name: &'static str,
    shape: String,
    plain: f64,
    compiled: [Option<(f64, &'static str)>; 2],
    /// By [`Isa::ALL`].
    written: [[Option<f64>; 2]; 4],
    /// What the command for other kernels printed.
    others: Vec<Value>,
    bound: [[f64; 2]; 4],
    problems: Vec<String>,
}

/// The smallest time of a run, in milliseconds.
fn time(budget: Duration, threads: usize, run: impl FnMut()) -> f64 {
    smallest(budget, threads, run) * 1e3
}

/// How to measure.
struct Plan {
    budget: Duration,
    rounds: usize,
    /// The command that measures other kernels.
    others: Option<String>,
    profile: Profile,
}

fn measure(name: &'static str, case: &mut Case, plan: &Plan) -> Times {
    let mut times = Times {
        name,
        shape: case.shape(),
        plain: 0.0,
        compiled: [None; 2],
        written: [[None; 2]; 4],
        others: Vec::new(),
        bound: [[0.0; 2]; 4],
        problems: Vec::new(),
    };
    case.run(Isa::Plain, 1);
    let want = case.output();
    let mut written = Vec::new();
    for (at, isa) in Isa::ALL.into_iter().enumerate().skip(1).filter(|(_, isa)| isa.is_available()) {
        for threads in 1..=case.threads {
            times.bound[at][threads - 1] = case.work.bound(isa, threads, &plan.profile) * 1e3;
            case.run(isa, threads);
            let error = compiled::difference(&case.output(), &want, 0.0);
            if error > case.tolerance {
                times.problems.push(format!("{name}, {isa}, {threads} threads: off by {error:.1e}"));
                continue;
            }
            written.push((at, isa, threads));
        }
    }
    let mut compiled = compiled::compile(case, false).unwrap_or_else(|problem| {
        times.problems.push(format!("{name}, compiled: {problem}"));
        Vec::new()
    });
    compiled.retain_mut(|plan| is_right(&mut **plan, case, &want, &mut times));
    times.plain = time(plan.budget, 1, || case.run(Isa::Plain, 1));
    for _ in 0..plan.rounds {
        if let Some((command, kernel)) = plan.others.as_ref().zip(foreign_name(name)) {
            match printed(command, kernel.0) {
                Ok(rows) => times.others.extend(rows),
                Err(error) => times.problems.push(format!("{name}, --c: {error}")),
            }
        }
        for compiled in &mut compiled {
            run(&mut **compiled, case, &mut times, plan.budget);
        }
        for &(at, isa, threads) in &written {
            let taken = time(plan.budget, threads, || case.run(isa, threads));
            let best = &mut times.written[at][threads - 1];
            *best = Some(best.map_or(taken, |best| best.min(taken)));
        }
    }
    times
}

/// The rows that a command prints for a kernel.
fn printed(command: &str, kernel: &str) -> std::io::Result<Vec<Value>> {
    let output = std::process::Command::new("sh").args(["-c", command, "sh", kernel]).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(std::io::Error::other(format!("`{command}` failed: {}", said.trim())));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// The numbers of threads that a compiled case is measured with.
fn threads_of(case: &Case) -> std::ops::RangeInclusive<usize> {
    1..=case.threads.min(compiled::threads())
}

/// Whether a plan computes what the plain loop does.
fn is_right(plan: &mut dyn Compiled, case: &Case, want: &[f64], times: &mut Times) -> bool {
    for threads in threads_of(case).filter(|&threads| threads == 1 || case.steps > 1) {
        plan.run(threads);
        let error = compiled::difference(&plan.output(want.len()), want, 0.0);
        if error > case.tolerance {
            let what = format!("{}, compiled ({}), {threads} threads", case.name, plan.plan().name());
            times.problems.push(format!("{what}: off by {error:.1e}"));
            return false;
        }
    }
    true
}

/// Times one plan; the faster of two plans counts.
fn run(plan: &mut dyn Compiled, case: &Case, times: &mut Times, budget: Duration) {
    for threads in threads_of(case).filter(|&threads| threads == 1 || case.steps > 1) {
        let taken = time(budget, threads, || plan.run(threads));
        let best = &mut times.compiled[threads - 1];
        if best.is_none_or(|(best, _)| taken < best) {
            *best = Some((taken, plan.plan().name()));
        }
    }
}

/// What the other kernels for a case are called: kernel, start of the variant and of the shape.
fn foreign_name(name: &str) -> Option<(&'static str, &'static str, &'static str)> {
    let found = match name {
        "mamba scan" => ("mamba1", "scan_", "L=2048"),
        "mamba fused" => ("mamba1", "fused_", "L=2048"),
        "mamba decode" => ("mamba1", "decode_", "D="),
        "diagonal, streamed" => ("diag", "", "L=4096"),
        "diagonal, in L2" => ("diag", "", "L=512"),
        "ema" => ("iir", "ema_", "L=2^24"),
        "first order, varying" => ("iir", "tv1_", "L=2^24"),
        "biquad f32" => ("iir", "biquad32_block", "L=2^22"),
        "biquad f64" => ("iir", "biquad64_block", "L=2^22"),
        "biquad, varying" => ("iir", "biquad32_tv_", "L=2^22"),
        "longhorn" => ("longhorn", "", "L=2048"),
        "delta rule" => ("delta", "", "L=2048"),
        "sd-ssm, batch 1" => ("sdssm", "timeblock", "B=1"),
        "sd-ssm, batch 8" => ("sdssm", "timeblock", "B=8"),
        "s5" => ("s5", "tile", "L="),
        "finite map" => ("fsm", "pshufb_compose", "L="),
        "ssd" => ("ssd", "", "L=2048"),
        "viterbi" => ("viterbi", "lanes_dst", "L="),
        _ => return None,
    };
    Some(found)
}

/// The times of other kernels for a case, the smallest of their variants.
fn foreign(rows: &[Value], name: &str, isa: Isa, threads: usize) -> Option<f64> {
    let (kernel, variant, shape) = foreign_name(name)?;
    let lanes = match (name, isa) {
        (_, Isa::Plain | Isa::Avx2) => return None,
        ("biquad f64", isa) => isa.lanes() / 2,
        (_, isa) => isa.lanes(),
    };
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let matches = |row: &&Value| {
        let found = text(row, "variant");
        text(row, "kernel") == kernel
            && found.starts_with(variant)
            && !["naive", "incache", "part:", "backptr"].iter().any(|not| found.contains(not))
            && text(row, "shape").starts_with(shape)
            // Maps of bytes are composed in registers of one width.
            && (name == "finite map" || row["lanes"].as_u64() == Some(lanes as u64))
            && row["threads"].as_u64() == Some(threads as u64)
    };
    rows.iter().filter(matches).filter_map(|row| row["ms_min"].as_f64()).reduce(f64::min)
}

/// Three digits.
fn ms(time: f64) -> String {
    let digits = (2.0 - time.log10().floor()).clamp(0.0, 5.0);
    format!("{time:.*}", digits as usize)
}

fn or_dash<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

fn ratio(a: Option<f64>, b: Option<f64>) -> String {
    or_dash(a.zip(b), |(a, b)| format!("{:.2}", a / b))
}

/// Where the widest instruction set of the host stands in [`Isa::ALL`].
fn widest() -> usize {
    Isa::ALL.iter().position(|isa| *isa == Isa::best()).unwrap_or(0)
}

fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::ASCII_MARKDOWN).set_header(header);
    table.add_rows(rows);
    table.to_string()
}

fn print(all: &[Times], others: bool) {
    let best = widest();
    let rows = all.iter().flat_map(|t| {
        (0..2).filter(move |&n| t.written[best][n].is_some() || t.compiled[n].is_some()).map(move |n| {
            let (compiled, written) = (t.compiled[n].map(|c| c.0), t.written[best][n]);
            let bound = Some(t.bound[best][n]).filter(|b| *b > 0.0);
            vec![
                t.name.to_owned(),
                t.shape.clone(),
                (n + 1).to_string(),
                if n == 0 { ms(t.plain) } else { String::new() },
                or_dash(t.compiled[n], |(taken, plan)| format!("{} {plan}", ms(taken))),
                or_dash(written, ms),
                or_dash(bound, ms),
                if n == 0 { ratio(Some(t.plain), compiled) } else { String::new() },
                ratio(compiled, written),
                ratio(compiled, foreign(&t.others, t.name, Isa::ALL[best], n + 1)),
                ratio(compiled, bound),
                ratio(written, bound),
            ]
        })
    });
    let header = [
        "case",
        "shape",
        "threads",
        "plain",
        "compiled",
        "hand-written",
        "bound",
        "plain / compiled",
        "compiled / hand",
        "compiled / C",
        "compiled / bound",
        "hand / bound",
    ];
    println!("Times in ms; hand-written and bound with {}.\n\n{}\n", Isa::ALL[best], table(&header, rows.collect()));
    let rows = all.iter().map(|t| {
        let mut row = vec![t.name.to_owned()];
        for (at, isa) in Isa::ALL.into_iter().enumerate().skip(1).rev() {
            for n in 0..2 {
                row.push(or_dash(t.written[at][n], ms));
                if others && isa != Isa::Avx2 {
                    let other = foreign(&t.others, t.name, isa, n + 1);
                    row.extend([or_dash(other, ms), ratio(t.written[at][n], other)]);
                }
            }
        }
        row
    });
    let mut header = vec!["hand-written".to_owned()];
    for isa in Isa::ALL.into_iter().skip(1).rev() {
        for n in 1..=2 {
            header.push(format!("{isa}, {n}"));
            if others && isa != Isa::Avx2 {
                header.extend(["C".to_owned(), "ratio".to_owned()]);
            }
        }
    }
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    println!("Hand-written kernels by instruction set and threads, ms.\n\n{}", table(&header, rows.collect()));
}

fn main() -> ExitCode {
    let seconds = option("--seconds").and_then(|s| s.parse().ok()).unwrap_or(0.1);
    let plan = Plan {
        budget: Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO),
        rounds: option("--rounds").and_then(|n| n.parse().ok()).unwrap_or(1).max(1),
        others: option("--c"),
        profile: Profile::measure(),
    };
    let only = option("--only").unwrap_or_default();
    let profile = &plan.profile;
    let (operations, hertz) = profile.of(Isa::best());
    println!(
        "{}: {:.2} GHz, {:.2} vector operations a cycle; streaming {:.1} GB/s on one thread, {:.1} on two.\n",
        Isa::best(),
        hertz / 1e9,
        operations / hertz,
        profile.bandwidth[0] / 1e9,
        profile.bandwidth[1] / 1e9
    );
    let mut all = Vec::new();
    for name in cases::NAMES.into_iter().filter(|name| name.contains(&only)) {
        let Some(mut case) = cases::case(name) else { unreachable!("a name without a case") };
        eprintln!("{name} ({})", case.shape());
        all.push(measure(name, &mut case, &plan));
    }
    print(&all, plan.others.is_some());
    let problems: Vec<&String> = all.iter().flat_map(|t| &t.problems).collect();
    for problem in &problems {
        println!("\nnot shown: {problem}");
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
