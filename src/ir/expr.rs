//! Expressions: one element as a function of the indices in scope.

use super::{DimId, IndexId, ValueId};
use crate::diag::Span;

/// The type of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scalar {
    /// A truth value.
    Bool,
    /// An integer.
    Int,
    /// A real number.
    Real,
    /// A complex number.
    Complex,
}

/// One element as a function of the indices in scope.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Its type.
    pub ty: Scalar,
    /// Where the user wrote it.
    pub span: Span,
}

/// The kinds of expressions. Operands have the type of the result, unless it is said otherwise.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// An integer literal ([`Scalar::Int`]).
    Int(i64),
    /// A real literal ([`Scalar::Real`]).
    Real(f64),
    /// An imaginary literal ([`Scalar::Complex`]).
    Imaginary(f64),
    /// A truth value ([`Scalar::Bool`]).
    Bool(bool),
    /// A dimension's value ([`Scalar::Int`]).
    Dim(DimId),
    /// An index's value ([`Scalar::Int`]).
    Index(IndexId),
    /// Whether this is the first step of a sequence, or one that resets ([`Scalar::Bool`]).
    First,
    /// An element of a value; `at` are integers, one per axis, inside the axes wherever this is evaluated.
    Read {
        /// The tensor.
        value: ValueId,
        /// One integer per axis.
        at: Vec<Expr>,
    },
    /// An element of a delay as it was `steps` steps ago, 0 (false) before the start.
    Past {
        /// A [`super::ValueKind::Delay`].
        delay: ValueId,
        /// One integer per axis.
        at: Vec<Expr>,
        /// How many steps ago: a non-negative integer over literals, dimensions and indices.
        steps: Box<Expr>,
    },
    /// An integer as a real, a real as a complex.
    Widen(Box<Expr>),
    /// An operator with one operand.
    Unary(UnaryOp, Box<Expr>),
    /// An operator with two operands. Comparisons give [`Scalar::Bool`]; both operands have one type.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// A power with a literal integer exponent: repeated multiplication, the reciprocal of it for a negative one.
    Powi(Box<Expr>, i32),
    /// A function. The types of operands and result are those of [`Function::result`].
    Call(Function, Vec<Expr>),
    /// `if c then a else b`; the condition is a [`Scalar::Bool`]; only the chosen branch is evaluated.
    If(Box<[Expr; 3]>),
    /// A reduction over all values of the indices.
    Reduce {
        /// How elements are combined.
        op: ReduceOp,
        /// The bound indices, outermost first.
        indices: Vec<IndexId>,
        /// The element.
        body: Box<Expr>,
    },
    /// The element at `at` of a normalised vector whose elements are `body` at each value of `index`.
    Normalise {
        /// Which normalisation.
        op: NormaliseOp,
        /// The bound index.
        index: IndexId,
        /// Which element of the result: an integer, outside of the scope of `index`.
        at: Box<Expr>,
        /// The element of the vector.
        body: Box<Expr>,
        /// Added to the variance or the mean square ([`Scalar::Real`], outside of the scope of `index`); absent for
        /// softmax.
        eps: Option<Box<Expr>>,
    },
    /// The element at `at` of the solution `x` of `sum[column](matrix * x[column]) == right`, for a symmetric positive
    /// definite matrix of reals; NaN for any other matrix. Of the matrix only `column <= row` is used.
    Solve {
        /// The row of the matrix, and the element of the right side.
        row: IndexId,
        /// The column of the matrix; the right side does not mention it.
        column: IndexId,
        /// Which element of the solution: an integer, outside of the scope of the indices.
        at: Box<Expr>,
        /// The element of the matrix ([`Scalar::Real`]).
        matrix: Box<Expr>,
        /// The element of the right side ([`Scalar::Real`]).
        right: Box<Expr>,
    },
    /// `shift(i, e, before, n)`: of an index `i` in scope, what `e` is at `i - n`; where there is no such element, what
    /// `before` is at `i - n + extent`. So the values of `before` stand in front of those of `e`. `n` is from 1 to the
    /// extent of `i`. The first operand is the index alone; the others are [`Scalar::Real`] or [`Scalar::Complex`].
    Shift(Box<[Expr; 3]>, usize),
    /// `last(i, e)`: of an index `i` in scope, what `e` is at the last element of `i`. Operands are as for
    /// [`ExprKind::Shift`].
    Last(Box<[Expr; 2]>),
    /// A random number; in initialisers only.
    Random(Random, Box<[Expr; 2]>),
    /// `hippo_legs(n)[i, j]`: the HiPPO-LegS matrix; in initialisers only. All three are integers.
    HippoLegs(Box<[Expr; 3]>),
    /// `hippo_n(n)[i]`: the eigenvalues of its normal part, complex, by ascending imaginary part; in initialisers
    /// only. Both are integers.
    HippoN(Box<[Expr; 2]>),
}

/// Operators with one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// `-e`, on numbers.
    Neg,
    /// `not e`
    Not,
}

/// Operators with two operands of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// On truth values.
    Or,
    /// On truth values.
    And,
    /// On integers and reals.
    Lt,
    /// On integers and reals.
    Le,
    /// On integers and reals.
    Gt,
    /// On integers and reals.
    Ge,
    /// On all types.
    Eq,
    /// On all types.
    Ne,
    /// On numbers.
    Add,
    /// On numbers.
    Sub,
    /// On numbers.
    Mul,
    /// On reals and complex numbers.
    Div,
    /// On integers (never by zero) and reals: rounded down.
    FloorDiv,
    /// On integers (never by zero) and reals: with the sign of the divisor.
    Mod,
}

impl BinaryOp {
    /// Whether it gives a truth value from two numbers.
    pub fn is_comparison(self) -> bool {
        matches!(self, BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge | BinaryOp::Eq | BinaryOp::Ne)
    }

    /// The operator in the language.
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Or => "or",
            BinaryOp::And => "and",
            BinaryOp::Lt => "<",
            BinaryOp::Le => "<=",
            BinaryOp::Gt => ">",
            BinaryOp::Ge => ">=",
            BinaryOp::Eq => "==",
            BinaryOp::Ne => "!=",
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::FloorDiv => "//",
            BinaryOp::Mod => "%",
        }
    }
}

/// The built-in functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the function of its name; see `Function::NAMES`")]
pub enum Function {
    Exp,
    Expm1,
    Log,
    Log1p,
    Sqrt,
    Rsqrt,
    Abs,
    Sign,
    Floor,
    Min,
    Max,
    Pow,
    Sin,
    Cos,
    Tanh,
    Sigmoid,
    Silu,
    Softplus,
    Relu,
    Gelu,
    Erf,
    Clamp,
    Real,
    Re,
    Im,
    Conj,
    Arg,
    Cis,
}

impl Function {
    /// All functions with their names in the language and their numbers of arguments.
    pub const NAMES: &'static [(Function, &'static str, usize)] = &[
        (Function::Exp, "exp", 1),
        (Function::Expm1, "expm1", 1),
        (Function::Log, "log", 1),
        (Function::Log1p, "log1p", 1),
        (Function::Sqrt, "sqrt", 1),
        (Function::Rsqrt, "rsqrt", 1),
        (Function::Abs, "abs", 1),
        (Function::Sign, "sign", 1),
        (Function::Floor, "floor", 1),
        (Function::Min, "min", 2),
        (Function::Max, "max", 2),
        (Function::Pow, "pow", 2),
        (Function::Sin, "sin", 1),
        (Function::Cos, "cos", 1),
        (Function::Tanh, "tanh", 1),
        (Function::Sigmoid, "sigmoid", 1),
        (Function::Silu, "silu", 1),
        (Function::Softplus, "softplus", 1),
        (Function::Relu, "relu", 1),
        (Function::Gelu, "gelu", 1),
        (Function::Erf, "erf", 1),
        (Function::Clamp, "clamp", 3),
        (Function::Real, "real", 1),
        (Function::Re, "re", 1),
        (Function::Im, "im", 1),
        (Function::Conj, "conj", 1),
        (Function::Arg, "arg", 1),
        (Function::Cis, "cis", 1),
    ];

    /// The name in the language.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(f, ..)| *f == self).expect("every function is in the table").1
    }

    /// The type of the result for operands that all have type `of`; `None` where the function takes no such
    /// operands.
    pub fn result(self, of: Scalar) -> Option<Scalar> {
        use Scalar::*;
        match (self, of) {
            (Function::Exp | Function::Log | Function::Sqrt | Function::Sin, Real | Complex) => Some(of),
            (Function::Cos | Function::Pow, Real | Complex) => Some(of),
            (Function::Expm1 | Function::Log1p | Function::Rsqrt | Function::Floor, Real) => Some(Real),
            (Function::Tanh | Function::Sigmoid | Function::Silu | Function::Softplus, Real) => Some(Real),
            (Function::Gelu | Function::Erf, Real) => Some(Real),
            (Function::Sign | Function::Relu | Function::Clamp, Int | Real) => Some(of),
            (Function::Min | Function::Max, Bool | Int | Real) => Some(of),
            (Function::Abs, Int | Real) => Some(of),
            (Function::Abs | Function::Re | Function::Im | Function::Arg, Complex) => Some(Real),
            (Function::Conj, Complex) => Some(Complex),
            (Function::Cis, Real) => Some(Complex),
            (Function::Real, Bool) => Some(Real),
            _ => None,
        }
    }
}

/// How a reduction combines elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceOp {
    /// On numbers.
    Sum,
    /// On numbers.
    Prod,
    /// On truth values (`or`), integers and reals; NaN if any is.
    Max,
    /// On truth values (`and`), integers and reals; NaN if any is.
    Min,
    /// On reals and complex numbers.
    Mean,
    /// On reals: `log(sum(exp(e)))` with the maximum subtracted.
    LogSumExp,
    /// The place ([`Scalar::Int`]) of the first of the largest; operands are integers or reals.
    ArgMax,
    /// The place ([`Scalar::Int`]) of the first of the smallest; operands are integers or reals.
    ArgMin,
}

impl ReduceOp {
    /// All reductions.
    pub const ALL: [ReduceOp; 8] = [
        ReduceOp::Sum,
        ReduceOp::Prod,
        ReduceOp::Max,
        ReduceOp::Min,
        ReduceOp::Mean,
        ReduceOp::LogSumExp,
        ReduceOp::ArgMax,
        ReduceOp::ArgMin,
    ];

    /// The binder in the language.
    pub fn name(self) -> &'static str {
        match self {
            ReduceOp::Sum => "sum",
            ReduceOp::Prod => "prod",
            ReduceOp::Max => "max",
            ReduceOp::Min => "min",
            ReduceOp::Mean => "mean",
            ReduceOp::LogSumExp => "logsumexp",
            ReduceOp::ArgMax => "argmax",
            ReduceOp::ArgMin => "argmin_index",
        }
    }
}

/// Normalisations of a vector of reals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NormaliseOp {
    /// `exp(e - max) / sum(exp(e - max))`
    Softmax,
    /// `(e - mean) / sqrt(variance + eps)` with the biased variance.
    LayerNorm,
    /// `e / sqrt(mean(e^2) + eps)`
    RmsNorm,
}

impl NormaliseOp {
    /// All normalisations.
    pub const ALL: [NormaliseOp; 3] = [NormaliseOp::Softmax, NormaliseOp::LayerNorm, NormaliseOp::RmsNorm];

    /// The binder in the language.
    pub fn name(self) -> &'static str {
        match self {
            NormaliseOp::Softmax => "softmax",
            NormaliseOp::LayerNorm => "layernorm",
            NormaliseOp::RmsNorm => "rmsnorm",
        }
    }
}

/// Distributions of random initial values. In a complex context real and imaginary part are drawn apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Random {
    /// Mean and standard deviation.
    Normal,
    /// Bounds.
    Uniform,
}

impl Expr {
    /// The factors of a complex product of which one is a real that was widened: it, and the other one. Such a product scales
    /// both parts of a number, so that what is infinite in one says nothing about the other.
    pub fn scaled<'a>(a: &'a Expr, b: &'a Expr) -> Option<(&'a Expr, &'a Expr)> {
        let real = |e: &Expr| e.ty == Scalar::Complex && matches!(&e.kind, ExprKind::Widen(e) if e.ty == Scalar::Real);
        match (real(a), real(b)) {
            (true, _) => Some((a, b)),
            (_, true) => Some((b, a)),
            _ => None,
        }
    }

    /// The direct operands, in the order of the text.
    pub fn operands(&self) -> Vec<&Expr> {
        match &self.kind {
            ExprKind::Int(_)
            | ExprKind::Real(_)
            | ExprKind::Imaginary(_)
            | ExprKind::Bool(_)
            | ExprKind::Dim(_)
            | ExprKind::Index(_)
            | ExprKind::First => Vec::new(),
            ExprKind::Read { at, .. } => at.iter().collect(),
            ExprKind::Past { at, steps, .. } => at.iter().chain([&**steps]).collect(),
            ExprKind::Widen(e) | ExprKind::Unary(_, e) | ExprKind::Powi(e, _) => vec![e],
            ExprKind::Binary(_, a, b) => vec![a, b],
            ExprKind::Call(_, args) => args.iter().collect(),
            ExprKind::If(parts) => parts.iter().collect(),
            ExprKind::Shift(parts, _) => parts.iter().collect(),
            ExprKind::Last(parts) => parts.iter().collect(),
            ExprKind::Reduce { body, .. } => vec![body],
            ExprKind::Normalise { at, body, eps, .. } => [&**at, &**body].into_iter().chain(eps.as_deref()).collect(),
            ExprKind::Solve { at, matrix, right, .. } => vec![at, matrix, right],
            ExprKind::Random(_, parts) => parts.iter().collect(),
            ExprKind::HippoLegs(parts) => parts.iter().collect(),
            ExprKind::HippoN(parts) => parts.iter().collect(),
        }
    }

    /// The direct operands, in the order of the text, to change.
    pub fn operands_mut(&mut self) -> Vec<&mut Expr> {
        match &mut self.kind {
            ExprKind::Int(_)
            | ExprKind::Real(_)
            | ExprKind::Imaginary(_)
            | ExprKind::Bool(_)
            | ExprKind::Dim(_)
            | ExprKind::Index(_)
            | ExprKind::First => Vec::new(),
            ExprKind::Read { at, .. } => at.iter_mut().collect(),
            ExprKind::Past { at, steps, .. } => at.iter_mut().chain([&mut **steps]).collect(),
            ExprKind::Widen(e) | ExprKind::Unary(_, e) | ExprKind::Powi(e, _) => vec![e],
            ExprKind::Binary(_, a, b) => vec![a, b],
            ExprKind::Call(_, args) => args.iter_mut().collect(),
            ExprKind::If(parts) => parts.iter_mut().collect(),
            ExprKind::Shift(parts, _) => parts.iter_mut().collect(),
            ExprKind::Last(parts) => parts.iter_mut().collect(),
            ExprKind::Reduce { body, .. } => vec![body],
            ExprKind::Normalise { at, body, eps, .. } => {
                [&mut **at, &mut **body].into_iter().chain(eps.as_deref_mut()).collect()
            }
            ExprKind::Solve { at, matrix, right, .. } => vec![at, matrix, right],
            ExprKind::Random(_, parts) => parts.iter_mut().collect(),
            ExprKind::HippoLegs(parts) => parts.iter_mut().collect(),
            ExprKind::HippoN(parts) => parts.iter_mut().collect(),
        }
    }

    /// Visits this expression and all below it, parents first.
    pub fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Expr)) {
        visit(self);
        for operand in self.operands() {
            operand.walk(visit);
        }
    }

    /// The index along which something in it is shifted, if there is one.
    pub fn shifted_along(&self) -> Option<IndexId> {
        let mut found = None;
        self.walk(&mut |e| {
            let place = match &e.kind {
                ExprKind::Shift(parts, _) => &parts[0],
                ExprKind::Last(parts) => &parts[0],
                _ => return,
            };
            if let ExprKind::Index(i) = place.kind {
                found = Some(i);
            }
        });
        found
    }

    /// The values that it reads, in the order of the text, with repetitions; delays included.
    pub fn reads(&self) -> Vec<ValueId> {
        let mut found = Vec::new();
        self.walk(&mut |e| match e.kind {
            ExprKind::Read { value, .. } => found.push(value),
            ExprKind::Past { delay, .. } => found.push(delay),
            _ => {}
        });
        found
    }
}
