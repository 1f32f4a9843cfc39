//! Integers that a block computes more than once.

use std::collections::HashMap;

use cranelift_codegen::ir::{Block, Function, Inst, InstructionData, Opcode, Type, Value};

/// What an instruction computes.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    Constant(Type, i64),
    Binary(Type, Opcode, [Value; 2]),
}

/// Leaves one of the constants, sums, differences, products and shifts in a block that are the same: of addresses, the
/// emitter writes the same parts for each access.
pub(super) fn once(f: &mut Function, block: Block) {
    let mut known: HashMap<Key, Inst> = HashMap::new();
    let mut next = f.layout.first_inst(block);
    while let Some(inst) = next {
        next = f.layout.next_inst(inst);
        let Some(key) = key(f, inst) else { continue };
        match known.get(&key) {
            Some(&first) => {
                f.dfg.replace_with_aliases(inst, first);
                f.layout.remove_inst(inst);
            }
            None => {
                known.insert(key, inst);
            }
        }
    }
}

fn key(f: &Function, inst: Inst) -> Option<Key> {
    let ty = f.dfg.value_type(*f.dfg.inst_results(inst).first()?);
    if ty.is_vector() || !ty.is_int() {
        return None;
    }
    match f.dfg.insts[inst] {
        InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => Some(Key::Constant(ty, imm.bits())),
        InstructionData::Binary { opcode, args } => {
            let same = matches!(opcode, Opcode::Iadd | Opcode::Isub | Opcode::Imul | Opcode::Ishl);
            same.then(|| Key::Binary(ty, opcode, args.map(|arg| f.dfg.resolve_aliases(arg))))
        }
        _ => None,
    }
}
