//! Compiled layers beside plain loops and hand-written kernels, on the same arrays, one group for each case.
//!
//! `cargo bench --bench kernels -- "mamba scan"` (options of criterion's with their values behind `=`)
//!
//! Before a group is timed, its results are compared: with the plain loop, within the case's tolerance, which is what
//! another order of the same roundings may make. One thread; `cargo run --release --example table` has two as well.

#[path = "compiled/mod.rs"]
mod compiled;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ssmc_handwritten::{Isa, cases};

fn kernels(criterion: &mut Criterion) {
    // Without this, a filter would still pay for the arrays of all cases.
    let filter = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default();
    for name in cases::NAMES {
        if !name.contains(filter.split('/').next().unwrap_or_default()) {
            continue;
        }
        let Some(mut case) = cases::case(name) else { unreachable!("a name without a case") };
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10).throughput(Throughput::Elements((case.batch * case.steps) as u64));
        case.run(Isa::Plain, 1);
        let want = case.output();
        group.bench_function("plain", |bencher| bencher.iter(|| case.run(Isa::Plain, 1)));
        for isa in Isa::ALL.into_iter().filter(|isa| *isa != Isa::Plain && isa.is_available()) {
            case.run(isa, 1);
            let error = compiled::difference(&case.output(), &want, 0.0);
            assert!(error <= case.tolerance, "{name} on {isa}: off by {error:.1e}");
            group.bench_function(isa.to_string(), |bencher| bencher.iter(|| case.run(isa, 1)));
        }
        match compiled::compile(&case, false) {
            Err(problem) => eprintln!("{name}: {problem}"),
            Ok(plans) => {
                for mut plan in plans {
                    plan.run(compiled::threads());
                    let error = compiled::difference(&plan.output(want.len()), &want, 0.0);
                    let what = format!("compiled, {}", plan.plan().name());
                    assert!(error <= case.tolerance, "{name}, {what}: off by {error:.1e}");
                    group.bench_function(what, |bencher| bencher.iter(|| plan.run(1)));
                }
            }
        }
        group.finish();
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);
