//! Repeated computations within a block become one.
//!
//! In: a function. Out: the same with fewer instructions wanted: results that are known to be the same are aliases of
//! the first. Integer arithmetic (addresses, mostly) and loads of addresses from read-only memory are looked at. What is
//! computed in other blocks stays, so that no value lives longer than its block because of this; and so do loads of
//! floats, which cost nothing as operands but registers as values.

use std::collections::HashMap;

use cranelift_codegen::ir::{Function, Inst, InstructionData, Opcode, Type, Value, types};

/// What makes two results the same.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    opcode: Opcode,
    ty: Type,
    args: Vec<Value>,
    /// An immediate, or the offset of a load.
    extra: i64,
}

/// Replaces repeated results.
pub(crate) fn remove(f: &mut Function) {
    let blocks: Vec<_> = f.layout.blocks().collect();
    for block in blocks {
        let mut known: HashMap<Key, Value> = HashMap::new();
        let insts: Vec<Inst> = f.layout.block_insts(block).collect();
        for inst in insts {
            let Some(key) = key(f, inst) else { continue };
            let result = f.dfg.first_result(inst);
            match known.get(&key) {
                Some(&first) => {
                    f.dfg.clear_results(inst);
                    f.dfg.change_to_alias(result, first);
                    f.layout.remove_inst(inst);
                }
                None => {
                    known.insert(key, result);
                }
            }
        }
    }
}

fn key(f: &Function, inst: Inst) -> Option<Key> {
    use Opcode::*;
    let data = f.dfg.insts[inst];
    let opcode = data.opcode();
    let ty = f.dfg.value_type(*f.dfg.inst_results(inst).first()?);
    let extra = match data {
        InstructionData::UnaryImm { opcode: Iconst, imm } => imm.bits(),
        InstructionData::Binary { opcode: Iadd | Isub | Imul | Ishl | Ushr | Sshr | Band | Bor | Bxor, .. }
            if !ty.is_vector() =>
        {
            0
        }
        InstructionData::Unary { opcode: Uextend | Sextend | Ireduce, .. } => 0,
        InstructionData::Load { opcode: Load, flags, offset, .. }
            if ty == types::I64 && f.dfg.mem_flags[flags].readonly() =>
        {
            i64::from(i32::from(offset))
        }
        _ => return None,
    };
    let args = f.dfg.inst_args(inst).iter().map(|&v| f.dfg.resolve_aliases(v)).collect();
    Some(Key { opcode, ty, args, extra })
}
