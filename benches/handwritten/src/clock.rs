//! The clock of measurements.

use std::time::Duration;

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
        use std::time::Instant;
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        let _ = threads;
        START.elapsed()
    }
}
