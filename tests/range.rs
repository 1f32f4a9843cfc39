//! What sema accepts stays inside: random programs over integers, and every access of those that are accepted, evaluated
//! for small dimensions, all indices and a choice of inputs. The seed is fixed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;

use ssmc::ir::{BinaryOp, Expr, ExprKind, Extent, Function, IndexId, Layer, ReduceOp};
use ssmc::ir::{Scalar, Type, UnaryOp, ValueId, ValueKind};
use ssmc::{sema, syntax};

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

const EXTENTS: &[&str] = &[
    "N",
    "N",
    "M",
    "3",
    "N + 1",
    "2 * N",
    "N + M",
    "N * M",
    "N - 1",
    "N // 2",
    "N // M",
    "N % 3 + 1",
    "N * N",
    "2 * N - 1",
];

/// Random programs as text.
struct Writer {
    rng: Rng,
    extents: [&'static str; 4],
}

impl Writer {
    fn integer(&mut self, depth: usize) -> String {
        let leaves = ["0", "1", "2", "N", "M", "i", "i", "j", "j", "t", "s", "k", "N - 1"];
        if depth == 0 || self.rng.below(5) == 0 {
            return self.rng.pick(&leaves).to_owned();
        }
        let a = self.integer(depth - 1);
        let b = self.integer(depth - 1);
        let extent = self.extents[self.rng.below(4)];
        match self.rng.below(22) {
            0..=3 => format!("({a} + {b})"),
            4..=7 => format!("({a} - {b})"),
            8..=9 => format!("({a} * {b})"),
            10 => format!("({a} // {b})"),
            11 => format!("({a} % {b})"),
            12..=13 => format!("({a} % ({extent}))"),
            14 => format!("min({a}, {b})"),
            15 => format!("max({a}, {b})"),
            16 => format!("clamp({a}, 0, {extent} - 1)"),
            17 => format!("argmax[b in {extent}](z + b)"),
            18 => format!("past({}, 1)", self.rng.pick(&["t", "s", "k"])),
            19 => format!("m[{a}]"),
            20 => format!("abs({a})"),
            _ => {
                let condition = self.condition(1);
                format!("(if {condition} then {a} else {b})")
            }
        }
    }

    fn condition(&mut self, depth: usize) -> String {
        if depth == 0 || self.rng.below(3) > 0 {
            let plain = ["p", "q", "i > 0", "i < N - 1", "j != 0", "i >= j", "t == 0", "k < N", "z > 0.5", "N > 1"];
            if self.rng.below(2) == 0 {
                return self.rng.pick(&plain).to_owned();
            }
            let op = self.rng.pick(&["<", "<=", ">", ">=", "==", "!="]);
            let (a, b) = (self.integer(1), self.integer(1));
            return format!("{a} {op} {b}");
        }
        let (a, b) = (self.condition(depth - 1), self.condition(depth - 1));
        match self.rng.below(3) {
            0 => format!("({a} and {b})"),
            1 => format!("({a} or {b})"),
            _ => format!("not ({a})"),
        }
    }

    fn access(&mut self) -> String {
        let position = match self.rng.below(8) {
            0 => format!("{} - 1 - i", self.extents[0]),
            1 => "i - 1".to_owned(),
            2 => "i + 1".to_owned(),
            3 => "i // (N // M)".to_owned(),
            4 => "i * M + j".to_owned(),
            _ => self.integer(2),
        };
        format!("x[{position}]")
    }

    fn program(&mut self) -> String {
        for place in 0..4 {
            self.extents[place] = self.rng.pick(EXTENTS);
        }
        let [a, b, c, d] = self.extents;
        let mut text = "layer l(N, M) {\n".to_owned();
        let _ = writeln!(text, "input x[{a}], t: index({b}), s: index({c}), p: bool, q: bool, z");
        let position = self.rng.pick(&["u", "N - u", "(u + 1) % N", "if u > 0 then u - 1 else 0", "2 * u"]);
        let _ = writeln!(text, "let m[u in {d}] = {position}");
        let k = ["i", "j", "k", "m["];
        let mut scalar = "t".to_owned();
        for _ in 0..20 {
            let found = self.integer(2);
            if !k.iter().any(|name| found.contains(name)) {
                scalar = found;
                break;
            }
        }
        let _ = writeln!(text, "let k = {scalar}");
        let mut body = self.access();
        for _ in 0..self.rng.below(3) {
            let other = match self.rng.below(3) {
                0 => self.access(),
                _ => "0".to_owned(),
            };
            let condition = self.condition(1);
            body = match self.rng.below(4) {
                0 => format!("(if {condition} then {other} else {body})"),
                1 => format!("sum[j in {}]({body})", self.extents[self.rng.below(4)]),
                _ => format!("(if {condition} then {body} else {other})"),
            };
        }
        let _ = writeln!(text, "output y[i in {}, j in {}] = {body}", a, c);
        if self.rng.below(3) == 0 {
            let mut next = self.integer(2);
            for index in ["i", "j"] {
                next = next.replace(&format!("({index} "), "(t ");
            }
            let _ = writeln!(text, "state h: index({b}) = 0\nh <- {next}");
        }
        text.push('}');
        text
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Int(i64),
    Bool(bool),
    Other,
}

/// One step of a layer with numbers for its dimensions and made-up inputs.
struct Machine<'a> {
    layer: &'a Layer,
    dims: Vec<Option<i64>>,
    salt: u64,
    wrong: RefCell<Option<String>>,
}

/// There is no such value: an index type without values, an overflow.
struct Nothing;

type Env = HashMap<IndexId, i64>;

impl Machine<'_> {
    fn size(&self, extent: &Extent) -> Result<i64, Nothing> {
        extent.eval(&self.dims).ok_or(Nothing)
    }

    fn say(&self, what: String) {
        self.wrong.borrow_mut().get_or_insert(what);
    }

    fn made_up(&self, seed: u64) -> u64 {
        mix(seed ^ mix(self.salt))
    }

    /// The value of an input or of something of an earlier step.
    fn given(&self, ty: &Type, seed: u64) -> Result<Value, Nothing> {
        let draw = self.made_up(seed);
        Ok(match ty {
            Type::Index(extent) => {
                let size = self.size(extent)?;
                if size < 1 {
                    return Err(Nothing);
                }
                // Small and large values are the ones that matter.
                Value::Int(match draw % 4 {
                    0 => 0,
                    1 => size - 1,
                    _ => (draw >> 8) as i64 % size,
                })
            }
            Type::Int => Value::Int((draw % 7) as i64 - 3),
            Type::Bool => Value::Bool(draw.is_multiple_of(2)),
            Type::Real | Type::Complex => Value::Other,
        })
    }

    fn positions(&self, value: ValueId, at: &[Expr], env: &mut Env) -> Result<Vec<i64>, Nothing> {
        let axes = &self.layer.value(value).axes;
        let mut found = Vec::new();
        for (e, axis) in at.iter().zip(axes) {
            let (position, size) = (self.int(e, env)?, self.size(axis)?);
            if position < 0 || position >= size {
                let name = &self.layer.value(value).name;
                self.say(format!("`{name}[{position}]` of {size}"));
                return Err(Nothing);
            }
            found.push(position);
        }
        Ok(found)
    }

    fn int(&self, e: &Expr, env: &mut Env) -> Result<i64, Nothing> {
        match self.eval(e, env)? {
            Value::Int(n) => Ok(n),
            other => panic!("an integer is {other:?}"),
        }
    }

    fn holds(&self, e: &Expr, env: &mut Env) -> Result<bool, Nothing> {
        Ok(match self.eval(e, env)? {
            Value::Bool(holds) => holds,
            // A comparison of reals: made up.
            _ => self.made_up(u64::from(e.span.start)).is_multiple_of(2),
        })
    }

    fn eval(&self, e: &Expr, env: &mut Env) -> Result<Value, Nothing> {
        Ok(match &e.kind {
            ExprKind::Int(n) => Value::Int(*n),
            ExprKind::Bool(b) => Value::Bool(*b),
            ExprKind::Dim(d) => Value::Int(self.dims[d.at()].ok_or(Nothing)?),
            ExprKind::Index(i) => Value::Int(env[i]),
            ExprKind::Read { value, at } => {
                let at = self.positions(*value, at, env)?;
                let declared = self.layer.value(*value);
                match self.layer.definition(*value) {
                    Some(equation) if declared.kind == ValueKind::Let => {
                        let mut inner: Env = equation.indices.iter().copied().zip(at).collect();
                        self.eval(&equation.body, &mut inner)?
                    }
                    _ => {
                        let seed = at
                            .iter()
                            .fold(u64::from(value.0), |seed, at| mix(seed.wrapping_mul(31).wrapping_add(*at as u64)));
                        self.given(&declared.ty, seed)?
                    }
                }
            }
            ExprKind::Past { delay, at, steps } => {
                let at = self.positions(*delay, at, env)?;
                let steps = self.int(steps, env)?;
                if steps < 0 {
                    self.say(format!("{steps} steps ago"));
                }
                let seed = at
                    .iter()
                    .chain([&steps])
                    .fold(u64::from(delay.0), |seed, at| mix(seed.wrapping_mul(31).wrapping_add(*at as u64)));
                self.given(&self.layer.value(*delay).ty, seed)?
            }
            ExprKind::Unary(UnaryOp::Not, a) => Value::Bool(!self.holds(a, env)?),
            ExprKind::Unary(UnaryOp::Neg, a) if e.ty == Scalar::Int => Value::Int(-self.int(a, env)?),
            ExprKind::Binary(BinaryOp::And, a, b) => Value::Bool(self.holds(a, env)? && self.holds(b, env)?),
            ExprKind::Binary(BinaryOp::Or, a, b) => Value::Bool(self.holds(a, env)? || self.holds(b, env)?),
            ExprKind::Binary(op, a, b) if a.ty == Scalar::Int => {
                let (a, b) = (self.int(a, env)?, self.int(b, env)?);
                binary(*op, a, b).ok_or_else(|| {
                    if b == 0 {
                        self.say(format!("{a} {op:?} 0"));
                    }
                    Nothing
                })?
            }
            ExprKind::Call(function, args) if e.ty == Scalar::Int => {
                let mut values = Vec::new();
                for arg in args {
                    values.push(self.int(arg, env)?);
                }
                Value::Int(match (function, values.as_slice()) {
                    (Function::Min, [a, b]) => *a.min(b),
                    (Function::Max, [a, b]) => *a.max(b),
                    (Function::Abs, [a]) => a.abs(),
                    // As its definition says: no panic where the bounds are the wrong way round.
                    (Function::Clamp, [x, low, high]) => *x.max(low).min(high),
                    _ => panic!("{function:?} of integers"),
                })
            }
            ExprKind::If(parts) => {
                let [condition, then, other] = &**parts;
                let chosen = if self.holds(condition, env)? { then } else { other };
                self.eval(chosen, env)?
            }
            ExprKind::Reduce { op, indices, body } => {
                let mut sizes = Vec::new();
                for i in indices {
                    sizes.push(self.size(&self.layer.index(*i).extent)?);
                }
                each(&sizes, &mut |at| {
                    env.extend(indices.iter().copied().zip(at.iter().copied()));
                    let _ = self.eval(body, env);
                });
                match op {
                    ReduceOp::ArgMax | ReduceOp::ArgMin => {
                        let size = sizes[0].max(1) as u64;
                        let seed = u64::from(e.span.start);
                        Value::Int((self.made_up(seed) % size) as i64)
                    }
                    _ => Value::Other,
                }
            }
            _ => {
                for operand in e.operands() {
                    self.eval(operand, env)?;
                }
                Value::Other
            }
        })
    }

    fn run(&self) {
        for equation in &self.layer.equations {
            let mut sizes = Vec::new();
            for i in &equation.indices {
                match self.size(&self.layer.index(*i).extent) {
                    Ok(size) => sizes.push(size),
                    Err(Nothing) => return,
                }
            }
            each(&sizes, &mut |at| {
                let indices = equation.indices.iter().copied();
                let mut env: Env = indices.zip(at.iter().copied()).collect();
                let found = self.eval(&equation.body, &mut env);
                let ty = &self.layer.value(equation.value).ty;
                if let (Ok(Value::Int(n)), Type::Index(extent)) = (found, ty)
                    && let Ok(size) = self.size(extent)
                    && (n < 0 || n >= size)
                {
                    self.say(format!("{n} for index({size})"));
                }
            });
        }
    }
}

fn binary(op: BinaryOp, a: i64, b: i64) -> Option<Value> {
    Some(match op {
        BinaryOp::Add => Value::Int(a.checked_add(b)?),
        BinaryOp::Sub => Value::Int(a.checked_sub(b)?),
        BinaryOp::Mul => Value::Int(a.checked_mul(b)?),
        BinaryOp::FloorDiv => Value::Int(floor(a, b)?),
        BinaryOp::Mod => Value::Int(a - floor(a, b)? * b),
        BinaryOp::Lt => Value::Bool(a < b),
        BinaryOp::Le => Value::Bool(a <= b),
        BinaryOp::Gt => Value::Bool(a > b),
        BinaryOp::Ge => Value::Bool(a >= b),
        BinaryOp::Eq => Value::Bool(a == b),
        BinaryOp::Ne => Value::Bool(a != b),
        _ => return None,
    })
}

fn floor(a: i64, b: i64) -> Option<i64> {
    let quotient = a.checked_div_euclid(b)?;
    Some(if b < 0 && a.rem_euclid(b) != 0 { quotient - 1 } else { quotient })
}

/// Visits all positions below the sizes.
fn each(sizes: &[i64], visit: &mut dyn FnMut(&[i64])) {
    if sizes.iter().any(|size| *size < 1) {
        return;
    }
    let mut at = vec![0; sizes.len()];
    loop {
        visit(&at);
        let Some(axis) = (0..at.len()).rev().find(|&axis| at[axis] + 1 < sizes[axis]) else {
            return;
        };
        at[axis] += 1;
        at[axis + 1..].fill(0);
    }
}

/// What goes wrong in a layer, with the dimensions.
fn violation(layer: &Layer) -> Option<String> {
    for n in 1..=6 {
        for m in 1..=5 {
            let dims = vec![Some(n), Some(m)];
            let fulfilled = layer.requirements.iter().all(|r| {
                let (by, of) = (r.divisor.eval(&dims), r.dividend.eval(&dims));
                matches!((by, of), (Some(by), Some(of)) if by != 0 && of % by == 0)
            });
            if !fulfilled {
                continue;
            }
            for salt in 0..6 {
                let machine =
                    Machine { layer, dims: dims.clone(), salt: salt + 100 * n as u64, wrong: RefCell::new(None) };
                machine.run();
                if let Some(what) = machine.wrong.into_inner() {
                    return Some(format!("N = {n}, M = {m}: {what}"));
                }
            }
        }
    }
    None
}

#[test]
fn accepted_accesses_stay_inside() {
    let programs = std::env::var("PROGRAMS").map_or(600, |n| n.parse().expect("a number"));
    let mut writer = Writer { rng: Rng(1), extents: ["N"; 4] };
    let mut accepted = 0;
    let mut failed = Vec::new();
    for _ in 0..programs {
        let text = writer.program();
        let (file, diagnostics) = syntax::parse(&text);
        assert!(diagnostics.is_empty(), "{text}\n{diagnostics:?}");
        for layer in sema::lower(&file).0 {
            accepted += 1;
            if let Some(what) = violation(&layer) {
                failed.push(format!("{text}\n{what}\n"));
            }
        }
    }
    failed.sort_by_key(String::len);
    let shown = failed.iter().take(5).cloned().collect::<Vec<_>>();
    assert!(failed.is_empty(), "{} of {accepted}:\n{}", failed.len(), shown.join("\n"));
    println!("{accepted} of {programs} programs are accepted");
    assert!(accepted > programs / 20, "only {accepted} are accepted");
}
