//! One program, everything that runs it, and the interpreter.

#[allow(dead_code, reason = "other tests need more of it")]
#[path = "../kernels/data.rs"]
mod data;
#[path = "generate.rs"]
pub mod generate;

use data::{Data, rounded_all, rounded_carry, rows};
use generate::Program;
use ssmc::chunked::{self, Chunked};
use ssmc::diag::Code;
use ssmc::diag::render::render;
use ssmc::ir::{BinaryOp, Expr, ExprKind, Function, Instance, Layer, ReduceOp, Scalar, Type, interp};
use ssmc::jit::{self, Form, Isa, Kernel};
use ssmc::scan::{self, Options, Scan};
use ssmc::{sema, syntax};
use ssmc_runtime::{Bound, Carry, Elements, Float, Sequences, Tensor};

/// Where each sequence of the packed run starts: lengths 0, 1, 2, 3, 4, 5, 7, 8, 9, 33, 11, 12 and 13.
const OFFSETS: [usize; 14] = [0, 0, 1, 3, 6, 10, 15, 22, 30, 39, 72, 83, 95, 108];

/// The stretches of scans, and the stretches on their lanes: the lengths above are around both, and around their product.
const SCANS: [Options; 2] =
    [Options { stretch: Some(3), lanes: Some(0), isa: None }, Options { stretch: Some(3), lanes: Some(4), isa: None }];

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

/// The largest element that is finite, at least 1.
fn largest(tensors: &[Tensor<f64>]) -> f64 {
    let each = |t: &Tensor<f64>| match &t.elements {
        Elements::Real(v) => v.clone(),
        Elements::Complex { re, im } => [re.as_slice(), im].concat(),
        Elements::Int(_) | Elements::Bool(_) | Elements::Byte(_) => Vec::new(),
    };
    tensors.iter().flat_map(each).filter(|x| x.is_finite()).fold(1.0, |m: f64, x| m.max(x.abs()))
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

    fn kernel<F: Float>(&self, form: Form, isa: Isa) -> Result<Kernel<F>, String> {
        jit::compile_for(self.instance, form, isa).map_err(|problems| format!("no kernel: {problems:?}"))
    }

    /// Scans of the layer, where its verdict allows them.
    fn scans<F: Float + interp::Real>(&self) -> Result<Vec<(Options, Scan<F>)>, String> {
        let mut scans = Vec::new();
        for options in SCANS.into_iter().filter(|_| self.scanned_too()) {
            match scan::compile(self.instance, options) {
                Ok(scan) => scans.push((options, scan)),
                // The accesses of a summary are not always shown to stay inside.
                Err(problems) if problems[0].code == Code::S301 => {}
                Err(problems) => return Err(format!("no scan: {problems:?}")),
            }
        }
        Ok(scans)
    }

    /// Scans take many kernels: they are made for every other program.
    fn scanned_too(&self) -> bool {
        self.seed.is_multiple_of(2) && scan::refusal(&self.instance.layer).is_none()
    }

    /// A scan agrees with the interpreter, whole and in pieces, and threads change nothing.
    fn scanned<F: Float + interp::Real>(
        &self,
        scans: &[(Options, Scan<F>)],
        data: &Data,
        sequences: &Sequences,
        expected: &Results<f64>,
        bound: Option<f64>,
    ) -> Result<(), String> {
        let fixed = Bound { params: rounded_all(&data.bound.params), initial: rounded_all(&data.bound.initial) };
        let inputs: Vec<Tensor<F>> = rounded_all(&data.inputs);
        for (options, scan) in scans {
            let what = format!("{options:?} f{} of {} sequences", F::BITS, sequences.count());
            let run = |sequences: &Sequences, inputs: &[Tensor<F>], carry: &mut Carry<F>, threads| {
                scan.run(&fixed, sequences, inputs, carry, threads, &quiet).map_err(|e| e.to_string())
            };
            let mut carry = rounded_carry(&data.carry);
            let got = (run(sequences, &inputs, &mut carry, 1)?, carry);
            if let Some(bound) = bound {
                agree(&what, &got, expected, bound)?;
            }
            let mut carry = rounded_carry(&data.carry);
            let again = (run(sequences, &inputs, &mut carry, 2)?, carry);
            same(&format!("{what} on two threads"), &bits(&got), &bits(&again))?;
            if let Some(bound) = bound.filter(|_| sequences.count() == 1 && !self.turns()) {
                let steps = sequences.total();
                let mut carry = rounded_carry(&data.carry);
                for cut in [0..steps / 2, steps / 2..steps / 2, steps / 2..steps] {
                    let piece: Vec<Tensor<F>> = inputs.iter().map(|t| rows(t, cut.clone())).collect();
                    let outputs = run(&Sequences::batch(1, cut.len()), &piece, &mut carry, 1)?;
                    let part: Vec<Tensor<f64>> = expected.0.iter().map(|t| rows(t, cut.clone())).collect();
                    // A small piece of a large output has the rounding of the whole.
                    let scale = largest(&expected.0) / largest(&part);
                    compare(&format!("{what} in pieces"), &outputs, &part, bound * scale)?;
                }
                compare(&format!("{what} in pieces: states"), &carry.states, &expected.1.states, bound)?;
            }
        }
        Ok(())
    }

    /// The layer in blocks, where it allows them.
    fn blocks<F: Float>(&self) -> Result<Option<Chunked<F>>, String> {
        match chunked::compile(self.instance, Isa::widest()) {
            Ok(chunked) => Ok(Some(chunked)),
            Err(problems) if problems[0].code == Code::S301 => Ok(None),
            Err(problems) => Err(format!("no blocks: {problems:?}")),
        }
    }

    /// Blocks agree with the interpreter, and threads change nothing.
    fn blocked<F: Float>(
        &self,
        chunked: Option<&Chunked<F>>,
        data: &Data,
        sequences: &Sequences,
        expected: &Results<f64>,
        bound: Option<f64>,
    ) -> Result<(), String> {
        let Some(chunked) = chunked else { return Ok(()) };
        let fixed = Bound { params: rounded_all(&data.bound.params), initial: rounded_all(&data.bound.initial) };
        let inputs: Vec<Tensor<F>> = rounded_all(&data.inputs);
        let what = format!("blocks f{} of {} sequences", F::BITS, sequences.count());
        let run = |threads| {
            let mut carry = rounded_carry(&data.carry);
            let outputs = chunked.run(&fixed, sequences, &inputs, &mut carry, threads, &quiet);
            outputs.map(|outputs| (outputs, carry)).map_err(|e| e.to_string())
        };
        let got = run(1)?;
        if let Some(bound) = bound {
            agree(&what, &got, expected, bound)?;
        }
        same(&format!("{what} on two threads"), &bits(&got), &bits(&run(2)?))
    }

    /// A thousand steps, in order, as scans and in blocks.
    fn long<F: Float + interp::Real>(&self, bound: f64) -> Result<(), String> {
        let sequences = Sequences::batch(1, 1000);
        let data = Data::new(self.instance, &sequences, self.seed);
        let expected = self.interpreted(&data, &sequences);
        let comparable = F::BITS == 64 || !self.profile.rough;
        self.scanned::<F>(&self.scans()?, &data, &sequences, &expected, comparable.then_some(bound))?;
        self.blocked::<F>(self.blocks()?.as_ref(), &data, &sequences, &expected, comparable.then_some(bound))?;
        let fixed = Bound { params: rounded_all(&data.bound.params), initial: rounded_all(&data.bound.initial) };
        let inputs: Vec<Tensor<F>> = rounded_all(&data.inputs);
        let mut carry = rounded_carry(&data.carry);
        let kernel = self.kernel::<F>(Form::Sequence, Isa::widest())?;
        let outputs = kernel.run(&fixed, &sequences, &inputs, &mut carry, 1, &quiet).map_err(|e| e.to_string())?;
        if comparable { agree("1000 steps in order", &(outputs, carry), &expected, bound) } else { Ok(()) }
    }

    fn all(&self) -> Result<(), String> {
        self.width::<f64>(1e-10)?;
        if self.scanned_too() && self.seed.is_multiple_of(8) {
            self.long::<f64>(1e-10)?;
            self.long::<f32>(f64::from(f32::EPSILON) * (8.0 * self.profile.roundings + 2.0 * 1000.0))?;
        }
        let per_step = 8.0 * self.profile.roundings;
        self.width::<f32>(f64::from(f32::EPSILON) * (per_step + 2.0 * 33.0))?;
        if self.profile.complex { Ok(()) } else { self.special() }
    }

    fn width<F: Float + interp::Real>(&self, bound: f64) -> Result<(), String> {
        let mut kernels = Vec::new();
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_here()) {
            kernels.push((Form::Sequence, isa, self.kernel::<F>(Form::Sequence, isa)?));
            if !self.turns() {
                kernels.push((Form::Step, isa, self.kernel(Form::Step, isa)?));
            }
        }
        let (scans, blocks) = (self.scans::<F>()?, self.blocks::<F>()?);
        let comparable = F::BITS == 64 || !self.profile.rough;
        let packed = Sequences::packed(OFFSETS.to_vec()).ok_or("the offsets do not ascend")?;
        for sequences in [packed, Sequences::batch(3, 4), Sequences::batch(1, 9)] {
            let data = Data::new(self.instance, &sequences, self.seed);
            let bound_tensors =
                Bound { params: rounded_all(&data.bound.params), initial: rounded_all(&data.bound.initial) };
            let inputs: Vec<Tensor<F>> = rounded_all(&data.inputs);
            let expected = self.interpreted(&data, &sequences);
            let width = format!("f{} of {} sequences", F::BITS, sequences.count());
            self.scanned(&scans, &data, &sequences, &expected, comparable.then_some(bound))?;
            self.blocked(blocks.as_ref(), &data, &sequences, &expected, comparable.then_some(bound))?;
            if F::BITS == 32 && comparable {
                let mut carry = rounded_carry(&data.carry);
                let outputs = interp::run(self.instance, &bound_tensors, &sequences, &inputs, &mut carry);
                agree(&format!("interpreter {width}"), &(outputs, carry), &expected, bound)?;
            }
            let run =
                |kernel: &Kernel<F>, sequences: &Sequences, inputs: &[Tensor<F>], carry: &mut Carry<F>, threads| {
                    kernel.run(&bound_tensors, sequences, inputs, carry, threads, &quiet).map_err(|e| e.to_string())
                };
            // Forms and widths add in different orders; threads do not.
            for (form, isa, kernel) in &kernels {
                let mut whole: Vec<String> = Vec::new();
                for threads in [1, 2] {
                    let mut carry = rounded_carry(&data.carry);
                    let outputs = run(kernel, &sequences, &inputs, &mut carry, threads)?;
                    let got = (outputs, carry);
                    if comparable && threads == 1 {
                        agree(&format!("{form:?} kernel within {isa} {width}"), &got, &expected, bound)?;
                    }
                    whole.push(bits(&got));
                }
                same(&format!("{form:?} kernel within {isa}, threads, {width}"), &whole[0], &whole[1])?;
            }
            if sequences.count() == 1 && !self.turns() {
                for (form, isa, kernel) in &kernels {
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
                        same(&format!("{form:?} within {isa} in pieces"), &format!("{piece:?}"), &format!("{part:?}"))?;
                    }
                    same(&format!("{form:?} within {isa} in pieces"), &format!("{carry:?}"), &format!("{once:?}"))?;
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
        let kernel = self.kernel::<f64>(Form::Sequence, Isa::widest())?;
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

/// The layer of a program.
pub fn front_end(text: &str) -> Result<Layer, String> {
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

/// Runs a program in every way.
pub fn check(program: &Program, seed: u64) -> Result<(), String> {
    let instance = instance_of(program)?;
    let profile = Profile::of(&instance);
    Run { instance: &instance, profile, seed }.all()
}

/// The program as a file for `tests/files/kernel`.
pub fn file(program: &Program, seed: u64) -> String {
    let dims: Vec<String> = program.dims.iter().map(|(name, n)| format!("{name}={n}")).collect();
    format!("# dims: {}\n# seed: {seed}\n{}", dims.join(" "), program.text)
}
