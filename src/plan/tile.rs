//! The phases of a tile, and where values lie in it.
//!
//! In: a [`Split`]. Out: a pass. A value that one phase defines and another reads has a row for every step of a tile:
//! its output, where it is one, else scratch. States that a region reads across their rows lie in blocks of lanes
//! while the sequence runs.

use ssmc_runtime::kernel::Buffer;

use super::batch::Batch;
use super::cost::Machine;
use super::fetch::fetch;
use super::pack::{self, Packer};
use super::pipeline::pipeline;
use super::region::{Builder, StateOf, new_index};
use super::split::{Draft, Part, Split};
use super::{Form, Layout, Nest, PassPlan, Phase, Place, Region, Steps, Target, lanes, place};
use crate::ir::{Equation, ExprKind, IndexId, Instance, Scalar, ValueId, ValueKind};

struct Tiling<'a> {
    instance: &'a mut Instance,
    form: Form,
    target: Target,
    machine: Machine,
    packer: &'a mut Packer,
    places: Vec<Option<Place>>,
    memory: Memory,
    /// What kernels report.
    reports: Vec<ValueId>,
    begin: Vec<Phase>,
    end: Vec<Phase>,
}

/// How many bytes of its own memory a pass needs, of each kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Behind [`Buffer::Home`].
    pub home: usize,
    /// Behind [`Buffer::Scratch`].
    pub scratch: usize,
    /// Behind [`Buffer::Local`].
    pub local: usize,
}

/// Plans a pass that is cut into phases.
pub fn tiled(
    instance: &mut Instance,
    split: Split,
    form: Form,
    target: Target,
    packer: &mut Packer,
) -> (PassPlan, Memory) {
    let places = vec![None; instance.layer.values.len()];
    let machine = Machine::default();
    let reports = place::reports(&instance.layer);
    let mut tiling = Tiling {
        instance,
        form,
        target,
        machine,
        packer,
        places,
        memory: Memory::default(),
        reports,
        begin: Vec::new(),
        end: Vec::new(),
    };
    tiling.given();
    let tile = tiling.rows(&split);
    let mut phases = Vec::new();
    let steps = |body: Vec<Nest>| (!body.is_empty()).then_some(Phase::Steps(Steps { body, ..Steps::default() }));
    phases.extend(steps(tiling.given_nests()));
    phases.extend(split.input.iter().filter_map(|part| tiling.part(part)));
    for draft in &split.regions {
        phases.push(tiling.region(draft));
    }
    phases.extend(steps(tiling.recurrent_nests(&split.steps)));
    phases.extend(split.output.iter().filter_map(|part| tiling.part(part)));
    if form == Form::Sequence && tile > 1 {
        fetch(tiling.instance, target, &machine, &mut phases);
    }
    let memory = tiling.memory;
    let (places, begin, end) = (tiling.places, tiling.begin, tiling.end);
    let states = (0..instance.layer.states.len()).collect();
    let delays = (0..instance.layer.delays.len()).collect();
    let plan = PassPlan { states, delays, places, tile, begin, phases, end, ..PassPlan::default() };
    (plan, memory)
}

impl Tiling<'_> {
    fn set(&mut self, value: ValueId, place: Place) {
        self.places.resize(self.instance.layer.values.len(), None);
        self.places[value.at()] = Some(place);
    }

    fn given(&mut self) {
        let layer = self.instance.layer.clone();
        for (value, place) in self.packer.places.clone() {
            self.set(value, place);
        }
        for (i, param) in layer.params.iter().enumerate() {
            self.set(param.value, Place::start(Buffer::Param(i)));
        }
        for (i, &input) in layer.inputs.iter().enumerate() {
            self.set(input, Place::start(Buffer::Input(i)));
        }
        for (i, &delay) in layer.delays.iter().enumerate() {
            self.set(delay, Place::start(Buffer::Delay(i)));
        }
        for (s, state) in layer.states.iter().enumerate() {
            self.set(state.value, Place::start(Buffer::State(s)));
        }
        for (i, output) in layer.outputs.iter().enumerate() {
            if self.places[output.value.at()].is_none() {
                self.set(output.value, Place::start(Buffer::Output(i)));
            }
        }
    }

    fn value(&self, e: usize) -> ValueId {
        self.instance.layer.equations[e].value
    }

    /// Gives rows to what one phase defines and another reads; returns how many steps a tile has.
    fn rows(&mut self, split: &Split) -> usize {
        let mut phases: Vec<&[usize]> = split.input.iter().map(Part::equations).collect();
        phases.extend(split.regions.iter().map(|draft| &draft.equations[..]));
        phases.push(&split.steps);
        phases.extend(split.output.iter().map(Part::equations));
        let mut rows = Vec::new();
        for (p, phase) in phases.iter().enumerate() {
            for &e in *phase {
                let value = self.value(e);
                let elsewhere = phases.iter().enumerate().any(|(q, other)| {
                    q != p && other.iter().any(|&e| self.instance.layer.equations[e].body.reads().contains(&value))
                });
                if elsewhere && self.places[value.at()].is_none() {
                    rows.push(value);
                }
            }
        }
        let planes = |v: ValueId| if self.instance.layer.value(v).ty.scalar() == Scalar::Complex { 2 } else { 1 };
        let bytes = |v: ValueId| place::plane_bytes(self.instance, v, self.target.bits);
        let row: usize = rows.iter().map(|&v| bytes(v) * planes(v)).sum();
        let layer = &self.instance.layer;
        let given = layer.inputs.iter().copied().chain(layer.outputs.iter().map(|output| output.value));
        let far = given.filter(|&v| bytes(v) >= self.machine.page).count();
        let tile = match self.instance.filled() {
            _ if self.form == Form::Step => 1,
            Some(_) => self.machine.long_tile(row),
            None => self.machine.tile(row, far),
        };
        for value in rows {
            let (row, planes) = (self.machine.stride(bytes_of(self, value)), planes_of(self, value));
            let plane = row * tile;
            let place = Place { offset: self.memory.scratch, plane, row, ..Place::start(Buffer::Scratch) };
            self.memory.scratch += plane * planes;
            self.set(value, place);
        }
        tile
    }

    /// The nests of equations, and the copies of what they define to all outputs but the first. What only they read lies in
    /// memory that no other range of steps uses if they are `apart`.
    fn nests(&mut self, equations: &[usize], apart: bool) -> Vec<Nest> {
        let mut nests = Vec::new();
        for &e in equations {
            let Equation { value, indices, body, .. } = self.instance.layer.equations[e].clone();
            let target = match self.places[value.at()] {
                Some(place) => place,
                None => {
                    let (buffer, memory) = match apart {
                        true => (Buffer::Local, &mut self.memory.local),
                        false => (Buffer::Scratch, &mut self.memory.scratch),
                    };
                    let place = Place { buffer, ..place::single(self.instance, value, self.target, memory) };
                    self.set(value, place);
                    place
                }
            };
            let mut body = body;
            place::forget_spans(&mut body);
            nests.push(lanes::nest(self.instance, self.target, value, target, indices, body));
            for to in self.outputs(value).into_iter().filter(|to| *to != target) {
                nests.extend(place::copy(self.instance, self.target, value, to));
            }
        }
        self.packer.align(self.instance, &mut self.places, &mut nests);
        nests
    }

    fn part(&mut self, part: &Part) -> Option<Phase> {
        match part {
            Part::Steps(equations) => {
                let apart = self.form == Form::Sequence && equations.iter().all(|&e| self.is_apart(e));
                let body = self.nests(equations, apart);
                (!body.is_empty()).then_some(Phase::Steps(Steps { body, apart, ..Steps::default() }))
            }
            Part::Contraction(draft) => Some(self.contraction(draft)),
        }
    }

    /// Whether a step of this equation, which no state reaches, neither reads nor writes what is not its own.
    fn is_apart(&self, e: usize) -> bool {
        let layer = &self.instance.layer;
        let Equation { value, body, .. } = &layer.equations[e];
        let mut alone = layer.value(*value).kind != ValueKind::Delay && !self.reports.contains(value);
        body.walk(&mut |e| alone &= !matches!(e.kind, ExprKind::Past { .. } | ExprKind::Solve { .. }));
        alone
    }

    /// A long sum, for one block of lanes after the other.
    fn contraction(&mut self, draft: &Draft) -> Phase {
        let layer = &self.instance.layer;
        let equation = &layer.equations[draft.equations[0]];
        let index = draft.batches[0].index(layer, equation).expect("a contraction has an index on the lanes");
        let mut given: Vec<ValueId> = draft.equations.iter().flat_map(|&e| layer.equations[e].body.reads()).collect();
        given.sort_unstable();
        given.dedup();
        given.retain(|v| layer.value(*v).kind == ValueKind::Param || self.packer.places.contains_key(v));
        let others: Vec<IndexId> = draft.batches[1..].iter().filter_map(|b| b.index(layer, equation)).collect();
        let planes = if equation.body.ty == Scalar::Complex { 2 } else { 1 };
        let like = |this: &mut Self, i: IndexId| {
            let (name, extent) = (this.instance.layer.index(i).name.clone(), this.instance.extents[i.at()]);
            new_index(this.instance, &name, extent)
        };
        let outer = others.into_iter().map(|i| like(self, i)).collect();
        let lane = like(self, index);
        let bytes: usize = given.iter().map(|&v| bytes_of(self, v) * planes_of(self, v)).sum();
        let sums = if self.instance.filled().is_some() { planes } else { planes * draft.equations.len() };
        let parts = self.machine.wide(self.target, self.instance.extents[lane.at()], sums, bytes);
        // Each range of steps reads all parameters, a range of blocks only its own.
        let mut region = self.build(draft, &[], Vec::new(), outer, lane, parts);
        region.apart = self.form == Form::Sequence && bytes <= self.machine.far;
        Phase::Region(region)
    }

    /// Inputs and parameters that are returned.
    fn given_nests(&mut self) -> Vec<Nest> {
        let mut nests = Vec::new();
        for (i, output) in self.instance.layer.outputs.clone().into_iter().enumerate() {
            let kind = self.instance.layer.value(output.value).kind;
            if matches!(kind, ValueKind::Param | ValueKind::Input) {
                let to = Place::start(Buffer::Output(i));
                nests.extend(place::copy(self.instance, self.target, output.value, to));
            }
        }
        nests
    }

    fn outputs(&self, value: ValueId) -> Vec<Place> {
        let outputs = self.instance.layer.outputs.iter().enumerate();
        outputs.filter(|(_, o)| o.value == value).map(|(i, _)| Place::start(Buffer::Output(i))).collect()
    }

    /// The part of the recurrence that runs step by step: its states lie where they came from.
    fn recurrent_nests(&mut self, equations: &[usize]) -> Vec<Nest> {
        let layer = self.instance.layer.clone();
        let mut nests = Vec::new();
        let mut states: Vec<usize> = Vec::new();
        for &e in equations {
            if let ValueKind::Next(s) = layer.value(self.value(e)).kind
                && !states.contains(&s.at())
            {
                states.push(s.at());
            }
        }
        for &s in &states {
            for to in self.outputs(layer.states[s].value) {
                nests.extend(place::copy(self.instance, self.target, layer.states[s].value, to));
            }
        }
        nests.extend(self.nests(equations, false));
        for &s in &states {
            let home = Place::start(Buffer::State(s));
            nests.extend(place::copy(self.instance, self.target, layer.states[s].next, home));
        }
        nests
    }

    fn region(&mut self, draft: &Draft) -> Phase {
        let layer = self.instance.layer.clone();
        let lane = &draft.batches[draft.lane];
        let axis =
            |batch: &Batch, s: usize| batch.axis(&layer, layer.states[s].value).expect("states have all indices");
        let shape = |s: usize| layer.states[s].value;
        let first = shape(draft.states[0]);
        let extent = self.instance.axes[first.at()][axis(lane, draft.states[0])];
        let per_lane = |s: usize| {
            let batch: usize = draft.batches.iter().map(|b| self.instance.axes[shape(s).at()][axis(b, s)]).product();
            let planes = if layer.value(shape(s)).ty.scalar() == Scalar::Complex { 2 } else { 1 };
            self.instance.elements(shape(s)) / batch.max(1) * planes
        };
        let state = draft.states.iter().map(|&s| per_lane(s)).sum();
        let row = draft.states.iter().map(|&s| bytes_of(self, shape(s)) * planes_of(self, shape(s))).sum();
        let parts = self.machine.parts(self.target, extent, state, row, self.instance.one_thread);
        let mut states = Vec::new();
        for &s in &draft.states {
            let (before, after) = (layer.states[s].value, layer.states[s].next);
            if before == after {
                continue;
            }
            let home = self.home(s, before, axis(lane, s), parts);
            states.push(StateOf { before, after, home });
        }
        let name = |i: IndexId| layer.index(i).name.clone();
        let equation = draft.equations.iter().map(|&e| &layer.equations[e]).find(|e| e.value == states[0].after);
        let named = |batch: &Batch| equation.and_then(|e| batch.index(&layer, e)).map_or("i".to_owned(), name);
        let mut outer = Vec::new();
        for (b, batch) in draft.batches.iter().enumerate() {
            if b != draft.lane {
                let extent = self.instance.axes[first.at()][axis(batch, draft.states[0])];
                outer.push(new_index(self.instance, &named(batch), extent));
            }
        }
        let lane = new_index(self.instance, &named(lane), extent);
        // States as they were before the step, where they are returned.
        let mut early = Vec::new();
        for &s in &draft.states {
            let value = layer.states[s].value;
            let outputs = self.outputs(value);
            if !outputs.is_empty() {
                let shape = self.instance.axes[value.at()].clone();
                let indices: Vec<IndexId> = shape.iter().map(|&n| new_index(self.instance, "i", n)).collect();
                let ty = layer.value(value).ty.scalar();
                let copy = pack::new_value(self.instance, &mut self.places, "before", &indices, ty);
                early.push((copy, value, outputs));
            }
        }
        Phase::Region(self.build(draft, &states, early, outer, lane, parts))
    }

    fn build(
        &mut self,
        draft: &Draft,
        states: &[StateOf],
        early: Vec<(ValueId, ValueId, Vec<Place>)>,
        outer: Vec<IndexId>,
        lane: IndexId,
        parts: usize,
    ) -> Region {
        self.places.resize(self.instance.layer.values.len(), None);
        let rows: Vec<Option<Place>> = self.places.clone();
        let outputs = self.instance.layer.outputs.clone();
        let stores = move |value: ValueId| {
            let returned = outputs.iter().enumerate().filter(|(_, o)| o.value == value);
            let mut stores: Vec<Place> = returned.map(|(i, _)| Place::start(Buffer::Output(i))).collect();
            let own = rows.get(value.at()).copied().flatten();
            stores.extend(own.filter(|place| place.row > 0 && place.buffer == Buffer::Scratch));
            stores
        };
        let mut builder = Builder {
            instance: self.instance,
            target: self.target,
            machine: self.machine,
            places: &mut self.places,
            local: &mut self.memory.local,
            packer: self.packer,
            outer,
            lane,
            parts,
        };
        let mut region = builder.build(draft, states, &stores, early);
        match self.form {
            Form::Step => region.together = 1,
            Form::Sequence => pipeline(&mut region, states, self.instance, self.target, &self.machine),
        }
        region
    }

    /// Where a state lies between the tiles of a sequence: in its own buffer, where its lanes are contiguous in there.
    fn home(&mut self, s: usize, before: ValueId, axis: usize, parts: usize) -> Place {
        let shape = self.instance.axes[before.at()].clone();
        if axis + 1 == shape.len() {
            return Place::start(Buffer::State(s));
        }
        let layout = Layout::Blocked { axis, block: parts * self.target.width };
        let ty = self.instance.layer.value(before).ty.scalar();
        let bytes = super::element_bytes(ty, self.target.bits);
        let plane = (layout.size(&shape) * bytes).next_multiple_of(self.machine.line);
        let place = Place { buffer: Buffer::Home, offset: self.memory.home, plane, row: 0, layout };
        self.memory.home += if ty == Scalar::Complex { 2 * plane } else { plane };
        self.set(before, place);
        let indices: Vec<IndexId> = shape.iter().map(|&n| new_index(self.instance, "i", n)).collect();
        let carry = pack::new_value(self.instance, &mut self.places, "carry", &indices, ty);
        self.set(carry, Place::start(Buffer::State(s)));
        let target = Place::start(Buffer::State(s));
        self.begin.push(Phase::Region(pack::copied(self.instance, carry, before, place, axis, parts)));
        self.end.push(Phase::Region(pack::copied(self.instance, before, carry, target, axis, parts)));
        place
    }
}

fn bytes_of(tiling: &Tiling<'_>, value: ValueId) -> usize {
    place::plane_bytes(tiling.instance, value, tiling.target.bits)
}

fn planes_of(tiling: &Tiling<'_>, value: ValueId) -> usize {
    if tiling.instance.layer.value(value).ty.scalar() == Scalar::Complex { 2 } else { 1 }
}
