//! Groups of instructions that one instruction does, with the same result.
//!
//! | CLIF | machine |
//! | --- | --- |
//! | `bitselect(fcmp lt a b, a, b)` | `vmin a, b`: for NaNs and equals both give `b` |
//! | `bitselect(fcmp lt a b, b, a)` | `vmax b, a` |
//! | `p·s·s`, `s` the float with the bits `t << f`, `t = fma(x, c, 1.5·2^f + bias)` | `vscalef p, 2(t - (1.5·2^f + bias))` |
//!
//! (`f` bits of fraction.) In the last one `s = 2^m` with the integer `m = t - ..` while `-bias <= m <= bias`, zero at the
//! lower end. Both round `p·2^(2m)` once if `p·s` is exact, which it is for `p` near 1 unless the whole product is below
//! all numbers, and then both give zero. It stands for the ends of exponentials only, where `t - ..` is computed anyhow
//! and `x` is clamped to where `m` is in range.

use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::{InstructionData, Opcode, Value};

use super::{Result, Select, Shape};
use crate::inst::{Constant, Ins};
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

    /// Emits `p·s·s` by exponents, where that is what the product is.
    pub(super) fn scale_idiom(&mut self, a: Value, b: Value, shape: Shape) -> Result<bool> {
        if !self.evex() {
            return Ok(false);
        }
        for (product, s) in [(a, b), (b, a)] {
            let Some((p, half)) = self.scaled_twice(product, s, shape) else { continue };
            let (add, scale) = (self.code(&table::ADD, shape)?, self.code(&table::SCALE, shape)?);
            let (half, p) = (self.reg(half), self.reg(p));
            let (twice, to, view) = (self.temp(), self.result(), shape.view());
            self.push(Ins::new(add).def(twice, view).reg(half, view).again(1, view));
            self.push(Ins::new(scale).def(to, view).reg(p, view).reg(twice, view));
            return Ok(true);
        }
        Ok(false)
    }

    /// `p` and `m`, where `product·s` is `p·2^m·2^m`.
    fn scaled_twice(&self, product: Value, s: Value, shape: Shape) -> Option<(Value, Value)> {
        let inst = self.def_of(self.chase(product), Opcode::Fmul)?;
        if self.uses(product) != 1 || self.def_here(product) != Some(inst) {
            return None;
        }
        let [x, y] = self.args2(inst);
        let p = match () {
            () if self.same(y, s) => x,
            () if self.same(x, s) => y,
            () => return None,
        };
        // s is a shifted bit pattern,
        let shift = self.def_of(self.chase(s), Opcode::Ishl)?;
        let [t, by] = self.args2(shift);
        let (fraction, bias) = if shape.lane == 0 { (23, 127.0) } else { (52, 1023.0) };
        let lanes = self.ty(self.chase(s));
        if self.int_constant(by) != Some(fraction) || lanes.lane_bits() != 8 * u32::from(shape.lane_bytes()) {
            return None;
        }
        // of a sum with a large constant,
        let t = self.chase(t);
        let [x, factor, large] = self.def_of(t, Opcode::Fma).map(|inst| self.args3(inst))?;
        let (large, factor) = (self.number(large, shape)?, self.number(factor, shape)?);
        if large != 1.5 * 2f64.powi(i32::try_from(fraction).ok()?) + bias {
            return None;
        }
        // which is subtracted again,
        let m = *self.differences.get(&t)?;
        let subtracted = self.def_of(m, Opcode::Fsub).map(|inst| self.args2(inst))?;
        if self.number(subtracted[1], shape)? != large || self.ty(m) != self.ty(product) {
            return None;
        }
        // and m is in range.
        let inside = |bound: f64| (bound * factor).abs() <= bias + 0.49;
        let below = self.clamp_of(x, false, shape).filter(|(bound, _)| inside(*bound))?;
        let above = self.is_negative(below.1) || self.clamp_of(below.1, true, shape).is_some_and(|(b, _)| inside(b));
        (factor > 0.0 && above).then_some((p, m))
    }

    /// The constant in all lanes.
    fn number(&self, value: Value, shape: Shape) -> Option<f64> {
        let Constant::Splat { lane, bits } = self.constant_of(value)? else { return None };
        match (shape.lane, lane) {
            (0, 4) => Some(f64::from(f32::from_bits(u32::try_from(bits).ok()?))),
            (1, 8) => Some(f64::from_bits(bits)),
            (1, 4) => Some(f64::from_bits(bits << 32 | bits)),
            _ => None,
        }
    }

    /// The constant that a value is not above (or not below), and the value without that.
    fn clamp_of(&self, value: Value, above: bool, shape: Shape) -> Option<(f64, Value)> {
        let [condition, yes, no] = self.def_of(self.chase(value), Opcode::Bitselect).map(|inst| self.args3(inst))?;
        let (smaller, yes, no) = self.extreme_of(condition, yes, no)?;
        (smaller == above).then_some(())?;
        self.number(yes, shape).map(|bound| (bound, no))
    }

    /// Whether a value is at most zero, or NaN, by its form.
    fn is_negative(&self, value: Value) -> bool {
        let Some(negated) = self.def_of(self.chase(value), Opcode::Fneg) else { return false };
        self.def_of(self.chase(self.f.dfg.inst_args(negated)[0]), Opcode::Fabs).is_some()
    }
}
