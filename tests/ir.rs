//! The text of the IR: what it prints it reads, and what it must refuse; and layers in it against the authors' own
//! results.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use safetensors::{Dtype, SafeTensors};
use ssmc::ir::instance::{Instance, solve_dims};
use ssmc::ir::{bind, interp, parse, print, verify};
use ssmc_runtime::{Elements, Sequences, Tensor};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn without_comments(text: &str) -> String {
    text.lines().filter(|l| !l.starts_with('#')).map(|l| format!("{l}\n")).collect()
}

#[test]
fn files_print_as_they_stand() {
    let mut count = 0;
    for entry in std::fs::read_dir(root().join("files/ir")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let layer = parse::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let printed = print::print(&layer);
        if std::env::var_os("BLESS").is_some() {
            let comments: String = text.lines().filter(|l| l.starts_with('#')).map(|l| format!("{l}\n")).collect();
            std::fs::write(&path, comments + &printed).unwrap();
        } else {
            assert_eq!(printed, without_comments(&text), "{}", path.display());
        }
        // NaN differs from itself, so the layers are compared as they are shown.
        assert_eq!(format!("{:?}", parse::parse(&printed).unwrap()), format!("{layer:?}"));
        verify::verify(&layer).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        count += 1;
    }
    assert!(count >= 3);
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = parse::parse(&text);
    }

    #[test]
    fn damaged_files_do_not_panic(at in 0usize..4000, cut in 0usize..40, insert in "[-+*/%<>=()\\[\\],:^0-9a-z. ]{0,6}") {
        let text = std::fs::read_to_string(root().join("files/ir/everything.ir")).unwrap();
        let bytes: Vec<char> = text.chars().collect();
        let at = at.min(bytes.len());
        let end = (at + cut).min(bytes.len());
        let damaged: String = bytes[..at].iter().copied().chain(insert.chars()).chain(bytes[end..].iter().copied()).collect();
        if let Ok(layer) = parse::parse(&damaged)
            && verify::verify(&layer).is_ok()
        {
            let printed = print::print(&layer);
            let again = parse::parse(&printed).unwrap();
            prop_assert_eq!(format!("{:?}", again), format!("{:?}", layer));
        }
    }
}

#[test]
fn deep_texts_are_refused() {
    for (open, close) in [("(", ")"), ("-", ""), ("if true then ", " else 0"), ("not ", ""), ("sum[i.0 < D](", ")")] {
        let text = format!("layer t(D)\n %0 let y: int\n = {}1{}", open.repeat(100_000), close.repeat(100_000));
        assert!(parse::parse(&text).is_err(), "{open}");
    }
    let chain = format!("layer t\n %0 let y: int\n = 1{}", " + 1".repeat(100_000));
    assert!(parse::parse(&chain).unwrap_err().message.contains("too deep"));
    let extent = format!("layer t\n %0 let y: int[{}1]\n = 1", "(".repeat(100_000));
    assert!(parse::parse(&extent).is_err());
}

/// Each text breaks the invariant before it.
const BROKEN: &[(&str, &str)] = &[
    ("ids", "layer t(D, D)"),
    ("kinds", "layer t\n %0 unused delay d: real"),
    (
        "definitions",
        "layer t\n %0 input x: real\n %1 delay 0 d: real\n = x%0\n %2 let y: real\n = 1.0\n %1 let z: real\n = 1.0",
    ),
    ("versions", "layer t\n %0 state s: real next %1\n %1 next of %0 s: real\n = 1.0\n %2 next of %0 s: real\n = 2.0"),
    ("versions", "layer t\n %0 state s: real next %1\n %1 next of %0 s: int\n = 1"),
    ("results", "layer t\n %0 unused let y: real\n return y = %0"),
    ("binding", "layer t(D)\n %0 let y: int[D]\n [i.0 < D] = i.0\n %1 let z: int\n = i.0"),
    ("axes", "layer t(D)\n %0 let y: int[D]\n = 1"),
    ("axes", "layer t(D, N)\n %0 let y: int[D]\n [i.0 < N] = 1"),
    ("axes", "layer t(D)\n %0 input x: real[D]\n %1 let y: real\n = x%0"),
    ("order", "layer t\n %0 unused let x: real\n %1 let y: real\n = x%0"),
    ("order", "layer t\n %0 input x: real\n %1 let y: real\n = past(x%0, 1)"),
    ("order", "layer t\n %0 input k: int\n %1 delay 0 d: real\n = 1.0\n %2 let y: real\n = past(d%1, k%0)"),
    ("types", "layer t\n %0 let y: real\n = 1"),
    ("initialisers", "layer t\n %0 input x: real\n %1 param a: real\n = x%0"),
    ("initialisers", "layer t\n %0 let y: real\n = normal(0.0, 1.0)"),
    ("initialisers", "layer t\n %0 param a: bool\n = first"),
    ("reset", "layer t\n %0 input x: real\n reset %0"),
    ("reset", "layer t\n %0 state s: bool next %1\n %1 next of %0 s: bool\n = true\n reset %0"),
    ("delays", "layer t\n %0 state s: real next %1\n %1 next of %0 s: real\n = 1.0\n %2 delay 0 d: real\n = s%1"),
    (
        "directions",
        "layer t\n %0 state s: real next %2\n %1 reverse r: real next %3\n %2 next of %0 s: real\n = r%1\n %3 next of %1 r: real\n = s%0",
    ),
];

#[test]
fn every_invariant_is_checked() {
    for (invariant, text) in BROKEN {
        match parse::parse(text) {
            Ok(layer) => assert_eq!(verify::verify(&layer).unwrap_err().invariant, *invariant, "{text}"),
            Err(error) => assert_eq!(*invariant, "definitions", "{error}: {text}"),
        }
    }
}

#[test]
fn errors_name_the_line() {
    let error = parse::parse("layer t\n %0 input x: real\n\n %1 let y: real\n = x%0 +").unwrap_err();
    assert_eq!(error.to_string(), "line 5: expected an expression, found the end");
    let error = parse::parse("layer t\n %0 let y: real\n = 1 + 2.0\n return y = %0").unwrap_err();
    assert!(error.to_string().starts_with("line"), "{error}");
}

/// A tensor of a vector file, without its batch axis where that is asked for.
fn tensor(file: &SafeTensors, name: &str) -> Tensor<f64> {
    let view = file.tensor(name).unwrap();
    let elements = match view.dtype() {
        Dtype::F32 => view.data().chunks(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect(),
        Dtype::F64 => view.data().chunks(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
        other => panic!("{other:?}"),
    };
    Tensor { shape: view.shape().to_vec(), elements: Elements::Real(elements) }
}

fn reals(tensor: &Tensor<f64>) -> &[f64] {
    match &tensor.elements {
        Elements::Real(v) => v,
        other => panic!("{other:?}"),
    }
}

fn largest_error(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let scale = b.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    a.iter().zip(b).fold(0.0f64, |m, (x, y)| m.max((x - y).abs())) / scale
}

/// Runs a layer on a vector, at once and in two pieces.
fn check_vector(layer: &str, vector: &str) {
    let text = std::fs::read_to_string(root().join(format!("files/ir/{layer}.ir"))).unwrap();
    let layer = parse::parse(&text).unwrap();
    let bytes = std::fs::read(root().join(format!("vectors/{vector}.safetensors"))).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let params: Vec<_> = layer.params.iter().map(|p| tensor(&file, &format!("param.{}", p.key))).collect();
    let shapes: Vec<_> =
        layer.params.iter().zip(&params).map(|(p, t)| (p.value, t.shape.clone(), vector.to_owned())).collect();
    let mut shapes = shapes;
    let inputs: Vec<_> = layer.inputs.iter().map(|v| tensor(&file, &format!("in.{}", layer.value(*v).name))).collect();
    for (value, input) in layer.inputs.iter().zip(&inputs) {
        shapes.push((*value, input.shape[2..].to_vec(), vector.to_owned()));
    }
    let dims = solve_dims(&layer, &[], &shapes).unwrap();
    let (batch, length) = (inputs[0].shape[0], inputs[0].shape[1]);
    let instance = Instance::new(layer, dims).unwrap();
    let bound = bind::bind(&instance, params.into_iter().map(Some).collect(), 0).unwrap();
    let mut carry = interp::initial_carry(&instance, &bound, batch);
    carry.states[0] = tensor(&file, "state0.h");
    let flat = |t: &Tensor<f64>, rows: usize| Tensor {
        shape: [rows].into_iter().chain(t.shape[2..].iter().copied()).collect(),
        elements: t.elements.clone(),
    };
    let inputs: Vec<_> = inputs.iter().map(|t| flat(t, batch * length)).collect();
    let outputs = interp::run(&instance, &bound, &Sequences::batch(batch, length), &inputs, &mut carry);
    let error = largest_error(reals(&outputs[0]), reals(&tensor(&file, "out.y")));
    assert!(error < 1e-12, "{vector}: {error}");
    let error = largest_error(reals(&carry.states[0]), reals(&tensor(&file, "final.h")));
    assert!(error < 1e-12, "{vector}: {error}");
    assert_eq!(carry.steps, vec![length as u64; batch]);
}

#[test]
fn gru_is_that_of_torch() {
    check_vector("gru", "gru_L64_I8_H16");
}

#[test]
fn mamba_is_that_of_its_authors() {
    check_vector("mamba1", "mamba1_D16_N16_L128");
}

#[test]
fn hippo_matrices_are_those_of_s5() {
    let bytes = std::fs::read(root().join("vectors/s5_hippo_N8_N64.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let text = "layer t(N)\n %0 param A: real[N, N]\n [n.0 < N, k.1 < N] = hippo_legs(N, n.0, k.1)\n\
                %1 param L: complex[N]\n [n.2 < N] = hippo_n(N, n.2)\n return L = %1";
    for n in [8, 64] {
        let instance = Instance::new(parse::parse(text).unwrap(), vec![n]).unwrap();
        let bound = bind::bind::<f64>(&instance, vec![], 0).unwrap();
        let expected = tensor(&file, &format!("final.N{n}.A_legs"));
        assert!(largest_error(reals(&bound.params[0]), reals(&expected)) < 1e-15);
        let expected = tensor(&file, &format!("final.N{n}.Lambda"));
        let Elements::Complex { re, im } = &bound.params[1].elements else { panic!() };
        for (i, pair) in reals(&expected).chunks(2).enumerate() {
            assert!((re[i] - pair[0]).abs() < 1e-12 * 0.5 + 1e-11, "{} {}", re[i], pair[0]);
            let error = (im[i] - pair[1]).abs() / pair[1].abs();
            assert!(error < 1e-12, "N = {n}, {i}: {} {}: {error:e}", im[i], pair[1]);
        }
    }
}
