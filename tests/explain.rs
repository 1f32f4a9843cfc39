//! `ssmc explain` through the binary, with the figures of a processor that is none: the text as a whole, the fields of the
//! JSON, and what is refused.
//!
//! `BLESS=1` rewrites the texts.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

const PROFILE: &str = "tests/explain/profile.json";

/// What `ssmc explain` says and how it ends.
fn explain_with(args: &str, profile: &str) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ssmc"))
        .arg("explain")
        .args(args.split_whitespace())
        .env("SSMC_PROFILE", profile)
        .output()
        .expect("the binary starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("not killed"), text(output.stdout), text(output.stderr))
}

fn explain(args: &str) -> String {
    let (code, out, err) = explain_with(args, PROFILE);
    assert_eq!(code, 0, "{args}: {err}");
    out
}

fn json(args: &str) -> Value {
    serde_json::from_str(&explain(&format!("{args} --json"))).expect("JSON")
}

fn refused(args: &str, code: &str) {
    let (exit, out, err) = explain_with(args, PROFILE);
    assert!(exit == 1 && out.is_empty() && err.contains(&format!("error[{code}]")), "{args}: {err}");
}

/// Narrow code is the same on all of these machines.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_text_is_the_golden_one() {
    let bless = std::env::var_os("BLESS").is_some();
    for (name, args) in [
        ("mamba", "examples/mamba.ssm --dim D=64 --seq 1k --threads 1 --isa sse2"),
        ("gru", "examples/gru.ssm --dim I=32 --dim H=32 --seq 500 --batch 4 --threads 2 --isa sse2 --dtype f64"),
    ] {
        let path = Path::new("tests/explain").join(format!("{name}.txt"));
        let text = explain(args);
        if bless {
            std::fs::write(&path, &text).expect("the text is written");
        }
        assert_eq!(text, std::fs::read_to_string(&path).expect("a golden text"), "{name}: BLESS=1 rewrites it");
    }
}

#[test]
fn json_has_the_stages_and_every_plan() {
    let mamba = json("examples/mamba.ssm --dim D=100 --seq 1000 --batch 2 --threads 1");
    assert_eq!((&mamba["layer"], &mamba["dims"]["D"], &mamba["dims"]["N"]), (&"mamba".into(), &100.into(), &16.into()));
    assert_eq!((&mamba["seq"], &mamba["batch"], &mamba["dtype"]), (&1000.into(), &2.into(), &"f32".into()));
    assert_eq!(mamba["stages"]["state"], serde_json::json!(["h"]));
    assert_eq!(mamba["bytes"]["inputs"], (100 + 100 + 16 + 16) * 4);
    assert_eq!(mamba["plan"], "sequential");
    let plans = mamba["plans"].as_array().expect("an array");
    let names: Vec<&str> = plans.iter().filter_map(|plan| plan["plan"].as_str()).collect();
    assert!(["sequential", "step", "parallel"].iter().all(|name| names.contains(name)), "{names:?}");
    assert_eq!(plans.iter().filter(|plan| plan["chosen"] == true).count(), 1);
    for plan in plans.iter().filter(|plan| plan["refused"].is_null()) {
        let number = |field: &str| plan[field].as_f64().unwrap_or_else(|| panic!("{field} of {plan}"));
        let total = number("predicted_ms");
        let phases =
            plan["phases"].as_array().expect("phases").iter().map(|p| p["predicted_ms"].as_f64().expect("a time"));
        assert!((phases.sum::<f64>() + number("overhead_ms") - total).abs() < 1e-9 * total.max(1.0));
        let terms = ["arithmetic_ms", "memory_ms", "latency_ms"].map(number);
        assert!(terms.iter().all(|term| *term >= 0.0 && *term <= total * 1.0001), "{plan}");
        assert!(["arithmetic", "memory", "latency"].contains(&plan["bound"].as_str().expect("a name")));
        assert!(number("instructions_per_step") > 0.0 && number("bytes_per_step") > 0.0 && number("lanes") >= 4.0);
    }
    // A row has 232 inputs and 100 outputs, and each is moved.
    let sequential = plans.iter().find(|plan| plan["chosen"] == true).expect("one is chosen");
    assert!(sequential["bytes_per_step"].as_f64().expect("bytes") >= 332.0 * 4.0);
}

/// What the model says of two runs, the second over the first.
fn ratio(first: &str, second: &str) -> f64 {
    let time = |args: &str| json(args)["plans"][0]["predicted_ms"].as_f64().expect("a time");
    time(second) / time(first)
}

#[test]
fn times_follow_what_is_run() {
    let mamba = "examples/mamba.ssm --dim D=256 --plan sequential";
    let near = |value: f64, expected: f64| assert!((value / expected - 1.0).abs() < 0.15, "{value}, not {expected}");
    near(ratio(&format!("{mamba} --seq 1k --threads 1"), &format!("{mamba} --seq 8k --threads 1")), 8.0);
    near(ratio(&format!("{mamba} --threads 1"), &format!("{mamba} --threads 1 --batch 6")), 6.0);
    near(ratio(&format!("{mamba} --threads 1 --batch 8"), &format!("{mamba} --threads 2 --batch 8")), 0.5);
    let wide = "examples/mamba.ssm --dim D=512 --plan sequential --threads 1";
    near(ratio(&format!("{mamba} --threads 1"), wide), 2.0);
    // Twice the width of reals, half of the lanes.
    let half = ratio(&format!("{mamba} --threads 1"), &format!("{mamba} --threads 1 --dtype f64"));
    assert!((1.7..3.5).contains(&half), "{half}");
}

#[test]
fn what_cannot_be_explained_is_refused() {
    refused("examples/gru.ssm --plan parallel", "S301");
    refused("examples/mamba.ssm --plan chunked", "S301");
    refused("examples/bidirectional.ssm --plan step", "S301");
    refused("examples/mamba.ssm --dim X=3", "S407");
    refused("examples/delta_rule.ssm", "S410");
    refused("examples/mamba.ssm --layer nothing", "S410");
    refused("nowhere.ssm", "S401");
    refused("examples/mamba.ssm --seq 1000m --batch 1000000m", "S408");
    let (code, _, err) = explain_with("examples/mamba.ssm", "nowhere.json");
    assert!(code == 1 && err.contains("error[S401]"), "{err}");
    let (code, _, err) = explain_with("examples/mamba.ssm", "tests/explain/mamba.txt");
    assert!(code == 1 && err.contains("error[S402]"), "{err}");
    // What stands in the way of a plan that was not asked for is in the list.
    let gru = json("examples/gru.ssm");
    let parallel = gru["plans"].as_array().expect("plans").iter().find(|plan| plan["plan"] == "parallel");
    assert!(parallel.is_some_and(|plan| plan["refused"].as_str().is_some_and(|why| why.contains("`sigmoid`"))));
}

#[test]
fn finite_maps_are_priced_as_such() {
    let automaton = json("examples/automaton.ssm --dim V=8 --dim S=6 --seq 64k --threads 1");
    assert_eq!(automaton["plans"][0]["phases"][0]["phase"], "finite map");
    let short = json("examples/automaton.ssm --dim V=8 --dim S=6 --seq 100 --threads 1 --plan sequential");
    assert_ne!(short["plans"][0]["phases"][0]["phase"], "finite map");
}
