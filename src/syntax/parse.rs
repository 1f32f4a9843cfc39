//! The grammar, one piece at a time. LALRPOP's types stay in this module.
//!
//! In: the tokens of one piece. Out: the piece, or the token at which it stopped being one and what could have stood there.

use super::build::{Builder, Piece};
use super::token::Lexeme;

/// LALRPOP's output.
mod grammar {
    #![allow(clippy::all, clippy::pedantic, missing_docs, unused, reason = "generated")]
    include!(concat!(env!("OUT_DIR"), "/ssm.rs"));
}

/// The tokens up to `at` begin a piece, the one at `at` does not go on with it.
pub struct Unexpected {
    /// The position of that token; the number of tokens where they end too early.
    pub at: usize,
    /// What could have stood there, as the grammar spells it: `name`, or `"let"` in its quotes.
    pub expected: Vec<String>,
}

/// Parses one piece.
///
/// # Errors
/// The first token that does not fit.
pub fn parse_piece(tokens: &[Lexeme<'_>], builder: &mut Builder) -> Result<Piece, Unexpected> {
    use lalrpop_util::ParseError::{ExtraToken, InvalidToken, UnrecognizedEof, UnrecognizedToken, User};

    let triples = tokens.iter().map(|Lexeme { token, span }| (span.start as usize, *token, span.end as usize));
    let position = |start: usize| tokens.partition_point(|lexeme| (lexeme.span.start as usize) < start);
    grammar::PieceParser::new().parse(builder, triples).map_err(|error| match error {
        UnrecognizedToken { token: (start, ..), expected } => Unexpected { at: position(start), expected },
        ExtraToken { token: (start, ..) } | InvalidToken { location: start } => {
            Unexpected { at: position(start), expected: Vec::new() }
        }
        UnrecognizedEof { expected, .. } => Unexpected { at: tokens.len(), expected },
        User { error } => match error {},
    })
}
