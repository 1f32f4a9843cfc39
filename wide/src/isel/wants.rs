//! What instructions want of values: registers, masks, constants, and loads as operands.

use cranelift_codegen::ir::{Inst, InstructionData, Opcode, Value};
use iced_x86::Code;
use regalloc2::VReg;

use super::values::splat;
use super::{Select, Shape};
use crate::inst::{Access, Constant, INT, Ins, MASK, Rm, VEC, View};

impl Select<'_> {
    pub(super) fn push(&mut self, ins: Ins) {
        self.now.push(ins);
    }

    pub(super) fn temp(&mut self) -> VReg {
        self.out.vreg(VEC)
    }

    pub(super) fn temp_int(&mut self) -> VReg {
        self.out.vreg(INT)
    }

    pub(super) fn temp_mask(&mut self) -> VReg {
        self.out.vreg(MASK)
    }

    pub(super) fn want(&mut self, value: Value) {
        self.wanted_in[value.as_u32() as usize] = Some(self.block);
    }

    /// The register that a value itself is defined in.
    pub(super) fn own(&mut self, value: Value) -> VReg {
        let at = value.as_u32() as usize;
        if let Some(reg) = self.regs[at] {
            return reg;
        }
        let ty = self.ty(value);
        let reg = self.out.vreg(if ty.is_int() && !ty.is_vector() { INT } else { VEC });
        self.regs[at] = Some(reg);
        reg
    }

    /// The register that holds a value.
    pub(super) fn reg(&mut self, value: Value) -> VReg {
        let bytes = if self.ty(value).is_vector() { self.ty(value).bytes() as u8 } else { 16 };
        let value = self.chase(value);
        if let Some(constant) = self.constant_of(value) {
            return self.constant(constant, bytes);
        }
        if let Some(n) = self.int_constant(value) {
            let reg = self.temp_int();
            self.push(load_int(reg, n));
            return reg;
        }
        self.want(value);
        self.own(value)
    }

    /// The mask register that holds a truth vector; AVX-512 only.
    pub(super) fn mask(&mut self, value: Value) -> VReg {
        let mut value = self.f.dfg.resolve_aliases(value);
        while let Some(inst) = self.def_of(value, Opcode::Bitcast) {
            value = self.f.dfg.resolve_aliases(self.f.dfg.inst_args(inst)[0]);
        }
        self.want(value);
        let at = value.as_u32() as usize;
        if let Some(mask) = self.masks[at] {
            return mask;
        }
        let mask = self.temp_mask();
        self.masks[at] = Some(mask);
        mask
    }

    /// A constant in a vector register of at least so many bytes.
    pub(super) fn constant(&mut self, constant: Constant, bytes: u8) -> VReg {
        if let Some(&at) = self.constants.get(&constant) {
            let known = &mut self.out.constants[at];
            known.2 = known.2.max(bytes);
            return known.0;
        }
        let reg = self.temp();
        self.constants.insert(constant.clone(), self.out.constants.len());
        self.out.constants.push((reg, constant, bytes));
        reg
    }

    pub(super) fn bits(&mut self, shape: Shape, bits: u64) -> VReg {
        let constant = splat(shape.lane_bytes(), if shape.lane == 0 { bits & 0xffff_ffff } else { bits });
        self.constant(constant, shape.bytes())
    }

    /// The load that gives a value, if it can go into the current instruction and has that many bytes.
    pub(super) fn sinks(&self, value: Value, bytes: u32) -> Option<Inst> {
        let mut value = self.f.dfg.resolve_aliases(value);
        loop {
            if self.uses(value) != 1 {
                return None;
            }
            let inst = self.def_here(value)?;
            match self.f.dfg.insts[inst] {
                InstructionData::Load { opcode: Opcode::Load, flags, .. } => {
                    let readonly = self.f.dfg.mem_flags[flags].readonly();
                    let epoch = |i: Inst| self.epoch[i.as_u32() as usize];
                    let still = readonly || epoch(inst) == epoch(self.inst);
                    return (still && self.ty(value).bytes() == bytes).then_some(inst);
                }
                InstructionData::LoadNoOffset { opcode: Opcode::Bitcast, .. } => {
                    value = self.f.dfg.resolve_aliases(self.f.dfg.inst_args(inst)[0]);
                }
                _ => return None,
            }
        }
    }

    /// The load of one lane of that size that a vector is a splat of, if both can go into the current instruction.
    pub(super) fn sinks_splat(&self, value: Value, lane: u8) -> Option<Inst> {
        if lane == 0 || self.uses(value) != 1 {
            return None;
        }
        let splat = self.def_here(value)?;
        if self.f.dfg.insts[splat].opcode() != Opcode::Splat {
            return None;
        }
        self.sinks(self.f.dfg.inst_args(splat)[0], u32::from(lane))
    }

    /// Whether a memory operand would serve.
    pub(super) fn may_be_memory(&self, value: Value, access: Access) -> bool {
        self.constant_of(value).is_some()
            || self.sinks(value, u32::from(access.bytes)).is_some()
            || self.sinks_splat(value, access.broadcast).is_some()
    }

    /// A value as the operand that may be memory.
    pub(super) fn rm(&mut self, value: Value, access: Access) -> Rm {
        if let Some(load) = self.sinks(value, u32::from(access.bytes)) {
            return Rm::Mem(self.address_of(load));
        }
        if let Some(load) = self.sinks_splat(value, access.broadcast) {
            let mut mem = self.address_of(load);
            mem.broadcast = true;
            return Rm::Mem(mem);
        }
        Rm::Reg(self.reg(value))
    }

    /// Where the result of the current instruction goes.
    pub(super) fn result(&mut self) -> VReg {
        let result = self.f.dfg.first_result(self.inst);
        self.own(result)
    }
}

/// An integer into a register; leaves the flags alone.
pub(super) fn load_int(reg: VReg, n: i64) -> Ins {
    if u32::try_from(n).is_ok() {
        return Ins::new(Code::Mov_r32_imm32).def(reg, View::R32).imm(n);
    }
    if i32::try_from(n).is_ok() {
        return Ins::new(Code::Mov_rm64_imm32).def(reg, View::R64).imm(n);
    }
    Ins::new(Code::Mov_r64_imm64).def(reg, View::R64).imm(n)
}
