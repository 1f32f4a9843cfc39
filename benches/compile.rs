//! How long a layer takes from its text to a callable kernel.
//!
//! `cargo bench --bench compile`

use criterion::{Criterion, criterion_group, criterion_main};
use ssmc::ir::Instance;
use ssmc::jit::{self, Form, Kernel};
use ssmc::{sema, syntax};

/// Twenty statements.
const TWENTY: &str = include_str!("programs/twenty.ssm");

fn compile(source: &str, dims: &[i64], form: Form) -> Kernel<f32> {
    let (file, diagnostics) = syntax::parse(source);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let (mut layers, diagnostics) = sema::lower(&file);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let layer = layers.pop().expect("the file has a layer");
    let instance = Instance::new(layer, dims.to_vec()).expect("the sizes can be run");
    jit::compile(&instance, form).expect("the layer compiles")
}

fn twenty_statements(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compile");
    for (name, form) in [("sequence", Form::Sequence), ("step", Form::Step)] {
        group.bench_function(format!("twenty statements, {name}"), |bencher| {
            bencher.iter(|| compile(TWENTY, &[256, 512, 16, 32], form));
        });
    }
    group.finish();
}

criterion_group!(benches, twenty_statements);
criterion_main!(benches);
