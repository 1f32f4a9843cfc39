//! The front end on whole programs.

use std::fs;

use ssmc::diag::{Diagnostic, render::render};
use ssmc::{ir, sema, syntax};

fn front_end(source: &str) -> (Vec<ir::Layer>, Vec<Diagnostic>) {
    let (file, diagnostics) = syntax::parse(source);
    if !diagnostics.is_empty() {
        return (Vec::new(), diagnostics);
    }
    sema::lower(&file)
}

#[test]
fn every_example_is_sound() {
    let mut failed = String::new();
    let mut layers = 0;
    let folders = ["examples", "examples/regular", "examples/copy"];
    let mut files: Vec<_> = folders.iter().flat_map(|f| fs::read_dir(f).unwrap()).map(|f| f.unwrap().path()).collect();
    files.sort();
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".ssm") {
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        let (found, diagnostics) = front_end(&source);
        layers += found.len();
        for diagnostic in &diagnostics {
            failed += &render(diagnostic, &name, &source);
        }
    }
    assert!(failed.is_empty(), "{failed}");
    assert!(layers > 50, "only {layers} layers were found");
}
