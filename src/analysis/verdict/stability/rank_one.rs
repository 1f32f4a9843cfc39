//! Diagonal plus rank 1: `diag(d) + c k kᵀ`, and that times a diagonal.
//!
//! In: the diagonal and the one factor of a transition of reals. Out: what its Euclidean operator norm is, where column and
//! row are one vector `k` up to what does not mention the mixed indices (or up to the diagonal). With `s = c |k|^2`:
//!
//! - `d I + c k kᵀ` is symmetric with eigenvalues `d` and, along `k`, `d + s`;
//! - `diag(d) + c k kᵀ` is symmetric, and its eigenvalues lie between `min(d) + min(s, 0)` and `max(d) + max(s, 0)` (Weyl);
//! - `(I + c k kᵀ) diag(d)` and `diag(d) (I + c k kᵀ)` have at most the norm `max|d| * max(1, |1 + s|)`.

use super::super::build;
use super::super::classify::Component;
use super::super::form::plain;
use super::super::low_rank::LowRank;
use super::symbols::{Monomial, Poly, Symbols, add};
use super::{Answer, Stability};
use crate::diag::Span;
use crate::ir::{Expr, IndexId, ReduceOp, Scalar};

/// A product taken apart: what does not mention the mixed indices, and what does.
fn parts(symbols: &Symbols<'_>, m: &Monomial, mixed: &[IndexId]) -> (Monomial, Monomial) {
    let (vector, scalar): (Vec<_>, Vec<_>) =
        m.factors.iter().copied().partition(|(atom, _)| mixed.iter().any(|&i| symbols.mentions(*atom, i)));
    (Monomial { coefficient: m.coefficient, factors: scalar }, Monomial { coefficient: 1.0, factors: vector })
}

/// Decides where the transition is one of the three.
pub(super) fn judge(symbols: &mut Symbols<'_>, component: &Component, low_rank: &LowRank) -> Option<Answer> {
    let [factor] = &low_rank.factors[..] else { return None };
    let [v] = &factor.v[..] else { return None };
    if component.ty != Scalar::Real || !factor.rank.is_empty() || !v.guards.is_empty() {
        return None;
    }
    let axes = || component.axes.iter().zip(&component.indices);
    let mixed: Vec<IndexId> = axes().filter(|(axis, _)| axis.is_none()).map(|(_, i)| *i).collect();
    // The row at the indices of the column.
    let mut map: Vec<(IndexId, Expr)> = Vec::new();
    for (at, (axis, &i)) in v.at.iter().zip(axes()) {
        if axis.is_none() {
            let read = plain(at).filter(|j| v.bound.contains(j) && map.iter().all(|(k, _)| k != j))?;
            if symbols.scope.layer.index(read).extent != symbols.scope.layer.index(i).extent {
                return None;
            }
            map.push((read, build::index(i, Span::default())));
        }
    }
    if map.len() != v.bound.len() {
        return None;
    }
    let row = symbols.scope.substitute(&v.coefficient, &map);
    let (row, column) = (symbols.factor(&row), symbols.factor(&factor.u));
    let both = symbols.times(&row, &column);
    let (_, k) = parts(symbols, &column, &mixed);
    let (_, l) = parts(symbols, &row, &mixed);
    let diagonal = symbols.factor(&low_rank.diagonal);
    let d = symbols.expand(&low_rank.diagonal);
    if k == l {
        let s = along(symbols, &both, &mixed);
        let scalar = !d.iter().any(|m| mixed.iter().any(|&i| symbols.monomial_mentions(m, i)));
        return Some(symmetric(symbols, &d, &s, scalar));
    }
    // c k (k d)ᵀ, or c (d k) kᵀ.
    let inverse = symbols.power(&diagonal, -1.0)?;
    let rest = symbols.times(&both, &inverse);
    let (_, square) = parts(symbols, &rest, &mixed);
    for vector in [k, l] {
        let own = symbols.times(&vector, &vector);
        if parts(symbols, &own, &mixed).1 == square {
            let s = along(symbols, &rest, &mixed);
            return Some(product(symbols, &d, &s));
        }
    }
    None
}

/// `c |k|^2`
fn along(symbols: &mut Symbols<'_>, square: &Monomial, mixed: &[IndexId]) -> Poly {
    let square = symbols.product(square);
    vec![symbols.factor(&build::reduce(ReduceOp::Sum, mixed.to_vec(), square))]
}

fn symmetric(symbols: &mut Symbols<'_>, d: &Poly, s: &Poly, scalar: bool) -> Answer {
    let sum = add(d.clone(), s.clone());
    let (at, moved) = (symbols.bounds(d), symbols.bounds(&sum));
    let name = symbols.text(&sum);
    if scalar {
        if moved.0 > 1.0 || moved.1 < -1.0 {
            return Answer::new(Stability::Never(format!(
                "the transition is a multiple of I plus c k kᵀ, and its eigenvalue along k, `{name}`, is beyond 1 in magnitude"
            )));
        }
        let inside = |range: (f64, f64)| range.0 >= -1.0 && range.1 <= 1.0;
        if inside(at) && inside(moved) {
            let own = symbols.text(d);
            return Answer::euclidean(format!(
                "the transition is symmetric, with the eigenvalue `{name}` along k and `{own}` across it, both in [-1, 1]: \
                 its 2-norm is at most 1"
            ));
        }
        let (which, why) = if inside(at) { (name, "along k") } else { (symbols.text(d), "across k") };
        return Answer::new(Stability::Unknown(format!(
            "the transition is a multiple of I plus c k kᵀ, and nothing bounds its eigenvalue {why}, `{which}`, by 1"
        )));
    }
    let sign = symbols.bounds(s);
    let low = if sign.1 <= 0.0 { moved.0 } else { at.0.min(moved.0) };
    let high = if sign.0 >= 0.0 { moved.1 } else { at.1.max(moved.1) };
    if low >= -1.0 && high <= 1.0 {
        return Answer::euclidean(format!(
            "the transition is symmetric, and by Weyl's inequality its eigenvalues lie between those of the diagonal and \
             `{name}`, all in [-1, 1]: its 2-norm is at most 1"
        ));
    }
    Answer::new(Stability::Unknown(format!(
        "the transition is a diagonal plus c k kᵀ, and nothing bounds both the diagonal and `{name}` by 1"
    )))
}

fn product(symbols: &mut Symbols<'_>, d: &Poly, s: &Poly) -> Answer {
    let along = add(vec![Monomial::number(1.0)], s.clone());
    let (at, moved) = (symbols.bounds(d), symbols.bounds(&along));
    let name = symbols.text(&along);
    if at.0 >= -1.0 && at.1 <= 1.0 && moved.0 >= -1.0 && moved.1 <= 1.0 {
        return Answer::euclidean(format!(
            "the transition is a diagonal with elements in [-1, 1] times I + c k kᵀ, whose eigenvalues are 1 and `{name}`, in \
             [-1, 1]: its 2-norm is at most 1"
        ));
    }
    Answer::new(Stability::Unknown(format!(
        "the transition is a diagonal times I + c k kᵀ, and nothing bounds both the diagonal and the eigenvalue along k, \
         `{name}`, by 1"
    )))
}
