//! How long a function waits for its own results, and how long its units are busy.
//!
//! Every value has a time at which it is there: the latest of what it is computed from, and the latency of its
//! instruction. A loop is run three times over with what it carries (parameters of its header; of a loop over steps
//! also what it stores to memory that it loads); what the times grow by from turn to turn is the chain of a turn, and
//! the rest of the turns is extrapolated.
//!
//! A core works ahead of what it waits for, as far as its window of instructions reaches. So a turn takes the longest of:
//! its busiest unit; its carried chain; and the longest path through it, divided by how many turns fit into the window.
//!
//! Stores within a loop are seen by loads behind it, or in the next step, not by the next turn: loops over elements
//! work on one after the other.

use std::collections::HashMap;
use std::mem::offset_of;

use cranelift_codegen::ir::{Block, Function, Inst, InstructionData, Opcode, Value};
use ssmc_runtime::kernel::Arguments;

use super::loops::{Forest, Node, Part, Turns, arguments};
use super::work::{self, Core, Uses, Work};
use crate::plan::{self, Place};

/// Instructions that a core keeps waiting: as many as its schedulers hold for arithmetic, less than its buffers for what is in
/// flight. (Longhorn waits for a division and a sum of sixteen products in every step; it takes twice as long as with
/// instructions in flight without end.)
const WINDOW: f64 = 80.0;

/// What a function takes, in cycles, and in instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// While its units are busy, as if it never had to wait.
    pub busy: f64,
    /// While it waits, as if it had units without end.
    pub waits: f64,
    /// Loop by loop the longer of the two.
    pub cycles: f64,
    /// The instructions.
    pub work: Work,
}

/// A place in memory as far as times are kept apart: the number of its slot, and where a value of the plan starts in it.
type Cell = (usize, usize);

/// A function that is timed.
pub struct Timer<'f> {
    function: &'f Function,
    uses: Uses,
    core: Core,
    forest: Forest<'f>,
    /// The slot that an address belongs to, and what is known to be added to its start.
    bases: HashMap<Value, (usize, i64)>,
    /// The starts of values, in each slot that holds several.
    starts: Vec<Vec<usize>>,
}

struct Times {
    ready: HashMap<Value, f64>,
    latest: f64,
}

impl<'f> Timer<'f> {
    /// A function that was emitted for a part of a plan.
    pub fn new(function: &'f Function, part: &plan::Part<'_>, core: Core) -> Self {
        let places: Vec<Place> = part.pass.places.iter().flatten().copied().collect();
        let starts = part.slots.iter().map(|slot| {
            let mut starts: Vec<usize> =
                places.iter().filter(|place| place.buffer == slot.buffer).map(|place| place.offset).collect();
            starts.sort_unstable();
            starts.dedup();
            starts
        });
        let forest = Forest::of(function);
        let mut timer =
            Self { function, uses: Uses::of(function), core, starts: starts.collect(), bases: HashMap::new(), forest };
        timer.trace();
        timer
    }

    /// What a call takes.
    pub fn figures(&self, turns: Turns) -> Figures {
        self.of(&self.forest.tree(turns))
    }

    /// Finds what addresses are made of.
    fn trace(&mut self) {
        let dfg = &self.function.dfg;
        let Some(table) = self.forest.field(offset_of!(Arguments, pointers)) else { return };
        for block in self.function.layout.blocks() {
            for inst in self.function.layout.block_insts(block) {
                let base = match dfg.insts[inst] {
                    InstructionData::Load { arg, offset, .. } if arg == table => (i32::from(offset) as usize / 8, 0),
                    InstructionData::Binary { opcode: Opcode::Iadd, args: [a, b] } => {
                        match (self.bases.get(&a), self.bases.get(&b)) {
                            (Some(&(slot, at)), _) => (slot, at + work::number(self.function, b).unwrap_or(0)),
                            (None, Some(&(slot, at))) => (slot, at + work::number(self.function, a).unwrap_or(0)),
                            (None, None) => continue,
                        }
                    }
                    _ => continue,
                };
                self.bases.insert(dfg.first_result(inst), base);
            }
        }
    }

    fn cell(&self, address: Value, offset: i64) -> Option<Cell> {
        let &(slot, at) = self.bases.get(&address)?;
        let starts = self.starts.get(slot)?;
        let at = (at + offset).max(0) as usize;
        let start = starts.partition_point(|start| *start <= at).checked_sub(1).map_or(0, |n| starts[n]);
        Some((slot, start))
    }

    fn of(&self, node: &Node) -> Figures {
        let (mut own, mut inner, mut work) = (Work::default(), Figures::default(), Work::default());
        for part in &node.parts {
            match part {
                Part::Block(block) => {
                    for inst in self.function.layout.block_insts(*block) {
                        own += work::of(self.function, &self.uses, inst, &self.core).0;
                    }
                }
                Part::Loop(node) => {
                    let figures = self.of(node);
                    inner.busy += figures.busy;
                    inner.waits += figures.waits;
                    inner.cycles += figures.cycles;
                    work += figures.work;
                }
            }
        }
        work += own;
        let (path, chain) = self.waits(node);
        let ahead = 1.0 + WINDOW / work.instructions().max(1.0);
        // A function is not called over and over at once.
        let ahead = if node.turns <= 1.0 { 1.0 } else { ahead };
        let busy = own.cycles_on(&self.core) + inner.busy;
        let waits = chain.max(path.max(inner.waits) / ahead);
        let cycles = busy.max(chain).max(path.max(inner.cycles) / ahead);
        let all = |cycles: f64| cycles * node.turns;
        Figures { busy: all(busy), waits: all(waits), cycles: all(cycles), work: work * node.turns }
    }

    /// The longest path through a turn, and what the carried times grow by from turn to turn.
    fn waits(&self, node: &Node) -> (f64, f64) {
        let mut times = Times { ready: HashMap::new(), latest: 0.0 };
        let mut memory = HashMap::new();
        let mut carried = self.turn(node, &mut times, &mut memory);
        let path = times.latest;
        let mut grown = [0.0; 3];
        for grown in &mut grown {
            let before = carried.clone();
            let known = memory.clone();
            for (value, time) in &carried {
                times.ready.insert(*value, *time);
            }
            if !node.timed {
                memory.clear();
            }
            carried = self.turn(node, &mut times, &mut memory);
            let of_values = carried.iter().map(|(value, time)| time - before.get(value).unwrap_or(time));
            let of_memory = memory.iter().map(|(cell, time)| time - known.get(cell).unwrap_or(time));
            let of_memory = of_memory.filter(|_| node.timed);
            *grown = of_values.chain(of_memory).fold(0.0, f64::max);
        }
        let chain = if node.turns > 1.0 { (grown[1] + grown[2]) / 2.0 } else { 0.0 };
        (path, chain)
    }

    /// Goes through a loop once; gives the times of what the next turn gets.
    fn turn(&self, node: &Node, times: &mut Times, memory: &mut HashMap<Cell, f64>) -> HashMap<Value, f64> {
        let mut carried = HashMap::new();
        for part in &node.parts {
            match part {
                Part::Block(block) => self.block(*block, node.header, times, memory, &mut carried),
                Part::Loop(inner) => self.inner(inner, times, memory),
            }
        }
        carried
    }

    fn block(
        &self,
        block: Block,
        header: Block,
        times: &mut Times,
        memory: &mut HashMap<Cell, f64>,
        carried: &mut HashMap<Value, f64>,
    ) {
        let dfg = &self.function.dfg;
        for inst in self.function.layout.block_insts(block) {
            let start = dfg.inst_values(inst).filter_map(|value| times.ready.get(&value)).copied().fold(0.0, f64::max);
            let (_, latency) = work::of(self.function, &self.uses, inst, &self.core);
            let mut end = start + latency;
            match dfg.insts[inst] {
                InstructionData::Load { arg, offset, .. } => {
                    let cell = self.cell(arg, i64::from(i32::from(offset)));
                    let stored = cell.and_then(|cell| memory.get(&cell)).copied().unwrap_or(0.0);
                    end = start.max(stored) + latency;
                }
                InstructionData::Store { args: [_, address], offset, .. } => {
                    if let Some(cell) = self.cell(address, i64::from(i32::from(offset))) {
                        let known = memory.entry(cell).or_default();
                        *known = known.max(end);
                    }
                }
                _ => {}
            }
            times.latest = times.latest.max(end);
            if let Some(value) = dfg.inst_results(inst).first() {
                times.ready.insert(*value, end);
            }
        }
        let Some(last) = self.function.layout.last_inst(block) else { return };
        self.branch(last, header, times, carried);
    }

    /// Hands times on to the parameters of the blocks behind.
    fn branch(&self, last: Inst, header: Block, times: &mut Times, carried: &mut HashMap<Value, f64>) {
        let dfg = &self.function.dfg;
        let calls = dfg.insts[last].branch_destination(&dfg.jump_tables, &dfg.exception_tables).to_vec();
        let mut seen: Vec<Block> = Vec::new();
        for call in calls {
            let to = call.block(&dfg.value_lists);
            if seen.contains(&to) {
                continue;
            }
            seen.push(to);
            for given in arguments(self.function, last, to) {
                for (&parameter, argument) in dfg.block_params(to).iter().zip(given) {
                    let time = times.ready.get(&argument).copied().unwrap_or(0.0);
                    let known = if to == header { carried.entry(parameter) } else { times.ready.entry(parameter) };
                    let known = known.or_insert(time);
                    *known = known.max(time);
                }
            }
        }
    }

    /// A loop inside of another: three of its turns, and the rest as the last one.
    fn inner(&self, node: &Node, times: &mut Times, memory: &mut HashMap<Cell, f64>) {
        // A counter alone is no chain that anything waits for.
        let alone = self.function.dfg.block_params(node.header).len() <= 1 && !node.timed;
        let runs = if alone { 1 } else { (node.turns.ceil() as usize).clamp(1, 3) };
        let entered = memory.clone();
        let (mut before, mut carried) = (HashMap::new(), HashMap::new());
        for run in 0..runs {
            if run + 1 == runs {
                before.clone_from(&times.ready);
            }
            times.ready.extend(carried.drain());
            if !node.timed {
                memory.clone_from(&entered);
            }
            carried = self.turn(node, times, memory);
        }
        if runs < 3 {
            return;
        }
        let left = (node.turns - 3.0).max(0.0);
        let mut latest = times.latest;
        for (value, time) in &mut times.ready {
            if let Some(known) = before.get(value)
                && *time > *known
            {
                *time += left * (*time - *known);
                latest = latest.max(*time);
            }
        }
        times.latest = latest;
    }
}
