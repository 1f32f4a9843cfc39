//! The types of expressions from those of their operands: what [`super::verify`] checks and [`super::parse`]
//! infers.

use super::{BinaryOp, Expr, ExprKind, Function, NormaliseOp, ReduceOp, Scalar, UnaryOp, ValueId};

/// The type of an expression of that kind; of random numbers, which may be either, [`Scalar::Real`].
///
/// # Errors
/// What is wrong with the operands.
pub(super) fn type_of(kind: &ExprKind, of_value: impl Fn(ValueId) -> Option<Scalar>) -> Result<Scalar, String> {
    use Scalar::*;
    let read = |value: ValueId, at: &[Expr]| {
        all(at, Int, "an access")?;
        of_value(value).ok_or_else(|| format!("%{} is not defined before", value.0))
    };
    match kind {
        ExprKind::Int(_) | ExprKind::Dim(_) | ExprKind::Index(_) => Ok(Int),
        ExprKind::Real(_) => Ok(Real),
        ExprKind::Imaginary(_) => Ok(Complex),
        ExprKind::Bool(_) | ExprKind::First => Ok(Bool),
        ExprKind::Read { value, at } => read(*value, at),
        ExprKind::Past { delay, at, steps } => {
            one(steps, &[Int], "the steps of `past`")?;
            read(*delay, at)
        }
        ExprKind::Widen(e) => match e.ty {
            Int => Ok(Real),
            Real => Ok(Complex),
            other => Err(format!("{other:?} does not widen")),
        },
        ExprKind::Unary(UnaryOp::Neg, e) => one(e, &[Int, Real, Complex], "`-`"),
        ExprKind::Unary(UnaryOp::Not, e) => one(e, &[Bool], "`not`"),
        ExprKind::Binary(op, a, b) => {
            one(b, &[a.ty], "the right operand")?;
            let (allowed, what): (&[Scalar], _) = match op {
                BinaryOp::Or | BinaryOp::And => (&[Bool], "`or` and `and`"),
                BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => (&[Int, Real], "an order"),
                BinaryOp::Eq | BinaryOp::Ne => (&[Bool, Int, Real, Complex], "equality"),
                BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul => (&[Int, Real, Complex], "arithmetic"),
                BinaryOp::Div => (&[Real, Complex], "`/`"),
                BinaryOp::FloorDiv | BinaryOp::Mod => (&[Int, Real], "`//` and `%`"),
            };
            let operand = one(a, allowed, what)?;
            Ok(if op.is_comparison() { Bool } else { operand })
        }
        ExprKind::Powi(e, n) => {
            let allowed: &[Scalar] = if *n < 0 { &[Real, Complex] } else { &[Int, Real, Complex] };
            one(e, allowed, "a power")
        }
        ExprKind::Call(function, args) => call(*function, args),
        ExprKind::If(parts) => {
            one(&parts[0], &[Bool], "a condition")?;
            one(&parts[2], &[parts[1].ty], "the other branch")
        }
        ExprKind::Shift(parts, _) => {
            let [place, of, before] = &**parts;
            across(place, of)?;
            one(before, &[of.ty], "what stands before a shift")
        }
        ExprKind::Last(parts) => across(&parts[0], &parts[1]),
        ExprKind::Reduce { op, indices, body } => {
            if indices.is_empty() {
                return Err("a reduction binds an index".to_owned());
            }
            let (allowed, what): (&[Scalar], _) = match op {
                ReduceOp::Sum | ReduceOp::Prod => (&[Int, Real, Complex], "a sum or product"),
                ReduceOp::Max | ReduceOp::Min => (&[Bool, Int, Real], "a maximum or minimum"),
                ReduceOp::Mean => (&[Real, Complex], "a mean"),
                ReduceOp::LogSumExp => (&[Real], "`logsumexp`"),
                ReduceOp::ArgMax | ReduceOp::ArgMin => (&[Int, Real], "`argmax` and `argmin_index`"),
            };
            let body = one(body, allowed, what)?;
            Ok(if matches!(op, ReduceOp::ArgMax | ReduceOp::ArgMin) { Int } else { body })
        }
        ExprKind::Normalise { op, at, body, eps, .. } => {
            one(at, &[Int], "the place in a normalised vector")?;
            if eps.is_some() != (*op != NormaliseOp::Softmax) {
                return Err("all normalisations but `softmax` have an epsilon".to_owned());
            }
            if let Some(eps) = eps {
                one(eps, &[Real], "an epsilon")?;
            }
            one(body, &[Real], "a normalised vector")
        }
        ExprKind::Solve { at, matrix, right, .. } => {
            one(at, &[Int], "the place in a solution")?;
            one(matrix, &[Real], "the matrix of `solve`")?;
            one(right, &[Real], "the right side of `solve`")
        }
        ExprKind::Random(_, parameters) => all(&parameters[..], Real, "a distribution").map(|()| Real),
        ExprKind::HippoLegs(parts) => all(&parts[..], Int, "`hippo_legs`").map(|()| Real),
        ExprKind::HippoN(parts) => all(&parts[..], Int, "`hippo_n`").map(|()| Complex),
    }
}

fn one(e: &Expr, allowed: &[Scalar], what: &str) -> Result<Scalar, String> {
    if allowed.contains(&e.ty) { Ok(e.ty) } else { Err(format!("{what} takes {allowed:?}, not {:?}", e.ty)) }
}

fn across(place: &Expr, of: &Expr) -> Result<Scalar, String> {
    if !matches!(place.kind, ExprKind::Index(_)) {
        return Err("`shift` and `last` are along an index".to_owned());
    }
    one(of, &[Scalar::Real, Scalar::Complex], "`shift` and `last`")
}

fn all(operands: &[Expr], ty: Scalar, what: &str) -> Result<(), String> {
    operands.iter().try_for_each(|e| one(e, &[ty], what).map(|_| ()))
}

fn call(function: Function, args: &[Expr]) -> Result<Scalar, String> {
    let name = function.name();
    let arity = Function::NAMES.iter().find(|(f, ..)| *f == function).map(|(.., arity)| *arity);
    let Some(first) = args.first().filter(|_| arity == Some(args.len())) else {
        return Err(format!("`{name}` does not take {} arguments", args.len()));
    };
    all(args, first.ty, name)?;
    function.result(first.ty).ok_or_else(|| format!("`{name}` takes no {:?}", first.ty))
}
