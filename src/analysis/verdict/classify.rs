//! Which indices a linear step mixes, which are a batch, and what its coefficients share over the batch.
//!
//! In: the forms of a group's components. Out: for each axis of each component whether it is mixed, or to which batch
//! index it belongs. An axis is a batch index where every term of every component reads at exactly the index at which it
//! writes, and where every component has one such axis. The real and the imaginary part of a state share its axes.

use super::form::{Form, plain};
use super::{Atom, build};
use crate::ir::{IndexId, Layer, Scalar};

/// A part of a group's state that one form gives: a whole state, or the real or imaginary part of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Component {
    /// Which part of which state.
    pub atom: Atom,
    /// The indices at which the form stands, one per axis.
    pub indices: Vec<IndexId>,
    /// The new element at these indices.
    pub form: Form,
    /// Its type: that of the state, or real for a part of a complex state.
    pub ty: Scalar,
    /// The batch index that each axis is, by its place in the group's batch; `None` for a mixed axis.
    pub axes: Vec<Option<usize>>,
}

/// A batch index of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Its name on the left of the first state's update.
    pub name: String,
    /// Whether the transition's coefficients do not depend on it.
    pub shared: bool,
}

/// Fills in the axes of all components, and finds the batch.
pub(super) fn classify(layer: &Layer, components: &mut [Component]) -> Vec<Batch> {
    let first: Vec<usize> = components
        .iter()
        .scan(0, |sum, c| {
            let at = *sum;
            *sum += c.indices.len();
            Some(at)
        })
        .collect();
    let count: usize = components.iter().map(|c| c.indices.len()).sum();
    let mut class: Vec<usize> = (0..count).collect();
    let mut broken = vec![false; count];
    for (c, component) in components.iter().enumerate() {
        for term in &component.form.terms {
            let other = components.iter().position(|o| o.atom == term.atom).expect("a term reads the group's states");
            let places: Vec<Option<usize>> = term
                .at
                .iter()
                .map(|at| plain(at).and_then(|i| component.indices.iter().position(|j| *j == i)))
                .collect();
            for (k, place) in places.iter().enumerate() {
                if place.is_none() {
                    broken[first[other] + k] = true;
                }
            }
            for k in 0..component.indices.len() {
                let read: Vec<usize> = (0..places.len()).filter(|&p| places[p] == Some(k)).collect();
                let axis = first[c] + k;
                match read[..] {
                    [p] if extent(layer, components, c, k) == extent(layer, components, other, p) => {
                        let (from, to) = (class[axis], class[first[other] + p]);
                        class.iter_mut().filter(|x| **x == from).for_each(|x| *x = to);
                    }
                    _ => {
                        broken[axis] = true;
                        read.iter().for_each(|p| broken[first[other] + p] = true);
                    }
                }
            }
        }
    }
    // The parts of a complex state may know nothing of each other; their axes are the state's all the same.
    for c in 0..components.len() {
        let Some(other) = components[..c].iter().position(|o| o.atom.state == components[c].atom.state) else {
            continue;
        };
        for k in 0..components[c].indices.len() {
            let (from, to) = (class[first[c] + k], class[first[other] + k]);
            let within = |o: usize, x: usize| (first[o]..first[o] + components[o].indices.len()).any(|m| class[m] == x);
            if !within(c, to) && !within(other, from) {
                class.iter_mut().filter(|x| **x == from).for_each(|x| *x = to);
            }
        }
    }
    let mut batch = Vec::new();
    let mut place = vec![None; count];
    for k in 0..components[0].indices.len() {
        let members: Vec<usize> = (0..count).filter(|&m| class[m] == class[first[0] + k]).collect();
        let once = components.iter().enumerate().all(|(c, component)| {
            let own = first[c]..first[c] + component.indices.len();
            members.iter().filter(|m| own.contains(m)).count() == 1
        });
        if once && members.iter().all(|&m| !broken[m]) {
            members.iter().for_each(|&m| place[m] = Some(batch.len()));
            let name = layer.index(components[0].indices[k]).name.clone();
            batch.push(Batch { name, shared: false });
        }
    }
    for (c, component) in components.iter_mut().enumerate() {
        component.axes = place[first[c]..first[c] + component.indices.len()].to_vec();
    }
    for (b, batch) in batch.iter_mut().enumerate() {
        batch.shared = components.iter().all(|component| {
            let axis = component.axes.iter().position(|axis| *axis == Some(b)).expect("every component has it");
            let i = component.indices[axis];
            component.form.terms.iter().all(|term| {
                // Which element of a mixed axis is read belongs to the transition too.
                let other = components.iter().find(|o| o.atom == term.atom).expect("a term reads the group's states");
                let mixed = term.at.iter().zip(&other.axes).filter(|(_, axis)| axis.is_none()).map(|(at, _)| at);
                term.coefficients().chain(mixed).all(|e| !build::mentions(e, i))
            })
        });
    }
    batch
}

fn extent<'a>(layer: &'a Layer, components: &[Component], c: usize, k: usize) -> &'a crate::ir::Extent {
    &layer.index(components[c].indices[k]).extent
}

/// The names of the mixed axes, each once.
pub(super) fn mixed(layer: &Layer, components: &[Component]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for component in components {
        for (axis, i) in component.axes.iter().zip(&component.indices) {
            let name = &layer.index(*i).name;
            if axis.is_none() && !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    names
}
