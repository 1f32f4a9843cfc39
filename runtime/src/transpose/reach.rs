//! Lines of the cache that are fetched ahead, at the pace of other work.
//!
//! A burst of fetches waits for main memory, and what comes behind it waits too; spread over loads, stores and arithmetic
//! from and to the caches, fetches cost next to nothing.

use super::LINE;

/// What will be needed soon.
pub(crate) struct Reach {
    /// Addresses and lines, the last first.
    ranges: Vec<(*const u8, usize)>,
    /// How many lines are fetched for a unit of work, in parts of 2^32.
    rate: u64,
    /// What was worked for since the last line.
    done: u64,
}

impl Reach {
    pub(crate) fn nothing() -> Self {
        Self { ranges: Vec::new(), rate: 0, done: 0 }
    }

    /// Nothing more will be needed.
    pub(crate) fn forget(&mut self) {
        self.ranges.clear();
    }

    /// These bytes will be needed, too, and before all others.
    pub(crate) fn also(&mut self, from: *const u8, bytes: usize) {
        if bytes > 0 {
            self.ranges.push((from, bytes.div_ceil(LINE)));
        }
    }

    /// How many lines there are.
    #[cfg(test)]
    fn lines(&self) -> usize {
        self.ranges.iter().map(|(_, lines)| lines).sum()
    }

    /// From now on, so many lines are fetched for so much work, in whatever unit.
    pub(crate) fn pace(&mut self, lines: usize, work: usize) {
        self.rate = ((lines as u64) << 32).div_ceil(work.max(1) as u64);
        self.done = 0;
    }

    /// Fetches what that much work is worth.
    #[inline(always)]
    pub(crate) fn worked(&mut self, work: usize) {
        self.done += self.rate * work as u64;
        let mut lines = (self.done >> 32) as usize;
        self.done &= u64::from(u32::MAX);
        while lines > 0 {
            let Some((at, left)) = self.ranges.last_mut() else { return };
            let now = lines.min(*left);
            for _ in 0..now {
                #[cfg(target_arch = "x86_64")]
                super::x86::fetch(*at);
                *at = at.wrapping_add(LINE);
            }
            *left -= now;
            lines -= now;
            if *left == 0 {
                self.ranges.pop();
            }
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
