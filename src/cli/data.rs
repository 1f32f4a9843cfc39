//! Which tensor of which file is which value of the layer.
//!
//! First everything is located, by what the files say about it: that gives the dimensions and the layout of the run.
//! Then it is read, in the types and shapes that the instance asks for. Names that the layer does not declare are
//! ignored; each option looks in its own files only.

use ssmc::diag::{Code, Diagnostic};
use ssmc::ir::{self, Instance, ValueId, print};
use ssmc_runtime::{Carry, Elements, Float, Sequences, Tensor};

use super::files::{Files, Found};
use super::layout::Layout;
use super::tensors::{Dtype, Kind, shape_text};

/// The axes of given tensors, as [`ir::instance::solve_dims`] takes them.
pub type Shapes = Vec<(ValueId, Vec<usize>, String)>;

/// The most steps of a run.
const MAX_STEPS: usize = 1 << 48;

/// The most sequences without a step in a run: they are only memory.
const MAX_EMPTY: usize = 1 << 16;

/// The kind of a value's elements, before dimensions are known.
fn kind_of(layer: &ir::Layer, value: ValueId) -> Kind {
    Kind::of(&layer.value(value).ty, &[])
}

/// The same with its range.
fn kind_in(instance: &Instance, value: ValueId) -> Kind {
    let dims: Vec<Option<i64>> = instance.dims.iter().copied().map(Some).collect();
    Kind::of(&instance.layer.value(value).ty, &dims)
}

/// Located parameters, in the order of the declaration; `None` where the initialiser gives the value.
pub struct Params(Vec<Option<Found>>);

impl Params {
    /// Looks up all parameters.
    ///
    /// # Errors
    /// S403 for each that is missing and has no initialiser.
    pub fn locate(
        layer: &ir::Layer,
        prefix: &str,
        files: &mut Files,
        others: &[&Files],
        shapes: &mut Shapes,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut located = Vec::new();
        let mut errors = Vec::new();
        for param in &layer.params {
            let name = format!("{prefix}{}", param.key);
            let found = files.find("param", &name).and_then(|found| match found {
                None if param.init.is_none() => Err(files.missing("param", &name, "the parameter", others)),
                None => Ok(None),
                Some(found) => {
                    let shape = files.shape(&found, kind_of(layer, param.value))?;
                    shapes.push((param.value, shape, files.path(&found).to_owned()));
                    Ok(Some(found))
                }
            });
            match found {
                Ok(found) => located.push(found),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Self(located)) } else { Err(errors) }
    }

    /// Reads those that files give.
    ///
    /// # Errors
    /// S405, S406 and those of the files.
    pub fn read<F: Float>(
        &self,
        instance: &Instance,
        files: &mut Files,
    ) -> Result<Vec<Option<Tensor<F>>>, Vec<Diagnostic>> {
        each(instance.layer.params.iter().zip(&self.0), |(param, found)| {
            let Some(found) = found else { return Ok(None) };
            let elements = files.read(found, kind_in(instance, param.value))?;
            tensor(files, found, instance.axes[param.value.at()].clone(), elements).map(Some)
        })
    }
}

/// Located inputs, in the order of the declaration.
pub struct Inputs(Vec<Found>);

impl Inputs {
    /// Looks up all inputs, and finds how the sequences lie in them.
    ///
    /// `batch` is the batch axis that the state files have, and `seq` the number of steps that the user chose: they
    /// count for a layer without inputs, which takes one step if nothing was chosen.
    ///
    /// # Errors
    /// S403 for a missing input, S404 where the leading axes do not agree, S405 and S406 for `cu_seqlens`, S408
    /// for a run that is too long.
    pub fn locate(
        layer: &ir::Layer,
        files: &mut Files,
        others: &[&Files],
        seq: Option<usize>,
        batch: Option<usize>,
        shapes: &mut Shapes,
    ) -> Result<(Self, Layout), Vec<Diagnostic>> {
        let mut located = Vec::new();
        let mut leads: Vec<(Vec<usize>, String)> = Vec::new();
        let mut errors = Vec::new();
        for &input in &layer.inputs {
            match Self::locate_one(layer, input, files, others) {
                Ok((found, mut lead)) => {
                    let slice = lead.split_off(lead.len() - layer.value(input).axes.len());
                    shapes.push((input, slice, files.path(&found).to_owned()));
                    leads.push((lead, files.place(&found)));
                    located.push(found);
                }
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let declared = layer.inputs.iter().any(|&input| layer.value(input).name == "cu_seqlens");
        let cuts = if declared { None } else { files.find("in", "cu_seqlens").map_err(one)? };
        if seq.is_some() && (cuts.is_some() || !leads.is_empty()) {
            let message = "the inputs have the number of steps";
            let error = Diagnostic::error_at(Code::S407, "--seq", message);
            return Err(one(error.help("--seq is for layers without inputs")));
        }
        let layout = match (cuts, leads.first()) {
            (Some(cuts), first) => packed(files, &cuts, first).map_err(one)?,
            (None, Some(first)) => match first.0[..] {
                [batch, seq] => Layout::Batch { batch, seq },
                _ => Layout::Single { seq: first.0[0] },
            },
            (None, None) => {
                // One step shows what a layer returns that depends on nothing.
                let seq = seq.unwrap_or(1);
                batch.map_or(Layout::Single { seq }, |batch| Layout::Batch { batch, seq })
            }
        };
        agree(&leads).map_err(one)?;
        check_size(&layout).map_err(one)?;
        Ok((Self(located), layout))
    }

    fn locate_one(
        layer: &ir::Layer,
        input: ValueId,
        files: &mut Files,
        others: &[&Files],
    ) -> Result<(Found, Vec<usize>), Diagnostic> {
        let value = layer.value(input);
        let Some(found) = files.find("in", &value.name)? else {
            return Err(files.missing("in", &value.name, "the input", others));
        };
        let shape = files.shape(&found, kind_of(layer, input))?;
        if (1..=2).contains(&shape.len().saturating_sub(value.axes.len())) && shape.len() > value.axes.len() {
            return Ok((found, shape));
        }
        let message = format!(
            "expected `{}` or `{}`, found {}",
            with_lead(&["seq"], layer, &value.axes),
            with_lead(&["batch", "seq"], layer, &value.axes),
            shape_text(&shape)
        );
        Err(files.error(&found, Code::S404, message))
    }

    /// Reads all inputs as `[total, ..]`.
    ///
    /// # Errors
    /// S405, S406 and those of the files.
    pub fn read<F: Float>(
        &self,
        instance: &Instance,
        layout: &Layout,
        files: &mut Files,
    ) -> Result<Vec<Tensor<F>>, Vec<Diagnostic>> {
        each(instance.layer.inputs.iter().zip(&self.0), |(&input, found)| {
            let kind = match kind_in(instance, input) {
                Kind::Int { below: Some(below) } => Kind::Token { below },
                kind => kind,
            };
            let elements = files.read(found, kind)?;
            let mut shape = vec![layout.total()];
            shape.extend(&instance.axes[input.at()]);
            tensor(files, found, shape, elements)
        })
    }
}

/// Located states, delays and step counts; `None` where the initial value counts.
pub struct States {
    states: Vec<Option<Found>>,
    delays: Vec<Option<Found>>,
    step: Option<Found>,
    /// The batch axis that some tensor has.
    pub batch: Option<usize>,
}

impl States {
    /// Looks up everything that is carried.
    ///
    /// # Errors
    /// S404 for a tensor of a wrong rank, and those of the files.
    pub fn locate(layer: &ir::Layer, files: &mut Files, shapes: &mut Shapes) -> Result<Self, Vec<Diagnostic>> {
        let mut batch = None;
        let states = each(&layer.states, |state| {
            Self::locate_one(layer, state.value, &state.name, &[], files, shapes, &mut batch)
        })?;
        let delays = each(layer.delays.iter().enumerate(), |(at, &delay)| {
            let name = format!("delay.{at}");
            Self::locate_one(layer, delay, &name, &["depth"], files, shapes, &mut batch)
        })?;
        let declared = layer.states.iter().any(|state| state.name == "step");
        let step = if declared { None } else { files.find("state0", "step").map_err(one)? };
        Ok(Self { states, delays, step, batch })
    }

    /// Whether no file has anything of the layer's.
    pub fn is_empty(&self) -> bool {
        self.step.is_none() && self.states.iter().chain(&self.delays).all(Option::is_none)
    }

    fn locate_one(
        layer: &ir::Layer,
        value: ValueId,
        name: &str,
        lead: &[&str],
        files: &mut Files,
        shapes: &mut Shapes,
        batch: &mut Option<usize>,
    ) -> Result<Option<Found>, Diagnostic> {
        let Some(found) = files.find("state0", name)? else { return Ok(None) };
        let shape = files.shape(&found, kind_of(layer, value))?;
        let axes = &layer.value(value).axes;
        let plain = lead.len() + axes.len();
        if shape.len() != plain && shape.len() != plain + 1 {
            let message = format!(
                "expected `{}` or `{}`, found {}",
                with_lead(lead, layer, axes),
                with_lead(&[&["batch"], lead].concat(), layer, axes),
                shape_text(&shape)
            );
            return Err(files.error(&found, Code::S404, message));
        }
        if shape.len() > plain {
            *batch = Some(shape[0]);
        }
        let slice = shape[shape.len() - axes.len()..].to_vec();
        shapes.push((value, slice, files.path(&found).to_owned()));
        Ok(Some(found))
    }

    /// Puts what the files have in the place of the initial values.
    ///
    /// # Errors
    /// S404 for a batch or a depth that is not the run's, S405, S406 and those of the files.
    pub fn read<F: Float>(
        &self,
        instance: &Instance,
        carry: &mut Carry<F>,
        files: &mut Files,
    ) -> Result<(), Vec<Diagnostic>> {
        let layer = &instance.layer;
        let values = layer.states.iter().map(|state| state.value).chain(layer.delays.iter().copied());
        let located = self.states.iter().chain(&self.delays);
        let carried = carry.states.iter_mut().chain(&mut carry.delays);
        each(values.zip(located).zip(carried), |((value, found), tensor)| {
            let Some(found) = found else { return Ok(()) };
            let kind = kind_in(instance, value);
            let shape = files.shape(found, kind)?;
            let expected = &tensor.shape;
            if shape != expected[..] && shape != expected[1..] {
                let message = format!(
                    "expected {} or {}, found {}",
                    shape_text(&expected[1..]),
                    shape_text(expected),
                    shape_text(&shape)
                );
                return Err(files.error(found, Code::S404, message));
            }
            let whole = shape.len() == expected.len();
            let elements = files.read(found, kind)?;
            tensor.elements = if whole { elements } else { repeat(elements, expected[0]) };
            Ok(())
        })?;
        if let Some(found) = &self.step {
            carry.steps = steps(files, found, carry.steps.len()).map_err(one)?;
        }
        Ok(())
    }
}

/// The step counts of all sequences.
fn steps(files: &mut Files, found: &Found, count: usize) -> Result<Vec<u64>, Diagnostic> {
    let shape = &found.entry.shape;
    if !shape.is_empty() && shape[..] != [1] && shape[..] != [count] {
        let message = format!("expected `[]` or `[{count}]`, found {}", shape_text(shape));
        return Err(files.error(found, Code::S404, message));
    }
    let values = files.read_integers(found)?;
    let mut steps = Vec::with_capacity(count);
    for value in values {
        // Room for the steps of this run.
        if !(0..=i64::MAX / 2).contains(&value) {
            let message = format!("{value} is not a number of steps");
            return Err(files.error(found, Code::S406, message));
        }
        steps.push(value as u64);
    }
    if let ([one], true) = (&steps[..], count != 1) {
        steps = vec![*one; count];
    }
    Ok(steps)
}

/// The layout of packed sequences.
fn packed(files: &mut Files, cuts: &Found, first: Option<&(Vec<usize>, String)>) -> Result<Layout, Diagnostic> {
    if let Some((lead, place)) = first
        && lead.len() != 1
    {
        let message = format!(
            "`cu_seqlens` cuts `[total, ..]` into sequences, but {place} has a batch axis: it leads with {}",
            shape_text(lead)
        );
        return Err(files.error(cuts, Code::S404, message));
    }
    if !matches!(cuts.entry.dtype, Some(Dtype::I32 | Dtype::I64)) {
        let message = format!("expected i32 or i64, found {}", cuts.entry.dtype_name);
        return Err(files.error(cuts, Code::S405, message));
    }
    if cuts.entry.shape.len() != 1 || cuts.entry.shape[0] == 0 {
        let message = format!("expected `[n + 1]`, found {}", shape_text(&cuts.entry.shape));
        return Err(files.error(cuts, Code::S404, message));
    }
    let values = files.read_integers(cuts)?;
    let total = first.map(|(lead, _)| lead[0] as i64);
    let mut previous = 0;
    for (at, &value) in values.iter().enumerate() {
        let why = if at == 0 && value != 0 {
            "the first must be 0".to_owned()
        } else if value < previous {
            format!("they must ascend, and the one before is {previous}")
        } else if let Some(total) = total.filter(|&total| value > total) {
            format!("the inputs have {total} steps")
        } else {
            previous = value;
            continue;
        };
        return Err(files.error(cuts, Code::S406, format!("element {at} is {value}: {why}")));
    }
    if let Some(total) = total
        && previous != total
    {
        let message = format!("the last element is {previous}; the inputs have {total} steps");
        return Err(files.error(cuts, Code::S406, message));
    }
    let offsets = values.into_iter().map(|value| value as usize).collect();
    Sequences::packed(offsets)
        .map(Layout::Packed)
        .ok_or_else(|| files.error(cuts, Code::S406, "the elements do not ascend from 0"))
}

/// Makes sure that all inputs lead with the same axes.
fn agree(leads: &[(Vec<usize>, String)]) -> Result<(), Diagnostic> {
    let Some((first, first_place)) = leads.first() else { return Ok(()) };
    let axes = |lead: &[usize]| if lead.len() == 2 { "`[batch, seq]`" } else { "`[seq]`" };
    match leads.iter().find(|(lead, _)| lead != first) {
        None => Ok(()),
        Some((other, place)) => Err(Diagnostic::error_at(
            Code::S404,
            place.clone(),
            format!(
                "the inputs do not agree: here {} is {}, in {first_place} {} is {}",
                axes(other),
                shape_text(other),
                axes(first),
                shape_text(first)
            ),
        )),
    }
}

fn check_size(layout: &Layout) -> Result<(), Diagnostic> {
    let steps = match layout {
        Layout::Batch { batch, seq } => batch.checked_mul(*seq),
        Layout::Single { seq } => Some(*seq),
        Layout::Packed(sequences) => Some(sequences.total()),
    };
    let message = match steps {
        Some(0) if layout.count() > MAX_EMPTY => {
            format!("{} sequences without a step are more than {MAX_EMPTY}", layout.count())
        }
        Some(steps) if steps <= MAX_STEPS => return Ok(()),
        _ => format!("the run has more than {MAX_STEPS} steps"),
    };
    Err(Diagnostic::error_at(Code::S408, "the run", message))
}

/// A tensor with a last check of what the instance asks for.
fn tensor<F>(files: &Files, found: &Found, shape: Vec<usize>, elements: Elements<F>) -> Result<Tensor<F>, Diagnostic> {
    if shape.iter().product::<usize>() != elements.len() {
        let message = format!("expected {}, found {}", shape_text(&shape), shape_text(&found.entry.shape));
        return Err(files.error(found, Code::S404, message));
    }
    Ok(Tensor { shape, elements })
}

/// The same elements for every sequence.
fn repeat<F: Float>(elements: Elements<F>, count: usize) -> Elements<F> {
    match elements {
        Elements::Real(v) => Elements::Real(v.repeat(count)),
        Elements::Complex { re, im } => Elements::Complex { re: re.repeat(count), im: im.repeat(count) },
        Elements::Int(v) => Elements::Int(v.repeat(count)),
        Elements::Bool(v) => Elements::Bool(v.repeat(count)),
        Elements::Byte(v) => Elements::Byte(v.repeat(count)),
    }
}

/// `[batch, seq, D]`
fn with_lead(lead: &[&str], layer: &ir::Layer, axes: &[ir::Extent]) -> String {
    let extents = axes.iter().map(|axis| print::extent(layer, axis));
    let all: Vec<String> = lead.iter().map(|&name| name.to_owned()).chain(extents).collect();
    format!("[{}]", all.join(", "))
}

/// Does something for each, and collects what is wrong with any.
fn each<T, U>(
    items: impl IntoIterator<Item = T>,
    mut action: impl FnMut(T) -> Result<U, Diagnostic>,
) -> Result<Vec<U>, Vec<Diagnostic>> {
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    for item in items {
        match action(item) {
            Ok(result) => results.push(result),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(results) } else { Err(errors) }
}

fn one(error: Diagnostic) -> Vec<Diagnostic> {
    vec![error]
}
