//! No text makes the front end panic, and every diagnostic renders.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ssmc::diag::render::render;
use ssmc::{sema, syntax};

fuzz_target!(|source: &str| {
    let (file, mut diagnostics) = syntax::parse(source);
    let _ = syntax::tokens(source);
    let _ = syntax::dump_ast(&file);
    if diagnostics.is_empty() {
        diagnostics = sema::lower(&file).1;
    }
    for diagnostic in &diagnostics {
        let text = render(diagnostic, "fuzz.ssm", source);
        assert!(text.contains(diagnostic.code.name()), "a rendering names its code");
    }
});
