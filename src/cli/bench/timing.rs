//! Repetitions of a run, what they amount to, and whether the machine kept its speed meanwhile.
//!
//! Each sample stands between two calibrations: work that is always the same. A machine that is shared with others
//! switches between speeds, so samples next to a calibration that is slower than the fastest that the machine was ever
//! seen to take are left out while enough others remain. A row is *noisy* where that does not help: where most samples are slow ones, or where the
//! first and the second half of the samples do not agree on the minimum.

use std::time::Instant;

use ssmc::diag::{Code, Diagnostic};
use ssmc::ir::interp;
use ssmc::profile::{Calibration, Profile, calibrate};
use ssmc_runtime::{Carry, Elements, Float, Sequences, Session, Tensor};

use super::row::Row;
use super::workload::{Workload, note};
use crate::cli::engine::{Engine, Number, Task};
use crate::cli::slices;

/// A sample takes at least about this long: runs that are shorter are repeated within it.
const SAMPLE: f64 = 300e-6;

/// How far two minima of the same thing may be apart.
pub const AGREE: f64 = 0.03;

/// How much slower than the fastest a calibration may be next to a sample that counts: a clock that is slower by more
/// makes a minimum that is larger by more.
const SLOWER: f64 = 1.0 + AGREE;

/// The most samples of a row.
const MOST: usize = 5_000;

/// The most steps that a step kernel is timed over.
const MOST_STEPS: usize = 4096;

/// The machine while it is measured.
pub struct Clock {
    /// What it can do, with the fastest calibration of all runs.
    pub profile: Profile,
    /// The fastest of this run.
    fastest: Calibration,
}

/// What repetitions amount to, in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Timing {
    /// The first run.
    pub first: f64,
    /// The fastest.
    pub min: f64,
    /// The median.
    pub median: f64,
    /// The 95 % interval of the median.
    pub interval: [f64; 2],
    /// How many samples count.
    pub samples: usize,
    /// How far the minima of both halves of the samples are apart, as a share.
    pub spread: f64,
    /// How much slower than at its best the machine was, at its best moment in this row.
    pub slower: f64,
    /// Whether the machine was too noisy for the minimum to be trusted to 3 %.
    pub noisy: bool,
}

impl Clock {
    /// A clock on a machine with that profile.
    pub fn new(profile: Profile) -> Self {
        let fastest = (0..20).map(|_| calibrate()).fold(calibrate(), Calibration::best);
        Self { profile, fastest }
    }

    /// Times a plan on a workload.
    ///
    /// # Errors
    /// S408 where the run is refused.
    pub fn time<F: Number>(
        &mut self,
        engine: &Engine<F>,
        work: &Workload<F>,
        threads: usize,
        budget: f64,
        notes: &mut Vec<Diagnostic>,
    ) -> Result<Timing, Vec<Diagnostic>> {
        let mut subject = Subject::new(engine, work, threads);
        let started = Instant::now();
        let mut carries = vec![subject.carry()];
        let first = subject.run(&mut carries)?;
        check_range(work, &carries[0], notes);
        let repeats = ((SAMPLE / first.max(1e-9)).ceil() as usize).clamp(1, 10_000);
        // Warm caches and a settled clock.
        while started.elapsed().as_secs_f64() < budget / 10.0 {
            let mut carries: Vec<_> = (0..repeats).map(|_| subject.carry()).collect();
            subject.run(&mut carries)?;
        }
        let started = Instant::now();
        let mut samples: Vec<(f64, [Calibration; 2])> = Vec::new();
        let mut before = calibrate();
        loop {
            let mut carries: Vec<_> = (0..repeats).map(|_| subject.carry()).collect();
            let time = subject.run(&mut carries)? / repeats as f64;
            let after = calibrate();
            self.fastest = self.fastest.best(before).best(after);
            samples.push((time, [before, after]));
            before = after;
            let elapsed = started.elapsed().as_secs_f64();
            let over = elapsed >= budget && (samples.len() >= 3 || elapsed >= 10.0 * budget);
            let settled = samples.len() >= 40 && samples.len().is_multiple_of(20) && elapsed >= 0.1 * budget && {
                let timing = judge(&self.weigh(&samples), first * subject.scale, subject.scale);
                !timing.noisy && timing.spread < 0.005 && timing.interval[1] - timing.interval[0] < 0.01 * timing.median
            };
            if over || settled || samples.len() >= MOST {
                break;
            }
        }
        Ok(judge(&self.weigh(&samples), first * subject.scale, subject.scale))
    }

    /// Samples with how much slower than the fastest the calibrations around each were.
    fn weigh(&self, samples: &[(f64, [Calibration; 2])]) -> Vec<(f64, f64)> {
        let fastest = self.fastest.best(self.profile.calibration);
        samples.iter().map(|(time, around)| (*time, around[0].over(fastest).max(around[1].over(fastest)))).collect()
    }

    /// The profile with this run's calibration, where that was faster.
    pub fn faster(&self) -> Option<Profile> {
        let best = self.fastest.best(self.profile.calibration);
        (best != self.profile.calibration).then(|| Profile { calibration: best, ..self.profile.clone() })
    }

    /// What is to be said about rows that the machine was too noisy for.
    pub fn note(&self, rows: &[Row]) -> Option<Diagnostic> {
        let noisy = rows.iter().filter(|row| row.noisy).count();
        if noisy == 0 {
            return None;
        }
        let behind = self.fastest.over(self.profile.calibration);
        let why = if behind > SLOWER {
            format!("it ran at {:.0} % of the speed of its profile at best", 100.0 / behind)
        } else {
            "it changed its speed, or something else was running".to_owned()
        };
        let message = format!("the machine was too noisy to tell {noisy} of {} rows to 3 %: {why}", rows.len());
        let help = if behind > SLOWER {
            "`ssmc bench --profile` takes a new profile, if that is its speed now"
        } else {
            "repeat with a larger --budget, or with --pin"
        };
        Some(Diagnostic::error_at(Code::S409, "ssmc bench", message).into_note().help(help))
    }
}

/// What samples amount to; each comes with how much slower than the fastest the calibrations around it were.
fn judge(samples: &[(f64, f64)], first: f64, scale: f64) -> Timing {
    let fast: Vec<f64> = samples.iter().filter(|(_, slower)| *slower <= SLOWER).map(|(time, _)| time * scale).collect();
    let enough = fast.len() >= 3 && fast.len() * 3 >= samples.len();
    let counted = if enough { fast } else { samples.iter().map(|(time, _)| time * scale).collect() };
    let least = |times: &[f64]| times.iter().copied().fold(f64::INFINITY, f64::min);
    let (one, two) = counted.split_at(counted.len() / 2);
    let (min, spread) = match (least(one), least(two)) {
        (a, b) if a.is_finite() => (a.min(b), a.max(b) / a.min(b) - 1.0),
        (_, b) => (b, f64::INFINITY),
    };
    let slower = least(&samples.iter().map(|(_, slower)| *slower).collect::<Vec<_>>());
    let mut sorted = counted;
    sorted.sort_unstable_by(f64::total_cmp);
    Timing {
        first,
        min,
        median: median(&sorted),
        interval: interval(&sorted),
        samples: sorted.len(),
        spread,
        slower,
        noisy: !enough || spread > AGREE,
    }
}

/// The middle of ascending values.
fn median(sorted: &[f64]) -> f64 {
    let n = sorted.len();
    if n.is_multiple_of(2) { (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0 } else { sorted[n / 2] }
}

/// The values between which the true median lies with at least 95 %, whatever the distribution: of ascending values
/// those at the 2.5 % and 97.5 % quantiles of how many fall below it. All of them, where there are too few to say.
fn interval(sorted: &[f64]) -> [f64; 2] {
    let n = sorted.len();
    // How many of n values fall below the median is binomial with 1/2: sum its tail.
    let (mut tail, mut rank) = (0.0, 0);
    let mut log_choose = 0.0;
    for k in 0..n / 2 {
        let probability = (log_choose - n as f64 * std::f64::consts::LN_2).exp();
        if tail + probability > 0.025 {
            break;
        }
        tail += probability;
        rank = k + 1;
        log_choose += ((n - k) as f64 / (k + 1) as f64).ln();
    }
    let low = rank.saturating_sub(1);
    [sorted[low], sorted[n - 1 - low]]
}

/// What is timed.
struct Subject<'a, F: Number> {
    engine: &'a Engine<F>,
    work: &'a Workload<F>,
    sequences: Sequences,
    threads: usize,
    /// The inputs of the steps of the step kernel, one by one.
    steps: Vec<Vec<Tensor<F>>>,
    /// What every run but the first writes over, so that nothing is waited for but the run.
    outputs: Vec<Tensor<F>>,
    /// How much longer the whole workload is than what is timed.
    scale: f64,
}

impl<'a, F: Number> Subject<'a, F> {
    fn new(engine: &'a Engine<F>, work: &'a Workload<F>, threads: usize) -> Self {
        let sequences = work.layout.sequences();
        let (mut steps, mut scale) = (Vec::new(), 1.0);
        if let Engine::Step(_) = engine {
            let longest = (0..sequences.count()).map(|i| sequences.range(i)).max_by_key(ExactSizeIterator::len);
            let range = longest.unwrap_or(0..0);
            let count = range.len().min(MOST_STEPS);
            for step in range.start..range.start + count {
                steps.push(work.inputs.iter().map(|input| slices::rows(input, step..step + 1)).collect());
            }
            scale = sequences.total() as f64 / count.max(1) as f64;
        }
        Self { engine, work, sequences, threads, steps, outputs: Vec::new(), scale }
    }

    /// What stands before the first step.
    fn carry(&self) -> Carry<F> {
        let count = if self.steps.is_empty() { self.sequences.count() } else { 1 };
        interp::initial_carry(&self.work.instance, &self.work.bound, count)
    }

    /// Runs once from each carry; gives the seconds of all runs together.
    fn run(&mut self, carries: &mut [Carry<F>]) -> Result<f64, Vec<Diagnostic>> {
        let work = self.work;
        let refused =
            |error: ssmc_runtime::RunError| vec![Diagnostic::error_at(Code::S408, "the run", error.to_string())];
        let started = Instant::now();
        match self.engine {
            Engine::Step(kernel) => {
                let mut sessions = Vec::new();
                for carry in carries.iter() {
                    sessions.push(kernel.session(&work.bound, carry.clone()).map_err(refused)?);
                }
                let mut outputs = sessions.first().map(Session::blank_outputs).unwrap_or_default();
                let started = Instant::now();
                for session in &mut sessions {
                    for inputs in &self.steps {
                        session.step(inputs, &mut outputs).map_err(refused)?;
                        std::hint::black_box(&mut outputs);
                    }
                }
                let seconds = started.elapsed().as_secs_f64();
                for (carry, session) in carries.iter_mut().zip(&mut sessions) {
                    carry.clone_from(session.carry());
                }
                return Ok(seconds);
            }
            engine => {
                let task = Task {
                    instance: &work.instance,
                    bound: &work.bound,
                    sequences: &self.sequences,
                    inputs: &work.inputs,
                    threads: self.threads,
                    progress: &|_| {},
                };
                for carry in carries {
                    engine.run_again(&task, &mut self.outputs, carry).map_err(refused)?;
                    std::hint::black_box(&mut self.outputs);
                }
            }
        }
        Ok(started.elapsed().as_secs_f64())
    }
}

/// Notes states that are no longer finite, or so small that the processor may be slow with them.
fn check_range<F: Number>(work: &Workload<F>, carry: &Carry<F>, notes: &mut Vec<Diagnostic>) {
    let least = if F::BITS == 32 { f64::from(f32::MIN_POSITIVE) } else { f64::MIN_POSITIVE };
    let layer = &work.instance.layer;
    for (state, tensor) in layer.states.iter().zip(&carry.states) {
        let parts: Vec<&[F]> = match &tensor.elements {
            Elements::Real(v) => vec![v],
            Elements::Complex { re, im } => vec![re, im],
            Elements::Int(_) | Elements::Bool(_) | Elements::Byte(_) => Vec::new(),
        };
        let any = |what: &dyn Fn(f64) -> bool| parts.iter().any(|part| part.iter().any(|x| what(Float::to_f64(*x))));
        let what = if any(&|x| !x.is_finite()) {
            "overflows"
        } else if any(&|x| x != 0.0 && x.abs() < least) {
            "goes denormal"
        } else {
            continue;
        };
        let message = format!("the state `{}` {what} on these inputs, in f{}", state.name, F::BITS);
        let note = note(layer, Code::S406, message);
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_its_interval() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(median(&values), 50.5);
        // Of 100 values the 40th and the 61st, as tables have it.
        assert_eq!(interval(&values), [40.0, 61.0]);
        assert_eq!(interval(&values[..10]), [2.0, 9.0]);
        // Five values do not reach 95 %.
        assert_eq!((median(&values[..5]), interval(&values[..5])), (3.0, [1.0, 5.0]));
        assert_eq!((median(&values[..1]), interval(&values[..1])), (1.0, [1.0, 1.0]));
        let many: Vec<f64> = (0..10_000).map(f64::from).collect();
        let [low, high] = interval(&many);
        assert!((4895.0..4910.0).contains(&low) && (5090.0..5105.0).contains(&high), "{low} {high}");
    }

    #[test]
    fn samples_of_a_slow_moment_are_left_out() {
        let mut samples = vec![(1.0, 1.0); 20];
        samples.extend([(1.7, 1.7); 20]);
        let timing = judge(&samples, 3.0, 1.0);
        assert_eq!((timing.min, timing.median, timing.samples, timing.noisy), (1.0, 1.0, 20, false));
        assert_eq!(judge(&samples, 3.0, 2.0).min, 2.0);
    }

    #[test]
    fn a_machine_that_does_not_keep_its_speed_is_noisy() {
        // Slow nearly all the time.
        let mut slow = vec![(1.7, 1.7); 20];
        slow.push((1.0, 1.0));
        assert!(judge(&slow, 1.0, 1.0).noisy);
        // Slow all the time, by little.
        assert!(judge(&[(1.05, 1.05); 20], 1.0, 1.0).noisy);
        // The second half is another.
        let halves: Vec<_> = (0..20).map(|i| (if i < 10 { 1.0 } else { 1.04 }, 1.0)).collect();
        assert!(judge(&halves, 1.0, 1.0).noisy);
        assert!(judge(&[(1.0, 1.0)], 1.0, 1.0).noisy);
        assert!(!judge(&[(1.0, 1.0); 6], 1.0, 1.0).noisy);
    }
}
