//! Random layers: everything that runs one agrees with the interpreter in `f64`.
//!
//! `EQUIVALENCE_PROGRAMS` says how many programs are tried, `EQUIVALENCE_SEED` the seed of the first. A failure
//! prints a program that can stand in `tests/files/kernel`: its first lines name the dimensions and the seed of the
//! data. All files there go through the same comparisons.
//!
//! In `f64` results agree to within 1e-10 of the largest element of their tensor. The bound in `f32` follows from the
//! number of operations of a step and the number of steps; layers that round, compare computed reals, or look for the
//! place of the largest one may take another way in `f32`, and are compared in `f64` only.

#[path = "kernels/data.rs"]
mod data;
#[path = "equivalence/generate.rs"]
mod generate;

use std::fmt::Write;

use data::{Data, rounded_all, rounded_carry, rows};
use generate::Program;
use ssmc::analysis::bounds;
use ssmc::diag::render::render;
use ssmc::ir::{BinaryOp, Expr, ExprKind, Function, Instance, Layer, ReduceOp, Scalar, Type, interp, parse};
use ssmc::jit::{self, Form, Kernel};
use ssmc::{sema, syntax};
use ssmc_runtime::{Bound, Carry, Elements, Float, Sequences, Tensor};

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// Where each sequence of the packed run starts: lengths 0, 1, 2, 3, 4, 5, 7, 8, 9 and 33.
const OFFSETS: [usize; 11] = [0, 0, 1, 3, 6, 10, 15, 22, 30, 39, 72];

fn quiet(_: u64) {}

/// What kind of arithmetic a layer does.
#[derive(Default)]
struct Profile {
    /// Whether it has steps in which a small error becomes a large one.
    rough: bool,
    complex: bool,
    /// About how many roundings a result may take in one step.
    roundings: f64,
}

impl Profile {
    fn of(instance: &Instance) -> Self {
        let mut profile = Profile::default();
        let layer = &instance.layer;
        profile.complex = layer.values.iter().any(|v| v.ty == Type::Complex);
        for equation in &layer.equations {
            profile.expr(instance, &equation.body, 1.0);
        }
        profile
    }

    fn expr(&mut self, instance: &Instance, e: &Expr, times: f64) {
        let (mut below, mut own) = (times, 0.0);
        match &e.kind {
            ExprKind::Call(f, args) => {
                self.rough |= args[0].ty == Scalar::Real && matches!(f, Function::Floor | Function::Sign);
                own = 4.0;
            }
            ExprKind::Binary(op, a, _) => {
                let real = matches!(a.ty, Scalar::Real | Scalar::Complex);
                let steps = op.is_comparison() || matches!(op, BinaryOp::FloorDiv | BinaryOp::Mod);
                self.rough |= real && steps;
                own = 1.0;
            }
            ExprKind::Reduce { op, indices, body } => {
                let place = matches!(op, ReduceOp::ArgMax | ReduceOp::ArgMin);
                self.rough |= place && body.ty == Scalar::Real;
                // The roundings of the elements of a sum add up like independent ones.
                let count: usize = indices.iter().map(|i| instance.extents[i.at()]).product();
                below *= (count as f64).sqrt();
                own = count as f64;
            }
            ExprKind::Normalise { index, .. } => own = 4.0 + instance.extents[index.at()] as f64,
            ExprKind::Powi(_, n) => own = f64::from(n.unsigned_abs()) + 1.0,
            _ => {}
        }
        self.complex |= e.ty == Scalar::Complex;
        self.roundings += own * times;
        for operand in e.operands() {
            self.expr(instance, operand, below);
        }
    }
}

/// Finds where results differ by more than a part of the largest element of their tensor.
fn compare<F: Float>(what: &str, got: &[Tensor<F>], expected: &[Tensor<f64>], bound: f64) -> Result<(), String> {
    if got.len() != expected.len() {
        return Err(format!("{what}: {} tensors, expected {}", got.len(), expected.len()));
    }
    for (n, (got, expected)) in got.iter().zip(expected).enumerate() {
        let planes = |got: &[F], expected: &[f64]| {
            let largest = expected.iter().filter(|x| x.is_finite()).fold(1.0_f64, |m, x| m.max(x.abs()));
            for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
                let got = got.to_f64();
                let same = got == *expected || (got.is_nan() && expected.is_nan());
                if !same && (got - expected).abs().partial_cmp(&(bound * largest)) != Some(std::cmp::Ordering::Less) {
                    return Err(format!("{what}, tensor {n}, element {at}: {got}, expected {expected}"));
                }
            }
            Ok(())
        };
        if got.shape != expected.shape {
            return Err(format!("{what}, tensor {n}: shape {:?}, expected {:?}", got.shape, expected.shape));
        }
        match (&got.elements, &expected.elements) {
            (Elements::Real(got), Elements::Real(expected)) => planes(got, expected)?,
            (Elements::Complex { re, im }, Elements::Complex { re: a, im: b }) => {
                planes(re, a)?;
                planes(im, b)?;
            }
            (Elements::Int(got), Elements::Int(expected)) if got == expected => {}
            (Elements::Bool(got), Elements::Bool(expected)) if got == expected => {}
            (got, expected) => return Err(format!("{what}, tensor {n}: {got:?}, expected {expected:?}")),
        }
    }
    Ok(())
}

/// The results of a run.
type Results<F> = (Vec<Tensor<F>>, Carry<F>);

fn agree<F: Float>(what: &str, got: &Results<F>, expected: &Results<f64>, bound: f64) -> Result<(), String> {
    compare(&format!("{what}: outputs"), &got.0, &expected.0, bound)?;
    compare(&format!("{what}: states"), &got.1.states, &expected.1.states, bound)?;
    compare(&format!("{what}: delays"), &got.1.delays, &expected.1.delays, bound)?;
    if got.1.steps == expected.1.steps { Ok(()) } else { Err(format!("{what}: another number of steps")) }
}

fn same<T: PartialEq>(what: &str, a: &T, b: &T) -> Result<(), String> {
    if a == b { Ok(()) } else { Err(format!("{what}: the results differ in their bits")) }
}

/// Bits, in which NaN equals itself.
fn bits<F: Float>(results: &Results<F>) -> String {
    format!("{results:?}")
}

struct Run<'a> {
    instance: &'a Instance,
    profile: Profile,
    seed: u64,
}

impl Run<'_> {
    fn turns(&self) -> bool {
        self.instance.layer.states.iter().any(|state| state.reverse)
    }

    fn interpreted(&self, data: &Data, sequences: &Sequences) -> Results<f64> {
        let mut carry = data.carry.clone();
        (interp::run(self.instance, &data.bound, sequences, &data.inputs, &mut carry), carry)
    }

    fn kernel<F: Float>(&self, form: Form) -> Result<Kernel<F>, String> {
        jit::compile(self.instance, form).map_err(|problems| format!("no kernel: {problems:?}"))
    }

    fn all(&self) -> Result<(), String> {
        self.width::<f64>(1e-10)?;
        let per_step = 8.0 * self.profile.roundings;
        self.width::<f32>(f64::from(f32::EPSILON) * (per_step + 2.0 * 33.0))?;
        if self.profile.complex { Ok(()) } else { self.special() }
    }

    fn width<F: Float + interp::Real>(&self, bound: f64) -> Result<(), String> {
        let mut kernels = vec![(Form::Sequence, self.kernel::<F>(Form::Sequence)?)];
        if !self.turns() {
            kernels.push((Form::Step, self.kernel(Form::Step)?));
        }
        let comparable = F::BITS == 64 || !self.profile.rough;
        let packed = Sequences::packed(OFFSETS.to_vec()).ok_or("the offsets do not ascend")?;
        for sequences in [packed, Sequences::batch(3, 4), Sequences::batch(1, 9)] {
            let data = Data::new(self.instance, &sequences, self.seed);
            let bound_tensors =
                Bound { params: rounded_all(&data.bound.params), initial: rounded_all(&data.bound.initial) };
            let inputs: Vec<Tensor<F>> = rounded_all(&data.inputs);
            let expected = self.interpreted(&data, &sequences);
            let width = format!("f{} of {} sequences", F::BITS, sequences.count());
            if F::BITS == 32 && comparable {
                let mut carry = rounded_carry(&data.carry);
                let outputs = interp::run(self.instance, &bound_tensors, &sequences, &inputs, &mut carry);
                agree(&format!("interpreter {width}"), &(outputs, carry), &expected, bound)?;
            }
            let run =
                |kernel: &Kernel<F>, sequences: &Sequences, inputs: &[Tensor<F>], carry: &mut Carry<F>, threads| {
                    kernel.run(&bound_tensors, sequences, inputs, carry, threads, &quiet).map_err(|e| e.to_string())
                };
            for (form, kernel) in &kernels {
                let mut whole: Vec<String> = Vec::new();
                for threads in [1, 2] {
                    let mut carry = rounded_carry(&data.carry);
                    let outputs = run(kernel, &sequences, &inputs, &mut carry, threads)?;
                    let got = (outputs, carry);
                    if comparable && threads == 1 {
                        agree(&format!("{form:?} kernel {width}"), &got, &expected, bound)?;
                    }
                    whole.push(bits(&got));
                }
                same(&format!("{form:?} threads, {width}"), &whole[0], &whole[1])?;
            }
            if sequences.count() == 1 && !self.turns() {
                for (form, kernel) in &kernels {
                    let mut carry = rounded_carry(&data.carry);
                    let mut outputs: Vec<Vec<Tensor<F>>> = Vec::new();
                    let cuts = [0..4, 4..4, 4..9];
                    for cut in &cuts {
                        let piece: Vec<Tensor<F>> = inputs.iter().map(|t| rows(t, cut.clone())).collect();
                        outputs.push(run(kernel, &Sequences::batch(1, cut.len()), &piece, &mut carry, 1)?);
                    }
                    let mut once = rounded_carry(&data.carry);
                    let full = run(kernel, &sequences, &inputs, &mut once, 1)?;
                    for (cut, piece) in cuts.iter().zip(&outputs) {
                        let part: Vec<Tensor<F>> = full.iter().map(|t| rows(t, cut.clone())).collect();
                        same(&format!("{form:?} in pieces"), &format!("{piece:?}"), &format!("{part:?}"))?;
                    }
                    same(&format!("{form:?} in pieces"), &format!("{carry:?}"), &format!("{once:?}"))?;
                }
                self.interpreted_in_pieces(&data, &expected)?;
            }
        }
        Ok(())
    }

    fn interpreted_in_pieces(&self, data: &Data, expected: &Results<f64>) -> Result<(), String> {
        let mut carry = data.carry.clone();
        for cut in [0..4, 4..9] {
            let piece: Vec<Tensor<f64>> = data.inputs.iter().map(|t| rows(t, cut.clone())).collect();
            let sequences = Sequences::batch(1, cut.len());
            let got = interp::run(self.instance, &data.bound, &sequences, &piece, &mut carry);
            let part: Vec<Tensor<f64>> = expected.0.iter().map(|t| rows(t, cut.clone())).collect();
            same("interpreter in pieces", &format!("{got:?}"), &format!("{part:?}"))?;
        }
        same("interpreter in pieces", &format!("{carry:?}"), &format!("{:?}", expected.1))
    }

    /// NaN and infinities pass as in the interpreter.
    fn special(&self) -> Result<(), String> {
        let sequences = Sequences::batch(1, 4);
        let kernel = self.kernel::<f64>(Form::Sequence)?;
        for special in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut data = Data::new(self.instance, &sequences, self.seed);
            for tensor in data.inputs.iter_mut().chain(&mut data.bound.params) {
                if let Elements::Real(v) = &mut tensor.elements
                    && !v.is_empty()
                {
                    let middle = v.len() / 2;
                    v[middle] = special;
                }
            }
            let expected = self.interpreted(&data, &sequences);
            let mut carry = data.carry.clone();
            let outputs = kernel.run(&data.bound, &sequences, &data.inputs, &mut carry, 1, &quiet);
            let got = (outputs.map_err(|e| e.to_string())?, carry);
            agree(&format!("with {special}"), &got, &expected, 1e-10)?;
        }
        Ok(())
    }
}

fn front_end(text: &str) -> Result<Layer, String> {
    let (file, mut diagnostics) = syntax::parse(text);
    let mut layers = Vec::new();
    if diagnostics.is_empty() {
        (layers, diagnostics) = sema::lower(&file);
    }
    if !diagnostics.is_empty() {
        return Err(diagnostics.iter().map(|d| render(d, "program", text)).collect());
    }
    layers.pop().ok_or_else(|| "there is no layer".to_owned())
}

fn instance_of(program: &Program) -> Result<Instance, String> {
    let layer = front_end(&program.text)?;
    let value = |name: &str| program.dims.iter().find(|(known, _)| known == name).map(|(_, n)| *n);
    let dims: Option<Vec<i64>> = layer.dims.iter().map(|dim| value(&dim.name)).collect();
    let dims = dims.ok_or("a dimension has no value")?;
    Instance::new(layer, dims)
        .map_err(|problems| problems.iter().map(|d| render(d, "program", &program.text)).collect())
}

fn check(program: &Program, seed: u64) -> Result<(), String> {
    let instance = instance_of(program)?;
    let profile = Profile::of(&instance);
    Run { instance: &instance, profile, seed }.all()
}

/// The program as a file for `tests/files/kernel`.
fn file(program: &Program, seed: u64) -> String {
    let dims: Vec<String> = program.dims.iter().map(|(name, n)| format!("{name}={n}")).collect();
    format!("# dims: {}\n# seed: {seed}\n{}", dims.join(" "), program.text)
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn random_layers_run_as_the_interpreter_says() {
    let count = from_environment("EQUIVALENCE_PROGRAMS", 150);
    let first = from_environment("EQUIVALENCE_SEED", 1);
    let most = from_environment("EQUIVALENCE_FAILURES", 1) as usize;
    let mut failures: Vec<String> = Vec::new();
    for seed in first..first + count {
        let program = generate::program(seed);
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
