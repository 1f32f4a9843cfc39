//! `past(e, k)`: the value of an expression some steps ago.
//!
//! Each becomes a read of a delay: a definition whose values of earlier steps are kept. An element of an input or a
//! `let` needs a delay of the whole tensor, which all its uses share; any other expression gets a delay of its own,
//! with the expression's free indices for axes.

use std::rc::Rc;

use super::rewrite::free_indices;
use super::scope::{Context, Frame, Lowering};
use super::settle::Goal;
use crate::diag::{Code, Diagnostic, Span};
use crate::ir::{BinaryOp, Equation, Expr, ExprKind, Extent, IndexId, Scalar, Type, UnaryOp};
use crate::ir::{ValueId, ValueKind};
use crate::syntax::ast;

impl Lowering<'_> {
    pub(super) fn lower_past(&mut self, name: &ast::Name, args: &[ast::Expr], span: Span) -> Option<Expr> {
        if self.context != Context::Step {
            let message = "an initialiser has no past";
            self.report(Diagnostic::error(Code::S222, span, message));
            return None;
        }
        let [e, steps] = args else {
            let message = format!("`{}` takes 2 arguments, found {}", name.text, args.len());
            self.report(Diagnostic::error(Code::S212, name.span, message));
            return None;
        };
        let count = steps.span;
        let (e, steps) = (self.lower_expr(e), self.lower_expr(steps));
        let (e, steps) = (e?, steps?);
        let mut fixed = steps.ty == Scalar::Int;
        steps.walk(&mut |e| {
            fixed &= matches!(
                e.kind,
                ExprKind::Int(_) | ExprKind::Dim(_) | ExprKind::Index(_) | ExprKind::Unary(..) | ExprKind::Binary(..)
            );
        });
        if !fixed {
            let message = "the number of steps is an integer over literals, dimensions and indices";
            self.report(Diagnostic::error(Code::S216, count, message));
            return None;
        }
        if let Some(state) = self.state_in(&e) {
            let error = Diagnostic::error(Code::S214, state, "the past of a state is not kept")
                .label("this depends on a state")
                .help("carry it in a state of its own");
            self.report(error);
            return None;
        }
        self.expect(Goal::Steps, &steps);
        let ty = e.ty;
        let (delay, at) = match self.whole_delay(&e) {
            Some(found) => found,
            None => self.lift(&e, ValueKind::Delay, span),
        };
        let past = Expr { kind: ExprKind::Past { delay, at, steps: Box::new(steps) }, ty, span };
        if !self.has_reverse {
            return Some(past);
        }
        // Delays run forward: what runs in reverse reads a value that is kept for all steps.
        let (value, at) = self.lift(&past, ValueKind::Let, span);
        Some(Expr { kind: ExprKind::Read { value, at }, ty, span })
    }

    /// The delay of a whole tensor, where the expression is an element of one.
    fn whole_delay(&mut self, e: &Expr) -> Option<(ValueId, Vec<Expr>)> {
        let ExprKind::Read { value, at } = &e.kind else {
            return None;
        };
        let kind = self.layer.value(*value).kind;
        let plain = at.iter().all(|at| at.reads().is_empty() && !contains_binder(at));
        if kind == ValueKind::Param || !plain {
            return None;
        }
        if let Some(delay) = self.delays_of.get(value) {
            return Some((*delay, at.clone()));
        }
        let declared = self.layer.value(*value).clone();
        let indices: Vec<IndexId> = declared
            .axes
            .iter()
            .enumerate()
            .map(|(axis, extent)| self.add_index(&format!("i{axis}"), extent.clone(), e.span))
            .collect();
        let element =
            indices.iter().map(|i| Expr { kind: ExprKind::Index(*i), ty: Scalar::Int, span: e.span }).collect();
        let body = Expr { kind: ExprKind::Read { value: *value, at: element }, ty: e.ty, span: e.span };
        let name = format!("delay.{}", self.layer.delays.len());
        let delay = self.add_value(&name, ValueKind::Delay, declared.axes, declared.ty, e.span);
        self.from_index[delay.at()] = self.from_index[value.at()];
        self.layer.equations.push(Equation { value: delay, indices, body, span: e.span });
        self.layer.delays.push(delay);
        self.delays_of.insert(*value, delay);
        Some((delay, at.clone()))
    }

    /// Gives an expression an equation of its own, before the statement; returns how it is read in its place.
    ///
    /// The equation computes the expression for all values of its free indices, so the conditions on integers that
    /// guard it go along; where they do not hold it is zero.
    fn lift(&mut self, e: &Expr, kind: ValueKind, span: Span) -> (ValueId, Vec<Expr>) {
        let mut guards = Vec::new();
        for (condition, holds) in self.guards.clone() {
            conditions(&condition, holds, &mut guards);
        }
        guards.retain(|(condition, _)| !self.is_stateful(condition));
        let mut used: Vec<IndexId> = free_indices(e);
        for (condition, _) in &guards {
            used.extend(free_indices(condition));
        }
        // Indices in the order of their scopes.
        let outer: Vec<IndexId> = self
            .frames
            .iter()
            .filter_map(|frame| match frame {
                Frame::Index(index) if used.contains(&index.id) => Some(index.id),
                _ => None,
            })
            .collect();
        let mut renamed: Vec<(IndexId, IndexId)> = Vec::new();
        for old in &outer {
            let name = self.layer.index(*old).name.clone();
            let new = self.add_index(&name, Extent::Lit(1), span);
            renamed.push((*old, new));
        }
        let pairs = renamed.clone();
        let mut body = self.copy_with(e, &mut renamed);
        for (condition, holds) in guards {
            let mut condition = self.copy_with(&condition, &mut renamed);
            if !holds {
                let place = condition.span;
                let not = ExprKind::Unary(UnaryOp::Not, Box::new(condition));
                condition = Expr { kind: not, ty: Scalar::Bool, span: place };
            }
            let zero = Self::zero(body.ty, span);
            let ty = body.ty;
            body = Expr { kind: ExprKind::If(Box::new([condition, body, zero])), ty, span };
        }
        let indices: Vec<IndexId> = pairs.iter().map(|(_, new)| *new).collect();
        let name = match kind {
            ValueKind::Delay => format!("delay.{}", self.layer.delays.len()),
            _ => format!("past.{}", self.layer.values.len()),
        };
        let stored = self.stored_type(e);
        let value = self.define(&name, kind, indices, body, span);
        self.layer.values[value.at()].ty = stored;
        if kind == ValueKind::Delay {
            self.layer.delays.push(value);
        }
        let at = outer.iter().map(|i| Expr { kind: ExprKind::Index(*i), ty: Scalar::Int, span }).collect();
        self.lifted.push((value, pairs));
        (value, at)
    }

    /// The type under which an expression is stored: that of the value, where it is an element of one.
    fn stored_type(&self, e: &Expr) -> Type {
        match (&e.kind, e.ty) {
            (ExprKind::Read { value, .. } | ExprKind::Past { delay: value, .. }, _) => {
                self.layer.value(*value).ty.clone()
            }
            (_, Scalar::Bool) => Type::Bool,
            (_, Scalar::Int) => Type::Int,
            (_, Scalar::Real) => Type::Real,
            (_, Scalar::Complex) => Type::Complex,
        }
    }
}

fn contains_binder(e: &Expr) -> bool {
    let mut found = false;
    e.walk(&mut |e| {
        found |= matches!(e.kind, ExprKind::Reduce { .. } | ExprKind::Normalise { .. } | ExprKind::Solve { .. });
    });
    found
}

/// The comparisons of integers that a condition amounts to.
fn conditions(condition: &Rc<Expr>, holds: bool, found: &mut Vec<(Rc<Expr>, bool)>) {
    match &condition.kind {
        ExprKind::Unary(UnaryOp::Not, e) => conditions(&Rc::new((**e).clone()), !holds, found),
        ExprKind::Binary(op @ (BinaryOp::And | BinaryOp::Or), a, b) if (*op == BinaryOp::And) == holds => {
            conditions(&Rc::new((**a).clone()), holds, found);
            conditions(&Rc::new((**b).clone()), holds, found);
        }
        ExprKind::Binary(op, a, _) if op.is_comparison() && a.ty == Scalar::Int => {
            found.push((condition.clone(), holds));
        }
        _ => {}
    }
}
