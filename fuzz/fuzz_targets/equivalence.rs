//! Random layers run as the interpreter says: what `tests/equivalence.rs` does for a few seeds, for as many as there is
//! time for. The input is a seed; a failure prints a program that can stand in `tests/files/kernel`.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/equivalence/check.rs"]
mod check;

fuzz_target!(|seed: u64| {
    let program = check::generate::program(seed);
    if let Err(why) = check::check(&program, seed) {
        panic!("{why}\n{}", check::file(&program, seed));
    }
});
