//! Tensors, and what a run takes and gives.
//!
//! All tensors are dense and row-major. Complex tensors hold their real and their imaginary parts in two planes, so
//! that kernels load either without shuffling.

use std::fmt::{Debug, Display};

/// The real numbers that kernels compute with.
pub trait Float: Copy + Default + PartialEq + PartialOrd + Debug + Display + Send + Sync + 'static {
    /// How many bits it has.
    const BITS: u32;
    /// The nearest value.
    fn from_f64(value: f64) -> Self;
    /// The same value.
    fn to_f64(self) -> f64;
}

impl Float for f32 {
    const BITS: u32 = 32;
    fn from_f64(value: f64) -> Self {
        value as f32
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Float for f64 {
    const BITS: u32 = 64;
    fn from_f64(value: f64) -> Self {
        value
    }
    fn to_f64(self) -> f64 {
        self
    }
}

/// The elements of a tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Elements<F> {
    /// Real numbers.
    Real(Vec<F>),
    /// Complex numbers, in two planes of equal length.
    Complex {
        /// The real parts.
        re: Vec<F>,
        /// The imaginary parts.
        im: Vec<F>,
    },
    /// Integers.
    Int(Vec<i32>),
    /// Truth values: 0 or 1.
    Bool(Vec<u8>),
}

impl<F> Elements<F> {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        match self {
            Elements::Real(v) => v.len(),
            Elements::Complex { re, .. } => re.len(),
            Elements::Int(v) => v.len(),
            Elements::Bool(v) => v.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A dense, row-major tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<F> {
    /// The extents of its axes.
    pub shape: Vec<usize>,
    /// As many elements as the product of the extents.
    pub elements: Elements<F>,
}

/// How the time axis of a run is cut into sequences: inputs and outputs are `[total, ..]`, and sequence `i` is
/// `offsets[i]..offsets[i + 1]` of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequences {
    offsets: Vec<usize>,
}

impl Sequences {
    /// `count` sequences of `length` steps each.
    pub fn batch(count: usize, length: usize) -> Self {
        Self { offsets: (0..=count).map(|i| i * length).collect() }
    }

    /// Sequences between ascending offsets that start at 0; `None` where they do not.
    pub fn packed(offsets: Vec<usize>) -> Option<Self> {
        let sound = offsets.first() == Some(&0) && offsets.is_sorted();
        sound.then_some(Self { offsets })
    }

    /// How many sequences there are.
    pub fn count(&self) -> usize {
        self.offsets.len() - 1
    }

    /// How many steps all sequences have together.
    pub fn total(&self) -> usize {
        self.offsets[self.count()]
    }

    /// The steps of one sequence.
    pub fn range(&self, sequence: usize) -> std::ops::Range<usize> {
        self.offsets[sequence]..self.offsets[sequence + 1]
    }
}

/// A layer's parameters and initial states: what is fixed for all sequences.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound<F> {
    /// The parameters in the order of their declaration.
    pub params: Vec<Tensor<F>>,
    /// The initial value of each state, in the order of the declaration.
    pub initial: Vec<Tensor<F>>,
}

/// What one piece of a run hands to the next.
#[derive(Clone, Debug, PartialEq)]
pub struct Carry<F> {
    /// How many steps each sequence has taken.
    pub steps: Vec<u64>,
    /// The states in the order of their declaration, each `[sequences, ..]`.
    pub states: Vec<Tensor<F>>,
    /// The delays in the layer's order, each `[sequences, depth, ..]`; row `j` is the value of `j + 1` steps ago.
    pub delays: Vec<Tensor<F>>,
}
