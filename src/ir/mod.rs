//! The typed IR in index notation: a step is a list of equations `value[indices] = expression`.
//!
//! In: [`crate::sema`] builds a [`Layer`] from the syntax tree, [`parse`] reads one from its own text. Out: the
//! interpreter, the analyses and the planner read it. There are no loops here: loops are the plan's business.
//!
//! Every equation defines its value once. A state has one value per version: the value before the step
//! ([`ValueKind::State`]), and one ([`ValueKind::Next`]) for every `<-`; [`State::next`] names the last. So the
//! order in which the user wrote statements has become dependence between values, and the list of equations is
//! one order that respects it.
//!
//! Dimensions stay symbolic ([`Extent`]); an [`Instance`] gives them numbers.
//!
//! The invariants are listed in [`verify`].

pub mod bind;
mod expr;
mod extent;
mod hippo;
pub mod instance;
pub mod interp;
pub mod parse;
pub mod print;
pub(crate) mod ranges;
pub(crate) mod report;
mod solve;
mod typing;
pub mod verify;

pub use expr::{BinaryOp, Expr, ExprKind, Function, NormaliseOp, Random, ReduceOp, Scalar, UnaryOp};
pub use extent::Extent;
pub use instance::Instance;
pub use report::Report;

use crate::diag::Span;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);

        impl $name {
            /// The place in the layer's table.
            pub fn at(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

ids! {
    /// A dimension of the layer.
    DimId
    /// An index: one binding of one name, with one extent.
    IndexId
    /// A value: a parameter, an input, a version of a state, a definition.
    ValueId
    /// A state.
    StateId
}

/// A recurrence: one time step, and what it needs.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// Its dimensions in the order of the declaration.
    pub dims: Vec<Dim>,
    /// All values.
    pub values: Vec<Value>,
    /// All indices; an index is bound in one place only (the left of one equation or initialiser, one binder).
    pub indices: Vec<Index>,
    /// The parameters in the order of the declaration.
    pub params: Vec<Param>,
    /// The inputs in the order of the declaration.
    pub inputs: Vec<ValueId>,
    /// The states in the order of the declaration.
    pub states: Vec<State>,
    /// The delays that `past` reads, in the order of their first use.
    pub delays: Vec<ValueId>,
    /// The definitions of one step, in an order in which each reads only what stands before it.
    pub equations: Vec<Equation>,
    /// What the layer returns per step.
    pub outputs: Vec<Output>,
    /// A boolean value without axes: where it holds, states and delays take their initial values before the step.
    /// It depends on no state.
    pub reset: Option<ValueId>,
    /// The definitions and new states that the compiler found for implicit updates, in order.
    pub derived: Vec<ValueId>,
    /// What is looked at in every step, and reported where it does not hold.
    pub checks: Vec<Check>,
    /// What must hold of the dimensions for the accesses to stay inside.
    pub requirements: Vec<Requirement>,
}

/// A dimension.
#[derive(Clone, Debug, PartialEq)]
pub struct Dim {
    /// Its name.
    pub name: String,
    /// Its value where nothing else gives one; over dimensions that stand before it.
    pub default: Option<Extent>,
    /// Its declaration.
    pub span: Span,
}

/// An index.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    /// The name that the user gave; need not be unique.
    pub name: String,
    /// It runs from 0 to below this.
    pub extent: Extent,
    /// Where it is introduced.
    pub span: Span,
}

/// The type of a stored value.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// A real number, `f32` or `f64` at compile time.
    Real,
    /// A complex number.
    Complex,
    /// A truth value.
    Bool,
    /// An integer; stored in 32 bits.
    Int,
    /// An integer in `[0, extent)`; stored in 32 bits.
    Index(Extent),
}

impl Type {
    /// The type of an expression that reads such a value.
    pub fn scalar(&self) -> Scalar {
        match self {
            Type::Real => Scalar::Real,
            Type::Complex => Scalar::Complex,
            Type::Bool => Scalar::Bool,
            Type::Int | Type::Index(_) => Scalar::Int,
        }
    }
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// Fixed over time.
    Param,
    /// One slice per step.
    Input,
    /// A state before the step.
    State(StateId),
    /// A state after one of its updates.
    Next(StateId),
    /// A definition: `let`, the condition of a reset, or one that the compiler introduced.
    Let,
    /// A definition that is returned.
    Output,
    /// A definition whose values of earlier steps are kept for `past`.
    Delay,
}

/// A value: a scalar or a tensor of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// The name that the user gave, or one that the compiler made up; unique together with the kind's version.
    pub name: String,
    /// What it is.
    pub kind: ValueKind,
    /// The extents of its axes.
    pub axes: Vec<Extent>,
    /// The type of its elements.
    pub ty: Type,
    /// Its declaration or definition.
    pub span: Span,
}

/// A parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Its value.
    pub value: ValueId,
    /// The name of its tensor in a file.
    pub key: String,
    /// Its value where no file gives it. Reads parameters that are declared before it only.
    pub init: Option<Init>,
}

/// A state.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Its name.
    pub name: String,
    /// Its value before the step.
    pub value: ValueId,
    /// Its value after the step.
    pub next: ValueId,
    /// Its value before the first step; 0 (false) where absent. Reads parameters only.
    pub init: Option<Init>,
    /// Whether it is carried from the last step to the first.
    pub reverse: bool,
}

/// An initial value: an equation without the value it defines.
#[derive(Clone, Debug, PartialEq)]
pub struct Init {
    /// One index per axis.
    pub indices: Vec<IndexId>,
    /// The element at these indices.
    pub body: Expr,
}

/// `value[indices] = body`
#[derive(Clone, Debug, PartialEq)]
pub struct Equation {
    /// What is defined: a [`ValueKind::Next`], [`ValueKind::Let`], [`ValueKind::Output`] or [`ValueKind::Delay`].
    pub value: ValueId,
    /// One index per axis of the value.
    pub indices: Vec<IndexId>,
    /// The element at these indices. Its scalar type is that of the value.
    pub body: Expr,
    /// The statement.
    pub span: Span,
}

/// A returned value.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The name under which it is returned.
    pub name: String,
    /// What is returned: any value that has a definition by the end of the step, or a state before it.
    pub value: ValueId,
}

/// A truth value that is expected to hold in every step: where it does not, the run goes on, and says so once.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// A definition without axes.
    pub value: ValueId,
    /// What it means that it does not hold: lower case, no full stop.
    pub message: String,
    /// The term that it speaks of.
    pub span: Span,
}

/// `divisor` must divide `dividend`.
#[derive(Clone, Debug, PartialEq)]
pub struct Requirement {
    /// What must divide.
    pub divisor: Extent,
    /// What must be divided.
    pub dividend: Extent,
    /// The access that needs it.
    pub span: Span,
}

impl Layer {
    /// The value of that id.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.at()]
    }

    /// The index of that id.
    #[allow(clippy::should_implement_trait, reason = "an index of the layer, not an element")]
    pub fn index(&self, id: IndexId) -> &Index {
        &self.indices[id.at()]
    }

    /// The equation that defines the value, where it has one.
    pub fn definition(&self, id: ValueId) -> Option<&Equation> {
        self.equations.iter().find(|equation| equation.value == id)
    }
}
