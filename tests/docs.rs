//! The programs in the documentation: what it shows compiles, what it calls an error gives that error, and its list
//! of diagnostics is the compiler's.
//!
//! A block of the language `ssm` is a whole program; one of `ssm-error S205` is a program whose first diagnostic has
//! that code. Blocks of any other language are not looked at.

use std::fs;
use std::path::Path;

use ssmc::diag::{Code, Diagnostic, render::render};
use ssmc::{sema, syntax};

/// The documents that show programs; those that do not exist show none.
const DOCUMENTS: &[&str] = &["README.md", "docs/language.md"];

/// A fenced block of a document.
#[derive(Debug, PartialEq)]
struct Block {
    /// What stands behind the fence.
    info: String,
    /// The document and the line of the fence.
    place: String,
    text: String,
}

fn read(document: &str) -> Option<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).ok()
}

/// The fenced blocks of a Markdown text.
fn blocks(document: &str, markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (line, text) in markdown.lines().enumerate() {
        match (text.strip_prefix("```"), &mut open) {
            (Some(info), None) => {
                open = Some(Block {
                    info: info.trim().to_owned(),
                    place: format!("{document}:{}", line + 1),
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(text);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert_eq!(open, None, "a fence is not closed");
    blocks
}

/// The blocks of all documents that are programs, each with the code that it must give.
fn programs() -> Vec<(Block, Option<String>)> {
    let mut programs = Vec::new();
    for document in DOCUMENTS {
        for block in blocks(document, &read(document).unwrap_or_default()) {
            match block.info.split_once(' ') {
                None if block.info == "ssm" => programs.push((block, None)),
                Some(("ssm-error", code)) => {
                    let code = code.to_owned();
                    programs.push((block, Some(code)));
                }
                _ => assert!(!block.info.starts_with("ssm"), "{}: `{}` is no kind of program", block.place, block.info),
            }
        }
    }
    programs
}

fn front_end(source: &str) -> Vec<Diagnostic> {
    let (file, diagnostics) = syntax::parse(source);
    if diagnostics.is_empty() { sema::lower(&file).1 } else { diagnostics }
}

#[test]
fn programs_compile_or_give_their_error() {
    let mut failed = String::new();
    let mut sound = 0;
    for (block, expected) in programs() {
        let found = front_end(&block.text);
        let first = found.first().map(|diagnostic| diagnostic.code.name());
        sound += usize::from(first.is_none());
        if first == expected.as_deref() {
            continue;
        }
        let wanted = expected.map_or("no diagnostic".to_owned(), |code| format!("{code} first"));
        failed += &format!("{}: expected {wanted}\n", block.place);
        for diagnostic in &found {
            failed += &render(diagnostic, &block.place, &block.text);
        }
    }
    assert!(failed.is_empty(), "{failed}");
    assert!(sound > 15, "only {sound} sound programs were found");
}

#[test]
fn programs_are_formatted() {
    let mut failed = String::new();
    for (block, _) in programs() {
        // Programs that do not parse have no format.
        if let Ok(formatted) = syntax::format(&block.text)
            && formatted != block.text
        {
            failed += &format!("{}: the format is\n{formatted}\n", block.place);
        }
    }
    assert!(failed.is_empty(), "{failed}");
}

#[test]
fn all_diagnostics_are_listed() {
    let markdown = read("docs/language.md").expect("the reference exists");
    // Rows of the table: `| S101 | meaning |`.
    let listed: Vec<(&str, &str)> = markdown
        .lines()
        .filter_map(|line| {
            let (code, meaning) = line.strip_prefix("| S")?.split_once(" | ")?;
            let numeral = code.chars().all(|c| c.is_ascii_digit());
            numeral.then_some((code, meaning.trim_end_matches('|').trim_end()))
        })
        .collect();
    let known: Vec<(&str, &str)> = Code::ALL.iter().map(|code| (&code.name()[1..], code.meaning())).collect();
    assert_eq!(listed, known, "the table in docs/language.md");
}
