//! Functions and binders.

use super::expr::describe;
use super::scope::{Context, Frame, Lowering};
use crate::diag::{Code, Diagnostic, Span, nearest};
use crate::ir::{Expr, ExprKind, Extent, Function, IndexId, NormaliseOp, Random, ReduceOp, Scalar};
use crate::syntax::ast;

impl Lowering<'_> {
    pub(super) fn lower_call(&mut self, name: &ast::Name, args: &[ast::Expr], span: Span) -> Option<Expr> {
        if let Some(function) = self.functions.get(&name.text) {
            return self.inline(function, name, args, span);
        }
        let built_in = Function::NAMES.iter().find(|(_, known, _)| *known == name.text);
        if let Some((function, _, arity)) = built_in {
            if args.len() != *arity {
                self.report_arity(name, *arity, args.len());
                return None;
            }
            let args: Vec<Option<Expr>> = args.iter().map(|arg| self.lower_expr(arg)).collect();
            return self.apply(*function, args.into_iter().collect::<Option<_>>()?, span);
        }
        match name.text.as_str() {
            "past" => self.lower_past(name, args, span),
            "normal" | "uniform" => self.lower_random(name, args, span),
            "hippo_legs" | "hippo_n" => {
                let message = format!("`{}` is a tensor: it needs indices", name.text);
                let at = if name.text == "hippo_n" { "[i]" } else { "[i, j]" };
                let help = format!("write `{}(..){at}`", name.text);
                self.report(Diagnostic::error(Code::S207, span, message).help(help));
                None
            }
            "diagonal" => self.lower_diagonal(name, args, span),
            "argmin" => {
                let message = "`argmin` needs its unknown";
                let help = "write `argmin[Z](..)`: `Z` has the shape of the state";
                self.report(Diagnostic::error(Code::S212, name.span, message).help(help));
                None
            }
            other if super::functions::BINDERS.contains(&other) => {
                let message = format!("`{other}` needs the index that it runs over");
                let help = format!("write `{other}[i](..)`");
                self.report(Diagnostic::error(Code::S212, name.span, message).help(help));
                None
            }
            _ => {
                let error = self.functions.unknown(name);
                self.report(error);
                None
            }
        }
    }

    pub(super) fn report_arity(&mut self, name: &ast::Name, wanted: usize, found: usize) {
        self.report(super::functions::wrong_arity(name, wanted, found));
    }

    fn inline(&mut self, function: &ast::Function, name: &ast::Name, args: &[ast::Expr], span: Span) -> Option<Expr> {
        if args.len() != function.params.len() {
            self.report_arity(name, function.params.len(), args.len());
            return None;
        }
        let values: Vec<Option<Expr>> = args.iter().map(|arg| self.lower_expr(arg)).collect();
        if !self.functions.is_sound(&name.text) {
            return None;
        }
        if values.iter().any(Option::is_none) || !self.within_limits(self.depth + 1, span) {
            return None;
        }
        let names = function.params.iter().map(|param| param.text.clone());
        self.frames.push(Frame::Arguments(names.zip(values).collect()));
        self.calls.push(span);
        let brackets = std::mem::replace(&mut self.in_brackets, false);
        let body = self.lower_expr(&function.body);
        self.in_brackets = brackets;
        self.calls.pop();
        self.frames.pop();
        body
    }

    /// Applies a built-in function to operands of any types it can take.
    pub(super) fn apply(&mut self, function: Function, args: Vec<Expr>, span: Span) -> Option<Expr> {
        let mut of = args.iter().map(|arg| arg.ty).max().expect("every function has an argument");
        let mixed = args.iter().any(|arg| (arg.ty == Scalar::Bool) != (of == Scalar::Bool));
        let wider = |ty| match ty {
            Scalar::Int => Some(Scalar::Real),
            Scalar::Real => Some(Scalar::Complex),
            Scalar::Bool | Scalar::Complex => None,
        };
        if function == Function::Real && matches!(of, Scalar::Int | Scalar::Real) {
            return args.into_iter().next().map(|arg| self.widen(arg, Scalar::Real));
        }
        let given = of;
        let result = loop {
            match (function.result(of), wider(of)) {
                _ if mixed => break None,
                (Some(result), _) => break Some(result),
                (None, Some(next)) => of = next,
                (None, None) => break None,
            }
        };
        let Some(ty) = result else {
            let wrong = args.iter().find(|arg| arg.ty == given || arg.ty == Scalar::Bool);
            let place = wrong.map_or(span, |arg| arg.span);
            let found = wrong.map_or(given, |arg| arg.ty);
            let message = format!("`{}` does not take {}", function.name(), describe(found));
            let mut error = Diagnostic::error(Code::S209, place, message);
            if found == Scalar::Bool {
                error = error.help("make a number of it: `if .. then 1 else 0`");
            } else if found == Scalar::Complex {
                error = error.help("take a part of it: `re(..)`, `im(..)` or `abs(..)`");
            }
            self.report(error);
            return None;
        };
        let args = args.into_iter().map(|arg| self.widen(arg, of)).collect();
        Some(Expr { kind: ExprKind::Call(function, args), ty, span })
    }

    fn lower_random(&mut self, name: &ast::Name, args: &[ast::Expr], span: Span) -> Option<Expr> {
        let Context::Init { complex } = self.context else {
            let message = format!("`{}` is for initialisers only", name.text);
            let error = Diagnostic::error(Code::S215, span, message)
                .help("give a parameter this initial value: `param p[N] = normal(0, 1)`");
            self.report(error);
            return None;
        };
        let [a, b] = args else {
            self.report_arity(name, 2, args.len());
            return None;
        };
        let (a, b) = (self.lower_real(a), self.lower_real(b));
        let random = if name.text == "normal" { Random::Normal } else { Random::Uniform };
        let ty = if complex { Scalar::Complex } else { Scalar::Real };
        Some(Expr { kind: ExprKind::Random(random, Box::new([a?, b?])), ty, span })
    }

    /// Lowers an expression that must be real.
    fn lower_real(&mut self, e: &ast::Expr) -> Option<Expr> {
        let lowered = self.lower_expr(e)?;
        match lowered.ty {
            Scalar::Int | Scalar::Real => Some(self.widen(lowered, Scalar::Real)),
            found => {
                self.report_type(e.span, describe(Scalar::Real), found);
                None
            }
        }
    }

    pub(super) fn lower_call_access(
        &mut self,
        name: &ast::Name,
        args: &[ast::Expr],
        at: &[ast::Expr],
        span: Span,
    ) -> Option<Expr> {
        let axes = match name.text.as_str() {
            "hippo_legs" => 2,
            "hippo_n" => 1,
            _ => {
                let message = format!("`{}` gives a scalar: it takes no indices", name.text);
                self.report(Diagnostic::error(Code::S207, name.span, message));
                return None;
            }
        };
        if self.context == Context::Step {
            let message = format!("`{}` is for initialisers only", name.text);
            let error = Diagnostic::error(Code::S215, span, message).help("make it the initial value of a parameter");
            self.report(error);
            return None;
        }
        let [size] = args else {
            self.report_arity(name, 1, args.len());
            return None;
        };
        let extent = self.lower_extent(size)?;
        if at.len() != axes {
            let message = format!("`{}` has {axes} axes, found {} indices", name.text, at.len());
            self.report(Diagnostic::error(Code::S207, span, message));
            return None;
        }
        let size = self.lower_expr(size);
        let at: Vec<Option<Expr>> = at.iter().map(|e| self.lower_position(e, &extent, &name.text, None)).collect();
        let mut at = at.into_iter().collect::<Option<Vec<Expr>>>()?.into_iter();
        let mut next = || at.next().expect("the number was checked");
        let (kind, ty) = if axes == 2 {
            (ExprKind::HippoLegs(Box::new([size?, next(), next()])), Scalar::Real)
        } else {
            (ExprKind::HippoN(Box::new([size?, next()])), Scalar::Complex)
        };
        Some(Expr { kind, ty, span })
    }

    pub(super) fn lower_binder(
        &mut self,
        name: &ast::Name,
        bindings: &[ast::Binding],
        args: &[ast::Expr],
        span: Span,
    ) -> Option<Expr> {
        let (op, most, single) = match name.text.as_str() {
            "sum" => (Some(ReduceOp::Sum), 1, false),
            "prod" => (Some(ReduceOp::Prod), 1, false),
            "max" => (Some(ReduceOp::Max), 1, false),
            "min" => (Some(ReduceOp::Min), 1, false),
            "mean" => (Some(ReduceOp::Mean), 1, false),
            "logsumexp" => (Some(ReduceOp::LogSumExp), 1, false),
            "argmax" => (Some(ReduceOp::ArgMax), 1, true),
            "argmin_index" => (Some(ReduceOp::ArgMin), 1, true),
            "softmax" => (None, 1, true),
            "layernorm" | "rmsnorm" | "norm" => (None, 2, true),
            "solve" => return self.lower_solve(name, bindings, args, span),
            "argmin" => return self.lower_argmin(name, bindings, args, span),
            other => {
                let known = super::functions::BINDERS;
                let message = format!("unknown binder `{other}`");
                let mut error = Diagnostic::error(Code::S201, name.span, message);
                if let Some(near) = nearest(other, known.iter().copied()) {
                    error = error.help(format!("did you mean `{near}`?"));
                }
                self.report(error);
                return None;
            }
        };
        if args.is_empty() || args.len() > most {
            self.report_arity(name, 1, args.len());
            return None;
        }
        if bindings.is_empty() || (single && bindings.len() != 1) {
            let wanted = if single { "one index" } else { "at least one index" };
            let message = format!("`{}` runs over {wanted}, found {}", name.text, bindings.len());
            self.report(Diagnostic::error(Code::S212, name.span, message));
            return None;
        }
        // What stands beside the body is outside of the scope of the index.
        let beside = match args.get(1) {
            Some(arg) => Some(self.lower_expr(arg)?),
            None => None,
        };
        let ids = self.bind(bindings, None)?;
        let body = self.lower_expr(&args[0]);
        if body.is_none() {
            // The extents may be unknown for want of what is missing.
            self.frames.truncate(self.frames.len() - ids.len());
            return None;
        }
        if !self.unbind(ids.len()) {
            return None;
        }
        let body = body?;
        match op {
            Some(op) => self.reduce(op, ids, body, span),
            None if name.text == "norm" => self.norm(ids, body, beside, span),
            None => self.normalise(name, &bindings[0], ids[0], body, beside, span),
        }
    }

    /// `solve[i, j](A[i, j], b[i])`: an element of the solution, at the outer index of the name of `i`.
    fn lower_solve(
        &mut self,
        name: &ast::Name,
        bindings: &[ast::Binding],
        args: &[ast::Expr],
        span: Span,
    ) -> Option<Expr> {
        let [matrix, right] = args else {
            self.report_arity(name, 2, args.len());
            return None;
        };
        let [first, _] = bindings else {
            let message = format!("`solve` runs over two indices, found {}", bindings.len());
            let error = Diagnostic::error(Code::S212, name.span, message).help("write `solve[i, j](A[i, j], b[i])`");
            self.report(error);
            return None;
        };
        let ids = self.bind(bindings, None)?;
        let lowered = [matrix, right].map(|e| self.lower_real(e));
        let [Some(matrix), Some(right)] = lowered else {
            self.frames.truncate(self.frames.len() - ids.len());
            return None;
        };
        if !self.unbind(ids.len()) {
            return None;
        }
        let (row, column) = (ids[0], ids[1]);
        if super::rewrite::free_indices(&right).contains(&column) {
            let message = format!("the right side of `solve` depends on `{}`", self.layer.index(column).name);
            let error = Diagnostic::error(Code::S204, right.span, message).label("only the matrix has columns");
            self.report(error);
            return None;
        }
        let extent = self.layer.index(row).extent.clone();
        let other = self.layer.index(column).extent.clone();
        if !super::range::same_extent(&self.layer, &extent, &other) {
            let (one, two) = (self.show(&extent), self.show(&other));
            let message = format!("the matrix of `solve` is not square: it has `{one}` rows and `{two}` columns");
            self.report(Diagnostic::error(Code::S205, matrix.span, message));
            return None;
        }
        // Equal extents may be written in two ways.
        self.layer.indices[column.at()].extent = extent.clone();
        let outer = ast::Expr { kind: first.index.kind.clone(), span: first.index.span, depth: 0 };
        let at = Box::new(self.lower_position(&outer, &extent, "solve", None)?);
        let kind = ExprKind::Solve { row, column, at, matrix: Box::new(matrix), right: Box::new(right) };
        Some(Expr { kind, ty: Scalar::Real, span })
    }

    fn reduce(&mut self, op: ReduceOp, indices: Vec<IndexId>, body: Expr, span: Span) -> Option<Expr> {
        let (wanted, fits) = match op {
            ReduceOp::Sum | ReduceOp::Prod | ReduceOp::Mean => ("a number", body.ty != Scalar::Bool),
            ReduceOp::Max | ReduceOp::Min => (describe(Scalar::Real), body.ty != Scalar::Complex),
            ReduceOp::LogSumExp | ReduceOp::ArgMax | ReduceOp::ArgMin => {
                (describe(Scalar::Real), matches!(body.ty, Scalar::Int | Scalar::Real))
            }
        };
        if !fits {
            self.report_type(body.span, wanted, body.ty);
            return None;
        }
        let body = match op {
            ReduceOp::Mean | ReduceOp::LogSumExp if body.ty == Scalar::Int => self.widen(body, Scalar::Real),
            _ => body,
        };
        let ty = match op {
            ReduceOp::ArgMax | ReduceOp::ArgMin => Scalar::Int,
            _ => body.ty,
        };
        Some(Expr { kind: ExprKind::Reduce { op, indices, body: Box::new(body) }, ty, span })
    }

    /// The p-norm: `(sum(|e| ^ p)) ^ (1 / p)`.
    fn norm(&mut self, ids: Vec<IndexId>, body: Expr, p: Option<Expr>, span: Span) -> Option<Expr> {
        let size = self.apply(Function::Abs, vec![body], span)?;
        let size = self.widen(size, Scalar::Real);
        let two = Expr { kind: ExprKind::Int(2), ty: Scalar::Int, span };
        let p = p.unwrap_or(two);
        if !matches!(p.ty, Scalar::Int | Scalar::Real) {
            self.report_type(p.span, describe(Scalar::Real), p.ty);
            return None;
        }
        match p.kind {
            ExprKind::Int(1) => self.reduce(ReduceOp::Sum, ids, size, span),
            ExprKind::Int(2) => {
                let square = Expr { kind: ExprKind::Powi(Box::new(size), 2), ty: Scalar::Real, span };
                let sum = self.reduce(ReduceOp::Sum, ids, square, span)?;
                self.apply(Function::Sqrt, vec![sum], span)
            }
            _ => {
                let p = self.widen(p, Scalar::Real);
                let again = self.copy(&p);
                let one = Expr { kind: ExprKind::Real(1.0), ty: Scalar::Real, span };
                let inverse = Expr {
                    kind: ExprKind::Binary(crate::ir::BinaryOp::Div, Box::new(one), Box::new(again)),
                    ty: Scalar::Real,
                    span,
                };
                let power = self.apply(Function::Pow, vec![size, p], span)?;
                let sum = self.reduce(ReduceOp::Sum, ids, power, span)?;
                self.apply(Function::Pow, vec![sum, inverse], span)
            }
        }
    }

    /// The element of a normalised vector at the outer index of the binder's name.
    fn normalise(
        &mut self,
        name: &ast::Name,
        binding: &ast::Binding,
        index: IndexId,
        body: Expr,
        eps: Option<Expr>,
        span: Span,
    ) -> Option<Expr> {
        if !matches!(body.ty, Scalar::Int | Scalar::Real) {
            self.report_type(body.span, describe(Scalar::Real), body.ty);
            return None;
        }
        let op = match name.text.as_str() {
            "softmax" => NormaliseOp::Softmax,
            "layernorm" => NormaliseOp::LayerNorm,
            _ => NormaliseOp::RmsNorm,
        };
        let body = self.widen(body, Scalar::Real);
        let eps = match (op, eps) {
            (NormaliseOp::Softmax, _) => None,
            (_, None) => Some(Box::new(Expr { kind: ExprKind::Real(1e-5), ty: Scalar::Real, span })),
            (_, Some(eps)) => {
                if !matches!(eps.ty, Scalar::Int | Scalar::Real) {
                    self.report_type(eps.span, describe(Scalar::Real), eps.ty);
                    return None;
                }
                Some(Box::new(self.widen(eps, Scalar::Real)))
            }
        };
        // The index stays free: outside of the binder it means the element.
        let extent: Extent = self.layer.index(index).extent.clone();
        let outer = ast::Expr { kind: binding.index.kind.clone(), span: binding.index.span, depth: 0 };
        let at = self.lower_position(&outer, &extent, &name.text, None)?;
        let kind = ExprKind::Normalise { op, index, at: Box::new(at), body: Box::new(body), eps };
        Some(Expr { kind, ty: Scalar::Real, span })
    }
}
