//! Cuts a file into items and statements, parses each, and goes on behind errors.
//!
//! A piece ends in front of a keyword that starts a statement or an item, in front of `name <-` or `name[..] <-`, and at a
//! brace. None of these can stand inside an expression, so in a correct file the cuts are exact, and in a wrong
//! one an unclosed bracket reaches to the end of its statement and no further.
//!
//! Where a piece fails at a token in front of which it was complete, what stands in front is kept and the rest is tried as
//! a statement of its own; a misspelt keyword is reported and then read as the one that was meant, so that the names
//! declared behind it are known to what follows.

use crate::diag::{Code, Diagnostic, Span};

use super::MAX_DIAGNOSTICS;
use super::ast::{File, Item, Layer, MAX_DEPTH, Name, Statement};
use super::build::{Builder, LayerHead, Piece, too_deep};
use super::explain::{Misfit, describe, misspelt_item, misspelt_statement, spelling};
use super::parse::{Unexpected, parse_piece};
use super::token::{Lexeme, Token};

/// Parses the tokens of a file.
pub fn parse_file(source: &str, tokens: Vec<Lexeme<'_>>) -> (File, Vec<Diagnostic>) {
    let begins = beginnings(&tokens);
    let mut parser = Parser { source, tokens, begins, position: 0, diagnostics: Vec::new() };
    let mut file = File::default();
    while parser.position < parser.tokens.len() && !parser.full() {
        parser.item(&mut file);
    }
    (file, parser.diagnostics)
}

/// What a name begins, judged by what follows it.
#[derive(Clone, Copy, PartialEq)]
pub enum Begins {
    /// `name <-`, `name[..] <-`: a statement, wherever it stands.
    Update,
    /// `name =`, `name[..] =`: a part of a list, or an update that is written wrongly.
    Definition,
    /// Anything else.
    Nothing,
}

/// What each token begins.
pub fn beginnings(tokens: &[Lexeme<'_>]) -> Vec<Begins> {
    let mut begins = vec![Begins::Nothing; tokens.len()];
    let mut open: Vec<usize> = Vec::new();
    // The bracket that the token in front closes.
    let mut closed: Option<usize> = None;
    for (position, lexeme) in tokens.iter().enumerate() {
        let mut closes = None;
        match lexeme.token {
            Token::OpenBracket | Token::OpenParen => open.push(position),
            Token::CloseBracket | Token::CloseParen => closes = open.pop(),
            Token::Arrow | Token::Equal => {
                let behind = closed.filter(|&bracket| tokens[bracket].token == Token::OpenBracket).unwrap_or(position);
                if behind > 0 && matches!(tokens[behind - 1].token, Token::Name(_)) {
                    let update = lexeme.token == Token::Arrow;
                    begins[behind - 1] = if update { Begins::Update } else { Begins::Definition };
                }
            }
            token if token.starts_statement() || token.starts_item() => open.clear(),
            _ => {}
        }
        closed = closes;
    }
    begins
}

struct Parser<'s> {
    source: &'s str,
    tokens: Vec<Lexeme<'s>>,
    begins: Vec<Begins>,
    position: usize,
    diagnostics: Vec<Diagnostic>,
}

/// The end of a piece, and whether it is nested too deeply to be parsed.
struct Cut {
    end: usize,
    too_deep: Option<Span>,
}

impl<'s> Parser<'s> {
    fn token(&self, position: usize) -> Option<Token<'s>> {
        self.tokens.get(position).map(|lexeme| lexeme.token)
    }

    /// Whether so much was reported that more would not help.
    fn full(&self) -> bool {
        self.diagnostics.len() > MAX_DIAGNOSTICS
    }

    fn span(&self, start: usize, end: usize) -> Span {
        let last = end.max(start + 1).min(self.tokens.len()) - 1;
        self.tokens[start.min(last)].span.to(self.tokens[last].span)
    }

    fn first_on_line(&self, position: usize) -> bool {
        let behind = position.checked_sub(1).map_or(0, |before| self.tokens[before].span.end as usize);
        position == 0 || self.source[behind..self.tokens[position].span.start as usize].contains('\n')
    }

    /// Whether a statement starts at a token, seen from a piece in which `depth` brackets are open.
    ///
    /// True for each statement of a correct file but the first of a layer, and else only where no correct piece goes on.
    fn starts_statement(&self, position: usize, depth: usize) -> bool {
        let Lexeme { token, .. } = self.tokens[position];
        let Token::Name(_) = token else {
            return token.starts_statement();
        };
        let complete = position == 0 || ends_statement(self.tokens[position - 1].token);
        match self.begins[position] {
            Begins::Update => self.first_on_line(position) || depth == 0 && complete,
            Begins::Definition => complete && self.first_on_line(position),
            Begins::Nothing => self.meant(position).is_some() && self.first_on_line(position),
        }
    }

    /// Where the piece that starts at a token ends.
    fn cut(&self, start: usize) -> Cut {
        let mut cut = Cut { end: start + 1, too_deep: None };
        let (mut depth, mut braces) = (0_usize, 0_usize);
        while let Some(token) = self.token(cut.end) {
            match token {
                Token::OpenParen | Token::OpenBracket => {
                    depth += 1;
                    if depth > MAX_DEPTH as usize && cut.too_deep.is_none() {
                        cut.too_deep = Some(self.tokens[cut.end].span);
                    }
                }
                Token::CloseParen | Token::CloseBracket => depth = depth.saturating_sub(1),
                Token::OpenBrace if self.tokens[start].token.starts_item() => break,
                Token::OpenBrace => braces += 1,
                Token::CloseBrace if braces == 0 => break,
                Token::CloseBrace => braces -= 1,
                _ if token.starts_item() || self.starts_statement(cut.end, depth) => break,
                _ => {}
            }
            cut.end += 1;
        }
        cut
    }

    fn item(&mut self, file: &mut File) {
        let start = self.position;
        match self.tokens[start].token {
            Token::Layer => {
                if let Some(layer) = self.layer() {
                    file.items.push(Item::Layer(layer));
                }
            }
            Token::Fn => {
                let cut = self.cut(start);
                if let Some(Piece::Function(function)) = self.piece(start, cut) {
                    file.items.push(Item::Function(function));
                }
            }
            token => {
                let found = describe(&self.tokens[start], self.source);
                let mut message = format!("expected `layer` or `fn`, found {found}");
                if self.starts_statement(start, 0) {
                    message = "a statement outside of a layer".to_owned();
                }
                let mut diagnostic = Diagnostic::error(Code::S102, self.tokens[start].span, message);
                if let Some(meant) = self.meant_item(start) {
                    diagnostic = diagnostic.help(format!("did you mean `{}`?", spelling(meant)));
                    self.tokens[start].token = meant;
                } else {
                    self.position += 1;
                    while self.token(self.position).is_some_and(|token| !token.starts_item())
                        && !(self.meant_item(self.position).is_some() && self.first_on_line(self.position))
                    {
                        self.position += 1;
                    }
                }
                if token != Token::Error {
                    self.diagnostics.push(diagnostic);
                }
            }
        }
    }

    /// The keyword of an item that a name was meant to be.
    fn meant_item(&self, position: usize) -> Option<Token<'static>> {
        match (self.token(position), self.token(position + 1)) {
            (Some(Token::Name(name)), Some(Token::Name(_))) => misspelt_item(name),
            _ => None,
        }
    }

    fn layer(&mut self) -> Option<Layer> {
        let start = self.position;
        let cut = self.cut(start);
        let failed = self.diagnostics.len();
        let head = match self.piece(start, cut) {
            Some(Piece::LayerHead(head)) => head,
            _ => LayerHead { name: self.name_behind(start), dims: Vec::new(), span: self.span(start, self.position) },
        };
        let mut layer = Layer { name: head.name, dims: head.dims, statements: Vec::new(), span: head.span };
        let open = self.position;
        if self.token(open) == Some(Token::OpenBrace) {
            self.position += 1;
        } else if self.diagnostics.len() == failed {
            self.misfit(start, &Unexpected { at: open - start, expected: vec!["\"{\"".to_owned()] }, false);
        }
        // Without a brace the statements may be there all the same.
        let next = self.tokens.get(self.position);
        if self.position > open || next.is_some_and(|next| !next.token.starts_item()) {
            self.body(start, &mut layer);
        }
        layer.span = self.span(start, self.position);
        (!layer.name.text.is_empty()).then_some(layer)
    }

    /// The name of an item whose head did not parse; empty if there is none.
    fn name_behind(&self, start: usize) -> Name {
        match self.tokens.get(start + 1) {
            Some(Lexeme { token: Token::Name(text), span }) => Name { text: (*text).to_owned(), span: *span },
            _ => Name { text: String::new(), span: self.tokens[start].span },
        }
    }

    /// The statements of a layer and its closing brace.
    fn body(&mut self, start: usize, layer: &mut Layer) {
        while !self.full() {
            match self.token(self.position) {
                Some(Token::CloseBrace) => {
                    self.position += 1;
                    return;
                }
                Some(token) if !token.starts_item() => self.statement(&mut layer.statements),
                end => {
                    let ended = self.diagnostics.iter().any(|diagnostic| diagnostic.code == Code::S103);
                    if end.is_some() || !ended {
                        self.unclosed(start);
                    }
                    return;
                }
            }
        }
    }

    fn unclosed(&mut self, start: usize) {
        let name = describe(&self.tokens[(start + 1).min(self.tokens.len() - 1)], self.source);
        let diagnostic = match self.tokens.get(self.position) {
            Some(found) => {
                let message = format!("expected `}}`, found {}", describe(found, self.source));
                Diagnostic::error(Code::S102, found.span, message).help("close the layer in front of the next item")
            }
            None => {
                let last = self.tokens[self.tokens.len() - 1].span;
                let place = Span { start: last.end - 1, end: last.end };
                Diagnostic::error(Code::S103, place, format!("the file ends inside the layer {name}"))
                    .help("close it with `}`")
            }
        };
        self.diagnostics.push(diagnostic.also(self.tokens[start].span, "this layer is not closed"));
    }

    fn statement(&mut self, statements: &mut Vec<Statement>) {
        let start = self.position;
        let cut = self.cut(start);
        match self.piece(start, cut) {
            Some(Piece::Statements(found)) => statements.extend(found),
            // A misspelt keyword was mended: the same place is tried again.
            _ if self.position == start => {}
            _ => statements.push(Statement::Error(self.span(start, self.position))),
        }
    }

    /// Parses a piece and moves behind it; reports what is wrong.
    fn piece(&mut self, start: usize, cut: Cut) -> Option<Piece> {
        if let Some(place) = cut.too_deep {
            self.diagnostics.push(too_deep(place));
            self.position = cut.end;
            return None;
        }
        let mut builder = Builder::default();
        match parse_piece(&self.tokens[start..cut.end], &mut builder) {
            Ok(piece) => {
                self.diagnostics.append(&mut builder.diagnostics);
                self.position = cut.end;
                Some(piece)
            }
            Err(unexpected) => self.recover(start, cut.end, &unexpected),
        }
    }

    fn recover(&mut self, start: usize, end: usize, unexpected: &Unexpected) -> Option<Piece> {
        let at = start + unexpected.at;
        let token = self.tokens[start].token;
        if !token.starts_item() && !token.starts_statement() && self.begins[start] != Begins::Update {
            if !self.mend(start) {
                self.no_statement(start, end);
                self.position = end;
            }
            return None;
        }
        // In front of the misfit the piece may be complete; then something else begins there.
        let mut builder = Builder::default();
        let front = parse_piece(&self.tokens[start..at], &mut builder).ok();
        let begins = at < end && !token.starts_item() && (self.first_on_line(at) || self.meant(at).is_some());
        if front.is_some() && begins {
            self.diagnostics.append(&mut builder.diagnostics);
            self.position = at;
            return front;
        }
        self.misfit(start, unexpected, front.is_some());
        self.position = end;
        None
    }

    /// The keyword that a name was meant to be, judged by what follows it.
    fn meant(&self, position: usize) -> Option<Token<'static>> {
        let Some(Token::Name(name)) = self.token(position) else {
            return None;
        };
        if !matches!(self.token(position + 1), Some(Token::Name(_) | Token::When)) {
            return None;
        }
        let meant = misspelt_statement(name)?;
        let follows = match self.token(position + 1)? {
            Token::Name(_) => meant != Token::Reset && self.begins[position + 1] != Begins::Update,
            Token::When => meant == Token::Reset,
            _ => false,
        };
        follows.then_some(meant)
    }

    /// Reports a misspelt keyword and puts the right one in its place.
    fn mend(&mut self, position: usize) -> bool {
        let Some(meant) = self.meant(position) else {
            return false;
        };
        let found = describe(&self.tokens[position], self.source);
        self.diagnostics.push(
            Diagnostic::error(Code::S102, self.tokens[position].span, format!("expected a statement, found {found}"))
                .help(format!("did you mean `{}`?", spelling(meant))),
        );
        self.tokens[position].token = meant;
        true
    }

    /// Reports a token at which no statement starts.
    fn no_statement(&mut self, start: usize, end: usize) {
        let lexeme = self.tokens[start];
        if matches!(lexeme.token, Token::Error | Token::BadNumber) {
            return;
        }
        let found = describe(&lexeme, self.source);
        let message = format!("expected a statement, found {found}");
        let mut diagnostic = Diagnostic::error(Code::S102, lexeme.span, message);
        if let Token::Name(name) = lexeme.token {
            let equal = (start..end).find(|&position| self.tokens[position].token == Token::Equal);
            if equal.is_some() && matches!(self.token(start + 1), Some(Token::Equal | Token::OpenBracket)) {
                diagnostic = diagnostic.help(format!("`{name}` is updated with `<-`, or named with `let`"));
            }
        }
        self.diagnostics.push(diagnostic);
    }

    fn misfit(&mut self, start: usize, unexpected: &Unexpected, complete: bool) {
        let misfit = Misfit {
            source: self.source,
            tokens: &self.tokens,
            start,
            at: start + unexpected.at,
            expected: &unexpected.expected,
            complete,
        };
        self.diagnostics.extend(misfit.report());
    }
}

/// Whether a statement can end with a token.
fn ends_statement(token: Token<'_>) -> bool {
    use Token::*;
    token.ends_operand() || matches!(token, Complex | Bool | Reverse | Text(_) | OpenBrace | CloseBrace | Error)
}
