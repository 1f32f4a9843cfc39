//! Small programs and what the front end says about them: `tests/wrong/programs.txt` holds wrong ones, each with the
//! codes of its errors, and `tests/right/programs.txt` right ones. In a wrong program `@` stands in front of every
//! place that is marked as a cause; it is no part of the program.

use std::fmt::Write;
use std::fs;

use ssmc::diag::{Diagnostic, render::render};
use ssmc::{ir, sema, syntax};

/// A program of a table.
struct Case {
    /// What follows `---`: codes, and what the program shows.
    head: String,
    text: String,
}

fn cases(path: &str) -> Vec<Case> {
    let table = fs::read_to_string(path).expect("the table can be read");
    let mut cases: Vec<Case> = Vec::new();
    for line in table.lines() {
        if let Some(head) = line.strip_prefix("--- ") {
            let (head, text) = (head.to_owned(), String::new());
            cases.push(Case { head, text });
        } else if let Some(case) = cases.last_mut() {
            case.text += line;
            case.text.push('\n');
        }
    }
    cases
}

fn front_end(source: &str) -> (Vec<ir::Layer>, Vec<Diagnostic>) {
    let (file, diagnostics) = syntax::parse(source);
    if !diagnostics.is_empty() {
        return (Vec::new(), diagnostics);
    }
    sema::lower(&file)
}

/// The program without its marks, and where these stood.
fn unmarked(text: &str) -> (String, Vec<usize>) {
    let places = text.match_indices('@').enumerate();
    (text.replace('@', ""), places.map(|(before, (at, _))| at - before).collect())
}

#[test]
fn wrong_programs_are_refused_where_they_are_wrong() {
    let cases = cases("tests/wrong/programs.txt");
    let mut failed = String::new();
    for case in &cases {
        let (source, places) = unmarked(&case.text);
        let codes = case.head.split_whitespace();
        let codes = codes.take_while(|word| word.len() == 4 && word.starts_with('S'));
        let expected: Vec<(String, usize)> = codes.map(str::to_owned).zip(places).collect();
        let (_, diagnostics) = front_end(&source);
        let found: Vec<(String, usize)> = diagnostics
            .iter()
            .map(|d| {
                let start = d.primary.as_ref().map_or(0, |label| label.span.start);
                (d.code.name().to_owned(), start as usize)
            })
            .collect();
        if found != expected || expected.is_empty() {
            let _ = writeln!(failed, "--- {}\n{}", case.head, case.text);
            for diagnostic in &diagnostics {
                failed += &render(diagnostic, "program", &source);
            }
        }
    }
    assert!(failed.is_empty(), "{failed}");
    assert!(cases.len() >= 150, "only {} programs", cases.len());
}

#[test]
fn right_programs_are_accepted() {
    let cases = cases("tests/right/programs.txt");
    let mut failed = String::new();
    for case in &cases {
        let (layers, diagnostics) = front_end(&case.text);
        if layers.is_empty() || !diagnostics.is_empty() {
            let _ = writeln!(failed, "--- {}\n{}", case.head, case.text);
        }
        for diagnostic in &diagnostics {
            failed += &render(diagnostic, "program", &case.text);
        }
    }
    assert!(failed.is_empty(), "{failed}");
    assert!(cases.len() >= 100, "only {} programs", cases.len());
}
