//! Which outputs may go past the caches.
//!
//! In: the phases of all passes. Out: for each pass the outputs whose rows are whole cache lines, written line by line, and
//! that no kernel reads back. Of a phase that writes such an output there is a second function: the runtime calls it where
//! the outputs begin with a line and are too many for the caches. Invariant: in there, a vector of such an output lies at a
//! multiple of its size.

use ssmc_runtime::kernel::Buffer;

use super::{Item, PassPlan, Phase, Place, Region, Statement, Target, element_bytes, lanes};
use crate::ir::{Expr, ExprKind, IndexId, Instance, Scalar, ValueId};

/// Bytes in a line.
const LINE: usize = 64;

/// The outputs of one of the passes.
pub fn values(instance: &Instance, target: Target, passes: &[PassPlan], pass: usize) -> Vec<ValueId> {
    let mut read = Vec::new();
    for phase in passes.iter().flat_map(|pass| pass.begin.iter().chain(&pass.phases).chain(&pass.end)) {
        read.extend(loaded(phase));
    }
    let finder = Finder { instance, target };
    let (mut found, mut refused) = (Vec::new(), read);
    for (value, fits) in passes[pass].phases.iter().flat_map(|phase| finder.written(phase)) {
        if fits { &mut found } else { &mut refused }.push(value);
    }
    found.retain(|value| !refused.contains(value));
    found
}

/// Whether a phase writes one of these outputs.
pub fn writes(phase: &Phase, past: &[ValueId]) -> bool {
    phase.nests().any(|nest| is_output(&nest.target) && past.contains(&nest.value))
        || phase.statements().any(|statement| statement.stores.iter().any(is_output) && past.contains(&statement.value))
}

fn is_output(place: &Place) -> bool {
    matches!(place.buffer, Buffer::Output(_))
}

/// The values that a phase may load. What a region defines outside of loops, it reads from registers.
fn loaded(phase: &Phase) -> Vec<ValueId> {
    let mut found: Vec<ValueId> = phase.nests().flat_map(|nest| nest.body.reads()).collect();
    let mut read: Vec<ValueId> = phase.statements().flat_map(|statement| statement.body.reads()).collect();
    if let Phase::Region(region) = phase {
        for item in &region.items {
            match item {
                Item::One(statement) => read.retain(|value| *value != statement.value),
                Item::Loop(fused) if fused.whole => {
                    read.retain(|value| fused.body.iter().all(|statement| statement.value != *value));
                }
                Item::Loop(_) => {}
            }
        }
    }
    found.append(&mut read);
    found
}

struct Finder<'a> {
    instance: &'a Instance,
    target: Target,
}

impl Finder<'_> {
    /// The outputs that a phase writes, and whether it writes them line by line.
    fn written(&self, phase: &Phase) -> Vec<(ValueId, bool)> {
        let mut found = Vec::new();
        for nest in phase.nests().filter(|nest| is_output(&nest.target)) {
            let lane = lanes::on_left(nest).map(|lanes| lanes.index);
            found.push((nest.value, self.is_whole(nest.value, nest.body.ty, &nest.at, lane)));
        }
        if let Phase::Region(region) = phase {
            let of = |statement: &&Statement| statement.stores.iter().any(is_output);
            for statement in phase.statements().filter(of) {
                let rows = self.is_whole(statement.value, statement.body.ty, &statement.at, Some(region.lane));
                found.push((statement.value, rows && self.has_lines(region, statement.body.ty)));
            }
        }
        found
    }

    /// Whether the rows of a value are lines that begin with the first element on the lanes.
    fn is_whole(&self, value: ValueId, ty: Scalar, at: &[Expr], lane: Option<IndexId>) -> bool {
        let last = at.last().zip(self.instance.axes[value.at()].last());
        let (Some((place, extent)), Some(lane)) = (last, lane) else { return false };
        matches!(ty, Scalar::Real | Scalar::Complex)
            && place.kind == ExprKind::Index(lane)
            && (extent * element_bytes(ty, self.target.bits)).is_multiple_of(LINE)
    }

    /// Whether the blocks of a region are lines.
    fn has_lines(&self, region: &Region, ty: Scalar) -> bool {
        (region.parts * self.target.width * element_bytes(ty, self.target.bits)).is_multiple_of(LINE)
    }
}
