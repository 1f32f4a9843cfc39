//! The interpreter: it defines what a layer means.
//!
//! In: an [`Instance`], what [`super::bind`] made of its parameters, the inputs, and the [`Carry`] of what ran
//! before. Out: the outputs, and the carry for what follows. One element is computed at a time, in `f32` or `f64`;
//! an operator of one step is never fused with another, and never reordered.
//!
//! # One step
//! If the layer has a reset: its value is computed with the delays as they were carried, and `first` is
//! true where no step was taken before. Where it holds, states and delays take their initial values, and `first`
//! is true for all that follows. Then all equations are evaluated in their order; then each state takes the value
//! of its last version, and each delay its value of this step. A delay's row `j` is its value of `j + 1` steps ago,
//! 0 (false) before the start.
//!
//! `first` is true where the sequence has taken no step before, counted over all pieces of it, and where a reset
//! holds.
//!
//! # Reverse states
//! The layer runs in the passes that [`passes`] finds. A reverse state enters beyond the last step of
//! each sequence and leaves before the first. A reset at step t parts t-1 from t: what leaves step t towards t-1 is
//! the initial value.
//!
//! # Numbers
//! - Integers have 64 bits, and 32 where they are stored; an [`Instance`] never leaves these. Division by zero, which
//!   [`crate::sema`] excludes, gives 0.
//! - On reals `//` is `floor(a / b)`, and `%` the exact remainder with the sign of the divisor (0 included).
//! - Every other function is that of its name, computed in `f64` and rounded once: `sigmoid`, `silu` (`x * sigmoid(x)`),
//!   `softplus` (without overflow and cancellation), `gelu` (`x * erfc(-x / sqrt 2) / 2`), `rsqrt`. `silu` and `gelu` of minus infinity
//!   are their limit, 0. `sign` of 0 is 0, of NaN NaN. `relu` keeps NaN.
//! - `max`, `min`, `clamp` (`min(max(x, lo), hi)`) and their reductions give NaN where an operand is NaN. Which of two
//!   zeros of different sign they give is not defined.
//! - A comparison with NaN is false, but for `!=`.
//! - `e ^ n` squares repeatedly and multiplies what the bits of `n` ask for, lowest first (`x ^ 2` is `x * x`); for a
//!   negative `n` it is the reciprocal of that.
//! - Complex products are `(ac - bd) + (ad + bc)i`; quotients are Smith's, in `f64`; `exp log sqrt sin cos pow arg` are
//!   the principal branches. `0 ^ 0` is 1, 0 to a power with a positive real part is 0.
//! - `or` and `and` evaluate their right operand only where it matters; of an `if` only the chosen branch is
//!   evaluated.
//!
//! # Reductions
//! They fold in ascending order of the indices, the last one fastest: sums from 0, products from 1, `max` from minus
//! infinity, `min` from infinity (`false` and `true` on truth values). `mean` is the sum over the count. `logsumexp`
//! is `m + log(sum(exp(e - m)))` for the largest element `m` where that is finite, else `m`. `argmax` and
//! `argmin_index` give the row-major place of the first of equals; NaN beats all numbers. A layer or root-mean-square
//! normalisation divides by `sqrt(mean + eps)`; `softmax` is `exp(e - m) / sum(exp(e - m))`.
//!
//! # Random numbers
//! ChaCha with 8 rounds, its key from the seed by `seed_from_u64` of `rand_core` 0.9, its stream the 64-bit FNV-1a hash
//! of the parameter's (or state's) name. A uniform number in `[0, 1)` is the upper 53 bits of one 64-bit word; a normal one
//! takes two of them: `sqrt(-2 log(1 - u)) cos(2 pi v)`. Elements are drawn in row-major order; of a complex element
//! the real part, then the imaginary part.

mod draw;
mod elements;
mod eval;
mod lower;
pub mod math;
mod node;
mod sequence;
mod solve;

use ssmc_runtime::{Bound, Carry, Elements, Event, Sequences, Tensor};

use super::{Expr, ExprKind, Init, Instance, Layer, Report, ValueId, ValueKind};
use crate::analysis::passes::{Pass, passes};
use crate::diag::Span;
pub(super) use elements::zeros;
use elements::{convert, copy};
use eval::Env;
use lower::Lowering;
pub use math::Real;
use node::Program;
use sequence::Run;

/// What stands before the first step of `count` sequences.
pub fn initial_carry<F: Real>(instance: &Instance, bound: &Bound<F>, count: usize) -> Carry<F> {
    let layer = &instance.layer;
    let mut states = Vec::new();
    for (state, initial) in layer.states.iter().zip(&bound.initial) {
        let size = instance.elements(state.value);
        let mut elements = zeros(&layer.value(state.value).ty, count * size);
        for sequence in 0..count {
            copy(&mut elements, sequence * size, &initial.elements, 0..size);
        }
        let shape = [count].into_iter().chain(instance.axes[state.value.at()].iter().copied()).collect();
        states.push(Tensor { shape, elements });
    }
    let mut delays = Vec::new();
    for (&delay, &depth) in layer.delays.iter().zip(&instance.depths) {
        let elements = zeros(&layer.value(delay).ty, count * depth * instance.elements(delay));
        let shape = [count, depth].into_iter().chain(instance.axes[delay.at()].iter().copied()).collect();
        delays.push(Tensor { shape, elements });
    }
    Carry { steps: vec![0; count], states, delays }
}

/// Runs sequences, and gives the outputs in the layer's order.
///
/// `carry` is what came before each sequence; afterwards it is what stands behind it.
///
/// # Shapes
/// inputs and outputs: `[total, ..]`, the inputs in the layer's order; carry: as of [`initial_carry`]
///
/// # Panics
/// If the layer does not verify, if a tensor has another shape or type than the layer says, or if an element of an
/// index type is out of range: whoever reads tensors checks them.
pub fn run<F: Real>(
    instance: &Instance,
    bound: &Bound<F>,
    sequences: &Sequences,
    inputs: &[Tensor<F>],
    carry: &mut Carry<F>,
) -> Vec<Tensor<F>> {
    run_reporting(instance, bound, sequences, inputs, carry).0
}

/// The same as [`run`], with what is to be said about the data: of each thing where it happened first.
///
/// # Panics
/// As [`run`] does.
pub fn run_reporting<F: Real>(
    instance: &Instance,
    bound: &Bound<F>,
    sequences: &Sequences,
    inputs: &[Tensor<F>],
    carry: &mut Carry<F>,
) -> (Vec<Tensor<F>>, Vec<Report>) {
    let layer = &instance.layer;
    let total = sequences.total();
    check_run(instance, bound, sequences, inputs, carry);
    let passes = passes(layer).unwrap_or_else(|conflict| {
        panic!("the interpreter was given a layer with states that run against each other: {conflict:?}")
    });
    let programs = Programs::of(instance, &passes);
    let mut env = environment(instance, &programs.tables);
    for (param, tensor) in layer.params.iter().zip(&bound.params) {
        env.values[param.value.at()] = tensor.elements.clone();
    }
    env.events = vec![None; programs.reports.len()];
    env.step = carry.steps.first().copied().unwrap_or(0);
    for (equation, program) in programs.fixed.iter().enumerate() {
        let Some(program) = program.as_ref().filter(|_| total > 0) else { continue };
        env.define(program);
        env.check(programs.checks[equation], layer.equations[equation].value);
    }
    let mut recorded = vec![None; layer.values.len()];
    for &value in programs.recorded.iter().flatten() {
        recorded[value.at()] = Some(zeros(&layer.value(value).ty, total * instance.elements(value)));
    }
    let mut run = Run {
        instance,
        bound,
        sequences,
        inputs,
        passes: &passes,
        programs: &programs,
        env,
        recorded,
        resets: vec![false; total],
        delays_before: carry.delays.clone(),
    };
    for pass in 0..passes.len() {
        for sequence in 0..sequences.count() {
            run.pass(pass, sequence, carry);
        }
    }
    let (recorded, events) = (run.recorded, run.env.events);
    for (sequence, steps) in carry.steps.iter_mut().enumerate() {
        *steps += sequences.range(sequence).len() as u64;
    }
    let outputs: Vec<Tensor<F>> = layer
        .outputs
        .iter()
        .map(|output| {
            let shape = [total].into_iter().chain(instance.axes[output.value.at()].iter().copied()).collect();
            let elements = recorded[output.value.at()].clone().expect("outputs are recorded");
            Tensor { shape, elements }
        })
        .collect();
    (outputs, said(programs.reports, events))
}

/// What happened, in words.
fn said(reports: Vec<(Span, String)>, events: Vec<Option<Event>>) -> Vec<Report> {
    let happened = reports.into_iter().zip(events);
    happened.filter_map(|((span, message), event)| Some(Report { span, message, event: event? })).collect()
}

fn check_run<F: Real>(
    instance: &Instance,
    bound: &Bound<F>,
    sequences: &Sequences,
    inputs: &[Tensor<F>],
    carry: &Carry<F>,
) {
    let layer = &instance.layer;
    let check = |what: &str, value: ValueId, before: &[usize], tensor: &Tensor<F>| {
        let expected: Vec<usize> = before.iter().chain(&instance.axes[value.at()]).copied().collect();
        let name = &layer.value(value).name;
        assert_eq!(tensor.shape, expected, "the shape of {what} `{name}`");
        let count: usize = expected.iter().product();
        assert_eq!(tensor.elements.len(), count, "the number of elements of {what} `{name}`");
    };
    assert_eq!(inputs.len(), layer.inputs.len(), "the number of inputs");
    assert_eq!(bound.params.len(), layer.params.len(), "the number of parameters");
    assert_eq!(bound.initial.len(), layer.states.len(), "the number of initial states");
    assert_eq!(carry.states.len(), layer.states.len(), "the number of states");
    assert_eq!(carry.delays.len(), layer.delays.len(), "the number of delays");
    assert_eq!(carry.steps.len(), sequences.count(), "the number of sequences");
    for (&value, tensor) in layer.inputs.iter().zip(inputs) {
        check("the input", value, &[sequences.total()], tensor);
    }
    for (param, tensor) in layer.params.iter().zip(&bound.params) {
        check("the parameter", param.value, &[], tensor);
    }
    for ((state, initial), tensor) in layer.states.iter().zip(&bound.initial).zip(&carry.states) {
        check("the initial state", state.value, &[], initial);
        check("the state", state.value, &[sequences.count()], tensor);
    }
    for ((&delay, &depth), tensor) in layer.delays.iter().zip(&instance.depths).zip(&carry.delays) {
        check("the delay", delay, &[sequences.count(), depth], tensor);
    }
}

/// An environment in which every value is 0.
fn environment<F: Real>(instance: &Instance, tables: &[usize]) -> Env<F> {
    let layer = &instance.layer;
    let values = layer.values.iter().zip(&instance.axes);
    let values = values.map(|(value, shape)| zeros(&value.ty, shape.iter().product())).collect();
    Env::new(layer.indices.len(), values, tables)
}

/// The equations of an instance, ready to be evaluated.
struct Programs<F> {
    /// What depends on parameters only is evaluated once; by equation.
    fixed: Vec<Option<Program<F>>>,
    /// All others; by equation.
    step: Vec<Option<Program<F>>>,
    /// The equations that the reset needs.
    reset: Vec<usize>,
    /// The values to keep for all steps; by pass.
    recorded: Vec<Vec<ValueId>>,
    tables: Vec<usize>,
    /// What may be reported.
    reports: Vec<(Span, String)>,
    /// What is reported where the truth value that an equation defines does not hold; by equation.
    checks: Vec<Option<usize>>,
}

impl<F: Real> Programs<F> {
    fn of(instance: &Instance, passes: &[Pass]) -> Self {
        let layer = &instance.layer;
        let mut lowering = Lowering::new(instance);
        let mut fixed_values: Vec<bool> = layer.values.iter().map(|v| v.kind == ValueKind::Param).collect();
        let (mut fixed, mut step) = (Vec::new(), Vec::new());
        for (at, equation) in layer.equations.iter().enumerate() {
            let (mut now, mut later) = (None, None);
            if passes.iter().any(|pass| pass.equations.contains(&at)) {
                let program = lowering.equation(equation);
                if is_fixed(&equation.body, &fixed_values) {
                    fixed_values[equation.value.at()] = true;
                    now = Some(program);
                } else {
                    later = Some(program);
                }
            }
            fixed.push(now);
            step.push(later);
        }
        let recorded = recorded(layer, passes);
        let mut reports = lowering.reports;
        let mut checks = vec![None; layer.equations.len()];
        for check in &layer.checks {
            if let Some(at) = layer.equations.iter().position(|e| e.value == check.value) {
                checks[at] = Some(reports.len());
                reports.push((check.span, check.message.clone()));
            }
        }
        Self { fixed, step, reset: reset_cone(layer), recorded, tables: lowering.tables, reports, checks }
    }
}

/// What each pass writes down for all steps: what it returns, and what later passes need.
fn recorded(layer: &Layer, passes: &[Pass]) -> Vec<Vec<ValueId>> {
    let mut recorded: Vec<Vec<ValueId>> = passes.iter().map(|pass| pass.kept.clone()).collect();
    for output in &layer.outputs {
        let home = passes.iter().position(|pass| match layer.value(output.value).kind {
            ValueKind::Param | ValueKind::Input => true,
            ValueKind::State(state) => pass.states.contains(&state),
            _ => pass.equations.iter().any(|&e| layer.equations[e].value == output.value),
        });
        let home = &mut recorded[home.expect("what is returned has a definition")];
        if !home.contains(&output.value) {
            home.push(output.value);
        }
    }
    recorded
}

fn is_fixed(body: &Expr, fixed: &[bool]) -> bool {
    let mut all = true;
    body.walk(&mut |e| match &e.kind {
        ExprKind::Read { value, .. } => all &= fixed[value.at()],
        ExprKind::First | ExprKind::Past { .. } => all = false,
        _ => {}
    });
    all
}

/// The equations that the reset needs, in order.
fn reset_cone(layer: &Layer) -> Vec<usize> {
    let mut wanted = vec![false; layer.values.len()];
    if let Some(reset) = layer.reset {
        wanted[reset.at()] = true;
    }
    let mut cone = Vec::new();
    for (at, equation) in layer.equations.iter().enumerate().rev() {
        if wanted[equation.value.at()] {
            cone.push(at);
            for read in equation.body.reads() {
                wanted[read.at()] = true;
            }
        }
    }
    cone.reverse();
    cone
}

/// Evaluates initialisers, in `f64`.
pub(super) struct Initialisers<'a> {
    instance: &'a Instance,
    seed: u64,
    values: Vec<Elements<f64>>,
    draws: draw::Draws,
}

impl<'a> Initialisers<'a> {
    /// All parameters are 0 at first.
    pub(super) fn new(instance: &'a Instance, seed: u64) -> Self {
        let layer = &instance.layer;
        let size = |value: &super::Value, shape: &[usize]| match value.kind {
            ValueKind::Param | ValueKind::State(_) => shape.iter().product(),
            // No initialiser reads or defines it.
            _ => 0,
        };
        let values = layer.values.iter().zip(&instance.axes).map(|(v, shape)| zeros(&v.ty, size(v, shape))).collect();
        Self { instance, seed, values, draws: draw::Draws::none() }
    }

    /// Gives a parameter its value.
    pub(super) fn set<F: Real>(&mut self, value: ValueId, tensor: &Tensor<F>) {
        self.values[value.at()] = convert(&tensor.elements);
    }

    /// The value that the initialiser has, rounded.
    ///
    /// # Errors
    /// The size of a matrix whose eigenvalues are not computed.
    pub(super) fn evaluate<F: Real>(&mut self, value: ValueId, init: &Init) -> Result<Tensor<F>, i64> {
        let mut lowering = Lowering::new(self.instance);
        let program = lowering.init(value, init);
        let mut env = Env::new(self.instance.layer.indices.len(), std::mem::take(&mut self.values), &lowering.tables);
        env.draws = std::mem::take(&mut self.draws);
        env.draws.start(self.seed, &self.instance.layer.value(value).name);
        env.define(&program);
        self.values = env.values;
        self.draws = env.draws;
        if let Some(size) = self.draws.too_large.take() {
            return Err(size);
        }
        let elements = convert(&self.values[value.at()]);
        Ok(Tensor { shape: self.instance.axes[value.at()].clone(), elements })
    }
}
