//! The equations of a layer that was put together, in order.

use std::collections::HashMap;

use crate::ir::{Layer, ValueId};

/// Leaves out what nothing needs, and puts definitions behind those that they read.
pub(crate) fn settle(layer: &mut Layer) {
    let place: HashMap<ValueId, usize> = layer.equations.iter().enumerate().map(|(n, e)| (e.value, n)).collect();
    let roots = layer.states.iter().map(|state| state.next).chain(layer.outputs.iter().map(|output| output.value));
    let (mut order, mut known) = (Vec::new(), vec![false; layer.equations.len()]);
    // An equation stands on the stack twice: before what it reads, and behind it.
    let mut stack: Vec<(usize, bool)> = roots.filter_map(|v| Some((*place.get(&v)?, false))).collect();
    stack.reverse();
    while let Some((n, done)) = stack.pop() {
        if done {
            order.push(n);
        } else if !std::mem::replace(&mut known[n], true) {
            stack.push((n, true));
            let reads = layer.equations[n].body.reads();
            stack.extend(reads.into_iter().filter_map(|v| place.get(&v)).filter(|&&n| !known[n]).map(|&n| (n, false)));
        }
    }
    layer.equations = order.into_iter().map(|n| layer.equations[n].clone()).collect();
}
