//! Random layers: everything that runs one agrees with the interpreter in `f64`.
//!
//! `EQUIVALENCE_PROGRAMS` says how many programs are tried, `EQUIVALENCE_SEED` the seed of the first. A failure
//! prints a program that can stand in `tests/files/kernel`: its first lines name the dimensions and the seed of the
//! data. All files there go through the same comparisons.
//!
//! In `f64` results agree to within 1e-10 of the largest element of their tensor. The bound in `f32` follows from the
//! number of operations of a step and the number of steps; layers that round, compare computed reals, or look for the
//! place of the largest one may take another way in `f32`, and are compared in `f64` only.

#[path = "equivalence/check.rs"]
mod check;

use std::fmt::Write;

use check::generate::{self, Program};
use check::{check, file, front_end};
use ssmc::analysis::bounds;
use ssmc::ir::{Instance, parse};
use ssmc::jit::{self, Form};
use ssmc::{scan, sema, syntax};

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn random_layers_run_as_the_interpreter_says() {
    let count = from_environment("EQUIVALENCE_PROGRAMS", 150);
    let first = from_environment("EQUIVALENCE_SEED", 1);
    let most = from_environment("EQUIVALENCE_FAILURES", 1) as usize;
    let mut failures: Vec<String> = Vec::new();
    let mut scanned = 0;
    for seed in first..first + count {
        let program = generate::program(seed);
        scanned += u64::from(front_end(&program.text).is_ok_and(|layer| scan::refusal(&layer).is_none()));
        let result = std::panic::catch_unwind(|| check(&program, seed));
        let why = match result {
            Ok(Ok(())) => continue,
            Ok(Err(why)) => why,
            Err(_) => "it panics".to_owned(),
        };
        // A long run may be cut off before its end.
        eprintln!("{why}\n{}", file(&program, seed));
        failures.push(format!("{why}\n{}", file(&program, seed)));
        if failures.len() >= most {
            break;
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n----\n"));
    assert!(count < 50 || scanned * 10 > count, "only {scanned} layers of {count} run as scans");
}

#[test]
fn files_run_as_the_interpreter_says() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/kernel");
    let mut failed = String::new();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the folder can be read").path();
        let text = std::fs::read_to_string(&path).expect("the file can be read");
        let header = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix("# ")?.strip_prefix(key)?.strip_prefix(": "));
            line.unwrap_or_else(|| panic!("{}: no line `# {key}: ..`", path.display()))
        };
        let dims = header("dims").split_whitespace().map(|part| {
            let (name, n) = part.split_once('=').expect("a name, `=`, and a number");
            (name.to_owned(), n.parse().expect("a number"))
        });
        let program = Program { dims: dims.collect(), text: text.clone() };
        let seed = header("seed").parse().expect("the seed is a number");
        if let Err(why) = check(&program, seed) {
            let _ = writeln!(failed, "{}: {why}", path.display());
        }
        count += 1;
    }
    assert!(failed.is_empty(), "{failed}");
    assert!(count >= 5, "only {count} files");
}

#[test]
fn accepted_programs_are_shown_to_stay_inside() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/right/programs.txt"));
    let text = text.expect("the table can be read");
    let mut instances = 0;
    for program in text.split("--- ").skip(1) {
        let (_, program) = program.split_once('\n').expect("a line says what the program shows");
        let (file, _) = syntax::parse(program);
        for layer in sema::lower(&file).0 {
            for n in [1, 2, 3, 4, 12] {
                let Ok(instance) = Instance::new(layer.clone(), vec![n; layer.dims.len()]) else { continue };
                let shown = bounds::check(&instance);
                assert!(shown.is_ok(), "{shown:?}\n{program}");
                instances += 1;
            }
        }
    }
    assert!(instances >= 300, "only {instances} instances");
}

#[test]
fn code_that_would_leave_its_tensors_is_not_made() {
    let refused = [
        ("h%0[1]", "S208"),
        ("h%0[i.0 + 1]", "S208"),
        ("h%0[i.0 - 1]", "S208"),
        ("if i.0 > 0 then h%0[i.0] else h%0[i.0 - 1]", "S208"),
        ("h%0[tok%1]", "S208"),
        ("if tok%1 > 0 or true then h%0[tok%1 - 1] else 0.0", "S208"),
        ("softmax[j.1 < N](h%0[j.1])[i.0 + 1]", "S208"),
        ("widen(i.0 // tok%1)", "S219"),
        ("sum[j.1 < N + 1](h%0[j.1])", "S208"),
        ("h%0[(i.0 * i.0) % (N + 1)]", "S208"),
    ];
    let accepted = [
        "h%0[N - 1 - i.0]",
        "if i.0 > 0 then h%0[i.0 - 1] else 0.0",
        "if tok%1 < N then h%0[tok%1] else 0.0",
        "if i.0 > 0 and h%0[i.0 - 1] > 0.0 then 1.0 else 0.0",
        "h%0[(i.0 + tok%1) % N]",
    ];
    let layer = |body: &str| {
        format!(
            "layer t(N)\n  %0 input h: real[N]\n  %1 input tok: index(N + 1)\n  %2 output y: real[N]\n    \
             [i.0 < N] = {body}\n  return y = %2\n"
        )
    };
    for n in [1, 4] {
        let compile = |body: &str| {
            let layer = parse::parse(&layer(body)).unwrap_or_else(|error| panic!("{body}: {error}"));
            let instance = Instance::new(layer, vec![n]).expect("the sizes can be run");
            jit::compile::<f32>(&instance, Form::Sequence).map(|_| ())
        };
        for (body, code) in refused {
            // With one element only, some are inside.
            match compile(body) {
                Ok(()) => assert!(n == 1 || body == "h%0[1]", "{body} with N = {n}"),
                Err(problems) => assert_eq!(problems[0].code.name(), code, "{body}"),
            }
        }
        for body in accepted {
            assert_eq!(compile(body), Ok(()), "{body}");
        }
    }
    let layer = parse::parse("layer t(N)\n  %0 input x: real[N]\n  %1 output s: index(N)\n    = 3\n  return s = %1\n");
    let instance = Instance::new(layer.expect("it is IR"), vec![3]).expect("the sizes can be run");
    let problems = jit::compile::<f32>(&instance, Form::Sequence).err().expect("it is refused");
    assert_eq!(problems[0].code.name(), "S221");
}
