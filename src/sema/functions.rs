//! The `fn` items of a file: what they are called, and that each can be inlined.

use std::collections::{HashMap, HashSet};

use crate::diag::{Code, Diagnostic, Span, nearest};
use crate::ir::Function;
use crate::syntax::{MAX_DIAGNOSTICS, ast};

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
pub(super) const SPECIAL: &[&str] =
    &["past", "normal", "uniform", "hippo_legs", "hippo_n", "diagonal", "argmin", "solve"];

/// The functions of a file by name.
pub(super) struct Functions<'a> {
    by_name: HashMap<&'a str, &'a ast::Function>,
    /// Those in which an error was reported: whatever calls them says nothing.
    unsound: HashSet<&'a str>,
}

impl<'a> Functions<'a> {
    pub(super) fn of(file: &'a ast::File, diagnostics: &mut Vec<Diagnostic>) -> Self {
        let mut functions = Self { by_name: HashMap::new(), unsound: HashSet::new() };
        let mut in_order = Vec::new();
        for item in &file.items {
            let ast::Item::Function(function) = item else {
                continue;
            };
            if let Some(other) = functions.by_name.get(function.name.text.as_str()) {
                diagnostics.push(declared_twice(&function.name, other.name.span));
            } else {
                functions.by_name.insert(&function.name.text, function);
            }
            in_order.push(function);
        }
        for function in &in_order {
            let known = diagnostics.len();
            if known > MAX_DIAGNOSTICS {
                functions.unsound.insert(&function.name.text);
                continue;
            }
            functions.check(function, diagnostics);
            if diagnostics.len() > known {
                functions.unsound.insert(&function.name.text);
            }
        }
        functions.check_cycles(&in_order, diagnostics);
        functions
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a ast::Function> {
        self.by_name.get(name).copied()
    }

    /// Whether a function can be inlined: nothing is wrong with its names.
    pub(super) fn is_sound(&self, name: &str) -> bool {
        !self.unsound.contains(name)
    }

    /// All names that a call may have.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let built_in = Function::NAMES.iter().map(|(_, name, _)| *name);
        let own = self.by_name.keys().copied();
        built_in.chain(own).chain(BINDERS.iter().copied()).chain(SPECIAL.iter().copied())
    }

    /// Says that no function has this name, and which one may be meant.
    pub(super) fn unknown(&self, name: &ast::Name) -> Diagnostic {
        let mut known: Vec<&str> = self.names().collect();
        known.sort_unstable();
        let message = format!("unknown function `{}`", name.text);
        let error = Diagnostic::error(Code::S201, name.span, message);
        match nearest(&name.text, known) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error,
        }
    }

    /// How many arguments a function takes, where that is known by its name.
    fn arity(&self, name: &str) -> Option<usize> {
        let own = self.get(name).map(|function| function.params.len());
        own.or_else(|| {
            let mut built_in = Function::NAMES.iter();
            built_in.find(|(_, n, _)| *n == name).map(|(.., n)| *n)
        })
    }

    fn check(&self, function: &'a ast::Function, diagnostics: &mut Vec<Diagnostic>) {
        for (i, param) in function.params.iter().enumerate() {
            if let Some(other) = function.params[..i].iter().find(|p| p.text == param.text) {
                diagnostics.push(declared_twice(param, other.span));
            }
        }
        let mut bound: Vec<&str> = function.params.iter().map(|p| p.text.as_str()).collect();
        self.check_names(&function.body, &mut bound, diagnostics);
    }

    /// Reports each call that leads back to a function that is being inlined.
    fn check_cycles(&mut self, in_order: &[&'a ast::Function], diagnostics: &mut Vec<Diagnostic>) {
        /// A function on the way, and the calls in it that are still to be followed.
        type Open<'a> = (&'a ast::Function, Vec<&'a ast::Name>);
        let mut done: HashSet<&str> = HashSet::new();
        for start in in_order {
            let mut path: Vec<Open<'a>> = Vec::new();
            let mut on_path: HashSet<&str> = HashSet::new();
            let mut next = Some(*start);
            loop {
                if let Some(function) = next.take()
                    && done.insert(&function.name.text)
                {
                    on_path.insert(&function.name.text);
                    path.push((function, calls(&function.body)));
                }
                let Some((function, open)) = path.last_mut() else {
                    break;
                };
                match open.pop() {
                    None => {
                        on_path.remove(function.name.text.as_str());
                        path.pop();
                    }
                    Some(call) if on_path.contains(call.text.as_str()) => {
                        let target = self.by_name[call.text.as_str()];
                        let message = format!("`{}` calls itself", call.text);
                        let error = Diagnostic::error(Code::S213, call.span, message);
                        let why = "functions are inlined, so none may call itself";
                        diagnostics.push(error.also(target.name.span, why));
                        let from = path.iter().position(|(f, _)| f.name.text == call.text);
                        let round = path[from.unwrap_or(0)..].iter();
                        self.unsound.extend(round.map(|(f, _)| f.name.text.as_str()));
                    }
                    Some(call) => next = self.get(&call.text),
                }
            }
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
                Diagnostic::error(Code::S207, name.span, format!("`{}` is no tensor here", name.text))
                    .label("a function takes and gives scalars"),
            ),
            ast::ExprKind::Call { name, args } => {
                match self.arity(&name.text) {
                    Some(wanted) if wanted != args.len() => {
                        out.push(wrong_arity(name, wanted, args.len()));
                    }
                    None if !self.names().any(|known| known == name.text) => {
                        out.push(self.unknown(name));
                    }
                    _ => {}
                }
                for arg in args {
                    self.check_names(arg, bound, out);
                }
            }
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
}

/// The calls in an expression, the first one last.
fn calls(e: &ast::Expr) -> Vec<&ast::Name> {
    let mut found = Vec::new();
    let mut open = vec![e];
    while let Some(e) = open.pop() {
        if let ast::ExprKind::Call { name, .. } = &e.kind {
            found.push(name);
        }
        open.extend(operands(e).into_iter().rev());
    }
    found.reverse();
    found
}

/// Says that a call has the wrong number of arguments.
pub(super) fn wrong_arity(name: &ast::Name, wanted: usize, found: usize) -> Diagnostic {
    let plural = if wanted == 1 { "argument" } else { "arguments" };
    let message = format!("`{}` takes {wanted} {plural}, found {found}", name.text);
    Diagnostic::error(Code::S212, name.span, message)
}

pub(super) fn declared_twice(name: &ast::Name, first: Span) -> Diagnostic {
    Diagnostic::error(Code::S202, name.span, format!("`{}` is declared twice", name.text))
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
        ast::ExprKind::Binder { bindings, args, .. } => {
            bindings.iter().filter_map(|b| b.extent.as_ref()).chain(args).collect()
        }
        ast::ExprKind::CallAccess { args, at, .. } => args.iter().chain(at).collect(),
        ast::ExprKind::Unary(_, e) | ast::ExprKind::Paren(e) => vec![e],
        ast::ExprKind::Binary(_, a, b) => vec![a, b],
        ast::ExprKind::If(parts) => parts.iter().collect(),
    }
}
