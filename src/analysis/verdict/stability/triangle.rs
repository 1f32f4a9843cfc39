//! Transitions along one index that read nothing behind (or nothing before) the element itself.
//!
//! Such a matrix is triangular: its eigenvalues are its diagonal, and those of a product are the products of the diagonals. A
//! strictly triangular one is nilpotent, at all steps together.

use super::super::Algebra;
use super::super::build;
use super::super::classify::Component;
use super::super::form::{Term, plain};
use super::symbols::{Poly, Symbols, add};
use super::{Answer, Stability};
use crate::diag::Span;
use crate::ir::{BinaryOp, Expr, ExprKind, IndexId, UnaryOp};

/// Which elements a term reads, seen from the element that is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Own,
    Before,
    BeforeOrOwn,
    Behind,
    BehindOrOwn,
}

/// Decides where the transition is triangular.
pub(super) fn judge(symbols: &mut Symbols<'_>, components: &[Component], time_invariant: bool) -> Option<Answer> {
    let [component] = components else { return None };
    let mut mixed = component.axes.iter().zip(&component.indices).enumerate().filter(|(_, (axis, _))| axis.is_none());
    let (Some((axis, (_, &row))), None) = (mixed.next(), mixed.next()) else { return None };
    let terms = &component.form.terms;
    let sides: Vec<Side> = terms.iter().map(|term| side(term, axis, row)).collect::<Option<_>>()?;
    let all = |allowed: &[Side]| sides.iter().all(|side| allowed.contains(side));
    let lower = all(&[Side::Own, Side::Before, Side::BeforeOrOwn]);
    let upper = all(&[Side::Own, Side::Behind, Side::BehindOrOwn]);
    if !lower && !upper {
        return None;
    }
    let name = symbols.scope.layer.index(row).name.clone();
    let mut diagonal = Poly::new();
    for (term, side) in terms.iter().zip(&sides) {
        let weight = match side {
            Side::Before | Side::Behind => continue,
            Side::Own if term.bound.is_empty() => term.weight(Algebra::Field),
            Side::BeforeOrOwn | Side::BehindOrOwn if term.bound.len() == 1 => {
                let map = [(plain(&term.at[axis])?, build::index(row, Span::default()))];
                // A lone comparison holds on the diagonal.
                let lone = term.guards.len() == 1 && is_comparison(&term.guards[0]);
                let weight = if lone { term.coefficient.clone() } else { term.weight(Algebra::Field) };
                symbols.scope.substitute(&weight, &map)
            }
            _ => return None,
        };
        let weight = symbols.expand(&weight);
        diagonal = add(diagonal, weight);
    }
    if diagonal.is_empty() {
        return Some(Answer::new(Stability::Always(format!(
            "each element reads only those {} it along {name}, so the transition is nilpotent: as many steps in a row as \
             {name} has values compose to 0",
            if lower { "before" } else { "behind" }
        ))));
    }
    let (low, high) = symbols.bounds(&diagonal);
    let text = symbols.text(&diagonal);
    let matrix = format!("the transition is triangular along {name} with the diagonal `{text}`");
    let stability = if low > 1.0 || high < -1.0 {
        Stability::Never(format!("{matrix}, whose magnitude is above 1, and these are its eigenvalues"))
    } else if time_invariant && low > -1.0 && high < 1.0 {
        Stability::Always(format!(
            "{matrix}, which lies inside of (-1, 1), and these are its eigenvalues: the spectral radius is below 1, and all its \
             powers are bounded"
        ))
    } else if low >= -1.0 && high <= 1.0 {
        Stability::Unknown(format!(
            "{matrix} in [-1, 1], and these are its eigenvalues, but what stands beside them lets products grow"
        ))
    } else {
        Stability::Unknown(format!("{matrix}, which nothing bounds by 1"))
    };
    Some(Answer::new(stability))
}

fn side(term: &Term, axis: usize, row: IndexId) -> Option<Side> {
    let at = &term.at[axis];
    if let Some(i) = plain(at) {
        if i == row {
            return Some(Side::Own);
        }
        if !term.bound.contains(&i) {
            return None;
        }
        let mut found = None;
        for guard in &term.guards {
            found = found.or(compared(guard, true, i, row));
        }
        return found;
    }
    // i - 1
    let ExprKind::Binary(op @ (BinaryOp::Sub | BinaryOp::Add), a, b) = &at.kind else { return None };
    let shift = build::constant(b).filter(|_| plain(a) == Some(row))?;
    let shift = if *op == BinaryOp::Sub { -shift } else { shift };
    Some(match shift {
        x if x < 0.0 => Side::Before,
        x if x > 0.0 => Side::Behind,
        _ => Side::Own,
    })
}

/// What a condition says of the index that is read.
fn compared(condition: &Expr, holds: bool, read: IndexId, row: IndexId) -> Option<Side> {
    match &condition.kind {
        ExprKind::Unary(UnaryOp::Not, inner) => compared(inner, !holds, read, row),
        ExprKind::Binary(BinaryOp::And, a, b) if holds => {
            compared(a, holds, read, row).or_else(|| compared(b, holds, read, row))
        }
        ExprKind::Binary(op, a, b) => {
            let (op, a, b) = match (plain(a)?, plain(b)?) {
                (a, b) if a == row => (swap(*op)?, b, a),
                (a, b) => (*op, a, b),
            };
            if a != read || b != row {
                return None;
            }
            Some(match (op, holds) {
                (BinaryOp::Lt, true) | (BinaryOp::Ge, false) => Side::Before,
                (BinaryOp::Le, true) | (BinaryOp::Gt, false) => Side::BeforeOrOwn,
                (BinaryOp::Gt, true) | (BinaryOp::Le, false) => Side::Behind,
                (BinaryOp::Ge, true) | (BinaryOp::Lt, false) => Side::BehindOrOwn,
                _ => return None,
            })
        }
        _ => None,
    }
}

fn is_comparison(e: &Expr) -> bool {
    match &e.kind {
        ExprKind::Unary(UnaryOp::Not, inner) => is_comparison(inner),
        ExprKind::Binary(op, ..) => op.is_comparison(),
        _ => false,
    }
}

/// The comparison with its sides exchanged.
fn swap(op: BinaryOp) -> Option<BinaryOp> {
    match op {
        BinaryOp::Lt => Some(BinaryOp::Gt),
        BinaryOp::Le => Some(BinaryOp::Ge),
        BinaryOp::Gt => Some(BinaryOp::Lt),
        BinaryOp::Ge => Some(BinaryOp::Le),
        _ => None,
    }
}
