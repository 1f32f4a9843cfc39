//! Random expressions of each type.

use super::*;

impl Generator {
    pub(super) fn real(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.real_leaf();
        }
        let d = depth - 1;
        let e = match self.rng.below(26) {
            0 | 1 => format!("{} + {}", self.real(d), self.real(d)),
            2 => format!("{} - {}", self.real(d), self.real(d)),
            3..=5 => format!("{} * {}", self.real(d), self.real(d)),
            6 => format!("-{}", self.real(d)),
            7 => format!("{} / (1.5 + abs({}))", self.real(d), self.real(d)),
            8 | 9 => self.function(d),
            10 => self.power(d),
            11 => match self.rng.below(4) {
                0 => format!("min({}, {})", self.real(d), self.real(d)),
                1 => format!("max({}, {})", self.real(d), self.real(d)),
                2 => format!("clamp({}, -0.5, {})", self.real(d), self.real(0)),
                _ => format!("mix({}, {}, 0.25)", self.real(d), self.real(d)),
            },
            12 => format!("if {} then {} else {}", self.boolean(d), self.real(d), self.real(d)),
            13..=15 => self.reduction(d),
            16 => self.normalised(d),
            17 | 18 => self.shifted(d),
            19 | 20 => self.past(d),
            21 => {
                let f = self.pick(&["re", "im", "abs"]);
                format!("{f}({})", self.complex(d))
            }
            22 => format!("twice({}) * hold(squash({}), 0.5)", self.real(d), self.real(d)),
            23 => self.rough(d),
            24 => format!("0.05 * ({})", self.integer(d.min(2))),
            _ => self.real_leaf(),
        };
        format!("({e})")
    }

    pub(super) fn function(&mut self, d: usize) -> String {
        let a = self.real(d);
        let f = self.pick(&[
            "exp(tanh(A))",
            "expm1(tanh(A))",
            "log(1.5 + abs(A))",
            "log1p(abs(A))",
            "sqrt(0.5 + abs(A))",
            "rsqrt(0.5 + abs(A))",
            "abs(A)",
            "pow(0.5 + abs(tanh(A)), tanh(B))",
            "sin(A)",
            "cos(A)",
            "tanh(A)",
            "sigmoid(A)",
            "silu(A)",
            "softplus(A)",
            "relu(A)",
            "gelu(A)",
            "erf(A)",
        ]);
        let b = if f.contains('B') { self.real(d) } else { String::new() };
        f.replace('A', &a).replace('B', &b)
    }

    pub(super) fn power(&mut self, d: usize) -> String {
        let a = format!("squash({})", self.real(d));
        match self.rng.below(7) {
            0 => format!("{a} ^ 2"),
            1 => format!("{a} ^ 3"),
            2 => format!("(1.5 + {a}) ^ -1"),
            3 => format!("(1.5 + {a}) ^ -3"),
            4 => format!("{a} ^ 0"),
            5 => format!("{a} ^ 7"),
            _ => format!("(1.5 + {a}) ^ 0.7"),
        }
    }

    pub(super) fn reduction(&mut self, d: usize) -> String {
        let Some((name, extent)) = self.room() else { return self.real(d) };
        let e = extent.text.clone();
        if self.one_in(8)
            && let Some(short) = self.extents.iter().find(|e| e.text.contains('-')).cloned()
            && self.elements * short.n <= MOST
        {
            // It may run over nothing.
            let body = self.bound(name, &short, |this| this.real(d));
            let binder = self.pick(&["sum", "sum", "prod", "max", "min", "logsumexp"]);
            return format!("{binder}[{name} in {}](tanh({body}))", short.text);
        }
        if self.one_in(4) {
            // The extent comes from an axis.
            let vectors = self.readable(|t| t.ty == Type::Real && t.axes.len() == 1 && t.axes[0] == extent);
            if !vectors.is_empty() {
                let vector = vectors[self.rng.below(vectors.len())].name.clone();
                let body = self.bound(name, &extent, |this| this.real(d));
                return format!("sum[{name}]({vector}[{name}] * {body})");
            }
        }
        if self.one_in(5) && self.elements * extent.n * 3 <= MOST {
            let other = INDICES.into_iter().find(|i| *i != name).expect("there are several");
            let three = Extent { text: "3".to_owned(), n: 3 };
            let body = self.bound(name, &extent, |this| this.bound(other, &three, |this| this.real(d)));
            let binder = self.pick(&["sum", "mean", "max", "min", "logsumexp"]);
            return format!("{binder}[{name} in {e}, {other} in 3]({body})");
        }
        let body = self.bound(name, &extent, |this| this.real(d));
        let f = self.pick(&[
            "sum[I](B)",
            "sum[I](B)",
            "mean[I](B)",
            "max[I](B)",
            "min[I](B)",
            "prod[I](1 + 0.1 * tanh(B))",
            "logsumexp[I](B)",
            "norm[I](0.1 + abs(B))",
            "norm[I](0.1 + abs(B), 1)",
            "norm[I](0.1 + abs(B), 1.5)",
        ]);
        f.replace('I', &format!("{name} in {e}")).replace('B', &body)
    }

    pub(super) fn normalised(&mut self, d: usize) -> String {
        let inside: Vec<Index> = self.visible().into_iter().filter(|i| i.extent.n > 0).collect();
        let Some(at) = (!inside.is_empty()).then(|| self.rng.below(inside.len())) else { return self.reduction(d) };
        let Index { name, extent } = inside[at].clone();
        if self.elements * extent.n > MOST || self.binders > 3 {
            return self.real(d);
        }
        let body = self.bound(name, &extent, |this| this.real(d));
        let i = format!("{name} in {}", extent.text);
        match self.rng.below(4) {
            0 | 1 => format!("softmax[{i}]({body})"),
            2 => format!("layernorm[{i}]({body}, 0.5)"),
            _ => format!("rmsnorm[{i}]({body}, 0.25)"),
        }
    }

    /// An access beside an index, where the condition lets it.
    pub(super) fn shifted(&mut self, d: usize) -> String {
        let all = self.readable(|t| t.ty == Type::Real && !t.axes.is_empty());
        let visible = self.visible();
        for _ in 0..if all.is_empty() { 0 } else { 4 } {
            let t = all[self.rng.below(all.len())].clone();
            let axis = self.rng.below(t.axes.len());
            let Some(i) = visible.iter().find(|i| i.extent == t.axes[axis]).map(|i| i.name) else { continue };
            let e = t.axes[axis].text.clone();
            let (condition, position) = match self.rng.below(6) {
                0 => (format!("{i} > 0"), format!("{i} - 1")),
                1 => (format!("{i} >= 2"), format!("{i} - 2")),
                2 => (format!("{i} < {e} - 1"), format!("{i} + 1")),
                3 => (format!("not ({i} == 0 or {i} == {e} - 1)"), format!("{i} + 1")),
                4 => (format!("{i} != 0"), format!("{i} - 1")),
                _ => (format!("{i} + 3 < {e}"), format!("{i} + 3")),
            };
            let kind = self.rng.below(6);
            let delayed = kind == 2 && !self.in_past && t.rank == 0 && self.pasts < 3;
            let rank = self.rank;
            if delayed {
                self.rank = 0;
                self.in_past = true;
            }
            let mut at = Vec::new();
            for (n, extent) in t.axes.iter().enumerate() {
                at.push(if n == axis { Some(position.clone()) } else { self.position(extent, 1) });
            }
            if delayed {
                self.rank = rank;
                self.in_past = false;
            }
            let Some(at) = at.into_iter().collect::<Option<Vec<String>>>() else { continue };
            let access = format!("{}[{}]", t.name, at.join(", "));
            let other = self.real(d.min(1));
            return match kind {
                0 => format!("if {condition} and {access} > 0.0137 then {access} else {other}"),
                1 => format!("if not ({condition}) or {access} < 0.0137 then {other} else 0.5 * {access}"),
                2 if delayed => {
                    self.pasts += 1;
                    format!("if {condition} then past({access}, 1) + {access} else {other}")
                }
                3 => format!("if {condition} then tanh({access} * {other}) else {other}"),
                _ => format!("if {condition} then {access} else {other}"),
            };
        }
        self.real(d)
    }

    pub(super) fn past(&mut self, d: usize) -> String {
        if self.in_past || self.pasts > 2 {
            return self.real(d);
        }
        self.pasts += 1;
        let rank = std::mem::replace(&mut self.rank, 0);
        self.in_past = true;
        let four = Extent { text: "4".to_owned(), n: 4 };
        let steps: Vec<Index> = self.visible();
        let text = match self.rng.below(5) {
            0 if self.elements * 4 <= MOST => {
                let body = self.bound("q", &four, |this| this.real(d.min(1)));
                let x = self.real_leaf();
                format!("sum[q in 4]({body} * past({x}, 3 - q))")
            }
            1 if !steps.is_empty() => {
                let i = steps[self.rng.below(steps.len())].name;
                format!("past({}, {i})", self.real(d.min(2)))
            }
            2 => format!("real(past({}, 1))", self.boolean(1)),
            3 => format!("re(past({}, 2))", self.complex(1)),
            _ => format!("past({}, {})", self.real(d.min(2)), self.rng.below(5)),
        };
        self.in_past = false;
        self.rank = rank;
        text
    }

    pub(super) fn rough(&mut self, d: usize) -> String {
        let a = self.real(d);
        self.pick(&[
            "floor(A * 1.3 + 0.0137)",
            "sign(A + 0.0137)",
            "(A + 0.0137) // 0.7",
            "(A * 3.1 + 0.0137) % 1.7",
            "(A + 0.0137) % (-0.9)",
        ])
        .replace('A', &a)
    }

    pub(super) fn boolean(&mut self, depth: usize) -> String {
        let visible = self.visible();
        if depth == 0 {
            if let Some(read) = self.any_read(|t| t.ty == Type::Bool, 1) {
                return read;
            }
            return match self.rng.below(3) {
                0 if !visible.is_empty() => {
                    format!("({} < {})", visible[self.rng.below(visible.len())].name, self.rng.below(5))
                }
                1 => "first".to_owned(),
                _ => format!("({} > 0.0137)", self.real_leaf()),
            };
        }
        let d = depth - 1;
        let e = match self.rng.below(10) {
            0 => format!("not {}", self.boolean(d)),
            1 => format!("{} and {}", self.boolean(d), self.boolean(d)),
            2 => format!("{} or {}", self.boolean(d), self.boolean(d)),
            3 => format!("{} == {}", self.boolean(d), self.boolean(d)),
            4 => format!("{} {} {}", self.integer(1), self.pick(&["<", "<=", ">", ">=", "==", "!="]), self.integer(1)),
            5 => format!("{} {} 0.0137", self.real(d), self.pick(&["<", "<=", ">", ">="])),
            6 => format!("if {} then {} else {}", self.boolean(d), self.boolean(d), self.boolean(d)),
            7 if let Some((name, extent)) = self.room() => {
                let body = self.bound(name, &extent, |this| this.boolean(d));
                format!("{}[{name} in {}]({body})", self.pick(&["max", "min"]), extent.text)
            }
            _ => return self.boolean(0),
        };
        format!("({e})")
    }

    /// A small integer.
    pub(super) fn integer(&mut self, depth: usize) -> String {
        let visible = self.visible();
        if depth == 0 {
            if self.one_in(2)
                && let Some(read) = self.any_read(|t| matches!(t.ty, Type::Index(_)), 1)
            {
                return read;
            }
            return match self.rng.below(4) {
                0 | 1 if !visible.is_empty() => visible[self.rng.below(visible.len())].name.to_owned(),
                2 => self.extents[0].text.clone(),
                _ => self.rng.below(5).to_string(),
            };
        }
        let d = depth - 1;
        let e = match self.rng.below(14) {
            0 => format!("{} + {}", self.integer(d), self.integer(d)),
            1 => format!("{} - {}", self.integer(d), self.integer(d)),
            2 => format!("{} * {}", self.integer(d), self.integer(d)),
            3 => format!("{} // {}", self.integer(d), self.pick(&["2", "3", "N", "(-2)", "(N + 1)"])),
            4 => format!("{} % {}", self.integer(d), self.pick(&["2", "5", "N", "(-3)", "(N + 1)"])),
            5 => format!("min({}, {})", self.integer(d), self.integer(d)),
            6 => format!("abs(-{}) + sign({} - 1) + relu(2 - {})", self.integer(d), self.integer(d), self.integer(d)),
            7 => format!("clamp({}, -1, 3)", self.integer(d)),
            8 => format!("if {} then {} else {}", self.boolean(d), self.integer(d), self.integer(d)),
            9 => {
                let a = self.integer(0);
                format!("{a} * {a}")
            }
            10 if let Some((name, extent)) = self.room() => {
                let body = self.bound(name, &extent, |this| this.integer(d));
                format!(
                    "{}[{name} in {}]({body})",
                    self.pick(&["sum", "max", "min", "argmax", "argmin_index"]),
                    extent.text
                )
            }
            11 if let Some((name, extent)) = self.room() => {
                let body = self.bound(name, &extent, |this| this.real(d));
                format!("{}[{name} in {}]({body})", self.pick(&["argmax", "argmin_index"]), extent.text)
            }
            12 => {
                let (a, mut b) = (self.integer(0), self.integer(0));
                // Of two delays it is not known that they hold the same.
                if b == "0" || b.contains("past") {
                    b = "3".to_owned();
                }
                format!("if {b} > 0 then {a} // {b} else {a} % 3")
            }
            _ => return self.any_read(|t| t.ty == Type::Int, 1).unwrap_or_else(|| "1".to_owned()),
        };
        format!("({e})")
    }

    pub(super) fn complex(&mut self, depth: usize) -> String {
        if depth == 0 {
            if let Some(read) = self.any_read(|t| t.ty == Type::Complex, 1) {
                return read;
            }
            return format!("(0.5i + {})", self.real_leaf());
        }
        let d = depth - 1;
        let e = match self.rng.below(14) {
            0 | 1 => format!("{} + {}", self.complex(d), self.complex(d)),
            2 => format!("{} - {}", self.complex(d), self.complex(d)),
            3 | 4 => format!("{} * {}", self.complex(d), self.complex(d)),
            5 => format!("{} / (1.5 - 0.5i + squash({}))", self.complex(d), self.complex(d)),
            6 => {
                let z = format!("squash({})", self.complex(d));
                self.pick(&[
                    "exp(Z)",
                    "log(1.75 + Z)",
                    "sqrt(1.75 + Z)",
                    "sin(Z)",
                    "cos(Z)",
                    "pow(1.75 + Z, 0.5)",
                    "pow(1.75 + Z, 0.5 * Z)",
                    "Z ^ 2",
                    "(1.75 + Z) ^ -2",
                    "conj(Z)",
                    "-Z",
                ])
                .replace('Z', &z)
            }
            7 => format!("cis({})", self.real(d)),
            8 => format!("if {} then {} else {}", self.boolean(d), self.complex(d), self.complex(d)),
            9 | 10 if let Some((name, extent)) = self.room() => {
                let body = self.bound(name, &extent, |this| this.complex(d));
                let f = self.pick(&["sum[I](B)", "mean[I](B)", "prod[I](cis(0.1) + 0.1 * squash(B))"]);
                f.replace('I', &format!("{name} in {}", extent.text)).replace('B', &body)
            }
            11 => format!("turn({}, {})", self.complex(d), self.complex(d)),
            12 => format!("{} * {}", self.real(d), self.complex(d)),
            _ => return self.complex(0),
        };
        format!("(0i + {e})")
    }
}
