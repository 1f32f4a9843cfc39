//! The order of a nest's loops, and which index lies on the lanes of vectors.
//!
//! Candidates are every index on the left, an index of each outermost reduction, or both; the cheapest wins, counted in
//! plain operations per element. Unit strides and broadcasts are cheap, gathers and all that has no vector form are
//! taken apart lane by lane.

use super::region::is_plain_sum;
use super::shape::{Linear, is_guard, mentions, weight};
use super::{Nest, Place, Target};
use crate::ir::{BinaryOp, Expr, ExprKind, IndexId, Instance, ReduceOp, Scalar, ValueId};

/// From how many lanes on a vector of elements may have sums with lanes of their own: as many of them run side by side.
const LEAST_ROWS: usize = 8;

/// What one turn of such sums may cost, of which all rows are written out.
const MOST_IN_ROWS: f64 = 8.0;

/// An index that lies on vector lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanes {
    /// The index.
    pub index: IndexId,
    /// How many vectors are worked on at once.
    pub unroll: usize,
}

/// Makes the nest of an equation.
pub fn nest(
    instance: &Instance,
    target: Target,
    value: ValueId,
    place: Place,
    indices: Vec<IndexId>,
    body: Expr,
) -> Nest {
    let model = Model { instance, width: target.width, registers: target.registers };
    let at: Vec<Expr> =
        indices.iter().map(|&i| Expr { kind: ExprKind::Index(i), ty: Scalar::Int, span: body.span }).collect();
    let lanes = match body.shifted_along() {
        // It fills a vector.
        Some(index) => vec![Lanes { index, unroll: 1 }],
        None => model.choose(value, &at, &indices, &body),
    };
    let mut loops = indices;
    if let [Lanes { index, .. }, ..] = lanes[..]
        && let Some(at) = loops.iter().position(|i| *i == index)
    {
        let index = loops.remove(at);
        loops.push(index);
    }
    Nest { value, target: place, at, body, loops, lanes }
}

struct Model<'a> {
    instance: &'a Instance,
    width: usize,
    registers: usize,
}

impl Model<'_> {
    fn extent(&self, i: IndexId) -> usize {
        self.instance.extents[i.at()]
    }

    fn choose(&self, value: ValueId, at: &[Expr], indices: &[IndexId], body: &Expr) -> Vec<Lanes> {
        let (mut reduced, mut best) = (Vec::new(), self.cost(body, None) + 1.0);
        let mut found = Vec::new();
        let inner = self.with_reduced(body, &mut found) + 1.0;
        if inner < best {
            best = inner;
            reduced = found;
        }
        let mut chosen = reduced;
        if matches!(body.ty, Scalar::Real | Scalar::Complex) {
            let stores = Linear::of_access(at, &self.instance.axes[value.at()]);
            for &index in indices {
                let n = self.extent(index);
                if n < self.width {
                    continue;
                }
                let store = if stores.factor(index) == 1 { 1.0 } else { 2.0 * self.width as f64 };
                let vector = self.cost(body, Some(index)) + store;
                let per_element = self.mixed(index, vector, self.cost(body, None) + 1.0) / n as f64;
                // On a tie the first index is preferred; reductions over memory rows beat strided columns.
                if per_element < best {
                    best = per_element;
                    chosen = vec![Lanes { index, unroll: self.unroll_left(body, n) }];
                }
                let mut rows = Vec::new();
                if n.is_multiple_of(self.width)
                    && let Some(vector) = self.in_rows(body, index, &mut rows)
                    && (vector + store) / (self.width as f64) < best
                    && !rows.is_empty()
                {
                    best = (vector + store) / self.width as f64;
                    chosen = [vec![Lanes { index, unroll: 1 }], rows].concat();
                }
            }
        }
        chosen
    }

    /// The cost of a loop over an index with whole vectors and a scalar rest.
    fn mixed(&self, index: IndexId, vector: f64, scalar: f64) -> f64 {
        let n = self.extent(index);
        (n / self.width) as f64 * vector + (n % self.width) as f64 * scalar
    }

    fn unroll_left(&self, body: &Expr, n: usize) -> usize {
        let (mut loops, mut heavy) = (false, false);
        body.walk(&mut |e| match &e.kind {
            ExprKind::Reduce { .. } => loops = true,
            ExprKind::Call(f, args) => heavy |= weight(*f, args[0].ty == Scalar::Complex) > 4,
            _ => heavy |= e.ty == Scalar::Complex,
        });
        let most = match (loops, heavy) {
            (true, false) => 4,
            (true, true) => 2,
            // Chains of operations: as many side by side as registers suffice for.
            (false, true) if self.registers >= 32 => 4,
            (false, true) => 2,
            (false, false) => 1,
        };
        largest_below(most, n / self.width)
    }

    /// The cost of an element with the outermost reductions on lanes, where that is cheaper.
    fn with_reduced(&self, e: &Expr, found: &mut Vec<Lanes>) -> f64 {
        let ExprKind::Reduce { op, indices, body } = &e.kind else {
            let own = self.own(e, None);
            return own + e.operands().into_iter().map(|operand| self.with_reduced(operand, found)).sum::<f64>();
        };
        let scalar = self.cost(e, None);
        let sound = matches!(op, ReduceOp::Sum | ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min | ReduceOp::Mean)
            && matches!(body.ty, Scalar::Real | Scalar::Complex);
        if !sound {
            return scalar;
        }
        let count: f64 = indices.iter().map(|&i| self.extent(i) as f64).product();
        let mut best = (scalar, None);
        for &index in indices.iter().filter(|&&i| self.extent(i) >= self.width) {
            let n = self.extent(index) as f64;
            let once = self.mixed(index, self.cost(body, Some(index)) + 1.0, self.cost(body, None) + 1.0);
            let total = once * count / n + 2.0 * self.width as f64;
            if total < best.0 {
                best = (total, Some(index));
            }
        }
        let Some(index) = best.1 else {
            // A reduction inside of this one may still have lanes.
            let mut inner = Vec::new();
            let cost = count * (self.with_reduced(body, &mut inner) + 1.0);
            if cost < scalar {
                found.extend(inner);
                return cost;
            }
            return scalar;
        };
        let most = if self.cost(body, Some(index)) > 24.0 || body.ty == Scalar::Complex { 2 } else { 4 };
        found.push(Lanes { index, unroll: largest_below(most, self.extent(index) / self.width) });
        best.0
    }

    /// The cost of a vector along an index where each of its elements has sums with lanes of their own, which become one vector
    /// in the end: what lies in rows is read as it lies. The sums are those that are `found`.
    fn in_rows(&self, e: &Expr, row: IndexId, found: &mut Vec<Lanes>) -> Option<f64> {
        if self.width < LEAST_ROWS || self.registers < 32 || !self.has_vectors(e, row) {
            return None;
        }
        let ExprKind::Reduce { op, indices, body } = &e.kind else {
            let below = match &e.kind {
                ExprKind::Read { .. } | ExprKind::Past { .. } => Vec::new(),
                _ => e.operands(),
            };
            let mut total = self.own(e, Some(row).filter(|i| mentions(e, &[*i])));
            for operand in below {
                total += self.in_rows(operand, row, found)?;
            }
            return Some(total);
        };
        if !mentions(e, &[row]) {
            return Some(self.cost(e, None));
        }
        if !is_plain_sum(*op, body.ty) || body.ty != Scalar::Real {
            return None;
        }
        let count: f64 = indices.iter().map(|&i| self.extent(i) as f64).product();
        let whole = |i: &IndexId| self.extent(*i) > 0 && self.extent(*i).is_multiple_of(self.width);
        let each = |i: IndexId| (self.cost(body, Some(i)) + 1.0, i);
        let (vector, index) = indices.iter().copied().filter(whole).map(each).min_by(|a, b| a.0.total_cmp(&b.0))?;
        if vector > MOST_IN_ROWS {
            return None;
        }
        found.push(Lanes { index, unroll: 1 });
        // Each lane of a row has its own sums; three operations a row put them together.
        Some(count * vector + 3.0 * self.width as f64)
    }

    /// The cost of one evaluation: of one element, or of a vector along the index.
    fn cost(&self, e: &Expr, lane: Option<IndexId>) -> f64 {
        let lane = lane.filter(|i| mentions(e, &[*i]));
        if let Some(i) = lane
            && !self.has_vectors(e, i)
        {
            return self.width as f64 * (self.cost(e, None) + 1.0);
        }
        let below: f64 = match &e.kind {
            // The place of an element is found once for a vector.
            ExprKind::Read { .. } | ExprKind::Past { .. } => 0.0,
            _ => e.operands().into_iter().map(|operand| self.cost(operand, lane)).sum(),
        };
        let own = self.own(e, lane);
        match &e.kind {
            ExprKind::Reduce { indices, .. } => {
                let count: f64 = indices.iter().map(|&i| self.extent(i) as f64).product();
                count * (below + own)
            }
            _ => below + own,
        }
    }

    /// Whether it can be computed on lanes as it stands.
    fn has_vectors(&self, e: &Expr, lane: IndexId) -> bool {
        match &e.kind {
            ExprKind::If(parts) => !(is_guard(&parts[0]) && mentions(&parts[0], &[lane])),
            ExprKind::Reduce { op: ReduceOp::ArgMax | ReduceOp::ArgMin, .. } => false,
            ExprKind::Reduce { body, .. } => matches!(body.ty, Scalar::Real | Scalar::Complex),
            _ => true,
        }
    }

    fn own(&self, e: &Expr, lane: Option<IndexId>) -> f64 {
        let planes = if e.ty == Scalar::Complex { 2.0 } else { 1.0 };
        let width = self.width as f64;
        match &e.kind {
            ExprKind::Read { value, at } | ExprKind::Past { delay: value, at, .. } => {
                let linear = Linear::of_access(at, &self.instance.axes[value.at()]);
                let bends = 3.0 * linear.rest.len() as f64;
                match lane {
                    None => planes + bends,
                    Some(i) if linear.bends(&[i]) => planes * width * 2.0 + width * bends,
                    Some(i) if matches!(linear.factor(i), 0 | 1) && e.ty != Scalar::Bool && e.ty != Scalar::Int => {
                        planes + bends
                    }
                    Some(_) => planes * width * 2.0 + bends,
                }
            }
            ExprKind::Index(_) | ExprKind::Widen(_) if lane.is_some() => width,
            ExprKind::Binary(op, a, _) => {
                let each = if lane.is_some() && a.ty == Scalar::Int { width } else { 1.0 };
                let complex = a.ty == Scalar::Complex;
                each * match op {
                    BinaryOp::Div if complex => 12.0,
                    BinaryOp::Mul if complex => 4.0,
                    BinaryOp::Div => 4.0,
                    BinaryOp::FloorDiv | BinaryOp::Mod => 10.0,
                    _ => planes,
                }
            }
            ExprKind::Powi(_, n) => planes * planes * f64::from(n.unsigned_abs().max(1).ilog2() + 1),
            ExprKind::Call(f, args) => weight(*f, args[0].ty == Scalar::Complex) as f64,
            ExprKind::If(_) => 2.0 * planes,
            ExprKind::Unary(..) | ExprKind::Reduce { .. } => planes,
            _ => 0.0,
        }
    }
}

fn largest_below(most: usize, limit: usize) -> usize {
    let mut n = most;
    while n > limit.max(1) {
        n /= 2;
    }
    n.max(1)
}

/// The lanes of a nest's innermost loop, where they lie there.
pub fn on_left(nest: &Nest) -> Option<Lanes> {
    nest.lanes.first().copied().filter(|lanes| nest.loops.contains(&lanes.index))
}
