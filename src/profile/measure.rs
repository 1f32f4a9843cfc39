//! How the figures of a [`Profile`] are taken.
//!
//! Every figure is the best of many short timings, and the timings of different figures alternate, so that a machine
//! that is slow for a while spoils none of them alone.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ssmc_runtime::probe::{self, CHAIN, CHAINS, Line, Load};

use super::{Bandwidth, Level, Profile, Width, cache_sizes, model};

/// How long arithmetic is measured.
const ARITHMETIC: Duration = Duration::from_millis(800);

/// About how long walks over a cache are timed at once, in seconds.
const TURN: f64 = 1e-3;

/// About how long one kind of walk over one level is measured.
const WALK: Duration = Duration::from_millis(40);

/// About how long one timing takes, in seconds.
const PROBE: f64 = 60e-6;

/// The most memory that is walked over.
const MOST: usize = 256 << 20;

/// What work that is always the same takes, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// Operations that wait for each other: they follow the clock.
    pub wait: f64,
    /// As many multiply-adds as the processor takes: they also follow what a neighbour on the same core leaves.
    pub work: f64,
}

impl Calibration {
    /// The better of both parts.
    pub fn best(self, other: Self) -> Self {
        Self { wait: self.wait.min(other.wait), work: self.work.min(other.work) }
    }

    /// How many times slower than the other this is; by the part that is worse.
    pub fn over(self, other: Self) -> f64 {
        (self.wait / other.wait).max(self.work / other.work)
    }
}

/// Takes a tenth of a millisecond for work that is always the same.
pub fn calibrate() -> Calibration {
    let width = *probe::widths().last().unwrap_or(&probe::Width::W128);
    let wait = seconds(|| probe::chain(8_000));
    let work = seconds(|| probe::multiply_add(width, Load::Full, 8_000));
    Calibration { wait, work }
}

/// Measures the machine, in two to five seconds.
///
/// `progress` is told the share that is done, in `0.0..=1.0`.
pub fn measure(progress: &dyn Fn(f64)) -> Profile {
    let started = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    progress(0.0);
    let arithmetic = Arithmetic::measure();
    progress(0.3);
    let levels = levels(threads, &|share| progress(0.3 + 0.7 * share));
    Profile {
        model: model(),
        threads,
        portable: probe::is_portable(),
        latency: arithmetic.latency,
        widths: arithmetic.widths,
        levels,
        calibration: arithmetic.fastest,
        speeds: arithmetic.slowest.over(arithmetic.fastest).max(1.0),
        seconds: started.elapsed().as_secs_f64(),
    }
}

fn seconds(action: impl FnOnce()) -> f64 {
    let started = Instant::now();
    action();
    started.elapsed().as_secs_f64().max(1e-9)
}

/// How many rounds of an action take about as long as a probe.
fn rounds(action: impl Fn(u64)) -> u64 {
    let mut rounds = 64;
    loop {
        let time = seconds(|| action(rounds));
        if time > PROBE / 2.0 || rounds > 1 << 30 {
            return rounds;
        }
        rounds *= 2;
    }
}

struct Arithmetic {
    latency: f64,
    widths: Vec<Width>,
    fastest: Calibration,
    slowest: Calibration,
}

/// A loop with the best time of a round so far.
struct Probe<'a> {
    action: Box<dyn Fn(u64) + 'a>,
    rounds: u64,
    best: f64,
}

impl<'a> Probe<'a> {
    fn new(action: impl Fn(u64) + 'a) -> Self {
        let rounds = rounds(&action);
        Self { action: Box::new(action), rounds, best: f64::INFINITY }
    }

    /// Runs twice; the first time brings the processor to the clock that it has for such work.
    fn run(&mut self) {
        for _ in 0..2 {
            self.best = self.best.min(seconds(|| (self.action)(self.rounds)) / self.rounds as f64);
        }
    }
}

impl Arithmetic {
    fn measure() -> Self {
        let widths = probe::widths();
        let mut chain = Probe::new(probe::chain);
        let mut probes: Vec<[Probe<'_>; 4]> = widths
            .iter()
            .map(|&width| {
                [
                    Probe::new(move |n| probe::multiply_add(width, Load::Waiting, n)),
                    Probe::new(move |n| probe::multiply_add(width, Load::Full, n)),
                    Probe::new(move |n| probe::divide(width, 32, n)),
                    Probe::new(move |n| probe::divide(width, 64, n)),
                ]
            })
            .collect();
        let (mut fastest, mut slowest) = (calibrate(), Calibration { wait: 0.0, work: 0.0 });
        let started = Instant::now();
        while started.elapsed() < ARITHMETIC {
            // The better of two: a single one may be interrupted, which is no matter of speed.
            let calibration = calibrate().best(calibrate());
            fastest = fastest.best(calibration);
            slowest =
                Calibration { wait: slowest.wait.max(calibration.wait), work: slowest.work.max(calibration.work) };
            chain.run();
            probes.iter_mut().flatten().for_each(Probe::run);
        }
        let cycle = chain.best / CHAIN as f64;
        // A round of waiting multiply-adds is as long as one of them.
        let latency = (probes[0][0].best / cycle).round().max(1.0);
        let widths = widths.iter().zip(&probes).map(|(width, [waiting, full, divide32, divide64])| {
            let cycle = waiting.best / latency;
            let rate = |probe: &Probe<'_>| CHAINS as f64 * cycle / probe.best;
            Width {
                bits: width.bits(),
                ghz: 1e-9 / cycle,
                multiply_adds: rate(full),
                divisions: [rate(divide32), rate(divide64)],
            }
        });
        Self { latency, widths: widths.collect(), fastest, slowest }
    }
}

/// The caches that the processor has, and memory.
fn levels(threads: usize, progress: &dyn Fn(f64)) -> Vec<Level> {
    let caches = cache_sizes();
    let outermost = caches.last().copied().unwrap_or(1 << 20);
    // A cache is walked over in halves of it, so that nothing else drives the data out; the outermost, which others
    // share, by four times what the caches inside of it hold.
    let mut walks: Vec<(String, usize, usize)> = Vec::new();
    for (at, &bytes) in caches.iter().enumerate() {
        let shared = at > 0 && at + 1 == caches.len() && caches.len() > 2;
        let walked = if shared { (4 * caches[at - 1]).min(bytes / 2) } else { bytes / 2 };
        walks.push((format!("L{}", at + 1), bytes, walked));
    }
    let most = (3 * outermost).clamp(32 << 20, MOST);
    walks.push(("memory".to_owned(), most, most));
    let total = walks.len() as f64;
    let mut levels = Vec::new();
    for (at, (name, bytes, walked)) in walks.into_iter().enumerate() {
        let memory = name == "memory";
        // Memory for all threads together is as much as for one.
        let share = if memory { walked / threads } else { walked };
        // Memory that is not there leaves the figures of the level inside.
        let Some(one) = bandwidth(1, walked, memory) else { continue };
        let all = if threads > 1 { bandwidth(threads, share, memory) } else { None };
        levels.push(Level { name, bytes, one, all: all.unwrap_or(one) });
        progress((at + 1) as f64 / total);
    }
    levels
}

/// What one walk over memory does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Walk {
    Load,
    Store,
    Stream,
    Copy,
    CopyPast,
    LoadAhead,
    CopyAhead,
}

/// The best bandwidths of `threads` threads that walk over `bytes` bytes each; `None` where there is no such memory.
fn bandwidth(threads: usize, bytes: usize, memory: bool) -> Option<Bandwidth> {
    let lines = (bytes / size_of::<Line>()).max(8);
    let walks: &[Walk] = if memory {
        &[Walk::Load, Walk::Store, Walk::Stream, Walk::Copy, Walk::CopyPast, Walk::LoadAhead, Walk::CopyAhead]
    } else {
        &[Walk::Load, Walk::Store, Walk::Copy]
    };
    let width = *probe::widths().last()?;
    let mut buffers = Vec::new();
    for _ in 0..threads {
        let mut buffer: Vec<Line> = Vec::new();
        buffer.try_reserve_exact(lines).ok()?;
        buffers.push(buffer);
    }
    let (barrier, stop) = (Barrier::new(threads), AtomicBool::new(false));
    let cores = core_affinity::get_core_ids().filter(|cores| threads > 1 && cores.len() >= threads);
    // By thread, walk and turn: the seconds that the walk took.
    let times: Vec<Vec<Vec<f64>>> = std::thread::scope(|scope| {
        let workers: Vec<_> = buffers
            .iter_mut()
            .enumerate()
            .map(|(at, buffer)| {
                let (barrier, stop, core) = (&barrier, &stop, cores.as_ref().map(|cores| cores[at]));
                scope.spawn(move || {
                    if let Some(core) = core {
                        core_affinity::set_for_current(core);
                    }
                    buffer.resize(lines, Line::ZERO);
                    walks.iter().map(|walk| turns(*walk, width, buffer, barrier, stop, at == 0)).collect()
                })
            })
            .collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).collect()
    });
    // The best turn of all threads together: each counts as long as its slowest thread.
    let rate = |walk: Walk| {
        let at = walks.iter().position(|w| *w == walk)?;
        let count = times.iter().map(|times| times[at].len()).min()?;
        let slowest = |turn: usize| times.iter().map(|times| times[at][turn]).fold(0.0, f64::max);
        let best = (0..count).map(slowest).fold(f64::INFINITY, f64::min);
        Some((threads * lines * size_of::<Line>()) as f64 / best * 1e-9)
    };
    let better = |a: Walk, b: Walk| Some(rate(a)?.max(rate(b).unwrap_or(0.0)));
    Some(Bandwidth {
        load: better(Walk::Load, Walk::LoadAhead)?,
        store: better(Walk::Store, Walk::Stream)?,
        copy: better(Walk::Copy, Walk::CopyPast)?.max(rate(Walk::CopyAhead).unwrap_or(0.0)),
    })
}

/// The seconds of single walks over the buffer, turn by turn, while the other threads do the same, until the first one
/// says that it is enough.
fn turns(
    walk: Walk,
    width: probe::Width,
    buffer: &mut [Line],
    barrier: &Barrier,
    stop: &AtomicBool,
    first: bool,
) -> Vec<f64> {
    let half = buffer.len() / 2;
    let mut once = || match walk {
        Walk::Load => probe::load(width, buffer),
        Walk::LoadAhead => probe::load_ahead(width, buffer),
        Walk::Store => probe::store(width, buffer),
        Walk::Stream => probe::stream(width, buffer),
        Walk::Copy | Walk::CopyPast | Walk::CopyAhead => {
            let (from, to) = buffer.split_at_mut(half);
            match walk {
                Walk::CopyAhead => probe::copy_ahead(width, from, to),
                _ => probe::copy(width, from, to, walk == Walk::CopyPast),
            }
        }
    };
    once();
    let single = seconds(&mut once);
    let repeats = (TURN / single).ceil().clamp(1.0, 1e6) as usize;
    let (started, mut times) = (Instant::now(), Vec::new());
    if first {
        stop.store(false, Ordering::Relaxed);
    }
    loop {
        // All threads do as many turns: between the two the first one never changes its mind.
        barrier.wait();
        let over = stop.load(Ordering::Relaxed);
        barrier.wait();
        if over {
            return times;
        }
        times.push(seconds(|| (0..repeats).for_each(|_| once())) / repeats as f64);
        if first && times.len() > 1 && started.elapsed() > WALK {
            stop.store(true, Ordering::Relaxed);
        }
    }
}
