//! Which virtual registers are read later.

use std::collections::HashSet;

use regalloc2::{OperandKind, VReg};

use crate::inst::{Ins, Machine};

/// Registers, those that a question is about.
pub(crate) type Live = HashSet<VReg>;

/// What is live at the start of each block, of the registers that count; a block's parameters are not.
pub(crate) fn at_starts(machine: &Machine, counts: &dyn Fn(VReg) -> bool) -> Vec<Live> {
    let count = machine.blocks.len();
    let mut starts: Vec<Live> = vec![Live::new(); count];
    let mut changed = true;
    while changed {
        changed = false;
        for (n, block) in machine.blocks.iter().enumerate().rev() {
            let mut live = at_end(machine, n, &starts, counts);
            for ins in block.insts.iter().rev() {
                before(ins, &mut live, counts);
            }
            for param in &block.params {
                live.remove(param);
            }
            if live != starts[n] {
                starts[n] = live;
                changed = true;
            }
        }
    }
    starts
}

/// What is live at the end of a block.
pub(crate) fn at_end(machine: &Machine, block: usize, starts: &[Live], counts: &dyn Fn(VReg) -> bool) -> Live {
    let mut live = Live::new();
    for edge in &machine.blocks[block].succs {
        live.extend(&starts[edge.to]);
        live.extend(edge.args.iter().copied().filter(|&r| counts(r)));
    }
    live
}

/// From what is live behind an instruction to what is live in front of it.
pub(crate) fn before(ins: &Ins, live: &mut Live, counts: &dyn Fn(VReg) -> bool) {
    for operand in ins.operands.iter().filter(|o| o.kind() == OperandKind::Def) {
        live.remove(&operand.vreg());
    }
    let used = ins.operands.iter().filter(|o| o.kind() == OperandKind::Use && counts(o.vreg()));
    live.extend(used.map(|o| o.vreg()));
}
