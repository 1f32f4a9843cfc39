//! When each equation can run at the earliest.
//!
//! In: a layer and one of its passes. Out: a [`Stage`] for every equation of the pass. An equation that reads only
//! parameters runs once, whatever the sequences. One that no state reaches can run for many steps at once. Of the
//! others, those that a state's new value needs are the recurrence; the rest can wait until the recurrence has run.

use super::passes::Pass;
use crate::ir::{ExprKind, Layer, ValueId, ValueKind};

/// When an equation can run at the earliest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Once, when parameters are bound.
    Bound,
    /// In any step, whatever the states are.
    Input,
    /// In order: the next step needs it.
    State,
    /// After the states, in any step: nothing that is carried needs it.
    Output,
}

impl Stage {
    /// Its name in dumps.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Bound => "bound",
            Stage::Input => "input",
            Stage::State => "state",
            Stage::Output => "output",
        }
    }
}

/// The stage of each equation of the layer; `None` for those that the pass does not compute.
///
/// Definitions that read parameters alone are [`Stage::Bound`], unless they are returned or decide about a reset.
pub fn stages(layer: &Layer, pass: &Pass) -> Vec<Option<Stage>> {
    let mut of_value: Vec<Stage> = layer
        .values
        .iter()
        .map(|value| match value.kind {
            ValueKind::Param => Stage::Bound,
            ValueKind::State(_) | ValueKind::Next(_) => Stage::State,
            _ => Stage::Input,
        })
        .collect();
    let returned = |v: ValueId| layer.outputs.iter().any(|output| output.value == v) || layer.reset == Some(v);
    let mut found = vec![None; layer.equations.len()];
    for &e in &pass.equations {
        let equation = &layer.equations[e];
        let reads = equation.body.reads();
        // What is reported is so with the step.
        let mut varies = layer.checks.iter().any(|check| check.value == equation.value);
        equation.body.walk(&mut |e| {
            varies |= matches!(e.kind, ExprKind::First | ExprKind::Past { .. } | ExprKind::Solve { .. });
        });
        let free = !varies && layer.value(equation.value).kind == ValueKind::Let && !returned(equation.value);
        let least = if free { Stage::Bound } else { of_value[equation.value.at()] };
        let stage = reads.iter().map(|v| of_value[v.at()]).fold(least, Ord::max);
        let stage = if stage >= Stage::State { Stage::Output } else { stage };
        of_value[equation.value.at()] = stage;
        found[e] = Some(stage);
    }
    // Backwards from the new states: what they need of what depends on states is the recurrence.
    let mut wanted: Vec<ValueId> = pass.states.iter().map(|s| layer.states[s.at()].next).collect();
    for &e in pass.equations.iter().rev() {
        let equation = &layer.equations[e];
        if found[e] == Some(Stage::Output) && wanted.contains(&equation.value) {
            found[e] = Some(Stage::State);
            wanted.extend(equation.body.reads());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::passes::passes;

    #[test]
    fn each_equation_runs_at_the_earliest_stage() {
        let source = "layer l(D) {
            param a[D]
            input x[D]
            state h[D] = 0
            let rate[d] = exp(a[d])
            let u[d] = rate[d] * x[d]
            let gate[d] = sigmoid(h[d]) * u[d]
            h[d] <- rate[d] * h[d] + gate[d]
            let z[d] = h[d] * u[d]
            output y[d] = z[d] + rate[d]
        }";
        let (file, _) = crate::syntax::parse(source);
        let (layers, problems) = crate::sema::lower(&file);
        assert!(problems.is_empty(), "{problems:?}");
        let layer = &layers[0];
        let pass = &passes(layer).expect("one pass")[0];
        let names = || -> Vec<String> {
            let found = stages(layer, pass);
            let named = |e: &crate::ir::Equation| layer.value(e.value).name.clone();
            let stage = |s: Option<Stage>| s.expect("the pass computes all").name();
            layer.equations.iter().zip(found).map(|(e, s)| format!("{} {}", named(e), stage(s))).collect()
        };
        assert_eq!(names(), ["rate bound", "u input", "gate state", "h state", "z output", "y output"]);
    }
}
