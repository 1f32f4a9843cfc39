//! Affine forms over real and complex numbers, by structural induction.
//!
//! In: the equations of a step that depend on a group's states. Out: for each value its [`Form`], or the smallest
//! expression that is no affine function of the state. A complex state from which real parts, imaginary parts or
//! conjugates are taken is read by its two parts, so that the form is linear over the reals.

use std::collections::HashMap;

use super::algebra::Algebra;
use super::build::{self, Scope};
use super::form::{Budget, Form, Term};
use super::{Atom, Dependence, Failure, Part};
use crate::ir::{BinaryOp, Expr, ExprKind, Function, IndexId, ReduceOp, Scalar, Type, UnaryOp, ValueId, ValueKind};

const FIELD: Algebra = Algebra::Field;

/// The forms of the values that depend on the group's states.
pub(crate) struct Linear<'a> {
    pub(crate) scope: &'a mut Scope,
    pub(crate) of: &'a Dependence,
    forms: HashMap<ValueId, Result<Form, Failure>>,
    budget: Budget,
}

impl<'a> Linear<'a> {
    /// Works out the forms of all values that the group's new states need.
    pub(crate) fn new(scope: &'a mut Scope, of: &'a Dependence) -> Self {
        let mut this = Self { scope, of, forms: HashMap::new(), budget: Budget::new() };
        for &e in &of.equations {
            let equation = this.scope.layer.equations[e].clone();
            let form = this.form(&equation.body).and_then(|form| {
                let form = form.settle(this.scope, FIELD).share(this.scope, FIELD, &equation.indices);
                form.check_size(equation.span)
            });
            this.forms.insert(equation.value, form);
        }
        this
    }

    /// The forms by value, each at the indices of its equation.
    pub(crate) fn into_forms(self) -> HashMap<ValueId, Result<Form, Failure>> {
        self.forms
    }

    /// The form of an expression, at the indices that are free in it.
    pub(crate) fn form(&mut self, e: &Expr) -> Result<Form, Failure> {
        if !self.of.depends(e) {
            return Ok(Form::free(e.clone()));
        }
        let fail = |reason: String| Err(Failure::new(e.span, reason));
        match &e.kind {
            ExprKind::Read { value, at } => {
                if at.iter().any(|at| self.of.depends(at)) {
                    let name = &self.scope.layer.value(*value).name;
                    return fail(format!("the state says which element of `{name}` is read"));
                }
                self.read(*value, at, e)
            }
            ExprKind::Widen(a) => {
                if a.ty != Scalar::Real {
                    return fail("a whole number that depends on the state is used as a real one".to_owned());
                }
                Ok(self.form(a)?.map(|x| build::widen(x, Scalar::Complex)))
            }
            ExprKind::Unary(UnaryOp::Neg, a) => Ok(self.form(a)?.map(build::neg)),
            ExprKind::Binary(op, a, b) => self.binary(*op, a, b, e),
            ExprKind::Powi(_, 0) => Ok(Form::free(build::number(1.0, e.ty, e.span))),
            ExprKind::Powi(a, 1) => self.form(a),
            ExprKind::Powi(a, n) => {
                self.form(a)?;
                fail(format!("a value that depends on the state is raised to the power {n}"))
            }
            ExprKind::If(parts) => {
                if build::same(&parts[1], &parts[2]) {
                    return self.form(&parts[1]);
                }
                if self.of.depends(&parts[0]) {
                    return Err(Failure::new(parts[0].span, "the condition depends on the state"));
                }
                let then = self.form(&parts[1])?;
                let other = self.form(&parts[2])?;
                Ok(then.guard(FIELD, &parts[0], other, e.ty))
            }
            ExprKind::Reduce { op: ReduceOp::Sum, indices, body } => {
                let form = self.form(body)?;
                Ok(form.bind(self.scope, FIELD, indices))
            }
            ExprKind::Reduce { op: ReduceOp::Mean, indices, body } => {
                let mut form = self.form(body)?.bind(self.scope, FIELD, indices);
                for i in indices {
                    let count = build::extent(&self.scope.layer.index(*i).extent.clone(), e.span);
                    let count = build::widen(count, e.ty);
                    form = form.map(|x| build::div(x, count.clone()));
                }
                Ok(form)
            }
            ExprKind::Call(function @ (Function::Re | Function::Im | Function::Conj), args) => {
                let form = self.form(&args[0])?;
                Ok(split(form, *function))
            }
            ExprKind::Call(Function::Max | Function::Min, args) if build::same(&args[0], &args[1]) => {
                self.form(&args[0])
            }
            ExprKind::Call(Function::Pow, args) if build::constant(&args[1]) == Some(1.0) => self.form(&args[0]),
            ExprKind::Call(Function::Pow, args) if build::constant(&args[1]) == Some(0.0) => {
                Ok(Form::free(build::number(1.0, e.ty, e.span)))
            }
            ExprKind::Call(function, args) => {
                if let (Function::Log, Scalar::Real, ExprKind::Call(Function::Exp, inner)) =
                    (function, e.ty, &args[0].kind)
                {
                    return self.form(&inner[0]);
                }
                for arg in args {
                    self.form(arg).map_err(|failure| match function {
                        Function::Log | Function::Log1p => Failure { belongs: Some(Algebra::LogSumExp), ..failure },
                        _ => failure,
                    })?;
                }
                let name = function.name();
                let belongs = match function {
                    Function::Max | Function::Relu | Function::Clamp => Some(Algebra::MaxPlus),
                    Function::Min => Some(Algebra::MinPlus),
                    Function::Softplus | Function::Log | Function::Log1p => Some(Algebra::LogSumExp),
                    _ => None,
                };
                let reason = format!("`{name}` of a value that depends on the state is not linear in it");
                Err(Failure { belongs, ..Failure::new(e.span, reason) })
            }
            ExprKind::Reduce { op, body, .. } => {
                self.form(body)?;
                fail(format!("`{}` of values that depend on the state is not linear in them", op.name()))
            }
            ExprKind::Normalise { at, body, .. } => {
                if !self.of.depends(at) {
                    self.form(body)?;
                }
                fail("a vector that depends on the state is normalised".to_owned())
            }
            ExprKind::Solve { row, column, at, matrix, right } => {
                if self.of.depends(at) {
                    return fail("the state says which element of a solution is read".to_owned());
                }
                if self.of.depends(matrix) {
                    return Err(Failure::new(matrix.span, "the matrix of `solve` depends on the state"));
                }
                let inverse = self.inverse(*row, *column, at, matrix, e.span);
                let form = self.form(right)?.scale(FIELD, &inverse);
                Ok(form.bind(self.scope, FIELD, &[*row]))
            }
            ExprKind::Unary(UnaryOp::Not, _) => fail("a truth value depends on the state".to_owned()),
            _ => fail("this depends on the state, and is not linear in it".to_owned()),
        }
    }

    /// The element of a matrix's inverse at `at` and `row`: the solution for a column of the identity.
    fn inverse(&mut self, row: IndexId, column: IndexId, at: &Expr, matrix: &Expr, span: crate::diag::Span) -> Expr {
        let (r, c) = (self.scope.fresh(row), self.scope.fresh(column));
        let map = [(row, build::index(r, span)), (column, build::index(c, span))];
        let matrix = Box::new(self.scope.substitute(matrix, &map));
        let at = Box::new(self.scope.substitute(at, &[]));
        let own = build::binary(BinaryOp::Eq, build::index(r, span), build::index(row, span));
        let right = Box::new(build::select(own, build::real(1.0, span), build::real(0.0, span)));
        build::expr(ExprKind::Solve { row: r, column: c, at, matrix, right }, Scalar::Real, span)
    }

    fn read(&mut self, value: ValueId, at: &[Expr], e: &Expr) -> Result<Form, Failure> {
        let declared = self.scope.layer.value(value);
        if let ValueKind::State(state) = declared.kind {
            return match declared.ty {
                Type::Real | Type::Complex => {
                    let atom = Atom { state, part: Part::Whole, complex: declared.ty == Type::Complex };
                    Ok(Form::atom(FIELD, atom, at.to_vec(), e.ty, e.span))
                }
                _ => Err(Failure::new(e.span, "the state is no real or complex number")),
            };
        }
        let form = self.forms.get(&value).expect("definitions stand in order").as_ref();
        let form = form.map_err(Failure::clone)?;
        self.budget.spend(self.scope, form, e.span)?;
        let equation = self.scope.layer.definition(value).expect("it is defined");
        let map: Vec<_> = equation.indices.iter().copied().zip(at.iter().cloned()).collect();
        Ok(form.instantiate(self.scope, &map))
    }

    fn binary(&mut self, op: BinaryOp, a: &Expr, b: &Expr, e: &Expr) -> Result<Form, Failure> {
        // What cancels may be anything.
        let zero = |e: &Expr| build::constant(e) == Some(0.0);
        let nothing = match op {
            BinaryOp::Sub => build::same(a, b),
            BinaryOp::Mul => zero(a) || zero(b),
            _ => false,
        };
        if nothing {
            return Ok(Form::default());
        }
        let x = self.form(a)?;
        let y = self.form(b)?;
        match op {
            BinaryOp::Add => Ok(x.plus(FIELD, y)),
            BinaryOp::Sub => Ok(x.plus(FIELD, y.map(build::neg))),
            BinaryOp::Mul => {
                let x = match x.into_free(FIELD, a.ty, a.span) {
                    Ok(x) => return Ok(y.scale(FIELD, &x)),
                    Err(x) => x,
                };
                match y.into_free(FIELD, b.ty, b.span) {
                    Ok(y) => Ok(x.scale(FIELD, &y)),
                    Err(_) => Err(Failure::new(e.span, "two values that depend on the state are multiplied")),
                }
            }
            BinaryOp::Div => match y.into_free(FIELD, b.ty, b.span) {
                Ok(y) => Ok(x.map(|e| build::div(e, y.clone()))),
                Err(_) => Err(Failure::new(e.span, "it divides by a value that depends on the state")),
            },
            op if op.is_comparison() => Err(Failure::new(e.span, "a comparison depends on the state")),
            BinaryOp::FloorDiv | BinaryOp::Mod => {
                Err(Failure::new(e.span, "a value that depends on the state is rounded"))
            }
            _ => Err(Failure::new(e.span, "a truth value depends on the state")),
        }
    }
}

/// The real part, the imaginary part or the conjugate of a form.
pub(crate) fn split(form: Form, function: Function) -> Form {
    let offset = form.offset.map(|e| build::part(function, e));
    let mut split = Form { terms: Vec::new(), offset };
    for term in form.terms {
        // c (x + i y) = c x + (i c) y
        for term in parts(term) {
            let coefficient = build::part(function, term.coefficient.clone());
            if !FIELD.is_zero(&coefficient) {
                let piece = Form { terms: vec![Term { coefficient, ..term }], offset: None };
                split = split.plus(FIELD, piece);
            }
        }
    }
    split
}

/// A term that reads real numbers only: a complex element by its parts.
fn parts(term: Term) -> Vec<Term> {
    if term.atom.part != Part::Whole || !term.atom.complex {
        return vec![term];
    }
    let unit = build::expr(ExprKind::Imaginary(1.0), Scalar::Complex, term.coefficient.span);
    let turned = build::mul(unit, term.coefficient.clone());
    let atom = |part| Atom { part, ..term.atom };
    vec![
        Term { atom: atom(Part::Re), ..term.clone() },
        Term { atom: atom(Part::Im), coefficient: turned, ..term.clone() },
    ]
}
