//! The syntax tree: what the user wrote, with the place of everything.
//!
//! Invariants: every node has a span into the source; names are not resolved; no expression is deeper than
//! [`MAX_DEPTH`]; [`ExprKind::Error`] and [`Statement::Error`] stand where the parser reported a diagnostic.

use crate::diag::Span;

/// The deepest nesting of expressions that the parser accepts.
pub const MAX_DEPTH: u32 = 256;

/// A name with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The name itself.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// A whole source file.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct File {
    /// Functions and layers in the order of the text.
    pub items: Vec<Item>,
}

/// What a file is made of.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// `fn f(x, y) = e`
    Function(Function),
    /// `layer name(D, N = 16) { .. }`
    Layer(Layer),
}

/// A scalar function, inlined where it is called.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: Name,
    /// The names of its arguments.
    pub params: Vec<Name>,
    /// Its value.
    pub body: Expr,
    /// The whole item.
    pub span: Span,
}

/// A recurrence: one time step and what it needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Its name.
    pub name: Name,
    /// Its dimensions.
    pub dims: Vec<Dim>,
    /// Its statements in the order of the text.
    pub statements: Vec<Statement>,
    /// The whole item.
    pub span: Span,
}

/// A dimension: `N` or `N = 16`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dim {
    /// Its name.
    pub name: Name,
    /// Its value where nothing else gives one.
    pub default: Option<Expr>,
}

/// One statement of a layer.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// `param A[D, N]: complex from "key" = e, ..`
    Param(Vec<Decl>),
    /// `input x[D], tok: index(V), ..`
    Input(Vec<Decl>),
    /// `state h[D, N]: complex = e reverse, ..`
    State(Vec<Decl>),
    /// `let g[d] = e`
    Let(Equation),
    /// `h[d, n] <- e`
    Update(Equation),
    /// `output y[d] = e, h`
    Output(Vec<Output>),
    /// `reset when e`
    Reset {
        /// The condition.
        condition: Expr,
        /// The whole statement.
        span: Span,
    },
    /// A statement that did not parse.
    Error(Span),
}

/// The declaration of a parameter, an input or a state.
#[derive(Clone, Debug, PartialEq)]
pub struct Decl {
    /// The declared name.
    pub name: Name,
    /// Its axes.
    pub axes: Vec<Axis>,
    /// Its type; real where none is written.
    pub ty: Option<Type>,
    /// The tensor's name in parameter files (`from "key"`; parameters only).
    pub from: Option<Text>,
    /// Its initial value (parameters and states only).
    pub init: Option<Expr>,
    /// Whether it is carried from the last step to the first (states only): the place of `reverse`.
    pub reverse: Option<Span>,
    /// The whole declaration.
    pub span: Span,
}

/// A quoted string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Its contents.
    pub text: String,
    /// Where it stands, quotes included.
    pub span: Span,
}

/// One axis of a declaration: `D`, or `d in D` to name the index for the initialiser.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// The index's name.
    pub index: Option<Name>,
    /// The extent, an integer expression over dimensions.
    pub extent: Expr,
}

/// A written type.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// `complex`
    Complex(Span),
    /// `bool`
    Bool(Span),
    /// `index(N)`
    Index(Box<Expr>, Span),
}

/// The left and the right side of `let` and `<-`.
#[derive(Clone, Debug, PartialEq)]
pub struct Equation {
    /// What is defined or updated.
    pub name: Name,
    /// The indices on the left.
    pub indices: Vec<Binding>,
    /// The right side.
    pub body: Expr,
    /// The whole statement.
    pub span: Span,
}

/// One entry of an `output` statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// `y[d] = e`
    Define(Equation),
    /// `h`: a state or a `let` of that name.
    Name(Name),
}

/// The introduction of an index: `j` or `j in N`. On the left of an equation and in binders.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// What stands in the place of the index. Sema accepts a plain name only.
    pub index: Expr,
    /// Its written extent.
    pub extent: Option<Expr>,
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub span: Span,
    /// Its height: 0 for a leaf.
    pub depth: u32,
}

/// The kinds of expressions.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// `16`
    Int(i64),
    /// `0.5`, `1e-5`
    Real(f64),
    /// `2.5i`
    Imaginary(f64),
    /// `true`, `false`
    Bool(bool),
    /// `first`
    First,
    /// `x`
    Name(String),
    /// `x[d, n - 1]`
    Access {
        /// The tensor.
        name: Name,
        /// One expression per axis.
        at: Vec<Expr>,
    },
    /// `f(x, y)`
    Call {
        /// The function.
        name: Name,
        /// Its arguments.
        args: Vec<Expr>,
    },
    /// `sum[j in N](e)`
    Binder {
        /// The reduction or normalisation.
        name: Name,
        /// The indices that it introduces; for `hippo_legs(N)[i, j]` see [`ExprKind::CallAccess`].
        bindings: Vec<Binding>,
        /// Its arguments.
        args: Vec<Expr>,
    },
    /// `hippo_legs(N)[i, j]`
    CallAccess {
        /// The function.
        name: Name,
        /// Its arguments.
        args: Vec<Expr>,
        /// One expression per axis.
        at: Vec<Expr>,
    },
    /// `-e`, `not e`
    Unary(UnaryOp, Box<Expr>),
    /// `a + b`
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// `if c then a else b`
    If(Box<[Expr; 3]>),
    /// `(e)`: kept so that formatting keeps the user's parentheses.
    Paren(Box<Expr>),
    /// What did not parse.
    Error,
}

/// Operators with one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOp {
    /// `-`
    Neg,
    /// `not`
    Not,
}

/// Operators with two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `or`
    Or,
    /// `and`
    And,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`: real or complex division.
    Div,
    /// `//`: division rounded down.
    FloorDiv,
    /// `%`: the remainder with the sign of the divisor.
    Mod,
    /// `^`
    Pow,
}
