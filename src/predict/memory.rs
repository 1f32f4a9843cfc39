//! The bytes that a phase moves, and from which cache they come.
//!
//! In: a phase of a plan. Out: its [`Traffic`]. Of every value that the phase reads or writes, as much as its accesses
//! can reach counts once: once a step for what has a row for each step, once a tile for all else of a region (its
//! blocks walk through all of it, and each stays in the first cache for its steps), once a step for all else that runs
//! step by step. What fits into the first cache is part of the instructions: they load and store it.

use ssmc_runtime::kernel::Buffer;

use crate::ir::{Expr, ExprKind, IndexId, Scalar, ValueId};
use crate::plan::shape::mentions;
use crate::plan::{PassPlan, Phase, Place, Plan, element_bytes};
use crate::profile::Profile;

/// Bytes, read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bytes {
    /// Read.
    pub read: f64,
    /// Written.
    pub written: f64,
}

/// What a phase moves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Of inputs, outputs and what is kept, in a step.
    pub rows: Bytes,
    /// Of what phases hand to each other, in a step.
    pub scratch: Bytes,
    /// Of parameters, states and memory of its own, however many steps there are.
    pub fixed: Bytes,
    /// Whether the steps of a tile run one block after the other.
    pub blocked: bool,
    /// How many steps share what they read of that.
    pub together: f64,
    /// How many blocks of lanes there are, those of the loops around them included.
    pub blocks: f64,
}

/// Where the tensors of a run lie, and what runs beside.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// The machine.
    pub profile: &'a Profile,
    /// The bytes of all tensors of the run.
    pub all: f64,
    /// How many threads run at once.
    pub threads: usize,
    /// What the phases of the pass use however many steps there are, in bytes.
    pub shared: f64,
}

impl Traffic {
    /// The traffic of a phase.
    ///
    /// The last `again` inputs hold what others do: they are read from the first cache.
    pub fn of(plan: &Plan, pass: &PassPlan, phase: &Phase, again: usize) -> Self {
        let extent = |i: IndexId| plan.instance.extents[i.at()];
        let (blocks, together) = match phase {
            Phase::Steps(_) => (1, 1),
            Phase::Region(region) => {
                let lanes = extent(region.lane).div_ceil(region.parts * plan.target.width);
                (region.outer.iter().map(|&i| extent(i)).product::<usize>() * lanes, region.together)
            }
        };
        let mut traffic = Self {
            blocked: matches!(phase, Phase::Region(_)),
            blocks: blocks.max(1) as f64,
            together: together.max(1) as f64,
            ..Self::default()
        };
        let own = plan.signature.inputs.len() - again;
        // The versions of a state lie in one place.
        let mut seen: Vec<(Place, bool)> = Vec::new();
        let mut add = |value: ValueId, place: Place, at: &[Expr], written: bool| {
            let elsewhere = matches!(place.buffer, Buffer::Input(n) if n >= own);
            if elsewhere || seen.contains(&(place, written)) {
                return;
            }
            seen.push((place, written));
            traffic.add(plan, value, place, at, written);
        };
        let mut bodies: Vec<&Expr> = Vec::new();
        for nest in phase.nests() {
            add(nest.value, nest.target, &nest.at, true);
            bodies.push(&nest.body);
        }
        for statement in phase.statements() {
            for &place in &statement.stores {
                add(statement.value, place, &statement.at, true);
            }
            bodies.push(&statement.body);
        }
        for body in bodies {
            body.walk(&mut |e| {
                if let ExprKind::Read { value, at } | ExprKind::Past { delay: value, at, .. } = &e.kind
                    && let Some(place) = pass.places[value.at()]
                {
                    add(*value, place, at, false);
                }
            });
        }
        traffic
    }

    fn add(&mut self, plan: &Plan, value: ValueId, place: Place, at: &[Expr], written: bool) {
        let instance = &plan.instance;
        let reached: f64 = (0..instance.extents.len())
            .filter(|&i| at.iter().any(|e| mentions(e, &[IndexId(i as u32)])))
            .map(|i| instance.extents[i] as f64)
            .product();
        let ty = instance.layer.value(value).ty.scalar();
        let planes = if ty == Scalar::Complex { 2.0 } else { 1.0 };
        let size = element_bytes(ty, plan.target.bits) as f64 * planes;
        let bytes = reached.min(instance.elements(value) as f64) * size;
        let kind = match place.buffer {
            Buffer::Input(_) | Buffer::Output(_) | Buffer::Kept(_) => &mut self.rows,
            _ if place.row > 0 => &mut self.scratch,
            _ => &mut self.fixed,
        };
        *(if written { &mut kind.written } else { &mut kind.read }) += bytes;
    }

    /// The seconds of a tile of so many steps.
    pub fn seconds(&self, steps: f64, around: &Around<'_>) -> f64 {
        let Around { profile, all, threads, shared } = *around;
        let move_ = |bytes: Bytes, size: f64, threads: usize| {
            let level = profile.level(size, threads);
            if level.name == profile.levels[0].name {
                return 0.0;
            }
            level.bandwidth(threads).seconds(bytes.read, bytes.written)
        };
        let times = |bytes: Bytes, by: f64| Bytes { read: bytes.read * by, written: bytes.written * by };
        let tile = steps * (self.scratch.read + self.scratch.written);
        let rows = move_(times(self.rows, steps), all, threads);
        // What a thread works on alone lies in its own caches; all of a tile passes through them.
        let near = shared + tile + steps * (self.rows.read + self.rows.written);
        let scratch = move_(times(self.scratch, steps), near, 1);
        // What every step goes through again lies as near as all of one step allows.
        let rounds = self.rounds(steps, profile);
        let fixed =
            move_(times(self.fixed, rounds), if rounds > 1.0 { shared + (near - shared) / steps } else { near }, 1);
        rows + scratch + fixed
    }

    /// How often a tile of so many steps goes through what has no rows.
    fn rounds(&self, steps: f64, profile: &Profile) -> f64 {
        // What is written is mostly what was read, in its place.
        let block = self.fixed.read.max(self.fixed.written) / self.blocks;
        if self.blocked && block <= profile.levels[0].bytes as f64 / 2.0 {
            1.0
        } else {
            (steps / self.together).max(1.0)
        }
    }

    /// The bytes that a tile of so many steps moves.
    pub fn bytes(&self, steps: f64, profile: &Profile) -> f64 {
        let sum = |bytes: Bytes| bytes.read + bytes.written;
        steps * (sum(self.rows) + sum(self.scratch)) + self.rounds(steps, profile) * sum(self.fixed)
    }
}

/// What the phases of a pass use however many steps there are, in bytes.
pub fn shared(plan: &Plan, pass: &PassPlan) -> f64 {
    let fixed = |place: &Place| matches!(place.buffer, Buffer::Param(_) | Buffer::Derived | Buffer::State(_));
    let read: Vec<ValueId> = pass.phases.iter().flat_map(Phase::reads).collect();
    let each = pass.places.iter().enumerate().map(|(v, place)| match place {
        Some(place) if fixed(place) && read.contains(&ValueId(v as u32)) => {
            let value = ValueId(v as u32);
            let ty = plan.instance.layer.value(value).ty.scalar();
            (plan.instance.elements(value) * element_bytes(ty, plan.target.bits)) as f64
        }
        _ => 0.0,
    });
    each.sum()
}
