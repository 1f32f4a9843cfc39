//! The statements of a layer, in order.

use std::collections::HashSet;

use super::Functions;
use super::implicit::Update;
use super::scope::{Lowering, Named};
use crate::analysis::passes;
use crate::diag::{Code, Diagnostic, Span};
use crate::ir::{self, BinaryOp, Equation, Expr, ExprKind, Extent, IndexId, Output, Scalar, Type};
use crate::ir::{ValueId, ValueKind};
use crate::syntax::ast;

/// Lowers one layer. The layer is whole only where there are no diagnostics.
pub(super) fn lower(source: &ast::Layer, functions: &Functions<'_>) -> (Option<ir::Layer>, Vec<Diagnostic>) {
    let mut lowering = Lowering::new(&source.name.text, functions);
    lowering.declare_dims(&source.dims);
    lowering.declare_names(&source.statements);
    lowering.lower_inits(&source.statements);
    for statement in &source.statements {
        if lowering.full() {
            break;
        }
        lowering.unknown_indices.clear();
        match statement {
            ast::Statement::Let(equation) => lowering.lower_let(equation),
            ast::Statement::Update(equation) => lowering.lower_update(equation),
            ast::Statement::Output(outputs) => lowering.lower_outputs(outputs),
            _ => {}
        }
    }
    lowering.lower_resets(&source.statements);
    lowering.finish(source)
}

/// A lowered left and right side.
struct Sides {
    indices: Vec<IndexId>,
    body: Expr,
}

impl Lowering<'_> {
    fn lower_let(&mut self, equation: &ast::Equation) {
        let defined = self.lower_definition(equation, ValueKind::Let);
        self.enter(&equation.name, defined);
    }

    fn enter(&mut self, name: &ast::Name, defined: Option<ValueId>) {
        if self.names.get(&name.text).is_some_and(|(_, span)| *span != name.span) {
            return; // declared twice, which has been said
        }
        let named = defined.map_or(Named::Poisoned, |value| Named::Definition(Some(value)));
        self.rename(&name.text, named);
    }

    /// Lowers the sides of an equation; `axes` are the extents of the left side where they are known.
    fn lower_sides(&mut self, equation: &ast::Equation, axes: Option<&[Extent]>, ty: Option<&Type>) -> Option<Sides> {
        let Some(indices) = self.bind(&equation.indices, axes) else {
            self.frames.clear();
            self.damaged = true;
            return None;
        };
        let body = self.lower_expr(&equation.body);
        let body = match ty {
            Some(ty) => body.and_then(|body| self.coerce_to(body, ty, equation.name.span)),
            None => body,
        };
        // Without a body the extents may be unknown for want of what is missing: say nothing about them.
        let decided = match &body {
            Some(_) => self.unbind(indices.len()),
            None => false,
        };
        self.frames.clear();
        if decided {
            self.settle();
        } else {
            self.pending.clear();
            self.lifted.clear();
        }
        self.damaged |= !decided;
        decided.then_some(Sides { indices, body: body? })
    }

    fn lower_definition(&mut self, equation: &ast::Equation, kind: ValueKind) -> Option<ValueId> {
        let Sides { indices, mut body } = self.lower_sides(equation, None, None)?;
        let from_index = self.comes_from_index(&body);
        if kind == ValueKind::Output && body.ty == Scalar::Int && !from_index {
            body = self.widen(body, Scalar::Real);
        }
        let value = self.define(&equation.name.text, kind, indices, body, equation.span);
        self.layer.values[value.at()].span = equation.name.span;
        Some(value)
    }

    /// Adds the equation of a new value whose axes are the extents of the indices.
    pub(super) fn define(
        &mut self,
        name: &str,
        kind: ValueKind,
        indices: Vec<IndexId>,
        body: Expr,
        span: Span,
    ) -> ValueId {
        let axes = indices.iter().map(|i| self.layer.index(*i).extent.clone()).collect();
        let ty = match body.ty {
            Scalar::Bool => Type::Bool,
            Scalar::Int => Type::Int,
            Scalar::Real => Type::Real,
            Scalar::Complex => Type::Complex,
        };
        let stateful = self.is_stateful(&body);
        let from_index = self.comes_from_index(&body);
        let value = self.add_value(name, kind, axes, ty, span);
        self.stateful[value.at()] = stateful;
        self.from_index[value.at()] = from_index;
        self.layer.equations.push(Equation { value, indices, body, span });
        value
    }

    /// Whether an integer comes from a value of an index type or from `argmax`.
    fn comes_from_index(&self, body: &Expr) -> bool {
        let mut found = false;
        body.walk(&mut |e| match &e.kind {
            ExprKind::Read { value, .. } | ExprKind::Past { delay: value, .. } => {
                found |= matches!(self.layer.value(*value).ty, Type::Index(_));
                found |= self.from_index[value.at()];
            }
            ExprKind::Reduce { op: ir::ReduceOp::ArgMax | ir::ReduceOp::ArgMin, .. } => found = true,
            _ => {}
        });
        found && body.ty == Scalar::Int
    }

    fn lower_update(&mut self, equation: &ast::Equation) {
        let name = &equation.name;
        let state = match self.names.get(&name.text).copied() {
            Some((Named::State(state), _)) => state,
            Some((Named::Poisoned, _)) => return,
            Some((_, span)) => {
                let message = format!("`{}` is no state", name.text);
                let error = Diagnostic::error(Code::S211, name.span, message)
                    .also(span, "declared here")
                    .help(format!("define a value of this step with `let {} = ..`", name.text));
                return self.report(error);
            }
            None => {
                let states: Vec<String> = self.layer.states.iter().map(|s| s.name.clone()).collect();
                let message = format!("unknown state `{}`", name.text);
                let mut error = Diagnostic::error(Code::S201, name.span, message);
                error = match crate::diag::nearest(&name.text, states.iter().map(String::as_str)) {
                    Some(near) => error.help(format!("did you mean `{near}`?")),
                    None => error.help(format!("declare it: `state {} = 0`", name.text)),
                };
                return self.report(error);
            }
        };
        let declared = self.layer.value(self.layer.states[state.at()].value).clone();
        // Whatever goes wrong below, the state counts as updated: one error is enough.
        self.updated[state.at()] = true;
        let version = self.versions[state.at()];
        if !self.check_arity(&name.text, name.span, equation.indices.len(), &declared) {
            self.rename(&name.text, Named::Poisoned);
            return;
        }
        self.update = Some(Update { state, unknown: None, derived: Vec::new(), implicit: false });
        let sides = self.lower_sides(equation, Some(&declared.axes), Some(&declared.ty));
        let update = self.update.take();
        let Some(Sides { indices, body }) = sides else {
            self.rename(&name.text, Named::Poisoned);
            return;
        };
        if let Type::Index(extent) = &declared.ty {
            let known = self.check_range(&body, extent, equation.body.span, declared.span);
            if !known {
                return;
            }
        }
        // The unknown of an `argmin` is the new state.
        let next = match update.as_ref().and_then(|update| update.unknown) {
            Some(unknown) => unknown,
            None => self.add_value("", ValueKind::Next(state), declared.axes, declared.ty, name.span),
        };
        let value = &mut self.layer.values[next.at()];
        (value.name, value.span) = (name.text.clone(), name.span);
        if let Some(update) = update.filter(|update| update.implicit) {
            self.layer.derived.extend(update.derived.into_iter().chain([next]));
        }
        debug_assert_ne!(next, version);
        self.layer.equations.push(Equation { value: next, indices, body, span: equation.span });
        self.versions[state.at()] = next;
        self.layer.states[state.at()].next = next;
    }

    fn lower_outputs(&mut self, outputs: &[ast::Output]) {
        for output in outputs {
            let (name, value) = match output {
                ast::Output::Define(equation) => {
                    let defined = self.lower_definition(equation, ValueKind::Output);
                    self.enter(&equation.name, defined);
                    (&equation.name, defined)
                }
                ast::Output::Name(name) => (name, self.output_by_name(name)),
            };
            let Some(value) = value else { continue };
            if let Some(first) = self.layer.outputs.iter().find(|o| o.name == name.text) {
                let first = self.layer.value(first.value).span;
                let message = format!("`{}` is returned twice", name.text);
                self.report(Diagnostic::error(Code::S202, name.span, message).also(first, "first here"));
                continue;
            }
            self.layer.outputs.push(Output { name: name.text.clone(), value });
        }
    }

    fn output_by_name(&mut self, name: &ast::Name) -> Option<ValueId> {
        match self.names.get(&name.text).copied() {
            Some((Named::State(state), _)) => Some(self.versions[state.at()]),
            Some((Named::Definition(Some(value)), _)) => Some(self.widened_output(name, value)),
            Some((Named::Definition(None), span)) => {
                self.report_before_definition(name, span);
                None
            }
            Some((Named::Poisoned, _)) => None,
            Some((Named::Dim(_) | Named::Param(_) | Named::Input(_), span)) => {
                let message = format!("`{}` is neither a state nor a `let`", name.text);
                let error = Diagnostic::error(Code::S201, name.span, message)
                    .also(span, "declared here")
                    .help("give the output a name of its own: `output y = ..`");
                self.report(error);
                None
            }
            None => {
                self.unknown_name(&name.text, name.span);
                None
            }
        }
    }

    /// Integers that come from no index type are returned as reals.
    fn widened_output(&mut self, name: &ast::Name, value: ValueId) -> ValueId {
        if self.layer.value(value).ty != Type::Int || self.from_index[value.at()] {
            return value;
        }
        let axes = self.layer.value(value).axes.clone();
        let indices: Vec<IndexId> = axes
            .iter()
            .enumerate()
            .map(|(axis, extent)| self.add_index(&format!("i{axis}"), extent.clone(), name.span))
            .collect();
        let at = indices.iter().map(|i| Expr { kind: ExprKind::Index(*i), ty: Scalar::Int, span: name.span });
        let read = ExprKind::Read { value, at: at.collect() };
        let body = self.widen(Expr { kind: read, ty: Scalar::Int, span: name.span }, Scalar::Real);
        self.define(&name.text, ValueKind::Output, indices, body, name.span)
    }

    fn lower_resets(&mut self, statements: &[ast::Statement]) {
        let mut condition: Option<Expr> = None;
        for statement in statements {
            let ast::Statement::Reset { condition: e, .. } = statement else {
                continue;
            };
            let Some(lowered) = self.lower_expr(e) else {
                continue;
            };
            self.settle();
            if lowered.ty != Scalar::Bool {
                let error = Diagnostic::error(Code::S209, e.span, "expected a condition")
                    .label(format!("this is {}", super::expr::describe(lowered.ty)));
                self.report(error);
                continue;
            }
            if let Some(place) = self.state_in(&lowered) {
                let message = "a reset may not depend on a state";
                let error = Diagnostic::error(Code::S214, place, message);
                self.report(error.label("this depends on a state"));
                continue;
            }
            if let Some(place) = self.first_in(&lowered) {
                let message = "a reset may not depend on `first`";
                let error = Diagnostic::error(Code::S214, place, message);
                self.report(error.label("`first` is true in a step that resets"));
                continue;
            }
            condition = Some(match condition {
                None => lowered,
                Some(first) => Expr {
                    span: first.span,
                    ty: Scalar::Bool,
                    kind: ExprKind::Binary(BinaryOp::Or, Box::new(first), Box::new(lowered)),
                },
            });
        }
        self.frames.clear();
        if let Some(condition) = condition {
            let span = condition.span;
            self.layer.reset = Some(self.define("reset", ValueKind::Let, Vec::new(), condition, span));
        }
    }

    /// Where an expression depends on `first`.
    fn first_in(&self, e: &Expr) -> Option<Span> {
        let mut seen: HashSet<ValueId> = HashSet::new();
        let mut open: Vec<(&Expr, Option<Span>)> = vec![(e, None)];
        while let Some((e, from)) = open.pop() {
            let mut found = None;
            e.walk(&mut |e| match &e.kind {
                ExprKind::First => found = found.or(Some(from.unwrap_or(e.span))),
                ExprKind::Read { value, .. } | ExprKind::Past { delay: value, .. } => {
                    if let Some(equation) = self.layer.definition(*value)
                        && seen.insert(*value)
                    {
                        open.push((&equation.body, Some(from.unwrap_or(e.span))));
                    }
                }
                _ => {}
            });
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Where an expression reads something that depends on a state.
    pub(super) fn state_in(&self, e: &Expr) -> Option<Span> {
        let mut found = None;
        e.walk(&mut |e| {
            if let ExprKind::Read { value, .. } = e.kind
                && self.stateful[value.at()]
            {
                found.get_or_insert(e.span);
            }
        });
        found
    }

    fn finish(mut self, source: &ast::Layer) -> (Option<ir::Layer>, Vec<Diagnostic>) {
        for (id, state) in self.layer.states.clone().into_iter().enumerate() {
            if !self.updated[id] {
                let value = self.layer.value(state.value);
                let axes: Vec<String> = value.axes.iter().map(|e| self.show(e).to_lowercase()).collect();
                let left =
                    if axes.is_empty() { state.name.clone() } else { format!("{}[{}]", state.name, axes.join(", ")) };
                let message = format!("state `{}` is never updated", state.name);
                let error = Diagnostic::error(Code::S211, value.span, message)
                    .help(format!("say what its new value is: `{left} <- ..`"));
                self.report(error);
            }
        }
        let gives = |s: &ast::Statement| matches!(s, ast::Statement::Output(_) | ast::Statement::State(_));
        if !source.statements.iter().any(gives) {
            let message = format!("layer `{}` has neither an output nor a state", source.name.text);
            self.report(Diagnostic::error(Code::S220, source.name.span, message));
        }
        if self.diagnostics.is_empty()
            && self.has_reverse
            && let Err(conflict) = passes::passes(&self.layer)
        {
            let state = |id: ir::StateId| &self.layer.states[id.at()];
            let (forward, reverse) = (state(conflict.forward), state(conflict.reverse));
            let message = format!(
                "`{}` runs forward and `{}` in reverse, and each depends on the other",
                forward.name, reverse.name
            );
            let error = Diagnostic::error(Code::S217, self.layer.value(reverse.value).span, message)
                .label("runs from the last step to the first")
                .also(self.layer.value(forward.value).span, "runs from the first step to the last");
            self.report(error);
        }
        let whole = self.diagnostics.is_empty() && !self.damaged;
        if whole && let Err(error) = ir::verify::verify(&self.layer) {
            panic!("sema made a layer that does not verify: {error}\n{}", ir::print::print(&self.layer));
        }
        (whole.then_some(self.layer), self.diagnostics)
    }
}
