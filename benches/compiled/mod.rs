//! The layers of `benches/programs/cases.ssm`, compiled for the cases of `ssmc-handwritten` and bound to their arrays.

use std::num::NonZeroUsize;

use ssmc::chunked::{self, Chunked};
use ssmc::ir::bind::bind;
use ssmc::ir::interp::{self, Real};
use ssmc::ir::{Instance, Layer, Type, ValueId};
use ssmc::jit::{self, Form, Isa, Kernel};
use ssmc::scan::{self, Plan, Scan};
use ssmc::{sema, syntax};
use ssmc_handwritten::cases::{Case, Values};
use ssmc_runtime::{Bound, Carry, Elements, Sequences, Session, Tensor};

/// Tensors begin with a line of the cache, as the arrays of the hand-written kernels do.
#[global_allocator]
static ALLOCATOR: ssmc_runtime::Lines = ssmc_runtime::Lines;

const PROGRAM: &str = include_str!("../programs/cases.ssm");

/// A compiled layer with all that a run takes.
pub trait Compiled {
    /// The plan that it runs.
    fn plan(&self) -> Plan;
    /// Runs it from the initial state; one step goes on from the state that is there.
    fn run(&mut self, threads: usize);
    /// The last `n` elements of each output of the last run, or all where there are fewer, and the states of a layer without
    /// outputs; of complex numbers the real parts first.
    fn output(&self, n: usize) -> Vec<f64>;
}

/// The plans of a case: all that its layer has, or those that are worth a measurement (in order, and for layers of one
/// channel the scan over time too).
///
/// # Errors
/// What the compiler says about the layer.
pub fn compile(case: &Case, all: bool) -> Result<Vec<Box<dyn Compiled>>, String> {
    if bits(case) == 64 { plans::<f64>(case, all) } else { plans::<f32>(case, all) }
}

/// The width of a case's reals.
pub fn bits(case: &Case) -> u32 {
    if case.arrays.iter().any(|array| matches!(array.values, Values::F64(_))) { 64 } else { 32 }
}

fn plans<F: Real>(case: &Case, all: bool) -> Result<Vec<Box<dyn Compiled>>, String> {
    let instance = instance(case)?;
    let wanted: &[Plan] = match case.steps {
        1 => &[Plan::Step],
        _ if all => &[Plan::Sequential, Plan::Parallel, Plan::Chunked],
        _ if instance.dims.is_empty() => &[Plan::Sequential, Plan::Parallel],
        _ => &[Plan::Sequential],
    };
    prepare(&instance, wanted, || Given::<F>::of(case, &instance))
}

/// Those of the plans that a layer has.
///
/// # Errors
/// What the compiler says about the layer, where it stands in the way of every plan.
pub fn prepare<F: Real>(
    instance: &Instance,
    wanted: &[Plan],
    given: impl Fn() -> Result<Given<F>, String>,
) -> Result<Vec<Box<dyn Compiled>>, String> {
    let mut found: Vec<Box<dyn Compiled>> = Vec::new();
    for (plan, refusal) in scan::plans_of(instance) {
        if refusal.is_some() || !wanted.contains(&plan) {
            continue;
        }
        let kernel = |form| jit::compile(instance, form).map_err(|problems| format!("{problems:?}"));
        let engine = match plan {
            Plan::Interp => continue,
            Plan::Step => {
                found.push(Box::new(Steps::new(kernel(Form::Step)?, given()?)?));
                continue;
            }
            Plan::Sequential => Engine::Kernel(Box::new(kernel(Form::Sequence)?)),
            // The kernels of summaries can be too large, and runs too short to be cut.
            Plan::Parallel => match scan::compile(instance, scan::Options::default()) {
                Ok(scan) => Engine::Scan(Box::new(scan)),
                Err(_) => continue,
            },
            Plan::Chunked => match chunked::compile(instance, Isa::widest()) {
                Ok(chunked) => Engine::Chunked(Box::new(chunked)),
                Err(_) => continue,
            },
        };
        let given = given()?;
        if let Engine::Scan(scan) = &engine
            && !scan.cuts(&given.sequences)
        {
            continue;
        }
        found.push(Box::new(Run::new(engine, given)));
    }
    Ok(found)
}

/// The case's layer with the case's dimensions.
///
/// # Errors
/// What the compiler says about the layer.
pub fn instance(case: &Case) -> Result<Instance, String> {
    let (file, diagnostics) = syntax::parse(PROGRAM);
    let (layers, more) = sema::lower(&file);
    if let Some(problem) = diagnostics.iter().chain(&more).next() {
        return Err(problem.message.clone());
    }
    let layer = layers.into_iter().find(|layer| layer.name == case.layer).ok_or("no such layer")?;
    let dim = |name: &str| case.dims.iter().find(|(of, _)| *of == name).map(|(_, n)| *n);
    let dims: Option<Vec<i64>> = layer.dims.iter().map(|d| dim(&d.name)).collect();
    Instance::new(layer, dims.ok_or("a dimension without a value")?).map_err(|problems| format!("{problems:?}"))
}

enum Engine<F: Real> {
    Kernel(Box<Kernel<F>>),
    Scan(Box<Scan<F>>),
    Chunked(Box<Chunked<F>>),
}

/// What a layer of a case takes, and room for what it returns.
pub struct Given<F: Real> {
    bound: Bound<F>,
    sequences: Sequences,
    inputs: Vec<Tensor<F>>,
    outputs: Vec<Tensor<F>>,
    start: Carry<F>,
}

impl<F: Real> Given<F> {
    fn of(case: &Case, instance: &Instance) -> Result<Self, String> {
        let layer = &instance.layer;
        let given = layer.params.iter().map(|p| tensor(case, instance, p.value, &[])).collect::<Result<Vec<_>, _>>()?;
        let bound =
            bind(instance, given.into_iter().map(Some).collect(), 0).map_err(|problems| format!("{problems:?}"))?;
        let total = [case.batch * case.steps];
        let inputs = layer.inputs.iter().map(|&v| tensor(case, instance, v, &total)).collect::<Result<Vec<_>, _>>()?;
        let start = interp::initial_carry(instance, &bound, case.batch);
        Ok(Self::new(instance, Sequences::batch(case.batch, case.steps), bound, inputs, start))
    }

    /// Inputs `[total, ..]` of these sequences and the carry to start from; outputs are made.
    pub fn new(
        instance: &Instance,
        sequences: Sequences,
        bound: Bound<F>,
        inputs: Vec<Tensor<F>>,
        start: Carry<F>,
    ) -> Self {
        let layer = &instance.layer;
        let outputs = layer.outputs.iter().map(|output| {
            let shape: Vec<usize> =
                [sequences.total()].iter().chain(&instance.axes[output.value.at()]).copied().collect();
            let n = shape.iter().product();
            let elements = match &layer.value(output.value).ty {
                Type::Real => Elements::Real(vec![F::from_f64(0.0); n]),
                Type::Complex => Elements::Complex { re: vec![F::from_f64(0.0); n], im: vec![F::from_f64(0.0); n] },
                Type::Bool => Elements::Bool(vec![0; n]),
                Type::Int | Type::Index(_) => Elements::Int(vec![0; n]),
            };
            Tensor { shape, elements }
        });
        let outputs = outputs.collect();
        Self { bound, sequences, inputs, outputs, start }
    }
}

struct Run<F: Real> {
    engine: Engine<F>,
    given: Given<F>,
    carry: Carry<F>,
}

impl<F: Real> Run<F> {
    fn new(engine: Engine<F>, given: Given<F>) -> Self {
        Self { engine, carry: given.start.clone(), given }
    }
}

/// A step kernel that goes on from the state that is there.
struct Steps<F: Real> {
    session: Session<'static, F>,
    inputs: Vec<Tensor<F>>,
    outputs: Vec<Tensor<F>>,
}

impl<F: Real> Steps<F> {
    /// The kernel and its parameters stay for as long as the program runs.
    fn new(kernel: Kernel<F>, given: Given<F>) -> Result<Self, String> {
        let Given { bound, inputs, outputs, start, .. } = given;
        let (kernel, bound) = (Box::leak(Box::new(kernel)), Box::leak(Box::new(bound)));
        let session = kernel.session(bound, start).map_err(|error| error.to_string())?;
        Ok(Self { session, inputs, outputs })
    }
}

/// The case's array of that name as the tensor that the layer takes.
fn tensor<F: Real>(case: &Case, instance: &Instance, value: ValueId, leading: &[usize]) -> Result<Tensor<F>, String> {
    let layer: &Layer = &instance.layer;
    let name = &layer.value(value).name;
    let array = case.arrays.iter().find(|a| a.name == name).ok_or_else(|| format!("no array for `{name}`"))?;
    let reals = |v: &[f32]| v.iter().map(|&x| F::from_f64(f64::from(x))).collect();
    let elements = match &array.values {
        Values::F32(v) => Elements::Real(reals(v)),
        Values::F64(v) => Elements::Real(v.iter().map(|&x| F::from_f64(x)).collect()),
        Values::Complex(re, im) => Elements::Complex { re: reals(re), im: reals(im) },
        Values::Bytes(v) if leading.is_empty() => Elements::Int(v.iter().map(|&x| i32::from(x)).collect()),
        Values::Bytes(v) => Elements::Byte(v.to_vec()),
    };
    let shape: Vec<usize> = leading.iter().chain(&instance.axes[value.at()]).copied().collect();
    Ok(Tensor { shape, elements })
}

impl<F: Real> Compiled for Run<F> {
    fn plan(&self) -> Plan {
        match self.engine {
            Engine::Kernel(_) => Plan::Sequential,
            Engine::Scan(_) => Plan::Parallel,
            Engine::Chunked(_) => Plan::Chunked,
        }
    }

    fn run(&mut self, threads: usize) {
        let Self { engine, given, carry } = self;
        let Given { bound, sequences, inputs, outputs, start } = given;
        carry.clone_from(start);
        let quiet = |_| {};
        let done = match engine {
            Engine::Kernel(kernel) => kernel.run_into(bound, sequences, inputs, outputs, carry, threads, &quiet),
            Engine::Scan(scan) => scan.run_into(bound, sequences, inputs, outputs, carry, threads, &quiet),
            Engine::Chunked(chunked) => chunked.run_into(bound, sequences, inputs, outputs, carry, threads, &quiet),
        };
        if let Err(error) = done {
            unreachable!("a case does not fit its layer: {error}");
        }
    }

    fn output(&self, n: usize) -> Vec<f64> {
        let outputs = &self.given.outputs;
        last(if outputs.is_empty() { &self.carry.states } else { outputs }, n)
    }
}

impl<F: Real> Compiled for Steps<F> {
    fn plan(&self) -> Plan {
        Plan::Step
    }

    fn run(&mut self, _threads: usize) {
        if let Err(error) = self.session.step(&self.inputs, &mut self.outputs) {
            unreachable!("a case does not fit its layer: {error}");
        }
    }

    fn output(&self, n: usize) -> Vec<f64> {
        last(&self.outputs, n)
    }
}

/// The last `n` elements of each tensor, or all where there are fewer.
fn last<F: Real>(outputs: &[Tensor<F>], n: usize) -> Vec<f64> {
    fn end<T>(all: &[T], n: usize) -> &[T] {
        &all[all.len().saturating_sub(n)..]
    }
    let mut all = Vec::new();
    for tensor in outputs {
        match &tensor.elements {
            Elements::Real(v) => all.extend(end(v, n).iter().map(|x| x.to_f64())),
            Elements::Complex { re, im } => all.extend(end(re, n).iter().chain(end(im, n)).map(|x| x.to_f64())),
            Elements::Int(v) => all.extend(end(v, n).iter().map(|&x| f64::from(x))),
            Elements::Bool(v) | Elements::Byte(v) => all.extend(end(v, n).iter().map(|&x| f64::from(x))),
        }
    }
    all
}

/// The largest difference of two results, relative to the largest value, or to `least` where that is larger; what is not
/// finite is the same or infinitely off.
pub fn difference(found: &[f64], want: &[f64], least: f64) -> f64 {
    let finite = want.iter().filter(|w| w.is_finite());
    let scale = finite.fold(least.max(f64::MIN_POSITIVE), |most, w| most.max(w.abs()));
    let errors = found.iter().zip(want).map(|(f, w)| match f == w || (f.is_nan() && w.is_nan()) {
        true => 0.0,
        false => (f - w).abs() / scale,
    });
    let worst = errors.fold(0.0_f64, |most, e| if e.is_nan() { f64::INFINITY } else { most.max(e) });
    if found.len() == want.len() { worst } else { f64::INFINITY }
}

/// The threads of the machine, at most two: what the cases are measured with.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(2)
}
