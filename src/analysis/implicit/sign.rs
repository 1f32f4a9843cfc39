//! What is known of the sign of a number, by structural induction.

use crate::analysis::verdict::build;
use crate::ir::{BinaryOp, Expr, ExprKind, Function, Layer, NormaliseOp, ReduceOp, UnaryOp, ValueKind};

/// The sign of a number, for finite operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// Above 0.
    Positive,
    /// 0 or above.
    NotNegative,
    /// Below 0.
    Negative,
    /// Nothing is known.
    Unknown,
}

use Sign::{Negative, NotNegative, Positive, Unknown};

/// How many definitions are looked into, one inside of the other.
const MAX_DEPTH: usize = 16;

/// The sign of a real or integer expression of the layer.
pub(super) fn sign(layer: &Layer, e: &Expr) -> Sign {
    of(layer, e, MAX_DEPTH)
}

fn of(layer: &Layer, e: &Expr, depth: usize) -> Sign {
    let sub = |e: &Expr| of(layer, e, depth);
    if let Some(x) = build::constant(e) {
        return match x {
            x if x > 0.0 => Positive,
            x if x < 0.0 => Negative,
            0.0 => NotNegative,
            _ => Unknown,
        };
    }
    match &e.kind {
        ExprKind::Dim(_) => Positive,
        ExprKind::Index(_) => NotNegative,
        ExprKind::Widen(a) => sub(a),
        ExprKind::Unary(UnaryOp::Neg, a) => match sub(a) {
            Positive => Negative,
            Negative => Positive,
            _ => Unknown,
        },
        ExprKind::Binary(BinaryOp::Add, a, b) => match (sub(a), sub(b)) {
            (Positive, Positive | NotNegative) | (NotNegative, Positive) => Positive,
            (NotNegative, NotNegative) => NotNegative,
            (Negative, Negative) => Negative,
            _ => Unknown,
        },
        ExprKind::Binary(BinaryOp::Mul, a, b) if build::same(a, b) => even(sub(a)),
        ExprKind::Binary(BinaryOp::Mul | BinaryOp::Div, a, b) => product(sub(a), sub(b)),
        ExprKind::Powi(a, n) if n % 2 == 0 => even(sub(a)),
        ExprKind::Powi(a, n) => match (sub(a), n) {
            (sign, 1..) => sign,
            (Positive, _) => Positive,
            _ => Unknown,
        },
        ExprKind::If(parts) => weaker(sub(&parts[1]), sub(&parts[2])),
        ExprKind::Reduce { op: ReduceOp::Sum | ReduceOp::Prod, body, .. } => match sub(body) {
            // There may be nothing to add.
            Positive | NotNegative => NotNegative,
            _ => Unknown,
        },
        ExprKind::Reduce { op: ReduceOp::Max | ReduceOp::Min | ReduceOp::Mean, body, .. } => sub(body),
        ExprKind::Normalise { op: NormaliseOp::Softmax, .. } => NotNegative,
        ExprKind::Call(function, args) => match function {
            Function::Exp | Function::Sigmoid | Function::Softplus => Positive,
            Function::Abs => even(sub(&args[0])),
            Function::Relu | Function::Real | Function::Sqrt => match sub(&args[0]) {
                Positive => Positive,
                _ => NotNegative,
            },
            Function::Rsqrt => Positive,
            Function::Max => match (sub(&args[0]), sub(&args[1])) {
                (Positive, _) | (_, Positive) => Positive,
                (NotNegative, _) | (_, NotNegative) => NotNegative,
                (a, b) => weaker(a, b),
            },
            Function::Min => weaker(sub(&args[0]), sub(&args[1])),
            // min(max(x, lo), hi)
            Function::Clamp => match (sub(&args[1]), sub(&args[2])) {
                (Positive, Positive) => Positive,
                (Positive | NotNegative, Positive | NotNegative) => NotNegative,
                _ => Unknown,
            },
            Function::Pow => match sub(&args[0]) {
                Positive => Positive,
                _ => Unknown,
            },
            _ => Unknown,
        },
        ExprKind::Read { value, .. } if layer.value(*value).kind == ValueKind::Let && depth > 0 => {
            layer.definition(*value).map_or(Unknown, |equation| of(layer, &equation.body, depth - 1))
        }
        _ => Unknown,
    }
}

/// The sign of an even power, and of an absolute value.
fn even(base: Sign) -> Sign {
    if matches!(base, Positive | Negative) { Positive } else { NotNegative }
}

fn product(a: Sign, b: Sign) -> Sign {
    match (a, b) {
        (Positive, Positive) | (Negative, Negative) => Positive,
        (Positive, Negative) | (Negative, Positive) => Negative,
        (Positive | NotNegative, Positive | NotNegative) => NotNegative,
        _ => Unknown,
    }
}

fn weaker(a: Sign, b: Sign) -> Sign {
    match (a, b) {
        (a, b) if a == b => a,
        (Positive | NotNegative, Positive | NotNegative) => NotNegative,
        _ => Unknown,
    }
}
