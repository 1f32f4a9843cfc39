//! Sums with lanes of their own, as many side by side as a vector has lanes.
//!
//! An element on the lanes of the equation is a row of what is summed: the lanes of a row's vector hold parts of its sum. Halves
//! of the vectors of two rows are added, then quarters of what comes out for four, until one vector has the sums of all rows, in
//! their order. Each sum is added up as that of a single row is (`reduce`).

use cranelift_codegen::ir::{InstBuilder, Value};
use ssmc_wide::Primitive;

use super::nest::Range;
use super::value::{Parts, Val};
use super::{At, Emitter, Lane};
use crate::ir::{Expr, ExprKind, IndexId, ReduceOp};
use crate::plan::Lanes;
use crate::plan::shape::mentions;

impl<'a> Emitter<'a, '_> {
    /// Whether a vector of elements is worked on of which each is a row.
    pub(super) fn has_rows(&self, body: &Expr) -> bool {
        let left = self.lanes.first().map(|lanes| lanes.index);
        let fits = |lane: Lane| {
            lane.parts == 1 && lane.live == self.width && left == Some(lane.index) && mentions(body, &[lane.index])
        };
        self.picked.is_none() && self.lane.is_some_and(fits)
    }

    /// A sum for each element on the lanes, along the lanes of another index.
    pub(super) fn in_rows(&mut self, op: ReduceOp, indices: &'a [IndexId], body: &'a Expr, lanes: Lanes) -> Val {
        let row = self.lane.take().expect("the caller has looked");
        let (index, width) = (lanes.index, self.width);
        let base = self.env[&row.index];
        let outer: Vec<IndexId> = indices.iter().copied().filter(|i| *i != index).collect();
        let start = self.start(op, body.ty)[0];
        let start = self.b.ins().splat(self.vector, start);
        let range = Range { from: 0, to: self.extent(index), step: width };
        // What is known for all rows as one vector is none of a single row.
        let calls = std::mem::take(&mut self.calls);
        let sums = self.scoped(|this| {
            this.cache.retain(|_, value| value.is_uniform());
            this.over(&outer, &[index, row.index], body, vec![start; width], &mut |this, sums| {
                this.scoped(|this| {
                    this.hoist(body, &mut vec![index, row.index]);
                    this.prepare_rows(body, index);
                    this.lane = Some(Lane { index, parts: 1, live: width });
                    let sums = this.each(index, range, sums, &mut |this, sums| {
                        this.hoist(body, &mut vec![row.index]);
                        let add = |this: &mut Self, (n, sum): (usize, Value)| {
                            this.env.insert(row.index, At { add: base.add + n as i64, ..base });
                            let sum = this.value_of(body.ty, &[sum], 1, true);
                            let sum = this.scoped(|this| this.accumulate(op, sum, body));
                            this.carried_of(&sum, true)[0]
                        };
                        let sums = sums.into_iter().enumerate().map(|sum| add(this, sum)).collect();
                        this.env.insert(row.index, base);
                        sums
                    });
                    this.lane = None;
                    sums
                })
            })
        });
        self.calls = calls;
        self.lane = Some(row);
        let sum = self.joined(op, body, sums);
        Val { ty: body.ty, re: Parts::Each(vec![sum]), im: None }
    }

    /// Computes the addresses of the first row's elements, but for one index.
    fn prepare_rows(&mut self, body: &'a Expr, index: IndexId) {
        let mut reads = Vec::new();
        body.walk(&mut |e| {
            if matches!(e.kind, ExprKind::Read { .. } | ExprKind::Past { .. }) {
                reads.push(e);
            }
        });
        for e in reads {
            if let Some(access) = self.access(e)
                && !access.has_rest()
            {
                self.prepare(&access, &[index]);
            }
        }
    }

    /// One vector with what the lanes of each of these vectors come to.
    fn joined(&mut self, op: ReduceOp, body: &Expr, mut rows: Vec<Value>) -> Value {
        let mut parts = self.width;
        while parts > 1 {
            let half = parts / 2;
            let mut next = Vec::new();
            for pair in rows.chunks_exact(2) {
                let mut of = |second: usize| {
                    let from = |lane: usize| lane / half * parts + second + lane % half;
                    let lanes = self.moved(Primitive::LookUp, pair[0], pair[1], from);
                    Val { ty: body.ty, re: Parts::Each(vec![lanes]), im: None }
                };
                let (low, high) = (of(0), of(half));
                let sum = self.combine(op, low, high);
                next.extend(self.carried_of(&sum, true));
            }
            rows = next;
            parts = half;
        }
        rows[0]
    }
}
