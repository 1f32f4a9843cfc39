//! Blocks of time as matrix products.
//!
//! In: an [`Instance`] with a state whose transition is a decay, or a decay plus low rank, whose offset is a sum of outer
//! products, and that others read in sums over one of its axes only. Out: a [`Chunked`], which runs it as a kernel does.
//!
//! [`terms`] takes the step of such a state apart, [`reads`] finds who reads it, [`stages`] puts all else into layers that run
//! in order, tile after tile: what makes the factors before the state's blocks, what uses what is read behind them. The
//! blocks themselves are [`ssmc_runtime::chunked`]. A tile has a few blocks of some sequences, so that what lies between
//! the parts stays in the caches, however long the sequences are.
//!
//! A block of steps reads, multiplies and writes its state once. How many operations that saves, and when it pays, is for
//! [`crate::scan::price()`] to say.

mod cost;
mod reads;
mod run;
mod several;
mod stages;
mod terms;

use ssmc_runtime::chunked::{Access, Answer, Decay, Program, Read, Shape, Write};
use ssmc_runtime::kernel::Signature;
use ssmc_runtime::product::Vectors;

use crate::diag::{Code, Diagnostic, Span};
use crate::ir::{Instance, Layer, StateId, ValueId};
use crate::jit::{Backend, Form, Isa, Kernel, compile_for};
use crate::plan::place::interface;

pub use cost::price;
pub use several::several;
use stages::{Stage, Staged, staged};
use terms::{Core, Factor, Place};

/// Why a state has to run in order.
#[derive(Clone, Debug, PartialEq)]
struct Refusal {
    state: StateId,
    span: Span,
    why: String,
}

/// Why a layer cannot run in blocks; `None` where it can.
///
/// The diagnostic is S301, at what stands in the way of the first state that might have.
pub fn refusal(layer: &Layer) -> Option<Diagnostic> {
    staged(layer).err().map(|refusals| refused(layer, &refusals))
}

fn refused(layer: &Layer, refusals: &[Refusal]) -> Diagnostic {
    let span = layer.outputs.first().map_or(Span::default(), |output| layer.value(output.value).span);
    // What came closest is what was given up last.
    let Some(Refusal { state, span, why }) = refusals.last() else {
        return Diagnostic::error(Code::S301, span, "there are no blocks of time: the layer has no state");
    };
    let name = &layer.states[state.at()].name;
    Diagnostic::error(Code::S301, *span, format!("there are no blocks of time: `{name}`: {why}"))
}

/// A layer that runs in blocks of time.
pub struct Chunked<F> {
    signature: Signature,
    backend: Backend,
    stages: Vec<Option<Part<F>>>,
    cores: Vec<Running>,
    /// By value, for the tables that all parts share: whether it is an input of the layer, and which.
    inputs: Vec<Option<usize>>,
    /// The value of each output, or nothing for what is written by a core.
    outputs: Vec<Option<ValueId>>,
    /// The condition of a reset.
    reset: Option<ValueId>,
    /// How many rows a tile has at most, all sequences together, and of what they are a multiple.
    rows: usize,
    block: usize,
}

/// A part that runs in order.
struct Part<F> {
    kernel: Kernel<F>,
    stage: Stage,
    outputs: Vec<ValueId>,
}

/// A state that runs in blocks.
struct Running {
    program: Program,
    rank: usize,
    state: usize,
    /// The values of the factors, and where they are read.
    factors: Vec<(ValueId, Access)>,
    /// Where the state's elements stand: by head, then by key, then by value.
    heads: Vec<usize>,
    keys: Vec<usize>,
    values: Vec<usize>,
    reads: Vec<Found>,
}

/// Where what is read goes.
struct Found {
    result: ValueId,
    /// The shape of one row, and where its elements stand; where a part reads it.
    row: Option<(Vec<usize>, Access)>,
    /// Outputs of the layer.
    outputs: Vec<(usize, Access)>,
}

/// How many bytes lie between the parts of a tile: a part of a second-level cache.
const TILE: usize = 1 << 20;

/// How many steps the blocks of such a state have.
///
/// A block of `n` steps adds `n (keys + values) / 2` multiply-adds a step to the `2 keys values` and more that
/// contractions and writes take; it saves loads and stores of the state, and makes products large enough to be fast.
fn block(keys: usize, values: usize) -> usize {
    if keys.max(values) >= 128 { 64 } else { 32 }
}

fn vectors(isa: Isa) -> Vectors {
    match isa {
        Isa::Narrow => Vectors::Narrow,
        Isa::Avx2 => Vectors::Avx2,
        Isa::Avx512 => Vectors::Avx512,
    }
}

/// The instances of the parts of a layer, with the numbers of its dimensions.
fn instances(staged: &Staged, whole: &Instance) -> Result<Vec<Option<Instance>>, Vec<Diagnostic>> {
    let each = staged.stages.iter().map(|stage| {
        let Some(stage) = stage else { return Ok(None) };
        let mut instance = Instance::new(stage.layer.clone(), whole.dims.clone())?;
        instance.depths = stage.delays.iter().map(|&d| whole.depths[d]).collect();
        Ok(Some(instance))
    });
    each.collect()
}

/// Compiles a layer to run in blocks, within these instructions.
///
/// # Errors
/// S301 where no state of the layer can; what the compiler refuses of its parts.
pub fn compile<F: ssmc_runtime::Float>(instance: &Instance, isa: Isa) -> Result<Chunked<F>, Vec<Diagnostic>> {
    let staged = staged(&instance.layer).map_err(|refusals| vec![refused(&instance.layer, &refusals)])?;
    let tables = Instance::new(tables(&staged.layer), instance.dims.clone()).map_err(|p| unsuitable(instance, &p))?;
    let instances = instances(&staged, instance).map_err(|problems| unsuitable(instance, &problems))?;
    let mut stages = Vec::new();
    for (stage, instance_of) in staged.stages.iter().zip(&instances) {
        let (Some(stage), Some(part)) = (stage, instance_of) else {
            stages.push(None);
            continue;
        };
        let kernel = compile_for(part, Form::Sequence, isa).map_err(|problems| unsuitable(instance, &problems))?;
        let outputs = stage.layer.outputs.iter().map(|o| o.value).collect();
        stages.push(Some(Part { kernel, stage: stage.clone(), outputs }));
    }
    let backend = match stages.iter().flatten().next() {
        Some(part) => part.kernel.backend(),
        None => crate::jit::backend_of(instance, Form::Sequence, F::BITS, isa)?,
    };
    let cores: Vec<Running> = (0..staged.cores.len()).map(|n| running(&staged, n, &tables, isa)).collect();
    let layer = &staged.layer;
    let inputs = (0..layer.values.len() as u32).map(|v| layer.inputs.iter().position(|i| *i == ValueId(v))).collect();
    let direct = |n: usize| staged.direct.iter().any(|d| d.output == n);
    let outputs = layer.outputs.iter().enumerate().map(|(n, o)| (!direct(n)).then_some(o.value)).collect();
    let between: usize = stages
        .iter()
        .flatten()
        .flat_map(|part| &part.stage.layer.inputs)
        .map(|&v| tables.elements(v))
        .chain(cores.iter().map(|core| core.width()))
        .sum();
    let block = cores.iter().map(|core| core.program.shape.block).max().unwrap_or(1);
    Ok(Chunked {
        signature: interface(instance, F::BITS),
        backend,
        stages,
        cores,
        inputs,
        outputs,
        reset: layer.reset,
        rows: (TILE / (between.max(1) * F::BITS as usize / 8)).max(block),
        block,
    })
}

/// The tables of all parts as a layer that can have an instance.
fn tables(layer: &Layer) -> Layer {
    let mut tables = layer.clone();
    tables.equations.clear();
    tables.delays.clear();
    tables.states.clear();
    tables.requirements.clear();
    tables
}

/// The refusal of a layer whose parts cannot be compiled.
fn unsuitable(instance: &Instance, problems: &[Diagnostic]) -> Vec<Diagnostic> {
    let layer = &instance.layer;
    let span = layer.states.first().map_or(Span::default(), |state| layer.value(state.value).span);
    let why = problems.first().map_or("it cannot be compiled", |problem| &problem.message);
    vec![Diagnostic::error(Code::S301, span, format!("there are no blocks of time: {why}"))]
}

/// Why a layer cannot run in blocks with these numbers for its dimensions; `None` where it can.
pub fn refusal_of(instance: &Instance) -> Option<Diagnostic> {
    let staged = match staged(&instance.layer) {
        Ok(staged) => staged,
        Err(refusals) => return Some(refused(&instance.layer, &refusals)),
    };
    let parts = instances(&staged, instance);
    let checked = parts.and_then(|parts| parts.iter().flatten().try_for_each(crate::analysis::bounds::check));
    checked.err().and_then(|problems| unsuitable(instance, &problems).pop())
}

/// What runs, in order, a line for each part and for the blocks of each state.
///
/// # Errors
/// As for [`compile`].
pub fn outline(instance: &Instance, isa: Isa) -> Result<Vec<String>, Vec<Diagnostic>> {
    let staged = staged(&instance.layer).map_err(|refusals| vec![refused(&instance.layer, &refusals)])?;
    let tables = Instance::new(tables(&staged.layer), instance.dims.clone()).map_err(|p| unsuitable(instance, &p))?;
    let mut lines = Vec::new();
    for (rank, stage) in staged.stages.iter().enumerate() {
        for n in (0..staged.cores.len()).filter(|&n| staged.ranks[n] == rank) {
            let core = running(&staged, n, &tables, isa);
            let Program { shape, decay, writes, reads, .. } = &core.program;
            let decay = match decay {
                Decay::One => "no decay",
                Decay::Head(_) => "a decay for each matrix",
                Decay::Key(_) => "a decay for each row",
            };
            lines.push(format!(
                "blocks of {} steps of {}: {} of {} by {}, {decay}, outer products: {}, of them read back: {}, reads: {}",
                shape.block,
                instance.layer.states[core.state].name,
                shape.heads,
                shape.keys,
                shape.values,
                writes.len(),
                writes.iter().map(|w| w.answers.len()).sum::<usize>(),
                reads.len(),
            ));
        }
        if let Some(stage) = stage {
            let names: Vec<&str> = stage.layer.equations.iter().map(|e| &*stage.layer.value(e.value).name).collect();
            lines.push(format!("part {rank}: {}", names.join(", ")));
        }
    }
    Ok(lines)
}

/// From element to element along each axis of a row-major shape.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for k in (1..shape.len()).rev() {
        strides[k - 1] = strides[k] * shape[k];
    }
    strides
}

/// The places of all combinations along these axes, each with how far its steps are; the last axis runs fastest.
fn places(axes: &[(usize, usize)]) -> Vec<usize> {
    axes.iter().fold(vec![0], |places, &(extent, stride)| {
        places.iter().flat_map(|&place| (0..extent).map(move |n| place + n * stride)).collect()
    })
}

/// A core with numbers.
fn running(staged: &Staged, n: usize, tables: &Instance, isa: Isa) -> Running {
    let core = &staged.cores[n];
    let layer = &staged.layer;
    let state = &layer.states[core.state.at()];
    let shape = &tables.axes[state.value.at()];
    let extents = |axes: &[usize]| axes.iter().map(|&k| shape[k]).product::<usize>();
    let mut list: Vec<(ValueId, Access)> = Vec::new();
    let mut add = |factor: &Factor, inner: &[usize]| {
        list.push((factor.value, access(core, factor, inner, shape, &tables.axes[factor.value.at()])));
        list.len() - 1
    };
    let (key, values) = ([core.key], &core.values[..]);
    let decay = match &core.decay {
        None => Decay::One,
        Some((factor, true)) => Decay::Key(add(factor, &key)),
        Some((factor, false)) => Decay::Head(add(factor, &[])),
    };
    let mut writes = Vec::new();
    for write in &core.writes {
        let (column, value) = (add(&write.key, &key), write.value.as_ref().map(|value| add(value, values)));
        let mut answers = Vec::new();
        for (probe, scale) in &write.answers {
            answers.push(Answer { probe: add(probe, &key), scale: scale.as_ref().map(|scale| add(scale, values)) });
        }
        writes.push(Write { key: column, value, answers });
    }
    let reads: Vec<Read> =
        core.reads.iter().map(|read| Read { query: add(&read.query, &key), after: read.after }).collect();
    let (keys, columns) = (shape[core.key], extents(values));
    let step = strides(shape);
    let along = |axes: &[usize]| places(&axes.iter().map(|&k| (shape[k], step[k])).collect::<Vec<_>>());
    let found = core.reads.iter().map(|read| found(staged, core, read.result, shape)).collect();
    Running {
        program: Program {
            shape: Shape { heads: extents(&core.heads), keys, values: columns, block: block(keys, columns) },
            decay,
            writes,
            reads,
            vectors: vectors(isa),
        },
        rank: staged.ranks[n],
        state: core.state.at(),
        factors: list,
        heads: along(&core.heads),
        keys: along(&key),
        values: along(values),
        reads: found,
    }
}

/// Where a factor of a core is read, for each head and the elements along some axes of the state.
fn access(core: &Core, factor: &Factor, inner: &[usize], shape: &[usize], own: &[usize]) -> Access {
    let step = strides(own);
    let stride = |k: usize| {
        let at = factor.at.iter().zip(&step).filter(|(place, _)| **place == Place::Axis(k));
        at.map(|(_, step)| step).sum::<usize>()
    };
    let fixed = |(place, step): (&Place, &usize)| match place {
        Place::Fixed(at) => at * step,
        Place::Axis(_) => 0,
    };
    let base: usize = factor.at.iter().zip(&step).map(fixed).sum();
    let along = |axes: &[usize]| places(&axes.iter().map(|&k| (shape[k], stride(k))).collect::<Vec<_>>());
    let mut inner = along(inner);
    if inner.iter().all(|&place| place == 0) && inner.len() > 1 && own.is_empty() {
        inner = vec![0; inner.len()];
    }
    let heads = along(&core.heads).into_iter().map(|place| base + place).collect();
    Access { row: own.iter().product(), heads, inner }
}

/// Where what a core reads goes.
fn found(staged: &Staged, core: &Core, result: ValueId, shape: &[usize]) -> Found {
    let axes: Vec<usize> = (0..shape.len()).filter(|k| *k != core.key).collect();
    let placed = |row: &[usize], place: &dyn Fn(usize) -> usize| {
        let step = strides(row);
        let along = |wanted: &[usize]| {
            let each = wanted.iter().map(|&k| {
                let at = axes.iter().position(|a| *a == k).expect("all axes but the key are there");
                (shape[k], step[place(at)])
            });
            places(&each.collect::<Vec<_>>())
        };
        Access { row: row.iter().product(), heads: along(&core.heads), inner: along(&core.values) }
    };
    let row: Vec<usize> = axes.iter().map(|&k| shape[k]).collect();
    let read = staged.stages.iter().flatten().any(|stage| stage.layer.inputs.contains(&result));
    let outputs = staged.direct.iter().filter(|d| d.result == result).map(|direct| {
        let mut turned = vec![0; row.len()];
        direct.axes.iter().zip(&row).for_each(|(&to, &extent)| turned[to] = extent);
        (direct.output, placed(&turned, &|at| direct.axes[at]))
    });
    let outputs = outputs.collect();
    Found { result, row: read.then(|| (row.clone(), placed(&row, &|at| at))), outputs }
}

impl Running {
    /// About how many numbers a step moves between the parts.
    fn width(&self) -> usize {
        let Shape { heads, values, .. } = self.program.shape;
        self.factors.iter().map(|(_, access)| access.row).sum::<usize>() + self.reads.len() * heads * values
    }
}
