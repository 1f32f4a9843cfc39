//! Numbers that show that a step has no form.
//!
//! An affine step takes the mean of two states to the mean of what it makes of them. A step that is linear over max and plus
//! takes `max(x, y + c)`, for a `c` of at most 0, to `max` of what it makes of `x` and `c` plus what it makes of `y`; one
//! over min and plus likewise; one over logaddexp and plus takes the mean under exponentials to that mean. These are
//! the laws with offsets: the two weights add up to one in the algebra.
//!
//! Small instances of the layer are run for one step in `f64`, from two states that differ in one element (or, for products of
//! elements, in all) and from their combination, on short numbers; the first step whose result differs beyond rounding is
//! the counterexample. It is not the first step of a sequence, and delays hold zeros. Every counterexample breaks the
//! affine law too, though it may show the one of the semiring to which the operation belongs that stands in the way. Real
//! parts alone are changed, so that conjugates are no counterexample.

use ssmc_runtime::{Bound, Elements, Sequences, Tensor};

use super::algebra::Algebra;
use super::summary::{earlier, restrict};
use crate::ir::{Instance, Layer, StateId, Type, ValueId, bind, interp};

/// How many steps are tried for each size.
const TRIES: u64 = 40;

/// How many elements of a state are changed alone.
const ELEMENTS: usize = 6;

/// The most nodes of expressions and elements of tensors that are computed in the search, each for every run.
const WORK: usize = 3_000_000;

/// The largest tensor that is printed.
const PRINTED: usize = 16;

/// What the search found.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A step for which the law fails.
    Found(Box<Counterexample>),
    /// None, and why.
    None(String),
}

/// Two states and a step for which the law fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Counterexample {
    /// Whose law it is.
    pub law: Algebra,
    /// The dimensions.
    pub dims: Vec<(String, i64)>,
    /// The parameters and inputs that the step reads, and the states before it, which are the same in all runs but for
    /// what is changed.
    pub given: Vec<(String, Tensor<f64>)>,
    /// The element that differs, or that all do.
    pub changed: String,
    /// Its two values.
    pub values: (f64, f64),
    /// What is added to the second, over a semiring with max or min.
    pub shift: f64,
    /// The combination of the two.
    pub combined: f64,
    /// The new element that shows it.
    pub element: String,
    /// Its values from the two.
    pub results: (f64, f64),
    /// Its value from the combination.
    pub found: f64,
    /// The combination of its values.
    pub expected: f64,
}

impl Counterexample {
    /// One line of text; tensors of more than sixteen elements are named alone.
    pub fn text(&self) -> String {
        let dims = self.dims.iter().map(|(name, n)| format!("{name} = {n}"));
        let given: Vec<String> = dims.chain(self.given.iter().map(|(name, tensor)| listed(name, tensor))).collect();
        let given = if given.is_empty() { String::new() } else { format!(", with {}", given.join(", ")) };
        let show = |(x, y): (f64, f64), value: f64| match self.law {
            Algebra::MaxPlus | Algebra::MinPlus => {
                let (sign, shift) = if self.shift < 0.0 { ("-", -self.shift) } else { ("+", self.shift) };
                let name = self.law.row().plus;
                format!("{name}({}, {} {sign} {}) = {}", round(x), round(y), round(shift), round(value))
            }
            Algebra::LogSumExp => {
                format!("log((exp({}) + exp({})) / 2) = {}", round(x), round(y), round(value))
            }
            _ => format!("their mean {}", round(value)),
        };
        let expected = match self.law {
            Algebra::Field => round(self.expected),
            _ => show(self.results, self.expected),
        };
        format!(
            "counterexample: {0} = {1} leads to {2} for {3}, {0} = {4} to {5}; {6} leads to {7}, not to {expected}{given}",
            self.changed,
            round(self.values.0),
            round(self.results.0),
            self.element,
            round(self.values.1),
            round(self.results.1),
            show(self.values, self.combined),
            round(self.found),
        )
    }
}

/// A tensor's elements in row-major order; only how many there are where they are many.
fn listed(name: &str, tensor: &Tensor<f64>) -> String {
    let all: Vec<String> = match &tensor.elements {
        Elements::Real(v) => v.iter().map(|x| round(*x)).collect(),
        Elements::Complex { re, im } => {
            let pair = |(x, y): (&f64, &f64)| format!("{}{}{}i", round(*x), if *y < 0.0 { "" } else { "+" }, round(*y));
            re.iter().zip(im).map(pair).collect()
        }
        Elements::Int(v) => v.iter().map(ToString::to_string).collect(),
        Elements::Byte(v) => v.iter().map(ToString::to_string).collect(),
        Elements::Bool(v) => v.iter().map(|&b| (b != 0).to_string()).collect(),
    };
    match &all[..] {
        [one] => format!("{name} = {one}"),
        _ if all.len() <= PRINTED => format!("{name} = [{}]", all.join(", ")),
        _ => format!("{name} of {} numbers", all.len()),
    }
}

/// At most six digits.
fn round(x: f64) -> String {
    let text = format!("{:.6}", x + 0.0);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" || text == "0" && x != 0.0 { format!("{x:e}") } else { text.to_owned() }
}

/// Looks for numbers that show that the states' step is not affine, and for such that show that it is not linear over a
/// semiring.
pub fn search(layer: &Layer, states: &[StateId], semiring: Option<Algebra>) -> Outcome {
    let numbers = |s: &StateId| matches!(layer.value(layer.states[s.at()].value).ty, Type::Real | Type::Complex);
    if !states.iter().all(numbers) {
        return Outcome::None("its states are not all numbers".to_owned());
    }
    let mut needed = earlier(layer, states);
    let first = needed.len();
    needed.extend(states);
    let mut own = layer.clone();
    restrict(&mut own, &needed);
    let states: Vec<StateId> = (first..needed.len()).map(|s| StateId(s as u32)).collect();
    match (search_for(&own, &states, Algebra::Field), semiring) {
        (found @ Outcome::Found(_), Some(algebra)) => match search_for(&own, &states, algebra) {
            better @ Outcome::Found(_) => better,
            Outcome::None(_) => found,
        },
        (outcome, _) => outcome,
    }
}

fn search_for(layer: &Layer, states: &[StateId], law: Algebra) -> Outcome {
    let mut nodes = 0usize;
    layer.equations.iter().for_each(|equation| equation.body.walk(&mut |_| nodes += 1));
    let mut tried = 0;
    let mut work = WORK;
    for size in [1, 2, 3, 4] {
        let Ok(instance) = Instance::new(layer.clone(), vec![size; layer.dims.len()]) else { continue };
        let elements: usize = (0..layer.values.len()).map(|v| instance.elements(ValueId(v as u32))).sum();
        // An equation is computed once for each of its elements, and more for what it sums.
        let nodes = nodes.saturating_mul((size * size) as usize);
        for seed in 0..TRIES {
            let runs = probes(&instance, states, law).len();
            let Some(left) = work.checked_sub(elements.saturating_add(nodes).saturating_mul(3 * runs)) else { break };
            work = left;
            tried += 1;
            if let Some(found) = attempt(&instance, states, law, seed) {
                return Outcome::Found(Box::new(found));
            }
        }
        if layer.dims.is_empty() {
            break;
        }
    }
    if tried == 0 {
        return Outcome::None("it is too large to try numbers".to_owned());
    }
    Outcome::None(format!("{tried} steps on small numbers keep the affine law"))
}

/// Two values of an element, or of all, and what is added to the second.
struct Probe {
    /// The state and the element; `None` for all elements of the group.
    place: Option<(usize, usize)>,
    values: (f64, f64),
    shift: f64,
}

/// One element after the other; then all at once, for products of two of them.
fn probes(instance: &Instance, states: &[StateId], law: Algebra) -> Vec<Probe> {
    const PAIRS: [(f64, f64); 5] = [(-1.0, 1.0), (0.0, 2.0), (-2.0, 1.0), (0.5, 1.0), (-4.0, 4.0)];
    const SHIFTED: [(f64, f64, f64); 5] =
        [(-1.0, 1.0, -1.0), (-4.0, 4.0, -1.0), (0.0, 2.0, -3.0), (-2.0, 5.0, -2.0), (4.0, -4.0, -1.0)];
    let elements = states.iter().flat_map(|s| {
        let count = instance.elements(instance.layer.states[s.at()].value);
        (0..count.min(ELEMENTS)).map(|at| Some((s.at(), at)))
    });
    let mut probes = Vec::new();
    for place in elements.take(4 * ELEMENTS).chain([None]) {
        let plain = PAIRS.iter().map(|&(x, y)| (x, y, 0.0));
        let each: Vec<(f64, f64, f64)> = match law {
            Algebra::MaxPlus => SHIFTED.to_vec(),
            Algebra::MinPlus => SHIFTED.iter().map(|&(x, y, c)| (-x, -y, -c)).collect(),
            _ => plain.collect(),
        };
        probes.extend(each.into_iter().map(|(x, y, shift)| Probe { place, values: (x, y), shift }));
    }
    probes
}

/// The sum of two values in the algebra, with weights that add up to one.
fn combine(law: Algebra, x: f64, y: f64, shift: f64) -> f64 {
    match law {
        Algebra::MaxPlus => x.max(y + shift),
        Algebra::MinPlus => x.min(y + shift),
        Algebra::LogSumExp => {
            let most = x.max(y);
            if most == f64::NEG_INFINITY { most } else { most + (((x - most).exp() + (y - most).exp()) / 2.0).ln() }
        }
        Algebra::Field | Algebra::Bool => (x + y) / 2.0,
    }
}

/// Short numbers in an order that depends on the seed.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn real(&mut self) -> f64 {
        const SHORT: [f64; 8] = [1.0, 0.5, -1.0, 2.0, -0.5, 3.0, -2.0, 1.5];
        SHORT[(self.next() % 8) as usize]
    }

    fn tensor(&mut self, instance: &Instance, value: ValueId, before: &[usize]) -> Tensor<f64> {
        let shape: Vec<usize> = before.iter().chain(&instance.axes[value.at()]).copied().collect();
        let count = shape.iter().product();
        let elements = match &instance.layer.value(value).ty {
            Type::Real => Elements::Real((0..count).map(|_| self.real()).collect()),
            Type::Complex => Elements::Complex {
                re: (0..count).map(|_| self.real()).collect(),
                im: (0..count).map(|_| self.real()).collect(),
            },
            Type::Bool => Elements::Bool((0..count).map(|_| (self.next() % 2) as u8).collect()),
            Type::Int => Elements::Int(vec![0; count]),
            Type::Index(extent) => {
                let below = instance.extent(extent).unwrap_or(1).max(1) as u64;
                Elements::Int((0..count).map(|_| (self.next() % below) as i32).collect())
            }
        };
        Tensor { shape, elements }
    }
}

/// A tensor as many times as there are sequences.
fn repeated(tensor: &Tensor<f64>, count: usize) -> Tensor<f64> {
    let elements = match &tensor.elements {
        Elements::Real(v) => Elements::Real(v.repeat(count)),
        Elements::Complex { re, im } => Elements::Complex { re: re.repeat(count), im: im.repeat(count) },
        Elements::Int(v) => Elements::Int(v.repeat(count)),
        Elements::Byte(v) => Elements::Byte(v.repeat(count)),
        Elements::Bool(v) => Elements::Bool(v.repeat(count)),
    };
    Tensor { shape: [count].into_iter().chain(tensor.shape[1..].iter().copied()).collect(), elements }
}

fn attempt(instance: &Instance, states: &[StateId], law: Algebra, seed: u64) -> Option<Counterexample> {
    let layer = &instance.layer;
    let mut draws = Draws(seed.wrapping_mul(977).wrapping_add(3));
    let given = layer.params.iter().map(|p| Some(draws.tensor(instance, p.value, &[]))).collect();
    let bound: Bound<f64> = bind::bind(instance, given, 0).ok()?;
    let inputs: Vec<Tensor<f64>> = layer.inputs.iter().map(|&i| draws.tensor(instance, i, &[1])).collect();
    let before: Vec<Tensor<f64>> = layer.states.iter().map(|s| draws.tensor(instance, s.value, &[1])).collect();
    let probes = probes(instance, states, law);
    let count = 3 * probes.len();
    let mut carry = interp::initial_carry(instance, &bound, count);
    carry.steps.fill(1);
    carry.states = before.iter().map(|tensor| repeated(tensor, count)).collect();
    for (p, probe) in probes.iter().enumerate() {
        let (x, y) = probe.values;
        for (k, value) in [x, y, combine(law, x, y, probe.shift)].into_iter().enumerate() {
            let mut set = |state: usize, elements: Option<usize>| {
                let size = instance.elements(layer.states[state].value);
                let own = &mut real_parts(&mut carry.states[state].elements)[(3 * p + k) * size..][..size];
                match elements {
                    Some(at) => own[at] = value,
                    None => own.fill(value),
                }
            };
            match probe.place {
                Some((state, at)) => set(state, Some(at)),
                None => states.iter().for_each(|s| set(s.at(), None)),
            }
        }
    }
    let all: Vec<Tensor<f64>> = inputs.iter().map(|tensor| repeated(tensor, count)).collect();
    interp::run(instance, &bound, &Sequences::batch(count, 1), &all, &mut carry);
    for (p, probe) in probes.iter().enumerate() {
        for state in states {
            let value = layer.states[state.at()].value;
            let size = instance.elements(value);
            let new = &carry.states[state.at()].elements;
            let run = |k: usize| numbers(new, (3 * p + k) * size, size);
            let (a, b, of_both) = (run(0), run(1), run(2));
            let Some((at, expected)) = difference(law, probe.shift, &a, &b, &of_both) else { continue };
            let name = format!("{}'", place(instance, value, at % size));
            let complex = a.len() > size;
            let (x, y) = probe.values;
            return Some(Counterexample {
                law,
                dims: layer.dims.iter().map(|d| d.name.clone()).zip(instance.dims.iter().copied()).collect(),
                given: read(layer, &bound.params, &inputs, &before, |s| overwritten(instance, states, probe, s)),
                changed: changed(instance, states, probe),
                values: probe.values,
                shift: probe.shift,
                combined: combine(law, x, y, probe.shift),
                element: if !complex { name } else { format!("{}({name})", if at < size { "re" } else { "im" }) },
                results: (a[at], b[at]),
                found: of_both[at],
                expected,
            });
        }
    }
    None
}

/// Whether a probe changes all of a state.
fn overwritten(instance: &Instance, states: &[StateId], probe: &Probe, state: usize) -> bool {
    let value = instance.layer.states[state].value;
    let all = match probe.place {
        Some((s, _)) => s == state && instance.elements(value) == 1,
        None => states.iter().any(|s| s.at() == state),
    };
    all && instance.layer.value(value).ty == Type::Real
}

/// The name of what a probe changes.
fn changed(instance: &Instance, states: &[StateId], probe: &Probe) -> String {
    let layer = &instance.layer;
    let complex = |s: usize| layer.value(layer.states[s].value).ty == Type::Complex;
    match probe.place {
        Some((s, at)) => {
            let name = place(instance, layer.states[s].value, at);
            if complex(s) { format!("re({name})") } else { name }
        }
        None => {
            let names: Vec<String> = states
                .iter()
                .map(|s| {
                    let name = &layer.states[s.at()].name;
                    if complex(s.at()) { format!("re({name})") } else { name.clone() }
                })
                .collect();
            format!("every element of {}", names.join(", "))
        }
    }
}

/// The first new number that shows that the law fails, and what it should be.
fn difference(law: Algebra, shift: f64, a: &[f64], b: &[f64], of_both: &[f64]) -> Option<(usize, f64)> {
    (0..a.len()).find_map(|at| {
        let expected = combine(law, a[at], b[at], shift);
        let scale = a[at].abs().max(b[at].abs()).max(1.0);
        let finite = a[at].is_finite() && b[at].is_finite() && of_both[at].is_finite() && scale < 1e6;
        (finite && (expected - of_both[at]).abs() > 1e-4 * scale).then_some((at, expected))
    })
}

fn real_parts(elements: &mut Elements<f64>) -> &mut [f64] {
    match elements {
        Elements::Real(v) => v,
        Elements::Complex { re, .. } => re,
        _ => &mut [],
    }
}

/// Some numbers of a tensor; of complex ones the real parts, then the imaginary parts.
fn numbers(elements: &Elements<f64>, from: usize, count: usize) -> Vec<f64> {
    match elements {
        Elements::Real(v) => v[from..from + count].to_vec(),
        Elements::Complex { re, im } => [&re[from..from + count], &im[from..from + count]].concat(),
        _ => Vec::new(),
    }
}

/// What the step reads of parameters, inputs and states.
fn read(
    layer: &Layer,
    params: &[Tensor<f64>],
    inputs: &[Tensor<f64>],
    before: &[Tensor<f64>],
    overwritten: impl Fn(usize) -> bool,
) -> Vec<(String, Tensor<f64>)> {
    let mut needed = vec![false; layer.values.len()];
    for equation in &layer.equations {
        equation.body.reads().into_iter().for_each(|value| needed[value.at()] = true);
    }
    let params = layer.params.iter().map(|p| p.value).zip(params);
    let inputs = layer.inputs.iter().copied().zip(inputs);
    let states =
        layer.states.iter().enumerate().filter(|(at, _)| !overwritten(*at)).map(|(at, s)| (s.value, &before[at]));
    let all = params.chain(inputs).chain(states).filter(|(value, _)| needed[value.at()]);
    all.map(|(value, tensor)| (layer.value(value).name.clone(), tensor.clone())).collect()
}

/// The name of an element.
fn place(instance: &Instance, value: ValueId, mut at: usize) -> String {
    let mut indices = Vec::new();
    for &extent in instance.axes[value.at()].iter().rev() {
        indices.insert(0, (at % extent).to_string());
        at /= extent;
    }
    let name = &instance.layer.value(value).name;
    if indices.is_empty() { name.clone() } else { format!("{name}[{}]", indices.join(", ")) }
}
