//! The loops in a step of a region: several statements in one, their sums carried through it.
//!
//! In: [`Fused`] loops, and what runs in their turns for the step behind. Sums are carried in registers: one for each of the steps
//! that run side by side, and for each chain into which a written-out loop cuts them. A statement that is itself a sum has a
//! loop of its own in each turn.

use cranelift_codegen::ir::{InstBuilder, Value};

use super::nest::Range;
use super::region::Element;
use super::value::{Parts, Val};
use super::{At, Emitter};
use crate::ir::{Expr, ExprKind, IndexId, ReduceOp};
use crate::plan::region::is_plain_sum;
use crate::plan::{Fused, Pipelined, Statement, cost};

/// Up to how many operations a sum in a turn of a loop is written out.
const WRITTEN_OUT: usize = 128;

/// Up to how many operations a turn of a written-out loop has beside which its sums are waited for.
const LIGHT: usize = 20;

impl<'a> Emitter<'a, '_> {
    /// Statements in one loop, and those for the step behind; reductions are carried through it.
    pub(super) fn fused(&mut self, fused: &'a Fused, pipelined: Option<&'a Pipelined>) {
        let ahead = pipelined.map_or(&[][..], |pipelined| &pipelined.ahead);
        let all: Vec<(&Statement, bool)> =
            fused.body.iter().map(|statement| (statement, false)).chain(ahead.iter().map(|s| (s, true))).collect();
        let sums: Vec<(&Statement, bool)> = all.iter().copied().filter(|(statement, _)| statement.sums).collect();
        let mut start = Vec::new();
        for &(statement, ahead) in &sums {
            let (op, body) = summed(statement);
            let neutral = self.start(op, body.ty);
            let value = self.value_of(body.ty, &neutral, 1, false);
            let vectors = self.varies(body);
            self.in_steps(ahead, |this| start.push(this.carried_of(&value, vectors)));
        }
        let sizes: Vec<usize> = start.iter().map(Vec::len).collect();
        let start = start.concat();
        let chains = if fused.whole { self.chains(fused, &sums, start.len()) } else { 1 };
        let result = self.scoped(|this| {
            for &(statement, ahead) in &all {
                this.in_steps(ahead, |this| this.hoist(summed_or_all(statement), &mut fused.indices.clone()));
            }
            this.turns(fused, pipelined, &fused.indices, &sizes, start.repeat(chains))
        });
        let (result, kept) = result;
        self.registers.extend(kept);
        let result = self.added_chains(result, start.len());
        let mut result = &result[..];
        let mut sizes = sizes.into_iter();
        for &(statement, ahead) in &sums {
            let (op, body) = summed(statement);
            let vectors = self.varies(body);
            self.in_steps(ahead, |this| {
                let (mine, others) = result.split_at(sizes.next().expect("a size for each sum in each step"));
                result = others;
                let mut value = this.value_of(body.ty, mine, this.parts(), vectors);
                if op == ReduceOp::Mean {
                    let count: usize = fused.indices.iter().map(|&i| this.extent(i)).product();
                    value = this.over_count(value, count);
                }
                this.define(statement, value);
            });
        }
    }

    /// Into how many chains the sums of a written-out loop are cut, so that they do not wait for each other: of long sums with
    /// little to do beside them, as many as registers are left for. All turns come around to all of them.
    fn chains(&self, fused: &Fused, sums: &[(&Statement, bool)], vectors: usize) -> usize {
        let add = |op| matches!(op, ReduceOp::Sum | ReduceOp::Mean);
        let extent = |i: IndexId| self.plan.instance.extents[i.at()];
        let each: usize = fused.body.iter().map(|s| cost::operations(summed_or_all(s), &extent)).sum();
        let plain = each <= LIGHT && sums.iter().all(|(statement, _)| add(summed(statement).0));
        let turns: usize = fused.indices.iter().map(|&i| self.extent(i)).product();
        let most = if self.plan.target.registers >= 32 { 4 } else { 2 } / vectors.max(1);
        let mut chains = if plain && vectors > 0 { most.max(1) } else { 1 };
        while chains > 1 && (chains * 4 > turns || !turns.is_multiple_of(chains)) {
            chains /= 2;
        }
        chains
    }

    /// The sums of several chains, one chain after the other, as one: neighbours last.
    fn added_chains(&mut self, mut sums: Vec<Value>, size: usize) -> Vec<Value> {
        while sums.len() > size {
            let half = sums.split_off(sums.len() / 2);
            sums = sums.into_iter().zip(half).map(|(a, b)| self.b.ins().fadd(a, b)).collect();
        }
        sums
    }

    /// The loops over the indices that are left. Also returns the elements whose places are known behind them.
    #[allow(clippy::type_complexity, reason = "what is carried, and what is known")]
    fn turns(
        &mut self,
        fused: &'a Fused,
        pipelined: Option<&'a Pipelined>,
        indices: &'a [IndexId],
        sizes: &[usize],
        carried: Vec<Value>,
    ) -> (Vec<Value>, Vec<(Element, Val)>) {
        let Some((&index, rest)) = indices.split_first() else { return self.turn(fused, pipelined, sizes, carried) };
        let n = self.extent(index);
        if fused.whole {
            let (mut carried, mut kept) = (carried, Vec::new());
            for k in 0..n as i64 {
                let at = At { base: None, add: k };
                let (next, mut known) = self.at(index, at, |this| this.turns(fused, pipelined, rest, sizes, carried));
                carried = next;
                kept.append(&mut known);
            }
            return (carried, kept);
        }
        let unroll = if rest.is_empty() { fused.unroll } else { 1 };
        let main = n / unroll * unroll;
        let mut carried = carried;
        for (range, unroll) in
            [(Range { from: 0, to: main, step: unroll }, unroll), (Range { from: main, to: n, step: 1 }, 1)]
        {
            carried = self.each(index, range, carried, &mut |this, mut carried| {
                let At { base, .. } = this.env[&index];
                for k in 0..unroll as i64 {
                    this.env.insert(index, At { base, add: k });
                    carried = this.scoped(|this| this.turns(fused, pipelined, rest, sizes, carried).0);
                }
                this.env.insert(index, At { base, add: 0 });
                carried
            });
        }
        (carried, Vec::new())
    }

    /// One turn.
    #[allow(clippy::type_complexity, reason = "what is carried, and what is known")]
    fn turn(
        &mut self,
        fused: &'a Fused,
        pipelined: Option<&'a Pipelined>,
        sizes: &[usize],
        carried: Vec<Value>,
    ) -> (Vec<Value>, Vec<(Element, Val)>) {
        let (mut results, mut kept) = (Vec::new(), Vec::new());
        // What is carried through the next turns comes behind it.
        let (carried, later) = carried.split_at(sizes.iter().sum());
        let mut left = carried;
        let mut sizes = sizes.iter();
        let mut sum = |this: &mut Self, statement: &'a Statement, ahead: bool| {
            let (op, body) = summed(statement);
            let vectors = this.varies(body);
            this.in_steps(ahead, |this| {
                let (mine, others) = left.split_at(*sizes.next().expect("a size for each sum in each step"));
                left = others;
                let sum = this.value_of(body.ty, mine, this.parts(), vectors);
                let sum = this.accumulate(op, sum, body);
                results.extend(this.carried_of(&sum, vectors));
            });
        };
        for statement in &fused.body {
            if statement.sums {
                sum(self, statement, false);
                continue;
            }
            match &statement.body.kind {
                ExprKind::Reduce { op, indices, body }
                    if is_plain_sum(*op, body.ty) && !self.is_cached(&statement.body) =>
                {
                    self.sum_inside(statement, *op, indices, body);
                }
                _ => self.statement(statement),
            }
            if fused.whole {
                let place = self.known_place(&statement.at).expect("all indices are known");
                self.each_step(|this| {
                    let element = this.element(statement.value, place.clone());
                    let value = this.registers[&element].clone();
                    kept.push((element, value));
                });
            }
        }
        if let Some(pipelined) = pipelined {
            self.hand_over(pipelined);
            for statement in &pipelined.ahead {
                match statement.sums {
                    true => sum(self, statement, true),
                    false => self.in_steps(true, |this| {
                        let value = this.emit(&statement.body);
                        this.define(statement, value);
                    }),
                }
            }
        }
        (later.iter().copied().chain(results).collect(), kept)
    }

    /// A statement that is a sum of its own in each turn of a loop: all steps side by side go through it together, so that
    /// what they all read is loaded once.
    fn sum_inside(&mut self, statement: &'a Statement, op: ReduceOp, indices: &'a [IndexId], body: &'a Expr) {
        let vectors = self.varies(body);
        let neutral = self.start(op, body.ty);
        let neutral = self.value_of(body.ty, &neutral, 1, false);
        let mut start = Vec::new();
        self.each_step(|this| start.push(this.carried_of(&neutral, vectors)));
        let size = start[0].len();
        let extent = |i: IndexId| self.plan.instance.extents[i.at()];
        let turns: usize = indices.iter().map(|&i| extent(i)).product();
        let whole = turns.saturating_mul(cost::operations(body, &extent) + 1) <= WRITTEN_OUT;
        let sums = self.scoped(|this| {
            this.each_step(|this| this.hoist(body, &mut indices.to_vec()));
            this.sums_inside(indices, whole, start.concat(), &mut |this, sums| {
                let (mut left, mut results) = (&sums[..], Vec::new());
                this.each_step(|this| {
                    let (mine, others) = left.split_at(size);
                    left = others;
                    let sum = this.value_of(body.ty, mine, this.parts(), vectors);
                    let sum = this.accumulate(op, sum, body);
                    results.extend(this.carried_of(&sum, vectors));
                });
                results
            })
        });
        let mut left = &sums[..];
        self.each_step(|this| {
            let (mine, others) = left.split_at(size);
            left = others;
            let mut value = this.value_of(body.ty, mine, this.parts(), vectors);
            if op == ReduceOp::Mean {
                value = this.over_count(value, turns);
            }
            this.define(statement, value);
        });
    }

    /// The loops of sums in a turn.
    fn sums_inside(
        &mut self,
        indices: &'a [IndexId],
        whole: bool,
        sums: Vec<Value>,
        turn: &mut dyn FnMut(&mut Self, Vec<Value>) -> Vec<Value>,
    ) -> Vec<Value> {
        let Some((&index, rest)) = indices.split_first() else { return turn(self, sums) };
        let n = self.extent(index);
        if whole {
            return (0..n as i64).fold(sums, |sums, k| {
                self.at(index, At { base: None, add: k }, |this| this.sums_inside(rest, whole, sums, turn))
            });
        }
        let range = Range { from: 0, to: n, step: 1 };
        self.each(index, range, sums, &mut |this, sums| this.sums_inside(rest, whole, sums, turn))
    }

    /// The mean of a sum.
    pub(super) fn over_count(&mut self, value: Val, count: usize) -> Val {
        let divisor = self.float(count as f64);
        let mut divide = |parts: &Parts| self.zip(parts, &Parts::One(divisor), |this, a, b| this.b.ins().fdiv(a, b));
        let re = divide(&value.re);
        let im = value.im.as_ref().map(divide);
        Val { ty: value.ty, re, im }
    }
}

/// The operation and the element of a statement that sums.
pub(super) fn summed(statement: &Statement) -> (ReduceOp, &Expr) {
    match &statement.body.kind {
        ExprKind::Reduce { op, body, .. } => (*op, body),
        _ => panic!("codegen: a sum that is no reduction"),
    }
}

fn summed_or_all(statement: &Statement) -> &Expr {
    if statement.sums { summed(statement).1 } else { &statement.body }
}
