//! Counting operations.
//!
//! Expressions are compared by a hash in which an index stands for its place: the left-hand ones first, then the
//! bound ones from the outside in, each with its extent. So equal expressions of different equations are found, too, if
//! their indices have the same places.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Operations, Unit};
use crate::ir::{
    BinaryOp, Expr, ExprKind, Function, IndexId, Instance, NormaliseOp, ReduceOp, Scalar, UnaryOp, ValueId, ValueKind,
};

/// The operations of a run, and of a step.
pub(super) fn count(instance: &Instance) -> (Operations, Operations) {
    let layer = &instance.layer;
    let fixed = layer.values.iter().map(|value| value.kind == ValueKind::Param).collect();
    let mut counter = Counter {
        instance,
        fixed,
        levels: HashMap::new(),
        seen: HashSet::new(),
        silent: false,
        once: Operations::default(),
        step: Operations::default(),
    };
    for equation in &layer.equations {
        counter.levels.clear();
        counter.enter(&equation.indices);
        let seen = counter.expr(&equation.body);
        counter.fixed[equation.value.at()] = seen.fixed;
    }
    (counter.once, counter.step)
}

struct Counter<'a> {
    instance: &'a Instance,
    /// Whether a value depends on parameters only; by value.
    fixed: Vec<bool>,
    /// The place of each index in scope.
    levels: HashMap<IndexId, usize>,
    /// What was counted before.
    seen: HashSet<u64>,
    /// Whether nothing is counted.
    silent: bool,
    once: Operations,
    step: Operations,
}

/// What is known of an expression.
struct Seen {
    hash: u64,
    /// The indices that occur in it free, ascending.
    free: Vec<IndexId>,
    /// Whether it depends on parameters only.
    fixed: bool,
    /// Whether it has nothing but literals and dimensions in it.
    literal: bool,
    /// A real product that was counted here as a multiplication, and as often as this says.
    product: Option<u64>,
}

impl<'a> Counter<'a> {
    fn enter(&mut self, indices: &[IndexId]) {
        for &index in indices {
            let level = self.levels.len();
            self.levels.insert(index, level);
        }
    }

    /// For how many values of indices something is computed.
    fn times(&self, indices: impl IntoIterator<Item = IndexId>) -> u64 {
        indices.into_iter().fold(1u64, |n, index| n.saturating_mul(self.instance.extents[index.at()] as u64))
    }

    /// Whether an expression is to be counted, because nothing like it was.
    fn is_new(&mut self, hash: u64) -> bool {
        !self.silent && self.seen.insert(hash)
    }

    fn operations(&mut self, fixed: bool) -> &mut Operations {
        if fixed { &mut self.once } else { &mut self.step }
    }

    /// Counts an expression.
    fn expr(&mut self, e: &'a Expr) -> Seen {
        match &e.kind {
            ExprKind::Reduce { op, indices, body } => self.reduce(e, *op, indices, body),
            ExprKind::Normalise { op, index, at, body, eps } => {
                let eps = eps.as_deref().map(|eps| self.expr(eps));
                let place = self.place(at);
                self.normalise(*op, *index, place, body, eps)
            }
            ExprKind::Read { value, at } => self.read(*value, at, 0, None),
            ExprKind::Past { delay, at, steps } => self.read(*delay, at, 1, Some(steps)),
            _ => self.operator(e),
        }
    }

    /// What a place depends on. Its arithmetic is not counted, and only places that values give have to be known first.
    fn place(&mut self, e: &'a Expr) -> Seen {
        let silent = std::mem::replace(&mut self.silent, true);
        let seen = self.expr(e);
        self.silent = silent;
        seen
    }

    fn read(&mut self, value: ValueId, at: &'a [Expr], tag: u8, steps: Option<&'a Expr>) -> Seen {
        let mut hasher = DefaultHasher::new();
        (2u8, tag, value).hash(&mut hasher);
        let mut free = Vec::new();
        let mut fixed = self.fixed[value.at()] && steps.is_none();
        for e in at.iter().chain(steps) {
            let place = self.place(e);
            place.hash.hash(&mut hasher);
            free.extend(place.free);
            fixed &= place.fixed;
        }
        free.sort_unstable();
        free.dedup();
        Seen { hash: hasher.finish(), free, fixed, literal: false, product: None }
    }

    /// Anything that is computed from its operands, element by element.
    fn operator(&mut self, e: &'a Expr) -> Seen {
        let operands: Vec<Seen> = e.operands().into_iter().map(|operand| self.expr(operand)).collect();
        let mut hasher = DefaultHasher::new();
        (0u8, e.ty).hash(&mut hasher);
        self.head(e, &mut hasher);
        let mut free = Vec::new();
        let mut fixed = !matches!(e.kind, ExprKind::First);
        for operand in &operands {
            operand.hash.hash(&mut hasher);
            free.extend(operand.free.iter().copied());
            fixed &= operand.fixed;
        }
        if let ExprKind::Index(index) = e.kind {
            free.push(index);
        }
        free.sort_unstable();
        free.dedup();
        let hash = hasher.finish();
        let mut product = None;
        let unit = unit(e);
        let literal = match e.kind {
            ExprKind::First | ExprKind::Index(_) | ExprKind::Random(..) => false,
            _ => operands.iter().all(|operand| operand.literal),
        };
        if !literal && self.is_new(hash) {
            let times = self.times(free.iter().copied());
            self.operations(fixed).add(&unit, times);
            if e.ty == Scalar::Real && matches!(e.kind, ExprKind::Binary(BinaryOp::Mul, ..)) {
                product = Some(times);
            }
            if e.ty == Scalar::Real && matches!(e.kind, ExprKind::Binary(BinaryOp::Add | BinaryOp::Sub, ..)) {
                let part = operands.iter().find(|operand| operand.product == Some(times) && operand.fixed == fixed);
                if part.is_some() {
                    self.fuse(fixed, times);
                }
            }
        }
        // A change of sign is absorbed by the sum that it ends up in.
        if let (ExprKind::Unary(UnaryOp::Neg, _), [operand]) = (&e.kind, &operands[..]) {
            product = operand.product;
        }
        Seen { hash, free, fixed, literal, product }
    }

    /// Makes one operation of a multiplication and an addition that were both counted.
    fn fuse(&mut self, fixed: bool, times: u64) {
        let operations = self.operations(fixed);
        operations.adds = operations.adds.saturating_sub(times);
        operations.multiplies = operations.multiplies.saturating_sub(times);
        operations.fused = operations.fused.saturating_add(times);
    }

    /// What tells an expression from others with the same operands.
    fn head(&self, e: &Expr, hasher: &mut DefaultHasher) {
        std::mem::discriminant(&e.kind).hash(hasher);
        match &e.kind {
            ExprKind::Int(n) => n.hash(hasher),
            ExprKind::Real(x) | ExprKind::Imaginary(x) => x.to_bits().hash(hasher),
            ExprKind::Bool(b) => b.hash(hasher),
            ExprKind::Dim(dim) => dim.hash(hasher),
            ExprKind::Index(index) => {
                (self.levels.get(index), self.instance.extents[index.at()]).hash(hasher);
            }
            ExprKind::Unary(op, _) => op.hash(hasher),
            ExprKind::Binary(op, ..) => op.hash(hasher),
            ExprKind::Powi(_, n) => n.hash(hasher),
            ExprKind::Shift(_, n) => n.hash(hasher),
            ExprKind::Call(function, _) => function.hash(hasher),
            _ => {}
        }
    }

    fn reduce(&mut self, e: &'a Expr, op: ReduceOp, indices: &[IndexId], body: &'a Expr) -> Seen {
        self.enter(indices);
        let element = self.expr(body);
        for index in indices {
            self.levels.remove(index);
        }
        let mut hasher = DefaultHasher::new();
        (1u8, op, element.hash).hash(&mut hasher);
        for index in indices {
            self.instance.extents[index.at()].hash(&mut hasher);
        }
        let free: Vec<IndexId> = element.free.iter().copied().filter(|index| !indices.contains(index)).collect();
        let (hash, fixed) = (hasher.finish(), element.fixed);
        if self.is_new(hash) {
            let outer = self.times(free.iter().copied());
            let times = outer.saturating_mul(self.times(indices.iter().copied()));
            let real = body.ty == Scalar::Real;
            let fold = match op {
                ReduceOp::Sum | ReduceOp::Mean => Unit::sum(e.ty),
                ReduceOp::Prod => Unit::product(e.ty),
                ReduceOp::Max | ReduceOp::Min => Unit::simple(1),
                ReduceOp::ArgMax | ReduceOp::ArgMin => Unit::simple(3),
                // The maximum, then the sum of exponentials of what is left.
                ReduceOp::LogSumExp => Unit { adds: 2, simple: 1, ..Unit::function(&["exp"]) },
            };
            self.operations(fixed).add(&fold, times);
            if real && matches!(op, ReduceOp::Sum | ReduceOp::Mean) && element.product == Some(times) {
                self.fuse(fixed, times);
            }
            let last = match op {
                ReduceOp::Mean => Unit::quotient(e.ty),
                ReduceOp::LogSumExp => Unit { adds: 1, ..Unit::function(&["log"]) },
                _ => Unit::NONE,
            };
            self.operations(fixed).add(&last, outer);
        }
        Seen { hash, free, fixed, literal: false, product: None }
    }

    fn normalise(&mut self, op: NormaliseOp, index: IndexId, at: Seen, body: &'a Expr, eps: Option<Seen>) -> Seen {
        self.enter(&[index]);
        let element = self.expr(body);
        self.levels.remove(&index);
        let mut hasher = DefaultHasher::new();
        (3u8, op, element.hash, self.instance.extents[index.at()]).hash(&mut hasher);
        let mut free: Vec<IndexId> = element.free.iter().copied().filter(|i| *i != index).collect();
        let mut fixed = element.fixed;
        if let Some(eps) = eps {
            eps.hash.hash(&mut hasher);
            free.extend(eps.free);
            fixed &= eps.fixed;
        }
        free.sort_unstable();
        free.dedup();
        // The vector is normalised once, whichever of its elements are taken.
        if self.is_new(hasher.finish()) {
            let outer = self.times(free.iter().copied());
            let times = outer.saturating_mul(self.times([index]));
            let (each, last) = match op {
                NormaliseOp::Softmax => {
                    (Unit { adds: 2, divisions: 1, simple: 1, ..Unit::function(&["exp"]) }, Unit::NONE)
                }
                NormaliseOp::LayerNorm => (
                    Unit { adds: 2, fused: 1, divisions: 1, ..Unit::NONE },
                    Unit { divisions: 2, adds: 1, roots: 1, ..Unit::NONE },
                ),
                NormaliseOp::RmsNorm => (
                    Unit { fused: 1, divisions: 1, ..Unit::NONE },
                    Unit { divisions: 1, adds: 1, roots: 1, ..Unit::NONE },
                ),
            };
            let operations = self.operations(fixed);
            operations.add(&each, times);
            operations.add(&last, outer);
        }
        (at.hash, 4u8).hash(&mut hasher);
        free.extend(at.free);
        free.sort_unstable();
        free.dedup();
        Seen { hash: hasher.finish(), free, fixed: fixed && at.fixed, literal: false, product: None }
    }
}

/// What an operator takes for one element.
pub(super) fn unit(e: &Expr) -> Unit {
    match &e.kind {
        ExprKind::Unary(..) => match e.ty {
            // A sum takes a negated operand as it is; what is left is rare.
            Scalar::Real | Scalar::Complex => Unit::NONE,
            _ => Unit::simple(1),
        },
        ExprKind::Binary(op, a, _) => match op {
            BinaryOp::Add | BinaryOp::Sub => Unit::sum(e.ty),
            BinaryOp::Mul => Unit::product(e.ty),
            BinaryOp::Div => Unit::quotient(e.ty),
            BinaryOp::FloorDiv | BinaryOp::Mod => match e.ty {
                Scalar::Real => Unit { divisions: 1, simple: 1, ..Unit::NONE },
                _ => Unit::simple(2),
            },
            _ => Unit::simple(if a.ty == Scalar::Complex { 2 } else { 1 }),
        },
        ExprKind::Powi(_, n) => power(*n, e.ty),
        ExprKind::Shift(..) | ExprKind::Last(_) => Unit::simple(if e.ty == Scalar::Complex { 2 } else { 1 }),
        ExprKind::Call(function, args) => Unit::call(*function, args.first().map_or(e.ty, |a| a.ty)),
        ExprKind::If(_) => Unit::simple(if e.ty == Scalar::Complex { 2 } else { 1 }),
        _ => Unit::NONE,
    }
}

/// Repeated squaring, and the products of what the bits ask for.
fn power(n: i32, ty: Scalar) -> Unit {
    let bits = n.unsigned_abs();
    let products = match bits {
        0 | 1 => 0,
        _ => bits.ilog2() + bits.count_ones() - 1,
    };
    let one = Unit::product(ty);
    let inverse = if n < 0 { Unit::quotient(ty) } else { Unit::NONE };
    Unit {
        multiplies: products * one.multiplies,
        fused: products * one.fused + inverse.fused,
        simple: products * one.simple + inverse.simple,
        divisions: inverse.divisions,
        ..Unit::NONE
    }
}

/// Whether a function only moves or relabels what it is given.
pub(super) fn is_free(function: Function) -> bool {
    matches!(function, Function::Re | Function::Im)
}
