//! What a compiled kernel is: its arguments, and what it expects of the tensors behind them.
//!
//! A kernel is made of functions, each an `extern "C" fn(*const Arguments)`. A pass over a sequence is cut into tiles of
//! steps; in every tile its phases run one after the other, each for all steps `begin..end` of the tile:
//!
//! | argument | offset | type | meaning |
//! | --- | --- | --- | --- |
//! | `pointers` | 0 | `*const *mut u8` | one address for each [`Slot`] of the pass |
//! | `begin` | 8 | `u64` | the first step to run, counted from the start of the sequence's tensors |
//! | `end` | 16 | `u64` | behind the last step to run; a step kernel ignores it and runs `begin` |
//! | `number` | 24 | `u64` | how many steps the sequence took before the start of its tensors |
//! | `from` | 32 | `u64` | the first piece to work on, as [`Cut`] says: a block, or a step counted from `begin` |
//! | `to` | 40 | `u64` | behind the last piece |
//!
//! A pass that runs backwards goes from `end - 1` down to `begin`. What stands behind the address of a slot:
//!
//! | buffer | elements | access |
//! | --- | --- | --- |
//! | [`Buffer::Param`], [`Buffer::Initial`] | one tensor | read |
//! | [`Buffer::Input`] | a row per step, from step 0 of the sequence | read |
//! | [`Buffer::Output`], [`Buffer::Kept`] | a row per step, from step 0 of the sequence | written, read back |
//! | [`Buffer::State`] | one tensor | updated in place |
//! | [`Buffer::Delay`] | `depth + 1` rows; step `s` of the sequence (`number` counted in) is in row `s % (depth + 1)` | updated in place |
//! | [`Buffer::Report`] | for each of the signature's reports the first step where it happened, else [`NEVER`] | updated in place |
//! | [`Buffer::Derived`] | bytes, aligned to 64; what the prologue makes of the parameters | written by the prologue, read |
//! | [`Buffer::Home`] | bytes, aligned to 64; states in the order that suits the pass | written by `begin`, updated |
//! | [`Buffer::Scratch`] | bytes, aligned to 64, with any contents; last for one tile | written, read back |
//! | [`Buffer::Local`] | the same, for one range of pieces alone; they last for one call | written, read back |
//!
//! Reals have the width that the kernel was compiled for, integers 32 bits (or one byte, where the signature says so), truth values one byte; a complex
//! buffer has two slots, one for each plane.

use std::ffi::c_void;

use crate::tensor::{Elements, Float, Tensor};

/// The arguments of a kernel; see the module's table.
#[repr(C)]
#[derive(Debug)]
pub struct Arguments {
    /// One address for each slot of the pass.
    pub pointers: *const *mut u8,
    /// The first step to run.
    pub begin: u64,
    /// Behind the last step to run.
    pub end: u64,
    /// How many steps the sequence took before.
    pub number: u64,
    /// The first piece to work on.
    pub from: u64,
    /// Behind the last piece to work on.
    pub to: u64,
}

/// As [`Arguments::to`], behind all pieces: what is added to it does not overflow.
pub const WHOLE: u64 = u64::MAX >> 2;

/// Stands for a step where something has not happened.
pub const NEVER: u64 = u64::MAX;

/// Where something that is to be reported happened first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Event {
    /// In which sequence of the run.
    pub sequence: usize,
    /// In which step of the sequence, counted from its very start.
    pub step: u64,
}

/// A kernel's entry point.
pub type Entry = unsafe extern "C" fn(*const Arguments);

/// The address of a function that kernels call.
#[derive(Clone, Copy, Debug)]
pub struct Callee {
    /// The name under which kernels refer to it.
    pub name: &'static str,
    /// Its address.
    pub address: *const c_void,
}

/// The type of the elements of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Real numbers.
    Real,
    /// Complex numbers in two planes.
    Complex,
    /// 32-bit integers.
    Int,
    /// Truth values: one byte, 0 or 1.
    Bool,
    /// Integers from 0 to 255 in one byte each.
    Byte,
}

impl Kind {
    /// The size of an element of one plane in bytes, with reals of `bits`.
    pub fn bytes(self, bits: u32) -> usize {
        match self {
            Kind::Real | Kind::Complex => bits as usize / 8,
            Kind::Int => 4,
            Kind::Bool | Kind::Byte => 1,
        }
    }
}

/// What a kernel expects of one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensors {
    /// Its name, for messages.
    pub name: String,
    /// The type of its elements.
    pub kind: Kind,
    /// The shape of one step's slice.
    pub shape: Vec<usize>,
    /// Integers lie in `0..below`: kernels use them as places without a check of their own.
    pub below: Option<i64>,
}

impl Tensors {
    /// A tensor of such slices, all of them 0.
    pub fn zeros<F: Float>(&self, leading: &[usize]) -> Tensor<F> {
        let shape: Vec<usize> = leading.iter().chain(&self.shape).copied().collect();
        let size = shape.iter().product();
        let elements = match self.kind {
            Kind::Real => Elements::Real(vec![F::default(); size]),
            Kind::Complex => Elements::Complex { re: vec![F::default(); size], im: vec![F::default(); size] },
            Kind::Int => Elements::Int(vec![0; size]),
            Kind::Bool => Elements::Bool(vec![0; size]),
            Kind::Byte => Elements::Byte(vec![0; size]),
        };
        Tensor { shape, elements }
    }

    /// How many elements one slice has.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A delay line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayLine {
    /// One step's slice.
    pub slice: Tensors,
    /// How many earlier steps it keeps.
    pub depth: usize,
}

/// What stands behind an address that a kernel gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Buffer {
    /// A parameter.
    Param(usize),
    /// The initial value of a state.
    Initial(usize),
    /// An input.
    Input(usize),
    /// An output.
    Output(usize),
    /// A state.
    State(usize),
    /// A delay line.
    Delay(usize),
    /// A value that a later pass reads, for all steps.
    Kept(usize),
    /// What the prologue makes of the parameters, for all sequences.
    Derived,
    /// The pass's own memory for its states.
    Home,
    /// The pass's own memory for a tile.
    Scratch,
    /// What is to be reported: 64-bit numbers.
    Report,
    /// Memory for one range of pieces.
    Local,
}

/// One address that a kernel gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// Where it points.
    pub buffer: Buffer,
    /// Whether it is the plane of imaginary parts.
    pub imaginary: bool,
}

/// How a phase falls into pieces that depend on nothing that another one writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Into so many blocks, each with all steps of the tile.
    Blocks(usize),
    /// Into the steps of the tile.
    Steps,
}

impl Cut {
    /// How many steps stay together, so that what runs several of them side by side still can.
    const TOGETHER: usize = 4;

    /// Into how many pieces it falls, for a tile of so many steps.
    pub fn pieces(self, steps: usize) -> usize {
        match self {
            Cut::Blocks(blocks) => blocks,
            Cut::Steps => steps.div_ceil(Self::TOGETHER),
        }
    }

    /// The `n`-th of `count` ranges of about equal size, as [`Arguments::from`] and [`Arguments::to`] have it; `count` is at
    /// most [`Cut::pieces`].
    pub fn range(self, steps: usize, n: usize, count: usize) -> (usize, usize) {
        let pieces = self.pieces(steps);
        let (from, to) = (n * pieces / count, (n + 1) * pieces / count);
        match self {
            Cut::Blocks(_) => (from, to),
            Cut::Steps => (from * Self::TOGETHER, (to * Self::TOGETHER).min(steps)),
        }
    }
}

/// Code that runs for every tile of steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhaseSignature {
    /// Its place among the kernel's functions.
    pub entry: usize,
    /// The place of one that does the same and writes outputs past the caches. All addresses of outputs are multiples of 64.
    pub past: Option<usize>,
    /// What of it different threads may run at the same time.
    pub cut: Cut,
    /// Whether it writes nothing but [`Buffer::Scratch`] and [`Buffer::Local`].
    pub private: bool,
    /// About how many operations one step takes.
    pub work: u64,
}

/// How threads share the work of a pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// Each phase of a tile is cut into pieces.
    #[default]
    Pieces,
    /// Each thread takes some blocks through all tiles. Phases but the one with the blocks are small: every thread runs them
    /// for itself.
    Blocks,
    /// Threads take tiles in turn. What needs the tile before runs in the order of tiles, by one thread at a time: the phases
    /// from the first to the last of this range; all others run at the same time.
    Tiles(usize, usize),
}

/// One run over a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassSignature {
    /// Whether it runs from the last step to the first.
    pub reverse: bool,
    /// The addresses that it gets.
    pub slots: Vec<Slot>,
    /// How many bytes it needs for its states.
    pub home: usize,
    /// How many bytes it needs for a tile.
    pub scratch: usize,
    /// How many bytes each range of pieces needs for itself.
    pub local: usize,
    /// How many steps a tile has at most; 0 where there is no limit.
    pub tile: usize,
    /// Runs before the first tile of a sequence, over all blocks.
    pub begin: Option<PhaseSignature>,
    /// Run in every tile, in order.
    pub phases: Vec<PhaseSignature>,
    /// Runs after the last tile, over all blocks.
    pub end: Option<PhaseSignature>,
}

impl PassSignature {
    /// How so many threads share it.
    pub fn way(&self, threads: usize) -> Way {
        if threads < 2 {
            return Way::Pieces;
        }
        let work = |phases: &[PhaseSignature]| phases.iter().map(|phase| phase.work).sum::<u64>();
        let (all, count) = (work(&self.phases), threads as u64);
        let ordered = |phase: &PhaseSignature| phase.cut != Cut::Steps;
        let from = self.phases.iter().position(ordered).unwrap_or(self.phases.len());
        let to = self.phases.iter().rposition(ordered).map_or(from, |last| last + 1);
        // Threads wait little for each other while one of them runs a small part.
        let outside = from > 0 || to < self.phases.len();
        if outside && work(&self.phases[from..to]).saturating_mul(count) <= all {
            return Way::Tiles(from, to);
        }
        let others = all - work(&self.phases[from..to]);
        let alone = self.phases.iter().all(|phase| ordered(phase) || phase.private);
        let blocks = to == from + 1 && self.phases[from].cut != Cut::Blocks(1);
        // Waiting for each other costs half as much again as sharing everything.
        if blocks && alone && others * (count - 1) * 2 <= all {
            return Way::Blocks;
        }
        Way::Pieces
    }

    /// A forward pass with one function and no memory of its own.
    pub fn plain(slots: Vec<Slot>) -> Self {
        let phases = vec![PhaseSignature { entry: 0, past: None, cut: Cut::Blocks(1), private: false, work: 1 }];
        Self { reverse: false, slots, home: 0, scratch: 0, local: 0, tile: 0, begin: None, phases, end: None }
    }
}

/// What is computed once for all sequences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prologue {
    /// Its place among the kernel's functions.
    pub entry: usize,
    /// The addresses that it gets.
    pub slots: Vec<Slot>,
    /// How many bytes it writes to [`Buffer::Derived`].
    pub bytes: usize,
}

/// What a compiled layer takes and gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The width of its reals.
    pub bits: u32,
    /// Whether a call runs one step only.
    pub step: bool,
    /// The parameters.
    pub params: Vec<Tensors>,
    /// The inputs; a row per step.
    pub inputs: Vec<Tensors>,
    /// The states.
    pub states: Vec<Tensors>,
    /// The delays.
    pub delays: Vec<DelayLine>,
    /// The outputs; a row per step.
    pub outputs: Vec<Tensors>,
    /// The values kept between passes; a row per step.
    pub kept: Vec<Tensors>,
    /// How many things kernels report.
    pub reports: usize,
    /// What is computed from the parameters before anything else.
    pub prologue: Option<Prologue>,
    /// The passes in the order in which they run.
    pub passes: Vec<PassSignature>,
}

impl Signature {
    /// Outputs for that many rows, all of them 0.
    pub fn blank_outputs<F: Float>(&self, total: usize) -> Vec<Tensor<F>> {
        self.outputs.iter().map(|slice| slice.zeros(&[total])).collect()
    }

    /// How many functions the kernel has.
    pub fn functions(&self) -> usize {
        let functions = |phase: &PhaseSignature| 1 + usize::from(phase.past.is_some());
        let of = |pass: &PassSignature| -> usize {
            pass.begin.iter().chain(&pass.phases).chain(&pass.end).map(functions).sum()
        };
        self.prologue.iter().count() + self.passes.iter().map(of).sum::<usize>()
    }
}
