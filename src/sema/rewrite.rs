//! Copies of expressions, with indices of their own.

use super::scope::Lowering;
use crate::ir::{Expr, ExprKind, IndexId};

impl Lowering<'_> {
    /// A copy whose binders bind indices of their own.
    pub(super) fn copy(&mut self, e: &Expr) -> Expr {
        self.copy_with(e, &mut Vec::new())
    }

    /// A copy with other indices in the place of free ones.
    pub(super) fn copy_with(&mut self, e: &Expr, renamed: &mut Vec<(IndexId, IndexId)>) -> Expr {
        self.nodes += 1;
        let before = renamed.len();
        let mut copy = e.clone();
        match &mut copy.kind {
            ExprKind::Index(i) => {
                if let Some((_, new)) = renamed.iter().rev().find(|(old, _)| old == i) {
                    *i = *new;
                }
                return copy;
            }
            ExprKind::Reduce { indices, .. } => {
                for index in indices {
                    *index = self.rebind(*index, renamed);
                }
            }
            ExprKind::Normalise { index, at, eps, body, .. } => {
                // Only the body is in the scope of the index.
                **at = self.copy_with(at, renamed);
                if let Some(eps) = eps {
                    **eps = self.copy_with(eps, renamed);
                }
                *index = self.rebind(*index, renamed);
                **body = self.copy_with(body, renamed);
                renamed.truncate(before);
                return copy;
            }
            ExprKind::Solve { row, column, at, matrix, right } => {
                **at = self.copy_with(at, renamed);
                *row = self.rebind(*row, renamed);
                *column = self.rebind(*column, renamed);
                **matrix = self.copy_with(matrix, renamed);
                **right = self.copy_with(right, renamed);
                renamed.truncate(before);
                return copy;
            }
            _ => {}
        }
        for operand in copy.operands_mut() {
            *operand = self.copy_with(operand, renamed);
        }
        renamed.truncate(before);
        copy
    }

    fn rebind(&mut self, old: IndexId, renamed: &mut Vec<(IndexId, IndexId)>) -> IndexId {
        let index = self.layer.index(old).clone();
        let new = self.add_index(&index.name, index.extent, index.span);
        renamed.push((old, new));
        new
    }
}

/// The free indices of an expression, in the order of their first use.
pub(super) fn free_indices(e: &Expr) -> Vec<IndexId> {
    fn visit(e: &Expr, bound: &mut Vec<IndexId>, free: &mut Vec<IndexId>) {
        let before = bound.len();
        match &e.kind {
            ExprKind::Index(i) if !bound.contains(i) && !free.contains(i) => {
                free.push(*i);
            }
            ExprKind::Reduce { indices, .. } => bound.extend(indices),
            ExprKind::Normalise { index, .. } => bound.push(*index),
            ExprKind::Solve { row, column, .. } => bound.extend([row, column]),
            _ => {}
        }
        for operand in e.operands() {
            visit(operand, bound, free);
        }
        bound.truncate(before);
    }
    let mut free = Vec::new();
    visit(e, &mut Vec::new(), &mut free);
    free
}
