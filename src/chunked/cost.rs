//! What blocks take, as predicted.
//!
//! In: an instance that can run in blocks, the extents of a run, a profile. Out: a [`Prediction`]. The parts around the
//! blocks are priced as kernels are. Blocks are priced by the multiply-adds of their products, in whole vectors; what
//! surrounds the products (factors that are copied and turned, scores times decays) by the elements that it moves.

use ssmc_runtime::chunked::{Decay, Shape};

use super::stages::staged;
use super::{Running, instances, refused, running, tables, unsuitable};
use crate::diag::Diagnostic;
use crate::ir::Instance;
use crate::jit::backend::chosen;
use crate::jit::{Form, Isa};
use crate::predict::{PhaseTime, Prediction, Run};
use crate::profile::Profile;

/// How much of the peak products of small matrices reach, whose operands come from the second-level cache.
const REACHED: f64 = 0.65;

/// Cycles for an element of a key, which is copied to another row than its neighbour.
const TURNED: f64 = 2.0;

/// Cycles for an element that is copied with its neighbours, or multiplied by a decay.
const COPIED: f64 = 0.8;

/// Cycles for an element of a probe where decays are by key: it meets the keys of up to fifteen steps by itself, and is
/// multiplied in every halving of a block.
const SCALED: f64 = 40.0;

/// Seconds of a call of a part for a tile.
const CALL: f64 = 2e-6;

/// The time of a run in blocks.
///
/// # Errors
/// S301 where the layer cannot run so; what stands in the way of a kernel.
pub fn price(
    instance: &Instance,
    run: Run,
    bits: u32,
    isa: Isa,
    profile: &Profile,
) -> Result<Prediction, Vec<Diagnostic>> {
    let staged = staged(&instance.layer).map_err(|refusals| vec![refused(&instance.layer, &refusals)])?;
    let parts = instances(&staged, instance).map_err(|problems| unsuitable(instance, &problems))?;
    let tables = Instance::new(tables(&staged.layer), instance.dims.clone()).map_err(|p| unsuitable(instance, &p))?;
    let mut prediction = Prediction { phases: Vec::new(), overhead: 0.0 };
    for (rank, part) in parts.iter().enumerate() {
        let Some(part) = part else { continue };
        let own = chosen(part, Form::Sequence, bits, isa, &run, profile)?.prediction;
        let named = |phase: PhaseTime| PhaseTime { name: format!("part {rank}, {}", phase.name), ..phase };
        prediction.phases.extend(own.phases.into_iter().map(named));
        prediction.overhead += own.overhead + CALL * run.total as f64 / 256.0;
    }
    for n in 0..staged.cores.len() {
        let core = running(&staged, n, &tables, isa);
        let name = format!("blocks of `{}`", instance.layer.states[core.state].name);
        prediction.phases.push(phase(&core, name, run, bits, isa, profile));
    }
    Ok(prediction)
}

/// The time of the blocks of one state.
fn phase(core: &Running, name: String, run: Run, bits: u32, isa: Isa, profile: &Profile) -> PhaseTime {
    let width = match isa {
        Isa::Narrow => profile.width(128),
        Isa::Avx2 => profile.width(256),
        Isa::Avx512 => profile.width(512),
    };
    let lanes = f64::from(width.bits.min(128 << (isa as u32)) / bits);
    let Shape { heads, keys, values, block } = core.program.shape;
    let (heads, keys, steps) = (heads as f64, keys as f64, block.min(run.longest.max(1)) as f64);
    let vectors = |n: f64| (n / lanes).ceil();
    let answers: usize = core.program.writes.iter().map(|w| w.answers.len()).sum();
    let (writes, probes) = (core.program.writes.len() as f64, (answers + core.program.reads.len()) as f64);
    let rows = vectors(values as f64);
    // Of a step of one head: probes with the state, scores, rows by scores, writes to the state.
    let with_state = probes * keys * rows;
    let scores = probes * writes * keys * vectors((steps + 16.0) / 2.0);
    let by_scores = probes * writes * rows * (steps + 1.0) / 2.0;
    let to_state = writes * keys * rows;
    // Without fused multiply-adds, a product and a sum.
    let each = if isa == Isa::Narrow { 2.0 } else { 1.0 };
    let products = each * (with_state + scores + by_scores + to_state) / (width.multiply_adds * REACHED);
    let values = values as f64;
    let mut moved = TURNED * writes * keys + COPIED * (probes * (keys + 2.0 * values) + writes * values);
    moved += match core.program.decay {
        Decay::One => 0.0,
        Decay::Head(_) => COPIED * ((1.0 + probes * writes) * steps / 2.0 + writes * keys + keys * values / steps),
        Decay::Key(_) => SCALED * (probes * writes) * keys,
    };
    let instructions = heads * ((with_state + scores + by_scores + to_state) * each * 1.7 + moved);
    let units = run.sequences.max(1) as f64 * heads;
    let threads = (run.threads.max(1) as f64).min(units);
    // Threads that get one unit more than others are waited for.
    let share = (units / threads).ceil() / units;
    let cycles = heads * (products + moved) * run.total as f64 * share;
    let seconds = cycles / (width.ghz * 1e9);
    let bytes = heads * (keys * (writes + probes) + values * (writes + probes)) * f64::from(bits / 8);
    let memory = profile.level(bytes * run.total as f64, 1).bandwidth(run.threads);
    let memory = memory.seconds(bytes * run.total as f64 * 0.75, bytes * run.total as f64 * 0.25);
    PhaseTime { name, arithmetic: seconds, memory, latency: 0.0, seconds: seconds.max(memory), instructions, bytes }
}
