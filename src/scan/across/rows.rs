//! Time across the lanes of one vector: IR to IR.
//!
//! In: a layer whose states are scalars, with its verdict. Out: a layer each of whose steps is a *row* of as many steps as a
//! vector has lanes: all that changes over time has one axis more, the innermost, with an element for each step of the
//! row. One element a step of a scalar is contiguous already, so that rows are read and written where they lie.
//!
//! A step's coefficients and offset are those of the verdict. They are composed along the row by doubling: behind
//! `log2(lanes)` rounds the element of a step holds the composition of all steps of the row up to it. That needs no
//! state, so that the processor works on several rows at once. Applied to the state before the row it gives the state behind each step,
//! which stands one element further before the next one. What is carried is the last of them, on all lanes.
//!
//! A state or a delay that holds an input of some steps before is no state there: it is the same input, read so many steps
//! before.
//!
//! Where the transition of coupled states is the same at every step, the row's offsets are a product with a matrix ([`answers`]).
//!
//! (Blelloch 1990 gives the scan; Hillis and Steele 1986 the doubling.)

use std::collections::HashMap;

use crate::analysis::settle::settle;
use crate::analysis::verdict::algebra::Algebra;
use crate::analysis::verdict::build::{self, Scope};
use crate::analysis::verdict::{Group, Part, Verdict};
use crate::diag::Span;
use crate::ir::{
    Equation, Expr, ExprKind, Extent, IndexId, Init, Instance, Layer, Scalar, State, StateId, Type, ValueId, ValueKind,
};
use crate::jit::Isa;
use crate::scan::group::derived;
use crate::scan::lanes::{suits, widen};

mod answers;

/// How many states a group may have whose coefficients change: their products are made in every round.
const COUPLED: usize = 2;

/// The same where the products are those of parameters, made once.
const FIXED: usize = 4;

/// How many steps a row has: the lanes of the widest vectors. `None` where moves of lanes are no instructions of the selector's.
pub(super) fn lanes(isa: Isa, bits: u32) -> Option<usize> {
    match isa.min(Isa::widest()) {
        Isa::Avx512 => Some(512 / bits as usize),
        Isa::Avx2 => Some(256 / bits as usize),
        _ => None,
    }
}

/// A layer in rows.
pub(in crate::scan) struct Rows {
    /// A row of steps for each of the layer's.
    pub(in crate::scan) instance: Instance,
    /// Which of the layer's inputs each of its inputs is, and how many steps before.
    pub(super) views: Vec<(usize, usize)>,
    /// Which of the layer's states its states are.
    pub(super) states: Vec<usize>,
    /// The layer's other states: which input they hold, of how many steps before the next one.
    pub(super) recent: Vec<(usize, usize, usize)>,
    /// Which input each delay keeps.
    pub(super) delays: Vec<usize>,
    /// Whether a step that is not finite makes those before it in its row NaN: they are multiplied by zeros.
    pub(super) mixed: bool,
}

/// The layer with a row of steps for each of its own; `None` where it has none.
pub(in crate::scan) fn rows(instance: &Instance, verdict: &Verdict, isa: Isa, bits: u32) -> Option<Rows> {
    let lanes = lanes(isa, bits)?;
    let layer = &instance.layer;
    let one = |v: ValueId| instance.elements(v) == 1;
    let states = layer.states.iter().map(|state| state.value);
    let moved = layer.inputs.iter().copied().chain(layer.outputs.iter().map(|output| output.value));
    if !suits(layer) || layer.states.is_empty() || !states.chain(moved).all(one) {
        return None;
    }
    let mut maker = Maker {
        scope: Scope::new(verdict.layer.clone()),
        lanes,
        forms: Vec::new(),
        views: (0..layer.inputs.len()).map(|i| (i, 0)).collect(),
        instead: HashMap::new(),
        recent: Vec::new(),
        mixed: false,
        least: if bits == 64 { f64::MIN_POSITIVE } else { f64::from(f32::MIN_POSITIVE) },
    };
    for group in &verdict.groups {
        maker.forms(group)?;
    }
    maker.rows(instance)
}

/// The step of a group, with definitions for what the form has.
struct Forms {
    algebra: Algebra,
    states: Vec<StateId>,
    ty: Vec<Scalar>,
    /// By row and column; `None` where it is zero.
    coefficients: Vec<Vec<Option<ValueId>>>,
    offsets: Vec<Option<ValueId>>,
}

struct Maker {
    scope: Scope,
    lanes: usize,
    forms: Vec<Forms>,
    /// See [`Rows::views`].
    views: Vec<(usize, usize)>,
    /// In the place of each state, what it is before a step and behind it.
    instead: HashMap<ValueId, ValueId>,
    /// See [`Rows::recent`].
    recent: Vec<(usize, usize, usize)>,
    /// See [`Rows::mixed`].
    mixed: bool,
    /// The least normal number. Products of parameters below it are zero: arithmetic on them is slow, and what it adds is lost
    /// beside any other number.
    least: f64,
}

/// What is composed along a row: by row and column, and by row.
struct Element {
    products: Vec<Vec<Option<ValueId>>>,
    offsets: Vec<Option<ValueId>>,
}

impl Forms {
    /// A row of an element, applied to the states before.
    fn applied(&self, layer: &Layer, element: &Element, r: usize, carried: &[State], lane: IndexId) -> Expr {
        let ty = self.ty[r];
        let none = || self.algebra.zero(ty, Span::default());
        let mut sum = element.offsets[r].map_or_else(none, |offset| read(layer, offset, lane));
        for (product, state) in element.products[r].iter().zip(carried) {
            if let Some(product) = product {
                let term = self.algebra.times(read(layer, *product, lane), read(layer, state.value, lane));
                sum = self.algebra.plus(sum, term);
            }
        }
        build::widen(sum, ty)
    }
}

/// An element of a value that may have one for each step of the row.
fn read(layer: &Layer, value: ValueId, lane: IndexId) -> Expr {
    let at = layer.value(value).axes.iter().map(|_| build::index(lane, Span::default())).collect();
    build::read(layer, value, at, Span::default())
}

fn ty_of(scalar: Scalar) -> Type {
    if scalar == Scalar::Complex { Type::Complex } else { Type::Real }
}

impl Maker {
    /// Defines the coefficients and offsets of a group.
    fn forms(&mut self, group: &Group) -> Option<()> {
        let transition = group.transition.as_ref()?;
        let algebra =
            transition.algebra.filter(|a| matches!(a, Algebra::Field | Algebra::MaxPlus | Algebra::MinPlus))?;
        let components = &transition.components;
        let most = if group.time_invariant { FIXED } else { COUPLED };
        if components.len() > most || components.iter().any(|c| c.atom.part != Part::Whole || c.ty < Scalar::Real) {
            return None;
        }
        let (mut coefficients, mut offsets) = (Vec::new(), Vec::new());
        for row in components {
            let name = self.scope.layer.states[row.atom.state.at()].name.clone();
            // There is one element along each axis.
            let zero = |i: &IndexId| (*i, build::int(0, Span::default()));
            let here: Vec<(IndexId, Expr)> = row.indices.iter().map(zero).collect();
            let mut line = Vec::new();
            for column in components {
                let none = algebra.zero(row.ty, Span::default());
                let mut sum = none.clone();
                for term in row.form.terms.iter().filter(|term| term.atom == column.atom) {
                    let map: Vec<_> = here.iter().cloned().chain(term.bound.iter().map(zero)).collect();
                    let weight = self.scope.substitute(&term.weight(algebra), &map);
                    sum = algebra.plus(sum, build::widen(weight, row.ty));
                }
                line.push(if algebra.is_zero(&sum) {
                    None
                } else {
                    Some(self.scalar(&format!("{name}.a"), row.ty, sum))
                });
            }
            coefficients.push(line);
            let offset = row.form.offset.as_ref().map(|e| build::widen(self.scope.substitute(e, &here), row.ty));
            let offset = offset.filter(|e| !algebra.is_zero(e));
            offsets.push(offset.map(|e| self.scalar(&format!("{name}.b"), row.ty, e)));
        }
        let (states, ty) = components.iter().map(|c| (c.atom.state, c.ty)).unzip();
        self.forms.push(Forms { algebra, states, ty, coefficients, offsets });
        Some(())
    }

    /// A definition without axes.
    fn scalar(&mut self, name: &str, ty: Scalar, body: Expr) -> ValueId {
        let value = self.scope.add_value(name, ValueKind::Let, Vec::new(), ty_of(ty), Span::default());
        self.scope.define(value, &[], &body);
        value
    }

    /// A definition with an element for each step of the row.
    fn row(&mut self, name: &str, ty: Scalar, body: impl FnOnce(&Layer, IndexId) -> Expr) -> ValueId {
        let axes = vec![Extent::Lit(self.lanes as i64)];
        let value = self.scope.add_value(name, ValueKind::Let, axes, ty_of(ty), Span::default());
        self.equation(value, body);
        value
    }

    fn equation(&mut self, value: ValueId, body: impl FnOnce(&Layer, IndexId) -> Expr) {
        let lane = self.scope.add_index("lane", Extent::Lit(self.lanes as i64), Span::default());
        let body = body(&self.scope.layer, lane);
        self.scope.layer.equations.push(Equation { value, indices: vec![lane], body, span: Span::default() });
    }

    /// The layer, with all states found along the row.
    fn rows(mut self, instance: &Instance) -> Option<Rows> {
        self.scope.layer = widen(&self.scope.layer, self.lanes);
        let old = std::mem::take(&mut self.scope.layer.states);
        let untouched = |e: &Equation| old.iter().all(|state| state.next != e.value || state.next == state.value);
        self.scope.layer.equations.retain(untouched);
        let delays = std::mem::take(&mut self.scope.layer.delays);
        for value in &mut self.scope.layer.values {
            if matches!(value.kind, ValueKind::State(_) | ValueKind::Next(_) | ValueKind::Delay) {
                value.kind = ValueKind::Let;
            }
        }
        let kept =
            delays.iter().map(|&delay| self.view(delay).filter(|view| view.1 == 0)).collect::<Option<Vec<_>>>()?;
        let mut states: Vec<Option<State>> = old.iter().map(|_| None).collect();
        for forms in std::mem::take(&mut self.forms) {
            if let ([state], [Some(offset)], None) = (&forms.states[..], &forms.offsets[..], &forms.coefficients[0][0])
                && let Some((input, back)) = self.view(*offset)
            {
                let before = self.input(input, back + 1);
                self.instead.extend([(old[state.at()].value, before), (old[state.at()].next, *offset)]);
                self.recent.push((state.at(), input, back));
                continue;
            }
            let carried: Vec<State> = forms.states.iter().map(|&s| self.carried(&old[s.at()], s)).collect();
            self.group(&forms, &carried, &old);
            for (state, own) in forms.states.iter().zip(carried) {
                states[state.at()] = Some(own);
            }
        }
        let mut equations = std::mem::take(&mut self.scope.layer.equations);
        for equation in &mut equations {
            self.replace(&mut equation.body, &delays, &kept)?;
        }
        let mut layer = self.scope.layer;
        layer.equations = equations;
        for output in &mut layer.outputs {
            output.value = self.instead.get(&output.value).copied().unwrap_or(output.value);
        }
        let found = (0..states.len()).filter(|&s| states[s].is_some()).collect();
        layer.states = states.into_iter().flatten().collect();
        for (s, state) in layer.states.iter().enumerate() {
            let id = StateId(s as u32);
            layer.values[state.value.at()].kind = ValueKind::State(id);
            layer.values[state.next.at()].kind = ValueKind::Next(id);
        }
        layer.derived.clear();
        settle(&mut layer);
        // Threads that share a sequence wait for each other longer than a row takes.
        let instance = Instance { one_thread: true, ..derived(&layer, instance).ok()? };
        let delays = kept.into_iter().map(|(input, _)| input).collect();
        Some(Rows { instance, views: self.views, states: found, recent: self.recent, delays, mixed: self.mixed })
    }

    /// The states of a group, before each step and behind it, and what they carry to the next row.
    fn group(&mut self, forms: &Forms, carried: &[State], old: &[State]) {
        let element = self.composed(forms);
        // Where products are made once, those of the last step apply it alone, so that the next row waits for nothing else.
        let fixed = element.products.iter().flatten().flatten().all(|&product| self.is_fixed(product));
        let last = fixed.then(|| self.last(&element));
        for (r, (&state, own)) in forms.states.iter().zip(carried).enumerate() {
            let ty = forms.ty[r];
            let behind = self.row(&format!("{}.behind", own.name), ty, |layer, lane| {
                forms.applied(layer, &element, r, carried, lane)
            });
            let before = self.row(&format!("{}.before", own.name), ty, |layer, lane| {
                shifted(lane, read(layer, behind, lane), read(layer, own.value, lane), 1)
            });
            self.instead.extend([(old[state.at()].value, before), (old[state.at()].next, behind)]);
            self.equation(own.next, |layer, lane| match &last {
                Some(last) => forms.applied(layer, last, r, carried, lane),
                None => last_of(lane, read(layer, behind, lane)),
            });
        }
    }

    /// Which input a value is, and how many steps before.
    fn view(&self, mut value: ValueId) -> Option<(usize, usize)> {
        let layer = &self.scope.layer;
        loop {
            value = self.instead.get(&value).copied().unwrap_or(value);
            if let Some(input) = layer.inputs.iter().position(|i| *i == value) {
                return Some(self.views[input]);
            }
            match layer.definition(value)?.body.kind {
                ExprKind::Read { value: of, .. } => value = of,
                _ => return None,
            }
        }
    }

    /// An input of so many steps before.
    fn input(&mut self, input: usize, back: usize) -> ValueId {
        if let Some(known) = self.views.iter().position(|view| *view == (input, back)) {
            return self.scope.layer.inputs[known];
        }
        let like = self.scope.layer.value(self.scope.layer.inputs[input]).clone();
        let axes = vec![Extent::Lit(self.lanes as i64)];
        let name = format!("{}.{back}", like.name);
        let value = self.scope.add_value(&name, ValueKind::Input, axes, like.ty, Span::default());
        self.scope.layer.inputs.push(value);
        self.views.push((input, back));
        value
    }

    /// Reads other values in the place of states and delays, at the lane; `None` where what is kept is not known now.
    fn replace(&mut self, e: &mut Expr, delays: &[ValueId], kept: &[(usize, usize)]) -> Option<()> {
        if let ExprKind::Past { delay, at, steps } = &e.kind {
            let ExprKind::Int(back) = steps.kind else { return None };
            let place = delays.iter().position(|d| d == delay)?;
            let value = self.input(kept[place].0, usize::try_from(back).ok()?);
            let at = at.last().cloned().into_iter().collect();
            e.kind = ExprKind::Read { value, at };
            return Some(());
        }
        if let ExprKind::Read { value, at } = &mut e.kind
            && let Some(new) = self.instead.get(value)
        {
            *value = *new;
            at.drain(..at.len() - 1);
        }
        e.operands_mut().into_iter().try_for_each(|operand| self.replace(operand, delays, kept))
    }

    /// The state before the row, on all lanes.
    fn carried(&mut self, old: &State, id: StateId) -> State {
        let axes = vec![Extent::Lit(self.lanes as i64)];
        let ty = self.scope.layer.value(old.value).ty.clone();
        let mut value = |kind| self.scope.add_value(&old.name, kind, axes.clone(), ty.clone(), Span::default());
        let (value, next) = (value(ValueKind::State(id)), value(ValueKind::Next(id)));
        let index = self.scope.add_index("lane", axes[0].clone(), Span::default());
        let init = Some(Init { indices: vec![index], body: build::number(0.0, ty.scalar(), Span::default()) });
        State { name: old.name.clone(), value, next, init, reverse: false }
    }

    /// For each step the composition of all steps of the row up to it.
    fn composed(&mut self, forms: &Forms) -> Element {
        let element = Element { products: forms.coefficients.clone(), offsets: forms.offsets.clone() };
        self.answered(forms).unwrap_or_else(|| self.doublings(forms, element))
    }

    /// All rounds of doubling.
    fn doublings(&mut self, forms: &Forms, mut element: Element) -> Element {
        if forms.coefficients.iter().flatten().any(Option::is_some) {
            let mut by = 1;
            while by < self.lanes {
                element = self.doubled(forms, &element, by);
                by *= 2;
            }
        }
        element
    }

    /// What a row's last step has, on all lanes.
    fn last(&mut self, element: &Element) -> Element {
        let mut last = |value: &Option<ValueId>| {
            let ty = self.scope.layer.value((*value)?).ty.scalar();
            Some(self.row("last", ty, |layer, lane| last_of(lane, read(layer, value.expect("looked at"), lane))))
        };
        let products = element.products.iter().map(|line| line.iter().map(&mut last).collect()).collect();
        Element { products, offsets: element.offsets.iter().map(last).collect() }
    }

    /// Elements composed with those that stand `by` before them.
    fn doubled(&mut self, forms: &Forms, element: &Element, by: usize) -> Element {
        let (algebra, count) = (forms.algebra, forms.ty.len());
        let mut next = Element { products: Vec::new(), offsets: Vec::new() };
        for r in 0..count {
            let ty = forms.ty[r];
            let mut line = Vec::new();
            for c in 0..count {
                let terms: Vec<(ValueId, Option<ValueId>, bool)> = (0..count)
                    .filter_map(|t| Some((element.products[r][t]?, element.products[t][c], t == c)))
                    .filter(|(_, inner, same)| inner.is_some() || *same)
                    .collect();
                if terms.is_empty() {
                    line.push(None);
                    continue;
                }
                let fixed = terms.iter().all(|&(a, b, _)| self.is_fixed(a) && b.is_none_or(|b| self.is_fixed(b)));
                let least = self.least;
                line.push(Some(self.row(&format!("P.{by}"), ty, |layer, lane| {
                    let mut sum = algebra.zero(ty, Span::default());
                    for (outer, inner, same) in terms {
                        // Before the row stands nothing: the neutral element.
                        let zero = algebra.zero(ty, Span::default());
                        let none = if same { algebra.one(ty, Span::default()) } else { zero.clone() };
                        let earlier = inner.map_or(zero, |value| read(layer, value, lane));
                        let earlier = shifted(lane, earlier, none, by);
                        sum = algebra.plus(sum, algebra.times(read(layer, outer, lane), earlier));
                    }
                    if fixed && algebra == Algebra::Field && ty == Scalar::Real { flushed(sum, least) } else { sum }
                })));
            }
            next.products.push(line);
            let own = element.offsets[r];
            let terms: Vec<(ValueId, ValueId)> =
                (0..count).filter_map(|t| Some((element.products[r][t]?, element.offsets[t]?))).collect();
            if own.is_none() && terms.is_empty() {
                next.offsets.push(None);
                continue;
            }
            next.offsets.push(Some(self.row(&format!("b.{by}"), ty, |layer, lane| {
                let none = algebra.zero(ty, Span::default());
                let mut sum = own.map_or_else(|| none.clone(), |b| read(layer, b, lane));
                for (product, offset) in terms {
                    let earlier = shifted(lane, read(layer, offset, lane), none.clone(), by);
                    sum = algebra.plus(sum, algebra.times(read(layer, product, lane), earlier));
                }
                sum
            })));
        }
        next
    }

    /// Whether a definition depends on parameters alone.
    fn is_fixed(&self, value: ValueId) -> bool {
        let layer = &self.scope.layer;
        match layer.value(value).kind {
            ValueKind::Param => true,
            ValueKind::Let => layer.definition(value).is_some_and(|equation| {
                let mut timed = false;
                equation.body.walk(&mut |e| timed |= matches!(e.kind, ExprKind::First));
                !timed && equation.body.reads().into_iter().all(|v| self.is_fixed(v))
            }),
            _ => false,
        }
    }
}

/// What `e` is so many elements before, and `before` where there are fewer.
fn shifted(lane: IndexId, e: Expr, before: Expr, by: usize) -> Expr {
    let (ty, span) = (e.ty, e.span);
    build::expr(ExprKind::Shift(Box::new([build::index(lane, span), e, before]), by), ty, span)
}

/// What `e` is at the last element.
fn last_of(lane: IndexId, e: Expr) -> Expr {
    let (ty, span) = (e.ty, e.span);
    build::expr(ExprKind::Last(Box::new([build::index(lane, span), e])), ty, span)
}

/// A number, or 0 where it is below the least normal one.
fn flushed(e: Expr, least: f64) -> Expr {
    let magnitude = build::call(crate::ir::Function::Abs, vec![e.clone()]);
    let none = build::number(0.0, e.ty, e.span);
    let small = build::binary(crate::ir::BinaryOp::Lt, magnitude, build::real(least, e.span));
    build::select(small, none, e)
}
