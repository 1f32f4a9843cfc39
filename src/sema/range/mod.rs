//! Proofs that an integer expression stays inside a range, for all dimensions of at least 1.
//!
//! In: integer expressions of the IR, extents, and the conditions of the `if`s around them. Out: yes, or not shown.
//! Expressions become [`Poly`]nomials over [`atoms`](Atom): dimensions, indices, quotients, and opaque values with
//! bounds. To show `p >= 0` the [`prove`](Prover::holds) step removes one atom after another, each by a bound that makes
//! `p` smaller; what is left is a polynomial in dimensions, which is non-negative for all dimensions of at least 1
//! when its coefficients are after the substitution `D = 1 + D'`.
//!
//! The method is sound and not complete: what it cannot show is an error that the user can guard with an `if`.

mod poly;
mod prove;

pub use poly::{AtomId, Poly};

use super::rewrite::free_indices;
use crate::ir::{BinaryOp, DimId, Expr, ExprKind, Extent, Function, IndexId, Layer, ReduceOp, Type};
use crate::ir::{UnaryOp, ValueId, ValueKind};

/// What a polynomial is made of.
#[derive(Clone, Debug, PartialEq)]
enum Atom {
    /// A dimension: at least 1.
    Dim(DimId),
    /// An index: at least 0, less than its extent.
    Index(IndexId),
    /// The quotient of two polynomials, rounded down; the divisor is positive.
    Quotient(Poly, Poly),
    /// The smaller of two polynomials.
    Min(Poly, Poly),
    /// The larger of two polynomials.
    Max(Poly, Poly),
    /// One of two polynomials, by a condition that says this much where it holds and where it does not.
    Either(Box<Either>),
    /// An element of a value of an index type: in `[0, extent)`. Of a delay, the steps stand behind the positions.
    Element(ValueId, Vec<Poly>, Poly),
    /// An element of another value, that nothing is known about.
    Value(ValueId, Vec<Poly>),
    /// An expression in `[0, extent)`.
    Below(Box<Source>, Poly),
    /// An expression that nothing is known about.
    Unknown(Box<Source>),
}

#[derive(Clone, Debug, PartialEq)]
struct Either {
    condition: Source,
    then: (Vec<Poly>, Poly),
    other: (Vec<Poly>, Poly),
}

/// Where an opaque value comes from: what comes from the same place is the same number.
#[derive(Clone, Debug, PartialEq)]
struct Source {
    expr: Expr,
    /// The values of its free indices, where these stand for something else.
    env: Vec<(IndexId, Poly)>,
    /// Tells draws of random numbers apart, which equal only themselves.
    draw: Option<usize>,
}

/// How many nodes of definitions are looked into.
const LOOKED_INTO: u32 = 4000;
/// How deep below its start an expression is looked for definitions.
const DEPTH_OF_DEFINITIONS: u32 = 64;

/// Shows that integers stay inside ranges.
pub struct Prover<'a> {
    layer: &'a Layer,
    atoms: Vec<Atom>,
    /// The steps that are left before the search gives up.
    fuel: u32,
    /// While set, the dimension is this multiple of the quotient that stands for it.
    assumed: Option<Assumption>,
    /// What is known where the integer is evaluated: polynomials that are not negative.
    given: Vec<Poly>,
    /// The nodes that were turned into polynomials.
    lowered: u32,
    /// How deep the expression is that is being turned into a polynomial.
    depth: u32,
}

/// That a dimension is a multiple of another: `dim = divisor * quotient`.
#[derive(Clone, Debug)]
struct Assumption {
    dim: AtomId,
    quotient: AtomId,
    value: Poly,
}

/// What a proof rests on: `divisor` divides `dividend`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divides {
    /// What must divide.
    pub divisor: Extent,
    /// What must be divided.
    pub dividend: Extent,
}

impl<'a> Prover<'a> {
    /// A prover for expressions of this layer.
    pub fn new(layer: &'a Layer) -> Self {
        Self { layer, atoms: Vec::new(), fuel: 0, assumed: None, given: Vec::new(), lowered: 0, depth: 0 }
    }

    fn atom(&mut self, atom: Atom) -> Poly {
        let id = self.atoms.iter().position(|known| *known == atom).unwrap_or_else(|| {
            self.atoms.push(atom);
            self.atoms.len() - 1
        });
        Poly::atom(AtomId(id as u32))
    }

    /// The identity of an expression whose indices have these values.
    fn source(&self, expr: &Expr, env: &[(IndexId, Poly)]) -> Source {
        let free = free_indices(expr);
        let values = free.iter().filter_map(|i| {
            let known = env.iter().rev().find(|(known, _)| known == i);
            known.cloned()
        });
        let mut random = false;
        expr.walk(&mut |e| random |= matches!(e.kind, ExprKind::Random(..)));
        Source { expr: expr.clone(), env: values.collect(), draw: random.then_some(self.atoms.len()) }
    }

    fn unknown(&mut self, expr: &Expr, env: &[(IndexId, Poly)]) -> Poly {
        let source = self.source(expr, env);
        self.atom(Atom::Unknown(Box::new(source)))
    }

    /// The polynomial of an extent.
    pub fn extent(&mut self, extent: &Extent) -> Poly {
        let mut both = |a: &Extent, b: &Extent| (self.extent(a), self.extent(b));
        match extent {
            Extent::Lit(n) => Poly::constant(*n),
            Extent::Dim(d) => self.atom(Atom::Dim(*d)),
            Extent::Add(a, b) => {
                let (a, b) = both(a, b);
                a.plus(&b)
            }
            Extent::Sub(a, b) => {
                let (a, b) = both(a, b);
                a.minus(&b)
            }
            Extent::Mul(a, b) => {
                let (a, b) = both(a, b);
                a.times(&b)
            }
            Extent::FloorDiv(a, b) => {
                let (a, b) = both(a, b);
                self.quotient(a, b)
            }
            Extent::Mod(a, b) => {
                let (a, b) = both(a, b);
                self.remainder(a, b)
            }
        }
    }

    fn quotient(&mut self, a: Poly, b: Poly) -> Poly {
        match (a.as_constant(), b.as_constant()) {
            (_, Some(1)) => a,
            (Some(a), Some(b)) if b > 0 => Poly::constant_wide(a.div_euclid(b)),
            _ => match a.divided(&b) {
                Some((whole, rest)) => whole.plus(&self.quotient(rest, b)),
                None => self.atom(Atom::Quotient(a, b)),
            },
        }
    }

    fn remainder(&mut self, a: Poly, b: Poly) -> Poly {
        let quotient = self.quotient(a.clone(), b.clone());
        a.minus(&b.times(&quotient))
    }

    /// The polynomial of an integer expression.
    pub fn integer(&mut self, expr: &Expr) -> Poly {
        self.lower(expr, &[])
    }

    /// `env` gives the values of indices that stand for something else: those of a definition that is looked into.
    fn lower(&mut self, expr: &Expr, env: &[(IndexId, Poly)]) -> Poly {
        self.lowered += 1;
        self.depth += 1;
        let poly = self.lower_kind(expr, env);
        self.depth -= 1;
        poly
    }

    fn lower_kind(&mut self, expr: &Expr, env: &[(IndexId, Poly)]) -> Poly {
        match &expr.kind {
            ExprKind::Int(n) => Poly::constant(*n),
            ExprKind::Dim(d) => self.atom(Atom::Dim(*d)),
            ExprKind::Index(i) => match env.iter().rev().find(|(known, _)| known == i) {
                Some((_, value)) => value.clone(),
                None => self.atom(Atom::Index(*i)),
            },
            ExprKind::Read { value, at } => self.read(*value, at, env),
            ExprKind::Past { delay, at, steps } => {
                let at = at.iter().chain([&**steps]);
                let at = at.map(|e| self.lower(e, env)).collect();
                self.element(*delay, at)
            }
            ExprKind::Unary(UnaryOp::Neg, e) => Poly::constant(0).minus(&self.lower(e, env)),
            ExprKind::Binary(op, a, b) => {
                let (a, b) = (self.lower(a, env), self.lower(b, env));
                match op {
                    BinaryOp::Add => a.plus(&b),
                    BinaryOp::Sub => a.minus(&b),
                    BinaryOp::Mul => a.times(&b),
                    BinaryOp::FloorDiv => self.quotient(a, b),
                    BinaryOp::Mod => self.remainder(a, b),
                    _ => self.unknown(expr, env),
                }
            }
            ExprKind::Call(function, args) => {
                let args: Vec<Poly> = args.iter().map(|arg| self.lower(arg, env)).collect();
                match (function, args.as_slice()) {
                    (Function::Min, [a, b]) => self.atom(Atom::Min(a.clone(), b.clone())),
                    (Function::Max, [a, b]) => self.atom(Atom::Max(a.clone(), b.clone())),
                    (Function::Relu, [a]) => self.atom(Atom::Max(a.clone(), Poly::constant(0))),
                    (Function::Abs, [a]) => self.atom(Atom::Max(a.clone(), Poly::constant(0).minus(a))),
                    (Function::Clamp, [x, low, high]) => {
                        let least = self.atom(Atom::Max(x.clone(), low.clone()));
                        self.atom(Atom::Min(least, high.clone()))
                    }
                    _ => self.unknown(expr, env),
                }
            }
            ExprKind::If(parts) => {
                let [condition, then, other] = &**parts;
                let then = self.branch(condition, true, then, env);
                let other = self.branch(condition, false, other, env);
                let condition = self.source(condition, env);
                self.atom(Atom::Either(Box::new(Either { condition, then, other })))
            }
            ExprKind::Reduce { op: ReduceOp::ArgMax | ReduceOp::ArgMin, indices, .. } => match indices.as_slice() {
                [i] => self.place(expr, env, *i),
                _ => self.unknown(expr, env),
            },
            _ => self.unknown(expr, env),
        }
    }

    /// The place of the largest of some elements: the first, where there are none.
    fn place(&mut self, expr: &Expr, env: &[(IndexId, Poly)], index: IndexId) -> Poly {
        let one = Poly::constant(1);
        let mut extent = self.extent(&self.layer.index(index).extent.clone());
        if !self.holds(&extent.minus(&one), &[]) {
            extent = self.atom(Atom::Max(extent, one));
        }
        let source = self.source(expr, env);
        self.atom(Atom::Below(Box::new(source), extent))
    }

    fn element(&mut self, value: ValueId, at: Vec<Poly>) -> Poly {
        let atom = match &self.layer.value(value).ty {
            Type::Index(extent) => {
                let extent = self.extent(&extent.clone());
                Atom::Element(value, at, extent)
            }
            _ => Atom::Value(value, at),
        };
        self.atom(atom)
    }

    fn read(&mut self, value: ValueId, at: &[Expr], env: &[(IndexId, Poly)]) -> Poly {
        let at: Vec<Poly> = at.iter().map(|e| self.lower(e, env)).collect();
        let looks = self.lowered < LOOKED_INTO && self.depth < DEPTH_OF_DEFINITIONS;
        if matches!(self.layer.value(value).ty, Type::Index(_)) || !looks {
            return self.element(value, at);
        }
        let kind = self.layer.value(value).kind;
        match self.layer.definition(value) {
            Some(equation) if matches!(kind, ValueKind::Let | ValueKind::Output) => {
                let env: Vec<_> = equation.indices.iter().copied().zip(at).collect();
                self.lower(&equation.body, &env)
            }
            _ => self.element(value, at),
        }
    }

    /// A branch of an `if`: what is known in it, and its value.
    fn branch(&mut self, condition: &Expr, holds: bool, value: &Expr, env: &[(IndexId, Poly)]) -> (Vec<Poly>, Poly) {
        let before = self.given.len();
        self.learn(condition, holds, env);
        let value = self.lower(value, env);
        (self.given.split_off(before), value)
    }

    /// Takes a condition for known to have this truth value.
    pub fn assume_that(&mut self, condition: &Expr, holds: bool) {
        self.learn(condition, holds, &[]);
    }

    /// Adds what a condition says about integers where it has this truth value.
    fn learn(&mut self, condition: &Expr, holds: bool, env: &[(IndexId, Poly)]) {
        let (op, a, b) = match &condition.kind {
            ExprKind::Unary(UnaryOp::Not, e) => return self.learn(e, !holds, env),
            ExprKind::Binary(op, a, b) => (*op, a, b),
            _ => return,
        };
        if (op == BinaryOp::And && holds) || (op == BinaryOp::Or && !holds) {
            self.learn(a, holds, env);
            self.learn(b, holds, env);
            return;
        }
        if !op.is_comparison() || a.ty != crate::ir::Scalar::Int {
            return;
        }
        let (a, b) = (self.lower(a, env), self.lower(b, env));
        let one = Poly::constant(1);
        let at_least = |a: &Poly, b: &Poly| a.minus(b);
        let more = |a: &Poly, b: &Poly| a.minus(b).minus(&one);
        let facts = match (op, holds) {
            (BinaryOp::Lt, true) | (BinaryOp::Ge, false) => vec![more(&b, &a)],
            (BinaryOp::Le, true) | (BinaryOp::Gt, false) => vec![at_least(&b, &a)],
            (BinaryOp::Gt, true) | (BinaryOp::Le, false) => vec![more(&a, &b)],
            (BinaryOp::Ge, true) | (BinaryOp::Lt, false) => vec![at_least(&a, &b)],
            (BinaryOp::Eq, true) | (BinaryOp::Ne, false) => {
                vec![at_least(&a, &b), at_least(&b, &a)]
            }
            // Unequal: more where it is known to be at least as much, less where it is at most as much.
            _ => {
                let given = self.given.clone();
                if self.holds(&at_least(&a, &b), &given) {
                    vec![more(&a, &b)]
                } else if self.holds(&at_least(&b, &a), &given) {
                    vec![more(&b, &a)]
                } else {
                    Vec::new()
                }
            }
        };
        self.given.extend(facts);
    }

    /// Takes for known that the indices in an expression have a value: their extents are at least 1.
    pub fn assume_inhabited(&mut self, expr: &Expr) {
        let one = Poly::constant(1);
        for i in free_indices(expr) {
            let extent = self.layer.index(i).extent.clone();
            if !matches!(extent, Extent::Lit(_) | Extent::Dim(_)) {
                let fact = self.extent(&extent).minus(&one);
                self.given.push(fact);
            }
        }
    }

    /// Shows that a polynomial is not negative wherever what is known holds.
    ///
    /// # Errors
    /// It could not be shown. Where that needs one dimension to divide another, it says which.
    pub fn shows(&mut self, goal: &Poly) -> Result<Option<Divides>, NotShown> {
        let facts = self.given.clone();
        if self.holds(goal, &facts) {
            return Ok(None);
        }
        for id in 0..self.atoms.len() {
            let Atom::Quotient(dividend, divisor) = self.atoms[id].clone() else {
                continue;
            };
            let (Some(dim), Some(by)) = (self.as_dim(&dividend), self.as_dim(&divisor)) else {
                continue;
            };
            let quotient = AtomId(id as u32);
            let value = divisor.times(&Poly::atom(quotient));
            let dim_atom = dividend.as_atom().expect("a dimension is an atom");
            self.assumed = Some(Assumption { dim: dim_atom, quotient, value });
            let shown = self.holds(goal, &facts);
            self.assumed = None;
            if shown {
                return Ok(Some(Divides { divisor: Extent::Dim(by), dividend: Extent::Dim(dim) }));
            }
        }
        Err(NotShown)
    }

    fn as_dim(&self, poly: &Poly) -> Option<DimId> {
        match self.atoms[poly.as_atom()?.at()] {
            Atom::Dim(d) => Some(d),
            _ => None,
        }
    }
}

/// What was to be shown could not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotShown;

/// Whether two extents are equal for all dimensions.
pub fn same_extent(layer: &Layer, a: &Extent, b: &Extent) -> bool {
    if a == b {
        return true;
    }
    let mut prover = Prover::new(layer);
    let (a, b) = (prover.extent(a), prover.extent(b));
    a == b && !a.overflowed()
}
