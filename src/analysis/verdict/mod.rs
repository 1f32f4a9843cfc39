//! The verdict: by what algebra the steps of each group of states compose.
//!
//! In: an [`ir::Layer`](crate::ir::Layer). Out: a [`Verdict`], one [`Group`] for each strongly connected component of
//! the states' dependence, each after those it reads. A group is judged by its own states alone; those of earlier
//! groups are inputs to it.
//!
//! For each group the new states are put in normal form over one algebra after the other, the narrowest first
//! ([`algebra::TABLE`]), by structural induction on the expressions ([`linear`], [`semiring`]). The form keeps its
//! coefficients as expressions of the layer, so that it is the transition itself: [`classify`] reads off which indices it
//! mixes, [`low_rank`] takes it apart, [`summary`] makes layers of it that can be run, [`mod@print`] shows it.
//!
//! What is promised: a class other than `nonlinear` is one that the step has, for all parameters and inputs for which
//! its values are finite. `nonlinear` is not a proof: it means that no form was found, and it comes with the smallest
//! expression that stands in the way and, where evaluation finds one, with numbers that show it.
//!
//! A reset puts the initial value in the place of the old state: that is the step with coefficient zero, in every class.

pub mod algebra;
pub(crate) mod build;
pub mod classify;
pub mod counterexample;
mod extents;
mod finite;
pub mod form;
mod groups;
pub(crate) mod linear;
pub mod low_rank;
pub mod print;
mod semiring;
mod share;
mod spelling;
pub mod stability;
pub mod summary;
mod tables;

use crate::diag::Span;
use crate::ir::{Function, Layer, Scalar, StateId, ValueId, ValueKind};
use algebra::Algebra;
use build::Scope;
use classify::{Batch, Component};
use counterexample::Outcome;
use form::Form;
use linear::Linear;
use low_rank::LowRank;
use semiring::Semiring;
use share::Shared;
use stability::Stability;

/// What is known of all groups of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The layer, with the further indices over which forms are summed, and the definitions that they share.
    pub layer: Layer,
    /// The groups, each after those it reads.
    pub groups: Vec<Group>,
    /// The definitions that forms share, each after those it reads.
    pub shared: Vec<ValueId>,
    /// How many nodes of forms were copied: what it cost to judge.
    pub work: usize,
}

/// A group of states that depend on each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its states, in the order of their declaration.
    pub states: Vec<StateId>,
    /// How its steps compose.
    pub class: Class,
    /// Over what its coefficients are.
    pub field: Field,
    /// Whether the transition is the same at every step: its coefficients, without the offset, depend on parameters
    /// only. A finite map has no offset: it is the whole map.
    pub time_invariant: bool,
    /// The indices that the transition mixes.
    pub mixed: Vec<String>,
    /// The indices along which it falls apart.
    pub batch: Vec<Batch>,
    /// The transition; absent for `nonlinear`.
    pub transition: Option<Transition>,
    /// What breaks the law; for `nonlinear` only.
    pub failure: Option<Failure>,
    /// Numbers that show it; for `nonlinear` only.
    pub counterexample: Option<Outcome>,
    /// Whether the transition can grow; for affine classes only.
    pub stability: Option<Stability>,
}

/// How a group's steps compose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// `h' = a h + b`, element by element.
    AffineDiagonal,
    /// `h' = A h + b`
    AffineDense,
    /// `h' = (diag(a) + U Vᵀ) h + b`
    AffineLowRank,
    /// Linear over max and plus.
    MaxPlus,
    /// Linear over min and plus.
    MinPlus,
    /// Linear over logaddexp and plus.
    LogSumExp,
    /// Linear over or and and.
    Bool,
    /// A map of a finite set to itself.
    FiniteMap,
    /// None of these: it runs in order.
    Nonlinear,
}

impl Class {
    /// Its name in the contract.
    pub fn name(self) -> &'static str {
        match self {
            Class::AffineDiagonal => "affine-diagonal",
            Class::AffineDense => "affine-dense",
            Class::AffineLowRank => "affine-low-rank",
            Class::MaxPlus => "semiring-max-plus",
            Class::MinPlus => "semiring-min-plus",
            Class::LogSumExp => "semiring-log-sum-exp",
            Class::Bool => "semiring-bool",
            Class::FiniteMap => "finite-map",
            Class::Nonlinear => "nonlinear",
        }
    }
}

/// Over what coefficients are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// Real numbers.
    Real,
    /// Complex numbers.
    Complex,
    /// Truth values and indices.
    Index,
}

impl Field {
    /// Its name in the contract.
    pub fn name(self) -> &'static str {
        match self {
            Field::Real => "real",
            Field::Complex => "complex",
            Field::Index => "index",
        }
    }
}

/// The transition of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The algebra over which it is linear; `None` for finite maps.
    pub algebra: Option<Algebra>,
    /// The forms of the new states.
    pub components: Vec<Component>,
    /// The transition taken apart, where it is diagonal plus low rank.
    pub low_rank: Option<LowRank>,
}

/// Which tensor a term reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Atom {
    /// The state.
    pub state: StateId,
    /// Which part of its elements.
    pub part: Part,
    /// Whether the state is complex.
    pub complex: bool,
}

/// A part of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The element.
    Whole,
    /// Its real part.
    Re,
    /// Its imaginary part.
    Im,
}

/// The smallest expression that breaks a law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where it stands.
    pub span: Span,
    /// Why, in one sentence: lower case, no full stop.
    pub reason: String,
    /// The semiring that has the operation that breaks the affine law, if any; its law is the one that is looked at.
    belongs: Option<Algebra>,
}

impl Failure {
    pub(crate) fn new(span: Span, reason: impl Into<String>) -> Self {
        Self { span, reason: reason.into(), belongs: None }
    }
}

/// What of a layer depends on a group's states.
#[derive(Clone, Debug)]
pub(crate) struct Dependence {
    /// By value; of old states, the group's own.
    pub(crate) on: Vec<bool>,
    /// The equations that depend on them and that the new states need, in order.
    pub(crate) equations: Vec<usize>,
}

/// Judges all groups of a layer.
pub fn judge(layer: &Layer) -> Verdict {
    let mut scope = Scope::new(layer.clone());
    scope.shared = Some(Shared::new(layer));
    let reads = groups::reads(layer);
    let mut judged = Vec::new();
    for states in groups::groups(layer) {
        let of = Dependence::from_reads(layer, &reads, &states);
        judged.push(judge_group(&mut scope, layer, &of, states));
    }
    let shared = scope.shared.map_or_else(Vec::new, |shared| shared.values);
    Verdict { layer: scope.layer, groups: judged, shared, work: scope.work }
}

fn judge_group(scope: &mut Scope, layer: &Layer, of: &Dependence, states: Vec<StateId>) -> Group {
    let finite = |s: &StateId| finite::is_finite(&layer.value(layer.states[s.at()].value).ty);
    let judged = if states.iter().all(finite) {
        scope.attempt(|scope| boolean(scope, of, &states)).or_else(|_| table(scope, of, &states))
    } else {
        let affine = scope.attempt(|scope| affine_group(scope, layer, of, &states));
        affine.or_else(|failure| tropical(scope, of, &states, failure))
    };
    match judged {
        Ok(group) => group,
        Err(failure) => {
            let counterexample = counterexample::search(layer, &states, failure.belongs);
            let complex = states.iter().any(|s| is_complex(layer, *s));
            Group {
                class: Class::Nonlinear,
                field: match (states.iter().all(finite), complex) {
                    (true, _) => Field::Index,
                    (false, true) => Field::Complex,
                    (false, false) => Field::Real,
                },
                time_invariant: false,
                mixed: Vec::new(),
                batch: Vec::new(),
                transition: None,
                failure: Some(failure),
                counterexample: Some(counterexample),
                stability: None,
                states,
            }
        }
    }
}

fn is_complex(layer: &Layer, state: StateId) -> bool {
    layer.value(layer.states[state.at()].value).ty.scalar() == Scalar::Complex
}

/// The components of a group whose new states have these forms.
fn components(
    scope: &mut Scope,
    states: &[StateId],
    mut form: impl FnMut(&mut Scope, crate::ir::ValueId) -> Result<Option<Form>, Failure>,
) -> Result<Vec<Component>, Failure> {
    let mut components = Vec::new();
    for &state in states {
        let next = scope.layer.states[state.at()].next;
        let Some(equation) = scope.layer.definition(next).cloned() else {
            return Err(Failure::new(scope.layer.value(next).span, "it has no new value"));
        };
        let ty = equation.body.ty;
        // Without a form the new state does not depend on the old one.
        let form = form(scope, next)?.unwrap_or_else(|| Form::free(equation.body.clone()));
        let atom = Atom { state, part: Part::Whole, complex: ty == Scalar::Complex };
        components.push(Component { atom, indices: equation.indices, form, ty, axes: Vec::new() });
    }
    Ok(components)
}

/// The affine form of a group's step.
struct Affine {
    class: Class,
    components: Vec<Component>,
    low_rank: Option<LowRank>,
    mixed: Vec<String>,
    batch: Vec<Batch>,
    time_invariant: bool,
}

fn affine(scope: &mut Scope, of: &Dependence, states: &[StateId]) -> Result<Affine, Failure> {
    for &state in states {
        let value = scope.layer.states[state.at()].value;
        if finite::is_finite(&scope.layer.value(value).ty) {
            let span = scope.layer.value(value).span;
            return Err(Failure::new(span, "numbers and whole numbers or truth values depend on each other"));
        }
    }
    let mut forms = Linear::new(scope, of).into_forms();
    let mut components = components(scope, states, |_, next| forms.remove(&next).transpose())?;
    let by_parts = components.iter().any(|c| c.form.terms.iter().any(|t| t.atom.part != Part::Whole));
    if by_parts {
        components = components.into_iter().flat_map(real_components).collect();
    }
    let batch = classify::classify(&scope.layer, &mut components);
    let mixed = classify::mixed(&scope.layer, &components);
    let diagonal = components.len() == 1 && mixed.is_empty();
    let low_rank = if components.len() == 1 && !diagonal { low_rank::low_rank(scope, &components[0]) } else { None };
    let class = match (diagonal, &low_rank) {
        (true, _) => Class::AffineDiagonal,
        (false, Some(_)) => Class::AffineLowRank,
        (false, None) => Class::AffineDense,
    };
    let time_invariant = fixed(&scope.layer, &components);
    Ok(Affine { class, components, low_rank, mixed, batch, time_invariant })
}

fn affine_group(scope: &mut Scope, layer: &Layer, of: &Dependence, states: &[StateId]) -> Result<Group, Failure> {
    let affine = affine(scope, of, states)?;
    let stability = stability::judge(scope, layer, states, &affine);
    let complex = affine.components.iter().any(|c| c.ty == Scalar::Complex);
    let Affine { class, components, low_rank, mixed, batch, time_invariant } = affine;
    Ok(Group {
        states: states.to_vec(),
        class,
        field: if complex { Field::Complex } else { Field::Real },
        time_invariant,
        mixed,
        batch,
        transition: Some(Transition { algebra: Some(Algebra::Field), components, low_rank }),
        failure: None,
        counterexample: None,
        stability: Some(stability),
    })
}

/// The real and the imaginary part of a complex component; a real one as it is.
fn real_components(component: Component) -> Vec<Component> {
    if component.ty != Scalar::Complex {
        return vec![component];
    }
    let piece = |part, function| Component {
        atom: Atom { part, ..component.atom },
        form: linear::split(component.form.clone(), function),
        ty: Scalar::Real,
        ..component.clone()
    };
    vec![piece(Part::Re, Function::Re), piece(Part::Im, Function::Im)]
}

/// The coefficient of a diagonal component.
pub(crate) fn coefficient(component: &Component, algebra: Algebra) -> crate::ir::Expr {
    let zero = algebra.zero(component.ty, Span::default());
    component.form.terms.iter().fold(zero, |sum, term| algebra.plus(sum, term.weight(algebra)))
}

fn tropical(scope: &mut Scope, of: &Dependence, states: &[StateId], failure: Failure) -> Result<Group, Failure> {
    let real = |s: &StateId| {
        let layer = &scope.layer;
        layer.value(layer.states[s.at()].value).ty == crate::ir::Type::Real
    };
    if !states.iter().all(real) {
        return Err(Failure { belongs: None, ..failure });
    }
    let mut best: Option<Failure> = None;
    for (algebra, class) in
        [(Algebra::MaxPlus, Class::MaxPlus), (Algebra::MinPlus, Class::MinPlus), (Algebra::LogSumExp, Class::LogSumExp)]
    {
        match scope.attempt(|scope| over(scope, of, states, algebra, class)) {
            Ok(group) => return Ok(group),
            // The algebra to which the operation belongs that stopped the affine forms knows more about what is wrong.
            Err(other) if failure.belongs == Some(algebra) => {
                best = Some(Failure { belongs: Some(algebra), ..other });
            }
            Err(_) => {}
        }
    }
    Err(best.unwrap_or(failure))
}

fn boolean(scope: &mut Scope, of: &Dependence, states: &[StateId]) -> Result<Group, Failure> {
    for state in states {
        let layer = &scope.layer;
        let value = layer.value(layer.states[state.at()].value);
        if value.ty != crate::ir::Type::Bool {
            return Err(Failure::new(value.span, "the state is no truth value"));
        }
    }
    over(scope, of, states, Algebra::Bool, Class::Bool)
}

fn over(
    scope: &mut Scope,
    of: &Dependence,
    states: &[StateId],
    algebra: Algebra,
    class: Class,
) -> Result<Group, Failure> {
    let mut semiring = Semiring::new(scope, of, algebra);
    let nexts: Vec<ValueId> = states.iter().map(|s| semiring.next(*s)).collect();
    let mut forms: Vec<_> = nexts.iter().map(|next| semiring.take(*next)).collect();
    forms.reverse();
    let mut components = components(scope, states, |_, _| forms.pop().flatten().transpose())?;
    let batch = classify::classify(&scope.layer, &mut components);
    let mixed = classify::mixed(&scope.layer, &components);
    Ok(Group {
        states: states.to_vec(),
        class,
        field: if algebra == Algebra::Bool { Field::Index } else { Field::Real },
        time_invariant: fixed(&scope.layer, &components),
        mixed,
        batch,
        transition: Some(Transition { algebra: Some(algebra), components, low_rank: None }),
        failure: None,
        counterexample: None,
        stability: None,
    })
}

fn table(scope: &mut Scope, of: &Dependence, states: &[StateId]) -> Result<Group, Failure> {
    let forms = finite::accesses(scope, of)?;
    let mut components = components(scope, states, |_, next| Ok(forms[next.at()].clone()))?;
    let mut batch = classify::classify(&scope.layer, &mut components);
    batch.iter_mut().for_each(|b| b.shared = false);
    let mixed = classify::mixed(&scope.layer, &components);
    let next = scope.layer.states[states[0].at()].next;
    if !mixed.is_empty() {
        return Err(finite::too_large(scope, next, &mixed));
    }
    let sizes = states.iter().map(|s| finite::values(scope, &scope.layer.value(scope.layer.states[s.at()].value).ty));
    let joint = sizes.flatten().try_fold(1i64, i64::checked_mul);
    if states.len() > 1 && joint.is_none_or(|n| n > finite::MAX_STATES) {
        let span = scope.layer.definition(next).map_or(Span::default(), |equation| equation.span);
        let message = format!("the states have more than {} joint values: too many for a table", finite::MAX_STATES);
        return Err(Failure::new(span, message));
    }
    let bodies = of.equations.iter().map(|&e| &scope.layer.equations[e].body);
    let own = states.iter().filter_map(|s| scope.layer.definition(scope.layer.states[s.at()].next)).map(|e| &e.body);
    let time_invariant =
        scope.layer.reset.is_none() && bodies.chain(own).all(|e| constant_over_time(&scope.layer, e, of));
    Ok(Group {
        states: states.to_vec(),
        class: Class::FiniteMap,
        field: Field::Index,
        time_invariant,
        mixed,
        batch,
        transition: Some(Transition { algebra: None, components, low_rank: None }),
        failure: None,
        counterexample: None,
        stability: None,
    })
}

/// Whether all coefficients depend on parameters only, and no reset makes them zero.
fn fixed(layer: &Layer, components: &[Component]) -> bool {
    if layer.reset.is_some() {
        return false;
    }
    let none = Dependence { on: vec![false; layer.values.len()], equations: Vec::new() };
    let terms = components.iter().flat_map(|c| &c.form.terms);
    terms.flat_map(|t| t.coefficients().chain(&t.at)).all(|e| constant_over_time(layer, e, &none))
}

/// Whether an expression depends on parameters only, and on what `but` has.
fn constant_over_time(layer: &Layer, e: &crate::ir::Expr, but: &Dependence) -> bool {
    use crate::ir::ExprKind;
    let mut seen = vec![false; layer.values.len()];
    let mut work = vec![e];
    while let Some(e) = work.pop() {
        let mut fixed = true;
        e.walk(&mut |e| match &e.kind {
            ExprKind::First | ExprKind::Past { .. } => fixed = false,
            ExprKind::Read { value, .. } if but.on[value.at()] => {}
            ExprKind::Read { value, .. } => match layer.value(*value).kind {
                ValueKind::Param => {}
                ValueKind::Input | ValueKind::State(_) => fixed = false,
                _ => {
                    if !std::mem::replace(&mut seen[value.at()], true) {
                        work.extend(layer.definition(*value).map(|equation| &equation.body));
                    }
                }
            },
            _ => {}
        });
        if !fixed {
            return false;
        }
    }
    true
}
