//! The tokens of the text of the IR.

use logos::Logos;

/// A token.
#[derive(Logos, Clone, Copy, Debug, PartialEq)]
#[logos(skip r"[ \t\r\n]+", skip(r"#[^\n]*", allow_greedy = true))]
pub(super) enum Token<'a> {
    /// `name%3` or `%3`
    #[regex(r"([A-Za-z_][A-Za-z0-9_]*)?%[0-9]+", |lex| numbered(lex.slice(), '%'))]
    Value((&'a str, u32)),
    /// `name.3`
    #[regex(r"[A-Za-z_][A-Za-z0-9_]*\.[0-9]+", |lex| numbered(lex.slice(), '.'))]
    Index((&'a str, u32)),
    /// An identifier or a keyword.
    #[regex(r"[A-Za-z_][A-Za-z0-9_]*")]
    Word(&'a str),
    /// A string with its quotation marks.
    #[regex(r#""([^"\\\n]|\\["\\n])*""#)]
    Quoted(&'a str),
    /// `3`
    #[regex(r"[0-9]+")]
    Integer(&'a str),
    /// `3.0`, `1e9`, `0inf`, `0nan`
    #[regex(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", float, priority = 1)]
    #[regex(r"0inf|0nan", float)]
    Real(f64),
    /// The same with an `i`.
    #[regex(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?i", float)]
    #[regex(r"0infi|0nani", float)]
    Imaginary(f64),
    /// Signs.
    #[regex(r"//|<=|>=|==|!=|[-+*/%<>=()\[\],:^]")]
    Sign(&'a str),
}

fn numbered(text: &str, separator: char) -> Option<(&str, u32)> {
    let (name, number) = text.split_once(separator)?;
    Some((name, number.parse().ok()?))
}

fn float<'a>(lex: &mut logos::Lexer<'a, Token<'a>>) -> Option<f64> {
    match lex.slice() {
        "0inf" | "0infi" => Some(f64::INFINITY),
        "0nan" | "0nani" => Some(f64::NAN),
        text => text.trim_end_matches('i').parse().ok(),
    }
}
