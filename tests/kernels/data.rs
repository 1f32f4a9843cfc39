//! Random tensors for a layer, in `f64` and rounded.

use ssmc::ir::{Instance, Type, ValueId, interp};
use ssmc_runtime::{Bound, Carry, Elements, Float, Sequences, Tensor};

/// A small generator, so that data depends on nothing else.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Numbers around 0 that `f32` holds exactly.
    fn reals(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| f64::from((self.next() - 0.5) as f32)).collect()
    }
}

fn draw(instance: &Instance, value: ValueId, leading: &[usize], random: &mut Random) -> Tensor<f64> {
    let shape: Vec<usize> = leading.iter().chain(&instance.axes[value.at()]).copied().collect();
    let n = shape.iter().product();
    let elements = match &instance.layer.value(value).ty {
        Type::Real => Elements::Real(random.reals(n)),
        Type::Complex => Elements::Complex { re: random.reals(n), im: random.reals(n) },
        Type::Bool => Elements::Bool((0..n).map(|_| u8::from(random.next() > 0.7)).collect()),
        Type::Int => Elements::Int((0..n).map(|_| (random.next() * 9.0) as i32 - 4).collect()),
        Type::Index(extent) => {
            let below = instance.extent(extent).expect("the dimensions have values") as f64;
            Elements::Int((0..n).map(|_| (random.next() * below) as i32).collect())
        }
    };
    Tensor { shape, elements }
}

pub fn rounded<F: Float>(tensor: &Tensor<f64>) -> Tensor<F> {
    let round = |v: &Vec<f64>| v.iter().map(|&x| F::from_f64(x)).collect();
    let elements = match &tensor.elements {
        Elements::Real(v) => Elements::Real(round(v)),
        Elements::Complex { re, im } => Elements::Complex { re: round(re), im: round(im) },
        Elements::Int(v) => Elements::Int(v.clone()),
        Elements::Bool(v) => Elements::Bool(v.clone()),
        Elements::Byte(v) => Elements::Byte(v.clone()),
    };
    Tensor { shape: tensor.shape.clone(), elements }
}

pub fn rounded_all<F: Float>(tensors: &[Tensor<f64>]) -> Vec<Tensor<F>> {
    tensors.iter().map(rounded).collect()
}

pub fn rounded_carry<F: Float>(carry: &Carry<f64>) -> Carry<F> {
    Carry { steps: carry.steps.clone(), states: rounded_all(&carry.states), delays: rounded_all(&carry.delays) }
}

/// What a run takes, in `f64`.
pub struct Data {
    pub bound: Bound<f64>,
    pub inputs: Vec<Tensor<f64>>,
    pub carry: Carry<f64>,
}

impl Data {
    pub fn new(instance: &Instance, sequences: &Sequences, seed: u64) -> Self {
        let layer = &instance.layer;
        let random = &mut Random(88_172_645_463_325_252 ^ (seed << 8));
        let bound = Bound {
            params: layer.params.iter().map(|p| draw(instance, p.value, &[], random)).collect(),
            initial: layer.states.iter().map(|s| draw(instance, s.value, &[], random)).collect(),
        };
        let total = [sequences.total()];
        let inputs = layer.inputs.iter().map(|&v| draw(instance, v, &total, random)).collect();
        let carry = interp::initial_carry(instance, &bound, sequences.count());
        Self { bound, inputs, carry }
    }
}

/// The rows of a range of steps.
pub fn rows<F: Float>(tensor: &Tensor<F>, range: std::ops::Range<usize>) -> Tensor<F> {
    let size: usize = tensor.shape[1..].iter().product();
    let cut = range.start * size..range.end * size;
    let elements = match &tensor.elements {
        Elements::Real(v) => Elements::Real(v[cut].to_vec()),
        Elements::Complex { re, im } => Elements::Complex { re: re[cut.clone()].to_vec(), im: im[cut].to_vec() },
        Elements::Int(v) => Elements::Int(v[cut].to_vec()),
        Elements::Bool(v) => Elements::Bool(v[cut].to_vec()),
        Elements::Byte(v) => Elements::Byte(v[cut].to_vec()),
    };
    Tensor { shape: [range.len()].iter().chain(&tensor.shape[1..]).copied().collect(), elements }
}

/// Compares tensors with what is right: reals to so many roundings of the largest of a tensor, all else exactly.
pub fn compare<F: Float>(what: &str, got: &[Tensor<F>], expected: &[Tensor<f64>], roundings: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let bound = roundings * if F::BITS == 32 { f64::from(f32::EPSILON) } else { f64::EPSILON };
    let planes = |got: &[F], expected: &[f64]| {
        let largest = expected.iter().filter(|x| x.is_finite()).fold(1.0_f64, |m, x| m.max(x.abs()));
        assert_eq!(got.len(), expected.len(), "{what}");
        for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
            let got = got.to_f64();
            let same = got == *expected || (got.is_nan() && expected.is_nan());
            assert!(same || (got - expected).abs() <= bound * largest, "{what}[{at}]: {got}, expected {expected}");
        }
    };
    for (got, expected) in got.iter().zip(expected) {
        assert_eq!(got.shape, expected.shape, "{what}");
        match (&got.elements, &expected.elements) {
            (Elements::Real(got), Elements::Real(expected)) => planes(got, expected),
            (Elements::Complex { re, im }, Elements::Complex { re: a, im: b }) => {
                planes(re, a);
                planes(im, b);
            }
            (Elements::Int(got), Elements::Int(expected)) => assert_eq!(got, expected, "{what}"),
            (Elements::Bool(got), Elements::Bool(expected)) => assert_eq!(got, expected, "{what}"),
            _ => panic!("{what}: another element type"),
        }
    }
}
