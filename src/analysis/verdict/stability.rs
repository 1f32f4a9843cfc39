//! Whether a diagonal transition can grow: bounds of `|a|` that hold for all parameters and inputs.
//!
//! Interval arithmetic on real numbers, and bounds of the modulus of complex ones; definitions that are free of the state
//! are looked into. The method is sound and not complete.

use crate::ir::{BinaryOp, Expr, ExprKind, Extent, Function, Layer, ReduceOp, Scalar, UnaryOp, ValueKind};

/// Whether `|a| <= 1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stability {
    /// For all parameters and inputs.
    Always,
    /// For none.
    Never,
    /// It depends on the numbers, or could not be decided.
    Unknown(String),
}

/// How deep definitions are looked into.
const DEPTH: u32 = 24;

type Range = (f64, f64);
const ALL: Range = (f64::NEG_INFINITY, f64::INFINITY);

/// Bounds the coefficient of a diagonal transition.
pub(super) fn of(layer: &Layer, a: &Expr) -> Stability {
    let (low, high) = modulus(layer, a, DEPTH);
    if high <= 1.0 {
        Stability::Always
    } else if low > 1.0 {
        Stability::Never
    } else {
        Stability::Unknown("nothing bounds `|a|` by 1 for all parameters and inputs".to_owned())
    }
}

/// Whether a real is shown not to be negative.
pub(super) fn nonnegative(layer: &Layer, e: &Expr) -> bool {
    range(layer, e, DEPTH).0 >= 0.0
}

/// The definition of what is read.
fn definition<'a>(layer: &'a Layer, e: &Expr) -> Option<&'a Expr> {
    match e.kind {
        ExprKind::Read { value, .. } if matches!(layer.value(value).kind, ValueKind::Let | ValueKind::Output) => {
            layer.definition(value).map(|equation| &equation.body)
        }
        _ => None,
    }
}

/// Bounds of the modulus.
fn modulus(layer: &Layer, e: &Expr, depth: u32) -> Range {
    if depth == 0 {
        return (0.0, f64::INFINITY);
    }
    if e.ty != Scalar::Complex {
        return absolute(range(layer, e, depth));
    }
    let of = |e: &Expr| modulus(layer, e, depth - 1);
    match &e.kind {
        ExprKind::Imaginary(x) => (x.abs(), x.abs()),
        ExprKind::Widen(a) | ExprKind::Unary(UnaryOp::Neg, a) => of(a),
        ExprKind::Call(Function::Conj, args) => of(&args[0]),
        ExprKind::Call(Function::Cis, _) => (1.0, 1.0),
        ExprKind::Call(Function::Exp, args) => exp(real_part(layer, &args[0], depth - 1)),
        ExprKind::Binary(BinaryOp::Mul, a, b) => times(of(a), of(b)),
        ExprKind::Binary(BinaryOp::Div, a, b) => {
            if let ExprKind::Widen(size) = &b.kind
                && let ExprKind::Call(Function::Abs, args) = &size.kind
                && super::build::same(&args[0], a)
            {
                return (1.0, 1.0);
            }
            quotient(of(a), of(b))
        }
        ExprKind::If(parts) => hull(of(&parts[1]), of(&parts[2])),
        _ => definition(layer, e).map_or((0.0, f64::INFINITY), of),
    }
}

/// Bounds of the real part.
fn real_part(layer: &Layer, e: &Expr, depth: u32) -> Range {
    if depth == 0 {
        return ALL;
    }
    if e.ty != Scalar::Complex {
        return range(layer, e, depth);
    }
    let of = |e: &Expr| real_part(layer, e, depth - 1);
    match &e.kind {
        ExprKind::Imaginary(_) => (0.0, 0.0),
        ExprKind::Widen(a) => range(layer, a, depth - 1),
        ExprKind::Unary(UnaryOp::Neg, a) => negate(of(a)),
        ExprKind::Binary(BinaryOp::Add, a, b) => plus(of(a), of(b)),
        ExprKind::Binary(BinaryOp::Sub, a, b) => plus(of(a), negate(of(b))),
        ExprKind::Binary(BinaryOp::Mul, a, b) => match (&a.kind, &b.kind) {
            (ExprKind::Widen(x), _) => times(range(layer, x, depth - 1), of(b)),
            (_, ExprKind::Widen(x)) => times(range(layer, x, depth - 1), of(a)),
            _ => ALL,
        },
        ExprKind::If(parts) => hull(of(&parts[1]), of(&parts[2])),
        _ => definition(layer, e).map_or(ALL, of),
    }
}

/// Bounds of a real or an integer.
fn range(layer: &Layer, e: &Expr, depth: u32) -> Range {
    if depth == 0 {
        return ALL;
    }
    let of = |e: &Expr| range(layer, e, depth - 1);
    match &e.kind {
        ExprKind::Int(n) => (*n as f64, *n as f64),
        ExprKind::Real(x) => (*x, *x),
        ExprKind::Dim(_) => (1.0, f64::INFINITY),
        ExprKind::Index(_) => (0.0, f64::INFINITY),
        ExprKind::Widen(a) => of(a),
        ExprKind::Unary(UnaryOp::Neg, a) => negate(of(a)),
        ExprKind::Binary(BinaryOp::Add, a, b) => plus(of(a), of(b)),
        ExprKind::Binary(BinaryOp::Sub, a, b) => plus(of(a), negate(of(b))),
        ExprKind::Binary(BinaryOp::Mul, a, b) if super::build::same(a, b) => {
            let size = absolute(of(a));
            times(size, size)
        }
        ExprKind::Binary(BinaryOp::Mul, a, b) => times(of(a), of(b)),
        ExprKind::Binary(BinaryOp::Div, a, b) => quotient(of(a), of(b)),
        ExprKind::Powi(a, n) if *n > 0 && n % 2 == 0 => {
            let (low, high) = absolute(of(a));
            (low.powi(*n), high.powi(*n))
        }
        ExprKind::If(parts) => hull(of(&parts[1]), of(&parts[2])),
        ExprKind::Reduce { op: ReduceOp::Sum, body, .. } => {
            let (low, high) = of(body);
            (if low >= 0.0 { 0.0 } else { ALL.0 }, if high <= 0.0 { 0.0 } else { ALL.1 })
        }
        ExprKind::Reduce { op: ReduceOp::Max | ReduceOp::Min | ReduceOp::Mean, indices, body } => {
            // Of nothing, a maximum is minus infinity.
            let some = |e: &Extent| matches!(e, Extent::Dim(_)) || matches!(e, Extent::Lit(n) if *n > 0);
            if indices.iter().all(|i| some(&layer.index(*i).extent)) { of(body) } else { ALL }
        }
        ExprKind::Normalise { op: crate::ir::NormaliseOp::Softmax, .. } => (0.0, 1.0),
        ExprKind::Call(function, args) if args.iter().all(|a| a.ty <= Scalar::Real) => {
            let args: Vec<Range> = args.iter().map(of).collect();
            call(*function, &args)
        }
        ExprKind::Call(Function::Abs, args) => modulus(layer, &args[0], depth - 1),
        ExprKind::Call(Function::Re, args) => real_part(layer, &args[0], depth - 1),
        _ => definition(layer, e).map_or(ALL, of),
    }
}

fn call(function: Function, args: &[Range]) -> Range {
    let a = args[0];
    let infinity = f64::INFINITY;
    match function {
        Function::Exp => exp(a),
        Function::Sigmoid => (if a.0 >= 0.0 { 0.5 } else { 0.0 }, if a.1 <= 0.0 { 0.5 } else { 1.0 }),
        Function::Softplus | Function::Sqrt | Function::Rsqrt => (0.0, infinity),
        Function::Relu => (a.0.max(0.0), a.1.max(0.0)),
        Function::Abs => absolute(a),
        Function::Tanh | Function::Erf => (if a.0 >= 0.0 { 0.0 } else { -1.0 }, if a.1 <= 0.0 { 0.0 } else { 1.0 }),
        Function::Sin | Function::Cos | Function::Sign => (-1.0, 1.0),
        Function::Min => (a.0.min(args[1].0), a.1.min(args[1].1)),
        Function::Max => (a.0.max(args[1].0), a.1.max(args[1].1)),
        Function::Clamp => (a.0.max(args[1].0).min(args[2].0), a.1.max(args[1].1).min(args[2].1)),
        Function::Pow if a.0 >= 1.0 && args[1].1 <= 0.0 => (0.0, 1.0),
        Function::Pow if a.0 >= 0.0 => (0.0, infinity),
        Function::Expm1 => plus(exp(a), (-1.0, -1.0)),
        Function::Log1p if a.0 >= 0.0 => (0.0, infinity),
        Function::Real => (0.0, 1.0),
        _ => ALL,
    }
}

fn exp((low, high): Range) -> Range {
    (low.exp(), high.exp())
}

fn negate((low, high): Range) -> Range {
    (-high, -low)
}

fn plus(a: Range, b: Range) -> Range {
    (a.0 + b.0, a.1 + b.1)
}

fn hull(a: Range, b: Range) -> Range {
    (a.0.min(b.0), a.1.max(b.1))
}

fn absolute((low, high): Range) -> Range {
    let most = low.abs().max(high.abs());
    if low <= 0.0 && high >= 0.0 { (0.0, most) } else { (low.abs().min(high.abs()), most) }
}

/// Products of the ends, where nothing times anything is nothing.
fn times(a: Range, b: Range) -> Range {
    let product = |x: f64, y: f64| if x == 0.0 || y == 0.0 { 0.0 } else { x * y };
    let ends = [product(a.0, b.0), product(a.0, b.1), product(a.1, b.0), product(a.1, b.1)];
    (ends.iter().copied().fold(f64::INFINITY, f64::min), ends.iter().copied().fold(f64::NEG_INFINITY, f64::max))
}

fn quotient(a: Range, b: Range) -> Range {
    if b.0 > 0.0 || b.1 < 0.0 {
        return times(a, (1.0 / b.1, 1.0 / b.0));
    }
    match (a.0 >= 0.0, b.0 >= 0.0) {
        (true, true) => (0.0, f64::INFINITY),
        _ => ALL,
    }
}
