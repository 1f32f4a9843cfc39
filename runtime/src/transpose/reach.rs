//! Lines of the cache that are fetched ahead, at the pace of other work.
//!
//! A burst of fetches waits for main memory, and what comes behind it waits too; spread over loads, stores and arithmetic
//! from and to the caches, fetches cost next to nothing.

use super::LINE;

/// What will be needed soon.
pub(crate) struct Reach {
    /// Addresses and bytes, the last first.
    ranges: Vec<(*const u8, usize)>,
    /// So many lines ..
    lines: usize,
    /// .. for so much work.
    work: usize,
    /// How much of `lines * work` was done since the last line.
    done: usize,
}

impl Reach {
    pub(crate) fn nothing() -> Self {
        Self { ranges: Vec::new(), lines: 0, work: 1, done: 0 }
    }

    /// Nothing more will be needed.
    pub(crate) fn forget(&mut self) {
        self.ranges.clear();
    }

    /// These bytes will be needed, too, and before all others.
    pub(crate) fn also(&mut self, from: *const u8, bytes: usize) {
        self.ranges.push((from, bytes));
    }

    /// How many lines there are.
    #[cfg(test)]
    fn lines(&self) -> usize {
        self.ranges.iter().map(|(_, bytes)| bytes.div_ceil(LINE)).sum()
    }

    /// From now on, so many lines are fetched for so much work, in whatever unit.
    pub(crate) fn pace(&mut self, lines: usize, work: usize) {
        (self.lines, self.work, self.done) = (lines, work.max(1), 0);
    }

    /// Fetches what that much work is worth.
    #[inline(always)]
    pub(crate) fn worked(&mut self, work: usize) {
        self.done += self.lines * work;
        while self.done >= self.work {
            self.done -= self.work;
            self.line();
        }
    }

    #[inline(always)]
    fn line(&mut self) {
        let Some((at, bytes)) = self.ranges.last_mut() else { return };
        #[cfg(target_arch = "x86_64")]
        super::x86::fetch(*at);
        *at = at.wrapping_add(LINE);
        *bytes = bytes.saturating_sub(LINE);
        if *bytes == 0 {
            self.ranges.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_at_the_pace_of_work() {
        let bytes = [0u8; 1000];
        let mut reach = Reach::nothing();
        reach.also(bytes.as_ptr(), 1000);
        reach.also(bytes.as_ptr(), 100);
        assert_eq!(reach.lines(), 18);
        reach.worked(7);
        assert_eq!(reach.lines(), 18);
        reach.pace(3, 10);
        let left: Vec<usize> = (0..10).map(|_| (reach.worked(1), reach.lines()).1).collect();
        assert_eq!(left, [18, 18, 18, 17, 17, 17, 16, 16, 16, 15]);
        reach.worked(1000);
        assert_eq!(reach.lines(), 0);
        reach.also(bytes.as_ptr(), 64);
        reach.forget();
        assert_eq!(reach.lines(), 0);
    }
}
