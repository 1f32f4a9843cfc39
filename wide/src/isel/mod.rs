//! Machine instructions for CLIF.
//!
//! Blocks are taken in postorder and each block from its end, so that all uses of a value are known when its
//! instruction is reached: one that nobody wants is left out, and one that a later instruction has taken in (a load, a
//! comparison, an address) is never wanted. [`Select::reg`] and its like say that a value is wanted.
//!
//! Truth vectors (results of comparisons, and logic on them) live in mask registers under AVX-512, and become vectors
//! of ones and zeros only where something reads them so.
//!
//! `int`, `float`, `lanes` and `control` know the instructions, `address` what memory operands can say, `idiom` the
//! groups of instructions that become one. `order` lays out the blocks; `values` says what a value is, `wants` gets it
//! into a register, a mask or an operand.

mod address;
mod control;
mod float;
mod idiom;
mod int;
mod lanes;
mod order;
mod shape;
mod values;
mod wants;

use std::collections::HashMap;

use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{self, Function, Inst, Opcode, Type, Value, types};
use cranelift_codegen::loop_analysis::LoopAnalysis;
use regalloc2::VReg;

use crate::inst::{Block, Constant, Ins, Machine};
use crate::{Level, Unsupported};
use order::Order;
use shape::{Shape, Width};

type Result<T> = std::result::Result<T, Unsupported>;

pub(super) struct Select<'f> {
    f: &'f Function,
    level: Level,
    out: Machine,
    /// The register of each value that is wanted.
    regs: Vec<Option<VReg>>,
    /// The mask register of each truth vector that is wanted as such.
    masks: Vec<Option<VReg>>,
    /// How often each value is used.
    uses: Vec<u32>,
    /// Whether some use is in another block than the definition.
    leaves: Vec<bool>,
    /// Whether all bits of each lane are the same.
    truth: Vec<bool>,
    /// How many writes to memory precede an instruction in its block.
    epoch: Vec<u32>,
    /// The block in which a value was last wanted.
    wanted_in: Vec<Option<ir::Block>>,
    constants: HashMap<Constant, usize>,
    /// Where explicit stack slots start.
    slots: Vec<u32>,
    /// Where the word of control and status passes through memory.
    status: Option<u32>,
    block: ir::Block,
    inst: Inst,
    /// What the current CLIF instruction has become so far, in order.
    now: Vec<Ins>,
}

/// Selects the instructions of a function.
pub(crate) fn select(f: &Function, level: Level) -> Result<Machine> {
    let cfg = ControlFlowGraph::with_function(f);
    let domtree = DominatorTree::with_function(f, &cfg);
    let mut loops = LoopAnalysis::new();
    loops.compute(f, &cfg, &domtree);
    let Some(entry) = f.layout.entry_block() else { return Err(Unsupported("a function without code".into())) };
    let plan = Order::new(f, &domtree, &loops, entry);

    let mut select = Select::new(f, level, entry);
    select.slots();
    let postorder: Vec<ir::Block> = domtree.cfg_postorder().to_vec();
    select.survey(postorder.iter().rev().copied())?;
    let mut blocks: Vec<Block> = plan.blocks.clone();
    for &block in &postorder {
        select.block(block, &plan, &mut blocks)?;
    }
    // What starts with parameters, and the registers that nobody wanted.
    for &block in &postorder {
        let at = plan.index[&block];
        let params = f.dfg.block_params(block).to_vec();
        let params: Vec<VReg> = params.into_iter().map(|p| select.own(p)).collect();
        if block == entry {
            let ins = select.entry(&params)?;
            blocks[at].insts.push(ins);
        } else {
            blocks[at].params = params;
        }
        blocks[at].insts.reverse();
    }
    select.out.blocks = blocks;
    select.out.loops = plan.loops;
    Ok(select.out)
}

impl<'f> Select<'f> {
    fn new(f: &'f Function, level: Level, entry: ir::Block) -> Self {
        let values = f.dfg.num_values();
        Select {
            f,
            level,
            out: Machine::default(),
            regs: vec![None; values],
            masks: vec![None; values],
            uses: vec![0; values],
            leaves: vec![false; values],
            truth: vec![false; values],
            epoch: vec![0; f.dfg.num_insts()],
            wanted_in: vec![None; values],
            constants: HashMap::new(),
            slots: Vec::new(),
            status: None,
            block: entry,
            inst: f.layout.first_inst(entry).expect("the entry is filled"),
            now: Vec::new(),
        }
    }

    /// Gives explicit stack slots their places.
    fn slots(&mut self) {
        let mut at = 0u32;
        for (_, slot) in self.f.sized_stack_slots.iter() {
            at = at.next_multiple_of(1 << slot.align_shift.min(6));
            self.slots.push(at);
            at += slot.size;
        }
        self.out.stack = at;
    }

    /// Counts uses, finds truth vectors and the order of writes. Blocks come after those that dominate them.
    fn survey(&mut self, blocks: impl Iterator<Item = ir::Block>) -> Result<()> {
        let f = self.f;
        for block in blocks {
            for &param in f.dfg.block_params(block) {
                self.note_type(f.dfg.value_type(param))?;
            }
            let mut epoch = 0;
            for inst in f.layout.block_insts(block) {
                self.epoch[inst.as_u32() as usize] = epoch;
                if self.writes(inst) {
                    epoch += 1;
                }
                for value in f.dfg.inst_values(inst) {
                    let mut value = f.dfg.resolve_aliases(value);
                    self.uses[value.as_u32() as usize] += 1;
                    loop {
                        self.leaves[value.as_u32() as usize] |= self.home(value) != Some(block);
                        let below = self.alias(value);
                        if below == value {
                            break;
                        }
                        value = below;
                    }
                }
                for &result in f.dfg.inst_results(inst) {
                    self.note_type(f.dfg.value_type(result))?;
                    self.truth[result.as_u32() as usize] = self.is_truth(inst, result);
                }
            }
        }
        Ok(())
    }

    fn note_type(&mut self, ty: Type) -> Result<()> {
        if ty.is_vector() {
            let bytes = ty.bytes();
            if !matches!(bytes, 16 | 32 | 64) || bytes > self.level.vector_bytes() {
                return Err(Unsupported(format!("values of type {ty}")));
            }
            self.out.widest = self.out.widest.max(bytes as u8);
        } else if ty.bits() > 64 || matches!(ty, types::F16) {
            return Err(Unsupported(format!("values of type {ty}")));
        }
        Ok(())
    }

    fn is_truth(&self, inst: Inst, result: Value) -> bool {
        let ty = self.ty(result);
        if !ty.is_vector() || ty.lane_bits() < 32 {
            return false;
        }
        let of = |v: Value| self.truth[self.f.dfg.resolve_aliases(v).as_u32() as usize];
        let args = self.f.dfg.inst_args(inst);
        match self.f.dfg.insts[inst].opcode() {
            Opcode::Fcmp | Opcode::Icmp => true,
            Opcode::Band | Opcode::Bor | Opcode::Bxor => of(args[0]) && of(args[1]),
            Opcode::Bnot => of(args[0]),
            Opcode::Bitcast => of(args[0]) && self.ty(args[0]).lane_count() == ty.lane_count(),
            _ => false,
        }
    }

    /// Selects one block, from its end.
    fn block(&mut self, block: ir::Block, order: &Order, blocks: &mut [Block]) -> Result<()> {
        self.block = block;
        let f = self.f;
        let at = order.index[&block];
        let mut inst = f.layout.last_inst(block);
        let mut last = true;
        while let Some(current) = inst {
            self.inst = current;
            if last {
                self.terminator(current, order, blocks)?;
                last = false;
            } else if self.is_wanted(current) {
                self.instruction(current)?;
            }
            let now = std::mem::take(&mut self.now);
            blocks[at].insts.extend(now.into_iter().rev());
            inst = f.layout.prev_inst(current);
        }
        Ok(())
    }

    fn is_wanted(&self, inst: Inst) -> bool {
        let opcode = self.f.dfg.insts[inst].opcode();
        let results = self.f.dfg.inst_results(inst);
        let pure = match self.primitive_of(inst) {
            Some(primitive) => !primitive.has_effect(),
            None if self.writes(inst) => false,
            None => opcode.can_load() || !(opcode.can_trap() || opcode.other_side_effects()),
        };
        if !pure {
            return true;
        }
        results.iter().any(|r| {
            let r = r.as_u32() as usize;
            self.regs[r].is_some() || self.masks[r].is_some()
        })
    }

    fn instruction(&mut self, inst: Inst) -> Result<()> {
        use Opcode::*;
        let data = self.f.dfg.insts[inst];
        let opcode = data.opcode();
        let result = self.f.dfg.inst_results(inst).first().copied();
        let ty = result.map_or(types::INVALID, |r| self.ty(r));
        match opcode {
            Nop | SequencePoint => Ok(()),
            Load | Uload8 | Uload16 | Uload32 | Sload8 | Sload16 | Sload32 => self.load(inst),
            Store | Istore8 | Istore16 | Istore32 => self.store(inst),
            StackAddr => self.stack_address(inst),
            Call => match self.primitive_of(inst) {
                Some(primitive) => self.primitive(inst, primitive),
                None => self.call(inst),
            },
            Fcmp => self.fcmp(inst),
            Icmp if ty.is_vector() => self.icmp_vector(inst),
            Icmp => self.icmp(inst),
            VanyTrue | VallTrue => self.truth_of(inst),
            Bitcast => self.bitcast(inst),
            Band | Bor | Bxor | Bnot if ty.is_vector() => self.logic(inst),
            Select if ty.is_int() && !ty.is_vector() => self.select_int(inst),
            Select => self.select_float(inst),
            Bitselect if ty.is_vector() => self.bitselect(inst),
            Splat | ScalarToVector | Insertlane | Extractlane => self.move_lanes(inst),
            Fadd | Fsub | Fmul | Fdiv | Fma | Fneg | Fabs | Fcopysign | Fmin | Fmax | Sqrt | Ceil | Floor | Trunc
            | Nearest | FcvtFromSint | FcvtFromUint | Fpromote | Fdemote => self.float(inst),
            _ if ty.is_vector() && ty.lane_bits() >= 32 => self.int_vector(inst),
            _ if ty.is_int() && !ty.is_vector() => self.int(inst),
            _ => Err(self.refuse(inst)),
        }
    }

    /// The error for an instruction without code.
    fn refuse(&self, inst: Inst) -> Unsupported {
        Unsupported(format!("`{}`", self.f.dfg.display_inst(inst)))
    }
}
