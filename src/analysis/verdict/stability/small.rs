//! Transitions of a few numbers: states without mixed indices that are coupled, and mixed indices of literal extents.
//!
//! The matrix is written out, element by element. For two numbers, a rotation and a reflection have one singular value;
//! where all elements are numbers, powers of the matrix decide: a norm of one below 1 shows that the spectral radius is below
//! 1, a trace above the size that it is above 1. Both count the rounding of the powers.

use super::super::build;
use super::super::classify::Component;
use super::interval;
use super::symbols::{Atom, Monomial, Poly, Symbols, add, negate};
use super::{Answer, Stability};
use crate::diag::Span;
use crate::ir::{BinaryOp, Expr, ExprKind, Extent, Function, IndexId, Scalar, UnaryOp};

/// The largest matrix that is written out.
const MAX_SIZE: usize = 8;

/// How often a matrix of numbers is squared.
const SQUARINGS: u32 = 24;

/// Decides for a matrix that can be written out.
pub(super) fn judge(symbols: &mut Symbols<'_>, components: &[Component], time_invariant: bool) -> Option<Answer> {
    let matrix = matrix(symbols, components)?;
    let n = matrix.len();
    let elements: Vec<Vec<Poly>> = matrix.iter().map(|row| row.iter().map(|e| symbols.expand(e)).collect()).collect();
    let bounds: Vec<Vec<(f64, f64)>> =
        elements.iter().map(|row| row.iter().map(|p| symbols.bounds(p)).collect()).collect();
    let number = |(low, high): &(f64, f64)| (low == high).then_some(*low);
    let turned = if n == 2 { pair(symbols, &elements) } else { None };
    if let Some(answer) = turned.as_ref().filter(|answer| !matches!(answer.stability, Stability::Unknown(_))) {
        return Some(answer.clone());
    }
    if let Some(numbers) = bounds.iter().map(|row| row.iter().map(number).collect()).collect::<Option<Vec<Vec<f64>>>>()
    {
        return Some(of_numbers(&numbers));
    }
    if turned.is_some() {
        return turned;
    }
    let size = |(low, high): &(f64, f64)| low.abs().max(high.abs());
    let rows = bounds.iter().map(|row| row.iter().map(size).sum::<f64>()).fold(0.0, f64::max);
    let columns = (0..n).map(|j| bounds.iter().map(|row| size(&row[j])).sum::<f64>()).fold(0.0, f64::max);
    if rows <= 1.0 {
        return Some(Answer::rows());
    }
    if columns <= 1.0 {
        return Some(Answer::columns());
    }
    if let Some(answer) = triangular(symbols, &elements, &bounds, time_invariant) {
        return Some(answer);
    }
    if let Some(determinant) = determinant(symbols, &elements) {
        let (low, high) = symbols.bounds(&determinant);
        if low > 1.0 || high < -1.0 {
            let text = symbols.text(&determinant);
            return Some(Answer::new(Stability::Never(format!(
                "the determinant of the {n} by {n} transition, `{text}`, is above 1 in magnitude, so an eigenvalue is"
            ))));
        }
        if n == 2 && time_invariant {
            return jury(symbols, &elements, &determinant);
        }
    }
    None
}

/// The elements, row by row.
fn matrix(symbols: &mut Symbols<'_>, components: &[Component]) -> Option<Vec<Vec<Expr>>> {
    let extent = |symbols: &Symbols<'_>, i: IndexId| match &symbols.scope.layer.index(i).extent {
        Extent::Lit(n) => usize::try_from(*n).ok().filter(|n| *n <= MAX_SIZE),
        _ => None,
    };
    if components.iter().any(|c| c.ty != Scalar::Real) {
        return None;
    }
    // The places: a component, and the values of its mixed indices.
    let mut places: Vec<(usize, Vec<(IndexId, i64)>)> = Vec::new();
    for (c, component) in components.iter().enumerate() {
        let mut own: Vec<Vec<(IndexId, i64)>> = vec![Vec::new()];
        for (axis, &i) in component.axes.iter().zip(&component.indices) {
            if axis.is_none() {
                let n = extent(symbols, i)? as i64;
                let further = |at: &Vec<(IndexId, i64)>| {
                    (0..n).map(|x| at.iter().copied().chain([(i, x)]).collect::<Vec<_>>()).collect::<Vec<_>>()
                };
                own = own.iter().flat_map(further).collect();
                if own.len() > MAX_SIZE {
                    return None;
                }
            }
        }
        places.extend(own.into_iter().map(|at| (c, at)));
    }
    let n = places.len();
    if n > MAX_SIZE {
        return None;
    }
    let zero = build::real(0.0, Span::default());
    let mut matrix = vec![vec![zero; n]; n];
    for (r, (c, at)) in places.iter().enumerate() {
        for term in &components[*c].form.terms {
            let mut values: Vec<Vec<(IndexId, i64)>> = vec![at.clone()];
            for &i in &term.bound {
                let n = extent(symbols, i)? as i64;
                let further = |at: &Vec<(IndexId, i64)>| {
                    (0..n).map(|x| at.iter().copied().chain([(i, x)]).collect::<Vec<_>>()).collect::<Vec<_>>()
                };
                values = values.iter().flat_map(further).collect();
                if values.len() > MAX_SIZE * MAX_SIZE {
                    return None;
                }
            }
            let other = components.iter().position(|o| o.atom == term.atom)?;
            for value in values {
                if !symbols.spend() {
                    return None;
                }
                let map: Vec<(IndexId, Expr)> =
                    value.iter().map(|&(i, x)| (i, build::int(x, Span::default()))).collect();
                // A guard that is known not to hold leaves nothing; its access may be outside.
                let mut weight = symbols.scope.substitute(&term.coefficient, &map);
                let mut nothing = false;
                for guard in &term.guards {
                    let guard = symbols.scope.substitute(guard, &map);
                    match truth(&guard) {
                        Some(true) => {}
                        Some(false) => nothing = true,
                        None => weight = build::select(guard, weight, build::real(0.0, Span::default())),
                    }
                }
                if nothing {
                    continue;
                }
                let mut read = Vec::new();
                for (axis, (at, &i)) in
                    components[other].axes.iter().zip(term.at.iter().zip(&components[other].indices))
                {
                    if axis.is_none() {
                        let at = symbols.scope.substitute(at, &map);
                        read.push((i, integer(&at)?));
                    }
                }
                let column = places.iter().position(|(o, place)| *o == other && *place == read)?;
                // Batch indices have one name in all rows.
                let names: Vec<(IndexId, Expr)> = components[*c]
                    .axes
                    .iter()
                    .zip(&components[*c].indices)
                    .filter_map(|(axis, &i)| {
                        let at = components[0].axes.iter().position(|a| a == axis && axis.is_some())?;
                        Some((i, build::index(components[0].indices[at], Span::default())))
                    })
                    .collect();
                let weight = symbols.scope.substitute(&weight, &names);
                let old = std::mem::replace(&mut matrix[r][column], build::real(0.0, Span::default()));
                matrix[r][column] = build::add(old, weight);
            }
        }
    }
    Some(matrix)
}

/// An integer without indices or dimensions.
fn integer(e: &Expr) -> Option<i64> {
    match &e.kind {
        ExprKind::Int(n) => Some(*n),
        ExprKind::Unary(UnaryOp::Neg, a) => integer(a)?.checked_neg(),
        ExprKind::Binary(op, a, b) => {
            let (a, b) = (integer(a)?, integer(b)?);
            match op {
                BinaryOp::Add => a.checked_add(b),
                BinaryOp::Sub => a.checked_sub(b),
                BinaryOp::Mul => a.checked_mul(b),
                BinaryOp::FloorDiv if b > 0 => Some(a.div_euclid(b)),
                BinaryOp::Mod if b > 0 => Some(a.rem_euclid(b)),
                _ => None,
            }
        }
        ExprKind::Call(Function::Min, args) => Some(integer(&args[0])?.min(integer(&args[1])?)),
        ExprKind::Call(Function::Max, args) => Some(integer(&args[0])?.max(integer(&args[1])?)),
        ExprKind::If(parts) => integer(if truth(&parts[0])? { &parts[1] } else { &parts[2] }),
        _ => None,
    }
}

/// A condition on such integers.
fn truth(e: &Expr) -> Option<bool> {
    match &e.kind {
        ExprKind::Bool(b) => Some(*b),
        ExprKind::Unary(UnaryOp::Not, a) => truth(a).map(|b| !b),
        ExprKind::Binary(BinaryOp::And, a, b) => match (truth(a), truth(b)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (a, b) => Some(a? && b?),
        },
        ExprKind::Binary(BinaryOp::Or, a, b) => match (truth(a), truth(b)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (a, b) => Some(a? || b?),
        },
        ExprKind::Binary(op, a, b) if op.is_comparison() && a.ty == Scalar::Int => {
            let (a, b) = (integer(a)?, integer(b)?);
            Some(match op {
                BinaryOp::Lt => a < b,
                BinaryOp::Le => a <= b,
                BinaryOp::Gt => a > b,
                BinaryOp::Ge => a >= b,
                BinaryOp::Eq => a == b,
                _ => a != b,
            })
        }
        _ => None,
    }
}

/// A multiple of a rotation or a reflection.
fn pair(symbols: &mut Symbols<'_>, m: &[Vec<Poly>]) -> Option<Answer> {
    let alike = |a: &Poly, b: &Poly| add(a.clone(), negate(b.clone())).is_empty();
    let opposite = |a: &Poly, b: &Poly| add(a.clone(), b.clone()).is_empty();
    let rotation = alike(&m[0][0], &m[1][1]) && opposite(&m[0][1], &m[1][0]);
    let reflection = opposite(&m[0][0], &m[1][1]) && alike(&m[0][1], &m[1][0]);
    if !rotation && !reflection {
        return None;
    }
    let kind = if rotation { "rotation" } else { "reflection" };
    let (low, high, text) = radius(symbols, &m[0][0], &m[0][1]);
    if (low, high) == (1.0, 1.0) {
        return Some(Answer::euclidean(format!("the transition is a {kind} of two numbers: its 2-norm is 1")));
    }
    Some(match (low, high) {
        (_, high) if high <= 1.0 => Answer::euclidean(format!(
            "the transition is a {kind} of two numbers times {text}, which is at most 1 in magnitude: its 2-norm is at most 1"
        )),
        (low, _) if low > 1.0 => Answer::new(Stability::Never(format!(
            "the transition is a {kind} of two numbers times {text}, which is above 1 in magnitude"
        ))),
        _ => Answer::new(Stability::Unknown(format!(
            "the transition is a {kind} of two numbers times {text}, which nothing bounds by 1"
        ))),
    })
}

/// Bounds of `sqrt(x^2 + y^2)`, and what it is.
fn radius(symbols: &mut Symbols<'_>, x: &Poly, y: &Poly) -> (f64, f64, String) {
    if let ([x], [y]) = (&x[..], &y[..]) {
        for (cos, sin) in [(x, y), (y, x)] {
            for &(c, _) in cos.factors.iter().filter(|(_, e)| *e == 1.0) {
                for &(s, _) in sin.factors.iter().filter(|(_, e)| *e == 1.0) {
                    let Some(size) = of_one(symbols, c, s) else { continue };
                    let without = |m: &Monomial, atom: usize| {
                        let factors = m.factors.iter().filter(|(a, _)| *a != atom).copied().collect();
                        Monomial { coefficient: m.coefficient.abs(), factors }
                    };
                    let (rest, other) = (without(cos, c), without(sin, s));
                    if rest != other {
                        continue;
                    }
                    let rest_bounds = symbols.bounds(&vec![rest.clone()]);
                    let rest_size = interval::absolute(rest_bounds);
                    let (low, high) = interval::times(rest_size, size);
                    let mut text = format!("`{}`", symbols.text(&vec![rest]));
                    if size != (1.0, 1.0) {
                        text = format!("{text} and a modulus in [{}, {}]", size.0, size.1);
                    }
                    return (low, high, text);
                }
            }
        }
    }
    let square = |symbols: &mut Symbols<'_>, p: &Poly| {
        let size = interval::absolute(symbols.bounds(p));
        (size.0 * size.0, size.1 * size.1)
    };
    let (a, b) = (square(symbols, x), square(symbols, y));
    let text = format!("the root of `{}` squared plus `{}` squared", symbols.text(x), symbols.text(y));
    ((a.0 + b.0).sqrt(), (a.1 + b.1).sqrt(), text)
}

/// Bounds of the root of the squares of two atoms that are the two parts of one number: cosine and sine, or real and
/// imaginary part.
fn of_one(symbols: &Symbols<'_>, c: usize, s: usize) -> Option<(f64, f64)> {
    let (Atom::Of(c), Atom::Of(s)) = (&symbols.atoms[c], &symbols.atoms[s]) else { return None };
    let (ExprKind::Call(f, x), ExprKind::Call(g, y)) = (&c.kind, &s.kind) else { return None };
    if !build::same(&x[0], &y[0]) {
        return None;
    }
    match (f, g) {
        (Function::Cos, Function::Sin) if x[0].ty == Scalar::Real => Some((1.0, 1.0)),
        (Function::Re, Function::Im) => Some(interval::size(&symbols.scope.layer, &x[0])),
        _ => None,
    }
}

/// Eigenvalues on the diagonal.
fn triangular(
    symbols: &Symbols<'_>,
    m: &[Vec<Poly>],
    bounds: &[Vec<(f64, f64)>],
    time_invariant: bool,
) -> Option<Answer> {
    let n = m.len();
    let empty = |keep: fn(usize, usize) -> bool| (0..n).all(|i| (0..n).all(|j| !keep(i, j) || m[i][j].is_empty()));
    if !empty(|i, j| j > i) && !empty(|i, j| j < i) {
        return None;
    }
    for i in 0..n {
        let (low, high) = bounds[i][i];
        if low > 1.0 || high < -1.0 {
            let text = symbols.text(&m[i][i]);
            return Some(Answer::new(Stability::Never(format!(
                "the {n} by {n} transition is triangular, and its eigenvalue `{text}` on the diagonal is above 1 in magnitude"
            ))));
        }
    }
    if time_invariant && (0..n).all(|i| bounds[i][i].0 > -1.0 && bounds[i][i].1 < 1.0) {
        return Some(Answer::new(Stability::Always(format!(
            "the {n} by {n} transition is triangular, and its eigenvalues, which are its diagonal, lie inside of (-1, 1): the \
             spectral radius is below 1, and all its powers are bounded"
        ))));
    }
    None
}

/// The determinant of up to three rows.
fn determinant(symbols: &mut Symbols<'_>, m: &[Vec<Poly>]) -> Option<Poly> {
    let mut two = |a: (usize, usize), b: (usize, usize), c: (usize, usize), d: (usize, usize)| {
        let x = symbols.multiply(&m[a.0][a.1], &m[d.0][d.1]);
        let y = symbols.multiply(&m[b.0][b.1], &m[c.0][c.1]);
        add(x, negate(y))
    };
    match m.len() {
        2 => Some(two((0, 0), (0, 1), (1, 0), (1, 1))),
        3 => {
            let minors = [
                two((1, 1), (1, 2), (2, 1), (2, 2)),
                two((1, 0), (1, 2), (2, 0), (2, 2)),
                two((1, 0), (1, 1), (2, 0), (2, 1)),
            ];
            let mut sum = Poly::new();
            for (j, minor) in minors.iter().enumerate() {
                let product = symbols.multiply(&m[0][j], minor);
                sum = add(sum, if j == 1 { negate(product) } else { product });
            }
            Some(sum)
        }
        _ => None,
    }
}

/// The criterion of Jury for two rows that are the same at all steps: `|det| < 1` and `|trace| < 1 + det`.
fn jury(symbols: &mut Symbols<'_>, m: &[Vec<Poly>], determinant: &Poly) -> Option<Answer> {
    let one = vec![Monomial::number(1.0)];
    let trace = add(m[0][0].clone(), m[1][1].clone());
    let ahead = add(one.clone(), determinant.clone());
    let conditions =
        [add(one, negate(determinant.clone())), add(ahead.clone(), trace.clone()), add(ahead, negate(trace.clone()))];
    if !conditions.iter().all(|c| symbols.bounds(c).0 > 0.0) {
        return None;
    }
    let (trace, determinant) = (symbols.text(&trace), symbols.text(determinant));
    Some(Answer::new(Stability::Always(format!(
        "the 2 by 2 transition is the same at every step, with trace `{trace}` and determinant `{determinant}`; by Jury's \
         criterion, |det| < 1 and |trace| < 1 + det, the spectral radius is below 1, and all its powers are bounded"
    ))))
}

/// The product of two matrices.
fn product(a: &[Vec<f64>], b: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let n = a.len();
    let element = |i: usize, j: usize| (0..n).map(|k| a[i][k] * b[k][j]).sum();
    (0..n).map(|i| (0..n).map(|j| element(i, j)).collect()).collect()
}

/// Decides for numbers by powers of the matrix.
fn of_numbers(m: &[Vec<f64>]) -> Answer {
    let n = m.len();
    let norm = |m: &[Vec<f64>]| m.iter().map(|row| row.iter().map(|x| x.abs()).sum::<f64>()).fold(0.0, f64::max);
    let largest = norm(m);
    let columns = (0..n).map(|j| m.iter().map(|row| row[j].abs()).sum::<f64>()).fold(0.0, f64::max);
    if largest <= 1.0 {
        return Answer::rows();
    }
    if columns <= 1.0 {
        return Answer::columns();
    }
    // How far the computed power is off, in the same norm.
    let (mut power, mut exponent, mut error) = (m.to_vec(), 1u64, 4.0 * n as f64 * f64::EPSILON * largest);
    for _ in 0..=SQUARINGS {
        let size = norm(&power);
        if !size.is_finite() || size > 1e100 {
            break;
        }
        if size + error < 1.0 {
            return Answer::new(Stability::Always(format!(
                "the {n} by {n} transition is the same at every step, and the row sums of its power {exponent} are below 1: the \
                 spectral radius is below 1, and all its powers are bounded"
            )));
        }
        // Eigenvalues on a circle may cancel in the trace of one power, but not of as many in a row as there are.
        let (mut further, mut off) = (power.clone(), error);
        for more in 0..n as u64 {
            let trace: f64 = (0..n).map(|i| further[i][i]).sum();
            if trace.abs() - n as f64 * off > 1.000_001 * n as f64 {
                let exponent = exponent + more;
                return Answer::new(Stability::Never(format!(
                    "the {n} by {n} transition is the same at every step, and the trace of its power {exponent} is above {n} in \
                     magnitude: so is an eigenvalue above 1"
                )));
            }
            off = off * largest + 8.0 * n as f64 * f64::EPSILON * norm(&further) * largest;
            further = product(&further, m);
        }
        error = 2.0 * size * error + error * error + 4.0 * n as f64 * f64::EPSILON * size * size;
        power = product(&power, &power);
        exponent *= 2;
    }
    Answer::new(Stability::Unknown(format!(
        "the {n} by {n} transition is the same at every step, and its spectral radius is too near to 1 to tell whether its powers \
         grow"
    )))
}
