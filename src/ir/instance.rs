//! A layer with numbers for its dimensions.

use super::Layer;

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
}
