//! Runs on files that are made here: layouts, state files, packed sequences, and files that do not fit.

mod command;

use std::path::{Path, PathBuf};

use command::ssmc;
use safetensors::tensor::{Dtype, TensorView, serialize};

const PROGRAM: &str = "
layer a(D) {
    param k[D] = 0.5
    input x[D], tok: index(4), go: bool
    state h[D] = 1, s: index(4), z: complex = 1i
    reset when go
    h[d] <- k[d] * h[d] + past(x[d], 2)
    s <- (s + tok) % 4
    z <- z * 0.5i + x[0]
    output y[d] = h[d] + (if first then 100 else 0), s, z
}
layer clock { state t: index(1000) t <- (t + 1) % 1000 output t }
";

struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        let directory = Self(tempfile::tempdir().expect("a directory"));
        std::fs::write(directory.path("p.ssm"), PROGRAM).expect("a program");
        directory
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes tensors as bytes of their types.
    fn write(&self, name: &str, tensors: &[(&str, Dtype, &[usize], Vec<u8>)]) {
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            (*name, TensorView::new(*dtype, shape.to_vec(), bytes).expect("a tensor"))
        });
        std::fs::write(self.path(name), serialize(views, None).expect("a file")).expect("written");
    }

    /// Inputs of the program: `rows` are the steps, `lead` the axes before those of a slice.
    fn inputs(&self, name: &str, lead: &[usize], rows: std::ops::Range<usize>) {
        let x: Vec<u8> = rows.clone().flat_map(|t| f32s(&[t as f32, 0.25 * t as f32])).collect();
        let tok = rows.clone().map(|t| (t % 3) as u8).collect();
        let go = rows.map(|t| u8::from(t == 5)).collect();
        self.write(
            name,
            &[
                ("in.x", Dtype::F32, &[lead, &[2]].concat(), x),
                ("in.tok", Dtype::U8, lead, tok),
                ("go", Dtype::BOOL, lead, go),
            ],
        );
    }

    /// Runs the program; `@` in the arguments stands for the directory.
    fn run(&self, args: &str) -> command::Ran {
        let here = format!("{}/", self.0.path().display());
        ssmc(&format!("run {here}p.ssm --layer a {}", args.replace('@', &here)))
    }

    fn tensor(&self, file: &str, name: &str) -> (Vec<usize>, Vec<u8>) {
        let bytes = std::fs::read(self.path(file)).expect("a file");
        let file = safetensors::SafeTensors::deserialize(&bytes).expect("a sound file");
        let tensor = file.tensor(name).expect("the tensor");
        (tensor.shape().to_vec(), tensor.data().to_vec())
    }
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn i64s(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[test]
fn two_pieces_give_what_one_run_gives() {
    let here = Directory::new();
    here.inputs("all.safetensors", &[9], 0..9);
    here.inputs("one.safetensors", &[4], 0..4);
    here.inputs("two.safetensors", &[5], 4..9);
    for plan in ["sequential", "step", "interp"] {
        for dtype in ["f32", "f64"] {
            for state in ["@s.safetensors", "@s.npz"] {
                let common = format!("--plan {plan} --dtype {dtype}");
                here.run(&format!(
                    "{common} --input @all.safetensors --output @y.safetensors --state-out @all_s.safetensors"
                ))
                .done();
                here.run(&format!("{common} --input @one.safetensors --output @y1.safetensors --state-out {state}"))
                    .done();
                here.run(&format!(
                    "{common} --input @two.safetensors --state-in {state} --output @y2.safetensors --state-out @end.safetensors"
                ))
                .done();
                for name in ["y", "s", "z"] {
                    let pieces = [here.tensor("y1.safetensors", name), here.tensor("y2.safetensors", name)];
                    let whole = here.tensor("y.safetensors", name);
                    assert_eq!(pieces.map(|(_, bytes)| bytes).concat(), whole.1, "{name} by {plan}");
                    assert_eq!(whole.0[0], 9);
                }
                let read = |name: &str| std::fs::read(here.path(name)).expect("a file");
                assert_eq!(read("all_s.safetensors"), read("end.safetensors"), "{plan} {dtype} {state}");
            }
        }
    }
    assert_eq!(here.tensor("end.safetensors", "step"), (vec![], i64s(&[9])));
    assert_eq!(here.tensor("end.safetensors", "delay.0").0, [2, 2]);
    assert_eq!(here.tensor("end.safetensors", "z").0, [2]);
}

#[test]
fn batches_and_packed_sequences_are_sequences() {
    let here = Directory::new();
    here.inputs("one.safetensors", &[4], 0..4);
    here.inputs("two.safetensors", &[4], 4..8);
    here.inputs("batch.safetensors", &[2, 4], 0..8);
    here.inputs("total.safetensors", &[8], 0..8);
    here.write("cuts.safetensors", &[("cu_seqlens", Dtype::I64, &[4], i64s(&[0, 4, 4, 8]))]);
    for one in ["one", "two", "batch"] {
        let files =
            format!("--input @{one}.safetensors --output @{one}_y.safetensors --state-out @{one}_s.safetensors");
        here.run(&files).done();
    }
    let packed = "--input @total.safetensors --input @cuts.safetensors --output @packed_y.safetensors --state-out @packed_s.safetensors";
    for plan in ["sequential", "step", "interp"] {
        here.run(&format!("{packed} --plan {plan} --threads 2")).done();
        for name in ["y", "s", "z"] {
            let apart = [here.tensor("one_y.safetensors", name), here.tensor("two_y.safetensors", name)];
            let together = here.tensor("packed_y.safetensors", name);
            assert_eq!(apart.map(|(_, bytes)| bytes).concat(), together.1, "{name} by {plan}");
            assert_eq!(here.tensor("batch_y.safetensors", name).1, together.1);
        }
        assert_eq!(here.tensor("packed_s.safetensors", "step"), (vec![3], i64s(&[4, 0, 4])));
        assert_eq!(here.tensor("packed_s.safetensors", "h").0, [3, 2]);
    }
    assert_eq!(here.tensor("batch_y.safetensors", "y").0, [2, 4, 2]);
    let cut = |cuts: &[i64], dtype: Dtype| {
        here.write("cuts.safetensors", &[("cu_seqlens", dtype, &[cuts.len()], i64s(cuts))]);
        here.run(packed)
    };
    cut(&[0, 4], Dtype::I64).failed("the inputs have 8 steps");
    cut(&[0, 9], Dtype::I64).failed("S406");
    cut(&[1, 8], Dtype::I64).failed("the first must be 0");
    cut(&[0, 5, 4, 8], Dtype::I64).failed("element 2 is 4");
    cut(&[0, -1, 8], Dtype::I64).failed("S406");
    cut(&[], Dtype::I64).failed("S404");
    cut(&[0, 8], Dtype::U64).failed("S405");
    cut(&[0, 8], Dtype::I64).done();
    here.run("--input @batch.safetensors --input @cuts.safetensors").failed("batch axis");
}

#[test]
fn states_without_a_batch_axis_serve_every_sequence() {
    let here = Directory::new();
    here.inputs("batch.safetensors", &[2, 4], 0..8);
    here.write(
        "h.safetensors",
        &[("state0.h", Dtype::F32, &[2], f32s(&[3.0, 4.0])), ("step", Dtype::U8, &[], vec![7])],
    );
    here.run("--input @batch.safetensors --state-in @h.safetensors --state-out @s.safetensors").done();
    assert_eq!(here.tensor("s.safetensors", "step"), (vec![2], i64s(&[11, 11])));
    here.write("h.safetensors", &[("h", Dtype::F32, &[3, 2], f32s(&[0.0; 6]))]);
    here.run("--input @batch.safetensors --state-in @h.safetensors").failed("S404");
    here.write("h.safetensors", &[("step", Dtype::I64, &[], i64s(&[-1]))]);
    here.run("--input @batch.safetensors --state-in @h.safetensors").failed("S406");
    here.write("h.safetensors", &[("q", Dtype::I64, &[], i64s(&[-1]))]);
    let ran = here.run("--input @batch.safetensors --state-in @h.safetensors");
    assert!(ran.code == 0 && ran.err.starts_with("note[S403]"), "{ran:?}");
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let here = Directory::new();
    here.inputs("ok.safetensors", &[3], 0..3);
    let with = |name: &str, dtype: Dtype, shape: &[usize], bytes: Vec<u8>| {
        here.write("bad.safetensors", &[(name, dtype, shape, bytes)]);
        here.run("--input @ok.safetensors --input @bad.safetensors")
    };
    with("in.tok", Dtype::U8, &[3], vec![0, 4, 1]).failed("element 1 is 4");
    with("in.tok", Dtype::U8, &[2], vec![0, 1]).failed("do not agree");
    with("in.tok", Dtype::U8, &[1, 3], vec![0, 1, 2]).failed("do not agree");
    with("in.tok", Dtype::F32, &[3], f32s(&[0.0; 3])).failed("S405");
    with("in.go", Dtype::U8, &[3], vec![0, 1, 2]).failed("element 2 is 2");
    with("in.go", Dtype::I8, &[3], vec![0, 1, 1]).failed("S405");
    with("in.x", Dtype::F32, &[3], f32s(&[0.0; 3])).failed("expected `[seq, D]` or `[batch, seq, D]`");
    with("in.x", Dtype::I32, &[3, 2], vec![0; 24]).failed("S405");
    with("in.x", Dtype::F32, &[0, 2], vec![]).failed("do not agree");
    // Of several files that have a tensor, the last counts; with its role it comes before the bare name.
    with("tok", Dtype::U8, &[3], vec![3, 3, 3]).done();
    with("unknown", Dtype::U8, &[3], vec![9, 9, 9]).done();
    std::fs::write(here.path("t.npy"), b"nonsense").expect("a file");
    here.run("--input @ok.safetensors --input in.tok=@t.npy").failed("S402");
    assert!(!Path::new("y.npz").exists());
}

#[test]
fn a_layer_without_inputs_runs_as_long_as_it_is_told() {
    let here = Directory::new();
    let run = format!("run {} --layer clock", here.path("p.ssm").display());
    let out = ssmc(&run).done();
    assert!(out.contains("1 x 1"), "{out}");
    let output = here.path("y.safetensors");
    for plan in ["auto", "step", "interp"] {
        ssmc(&format!("{run} --plan {plan} --seq 5 --output {}", output.display())).done();
        let expected: Vec<u8> = (1..=5i32).flat_map(|t| t.to_le_bytes()).collect();
        assert_eq!(here.tensor("y.safetensors", "t"), (vec![5], expected));
        ssmc(&format!("{run} --plan {plan} --seq 0 --output {}", output.display())).done();
        assert_eq!(here.tensor("y.safetensors", "t"), (vec![0], vec![]));
    }
    ssmc(&format!("{run} --seq 18446744073709551615")).failed("S408");
    ssmc(&format!("{run} --seq 200000000000000")).failed("S408");
}

#[test]
fn expectations_are_compared() {
    let here = Directory::new();
    here.inputs("in.safetensors", &[3], 0..3);
    here.run("--input @in.safetensors --output @y.safetensors --state-out @s.safetensors").done();
    let expect = "--input @in.safetensors --expect";
    here.run(&format!("{expect} @y.safetensors --expect @s.safetensors --rtol 0")).done();
    let with = |tensors: &[(&str, Dtype, &[usize], Vec<u8>)]| {
        here.write("e.safetensors", tensors);
        here.run(&format!("{expect} @e.safetensors"))
    };
    let (_, y) = here.tensor("y.safetensors", "y");
    let (_, s) = here.tensor("y.safetensors", "s");
    with(&[("out.y", Dtype::F32, &[2], y[16..].to_vec())]).done();
    with(&[("idx.y", Dtype::I64, &[2], i64s(&[2, 0])), ("y", Dtype::F32, &[2, 2], [&y[16..], &y[..8]].concat())])
        .done();
    with(&[("idx.y", Dtype::I64, &[1], i64s(&[3])), ("y", Dtype::F32, &[1, 2], y[..8].to_vec())]).failed("S406");
    with(&[("y", Dtype::F32, &[2, 2], y[..16].to_vec())]).failed("S404");
    with(&[("y", Dtype::F32, &[3, 2], f32s(&[f32::NAN; 6]))]).failed("S409");
    with(&[("s", Dtype::I32, &[3], s.clone())]).done();
    with(&[("s", Dtype::I32, &[3], [&[1, 0, 0, 0], &s[4..]].concat())]).failed("S409");
    with(&[("s", Dtype::F32, &[3], s)]).failed("S405");
    with(&[("nothing", Dtype::F32, &[], f32s(&[0.0]))]).failed("nothing to compare");
}
