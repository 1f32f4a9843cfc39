//! `ssmc eval`: what is right, for each way of giving labels, and what is refused.

mod command;

use std::path::{Path, PathBuf};

use command::ssmc;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::Value;

/// Counts ones modulo 3; answers by an integer.
const COUNT: &str = "layer count { input tok: index(2) state s: index(3) = 0 s <- (s + tok) % 3 output s }";
/// The same with a real answer, from one-hot tokens.
const VECTOR: &str = "layer count(V, O) {
    input u[V]
    param w[O, V] = 1
    state x = 0
    x <- x + sum[v](v * u[v])
    output y[o] = (if x % 3 == o then 1 else 0) + 0 * sum[v](w[o, v])
}";

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn program(&self, text: &str) -> PathBuf {
        let path = self.0.path().join("layer.ssm");
        std::fs::write(&path, text).expect("written");
        path
    }

    /// Integers of 8 or 32 bits, by the name: `i32` in front of a colon.
    fn data(&self, tensors: &[(&str, &[usize], &[i32])]) -> PathBuf {
        let path = self.0.path().join("data.safetensors");
        let bytes: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = tensors
            .iter()
            .map(|&(name, shape, values)| match name.split_once(':') {
                Some(("i32", name)) => {
                    let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                    (name.to_owned(), Dtype::I32, shape.to_vec(), bytes)
                }
                Some(("f32", name)) => {
                    let bytes = values.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect();
                    (name.to_owned(), Dtype::F32, shape.to_vec(), bytes)
                }
                _ => (name.to_owned(), Dtype::U8, shape.to_vec(), values.iter().map(|&v| v as u8).collect()),
            })
            .collect();
        let views = bytes
            .iter()
            .map(|(name, dtype, shape, data)| (name, TensorView::new(*dtype, shape.clone(), data).expect("a tensor")));
        serialize_to_file(views, None, &path).expect("written");
        path
    }
}

fn args(program: &Path, data: &Path, more: &str) -> String {
    format!("eval {} --data {} {more}", program.display(), data.display())
}

/// Set, length, answers, right, steps, steps right.
type Row = (String, u64, u64, u64, u64, u64);

fn rows(program: &Path, data: &Path, more: &str) -> Vec<Row> {
    let text = ssmc(&args(program, data, &format!("{more} --json"))).done();
    let value: Value = serde_json::from_str(&text).expect("JSON");
    let rows = value["rows"].as_array().expect("rows");
    let number = |row: &Value, name: &str| row[name].as_u64().expect("a number");
    rows.iter()
        .map(|row| {
            assert_eq!(row["accuracy"].as_f64(), Some(number(row, "right") as f64 / number(row, "answers") as f64));
            let set = row["set"].as_str().expect("a name").to_owned();
            let n = |name| number(row, name);
            (set, n("length"), n("answers"), n("right"), n("steps"), n("steps_right"))
        })
        .collect()
}

fn row(set: &str, length: u64, answers: [u64; 2], steps: [u64; 2]) -> Row {
    (set.to_owned(), length, answers[0], answers[1], steps[0], steps[1])
}

#[test]
fn labels_of_the_last_step() {
    let files = Files::new();
    // Right, right, wrong.
    let tokens = [1, 1, 1, 1, 1, 1, 0, 0, 1, 0, 1, 0];
    let data = files.data(&[
        ("data.tokens_L4", &[3, 4], &tokens),
        ("data.labels_L4", &[3], &[1, 2, 1]),
        ("tokens_L12", &[12], &tokens),
        ("labels_L12", &[1], &[2]),
    ]);
    let expected = [row("L4", 4, [3, 2], [3, 2]), row("L12", 12, [1, 1], [1, 1])];
    for plan in ["auto", "sequential", "step", "interp"] {
        for more in ["", "--dtype f64", "--threads 1"] {
            let more = format!("--plan {plan} {more}");
            assert_eq!(rows(&files.program(COUNT), &data, &more), expected, "{more}");
            let dims = format!("{more} --dim V=2 --dim O=3");
            assert_eq!(rows(&files.program(VECTOR), &data, &dims), expected, "{more}");
        }
    }
    assert_eq!(rows(&files.program(COUNT), &data, "--set L12"), expected[1..]);
    // Its only state, where a layer has no output; a bool takes tokens, too.
    let silent = COUNT.replace("output s", "").replace("index(2)", "bool").replace("+ tok", "+ (if tok then 1 else 0)");
    assert_eq!(rows(&files.program(&silent), &data, ""), expected);
}

#[test]
fn sequences_of_different_lengths() {
    let files = Files::new();
    let tokens: &[i32] = &[1, 1, 1, 0, 1, 1, 1];
    let data = files.data(&[
        ("tokens", &[7], tokens),
        ("i32:cu_seqlens", &[5], &[0, 2, 3, 5, 7]),
        ("labels", &[4], &[2, 1, 0, 2]),
    ]);
    // Each starts over: 2, 1, 1, 2.
    let expected = [row("", 1, [1, 1], [1, 1]), row("", 2, [3, 2], [3, 2])];
    assert_eq!(rows(&files.program(COUNT), &data, ""), expected);
    // A label for each step; the negative ones do not count, and a sequence without any is none.
    let labels: &[i32] = &[1, 2, -1, -100, 1, 1, 0];
    let data = files.data(&[
        ("tokens", &[7], tokens),
        ("i32:cu_seqlens", &[5], &[0, 2, 3, 5, 7]),
        ("i32:labels", &[7], labels),
    ]);
    assert_eq!(rows(&files.program(COUNT), &data, ""), [row("", 2, [3, 2], [5, 4])]);
}

#[test]
fn tokens_behind_a_mask() {
    let files = Files::new();
    // The layer answers with the token that it gets, so it is right where a token is repeated.
    let program = files.program("layer echo { input tok: index(5) state s = 0 s <- s + 1 output y = tok }");
    let data = files.data(&[
        ("data.a.input_ids", &[2, 6], &[1, 1, 1, 2, 2, 2, 0, 3, 3, 4, 4, 4]),
        ("data.a.mask", &[2, 6], &[0, 1, 1, 0, 1, 1, 0, 0, 1, 1, 0, 1]),
    ]);
    // Runs: 1 1 (right), 2 2 (right), 3 4 (the second wrong), 4 (right).
    let expected = [row("a", 1, [1, 1], [1, 1]), row("a", 2, [3, 2], [6, 5])];
    assert_eq!(rows(&program, &data, ""), expected);
    // Letters are the tokens below 4.
    let letters = [row("a", 0, [1, 1], [1, 1]), row("a", 1, [1, 0], [2, 1]), row("a", 2, [2, 2], [4, 4])];
    assert_eq!(rows(&program, &data, "--alphabet 4"), letters);
    let text = ssmc(&args(&program, &data, "--alphabet 4")).done();
    assert!(text.contains("4 bytes, 32 bits") && text.contains("16.0 letters of 4 have as many bits"), "{text}");
    assert!(text.contains("50 %") && text.contains("set  length  answers  right  accuracy  steps right"), "{text}");
}

/// Longer than what is in memory at a time: 80 MB of outputs, in one sequence and in many.
#[test]
fn long_runs_are_cut() {
    let files = Files::new();
    let length = 200_000;
    let program = files.program(
        "layer wide { input tok: index(2) state s: index(101) = 0 s <- (s + tok) % 101
         output y[v in 101] = if v == s then 1 else 0 }",
    );
    let tokens: Vec<i32> = (0..length).map(|t| (t / 7 + t / 3 + t) % 2).collect();
    let labels: Vec<i32> = tokens
        .iter()
        .scan(0, |sum, token| {
            *sum = (*sum + token) % 101;
            Some(*sum)
        })
        .collect();
    let n = length as usize;
    let whole = files.data(&[("tokens_L1", &[1, n], &tokens), ("labels_L1", &[1, n], &labels)]);
    assert_eq!(rows(&program, &whole, ""), [row("L1", n as u64, [1, 1], [n as u64; 2])]);
    let mut wrong = labels.clone();
    for at in [0, 100_000, n - 1] {
        wrong[at] = (wrong[at] + 1) % 101;
    }
    let whole = files.data(&[("tokens", &[1, n], &tokens), ("labels", &[1, n], &wrong)]);
    assert_eq!(rows(&program, &whole, ""), [row("", n as u64, [1, 0], [n as u64, n as u64 - 3])]);
    let many: Vec<i32> = tokens.chunks(100).map(|piece| piece.iter().sum::<i32>() % 101).collect();
    let many = files.data(&[("tokens", &[n / 100, 100], &tokens), ("labels", &[n / 100], &many)]);
    assert_eq!(rows(&program, &many, ""), [row("", 100, [n as u64 / 100; 2], [n as u64 / 100; 2])]);
}

#[test]
fn nan_is_never_right() {
    let files = Files::new();
    let program = files.program(
        "layer nan { input tok: index(2) state s = 0 s <- s output y[v in 2] = if v == tok then 0 / s else 0 }",
    );
    let data = files.data(&[("tokens", &[2, 1], &[0, 1]), ("labels", &[2], &[0, 1])]);
    assert_eq!(rows(&program, &data, ""), [row("", 1, [2, 0], [2, 0])]);
}

#[test]
fn charts_are_drawn() {
    let files = Files::new();
    let data = files.data(&[
        ("tokens_L2", &[1, 2], &[1, 1]),
        ("labels_L2", &[1], &[2]),
        ("tokens_L3", &[1, 3], &[1, 1, 1]),
        ("labels_L3", &[1], &[2]),
    ]);
    let svg = files.0.path().join("chart.svg");
    ssmc(&args(&files.program(COUNT), &data, &format!("--plot {}", svg.display()))).done();
    let text = std::fs::read_to_string(svg).expect("a chart");
    assert!(text.contains("right, %") && text.matches("<circle").count() == 2, "{text}");
    ssmc(&args(&files.program(COUNT), &data, "--plot /nowhere/chart.svg")).failed("S401");
    assert_eq!(ssmc(&args(&files.program(COUNT), &data, "--plot chart.png")).code, 2);
}

#[test]
fn data_that_does_not_fit_is_refused() {
    let files = Files::new();
    let program = files.program(COUNT);
    type Tensors<'a> = &'a [(&'a str, &'a [usize], &'a [i32])];
    let cases: &[(Tensors<'_>, &str, &str)] = &[
        (&[("x", &[1], &[1])], "S403", "`tokens` is missing"),
        (&[("tokens_L1", &[1, 1], &[1])], "S403", "`labels_L1` is missing"),
        (&[("a.input_ids", &[1, 1], &[1])], "S403", "`a.mask` is missing"),
        (&[("tokens", &[1, 1, 1], &[1]), ("labels", &[1], &[1])], "S404", "expected `[n, length]` or `[length]`"),
        (&[("tokens", &[2, 0], &[]), ("labels", &[2], &[1, 1])], "S404", "have no steps"),
        (&[("tokens", &[1, 2], &[1, 1]), ("labels", &[2], &[1, 1])], "S404", "a label for each sequence"),
        (&[("tokens", &[1, 2], &[1, 2]), ("labels", &[1], &[1])], "S406", "2"),
        (&[("tokens", &[1, 2], &[1, 1]), ("labels", &[1], &[3])], "S406", "not in the range 0 to 2"),
        (&[("tokens", &[1, 2], &[1, 1]), ("i32:labels", &[1], &[-1])], "S406", "not in the range 0 to 2"),
        (&[("f32:tokens", &[1, 2], &[1, 1]), ("labels", &[1], &[1])], "S405", "an integer type"),
        (&[("tokens", &[1, 2], &[1, 1]), ("f32:labels", &[1], &[1])], "S405", "an integer type"),
        (
            &[("tokens", &[2], &[1, 1]), ("labels", &[1], &[1]), ("i32:cu_seqlens", &[2], &[0, 1])],
            "S406",
            "ascend from 0 to 2",
        ),
        (
            &[("tokens", &[2], &[1, 1]), ("labels", &[2], &[1, 1]), ("i32:cu_seqlens", &[3], &[0, 0, 2])],
            "S406",
            "at least one step",
        ),
        (
            &[("tokens", &[1, 2], &[1, 1]), ("labels", &[1], &[1]), ("i32:cu_seqlens", &[2], &[0, 2])],
            "S404",
            "as `cu_seqlens` cuts it",
        ),
        (&[("input_ids", &[1, 2], &[1, 1]), ("mask", &[2], &[0, 1])], "S404", "expected `[1, 2]`"),
        (&[("input_ids", &[1, 2], &[1, 1]), ("mask", &[1, 2], &[1, 1])], "S406", "no step stands before it"),
        (&[("input_ids", &[1, 2], &[1, 1]), ("mask", &[1, 2], &[0, 2])], "S406", "2"),
    ];
    for (tensors, code, message) in cases {
        let err = ssmc(&args(&program, &files.data(tensors), "")).failed(code);
        assert!(err.contains(message), "{message}: {err}");
    }
    let sound = files.data(&[("tokens_L1", &[1, 1], &[1]), ("labels_L1", &[1], &[1])]);
    ssmc(&args(&program, &sound, "--set L2")).failed("S403");
    ssmc(&args(&program, Path::new("nowhere.npz"), "")).failed("S401");
    assert_eq!(ssmc(&format!("eval {}", program.display())).code, 2);
    // Dimensions that only tokens could give.
    ssmc(&args(&files.program(VECTOR), &sound, "")).failed("S407");
}

#[test]
fn layers_that_answer_no_labels_are_refused() {
    let files = Files::new();
    let data = files.data(&[("tokens", &[1, 2], &[1, 1]), ("labels", &[1, 2], &[1, 1])]);
    for (program, message) in [
        ("layer a { state s = 0 s <- s output s }", "this one has none"),
        ("layer a { input x: bool, y: bool output z = x and y }", "`x`, `y`"),
        ("layer a { input x output y[i in 2] = x * i }", "tokens cannot be given to `x`"),
        ("layer a(N) { input x[N]: bool output y = x[0] }", "tokens cannot be given to `x`"),
        ("layer a { input x: bool output y = if x then 1 else 0.5 }", "`y` names no label"),
        ("layer a { input x: bool output y[i in 2, j in 2] = i + j * 0.5 }", "`y` names no label"),
        ("layer a { input x: bool output y = x, z = x }", "several outputs: `y`, `z`"),
        ("layer a { input x: bool state s: bool state t: bool s <- x t <- x }", "several states and no output"),
    ] {
        let err = ssmc(&args(&files.program(program), &data, "")).failed("S410");
        assert!(err.contains(message), "{message}: {err}");
    }
    let two = files.program("layer a { input x: bool output y = x, z = not x }");
    assert_eq!(rows(&two, &data, "--score y"), [row("", 2, [1, 1], [2, 2])]);
    assert_eq!(rows(&two, &data, "--score z"), [row("", 2, [1, 0], [2, 0])]);
    ssmc(&args(&two, &data, "--score s")).failed("S410");
    let silent = files.program("layer a { input x: bool state s: bool s <- x }");
    let err = ssmc(&args(&silent, &data, "")).failed("S404");
    assert!(err.contains("only a label for the last step"), "{err}");
}
