//! The frame, the order of blocks, and bytes.
//!
//! | frame, from `rsp` up | |
//! | --- | --- |
//! | explicit stack slots, then spill slots | aligned to 64 |
//! | the stack pointer of the entry | behind them |
//!
//! Above that are the general registers that the caller wants back, in the order of `ra::CALLEE_SAVED`. A function that
//! needs none of this has no frame.

use std::collections::HashMap;

use cranelift_codegen::ir::{ExternalName, Function};
use iced_x86::{Code, Encoder, Instruction, MemoryOperand, OpKind, Register};
use regalloc2::{Allocation, Output, PReg, RegClass};

use crate::inst::{Arg, Base, Flag, INT, Ins, Kind, Machine, Mem, View};
use crate::ra::{self, Step};
use crate::{Level, Relocation, Stats, Unsupported};

/// What is encoded.
#[derive(Clone, Copy, Debug)]
enum Item {
    Plain(Instruction),
    /// Reads the pool, so many bytes from its start.
    Pool(Instruction, u32),
    Jump(usize),
    Branch(Flag, usize),
    /// The address of an external function.
    Symbol(Instruction, u32),
}

struct Frame {
    saved: Vec<usize>,
    /// Bytes below the saved registers; 0 for none.
    size: usize,
    /// Where spill slots start.
    spills: usize,
}

struct Emitter<'a> {
    machine: &'a Machine,
    level: Level,
    frame: Frame,
    stats: Stats,
    items: Vec<Item>,
}

/// Encodes an allocated function.
pub(crate) fn emit(f: &Function, machine: &Machine, output: &Output, level: Level) -> Result<crate::Code, Unsupported> {
    let mut starts = vec![0];
    for block in &machine.blocks {
        starts.push(starts.last().expect("not empty") + block.insts.len());
    }
    let frame = frame(machine, output, &starts);
    let mut emitter =
        Emitter { machine, level, stats: Stats { frame: frame.size, ..Stats::default() }, frame, items: Vec::new() };
    let parents: Vec<usize> = machine.loops.iter().filter_map(|l| l.parent).collect();
    let mut blocks: Vec<Vec<Item>> = Vec::new();
    for (n, block) in machine.blocks.iter().enumerate() {
        let innermost = block.within.is_some_and(|l| !parents.contains(&l)) && !block.cold;
        let mut failed = None;
        ra::in_order(machine, output, n, &starts, &mut |step| {
            let before = emitter.items.len();
            let done = match step {
                Step::Ins(ins, places) => emitter.ins(ins, places, n, innermost),
                Step::Move(from, to) => emitter.transfer(from, to, innermost),
            };
            if innermost {
                emitter.stats.inner_instructions += emitter.items.len() - before;
            }
            failed = failed.take().or(done.err());
        });
        if let Some(error) = failed {
            return Err(error);
        }
        blocks.push(std::mem::take(&mut emitter.items));
    }
    let order = thread(machine, &mut blocks);
    encode(f, machine, &blocks, &order, emitter.stats)
}

fn frame(machine: &Machine, output: &Output, starts: &[usize]) -> Frame {
    let mut used = [false; 16];
    let mut note = |place: Allocation| {
        if let Some(reg) = place.as_reg().filter(|r| r.class() == INT) {
            used[reg.hw_enc()] = true;
        }
    };
    let mut calls = false;
    for n in 0..machine.blocks.len() {
        ra::in_order(machine, output, n, starts, &mut |step| match step {
            Step::Ins(ins, places) => {
                calls |= matches!(ins.kind, Kind::Call);
                places.iter().for_each(|&place| note(place));
            }
            Step::Move(from, to) => [from, to].into_iter().for_each(&mut note),
        });
    }
    let saved: Vec<usize> = ra::CALLEE_SAVED.into_iter().filter(|&r| used[r]).collect();
    let spills = (machine.stack as usize).next_multiple_of(64);
    let slots = spills + output.num_spillslots * 8;
    let size = if slots > 0 || calls { (slots + 8).next_multiple_of(64) } else { 0 };
    Frame { saved, size, spills }
}

/// Lets jumps to empty blocks go on to where these lead, and orders the blocks that are left.
fn thread(machine: &Machine, blocks: &mut [Vec<Item>]) -> Vec<usize> {
    let count = blocks.len();
    let goal = |mut at: usize| {
        for _ in 0..count {
            match blocks[at][..] {
                [Item::Jump(to)] if to != at => at = to,
                _ => break,
            }
        }
        at
    };
    let goals: Vec<usize> = (0..count).map(goal).collect();
    for items in blocks.iter_mut() {
        for item in items {
            match item {
                Item::Jump(to) | Item::Branch(_, to) => *to = goals[*to],
                _ => {}
            }
        }
    }
    let mut reached = vec![false; count];
    let mut open = vec![0];
    while let Some(at) = open.pop() {
        if !std::mem::replace(&mut reached[at], true) {
            open.extend(blocks[at].iter().filter_map(|item| match item {
                Item::Jump(to) | Item::Branch(_, to) => Some(*to),
                _ => None,
            }));
        }
    }
    let (warm, cold): (Vec<usize>, Vec<usize>) =
        (0..count).filter(|&n| reached[n]).partition(|&n| n == 0 || !machine.blocks[n].cold);
    let order: Vec<usize> = warm.into_iter().chain(cold).collect();
    for (n, &at) in order.iter().enumerate() {
        let next = order.get(n + 1).copied();
        let items = &mut blocks[at];
        // A branch is followed by the jump for the other way.
        if let [.., Item::Branch(flag, yes), Item::Jump(no)] = items[..] {
            let count = items.len();
            if yes == no {
                items.remove(count - 2);
            } else if Some(yes) == next {
                items[count - 2] = Item::Branch(flag.not(), no);
                items[count - 1] = Item::Jump(yes);
            }
        }
        if let Some(Item::Jump(to)) = items.last()
            && Some(*to) == next
        {
            items.pop();
        }
    }
    order
}

impl Emitter<'_> {
    fn plain(&mut self, instruction: Result<Instruction, iced_x86::IcedError>) -> Result<(), Unsupported> {
        self.items.push(Item::Plain(instruction.map_err(unencodable)?));
        Ok(())
    }

    fn spill(&self, place: Allocation) -> Option<MemoryOperand> {
        let slot = place.as_stack()?;
        let at = self.frame.spills + slot.index() * 8;
        Some(MemoryOperand::with_base_displ_size(Register::RSP, at as i64, displacement(at as i64)))
    }

    fn transfer(&mut self, from: Allocation, to: Allocation, inner: bool) -> Result<(), Unsupported> {
        let (source, target) = (from.as_reg(), to.as_reg());
        if from == to {
            return Ok(());
        }
        if inner {
            match (source, target) {
                (Some(_), Some(_)) => self.stats.inner_moves += 1,
                _ => self.stats.inner_spills += 1,
            }
        }
        let class = source.or(target).map_or(RegClass::Int, PReg::class);
        let widest = self.machine.widest.max(16);
        let view = match (class, widest) {
            (RegClass::Int, _) => View::R64,
            (RegClass::Vector, _) => View::K,
            (_, 16) => View::Xmm,
            (_, 32) => View::Ymm,
            _ => View::Zmm,
        };
        use Code::*;
        let (registers, load, store) = match (view, self.level) {
            (View::K, _) => (VEX_Kmovq_kr_km64, VEX_Kmovq_kr_km64, VEX_Kmovq_m64_kr),
            (View::Xmm, Level::Avx2) => (VEX_Vmovaps_xmm_xmmm128, VEX_Vmovaps_xmm_xmmm128, VEX_Vmovaps_xmmm128_xmm),
            (View::Ymm, Level::Avx2) => (VEX_Vmovaps_ymm_ymmm256, VEX_Vmovaps_ymm_ymmm256, VEX_Vmovaps_ymmm256_ymm),
            (View::Xmm, _) => {
                (EVEX_Vmovaps_xmm_k1z_xmmm128, EVEX_Vmovaps_xmm_k1z_xmmm128, EVEX_Vmovaps_xmmm128_k1z_xmm)
            }
            (View::Ymm, _) => {
                (EVEX_Vmovaps_ymm_k1z_ymmm256, EVEX_Vmovaps_ymm_k1z_ymmm256, EVEX_Vmovaps_ymmm256_k1z_ymm)
            }
            (View::Zmm, _) => {
                (EVEX_Vmovaps_zmm_k1z_zmmm512, EVEX_Vmovaps_zmm_k1z_zmmm512, EVEX_Vmovaps_zmmm512_k1z_zmm)
            }
            _ => (Mov_r64_rm64, Mov_r64_rm64, Mov_rm64_r64),
        };
        let instruction = match (source, target, self.spill(from), self.spill(to)) {
            (Some(from), Some(to), ..) => Instruction::with2(registers, register(to, view), register(from, view)),
            (None, Some(to), Some(from), _) => Instruction::with2(load, register(to, view), from),
            (Some(from), None, _, Some(to)) => Instruction::with2(store, to, register(from, view)),
            _ => return Err(Unsupported("moves between slots".into())),
        };
        self.plain(instruction)
    }

    fn ins(&mut self, ins: &Ins, places: &[Allocation], block: usize, inner: bool) -> Result<(), Unsupported> {
        let succs = &self.machine.blocks[block].succs;
        match ins.kind {
            Kind::Entry => self.prologue(),
            Kind::Return => self.epilogue(),
            Kind::Jump => {
                self.items.push(Item::Jump(succs[0].to));
                Ok(())
            }
            Kind::Branch(flag) => {
                self.items.push(Item::Branch(flag, succs[0].to));
                self.items.push(Item::Jump(succs[1].to));
                Ok(())
            }
            Kind::Call => {
                self.plain(Ok(Instruction::with(Code::VEX_Vzeroupper)))?;
                self.coded(Code::Call_rm64, ins, places, inner)
            }
            Kind::Symbol(n) => {
                let to = places[0].as_reg().ok_or_else(|| Unsupported("an address in memory".into()))?;
                let ins = Instruction::with2(Code::Mov_r64_imm64, register(to, View::R64), 0u64);
                self.items.push(Item::Symbol(ins.map_err(unencodable)?, n));
                Ok(())
            }
            Kind::Code(code) => self.coded(code, ins, places, inner),
        }
    }

    fn coded(&mut self, code: Code, ins: &Ins, places: &[Allocation], inner: bool) -> Result<(), Unsupported> {
        let mut out = Instruction::new();
        out.set_code(code);
        let mut pool = None;
        let place = |slot: u8| places[usize::from(slot)];
        let hard = |slot: u8, view: View| {
            place(slot).as_reg().map(|r| register(r, view)).ok_or_else(|| Unsupported("a value in memory".into()))
        };
        for (n, arg) in (0u32..).zip(&ins.args) {
            match *arg {
                Arg::Reg(slot, view) => {
                    out.set_op_kind(n, OpKind::Register);
                    out.set_op_register(n, hard(slot, view)?);
                }
                Arg::Rm(slot, view, _) => match self.spill(place(slot)) {
                    None => {
                        out.set_op_kind(n, OpKind::Register);
                        out.set_op_register(n, hard(slot, view)?);
                    }
                    Some(mem) => {
                        self.stats.inner_spills += usize::from(inner);
                        set_memory(&mut out, n, &mem);
                    }
                },
                Arg::Mem(mem) => {
                    pool = pool.or(self.memory(&mut out, n, mem, &hard)?);
                }
                Arg::Imm(value) => {
                    let kind = immediate(code);
                    out.set_op_kind(n, kind);
                    match kind {
                        OpKind::Immediate64 => out.set_immediate64(value as u64),
                        OpKind::Immediate32to64 => out.set_immediate32to64(value),
                        OpKind::Immediate8to64 => out.set_immediate8to64(value),
                        OpKind::Immediate8to32 => out.set_immediate8to32(value as i32),
                        OpKind::Immediate32 => out.set_immediate32(value as u32),
                        OpKind::Immediate16 => out.set_immediate16(value as u16),
                        _ => out.set_immediate8(value as u8),
                    }
                }
            }
        }
        if let Some(slot) = ins.mask {
            out.set_op_mask(hard(slot, View::K)?);
            out.set_zeroing_masking(ins.zeroing);
        }
        self.items.push(match pool {
            Some(at) => Item::Pool(out, at),
            None => Item::Plain(out),
        });
        Ok(())
    }

    /// Sets a memory operand; returns its place in the pool, if it is there.
    fn memory(
        &self,
        out: &mut Instruction,
        n: u32,
        mem: Mem<u8>,
        hard: &dyn Fn(u8, View) -> Result<Register, Unsupported>,
    ) -> Result<Option<u32>, Unsupported> {
        let disp = i64::from(mem.disp);
        let (base, disp, pool) = match mem.base {
            Base::Reg(slot) => (hard(slot, View::R64)?, disp, None),
            Base::Stack(at) => (Register::RSP, disp + i64::from(at), None),
            Base::Pool(at) => (Register::RIP, disp, Some(at)),
        };
        let (index, scale) = match mem.index {
            Some((slot, scale)) => (hard(slot, View::R64)?, u32::from(scale)),
            None => (Register::None, 1),
        };
        let size = if pool.is_some() { 8 } else { displacement(disp) };
        let operand = MemoryOperand::new(base, index, scale, disp, size, mem.broadcast, Register::None);
        set_memory(out, n, &operand);
        Ok(pool)
    }

    fn prologue(&mut self) -> Result<(), Unsupported> {
        for saved in self.frame.saved.clone() {
            self.plain(Instruction::with1(Code::Push_r64, register(ra::int(saved), View::R64)))?;
        }
        if self.frame.size > 0 {
            // rax holds nothing yet.
            let (rax, rsp) = (Register::RAX, Register::RSP);
            self.plain(Instruction::with2(Code::Mov_r64_rm64, rax, rsp))?;
            let size = self.frame.size as i32;
            self.plain(Instruction::with2(Code::Sub_rm64_imm32, rsp, size))?;
            self.plain(Instruction::with2(Code::And_rm64_imm8, rsp, -64))?;
            self.plain(Instruction::with2(Code::Mov_rm64_r64, self.entry_pointer(), rax))?;
        }
        Ok(())
    }

    fn entry_pointer(&self) -> MemoryOperand {
        let at = self.frame.size as i64 - 8;
        MemoryOperand::with_base_displ_size(Register::RSP, at, displacement(at))
    }

    fn epilogue(&mut self) -> Result<(), Unsupported> {
        if self.machine.widest > 16 || self.level == Level::Avx512 {
            self.plain(Ok(Instruction::with(Code::VEX_Vzeroupper)))?;
        }
        if self.frame.size > 0 {
            self.plain(Instruction::with2(Code::Mov_r64_rm64, Register::RSP, self.entry_pointer()))?;
        }
        for saved in self.frame.saved.clone().into_iter().rev() {
            self.plain(Instruction::with1(Code::Pop_r64, register(ra::int(saved), View::R64)))?;
        }
        self.plain(Ok(Instruction::with(Code::Retnq)))
    }
}

fn set_memory(out: &mut Instruction, n: u32, mem: &MemoryOperand) {
    out.set_op_kind(n, OpKind::Memory);
    out.set_memory_base(mem.base);
    out.set_memory_index(mem.index);
    out.set_memory_index_scale(mem.scale);
    out.set_memory_displacement64(mem.displacement as u64);
    out.set_memory_displ_size(mem.displ_size);
    out.set_is_broadcast(mem.is_broadcast);
}

/// The size of a displacement: 1 lets the encoder choose.
fn displacement(disp: i64) -> u32 {
    u32::from(disp != 0)
}

fn unencodable(error: iced_x86::IcedError) -> Unsupported {
    Unsupported(format!("an instruction that has no encoding: {error}"))
}

/// A register of the machine.
fn register(reg: PReg, view: View) -> Register {
    let n = reg.hw_enc() as u32;
    match view {
        View::R8 if n < 4 => Register::AL + n,
        View::R8 => Register::SPL + (n - 4),
        View::R16 => Register::AX + n,
        View::R32 => Register::EAX + n,
        View::R64 => Register::RAX + n,
        View::Xmm => Register::XMM0 + n,
        View::Ymm => Register::YMM0 + n,
        View::Zmm => Register::ZMM0 + n,
        View::K => Register::K0 + n,
    }
}

/// How an instruction's immediate is encoded.
fn immediate(code: Code) -> OpKind {
    use Code::*;
    match code {
        Mov_r64_imm64 => OpKind::Immediate64,
        Mov_r32_imm32 | Mov_rm32_imm32 | Add_rm32_imm32 | Sub_rm32_imm32 | And_rm32_imm32 | Or_rm32_imm32
        | Xor_rm32_imm32 | Cmp_rm32_imm32 | Test_rm32_imm32 | Imul_r32_rm32_imm32 => OpKind::Immediate32,
        Mov_rm64_imm32 | Add_rm64_imm32 | Sub_rm64_imm32 | And_rm64_imm32 | Or_rm64_imm32 | Xor_rm64_imm32
        | Cmp_rm64_imm32 | Imul_r64_rm64_imm32 => OpKind::Immediate32to64,
        Add_rm32_imm8 | Sub_rm32_imm8 | And_rm32_imm8 | Or_rm32_imm8 | Xor_rm32_imm8 | Cmp_rm32_imm8 => {
            OpKind::Immediate8to32
        }
        Add_rm64_imm8 | Sub_rm64_imm8 | And_rm64_imm8 | Or_rm64_imm8 | Xor_rm64_imm8 | Cmp_rm64_imm8 => {
            OpKind::Immediate8to64
        }
        Mov_rm16_imm16 => OpKind::Immediate16,
        _ => OpKind::Immediate8,
    }
}

/// What the start of an innermost loop is a multiple of.
const LOOP: u64 = 32;

/// An instruction of up to that many bytes that does nothing.
fn nothing(bytes: usize) -> Instruction {
    let rax = Register::RAX;
    let (index, size) = match bytes {
        1 => return Instruction::with(Code::Nopd),
        2 => return Instruction::with(Code::Nopw),
        3 => (Register::None, 0),
        4 => (Register::None, 1),
        5 | 6 => (rax, 1),
        7 => (Register::None, 8),
        _ => (rax, 8),
    };
    let mut nothing = Instruction::new();
    nothing.set_code(Code::Nop_rm32);
    set_memory(&mut nothing, 0, &MemoryOperand::new(rax, index, 1, 0, size, false, Register::None));
    nothing
}

/// Encodes all blocks three times: with long jumps to learn which can be short, with short ones to learn where
/// everything is, and with that.
fn encode(
    f: &Function,
    machine: &Machine,
    blocks: &[Vec<Item>],
    order: &[usize],
    stats: Stats,
) -> Result<crate::Code, Unsupported> {
    let mut layout = Layout::default();
    let mut short: Vec<bool> = Vec::new();
    let mut encoder = Encoder::new(64);
    let mut relocations = Vec::new();
    for round in 0..3 {
        encoder = Encoder::new(64);
        relocations.clear();
        let mut now = Layout::default();
        let mut ip = 0u64;
        for &n in order {
            if machine.is_inner_header(n) {
                let end = ip.next_multiple_of(LOOP);
                while ip < end {
                    ip += encoder.encode(&nothing((end - ip) as usize), ip).map_err(unencodable)? as u64;
                }
            }
            now.starts.insert(n, ip);
            for item in &blocks[n] {
                let is_short = short.get(now.jumps.len()) == Some(&true);
                // Until places are known, jumps lead to themselves.
                let place = |to: usize| if round == 2 { layout.starts[&to] } else { ip };
                let instruction = match *item {
                    Item::Plain(ins) | Item::Symbol(ins, _) => ins,
                    Item::Pool(mut ins, at) => {
                        ins.set_memory_displacement64(layout.end.next_multiple_of(64) + u64::from(at));
                        ins
                    }
                    Item::Jump(to) => {
                        now.jumps.push((ip, to));
                        let code = if is_short { Code::Jmp_rel8_64 } else { Code::Jmp_rel32_64 };
                        Instruction::with_branch(code, place(to)).map_err(unencodable)?
                    }
                    Item::Branch(flag, to) => {
                        now.jumps.push((ip, to));
                        Instruction::with_branch(branch(flag, is_short), place(to)).map_err(unencodable)?
                    }
                };
                ip += encoder.encode(&instruction, ip).map_err(unencodable)? as u64;
                if let Item::Symbol(_, n) = item {
                    relocations.push(Relocation { offset: (ip - 8) as u32, name: external(f, *n) });
                }
            }
        }
        now.end = ip;
        if round == 0 {
            // Shorter jumps bring targets nearer, but for the space in front of each loop.
            let loops: Vec<u64> =
                order.iter().filter(|&&n| machine.is_inner_header(n)).map(|n| now.starts[n]).collect();
            let is_near = |&(from, to): &(u64, usize)| {
                let to = now.starts[&to];
                let between = loops.iter().filter(|&&at| from.min(to) <= at && at <= from.max(to)).count() as u64;
                to.abs_diff(from) + between * LOOP < 120
            };
            short = now.jumps.iter().map(is_near).collect();
        }
        layout = now;
    }
    let mut bytes = encoder.take_buffer();
    bytes.resize(bytes.len().next_multiple_of(64), 0xcc);
    bytes.extend(&machine.pool.bytes);
    Ok(crate::Code { bytes, code_size: layout.end as usize, relocations, stats })
}

/// Where things came to lie.
#[derive(Default)]
struct Layout {
    starts: HashMap<usize, u64>,
    /// Each jump, and the block that it leads to.
    jumps: Vec<(u64, usize)>,
    end: u64,
}

/// The name of an external function.
fn external(f: &Function, n: u32) -> ExternalName {
    f.dfg.ext_funcs[cranelift_codegen::ir::FuncRef::from_u32(n)].name.clone()
}

fn branch(flag: Flag, short: bool) -> Code {
    use Code::*;
    let (near, far) = match flag {
        Flag::Below => (Jb_rel8_64, Jb_rel32_64),
        Flag::AboveOrEqual => (Jae_rel8_64, Jae_rel32_64),
        Flag::Equal => (Je_rel8_64, Je_rel32_64),
        Flag::NotEqual => (Jne_rel8_64, Jne_rel32_64),
        Flag::BelowOrEqual => (Jbe_rel8_64, Jbe_rel32_64),
        Flag::Above => (Ja_rel8_64, Ja_rel32_64),
        Flag::Parity => (Jp_rel8_64, Jp_rel32_64),
        Flag::NotParity => (Jnp_rel8_64, Jnp_rel32_64),
        Flag::Less => (Jl_rel8_64, Jl_rel32_64),
        Flag::GreaterOrEqual => (Jge_rel8_64, Jge_rel32_64),
        Flag::LessOrEqual => (Jle_rel8_64, Jle_rel32_64),
        Flag::Greater => (Jg_rel8_64, Jg_rel32_64),
    };
    if short { near } else { far }
}
