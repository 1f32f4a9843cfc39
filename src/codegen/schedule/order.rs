//! The order of units.

use std::collections::HashMap;

use cranelift_codegen::ir::Value;

use super::graph::Graph;
use super::live::Tracked;

/// How many units may begin, and how many of them may compute, in one cycle.
const ISSUE: u32 = 4;
const COMPUTE: u32 = 2;

/// How far behind the first unit that has not been placed another one may be taken from.
const WINDOWS: [usize; 8] = [usize::MAX, 256, 160, 112, 80, 56, 32, 16];

/// An order and what it comes to.
struct Attempt {
    order: Vec<usize>,
    cycles: u32,
    /// The most vector registers that are in use at once.
    peak: usize,
}

/// The order that takes the fewest cycles of those that stay within so many registers, or within those that the given
/// order takes.
pub(super) fn best(graph: &Graph, tracked: &Tracked, bound: usize) -> Vec<usize> {
    let given = attempt(graph, tracked, 1, bound);
    let most = given.peak.max(bound);
    let mut best = given;
    let mut last = usize::MAX;
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
    best.order
}

/// Takes, cycle by cycle, the unit with the longest way to the end of those that are ready.
fn attempt(graph: &Graph, tracked: &Tracked, window: usize, bound: usize) -> Attempt {
    let units = &graph.units;
    let mut uses: HashMap<Value, u32> = HashMap::new();
    for value in units.iter().flat_map(|unit| &unit.reads) {
        *uses.entry(*value).or_default() += 1;
    }
    let mut waits: Vec<u32> = units.iter().map(|unit| unit.waits).collect();
    let mut ready: Vec<usize> = (0..units.len()).filter(|&n| waits[n] == 0).collect();
    let mut earliest = vec![0; units.len()];
    let mut done = vec![false; units.len()];
    let (mut first, mut now, mut issued, mut computed, mut end) = (0, 0, 0, 0, 0);
    let (mut live, mut peak) = (tracked.before, tracked.before);
    let mut order = Vec::with_capacity(units.len());
    while order.len() < units.len() {
        while done[first] {
            first += 1;
        }
        let freed = |n: usize, uses: &HashMap<Value, u32>| {
            units[n].reads.iter().filter(|v| uses[v] == 1 && !tracked.stays.contains(v)).count()
        };
        let after = |n: usize, uses: &HashMap<Value, u32>| {
            live + usize::from(units[n].writes.is_some()) - freed(n, uses)
        };
        // Of those that may be taken: the one that is ready first, then the one with the longest way.
        let chosen = ready
            .iter()
            .enumerate()
            .filter(|&(_, &n)| n == first || (n - first < window && after(n, &uses) <= bound.max(live)))
            .min_by_key(|&(_, &n)| {
                let full = issued >= ISSUE || (units[n].computes && computed >= COMPUTE);
                let at = earliest[n].max(if full { now + 1 } else { now });
                (at, std::cmp::Reverse(units[n].height), n)
            });
        let (slot, &n) = chosen.expect("the first unit that is left waits for nothing");
        let full = issued >= ISSUE || (units[n].computes && computed >= COMPUTE);
        let at = earliest[n].max(if full { now + 1 } else { now });
        if at > now {
            (now, issued, computed) = (at, 0, 0);
        }
        issued += 1;
        computed += u32::from(units[n].computes);
        live = after(n, &uses);
        peak = peak.max(live);
        for value in &units[n].reads {
            *uses.get_mut(value).expect("all reads are counted") -= 1;
        }
        ready.swap_remove(slot);
        done[n] = true;
        order.push(n);
        end = end.max(now + units[n].latency);
        for &(next, uses) in &units[n].next {
            earliest[next] = earliest[next].max(now + if uses { units[n].latency } else { 0 });
            waits[next] -= 1;
            if waits[next] == 0 {
                ready.push(next);
            }
        }
    }
    Attempt { order, cycles: end, peak }
}
