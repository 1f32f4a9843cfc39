//! Linear systems, and what kernels report.
//!
//! A nest whose element is a solution has no loops here: its matrices, right sides and solutions lie in the order that
//! [`ssmc_runtime::cholesky`] takes them in, and one call solves them all. A truth value that the layer checks is
//! looked at once it is written.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use ssmc_runtime::kernel::{Buffer, Slot};

use super::Emitter;
use super::math::{Environment, Routine};
use crate::ir::{Expr, ExprKind, Scalar, ValueId};
use crate::plan::Nest;

impl<'a> Emitter<'a, '_> {
    /// Solves the systems of a nest.
    pub(super) fn solve(&mut self, nest: &'a Nest, matrix: &'a Expr, right: &'a Expr) {
        let (matrix, right) = (tensor(matrix), tensor(right));
        let shape = &self.plan.instance.axes[matrix.at()];
        let n = shape[shape.len() - 1];
        let systems: usize = shape[..shape.len() - 2].iter().product();
        let sides = self.plan.instance.elements(nest.value) / (n * systems);
        let place = |this: &Self, value: ValueId| this.pass.places[value.at()].expect("what is read has a place");
        let places = [(matrix, place(self, matrix)), (right, place(self, right)), (nest.value, nest.target)];
        let mut arguments: Vec<Value> = Vec::new();
        for (value, place) in places {
            let (base, offset) = self.first(value, place);
            arguments.push(self.plus(base, offset));
        }
        for number in [n, systems, sides] {
            arguments.push(self.int(number as i64));
        }
        let report = self.report(nest.value).expect("solutions are reported");
        arguments.push(report);
        arguments.push(self.now);
        self.routines.machine = Some(self.machine);
        let routine = self.routines.routine(&mut self.b, Routine::Solve, self.real);
        self.b.ins().call(routine, &arguments);
    }

    /// Writes the step down where a truth value that the layer checks does not hold.
    pub(super) fn watch(&mut self, nest: &'a Nest) {
        let home = self.pass.places[nest.value.at()] == Some(nest.target);
        let Some(report) = self.report(nest.value).filter(|_| home && nest.body.ty == Scalar::Bool) else { return };
        let (base, offset) = self.first(nest.value, nest.target);
        let holds = self.load_one(Scalar::Bool, nest.target.buffer, base, offset as i32);
        let (cold, on) = (self.b.create_block(), self.b.create_block());
        self.b.set_cold_block(cold);
        self.b.ins().brif(holds, on, &[], cold, &[]);
        self.b.switch_to_block(cold);
        let flags = self.flags(Buffer::Report, true);
        let before = self.b.ins().load(types::I64, flags, report, 0);
        // A step that has not happened is larger than all.
        let sooner = self.b.ins().icmp(IntCC::UnsignedLessThan, self.now, before);
        let least = self.b.ins().select(sooner, self.now, before);
        self.b.ins().store(flags, least, report, 0);
        self.b.ins().jump(on, &[]);
        self.b.switch_to_block(on);
    }

    /// The address of the report on a value, where it has one.
    fn report(&mut self, value: ValueId) -> Option<Value> {
        let at = self.plan.reports.iter().position(|v| *v == value)?;
        let base = self.pointers[&Slot { buffer: Buffer::Report, imaginary: false }];
        Some(self.plus(base, 8 * at as i64))
    }
}

/// The tensor that the plan has made of an operand.
fn tensor(e: &Expr) -> ValueId {
    match e.kind {
        ExprKind::Read { value, .. } => value,
        _ => panic!("codegen: an operand of `solve` that is no definition: {e:?}"),
    }
}
