//! Random well-typed layers as text.
//!
//! A seed gives one program and numbers for its dimensions. States are ordered: the update of one reads those before
//! it freely, and itself (and a neighbour) only under a contraction, so that errors do not grow with the length.
//! Functions get arguments on which they are smooth and finite.

mod expression;

/// SplitMix64.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// An extent: its text, and its value.
#[derive(Clone, Debug, PartialEq)]
struct Extent {
    text: String,
    n: i64,
}

#[derive(Clone, Debug, PartialEq)]
enum Type {
    Real,
    Complex,
    Bool,
    Int,
    Index(Extent),
}

#[derive(Clone, Debug)]
struct Tensor {
    name: String,
    axes: Vec<Extent>,
    ty: Type,
    /// How many states it may depend on: the first so many.
    rank: usize,
}

#[derive(Clone, Debug)]
struct Index {
    name: &'static str,
    extent: Extent,
}

/// A program, and its dimensions.
pub struct Program {
    pub text: String,
    pub dims: Vec<(String, i64)>,
}

const SIZES: [i64; 11] = [1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33];
const INDICES: [&str; 5] = ["i", "j", "k", "l", "m"];
/// How many elements the loops around one place may run over.
const MOST: i64 = 1200;

const FUNCTIONS: &str = "fn mix(a, b, t) = a * (1 - t) + b * t
fn squash(x) = x / (1.0 + abs(x))
fn twice(x) = squash(x) + squash(0.5 * x)
fn turn(z, w) = z * conj(w) + 0.25i * w
fn hold(a, t) = (exp(a * t) - 1) / (a + 2.5)
";

struct Generator {
    rng: Rng,
    extents: Vec<Extent>,
    tensors: Vec<Tensor>,
    scope: Vec<Index>,
    rank: usize,
    /// The loops around this place.
    elements: i64,
    /// Whether a delay is being written.
    in_past: bool,
    pasts: usize,
    /// The binders that were written in this statement.
    binders: usize,
}

/// The program of a seed.
pub fn program(seed: u64) -> Program {
    let mut rng = Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66);
    for _ in 0..3 {
        rng.next();
    }
    let names = ["N", "M", "K"];
    let mut dims: Vec<(String, i64)> = Vec::new();
    let mut product = 1;
    for name in &names[..1 + rng.below(3)] {
        let fits: Vec<i64> = SIZES.into_iter().filter(|n| n * product <= 300).collect();
        let n = fits[rng.below(fits.len())];
        product *= n;
        dims.push(((*name).to_owned(), n));
    }
    let mut extents: Vec<Extent> = dims.iter().map(|(name, n)| Extent { text: name.clone(), n: *n }).collect();
    let (first, n) = dims[0].clone();
    let extra = match rng.below(6) {
        0 => Some(Extent { text: format!("{first} + 1"), n: n + 1 }),
        1 => Some(Extent { text: format!("2 * {first}"), n: 2 * n }),
        2 => Some(Extent { text: "3".to_owned(), n: 3 }),
        3 => Some(Extent { text: format!("{first} - 1"), n: n - 1 }),
        _ => None,
    };
    extents.extend(extra);
    let mut generator = Generator {
        rng,
        extents,
        tensors: Vec::new(),
        scope: Vec::new(),
        rank: 0,
        elements: 1,
        in_past: false,
        pasts: 0,
        binders: 0,
    };
    let text = generator.layer(&dims);
    Program { text, dims }
}

impl Generator {
    fn one_in(&mut self, n: usize) -> bool {
        self.rng.below(n) == 0
    }

    fn pick(&mut self, of: &[&str]) -> String {
        of[self.rng.below(of.len())].to_owned()
    }

    fn an_extent(&mut self) -> Extent {
        let at = self.rng.below(self.extents.len());
        self.extents[at].clone()
    }

    /// An extent with elements.
    fn some_extent(&mut self) -> Extent {
        loop {
            let extent = self.an_extent();
            if extent.n > 0 && !extent.text.contains('-') {
                return extent;
            }
        }
    }

    fn axes(&mut self, most: usize) -> Vec<Extent> {
        let mut axes = Vec::new();
        let mut n = 1;
        for _ in 0..self.rng.below(most + 1) {
            let extent = self.an_extent();
            if n * extent.n <= 320 {
                n *= extent.n.max(1);
                axes.push(extent);
            }
        }
        axes
    }

    fn add(&mut self, name: String, axes: Vec<Extent>, ty: Type, rank: usize) -> String {
        let shape: Vec<&str> = axes.iter().map(|e| e.text.as_str()).collect();
        let mut text = name.clone();
        if !shape.is_empty() {
            text += &format!("[{}]", shape.join(", "));
        }
        text += &match &ty {
            Type::Real => String::new(),
            Type::Complex => ": complex".to_owned(),
            Type::Bool => ": bool".to_owned(),
            Type::Int => String::new(),
            Type::Index(extent) => format!(": index({})", extent.text),
        };
        self.tensors.push(Tensor { name, axes, ty, rank });
        text
    }

    fn a_type(&mut self, complex: bool) -> Type {
        match self.rng.below(12) {
            0 | 1 if complex => Type::Complex,
            2 => Type::Bool,
            3 | 4 => Type::Index(self.some_extent()),
            _ => Type::Real,
        }
    }

    fn layer(&mut self, dims: &[(String, i64)]) -> String {
        let complex = self.one_in(3);
        let names: Vec<&str> = dims.iter().map(|(name, _)| name.as_str()).collect();
        let mut text = format!("{FUNCTIONS}layer random({}) {{\n", names.join(", "));
        for n in 0..2 + self.rng.below(3) {
            let (axes, ty) = (self.axes(3), if n == 0 { Type::Real } else { self.a_type(complex) });
            text += &format!("    param {}\n", self.add(format!("p{n}"), axes, ty, 0));
        }
        for n in 0..2 + self.rng.below(3) {
            let ty = match n {
                0 => Type::Real,
                1 if complex => Type::Complex,
                _ => self.a_type(complex),
            };
            let axes = self.axes(2);
            text += &format!("    input {}\n", self.add(format!("x{n}"), axes, ty, 0));
        }
        let count = 1 + self.rng.below(3);
        let backward = self.one_in(4);
        let mut states: Vec<(Tensor, bool)> = Vec::new();
        for n in 0..count {
            let (axes, ty) = (self.axes(2), self.a_type(complex));
            let reverse = backward && self.one_in(2);
            let initial = match ty {
                Type::Real if self.one_in(2) => " = 0.5",
                Type::Bool if self.one_in(2) => " = true",
                _ => "",
            };
            let declared = self.add(format!("s{n}"), axes, ty, n + 1);
            states.push((self.tensors[self.tensors.len() - 1].clone(), reverse));
            text += &format!("    state {declared}{initial}{}\n", if reverse { " reverse" } else { "" });
        }
        let mut outputs = 0;
        if self.one_in(3) {
            text += &self.definition(0, true);
        }
        if self.one_in(3) {
            self.rank = 0;
            self.left(&[], false);
            // A reset may not depend on `first`, which depends on it; definitions may.
            let (before, definitions) = self.tensors.iter().cloned().partition(|t| !t.name.starts_with('v'));
            self.tensors = before;
            let condition = self.boolean(2).replace("first", "false");
            self.tensors.extend::<Vec<Tensor>>(definitions);
            text += &format!("    reset when {condition}\n");
        }
        for at in 0..states.len() {
            for _ in 0..self.rng.below(3) {
                let rank = self.rng.below(count + 1);
                text += &self.definition(rank, true);
            }
            text += &self.update(&states, at);
            if self.one_in(3) {
                text += &self.update(&states, at);
            }
            if self.one_in(2) {
                text += &self.definition(count, false);
                outputs += 1;
            }
        }
        if outputs == 0 || self.one_in(2) {
            text += &self.definition(count, false);
        }
        let returned: Vec<String> =
            states.iter().filter(|_| self.rng.below(2) == 0).map(|s| s.0.name.clone()).collect();
        if !returned.is_empty() {
            text += &format!("    output {}\n", returned.join(", "));
        }
        text + "}\n"
    }

    /// The left indices of a statement; `in` is left out where the axis of a state says the extent.
    fn left(&mut self, axes: &[Extent], written: bool) -> String {
        let mut names: Vec<&'static str> = INDICES.to_vec();
        let mut parts = Vec::new();
        self.scope.clear();
        self.elements = 1;
        self.binders = 0;
        for extent in axes {
            let name = names.remove(self.rng.below(names.len()));
            parts.push(if written { format!("{name} in {}", extent.text) } else { name.to_owned() });
            self.scope.push(Index { name, extent: extent.clone() });
            self.elements *= extent.n.max(1);
        }
        if parts.is_empty() { String::new() } else { format!("[{}]", parts.join(", ")) }
    }

    fn definition(&mut self, rank: usize, inner: bool) -> String {
        self.rank = rank;
        let axes = self.axes(2);
        let ty = match self.rng.below(10) {
            0 => Type::Complex,
            1 => Type::Bool,
            2 => Type::Int,
            _ => Type::Real,
        };
        let left = self.left(&axes, true);
        let body = match ty {
            Type::Complex => self.complex(3),
            Type::Bool => self.boolean(3),
            Type::Int => self.integer(2),
            _ => self.real(4),
        };
        let name = format!("{}{}", if inner { "v" } else { "y" }, self.tensors.len());
        // An integer literal would be an integer.
        let body = if ty == Type::Real { format!("1.0 * {body}") } else { body };
        let body = if ty == Type::Complex { format!("0i + {body}") } else { body };
        self.tensors.push(Tensor { name: name.clone(), axes, ty, rank });
        format!("    {} {name}{left} = {body}\n", if inner { "let" } else { "output" })
    }

    fn update(&mut self, states: &[(Tensor, bool)], at: usize) -> String {
        let (state, reverse) = states[at].clone();
        self.rank = at;
        let written = self.one_in(4);
        let left = self.left(&state.axes, written);
        let plain = |scope: &[Index]| {
            let names: Vec<&str> = scope.iter().map(|i| i.name).collect();
            if names.is_empty() { String::new() } else { format!("[{}]", names.join(", ")) }
        };
        let own = format!("{}{}", state.name, plain(&self.scope));
        let neighbours: Vec<String> = [at.wrapping_sub(1), at + 1]
            .into_iter()
            .filter_map(|n| states.get(n))
            .filter(|(other, turned)| other.axes == state.axes && other.ty == state.ty && *turned == reverse)
            .map(|(other, _)| format!("{}{}", other.name, plain(&self.scope)))
            .collect();
        let body = match &state.ty {
            Type::Real => self.real_update(&state, &own, &neighbours),
            Type::Complex => {
                let body = self.complex(3);
                let phase = self.real(1);
                match self.rng.below(3) {
                    0 => format!("0.8 * cis({phase}) * {own} + {body}"),
                    1 => format!("exp(-0.5 + 1.5i * squash({phase})) * {own} + squash({body})"),
                    _ => format!("(0.3 + 0.4i) * conj({own}) + {body}"),
                }
            }
            Type::Bool => {
                let body = self.boolean(3);
                self.pick(&["(S and not E)", "(S or E)", "(S != E)", "E"]).replace('S', &own).replace('E', &body)
            }
            Type::Index(extent) => {
                let e = &extent.text;
                let (body, condition) = (self.integer(2), self.boolean(2));
                match self.rng.below(4) {
                    0 => format!("({own} + {body}) % ({e})"),
                    1 => format!("min({own} + 1, {e} - 1)"),
                    2 => format!("if {condition} then {body} % ({e}) else {own}"),
                    _ => format!("if {own} > 0 then {own} - 1 else {e} - 1"),
                }
            }
            Type::Int => unreachable!("no state is an integer without a range"),
        };
        format!("    {}{left} <- {body}\n", state.name)
    }

    fn real_update(&mut self, state: &Tensor, own: &str, neighbours: &[String]) -> String {
        let body = self.real(3);
        let gate = self.real(2);
        match self.rng.below(8) {
            0 => format!("0.9 * {own} + {body}"),
            1 => format!("sigmoid({gate}) * 0.9 * {own} + tanh({body})"),
            2 => format!("exp(-0.2 - abs(squash({gate}))) * {own} + {body}"),
            3 if !neighbours.is_empty() => {
                let other = &neighbours[self.rng.below(neighbours.len())];
                format!("0.6 * {own} - 0.3 * {other} + {body}")
            }
            3..=5 if !state.axes.is_empty() => {
                let axis = self.rng.below(state.axes.len());
                let i = self.scope[axis].name;
                let extent = state.axes[axis].text.clone();
                let mut at: Vec<&str> = self.scope.iter().map(|i| i.name).collect();
                at[axis] = "q";
                let mixed = format!("{}[{}]", state.name, at.join(", "));
                let shifted = mixed.replace('q', &format!("{i} - 1"));
                match self.rng.below(if state.axes[axis].n > 0 { 5 } else { 2 }) {
                    0 => format!("if {i} == 0 then {body} else 0.7 * {shifted} + {body}"),
                    1 => format!("if {i} > 0 then 0.7 * {shifted} else tanh({body})"),
                    2 => format!("0.9 * mean[q in {extent}](tanh(q + {gate}) * {mixed}) + {body}"),
                    3 => format!("0.8 * max[q in {extent}]({mixed} * 0.9) + {body}"),
                    _ => format!("0.9 / ({extent}) * sum[q in {extent}]({mixed} * cos(q * {gate})) + {body}"),
                }
            }
            6 => {
                let condition = self.boolean(2);
                format!("if {condition} then 0.5 * {own} else {body}")
            }
            _ => format!("0.5 * {own} + squash({body})"),
        }
    }

    // Positions

    fn visible(&self) -> Vec<Index> {
        let mut seen: Vec<Index> = Vec::new();
        for index in self.scope.iter().rev() {
            if !seen.iter().any(|known| known.name == index.name) {
                seen.push(index.clone());
            }
        }
        seen
    }

    fn readable(&self, fits: impl Fn(&Tensor) -> bool) -> Vec<Tensor> {
        self.tensors.iter().filter(|t| t.rank <= self.rank && fits(t)).cloned().collect()
    }

    /// An integer inside the axis; `None` where there may be none.
    fn position(&mut self, extent: &Extent, depth: usize) -> Option<String> {
        let e = extent.text.clone();
        let same: Vec<Index> = self.visible().into_iter().filter(|i| i.extent == *extent).collect();
        if !same.is_empty() {
            let i = same[self.rng.below(same.len())].name;
            return Some(match self.rng.below(12) {
                0 => format!("{e} - 1 - {i}"),
                1 if !e.contains('-') => format!("({i} + {}) % ({e})", 1 + self.rng.below(3)),
                2 => format!("{i} // 2"),
                3 => format!("max({i} - 1, 0)"),
                _ => i.to_owned(),
            });
        }
        if extent.n == 0 || e.contains('-') {
            return None;
        }
        let ty = Type::Index(extent.clone());
        let gathers = self.readable(|t| t.ty == ty);
        if !gathers.is_empty() && depth > 0 && self.rng.below(3) > 0 {
            let t = gathers[self.rng.below(gathers.len())].clone();
            if let Some(read) = self.read(&t, depth - 1) {
                if t.rank == 0 && !self.in_past && self.pasts < 3 && self.one_in(5) {
                    self.pasts += 1;
                    return Some(format!("past({read}, {})", self.rng.below(3)));
                }
                return Some(read);
            }
        }
        let others = self.visible();
        Some(match self.rng.below(6) {
            0 | 1 if !others.is_empty() => format!("{} % ({e})", others[self.rng.below(others.len())].name),
            2 => format!("{e} - 1"),
            3 if depth > 1 => format!("({}) % ({e})", self.integer(1)),
            4 if depth > 2 && self.binders < 3 && self.elements * extent.n <= MOST => {
                let body = self.bound("q", extent, |this| this.real(1));
                let binder = self.pick(&["argmax", "argmin_index"]);
                format!("{binder}[q in {e}]({body})")
            }
            _ => "0".to_owned(),
        })
    }

    fn read(&mut self, t: &Tensor, depth: usize) -> Option<String> {
        let mut at = Vec::new();
        for axis in &t.axes {
            at.push(self.position(axis, depth)?);
        }
        Some(if at.is_empty() { t.name.clone() } else { format!("{}[{}]", t.name, at.join(", ")) })
    }

    fn any_read(&mut self, fits: impl Fn(&Tensor) -> bool, depth: usize) -> Option<String> {
        let all = self.readable(fits);
        for _ in 0..if all.is_empty() { 0 } else { 3 } {
            let t = all[self.rng.below(all.len())].clone();
            let read = self.read(&t, depth);
            if read.is_some() {
                return read;
            }
        }
        None
    }

    /// What `body` writes under an index of this name.
    fn bound(&mut self, name: &'static str, extent: &Extent, body: impl FnOnce(&mut Self) -> String) -> String {
        self.binders += 1;
        self.scope.push(Index { name, extent: extent.clone() });
        let outside = self.elements;
        self.elements *= extent.n.max(1);
        let text = body(self);
        self.elements = outside;
        self.scope.pop();
        text
    }

    /// An extent for a binder, where there is room for one.
    fn room(&mut self) -> Option<(&'static str, Extent)> {
        let extent = self.some_extent();
        let name = INDICES[self.rng.below(INDICES.len())];
        (self.elements * extent.n <= MOST && self.binders < 4).then_some((name, extent))
    }

    // Expressions

    fn number(&mut self) -> String {
        self.pick(&["0.25", "(-0.75)", "1.5", "0.3", "(-1.25)", "2", "0.5", "1"])
    }

    fn real_leaf(&mut self) -> String {
        if self.rng.below(8) > 0
            && let Some(read) = self.any_read(|t| t.ty == Type::Real, 1)
        {
            return read;
        }
        let visible = self.visible();
        match self.rng.below(4) {
            0 if !visible.is_empty() => format!("0.1 * {}", visible[self.rng.below(visible.len())].name),
            1 => {
                let condition = self.boolean(0);
                format!("real({condition})")
            }
            _ => self.number(),
        }
    }
}
