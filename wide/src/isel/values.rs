//! What is known of CLIF values: what defines them, whose register they share, which are constants.

use cranelift_codegen::ir::{self, ExternalName, Inst, InstructionData, Opcode, Type, Value, ValueDef, types};
use iced_x86::Code;

use super::{Result, Select, Shape, Width};
use crate::inst::{Access, Constant};
use crate::table::Op;
use crate::{Level, Primitive, Unsupported};

impl Select<'_> {
    pub(super) fn ty(&self, value: Value) -> Type {
        self.f.dfg.value_type(value)
    }

    pub(super) fn data(&self, inst: Inst) -> InstructionData {
        self.f.dfg.insts[inst]
    }

    pub(super) fn args2(&self, inst: Inst) -> [Value; 2] {
        let args = self.f.dfg.inst_args(inst);
        [args[0], args[1]]
    }

    pub(super) fn args3(&self, inst: Inst) -> [Value; 3] {
        let args = self.f.dfg.inst_args(inst);
        [args[0], args[1], args[2]]
    }

    /// The instruction behind a value.
    pub(super) fn def(&self, value: Value) -> Option<Inst> {
        match self.f.dfg.value_def(self.f.dfg.resolve_aliases(value)) {
            ValueDef::Result(inst, 0) => Some(inst),
            _ => None,
        }
    }

    /// The instruction behind a value, if it is of this kind.
    pub(super) fn def_of(&self, value: Value, opcode: Opcode) -> Option<Inst> {
        self.def(value).filter(|&inst| self.f.dfg.insts[inst].opcode() == opcode)
    }

    /// The primitive that an instruction calls.
    pub(super) fn primitive_of(&self, inst: Inst) -> Option<Primitive> {
        let InstructionData::Call { func_ref, .. } = self.f.dfg.insts[inst] else { return None };
        let ExternalName::User(name) = self.f.dfg.ext_funcs[func_ref].name else { return None };
        Primitive::of(&self.f.params.user_named_funcs()[name])
    }

    /// Whether an instruction may write to memory.
    pub(super) fn writes(&self, inst: Inst) -> bool {
        let opcode = self.f.dfg.insts[inst].opcode();
        match self.primitive_of(inst) {
            Some(primitive) => primitive.writes(),
            None => opcode.can_store() || opcode.is_call(),
        }
    }

    /// The block that a value is defined in.
    pub(super) fn home(&self, value: Value) -> Option<ir::Block> {
        match self.f.dfg.value_def(value) {
            ValueDef::Result(inst, _) => self.f.layout.inst_block(inst),
            ValueDef::Param(block, _) => Some(block),
            ValueDef::Union(..) => None,
        }
    }

    /// The instruction behind a value, if it is in this block.
    pub(super) fn def_here(&self, value: Value) -> Option<Inst> {
        self.def(value).filter(|&inst| self.f.layout.inst_block(inst) == Some(self.block))
    }

    pub(super) fn uses(&self, value: Value) -> u32 {
        self.uses[self.f.dfg.resolve_aliases(value).as_u32() as usize]
    }

    /// One step towards the value whose register this one shares.
    pub(super) fn alias(&self, value: Value) -> Value {
        let value = self.f.dfg.resolve_aliases(value);
        let Some(inst) = self.def(value) else { return value };
        let data = &self.f.dfg.insts[inst];
        let args = self.f.dfg.inst_args(inst);
        let in_vectors = |v: Value| self.ty(v).is_vector() || self.ty(v).is_float();
        let shared = match data {
            InstructionData::LoadNoOffset { opcode: Opcode::Bitcast, .. } => in_vectors(args[0]) && in_vectors(value),
            InstructionData::Unary { opcode: Opcode::Ireduce, .. } => true,
            InstructionData::BinaryImm8 { opcode: Opcode::Extractlane, imm: 0, .. } => self.ty(value).is_float(),
            _ => false,
        };
        if shared { self.f.dfg.resolve_aliases(args[0]) } else { value }
    }

    /// The value whose register this one shares.
    pub(super) fn chase(&self, value: Value) -> Value {
        let mut value = self.f.dfg.resolve_aliases(value);
        loop {
            let below = self.alias(value);
            if below == value {
                return value;
            }
            value = below;
        }
    }

    /// The integer, where it is constant, as the type has it.
    pub(super) fn int_constant(&self, value: Value) -> Option<i64> {
        let ty = self.ty(value);
        if !ty.is_int() || ty.is_vector() || ty.bits() > 64 {
            return None;
        }
        let n = match self.f.dfg.insts[self.def(value)?] {
            InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => imm.bits(),
            // What addresses of fixed elements are made of.
            InstructionData::Binary { opcode, args } if ty == types::I64 => {
                let both = |op: fn(i64, i64) -> i64| Some(op(self.int_constant(args[0])?, self.int_constant(args[1])?));
                match opcode {
                    Opcode::Iadd => both(i64::wrapping_add)?,
                    Opcode::Imul => both(i64::wrapping_mul)?,
                    Opcode::Ishl => both(|n, by| n.wrapping_shl(by as u32))?,
                    _ => return None,
                }
            }
            _ => return None,
        };
        let unused = 64 - ty.bits();
        Some(n << unused >> unused)
    }

    /// The constant in a vector register, where it is one.
    pub(super) fn constant_of(&self, value: Value) -> Option<Constant> {
        let inst = self.def(self.chase(value))?;
        let bits = match self.f.dfg.insts[inst] {
            InstructionData::UnaryIeee32 { opcode: Opcode::F32const, imm } => {
                return Some(splat(4, u64::from(imm.bits())));
            }
            InstructionData::UnaryIeee64 { opcode: Opcode::F64const, imm } => return Some(splat(8, imm.bits())),
            InstructionData::UnaryConst { opcode: Opcode::Vconst, constant_handle } => {
                let bytes = self.f.dfg.constants.get(constant_handle).as_slice();
                for lane in [4u8, 8] {
                    let (first, size) = (&bytes[..usize::from(lane)], usize::from(lane));
                    if bytes.chunks(size).all(|chunk| chunk == first) {
                        let bits = first.iter().rev().fold(0, |bits, &b| bits << 8 | u64::from(b));
                        return Some(splat(lane, bits));
                    }
                }
                return Some(Constant::Bytes(bytes.to_vec()));
            }
            InstructionData::Unary { opcode: Opcode::Splat, arg } => match self.int_constant(arg) {
                Some(n) => n as u64,
                None => {
                    return self
                        .def(arg)
                        .filter(|&i| matches!(self.f.dfg.insts[i].opcode(), Opcode::F32const | Opcode::F64const))
                        .and_then(|_| self.constant_of(arg));
                }
            },
            _ => return None,
        };
        match self.ty(self.chase(value)).lane_bits() {
            32 => Some(splat(4, bits & 0xffff_ffff)),
            64 => Some(splat(8, bits)),
            _ => None,
        }
    }

    /// Whether two values are known to be the same.
    pub(super) fn same(&self, a: Value, b: Value) -> bool {
        let (a, b) = (self.chase(a), self.chase(b));
        a == b || self.constant_of(a).is_some_and(|c| Some(c) == self.constant_of(b))
    }

    /// Whether the value is used for the last time here: its register can be written.
    pub(super) fn dies(&self, value: Value) -> bool {
        let value = self.chase(value);
        let at = value.as_u32() as usize;
        self.home(value) == Some(self.block)
            && !self.leaves[at]
            && self.wanted_in[at] != Some(self.block)
            && self.constant_of(value).is_none()
            && self.int_constant(value).is_none()
    }

    pub(super) fn is_truth_value(&self, value: Value) -> bool {
        self.truth[self.f.dfg.resolve_aliases(value).as_u32() as usize]
    }

    /// The shape of a type in vector registers.
    pub(super) fn shape(&self, ty: Type) -> Result<Shape> {
        let lane = match ty.lane_bits() {
            32 => 0,
            64 => 1,
            _ if ty.is_vector() => 0,
            _ => return Err(Unsupported(format!("values of type {ty}"))),
        };
        let width = match ty.bytes() {
            16 => Width::W128,
            32 => Width::W256,
            64 if self.level == Level::Avx512 => Width::W512,
            4 | 8 if !ty.is_vector() => Width::Scalar,
            _ => return Err(Unsupported(format!("values of type {ty}"))),
        };
        Ok(Shape { width, lane })
    }

    /// The encoding of an operation.
    pub(super) fn code(&self, op: &Op, shape: Shape) -> Result<Code> {
        let row = &op[shape.lane];
        let code = match (self.level, shape.width) {
            (Level::Avx2, Width::Scalar) => row.vex[0],
            (Level::Avx2, Width::W128) => row.vex[1],
            (Level::Avx2, Width::W256) => row.vex[2],
            (Level::Avx2, Width::W512) => Code::INVALID,
            (Level::Avx512, Width::Scalar) => row.evex[0],
            (Level::Avx512, Width::W128) => row.evex[1],
            (Level::Avx512, Width::W256) => row.evex[2],
            (Level::Avx512, Width::W512) => row.evex[3],
        };
        match code {
            Code::INVALID => Err(Unsupported(format!("`{}` without AVX-512", self.f.dfg.display_inst(self.inst)))),
            code => Ok(code),
        }
    }

    pub(super) fn evex(&self) -> bool {
        self.level == Level::Avx512
    }

    /// What the memory operand of an operation of this shape may be.
    pub(super) fn access(&self, shape: Shape) -> Access {
        match shape.width {
            Width::Scalar => Access { bytes: shape.lane_bytes(), broadcast: 0 },
            _ if self.evex() => Access { bytes: shape.bytes(), broadcast: shape.lane_bytes() },
            _ => Access { bytes: shape.bytes(), broadcast: 0 },
        }
    }
}

/// A constant in its shortest form.
pub(super) fn splat(lane: u8, bits: u64) -> Constant {
    if lane == 8 && bits >> 32 == bits & 0xffff_ffff {
        return Constant::Splat { lane: 4, bits: bits & 0xffff_ffff };
    }
    Constant::Splat { lane, bits }
}
