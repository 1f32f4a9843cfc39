//! Which values are in vector registers.

use std::collections::HashSet;

use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{Block, Function, Inst, Value, ValueDef};

use super::{is_constant, same_register};

/// The value that stands for all those in its register; `None` for what needs no vector register.
pub(super) fn register(f: &Function, value: Value) -> Option<Value> {
    let mut value = f.dfg.resolve_aliases(value);
    while let Some(of) = same_register(f, value) {
        value = f.dfg.resolve_aliases(of);
    }
    let ty = f.dfg.value_type(value);
    ((ty.is_vector() || ty.is_float()) && !is_constant(f, value)).then_some(value)
}

/// The values that are in vector registers between blocks.
pub(super) struct Live {
    /// By block.
    enter: Vec<HashSet<Value>>,
    leave: Vec<HashSet<Value>>,
}

impl Live {
    pub(super) fn new(f: &Function, cfg: &ControlFlowGraph) -> Live {
        let blocks = f.dfg.num_blocks();
        let mut live = Live { enter: vec![HashSet::new(); blocks], leave: vec![HashSet::new(); blocks] };
        for block in f.layout.blocks() {
            for inst in f.layout.block_insts(block) {
                for value in f.dfg.inst_values(inst) {
                    if let Some(value) = register(f, value) {
                        live.used(f, cfg, block, value);
                    }
                }
            }
        }
        live
    }

    /// Follows a value up from a use to its definition.
    fn used(&mut self, f: &Function, cfg: &ControlFlowGraph, block: Block, value: Value) {
        let home = match f.dfg.value_def(value) {
            ValueDef::Result(inst, _) => f.layout.inst_block(inst),
            ValueDef::Param(block, _) => Some(block),
            ValueDef::Union(..) => None,
        };
        let mut left = vec![block];
        while let Some(block) = left.pop() {
            if Some(block) == home || !self.enter[block.as_u32() as usize].insert(value) {
                continue;
            }
            for before in cfg.pred_iter(block) {
                self.leave[before.block.as_u32() as usize].insert(value);
                left.push(before.block);
            }
        }
    }
}

/// What is known of the values of the block at hand.
pub(super) struct Marks {
    /// By value: how often the function uses it.
    pub(super) uses: Vec<u32>,
    /// By value: the place behind its last use in this block; all places, where it is used in another one too.
    until: Vec<usize>,
    /// By value: the place behind its definition in this block.
    since: Vec<usize>,
    /// All values of this block that take registers.
    values: Vec<Value>,
}

/// The registers around a part of a block.
pub(super) struct Tracked {
    /// Those that are live when it ends.
    pub(super) stays: HashSet<Value>,
}

impl Marks {
    pub(super) fn new(f: &Function) -> Marks {
        let mut uses = vec![0; f.dfg.num_values()];
        for block in f.layout.blocks() {
            for inst in f.layout.block_insts(block) {
                for value in f.dfg.inst_values(inst) {
                    uses[f.dfg.resolve_aliases(value).as_u32() as usize] += 1;
                }
            }
        }
        let count = uses.len();
        Marks { uses, until: vec![0; count], since: vec![0; count], values: Vec::new() }
    }

    pub(super) fn enter(&mut self, f: &Function, live: &Live, block: Block, insts: &[Inst]) {
        for value in self.values.drain(..) {
            self.until[value.as_u32() as usize] = 0;
            self.since[value.as_u32() as usize] = 0;
        }
        let at = block.as_u32() as usize;
        let mut known: HashSet<Value> = HashSet::new();
        let mut values = Vec::new();
        let mut note = |value: Value| {
            if known.insert(value) {
                values.push(value);
            }
        };
        for &value in &live.enter[at] {
            note(value);
        }
        for &param in f.dfg.block_params(block) {
            register(f, param).into_iter().for_each(&mut note);
        }
        let mut until = |value: Value, place: usize| {
            let until = &mut self.until[value.as_u32() as usize];
            *until = place.max(*until);
        };
        for (n, &inst) in insts.iter().enumerate() {
            for value in f.dfg.inst_values(inst) {
                if let Some(value) = register(f, value) {
                    until(value, n + 1);
                }
            }
            for &result in f.dfg.inst_results(inst) {
                if register(f, result) == Some(result) {
                    note(result);
                    self.since[result.as_u32() as usize] = n + 1;
                }
            }
        }
        for &value in &live.leave[at] {
            until(value, usize::MAX);
        }
        self.values = values;
    }

    /// What is live behind the first so many instructions.
    pub(super) fn segment(&self, to: usize) -> Tracked {
        let at = |v: &Value| v.as_u32() as usize;
        let after = |v: &&Value| self.since[at(v)] <= to && self.until[at(v)] > to;
        Tracked { stays: self.values.iter().filter(after).copied().collect() }
    }
}
