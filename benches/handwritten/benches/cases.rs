//! Times every case: one line of JSON for each instruction set and number of threads.
//!
//! `cargo bench -p ssmc-handwritten -- [name] [--seconds 0.3] [--isa avx512] [--threads 2]`
//!
//! The results of a kernel are compared with those of the plain loop before it is timed. A time is the smallest of
//! many, of the thread's own time with one thread and of the wall clock with two.

use std::time::{Duration, Instant};

use ssmc_handwritten::Isa;
use ssmc_handwritten::cases::{self, Case};
use ssmc_handwritten::clock::now;

/// The value behind an option.
fn option<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    let at = arguments.iter().position(|a| a == name)?;
    arguments.get(at + 1).map(String::as_str)
}

/// The smallest time of a run.
fn time(case: &mut Case, isa: Isa, threads: usize, budget: Duration) -> f64 {
    let start = Instant::now();
    let mut best = f64::INFINITY;
    let mut runs = 0;
    while runs < 3 || start.elapsed() < budget {
        // Runs below a microsecond would measure the clock.
        let (inner, begin) = (if best < 1e-4 { 20 } else { 1 }, now(threads));
        for _ in 0..inner {
            case.run(isa, threads);
        }
        best = best.min((now(threads) - begin).as_secs_f64() / f64::from(inner));
        runs += 1;
    }
    best
}

/// The largest difference, relative to the largest value.
fn difference(found: &[f64], want: &[f64]) -> f64 {
    assert_eq!(found.len(), want.len());
    let scale = want.iter().fold(f64::MIN_POSITIVE, |m, w| m.max(w.abs()));
    let worst = found.iter().zip(want).map(|(f, w)| (f - w).abs()).fold(0.0, |m, e| if e <= m { m } else { e });
    worst / scale
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seconds = option(&arguments, "--seconds").and_then(|s| s.parse().ok()).unwrap_or(0.3);
    let only = option(&arguments, "--isa");
    let most = option(&arguments, "--threads").and_then(|n| n.parse().ok()).unwrap_or(2);
    // Cargo says `--bench` first.
    let filter = arguments.iter().find(|a| *a != "--bench").filter(|a| !a.starts_with("--")).map_or("", String::as_str);
    for name in cases::NAMES.into_iter().filter(|name| name.contains(filter)) {
        let Some(mut case) = cases::case(name) else { unreachable!("a name without a case") };
        case.run(Isa::Plain, 1);
        let want = case.output();
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            if only.is_some_and(|only| only != isa.to_string()) {
                continue;
            }
            for threads in 1..=if isa == Isa::Plain { 1 } else { case.threads.min(most) } {
                if isa != Isa::Plain {
                    case.run(isa, threads);
                }
                let error = difference(&case.output(), &want);
                assert!(error <= case.tolerance, "{name} on {isa}, {threads} threads: off by {error:.1e}");
                let seconds = time(&mut case, isa, threads, Duration::from_secs_f64(seconds));
                println!(
                    "{{\"case\":\"{name}\",\"isa\":\"{isa}\",\"threads\":{threads},\"shape\":\"{}\",\"ms\":{:.5}}}",
                    case.shape(),
                    seconds * 1e3
                );
            }
        }
    }
}
