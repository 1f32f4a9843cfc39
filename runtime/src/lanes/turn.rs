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
    /// How many threads sleep until it is their turn.
    asleep: Mutex<usize>,
    passed: Condvar,
}

impl Turn {
    /// For how many looks a thread stays awake, about as long as a segment takes. Where the thread before has lost its
    /// core to another process, it should find this one's free.
    const LOOKS: usize = 1000;

    /// Waits for the segments before this one.
    pub(super) fn wait(&self, segment: usize) {
        let mine = || self.next.load(Ordering::Acquire) == segment;
        for _ in 0..Self::LOOKS {
            if mine() {
                return;
            }
            std::hint::spin_loop();
        }
        let mut asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        *asleep += 1;
        while !mine() {
            asleep = self.passed.wait(asleep).unwrap_or_else(PoisonError::into_inner);
        }
        *asleep -= 1;
    }

    /// Lets the next segment go on.
    pub(super) fn pass(&self) {
        let asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        self.next.fetch_add(1, Ordering::Release);
        if *asleep > 0 {
            self.passed.notify_all();
        }
    }
}
