//! IR to IR: what loops cannot say directly, and what should run in loops of its own.
//!
//! In: an [`Instance`]. Out: another one that means the same, in which
//!
//! - there are no normalisations and no `logsumexp`: they have become maxima, sums and exponentials, with
//!   definitions for what is needed twice;
//! - dimensions are numbers;
//! - a sub-expression that is costly (a reduction, an elementary function) and has fewer free indices than its
//!   place is a definition of its own, in front of the equation, computed at the level of its own indices; equal
//!   ones share one definition;
//! - so is what is costly and depends on parameters alone;
//! - `exp` of a product with parameters is a power of 2, with `log2(e)` among the parameters;
//! - under a sum, what is divided by something with fewer indices than the sum has is what has those indices alone;
//! - so is a long sum, or an elementary function, that no state reaches, in an equation that one does: it can run for
//!   many steps at once.
//!
//! One module though it is long: one walk over an expression does all of this, and its parts call each other.
//!
//! Equations without elements stay as they are: they become no loops.
//!
//! A branch of an `if` whose condition compares integers may be there to keep accesses inside: nothing leaves it,
//! unless it must and takes the condition along. So may the left side of `and` and `or`: those become `if`s.

use std::collections::{HashMap, HashSet};

use super::shape::{free_indices, is_costly, is_guard, substitute, weight};
use super::split::CONTRACTED;
use crate::diag::Span;
use crate::ir::{
    BinaryOp, Equation, Expr, ExprKind, Function, Index, IndexId, Instance, NormaliseOp, ReduceOp, Scalar, State, Type,
    UnaryOp, Value, ValueId, ValueKind,
};

/// Lowers all equations of an instance.
pub fn lower(instance: &Instance) -> Instance {
    let turns = instance.layer.states.iter().any(|state| state.reverse);
    let bound: HashSet<ValueId> = instance.layer.params.iter().map(|param| param.value).collect();
    let early = bound.iter().chain(&instance.layer.inputs).copied().collect();
    let mut lowering = Lowering { to: instance.clone(), shared: HashMap::new(), names: 0, turns, bound, early };
    for equation in std::mem::take(&mut lowering.to.layer.equations) {
        if lowering.to.axes[equation.value.at()].contains(&0) {
            lowering.to.layer.equations.push(equation);
            continue;
        }
        let scope = lowering.scope(&equation.indices, &equation.body);
        let body = lowering.rewrite(equation.body, &scope);
        lowering.define_at(Equation { body, ..equation });
    }
    lowering.part_reset();
    lowering.to
}

/// Up to how many elements a sum may have that is taken out of the recurrence: a row of them for each step of a tile
/// has to stay in the cache.
const ROOM: usize = 4096;

/// From how many operations on a function is a chain that the recurrence should not wait for.
pub const CHAIN: usize = 20;

/// From how many lanes on an expression that is the same for all of them is worth a row.
const REPEATED: usize = 64;

/// Where an expression stands.
#[derive(Clone)]
struct Scope {
    /// The indices that are bound here, outermost first.
    indices: Vec<IndexId>,
    /// What is known to hold here, of conditions that compare integers.
    guards: Vec<Expr>,
    /// Whether all of it depends on parameters alone.
    bound: bool,
    /// Whether no state reaches it.
    early: bool,
}

struct Lowering {
    to: Instance,
    /// Definitions by their canonical text.
    shared: HashMap<String, ValueId>,
    names: usize,
    /// Whether some passes run backwards: delays can be read in the first pass only.
    turns: bool,
    /// The values that depend on parameters alone.
    bound: HashSet<ValueId>,
    /// The values that no state reaches.
    early: HashSet<ValueId>,
}

fn expr(kind: ExprKind, ty: Scalar, span: Span) -> Expr {
    Expr { kind, ty, span }
}

fn binary(op: BinaryOp, a: Expr, b: Expr) -> Expr {
    let span = a.span.to(b.span);
    let ty = if op.is_comparison() { Scalar::Bool } else { a.ty };
    expr(ExprKind::Binary(op, Box::new(a), Box::new(b)), ty, span)
}

fn call(function: Function, a: Expr) -> Expr {
    let (ty, span) = (a.ty, a.span);
    expr(ExprKind::Call(function, vec![a]), ty, span)
}

fn index(i: IndexId, span: Span) -> Expr {
    expr(ExprKind::Index(i), Scalar::Int, span)
}

fn select(condition: Expr, then: Expr, other: Expr) -> Expr {
    let (ty, span) = (then.ty, then.span);
    expr(ExprKind::If(Box::new([condition, then, other])), ty, span)
}

/// `and` and `or` whose right side may be evaluated only where the left side lets it, as choices.
fn guarded_right(e: Expr) -> Expr {
    let (ty, span) = (e.ty, e.span);
    match e.kind {
        ExprKind::Binary(op @ (BinaryOp::And | BinaryOp::Or), a, b) if is_guard(&a) && may_fail(&b) => {
            let known = expr(ExprKind::Bool(op == BinaryOp::Or), ty, span);
            if op == BinaryOp::And { select(*a, *b, known) } else { select(*a, known, *b) }
        }
        kind => expr(kind, ty, span),
    }
}

/// Whether an expression reads elements, or divides integers.
fn may_fail(e: &Expr) -> bool {
    let mut found = false;
    e.walk(&mut |e| {
        found |= match &e.kind {
            ExprKind::Read { at, .. } => !at.is_empty(),
            ExprKind::Past { .. } | ExprKind::Normalise { .. } | ExprKind::Solve { .. } => true,
            ExprKind::Binary(BinaryOp::FloorDiv | BinaryOp::Mod, ..) => e.ty == Scalar::Int,
            _ => false,
        }
    });
    found
}

/// One plane of a complex sum as a sum of that plane: nobody needs the other one.
fn one_plane(mut e: Expr) -> Expr {
    if let ExprKind::Call(f @ (Function::Re | Function::Im), arguments) = &mut e.kind
        && let [Expr { kind: ExprKind::Reduce { op: op @ (ReduceOp::Sum | ReduceOp::Mean), indices, body }, .. }] =
            &mut arguments[..]
        && body.ty == Scalar::Complex
    {
        let body = std::mem::replace(&mut **body, zero(Scalar::Complex, e.span));
        let plane = Expr { ty: e.ty, span: e.span, kind: ExprKind::Call(*f, vec![body]) };
        return Expr {
            kind: ExprKind::Reduce { op: *op, indices: std::mem::take(indices), body: Box::new(plane) },
            ..e
        };
    }
    e
}

/// The factors and divisors of a product of reals.
fn take_apart(e: &Expr, divides: bool, factors: &mut Vec<Expr>, divisors: &mut Vec<Expr>) {
    match &e.kind {
        ExprKind::Binary(BinaryOp::Mul, a, b) if e.ty == Scalar::Real => {
            take_apart(a, divides, factors, divisors);
            take_apart(b, divides, factors, divisors);
        }
        ExprKind::Binary(BinaryOp::Div, a, b) if e.ty == Scalar::Real => {
            take_apart(a, divides, factors, divisors);
            take_apart(b, !divides, factors, divisors);
        }
        _ if divides => divisors.push(e.clone()),
        _ => factors.push(e.clone()),
    }
}

/// Whether an expression depends on these values alone, and not on the step.
fn reads_only(e: &Expr, values: &HashSet<ValueId>) -> bool {
    let mut only = true;
    e.walk(&mut |e| {
        only &= match &e.kind {
            ExprKind::Read { value, .. } => values.contains(value),
            ExprKind::Past { .. } | ExprKind::First => false,
            _ => true,
        }
    });
    only
}

fn zero(ty: Scalar, span: Span) -> Expr {
    match ty {
        Scalar::Bool => expr(ExprKind::Bool(false), ty, span),
        Scalar::Int => expr(ExprKind::Int(0), ty, span),
        Scalar::Real => expr(ExprKind::Real(0.0), ty, span),
        Scalar::Complex => expr(ExprKind::Imaginary(0.0), ty, span),
    }
}

impl Lowering {
    fn extent(&self, i: IndexId) -> usize {
        self.to.extents[i.at()]
    }

    /// Whether an expression depends on parameters alone.
    fn is_bound(&self, e: &Expr) -> bool {
        reads_only(e, &self.bound)
    }

    /// Whether no state reaches an expression.
    fn is_early(&self, e: &Expr) -> bool {
        reads_only(e, &self.early)
    }

    fn scope(&self, indices: &[IndexId], body: &Expr) -> Scope {
        let (bound, early) = (self.is_bound(body), self.is_early(body));
        Scope { indices: indices.to_vec(), guards: Vec::new(), bound, early }
    }

    /// Whether an expression is a sum, or the like, that is worth a loop over many steps.
    fn is_contraction(&self, e: &Expr, indices: &[IndexId]) -> bool {
        let elements: usize = indices.iter().map(|&i| self.extent(i)).product();
        match &e.kind {
            ExprKind::Reduce { op, indices, body } => {
                let turns: usize = indices.iter().map(|&i| self.extent(i)).product();
                let place = matches!(op, ReduceOp::ArgMax | ReduceOp::ArgMin);
                let real = matches!(body.ty, Scalar::Real | Scalar::Complex);
                real && !place && turns >= CONTRACTED && (1..=ROOM).contains(&elements)
            }
            _ => false,
        }
    }

    /// Whether an expression is a long chain of operations, with far fewer elements than some state: between the steps
    /// of that state nothing runs beside it.
    fn is_chain(&self, e: &Expr, indices: &[IndexId]) -> bool {
        let ExprKind::Call(f, arguments) = &e.kind else { return false };
        let elements: usize = indices.iter().map(|&i| self.extent(i)).product();
        let of = |state: &State| self.to.axes[state.value.at()].iter().product::<usize>();
        let largest = self.to.layer.states.iter().map(of).max().unwrap_or(0);
        let long = weight(*f, arguments[0].ty == Scalar::Complex) >= CHAIN;
        long && (1..=ROOM).contains(&elements) && largest / elements >= CONTRACTED
    }

    /// Whether an expression is arithmetic that the blocks of a state would do again and again, each for all of its lanes.
    fn is_repeated(&self, e: &Expr, indices: &[IndexId], scope: &Scope) -> bool {
        let arithmetic = matches!(e.kind, ExprKind::Binary(..) | ExprKind::Powi(..)) && e.ty == Scalar::Real;
        let elements: usize = indices.iter().map(|&i| self.extent(i)).product();
        let others = scope.indices.iter().filter(|i| !indices.contains(i));
        let times: usize = others.map(|&i| self.extent(i)).product();
        arithmetic && (1..=ROOM).contains(&elements) && times >= REPEATED
    }

    fn define_at(&mut self, equation: Equation) {
        if self.to.layer.value(equation.value).kind == ValueKind::Let {
            if self.is_bound(&equation.body) {
                self.bound.insert(equation.value);
            }
            if self.is_early(&equation.body) {
                self.early.insert(equation.value);
            }
        }
        self.to.layer.equations.push(equation);
    }

    fn rewrite(&mut self, e: Expr, scope: &Scope) -> Expr {
        let e = one_plane(e);
        let solves = matches!(e.kind, ExprKind::Solve { .. });
        if scope.guards.is_empty() && !solves && is_costly(&e) && !scope.indices.iter().any(|&i| self.extent(i) == 0) {
            let free = free_indices(&e);
            if free.len() < scope.indices.len() {
                let indices: Vec<IndexId> = scope.indices.iter().copied().filter(|i| free.contains(i)).collect();
                return self.define("part", &indices, e, &[]);
            }
        }
        if !scope.bound && scope.guards.is_empty() && is_costly(&e) && self.is_bound(&e) {
            let free = free_indices(&e);
            let indices: Vec<IndexId> = scope.indices.iter().copied().filter(|i| free.contains(i)).collect();
            if indices.iter().all(|&i| self.extent(i) > 0) {
                return self.define("bound", &indices, e, &[]);
            }
        }
        if !scope.early && scope.guards.is_empty() && self.is_early(&e) {
            let free = free_indices(&e);
            let indices: Vec<IndexId> = scope.indices.iter().copied().filter(|i| free.contains(i)).collect();
            if self.is_contraction(&e, &indices) || self.is_chain(&e, &indices) || self.is_repeated(&e, &indices, scope)
            {
                return self.define("ahead", &indices, e, &[]);
            }
        }
        let Expr { kind, ty, span } = guarded_right(e);
        match kind {
            ExprKind::Dim(d) => expr(ExprKind::Int(self.to.dims[d.at()]), ty, span),
            ExprKind::Widen(inner) => match (self.rewrite(*inner, scope), ty) {
                (Expr { kind: ExprKind::Int(n), .. }, Scalar::Real) => expr(ExprKind::Real(n as f64), ty, span),
                (inner, _) => expr(ExprKind::Widen(Box::new(inner)), ty, span),
            },
            ExprKind::If(parts) => {
                let [condition, then, other] = *parts;
                let guard = is_guard(&condition);
                let condition = if guard { self.guard(condition, scope) } else { self.rewrite(condition, scope) };
                let (mut yes, mut no) = (scope.clone(), scope.clone());
                if guard {
                    let not = ExprKind::Unary(UnaryOp::Not, Box::new(condition.clone()));
                    no.guards.push(expr(not, Scalar::Bool, condition.span));
                    yes.guards.push(condition.clone());
                }
                let then = self.rewrite(then, &yes);
                let other = self.rewrite(other, &no);
                expr(ExprKind::If(Box::new([condition, then, other])), ty, span)
            }
            ExprKind::Reduce { op: ReduceOp::LogSumExp, indices, body } => {
                self.log_sum_exp(indices, *body, scope, span)
            }
            ExprKind::Reduce { op, indices, body } => {
                let mut inner = scope.clone();
                inner.indices.extend(&indices);
                let body = self.rewrite(*body, &inner);
                let sum = matches!(op, ReduceOp::Sum | ReduceOp::Mean) && ty == Scalar::Real;
                let body = Box::new(if sum { self.divided_first(body, &inner) } else { body });
                expr(ExprKind::Reduce { op, indices, body }, ty, span)
            }
            ExprKind::Normalise { op, index, at, body, eps } => {
                let at = self.rewrite(*at, scope);
                self.normalise(op, index, at, *body, eps.map(|e| *e), scope, span)
            }
            ExprKind::Solve { row, column, at, matrix, right } => {
                let at = self.rewrite(*at, scope);
                self.solve([row, column], at, *matrix, *right, scope, span)
            }
            kind => {
                let mut e = expr(kind, ty, span);
                for operand in e.operands_mut() {
                    let taken = std::mem::replace(operand, zero(Scalar::Bool, span));
                    *operand = self.rewrite(taken, scope);
                }
                if !scope.bound
                    && scope.guards.is_empty()
                    && let Some(power) = self.power_of_two(&e, scope)
                {
                    return power;
                }
                if self.turns && matches!(e.kind, ExprKind::Past { .. }) {
                    let outer = self.free_in(&e, &[], scope);
                    return self.store("past", &outer, e, &scope.guards, |_, body, _| body);
                }
                e
            }
        }
    }

    /// In a product under a sum, a divisor with fewer indices than the product divides those factors that have no others,
    /// once for all elements of the rest: `t[i, j] / n[j] * x[j]` as `t[i, j] * (x[j] / n[j])`.
    fn divided_first(&mut self, e: Expr, scope: &Scope) -> Expr {
        if !scope.guards.is_empty() || scope.indices.iter().any(|&i| self.extent(i) == 0) {
            return e;
        }
        let (mut factors, mut divisors) = (Vec::new(), Vec::new());
        take_apart(&e, false, &mut factors, &mut divisors);
        let mut changed = false;
        divisors.retain(|divisor| {
            let within = free_indices(divisor);
            let (mine, rest): (Vec<Expr>, Vec<Expr>) =
                factors.drain(..).partition(|factor| free_indices(factor).iter().all(|i| within.contains(i)));
            let wider = rest.iter().flat_map(free_indices).any(|i| !within.contains(&i) && self.extent(i) > 1);
            factors = rest;
            if mine.iter().all(|factor| free_indices(factor).is_empty()) || !wider {
                factors.splice(0..0, mine);
                return true;
            }
            changed = true;
            let product = mine.into_iter().reduce(|a, b| binary(BinaryOp::Mul, a, b)).expect("one has an index");
            let indices: Vec<IndexId> = scope.indices.iter().copied().filter(|i| within.contains(i)).collect();
            let quotient = binary(BinaryOp::Div, product, divisor.clone());
            factors.push(self.define("part", &indices, quotient, &[]));
            false
        });
        if !changed {
            return e;
        }
        let product = factors.into_iter().reduce(|a, b| binary(BinaryOp::Mul, a, b)).expect("the rest has an index");
        divisors.into_iter().fold(product, |product, divisor| binary(BinaryOp::Div, product, divisor))
    }

    /// A product as the factor that is not of parameters, and `rate` times those that are. The former is one that the
    /// program has: another product of the same values may be too large for a number.
    fn apart(&self, e: &Expr, rate: Expr) -> Option<(Expr, Expr)> {
        let times = |factor: &Expr| binary(BinaryOp::Mul, factor.clone(), rate.clone());
        match &e.kind {
            ExprKind::Binary(BinaryOp::Mul, a, b) if self.is_bound(a) => self.apart(b, times(a)),
            ExprKind::Binary(BinaryOp::Mul, a, b) if self.is_bound(b) => self.apart(a, times(b)),
            ExprKind::Unary(UnaryOp::Neg, a) => self.apart(a, times(&expr(ExprKind::Real(-1.0), e.ty, e.span))),
            _ => (!self.is_bound(e)).then(|| (e.clone(), rate)),
        }
    }

    /// `exp(x·a)`, `a` of parameters, as `2^(x·(a·log2(e)))` with the second factor computed once: a power of 2 takes
    /// half the operations. Its argument is rounded twice more than the product is.
    fn power_of_two(&mut self, e: &Expr, scope: &Scope) -> Option<Expr> {
        let ExprKind::Call(Function::Exp, arguments) = &e.kind else { return None };
        let (Scalar::Real, [argument]) = (e.ty, &arguments[..]) else { return None };
        let one = expr(ExprKind::Real(std::f64::consts::LOG2_E), e.ty, e.span);
        let (rest, rate) = self.apart(argument, one)?;
        let free = free_indices(&rate);
        // An outer product of parameters may be much larger than they are.
        let mut stored = false;
        rate.walk(&mut |e| {
            stored |= matches!(e.kind, ExprKind::Read { .. }) && free_indices(e).len() == free.len();
        });
        let indices: Vec<IndexId> = scope.indices.iter().copied().filter(|i| free.contains(i)).collect();
        if !stored || indices.iter().any(|&i| self.extent(i) == 0) {
            return None;
        }
        let rate = self.define("rate", &indices, rate, &[]);
        let two = expr(ExprKind::Real(2.0), e.ty, e.span);
        Some(Expr { kind: ExprKind::Call(Function::Pow, vec![two, binary(BinaryOp::Mul, rest, rate)]), ..e.clone() })
    }

    /// Rewrites a condition that compares integers so that it still shows that.
    fn guard(&mut self, e: Expr, scope: &Scope) -> Expr {
        let mut e = guarded_right(e);
        let inside = match &e.kind {
            ExprKind::Binary(BinaryOp::And | BinaryOp::Or, ..) | ExprKind::Unary(..) => true,
            ExprKind::Binary(op, ..) => op.is_comparison(),
            _ => false,
        };
        if !inside || e.ty != Scalar::Bool {
            return self.rewrite(e, scope);
        }
        let span = e.span;
        for operand in e.operands_mut() {
            let taken = std::mem::replace(operand, zero(Scalar::Bool, span));
            *operand = self.guard(taken, scope);
        }
        e
    }

    /// `m + log(sum(exp(e - m)))` with the maximum `m`; `m` itself where that is not finite.
    fn log_sum_exp(&mut self, indices: Vec<IndexId>, body: Expr, scope: &Scope, span: Span) -> Expr {
        let real = Scalar::Real;
        if indices.iter().any(|&i| self.extent(i) == 0) {
            return expr(ExprKind::Real(f64::NEG_INFINITY), real, span);
        }
        let outer = self.free_in(&body, &indices, scope);
        let body = self.once(body, &outer, &indices, scope);
        let (maximum_of, maximum_over) = self.fresh(&body, &indices);
        let reduce = |op, indices, body| expr(ExprKind::Reduce { op, indices, body: Box::new(body) }, real, span);
        let maximum = reduce(ReduceOp::Max, maximum_over, maximum_of);
        let maximum = self.define("max", &outer, maximum, &scope.guards);
        let shifted = binary(BinaryOp::Sub, body, maximum.clone());
        let sum = reduce(ReduceOp::Sum, indices, call(Function::Exp, shifted));
        let sum = self.define("sum", &outer, sum, &scope.guards);
        let total = binary(BinaryOp::Add, maximum.clone(), call(Function::Log, sum));
        // Only of a finite number the difference with itself is 0.
        let difference = binary(BinaryOp::Sub, maximum.clone(), maximum.clone());
        let finite = binary(BinaryOp::Eq, difference, zero(real, span));
        select(finite, total, maximum)
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of the expression, and where it stands")]
    fn normalise(
        &mut self,
        op: NormaliseOp,
        over: IndexId,
        at: Expr,
        body: Expr,
        eps: Option<Expr>,
        scope: &Scope,
        span: Span,
    ) -> Expr {
        let real = Scalar::Real;
        let mut outer = self.free_in(&body, &[over], scope);
        if let Some(eps) = &eps {
            let free = free_indices(eps);
            outer = scope.indices.iter().copied().filter(|i| outer.contains(i) || free.contains(i)).collect();
        }
        let body = self.once(body, &outer, &[over], scope);
        let reduce = |op, index, body: Expr| {
            expr(ExprKind::Reduce { op, indices: vec![index], body: Box::new(body) }, real, span)
        };
        let fresh = |this: &mut Self, e: &Expr| {
            let (e, indices) = this.fresh(e, &[over]);
            (e, indices[0])
        };
        let element = |e: &Expr| substitute(e, over, &at);
        match op {
            NormaliseOp::Softmax => {
                let (of, i) = fresh(self, &body);
                let maximum = self.define("max", &outer, reduce(ReduceOp::Max, i, of), &scope.guards);
                let shifted = call(Function::Exp, binary(BinaryOp::Sub, body, maximum));
                let mut axes = outer.clone();
                axes.push(over);
                let weights = self.define("exp", &axes, shifted, &scope.guards);
                let (of, i) = fresh(self, &weights);
                let sum = self.define("sum", &outer, reduce(ReduceOp::Sum, i, of), &scope.guards);
                binary(BinaryOp::Div, element(&weights), sum)
            }
            NormaliseOp::LayerNorm => {
                let (of, i) = fresh(self, &body);
                let mean = self.define("mean", &outer, reduce(ReduceOp::Mean, i, of), &scope.guards);
                let centred = binary(BinaryOp::Sub, body, mean);
                self.scaled(centred, over, &outer, eps, &at, scope, span)
            }
            NormaliseOp::RmsNorm => self.scaled(body, over, &outer, eps, &at, scope, span),
        }
    }

    /// `e[at] / sqrt(mean(e^2) + eps)`
    #[allow(clippy::too_many_arguments, reason = "the parts of the expression, and where it stands")]
    fn scaled(
        &mut self,
        e: Expr,
        over: IndexId,
        outer: &[IndexId],
        eps: Option<Expr>,
        at: &Expr,
        scope: &Scope,
        span: Span,
    ) -> Expr {
        let (of, i) = self.fresh(&e, &[over]);
        let square = expr(ExprKind::Powi(Box::new(of), 2), Scalar::Real, span);
        let kind = ExprKind::Reduce { op: ReduceOp::Mean, indices: i, body: Box::new(square) };
        let mut mean = expr(kind, Scalar::Real, span);
        if let Some(eps) = eps {
            mean = binary(BinaryOp::Add, mean, eps);
        }
        let scale = self.define("scale", outer, call(Function::Sqrt, mean), &scope.guards);
        binary(BinaryOp::Div, substitute(&e, over, at), scale)
    }

    /// Definitions for the matrix, the right sides and the solutions, the elements of each system next to each other;
    /// right sides that share a matrix stand behind each other.
    fn solve(
        &mut self,
        [row, column]: [IndexId; 2],
        at: Expr,
        matrix: Expr,
        right: Expr,
        scope: &Scope,
        span: Span,
    ) -> Expr {
        let real = Scalar::Real;
        let systems = self.free_in(&matrix, &[row, column], scope);
        let sides = self.free_in(&right, &[row], scope);
        let outer: Vec<IndexId> =
            systems.iter().copied().chain(sides.into_iter().filter(|i| !systems.contains(i))).collect();
        let with = |indices: &[IndexId], more: &[IndexId]| [indices, more].concat();
        // Where nothing is to be solved the system is a sound one.
        let own = binary(BinaryOp::Eq, index(row, span), index(column, span));
        let identity = select(own, expr(ExprKind::Real(1.0), real, span), zero(real, span));
        let guard = |matrix, guard: &Expr| select(guard.clone(), matrix, identity.clone());
        let matrix = scope.guards.iter().rev().fold(matrix, guard);
        let matrix = Box::new(self.define("matrix", &with(&systems, &[row, column]), matrix, &[]));
        let right = Box::new(self.define("right", &with(&outer, &[row]), right, &scope.guards));
        let element = self.copy_of(row);
        let place = Box::new(index(element, span));
        let solution = expr(ExprKind::Solve { row, column, at: place, matrix, right }, real, span);
        let solution = self.store("solution", &with(&outer, &[element]), solution, &[], |_, body, _| body);
        substitute(&solution, element, &at)
    }

    /// The indices of the scope on which a definition of `body` under `bound` would depend.
    fn free_in(&self, body: &Expr, bound: &[IndexId], scope: &Scope) -> Vec<IndexId> {
        let mut free = free_indices(body);
        for guard in &scope.guards {
            free.extend(free_indices(guard));
        }
        scope.indices.iter().copied().filter(|i| free.contains(i) && !bound.contains(i)).collect()
    }

    /// The same, in a form that is cheap to evaluate several times.
    fn once(&mut self, body: Expr, outer: &[IndexId], bound: &[IndexId], scope: &Scope) -> Expr {
        let cheap =
            matches!(&body.kind, ExprKind::Read { at, .. } if at.iter().all(|e| matches!(e.kind, ExprKind::Index(_))));
        if cheap {
            return body;
        }
        let axes: Vec<IndexId> = outer.iter().chain(bound).copied().collect();
        self.define("element", &axes, body, &scope.guards)
    }

    /// Defines a value for `body` over the indices and returns the expression that reads it at them. The
    /// definition holds 0 where the guards do not hold.
    fn define(&mut self, name: &str, indices: &[IndexId], body: Expr, guards: &[Expr]) -> Expr {
        self.store(name, indices, body, guards, |this, body, indices| {
            let scope = this.scope(indices, &body);
            this.rewrite(body, &scope)
        })
    }

    /// The same for a body that `finish` turns into what is computed.
    fn store(
        &mut self,
        name: &str,
        indices: &[IndexId],
        body: Expr,
        guards: &[Expr],
        finish: impl FnOnce(&mut Self, Expr, &[IndexId]) -> Expr,
    ) -> Expr {
        let (span, ty) = (body.span, body.ty);
        let guarded = guards.iter().rev().fold(body, |body, guard| select(guard.clone(), body, zero(ty, span)));
        let key = self.canonical(&guarded, indices);
        let value = match self.shared.get(&key) {
            Some(&value) => value,
            None => {
                let (body, fresh) = self.fresh(&guarded, indices);
                let body = finish(self, body, &fresh);
                let value = self.value(name, &fresh, ty, span);
                self.define_at(Equation { value, indices: fresh, body, span });
                self.shared.insert(key, value);
                value
            }
        };
        let at = indices.iter().map(|&i| index(i, span)).collect();
        expr(ExprKind::Read { value, at }, ty, span)
    }

    /// Gives the reset a value of its own where it may change after it: what it was decides.
    fn part_reset(&mut self) {
        let Some(reset) = self.to.layer.reset else { return };
        let Some(defined) = self.to.layer.equations.iter().position(|e| e.value == reset) else { return };
        let span = self.to.layer.equations[defined].span;
        let value = self.value("reset", &[], Scalar::Bool, span);
        let body = expr(ExprKind::Read { value: reset, at: Vec::new() }, Scalar::Bool, span);
        self.to.layer.equations.insert(defined + 1, Equation { value, indices: Vec::new(), body, span });
        self.to.layer.reset = Some(value);
    }

    fn value(&mut self, name: &str, indices: &[IndexId], ty: Scalar, span: Span) -> ValueId {
        let id = ValueId(self.to.layer.values.len() as u32);
        let name = format!("{name}.{}", self.names);
        self.names += 1;
        let ty = match ty {
            Scalar::Bool => Type::Bool,
            Scalar::Int => Type::Int,
            Scalar::Real => Type::Real,
            Scalar::Complex => Type::Complex,
        };
        let axes = indices.iter().map(|i| self.to.layer.index(*i).extent.clone()).collect();
        self.to.layer.values.push(Value { name, kind: ValueKind::Let, axes, ty, span });
        self.to.axes.push(indices.iter().map(|&i| self.extent(i)).collect());
        id
    }

    /// A copy with new indices in the place of these, and of all that it binds.
    fn fresh(&mut self, e: &Expr, indices: &[IndexId]) -> (Expr, Vec<IndexId>) {
        let mut names: HashMap<IndexId, IndexId> = HashMap::new();
        let new: Vec<IndexId> = indices.iter().map(|&i| self.copy_of(i)).collect();
        names.extend(indices.iter().copied().zip(new.iter().copied()));
        let mut copy = e.clone();
        self.rename(&mut copy, &mut names);
        (copy, new)
    }

    fn copy_of(&mut self, i: IndexId) -> IndexId {
        let id = IndexId(self.to.layer.indices.len() as u32);
        let index: Index = self.to.layer.index(i).clone();
        self.to.layer.indices.push(index);
        self.to.extents.push(self.to.extents[i.at()]);
        id
    }

    fn rename(&mut self, e: &mut Expr, names: &mut HashMap<IndexId, IndexId>) {
        match &mut e.kind {
            ExprKind::Index(i) => *i = names.get(i).copied().unwrap_or(*i),
            ExprKind::Reduce { indices, .. } => {
                for i in indices {
                    let copy = self.copy_of(*i);
                    names.insert(*i, copy);
                    *i = copy;
                }
            }
            ExprKind::Normalise { index, .. } => {
                let copy = self.copy_of(*index);
                names.insert(*index, copy);
                *index = copy;
            }
            ExprKind::Solve { row, column, .. } => {
                for i in [row, column] {
                    let copy = self.copy_of(*i);
                    names.insert(*i, copy);
                    *i = copy;
                }
            }
            _ => {}
        }
        for operand in e.operands_mut() {
            self.rename(operand, names);
        }
    }

    /// A text that is equal for expressions that differ in spans and in the ids of indices only.
    fn canonical(&self, e: &Expr, indices: &[IndexId]) -> String {
        let mut names: HashMap<IndexId, IndexId> = HashMap::new();
        let mut copy = e.clone();
        let mut extents: Vec<usize> = Vec::new();
        let mut name = |i: IndexId| {
            let id = IndexId(extents.len() as u32);
            extents.push(self.extent(i));
            id
        };
        for &i in indices {
            let id = name(i);
            names.insert(i, id);
        }
        anonymous(&mut copy, &mut names, &mut name);
        format!("{:?} {extents:?} {copy:?}", indices.len())
    }
}

fn anonymous(e: &mut Expr, names: &mut HashMap<IndexId, IndexId>, name: &mut impl FnMut(IndexId) -> IndexId) {
    e.span = Span::default();
    match &mut e.kind {
        ExprKind::Index(i) => *i = names.get(i).copied().unwrap_or(*i),
        ExprKind::Reduce { indices, .. } => {
            for i in indices {
                let id = name(*i);
                names.insert(*i, id);
                *i = id;
            }
        }
        ExprKind::Normalise { index, .. } => {
            let id = name(*index);
            names.insert(*index, id);
            *index = id;
        }
        ExprKind::Solve { row, column, .. } => {
            for i in [row, column] {
                let id = name(*i);
                names.insert(*i, id);
                *i = id;
            }
        }
        _ => {}
    }
    for operand in e.operands_mut() {
        anonymous(operand, names, name);
    }
}
