//! Which phase each equation of a pass belongs to.
//!
//! In: a lowered layer, a pass, the stages of its equations. Out: a [`Split`]: the equations that run ahead of the
//! recurrence for all steps of a tile, the regions of the recurrence with the definitions that only they read, the
//! rest of the recurrence, and what runs behind it. `None` where the whole step has to run in order: a reset ties
//! all states to one step, and delays reach over tiles.

use super::batch::{Batch, batches};
use super::lower::CHAIN;
use super::shape::{Linear, is_costly, mentions, weight};
use super::{Target, cost};
use crate::analysis::passes::Pass;
use crate::analysis::stages::Stage;
use crate::ir::{Equation, Expr, ExprKind, IndexId, Instance, Layer, ReduceOp, Scalar, ValueId, ValueKind};

/// The phases of a pass, as places in [`Layer::equations`].
#[derive(Clone, Debug, Default)]
pub struct Split {
    /// What runs ahead of the recurrence.
    pub input: Vec<Part>,
    /// Parts of the recurrence that run block by block.
    pub regions: Vec<Draft>,
    /// The rest of it.
    pub steps: Vec<usize>,
    /// What runs behind it.
    pub output: Vec<Part>,
}

/// A part of what runs ahead of the recurrence or behind it.
#[derive(Clone, Debug)]
pub enum Part {
    /// Step after step.
    Steps(Vec<usize>),
    /// Block after block for all steps: a contraction, so that a block's parameters stay in the first cache; or all that has an
    /// index which fills a vector, so that it stays in registers.
    Contraction(Draft),
}

impl Part {
    /// Its equations.
    pub fn equations(&self) -> &[usize] {
        match self {
            Part::Steps(equations) => equations,
            Part::Contraction(draft) => &draft.equations,
        }
    }
}

/// A region before its loops are made.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The batch indices.
    pub batches: Vec<Batch>,
    /// Which of them lies on the lanes.
    pub lane: usize,
    /// The states, by their place in [`Layer::states`].
    pub states: Vec<usize>,
    /// The equations, in order.
    pub equations: Vec<usize>,
}

impl Draft {
    /// Which axis of an equation's value lies on the lanes.
    fn axis(&self, layer: &Layer, e: usize) -> usize {
        self.batches[self.lane].axis(layer, layer.equations[e].value).expect("it has the index on the lanes")
    }
}

/// How many turns a reduction may have that runs inside of a region though no state reaches it.
const PULLED: usize = 8;

/// From how many turns on a sum is a contraction.
pub const CONTRACTED: usize = 8;

/// Splits a pass; `None` where its step has to run as one.
pub fn split(instance: &Instance, pass: &Pass, stages: &[Option<Stage>], target: Target) -> Option<Split> {
    let layer = &instance.layer;
    if layer.reset.is_some() || pass.reverse || !pass.kept.is_empty() {
        return None;
    }
    let of = |stage: Stage| -> Vec<usize> {
        pass.equations
            .iter()
            .copied()
            .filter(|&e| stages[e] == Some(stage) && !instance.axes[layer.equations[e].value.at()].contains(&0))
            .collect()
    };
    let (state, late) = (of(Stage::State), of(Stage::Output));
    let mut inside = vec![false; layer.values.len()];
    for (value, known) in layer.values.iter().zip(&mut inside) {
        *known = matches!(value.kind, ValueKind::State(_) | ValueKind::Next(_));
    }
    for &e in state.iter().chain(&late) {
        inside[layer.equations[e].value.at()] = true;
        if remembers(&layer.equations[e].body) {
            return None;
        }
    }
    let splitter = Splitter { instance, target, inside, filled: instance.filled() };
    let mut split = Split::default();
    let (mut early, mut left) = (of(Stage::Input), late);
    for component in splitter.components(&state) {
        match splitter.draft(&component, &left) {
            Some(draft) => {
                left.retain(|e| !draft.equations.contains(e));
                split.regions.push(draft);
            }
            None => split.steps.extend(component),
        }
    }
    split.steps.sort_unstable();
    // Behind the recurrence, states are those of the tile's last step.
    let old = |v: &ValueId| matches!(layer.value(*v).kind, ValueKind::State(_));
    if left.iter().any(|&e| layer.equations[e].body.reads().iter().any(old)) {
        return None;
    }
    splitter.pull(&mut split.regions, &mut early, &[&split.steps, &left]);
    split.input = splitter.fused(splitter.parts(&early));
    split.output = splitter.fused(splitter.parts(&left));
    let contracts = split.input.iter().chain(&split.output).any(|part| matches!(part, Part::Contraction(_)));
    (contracts || !split.regions.is_empty()).then_some(split)
}

fn remembers(e: &Expr) -> bool {
    let mut found = false;
    e.walk(&mut |e| found |= matches!(e.kind, ExprKind::Past { .. }));
    found
}

/// Whether one call solves the systems of an equation.
fn solves(e: &Expr) -> bool {
    let mut found = false;
    e.walk(&mut |e| found |= matches!(e.kind, ExprKind::Solve { .. }));
    found
}

/// Whether a function in it is a long chain of operations.
fn has_chain(e: &Expr) -> bool {
    let mut found = false;
    e.walk(&mut |e| {
        if let ExprKind::Call(f, arguments) = &e.kind {
            found |= weight(*f, arguments[0].ty == Scalar::Complex) >= CHAIN;
        }
    });
    found
}

pub(super) struct Splitter<'a> {
    pub(super) instance: &'a Instance,
    target: Target,
    /// The values that depend on states.
    inside: Vec<bool>,
    /// The extent of indices that fill a vector.
    pub(super) filled: Option<usize>,
}

/// At how many places an access has this index.
fn places(at: &[Expr], index: IndexId) -> usize {
    at.iter().filter(|e| e.kind == ExprKind::Index(index)).count()
}

impl Splitter<'_> {
    pub(super) fn layer(&self) -> &Layer {
        &self.instance.layer
    }

    fn is_inside(&self, value: ValueId) -> bool {
        self.inside[value.at()]
    }

    /// The values of an equation that depend on states, with one for all versions of a state.
    fn touched(&self, e: usize) -> Vec<ValueId> {
        let equation = &self.layer().equations[e];
        let mut found: Vec<ValueId> = equation.body.reads().into_iter().filter(|v| self.is_inside(*v)).collect();
        found.push(equation.value);
        for value in &mut found {
            if let ValueKind::State(s) | ValueKind::Next(s) = self.layer().value(*value).kind {
                *value = self.layer().states[s.at()].value;
            }
        }
        found
    }

    /// Equations that share values which depend on states.
    fn components(&self, equations: &[usize]) -> Vec<Vec<usize>> {
        let mut found: Vec<(Vec<usize>, Vec<ValueId>)> = Vec::new();
        for &e in equations {
            let mut mine = (vec![e], self.touched(e));
            let (joined, others): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|(_, values)| values.iter().any(|v| mine.1.contains(v)));
            for (equations, values) in joined {
                mine.0.extend(equations);
                mine.1.extend(values);
            }
            found = others;
            found.push(mine);
        }
        let mut components: Vec<Vec<usize>> = found.into_iter().map(|(equations, _)| equations).collect();
        for component in &mut components {
            component.sort_unstable();
        }
        components.sort_unstable();
        components
    }

    fn draft(&self, component: &[usize], late: &[usize]) -> Option<Draft> {
        let layer = self.layer();
        let real = |v: ValueId| matches!(layer.value(v).ty.scalar(), Scalar::Real | Scalar::Complex);
        let values: Vec<ValueId> = component.iter().flat_map(|&e| self.touched(e)).collect();
        if !values.iter().all(|v| real(*v)) || component.iter().any(|&e| solves(&layer.equations[e].body)) {
            return None;
        }
        let states: Vec<usize> = (0..layer.states.len()).filter(|&s| values.contains(&layer.states[s].value)).collect();
        let inside = |v: ValueId| self.is_inside(v);
        let first = layer.states[*states.first()?].value;
        // With each candidate, what is computed from the new state and can have the index as well.
        let mut candidates: Vec<(Batch, Vec<usize>)> = batches(layer, component, first, &inside)
            .into_iter()
            .map(|batch| self.joined(batch, component, late, &real))
            .collect();
        let most = candidates.iter().map(|(_, joined)| joined.len()).max()?;
        candidates.retain(|(_, joined)| joined.len() == most);
        let joined = candidates[0].1.clone();
        candidates.retain(|(_, other)| *other == joined);
        let batches: Vec<Batch> = candidates.into_iter().map(|(batch, _)| batch).collect();
        let mut equations: Vec<usize> = component.iter().chain(&joined).copied().collect();
        equations.sort_unstable();
        if equations.iter().any(|&e| self.has_diagonal(&layer.equations[e], &batches)) {
            return None;
        }
        let lane = self.lane(&batches, &equations, first)?;
        Some(Draft { batches, lane, states, equations })
    }

    /// Whether an equation reads elements of which two indices are the same batch index: they belong to one element of it along
    /// one axis, and to another along the other.
    fn has_diagonal(&self, equation: &Equation, batches: &[Batch]) -> bool {
        let own: Vec<IndexId> = batches.iter().filter_map(|batch| batch.index(self.layer(), equation)).collect();
        let mut found = false;
        equation.body.walk(&mut |e| {
            if let ExprKind::Read { value, at } = &e.kind
                && self.is_inside(*value)
            {
                found |= own.iter().any(|&i| places(at, i) > 1);
            }
        });
        found
    }

    fn joined(
        &self,
        mut batch: Batch,
        component: &[usize],
        late: &[usize],
        real: &dyn Fn(ValueId) -> bool,
    ) -> (Batch, Vec<usize>) {
        let layer = self.layer();
        let mut known: Vec<ValueId> = component.iter().flat_map(|&e| self.touched(e)).collect();
        let mut joined = Vec::new();
        for &e in late {
            let equation = &layer.equations[e];
            let mut touched = self.touched(e);
            touched.pop();
            if !real(equation.value) || !touched.iter().all(|v| known.contains(v)) || solves(&equation.body) {
                continue;
            }
            if let Some(with) = batch.with(layer, equation, &|v| self.is_inside(v)) {
                batch = with;
                known.push(equation.value);
                joined.push(e);
            }
        }
        (batch, joined)
    }

    /// The batch index on the lanes: the one with the cheapest accesses.
    fn lane(&self, batches: &[Batch], equations: &[usize], state: ValueId) -> Option<usize> {
        let mut best: Option<(usize, f64)> = None;
        for (b, batch) in batches.iter().enumerate() {
            let axis = batch.axis(self.layer(), state)?;
            let extent = self.instance.axes[state.at()][axis];
            // With fewer elements than half of a vector, other loops are better.
            if extent * 2 <= self.target.width {
                continue;
            }
            let vectors = extent.div_ceil(self.target.width);
            let idle = (vectors * self.target.width) as f64 / extent as f64;
            let work: f64 =
                equations.iter().map(|&e| self.vector_cost(&self.layer().equations[e], batch)).sum::<f64>() * idle;
            if best.is_none_or(|(_, known)| work < known) {
                best = Some((b, work));
            }
        }
        best.map(|(b, _)| b)
    }

    /// About what an equation costs with the batch index on the lanes, per vector.
    fn vector_cost(&self, equation: &Equation, batch: &Batch) -> f64 {
        let layer = self.layer();
        let index = batch.index(layer, equation);
        let shape = |v: ValueId| &self.instance.axes[v.at()];
        let others = |at: &[Expr], index: Option<IndexId>| -> f64 {
            let mut turns = 1.0;
            for (i, extent) in self.instance.extents.iter().enumerate() {
                let i = IndexId(i as u32);
                if Some(i) != index && at.iter().any(|e| mentions(e, &[i])) {
                    turns *= *extent as f64;
                }
            }
            turns
        };
        let mut total = 0.0;
        let access = |value: ValueId, at: &[Expr]| {
            let linear = Linear::of_access(at, shape(value));
            let factor = index.map_or(0, |i| linear.factor(i));
            let bends = index.is_some_and(|i| linear.bends(&[i]));
            let packed = layer.value(value).kind == ValueKind::Param || self.is_inside(value);
            match factor {
                _ if bends => 4.0 * self.target.width as f64,
                0 | 1 => 1.0,
                _ if packed => 1.1,
                _ => cost::GATHER * self.target.width as f64,
            }
        };
        equation.body.walk(&mut |e| {
            if let ExprKind::Read { value, at } = &e.kind {
                total += access(*value, at) * others(at, index);
            }
        });
        let at: Vec<Expr> = equation
            .indices
            .iter()
            .map(|&i| Expr { kind: ExprKind::Index(i), ty: Scalar::Int, span: equation.span })
            .collect();
        total + access(equation.value, &at) * others(&at, index)
    }

    /// Equations in phases: each in the first one of its kind behind what it reads.
    fn parts(&self, equations: &[usize]) -> Vec<Part> {
        let layer = self.layer();
        let delays = |e: usize| {
            remembers(&layer.equations[e].body) || layer.value(layer.equations[e].value).kind == ValueKind::Delay
        };
        let mut parts: Vec<Part> = Vec::new();
        for &e in equations {
            let contraction = match self.filled {
                _ if delays(e) => None,
                Some(lanes) => self.full(e, lanes),
                None => self.contraction(e),
            };
            let reads = layer.equations[e].body.reads();
            let mut least = 0;
            for (p, part) in parts.iter().enumerate() {
                if part.equations().iter().any(|&d| reads.contains(&layer.equations[d].value)) {
                    let together = match part {
                        Part::Steps(_) => contraction.is_none(),
                        Part::Contraction(_) => contraction.is_some() && self.filled.is_some(),
                    };
                    least = p + usize::from(!together);
                }
            }
            match contraction {
                Some(draft) => {
                    let known = parts[least..].iter_mut().find_map(|part| match part {
                        Part::Contraction(known) if self.filled.is_some() => Some(known),
                        _ => None,
                    });
                    match known {
                        Some(known) => {
                            known.equations.push(e);
                            known.batches[0].insert(layer, layer.equations[e].value, draft.axis(layer, e));
                        }
                        None => parts.push(Part::Contraction(draft)),
                    }
                }
                None => {
                    let known = parts[least..].iter_mut().find_map(|part| match part {
                        Part::Steps(equations) => Some(equations),
                        Part::Contraction(_) => None,
                    });
                    match known {
                        Some(known) => known.push(e),
                        None => parts.push(Part::Steps(vec![e])),
                    }
                }
            }
        }
        // The rows of a delay hold for one phase only.
        let delayed = parts.iter().filter(|part| part.equations().iter().any(|&e| delays(e))).count();
        match (delayed, equations.is_empty()) {
            (0 | 1, _) => parts,
            (_, true) => Vec::new(),
            _ => vec![Part::Steps(equations.to_vec())],
        }
    }

    /// An equation whose last index fills a vector, for a part of such.
    fn full(&self, e: usize, lanes: usize) -> Option<Draft> {
        let layer = self.layer();
        let equation = &layer.equations[e];
        let plain = matches!(layer.value(equation.value).kind, ValueKind::Let | ValueKind::Output)
            && matches!(equation.body.ty, Scalar::Real | Scalar::Complex)
            && !solves(&equation.body);
        let [index] = equation.indices[..] else { return None };
        if !plain || self.instance.extents[index.at()] != lanes {
            return None;
        }
        let mut batch = Batch::default();
        batch.insert(layer, equation.value, 0);
        Some(Draft { batches: vec![batch], lane: 0, states: Vec::new(), equations: vec![e] })
    }

    /// A long sum with the index on the lanes that makes all of its accesses contiguous or the same for all lanes.
    fn contraction(&self, e: usize) -> Option<Draft> {
        let layer = self.layer();
        let equation = &layer.equations[e];
        let plain = matches!(layer.value(equation.value).kind, ValueKind::Let | ValueKind::Output)
            && matches!(equation.body.ty, Scalar::Real | Scalar::Complex);
        if !plain || self.longest(&equation.body) < CONTRACTED {
            return None;
        }
        let mut best: Option<(Batch, f64)> = None;
        for (axis, &index) in equation.indices.iter().enumerate() {
            let extent = self.instance.extents[index.at()];
            let mut batch = Batch::default();
            batch.insert(layer, equation.value, axis);
            if extent * 2 <= self.target.width || self.gathers(equation, index) {
                continue;
            }
            let vectors = extent.div_ceil(self.target.width);
            let cost = self.vector_cost(equation, &batch) * vectors as f64 / extent as f64;
            if best.as_ref().is_none_or(|(_, known)| cost < *known) {
                best = Some((batch, cost));
            }
        }
        let (lane, _) = best?;
        let index = lane.index(layer, equation);
        let mut batches = vec![lane];
        for axis in (0..equation.indices.len()).filter(|&axis| Some(equation.indices[axis]) != index) {
            let mut batch = Batch::default();
            batch.insert(layer, equation.value, axis);
            batches.push(batch);
        }
        Some(Draft { batches, lane: 0, states: Vec::new(), equations: vec![e] })
    }

    /// Whether some access takes elements apart for the lanes, and cannot be packed.
    pub(super) fn gathers(&self, equation: &Equation, index: IndexId) -> bool {
        let layer = self.layer();
        let mut found = false;
        equation.body.walk(&mut |e| match &e.kind {
            ExprKind::Read { value, at } => {
                let linear = Linear::of_access(at, &self.instance.axes[value.at()]);
                let single = at.iter().filter(|e| mentions(e, &[index])).count() < 2
                    && at.iter().all(|e| !mentions(e, &[index]) || e.kind == ExprKind::Index(index));
                let packs = layer.value(*value).kind == ValueKind::Param && single;
                found |= linear.bends(&[index]) || !(matches!(linear.factor(index), 0 | 1) || packs);
            }
            ExprKind::Reduce { op: ReduceOp::ArgMax | ReduceOp::ArgMin, .. } => found = true,
            _ => {}
        });
        let own: Vec<Expr> = equation
            .indices
            .iter()
            .map(|&i| Expr { kind: ExprKind::Index(i), ty: Scalar::Int, span: equation.span })
            .collect();
        found || Linear::of_access(&own, &self.instance.axes[equation.value.at()]).factor(index) != 1
    }

    /// Moves into a region what only the region reads, where the index on the lanes is the same.
    fn pull(&self, regions: &mut [Draft], early: &mut Vec<usize>, others: &[&[usize]]) {
        let layer = self.layer();
        for e in early.clone().into_iter().rev() {
            let equation = &layer.equations[e];
            let returned = layer.outputs.iter().any(|output| output.value == equation.value);
            let plain = layer.value(equation.value).kind == ValueKind::Let
                && matches!(equation.body.ty, Scalar::Real | Scalar::Complex);
            let alone = remembers(&equation.body) || solves(&equation.body);
            if !plain || returned || alone || self.longest(&equation.body) > PULLED {
                continue;
            }
            let readers = |equations: &[usize]| {
                equations.iter().any(|&r| layer.equations[r].body.reads().contains(&equation.value))
            };
            if readers(&*early) || others.iter().any(|others| readers(others)) {
                continue;
            }
            let mut reading = regions.iter().enumerate().filter(|(_, draft)| readers(&draft.equations));
            let (Some((r, _)), None) = (reading.next(), reading.next()) else { continue };
            let state: usize = regions[r].states.iter().map(|&s| self.for_lane(&regions[r], s)).sum();
            if state >= CONTRACTED && has_chain(&equation.body) {
                continue;
            }
            if let Some(draft) = self.pulled(&regions[r], equation, e) {
                regions[r] = draft;
                early.retain(|other| *other != e);
            }
        }
    }

    /// The region with one more equation, whose value it reads at its own batch indices.
    fn pulled(&self, draft: &Draft, equation: &Equation, e: usize) -> Option<Draft> {
        let layer = self.layer();
        let mut draft = draft.clone();
        for (b, batch) in draft.batches.iter_mut().enumerate() {
            let (mut axes, mut diagonal): (Vec<Option<usize>>, bool) = (Vec::new(), false);
            for &r in &draft.equations {
                let reader = &layer.equations[r];
                let index = batch.index(layer, reader)?;
                reader.body.walk(&mut |e| {
                    if let ExprKind::Read { value, at } = &e.kind
                        && *value == equation.value
                    {
                        axes.push(at.iter().position(|e| e.kind == ExprKind::Index(index)));
                        diagonal |= places(at, index) > 1;
                    }
                });
            }
            if diagonal {
                return None;
            }
            match axes.first() {
                Some(Some(axis)) if axes.iter().all(|other| *other == Some(*axis)) => {
                    batch.insert(layer, equation.value, *axis);
                }
                // Computed again for every turn of an outer loop.
                Some(_) if b != draft.lane && !is_costly(&equation.body) => {}
                _ => return None,
            }
        }
        draft.equations.push(e);
        draft.equations.sort_unstable();
        Some(draft)
    }

    /// How many elements of a state belong to one element of the region's batch axes.
    fn for_lane(&self, draft: &Draft, state: usize) -> usize {
        let value = self.layer().states[state].value;
        let axes = &self.instance.axes[value.at()];
        let inner = (0..axes.len())
            .filter(|axis| !draft.batches.iter().any(|batch| batch.axis(self.layer(), value) == Some(*axis)));
        inner.map(|axis| axes[axis]).product()
    }

    fn longest(&self, e: &Expr) -> usize {
        let mut most = 0;
        e.walk(&mut |e| {
            if let ExprKind::Reduce { indices, .. } = &e.kind {
                most = most.max(indices.iter().map(|i| self.instance.extents[i.at()]).product());
            }
        });
        most
    }
}
