//! What the scan needs of one group of states: kernels that summarise a stretch, and one that applies summaries.
//!
//! In: a group's [`Summary`]. Out: a [`Group`]. The layers of the summary are taken as they are, but for two things:
//! the layer that applies summaries returns the states after each, so that one run of it over all stretches of a
//! sequence is the scan; where the layer resets, a stretch also says whether it has, so that nothing of what was
//! before is looked at; and where the transition is the same at every step, the products are no states of the
//! stretch but a parameter of the application, a power of one step's product.

use ssmc_runtime::kernel::{Kind, Tensors};
use ssmc_runtime::{Bound, Carry, Elements, Float, RunError, Sequences, Tensor};

use super::finite::Maps;
use crate::analysis::verdict::summary::{Summary, restrict};
use crate::diag::{Diagnostic, Span};
use crate::ir::interp::Real;
use crate::ir::{
    Equation, Expr, ExprKind, IndexId, Init, Instance, Layer, Output, Param, Scalar, State, StateId, Type, Value,
    ValueId, ValueKind, bind,
};
use crate::jit::{Form, Isa, Kernel, compile_for};

/// The layers of a group, for one layer's dimensions.
pub(super) struct Layers {
    /// Works out what a stretch does: the states of earlier groups, the group's own, the products.
    pub(super) summary: Layer,
    /// Applies summaries one after the other; returns the states after each.
    pub(super) apply: Layer,
    /// What makes the products, where they are not states of the summary.
    pub(super) power: Option<PowerLayers>,
    /// The neutral summary: initial values of the own states and the products.
    pub(super) neutral: Layer,
}

/// How products are made that are the same for every stretch of a length.
pub(super) struct PowerLayers {
    /// The product of one step: its states are the products alone.
    pub(super) step: Layer,
    /// Composes summaries.
    pub(super) compose: Layer,
}

impl Layers {
    /// `fixed` says whether the products depend on parameters only.
    pub(super) fn of(summary: &Summary, fixed: bool) -> Self {
        let first = summary.states.len();
        let all = summary.layer.states.len();
        let mut apply = summary.apply.clone();
        let reverse = summary.layer.states[summary.earlier].reverse;
        for state in &mut apply.states {
            state.reverse = reverse;
            apply.outputs.push(Output { name: state.name.clone(), value: state.next });
        }
        let mut neutral = summary.identity.clone();
        if summary.layer.reset.is_some() {
            let mut layer = summary.layer.clone();
            flag(&mut layer, true);
            flag(&mut neutral, false);
            cut(&mut apply);
            return Self { summary: layer, apply, power: None, neutral };
        }
        if !fixed || all == first {
            return Self { summary: summary.layer.clone(), apply, power: None, neutral };
        }
        let range = |from: usize, to: usize| (from as u32..to as u32).map(StateId).collect::<Vec<_>>();
        let mut offset = summary.layer.clone();
        restrict(&mut offset, &range(0, first));
        let mut step = summary.layer.clone();
        let timed: Vec<ValueId> = step.delays.drain(..).chain(step.inputs.drain(..)).collect();
        timed.iter().for_each(|v| step.values[v.at()].kind = ValueKind::Let);
        restrict(&mut step, &range(first, all));
        // Behind the offsets stand the products.
        for value in apply.inputs.split_off(apply.states.len()) {
            let named = &mut apply.values[value.at()];
            named.kind = ValueKind::Param;
            apply.params.push(Param { value, key: named.name.clone(), init: None });
        }
        let power = Some(PowerLayers { step, compose: summary.compose.clone() });
        Self { summary: offset, apply, power, neutral }
    }
}

/// Adds a state that says whether the stretch has reset: no step changes it, and a reset gives it its initial value.
fn flag(layer: &mut Layer, init: bool) {
    let id = StateId(layer.states.len() as u32);
    let at = layer.values.len() as u32;
    let (value, next) = (ValueId(at), ValueId(at + 1));
    let name = "has.reset".to_owned();
    for kind in [ValueKind::State(id), ValueKind::Next(id)] {
        let span = Span::default();
        layer.values.push(Value { name: name.clone(), kind, axes: Vec::new(), ty: Type::Bool, span });
    }
    let truth = |kind| Expr { kind, ty: Scalar::Bool, span: Span::default() };
    let init = Some(Init { indices: Vec::new(), body: truth(ExprKind::Bool(init)) });
    let reverse = layer.states[id.at() - 1].reverse;
    layer.states.push(State { name, value, next, init, reverse });
    let body = truth(ExprKind::Read { value, at: Vec::new() });
    layer.equations.push(Equation { value: next, indices: Vec::new(), body, span: Span::default() });
}

/// Lets an application forget what came before a stretch that has reset, infinities and NaN included.
fn cut(apply: &mut Layer) {
    let span = Span::default();
    let flag = ValueId(apply.values.len() as u32);
    let name = "has.reset.2".to_owned();
    apply.values.push(Value { name, kind: ValueKind::Input, axes: Vec::new(), ty: Type::Bool, span });
    apply.inputs.push(flag);
    for (n, state) in apply.states.iter().enumerate() {
        let offset = apply.inputs[n];
        let equation = apply.equations.iter_mut().find(|e| e.value == state.next).expect("a state has a new value");
        let index = |&i: &IndexId| Expr { kind: ExprKind::Index(i), ty: Scalar::Int, span };
        let ty = equation.body.ty;
        let kind = ExprKind::Read { value: offset, at: equation.indices.iter().map(index).collect() };
        // Of a finite map, a table has no offset: after a reset it is the same for every old value.
        if apply.values[offset.at()].axes.len() != equation.indices.len() {
            continue;
        }
        let has = Expr { kind: ExprKind::Read { value: flag, at: Vec::new() }, ty: Scalar::Bool, span };
        let body = equation.body.clone();
        equation.body = Expr { kind: ExprKind::If(Box::new([has, Expr { kind, ty, span }, body])), ty, span };
    }
}

/// A group's kernels.
pub(super) struct Group<F> {
    /// The layer's states that the summary's first states are: of earlier groups, then the group's own.
    pub(super) states: Vec<usize>,
    /// How many of them belong to earlier groups.
    pub(super) earlier: usize,
    /// Whether it runs from the last step to the first.
    pub(super) reverse: bool,
    /// Works out what a stretch does.
    pub(super) summary: Kernel<F>,
    /// Applies summaries.
    pub(super) apply: Kernel<F>,
    /// The neutral summary: the own states, then the products that the summary has.
    pub(super) neutral: Vec<Tensor<F>>,
    /// What a reset puts in the place of these products.
    zeros: Vec<Tensor<F>>,
    power: Option<Power<F>>,
    /// Works out what stretches do in place of the summary, where the group is a map of a few states.
    pub(super) maps: Option<Maps<F>>,
}

struct Power<F> {
    step: Kernel<F>,
    compose: Kernel<F>,
    /// The neutral own states and products.
    neutral: Vec<Tensor<F>>,
}

/// What states are before the first step; of those from `first` on, which read no parameters.
pub(super) fn initial<F: Real>(layer: &Layer, dims: &[i64], first: usize) -> Result<Vec<Tensor<F>>, Vec<Diagnostic>> {
    let mut bare = layer.clone();
    bare.states.drain(..first);
    bare.params.clear();
    bare.equations.clear();
    bare.delays.clear();
    let instance = Instance::new(bare, dims.to_vec())?;
    Ok(bind::bind(&instance, Vec::new(), 0)?.initial)
}

/// Compiles a layer that is made of another one: see [`derived`].
pub(super) fn kernel<F: Float>(layer: &Layer, whole: &Instance, isa: Isa) -> Result<Kernel<F>, Vec<Diagnostic>> {
    compile_for(&derived(layer, whole)?, Form::Sequence, isa)
}

/// A layer that is made of another one, with numbers. Its delays, if it has them, are those of the other, and keep as much.
pub(super) fn derived(layer: &Layer, whole: &Instance) -> Result<Instance, Vec<Diagnostic>> {
    let mut instance = Instance::new(layer.clone(), whole.dims.clone())?;
    if !layer.delays.is_empty() {
        instance.depths.clone_from(&whole.depths);
    }
    Ok(instance)
}

impl<F: Real> Group<F> {
    /// Compiles a group.
    ///
    /// # Errors
    /// What [`compile_for`] refuses, sizes of products above all.
    pub(super) fn new(summary: &Summary, layers: &Layers, whole: &Instance, isa: Isa) -> Result<Self, Vec<Diagnostic>> {
        let mut neutral = initial(&layers.neutral, &whole.dims, summary.earlier)?;
        let zeros = initial(&layers.summary, &whole.dims, summary.states.len())?;
        let power = match &layers.power {
            None => None,
            Some(power) => {
                let all = neutral.clone();
                neutral.truncate(summary.states.len() - summary.earlier);
                Some(Power {
                    step: kernel(&power.step, whole, isa)?,
                    compose: kernel(&power.compose, whole, isa)?,
                    neutral: all,
                })
            }
        };
        let maps = if summary.earlier == 0 { Maps::of(whole, &summary.states, isa)? } else { None };
        Ok(Self {
            states: summary.states.iter().map(|s| s.at()).collect(),
            earlier: summary.earlier,
            reverse: layers.summary.states[summary.earlier].reverse,
            summary: kernel(&layers.summary, whole, isa)?,
            apply: kernel(&layers.apply, whole, isa)?,
            neutral,
            zeros,
            power,
            maps,
        })
    }

    /// The states that are the group's own.
    pub(super) fn own(&self) -> &[usize] {
        &self.states[self.earlier..]
    }

    /// What the summary is bound to: a reset gives own states their initial values, and products their zero.
    pub(super) fn summary_bound(&self, bound: &Bound<F>) -> Bound<F> {
        let shapes = self.summary.signature().states.iter().map(|slice| &slice.shape);
        let named = self.states.iter().zip(shapes).map(|(&s, shape)| spread(&bound.initial[s], shape));
        let initial = named.chain(self.zeros.iter().cloned()).collect();
        Bound { params: bound.params.clone(), initial }
    }

    /// What the application is bound to, for stretches of that many steps.
    ///
    /// # Errors
    /// Parameters that do not fit.
    pub(super) fn apply_bound(&self, bound: &Bound<F>, steps: usize) -> Result<Bound<F>, RunError> {
        let initial = self.neutral[..self.own().len()].iter();
        let states = self.apply.signature().states.iter();
        let initial = initial.zip(states).map(|(tensor, slice)| spread(tensor, &slice.shape)).collect();
        let params = match &self.power {
            None => Vec::new(),
            Some(power) => power.of(bound, steps)?,
        };
        Ok(Bound { params, initial })
    }
}

impl<F: Real> Power<F> {
    /// The products of that many steps, by squaring.
    fn of(&self, bound: &Bound<F>, steps: usize) -> Result<Vec<Tensor<F>>, RunError> {
        let products = self.step.signature().states.len();
        let own = self.neutral.len() - products;
        let once = Sequences::batch(1, 1);
        let mut carry = one_row(self.neutral[own..].to_vec());
        let fixed = Bound { params: bound.params.clone(), initial: self.neutral[own..].to_vec() };
        self.step.run(&fixed, &once, &[], &mut carry, 1, &|_| {})?;
        let neutral = Bound { params: Vec::new(), initial: self.neutral.clone() };
        // The summary of twice as many steps, offsets left out.
        let compose = |first: &[Tensor<F>], second: &[Tensor<F>]| -> Result<Vec<Tensor<F>>, RunError> {
            let whole = |products: &[Tensor<F>]| {
                one_row(self.neutral[..own].to_vec()).states.into_iter().chain(products.iter().cloned()).collect()
            };
            let mut carry = Carry { steps: vec![0], states: whole(first), delays: Vec::new() };
            let later: Vec<Tensor<F>> = whole(second);
            self.compose.run(&neutral, &once, &later, &mut carry, 1, &|_| {})?;
            Ok(carry.states.split_off(own))
        };
        let (mut square, mut power) = (carry.states, one_row(self.neutral[own..].to_vec()).states);
        let mut left = steps;
        while left > 0 {
            if left % 2 == 1 {
                power = compose(&power, &square)?;
            }
            left /= 2;
            if left > 0 {
                square = compose(&square, &square)?;
            }
        }
        for tensor in &mut power {
            tensor.shape.remove(0);
        }
        Ok(power)
    }
}

/// Tensors as the carry of one sequence.
fn one_row<F>(mut tensors: Vec<Tensor<F>>) -> Carry<F> {
    tensors.iter_mut().for_each(|tensor| tensor.shape.insert(0, 1));
    Carry { steps: vec![0], states: tensors, delays: Vec::new() }
}

/// The tensor with further axes at its end, along which it is constant; or without them, where it has too many.
fn spread<F: Float>(tensor: &Tensor<F>, shape: &[usize]) -> Tensor<F> {
    if tensor.shape == shape {
        return tensor.clone();
    }
    let mut flat = tensor.clone();
    let rows: usize = tensor.shape.iter().product::<usize>();
    let size: usize = shape.iter().product::<usize>();
    flat.shape = vec![rows];
    let picked = if rows == 0 || size == 0 { flat.rows([]) } else { flat.rows((0..size).map(|at| at * rows / size)) };
    Tensor { shape: shape.to_vec(), elements: picked.elements }
}

/// Values of a slice that nothing reads: initial values in layers without a reset.
pub(super) fn unread<F: Float>(slice: &Tensors) -> Tensor<F> {
    let n = slice.size();
    let zeros = || vec![F::default(); n];
    let elements = match slice.kind {
        Kind::Real => Elements::Real(zeros()),
        Kind::Complex => Elements::Complex { re: zeros(), im: zeros() },
        Kind::Int => Elements::Int(vec![0; n]),
        Kind::Bool => Elements::Bool(vec![0; n]),
        Kind::Byte => Elements::Byte(vec![0; n]),
    };
    Tensor { shape: slice.shape.clone(), elements }
}
