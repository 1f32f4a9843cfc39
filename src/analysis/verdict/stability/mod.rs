//! Whether a transition can grow, for all parameters and inputs for which values are finite.
//!
//! In: the components of an affine group. Out: a [`Stability`], with a reason that can be checked by hand. What `always`
//! and `never` claim:
//!
//! - of a diagonal transition, that `|a| <= 1`, or `|a| > 1`, for each of its elements;
//! - of a matrix, `always` that products of any number of transitions stay bounded. Where it changes over time, one operator
//!   norm is at most 1 at every step, or the transition is nilpotent for its structure alone; where it is the same at
//!   every step, a spectral radius below 1 does too. `never` is that every transition has an eigenvalue above 1 in
//!   magnitude.
//!
//! Rounding is not looked at: a rotation counts as one. The methods, each sound and none complete: [`norms`] (row sums,
//! column sums, squares), [`rank_one`], [`triangle`], [`small`] and [`updates`], on top of sums of products ([`symbols`]) and
//! their [`bounds`].

mod bounds;
mod interval;
mod norms;
mod rank_one;
mod small;
mod sums;
mod symbols;
mod triangle;
mod updates;

use super::algebra::Algebra;
use super::build::Scope;
use super::{Affine, Class, coefficient};
use crate::ir::{Layer, Scalar, StateId};
use symbols::Symbols;

pub(super) use interval::nonnegative;

/// Whether `|a| <= 1`, and why: a sentence, lower case, no full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stability {
    /// For all parameters and inputs.
    Always(String),
    /// For none.
    Never(String),
    /// It depends on the numbers, or could not be decided.
    Unknown(String),
}

impl Stability {
    /// Its name in the contract.
    pub fn name(&self) -> &'static str {
        match self {
            Stability::Always(_) => "always",
            Stability::Never(_) => "never",
            Stability::Unknown(_) => "unknown",
        }
    }

    /// Why.
    pub fn reason(&self) -> &str {
        match self {
            Stability::Always(reason) | Stability::Never(reason) | Stability::Unknown(reason) => reason,
        }
    }
}

/// The most nodes of the forms that are looked at.
const MAX_NODES: usize = 5000;

/// The operator norms that are at most 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Norms {
    rows: bool,
    columns: bool,
    euclidean: bool,
}

impl Norms {
    const NONE: Norms = Norms { rows: false, columns: false, euclidean: false };
    const ALL: Norms = Norms { rows: true, columns: true, euclidean: true };

    fn both(self, other: Norms) -> Norms {
        Norms {
            rows: self.rows && other.rows,
            columns: self.columns && other.columns,
            euclidean: self.euclidean && other.euclidean,
        }
    }

    fn either(self, other: Norms) -> Norms {
        Norms {
            rows: self.rows || other.rows,
            columns: self.columns || other.columns,
            euclidean: self.euclidean || other.euclidean,
        }
    }

    /// One of them.
    fn name(self) -> Option<&'static str> {
        match self {
            Norms { euclidean: true, .. } => Some("2-norm"),
            Norms { rows: true, .. } => Some("infinity-norm"),
            Norms { columns: true, .. } => Some("1-norm"),
            _ => None,
        }
    }
}

/// What a method says.
#[derive(Clone, Debug)]
struct Answer {
    stability: Stability,
    norms: Norms,
}

impl Answer {
    fn new(stability: Stability) -> Self {
        Self { stability, norms: Norms::NONE }
    }

    fn rows() -> Self {
        let reason =
            "the absolute values of each row of the transition sum to at most 1: its infinity-norm is at most 1";
        Self { stability: Stability::Always(reason.to_owned()), norms: Norms { rows: true, ..Norms::NONE } }
    }

    fn columns() -> Self {
        let reason = "the absolute values of each column of the transition sum to at most 1: its 1-norm is at most 1";
        Self { stability: Stability::Always(reason.to_owned()), norms: Norms { columns: true, ..Norms::NONE } }
    }

    fn euclidean(reason: String) -> Self {
        Self { stability: Stability::Always(reason), norms: Norms { euclidean: true, ..Norms::NONE } }
    }
}

/// Decides for an affine group; `layer` is the one that is judged, as it is written.
pub(super) fn judge(scope: &mut Scope, layer: &Layer, states: &[StateId], affine: &Affine) -> Stability {
    let mut answer = of_one(scope, affine);
    if let (Stability::Unknown(_), [state]) = (&answer.stability, states)
        && let Some(better) = updates::judge(layer, *state)
    {
        answer = better;
    }
    match answer.stability {
        Stability::Never(reason) if layer.reset.is_some() => {
            Stability::Unknown(format!("a reset makes it 0, and at all other steps {reason}"))
        }
        stability => stability,
    }
}

/// Decides for a transition as a whole.
fn of_one(scope: &mut Scope, affine: &Affine) -> Answer {
    let indices = scope.layer.indices.len();
    let nodes: usize = affine.components.iter().map(|c| c.form.terms.iter().map(|t| t.nodes()).sum::<usize>()).sum();
    let answer = if nodes > MAX_NODES {
        Answer::new(Stability::Unknown("its coefficients are too large to be looked at".to_owned()))
    } else if affine.class == Class::AffineDiagonal {
        diagonal(scope, affine)
    } else {
        matrix(scope, affine)
    };
    // What was added on the way is nobody's now.
    scope.layer.indices.truncate(indices);
    answer
}

fn diagonal(scope: &mut Scope, affine: &Affine) -> Answer {
    let a = coefficient(&affine.components[0], Algebra::Field);
    let (mut low, mut high) = interval::size(&scope.layer, &a);
    if a.ty != Scalar::Complex && high > 1.0 && low <= 1.0 {
        let mut symbols = Symbols::new(scope);
        let terms = symbols.expand(&a);
        (low, high) = interval::absolute(symbols.bounds(&terms));
    }
    if high == 0.0 {
        let reason = "the new value does not depend on the old one".to_owned();
        return Answer { stability: Stability::Always(reason), norms: Norms::ALL };
    }
    if high <= 1.0 {
        let reason = format!("|a| lies in [{low}, {high}]");
        return Answer { stability: Stability::Always(reason), norms: Norms::ALL };
    }
    Answer::new(match low > 1.0 {
        true if high.is_finite() => Stability::Never(format!("|a| lies in [{low}, {high}]")),
        true => Stability::Never(format!("|a| is at least {low}")),
        false => Stability::Unknown("nothing bounds |a| by 1 for all parameters and inputs".to_owned()),
    })
}

fn matrix(scope: &mut Scope, affine: &Affine) -> Answer {
    let components = &affine.components;
    if components.iter().any(|c| c.ty == Scalar::Complex) {
        return Answer::new(Stability::Unknown("the norm of a complex matrix is not looked at".to_owned()));
    }
    let mut symbols = Symbols::new(scope);
    let symbols = &mut symbols;
    let rows = norms::rows(symbols, components);
    let columns = norms::columns(symbols, components);
    let squares = norms::squares(symbols, components);
    let mut answers: Vec<Answer> = Vec::new();
    if rows <= 1.0 {
        answers.push(Answer::rows());
    }
    if columns <= 1.0 {
        answers.push(Answer::columns());
    }
    if squares <= 1.0 {
        answers.push(Answer::euclidean(
            "the squares of the transition's elements sum to at most 1: its 2-norm is at most 1".to_owned(),
        ));
    }
    if rows * columns <= 1.0 {
        answers.push(Answer::euclidean(format!(
            "the absolute values of each row of the transition sum to at most {rows}, those of each column to at most \
             {columns}: its 2-norm is at most the root of the product"
        )));
    }
    answers.extend(affine.low_rank.as_ref().and_then(|low_rank| rank_one::judge(symbols, &components[0], low_rank)));
    answers.extend(small::judge(symbols, components, affine.time_invariant));
    answers.extend(triangle::judge(symbols, components, affine.time_invariant));
    let norms = answers.iter().fold(Norms::NONE, |all, answer| all.either(answer.norms));
    let decided = answers.iter().position(|a| !matches!(a.stability, Stability::Unknown(_)));
    if let Some(at) = decided {
        return Answer { stability: answers.swap_remove(at).stability, norms };
    }
    if let Some(answer) = answers.into_iter().next() {
        return answer;
    }
    Answer::new(Stability::Unknown(why_not(symbols, affine)))
}

/// Why nothing is known of a matrix.
fn why_not(symbols: &mut Symbols<'_>, affine: &Affine) -> String {
    if let Some((index, row, p)) = norms::normalised(symbols, &affine.components) {
        let name = symbols.scope.layer.index(index).name.clone();
        let extent = super::print::factor(&symbols.scope.layer, &symbols.scope.layer.index(index).extent);
        let (what, bound) = if row { ("column", "1-norm") } else { ("row", "infinity-norm") };
        return format!(
            "each {what} of the transition has p-norm 1 along {name}, with p = {p}, which bounds its {bound} by \
             {extent} ^ (1 - 1 / {p}) only; p = 1 would bound it by 1"
        );
    }
    if affine.class == Class::AffineLowRank {
        return "the low-rank part is no multiple of k kᵀ, for which eigenvalues are known, and row and column sums are not bounded \
                by 1"
            .to_owned();
    }
    if affine.time_invariant {
        return "the transition is the same at every step, with a spectral radius that follows from dimensions and parameters \
                and is not worked out here; neither its row sums nor its column sums are bounded by 1"
            .to_owned();
    }
    "neither the row sums nor the column sums of the transition are bounded by 1 for all parameters and inputs"
        .to_owned()
}

impl Symbols<'_> {
    /// A sum as text, cut where it is long.
    fn text(&self, terms: &symbols::Poly) -> String {
        const LONGEST: usize = 100;
        let text = super::print::expression(&self.scope.layer, &self.sum(terms));
        match text.char_indices().nth(LONGEST) {
            Some((at, _)) => format!("{} ..", &text[..at]),
            None => text,
        }
    }
}
