//! The first loop of a step in the last one of the step before.
//!
//! In: a [`Region`] whose step reads states that lie in memory, and writes over them in a later loop. Out: the same with
//! [`Region::pipelined`], where the two loops can be one: the element that a step has just computed is what the step behind
//! reads. So each step loads and stores the states once, not twice. The first step of a tile begins with a loop that only
//! reads, its last one ends with a loop that only writes: states are whole between tiles.
//!
//! Invariant: all values are computed from the same operands as step by step.

use ssmc_runtime::kernel::Buffer;

use super::region::{StateOf, index};
use super::shape::{mentions, substitute};
use super::{Fused, Item, Pipelined, Place, Region, Statement, Target};
use crate::ir::{Expr, ExprKind, IndexId, Instance, Scalar, ValueId};
use crate::plan::cost::{self, Machine};

/// Puts the first loop of a step into the last one of the step before, where that is sound and registers last.
pub fn pipeline(region: &mut Region, states: &[StateOf], instance: &Instance, target: Target, machine: &Machine) {
    if !region.timed || region.together > 1 || !region.carried.is_empty() {
        return;
    }
    let loops: Vec<usize> = (0..region.items.len()).filter(|&n| matches!(region.items[n], Item::Loop(_))).collect();
    let (Some(&first), Some(&last)) = (loops.first(), loops.last()) else { return };
    let maker = Maker { instance, region, states };
    let (Item::Loop(reading), Item::Loop(writing)) = (&region.items[first], &region.items[last]) else { return };
    if first == last || !maker.is_sound(reading, writing) {
        return;
    }
    let ahead = maker.ahead(reading, writing);
    let vectors = maker.vectors(writing, &ahead) + 2;
    if vectors > target.registers {
        return;
    }
    let extent = |i: IndexId| instance.extents[i.at()];
    let each: usize =
        writing.body.iter().chain(&ahead).map(|s| cost::operations(summed(s), &extent) + usize::from(s.sums)).sum();
    let turns = writing.indices.last().map_or(1, |&i| extent(i));
    let fused = Fused { unroll: machine.unroll(turns, each * region.parts), ..writing.clone() };
    let states = states.iter().map(|state| (state.before, state.after)).collect();
    region.pipelined = Some(Pipelined { fused, states, ahead });
    in_order(region, first, last);
}

/// The loop that reads comes first, and what does not wait for the one that writes comes before it.
fn in_order(region: &mut Region, first: usize, last: usize) {
    let mut items: Vec<Option<Item>> = std::mem::take(&mut region.items).into_iter().map(Some).collect();
    let (reading, writing) = (items[first].take(), items[last].take());
    let mut known: Vec<ValueId> = writing.iter().flat_map(defined).collect();
    let (mut before, mut behind) = (Vec::new(), Vec::new());
    for item in items.into_iter().flatten() {
        let reads = statements(&item).iter().any(|s| s.body.reads().iter().any(|value| known.contains(value)));
        // What is written over a state stands behind all that read it.
        let over = |place: &Place| matches!(place.buffer, Buffer::State(_) | Buffer::Home);
        let waits = reads || (!behind.is_empty() && statements(&item).iter().any(|s| s.stores.iter().any(over)));
        if waits {
            known.extend(defined(&item));
        }
        if waits { &mut behind } else { &mut before }.push(item);
    }
    region.items = reading.into_iter().chain(before).chain(writing).chain(behind).collect();
}

struct Maker<'a> {
    instance: &'a Instance,
    region: &'a Region,
    states: &'a [StateOf],
}

impl Maker<'_> {
    /// Whether all that the first loop reads is there while the last one of the step before runs, and nothing needs what it
    /// writes over.
    fn is_sound(&self, reading: &Fused, writing: &Fused) -> bool {
        let extents =
            |fused: &Fused| -> Vec<usize> { fused.indices.iter().map(|i| self.instance.extents[i.at()]).collect() };
        if reading.whole || writing.whole || extents(reading) != extents(writing) {
            return false;
        }
        let own: Vec<ValueId> = reading.body.iter().map(|statement| statement.value).collect();
        let others: Vec<&Statement> = self.region.items.iter().flat_map(statements).collect();
        let others = || others.iter().filter(|statement| !own.contains(&statement.value));
        reading.body.iter().all(|statement| {
            // What it stores belongs to its step, and of what it does not store nothing but a sum lives longer than a turn.
            let stored = statement.stores.iter().all(|place| {
                matches!(place.buffer, Buffer::Output(_)) || (place.buffer == Buffer::Scratch && place.row > 0)
            });
            let short = statement.sums || others().all(|other| !other.body.reads().contains(&statement.value));
            let mut sound = stored && short;
            statement.body.walk(&mut |e| match &e.kind {
                ExprKind::First | ExprKind::Past { .. } => sound = false,
                ExprKind::Read { value, at } => {
                    sound &= match self.states.iter().find(|state| state.before == *value) {
                        Some(state) => writing.body.iter().any(|written| {
                            let same = at.len() == written.at.len()
                                && at
                                    .iter()
                                    .zip(&written.at)
                                    .all(|(e, own)| renamed(e, reading, writing).kind == own.kind);
                            written.value == state.after && !written.sums && same
                        }),
                        None => others().all(|other| other.value != *value),
                    };
                }
                _ => {}
            });
            sound
        })
    }

    /// The statements of the first loop, with the indices of the last one.
    fn ahead(&self, reading: &Fused, writing: &Fused) -> Vec<Statement> {
        let each = reading.body.iter().map(|statement| {
            let mut body = renamed(&statement.body, reading, writing);
            if let ExprKind::Reduce { indices, .. } = &mut body.kind
                && statement.sums
            {
                indices.clone_from(&writing.indices);
            }
            let at = statement.at.iter().map(|e| renamed(e, reading, writing)).collect();
            Statement { at, body, ..statement.clone() }
        });
        each.collect()
    }

    /// How many vectors live through a turn: sums, what no turn changes, and an element of each state.
    fn vectors(&self, writing: &Fused, ahead: &[Statement]) -> usize {
        let planes = |e: &Expr| if e.ty == Scalar::Complex { 2 } else { 1 };
        let varies = |e: &Expr| mentions(e, &[self.region.lane]);
        let (mut count, mut seen) = (self.states.len(), Vec::new());
        for statement in writing.body.iter().chain(ahead) {
            let body = summed(statement);
            if statement.sums && varies(body) {
                count += planes(body);
            }
            body.walk(&mut |e| {
                if let ExprKind::Read { value, at } = &e.kind
                    && varies(e)
                    && !mentions(e, &writing.indices)
                    && !seen.contains(&(*value, at.clone()))
                {
                    seen.push((*value, at.clone()));
                    count += planes(e);
                }
            });
        }
        count * self.region.parts
    }
}

fn statements(item: &Item) -> &[Statement] {
    match item {
        Item::One(statement) => std::slice::from_ref(statement),
        Item::Loop(fused) => &fused.body,
    }
}

fn defined(item: &Item) -> impl Iterator<Item = ValueId> {
    statements(item).iter().map(|statement| statement.value)
}

/// What is evaluated in each turn.
fn summed(statement: &Statement) -> &Expr {
    match &statement.body.kind {
        ExprKind::Reduce { body, .. } if statement.sums => body,
        _ => &statement.body,
    }
}

/// An expression of one loop in another.
fn renamed(e: &Expr, from: &Fused, to: &Fused) -> Expr {
    let pairs = from.indices.iter().zip(&to.indices);
    pairs.fold(e.clone(), |e, (&i, &other)| substitute(&e, i, &index(other)))
}
