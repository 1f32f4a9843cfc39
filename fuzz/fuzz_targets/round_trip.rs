//! What is printed parses back: formatted programs to the same tree, layers of the IR to the same layer.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ssmc::{ir, sema, syntax};

fuzz_target!(|source: &str| {
    // Any text as IR: no panic, and what parses prints and parses to itself.
    if let Ok(layer) = ir::parse::parse(source) {
        let text = ir::print::print(&layer);
        let again = ir::parse::parse(&text).expect("a printed layer parses");
        assert_eq!(text, ir::print::print(&again), "printing a parsed layer is the identity");
    }
    let (file, diagnostics) = syntax::parse(source);
    if !diagnostics.is_empty() {
        return;
    }
    let formatted = syntax::format(source).expect("what parses can be formatted");
    let (again, diagnostics) = syntax::parse(&formatted);
    assert!(diagnostics.is_empty(), "formatted text parses: {formatted}");
    assert_eq!(syntax::dump_ast(&file), syntax::dump_ast(&again), "formatting keeps the tree");
    assert_eq!(syntax::format(&formatted).as_ref(), Ok(&formatted), "formatting is idempotent");
    for layer in sema::lower(&file).0 {
        let text = ir::print::print(&layer);
        let again = ir::parse::parse(&text).expect("a printed layer parses");
        assert_eq!(text, ir::print::print(&again), "printing a parsed layer is the identity");
    }
});
