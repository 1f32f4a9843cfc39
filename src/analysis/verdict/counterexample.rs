//! Numbers that show that a step is not affine.
//!
//! An affine step takes the mean of two states to the mean of what it makes of them. Small instances of the layer are run
//! for one step in `f64`, from two states that differ in one element (or, for products of elements, in all) and from their mean, on short numbers; the first
//! step whose result differs beyond rounding is the counterexample. It speaks of real-linear steps, so that
//! conjugates are no counterexample.

use ssmc_runtime::{Bound, Carry, Elements, Sequences, Tensor};

use crate::ir::{Instance, Layer, StateId, Type, ValueId, bind, interp};

/// How many steps are tried for each size.
const TRIES: u64 = 40;

/// How many elements of a state are changed alone.
const ELEMENTS: usize = 6;

/// The most elements of all tensors that are computed in the search.
const WORK: usize = 20_000_000;

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
    /// The dimensions.
    pub dims: Vec<(String, i64)>,
    /// The parameters of the step, all elements.
    pub params: Vec<(String, Vec<f64>)>,
    /// The inputs of the step, all elements.
    pub inputs: Vec<(String, Vec<f64>)>,
    /// The states before the step, the same in all runs but for what is changed.
    pub states: Vec<(String, Vec<f64>)>,
    /// The element that differs, or that all do.
    pub changed: String,
    /// Its two values.
    pub values: (f64, f64),
    /// The new element that shows it.
    pub element: String,
    /// Its value from the mean of the two.
    pub of_mean: f64,
    /// The mean of its values.
    pub mean: f64,
}

impl Counterexample {
    /// One line of text; tensors of more than four elements are left out.
    pub fn text(&self) -> String {
        let short = |list: &[(String, Vec<f64>)]| -> Vec<String> {
            let list = list.iter().filter(|(_, v)| v.len() <= 4);
            list.map(|(name, v)| match v[..] {
                [x] => format!("{name} = {}", round(x)),
                _ => format!("{name} = [{}]", v.iter().map(|x| round(*x)).collect::<Vec<_>>().join(", ")),
            })
            .collect()
        };
        let given: Vec<String> = [&self.params, &self.inputs].into_iter().flat_map(|list| short(list)).collect();
        let given = if given.is_empty() { String::new() } else { format!(", with {}", given.join(", ")) };
        format!(
            "counterexample: {0} = {1} and {0} = {2} lead to a mean of {3} for {4}, their mean {5} to {6}{given}",
            self.changed,
            round(self.values.0),
            round(self.values.1),
            round(self.mean),
            self.element,
            round((self.values.0 + self.values.1) / 2.0),
            round(self.of_mean),
        )
    }
}

/// At most six digits.
fn round(x: f64) -> String {
    let text = format!("{x:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" || text == "0" && x != 0.0 { format!("{x:e}") } else { text.to_owned() }
}

/// Looks for numbers that show that the states' step is not affine.
pub fn search(layer: &Layer, states: &[StateId]) -> Outcome {
    let numbers = |s: &StateId| matches!(layer.value(layer.states[s.at()].value).ty, Type::Real | Type::Complex);
    if !states.iter().all(numbers) {
        return Outcome::None("its states are not all numbers".to_owned());
    }
    let mut tried = 0;
    let mut work = WORK;
    for size in [1, 2, 3, 4] {
        let Ok(instance) = Instance::new(layer.clone(), vec![size; layer.dims.len()]) else { continue };
        let elements: usize = (0..layer.values.len()).map(|v| instance.elements(ValueId(v as u32))).sum();
        for seed in 0..TRIES {
            // Fifteen runs for each element that is changed.
            let Some(left) = work.checked_sub(elements.saturating_mul(15 * (ELEMENTS + 1))) else { break };
            work = left;
            tried += 1;
            if let Some(found) = attempt(&instance, states, seed) {
                return Outcome::Found(Box::new(found));
            }
        }
        if layer.dims.is_empty() {
            break;
        }
    }
    if tried == 0 {
        return Outcome::None("its tensors are too large to try numbers".to_owned());
    }
    Outcome::None(format!("{tried} steps on small numbers keep the affine law"))
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

fn attempt(instance: &Instance, states: &[StateId], seed: u64) -> Option<Counterexample> {
    let layer = &instance.layer;
    let mut draws = Draws(seed.wrapping_mul(977).wrapping_add(3));
    let given = layer.params.iter().map(|p| Some(draws.tensor(instance, p.value, &[]))).collect();
    let bound: Bound<f64> = bind::bind(instance, given, 0).ok()?;
    let inputs: Vec<Tensor<f64>> = layer.inputs.iter().map(|&i| draws.tensor(instance, i, &[1])).collect();
    let mut carry = interp::initial_carry(instance, &bound, 1);
    carry.steps = vec![1];
    for (tensor, state) in carry.states.iter_mut().zip(&layer.states) {
        *tensor = draws.tensor(instance, state.value, &[1]);
    }
    let step = |change: f64, place: Option<(usize, usize)>| -> Carry<f64> {
        let mut carry = carry.clone();
        match place {
            Some((state, at)) => real_parts(&mut carry.states[state].elements)[at] = change,
            None => states.iter().for_each(|s| real_parts(&mut carry.states[s.at()].elements).fill(change)),
        }
        interp::run(instance, &bound, &Sequences::batch(1, 1), &inputs, &mut carry);
        carry
    };
    // One element after the other; then all at once, for products of two of them.
    let elements = states
        .iter()
        .flat_map(|s| (0..instance.elements(layer.states[s.at()].value).min(ELEMENTS)).map(|at| Some((s.at(), at))));
    for element_or_all in elements.chain([None]) {
        for (low, high) in [(-1.0, 1.0), (0.0, 2.0), (-2.0, 1.0), (0.5, 1.0), (-4.0, 4.0)] {
            let [a, b, mean] = [low, high, (low + high) / 2.0].map(|x| step(x, element_or_all));
            if let Some((element, of_mean, mean)) = difference(instance, states, &a, &b, &mean) {
                return Some(Counterexample {
                    dims: layer.dims.iter().map(|d| d.name.clone()).zip(instance.dims.iter().copied()).collect(),
                    params: listed(layer, layer.params.iter().map(|p| p.value).zip(&bound.params)),
                    inputs: listed(layer, layer.inputs.iter().copied().zip(&inputs)),
                    states: listed(layer, layer.states.iter().map(|s| s.value).zip(&carry.states)),
                    changed: match element_or_all {
                        Some((s, at)) => place(instance, layer.states[s].value, at),
                        None => {
                            let names: Vec<&str> = states.iter().map(|s| layer.states[s.at()].name.as_str()).collect();
                            format!("every element of {}", names.join(", "))
                        }
                    },
                    values: (low, high),
                    element,
                    of_mean,
                    mean,
                });
            }
        }
    }
    None
}

/// The new element that shows that the law fails.
fn difference(
    instance: &Instance,
    states: &[StateId],
    a: &Carry<f64>,
    b: &Carry<f64>,
    mean: &Carry<f64>,
) -> Option<(String, f64, f64)> {
    for state in states {
        let parts = |carry: &Carry<f64>| real_numbers(&carry.states[state.at()].elements);
        let (a, b, mean) = (parts(a), parts(b), parts(mean));
        for at in 0..a.len() {
            let expected = (a[at] + b[at]) / 2.0;
            let scale = a[at].abs().max(b[at].abs()).max(1.0);
            if expected.is_finite() && mean[at].is_finite() && scale < 1e6 && (expected - mean[at]).abs() > 1e-6 * scale
            {
                let value = instance.layer.states[state.at()].value;
                let count = instance.elements(value).max(1);
                let name = format!("{}'", place(instance, value, at % count));
                let part = if at >= count { format!("im({name})") } else { name };
                return Some((part, mean[at], expected));
            }
        }
    }
    None
}

fn real_parts(elements: &mut Elements<f64>) -> &mut [f64] {
    match elements {
        Elements::Real(v) => v,
        Elements::Complex { re, .. } => re,
        _ => &mut [],
    }
}

/// All numbers of a tensor; of complex ones the real parts, then the imaginary parts.
fn real_numbers(elements: &Elements<f64>) -> Vec<f64> {
    match elements {
        Elements::Real(v) => v.clone(),
        Elements::Complex { re, im } => [re.as_slice(), im].concat(),
        Elements::Int(v) => v.iter().map(|&x| f64::from(x)).collect(),
        Elements::Bool(v) | Elements::Byte(v) => v.iter().map(|&x| f64::from(x)).collect(),
    }
}

fn listed<'a>(layer: &Layer, tensors: impl Iterator<Item = (ValueId, &'a Tensor<f64>)>) -> Vec<(String, Vec<f64>)> {
    tensors.map(|(value, tensor)| (layer.value(value).name.clone(), real_numbers(&tensor.elements))).collect()
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
