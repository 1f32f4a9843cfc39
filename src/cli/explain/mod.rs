//! `ssmc explain`: when each equation runs, the plan, what it is predicted to take, and the plans that lost.

mod json;
mod text;

use indicatif::ProgressBar;
use ssmc::analysis::cost::Cost;
use ssmc::analysis::passes::passes;
use ssmc::analysis::stages::{self, Stage};
use ssmc::chunked;
use ssmc::diag::{Code, Diagnostic};
use ssmc::ir::{Instance, ValueId, instance};
use ssmc::jit::backend::{candidates, predicted};
use ssmc::jit::{self, Backend, Form};
use ssmc::plan;
use ssmc::predict::{Prediction, Run};
use ssmc::profile::Profile;
use ssmc::scan::{self, Extents};

use super::args::{Dtype, ExplainArgs, Isa, Plan};
use super::bench::machine;
use super::bench::workload::{DIM, MOST_STEPS, note};
use super::engine::check_plan;
use super::program::{Program, given_dims};
use super::{Outcome, Verdict, report};

/// What is said about a layer.
struct Explained {
    instance: Instance,
    profile: Profile,
    bits: u32,
    seq: usize,
    batch: usize,
    threads: usize,
    backend: Backend,
    cost: Cost,
    /// The names of what runs at each stage.
    stages: Vec<(Stage, Vec<String>)>,
    /// The loops of the chosen plan.
    outline: Vec<String>,
    /// The chosen one first, then by their times, then those that are refused.
    plans: Vec<Entry>,
}

/// A plan, and why it was taken or not.
struct Entry {
    plan: &'static str,
    lanes: u32,
    chosen: bool,
    time: Result<Prediction, String>,
}

/// Explains the layer that is named.
pub fn execute(program: &Program, args: &ExplainArgs) -> Outcome {
    let layer = program.layer(&args.layer)?;
    check_plan(&layer, args.plan, args.isa).map_err(|error| vec![error])?;
    if args.batch.checked_mul(args.seq).is_none_or(|steps| steps > MOST_STEPS) {
        return Err(vec![Diagnostic::error_at(Code::S408, "ssmc explain", "the run has too many steps")]);
    }
    let (dims, chosen) = instance::solve_dims_or(&layer, &given_dims(&layer, &args.layer.dims), &[], Some(DIM))?;
    let mut notes = Vec::new();
    if !chosen.is_empty() {
        let names = chosen.iter().map(|dim| format!("`{}`", layer.dims[dim.at()].name)).collect::<Vec<_>>();
        let message = format!("nothing gives {} a value: it is {DIM} here", names.join(", "));
        notes.push(note(&layer, Code::S407, message).help("choose with --dim NAME=VALUE"));
    }
    let instance = Instance::new(layer, dims)?;
    let bar = ProgressBar::new(100);
    let profile = machine::profile(&bar);
    bar.finish_and_clear();
    let explained = explain(instance, args, profile?, &mut notes)?;
    let text = if args.json { json::json(&explained) } else { text::text(&explained) };
    report::out(&text).map_err(|error| vec![error])?;
    program.report(&notes);
    Ok(Verdict::Done)
}

fn explain(
    instance: Instance,
    args: &ExplainArgs,
    profile: Profile,
    notes: &mut Vec<Diagnostic>,
) -> Result<Explained, Vec<Diagnostic>> {
    let isa = Isa::limit(args.isa).map_err(|error| vec![error])?;
    let bits = match args.dtype {
        Dtype::F32 => 32,
        Dtype::F64 => 64,
    };
    let threads = args.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    let extents = Extents { sequences: args.batch, longest: args.seq, threads, bits };
    let run = Run::even(args.batch, args.seq, threads);
    let taken = match args.plan {
        Plan::Auto => {
            let choice = scan::choose(&instance, extents, isa, &profile);
            notes.extend(choice.note);
            choice.plan.name()
        }
        plan => plan.name(),
    };
    let backend = jit::backend_of(&instance, Form::Sequence, bits, isa)?;
    let mut plans = Vec::new();
    let mut outline = Vec::new();
    for candidate in candidates(&instance, Form::Sequence, bits, isa, &run, &profile)? {
        let own = candidate.vector_bits() == backend.vector_bits;
        let time = match own {
            true => predicted(&instance, Form::Sequence, bits, backend, &run, &profile)?,
            false => candidate.prediction.clone(),
        };
        let chosen = own && taken == "sequential";
        if own {
            outline = loops(&candidate.plan);
        }
        plans.push(Entry { plan: "sequential", lanes: candidate.vector_bits() / bits, chosen, time: Ok(time) });
    }
    for (plan, refusal) in scan::plans(&instance.layer) {
        if matches!(plan, scan::Plan::Interp | scan::Plan::Sequential) {
            continue;
        }
        let name = plan.name();
        let priced = match refusal {
            Some(refusal) => Err(vec![refusal]),
            None => scan::price(plan, &instance, extents, isa, &profile),
        };
        let chosen = taken == name;
        plans.push(match priced {
            Ok(priced) => {
                if chosen {
                    outline = match plan {
                        scan::Plan::Chunked => chunked::outline(&instance, isa)?,
                        _ => loops(&priced.kernel.plan),
                    };
                }
                Entry { plan: name, lanes: priced.kernel.vector_bits() / bits, chosen, time: Ok(priced.prediction) }
            }
            // What was asked for and cannot be is an error.
            Err(problems) if chosen => return Err(problems),
            Err(problems) => {
                let why = problems.first().map_or("it cannot be compiled", |problem| problem.message.as_str());
                Entry { plan: name, lanes: 0, chosen, time: Err(why.to_owned()) }
            }
        });
    }
    if taken == "interp" {
        let why = "it defines what is right, and nothing is predicted for it".to_owned();
        plans.push(Entry { plan: "interp", lanes: 1, chosen: true, time: Err(why) });
    }
    let order = |entry: &Entry| (!entry.chosen, entry.time.as_ref().map_or(f64::INFINITY, Prediction::seconds));
    plans.sort_by(|a, b| {
        let (a, b) = (order(a), order(b));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    let cost = Cost::of(&instance, bits);
    let stages = stages_of(&instance)?;
    let Extents { sequences: batch, longest: seq, .. } = extents;
    Ok(Explained { instance, profile, bits, seq, batch, threads, backend, cost, stages, outline, plans })
}

/// What runs at which stage, of the layer as loops compute it.
fn stages_of(instance: &Instance) -> Result<Vec<(Stage, Vec<String>)>, Vec<Diagnostic>> {
    let lowered = plan::lower::lower(instance);
    let layer = &lowered.layer;
    let mut found: Vec<(Stage, Vec<String>)> =
        [Stage::Bound, Stage::Input, Stage::State, Stage::Output].map(|stage| (stage, Vec::new())).into();
    // Layers without an order of their passes are refused by the plan.
    for pass in passes(layer).unwrap_or_default() {
        for (equation, stage) in layer.equations.iter().zip(stages::stages(layer, &pass)) {
            let Some(stage) = stage else { continue };
            let name = defined(layer, equation.value);
            let names = &mut found.iter_mut().find(|(known, _)| *known == stage).expect("all stages are listed").1;
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    Ok(found)
}

fn defined(layer: &ssmc::ir::Layer, value: ValueId) -> String {
    layer.value(value).name.clone()
}

/// The loops of a plan without the statements in them.
fn loops(plan: &plan::Plan) -> Vec<String> {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let steps = plan.instance.steps;
    let several = (steps > 1).then(|| format!("{steps} steps as one"));
    let text = plan.to_string();
    let lines = text.lines().skip(1).filter(|line| depth(line) <= 2).map(str::to_owned);
    several.into_iter().chain(lines).collect()
}
