//! The order of the instructions of each block.
//!
//! In: a CLIF function, as the emitter wrote it: one element after the other, each a long chain of operations that wait
//! for one another. Out: the same function with the instructions of each block in an order in which several chains run
//! at once: no processor looks far enough ahead to find the next chain by itself. How many follows from latencies and
//! from the vector registers that are left.
//!
//! Calls, and what may trap or has other effects, keep their places: what lies between two of them is ordered by
//! itself. `number` leaves out what is computed twice, `graph` knows what has to stay in order, `live` what is in
//! registers, and `order` makes the order.

mod graph;
mod live;
mod number;
mod order;

use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{Block, Function, Inst, InstructionData, Opcode, Value, ValueDef};

use graph::Graph;
use live::{Live, Marks};
use ssmc_wide::Primitive;

/// Vector registers that are left for constants and for what the count of live values does not see.
const SPARE: usize = 2;

/// Orders the instructions of all blocks, for a machine with so many vector registers.
pub fn schedule(f: &mut Function, registers: usize) {
    let blocks: Vec<Block> = f.layout.blocks().collect();
    for &block in &blocks {
        number::once(f, block);
    }
    let cfg = ControlFlowGraph::with_function(f);
    let live = Live::new(f, &cfg);
    let mut marks = Marks::new(f);
    for block in blocks {
        let insts: Vec<Inst> = f.layout.block_insts(block).collect();
        let ordered = block_order(f, &live, &mut marks, block, &insts, registers.saturating_sub(SPARE));
        if ordered == insts {
            continue;
        }
        for &inst in &insts {
            f.layout.remove_inst(inst);
        }
        for inst in ordered {
            f.layout.append_inst(inst, block);
        }
    }
}

fn block_order(f: &Function, live: &Live, marks: &mut Marks, block: Block, insts: &[Inst], bound: usize) -> Vec<Inst> {
    marks.enter(f, live, block, insts);
    let mut ordered = Vec::with_capacity(insts.len());
    let mut from = 0;
    while from < insts.len() {
        let to = insts[from..].iter().position(|&inst| stays(f, inst)).map_or(insts.len(), |n| from + n);
        let part = &insts[from..to];
        // Two operations are in the best order already.
        if part.iter().filter(|&&inst| latency(f, inst) > 1).count() > 2 {
            let graph = Graph::new(f, marks, part);
            let tracked = marks.segment(to);
            graph.emit(f, &order::best(&graph, &tracked, bound).order, &mut ordered);
        } else {
            ordered.extend_from_slice(part);
        }
        ordered.extend(insts.get(to));
        from = to + 1;
    }
    ordered
}

/// Whether an instruction keeps its place.
fn stays(f: &Function, inst: Inst) -> bool {
    if Primitive::called(f, inst).is_some() {
        return false;
    }
    let opcode = f.dfg.insts[inst].opcode();
    let moves_data = (opcode.can_load() || opcode.can_store()) && !opcode.is_call() && opcode != Opcode::AtomicRmw;
    let plain = matches!(f.dfg.insts[inst], InstructionData::Load { .. } | InstructionData::Store { .. });
    opcode.is_terminator()
        || opcode.is_call()
        || (moves_data && !plain)
        || (!moves_data && (opcode.can_trap() || opcode.other_side_effects()))
}

/// Whether an instruction loads or stores; a primitive is called, but does neither.
fn is_access(f: &Function, inst: Inst) -> bool {
    let opcode = f.dfg.insts[inst].opcode();
    (opcode.can_load() || opcode.can_store()) && Primitive::called(f, inst).is_none()
}

/// Whether an instruction costs next to nothing and goes where it is first needed: constants, and integers.
fn is_free(f: &Function, inst: Inst) -> bool {
    if is_access(f, inst) {
        return false;
    }
    f.dfg.inst_results(inst).iter().all(|&result| {
        let ty = f.dfg.value_type(result);
        (ty.is_int() && !ty.is_vector()) || is_constant(f, result) || same_register(f, result).is_some()
    })
}

/// Whether a value in a vector register is a constant; those are placed by the selector.
fn is_constant(f: &Function, value: Value) -> bool {
    let Some(inst) = definition(f, value) else { return false };
    match f.dfg.insts[inst].opcode() {
        Opcode::F32const | Opcode::F64const | Opcode::Vconst => true,
        Opcode::Splat | Opcode::Bitcast => {
            let of = f.dfg.inst_args(inst)[0];
            is_constant(f, of) || definition(f, of).is_some_and(|i| f.dfg.insts[i].opcode() == Opcode::Iconst)
        }
        _ => false,
    }
}

/// The value whose vector register this one shares.
fn same_register(f: &Function, value: Value) -> Option<Value> {
    let inst = definition(f, value)?;
    let of = *f.dfg.inst_args(inst).first()?;
    let in_vectors = |v: Value| f.dfg.value_type(v).is_vector() || f.dfg.value_type(v).is_float();
    (f.dfg.insts[inst].opcode() == Opcode::Bitcast && in_vectors(of) && in_vectors(value)).then_some(of)
}

/// The instruction that defines a value.
fn definition(f: &Function, value: Value) -> Option<Inst> {
    match f.dfg.value_def(f.dfg.resolve_aliases(value)) {
        ValueDef::Result(inst, _) => Some(inst),
        _ => None,
    }
}

/// After how many cycles the result can be used, on processors of today.
fn latency(f: &Function, inst: Inst) -> u32 {
    use Opcode::*;
    let data = &f.dfg.insts[inst];
    let opcode = data.opcode();
    if is_free(f, inst) {
        return 0;
    }
    match opcode {
        Load | Uload8 | Uload16 | Uload32 | Sload8 | Sload16 | Sload32 => 6,
        Fdiv | Sqrt => 16,
        // A primitive.
        Call => 4,
        Fadd | Fsub | Fmul | Fma | FcvtFromSint | FcvtFromUint | Fpromote | Fdemote | Fcmp => 4,
        Fmin | Fmax | Ceil | Floor | Trunc | Nearest => 8,
        Splat | ScalarToVector | Insertlane | Extractlane => 3,
        Imul => 10,
        Bitselect | Select => 2,
        _ => 1,
    }
}
