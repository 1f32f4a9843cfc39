//! What one instruction of CLIF takes on a core: which units it keeps busy, and how long its result is waited for.
//!
//! CLIF stands for the machine code made of it: constants are operands or in registers, a comparison and the branch on
//! it are one instruction, a change of sign that only multiply-adds read is part of these. What lies in cold blocks is
//! not counted at all.

use std::collections::HashMap;
use std::ops::{Add, AddAssign, Mul};

use cranelift_codegen::ir::{ExternalName, Function, Inst, InstructionData, Opcode, Type, Value, ValueDef, types};

use ssmc_wide::Primitive;

use crate::profile::{Profile, Width};

/// Cycles for the store of a value to reach a load of it.
const FORWARD: f64 = 5.0;

/// Cycles of a load from the first cache.
const LOAD: f64 = 6.0;

/// Instructions that enter the core in a cycle, where the units keep up.
const ISSUE: f64 = 4.0;

/// Cycles of a division of integers.
const INTEGER_DIVISION: f64 = 14.0;

/// What a core can do in a cycle, for vectors of one width.
#[derive(Clone, Copy, Debug)]
pub struct Core {
    /// Vector and floating-point instructions.
    pub arithmetic: f64,
    /// Divisions and square roots of vectors, and of single numbers.
    pub divisions: [f64; 2],
    /// Loads.
    pub loads: f64,
    /// Stores.
    pub stores: f64,
    /// Cycles of a multiply-add from operand to result.
    pub latency: f64,
    /// Cycles in a second.
    pub hertz: f64,
}

impl Core {
    /// The core of a profile, working on vectors of that many bits.
    pub fn of(profile: &Profile, vector: u32, bits: u32) -> Self {
        let width: &Width = profile.width(vector);
        let widest = profile.widest();
        let near = &profile.levels[0].one;
        // As many bytes a cycle as the first cache gives, in vectors of the widest kind.
        let each = |rate: f64, most: f64| (rate / widest.ghz / f64::from(widest.bits / 8)).clamp(0.5, most);
        Self {
            arithmetic: width.multiply_adds,
            divisions: [width.divisions(bits), profile.width(128).divisions(bits)],
            loads: each(near.load, 3.0),
            stores: each(near.store, 2.0),
            latency: profile.latency,
            hertz: width.ghz * 1e9,
        }
    }
}

/// Instructions by the unit that they need.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Vector and floating-point instructions.
    pub arithmetic: f64,
    /// Divisions and square roots of vectors.
    pub divisions: f64,
    /// Divisions and square roots of single numbers.
    pub single: f64,
    /// Loads.
    pub loads: f64,
    /// Stores.
    pub stores: f64,
    /// Everything else: places, counters, branches.
    pub integer: f64,
    /// Cycles of routines and of what has no pipeline.
    pub cycles: f64,
}

impl Work {
    /// How many instructions enter the core; about half of the loads are operands of others, and about half of the
    /// arithmetic of places is part of them.
    pub fn instructions(&self) -> f64 {
        self.arithmetic + self.divisions + self.single + 0.5 * self.loads + self.stores + 0.5 * self.integer
    }

    /// The cycles in which the units are done with it.
    pub fn cycles_on(&self, core: &Core) -> f64 {
        let divided = self.divisions / core.divisions[0] + self.single / core.divisions[1];
        let arithmetic = (self.arithmetic + self.divisions + self.single) / core.arithmetic;
        let memory = (self.loads / core.loads).max(self.stores / core.stores);
        arithmetic.max(divided).max(memory).max(self.instructions() / ISSUE) + self.cycles
    }
}

impl Add for Work {
    type Output = Work;

    fn add(self, other: Work) -> Work {
        Work {
            arithmetic: self.arithmetic + other.arithmetic,
            divisions: self.divisions + other.divisions,
            single: self.single + other.single,
            loads: self.loads + other.loads,
            stores: self.stores + other.stores,
            integer: self.integer + other.integer,
            cycles: self.cycles + other.cycles,
        }
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Work) {
        *self = *self + other;
    }
}

impl Mul<f64> for Work {
    type Output = Work;

    fn mul(self, by: f64) -> Work {
        Work {
            arithmetic: self.arithmetic * by,
            divisions: self.divisions * by,
            single: self.single * by,
            loads: self.loads * by,
            stores: self.stores * by,
            integer: self.integer * by,
            cycles: self.cycles * by,
        }
    }
}

/// How the results of a function's instructions are used.
pub struct Uses {
    /// Of each value: in how many places it is read, and in how many of these by a multiply-add.
    counts: HashMap<Value, (u32, u32)>,
}

impl Uses {
    /// Counts the uses in a function.
    pub fn of(function: &Function) -> Self {
        let mut counts: HashMap<Value, (u32, u32)> = HashMap::new();
        for block in function.layout.blocks() {
            for inst in function.layout.block_insts(block) {
                let fused = function.dfg.insts[inst].opcode() == Opcode::Fma;
                for value in function.dfg.inst_values(inst) {
                    let count = counts.entry(value).or_default();
                    count.0 += 1;
                    count.1 += u32::from(fused);
                }
            }
        }
        Self { counts }
    }

    fn all(&self, value: Value) -> u32 {
        self.counts.get(&value).map_or(0, |count| count.0)
    }

    fn only_fused(&self, value: Value) -> bool {
        self.counts.get(&value).is_some_and(|(all, fused)| all == fused)
    }
}

/// What an instruction takes, and after how many cycles its result is there.
pub fn of(function: &Function, uses: &Uses, inst: Inst, core: &Core) -> (Work, f64) {
    let dfg = &function.dfg;
    let opcode = dfg.insts[inst].opcode();
    let result = dfg.inst_results(inst).first().copied();
    let ty = result.map_or(types::INVALID, |value| dfg.value_type(value));
    let free = (Work::default(), 0.0);
    let arithmetic = |n: f64, latency: f64| (Work { arithmetic: n, ..Work::default() }, latency);
    let integer = |n: f64, latency: f64| (Work { integer: n, ..Work::default() }, latency);
    let operand = |n: usize| dfg.inst_args(inst)[n];
    let kept = opcode.can_store() || opcode.can_load() || opcode.is_branch() || opcode.is_call();
    if !kept && result.is_none_or(|value| uses.all(value) == 0) {
        return free;
    }
    match opcode {
        Opcode::Load | Opcode::Uload8 | Opcode::Sload8 | Opcode::Uload32 | Opcode::Sload32 => {
            (Work { loads: 1.0, ..Work::default() }, LOAD)
        }
        Opcode::Store | Opcode::Istore8 | Opcode::Istore32 => (Work { stores: 1.0, ..Work::default() }, FORWARD),
        Opcode::Fdiv | Opcode::Sqrt if ty.is_vector() => {
            (Work { divisions: 1.0, ..Work::default() }, 10.0 + 0.5 / core.divisions[0])
        }
        Opcode::Fdiv | Opcode::Sqrt => (Work { single: 1.0, ..Work::default() }, 12.0),
        Opcode::Fneg if result.is_some_and(|value| uses.only_fused(value)) => free,
        Opcode::Fadd | Opcode::Fsub | Opcode::Fmul | Opcode::Fma => arithmetic(1.0, core.latency),
        Opcode::Floor | Opcode::Ceil | Opcode::Trunc | Opcode::Nearest => arithmetic(2.0, 2.0 * core.latency),
        Opcode::Fcmp | Opcode::Fmin | Opcode::Fmax => arithmetic(1.0, 3.0),
        Opcode::FcvtFromSint | Opcode::FcvtFromUint => arithmetic(2.0, 5.0),
        Opcode::Splat if is_given(function, operand(0)) => free,
        Opcode::Splat => arithmetic(1.0, 3.0),
        Opcode::ScalarToVector => free,
        // Lane 0 is there as it is; others are shuffled down, from behind 128 bits in two steps.
        Opcode::Extractlane => match (&dfg.insts[inst], dfg.value_type(operand(0)).bits()) {
            (InstructionData::BinaryImm8 { imm: 0, .. }, _) => free,
            (_, 0..=128) => arithmetic(1.0, 2.0),
            _ => arithmetic(2.0, 4.0),
        },
        Opcode::Insertlane => match ty.bits() {
            0..=128 => arithmetic(1.0, 1.0),
            _ => arithmetic(2.0, 4.0),
        },
        Opcode::VanyTrue | Opcode::VallTrue => arithmetic(1.0, 3.0),
        Opcode::Iconst | Opcode::F32const | Opcode::F64const | Opcode::Vconst | Opcode::Jump | Opcode::Return => free,
        Opcode::Bitcast => match (ty, dfg.value_type(operand(0))) {
            (to, from) if in_vectors(to) == in_vectors(from) => free,
            _ => arithmetic(1.0, 2.0),
        },
        Opcode::Udiv | Opcode::Urem | Opcode::Sdiv | Opcode::Srem => {
            (Work { integer: 4.0, cycles: 4.0, ..Work::default() }, INTEGER_DIVISION)
        }
        Opcode::Imul if !ty.is_vector() => integer(1.0, 3.0),
        Opcode::Icmp if !ty.is_vector() => integer(0.5, 0.5),
        Opcode::Brif => integer(1.0, 0.5),
        Opcode::Call => match primitive(function, inst) {
            Some(primitive) => own(primitive, core),
            None => called(function, inst),
        },
        Opcode::CallIndirect => called(function, inst),
        _ if in_vectors(ty) => arithmetic(1.0, 1.0),
        _ => integer(1.0, 1.0),
    }
}

/// Whether values of a type live in vector registers.
fn in_vectors(ty: Type) -> bool {
    ty.is_vector() || ty.is_float()
}

/// Whether a scalar is loaded or a constant, so that a vector of it needs no instruction of its own.
fn is_given(function: &Function, value: Value) -> bool {
    let ValueDef::Result(inst, _) = function.dfg.value_def(value) else { return false };
    matches!(function.dfg.insts[inst].opcode(), Opcode::Load | Opcode::F32const | Opcode::F64const | Opcode::Iconst)
}

/// The operation of the machine that a call stands for.
fn primitive(function: &Function, inst: Inst) -> Option<Primitive> {
    let InstructionData::Call { func_ref, .. } = function.dfg.insts[inst] else { return None };
    let ExternalName::User(name) = function.dfg.ext_funcs[func_ref].name else { return None };
    let name = function.params.user_named_funcs().get(name)?;
    Primitive::ALL.into_iter().find(|primitive| primitive.name() == *name)
}

/// What an operation that CLIF does not have takes, and its latency.
fn own(primitive: Primitive, core: &Core) -> (Work, f64) {
    match primitive {
        Primitive::Scale | Primitive::Fraction => (Work { arithmetic: 2.0, ..Work::default() }, 2.0 * core.latency),
        Primitive::Mantissa => (Work { arithmetic: 1.0, ..Work::default() }, core.latency),
        Primitive::LookUp | Primitive::Move => (Work { arithmetic: 1.0, ..Work::default() }, 3.0),
        Primitive::Prefetch => (Work { loads: 1.0, ..Work::default() }, 0.0),
        Primitive::Stream => (Work { stores: 1.0, ..Work::default() }, FORWARD),
        Primitive::Status | Primitive::SetStatus => {
            (Work { stores: 1.0, loads: 1.0, integer: 2.0, ..Work::default() }, FORWARD + LOAD)
        }
    }
}

/// A call of a routine: of what is not cold, that is linear systems, of which the order, the number and the right sides are
/// known.
fn called(function: &Function, inst: Inst) -> (Work, f64) {
    let known = |value: Value| number(function, value).filter(|n| *n > 0).map_or(1.0, |n| n as f64);
    let arguments = function.dfg.inst_args(inst);
    let [_, _, _, n, systems, sides, ..] = arguments[..] else { return (Work::default(), 50.0) };
    let (n, systems, sides) = (known(n), known(systems), known(sides));
    // A third of the cube multiply-adds to factor, a square for each side, one after the other along rows.
    let cycles = systems * (20.0 + n * 25.0 + n * n * n / 4.0 + 2.0 * n * n * sides);
    (Work { cycles, ..Work::default() }, cycles)
}

/// An integer constant.
pub fn number(function: &Function, value: Value) -> Option<i64> {
    let ValueDef::Result(inst, _) = function.dfg.value_def(value) else { return None };
    match function.dfg.insts[inst] {
        InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => Some(imm.bits()),
        _ => None,
    }
}
