//! Linear forms over an algebra: sums of coefficients times elements of the state, plus an offset.
//!
//! Coefficients, conditions and offsets are expressions of the layer that are free of the group's states; they may
//! mention the indices at which the form stands. Everything here keeps the value of the form.

use super::algebra::Algebra;
use super::build::{self, Scope};
use super::{Atom, Failure};
use crate::diag::Span;
use crate::ir::{Expr, ExprKind, IndexId, Layer, Scalar};

/// The most terms that a form may have.
const MAX_TERMS: usize = 512;

/// The most nodes that the coefficients of a form may have together.
const MAX_NODES: usize = 200_000;

/// Beyond so many terms, those that are summed over the same elements are added up.
const FEW_TERMS: usize = 16;

/// What is left to be copied before the forms of a group are given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget(usize);

impl Budget {
    /// Enough for any layer that is written by hand.
    pub(crate) fn new() -> Self {
        Self(1_000_000)
    }

    /// # Errors
    /// Nothing is left.
    pub(crate) fn spend(&mut self, scope: &mut Scope, form: &Form, span: Span) -> Result<(), Failure> {
        // Every term that is added is compared with all others, by what it reads.
        let mut compared = 0;
        form.terms.iter().flat_map(|t| &t.at).for_each(|at| at.walk(&mut |_| compared += 1));
        let nodes = form.nodes() + compared * form.terms.len();
        match self.0.checked_sub(nodes) {
            Some(left) => {
                self.0 = left;
                scope.work += nodes;
                Ok(())
            }
            None => Err(Failure::new(span, "its normal form is too large to be worked out")),
        }
    }
}

/// `sum[bound](if guards then coefficient * atom[at] else 0)`; a guard may be evaluated only where those after it hold,
/// which an access in it may need.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// The indices over which it is summed.
    pub bound: Vec<IndexId>,
    /// Where one of them does not hold, the term is nothing.
    pub guards: Vec<Expr>,
    /// What multiplies the element of the state.
    pub coefficient: Expr,
    /// Which tensor is read.
    pub atom: Atom,
    /// Where it is read.
    pub at: Vec<Expr>,
}

/// A sum of terms, plus an offset.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Form {
    /// The terms.
    pub terms: Vec<Term>,
    /// What is added; nothing where absent.
    pub offset: Option<Expr>,
}

impl Form {
    /// A form that does not depend on the state.
    pub(crate) fn free(e: Expr) -> Self {
        Self { terms: Vec::new(), offset: Some(e) }
    }

    /// One element of the state.
    pub(crate) fn atom(algebra: Algebra, atom: Atom, at: Vec<Expr>, ty: Scalar, span: Span) -> Self {
        let coefficient = algebra.one(ty, span);
        Self { terms: vec![Term { bound: Vec::new(), guards: Vec::new(), coefficient, atom, at }], offset: None }
    }

    /// The value of a form that has no terms.
    pub(crate) fn into_free(self, algebra: Algebra, ty: Scalar, span: Span) -> Result<Expr, Self> {
        if self.terms.is_empty() { Ok(self.offset.unwrap_or_else(|| algebra.zero(ty, span))) } else { Err(self) }
    }

    /// Changes all coefficients and the offset.
    pub(crate) fn map(mut self, mut change: impl FnMut(Expr) -> Expr) -> Self {
        for term in &mut self.terms {
            let coefficient = std::mem::replace(&mut term.coefficient, build::truth(false, Span::default()));
            term.coefficient = change(coefficient);
        }
        self.offset = self.offset.map(change);
        self
    }

    /// The form times something free.
    pub(crate) fn scale(self, algebra: Algebra, by: &Expr) -> Self {
        let mut scaled = self.map(|e| algebra.times(by.clone(), e));
        scaled.terms.retain(|term| !algebra.is_zero(&term.coefficient));
        scaled
    }

    /// The sum of two forms.
    pub(crate) fn plus(mut self, algebra: Algebra, other: Form) -> Self {
        for term in other.terms {
            self.add_term(algebra, term);
        }
        self.offset = match (self.offset, other.offset) {
            (Some(a), Some(b)) => Some(algebra.plus(a, b)),
            (a, b) => a.or(b),
        };
        self
    }

    fn add_term(&mut self, algebra: Algebra, term: Term) {
        let like =
            |t: &Term| t.bound.is_empty() && term.bound.is_empty() && t.atom == term.atom && same_all(&t.at, &term.at);
        let found = self.terms.iter().position(|t| like(t) && same_all(&t.guards, &term.guards));
        match found {
            Some(at) => self.add_coefficient(algebra, at, term.coefficient),
            None => self.terms.push(term),
        }
    }

    fn add_coefficient(&mut self, algebra: Algebra, at: usize, more: Expr) {
        let coefficient = std::mem::replace(&mut self.terms[at].coefficient, build::truth(false, Span::default()));
        let sum = algebra.plus(coefficient, more);
        if algebra.is_zero(&sum) {
            self.terms.remove(at);
        } else {
            self.terms[at].coefficient = sum;
        }
    }

    /// The sum over indices.
    pub(crate) fn bind(mut self, scope: &mut Scope, algebra: Algebra, indices: &[IndexId]) -> Self {
        for term in &mut self.terms {
            term.bound.splice(0..0, indices.iter().copied());
        }
        // The offset gets indices of its own: an index is bound in one place.
        self.offset = self.offset.map(|offset| sum_over(scope, algebra, indices, &offset));
        self
    }

    /// `if condition then self else other`
    pub(crate) fn guard(self, algebra: Algebra, condition: &Expr, other: Form, ty: Scalar) -> Self {
        let mut terms: Vec<Term> = Vec::new();
        let mut rest = other.terms;
        for mut term in self.terms {
            let like = |t: &Term| {
                t.bound.is_empty()
                    && term.bound.is_empty()
                    && t.atom == term.atom
                    && same_all(&t.at, &term.at)
                    && same_all(&t.guards, &term.guards)
            };
            if let Some(at) = rest.iter().position(like) {
                let partner = rest.remove(at);
                term.coefficient = build::select(condition.clone(), term.coefficient, partner.coefficient);
            } else if !term.guard_by(condition.clone()) {
                continue;
            }
            terms.push(term);
        }
        for mut term in rest {
            if term.guard_by(build::not(condition.clone())) {
                terms.push(term);
            }
        }
        let offset = match (self.offset, other.offset) {
            (None, None) => None,
            (a, b) => {
                let a = a.unwrap_or_else(|| algebra.zero(ty, condition.span));
                let b = b.unwrap_or_else(|| algebra.zero(ty, condition.span));
                Some(build::select(condition.clone(), a, b))
            }
        };
        Self { terms, offset }
    }

    /// The form at other indices, with bound indices of its own.
    pub(crate) fn instantiate(&self, scope: &mut Scope, map: &[(IndexId, Expr)]) -> Self {
        let terms = self.terms.iter().map(|term| term.instantiate(scope, map)).collect();
        Self { terms, offset: self.offset.as_ref().map(|e| scope.substitute(e, map)) }
    }

    /// Sums out indices that no access mentions, and adds up what reads the same element; of many terms also those that
    /// are summed over the same elements, which few terms are not, so that low ranks stay visible.
    pub(crate) fn settle(self, scope: &mut Scope, algebra: Algebra) -> Self {
        let mut settled = Self { terms: Vec::new(), offset: self.offset };
        let many = self.terms.len() > FEW_TERMS;
        for term in self.terms {
            let mut term = term.settle(scope, algebra);
            if many && term.reads_plainly(&scope.layer) {
                term.coefficient = term.weight(algebra);
                term.guards.clear();
            }
            match settled.terms.iter().position(|t| many && !term.bound.is_empty() && t.sums_like(&term)) {
                Some(at) => {
                    let map = settled.terms[at].renaming(&term);
                    let coefficient = scope.substitute(&term.coefficient, &map);
                    settled.add_coefficient(algebra, at, coefficient);
                }
                None => settled.add_term(algebra, term),
            }
        }
        settled
    }

    /// How many nodes its expressions have.
    pub(crate) fn nodes(&self) -> usize {
        let mut nodes = self.terms.iter().map(Term::nodes).sum();
        self.offset.iter().for_each(|e| e.walk(&mut |_| nodes += 1));
        nodes
    }

    /// # Errors
    /// A form that is too large to go on with.
    pub(crate) fn check_size(self, span: Span) -> Result<Self, Failure> {
        if self.terms.len() > MAX_TERMS || self.nodes() > MAX_NODES {
            return Err(Failure::new(span, "its normal form is too large to be worked out"));
        }
        Ok(self)
    }

    /// The form as an expression, where `read` gives the elements.
    pub(crate) fn emit(&self, algebra: Algebra, ty: Scalar, span: Span, mut read: impl FnMut(&Term) -> Expr) -> Expr {
        let terms = self.terms.iter().map(|term| {
            let element = read(term);
            let product = build::widen(algebra.times(term.coefficient.clone(), element), ty);
            term.around(algebra, product)
        });
        let offset = self.offset.iter().map(|offset| build::widen(offset.clone(), ty));
        let parts = terms.chain(offset).collect();
        algebra.sum(parts, ty, span)
    }
}

impl Term {
    /// The term at other indices, with bound indices of its own.
    pub(crate) fn instantiate(&self, scope: &mut Scope, map: &[(IndexId, Expr)]) -> Self {
        let mut map = map.to_vec();
        let mut bound = Vec::new();
        for &old in &self.bound {
            let new = scope.fresh(old);
            map.push((old, build::index(new, Span::default())));
            bound.push(new);
        }
        Self {
            bound,
            guards: self.guards.iter().map(|e| scope.substitute(e, &map)).collect(),
            coefficient: scope.substitute(&self.coefficient, &map),
            atom: self.atom,
            at: self.at.iter().map(|e| scope.substitute(e, &map)).collect(),
        }
    }

    /// Sums out the indices that the access does not mention.
    pub(crate) fn settle(mut self, scope: &mut Scope, algebra: Algebra) -> Self {
        let (kept, idle): (Vec<IndexId>, Vec<IndexId>) =
            self.bound.iter().partition(|&&i| self.at.iter().any(|at| build::mentions(at, i)));
        if idle.is_empty() {
            return self;
        }
        self.bound = kept;
        // What stands before a guard that is summed has to stay inside of it.
        let inner =
            self.guards.iter().rposition(|g| idle.iter().any(|&i| build::mentions(g, i))).map_or(0, |at| at + 1);
        let ty = self.coefficient.ty;
        let mut body = self.coefficient;
        for guard in self.guards.drain(..inner) {
            body = build::select(guard, body, algebra.zero(ty, Span::default()));
        }
        self.coefficient = sum_over(scope, algebra, &idle, &body);
        self
    }

    /// Makes the term nothing where the condition does not hold; false where it is nothing everywhere.
    fn guard_by(&mut self, condition: Expr) -> bool {
        let opposite = build::not(condition.clone());
        if self.guards.iter().any(|g| build::same(g, &opposite)) {
            return false;
        }
        // What stands around all others may be left out further in.
        self.guards.retain(|g| !build::same(g, &condition));
        self.guards.push(condition);
        true
    }

    /// Whether the access stays inside without the guards.
    fn reads_plainly(&self, layer: &Layer) -> bool {
        let axes = &layer.value(layer.states[self.atom.state.at()].value).axes;
        self.at.iter().zip(axes).all(|(at, axis)| plain(at).is_some_and(|i| layer.index(i).extent == *axis))
    }

    /// Whether both terms are summed over the same elements, read plainly, with no guards.
    fn sums_like(&self, other: &Term) -> bool {
        self.atom == other.atom
            && self.guards.is_empty()
            && other.guards.is_empty()
            && self.bound.len() == other.bound.len()
            && self.at.len() == other.at.len()
            && self.at.iter().zip(&other.at).all(|(a, b)| match (plain(a), plain(b)) {
                (Some(i), Some(j)) if self.bound.contains(&i) && other.bound.contains(&j) => {
                    let place = |t: &Term, i| t.at.iter().position(|at| plain(at) == Some(i));
                    place(self, i) == place(other, j)
                }
                (Some(i), Some(j)) => i == j && !self.bound.contains(&i) && !other.bound.contains(&j),
                _ => false,
            })
            // Every bound index stands alone somewhere: then the two lists match place by place.
            && self.bound.iter().all(|&i| self.at.iter().any(|at| plain(at) == Some(i)))
    }

    /// The bound indices of this term in the place of those of another that is summed over the same elements.
    fn renaming(&self, other: &Term) -> Vec<(IndexId, Expr)> {
        let pairs = self.at.iter().zip(&other.at).filter_map(|(a, b)| Some((plain(a)?, plain(b)?)));
        pairs.filter(|(i, _)| self.bound.contains(i)).map(|(i, j)| (j, build::index(i, Span::default()))).collect()
    }

    /// What the term contributes to the sum, given the product of its coefficient and its element.
    pub(crate) fn around(&self, algebra: Algebra, product: Expr) -> Expr {
        let zero = algebra.zero(product.ty, product.span);
        let guarded = self.guards.iter().fold(product, |e, g| build::select(g.clone(), e, zero.clone()));
        build::reduce(algebra.row().reduce, self.bound.clone(), guarded)
    }

    /// The guarded coefficient, without the indices it is summed over.
    pub(crate) fn weight(&self, algebra: Algebra) -> Expr {
        let zero = algebra.zero(self.coefficient.ty, self.coefficient.span);
        self.guards.iter().fold(self.coefficient.clone(), |e, g| build::select(g.clone(), e, zero.clone()))
    }

    /// How many nodes its expressions have.
    pub(crate) fn nodes(&self) -> usize {
        let mut nodes = 1;
        self.coefficients().chain(&self.at).for_each(|e| e.walk(&mut |_| nodes += 1));
        nodes
    }

    /// All expressions of the term but the access.
    pub(crate) fn coefficients(&self) -> impl Iterator<Item = &Expr> {
        self.guards.iter().chain([&self.coefficient])
    }
}

/// The sum over indices, which are renamed: as a product with their number where the body mentions none of them.
pub(crate) fn sum_over(scope: &mut Scope, algebra: Algebra, indices: &[IndexId], body: &Expr) -> Expr {
    let (used, idle): (Vec<IndexId>, Vec<IndexId>) = indices.iter().partition(|&&i| build::mentions(body, i));
    let fresh: Vec<IndexId> = used.iter().map(|&i| scope.fresh(i)).collect();
    let map: Vec<(IndexId, Expr)> =
        used.iter().zip(&fresh).map(|(&old, &new)| (old, build::index(new, body.span))).collect();
    let inner = scope.substitute(body, &map);
    let mut sum = build::reduce(algebra.row().reduce, fresh, inner);
    for i in idle {
        let extent = scope.layer.index(i).extent.clone();
        sum = match algebra {
            Algebra::Field => build::mul(build::widen(build::extent(&extent, body.span), sum.ty), sum),
            // Equal elements: their number counts, or only whether there is one.
            _ => {
                let new = scope.fresh(i);
                build::reduce(algebra.row().reduce, vec![new], sum)
            }
        };
    }
    sum
}

/// Whether two lists hold the same expressions.
pub(crate) fn same_all(a: &[Expr], b: &[Expr]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| build::same(a, b))
}

/// The index that an access plainly is.
pub(crate) fn plain(e: &Expr) -> Option<IndexId> {
    match e.kind {
        ExprKind::Index(i) => Some(i),
        _ => None,
    }
}
