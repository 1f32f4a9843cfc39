//! Loads, stores, and what their addresses can say.

use cranelift_codegen::ir::{Inst, InstructionData, Opcode, Value, types};
use iced_x86::Code;
use regalloc2::VReg;

use super::{Result, Select, Width};
use crate::inst::{Access, Base, Ins, Mem, View};
use crate::{Primitive, table};

impl Select<'_> {
    /// The address that a load or store accesses.
    pub(super) fn address_of(&mut self, inst: Inst) -> Mem<VReg> {
        let (pointer, offset) = match self.data(inst) {
            InstructionData::Load { arg, offset, .. } => (arg, i32::from(offset)),
            InstructionData::Store { args, offset, .. } => (args[1], i32::from(offset)),
            _ => panic!("wide: not an access of memory"),
        };
        self.address(pointer, offset)
    }

    /// Both sides of an addition in this block.
    fn sum_here(&self, value: Value) -> Option<[Value; 2]> {
        let value = self.chase(value);
        if self.regs[value.as_u32() as usize].is_some() {
            // It has a register already.
            return None;
        }
        let inst = self.def_here(value)?;
        let is_sum = self.f.dfg.insts[inst].opcode() == Opcode::Iadd && self.ty(value) == types::I64;
        is_sum.then(|| self.args2(inst))
    }

    /// Takes constants that are added off a value.
    fn without_constant(&self, mut value: Value, disp: &mut i32, scale: u8) -> Value {
        while let Some([a, b]) = self.sum_here(value) {
            let (rest, n) = match (self.int_constant(a), self.int_constant(b)) {
                (_, Some(n)) => (a, n),
                (Some(n), _) => (b, n),
                _ => break,
            };
            let moved = n.checked_mul(i64::from(scale)).and_then(|n| n.checked_add(i64::from(*disp)));
            let Some(moved) = moved.and_then(|n| i32::try_from(n).ok()) else { break };
            *disp = moved;
            value = rest;
        }
        value
    }

    /// The value and its factor, where it is shifted to the left in this block by up to 3 bits.
    fn scaled(&self, value: Value) -> Option<(Value, u8)> {
        if self.regs[self.chase(value).as_u32() as usize].is_some() {
            return None;
        }
        let inst = self.def_here(value)?;
        if self.f.dfg.insts[inst].opcode() != Opcode::Ishl || self.ty(value) != types::I64 {
            return None;
        }
        let [what, by] = self.args2(inst);
        let by = self.int_constant(by).filter(|by| (1..=3).contains(by))?;
        Some((what, 1 << by))
    }

    /// `pointer + offset` as a memory operand.
    pub(super) fn address(&mut self, pointer: Value, offset: i32) -> Mem<VReg> {
        let mut disp = offset;
        let base = self.without_constant(pointer, &mut disp, 1);
        if let Some(inst) = self.def_of(base, Opcode::StackAddr)
            && let InstructionData::StackAddr { stack_slot, offset, .. } = self.data(inst)
        {
            let slot = self.slots[stack_slot.as_u32() as usize];
            let disp = disp + i32::from(offset);
            return Mem { base: Base::Stack(slot), index: None, disp, broadcast: false };
        }
        let Some([a, b]) = self.sum_here(base) else {
            let base = Base::Reg(self.reg(base));
            return Mem { base, index: None, disp, broadcast: false };
        };
        let (base, (index, scale)) = match (self.scaled(a), self.scaled(b)) {
            (_, Some(index)) => (a, index),
            (Some(index), None) => (b, index),
            (None, None) => (a, (b, 1)),
        };
        let base = self.without_constant(base, &mut disp, 1);
        let index = self.without_constant(index, &mut disp, scale);
        let base = Base::Reg(self.reg(base));
        let index = self.reg(index);
        Mem { base, index: Some((index, scale)), disp, broadcast: false }
    }

    pub(super) fn load(&mut self, inst: Inst) -> Result<()> {
        use Opcode::*;
        let opcode = self.data(inst).opcode();
        let result = self.f.dfg.first_result(inst);
        let ty = self.ty(result);
        let mem = self.address_of(inst);
        let to = self.result();
        if ty.is_vector() || ty.is_float() {
            let shape = self.shape(ty)?;
            if opcode != Load {
                return Err(self.refuse(inst));
            }
            let code = self.code(&table::LOAD, shape)?;
            self.push(Ins::new(code).def(to, shape.view()).mem(mem));
            return Ok(());
        }
        let (code, view) = match (opcode, ty) {
            (Load, types::I64) => (Code::Mov_r64_rm64, View::R64),
            (Load, types::I32) | (Uload32, _) => (Code::Mov_r32_rm32, View::R32),
            (Load, types::I16) | (Uload16, _) => (Code::Movzx_r32_rm16, View::R32),
            (Load, types::I8) | (Uload8, _) => (Code::Movzx_r32_rm8, View::R32),
            (Sload32, _) => (Code::Movsxd_r64_rm32, View::R64),
            (Sload16, _) => (Code::Movsx_r64_rm16, View::R64),
            (Sload8, _) => (Code::Movsx_r64_rm8, View::R64),
            _ => return Err(self.refuse(inst)),
        };
        self.push(Ins::new(code).def(to, view).mem(mem));
        Ok(())
    }

    pub(super) fn store(&mut self, inst: Inst) -> Result<()> {
        use Opcode::*;
        let opcode = self.data(inst).opcode();
        let value = self.f.dfg.inst_args(inst)[0];
        let ty = self.ty(value);
        if ty.is_vector() || ty.is_float() {
            let shape = self.shape(ty)?;
            let code = self.code(&table::STORE, shape)?;
            let from = self.reg(value);
            let mem = self.address_of(inst);
            self.push(Ins::new(code).mem(mem).reg(from, shape.view()));
            return Ok(());
        }
        let bytes = match opcode {
            Istore8 => 1,
            Istore16 => 2,
            Istore32 => 4,
            _ => ty.bytes(),
        };
        let (code, immediate, view) = match bytes {
            1 => (Code::Mov_rm8_r8, Code::Mov_rm8_imm8, View::R8),
            2 => (Code::Mov_rm16_r16, Code::Mov_rm16_imm16, View::R16),
            4 => (Code::Mov_rm32_r32, Code::Mov_rm32_imm32, View::R32),
            _ => (Code::Mov_rm64_r64, Code::Mov_rm64_imm32, View::R64),
        };
        if let Some(n) = self.int_constant(value).filter(|&n| i32::try_from(n).is_ok()) {
            let mem = self.address_of(inst);
            self.push(Ins::new(immediate).mem(mem).imm(n));
            return Ok(());
        }
        let from = self.reg(value);
        let mem = self.address_of(inst);
        self.push(Ins::new(code).mem(mem).reg(from, view));
        Ok(())
    }

    /// A primitive without a result.
    pub(super) fn effect(&mut self, inst: Inst, primitive: Primitive) -> Result<()> {
        let args = self.f.dfg.inst_args(inst).to_vec();
        let is_address = |this: &Self, value: Option<&Value>| value.is_some_and(|&v| this.ty(v) == types::I64);
        let fits = args.len() == primitive.arity() && self.f.dfg.inst_results(inst).is_empty();
        if !fits || !primitive.is_at(self.level) || !is_address(self, args.last()) {
            return Err(self.refuse(inst));
        }
        if primitive == Primitive::Prefetch {
            let mem = self.address(args[0], 0);
            self.push(Ins::new(Code::Prefetcht0_m8).mem(mem));
            return Ok(());
        }
        let shape = self.shape(self.ty(args[0]))?;
        if shape.width == Width::Scalar {
            return Err(self.refuse(inst));
        }
        let code = self.code(&table::STREAM, shape)?;
        let from = self.reg(args[0]);
        let mem = self.address(args[1], 0);
        self.push(Ins::new(code).mem(mem).reg(from, shape.view()));
        Ok(())
    }

    pub(super) fn stack_address(&mut self, inst: Inst) -> Result<()> {
        let InstructionData::StackAddr { stack_slot, offset, .. } = self.data(inst) else {
            return Err(self.refuse(inst));
        };
        let slot = self.slots[stack_slot.as_u32() as usize];
        let mem = Mem { base: Base::Stack(slot), index: None, disp: i32::from(offset), broadcast: false };
        let to = self.result();
        self.push(Ins::new(Code::Lea_r64_m).def(to, View::R64).mem(mem));
        Ok(())
    }

    /// A general register or memory of that many bytes.
    pub(super) fn rm_int(&mut self, value: Value, bytes: u8) -> (crate::inst::Rm, Access) {
        let access = Access { bytes, broadcast: 0 };
        (self.rm(value, access), access)
    }
}
