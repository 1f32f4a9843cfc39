//! A layer with numbers for its dimensions.
//!
//! In: a [`Layer`] and a number for each dimension ([`solve_dims`] finds them from options, the shapes of tensors
//! and defaults). Out: an [`Instance`], or why these numbers cannot be run. An instance promises:
//!
//! - every dimension is in `1..=MAX_DIM`, every extent in `0..=MAX_DIM`;
//! - every tensor of a step, and every delay with all its rows, has at most [`MAX_ELEMENTS`] elements;
//! - the layer's requirements hold;
//! - no integer expression leaves 64 bits, and none that is stored leaves 32 (see [`super::ranges`]);
//! - `argmax`, `argmin`, `mean`, and `max` and `min` of integers, never run over nothing.
//!
//! That accesses stay inside for all dimensions that meet the requirements is for [`crate::sema`] to show;
//! [`crate::analysis::bounds`] shows it for an instance, wherever it comes from.

use super::ranges::Ranges;
use super::{Extent, Layer, print};
use crate::diag::{Code, Diagnostic, Span};

pub use super::solve::{solve_dims, solve_dims_or};

/// The largest dimension or extent.
pub const MAX_DIM: i64 = i32::MAX as i64;

/// The most elements that a tensor of one step may have.
pub const MAX_ELEMENTS: usize = 1 << 28;

/// A layer with numbers for its dimensions: every extent is known, every size is one that can be run.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The layer.
    pub layer: Layer,
    /// The value of each dimension, at least 1.
    pub dims: Vec<i64>,
    /// The shape of one step's slice of each value; by [`super::ValueId`].
    pub axes: Vec<Vec<usize>>,
    /// The extent of each index; by [`super::IndexId`].
    pub extents: Vec<usize>,
    /// How many earlier steps each delay keeps, at least 1; in the order of [`Layer::delays`].
    pub depths: Vec<usize>,
    /// Whether a sequence is run by one thread, so that no work need be left for others.
    pub one_thread: bool,
    /// How many steps of its sequences one of its steps is: its inputs and outputs come that many times in a row.
    pub steps: usize,
}

impl Instance {
    /// Gives the layer's dimensions these numbers, in the order of their declaration.
    ///
    /// # Errors
    /// S408 sizes beyond the limits, and reductions over nothing that have no value; S412 requirements that do
    /// not hold; S414 integers that may leave their range.
    ///
    /// # Panics
    /// If there are not as many numbers as dimensions.
    pub fn new(layer: Layer, dims: Vec<i64>) -> Result<Instance, Vec<Diagnostic>> {
        assert_eq!(dims.len(), layer.dims.len(), "one number for each dimension");
        let mut problems = Vec::new();
        for (dim, &value) in layer.dims.iter().zip(&dims) {
            if !(1..=MAX_DIM).contains(&value) {
                let message = format!("dimension `{}` is {value}; it must be in 1..={MAX_DIM}", dim.name);
                problems.push(Diagnostic::error(Code::S408, dim.span, message));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        check_requirements(&layer, &dims, &mut problems);
        let axes = shapes(&layer, &dims, &mut problems);
        let extents =
            layer.indices.iter().map(|i| size(&layer, &dims, &i.extent, i.span, &i.name, &mut problems)).collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        let depths = vec![1; layer.delays.len()];
        let mut instance = Instance { layer, dims, axes, extents, depths, one_thread: false, steps: 1 };
        let ranges = Ranges::of(&instance, &mut problems);
        instance.depths = instance.checked_depths(&ranges.steps, &mut problems);
        if problems.is_empty() { Ok(instance) } else { Err(problems) }
    }

    /// How many elements one step's slice of the value has.
    pub fn elements(&self, value: super::ValueId) -> usize {
        self.axes[value.at()].iter().product()
    }

    /// The extent of the indices along which values are shifted, where there are such: an index of that extent fills a
    /// vector.
    pub fn filled(&self) -> Option<usize> {
        let along = self.layer.equations.iter().find_map(|equation| equation.body.shifted_along());
        along.map(|i| self.extents[i.at()])
    }

    /// The extent's value.
    pub fn extent(&self, extent: &Extent) -> Option<i64> {
        extent.eval(&known(&self.dims))
    }

    fn checked_depths(&self, steps: &[i128], problems: &mut Vec<Diagnostic>) -> Vec<usize> {
        let mut depths = Vec::new();
        for (&delay, &steps) in self.layer.delays.iter().zip(steps) {
            let depth = steps.max(1);
            let rows = i128::try_from(self.elements(delay).max(1)).unwrap_or(i128::MAX);
            if depth.saturating_mul(rows) > MAX_ELEMENTS as i128 {
                let value = self.layer.value(delay);
                let message = format!(
                    "a delay of {depth} steps of `{}` keeps more than {MAX_ELEMENTS} elements",
                    print::shape(&self.layer, &value.axes)
                );
                problems.push(Diagnostic::error(Code::S408, value.span, message));
            }
            depths.push(usize::try_from(depth).unwrap_or(usize::MAX));
        }
        depths
    }
}

/// Dimensions that all have a value, for [`Extent::eval`].
pub(super) fn known(dims: &[i64]) -> Vec<Option<i64>> {
    dims.iter().copied().map(Some).collect()
}

fn check_requirements(layer: &Layer, dims: &[i64], problems: &mut Vec<Diagnostic>) {
    let known = known(dims);
    for requirement in &layer.requirements {
        let names = (print::extent(layer, &requirement.divisor), print::extent(layer, &requirement.dividend));
        let rule = format!("`{}` must divide `{}`", names.0, names.1);
        let message = match (requirement.divisor.eval(&known), requirement.dividend.eval(&known)) {
            (Some(divisor), Some(dividend)) => match super::extent::floor_mod(dividend, divisor) {
                Some(0) => continue,
                _ => format!("{dividend} must be a multiple of {divisor}: {rule}"),
            },
            _ => rule,
        };
        problems.push(Diagnostic::error(Code::S412, requirement.span, message));
    }
}

/// The shapes of all values, and of the ranges of index types.
fn shapes(layer: &Layer, dims: &[i64], problems: &mut Vec<Diagnostic>) -> Vec<Vec<usize>> {
    let mut shapes = Vec::new();
    for value in &layer.values {
        if let super::Type::Index(range) = &value.ty {
            size(layer, dims, range, value.span, &value.name, problems);
        }
        let shape: Vec<usize> =
            value.axes.iter().map(|axis| size(layer, dims, axis, value.span, &value.name, problems)).collect();
        let elements = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
        // An axis of no elements must not hide that the others are too long to address.
        let addressable = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n.max(1)));
        if addressable.is_none() || elements.is_none_or(|n| n > MAX_ELEMENTS) {
            let message = format!(
                "`{}` of shape `{}` has more than {MAX_ELEMENTS} elements",
                value.name,
                print::shape(layer, &value.axes)
            );
            // Every version of a state has its name and shape; one report is enough.
            if problems.iter().all(|problem: &Diagnostic| problem.message != message) {
                problems.push(Diagnostic::error(Code::S408, value.span, message));
            }
        }
        shapes.push(shape);
    }
    shapes
}

/// The extent's value, which is reported and replaced by 1 where nothing can have that size.
fn size(layer: &Layer, dims: &[i64], extent: &Extent, span: Span, name: &str, problems: &mut Vec<Diagnostic>) -> usize {
    match extent.eval(&known(dims)) {
        Some(value @ 0..=MAX_DIM) => value as usize,
        value => {
            let is = value.map_or("no number of 64 bits".to_owned(), |v| v.to_string());
            let text = print::extent(layer, extent);
            let message = format!("the extent `{text}` of `{name}` is {is}; it must be in 0..={MAX_DIM}");
            problems.push(Diagnostic::error(Code::S408, span, message));
            1
        }
    }
}
