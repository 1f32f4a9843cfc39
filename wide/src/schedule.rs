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

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use iced_x86::Mnemonic;
use regalloc2::{Operand, OperandConstraint, OperandKind, RegClass, VReg};

use crate::Level;
use crate::inst::{Arg, Base, INT, Ins, Kind, Machine, Mem, View};
use crate::live::{self, Live};
use crate::ra;

/// How many operations behind the first that is not yet placed are looked at: the first number that leaves enough
/// registers.
const WINDOWS: [usize; 7] = [192, 128, 96, 64, 48, 32, 16];
/// How many of them go on where registers are short.
const NEAR: usize = 4;
/// By how many cycles an operation can be early without being placed early.
const PATIENCE: u32 = 12;
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

/// The classes of registers, in the order in which they are counted.
fn class(reg: VReg) -> usize {
    match reg.class() {
        RegClass::Int => 0,
        RegClass::Float => 1,
        RegClass::Vector => 2,
    }
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

/// What has to come before what, in one stretch.
struct Graph {
    /// By instruction: which wait for it, and for how many cycles.
    waiting: Vec<Vec<(usize, u32)>>,
    /// By instruction: what comes before it.
    after: Vec<Vec<usize>>,
    /// Loads, constants and integers that wait for nothing else: they are placed where the first needs them.
    lazy: Vec<bool>,
    /// By instruction: the registers that it reads, each once, and those that it writes.
    reads: Vec<Vec<usize>>,
    writes: Vec<Vec<usize>>,
    /// Whether it takes a place among the vector instructions of a cycle.
    vector: Vec<bool>,
    /// By register: its class, the number of instructions that read it, whether it is live in front and behind.
    classes: Vec<usize>,
    readers: Vec<usize>,
    ahead: Vec<bool>,
    behind: Vec<bool>,
    /// By class: the registers that are live in front of the stretch.
    live: [usize; 3],
}

impl Graph {
    fn new(stretch: &[Ins], ahead: &Live, behind: &Live, counts: &dyn Fn(VReg) -> bool) -> Graph {
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
            self.lazy.push(simple && after && !is_store(ins));
        }
    }

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

/// Where an access of memory is, as far as it is known.
#[derive(Clone, Copy)]
struct Place {
    mem: Mem<VReg>,
    bytes: i32,
}

impl Place {
    /// Whether two accesses certainly touch different bytes.
    fn is_apart(&self, other: &Place) -> bool {
        let (a, b) = (self, other);
        match (a.mem.base, b.mem.base) {
            (Base::Reg(x), Base::Reg(y)) => x == y && a.mem.index == b.mem.index && a.is_beside(b),
            (Base::Stack(x), Base::Stack(y)) => x != y || (a.mem.index == b.mem.index && a.is_beside(b)),
            // Nothing writes the pool.
            (Base::Pool(_), _) | (_, Base::Pool(_)) => true,
            // The address of a slot may be in a register.
            (Base::Reg(_), Base::Stack(_)) | (Base::Stack(_), Base::Reg(_)) => false,
        }
    }

    fn is_beside(&self, other: &Place) -> bool {
        let (low, high) = if self.mem.disp <= other.mem.disp { (self, other) } else { (other, self) };
        i64::from(low.mem.disp) + i64::from(low.bytes) <= i64::from(high.mem.disp)
    }
}

/// What an instruction reads or writes in memory, and whether it writes.
fn access(ins: &Ins) -> Option<(Place, bool)> {
    if mnemonic(ins) == Mnemonic::Prefetcht0 {
        return None;
    }
    let mut size = 8;
    let mut found = None;
    for (n, arg) in ins.args.iter().enumerate() {
        match arg {
            Arg::Mem(mem) => found = Some((*mem, n == 0)),
            Arg::Reg(_, view) | Arg::Rm(_, view, _) => size = size.max(bytes(*view)),
            Arg::Imm(_) => {}
        }
    }
    let (mem, writes) = found?;
    let reg = |slot: u8| ins.operands[usize::from(slot)].vreg();
    let base = match mem.base {
        Base::Reg(slot) => Base::Reg(reg(slot)),
        Base::Pool(at) => Base::Pool(at),
        Base::Stack(at) => Base::Stack(at),
    };
    let index = mem.index.map(|(slot, scale)| (reg(slot), scale));
    let mem = Mem { base, index, disp: mem.disp, broadcast: mem.broadcast };
    Some((Place { mem, bytes: size }, writes))
}

fn bytes(view: View) -> i32 {
    match view {
        View::R8 | View::R16 | View::R32 | View::R64 | View::K => 8,
        View::Xmm => 16,
        View::Ymm => 32,
        View::Zmm => 64,
    }
}

/// Whether an instruction works on vector or mask registers.
fn is_vector(ins: &Ins) -> bool {
    ins.operands.iter().any(|o| o.class() != INT)
}

fn mnemonic(ins: &Ins) -> Mnemonic {
    match ins.kind {
        Kind::Code(code) => code.mnemonic(),
        _ => Mnemonic::INVALID,
    }
}

/// Whether an instruction fills a vector register from memory, from a general register, or with zeros.
fn is_load(ins: &Ins) -> bool {
    let reads = |o: &Operand| o.kind() == OperandKind::Use && o.class() != INT;
    is_vector(ins) && !ins.operands.iter().any(reads)
}

/// Whether an instruction only writes to memory.
fn is_store(ins: &Ins) -> bool {
    access(ins).is_some_and(|(_, writes)| writes)
}

fn touches_flags(ins: &Ins) -> bool {
    use Mnemonic::*;
    !is_vector(ins)
        || matches!(
            mnemonic(ins),
            Vucomiss
                | Vucomisd
                | Vcomiss
                | Vcomisd
                | Vptest
                | Vtestps
                | Vtestpd
                | Kortestb
                | Kortestw
                | Kortestd
                | Kortestq
                | Ktestb
                | Ktestw
                | Ktestd
                | Ktestq
        )
}

/// After how many cycles a result can be used, on processors of today.
fn latency(ins: &Ins) -> u32 {
    use Mnemonic::*;
    let name = mnemonic(ins);
    let loaded = if ins.args.iter().any(|arg| matches!(arg, Arg::Mem(_))) { 5 } else { 0 };
    if !is_vector(ins) || is_load(ins) {
        return loaded + 1;
    }
    let own = match name {
        Vdivps | Vdivss | Vdivpd | Vdivsd | Vsqrtps | Vsqrtss | Vsqrtpd | Vsqrtsd => 14,
        Vrndscaleps | Vrndscalepd | Vroundps | Vroundpd | Vpmulld => 8,
        Vpermps | Vpermd | Vperm2f128 | Vextractf128 | Vinsertf128 | Vbroadcastss | Vbroadcastsd | Vmovd | Vmovq => 3,
        Vandps | Vorps | Vxorps | Vandnps | Vpand | Vpor | Vpxor | Vpandd | Vpord | Vpxord | Vpternlogd | Vpaddd
        | Vpaddq | Vpsubd | Vpsubq | Vpslld | Vpsrld | Vpsrad | Vpsllq | Vpsrlq | Vblendmps | Vblendmpd | Vmovups
        | Vmovaps | Vshufps | Vunpcklps | Vunpckhps | Vpermilps => 1,
        Vblendvps | Vblendvpd => 2,
        _ => 4,
    };
    own + loaded
}

#[cfg(test)]
mod tests {
    use iced_x86::Code;

    use super::*;
    use crate::inst::{Access, Block, Rm, VEC};

    const ACCESS: Access = Access { bytes: 64, broadcast: 4 };

    /// A function of one block.
    #[derive(Default)]
    struct Straight(Machine, Vec<Ins>);

    impl Straight {
        fn reg(&mut self) -> VReg {
            self.0.vreg(VEC)
        }

        fn mem(&mut self, base: VReg, disp: i32) -> Mem<VReg> {
            Mem { base: Base::Reg(base), index: None, disp, broadcast: false }
        }

        fn load(&mut self, base: VReg, disp: i32) -> VReg {
            let (to, mem) = (self.reg(), self.mem(base, disp));
            self.1.push(Ins::new(Code::EVEX_Vmovups_zmm_k1z_zmmm512).def(to, View::Zmm).mem(mem));
            to
        }

        fn store(&mut self, base: VReg, disp: i32, value: VReg) {
            let mem = self.mem(base, disp);
            self.1.push(Ins::new(Code::EVEX_Vmovups_zmmm512_k1z_zmm).mem(mem).reg(value, View::Zmm));
        }

        fn product(&mut self, a: VReg, b: VReg) -> VReg {
            let to = self.reg();
            let ins = Ins::new(Code::EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er).def(to, View::Zmm).reg(a, View::Zmm);
            self.1.push(ins.rm(Rm::Reg(b), View::Zmm, ACCESS));
            to
        }

        /// `sum + a·b`, in the register of the sum.
        fn add_product(&mut self, sum: VReg, a: VReg, b: VReg) -> VReg {
            let to = self.reg();
            let code = Code::EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er;
            let ins = Ins::new(code).tied(sum, to, View::Zmm).reg(a, View::Zmm);
            self.1.push(ins.rm(Rm::Reg(b), View::Zmm, ACCESS));
            to
        }

        /// Where each instruction came to stand.
        fn places(mut self) -> Vec<usize> {
            // An immediate that nothing encodes tells one instruction from another.
            for (n, ins) in self.1.iter_mut().enumerate() {
                ins.args.push(Arg::Imm(n as i64));
            }
            let count = self.1.len();
            self.1.push(Ins::of(Kind::Return));
            self.0.blocks = vec![Block { insts: self.1, ..Block::default() }];
            order(&mut self.0, Level::Avx512);
            let mut places = vec![usize::MAX; count];
            for (place, ins) in self.0.blocks[0].insts.iter().enumerate() {
                if let Some(Arg::Imm(n)) = ins.args.last() {
                    places[usize::try_from(*n).unwrap()] = place;
                }
            }
            assert!(places.iter().all(|&place| place < count), "an instruction is lost: {places:?}");
            places
        }
    }

    #[test]
    fn chains_run_side_by_side() {
        let mut f = Straight::default();
        let (base, length) = (f.0.vreg(INT), 10);
        for chain in 0..8 {
            let mut value = f.load(base, chain * 64);
            for _ in 0..length {
                value = f.product(value, value);
            }
            f.store(base, 4096 + chain * 64, value);
        }
        let places = f.places();
        let starts = (0..8).filter(|chain| places[chain * (length + 2) + 1] < 24).count();
        assert!(starts >= 6, "{places:?}");
        for chain in places.chunks(length + 2) {
            assert!(chain.is_sorted(), "{places:?}");
        }
    }

    #[test]
    fn registers_suffice() {
        let mut f = Straight::default();
        let base = f.0.vreg(INT);
        let mut sum = f.load(base, 0);
        // Each term needs two registers for a while; all at once would need far more than there are.
        for n in 1..60 {
            let (a, b) = (f.load(base, n * 64), f.load(base, 8192 + n * 64));
            let (c, d) = (f.product(a, b), f.product(b, a));
            sum = f.add_product(sum, c, d);
        }
        f.store(base, 0, sum);
        let stretch = f.1.clone();
        let places = f.places();
        let mut ordered: Vec<usize> = (0..places.len()).collect();
        ordered.sort_by_key(|&n| places[n]);
        let graph = Graph::new(&stretch, &Live::from([base]), &Live::new(), &|_| true);
        let peak = graph.peak(&ordered)[1];
        assert!((6..=32 - SPARE).contains(&peak), "{peak}");
    }

    #[test]
    fn accesses_of_the_same_bytes_keep_their_order() {
        let mut f = Straight::default();
        let (base, other) = (f.0.vreg(INT), f.0.vreg(INT));
        let mut slow = f.load(base, 0);
        for _ in 0..10 {
            slow = f.product(slow, slow);
        }
        f.store(base, 128, slow);
        let apart = f.load(base, 192);
        let apart = f.product(apart, apart);
        let same = f.load(base, 160);
        let same = f.product(same, same);
        let unknown = f.load(other, 0);
        let unknown = f.product(unknown, unknown);
        for (n, value) in [apart, same, unknown].into_iter().enumerate() {
            f.store(base, 1024 + 64 * n as i32, value);
        }
        let place = |n: usize| access(&f.1[n]).unwrap();
        assert!(place(11).0.is_apart(&place(12).0), "64 bytes further on");
        assert!(!place(11).0.is_apart(&place(14).0), "32 bytes further on");
        assert!(!place(11).0.is_apart(&place(16).0), "from another base");
        let places = f.places();
        assert!(places[14] > places[11] && places[16] > places[11], "{places:?}");
    }

    #[test]
    fn what_is_overwritten_has_been_read() {
        let mut f = Straight::default();
        let base = f.0.vreg(INT);
        let (x, mut slow) = (f.load(base, 0), f.load(base, 64));
        for _ in 0..10 {
            slow = f.product(slow, slow);
        }
        let late = f.product(slow, x);
        let sum = f.add_product(x, x, x);
        let sum = f.add_product(sum, late, late);
        f.store(base, 0, sum);
        let places = f.places();
        assert!(places[12] < places[13], "{places:?}");
    }
}
