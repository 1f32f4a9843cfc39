//! Reads the text that [`super::print`] writes.
//!
//! In: text. Out: the [`Layer`], without spans, or the first [`ParseError`]. Reading what was printed gives the same
//! layer. Names in references may be left out; where they stand, they must be those of the declaration. The parser
//! infers types from operands and so demands that values are declared before they are read; beyond that
//! it checks nothing, that is for [`super::verify`]. It panics on no text, and its recursion is bounded.

mod expr;
mod token;

use logos::Logos;
use token::Token;

use super::*;
use crate::diag::Span;

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

type Result<T> = std::result::Result<T, ParseError>;

/// Reads a layer.
///
/// # Errors
/// The first thing that is wrong with the text.
pub fn parse(text: &str) -> Result<Layer> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut last = 0;
    for (token, range) in Token::lexer(text).spanned() {
        line += text[last..range.start].matches('\n').count();
        last = range.start;
        match token {
            Ok(token) => tokens.push((token, line)),
            Err(()) => {
                let message = format!("no token is written `{}`", &text[range]);
                return Err(ParseError { line, message });
            }
        }
    }
    let mut parser = Parser::new(&tokens);
    parser.layer()?;
    parser.finish()
}

struct Parser<'a> {
    tokens: &'a [(Token<'a>, usize)],
    at: usize,
    layer: Layer,
    values: Vec<Option<Value>>,
    indices: Vec<Option<Index>>,
    delays: Vec<Option<ValueId>>,
    /// References to values that need not be declared before: to be checked at the end, with their lines.
    pending: Vec<(ValueId, usize)>,
}

/// Numbers beyond this are not given to values and indices.
const MAX_ID: usize = 1 << 16;

impl<'a> Parser<'a> {
    fn new(tokens: &'a [(Token<'a>, usize)]) -> Self {
        Self {
            tokens,
            at: 0,
            layer: Layer::default(),
            values: Vec::new(),
            indices: Vec::new(),
            delays: Vec::new(),
            pending: Vec::new(),
        }
    }

    fn line(&self) -> usize {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |(_, line)| *line)
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(ParseError { line: self.line(), message: message.into() })
    }

    fn expected<T>(&self, what: &str) -> Result<T> {
        match self.peek() {
            Some(token) => self.error(format!("expected {what}, found {token:?}")),
            None => self.error(format!("expected {what}, found the end")),
        }
    }

    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).map(|(token, _)| *token)
    }

    fn eat(&mut self, token: Token<'_>) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }

    fn eat_sign(&mut self, sign: &str) -> bool {
        self.eat(Token::Sign(sign))
    }

    fn eat_word(&mut self, word: &str) -> bool {
        self.eat(Token::Word(word))
    }

    fn sign(&mut self, sign: &str) -> Result<()> {
        if self.eat_sign(sign) { Ok(()) } else { self.expected(&format!("`{sign}`")) }
    }

    fn word(&mut self, word: &str) -> Result<()> {
        if self.eat_word(word) { Ok(()) } else { self.expected(&format!("`{word}`")) }
    }

    fn name(&mut self) -> Result<String> {
        match self.peek() {
            Some(Token::Word(name)) => {
                self.at += 1;
                Ok(name.to_owned())
            }
            _ => self.quoted(),
        }
    }

    fn quoted(&mut self) -> Result<String> {
        let Some(Token::Quoted(text)) = self.peek() else { return self.expected("a name") };
        self.at += 1;
        let mut name = String::new();
        let mut escaped = false;
        for c in text[1..text.len() - 1].chars() {
            match (escaped, c) {
                (false, '\\') => {
                    escaped = true;
                    continue;
                }
                (true, 'n') => name.push('\n'),
                (_, c) => name.push(c),
            }
            escaped = false;
        }
        Ok(name)
    }

    /// A number of a value, and the name beside it.
    fn value_id(&mut self) -> Result<ValueId> {
        match self.peek() {
            Some(Token::Value((_, id))) if (id as usize) < MAX_ID => {
                self.at += 1;
                Ok(ValueId(id))
            }
            _ => self.expected("a value"),
        }
    }

    fn layer(&mut self) -> Result<()> {
        self.word("layer")?;
        self.layer.name = self.name()?;
        if self.eat_sign("(") {
            loop {
                let name = self.name()?;
                let default = if self.eat_sign("=") { Some(self.extent()?) } else { None };
                self.layer.dims.push(Dim { name, default, span: Span::default() });
                if !self.eat_sign(",") {
                    break;
                }
            }
            self.sign(")")?;
        }
        while self.peek().is_some() {
            self.item()?;
        }
        Ok(())
    }

    fn item(&mut self) -> Result<()> {
        if self.eat_word("require") {
            let divisor = self.extent()?;
            self.word("divides")?;
            let dividend = self.extent()?;
            self.layer.requirements.push(Requirement { divisor, dividend, span: Span::default() });
        } else if self.eat_word("return") {
            let name = self.name()?;
            self.sign("=")?;
            let value = self.reference()?;
            self.layer.outputs.push(Output { name, value });
        } else if self.eat_word("reset") {
            let value = self.reference()?;
            if self.layer.reset.replace(value).is_some() {
                return self.error("a second reset");
            }
        } else if self.eat_word("derived") {
            let value = self.reference()?;
            self.layer.derived.push(value);
        } else if self.eat_word("check") {
            let value = self.reference()?;
            let message = self.quoted()?;
            self.layer.checks.push(Check { value, message, span: Span::default() });
        } else if self.eat_word("unused") {
            self.bound()?;
        } else {
            self.declaration()?;
        }
        Ok(())
    }

    /// A reference to a value that may be declared later.
    fn reference(&mut self) -> Result<ValueId> {
        let line = self.line();
        let value = self.value_id()?;
        self.pending.push((value, line));
        Ok(value)
    }

    fn declaration(&mut self) -> Result<()> {
        let id = self.value_id()?;
        let Some(Token::Word(word)) = self.peek() else { return self.expected("a kind of value") };
        self.at += 1;
        match word {
            "param" => {
                let name = self.declare(id, ValueKind::Param)?;
                let key = if self.eat_word("key") { self.quoted()? } else { name };
                let init = self.init()?;
                self.layer.params.push(Param { value: id, key, init });
            }
            "input" => {
                self.declare(id, ValueKind::Input)?;
                self.layer.inputs.push(id);
            }
            "state" | "reverse" => {
                let state = StateId(self.layer.states.len() as u32);
                let name = self.declare(id, ValueKind::State(state))?;
                self.word("next")?;
                let next = self.reference()?;
                let init = self.init()?;
                let reverse = word == "reverse";
                self.layer.states.push(State { name, value: id, next, init, reverse });
            }
            "unused" => {
                let Some(Token::Word(word)) = self.peek() else { return self.expected("a kind of value") };
                self.at += 1;
                let kind = self.defined_kind(id, word)?;
                self.declare(id, kind)?;
            }
            word => {
                let kind = self.defined_kind(id, word)?;
                self.declare(id, kind)?;
                let (indices, body) = self.definition()?;
                self.layer.equations.push(Equation { value: id, indices, body, span: Span::default() });
            }
        }
        Ok(())
    }

    /// The kind of a value that an equation defines.
    fn defined_kind(&mut self, id: ValueId, word: &str) -> Result<ValueKind> {
        match word {
            "let" => Ok(ValueKind::Let),
            "output" => Ok(ValueKind::Output),
            "next" => {
                self.word("of")?;
                let state = self.value_id()?;
                match self.values.get(state.at()) {
                    Some(Some(Value { kind: ValueKind::State(state), .. })) => Ok(ValueKind::Next(*state)),
                    _ => self.error(format!("%{} is no state", state.0)),
                }
            }
            "delay" => {
                if let Some(Token::Integer(at)) = self.peek() {
                    let at = at.parse().ok().filter(|&at: &usize| at < MAX_ID);
                    let Some(at) = at else { return self.expected("a place") };
                    self.at += 1;
                    if self.delays.len() <= at {
                        self.delays.resize(at + 1, None);
                    }
                    if self.delays[at].replace(id).is_some() {
                        return self.error(format!("a second delay {at}"));
                    }
                }
                Ok(ValueKind::Delay)
            }
            _ => self.error(format!("`{word}` is no kind of value")),
        }
    }

    /// Name, type and shape of a value.
    fn declare(&mut self, id: ValueId, kind: ValueKind) -> Result<String> {
        let name = self.name()?;
        self.sign(":")?;
        let Some(Token::Word(word)) = self.peek() else { return self.expected("a type") };
        self.at += 1;
        let ty = match word {
            "real" => Type::Real,
            "complex" => Type::Complex,
            "bool" => Type::Bool,
            "int" => Type::Int,
            "index" => {
                self.sign("(")?;
                let extent = self.extent()?;
                self.sign(")")?;
                Type::Index(extent)
            }
            _ => return self.error(format!("`{word}` is no type")),
        };
        let mut axes = Vec::new();
        // The axes touch the type; a definition's indices stand on the next line and hold `<`.
        if self.peek() == Some(Token::Sign("[")) && !self.at_binder() {
            self.sign("[")?;
            loop {
                axes.push(self.extent()?);
                if !self.eat_sign(",") {
                    break;
                }
            }
            self.sign("]")?;
        }
        if self.values.len() <= id.at() {
            self.values.resize(id.at() + 1, None);
        }
        let value = Value { name: name.clone(), kind, axes, ty, span: Span::default() };
        if self.values[id.at()].replace(value).is_some() {
            return self.error(format!("%{} is declared twice", id.0));
        }
        Ok(name)
    }

    /// Whether indices are bound here.
    fn at_binder(&self) -> bool {
        matches!(self.tokens.get(self.at + 1), Some((Token::Index(_), _)))
    }

    fn init(&mut self) -> Result<Option<Init>> {
        if self.peek() == Some(Token::Sign("[")) || self.peek() == Some(Token::Sign("=")) {
            let (indices, body) = self.definition()?;
            return Ok(Some(Init { indices, body }));
        }
        Ok(None)
    }

    fn definition(&mut self) -> Result<(Vec<IndexId>, Expr)> {
        let indices = if self.peek() == Some(Token::Sign("[")) { self.bound()? } else { Vec::new() };
        self.sign("=")?;
        Ok((indices, self.expr()?))
    }

    /// `[d.0 < D, n.1 < N]`
    fn bound(&mut self) -> Result<Vec<IndexId>> {
        self.sign("[")?;
        let mut bound = Vec::new();
        loop {
            let Some(Token::Index((name, id))) = self.peek() else { return self.expected("an index") };
            let at = id as usize;
            if at >= MAX_ID {
                return self.expected("an index");
            }
            self.at += 1;
            let name = match self.peek() {
                Some(Token::Quoted(_)) => self.quoted()?,
                _ => name.to_owned(),
            };
            self.sign("<")?;
            let extent = self.extent()?;
            if self.indices.len() <= at {
                self.indices.resize(at + 1, None);
            }
            if self.indices[at].replace(Index { name, extent, span: Span::default() }).is_some() {
                return self.error(format!("index {at} is bound twice"));
            }
            bound.push(IndexId(id));
            if !self.eat_sign(",") {
                break;
            }
        }
        self.sign("]")?;
        Ok(bound)
    }

    fn finish(mut self) -> Result<Layer> {
        for &(id, line) in &self.pending {
            if self.values.get(id.at()).is_none_or(Option::is_none) {
                return Err(ParseError { line, message: format!("%{} is not declared", id.0) });
            }
        }
        let values: Option<Vec<Value>> = std::mem::take(&mut self.values).into_iter().collect();
        let indices: Option<Vec<Index>> = std::mem::take(&mut self.indices).into_iter().collect();
        let delays: Option<Vec<ValueId>> = std::mem::take(&mut self.delays).into_iter().collect();
        match (values, indices, delays) {
            (Some(values), Some(indices), Some(delays)) => Ok(Layer { values, indices, delays, ..self.layer }),
            _ => self.error("values, indices and delays are not numbered without gaps"),
        }
    }
}
