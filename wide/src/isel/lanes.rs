//! Choices by masks, logic, integers in lanes, and moves of lanes.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Inst, InstructionData, Opcode, Value, types};
use iced_x86::Code;
use regalloc2::VReg;

use super::{Result, Select, Shape, Width};
use crate::inst::{Access, Ins, Rm, View};
use crate::table::{self, Op};

impl Select<'_> {
    /// Bits of `yes` where the condition is set, else of `no`.
    pub(super) fn bitselect(&mut self, inst: Inst) -> Result<()> {
        let [condition, yes, no] = self.args3(inst);
        let result = self.f.dfg.first_result(inst);
        let shape = self.shape(self.ty(result))?;
        let (view, access) = (shape.view(), self.access(shape));
        if self.ty(result).lane_type().is_float()
            && let Some((smaller, a, b)) = self.extreme_of(condition, yes, no)
        {
            return self.binary(if smaller { &table::MIN } else { &table::MAX }, a, b, shape, false);
        }
        let lanes = self.ty(condition).lane_bits() == self.ty(result).lane_bits();
        if self.is_truth_value(condition) && lanes && self.ty(result).lane_bits() >= 32 {
            let zero = self.constant_of(no).is_some_and(|constant| constant.is_zero());
            if self.evex() && zero && self.masked(yes, condition)?.is_some() {
                return Ok(());
            }
            let other = self.reg(no);
            let code = self.code(&table::BLEND, shape)?;
            if self.evex() {
                let mask = self.mask(condition);
                let chosen = self.rm(yes, access);
                let to = self.result();
                self.push(Ins::new(code).def(to, view).reg(other, view).rm(chosen, view, access).under(mask));
            } else {
                let mask = self.reg(condition);
                let chosen = self.rm(yes, access);
                let to = self.result();
                self.push(Ins::new(code).def(to, view).reg(other, view).rm(chosen, view, access).reg(mask, view));
            }
            return Ok(());
        }
        let (mask, yes) = (self.reg(condition), self.reg(yes));
        if self.evex() {
            let code = self.code(&table::TERNARY, shape)?;
            let other = self.rm(no, access);
            let to = self.result();
            // mask ? yes : no, for the bits mask·4 + yes·2 + no
            self.push(Ins::new(code).tied(mask, to, view).reg(yes, view).rm(other, view, access).imm(0b1100_1010));
            return Ok(());
        }
        let other = self.reg(no);
        let (and, andn, or) =
            (self.code(&table::AND, shape)?, self.code(&table::ANDN, shape)?, self.code(&table::OR, shape)?);
        let (a, b, to) = (self.temp(), self.temp(), self.result());
        self.push(Ins::new(and).def(a, view).reg(mask, view).reg(yes, view));
        self.push(Ins::new(andn).def(b, view).reg(mask, view).reg(other, view));
        self.push(Ins::new(or).def(to, view).reg(a, view).reg(b, view));
        Ok(())
    }

    /// A choice between floats or vectors by a truth value.
    pub(super) fn select_float(&mut self, inst: Inst) -> Result<()> {
        let [condition, yes, no] = self.args3(inst);
        let result = self.f.dfg.first_result(inst);
        let shape = self.shape(self.ty(result))?;
        let view = shape.view();
        if self.ty(result).is_float()
            && let Some((smaller, a, b)) = self.extreme_of(condition, yes, no)
        {
            return self.binary(if smaller { &table::MIN } else { &table::MAX }, a, b, shape, false);
        }
        // The registers first: what sets the flags stands right before what reads them.
        let (yes, no) = (self.reg(yes), self.reg(no));
        let blend = self.code(&table::BLEND, shape)?;
        let (unset, to) = (self.temp_int(), self.result());
        let reg = self.reg(condition);
        let code = match self.ty(condition) {
            types::I8 => (Code::Cmp_rm8_imm8, View::R8),
            types::I32 => (Code::Cmp_rm32_imm8, View::R32),
            types::I64 => (Code::Cmp_rm64_imm8, View::R64),
            _ => return Err(self.refuse(inst)),
        };
        self.push(Ins::new(code.0).reg(reg, code.1).imm(1));
        // All ones where the condition is zero.
        self.push(Ins::new(Code::Sbb_r32_rm32).def(unset, View::R32).again(0, View::R32));
        if self.evex() {
            let mask = self.temp_mask();
            self.push(Ins::new(Code::VEX_Kmovd_kr_r32).def(mask, View::K).reg(unset, View::R32));
            self.push(Ins::new(blend).def(to, view).reg(yes, view).reg(no, view).under(mask));
            return Ok(());
        }
        let (low, all) = (self.temp(), self.temp());
        self.push(Ins::new(Code::VEX_Vmovd_xmm_rm32).def(low, View::Xmm).reg(unset, View::R32));
        let spread = self.code(&table::BROADCAST, Shape { lane: 0, ..shape.packed() })?;
        self.push(Ins::new(spread).def(all, view).reg(low, View::Xmm));
        self.push(Ins::new(blend).def(to, view).reg(yes, view).reg(no, view).reg(all, view));
        Ok(())
    }

    /// `band`, `bor`, `bxor` and `bnot` on vectors.
    pub(super) fn logic(&mut self, inst: Inst) -> Result<()> {
        let opcode = self.data(inst).opcode();
        let result = self.f.dfg.first_result(inst);
        let args = self.f.dfg.inst_args(inst).to_vec();
        if self.evex() && self.is_truth_value(result) {
            let to = self.truth_result(result);
            let masks: Vec<VReg> = args.iter().map(|&v| self.mask(v)).collect();
            let code = match opcode {
                Opcode::Band => Code::VEX_Kandw_kr_kr_kr,
                Opcode::Bor => Code::VEX_Korw_kr_kr_kr,
                Opcode::Bxor => Code::VEX_Kxorw_kr_kr_kr,
                _ => Code::VEX_Knotw_kr_kr,
            };
            let ins = masks.iter().fold(Ins::new(code).def(to, View::K), |ins, &mask| ins.reg(mask, View::K));
            self.push(ins);
            return self.expanded(result, to);
        }
        let shape = self.shape(self.ty(result))?;
        match opcode {
            Opcode::Band => self.binary(&table::AND, args[0], args[1], shape, true),
            Opcode::Bor => self.binary(&table::OR, args[0], args[1], shape, true),
            Opcode::Bxor => self.binary(&table::XOR, args[0], args[1], shape, true),
            _ => {
                let ones = self.bits(shape, u64::MAX);
                let code = self.code(&table::XOR, shape)?;
                let from = self.reg(args[0]);
                let (to, view, access) = (self.result(), shape.view(), self.access(shape));
                self.push(Ins::new(code).def(to, view).reg(from, view).rm(Rm::Reg(ones), view, access));
                Ok(())
            }
        }
    }

    /// A comparison of integers in lanes.
    pub(super) fn icmp_vector(&mut self, inst: Inst) -> Result<()> {
        let InstructionData::IntCompare { cond, .. } = self.data(inst) else { return Err(self.refuse(inst)) };
        let result = self.f.dfg.first_result(inst);
        let [a, b] = self.args2(inst);
        let shape = self.shape(self.ty(a))?;
        if self.ty(a).lane_bits() < 32 {
            return Err(self.refuse(inst));
        }
        let (view, access) = (shape.view(), self.access(shape));
        if self.evex() {
            let (predicate, signed) = match cond {
                IntCC::Equal => (0, true),
                IntCC::NotEqual => (4, true),
                IntCC::SignedLessThan => (1, true),
                IntCC::SignedLessThanOrEqual => (2, true),
                IntCC::SignedGreaterThanOrEqual => (5, true),
                IntCC::SignedGreaterThan => (6, true),
                IntCC::UnsignedLessThan => (1, false),
                IntCC::UnsignedLessThanOrEqual => (2, false),
                IntCC::UnsignedGreaterThanOrEqual => (5, false),
                IntCC::UnsignedGreaterThan => (6, false),
            };
            let code = self.code(if signed { &table::ICOMPARE } else { &table::UCOMPARE }, shape)?;
            let (left, right) = (self.reg(a), self.rm(b, access));
            let mask = self.truth_result(result);
            self.push(Ins::new(code).def(mask, View::K).reg(left, view).rm(right, view, access).imm(predicate));
            return self.expanded(result, mask);
        }
        let (mut left, mut right) = (self.reg(a), self.reg(b));
        let xor = self.code(&table::XOR, shape)?;
        let unsigned = cond.unsigned() == cond && !matches!(cond, IntCC::Equal | IntCC::NotEqual);
        if unsigned {
            let sign = self.bits(shape, if shape.lane == 0 { 1 << 31 } else { 1 << 63 });
            for side in [&mut left, &mut right] {
                let flipped = self.temp();
                self.push(Ins::new(xor).def(flipped, view).reg(*side, view).reg(sign, view));
                *side = flipped;
            }
        }
        let (op, swap, not) = match cond {
            IntCC::Equal => (&table::EQUAL, false, false),
            IntCC::NotEqual => (&table::EQUAL, false, true),
            IntCC::SignedGreaterThan | IntCC::UnsignedGreaterThan => (&table::GREATER, false, false),
            IntCC::SignedLessThan | IntCC::UnsignedLessThan => (&table::GREATER, true, false),
            IntCC::SignedLessThanOrEqual | IntCC::UnsignedLessThanOrEqual => (&table::GREATER, false, true),
            IntCC::SignedGreaterThanOrEqual | IntCC::UnsignedGreaterThanOrEqual => (&table::GREATER, true, true),
        };
        let (left, right) = if swap { (right, left) } else { (left, right) };
        let code = self.code(op, shape)?;
        let to = self.result();
        let found = if not { self.temp() } else { to };
        self.push(Ins::new(code).def(found, view).reg(left, view).reg(right, view));
        if not {
            let ones = self.bits(shape, u64::MAX);
            self.push(Ins::new(xor).def(to, view).reg(found, view).reg(ones, view));
        }
        Ok(())
    }

    /// Arithmetic on integers in lanes.
    pub(super) fn int_vector(&mut self, inst: Inst) -> Result<()> {
        use Opcode::*;
        let result = self.f.dfg.first_result(inst);
        let shape = self.shape(self.ty(result))?;
        let args = self.f.dfg.inst_args(inst).to_vec();
        match self.data(inst).opcode() {
            Iadd => self.binary(&table::IADD, args[0], args[1], shape, true),
            Isub => self.binary(&table::ISUB, args[0], args[1], shape, false),
            Imul => self.binary(&table::IMUL, args[0], args[1], shape, true),
            Smin => self.binary(&table::SMIN, args[0], args[1], shape, true),
            Smax => self.binary(&table::SMAX, args[0], args[1], shape, true),
            Umin => self.binary(&table::UMIN, args[0], args[1], shape, true),
            Umax => self.binary(&table::UMAX, args[0], args[1], shape, true),
            Ineg => {
                let (zero, code) = (self.bits(shape, 0), self.code(&table::ISUB, shape)?);
                let from = self.reg(args[0]);
                let (to, view) = (self.result(), shape.view());
                self.push(Ins::new(code).def(to, view).reg(zero, view).reg(from, view));
                Ok(())
            }
            Ishl => self.shift_lanes(&table::SHIFT_LEFT, &table::SHIFT_LEFT_BY, args[0], args[1], shape),
            Ushr => self.shift_lanes(&table::SHIFT_RIGHT, &table::SHIFT_RIGHT_BY, args[0], args[1], shape),
            Sshr => self.shift_lanes(&table::SHIFT_SIGN, &table::SHIFT_SIGN_BY, args[0], args[1], shape),
            _ => Err(self.refuse(inst)),
        }
    }

    fn shift_lanes(&mut self, by_imm: &Op, by_reg: &Op, a: Value, by: Value, shape: Shape) -> Result<()> {
        let view = shape.view();
        let most = i64::from(shape.lane_bytes()) * 8 - 1;
        if let Some(n) = self.int_constant(by) {
            let code = self.code(by_imm, shape)?;
            let from = self.reg(a);
            let to = self.result();
            self.push(Ins::new(code).def(to, view).reg(from, view).imm(n & most));
            return Ok(());
        }
        let code = self.code(by_reg, shape)?;
        let (from, count) = (self.reg(a), self.reg(by));
        let (masked, vector) = (self.temp_int(), self.temp());
        self.push(Ins::new(Code::And_rm32_imm8).tied(count, masked, View::R32).imm(most));
        let mov = if self.evex() { Code::EVEX_Vmovd_xmm_rm32 } else { Code::VEX_Vmovd_xmm_rm32 };
        self.push(Ins::new(mov).def(vector, View::Xmm).reg(masked, View::R32));
        let to = self.result();
        self.push(Ins::new(code).def(to, view).reg(from, view).reg(vector, View::Xmm));
        Ok(())
    }

    /// Between general registers and scalars.
    pub(super) fn bitcast(&mut self, inst: Inst) -> Result<()> {
        let from = self.f.dfg.inst_args(inst)[0];
        let result = self.f.dfg.first_result(inst);
        let (ty, old) = (self.ty(result), self.ty(from));
        let reg = self.reg(from);
        let to = self.result();
        let wide = usize::from(ty.bits() == 64);
        let view = [View::R32, View::R64][wide];
        let is_int = |ty: types::Type| ty.is_int() && !ty.is_vector();
        match (is_int(old), is_int(ty)) {
            (true, true) => {
                self.push(Ins::new(Code::Mov_r64_rm64).def(to, View::R64).reg(reg, View::R64));
            }
            (true, false) if matches!(ty.bits(), 32 | 64) => {
                let code = match self.evex() {
                    true => [Code::EVEX_Vmovd_xmm_rm32, Code::EVEX_Vmovq_xmm_rm64],
                    false => [Code::VEX_Vmovd_xmm_rm32, Code::VEX_Vmovq_xmm_rm64],
                };
                self.push(Ins::new(code[wide]).def(to, View::Xmm).reg(reg, view));
            }
            (false, true) if matches!(ty.bits(), 32 | 64) => {
                let code = match self.evex() {
                    true => [Code::EVEX_Vmovd_rm32_xmm, Code::EVEX_Vmovq_rm64_xmm],
                    false => [Code::VEX_Vmovd_rm32_xmm, Code::VEX_Vmovq_rm64_xmm],
                };
                self.push(Ins::new(code[wide]).def(to, view).reg(reg, View::Xmm));
            }
            _ => return Err(self.refuse(inst)),
        }
        Ok(())
    }

    pub(super) fn move_lanes(&mut self, inst: Inst) -> Result<()> {
        let args = self.f.dfg.inst_args(inst).to_vec();
        let result = self.f.dfg.first_result(inst);
        let ty = self.ty(if self.ty(result).is_vector() { result } else { args[0] });
        if ty.lane_bits() < 32 {
            return Err(self.refuse(inst));
        }
        let shape = self.shape(ty)?;
        match self.data(inst) {
            InstructionData::Unary { opcode: Opcode::Splat, arg } => self.splat(arg, shape),
            InstructionData::Unary { opcode: Opcode::ScalarToVector, arg } => {
                let to = self.result();
                self.lowest(arg, to, shape)
            }
            InstructionData::TernaryImm8 { imm, .. } => {
                if self.gathered(inst, shape)? {
                    return Ok(());
                }
                self.insert(args[0], args[1], imm, shape)
            }
            InstructionData::BinaryImm8 { imm, .. } => self.extract(args[0], imm, shape),
            _ => Err(self.refuse(inst)),
        }
    }

    fn splat(&mut self, arg: Value, shape: Shape) -> Result<()> {
        let view = shape.view();
        let lane = Access { bytes: shape.lane_bytes(), broadcast: 0 };
        let spread = self.code(&table::BROADCAST, shape)?;
        if self.ty(arg).is_float() {
            let from = self.rm(arg, lane);
            let to = self.result();
            self.push(Ins::new(spread).def(to, view).rm(from, View::Xmm, lane));
            return Ok(());
        }
        let int = self.reg(arg);
        let to = self.result();
        let part = [View::R32, View::R64][shape.lane];
        if self.evex() {
            let code = self.code(&table::BROADCAST_INT, shape)?;
            self.push(Ins::new(code).def(to, view).reg(int, part));
            return Ok(());
        }
        let low = self.temp();
        let code = [Code::VEX_Vmovd_xmm_rm32, Code::VEX_Vmovq_xmm_rm64][shape.lane];
        self.push(Ins::new(code).def(low, View::Xmm).reg(int, part));
        self.push(Ins::new(spread).def(to, view).reg(low, View::Xmm));
        Ok(())
    }

    /// A scalar in the lowest lane and zeros in all others.
    fn lowest(&mut self, arg: Value, to: VReg, shape: Shape) -> Result<()> {
        let scalar = Shape { width: Width::Scalar, ..shape };
        if !self.ty(arg).is_float() {
            let int = self.reg(arg);
            let code = match self.evex() {
                true => [Code::EVEX_Vmovd_xmm_rm32, Code::EVEX_Vmovq_xmm_rm64],
                false => [Code::VEX_Vmovd_xmm_rm32, Code::VEX_Vmovq_xmm_rm64],
            };
            let view = [View::R32, View::R64][shape.lane];
            self.push(Ins::new(code[shape.lane]).def(to, View::Xmm).reg(int, view));
            return Ok(());
        }
        let access = self.access(scalar);
        let load = self.code(&table::LOAD, scalar)?;
        match self.rm(arg, access) {
            Rm::Mem(mem) => self.push(Ins::new(load).def(to, View::Xmm).mem(mem)),
            Rm::Reg(reg) if shape.lane == 0 => {
                let code = if self.evex() {
                    Code::EVEX_Vinsertps_xmm_xmm_xmmm32_imm8
                } else {
                    Code::VEX_Vinsertps_xmm_xmm_xmmm32_imm8
                };
                // Lane 0 to lane 0, the others zero.
                let ins = Ins::new(code).def(to, View::Xmm).reg(reg, View::Xmm).again(1, View::Xmm);
                self.push(ins.imm(0b1110));
            }
            Rm::Reg(reg) => {
                let code = if self.evex() { Code::EVEX_Vmovq_xmm_xmmm64 } else { Code::VEX_Vmovq_xmm_xmmm64 };
                self.push(Ins::new(code).def(to, View::Xmm).rm(Rm::Reg(reg), View::Xmm, access));
            }
        }
        Ok(())
    }

    /// A whole vector that is built lane by lane: four (or two) lanes at a time, then these together.
    fn gathered(&mut self, inst: Inst, shape: Shape) -> Result<bool> {
        let count = usize::from(shape.lanes());
        let mut lanes: Vec<Option<Value>> = vec![None; count];
        let mut last = inst;
        loop {
            match self.data(last) {
                InstructionData::TernaryImm8 { opcode: Opcode::Insertlane, imm, args } => {
                    let lane = &mut lanes[usize::from(imm)];
                    if lane.is_none() {
                        *lane = Some(args[1]);
                    }
                    let below = args[0];
                    match self.def(below) {
                        Some(next) if self.uses(below) == 1 && lanes.iter().any(Option::is_none) => last = next,
                        _ => break,
                    }
                }
                InstructionData::Unary { opcode: Opcode::ScalarToVector, arg } => {
                    lanes[0] = lanes[0].or(Some(arg));
                    break;
                }
                _ => break,
            }
        }
        let Some(lanes) = lanes.into_iter().collect::<Option<Vec<Value>>>() else { return Ok(false) };
        if !self.ty(lanes[0]).is_float() {
            return Ok(false);
        }
        let quarter = Shape { width: Width::W128, ..shape };
        let to = self.result();
        let mut parts = Vec::new();
        for lanes in lanes.chunks(usize::from(quarter.lanes())) {
            let part = if shape.width == Width::W128 { to } else { self.temp() };
            self.quarter(lanes, quarter, part)?;
            parts.push(part);
        }
        self.joined(&parts, to);
        Ok(true)
    }

    /// A vector of 128 bits from its lanes.
    fn quarter(&mut self, lanes: &[Value], shape: Shape, to: VReg) -> Result<()> {
        let lane = Access { bytes: shape.lane_bytes(), broadcast: 0 };
        let scalar = Shape { width: Width::Scalar, ..shape };
        let mut whole = match self.rm(lanes[0], lane) {
            Rm::Reg(reg) => reg,
            Rm::Mem(mem) => {
                let (to, load) = (self.temp(), self.code(&table::LOAD, scalar)?);
                self.push(Ins::new(load).def(to, View::Xmm).mem(mem));
                to
            }
        };
        for (n, &value) in (0i64..).zip(lanes).skip(1) {
            let next = if usize::try_from(n).is_ok_and(|n| n + 1 == lanes.len()) { to } else { self.temp() };
            if shape.lane == 0 {
                let code = match self.evex() {
                    true => Code::EVEX_Vinsertps_xmm_xmm_xmmm32_imm8,
                    false => Code::VEX_Vinsertps_xmm_xmm_xmmm32_imm8,
                };
                let from = self.rm(value, lane);
                let ins = Ins::new(code).def(next, View::Xmm).reg(whole, View::Xmm);
                self.push(ins.rm(from, View::Xmm, lane).imm(n << 4));
            } else {
                let from = self.reg(value);
                self.push(Ins::new(self.low_pair()).def(next, View::Xmm).reg(whole, View::Xmm).reg(from, View::Xmm));
            }
            whole = next;
        }
        Ok(())
    }

    /// `dst, a, b`: the lower 64 bits of both.
    fn low_pair(&self) -> Code {
        if self.evex() { Code::EVEX_Vmovlhps_xmm_xmm_xmm } else { Code::VEX_Vmovlhps_xmm_xmm_xmm }
    }

    /// Two or four vectors of 128 bits as one.
    fn joined(&mut self, parts: &[VReg], to: VReg) {
        let two = |this: &mut Self, to: VReg, low: VReg, high: VReg| {
            let code = match this.evex() {
                true => Code::EVEX_Vinsertf32x4_ymm_k1z_ymm_xmmm128_imm8,
                false => Code::VEX_Vinsertf128_ymm_ymm_xmmm128_imm8,
            };
            this.push(Ins::new(code).def(to, View::Ymm).reg(low, View::Ymm).reg(high, View::Xmm).imm(1));
        };
        match *parts {
            [a, b] => two(self, to, a, b),
            [a, b, c, d] => {
                let (low, high) = (self.temp(), self.temp());
                two(self, low, a, b);
                two(self, high, c, d);
                let code = Code::EVEX_Vinsertf64x4_zmm_k1z_zmm_ymmm256_imm8;
                self.push(Ins::new(code).def(to, View::Zmm).reg(low, View::Zmm).reg(high, View::Ymm).imm(1));
            }
            _ => {}
        }
    }

    /// The 128 bits around a lane.
    fn part(&mut self, from: VReg, at: u8, shape: Shape) -> VReg {
        let code = match (self.evex(), shape.width) {
            (_, Width::Scalar | Width::W128) => return from,
            (false, _) => Code::VEX_Vextractf128_xmmm128_ymm_imm8,
            (true, Width::W256) => Code::EVEX_Vextractf32x4_xmmm128_k1z_ymm_imm8,
            (true, Width::W512) => Code::EVEX_Vextractf32x4_xmmm128_k1z_zmm_imm8,
        };
        if at == 0 {
            return from;
        }
        let to = self.temp();
        self.push(Ins::new(code).def(to, View::Xmm).reg(from, shape.view()).imm(i64::from(at)));
        to
    }

    /// A vector with one lane replaced.
    fn insert(&mut self, vector: Value, scalar: Value, lane: u8, shape: Shape) -> Result<()> {
        let each = 16 / shape.lane_bytes();
        let (at, within) = (lane / each, i64::from(lane % each));
        let whole = self.reg(vector);
        let is_float = self.ty(scalar).is_float();
        let new = self.reg(scalar);
        let old = self.part(whole, at, shape);
        let to = self.result();
        let single = shape.width == Width::W128;
        let changed = if single { to } else { self.temp() };
        let x = View::Xmm;
        let evex = self.evex();
        match (is_float, shape.lane) {
            (true, 0) => {
                let code = match evex {
                    true => Code::EVEX_Vinsertps_xmm_xmm_xmmm32_imm8,
                    false => Code::VEX_Vinsertps_xmm_xmm_xmmm32_imm8,
                };
                self.push(Ins::new(code).def(changed, x).reg(old, x).reg(new, x).imm(within << 4));
            }
            (true, _) if within == 0 => {
                let code = if evex { Code::EVEX_Vmovsd_xmm_k1z_xmm_xmm } else { Code::VEX_Vmovsd_xmm_xmm_xmm };
                self.push(Ins::new(code).def(changed, x).reg(old, x).reg(new, x));
            }
            (true, _) => self.push(Ins::new(self.low_pair()).def(changed, x).reg(old, x).reg(new, x)),
            (false, lane) => {
                let code = match evex {
                    true => [Code::EVEX_Vpinsrd_xmm_xmm_rm32_imm8, Code::EVEX_Vpinsrq_xmm_xmm_rm64_imm8],
                    false => [Code::VEX_Vpinsrd_xmm_xmm_rm32_imm8, Code::VEX_Vpinsrq_xmm_xmm_rm64_imm8],
                };
                let view = [View::R32, View::R64][lane];
                self.push(Ins::new(code[lane]).def(changed, x).reg(old, x).reg(new, view).imm(within));
            }
        }
        if !single {
            let code = match (evex, shape.width) {
                (false, _) => Code::VEX_Vinsertf128_ymm_ymm_xmmm128_imm8,
                (true, Width::W256) => Code::EVEX_Vinsertf32x4_ymm_k1z_ymm_xmmm128_imm8,
                (true, _) => Code::EVEX_Vinsertf32x4_zmm_k1z_zmm_xmmm128_imm8,
            };
            let view = shape.view();
            self.push(Ins::new(code).def(to, view).reg(whole, view).reg(changed, x).imm(i64::from(at)));
        }
        Ok(())
    }

    /// One lane. (Lane 0 of floats shares the vector's register.)
    fn extract(&mut self, vector: Value, lane: u8, shape: Shape) -> Result<()> {
        let result = self.f.dfg.first_result(self.inst);
        let each = 16 / shape.lane_bytes();
        let whole = self.reg(vector);
        let to = self.result();
        let x = View::Xmm;
        let evex = self.evex();
        if self.ty(result).is_float() && evex && lane >= each {
            let code = self.code(&table::ALIGN, shape)?;
            let view = shape.view();
            self.push(Ins::new(code).def(to, view).reg(whole, view).again(1, view).imm(i64::from(lane)));
            return Ok(());
        }
        if self.ty(result).is_float() && lane.is_multiple_of(each) {
            let code = Code::VEX_Vextractf128_xmmm128_ymm_imm8;
            self.push(Ins::new(code).def(to, x).reg(whole, View::Ymm).imm(i64::from(lane / each)));
            return Ok(());
        }
        let (part, within) = (self.part(whole, lane / each, shape), i64::from(lane % each));
        match (self.ty(result).is_float(), shape.lane) {
            (true, 0) => {
                let code = match evex {
                    true => Code::EVEX_Vpermilps_xmm_k1z_xmmm128b32_imm8,
                    false => Code::VEX_Vpermilps_xmm_xmmm128_imm8,
                };
                self.push(Ins::new(code).def(to, x).reg(part, x).imm(within));
            }
            (true, _) => {
                let code = match evex {
                    true => Code::EVEX_Vpermilpd_xmm_k1z_xmmm128b64_imm8,
                    false => Code::VEX_Vpermilpd_xmm_xmmm128_imm8,
                };
                self.push(Ins::new(code).def(to, x).reg(part, x).imm(within));
            }
            (false, lane) => {
                let code = match evex {
                    true => [Code::EVEX_Vpextrd_rm32_xmm_imm8, Code::EVEX_Vpextrq_rm64_xmm_imm8],
                    false => [Code::VEX_Vpextrd_rm32_xmm_imm8, Code::VEX_Vpextrq_rm64_xmm_imm8],
                };
                let view = [View::R32, View::R64][lane];
                self.push(Ins::new(code[lane]).def(to, view).reg(part, x).imm(within));
            }
        }
        Ok(())
    }
}
