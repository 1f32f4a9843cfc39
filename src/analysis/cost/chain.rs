//! The chain that each step waits for in the one before.
//!
//! Every value of a step is given the time at which it can be there at the earliest, if states are there at given
//! times, what else there is at once, and each operation takes the time of its depth. Running steps that way from
//! states that are all there at 0, times grow by the length of the longest chain, in the mean over the steps of its
//! turn.

use super::count::{is_free, unit};
use super::{Chain, Unit};
use crate::ir::{BinaryOp, Expr, ExprKind, Instance, NormaliseOp, ReduceOp, Scalar};

/// Steps until the longest chain has the lead over all others.
const BEFORE: usize = 24;

/// Steps over which its mean is taken: a multiple of the lengths that turns of states usually have.
const MEASURED: usize = 24;

/// The chain of an instance; forward and reverse states alike.
pub(super) fn chain(instance: &Instance) -> Chain {
    let layer = &instance.layer;
    // A value that depends on no state is there at all times.
    let mut times = vec![f64::NEG_INFINITY; layer.values.len()];
    for state in &layer.states {
        times[state.value.at()] = 0.0;
    }
    let mut ahead = 0.0;
    for step in 0..BEFORE + MEASURED {
        if step == BEFORE {
            ahead = latest(instance, &times);
        }
        for equation in &layer.equations {
            times[equation.value.at()] = time(instance, &times, &equation.body);
        }
        for state in &layer.states {
            times[state.value.at()] = times[state.next.at()];
        }
    }
    let grown = latest(instance, &times) - ahead;
    Chain { operations: if grown.is_finite() { (grown / MEASURED as f64).max(0.0) } else { 0.0 } }
}

/// When the last of the states is there.
fn latest(instance: &Instance, times: &[f64]) -> f64 {
    let states = instance.layer.states.iter().map(|state| times[state.value.at()]);
    states.fold(f64::NEG_INFINITY, f64::max)
}

fn time(instance: &Instance, times: &[f64], e: &Expr) -> f64 {
    let waits: Vec<f64> = e.operands().into_iter().map(|operand| time(instance, times, operand)).collect();
    let ready = waits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match &e.kind {
        ExprKind::Read { value, .. } => ready.max(times[value.at()]),
        ExprKind::Reduce { op, indices, body } => {
            let length: f64 = indices.iter().map(|index| instance.extents[index.at()].max(1) as f64).product();
            let levels = length.log2().ceil();
            let fold = match op {
                ReduceOp::Sum | ReduceOp::Mean => Unit::sum(body.ty).depth(body.ty),
                ReduceOp::Prod => Unit::product(body.ty).depth(body.ty),
                _ => Unit::simple(1).depth(body.ty),
            };
            let around = match op {
                ReduceOp::Mean => Unit::quotient(e.ty).depth(e.ty),
                ReduceOp::LogSumExp => {
                    1.0 + levels + Unit::function(&["exp"]).depth(e.ty) + Unit::function(&["log"]).depth(e.ty)
                }
                _ => 0.0,
            };
            // The first addition of a sum of products comes with the product.
            let fused = matches!(op, ReduceOp::Sum | ReduceOp::Mean) && levels > 0.0 && is_product(body);
            ready + levels * fold + around - f64::from(u8::from(fused))
        }
        ExprKind::Normalise { op, index, .. } => {
            let levels = (instance.extents[index.at()].max(1) as f64).log2().ceil();
            let divide = Unit::quotient(Scalar::Real).depth(Scalar::Real);
            ready
                + divide
                + match op {
                    NormaliseOp::Softmax => levels * 1.25 + 1.0 + Unit::function(&["exp"]).depth(Scalar::Real),
                    NormaliseOp::LayerNorm => 2.0 * levels + 2.0 + 3.0 * divide,
                    NormaliseOp::RmsNorm => levels + 1.0 + 2.0 * divide,
                }
        }
        ExprKind::Call(function, _) if is_free(*function) => ready,
        // An addition that takes a product directly is one operation with it.
        ExprKind::Binary(BinaryOp::Add | BinaryOp::Sub, a, b)
            if e.ty == Scalar::Real && (is_product(a) || is_product(b)) =>
        {
            // Only one of two products can be fused: the later one.
            let late = usize::from(!is_product(a) || is_product(b) && waits[1] > waits[0]);
            let fused = waits[1 - late].max(waits[late] - 1.0);
            fused + 1.0
        }
        _ => ready + unit(e).depth(e.ty),
    }
}

/// A real product: it takes one operation.
fn is_product(e: &Expr) -> bool {
    e.ty == Scalar::Real && matches!(e.kind, ExprKind::Binary(BinaryOp::Mul, ..))
}
