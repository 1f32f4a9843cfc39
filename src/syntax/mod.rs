//! From text to the syntax tree.
//!
//! [`token`] splits text into tokens, `recover` cuts the tokens into items and statements, `parse` runs the LALRPOP
//! grammar (`grammar/ssm.lalrpop`) over each, `build` makes the nodes. [`dump`] prints a tree, [`fmt`] formats a text.
//!
//! Invariants: no input makes anything here panic or exhaust the stack; every error has a code and a place; names
//! are not resolved and no meaning is checked: that is sema's part.

pub mod ast;
mod build;
mod dump;
mod explain;
mod fmt;
mod parse;
mod recover;
mod token;

pub use dump::dump_ast;
pub use fmt::format;
pub use token::{KEYWORDS, tokens};

use crate::diag::{Code, Diagnostic};

/// The largest number of syntax errors that one run reports.
pub const MAX_DIAGNOSTICS: usize = 50;

/// Parses a source text: what could be understood of it, and what is wrong with it in the order of the text.
///
/// The tree is whole where the diagnostics are empty; else [`ast::Statement::Error`] and [`ast::ExprKind::Error`] stand
/// in the place of what was not understood.
pub fn parse(source: &str) -> (ast::File, Vec<Diagnostic>) {
    let lexed = token::lex(source, MAX_DIAGNOSTICS + 1);
    let mut diagnostics = lexed.diagnostics;
    let (file, mut found) = recover::parse_file(source, lexed.tokens);
    diagnostics.append(&mut found);
    diagnostics.sort_by_key(|diagnostic| diagnostic.primary.as_ref().map(|label| label.span));
    if diagnostics.len() > MAX_DIAGNOSTICS {
        let last = diagnostics.swap_remove(MAX_DIAGNOSTICS);
        diagnostics.truncate(MAX_DIAGNOSTICS);
        let place = last.primary.map(|label| label.span).unwrap_or_default();
        let message = format!("more than {MAX_DIAGNOSTICS} errors; those from here on are not shown");
        diagnostics.push(Diagnostic::error(Code::S102, place, message).into_note());
    }
    (file, diagnostics)
}
