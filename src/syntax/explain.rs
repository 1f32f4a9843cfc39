//! Messages about tokens that do not fit: what was expected, what stands there, and the likely slip.

use crate::diag::{Code, Diagnostic, Span, nearest};

use super::token::{Lexeme, Token};

/// A token that does not fit, in the tokens of the whole file.
pub struct Misfit<'a, 's> {
    /// The source text.
    pub source: &'s str,
    /// All tokens.
    pub tokens: &'a [Lexeme<'s>],
    /// Where the piece starts.
    pub start: usize,
    /// The token that does not fit; the number of tokens at the end of the file.
    pub at: usize,
    /// What the grammar would accept there.
    pub expected: &'a [String],
    /// Whether the piece could have ended in front of it.
    pub complete: bool,
}

impl Misfit<'_, '_> {
    /// The diagnostic; `None` where the token itself was reported already.
    pub fn report(&self) -> Option<Diagnostic> {
        let expected = self.expected();
        let Some(found) = self.tokens.get(self.at) else {
            let end = self.tokens.last().map_or(0, |lexeme| lexeme.span.end);
            let place = Span { start: end.saturating_sub(1), end };
            let start = self.tokens[self.start.min(self.tokens.len() - 1)].span;
            let diagnostic =
                Diagnostic::error(Code::S103, place, format!("expected {expected}, found the end of the file"));
            return Some(match self.open_bracket() {
                Some(open) => diagnostic.also(open, "opened here"),
                None => diagnostic.also(start, "begins here"),
            });
        };
        if matches!(found.token, Token::Error | Token::BadNumber) {
            return None;
        }
        let shown = describe(found, self.source);
        let mut diagnostic = Diagnostic::error(Code::S102, found.span, format!("expected {expected}, found {shown}"));
        if let Some(open) = self.open_bracket() {
            diagnostic = diagnostic.also(open, "opened here");
        }
        diagnostic.help = self.slip();
        Some(diagnostic)
    }

    /// The innermost bracket that is open where the token does not fit.
    fn open_bracket(&self) -> Option<Span> {
        let mut open = Vec::new();
        for lexeme in &self.tokens[self.start..self.at.min(self.tokens.len())] {
            match lexeme.token {
                Token::OpenParen | Token::OpenBracket => open.push(lexeme.span),
                Token::CloseParen | Token::CloseBracket => {
                    open.pop();
                }
                _ => {}
            }
        }
        open.pop()
    }

    fn expected(&self) -> String {
        let has = |name: &str| self.expected.iter().any(|token| token == name);
        let mut words: Vec<String> = Vec::new();
        let mut covered: Vec<&str> = Vec::new();
        if has("integer") && has("\"(\"") {
            words.push("an expression".to_owned());
            covered.extend([
                "name",
                "integer",
                "real",
                "imaginary",
                "bad_number",
                "\"(\"",
                "\"-\"",
                "\"not\"",
                "\"if\"",
            ]);
            covered.extend(["\"true\"", "\"false\"", "\"first\""]);
        } else {
            if has("name") {
                words.push("a name".to_owned());
                covered.push("name");
            }
            if has("text") {
                words.push("a string in double quotes".to_owned());
                covered.push("text");
            }
            if has("\"complex\"") && has("\"bool\"") {
                words.push("a type (`complex`, `bool` or `index(N)`)".to_owned());
                covered.extend(["\"complex\"", "\"bool\"", "\"index\""]);
            }
            if has("\"+\"") {
                // Behind an operand: brackets would be a call or an access, and are hardly what is missing.
                covered.extend(["\"+\"", "\"-\"", "\"*\"", "\"/\"", "\"//\"", "\"%\"", "\"^\"", "\"or\"", "\"and\""]);
                covered.extend(["\"<\"", "\"<=\"", "\">\"", "\">=\"", "\"==\"", "\"!=\"", "\"(\"", "\"[\""]);
            }
        }
        // In the order in which a reader expects them.
        let mut rest: Vec<&str> =
            self.expected.iter().map(String::as_str).filter(|token| !covered.contains(token)).collect();
        rest.sort_by_key(|token| (!token.contains([']', ')', '=']), *token));
        words.extend(rest.iter().map(|token| format!("`{}`", token.trim_matches('"'))));
        if has("\"+\"") && !has("integer") {
            words.push("an operator".to_owned());
        }
        if self.complete {
            words.truncate(4);
            let item = self.tokens[self.start].token.starts_item();
            words.push(if item { "the next item" } else { "the next statement" }.to_owned());
        }
        match words.as_slice() {
            [] => "the end of the statement".to_owned(),
            [one] => one.clone(),
            [most @ .., last] => format!("{} or {last}", most.join(", ")),
        }
    }

    /// What the user most likely meant.
    fn slip(&self) -> Option<String> {
        let has = |name: &str| self.expected.iter().any(|token| token == name);
        let found = self.tokens[self.at].token;
        let before = (self.at > self.start).then(|| self.tokens[self.at - 1].token);
        let operand = has("integer") && has("\"(\"");
        let text = match found {
            Token::Arrow if has("\"=\"") && !has("\"+\"") => "what is named or declared takes its value with `=`",
            Token::Arrow => "`<-` is one token; a comparison with a negative number needs a space: `a < -b`",
            Token::Equal if ["\"==\"", "\"then\"", "\"else\"", "\")\""].into_iter().any(has) => {
                "equality is written `==`"
            }
            Token::Star if before == Some(Token::Star) => "powers are written `^`",
            Token::Equal if operand && before.is_some_and(|token| matches!(token, Token::Equal)) => {
                "equality is written `==`"
            }
            Token::Not if operand => "`not` binds loosely here; put it in parentheses with its operand",
            Token::If if operand => "put the `if` in parentheses",
            token if token.is_keyword() && has("name") && !token.starts_statement() && !token.starts_item() => {
                "keywords cannot be names"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }
}

/// A token as it appears in messages.
pub fn describe(lexeme: &Lexeme<'_>, source: &str) -> String {
    let text = &source[lexeme.span.start as usize..lexeme.span.end as usize];
    if text.chars().count() > 40 {
        let shown: String = text.chars().take(40).collect();
        return format!("`{shown}…`");
    }
    match lexeme.token {
        Token::Text(_) => format!("the string `{text}`"),
        token if token.is_keyword() => format!("the keyword `{text}`"),
        _ => format!("`{text}`"),
    }
}

/// The keyword that starts a statement which a misspelt name most likely meant.
pub fn misspelt_statement(name: &str) -> Option<Token<'static>> {
    let known = ["param", "input", "state", "let", "output", "reset"];
    Some(match nearest(&name.to_lowercase(), known).or_else(|| alias(name))? {
        "param" => Token::Param,
        "input" => Token::Input,
        "state" => Token::State,
        "let" => Token::Let,
        "output" => Token::Output,
        _ => Token::Reset,
    })
}

/// Words of other languages.
fn alias(name: &str) -> Option<&'static str> {
    Some(match name {
        "var" | "const" | "val" | "Let" => "let",
        "return" | "out" | "yield" => "output",
        "in_" | "arg" => "input",
        "parameter" | "weight" | "weights" => "param",
        _ => return None,
    })
}

/// The keyword that starts an item which a misspelt name most likely meant.
pub fn misspelt_item(name: &str) -> Option<Token<'static>> {
    match name {
        "def" | "func" | "function" | "fun" => Some(Token::Fn),
        "model" | "module" | "class" | "struct" | "cell" => Some(Token::Layer),
        _ => nearest(&name.to_lowercase(), ["layer"]).map(|_| Token::Layer),
    }
}

/// How a keyword is spelt.
pub fn spelling(token: Token<'_>) -> &'static str {
    match token {
        Token::Param => "param",
        Token::Input => "input",
        Token::State => "state",
        Token::Let => "let",
        Token::Output => "output",
        Token::Reset => "reset",
        Token::Layer => "layer",
        _ => "fn",
    }
}
