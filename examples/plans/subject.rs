//! What is measured: a layer with numbers, all its plans, and what they have to compute.
//!
//! A case is compared with its plain loop, within its tolerance. A random layer's plans are compared with the one that runs
//! in order, on all steps, and that one with the interpreter, on the first steps (on all where a state runs backwards).
//! Layers that round or compare may take another way in `f32`: where results differ there, the layer is compared,
//! and timed, in `f64`.

#[allow(dead_code, reason = "tests need more of it")]
#[path = "../../tests/kernels/data.rs"]
mod data;
#[path = "../../tests/equivalence/generate.rs"]
mod generate;

use data::{Data, rounded_all, rounded_carry, rows};
use ssmc::ir::interp::{self, Real};
use ssmc::ir::{Instance, Layer};
use ssmc::jit::Isa;
use ssmc::profile::Profile;
use ssmc::scan::{self, Extents, Plan};
use ssmc::{sema, syntax};
use ssmc_handwritten::{Isa as Written, cases};
use ssmc_runtime::{Bound, Elements, Sequences, Tensor};

use crate::compiled::{self, Compiled, Given};

/// The steps on which the interpreter judges.
const JUDGED: usize = 100;

/// What random layers compute of numbers about as large: what is left where these cancel is rounding.
const LEAST: f64 = 1.0;

/// The most bytes of the tensors of a random layer's run, about.
const MOST: usize = 64 << 20;

/// What is measured.
pub struct Subject {
    pub name: String,
    pub shape: String,
    pub instance: Instance,
    /// For one thread.
    pub extents: Extents,
    pub plans: Vec<Box<dyn Compiled>>,
    /// What the last elements of the outputs have to be, how many of each output, and how far they may be off.
    pub want: Vec<f64>,
    pub last: usize,
    pub tolerance: f64,
    /// The number to which they may be off so far, where all are smaller.
    pub least: f64,
}

/// A case of the hand-written kernels.
pub fn of_case(name: &str) -> Result<Subject, String> {
    let mut case = cases::case(name).ok_or("no such case")?;
    case.run(Written::Plain, 1);
    let want = case.output();
    let extents = Extents { sequences: case.batch, longest: case.steps, threads: 1, bits: compiled::bits(&case) };
    Ok(Subject {
        name: name.to_owned(),
        shape: case.shape(),
        instance: compiled::instance(&case)?,
        extents,
        plans: compiled::compile(&case, true)?,
        last: want.len(),
        want,
        tolerance: case.tolerance,
        least: 0.0,
    })
}

/// The random layer of a seed.
pub fn random(seed: u64) -> Result<Subject, String> {
    let program = generate::program(seed);
    let instance = instance(&program)?;
    let mut rng = generate::Rng(seed);
    let batch = [1, 1, 1, 2, 5][rng.below(5)];
    // From a fifth of a millisecond to three.
    let seconds = 2e-4 * 15_f64.powf(rng.below(1000) as f64 / 1000.0);
    let steps = steps(&instance, batch, seconds).map_err(|problem| format!("random {seed}: {problem}"))?;
    match subject::<f32>(&instance, batch, steps, seed, 1e-3) {
        Err(_) => subject::<f64>(&instance, batch, steps, seed, 1e-9),
        found => found,
    }
    .map_err(|problem| format!("random {seed}: {problem}"))
    .map(|found| Subject { name: format!("random {seed}"), ..found })
}

/// How many steps take so many seconds in order, as predicted for a processor that stands for all.
fn steps(instance: &Instance, batch: usize, seconds: f64) -> Result<usize, String> {
    let probe = 1000;
    let extents = Extents { sequences: batch, longest: probe, threads: 1, bits: 32 };
    let priced = scan::price(Plan::Sequential, instance, extents, Isa::widest(), &Profile::reference());
    let priced = priced.map_err(|problems| format!("{problems:?}"))?;
    let layer = &instance.layer;
    let values = layer.inputs.iter().copied().chain(layer.outputs.iter().map(|output| output.value));
    let row: usize = values.map(|value| instance.elements(value)).sum();
    let most = MOST / (8 * batch * row.max(1));
    Ok(((probe as f64 * seconds / priced.prediction.seconds()) as usize).min(most).max(2))
}

fn instance(program: &generate::Program) -> Result<Instance, String> {
    let (file, diagnostics) = syntax::parse(&program.text);
    let (mut layers, more) = sema::lower(&file);
    if let Some(problem) = diagnostics.iter().chain(&more).next() {
        return Err(problem.message.clone());
    }
    let layer: Layer = layers.pop().ok_or("there is no layer")?;
    let value = |name: &str| program.dims.iter().find(|(known, _)| known == name).map(|(_, n)| *n);
    let dims: Option<Vec<i64>> = layer.dims.iter().map(|dim| value(&dim.name)).collect();
    Instance::new(layer, dims.ok_or("a dimension without a value")?).map_err(|problems| format!("{problems:?}"))
}

fn subject<F: Real>(
    instance: &Instance,
    batch: usize,
    steps: usize,
    seed: u64,
    tolerance: f64,
) -> Result<Subject, String> {
    let sequences = Sequences::batch(batch, steps);
    let data = Data::new(instance, &sequences, seed);
    let bound = Bound { params: rounded_all::<F>(&data.bound.params), initial: rounded_all(&data.bound.initial) };
    let inputs: Vec<Tensor<F>> = rounded_all(&data.inputs);
    let given =
        || Ok(Given::new(instance, sequences.clone(), bound.clone(), inputs.clone(), rounded_carry(&data.carry)));
    let mut plans = compiled::prepare(instance, &[Plan::Sequential, Plan::Parallel, Plan::Chunked], given)?;
    let in_order = plans.iter_mut().find(|plan| plan.plan() == Plan::Sequential).ok_or("it does not run in order")?;
    in_order.run(1);
    let want = in_order.output(usize::MAX);

    let turns = instance.layer.states.iter().any(|state| state.reverse);
    let judged = if turns { steps } else { steps.min(JUDGED) };
    // Of the first sequence.
    let first: Vec<Tensor<F>> = inputs.iter().map(|tensor| rows(tensor, 0..judged)).collect();
    let mut carry = interp::initial_carry(instance, &bound, 1);
    let expected = interp::run(instance, &bound, &Sequences::batch(1, judged), &first, &mut carry);
    let mut at = 0;
    for plane in expected.iter().flat_map(planes) {
        let error = compiled::difference(&want[at..at + plane.len()], &plane, LEAST);
        if error > tolerance {
            return Err(format!("in order: off by {error:.1e}"));
        }
        at += plane.len() / judged * batch * steps;
    }
    for plan in &mut plans {
        plan.run(1);
        let error = compiled::difference(&plan.output(usize::MAX), &want, LEAST);
        if error > tolerance {
            return Err(format!("{}: off by {error:.1e}", plan.plan().name()));
        }
    }
    let dims: Vec<String> =
        instance.layer.dims.iter().zip(&instance.dims).map(|(dim, n)| format!("{}={n} ", dim.name)).collect();
    let of = if batch > 1 { format!("B={batch} ") } else { String::new() };
    Ok(Subject {
        name: String::new(),
        shape: format!("{of}{}L={steps} f{}", dims.concat(), F::BITS),
        instance: instance.clone(),
        extents: Extents { sequences: batch, longest: steps, threads: 1, bits: F::BITS },
        plans,
        want,
        last: usize::MAX,
        tolerance,
        least: LEAST,
    })
}

/// The numbers of a tensor, real parts apart from imaginary ones.
fn planes<F: Real>(tensor: &Tensor<F>) -> Vec<Vec<f64>> {
    let reals = |v: &[F]| v.iter().map(|x| x.to_f64()).collect();
    match &tensor.elements {
        Elements::Real(v) => vec![reals(v)],
        Elements::Complex { re, im } => vec![reals(re), reals(im)],
        Elements::Int(v) => vec![v.iter().map(|&x| f64::from(x)).collect()],
        Elements::Bool(v) | Elements::Byte(v) => vec![v.iter().map(|&x| f64::from(x)).collect()],
    }
}
