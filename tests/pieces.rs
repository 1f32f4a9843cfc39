//! One sequence through the binary in different ways: whole, in two pieces through state files, and line by line.
//! All give the same bits.

mod command;
#[path = "command/limited.rs"]
mod limited;

use std::fmt::Write;
use std::ops::Range;

use limited::Directory;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde_json::Value;

const PROGRAM: &str = "
layer a(D) {
    param k[d in D] = 0.9 - 0.1 * d
    input x[D], tok: index(4), go: bool, u: complex
    state h[D] = 1, s: index(4), z: complex = 1i, seen: bool
    reset when go
    h[d] <- k[d] * tanh(h[d]) + sum[j in 3](past(x[d], j) / (j + 1))
    s <- (s + tok) % 4
    z <- z * 0.5i + u + x[0]
    seen <- seen or tok == 3
    output y[d] = h[d] / 3 + (if first then 100 else 0), s, z, seen, before = past(go, 2)
}
";

const OUTPUTS: [&str; 5] = ["y", "s", "z", "seen", "before"];

/// The reals of a step, which have no short text.
fn reals(t: usize) -> [f64; 4] {
    let x = t as f64;
    [(x + 1.0).ln() / 3.0, -1e-3 / (x + 0.7), (x * 1.3).sin() * 1e5, 1.0 / 3.0 + x]
}

/// Writes the inputs of these steps, sequence by sequence.
fn inputs(here: &Directory, name: &str, lead: &[usize], dtype: Dtype, steps: &[Range<usize>], cuts: &[i64]) {
    let steps: Vec<usize> = steps.iter().cloned().flatten().collect();
    let pick = |at: Range<usize>| -> Vec<u8> {
        let values = steps.iter().flat_map(|&t| reals(t)[at.clone()].to_vec());
        match dtype {
            Dtype::F64 => values.flat_map(f64::to_le_bytes).collect(),
            _ => values.flat_map(|v| (v as f32).to_le_bytes()).collect(),
        }
    };
    let pairs = [lead, &[2]].concat();
    let mut tensors = vec![
        ("x", dtype, &pairs[..], pick(0..2)),
        ("u", dtype, &pairs, pick(2..4)),
        ("tok", Dtype::U8, lead, steps.iter().map(|t| (t * 7 % 4) as u8).collect()),
        ("go", Dtype::BOOL, lead, steps.iter().map(|t| u8::from(t % 6 == 5)).collect()),
    ];
    let shape = [cuts.len()];
    if !cuts.is_empty() {
        tensors.push(("cu_seqlens", Dtype::I64, &shape, cuts.iter().flat_map(|c| c.to_le_bytes()).collect()));
    }
    here.tensors(name, &tensors);
}

/// The bytes of an output, and the size of a step.
fn output(here: &Directory, file: &str, name: &str, steps: usize) -> (Vec<u8>, usize) {
    let bytes = here.read(file);
    let file = SafeTensors::deserialize(&bytes).expect("a sound file");
    let data = file.tensor(name).expect("the output").data().to_vec();
    let size = data.len() / steps;
    (data, size)
}

#[test]
fn two_pieces_are_one_run() {
    let here = Directory::new();
    here.write("p.ssm", PROGRAM);
    // Three sequences: steps 0..9, 20..29 and 40..49, cut at 4.
    let starts = [0, 20, 40];
    let of = |part: &Range<usize>| starts.map(|s| s + part.start..s + part.end);
    for (dtype, option) in [(Dtype::F32, "f32"), (Dtype::F64, "f64")] {
        for packed in [false, true] {
            let parts = [0..9, 0..4, 4..9];
            for (name, part) in ["all", "one", "two"].iter().zip(&parts) {
                let n = part.len();
                let file = format!("{name}.safetensors");
                match packed {
                    true => {
                        let cuts: Vec<i64> = (0..=3).map(|i| i * n as i64).collect();
                        inputs(&here, &file, &[3 * n], dtype, &of(part), &cuts);
                    }
                    false => inputs(&here, &file, &[3, n], dtype, &of(part), &[]),
                }
            }
            for plan in ["sequential", "step", "interp"] {
                for ending in ["safetensors", "npz"] {
                    let run = |args: &str| {
                        here.ssmc(&format!("run @p.ssm --dtype {option} --plan {plan} {args}"), b"").done()
                    };
                    run("--input @all.safetensors --output @y.safetensors --state-out @s.safetensors");
                    run(&format!("--input @one.safetensors --output @y1.safetensors --state-out @mid.{ending}"));
                    run(&format!(
                        "--input @two.safetensors --state-in @mid.{ending} --output @y2.safetensors --state-out @end.safetensors"
                    ));
                    let what = format!("{option} {plan} {ending} packed: {packed}");
                    assert_eq!(here.read("s.safetensors"), here.read("end.safetensors"), "{what}");
                    for name in OUTPUTS {
                        let (whole, size) = output(&here, "y.safetensors", name, 27);
                        let (one, _) = output(&here, "y1.safetensors", name, 12);
                        let (two, _) = output(&here, "y2.safetensors", name, 15);
                        let joined: Vec<u8> = (0..3)
                            .flat_map(|s| [&one[s * 4 * size..][..4 * size], &two[s * 5 * size..][..5 * size]].concat())
                            .collect();
                        assert_eq!(joined, whole, "{name}: {what}");
                    }
                }
            }
        }
    }
}

/// The numbers of a JSON value as the bytes that a file has of them.
fn flatten(value: &Value, dtype: Dtype, name: &str, out: &mut Vec<u8>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| flatten(value, dtype, name, out)),
        Value::Bool(value) => out.push(u8::from(*value)),
        Value::Number(number) if name == "s" => out.extend((number.as_i64().expect("an integer") as i32).to_le_bytes()),
        Value::Number(number) => {
            let number: f64 = number.to_string().parse().expect("a number");
            match dtype {
                Dtype::F64 => out.extend(number.to_le_bytes()),
                _ => out.extend((number as f32).to_le_bytes()),
            }
        }
        other => panic!("`{name}` is {other}"),
    }
}

const HOSTILE: &[&[u8]] = &[
    b"nonsense",
    b"{",
    b"{}",
    b"[]",
    b"null",
    b"\xff\xfe",
    b"\0",
    b"{\"x\": [1, 2], \"tok\": 1, \"go\": false}",
    b"{\"x\": [1, 2], \"tok\": 4, \"go\": false, \"u\": [0, 0]}",
    b"{\"x\": [1, 2], \"tok\": -1, \"go\": false, \"u\": [0, 0]}",
    b"{\"x\": [1, 2], \"tok\": 1.5, \"go\": false, \"u\": [0, 0]}",
    b"{\"x\": [1, 2], \"tok\": true, \"go\": false, \"u\": [0, 0]}",
    b"{\"x\": [1, 2], \"tok\": 1, \"go\": 1, \"u\": [0, 0]}",
    b"{\"x\": [1, 2], \"tok\": 1, \"go\": null, \"u\": [0, 0]}",
    b"{\"x\": [1, 2], \"tok\": 1, \"go\": false, \"u\": [0]}",
    b"{\"x\": [1, 2], \"tok\": 1, \"go\": false, \"u\": 1}",
    b"{\"x\": [1, 2], \"tok\": 1, \"go\": false, \"u\": {\"re\": 1}}",
    b"{\"x\": [1], \"tok\": 1, \"go\": false, \"u\": [0, 0]}",
    b"{\"x\": [1, 2, 3], \"tok\": 1, \"go\": false, \"u\": [0, 0]}",
    b"{\"x\": [[1, 2]], \"tok\": 1, \"go\": false, \"u\": [0, 0]}",
    b"{\"x\": [1, \"nan\"], \"tok\": 1, \"go\": false, \"u\": [0, 0]}",
    b"{\"x\": [1, NaN], \"tok\": 1, \"go\": false, \"u\": [0, 0]}",
    b"{\"x\": [1, 1e999], \"tok\": 1, \"go\": false, \"u\": [0, 0]}",
    b"{\"x\": [1, 2], \"tok\": 1, \"go\": false, \"u\": [0, 0], \"v\": 1}",
    b"{\"x\": [1, 2], \"tok\": 1, \"go\": false, \"u\": [0, 0]} {}",
    b"{\"x\": [1, 2], \"tok\": 99999999999999999999999, \"go\": false, \"u\": [0, 0]}",
];

#[test]
fn steps_line_by_line_are_one_run() {
    let here = Directory::new();
    here.write("p.ssm", PROGRAM);
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    let long = [b"{\"x\": \"".to_vec(), b"x".repeat(3_000_000), b"\"}".to_vec()].concat();
    for (dtype, option) in [(Dtype::F32, "f32"), (Dtype::F64, "f64")] {
        inputs(&here, "x.safetensors", &[30], dtype, std::slice::from_ref(&(0..30)), &[]);
        here.ssmc(
            &format!(
                "run @p.ssm --dtype {option} --input @x.safetensors --output @y.safetensors --state-out @s.safetensors"
            ),
            b"",
        )
        .done();
        let mut lines: Vec<u8> = Vec::new();
        for t in 0..30 {
            // Shortest texts of the numbers of the file.
            let [a, b, c, d] = match dtype {
                Dtype::F64 => reals(t).map(|v| format!("{v:?}")),
                _ => reals(t).map(|v| format!("{:?}", v as f32)),
            };
            let go = t % 6 == 5;
            let tok = t * 7 % 4;
            let mut line = String::new();
            let _ = write!(line, "{{\"go\": {go}, \"x\": [{a}, {b}], \"u\": [{c}, {d}], \"tok\": {tok}}}");
            lines.extend(line.into_bytes());
            // Bad lines and blank ones in between; the last line has no end.
            lines.extend(if t % 2 == 0 { &b"\r\n"[..] } else { b"\n" });
            lines.extend(HOSTILE[t % HOSTILE.len()]);
            if t < 29 {
                lines.extend(b"\n\r\n \t\n");
            }
            if t % 10 == 3 {
                lines.extend([&deep[..], b"\n", &long, b"\n"].concat());
            }
        }
        for plan in ["auto", "interp"] {
            let ran = here.ssmc(
                &format!("step @p.ssm --dim D=2 --dtype {option} --plan {plan} --state-out @t.safetensors"),
                &lines,
            );
            assert_eq!(ran.code, 1, "{}", ran.err);
            let answers: Vec<Value> =
                ran.out.lines().map(|line| serde_json::from_str(line).expect("each answer is JSON")).collect();
            let (wrong, right): (Vec<&Value>, Vec<&Value>) =
                answers.iter().partition(|answer| answer.get("error").is_some());
            assert_eq!((right.len(), wrong.len()), (30, 36));
            assert!(wrong.iter().all(|answer| answer["error"]["code"] == "S411" && answer["error"]["line"].is_u64()));
            assert!(ran.out.len() < 100_000, "answers are short");
            if plan == "interp" {
                continue; // other bits: elementary functions are rounded otherwise
            }
            for name in OUTPUTS {
                let mut bytes = Vec::new();
                right.iter().for_each(|answer| flatten(&answer[name], dtype, name, &mut bytes));
                assert_eq!(bytes, output(&here, "y.safetensors", name, 30).0, "{name} {option}");
            }
            assert_eq!(here.read("s.safetensors"), here.read("t.safetensors"), "{option}");
        }
    }
}

/// The tensors of a golden vector that a case compares: all, or the outputs that the case names.
fn expectation(here: &Directory, vector: &str, outputs: &[&str]) -> String {
    if outputs.is_empty() {
        return vector.to_owned();
    }
    let bytes = std::fs::read(vector).expect("the vector is there");
    let file = SafeTensors::deserialize(&bytes).expect("the vector is sound");
    let wanted = |name: &str| outputs.iter().any(|output| name == format!("out.{output}"));
    let kept = file.tensors().into_iter().filter(|(name, _)| wanted(name));
    let bytes = safetensors::serialize(kept, None).expect("a file");
    here.write("e.safetensors", bytes);
    here.path("e.safetensors").display().to_string()
}

#[test]
fn golden_vectors_run_as_they_are() {
    let here = Directory::new();
    let cases = std::fs::read_to_string("tests/vectors/cases.txt").expect("the cases can be read");
    let mut failed = String::new();
    let mut count = 0;
    for line in cases.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [vector, example, layer, outputs @ ..] = &words[..] else { panic!("{line}") };
        let outputs: Vec<&str> = outputs.iter().map(|word| word.trim_matches([',', '(', ')'])).collect();
        let path = format!("tests/vectors/{vector}.safetensors");
        let bytes = std::fs::read(&path).expect("the vector is there");
        let (_, metadata) = SafeTensors::read_metadata(&bytes).expect("the header is sound");
        let notes = metadata.metadata().clone().unwrap_or_default();
        let expected = expectation(&here, &path, &outputs);
        for dtype in ["f32", "f64"] {
            let tolerance = notes.get(&format!("tol_{dtype}_nme")).map_or("0", String::as_str);
            let ran = here.ssmc(
                &format!(
                    "run {example} --layer {layer} --params {path} --input {path} --state-in {path} --expect {expected} \
                     --dtype {dtype} --rtol {tolerance}"
                ),
                b"",
            );
            count += 1;
            if ran.code != 0 || ran.out.contains("FAILED") {
                let _ = writeln!(failed, "{line} in {dtype}:\n{}", ran.err);
            }
        }
    }
    assert!(failed.is_empty(), "{failed}");
    assert!(count > 120, "only {count} runs");
}

#[test]
fn a_layer_of_nothing_but_parameters_runs_once() {
    let here = Directory::new();
    let out = here.ssmc("run examples/hippo.ssm", b"").done();
    assert!(out.contains("1 x 1") && out.contains("[1, 8, 8]"), "{out}");
}
