//! `ssmc bench` through the binary: it measures every example without options, its rows are those of the contract, and
//! what cannot be measured is refused.

mod command;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use command::Ran;
use serde_json::Value;

/// Where the profile of this machine is kept between tests: it is measured once.
fn cache() -> &'static Path {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    CACHE.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-cache");
        std::fs::create_dir_all(&path).expect("a directory");
        if !path.join("ssmc").exists() {
            assert_eq!(bench_in(&path, &["--profile"]).code, 0);
        }
        path
    })
}

fn bench_in(cache: &Path, args: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_ssmc"))
        .arg("bench")
        .args(args)
        .env("XDG_CACHE_HOME", cache)
        .env("HOME", cache)
        .output()
        .expect("the binary starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let ran =
        Ran { code: output.status.code().expect("not killed"), out: text(output.stdout), err: text(output.stderr) };
    assert!(matches!(ran.code, 0..=2), "{args:?}: {ran:?}");
    assert!(!ran.err.contains("Please report it"), "{args:?}: {ran:?}");
    ran
}

fn bench(args: &str) -> Ran {
    bench_in(cache(), &args.split_whitespace().collect::<Vec<_>>())
}

/// The rows of a run that succeeded.
fn rows(args: &str) -> Vec<Value> {
    let ran = bench(&format!("{args} --budget 0.01 --json"));
    assert_eq!(ran.code, 0, "{args}: {ran:?}");
    let rows: Value = serde_json::from_str(&ran.out).expect("JSON");
    rows.as_array().expect("an array").clone()
}

/// The programs in a folder and in those below it.
fn programs(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            programs(&path, found);
        } else if path.extension().is_some_and(|e| e == "ssm") {
            found.push(path);
        }
    }
}

#[test]
fn every_example_is_measured_without_options() {
    let mut files = Vec::new();
    programs(Path::new("examples"), &mut files);
    assert!(files.len() > 40, "only {} examples", files.len());
    for path in files {
        let ran = bench(&format!("{} --budget 0.01", path.display()));
        assert_eq!(ran.code, 0, "{path:?}: {ran:?}");
        let layers = std::fs::read_to_string(&path).expect("a program").matches("\nlayer ").count();
        assert_eq!(ran.out.matches(" (auto)").count(), layers, "{path:?}: {}", ran.out);
    }
}

#[test]
fn rows_are_those_of_the_contract() {
    let rows = rows("examples/mamba.ssm --dim D=8 --seq 32,64 --batch 1,3 --threads 1,2 --dtype f32,f64 --isa sse2");
    assert_eq!(rows.len(), 2 * 2 * 2 * 2 * 2);
    for row in &rows {
        for (name, kind) in [("plan", "text"), ("isa", "text"), ("bound", "text"), ("auto", "truth")] {
            assert!(if kind == "text" { row[name].is_string() } else { row[name].is_boolean() }, "{name}: {row}");
        }
        for name in ["lanes", "threads", "seq", "batch"] {
            assert!(row[name].is_u64(), "{name}: {row}");
        }
        for name in ["ms_min", "ms_median", "predicted_ms", "bound_ms", "compile_ms", "ms_first", "gflops"] {
            assert!(row[name].as_f64().is_some_and(|x| x > 0.0), "{name}: {row}");
        }
        let number = |name: &str| row[name].as_f64().expect("a number");
        assert!(number("ms_min") <= number("ms_low") && number("ms_low") <= number("ms_median"), "{row}");
        assert!(number("ms_median") <= number("ms_high"), "{row}");
        let parts = ["arithmetic", "memory", "latency"].map(|name| number(&format!("{name}_ms")));
        assert_eq!(parts.into_iter().fold(0.0, f64::max), number("bound_ms"), "{row}");
        let bound = row["bound"].as_str().expect("text");
        assert_eq!(number(&format!("{bound}_ms")), number("bound_ms"), "{row}");
        assert_eq!(row["auto"], row["plan"] == "sequential");
        assert!(row["checked_steps"].as_u64().is_some_and(|n| n >= 4), "{row}");
    }
    let lanes = |dtype: &str| rows.iter().find(|row| row["dtype"] == dtype).map(|row| row["lanes"].as_u64());
    assert_eq!((lanes("f32"), lanes("f64")), (Some(Some(4)), Some(Some(2))));
}

#[test]
fn layers_without_a_step_kernel_have_one_plan() {
    let rows = rows("examples/bidirectional.ssm --seq 16");
    assert_eq!(rows.iter().map(|row| &row["plan"]).collect::<Vec<_>>(), ["sequential"]);
}

#[test]
fn files_give_parameters_inputs_and_lengths() {
    let data = "examples/data/mamba.safetensors";
    let ran = bench(&format!("examples/mamba.ssm --params {data} --input {data} --budget 0.4 --json"));
    let rows: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert!(rows[0]["seq"].as_u64().is_some_and(|n| n > 1), "{rows}");
    assert_eq!(rows[0]["checked_steps"], rows[0]["seq"], "{rows}");
    assert!(!ran.err.contains("drawn"), "{}", ran.err);
    bench(&format!("examples/mamba.ssm --params {data} --prefix nobody.")).failed("S403");
    bench(&format!("examples/mamba.ssm --input {data} --dim D=3")).failed("S407");
}

#[test]
fn what_the_user_may_not_expect_is_noted() {
    let ran = bench("examples/mamba.ssm --budget 0.01");
    for expected in ["`D` a value: it is 16", "`A` without an initialiser", "`h` overflows"] {
        assert!(ran.code == 0 && ran.err.contains(expected), "{expected}: {ran:?}");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.ssm");
    std::fs::write(&path, "layer a { input x state h = 1 h <- h * 0.5 + 0 * x output h }").expect("a file");
    let ran = bench(&format!("{} --seq 140 --budget 0.01", path.display()));
    assert!(ran.code == 0 && ran.err.contains("`h` goes denormal"), "{ran:?}");
}

#[test]
fn hostile_options_are_refused() {
    for usage in [
        "",
        "examples/mamba.ssm --seq 0",
        "examples/mamba.ssm --seq 1q",
        "examples/mamba.ssm --seq 1,,2",
        "examples/mamba.ssm --seq 99999999999999999999k",
        "examples/mamba.ssm --batch -1",
        "examples/mamba.ssm --threads 0",
        "examples/mamba.ssm --threads 99999",
        "examples/mamba.ssm --budget 0",
        "examples/mamba.ssm --budget NaN",
        "examples/mamba.ssm --isa mmx",
        "examples/mamba.ssm --dtype f16",
        "examples/mamba.ssm --plot p.png",
        "examples/mamba.ssm --compare a.json b.json",
        "examples/mamba.ssm --profile",
        "--compare a.json",
        "examples/mamba.ssm --seq 8 --input x.npz",
    ] {
        assert_eq!(bench(usage).code, 2, "{usage}");
    }
    bench("nowhere.ssm").failed("S401");
    bench("examples/mamba.ssm --layer nobody").failed("S410");
    bench("examples/mamba.ssm --dim Q=3").failed("S407");
    bench("examples/mamba.ssm --seq 1000000m --batch 1000000m").failed("S408");
    bench("examples/mamba.ssm --seq 1000000m").failed("S408");
    bench("examples/mamba.ssm --plot /nowhere/p.svg").failed("S401");
    let many = (1..150).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    bench(&format!("examples/mamba.ssm --seq {many} --batch {many}")).failed("S408");
}

#[test]
fn a_plot_has_a_line_for_each_plan_and_the_bound() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("p.svg");
    std::fs::write(&path, "what was there before").expect("a file");
    let args = format!("examples/counter.ssm --seq 16,32,64 --budget 0.01 --plot {}", path.display());
    assert_eq!(bench(&args).code, 0);
    let picture = std::fs::read_to_string(&path).expect("a picture");
    assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"), "{picture}");
    for name in ["sequential", "step", "bound", "steps", "ns per element"] {
        assert!(picture.contains(name), "{name}: {picture}");
    }
    assert!(picture.matches("<polyline").count() >= 3, "{picture}");
    // What fails leaves the file as it was, and nothing beside it.
    bench(&format!("examples/counter.ssm --seq 1000000m --batch 1000000m --plot {}", path.display())).failed("S408");
    assert_eq!(std::fs::read_to_string(&path).expect("the picture"), picture);
    assert_eq!(std::fs::read_dir(directory.path()).expect("a folder").count(), 1);
}

#[test]
fn results_are_compared() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name).display().to_string();
        std::fs::write(&path, text).expect("a file");
        path
    };
    let mut measured = rows("examples/counter.ssm --seq 64");
    for row in &mut measured {
        row["noisy"] = Value::Bool(false);
        row["spread"] = serde_json::json!(0.001);
    }
    let a = write("a.json", &serde_json::to_string(&measured).expect("JSON"));
    for row in &mut measured {
        for name in ["ms_min", "ms_median", "ms_low", "ms_high"] {
            row[name] = serde_json::json!(row[name].as_f64().expect("a time") * 2.0);
        }
    }
    let b = write("b.json", &serde_json::to_string(&measured).expect("JSON"));
    let out = bench(&format!("--compare {a} {b}")).done();
    assert!(out.contains("2.000 ± 0.003") && out.contains("slower"), "{out}");
    let same: Value = serde_json::from_str(&bench(&format!("--compare {a} {a} --json")).done()).expect("JSON");
    assert!(same[0]["ratio_min"] == 1.0 && same[0]["verdict"] == "the same", "{same}");
    for (text, code) in [("", "S402"), ("{}", "S402"), ("[3]", "S402"), ("[{\"plan\": 1}]", "S402"), ("[]", "S403")] {
        let bad = write("bad.json", text);
        bench(&format!("--compare {a} {bad}")).failed(code);
    }
    let deep = write("deep.json", &"[".repeat(100_000));
    bench(&format!("--compare {deep} {a}")).failed("S402");
    bench(&format!("--compare {a} nowhere.json")).failed("S401");
    bench(&format!("--compare {a} /")).failed("S401");
}

#[test]
fn the_profile_is_measured_kept_and_mended() {
    let directory = tempfile::tempdir().expect("a directory");
    let ran = bench_in(directory.path(), &["--profile", "--json"]);
    let profile: Value = serde_json::from_str(&ran.done()).expect("JSON");
    assert!(profile["seconds"].as_f64().is_some_and(|s| s < 20.0), "{profile}");
    let widths = profile["widths"].as_array().expect("widths");
    for width in widths {
        let number = |name: &str| width[name].as_f64().expect("a number");
        assert!((0.3..8.0).contains(&number("ghz")), "{profile}");
        assert!((0.1..5.0).contains(&number("multiply_adds_per_cycle")), "{profile}");
        assert!(number("divisions_per_cycle_f64") <= number("divisions_per_cycle_f32") * 1.5, "{profile}");
    }
    let levels = profile["levels"].as_array().expect("levels");
    assert!(levels.len() >= 3 && levels[levels.len() - 1]["name"] == "memory", "{profile}");
    for level in levels {
        for threads in ["gb_per_second_one_thread", "gb_per_second_all_threads"] {
            for name in ["load", "store", "copy"] {
                assert!(level[threads][name].as_f64().is_some_and(|x| (0.1..10_000.0).contains(&x)), "{profile}");
            }
        }
    }
    let kept: Vec<_> = std::fs::read_dir(directory.path().join("ssmc"))
        .expect("the cache")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    // A file that is damaged is measured and written again.
    std::fs::write(&kept[0], "{\"version\": 1").expect("a file");
    assert_eq!(bench_in(directory.path(), &["examples/counter.ssm", "--budget", "0.01"]).code, 0);
    let mended: Value =
        serde_json::from_str(&std::fs::read_to_string(&kept[0]).expect("the profile")).expect("JSON again");
    assert_eq!(mended["model"], profile["model"]);
}
