//! Register allocation: a [`Machine`] as `regalloc2` sees it.

use regalloc2::checker::Checker;
use regalloc2::{
    Block, Function, Inst, InstRange, MachineEnv, Operand, Output, PReg, PRegSet, RegClass, RegallocOptions, VReg,
};

use crate::inst::{INT, Kind, MASK, Machine, VEC};
use crate::{Level, Unsupported};

/// General registers by their encoding that a called function may change.
const CALLER_SAVED: [usize; 9] = [0, 1, 2, 6, 7, 8, 9, 10, 11];
/// Those that it keeps.
pub(crate) const CALLEE_SAVED: [usize; 6] = [3, 5, 12, 13, 14, 15];

pub(crate) fn int(encoding: usize) -> PReg {
    PReg::new(encoding, INT)
}

pub(crate) fn vector(encoding: usize) -> PReg {
    PReg::new(encoding, VEC)
}

/// What a call leaves undefined, but for one register that it defines.
pub(crate) fn clobbered(level: Level, but: Option<PReg>) -> PRegSet {
    let mut set = PRegSet::empty();
    CALLER_SAVED.iter().for_each(|&n| set.add(int(n)));
    (0..vector_registers(level)).for_each(|n| set.add(vector(n)));
    if level == Level::Avx512 {
        (1..8).for_each(|n| set.add(PReg::new(n, MASK)));
    }
    but.iter().for_each(|&r| set.remove(r));
    set
}

/// How many vector registers there are.
pub(crate) fn vector_registers(level: Level) -> usize {
    match level {
        Level::Avx2 => 16,
        Level::Avx512 => 32,
    }
}

fn environment(level: Level) -> MachineEnv {
    let set = |registers: &mut dyn Iterator<Item = PReg>| {
        let mut set = PRegSet::empty();
        registers.for_each(|r| set.add(r));
        set
    };
    let masks = if level == Level::Avx512 { 1..8 } else { 0..0 };
    MachineEnv {
        preferred_regs_by_class: [
            set(&mut CALLER_SAVED.into_iter().map(int)),
            set(&mut (0..vector_registers(level)).map(vector)),
            set(&mut masks.map(|n| PReg::new(n, MASK))),
        ],
        non_preferred_regs_by_class: [set(&mut CALLEE_SAVED.into_iter().map(int)), PRegSet::empty(), PRegSet::empty()],
        scratch_by_class: [None; 3],
        fixed_stack_slots: Vec::new(),
    }
}

/// The machine's instructions, numbered through.
struct View<'m> {
    machine: &'m Machine,
    /// Where each block's instructions start, and the end.
    starts: Vec<usize>,
    places: Vec<(usize, usize)>,
    succs: Vec<Vec<Block>>,
    preds: Vec<Vec<Block>>,
}

impl<'m> View<'m> {
    fn new(machine: &'m Machine) -> Self {
        let (mut starts, mut places) = (vec![0], Vec::new());
        let mut preds = vec![Vec::new(); machine.blocks.len()];
        let mut succs = Vec::new();
        for (n, block) in machine.blocks.iter().enumerate() {
            places.extend((0..block.insts.len()).map(|i| (n, i)));
            starts.push(places.len());
            succs.push(block.succs.iter().map(|edge| Block::new(edge.to)).collect());
            block.succs.iter().for_each(|edge| preds[edge.to].push(Block::new(n)));
        }
        View { machine, starts, places, succs, preds }
    }

    fn ins(&self, inst: Inst) -> &'m crate::inst::Ins {
        let (block, at) = self.places[inst.index()];
        &self.machine.blocks[block].insts[at]
    }
}

impl Function for View<'_> {
    fn num_insts(&self) -> usize {
        self.places.len()
    }

    fn num_blocks(&self) -> usize {
        self.machine.blocks.len()
    }

    fn entry_block(&self) -> Block {
        Block::new(0)
    }

    fn block_insns(&self, block: Block) -> InstRange {
        InstRange::new(Inst::new(self.starts[block.index()]), Inst::new(self.starts[block.index() + 1]))
    }

    fn block_succs(&self, block: Block) -> &[Block] {
        &self.succs[block.index()]
    }

    fn block_preds(&self, block: Block) -> &[Block] {
        &self.preds[block.index()]
    }

    fn block_params(&self, block: Block) -> &[VReg] {
        &self.machine.blocks[block.index()].params
    }

    fn is_ret(&self, inst: Inst) -> bool {
        matches!(self.ins(inst).kind, Kind::Return)
    }

    fn is_branch(&self, inst: Inst) -> bool {
        matches!(self.ins(inst).kind, Kind::Jump | Kind::Branch(_))
    }

    fn branch_blockparams(&self, block: Block, _: Inst, succ: usize) -> &[VReg] {
        &self.machine.blocks[block.index()].succs[succ].args
    }

    fn inst_operands(&self, inst: Inst) -> &[Operand] {
        &self.ins(inst).operands
    }

    fn inst_clobbers(&self, inst: Inst) -> PRegSet {
        self.ins(inst).clobbers
    }

    fn num_vregs(&self) -> usize {
        self.machine.vregs
    }

    fn spillslot_size(&self, class: RegClass) -> usize {
        match class {
            RegClass::Float => usize::from(self.machine.widest.max(16)) / 8,
            _ => 1,
        }
    }
}

/// Gives every virtual register its place at every point.
pub(crate) fn allocate(machine: &Machine, level: Level) -> Result<Output, Unsupported> {
    let options = RegallocOptions { validate_ssa: cfg!(debug_assertions), ..RegallocOptions::default() };
    regalloc2::run(&View::new(machine), &environment(level), &options)
        .map_err(|error| Unsupported(format!("this function's registers: {error}")))
}

/// Follows every value through its registers and slots.
pub(crate) fn check(machine: &Machine, output: &Output, level: Level) -> Result<(), Unsupported> {
    let (view, environment) = (View::new(machine), environment(level));
    let mut checker = Checker::new(&view, &environment);
    checker.prepare(output);
    checker.run().map_err(|errors| Unsupported(format!("what its registers came to: {errors:?}")))
}

/// The instructions and moves of a block, in order.
pub(crate) fn in_order<'a>(
    machine: &'a Machine,
    output: &'a Output,
    block: usize,
    starts: &'a [usize],
    each: &mut dyn FnMut(Step<'a>),
) {
    use regalloc2::{Edit, InstPosition, ProgPoint};
    let (first, last) = (starts[block], starts[block + 1]);
    let begin = output.edits.partition_point(|(at, _)| *at < ProgPoint::before(Inst::new(first)));
    let mut edits = output.edits[begin..].iter().peekable();
    for n in first..last {
        for position in [InstPosition::Before, InstPosition::After] {
            while let Some((_, Edit::Move { from, to })) =
                edits.next_if(|(at, _)| at.inst().index() == n && at.pos() == position)
            {
                each(Step::Move(*from, *to));
            }
            if position == InstPosition::Before {
                let ins = &machine.blocks[block].insts[n - first];
                each(Step::Ins(ins, output.inst_allocs(Inst::new(n))));
            }
        }
    }
}

/// What stands in a block after the allocation.
pub(crate) enum Step<'a> {
    Ins(&'a crate::inst::Ins, &'a [regalloc2::Allocation]),
    Move(regalloc2::Allocation, regalloc2::Allocation),
}
