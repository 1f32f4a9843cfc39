//! The search for a proof that a polynomial is not negative.

use super::{Atom, AtomId, Poly, Prover};

/// How many steps the search may take at each depth.
const FUEL: u32 = 1500;
/// How deep bounds may be put into bounds: shallow proofs are looked for first.
const DEPTHS: [u32; 4] = [3, 6, 12, 24];

impl Prover<'_> {
    /// Whether the polynomial is shown not to be negative wherever the facts are not.
    pub(super) fn holds(&mut self, goal: &Poly, facts: &[Poly]) -> bool {
        // Inside of a search (a fact that needs a proof itself) the fuel is shared.
        if self.fuel > 0 {
            return self.prove(goal, facts, DEPTHS[0]);
        }
        let shown = DEPTHS.into_iter().any(|depth| {
            self.fuel = FUEL;
            self.prove(goal, facts, depth)
        });
        self.fuel = 0;
        shown
    }

    fn prove(&mut self, goal: &Poly, facts: &[Poly], depth: u32) -> bool {
        if depth == 0 || self.fuel <= 1 {
            return false;
        }
        self.fuel -= 1;
        let goal = self.assume(goal);
        if goal.overflowed() {
            return false;
        }
        if let Some(n) = goal.as_constant() {
            return n >= 0;
        }
        if self.only_dims(&goal) && self.dims_suffice(&goal) {
            return true;
        }
        // Later atoms are made of earlier ones: they go first.
        let last = goal.atoms().into_iter().rev().find(|a| !self.is_dim(*a));
        if let Some(atom) = last
            && let Some((coefficient, rest)) = goal.split(atom)
            && self.remove(atom, &coefficient, &rest, facts, depth)
        {
            return true;
        }
        // A fact may be worth more than a bound: goal = fact + (goal - fact).
        facts.iter().any(|fact| {
            let fact = self.assume(fact);
            let shared = fact.atoms().iter().any(|a| goal.atoms().contains(a));
            shared && self.prove(&goal.minus(&fact), facts, depth - 1)
        })
    }

    /// The polynomial under the assumption that one dimension divides another, where there is one.
    fn assume(&self, poly: &Poly) -> Poly {
        match &self.assumed {
            Some(assumption) => poly.with(assumption.dim, &assumption.value),
            None => poly.clone(),
        }
    }

    fn is_dim(&self, atom: AtomId) -> bool {
        matches!(self.atoms[atom.at()], Atom::Dim(_)) || self.assumed.as_ref().is_some_and(|a| a.quotient == atom)
    }

    fn only_dims(&self, poly: &Poly) -> bool {
        poly.atoms().into_iter().all(|a| self.is_dim(a))
    }

    /// With `D = 1 + D'` no coefficient is negative.
    fn dims_suffice(&self, poly: &Poly) -> bool {
        let mut shifted = poly.clone();
        for atom in poly.atoms() {
            shifted = shifted.with(atom, &Poly::atom(atom).plus(&Poly::constant(1)));
        }
        !shifted.overflowed() && shifted.terms().all(|(_, n)| n >= 0)
    }

    fn sign(&mut self, coefficient: &Poly, facts: &[Poly], depth: u32) -> Option<bool> {
        if self.prove(coefficient, facts, depth.min(8) - 1) {
            return Some(true);
        }
        let negative = Poly::constant(0).minus(coefficient);
        self.prove(&negative, facts, depth.min(8) - 1).then_some(false)
    }

    /// Shows `coefficient * atom + rest >= 0` by what is known of the atom.
    fn remove(&mut self, atom: AtomId, coefficient: &Poly, rest: &Poly, facts: &[Poly], depth: u32) -> bool {
        let Some(positive) = self.sign(coefficient, facts, depth) else {
            return false;
        };
        let put = |value: &Poly| coefficient.times(value).plus(rest);
        let one = Poly::constant(1);
        let shown = match self.atoms[atom.at()].clone() {
            Atom::Dim(_) | Atom::Value(..) | Atom::Unknown(_) => false,
            Atom::Index(i) => {
                let extent = self.extent(&self.layer.index(i).extent.clone());
                let bound = if positive { Poly::constant(0) } else { extent.minus(&one) };
                self.prove(&put(&bound), facts, depth - 1)
            }
            Atom::Element(_, _, extent) | Atom::Below(_, extent) => {
                let bound = if positive { Poly::constant(0) } else { extent.minus(&one) };
                self.prove(&put(&bound), facts, depth - 1)
            }
            Atom::Quotient(a, b) => {
                let sound = self.prove(&b.minus(&one), facts, depth - 1);
                let unit = coefficient.as_constant();
                let exact = match unit {
                    // q + rest >= 0 is q >= -rest is a >= -rest * b.
                    Some(1) => Some(a.plus(&b.times(rest))),
                    // rest - q >= 0 is q < rest + 1 is a < (rest + 1) * b.
                    Some(-1) => Some(b.times(&rest.plus(&one)).minus(&one).minus(&a)),
                    _ => None,
                };
                // b * q lies in (a - b, a].
                let least = if positive { a.minus(&b).plus(&one) } else { a.clone() };
                let loose = coefficient.times(&least).plus(&b.times(rest));
                let mut shows = |goal: &Poly| self.prove(goal, facts, depth - 1);
                sound
                    && (exact.is_some_and(|goal| shows(&goal))
                        || shows(&loose)
                        || (positive && shows(&a) && shows(rest)))
            }
            Atom::Min(a, b) | Atom::Max(a, b) => {
                let both = matches!(self.atoms[atom.at()], Atom::Min(..)) == positive;
                let first = self.prove(&put(&a), facts, depth - 1);
                if first == both { self.prove(&put(&b), facts, depth - 1) } else { first }
            }
            Atom::Either(either) => [either.then, either.other].iter().all(|(more, value)| {
                let facts: Vec<Poly> = facts.iter().chain(more).cloned().collect();
                self.prove(&put(value), &facts, depth - 1)
            }),
        };
        if shown {
            return true;
        }
        // Facts that bound the atom on the side that matters.
        let bounds: Vec<Poly> = facts
            .iter()
            .filter_map(|fact| {
                let (c, g) = self.assume(fact).split(atom)?;
                match (c.as_constant()?, positive) {
                    (1, true) => Some(Poly::constant(0).minus(&g)),
                    (-1, false) => Some(g),
                    _ => None,
                }
            })
            .collect();
        bounds.iter().any(|bound| self.prove(&put(bound), facts, depth - 1))
    }
}
