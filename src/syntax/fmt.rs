//! Formatting: the same tokens and comments with normal spacing and line breaks.
//!
//! In: a text that parses. Out: the same text with one statement a line, four spaces of indentation, lines of at most
//! [`WIDTH`] columns where the tokens allow it, and at most one blank line in a row. All comments stay: those behind
//! a token stay behind it, those on a line of their own stay on one.
//!
//! Where lines break follows from the tokens and comments alone, never from the breaks of the input, so formatting
//! twice changes nothing.

use std::ops::Range;

use crate::diag::{Diagnostic, Severity};

use super::recover::{Begins, beginnings};
use super::token::{Lexeme, Token, lex};

/// The width that lines are wrapped to.
const WIDTH: usize = 100;
/// The indentation of statements.
const INDENT: usize = 4;
/// How much further the second and later lines of a statement are indented.
const CONTINUATION: usize = 8;

/// Formats a source text.
///
/// # Errors
/// What the parser says about a text that it does not understand.
pub fn format(source: &str) -> Result<String, Vec<Diagnostic>> {
    let (_, diagnostics) = super::parse(source);
    if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        return Err(diagnostics);
    }
    let lexed = lex(source, 1);
    let comments = lexed.comments.iter().map(|span| span.start as usize..span.end as usize).collect();
    let mut formatter = Formatter {
        source,
        tokens: &lexed.tokens,
        comments,
        next_comment: 0,
        behind: 0,
        opened: false,
        out: String::new(),
    };
    formatter.out.reserve(source.len() + source.len() / 8);
    for piece in pieces(&lexed.tokens) {
        formatter.piece(piece);
    }
    formatter.comments_before(source.len(), 0);
    if !formatter.out.is_empty() {
        formatter.out.push('\n');
    }
    Ok(formatter.out)
}

/// Cuts the tokens into what gets a line of its own.
fn pieces(tokens: &[Lexeme<'_>]) -> Vec<Range<usize>> {
    let begins = beginnings(tokens);
    let mut pieces = Vec::new();
    let mut start = 0;
    for position in 0..tokens.len() {
        let token = tokens[position].token;
        let opened = position > 0 && tokens[position - 1].token == Token::OpenBrace;
        let starts = token.starts_item()
            || token.starts_statement()
            || token == Token::CloseBrace
            || begins[position] == Begins::Update;
        if position > start && (starts || opened) {
            pieces.push(start..position);
            start = position;
        }
    }
    if start < tokens.len() {
        pieces.push(start..tokens.len());
    }
    pieces
}

struct Formatter<'a> {
    source: &'a str,
    tokens: &'a [Lexeme<'a>],
    comments: Vec<Range<usize>>,
    next_comment: usize,
    /// The offset behind what was written so far.
    behind: usize,
    /// Whether only a comment was written behind the last opening brace.
    opened: bool,
    out: String,
}

impl Formatter<'_> {
    fn piece(&mut self, piece: Range<usize>) {
        let first = &self.tokens[piece.start];
        let closes = first.token == Token::CloseBrace;
        let indent = if first.token.starts_item() || closes { 0 } else { INDENT };
        let comment_indent = if closes { INDENT } else { indent };
        self.comments_before(first.span.start as usize, comment_indent);
        self.line_before(first.span.start as usize, indent, closes);

        // Comments inside a statement cut it into stretches, which are wrapped one by one.
        let gaps = gaps(&self.tokens[piece.clone()]);
        let mut start = piece.start;
        for position in piece.clone() {
            let end = self.tokens[position].span.end as usize;
            let last = position + 1 == piece.end;
            let commented = !last
                && self
                    .comments
                    .get(self.next_comment)
                    .is_some_and(|comment| comment.start < self.tokens[position + 1].span.start as usize);
            if !last && !commented {
                continue;
            }
            let column = if start == piece.start { indent } else { indent + CONTINUATION };
            self.wrap(start..position + 1, &gaps[start - piece.start..], column, indent + CONTINUATION);
            self.behind = end;
            self.opened = self.tokens[position].token == Token::OpenBrace;
            start = position + 1;
            if commented {
                self.comments_inside(self.tokens[start].span.start as usize, indent + CONTINUATION);
            }
        }
    }

    /// Writes the comments between statements that stand in front of `offset`.
    fn comments_before(&mut self, offset: usize, indent: usize) {
        while let Some(comment) = self.comments.get(self.next_comment).filter(|comment| comment.start < offset).cloned()
        {
            let same_line = !self.source[self.behind..comment.start].contains('\n');
            if same_line && !self.out.is_empty() {
                self.out.push_str("  ");
            } else {
                self.line_before(comment.start, indent, false);
            }
            self.write_comment(comment);
        }
    }

    /// Writes the comments inside a statement that stand in front of `offset`, and starts its next line.
    fn comments_inside(&mut self, offset: usize, indent: usize) {
        while let Some(comment) = self.comments.get(self.next_comment).filter(|comment| comment.start < offset).cloned()
        {
            if self.source[self.behind..comment.start].contains('\n') {
                self.start_line(indent);
            } else {
                self.out.push_str("  ");
            }
            self.write_comment(comment);
        }
        self.start_line(indent);
    }

    fn write_comment(&mut self, comment: Range<usize>) {
        self.next_comment += 1;
        self.behind = comment.end;
        self.out.push_str(&self.source[comment]);
    }

    /// Starts the line of what stands at `offset`, behind a blank line if the user left one there.
    fn line_before(&mut self, offset: usize, indent: usize, closes: bool) {
        if self.out.is_empty() {
            return;
        }
        let blank = self.source[self.behind..offset].bytes().filter(|byte| *byte == b'\n').count() > 1;
        if blank && !self.opened && !closes {
            self.out.push('\n');
        }
        self.opened = false;
        self.start_line(indent);
    }

    fn start_line(&mut self, indent: usize) {
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n(' ', indent));
    }

    /// Writes tokens from `column` on, and further lines at `indent` where they do not fit.
    fn wrap(&mut self, tokens: Range<usize>, gaps: &[Gap], mut column: usize, indent: usize) {
        let mut start = tokens.start;
        while start < tokens.end {
            let end = self.line_end(start, tokens.clone(), gaps, column);
            for position in start..end {
                if position > start && gaps[position - tokens.start].space {
                    self.out.push(' ');
                }
                let span = self.tokens[position].span;
                self.out.push_str(&self.source[span.start as usize..span.end as usize]);
            }
            if end < tokens.end {
                self.start_line(indent);
                column = indent;
            }
            start = end;
        }
    }

    /// The best place to break the line that begins with the token `start`.
    fn line_end(&self, start: usize, tokens: Range<usize>, gaps: &[Gap], column: usize) -> usize {
        let mut width = column;
        let mut best: Option<(u32, usize)> = None;
        for position in start..tokens.end {
            let gap = gaps[position - tokens.start];
            let span = self.tokens[position].span;
            let text = &self.source[span.start as usize..span.end as usize];
            if position > start
                && let Some(cost) = gap.cost
            {
                if width > WIDTH
                    && let Some((_, best)) = best
                {
                    return best;
                }
                if best.is_none_or(|(least, _)| cost <= least) {
                    best = Some((cost, position));
                }
            }
            width += text.chars().count() + usize::from(gap.space && position > start);
        }
        match best {
            Some((_, best)) if width > WIDTH => best,
            _ => tokens.end,
        }
    }
}

/// What stands in front of a token.
#[derive(Clone, Copy)]
struct Gap {
    /// A space, if no line break.
    space: bool,
    /// How bad a line break would be there, if it may be at all.
    cost: Option<u32>,
}

/// What a break costs more inside parentheses and inside brackets.
const IN_PAREN: u32 = 20;
const IN_BRACKET: u32 = 50;

/// The gaps in front of each token of a statement.
fn gaps(tokens: &[Lexeme<'_>]) -> Vec<Gap> {
    let mut gaps = Vec::with_capacity(tokens.len());
    let mut nesting = 0_u32;
    let mut before: Option<(Token<'_>, bool)> = None;
    for lexeme in tokens {
        let token = lexeme.token;
        let sign = token == Token::Minus && !before.is_some_and(|(before, _)| before.ends_operand());
        let Some((previous, previous_sign)) = before.replace((token, sign)) else {
            gaps.push(Gap { space: false, cost: None });
            continue;
        };
        match previous {
            Token::OpenParen => nesting += IN_PAREN,
            Token::OpenBracket => nesting += IN_BRACKET,
            _ => {}
        }
        let space = !previous_sign && spaced(previous, token);
        let level = if sign { None } else { break_level(previous, token, space) };
        gaps.push(Gap { space, cost: level.map(|level| nesting + level) });
        match token {
            Token::CloseParen => nesting = nesting.saturating_sub(IN_PAREN),
            Token::CloseBracket => nesting = nesting.saturating_sub(IN_BRACKET),
            _ => {}
        }
    }
    gaps
}

fn spaced(previous: Token<'_>, token: Token<'_>) -> bool {
    use Token::*;
    !matches!(
        (previous, token),
        (_, Comma | Colon | CloseParen | CloseBracket | Caret)
            | (OpenParen | OpenBracket | Caret, _)
            | (Name(_) | Index | CloseBracket, OpenParen)
            | (Name(_) | CloseParen, OpenBracket)
    )
}

/// How bad a break in front of `token` is, from the outermost separator to the innermost operator.
fn break_level(previous: Token<'_>, token: Token<'_>, space: bool) -> Option<u32> {
    use Token::*;
    Some(match (previous, token) {
        (Comma, _) => 0,
        (_, Then | Else) => 1,
        (_, Or) => 2,
        (_, And) => 3,
        (_, Less | LessEqual | Greater | GreaterEqual | DoubleEqual | NotEqual) => 4,
        (_, Plus | Minus) => 5,
        (_, Star | Slash | DoubleSlash | Percent) => 6,
        // Where there is nothing better.
        (_, OpenBrace) => return None,
        (Equal | Arrow, _) => 1000,
        (OpenParen, _) => 2000,
        _ if space => 3000,
        _ => return None,
    })
}
