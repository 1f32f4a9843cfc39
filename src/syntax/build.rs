//! What the grammar's actions call: nodes with spans and heights, and the rules that a grammar says badly.
//!
//! Invariant: no expression that leaves here is deeper than [`MAX_DEPTH`]; a deeper one becomes [`ExprKind::Error`] the
//! moment it arises, so that neither a walk over the tree nor its destruction can exhaust the stack.

use crate::diag::{Code, Diagnostic, Span};

use super::ast::{
    Axis, BinaryOp, Binding, Decl, Dim, Equation, Expr, ExprKind, Function, MAX_DEPTH, Name, Statement, Text, Type,
    UnaryOp,
};

/// What the grammar recognises at a time.
pub enum Piece {
    /// A whole function.
    Function(Function),
    /// A layer up to its opening brace.
    LayerHead(LayerHead),
    /// One statement; a `let` of several names is several.
    Statements(Vec<Statement>),
}

/// `layer NAME(DIM, ..)`
pub struct LayerHead {
    /// The layer's name.
    pub name: Name,
    /// Its dimensions.
    pub dims: Vec<Dim>,
    /// The head.
    pub span: Span,
}

/// What a declaration declares.
#[derive(Clone, Copy, PartialEq)]
pub enum DeclKind {
    /// `param`
    Param,
    /// `input`
    Input,
    /// `state`
    State,
}

/// What may follow the name and the axes of a declaration, in any order.
pub enum DeclOption {
    /// `: complex`
    Type(Type, Span),
    /// `from "key"`
    From(Text, Span),
    /// `= e`
    Init(Expr, Span),
    /// `reverse`
    Reverse(Span),
}

/// Builds nodes and collects what is wrong with them.
#[derive(Default)]
pub struct Builder {
    /// What was found so far.
    pub diagnostics: Vec<Diagnostic>,
    too_deep: bool,
}

impl Builder {
    /// An expression of the given kind at `start..end`.
    pub fn expr(&mut self, kind: ExprKind, start: usize, end: usize) -> Expr {
        let span = Span::new(start, end);
        let depth = height(&kind);
        if depth > MAX_DEPTH {
            if !self.too_deep {
                self.too_deep = true;
                self.diagnostics.push(too_deep(span));
            }
            return Expr { kind: ExprKind::Error, span, depth: 0 };
        }
        Expr { kind, span, depth }
    }

    /// `op e`
    pub fn unary(&mut self, op: UnaryOp, operand: Expr, start: usize) -> Expr {
        let end = operand.span.end as usize;
        self.expr(ExprKind::Unary(op, Box::new(operand)), start, end)
    }

    /// `a op b`
    pub fn binary(&mut self, op: BinaryOp, left: Expr, right: Expr) -> Expr {
        let span = left.span.to(right.span);
        if is_comparison(op)
            && let ExprKind::Binary(inner, _, middle) = &left.kind
            && is_comparison(*inner)
        {
            self.diagnostics.push(
                Diagnostic::error(Code::S102, span, "comparisons cannot be chained")
                    .also(middle.span, "compared twice")
                    .help("join two comparisons with `and`"),
            );
            return Expr { kind: ExprKind::Error, span, depth: 0 };
        }
        self.expr(ExprKind::Binary(op, Box::new(left), Box::new(right)), span.start as usize, span.end as usize)
    }

    /// The places of an access; an extent belongs to binders.
    pub fn access(&mut self, bindings: Vec<Binding>) -> Vec<Expr> {
        let mut at = Vec::with_capacity(bindings.len());
        for Binding { index, extent } in bindings {
            if let Some(extent) = extent {
                self.diagnostics.push(
                    Diagnostic::error(Code::S102, index.span.to(extent.span), "an access cannot introduce an index")
                        .help("`in` stands in declarations, on left sides and in binders such as `sum[j in N](..)`"),
                );
            }
            at.push(index);
        }
        at
    }

    /// A declaration, with the parts that its kind may have.
    pub fn decl(
        &mut self,
        kind: DeclKind,
        name: Name,
        axes: Vec<Binding>,
        options: Vec<DeclOption>,
        span: Span,
    ) -> Decl {
        let axes = axes.into_iter().map(|axis| self.axis(axis)).collect();
        let mut decl = Decl { name, axes, ty: None, from: None, init: None, reverse: None, span };
        for option in options {
            let (place, taken) = match option {
                DeclOption::Type(ty, place) => (place, decl.ty.replace(ty).is_some()),
                DeclOption::From(text, place) if kind == DeclKind::Param => (place, decl.from.replace(text).is_some()),
                DeclOption::Init(e, place) if kind != DeclKind::Input => (place, decl.init.replace(e).is_some()),
                DeclOption::Reverse(place) if kind == DeclKind::State => (place, decl.reverse.replace(place).is_some()),
                DeclOption::From(_, place) => {
                    self.refuse(place, "only a `param` takes the name of its tensor with `from`");
                    continue;
                }
                DeclOption::Init(_, place) => {
                    self.refuse(place, "an `input` has no initialiser: it is given at every step");
                    continue;
                }
                DeclOption::Reverse(place) => {
                    self.refuse(place, "only a `state` can be `reverse`");
                    continue;
                }
            };
            if taken {
                self.refuse(place, &format!("a second part of this kind in the declaration of `{}`", decl.name.text));
            }
        }
        decl
    }

    fn axis(&mut self, Binding { index, extent }: Binding) -> Axis {
        let Some(extent) = extent else {
            return Axis { index: None, extent: index };
        };
        let span = index.span;
        match index.kind {
            ExprKind::Name(text) => Axis { index: Some(Name { text, span }), extent },
            _ => {
                self.refuse(span, "the index of an axis is a plain name");
                Axis { index: None, extent }
            }
        }
    }

    fn refuse(&mut self, span: Span, message: &str) {
        self.diagnostics.push(Diagnostic::error(Code::S102, span, message));
    }

    /// The statements of `let a = e, b = f`; the first one's span begins with the keyword.
    pub fn lets(start: usize, mut items: Vec<Equation>) -> Vec<Statement> {
        if let Some(first) = items.first_mut() {
            first.span.start = start as u32;
        }
        items.into_iter().map(Statement::Let).collect()
    }
}

/// The report on nesting beyond [`MAX_DEPTH`].
pub fn too_deep(span: Span) -> Diagnostic {
    Diagnostic::error(Code::S105, span, format!("an expression of more than {MAX_DEPTH} levels"))
        .help("name parts of it with `let`")
}

fn is_comparison(op: BinaryOp) -> bool {
    use BinaryOp::*;
    matches!(op, Lt | Le | Gt | Ge | Eq | Ne)
}

/// The height of a node over its children's heights.
fn height(kind: &ExprKind) -> u32 {
    fn over<'a>(children: impl IntoIterator<Item = &'a Expr>) -> u32 {
        children.into_iter().map(|child| child.depth + 1).max().unwrap_or(0)
    }
    match kind {
        ExprKind::Access { at, .. } => over(at),
        ExprKind::Call { args, .. } => over(args),
        ExprKind::CallAccess { args, at, .. } => over(args).max(over(at)),
        ExprKind::Binder { bindings, args, .. } => over(args)
            .max(over(bindings.iter().map(|binding| &binding.index)))
            .max(over(bindings.iter().filter_map(|binding| binding.extent.as_ref()))),
        ExprKind::Unary(_, e) | ExprKind::Paren(e) => e.depth + 1,
        ExprKind::Binary(_, a, b) => a.depth.max(b.depth) + 1,
        ExprKind::If(parts) => over(parts.iter()),
        ExprKind::Int(_)
        | ExprKind::Real(_)
        | ExprKind::Imaginary(_)
        | ExprKind::Bool(_)
        | ExprKind::First
        | ExprKind::Name(_)
        | ExprKind::Error => 0,
    }
}
