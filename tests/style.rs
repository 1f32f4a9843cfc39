//! What the sources must look like: sizes of modules, and where `unsafe` may stand.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules outside of `src/jit` that may hold `unsafe` code.
const UNSAFE: &[&str] = &[
    "runtime/src/allocator.rs",
    "runtime/src/cholesky.rs",
    "runtime/src/driver.rs",
    "runtime/src/kernel.rs",
    "runtime/src/lanes.rs",
    "runtime/src/lanes/back.rs",
    "runtime/src/lanes/place.rs",
    "runtime/src/lanes/worker.rs",
    "runtime/src/pass.rs",
    "runtime/src/session.rs",
    "runtime/src/probe/x86.rs",
    "runtime/src/product.rs",
    "runtime/src/product/portable.rs",
    "runtime/src/product/x86.rs",
    "runtime/src/transpose.rs",
    "runtime/src/transpose/x86.rs",
    "runtime/tests/driver.rs",
    "tests/calls.rs",
    "tests/math.rs",
    "tests/math/kernel.rs",
    "examples/ulp.rs",
    "wide/tests/ops.rs",
    "wide/tests/support/mod.rs",
    "wide/tests/loops.rs",
    "benches/handwritten/src/lib.rs",
    "benches/handwritten/src/biquad.rs",
    "benches/handwritten/src/delta.rs",
    "benches/handwritten/src/diagonal.rs",
    "benches/handwritten/src/finite_map.rs",
    "benches/handwritten/src/first_order.rs",
    "benches/handwritten/src/functions.rs",
    "benches/handwritten/src/longhorn.rs",
    "benches/handwritten/src/machine.rs",
    "benches/handwritten/src/mamba.rs",
    "benches/handwritten/src/memory.rs",
    "benches/handwritten/src/s5.rs",
    "benches/handwritten/src/sdssm.rs",
    "benches/handwritten/src/simd/avx2.rs",
    "benches/handwritten/src/simd/avx512.rs",
    "benches/handwritten/src/simd/avx512vl.rs",
    "benches/handwritten/src/simd/mod.rs",
    "benches/handwritten/src/ssd.rs",
    "benches/handwritten/src/viterbi.rs",
];

fn sources() -> Vec<PathBuf> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("the folder can be listed") {
            let path = entry.expect("the entry can be read").path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for folder in ["src", "runtime", "wide", "tests", "examples", "benches", "fuzz/fuzz_targets"] {
        collect(Path::new(folder), &mut found);
    }
    assert!(found.len() > 80, "the sources were not found");
    found
}

#[test]
fn modules_are_short() {
    let long: Vec<String> = sources()
        .iter()
        .map(|path| (path, fs::read_to_string(path).expect("a source can be read").lines().count()))
        .filter(|(_, lines)| *lines > 800)
        .map(|(path, lines)| format!("{}: {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "split these: {long:?}");
}

#[test]
fn unsafe_code_stands_where_it_may() {
    let mut wrong = Vec::new();
    for path in sources() {
        let name = path.to_string_lossy().replace('\\', "/");
        if name.starts_with("src/jit/") || UNSAFE.contains(&name.as_str()) || name == "tests/style.rs" {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source can be read");
        if text.lines().any(|line| line.contains("unsafe ") && !line.trim_start().starts_with("//")) {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "`unsafe` in {wrong:?}");
}
