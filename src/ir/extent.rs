//! Symbolic extents: integer expressions over dimensions.

use super::DimId;

/// An integer expression over dimensions: the extent of an axis or an index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Extent {
    /// A number.
    Lit(i64),
    /// A dimension.
    Dim(DimId),
    /// A sum.
    Add(Box<Extent>, Box<Extent>),
    /// A difference.
    Sub(Box<Extent>, Box<Extent>),
    /// A product.
    Mul(Box<Extent>, Box<Extent>),
    /// A quotient, rounded down.
    FloorDiv(Box<Extent>, Box<Extent>),
    /// A remainder, with the sign of the divisor.
    Mod(Box<Extent>, Box<Extent>),
}

impl Extent {
    /// Its value, where the dimensions have these; `None` on overflow, division by zero, or where a dimension that
    /// it needs has none.
    pub fn eval(&self, dims: &[Option<i64>]) -> Option<i64> {
        let both = |a: &Extent, b: &Extent| Some((a.eval(dims)?, b.eval(dims)?));
        match self {
            Extent::Lit(n) => Some(*n),
            Extent::Dim(d) => dims.get(d.at()).copied().flatten(),
            Extent::Add(a, b) => both(a, b).and_then(|(a, b)| a.checked_add(b)),
            Extent::Sub(a, b) => both(a, b).and_then(|(a, b)| a.checked_sub(b)),
            Extent::Mul(a, b) => both(a, b).and_then(|(a, b)| a.checked_mul(b)),
            Extent::FloorDiv(a, b) => both(a, b).and_then(|(a, b)| floor_div(a, b)),
            Extent::Mod(a, b) => both(a, b).and_then(|(a, b)| floor_mod(a, b)),
        }
    }

    /// The dimensions that it mentions, each once, in the order of their first use.
    pub fn dims(&self) -> Vec<DimId> {
        let mut found = Vec::new();
        self.each_dim(&mut |d| {
            if !found.contains(&d) {
                found.push(d);
            }
        });
        found
    }

    fn each_dim(&self, visit: &mut impl FnMut(DimId)) {
        match self {
            Extent::Lit(_) => {}
            Extent::Dim(d) => visit(*d),
            Extent::Add(a, b) | Extent::Sub(a, b) | Extent::Mul(a, b) | Extent::FloorDiv(a, b) | Extent::Mod(a, b) => {
                a.each_dim(visit);
                b.each_dim(visit);
            }
        }
    }
}

/// `a // b`: the quotient, rounded down. `None` for a zero divisor and on overflow.
pub fn floor_div(a: i64, b: i64) -> Option<i64> {
    let quotient = a.checked_div(b)?;
    Some(if a % b != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient })
}

/// `a % b`: the remainder with the sign of the divisor. `None` for a zero divisor and on overflow.
pub fn floor_mod(a: i64, b: i64) -> Option<i64> {
    let rest = a.checked_rem(b)?;
    Some(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
}

impl Extent {
    /// The extent as the language writes it.
    pub fn text(&self, dims: &[super::Dim]) -> String {
        self.text_at(dims, 0)
    }

    fn text_at(&self, dims: &[super::Dim], outer: u8) -> String {
        let (level, a, op, b) = match self {
            Extent::Lit(n) => return n.to_string(),
            Extent::Dim(d) => {
                return dims.get(d.at()).map_or_else(|| format!("?{}", d.0), |dim| dim.name.clone());
            }
            Extent::Add(a, b) => (1, a, "+", b),
            Extent::Sub(a, b) => (1, a, "-", b),
            Extent::Mul(a, b) => (2, a, "*", b),
            Extent::FloorDiv(a, b) => (2, a, "//", b),
            Extent::Mod(a, b) => (2, a, "%", b),
        };
        let text = format!("{} {op} {}", a.text_at(dims, level), b.text_at(dims, level + 1));
        if level < outer { format!("({text})") } else { text }
    }
}
