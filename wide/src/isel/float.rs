//! Floating-point arithmetic, scalar and vector, comparisons and conversions.

use cranelift_codegen::ir::condcodes::{CondCode, FloatCC};
use cranelift_codegen::ir::{Inst, InstructionData, Opcode, Value, ValueDef, types};
use iced_x86::Code;
use regalloc2::VReg;

use super::{Result, Select, Shape, Width};
use crate::inst::{Base, Ins, Mem, Rm, View};
use crate::table::{self, Op};
use crate::{Level, Primitive};

/// Rounding modes of `vround` and `vrndscale`, without the inexact exception.
const NEAREST: i64 = 8;
const FLOOR: i64 = 9;

/// The operand of the mantissa's instructions: from 1 to below 2, without the sign.
const POSITIVE: i64 = 4;
const CEIL: i64 = 10;
const TRUNC: i64 = 11;

impl Select<'_> {
    pub(super) fn float(&mut self, inst: Inst) -> Result<()> {
        use Opcode::*;
        let result = self.f.dfg.first_result(inst);
        let shape = self.shape(self.ty(result))?;
        let args = self.f.dfg.inst_args(inst).to_vec();
        match self.data(inst).opcode() {
            Fadd | Fmul if self.folded(inst)? => Ok(()),
            Fadd => self.binary(&table::ADD, args[0], args[1], shape, true),
            Fsub => self.binary(&table::SUB, args[0], args[1], shape, false),
            Fmul => self.binary(&table::MUL, args[0], args[1], shape, true),
            Fdiv => self.binary(&table::DIV, args[0], args[1], shape, false),
            Fma => self.fma(args[0], args[1], args[2], shape),
            Sqrt => self.unary(&table::SQRT, args[0], shape, None),
            Nearest => self.unary(&table::ROUND, args[0], shape, Some(NEAREST)),
            Floor => self.unary(&table::ROUND, args[0], shape, Some(FLOOR)),
            Ceil => self.unary(&table::ROUND, args[0], shape, Some(CEIL)),
            Trunc => self.unary(&table::ROUND, args[0], shape, Some(TRUNC)),
            Fneg => self.with_sign(&table::XOR, args[0], shape, sign(shape)),
            Fabs => self.with_sign(&table::AND, args[0], shape, !sign(shape)),
            Fcopysign => {
                let packed = shape.packed();
                let (and, or) = (self.code(&table::AND, packed)?, self.code(&table::OR, packed)?);
                let (a, b) = (self.reg(args[0]), self.reg(args[1]));
                let (rest, of_b) = (self.bits(packed, !sign(shape)), self.bits(packed, sign(shape)));
                let (magnitude, sign, to) = (self.temp(), self.temp(), self.result());
                let (view, access) = (packed.view(), self.access(packed));
                self.push(Ins::new(and).def(magnitude, view).reg(a, view).rm(Rm::Reg(rest), view, access));
                self.push(Ins::new(and).def(sign, view).reg(b, view).rm(Rm::Reg(of_b), view, access));
                self.push(Ins::new(or).def(to, view).reg(magnitude, view).reg(sign, view));
                Ok(())
            }
            Fmin => self.extreme(true, args[0], args[1], shape),
            Fmax => self.extreme(false, args[0], args[1], shape),
            FcvtFromSint => self.converted(args[0], shape),
            Fpromote | Fdemote => {
                let from = self.shape(self.ty(args[0]))?;
                let code = match (self.level, from.lane, shape.lane) {
                    (Level::Avx2, 0, 1) => Code::VEX_Vcvtss2sd_xmm_xmm_xmmm32,
                    (Level::Avx2, 1, 0) => Code::VEX_Vcvtsd2ss_xmm_xmm_xmmm64,
                    (Level::Avx512, 0, 1) => Code::EVEX_Vcvtss2sd_xmm_k1z_xmm_xmmm32_sae,
                    (Level::Avx512, 1, 0) => Code::EVEX_Vcvtsd2ss_xmm_k1z_xmm_xmmm64_er,
                    _ => return Err(self.refuse(inst)),
                };
                let from = self.reg(args[0]);
                let to = self.result();
                self.push(Ins::new(code).def(to, View::Xmm).reg(from, View::Xmm).again(1, View::Xmm));
                Ok(())
            }
            _ => Err(self.refuse(inst)),
        }
    }

    pub(super) fn primitive(&mut self, inst: Inst, primitive: Primitive) -> Result<()> {
        if matches!(primitive, Primitive::Prefetch | Primitive::Stream) {
            return self.effect(inst, primitive);
        }
        let args = self.f.dfg.inst_args(inst).to_vec();
        if !primitive.is_at(self.level) || args.len() != primitive.arity() {
            return Err(self.refuse(inst));
        }
        if !primitive.is_on_floats() {
            return self.status(args.first().copied());
        }
        let shape = self.shape(self.ty(args[0]))?;
        if shape.width == Width::Scalar {
            return Err(self.refuse(inst));
        }
        match primitive {
            Primitive::Scale => self.binary(&table::SCALE, args[0], args[1], shape, false),
            Primitive::Fraction => self.unary(&table::REDUCE, args[0], shape, Some(FLOOR)),
            Primitive::Mantissa => self.unary(&table::MANTISSA, args[0], shape, Some(POSITIVE)),
            Primitive::LookUp => self.look_up(args[0], args[1], args[2], shape),
            Primitive::Move if self.evex() => self.look_up(args[0], args[1], args[2], shape),
            Primitive::Move => self.moved(inst, [args[0], args[1], args[2]], shape),
            _ => unreachable!("these are not on floats"),
        }
    }

    /// Reads the word of control and status, or sets it.
    fn status(&mut self, word: Option<Value>) -> Result<()> {
        let at = *self.status.get_or_insert_with(|| {
            let at = self.out.stack.next_multiple_of(8);
            self.out.stack = at + 8;
            at
        });
        let mem = Mem { base: Base::Stack(at), index: None, disp: 0, broadcast: false };
        match word {
            None => {
                let to = self.result();
                self.push(Ins::new(Code::VEX_Vstmxcsr_m32).mem(mem));
                self.push(Ins::new(Code::Mov_r32_rm32).def(to, View::R32).mem(mem));
            }
            Some(word) => {
                let word = self.reg(word);
                self.push(Ins::new(Code::Mov_rm32_r32).mem(mem).reg(word, View::R32));
                self.push(Ins::new(Code::VEX_Vldmxcsr_m32).mem(mem));
            }
        }
        Ok(())
    }

    fn look_up(&mut self, at: Value, low: Value, high: Value, shape: Shape) -> Result<()> {
        let code = self.code(&table::LOOK_UP, shape)?;
        let (access, view) = (self.access(shape), shape.view());
        let (at, low) = (self.reg(at), self.reg(low));
        let high = self.rm(high, access);
        let to = self.result();
        self.push(Ins::new(code).tied(at, to, view).reg(low, view).rm(high, view, access));
        Ok(())
    }

    /// Emits an operation whose result is wanted in the lanes of a mask only, with zeros in the others; `None` where this
    /// is not one of those that can work so.
    pub(super) fn masked(&mut self, value: Value, mask: Value) -> Result<Option<()>> {
        let value = self.chase(value);
        let Some(inst) = self.def_here(value).filter(|_| self.uses(value) == 1) else { return Ok(None) };
        if self.ty(value).lane_bits() != self.ty(mask).lane_bits() || self.regs[value.as_u32() as usize].is_some() {
            return Ok(None);
        }
        match (self.data(inst).opcode(), self.primitive_of(inst)) {
            (_, Some(primitive)) => self.primitive(inst, primitive)?,
            (Opcode::Fadd | Opcode::Fsub | Opcode::Fmul | Opcode::Fdiv | Opcode::Fma, _) => self.float(inst)?,
            _ => return Ok(None),
        }
        let mask = self.mask(mask);
        let last = self.now.pop().expect("the operation");
        let mut last = last.under(mask);
        last.zeroing = true;
        self.push(last);
        Ok(Some(()))
    }

    /// `a op b`.
    pub(super) fn binary(&mut self, op: &Op, a: Value, b: Value, shape: Shape, commutes: bool) -> Result<()> {
        let code = self.code(op, shape)?;
        let access = self.access(shape);
        // A load is better in the instruction than a constant, which may have a register.
        let rank = |this: &Self, v: Value| match this.constant_of(v) {
            Some(_) => 1,
            None if this.may_be_memory(v, access) => 2,
            None => 0,
        };
        let (a, b) = if commutes && rank(self, a) > rank(self, b) { (b, a) } else { (a, b) };
        let left = self.reg(a);
        let right = self.rm(b, access);
        let to = self.result();
        let view = shape.view();
        self.push(Ins::new(code).def(to, view).reg(left, view).rm(right, view, access));
        Ok(())
    }

    fn unary(&mut self, op: &Op, a: Value, shape: Shape, imm: Option<i64>) -> Result<()> {
        let code = self.code(op, shape)?;
        let view = shape.view();
        let mut ins = Ins::new(code);
        if shape.width == Width::Scalar {
            let from = self.reg(a);
            ins = ins.def(self.result(), view).reg(from, view).again(1, view);
        } else {
            let access = self.access(shape);
            let from = self.rm(a, access);
            ins = ins.def(self.result(), view).rm(from, view, access);
        }
        self.push(match imm {
            Some(imm) => ins.imm(imm),
            None => ins,
        });
        Ok(())
    }

    /// `a op bits`, for the sign.
    fn with_sign(&mut self, op: &Op, a: Value, shape: Shape, bits: u64) -> Result<()> {
        let packed = shape.packed();
        let code = self.code(op, packed)?;
        let bits = self.bits(packed, bits);
        let from = self.reg(a);
        let (to, view) = (self.result(), packed.view());
        let access = self.access(packed);
        self.push(Ins::new(code).def(to, view).reg(from, view).rm(Rm::Reg(bits), view, access));
        Ok(())
    }

    /// The value whose negation this is, where that is computed in this block.
    fn negated(&self, value: Value) -> Option<Value> {
        let inst = self.def_here(self.chase(value))?;
        (self.f.dfg.insts[inst].opcode() == Opcode::Fneg).then(|| self.f.dfg.inst_args(inst)[0])
    }

    /// Whether a value is what this block gives to the parameter of the next one that has the value now.
    fn is_carried(&self, result: Value, param: Value) -> bool {
        let ValueDef::Param(home, number) = self.f.dfg.value_def(param) else { return false };
        let last = self.f.layout.last_inst(self.block).expect("a filled block");
        self.f.dfg.insts[last]
            .branch_destination(&self.f.dfg.jump_tables, &self.f.dfg.exception_tables)
            .iter()
            .filter(|call| call.block(&self.f.dfg.value_lists) == home)
            .any(|call| {
                let arg = call.args(&self.f.dfg.value_lists).nth(number);
                arg.and_then(|arg| arg.as_value()).is_some_and(|v| self.chase(v) == result)
            })
    }

    /// `x·y + z`. The result takes the register of an operand that is not needed any more, best of the one that it
    /// replaces in the next round of a loop.
    fn fma(&mut self, x: Value, y: Value, z: Value, shape: Shape) -> Result<()> {
        let mut negative = [false; 2];
        let mut strip = |this: &Self, mut value: Value, sign: usize| {
            while let Some(inner) = this.negated(value) {
                negative[sign] ^= true;
                value = inner;
            }
            value
        };
        let (x, y, z) = (strip(self, x, 0), strip(self, y, 0), strip(self, z, 1));
        let kind = usize::from(negative[0]) * 2 + usize::from(negative[1]);

        let result = self.f.dfg.first_result(self.inst);
        let access = self.access(shape);
        let rank = |this: &Self, v: Value| {
            let base = this.chase(v);
            match () {
                () if this.sinks(v, u32::from(access.bytes)).is_some() => -2,
                () if this.sinks_splat(v, access.broadcast).is_some() => -2,
                () if this.dies(v) && this.is_carried(result, base) => 3,
                () if this.dies(v) => 2,
                () if this.constant_of(v).is_some() => 0,
                () => -1,
            }
        };
        let operands = [z, x, y];
        // The first of equals: the addend before the factors.
        let ranks = operands.map(|v| rank(self, v));
        // The same value twice cannot be both overwritten and read.
        let usable = |n: usize| {
            let twice = (0..3).any(|m| m != n && self.chase(operands[m]) == self.chase(operands[n]));
            if twice { ranks[n].min(-1) } else { ranks[n] }
        };
        let mut tie = 0;
        for n in 1..3 {
            if usable(n) > usable(tie) {
                tie = n;
            }
        }
        // To overwrite a constant, it is loaded anew (zero is made): then rather what is loaded anyway.
        if usable(tie) == 0
            && self.constant_of(operands[tie]).is_some_and(|constant| !constant.is_zero())
            && let Some(n) = (0..3).find(|&n| ranks[n] == -2)
        {
            tie = n;
        }
        let (form, second, third) = match tie {
            // 231: dst = second·third + dst
            0 if self.better_in_memory(x, y, access) => (2, y, x),
            0 => (2, x, y),
            // 132: dst = dst·third + second; 213: dst = second·dst + third
            n => {
                let factor = if n == 1 { y } else { x };
                if self.better_in_memory(factor, z, access) { (0, z, factor) } else { (1, factor, z) }
            }
        };
        let code = self.code(&table::FMA[kind][form], shape)?;
        let dst = operands[tie];
        let from = match self.constant_of(dst) {
            Some(constant) => self.fresh_constant(&constant, self.ty(dst))?,
            None => self.reg(dst),
        };
        let second = self.reg(second);
        let third = self.rm(third, access);
        let (to, view) = (self.result(), shape.view());
        self.push(Ins::new(code).tied(from, to, view).reg(second, view).rm(third, view, access));
        Ok(())
    }

    /// Whether the first of two operands gains more from being the one that may be memory.
    fn better_in_memory(&self, a: Value, b: Value, access: crate::inst::Access) -> bool {
        let rank = |v: Value| match self.constant_of(v) {
            Some(_) => 1,
            None if self.may_be_memory(v, access) => 2,
            None => 0,
        };
        rank(a) > rank(b)
    }

    /// The smaller or the larger; NaN if either is; `-0` below `+0`.
    fn extreme(&mut self, smaller: bool, a: Value, b: Value, shape: Shape) -> Result<()> {
        let view = shape.view();
        let (first, second) = (self.reg(a), self.reg(b));
        let op = if smaller { &table::MIN } else { &table::MAX };
        let (code, packed) = (self.code(op, shape)?, shape.packed());
        // The instruction returns its second operand for NaNs and for zeros: taken both ways, zeros are joined.
        let (one, other, both, sum) = (self.temp(), self.temp(), self.temp(), self.temp());
        self.push(Ins::new(code).def(one, view).reg(first, view).reg(second, view));
        self.push(Ins::new(code).def(other, view).reg(second, view).reg(first, view));
        let join = self.code(if smaller { &table::OR } else { &table::AND }, packed)?;
        self.push(Ins::new(join).def(both, view).reg(one, view).reg(other, view));
        let add = self.code(&table::ADD, shape)?;
        self.push(Ins::new(add).def(sum, view).reg(first, view).reg(second, view));
        let compare = self.code(&table::COMPARE, shape)?;
        let unordered = predicate(FloatCC::Unordered);
        let blend = self.code(&table::BLEND, shape)?;
        let to = self.result();
        if self.evex() {
            let mask = self.temp_mask();
            self.push(Ins::new(compare).def(mask, View::K).reg(first, view).reg(second, view).imm(unordered));
            self.push(Ins::new(blend).def(to, view).reg(both, view).reg(sum, view).under(mask));
        } else {
            let mask = self.temp();
            self.push(Ins::new(compare).def(mask, view).reg(first, view).reg(second, view).imm(unordered));
            self.push(Ins::new(blend).def(to, view).reg(both, view).reg(sum, view).reg(mask, view));
        }
        Ok(())
    }

    fn converted(&mut self, a: Value, shape: Shape) -> Result<()> {
        let from = self.ty(a);
        if from.is_vector() {
            let code = match (self.evex(), shape.lane, shape.width) {
                (false, 0, Width::W128) => Code::VEX_Vcvtdq2ps_xmm_xmmm128,
                (false, 0, Width::W256) => Code::VEX_Vcvtdq2ps_ymm_ymmm256,
                (true, 0, Width::W128) => Code::EVEX_Vcvtdq2ps_xmm_k1z_xmmm128b32,
                (true, 0, Width::W256) => Code::EVEX_Vcvtdq2ps_ymm_k1z_ymmm256b32,
                (true, 0, Width::W512) => Code::EVEX_Vcvtdq2ps_zmm_k1z_zmmm512b32_er,
                (true, 1, Width::W128) => Code::EVEX_Vcvtqq2pd_xmm_k1z_xmmm128b64,
                (true, 1, Width::W256) => Code::EVEX_Vcvtqq2pd_ymm_k1z_ymmm256b64,
                (true, 1, Width::W512) => Code::EVEX_Vcvtqq2pd_zmm_k1z_zmmm512b64_er,
                _ => return Err(self.refuse(self.inst)),
            };
            let access = self.access(shape);
            let from = self.rm(a, access);
            let (to, view) = (self.result(), shape.view());
            self.push(Ins::new(code).def(to, view).rm(from, view, access));
            return Ok(());
        }
        let mut int = self.reg(a);
        if from.bits() < 32 {
            let whole = self.temp_int();
            self.push(super::int::widened(whole, Rm::Reg(int), from, true));
            int = whole;
        }
        let wide = usize::from(from == types::I64);
        let code = match (self.evex(), shape.lane) {
            (false, 0) => [Code::VEX_Vcvtsi2ss_xmm_xmm_rm32, Code::VEX_Vcvtsi2ss_xmm_xmm_rm64],
            (false, _) => [Code::VEX_Vcvtsi2sd_xmm_xmm_rm32, Code::VEX_Vcvtsi2sd_xmm_xmm_rm64],
            (true, 0) => [Code::EVEX_Vcvtsi2ss_xmm_xmm_rm32_er, Code::EVEX_Vcvtsi2ss_xmm_xmm_rm64_er],
            (true, _) => [Code::EVEX_Vcvtsi2sd_xmm_xmm_rm32_er, Code::EVEX_Vcvtsi2sd_xmm_xmm_rm64_er],
        };
        let zero = self.bits(shape.packed(), 0);
        let view = [View::R32, View::R64][wide];
        let to = self.result();
        self.push(Ins::new(code[wide]).def(to, View::Xmm).reg(zero, View::Xmm).reg(int, view));
        Ok(())
    }

    /// A comparison of scalars as 0 or 1, or of vectors as a truth vector.
    pub(super) fn fcmp(&mut self, inst: Inst) -> Result<()> {
        let InstructionData::FloatCompare { cond, .. } = self.data(inst) else { return Err(self.refuse(inst)) };
        let result = self.f.dfg.first_result(inst);
        let [mut a, mut b] = self.args2(inst);
        let shape = self.shape(self.ty(a))?;
        let access = self.access(shape);
        let mut cond = cond;
        if self.better_in_memory(a, b, access) {
            (a, b, cond) = (b, a, cond.swap_args());
        }
        let code = self.code(&table::COMPARE, shape)?;
        let (left, right) = (self.reg(a), self.rm(b, access));
        let view = shape.view();
        let compare = |to: VReg, kind: View| {
            Ins::new(code).def(to, kind).reg(left, view).rm(right, view, access).imm(predicate(cond))
        };
        if self.ty(result).is_vector() {
            if self.evex() {
                let mask = self.truth_result(result);
                self.push(compare(mask, View::K));
                return self.expanded(result, mask);
            }
            let to = self.result();
            self.push(compare(to, view));
            return Ok(());
        }
        let to = self.result();
        if self.evex() {
            let mask = self.temp_mask();
            self.push(compare(mask, View::K));
            self.push(Ins::new(Code::VEX_Kmovw_r32_kr).def(to, View::R32).reg(mask, View::K));
        } else {
            let (ones, bits) = (self.temp(), self.temp_int());
            self.push(compare(ones, view));
            self.push(Ins::new(Code::VEX_Vmovd_rm32_xmm).def(bits, View::R32).reg(ones, View::Xmm));
            self.push(Ins::new(Code::And_rm32_imm8).tied(bits, to, View::R32).imm(1));
        }
        Ok(())
    }

    /// The mask register of a truth vector that is defined here.
    pub(super) fn truth_result(&mut self, result: Value) -> VReg {
        match self.masks[result.as_u32() as usize] {
            Some(mask) => mask,
            None => self.temp_mask(),
        }
    }

    /// A truth vector as ones and zeros, where that is wanted too.
    pub(super) fn expanded(&mut self, result: Value, mask: VReg) -> Result<()> {
        if let Some(to) = self.regs[result.as_u32() as usize] {
            let shape = self.shape(self.ty(result))?;
            let code = self.code(&table::EXPAND, shape)?;
            self.push(Ins::new(code).def(to, shape.view()).reg(mask, View::K));
        }
        Ok(())
    }
}

/// The sign bit of a lane.
fn sign(shape: Shape) -> u64 {
    if shape.lane == 0 { 1 << 31 } else { 1 << 63 }
}

/// The predicate of a comparison, quiet.
pub(super) fn predicate(cond: FloatCC) -> i64 {
    match cond {
        FloatCC::Equal => 0x00,
        FloatCC::LessThan => 0x11,
        FloatCC::LessThanOrEqual => 0x12,
        FloatCC::Unordered => 0x03,
        FloatCC::NotEqual => 0x04,
        FloatCC::UnorderedOrGreaterThanOrEqual => 0x15,
        FloatCC::UnorderedOrGreaterThan => 0x16,
        FloatCC::Ordered => 0x07,
        FloatCC::UnorderedOrEqual => 0x08,
        FloatCC::UnorderedOrLessThan => 0x19,
        FloatCC::UnorderedOrLessThanOrEqual => 0x1a,
        FloatCC::OrderedNotEqual => 0x0c,
        FloatCC::GreaterThanOrEqual => 0x1d,
        FloatCC::GreaterThan => 0x1e,
    }
}
