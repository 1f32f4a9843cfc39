//! A group's verdict in the language's own notation.
//!
//! `h'` is the new state. Coefficients and offsets that are more than a name or a number are called `a`, `b` and so on and
//! stand below. An index that is bound twice gets a number.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use super::algebra::Algebra;
use super::build;
use super::classify::Component;
use super::form::Term;
use super::{Class, Group, Part, Transition, Verdict};
use crate::analysis::verdict::counterexample::Outcome;
use crate::ir::{BinaryOp, Expr, ExprKind, Extent, IndexId, Layer, NormaliseOp, UnaryOp, ValueId, ValueKind};

/// The verdict on a group, some lines of text; `source` is the program's text, from which what breaks a law is quoted.
pub fn group(verdict: &Verdict, group: &Group, source: &str) -> String {
    let layer = &verdict.layer;
    let mut text = String::new();
    let names: Vec<&str> = group.states.iter().map(|s| layer.states[s.at()].name.as_str()).collect();
    let invariant = if group.time_invariant { ", the same at every step" } else { "" };
    put(&mut text, 0, &format!("{}: {}, {}{invariant}", names.join(", "), group.class.name(), group.field.name()));
    if let Some(transition) = &group.transition {
        equations(verdict, transition, &mut text);
        put(&mut text, 1, &format!("composes by {}", law(layer, group, transition)));
    }
    if !group.mixed.is_empty() {
        put(&mut text, 1, &format!("mixes {}", group.mixed.join(", ")));
    }
    if !group.batch.is_empty() {
        let names: Vec<&str> = group.batch.iter().map(|b| b.name.as_str()).collect();
        let shared: Vec<&str> = group.batch.iter().filter(|b| b.shared).map(|b| b.name.as_str()).collect();
        let shared = match shared[..] {
            [] => String::new(),
            _ => format!("; the transition is the same along {}", shared.join(", ")),
        };
        put(&mut text, 1, &format!("batch over {}{shared}", names.join(", ")));
    }
    if let Some(stability) = &group.stability {
        put(&mut text, 1, &format!("|a| <= 1 {}: {}", stability.name(), stability.reason()));
    }
    if let Some(failure) = &group.failure {
        put(&mut text, 1, &format!("{}{}", quote(failure.span, source), failure.reason));
    }
    match &group.counterexample {
        Some(Outcome::Found(found)) => put(&mut text, 1, &found.text()),
        Some(Outcome::None(why)) => put(&mut text, 1, &format!("no counterexample found: {why}")),
        None => {}
    }
    text
}

/// All groups.
pub fn verdict(verdict: &Verdict, source: &str) -> String {
    verdict.groups.iter().map(|g| group(verdict, g, source)).collect()
}

/// The place and the text of an expression, before what is said about it.
fn quote(span: crate::diag::Span, source: &str) -> String {
    const LONGEST: usize = 60;
    let (Some(before), Some(marked)) =
        (source.get(..span.start as usize), source.get(span.start as usize..span.end as usize))
    else {
        return String::new();
    };
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    let words = marked.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = words.chars().take(LONGEST).collect();
    let more = if short.len() < words.len() { " .." } else { "" };
    format!("{line}:{column} `{short}{more}`: ")
}

/// An expression in the language's notation.
pub(super) fn expression(layer: &Layer, e: &Expr) -> String {
    Names { layer, used: Vec::new(), primes: true }.expr(e, 0)
}

fn put(text: &mut String, depth: usize, line: &str) {
    writeln!(text, "{:1$}{line}", "", 4 * depth).expect("a string takes all text");
}

/// What the composition of two steps is, and what it costs.
fn law(layer: &Layer, group: &Group, transition: &Transition) -> String {
    let mixed: Vec<&Extent> = transition
        .components
        .iter()
        .flat_map(|c| {
            c.axes.iter().zip(&c.indices).filter(|(axis, _)| axis.is_none()).map(|(_, i)| &layer.index(*i).extent)
        })
        .collect();
    let sizes: Vec<String> = transition
        .components
        .iter()
        .map(|c| {
            let own = c.axes.iter().zip(&c.indices).filter(|(axis, _)| axis.is_none());
            let own: Vec<String> = own.map(|(_, i)| factor(layer, &layer.index(*i).extent)).collect();
            if own.is_empty() { "1".to_owned() } else { own.join(" * ") }
        })
        .collect();
    let size = if sizes.len() == 1 { sizes[0].clone() } else { format!("({})", sizes.join(" + ")) };
    let alone = mixed.is_empty() && sizes.len() == 1;
    match group.class {
        Class::AffineDiagonal => "(a2 * a1, a2 * b1 + b2): 3 operations an element".to_owned(),
        Class::AffineLowRank => format!(
            "compact products of rank {} a step, or (A2 A1, A2 b1 + b2) with matrices of size {size}",
            transition.low_rank.as_ref().map_or(String::new(), |l| rank(layer, l))
        ),
        Class::FiniteMap => "composition of tables: one look-up an entry".to_owned(),
        Class::Nonlinear => String::new(),
        _ => {
            let row = transition.algebra.map(Algebra::row).expect("linear classes have an algebra");
            let over = match group.class {
                Class::AffineDense => String::new(),
                _ => format!(" over {} and {}", row.plus, row.times),
            };
            if alone {
                format!("(a2 {0} a1, (a2 {0} b1) {1} b2){over}: 3 operations an element", row.times, row.plus)
            } else {
                format!("(A2 A1, A2 b1 + b2){over}: matrices of size {size}, {size} ^ 3 products")
            }
        }
    }
}

/// The rank of a low-rank transition: a number, or an expression over dimensions.
pub fn rank(layer: &Layer, low_rank: &super::LowRank) -> String {
    let ranks: Vec<String> = low_rank
        .factors
        .iter()
        .map(|f| {
            let own: Vec<String> = f.rank.iter().map(|i| factor(layer, &layer.index(*i).extent)).collect();
            if own.is_empty() { "1".to_owned() } else { own.join(" * ") }
        })
        .collect();
    match ranks.iter().all(|r| r == "1") {
        true => ranks.len().to_string(),
        false => ranks.join(" + "),
    }
}

/// An extent as a factor of a product.
pub(super) fn factor(layer: &Layer, extent: &Extent) -> String {
    let text = extent.text(&layer.dims);
    if matches!(extent, Extent::Lit(_) | Extent::Dim(_)) { text } else { format!("({text})") }
}

/// The equations of the new states, and what their coefficients are.
fn equations(verdict: &Verdict, transition: &Transition, text: &mut String) {
    let layer = &verdict.layer;
    let mut named = Named::new(layer);
    for component in &transition.components {
        let mut names = Names { layer, used: Vec::new(), primes: true };
        component.indices.iter().for_each(|&i| names.bind(i));
        let left = element(layer, component);
        let right = match (transition.algebra, &transition.low_rank) {
            (None, _) => {
                format!("f({})", transition.components.iter().map(|c| element(layer, c)).collect::<Vec<_>>().join(", "))
            }
            (Some(_), Some(low_rank)) => {
                let mut sum: Vec<String> = Vec::new();
                if !Algebra::Field.is_zero(&low_rank.diagonal) {
                    sum.push(names.product(Algebra::Field, &low_rank.diagonal, &component.indices, &left, &mut named));
                }
                for factor in &low_rank.factors {
                    factor.rank.iter().for_each(|&i| names.bind(i));
                    let inner: Vec<String> = factor
                        .v
                        .iter()
                        .map(|t| names.term(Algebra::Field, t, &component.indices, &mut named))
                        .collect();
                    let inner = if inner.len() == 1 { inner[0].clone() } else { format!("({})", inner.join(" + ")) };
                    let scope: Vec<IndexId> = component.indices.iter().chain(&factor.rank).copied().collect();
                    let product = names.product(Algebra::Field, &factor.u, &scope, &inner, &mut named);
                    let ranks: Vec<String> = factor.rank.iter().map(|&i| names.name(i)).collect();
                    sum.push(if ranks.is_empty() { product } else { format!("sum[{}]({product})", ranks.join(", ")) });
                }
                finish(Algebra::Field, sum, component, &mut names, &mut named)
            }
            (Some(algebra), None) => {
                let diagonal = component.form.terms.iter().all(|t| {
                    t.bound.is_empty()
                        && t.at.iter().zip(&component.indices).all(|(at, i)| super::form::plain(at) == Some(*i))
                }) && transition.components.len() == 1;
                let sum = if diagonal && !component.form.terms.is_empty() {
                    let a = super::coefficient(component, algebra);
                    vec![names.product(algebra, &a, &component.indices, &left, &mut named)]
                } else {
                    component
                        .form
                        .terms
                        .iter()
                        .map(|t| names.term(algebra, t, &component.indices, &mut named))
                        .collect()
                };
                finish(algebra, sum, component, &mut names, &mut named)
            }
        };
        let new = left.replacen(
            layer.states[component.atom.state.at()].name.as_str(),
            &format!("{}'", layer.states[component.atom.state.at()].name),
            1,
        );
        put(text, 1, &format!("{new} = {right}"));
    }
    let named = named.definitions.into_iter().chain(shared(verdict, transition));
    for (at, (name, definition)) in named.enumerate() {
        put(text, 1, &format!("{} {name} = {definition}", if at == 0 { "with" } else { "    " }));
    }
}

/// What coefficients and offsets are called, and what they are.
struct Named<'a> {
    layer: &'a Layer,
    definitions: Vec<(String, String)>,
    places: HashMap<(char, String), usize>,
    counts: HashMap<char, usize>,
    /// Names that the layer has.
    taken: Option<HashSet<&'a str>>,
}

impl<'a> Named<'a> {
    fn new(layer: &'a Layer) -> Self {
        Self { layer, definitions: Vec::new(), places: HashMap::new(), counts: HashMap::new(), taken: None }
    }

    /// The name of a definition: the same for the same, and none that the layer has.
    fn name(&mut self, letter: char, definition: String) -> String {
        if let Some(&at) = self.places.get(&(letter, definition.clone())) {
            return self.definitions[at].0.clone();
        }
        let layer = self.layer;
        let taken = self.taken.get_or_insert_with(|| {
            layer.values.iter().map(|v| v.name.as_str()).chain(layer.dims.iter().map(|d| d.name.as_str())).collect()
        });
        let count = self.counts.entry(letter).or_default();
        let name = loop {
            *count += 1;
            let name = if *count == 1 { letter.to_string() } else { format!("{letter}{count}") };
            if !taken.contains(name.as_str()) {
                break name;
            }
        };
        self.places.insert((letter, definition.clone()), self.definitions.len());
        self.definitions.push((name.clone(), definition));
        name
    }
}

/// The definitions that the coefficients share, each after those it reads.
fn shared(verdict: &Verdict, transition: &Transition) -> Vec<(String, String)> {
    let layer = &verdict.layer;
    let Some(&first) = verdict.shared.first() else { return Vec::new() };
    let mut wanted = vec![false; layer.values.len()];
    let mut want = |e: &Expr| e.reads().into_iter().for_each(|value| wanted[value.at()] = true);
    for component in &transition.components {
        component.form.offset.iter().for_each(&mut want);
        match &transition.low_rank {
            Some(low_rank) => {
                want(&low_rank.diagonal);
                for factor in &low_rank.factors {
                    want(&factor.u);
                    factor.v.iter().flat_map(Term::coefficients).for_each(&mut want);
                }
            }
            None => component.form.terms.iter().flat_map(Term::coefficients).for_each(&mut want),
        }
    }
    let mut lines = Vec::new();
    for equation in layer.equations.iter().rev().filter(|equation| equation.value >= first) {
        if !wanted[equation.value.at()] {
            continue;
        }
        equation.body.reads().into_iter().for_each(|value| wanted[value.at()] = true);
        let mut names = Names { layer, used: Vec::new(), primes: true };
        equation.indices.iter().for_each(|&i| names.bind(i));
        let indices: Vec<String> = equation.indices.iter().map(|&i| names.name(i)).collect();
        let name = &layer.value(equation.value).name;
        let left = if indices.is_empty() { name.clone() } else { format!("{name}[{}]", indices.join(", ")) };
        lines.push((left, names.expr(&equation.body, 0)));
    }
    lines.reverse();
    lines
}

fn finish(
    algebra: Algebra,
    mut sum: Vec<String>,
    component: &Component,
    names: &mut Names<'_>,
    named: &mut Named<'_>,
) -> String {
    if let Some(offset) = &component.form.offset
        && !algebra.is_zero(offset)
    {
        sum.push(names.called('b', offset, &component.indices, named));
    }
    match (algebra, sum.len()) {
        (Algebra::Field, 0) => "0".to_owned(),
        (Algebra::Bool, 0) => "false".to_owned(),
        (_, 0) => "nothing".to_owned(),
        (_, 1) => sum.remove(0),
        (Algebra::Field, _) => sum.join(" + ").replace(" + -", " - "),
        (Algebra::Bool, _) => sum.join(" or "),
        _ => {
            let last = sum.pop().expect("there are two");
            let plus = if algebra == Algebra::LogSumExp { "logaddexp" } else { algebra.row().plus };
            sum.into_iter().rev().fold(last, |rest, one| format!("{plus}({one}, {rest})"))
        }
    }
}

fn element(layer: &Layer, component: &Component) -> String {
    let name = &layer.states[component.atom.state.at()].name;
    let indices: Vec<&str> = component.indices.iter().map(|i| layer.index(*i).name.as_str()).collect();
    let read = if indices.is_empty() { name.clone() } else { format!("{name}[{}]", indices.join(", ")) };
    match component.atom.part {
        Part::Whole => read,
        Part::Re => format!("re({read})"),
        Part::Im => format!("im({read})"),
    }
}

/// The names of indices: that of the user, with a number where it is taken.
struct Names<'a> {
    layer: &'a Layer,
    used: Vec<(IndexId, String)>,
    /// Whether a new version of a state has a prime, as in formulas; in programs it has none.
    primes: bool,
}

impl Names<'_> {
    fn bind(&mut self, i: IndexId) {
        let own = &self.layer.index(i).name;
        let mut name = own.clone();
        let mut number = 2;
        while self.used.iter().any(|(j, n)| *n == name && *j != i) {
            name = format!("{own}{number}");
            number += 1;
        }
        self.used.push((i, name));
    }

    fn name(&self, i: IndexId) -> String {
        let found = self.used.iter().rev().find(|(j, _)| *j == i);
        found.map_or_else(|| self.layer.index(i).name.clone(), |(_, name)| name.clone())
    }

    /// An index where it is introduced: with its extent where it does not follow from an axis of the body.
    fn introduced(&self, i: IndexId, body: &Expr) -> String {
        let own = &self.layer.index(i).extent;
        let mut follows = false;
        body.walk(&mut |e| {
            if let ExprKind::Read { value, at } = &e.kind {
                let axes = &self.layer.value(*value).axes;
                follows |= at.iter().zip(axes).any(|(at, axis)| at.kind == ExprKind::Index(i) && axis == own);
            }
        });
        if follows { self.name(i) } else { format!("{} in {}", self.name(i), own.text(&self.layer.dims)) }
    }

    /// What an expression is called: by itself where it is short, else by a new name.
    fn called(&mut self, letter: char, e: &Expr, scope: &[IndexId], named: &mut Named<'_>) -> String {
        let definition = self.expr(e, 0);
        let short = matches!(e.kind, ExprKind::Read { .. })
            || build::constant(e).is_some()
            || matches!(e.kind, ExprKind::Bool(_));
        if short {
            return definition;
        }
        let indices: Vec<String> = scope.iter().filter(|&&i| build::mentions(e, i)).map(|&i| self.name(i)).collect();
        let name = named.name(letter, definition);
        if indices.is_empty() { name } else { format!("{name}[{}]", indices.join(", ")) }
    }

    fn product(
        &mut self,
        algebra: Algebra,
        a: &Expr,
        scope: &[IndexId],
        element: &str,
        named: &mut Named<'_>,
    ) -> String {
        if algebra.is_one(a) {
            return element.to_owned();
        }
        if algebra.is_zero(a) {
            return if algebra == Algebra::Field { "0".to_owned() } else { "nothing".to_owned() };
        }
        if algebra == Algebra::Field && build::constant(a) == Some(-1.0) {
            return format!("-{element}");
        }
        let a = self.called('a', a, scope, named);
        match algebra {
            Algebra::Field => format!("{a} * {element}"),
            Algebra::Bool => format!("{element} and {a}"),
            _ => format!("{element} + {a}"),
        }
    }

    fn term(&mut self, algebra: Algebra, term: &Term, row: &[IndexId], named: &mut Named<'_>) -> String {
        let before = self.used.len();
        term.bound.iter().for_each(|&i| self.bind(i));
        let at: Vec<String> = term.at.iter().map(|at| self.expr(at, 0)).collect();
        let name = &self.layer.states[term.atom.state.at()].name;
        let read = if at.is_empty() { name.clone() } else { format!("{name}[{}]", at.join(", ")) };
        let read = match term.atom.part {
            Part::Whole => read,
            Part::Re => format!("re({read})"),
            Part::Im => format!("im({read})"),
        };
        let scope: Vec<IndexId> = row.iter().chain(&term.bound).copied().collect();
        let weight = term.weight(algebra);
        let product = self.product(algebra, &weight, &scope, &read, named);
        let bound: Vec<String> = term.bound.iter().map(|&i| self.name(i)).collect();
        self.used.truncate(before);
        if bound.is_empty() {
            product
        } else {
            format!("{}[{}]({product})", algebra.row().reduce.name(), bound.join(", "))
        }
    }

    fn list(&mut self, items: &[Expr]) -> String {
        items.iter().map(|e| self.expr(e, 0)).collect::<Vec<_>>().join(", ")
    }

    fn access(&mut self, value: ValueId, at: &[Expr]) -> String {
        let declared = self.layer.value(value);
        let prime = if self.primes && matches!(declared.kind, ValueKind::Next(_)) { "'" } else { "" };
        let name = format!("{}{prime}", declared.name);
        if at.is_empty() { name } else { format!("{name}[{}]", self.list(at)) }
    }

    fn expr(&mut self, e: &Expr, least: u8) -> String {
        let (level, text) = self.parts(e);
        if level < least { format!("({text})") } else { text }
    }

    fn parts(&mut self, e: &Expr) -> (u8, String) {
        let atom = |text: String| (9, text);
        match &e.kind {
            ExprKind::Int(n) => atom(n.to_string()),
            ExprKind::Real(x) if x.is_infinite() => atom(if *x < 0.0 { "-inf" } else { "inf" }.to_owned()),
            ExprKind::Real(x) => (if *x < 0.0 { 7 } else { 9 }, x.to_string()),
            ExprKind::Imaginary(x) => (if *x < 0.0 { 7 } else { 9 }, format!("{x}i")),
            ExprKind::Bool(b) => atom(b.to_string()),
            ExprKind::Dim(d) => atom(self.layer.dims[d.at()].name.clone()),
            ExprKind::Index(i) => atom(self.name(*i)),
            ExprKind::First => atom("first".to_owned()),
            ExprKind::Read { value, at } => atom(self.access(*value, at)),
            ExprKind::Past { delay, at, steps } => {
                let of = match self.layer.definition(*delay).map(|d| &d.body.kind) {
                    Some(ExprKind::Read { value, at: own }) if own.len() == at.len() => self.access(*value, at),
                    _ => self.access(*delay, at),
                };
                let steps = self.expr(steps, 0);
                atom(format!("past({of}, {steps})"))
            }
            ExprKind::Widen(a) => self.parts(a),
            ExprKind::Unary(UnaryOp::Neg, a) => (7, format!("-{}", self.expr(a, 7))),
            ExprKind::Unary(UnaryOp::Not, a) => (3, format!("not {}", self.expr(a, 3))),
            ExprKind::Binary(op, a, b) => {
                let level = level(*op);
                let left = if level == 4 { 5 } else { level };
                (level, format!("{} {} {}", self.expr(a, left), op.symbol(), self.expr(b, level + 1)))
            }
            ExprKind::Powi(a, n) => (8, format!("{}^{n}", self.expr(a, 9))),
            ExprKind::Call(function, args) => atom(format!("{}({})", function.name(), self.list(args))),
            ExprKind::If(parts) => {
                let [c, a, b] = [self.expr(&parts[0], 1), self.expr(&parts[1], 1), self.expr(&parts[2], 0)];
                (0, format!("if {c} then {a} else {b}"))
            }
            ExprKind::Reduce { op, indices, body } => {
                let before = self.used.len();
                indices.iter().for_each(|&i| self.bind(i));
                let names: Vec<String> = indices.iter().map(|&i| self.introduced(i, body)).collect();
                let body = self.expr(body, 0);
                self.used.truncate(before);
                atom(format!("{}[{}]({body})", op.name(), names.join(", ")))
            }
            ExprKind::Normalise { op, index, at, body, .. } => {
                let at = self.expr(at, 0);
                let before = self.used.len();
                self.bind(*index);
                let (name, body) = (self.name(*index), self.expr(body, 0));
                self.used.truncate(before);
                let function = match op {
                    NormaliseOp::Softmax => "softmax",
                    NormaliseOp::LayerNorm => "layernorm",
                    NormaliseOp::RmsNorm => "rmsnorm",
                };
                atom(format!("{function}[{name}]({body})[{at}]"))
            }
            ExprKind::Solve { row, column, at, matrix, right } => {
                let at = self.expr(at, 0);
                let before = self.used.len();
                // A program says which element by the name of the row.
                match &e.operands()[0].kind {
                    ExprKind::Index(i) if !self.primes => self.used.push((*row, self.name(*i))),
                    _ => self.bind(*row),
                }
                self.bind(*column);
                let (row, column) = (self.name(*row), self.name(*column));
                let (matrix, right) = (self.expr(matrix, 0), self.expr(right, 0));
                self.used.truncate(before);
                let element = if at == row && !self.primes { String::new() } else { format!("[{at}]") };
                atom(format!("solve[{row}, {column}]({matrix}, {right}){element}"))
            }
            ExprKind::Shift(parts, by) => atom(format!("shift({}, {by})", self.list(&parts[..]))),
            ExprKind::Last(parts) => atom(format!("last({})", self.list(&parts[..]))),
            ExprKind::Random(..) | ExprKind::HippoLegs(_) | ExprKind::HippoN(_) => atom("..".to_owned()),
        }
    }
}

/// What the compiler found for implicit updates, as statements of the language, in order.
pub fn derived(layer: &Layer) -> Vec<String> {
    let equations = layer.derived.iter().filter_map(|value| layer.definition(*value));
    equations
        .map(|equation| {
            let mut names = Names { layer, used: Vec::new(), primes: false };
            equation.indices.iter().for_each(|&i| names.bind(i));
            let value = layer.value(equation.value);
            let introduces = value.kind == ValueKind::Let;
            let indices = equation.indices.iter().map(|&i| match introduces {
                true => names.introduced(i, &equation.body),
                false => names.name(i),
            });
            let indices: Vec<String> = indices.collect();
            let left =
                if indices.is_empty() { value.name.clone() } else { format!("{}[{}]", value.name, indices.join(", ")) };
            let right = names.expr(&equation.body, 0);
            if introduces { format!("let {left} = {right}") } else { format!("{left} <- {right}") }
        })
        .collect()
}

fn level(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => 1,
        BinaryOp::And => 2,
        BinaryOp::Add | BinaryOp::Sub => 5,
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::FloorDiv | BinaryOp::Mod => 6,
        _ => 4,
    }
}
