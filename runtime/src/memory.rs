//! Memory for kernels, and for matrices.

use std::fmt::{self, Debug, Formatter};
use std::ops::{Deref, DerefMut};

use crate::tensor::Float;

/// Zeroed memory, aligned to a cache line.
#[derive(Default)]
pub(crate) struct Memory {
    lines: Vec<Line>,
}

#[repr(align(64))]
#[derive(Clone, Copy)]
struct Line(#[allow(dead_code, reason = "only its address is used")] [u8; 64]);

impl Memory {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { lines: vec![Line([0; 64]); bytes.div_ceil(64)] }
    }

    /// Zeroes it again.
    pub(crate) fn clear(&mut self) {
        if !self.lines.is_empty() {
            self.lines.fill(Line([0; 64]));
        }
    }

    pub(crate) fn base(&mut self) -> *mut u8 {
        self.lines.as_mut_ptr().cast()
    }

    /// The same for those who only read.
    pub(crate) fn start(&self) -> *mut u8 {
        self.lines.as_ptr().cast_mut().cast()
    }
}

/// Numbers that begin at a cache line.
pub(crate) struct Aligned<F> {
    elements: Vec<F>,
    start: usize,
    len: usize,
}

impl<F: Float> Aligned<F> {
    /// That many, all 0.
    pub(crate) fn zeros(len: usize) -> Self {
        let elements = vec![F::default(); len + 64 / size_of::<F>()];
        let start = elements.as_ptr().align_offset(64).min(elements.len() - len);
        Self { elements, start, len }
    }
}

impl<F> Deref for Aligned<F> {
    type Target = [F];

    fn deref(&self) -> &[F] {
        &self.elements[self.start..self.start + self.len]
    }
}

impl<F> DerefMut for Aligned<F> {
    fn deref_mut(&mut self) -> &mut [F] {
        &mut self.elements[self.start..self.start + self.len]
    }
}

/// The numbers, wherever they lie.
impl<F: Debug> Debug for Aligned<F> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<F: Float> Clone for Aligned<F> {
    fn clone(&self) -> Self {
        let mut copy = Self::zeros(self.len);
        copy.copy_from_slice(self);
        copy
    }
}
