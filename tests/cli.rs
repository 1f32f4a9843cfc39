//! The commands, their exit codes and what they print.

mod command;

use std::process::{Command, Stdio};

use command::{ssmc, ssmc_with};

const DATA: &str = "examples/data/mamba.safetensors";

#[test]
fn exit_codes_tell_usage_from_data() {
    for usage in [
        "",
        "nonsense",
        "run",
        "run examples/mamba.ssm --params x.bin",
        "run examples/mamba.ssm --params x.npy",
        "run examples/mamba.ssm --output y.npy",
        "run examples/mamba.ssm --plan fast",
        "run examples/mamba.ssm --dim N=0",
        "run examples/mamba.ssm --threads 0",
        "run examples/mamba.ssm --rtol -1",
        "dump examples/mamba.ssm",
        "dump examples/mamba.ssm --stage soup",
        "fmt",
    ] {
        assert_eq!(ssmc(usage).code, 2, "{usage}");
    }
    for help in ["--help", "--version", "run --help", "help step"] {
        assert_eq!(ssmc(help).code, 0, "{help}");
    }
    for command in ["check", "run", "step", "fmt", "dump --stage ir"] {
        ssmc(&format!("{command} nowhere.ssm")).failed("S401");
        ssmc(&format!("{command} /")).failed("S401");
        ssmc(&format!("{command} {DATA}")).failed("S402");
    }
}

#[test]
fn what_is_not_there_yet_is_refused() {
    ssmc("run examples/mamba.ssm --plan chunked").failed("S301");
    ssmc("step examples/ssd.ssm --plan chunked").failed("S301");
    ssmc("run examples/bidirectional.ssm --plan step").failed("S301");
    ssmc("step examples/bidirectional.ssm").failed("S301");
    ssmc("step examples/mamba.ssm --plan parallel").failed("S301");
}

/// A program, and a file with as many steps of its input `x`.
fn with_input(program: &str, steps: usize) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, data) = (directory.path().join("a.ssm"), directory.path().join("x.safetensors"));
    std::fs::write(&path, program).expect("a file");
    let bytes: Vec<u8> = (0..steps).flat_map(|t| ((t % 97) as f32 / 97.0).to_le_bytes()).collect();
    let x = safetensors::tensor::TensorView::new(safetensors::tensor::Dtype::F32, vec![steps], &bytes);
    safetensors::serialize_to_file([("x", x.expect("a tensor"))], None, &data).expect("a file");
    let arguments = format!("{} --input {}", path.display(), data.display());
    (directory, arguments)
}

#[test]
fn a_scan_runs_where_the_verdict_allows_it_and_says_where_it_does_not() {
    let data = "examples/data/mamba.safetensors";
    let run = format!("run examples/mamba.ssm --params {data} --input {data} --expect {data} --rtol 2e-6");
    for dtype in ["f32", "f64"] {
        let ran = ssmc_with(&format!("{run} --plan parallel --dtype {dtype}"), "");
        assert!(ran.err.contains("no sequence is longer than a stretch"), "{ran:?}");
        assert!(ran.code == 0 && ran.out.contains("parallel, f"), "{ran:?}");
    }
    let (here, linear) = with_input("layer a { input x state h = 1 h <- 0.9 * h + x output y = h }", 50_000);
    let saved = here.path().join("y.safetensors");
    let out = ssmc(&format!("run {linear} --plan sequential --output {}", saved.display())).done();
    assert!(out.contains("sequential, f32"), "{out}");
    let bytes: Vec<_> = [1, 2]
        .map(|threads| {
            let again = here.path().join(format!("{threads}.safetensors"));
            let expect = format!("--expect {} --rtol 1e-5", saved.display());
            let ran = ssmc_with(
                &format!("run {linear} --plan parallel --threads {threads} {expect} --output {}", again.display()),
                "",
            );
            ran.done();
            std::fs::read(again).expect("the output")
        })
        .into();
    assert!(bytes[0] == bytes[1], "threads change the result");
    let (_there, nonlinear) = with_input("layer a { input x state h = 1 h <- tanh(h) + x output y = h }", 50_000);
    let err = ssmc(&format!("run {nonlinear} --plan parallel")).failed("S301");
    assert!(err.contains("time cannot be parallelised") && err.contains("tanh(h)"), "{err}");
    let ran = ssmc_with(&format!("run {nonlinear} --threads 2"), "");
    assert!(ran.err.contains("note") && ran.err.contains("running in order, on 1 of 2 threads"), "{ran:?}");
    assert!(ran.code == 0 && ran.out.contains("sequential, f32"), "{ran:?}");
}

#[test]
fn the_first_run_works_under_every_plan() {
    for program in ["mamba", "sdssm"] {
        let data = format!("examples/data/{program}.safetensors");
        let run = format!("run examples/{program}.ssm --params {data} --input {data} --expect {data}");
        for plan in ["auto", "sequential", "step", "interp"] {
            for dtype in ["f32", "f64"] {
                let out = ssmc(&format!("{run} --plan {plan} --dtype {dtype} --rtol 2e-6")).done();
                assert!(out.contains("out.y"), "{out}");
                assert!(!out.contains("FAILED"), "{out}");
            }
        }
        let err = ssmc(&format!("{run} --rtol 0")).failed("S409");
        assert!(err.contains("out.y"), "{err}");
    }
}

#[test]
fn what_is_missing_is_named_with_a_way_out() {
    let err = ssmc("run examples/mamba.ssm").failed("`A` is missing");
    assert!(err.contains("--params"), "{err}");
    let err = ssmc(&format!("run examples/mamba.ssm --params {DATA}")).failed("`dt` is missing");
    assert!(err.contains("with --input, not only --params"), "{err}");
    ssmc(&format!("run examples/mamba.ssm --params {DATA} --prefix p.")).failed("`p.A` is missing");
    let run = format!("run examples/mamba.ssm --params {DATA} --input {DATA}");
    ssmc(&format!("{run} --dim D=9")).failed("S40");
    ssmc(&format!("{run} --dim Q=9")).failed("S407");
    ssmc(&format!("{run} --dim D=8 --dim D=9")).failed("S407");
    ssmc(&format!("{run} --layer nobody")).failed("S410");
    ssmc(&format!("{run} --seq 3")).failed("S407");
    ssmc(&format!("{run} --output /nowhere/y.npz")).failed("S401");
    ssmc(&format!("{run} --expect examples/data/sdssm.safetensors")).failed("S404");
}

#[test]
fn check_prints_what_a_layer_takes_keeps_and_gives() {
    let out = ssmc("check examples/mamba.ssm").done();
    assert!(out.starts_with("layer mamba(D, N = 16)\nparam "), "{out}");
    assert!(out.contains("state    h[D, N]  real\n"), "{out}");
    assert!(out.contains("4 * D * N bytes a sequence in f32, 8 * D * N in f64"), "{out}");
    let out = ssmc("check examples/mamba.ssm --dim D=4").done();
    assert!(out.contains("256 bytes a sequence in f32, 512 in f64"), "{out}");
    let json = |args: &str| -> serde_json::Value { serde_json::from_str(&ssmc(args).done()).expect("JSON") };
    let sizes = json("check examples/mamba.ssm --dim D=4 --json")["carried"].clone();
    assert_eq!(sizes, serde_json::json!({ "f32": 256, "f64": 512 }));
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.ssm");
    let text = "layer a(D, K) { input x[D] state z[D]: complex state n: index(4) = 0 state b: bool
        z[d] <- x[d] + sum[k in K](past(x[d], K - 1 - k)) n <- (n + 1) % 4 b <- true output z }";
    std::fs::write(&path, text).expect("a file");
    let out = ssmc(&format!("check {}", path.display())).done();
    assert!(out.contains("8 * D + 4 * (K - 1) * D + 5 bytes a sequence in f32"), "{out}");
    // What the formula says for numbers is what numbers give.
    let sizes = json(&format!("check {} --json --dim D=3 --dim K=4", path.display()))["carried"].clone();
    assert_eq!(sizes, serde_json::json!({ "f32": 8 * 3 + 4 * 3 * 3 + 5, "f64": 16 * 3 + 8 * 3 * 3 + 5 }));
    ssmc("check examples/mamba.ssm --dim Q=4").failed("S407");
    ssmc("check examples/mamba.ssm --layer bamba").failed("S410");
}

#[test]
fn stages_are_dumped() {
    assert!(ssmc("dump examples/counter.ssm --stage tokens").done().contains("keyword layer"));
    assert!(!ssmc("dump examples/counter.ssm --stage ast").done().is_empty());
    assert!(ssmc("dump examples/counter.ssm --stage ir").done().contains("layer counter"));
    assert!(ssmc("dump examples/counter.ssm --stage clif").done().contains("; step kernel"));
    assert!(!ssmc("dump examples/bidirectional.ssm --stage asm --dim D=2").done().contains("; step kernel"));
    ssmc("dump examples/mamba.ssm --stage clif").failed("S407");
}

#[test]
fn formatting_replaces_files_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.ssm");
    let text = "layer a{input x  state s s<-s+x output s}";
    std::fs::write(&path, text).expect("a file");
    let path = path.display();
    ssmc(&format!("fmt --check {path}")).failed("S413");
    assert_eq!(std::fs::read_to_string(path.to_string()).expect("the file"), text);
    ssmc(&format!("fmt {path}")).done();
    ssmc(&format!("fmt --check {path}")).done();
    std::fs::write(path.to_string(), "layer").expect("a file");
    ssmc(&format!("fmt {path} nowhere.ssm")).failed("S401");
    assert_eq!(std::fs::read_to_string(path.to_string()).expect("the file"), "layer");
}

#[test]
fn steps_are_answered_line_by_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path().join("s.safetensors");
    let state = state.display();
    let lines = "{\"tok\": 3}\n\n{\"tok\": 8}\nxx\n[1]\n{}\n{\"tok\": 1, \"y\": 2}\n{\"tok\": 1.5}\n{\"tok\": 4}";
    let ran = ssmc_with(&format!("step examples/counter.ssm --state-out {state}"), lines);
    assert_eq!(ran.code, 1, "{ran:?}");
    let answers: Vec<serde_json::Value> =
        ran.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let line = |at: usize| answers[at]["error"]["line"].as_u64();
    assert_eq!(answers[0]["s"], 3);
    assert_eq!((1..7).map(line).collect::<Vec<_>>(), [3, 4, 5, 6, 7, 8].map(Some));
    assert!(answers[1..7].iter().all(|answer| answer["error"]["code"] == "S411"));
    assert_eq!(answers[7]["s"], 2);
    assert_eq!(answers.len(), 8);
    // The first one stands on stderr, too.
    assert!(ran.err.starts_with("error[S411]: `tok`") && ran.err.contains("standard input: line 3"), "{ran:?}");
    // On from there, under both plans.
    for plan in ["auto", "interp"] {
        let ran = ssmc_with(&format!("step examples/counter.ssm --state-in {state} --plan {plan}"), "{\"tok\": 4}\n");
        assert_eq!(ran.done(), "{\"s\": 1}\n");
    }
}

#[cfg(unix)]
#[test]
fn what_a_link_leads_to_is_written() {
    let (directory, arguments) = with_input("layer a { input x state m = 0 m <- m + x output m }", 3);
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("y.npz"), "before").expect("a file");
    std::os::unix::fs::symlink(path("y.npz"), path("link.npz")).expect("a link");
    let run = format!("run {arguments} --output {}", path("link.npz").display());
    ssmc(&format!("{run} --state-out {}", path("y.npz").display())).failed("S401");
    assert_eq!(std::fs::read(path("y.npz")).expect("the file"), b"before");
    ssmc(&run).done();
    assert!(path("link.npz").is_symlink());
    assert!(std::fs::read(path("y.npz")).expect("the file").starts_with(b"PK"));
}

#[test]
fn numbers_that_are_not_finite_are_strings() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.ssm");
    std::fs::write(&path, "layer a(D) { input x[D], z: complex state h[D] h[d] <- x[d] output h, w = z * z }")
        .expect("a file");
    let line = "{\"x\": [\"NaN\", \"-Infinity\", 0.1], \"z\": [0, 2]}\n";
    let ran = ssmc_with(&format!("step {} --dim D=3", path.display()), line);
    assert_eq!(ran.done(), "{\"h\": [\"NaN\", \"-Infinity\", 0.1], \"w\": [-4.0, 0.0]}\n");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    for args in ["step examples/counter.ssm", "dump examples/mamba_block.ssm --stage tokens", "--help"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ssmc"))
            .args(args.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        drop(child.stdout.take());
        if let Some(mut stdin) = child.stdin.take() {
            let _ = std::io::Write::write_all(&mut stdin, "{\"tok\": 1}\n".repeat(1000).as_bytes());
        }
        let output = child.wait_with_output().expect("the binary ends");
        assert_eq!(output.status.code(), Some(0), "{args}: {output:?}");
    }
}
