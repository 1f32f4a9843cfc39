//! What things cost, and the sizes that follow from it.
//!
//! All numbers are those of a [`Machine`]; nothing here knows a layer by its name or shape.

use super::Target;
use super::shape::weight;
use crate::ir::{BinaryOp, Expr, ExprKind, Function, IndexId, Scalar};

/// What an element costs that is brought to its lane on its own, in operations.
pub const GATHER: f64 = 2.0;

/// About how many operations a power of 2 takes.
const POWER_OF_TWO: usize = 12;

/// What the planner knows about a processor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machine {
    /// Bytes of the first cache that the state of a block may fill.
    pub near: usize,
    /// Bytes of the second cache that the rows of a tile may fill.
    pub far: usize,
    /// Bytes in a cache line.
    pub line: usize,
    /// Bytes of a row from which on rows lie on pages of their own.
    pub page: usize,
    /// Sequences of addresses that the processor follows at the same time.
    pub streams: usize,
    /// Vector operations that one loop may be written out to.
    pub code: usize,
    /// Vector operations in the time in which one more line comes from memory.
    pub arrival: usize,
    /// Vector operations that can be under way, each waiting for its own predecessor.
    pub chains: usize,
}

impl Default for Machine {
    fn default() -> Self {
        Self { near: 24 << 10, far: 512 << 10, line: 64, page: 2048, streams: 32, code: 1600, arrival: 32, chains: 8 }
    }
}

impl Machine {
    /// How many vectors a block of a region has: as many as a cache line holds, fewer where that would leave too few
    /// registers, more where a step would wait for the one before it: twice as many, if that leaves blocks for some threads, and
    /// as many as it takes for `one_thread`, which has no use for many blocks.
    ///
    /// `state` is the number of elements of the state for one lane, `row` the bytes of all of it.
    pub fn parts(&self, target: Target, extent: usize, state: usize, row: usize, one_thread: bool) -> usize {
        let vector = target.width * target.bits as usize / 8;
        let mut parts = (self.line / vector).clamp(1, 4);
        while parts > 1 && (parts - 1) * target.width >= extent {
            parts -= 1;
        }
        // With a state that does not fit, several sums run side by side while its elements pass.
        if !self.in_registers(target, state) {
            parts = parts.max(if target.registers >= 32 { 4 } else { 2 });
            while parts > 1 && ((parts - 1) * target.width >= extent || state * parts * vector > self.near) {
                parts /= 2;
            }
            return parts;
        }
        // A state that could stay in registers as a narrower block should.
        if !self.in_registers(target, state * parts) && self.in_registers(target, state) {
            while !self.in_registers(target, state * parts) {
                parts /= 2;
            }
        }
        // Chains of operations that do not wait for each other, where one lane's state has few. Rows that lie on pages of their own
        // come from far: for these it is not the chain that a step waits for.
        let few = |parts: usize| state * parts < self.chains && self.in_registers(target, state * parts * 2);
        while one_thread && parts < 4 && few(parts) && (parts * 2 - 1) * target.width < extent {
            parts *= 2;
        }
        if !one_thread && row < self.page && few(parts) && parts * 8 * target.width <= extent {
            parts *= 2;
        }
        parts
    }

    /// How many steps of a contraction run side by side, each with that many vectors of sums.
    pub fn together(&self, target: Target, sums: usize) -> usize {
        let room = if target.registers >= 32 { 16 } else { 8 };
        (room / sums.max(1)).clamp(1, 8)
    }

    /// How many vectors a block of a contraction has, with so many planes: enough sums side by side to hide the latency
    /// of an addition, and room for those of other steps: of more steps, where the first cache does not hold the `bytes` that
    /// they all read.
    pub fn wide(&self, target: Target, extent: usize, planes: usize, bytes: usize) -> usize {
        let most = if target.registers >= 32 { 4 } else { 2 } / planes;
        let mut parts = if bytes > 2 * self.near && target.registers >= 32 { most / 2 } else { most }.max(1);
        while parts > 1 && (parts - 1) * target.width >= extent {
            parts -= 1;
        }
        parts
    }

    /// Whether this many vectors can stay in registers through a step.
    pub fn in_registers(&self, target: Target, vectors: usize) -> bool {
        vectors <= if target.registers >= 32 { 20 } else { 6 }
    }

    /// How many steps a tile has.
    ///
    /// `far` tensors have rows that lie on pages of their own: blocks walk along all rows of the tile side by side, and
    /// the processor fetches ahead for so many walks only. `row` is the size of what phases hand to each other in a step.
    pub fn tile(&self, row: usize, far: usize) -> usize {
        let most = (self.far / row.max(1)).min(self.streams / far.max(1));
        let mut tile = 64;
        while tile > 8 && tile > most {
            tile /= 2;
        }
        tile
    }

    /// How many steps a tile has whose values are one vector each, next to each other: as many as stay in the first cache,
    /// so that what a phase begins with counts little.
    pub fn long_tile(&self, row: usize) -> usize {
        let mut tile = 256;
        while tile > 32 && tile * row > self.near {
            tile /= 2;
        }
        tile
    }

    /// How far apart the rows of a tile lie, of so many bytes: at multiples of a page the same elements of all rows would share
    /// a few sets of the first cache. A block of lanes has up to four lines.
    pub fn stride(&self, row: usize) -> usize {
        if row >= self.page && row.is_multiple_of(self.page) { row + 5 * self.line } else { row }
    }

    /// How many turns of a loop are written out whose body takes this many operations.
    pub fn unroll(&self, turns: usize, operations: usize) -> usize {
        let mut unroll = 4;
        while unroll > 1 && (unroll > turns || unroll * operations > self.code / 4) {
            unroll /= 2;
        }
        unroll
    }
}

/// About how many operations one evaluation takes; `extent` gives the turns of reductions.
pub fn operations(e: &Expr, extent: &dyn Fn(IndexId) -> usize) -> usize {
    let planes = if e.ty == Scalar::Complex { 2 } else { 1 };
    let below: usize = match &e.kind {
        ExprKind::Read { .. } | ExprKind::Past { .. } => 0,
        _ => e.operands().into_iter().map(|operand| operations(operand, extent)).sum(),
    };
    let own = match &e.kind {
        ExprKind::Read { .. } | ExprKind::Past { .. } | ExprKind::Unary(..) | ExprKind::Widen(_) => planes,
        ExprKind::Binary(BinaryOp::Mul, a, b) if Expr::scaled(a, b).is_some() => 2,
        ExprKind::Binary(BinaryOp::Mul, a, _) if a.ty == Scalar::Complex => 6,
        ExprKind::Binary(BinaryOp::Div, a, _) if a.ty == Scalar::Complex => 20,
        ExprKind::Binary(BinaryOp::Div | BinaryOp::FloorDiv | BinaryOp::Mod, ..) => 4,
        ExprKind::Binary(..) | ExprKind::If(_) => planes,
        ExprKind::Powi(_, n) => planes * (n.unsigned_abs().max(1).ilog2() as usize + 1),
        ExprKind::Call(Function::Pow, args) if matches!(args[0].kind, ExprKind::Real(2.0)) => POWER_OF_TWO,
        ExprKind::Call(f, args) => weight(*f, args[0].ty == Scalar::Complex),
        ExprKind::Reduce { indices, .. } => {
            let turns: usize = indices.iter().map(|&i| extent(i)).product();
            return turns.saturating_mul(below + planes);
        }
        _ => 0,
    };
    below.saturating_add(own)
}
