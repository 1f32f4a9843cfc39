//! Tensors, and what a run takes and gives.
//!
//! All tensors are dense and row-major. Complex tensors hold their real and their imaginary parts in two planes, so
//! that kernels load either without shuffling.

use std::borrow::Cow;
use std::fmt::{Debug, Display};
use std::ops::Range;

use crate::chunked::Blocks;
use crate::product::Element;

/// The real numbers that kernels compute with.
pub trait Float: Element + Blocks + Default + PartialEq + PartialOrd + Debug + Display + Send + Sync + 'static {
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
    /// Integers below 256, a byte each: what an input of integers may be instead.
    Byte(Vec<u8>),
}

impl<F> Elements<F> {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        match self {
            Elements::Real(v) => v.len(),
            Elements::Complex { re, .. } => re.len(),
            Elements::Int(v) => v.len(),
            Elements::Bool(v) | Elements::Byte(v) => v.len(),
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

impl<F: Copy> Tensor<F> {
    /// The rows at these places along the first axis, copied.
    ///
    /// # Panics
    /// If there is no such row, or the tensor has no axes.
    pub fn rows(&self, at: impl IntoIterator<Item = usize>) -> Self {
        let at: Vec<usize> = at.into_iter().collect();
        let size: usize = self.shape[1..].iter().product();
        fn pick<T: Copy>(from: &[T], size: usize, at: &[usize]) -> Vec<T> {
            at.iter().flat_map(|&r| &from[r * size..(r + 1) * size]).copied().collect()
        }
        let elements = match &self.elements {
            Elements::Real(v) => Elements::Real(pick(v, size, &at)),
            Elements::Complex { re, im } => Elements::Complex { re: pick(re, size, &at), im: pick(im, size, &at) },
            Elements::Int(v) => Elements::Int(pick(v, size, &at)),
            Elements::Bool(v) => Elements::Bool(pick(v, size, &at)),
            Elements::Byte(v) => Elements::Byte(pick(v, size, &at)),
        };
        let mut shape = self.shape.clone();
        shape[0] = at.len();
        Self { shape, elements }
    }

    /// Puts the rows of another tensor, in their order, to these places of this one.
    ///
    /// # Panics
    /// If the tensors differ in type or slices, or a place does not exist.
    pub fn set_rows(&mut self, at: impl IntoIterator<Item = usize>, from: &Self) {
        assert_eq!(self.shape[1..], from.shape[1..], "rows of one shape");
        let at: Vec<usize> = at.into_iter().collect();
        let size: usize = self.shape[1..].iter().product();
        fn put<T: Copy>(to: &mut [T], from: &[T], size: usize, at: &[usize]) {
            for (n, &r) in at.iter().enumerate() {
                to[r * size..(r + 1) * size].copy_from_slice(&from[n * size..(n + 1) * size]);
            }
        }
        match (&mut self.elements, &from.elements) {
            (Elements::Real(to), Elements::Real(from)) => put(to, from, size, &at),
            (Elements::Complex { re, im }, Elements::Complex { re: from_re, im: from_im }) => {
                put(re, from_re, size, &at);
                put(im, from_im, size, &at);
            }
            (Elements::Int(to), Elements::Int(from)) => put(to, from, size, &at),
            (Elements::Bool(to), Elements::Bool(from)) | (Elements::Byte(to), Elements::Byte(from)) => {
                put(to, from, size, &at);
            }
            _ => panic!("rows of one type"),
        }
    }
}

impl<F: Clone> Tensor<F> {
    /// The same tensor; bytes become integers of 32 bits.
    pub fn widened(&self) -> Self {
        match &self.elements {
            Elements::Byte(v) => {
                Self { shape: self.shape.clone(), elements: Elements::Int(v.iter().map(|&x| x.into()).collect()) }
            }
            _ => self.clone(),
        }
    }

    /// All tensors so, copied where any has bytes.
    pub fn all_widened(tensors: &[Self]) -> Cow<'_, [Self]> {
        match tensors.iter().any(|tensor| matches!(tensor.elements, Elements::Byte(_))) {
            true => tensors.iter().map(Self::widened).collect(),
            false => Cow::Borrowed(tensors),
        }
    }

    /// The same integers in bytes; `None` where one is not in `0..256`, or they are no integers.
    pub fn narrowed(&self) -> Option<Self> {
        let Elements::Int(values) = &self.elements else { return None };
        Some(Self { shape: self.shape.clone(), elements: Elements::Byte(narrowed(values)?) })
    }
}

/// Integers in bytes; `None` where one does not fit.
fn narrowed(values: &[i32]) -> Option<Vec<u8>> {
    // As many as stay in the first-level cache between the look at the largest and the copy.
    const MANY: usize = 4096;
    let mut bytes = Vec::with_capacity(values.len());
    for many in values.chunks(MANY) {
        // Without the sign, negative integers are the largest.
        if many.iter().fold(0, |largest, &x| largest.max(x as u32)) > 255 {
            return None;
        }
        bytes.extend(many.iter().map(|&x| x as u8));
    }
    Some(bytes)
}

/// How the time axis of a run is cut into sequences: inputs and outputs are `[total, ..]`, and each sequence has a
/// range of the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequences {
    /// Ascending and apart from each other.
    ranges: Vec<Range<usize>>,
    total: usize,
}

impl Sequences {
    /// `count` sequences of `length` steps each.
    pub fn batch(count: usize, length: usize) -> Self {
        Self { ranges: (0..count).map(|i| i * length..(i + 1) * length).collect(), total: count * length }
    }

    /// Sequences between ascending offsets that start at 0; `None` where they do not.
    pub fn packed(offsets: Vec<usize>) -> Option<Self> {
        let sound = offsets.first() == Some(&0) && offsets.is_sorted();
        let total = *offsets.last()?;
        sound.then(|| Self { ranges: offsets.windows(2).map(|pair| pair[0]..pair[1]).collect(), total })
    }

    /// Sequences at these rows of `total`; `None` where these are not ascending or not apart from each other. Outputs
    /// of rows that belong to none are 0.
    pub fn spaced(total: usize, ranges: Vec<Range<usize>>) -> Option<Self> {
        let inside = ranges.iter().all(|range| range.start <= range.end && range.end <= total);
        let apart = ranges.windows(2).all(|pair| pair[0].end <= pair[1].start);
        (inside && apart).then_some(Self { ranges, total })
    }

    /// How many sequences there are.
    pub fn count(&self) -> usize {
        self.ranges.len()
    }

    /// How many rows the tensors have.
    pub fn total(&self) -> usize {
        self.total
    }

    /// How many steps all sequences have together.
    pub fn steps(&self) -> usize {
        self.ranges.iter().map(Range::len).sum()
    }

    /// The steps of one sequence.
    pub fn range(&self, sequence: usize) -> Range<usize> {
        self.ranges[sequence].clone()
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

/// One run of a layer: what it reads and writes. A whole sequence, a piece of one, one step and a packed batch differ in their
/// [`Sequences`] only.
pub struct Run<'a, F> {
    /// Parameters and initial states.
    pub bound: &'a Bound<F>,
    /// Where the rows of inputs and outputs belong.
    pub sequences: &'a Sequences,
    /// The inputs, each `[total, ..]`.
    pub inputs: &'a [Tensor<F>],
    /// The outputs, each `[total, ..]`; written.
    pub outputs: &'a mut [Tensor<F>],
    /// What stands before the run, and then behind it.
    pub carry: &'a mut Carry<F>,
    /// The number of threads, 0 for all of the machine; results do not depend on it.
    pub threads: usize,
    /// Is told, now and then and from any thread, how many steps are done.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

impl<F> Run<'_, F> {
    /// The same run, lent.
    pub fn lent(&mut self) -> Run<'_, F> {
        Run { outputs: self.outputs, carry: self.carry, ..*self }
    }

    /// Some of its steps, which tell nobody how many are done.
    pub fn part<'b>(&'b mut self, sequences: &'b Sequences) -> Run<'b, F> {
        Run { sequences, progress: &|_| {}, ..self.lent() }
    }
}
