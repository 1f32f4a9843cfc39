//! `ssmc bench`: how fast each plan is, and how fast the machine could be.
//!
//! | module | what it has |
//! | --- | --- |
//! | [`machine`] | the machine's profile, kept in the cache directory |
//! | [`workload`] | a layer with numbers, parameters and inputs, given or seeded |
//! | [`plans`] | which plans there are, for which instructions |
//! | [`judge`] | whether a plan computes what the interpreter does |
//! | [`timing`] | repetitions, statistics, and whether the machine kept its speed |
//! | [`row`] | one line of the result, as text and as JSON |
//! | [`plot`], [`compare`] | rows as lines, two results side by side |

mod compare;
mod judge;
pub mod machine;
mod plans;
mod plot;
mod row;
mod timing;
pub mod workload;

use std::sync::LazyLock;
use std::time::Instant;

use core_affinity::CoreId;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ssmc::analysis::cost::Cost;
use ssmc::diag::{Code, Diagnostic};
use ssmc::jit::{self, Backend, Form};
use ssmc::profile::Profile;
use ssmc::profile::bound::{Bound, Run};
use ssmc::{ir, predict, scan};
use ssmc_runtime::driver;

use super::args::{BenchArgs, Dtype, LayerArgs, Plan};
use super::engine::{Engine, Number};
use super::program::{Program, check_dims, has_errors};
use super::replace::Replacement;
use super::{Outcome, Verdict, on_program, report};
use plans::Target;
use row::{Made, Row};
use timing::Clock;
use workload::Workload;

/// The most rows of a sweep.
const MOST_ROWS: usize = 10_000;

/// Does what the arguments ask for: measures a program, or the machine, or compares two results.
pub fn execute(args: &BenchArgs) -> Verdict {
    if let Some(path) = &args.file {
        return on_program(path, |program| measure(program, args));
    }
    let outcome = match &args.compare {
        Some(files) => compare::execute(files, args.json),
        None => machine::show(args.json),
    };
    outcome.unwrap_or_else(|errors| {
        report::print(&errors, "", "");
        Verdict::Failed
    })
}

fn measure(program: &Program, args: &BenchArgs) -> Outcome {
    let layers = layers(program, args)?;
    let targets = plans::targets(&args.isa)?;
    let plot = args.plot.as_deref().map(Replacement::create).transpose().map_err(|error| vec![error])?;
    let threads: Vec<usize> = match &args.threads[..] {
        [] => vec![std::thread::available_parallelism().map_or(1, usize::from)],
        list => list.iter().map(|&n| usize::from(n)).collect(),
    };
    let most_plans: usize = layers.iter().map(|layer| plans::of(layer).len()).sum();
    let lists = [args.dtype.len(), targets.len(), args.seq.len(), args.batch.len(), threads.len()];
    let total = lists.into_iter().try_fold(most_plans, usize::checked_mul).filter(|&n| n <= MOST_ROWS);
    let Some(total) = total else {
        let message = format!("these lists make more than {MOST_ROWS} rows");
        return Err(vec![Diagnostic::error_at(Code::S408, "ssmc bench", message)]);
    };
    let bar = bar(total);
    let mut bench = Bench {
        args,
        threads,
        targets,
        clock: Clock::new(machine::profile(&bar)?),
        rows: Vec::new(),
        notes: Vec::new(),
        failures: Vec::new(),
        bar,
    };
    for layer in &layers {
        for dtype in &args.dtype {
            match dtype {
                Dtype::F32 => bench.sweep::<f32>(layer)?,
                Dtype::F64 => bench.sweep::<f64>(layer)?,
            }
        }
    }
    bench.bar.finish_and_clear();
    let Bench { clock, rows, mut notes, failures, .. } = bench;
    notes.extend(clock.note(&rows));
    if let Some(profile) = clock.faster() {
        machine::remember(&profile);
    }
    if let Some(file) = plot {
        file.finish(|file| std::io::Write::write_all(file, plot::draw(&rows).as_bytes()))
            .map_err(|error| vec![error])?;
    }
    let text = if args.json { row::json(&rows) } else { row::table(&rows) };
    report::out(&text).map_err(|error| vec![error])?;
    program.report(&notes);
    program.report(&failures);
    Ok(if failures.is_empty() { Verdict::Done } else { Verdict::Failed })
}

/// The layers that are measured: the one that is named, else all.
fn layers(program: &Program, args: &BenchArgs) -> Result<Vec<ir::Layer>, Vec<Diagnostic>> {
    if args.layer.is_some() {
        let file = args.file.clone().unwrap_or_default();
        let one = LayerArgs { file, layer: args.layer.clone(), dims: args.dims.clone() };
        return Ok(vec![program.layer(&one)?]);
    }
    let (layers, diagnostics) = program.layers();
    if has_errors(&diagnostics) {
        return Err(diagnostics);
    }
    program.report(&diagnostics);
    if layers.is_empty() {
        let message = "the program has no layer";
        return Err(vec![Diagnostic::error_at(Code::S410, program.path.clone(), message)]);
    }
    check_dims(&args.dims, &layers)?;
    Ok(layers)
}

fn bar(total: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} rows, {eta} left  {msg}") {
        bar.set_style(style);
    }
    bar
}

struct Bench<'a> {
    args: &'a BenchArgs,
    threads: Vec<usize>,
    targets: Vec<Target>,
    clock: Clock,
    rows: Vec<Row>,
    notes: Vec<Diagnostic>,
    failures: Vec<Diagnostic>,
    bar: ProgressBar,
}

/// What is swept over besides the workload.
#[derive(Clone, Copy)]
struct Setting {
    target: Target,
    threads: usize,
}

impl Bench<'_> {
    /// Measures a layer for all combinations of what is swept over.
    fn sweep<F: Number>(&mut self, layer: &ir::Layer) -> Result<(), Vec<Diagnostic>> {
        let given = !self.args.input.is_empty();
        let (batches, lengths) =
            if given { (vec![1], vec![1]) } else { (self.args.batch.clone(), self.args.seq.clone()) };
        for &batch in &batches {
            for &seq in &lengths {
                let mut notes = Vec::new();
                let work = Workload::<F>::new(layer, self.args, batch, seq, &mut notes)?;
                for target in self.targets.clone() {
                    for threads in self.threads.clone() {
                        self.plans(&work, Setting { target, threads }, &mut notes)?;
                    }
                }
                for note in notes {
                    if !self.notes.contains(&note) {
                        self.notes.push(note);
                    }
                }
            }
        }
        Ok(())
    }

    /// Measures all plans of a layer on one workload.
    fn plans<F: Number>(
        &mut self,
        work: &Workload<F>,
        setting: Setting,
        notes: &mut Vec<Diagnostic>,
    ) -> Result<(), Vec<Diagnostic>> {
        if self.args.pin {
            pin(setting.threads);
        }
        let judge = judge::Judge::new(work, self.args.budget);
        let sequences = work.layout.sequences();
        let longest = (0..sequences.count()).map(|s| sequences.range(s).len()).max().unwrap_or(0);
        let extents = scan::Extents { sequences: sequences.count(), longest, threads: setting.threads, bits: F::BITS };
        let choice = scan::choose(&work.instance, extents, setting.target.isa, &self.clock.profile).plan;
        for plan in plans::of(&work.instance.layer) {
            self.bar.set_message(format!("{} {}", work.instance.layer.name, plan.name()));
            let started = Instant::now();
            let engine = match Engine::<F>::prepare(&work.instance, plan, setting.target.isa) {
                // A summary that cannot be compiled, or that nothing is cut for, leaves the other plans to measure.
                Err(problems) if !plans::runs_in_order(plan) => {
                    notes.extend(problems.into_iter().map(Diagnostic::into_note));
                    self.bar.inc(1);
                    continue;
                }
                engine => engine?,
            };
            if let Engine::Scan(scan) = &engine
                && !scan.cuts(&sequences)
            {
                self.bar.inc(1);
                continue;
            }
            let compile = started.elapsed().as_secs_f64();
            let backend = engine.backend().expect("kernels have a back end");
            match judge.check(&engine, work, setting.threads) {
                Err(what) => {
                    let place = format!("{} by the plan `{}`", work.instance.layer.name, plan.name());
                    self.failures.push(Diagnostic::error_at(Code::S409, place, what));
                }
                Ok(checked) => {
                    let timing = self.clock.time(&engine, work, setting.threads, self.args.budget, notes)?;
                    let predicted = self.predicted(work, setting, backend, plan)?;
                    let bounds = self.bounds(work, setting, predicted, plans::runs_in_order(plan));
                    let auto = plan.name() == choice.name();
                    let made = Made { plan, auto, backend, compile };
                    self.rows.push(Row::new(work, made, setting.threads, checked, &timing, bounds));
                }
            }
            self.bar.inc(1);
        }
        Ok(())
    }

    /// What is predicted for a plan, in seconds.
    ///
    /// # Errors
    /// As for the kernel.
    fn predicted<F: Number>(
        &self,
        work: &Workload<F>,
        setting: Setting,
        backend: Backend,
        plan: Plan,
    ) -> Result<f64, Vec<Diagnostic>> {
        let profile = &self.clock.profile;
        let sequences = work.layout.sequences();
        let longest = (0..sequences.count()).map(|i| sequences.range(i).len()).max().unwrap_or(0);
        let (count, total) = (sequences.count(), sequences.total());
        let form = match plan {
            Plan::Parallel | Plan::Chunked => {
                let extents = scan::Extents { sequences: count, longest, threads: setting.threads, bits: F::BITS };
                let plan = if plan == Plan::Chunked { scan::Plan::Chunked } else { scan::Plan::Parallel };
                let priced = scan::price(plan, &work.instance, extents, setting.target.isa, profile)?;
                return Ok(priced.prediction.seconds());
            }
            Plan::Step => Form::Step,
            _ => Form::Sequence,
        };
        let run = predict::Run { total, ..predict::Run::even(count, longest, setting.threads) };
        let prediction = jit::backend::predicted(&work.instance, form, F::BITS, backend, &run, profile)?;
        Ok(prediction.seconds())
    }

    /// What bounds a run on this machine.
    fn bounds<F: Number>(&self, work: &Workload<F>, setting: Setting, predicted: f64, in_order: bool) -> row::Bounds {
        let profile: &Profile = &self.clock.profile;
        let cost = Cost::of(&work.instance, F::BITS);
        let sequences = work.layout.sequences();
        let run = Run {
            total: sequences.total(),
            longest: (0..sequences.count()).map(|i| sequences.range(i).len()).max().unwrap_or(0),
            sequences: sequences.count(),
            threads: setting.threads.min(profile.threads),
            bits: F::BITS,
            vector: setting.target.limit.unwrap_or(profile.widest().bits),
            in_order,
        };
        let machine = Bound::of(&cost, &run, profile);
        row::Bounds { machine, predicted, flops: cost.step.flops() * run.total as f64 }
    }
}

/// Pins the thread that runs single sequences, or each thread of the pool, to a core of its own.
fn pin(threads: usize) {
    // A thread that is pinned sees its own core only, and so do the threads that it starts.
    static CORES: LazyLock<Vec<CoreId>> = LazyLock::new(|| core_affinity::get_core_ids().unwrap_or_default());
    let cores = &*CORES;
    if cores.is_empty() {
        return;
    }
    // The last core: the first ones serve interrupts on many systems.
    let core = |at: usize| cores[cores.len() - 1 - at % cores.len()];
    core_affinity::set_for_current(core(0));
    if threads > 1
        && let Some(pool) = driver::pool(threads)
    {
        pool.broadcast(|context| core_affinity::set_for_current(core(context.index())));
    }
}

/// A share in words.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_keep_cores_of_their_own_after_a_single_one_was_pinned() {
        std::thread::spawn(|| {
            let all = core_affinity::get_core_ids().unwrap_or_default().len();
            pin(1);
            // No other test's pool has as many threads.
            let threads = all + 3;
            pin(threads);
            let own = driver::pool(threads).unwrap().broadcast(|_| core_affinity::get_core_ids().unwrap_or_default());
            let mut different: Vec<usize> = own.iter().flatten().map(|core| core.id).collect();
            different.sort_unstable();
            different.dedup();
            assert_eq!(different.len(), all);
        })
        .join()
        .unwrap();
    }
}
