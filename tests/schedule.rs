//! The order of instructions within blocks: what depends on what stays so, registers are not exceeded.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use cranelift_codegen::ir::{
    AbiParam, Block, Function, Inst, InstBuilder, InstructionData, MemFlagsData, Opcode, UserFuncName, Value, types,
};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ssmc::codegen::schedule;
use ssmc::ir::Instance;
use ssmc::jit::{self, Form};
use ssmc::plan::Target;

/// A block of random arithmetic on vectors of 16, in chains that meet; `memory`: with loads and stores in between,
/// through two pointers that may be the same.
fn random(seed: u64, size: usize, memory: bool) -> Function {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let isa = jit::isa::host().expect("the host has a back end");
    let mut f = Function::new();
    f.name = UserFuncName::user(0, 0);
    f.signature.call_conv = isa.default_call_conv();
    f.signature.params.extend([AbiParam::new(types::I64), AbiParam::new(types::I64)]);
    let mut context = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut f, &mut context);
    let block = b.create_block();
    b.append_block_params_for_function_params(block);
    b.switch_to_block(block);
    let pointers = b.block_params(block).to_vec();
    let flags = MemFlagsData::new().with_notrap();
    let offset = |rng: &mut ChaCha8Rng| rng.random_range(0..12) * 32;
    let mut values: Vec<Value> = (0..4)
        .map(|n| b.ins().load(types::F32X16, flags.with_readonly().with_can_move(), pointers[0], 4096 + n * 64))
        .collect();
    // Each is used twice, so that it is not taken into what uses it.
    for n in 0..4 {
        let twice = b.ins().fadd(values[n], values[n]);
        let more = b.ins().fmul(twice, values[n]);
        values.push(more);
    }
    for _ in 0..size {
        let recent = values.len().saturating_sub(12);
        let mut pick = |rng: &mut ChaCha8Rng| values[rng.random_range(recent..values.len())];
        let (x, y, z) = (pick(&mut rng), pick(&mut rng), pick(&mut rng));
        let pointer = pointers[rng.random_range(0..2)];
        match rng.random_range(0..if memory { 9 } else { 5 }) {
            0 => values.push(b.ins().fadd(x, y)),
            1 => values.push(b.ins().fmul(x, y)),
            2 | 3 => values.push(b.ins().fma(x, y, z)),
            4 => {
                let x = b.ins().fneg(x);
                values.push(b.ins().fma(x, y, z));
            }
            5 => {
                let at = offset(&mut rng);
                values.push(b.ins().load(types::F32X16, flags, pointer, at));
            }
            6 => {
                let step = b.ins().iconst(types::I64, 64);
                let pointer = b.ins().iadd(pointer, step);
                let at = offset(&mut rng);
                let one = b.ins().load(types::F32, flags, pointer, at);
                values.push(b.ins().splat(types::F32X16, one));
            }
            _ => {
                let at = offset(&mut rng);
                b.ins().store(flags, x, pointer, at);
            }
        }
    }
    for (n, &value) in values.iter().rev().take(5).enumerate() {
        b.ins().store(flags, value, pointers[1], 8192 + 64 * n as i32);
    }
    b.ins().return_(&[]);
    b.seal_all_blocks();
    b.finalize(isa.frontend_config());
    f
}

fn instructions(f: &Function) -> Vec<Inst> {
    let block: Block = f.layout.entry_block().expect("the function has a block");
    f.layout.block_insts(block).collect()
}

fn hash(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// What the block leaves in memory, each operation as a symbol; the pointers have these values.
fn outcome(f: &Function, pointers: [i64; 2]) -> HashMap<i64, u64> {
    let mut values: HashMap<Value, u64> = HashMap::new();
    let mut numbers: HashMap<Value, i64> = HashMap::new();
    let mut memory: HashMap<i64, u64> = HashMap::new();
    let params = f.dfg.block_params(f.layout.entry_block().expect("the function has a block"));
    numbers.extend(params.iter().copied().zip(pointers));
    for inst in instructions(f) {
        let args: Vec<Value> = f.dfg.inst_args(inst).iter().map(|&v| f.dfg.resolve_aliases(v)).collect();
        match f.dfg.insts[inst] {
            InstructionData::UnaryImm { imm, .. } => {
                numbers.insert(f.dfg.first_result(inst), imm.bits());
            }
            InstructionData::Binary { opcode: Opcode::Iadd, .. } => {
                numbers.insert(f.dfg.first_result(inst), numbers[&args[0]] + numbers[&args[1]]);
            }
            InstructionData::Load { offset, .. } => {
                let result = f.dfg.first_result(inst);
                let from = numbers[&args[0]] + i64::from(i32::from(offset));
                let bytes = i64::from(f.dfg.value_type(result).bytes());
                let seen: Vec<_> = (from..from + bytes).map(|at| (at, memory.get(&at).copied())).collect();
                values.insert(result, hash(seen));
            }
            InstructionData::Store { offset, .. } => {
                let from = numbers[&args[1]] + i64::from(i32::from(offset));
                let bytes = i64::from(f.dfg.value_type(args[0]).bytes());
                for n in 0..bytes {
                    memory.insert(from + n, hash((values[&args[0]], n)));
                }
            }
            data if !data.opcode().is_terminator() => {
                let operands: Vec<u64> = args.iter().map(|v| values[v]).collect();
                values.insert(f.dfg.first_result(inst), hash((format!("{}", data.opcode()), operands)));
            }
            _ => {}
        }
    }
    memory
}

/// The most vectors that are live at once; negations go into what uses them.
fn pressure(f: &Function) -> usize {
    let mut live: HashSet<Value> = HashSet::new();
    let mut most = 0;
    for inst in instructions(f).into_iter().rev() {
        for result in f.dfg.inst_results(inst) {
            live.remove(result);
        }
        live.extend(f.dfg.inst_args(inst).iter().filter(|&&v| f.dfg.value_type(v).is_vector()));
        if f.dfg.insts[inst].opcode() != Opcode::Fneg {
            most = most.max(live.len());
        }
    }
    most
}

#[test]
fn nothing_is_computed_from_something_else() {
    let host = jit::isa::host().expect("the host has a back end");
    for seed in 0..60 {
        let given = random(seed, 20 + seed as usize * 20, true);
        let mut ordered = given.clone();
        schedule(&mut ordered, if seed % 2 == 0 { 32 } else { 16 });
        let sound = cranelift_codegen::verify_function(&ordered, host.flags());
        assert!(sound.is_ok(), "seed {seed}: {sound:?}");
        // Apart, the same, and overlapping.
        for pointers in [[0, 1 << 20], [0, 0], [0, 96], [160, 0]] {
            assert!(outcome(&given, pointers) == outcome(&ordered, pointers), "seed {seed}: {pointers:?}");
        }
    }
}

#[test]
fn registers_are_not_exceeded_and_orders_are_the_same_each_time() {
    let mut moved = 0;
    for seed in 0..60 {
        let given = random(seed, 200, false);
        for registers in [16, 32] {
            let (mut ordered, mut again) = (given.clone(), given.clone());
            schedule(&mut ordered, registers);
            schedule(&mut again, registers);
            assert_eq!(ordered.display().to_string(), again.display().to_string());
            let (before, after) = (pressure(&given), pressure(&ordered));
            assert!(after <= before.max(registers), "seed {seed}: {before} to {after} of {registers}");
            moved += usize::from(instructions(&given) != instructions(&ordered));
        }
    }
    assert!(moved > 100, "only {moved} were changed");
}

/// The states of a Mamba scan and the exponentials under way stay in registers.
#[test]
fn mamba_spills_nothing() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/mamba.ssm");
    let (file, _) = ssmc::syntax::parse(&fs::read_to_string(path).expect("the file can be read"));
    let (layers, _) = ssmc::sema::lower(&file);
    let layer = layers.into_iter().next().expect("the file has a layer");
    let dims = layer.dims.iter().map(|dim| if dim.name == "N" { 16 } else { 1024 }).collect();
    let instance = Instance::new(layer, dims).expect("the sizes can be run");
    let host = jit::isa::host().expect("the host has a back end");
    let target = Target { bits: 32, width: 16, registers: 32 };
    let plan = ssmc::plan::plan(&instance, Form::Sequence, target).expect("the layer has a plan");
    let mut changed = false;
    for n in 0..plan.parts().len() {
        let given = ssmc::codegen::emit(&plan, n, ssmc::codegen::Machine::of(&*host), &*host);
        let mut ordered = given.clone();
        schedule(&mut ordered, target.registers);
        changed |= given.layout.blocks().any(|b| !given.layout.block_insts(b).eq(ordered.layout.block_insts(b)));
        let code = ssmc_wide::compile_checked(&ordered, ssmc_wide::Level::Avx512).expect("the selector knows it all");
        assert_eq!(code.stats.inner_spills, 0, "part {n}: {:?}", code.stats);
    }
    assert!(changed);
}
