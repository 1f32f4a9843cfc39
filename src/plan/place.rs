//! Where values lie, and the nests of every pass.
//!
//! Outputs are written in place, row by row. A state lives in the carry's own buffer; a new version is written over
//! the old one where nothing reads the old one any more but the same element of the new one, else to scratch, and
//! copied at the end of the step. What a later pass reads has a row per step. All else lies in scratch.

use ssmc_runtime::kernel::{
    Buffer, Cut, DelayLine, Kind, PassSignature, PhaseSignature, Prologue, Signature, Slot, Tensors,
};

use super::pack::Packer;
use super::{
    Form, Item, Layout, Nest, PassPlan, Phase, Place, Plan, Steps, Target, cost, element_bytes, lanes, past, split,
    tile,
};
use crate::analysis::passes::Pass;
use crate::analysis::stages::{self, Stage};
use crate::diag::Span;
use crate::ir::{Equation, Expr, ExprKind, Extent, Index, IndexId, Instance, Layer, Scalar, Type, ValueId, ValueKind};

/// Gives every value of every pass its place, and makes the nests.
pub fn place(mut instance: Instance, passes: &[Pass], form: Form, target: Target) -> Plan {
    let mut signature = signature(&instance, passes, form, target);
    let reports = reports(&instance.layer);
    signature.reports = reports.len();
    let kept: Vec<ValueId> = passes.iter().flat_map(|pass| pass.kept.iter().copied()).collect();
    let homes = homes(&instance.layer, passes);
    let mut packer = Packer::new(target);
    let stages: Vec<Vec<Option<Stage>>> = passes.iter().map(|pass| stages::stages(&instance.layer, pass)).collect();
    bind(&mut instance, &stages, target, &mut packer);
    let mut plans = Vec::new();
    for (p, pass) in passes.iter().enumerate() {
        let alone = passes.len() == 1;
        if let Some(split) = alone.then(|| split::split(&instance, pass, &stages[p], target)).flatten() {
            let (plan, memory) = tile::tiled(&mut instance, split, form, target, &mut packer);
            signature.passes.push(PassSignature { tile: plan.tile, ..unnumbered(false, memory) });
            plans.push(plan);
            continue;
        }
        let mut placing = Placing {
            places: vec![None; instance.layer.values.len()],
            scratch: 0,
            instance: &mut instance,
            pass,
            stages: &stages[p],
            first: p == 0,
            target,
            cone: Vec::new(),
            body: Vec::new(),
        };
        placing.given(&kept, &packer);
        placing.outputs_of(p, &homes);
        placing.versions();
        placing.scratch();
        placing.nests(p, &homes, &kept);
        let scratch = placing.scratch;
        let (mut places, cone, mut body) = (placing.places, placing.cone, placing.body);
        packer.align(&mut instance, &mut places, &mut body);
        let delays = if p == 0 { (0..instance.layer.delays.len()).collect() } else { Vec::new() };
        let states = pass.states.iter().map(|s| s.at()).collect();
        let reverse = pass.reverse;
        let phases = vec![Phase::Steps(Steps { cone, body, apart: false })];
        let reset = instance.layer.reset;
        plans.push(PassPlan { reverse, states, delays, places, reset, phases, ..PassPlan::default() });
        signature.passes.push(unnumbered(reverse, tile::Memory { scratch, ..tile::Memory::default() }));
    }
    let prologue = (!packer.phases.is_empty()).then(|| prologue(&instance, packer, &mut signature));
    let mut plan = Plan { instance, form, target, signature, reports, prologue, passes: plans };
    number(&mut plan);
    plan
}

/// A pass before its functions have numbers.
fn unnumbered(reverse: bool, memory: tile::Memory) -> PassSignature {
    let tile::Memory { home, scratch, local } = memory;
    PassSignature {
        reverse,
        slots: Vec::new(),
        home,
        scratch,
        local,
        tile: 0,
        begin: None,
        phases: Vec::new(),
        end: None,
    }
}

/// Plans what depends on parameters alone.
fn bind(instance: &mut Instance, stages: &[Vec<Option<Stage>>], target: Target, packer: &mut Packer) {
    let mut places: Vec<Option<Place>> = vec![None; instance.layer.values.len()];
    for (i, param) in instance.layer.params.iter().enumerate() {
        places[param.value.at()] = Some(Place::start(Buffer::Param(i)));
    }
    let mut nests = Vec::new();
    for e in 0..instance.layer.equations.len() {
        let Equation { value, indices, body, .. } = instance.layer.equations[e].clone();
        let bound = stages.iter().any(|stages| stages[e] == Some(Stage::Bound));
        if !bound || instance.axes[value.at()].contains(&0) {
            continue;
        }
        let place = packer.room(instance, value, Layout::RowMajor);
        let mut body = body;
        forget_spans(&mut body);
        nests.push(lanes::nest(instance, target, value, place, indices, body));
    }
    if !nests.is_empty() {
        packer.phases.push(Phase::Steps(Steps { body: nests, ..Steps::default() }));
    }
}

fn prologue(instance: &Instance, packer: Packer, signature: &mut Signature) -> PassPlan {
    let mut places: Vec<Option<Place>> = vec![None; instance.layer.values.len()];
    for (i, param) in instance.layer.params.iter().enumerate() {
        places[param.value.at()] = Some(Place::start(Buffer::Param(i)));
    }
    for (value, place) in &packer.places {
        places[value.at()] = Some(*place);
    }
    let plan = PassPlan { places, begin: packer.phases, ..PassPlan::default() };
    let slots = slots(&instance.layer, &plan, &[]);
    signature.prologue = Some(Prologue { entry: 0, slots, bytes: packer.bytes });
    plan
}

/// Gives the functions of a plan their numbers, in the order of [`Plan::parts`].
fn number(plan: &mut Plan) {
    let mut next = usize::from(plan.prologue.is_some());
    let (instance, target, reports) = (&plan.instance, plan.target, &plan.reports);
    for (pass, signature) in plan.passes.iter_mut().zip(&mut plan.signature.passes) {
        pass.places.resize(instance.layer.values.len(), None);
        signature.slots = slots(&instance.layer, pass, reports);
        let mut numbered = |phases: &[Phase]| {
            let entry = next;
            next += 1;
            let cut = match phases {
                [phase] => cut(instance, target, phase),
                _ => Cut::Blocks(1),
            };
            let work = phases.iter().map(|phase| work(instance, target, phase)).sum();
            let own = |buffer: Buffer| matches!(buffer, Buffer::Scratch | Buffer::Local);
            let private = phases.iter().all(|phase| {
                phase.nests().all(|nest| own(nest.target.buffer) && !reports.contains(&nest.value))
                    && phase.statements().all(|statement| statement.stores.iter().all(|place| own(place.buffer)))
            });
            PhaseSignature { entry, past: None, cut, private, work }
        };
        signature.begin = (!pass.begin.is_empty()).then(|| numbered(&pass.begin));
        signature.phases = pass.phases.chunks(1).map(&mut numbered).collect();
        signature.end = (!pass.end.is_empty()).then(|| numbered(&pass.end));
    }
    if let Some(pass) = &mut plan.prologue {
        pass.places.resize(instance.layer.values.len(), None);
    }
    if plan.form == Form::Step {
        return;
    }
    for n in 0..plan.passes.len() {
        let values = past::values(&plan.instance, plan.target, &plan.passes, n);
        let pass = &mut plan.passes[n];
        for (phase, signature) in pass.phases.iter().zip(&mut plan.signature.passes[n].phases) {
            if past::writes(phase, &values) {
                signature.past = Some(next);
                next += 1;
            }
        }
        pass.past = values;
    }
}

/// Into what a phase can be cut.
pub fn cut(instance: &Instance, target: Target, phase: &Phase) -> Cut {
    match phase {
        _ if phase.is_apart() => Cut::Steps,
        Phase::Steps(_) => Cut::Blocks(1),
        Phase::Region(region) => Cut::Blocks(match region.outer.first() {
            Some(i) => instance.extents[i.at()],
            None => instance.extents[region.lane.at()].div_ceil(region.parts * target.width),
        }),
    }
}

/// About how many operations a phase takes in one step.
pub fn work(instance: &Instance, target: Target, phase: &Phase) -> u64 {
    let extent = |i: IndexId| instance.extents[i.at()];
    let count = |indices: &[IndexId]| -> usize { indices.iter().map(|&i| extent(i)).product() };
    let nests = phase.nests().map(|nest| {
        let turns = count(&nest.loops) * (cost::operations(&nest.body, &extent) + 1);
        if nest.lanes.is_empty() { turns } else { turns.div_ceil(target.width) }
    });
    let total: usize = match phase {
        Phase::Steps(_) => nests.sum(),
        Phase::Region(region) => {
            let each = region.items.iter().map(|item| match item {
                Item::One(statement) => cost::operations(&statement.body, &extent),
                Item::Loop(fused) => fused
                    .body
                    .iter()
                    .map(|statement| cost::operations(&statement.body, &extent))
                    .zip(fused.body.iter().map(|statement| if statement.sums { 1 } else { count(&fused.indices) }))
                    .map(|(operations, turns)| operations * turns)
                    .sum::<usize>(),
            });
            each.sum::<usize>() * count(&region.outer) * extent(region.lane).div_ceil(target.width)
        }
    };
    total as u64
}

fn tensors(instance: &Instance, value: ValueId, name: &str) -> Tensors {
    let v = instance.layer.value(value);
    let dims: Vec<Option<i64>> = instance.dims.iter().copied().map(Some).collect();
    let (kind, below) = match &v.ty {
        Type::Real => (Kind::Real, None),
        Type::Complex => (Kind::Complex, None),
        Type::Bool => (Kind::Bool, None),
        Type::Int => (Kind::Int, None),
        Type::Index(extent) => (Kind::Int, extent.eval(&dims)),
    };
    Tensors { name: name.to_owned(), kind, shape: instance.axes[value.at()].clone(), below }
}

/// What a layer takes and gives, with reals of that many bits, however it is run.
pub fn interface(instance: &Instance, bits: u32) -> Signature {
    signature(instance, &[], Form::Sequence, Target { bits, width: 1, registers: 0 })
}

fn signature(instance: &Instance, passes: &[Pass], form: Form, target: Target) -> Signature {
    let layer = &instance.layer;
    let named = |v: ValueId| tensors(instance, v, &layer.value(v).name);
    Signature {
        bits: target.bits,
        step: form == Form::Step,
        steps: instance.steps,
        params: layer.params.iter().map(|p| named(p.value)).collect(),
        inputs: layer.inputs.iter().map(|&v| named(v)).collect(),
        states: layer.states.iter().map(|s| named(s.value)).collect(),
        delays: layer
            .delays
            .iter()
            .zip(&instance.depths)
            .enumerate()
            .map(|(i, (&v, &depth))| DelayLine { slice: tensors(instance, v, &format!("delay.{i}")), depth })
            .collect(),
        outputs: layer.outputs.iter().map(|o| tensors(instance, o.value, &o.name)).collect(),
        prologue: None,
        kept: passes.iter().flat_map(|pass| &pass.kept).map(|&v| named(v)).collect(),
        reports: 0,
        passes: Vec::new(),
    }
}

/// What is to be reported: the solutions of linear systems, and what the layer checks.
pub(super) fn reports(layer: &Layer) -> Vec<ValueId> {
    let solved = layer.equations.iter().filter(|e| matches!(e.body.kind, ExprKind::Solve { .. })).map(|e| e.value);
    solved.chain(layer.checks.iter().map(|check| check.value)).collect()
}

/// The pass that gives each value for the outputs.
fn homes(layer: &Layer, passes: &[Pass]) -> Vec<usize> {
    (0..layer.values.len())
        .map(|v| match layer.values[v].kind {
            ValueKind::State(s) => passes.iter().position(|pass| pass.states.contains(&s)).unwrap_or(0),
            _ => passes
                .iter()
                .position(|pass| pass.equations.iter().any(|&e| layer.equations[e].value.at() == v))
                .unwrap_or(0),
        })
        .collect()
}

struct Placing<'a> {
    instance: &'a mut Instance,
    pass: &'a Pass,
    stages: &'a [Option<Stage>],
    first: bool,
    target: Target,
    places: Vec<Option<Place>>,
    scratch: usize,
    cone: Vec<Nest>,
    body: Vec<Nest>,
}

impl Placing<'_> {
    fn layer(&self) -> &Layer {
        &self.instance.layer
    }

    fn set(&mut self, value: ValueId, buffer: Buffer) {
        self.places[value.at()] = Some(Place::start(buffer));
    }

    /// Parameters, inputs, delays, states before the step, and what earlier passes kept.
    fn given(&mut self, kept: &[ValueId], packer: &Packer) {
        for (value, place) in &packer.places {
            self.places[value.at()] = Some(*place);
        }
        let layer = self.layer().clone();
        for (i, param) in layer.params.iter().enumerate() {
            self.set(param.value, Buffer::Param(i));
        }
        for (i, &input) in layer.inputs.iter().enumerate() {
            self.set(input, Buffer::Input(i));
        }
        for (k, &value) in kept.iter().enumerate() {
            let mine = self.pass.kept.contains(&value);
            if !mine || layer.value(value).kind == ValueKind::Let || layer.value(value).kind == ValueKind::Output {
                self.set(value, Buffer::Kept(k));
            }
        }
        if self.first {
            for (i, &delay) in layer.delays.iter().enumerate() {
                self.set(delay, Buffer::Delay(i));
            }
        }
        for s in &self.pass.states {
            self.set(layer.states[s.at()].value, Buffer::State(s.at()));
        }
    }

    /// Definitions that are returned are written to their output at once.
    fn outputs_of(&mut self, p: usize, homes: &[usize]) {
        for (i, output) in self.layer().outputs.clone().into_iter().enumerate() {
            let kind = self.layer().value(output.value).kind;
            let defined = matches!(kind, ValueKind::Let | ValueKind::Output);
            if defined && homes[output.value.at()] == p && self.places[output.value.at()].is_none() {
                self.set(output.value, Buffer::Output(i));
            }
        }
    }

    /// Versions of states: over the version before, where nothing else reads that one any more.
    fn versions(&mut self) {
        let layer = self.layer();
        let mut occupants: Vec<(usize, ValueId)> =
            self.pass.states.iter().map(|s| (s.at(), layer.states[s.at()].value)).collect();
        let mut found = Vec::new();
        for (n, &e) in self.pass.equations.iter().enumerate() {
            let equation = &layer.equations[e];
            let ValueKind::Next(s) = layer.value(equation.value).kind else { continue };
            let Some(occupant) = occupants.iter_mut().find(|(state, _)| *state == s.at()) else { continue };
            let later =
                self.pass.equations[n + 1..].iter().any(|&l| layer.equations[l].body.reads().contains(&occupant.1));
            if !later && reads_only_at(&equation.body, occupant.1, &equation.indices) {
                found.push((equation.value, s.at()));
                occupant.1 = equation.value;
            }
        }
        for (value, state) in found {
            self.set(value, Buffer::State(state));
        }
    }

    /// Everything else.
    fn scratch(&mut self) {
        for &e in &self.pass.equations {
            let value = self.instance.layer.equations[e].value;
            if self.places[value.at()].is_none() {
                self.places[value.at()] = Some(single(self.instance, value, self.target, &mut self.scratch));
            }
        }
    }

    fn nests(&mut self, p: usize, homes: &[usize], kept: &[ValueId]) {
        let layer = self.layer().clone();
        let in_cone = cone(&layer, self.pass);
        let equations: Vec<usize> =
            self.pass.equations.iter().copied().filter(|&e| self.stages[e] != Some(Stage::Bound)).collect();
        for &e in &equations {
            if in_cone[e] != Cone::Outside {
                let nest = self.equation(e);
                self.cone.extend(nest);
            }
        }
        // States before the step, before anything is written over them.
        for (k, &value) in kept.iter().enumerate() {
            if self.pass.kept.contains(&value) && matches!(layer.value(value).kind, ValueKind::State(_)) {
                self.copy(value, Place::start(Buffer::Kept(k)));
            }
        }
        for (i, output) in layer.outputs.iter().enumerate() {
            let early =
                matches!(layer.value(output.value).kind, ValueKind::State(_) | ValueKind::Param | ValueKind::Input);
            if early && homes[output.value.at()] == p {
                self.copy(output.value, Place::start(Buffer::Output(i)));
            }
        }
        for &e in &equations {
            let value = layer.equations[e].value;
            if in_cone[e] != Cone::Inside {
                let nest = self.equation(e);
                self.body.extend(nest);
            }
            let place = self.places[value.at()];
            for (k, _) in kept.iter().enumerate().filter(|(_, v)| **v == value) {
                let to = Place::start(Buffer::Kept(k));
                if self.pass.kept.contains(&value) && place != Some(to) {
                    self.copy(value, to);
                }
            }
            for (i, output) in layer.outputs.iter().enumerate() {
                let to = Place::start(Buffer::Output(i));
                if output.value == value && homes[value.at()] == p && place != Some(to) {
                    self.copy(value, to);
                }
            }
        }
        for s in &self.pass.states {
            let state = &layer.states[s.at()];
            let home = Place::start(Buffer::State(s.at()));
            if state.next != state.value && self.places[state.next.at()] != Some(home) {
                self.copy(state.next, home);
            }
        }
    }

    /// The loops of an equation; none where it has no elements.
    fn equation(&self, e: usize) -> Option<Nest> {
        let Equation { value, indices, body, .. } = &self.layer().equations[e];
        if self.instance.axes[value.at()].contains(&0) {
            return None;
        }
        let target = self.places[value.at()].expect("every definition has a place");
        let mut body = body.clone();
        forget_spans(&mut body);
        Some(lanes::nest(self.instance, self.target, *value, target, indices.clone(), body))
    }

    fn copy(&mut self, value: ValueId, to: Place) {
        self.body.extend(copy(self.instance, self.target, value, to));
    }
}

/// Room for one step's slice of a value in scratch.
pub fn single(instance: &Instance, value: ValueId, target: Target, scratch: &mut usize) -> Place {
    let plane = plane_bytes(instance, value, target.bits);
    let place = Place { offset: *scratch, plane, ..Place::start(Buffer::Scratch) };
    *scratch += if instance.layer.value(value).ty.scalar() == Scalar::Complex { 2 * plane } else { plane };
    place
}

/// The nest that copies a value to a place; none where it has no elements.
pub fn copy(instance: &mut Instance, target: Target, value: ValueId, to: Place) -> Option<Nest> {
    if instance.axes[value.at()].contains(&0) {
        return None;
    }
    let v = instance.layer.value(value).clone();
    let shape = instance.axes[value.at()].clone();
    let mut indices = Vec::new();
    for (n, extent) in shape.into_iter().enumerate() {
        indices.push(IndexId(instance.layer.indices.len() as u32));
        let name = format!("i{n}");
        instance.layer.indices.push(Index { name, extent: Extent::Lit(extent as i64), span: Span::default() });
        instance.extents.push(extent);
    }
    let at = indices.iter().map(|&i| Expr { kind: ExprKind::Index(i), ty: Scalar::Int, span: v.span }).collect();
    let body = match v.kind {
        ValueKind::Delay => {
            let steps = Box::new(Expr { kind: ExprKind::Int(0), ty: Scalar::Int, span: v.span });
            ExprKind::Past { delay: value, at, steps }
        }
        _ => ExprKind::Read { value, at },
    };
    let body = Expr { kind: body, ty: v.ty.scalar(), span: v.span };
    Some(lanes::nest(instance, target, value, to, indices, body))
}

/// Makes expressions equal that differ in where they stand only.
pub fn forget_spans(e: &mut Expr) {
    e.span = Span::default();
    for operand in e.operands_mut() {
        forget_spans(operand);
    }
}

/// The bytes of one plane of a value in scratch, rounded up to a cache line.
pub fn plane_bytes(instance: &Instance, value: ValueId, bits: u32) -> usize {
    let size: usize = instance.axes[value.at()].iter().product();
    (size * element_bytes(instance.layer.value(value).ty.scalar(), bits)).next_multiple_of(64)
}

/// Whether every read of the value in `e` is at just these indices.
fn reads_only_at(e: &Expr, value: ValueId, indices: &[IndexId]) -> bool {
    let mut only = true;
    e.walk(&mut |e| {
        if let ExprKind::Read { value: v, at } = &e.kind
            && *v == value
        {
            only &=
                at.iter().map(|e| &e.kind).eq(indices.iter().map(|i| ExprKind::Index(*i)).collect::<Vec<_>>().iter());
        }
    });
    only
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cone {
    Outside,
    /// Computed before the reset only.
    Inside,
    /// Computed before the reset, and again after it, which may change it.
    Twice,
}

/// What the reset depends on; by equation.
fn cone(layer: &Layer, pass: &Pass) -> Vec<Cone> {
    let mut found = vec![Cone::Outside; layer.equations.len()];
    let mut wanted: Vec<ValueId> = layer.reset.into_iter().collect();
    while let Some(value) = wanted.pop() {
        for &e in pass.equations.iter().filter(|&&e| layer.equations[e].value == value) {
            if found[e] == Cone::Outside {
                found[e] = Cone::Inside;
                wanted.extend(layer.equations[e].body.reads());
            }
        }
    }
    let mut moved: Vec<ValueId> = Vec::new();
    for &e in &pass.equations {
        let equation = &layer.equations[e];
        let mut moves = equation.body.reads().iter().any(|v| moved.contains(v));
        equation.body.walk(&mut |e| moves |= matches!(e.kind, ExprKind::First | ExprKind::Past { .. }));
        if moves {
            moved.push(equation.value);
            if found[e] == Cone::Inside && Some(equation.value) != layer.reset {
                found[e] = Cone::Twice;
            }
        }
    }
    found
}

/// The addresses that a pass needs, ascending.
fn slots(layer: &Layer, plan: &PassPlan, reports: &[ValueId]) -> Vec<Slot> {
    let mut slots = Vec::new();
    let mut add = |buffer: Buffer, complex: bool| {
        slots.push(Slot { buffer, imaginary: false });
        if complex && !matches!(buffer, Buffer::Home | Buffer::Scratch | Buffer::Local | Buffer::Derived) {
            slots.push(Slot { buffer, imaginary: true });
        }
    };
    let complex = |v: ValueId| layer.value(v).ty == Type::Complex;
    for phase in plan.begin.iter().chain(&plan.phases).chain(&plan.end) {
        let mut read = |e: &Expr| {
            for value in e.reads() {
                if let Some(place) = plan.places[value.at()] {
                    add(place.buffer, complex(value));
                }
            }
        };
        phase.nests().for_each(|nest| read(&nest.body));
        phase.statements().for_each(|statement| read(&statement.body));
        if let Phase::Region(region) = phase {
            for place in region.carried.iter().filter_map(|c| plan.places[c.before.at()]) {
                add(place.buffer, region.carried.iter().any(|c| complex(c.before)));
            }
        }
        for nest in phase.nests() {
            add(nest.target.buffer, nest.body.ty == Scalar::Complex);
            if reports.contains(&nest.value) {
                add(Buffer::Report, false);
            }
        }
        for statement in phase.statements() {
            for place in &statement.stores {
                add(place.buffer, statement.body.ty == Scalar::Complex);
            }
        }
    }
    if plan.reset.is_some() {
        for &s in &plan.states {
            add(Buffer::State(s), complex(layer.states[s].value));
            add(Buffer::Initial(s), complex(layer.states[s].value));
        }
        for &d in &plan.delays {
            add(Buffer::Delay(d), complex(layer.delays[d]));
        }
    }
    if let Some(place) = plan.reset.and_then(|reset| plan.places[reset.at()]) {
        add(place.buffer, false);
    }
    slots.sort_unstable();
    slots.dedup();
    slots
}
