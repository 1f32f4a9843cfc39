//! Cranelift IR for plans.
//!
//! In: a [`Plan`]. Out: one CLIF function for each of its [`Part`]s, of the form that
//! [`ssmc_runtime::kernel`] describes. `step` makes the loop over time and the reset, `nest` the loops of one
//! equation, `region` those of a block of lanes, `expr` the element, `access` loads and stores, `reduce` sums and the
//! like, `extreme` the largest and smallest, `across` moves of lanes, `call` functions, `solve` linear systems and what is
//! reported;
//! `value` holds what an expression becomes: one scalar, or vectors along the lanes.
//!
//! The lane count comes from the plan's target and stands in no other place. Loop-invariant sub-expressions and
//! addresses are computed in front of their loops, so that no pass over the CLIF has to find them.

mod access;
mod across;
mod call;
mod expr;
mod extreme;
pub(crate) mod finite;
pub mod math;
mod nest;
mod pipeline;
mod reduce;
mod region;
mod rows;
mod solve;
mod step;
mod turns;
mod value;

use std::collections::HashMap;

use cranelift_codegen::ir::{Function, InstBuilder, MemFlagsData, Type, UserFuncName, Value, types};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use ssmc_runtime::kernel::{Buffer, Slot};
use ssmc_wide::Level;

use crate::ir::{Expr, IndexId};
use crate::plan::{Lanes, Part, PassPlan, Phase, Plan};
use value::Val;

pub use call::{ROUTINES, routine_signature};

/// What the code may use of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// How calls to the runtime are made.
    pub call_conv: CallConv,
    /// Whether it multiplies and adds in one instruction.
    pub fma: bool,
    /// Where the wide selector takes the code: for what.
    pub level: Option<Level>,
    /// Whether it is asked afterwards if there was a NaN among the operands of minima and maxima, which costs nothing then.
    pub status: bool,
}

impl Machine {
    /// What an ISA says about itself.
    pub fn of(isa: &dyn TargetIsa) -> Self {
        let x64 = isa.name() == "x64";
        let has_fma = isa.isa_flags().iter().any(|flag| flag.name == "has_fma" && flag.as_bool() == Some(true));
        Self { call_conv: isa.default_call_conv(), fma: !x64 || has_fma, level: None, status: false }
    }

    /// The same for code that the wide selector takes.
    pub fn within(self, level: Level) -> Self {
        Self { level: Some(level), status: true, ..self }
    }
}

/// Emits the `n`-th function of a plan, in the order of [`Plan::parts`].
pub fn emit(plan: &Plan, n: usize, machine: Machine, isa: &dyn TargetIsa) -> Function {
    let mut function = Function::new();
    function.name = UserFuncName::user(0, n as u32);
    function.signature.call_conv = machine.call_conv;
    function.signature.params.push(cranelift_codegen::ir::AbiParam::new(types::I64));
    let mut context = FunctionBuilderContext::new();
    let builder = FunctionBuilder::new(&mut function, &mut context);
    let mut emitter = Emitter::new(plan, plan.parts()[n], machine, builder);
    emitter.function();
    emitter.b.seal_all_blocks();
    emitter.b.finalize(isa.frontend_config());
    function
}

/// The expression as a key: its address, which does not change while its nest is emitted.
type Key = *const Expr;

/// Vectors along an index.
#[derive(Clone, Copy, Debug)]
struct Lane {
    index: IndexId,
    /// How many vectors.
    parts: usize,
    /// How many elements; those behind them in the last vector are computed, but not written.
    live: usize,
}

/// The value of an index: a part that is known when the code runs, and one that is known now.
#[derive(Clone, Copy)]
struct At {
    base: Option<Value>,
    add: i64,
}

/// A part of an address that is known before a loop.
#[derive(Clone)]
struct Address {
    value: Value,
    /// The indices that are in it.
    includes: Vec<IndexId>,
    /// Whether all that is not linear is in it.
    rest: bool,
    /// Whether the row of the step is in it.
    timed: bool,
}

struct Emitter<'a, 'b> {
    b: FunctionBuilder<'b>,
    plan: &'a Plan,
    pass: &'a PassPlan,
    slots: &'a [Slot],
    phases: &'a [Phase],
    machine: Machine,
    /// Whether the pass's outputs that may go past the caches do.
    past: bool,
    /// The type of reals.
    real: Type,
    /// Their vectors.
    vector: Type,
    width: usize,
    /// The addresses that the kernel got.
    pointers: HashMap<Slot, Value>,
    /// The addresses of this step's rows.
    rows: HashMap<Slot, Value>,
    /// What is to be added to an address in this step, where rows have that many bytes: counted from the first step
    /// of the tensors, or of the tile.
    times: HashMap<(Rows, i64), Value>,
    /// The row of this step in each delay.
    rings: HashMap<usize, Value>,
    first: Value,
    /// The number of this step in its sequence.
    now: Value,
    env: HashMap<IndexId, At>,
    /// The loops around this place, outermost first.
    order: Vec<IndexId>,
    /// The vectors that are worked on.
    lane: Option<Lane>,
    /// The one lane that is worked on, where something has no vector form.
    picked: Option<(IndexId, usize)>,
    /// The indices of this nest that lie on lanes.
    lanes: &'a [Lanes],
    cache: HashMap<(Key, i64), Val>,
    /// Calls whose values are known at this place.
    calls: Vec<(&'a Expr, Val)>,
    /// Vectors of scalars that were computed before a loop whose index is on the lanes.
    splats: HashMap<Value, Value>,
    /// By access, plane, and the step of those side by side, where that matters.
    addresses: HashMap<(Key, bool, i64), Address>,
    /// Whether a region is emitted; then these are the elements that are in registers.
    in_region: bool,
    /// How many steps side by side are emitted, and which of them this is.
    together: i64,
    later: i64,
    registers: HashMap<region::Element, Val>,
    routines: call::Routines,
}

/// What the rows of a buffer are counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Rows {
    Sequence,
    Tile,
}

impl<'a, 'b> Emitter<'a, 'b> {
    fn new(plan: &'a Plan, part: Part<'a>, machine: Machine, mut b: FunctionBuilder<'b>) -> Self {
        let real = if plan.target.bits == 64 { types::F64 } else { types::F32 };
        let vector = real.by(plan.target.width as u32).expect("a vector type of that many lanes");
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        let first = b.ins().iconst(types::I8, 0);
        let now = b.ins().iconst(types::I64, 0);
        Self {
            b,
            plan,
            pass: part.pass,
            slots: part.slots,
            phases: part.phases,
            machine,
            past: part.past,
            real,
            vector,
            width: plan.target.width,
            pointers: HashMap::new(),
            rows: HashMap::new(),
            times: HashMap::new(),
            rings: HashMap::new(),
            first,
            now,
            env: HashMap::new(),
            order: Vec::new(),
            lane: None,
            picked: None,
            lanes: &[],
            cache: HashMap::new(),
            calls: Vec::new(),
            splats: HashMap::new(),
            addresses: HashMap::new(),
            in_region: false,
            together: 1,
            later: 0,
            registers: HashMap::new(),
            routines: call::Routines::default(),
        }
    }

    /// Runs `body`, and forgets what was computed in it.
    fn scoped<T>(&mut self, body: impl FnOnce(&mut Self) -> T) -> T {
        let cache = self.cache.clone();
        let addresses = self.addresses.clone();
        let splats = self.splats.clone();
        let registers = self.registers.clone();
        let calls = self.calls.len();
        let result = body(self);
        self.cache = cache;
        self.splats = splats;
        self.registers = registers;
        self.calls.truncate(calls);
        self.addresses = addresses;
        result
    }

    fn extent(&self, i: IndexId) -> usize {
        self.plan.instance.extents[i.at()]
    }

    /// The value of an index.
    fn index(&mut self, i: IndexId) -> Value {
        match self.env[&i] {
            At { base: Some(base), add } => self.plus(base, add),
            At { base: None, add } => self.int(add),
        }
    }

    fn int(&mut self, n: i64) -> Value {
        self.b.ins().iconst(types::I64, n)
    }

    /// `value * by`
    fn scaled(&mut self, value: Value, by: i64) -> Value {
        match by {
            1 => value,
            by if by > 0 && by & (by - 1) == 0 => {
                let shift = i64::from(by.trailing_zeros());
                self.b.ins().ishl_imm_u(value, shift)
            }
            by => self.b.ins().imul_imm_s(value, by),
        }
    }

    fn plus(&mut self, value: Value, n: i64) -> Value {
        if n == 0 { value } else { self.b.ins().iadd_imm_s(value, n) }
    }

    /// How memory of this buffer may be accessed; `whole` for an access of one element, which is aligned.
    fn flags(&self, buffer: Buffer, whole: bool) -> MemFlagsData {
        let flags = MemFlagsData::new().with_notrap();
        let flags = if whole { flags.with_aligned() } else { flags };
        match buffer {
            Buffer::Param(_) | Buffer::Initial(_) | Buffer::Input(_) => flags.with_readonly().with_can_move(),
            _ => flags,
        }
    }
}
