//! The syntax tree as text: one statement a line, every parenthesis explicit, no places.
//!
//! Two texts that mean the same to the parser have the same dump, so it is what tests compare.

use std::fmt::{self, Write};

use super::ast::{
    Axis, BinaryOp, Binding, Decl, Equation, Expr, ExprKind, File, Item, Name, Output, Statement, Type, UnaryOp,
};

/// Prints a tree as S-expressions. Parentheses that the user wrote are `(paren e)`.
pub fn dump_ast(file: &File) -> String {
    let mut out = String::new();
    for item in &file.items {
        // Writing to a string cannot fail.
        let _ = dump_item(&mut out, item);
    }
    out
}

fn dump_item(out: &mut String, item: &Item) -> fmt::Result {
    match item {
        Item::Function(function) => {
            write!(out, "(fn {} [", function.name.text)?;
            separated(out, &function.params, dump_name)?;
            out.write_str("] ")?;
            dump_expr(out, &function.body)?;
            out.write_str(")\n")
        }
        Item::Layer(layer) => {
            write!(out, "(layer {} [", layer.name.text)?;
            separated(out, &layer.dims, |out, dim| match &dim.default {
                None => dump_name(out, &dim.name),
                Some(default) => {
                    write!(out, "(= {} ", dim.name.text)?;
                    dump_expr(out, default)?;
                    out.write_char(')')
                }
            })?;
            out.write_char(']')?;
            for statement in &layer.statements {
                out.write_str("\n    ")?;
                dump_statement(out, statement)?;
            }
            out.write_str(")\n")
        }
    }
}

fn dump_statement(out: &mut String, statement: &Statement) -> fmt::Result {
    match statement {
        Statement::Param(decls) => dump_decls(out, "param", decls),
        Statement::Input(decls) => dump_decls(out, "input", decls),
        Statement::State(decls) => dump_decls(out, "state", decls),
        Statement::Let(equation) => dump_equation(out, "let", equation),
        Statement::Update(equation) => dump_equation(out, "update", equation),
        Statement::Output(outputs) => {
            out.write_str("(output")?;
            for output in outputs {
                out.write_char(' ')?;
                match output {
                    Output::Define(equation) => dump_equation(out, "=", equation)?,
                    Output::Name(name) => dump_name(out, name)?,
                }
            }
            out.write_char(')')
        }
        Statement::Reset { condition, .. } => {
            out.write_str("(reset ")?;
            dump_expr(out, condition)?;
            out.write_char(')')
        }
        Statement::Error(_) => out.write_str("(error)"),
    }
}

fn dump_decls(out: &mut String, keyword: &str, decls: &[Decl]) -> fmt::Result {
    write!(out, "({keyword}")?;
    for decl in decls {
        write!(out, " ({}", decl.name.text)?;
        if !decl.axes.is_empty() {
            out.write_str(" [")?;
            separated(out, &decl.axes, |out, Axis { index, extent }| match index {
                None => dump_expr(out, extent),
                Some(index) => dump_in(out, |out| dump_name(out, index), extent),
            })?;
            out.write_char(']')?;
        }
        match &decl.ty {
            None => {}
            Some(Type::Complex(_)) => out.write_str(" complex")?,
            Some(Type::Bool(_)) => out.write_str(" bool")?,
            Some(Type::Index(extent, _)) => {
                out.write_str(" (index ")?;
                dump_expr(out, extent)?;
                out.write_char(')')?;
            }
        }
        if let Some(from) = &decl.from {
            write!(out, " (from {:?})", from.text)?;
        }
        if let Some(init) = &decl.init {
            out.write_str(" (= ")?;
            dump_expr(out, init)?;
            out.write_char(')')?;
        }
        if decl.reverse.is_some() {
            out.write_str(" reverse")?;
        }
        out.write_char(')')?;
    }
    out.write_char(')')
}

fn dump_equation(out: &mut String, head: &str, equation: &Equation) -> fmt::Result {
    write!(out, "({head} {} ", equation.name.text)?;
    if !equation.indices.is_empty() {
        dump_bindings(out, &equation.indices)?;
        out.write_char(' ')?;
    }
    dump_expr(out, &equation.body)?;
    out.write_char(')')
}

fn dump_bindings(out: &mut String, bindings: &[Binding]) -> fmt::Result {
    out.write_char('[')?;
    separated(out, bindings, |out, Binding { index, extent }| match extent {
        None => dump_expr(out, index),
        Some(extent) => dump_in(out, |out| dump_expr(out, index), extent),
    })?;
    out.write_char(']')
}

fn dump_in(out: &mut String, index: impl FnOnce(&mut String) -> fmt::Result, extent: &Expr) -> fmt::Result {
    out.write_str("(in ")?;
    index(out)?;
    out.write_char(' ')?;
    dump_expr(out, extent)?;
    out.write_char(')')
}

fn dump_expr(out: &mut String, expr: &Expr) -> fmt::Result {
    match &expr.kind {
        ExprKind::Int(value) => write!(out, "{value}"),
        ExprKind::Real(value) => write!(out, "{value:?}"),
        ExprKind::Imaginary(value) => write!(out, "{value:?}i"),
        ExprKind::Bool(value) => write!(out, "{value}"),
        ExprKind::First => out.write_str("first"),
        ExprKind::Name(name) => out.write_str(name),
        ExprKind::Access { name, at } => {
            write!(out, "(at {} ", name.text)?;
            separated(out, at, dump_expr)?;
            out.write_char(')')
        }
        ExprKind::Call { name, args } => {
            write!(out, "(call {}", name.text)?;
            dump_args(out, args)
        }
        ExprKind::Binder { name, bindings, args } => {
            write!(out, "({} ", name.text)?;
            dump_bindings(out, bindings)?;
            dump_args(out, args)
        }
        ExprKind::CallAccess { name, args, at } => {
            write!(out, "(at (call {}", name.text)?;
            dump_args(out, args)?;
            dump_args(out, at)
        }
        ExprKind::Unary(op, operand) => {
            out.write_str(match op {
                UnaryOp::Neg => "(neg ",
                UnaryOp::Not => "(not ",
            })?;
            dump_expr(out, operand)?;
            out.write_char(')')
        }
        ExprKind::Binary(op, left, right) => {
            write!(out, "({} ", op.symbol())?;
            dump_expr(out, left)?;
            out.write_char(' ')?;
            dump_expr(out, right)?;
            out.write_char(')')
        }
        ExprKind::If(parts) => {
            out.write_str("(if")?;
            dump_args(out, parts.as_slice())
        }
        ExprKind::Paren(inner) => {
            out.write_str("(paren ")?;
            dump_expr(out, inner)?;
            out.write_char(')')
        }
        ExprKind::Error => out.write_str("(error)"),
    }
}

/// Arguments, each behind a space, and the closing parenthesis.
fn dump_args(out: &mut String, args: &[Expr]) -> fmt::Result {
    for arg in args {
        out.write_char(' ')?;
        dump_expr(out, arg)?;
    }
    out.write_char(')')
}

fn dump_name(out: &mut String, name: &Name) -> fmt::Result {
    out.write_str(&name.text)
}

fn separated<T>(out: &mut String, items: &[T], mut each: impl FnMut(&mut String, &T) -> fmt::Result) -> fmt::Result {
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            out.write_char(' ')?;
        }
        each(out, item)?;
    }
    Ok(())
}

impl BinaryOp {
    /// The operator as it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Or => "or",
            BinaryOp::And => "and",
            BinaryOp::Lt => "<",
            BinaryOp::Le => "<=",
            BinaryOp::Gt => ">",
            BinaryOp::Ge => ">=",
            BinaryOp::Eq => "==",
            BinaryOp::Ne => "!=",
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::FloorDiv => "//",
            BinaryOp::Mod => "%",
            BinaryOp::Pow => "^",
        }
    }
}
