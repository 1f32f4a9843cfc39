//! The `fn` items of a file: what they are called, and that each can be inlined.

use std::collections::HashMap;

use crate::diag::{Code, Diagnostic, Span, nearest};
use crate::ir::Function;
use crate::syntax::ast;

/// Binders that reduce or normalise.
pub(super) const BINDERS: &[&str] = &[
    "sum",
    "prod",
    "max",
    "min",
    "mean",
    "argmax",
    "argmin_index",
    "logsumexp",
    "softmax",
    "layernorm",
    "rmsnorm",
    "norm",
];

/// Functions that are no [`Function`]: delays, initialisers, and what derives a step.
pub(super) const SPECIAL: &[&str] = &[
    "past",
    "normal",
    "uniform",
    "hippo_legs",
    "hippo_n",
    "diagonal",
    "argmin",
    "solve",
];

/// The functions of a file by name.
pub(super) struct Functions<'a> {
    by_name: HashMap<&'a str, &'a ast::Function>,
}

impl<'a> Functions<'a> {
    pub(super) fn of(file: &'a ast::File, diagnostics: &mut Vec<Diagnostic>) -> Self {
        let mut by_name: HashMap<&str, &ast::Function> = HashMap::new();
        for item in &file.items {
            let ast::Item::Function(function) = item else {
                continue;
            };
            if let Some(other) = by_name.get(function.name.text.as_str()) {
                diagnostics.push(declared_twice(&function.name, other.name.span));
            } else {
                by_name.insert(&function.name.text, function);
            }
        }
        let functions = Self { by_name };
        for item in &file.items {
            if let ast::Item::Function(function) = item {
                functions.check(function, diagnostics);
            }
        }
        functions
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a ast::Function> {
        self.by_name.get(name).copied()
    }

    /// All names that a call may have.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let built_in = Function::NAMES.iter().map(|(_, name, _)| *name);
        let own = self.by_name.keys().copied();
        built_in
            .chain(own)
            .chain(BINDERS.iter().copied())
            .chain(SPECIAL.iter().copied())
    }

    fn check(&self, function: &'a ast::Function, diagnostics: &mut Vec<Diagnostic>) {
        for (i, param) in function.params.iter().enumerate() {
            if let Some(other) = function.params[..i].iter().find(|p| p.text == param.text) {
                diagnostics.push(declared_twice(param, other.span));
            }
        }
        let mut bound: Vec<&str> = function.params.iter().map(|p| p.text.as_str()).collect();
        self.check_names(&function.body, &mut bound, diagnostics);
        if let Some(span) = self.path_to(function, &function.body, &mut Vec::new()) {
            let message = format!("`{}` calls itself", function.name.text);
            diagnostics.push(Diagnostic::error(Code::S213, span, message).also(
                function.name.span,
                "functions are inlined, so none may call itself",
            ));
        }
    }

    fn check_names(&self, e: &'a ast::Expr, bound: &mut Vec<&'a str>, out: &mut Vec<Diagnostic>) {
        match &e.kind {
            ast::ExprKind::Name(name) if !bound.contains(&name.as_str()) => {
                let mut d = Diagnostic::error(Code::S201, e.span, format!("unknown name `{name}`"))
                    .label("a function sees its arguments only");
                if let Some(near) = nearest(name, bound.iter().copied()) {
                    d = d.help(format!("did you mean `{near}`?"));
                }
                out.push(d);
            }
            ast::ExprKind::Access { name, .. } => out.push(
                Diagnostic::error(
                    Code::S207,
                    name.span,
                    format!("`{}` is no tensor here", name.text),
                )
                .label("a function takes and gives scalars"),
            ),
            ast::ExprKind::Binder { bindings, args, .. } => {
                let before = bound.len();
                for binding in bindings {
                    if let Some(extent) = &binding.extent {
                        self.check_names(extent, bound, out);
                    }
                }
                for binding in bindings {
                    if let ast::ExprKind::Name(name) = &binding.index.kind {
                        bound.push(name);
                    }
                }
                for arg in args {
                    self.check_names(arg, bound, out);
                }
                bound.truncate(before);
            }
            _ => {
                for operand in operands(e) {
                    self.check_names(operand, bound, out);
                }
            }
        }
    }

    /// Where a call that leads back to `target` stands in `e`.
    fn path_to(
        &self,
        target: &ast::Function,
        e: &'a ast::Expr,
        visited: &mut Vec<&'a str>,
    ) -> Option<Span> {
        if let ast::ExprKind::Call { name, .. } = &e.kind {
            if name.text == target.name.text {
                return Some(name.span);
            }
            if let Some(callee) = self.get(&name.text)
                && !visited.contains(&name.text.as_str())
            {
                visited.push(&name.text);
                if self.path_to(target, &callee.body, visited).is_some() {
                    return Some(name.span);
                }
            }
        }
        operands(e)
            .into_iter()
            .find_map(|operand| self.path_to(target, operand, visited))
    }
}

pub(super) fn declared_twice(name: &ast::Name, first: Span) -> Diagnostic {
    Diagnostic::error(
        Code::S202,
        name.span,
        format!("`{}` is declared twice", name.text),
    )
    .also(first, "first declared here")
}

/// The direct operands of a syntax node.
pub(super) fn operands(e: &ast::Expr) -> Vec<&ast::Expr> {
    match &e.kind {
        ast::ExprKind::Int(_)
        | ast::ExprKind::Real(_)
        | ast::ExprKind::Imaginary(_)
        | ast::ExprKind::Bool(_)
        | ast::ExprKind::First
        | ast::ExprKind::Name(_)
        | ast::ExprKind::Error => Vec::new(),
        ast::ExprKind::Access { at, .. } => at.iter().collect(),
        ast::ExprKind::Call { args, .. } => args.iter().collect(),
        ast::ExprKind::Binder { bindings, args, .. } => bindings
            .iter()
            .filter_map(|b| b.extent.as_ref())
            .chain(args)
            .collect(),
        ast::ExprKind::CallAccess { args, at, .. } => args.iter().chain(at).collect(),
        ast::ExprKind::Unary(_, e) | ast::ExprKind::Paren(e) => vec![e],
        ast::ExprKind::Binary(_, a, b) => vec![a, b],
        ast::ExprKind::If(parts) => parts.iter().collect(),
    }
}
