//! Where constants live.
//!
//! In: a machine in which constants are virtual registers that nothing defines. Out: each use reads a register that is
//! loaded once, in front of a loop, or memory. A loop keeps as many constants in registers as its pressure leaves free,
//! those first that save most; what an outer loop cannot keep, an inner one may.

use std::collections::{HashMap, HashSet};

use iced_x86::Code;
use regalloc2::{Operand, OperandConstraint, OperandKind, VReg};

use crate::Level;
use crate::inst::{Arg, Base, Constant, Ins, Kind, Machine, Mem, Pool, VEC, View};
use crate::live;
use crate::ra;
use crate::table;

/// Registers that are left for what the pressure does not see.
const SPARE: usize = 1;

/// The instruction that makes a constant.
pub(crate) fn load(pool: &mut Pool, to: VReg, constant: &Constant, bytes: u8, level: Level) -> Ins {
    if constant.is_zero() {
        let code = match level {
            Level::Avx2 => Code::VEX_Vpxor_xmm_xmm_xmmm128,
            Level::Avx512 => Code::EVEX_Vpxord_xmm_k1z_xmm_xmmm128b32,
        };
        return Ins::new(code).def(to, View::Xmm).again(0, View::Xmm).again(0, View::Xmm);
    }
    let (view, n) = match bytes {
        16 => (View::Xmm, 1),
        32 => (View::Ymm, 2),
        _ => (View::Zmm, 3),
    };
    let code = |op: &table::Op, lane: usize| match level {
        Level::Avx2 => op[lane].vex[n],
        Level::Avx512 => op[lane].evex[n],
    };
    for (lane, size) in [(0, 4), (1, 8)] {
        if let Some(bytes) = constant.lane(size) {
            let mem = in_pool(pool, &bytes, false);
            return Ins::new(code(&table::BROADCAST, lane)).def(to, view).mem(mem);
        }
    }
    let mem = in_pool(pool, &constant.bytes(usize::from(bytes)), false);
    Ins::new(code(&table::LOAD, 0)).def(to, view).mem(mem)
}

fn in_pool<R>(pool: &mut Pool, bytes: &[u8], broadcast: bool) -> Mem<R> {
    Mem { base: Base::Pool(pool.place(bytes)), index: None, disp: 0, broadcast }
}

/// Gives every use of a constant a register or memory.
pub(crate) fn place(machine: &mut Machine, level: Level) {
    let known: HashMap<VReg, usize> = machine.constants.iter().enumerate().map(|(n, (reg, ..))| (*reg, n)).collect();
    let keep = Placement::new(machine, &known, level).run();
    for (header, chosen) in keep {
        let inside = blocks_of(machine, header);
        let Some(before) = preheader(machine, header, &inside) else { continue };
        for constant in chosen {
            let (old, what, bytes) = machine.constants[constant].clone();
            let reg = machine.vreg(VEC);
            let ins = load(&mut machine.pool, reg, &what, bytes, level);
            let end = machine.blocks[before].insts.len() - 1;
            machine.blocks[before].insts.insert(end, ins);
            for &block in &inside {
                for ins in &mut machine.blocks[block].insts {
                    rename(ins, old, reg);
                }
            }
        }
    }
    for block in 0..machine.blocks.len() {
        let insts = std::mem::take(&mut machine.blocks[block].insts);
        let mut done = Vec::with_capacity(insts.len());
        for mut ins in insts {
            while let Some((slot, constant)) =
                ins.operands.iter().enumerate().find_map(|(n, o)| known.get(&o.vreg()).map(|&c| (n, c)))
            {
                let (old, what, bytes) = machine.constants[constant].clone();
                if !into_memory(&mut ins, slot, &what, &mut machine.pool) {
                    let reg = machine.vreg(VEC);
                    done.push(load(&mut machine.pool, reg, &what, bytes, level));
                    rename(&mut ins, old, reg);
                }
            }
            done.push(ins);
        }
        machine.blocks[block].insts = done;
    }
}

fn rename(ins: &mut Ins, old: VReg, new: VReg) {
    for operand in &mut ins.operands {
        if operand.vreg() == old {
            *operand = Operand::new(new, operand.constraint(), operand.kind(), operand.pos());
        }
    }
}

/// Reads a constant from the pool, where the operand may be memory.
fn into_memory(ins: &mut Ins, slot: usize, constant: &Constant, pool: &mut Pool) -> bool {
    let found = ins.args.iter().position(|arg| matches!(arg, Arg::Rm(n, ..) if usize::from(*n) == slot));
    let Some(at) = found else { return false };
    let Arg::Rm(_, _, access) = ins.args[at] else { return false };
    let mem = match constant.lane(access.broadcast).filter(|_| access.broadcast > 0) {
        Some(lane) => in_pool(pool, &lane, true),
        None => in_pool(pool, &constant.bytes(usize::from(access.bytes)), false),
    };
    ins.args[at] = Arg::Mem(mem);
    // The operand goes, and those behind it move up.
    ins.operands.remove(slot);
    let moved = |n: u8| if usize::from(n) > slot { n - 1 } else { n };
    for operand in &mut ins.operands {
        if let OperandConstraint::Reuse(n) = operand.constraint()
            && n > slot
        {
            *operand = Operand::new(operand.vreg(), OperandConstraint::Reuse(n - 1), operand.kind(), operand.pos());
        }
    }
    for arg in &mut ins.args {
        match arg {
            Arg::Reg(n, _) | Arg::Rm(n, ..) => *n = moved(*n),
            Arg::Mem(mem) => {
                if let Base::Reg(n) = &mut mem.base {
                    *n = moved(*n);
                }
                if let Some((n, _)) = &mut mem.index {
                    *n = moved(*n);
                }
            }
            Arg::Imm(_) => {}
        }
    }
    ins.mask = ins.mask.map(moved);
    true
}

/// The blocks of a loop.
fn blocks_of(machine: &Machine, number: usize) -> Vec<usize> {
    (0..machine.blocks.len()).filter(|&block| is_inside(machine, block, number)).collect()
}

fn is_inside(machine: &Machine, block: usize, number: usize) -> bool {
    let mut around = machine.blocks[block].within;
    while let Some(inner) = around {
        if inner == number {
            return true;
        }
        around = machine.loops[inner].parent;
    }
    false
}

/// The block that leads into a loop, if there is one that leads nowhere else.
fn preheader(machine: &Machine, number: usize, inside: &[usize]) -> Option<usize> {
    let header = machine.loops[number].header;
    let inside: HashSet<usize> = inside.iter().copied().collect();
    let mut from = (0..machine.blocks.len())
        .filter(|b| !inside.contains(b) && machine.blocks[*b].succs.iter().any(|edge| edge.to == header));
    let only = from.next().filter(|_| from.next().is_none())?;
    let jumps = matches!(machine.blocks[only].insts.last()?.kind, Kind::Jump);
    jumps.then_some(only)
}

/// What each loop keeps in registers.
struct Placement<'m> {
    machine: &'m Machine,
    registers: usize,
    /// By block: how many vector registers its values need at most.
    pressure: Vec<usize>,
    /// By block: how much its uses of each constant cost.
    uses: Vec<HashMap<usize, u64>>,
    kept: Vec<(usize, Vec<usize>)>,
}

impl<'m> Placement<'m> {
    fn new(machine: &'m Machine, known: &HashMap<VReg, usize>, level: Level) -> Self {
        let uses = machine
            .blocks
            .iter()
            .map(|block| {
                let mut uses = HashMap::new();
                for ins in &block.insts {
                    for (n, operand) in ins.operands.iter().enumerate() {
                        let Some(&constant) = known.get(&operand.vreg()) else { continue };
                        let free = ins.args.iter().any(|arg| matches!(arg, Arg::Rm(at, ..) if usize::from(*at) == n));
                        *uses.entry(constant).or_default() += if free { 2 } else { 3 };
                    }
                }
                uses
            })
            .collect();
        let registers = ra::vector_registers(level) - SPARE;
        Placement { machine, registers, pressure: pressure(machine, known), uses, kept: Vec::new() }
    }

    fn run(mut self) -> Vec<(usize, Vec<usize>)> {
        let outermost: Vec<usize> =
            (0..self.machine.loops.len()).filter(|&l| self.machine.loops[l].parent.is_none()).collect();
        for number in outermost {
            self.descend(number, &[]);
        }
        self.kept
    }

    fn descend(&mut self, number: usize, above: &[usize]) {
        let machine = self.machine;
        let inside = blocks_of(machine, number);
        let has_entry = preheader(machine, number, &inside).is_some();
        let warm = || inside.iter().copied().filter(|&b| !machine.blocks[b].cold);
        let needed = warm().map(|b| self.pressure[b]).max().unwrap_or(0);
        let free = self.registers.saturating_sub(needed + above.len());
        let mut gain: HashMap<usize, u64> = HashMap::new();
        for block in warm() {
            let often = 8u64.pow(machine.blocks[block].depth.min(12) as u32);
            for (&constant, &uses) in self.uses[block].iter().filter(|(c, _)| !above.contains(c)) {
                *gain.entry(constant).or_default() += uses * often;
            }
        }
        let mut wanted: Vec<(u64, usize)> = gain.into_iter().map(|(constant, gain)| (gain, constant)).collect();
        wanted.sort_by_key(|&(gain, constant)| (std::cmp::Reverse(gain), constant));
        wanted.truncate(if has_entry { free } else { 0 });
        let chosen: Vec<usize> = wanted.into_iter().map(|(_, constant)| constant).collect();
        let all = [above, &chosen].concat();
        if !chosen.is_empty() {
            self.kept.push((number, chosen));
        }
        let inner: Vec<usize> = (0..machine.loops.len()).filter(|&l| machine.loops[l].parent == Some(number)).collect();
        for inner in inner {
            self.descend(inner, &all);
        }
    }
}

/// By block, the most vector registers that are live at once, constants left out.
fn pressure(machine: &Machine, known: &HashMap<VReg, usize>) -> Vec<usize> {
    let counts = |reg: VReg| reg.class() == VEC && !known.contains_key(&reg);
    let starts = live::at_starts(machine, &counts);
    let most = machine.blocks.iter().enumerate().map(|(n, block)| {
        let mut live = live::at_end(machine, n, &starts, &counts);
        let mut top = live.len();
        for ins in block.insts.iter().rev() {
            let defs = ins.operands.iter().filter(|o| o.kind() == OperandKind::Def && counts(o.vreg()));
            top = top.max(live.len() + defs.filter(|o| !live.contains(&o.vreg())).count());
            live::before(ins, &mut live, &counts);
            top = top.max(live.len());
        }
        top
    });
    most.collect()
}
