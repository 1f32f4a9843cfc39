//! Summaries of stretches against stepping.

use ssmc::analysis::verdict::summary::{Summary, summary};
use ssmc::analysis::verdict::{Class, Verdict, judge};
use ssmc::ir::{Instance, Layer, Type, ValueId, bind, interp, verify};
use ssmc_runtime::{Bound, Carry, Elements, Sequences, Tensor};

/// Numbers that follow from a seed.
pub struct Draws(pub u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn real(&mut self) -> f64 {
        (self.next() % 2001) as f64 / 1000.0 - 1.0
    }

    /// Numbers for a value, with further axes before its own.
    pub fn tensor(&mut self, instance: &Instance, value: ValueId, before: &[usize]) -> Tensor<f64> {
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
                let below = instance.extent(extent).unwrap() as u64;
                Elements::Int((0..count).map(|_| (self.next() % below) as i32).collect())
            }
        };
        Tensor { shape, elements }
    }
}

fn instance(layer: &Layer, dims: &[i64]) -> Instance {
    if let Err(error) = verify::verify(layer) {
        panic!("{error}\n{layer}");
    }
    Instance::new(layer.clone(), dims.to_vec()).unwrap_or_else(|e| panic!("{e:?}\n{layer}"))
}

fn run(layer: &Layer, dims: &[i64], params: &[Tensor<f64>], inputs: &[Tensor<f64>], carry: &mut Carry<f64>) {
    let instance = instance(layer, dims);
    let steps = inputs.first().map_or(1, |t| t.shape[0]);
    run_for(&instance, params, inputs, carry, steps);
}

fn run_for(instance: &Instance, params: &[Tensor<f64>], inputs: &[Tensor<f64>], carry: &mut Carry<f64>, steps: usize) {
    let bound = bound(instance, params);
    interp::run(instance, &bound, &Sequences::batch(1, steps), inputs, carry);
}

fn bound(instance: &Instance, params: &[Tensor<f64>]) -> Bound<f64> {
    bind::bind(instance, params.iter().cloned().map(Some).collect(), 0).expect("the parameters fit")
}

/// Steps `from..to` of inputs.
fn piece(inputs: &[Tensor<f64>], from: usize, to: usize) -> Vec<Tensor<f64>> {
    let cut = |tensor: &Tensor<f64>| {
        let row: usize = tensor.shape[1..].iter().product();
        let range = from * row..to * row;
        let elements = match &tensor.elements {
            Elements::Real(v) => Elements::Real(v[range].to_vec()),
            Elements::Complex { re, im } => {
                Elements::Complex { re: re[range.clone()].to_vec(), im: im[range].to_vec() }
            }
            Elements::Int(v) => Elements::Int(v[range].to_vec()),
            Elements::Bool(v) => Elements::Bool(v[range].to_vec()),
            Elements::Byte(v) => Elements::Byte(v[range].to_vec()),
        };
        let shape = [to - from].into_iter().chain(tensor.shape[1..].iter().copied()).collect();
        Tensor { shape, elements }
    };
    inputs.iter().map(cut).collect()
}

fn numbers(tensors: &[Tensor<f64>]) -> Vec<f64> {
    let each = |tensor: &Tensor<f64>| match &tensor.elements {
        Elements::Real(v) => v.clone(),
        Elements::Complex { re, im } => [re.as_slice(), im].concat(),
        Elements::Int(v) => v.iter().map(|&x| f64::from(x)).collect(),
        Elements::Bool(v) | Elements::Byte(v) => v.iter().map(|&x| f64::from(x)).collect(),
    };
    tensors.iter().flat_map(each).collect()
}

fn finite(tensors: &[Tensor<f64>]) -> bool {
    numbers(tensors).iter().all(|x| x.is_finite())
}

/// Fails where results differ by more than rounding of what they went through.
fn close(found: &[Tensor<f64>], expected: &[Tensor<f64>], through: &[&[Tensor<f64>]], what: &str) {
    let (found, expected) = (numbers(found), numbers(expected));
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = |scale: f64, x: &f64| if x.is_finite() { scale.max(x.abs()) } else { scale };
    let scale =
        expected.iter().chain(through.iter().flat_map(|t| numbers(t)).collect::<Vec<f64>>().iter()).fold(1.0, largest);
    for (x, y) in found.iter().zip(&expected) {
        let equal = x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= 1e-9 * scale;
        assert!(equal, "{what}: {found:?} is not {expected:?}");
    }
}

/// Checks all groups of a layer; gives the classes that were checked.
pub fn check(source: &str, layer: &Layer) -> Vec<Class> {
    let verdict = judge(layer);
    let mut checked = Vec::new();
    let dims = [3, 2, 4]
        .map(|n| (0..layer.dims.len() as i64).map(|k| if k == 1 { 2 } else { n }).collect::<Vec<i64>>())
        .into_iter()
        .chain([vec![2; layer.dims.len()]])
        .find(|dims| Instance::new(layer.clone(), dims.clone()).is_ok())
        .unwrap_or_else(|| panic!("{source}: no dimensions fit"));
    for (at, group) in verdict.groups.iter().enumerate() {
        let Some(summary) = summary(&verdict, group) else {
            assert_eq!(group.class, Class::Nonlinear, "{source}");
            continue;
        };
        for seed in 0..3 {
            stretch(source, layer, &verdict, at, &summary, &dims, seed);
        }
        checked.push(group.class);
    }
    checked
}

fn stretch(source: &str, layer: &Layer, verdict: &Verdict, at: usize, summary: &Summary, dims: &[i64], seed: u64) {
    let group = &verdict.groups[at];
    let mut draws = Draws(seed + 7);
    let whole = instance(layer, dims);
    let params: Vec<_> = layer.params.iter().map(|p| draws.tensor(&whole, p.value, &[])).collect();
    let steps = 5;
    let inputs: Vec<_> = layer.inputs.iter().map(|&i| draws.tensor(&whole, i, &[steps])).collect();
    let mut start = interp::initial_carry(&whole, &bound(&whole, &params), 1);
    start.steps = vec![seed % 2];
    for (tensor, state) in start.states.iter_mut().zip(&layer.states) {
        *tensor = draws.tensor(&whole, state.value, &[1]);
    }
    let mut truth = start.clone();
    run_for(&whole, &params, &inputs, &mut truth, steps);
    let own = |carry: &Carry<f64>| -> Vec<Tensor<f64>> {
        group.states.iter().map(|s| carry.states[s.at()].clone()).collect()
    };

    // A summary from a carry that has the true earlier states.
    let stretch = instance(&summary.layer, dims);
    let neutral = instance(&summary.identity, dims);
    let names: Vec<&str> = summary.layer.states.iter().map(|s| s.name.as_str()).collect();
    let summarise = |from: usize, to: usize, start: &Carry<f64>| -> Carry<f64> {
        let mut carry = interp::initial_carry(&neutral, &bound(&neutral, &params), 1);
        carry.steps.clone_from(&start.steps);
        // The summary may look back less far than the layer.
        for (own, delay) in carry.delays.iter_mut().zip(&start.delays) {
            let row: usize = delay.shape[2..].iter().product();
            let kept =
                piece(&[Tensor { shape: vec![delay.shape[1], row], ..delay.clone() }], 0, own.shape[1]).remove(0);
            own.elements = kept.elements;
        }
        for (k, name) in names.iter().enumerate().take(summary.earlier) {
            let state = layer.states.iter().position(|s| s.name == *name).unwrap();
            carry.states[k] = start.states[state].clone();
        }
        run_for(&stretch, &params, &piece(&inputs, from, to), &mut carry, to - from);
        carry
    };
    let tail = |carry: &Carry<f64>| carry.states[summary.earlier..].to_vec();
    let apply = |summary_states: &[Tensor<f64>], states: Vec<Tensor<f64>>| -> Vec<Tensor<f64>> {
        let mut carry = Carry { steps: vec![1], states, delays: Vec::new() };
        run(&summary.apply, dims, &[], summary_states, &mut carry);
        carry.states
    };
    let all = summarise(0, steps, &start);
    let found = apply(&tail(&all), own(&start));
    // The law is claimed for finite values only.
    if !finite(&truth.states) {
        return;
    }
    close(&found, &own(&truth), &[&tail(&all)], &format!("{source}\n{}\n{}", summary.layer, summary.apply));

    if layer.states.iter().any(|s| s.reverse) {
        return; // pieces of a sequence start from its end there
    }

    // Two halves.
    let mut middle = start.clone();
    run_for(&whole, &params, &piece(&inputs, 0, 2), &mut middle, 2);
    if !finite(&middle.states) {
        return; // an infinite state that is forgotten later is one that no offset can stand for
    }
    let (first, second) = (summarise(0, 2, &start), summarise(2, steps, &middle));
    let mut both = Carry { steps: vec![1], states: tail(&first), delays: Vec::new() };
    run(&summary.compose, dims, &[], &tail(&second), &mut both);
    close(
        &both.states,
        &tail(&all),
        &[&tail(&first), &tail(&second)],
        &format!("{source}: composed\n{}", summary.compose),
    );

    // Associativity, on three pieces.
    let mut late = middle.clone();
    run_for(&whole, &params, &piece(&inputs, 2, 4), &mut late, 2);
    let (b, c) = (summarise(2, 4, &middle), summarise(4, steps, &late));
    let compose = |x: &[Tensor<f64>], y: &[Tensor<f64>]| {
        let mut carry = Carry { steps: vec![1], states: x.to_vec(), delays: Vec::new() };
        run(&summary.compose, dims, &[], y, &mut carry);
        carry.states
    };
    let (a, b, c) = (tail(&first), tail(&b), tail(&c));
    close(
        &compose(&compose(&a, &b), &c),
        &compose(&a, &compose(&b, &c)),
        &[&a, &b, &c],
        &format!("{source}: associativity"),
    );
}
