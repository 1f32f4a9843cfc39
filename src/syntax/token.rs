//! Tokens: what the characters of a source file spell.
//!
//! In: text. Out: [`Lexed`], the tokens and the comments in order, each with its span, and what could not be read.
//!
//! Invariants: tokens do not overlap and their spans ascend; where a diagnostic was reported a token
//! [`Token::Error`] or [`Token::BadNumber`] stands, so that the parser reports nothing there a second time. Sources over
//! [`MAX_BYTES`] or of more than [`MAX_TOKENS`] tokens are refused, which bounds the memory of all that follows.

use std::fmt::Write as _;

use logos::Logos;

use crate::diag::{Code, Diagnostic, Span};

/// The longest source text that is read, in bytes.
pub const MAX_BYTES: usize = 16 << 20;

/// The largest number of tokens in a file.
pub const MAX_TOKENS: usize = 1 << 20;

/// Why characters are no token.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum LexError {
    /// No token starts with this character.
    #[default]
    Unknown,
    /// A string that its line does not close.
    OpenString,
    /// `.5`, `1.`
    BarePoint,
    /// `2x`
    NumberThenName,
    /// An integer beyond 64 bits.
    IntTooLarge,
    /// A real number beyond 64 bits.
    RealTooLarge,
}

/// A token.
#[derive(Logos, Clone, Copy, Debug, PartialEq)]
#[logos(skip r"[ \t\r\n\x0C\u{feff}]+", error = LexError)]
#[allow(missing_docs, reason = "each variant is named after the text beside it")]
pub enum Token<'s> {
    #[token("layer")]
    Layer,
    #[token("fn")]
    Fn,
    #[token("param")]
    Param,
    #[token("input")]
    Input,
    #[token("state")]
    State,
    #[token("let")]
    Let,
    #[token("output")]
    Output,
    #[token("reset")]
    Reset,
    #[token("when")]
    When,
    #[token("if")]
    If,
    #[token("then")]
    Then,
    #[token("else")]
    Else,
    #[token("in")]
    In,
    #[token("and")]
    And,
    #[token("or")]
    Or,
    #[token("not")]
    Not,
    #[token("true")]
    True,
    #[token("false")]
    False,
    #[token("complex")]
    Complex,
    #[token("index")]
    Index,
    #[token("bool")]
    Bool,
    #[token("reverse")]
    Reverse,
    #[token("from")]
    From,
    #[token("first")]
    First,

    #[token("<-")]
    Arrow,
    #[token("+")]
    Plus,
    #[token("-")]
    Minus,
    #[token("*")]
    Star,
    #[token("/")]
    Slash,
    #[token("//")]
    DoubleSlash,
    #[token("%")]
    Percent,
    #[token("^")]
    Caret,
    #[token("<")]
    Less,
    #[token("<=")]
    LessEqual,
    #[token(">")]
    Greater,
    #[token(">=")]
    GreaterEqual,
    #[token("==")]
    DoubleEqual,
    #[token("!=")]
    NotEqual,
    #[token("=")]
    Equal,
    #[token("(")]
    OpenParen,
    #[token(")")]
    CloseParen,
    #[token("[")]
    OpenBracket,
    #[token("]")]
    CloseBracket,
    #[token("{")]
    OpenBrace,
    #[token("}")]
    CloseBrace,
    #[token(",")]
    Comma,
    #[token(":")]
    Colon,

    /// An identifier.
    #[regex(r"[A-Za-z_][A-Za-z0-9_]*", priority = 3)]
    Name(&'s str),
    /// An integer literal.
    #[regex(r"[0-9]+", |lex| lex.slice().parse().map_err(|_| LexError::IntTooLarge), priority = 10)]
    Int(i64),
    /// A real literal.
    #[regex(r"[0-9]+(\.[0-9]+([eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)", |lex| real(lex.slice()), priority = 10)]
    Real(f64),
    /// An imaginary literal.
    #[regex(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?i", |lex| real(lex.slice().trim_end_matches('i')), priority = 10)]
    Imaginary(f64),
    /// A string without its quotes.
    #[regex(r#""[^"\n]*""#, |lex| lex.slice().trim_matches('"'))]
    Text(&'s str),

    /// A comment, to the end of its line. Never among the tokens of [`Lexed`].
    #[regex(r"#[^\n]*", allow_greedy = true)]
    Comment,
    /// A number about which a diagnostic was reported.
    #[regex(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?[A-Za-z_][A-Za-z0-9_]*", |_| refuse(LexError::NumberThenName), priority = 5)]
    #[regex(r"\.[0-9]+([eE][+-]?[0-9]+)?i?", |_| refuse(LexError::BarePoint))]
    #[regex(r"[0-9]+\.", |_| refuse(LexError::BarePoint))]
    BadNumber,
    /// Characters about which a diagnostic was reported.
    #[regex(r#""[^"\n]*"#, |_| refuse(LexError::OpenString))]
    Error,
}

fn refuse(error: LexError) -> Result<(), LexError> {
    Err(error)
}

fn real(digits: &str) -> Result<f64, LexError> {
    match digits.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(LexError::RealTooLarge),
    }
}

/// The words that cannot be names.
pub const KEYWORDS: &[&str] = &[
    "layer", "fn", "param", "input", "state", "let", "output", "reset", "when", "if", "then", "else", "in", "and",
    "or", "not", "true", "false", "complex", "index", "bool", "reverse", "from", "first",
];

impl Token<'_> {
    /// What sort of token it is, for dumps.
    pub fn kind(&self) -> &'static str {
        match self {
            Token::Name(_) => "name",
            Token::Int(_) => "integer",
            Token::Real(_) => "real",
            Token::Imaginary(_) => "imaginary",
            Token::Text(_) => "string",
            Token::BadNumber | Token::Error => "error",
            Token::Comment => "comment",
            _ if self.is_keyword() => "keyword",
            _ => "symbol",
        }
    }

    /// Whether it is one of [`KEYWORDS`].
    pub fn is_keyword(&self) -> bool {
        use Token::*;
        matches!(
            self,
            Layer
                | Fn
                | Param
                | Input
                | State
                | Let
                | Output
                | Reset
                | When
                | If
                | Then
                | Else
                | In
                | And
                | Or
                | Not
                | True
                | False
                | Complex
                | Index
                | Bool
                | Reverse
                | From
                | First
        )
    }

    /// Whether it is a keyword that starts a statement.
    pub fn starts_statement(&self) -> bool {
        use Token::*;
        matches!(self, Param | Input | State | Let | Output | Reset)
    }

    /// Whether it is a keyword that starts an item.
    pub fn starts_item(&self) -> bool {
        matches!(self, Token::Layer | Token::Fn)
    }

    /// Whether an expression can end with it.
    pub fn ends_operand(&self) -> bool {
        use Token::*;
        matches!(
            self,
            Name(_) | Int(_) | Real(_) | Imaginary(_) | BadNumber | True | False | First | CloseParen | CloseBracket
        )
    }
}

/// A token with its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lexeme<'s> {
    /// The token.
    pub token: Token<'s>,
    /// Where it stands.
    pub span: Span,
}

/// The tokens of a source text.
#[derive(Clone, Debug, Default)]
pub struct Lexed<'s> {
    /// All tokens but the comments.
    pub tokens: Vec<Lexeme<'s>>,
    /// The comments, each from its `#` to the end of its line without trailing blanks.
    pub comments: Vec<Span>,
    /// What could not be read.
    pub diagnostics: Vec<Diagnostic>,
}

/// Splits a text into tokens; reports at most `limit` diagnostics.
///
/// # Errors
/// [`Lexed::diagnostics`] has S101 and S104 where characters spell no token, and S408 alone for a text that is too large.
pub fn lex(source: &str, limit: usize) -> Lexed<'_> {
    let mut lexed = Lexed::default();
    if source.len() > MAX_BYTES {
        let message = format!("a source text of {} bytes; the limit is {MAX_BYTES}", source.len());
        lexed.diagnostics.push(Diagnostic::error(Code::S408, Span::new(0, 0), message));
        return lexed;
    }
    for (token, range) in Token::lexer(source).spanned() {
        let span = Span::new(range.start, range.end);
        let token = match token {
            Ok(Token::Comment) => {
                let end = range.start + source[range].trim_end().len();
                lexed.comments.push(Span { start: span.start, end: end as u32 });
                continue;
            }
            Ok(token) => token,
            Err(error) => {
                if error == LexError::Unknown && extend_error(&mut lexed, span) {
                    continue;
                }
                if lexed.diagnostics.len() < limit {
                    lexed.diagnostics.push(describe(error, span, &source[range]));
                }
                match error {
                    LexError::Unknown | LexError::OpenString => Token::Error,
                    _ => Token::BadNumber,
                }
            }
        };
        if lexed.tokens.len() == MAX_TOKENS {
            let message = format!("a source text of more than {MAX_TOKENS} tokens");
            lexed = Lexed { diagnostics: vec![Diagnostic::error(Code::S408, span, message)], ..Lexed::default() };
            break;
        }
        lexed.tokens.push(Lexeme { token, span });
    }
    lexed
}

/// Adds characters to the error right in front of them.
fn extend_error(lexed: &mut Lexed, span: Span) -> bool {
    let Some(last) = lexed.tokens.last_mut() else {
        return false;
    };
    if last.token != Token::Error || last.span.end != span.start {
        return false;
    }
    if let Some(label) = lexed.diagnostics.last_mut().and_then(|diagnostic| diagnostic.primary.as_mut())
        && label.span == last.span
    {
        label.span.end = span.end;
    }
    last.span.end = span.end;
    true
}

fn describe(error: LexError, span: Span, text: &str) -> Diagnostic {
    let shown: String = text.chars().take(40).collect();
    match error {
        LexError::Unknown => unknown(span, text),
        LexError::OpenString => Diagnostic::error(Code::S101, span, "a string without its closing quote")
            .help("a string ends on the line on which it starts"),
        LexError::BarePoint => Diagnostic::error(
            Code::S101,
            span,
            format!("`{shown}` is no number: digits stand on both sides of the point"),
        ),
        LexError::NumberThenName => {
            Diagnostic::error(Code::S101, span, format!("`{shown}` is neither a number nor a name"))
        }
        LexError::IntTooLarge => Diagnostic::error(Code::S104, span, format!("an integer above {}", i64::MAX)),
        LexError::RealTooLarge => {
            Diagnostic::error(Code::S104, span, "a number beyond the range of 64-bit floating point")
        }
    }
}

fn unknown(span: Span, text: &str) -> Diagnostic {
    let character = text.chars().next().unwrap_or(char::REPLACEMENT_CHARACTER);
    let named = if character.is_control() {
        format!("unexpected character U+{:04X}", u32::from(character))
    } else {
        format!("unexpected character `{character}`")
    };
    let diagnostic = Diagnostic::error(Code::S101, span, named);
    match character {
        '&' => diagnostic.help("conjunction is written `and`"),
        '|' => diagnostic.help("disjunction is written `or`"),
        '!' => diagnostic.help("negation is written `not`"),
        ';' => diagnostic.help("nothing ends a statement; leave the semicolon out"),
        '\'' | '“' | '”' | '`' => diagnostic.help("strings are written in double quotes"),
        '←' => diagnostic.help("an update is written with `<-`"),
        '−' | '–' => diagnostic.help("minus is written `-`"),
        '×' | '·' | '⋅' => diagnostic.help("multiplication is written `*`"),
        '≤' => diagnostic.help("the comparison is written `<=`"),
        '≥' => diagnostic.help("the comparison is written `>=`"),
        _ => diagnostic,
    }
}

/// The tokens as text, one a line: `line:column-line:column kind text`. Columns count characters from 1.
pub fn tokens(source: &str) -> (String, Vec<Diagnostic>) {
    let lexed = lex(source, super::MAX_DIAGNOSTICS);
    let mut text = String::new();
    let mut position = Position { offset: 0, line: 1, column: 1 };
    for Lexeme { token, span } in &lexed.tokens {
        position.advance(source, span.start as usize);
        let start = (position.line, position.column);
        position.advance(source, span.end as usize);
        let spelt = &source[span.start as usize..span.end as usize];
        let end = (position.line, position.column);
        let _ = writeln!(text, "{}:{}-{}:{} {} {spelt}", start.0, start.1, end.0, end.1, token.kind());
    }
    (text, lexed.diagnostics)
}

/// A place that only moves forward, so that a whole file is counted once.
struct Position {
    offset: usize,
    line: usize,
    column: usize,
}

impl Position {
    fn advance(&mut self, source: &str, to: usize) {
        for character in source[self.offset..to].chars() {
            if character == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.offset = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(source: &str) -> Vec<Token<'_>> {
        lex(source, 50).tokens.into_iter().map(|lexeme| lexeme.token).collect()
    }

    fn codes(source: &str) -> Vec<Code> {
        lex(source, 50).diagnostics.into_iter().map(|diagnostic| diagnostic.code).collect()
    }

    #[test]
    fn keywords_are_whole_words() {
        for keyword in KEYWORDS {
            assert!(kinds(keyword)[0].is_keyword(), "{keyword}");
            let longer = format!("{keyword}_1");
            assert_eq!(kinds(&longer), [Token::Name(&longer)]);
        }
    }

    #[test]
    fn the_arrow_is_one_token() {
        assert_eq!(kinds("a<-b"), [Token::Name("a"), Token::Arrow, Token::Name("b")]);
        assert_eq!(kinds("a < -b"), [Token::Name("a"), Token::Less, Token::Minus, Token::Name("b")]);
        assert_eq!(kinds("<=/// %"), [Token::LessEqual, Token::DoubleSlash, Token::Slash, Token::Percent]);
    }

    #[test]
    fn numbers() {
        assert_eq!(
            kinds("2 0.5 1e-5 1.5E+3"),
            [Token::Int(2), Token::Real(0.5), Token::Real(1e-5), Token::Real(1500.0)]
        );
        assert_eq!(kinds("2i 2.5i 1e2i"), [Token::Imaginary(2.0), Token::Imaginary(2.5), Token::Imaginary(100.0)]);
        assert_eq!(kinds("9223372036854775807"), [Token::Int(i64::MAX)]);
        assert_eq!(codes("9223372036854775808"), [Code::S104]);
        assert_eq!(codes("1e999 1e999i"), [Code::S104, Code::S104]);
        assert_eq!(codes("2x 1e 2if .5 1."), [Code::S101; 5]);
        assert_eq!(kinds("1."), [Token::BadNumber]);
    }

    #[test]
    fn strings_and_comments() {
        assert_eq!(kinds("\"a.b\" # \"x\n\"\""), [Token::Text("a.b"), Token::Text("")]);
        assert_eq!(codes("\"abc\nlayer"), [Code::S101]);
        assert_eq!(kinds("\"abc\nlayer"), [Token::Error, Token::Layer]);
        assert_eq!(lex("a # b \nc#", 50).comments, [Span::new(2, 5), Span::new(8, 9)]);
    }

    #[test]
    fn unknown_characters_are_reported_in_runs() {
        assert_eq!(codes("a $$$ b é\u{1F600}"), [Code::S101; 2]);
        assert_eq!(lex("$$$", 50).diagnostics[0].primary.as_ref().map(|label| label.span), Some(Span::new(0, 3)));
    }

    #[test]
    fn the_dump_has_places() {
        let (text, diagnostics) = tokens("h[d] <-\n \"é\" x");
        assert!(diagnostics.is_empty());
        assert_eq!(
            text,
            "1:1-1:2 name h\n1:2-1:3 symbol [\n1:3-1:4 name d\n1:4-1:5 symbol ]\n1:6-1:8 symbol <-\n\
             2:2-2:5 string \"é\"\n2:6-2:7 name x\n",
        );
    }

    #[test]
    fn sizes_are_limited() {
        assert_eq!(codes(&" ".repeat(MAX_BYTES + 1)), [Code::S408]);
        assert_eq!(codes(&"-".repeat(MAX_TOKENS + 1)), [Code::S408]);
    }
}
