//! Implicit updates: `argmin[Z](objective)` and `diagonal(e)` on the right of an update.
//!
//! The names and types are found here; the closed form is the work of [`crate::analysis::implicit`].

use super::expr::describe;
use super::scope::{Frame, Lowering, Named};
use crate::analysis::implicit::{self, Unknown};
use crate::analysis::verdict::Failure;
use crate::analysis::verdict::build::Scope;
use crate::diag::{Code, Diagnostic, Span};
use crate::ir::{Expr, IndexId, Scalar, StateId, Type, ValueId, ValueKind};
use crate::syntax::ast;

/// An update that is being lowered.
pub(super) struct Update {
    pub(super) state: StateId,
    /// The value that stands for the unknown of an `argmin`: it becomes the new state.
    pub(super) unknown: Option<ValueId>,
    /// Definitions that were derived for it.
    pub(super) derived: Vec<ValueId>,
    /// Whether anything was derived.
    pub(super) implicit: bool,
}

impl Lowering<'_> {
    /// The state that is being updated and the indices on the left; says so where this is no place for an implicit
    /// update.
    fn updated_here(&mut self, name: &ast::Name, span: Span) -> Option<(StateId, Vec<IndexId>)> {
        let Some(update) = &self.update else {
            let message = format!("`{}` stands on the right of an update only", name.text);
            let error = Diagnostic::error(Code::S224, span, message).help("give a state this new value: `h[..] <- ..`");
            self.report(error);
            return None;
        };
        let state = update.state;
        let axes = self.layer.value(self.versions[state.at()]).axes.len();
        let left: Option<Vec<IndexId>> = self
            .frames
            .iter()
            .map(|frame| match frame {
                Frame::Index(index) => Some(index.id),
                Frame::Arguments(_) => None,
            })
            .collect();
        let left = left.filter(|left| left.len() == axes);
        if left.is_none() {
            let message = format!("`{}` may not stand inside of a binder or a function", name.text);
            self.report(Diagnostic::error(Code::S224, span, message).label("it is about the whole of the new state"));
        }
        Some((state, left?))
    }

    pub(super) fn lower_argmin(
        &mut self,
        name: &ast::Name,
        bindings: &[ast::Binding],
        args: &[ast::Expr],
        span: Span,
    ) -> Option<Expr> {
        let (state, left) = self.updated_here(name, span)?;
        let [objective] = args else {
            self.report_arity(name, 1, args.len());
            return None;
        };
        let unknown = match bindings {
            [ast::Binding { index: ast::Expr { kind: ast::ExprKind::Name(text), span, .. }, extent: None }] => {
                ast::Name { text: text.clone(), span: *span }
            }
            _ => {
                let message = "`argmin` has one unknown: a name without an extent";
                let error = Diagnostic::error(Code::S212, name.span, message)
                    .help("write `argmin[Z](..)`: `Z` has the shape of the state");
                self.report(error);
                return None;
            }
        };
        if self.update.as_ref().is_some_and(|update| update.unknown.is_some()) {
            let message = "an update has one `argmin`";
            let error = Diagnostic::error(Code::S224, span, message).help("give the other one an update of its own");
            self.report(error);
            return None;
        }
        let version = self.versions[state.at()];
        let declared = self.layer.value(version).clone();
        if declared.ty != Type::Real {
            let message = format!("`argmin` is for states of real numbers, and `{}` is none", declared.name);
            self.report(Diagnostic::error(Code::S209, span, message).also(declared.span, "declared here"));
            return None;
        }
        if !self.declare(&unknown, Named::Poisoned) {
            return None;
        }
        let value = self.add_value(&unknown.text, ValueKind::Next(state), declared.axes, declared.ty, declared.span);
        self.rename(&unknown.text, Named::Definition(Some(value)));
        if let Some(update) = &mut self.update {
            update.unknown = Some(value);
        }
        // The objective is one number: neither the indices on the left nor what guards this place are in it.
        let frames = std::mem::take(&mut self.frames);
        let guards = std::mem::take(&mut self.guards);
        let update = self.update.take();
        let lowered = self.lower_objective(objective);
        self.update = update;
        self.guards = guards;
        self.frames = frames;
        self.names.remove(&unknown.text);
        let lowered = lowered?;
        let before = self.diagnostics.len();
        self.settle();
        if self.diagnostics.len() > before {
            return None;
        }
        let found = self.with_scope(|scope, taken| {
            let unknown = Unknown { value, name: &unknown.text, state: version, left: &left, taken };
            implicit::minimum(scope, &unknown, &lowered)
        });
        match found {
            Ok(minimum) => {
                if let Some(update) = &mut self.update {
                    update.derived.extend(minimum.definitions);
                    update.implicit = true;
                }
                Some(minimum.element)
            }
            Err(failure) => {
                self.report_implicit(failure, span, "this `argmin` has no closed form");
                None
            }
        }
    }

    fn lower_objective(&mut self, objective: &ast::Expr) -> Option<Expr> {
        let lowered = self.lower_expr(objective)?;
        match lowered.ty {
            Scalar::Int | Scalar::Real => Some(self.widen(lowered, Scalar::Real)),
            found => {
                self.report_type(objective.span, describe(Scalar::Real), found);
                None
            }
        }
    }

    pub(super) fn lower_diagonal(&mut self, name: &ast::Name, args: &[ast::Expr], span: Span) -> Option<Expr> {
        let (state, left) = self.updated_here(name, span)?;
        let [arg] = args else {
            self.report_arity(name, 1, args.len());
            return None;
        };
        let e = self.lower_expr(arg)?;
        let e = match e.ty {
            Scalar::Bool => {
                self.report_type(arg.span, "a number", e.ty);
                return None;
            }
            Scalar::Int => self.widen(e, Scalar::Real),
            _ => e,
        };
        let version = self.versions[state.at()];
        if !matches!(self.layer.value(version).ty, Type::Real | Type::Complex) {
            let declared = self.layer.value(version).clone();
            let message =
                format!("`diagonal` is for states of real or complex numbers, and `{}` is none", declared.name);
            self.report(Diagnostic::error(Code::S209, span, message).also(declared.span, "declared here"));
            return None;
        }
        let before = self.diagnostics.len();
        self.settle();
        if self.diagnostics.len() > before {
            return None;
        }
        match self.with_scope(|scope, _| implicit::diagonal(scope, version, &left, &e)) {
            Ok(e) => {
                self.drop_unread(&e);
                if let Some(update) = &mut self.update {
                    update.implicit = true;
                }
                Some(e)
            }
            Err(failure) => {
                self.report_implicit(failure, span, "this is not affine in the state, so it has no diagonal");
                None
            }
        }
    }

    /// Lends the layer to an analysis that adds to it.
    fn with_scope<T>(&mut self, run: impl FnOnce(&mut Scope, &dyn Fn(&str) -> bool) -> T) -> T {
        let mut scope = Scope::new(std::mem::take(&mut self.layer));
        let names = &self.names;
        let result = run(&mut scope, &|name| names.contains_key(name));
        self.layer = scope.layer;
        // What was added since depends on a state where its definition does.
        for value in self.stateful.len()..self.layer.values.len() {
            let equation = self.layer.definition(ValueId(value as u32));
            let stateful =
                equation.is_some_and(|e| e.body.reads().iter().any(|v| self.stateful.get(v.at()) == Some(&true)));
            self.stateful.push(stateful);
            self.from_index.push(false);
        }
        result
    }

    /// Takes back the last derived definitions where nothing reads them any more.
    fn drop_unread(&mut self, e: &Expr) {
        let Some(update) = &mut self.update else { return };
        while let Some(&last) = update.derived.last() {
            let tail = last.at() + 1 == self.layer.values.len()
                && self.layer.equations.last().is_some_and(|equation| equation.value == last);
            if !tail || e.reads().contains(&last) {
                return;
            }
            update.derived.pop();
            self.layer.equations.pop();
            self.layer.values.pop();
            self.stateful.pop();
            self.from_index.pop();
        }
    }

    fn report_implicit(&mut self, failure: Failure, whole: Span, message: &str) {
        let mut error = Diagnostic::error(Code::S303, failure.span, message).label(failure.reason);
        if failure.span != whole {
            error = error.also(whole, "derived here");
        }
        self.report(error);
    }
}
