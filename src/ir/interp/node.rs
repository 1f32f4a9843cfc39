//! Expressions in the form in which they are evaluated.
//!
//! One tree type per scalar type, so that no value carries its type; indices are places in a flat table,
//! dimensions are numbers, the strides of accesses are known. Reductions whose element does not depend on all the
//! indices in scope have a [`Memo`].

use super::math::Complex;
use crate::ir::ReduceOp;

/// An integer.
pub(super) enum Int<F> {
    Const(i64),
    /// The value of an index.
    Index(usize),
    Read(Access<F>),
    Past(Box<Past<F>>),
    Neg(Box<Int<F>>),
    Powi(Box<Int<F>>, i32),
    Call1(fn(i64) -> i64, Box<Int<F>>),
    Call2(fn(i64, i64) -> i64, Box<[Int<F>; 2]>),
    Clamp(Box<[Int<F>; 3]>),
    If(Box<If<F, Int<F>>>),
    Reduce(Box<Reduce<Int<F>>>),
    /// The place of the largest or smallest.
    PlaceAmongInts(Box<Reduce<Int<F>>>),
    PlaceAmongReals(Box<Reduce<Real<F>>>),
}

/// A truth value.
pub(super) enum Bool<F> {
    Const(bool),
    First,
    Read(Access<F>),
    Past(Box<Past<F>>),
    Not(Box<Bool<F>>),
    Or(Box<[Bool<F>; 2]>),
    And(Box<[Bool<F>; 2]>),
    OfBools(fn(bool, bool) -> bool, Box<[Bool<F>; 2]>),
    OfInts(fn(i64, i64) -> bool, Box<[Int<F>; 2]>),
    OfReals(fn(F, F) -> bool, Box<[Real<F>; 2]>),
    OfComplex(fn(Complex<F>, Complex<F>) -> bool, Box<[Cplx<F>; 2]>),
    If(Box<If<F, Bool<F>>>),
    Reduce(Box<Reduce<Bool<F>>>),
}

/// A real number.
pub(super) enum Real<F> {
    Const(F),
    OfInt(Box<Int<F>>),
    OfBool(Box<Bool<F>>),
    Read(Access<F>),
    Past(Box<Past<F>>),
    Neg(Box<Real<F>>),
    Add(Box<[Real<F>; 2]>),
    Sub(Box<[Real<F>; 2]>),
    Mul(Box<[Real<F>; 2]>),
    Div(Box<[Real<F>; 2]>),
    Powi(Box<Real<F>>, i32),
    /// A function in `f64`.
    Call1(fn(f64) -> f64, Box<Real<F>>),
    Call2(fn(F, F) -> F, Box<[Real<F>; 2]>),
    Clamp(Box<[Real<F>; 3]>),
    OfComplex(fn(Complex<f64>) -> f64, Box<Cplx<F>>),
    If(Box<If<F, Real<F>>>),
    Across(Box<Across<Real<F>>>),
    Reduce(Box<Reduce<Real<F>>>),
    Normalise(Box<Normalise<F>>),
    Solve(Box<Solve<F>>),
    Random(Box<Random<F>>),
    HippoLegs(Box<[Int<F>; 3]>),
}

/// A complex number.
pub(super) enum Cplx<F> {
    Const(Complex<F>),
    OfReal(Box<Real<F>>),
    Read(Access<F>),
    Past(Box<Past<F>>),
    Neg(Box<Cplx<F>>),
    Add(Box<[Cplx<F>; 2]>),
    Sub(Box<[Cplx<F>; 2]>),
    Mul(Box<[Cplx<F>; 2]>),
    /// A real times a complex number.
    Scale(Box<(Real<F>, Cplx<F>)>),
    Div(Box<[Cplx<F>; 2]>),
    Powi(Box<Cplx<F>>, i32),
    /// A function in `f64`.
    Call1(fn(Complex<f64>) -> Complex<f64>, Box<Cplx<F>>),
    Call2(fn(Complex<f64>, Complex<f64>) -> Complex<f64>, Box<[Cplx<F>; 2]>),
    /// A function of a real number in `f64`.
    Cis(fn(f64) -> Complex<f64>, Box<Real<F>>),
    If(Box<If<F, Cplx<F>>>),
    Across(Box<Across<Cplx<F>>>),
    Reduce(Box<Reduce<Cplx<F>>>),
    Random(Box<Random<F>>),
    HippoN(Box<[Int<F>; 2]>),
}

/// Where an element lies in its tensor.
pub(super) struct Access<F> {
    /// The place of the tensor in the table of values (of delays, in a [`Past`]).
    pub(super) tensor: usize,
    /// Indices that stand alone and stay inside, with the strides of their axes.
    pub(super) plain: Vec<(usize, usize)>,
    /// All others, checked where they are evaluated.
    pub(super) general: Vec<Axis<F>>,
}

/// One axis of an access.
pub(super) struct Axis<F> {
    pub(super) at: Int<F>,
    pub(super) extent: usize,
    pub(super) stride: usize,
}

/// An element of a delay.
pub(super) struct Past<F> {
    /// The element in the tensor of this step.
    pub(super) now: Access<F>,
    /// The delay's place in the layer's list.
    pub(super) delay: usize,
    /// How many elements one step has.
    pub(super) size: usize,
    pub(super) depth: usize,
    pub(super) steps: Int<F>,
}

/// A choice, of which one branch is evaluated.
pub(super) struct If<F, N> {
    pub(super) condition: Bool<F>,
    pub(super) then: N,
    pub(super) other: N,
}

/// A value at another element of an index.
pub(super) struct Across<N> {
    pub(super) index: Loop,
    pub(super) to: Element<N>,
}

/// At which.
pub(super) enum Element<N> {
    /// So many before; of the second operand, counted from its end, where there are fewer.
    Before([N; 2], usize),
    /// The last.
    Last(N),
}

/// A reduction.
pub(super) struct Reduce<N> {
    pub(super) op: ReduceOp,
    pub(super) loops: Vec<Loop>,
    pub(super) body: N,
    pub(super) memo: Option<Memo>,
}

/// The range of an index.
#[derive(Clone, Copy)]
pub(super) struct Loop {
    /// Its place in the table of indices.
    pub(super) index: usize,
    pub(super) extent: usize,
}

/// Where results are kept that several elements of an equation share. The table is filled as they are asked for,
/// so that nothing is evaluated that would not be evaluated without it.
pub(super) struct Memo {
    pub(super) table: usize,
    /// The indices that the result depends on, with the strides of the table.
    pub(super) keys: Vec<(usize, usize)>,
}

/// An element of a normalised vector.
pub(super) struct Normalise<F> {
    pub(super) op: crate::ir::NormaliseOp,
    pub(super) vector: Loop,
    pub(super) at: Int<F>,
    pub(super) body: Real<F>,
    pub(super) eps: Option<Real<F>>,
    /// Of the two statistics that all elements share.
    pub(super) memo: Option<Memo>,
}

/// An element of the solution of a linear system.
pub(super) struct Solve<F> {
    pub(super) row: Loop,
    pub(super) column: Loop,
    pub(super) at: Int<F>,
    pub(super) matrix: Real<F>,
    pub(super) right: Real<F>,
    /// Of whole solutions.
    pub(super) memo: Option<Memo>,
    /// Which report says that there is none.
    pub(super) report: usize,
}

/// A random number; its parameters are real.
pub(super) struct Random<F> {
    pub(super) distribution: crate::ir::Random,
    pub(super) parameters: [Real<F>; 2],
}

/// An expression of any type.
pub(super) enum Body<F> {
    Int(Int<F>),
    Bool(Bool<F>),
    Real(Real<F>),
    Complex(Cplx<F>),
}

/// A definition: its value, element by element in row-major order.
pub(super) struct Program<F> {
    pub(super) value: usize,
    pub(super) loops: Vec<Loop>,
    pub(super) body: Body<F>,
}
