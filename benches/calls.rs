//! What a call costs around the code of a kernel: layers with next to nothing to do, one step a call.
//!
//! `cargo bench --bench calls` (options of criterion's with their values behind `=`)
//!
//! `step` is a session's, `run` is `Kernel::run_into` with outputs and carry that are there. The layers differ in what a call
//! has to bring: a state and an input; parameters to prepare and many inputs; delays.

use criterion::{Criterion, criterion_group, criterion_main};
use ssmc::ir::{Instance, interp};
use ssmc::jit::{self, Form, Kernel};
use ssmc::{sema, syntax};
use ssmc_runtime::{Bound, Carry, Elements, Sequences, Tensor};

const SCALAR: &str = "layer scalar {
    input x
    state h = 0
    h <- 0.5 * h + x
    output y = h
}";

const MANY: &str = "layer many(D) {
    param a[D], b[D], c[D], d[D]
    input u[D], v[D], w[D], x[D]
    state h[D] = 0, s[D] = 0
    h[i] <- exp(a[i]) * h[i] + b[i] * u[i] + v[i]
    s[i] <- exp(c[i]) * s[i] + d[i] * w[i] + x[i]
    output y[i] = h[i] + s[i]
}";

const DELAYS: &str = "layer delays(D) {
    input x[D]
    state h[D] = 0
    h[i] <- 0.5 * h[i] + x[i] + past(x[i], 3)
    output y[i] = h[i]
}";

const LAYERS: [(&str, &str, &[i64]); 3] =
    [("a scalar", SCALAR, &[]), ("many tensors of 16", MANY, &[16]), ("a delay of 16", DELAYS, &[16])];

fn instance(source: &str, dims: &[i64]) -> Instance {
    let (file, diagnostics) = syntax::parse(source);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let (mut layers, diagnostics) = sema::lower(&file);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    Instance::new(layers.pop().expect("the file has a layer"), dims.to_vec()).expect("the sizes can be run")
}

/// All that a call of one step takes.
struct Given {
    kernel: Kernel<f32>,
    bound: Bound<f32>,
    inputs: Vec<Tensor<f32>>,
    carry: Carry<f32>,
}

impl Given {
    fn new(instance: &Instance, form: Form) -> Self {
        let kernel = jit::compile(instance, form).expect("the layer compiles");
        let signature = kernel.signature();
        let filled = |tensor: Tensor<f32>| match tensor.elements {
            Elements::Real(v) => Tensor { elements: Elements::Real(vec![0.25; v.len()]), ..tensor },
            _ => unreachable!("the layers are of reals"),
        };
        let params = signature.params.iter().map(|slice| filled(slice.zeros(&[]))).collect();
        let initial = signature.states.iter().map(|slice| slice.zeros(&[])).collect();
        let bound = Bound { params, initial };
        let inputs = signature.inputs.iter().map(|slice| filled(slice.zeros(&[1]))).collect();
        let carry = interp::initial_carry(instance, &bound, 1);
        Self { kernel, bound, inputs, carry }
    }
}

fn calls(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("call");
    for (name, source, dims) in LAYERS {
        let instance = instance(source, dims);
        let Given { kernel, bound, inputs, carry } = Given::new(&instance, Form::Step);
        let mut session = kernel.session(&bound, carry).expect("the tensors fit");
        let mut outputs = session.blank_outputs();
        group.bench_function(format!("step, {name}"), |bencher| {
            bencher.iter(|| session.step(&inputs, &mut outputs).expect("the row fits"));
        });
        let Given { kernel, bound, inputs, mut carry } = Given::new(&instance, Form::Sequence);
        let sequences = Sequences::batch(1, 1);
        let mut outputs = kernel.blank_outputs(&sequences);
        group.bench_function(format!("run, {name}"), |bencher| {
            bencher.iter(|| {
                let done = kernel.run_into(&bound, &sequences, &inputs, &mut outputs, &mut carry, 1, &|_| {});
                done.expect("the tensors fit")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, calls);
criterion_main!(benches);
