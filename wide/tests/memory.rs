//! Primitives that are there for what they do to memory.

#![allow(unsafe_code, reason = "runs machine code")]

#[allow(dead_code, reason = "other test files need the rest")]
mod support;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    ExtFuncData, ExternalName, FuncRef, Function, InstBuilder, MemFlagsData, Type, UserFuncName, Value, types,
};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use iced_x86::{Decoder, DecoderOptions, Encoder, Instruction, Mnemonic, OpKind, Register};
use ssmc_wide::{Level, Primitive};
use support::{by_wide, isa, levels, signature, vectors};

fn import(b: &mut FunctionBuilder<'_>, primitive: Primitive, ty: Type) -> FuncRef {
    let signature = b.import_signature(primitive.signature(ty, CallConv::SystemV));
    let name = ExternalName::user(b.func.declare_imported_user_function(primitive.name()));
    b.import_function(ExtFuncData { name, signature, colocated: false, patchable: false })
}

/// What runs in each turn: it gets the pointers of two inputs and of the output, and how far they are.
type Turn<'a> = &'a dyn Fn(&mut FunctionBuilder<'_>, [Value; 3], Value);

/// A function that takes a turn for each vector of this type.
fn turns(ty: Type, turn: Turn<'_>) -> Function {
    let mut function = Function::with_name_signature(UserFuncName::user(0, 1), signature());
    let mut context = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut function, &mut context);
    let (entry, head, done) = (b.create_block(), b.create_block(), b.create_block());
    b.append_block_params_for_function_params(entry);
    let at = b.append_block_param(head, types::I64);
    b.switch_to_block(entry);
    let [table, out, bytes] = b.block_params(entry)[..] else { panic!() };
    let pointers = [0, 8].map(|offset| b.ins().load(types::I64, MemFlagsData::trusted(), table, offset));
    let zero = b.ins().iconst(types::I64, 0);
    b.ins().jump(head, &[zero.into()]);
    b.switch_to_block(head);
    turn(&mut b, [pointers[0], pointers[1], out], at);
    let next = b.ins().iadd_imm_s(at, i64::from(ty.bytes()));
    let more = b.ins().icmp(IntCC::SignedLessThan, next, bytes);
    b.ins().brif(more, head, &[next.into()], done, &[]);
    b.switch_to_block(done);
    b.ins().return_(&[]);
    b.seal_all_blocks();
    b.finalize(isa().frontend_config());
    function
}

fn instructions(function: &Function, level: Level) -> Vec<Instruction> {
    let code = ssmc_wide::compile_checked(function, level).unwrap();
    let bytes = &code.bytes[..code.code_size];
    let found: Vec<Instruction> = Decoder::new(64, bytes, DecoderOptions::NONE).into_iter().collect();
    let mut encoder = Encoder::new(64);
    for instruction in &found {
        assert!(!instruction.is_invalid(), "{level:?} at {}", instruction.ip());
        encoder.encode(instruction, instruction.ip()).unwrap();
    }
    assert_eq!(encoder.take_buffer(), bytes, "{level:?}");
    found
}

#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([u8; 64]);

/// Numbers of a lane type, in whole lines.
fn lines(lane: Type, count: usize, of: impl Fn(usize) -> f64) -> Vec<Line> {
    let size = lane.bytes() as usize;
    let mut lines = vec![Line([0; 64]); (count * size).div_ceil(64)];
    for i in 0..count {
        let bytes = if size == 4 { (of(i) as f32).to_le_bytes().to_vec() } else { of(i).to_le_bytes().to_vec() };
        let at = i * size;
        lines[at / 64].0[at % 64..at % 64 + size].copy_from_slice(&bytes);
    }
    lines
}

fn bytes_of(lines: &[Line]) -> Vec<u8> {
    lines.iter().flat_map(|line| line.0).collect()
}

/// Vectors that went past the caches are there, and loads from the same place keep to their order with them.
#[test]
fn what_is_streamed_is_written_in_order() {
    // Integers: exact in both lane types, whatever the order of operations.
    let (v, w) = (|i: usize| (i % 13) as f64 - 6.0, |i: usize| (i % 7) as f64);
    let count = 256;
    for level in levels() {
        for lane in [types::F32, types::F64] {
            for ty in vectors(level, lane) {
                let function = turns(ty, &|b, [first, second, out], at| {
                    let stream = import(b, Primitive::Stream, ty);
                    let flags = MemFlagsData::new().with_notrap();
                    let [first, second, out] = [first, second, out].map(|pointer| b.ins().iadd(pointer, at));
                    let v = b.ins().load(ty, flags, first, 0);
                    // The second input is the output under another name.
                    let before = b.ins().load(ty, flags, second, 0);
                    let square = b.ins().fmul(v, v);
                    let sum = b.ins().fadd(square, before);
                    b.ins().call(stream, &[sum, out]);
                    let seen = b.ins().load(ty, flags, second, 0);
                    let square = b.ins().fmul(seen, seen);
                    let sum = b.ins().fadd(square, v);
                    b.ins().call(stream, &[sum, out]);
                });
                let compiled = by_wide(&function, level);
                let (input, mut output) = (lines(lane, count, v), lines(lane, count, w));
                let to = output.as_mut_ptr().cast::<u8>();
                compiled.call(&[input.as_ptr().cast(), to], to, (count * lane.bytes() as usize) as i64);
                let expected = lines(lane, count, |i| (v(i) * v(i) + w(i)).powi(2) + v(i));
                assert_eq!(bytes_of(&output), bytes_of(&expected), "{level:?} {ty}");

                let found = instructions(&function, level);
                let mnemonic = if lane == types::F32 { Mnemonic::Vmovntps } else { Mnemonic::Vmovntpd };
                let streams: Vec<&Instruction> = found.iter().filter(|i| i.mnemonic() == mnemonic).collect();
                assert_eq!(streams.len(), 2, "{level:?} {ty}");
                assert!(streams.iter().all(|i| i.op0_kind() == OpKind::Memory), "{level:?} {ty}");
                assert!(found.iter().all(|i| i.mnemonic() != Mnemonic::Call), "{level:?} {ty}");
            }
        }
    }
}

/// A prefetch stays, as often as it was asked for, takes addresses as loads do, and may point anywhere.
#[test]
fn prefetches_stay_and_do_not_fail() {
    for level in levels() {
        for ty in vectors(level, types::F32) {
            let function = turns(ty, &|b, [first, second, out], at| {
                let fetch = import(b, Primitive::Prefetch, ty);
                let flags = MemFlagsData::new().with_notrap();
                let [from, to] = [first, out].map(|pointer| b.ins().iadd(pointer, at));
                let ahead = b.ins().iadd_imm_s(from, 4096);
                // Twice the same line, and one that is nowhere.
                b.ins().call(fetch, &[ahead]);
                b.ins().call(fetch, &[ahead]);
                let nowhere = b.ins().isub(at, second);
                b.ins().call(fetch, &[nowhere]);
                let v = b.ins().load(ty, flags, from, 0);
                let squares = (0..4).fold(v, |v, _| b.ins().fmul(v, v));
                b.ins().store(flags, squares, to, 0);
            });
            let count = 64;
            let (input, mut output) = (lines(types::F32, count, |i| i as f64 / 64.0), vec![Line([0; 64]); 4]);
            let nowhere = 1usize << 60;
            let pointers = [input.as_ptr().cast(), std::ptr::without_provenance(nowhere)];
            by_wide(&function, level).call(&pointers, output.as_mut_ptr().cast(), 4 * count as i64);
            let square = |x: f32| x * x;
            let expected = lines(types::F32, count, |i| square(square(square(square(i as f32 / 64.0)))).into());
            assert_eq!(bytes_of(&output), bytes_of(&expected), "{level:?} {ty}");

            let found = instructions(&function, level);
            let fetches: Vec<&Instruction> = found.iter().filter(|i| i.mnemonic() == Mnemonic::Prefetcht0).collect();
            assert_eq!(fetches.len(), 3, "{level:?} {ty}");
            let folded =
                fetches.iter().filter(|i| i.memory_displacement64() == 4096 && i.memory_index() != Register::None);
            assert_eq!(folded.count(), 2, "{level:?} {ty}");
        }
    }
}

#[test]
fn only_whole_vectors_are_streamed() {
    for level in levels() {
        let function = turns(types::F32, &|b, [first, _, out], at| {
            let stream = import(b, Primitive::Stream, types::F32);
            let [from, to] = [first, out].map(|pointer| b.ins().iadd(pointer, at));
            let v = b.ins().load(types::F32, MemFlagsData::new().with_notrap(), from, 0);
            b.ins().call(stream, &[v, to]);
        });
        assert!(ssmc_wide::compile(&function, level).is_err());
    }
}
