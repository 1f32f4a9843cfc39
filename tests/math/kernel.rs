//! Little kernels that map arrays through one function, compiled with Cranelift or the wide selector.

use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::ir::{AbiParam, ExternalName, FuncRef, InstBuilder, MemFlagsData, Type, Value, types};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{Linkage, Module, ModuleReloc, ModuleRelocTarget, default_libcall_names};
use ssmc::codegen::math::{self, Elementary, Environment, Routine};
use ssmc::jit::Isa;
use ssmc_wide::{Level, Primitive};

/// A lane of a kernel.
pub trait Lane: Copy + Send + Sync + 'static {
    const TYPE: Type;
    const ZERO: Self;
}

impl Lane for f32 {
    const TYPE: Type = types::F32;
    const ZERO: f32 = 0.0;
}

impl Lane for f64 {
    const TYPE: Type = types::F64;
    const ZERO: f64 = 0.0;
}

/// What makes a kernel: Cranelift, or the wide selector at some level.
pub type Maker = Option<Level>;

/// All that make kernels for this machine.
#[allow(dead_code, reason = "the example asks for one")]
pub fn makers() -> Vec<Maker> {
    let all = [(None, Isa::Narrow), (Some(Level::Avx2), Isa::Avx2), (Some(Level::Avx512), Isa::Avx512)];
    all.into_iter().filter(|(_, isa)| isa.is_here()).map(|(maker, _)| maker).collect()
}

/// The widest vector of a lane type that a maker has.
pub fn widest(maker: Maker, lane: Type) -> Type {
    let bytes = maker.map_or(16, Level::vector_bytes);
    lane.by(bytes / lane.bytes()).expect("a vector")
}

struct Imports<'m>(&'m mut JITModule, Maker);

impl Environment for Imports<'_> {
    fn routine(&mut self, builder: &mut FunctionBuilder<'_>, routine: Routine, lane: Type) -> FuncRef {
        let mut signature = self.0.make_signature();
        signature.params = vec![AbiParam::new(lane); routine.arity()];
        signature.returns.push(AbiParam::new(lane));
        let id = self.0.declare_function(routine.symbol(lane), Linkage::Import, &signature).expect("a declaration");
        self.0.declare_func_in_func(id, builder.func)
    }

    fn primitive(&mut self, builder: &mut FunctionBuilder<'_>, primitive: Primitive, ty: Type) -> Option<FuncRef> {
        self.1.filter(|&level| primitive.is_at(level))?;
        Some(math::import_primitive(builder, primitive, ty, self.0.target_config().default_call_conv))
    }
}

/// `out[r][i] = f(in[0][i], in[1][i], ..)[r]` over arrays.
pub struct Kernel<T> {
    module: Option<JITModule>,
    entry: extern "C" fn(*const *const T, *const *mut T, usize),
    inputs: usize,
    outputs: usize,
}

// SAFETY: the module is only kept to free its memory; the code in it has no state.
unsafe impl<T> Sync for Kernel<T> {}

impl<T> Drop for Kernel<T> {
    fn drop(&mut self) {
        if let Some(module) = self.module.take() {
            // SAFETY: the entry point goes with the kernel, and nothing of the module outlives it.
            unsafe { module.free_memory() }
        }
    }
}

impl<T: Lane> Kernel<T> {
    /// Compiles `body` with Cranelift.
    pub fn new(
        ty: Type,
        inputs: usize,
        outputs: usize,
        body: impl Fn(&mut FunctionBuilder<'_>, &mut dyn Environment, &[Value]) -> Vec<Value>,
    ) -> Kernel<T> {
        Self::made(None, ty, inputs, outputs, body)
    }

    /// Compiles `body`, which emits the function for values of type `ty`: a vector, or the scalar lane.
    pub fn made(
        maker: Maker,
        ty: Type,
        inputs: usize,
        outputs: usize,
        body: impl Fn(&mut FunctionBuilder<'_>, &mut dyn Environment, &[Value]) -> Vec<Value>,
    ) -> Kernel<T> {
        let mut flags = settings::builder();
        flags.set("opt_level", "speed").expect("a known setting");
        let isa = cranelift_native::builder().expect("a host").finish(settings::Flags::new(flags)).expect("an ISA");
        let mut jit = JITBuilder::with_isa(isa, default_libcall_names());
        jit.symbols(ssmc_runtime::scalar::routines());
        let mut module = JITModule::new(jit);
        let pointer = module.target_config().pointer_type();

        let mut context = module.make_context();
        context.func.signature.params = vec![AbiParam::new(pointer); 3];
        let mut frontend = FunctionBuilderContext::new();
        let mut b = FunctionBuilder::new(&mut context.func, &mut frontend);
        let (entry, head, done) = (b.create_block(), b.create_block(), b.create_block());
        b.append_block_params_for_function_params(entry);
        let offset = b.append_block_param(head, pointer);
        b.switch_to_block(entry);
        let (sources, targets, length) = (b.block_params(entry)[0], b.block_params(entry)[1], b.block_params(entry)[2]);
        let end = b.ins().imul_imm_s(length, i64::from(T::TYPE.bytes()));
        let flags = MemFlagsData::trusted();
        let load_pointers = |b: &mut FunctionBuilder<'_>, from: Value, count: usize| -> Vec<Value> {
            (0..count).map(|i| b.ins().load(pointer, flags, from, i32::try_from(i * 8).expect("few"))).collect()
        };
        let sources = load_pointers(&mut b, sources, inputs);
        let targets = load_pointers(&mut b, targets, outputs);
        let zero = b.ins().iconst(pointer, 0);
        b.ins().jump(head, &[zero.into()]);
        b.switch_to_block(head);
        let arguments: Vec<Value> = sources
            .iter()
            .map(|&source| {
                let at = b.ins().iadd(source, offset);
                b.ins().load(ty, MemFlagsData::new(), at, 0)
            })
            .collect();
        let results = body(&mut b, &mut Imports(&mut module, maker), &arguments);
        for (target, result) in targets.into_iter().zip(results) {
            let at = b.ins().iadd(target, offset);
            b.ins().store(MemFlagsData::new(), result, at, 0);
        }
        let next = b.ins().iadd_imm_s(offset, i64::from(ty.bytes()));
        let more = b.ins().icmp(cranelift_codegen::ir::condcodes::IntCC::UnsignedLessThan, next, end);
        b.ins().brif(more, head, &[next.into()], done, &[]);
        b.switch_to_block(done);
        b.ins().return_(&[]);
        b.seal_all_blocks();
        b.finalize(module.target_config());

        let id = module.declare_anonymous_function(&context.func.signature).expect("a declaration");
        match maker {
            None => module.define_function(id, &mut context).expect("valid code"),
            Some(level) => {
                let code = ssmc_wide::compile_checked(&context.func, level).expect("valid code");
                let names = context.func.params.user_named_funcs();
                let relocation = |relocation: &ssmc_wide::Relocation| {
                    let ExternalName::User(name) = relocation.name else { panic!("a routine") };
                    let name = &names[name];
                    let name = ModuleRelocTarget::User { namespace: name.namespace, index: name.index };
                    ModuleReloc { offset: relocation.offset, kind: Reloc::Abs8, name, addend: 0 }
                };
                let relocations: Vec<ModuleReloc> = code.relocations.iter().map(relocation).collect();
                module.define_function_bytes(id, 64, &code.bytes, &relocations).expect("valid code");
            }
        }
        module.finalize_definitions().expect("executable memory");
        let code = module.get_finalized_function(id);
        // SAFETY: the function was defined just now with this signature, in the host's calling convention.
        let entry =
            unsafe { std::mem::transmute::<*const u8, extern "C" fn(*const *const T, *const *mut T, usize)>(code) };
        Kernel { module: Some(module), entry, inputs, outputs }
    }

    /// Runs the kernel on whole arrays.
    pub fn run(&self, inputs: &[&[T]], outputs: &mut [Vec<T>]) {
        assert_eq!((inputs.len(), outputs.len()), (self.inputs, self.outputs));
        let length = inputs[0].len();
        if !length.is_multiple_of(16) {
            let fill = |input: &&[T]| {
                let mut padded = input.to_vec();
                padded.resize(length.next_multiple_of(16), input[0]);
                padded
            };
            let padded: Vec<Vec<T>> = inputs.iter().map(fill).collect();
            let padded: Vec<&[T]> = padded.iter().map(Vec::as_slice).collect();
            self.run(&padded, outputs);
            outputs.iter_mut().for_each(|output| output.truncate(length));
            return;
        }
        assert!(length > 0, "nothing to do");
        let sources: Vec<*const T> = inputs
            .iter()
            .map(|input| {
                assert_eq!(input.len(), length);
                input.as_ptr()
            })
            .collect();
        let targets: Vec<*mut T> = outputs
            .iter_mut()
            .map(|output| {
                output.resize(length, T::ZERO);
                output.as_mut_ptr()
            })
            .collect();
        (self.entry)(sources.as_ptr(), targets.as_ptr(), length);
    }
}

/// A kernel of one real function on values of type `ty`.
pub fn real<T: Lane>(function: Elementary, ty: Type) -> Kernel<T> {
    real_by(None, function, ty)
}

/// The same by some maker.
pub fn real_by<T: Lane>(maker: Maker, function: Elementary, ty: Type) -> Kernel<T> {
    Kernel::made(maker, ty, function.arity(), 1, |b, environment, x| vec![math::emit(b, environment, function, x)])
}
