//! Cranelift IR for layers with few states and few inputs: a step is a look-up.
//!
//! In: a [`Look`], which says how inputs, states and outputs lie in memory. Out: two functions of the form that
//! [`ssmc_runtime::kernel`] describes. The values of a step's inputs are one number, its *letter*, and those of the
//! states another, its *state*, below 16. `maps` has 16 bytes for each letter: the state behind each state. A byte
//! shuffle applies such a map to 16 states at once in one cycle, where a table look-up waits for memory.
//!
//! | function | slots | what it does |
//! | --- | --- | --- |
//! | [`walk`] | `Param(0)`: maps; `Param(1 + o)`: output `o` for each letter and state; inputs, states, outputs | runs the steps |
//! | [`compose`] | `Param(0)`: maps; inputs; `State(0)`: 16 bytes | puts the steps' maps behind the one that is there |

use std::collections::HashMap;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{AbiParam, BlockArg, Function, InstBuilder, MemFlagsData, Type, Value, types};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use ssmc_runtime::kernel::{Arguments, Buffer, Kind, Slot, Tensors};

/// How many states a map has.
pub const STATES: usize = 16;

/// How many steps stand in the body of a loop, of each chain.
const UNROLLED: usize = 8;

/// How many stretches of time are composed side by side: one alone waits for each of its shuffles.
const CHAINS: usize = 4;

/// How what a step reads and writes lies in memory.
#[derive(Clone, Debug)]
pub struct Look {
    /// The width of reals.
    pub bits: u32,
    /// The inputs: integers with a range, and truth values.
    pub inputs: Vec<Tensors>,
    /// The states, likewise.
    pub states: Vec<Tensors>,
    /// The outputs.
    pub outputs: Vec<Tensors>,
}

/// How many values an element has, where they are finitely many.
pub fn radix(tensors: &Tensors) -> Option<usize> {
    match (tensors.kind, tensors.below) {
        (Kind::Bool, _) => Some(2),
        (Kind::Int | Kind::Byte, Some(below)) => usize::try_from(below).ok(),
        _ => None,
    }
}

/// The planes of a tensor, as slots name them.
pub fn planes(tensors: &Tensors) -> &'static [bool] {
    if tensors.kind == Kind::Complex { &[false, true] } else { &[false] }
}

/// Whether the machine shuffles bytes by an instruction of its own.
pub fn can_shuffle(isa: &dyn TargetIsa) -> bool {
    match isa.name() {
        "x64" => isa.isa_flags().iter().any(|flag| flag.name == "has_ssse3" && flag.as_bool() == Some(true)),
        name => name == "aarch64",
    }
}

/// Emits the function that runs the steps.
pub fn walk(look: &Look, slots: &[Slot], call_conv: CallConv, isa: &dyn TargetIsa) -> Function {
    build(call_conv, isa, |b| {
        let mut emitter = Emitter::new(b, look, slots, isa);
        let code = emitter.encode();
        let start = emitter.b.ins().splat(types::I8X16, code);
        let end = if look.outputs.is_empty() { emitter.composed(start) } else { emitter.steps(start) };
        let code = emitter.b.ins().extractlane(end, 0);
        emitter.decode(code);
    })
}

/// Emits the function that composes the steps' maps.
pub fn compose(look: &Look, slots: &[Slot], call_conv: CallConv, isa: &dyn TargetIsa) -> Function {
    build(call_conv, isa, |b| {
        let mut emitter = Emitter::new(b, look, slots, isa);
        let place = emitter.pointer(Buffer::State(0), false);
        let flags = MemFlagsData::new().with_notrap();
        let start = emitter.b.ins().load(types::I8X16, flags, place, 0);
        let end = emitter.composed(start);
        emitter.b.ins().store(flags, end, place, 0);
    })
}

fn build(call_conv: CallConv, isa: &dyn TargetIsa, body: impl FnOnce(&mut FunctionBuilder<'_>)) -> Function {
    let mut function = Function::new();
    function.signature.call_conv = call_conv;
    function.signature.params.push(AbiParam::new(types::I64));
    let mut context = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut function, &mut context);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    body(&mut b);
    b.ins().return_(&[]);
    b.seal_all_blocks();
    b.finalize(isa.frontend_config());
    function
}

struct Emitter<'a, 'b, 'c> {
    b: &'a mut FunctionBuilder<'b>,
    look: &'c Look,
    pointers: HashMap<Slot, Value>,
    begin: Value,
    end: Value,
    x64: bool,
}

impl<'a, 'b, 'c> Emitter<'a, 'b, 'c> {
    fn new(b: &'a mut FunctionBuilder<'b>, look: &'c Look, slots: &[Slot], isa: &dyn TargetIsa) -> Self {
        let entry = b.current_block().expect("the builder stands in the entry");
        let arguments = b.block_params(entry)[0];
        let flags = MemFlagsData::trusted().with_readonly();
        let mut field = |offset: usize| b.ins().load(types::I64, flags, arguments, offset as i32);
        let table = field(std::mem::offset_of!(Arguments, pointers));
        let begin = field(std::mem::offset_of!(Arguments, begin));
        let end = field(std::mem::offset_of!(Arguments, end));
        let pointers = slots
            .iter()
            .enumerate()
            .map(|(n, slot)| (*slot, b.ins().load(types::I64, flags, table, n as i32 * 8)))
            .collect();
        Self { b, look, pointers, begin, end, x64: isa.name() == "x64" }
    }

    fn pointer(&self, buffer: Buffer, imaginary: bool) -> Value {
        self.pointers[&Slot { buffer, imaginary }]
    }

    /// An element that is an integer or a truth value, in 64 bits.
    fn digit(&mut self, kind: Kind, base: Value, offset: usize) -> Value {
        let flags = MemFlagsData::new().with_notrap().with_aligned();
        match kind {
            Kind::Int => self.b.ins().uload32(flags, base, offset as i32),
            _ => self.b.ins().uload8(types::I64, flags, base, offset as i32),
        }
    }

    /// The state's number: the elements as digits, the last one fastest.
    fn encode(&mut self) -> Value {
        let mut code = self.b.ins().iconst(types::I64, 0);
        for (s, state) in self.look.states.iter().enumerate() {
            let base = self.pointer(Buffer::State(s), false);
            for element in 0..state.size() {
                let digit = self.digit(state.kind, base, element * state.kind.bytes(self.look.bits));
                code = self.append(code, digit, state);
            }
        }
        self.b.ins().ireduce(types::I8, code)
    }

    fn append(&mut self, code: Value, digit: Value, tensors: &Tensors) -> Value {
        let radix = radix(tensors).expect("elements have finitely many values");
        let scaled = self.b.ins().imul_imm_s(code, radix as i64);
        self.b.ins().iadd(scaled, digit)
    }

    /// Puts the elements of the state with that number in their places.
    fn decode(&mut self, code: Value) {
        let mut code = self.b.ins().uextend(types::I32, code);
        let flags = MemFlagsData::new().with_notrap().with_aligned();
        for (s, state) in self.look.states.iter().enumerate().rev() {
            let base = self.pointer(Buffer::State(s), false);
            let radix = radix(state).expect("elements have finitely many values") as i64;
            for element in (0..state.size()).rev() {
                let digit = self.b.ins().urem_imm_u(code, radix);
                code = self.b.ins().udiv_imm_u(code, radix);
                let offset = (element * state.kind.bytes(self.look.bits)) as i32;
                match state.kind {
                    Kind::Int => self.b.ins().store(flags, digit, base, offset),
                    _ => self.b.ins().istore8(flags, digit, base, offset),
                };
            }
        }
    }

    /// All steps without their outputs: from the states (or the map) before them to what stands behind them. Stretches
    /// of equal length are composed side by side; what they leave follows step by step.
    fn composed(&mut self, start: Value) -> Value {
        let count = self.b.ins().isub(self.end, self.begin);
        let length = self.b.ins().udiv_imm_u(count, CHAINS as i64);
        let length = self.b.ins().band_imm_s(length, -(UNROLLED as i64));
        let first_end = self.b.ins().iadd(self.begin, length);
        let identity = self.b.func.dfg.constants.insert((0..STATES as u8).collect::<Vec<_>>().as_slice().into());
        let identity = self.b.ins().vconst(types::I8X16, identity);
        // How far the rows of each stretch lie from those of the first.
        let look = self.look;
        let apart: Vec<Vec<Value>> = (1..CHAINS)
            .map(|chain| {
                let steps = self.b.ins().imul_imm_s(length, chain as i64);
                look.inputs.iter().map(|input| self.bytes(input, steps)).collect()
            })
            .collect();

        let (header, body, exit) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let time = self.b.append_block_param(header, types::I64);
        let before: Vec<Value> = (0..CHAINS).map(|_| self.b.append_block_param(header, types::I8X16)).collect();
        let entering: Vec<BlockArg> = std::iter::once(self.begin).chain([identity; CHAINS]).map(Into::into).collect();
        self.b.ins().jump(header, &entering);
        self.b.switch_to_block(header);
        let more = self.b.ins().icmp(IntCC::SignedLessThan, time, first_end);
        self.b.ins().brif(more, body, &[], exit, &[]);
        self.b.switch_to_block(body);
        let first = self.input_rows(time);
        let mut rows = vec![first.clone()];
        for apart in &apart {
            rows.push(first.iter().zip(apart).map(|(&row, &apart)| self.b.ins().iadd(row, apart)).collect());
        }
        let mut after = before.clone();
        for step in 0..UNROLLED {
            for (rows, after) in rows.iter().zip(&mut after) {
                let letter = self.letter(step, rows);
                let map = self.map(letter);
                *after = self.shuffle(map, *after);
            }
        }
        let next = self.b.ins().iadd_imm_s(time, UNROLLED as i64);
        let again: Vec<BlockArg> = std::iter::once(next).chain(after).map(Into::into).collect();
        self.b.ins().jump(header, &again);
        self.b.switch_to_block(exit);
        let mut current = start;
        for map in before {
            current = self.shuffle(map, current);
        }
        let done = self.b.ins().imul_imm_s(length, CHAINS as i64);
        let from = self.b.ins().iadd(self.begin, done);
        let end = self.end;
        self.steps_by(1, from, end, current, false)
    }

    /// The loops over all steps, with their outputs: from the states before them to those behind them.
    fn steps(&mut self, start: Value) -> Value {
        let count = self.b.ins().isub(self.end, self.begin);
        let whole = self.b.ins().band_imm_s(count, -(UNROLLED as i64));
        let middle = self.b.ins().iadd(self.begin, whole);
        let (now, end) = (self.begin, self.end);
        let current = self.steps_by(UNROLLED, now, middle, start, true);
        self.steps_by(1, middle, end, current, true)
    }

    fn steps_by(&mut self, by: usize, from: Value, to: Value, start: Value, outputs: bool) -> Value {
        let (header, body, exit) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let time = self.b.append_block_param(header, types::I64);
        let current = self.b.append_block_param(header, types::I8X16);
        self.b.ins().jump(header, &[from.into(), start.into()]);
        self.b.switch_to_block(header);
        let more = self.b.ins().icmp(IntCC::SignedLessThan, time, to);
        self.b.ins().brif(more, body, &[], exit, &[]);
        self.b.switch_to_block(body);
        let inputs = self.input_rows(time);
        let mut rows = Vec::new();
        if outputs {
            for (o, output) in self.look.outputs.iter().enumerate() {
                for &imaginary in planes(output) {
                    rows.push((o, imaginary, self.row(Buffer::Output(o), output, time, imaginary)));
                }
            }
        }
        let mut after = current;
        for step in 0..by {
            after = self.step(step, &inputs, &rows, after);
        }
        let next = self.b.ins().iadd_imm_s(time, by as i64);
        self.b.ins().jump(header, &[next.into(), after.into()]);
        self.b.switch_to_block(exit);
        current
    }

    /// The addresses of the rows of a step's inputs.
    fn input_rows(&mut self, time: Value) -> Vec<Value> {
        let inputs = &self.look.inputs;
        inputs.iter().enumerate().map(|(i, input)| self.row(Buffer::Input(i), input, time, false)).collect()
    }

    /// How many bytes that many rows are.
    fn bytes(&mut self, tensors: &Tensors, rows: Value) -> Value {
        let bytes = tensors.size() * tensors.kind.bytes(self.look.bits);
        self.b.ins().imul_imm_s(rows, bytes as i64)
    }

    /// The address of the row of a step.
    fn row(&mut self, buffer: Buffer, tensors: &Tensors, time: Value, imaginary: bool) -> Value {
        let offset = self.bytes(tensors, time);
        let base = self.pointer(buffer, imaginary);
        self.b.ins().iadd(base, offset)
    }

    /// Sixteen times the letter of the `step`-th step behind the rows that are given.
    fn letter(&mut self, step: usize, inputs: &[Value]) -> Value {
        let mut letter = None;
        for (input, &row) in self.look.inputs.iter().zip(inputs) {
            let bytes = input.kind.bytes(self.look.bits);
            for element in 0..input.size() {
                let digit = self.digit(input.kind, row, (step * input.size() + element) * bytes);
                letter = Some(match letter {
                    None => digit,
                    Some(code) => self.append(code, digit, input),
                });
            }
        }
        let letter = letter.unwrap_or_else(|| self.b.ins().iconst(types::I64, 0));
        self.b.ins().ishl_imm_u(letter, i64::from(STATES.trailing_zeros()))
    }

    /// The map of a letter.
    fn map(&mut self, letter: Value) -> Value {
        let maps = self.pointer(Buffer::Param(0), false);
        let address = self.b.ins().iadd(maps, letter);
        let flags = MemFlagsData::new().with_notrap().with_readonly();
        self.b.ins().load(types::I8X16, flags, address, 0)
    }

    /// What a map makes of states.
    fn shuffle(&mut self, map: Value, states: Value) -> Value {
        match self.x64 {
            true => self.b.ins().x86_pshufb(map, states),
            false => self.b.ins().swizzle(map, states),
        }
    }

    /// The `step`-th step behind the rows that are given.
    fn step(&mut self, step: usize, inputs: &[Value], rows: &[(usize, bool, Value)], current: Value) -> Value {
        let offset = self.letter(step, inputs);
        if !rows.is_empty() {
            let state = self.b.ins().extractlane(current, 0);
            let state = self.b.ins().uextend(types::I64, state);
            let place = self.b.ins().iadd(offset, state);
            for &(o, imaginary, row) in rows {
                self.output(step, o, imaginary, place, row);
            }
        }
        let map = self.map(offset);
        self.shuffle(map, current)
    }

    /// Copies what an output is for this letter and state.
    fn output(&mut self, step: usize, o: usize, imaginary: bool, place: Value, row: Value) {
        let output = &self.look.outputs[o];
        let size = output.kind.bytes(self.look.bits);
        let bytes = output.size() * size;
        let from = self.b.ins().imul_imm_s(place, bytes as i64);
        let table = self.pointer(Buffer::Param(1 + o), imaginary);
        let from = self.b.ins().iadd(table, from);
        // Rows are multiples of an element's size, and lie no better.
        let flags = MemFlagsData::new().with_notrap();
        let mut at = 0;
        while at < bytes {
            let piece = [16, 8, 4, 1].into_iter().find(|piece| at + piece <= bytes).expect("a byte fits");
            let ty = if piece == 16 { types::I8X16 } else { Type::int(piece as u16 * 8).expect("a width of integers") };
            let value = self.b.ins().load(ty, flags, from, at as i32);
            self.b.ins().store(flags, value, row, (step * bytes + at) as i32);
            at += piece;
        }
    }
}
