//! The text of a layer; [`super::parse`] reads it back.
//!
//! ```text
//! layer mamba(D, N = 16)
//!   require G divides D
//!   %0 param A: real[D, N] key "A_log"
//!     [d.0 < D, n.1 < N] = -widen(n.1 + 1)
//!   %1 input x: real[D]
//!   %2 state h: real[D, N] next %3
//!   %3 next of %2 h: real[D, N]
//!     [d.2 < D, n.3 < N] = exp(A%0[d.2, n.3]) * h%2[d.2, n.3] + x%1[d.2]
//!   %4 output y: real[D]
//!     [d.4 < D] = sum[n.5 < N](h%3[d.4, n.5])
//!   return y = %4
//! ```
//!
//! Each value is printed once, with its number, kind, name and type: parameters, inputs, states (`reverse` for those
//! that are carried backward), then the definitions in order. Below stands the definition or the initial value. A
//! delay has its place among the delays (`delay 0`). A value is `name%number`, an index `name.number`; names
//! that are no plain identifiers are left out (a value) or `_` (an index). What nothing defines or binds is listed as `unused`.
//!
//! Precedence is that of the language. Types are not printed where they follow from the operands:
//! integers have no point, `widen(e)` takes the next larger type, `complex normal(..)` has two parts. A `%` that is an
//! operator has a space behind it. Infinity is `0inf`, not a number `0nan`. Spans are not printed.

use std::fmt::{self, Write as _};

use super::{BinaryOp, Expr, ExprKind, Extent, IndexId, Init, Layer, Random, Scalar, Type};
use super::{UnaryOp, ValueId, ValueKind};

/// The text of the layer.
pub fn print(layer: &Layer) -> String {
    let mut out = String::new();
    Printer { layer, out: &mut out }.layer();
    out
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print(self))
    }
}

/// The text of an expression of the layer.
pub fn expr(layer: &Layer, e: &Expr) -> String {
    let mut out = String::new();
    Printer { layer, out: &mut out }.expr(e, 0);
    out
}

/// The text of an extent.
pub fn extent(layer: &Layer, extent: &Extent) -> String {
    let mut out = String::new();
    Printer { layer, out: &mut out }.extent(extent, 0);
    out
}

/// The extents of all axes, in brackets.
pub fn shape(layer: &Layer, axes: &[Extent]) -> String {
    let axes: Vec<String> = axes.iter().map(|axis| extent(layer, axis)).collect();
    format!("[{}]", axes.join(", "))
}

/// How tightly an operator binds, loosest first.
mod level {
    pub const OR: u8 = 1;
    pub const AND: u8 = 2;
    pub const NOT: u8 = 3;
    pub const COMPARE: u8 = 4;
    pub const ADD: u8 = 5;
    pub const MUL: u8 = 6;
    pub const NEG: u8 = 7;
    pub const POWER: u8 = 8;
    pub const ATOM: u8 = 9;
}

struct Printer<'a> {
    layer: &'a Layer,
    out: &'a mut String,
}

/// Writes to the text; a string takes everything.
macro_rules! put {
    ($printer:expr, $($arg:tt)*) => {{
        write!($printer.out, $($arg)*).expect("a string takes all text");
    }};
}

impl Printer<'_> {
    fn layer(&mut self) {
        let layer = self.layer;
        put!(self, "layer {}", Name(&layer.name));
        for (at, dim) in layer.dims.iter().enumerate() {
            put!(self, "{}{}", if at == 0 { "(" } else { ", " }, Name(&dim.name));
            if let Some(default) = &dim.default {
                put!(self, " = ");
                self.extent(default, 0);
            }
        }
        self.out.push_str(if layer.dims.is_empty() { "\n" } else { ")\n" });
        for requirement in &layer.requirements {
            put!(self, "  require ");
            self.extent(&requirement.divisor, 0);
            put!(self, " divides ");
            self.extent(&requirement.dividend, 0);
            self.out.push('\n');
        }
        for param in &layer.params {
            self.declare(param.value, "param");
            if param.key != layer.value(param.value).name {
                put!(self, " key {}", Quoted(&param.key));
            }
            self.init(param.init.as_ref());
        }
        for &input in &layer.inputs {
            self.declare(input, "input");
            self.out.push('\n');
        }
        for state in &layer.states {
            self.declare(state.value, if state.reverse { "reverse" } else { "state" });
            put!(self, " next %{}", state.next.0);
            self.init(state.init.as_ref());
        }
        for equation in &layer.equations {
            self.declare(equation.value, &self.kind(equation.value));
            self.definition(&equation.indices, &equation.body);
        }
        self.unused();
        for output in &layer.outputs {
            put!(self, "  return {} = %{}\n", Name(&output.name), output.value.0);
        }
        for value in &layer.derived {
            put!(self, "  derived %{}\n", value.0);
        }
        for check in &layer.checks {
            put!(self, "  check %{} {}\n", check.value.0, Quoted(&check.message));
        }
        if let Some(reset) = layer.reset {
            put!(self, "  reset %{}\n", reset.0);
        }
    }

    fn kind(&self, value: ValueId) -> String {
        match self.layer.value(value).kind {
            ValueKind::Param => "param".to_owned(),
            ValueKind::Input => "input".to_owned(),
            ValueKind::State(_) => "state".to_owned(),
            ValueKind::Next(state) => format!("next of %{}", self.layer.states[state.at()].value.0),
            ValueKind::Let => "let".to_owned(),
            ValueKind::Output => "output".to_owned(),
            ValueKind::Delay => match self.layer.delays.iter().position(|d| *d == value) {
                Some(at) => format!("delay {at}"),
                None => "delay".to_owned(),
            },
        }
    }

    fn declare(&mut self, id: ValueId, kind: &str) {
        let value = self.layer.value(id);
        put!(self, "  %{} {kind} {}: ", id.0, Name(&value.name));
        match &value.ty {
            Type::Real => self.out.push_str("real"),
            Type::Complex => self.out.push_str("complex"),
            Type::Bool => self.out.push_str("bool"),
            Type::Int => self.out.push_str("int"),
            Type::Index(extent) => {
                self.out.push_str("index(");
                self.extent(extent, 0);
                self.out.push(')');
            }
        }
        if !value.axes.is_empty() {
            put!(self, "{}", shape(self.layer, &value.axes));
        }
    }

    fn init(&mut self, init: Option<&Init>) {
        match init {
            Some(init) => self.definition(&init.indices, &init.body),
            None => self.out.push('\n'),
        }
    }

    fn definition(&mut self, indices: &[IndexId], body: &Expr) {
        self.out.push_str("\n    ");
        if !indices.is_empty() {
            self.bound(indices);
            self.out.push(' ');
        }
        self.out.push_str("= ");
        self.expr(body, 0);
        self.out.push('\n');
    }

    /// Values that nothing defines, indices that nothing binds.
    fn unused(&mut self) {
        let layer = self.layer;
        let mut bound = vec![false; layer.indices.len()];
        let inits = layer.params.iter().map(|p| &p.init).chain(layer.states.iter().map(|s| &s.init)).flatten();
        let inits = inits.map(|init| (&init.indices, &init.body));
        for (indices, body) in inits.chain(layer.equations.iter().map(|e| (&e.indices, &e.body))) {
            indices.iter().for_each(|i| bound[i.at()] = true);
            body.walk(&mut |e| match &e.kind {
                ExprKind::Reduce { indices, .. } => indices.iter().for_each(|i| bound[i.at()] = true),
                ExprKind::Normalise { index, .. } => bound[index.at()] = true,
                ExprKind::Solve { row, column, .. } => [row, column].iter().for_each(|i| bound[i.at()] = true),
                _ => {}
            });
        }
        for (at, value) in layer.values.iter().enumerate() {
            let id = ValueId(at as u32);
            let defined = matches!(value.kind, ValueKind::Param | ValueKind::Input | ValueKind::State(_));
            if !defined && layer.definition(id).is_none() {
                self.declare(id, &format!("unused {}", self.kind(id)));
                self.out.push('\n');
            }
        }
        for at in (0..bound.len()).filter(|&at| !bound[at]) {
            self.out.push_str("  unused ");
            self.bound(&[IndexId(at as u32)]);
            self.out.push('\n');
        }
    }

    fn bound(&mut self, indices: &[IndexId]) {
        for (at, &i) in indices.iter().enumerate() {
            self.out.push_str(if at == 0 { "[" } else { ", " });
            self.index(i);
            let index = self.layer.index(i);
            if !is_plain(&index.name) {
                put!(self, " {}", Quoted(&index.name));
            }
            self.out.push_str(" < ");
            self.extent(&index.extent, 0);
        }
        self.out.push(']');
    }

    fn index(&mut self, i: IndexId) {
        let name = &self.layer.index(i).name;
        put!(self, "{}.{}", if is_plain(name) { name } else { "_" }, i.0);
    }

    fn value(&mut self, id: ValueId, at: &[Expr]) {
        let name = &self.layer.value(id).name;
        put!(self, "{}%{}", if is_plain(name) { name } else { "" }, id.0);
        if !at.is_empty() {
            self.list('[', at, ']');
        }
    }

    fn list(&mut self, open: char, items: &[Expr], close: char) {
        self.out.push(open);
        for (at, item) in items.iter().enumerate() {
            self.out.push_str(if at == 0 { "" } else { ", " });
            self.expr(item, 0);
        }
        self.out.push(close);
    }

    fn extent(&mut self, e: &Extent, least: u8) {
        let (a, sign, b, level) = match e {
            Extent::Lit(n) => return put!(self, "{n}"),
            Extent::Dim(d) => return put!(self, "{}", Name(&self.layer.dims[d.at()].name)),
            Extent::Add(a, b) => (a, "+", b, level::ADD),
            Extent::Sub(a, b) => (a, "-", b, level::ADD),
            Extent::Mul(a, b) => (a, "*", b, level::MUL),
            Extent::FloorDiv(a, b) => (a, "//", b, level::MUL),
            Extent::Mod(a, b) => (a, "%", b, level::MUL),
        };
        self.open(level < least);
        self.extent(a, level);
        put!(self, " {sign} ");
        self.extent(b, level + 1);
        self.close(level < least);
    }

    fn open(&mut self, needed: bool) {
        if needed {
            self.out.push('(');
        }
    }

    fn close(&mut self, needed: bool) {
        if needed {
            self.out.push(')');
        }
    }

    /// Writes an expression where `least` is how tightly it has to bind to need no parentheses.
    fn expr(&mut self, e: &Expr, least: u8) {
        let level = level(e);
        self.open(level < least);
        match &e.kind {
            ExprKind::Int(n) => put!(self, "{n}"),
            ExprKind::Real(x) => self.real(*x),
            ExprKind::Imaginary(x) => {
                self.real(*x);
                self.out.push('i');
            }
            ExprKind::Bool(b) => put!(self, "{b}"),
            ExprKind::Dim(d) => put!(self, "{}", Name(&self.layer.dims[d.at()].name)),
            ExprKind::Index(i) => self.index(*i),
            ExprKind::First => self.out.push_str("first"),
            ExprKind::Read { value, at } => self.value(*value, at),
            ExprKind::Past { delay, at, steps } => {
                self.out.push_str("past(");
                self.value(*delay, at);
                self.out.push_str(", ");
                self.expr(steps, 0);
                self.out.push(')');
            }
            ExprKind::Widen(a) => self.call("widen", std::slice::from_ref(&**a)),
            ExprKind::Unary(UnaryOp::Not, a) => {
                self.out.push_str("not ");
                self.expr(a, level::NOT);
            }
            ExprKind::Unary(UnaryOp::Neg, a) => {
                self.out.push('-');
                let start = self.out.len();
                self.expr(a, level::NEG);
                // What follows would make this the sign of a literal.
                if self.out[start..].starts_with(|c: char| c.is_ascii_digit()) {
                    self.out.insert(start, '(');
                    self.out.push(')');
                }
            }
            ExprKind::Binary(op, a, b) => {
                let left = if level == level::COMPARE { level + 1 } else { level };
                self.expr(a, left);
                put!(self, " {} ", op.symbol());
                self.expr(b, level + 1);
            }
            ExprKind::Powi(a, n) => {
                self.expr(a, level::ATOM);
                put!(self, " ^ {n}");
            }
            ExprKind::Call(function, args) => self.call(function.name(), args),
            ExprKind::If(parts) => {
                self.out.push_str("if ");
                self.expr(&parts[0], level::OR);
                self.out.push_str(" then ");
                self.expr(&parts[1], level::OR);
                self.out.push_str(" else ");
                self.expr(&parts[2], 0);
            }
            ExprKind::Shift(parts, by) => {
                self.call("shift", &parts[..]);
                self.out.pop();
                put!(self, ", {by})");
            }
            ExprKind::Last(parts) => self.call("last", &parts[..]),
            ExprKind::Reduce { op, indices, body } => {
                self.out.push_str(op.name());
                self.bound(indices);
                self.call("", std::slice::from_ref(&**body));
            }
            ExprKind::Normalise { op, index, at, body, eps } => {
                self.out.push_str(op.name());
                self.bound(&[*index]);
                self.out.push('(');
                self.expr(body, 0);
                if let Some(eps) = eps {
                    self.out.push_str(", ");
                    self.expr(eps, 0);
                }
                self.out.push(')');
                self.list('[', std::slice::from_ref(&**at), ']');
            }
            ExprKind::Solve { row, column, at, matrix, right } => {
                self.out.push_str("solve");
                self.bound(&[*row, *column]);
                self.out.push('(');
                self.expr(matrix, 0);
                self.out.push_str(", ");
                self.expr(right, 0);
                self.out.push(')');
                self.list('[', std::slice::from_ref(&**at), ']');
            }
            ExprKind::Random(distribution, parameters) => {
                if e.ty == Scalar::Complex {
                    self.out.push_str("complex ");
                }
                let name = match distribution {
                    Random::Normal => "normal",
                    Random::Uniform => "uniform",
                };
                self.call(name, &parameters[..]);
            }
            ExprKind::HippoLegs(parts) => self.call("hippo_legs", &parts[..]),
            ExprKind::HippoN(parts) => self.call("hippo_n", &parts[..]),
        }
        self.close(level < least);
    }

    fn call(&mut self, name: &str, args: &[Expr]) {
        self.out.push_str(name);
        self.list('(', args, ')');
    }

    fn real(&mut self, x: f64) {
        if x.is_nan() {
            self.out.push_str("0nan");
        } else if x.is_infinite() {
            self.out.push_str(if x < 0.0 { "-0inf" } else { "0inf" });
        } else {
            put!(self, "{x:?}");
        }
    }
}

fn level(e: &Expr) -> u8 {
    match &e.kind {
        ExprKind::If(_) => 0,
        ExprKind::Binary(op, ..) => match op {
            BinaryOp::Or => level::OR,
            BinaryOp::And => level::AND,
            BinaryOp::Add | BinaryOp::Sub => level::ADD,
            BinaryOp::Mul | BinaryOp::Div | BinaryOp::FloorDiv | BinaryOp::Mod => level::MUL,
            _ => level::COMPARE,
        },
        ExprKind::Unary(UnaryOp::Not, _) => level::NOT,
        ExprKind::Unary(UnaryOp::Neg, _) => level::NEG,
        ExprKind::Int(n) if *n < 0 => level::NEG,
        ExprKind::Real(x) | ExprKind::Imaginary(x) if x.is_sign_negative() && !x.is_nan() => level::NEG,
        ExprKind::Powi(..) => level::POWER,
        _ => level::ATOM,
    }
}

fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A name, in quotation marks where it is no identifier.
struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_plain(self.0) { f.write_str(self.0) } else { Quoted(self.0).fmt(f) }
    }
}

/// A string in quotation marks; `\"`, `\\` and `\n` are escaped.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}
