//! Measures every plan of every case and of fifty random layers, beside what is predicted and what `auto` takes.
//!
//! `cargo run --release --example plans -- [--only NAME] [--random N] [--seed S] [--seconds S] [--rounds N] [--threads N]
//! [--profile FILE]`
//!
//! The cases are those of `benches/compiled`; `--only` takes those whose names contain it, `random` stands for the others.
//! Random layers come from the generator of `tests/equivalence`, one for each seed from `--seed` (1) on, `--random` (50) of
//! them; their lengths follow from the seed and from what the model predicts for a processor that stands for all, so that a
//! run takes some tenths of a millisecond to some milliseconds.
//! What a plan computes is compared before it is timed: cases with their plain loops, random layers with the
//! interpreter (see [`subject`]). One that differs is reported and makes the program fail.
//!
//! Plans are timed in turns, `--rounds` (3) times for `--seconds` (0.05) each; the smallest of all times counts, of the
//! thread's processor time with one thread, of the wall clock with two (`--threads`, 1). Predictions are for the profile in
//! `--profile` (as `ssmc bench --profile --json` prints it), else for one that is measured first.
//! Printed for each plan: the time, what was predicted over it, what bounds the prediction, and the time over that of the
//! best plan; `*` marks what `auto` takes. Then how many choices are within 1.1 of the best, and how many predictions
//! within a factor of 1.5.

#[path = "../../benches/compiled/mod.rs"]
mod compiled;
mod subject;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use comfy_table::Table;
use ssmc::jit::Isa;
use ssmc::profile::{self, Profile};
use ssmc::scan::{self, Extents, Plan};
use ssmc_handwritten::cases;
use ssmc_handwritten::clock::smallest;
use subject::Subject;

/// The value behind an option.
fn option(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|a| a != name);
    arguments.nth(1)
}

/// The number behind an option.
fn number<N: std::str::FromStr>(name: &str, otherwise: N) -> N {
    option(name).and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// A plan with its times in seconds.
struct Measured {
    plan: Plan,
    measured: f64,
    predicted: f64,
    limit: &'static str,
}

impl Measured {
    /// Predicted over measured.
    fn ratio(&self) -> f64 {
        self.predicted / self.measured
    }

    /// By which factor the prediction is off.
    fn off(&self) -> f64 {
        self.ratio().max(self.ratio().recip())
    }
}

/// What was found out about a layer.
struct Found {
    name: String,
    shape: String,
    auto: Plan,
    /// How long the choice took, in seconds.
    choosing: f64,
    plans: Vec<Measured>,
}

impl Found {
    fn best(&self) -> f64 {
        self.plans.iter().fold(f64::INFINITY, |best, plan| best.min(plan.measured))
    }

    /// The plan that `auto` takes; of one step, that is the only one.
    fn taken(&self) -> Option<&Measured> {
        self.plans.iter().find(|plan| plan.plan == self.auto || plan.plan == Plan::Step)
    }

    /// The time of what `auto` takes over the best.
    fn lost(&self) -> f64 {
        self.taken().map_or(f64::INFINITY, |plan| plan.measured / self.best())
    }
}

/// How to measure.
struct Settings {
    budget: Duration,
    rounds: usize,
    threads: usize,
    profile: Profile,
}

fn measure(mut subject: Subject, settings: &Settings) -> Result<Found, String> {
    let threads = settings.threads;
    for plan in &mut subject.plans {
        plan.run(threads);
        let error = compiled::difference(&plan.output(subject.last), &subject.want, subject.least);
        if error > subject.tolerance {
            return Err(format!("{}, {}: off by {error:.1e}", subject.name, plan.plan().name()));
        }
    }
    let mut best = vec![f64::INFINITY; subject.plans.len()];
    for _ in 0..settings.rounds {
        for (best, plan) in best.iter_mut().zip(&mut subject.plans) {
            *best = best.min(smallest(settings.budget, threads, || plan.run(threads)));
        }
    }
    let extents = Extents { threads, ..subject.extents };
    let isa = Isa::widest();
    let start = Instant::now();
    let auto = scan::choose(&subject.instance, extents, isa, &settings.profile).plan;
    let choosing = start.elapsed().as_secs_f64();
    let mut plans = Vec::new();
    for (plan, measured) in subject.plans.iter().zip(best) {
        let plan = plan.plan();
        let priced = scan::price(plan, &subject.instance, extents, isa, &settings.profile);
        let priced = priced.map_err(|problems| format!("{}: no price: {problems:?}", subject.name))?;
        let limit = priced.prediction.limit().name();
        plans.push(Measured { plan, measured, predicted: priced.prediction.seconds(), limit });
    }
    Ok(Found { name: subject.name, shape: subject.shape, auto, choosing, plans })
}

/// A time in milliseconds with three digits.
fn ms(seconds: f64) -> String {
    let time = seconds * 1e3;
    let digits = (2.0 - time.log10().floor()).clamp(0.0, 5.0);
    format!("{time:.*}", digits as usize)
}

fn print(all: &[Found]) {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header(["layer", "shape", "plan", "ms", "predicted ms", "predicted / measured", "bound by", "over best"]);
    for found in all {
        for (n, plan) in found.plans.iter().enumerate() {
            let once = |text: &str| if n == 0 { text.to_owned() } else { String::new() };
            let taken = found.taken().is_some_and(|taken| taken.plan == plan.plan);
            table.add_row([
                once(&found.name),
                once(&found.shape),
                format!("{}{}", plan.plan.name(), if taken { " *" } else { "" }),
                ms(plan.measured),
                ms(plan.predicted),
                format!("{:.2}", plan.ratio()),
                plan.limit.to_owned(),
                format!("{:.2}", plan.measured / found.best()),
            ]);
        }
    }
    println!("{table}\n");
}

/// How many choices and predictions are within their bounds, and the worst.
fn summary(what: &str, all: &[&Found]) {
    if all.is_empty() {
        return;
    }
    let good = all.iter().filter(|found| found.lost() <= 1.1).count();
    println!("{what}: `auto` within 1.1 of the best plan: {good} of {}", all.len());
    for found in all.iter().filter(|found| found.lost() > 1.1) {
        println!("  {} ({}): {} takes {:.2} of the best", found.name, found.shape, found.auto.name(), found.lost());
    }
    let taken: Vec<(&Found, &Measured)> =
        all.iter().filter_map(|found| found.taken().map(|plan| (*found, plan))).collect();
    let every: Vec<(&Found, &Measured)> =
        all.iter().flat_map(|found| found.plans.iter().map(|plan| (*found, plan))).collect();
    for (which, plans) in [("of what `auto` takes", &taken), ("of all plans", &every)] {
        let near = plans.iter().filter(|(_, plan)| plan.off() <= 1.5).count();
        println!("{what}: predictions within 1.5, {which}: {near} of {}", plans.len());
    }
    for (found, plan) in every.iter().filter(|(_, plan)| plan.off() > 1.5) {
        println!("  {} ({}), {}: {:.2}", found.name, found.shape, plan.plan.name(), plan.ratio());
    }
    if let Some(longest) = all.iter().max_by(|a, b| a.choosing.total_cmp(&b.choosing)) {
        println!("{what}: the longest choice took {} ms ({})\n", ms(longest.choosing), longest.name);
    }
}

/// The profile in a file.
fn kept(path: &str) -> Result<Profile, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let value = serde_json::from_str(&text).map_err(|error| format!("{path}: {error}"))?;
    Profile::from_json(&value).map_err(|field| format!("{path}: `{field}`"))
}

fn main() -> ExitCode {
    let profile = match option("--profile").map(|path| kept(&path)) {
        Some(Ok(profile)) => profile,
        Some(Err(error)) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
        None => profile::measure(&|_| {}),
    };
    let budget = Duration::try_from_secs_f64(number("--seconds", 0.05)).unwrap_or(Duration::ZERO);
    let threads = number("--threads", 1).clamp(1, compiled::threads());
    let settings = Settings { budget, rounds: number("--rounds", 3).max(1), threads, profile };
    let only = option("--only").unwrap_or_default();
    let (mut all, mut problems) = (Vec::new(), Vec::new());
    let mut add = |subject: Result<Subject, String>| match subject.and_then(|subject| measure(subject, &settings)) {
        Ok(found) => all.push(found),
        Err(problem) => problems.push(problem),
    };
    for name in cases::NAMES.into_iter().filter(|name| name.contains(&only)) {
        eprintln!("{name}");
        add(subject::of_case(name));
    }
    let cases = cases::NAMES.into_iter().filter(|name| name.contains(&only)).count();
    if "random".contains(&only) {
        let (first, count) = (number("--seed", 1), number("--random", 50));
        for seed in first..first + count {
            eprintln!("random {seed}");
            add(subject::random(seed));
        }
    }
    print(&all);
    let (of_cases, random): (Vec<&Found>, Vec<&Found>) =
        all.iter().partition(|found| !found.name.starts_with("random"));
    summary(&format!("{cases} cases"), &of_cases);
    summary("random layers", &random);
    for problem in &problems {
        println!("not shown: {problem}");
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
