//! Expressions and extents.

use super::token::Token;
use super::{Parser, Result};
use crate::diag::Span;
use crate::ir::typing::type_of;
use crate::ir::*;

/// How deep trees may be. A long sum is a deep tree.
const MAX_DEPTH: usize = 1024;

/// How deep the text may nest.
const MAX_NESTING: usize = 256;

/// Operators with two operands, loosest first.
const BINARY: &[&[BinaryOp]] = &[
    &[BinaryOp::Or],
    &[BinaryOp::And],
    &[],
    &[BinaryOp::Lt, BinaryOp::Le, BinaryOp::Gt, BinaryOp::Ge, BinaryOp::Eq, BinaryOp::Ne],
    &[BinaryOp::Add, BinaryOp::Sub],
    &[BinaryOp::Mul, BinaryOp::Div, BinaryOp::FloorDiv, BinaryOp::Mod],
];
const NOT: usize = 2;
const COMPARE: usize = 3;
const ADD: usize = 4;

/// A tree and how deep it is.
type Deep<T> = (T, usize);

impl Parser<'_> {
    pub(super) fn expr(&mut self) -> Result<Expr> {
        Ok(self.choice(0)?.0)
    }

    pub(super) fn extent(&mut self) -> Result<Extent> {
        Ok(self.extent_level(ADD, 0)?.0)
    }

    fn node(&self, kind: ExprKind, depth: usize) -> Result<Deep<Expr>> {
        let of_value = |id: ValueId| self.values.get(id.at())?.as_ref().map(|v| v.ty.scalar());
        match type_of(&kind, of_value) {
            Ok(ty) => Ok((Expr { kind, ty, span: Span::default() }, self.deeper(depth)?)),
            Err(message) => self.error(message),
        }
    }

    fn deeper(&self, depth: usize) -> Result<usize> {
        if depth < MAX_DEPTH { Ok(depth + 1) } else { self.error("nesting that is too deep") }
    }

    fn inside(&self, nested: usize) -> Result<usize> {
        if nested < MAX_NESTING { Ok(nested + 1) } else { self.error("nesting that is too deep") }
    }

    /// `nested` is how deep the place is.
    fn choice(&mut self, nested: usize) -> Result<Deep<Expr>> {
        let inside = self.inside(nested)?;
        if !self.eat_word("if") {
            return self.binary(0, inside);
        }
        let condition = self.choice(inside)?;
        self.word("then")?;
        let then = self.choice(inside)?;
        self.word("else")?;
        let other = self.choice(inside)?;
        let depth = condition.1.max(then.1).max(other.1);
        self.node(ExprKind::If(Box::new([condition.0, then.0, other.0])), depth)
    }

    fn binary(&mut self, level: usize, nested: usize) -> Result<Deep<Expr>> {
        if level == NOT && self.eat_word("not") {
            let operand = self.binary(NOT, self.inside(nested)?)?;
            return self.node(ExprKind::Unary(UnaryOp::Not, Box::new(operand.0)), operand.1);
        }
        let Some(operators) = BINARY.get(level) else { return self.unary(nested) };
        // Levels are not nesting: they all have the same place.
        let mut left = self.binary(level + 1, nested)?;
        while let Some(op) = self.operator(operators) {
            let right = self.binary(level + 1, nested)?;
            let depth = left.1.max(right.1);
            left = self.node(ExprKind::Binary(op, Box::new(left.0), Box::new(right.0)), depth)?;
            if level == COMPARE {
                break;
            }
        }
        Ok(left)
    }

    fn operator(&mut self, operators: &[BinaryOp]) -> Option<BinaryOp> {
        let text = match self.peek()? {
            Token::Sign(text) | Token::Word(text) => text,
            _ => return None,
        };
        let op = operators.iter().copied().find(|op| op.symbol() == text)?;
        self.at += 1;
        Some(op)
    }

    fn unary(&mut self, nested: usize) -> Result<Deep<Expr>> {
        if !self.eat_sign("-") {
            return self.power(nested);
        }
        if let Some(literal) = self.literal(true)? {
            return self.node(literal, 0);
        }
        let operand = self.unary(self.inside(nested)?)?;
        self.node(ExprKind::Unary(UnaryOp::Neg, Box::new(operand.0)), operand.1)
    }

    fn power(&mut self, nested: usize) -> Result<Deep<Expr>> {
        let base = self.atom(nested)?;
        if !self.eat_sign("^") {
            return Ok(base);
        }
        let minus = self.eat_sign("-");
        let exponent = self.integer(minus)?;
        let Ok(exponent) = i32::try_from(exponent) else { return self.error("an exponent beyond 32 bits") };
        self.node(ExprKind::Powi(Box::new(base.0), exponent), base.1)
    }

    fn integer(&mut self, negative: bool) -> Result<i64> {
        let Some(Token::Integer(digits)) = self.peek() else { return self.expected("an integer") };
        let magnitude: Option<i128> = digits.parse().ok();
        let value = magnitude.map(|n| if negative { -n } else { n });
        match value.and_then(|n| i64::try_from(n).ok()) {
            Some(value) => {
                self.at += 1;
                Ok(value)
            }
            None => self.error("an integer beyond 64 bits"),
        }
    }

    fn literal(&mut self, negative: bool) -> Result<Option<ExprKind>> {
        let signed = |x: f64| if negative { -x } else { x };
        let kind = match self.peek() {
            Some(Token::Integer(_)) => return Ok(Some(ExprKind::Int(self.integer(negative)?))),
            Some(Token::Real(x)) => ExprKind::Real(signed(x)),
            Some(Token::Imaginary(x)) => ExprKind::Imaginary(signed(x)),
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(kind))
    }

    fn atom(&mut self, nested: usize) -> Result<Deep<Expr>> {
        if let Some(literal) = self.literal(false)? {
            return self.node(literal, 0);
        }
        match self.peek() {
            Some(Token::Index((name, id))) => {
                let known = self.indices.get(id as usize).and_then(Option::as_ref);
                let Some(index) = known else { return self.error(format!("index {id} is not bound")) };
                if name != index.name && name != "_" {
                    return self.error(format!("index {id} is called `{}`", index.name));
                }
                self.at += 1;
                self.node(ExprKind::Index(IndexId(id)), 0)
            }
            Some(Token::Value(_)) => {
                let ((value, at), depth) = self.read(nested)?;
                self.node(ExprKind::Read { value, at }, depth)
            }
            Some(Token::Sign("(")) => {
                self.at += 1;
                let inner = self.choice(nested)?;
                self.sign(")")?;
                Ok(inner)
            }
            Some(Token::Word(word)) => self.named(word, nested),
            Some(Token::Quoted(_)) => self.dim(),
            _ => self.expected("an expression"),
        }
    }

    fn read(&mut self, nested: usize) -> Result<Deep<(ValueId, Vec<Expr>)>> {
        let written = match self.peek() {
            Some(Token::Value((name, _))) => name,
            _ => "",
        };
        let value = self.value_id()?;
        let Some(Some(declared)) = self.values.get(value.at()) else {
            return self.error(format!("%{} is not declared before", value.0));
        };
        if !written.is_empty() && written != declared.name {
            return self.error(format!("%{} is called `{}`", value.0, declared.name));
        }
        let (at, depth) = match self.eat_sign("[") {
            true => self.list("]", nested)?,
            false => (Vec::new(), 0),
        };
        Ok(((value, at), depth))
    }

    /// Expressions with commas between them, and the sign that closes them.
    fn list(&mut self, close: &str, nested: usize) -> Result<Deep<Vec<Expr>>> {
        let mut items = Vec::new();
        let mut depth = 0;
        loop {
            let item = self.choice(nested)?;
            depth = depth.max(item.1);
            items.push(item.0);
            if !self.eat_sign(",") {
                break;
            }
        }
        self.sign(close)?;
        Ok((items, depth))
    }

    fn dim(&mut self) -> Result<Deep<Expr>> {
        let id = self.dim_id()?;
        self.node(ExprKind::Dim(id), 0)
    }

    fn dim_id(&mut self) -> Result<DimId> {
        let name = self.name()?;
        match self.layer.dims.iter().position(|dim| dim.name == name) {
            Some(at) => Ok(DimId(at as u32)),
            None => self.error(format!("`{name}` is no dimension")),
        }
    }

    fn named(&mut self, word: &str, nested: usize) -> Result<Deep<Expr>> {
        let next = self.tokens.get(self.at + 1).map(|(token, _)| *token);
        match (word, next) {
            ("true" | "false" | "first", _) => {
                self.at += 1;
                let kind = if word == "first" { ExprKind::First } else { ExprKind::Bool(word == "true") };
                self.node(kind, 0)
            }
            ("complex", Some(Token::Word(name))) => {
                self.at += 1;
                let (mut e, depth) = self.named(name, self.inside(nested)?)?;
                if !matches!(e.kind, ExprKind::Random(..)) {
                    return self.error("only random numbers are `complex`");
                }
                e.ty = Scalar::Complex;
                Ok((e, depth))
            }
            ("past", Some(Token::Sign("("))) => {
                self.at += 2;
                let ((delay, at), inner) = self.read(nested)?;
                self.sign(",")?;
                let steps = self.choice(nested)?;
                self.sign(")")?;
                let depth = inner.max(steps.1);
                self.node(ExprKind::Past { delay, at, steps: Box::new(steps.0) }, depth)
            }
            (_, Some(Token::Sign("("))) => {
                self.at += 2;
                let (args, depth) = self.list(")", nested)?;
                match call(word, args) {
                    Ok(kind) => self.node(kind, depth),
                    Err(message) => self.error(message),
                }
            }
            (_, Some(Token::Sign("["))) => {
                self.at += 1;
                self.binder(word, nested)
            }
            _ => self.dim(),
        }
    }

    fn binder(&mut self, word: &str, nested: usize) -> Result<Deep<Expr>> {
        let indices = self.bound()?;
        self.sign("(")?;
        let (mut args, depth) = self.list(")", nested)?;
        if let Some(op) = ReduceOp::ALL.into_iter().find(|op| op.name() == word) {
            let (Some(body), true) = (args.pop(), args.is_empty()) else {
                return self.error("a reduction has one element");
            };
            return self.node(ExprKind::Reduce { op, indices, body: Box::new(body) }, depth);
        }
        if word == "solve" {
            let &[row, column] = &indices[..] else { return self.error("`solve` binds two indices") };
            let Some([matrix, right]) = array(args) else { return self.error("`solve` has a matrix and a right side") };
            self.sign("[")?;
            let at = self.choice(nested)?;
            self.sign("]")?;
            let depth = depth.max(at.1);
            let (at, matrix, right) = (Box::new(at.0), Box::new(matrix), Box::new(right));
            return self.node(ExprKind::Solve { row, column, at, matrix, right }, depth);
        }
        let Some(op) = NormaliseOp::ALL.into_iter().find(|op| op.name() == word) else {
            return self.error(format!("`{word}` binds no indices"));
        };
        let &[index] = &indices[..] else { return self.error("a normalisation binds one index") };
        self.sign("[")?;
        let at = self.choice(nested)?;
        self.sign("]")?;
        let depth = depth.max(at.1);
        let mut args = args.into_iter();
        let (Some(body), eps, None) = (args.next(), args.next(), args.next()) else {
            return self.error("a normalisation has an element and perhaps an epsilon");
        };
        let (at, body, eps) = (Box::new(at.0), Box::new(body), eps.map(Box::new));
        self.node(ExprKind::Normalise { op, index, at, body, eps }, depth)
    }

    fn extent_level(&mut self, level: usize, nested: usize) -> Result<Deep<Extent>> {
        let Some(operators) = BINARY.get(level) else { return self.extent_atom(nested) };
        let mut left = self.extent_level(level + 1, nested)?;
        while let Some(op) = self.operator(operators) {
            let right = self.extent_level(level + 1, nested)?;
            let depth = self.deeper(left.1.max(right.1))?;
            let (a, b) = (Box::new(left.0), Box::new(right.0));
            let extent = match op {
                BinaryOp::Add => Extent::Add(a, b),
                BinaryOp::Sub => Extent::Sub(a, b),
                BinaryOp::Mul => Extent::Mul(a, b),
                BinaryOp::FloorDiv => Extent::FloorDiv(a, b),
                BinaryOp::Mod => Extent::Mod(a, b),
                _ => return self.error("`/` is not for extents"),
            };
            left = (extent, depth);
        }
        Ok(left)
    }

    fn extent_atom(&mut self, nested: usize) -> Result<Deep<Extent>> {
        if self.eat_sign("(") {
            let inner = self.extent_level(ADD, self.inside(nested)?)?;
            self.sign(")")?;
            return Ok(inner);
        }
        let minus = self.eat_sign("-");
        match self.peek() {
            Some(Token::Integer(_)) => Ok((Extent::Lit(self.integer(minus)?), 0)),
            Some(Token::Word(_) | Token::Quoted(_)) if !minus => Ok((Extent::Dim(self.dim_id()?), 0)),
            _ => self.expected("an extent"),
        }
    }
}

fn call(word: &str, args: Vec<Expr>) -> std::result::Result<ExprKind, String> {
    if let Some((function, ..)) = Function::NAMES.iter().find(|(_, name, _)| *name == word) {
        return Ok(ExprKind::Call(*function, args));
    }
    let count = args.len();
    let wrong = || format!("`{word}` does not take {count} arguments");
    match word {
        "widen" => array(args).map(|[e]| ExprKind::Widen(Box::new(e))),
        "shift" => shift(args),
        "last" => array(args).map(|parts| ExprKind::Last(Box::new(parts))),
        "normal" => array(args).map(|parts| ExprKind::Random(Random::Normal, Box::new(parts))),
        "uniform" => array(args).map(|parts| ExprKind::Random(Random::Uniform, Box::new(parts))),
        "hippo_legs" => array(args).map(|parts| ExprKind::HippoLegs(Box::new(parts))),
        "hippo_n" => array(args).map(|parts| ExprKind::HippoN(Box::new(parts))),
        _ => return Err(format!("`{word}` is no function")),
    }
    .ok_or_else(wrong)
}

/// A shift, whose last argument is a number.
fn shift(mut args: Vec<Expr>) -> Option<ExprKind> {
    let Some(ExprKind::Int(by)) = args.pop().map(|e| e.kind) else { return None };
    Some(ExprKind::Shift(Box::new(array(args)?), usize::try_from(by).ok()?))
}

fn array<const N: usize>(args: Vec<Expr>) -> Option<[Expr; N]> {
    args.try_into().ok()
}
