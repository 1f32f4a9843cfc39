//! Definitions for coefficients that grow.
//!
//! A form is copied wherever the value that it belongs to is read: definitions that read each other many times would have
//! forms that grow with each, or double. So a large form gets its larger coefficients defined as `let`s of the layer,
//! and reads them. They are free of the group's states, stand behind all other equations, and read only what stands before
//! them.

use std::collections::HashSet;

use super::algebra::Algebra;
use super::build::{self, Scope};
use super::form::{Form, Term};
use crate::diag::Span;
use crate::ir::{Expr, ExprKind, IndexId, Layer, Scalar, Type, ValueId, ValueKind};

/// The definitions that were added.
#[derive(Debug)]
pub(crate) struct Shared {
    /// In order.
    pub(crate) values: Vec<ValueId>,
    /// Names that the layer has.
    taken: HashSet<String>,
    number: usize,
}

impl Shared {
    /// None yet.
    pub(crate) fn new(layer: &Layer) -> Self {
        let values = layer.values.iter().map(|v| &v.name).chain(layer.dims.iter().map(|d| &d.name));
        let taken = values.chain(layer.indices.iter().map(|i| &i.name)).cloned().collect();
        Self { values: Vec::new(), taken, number: 0 }
    }

    /// A name that the layer does not have.
    fn name(&mut self) -> String {
        loop {
            self.number += 1;
            let name = format!("c{}", self.number);
            if !self.taken.contains(&name) {
                return name;
            }
        }
    }

    /// Forgets all definitions but the first, and their names.
    pub(crate) fn truncate(&mut self, count: usize) {
        self.number -= (self.values.len() - count).min(self.number);
        self.values.truncate(count);
    }
}

/// The nodes of a form that is copied as it is.
const SMALL_FORM: usize = 256;

/// The nodes of a coefficient that stays where it stands in a large form.
const SMALL: usize = 6;

impl Form {
    /// The form, whose larger coefficients are defined apart where it is large; `indices` are those at which it stands.
    pub(crate) fn share(mut self, scope: &mut Scope, algebra: Algebra, indices: &[IndexId]) -> Self {
        if scope.shared.is_none() || self.nodes() <= SMALL_FORM {
            return self;
        }
        for term in &mut self.terms {
            let all: Vec<IndexId> = indices.iter().chain(&term.bound).copied().collect();
            // The guards stand in the definition too: an access in it may need them.
            if nodes(&term.coefficient) > SMALL {
                let weight = term.weight(algebra);
                term.coefficient = define(scope, &all, weight);
            }
            term.share_guards(scope, &all);
        }
        self.offset = self.offset.map(|e| if nodes(&e) > SMALL { define(scope, indices, e) } else { e });
        self
    }
}

impl Term {
    /// Puts what the guards read in a definition of its own. Those over indices alone stay: what the access needs to
    /// stay inside is shown from them.
    fn share_guards(&mut self, scope: &mut Scope, indices: &[IndexId]) {
        let (plain, other): (Vec<Expr>, Vec<Expr>) = self.guards.iter().cloned().partition(over_indices);
        if other.iter().map(nodes).sum::<usize>() <= SMALL {
            return;
        }
        let no = build::truth(false, Span::default());
        let all = self
            .guards
            .iter()
            .fold(build::truth(true, Span::default()), |all, g| build::select(g.clone(), all, no.clone()));
        self.guards = [define(scope, indices, all)].into_iter().chain(plain).collect();
    }
}

fn nodes(e: &Expr) -> usize {
    let mut nodes = 0;
    e.walk(&mut |_| nodes += 1);
    nodes
}

fn over_indices(e: &Expr) -> bool {
    let mut plain = true;
    e.walk(&mut |e| plain &= !matches!(e.kind, ExprKind::Read { .. } | ExprKind::Past { .. } | ExprKind::First));
    plain
}

/// A new definition over those of the indices that the body mentions, read at them.
fn define(scope: &mut Scope, indices: &[IndexId], body: Expr) -> Expr {
    let ty = match body.ty {
        Scalar::Real => Type::Real,
        Scalar::Complex => Type::Complex,
        Scalar::Bool => Type::Bool,
        Scalar::Int => return body,
    };
    let used: Vec<IndexId> = indices.iter().copied().filter(|&i| build::mentions(&body, i)).collect();
    let axes = used.iter().map(|&i| scope.layer.index(i).extent.clone()).collect();
    let name = scope.shared.as_mut().expect("large forms are shared").name();
    let value = scope.add_value(&name, ValueKind::Let, axes, ty, Span::default());
    scope.define(value, &used, &body);
    scope.shared.iter_mut().for_each(|shared| shared.values.push(value));
    let at = used.iter().map(|&i| build::index(i, body.span)).collect();
    build::read(&scope.layer, value, at, body.span)
}
