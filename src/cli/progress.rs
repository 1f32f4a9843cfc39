//! A progress bar for runs that take their time.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How long a run takes before the bar appears.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often the bar is drawn.
const REFRESH: Duration = Duration::from_millis(100);

/// Runs something that tells how many of `total` steps are done, with a bar on stderr if that is a terminal.
pub fn with_bar<T>(total: usize, action: impl FnOnce(&(dyn Fn(u64) + Sync)) -> T) -> T {
    if !std::io::stderr().is_terminal() {
        return action(&|_| {});
    }
    let done = AtomicU64::new(0);
    let ended = (Mutex::new(false), Condvar::new());
    std::thread::scope(|scope| {
        scope.spawn(|| draw(total, &done, &ended));
        // Also when the action panics: the scope waits for the other thread.
        let _end = End(&ended);
        action(&|steps| done.store(steps, Ordering::Relaxed))
    })
}

/// Whether the run has ended, and the means to wait for it.
type Ended = (Mutex<bool>, Condvar);

struct End<'a>(&'a Ended);

impl Drop for End<'_> {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }
}

fn draw(total: usize, done: &AtomicU64, ended: &Ended) {
    let mut bar: Option<ProgressBar> = None;
    let mut state = ended.0.lock().unwrap_or_else(PoisonError::into_inner);
    let mut wait = PATIENCE;
    while !*state {
        let (next, timeout) = ended.1.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner);
        state = next;
        if timeout.timed_out() && !*state {
            let bar = bar.get_or_insert_with(|| new_bar(total));
            bar.set_position(done.load(Ordering::Relaxed));
            wait = REFRESH;
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

fn new_bar(total: usize) -> ProgressBar {
    let bar = ProgressBar::new(total as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} steps, {eta} left") {
        bar.set_style(style);
    }
    bar
}
