//! Expressions: names, accesses, operators, and their types.

use std::rc::Rc;

use super::scope::{Context, Frame, Lowering, Named};
use super::settle::Goal;
use crate::diag::{Code, Diagnostic, Span};
use crate::ir::{BinaryOp, Expr, ExprKind, Extent, Function, Scalar, Type, UnaryOp, Value, ValueId};
use crate::syntax::ast;

/// How deep an expression may be once functions are inlined.
const MAX_DEPTH: u32 = 300;
/// How many nodes the expressions of a layer may have once functions are inlined.
const MAX_NODES: u32 = 200_000;

/// A type as messages name it.
pub(super) fn describe(ty: Scalar) -> &'static str {
    match ty {
        Scalar::Bool => "a truth value",
        Scalar::Int => "an integer",
        Scalar::Real => "a real number",
        Scalar::Complex => "a complex number",
    }
}

impl Lowering<'_> {
    /// Lowers an expression; `None` where an error in it has been reported.
    pub(super) fn lower_expr(&mut self, e: &ast::Expr) -> Option<Expr> {
        self.nodes += 1;
        if !self.within_limits(self.depth, e.span) {
            return None;
        }
        self.depth += 1;
        let lowered = self.lower_kind(e);
        self.depth -= 1;
        lowered
    }

    /// Whether the layer is still small enough; says so once where it is not.
    pub(super) fn within_limits(&mut self, depth: u32, span: Span) -> bool {
        if depth <= MAX_DEPTH && self.nodes <= MAX_NODES {
            return true;
        }
        if !self.diagnostics.iter().any(|d| d.code == Code::S105) {
            let message = if self.nodes > MAX_NODES {
                "the layer is too large once its functions are inlined"
            } else {
                "the expression is too deep once its functions are inlined"
            };
            // The outermost call is what the user can change.
            let calls = std::mem::take(&mut self.calls);
            let place = calls.first().copied().unwrap_or(span);
            self.report(Diagnostic::error(Code::S105, place, message));
            self.calls = calls;
        }
        false
    }

    fn lower_kind(&mut self, e: &ast::Expr) -> Option<Expr> {
        let leaf = |kind, ty| Some(Expr { kind, ty, span: e.span });
        match &e.kind {
            ast::ExprKind::Int(n) => leaf(ExprKind::Int(*n), Scalar::Int),
            ast::ExprKind::Real(x) => leaf(ExprKind::Real(*x), Scalar::Real),
            ast::ExprKind::Imaginary(x) => leaf(ExprKind::Imaginary(*x), Scalar::Complex),
            ast::ExprKind::Bool(b) => leaf(ExprKind::Bool(*b), Scalar::Bool),
            ast::ExprKind::First => {
                if self.context != Context::Step {
                    let message = "`first` has no meaning in an initialiser";
                    self.report(Diagnostic::error(Code::S222, e.span, message));
                    return None;
                }
                leaf(ExprKind::First, Scalar::Bool)
            }
            ast::ExprKind::Name(name) => self.lower_name(name, e.span),
            ast::ExprKind::Access { name, at } => self.lower_access(name, at, e.span),
            ast::ExprKind::Call { name, args } => self.lower_call(name, args, e.span),
            ast::ExprKind::Binder { name, bindings, args } => self.lower_binder(name, bindings, args, e.span),
            ast::ExprKind::CallAccess { name, args, at } => self.lower_call_access(name, args, at, e.span),
            ast::ExprKind::Unary(op, operand) => self.lower_unary(*op, operand, e.span),
            ast::ExprKind::Binary(op, a, b) => self.lower_binary(*op, a, b, e.span),
            ast::ExprKind::If(parts) => self.lower_if(parts, e.span),
            ast::ExprKind::Paren(inner) => self.lower_expr(inner),
            ast::ExprKind::Error => None,
        }
    }

    fn lower_name(&mut self, name: &str, span: Span) -> Option<Expr> {
        if let Some(place) = self.find_index(name)
            && let Frame::Index(index) = &self.frames[place]
        {
            return Some(Expr { kind: ExprKind::Index(index.id), ty: Scalar::Int, span });
        }
        match self.find_argument(name) {
            Ok(Some(argument)) => {
                let argument = argument?;
                let height = height(&argument);
                if !self.within_limits(self.depth + height, span) {
                    return None;
                }
                return Some(self.copy(&argument));
            }
            Ok(None) => {
                // `Functions::of` has said so.
                return None;
            }
            Err(()) => {}
        }
        match self.names.get(name).copied() {
            Some((Named::Dim(dim), _)) => Some(Expr { kind: ExprKind::Dim(dim), ty: Scalar::Int, span }),
            Some((named, _)) => {
                let name = ast::Name { text: name.to_owned(), span };
                let value = self.resolve(&name, named)?;
                self.read(&name, value, &[], span)
            }
            None => {
                self.unknown_name(name, span);
                None
            }
        }
    }

    /// The value that a tensor's name stands for here.
    fn resolve(&mut self, name: &ast::Name, named: Named) -> Option<ValueId> {
        if let Named::Poisoned = named {
            return None;
        }
        if self.context != Context::Step && !matches!(named, Named::Dim(_)) {
            return self.resolve_in_init(name, named);
        }
        match named {
            Named::Poisoned => None,
            Named::Param(value) | Named::Input(value) => Some(value),
            Named::State(state) => Some(self.versions[state.at()]),
            Named::Definition(Some(value)) => Some(value),
            Named::Definition(None) => {
                let (_, span) = self.names[&name.text];
                self.report_before_definition(name, span);
                None
            }
            Named::Dim(_) => {
                let message = format!("`{}` is a dimension, not a tensor", name.text);
                self.report(Diagnostic::error(Code::S207, name.span, message));
                None
            }
        }
    }

    /// The parameter that a name stands for in an initialiser: one that is declared before it.
    fn resolve_in_init(&mut self, name: &ast::Name, named: Named) -> Option<ValueId> {
        let (_, declared) = self.names[&name.text];
        let in_sight = &self.layer.params[..self.params_in_sight];
        let (message, label) = match named {
            Named::Param(value) if in_sight.iter().any(|p| p.value == value) => return Some(value),
            Named::Param(_) => (
                format!("`{}` has no value yet", name.text),
                "only parameters that are declared before it may stand here",
            ),
            _ => (format!("an initialiser cannot depend on `{}`", name.text), "only parameters may stand here"),
        };
        let error = Diagnostic::error(Code::S222, name.span, message).also(declared, "declared here").label(label);
        self.report(error);
        None
    }

    pub(super) fn report_before_definition(&mut self, name: &ast::Name, definition: Span) {
        let message = format!("`{}` is used before its definition", name.text);
        let error = Diagnostic::error(Code::S210, name.span, message)
            .also(definition, "defined here")
            .help("statements run from top to bottom: move the definition up");
        self.report(error);
    }

    /// Checks the number of indices of an access or of a left side.
    pub(super) fn check_arity(&mut self, name: &str, span: Span, found: usize, value: &Value) -> bool {
        let axes = value.axes.len();
        if axes == found {
            return true;
        }
        let plural = |n: usize, one: &str, more: &str| match n {
            0 => format!("no {one}"),
            1 => format!("1 {one}"),
            n => format!("{n} {more}"),
        };
        let message =
            format!("`{name}` has {}, found {}", plural(axes, "axis", "axes"), plural(found, "index", "indices"));
        let shape: Vec<String> = value.axes.iter().map(|extent| self.show(extent)).collect();
        let shape = if shape.is_empty() { "a scalar".to_owned() } else { format!("`[{}]`", shape.join(", ")) };
        self.report(Diagnostic::error(Code::S207, span, message).also(value.span, format!("this is {shape}")));
        false
    }

    fn lower_access(&mut self, name: &ast::Name, at: &[ast::Expr], span: Span) -> Option<Expr> {
        if self.find_index(&name.text).is_some() || matches!(self.find_argument(&name.text), Ok(Some(_))) {
            let message = format!("`{}` is a number, not a tensor", name.text);
            self.report(Diagnostic::error(Code::S207, name.span, message));
            return None;
        }
        let Some((named, _)) = self.names.get(&name.text).copied() else {
            let brackets = std::mem::replace(&mut self.in_brackets, false);
            self.unknown_name(&name.text, name.span);
            self.in_brackets = brackets;
            return None;
        };
        let value = self.resolve(name, named)?;
        self.read(name, value, at, span)
    }

    fn read(&mut self, name: &ast::Name, id: ValueId, at: &[ast::Expr], span: Span) -> Option<Expr> {
        let value = self.layer.value(id).clone();
        if !self.check_arity(&name.text, span, at.len(), &value) {
            return None;
        }
        let mut positions = Vec::new();
        for (e, extent) in at.iter().zip(&value.axes) {
            positions.push(self.lower_position(e, extent, &name.text, Some(value.span)));
        }
        let at = positions.into_iter().collect::<Option<Vec<_>>>()?;
        Some(Expr { kind: ExprKind::Read { value: id, at }, ty: value.ty.scalar(), span })
    }

    /// Lowers what stands in brackets: an integer inside an axis.
    pub(super) fn lower_position(
        &mut self,
        e: &ast::Expr,
        axis: &Extent,
        tensor: &str,
        declared: Option<Span>,
    ) -> Option<Expr> {
        let mut alone = e;
        while let ast::ExprKind::Paren(inner) = &alone.kind {
            alone = inner;
        }
        if let ast::ExprKind::Name(name) = &alone.kind
            && let Some(place) = self.find_index(name)
            && let Frame::Index(index) = &mut self.frames[place]
            && !index.fixed
        {
            index.alone.push((axis.clone(), alone.span));
        }
        let outside = std::mem::replace(&mut self.in_brackets, true);
        let lowered = self.lower_expr(e);
        self.in_brackets = outside;
        let lowered = lowered?;
        if lowered.ty != Scalar::Int {
            let error = Diagnostic::error(Code::S209, e.span, "expected an integer in brackets")
                .label(format!("this is {}", describe(lowered.ty)));
            self.report(error);
            return None;
        }
        let goal = Goal::Inside { extent: axis.clone(), tensor: tensor.to_owned(), declared };
        self.expect(goal, &lowered);
        Some(lowered)
    }

    fn lower_unary(&mut self, op: ast::UnaryOp, operand: &ast::Expr, span: Span) -> Option<Expr> {
        let e = self.lower_expr(operand)?;
        let (op, fits) = match op {
            ast::UnaryOp::Neg => (UnaryOp::Neg, e.ty != Scalar::Bool),
            ast::UnaryOp::Not => (UnaryOp::Not, e.ty == Scalar::Bool),
        };
        if !fits {
            let wanted = if op == UnaryOp::Not { Scalar::Bool } else { Scalar::Real };
            self.report_type(operand.span, describe(wanted), e.ty);
            return None;
        }
        let ty = e.ty;
        // Literals take their sign along.
        let kind = match e.kind {
            ExprKind::Int(n) if op == UnaryOp::Neg => ExprKind::Int(-n),
            ExprKind::Real(x) if op == UnaryOp::Neg => ExprKind::Real(-x),
            kind => ExprKind::Unary(op, Box::new(Expr { kind, ..e })),
        };
        Some(Expr { kind, ty, span })
    }

    fn lower_binary(&mut self, op: ast::BinaryOp, a: &ast::Expr, b: &ast::Expr, span: Span) -> Option<Expr> {
        let op = match op {
            ast::BinaryOp::Pow => return self.lower_power(a, b, span),
            ast::BinaryOp::Or => BinaryOp::Or,
            ast::BinaryOp::And => BinaryOp::And,
            ast::BinaryOp::Lt => BinaryOp::Lt,
            ast::BinaryOp::Le => BinaryOp::Le,
            ast::BinaryOp::Gt => BinaryOp::Gt,
            ast::BinaryOp::Ge => BinaryOp::Ge,
            ast::BinaryOp::Eq => BinaryOp::Eq,
            ast::BinaryOp::Ne => BinaryOp::Ne,
            ast::BinaryOp::Add => BinaryOp::Add,
            ast::BinaryOp::Sub => BinaryOp::Sub,
            ast::BinaryOp::Mul => BinaryOp::Mul,
            ast::BinaryOp::Div => BinaryOp::Div,
            ast::BinaryOp::FloorDiv => BinaryOp::FloorDiv,
            ast::BinaryOp::Mod => BinaryOp::Mod,
        };
        let (place_a, place_b) = (a.span, b.span);
        let a = self.lower_expr(a);
        // The right side of `and` and `or` is evaluated only where the left side lets it.
        let guarded = matches!(op, BinaryOp::And | BinaryOp::Or);
        if let Some(a) = a.as_ref().filter(|_| guarded) {
            self.guards.push((Rc::new(a.clone()), op == BinaryOp::And));
        }
        let b = self.lower_expr(b);
        if a.is_some() && guarded {
            self.guards.pop();
        }
        let (a, b) = (a?, b?);
        if guarded {
            for (e, place) in [(&a, place_a), (&b, place_b)] {
                if e.ty != Scalar::Bool {
                    self.report_type(place, describe(Scalar::Bool), e.ty);
                    return None;
                }
            }
        }
        let types = (a.ty, b.ty);
        let (a, b) = self.join(a, b, span)?;
        let of = a.ty;
        let fits = match op {
            BinaryOp::And | BinaryOp::Or => of == Scalar::Bool,
            BinaryOp::Eq | BinaryOp::Ne => true,
            BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => {
                matches!(of, Scalar::Int | Scalar::Real)
            }
            BinaryOp::FloorDiv | BinaryOp::Mod => matches!(of, Scalar::Int | Scalar::Real),
            BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div => of != Scalar::Bool,
        };
        if !fits {
            let wanted = match (op, of) {
                (_, Scalar::Bool) => "a number",
                _ => describe(Scalar::Real),
            };
            let place = if types.0 == of { place_a } else { place_b };
            self.report_type(place, wanted, of);
            return None;
        }
        let (a, b, ty) = match op {
            BinaryOp::Div if of == Scalar::Int => {
                (self.widen(a, Scalar::Real), self.widen(b, Scalar::Real), Scalar::Real)
            }
            _ if op.is_comparison() => (a, b, Scalar::Bool),
            _ => (a, b, of),
        };
        if matches!(op, BinaryOp::FloorDiv | BinaryOp::Mod) && ty == Scalar::Int {
            self.expect(Goal::Divisor, &b);
        }
        Some(Expr { kind: ExprKind::Binary(op, Box::new(a), Box::new(b)), ty, span })
    }

    fn lower_power(&mut self, base: &ast::Expr, exponent: &ast::Expr, span: Span) -> Option<Expr> {
        let base = self.lower_expr(base);
        let exponent = self.lower_expr(exponent);
        self.power(base?, exponent?, span)
    }

    pub(super) fn power(&mut self, base: Expr, exponent: Expr, span: Span) -> Option<Expr> {
        if let ExprKind::Int(n) = exponent.kind
            && n.abs() <= 1024
            && base.ty != Scalar::Bool
        {
            let ty = base.ty.max(Scalar::Real);
            let base = self.widen(base, ty);
            return Some(Expr { kind: ExprKind::Powi(Box::new(base), n as i32), ty, span });
        }
        self.apply(Function::Pow, vec![base, exponent], span)
    }

    fn lower_if(&mut self, parts: &[ast::Expr; 3], span: Span) -> Option<Expr> {
        let [condition, then, other] = parts;
        let place = condition.span;
        let condition = self.lower_expr(condition);
        let guard = condition.clone().map(Rc::new);
        let branch = |this: &mut Self, e: &ast::Expr, holds: bool| {
            if let Some(guard) = &guard {
                this.guards.push((guard.clone(), holds));
            }
            let lowered = this.lower_expr(e);
            if guard.is_some() {
                this.guards.pop();
            }
            lowered
        };
        let then = branch(self, then, true);
        let other = branch(self, other, false);
        let (condition, then, other) = (condition?, then?, other?);
        if condition.ty != Scalar::Bool {
            self.report_type(place, "a condition", condition.ty);
            return None;
        }
        let (then, other) = self.join(then, other, span)?;
        let ty = then.ty;
        Some(Expr { kind: ExprKind::If(Box::new([condition, then, other])), ty, span })
    }

    pub(super) fn report_type(&mut self, span: Span, wanted: &str, found: Scalar) {
        let mut error = Diagnostic::error(Code::S209, span, format!("expected {wanted}"))
            .label(format!("this is {}", describe(found)));
        if found == Scalar::Bool {
            error = error.help("make a number of it: `if .. then 1 else 0`");
        } else if found == Scalar::Complex {
            error = error.help("take a part of it: `re(..)`, `im(..)` or `abs(..)`");
        }
        self.report(error);
    }

    /// Brings two operands to one type.
    pub(super) fn join(&mut self, a: Expr, b: Expr, span: Span) -> Option<(Expr, Expr)> {
        if (a.ty == Scalar::Bool) != (b.ty == Scalar::Bool) {
            let (truth, number) = if a.ty == Scalar::Bool { (&a, &b) } else { (&b, &a) };
            let error = Diagnostic::error(Code::S209, span, "a truth value and a number do not mix")
                .also(truth.span, "this is a truth value")
                .also(number.span, format!("this is {}", describe(number.ty)))
                .help("make a number of it: `if .. then 1 else 0`");
            self.report(error);
            return None;
        }
        let ty = a.ty.max(b.ty);
        Some((self.widen(a, ty), self.widen(b, ty)))
    }

    /// Widens a number; the type must not be narrower than the number's.
    pub(super) fn widen(&self, e: Expr, to: Scalar) -> Expr {
        let span = e.span;
        match (e.ty, to) {
            (from, to) if from == to => e,
            (Scalar::Int, Scalar::Real) => match e.kind {
                ExprKind::Int(n) => Expr { kind: ExprKind::Real(n as f64), ty: to, span },
                _ => Expr { kind: ExprKind::Widen(Box::new(e)), ty: to, span },
            },
            (Scalar::Int, Scalar::Complex) => self.widen(self.widen(e, Scalar::Real), to),
            (Scalar::Real, Scalar::Complex) => Expr { kind: ExprKind::Widen(Box::new(e)), ty: to, span },
            (from, to) => unreachable!("{from:?} does not widen to {to:?}"),
        }
    }

    /// Brings an expression to the type of the value it is assigned to.
    pub(super) fn coerce_to(&mut self, e: Expr, ty: &Type, declared: Span) -> Option<Expr> {
        let to = ty.scalar();
        if e.ty == to || (e.ty != Scalar::Bool && to != Scalar::Bool && e.ty < to) {
            return Some(self.widen(e, to));
        }
        let wanted = match ty {
            Type::Index(extent) => format!("`index({})`", self.show(extent)),
            _ => describe(to).to_owned(),
        };
        let mut error = Diagnostic::error(Code::S209, e.span, format!("expected {wanted}"))
            .label(format!("this is {}", describe(e.ty)))
            .also(declared, format!("this takes {wanted}"));
        error = match (e.ty, to) {
            (Scalar::Complex, Scalar::Real) => error.help("take a part of it with `re(..)`, or declare it `: complex`"),
            (Scalar::Bool, Scalar::Int | Scalar::Real | Scalar::Complex) => {
                error.help("make a number of it: `if .. then 1 else 0`")
            }
            _ => error,
        };
        self.report(error);
        None
    }
}

/// The height of an expression: 1 for a leaf.
pub(super) fn height(e: &Expr) -> u32 {
    1 + e.operands().into_iter().map(height).max().unwrap_or(0)
}
