//! What has to come before what in a stretch of instructions, and what can wait.

use std::collections::HashMap;

use regalloc2::{OperandConstraint, OperandKind, RegClass, VReg};

use super::traits::{Place, access, is_load, is_prefetch, is_store, is_vector, latency, touches_flags};
use crate::inst::Ins;
use crate::live::Live;

/// By how many cycles an operation can be early without being placed early.
const PATIENCE: u32 = 12;

/// The classes of registers, in the order in which they are counted.
fn class(reg: VReg) -> usize {
    match reg.class() {
        RegClass::Int => 0,
        RegClass::Float => 1,
        RegClass::Vector => 2,
    }
}

/// What has to come before what, in one stretch.
pub(super) struct Graph {
    /// By instruction: which wait for it, and for how many cycles.
    pub(super) waiting: Vec<Vec<(usize, u32)>>,
    /// By instruction: what comes before it.
    pub(super) after: Vec<Vec<usize>>,
    /// Loads, constants and integers that wait for nothing else: they are placed where the first needs them.
    pub(super) lazy: Vec<bool>,
    /// By instruction: the registers that it reads, each once, and those that it writes.
    pub(super) reads: Vec<Vec<usize>>,
    pub(super) writes: Vec<Vec<usize>>,
    /// Whether it takes a place among the vector instructions of a cycle.
    pub(super) vector: Vec<bool>,
    /// By register: its class, the number of instructions that read it, whether it is live in front and behind.
    pub(super) classes: Vec<usize>,
    pub(super) readers: Vec<usize>,
    pub(super) ahead: Vec<bool>,
    pub(super) behind: Vec<bool>,
    /// By class: the registers that are live in front of the stretch.
    pub(super) live: [usize; 3],
}

impl Graph {
    pub(super) fn new(stretch: &[Ins], ahead: &Live, behind: &Live, counts: &dyn Fn(VReg) -> bool) -> Graph {
        let mut numbers: HashMap<VReg, usize> = HashMap::new();
        let mut graph = Graph {
            waiting: vec![Vec::new(); stretch.len()],
            after: vec![Vec::new(); stretch.len()],
            lazy: Vec::new(),
            reads: vec![Vec::new(); stretch.len()],
            writes: vec![Vec::new(); stretch.len()],
            vector: stretch.iter().map(|ins| is_vector(ins) && !is_load(ins) && !is_store(ins)).collect(),
            classes: Vec::new(),
            readers: Vec::new(),
            ahead: Vec::new(),
            behind: Vec::new(),
            live: [0; 3],
        };
        for reg in ahead {
            graph.live[class(*reg)] += 1;
        }
        for (n, ins) in stretch.iter().enumerate() {
            for operand in ins.operands.iter().filter(|o| counts(o.vreg())) {
                let reg = operand.vreg();
                let number = *numbers.entry(reg).or_insert_with(|| {
                    graph.classes.push(class(reg));
                    graph.readers.push(0);
                    graph.ahead.push(ahead.contains(&reg));
                    graph.behind.push(behind.contains(&reg));
                    graph.classes.len() - 1
                });
                let list = if operand.kind() == OperandKind::Use { &mut graph.reads } else { &mut graph.writes };
                if !list[n].contains(&number) {
                    list[n].push(number);
                    graph.readers[number] += usize::from(operand.kind() == OperandKind::Use);
                }
            }
        }
        graph.order_values(stretch, &numbers);
        graph.order_overwritten(stretch, &numbers);
        graph.order_flags(stretch);
        graph.order_memory(stretch);
        graph.find_lazy(stretch);
        graph
    }

    fn edge(&mut self, from: usize, to: usize, cycles: u32) {
        self.waiting[from].push((to, cycles));
        self.after[to].push(from);
    }

    /// A value is there before it is read.
    fn order_values(&mut self, stretch: &[Ins], numbers: &HashMap<VReg, usize>) {
        let mut made: Vec<Option<usize>> = vec![None; numbers.len()];
        for n in 0..stretch.len() {
            for reg in self.reads[n].clone() {
                if let Some(from) = made[reg] {
                    self.edge(from, n, latency(&stretch[from]));
                }
            }
            for &reg in &self.writes[n] {
                made[reg] = Some(n);
            }
        }
    }

    /// What an instruction overwrites, all others have read.
    fn order_overwritten(&mut self, stretch: &[Ins], numbers: &HashMap<VReg, usize>) {
        let mut readers: Vec<Vec<usize>> = vec![Vec::new(); numbers.len()];
        for (n, reads) in self.reads.iter().enumerate() {
            reads.iter().for_each(|&reg| readers[reg].push(n));
        }
        for (n, ins) in stretch.iter().enumerate() {
            for operand in &ins.operands {
                let OperandConstraint::Reuse(slot) = operand.constraint() else { continue };
                let Some(&reg) = numbers.get(&ins.operands[slot].vreg()) else { continue };
                if self.behind[reg] || readers[reg].last() != Some(&n) {
                    continue;
                }
                for &reader in readers[reg].iter().filter(|&&reader| reader != n) {
                    self.edge(reader, n, 0);
                }
            }
        }
    }

    /// All but vector instructions may write or read the flags, and some vector instructions do.
    fn order_flags(&mut self, stretch: &[Ins]) {
        let mut last = None;
        for (n, _) in stretch.iter().enumerate().filter(|(_, ins)| touches_flags(ins)) {
            if let Some(last) = last.replace(n) {
                self.edge(last, n, 0);
            }
        }
    }

    fn order_memory(&mut self, stretch: &[Ins]) {
        let accesses: Vec<(usize, Place, bool)> =
            stretch.iter().enumerate().filter_map(|(n, ins)| access(ins).map(|(at, writes)| (n, at, writes))).collect();
        for (k, &(n, at, writes)) in accesses.iter().enumerate() {
            for &(earlier, other, wrote) in &accesses[..k] {
                if (writes || wrote) && !at.is_apart(&other) {
                    self.edge(earlier, n, 0);
                }
            }
        }
    }

    /// What can wait until it is needed: loads, constants, integers, and operations on these whose result meets another
    /// that comes much later.
    fn find_lazy(&mut self, stretch: &[Ins]) {
        let mut there = vec![0u32; stretch.len()];
        for n in 0..stretch.len() {
            let own = |&(to, cycles): &(usize, u32)| (to, there[n] + cycles);
            let ready: Vec<(usize, u32)> = self.waiting[n].iter().map(own).collect();
            ready.into_iter().for_each(|(to, at)| there[to] = there[to].max(at));
        }
        // Twice: an operation can also wait for one that waits.
        let mut late = vec![false; stretch.len()];
        for _ in 0..2 {
            let waits = |n: usize, &(to, cycles): &(usize, u32)| late[to] || there[n] + cycles + PATIENCE <= there[to];
            let all = |n: usize| !self.waiting[n].is_empty() && self.waiting[n].iter().all(|edge| waits(n, edge));
            late = (0..stretch.len()).map(all).collect();
        }
        for (n, ins) in stretch.iter().enumerate() {
            let simple = !is_vector(ins) || is_load(ins) || late[n];
            let after = self.after[n].iter().all(|&m| self.lazy[m]);
            self.lazy.push(simple && after && !is_store(ins) && !is_prefetch(ins));
        }
    }
}
