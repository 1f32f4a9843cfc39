//! Layers with at most 16 joint states, and steps that few inputs decide: maps of bytes instead of a step.
//!
//! In: a layer's kernel. Out: a [`Finite`], which gives the same outputs and carry. When parameters are first seen, the
//! layer's own step is run once from every state under every *letter* (the joint value of a step's inputs); from then on a
//! step is a shuffle of 16 bytes ([`crate::codegen::finite`]), with the outputs looked up.
//!
//! A stretch of steps composes to one [`Map`], whatever its length: what a plan needs that runs stretches of one sequence
//! at the same time.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use cranelift_codegen::Context;
use cranelift_codegen::ir::Function;
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{Module, default_libcall_names};
use ssmc_runtime::kernel::{Buffer, Entry, Kind, PassSignature, Signature, Slot, Tensors};
use ssmc_runtime::{Bound, Carry, Code, Elements, Float, Run, RunError, Sequences, Tensor, check};

use super::isa;
use crate::codegen::finite::{Look, STATES, can_shuffle, compose, planes, radix, walk};
use crate::ir::{ExprKind, Instance, Type, ValueId};

/// The most letters that are tabulated.
const LETTERS: usize = 4096;

/// The most bytes that an output may have in a step.
const ROW: usize = 256;

/// The largest table of outputs, in bytes: what stays in the second cache.
const TABLE: usize = 1 << 20;

/// How many steps must stand against one step of the tabulation, for it to pay: what a run of one step costs against
/// what a map saves of a step (`benches/finite.rs` prints both).
const WORTH: usize = 64;

/// From how many steps on it pays to look whether the tables are there.
const FEW: usize = 64;

/// A map of at most 16 states to themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map(pub [u8; STATES]);

impl Map {
    /// The map that changes nothing.
    pub const IDENTITY: Map = {
        let mut map = [0; STATES];
        let mut at = 0;
        while at < STATES {
            map[at] = at as u8;
            at += 1;
        }
        Map(map)
    };

    /// This map, and then another.
    #[must_use]
    pub fn then(self, next: Map) -> Map {
        Map(self.0.map(|state| next.0[usize::from(state) % STATES]))
    }
}

/// How many joint values a layer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Of the inputs of a step.
    pub letters: usize,
    /// Of the states.
    pub states: usize,
}

/// How many letters and states a layer has; `None` where there are too many, or its step is no map of one to the other.
pub fn counts(instance: &Instance) -> Option<Counts> {
    let layer = &instance.layer;
    let mut first = false;
    for equation in &layer.equations {
        equation.body.walk(&mut |e| first |= matches!(e.kind, ExprKind::First));
    }
    if first || layer.states.is_empty() || !layer.delays.is_empty() || layer.states.iter().any(|state| state.reverse) {
        return None;
    }
    let letters = joint(instance, layer.inputs.iter().copied(), LETTERS)?;
    let states = joint(instance, layer.states.iter().map(|state| state.value), STATES)?;
    Some(Counts { letters, states })
}

/// How many joint values there are; `None` for more than `most`.
fn joint(instance: &Instance, values: impl Iterator<Item = ValueId>, most: usize) -> Option<usize> {
    let mut product = 1_usize;
    for value in values {
        let radix = match &instance.layer.value(value).ty {
            Type::Bool => 2,
            Type::Index(extent) => usize::try_from(instance.extent(extent)?).ok()?,
            _ => return None,
        };
        if instance.elements(value) > ROW {
            return None;
        }
        for _ in 0..instance.elements(value) {
            product = product.checked_mul(radix).filter(|n| (1..=most).contains(n))?;
        }
    }
    Some(product)
}

/// A layer as maps of its states.
pub struct Finite<F> {
    look: Look,
    letters: usize,
    states: usize,
    walk: Code,
    compose: Code,
    /// The tables of the parameters that were seen last.
    tables: Mutex<Option<Tables<F>>>,
    /// Holds the code; taken when it is freed.
    module: Mutex<Option<JITModule>>,
}

/// What a layer's step is for some parameters.
struct Tables<F> {
    of: Bound<F>,
    /// The maps, then the outputs, as the parameters of [`walk`].
    made: Arc<Bound<F>>,
}

/// How large the tables of a layer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// The joint values of a step's inputs.
    pub letters: usize,
    /// The joint values of the states.
    pub states: usize,
}

impl Sizes {
    /// Whether so many steps are worth a tabulation.
    pub fn pays(self, steps: usize) -> bool {
        steps >= WORTH * self.letters * STATES
    }
}

/// The sizes for a layer with that kernel; `None` where it has too many states or letters or too large outputs, or where a
/// step depends on more than states and inputs.
pub(super) fn sizes(instance: &Instance, signature: &Signature) -> Option<Sizes> {
    let Counts { letters, states } = counts(instance)?;
    let small = |output: &Tensors| {
        let bytes = output.size() * output.kind.bytes(signature.bits);
        bytes <= ROW && bytes * letters * STATES <= TABLE
    };
    let fits = !signature.step && signature.passes.len() == 1 && signature.outputs.iter().all(small);
    fits.then_some(Sizes { letters, states })
}

impl<F: Float> Finite<F> {
    /// The maps of a layer with that kernel; `None` where [`sizes`] has none, or the machine shuffles no bytes.
    pub(super) fn of(instance: &Instance, signature: &Signature) -> Option<Self> {
        let isa = isa::host().ok().filter(|isa| can_shuffle(&**isa))?;
        let Sizes { letters, states } = sizes(instance, signature)?;
        let look = Look {
            bits: F::BITS,
            inputs: signature.inputs.iter().map(in_bytes).collect(),
            states: signature.states.clone(),
            outputs: signature.outputs.clone(),
        };
        let walking = walk_signature(&look, letters);
        let composing = compose_signature(&look, letters);
        let call_conv = isa.default_call_conv();
        let functions = [
            walk(&look, &walking.passes[0].slots, call_conv, &*isa),
            compose(&look, &composing.passes[0].slots, call_conv, &*isa),
        ];
        let mut module = JITModule::new(JITBuilder::with_isa(isa, default_libcall_names()));
        let [walk, compose] = define(&mut module, functions);
        // SAFETY: the functions were compiled for these signatures, and the module is freed with this value. Letters and states
        // are below those of the tables, as their digits lie in the ranges of the signature.
        let (walk, compose) = unsafe { (Code::new(walking, vec![walk]), Code::new(composing, vec![compose])) };
        Some(Self { look, letters, states, walk, compose, tables: Mutex::new(None), module: Mutex::new(Some(module)) })
    }

    /// How many states the layer has: those that a [`Map`] says anything about.
    pub fn states(&self) -> usize {
        self.states
    }

    /// Whether so many steps are worth a tabulation, or it has been done.
    pub(super) fn pays(&self, bound: &Bound<F>, steps: usize) -> bool {
        let done = || {
            let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
            tables.as_ref().is_some_and(|tables| tables.of == *bound)
        };
        Sizes { letters: self.letters, states: self.states }.pays(steps) || steps >= FEW && done()
    }

    /// Runs all sequences of a layer with that kernel, as [`super::Kernel::run_into`] does.
    pub(super) fn perform(&self, kernel: &Code, run: Run<'_, F>) -> Result<(), RunError> {
        let inputs = &self.taken(kernel.signature(), run.sequences, run.inputs)?;
        let tables = &self.tables(kernel, run.bound)?;
        self.walk.run(Run { inputs, bound: tables, ..run })?;
        Ok(())
    }

    /// The map of each stretch of steps. `stretches` cuts the inputs, `[total, ..]`, wherever it may.
    pub(super) fn maps(
        &self,
        kernel: &Code,
        bound: &Bound<F>,
        stretches: &Sequences,
        inputs: &[Tensor<F>],
        threads: usize,
    ) -> Result<Vec<Map>, RunError> {
        let inputs = &self.taken(kernel.signature(), stretches, inputs)?;
        let tables = self.tables(kernel, bound)?;
        let count = stretches.count();
        let identity = words(&Map::IDENTITY.0);
        let one = |shape: Vec<usize>, n: usize| Tensor { shape, elements: Elements::Int(identity.repeat(n)) };
        let tables = Bound { params: vec![tables.params[0].clone()], initial: vec![one(vec![4], 1)] };
        let states = vec![one(vec![count, 4], count)];
        let mut carry = Carry { steps: vec![0; count], states, delays: Vec::new() };
        let (bound, sequences, progress) = (&tables, stretches, &|_| {});
        self.compose.run(Run { bound, sequences, inputs, outputs: &mut [], carry: &mut carry, threads, progress })?;
        let Elements::Int(maps) = &carry.states[0].elements else { unreachable!("maps are integers") };
        Ok(maps.chunks_exact(4).map(map_of).collect())
    }

    /// The inputs as the code takes them: in bytes where these hold all their values.
    ///
    /// # Errors
    /// An integer outside of its range.
    pub(crate) fn taken<'a>(
        &self,
        signature: &Signature,
        sequences: &Sequences,
        inputs: &'a [Tensor<F>],
    ) -> Result<Cow<'a, [Tensor<F>]>, RunError> {
        let fits = |(slice, tensor): (&Tensors, &Tensor<F>)| match tensor.elements {
            Elements::Byte(_) => slice.kind == Kind::Byte,
            _ => slice.kind != Kind::Byte,
        };
        if inputs.len() != self.look.inputs.len() || self.look.inputs.iter().zip(inputs).all(fits) {
            return Ok(Cow::Borrowed(inputs));
        }
        let mut taken = Vec::new();
        for (slice, tensor) in self.look.inputs.iter().zip(inputs) {
            taken.push(match (slice.kind, &tensor.elements) {
                (Kind::Byte, Elements::Int(_)) => match tensor.narrowed() {
                    Some(narrowed) => narrowed,
                    // Says where the integer is that is out of range.
                    None => return check::check_inputs(signature, sequences, inputs).map(|()| inputs.into()),
                },
                (Kind::Int, Elements::Byte(_)) => tensor.widened(),
                _ => tensor.clone(),
            });
        }
        Ok(Cow::Owned(taken))
    }

    /// Puts a sequence's states behind a stretch of steps with that map; the number of steps is the caller's to count.
    pub fn apply(&self, map: Map, carry: &mut Carry<F>, sequence: usize) {
        let mut code = 0;
        for (state, tensor) in self.look.states.iter().zip(&carry.states) {
            for element in 0..state.size() {
                let at = sequence * state.size() + element;
                code = code * radix(state).unwrap_or(1) + digit(&tensor.elements, at);
            }
        }
        self.put(usize::from(map.0[code % STATES]), &mut carry.states, sequence);
    }

    /// Writes the elements of the state with that number.
    fn put(&self, mut code: usize, states: &mut [Tensor<F>], sequence: usize) {
        for (state, tensor) in self.look.states.iter().zip(states).rev() {
            code = spread(code, state, tensor, sequence);
        }
    }

    /// The tables for these parameters.
    fn tables(&self, kernel: &Code, bound: &Bound<F>) -> Result<Arc<Bound<F>>, RunError> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Tables { of, made }) = &*tables
            && of == bound
        {
            return Ok(made.clone());
        }
        let made = Arc::new(self.tabulate(kernel, bound)?);
        *tables = Some(Tables { of: bound.clone(), made: made.clone() });
        Ok(made)
    }

    /// Runs one step from every state under every letter.
    fn tabulate(&self, kernel: &Code, bound: &Bound<F>) -> Result<Bound<F>, RunError> {
        let rows = self.letters * STATES;
        let mut inputs: Vec<Tensor<F>> = self.look.inputs.iter().map(|input| zeros(input, rows)).collect();
        let mut states: Vec<Tensor<F>> = self.look.states.iter().map(|state| zeros(state, rows)).collect();
        for row in 0..rows {
            let mut letter = row / STATES;
            for (input, tensor) in self.look.inputs.iter().zip(&mut inputs).rev() {
                letter = spread(letter, input, tensor, row);
            }
            // Beyond the last state there is none: no code leads there.
            self.put((row % STATES).min(self.states - 1), &mut states, row);
        }
        let mut carry = Carry { steps: vec![1; rows], states, delays: Vec::new() };
        let sequences = &Sequences::batch(rows, 1);
        let mut outputs = kernel.signature().blank_outputs(rows);
        let (inputs, progress) = (&inputs, &|_| {});
        kernel.run(Run { bound, sequences, inputs, outputs: &mut outputs, carry: &mut carry, threads: 1, progress })?;
        let mut maps = vec![0; rows];
        for (row, map) in maps.iter_mut().enumerate() {
            let mut code = 0;
            for (state, tensor) in self.look.states.iter().zip(&carry.states) {
                for element in 0..state.size() {
                    code = code * radix(state).unwrap_or(1) + digit(&tensor.elements, row * state.size() + element);
                }
            }
            *map = code as u8;
        }
        let maps = Tensor { shape: vec![self.letters, 4], elements: Elements::Int(words(&maps)) };
        Ok(Bound { params: std::iter::once(maps).chain(outputs).collect(), initial: bound.initial.clone() })
    }
}

/// The same tensor with integers in bytes, if these hold all of them.
fn in_bytes(tensors: &Tensors) -> Tensors {
    let small = tensors.kind == Kind::Int && tensors.below.is_some_and(|below| below <= 256);
    Tensors { kind: if small { Kind::Byte } else { tensors.kind }, ..tensors.clone() }
}

fn digit<F>(elements: &Elements<F>, at: usize) -> usize {
    match elements {
        Elements::Int(values) => values[at] as usize,
        Elements::Bool(values) => usize::from(values[at]),
        _ => unreachable!("states are integers of 32 bits and truth values"),
    }
}

/// Writes the last digits of a number as the elements of a row, and gives the digits that are left.
fn spread<F>(mut code: usize, tensors: &Tensors, tensor: &mut Tensor<F>, row: usize) -> usize {
    let radix = radix(tensors).unwrap_or(1);
    for element in (0..tensors.size()).rev() {
        let (at, digit) = (row * tensors.size() + element, code % radix);
        match &mut tensor.elements {
            Elements::Int(values) => values[at] = digit as i32,
            Elements::Bool(values) => values[at] = digit as u8,
            _ => unreachable!("tables are made of integers of 32 bits and truth values"),
        }
        code /= radix;
    }
    code
}

fn zeros<F>(tensors: &Tensors, rows: usize) -> Tensor<F> {
    let shape = std::iter::once(rows).chain(tensors.shape.iter().copied()).collect();
    let elements = match tensors.kind {
        Kind::Bool => Elements::Bool(vec![0; rows * tensors.size()]),
        _ => Elements::Int(vec![0; rows * tensors.size()]),
    };
    Tensor { shape, elements }
}

/// Bytes as integers of 32 bits, in the order of memory.
fn words(bytes: &[u8]) -> Vec<i32> {
    bytes.chunks_exact(4).map(|word| i32::from_ne_bytes([word[0], word[1], word[2], word[3]])).collect()
}

fn map_of(words: &[i32]) -> Map {
    let mut map = [0; STATES];
    for (bytes, word) in map.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    Map(map)
}

fn slots(buffer: impl Fn(usize) -> Buffer, tensors: &[Tensors]) -> impl Iterator<Item = Slot> {
    tensors.iter().enumerate().flat_map(move |(at, tensor)| {
        let buffer = buffer(at);
        planes(tensor).iter().map(move |&imaginary| Slot { buffer, imaginary })
    })
}

fn maps_tensor(letters: usize) -> Tensors {
    Tensors { name: "maps".to_owned(), kind: Kind::Int, shape: vec![letters, 4], below: None }
}

fn walk_signature(look: &Look, letters: usize) -> Signature {
    let table = |output: &Tensors| {
        let shape = std::iter::once(letters * STATES).chain(output.shape.iter().copied()).collect();
        Tensors { shape, ..output.clone() }
    };
    let params: Vec<Tensors> = std::iter::once(maps_tensor(letters)).chain(look.outputs.iter().map(table)).collect();
    let slots = slots(Buffer::Param, &params)
        .chain(slots(Buffer::Input, &look.inputs))
        .chain(slots(Buffer::State, &look.states))
        .chain(slots(Buffer::Output, &look.outputs));
    Signature {
        bits: look.bits,
        step: false,
        inputs: look.inputs.clone(),
        states: look.states.clone(),
        delays: Vec::new(),
        outputs: look.outputs.clone(),
        kept: Vec::new(),
        reports: 0,
        prologue: None,
        passes: vec![PassSignature::plain(slots.collect())],
        params,
    }
}

fn compose_signature(look: &Look, letters: usize) -> Signature {
    let params = vec![maps_tensor(letters)];
    let states = vec![Tensors { name: "map".to_owned(), kind: Kind::Int, shape: vec![4], below: None }];
    let slots =
        slots(Buffer::Param, &params).chain(slots(Buffer::Input, &look.inputs)).chain(slots(Buffer::State, &states));
    Signature {
        bits: look.bits,
        step: false,
        inputs: look.inputs.clone(),
        delays: Vec::new(),
        outputs: Vec::new(),
        kept: Vec::new(),
        reports: 0,
        prologue: None,
        passes: vec![PassSignature::plain(slots.collect())],
        params,
        states,
    }
}

fn define<const N: usize>(module: &mut JITModule, functions: [Function; N]) -> [Entry; N] {
    fn bug<T, E: std::fmt::Debug>(result: Result<T, E>) -> T {
        result.unwrap_or_else(|error| panic!("jit: the maps of a finite layer cannot be compiled: {error:?}"))
    }
    let ids = functions.map(|function| {
        let id = bug(module.declare_anonymous_function(&function.signature));
        bug(module.define_function(id, &mut Context::for_function(function)));
        id
    });
    bug(module.finalize_definitions());
    ids.map(|id| {
        let code = module.get_finalized_function(id);
        // SAFETY: the function was defined with the type of an entry.
        unsafe { std::mem::transmute::<*const u8, Entry>(code) }
    })
}

impl<F> Drop for Finite<F> {
    fn drop(&mut self) {
        let module = self.module.get_mut().ok().and_then(Option::take);
        if let Some(module) = module {
            // SAFETY: the entries are private to this value and cannot be called any more.
            unsafe { module.free_memory() };
        }
    }
}
