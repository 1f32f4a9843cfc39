//! Dimensions from options, the shapes of tensors, and defaults.
//!
//! Every axis of a given tensor is an equation `extent == length`. Equations with one unknown dimension are
//! solved, as far as they determine it, until nothing is left to solve; then the first default that can be
//! evaluated is taken, and so on. In the end every equation is checked.

use super::instance::MAX_DIM;
use super::{DimId, Extent, Layer, ValueId, print};
use crate::diag::{Code, Diagnostic};

/// Finds a number for each dimension.
///
/// `given` has the numbers that the user chose, by dimension. `shapes` has the axes of the tensors that are at
/// hand (those that the layer declares, without the axes of batch and time), each with the file that it is from.
///
/// # Errors
/// S404 a shape that does not fit; S407 dimensions without a value or with two; S408 dimensions out of bounds.
pub fn solve_dims(
    layer: &Layer,
    given: &[Option<i64>],
    shapes: &[(ValueId, Vec<usize>, String)],
) -> Result<Vec<i64>, Vec<Diagnostic>> {
    Ok(solve_dims_or(layer, given, shapes, None)?.0)
}

/// The same, but that dimensions which nothing gives a value get the one of `fallback`; these come back, too.
///
/// # Errors
/// As for [`solve_dims`].
#[allow(clippy::type_complexity, reason = "the shapes of `solve_dims`")]
pub fn solve_dims_or(
    layer: &Layer,
    given: &[Option<i64>],
    shapes: &[(ValueId, Vec<usize>, String)],
    fallback: Option<i64>,
) -> Result<(Vec<i64>, Vec<DimId>), Vec<Diagnostic>> {
    let mut solver = Solver {
        layer,
        known: vec![None; layer.dims.len()],
        sources: vec![String::new(); layer.dims.len()],
        problems: Vec::new(),
    };
    for (at, value) in given.iter().enumerate().take(layer.dims.len()) {
        if let Some(value) = *value {
            solver.set(DimId(at as u32), value, "`--dim`".to_owned());
        }
    }
    let mut equations = solver.equations(shapes);
    solver.solve(&mut equations);
    let mut chosen = Vec::new();
    while solver.problems.is_empty() {
        if !solver.take_default() {
            let unknown = solver.known.iter().position(Option::is_none);
            let (Some(at), Some(value)) = (unknown, fallback) else { break };
            let dim = DimId(at as u32);
            solver.set(dim, value, "choice".to_owned());
            chosen.push(dim);
        }
        solver.solve(&mut equations);
    }
    solver.check_shapes(shapes);
    if solver.problems.is_empty() {
        solver.report_unknown();
    }
    let known: Option<Vec<i64>> = solver.known.into_iter().collect();
    match known {
        Some(dims) if solver.problems.is_empty() => Ok((dims, chosen)),
        _ => Err(solver.problems),
    }
}

/// `extent == length`
struct Equation<'a> {
    extent: &'a Extent,
    length: i64,
    value: ValueId,
    source: String,
    done: bool,
}

struct Solver<'a> {
    layer: &'a Layer,
    known: Vec<Option<i64>>,
    /// What gave each known dimension.
    sources: Vec<String>,
    problems: Vec<Diagnostic>,
}

impl<'a> Solver<'a> {
    fn set(&mut self, dim: DimId, value: i64, source: String) {
        if (1..=MAX_DIM).contains(&value) {
            self.known[dim.at()] = Some(value);
            self.sources[dim.at()] = source;
        } else {
            let dim = &self.layer.dims[dim.at()];
            let message = format!("dimension `{}` is {value} by {source}; it must be in 1..={MAX_DIM}", dim.name);
            self.problems.push(Diagnostic::error(Code::S408, dim.span, message));
        }
    }

    /// The name under which the user knows the tensor.
    fn name(&self, value: ValueId) -> &'a str {
        let param = self.layer.params.iter().find(|p| p.value == value);
        param.map_or(&self.layer.value(value).name, |p| &p.key)
    }

    fn equations(&mut self, shapes: &[(ValueId, Vec<usize>, String)]) -> Vec<Equation<'a>> {
        let layer = self.layer;
        let mut equations = Vec::new();
        for (value, shape, place) in shapes {
            let axes = &layer.value(*value).axes;
            if axes.len() != shape.len() {
                continue; // `check_shapes` reports it.
            }
            for (extent, &length) in axes.iter().zip(shape) {
                let length = i64::try_from(length).unwrap_or(i64::MAX);
                let source = format!("`{}` in {place}", self.name(*value));
                equations.push(Equation { extent, length, value: *value, source, done: false });
            }
        }
        equations
    }

    /// Solves what has one unknown until nothing changes.
    fn solve(&mut self, equations: &mut [Equation<'a>]) {
        loop {
            let before = self.known.iter().flatten().count();
            for equation in equations.iter_mut().filter(|e| !e.done) {
                let unknown: Vec<DimId> = equation.extent.dims();
                let mut unknown = unknown.into_iter().filter(|d| self.known[d.at()].is_none());
                match (unknown.next(), unknown.next()) {
                    (None, _) => equation.done = true,
                    (Some(dim), None) => self.solve_for(dim, equation),
                    _ => {}
                }
            }
            if self.known.iter().flatten().count() == before {
                return;
            }
        }
    }

    fn solve_for(&mut self, dim: DimId, equation: &mut Equation<'a>) {
        let Some(polynomial) = Polynomial::of(equation.extent, dim, &self.known) else { return };
        match polynomial.root(equation.length.into()) {
            Root::Any => {}
            Root::One(value) => {
                equation.done = true;
                self.set(dim, value, equation.source.clone());
            }
            Root::None => {
                equation.done = true;
                let message = format!(
                    "no `{}` makes the extent `{}` of `{}` {}, as it is by {}",
                    self.layer.dims[dim.at()].name,
                    print::extent(self.layer, equation.extent),
                    self.layer.value(equation.value).name,
                    equation.length,
                    equation.source
                );
                let span = self.layer.value(equation.value).span;
                self.problems.push(Diagnostic::error(Code::S404, span, message));
            }
        }
    }

    fn take_default(&mut self) -> bool {
        for (at, dim) in self.layer.dims.iter().enumerate() {
            let value = dim.default.as_ref().and_then(|default| default.eval(&self.known));
            if let (None, Some(value)) = (self.known[at], value) {
                self.set(DimId(at as u32), value, "its default".to_owned());
                return true;
            }
        }
        false
    }

    /// Reports tensors whose axes do not have the lengths that the dimensions ask for.
    fn check_shapes(&mut self, shapes: &[(ValueId, Vec<usize>, String)]) {
        for (value, shape, place) in shapes {
            let declared = self.layer.value(*value);
            let fits = |(extent, &length): (&Extent, &usize)| {
                extent.eval(&self.known).is_none_or(|n| usize::try_from(n) == Ok(length))
            };
            let wrong: Vec<usize> = (0..declared.axes.len().min(shape.len()))
                .filter(|&axis| !fits((&declared.axes[axis], &shape[axis])))
                .collect();
            if declared.axes.len() == shape.len() && wrong.is_empty() {
                continue;
            }
            let conflict = wrong.iter().find_map(|&axis| match declared.axes[axis] {
                Extent::Dim(dim) => Some((dim, shape[axis])),
                _ => None,
            });
            let diagnostic = match conflict {
                Some((dim, length)) if declared.axes.len() == shape.len() => {
                    self.two_values(dim, length, &format!("`{}` in {place}", self.name(*value)))
                }
                _ => self.wrong_shape(*value, shape, place),
            };
            self.problems.push(diagnostic.also(declared.span, "declared here"));
        }
    }

    fn two_values(&self, dim: DimId, length: usize, source: &str) -> Diagnostic {
        let other = self.known[dim.at()].unwrap_or_default();
        let by = &self.sources[dim.at()];
        let dim = &self.layer.dims[dim.at()];
        let message = format!("dimension `{}` is {length} by {source} and {other} by {by}", dim.name);
        Diagnostic::error(Code::S407, dim.span, message)
    }

    fn wrong_shape(&self, value: ValueId, shape: &[usize], place: &str) -> Diagnostic {
        let axes = &self.layer.value(value).axes;
        let lengths: Option<Vec<String>> =
            axes.iter().map(|axis| axis.eval(&self.known).map(|n| n.to_string())).collect();
        let expected = print::shape(self.layer, axes);
        let expected = match lengths {
            Some(lengths) if !axes.is_empty() => format!("`{expected}` = `[{}]`", lengths.join(", ")),
            _ => format!("`{expected}`"),
        };
        let message = format!("expected {expected} for `{}`, found `{shape:?}`", self.name(value));
        Diagnostic::error_at(Code::S404, place, message)
    }

    fn report_unknown(&mut self) {
        for (at, dim) in self.layer.dims.iter().enumerate() {
            if self.known[at].is_none() {
                let message = format!("nothing gives dimension `{}` a value", dim.name);
                let help = format!("give it one with `--dim {}=..`", dim.name);
                self.problems.push(Diagnostic::error(Code::S407, dim.span, message).help(help));
            }
        }
    }
}

/// How many dimensions solve an equation.
#[derive(Debug, PartialEq)]
enum Root {
    /// The equation does not determine it.
    Any,
    /// This one.
    One(i64),
    /// No dimension does.
    None,
}

/// A polynomial in one dimension, by ascending powers.
#[derive(Debug, PartialEq)]
struct Polynomial(Vec<i128>);

impl Polynomial {
    /// The extent as a polynomial in `dim`, the only dimension that has no value; `None` where it is none, or
    /// where its coefficients are out of bounds.
    fn of(extent: &Extent, dim: DimId, known: &[Option<i64>]) -> Option<Polynomial> {
        if let Some(value) = extent.eval(known) {
            return Some(Polynomial(vec![value.into()]));
        }
        let both = |a: &Extent, b: &Extent| Some((Self::of(a, dim, known)?, Self::of(b, dim, known)?));
        match extent {
            Extent::Dim(d) => (*d == dim).then(|| Polynomial(vec![0, 1])),
            Extent::Add(a, b) => both(a, b).and_then(|(a, b)| a.zip(&b, i128::checked_add)),
            Extent::Sub(a, b) => both(a, b).and_then(|(a, b)| a.zip(&b, i128::checked_sub)),
            Extent::Mul(a, b) => both(a, b).and_then(|(a, b)| a.times(&b)),
            Extent::Lit(_) | Extent::FloorDiv(..) | Extent::Mod(..) => None,
        }
    }

    fn zip(&self, other: &Self, op: impl Fn(i128, i128) -> Option<i128>) -> Option<Polynomial> {
        let at = |p: &Self, i: usize| p.0.get(i).copied().unwrap_or(0);
        let length = self.0.len().max(other.0.len());
        let terms: Option<Vec<i128>> = (0..length).map(|i| op(at(self, i), at(other, i))).collect();
        terms.map(Polynomial)
    }

    fn times(&self, other: &Self) -> Option<Polynomial> {
        // Extents of more than a few factors of one dimension are not worth solving.
        if self.0.len() + other.0.len() > 16 {
            return None;
        }
        let mut terms = vec![0i128; self.0.len() + other.0.len() - 1];
        for (i, a) in self.0.iter().enumerate() {
            for (j, b) in other.0.iter().enumerate() {
                terms[i + j] = terms[i + j].checked_add(a.checked_mul(*b)?)?;
            }
        }
        Some(Polynomial(terms))
    }

    /// The value at `x`, held at the bounds of `i128`.
    fn at(&self, x: i128) -> i128 {
        self.0.iter().rev().fold(0i128, |sum, term| sum.saturating_mul(x).saturating_add(*term))
    }

    /// The `x` in `1..=MAX_DIM` with `self(x) == target`.
    fn root(&self, target: i128) -> Root {
        let rising = self.0.iter().skip(1).all(|t| *t >= 0);
        let falling = self.0.iter().skip(1).all(|t| *t <= 0);
        match (rising, falling) {
            (true, true) | (false, false) => return Root::Any,
            _ => {}
        }
        let below = |x: i128| if rising { self.at(x) < target } else { self.at(x) > target };
        let (mut low, mut high) = (1i128, i128::from(MAX_DIM));
        while low < high {
            let middle = (low + high) / 2;
            if below(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if self.at(low) == target { Root::One(low as i64) } else { Root::None }
    }
}
