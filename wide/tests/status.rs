//! The word of control and status, which tells afterwards whether a maximum met a NaN.

#![allow(unsafe_code, reason = "runs machine code")]

mod support;

use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::{AbiParam, ExtFuncData, ExternalName, InstBuilder, MemFlagsData, Signature, Value, types};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::FunctionBuilder;
use ssmc_wide::Primitive;
use support::{by_wide, grid, levels, mapped, numbers, vectors};

/// A call of a primitive on the word of control and status.
fn status(b: &mut FunctionBuilder<'_>, which: Primitive, arguments: &[Value]) -> Option<Value> {
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params = vec![AbiParam::new(types::I32); which.arity()];
    if which == Primitive::Status {
        signature.returns.push(AbiParam::new(types::I32));
    }
    let signature = b.import_signature(signature);
    let name = ExternalName::user(b.func.declare_imported_user_function(which.name()));
    let callee = b.import_function(ExtFuncData { name, signature, colocated: false, patchable: false });
    let call = b.ins().call(callee, arguments);
    b.inst_results(call).first().copied()
}

/// The larger of two numbers, and in place of the first lane whether there was a NaN in any.
#[test]
fn the_status_tells_whether_a_maximum_met_a_nan() {
    for level in levels() {
        for lane in [types::F32, types::F64] {
            let double = lane == types::F64;
            let (data, bytes) = grid(&numbers(double), 2, lane.bytes() as usize);
            for ty in vectors(level, lane) {
                let function = mapped(ty, 2, &|b, v| {
                    let larger = b.ins().fcmp(FloatCC::LessThan, v[1], v[0]);
                    let larger = b.ins().bitcast(ty, MemFlagsData::new(), larger);
                    let larger = b.ins().bitselect(larger, v[0], v[1]);
                    let behind = b.create_block();
                    b.ins().jump(behind, &[]);
                    b.switch_to_block(behind);
                    let word = status(b, Primitive::Status, &[]).unwrap();
                    let raised = b.ins().band_imm_s(word, 1);
                    let number = b.ins().fcvt_from_sint(lane, raised);
                    let marked = b.ins().insertlane(larger, number, 0);
                    let cleared = b.ins().band_imm_s(word, !1);
                    status(b, Primitive::SetStatus, &[cleared]);
                    marked
                });
                let got = by_wide(&function, level).run(&data, bytes);
                let size = lane.bytes() as usize;
                let read = |bytes: &[u8], at: usize| match double {
                    false => f64::from(f32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())),
                    true => f64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()),
                };
                // What was raised before the first vector is not known.
                for first in (0..bytes).step_by(ty.bytes() as usize).skip(1) {
                    let lanes = (first..first + ty.bytes() as usize).step_by(size);
                    let raised = lanes.clone().any(|at| read(&data[0], at).is_nan() || read(&data[1], at).is_nan());
                    assert_eq!(read(&got, first), f64::from(raised), "{ty} at {first}");
                    for at in lanes.skip(1) {
                        let (a, b) = (read(&data[0], at), read(&data[1], at));
                        let larger = if a > b { a } else { b };
                        assert_eq!(read(&got, at).to_bits() << 1, larger.to_bits() << 1, "{ty} at {at}: {a}, {b}");
                    }
                }
            }
        }
    }
}
