//! Machine instructions for CLIF.
//!
//! Blocks are taken in postorder and each block from its end, so that all uses of a value are known when its
//! instruction is reached: one that nobody wants is left out, and one that a later instruction has taken in (a load, a
//! comparison, an address) is never wanted. [`Select::reg`] and its like say that a value is wanted.
//!
//! Truth vectors (results of comparisons, and logic on them) live in mask registers under AVX-512, and become vectors
//! of ones and zeros only where something reads them so.
//!
//! `int`, `float`, `lanes` and `control` know the instructions, `address` what memory operands can say, `idiom` the
//! groups of instructions that become one.

mod address;
mod control;
mod float;
mod idiom;
mod int;
mod lanes;

use std::collections::HashMap;

use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{self, Function, Inst, InstructionData, Opcode, Type, Value, ValueDef, types};
use cranelift_codegen::loop_analysis::LoopAnalysis;
use iced_x86::Code;
use regalloc2::VReg;

use crate::inst::{Access, Block, Constant, Edge, INT, Ins, Kind, Loop, MASK, Machine, Rm, VEC, View};
use crate::table::Op;
use crate::{Level, Unsupported};

type Result<T> = std::result::Result<T, Unsupported>;

/// How many lanes' worth of a register an operation works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Scalar,
    W128,
    W256,
    W512,
}

/// The shape of a float or vector type: its width, and 0 for 32-bit lanes, 1 for 64-bit lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) width: Width,
    pub(super) lane: usize,
}

impl Shape {
    pub(super) fn view(self) -> View {
        match self.width {
            Width::Scalar | Width::W128 => View::Xmm,
            Width::W256 => View::Ymm,
            Width::W512 => View::Zmm,
        }
    }

    /// The bytes of a lane.
    pub(super) fn lane_bytes(self) -> u8 {
        if self.lane == 0 { 4 } else { 8 }
    }

    /// The bytes of the register that it takes.
    pub(super) fn bytes(self) -> u8 {
        match self.width {
            Width::Scalar | Width::W128 => 16,
            Width::W256 => 32,
            Width::W512 => 64,
        }
    }

    /// How many lanes it has.
    pub(super) fn lanes(self) -> u8 {
        if self.width == Width::Scalar { 1 } else { self.bytes() / self.lane_bytes() }
    }

    /// The same in all of a register.
    pub(super) fn packed(self) -> Shape {
        Shape { width: if self.width == Width::Scalar { Width::W128 } else { self.width }, ..self }
    }
}

pub(super) struct Select<'f> {
    f: &'f Function,
    level: Level,
    out: Machine,
    /// The register of each value that is wanted.
    regs: Vec<Option<VReg>>,
    /// The mask register of each truth vector that is wanted as such.
    masks: Vec<Option<VReg>>,
    /// How often each value is used.
    uses: Vec<u32>,
    /// Whether some use is in another block than the definition.
    leaves: Vec<bool>,
    /// Whether all bits of each lane are the same.
    truth: Vec<bool>,
    /// For `t`, the value `t - c`, for the idioms.
    differences: HashMap<Value, Value>,
    /// How many writes to memory precede an instruction in its block.
    epoch: Vec<u32>,
    /// The block in which a value was last wanted.
    wanted_in: Vec<Option<ir::Block>>,
    constants: HashMap<Constant, usize>,
    /// Where explicit stack slots start.
    slots: Vec<u32>,
    block: ir::Block,
    inst: Inst,
    /// What the current CLIF instruction has become so far, in order.
    now: Vec<Ins>,
}

/// Selects the instructions of a function.
pub(crate) fn select(f: &Function, level: Level) -> Result<Machine> {
    let cfg = ControlFlowGraph::with_function(f);
    let domtree = DominatorTree::with_function(f, &cfg);
    let mut loops = LoopAnalysis::new();
    loops.compute(f, &cfg, &domtree);
    let Some(entry) = f.layout.entry_block() else { return Err(Unsupported("a function without code".into())) };
    let plan = Order::new(f, &domtree, &loops, entry);

    let mut select = Select::new(f, level, entry);
    select.slots();
    let postorder: Vec<ir::Block> = domtree.cfg_postorder().to_vec();
    select.survey(postorder.iter().rev().copied())?;
    let mut blocks: Vec<Block> = plan.blocks.clone();
    for &block in &postorder {
        select.block(block, &plan, &mut blocks)?;
    }
    // What starts with parameters, and the registers that nobody wanted.
    for &block in &postorder {
        let at = plan.index[&block];
        let params = f.dfg.block_params(block).to_vec();
        let params: Vec<VReg> = params.into_iter().map(|p| select.own(p)).collect();
        if block == entry {
            let ins = select.entry(&params)?;
            blocks[at].insts.push(ins);
        } else {
            blocks[at].params = params;
        }
        blocks[at].insts.reverse();
    }
    select.out.blocks = blocks;
    select.out.loops = plan.loops;
    Ok(select.out)
}

/// The order of blocks, those on critical edges included.
pub(super) struct Order {
    blocks: Vec<Block>,
    index: HashMap<ir::Block, usize>,
    /// The block on an edge, by the block that it leaves and the number of its successor.
    edges: HashMap<(ir::Block, usize), usize>,
    loops: Vec<Loop>,
}

impl Order {
    fn new(f: &Function, domtree: &DominatorTree, loops: &LoopAnalysis, entry: ir::Block) -> Order {
        let mut arrivals: HashMap<ir::Block, usize> = HashMap::new();
        let reached: Vec<ir::Block> = f.layout.blocks().filter(|&b| domtree.is_reachable(b)).collect();
        for &block in &reached {
            for to in successors(f, block) {
                *arrivals.entry(to).or_default() += 1;
            }
        }
        let numbers: HashMap<_, usize> = loops.loops().enumerate().map(|(n, l)| (l, n)).collect();
        let (mut blocks, mut index, mut edges) = (Vec::new(), HashMap::new(), HashMap::new());
        let is_cold = |b: ir::Block| f.layout.is_cold(b);
        let (warm, cold): (Vec<_>, Vec<_>) = reached.iter().partition(|&&b| b == entry || !is_cold(b));
        for block in warm.into_iter().chain(cold) {
            let within = loops.innermost_loop(block);
            let depth = loops.loop_level(block).level();
            index.insert(block, blocks.len());
            let cold = is_cold(block);
            blocks.push(Block { depth, within: within.map(|l| numbers[&l]), cold, ..Block::default() });
            let to = successors(f, block);
            for (n, &to) in to.iter().enumerate().filter(|(_, to)| arrivals[to] > 1) {
                if successors(f, block).len() < 2 {
                    continue;
                }
                let mut around = within;
                while let Some(inner) = around
                    && !loops.is_in_loop(to, inner)
                {
                    around = loops.loop_parent(inner);
                }
                let depth = around.map_or(0, |l| loops.loop_level(loops.loop_header(l)).level());
                edges.insert((block, n), blocks.len());
                let cold = cold || is_cold(to);
                blocks.push(Block { depth, within: around.map(|l| numbers[&l]), cold, ..Block::default() });
            }
        }
        let loops = loops
            .loops()
            .map(|l| Loop { header: index[&loops.loop_header(l)], parent: loops.loop_parent(l).map(|p| numbers[&p]) })
            .collect();
        Order { blocks, index, edges, loops }
    }
}

fn successors(f: &Function, block: ir::Block) -> Vec<ir::Block> {
    let last = f.layout.last_inst(block).expect("blocks are filled");
    f.dfg.insts[last]
        .branch_destination(&f.dfg.jump_tables, &f.dfg.exception_tables)
        .iter()
        .map(|call| call.block(&f.dfg.value_lists))
        .collect()
}

impl<'f> Select<'f> {
    fn new(f: &'f Function, level: Level, entry: ir::Block) -> Self {
        let values = f.dfg.num_values();
        Select {
            f,
            level,
            out: Machine::default(),
            regs: vec![None; values],
            masks: vec![None; values],
            uses: vec![0; values],
            leaves: vec![false; values],
            truth: vec![false; values],
            differences: HashMap::new(),
            epoch: vec![0; f.dfg.num_insts()],
            wanted_in: vec![None; values],
            constants: HashMap::new(),
            slots: Vec::new(),
            block: entry,
            inst: f.layout.first_inst(entry).expect("the entry is filled"),
            now: Vec::new(),
        }
    }

    /// Gives explicit stack slots their places.
    fn slots(&mut self) {
        let mut at = 0u32;
        for (_, slot) in self.f.sized_stack_slots.iter() {
            at = at.next_multiple_of(1 << slot.align_shift.min(6));
            self.slots.push(at);
            at += slot.size;
        }
        self.out.stack = at;
    }

    /// Counts uses, finds truth vectors and the order of writes. Blocks come after those that dominate them.
    fn survey(&mut self, blocks: impl Iterator<Item = ir::Block>) -> Result<()> {
        let f = self.f;
        for block in blocks {
            for &param in f.dfg.block_params(block) {
                self.note_type(f.dfg.value_type(param))?;
            }
            let mut epoch = 0;
            for inst in f.layout.block_insts(block) {
                self.epoch[inst.as_u32() as usize] = epoch;
                let data = &f.dfg.insts[inst];
                let opcode = data.opcode();
                if opcode.can_store() || opcode.is_call() {
                    epoch += 1;
                }
                for value in f.dfg.inst_values(inst) {
                    let mut value = f.dfg.resolve_aliases(value);
                    self.uses[value.as_u32() as usize] += 1;
                    loop {
                        self.leaves[value.as_u32() as usize] |= self.home(value) != Some(block);
                        let below = self.alias(value);
                        if below == value {
                            break;
                        }
                        value = below;
                    }
                }
                for &result in f.dfg.inst_results(inst) {
                    self.note_type(f.dfg.value_type(result))?;
                    self.truth[result.as_u32() as usize] = self.is_truth(inst, result);
                }
                if opcode == Opcode::Fsub {
                    let [a, b] = self.args2(inst);
                    if self.constant_of(b).is_some() {
                        let result = f.dfg.first_result(inst);
                        self.differences.insert(self.chase(a), result);
                    }
                }
            }
        }
        Ok(())
    }

    fn note_type(&mut self, ty: Type) -> Result<()> {
        if ty.is_vector() {
            let bytes = ty.bytes();
            if !matches!(bytes, 16 | 32 | 64) || bytes > self.level.vector_bytes() {
                return Err(Unsupported(format!("values of type {ty}")));
            }
            self.out.widest = self.out.widest.max(bytes as u8);
        } else if ty.bits() > 64 || matches!(ty, types::F16) {
            return Err(Unsupported(format!("values of type {ty}")));
        }
        Ok(())
    }

    fn is_truth(&self, inst: Inst, result: Value) -> bool {
        let ty = self.ty(result);
        if !ty.is_vector() || ty.lane_bits() < 32 {
            return false;
        }
        let of = |v: Value| self.truth[self.f.dfg.resolve_aliases(v).as_u32() as usize];
        let args = self.f.dfg.inst_args(inst);
        match self.f.dfg.insts[inst].opcode() {
            Opcode::Fcmp | Opcode::Icmp => true,
            Opcode::Band | Opcode::Bor | Opcode::Bxor => of(args[0]) && of(args[1]),
            Opcode::Bnot => of(args[0]),
            Opcode::Bitcast => of(args[0]) && self.ty(args[0]).lane_count() == ty.lane_count(),
            _ => false,
        }
    }

    /// Selects one block, from its end.
    fn block(&mut self, block: ir::Block, order: &Order, blocks: &mut [Block]) -> Result<()> {
        self.block = block;
        let f = self.f;
        let at = order.index[&block];
        let mut inst = f.layout.last_inst(block);
        let mut last = true;
        while let Some(current) = inst {
            self.inst = current;
            if last {
                self.terminator(current, order, blocks)?;
                last = false;
            } else if self.is_wanted(current) {
                self.instruction(current)?;
            }
            let now = std::mem::take(&mut self.now);
            blocks[at].insts.extend(now.into_iter().rev());
            inst = f.layout.prev_inst(current);
        }
        Ok(())
    }

    fn is_wanted(&self, inst: Inst) -> bool {
        let opcode = self.f.dfg.insts[inst].opcode();
        let results = self.f.dfg.inst_results(inst);
        let pure = !(opcode.can_store() || opcode.is_call() || opcode.can_trap() || opcode.other_side_effects())
            || (opcode.can_load() && !opcode.can_store() && !opcode.is_call());
        if !pure || self.is_touch(inst) {
            return true;
        }
        results.iter().any(|r| {
            let r = r.as_u32() as usize;
            self.regs[r].is_some() || self.masks[r].is_some()
        })
    }

    /// Whether an access is there only for its cache line: a load that may trap and that nothing uses.
    fn is_touch(&self, inst: Inst) -> bool {
        let InstructionData::Load { opcode: Opcode::Load, flags, .. } = self.data(inst) else { return false };
        !self.f.dfg.mem_flags[flags].notrap() && self.uses(self.f.dfg.first_result(inst)) == 0
    }

    fn instruction(&mut self, inst: Inst) -> Result<()> {
        use Opcode::*;
        let data = self.f.dfg.insts[inst];
        let opcode = data.opcode();
        let result = self.f.dfg.inst_results(inst).first().copied();
        let ty = result.map_or(types::INVALID, |r| self.ty(r));
        match opcode {
            Nop | SequencePoint => Ok(()),
            Load | Uload8 | Uload16 | Uload32 | Sload8 | Sload16 | Sload32 => self.load(inst),
            Store | Istore8 | Istore16 | Istore32 => self.store(inst),
            StackAddr => self.stack_address(inst),
            Call => self.call(inst),
            Fcmp => self.fcmp(inst),
            Icmp if ty.is_vector() => self.icmp_vector(inst),
            Icmp => self.icmp(inst),
            VanyTrue | VallTrue => self.truth_of(inst),
            Bitcast => self.bitcast(inst),
            Band | Bor | Bxor | Bnot if ty.is_vector() => self.logic(inst),
            Select if ty.is_int() && !ty.is_vector() => self.select_int(inst),
            Select => self.select_float(inst),
            Bitselect if ty.is_vector() => self.bitselect(inst),
            Splat | ScalarToVector | Insertlane | Extractlane => self.move_lanes(inst),
            Fadd | Fsub | Fmul | Fdiv | Fma | Fneg | Fabs | Fcopysign | Fmin | Fmax | Sqrt | Ceil | Floor | Trunc
            | Nearest | FcvtFromSint | FcvtFromUint | Fpromote | Fdemote => self.float(inst),
            _ if ty.is_vector() && ty.lane_bits() >= 32 => self.int_vector(inst),
            _ if ty.is_int() && !ty.is_vector() => self.int(inst),
            _ => Err(self.refuse(inst)),
        }
    }

    /// The error for an instruction without code.
    fn refuse(&self, inst: Inst) -> Unsupported {
        Unsupported(format!("`{}`", self.f.dfg.display_inst(inst)))
    }

    // What values are.

    fn ty(&self, value: Value) -> Type {
        self.f.dfg.value_type(value)
    }

    fn data(&self, inst: Inst) -> InstructionData {
        self.f.dfg.insts[inst]
    }

    fn args2(&self, inst: Inst) -> [Value; 2] {
        let args = self.f.dfg.inst_args(inst);
        [args[0], args[1]]
    }

    fn args3(&self, inst: Inst) -> [Value; 3] {
        let args = self.f.dfg.inst_args(inst);
        [args[0], args[1], args[2]]
    }

    /// The instruction behind a value.
    fn def(&self, value: Value) -> Option<Inst> {
        match self.f.dfg.value_def(self.f.dfg.resolve_aliases(value)) {
            ValueDef::Result(inst, 0) => Some(inst),
            _ => None,
        }
    }

    /// The instruction behind a value, if it is of this kind.
    fn def_of(&self, value: Value, opcode: Opcode) -> Option<Inst> {
        self.def(value).filter(|&inst| self.f.dfg.insts[inst].opcode() == opcode)
    }

    /// The block that a value is defined in.
    fn home(&self, value: Value) -> Option<ir::Block> {
        match self.f.dfg.value_def(value) {
            ValueDef::Result(inst, _) => self.f.layout.inst_block(inst),
            ValueDef::Param(block, _) => Some(block),
            ValueDef::Union(..) => None,
        }
    }

    /// The instruction behind a value, if it is in this block.
    fn def_here(&self, value: Value) -> Option<Inst> {
        self.def(value).filter(|&inst| self.f.layout.inst_block(inst) == Some(self.block))
    }

    fn uses(&self, value: Value) -> u32 {
        self.uses[self.f.dfg.resolve_aliases(value).as_u32() as usize]
    }

    /// One step towards the value whose register this one shares.
    fn alias(&self, value: Value) -> Value {
        let value = self.f.dfg.resolve_aliases(value);
        let Some(inst) = self.def(value) else { return value };
        let data = &self.f.dfg.insts[inst];
        let args = self.f.dfg.inst_args(inst);
        let in_vectors = |v: Value| self.ty(v).is_vector() || self.ty(v).is_float();
        let shared = match data {
            InstructionData::LoadNoOffset { opcode: Opcode::Bitcast, .. } => in_vectors(args[0]) && in_vectors(value),
            InstructionData::Unary { opcode: Opcode::Ireduce, .. } => true,
            InstructionData::BinaryImm8 { opcode: Opcode::Extractlane, imm: 0, .. } => self.ty(value).is_float(),
            _ => false,
        };
        if shared { self.f.dfg.resolve_aliases(args[0]) } else { value }
    }

    /// The value whose register this one shares.
    fn chase(&self, value: Value) -> Value {
        let mut value = self.f.dfg.resolve_aliases(value);
        loop {
            let below = self.alias(value);
            if below == value {
                return value;
            }
            value = below;
        }
    }

    /// The integer, where it is constant, as the type has it.
    fn int_constant(&self, value: Value) -> Option<i64> {
        let inst = self.def_of(value, Opcode::Iconst)?;
        let InstructionData::UnaryImm { imm, .. } = self.f.dfg.insts[inst] else { return None };
        let unused = 64 - self.ty(value).bits();
        Some(imm.bits() << unused >> unused)
    }

    /// The constant in a vector register, where it is one.
    fn constant_of(&self, value: Value) -> Option<Constant> {
        let inst = self.def(self.chase(value))?;
        let bits = match self.f.dfg.insts[inst] {
            InstructionData::UnaryIeee32 { opcode: Opcode::F32const, imm } => {
                return Some(splat(4, u64::from(imm.bits())));
            }
            InstructionData::UnaryIeee64 { opcode: Opcode::F64const, imm } => return Some(splat(8, imm.bits())),
            InstructionData::UnaryConst { opcode: Opcode::Vconst, constant_handle } => {
                let bytes = self.f.dfg.constants.get(constant_handle).as_slice();
                for lane in [4u8, 8] {
                    let (first, size) = (&bytes[..usize::from(lane)], usize::from(lane));
                    if bytes.chunks(size).all(|chunk| chunk == first) {
                        let bits = first.iter().rev().fold(0, |bits, &b| bits << 8 | u64::from(b));
                        return Some(splat(lane, bits));
                    }
                }
                return Some(Constant::Bytes(bytes.to_vec()));
            }
            InstructionData::Unary { opcode: Opcode::Splat, arg } => match self.int_constant(arg) {
                Some(n) => n as u64,
                None => {
                    return self
                        .def(arg)
                        .filter(|&i| matches!(self.f.dfg.insts[i].opcode(), Opcode::F32const | Opcode::F64const))
                        .and_then(|_| self.constant_of(arg));
                }
            },
            _ => return None,
        };
        match self.ty(self.chase(value)).lane_bits() {
            32 => Some(splat(4, bits & 0xffff_ffff)),
            64 => Some(splat(8, bits)),
            _ => None,
        }
    }

    /// Whether two values are known to be the same.
    fn same(&self, a: Value, b: Value) -> bool {
        let (a, b) = (self.chase(a), self.chase(b));
        a == b || self.constant_of(a).is_some_and(|c| Some(c) == self.constant_of(b))
    }

    /// Whether the value is used for the last time here: its register can be written.
    fn dies(&self, value: Value) -> bool {
        let value = self.chase(value);
        let at = value.as_u32() as usize;
        self.home(value) == Some(self.block)
            && !self.leaves[at]
            && self.wanted_in[at] != Some(self.block)
            && self.constant_of(value).is_none()
            && self.int_constant(value).is_none()
    }

    fn is_truth_value(&self, value: Value) -> bool {
        self.truth[self.f.dfg.resolve_aliases(value).as_u32() as usize]
    }

    /// The shape of a type in vector registers.
    fn shape(&self, ty: Type) -> Result<Shape> {
        let lane = match ty.lane_bits() {
            32 => 0,
            64 => 1,
            _ if ty.is_vector() => 0,
            _ => return Err(Unsupported(format!("values of type {ty}"))),
        };
        let width = match ty.bytes() {
            16 => Width::W128,
            32 => Width::W256,
            64 if self.level == Level::Avx512 => Width::W512,
            4 | 8 if !ty.is_vector() => Width::Scalar,
            _ => return Err(Unsupported(format!("values of type {ty}"))),
        };
        Ok(Shape { width, lane })
    }

    /// The encoding of an operation.
    fn code(&self, op: &Op, shape: Shape) -> Result<Code> {
        let row = &op[shape.lane];
        let code = match (self.level, shape.width) {
            (Level::Avx2, Width::Scalar) => row.vex[0],
            (Level::Avx2, Width::W128) => row.vex[1],
            (Level::Avx2, Width::W256) => row.vex[2],
            (Level::Avx2, Width::W512) => Code::INVALID,
            (Level::Avx512, Width::Scalar) => row.evex[0],
            (Level::Avx512, Width::W128) => row.evex[1],
            (Level::Avx512, Width::W256) => row.evex[2],
            (Level::Avx512, Width::W512) => row.evex[3],
        };
        match code {
            Code::INVALID => Err(Unsupported(format!("`{}` without AVX-512", self.f.dfg.display_inst(self.inst)))),
            code => Ok(code),
        }
    }

    fn evex(&self) -> bool {
        self.level == Level::Avx512
    }

    /// What the memory operand of an operation of this shape may be.
    fn access(&self, shape: Shape) -> Access {
        match shape.width {
            Width::Scalar => Access { bytes: shape.lane_bytes(), broadcast: 0 },
            _ if self.evex() => Access { bytes: shape.bytes(), broadcast: shape.lane_bytes() },
            _ => Access { bytes: shape.bytes(), broadcast: 0 },
        }
    }

    // What is wanted of values.

    fn push(&mut self, ins: Ins) {
        self.now.push(ins);
    }

    fn temp(&mut self) -> VReg {
        self.out.vreg(VEC)
    }

    fn temp_int(&mut self) -> VReg {
        self.out.vreg(INT)
    }

    fn temp_mask(&mut self) -> VReg {
        self.out.vreg(MASK)
    }

    fn want(&mut self, value: Value) {
        self.wanted_in[value.as_u32() as usize] = Some(self.block);
    }

    /// The register that a value itself is defined in.
    fn own(&mut self, value: Value) -> VReg {
        let at = value.as_u32() as usize;
        if let Some(reg) = self.regs[at] {
            return reg;
        }
        let ty = self.ty(value);
        let reg = self.out.vreg(if ty.is_int() && !ty.is_vector() { INT } else { VEC });
        self.regs[at] = Some(reg);
        reg
    }

    /// The register that holds a value.
    fn reg(&mut self, value: Value) -> VReg {
        let bytes = if self.ty(value).is_vector() { self.ty(value).bytes() as u8 } else { 16 };
        let value = self.chase(value);
        if let Some(constant) = self.constant_of(value) {
            return self.constant(constant, bytes);
        }
        if let Some(n) = self.int_constant(value) {
            let reg = self.temp_int();
            self.push(load_int(reg, n));
            return reg;
        }
        self.want(value);
        self.own(value)
    }

    /// The mask register that holds a truth vector; AVX-512 only.
    fn mask(&mut self, value: Value) -> VReg {
        let mut value = self.f.dfg.resolve_aliases(value);
        while let Some(inst) = self.def_of(value, Opcode::Bitcast) {
            value = self.f.dfg.resolve_aliases(self.f.dfg.inst_args(inst)[0]);
        }
        self.want(value);
        let at = value.as_u32() as usize;
        if let Some(mask) = self.masks[at] {
            return mask;
        }
        let mask = self.temp_mask();
        self.masks[at] = Some(mask);
        mask
    }

    /// A constant in a vector register of at least so many bytes.
    fn constant(&mut self, constant: Constant, bytes: u8) -> VReg {
        if let Some(&at) = self.constants.get(&constant) {
            let known = &mut self.out.constants[at];
            known.2 = known.2.max(bytes);
            return known.0;
        }
        let reg = self.temp();
        self.constants.insert(constant.clone(), self.out.constants.len());
        self.out.constants.push((reg, constant, bytes));
        reg
    }

    fn bits(&mut self, shape: Shape, bits: u64) -> VReg {
        let constant = splat(shape.lane_bytes(), if shape.lane == 0 { bits & 0xffff_ffff } else { bits });
        self.constant(constant, shape.bytes())
    }

    /// The load that gives a value, if it can go into the current instruction and has that many bytes.
    fn sinks(&self, value: Value, bytes: u32) -> Option<Inst> {
        let mut value = self.f.dfg.resolve_aliases(value);
        loop {
            if self.uses(value) != 1 {
                return None;
            }
            let inst = self.def_here(value)?;
            match self.f.dfg.insts[inst] {
                InstructionData::Load { opcode: Opcode::Load, flags, .. } => {
                    let readonly = self.f.dfg.mem_flags[flags].readonly();
                    let epoch = |i: Inst| self.epoch[i.as_u32() as usize];
                    let still = readonly || epoch(inst) == epoch(self.inst);
                    return (still && self.ty(value).bytes() == bytes).then_some(inst);
                }
                InstructionData::LoadNoOffset { opcode: Opcode::Bitcast, .. } => {
                    value = self.f.dfg.resolve_aliases(self.f.dfg.inst_args(inst)[0]);
                }
                _ => return None,
            }
        }
    }

    /// The load of one lane of that size that a vector is a splat of, if both can go into the current instruction.
    fn sinks_splat(&self, value: Value, lane: u8) -> Option<Inst> {
        if lane == 0 || self.uses(value) != 1 {
            return None;
        }
        let splat = self.def_here(value)?;
        if self.f.dfg.insts[splat].opcode() != Opcode::Splat {
            return None;
        }
        self.sinks(self.f.dfg.inst_args(splat)[0], u32::from(lane))
    }

    /// Whether a memory operand would serve.
    fn may_be_memory(&self, value: Value, access: Access) -> bool {
        self.constant_of(value).is_some()
            || self.sinks(value, u32::from(access.bytes)).is_some()
            || self.sinks_splat(value, access.broadcast).is_some()
    }

    /// A value as the operand that may be memory.
    fn rm(&mut self, value: Value, access: Access) -> Rm {
        if let Some(load) = self.sinks(value, u32::from(access.bytes)) {
            return Rm::Mem(self.address_of(load));
        }
        if let Some(load) = self.sinks_splat(value, access.broadcast) {
            let mut mem = self.address_of(load);
            mem.broadcast = true;
            return Rm::Mem(mem);
        }
        Rm::Reg(self.reg(value))
    }

    /// Where the result of the current instruction goes.
    fn result(&mut self) -> VReg {
        let result = self.f.dfg.first_result(self.inst);
        self.own(result)
    }
}

/// A constant in its shortest form.
pub(super) fn splat(lane: u8, bits: u64) -> Constant {
    if lane == 8 && bits >> 32 == bits & 0xffff_ffff {
        return Constant::Splat { lane: 4, bits: bits & 0xffff_ffff };
    }
    Constant::Splat { lane, bits }
}

/// An integer into a register; leaves the flags alone.
pub(super) fn load_int(reg: VReg, n: i64) -> Ins {
    if u32::try_from(n).is_ok() {
        return Ins::new(Code::Mov_r32_imm32).def(reg, View::R32).imm(n);
    }
    if i32::try_from(n).is_ok() {
        return Ins::new(Code::Mov_rm64_imm32).def(reg, View::R64).imm(n);
    }
    Ins::new(Code::Mov_r64_imm64).def(reg, View::R64).imm(n)
}

/// An edge, and what has to be done on it.
fn edge(to: usize, args: Vec<VReg>) -> Edge {
    Edge { to, args }
}

/// The end of a block that has one way on.
fn jump() -> Ins {
    Ins::of(Kind::Jump)
}
