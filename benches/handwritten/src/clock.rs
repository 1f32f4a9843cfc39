//! The clock of measurements.

use std::time::{Duration, Instant};

/// Time so far, of which only differences mean something.
///
/// With one thread, the time that the calling thread has had a processor, so that other work on the machine does not
/// count; with more, and where there is no such clock, time on the wall.
pub fn now(threads: usize) -> Duration {
    #[cfg(target_os = "linux")]
    {
        use rustix::time::{ClockId, clock_gettime};
        let id = if threads == 1 { ClockId::ThreadCPUTime } else { ClockId::Monotonic };
        let time = clock_gettime(id);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
    }
    #[cfg(not(target_os = "linux"))]
    {
        use std::sync::LazyLock;
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        let _ = threads;
        START.elapsed()
    }
}

/// The smallest time of a run, of those that fit into the budget and at least two, in seconds.
pub fn smallest(budget: Duration, threads: usize, mut run: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut best = f64::INFINITY;
    let mut runs = 0;
    while runs < 2 || start.elapsed() < budget {
        // Runs of microseconds would measure the clock.
        let (inner, begin) = (if best < 1e-4 { 20 } else { 1 }, now(threads));
        for _ in 0..inner {
            run();
        }
        best = best.min((now(threads) - begin).as_secs_f64() / f64::from(inner));
        runs += 1;
    }
    best
}
