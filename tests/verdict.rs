//! Verdicts: a table of small recurrences, all examples, and the transitions against the interpreter.

#[path = "verdict/table.rs"]
mod table;

#[path = "verdict/numbers.rs"]
mod numbers;

#[path = "verdict/large.rs"]
mod large;

#[path = "verdict/stretch.rs"]
mod stretch;

#[path = "verdict/stability.rs"]
mod stability;

#[path = "equivalence/generate.rs"]
#[allow(dead_code, reason = "small dimensions are chosen here")]
mod generate;

#[path = "verdict/random.rs"]
mod random;

use std::fmt::Write as _;
use std::fs;

use ssmc::analysis::verdict::algebra::Algebra;
use ssmc::analysis::verdict::counterexample::Outcome;
use ssmc::analysis::verdict::{Class, Verdict, judge};
use ssmc::{ir, scan, sema, syntax};

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

fn layers(source: &str) -> Vec<ir::Layer> {
    let (file, diagnostics) = syntax::parse(source);
    assert!(diagnostics.is_empty(), "{source}\n{diagnostics:?}");
    let (layers, diagnostics) = sema::lower(&file);
    assert!(diagnostics.is_empty(), "{source}\n{diagnostics:?}");
    layers
}

/// The groups, one per line.
fn summary(verdict: &Verdict) -> String {
    let mut text = String::new();
    for group in &verdict.groups {
        let names: Vec<&str> = group.states.iter().map(|s| verdict.layer.states[s.at()].name.as_str()).collect();
        write!(text, "{}: {} {}", names.join(" "), group.class.name(), group.field.name()).unwrap();
        if group.time_invariant {
            text += " time-invariant";
        }
        if !group.mixed.is_empty() {
            write!(text, " mixed {}", group.mixed.join(" ")).unwrap();
        }
        let batch: Vec<String> =
            group.batch.iter().map(|b| format!("{}{}", b.name, if b.shared { "*" } else { "" })).collect();
        if !batch.is_empty() {
            write!(text, " batch {}", batch.join(" ")).unwrap();
        }
        if let Some(low_rank) = group.transition.as_ref().and_then(|t| t.low_rank.as_ref()) {
            write!(text, " factors {}", low_rank.factors.len()).unwrap();
        }
        if let Some(failure) = &group.failure {
            write!(text, " ({})", failure.reason).unwrap();
        }
        text += "\n";
    }
    text
}

#[test]
fn examples() {
    let mut files: Vec<_> = fs::read_dir("examples").unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let mut text = String::new();
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".ssm") {
            continue;
        }
        for layer in layers(&fs::read_to_string(&path).unwrap()) {
            let verdict = judge(&layer);
            writeln!(text, "{name} {}", layer.name).unwrap();
            for line in summary(&verdict).lines() {
                writeln!(text, "    {line}").unwrap();
            }
        }
    }
    let path = "tests/verdict/examples.txt";
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, &text).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap_or_default(), text, "run with BLESS=1 and look at the difference");
}

#[test]
fn small_recurrences() {
    let mut wrong = String::new();
    for (source, expected) in table::TABLE {
        let layer = layers(&format!("layer test {source}")).remove(0);
        let verdict = judge(&layer);
        let found: Vec<String> = verdict.groups.iter().map(|g| g.class.name().to_owned()).collect();
        if found.join(", ") != *expected {
            writeln!(wrong, "{source}\n  expected {expected}\n  found {}", summary(&verdict)).unwrap();
        }
        for group in &verdict.groups {
            assert_eq!(group.failure.is_some(), group.class == Class::Nonlinear, "{source}");
            assert_eq!(group.transition.is_none(), group.class == Class::Nonlinear, "{source}");
        }
    }
    assert!(table::TABLE.len() >= 60, "{} recurrences", table::TABLE.len());
    assert!(wrong.is_empty(), "{wrong}");
}

/// What is known beyond the class.
#[test]
fn details() {
    for (source, expected) in [
        ("{ input x state h: complex = 0 h <- x * h + conj(h) }", "h: affine-dense real"),
        // The parts of a complex state that do not meet share its indices.
        (
            "(N, M) { input x[N] state h[N, M]: complex = 0 h[i, j] <- x[i] * conj(h[i, j]) + 1 }",
            "h: affine-dense real batch i j*",
        ),
        (
            "(N) { input x[N] param A[N, N] state h[N, N]: complex = 0 h[i, j] <- sum[k](A[j, k] * conj(h[i, k])) }",
            "h: affine-dense real time-invariant mixed j batch i*",
        ),
        (
            "(N) { state h[N, N]: complex = 0 h[i, j] <- conj(h[j, i]) + 1 }",
            "h: affine-dense real time-invariant mixed i j",
        ),
        (
            "{ param a: complex input x state h: complex = 0 h <- a * h + x }",
            "h: affine-diagonal complex time-invariant",
        ),
        (
            "(N) { input a[N] state u[N] = 0, v[N] = 0 u[i] <- u[i] + a[i] * v[i] v[i] <- v[i] + u[i] }",
            "u v: affine-dense real batch i",
        ),
        (
            "(N, M) { input k[N], b state S[N, M] = 0 S[n, m] <- S[n, m] - b * k[n] * sum[j](k[j] * S[j, m]) }",
            "S: affine-low-rank real mixed n batch m* factors 1",
        ),
        (
            "(S) { param t[S]: index(S) state s[S]: index(S) = 0 s[i] <- t[s[i]] }",
            "s: finite-map index time-invariant batch i",
        ),
        // A reset makes the coefficient zero.
        ("{ input go: bool, x state h = 0 reset when go h <- 0.5 * h + x }", "h: affine-diagonal real"),
        // Which element is read depends on `i`.
        (
            "(N) { input x state h[N, N] = 0 h[i, j] <- h[i, N - 1 - i] + x }",
            "h: affine-low-rank real time-invariant mixed j batch i factors 1",
        ),
    ] {
        let layer = layers(&format!("layer test {source}")).remove(0);
        assert_eq!(summary(&judge(&layer)).trim_end(), expected, "{source}");
    }
}

/// Whether transitions can grow, why, and that runs agree.
#[test]
fn stability_of_transitions() {
    let mut wrong = String::new();
    for (source, expected, why) in stability::TABLE {
        let layer = layers(&format!("layer test {source}")).remove(0);
        let verdict = judge(&layer);
        let group = verdict.groups.last().unwrap();
        let (found, reason) = stability::said(group.stability.as_ref());
        if found != *expected || !reason.contains(why) {
            writeln!(wrong, "{source}\n  expected {expected}: {why}\n  found {found}: {reason}").unwrap();
        }
        stability::growth(source, &layer, true);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The plans that are said to be allowed are those that compile, and the refusals are the same.
#[test]
fn allowed_plans_compile() {
    let pair = "(N) { input x: index(N) state a: index(N) = 0, b: index(N) = 0 let o = a a <- (b + x) % N b <- (o * 3 + b) % N }";
    let alone = "(N) { input x: index(N) state a: index(N) = 0 a <- (a + x) % N }";
    let dense = "(N) { input u[N], v[N] state h[N] = 0 h[i] <- sum[j](cos(u[i] * v[j]) * h[j]) }";
    let rows = [(pair, 5), (pair, 300), (pair, 20_000), (alone, 20_000), (dense, 3), (dense, 300), (dense, 20_000)];
    let few = table::TABLE.iter().step_by(9).map(|(source, _)| (*source, 3));
    let (mut allowed, mut refused) = (0, 0);
    for (source, n) in rows.into_iter().chain(few) {
        let layer = layers(&format!("layer test {source}")).remove(0);
        let dims = vec![n; layer.dims.len()];
        let Ok(instance) = ir::Instance::new(layer, dims) else { continue };
        let plans = scan::plans_of(&instance);
        let (_, refusal) = plans.into_iter().find(|(plan, _)| *plan == scan::Plan::Parallel).unwrap();
        let compiled = scan::compile::<f32>(&instance, scan::Options::default());
        match (refusal, compiled) {
            (None, Ok(_)) => allowed += 1,
            (Some(refusal), Err(errors)) => {
                assert_eq!(vec![refusal], errors, "{source} with {n}");
                refused += 1;
            }
            (refusal, compiled) => panic!("{source} with {n}: {refusal:?}, but {:?}", compiled.err()),
        }
    }
    assert!(allowed >= 10 && refused >= 3, "{allowed} allowed, {refused} refused");
}

/// What the transitions give is what stepping gives, for every class.
#[test]
fn transitions_agree_with_stepping() {
    let mut seen: Vec<Class> = Vec::new();
    for (source, _) in table::TABLE {
        let layer = layers(&format!("layer test {source}")).remove(0);
        seen.extend(stretch::check(source, &layer));
    }
    for path in fs::read_dir("examples").unwrap().map(|f| f.unwrap().path()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".ssm") {
            continue;
        }
        for layer in layers(&fs::read_to_string(&path).unwrap()) {
            seen.extend(stretch::check(&format!("{name} {}", layer.name), &layer));
        }
    }
    for class in [
        Class::AffineDiagonal,
        Class::AffineDense,
        Class::AffineLowRank,
        Class::MaxPlus,
        Class::MinPlus,
        Class::LogSumExp,
        Class::Bool,
        Class::FiniteMap,
    ] {
        assert!(seen.contains(&class), "{class:?}");
    }
}

/// Every nonlinear step of the table comes with numbers, which show it when they are run again; but for two whose states are
/// none, one that is affine in a way that is not seen (`max(h, x) + min(h, x)` is `h + x`), and those that are affine
/// wherever they are finite.
#[test]
fn counterexamples() {
    let (mut seen, mut without) = (0, Vec::new());
    for (source, _) in table::TABLE {
        let layer = layers(&format!("layer test {source}")).remove(0);
        let (lines, none) = numbers::check(source, &layer);
        seen += lines;
        without.extend(none);
    }
    for path in fs::read_dir("examples").unwrap().map(|f| f.unwrap().path()) {
        if path.extension().is_some_and(|e| e == "ssm") {
            for layer in layers(&fs::read_to_string(&path).unwrap()) {
                seen += numbers::check(&layer.name, &layer).0;
            }
        }
    }
    assert!(seen >= 60, "{seen}");
    let expected = [
        "max(h, x) + min(h, x)",
        "w[s] * h",
        "s[i - 1]",
        "h * h / h",
        "exp(log(h) + x)",
        "pow(h, 0.5) * pow(h, 0.5)",
        "h / h",
        "x / (x / h)",
        "log(exp(h))",
    ];
    assert_eq!(without.len(), expected.len(), "{without:#?}");
    for (found, expected) in without.iter().zip(expected) {
        assert!(found.contains(expected), "{found}");
    }
}

/// The law that is shown is that of the semiring to which the operation belongs.
#[test]
fn laws_of_counterexamples() {
    for (source, law) in [
        ("{ input x state h = 0 h <- h * h + x }", Algebra::Field),
        ("{ input a, b state h = 0 h <- max(h * a, b) }", Algebra::MaxPlus),
        ("{ input x state h = 0 h <- min(2 * h, x) }", Algebra::MinPlus),
        ("{ input a, b, c state h = 0 h <- min(max(h + a, b), c) }", Algebra::MaxPlus),
        ("{ input x state h = 0 h <- softplus(2 * h) + x }", Algebra::LogSumExp),
        // Linear there as far as numbers show: the sign of `b` is what cannot be known.
        ("{ input x, b state h = 0 h <- log(exp(h) + b) }", Algebra::Field),
    ] {
        let layer = layers(&format!("layer test {source}")).remove(0);
        match &judge(&layer).groups[0].counterexample {
            Some(Outcome::Found(found)) => assert_eq!(found.law, law, "{source}: {}", found.text()),
            other => panic!("{source}: {other:?}"),
        }
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// How many nodes the coefficients have: a program whose definitions read each other often takes long to interpret.
fn size(verdict: &Verdict) -> usize {
    let mut nodes = 0;
    let transitions = verdict.groups.iter().filter_map(|group| group.transition.as_ref());
    for term in transitions.flat_map(|t| &t.components).flat_map(|c| &c.form.terms) {
        term.coefficient.walk(&mut |_| nodes += 1);
        term.guards.iter().for_each(|guard| guard.walk(&mut |_| nodes += 1));
    }
    nodes
}

/// The transitions of random recurrences are what stepping gives. `VERDICT_PROGRAMS` says how many are tried,
/// `VERDICT_SEED` the seed of the first; `VERDICT_PROGRAM` prints each before it is tried, `VERDICT_LIST` those that are nonlinear
/// without a counterexample.
#[test]
fn random_recurrences() {
    let mut seen: Vec<(Class, usize)> = Vec::new();
    let (mut accepted, first) = (0, number("VERDICT_SEED", 1));
    let programs = number("VERDICT_PROGRAMS", 300);
    for seed in first..first + programs {
        let source = random::program(seed);
        let (file, errors) = syntax::parse(&source);
        assert!(errors.is_empty(), "seed {seed}\n{source}{errors:?}");
        let (found, errors) = sema::lower(&file);
        assert!(errors.is_empty(), "seed {seed}\n{source}{errors:?}");
        let layer = &found[0];
        if size(&judge(layer)) > 1500 {
            continue;
        }
        accepted += 1;
        if std::env::var_os("VERDICT_PROGRAM").is_some() {
            println!("seed {seed}\n{source}");
        }
        stability::growth(&format!("seed {seed}\n{source}"), layer, false);
        for class in stretch::check(&format!("seed {seed}\n{source}"), layer) {
            match seen.iter_mut().find(|(c, _)| *c == class) {
                Some((_, n)) => *n += 1,
                None => seen.push((class, 1)),
            }
        }
        if std::env::var_os("VERDICT_LIST").is_some() {
            let verdict = judge(layer);
            for group in verdict.groups.iter().filter(|g| matches!(g.counterexample, Some(Outcome::None(_)))) {
                println!("seed {seed}\n{source}{}", ssmc::analysis::verdict::print::group(&verdict, group, &source));
            }
        }
    }
    println!("{accepted} of {programs} accepted: {seen:?}");
    assert!(accepted > programs / 2, "{accepted} of {programs}");
    assert_eq!(seen.len(), 8, "{seen:?}");
}

/// So are those of random layers.
#[test]
fn random_layers() {
    let first = number("VERDICT_SEED", 1);
    for seed in first..first + number("VERDICT_PROGRAMS", 600) / 20 {
        let generate::Program { text, .. } = generate::program(seed);
        let layer = &layers(&text)[0];
        stretch::check(&format!("seed {seed}\n{text}"), layer);
        stability::growth(&format!("seed {seed}\n{text}"), layer, false);
    }
}
