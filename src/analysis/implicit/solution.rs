//! The minimum of a quadratic objective, as definitions.
//!
//! The squares that hold each entry by itself have the minimum `anchor = moment / scale`. Residuals
//! `w (v·z - t)^2` move it: with one of them by `eps v (t - v·anchor)` with `eps = w / (scale + w v·v)`, with
//! several by the solution of a system of that size, and where nothing holds the entries apart the whole of it is a
//! system with the second derivative as its matrix.

use super::hessian::{Entry, Tied, coefficient_at, is_long, sum};
use super::quadratic::Quadratic;
use super::sign::{Sign, sign};
use super::tidy::tidy;
use super::{Minimum, Unknown};
use crate::analysis::verdict::Failure;
use crate::analysis::verdict::build::{self, Scope};
use crate::analysis::verdict::form::Form;
use crate::diag::Span;
use crate::ir::{BinaryOp, Check, Expr, ExprKind, Extent, Function, IndexId, ReduceOp, Scalar, Type};
use crate::ir::{ValueId, ValueKind};

/// Up to how many residuals of rank one are taken together.
const MAX_RANK: usize = 16;

/// Writes down where the objective is least.
pub(super) fn solve(
    scope: &mut Scope,
    unknown: &Unknown<'_>,
    quadratic: Quadratic,
    span: Span,
) -> Result<Minimum, Failure> {
    let extents = scope.layer.value(unknown.state).axes.clone();
    let axes = extents.len();
    let mut squares: Vec<Tied> = Vec::new();
    for square in quadratic.squares {
        if sign(&scope.layer, &square.weight) == Sign::Negative {
            return Err(Failure::new(square.span, "this square is subtracted: the objective is not convex"));
        }
        if !square.form.terms.is_empty() {
            squares.push(Tied::of(square, &extents));
        }
    }
    let (entrywise, mut residuals): (Vec<Tied>, Vec<Tied>) = squares.into_iter().partition(Tied::is_entrywise);
    let mixed: Vec<bool> = (0..axes).map(|axis| residuals.iter().any(|r| r.axes[axis].is_none())).collect();
    for residual in &mut residuals {
        for (tie, mixed) in residual.axes.iter_mut().zip(&mixed) {
            *tie = tie.filter(|_| !mixed);
        }
    }
    let everywhere = entrywise.iter().any(|tied| tied.is_everywhere(scope));
    let mut maker = Maker {
        scope,
        unknown,
        span,
        left: unknown.left.to_vec(),
        mixed,
        entrywise,
        residuals,
        linear: quadratic.linear,
        definitions: Vec::new(),
    };
    maker.check_convex(everywhere)?;
    maker.check_signs(everywhere);
    let element = maker.element(everywhere);
    let element = tidy(element, unknown.left);
    let definitions = maker.definitions;
    Ok(Minimum { definitions, element: scope.substitute(&element, &[]) })
}

struct Maker<'a, 'b> {
    scope: &'a mut Scope,
    unknown: &'a Unknown<'b>,
    span: Span,
    left: Vec<IndexId>,
    /// Which axes some residual mixes.
    mixed: Vec<bool>,
    entrywise: Vec<Tied>,
    residuals: Vec<Tied>,
    linear: Form,
    definitions: Vec<ValueId>,
}

impl Maker<'_, '_> {
    /// Refuses what cannot have one minimum, whatever the data.
    fn check_convex(&self, everywhere: bool) -> Result<(), Failure> {
        if everywhere {
            return Ok(());
        }
        let name = self.unknown.name;
        let Some(residual) = self.residuals.first() else {
            return Err(match self.entrywise.first() {
                Some(tied) if !tied.square.guards.is_empty() => return Ok(()),
                Some(tied) => {
                    let reason =
                        format!("no term holds the other entries of `{name}`: the objective is not strictly convex");
                    Failure::new(tied.square.span, reason)
                }
                None => {
                    let reason = format!("no square holds an entry of `{name}`: the objective has no minimum");
                    Failure::new(self.span, reason)
                }
            });
        };
        if self.entrywise.is_empty() && self.residuals.iter().all(|r| r.extra().is_empty()) {
            let reason = format!(
                "this holds `{name}` along one direction only: the objective is not strictly convex without a term like \
                 `sum[..]({name}[..] ^ 2)`"
            );
            return Err(Failure::new(residual.square.span, reason));
        }
        Ok(())
    }

    /// Adds checks for what is not seen to be positive.
    fn check_signs(&mut self, everywhere: bool) {
        let layer = &self.scope.layer;
        let one = |e: &Expr| matches!(build::constant(e), Some(x) if x != 0.0);
        let positive = |tied: &Tied| {
            sign(layer, &tied.square.weight) == Sign::Positive
                && tied.is_everywhere(self.scope)
                && tied.square.form.terms.iter().all(|term| {
                    term.guards.is_empty()
                        && (one(&term.coefficient) || sign(layer, &term.coefficient) == Sign::Positive)
                })
        };
        let others = |tied: &Tied| sign(layer, &tied.square.weight) != Sign::Unknown;
        let held = self.entrywise.iter().any(positive) && self.entrywise.iter().all(others);
        if !held && (everywhere || self.residuals.is_empty()) {
            let (scale, _) = self.diagonal();
            let span = self.entrywise.first().map_or(self.span, |tied| tied.square.span);
            let left = self.left.clone();
            let least = self.least(&left, &scale);
            let holds = build::binary(BinaryOp::Gt, least, build::real(0.0, span));
            let name = self.unknown.name;
            self.check(
                holds,
                span,
                format!("the weight that holds `{name}` is not positive: the result is no minimum"),
            );
        }
        for residual in self.residuals.clone() {
            let square = &residual.square;
            if matches!(sign(&self.scope.layer, &square.weight), Sign::Positive | Sign::NotNegative) {
                continue;
            }
            let one = build::real(1.0, square.span);
            let guarded =
                square.guards.iter().rev().fold(square.weight.clone(), |e, g| build::select(g.clone(), e, one.clone()));
            let least = self.least(&square.bound, &guarded);
            let holds = build::binary(BinaryOp::Ge, least, build::real(0.0, square.span));
            self.check(holds, square.span, "the weight of this term is negative: the result is no minimum".to_owned());
        }
    }

    /// The least value over the indices that an expression mentions.
    fn least(&mut self, indices: &[IndexId], e: &Expr) -> Expr {
        let used: Vec<IndexId> = indices.iter().copied().filter(|&i| build::mentions(e, i)).collect();
        let fresh: Vec<IndexId> = used.iter().map(|&i| self.scope.fresh(i)).collect();
        let map: Vec<_> = used.iter().zip(&fresh).map(|(&old, &new)| (old, build::index(new, e.span))).collect();
        let e = self.scope.substitute(e, &map);
        build::reduce(ReduceOp::Min, fresh, e)
    }

    fn check(&mut self, holds: Expr, span: Span, message: String) {
        let name = self.free_name("check");
        let value = self.scope.add_value(&name, ValueKind::Let, Vec::new(), Type::Bool, span);
        self.scope.define(value, &[], &holds);
        self.scope.layer.checks.push(Check { value, message, span });
    }

    fn free_name(&self, name: &str) -> String {
        let layer = &self.scope.layer;
        let taken = |name: &str| {
            (self.unknown.taken)(name)
                || layer.values.iter().any(|v| v.name == name)
                || layer.dims.iter().any(|d| d.name == name)
        };
        let numbered = (2..).map(|n| format!("{name}{n}"));
        std::iter::once(name.to_owned()).chain(numbered).find(|name| !taken(name)).expect("there are enough numbers")
    }

    /// A definition over those of the indices that it depends on, read at them.
    fn define(&mut self, name: &str, indices: &[IndexId], body: Expr) -> Expr {
        let span = body.span;
        let body = tidy(body, indices);
        let indices: Vec<IndexId> = indices.iter().copied().filter(|&i| build::mentions(&body, i)).collect();
        let indices = &indices[..];
        let name = self.free_name(name);
        let axes = indices.iter().map(|&i| self.scope.layer.index(i).extent.clone()).collect();
        let value = self.scope.add_value(&name, ValueKind::Let, axes, Type::Real, self.span);
        self.scope.define(value, indices, &body);
        self.definitions.push(value);
        let at = indices.iter().map(|&i| build::index(i, span)).collect();
        build::read(&self.scope.layer, value, at, span)
    }

    /// An expression at the indices on the left, as a definition where it is long.
    fn named(&mut self, name: &str, e: Expr) -> Expr {
        let e = tidy(e, &self.left);
        if !is_long(&e) {
            return e;
        }
        let indices: Vec<IndexId> = self.left.iter().copied().filter(|&i| build::mentions(&e, i)).collect();
        self.define(name, &indices, e)
    }

    fn at(&self, indices: &[IndexId]) -> Vec<Expr> {
        indices.iter().map(|&i| build::index(i, self.span)).collect()
    }

    fn fresh(&mut self, indices: &[IndexId]) -> Vec<IndexId> {
        indices.iter().map(|&i| self.scope.fresh(i)).collect()
    }

    fn axes(&self, mixed: bool) -> Vec<IndexId> {
        self.left.iter().zip(&self.mixed).filter(|(_, m)| **m == mixed).map(|(i, _)| *i).collect()
    }

    /// Half of the second derivative's diagonal from what holds each entry by itself, and half of the negative first
    /// derivative at zero.
    fn diagonal(&mut self) -> (Expr, Expr) {
        let entry = self.at(&self.left.clone());
        self.diagonal_at(&entry)
    }

    fn diagonal_at(&mut self, entry: &[Expr]) -> (Expr, Expr) {
        let (mut scale, mut moment) = (build::real(0.0, self.span), build::real(0.0, self.span));
        for tied in self.entrywise.clone() {
            for part in 0..2 {
                let extra = self.fresh(&tied.extra());
                let more = self.at(&extra);
                let Entry { weight, v, target } = tied.at(self.scope, entry, &more);
                let product =
                    if part == 0 { build::mul(weight, square(v)) } else { build::mul(build::mul(weight, v), target) };
                let sum = sum(extra, product);
                let total = if part == 0 { &mut scale } else { &mut moment };
                *total = build::add(total.clone(), sum);
            }
        }
        let linear = self.linear.clone();
        let extents = self.scope.layer.value(self.unknown.state).axes.clone();
        let slope = coefficient_at(self.scope, &linear, (entry, &extents), Scalar::Real, self.span);
        let half = build::mul(build::real(0.5, self.span), slope);
        (scale, build::sub(moment, half))
    }

    fn element(&mut self, everywhere: bool) -> Expr {
        if self.residuals.is_empty() {
            let (scale, moment) = self.diagonal();
            return build::div(moment, scale);
        }
        let extras: Vec<Vec<IndexId>> = self.residuals.iter().map(Tied::extra).collect();
        let plain = extras.iter().all(Vec::is_empty);
        let mixed = self.axes(true);
        let extent = |i: IndexId| &self.scope.layer.index(i).extent;
        let few = match &extras[..] {
            [one] => one.len() == 1 && mixed.iter().all(|&i| extent(i) != extent(one[0])),
            _ => false,
        };
        match self.residuals.len() {
            1 if everywhere && plain => self.rank_one(),
            2..=MAX_RANK if everywhere && plain => {
                let count = Extent::Lit(self.residuals.len() as i64);
                let rank = self.scope.add_index("r", count, self.span);
                self.low_rank(rank)
            }
            _ if everywhere && few => {
                let rank = self.scope.fresh(extras[0][0]);
                self.low_rank(rank)
            }
            _ => self.dense(),
        }
    }

    /// The scale and the minimum of what holds each entry by itself.
    fn anchor(&mut self) -> (Expr, Expr) {
        let (scale, moment) = self.diagonal();
        let scale = self.named("scale", scale);
        let anchor = self.named("anchor", build::div(moment, scale.clone()));
        (scale, anchor)
    }

    /// An expression at other mixed indices, and these.
    fn elsewhere(&mut self, all: &[&Expr]) -> (Vec<IndexId>, Vec<Expr>) {
        let mixed = self.axes(true);
        let fresh = self.fresh(&mixed);
        let map: Vec<_> = mixed.iter().zip(&fresh).map(|(&old, &new)| (old, build::index(new, self.span))).collect();
        (fresh, all.iter().map(|e| self.scope.substitute(e, &map)).collect())
    }

    /// `sum[mixed](a * b)` of expressions at the indices on the left.
    fn dot(&mut self, product: Expr) -> Expr {
        let (fresh, mut there) = self.elsewhere(&[&product]);
        build::reduce(ReduceOp::Sum, fresh, there.remove(0))
    }

    /// Sherman and Morrison.
    fn rank_one(&mut self) -> Expr {
        let (scale, anchor) = self.anchor();
        let (batch, mixed) = (self.axes(false), self.axes(true));
        let entry = self.at(&self.left.clone());
        let Entry { weight, v, target } = self.residuals[0].clone().at(self.scope, &entry, &[]);
        let even = mixed.iter().all(|&i| !build::mentions(&scale, i));
        let (along, norm) = match even {
            true => (v.clone(), square(v.clone())),
            false => (build::div(v.clone(), scale.clone()), build::div(square(v.clone()), scale.clone())),
        };
        let norm = self.dot(norm);
        let start = if even { scale } else { build::real(1.0, self.span) };
        let eps = build::div(weight.clone(), build::add(start, build::mul(weight, tidy(norm, &self.left))));
        let eps = self.define("eps", &batch, eps);
        let found = self.dot(build::mul(anchor.clone(), v));
        let error = self.define("error", &batch, build::sub(target, found));
        build::add(anchor, build::mul(build::mul(eps, error), along))
    }

    /// Woodbury, with an index that tells the residuals apart.
    fn low_rank(&mut self, rank: IndexId) -> Expr {
        let (scale, anchor) = self.anchor();
        let (batch, mixed) = (self.axes(false), self.axes(true));
        let entry = self.at(&self.left.clone());
        let residuals = self.residuals.clone();
        let last = residuals.len() - 1;
        let mut parts: Option<(Expr, Expr)> = None;
        for (n, residual) in residuals.iter().enumerate().rev() {
            let more: Vec<Expr> = residual.extra().iter().map(|_| build::index(rank, self.span)).collect();
            let Entry { weight, v, target } = residual.at(self.scope, &entry, &more);
            let root = match build::constant(&weight) {
                Some(w) if w >= 0.0 => build::real(w.sqrt(), weight.span),
                _ => build::call(Function::Sqrt, vec![weight]),
            };
            let (factor, target) = (build::mul(root.clone(), v), build::mul(root, target));
            parts = Some(match parts {
                None => (factor, target),
                Some((factors, targets)) => {
                    debug_assert!(n < last);
                    let this =
                        build::binary(BinaryOp::Eq, build::index(rank, self.span), build::int(n as i64, self.span));
                    (build::select(this.clone(), factor, factors), build::select(this, target, targets))
                }
            });
        }
        let (factor, target) = parts.expect("there are residuals");
        let with = |a: &[IndexId], b: &[IndexId], c: &[IndexId]| [a, b, c].concat();
        let factor = self.define("factor", &with(&batch, &[rank], &mixed), factor);
        let other = self.scope.fresh(rank);
        let there = self.scope.substitute(&factor, &[(rank, build::index(other, self.span))]);
        let own = build::binary(BinaryOp::Eq, build::index(rank, self.span), build::index(other, self.span));
        let identity = build::select(own, build::real(1.0, self.span), build::real(0.0, self.span));
        let product = build::div(build::mul(factor.clone(), there), scale.clone());
        let inner = self.dot(product);
        let gram = self.define("gram", &with(&batch, &[rank, other], &[]), build::add(identity, inner));
        let found = self.dot(build::mul(factor.clone(), anchor.clone()));
        let misfit = self.define("misfit", &with(&batch, &[rank], &[]), build::sub(target, found));
        let answer = self.system(&gram, &misfit, rank, other, build::index(rank, self.span));
        let answer = self.define("answer", &with(&batch, &[rank], &[]), answer);
        let summed = self.scope.fresh(rank);
        let map = [(rank, build::index(summed, self.span))];
        let product = build::div(build::mul(factor, answer), scale);
        let moved = self.scope.substitute(&product, &map);
        build::add(anchor, build::reduce(ReduceOp::Sum, vec![summed], moved))
    }

    /// The solution of a system whose matrix and right side are definitions, with indices of its own.
    fn system(&mut self, matrix: &Expr, right: &Expr, row: IndexId, column: IndexId, at: Expr) -> Expr {
        let (r, c) = (self.scope.fresh(row), self.scope.fresh(column));
        let map = [(row, build::index(r, self.span)), (column, build::index(c, self.span))];
        let matrix = Box::new(self.scope.substitute(matrix, &map));
        let right = Box::new(self.scope.substitute(right, &map));
        let kind = ExprKind::Solve { row: r, column: c, at: Box::new(at), matrix, right };
        build::expr(kind, Scalar::Real, self.span)
    }

    /// A system with the whole second derivative along the mixed axes.
    fn dense(&mut self) -> Expr {
        let (batch, mixed) = (self.axes(false), self.axes(true));
        let extents: Vec<Extent> = mixed.iter().map(|&i| self.scope.layer.index(i).extent.clone()).collect();
        let product = |a: Extent, b: &Extent| Extent::Mul(Box::new(a), Box::new(b.clone()));
        let size = extents[1..].iter().fold(extents[0].clone(), product);
        let name = self.scope.layer.index(mixed[0]).name.clone();
        let (row, column) = match mixed.len() {
            1 => (self.scope.fresh(mixed[0]), self.scope.fresh(mixed[0])),
            _ => {
                let row = self.scope.add_index(&name, size.clone(), self.span);
                (row, self.scope.add_index(&name, size, self.span))
            }
        };
        let (here, there) = (self.entry(row, &extents), self.entry(column, &extents));
        let (scale, mut moment) = self.diagonal_at(&here);
        let own = build::binary(BinaryOp::Eq, build::index(row, self.span), build::index(column, self.span));
        let zero = build::real(0.0, self.span);
        let mut matrix = match build::constant(&scale) {
            Some(0.0) => zero,
            _ => build::select(own, scale, zero),
        };
        for residual in self.residuals.clone() {
            let extra = self.fresh(&residual.extra());
            let more = self.at(&extra);
            let first = residual.at(self.scope, &here, &more);
            let second = residual.at(self.scope, &there, &more);
            let element = build::mul(build::mul(first.weight, first.v), second.v);
            matrix = build::add(matrix, sum(extra, element));
            let extra = self.fresh(&residual.extra());
            let more = self.at(&extra);
            let Entry { weight, v, target } = residual.at(self.scope, &here, &more);
            let element = build::mul(build::mul(weight, v), target);
            moment = build::add(moment, sum(extra, element));
        }
        let hessian = self.define("hessian", &[&batch[..], &[row, column]].concat(), matrix);
        let moment = self.define("moment", &[&batch[..], &[row]].concat(), moment);
        let mut at = build::index(mixed[0], self.span);
        for (&i, extent) in mixed.iter().zip(&extents).skip(1) {
            let scaled = build::mul(at, build::extent(extent, self.span));
            at = build::add(scaled, build::index(i, self.span));
        }
        if mixed.len() == 1 {
            return self.system(&hessian, &moment, row, column, at);
        }
        let answer = self.system(&hessian, &moment, row, column, build::index(row, self.span));
        let answer = self.define("answer", &[&batch[..], &[row]].concat(), answer);
        self.scope.substitute(&answer, &[(row, at)])
    }

    /// The entry whose mixed axes are numbered by an index, row-major.
    fn entry(&mut self, number: IndexId, extents: &[Extent]) -> Vec<Expr> {
        let mut rest = build::index(number, self.span);
        let mut places: Vec<Expr> = Vec::new();
        for extent in extents[1..].iter().rev() {
            let size = build::extent(extent, self.span);
            places.push(build::binary(BinaryOp::Mod, rest.clone(), size.clone()));
            rest = build::binary(BinaryOp::FloorDiv, rest, size);
        }
        places.push(rest);
        let mut entry = self.at(&self.left.clone());
        for (at, _) in entry.iter_mut().zip(&self.mixed).filter(|(_, mixed)| **mixed) {
            *at = places.pop().expect("a place for each mixed axis");
        }
        entry
    }
}

fn square(e: Expr) -> Expr {
    match build::constant(&e) {
        Some(x) => build::real(x * x, e.span),
        None => {
            let (ty, span) = (e.ty, e.span);
            build::expr(ExprKind::Powi(Box::new(e), 2), ty, span)
        }
    }
}
