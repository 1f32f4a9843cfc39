//! Other spellings of sums over a semiring.
//!
//! `h + relu(x - h)` is `max(h, x)`, `(h + x + abs(h - x)) / 2` too, and so is `if h > x then h else x`;
//! `h + softplus(b - h)` is `logaddexp(h, b)`. What they have in common: an operation that adds in the algebra stands among
//! summands that depend on the state, and once these are drawn into it, what should not be there cancels. So an
//! expression is written as a combination of others with literal weights, in which equal ones cancel, and one of
//! them is taken apart.

use super::Dependence;
use super::build::{self, Scope};
use crate::ir::{BinaryOp, Expr, ExprKind, Function, UnaryOp, ValueKind};

/// The most expressions that are looked at to write one as a combination.
const STEPS: usize = 200;

/// A sum of expressions with weights; no two are the same, and no weight is 0.
#[derive(Clone, Debug)]
struct Combination {
    summands: Vec<(f64, Expr)>,
    /// How many more expressions may be looked at: definitions that read each other may have many.
    left: usize,
}

/// An operation between two operands that adds in some algebra.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Adds {
    Max,
    Min,
    LogAddExp,
}

impl Adds {
    /// The operation between two expressions.
    pub(super) fn of(self, a: Expr, b: Expr) -> Expr {
        let exp = |e| build::call(Function::Exp, vec![e]);
        match self {
            Adds::Max => build::call(Function::Max, vec![a, b]),
            Adds::Min => build::call(Function::Min, vec![a, b]),
            Adds::LogAddExp => {
                let sum = build::binary(BinaryOp::Add, exp(a), exp(b));
                build::call(Function::Log, vec![sum])
            }
        }
    }
}

/// The expression with its other summands drawn into one operation that adds; nothing where there is none, or nothing is
/// to be drawn into it.
pub(super) fn drawn_in(scope: &mut Scope, of: &Dependence, e: &Expr) -> Option<Expr> {
    let all = Combination::of(scope, of, e)?;
    for at in 0..all.summands.len() {
        let (weight, one) = &all.summands[at];
        if !of.depends(one) {
            continue;
        }
        let Some((adds, a, b)) = operation(one, *weight) else { continue };
        let rest = || all.summands.iter().enumerate().filter(|(k, _)| *k != at).map(|(_, summand)| summand);
        if *weight == 1.0 && !rest().any(|(_, e)| of.depends(e)) {
            continue;
        }
        let mut side = |e: &Expr, weight: f64| {
            let mut sum = Combination { summands: rest().cloned().collect(), left: STEPS };
            sum.add(scope, of, e, weight)?;
            Some(sum.into_expr(one))
        };
        let (a, b) = (side(&a.1, a.0)?, side(&b.1, b.0)?);
        return Some(adds.of(a, b));
    }
    None
}

/// The operation of `if p > q then u else v` where `u - v` is `p - q` or its negative.
pub(super) fn chosen(scope: &mut Scope, of: &Dependence, parts: &[Expr; 3]) -> Option<Adds> {
    let [condition, then, other] = parts;
    let (condition, holds) = match &condition.kind {
        ExprKind::Unary(UnaryOp::Not, inner) => (&**inner, false),
        _ => (condition, true),
    };
    let ExprKind::Binary(op, p, q) = &condition.kind else { return None };
    let greater = match op {
        BinaryOp::Gt | BinaryOp::Ge => holds,
        BinaryOp::Lt | BinaryOp::Le => !holds,
        _ => return None,
    };
    let mut is = |sign: f64| {
        let mut sum = Combination { summands: Vec::new(), left: STEPS };
        sum.add(scope, of, then, 1.0)?;
        sum.add(scope, of, other, -1.0)?;
        sum.add(scope, of, p, -sign)?;
        sum.add(scope, of, q, sign)?;
        sum.summands.is_empty().then_some(())
    };
    match (is(1.0).is_some(), is(-1.0).is_some(), greater) {
        (true, _, true) | (_, true, false) => Some(Adds::Max),
        (true, _, false) | (_, true, true) => Some(Adds::Min),
        _ => None,
    }
}

/// The operation that a weighted expression is, and its operands with their weights.
fn operation(e: &Expr, weight: f64) -> Option<(Adds, (f64, Expr), (f64, Expr))> {
    let ExprKind::Call(function, args) = &e.kind else { return None };
    let positive = weight > 0.0;
    let zero = || build::real(0.0, e.span);
    let (max, min) = if positive { (Adds::Max, Adds::Min) } else { (Adds::Min, Adds::Max) };
    let both = |adds, x: (f64, &Expr), y: (f64, &Expr)| Some((adds, (x.0, x.1.clone()), (y.0, y.1.clone())));
    match (function, &args[..]) {
        (Function::Max, [a, b]) => both(max, (weight, a), (weight, b)),
        (Function::Min, [a, b]) => both(min, (weight, a), (weight, b)),
        (Function::Relu, [a]) => both(max, (weight, a), (weight, &zero())),
        (Function::Abs, [a]) => both(max, (weight, a), (-weight, a)),
        (Function::Softplus, [a]) if weight == 1.0 => both(Adds::LogAddExp, (weight, a), (weight, &zero())),
        (Function::Log1p, [a]) if weight == 1.0 => match &a.kind {
            ExprKind::Call(Function::Exp, inner) => both(Adds::LogAddExp, (weight, &inner[0]), (weight, &zero())),
            _ => None,
        },
        _ => None,
    }
}

impl Combination {
    fn of(scope: &mut Scope, of: &Dependence, e: &Expr) -> Option<Self> {
        let mut sum = Self { summands: Vec::new(), left: STEPS };
        sum.add(scope, of, e, 1.0)?;
        Some(sum)
    }

    /// Adds a multiple of an expression, whose own summands are added one by one. Nothing where there are too many.
    fn add(&mut self, scope: &mut Scope, of: &Dependence, e: &Expr, weight: f64) -> Option<()> {
        self.left = self.left.checked_sub(1)?;
        match &e.kind {
            ExprKind::Widen(a) if build::constant(a).is_none() => self.add_one(e, weight),
            ExprKind::Unary(UnaryOp::Neg, a) => self.add(scope, of, a, -weight),
            ExprKind::Binary(BinaryOp::Add, a, b) => {
                self.add(scope, of, a, weight)?;
                self.add(scope, of, b, weight)
            }
            ExprKind::Binary(BinaryOp::Sub, a, b) => {
                self.add(scope, of, a, weight)?;
                self.add(scope, of, b, -weight)
            }
            ExprKind::Binary(BinaryOp::Mul, a, b) => match (build::constant(a), build::constant(b)) {
                (Some(x), _) if x.is_finite() => self.add(scope, of, b, weight * x),
                (_, Some(x)) if x.is_finite() => self.add(scope, of, a, weight * x),
                _ => self.add_one(e, weight),
            },
            ExprKind::Binary(BinaryOp::Div, a, b) => match build::constant(b) {
                Some(x) if x != 0.0 && x.is_finite() => self.add(scope, of, a, weight / x),
                _ => self.add_one(e, weight),
            },
            ExprKind::Read { value, at } if of.depends(e) && scope.layer.value(*value).kind == ValueKind::Let => {
                let Some(equation) = scope.layer.definition(*value).cloned() else { return self.add_one(e, weight) };
                let open = matches!(
                    equation.body.kind,
                    ExprKind::Binary(..) | ExprKind::Unary(..) | ExprKind::Call(..) | ExprKind::Read { .. }
                );
                if !open {
                    return self.add_one(e, weight);
                }
                let map: Vec<_> = equation.indices.iter().copied().zip(at.iter().cloned()).collect();
                let body = scope.substitute(&equation.body, &map);
                self.add(scope, of, &body, weight)
            }
            _ => self.add_one(e, weight),
        }
    }

    fn add_one(&mut self, e: &Expr, weight: f64) -> Option<()> {
        // All literals together are the number 1, so many times.
        let (e, weight) = match build::constant(e) {
            Some(x) => (&build::real(1.0, e.span), weight * x),
            None => (e, weight),
        };
        if weight == 0.0 {
            return Some(());
        }
        match self.summands.iter().position(|(_, other)| build::same(other, e)) {
            Some(at) => {
                self.summands[at].0 += weight;
                if self.summands[at].0 == 0.0 {
                    self.summands.remove(at);
                }
            }
            None => self.summands.push((weight, e.clone())),
        }
        Some(())
    }

    fn into_expr(self, like: &Expr) -> Expr {
        let zero = build::real(0.0, like.span);
        self.summands.into_iter().fold(zero, |sum, (weight, e)| {
            let factor = build::real(weight, e.span);
            build::add(sum, build::mul(factor, e))
        })
    }
}
