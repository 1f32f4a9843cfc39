//! The step of a state as a decay and outer products.
//!
//! In: a group of the verdict, and the axis over which the state is contracted. Out: a [`Core`], whose factors are
//! definitions of the layer: the decay, and for every outer product its key (which has the contracted axis) and its value
//! (which has the axes that no key, decay or probe has). What of the old state is written back is the low rank of the
//! transition, where a *probe* takes the place of the old state's row.

use super::Refusal;
use crate::analysis::verdict::algebra::Algebra;
use crate::analysis::verdict::build::{self, Scope};
use crate::analysis::verdict::classify::Component;
use crate::analysis::verdict::form::{Term, plain, sum_over};
use crate::analysis::verdict::low_rank::{Piece, apart, multiplied};
use crate::analysis::verdict::{Class, Group, Part, coefficient};
use crate::diag::Span;
use crate::ir::{BinaryOp, Expr, ExprKind, Extent, IndexId, Scalar, StateId, Type, UnaryOp, ValueId, ValueKind};

const FIELD: Algebra = Algebra::Field;

/// How often an offset may be taken apart.
const MAX_PARTS: usize = 64;

/// The most outer products of a step.
const MAX_WRITES: usize = 16;

/// A state that runs in blocks, as definitions of a layer.
#[derive(Clone, Debug)]
pub(super) struct Core {
    pub(super) state: StateId,
    /// The axis that is contracted.
    pub(super) key: usize,
    /// The axes along which all falls apart.
    pub(super) heads: Vec<usize>,
    /// The axes along which the factors of the transition are the same.
    pub(super) values: Vec<usize>,
    /// The decay, and whether it has the contracted axis; absent where it is 1.
    pub(super) decay: Option<(Factor, bool)>,
    pub(super) writes: Vec<Write>,
    pub(super) reads: Vec<Read>,
}

/// A definition, with the axis of the state that each of its axes is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Factor {
    pub(super) value: ValueId,
    pub(super) at: Vec<Place>,
}

/// Where a factor is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At the place of the state along this axis.
    Axis(usize),
    /// Always here.
    Fixed(usize),
}

/// An outer product that is added.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) key: Factor,
    pub(super) value: Option<Factor>,
    /// Probes, and what scales what they find.
    pub(super) answers: Vec<(Factor, Option<Factor>)>,
}

/// A contraction that other equations read.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) query: Factor,
    /// Whether it reads the state after the step.
    pub(super) after: bool,
    /// What is found: a value without an equation.
    pub(super) result: ValueId,
}

impl Core {
    /// All factors.
    pub(super) fn factors(&self) -> impl Iterator<Item = &Factor> {
        let writes = self.writes.iter().flat_map(|w| {
            let answers = w.answers.iter().flat_map(|(probe, scale)| [probe].into_iter().chain(scale));
            [&w.key].into_iter().chain(&w.value).chain(answers)
        });
        self.decay.iter().map(|(decay, _)| decay).chain(writes).chain(self.reads.iter().map(|r| &r.query))
    }
}

/// Takes the expression at a state's indices as a factor: a definition with the indices that it mentions.
pub(super) fn factor(scope: &mut Scope, indices: &[IndexId], e: &Expr) -> Factor {
    if let ExprKind::Read { value, at } = &e.kind {
        let place = |at: &Expr| match at.kind {
            ExprKind::Int(n) => usize::try_from(n).ok().map(Place::Fixed),
            _ => plain(at).and_then(|i| indices.iter().position(|j| *j == i)).map(Place::Axis),
        };
        let places: Option<Vec<Place>> = at.iter().map(place).collect();
        let axes = &scope.layer.value(*value).axes;
        let whole = |(place, axis): (&Place, &Extent)| match place {
            Place::Axis(k) => scope.layer.index(indices[*k]).extent == *axis,
            Place::Fixed(_) => true,
        };
        if let Some(at) = places
            && scope.layer.value(*value).kind == ValueKind::Input
            && scope.layer.value(*value).ty == Type::Real
            && at.iter().zip(axes).all(whole)
        {
            return Factor { value: *value, at };
        }
    }
    let mentioned: Vec<usize> = (0..indices.len()).filter(|&k| build::mentions(e, indices[k])).collect();
    let own: Vec<IndexId> = mentioned.iter().map(|&k| indices[k]).collect();
    let axes = own.iter().map(|i| scope.layer.index(*i).extent.clone()).collect();
    let name = format!("factor.{}", scope.layer.values.len());
    let value = scope.add_value(&name, ValueKind::Let, axes, Type::Real, e.span);
    scope.define(value, &own, &build::widen(e.clone(), Scalar::Real));
    Factor { value, at: mentioned.into_iter().map(Place::Axis).collect() }
}

/// A key, and what it is multiplied by: both at the state's indices.
type Outer = (Expr, Expr);

/// Which axes of the state are what, so far.
struct Axes<'a> {
    indices: &'a [IndexId],
    key: usize,
    heads: Vec<usize>,
}

impl Axes<'_> {
    /// Makes the axes that an expression mentions heads; the contracted one stays what it is.
    fn add_heads(&mut self, e: &Expr) {
        for k in (0..self.indices.len()).filter(|&k| k != self.key) {
            if !self.heads.contains(&k) && build::mentions(e, self.indices[k]) {
                self.heads.push(k);
            }
        }
    }

    fn has_key(&self, e: &Expr) -> bool {
        build::mentions(e, self.indices[self.key])
    }

    fn has_value(&self, e: &Expr) -> bool {
        (0..self.indices.len())
            .any(|k| k != self.key && !self.heads.contains(&k) && build::mentions(e, self.indices[k]))
    }
}

/// The step of a group as outer products; `heads` are axes that are heads whatever the step says.
///
/// # Errors
/// Why it has no such form.
pub(super) fn core(scope: &mut Scope, group: &Group, key: usize, heads: &[usize]) -> Result<Core, Refusal> {
    let state = group.states[0];
    let declared = scope.layer.value(scope.layer.states[state.at()].value);
    let (span, name) = (declared.span, declared.name.clone());
    let refuse = |span: Span, why: &str| Err(Refusal { state, span, why: why.to_owned() });
    let Some(transition) = &group.transition else {
        let failure = group.failure.as_ref();
        let reason = failure.map_or("it has no linear form", |f| f.reason.as_str());
        return refuse(failure.map_or(span, |f| f.span), reason);
    };
    let [component] = &transition.components[..] else {
        return refuse(span, "it is coupled with another state, or complex");
    };
    if component.ty != Scalar::Real || component.atom.part != Part::Whole {
        return refuse(span, "it is complex");
    }
    let (diagonal, factors) = match (group.class, &transition.low_rank) {
        (Class::AffineDiagonal, _) => (coefficient(component, FIELD), &[][..]),
        (Class::AffineLowRank, Some(low_rank)) => (low_rank.diagonal.clone(), &low_rank.factors[..]),
        (Class::AffineDense, _) => return refuse(span, "its transition is dense"),
        _ => return refuse(span, &format!("the verdict on `{name}` is `{}`", group.class.name())),
    };
    let mut axes = Axes { indices: &component.indices, key, heads: heads.to_vec() };
    axes.add_heads(&diagonal);
    let mut answers: Vec<(Expr, Expr)> = Vec::new();
    for factor in factors {
        if !factor.rank.is_empty() {
            return refuse(span, "its low rank is a sum over an index");
        }
        let probes: Option<Vec<Expr>> = factor.v.iter().map(|term| probe(scope, component, key, term)).collect();
        let Some(probes) = probes else {
            return refuse(span, "its transition reads more than one axis, or a part of it");
        };
        let zero = build::number(0.0, Scalar::Real, span);
        let probe = probes.into_iter().fold(zero, build::add);
        axes.add_heads(&probe);
        // What is read back is often an input, and its sign a number that the row is multiplied by.
        answers.push(match probe.kind {
            ExprKind::Unary(UnaryOp::Neg, probe) => (*probe, build::neg(factor.u.clone())),
            _ => (probe, factor.u.clone()),
        });
    }
    let zero = build::number(0.0, Scalar::Real, span);
    let offset = component.form.offset.clone().unwrap_or(zero);
    // Which axes are heads is known when all outer products have come apart.
    let (added, back) = loop {
        let before = axes.heads.clone();
        let Some(added) = outer(scope, &mut axes, &offset) else {
            return refuse(
                span,
                "what is added to it does not come apart into outer products, of a number that the layer says",
            );
        };
        let mut back = Vec::new();
        for (probe, u) in &answers {
            let Some(columns) = outer(scope, &mut axes, u) else {
                return refuse(span, "its transition is not a sum of outer products");
            };
            back.push((probe.clone(), columns));
        }
        if axes.heads == before {
            break (added, back);
        }
    };
    let Axes { mut heads, .. } = axes;
    heads.sort_unstable();
    let values: Vec<usize> = (0..component.indices.len()).filter(|k| *k != key && !heads.contains(k)).collect();
    if values.is_empty() {
        return refuse(span, "its factors differ along all axes, so that no matrices are left");
    }
    let mut maker = Maker { scope, indices: &component.indices, writes: Vec::new() };
    let decay = match build::constant(&diagonal) {
        Some(1.0) => None,
        _ => Some((
            factor(maker.scope, &component.indices, &diagonal),
            build::mentions(&diagonal, component.indices[key]),
        )),
    };
    for (key, value) in added {
        maker.write(&key).values.push(value);
    }
    for (probe, columns) in back {
        let probe = factor(maker.scope, &component.indices, &probe);
        for (key, scale) in columns {
            let scale = match build::constant(&scale) {
                Some(1.0) => None,
                _ => Some(factor(maker.scope, &component.indices, &scale)),
            };
            maker.write(&key).answers.push((probe.clone(), scale));
        }
    }
    if maker.writes.len() > MAX_WRITES {
        return refuse(span, "its step has too many outer products");
    }
    let writes = maker.finish();
    Ok(Core { state, key, heads, values, decay, writes, reads: Vec::new() })
}

/// What is added with one key.
struct Draft {
    key: Expr,
    /// Values, which are added up.
    values: Vec<Expr>,
    answers: Vec<(Factor, Option<Factor>)>,
}

struct Maker<'a> {
    scope: &'a mut Scope,
    indices: &'a [IndexId],
    writes: Vec<Draft>,
}

impl Maker<'_> {
    /// The write with that key.
    fn write(&mut self, key: &Expr) -> &mut Draft {
        let found = self.writes.iter().position(|draft| build::same(&draft.key, key));
        let at = found.unwrap_or_else(|| {
            self.writes.push(Draft { key: key.clone(), values: Vec::new(), answers: Vec::new() });
            self.writes.len() - 1
        });
        &mut self.writes[at]
    }

    fn finish(self) -> Vec<Write> {
        let (scope, indices) = (self.scope, self.indices);
        let each = self.writes.into_iter().map(|Draft { key, values, answers }| {
            let value = values.into_iter().reduce(build::add);
            Write {
                key: factor(scope, indices, &key),
                value: value.map(|value| factor(scope, indices, &value)),
                answers,
            }
        });
        each.collect()
    }
}

/// What the old state is contracted with, at the state's own indices.
fn probe(scope: &mut Scope, component: &Component, key: usize, term: &Term) -> Option<Expr> {
    for (k, at) in term.at.iter().enumerate() {
        let i = plain(at)?;
        let own = component.indices[k];
        match k == key {
            true => {
                let whole = scope.layer.index(i).extent == scope.layer.index(own).extent;
                if term.bound != [i] || !whole {
                    return None;
                }
            }
            false if i != own => return None,
            false => {}
        }
    }
    let bound = plain(&term.at[key])?;
    let map = [(bound, build::index(component.indices[key], Span::default()))];
    Some(scope.substitute(&term.weight(FIELD), &map))
}

/// A choice as a sum of two expressions of which one is zero, down to the factors of their products.
fn chosen([condition, then, other]: [Expr; 3]) -> Expr {
    let not = ExprKind::Unary(UnaryOp::Not, Box::new(condition.clone()));
    let not = Expr { kind: not, ..condition.clone() };
    build::add(where_holds(&condition, then), where_holds(&not, other))
}

/// The expression where a condition holds, and zero elsewhere. Nothing in it is looked at there.
fn where_holds(condition: &Expr, e: Expr) -> Expr {
    let or = |e: Expr, other: f64| {
        let (ty, span) = (e.ty, e.span);
        let parts = Box::new([condition.clone(), e, build::number(other, ty, span)]);
        Expr { kind: ExprKind::If(parts), ty, span }
    };
    match e.kind {
        _ if build::constant(&e) == Some(0.0) => e,
        ExprKind::Unary(UnaryOp::Neg, a) => {
            Expr { kind: ExprKind::Unary(UnaryOp::Neg, Box::new(where_holds(condition, *a))), ty: e.ty, span: e.span }
        }
        ExprKind::Binary(op @ (BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul), a, b) if e.ty == Scalar::Real => {
            let (a, b) = (where_holds(condition, *a), where_holds(condition, *b));
            Expr { kind: ExprKind::Binary(op, Box::new(a), Box::new(b)), ty: e.ty, span: e.span }
        }
        ExprKind::Binary(BinaryOp::Div, a, b) if e.ty == Scalar::Real => {
            let (a, b) = (where_holds(condition, *a), or(*b, 1.0));
            Expr { kind: ExprKind::Binary(BinaryOp::Div, Box::new(a), Box::new(b)), ty: e.ty, span: e.span }
        }
        kind => or(Expr { kind, ..e }, 0.0),
    }
}

/// What a factor is a product of.
fn factors((e, divides): Piece) -> Vec<Piece> {
    match e.kind {
        ExprKind::Binary(BinaryOp::Mul, a, b) if e.ty == Scalar::Real => {
            [*a, *b].into_iter().flat_map(|e| factors((e, divides))).collect()
        }
        ExprKind::Unary(UnaryOp::Neg, a) if e.ty == Scalar::Real => {
            let minus = (build::number(-1.0, Scalar::Real, e.span), false);
            [minus].into_iter().chain(factors((*a, divides))).collect()
        }
        kind => vec![(Expr { kind, ..e }, divides)],
    }
}

/// An expression as a sum of products of what has the contracted axis and what has the others; where the two do not come
/// apart, the others become heads.
fn outer(scope: &mut Scope, axes: &mut Axes<'_>, e: &Expr) -> Option<Vec<Outer>> {
    if build::constant(e) == Some(0.0) {
        return Some(Vec::new());
    }
    let mut fuel = MAX_PARTS;
    let mut work: Vec<(Vec<IndexId>, Vec<Piece>)> = vec![(Vec::new(), vec![(e.clone(), false)])];
    let mut found = Vec::new();
    while let Some((rank, pieces)) = work.pop() {
        fuel = fuel.checked_sub(1)?;
        let (mut keys, mut values, mut both) = (Vec::new(), Vec::new(), None);
        for piece in pieces.into_iter().flat_map(factors) {
            match (axes.has_key(&piece.0), axes.has_value(&piece.0)) {
                (true, true) if both.is_none() => both = Some(piece),
                (true, _) => keys.push(piece),
                (false, _) => values.push(piece),
            }
        }
        if let Some((e, divides)) = both {
            let e = match e.kind {
                ExprKind::If(parts) if !axes.has_key(&parts[0]) && !axes.has_value(&parts[0]) => chosen(*parts),
                kind => Expr { kind, ..e },
            };
            match apart(scope, &e, divides) {
                Some(parts) => {
                    for (more, pieces) in parts {
                        let rank = rank.iter().copied().chain(more).collect();
                        let rest = keys.iter().chain(&values).cloned();
                        work.push((rank, rest.chain(pieces).collect()));
                    }
                }
                None => {
                    axes.add_heads(&e);
                    keys.push((e, divides));
                    work.push((rank, keys.into_iter().chain(values).collect()));
                }
            }
            continue;
        }
        let mut products = vec![(multiplied(&keys, Scalar::Real, e.span), multiplied(&values, Scalar::Real, e.span))];
        for r in rank {
            let mut each = Vec::new();
            for (key, value) in products {
                match (build::mentions(&key, r), build::mentions(&value, r)) {
                    // One for each rank, of which the layer says how many there are.
                    (true, true) => {
                        let &Extent::Lit(count) = &scope.layer.index(r).extent else { return None };
                        for n in 0..count {
                            fuel = fuel.checked_sub(1)?;
                            let at = [(r, build::int(n, e.span))];
                            each.push((scope.substitute(&key, &at), scope.substitute(&value, &at)));
                        }
                    }
                    (true, false) => each.push((sum_over(scope, FIELD, &[r], &key), value)),
                    _ => {
                        let value = sum_over(scope, FIELD, &[r], &value);
                        each.push((key, value));
                    }
                }
            }
            products = each;
        }
        found.extend(products.into_iter().rev());
    }
    found.reverse();
    Some(found)
}
