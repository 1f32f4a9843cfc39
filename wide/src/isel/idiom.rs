//! Groups of instructions that one instruction does, with the same result.
//!
//! | CLIF | machine |
//! | --- | --- |
//! | `bitselect(fcmp lt a b, a, b)` | `vmin a, b`: for NaNs and equals both give `b` |
//! | `bitselect(fcmp lt a b, b, a)` | `vmax b, a` |
//! | `((v0+v4)+(v2+v6))+((v1+v5)+(v3+v7))`, all lanes of `v` | its halves added, then the halves of that, and so on |

use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::{Inst, InstructionData, Opcode, Value};
use iced_x86::Code;

use super::{Result, Select, Shape, Width};
use crate::inst::{Constant, Ins, View};
use crate::table;

impl Select<'_> {
    /// The operands of the minimum (`true`) or maximum that a choice under this comparison is.
    pub(super) fn extreme_of(&self, condition: Value, yes: Value, no: Value) -> Option<(bool, Value, Value)> {
        let inst = self.def(self.chase(condition))?;
        let InstructionData::FloatCompare { args: [a, b], cond, .. } = self.f.dfg.insts[inst] else { return None };
        if self.ty(a) != self.ty(yes) {
            return None;
        }
        let (a, b) = match cond {
            FloatCC::LessThan => (a, b),
            FloatCC::GreaterThan => (b, a),
            _ => return None,
        };
        if self.same(a, yes) && self.same(b, no) {
            Some((true, yes, no))
        } else if self.same(a, no) && self.same(b, yes) {
            Some((false, yes, no))
        } else {
            None
        }
    }

    /// Emits a move of lanes to places that are known: see [`crate::Primitive::Move`].
    pub(super) fn moved(&mut self, inst: Inst, [at, low, high]: [Value; 3], shape: Shape) -> Result<()> {
        let (size, double) = (usize::from(shape.lane_bytes()), shape.lane == 1);
        let count = self.ty(low).lane_count() as usize;
        let places: Vec<u64> = match self.constant_of(at) {
            Some(Constant::Bytes(bytes)) => {
                bytes.chunks(size).map(|lane| lane.iter().rev().fold(0, |bits, &b| bits << 8 | u64::from(b))).collect()
            }
            Some(Constant::Splat { lane, bits }) if usize::from(lane) == size => vec![bits; count],
            _ => return Err(self.refuse(inst)),
        };
        let (view, first) = (shape.view(), places[0]);
        let wide = view == View::Ymm;
        if places.iter().all(|&place| place == 2 * count as u64 - 1) {
            let from = self.reg(high);
            let code = match (wide, double) {
                (true, false) => Code::VEX_Vpermps_ymm_ymm_ymmm256,
                (true, true) => Code::VEX_Vpermpd_ymm_ymmm256_imm8,
                (false, false) => Code::VEX_Vpermilps_xmm_xmmm128_imm8,
                (false, true) => Code::VEX_Vpermilpd_xmm_xmmm128_imm8,
            };
            if wide && !double {
                let at = self.reg(at);
                let to = self.result();
                self.push(Ins::new(code).def(to, view).reg(at, view).reg(from, view));
                return Ok(());
            }
            let to = self.result();
            self.push(Ins::new(code).def(to, view).reg(from, view).imm(0xff));
            return Ok(());
        }
        let follow = places.iter().enumerate().all(|(lane, &place)| place == first + lane as u64);
        if !follow || first == 0 || first >= count as u64 {
            return Err(self.refuse(inst));
        }
        let bytes = i64::try_from(first).expect("few lanes") * size as i64;
        let (mut low, mut high) = (self.reg(low), self.reg(high));
        if !wide {
            let to = self.result();
            self.push(
                Ins::new(Code::VEX_Vpalignr_xmm_xmm_xmmm128_imm8)
                    .def(to, view)
                    .reg(high, view)
                    .reg(low, view)
                    .imm(bytes),
            );
            return Ok(());
        }
        // The half of `low` and that of `high` that meet; each half of the result is of two that follow each other.
        let both = if bytes == 16 { self.result() } else { self.temp() };
        let code = Code::VEX_Vperm2i128_ymm_ymm_ymmm256_imm8;
        self.push(Ins::new(code).def(both, view).reg(low, view).reg(high, view).imm(0x21));
        if bytes == 16 {
            return Ok(());
        }
        if bytes < 16 {
            high = both
        } else {
            low = both
        }
        let to = self.result();
        let code = Code::VEX_Vpalignr_ymm_ymm_ymmm256_imm8;
        self.push(Ins::new(code).def(to, view).reg(high, view).reg(low, view).imm(bytes % 16));
        Ok(())
    }

    /// Emits a tree of additions (or multiplications) of all lanes of a vector by halves, where this is the root of one.
    pub(super) fn folded(&mut self, inst: Inst) -> Result<bool> {
        let opcode = self.f.dfg.insts[inst].opcode();
        let op = if opcode == Opcode::Fmul { &table::MUL } else { &table::ADD };
        let root = self.f.dfg.first_result(inst);
        if self.ty(root).is_vector() {
            return Ok(false);
        }
        let Some(vector) = self.folds(opcode, inst, 0, 1) else { return Ok(false) };
        let shape = self.shape(self.ty(vector))?;
        let mut rest = self.reg(vector);
        let halves = [(Width::W512, Width::W256, 32), (Width::W256, Width::W128, 16)];
        for (whole, half, _) in halves.into_iter().filter(|&(_, _, bytes)| bytes < shape.bytes()) {
            let (from, to) = (Shape { width: whole, ..shape }.view(), Shape { width: half, ..shape });
            let code = match (self.evex(), whole) {
                (false, _) => Code::VEX_Vextractf128_xmmm128_ymm_imm8,
                (true, Width::W512) => Code::EVEX_Vextractf64x4_ymmm256_k1z_zmm_imm8,
                (true, _) => Code::EVEX_Vextractf32x4_xmmm128_k1z_ymm_imm8,
            };
            let (upper, sum, op) = (self.temp(), self.temp(), self.code(op, to)?);
            self.push(Ins::new(code).def(upper, to.view()).reg(rest, from).imm(1));
            self.push(Ins::new(op).def(sum, to.view()).reg(rest, to.view()).reg(upper, to.view()));
            rest = sum;
        }
        let x = View::Xmm;
        if shape.lane == 0 {
            let code = if self.evex() { Code::EVEX_Vmovhlps_xmm_xmm_xmm } else { Code::VEX_Vmovhlps_xmm_xmm_xmm };
            let add = self.code(op, Shape { width: Width::W128, ..shape })?;
            let (upper, sum) = (self.temp(), self.temp());
            self.push(Ins::new(code).def(upper, x).reg(rest, x).again(1, x));
            self.push(Ins::new(add).def(sum, x).reg(rest, x).reg(upper, x));
            rest = sum;
        }
        let code = match (self.evex(), shape.lane) {
            (true, 0) => Code::EVEX_Vpermilps_xmm_k1z_xmmm128b32_imm8,
            (true, _) => Code::EVEX_Vpermilpd_xmm_k1z_xmmm128b64_imm8,
            (false, 0) => Code::VEX_Vpermilps_xmm_xmmm128_imm8,
            (false, _) => Code::VEX_Vpermilpd_xmm_xmmm128_imm8,
        };
        let add = self.code(op, Shape { width: Width::Scalar, ..shape })?;
        let (upper, to) = (self.temp(), self.result());
        self.push(Ins::new(code).def(upper, x).reg(rest, x).imm(1));
        self.push(Ins::new(add).def(to, x).reg(rest, x).reg(upper, x));
        Ok(true)
    }

    /// The vector of which a tree takes the lanes `first`, `first + stride`, ..
    fn folds(&self, opcode: Opcode, node: Inst, first: u8, stride: u8) -> Option<Value> {
        if let InstructionData::BinaryImm8 { opcode: Opcode::Extractlane, arg, imm } = self.f.dfg.insts[node] {
            let vector = self.f.dfg.resolve_aliases(arg);
            let all = u32::from(stride) == self.ty(vector).lane_count();
            return (all && imm == first).then_some(vector);
        }
        let alone = stride == 1 || self.uses(self.f.dfg.first_result(node)) == 1;
        if self.f.dfg.insts[node].opcode() != opcode || stride >= 16 || !alone {
            return None;
        }
        let [low, high] = self.args2(node);
        let (low, high) = (self.def_here(low)?, self.def_here(high)?);
        let vector = self.folds(opcode, low, first, 2 * stride)?;
        (self.folds(opcode, high, first + stride, 2 * stride)? == vector).then_some(vector)
    }
}
