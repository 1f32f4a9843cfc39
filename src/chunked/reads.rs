//! Who reads a state that runs in blocks.
//!
//! In: a layer, and [`Core`]s for some of its states. Out: the layer with every contraction of such a state replaced by a
//! value that the core gives: `sum[i](q[h, i] * S[h, i, j])` becomes `read[h, j]`, with `q` as its query. Definitions that read
//! single elements are put in the place of what reads them, as long as a contraction stands around.

use super::Refusal;
use super::terms::{Core, Read, factor};
use crate::analysis::verdict::algebra::Algebra;
use crate::analysis::verdict::build::{self, Scope};
use crate::analysis::verdict::form::{plain, sum_over};
use crate::analysis::verdict::low_rank::{Piece, multiplied};
use crate::diag::Span;
use crate::ir::{
    BinaryOp, Expr, ExprKind, IndexId, Layer, ReduceOp, Scalar, StateId, Type, UnaryOp, ValueId, ValueKind,
};

/// Why reads cannot be replaced.
pub(super) enum Stop {
    /// The state cannot run in blocks.
    Refused(Refusal),
    /// An axis of a state has to be a head: a query differs along it.
    Head(StateId, usize),
}

/// What rewrites the equations of a layer.
pub(super) struct Reads<'a> {
    pub(super) scope: &'a mut Scope,
    pub(super) cores: &'a mut [Core],
    /// The indices of each core's state.
    pub(super) indices: &'a [Vec<IndexId>],
    /// By value: why its definition cannot be read but inside of a contraction.
    single: Vec<Option<Refusal>>,
}

/// The axis that the first contraction of a state sums over.
pub(super) fn contracted(layer: &Layer, state: StateId) -> Option<usize> {
    let mut found = None;
    for equation in &layer.equations {
        equation.body.walk(&mut |e| {
            let ExprKind::Reduce { op: ReduceOp::Sum | ReduceOp::Mean, indices, body } = &e.kind else { return };
            body.walk(&mut |e| {
                let ExprKind::Read { value, at } = &e.kind else { return };
                if version(layer, *value) == Some(state) && found.is_none() {
                    found = at.iter().position(|at| plain(at).is_some_and(|i| indices.contains(&i)));
                }
            });
        });
    }
    found
}

/// The state that a value is a version of.
fn version(layer: &Layer, value: ValueId) -> Option<StateId> {
    match layer.value(value).kind {
        ValueKind::State(s) | ValueKind::Next(s) => Some(s),
        _ => None,
    }
}

impl<'a> Reads<'a> {
    pub(super) fn new(scope: &'a mut Scope, cores: &'a mut [Core], indices: &'a [Vec<IndexId>]) -> Self {
        let single = vec![None; scope.layer.values.len()];
        Self { scope, cores, indices, single }
    }

    /// Replaces all reads, and leaves out the equations of the states themselves.
    ///
    /// # Errors
    /// What stands in the way, for a read that the layer's results need.
    pub(super) fn replace(mut self) -> Result<(), Stop> {
        for equation in std::mem::take(&mut self.scope.layer.equations) {
            let own = version(&self.scope.layer, equation.value).is_some_and(|s| self.core(s).is_some());
            if own {
                continue;
            }
            let mut equation = equation;
            match self.rewritten(&equation.body) {
                Ok(body) => equation.body = body,
                Err(Stop::Refused(refusal)) => {
                    self.single.resize(self.scope.layer.values.len(), None);
                    self.single[equation.value.at()] = Some(refusal);
                }
                Err(stop) => return Err(stop),
            }
            self.scope.layer.equations.push(equation);
        }
        self.single.resize(self.scope.layer.values.len(), None);
        match self.needed() {
            Some(refusal) => Err(Stop::Refused(refusal)),
            None => Ok(()),
        }
    }

    /// Leaves out what no result needs, reads included; the first thing that is needed and cannot be had.
    fn needed(&mut self) -> Option<Refusal> {
        let layer = &mut self.scope.layer;
        let mut wanted = vec![false; layer.values.len()];
        let own = |s: usize| self.cores.iter().any(|core| core.state.at() == s);
        let states = layer.states.iter().enumerate().filter(|(s, _)| !own(*s)).map(|(_, state)| state.next);
        let results = layer.outputs.iter().map(|o| o.value).chain(layer.checks.iter().map(|c| c.value));
        let roots = states.chain(results).chain(layer.delays.iter().copied()).chain(layer.reset);
        for root in roots {
            if let Some(s) = version(layer, root).filter(|s| own(s.at())) {
                let span = layer.value(layer.states[s.at()].value).span;
                return Some(Refusal { state: s, span, why: "the state itself is an output".to_owned() });
            }
            wanted[root.at()] = true;
        }
        for core in self.cores.iter() {
            let reads = core.reads.len();
            core.factors().take(core.factors().count() - reads).for_each(|f| wanted[f.value.at()] = true);
        }
        let mut kept = Vec::new();
        for equation in std::mem::take(&mut layer.equations).into_iter().rev() {
            if !wanted[equation.value.at()] {
                continue;
            }
            if let Some(refusal) = &self.single[equation.value.at()] {
                return Some(refusal.clone());
            }
            for value in equation.body.reads() {
                wanted[value.at()] = true;
                let read = self.cores.iter().flat_map(|core| &core.reads).find(|read| read.result == value);
                if let Some(read) = read {
                    wanted[read.query.value.at()] = true;
                }
            }
            kept.push(equation);
        }
        kept.reverse();
        layer.equations = kept;
        for core in self.cores.iter_mut() {
            core.reads.retain(|read| wanted[read.result.at()]);
        }
        None
    }

    fn core(&self, state: StateId) -> Option<usize> {
        self.cores.iter().position(|core| core.state == state)
    }

    /// The core whose state an expression reads elements of.
    fn state_in(&self, e: &Expr) -> Option<usize> {
        let mut found = None;
        e.walk(&mut |e| {
            if let ExprKind::Read { value, .. } = e.kind {
                let state = version(&self.scope.layer, value);
                let own = state.and_then(|s| self.core(s));
                // The new value of another state stands for itself: it is refused where it is defined.
                let inner =
                    self.single.get(value.at()).and_then(|refusal| refusal.as_ref()).filter(|_| state.is_none());
                found = found.or(own).or_else(|| inner.and_then(|refusal| self.core(refusal.state)));
            }
        });
        found
    }

    fn refuse(&self, core: usize, span: Span, why: &str) -> Stop {
        Stop::Refused(Refusal { state: self.cores[core].state, span, why: why.to_owned() })
    }

    fn rewritten(&mut self, e: &Expr) -> Result<Expr, Stop> {
        let Some(core) = self.state_in(e) else { return Ok(e.clone()) };
        match &e.kind {
            ExprKind::Reduce { op: ReduceOp::Sum | ReduceOp::Mean, indices, body } => {
                self.contraction(e, indices, body)
            }
            ExprKind::Read { .. } => Err(self.refuse(core, e.span, "it is read by element, not in a sum of products")),
            _ => {
                let mut e = e.clone();
                for operand in e.operands_mut() {
                    *operand = self.rewritten(operand)?;
                }
                Ok(e)
            }
        }
    }

    /// A sum or mean over indices, with reads in the place of its contractions.
    fn contraction(&mut self, e: &Expr, indices: &[IndexId], body: &Expr) -> Result<Expr, Stop> {
        // Where the sum goes over no axis of the state, there may be a contraction further in.
        let Some(products) = self.products(body)? else {
            let mut e = e.clone();
            for operand in e.operands_mut() {
                *operand = self.rewritten(operand)?;
            }
            return Ok(e);
        };
        let mut sum = build::number(0.0, Scalar::Real, e.span);
        for pieces in products {
            let part = match pieces.iter().position(|(piece, _)| self.state_in(piece).is_some()) {
                None => {
                    let product = multiplied(&pieces, Scalar::Real, e.span);
                    sum_over(self.scope, Algebra::Field, indices, &product)
                }
                Some(at) => self.read(indices, pieces, at, e.span)?,
            };
            sum = build::add(sum, part);
        }
        if matches!(e.kind, ExprKind::Reduce { op: ReduceOp::Mean, .. }) {
            for &i in indices {
                let count = build::extent(&self.scope.layer.index(i).extent, e.span);
                sum = build::div(sum, build::widen(count, Scalar::Real));
            }
        }
        Ok(sum)
    }

    /// One product with an element of a state, summed.
    fn read(&mut self, indices: &[IndexId], mut pieces: Vec<Piece>, at: usize, span: Span) -> Result<Expr, Stop> {
        let (element, _) = pieces.remove(at);
        let ExprKind::Read { value, at } = &element.kind else { unreachable!("a product has an element") };
        let state = version(&self.scope.layer, *value).expect("a product has a state's element");
        let n = self.core(state).expect("the state runs in blocks");
        let key = self.cores[n].key;
        let layer = &self.scope.layer;
        let after = match *value {
            v if v == layer.states[state.at()].next => true,
            v if v == layer.states[state.at()].value => false,
            _ => return Err(self.refuse(n, element.span, "it is read between two of its updates")),
        };
        let Some(bound) = plain(&at[key]).filter(|i| indices.contains(i)) else {
            return Err(self.refuse(n, element.span, "it is not read in a sum over the same axis everywhere"));
        };
        let whole = |i: IndexId, k: usize| layer.index(i).extent == layer.index(self.indices[n][k]).extent;
        let others = || at.iter().enumerate().filter(|(k, _)| *k != key);
        if !whole(bound, key) || others().any(|(_, at)| build::mentions(at, bound)) {
            return Err(self.refuse(n, element.span, "only a part of it is summed"));
        }
        let (query, outside): (Vec<Piece>, Vec<Piece>) =
            pieces.into_iter().partition(|(piece, _)| build::mentions(piece, bound));
        let query = multiplied(&query, Scalar::Real, span);
        // The query at the indices of the state.
        let mut map = vec![(bound, build::index(self.indices[n][key], span))];
        for i in free(&query).into_iter().filter(|&i| i != bound) {
            let axis = others().find(|(k, at)| plain(at) == Some(i) && whole(i, *k));
            let Some((k, _)) = axis else {
                return Err(self.refuse(n, element.span, "what it is multiplied by has an index that the state lacks"));
            };
            if !self.cores[n].heads.contains(&k) {
                return Err(Stop::Head(state, k));
            }
            map.push((i, build::index(self.indices[n][k], span)));
        }
        let rest: Vec<Expr> = others().map(|(_, at)| at.clone()).collect();
        let query = self.scope.substitute(&query, &map);
        let result = self.add_read(n, &query, after, span);
        let read = build::read(&self.scope.layer, result, rest, span);
        let product = build::mul(multiplied(&outside, Scalar::Real, span), read);
        let left: Vec<IndexId> = indices.iter().copied().filter(|&i| i != bound).collect();
        Ok(sum_over(self.scope, Algebra::Field, &left, &product))
    }

    /// The value that holds such a contraction.
    fn add_read(&mut self, n: usize, query: &Expr, after: bool, span: Span) -> ValueId {
        let query = factor(self.scope, &self.indices[n], query);
        if let Some(known) = self.cores[n].reads.iter().find(|read| read.query == query && read.after == after) {
            return known.result;
        }
        let key = self.cores[n].key;
        let axes = self.indices[n].iter().enumerate().filter(|(k, _)| *k != key);
        let axes = axes.map(|(_, i)| self.scope.layer.index(*i).extent.clone()).collect();
        let name = format!("read.{}", self.scope.layer.values.len());
        let result = self.scope.add_value(&name, ValueKind::Let, axes, Type::Real, span);
        self.cores[n].reads.push(Read { query, after, result });
        result
    }

    /// The products that a body is a sum of, with elements of states apart; `None` where no such element is a factor.
    fn products(&mut self, e: &Expr) -> Result<Option<Vec<Vec<Piece>>>, Stop> {
        let Some(core) = self.state_in(e) else { return Ok(Some(vec![vec![(e.clone(), false)]])) };
        let with = |all: Option<Vec<Vec<Piece>>>, piece: Piece| {
            all.map(|all| {
                let each = all.into_iter().map(|mut pieces| {
                    pieces.push(piece.clone());
                    pieces
                });
                each.collect()
            })
        };
        match &e.kind {
            ExprKind::Read { value, at } if version(&self.scope.layer, *value).is_none() => {
                let Some(equation) = self.scope.layer.definition(*value).cloned() else { return Ok(None) };
                let map: Vec<_> = equation.indices.iter().copied().zip(at.iter().cloned()).collect();
                let body = self.scope.substitute(&equation.body, &map);
                self.products(&body)
            }
            ExprKind::Read { .. } => Ok(Some(vec![vec![(e.clone(), false)]])),
            ExprKind::Unary(UnaryOp::Neg, a) => {
                let minus = (build::number(-1.0, Scalar::Real, e.span), false);
                Ok(with(self.products(a)?, minus))
            }
            ExprKind::Binary(BinaryOp::Mul, a, b) => match (self.state_in(a), self.state_in(b)) {
                (Some(_), Some(_)) => Err(self.refuse(core, e.span, "two of its elements are multiplied")),
                (Some(_), None) => Ok(with(self.products(a)?, ((**b).clone(), false))),
                _ => Ok(with(self.products(b)?, ((**a).clone(), false))),
            },
            ExprKind::Binary(BinaryOp::Div, a, b) if self.state_in(b).is_none() => {
                Ok(with(self.products(a)?, ((**b).clone(), true)))
            }
            ExprKind::Binary(op @ (BinaryOp::Add | BinaryOp::Sub), a, b) => {
                let (a, mut b) = (self.products(a)?, self.products(b)?);
                if *op == BinaryOp::Sub {
                    b = with(b, (build::number(-1.0, Scalar::Real, e.span), false));
                }
                Ok(a.zip(b).map(|(a, b)| a.into_iter().chain(b).collect()))
            }
            _ => Ok(None),
        }
    }
}

/// The indices of an expression that nothing in it binds.
fn free(e: &Expr) -> Vec<IndexId> {
    let (mut used, mut bound) = (Vec::new(), Vec::new());
    e.walk(&mut |e| match &e.kind {
        ExprKind::Index(i) if !used.contains(i) => used.push(*i),
        ExprKind::Reduce { indices, .. } => bound.extend(indices),
        ExprKind::Normalise { index, .. } => bound.push(*index),
        ExprKind::Solve { row, column, .. } => bound.extend([*row, *column]),
        _ => {}
    });
    used.retain(|i| !bound.contains(i));
    used
}
