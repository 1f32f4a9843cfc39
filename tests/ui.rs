//! Diagnostics as the user sees them: `tests/ui/S*.ssm`, each with its whole rendering in a `.txt` beside it.
//! `BLESS=1` rewrites the renderings.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ssmc::diag::{Code, Diagnostic, render::render};
use ssmc::{sema, syntax};

/// All that the compiler says about a program.
fn diagnose(source: &str) -> Vec<Diagnostic> {
    let (file, diagnostics) = syntax::parse(source);
    if diagnostics.is_empty() { sema::lower(&file).1 } else { diagnostics }
}

fn programs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder exists")
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ssm"))
        .collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    path.file_name().expect("a file has a name").to_string_lossy().into_owned()
}

#[test]
fn renderings() {
    let mut failed = Vec::new();
    for path in programs() {
        let source = fs::read_to_string(&path).expect("the file can be read");
        let found = diagnose(&source);
        let code = name(&path)[..4].to_owned();
        assert!(
            found.iter().any(|diagnostic| diagnostic.code.name() == code),
            "{} does not show {code}",
            path.display()
        );
        let text: Vec<String> = found.iter().map(|diagnostic| render(diagnostic, &name(&path), &source)).collect();
        let text = text.join("");
        let beside = path.with_extension("txt");
        if fs::read_to_string(&beside).is_ok_and(|expected| expected == text) {
            continue;
        }
        if std::env::var_os("BLESS").is_some() {
            fs::write(&beside, &text).expect("the file can be written");
        } else {
            failed.push(format!("{}:\n{text}", beside.display()));
        }
    }
    assert!(failed.is_empty(), "run with BLESS=1 to accept:\n{}", failed.join("\n"));
}

#[test]
fn every_code_has_a_program() {
    let shown: BTreeSet<String> = programs().iter().map(|path| name(path)[..4].to_owned()).collect();
    let missing: Vec<&str> = Code::ALL
        .iter()
        .map(|code| code.name())
        .filter(|code| code.starts_with("S1") || code.starts_with("S2") || *code == "S303")
        .filter(|code| !shown.contains(*code))
        .collect();
    assert!(missing.is_empty(), "no program shows {missing:?}");
}
