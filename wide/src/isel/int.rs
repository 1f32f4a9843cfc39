//! Scalar integers. Bits above a type's own are undefined in its register.

use cranelift_codegen::ir::condcodes::{CondCode, IntCC};
use cranelift_codegen::ir::{Inst, InstructionData, Opcode, Type, Value, types};
use iced_x86::Code;
use regalloc2::VReg;

use super::wants::load_int;
use super::{Result, Select};
use crate::inst::{Access, Base, Flag, Ins, Mem, Rm, View};
use crate::ra;

/// An operation `dst = dst op src`, by size.
struct Alu {
    reg: [Code; 2],
    imm8: [Code; 2],
    imm32: [Code; 2],
}

const ADD: Alu = Alu {
    reg: [Code::Add_r32_rm32, Code::Add_r64_rm64],
    imm8: [Code::Add_rm32_imm8, Code::Add_rm64_imm8],
    imm32: [Code::Add_rm32_imm32, Code::Add_rm64_imm32],
};
const SUB: Alu = Alu {
    reg: [Code::Sub_r32_rm32, Code::Sub_r64_rm64],
    imm8: [Code::Sub_rm32_imm8, Code::Sub_rm64_imm8],
    imm32: [Code::Sub_rm32_imm32, Code::Sub_rm64_imm32],
};
const AND: Alu = Alu {
    reg: [Code::And_r32_rm32, Code::And_r64_rm64],
    imm8: [Code::And_rm32_imm8, Code::And_rm64_imm8],
    imm32: [Code::And_rm32_imm32, Code::And_rm64_imm32],
};
const OR: Alu = Alu {
    reg: [Code::Or_r32_rm32, Code::Or_r64_rm64],
    imm8: [Code::Or_rm32_imm8, Code::Or_rm64_imm8],
    imm32: [Code::Or_rm32_imm32, Code::Or_rm64_imm32],
};
const XOR: Alu = Alu {
    reg: [Code::Xor_r32_rm32, Code::Xor_r64_rm64],
    imm8: [Code::Xor_rm32_imm8, Code::Xor_rm64_imm8],
    imm32: [Code::Xor_rm32_imm32, Code::Xor_rm64_imm32],
};

/// Whether 64 bits are worked on, and as which part of a register.
fn size(ty: Type) -> (usize, View) {
    if ty == types::I64 { (1, View::R64) } else { (0, View::R32) }
}

impl Select<'_> {
    pub(super) fn int(&mut self, inst: Inst) -> Result<()> {
        use Opcode::*;
        let result = self.f.dfg.first_result(inst);
        let ty = self.ty(result);
        let (wide, view) = size(ty);
        let args = self.f.dfg.inst_args(inst).to_vec();
        let opcode = self.data(inst).opcode();
        match opcode {
            Iadd => self.add(args[0], args[1], ty),
            Isub => self.alu(&SUB, args[0], args[1], ty, false),
            Band => self.alu(&AND, args[0], args[1], ty, true),
            Bor => self.alu(&OR, args[0], args[1], ty, true),
            Bxor => self.alu(&XOR, args[0], args[1], ty, true),
            Imul => self.multiply(args[0], args[1], ty),
            Ineg | Bnot => {
                let code = match opcode {
                    Ineg => [Code::Neg_rm32, Code::Neg_rm64],
                    _ => [Code::Not_rm32, Code::Not_rm64],
                };
                let from = self.reg(args[0]);
                let to = self.result();
                self.push(Ins::new(code[wide]).tied(from, to, view));
                Ok(())
            }
            Ishl | Ushr | Sshr => self.shift(opcode, args[0], args[1], ty),
            Uextend | Sextend => self.extend(opcode == Sextend, args[0]),
            Udiv | Urem | Sdiv | Srem => self.divide(opcode, args[0], args[1], ty),
            Smin | Smax | Umin | Umax => {
                let flag = match opcode {
                    Smin => Flag::Less,
                    Smax => Flag::Greater,
                    Umin => Flag::Below,
                    _ => Flag::Above,
                };
                if !matches!(ty, types::I32 | types::I64) {
                    return Err(self.refuse(inst));
                }
                let (a, b) = (self.reg(args[0]), self.reg(args[1]));
                let compare = [Code::Cmp_r32_rm32, Code::Cmp_r64_rm64][wide];
                self.push(Ins::new(compare).reg(a, view).reg(b, view));
                let to = self.result();
                self.push(Ins::new(conditional_move(flag)).tied(b, to, View::R64).reg(a, View::R64));
                Ok(())
            }
            Bitselect if ty.bits() <= 64 => {
                // no ^ ((no ^ yes) & mask)
                let (mask, yes, no) = (self.reg(args[0]), self.reg(args[1]), self.reg(args[2]));
                let (differ, chosen, to) = (self.temp_int(), self.temp_int(), self.result());
                self.push(Ins::new(XOR.reg[1]).tied(yes, differ, View::R64).reg(no, View::R64));
                self.push(Ins::new(AND.reg[1]).tied(differ, chosen, View::R64).reg(mask, View::R64));
                self.push(Ins::new(XOR.reg[1]).tied(chosen, to, View::R64).reg(no, View::R64));
                Ok(())
            }
            _ => Err(self.refuse(inst)),
        }
    }

    /// `a op b` in the result.
    fn alu(&mut self, op: &Alu, a: Value, b: Value, ty: Type, commutes: bool) -> Result<()> {
        let (wide, view) = size(ty);
        let swap = commutes && (self.int_constant(a).is_some() || (self.dies(b) && !self.dies(a)));
        let (a, b) = if swap && self.int_constant(b).is_none() { (b, a) } else { (a, b) };
        if let Some(n) = self.int_constant(b).filter(|&n| i32::try_from(n).is_ok()) {
            let from = self.reg(a);
            let to = self.result();
            let code = if i8::try_from(n).is_ok() { op.imm8[wide] } else { op.imm32[wide] };
            self.push(Ins::new(code).tied(from, to, view).imm(n));
            return Ok(());
        }
        let from = self.reg(a);
        // Narrower memory must not be read past its end.
        let (rm, access) = if ty.bytes() >= 4 {
            self.rm_int(b, ty.bytes() as u8)
        } else {
            (Rm::Reg(self.reg(b)), Access { bytes: 4, broadcast: 0 })
        };
        let to = self.result();
        self.push(Ins::new(op.reg[wide]).tied(from, to, view).rm(rm, view, access));
        Ok(())
    }

    fn add(&mut self, a: Value, b: Value, ty: Type) -> Result<()> {
        let (a, b) = if self.int_constant(a).is_some() { (b, a) } else { (a, b) };
        let n = self.int_constant(b).and_then(|n| i32::try_from(n).ok());
        let dies = self.dies(a) || (n.is_none() && self.dies(b));
        if dies || ty.bytes() < 4 || self.sinks(a, ty.bytes()).is_some() || self.sinks(b, ty.bytes()).is_some() {
            let swap = self.sinks(a, ty.bytes()).is_some() && n.is_none();
            let (a, b) = if swap { (b, a) } else { (a, b) };
            return self.alu(&ADD, a, b, ty, !swap);
        }
        let base = self.reg(a);
        let mem = match n {
            Some(disp) => Mem { base: Base::Reg(base), index: None, disp, broadcast: false },
            None => {
                let index = self.reg(b);
                Mem { base: Base::Reg(base), index: Some((index, 1)), disp: 0, broadcast: false }
            }
        };
        let (wide, view) = size(ty);
        let code = [Code::Lea_r32_m, Code::Lea_r64_m][wide];
        let to = self.result();
        self.push(Ins::new(code).def(to, view).mem(mem));
        Ok(())
    }

    fn multiply(&mut self, a: Value, b: Value, ty: Type) -> Result<()> {
        let (wide, view) = size(ty);
        let (a, b) = if self.int_constant(a).is_some() { (b, a) } else { (a, b) };
        if let Some(n) = self.int_constant(b).filter(|&n| i32::try_from(n).is_ok()) {
            let code = [Code::Imul_r32_rm32_imm32, Code::Imul_r64_rm64_imm32][wide];
            let from = self.reg(a);
            let to = self.result();
            self.push(Ins::new(code).def(to, view).reg(from, view).imm(n));
            return Ok(());
        }
        let (a, b) = if self.dies(b) && !self.dies(a) { (b, a) } else { (a, b) };
        let code = [Code::Imul_r32_rm32, Code::Imul_r64_rm64][wide];
        let (from, by) = (self.reg(a), self.reg(b));
        let to = self.result();
        self.push(Ins::new(code).tied(from, to, view).reg(by, view));
        Ok(())
    }

    fn shift(&mut self, opcode: Opcode, a: Value, by: Value, ty: Type) -> Result<()> {
        let (wide, view) = size(ty);
        let mut from = self.reg(a);
        if ty.bits() < 32 && opcode != Opcode::Ishl {
            let whole = self.temp_int();
            self.push(widened(whole, Rm::Reg(from), ty, opcode == Opcode::Sshr));
            from = whole;
        }
        if let Some(n) = self.int_constant(by) {
            let n = n & i64::from(ty.bits() - 1);
            let code = match opcode {
                Opcode::Ishl => [Code::Shl_rm32_imm8, Code::Shl_rm64_imm8],
                Opcode::Ushr => [Code::Shr_rm32_imm8, Code::Shr_rm64_imm8],
                _ => [Code::Sar_rm32_imm8, Code::Sar_rm64_imm8],
            };
            let to = self.result();
            self.push(Ins::new(code[wide]).tied(from, to, view).imm(n));
            return Ok(());
        }
        if ty.bits() < 32 {
            return Err(self.refuse(self.inst));
        }
        let code = match opcode {
            Opcode::Ishl => [Code::VEX_Shlx_r32_rm32_r32, Code::VEX_Shlx_r64_rm64_r64],
            Opcode::Ushr => [Code::VEX_Shrx_r32_rm32_r32, Code::VEX_Shrx_r64_rm64_r64],
            _ => [Code::VEX_Sarx_r32_rm32_r32, Code::VEX_Sarx_r64_rm64_r64],
        };
        let by = self.reg(by);
        let to = self.result();
        self.push(Ins::new(code[wide]).def(to, view).reg(from, view).reg(by, view));
        Ok(())
    }

    fn extend(&mut self, signed: bool, a: Value) -> Result<()> {
        let from = self.ty(a);
        let (rm, _) = self.rm_int(a, from.bytes() as u8);
        let to = self.result();
        self.push(widened(to, rm, from, signed));
        Ok(())
    }

    /// Division by a register, between fixed registers.
    fn divide(&mut self, opcode: Opcode, a: Value, b: Value, ty: Type) -> Result<()> {
        let (wide, view) = size(ty);
        let signed = matches!(opcode, Opcode::Sdiv | Opcode::Srem);
        let quotient = matches!(opcode, Opcode::Sdiv | Opcode::Udiv);
        if !matches!(ty, types::I32 | types::I64) {
            return Err(self.refuse(self.inst));
        }
        if let Some(n) = self.int_constant(b)
            && !signed
            && n > 0
            && n & (n - 1) == 0
        {
            let from = self.reg(a);
            let to = self.result();
            if quotient {
                let code = [Code::Shr_rm32_imm8, Code::Shr_rm64_imm8][wide];
                self.push(Ins::new(code).tied(from, to, view).imm(i64::from(n.trailing_zeros())));
            } else if let Ok(mask) = i32::try_from(n - 1) {
                self.push(Ins::new(AND.imm32[wide]).tied(from, to, view).imm(i64::from(mask)));
            } else {
                let mask = self.temp_int();
                self.push(load_int(mask, n - 1));
                self.push(Ins::new(AND.reg[wide]).tied(from, to, view).reg(mask, view));
            }
            return Ok(());
        }
        let (low, by) = (self.reg(a), self.reg(b));
        let (rax, rdx) = (ra::int(0), ra::int(2));
        let high = self.temp_int();
        if signed {
            let code = [Code::Cdq, Code::Cqo][wide];
            self.push(Ins::new(code).fixed_use(low, rax).fixed_def(high, rdx));
        } else {
            self.push(load_int(high, 0));
        }
        let code = match signed {
            true => [Code::Idiv_rm32, Code::Idiv_rm64],
            false => [Code::Div_rm32, Code::Div_rm64],
        };
        let (to, other) = (self.result(), self.temp_int());
        let (at_rax, at_rdx) = if quotient { (to, other) } else { (other, to) };
        self.push(
            Ins::new(code[wide])
                .reg(by, view)
                .fixed_use(low, rax)
                .fixed_use(high, rdx)
                .fixed_def(at_rax, rax)
                .fixed_def(at_rdx, rdx),
        );
        Ok(())
    }

    /// Compares into the flags and says when the condition holds.
    pub(super) fn compare_ints(&mut self, inst: Inst) -> Result<Flag> {
        let InstructionData::IntCompare { cond, .. } = self.data(inst) else { return Err(self.refuse(inst)) };
        let [mut a, mut b] = self.args2(inst);
        let mut cond = cond;
        if self.int_constant(a).is_some() {
            (a, b, cond) = (b, a, cond.swap_args());
        }
        let ty = self.ty(a);
        let (view, reg, imm8, imm32) = match ty {
            types::I8 => (View::R8, Code::Cmp_r8_rm8, Code::Cmp_rm8_imm8, Code::Cmp_rm8_imm8),
            types::I32 => (View::R32, Code::Cmp_r32_rm32, Code::Cmp_rm32_imm8, Code::Cmp_rm32_imm32),
            types::I64 => (View::R64, Code::Cmp_r64_rm64, Code::Cmp_rm64_imm8, Code::Cmp_rm64_imm32),
            _ => return Err(self.refuse(inst)),
        };
        // An operand that is compared again elsewhere stays in a register.
        let once = self.uses(self.f.dfg.first_result(inst)) == 1;
        if let Some(n) = self.int_constant(b).filter(|&n| i32::try_from(n).is_ok()) {
            let code = if i8::try_from(n).is_ok() { imm8 } else { imm32 };
            let signed = !matches!(
                cond,
                IntCC::UnsignedLessThan
                    | IntCC::UnsignedLessThanOrEqual
                    | IntCC::UnsignedGreaterThan
                    | IntCC::UnsignedGreaterThanOrEqual
            );
            let left = if once { self.rm_int(a, ty.bytes() as u8).0 } else { Rm::Reg(self.reg(a)) };
            let access = Access { bytes: ty.bytes() as u8, broadcast: 0 };
            match left {
                Rm::Reg(r) if n == 0 && signed => {
                    let test = match ty {
                        types::I8 => Code::Test_rm8_r8,
                        types::I32 => Code::Test_rm32_r32,
                        _ => Code::Test_rm64_r64,
                    };
                    self.push(Ins::new(test).reg(r, view).again(0, view));
                }
                left => self.push(Ins::new(code).rm(left, view, access).imm(n)),
            }
            return Ok(flag_of(cond));
        }
        let left = self.reg(a);
        let right = if once { self.rm_int(b, ty.bytes() as u8).0 } else { Rm::Reg(self.reg(b)) };
        let access = Access { bytes: ty.bytes() as u8, broadcast: 0 };
        self.push(Ins::new(reg).reg(left, view).rm(right, view, access));
        Ok(flag_of(cond))
    }

    pub(super) fn icmp(&mut self, inst: Inst) -> Result<()> {
        let flag = self.compare_ints(inst)?;
        let to = self.result();
        self.push(set(to, flag));
        Ok(())
    }

    pub(super) fn select_int(&mut self, inst: Inst) -> Result<()> {
        let [condition, yes, no] = self.args3(inst);
        let (yes, no) = (self.reg(yes), self.reg(no));
        let flag = self.flags(condition)?;
        let to = self.result();
        self.push(Ins::new(conditional_move(flag)).tied(no, to, View::R64).reg(yes, View::R64));
        Ok(())
    }
}

/// A narrower integer, filled up with zeros or its sign.
pub(super) fn widened(to: VReg, rm: Rm, from: Type, signed: bool) -> Ins {
    let (code, view, part) = match (from, signed) {
        (types::I8, false) => (Code::Movzx_r32_rm8, View::R32, View::R8),
        (types::I16, false) => (Code::Movzx_r32_rm16, View::R32, View::R16),
        (types::I8, true) => (Code::Movsx_r64_rm8, View::R64, View::R8),
        (types::I16, true) => (Code::Movsx_r64_rm16, View::R64, View::R16),
        (_, true) => (Code::Movsxd_r64_rm32, View::R64, View::R32),
        (_, false) => (Code::Mov_r32_rm32, View::R32, View::R32),
    };
    Ins::new(code).def(to, view).rm(rm, part, Access { bytes: from.bytes() as u8, broadcast: 0 })
}

pub(super) fn flag_of(cond: IntCC) -> Flag {
    match cond {
        IntCC::Equal => Flag::Equal,
        IntCC::NotEqual => Flag::NotEqual,
        IntCC::SignedLessThan => Flag::Less,
        IntCC::SignedGreaterThanOrEqual => Flag::GreaterOrEqual,
        IntCC::SignedGreaterThan => Flag::Greater,
        IntCC::SignedLessThanOrEqual => Flag::LessOrEqual,
        IntCC::UnsignedLessThan => Flag::Below,
        IntCC::UnsignedGreaterThanOrEqual => Flag::AboveOrEqual,
        IntCC::UnsignedGreaterThan => Flag::Above,
        IntCC::UnsignedLessThanOrEqual => Flag::BelowOrEqual,
    }
}

/// A flag as 0 or 1 in the lowest byte.
pub(super) fn set(to: VReg, flag: Flag) -> Ins {
    let code = match flag {
        Flag::Below => Code::Setb_rm8,
        Flag::AboveOrEqual => Code::Setae_rm8,
        Flag::Equal => Code::Sete_rm8,
        Flag::NotEqual => Code::Setne_rm8,
        Flag::BelowOrEqual => Code::Setbe_rm8,
        Flag::Above => Code::Seta_rm8,
        Flag::Parity => Code::Setp_rm8,
        Flag::NotParity => Code::Setnp_rm8,
        Flag::Less => Code::Setl_rm8,
        Flag::GreaterOrEqual => Code::Setge_rm8,
        Flag::LessOrEqual => Code::Setle_rm8,
        Flag::Greater => Code::Setg_rm8,
    };
    Ins::new(code).def(to, View::R8)
}

fn conditional_move(flag: Flag) -> Code {
    match flag {
        Flag::Below => Code::Cmovb_r64_rm64,
        Flag::AboveOrEqual => Code::Cmovae_r64_rm64,
        Flag::Equal => Code::Cmove_r64_rm64,
        Flag::NotEqual => Code::Cmovne_r64_rm64,
        Flag::BelowOrEqual => Code::Cmovbe_r64_rm64,
        Flag::Above => Code::Cmova_r64_rm64,
        Flag::Parity => Code::Cmovp_r64_rm64,
        Flag::NotParity => Code::Cmovnp_r64_rm64,
        Flag::Less => Code::Cmovl_r64_rm64,
        Flag::GreaterOrEqual => Code::Cmovge_r64_rm64,
        Flag::LessOrEqual => Code::Cmovle_r64_rm64,
        Flag::Greater => Code::Cmovg_r64_rm64,
    }
}
