//! Linear forms over the semirings, by structural induction.
//!
//! Max-plus and min-plus: a value is a form or its negative, since `-max(-h, -b)` is `min(h, b)`. Log-sum-exp: a value
//! is a form or its exponential, since `log(exp(h) + exp(b))` is one too. Booleans: `or` of `and`s.

use std::collections::HashMap;

use super::algebra::Algebra;
use super::build::{self, Scope};
use super::form::{Budget, Form};
use super::stability::nonnegative;
use super::{Atom, Dependence, Failure, Part, spelling};
use crate::ir::{
    BinaryOp, Equation, Expr, ExprKind, Function, ReduceOp, Scalar, StateId, Type, UnaryOp, ValueId, ValueKind,
};

/// How a value follows from its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Through {
    /// It is the form.
    Itself,
    /// It is the negative.
    Negative,
    /// It is the exponential.
    Exponential,
}

#[derive(Clone, Debug)]
enum Known {
    Free(Expr),
    Form(Through, Form),
    /// Over log-sum-exp: what follows so from the form after something has been subtracted from it that depends on the
    /// state in any way. It has to be added again: `m + log(exp(h - m) + exp(b - m))`.
    Shifted(Through, Form, Expr),
}

/// The forms of the values that depend on the group's states, over one semiring.
pub(super) struct Semiring<'a> {
    scope: &'a mut Scope,
    of: &'a Dependence,
    algebra: Algebra,
    forms: HashMap<ValueId, Result<Known, Failure>>,
    budget: Budget,
    /// How many more expressions may be looked at in another spelling.
    respellings: usize,
}

/// How many expressions are looked at in another spelling; each may lead to others.
const RESPELLINGS: usize = 200;

impl<'a> Semiring<'a> {
    /// Works out the forms of all values that the group's new states need.
    pub(super) fn new(scope: &'a mut Scope, of: &'a Dependence, algebra: Algebra) -> Self {
        let mut this =
            Self { scope, of, algebra, forms: HashMap::new(), budget: Budget::new(), respellings: RESPELLINGS };
        for &e in &of.equations {
            let equation = this.scope.layer.equations[e].clone();
            let known = this.known(&equation.body).and_then(|known| match known {
                Known::Form(through, form) => Ok(Known::Form(through, this.settled(form, &equation)?)),
                Known::Shifted(through, form, by) => Ok(Known::Shifted(through, this.settled(form, &equation)?, by)),
                free => Ok(free),
            });
            this.forms.insert(equation.value, known);
        }
        this
    }

    fn settled(&mut self, form: Form, equation: &Equation) -> Result<Form, Failure> {
        let form = form.settle(self.scope, self.algebra).share(self.scope, self.algebra, &equation.indices);
        form.check_size(equation.span)
    }

    /// The new value of a state.
    pub(super) fn next(&self, state: StateId) -> ValueId {
        self.scope.layer.states[state.at()].next
    }

    /// The form of a new state, at the indices of its equation; to be taken once.
    pub(super) fn take(&mut self, value: ValueId) -> Option<Result<Form, Failure>> {
        let span = self.scope.layer.value(value).span;
        Some(self.forms.remove(&value)?.and_then(|known| match known {
            Known::Free(e) => Ok(Form::free(e)),
            Known::Form(Through::Itself, form) => Ok(form),
            Known::Form(Through::Negative, _) => Err(Failure::new(span, "the state enters with a negative sign")),
            Known::Form(Through::Exponential, _) => Err(Failure::new(span, "the exponential of the state is kept")),
            Known::Shifted(..) => Err(Failure::new(span, "two values that depend on the state are subtracted")),
        }))
    }

    fn known(&mut self, e: &Expr) -> Result<Known, Failure> {
        if !self.of.depends(e) {
            return Ok(Known::Free(e.clone()));
        }
        let sum = matches!(
            e.kind,
            ExprKind::Binary(BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div, ..) | ExprKind::Call(..)
        );
        let plain = self.plain(e);
        if plain.is_ok() || !sum || self.algebra == Algebra::Bool || self.respellings == 0 {
            return plain;
        }
        // Otherwise written it may have a form. Each attempt may go on with others.
        self.respellings -= 1;
        match spelling::drawn_in(self.scope, self.of, e) {
            Some(other) => self.known(&other).or(plain),
            None => plain,
        }
    }

    /// What is known of an expression as it stands.
    fn plain(&mut self, e: &Expr) -> Result<Known, Failure> {
        if let Some((a, b)) = log_add_exp(e)
            && self.algebra == Algebra::LogSumExp
        {
            let (a, b) = (self.known(a)?, self.known(b)?);
            return self.sum_of(a, b, Through::Itself, e);
        }
        match &e.kind {
            ExprKind::Read { value, at } => {
                if at.iter().any(|at| self.of.depends(at)) {
                    return Err(Failure::new(e.span, "the state says which element is read"));
                }
                self.read(*value, at, e)
            }
            ExprKind::Unary(UnaryOp::Neg, a) => match self.known(a)? {
                Known::Form(through, form) if self.tropical() => Ok(Known::Form(flip(through), form)),
                _ => Err(self.fail(e, "the state enters with a negative sign")),
            },
            ExprKind::Binary(op, a, b) => self.binary(*op, a, b, e),
            ExprKind::If(parts) => self.choice(parts, e),
            ExprKind::Call(function, args) => self.call(*function, args, e),
            ExprKind::Reduce { op, indices, body } => {
                let known = self.known(body)?;
                match known {
                    Known::Form(through, form) if self.sums(*op, through) => {
                        return Ok(Known::Form(through, form.bind(self.scope, self.algebra, indices)));
                    }
                    Known::Shifted(through, form, by)
                        if self.sums(*op, through) && !indices.iter().any(|&i| build::mentions(&by, i)) =>
                    {
                        return Ok(Known::Shifted(through, form.bind(self.scope, self.algebra, indices), by));
                    }
                    _ => {}
                }
                Err(self.fail(e, &format!("`{}` does not add in this algebra", op.name())))
            }
            _ => Err(self.fail(e, "this depends on the state")),
        }
    }

    fn fail(&self, e: &Expr, what: &str) -> Failure {
        let name = match self.algebra {
            Algebra::MaxPlus => "max-plus",
            Algebra::MinPlus => "min-plus",
            Algebra::LogSumExp => "log-sum-exp",
            _ => "boolean",
        };
        Failure::new(e.span, format!("{what}: it is not linear over the {name} semiring"))
    }

    fn tropical(&self) -> bool {
        matches!(self.algebra, Algebra::MaxPlus | Algebra::MinPlus)
    }

    /// Whether the reduction adds values that follow so from their forms.
    fn sums(&self, op: ReduceOp, through: Through) -> bool {
        matches!(
            (self.algebra, op, through),
            (Algebra::MaxPlus, ReduceOp::Max, Through::Itself)
                | (Algebra::MaxPlus, ReduceOp::Min, Through::Negative)
                | (Algebra::MinPlus, ReduceOp::Min, Through::Itself)
                | (Algebra::MinPlus, ReduceOp::Max, Through::Negative)
                | (Algebra::LogSumExp, ReduceOp::LogSumExp, Through::Itself)
                | (Algebra::LogSumExp, ReduceOp::Sum, Through::Exponential)
                | (Algebra::Bool, ReduceOp::Max, Through::Itself)
        )
    }

    fn read(&mut self, value: ValueId, at: &[Expr], e: &Expr) -> Result<Known, Failure> {
        let declared = self.scope.layer.value(value);
        if let ValueKind::State(state) = declared.kind {
            let wanted = if self.algebra == Algebra::Bool { Type::Bool } else { Type::Real };
            if declared.ty != wanted {
                return Err(self.fail(e, "the state has another type"));
            }
            let atom = Atom { state, part: Part::Whole, complex: false };
            let form = Form::atom(self.algebra, atom, at.to_vec(), e.ty, e.span);
            return Ok(Known::Form(Through::Itself, form));
        }
        let known = self.forms.get(&value).expect("definitions stand in order").as_ref();
        let known = known.map_err(Failure::clone)?;
        if let Known::Form(_, form) | Known::Shifted(_, form, _) = known {
            self.budget.spend(self.scope, form, e.span)?;
        }
        let equation = self.scope.layer.definition(value).expect("it is defined");
        let map: Vec<_> = equation.indices.iter().copied().zip(at.iter().cloned()).collect();
        Ok(match known {
            Known::Free(e) => Known::Free(self.scope.substitute(e, &map)),
            Known::Form(through, form) => Known::Form(*through, form.instantiate(self.scope, &map)),
            Known::Shifted(through, form, by) => {
                Known::Shifted(*through, form.instantiate(self.scope, &map), self.scope.substitute(by, &map))
            }
        })
    }

    /// The form of an operand that has to follow so from it.
    fn operand(&mut self, known: Known, through: Through, e: &Expr) -> Result<Form, Failure> {
        match known {
            Known::Form(found, form) if found == through => Ok(form),
            Known::Form(..) | Known::Shifted(..) => {
                Err(self.fail(e, "the state enters with both signs, or in and out of an exponential"))
            }
            Known::Free(free) => match through {
                Through::Itself => Ok(Form::free(free)),
                Through::Negative => Ok(Form::free(build::neg(free))),
                Through::Exponential => Ok(Form::free(self.logarithm(free, e)?)),
            },
        }
    }

    /// The logarithm of something free that is shown not to be negative.
    fn logarithm(&self, free: Expr, e: &Expr) -> Result<Expr, Failure> {
        if let ExprKind::Call(Function::Exp, args) = &free.kind {
            return Ok(args[0].clone());
        }
        if !nonnegative(&self.scope.layer, &free) {
            return Err(self.fail(e, "it may add or multiply by a negative number"));
        }
        Ok(match build::constant(&free) {
            Some(x) => build::real(x.ln(), free.span),
            None => build::call(Function::Log, vec![free]),
        })
    }

    fn sum_of(&mut self, a: Known, b: Known, through: Through, e: &Expr) -> Result<Known, Failure> {
        let x = self.operand(a, through, e)?;
        let y = self.operand(b, through, e)?;
        Ok(Known::Form(through, x.plus(self.algebra, y)))
    }

    /// The operands' values, or the result where one of them may be anything that depends on the state: a difference to
    /// it, and the sum that undoes that. Each operand is looked at once.
    fn operands(&mut self, op: BinaryOp, a: &Expr, b: &Expr) -> Result<Result<Known, (Known, Known)>, Failure> {
        let x = self.known(a);
        let open = self.algebra == Algebra::LogSumExp && self.of.depends(b);
        if open && op == BinaryOp::Sub {
            match x? {
                Known::Form(Through::Itself, form) => return Ok(Ok(Known::Shifted(Through::Itself, form, b.clone()))),
                Known::Free(free) => {
                    return Ok(Ok(Known::Shifted(Through::Itself, Form::free(free), b.clone())));
                }
                x => return Ok(Err((x, self.known(b)?))),
            }
        }
        let y = self.known(b);
        if op == BinaryOp::Add {
            for (one, other) in [(&x, b), (&y, a)] {
                if let Ok(Known::Shifted(Through::Itself, form, by)) = one
                    && build::same(by, other)
                {
                    return Ok(Ok(Known::Form(Through::Itself, form.clone())));
                }
            }
        }
        Ok(Err((x?, y?)))
    }

    fn binary(&mut self, op: BinaryOp, a: &Expr, b: &Expr, e: &Expr) -> Result<Known, Failure> {
        let (x, y) = match self.operands(op, a, b)? {
            Ok(known) => return Ok(known),
            Err(operands) => operands,
        };
        if self.algebra == Algebra::Bool {
            return match op {
                BinaryOp::Or => self.sum_of(x, y, Through::Itself, e),
                BinaryOp::And => match (x, y) {
                    (Known::Free(by), Known::Form(through, form)) | (Known::Form(through, form), Known::Free(by)) => {
                        Ok(Known::Form(through, form.scale(self.algebra, &by)))
                    }
                    _ => Err(self.fail(e, "two values that depend on the state meet in `and`")),
                },
                _ => Err(self.fail(e, "a comparison depends on the state")),
            };
        }
        match (op, x, y) {
            (
                BinaryOp::Add,
                Known::Shifted(Through::Exponential, form, by),
                Known::Shifted(Through::Exponential, other, too),
            ) if build::same(&by, &too) => Ok(Known::Shifted(Through::Exponential, form.plus(self.algebra, other), by)),
            (BinaryOp::Mul, Known::Shifted(Through::Exponential, form, by), Known::Free(factor))
            | (BinaryOp::Mul, Known::Free(factor), Known::Shifted(Through::Exponential, form, by)) => {
                let factor = self.logarithm(factor, e)?;
                Ok(Known::Shifted(Through::Exponential, form.scale(self.algebra, &factor), by))
            }
            (BinaryOp::Add, Known::Form(Through::Exponential, form), other)
            | (BinaryOp::Add, other, Known::Form(Through::Exponential, form)) => {
                let other = self.operand(other, Through::Exponential, e)?;
                Ok(Known::Form(Through::Exponential, form.plus(self.algebra, other)))
            }
            (BinaryOp::Mul, Known::Form(Through::Exponential, form), Known::Free(by))
            | (BinaryOp::Mul, Known::Free(by), Known::Form(Through::Exponential, form)) => {
                let by = self.logarithm(by, e)?;
                Ok(Known::Form(Through::Exponential, form.scale(self.algebra, &by)))
            }
            (BinaryOp::Div, Known::Form(Through::Exponential, form), Known::Free(by)) => {
                let by = build::neg(self.logarithm(by, e)?);
                Ok(Known::Form(Through::Exponential, form.scale(self.algebra, &by)))
            }
            (BinaryOp::Add, Known::Form(through, form), Known::Free(by))
            | (BinaryOp::Add, Known::Free(by), Known::Form(through, form)) => Ok(self.shift(through, form, by)),
            (BinaryOp::Sub, Known::Form(through, form), Known::Free(by)) if through != Through::Exponential => {
                Ok(self.shift(through, form, build::neg(by)))
            }
            (BinaryOp::Sub, Known::Free(by), Known::Form(through, form)) if self.tropical() => {
                Ok(self.shift(flip(through), form, by))
            }
            (BinaryOp::Add | BinaryOp::Sub, ..) => Err(self.fail(e, "two values that depend on the state are added")),
            (BinaryOp::Mul | BinaryOp::Div, ..) => Err(self.fail(e, "a value that depends on the state is scaled")),
            _ => Err(self.fail(e, "this depends on the state")),
        }
    }

    fn shift(&self, through: Through, form: Form, by: Expr) -> Known {
        // -(f) + by = -(f - by)
        let by = if through == Through::Negative { build::neg(by) } else { by };
        Known::Form(through, form.scale(self.algebra, &by))
    }

    fn choice(&mut self, parts: &[Expr; 3], e: &Expr) -> Result<Known, Failure> {
        let [condition, then, other] = parts;
        if self.of.depends(condition) {
            if self.algebra == Algebra::Bool {
                // `if h then x else false` is `h and x`, `if h then true else x` is `h or x`.
                if matches!(other.kind, ExprKind::Bool(false)) {
                    return self.binary(BinaryOp::And, condition, then, e);
                }
                if matches!(then.kind, ExprKind::Bool(true)) {
                    return self.binary(BinaryOp::Or, condition, other, e);
                }
            }
            if self.tropical()
                && let Some(adds) = spelling::chosen(self.scope, self.of, parts)
            {
                return self.known(&adds.of(then.clone(), other.clone()));
            }
            return Err(Failure::new(condition.span, "the condition depends on the state"));
        }
        let (x, y) = (self.known(then)?, self.known(other)?);
        let through = match (&x, &y) {
            (Known::Form(through, _), _) | (_, Known::Form(through, _)) => *through,
            _ => Through::Itself,
        };
        let x = self.operand(x, through, then)?;
        let y = self.operand(y, through, other)?;
        let ty = if self.algebra == Algebra::Bool { Scalar::Bool } else { Scalar::Real };
        Ok(Known::Form(through, x.guard(self.algebra, condition, y, ty)))
    }

    fn call(&mut self, function: Function, args: &[Expr], e: &Expr) -> Result<Known, Failure> {
        if let (Function::Min, Algebra::Bool, [a, b]) = (function, self.algebra, args) {
            return self.binary(BinaryOp::And, a, b, e);
        }
        let adds = match function {
            Function::Max => Some(ReduceOp::Max),
            Function::Min => Some(ReduceOp::Min),
            _ => None,
        };
        if let (Some(op), [a, b]) = (adds, args) {
            let (x, y) = (self.known(a)?, self.known(b)?);
            let through = match (&x, &y) {
                (Known::Form(through, _), _) | (_, Known::Form(through, _)) => *through,
                _ => Through::Itself,
            };
            if self.sums(op, through) {
                return self.sum_of(x, y, through, e);
            }
            return Err(self.fail(e, &format!("`{}` of a value that depends on the state", function.name())));
        }
        if args.len() == 1 {
            let known = self.known(&args[0])?;
            let (algebra, lse) = (self.algebra, self.algebra == Algebra::LogSumExp);
            match (function, known) {
                (Function::Relu, Known::Form(through, form)) if self.sums(ReduceOp::Max, through) => {
                    let zero = Form::free(build::real(0.0, e.span));
                    return Ok(Known::Form(through, form.plus(algebra, zero)));
                }
                (Function::Softplus, Known::Form(Through::Itself, form)) if lse => {
                    let zero = Form::free(build::real(0.0, e.span));
                    return Ok(Known::Form(Through::Itself, form.plus(algebra, zero)));
                }
                (Function::Exp, Known::Form(Through::Itself, form)) if lse => {
                    return Ok(Known::Form(Through::Exponential, form));
                }
                (Function::Exp, Known::Shifted(Through::Itself, form, by)) => {
                    return Ok(Known::Shifted(Through::Exponential, form, by));
                }
                (Function::Log, Known::Shifted(Through::Exponential, form, by)) => {
                    return Ok(Known::Shifted(Through::Itself, form, by));
                }
                (Function::Log, Known::Form(Through::Exponential, form)) if lse => {
                    return Ok(Known::Form(Through::Itself, form));
                }
                (Function::Log1p, Known::Form(Through::Exponential, form)) if lse => {
                    let one = Form::free(build::real(0.0, e.span));
                    return Ok(Known::Form(Through::Itself, form.plus(algebra, one)));
                }
                _ => {}
            }
        } else {
            for arg in args {
                self.known(arg)?;
            }
        }
        Err(self.fail(e, &format!("`{}` of a value that depends on the state", function.name())))
    }
}

fn flip(through: Through) -> Through {
    match through {
        Through::Itself => Through::Negative,
        Through::Negative => Through::Itself,
        Through::Exponential => Through::Exponential,
    }
}

/// The operands of `max(a, b) + log1p(exp(-abs(a - b)))`.
fn log_add_exp(e: &Expr) -> Option<(&Expr, &Expr)> {
    let ExprKind::Binary(BinaryOp::Add, x, y) = &e.kind else { return None };
    [(x, y), (y, x)].into_iter().find_map(|(most, tail)| {
        let ExprKind::Call(Function::Max, of) = &most.kind else { return None };
        let ExprKind::Call(Function::Log1p, tail) = &tail.kind else { return None };
        let ExprKind::Call(Function::Exp, tail) = &tail[0].kind else { return None };
        let ExprKind::Unary(UnaryOp::Neg, tail) = &tail[0].kind else { return None };
        let ExprKind::Call(Function::Abs, tail) = &tail.kind else { return None };
        let ExprKind::Binary(BinaryOp::Sub, a, b) = &tail[0].kind else { return None };
        let straight = build::same(a, &of[0]) && build::same(b, &of[1]);
        let crossed = build::same(a, &of[1]) && build::same(b, &of[0]);
        (straight || crossed).then_some((&of[0], &of[1]))
    })
}
