//! Functions that map arrays, compiled by Cranelift or by this crate, and calls of them.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, Function, InstBuilder, MemFlagsData, Signature, Type, UserFuncName, Value, types,
};
use cranelift_codegen::isa::{CallConv, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{Linkage, Module, ModuleReloc, ModuleRelocTarget, default_libcall_names};
use ssmc_wide::{Code, Level};

/// The levels that this machine has.
pub fn levels() -> Vec<Level> {
    let mut levels = Vec::new();
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("bmi2") {
        levels.push(Level::Avx2);
    }
    let all = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    if all && !levels.is_empty() {
        levels.push(Level::Avx512);
    }
    levels
}

/// The type of a value.
#[allow(dead_code, reason = "not every test file asks for it")]
pub fn ty(b: &FunctionBuilder<'_>, v: Value) -> Type {
    b.func.dfg.value_type(v)
}

/// The vectors of a lane type that a level has, narrowest first.
pub fn vectors(level: Level, lane: Type) -> Vec<Type> {
    [16, 32, 64]
        .into_iter()
        .filter(|&bytes| bytes <= level.vector_bytes())
        .map(|bytes| lane.by(bytes / lane.bytes()).unwrap())
        .collect()
}

pub fn isa() -> OwnedTargetIsa {
    let mut flags = settings::builder();
    flags.set("opt_level", "none").unwrap();
    cranelift_native::builder().unwrap().finish(settings::Flags::new(flags)).unwrap()
}

/// A function of three pointers and a count.
pub type Entry = extern "C" fn(*const *const u8, *mut u8, i64);

/// Code in executable memory.
pub struct Compiled {
    module: Option<JITModule>,
    entry: Entry,
}

impl Drop for Compiled {
    fn drop(&mut self) {
        if let Some(module) = self.module.take() {
            // SAFETY: the entry goes with it.
            unsafe { module.free_memory() };
        }
    }
}

/// A routine that functions under test may call.
pub extern "C" fn half_plus(x: f32, y: f32) -> f32 {
    x * 0.5 + y
}

/// The `UserExternalName` of [`half_plus`].
pub const ROUTINE: u32 = 0;

fn module() -> JITModule {
    let mut builder = JITBuilder::with_isa(isa(), default_libcall_names());
    builder.symbol("half_plus", half_plus as *const u8);
    let mut module = JITModule::new(builder);
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params = vec![AbiParam::new(types::F32); 2];
    signature.returns = vec![AbiParam::new(types::F32)];
    let id = module.declare_function("half_plus", Linkage::Import, &signature).unwrap();
    assert_eq!(id.as_u32(), ROUTINE);
    module
}

fn finish(mut module: JITModule, id: cranelift_module::FuncId) -> Compiled {
    module.finalize_definitions().unwrap();
    // SAFETY: all functions here have this type.
    let entry = unsafe { std::mem::transmute::<*const u8, Entry>(module.get_finalized_function(id)) };
    Compiled { module: Some(module), entry }
}

/// Compiles with Cranelift.
#[allow(dead_code, reason = "not every test file compares with it")]
pub fn by_cranelift(function: &Function) -> Compiled {
    let mut module = module();
    let id = module.declare_function("f", Linkage::Local, &function.signature).unwrap();
    let mut context = cranelift_codegen::Context::for_function(function.clone());
    module.define_function(id, &mut context).unwrap();
    finish(module, id)
}

/// Compiles with this crate, the registers checked.
pub fn by_wide(function: &Function, level: Level) -> Compiled {
    cranelift_codegen::verifier::verify_function(function, &*isa()).unwrap_or_else(|e| panic!("{e}\n{function}"));
    let code = ssmc_wide::compile_checked(function, level).unwrap_or_else(|e| panic!("{e}\n{function}"));
    place(function, &code)
}

pub fn place(function: &Function, code: &Code) -> Compiled {
    let mut module = module();
    let id = module.declare_function("f", Linkage::Local, &function.signature).unwrap();
    let relocations: Vec<ModuleReloc> = code
        .relocations
        .iter()
        .map(|r| {
            let cranelift_codegen::ir::ExternalName::User(name) = r.name else { panic!("{:?}", r.name) };
            let name = &function.params.user_named_funcs()[name];
            ModuleReloc {
                offset: r.offset,
                kind: cranelift_codegen::binemit::Reloc::Abs8,
                name: ModuleRelocTarget::User { namespace: name.namespace, index: name.index },
                addend: 0,
            }
        })
        .collect();
    module.define_function_bytes(id, 64, &code.bytes, &relocations).unwrap();
    finish(module, id)
}

impl Compiled {
    /// Runs it over inputs of `bytes` bytes each.
    pub fn run(&self, inputs: &[Vec<u8>], bytes: usize) -> Vec<u8> {
        let pointers: Vec<*const u8> = inputs.iter().map(|i| i.as_ptr()).collect();
        assert!(inputs.iter().all(|i| i.len() >= bytes));
        let mut out = vec![0xaau8; bytes];
        (self.entry)(pointers.as_ptr(), out.as_mut_ptr(), bytes as i64);
        out
    }

    /// Runs it with what the caller prepared.
    #[allow(dead_code, reason = "not every test file prepares its own")]
    pub fn call(&self, pointers: &[*const u8], out: *mut u8, count: i64) {
        (self.entry)(pointers.as_ptr(), out, count);
    }
}

/// What a function does with one vector of each input.
pub type Body<'a> = &'a dyn Fn(&mut FunctionBuilder<'_>, &[Value]) -> Value;

pub fn signature() -> Signature {
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params = vec![AbiParam::new(types::I64); 3];
    signature
}

/// `out[i] = body(inputs[..][i])` over vectors of type `ty` (or scalars); the result has as many bytes.
pub fn mapped(ty: Type, inputs: usize, body: Body<'_>) -> Function {
    let mut function = Function::with_name_signature(UserFuncName::user(0, 1), signature());
    let mut context = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut function, &mut context);
    let (entry, head, done) = (b.create_block(), b.create_block(), b.create_block());
    b.append_block_params_for_function_params(entry);
    let at = b.append_block_param(head, types::I64);
    b.switch_to_block(entry);
    let [table, out, bytes] = b.block_params(entry)[..] else { panic!() };
    let flags = MemFlagsData::trusted();
    let pointers: Vec<Value> = (0..inputs).map(|n| b.ins().load(types::I64, flags, table, n as i32 * 8)).collect();
    let zero = b.ins().iconst(types::I64, 0);
    b.ins().jump(head, &[zero.into()]);
    b.switch_to_block(head);
    let flags = MemFlagsData::new().with_notrap();
    let values: Vec<Value> = pointers
        .iter()
        .map(|&pointer| {
            let address = b.ins().iadd(pointer, at);
            b.ins().load(ty, flags, address, 0)
        })
        .collect();
    let value = body(&mut b, &values);
    let address = b.ins().iadd(out, at);
    b.ins().store(flags, value, address, 0);
    let next = b.ins().iadd_imm_s(at, i64::from(ty.bytes()));
    let more = b.ins().icmp(IntCC::SignedLessThan, next, bytes);
    b.ins().brif(more, head, &[next.into()], done, &[]);
    b.switch_to_block(done);
    b.ins().return_(&[]);
    b.seal_all_blocks();
    b.finalize(isa().frontend_config());
    function
}

/// Numbers that hurt, and some that do not.
pub fn numbers(double: bool) -> Vec<u64> {
    let list: Vec<f64> = vec![
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        -0.5,
        1.5,
        2.5,
        -2.5,
        3.0,
        1e-3,
        -7.25,
        123_456.79,
        8_388_609.0,
        -4_503_599_627_370_497.5,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ];
    match double {
        false => {
            let mut all: Vec<u64> = list.iter().map(|&x| u64::from((x as f32).to_bits())).collect();
            all.extend([1u32, 0x8000_0001, 0x007f_ffff, 0x0080_0000, 0x7f7f_ffff, 0xff7f_ffff].map(u64::from));
            all
        }
        true => {
            let mut all: Vec<u64> = list.iter().map(|&x| x.to_bits()).collect();
            all.extend([1u64, (1 << 63) | 1, 0x000f_ffff_ffff_ffff, 0x0010_0000_0000_0000, 0x7fef_ffff_ffff_ffff]);
            all
        }
    }
}

/// All combinations of these numbers in `count` inputs, filled up to whole vectors of 64 bytes.
pub fn grid(numbers: &[u64], count: usize, lane: usize) -> (Vec<Vec<u8>>, usize) {
    let total = numbers.len().pow(count as u32);
    let whole = (total * lane).next_multiple_of(64) / lane;
    let inputs = (0..count)
        .map(|n| {
            let each = numbers.len().pow(n as u32);
            (0..whole).flat_map(|i| numbers[i / each % numbers.len()].to_le_bytes()[..lane].to_vec()).collect()
        })
        .collect();
    (inputs, whole * lane)
}

/// Compares bytes lane by lane; NaNs are all the same where the lanes are floats.
#[allow(dead_code, reason = "not every test file compares with it")]
pub fn assert_same(what: &str, ty: Type, floats: bool, expected: &[u8], got: &[u8], inputs: &[Vec<u8>]) {
    let lane = ty.lane_bits() as usize / 8;
    for at in (0..expected.len()).step_by(lane) {
        let word = |bytes: &[u8]| bytes[at..at + lane].iter().rev().fold(0u64, |w, &b| w << 8 | u64::from(b));
        let (a, b) = (word(expected), word(got));
        let is_nan = |w: u64| match lane {
            4 => f32::from_bits(w as u32).is_nan(),
            _ => f64::from_bits(w).is_nan(),
        };
        if a != b && !(floats && is_nan(a) && is_nan(b)) {
            let of: Vec<String> = inputs.iter().map(|i| format!("{:#x}", word(i))).collect();
            panic!("{what} at {ty}, lane {}: {a:#x} expected, {b:#x} found, for {of:?}", at / lane);
        }
    }
}
