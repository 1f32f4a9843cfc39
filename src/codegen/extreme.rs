//! The largest and the smallest of reals.
//!
//! NaN is larger and smaller than all else, which the machine's own maximum knows nothing of: it takes the second of two
//! operands if either is NaN, and has to be told with a comparison and a choice for each element. But it also raises an
//! exception then, which stays in the thread's status. So a long reduction runs without looking for NaNs; then the status is
//! asked, and only if something was raised, by whatever it was, the reduction runs once more and looks.
//!
//! Of equal elements (zeros of both signs) the last counts. Without NaNs that does not depend on how elements are
//! grouped, as long as their order stays, so that those side by side are compared with each other first.

use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::{Block, InstBuilder, Value};

use super::nest::Range;
use super::value::Val;
use super::{At, Emitter};
use crate::ir::{Expr, IndexId, ReduceOp, Scalar};
use crate::plan::cost;
use crate::plan::shape::mentions;

/// From how many elements on it pays to ask the status, which takes about ten cycles.
const FEW: usize = 16;

/// Up to how many operations an element may take that is emitted twice, and is not much more than the search for NaNs.
const LARGE: usize = 24;

/// The bit of the status for an operand that was NaN, or a result that is.
const INVALID: i64 = 1;

impl<'a> Emitter<'a, '_> {
    /// The larger or the smaller of two reals; NaN if either is.
    pub(super) fn extreme(&mut self, larger: bool, a: Value, b: Value) -> Value {
        let chosen = self.extreme_of_numbers(larger, a, b);
        let nan = self.b.ins().fcmp(FloatCC::Unordered, a, a);
        self.blend(nan, a, chosen)
    }

    /// The same of two that are not NaN.
    fn extreme_of_numbers(&mut self, larger: bool, a: Value, b: Value) -> Value {
        // In the form in which Cranelift finds the machine's own minimum and maximum.
        let (small, large) = if larger { (b, a) } else { (a, b) };
        let first = self.b.ins().fcmp(FloatCC::LessThan, small, large);
        self.blend(first, a, b)
    }

    /// The largest or smallest of many elements, where it pays and the machine can tell afterwards if one was NaN.
    pub(super) fn extremes(&mut self, op: ReduceOp, indices: &'a [IndexId], body: &'a Expr) -> Option<Val> {
        let count: usize = indices.iter().map(|&i| self.extent(i)).product();
        let is_extreme = matches!(op, ReduceOp::Max | ReduceOp::Min) && body.ty == Scalar::Real;
        let operations = || cost::operations(body, &|i| self.extent(i));
        if !self.machine.status || !is_extreme || count < FEW || operations() > LARGE {
            return None;
        }
        let vectors = self.lane.is_some_and(|lane| mentions(body, &[lane.index]));
        let parts = self.parts();
        let start = self.start(op, body.ty);
        let start = self.value_of(body.ty, &start, 1, false);
        let start = self.carried_of(&start, vectors);
        let quick = self.numbers(op == ReduceOp::Max, indices, body, start, vectors);

        // What the status tells about has to stand in blocks before.
        let (asked, done) = (self.b.create_block(), self.b.create_block());
        let searched = self.b.create_block();
        for &value in &quick {
            let ty = self.b.func.dfg.value_type(value);
            self.b.append_block_param(done, ty);
        }
        self.b.ins().jump(asked, &[]);
        self.b.switch_to_block(asked);
        let word = self.status();
        let raised = self.b.ins().band_imm_u(word, INVALID);
        let quick: Vec<_> = quick.into_iter().map(Into::into).collect();
        self.b.ins().brif(raised, searched, &[], done, &quick);

        let first = searched.as_u32();
        self.b.switch_to_block(searched);
        let exact = self.scoped(|this| this.in_order(op, indices, body));
        let exact: Vec<_> = self.carried_of(&exact, vectors).into_iter().map(Into::into).collect();
        // In a block of its own, behind all that the search itself has raised.
        let forgets = self.b.create_block();
        self.b.ins().jump(forgets, &[]);
        self.b.switch_to_block(forgets);
        let word = self.b.ins().band_imm_s(word, !INVALID);
        self.set_status(word);
        self.b.ins().jump(done, &exact);
        for block in (first..=forgets.as_u32()).map(Block::from_u32) {
            self.b.set_cold_block(block);
        }
        self.b.switch_to_block(done);
        let found = self.b.block_params(done).to_vec();
        Some(self.value_of(body.ty, &found, parts, vectors))
    }

    /// The largest or smallest of elements that are not NaN.
    fn numbers(
        &mut self,
        larger: bool,
        indices: &'a [IndexId],
        body: &'a Expr,
        carried: Vec<Value>,
        vectors: bool,
    ) -> Vec<Value> {
        let (&index, rest) = indices.split_first().expect("a reduction has an index");
        let n = self.extent(index);
        self.scoped(|this| {
            this.hoist(body, &mut indices.to_vec());
            if !rest.is_empty() {
                let all = Range { from: 0, to: n, step: 1 };
                return this.each(index, all, carried, &mut |this, carried| {
                    this.numbers(larger, rest, body, carried, vectors)
                });
            }
            // Chains of operations that do not wait for each other: those of several vectors, or of several elements.
            let together = if vectors && this.parts() >= 4 { 2 } else { 4 };
            let main = n / together * together;
            let mut carried = carried;
            for (from, to, step) in [(0, main, together), (main, n, 1)] {
                carried = this.each(index, Range { from, to, step }, carried, &mut |this, carried| {
                    let At { base, add } = this.env[&index];
                    let mut elements = Vec::new();
                    for k in 0..step as i64 {
                        this.env.insert(index, At { base, add: add + k });
                        let element = this.scoped(|this| this.emit(body));
                        elements.push(this.carried_of(&element, vectors));
                    }
                    this.env.insert(index, At { base, add });
                    while elements.len() > 1 {
                        let pairs = elements.chunks(2).map(|pair| match pair {
                            [a, b] => this.extremes_of_numbers(larger, a, b),
                            rest => rest[0].clone(),
                        });
                        elements = pairs.collect();
                    }
                    this.extremes_of_numbers(larger, &carried, &elements[0])
                });
            }
            carried
        })
    }

    fn extremes_of_numbers(&mut self, larger: bool, a: &[Value], b: &[Value]) -> Vec<Value> {
        a.iter().zip(b).map(|(&a, &b)| self.extreme_of_numbers(larger, a, b)).collect()
    }
}
