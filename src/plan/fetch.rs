//! Inputs that are asked for a tile ahead.
//!
//! In: the phases of a tile. Out: [`Region::fetches`](super::Region::fetches) of the region that has most to do: the inputs with which
//! phases before it begin. They come from far, and those phases would do little else than wait for them.

use super::cost::Machine;
use super::{Phase, Target, place};
use crate::ir::{Instance, Type, ValueId};

/// Lets a region ask for what phases before it read in the next tile, where its own work is long enough for all of that to
/// arrive meanwhile.
pub fn fetch(instance: &Instance, target: Target, machine: &Machine, phases: &mut [Phase]) {
    let work = |phase: &Phase| place::work(instance, target, phase);
    let Some(n) = (0..phases.len()).max_by_key(|&n| work(&phases[n])) else { return };
    let (before, rest) = phases.split_at_mut(n);
    let most = work(&rest[0]);
    let Phase::Region(region) = &mut rest[0] else { return };
    if region.together > 1 {
        return;
    }
    let bytes = |v: ValueId| place::plane_bytes(instance, v, target.bits);
    let read: Vec<ValueId> = before.iter().flat_map(Phase::reads).collect();
    let mut wanted = instance.layer.inputs.clone();
    wanted.retain(|&v| read.contains(&v) && instance.layer.value(v).ty == Type::Real && bytes(v) >= machine.page);
    let lines: usize = wanted.iter().map(|&v| bytes(v) / machine.line).sum();
    if most >= (lines * machine.arrival) as u64 {
        region.fetches = wanted;
    }
}
