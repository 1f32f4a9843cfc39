//! Who is next: threads that come in order.
//!
//! In: numbered pieces of work, each known to one thread. Out: one after the other of them goes on. Threads take pieces
//! in order, so that the one that all others wait for is always being worked on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// Which segment is the next.
#[derive(Default)]
pub(super) struct Turn {
    next: AtomicUsize,
    /// How many threads sleep, or are about to.
    asleep: AtomicUsize,
    sleep: Mutex<()>,
    passed: Condvar,
}

impl Turn {
    /// For how many looks a thread stays awake, several times as long as a segment takes. Where the thread before has
    /// lost its core to another process, it should find this one's free.
    const LOOKS: usize = 1000;

    /// Waits for the segments before this one.
    pub(super) fn wait(&self, segment: usize) {
        let mine = || self.next.load(Ordering::SeqCst) == segment;
        for _ in 0..Self::LOOKS {
            if mine() {
                return;
            }
            std::hint::spin_loop();
        }
        let mut sleep = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever passes after this sees it, and then waits for the lock; whoever has passed before is seen here.
        self.asleep.fetch_add(1, Ordering::SeqCst);
        while !mine() {
            sleep = self.passed.wait(sleep).unwrap_or_else(PoisonError::into_inner);
        }
        self.asleep.fetch_sub(1, Ordering::SeqCst);
    }

    /// Lets the next segment go on.
    pub(super) fn pass(&self) {
        self.next.fetch_add(1, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) > 0 {
            let _sleep = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
            self.passed.notify_all();
        }
    }
}
