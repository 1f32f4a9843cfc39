//! Interval arithmetic on reals, and bounds of the modulus of complex numbers, for all parameters and inputs for which values
//! are finite. Definitions are looked into. The method is sound but for rounding, and not complete.

use std::cell::Cell;

use super::super::build;
use crate::ir::{BinaryOp, Expr, ExprKind, Extent, Function, Layer, ReduceOp, Scalar, UnaryOp, ValueKind};

/// How deep definitions are looked into.
const DEPTH: u32 = 24;

/// How many expressions are looked at.
const FUEL: u32 = 20_000;

/// The least and the greatest value.
pub(super) type Range = (f64, f64);

/// All numbers.
pub(super) const ALL: Range = (f64::NEG_INFINITY, f64::INFINITY);

struct Look<'a> {
    layer: &'a Layer,
    fuel: Cell<u32>,
}

impl Look<'_> {
    fn spent(&self) -> bool {
        self.fuel.set(self.fuel.get().saturating_sub(1));
        self.fuel.get() == 0
    }
}

/// Bounds of a real or an integer.
pub(super) fn of(layer: &Layer, e: &Expr) -> Range {
    range(&Look { layer, fuel: Cell::new(FUEL) }, e, DEPTH)
}

/// Bounds of the modulus of a number.
pub(super) fn size(layer: &Layer, e: &Expr) -> Range {
    modulus(&Look { layer, fuel: Cell::new(FUEL) }, e, DEPTH)
}

/// Whether a real is shown not to be negative.
pub(in super::super) fn nonnegative(layer: &Layer, e: &Expr) -> bool {
    of(layer, e).0 >= 0.0
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
fn modulus(look: &Look<'_>, e: &Expr, depth: u32) -> Range {
    if depth == 0 || look.spent() {
        return (0.0, f64::INFINITY);
    }
    if e.ty != Scalar::Complex {
        return absolute(range(look, e, depth));
    }
    let of = |e: &Expr| modulus(look, e, depth - 1);
    match &e.kind {
        ExprKind::Imaginary(x) => (x.abs(), x.abs()),
        ExprKind::Widen(a) | ExprKind::Unary(UnaryOp::Neg, a) => of(a),
        ExprKind::Call(Function::Conj, args) => of(&args[0]),
        ExprKind::Call(Function::Cis, _) => (1.0, 1.0),
        ExprKind::Call(Function::Exp, args) => exp(real_part(look, &args[0], depth - 1)),
        ExprKind::Binary(BinaryOp::Mul, a, b) => times(of(a), of(b)),
        ExprKind::Binary(BinaryOp::Div, a, b) => {
            if let ExprKind::Widen(size) = &b.kind
                && let ExprKind::Call(Function::Abs, args) = &size.kind
                && build::same(&args[0], a)
            {
                return (1.0, 1.0);
            }
            quotient(of(a), of(b))
        }
        ExprKind::If(parts) => hull(of(&parts[1]), of(&parts[2])),
        _ => definition(look.layer, e).map_or((0.0, f64::INFINITY), of),
    }
}

/// Bounds of the real part.
fn real_part(look: &Look<'_>, e: &Expr, depth: u32) -> Range {
    if depth == 0 || look.spent() {
        return ALL;
    }
    if e.ty != Scalar::Complex {
        return range(look, e, depth);
    }
    let of = |e: &Expr| real_part(look, e, depth - 1);
    match &e.kind {
        ExprKind::Imaginary(_) => (0.0, 0.0),
        ExprKind::Widen(a) => range(look, a, depth - 1),
        ExprKind::Unary(UnaryOp::Neg, a) => negate(of(a)),
        ExprKind::Binary(BinaryOp::Add, a, b) => plus(of(a), of(b)),
        ExprKind::Binary(BinaryOp::Sub, a, b) => plus(of(a), negate(of(b))),
        ExprKind::Binary(BinaryOp::Mul, a, b) => match (&a.kind, &b.kind) {
            (ExprKind::Widen(x), _) => times(range(look, x, depth - 1), of(b)),
            (_, ExprKind::Widen(x)) => times(range(look, x, depth - 1), of(a)),
            _ => ALL,
        },
        ExprKind::If(parts) => hull(of(&parts[1]), of(&parts[2])),
        _ => definition(look.layer, e).map_or(ALL, of),
    }
}

/// Bounds of a real or an integer.
fn range(look: &Look<'_>, e: &Expr, depth: u32) -> Range {
    if depth == 0 || look.spent() {
        return ALL;
    }
    let of = |e: &Expr| range(look, e, depth - 1);
    match &e.kind {
        ExprKind::Int(n) => (*n as f64, *n as f64),
        ExprKind::Real(x) => (*x, *x),
        ExprKind::Dim(_) => (1.0, f64::INFINITY),
        ExprKind::Index(_) => (0.0, f64::INFINITY),
        ExprKind::Widen(a) => of(a),
        ExprKind::Unary(UnaryOp::Neg, a) => negate(of(a)),
        ExprKind::Binary(BinaryOp::Add, a, b) => plus(of(a), of(b)),
        ExprKind::Binary(BinaryOp::Sub, a, b) => plus(of(a), negate(of(b))),
        ExprKind::Binary(BinaryOp::Mul, a, b) if build::same(a, b) => {
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
            if indices.iter().all(|i| some(&look.layer.index(*i).extent)) { of(body) } else { ALL }
        }
        ExprKind::Normalise { op: crate::ir::NormaliseOp::Softmax, .. } => (0.0, 1.0),
        ExprKind::Call(function, args) if args.iter().all(|a| a.ty <= Scalar::Real) => {
            let args: Vec<Range> = args.iter().map(of).collect();
            call(*function, &args)
        }
        ExprKind::Call(Function::Abs, args) => modulus(look, &args[0], depth - 1),
        ExprKind::Call(Function::Re, args) => real_part(look, &args[0], depth - 1),
        _ => definition(look.layer, e).map_or(ALL, of),
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
        Function::Pow if a.0 >= 0.0 && a.1 <= 1.0 && args[1].0 >= 0.0 => (0.0, 1.0),
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
    // Infinite literals may leave nothing to be said.
    let end = |x: f64, y: f64, otherwise: f64| if (x + y).is_nan() { otherwise } else { x + y };
    (end(a.0, b.0, ALL.0), end(a.1, b.1, ALL.1))
}

fn hull(a: Range, b: Range) -> Range {
    (a.0.min(b.0), a.1.max(b.1))
}

/// Of the absolute value.
pub(super) fn absolute((low, high): Range) -> Range {
    let most = low.abs().max(high.abs());
    if low <= 0.0 && high >= 0.0 { (0.0, most) } else { (low.abs().min(high.abs()), most) }
}

/// Products of the ends, where nothing times anything is nothing.
pub(super) fn times(a: Range, b: Range) -> Range {
    let product = |x: f64, y: f64| if x == 0.0 || y == 0.0 { 0.0 } else { x * y };
    let ends = [product(a.0, b.0), product(a.0, b.1), product(a.1, b.0), product(a.1, b.1)];
    (ends.iter().copied().fold(f64::INFINITY, f64::min), ends.iter().copied().fold(f64::NEG_INFINITY, f64::max))
}

fn quotient(a: Range, b: Range) -> Range {
    if b.0 > 0.0 || b.1 < 0.0 {
        return times(a, (1.0 / b.1, 1.0 / b.0));
    }
    match (a.0 >= 0.0, b.0 >= 0.0) {
        (true, true) => (if a.0 > 0.0 && b.1 > 0.0 { a.0 / b.1 } else { 0.0 }, f64::INFINITY),
        _ => ALL,
    }
}

/// Powers; of what may be negative, whole ones only are more than everything.
pub(super) fn power(base: Range, e: f64) -> Range {
    if e < 0.0 {
        return quotient((1.0, 1.0), power(base, -e));
    }
    if e.fract() != 0.0 {
        return (base.0.max(0.0).powf(e), base.1.max(0.0).powf(e));
    }
    if e % 2.0 == 0.0 {
        let (low, high) = absolute(base);
        return (low.powf(e), high.powf(e));
    }
    (base.0.powf(e), base.1.powf(e))
}
