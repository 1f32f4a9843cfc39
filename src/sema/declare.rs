//! Declarations: dimensions, parameters, inputs and states, and their initial values.

use super::functions::declared_twice;
use super::scope::{Context, Frame, IndexFrame, Lowering, Named};
use crate::diag::{Code, Diagnostic, Span, nearest};
use crate::ir::{
    BinaryOp, Dim, DimId, Expr, ExprKind, Extent, Init, Param, Scalar, State, StateId, Type, ValueId, ValueKind,
};
use crate::syntax::ast;

impl Lowering<'_> {
    pub(super) fn declare_dims(&mut self, dims: &[ast::Dim]) {
        for dim in dims {
            let place = (dim.name.text.clone(), dim.name.span);
            self.later_dims.push(place);
        }
        for dim in dims {
            let id = DimId(self.layer.dims.len() as u32);
            let known = self.diagnostics.len();
            let default = dim.default.as_ref().and_then(|e| self.lower_extent(e));
            if let (Some(Extent::Lit(n)), Some(e), true) = (&default, &dim.default, known == self.diagnostics.len())
                && *n < 1
            {
                let message = format!("a dimension is at least 1, found {n}");
                self.report(Diagnostic::error(Code::S216, e.span, message));
            }
            if self.declare(&dim.name, Named::Dim(id)) {
                let name = dim.name.text.clone();
                self.layer.dims.push(Dim { name, default, span: dim.name.span });
            }
        }
    }

    /// Enters all names, so that statements may use what is declared further down.
    pub(super) fn declare_names(&mut self, statements: &[ast::Statement]) {
        for statement in statements {
            match statement {
                ast::Statement::Param(decls) => {
                    for decl in decls {
                        let value = self.declare_value(decl, ValueKind::Param);
                        let key = decl.from.as_ref().map_or(&decl.name.text, |from| &from.text);
                        self.layer.params.push(Param { value, key: key.clone(), init: None });
                    }
                }
                ast::Statement::Input(decls) => {
                    for decl in decls {
                        let value = self.declare_value(decl, ValueKind::Input);
                        self.layer.inputs.push(value);
                    }
                }
                ast::Statement::State(decls) => {
                    for decl in decls {
                        let id = StateId(self.layer.states.len() as u32);
                        let value = self.declare_value(decl, ValueKind::State(id));
                        self.versions.push(value);
                        self.updated.push(false);
                        let reverse = decl.reverse.is_some();
                        self.has_reverse |= reverse;
                        let name = decl.name.text.clone();
                        self.layer.states.push(State { name, value, next: value, init: None, reverse });
                    }
                }
                ast::Statement::Let(equation) => {
                    self.declare(&equation.name, Named::Definition(None));
                }
                ast::Statement::Output(outputs) => {
                    for output in outputs {
                        if let ast::Output::Define(equation) = output {
                            self.declare(&equation.name, Named::Definition(None));
                        }
                    }
                }
                ast::Statement::Update(_) | ast::Statement::Reset { .. } | ast::Statement::Error(_) => {}
            }
        }
    }

    fn declare_value(&mut self, decl: &ast::Decl, kind: ValueKind) -> ValueId {
        let mut axes = Vec::new();
        let mut sound = true;
        for axis in &decl.axes {
            match self.lower_extent(&axis.extent) {
                Some(Extent::Lit(n)) if n < 1 => {
                    let message = format!("an axis has at least 1 element, found {n}");
                    self.report(Diagnostic::error(Code::S216, axis.extent.span, message));
                    sound = false;
                }
                Some(extent) => axes.push(extent),
                None => sound = false,
            }
        }
        let ty = match &decl.ty {
            None => Some(Type::Real),
            Some(ast::Type::Complex(_)) => Some(Type::Complex),
            Some(ast::Type::Bool(_)) => Some(Type::Bool),
            Some(ast::Type::Index(extent, _)) => self.lower_extent(extent).map(Type::Index),
        };
        sound &= ty.is_some();
        let ty = ty.unwrap_or(Type::Real);
        let value = self.add_value(&decl.name.text, kind, axes, ty, decl.name.span);
        let named = match kind {
            _ if !sound => Named::Poisoned,
            ValueKind::Param => Named::Param(value),
            ValueKind::Input => Named::Input(value),
            ValueKind::State(state) => Named::State(state),
            _ => unreachable!("only these are declared"),
        };
        self.declare(&decl.name, named);
        value
    }

    /// Lowers the initial values; parameters see those that are declared before them, states see all.
    pub(super) fn lower_inits(&mut self, statements: &[ast::Statement]) {
        let (mut param, mut state) = (0, 0);
        for statement in statements {
            match statement {
                ast::Statement::Param(decls) => {
                    for decl in decls {
                        let value = self.layer.params[param].value;
                        self.params_in_sight = param;
                        self.layer.params[param].init = self.lower_init(decl, value);
                        param += 1;
                    }
                }
                ast::Statement::State(decls) => {
                    for decl in decls {
                        let value = self.layer.states[state].value;
                        self.params_in_sight = self.layer.params.len();
                        self.layer.states[state].init = self.lower_init(decl, value);
                        state += 1;
                    }
                }
                _ => {}
            }
        }
    }

    fn lower_init(&mut self, decl: &ast::Decl, value: ValueId) -> Option<Init> {
        let ty = self.layer.value(value).ty.clone();
        let axes = self.layer.value(value).axes.clone();
        let mut seen: Vec<&ast::Name> = Vec::new();
        let mut indices = Vec::new();
        let known = self.layer.indices.len();
        if axes.len() != decl.axes.len() {
            return None;
        }
        for (axis, extent) in decl.axes.iter().zip(axes) {
            let name = axis.index.as_ref();
            if let Some(name) = name {
                self.check_index_name(&name.text, name.span);
                if let Some(first) = seen.iter().find(|other| other.text == name.text) {
                    let twice = declared_twice(name, first.span);
                    self.report(twice);
                }
                seen.push(name);
            }
            let text = name.map_or("_", |name| &name.text);
            let span = name.map_or(axis.extent.span, |name| name.span);
            let id = self.add_index(text, extent, span);
            indices.push(id);
            if let Some(name) = name {
                let name = name.text.clone();
                self.frames.push(Frame::Index(IndexFrame { name, id, fixed: true, alone: Vec::new() }));
            }
        }
        let body = decl.init.as_ref().and_then(|init| {
            self.context = Context::Init { complex: ty == Type::Complex };
            let body = self.lower_expr(init);
            let body = body.and_then(|body| self.coerce_to(body, &ty, decl.name.span));
            self.context = Context::Step;
            body
        });
        self.frames.clear();
        self.settle();
        if let Type::Index(extent) = &ty {
            let default = Self::zero(Scalar::Int, decl.name.span);
            let is_state = matches!(self.layer.value(value).kind, ValueKind::State(_));
            match (&body, &decl.init) {
                (Some(body), Some(init)) => {
                    self.check_range(body, extent, init.span, decl.name.span);
                }
                (None, None) if is_state => {
                    self.check_range(&default, extent, decl.name.span, decl.name.span);
                }
                _ => {}
            }
        }
        if decl.init.is_none() {
            self.layer.indices.truncate(known);
        }
        Some(Init { indices, body: body? })
    }

    /// Lowers an extent: an integer expression over dimensions.
    pub(super) fn lower_extent(&mut self, e: &ast::Expr) -> Option<Extent> {
        use ast::{BinaryOp, ExprKind};
        match &e.kind {
            ExprKind::Paren(inner) => self.lower_extent(inner),
            ExprKind::Int(n) => Some(Extent::Lit(*n)),
            ExprKind::Name(name) if self.find_index(name).is_some() => {
                let message = format!("`{name}` is an index, not a dimension");
                let error = Diagnostic::error(Code::S216, e.span, message);
                self.report(error.label("an extent is an integer expression over dimensions"));
                None
            }
            ExprKind::Name(name) if let Ok(argument) = self.find_argument(name) => {
                let argument = argument??;
                let extent = extent_of(&argument);
                if extent.is_none() {
                    let message = "an extent is an integer expression over dimensions";
                    self.report(Diagnostic::error(Code::S216, argument.span, message));
                }
                extent
            }
            ExprKind::Name(name) => match self.names.get(name).copied() {
                Some((Named::Dim(dim), _)) => Some(Extent::Dim(dim)),
                Some((Named::Poisoned, _)) => None,
                Some((_, span)) => {
                    let message = format!("`{name}` is no dimension");
                    self.report(Diagnostic::error(Code::S216, e.span, message).also(span, "declared here"));
                    None
                }
                None => {
                    self.unknown_dimension(name, e.span);
                    None
                }
            },
            ExprKind::Binary(op, a, b) => {
                let divisor = b.span;
                let (a, b) = (self.lower_extent(a), self.lower_extent(b));
                if matches!(op, BinaryOp::FloorDiv | BinaryOp::Mod) && b == Some(Extent::Lit(0)) {
                    let message = "an extent is divided by zero";
                    self.report(Diagnostic::error(Code::S219, divisor, message));
                    return None;
                }
                let make = match op {
                    BinaryOp::Add => Extent::Add,
                    BinaryOp::Sub => Extent::Sub,
                    BinaryOp::Mul => Extent::Mul,
                    BinaryOp::FloorDiv => Extent::FloorDiv,
                    BinaryOp::Mod => Extent::Mod,
                    _ => {
                        let message = "an extent is an integer expression over dimensions";
                        let error = Diagnostic::error(Code::S216, e.span, message);
                        self.report(error.label("only `+ - * // %` may stand here"));
                        return None;
                    }
                };
                Some(make(Box::new(a?), Box::new(b?)))
            }
            ExprKind::Error => None,
            _ => {
                let message = "an extent is an integer expression over dimensions";
                self.report(Diagnostic::error(Code::S216, e.span, message));
                None
            }
        }
    }

    fn unknown_dimension(&mut self, name: &str, span: Span) {
        if !self.unknown.insert(name.to_owned()) {
            return;
        }
        if let Some((_, later)) = self.later_dims.iter().find(|(dim, _)| dim == name) {
            let message = format!("dimension `{name}` is declared further down");
            let error = Diagnostic::error(Code::S210, span, message).also(*later, "declared here");
            self.report(error.label("only dimensions that are declared before it may stand here"));
            return;
        }
        let dims: Vec<&str> = self.layer.dims.iter().map(|d| d.name.as_str()).collect();
        let message = format!("unknown dimension `{name}`");
        let error = Diagnostic::error(Code::S201, span, message);
        let help = match nearest(name, dims.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "declare it: `layer {}({})`",
                self.layer.name,
                dims.into_iter().chain([name]).collect::<Vec<_>>().join(", ")
            ),
        };
        self.report(error.help(help));
    }

    /// The zero of a scalar type.
    pub(super) fn zero(ty: Scalar, span: Span) -> Expr {
        let kind = match ty {
            Scalar::Bool => ExprKind::Bool(false),
            Scalar::Int => ExprKind::Int(0),
            Scalar::Real => ExprKind::Real(0.0),
            Scalar::Complex => ExprKind::Imaginary(0.0),
        };
        Expr { kind, ty, span }
    }
}

/// The extent that an integer expression is, where it is one over dimensions.
fn extent_of(e: &Expr) -> Option<Extent> {
    Some(match &e.kind {
        ExprKind::Int(n) => Extent::Lit(*n),
        ExprKind::Dim(dim) => Extent::Dim(*dim),
        ExprKind::Binary(op, a, b) => {
            let make = match op {
                BinaryOp::Add => Extent::Add,
                BinaryOp::Sub => Extent::Sub,
                BinaryOp::Mul => Extent::Mul,
                BinaryOp::FloorDiv => Extent::FloorDiv,
                BinaryOp::Mod => Extent::Mod,
                _ => return None,
            };
            make(Box::new(extent_of(a)?), Box::new(extent_of(b)?))
        }
        _ => return None,
    })
}
