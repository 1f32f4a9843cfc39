//! Bounds of sums of products.
//!
//! A sum that is linear in each of its powers is largest at a corner of the box in which they lie: so `a - a * b` is bounded
//! as it is, where intervals would take its two `a` apart. Powers of one atom count as independent, which only
//! widens the bounds. Before that, what is a share of something (`x / (1 + x)`, `x / max(x, y)`) becomes a power of a
//! number between 0 and 1.

use super::super::build;
use super::interval::{self, ALL, Range};
use super::symbols::{Atom, Monomial, Poly, Symbols, add, negate};
use crate::ir::{Expr, ExprKind, Function, IndexId, ReduceOp};

/// Up to so many powers, all corners are looked at.
const MAX_POWERS: usize = 10;

impl Symbols<'_> {
    /// The least upper bound that is found.
    pub(super) fn upper(&self, terms: &Poly) -> f64 {
        let mut powers: Vec<(usize, f64)> = Vec::new();
        for factor in terms.iter().flat_map(|m| &m.factors) {
            if !powers.contains(factor) {
                powers.push(*factor);
            }
        }
        let boxes: Vec<Range> = powers.iter().map(|&(atom, e)| interval::power(self.range_of(atom), e)).collect();
        corner(terms, &powers, &boxes)
    }

    /// The greatest lower bound that is found.
    pub(super) fn lower(&self, terms: &Poly) -> f64 {
        -self.upper(&negate(terms.clone()))
    }

    /// Bounds of a sum, whose shares are looked for.
    pub(super) fn bounds(&mut self, terms: &Poly) -> Range {
        let terms = self.shares(terms);
        (self.lower(&terms), self.upper(&terms))
    }

    /// Replaces what is a share of something.
    pub(super) fn shares(&mut self, terms: &Poly) -> Poly {
        let mut sum = Poly::new();
        for m in terms {
            let mut m = m.clone();
            while self.spend() {
                let Some(next) = self.share(&m) else { break };
                m = next;
            }
            sum = add(sum, vec![m]);
        }
        sum
    }

    fn share(&mut self, m: &Monomial) -> Option<Monomial> {
        for &(atom, e) in m.factors.iter().filter(|(_, e)| *e < 0.0) {
            let parts: Vec<Monomial> = match self.atoms[atom].clone() {
                Atom::Sum(terms) => {
                    if !terms.iter().all(|t| self.lower(&vec![t.clone()]) >= 0.0) {
                        continue;
                    }
                    // A constant is a part of every product: it comes last.
                    let (plain, constant): (Vec<_>, Vec<_>) = terms.into_iter().partition(|t| !t.factors.is_empty());
                    plain.into_iter().chain(constant).collect()
                }
                Atom::Of(Expr { kind: ExprKind::Call(Function::Max, args), .. }) => {
                    let parts: Vec<Monomial> = args.iter().map(|a| self.factor(a)).collect();
                    parts.into_iter().filter(|t| t.coefficient > 0.0 && self.lower(&vec![t.clone()]) >= 0.0).collect()
                }
                Atom::Of(Expr { kind: ExprKind::Reduce { op: ReduceOp::Sum, indices, body }, .. }) => {
                    match self.of_norms(m, atom, e, &indices, &body) {
                        Some(found) => return Some(found),
                        None => continue,
                    }
                }
                _ => continue,
            };
            for part in parts {
                let within = |(a, x): &(usize, f64)| {
                    let (have, need) = (m.exponent(*a), -x * e);
                    need != 0.0 && have.signum() == need.signum() && have.abs() >= need.abs() - 1e-12
                };
                if !part.factors.iter().all(within) {
                    continue;
                }
                let Some(inverse) = self.power(&part, e) else { continue };
                let share = self.intern(Atom::Share(part, atom));
                let whole = Monomial { coefficient: 1.0, factors: vec![(atom, -e)] };
                let rest = self.times(m, &whole);
                let rest = self.times(&rest, &inverse);
                return Some(self.times(&rest, &Monomial { coefficient: 1.0, factors: vec![(share, -e)] }));
            }
        }
        None
    }

    /// `sum(|x|^a)^(1/a) / sum(|x|^b)^(1/b)` and its powers, which are at most 1 for `a >= b`.
    fn of_norms(&mut self, m: &Monomial, below: usize, e: f64, over: &[IndexId], body: &Expr) -> Option<Monomial> {
        let (base, b) = self.single(body)?;
        for &(above, x) in m.factors.iter().filter(|(_, x)| *x > 0.0) {
            let Atom::Of(Expr { kind: ExprKind::Reduce { op: ReduceOp::Sum, indices, body }, .. }) =
                self.atoms[above].clone()
            else {
                continue;
            };
            if indices.len() != over.len() {
                continue;
            }
            let map: Vec<_> = indices.iter().zip(over).map(|(&i, &j)| (i, build::index(j, body.span))).collect();
            let body = self.scope.substitute(&body, &map);
            let same_extents =
                |(i, j): (&IndexId, &IndexId)| self.scope.layer.index(*i).extent == self.scope.layer.index(*j).extent;
            if !indices.iter().zip(over).all(same_extents) {
                continue;
            }
            let Some((other, a)) = self.single(&body) else { continue };
            if other == base && a >= b && b > 0.0 && (x * a + e * b).abs() < 1e-12 {
                let one = Monomial { coefficient: 1.0, factors: vec![(above, x)] };
                let share = self.intern(Atom::Share(one, below));
                let factors = m.factors.iter().filter(|(atom, _)| *atom != above && *atom != below).copied();
                let rest = Monomial { coefficient: m.coefficient, factors: factors.collect() };
                return Some(self.times(&rest, &Monomial { coefficient: 1.0, factors: vec![(share, 1.0)] }));
            }
        }
        None
    }

    /// The base, which is not negative, and the exponent of what is a single power and not negative either: a sum of `x`
    /// is none of `|x|`.
    pub(super) fn single(&mut self, e: &Expr) -> Option<(usize, f64)> {
        let m = self.factor(e);
        if self.lower(&vec![m.clone()]) < 0.0 {
            return None;
        }
        let m = self.absolute(&m);
        match m.factors[..] {
            [(atom, e)] if m.coefficient == 1.0 => match self.atoms[atom].clone() {
                // Even powers have lost their absolute value.
                Atom::Of(inner) if self.range_of(atom).0 < 0.0 => {
                    let size = build::call(Function::Abs, vec![inner]);
                    Some((self.intern(Atom::Of(size)), e))
                }
                _ => Some((atom, e)),
            },
            _ => None,
        }
    }
}

/// The largest value of a sum over a box of its powers.
fn corner(terms: &Poly, powers: &[(usize, f64)], boxes: &[Range]) -> f64 {
    // A power without a bound: only where the sum falls with it.
    if let Some(at) = boxes.iter().position(|b| !b.0.is_finite() || !b.1.is_finite()) {
        let (with, without): (Vec<_>, Vec<_>) =
            terms.iter().cloned().partition(|m: &Monomial| m.factors.contains(&powers[at]));
        let slope: Poly = with
            .into_iter()
            .map(|mut m| {
                m.factors.retain(|f| *f != powers[at]);
                m
            })
            .collect();
        let (mut rest_powers, mut rest_boxes) = (powers.to_vec(), boxes.to_vec());
        rest_powers.remove(at);
        rest_boxes.remove(at);
        let sup = |terms: &Poly| corner(terms, &rest_powers, &rest_boxes);
        let end = if boxes[at].0.is_finite() && sup(&slope) <= 0.0 {
            boxes[at].0
        } else if boxes[at].1.is_finite() && -sup(&negate(slope.clone())) >= 0.0 {
            boxes[at].1
        } else {
            return f64::INFINITY;
        };
        let scaled = slope.into_iter().map(|m| Monomial { coefficient: m.coefficient * end, ..m }).collect();
        return sup(&add(without, scaled));
    }
    if powers.len() > MAX_POWERS {
        let value = |m: &Monomial| {
            let factors = m.factors.iter().map(|f| boxes[powers.iter().position(|p| p == f).expect("it is there")]);
            interval::times((m.coefficient, m.coefficient), factors.fold((1.0, 1.0), interval::times)).1
        };
        return terms.iter().map(value).sum();
    }
    let value = |corner: usize| -> f64 {
        let at = |f: &(usize, f64)| {
            let place = powers.iter().position(|p| p == f).expect("it is there");
            if corner >> place & 1 == 0 { boxes[place].0 } else { boxes[place].1 }
        };
        terms.iter().map(|m| m.factors.iter().fold(m.coefficient, |product, f| product * at(f))).sum()
    };
    let most = (0..1usize << powers.len())
        .map(value)
        .fold(f64::NEG_INFINITY, |a, b| if b.is_nan() { ALL.1 } else { a.max(b) });
    if most.is_nan() { f64::INFINITY } else { most }
}
