//! Over what indices run, for those who compare expressions.
//!
//! Expressions are compared and put together in many places that have no layer at hand ([`super::build`]), and two sums are
//! one only if they run equally far: `sum[j](w[j])` is not `sum[j in 1](w[j])`. So a layer that is added to
//! ([`super::build::Scope`]) has its indices known for as long as that lasts; on each thread, the last such layer counts.

use std::cell::RefCell;

use crate::ir::{Extent, IndexId, Layer};

thread_local! {
    static KNOWN: RefCell<Vec<(u64, Vec<Extent>)>> = const { RefCell::new(Vec::new()) };
}

/// While this lives, the indices of a layer are known.
#[derive(Debug)]
pub(super) struct Known(u64);

impl Known {
    /// The indices of that layer.
    pub(super) fn of(layer: &Layer) -> Self {
        let extents = layer.indices.iter().map(|index| index.extent.clone()).collect();
        KNOWN.with_borrow_mut(|all| {
            let id = all.last().map_or(0, |(last, _)| last + 1);
            all.push((id, extents));
            Self(id)
        })
    }

    /// Notes a new index of the layer, in the place of those that were added after it and forgotten.
    pub(super) fn add(&self, index: IndexId, extent: &Extent) {
        KNOWN.with_borrow_mut(|all| {
            if let Some((_, known)) = all.iter_mut().find(|(id, _)| *id == self.0) {
                known.truncate(index.at());
                if known.len() == index.at() {
                    known.push(extent.clone());
                }
            }
        });
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        KNOWN.with_borrow_mut(|all| all.retain(|(id, _)| *id != self.0));
    }
}

/// Whether two indices are known to run differently far.
pub(super) fn differ(a: IndexId, b: IndexId) -> bool {
    a != b
        && KNOWN.with_borrow(|all| {
            let known = all.last().map(|(_, extents)| extents);
            let of = |i: IndexId| known.and_then(|extents| extents.get(i.at()));
            of(a).zip(of(b)).is_some_and(|(a, b)| a != b)
        })
}
