//! Expressions put together from parts, with what is plainly known of them used: sums with 0, products with 1,
//! constants, a difference of equal terms.
//!
//! In: expressions of one layer. Out: expressions of that layer that have the same value for finite numbers. Indices
//! are renamed on the way where a copy needs indices of its own ([`Scope`]).

use super::extents::{Known, differ};
use super::share::Shared;
use crate::diag::Span;
use crate::ir::{BinaryOp, Equation, Expr, ExprKind, Extent, Function, Index, IndexId, Layer, ReduceOp, Scalar};
use crate::ir::{Type, UnaryOp, Value, ValueId, ValueKind};

/// An expression of that kind and type.
pub(crate) fn expr(kind: ExprKind, ty: Scalar, span: Span) -> Expr {
    Expr { kind, ty, span }
}

/// The value of an index.
pub(crate) fn index(i: IndexId, span: Span) -> Expr {
    expr(ExprKind::Index(i), Scalar::Int, span)
}

/// An integer literal.
pub(crate) fn int(n: i64, span: Span) -> Expr {
    expr(ExprKind::Int(n), Scalar::Int, span)
}

/// A real literal.
pub(crate) fn real(x: f64, span: Span) -> Expr {
    expr(ExprKind::Real(x), Scalar::Real, span)
}

/// A truth value.
pub(crate) fn truth(b: bool, span: Span) -> Expr {
    expr(ExprKind::Bool(b), Scalar::Bool, span)
}

/// A number of that type: an integer, a real or a complex number.
pub(crate) fn number(x: f64, ty: Scalar, span: Span) -> Expr {
    match ty {
        Scalar::Int => int(x as i64, span),
        Scalar::Complex => widen(real(x, span), Scalar::Complex),
        _ => real(x, span),
    }
}

/// The element of a value.
pub(crate) fn read(layer: &Layer, value: ValueId, at: Vec<Expr>, span: Span) -> Expr {
    expr(ExprKind::Read { value, at }, layer.value(value).ty.scalar(), span)
}

/// The number that an expression plainly is.
pub(crate) fn constant(e: &Expr) -> Option<f64> {
    match &e.kind {
        ExprKind::Int(n) => Some(*n as f64),
        ExprKind::Real(x) => Some(*x),
        ExprKind::Widen(a) => constant(a),
        ExprKind::Unary(UnaryOp::Neg, a) => constant(a).map(|x| -x),
        _ => None,
    }
}

/// The expression in a type that is at least as wide.
pub(crate) fn widen(e: Expr, to: Scalar) -> Expr {
    if e.ty >= to {
        return e;
    }
    let (span, next) = (e.span, if e.ty == Scalar::Int { Scalar::Real } else { Scalar::Complex });
    if let (ExprKind::Int(n), Scalar::Real) = (&e.kind, next) {
        return widen(real(*n as f64, span), to);
    }
    widen(expr(ExprKind::Widen(Box::new(e)), next, span), to)
}

fn both(a: Expr, b: Expr) -> (Expr, Expr) {
    let ty = a.ty.max(b.ty);
    (widen(a, ty), widen(b, ty))
}

/// An operator without any simplification.
pub(crate) fn binary(op: BinaryOp, a: Expr, b: Expr) -> Expr {
    let (ty, span) = (if op.is_comparison() { Scalar::Bool } else { a.ty }, a.span);
    expr(ExprKind::Binary(op, Box::new(a), Box::new(b)), ty, span)
}

/// `-a`
pub(crate) fn neg(a: Expr) -> Expr {
    if let Some(x) = constant(&a) {
        return number(-x, a.ty, a.span);
    }
    let (ty, span) = (a.ty, a.span);
    match a.kind {
        ExprKind::Unary(UnaryOp::Neg, inner) => *inner,
        ExprKind::Binary(BinaryOp::Sub, x, y) => sub(*y, *x),
        kind => expr(ExprKind::Unary(UnaryOp::Neg, Box::new(expr(kind, ty, span))), ty, span),
    }
}

/// `a + b`
pub(crate) fn add(a: Expr, b: Expr) -> Expr {
    let (a, b) = both(a, b);
    match (constant(&a), constant(&b)) {
        (Some(x), Some(y)) => return number(x + y, a.ty, a.span),
        (Some(0.0), _) => return b,
        (_, Some(0.0)) => return a,
        _ => {}
    }
    let (ty, span) = (b.ty, b.span);
    match b.kind {
        ExprKind::Unary(UnaryOp::Neg, inner) => sub(a, *inner),
        kind => match a.kind {
            ExprKind::Unary(UnaryOp::Neg, inner) => sub(expr(kind, ty, span), *inner),
            _ => binary(BinaryOp::Add, a, expr(kind, ty, span)),
        },
    }
}

/// `a - b`
pub(crate) fn sub(a: Expr, b: Expr) -> Expr {
    let (a, b) = both(a, b);
    if same(&a, &b) {
        return number(0.0, a.ty, a.span);
    }
    match (constant(&a), constant(&b)) {
        (Some(x), Some(y)) => return number(x - y, a.ty, a.span),
        (Some(0.0), _) => return neg(b),
        (_, Some(0.0)) => return a,
        _ => {}
    }
    match b.kind {
        ExprKind::Unary(UnaryOp::Neg, inner) => add(a, *inner),
        _ => binary(BinaryOp::Sub, a, b),
    }
}

/// `a * b`
pub(crate) fn mul(a: Expr, b: Expr) -> Expr {
    let (a, b) = both(a, b);
    match (constant(&a), constant(&b)) {
        (Some(x), Some(y)) => return number(x * y, a.ty, a.span),
        (Some(0.0), _) | (_, Some(0.0)) => return number(0.0, a.ty, a.span),
        (Some(1.0), _) => return b,
        (_, Some(1.0)) => return a,
        (Some(-1.0), _) => return neg(b),
        (_, Some(-1.0)) => return neg(a),
        _ => {}
    }
    let (ta, tb, sa, sb) = (a.ty, b.ty, a.span, b.span);
    match (a.kind, b.kind) {
        (ExprKind::Unary(UnaryOp::Neg, a), ExprKind::Unary(UnaryOp::Neg, b)) => mul(*a, *b),
        (ExprKind::Unary(UnaryOp::Neg, a), b) => neg(mul(*a, expr(b, tb, sb))),
        (a, ExprKind::Unary(UnaryOp::Neg, b)) => neg(mul(expr(a, ta, sa), *b)),
        (a, b) => binary(BinaryOp::Mul, expr(a, ta, sa), expr(b, tb, sb)),
    }
}

/// `a / b`, of reals or complex numbers
pub(crate) fn div(a: Expr, b: Expr) -> Expr {
    let (a, b) = both(a, b);
    let (a, b) = (widen(a, Scalar::Real), widen(b, Scalar::Real));
    match (constant(&a), constant(&b)) {
        (Some(0.0), _) => return number(0.0, a.ty, a.span),
        (_, Some(1.0)) => return a,
        _ => {}
    }
    let (ty, span) = (a.ty, a.span);
    match a.kind {
        ExprKind::Unary(UnaryOp::Neg, inner) => neg(div(*inner, b)),
        kind => binary(BinaryOp::Div, expr(kind, ty, span), b),
    }
}

/// `if c then a else b`
pub(crate) fn select(c: Expr, a: Expr, b: Expr) -> Expr {
    match c.kind {
        ExprKind::Bool(true) => return a,
        ExprKind::Bool(false) => return b,
        _ => {}
    }
    if same(&a, &b) {
        return a;
    }
    let (ty, span) = (a.ty, c.span);
    expr(ExprKind::If(Box::new([c, a, b])), ty, span)
}

/// `not c`
pub(crate) fn not(c: Expr) -> Expr {
    let span = c.span;
    match c.kind {
        ExprKind::Unary(UnaryOp::Not, inner) => *inner,
        ExprKind::Bool(b) => truth(!b, span),
        kind => expr(ExprKind::Unary(UnaryOp::Not, Box::new(expr(kind, Scalar::Bool, span))), Scalar::Bool, span),
    }
}

/// `a and b`
pub(crate) fn and(a: Expr, b: Expr) -> Expr {
    match (&a.kind, &b.kind) {
        (ExprKind::Bool(true), _) | (_, ExprKind::Bool(false)) => b,
        (_, ExprKind::Bool(true)) | (ExprKind::Bool(false), _) => a,
        _ => binary(BinaryOp::And, a, b),
    }
}

/// `a or b`
pub(crate) fn or(a: Expr, b: Expr) -> Expr {
    match (&a.kind, &b.kind) {
        (ExprKind::Bool(false), _) | (_, ExprKind::Bool(true)) => b,
        (_, ExprKind::Bool(false)) | (ExprKind::Bool(true), _) => a,
        _ => binary(BinaryOp::Or, a, b),
    }
}

/// A function of real or complex arguments.
pub(crate) fn call(function: Function, args: Vec<Expr>) -> Expr {
    let (of, span) = (args[0].ty, args[0].span);
    let ty = function.result(of).expect("the function takes such arguments");
    expr(ExprKind::Call(function, args), ty, span)
}

/// The real part, the imaginary part or the conjugate.
pub(crate) fn part(function: Function, e: Expr) -> Expr {
    let span = e.span;
    if e.ty != Scalar::Complex {
        return if function == Function::Im { number(0.0, Scalar::Real, span) } else { e };
    }
    match (e.kind, function) {
        (ExprKind::Widen(a), Function::Im) => number(0.0, a.ty, span),
        (ExprKind::Widen(a), Function::Re) => *a,
        (ExprKind::Widen(a), _) => widen(*a, Scalar::Complex),
        (ExprKind::Imaginary(_), Function::Re) => real(0.0, span),
        (ExprKind::Imaginary(x), Function::Im) => real(x, span),
        (ExprKind::Imaginary(x), _) => expr(ExprKind::Imaginary(-x), Scalar::Complex, span),
        (ExprKind::Unary(UnaryOp::Neg, a), _) => neg(part(function, *a)),
        (ExprKind::Binary(BinaryOp::Add, a, b), _) => add(part(function, *a), part(function, *b)),
        (ExprKind::Binary(BinaryOp::Sub, a, b), _) => sub(part(function, *a), part(function, *b)),
        (ExprKind::Binary(BinaryOp::Mul, a, b), f) => match (a.kind, b.kind) {
            (ExprKind::Widen(a), b) => scaled(f, *a, part(f, expr(b, Scalar::Complex, span))),
            (a, ExprKind::Widen(b)) => scaled(f, *b, part(f, expr(a, Scalar::Complex, span))),
            // 1i (x + i y) = -y + i x
            (ExprKind::Imaginary(x), b) | (b, ExprKind::Imaginary(x)) if f != Function::Conj => {
                let b = expr(b, Scalar::Complex, span);
                match f {
                    Function::Re => neg(mul(real(x, span), part(Function::Im, b))),
                    _ => mul(real(x, span), part(Function::Re, b)),
                }
            }
            (a, b) => {
                let (a, b) = (expr(a, Scalar::Complex, span), expr(b, Scalar::Complex, span));
                call(f, vec![binary(BinaryOp::Mul, a, b)])
            }
        },
        (kind, _) => call(function, vec![expr(kind, Scalar::Complex, span)]),
    }
}

fn scaled(function: Function, factor: Expr, part: Expr) -> Expr {
    if function == Function::Conj { mul(widen(factor, Scalar::Complex), part) } else { mul(factor, part) }
}

/// `x + y i` of two reals
pub(crate) fn complex(x: Expr, y: Expr) -> Expr {
    let unit = expr(ExprKind::Imaginary(1.0), Scalar::Complex, y.span);
    let imaginary = mul(unit, widen(y, Scalar::Complex));
    add(widen(x, Scalar::Complex), imaginary)
}

/// An extent as an integer expression.
pub(crate) fn extent(e: &Extent, span: Span) -> Expr {
    let both = |op, a: &Extent, b: &Extent| binary(op, extent(a, span), extent(b, span));
    match e {
        Extent::Lit(n) => int(*n, span),
        Extent::Dim(d) => expr(ExprKind::Dim(*d), Scalar::Int, span),
        Extent::Add(a, b) => both(BinaryOp::Add, a, b),
        Extent::Sub(a, b) => both(BinaryOp::Sub, a, b),
        Extent::Mul(a, b) => both(BinaryOp::Mul, a, b),
        Extent::FloorDiv(a, b) => both(BinaryOp::FloorDiv, a, b),
        Extent::Mod(a, b) => both(BinaryOp::Mod, a, b),
    }
}

/// A reduction; without indices, the body.
pub(crate) fn reduce(op: ReduceOp, indices: Vec<IndexId>, body: Expr) -> Expr {
    if indices.is_empty() {
        return body;
    }
    let (ty, span) = (body.ty, body.span);
    expr(ExprKind::Reduce { op, indices, body: Box::new(body) }, ty, span)
}

/// Whether the index occurs; binders bind indices of their own.
pub(crate) fn mentions(e: &Expr, i: IndexId) -> bool {
    let mut found = false;
    e.walk(&mut |e| found |= matches!(e.kind, ExprKind::Index(j) if j == i));
    found
}

/// Whether two expressions are the same but for spans and the names of bound indices, of which equal ones run equally far.
pub(crate) fn same(a: &Expr, b: &Expr) -> bool {
    equal(a, b, &mut Vec::new())
}

fn equal(a: &Expr, b: &Expr, renamed: &mut Vec<(IndexId, IndexId)>) -> bool {
    if a.ty != b.ty {
        return false;
    }
    let before = renamed.len();
    let plain = match (&a.kind, &b.kind) {
        (ExprKind::Index(i), ExprKind::Index(j)) => {
            let partner = renamed.iter().rev().find(|(x, y)| x == i || y == j);
            return partner.map_or(i == j, |pair| *pair == (*i, *j));
        }
        (ExprKind::Reduce { op: p, indices: x, .. }, ExprKind::Reduce { op: q, indices: y, .. }) => {
            renamed.extend(x.iter().copied().zip(y.iter().copied()));
            p == q && x.len() == y.len() && !x.iter().zip(y).any(|(i, j)| differ(*i, *j))
        }
        (
            ExprKind::Normalise { op: p, index: i, at: x, eps: e, body: u },
            ExprKind::Normalise { op: q, index: j, at: y, eps: f, body: v },
        ) => {
            let outer = p == q && !differ(*i, *j) && equal(x, y, renamed);
            let eps = match (e, f) {
                (Some(e), Some(f)) => equal(e, f, renamed),
                (None, None) => true,
                _ => false,
            };
            renamed.push((*i, *j));
            let inner = equal(u, v, renamed);
            renamed.truncate(before);
            return outer && eps && inner;
        }
        (
            ExprKind::Solve { row: i, column: j, at: x, matrix: a, right: u },
            ExprKind::Solve { row: k, column: l, at: y, matrix: b, right: v },
        ) => {
            let outer = !differ(*i, *k) && !differ(*j, *l) && equal(x, y, renamed);
            renamed.extend([(*i, *k), (*j, *l)]);
            let inner = equal(a, b, renamed) && equal(u, v, renamed);
            renamed.truncate(before);
            return outer && inner;
        }
        (ExprKind::Int(x), ExprKind::Int(y)) => x == y,
        (ExprKind::Real(x), ExprKind::Real(y)) => x == y,
        (ExprKind::Imaginary(x), ExprKind::Imaginary(y)) => x == y,
        (ExprKind::Bool(x), ExprKind::Bool(y)) => x == y,
        (ExprKind::Dim(x), ExprKind::Dim(y)) => x == y,
        (ExprKind::First, ExprKind::First) => true,
        (ExprKind::Read { value: x, .. }, ExprKind::Read { value: y, .. }) => x == y,
        (ExprKind::Past { delay: x, .. }, ExprKind::Past { delay: y, .. }) => x == y,
        (ExprKind::Widen(_), ExprKind::Widen(_)) => true,
        (ExprKind::Unary(p, _), ExprKind::Unary(q, _)) => p == q,
        (ExprKind::Binary(p, ..), ExprKind::Binary(q, ..)) => p == q,
        (ExprKind::Powi(_, n), ExprKind::Powi(_, m)) => n == m,
        (ExprKind::Call(f, _), ExprKind::Call(g, _)) => f == g,
        (ExprKind::If(_), ExprKind::If(_)) => true,
        _ => false,
    };
    let (x, y) = (a.operands(), b.operands());
    let equal = plain && x.len() == y.len() && x.into_iter().zip(y).all(|(x, y)| equal(x, y, renamed));
    renamed.truncate(before);
    equal
}

/// A layer under construction: new indices, and copies with indices of their own.
#[derive(Debug)]
pub(crate) struct Scope {
    /// The layer, with all indices so far.
    pub(crate) layer: Layer,
    /// Definitions that forms share; absent where forms may not add any.
    pub(crate) shared: Option<Shared>,
    /// How many nodes of forms have been copied.
    pub(crate) work: usize,
    /// Lets expressions of the layer be compared.
    known: Known,
}

impl Scope {
    /// A layer to add to.
    pub(crate) fn new(layer: Layer) -> Self {
        Self { known: Known::of(&layer), layer, shared: None, work: 0 }
    }

    /// Runs an attempt, and forgets the definitions that it shared where it fails.
    pub(crate) fn attempt<T, E>(&mut self, run: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let (values, equations) = (self.layer.values.len(), self.layer.equations.len());
        let shared = self.shared.as_ref().map_or(0, |all| all.values.len());
        let result = run(self);
        if result.is_err() {
            self.layer.values.truncate(values);
            self.layer.equations.truncate(equations);
            self.shared.iter_mut().for_each(|all| all.truncate(shared));
        }
        result
    }

    /// A new index like another one.
    pub(crate) fn fresh(&mut self, like: IndexId) -> IndexId {
        let index = self.layer.index(like).clone();
        self.add_index(&index.name, index.extent, index.span)
    }

    /// A new index.
    pub(crate) fn add_index(&mut self, name: &str, extent: Extent, span: Span) -> IndexId {
        let id = IndexId(self.layer.indices.len() as u32);
        self.known.add(id, &extent);
        self.layer.indices.push(Index { name: name.to_owned(), extent, span });
        id
    }

    /// A new value.
    pub(crate) fn add_value(
        &mut self,
        name: &str,
        kind: ValueKind,
        axes: Vec<Extent>,
        ty: Type,
        span: Span,
    ) -> ValueId {
        let id = ValueId(self.layer.values.len() as u32);
        self.layer.values.push(Value { name: name.to_owned(), kind, axes, ty, span });
        id
    }

    /// A new definition at the end of the step; its body is copied to have indices of its own.
    pub(crate) fn define(&mut self, value: ValueId, indices: &[IndexId], body: &Expr) {
        let fresh: Vec<IndexId> = indices.iter().map(|&i| self.fresh(i)).collect();
        let map: Vec<(IndexId, Expr)> =
            indices.iter().zip(&fresh).map(|(&old, &new)| (old, index(new, body.span))).collect();
        let body = self.substitute(body, &map);
        let span = body.span;
        self.layer.equations.push(Equation { value, indices: fresh, body, span });
    }

    /// A copy with expressions in the place of indices, whose binders bind indices of their own.
    pub(crate) fn substitute(&mut self, e: &Expr, map: &[(IndexId, Expr)]) -> Expr {
        let mut map = map.to_vec();
        self.copy(e, &mut map)
    }

    fn copy(&mut self, e: &Expr, map: &mut Vec<(IndexId, Expr)>) -> Expr {
        let mut copy = e.clone();
        self.rename(&mut copy, map);
        copy
    }

    /// In place: a copy at every level would take quadratic time.
    fn rename(&mut self, e: &mut Expr, map: &mut Vec<(IndexId, Expr)>) {
        let before = map.len();
        match &mut e.kind {
            ExprKind::Index(i) => {
                if let Some((_, new)) = map.iter().rev().find(|(old, _)| *old == *i) {
                    let new = new.clone();
                    // An expression may bind indices, and stands in several places now.
                    *e = if matches!(new.kind, ExprKind::Index(_)) { new } else { self.copy(&new, &mut Vec::new()) };
                }
                return;
            }
            ExprKind::Reduce { indices, .. } => {
                for i in indices {
                    *i = self.rebind(*i, map);
                }
            }
            ExprKind::Normalise { index, at, eps, body, .. } => {
                self.rename(at, map);
                if let Some(eps) = eps {
                    self.rename(eps, map);
                }
                *index = self.rebind(*index, map);
                self.rename(body, map);
                map.truncate(before);
                return;
            }
            ExprKind::Solve { row, column, at, matrix, right } => {
                self.rename(at, map);
                *row = self.rebind(*row, map);
                *column = self.rebind(*column, map);
                self.rename(matrix, map);
                self.rename(right, map);
                map.truncate(before);
                return;
            }
            _ => {}
        }
        for operand in e.operands_mut() {
            self.rename(operand, map);
        }
        map.truncate(before);
    }

    fn rebind(&mut self, old: IndexId, map: &mut Vec<(IndexId, Expr)>) -> IndexId {
        let new = self.fresh(old);
        map.push((old, index(new, Span::default())));
        new
    }
}
