//! What is run: a layer with numbers, its parameters and its inputs, from files or seeded.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use ssmc::diag::{Code, Diagnostic};
use ssmc::ir::{self, Instance, Type, ValueId, bind, instance};
use ssmc_runtime::{Bound, Elements, Float, Tensor};

use crate::cli::args::BenchArgs;
use crate::cli::data::{Inputs, Params, Shapes};
use crate::cli::engine::Number;
use crate::cli::files::Files;
use crate::cli::layout::Layout;
use crate::cli::memory;
use crate::cli::program::given_dims;
use crate::cli::setup::both;

/// The value of dimensions that nothing gives one.
pub const DIM: i64 = 16;

/// The most steps of a run.
pub const MOST_STEPS: usize = 1 << 40;

/// What is run.
pub struct Workload<F> {
    /// The layer with numbers.
    pub instance: Instance,
    /// Its parameters and initial states.
    pub bound: Bound<F>,
    /// How the sequences lie.
    pub layout: Layout,
    /// Its inputs, `[total, ..]`.
    pub inputs: Vec<Tensor<F>>,
}

impl<F: Number> Workload<F> {
    /// Reads what files give, and draws the rest. What the user may not expect becomes a note.
    ///
    /// # Errors
    /// As for a run; what files are asked for, they must have.
    pub fn new(
        layer: &ir::Layer,
        args: &BenchArgs,
        batch: usize,
        seq: usize,
        notes: &mut Vec<Diagnostic>,
    ) -> Result<Self, Vec<Diagnostic>> {
        if batch.checked_mul(seq).is_none_or(|steps| steps > MOST_STEPS) {
            return Err(refused("the run has too many steps"));
        }
        let mut shapes = Shapes::new();
        let (mut param_files, mut input_files) =
            both(Files::open("--params", &args.params), Files::open("--input", &args.input))?;
        let params = match param_files.is_empty() {
            true => None,
            false => Some(Params::locate(layer, &args.prefix, &mut param_files, &[&input_files], &mut shapes)?),
        };
        let (located, layout) = match input_files.is_empty() {
            true => {
                let layout = if batch == 1 { Layout::Single { seq } } else { Layout::Batch { batch, seq } };
                (None, layout)
            }
            false => {
                let found = Inputs::locate(layer, &mut input_files, &[&param_files], None, None, &mut shapes)?;
                (Some(found.0), found.1)
            }
        };
        if layout.total() == 0 {
            return Err(refused("there is no step to run"));
        }
        let given = given_dims(layer, &args.dims);
        let (dims, chosen) = instance::solve_dims_or(layer, &given, &shapes, Some(DIM))?;
        if !chosen.is_empty() {
            let names = chosen.iter().map(|dim| format!("`{}`", layer.dims[dim.at()].name)).collect::<Vec<_>>();
            let message = format!("nothing gives {} a value: it is {DIM} here", names.join(", "));
            notes.push(note(layer, Code::S407, message).help("choose with --dim NAME=VALUE"));
        }
        let instance = Instance::new(layer.clone(), dims)?;
        memory::check::<F>(&instance, &layout)?;

        let mut tensors = match params {
            Some(params) => params.read(&instance, &mut param_files)?,
            None => vec![None; layer.params.len()],
        };
        let mut drawn = Vec::new();
        for (param, tensor) in layer.params.iter().zip(&mut tensors) {
            if tensor.is_none() && param.init.is_none() {
                *tensor = Some(draw(&instance, param.value, None, args.seed));
                drawn.push(format!("`{}`", layer.value(param.value).name));
            }
        }
        if !drawn.is_empty() {
            let what = if drawn.len() > 4 { format!("{} parameters", drawn.len()) } else { drawn.join(", ") };
            let message = format!("{what} without an initialiser: drawn from (0, 1)");
            notes.push(note(layer, Code::S403, message).help("give trained values with --params"));
        }
        let bound = bind::bind(&instance, tensors, args.seed)?;
        let inputs = match located {
            Some(located) => located.read(&instance, &layout, &mut input_files)?,
            None => {
                let total = layout.total();
                layer.inputs.iter().map(|&input| draw(&instance, input, Some(total), args.seed)).collect()
            }
        };
        Ok(Self { instance, bound, layout, inputs })
    }

    /// How many elements inputs and outputs have together.
    pub fn elements(&self) -> usize {
        let layer = &self.instance.layer;
        let values = layer.inputs.iter().copied().chain(layer.outputs.iter().map(|output| output.value));
        values.map(|value| self.instance.elements(value)).sum::<usize>().saturating_mul(self.layout.total())
    }
}

/// A workload of a size that is not run.
fn refused(message: &str) -> Vec<Diagnostic> {
    vec![Diagnostic::error_at(Code::S408, "ssmc bench", message)]
}

/// A note about a layer as it is measured.
pub fn note(layer: &ir::Layer, code: Code, message: String) -> Diagnostic {
    Diagnostic::error_at(code, format!("measuring `{}`", layer.name), message).into_note()
}

/// A tensor of random elements: reals uniform in (0, 1), complex numbers by their parts, indices and truth values
/// uniform. What is drawn depends on the seed, on the value, and on nothing else.
fn draw<F: Float>(instance: &Instance, value: ValueId, rows: Option<usize>, seed: u64) -> Tensor<F> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(u64::from(value.0) + 1);
    let shape: Vec<usize> = rows.into_iter().chain(instance.axes[value.at()].iter().copied()).collect();
    let count: usize = shape.iter().product();
    // Never 0, and below 1 in 32 bits, too.
    let mut unit = || ((random.next_u64() >> 41) as f64 + 0.5) / (1u64 << 23) as f64;
    let mut reals = || (0..count).map(|_| F::from_f64(unit())).collect::<Vec<F>>();
    let elements = match &instance.layer.value(value).ty {
        Type::Real => Elements::Real(reals()),
        Type::Complex => Elements::Complex { re: reals(), im: reals() },
        Type::Bool => Elements::Bool((0..count).map(|_| u8::from(unit() < 0.5)).collect()),
        Type::Index(extent) => {
            let below = instance.extent(extent).unwrap_or(1).max(1);
            Elements::Int((0..count).map(|_| ((unit() * below as f64) as i64).min(below - 1) as i32).collect())
        }
        Type::Int => Elements::Int(vec![0; count]),
    };
    Tensor { shape, elements }
}
