//! Sums of products of powers: expressions of reals brought to a form in which equal parts cancel.
//!
//! In: expressions that are free of the group's states. Out: a [`Monomial`] ([`Symbols::factor`], where a sum stays one
//! factor) or a [`Poly`] ([`Symbols::expand`], where products are multiplied out), over atoms: whatever is no sum, product
//! or power. Definitions are looked into. Values are kept wherever they are finite; rounding is not looked at.

use std::cell::RefCell;
use std::collections::HashMap;

use super::super::build::{self, Scope};
use super::interval::{self, Range};
use crate::ir::{
    BinaryOp, Expr, ExprKind, Function, IndexId, NormaliseOp, ReduceOp, Scalar, UnaryOp, ValueId, ValueKind,
};

/// How many expressions may be looked at for one group.
const FUEL: usize = 4000;

/// How deep definitions are looked into.
const DEPTH: usize = 24;

/// The most nodes of a definition that is looked into.
const MAX_BODY: usize = 1000;

/// The most monomials of a sum.
const MAX_TERMS: usize = 32;

/// What is a factor as it is.
#[derive(Clone, Debug)]
pub(super) enum Atom {
    /// A real expression.
    Of(Expr),
    /// A sum.
    Sum(Poly),
    /// Something between 0 and 1: what it is of what, so that equal ones are one.
    Share(Monomial, usize),
}

/// A number times powers of atoms: by atom, each once, no power 0.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Monomial {
    pub(super) coefficient: f64,
    pub(super) factors: Vec<(usize, f64)>,
}

/// A sum of monomials with different factors.
pub(super) type Poly = Vec<Monomial>;

impl Monomial {
    /// A number.
    pub(super) fn number(coefficient: f64) -> Self {
        Self { coefficient, factors: Vec::new() }
    }

    /// The exponent of an atom.
    pub(super) fn exponent(&self, atom: usize) -> f64 {
        self.factors.iter().find(|(a, _)| *a == atom).map_or(0.0, |(_, e)| *e)
    }
}

/// The atoms of a group's transition.
pub(super) struct Symbols<'a> {
    pub(super) scope: &'a mut Scope,
    pub(super) atoms: Vec<Atom>,
    ranges: RefCell<HashMap<usize, Range>>,
    fuel: usize,
    /// How many definitions are being looked into, one inside of the other.
    pub(super) depth: usize,
}

impl<'a> Symbols<'a> {
    pub(super) fn new(scope: &'a mut Scope) -> Self {
        Self { scope, atoms: Vec::new(), ranges: RefCell::default(), fuel: FUEL, depth: 0 }
    }

    /// Whether there is still something to be spent.
    pub(super) fn spend(&mut self) -> bool {
        self.fuel = self.fuel.saturating_sub(1);
        self.fuel > 0
    }

    /// The place of an atom.
    pub(super) fn intern(&mut self, mut atom: Atom) -> usize {
        if let Atom::Sum(terms) = &mut atom {
            terms.sort_by(|a, b| a.factors.partial_cmp(&b.factors).unwrap_or(std::cmp::Ordering::Equal));
        }
        let like = |other: &Atom| match (&atom, other) {
            (Atom::Of(a), Atom::Of(b)) => build::same(a, b),
            (Atom::Sum(a), Atom::Sum(b)) => a == b,
            (Atom::Share(a, of), Atom::Share(b, other)) => a == b && of == other,
            _ => false,
        };
        if let Some(at) = self.atoms.iter().position(like) {
            return at;
        }
        self.atoms.push(atom);
        self.atoms.len() - 1
    }

    fn opaque(&mut self, e: &Expr) -> Monomial {
        let atom = self.intern(Atom::Of(build::widen(e.clone(), Scalar::Real)));
        Monomial { coefficient: 1.0, factors: vec![(atom, 1.0)] }
    }

    /// The product.
    pub(super) fn times(&mut self, a: &Monomial, b: &Monomial) -> Monomial {
        let mut factors = a.factors.clone();
        for &(atom, e) in &b.factors {
            match factors.iter().position(|(other, _)| *other == atom) {
                Some(at) => factors[at].1 += e,
                None => factors.push((atom, e)),
            }
        }
        self.tidy(Monomial { coefficient: a.coefficient * b.coefficient, factors })
    }

    /// Drops powers of 0, and turns even powers of absolute values and whole powers of single terms into plain ones.
    fn tidy(&mut self, mut m: Monomial) -> Monomial {
        // 1.2 times 1 / 1.2 may be a bit off.
        m.factors.iter_mut().for_each(|(_, e)| {
            if (*e - e.round()).abs() < 1e-12 {
                *e = e.round();
            }
        });
        m.factors.retain(|(_, e)| *e != 0.0);
        m.factors.sort_by_key(|(atom, _)| *atom);
        if m.coefficient == 0.0 {
            return Monomial::number(0.0);
        }
        for at in 0..m.factors.len() {
            let (atom, e) = m.factors[at];
            let inner = match self.atoms[atom].clone() {
                Atom::Of(Expr { kind: ExprKind::Call(Function::Abs, args), .. })
                    if e % 2.0 == 0.0 && args[0].ty == Scalar::Real && self.spend() =>
                {
                    self.factor(&args[0])
                }
                Atom::Sum(terms) if terms.len() == 1 && e.fract() == 0.0 => terms[0].clone(),
                _ => continue,
            };
            m.factors.remove(at);
            let Some(power) = self.power(&inner, e) else {
                m.factors.insert(at, (atom, e));
                continue;
            };
            return self.times(&m, &power);
        }
        m
    }

    /// A power; `None` where it is not known to be one.
    pub(super) fn power(&mut self, m: &Monomial, e: f64) -> Option<Monomial> {
        let whole = e.fract() == 0.0;
        if !whole {
            let plain = |this: &Self, (atom, x): &(usize, f64)| {
                // sqrt(x ^ 2) is |x|.
                this.range_of(*atom).0 >= 0.0 || (x.fract() != 0.0)
            };
            if m.coefficient < 0.0 || !m.factors.iter().all(|f| plain(self, f)) {
                return None;
            }
        }
        if m.coefficient == 0.0 && e <= 0.0 {
            return None;
        }
        let factors = m.factors.iter().map(|(atom, x)| (*atom, x * e)).collect();
        Some(self.tidy(Monomial { coefficient: m.coefficient.powf(e), factors }))
    }

    /// The power of an expression, of which the base is one factor where it must be.
    fn power_of(&mut self, base: &Expr, e: f64) -> Monomial {
        let m = self.factor(base);
        if let Some(power) = self.power(&m, e) {
            return power;
        }
        let atom = self.intern(Atom::Sum(vec![m]));
        Monomial { coefficient: 1.0, factors: vec![(atom, e)] }
    }

    /// An expression as a product; a sum is one factor.
    pub(super) fn factor(&mut self, e: &Expr) -> Monomial {
        if let Some(x) = build::constant(e) {
            return Monomial::number(x);
        }
        if e.ty == Scalar::Complex || !self.spend() {
            return self.opaque(e);
        }
        match &e.kind {
            ExprKind::Widen(a) => self.factor(a),
            ExprKind::Unary(UnaryOp::Neg, a) => {
                let m = self.factor(a);
                Monomial { coefficient: -m.coefficient, ..m }
            }
            ExprKind::Binary(BinaryOp::Mul, a, b) => {
                let (a, b) = (self.factor(a), self.factor(b));
                self.times(&a, &b)
            }
            ExprKind::Binary(BinaryOp::Div, a, b) => {
                let a = self.factor(a);
                let b = self.power_of(b, -1.0);
                self.times(&a, &b)
            }
            ExprKind::Binary(BinaryOp::Add | BinaryOp::Sub, ..) => {
                let mut sum = self.expand(e);
                match sum.len() {
                    0 => Monomial::number(0.0),
                    1 => sum.remove(0),
                    _ => {
                        let atom = self.intern(Atom::Sum(sum));
                        Monomial { coefficient: 1.0, factors: vec![(atom, 1.0)] }
                    }
                }
            }
            ExprKind::Powi(a, n) => self.power_of(a, f64::from(*n)),
            ExprKind::Call(Function::Sqrt, args) => self.power_of(&args[0], 0.5),
            ExprKind::Call(Function::Rsqrt, args) => self.power_of(&args[0], -0.5),
            ExprKind::Call(Function::Pow, args) => match self.number(&args[1]) {
                Some(p) => self.power_of(&args[0], p),
                None => self.opaque(e),
            },
            ExprKind::Call(Function::Abs, args) if args[0].ty == Scalar::Real => {
                let inner = self.factor(&args[0]);
                self.absolute(&inner)
            }
            ExprKind::Reduce { op: ReduceOp::Sum, indices, body } => {
                let body = self.factor(body);
                let (outer, rest, left) = self.sum_out(body, indices);
                if left.is_empty() {
                    return outer;
                }
                let body = self.product(&rest);
                let sum = self.opaque(&build::reduce(ReduceOp::Sum, left, body));
                self.times(&outer, &sum)
            }
            ExprKind::Read { value, at } if self.scope.layer.value(*value).kind == ValueKind::Let => {
                match self.definition(*value, at) {
                    Some(body) => self.inside(|this| this.factor(&body)),
                    None => self.opaque(e),
                }
            }
            _ => self.opaque(e),
        }
    }

    /// Looks into a definition.
    pub(super) fn inside<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
        self.depth += 1;
        let result = run(self);
        self.depth -= 1;
        result
    }

    /// The body of a definition at these places, where it is not too deep or too large.
    pub(super) fn definition(&mut self, value: ValueId, at: &[Expr]) -> Option<Expr> {
        let equation = self.scope.layer.definition(value)?;
        let mut nodes = 0;
        equation.body.walk(&mut |_| nodes += 1);
        if self.depth >= DEPTH || nodes > MAX_BODY {
            return None;
        }
        let (indices, body) = (equation.indices.clone(), equation.body.clone());
        let map: Vec<(IndexId, Expr)> = indices.into_iter().zip(at.iter().cloned()).collect();
        Some(self.scope.substitute(&body, &map))
    }

    /// The number that an expression is.
    pub(super) fn number(&mut self, e: &Expr) -> Option<f64> {
        let m = self.factor(e);
        m.factors.is_empty().then_some(m.coefficient)
    }

    /// The absolute value.
    pub(super) fn absolute(&mut self, m: &Monomial) -> Monomial {
        let mut product = Monomial::number(m.coefficient.abs());
        for &(atom, e) in &m.factors {
            let plain = e % 2.0 == 0.0 || e.fract() != 0.0 || self.range_of(atom).0 >= 0.0;
            let factor = match plain {
                true => Monomial { coefficient: 1.0, factors: vec![(atom, e)] },
                false => {
                    let size = build::call(Function::Abs, vec![self.atom(atom)]);
                    let size = self.intern(Atom::Of(size));
                    Monomial { coefficient: 1.0, factors: vec![(size, e)] }
                }
            };
            product = self.times(&product, &factor);
        }
        product
    }

    /// Sums a product over indices as far as that is plain: what is outside of the sum, what stays inside, and the
    /// indices over which it is summed.
    pub(super) fn sum_out(&mut self, m: Monomial, over: &[IndexId]) -> (Monomial, Monomial, Vec<IndexId>) {
        let mut outer = Monomial::number(m.coefficient);
        let mut inner = m.factors;
        let mut left = over.to_vec();
        loop {
            let (own, out): (Vec<_>, Vec<_>) =
                inner.iter().copied().partition(|(atom, _)| left.iter().any(|&i| self.mentions(*atom, i)));
            outer = self.times(&outer, &Monomial { coefficient: 1.0, factors: out });
            inner = own;
            let done = left.iter().position(|&i| {
                let mut with = inner.iter().filter(|(atom, _)| self.mentions(*atom, i));
                match (with.next(), with.next()) {
                    (None, _) => true,
                    (Some((atom, e)), None) => *e == 1.0 && self.is_softmax(*atom, i),
                    _ => false,
                }
            });
            let Some(at) = done else { break };
            let i = left.remove(at);
            match inner.iter().position(|(atom, _)| self.mentions(*atom, i)) {
                Some(at) => {
                    inner.remove(at);
                }
                None => {
                    let extent = self.scope.layer.index(i).extent.clone();
                    let extent = self.factor(&build::extent(&extent, crate::diag::Span::default()));
                    outer = self.times(&outer, &extent);
                }
            }
        }
        (outer, Monomial { coefficient: 1.0, factors: inner }, left)
    }

    /// Whether an atom is a softmax along an index over all of which it is looked at.
    pub(super) fn is_softmax(&self, atom: usize, i: IndexId) -> bool {
        let Atom::Of(e) = &self.atoms[atom] else { return false };
        let ExprKind::Normalise { op: NormaliseOp::Softmax, index, at, body, .. } = &e.kind else { return false };
        let extent = |i: IndexId| &self.scope.layer.index(i).extent;
        at.kind == ExprKind::Index(i) && !build::mentions(body, i) && extent(*index) == extent(i)
    }

    /// An expression as a sum of products.
    pub(super) fn expand(&mut self, e: &Expr) -> Poly {
        if e.ty != Scalar::Complex && self.spend() {
            match &e.kind {
                ExprKind::Widen(a) => return self.expand(a),
                ExprKind::Unary(UnaryOp::Neg, a) => {
                    let a = self.expand(a);
                    return negate(a);
                }
                ExprKind::Binary(op @ (BinaryOp::Add | BinaryOp::Sub), a, b) => {
                    let (a, b) = (self.expand(a), self.expand(b));
                    let b = if *op == BinaryOp::Sub { negate(b) } else { b };
                    let sum = add(a, b);
                    return if sum.len() <= MAX_TERMS { sum } else { vec![self.opaque(e)] };
                }
                ExprKind::Binary(BinaryOp::Mul, a, b) => {
                    let (x, y) = (self.expand(a), self.expand(b));
                    if x.len() * y.len() <= MAX_TERMS {
                        return self.multiply(&x, &y);
                    }
                }
                ExprKind::Binary(BinaryOp::Div, a, b) => {
                    let a = self.expand(a);
                    let b = self.power_of(b, -1.0);
                    return self.multiply(&a, &vec![b]);
                }
                ExprKind::Read { value, at } if self.scope.layer.value(*value).kind == ValueKind::Let => {
                    if let Some(body) = self.definition(*value, at) {
                        return self.inside(|this| this.expand(&body));
                    }
                }
                _ => {}
            }
        }
        let m = self.factor(e);
        if m.coefficient == 0.0 { Vec::new() } else { vec![m] }
    }

    /// The product of two sums.
    pub(super) fn multiply(&mut self, a: &Poly, b: &Poly) -> Poly {
        let mut sum = Poly::new();
        for x in a {
            for y in b {
                let product = self.times(x, y);
                sum = add(sum, vec![product]);
            }
        }
        sum
    }

    /// Whether an atom mentions an index.
    pub(super) fn mentions(&self, atom: usize, i: IndexId) -> bool {
        match &self.atoms[atom] {
            Atom::Of(e) => build::mentions(e, i),
            Atom::Sum(terms) => terms.iter().any(|m| self.monomial_mentions(m, i)),
            Atom::Share(part, of) => self.monomial_mentions(part, i) || self.mentions(*of, i),
        }
    }

    /// Whether a product mentions an index.
    pub(super) fn monomial_mentions(&self, m: &Monomial, i: IndexId) -> bool {
        m.factors.iter().any(|(atom, _)| self.mentions(*atom, i))
    }

    /// Bounds of an atom.
    pub(super) fn range_of(&self, atom: usize) -> Range {
        if let Some(known) = self.ranges.borrow().get(&atom) {
            return *known;
        }
        let range = match &self.atoms[atom] {
            Atom::Of(e) => interval::of(&self.scope.layer, e),
            Atom::Sum(terms) => (self.lower(terms), self.upper(terms)),
            Atom::Share(..) => (0.0, 1.0),
        };
        self.ranges.borrow_mut().insert(atom, range);
        range
    }

    /// An atom as an expression.
    pub(super) fn atom(&self, atom: usize) -> Expr {
        match &self.atoms[atom] {
            Atom::Of(e) => e.clone(),
            Atom::Sum(terms) => self.sum(terms),
            Atom::Share(part, of) => build::div(self.product(part), self.atom(*of)),
        }
    }

    /// A product as an expression.
    pub(super) fn product(&self, m: &Monomial) -> Expr {
        let span = crate::diag::Span::default();
        let raise = |(atom, e): &(usize, f64)| {
            let base = self.atom(*atom);
            match *e {
                1.0 => base,
                0.5 => build::call(Function::Sqrt, vec![base]),
                e if e.fract() == 0.0 && e.abs() <= 64.0 => {
                    build::expr(ExprKind::Powi(Box::new(base), e as i32), Scalar::Real, span)
                }
                e => build::call(Function::Pow, vec![base, build::real(e, span)]),
            }
        };
        let start = build::real(m.coefficient, span);
        let above = m.factors.iter().filter(|(_, e)| *e > 0.0);
        let above = above.fold(start, |product, f| build::mul(product, raise(f)));
        let below = m.factors.iter().filter(|(_, e)| *e < 0.0);
        below.fold(above, |product, (atom, e)| build::div(product, raise(&(*atom, -e))))
    }

    /// A sum as an expression.
    pub(super) fn sum(&self, terms: &Poly) -> Expr {
        let zero = build::real(0.0, crate::diag::Span::default());
        terms.iter().fold(zero, |sum, m| match m.coefficient < 0.0 {
            true => build::sub(sum, self.product(&Monomial { coefficient: -m.coefficient, ..m.clone() })),
            false => build::add(sum, self.product(m)),
        })
    }
}

/// The sum of two sums.
pub(super) fn add(mut a: Poly, b: Poly) -> Poly {
    for m in b {
        match a.iter().position(|other| other.factors == m.factors) {
            Some(at) => {
                a[at].coefficient += m.coefficient;
                if a[at].coefficient == 0.0 {
                    a.remove(at);
                }
            }
            None if m.coefficient == 0.0 => {}
            None => a.push(m),
        }
    }
    a
}

/// The negative of a sum.
pub(super) fn negate(mut a: Poly) -> Poly {
    a.iter_mut().for_each(|m| m.coefficient = -m.coefficient);
    a
}
