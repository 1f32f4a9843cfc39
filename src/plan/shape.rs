//! Questions about expressions: what they depend on, and what they cost.

use crate::ir::{BinaryOp, Expr, ExprKind, Function, IndexId, Scalar};

/// The indices that an expression mentions and does not bind itself, each once, in the order of their first use.
pub fn free_indices(e: &Expr) -> Vec<IndexId> {
    let (mut used, mut bound) = (Vec::new(), Vec::new());
    e.walk(&mut |e| match &e.kind {
        ExprKind::Index(i) if !used.contains(i) => used.push(*i),
        ExprKind::Reduce { indices, .. } => bound.extend(indices.iter().copied()),
        ExprKind::Normalise { index, .. } => bound.push(*index),
        ExprKind::Solve { row, column, .. } => bound.extend([*row, *column]),
        _ => {}
    });
    // An index is bound in one place only, so that a bound one is nowhere free.
    used.retain(|i| !bound.contains(i));
    used
}

/// Whether an expression mentions any of these indices.
pub fn mentions(e: &Expr, indices: &[IndexId]) -> bool {
    match &e.kind {
        ExprKind::Index(i) => indices.contains(i),
        _ => e.operands().into_iter().any(|operand| mentions(operand, indices)),
    }
}

/// Whether a condition compares integers: accesses in the branches may be inside only because of it.
pub fn is_guard(condition: &Expr) -> bool {
    let mut found = false;
    condition.walk(&mut |e| {
        if let ExprKind::Binary(op, a, _) = &e.kind {
            found |= op.is_comparison() && a.ty == Scalar::Int;
        }
    });
    found
}

/// Whether an expression is worth a definition of its own: it holds a reduction or an elementary function.
pub fn is_costly(e: &Expr) -> bool {
    let mut found = false;
    e.walk(&mut |e| {
        found |= match &e.kind {
            ExprKind::Reduce { .. } | ExprKind::Normalise { .. } | ExprKind::Solve { .. } => true,
            ExprKind::Call(f, args) => weight(*f, args[0].ty == Scalar::Complex) > 4,
            _ => false,
        }
    });
    found
}

/// About how many plain operations a function takes.
pub fn weight(f: Function, complex: bool) -> usize {
    match f {
        Function::Min | Function::Max | Function::Relu | Function::Sign | Function::Clamp => 3,
        Function::Floor | Function::Real | Function::Re | Function::Im | Function::Conj => 1,
        Function::Abs if !complex => 1,
        Function::Sqrt | Function::Rsqrt if !complex => 6,
        Function::Pow | Function::Gelu | Function::Cis => 40,
        _ if complex => 60,
        _ => 20,
    }
}

/// The expression with another one in the place of an index that it does not bind.
pub fn substitute(e: &Expr, index: IndexId, by: &Expr) -> Expr {
    if e.kind == ExprKind::Index(index) {
        return by.clone();
    }
    let mut copy = e.clone();
    for operand in copy.operands_mut() {
        *operand = substitute(operand, index, by);
    }
    copy
}

/// Whether an integer expression cannot be negative, as far as its form shows.
pub fn is_natural(e: &Expr) -> bool {
    match &e.kind {
        ExprKind::Int(n) => *n >= 0,
        ExprKind::Index(_) | ExprKind::Dim(_) => true,
        ExprKind::Binary(BinaryOp::Add | BinaryOp::Mul | BinaryOp::FloorDiv, a, b) => is_natural(a) && is_natural(b),
        ExprKind::Binary(BinaryOp::Mod, _, b) => is_natural(b),
        _ => false,
    }
}

/// An integer as a linear form over indices, plus what is not linear.
#[derive(Clone, Debug, Default)]
pub struct Linear<'a> {
    /// The constant.
    pub offset: i64,
    /// The factor of each index, none zero.
    pub factors: Vec<(IndexId, i64)>,
    /// Other integer expressions with their factors.
    pub rest: Vec<(&'a Expr, i64)>,
}

impl<'a> Linear<'a> {
    /// The place of an element in a row-major tensor.
    pub fn of_access(at: &'a [Expr], shape: &[usize]) -> Linear<'a> {
        Self::with_strides(at, &super::Layout::RowMajor.strides(shape))
    }

    /// The place of an element in a tensor with these distances along its axes.
    pub fn with_strides(at: &'a [Expr], strides: &[i64]) -> Linear<'a> {
        let mut linear = Linear::default();
        for (e, &stride) in at.iter().zip(strides).rev() {
            if stride != 0 {
                linear.add(e, stride);
            }
        }
        linear.factors.retain(|(_, factor)| *factor != 0);
        linear
    }

    /// The factor of an index.
    pub fn factor(&self, index: IndexId) -> i64 {
        self.factors.iter().find(|(i, _)| *i == index).map_or(0, |(_, factor)| *factor)
    }

    /// Whether more than the linear part depends on any of the indices.
    pub fn bends(&self, indices: &[IndexId]) -> bool {
        self.rest.iter().any(|(e, _)| mentions(e, indices))
    }

    fn add(&mut self, e: &'a Expr, by: i64) {
        match &e.kind {
            ExprKind::Int(n) => self.offset += n * by,
            ExprKind::Index(i) => match self.factors.iter_mut().find(|(j, _)| j == i) {
                Some((_, factor)) => *factor += by,
                None => self.factors.push((*i, by)),
            },
            ExprKind::Binary(BinaryOp::Add, a, b) => {
                self.add(a, by);
                self.add(b, by);
            }
            ExprKind::Binary(BinaryOp::Sub, a, b) => {
                self.add(a, by);
                self.add(b, -by);
            }
            ExprKind::Binary(BinaryOp::Mul, a, b) => match (&a.kind, &b.kind) {
                (ExprKind::Int(n), _) => self.add(b, by * n),
                (_, ExprKind::Int(n)) => self.add(a, by * n),
                _ => self.rest.push((e, by)),
            },
            _ => self.rest.push((e, by)),
        }
    }
}
