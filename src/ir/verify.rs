//! Checks a layer after every pass. These are the invariants; a violation is a bug of the compiler.
//!
//! Tables
//! - `ids`: all ids are in range, and extents are over dimensions of the layer; a default is over earlier dimensions.
//! - `kinds`: parameters, inputs, states and delays are listed once each, in the list of their kind, and a state has its
//!   value's name.
//! - `definitions`: equations define versions of states, `let`s, outputs and delays, each once.
//! - `versions`: a state's `next` is the last of its versions in the equations.
//! - `results`: what is returned, and the reset, is a parameter, an input, a state or defined.
//!
//! Indices
//! - `binding`: an index is bound in one place at most, and used only there.
//! - `axes`: on the left stands one index per axis, with that axis's extent; an access has as many places as the value axes.
//!
//! Expressions
//! - `order`: equations read parameters, inputs, states, and what stands before them; `past` reads delays only, and nothing but
//!   literals, dimensions and indices says how far back.
//! - `types`: operands have the types that operators take, an expression has the type that follows (so that a widening goes
//!   from integers to reals or from reals to complex numbers), a definition has the type of its value.
//! - `initialisers`: those of parameters read earlier parameters, those of states parameters; random numbers and HiPPO
//!   matrices stand in them only; `first` and `past` do not.
//!
//! Time
//! - `reset`: it is a truth value without axes, and depends on no state.
//! - `delays`: they depend on no state.
//! - `checks`: they are definitions of truth values without axes.
//! - `directions`: no forward and reverse state depend on each other.
//!
//! That accesses stay inside is not among them: [`crate::analysis::bounds`] shows it, for given dimensions.

use super::typing::type_of;
use super::{Expr, ExprKind, Extent, IndexId, Init, Layer, Random, Scalar, StateId, Type, ValueId, ValueKind};

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{invariant}` does not hold in {place}: {message}")]
pub struct VerifyError {
    /// The name of the invariant in the documentation of this module.
    pub invariant: &'static str,
    /// The equation, initialiser or table.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

/// Checks all invariants.
///
/// # Errors
/// The first that does not hold.
pub fn verify(layer: &Layer) -> Result<(), VerifyError> {
    let mut verifier = Verifier {
        layer,
        place: "the tables".to_owned(),
        known: vec![false; layer.values.len()],
        bound: vec![false; layer.indices.len()],
        scope: Vec::new(),
        stateful: vec![false; layer.values.len()],
        init: false,
    };
    verifier.ids()?;
    verifier.kinds()?;
    verifier.definitions()?;
    verifier.bodies()?;
    verifier.time()
}

type Verified = Result<(), VerifyError>;

struct Verifier<'a> {
    layer: &'a Layer,
    place: String,
    /// What may be read.
    known: Vec<bool>,
    /// Indices that were bound.
    bound: Vec<bool>,
    scope: Vec<IndexId>,
    /// Values that depend on a state.
    stateful: Vec<bool>,
    /// Whether this is in an initialiser.
    init: bool,
}

impl Verifier<'_> {
    fn require(&self, holds: bool, invariant: &'static str, message: impl Into<String>) -> Verified {
        if holds {
            return Ok(());
        }
        Err(VerifyError { invariant, place: self.place.clone(), message: message.into() })
    }

    fn value_id(&self, id: ValueId) -> Verified {
        self.require(id.at() < self.layer.values.len(), "ids", format!("there is no %{}", id.0))
    }

    fn state_id(&self, id: StateId) -> Verified {
        self.require(id.at() < self.layer.states.len(), "ids", format!("there is no state {}", id.0))
    }

    fn index_id(&self, id: IndexId) -> Verified {
        self.require(id.at() < self.layer.indices.len(), "ids", format!("there is no index {}", id.0))
    }

    fn extent(&self, extent: &Extent, dims: usize) -> Verified {
        let inside = extent.dims().iter().all(|d| d.at() < dims);
        self.require(inside, "ids", "an extent over dimensions that are not there")
    }

    fn ids(&self) -> Verified {
        let layer = self.layer;
        let dims = layer.dims.len();
        for (at, dim) in layer.dims.iter().enumerate() {
            let twice = layer.dims[..at].iter().any(|d| d.name == dim.name);
            self.require(!twice, "ids", format!("two dimensions are called `{}`", dim.name))?;
            if let Some(default) = &dim.default {
                self.extent(default, at)?;
            }
        }
        for value in &layer.values {
            value.axes.iter().try_for_each(|axis| self.extent(axis, dims))?;
            if let Type::Index(extent) = &value.ty {
                self.extent(extent, dims)?;
            }
            if let ValueKind::State(state) | ValueKind::Next(state) = value.kind {
                self.state_id(state)?;
            }
        }
        layer.indices.iter().try_for_each(|index| self.extent(&index.extent, dims))?;
        for requirement in &layer.requirements {
            self.extent(&requirement.divisor, dims)?;
            self.extent(&requirement.dividend, dims)?;
        }
        let states = layer.states.iter().flat_map(|s| [s.value, s.next]);
        let others = layer.inputs.iter().chain(&layer.delays).copied().chain(layer.reset);
        let params = layer.params.iter().map(|p| p.value);
        let outputs = layer
            .outputs
            .iter()
            .map(|o| o.value)
            .chain(layer.checks.iter().map(|c| c.value))
            .chain(layer.derived.iter().copied());
        let equations = layer.equations.iter().map(|e| e.value);
        let mut all = states.chain(others).chain(params).chain(outputs).chain(equations);
        all.try_for_each(|id| self.value_id(id))
    }

    fn kinds(&self) -> Verified {
        let layer = self.layer;
        let mut listed = vec![0; layer.values.len()];
        let mut list = |id: ValueId, kind: ValueKind| {
            listed[id.at()] += 1;
            layer.value(id).kind == kind
        };
        let mut fit = true;
        for param in &layer.params {
            fit &= list(param.value, ValueKind::Param);
        }
        for &input in &layer.inputs {
            fit &= list(input, ValueKind::Input);
        }
        for (at, state) in layer.states.iter().enumerate() {
            fit &= list(state.value, ValueKind::State(StateId(at as u32)));
            fit &= layer.value(state.value).name == state.name;
        }
        for &delay in &layer.delays {
            fit &= list(delay, ValueKind::Delay);
        }
        self.require(fit, "kinds", "a list holds a value of another kind or name")?;
        for (at, value) in layer.values.iter().enumerate() {
            let listable = !matches!(value.kind, ValueKind::Next(_) | ValueKind::Let | ValueKind::Output);
            let message = format!("`{}` (%{at}) is listed {} times", value.name, listed[at]);
            self.require(listed[at] == usize::from(listable), "kinds", message)?;
        }
        Ok(())
    }

    fn definitions(&mut self) -> Verified {
        let layer = self.layer;
        let mut defined = vec![false; layer.values.len()];
        for equation in &layer.equations {
            let value = layer.value(equation.value);
            let definable = !matches!(value.kind, ValueKind::Param | ValueKind::Input | ValueKind::State(_));
            let message = format!("`{}` (%{}) cannot be defined", value.name, equation.value.0);
            self.require(definable, "definitions", message)?;
            let again = std::mem::replace(&mut defined[equation.value.at()], true);
            let message = format!("`{}` (%{}) is defined twice", value.name, equation.value.0);
            self.require(!again, "definitions", message)?;
        }
        for &delay in &layer.delays {
            self.require(defined[delay.at()], "definitions", format!("the delay %{} is not defined", delay.0))?;
        }
        for (at, state) in layer.states.iter().enumerate() {
            let kind = ValueKind::Next(StateId(at as u32));
            let last = layer.equations.iter().rev().find(|e| layer.value(e.value).kind == kind);
            let message = format!("%{} is not the last version of `{}`", state.next.0, state.name);
            self.require(last.is_some_and(|e| e.value == state.next), "versions", message)?;
            let (before, after) = (layer.value(state.value), layer.value(state.next));
            let same = before.axes == after.axes && before.ty == after.ty;
            self.require(same, "versions", format!("versions of `{}` differ in type or shape", state.name))?;
        }
        for id in layer.outputs.iter().map(|o| o.value).chain(layer.reset) {
            let there = matches!(layer.value(id).kind, ValueKind::Param | ValueKind::Input | ValueKind::State(_));
            self.require(there || defined[id.at()], "results", format!("%{} is not defined", id.0))?;
        }
        Ok(())
    }

    fn bodies(&mut self) -> Verified {
        let layer = self.layer;
        self.init = true;
        for param in &layer.params {
            self.initialiser(param.value, param.init.as_ref())?;
            self.known[param.value.at()] = true;
        }
        for state in &layer.states {
            self.initialiser(state.value, state.init.as_ref())?;
        }
        self.init = false;
        for &input in &layer.inputs {
            self.known[input.at()] = true;
        }
        for state in &layer.states {
            self.known[state.value.at()] = true;
            self.stateful[state.value.at()] = true;
        }
        for equation in &layer.equations {
            self.definition(equation.value, &equation.indices, &equation.body)?;
            let reads = equation.body.reads();
            let version = matches!(layer.value(equation.value).kind, ValueKind::Next(_));
            self.stateful[equation.value.at()] = version || reads.iter().any(|r| self.stateful[r.at()]);
            self.known[equation.value.at()] = true;
        }
        Ok(())
    }

    fn initialiser(&mut self, value: ValueId, init: Option<&Init>) -> Verified {
        init.map_or(Ok(()), |init| self.definition(value, &init.indices, &init.body))
    }

    fn definition(&mut self, id: ValueId, indices: &[IndexId], body: &Expr) -> Verified {
        let value = self.layer.value(id);
        let what = if self.init { "the initialiser" } else { "the equation" };
        self.place = format!("{what} of `{}` (%{})", value.name, id.0);
        let outside = self.bind(indices)?;
        let extents: Vec<&Extent> = indices.iter().map(|i| &self.layer.index(*i).extent).collect();
        let fit = extents.iter().copied().eq(&value.axes);
        self.require(fit, "axes", "the indices on the left are not those of the axes")?;
        self.expr(body)?;
        self.scope.truncate(outside);
        let message = format!("a body of {:?} for a value of {:?}", body.ty, value.ty);
        self.require(body.ty == value.ty.scalar(), "types", message)
    }

    /// Opens a scope; gives where it starts.
    fn bind(&mut self, indices: &[IndexId]) -> Result<usize, VerifyError> {
        let outside = self.scope.len();
        for &i in indices {
            self.index_id(i)?;
            let again = std::mem::replace(&mut self.bound[i.at()], true);
            self.require(!again, "binding", format!("index {} is bound twice", i.0))?;
            self.scope.push(i);
        }
        Ok(outside)
    }

    fn expr(&mut self, e: &Expr) -> Verified {
        match &e.kind {
            ExprKind::Dim(d) => {
                let message = format!("there is no dimension {}", d.0);
                self.require(d.at() < self.layer.dims.len(), "ids", message)?;
            }
            ExprKind::Index(i) => {
                self.index_id(*i)?;
                self.require(self.scope.contains(i), "binding", format!("index {} is not in scope", i.0))?;
            }
            ExprKind::First => self.require(!self.init, "initialisers", "`first` in an initialiser")?,
            ExprKind::Random(..) | ExprKind::HippoLegs(_) | ExprKind::HippoN(_) => {
                self.require(self.init, "initialisers", "a function that only initialisers have")?;
            }
            ExprKind::Read { value, at } => self.access(*value, at)?,
            ExprKind::Shift(parts, by) => {
                let least = match parts[0].kind {
                    ExprKind::Index(i) => {
                        self.index_id(i)?;
                        match self.layer.index(i).extent {
                            Extent::Lit(n) => usize::try_from(n).unwrap_or(0),
                            _ => 0,
                        }
                    }
                    _ => 0,
                };
                let message = format!("a shift by {by} of an index with at least {least} elements");
                self.require((1..=least).contains(by), "axes", message)?;
            }
            ExprKind::Past { delay, at, steps } => {
                self.require(!self.init, "initialisers", "`past` in an initialiser")?;
                self.access(*delay, at)?;
                let is_delay = self.layer.value(*delay).kind == ValueKind::Delay;
                self.require(is_delay, "order", format!("%{} is no delay", delay.0))?;
                self.require(steps.reads().is_empty(), "order", "the steps of `past` depend on a value")?;
            }
            _ => {}
        }
        match &e.kind {
            ExprKind::Reduce { indices, body, .. } => {
                let outside = self.bind(indices)?;
                self.expr(body)?;
                self.scope.truncate(outside);
            }
            ExprKind::Normalise { index, at, body, eps, .. } => {
                self.expr(at)?;
                if let Some(eps) = eps {
                    self.expr(eps)?;
                }
                let outside = self.bind(&[*index])?;
                self.expr(body)?;
                self.scope.truncate(outside);
            }
            ExprKind::Solve { row, column, at, matrix, right } => {
                self.expr(at)?;
                let outside = self.bind(&[*row])?;
                self.expr(right)?;
                self.bind(&[*column])?;
                self.expr(matrix)?;
                self.scope.truncate(outside);
                let extent = |i: &IndexId| &self.layer.index(*i).extent;
                self.require(extent(row) == extent(column), "axes", "the matrix of `solve` is not square")?;
            }
            _ => {
                for operand in e.operands() {
                    self.expr(operand)?;
                }
            }
        }
        self.types(e)
    }

    fn access(&self, id: ValueId, at: &[Expr]) -> Verified {
        self.value_id(id)?;
        let value = self.layer.value(id);
        let invariant = if self.init { "initialisers" } else { "order" };
        let message = format!("`{}` (%{}) is read before it is known", value.name, id.0);
        self.require(self.known[id.at()], invariant, message)?;
        let message = format!("{} places for the {} axes of `{}`", at.len(), value.axes.len(), value.name);
        self.require(at.len() == value.axes.len(), "axes", message)
    }

    fn types(&self, e: &Expr) -> Verified {
        let of_value = |id: ValueId| self.layer.values.get(id.at()).map(|v| v.ty.scalar());
        match type_of(&e.kind, of_value) {
            Ok(ty) => {
                let either = matches!(&e.kind, ExprKind::Random(Random::Normal | Random::Uniform, _));
                let fits = ty == e.ty || (either && e.ty == Scalar::Complex);
                self.require(fits, "types", format!("{:?} is taken for {ty:?}", e.ty))
            }
            Err(message) => self.require(false, "types", message),
        }
    }

    fn time(&mut self) -> Verified {
        let layer = self.layer;
        self.place = "the tables".to_owned();
        if let Some(reset) = layer.reset {
            let value = layer.value(reset);
            let scalar = value.ty == Type::Bool && value.axes.is_empty();
            self.require(scalar, "reset", "the reset is no truth value without axes")?;
            self.require(!self.stateful[reset.at()], "reset", "the reset depends on a state")?;
        }
        for check in &layer.checks {
            let value = layer.value(check.value);
            let scalar = value.ty == Type::Bool && value.axes.is_empty() && layer.definition(check.value).is_some();
            self.require(scalar, "checks", "a check is no definition of a truth value without axes")?;
        }
        for &delay in &layer.delays {
            let message = format!("the delay %{} depends on a state", delay.0);
            self.require(!self.stateful[delay.at()], "delays", message)?;
        }
        match crate::analysis::passes::passes(layer) {
            Ok(_) => Ok(()),
            Err(conflict) => {
                let name = |s: StateId| &layer.states[s.at()].name;
                let (forward, reverse) = (name(conflict.forward), name(conflict.reverse));
                self.require(false, "directions", format!("`{forward}` and `{reverse}` depend on each other"))
            }
        }
    }
}
