//! Functions on vectors wider than Cranelift selects: the verifier takes them all the same.

use cranelift_codegen::ir::{
    AbiParam, ExtFuncData, ExternalName, FuncRef, Function, InstBuilder, Signature, Type, types,
};
use cranelift_codegen::isa::CallConv;
use cranelift_codegen::settings;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use ssmc::codegen::math::{Elementary, Environment, Routine};

/// Emits a function for values of any type, in a function of its own, and verifies that.
fn verify(ty: Type, function: Elementary) {
    struct Declared;
    impl Environment for Declared {
        fn routine(&mut self, builder: &mut FunctionBuilder<'_>, routine: Routine, lane: Type) -> FuncRef {
            let mut signature = Signature::new(CallConv::SystemV);
            signature.params = vec![AbiParam::new(lane); routine.arity()];
            signature.returns.push(AbiParam::new(lane));
            let signature = builder.import_signature(signature);
            builder.import_function(ExtFuncData {
                name: ExternalName::testcase(routine.symbol(lane)),
                signature,
                colocated: false,
                patchable: false,
            })
        }
    }

    let mut code = Function::new();
    code.signature.params = vec![AbiParam::new(ty); function.arity()];
    code.signature.returns.push(AbiParam::new(ty));
    let mut frontend = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut code, &mut frontend);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    b.seal_block(entry);
    let arguments = b.block_params(entry).to_vec();
    let result = ssmc::codegen::math::emit(&mut b, &mut Declared, function, &arguments);
    b.ins().return_(&[result]);
    let isa =
        cranelift_native::builder().expect("a host").finish(settings::Flags::new(settings::builder())).expect("an ISA");
    b.finalize(isa.frontend_config());
    if let Err(errors) = cranelift_codegen::verify_function(&code, isa.as_ref()) {
        panic!("{} on {ty}: {errors}\n{code}", function.name());
    }
}

#[test]
fn every_lane_count_verifies() {
    let types = [types::F32X4, types::F32X8, types::F32X16, types::F64X2, types::F64X4, types::F64X8];
    for function in Elementary::ALL {
        for ty in types {
            verify(ty, function);
        }
    }
}
