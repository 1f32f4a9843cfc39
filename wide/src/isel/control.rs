//! Ends of blocks, calls, and conditions as flags.

use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::{BlockArg, BlockCall, Inst, InstructionData, Opcode, Type, Value, types};
use iced_x86::Code;
use regalloc2::{Operand, PReg, VReg};

use super::order::{Order, edge, jump};
use super::{Result, Select};
use crate::inst::{Block, Flag, INT, Ins, Kind, Rm, View};
use crate::{Unsupported, ra, table};

/// The registers of arguments.
const INT_ARGUMENTS: [usize; 6] = [7, 6, 2, 1, 8, 9];

impl Select<'_> {
    /// The parameters of the function in their registers.
    pub(super) fn entry(&mut self, params: &[VReg]) -> Result<Ins> {
        let mut entry = Ins::of(Kind::Entry);
        for (&param, at) in params.iter().zip(places(params.iter().map(|p| p.class() == INT))?) {
            entry.operand(Operand::reg_fixed_def(param, at));
        }
        Ok(entry)
    }

    pub(super) fn terminator(&mut self, inst: Inst, order: &Order, blocks: &mut [Block]) -> Result<()> {
        let at = order.index[&self.block];
        match self.data(inst) {
            InstructionData::Jump { destination, .. } => {
                let to = destination.block(&self.f.dfg.value_lists);
                let args = self.arguments(&destination)?;
                blocks[at].succs = vec![edge(order.index[&to], args)];
                self.push(jump());
            }
            InstructionData::Brif { arg, blocks: ways, .. } => {
                // The flags are set right before the branch; what parameters need comes on the edges.
                let mut edges = Vec::new();
                let mut ahead = Vec::new();
                for (n, way) in ways.iter().enumerate() {
                    let to = order.index[&way.block(&self.f.dfg.value_lists)];
                    let args = self.arguments(way)?;
                    let needed = std::mem::take(&mut self.now);
                    if let Some(&between) = order.edges.get(&(self.block, n)) {
                        let middle = &mut blocks[between];
                        // Blocks are selected backwards and turned around at the end; these are not.
                        middle.insts = needed;
                        middle.insts.push(jump());
                        middle.succs = vec![edge(to, args)];
                        edges.push(edge(between, Vec::new()));
                    } else {
                        ahead.extend(needed);
                        edges.push(edge(to, args));
                    }
                }
                self.now = ahead;
                let flag = self.flags(arg)?;
                blocks[at].succs = edges;
                self.push(Ins::of(Kind::Branch(flag)));
            }
            InstructionData::MultiAry { opcode: Opcode::Return, .. } => {
                let values = self.f.dfg.inst_args(inst).to_vec();
                let mut back = Ins::of(Kind::Return);
                let mut next = [0; 2];
                for value in values {
                    let is_int = self.is_int(value);
                    let at = match (is_int, next[usize::from(is_int)]) {
                        (true, 0) => ra::int(0),
                        (true, 1) => ra::int(2),
                        (false, n @ 0..2) => ra::vector(n),
                        _ => return Err(self.refuse(inst)),
                    };
                    next[usize::from(is_int)] += 1;
                    let reg = self.reg(value);
                    back = back.fixed_use(reg, at);
                }
                self.push(back);
            }
            _ => return Err(self.refuse(inst)),
        }
        Ok(())
    }

    fn is_int(&self, value: Value) -> bool {
        self.ty(value).is_int() && !self.ty(value).is_vector()
    }

    /// The values for a block's parameters. A constant gets a register of its own, which becomes the parameter's.
    fn arguments(&mut self, call: &BlockCall) -> Result<Vec<VReg>> {
        let mut args = Vec::new();
        for arg in call.args(&self.f.dfg.value_lists).collect::<Vec<_>>() {
            let BlockArg::Value(value) = arg else { return Err(Unsupported("exceptions".into())) };
            args.push(match self.constant_of(value) {
                Some(constant) if !self.is_int(value) => self.fresh_constant(&constant, self.ty(value))?,
                _ => self.reg(value),
            });
        }
        Ok(args)
    }

    /// A constant in a register that may be written.
    pub(super) fn fresh_constant(&mut self, constant: &crate::inst::Constant, ty: Type) -> Result<VReg> {
        let to = self.temp();
        let bytes = self.shape(ty)?.bytes();
        let ins = crate::consts::load(&mut self.out.pool, to, constant, bytes, self.level);
        self.push(ins);
        Ok(to)
    }

    /// Sets the flags for a condition and says when it holds.
    pub(super) fn flags(&mut self, condition: Value) -> Result<Flag> {
        let condition = self.f.dfg.resolve_aliases(condition);
        let has_register = self.regs[condition.as_u32() as usize].is_some();
        if let Some(inst) = self.def_here(condition).filter(|_| !has_register) {
            match self.data(inst) {
                InstructionData::IntCompare { args, .. } if !self.ty(args[0]).is_vector() => {
                    return self.compare_ints(inst);
                }
                InstructionData::FloatCompare { args, cond, .. } if !self.ty(args[0]).is_vector() => {
                    if let Some((flag, swap)) = float_flag(cond) {
                        return self.compare_floats(inst, args, flag, swap);
                    }
                }
                InstructionData::Unary { opcode: Opcode::VanyTrue, arg } => return self.any(arg),
                _ => {}
            }
        }
        let reg = self.reg(condition);
        let (code, view) = match self.ty(condition) {
            types::I8 => (Code::Test_rm8_r8, View::R8),
            types::I16 => (Code::Test_rm16_r16, View::R16),
            types::I32 => (Code::Test_rm32_r32, View::R32),
            types::I64 => (Code::Test_rm64_r64, View::R64),
            ty => return Err(Unsupported(format!("conditions of type {ty}"))),
        };
        self.push(Ins::new(code).reg(reg, view).again(0, view));
        Ok(Flag::NotEqual)
    }

    fn compare_floats(&mut self, inst: Inst, args: [Value; 2], flag: Flag, swap: bool) -> Result<Flag> {
        let [a, b] = if swap { [args[1], args[0]] } else { args };
        let shape = self.shape(self.ty(a))?;
        let code = self.code(&table::FLAGS, shape)?;
        let left = self.reg(a);
        let access = self.access(shape);
        let once = self.uses(self.f.dfg.first_result(inst)) == 1;
        let right = if once { self.rm(b, access) } else { Rm::Reg(self.reg(b)) };
        self.push(Ins::new(code).reg(left, View::Xmm).rm(right, View::Xmm, access));
        Ok(flag)
    }

    /// Calls an external function by its address.
    pub(super) fn call(&mut self, inst: Inst) -> Result<()> {
        let InstructionData::Call { func_ref, .. } = self.data(inst) else { return Err(self.refuse(inst)) };
        let args = self.f.dfg.inst_args(inst).to_vec();
        let results = self.f.dfg.inst_results(inst).to_vec();
        let vectors = args.iter().chain(&results).any(|&v| self.ty(v).is_vector());
        if results.len() > 1 || vectors {
            return Err(self.refuse(inst));
        }
        let at = places(args.iter().map(|&v| self.is_int(v)))?;
        let regs: Vec<VReg> = args.iter().map(|&v| self.reg(v)).collect();
        let address = self.temp_int();
        self.push(Ins::of(Kind::Symbol(func_ref.as_u32())).def(address, View::R64));
        let mut call = Ins::of(Kind::Call).reg(address, View::R64);
        for (&reg, at) in regs.iter().zip(at) {
            call = call.fixed_use(reg, at);
        }
        let back: Option<(VReg, PReg)> = results.first().map(|&result| {
            let at = if self.is_int(result) { ra::int(0) } else { ra::vector(0) };
            (self.own(result), at)
        });
        if let Some((result, at)) = back {
            call = call.fixed_def(result, at);
        }
        call.clobbers = ra::clobbered(self.level, back.map(|(_, at)| at));
        self.push(call);
        Ok(())
    }

    /// The flags for whether any lane of a vector is not zero.
    pub(super) fn any(&mut self, vector: Value) -> Result<Flag> {
        let shape = self.shape(self.ty(vector))?;
        if !self.evex() {
            let reg = self.reg(vector);
            let code = match shape.view() {
                View::Ymm => Code::VEX_Vptest_ymm_ymmm256,
                _ => Code::VEX_Vptest_xmm_xmmm128,
            };
            self.push(Ins::new(code).reg(reg, shape.view()).again(0, shape.view()));
            return Ok(Flag::NotEqual);
        }
        let mask = if self.is_truth_value(vector) {
            self.mask(vector)
        } else {
            let (reg, mask) = (self.reg(vector), self.temp_mask());
            let code = self.code(&table::TEST, shape)?;
            self.push(Ins::new(code).def(mask, View::K).reg(reg, shape.view()).again(1, shape.view()));
            mask
        };
        self.mask_flags(mask, shape.lanes());
        Ok(Flag::NotEqual)
    }

    /// Sets the zero flag where none of the lowest bits of a mask is set.
    fn mask_flags(&mut self, mask: VReg, lanes: u8) {
        let code = match lanes {
            16 => Code::VEX_Kortestw_kr_kr,
            8 => Code::VEX_Kortestb_kr_kr,
            lanes => {
                let bits = self.temp_int();
                self.push(Ins::new(Code::VEX_Kmovw_r32_kr).def(bits, View::R32).reg(mask, View::K));
                self.push(Ins::new(Code::Test_rm32_imm32).reg(bits, View::R32).imm((1 << lanes) - 1));
                return;
            }
        };
        self.push(Ins::new(code).reg(mask, View::K).again(0, View::K));
    }

    /// `vany_true` and `vall_true` as 0 or 1.
    pub(super) fn truth_of(&mut self, inst: Inst) -> Result<()> {
        let vector = self.f.dfg.inst_args(inst)[0];
        if self.data(inst).opcode() == Opcode::VallTrue {
            return Err(self.refuse(inst));
        }
        let flag = self.any(vector)?;
        let to = self.result();
        self.push(super::int::set(to, flag));
        Ok(())
    }
}

/// The flag after a comparison of floats, and whether its operands change places.
fn float_flag(cond: FloatCC) -> Option<(Flag, bool)> {
    Some(match cond {
        FloatCC::GreaterThan => (Flag::Above, false),
        FloatCC::GreaterThanOrEqual => (Flag::AboveOrEqual, false),
        FloatCC::LessThan => (Flag::Above, true),
        FloatCC::LessThanOrEqual => (Flag::AboveOrEqual, true),
        FloatCC::UnorderedOrLessThan => (Flag::Below, false),
        FloatCC::UnorderedOrLessThanOrEqual => (Flag::BelowOrEqual, false),
        FloatCC::UnorderedOrGreaterThan => (Flag::Below, true),
        FloatCC::UnorderedOrGreaterThanOrEqual => (Flag::BelowOrEqual, true),
        FloatCC::Unordered => (Flag::Parity, false),
        FloatCC::Ordered => (Flag::NotParity, false),
        FloatCC::UnorderedOrEqual => (Flag::Equal, false),
        FloatCC::OrderedNotEqual => (Flag::NotEqual, false),
        FloatCC::Equal | FloatCC::NotEqual => return None,
    })
}

/// Where the System V convention puts arguments, given which are integers.
fn places(are_ints: impl Iterator<Item = bool>) -> Result<Vec<PReg>> {
    let mut next = [0; 2];
    are_ints
        .map(|is_int| {
            let n = next[usize::from(is_int)];
            next[usize::from(is_int)] += 1;
            match is_int {
                true => INT_ARGUMENTS.get(n).map(|&at| ra::int(at)),
                false => (n < 8).then(|| ra::vector(n)),
            }
            .ok_or_else(|| Unsupported("arguments on the stack".into()))
        })
        .collect()
}
