//! The order of instructions within a block.
//!
//! In: a machine whose blocks hold one element after the other, each a long chain of operations that wait for one
//! another. Out: the same instructions in an order in which several chains run side by side. No processor looks far
//! enough ahead to find the fourth chain by itself.
//!
//! Each stretch of a block between calls is ordered by itself, as a processor would run it that sees all of it: at each
//! cycle the earliest instructions whose operands are there, as long as registers are left. How many chains run side by
//! side follows from that. Where the result would need more registers than the machine has, it is made again with fewer.
//!
//! # Invariants
//! - What may touch the flags stays in order among itself. Accesses of memory stay in order where one writes, unless
//!   they have the same base and other places.
//! - An operand that an instruction overwrites is still read last by it, so that no copy is needed.

mod graph;
mod traits;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use regalloc2::{OperandConstraint, VReg};

use crate::Level;
use crate::inst::{Ins, Kind, Machine};
use crate::live::{self, Live};
use crate::ra;
use graph::Graph;
use traits::{is_vector, latency};

/// How many operations behind the first that is not yet placed are looked at: the first number that leaves enough
/// registers.
const WINDOWS: [usize; 7] = [192, 128, 96, 64, 48, 32, 16];
/// How many of them go on where registers are short.
const NEAR: usize = 4;
/// Vector instructions that start in one cycle, and instructions of any kind.
const VECTORS: usize = 2;
const ISSUED: usize = 4;
/// Vector registers that are left free, for constants.
const SPARE: usize = 3;

/// Orders the instructions of all blocks.
pub(crate) fn order(machine: &mut Machine, level: Level) {
    let constants: HashSet<VReg> = machine.constants.iter().map(|(reg, ..)| *reg).collect();
    let counts = |reg: VReg| !constants.contains(&reg);
    let starts = live::at_starts(machine, &counts);
    for n in 0..machine.blocks.len() {
        if machine.blocks[n].cold {
            continue;
        }
        let mut live = live::at_end(machine, n, &starts, &counts);
        let mut rest = std::mem::take(&mut machine.blocks[n].insts);
        // From the end: what is live behind a stretch does not depend on the order inside.
        let mut done: Vec<Ins> = Vec::with_capacity(rest.len());
        while let Some(last) = rest.pop() {
            if stays(&last) {
                live::before(&last, &mut live, &counts);
                done.push(last);
                continue;
            }
            let from = rest.iter().rposition(stays).map_or(0, |at| at + 1);
            let mut stretch = rest.split_off(from);
            stretch.push(last);
            let behind = live.clone();
            stretch.iter().rev().for_each(|ins| live::before(ins, &mut live, &counts));
            done.extend(ordered(stretch, &live, &behind, &counts, level).into_iter().rev());
        }
        done.reverse();
        machine.blocks[n].insts = done;
    }
}

/// Whether an instruction keeps its place: ends of blocks, calls, and what names registers.
fn stays(ins: &Ins) -> bool {
    !matches!(ins.kind, Kind::Code(_) | Kind::Symbol(_))
        || ins.clobbers != regalloc2::PRegSet::empty()
        || ins.operands.iter().any(|o| matches!(o.constraint(), OperandConstraint::FixedReg(_)))
}

fn ordered(stretch: Vec<Ins>, ahead: &Live, behind: &Live, counts: &dyn Fn(VReg) -> bool, level: Level) -> Vec<Ins> {
    let slow = stretch.iter().filter(|ins| latency(ins) > 1 && is_vector(ins)).count();
    // Two operations are in the best order already.
    if slow < 3 {
        return stretch;
    }
    let graph = Graph::new(&stretch, ahead, behind, counts);
    let have = [13, ra::vector_registers(level) - SPARE, 6];
    let before = graph.peak(&(0..stretch.len()).collect::<Vec<_>>());
    let limits = [0, 1, 2].map(|c| have[c].max(before[c]));
    let best = WINDOWS.into_iter().map(|window| graph.run(window, limits)).find(|found| {
        let peak = graph.peak(found);
        (0..3).all(|c| peak[c] <= limits[c])
    });
    let Some(best) = best else { return stretch };
    let mut stretch: Vec<Option<Ins>> = stretch.into_iter().map(Some).collect();
    best.into_iter().filter_map(|n| stretch[n].take()).collect()
}

impl Graph {
    /// An order that looks so far ahead, and keeps to so many registers of each class where it can.
    fn run(&self, window: usize, limits: [usize; 3]) -> Vec<usize> {
        let count = self.lazy.len();
        let mut order = Order::new(self);
        let mut needs: Vec<usize> =
            self.after.iter().map(|after| after.iter().filter(|&&n| !self.lazy[n]).count()).collect();
        let mut earliest = vec![0u32; count];
        // What waits for cycles only, by the cycle; and what can start now, in order.
        let mut later: BinaryHeap<Reverse<(u32, usize)>> =
            (0..count).filter(|&n| needs[n] == 0 && !self.lazy[n]).map(|n| Reverse((0, n))).collect();
        let mut now: Vec<usize> = Vec::new();
        // Operations by their number among those that are not lazy.
        let ranks: Vec<usize> = (0..count)
            .scan(0, |rank, n| {
                *rank += usize::from(!self.lazy[n]);
                Some(*rank)
            })
            .collect();
        let (mut cycle, mut first) = (0, 0);
        while !(later.is_empty() && now.is_empty()) {
            while let Some(&Reverse((at, n))) = later.peek()
                && at <= cycle
            {
                later.pop();
                now.insert(now.partition_point(|&m| m < n), n);
            }
            while first < count && (order.placed[first] || self.lazy[first]) {
                first += 1;
            }
            let (mut vectors, mut at) = (0, 0);
            let mut chosen: Vec<usize> = Vec::new();
            while at < now.len() && chosen.len() < ISSUED {
                let n = now[at];
                let free = !self.vector[n] || vectors < VECTORS;
                let ahead = ranks[n] - ranks[first];
                if free && (ahead < NEAR || (ahead < window && order.fits(n, limits))) {
                    now.remove(at);
                    vectors += usize::from(self.vector[n]);
                    order.place(n);
                    chosen.push(n);
                } else {
                    at += 1;
                }
            }
            if chosen.is_empty() && later.is_empty() {
                // All are blocked by registers: the first goes on.
                let n = now.remove(0);
                order.place(n);
                chosen.push(n);
            }
            for n in chosen {
                for &(to, cycles) in &self.waiting[n] {
                    earliest[to] = earliest[to].max(cycle + cycles);
                    needs[to] -= 1;
                    if needs[to] == 0 {
                        later.push(Reverse((earliest[to], to)));
                    }
                }
            }
            cycle += 1;
            if now.is_empty()
                && let Some(&Reverse((next, _))) = later.peek()
            {
                cycle = cycle.max(next);
            }
        }
        (0..count).for_each(|n| order.place(n));
        order.done
    }

    /// The most registers of each class that are live at once in an order.
    fn peak(&self, order: &[usize]) -> [usize; 3] {
        let mut now = Order::new(self);
        let mut peak = now.live;
        for &n in order {
            now.put(n);
            (0..3).for_each(|c| peak[c] = peak[c].max(now.live[c]));
        }
        peak
    }
}

/// An order in the making.
struct Order<'g> {
    graph: &'g Graph,
    done: Vec<usize>,
    placed: Vec<bool>,
    /// By register: the instructions that have yet to read it.
    readers: Vec<usize>,
    /// By class: the registers that are live now.
    live: [usize; 3],
}

impl<'g> Order<'g> {
    fn new(graph: &'g Graph) -> Self {
        let count = graph.lazy.len();
        let (readers, live) = (graph.readers.clone(), graph.live);
        Order { graph, done: Vec::with_capacity(count), placed: vec![false; count], readers, live }
    }

    /// By how many registers of each class an instruction changes what is live.
    fn change(&self, n: usize) -> [isize; 3] {
        let graph = self.graph;
        let mut change = [0; 3];
        for &reg in &graph.reads[n] {
            if self.readers[reg] == 1 && !graph.behind[reg] {
                change[graph.classes[reg]] -= 1;
            }
        }
        for &reg in &graph.writes[n] {
            if self.readers[reg] > 0 || graph.behind[reg] {
                change[graph.classes[reg]] += 1;
            }
        }
        change
    }

    /// Whether the registers suffice for an instruction and for what has to be loaded for it.
    fn fits(&self, n: usize, limits: [usize; 3]) -> bool {
        let mut change = self.change(n);
        let loads = self.graph.after[n].iter().filter(|&&m| self.graph.lazy[m] && !self.placed[m]);
        for &reg in loads.flat_map(|&m| &self.graph.writes[m]) {
            let stays = self.readers[reg] > 1 || self.graph.behind[reg];
            // What this one alone reads is there and gone again: `change` has taken it away.
            if stays || self.graph.reads[n].contains(&reg) {
                change[self.graph.classes[reg]] += 1;
            }
        }
        (0..3).all(|c| change[c] <= 0 || self.live[c].saturating_add_signed(change[c]) <= limits[c])
    }

    /// Places an instruction, and before it what it needs and nobody has placed.
    fn place(&mut self, n: usize) {
        if self.placed[n] {
            return;
        }
        let mut open = vec![(n, 0)];
        while let Some((n, at)) = open.pop() {
            let graph = self.graph;
            let next = graph.after[n][at..].iter().position(|&m| !self.placed[m]);
            match next {
                Some(further) => open.extend([(n, at + further), (graph.after[n][at + further], 0)]),
                None if !self.placed[n] => {
                    self.put(n);
                    self.placed[n] = true;
                    self.done.push(n);
                }
                None => {}
            }
        }
    }

    /// Counts the registers behind an instruction.
    fn put(&mut self, n: usize) {
        let change = self.change(n);
        (0..3).for_each(|c| self.live[c] = self.live[c].saturating_add_signed(change[c]));
        self.graph.reads[n].iter().for_each(|&reg| self.readers[reg] -= 1);
    }
}

#[cfg(test)]
mod tests;
