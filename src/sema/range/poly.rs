//! Polynomials with integer coefficients over atoms.

use std::collections::BTreeMap;

/// An atom of the prover's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AtomId(pub u32);

impl AtomId {
    /// The place in the prover's table.
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

/// A polynomial in normal form: no zero coefficients. Coefficients that overflow make it [`Poly::overflowed`], and
/// nothing is ever shown about such a one.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Poly {
    /// The atoms of each term, ascending, with repetitions; and its coefficient.
    terms: BTreeMap<Vec<AtomId>, i128>,
    overflowed: bool,
}

impl Poly {
    /// The number `n`.
    pub fn constant(n: i64) -> Self {
        Self::constant_wide(i128::from(n))
    }

    /// The number `n`.
    pub fn constant_wide(n: i128) -> Self {
        let terms = if n == 0 { BTreeMap::new() } else { BTreeMap::from([(Vec::new(), n)]) };
        Self { terms, overflowed: false }
    }

    /// The atom itself.
    pub fn atom(atom: AtomId) -> Self {
        Self { terms: BTreeMap::from([(vec![atom], 1)]), overflowed: false }
    }

    /// Whether a coefficient left the range that can be computed with.
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Its value, where it is a number.
    pub fn as_constant(&self) -> Option<i128> {
        match self.terms.len() {
            _ if self.overflowed => None,
            0 => Some(0),
            1 => self.terms.get(&Vec::new()).copied(),
            _ => None,
        }
    }

    /// The atom, where it is one.
    pub fn as_atom(&self) -> Option<AtomId> {
        match self.terms.iter().next() {
            Some((atoms, 1)) if self.terms.len() == 1 && atoms.len() == 1 && !self.overflowed => Some(atoms[0]),
            _ => None,
        }
    }

    /// The terms: their atoms and their coefficients.
    pub fn terms(&self) -> impl Iterator<Item = (&[AtomId], i128)> {
        self.terms.iter().map(|(atoms, &n)| (atoms.as_slice(), n))
    }

    /// All atoms, ascending, each once.
    pub fn atoms(&self) -> Vec<AtomId> {
        let mut atoms: Vec<AtomId> = self.terms.keys().flatten().copied().collect();
        atoms.sort_unstable();
        atoms.dedup();
        atoms
    }

    fn add_term(&mut self, atoms: Vec<AtomId>, coefficient: i128) {
        let entry = self.terms.entry(atoms).or_insert(0);
        match entry.checked_add(coefficient) {
            Some(sum) => *entry = sum,
            None => self.overflowed = true,
        }
    }

    fn tidy(mut self) -> Self {
        self.terms.retain(|_, n| *n != 0);
        self
    }

    /// The sum.
    pub fn plus(&self, other: &Poly) -> Poly {
        let mut sum = self.clone();
        sum.overflowed |= other.overflowed;
        for (atoms, n) in &other.terms {
            sum.add_term(atoms.clone(), *n);
        }
        sum.tidy()
    }

    /// The difference.
    pub fn minus(&self, other: &Poly) -> Poly {
        self.plus(&other.times(&Poly::constant(-1)))
    }

    /// The product.
    pub fn times(&self, other: &Poly) -> Poly {
        let mut product = Poly { overflowed: self.overflowed || other.overflowed, ..Poly::default() };
        // Products of large polynomials say nothing useful and would take long.
        if self.terms.len() * other.terms.len() > 256 {
            product.overflowed = true;
            return product;
        }
        for (a, n) in &self.terms {
            for (b, m) in &other.terms {
                let mut atoms = [a.as_slice(), b.as_slice()].concat();
                atoms.sort_unstable();
                product.overflowed |= atoms.len() > 12;
                match n.checked_mul(*m) {
                    Some(coefficient) => product.add_term(atoms, coefficient),
                    None => product.overflowed = true,
                }
            }
        }
        product.tidy()
    }

    /// Splits it into `quotient * divisor + rest` by the terms that the divisor divides; `None` where it divides none, or
    /// has more than one term.
    pub fn divided(&self, divisor: &Poly) -> Option<(Poly, Poly)> {
        let (by, coefficient) = divisor.terms().next().filter(|_| divisor.terms.len() == 1 && !divisor.overflowed)?;
        let mut quotient = Poly { overflowed: self.overflowed, ..Poly::default() };
        let mut rest = quotient.clone();
        for (atoms, n) in &self.terms {
            let mut left = atoms.clone();
            let atoms_divide = by.iter().all(|a| left.iter().position(|b| b == a).map(|at| left.remove(at)).is_some());
            match n.checked_rem(coefficient) {
                Some(0) if atoms_divide => quotient.add_term(left, n / coefficient),
                _ => rest.add_term(atoms.clone(), *n),
            }
        }
        (!quotient.terms.is_empty()).then_some((quotient, rest))
    }

    /// Splits it into `coefficient * atom + rest`; `None` where the atom does not stand in it linearly.
    pub fn split(&self, atom: AtomId) -> Option<(Poly, Poly)> {
        let mut coefficient = Poly { overflowed: self.overflowed, ..Poly::default() };
        let mut rest = coefficient.clone();
        for (atoms, n) in &self.terms {
            match atoms.iter().filter(|a| **a == atom).count() {
                0 => rest.add_term(atoms.clone(), *n),
                1 => {
                    let others = atoms.iter().copied().filter(|a| *a != atom).collect();
                    coefficient.add_term(others, *n);
                }
                _ => return None,
            }
        }
        Some((coefficient.tidy(), rest.tidy()))
    }

    /// The polynomial with another in the place of an atom.
    pub fn with(&self, atom: AtomId, value: &Poly) -> Poly {
        let mut result = Poly { overflowed: self.overflowed, ..Poly::default() };
        for (atoms, n) in &self.terms {
            let mut term = Poly::constant_wide(*n);
            for a in atoms {
                let factor = if *a == atom { value.clone() } else { Poly::atom(*a) };
                term = term.times(&factor);
            }
            result = result.plus(&term);
        }
        result
    }
}
