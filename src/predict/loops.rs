//! The loops of a function of CLIF, and how often they turn.
//!
//! The emitter counts every loop from a constant to a constant, but two: the steps of a call, or a range of them, and the
//! range of blocks of a call. These are told by what the counter is compared with, and turn as often as the [`Turns`] say.

use std::collections::HashMap;
use std::mem::offset_of;

use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{Block, BlockCall, Function, Inst, InstructionData, Opcode, Value, ValueDef};
use cranelift_codegen::loop_analysis::{Loop, LoopAnalysis};
use ssmc_runtime::kernel::Arguments;

use super::work::number;

/// How often the loops turn of which a call decides.
#[derive(Clone, Copy, Debug)]
pub struct Turns {
    /// The steps of the call.
    pub steps: f64,
    /// The share of the blocks that the call works on.
    pub share: f64,
}

/// A loop, or the whole function.
#[derive(Debug)]
pub struct Node {
    /// What it consists of, in an order in which definitions stand before their uses.
    pub parts: Vec<Part>,
    /// How often it turns.
    pub turns: f64,
    /// Whether a turn is a step.
    pub timed: bool,
    /// The first block, whose parameters are carried from turn to turn.
    pub header: Block,
}

/// A part of a loop.
#[derive(Debug)]
pub enum Part {
    /// Instructions without a branch among them.
    Block(Block),
    /// A loop inside.
    Loop(Node),
}

/// A function whose loops are known.
pub struct Forest<'f> {
    function: &'f Function,
    loops: LoopAnalysis,
    order: Vec<Block>,
    cold: Vec<Block>,
    /// What the function got, by its place in [`Arguments`].
    fields: HashMap<Value, usize>,
}

impl<'f> Forest<'f> {
    /// Finds the loops of a function.
    pub fn of(function: &'f Function) -> Self {
        let flow = ControlFlowGraph::with_function(function);
        let dominators = DominatorTree::with_function(function, &flow);
        let mut loops = LoopAnalysis::new();
        loops.compute(function, &flow, &dominators);
        let order: Vec<Block> = dominators.cfg_rpo().copied().collect();
        let mut cold: Vec<Block> = Vec::new();
        for &block in &order {
            // What is reached through cold blocks alone is as rare as they are.
            let mut before = flow.pred_iter(block).map(|p| p.block).filter(|p| *p != block).peekable();
            let reached = before.peek().is_some() && before.all(|p| cold.contains(&p));
            if function.layout.is_cold(block) || reached {
                cold.push(block);
            }
        }
        let mut fields = HashMap::new();
        if let Some(entry) = function.layout.entry_block() {
            let arguments = function.dfg.block_params(entry).first().copied();
            for inst in function.layout.block_insts(entry) {
                if let InstructionData::Load { arg, offset, .. } = function.dfg.insts[inst]
                    && Some(arg) == arguments
                {
                    fields.insert(function.dfg.first_result(inst), i32::from(offset) as usize);
                }
            }
        }
        Self { function, loops, order, cold, fields }
    }

    /// The value of a field of [`Arguments`].
    pub fn field(&self, offset: usize) -> Option<Value> {
        self.fields.iter().find(|(_, at)| **at == offset).map(|(value, _)| *value)
    }

    /// The function as a tree of loops.
    pub fn tree(&self, turns: Turns) -> Node {
        let header = self.function.layout.entry_block().expect("functions have an entry");
        Node { parts: self.parts(None, turns), turns: 1.0, timed: false, header }
    }

    fn parts(&self, parent: Option<Loop>, turns: Turns) -> Vec<Part> {
        let mut parts = Vec::new();
        for &block in self.order.iter().filter(|block| !self.cold.contains(block)) {
            let innermost = self.loops.innermost_loop(block);
            if innermost == parent {
                parts.push(Part::Block(block));
            } else if let Some(inner) = innermost
                && self.loops.loop_header(inner) == block
                && self.loops.loop_parent(inner) == parent
            {
                let (count, timed) = self.count(inner, turns);
                parts.push(Part::Loop(Node {
                    parts: self.parts(Some(inner), turns),
                    turns: count,
                    timed,
                    header: block,
                }));
            }
        }
        parts
    }

    /// How often a loop turns, and whether its turns are steps.
    fn count(&self, the: Loop, turns: Turns) -> (f64, bool) {
        let header = self.loops.loop_header(the);
        let function = self.function;
        for &block in self.order.iter().filter(|block| self.loops.innermost_loop(**block) == Some(the)) {
            let Some(last) = function.layout.last_inst(block) else { continue };
            let InstructionData::Brif { arg, .. } = function.dfg.insts[last] else { continue };
            let leaves = self.targets(last).any(|to| !self.loops.is_in_loop(to, the));
            if !leaves {
                continue;
            }
            let Some((a, b)) = self.compared(arg) else { continue };
            if self.is_step(b) {
                return (self.rounds(header, the, a, turns.steps), true);
            }
            if self.is_last(b) {
                return (self.rounds(header, the, a, (turns.steps - 1.0).max(0.0)), true);
            }
            if let Some(blocks) = self.least(b) {
                return (blocks as f64 * turns.share, false);
            }
            if let Some(end) = number(function, b) {
                let step = self.added(a).unwrap_or(1).max(1);
                let start = self.start(header, the).unwrap_or(0);
                return (((end - start).max(1) as f64 / step as f64).ceil(), false);
            }
        }
        (1.0, false)
    }

    /// How often a loop over so many steps turns that counts up to `counted`: several steps at a time, or what such a
    /// loop before it has left.
    fn rounds(&self, header: Block, the: Loop, counted: Value, steps: f64) -> f64 {
        let rest = match self.entered(header, the).map(|start| self.function.dfg.value_def(start)) {
            // The counter of the loop before, which starts with the call's first step.
            Some(ValueDef::Param(before, 0)) if Some(before) != self.function.layout.entry_block() => {
                let together = self.loops.innermost_loop(before).and_then(|other| self.stride(other));
                steps % together.unwrap_or(1).max(1) as f64
            }
            _ => steps,
        };
        (rest / self.added(counted).unwrap_or(1).max(1) as f64).floor()
    }

    /// What a loop's counter is raised by.
    fn stride(&self, the: Loop) -> Option<i64> {
        let counter = *self.function.dfg.block_params(self.loops.loop_header(the)).first()?;
        let inside = self.order.iter().filter(|block| self.loops.is_in_loop(**block, the));
        let mut steps = inside.flat_map(|block| self.function.layout.block_insts(*block)).filter_map(|inst| match self
            .function
            .dfg
            .insts[inst]
        {
            InstructionData::Binary { opcode: Opcode::Iadd, args: [a, b] } if a == counter => number(self.function, b),
            _ => None,
        });
        steps.next()
    }

    fn targets(&self, inst: Inst) -> impl Iterator<Item = Block> {
        let dfg = &self.function.dfg;
        let calls: Vec<BlockCall> =
            dfg.insts[inst].branch_destination(&dfg.jump_tables, &dfg.exception_tables).to_vec();
        calls.into_iter().map(|call| call.block(&dfg.value_lists))
    }

    fn definition(&self, value: Value) -> Option<&InstructionData> {
        match self.function.dfg.value_def(value) {
            ValueDef::Result(inst, _) => Some(&self.function.dfg.insts[inst]),
            _ => None,
        }
    }

    fn compared(&self, condition: Value) -> Option<(Value, Value)> {
        match self.definition(condition)? {
            InstructionData::IntCompare { args: [a, b], .. } => Some((*a, *b)),
            _ => None,
        }
    }

    /// Whether a value is the first of the call's steps or the one behind the last: of the tile, or of a range of its steps.
    fn is_step(&self, value: Value) -> bool {
        let is = |value: Value, offset: usize| self.fields.get(&value) == Some(&offset);
        match self.definition(value) {
            Some(InstructionData::Binary { opcode: Opcode::Iadd, args: [a, b] }) => {
                let piece = is(*b, offset_of!(Arguments, from)) || is(*b, offset_of!(Arguments, to));
                piece && is(*a, offset_of!(Arguments, begin))
            }
            Some(InstructionData::Binary { opcode: Opcode::Smin, args: [a, b] }) => {
                self.is_step(*a) && is(*b, offset_of!(Arguments, end))
            }
            _ => is(value, offset_of!(Arguments, end)) || is(value, offset_of!(Arguments, begin)),
        }
    }

    /// Whether a value is the last of the call's steps: that of a pipeline runs apart from the others.
    fn is_last(&self, value: Value) -> bool {
        match self.definition(value) {
            Some(InstructionData::Binary { opcode: Opcode::Iadd, args: [a, b] }) => {
                number(self.function, *b) == Some(-1) && self.is_step(*a)
            }
            _ => false,
        }
    }

    /// The constant of the lesser of a value and a constant.
    fn least(&self, value: Value) -> Option<i64> {
        match self.definition(value)? {
            InstructionData::Binary { opcode: Opcode::Smin, args: [_, b] } => number(self.function, *b),
            _ => None,
        }
    }

    /// The constant that is added to a counter.
    fn added(&self, value: Value) -> Option<i64> {
        match self.definition(value)? {
            InstructionData::Binary { opcode: Opcode::Iadd, args: [_, b] } => number(self.function, *b),
            _ => None,
        }
    }

    /// Where the counter of a loop starts, if that is a constant.
    fn start(&self, header: Block, the: Loop) -> Option<i64> {
        number(self.function, self.entered(header, the)?)
    }

    /// The first parameter of a loop, as the jump from outside gives it.
    fn entered(&self, header: Block, the: Loop) -> Option<Value> {
        let outside = self.order.iter().filter(|block| !self.loops.is_in_loop(**block, the));
        let branches = outside.filter_map(|&block| self.function.layout.last_inst(block));
        let mut calls = branches.flat_map(|last| arguments(self.function, last, header));
        calls.find_map(|call| call.first().copied())
    }
}

/// What a branch gives to a block, once for every way to it.
pub fn arguments(function: &Function, branch: Inst, to: Block) -> Vec<Vec<Value>> {
    let dfg = &function.dfg;
    let calls = dfg.insts[branch].branch_destination(&dfg.jump_tables, &dfg.exception_tables);
    calls
        .iter()
        .filter(|call| call.block(&dfg.value_lists) == to)
        .map(|call| call.args(&dfg.value_lists).filter_map(|argument| argument.as_value()).collect())
        .collect()
}
