//! Sequence kernels against the interpreter.

use ssmc::ir::{Instance, interp};
use ssmc::jit::{Form, Isa, Kernel, compile_for};
use ssmc_runtime::{Bound, Carry, Float, Sequences, Tensor};

use crate::data::{Data, compare, rounded_all, rounded_carry};

/// Two runs of each of these batches, the second from where the first ends, at every width of the machine; on two threads to the bit
/// as on one.
pub fn agrees<F: Float>(name: &str, instance: &Instance, all: &[Sequences]) {
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_here()) {
        let kernel: Kernel<F> = compile_for(instance, Form::Sequence, isa).expect("it compiles");
        for sequences in all {
            let data = Data::new(instance, sequences, 3);
            let bound = Bound { params: rounded_all(&data.bound.params), initial: rounded_all(&data.bound.initial) };
            let inputs: Vec<Tensor<F>> = rounded_all(&data.inputs);
            let (mut truth, mut carry) = (data.carry.clone(), rounded_carry(&data.carry));
            let mut other: Carry<F> = carry.clone();
            for round in 0..2 {
                let what = format!("{name} {isa} f{}, {} rows, run {round}", F::BITS, sequences.total());
                let expected = interp::run(instance, &data.bound, sequences, &data.inputs, &mut truth);
                let got = kernel.run(&bound, sequences, &inputs, &mut carry, 1, &|_| {}).expect("the tensors fit");
                let roundings = 64.0 * (1.0 + sequences.total() as f64);
                compare(&format!("{what} outputs"), &got, &expected, roundings);
                compare(&format!("{what} states"), &carry.states, &truth.states, roundings);
                assert_eq!(carry.steps, truth.steps, "{what}");
                let again = kernel.run(&bound, sequences, &inputs, &mut other, 2, &|_| {}).expect("the tensors fit");
                assert_eq!(format!("{got:?}{carry:?}"), format!("{again:?}{other:?}"), "{what} on two threads");
            }
        }
    }
}
