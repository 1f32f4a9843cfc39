//! The order of units.
//!
//! It is made from the end: a unit goes in front of those that use it, as many cycles before them as its result takes.
//! So nothing is computed, and takes a register, before it is needed.

use std::cmp::Reverse;

use super::graph::Graph;
use super::live::Tracked;

/// How many units may begin, and how many of them may compute, in one cycle.
const ISSUE: u32 = 4;
const COMPUTE: u32 = 2;

/// How far before the last unit that has not been placed another one may be taken from.
const WINDOWS: [usize; 8] = [usize::MAX, 256, 160, 112, 80, 56, 32, 16];

/// An order and what it comes to.
pub(super) struct Attempt {
    pub(super) order: Vec<usize>,
    pub(super) cycles: u32,
    /// The most vector registers that are in use at once.
    pub(super) peak: usize,
}

/// The order that takes the fewest cycles of those that stay within so many registers, or within those that the given
/// order takes.
pub(super) fn best(graph: &Graph, tracked: &Tracked, bound: usize) -> Attempt {
    let mut best = attempt(graph, tracked, 1, bound);
    let most = best.peak.max(bound);
    let mut last = 1;
    for window in WINDOWS {
        let window = window.min(graph.units.len());
        if window == last {
            continue;
        }
        last = window;
        let next = attempt(graph, tracked, window, bound);
        if next.peak <= most && next.cycles < best.cycles {
            best = next;
        }
    }
    best
}

/// Goes back cycle by cycle, and places a unit that frees a register, else the one with the longest way from the start,
/// of those whose results are all used.
fn attempt(graph: &Graph, tracked: &Tracked, window: usize, bound: usize) -> Attempt {
    let units = &graph.units;
    let mut live = vec![false; graph.registers.len()];
    let mut count = tracked.stays.len();
    for (value, &number) in &graph.registers {
        live[number] = tracked.stays.contains(value);
    }
    let mut waits: Vec<usize> = units.iter().map(|unit| unit.next.len()).collect();
    let mut ready: Vec<usize> = (0..units.len()).filter(|&n| waits[n] == 0).collect();
    // Cycles from the end.
    let mut earliest = vec![0; units.len()];
    let mut done = vec![false; units.len()];
    let (mut first, mut now, mut issued, mut computed) = (units.len().saturating_sub(1), 0, 0, 0);
    let mut peak = count;
    let mut order = Vec::with_capacity(units.len());
    while order.len() < units.len() {
        while done[first] {
            first -= 1;
        }
        let change = |n: usize, live: &[bool]| {
            let begin = units[n].reads.iter().filter(|&&r| !live[r]).count() as isize;
            begin - units[n].writes.filter(|&r| live[r]).is_some() as isize
        };
        let when = |n: usize| {
            let full = issued >= ISSUE || (units[n].computes && computed >= COMPUTE);
            earliest[n].max(now + u32::from(full))
        };
        let fits = |change: isize| change <= 0 || count as isize + change <= bound as isize;
        let chosen = ready
            .iter()
            .enumerate()
            .map(|(slot, &n)| (slot, n, change(n, &live)))
            .filter(|&(_, n, change)| n == first || (first - n.min(first) < window && fits(change)))
            .min_by_key(|&(_, n, change)| (!fits(change), when(n), change >= 0, Reverse(units[n].depth), Reverse(n)));
        let Some((slot, n, change)) = chosen else {
            // Something waits in a circle: the order stays as it is.
            return Attempt { order: (0..units.len()).collect(), cycles: u32::MAX, peak: usize::MAX };
        };
        let at = when(n);
        if at > now {
            (now, issued, computed) = (at, 0, 0);
        }
        issued += 1;
        computed += u32::from(units[n].computes);
        count = (count as isize + change) as usize;
        peak = peak.max(count);
        if let Some(register) = units[n].writes {
            live[register] = false;
        }
        for &register in &units[n].reads {
            live[register] = true;
        }
        ready.swap_remove(slot);
        done[n] = true;
        order.push(n);
        for &(before, uses) in &units[n].before {
            let latency = if uses { units[before].latency } else { 0 };
            earliest[before] = earliest[before].max(now + latency);
            waits[before] -= 1;
            if waits[before] == 0 {
                ready.push(before);
            }
        }
    }
    order.reverse();
    Attempt { order, cycles: now, peak }
}
