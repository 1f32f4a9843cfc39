//! Reductions: loops with accumulators.
//!
//! Along the lanes of a vector that belongs to the equation, every lane has accumulators of its own. Where the
//! reduction itself lies on the lanes, several vectors accumulate side by side, and are combined at the end, first
//! the vectors and then their lanes, always in the same order.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, Value, types};

use super::expr::power_in_sum;
use super::nest::Range;
use super::value::{Parts, Val};
use super::{Emitter, Lane};
use crate::ir::{BinaryOp, Expr, ExprKind, Function, IndexId, ReduceOp, Scalar};
use crate::plan::Lanes;
use crate::plan::shape::mentions;

/// Up to how many elements a reduction without loops inside is written out.
const WRITTEN_OUT: usize = 4;

impl<'a> Emitter<'a, '_> {
    pub(super) fn reduce(&mut self, e: &'a Expr) -> Val {
        let ExprKind::Reduce { op, indices, body } = &e.kind else { panic!("codegen: not a reduction") };
        let place = matches!(op, ReduceOp::ArgMax | ReduceOp::ArgMin);
        if let Some(lane) = self.lane
            && mentions(e, &[lane.index])
            && (place || !matches!(body.ty, Scalar::Real | Scalar::Complex))
        {
            // Accumulators of these are scalars.
            return self.lane_by_lane(e);
        }
        if place {
            return self.place_of(*op, indices, body);
        }
        let count: usize = indices.iter().map(|&i| self.extent(i)).product();
        let along = self.lanes.iter().copied().find(|lanes| indices.contains(&lanes.index));
        let result = match along {
            _ if count == 0 => {
                let start = self.start(*op, body.ty);
                self.value_of(body.ty, &start, 1, false)
            }
            Some(lanes) if self.lane.is_none() && self.picked.is_none() => self.on_lanes(*op, indices, body, lanes),
            Some(lanes) if self.has_rows(body) => self.in_rows(*op, indices, body, lanes),
            _ => match self.extremes(*op, indices, body) {
                Some(found) => found,
                None => self.in_order(*op, indices, body),
            },
        };
        if *op == ReduceOp::Mean {
            return self.over_count(result, count);
        }
        result
    }

    /// The neutral element, one scalar a plane.
    pub(super) fn start(&mut self, op: ReduceOp, ty: Scalar) -> Vec<Value> {
        let lowest = op == ReduceOp::Max;
        match ty {
            Scalar::Bool => vec![self.b.ins().iconst(types::I8, i64::from(!lowest))],
            Scalar::Int => {
                let n = match op {
                    ReduceOp::Prod => 1,
                    ReduceOp::Max => i64::MIN,
                    ReduceOp::Min => i64::MAX,
                    _ => 0,
                };
                vec![self.int(n)]
            }
            Scalar::Real | Scalar::Complex => {
                let x = match op {
                    ReduceOp::Prod => 1.0,
                    ReduceOp::Max => f64::NEG_INFINITY,
                    ReduceOp::Min => f64::INFINITY,
                    _ => 0.0,
                };
                let mut planes = vec![self.float(x)];
                if ty == Scalar::Complex {
                    planes.push(self.float(0.0));
                }
                planes
            }
        }
    }

    /// Carried values, plane after plane, as a value.
    pub(super) fn value_of(&self, ty: Scalar, carried: &[Value], parts: usize, vectors: bool) -> Val {
        let plane = |n: usize| match vectors {
            true => Parts::Each(carried[n * parts..(n + 1) * parts].to_vec()),
            false => Parts::One(carried[n]),
        };
        let im = (ty == Scalar::Complex).then(|| plane(1));
        Val { ty, re: plane(0), im }
    }

    pub(super) fn carried_of(&mut self, value: &Val, vectors: bool) -> Vec<Value> {
        let mut carried = Vec::new();
        for plane in [Some(&value.re), value.im.as_ref()].into_iter().flatten() {
            match plane {
                Parts::One(value) if !vectors => carried.push(*value),
                plane => carried.extend(self.spread(plane)),
            }
        }
        carried
    }

    /// Element after element.
    pub(super) fn in_order(&mut self, op: ReduceOp, indices: &'a [IndexId], body: &'a Expr) -> Val {
        let vectors = self.lane.is_some_and(|lane| mentions(body, &[lane.index]));
        let parts = self.parts();
        let start = self.start(op, body.ty);
        let start = match vectors {
            true => {
                let start = self.value_of(body.ty, &start, 1, false);
                self.carried_of(&start, true)
            }
            false => start,
        };
        let result = self.over(indices, &[], body, start, &mut |this, carried| {
            let sum = this.value_of(body.ty, &carried, parts, vectors);
            let sum = this.accumulate(op, sum, body);
            this.carried_of(&sum, vectors)
        });
        self.value_of(body.ty, &result, parts, vectors)
    }

    /// Loops over all indices; `inside` are those that `inner` loops over itself.
    pub(super) fn over(
        &mut self,
        indices: &[IndexId],
        inside: &[IndexId],
        body: &'a Expr,
        carried: Vec<Value>,
        inner: &mut dyn FnMut(&mut Self, Vec<Value>) -> Vec<Value>,
    ) -> Vec<Value> {
        let [index, rest @ ..] = indices else { return inner(self, carried) };
        self.scoped(|this| {
            this.hoist(body, &mut [indices, inside].concat());
            let n = this.extent(*index);
            if rest.is_empty() && inside.is_empty() && n <= WRITTEN_OUT && !has_loops(body) {
                return (0..n).fold(carried, |carried, at| {
                    this.each(*index, Range { from: at, to: at + 1, step: 1 }, carried, inner)
                });
            }
            this.each(*index, Range { from: 0, to: n, step: 1 }, carried, &mut |this, carried| {
                this.over(rest, inside, body, carried, inner)
            })
        })
    }

    /// With the lanes along one of its indices.
    fn on_lanes(&mut self, op: ReduceOp, indices: &'a [IndexId], body: &'a Expr, lanes: Lanes) -> Val {
        let index = lanes.index;
        let outer: Vec<IndexId> = indices.iter().copied().filter(|i| *i != index).collect();
        let (n, width, parts) = (self.extent(index), self.width, lanes.unroll);
        let main = n / (width * parts) * (width * parts);
        let whole = n / width * width;
        let start = self.start(op, body.ty);
        let planes = start.len();
        let mut carried = Vec::new();
        for &plane in &start {
            let plane = self.b.ins().splat(self.vector, plane);
            carried.extend(vec![plane; parts]);
        }
        let vectors = carried.len();
        carried.extend(&start);
        let result = self.over(&outer, &[index], body, carried, &mut |this, carried| {
            this.scoped(|this| {
                this.hoist(body, &mut vec![index]);
                let (wide, narrow) = (carried[..vectors].to_vec(), carried[vectors..].to_vec());
                let vector_step = |this: &mut Self, wide: Vec<Value>, range: Range, used: usize| {
                    this.lane = Some(Lane { index, parts: used, live: used * width });
                    let wide = this.each(index, range, wide, &mut |this, wide| {
                        let mut now = Vec::new();
                        for plane in 0..planes {
                            now.extend(&wide[plane * parts..plane * parts + used]);
                        }
                        let sum = this.value_of(body.ty, &now, used, true);
                        let sum = this.accumulate(op, sum, body);
                        let now = this.carried_of(&sum, true);
                        let mut wide = wide;
                        for plane in 0..planes {
                            wide[plane * parts..plane * parts + used]
                                .copy_from_slice(&now[plane * used..(plane + 1) * used]);
                        }
                        wide
                    });
                    this.lane = None;
                    wide
                };
                let wide = vector_step(this, wide, Range { from: 0, to: main, step: width * parts }, parts);
                let left = (whole - main) / width;
                let wide = match left {
                    0 => wide,
                    left => vector_step(this, wide, Range { from: main, to: whole, step: whole - main }, left),
                };
                let narrow = this.each(index, Range { from: whole, to: n, step: 1 }, narrow, &mut |this, narrow| {
                    let sum = this.value_of(body.ty, &narrow, 1, false);
                    let sum = this.accumulate(op, sum, body);
                    this.carried_of(&sum, false)
                });
                [wide, narrow].concat()
            })
        });
        let rest = self.value_of(body.ty, &result[vectors..], 1, false);
        // Vectors first, pairwise, then lanes.
        let mut columns: Vec<Val> = (0..parts)
            .map(|part| {
                let planes: Vec<Value> = (0..planes).map(|plane| result[plane * parts + part]).collect();
                self.value_of(body.ty, &planes, 1, true)
            })
            .collect();
        while columns.len() > 1 {
            let half = columns.split_off(columns.len() / 2);
            columns = columns.into_iter().zip(half).map(|(a, b)| self.combine(op, a, b)).collect();
        }
        let vector = columns.remove(0);
        let mut each: Vec<Val> = (0..width)
            .map(|lane| {
                let re = Parts::One(self.pick(vector.ty, &vector.re, lane));
                let im = vector.im.as_ref().map(|im| Parts::One(self.pick(vector.ty, im, lane)));
                Val { ty: vector.ty, re, im }
            })
            .collect();
        while each.len() > 1 {
            let half = each.split_off(each.len() / 2);
            each = each.into_iter().zip(half).map(|(a, b)| self.combine(op, a, b)).collect();
        }
        let total = each.remove(0);
        if whole == n { total } else { self.combine(op, total, rest) }
    }

    /// The accumulator with one more element.
    pub(super) fn accumulate(&mut self, op: ReduceOp, sum: Val, body: &'a Expr) -> Val {
        let product = match &body.kind {
            ExprKind::Binary(BinaryOp::Mul, a, b) => Some((&**a, &**b)),
            _ => None,
        };
        let add = matches!(op, ReduceOp::Sum | ReduceOp::Mean);
        if let Some((base, exponent)) = power_in_sum(op, body)
            && let ExprKind::Call(_, inner) = &base.kind
        {
            // The power itself takes the magnitude of a real.
            let real = inner[0].ty == Scalar::Real && !self.is_cached(base);
            let base = self.emit(if real { &inner[0] } else { base });
            return self.add_power(&sum, &base, exponent);
        }
        let add = add && self.machine.fma;
        if add
            && let ExprKind::Call(Function::Re, arguments) = &body.kind
            && let ExprKind::Binary(BinaryOp::Mul, a, b) = &arguments[0].kind
            && arguments[0].ty == Scalar::Complex
            && !self.is_cached(&arguments[0])
        {
            if let Some((scale, z)) = Expr::scaled(a, b) {
                let (scale, (re, _)) = (self.emit(scale).re, self.emit(z).planes());
                let re = self.zip3(&scale, &re, &sum.re, |this, a, b, c| this.b.ins().fma(a, b, c));
                return Val::plane(Scalar::Real, re);
            }
            let ((ar, ai), (br, bi)) = (self.emit(a).planes(), self.emit(b).planes());
            let minus = self.map(&ai, |this, a| this.b.ins().fneg(a));
            let re = self.zip3(&ar, &br, &sum.re, |this, a, b, c| this.b.ins().fma(a, b, c));
            let re = self.zip3(&minus, &bi, &re, |this, a, b, c| this.b.ins().fma(a, b, c));
            return Val::plane(Scalar::Real, re);
        }
        match product {
            Some((a, b)) if add && body.ty == Scalar::Real && !self.is_cached(body) => {
                let (a, b) = (self.emit(a), self.emit(b));
                let re = self.zip3(&a.re, &b.re, &sum.re, |this, a, b, c| this.b.ins().fma(a, b, c));
                Val::plane(Scalar::Real, re)
            }
            Some((a, b)) if add && body.ty == Scalar::Complex && !self.is_cached(body) => {
                if let Some((scale, z)) = Expr::scaled(a, b) {
                    let (scale, z, (re, im)) = (self.emit(scale).re, self.emit(z).planes(), sum.planes());
                    let mut add = |x: &Parts, sum: &Parts| {
                        self.zip3(&scale, x, sum, |this, x, y, sum| this.b.ins().fma(x, y, sum))
                    };
                    return Val::complex(add(&z.0, &re), add(&z.1, &im));
                }
                let ((ar, ai), (br, bi)) = (self.emit(a).planes(), self.emit(b).planes());
                let (re, im) = sum.planes();
                let minus = self.map(&ai, |this, a| this.b.ins().fneg(a));
                let mut add = |x: &Parts, y: &Parts, sum: &Parts| {
                    self.zip3(x, y, sum, |this, x, y, sum| this.b.ins().fma(x, y, sum))
                };
                let (re, im) = (add(&ar, &br, &re), add(&ar, &bi, &im));
                Val::complex(add(&minus, &bi, &re), add(&ai, &br, &im))
            }
            _ => {
                let value = self.emit(body);
                self.combine(op, sum, value)
            }
        }
    }

    pub(super) fn combine(&mut self, op: ReduceOp, a: Val, b: Val) -> Val {
        let ty = a.ty;
        match (op, ty) {
            (ReduceOp::Max | ReduceOp::Min, Scalar::Real) => {
                let larger = op == ReduceOp::Max;
                Val::plane(ty, self.zip(&a.re, &b.re, |this, a, b| this.extreme(larger, a, b)))
            }
            (ReduceOp::Max, Scalar::Int) => Val::plane(ty, self.zip_int(&a.re, &b.re, |s, a, b| s.b.ins().smax(a, b))),
            (ReduceOp::Min, Scalar::Int) => Val::plane(ty, self.zip_int(&a.re, &b.re, |s, a, b| s.b.ins().smin(a, b))),
            (ReduceOp::Max, _) => Val::plane(ty, self.zip_bool(&a.re, &b.re, |s, a, b| s.b.ins().bor(a, b))),
            (ReduceOp::Min, _) => Val::plane(ty, self.zip_bool(&a.re, &b.re, |s, a, b| s.b.ins().band(a, b))),
            (ReduceOp::Prod, _) => self.binary(BinaryOp::Mul, a, b),
            _ => self.binary(BinaryOp::Add, a, b),
        }
    }

    /// The place of the first of the largest or smallest, and of the first NaN where there is one.
    fn place_of(&mut self, op: ReduceOp, indices: &'a [IndexId], body: &'a Expr) -> Val {
        let start = match body.ty {
            Scalar::Int => self.int(0),
            _ => self.float(0.0),
        };
        let (none, zero) = (self.int(-1), self.int(0));
        let larger = op == ReduceOp::ArgMax;
        let result = self.over(indices, &[], body, vec![start, none, zero], &mut |this, carried| {
            let [best, place, at] = carried[..] else { panic!("codegen: three values are carried") };
            let value = this.emit(body).scalar();
            let none = this.b.ins().icmp_imm_s(IntCC::SignedLessThan, place, 0);
            let better = match body.ty {
                Scalar::Int => {
                    let order = if larger { IntCC::SignedGreaterThan } else { IntCC::SignedLessThan };
                    this.b.ins().icmp(order, value, best)
                }
                _ => {
                    let order = if larger { FloatCC::GreaterThan } else { FloatCC::LessThan };
                    let better = this.b.ins().fcmp(order, value, best);
                    let nan = this.b.ins().fcmp(FloatCC::Unordered, value, value);
                    let sound = this.b.ins().fcmp(FloatCC::Equal, best, best);
                    let nan = this.b.ins().band(nan, sound);
                    this.b.ins().bor(better, nan)
                }
            };
            let take = this.b.ins().bor(none, better);
            let best = this.b.ins().select(take, value, best);
            let place = this.b.ins().select(take, at, place);
            let at = this.b.ins().iadd_imm_s(at, 1);
            vec![best, place, at]
        });
        Val::one(Scalar::Int, result[1])
    }
}

fn has_loops(e: &Expr) -> bool {
    let mut found = false;
    e.walk(&mut |e| found |= matches!(e.kind, ExprKind::Reduce { .. }));
    found
}
