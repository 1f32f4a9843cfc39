//! The original authors' outputs against the interpreter and the compiled kernels.
//!
//! `tests/vectors/cases.txt` says which layer of the examples runs which file. Every case runs whole and cut into
//! pieces of 1 step, 7 steps and the rest, in both precisions, at the tolerances that the file gives.

#[path = "golden/archive.rs"]
mod archive;

use std::fs;

use archive::{Archive, Raw, flat, instance, piece};
use ssmc::chunked::{self, Chunked};
use ssmc::ir::interp::Real;
use ssmc::ir::{Instance, Layer, interp};
use ssmc::jit::{Form, Isa, Kernel, compile_for};
use ssmc::scan::{self, Scan};
use ssmc_runtime::{Carry, Elements, Sequences, Tensor};

struct Case {
    vector: String,
    example: String,
    layer: String,
    outputs: Vec<String>,
}

fn cases() -> Vec<Case> {
    let text = fs::read_to_string("tests/vectors/cases.txt").unwrap();
    let cases: Vec<Case> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            Case {
                vector: words.next().unwrap(),
                example: words.next().unwrap(),
                layer: words.next().unwrap(),
                outputs: words.map(|w| w.trim_matches([',', '(', ')']).to_owned()).collect(),
            }
        })
        .collect();
    assert!(cases.len() > 60, "cases.txt was not read");
    cases
}

fn layer(case: &Case) -> Layer {
    let source = fs::read_to_string(&case.example).unwrap();
    let (file, diagnostics) = ssmc::syntax::parse(&source);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let (layers, diagnostics) = ssmc::sema::lower(&file);
    assert!(diagnostics.is_empty(), "{}: {diagnostics:?}", case.example);
    layers.into_iter().find(|l| l.name == case.layer).expect("the layer is there")
}

/// How a case is run.
enum Runner<F> {
    Interpreter,
    Kernel(Box<Kernel<F>>),
    Scan(Box<Scan<F>>),
    Chunked(Box<Chunked<F>>),
}

#[derive(Clone, Copy, PartialEq)]
enum Plan {
    Interpreter,
    Sequence,
    Step,
    Parallel,
    Lanes,
    Chunked,
}

/// How many steps the stretches of parallel plans have: most vectors have several of them, and a shorter last one.
const STRETCH: usize = 7;

fn carry_with_states<F: Real>(instance: &Instance, archive: &Archive, carry: &mut Carry<F>, batch: usize) {
    for (state, tensor) in instance.layer.states.iter().zip(&mut carry.states) {
        let Some(raw) = archive.with_role("state0", &state.name) else {
            continue;
        };
        let value = instance.layer.value(state.value);
        let mut given: Tensor<F> = raw.tensor(&value.ty);
        let copies = if given.shape.len() == value.axes.len() { batch } else { 1 };
        let repeat = |v: &Vec<F>| v.repeat(copies);
        given.elements = match &given.elements {
            Elements::Real(v) => Elements::Real(repeat(v)),
            Elements::Complex { re, im } => Elements::Complex { re: repeat(re), im: repeat(im) },
            Elements::Int(v) => Elements::Int(v.repeat(copies)),
            Elements::Bool(v) => Elements::Bool(v.repeat(copies)),
            Elements::Byte(v) => Elements::Byte(v.repeat(copies)),
        };
        assert_eq!(tensor.elements.len(), given.elements.len(), "{}", state.name);
        tensor.elements = given.elements;
    }
}

/// The outputs of a whole run, `[batch, seq, ..]` flattened, and the final states.
fn run<F: Real>(
    runner: &Runner<F>,
    instance: &Instance,
    archive: &Archive,
    (batch, seq): (usize, usize),
    pieces: &[usize],
) -> (Vec<Vec<f64>>, Carry<F>) {
    let layer = &instance.layer;
    let given = layer
        .params
        .iter()
        .map(|p| archive.find("param", &p.key).map(|raw| raw.tensor(&layer.value(p.value).ty)))
        .collect();
    let bound = ssmc::ir::bind::bind::<F>(instance, given, 0).expect("the parameters fit");
    let inputs: Vec<Tensor<F>> = layer
        .inputs
        .iter()
        .map(|&input| {
            let value = layer.value(input);
            let mut tensor: Tensor<F> = archive.find("in", &value.name).unwrap().tensor(&value.ty);
            let own = tensor.shape.len() - value.axes.len();
            tensor.shape.splice(0..own, [batch * seq]);
            tensor
        })
        .collect();
    let mut carry = interp::initial_carry(instance, &bound, batch);
    carry_with_states(instance, archive, &mut carry, batch);
    // [output][sequence] -> elements
    let mut collected: Vec<Vec<Vec<f64>>> = vec![vec![Vec::new(); batch]; layer.outputs.len()];
    let mut start = 0;
    for &length in pieces {
        let range = start..(start + length).min(seq);
        start = range.end;
        let cut: Vec<Tensor<F>> = inputs.iter().map(|t| piece(t, batch, seq, range.clone())).collect();
        let sequences = Sequences::batch(batch, range.len());
        let outputs = match runner {
            Runner::Interpreter => interp::run(instance, &bound, &sequences, &cut, &mut carry),
            Runner::Kernel(kernel) => {
                kernel.run(&bound, &sequences, &cut, &mut carry, 1, &|_| {}).expect("the run is sound")
            }
            Runner::Scan(_) | Runner::Chunked(_) => {
                let run = |carry: &mut Carry<F>, threads| match runner {
                    Runner::Scan(scan) => scan.run(&bound, &sequences, &cut, carry, threads, &|_| {}),
                    Runner::Chunked(chunked) => chunked.run(&bound, &sequences, &cut, carry, threads, &|_| {}),
                    _ => unreachable!("others ran above"),
                };
                let mut other = carry.clone();
                let outputs = run(&mut carry, 1).expect("the run is sound");
                let again = run(&mut other, 2).expect("the run is sound");
                let bits = |results| format!("{results:?}");
                assert_eq!(bits((&outputs, &carry)), bits((&again, &other)), "threads change the result");
                outputs
            }
        };
        for (all, output) in collected.iter_mut().zip(&outputs) {
            let values = flat(output);
            let share = values.len() / batch;
            for (sequence, all) in all.iter_mut().enumerate() {
                all.extend(&values[sequence * share..(sequence + 1) * share]);
            }
        }
    }
    assert_eq!(start, seq);
    (collected.into_iter().map(|sequences| sequences.concat()).collect(), carry)
}

/// The largest error over the largest expected value; infinite where NaNs do not match.
fn error(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len(), "as many elements as expected");
    let mut largest = 0.0f64;
    let mut scale = 0.0f64;
    for (&a, &b) in found.iter().zip(expected) {
        if a.is_nan() != b.is_nan() {
            return f64::INFINITY;
        }
        if !b.is_nan() && a != b {
            largest = largest.max((a - b).abs());
        }
        if b.is_finite() {
            scale = scale.max(b.abs());
        }
    }
    if largest == 0.0 { 0.0 } else { largest / scale }
}

/// The rows of an output that the reference kept.
fn kept(found: &[f64], batch: usize, seq: usize, expected: &Raw, steps: Option<&Raw>) -> Vec<f64> {
    let row = found.len() / (batch * seq);
    let rows: Vec<usize> = match steps {
        Some(steps) => steps.values.iter().map(|&t| t as usize).collect(),
        None if expected.values.len() == found.len() => (0..seq).collect(),
        None => vec![seq - 1],
    };
    (0..batch)
        .flat_map(|s| rows.iter().map(move |t| (s * seq + t) * row))
        .flat_map(|at| found[at..at + row].iter().copied())
        .collect()
}

fn check<F: Real>(plan: Plan, cut: bool) {
    // The interpreter has no instructions to stay within.
    for isa in Isa::ALL.into_iter().filter(|&isa| isa.is_here() && (plan != Plan::Interpreter || isa == Isa::Narrow)) {
        check_within::<F>(plan, cut, isa);
    }
}

fn check_within<F: Real>(plan: Plan, cut: bool, isa: Isa) {
    let mut failed = Vec::new();
    let mut compared = 0;
    for case in cases() {
        let archive = Archive::read(&case.vector);
        let layer = layer(&case);
        let reverse = layer.states.iter().any(|s| s.reverse);
        if reverse && (cut || plan == Plan::Step) {
            continue; // reverse states enter beyond the last step: no pieces, no step kernel
        }
        let (instance, batch, seq) = instance(&layer, &archive);
        let runner = match plan {
            Plan::Interpreter => Runner::Interpreter,
            Plan::Sequence => Runner::Kernel(Box::new(compile_for(&instance, Form::Sequence, isa).unwrap())),
            Plan::Step => Runner::Kernel(Box::new(compile_for(&instance, Form::Step, isa).unwrap())),
            Plan::Chunked => {
                if chunked::refusal(&layer).is_some() {
                    continue;
                }
                Runner::Chunked(Box::new(chunked::compile(&instance, isa).unwrap()))
            }
            Plan::Parallel | Plan::Lanes => {
                if scan::refusal(&layer).is_some() {
                    continue;
                }
                let lanes = if plan == Plan::Lanes { 8 } else { 0 };
                let options = scan::Options { stretch: Some(STRETCH), lanes: Some(lanes), isa: Some(isa) };
                Runner::Scan(Box::new(scan::compile(&instance, options).unwrap()))
            }
        };
        let pieces = if cut { vec![1, 7, seq - 8] } else { vec![seq] };
        let (outputs, carry) = run::<F>(&runner, &instance, &archive, (batch, seq), &pieces);
        let tolerance = if F::BITS == 32 { archive.tolerance_f32 } else { archive.tolerance_f64 };
        let mut judge = |what: String, found: &[f64], expected: &[f64]| {
            compared += 1;
            let error = error(found, expected);
            if error.is_nan() || error > tolerance {
                failed.push(format!("{} {} {what}: {error:.2e} > {tolerance:.0e}", case.vector, case.layer));
            }
        };
        for (output, found) in instance.layer.outputs.iter().zip(&outputs) {
            if !case.outputs.is_empty() && !case.outputs.contains(&output.name) {
                continue;
            }
            if let Some(expected) = archive.with_role("out", &output.name) {
                let steps = archive.with_role("idx", &output.name);
                let found = kept(found, batch, seq, expected, steps);
                judge(format!("out.{}", output.name), &found, &expected.values);
            }
        }
        for (state, found) in instance.layer.states.iter().zip(&carry.states) {
            if let Some(expected) = archive.with_role("final", &state.name) {
                judge(format!("final.{}", state.name), &flat(found), &expected.values);
            }
        }
    }
    let least = if plan == Plan::Chunked { 20 } else { 80 };
    assert!(compared > least, "only {compared} tensors were compared");
    assert!(failed.is_empty(), "{isa}: {} of {compared} tensors:\n{}", failed.len(), failed.join("\n"));
}

macro_rules! tests {
    ($($name:ident: $float:ty, $plan:ident, $cut:literal;)*) => {$(
        #[test]
        fn $name() {
            check::<$float>(Plan::$plan, $cut);
        }
    )*};
}

tests! {
    interpreter_f64: f64, Interpreter, false;
    interpreter_f32: f32, Interpreter, false;
    interpreter_f64_in_pieces: f64, Interpreter, true;
    interpreter_f32_in_pieces: f32, Interpreter, true;
    sequence_f64: f64, Sequence, false;
    sequence_f32: f32, Sequence, false;
    sequence_f64_in_pieces: f64, Sequence, true;
    sequence_f32_in_pieces: f32, Sequence, true;
    step_f64: f64, Step, false;
    step_f32: f32, Step, false;
    step_f64_in_pieces: f64, Step, true;
    step_f32_in_pieces: f32, Step, true;
    parallel_f64: f64, Parallel, false;
    parallel_f32: f32, Parallel, false;
    parallel_f64_in_pieces: f64, Parallel, true;
    parallel_f32_in_pieces: f32, Parallel, true;
    lanes_f64: f64, Lanes, false;
    lanes_f32: f32, Lanes, false;
    lanes_f64_in_pieces: f64, Lanes, true;
    lanes_f32_in_pieces: f32, Lanes, true;
    chunked_f64: f64, Chunked, false;
    chunked_f32: f32, Chunked, false;
    chunked_f64_in_pieces: f64, Chunked, true;
    chunked_f32_in_pieces: f32, Chunked, true;
}

/// The eigenvalues of HiPPO-N and the HiPPO-LegS matrix against the S5 authors' own.
#[test]
fn hippo() {
    let archive = Archive::read("s5_hippo_N8_N64");
    let source = "layer hippo(N) {
        param legs[n in N, k in N] = hippo_legs(N)[n, k]
        param lambda[n in N]: complex = hippo_n(N)[n]
        input x
        output y = x
    }";
    let (layers, diagnostics) = ssmc::sema::lower(&ssmc::syntax::parse(source).0);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    for n in [8, 64] {
        let instance = Instance::new(layers[0].clone(), vec![n]).unwrap();
        let bound = ssmc::ir::bind::bind::<f64>(&instance, vec![None, None], 0).unwrap();
        for (tensor, name) in bound.params.iter().zip(["A_legs", "Lambda"]) {
            let expected = archive.with_role("final", &format!("N{n}.{name}")).unwrap();
            let error = error(&flat(tensor), &expected.values);
            assert!(error <= archive.tolerance_f64, "N{n}.{name}: {error:.2e}");
        }
    }
}
