//! How long a plan takes, as predicted.
//!
//! In: a [`Plan`], a [`Run`] of it, a [`Profile`] of the machine. Out: a [`Prediction`]. For each phase of the plan there
//! are three times:
//!
//! - *arithmetic*: the instructions of the emitted loops, each as often as its loops turn, on the units that they
//!   need ([`work`]); elementary functions are what is emitted for them, and padded vectors are whole ones;
//! - *latency*: what waits for what, from turn to turn and from step to step ([`chain`]);
//! - *memory*: the bytes of a tile, from the cache that holds them ([`memory`]).
//!
//! A phase takes the longest of these, the first two compared loop by loop. Calls, and threads that are woken,
//! come on top. Nothing here knows a layer by its name, and nothing is measured but the profile: the
//! few constants are those of processors that run out of order.

pub mod chain;
pub mod loops;
pub mod memory;
pub mod work;

use cranelift_codegen::isa::TargetIsa;
use ssmc_runtime::driver::{PIECE, SPLIT};
use ssmc_runtime::kernel::{Cut, Way};
use ssmc_runtime::kernel::{Signature, Tensors};
use ssmc_wide::Level;

use crate::analysis::cost::Bytes;
use crate::codegen::{self, Machine};
use crate::ir::Type;
use crate::plan::{self, Form, PassPlan, Phase, Plan, element_bytes};
use crate::profile::Profile;
use crate::profile::bound::Limit;
use chain::Timer;
use loops::Turns;
use memory::{Around, Traffic};
use work::Core;

/// Seconds of a call of a kernel's function.
const CALL: f64 = 25e-9;

/// Seconds to set up a run over a sequence: checks, memory, the carry.
const SEQUENCE: f64 = 1e-6;

/// Seconds of a step of a session besides its function.
const STEP: f64 = 25e-9;

/// Seconds to wake the other threads and to wait for them.
const WAKE: f64 = 6e-6;

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// How many sequences.
    pub sequences: usize,
    /// The steps of the longest.
    pub longest: usize,
    /// The steps of all sequences together.
    pub total: usize,
    /// How many threads.
    pub threads: usize,
    /// How many of the layer's inputs, the last, hold what others do.
    pub again: usize,
}

impl Run {
    /// So many sequences of as many steps each, every input being one of its own.
    pub fn even(sequences: usize, steps: usize, threads: usize) -> Self {
        Self { sequences, longest: steps, total: sequences.saturating_mul(steps), threads, again: 0 }
    }
}

/// The time of a phase in a run.
#[derive(Clone, Debug, PartialEq)]
pub struct PhaseTime {
    /// What runs: `steps` or `blocks of d`, with what it defines.
    pub name: String,
    /// By its instructions, in seconds.
    pub arithmetic: f64,
    /// By its bytes.
    pub memory: f64,
    /// By what waits for what.
    pub latency: f64,
    /// All together.
    pub seconds: f64,
    /// Instructions of a step.
    pub instructions: f64,
    /// Bytes that a step reads and writes, each value once a step, or once a tile where it stays in the first cache.
    pub bytes: f64,
}

/// The time of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The phases, in order.
    pub phases: Vec<PhaseTime>,
    /// Calls and threads, in seconds.
    pub overhead: f64,
}

impl Prediction {
    /// The time of the run.
    pub fn seconds(&self) -> f64 {
        self.overhead + self.phases.iter().map(|phase| phase.seconds).sum::<f64>()
    }

    /// What takes most of it: for each phase what bounds it.
    pub fn limit(&self) -> Limit {
        let mut sums = [(0.0, Limit::Arithmetic), (0.0, Limit::Memory), (0.0, Limit::Latency)];
        for phase in &self.phases {
            let which = match phase {
                p if p.memory >= p.seconds => 1,
                p if p.arithmetic >= p.latency => 0,
                _ => 2,
            };
            sums[which].0 += phase.seconds;
        }
        sums.into_iter().fold(sums[0], |most, next| if next.0 > most.0 { next } else { most }).1
    }

    /// The bytes that a step reads and writes.
    pub fn bytes(&self) -> f64 {
        self.phases.iter().map(|phase| phase.bytes).sum()
    }

    /// The instructions of a step.
    pub fn instructions(&self) -> f64 {
        self.phases.iter().map(|phase| phase.instructions).sum()
    }
}

/// Predicts a run of the kernel that a plan becomes; with a level, one that the wide selector makes for it. A step kernel runs
/// in a session, which is there.
pub fn predict(plan: &Plan, isa: &dyn TargetIsa, level: Option<Level>, run: &Run, profile: &Profile) -> Prediction {
    let predictor = Predictor::new(plan, isa, level, run, profile);
    match plan.form {
        Form::Sequence => predictor.sequences(),
        Form::Step => predictor.steps(),
    }
}

/// Cycles of a step of a finite map: the shuffle, and for each input and output its load, its look-up, its store.
const SHUFFLE: f64 = 1.0;

/// Predicts a run of a finite map whose tables are there: they are made when parameters are first seen.
pub fn finite(signature: &Signature, run: &Run, profile: &Profile) -> Prediction {
    let size = |all: &[Tensors]| all.iter().map(|t| t.size() * t.kind.bytes(signature.bits)).sum::<usize>() as f64;
    let steps = run.total as f64;
    let threads = run.threads.min(run.sequences).max(1);
    let (read, written) = (size(&signature.inputs) * steps, size(&signature.outputs) * steps);
    let rows = (signature.inputs.len() + signature.outputs.len()) as f64;
    let cycles = SHUFFLE * (1.0 + rows);
    let arithmetic = cycles * steps / threads as f64 / (profile.width(128).ghz * 1e9);
    let memory = profile.level(read + written, threads).bandwidth(threads).seconds(read, written);
    let phase = PhaseTime {
        name: "finite map".to_owned(),
        arithmetic,
        memory,
        latency: steps / threads as f64 / (profile.width(128).ghz * 1e9),
        seconds: arithmetic.max(memory),
        instructions: 4.0 * cycles,
        bytes: (read + written) / steps.max(1.0),
    };
    Prediction { phases: vec![phase], overhead: SEQUENCE }
}

struct Predictor<'a> {
    plan: &'a Plan,
    isa: &'a dyn TargetIsa,
    machine: Machine,
    run: Run,
    profile: &'a Profile,
    core: Core,
    /// The bytes of all tensors of the run.
    all: f64,
}

/// A part of a kernel with what its calls take.
struct Call {
    name: String,
    seconds: f64,
    arithmetic: f64,
    latency: f64,
    memory: f64,
    instructions: f64,
    bytes: f64,
}

impl<'a> Predictor<'a> {
    fn new(plan: &'a Plan, isa: &'a dyn TargetIsa, level: Option<Level>, run: &Run, profile: &'a Profile) -> Self {
        let machine = level.map_or(Machine::of(isa), |level| Machine::of(isa).within(level));
        let bits = plan.target.bits;
        let core = Core::of(profile, plan.target.width as u32 * bits, bits);
        let Bytes { inputs, outputs, state, params } = Bytes::of(&plan.instance, bits);
        let layer = &plan.instance.layer;
        let again = &layer.inputs[layer.inputs.len() - run.again..];
        let again = again.iter().map(|&input| {
            let size = element_bytes(layer.value(input).ty.scalar(), bits);
            let planes = if layer.value(input).ty == Type::Complex { 2 } else { 1 };
            (plan.instance.elements(input) * size * planes) as u64
        });
        let inputs = inputs - again.sum::<u64>().min(inputs);
        let all = (inputs + outputs) as f64 * run.total as f64 + params as f64 + state as f64 * run.sequences as f64;
        Self { plan, isa, machine, run: *run, profile, core, all }
    }

    /// The functions of one pass, in the order of the plan's parts.
    fn numbered(&self) -> Vec<(usize, &'a PassPlan, &'a [Phase], When)> {
        let mut found = Vec::new();
        let mut part = usize::from(self.plan.prologue.is_some());
        for pass in &self.plan.passes {
            for (phases, when) in [(&pass.begin, When::Once), (&pass.phases, When::Tile), (&pass.end, When::Once)] {
                if phases.is_empty() {
                    continue;
                }
                let each = if when == When::Once { phases.len() } else { 1 };
                for phases in phases.chunks(each) {
                    found.push((part, pass, phases, when));
                    part += 1;
                }
            }
        }
        found
    }

    /// How long one call of a function takes for so many steps, with its blocks on so many threads.
    fn call(&self, part: usize, pass: &PassPlan, phases: &[Phase], steps: usize, ranges: usize) -> Call {
        let parts = self.plan.parts();
        let function = codegen::emit(self.plan, part, self.machine, self.isa);
        let cut = self.cut(phases);
        let pieces = cut.pieces(steps).max(1);
        let share = pieces.div_ceil(ranges.min(pieces).max(1)) as f64 / pieces as f64;
        let timer = Timer::new(&function, &parts[part], self.core);
        let figures = timer.figures(match cut {
            Cut::Blocks(_) => Turns { steps: steps as f64, share },
            Cut::Steps => Turns { steps: steps as f64 * share, share: 1.0 },
        });
        let threads = self.run.threads.min(self.run.sequences * ranges).max(1);
        let around = Around { profile: self.profile, all: self.all, threads, shared: memory::shared(self.plan, pass) };
        let traffic: Vec<Traffic> =
            phases.iter().map(|phase| Traffic::of(self.plan, pass, phase, self.run.again)).collect();
        let memory = traffic.iter().map(|traffic| traffic.seconds(steps as f64, &around)).sum::<f64>() / ranges as f64;
        let seconds = |cycles: f64| cycles / self.core.hertz;
        Call {
            name: self.name(phases),
            seconds: seconds(figures.cycles).max(memory),
            arithmetic: seconds(figures.busy),
            latency: seconds(figures.waits),
            memory,
            instructions: figures.work.instructions() / share,
            bytes: traffic.iter().map(|traffic| traffic.bytes(steps as f64, self.profile)).sum(),
        }
    }

    /// Into what a function can be cut.
    fn cut(&self, phases: &[Phase]) -> Cut {
        match phases {
            [phase] => plan::place::cut(&self.plan.instance, self.plan.target, phase),
            _ => Cut::Blocks(1),
        }
    }

    /// What a function is called: its loops, and what it defines.
    fn name(&self, phases: &[Phase]) -> String {
        let layer = &self.plan.instance.layer;
        let mut names: Vec<&str> = Vec::new();
        let nests = phases.iter().flat_map(Phase::nests).map(|nest| nest.value);
        let statements = phases.iter().flat_map(Phase::statements).map(|statement| statement.value);
        for value in nests.chain(statements) {
            let name = layer.value(value).name.as_str();
            // What the planner has named stands for a part of something else.
            if !names.contains(&name) && !name.contains('.') {
                names.push(name);
            }
        }
        let what = match &phases[0] {
            Phase::Steps(_) => "steps".to_owned(),
            Phase::Region(region) if !region.timed => "layout".to_owned(),
            Phase::Region(region) => format!("blocks of {}", layer.index(region.lane).name),
        };
        if names.is_empty() { what } else { format!("{what}: {}", names.join(", ")) }
    }

    fn sequences(&self) -> Prediction {
        let Run { sequences, longest, total, threads, .. } = self.run;
        let signature = &self.plan.signature;
        let cuts = signature.passes.iter().flat_map(|pass| &pass.phases).any(|phase| phase.cut != Cut::Blocks(1));
        let ranges = if cuts && sequences < threads { threads.div_ceil(sequences.max(1)) } else { 1 };
        // Sequences go to threads whole: the one with the most of them, or the longest, ends last.
        let mean = total as f64 / sequences.max(1) as f64;
        let rounds =
            (sequences.div_ceil(threads.max(1)) as f64).max(if mean > 0.0 { longest as f64 / mean } else { 0.0 });
        let mut phases: Vec<PhaseTime> = Vec::new();
        let mut overhead = SEQUENCE * rounds;
        for (part, pass, functions, when) in self.numbered() {
            let tile = if pass.tile > 0 { pass.tile } else { PIECE };
            let (steps, count) = match when {
                When::Once => (1, 1.0),
                When::Tile => (tile.min(longest.max(1)), (mean / tile as f64).ceil().max(1.0)),
            };
            let cut = self.cut(functions);
            let pieces = cut.pieces(steps);
            let work = functions.iter().map(|phase| plan::place::work(&self.plan.instance, self.plan.target, phase));
            let work = work.sum::<u64>().saturating_mul(steps as u64);
            let alone = pass.phases.len() == 1 && matches!(cut, Cut::Blocks(_));
            let worth = if alone { work.saturating_mul((PIECE / steps.max(1)).max(1) as u64) } else { work };
            let signature = signature.passes.iter().zip(&self.plan.passes).find(|(_, plan)| std::ptr::eq(*plan, pass));
            let way =
                signature.filter(|_| when == When::Tile).map_or(Way::Pieces, |(signature, _)| signature.way(ranges));
            // Threads that take tiles in turn wait for nobody, and those that take blocks run all else for themselves.
            let turns = if matches!(way, Way::Tiles(..)) { ranges } else { 1 };
            let cut = match way {
                Way::Pieces => when == When::Tile && ranges > 1 && pieces > 1 && worth >= SPLIT,
                Way::Blocks => cut != Cut::Steps && pieces > 1,
                Way::Tiles(..) => false,
            };
            let alone = alone || way == Way::Blocks;
            let ranges = if cut { ranges.min(pieces) } else { 1 };
            let call = self.call(part, pass, functions, steps, ranges);
            // A last tile that is not full takes its part.
            let full = match when {
                When::Once => 1.0,
                When::Tile => mean / steps.max(1) as f64,
            };
            let calls = rounds * full / turns as f64;
            if cut {
                overhead += rounds * if alone { WAKE * (mean / PIECE as f64).ceil() } else { WAKE * count };
            }
            overhead += CALL * count * rounds;
            let share = match when {
                When::Once => longest.max(1) as f64,
                When::Tile => steps.max(1) as f64,
            };
            phases.push(PhaseTime {
                name: call.name,
                arithmetic: call.arithmetic * calls,
                memory: call.memory * calls,
                latency: call.latency * calls,
                seconds: call.seconds * calls,
                instructions: call.instructions / share,
                bytes: call.bytes / share,
            });
        }
        Prediction { phases, overhead }
    }

    /// One call for every step, on one thread. What is done once is done when the session begins and when it ends.
    fn steps(&self) -> Prediction {
        let total = self.run.total as f64;
        let mut overhead = STEP * total;
        let mut phases = Vec::new();
        for (part, pass, functions, _) in self.numbered().into_iter().filter(|(.., when)| *when == When::Tile) {
            let call = self.call(part, pass, functions, 1, 1);
            overhead += CALL * total;
            phases.push(PhaseTime {
                name: call.name,
                arithmetic: call.arithmetic * total,
                memory: call.memory * total,
                latency: call.latency * total,
                seconds: call.seconds * total,
                instructions: call.instructions,
                bytes: call.bytes,
            });
        }
        Prediction { phases, overhead }
    }
}

/// When a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// Once for a sequence.
    Once,
    /// Once for a tile.
    Tile,
}
