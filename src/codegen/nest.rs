//! The loops of one equation.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{BlockArg, InstBuilder, Value, types};

use super::value::Parts;
use super::{At, Emitter, Lane};
use crate::ir::{Expr, ExprKind, IndexId, Scalar};
use crate::plan::shape::{is_guard, mentions};
use crate::plan::{Nest, lanes};

/// The values of an index that a loop runs over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) step: usize,
}

impl<'a> Emitter<'a, '_> {
    pub(super) fn nest(&mut self, nest: &'a Nest) {
        if let ExprKind::Solve { matrix, right, .. } = &nest.body.kind {
            return self.solve(nest, matrix, right);
        }
        self.lanes = &nest.lanes;
        self.scoped(|this| this.level(nest, 0));
        self.watch(nest);
    }

    fn level(&mut self, nest: &'a Nest, depth: usize) {
        let Some(&index) = nest.loops.get(depth) else {
            let value = self.emit(&nest.body);
            let target = self.target(nest);
            self.write(&target, &value);
            return;
        };
        let target = self.target(nest);
        self.prepare(&target, &nest.loops[depth..]);
        self.hoist(&nest.body, &mut nest.loops[depth..].to_vec());
        let n = self.extent(index);
        let on_lanes = lanes::on_left(nest).filter(|lanes| lanes.index == index);
        let mut from = 0;
        if let Some(lanes) = on_lanes {
            for parts in [lanes.unroll, (n / self.width) % lanes.unroll] {
                let step = parts * self.width;
                if parts == 0 || n - from < step {
                    continue;
                }
                let to = from + (n - from) / step * step;
                self.lane = Some(Lane { index, parts, live: step });
                self.each(index, Range { from, to, step }, Vec::new(), &mut |this, none| {
                    this.level(nest, depth + 1);
                    none
                });
                self.lane = None;
                from = to;
            }
        }
        self.each(index, Range { from, to: n, step: 1 }, Vec::new(), &mut |this, none| {
            this.level(nest, depth + 1);
            none
        });
    }

    /// A loop: `body` gets what is carried and returns what it becomes.
    pub(super) fn each(
        &mut self,
        index: IndexId,
        range: Range,
        carried: Vec<Value>,
        body: &mut dyn FnMut(&mut Self, Vec<Value>) -> Vec<Value>,
    ) -> Vec<Value> {
        let Range { from, to, step } = range;
        if from >= to {
            return carried;
        }
        if from + step >= to {
            let at = self.int(from as i64);
            return self.inside(index, at, |this| body(this, carried));
        }
        let (header, exit) = (self.b.create_block(), self.b.create_block());
        let counter = self.b.append_block_param(header, types::I64);
        let mut params = Vec::new();
        for &value in &carried {
            let ty = self.b.func.dfg.value_type(value);
            params.push(self.b.append_block_param(header, ty));
            self.b.append_block_param(exit, ty);
        }
        let start = self.int(from as i64);
        let arguments: Vec<BlockArg> = [start].iter().chain(&carried).map(|&v| v.into()).collect();
        self.b.ins().jump(header, &arguments);
        self.b.switch_to_block(header);
        let results = self.inside(index, counter, |this| body(this, params));
        let next = self.b.ins().iadd_imm_s(counter, step as i64);
        let more = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, next, to as i64);
        let again: Vec<BlockArg> = [next].iter().chain(&results).map(|&v| v.into()).collect();
        let done: Vec<BlockArg> = results.iter().map(|&v| v.into()).collect();
        self.b.ins().brif(more, header, &again, exit, &done);
        self.b.switch_to_block(exit);
        self.b.block_params(exit).to_vec()
    }

    /// Runs `body` where an index has this value.
    fn inside<T>(&mut self, index: IndexId, at: Value, body: impl FnOnce(&mut Self) -> T) -> T {
        self.at(index, At { base: Some(at), add: 0 }, body)
    }

    /// The same for a value of which a part is known.
    pub(super) fn at<T>(&mut self, index: IndexId, at: At, body: impl FnOnce(&mut Self) -> T) -> T {
        self.env.insert(index, at);
        self.order.push(index);
        let result = self.scoped(body);
        self.order.pop();
        self.env.remove(&index);
        result
    }

    /// Computes, before loops over these indices, what they do not change of an expression.
    ///
    /// Nothing leaves a branch that may not be taken because an access in it would be outside.
    pub(super) fn hoist(&mut self, e: &'a Expr, loops: &mut Vec<IndexId>) {
        if matches!(
            e.kind,
            ExprKind::Int(_)
                | ExprKind::Real(_)
                | ExprKind::Imaginary(_)
                | ExprKind::Bool(_)
                | ExprKind::Index(_)
                | ExprKind::First
        ) || self.is_cached(e)
        {
            return;
        }
        if !mentions(e, loops) {
            let value = self.emit(e);
            let vectors = self.lane.is_some() || self.lanes.iter().any(|l| loops.contains(&l.index));
            if matches!(e.ty, Scalar::Real | Scalar::Complex) && vectors {
                for plane in [Some(&value.re), value.im.as_ref()].into_iter().flatten() {
                    if let Parts::One(scalar) = plane {
                        let vector = self.b.ins().splat(self.vector, *scalar);
                        self.splats.insert(*scalar, vector);
                    }
                }
            }
            self.cache.insert((e, self.later), value);
            return;
        }
        match &e.kind {
            ExprKind::If(parts) => {
                self.hoist(&parts[0], loops);
                if !is_guard(&parts[0]) {
                    self.hoist(&parts[1], loops);
                    self.hoist(&parts[2], loops);
                }
            }
            ExprKind::Reduce { indices, body, .. } => {
                if indices.iter().all(|&i| self.extent(i) > 0) {
                    let outer = loops.len();
                    loops.extend(indices);
                    self.hoist(body, loops);
                    loops.truncate(outer);
                }
            }
            _ => {
                for operand in e.operands() {
                    self.hoist(operand, loops);
                }
            }
        }
        if let Some(access) = self.access(e)
            && self.lane.is_none_or(|lane| !access.bends(&[lane.index]))
        {
            self.prepare(&access, loops);
        }
    }
}
