//! Plans: their text, and that tiles, blocks and threads change nothing.

#[path = "kernels/data.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod data;

use std::fs;
use std::path::{Path, PathBuf};

use data::{Data, rounded_all, rounded_carry};
use ssmc::ir::{Instance, interp};
use ssmc::jit::{self, Form, Isa};
use ssmc_runtime::{Bound, Elements, Float, Sequences, Tensor};

fn instance(source: &str, dims: &[(&str, i64)]) -> Instance {
    let (file, problems) = ssmc::syntax::parse(source);
    assert!(problems.is_empty(), "{problems:?}");
    let (layers, problems) = ssmc::sema::lower(&file);
    assert!(problems.is_empty(), "{problems:?}");
    let layer = layers.into_iter().next().expect("the file has a layer");
    let value = |name: &str| dims.iter().find(|(known, _)| *known == name).expect("all dimensions are given").1;
    let dims = layer.dims.iter().map(|dim| value(&dim.name)).collect();
    Instance::new(layer, dims).expect("the sizes can be run")
}

fn programs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files/plan");
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).expect("the folder exists").map(|entry| entry.expect("it can be listed").path()).collect();
    paths.sort();
    paths
}

/// Each file's first line is `# dims: D=16 N=4`; the comments `#>` at its end hold the plan of its layer in f32.
#[test]
fn files() {
    let mut failed = Vec::new();
    for path in programs() {
        let text = fs::read_to_string(&path).expect("the file can be read");
        let end = text.find("\n#>").map_or(text.len(), |at| at + 1);
        let source = text[..end].trim_end();
        let first =
            source.lines().next().and_then(|line| line.strip_prefix("# dims:")).expect("the first line has dims");
        let dims: Vec<(&str, i64)> = first
            .split_whitespace()
            .map(|dim| dim.split_once('=').expect("a dimension has a value"))
            .map(|(name, n)| (name, n.parse().expect("the value is a number")))
            .collect();
        let plan =
            jit::plan_text(&instance(source, &dims), Form::Sequence, 32, Isa::Narrow).expect("the layer has a plan");
        let mut expected = format!("{source}\n\n");
        for line in plan.lines() {
            expected += &format!("#> {line}\n");
        }
        if text != expected {
            if std::env::var_os("BLESS").is_some() {
                fs::write(&path, &expected).expect("the file can be written");
            } else {
                failed.push(format!("{}:\n{expected}", path.display()));
            }
        }
    }
    assert!(failed.is_empty(), "BLESS=1 rewrites these:\n{}", failed.join("\n"));
}

const MAMBA: &str = "layer mamba(D, N) {
    param A[D, N], skip[D], bias[D]
    input x[D], dt[D], B[N], C[N]
    state h[D, N] = 0
    let step[d] = softplus(dt[d] + bias[d])
    h[d, n] <- exp(-step[d] * abs(A[d, n])) * h[d, n] + step[d] * B[n] * x[d]
    output y[d] = sum[n](C[n] * h[d, n]) + skip[d] * x[d]
}";

const DIAGONAL: &str = "layer diagonal(D, N) {
    param r[N, D]
    input a[D], x[N]
    state h[D]: complex = 0, before[D] = 1
    let u[d] = sum[n](r[n, d] * x[n])
    h[d] <- (0.5 * tanh(a[d]) + 0.25i) * h[d] + before[d]
    before[d] <- 0.5 * before[d] + u[d]
    output y[n] = re(sum[d](r[n, d] * h[d]))
    output h, before
}";

const DELTA: &str = "layer delta(D, N) {
    input q[D, N], k[D, N], v[D, N], beta[D]
    state S[D, N, N] = 0
    let error[h, j] = v[h, j] - sum[i](S[h, i, j] * k[h, i])
    S[h, i, j] <- S[h, i, j] + 0.1 * beta[h] * k[h, i] * error[h, j]
    output o[h, j] = sum[i](q[h, i] * S[h, i, j])
}";

/// Two groups of states over different axes; one that mixes, in order; a state returned from before the step; a
/// mean over a longer loop; a delay and an output that no state reaches.
const MIXED: &str = "layer mixed(D, N) {
    param w[N, N], p[D]
    input x[D], u[N]
    state a[D, 40] = 0.5, b[N] = 0, c[N] = 0.25
    let decay[d] = sigmoid(p[d])
    let late[d] = past(x[d], 2) + x[d]
    output a
    a[d, k] <- decay[d] * a[d, k] + 0.01 * k * late[d]
    b[n] <- 0.5 * b[n] + u[n] * u[n]
    c[n] <- 0.1 * sum[j](w[n, j] * c[j]) + b[n]
    let m[d] = mean[k](a[d, k] * cos(x[d]))
    output y[d] = m[d] + sum[n](c[n])
    output z[n] = b[n] * c[n] + 2 * u[n]
    output late
    output pairs[d] = sum[k](a[d, k] * a[d, 39 - k])
}";

fn agree<F: Float>(what: &str, got: &[Tensor<F>], expected: &[Tensor<f64>], bound: f64) {
    let planes = |got: &[F], expected: &[f64]| {
        let largest = expected.iter().fold(1.0_f64, |m, x| m.max(x.abs()));
        for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
            let error = (got.to_f64() - expected).abs();
            assert!(error <= bound * largest, "{what}[{at}]: {got}, expected {expected}");
        }
    };
    assert_eq!(got.len(), expected.len(), "{what}");
    for (got, expected) in got.iter().zip(expected) {
        assert_eq!(got.shape, expected.shape, "{what}");
        match (&got.elements, &expected.elements) {
            (Elements::Real(got), Elements::Real(expected)) => planes(got, expected),
            (Elements::Complex { re, im }, Elements::Complex { re: a, im: b }) => {
                planes(re, a);
                planes(im, b);
            }
            _ => panic!("{what}: other elements"),
        }
    }
}

/// Compares a kernel with the interpreter, and its bits on one thread with those on three.
fn check<F: Float>(source: &str, dims: &[(&str, i64)], length: usize) {
    let instance = instance(source, dims);
    let sequences = Sequences::batch(1, length);
    let data = Data::new(&instance, &sequences, 3);
    let mut after = data.carry.clone();
    let expected = interp::run(&instance, &data.bound, &sequences, &data.inputs, &mut after);
    let bound = Bound { params: rounded_all(&data.bound.params), initial: rounded_all(&data.bound.initial) };
    let inputs: Vec<Tensor<F>> = rounded_all(&data.inputs);
    let kernel = jit::compile::<F>(&instance, Form::Sequence).expect("the layer compiles");
    let mut runs = Vec::new();
    for threads in [1, 3] {
        let mut carry = rounded_carry(&data.carry);
        let outputs = kernel.run(&bound, &sequences, &inputs, &mut carry, threads, &|_| {}).expect("the tensors fit");
        runs.push((outputs, carry));
    }
    let what = format!("{} {dims:?} f{} length {length}", instance.layer.name, F::BITS);
    let epsilon = if F::BITS == 32 { f64::from(f32::EPSILON) } else { f64::EPSILON };
    let roundings = epsilon * (400.0 + 4.0 * length as f64);
    agree(&what, &runs[0].0, &expected, roundings);
    agree(&what, &runs[0].1.states, &after.states, roundings);
    assert!(runs[0] == runs[1], "{what}: the number of threads shows");
}

#[test]
fn tiles_end_where_they_may() {
    for source in [MAMBA, DIAGONAL, DELTA, MIXED] {
        for length in [1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 129] {
            check::<f32>(source, &[("D", 5), ("N", 6)], length);
        }
    }
}

#[test]
fn blocks_end_where_they_may() {
    for source in [MAMBA, DIAGONAL, DELTA, MIXED] {
        for d in 1..=35 {
            check::<f32>(source, &[("D", d), ("N", 3)], 5);
            check::<f64>(source, &[("D", d), ("N", 9)], 3);
        }
        for n in 1..=33 {
            check::<f32>(source, &[("D", 3), ("N", n)], 3);
        }
    }
}

#[test]
fn threads_share_the_blocks_of_one_sequence() {
    for source in [MAMBA, DIAGONAL, DELTA, MIXED] {
        check::<f32>(source, &[("D", 50), ("N", 33)], 300);
    }
}

/// The emitter knows no width: what it makes for wider vectors is sound CLIF, for every example.
#[test]
fn wider_vectors_make_sound_code() {
    let host = jit::isa::host().expect("the host has a back end");
    let machine = ssmc::codegen::Machine::of(&*host);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("the folder exists") {
        let path = entry.expect("it can be listed").path();
        if path.extension().is_none_or(|extension| extension != "ssm") {
            continue;
        }
        let source = fs::read_to_string(&path).expect("the file can be read");
        let (file, _) = ssmc::syntax::parse(&source);
        // Layers with what this version refuses are left out.
        let (layers, _) = ssmc::sema::lower(&file);
        for layer in layers {
            let dims = layer.dims.iter().map(|_| 24).collect();
            let Ok(instance) = Instance::new(layer, dims) else { continue };
            for (bits, width) in [(32, 8), (32, 16), (64, 4), (64, 8)] {
                let target = ssmc::plan::Target { bits, width, registers: 32 };
                let plan = ssmc::plan::plan(&instance, Form::Sequence, target).expect("the layer has a plan");
                for n in 0..plan.parts().len() {
                    let function = ssmc::codegen::emit(&plan, n, machine, &*host);
                    let sound = cranelift_codegen::verify_function(&function, host.flags());
                    assert!(sound.is_ok(), "{} f{bits} x {width}: {sound:?}", path.display());
                    count += 1;
                }
            }
        }
    }
    assert!(count > 100, "only {count} functions were made");
}
