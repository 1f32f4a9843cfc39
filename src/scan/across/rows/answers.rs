//! Rows whose transition is the same at every step: offsets along the row from the answers of the states.
//!
//! A unit that drives a state at step `j` of a row adds to the states at step `i >= j` an entry of the power `A^(i - j)`
//! of the transition `A`: the *answer*. So the offsets composed up to each step are the product of a matrix of answers, made once from
//! parameters, and the row of what drives the states. That takes a multiply-add for each step of the row, and no moves of lanes, where
//! doubling takes moves and the products of all coefficients for every round. A state whose step does not read itself needs no
//! product: the others before the step give it.

use super::{Algebra, Element, Forms, Maker, read, shifted};
use crate::analysis::verdict::build;
use crate::diag::Span;
use crate::ir::{
    BinaryOp, Expr, ExprKind, Extent, Function, IndexId, Layer, ReduceOp, Scalar, Type, UnaryOp, ValueId, ValueKind,
};

/// What drives a state: a row, and by which weight; `None` for 1.
struct Drive {
    row: ValueId,
    weight: Option<Expr>,
}

impl Maker {
    /// For each step the composition of all steps of the row up to it; `None` where doubling takes no more operations.
    pub(super) fn answered(&mut self, forms: &Forms) -> Option<Element> {
        let count = forms.ty.len();
        let fixed = forms.coefficients.iter().flatten().flatten().all(|&value| self.is_fixed(value));
        if !fixed || forms.algebra != Algebra::Field || forms.ty.iter().any(|&ty| ty != Scalar::Real) {
            return None;
        }
        let drives: Vec<Option<Drive>> = forms.offsets.iter().map(|offset| offset.map(|b| self.drive(b))).collect();
        let mut rows: Vec<ValueId> = drives.iter().flatten().map(|drive| drive.row).collect();
        rows.sort_unstable();
        rows.dedup();
        let mut direct: Vec<bool> = Vec::new();
        for (r, line) in forms.coefficients.iter().enumerate() {
            let reads = |c: usize| line[c].is_some();
            direct.push(!reads(r) && (0..count).all(|c| !reads(c) || !direct.get(c).copied().unwrap_or(false)));
        }
        let products = self.lanes * rows.len() * direct.iter().filter(|direct| !**direct).count();
        let rounds = self.lanes.ilog2() as usize * (count * count + drives.iter().flatten().count());
        if products >= rounds {
            return None;
        }
        let powers =
            self.doublings(forms, Element { products: forms.coefficients.clone(), offsets: vec![None; count] });
        let mut offsets = vec![None; count];
        for r in (0..count).filter(|&r| !direct[r]) {
            let terms: Vec<(ValueId, ValueId)> =
                rows.iter().filter_map(|&row| Some((self.answers(&powers, &drives, r, row)?, row))).collect();
            offsets[r] = (!terms.is_empty()).then(|| self.driven(&terms));
        }
        for r in (0..count).filter(|&r| direct[r]) {
            let before: Vec<(ValueId, ValueId)> =
                (0..count).filter_map(|c| Some((forms.coefficients[r][c]?, offsets[c]?))).collect();
            let own = forms.offsets[r];
            if own.is_none() && before.is_empty() {
                continue;
            }
            offsets[r] = Some(self.row("b.direct", Scalar::Real, |layer, lane| {
                let none = || build::real(0.0, Span::default());
                let own = own.map_or_else(none, |b| read(layer, b, lane));
                before.iter().fold(own, |sum, &(a, offset)| {
                    let offset = shifted(lane, read(layer, offset, lane), none(), 1);
                    build::add(sum, build::mul(read(layer, a, lane), offset))
                })
            }));
        }
        self.mixed = true;
        Some(Element { products: powers.products, offsets })
    }

    /// What a state is driven by: an input times what depends on parameters alone, or else the offset as it is.
    fn drive(&self, offset: ValueId) -> Drive {
        let scaled = self.scope.layer.definition(offset).and_then(|equation| self.scaled(&equation.body));
        scaled.unwrap_or(Drive { row: offset, weight: None })
    }

    /// `e` as one row times a weight.
    fn scaled(&self, e: &Expr) -> Option<Drive> {
        let weight = |drive: &Drive| drive.weight.clone().unwrap_or_else(|| build::real(1.0, e.span));
        match &e.kind {
            ExprKind::Read { value, at } if at.len() == 1 && !self.is_fixed(*value) => {
                Some(Drive { row: *value, weight: None })
            }
            ExprKind::Unary(UnaryOp::Neg, a) => {
                let drive = self.scaled(a)?;
                Some(Drive { weight: Some(build::neg(weight(&drive))), ..drive })
            }
            ExprKind::Binary(op @ (BinaryOp::Add | BinaryOp::Sub), a, b) => {
                let (a, b) = (self.scaled(a)?, self.scaled(b)?);
                let sum = build::binary(*op, weight(&a), weight(&b));
                (a.row == b.row).then_some(Drive { weight: Some(sum), ..a })
            }
            ExprKind::Binary(BinaryOp::Mul, a, b) => {
                let (factor, rest) = if self.is_weight(a) { (a, b) } else { (b, a) };
                let drive = self.scaled(rest).filter(|_| self.is_weight(factor))?;
                Some(Drive { weight: Some(build::mul((**factor).clone(), weight(&drive))), ..drive })
            }
            ExprKind::Binary(BinaryOp::Div, a, b) if self.is_weight(b) => {
                let drive = self.scaled(a)?;
                Some(Drive { weight: Some(build::div(weight(&drive), (**b).clone())), ..drive })
            }
            _ => None,
        }
    }

    /// Whether an expression is the same number at every step.
    fn is_weight(&self, e: &Expr) -> bool {
        let mut timed = false;
        e.walk(&mut |e| timed |= matches!(e.kind, ExprKind::First | ExprKind::Index(_)));
        !timed && e.reads().into_iter().all(|value| self.is_fixed(value))
    }

    /// What a unit of `row` at each step (the second axis) adds to a state at each step (the first one).
    fn answers(&mut self, powers: &Element, drives: &[Option<Drive>], r: usize, row: ValueId) -> Option<ValueId> {
        let span = Span::default();
        let extent = Extent::Lit(self.lanes as i64);
        let lane = self.scope.add_index("lane", extent.clone(), span);
        let step = self.scope.add_index("step", extent.clone(), span);
        let (at, from) = (build::index(lane, span), build::index(step, span));
        let distance = build::binary(BinaryOp::Sub, at.clone(), from.clone());
        let mut terms = Vec::new();
        for (c, drive) in drives.iter().enumerate() {
            let Some(drive) = drive.as_ref().filter(|drive| drive.row == row) else { continue };
            // Behind the first step of a row stands the first power.
            let later = powers.products[r][c].map(|power| {
                let place = build::binary(BinaryOp::Sub, distance.clone(), build::int(1, span));
                let place = build::call(Function::Max, vec![place, build::int(0, span)]);
                build::read(&self.scope.layer, power, vec![place], span)
            });
            if later.is_none() && r != c {
                continue;
            }
            let none = build::real(0.0, span);
            let here = build::real(if r == c { 1.0 } else { 0.0 }, span);
            let same = build::binary(BinaryOp::Eq, at.clone(), from.clone());
            let behind = build::binary(BinaryOp::Gt, at.clone(), from.clone());
            let power = build::select(behind, later.unwrap_or_else(|| none.clone()), build::select(same, here, none));
            terms.push(match &drive.weight {
                Some(weight) => build::mul(weight.clone(), power),
                None => power,
            });
        }
        let sum = terms.into_iter().reduce(build::add)?;
        let axes = vec![extent.clone(), extent];
        let value = self.scope.add_value("answers", ValueKind::Let, axes, Type::Real, span);
        self.scope.define(value, &[lane, step], &sum);
        Some(value)
    }

    /// The offsets of a state along the row: answers times what drives it.
    fn driven(&mut self, terms: &[(ValueId, ValueId)]) -> ValueId {
        let span = Span::default();
        let step = self.scope.add_index("step", Extent::Lit(self.lanes as i64), span);
        self.row("b", Scalar::Real, |layer: &Layer, lane: IndexId| {
            let index = |i| build::index(i, span);
            let product = |&(answers, row): &(ValueId, ValueId)| {
                let answer = build::read(layer, answers, vec![index(lane), index(step)], span);
                build::mul(answer, read(layer, row, step))
            };
            let body = terms.iter().map(product).reduce(build::add).expect("something drives the state");
            build::reduce(ReduceOp::Sum, vec![step], body)
        })
    }
}
