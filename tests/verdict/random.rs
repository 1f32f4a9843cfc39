//! Random small recurrences whose new states are random expressions of the old ones.
//!
//! A seed gives one program. Most operations keep to one algebra, so that many programs have a class; the others are what
//! such an analysis gets wrong: conditions on states, products of states, powers, rounding, scaled maxima, index
//! arithmetic on states, states that read each other, several updates of one.

use super::Rng;

/// What kind of state a program has, and by which operations its expressions are mostly made.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Real,
    Complex,
    MaxPlus,
    MinPlus,
    LogSumExp,
    Bool,
    Index,
}

struct Generator {
    rng: Rng,
    kind: Kind,
    /// Names with the dimensions of their axes, states first, then what is defined by `let`.
    states: Vec<(String, Vec<&'static str>)>,
    lets: Vec<(String, Vec<&'static str>)>,
    /// Indices in sight, with their dimensions.
    scope: Vec<(String, &'static str)>,
    bound: usize,
    /// One in so many operations may leave the algebra.
    stray: usize,
}

const HEAD: &str = "layer test(N, M) {
    param A[N, N], B[M, M], p[N], perm[N]: index(N), turn[M]: index(M), w: complex, next[3, 3]: index(3)
    input x, y, k[N], v[M], z: complex, go: bool, gate[N]: bool, tok: index(3), at: index(N)
";

/// The program of a seed.
pub fn program(seed: u64) -> String {
    let mut rng = Rng(seed);
    rng.next();
    let kinds =
        [Kind::Real, Kind::Real, Kind::Complex, Kind::MaxPlus, Kind::MinPlus, Kind::LogSumExp, Kind::Bool, Kind::Index];
    let kind = kinds[rng.below(kinds.len())];
    let stray = [4, 12, 40, 1000][rng.below(4)];
    let mut generator =
        Generator { rng, kind, states: Vec::new(), lets: Vec::new(), scope: Vec::new(), bound: 0, stray };
    generator.layer()
}

impl Generator {
    fn one_in(&mut self, n: usize) -> bool {
        self.rng.below(n) == 0
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.rng.below(of.len())]
    }

    fn layer(&mut self) -> String {
        let mut text = HEAD.to_owned();
        let shapes: [&[&'static str]; 6] = [&[], &["N"], &["N"], &["N", "M"], &["N", "N"], &[]];
        let shape = shapes[self.rng.below(shapes.len())].to_vec();
        let reverse = if self.one_in(10) { " reverse" } else { "" };
        for n in 0..1 + self.rng.below(6) / 2 {
            let shape = if self.one_in(4) { shapes[self.rng.below(shapes.len())].to_vec() } else { shape.clone() };
            let ty = match self.kind {
                Kind::Complex => ": complex = 0.5",
                Kind::Bool => ": bool = true",
                Kind::Index => ": index(3) = 1",
                _ => " = 0.5",
            };
            let axes = if shape.is_empty() { String::new() } else { format!("[{}]", shape.join(", ")) };
            text += &format!("    state s{n}{axes}{ty}{reverse}\n");
            self.states.push((format!("s{n}"), shape));
        }
        if self.one_in(4) {
            text += "    reset when go\n";
        }
        let count = self.states.len();
        let updates = (0..count).chain((0..self.rng.below(2)).map(|_| self.rng.below(count)).collect::<Vec<_>>());
        for at in updates.collect::<Vec<usize>>() {
            if self.one_in(2) {
                let shape = if self.one_in(2) { self.states[at].1.clone() } else { Vec::new() };
                let name = format!("t{}", self.lets.len());
                let (left, body) = self.equation(&shape, 2);
                text += &format!("    let {name}{left} = {body}\n");
                self.lets.push((name, shape));
            }
            let (name, shape) = self.states[at].clone();
            let (left, body) = self.equation(&shape, 3);
            let body = if self.kind == Kind::Index { format!("({body}) % 3") } else { body };
            text += &format!("    {name}{left} <- {body}\n");
        }
        text + "}\n"
    }

    /// The left side's indices, and an expression at them.
    fn equation(&mut self, shape: &[&'static str], depth: usize) -> (String, String) {
        let names = ["i", "j"];
        self.scope = shape.iter().zip(names).map(|(dim, name)| (name.to_owned(), *dim)).collect();
        let left: Vec<String> = self.scope.iter().map(|(name, dim)| format!("{name} in {dim}")).collect();
        let left = if left.is_empty() { String::new() } else { format!("[{}]", left.join(", ")) };
        let body = self.value(depth);
        // A literal alone would be an integer.
        let body = match self.kind {
            Kind::Bool | Kind::Index => body,
            Kind::Complex => format!("{body} + 0i"),
            _ => format!("{body} + 0.0"),
        };
        (left, body)
    }

    /// A place along an axis.
    fn place(&mut self, dim: &str) -> String {
        let fits: Vec<String> = self.scope.iter().filter(|(_, d)| *d == dim).map(|(name, _)| name.clone()).collect();
        if fits.is_empty() {
            return if dim == "N" { self.pick(&["0", "at", "N - 1", "perm[0]"]) } else { self.pick(&["0", "M - 1"]) }
                .to_owned();
        }
        let i = fits[self.rng.below(fits.len())].clone();
        match self.rng.below(16) {
            0 => format!("{dim} - 1 - {i}"),
            1 => format!("{}[{i}]", if dim == "N" { "perm" } else { "turn" }),
            2 => format!("{i} // 2"),
            3 => format!("({i} + 1) % {dim}"),
            4 => format!("max({i} - 1, 0)"),
            5 => "0".to_owned(),
            6 if dim == "N" => "at".to_owned(),
            _ => i,
        }
    }

    fn access(&mut self, (name, shape): &(String, Vec<&'static str>)) -> String {
        // Mostly the element itself.
        let own = !self.one_in(4) && shape.len() <= self.scope.len();
        let own = own && shape.iter().zip(&self.scope).all(|(dim, (_, d))| dim == d);
        let at: Vec<String> = if own {
            self.scope[..shape.len()].iter().map(|(name, _)| name.clone()).collect()
        } else {
            shape.iter().map(|dim| self.place(dim)).collect()
        };
        if at.is_empty() { name.clone() } else { format!("{name}[{}]", at.join(", ")) }
    }

    /// A state, or what is defined from states.
    fn state(&mut self) -> String {
        let all: Vec<_> = self.states.iter().chain(&self.lets).cloned().collect();
        let one = all[self.rng.below(all.len())].clone();
        self.access(&one)
    }

    /// What does not depend on a state.
    fn free(&mut self, depth: usize) -> String {
        if self.kind == Kind::Bool {
            let leaf = self.pick(&["go", "gate[N]", "(x > 0)", "true", "false", "(tok == 1)", "first"]);
            return leaf.replace("[N]", &format!("[{}]", self.place("N")));
        }
        if self.kind == Kind::Index {
            let leaf = self.pick(&["tok", "1", "2", "next[tok, 1]", "0"]);
            return leaf.to_owned();
        }
        if depth > 0 && self.one_in(3) {
            let a = self.free(depth - 1);
            let b = self.free(depth - 1);
            return match self.rng.below(6) {
                0 => format!("({a} + {b})"),
                1 => format!("({a} - {b})"),
                2 => format!("({a} * {b})"),
                3 => format!("(if {} then {a} else {b})", self.condition()),
                4 if self.kind != Kind::Complex => format!("({a} / (1.5 + abs({b})))"),
                _ => format!("(-{a})"),
            };
        }
        let leaf = if self.kind == Kind::Complex && self.one_in(2) {
            self.pick(&["z", "w", "1i", "cis(x)", "conj(z)", "(0.5 - 2i)", "exp(1i * y)"])
        } else {
            self.pick(&[
                "x",
                "y",
                "k[N]",
                "v[M]",
                "p[N]",
                "A[N, N]",
                "B[M, M]",
                "0.5",
                "2.0",
                "(-1.5)",
                "0.0",
                "1.0",
                "past(x, 1)",
                "sigmoid(x)",
                "exp(y)",
                "past(k[N], 2)",
                "tanh(x)",
            ])
        };
        let mut text = String::new();
        let mut rest = leaf;
        while let Some(at) = rest.find("[N").or_else(|| rest.find("[M")) {
            text += &rest[..at];
            let end = at + rest[at..].find(']').expect("it closes");
            let dims: Vec<&str> = rest[at + 1..end].split(", ").collect();
            let places: Vec<String> = dims.iter().map(|dim| self.place(dim)).collect();
            text += &format!("[{}]", places.join(", "));
            rest = &rest[end + 1..];
        }
        text + rest
    }

    /// A condition, now and then on the state.
    fn condition(&mut self) -> String {
        if self.one_in(self.stray) {
            let s = self.state();
            return match self.kind {
                Kind::Complex => format!("(re({s}) > 0)"),
                Kind::Bool => s,
                Kind::Index => format!("({s} == 1)"),
                _ => format!("{s} > 0"),
            };
        }
        let index = self.scope.first().map_or("x".to_owned(), |(name, _)| name.clone());
        match self.rng.below(6) {
            0 => "go".to_owned(),
            1 => "first".to_owned(),
            2 => format!("{index} > 0"),
            3 => format!("gate[{}]", self.place("N")),
            4 => "not (x < y)".to_owned(),
            _ => "tok != 1".to_owned(),
        }
    }

    /// What is summed over a new index.
    fn binder(&mut self, name: &str, depth: usize) -> String {
        let dim = self.pick(&["N", "M"]);
        self.bound += 1;
        let index = format!("q{}", self.bound);
        self.scope.push((index.clone(), if dim == "N" { "N" } else { "M" }));
        let body = if self.one_in(2) { self.value(depth) } else { self.at_bound(&index, dim, depth) };
        self.scope.pop();
        format!("{name}[{index} in {dim}]({body})")
    }

    /// A state at the new index, weighted.
    fn at_bound(&mut self, index: &str, dim: &str, depth: usize) -> String {
        let with: Vec<_> = self.states.iter().filter(|(_, shape)| shape.contains(&dim)).cloned().collect();
        if with.is_empty() {
            return self.value(depth);
        }
        let (name, shape) = with[self.rng.below(with.len())].clone();
        let at: Vec<String> =
            shape.iter().map(|d| if *d == dim && !self.one_in(4) { index.to_owned() } else { self.place(d) }).collect();
        let read = format!("{name}[{}]", at.join(", "));
        let free = self.free(1);
        match self.kind {
            Kind::Real | Kind::Complex => format!("{free} * {read}"),
            Kind::Bool => format!("({read} and {free})"),
            _ => format!("({read} + {free})"),
        }
    }

    fn value(&mut self, depth: usize) -> String {
        if depth == 0 {
            return if self.one_in(3) { self.free(1) } else { self.state() };
        }
        let d = depth - 1;
        if self.one_in(self.stray) {
            return self.stray(d);
        }
        if self.one_in(6) {
            let condition = self.condition();
            return format!("(if {condition} then {} else {})", self.value(d), self.value(d));
        }
        if self.one_in(8)
            && let Some((i, dim)) = self.scope.first().cloned()
        {
            let with: Vec<_> = self.states.iter().filter(|(_, shape)| *shape == [dim]).cloned().collect();
            if let Some((name, _)) = with.first() {
                return format!("(if {i} > 0 then {name}[{i} - 1] else {})", self.value(d));
            }
        }
        match self.kind {
            Kind::Real => self.real(d),
            Kind::Complex => self.complex(d),
            Kind::MaxPlus | Kind::MinPlus => self.tropical(d),
            Kind::LogSumExp => self.exponential(d),
            Kind::Bool => self.boolean(d),
            Kind::Index => self.index(d),
        }
    }

    /// An operation that may leave the algebra.
    fn stray(&mut self, d: usize) -> String {
        let (a, b) = (self.value(d), self.value(d));
        let free = self.free(1);
        let shape = match self.kind {
            Kind::Complex => self.pick(&[
                "(A * B)",
                "(A * conj(A))",
                "(abs(A) + 0i)",
                "(A / (2.0 + abs(B)))",
                "(exp(A))",
                "(A ^ 2)",
                "(A - A)",
                "(A ^ 0)",
            ]),
            Kind::Bool => self.pick(&["(A != B)", "(not A)", "(A == B)", "(A and B)", "(if A then B else F)"]),
            Kind::Index => self.pick(&["(A * B)", "(A // 2)", "(A % 2)", "min(A, B)", "(A - B)", "next[A % 3, B % 3]"]),
            _ => self.pick(&[
                "(A * B)",
                "(A ^ 2)",
                "(A ^ 0)",
                "(A ^ 1)",
                "pow(abs(A), 1)",
                "max(2 * A, B)",
                "min(A, B)",
                "max(A, B)",
                "abs(A)",
                "floor(A)",
                "(A % 2)",
                "(A // 2)",
                "relu(A)",
                "tanh(A)",
                "clamp(A, F, 2.0)",
                "(A - A)",
                "(A / (2 + B * B))",
                "(0 * A)",
                "sqrt(abs(A))",
                "softplus(A)",
                "log(exp(A) + F)",
                "(A * F)",
                "max(-A, B)",
                "logaddexp",
                "-A",
                "(A + relu(B - A))",
                "(if A > B then A else B)",
                "(if A < F then F else A)",
                "max(A * F, B)",
                "sign(A)",
            ]),
        };
        if shape == "logaddexp" {
            return format!("log(exp({a}) + exp({b}))");
        }
        let mut text = String::new();
        for letter in shape.chars() {
            match letter {
                'A' => text += &a,
                'B' => text += &b,
                'F' => text += &free,
                other => text.push(other),
            }
        }
        text
    }

    fn real(&mut self, d: usize) -> String {
        match self.rng.below(14) {
            0 | 1 => format!("({} + {})", self.value(d), self.value(d)),
            2 => format!("({} - {})", self.value(d), self.value(d)),
            3 | 4 => format!("({} * {})", self.free(1), self.value(d)),
            5 => format!("({} * {})", self.value(d), self.free(1)),
            6 => format!("({} / (1.5 + abs({})))", self.value(d), self.free(1)),
            7 => format!("(-{})", self.value(d)),
            8 | 9 => self.binder("sum", d),
            10 => self.binder("mean", d),
            11 => {
                let (g, a, b) = (self.free(1), self.value(d), self.value(d));
                format!("({a} + {g} * ({b} - {a}))")
            }
            12 => format!("({}) ^ 1", self.value(d)),
            _ => self.state(),
        }
    }

    fn complex(&mut self, d: usize) -> String {
        match self.rng.below(14) {
            0 | 1 => format!("({} + {})", self.value(d), self.value(d)),
            2 => format!("({} - {})", self.value(d), self.value(d)),
            3 | 4 => format!("({} * {})", self.free(1), self.value(d)),
            5 => format!("({} / (2.5 + abs({})))", self.value(d), self.free(0)),
            6 => format!("(-{})", self.value(d)),
            7 => self.binder("sum", d),
            8 => format!("(re({}) + 0i)", self.value(d)),
            9 => format!("(im({}) * {})", self.value(d), self.free(0)),
            10 => format!("conj({})", self.value(d)),
            11 => format!("(re({}) + 1i * im({}))", self.value(d), self.value(d)),
            _ => self.state(),
        }
    }

    fn tropical(&mut self, d: usize) -> String {
        let max = self.kind == Kind::MaxPlus;
        let (plus, other) = if max { ("max", "min") } else { ("min", "max") };
        match self.rng.below(10) {
            0..=2 => format!("{plus}({}, {})", self.value(d), self.value(d)),
            3 | 4 => format!("({} + {})", self.value(d), self.free(1)),
            5 => format!("({} - {})", self.value(d), self.free(1)),
            6 => format!("(-{other}(-{}, -{}))", self.value(d), self.value(d)),
            7 => format!("({} - {other}({} - {}, {}))", self.free(1), self.free(1), self.value(d), self.free(1)),
            _ => self.binder(plus, d),
        }
    }

    fn exponential(&mut self, d: usize) -> String {
        match self.rng.below(12) {
            0 | 1 => format!("log(exp({}) + exp({}))", self.value(d), self.value(d)),
            2 => format!("({} + {})", self.value(d), self.free(1)),
            3 => format!("({} - {})", self.value(d), self.free(1)),
            4 => format!("log(exp({}) * sigmoid({}) + softplus({}))", self.value(d), self.free(0), self.free(0)),
            5 => format!("softplus({})", self.value(d)),
            6 => {
                let (a, b) = (self.value(d), self.value(d));
                format!("(max({a}, {b}) + log1p(exp(-abs({a} - {b}))))")
            }
            7 => {
                let (a, b, m) = (self.value(d), self.value(d), self.state());
                format!("({m} + log(exp({a} - {m}) + exp({b} - {m})))")
            }
            8 => format!("log(abs({}) * exp({}))", self.free(1), self.value(d)),
            9 => format!("log({})", self.binder("sum", 0).replacen("](", "](exp(", 1) + ")"),
            _ => self.binder("logsumexp", d),
        }
    }

    fn boolean(&mut self, d: usize) -> String {
        match self.rng.below(8) {
            0..=2 => format!("({} or {})", self.value(d), self.value(d)),
            3 | 4 => format!("({} and {})", self.value(d), self.free(1)),
            5 => format!("(if {} then true else {})", self.value(d), self.value(d)),
            6 => format!("(if {} then {} else false)", self.value(d), self.free(1)),
            _ => self.binder("max", d),
        }
    }

    fn index(&mut self, d: usize) -> String {
        match self.rng.below(7) {
            0 => format!("({} + {})", self.value(d), self.value(d)),
            1 => format!("({} * {})", self.value(d), self.free(0)),
            2 => format!("next[tok, {} % 3]", self.value(d)),
            3 => format!("next[{} % 3, {} % 3]", self.value(d), self.value(d)),
            4 => format!("max({}, {})", self.value(d), self.value(d)),
            5 => format!("(2 - {})", self.value(d)),
            _ => self.state(),
        }
    }
}
