//! Contractions in the loops of what sums over their values.
//!
//! In: the parts of what runs ahead of the recurrence or behind it. Out: fewer parts. Where a contraction's elements are summed
//! over by another one (a mixture of matrices, and the norms of its columns), each element is made in the turn of the loop that
//! needs it, while it is in registers: it is loaded again only for what else reads it.

use super::batch::Batch;
use super::region::reduction;
use super::shape::is_guard;
use super::split::{Draft, Part, Splitter};
use crate::ir::{Equation, Expr, ExprKind, IndexId, ValueId};

/// Up to how many turns a contraction may have: a longer one is better off with registers for more of its own sums.
const SHORT: usize = 16;

impl Splitter<'_> {
    /// Moves contractions into the parts that sum over them.
    pub(super) fn fused(&self, mut parts: Vec<Part>) -> Vec<Part> {
        if self.filled.is_some() {
            return parts;
        }
        for reader in (1..parts.len()).rev() {
            for maker in (0..reader).rev() {
                if let (Part::Contraction(made), Part::Contraction(by)) = (&parts[maker], &parts[reader])
                    && let Some(draft) = self.in_loop_of(made, by)
                    && !parts[maker + 1..reader].iter().any(|part| self.reads(part.equations(), made))
                {
                    parts[reader] = Part::Contraction(draft);
                    parts[maker] = Part::Steps(Vec::new());
                }
            }
        }
        parts.retain(|part| !part.equations().is_empty());
        parts
    }

    fn reads(&self, equations: &[usize], made: &Draft) -> bool {
        let layer = self.layer();
        let values: Vec<ValueId> = made.equations.iter().map(|&e| layer.equations[e].value).collect();
        equations.iter().any(|&e| layer.equations[e].body.reads().iter().any(|v| values.contains(v)))
    }

    /// The contraction `by` with that of `made` in its loops, where it reads each element in one turn of them.
    fn in_loop_of(&self, made: &Draft, by: &Draft) -> Option<Draft> {
        let layer = self.layer();
        let [maker] = made.equations[..] else { return None };
        let equation = &layer.equations[maker];
        let summed = reduction(&equation.body)?;
        let turns: usize = summed.iter().map(|i| self.instance.extents[i.at()]).product();
        if turns > SHORT || !self.reads(&by.equations, made) {
            return None;
        }
        let mut draft = by.clone();
        for &r in &by.equations {
            let reader = &layer.equations[r];
            if !reader.body.reads().contains(&equation.value) {
                continue;
            }
            let mut places = Vec::new();
            if !self.in_sums(&reader.body, equation.value, None, &mut places) {
                return None;
            }
            for (at, loops) in places {
                self.extend(&mut draft, by, reader, equation, &at, &loops)?;
            }
        }
        let lane = draft.batches[draft.lane].index(layer, equation)?;
        if self.gathers(equation, lane) {
            return None;
        }
        draft.equations.push(maker);
        draft.equations.sort_unstable();
        Some(draft)
    }

    /// Whether all reads of a value stand in sums that a region makes loops of; finds them, with the indices of their sums.
    fn in_sums(
        &self,
        e: &Expr,
        value: ValueId,
        within: Option<&Vec<IndexId>>,
        found: &mut Vec<(Vec<IndexId>, Vec<IndexId>)>,
    ) -> bool {
        match &e.kind {
            ExprKind::Read { value: read, at } if *read == value => {
                let plain = |e: &Expr| match e.kind {
                    ExprKind::Index(i) => Some(i),
                    _ => None,
                };
                let at: Option<Vec<IndexId>> = at.iter().map(plain).collect();
                match (at, within) {
                    (Some(at), Some(loops)) => found.push((at, loops.clone())),
                    _ => return false,
                }
                true
            }
            ExprKind::If(parts) if is_guard(&parts[0]) => !e.reads().contains(&value),
            _ => {
                let within = within.or(reduction(e));
                e.operands().into_iter().all(|operand| self.in_sums(operand, value, within, found))
            }
        }
    }

    /// Gives a value its batch axes as an element is read: at all batch indices of the reader, and for the rest at the indices
    /// of the sum, in order.
    fn extend(
        &self,
        draft: &mut Draft,
        by: &Draft,
        reader: &Equation,
        equation: &Equation,
        at: &[IndexId],
        loops: &[IndexId],
    ) -> Option<()> {
        let layer = self.layer();
        let shape = &self.instance.axes[equation.value.at()];
        let whole = at.iter().zip(shape).all(|(i, &extent)| self.instance.extents[i.at()] == extent);
        let mut rest = at.to_vec();
        for (batch, to) in by.batches.iter().zip(&mut draft.batches) {
            let index = batch.index(layer, reader)?;
            let axis = at.iter().position(|i| *i == index)?;
            rest.retain(|i| *i != index);
            if to.axis(layer, equation.value).is_some_and(|known| known != axis) {
                return None;
            }
            Batch::insert(to, layer, equation.value, axis);
        }
        (whole && rest == loops && rest.len() + by.batches.len() == at.len()).then_some(())
    }
}
