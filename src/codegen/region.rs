//! Regions: blocks of lanes, and for each the steps of a tile.
//!
//! The elements that a step defines stay in registers where the plan says so: they are found again by value and place.
//! A place is known where all its indices are those of the region, or of loops that are written out.
//! What a step does in loops stands in [`super::turns`].

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{BlockArg, InstBuilder, Value, types};

use ssmc_runtime::kernel::Buffer;

use super::access::Access;
use super::nest::Range;
use super::value::Val;
use super::{At, Emitter, Lane, Rows};
use crate::ir::{Expr, ExprKind, IndexId, Scalar, ValueId};
use crate::plan::{Carried, Item, Region, Statement};

/// An element of a value, as a key.
pub(super) type Element = (ValueId, Vec<(Option<IndexId>, i64)>);

/// What a region gets from the function around it.
#[derive(Clone, Copy)]
pub(super) struct Call {
    /// The first step of the tile.
    pub(super) tile: Value,
    /// The first step to run, and the one behind the last.
    pub(super) begin: Value,
    pub(super) end: Value,
    pub(super) number: Value,
    /// The first block, and the one behind the last.
    pub(super) blocks: (Value, Value),
}

/// How many bytes ahead the rows of an input are asked for that follow each other.
const STREAM: i32 = 2048;

/// Bytes in a line of the caches.
const LINE: i64 = 64;

impl<'a> Emitter<'a, '_> {
    pub(super) fn region(&mut self, region: &'a Region, call: Call) {
        self.in_region = true;
        self.lanes = &[];
        self.rows.clear();
        self.times.clear();
        self.scoped(|this| match region.outer.split_first() {
            Some((&first, rest)) => {
                let (from, to) = call.blocks;
                let last = this.int(this.extent(first) as i64);
                let to = this.b.ins().smin(to, last);
                this.between(from, to, |this, at| {
                    this.at(first, At { base: Some(at), add: 0 }, |this| this.around(region, rest, call));
                });
            }
            None => this.lane_blocks(region, call, Some(call.blocks)),
        });
        self.in_region = false;
    }

    /// The loops around the blocks of lanes.
    fn around(&mut self, region: &'a Region, outer: &'a [IndexId], call: Call) {
        match outer.split_first() {
            Some((&index, rest)) => {
                let range = Range { from: 0, to: self.extent(index), step: 1 };
                self.each(index, range, Vec::new(), &mut |this, none| {
                    this.around(region, rest, call);
                    none
                });
            }
            None => self.lane_blocks(region, call, None),
        }
    }

    /// A loop over values that are known when the code runs.
    fn between(&mut self, from: Value, to: Value, body: impl FnOnce(&mut Self, Value)) {
        let (header, inner, exit) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let at = self.b.append_block_param(header, types::I64);
        self.b.ins().jump(header, &[from.into()]);
        self.b.switch_to_block(header);
        let more = self.b.ins().icmp(IntCC::SignedLessThan, at, to);
        self.b.ins().brif(more, inner, &[], exit, &[]);
        self.b.switch_to_block(inner);
        self.scoped(|this| body(this, at));
        let next = self.b.ins().iadd_imm_s(at, 1);
        self.b.ins().jump(header, &[next.into()]);
        self.b.switch_to_block(exit);
    }

    /// Blocks of whole vectors, then what is left as one block, in which the last vector may be in use in part.
    fn lane_blocks(&mut self, region: &'a Region, call: Call, blocks: Option<(Value, Value)>) {
        let index = region.lane;
        let (n, block) = (self.extent(index), region.parts * self.width);
        let (whole, rest) = (n / block, n % block);
        let full = Lane { index, parts: region.parts, live: block };
        let left = Lane { index, parts: rest.div_ceil(self.width), live: rest };
        let behind = (whole * block) as i64;
        match blocks {
            Some((from, to)) => {
                if whole > 0 {
                    let last = self.int(whole as i64);
                    let until = self.b.ins().smin(to, last);
                    self.between(from, until, |this, at| {
                        let base = this.scaled(at, block as i64);
                        this.block(region, full, At { base: Some(base), add: 0 }, call);
                    });
                }
                if rest > 0 {
                    let (tail, exit) = (self.b.create_block(), self.b.create_block());
                    let mine = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, to, whole as i64);
                    self.b.ins().brif(mine, tail, &[], exit, &[]);
                    self.b.switch_to_block(tail);
                    let base = self.int(behind);
                    self.block(region, left, At { base: Some(base), add: 0 }, call);
                    self.b.ins().jump(exit, &[]);
                    self.b.switch_to_block(exit);
                }
            }
            None => {
                let range = Range { from: 0, to: whole * block, step: block };
                self.each(index, range, Vec::new(), &mut |this, none| {
                    let at = this.env[&index];
                    this.block(region, full, at, call);
                    none
                });
                if rest > 0 {
                    let base = self.int(behind);
                    self.block(region, left, At { base: Some(base), add: 0 }, call);
                }
            }
        }
    }

    fn block(&mut self, region: &'a Region, lane: Lane, at: At, call: Call) {
        let before = self.lane.replace(lane);
        let known = self.env.get(&region.lane).copied();
        let inside = |this: &mut Self| match region.timed {
            true if region.together > 1 => this.groups_of(region, call),
            true => match &region.pipelined {
                Some(pipelined) => this.pipelined_of(region, pipelined, call),
                None => this.steps_of(region, call),
            },
            false => this.items(&region.items),
        };
        if known.is_some() {
            self.scoped(inside);
        } else {
            self.at(region.lane, at, inside);
        }
        self.lane = before;
    }

    /// The steps of the tile, for one block: as many at a time as run side by side, then what is left one by one.
    fn groups_of(&mut self, region: &'a Region, call: Call) {
        self.prepare_all(region);
        let ahead = self.ahead(region);
        let mut start = call.begin;
        for together in [region.together as i64, 1] {
            self.together = together;
            let (header, body, exit) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
            let time = self.b.append_block_param(header, types::I64);
            self.b.ins().jump(header, &[start.into()]);
            self.b.switch_to_block(header);
            let next = self.b.ins().iadd_imm_s(time, together);
            let more = self.b.ins().icmp(IntCC::SignedLessThanOrEqual, next, call.end);
            self.b.ins().brif(more, body, &[], exit, &[]);
            self.b.switch_to_block(body);
            self.scoped(|this| {
                this.enter(time, call);
                this.each_step(|this| this.touch(region, ahead));
                this.items(&region.items);
            });
            self.times.clear();
            self.b.ins().jump(header, &[next.into()]);
            self.b.switch_to_block(exit);
            start = time;
        }
        self.together = 1;
    }

    /// The steps of the tile, for one block.
    fn steps_of(&mut self, region: &'a Region, call: Call) {
        self.prepare_all(region);
        let ahead = self.ahead(region);
        let mut start = Vec::new();
        for carried in &region.carried {
            for value in self.elements(carried, |this, access, _| this.load_value(access)) {
                start.extend(self.carried_of(&value, true));
            }
        }
        let reverse = self.pass.reverse;
        let (header, exit) = (self.b.create_block(), self.b.create_block());
        let time = self.b.append_block_param(header, types::I64);
        let mut params = Vec::new();
        for &value in &start {
            let ty = self.b.func.dfg.value_type(value);
            params.push(self.b.append_block_param(header, ty));
            self.b.append_block_param(exit, ty);
        }
        let first = if reverse { self.b.ins().iadd_imm_s(call.end, -1) } else { call.begin };
        let arguments: Vec<BlockArg> = [first].iter().chain(&start).map(|&v| v.into()).collect();
        self.b.ins().jump(header, &arguments);
        self.b.switch_to_block(header);
        let results = self.scoped(|this| {
            this.enter(time, call);
            this.touch(region, ahead);
            this.fetch_tile(region);
            let mut values = params.into_iter();
            for carried in &region.carried {
                this.elements(carried, |this, access, element| {
                    let planes = if access.ty == Scalar::Complex { 2 } else { 1 };
                    let flat: Vec<Value> = values.by_ref().take(planes * this.parts()).collect();
                    let value = this.value_of(access.ty, &flat, this.parts(), true);
                    this.registers.insert(element, value.clone());
                    value
                });
            }
            this.items(&region.items);
            let mut results = Vec::new();
            for carried in &region.carried {
                let new = this.elements(carried, |this, _, (_, at)| {
                    let known = this.registers.get(&(carried.after, at)).cloned();
                    known.expect("the step defines all elements of a state in registers")
                });
                for value in new {
                    results.extend(this.carried_of(&value, true));
                }
            }
            results
        });
        self.times.clear();
        let next = self.b.ins().iadd_imm_s(time, if reverse { -1 } else { 1 });
        let more = match reverse {
            true => self.b.ins().icmp(IntCC::SignedGreaterThanOrEqual, next, call.begin),
            false => self.b.ins().icmp(IntCC::SignedLessThan, next, call.end),
        };
        let again: Vec<BlockArg> = [next].iter().chain(&results).map(|&v| v.into()).collect();
        let done: Vec<BlockArg> = results.iter().map(|&v| v.into()).collect();
        self.b.ins().brif(more, header, &again, exit, &done);
        self.b.switch_to_block(exit);
        let mut values = self.b.block_params(exit).to_vec().into_iter();
        for carried in &region.carried {
            self.elements(carried, |this, access, _| {
                let planes = if access.ty == Scalar::Complex { 2 } else { 1 };
                let flat: Vec<Value> = values.by_ref().take(planes * this.parts()).collect();
                let value = this.value_of(access.ty, &flat, this.parts(), true);
                this.write(access, &value);
                value
            });
        }
    }

    /// What depends on the step alone.
    pub(super) fn enter(&mut self, now: Value, call: Call) {
        let mut kinds: Vec<(Rows, i64)> = Vec::new();
        for (v, place) in self.pass.places.iter().enumerate() {
            kinds.extend(place.and_then(|place| self.rows_of(ValueId(v as u32), place)));
        }
        for phase in self.phases {
            for statement in phase.statements() {
                kinds.extend(statement.stores.iter().filter_map(|place| self.rows_of(statement.value, *place)));
            }
        }
        kinds.sort_unstable();
        kinds.dedup();
        let within = self.b.ins().isub(now, call.tile);
        for kind in kinds {
            let count = if kind.0 == Rows::Tile { within } else { now };
            let offset = self.scaled(count, kind.1);
            self.times.insert(kind, offset);
        }
        let step = self.b.ins().iadd(call.number, now);
        self.first = self.b.ins().icmp_imm_s(IntCC::Equal, step, 0);
    }

    /// Computes the parts of addresses that no step changes.
    pub(super) fn prepare_all(&mut self, region: &'a Region) {
        let mut seen: Vec<(ValueId, &'a [Expr])> = Vec::new();
        let items = region.items.iter().map(|item| match item {
            Item::One(statement) => (std::slice::from_ref(statement), &[][..]),
            Item::Loop(fused) => (&fused.body[..], &fused.indices[..]),
        });
        let pipelined = region.pipelined.iter().flat_map(|pipelined| {
            let indices = &pipelined.fused.indices[..];
            [(&pipelined.fused.body[..], indices), (&pipelined.ahead[..], indices)]
        });
        for (statements, loops) in pipelined.chain(items) {
            for statement in statements {
                let mut bound = loops.to_vec();
                let mut reads = Vec::new();
                statement.body.walk(&mut |e| match &e.kind {
                    ExprKind::Read { value, at } => reads.push((e, *value, &at[..])),
                    ExprKind::Reduce { indices, .. } => bound.extend(indices),
                    _ => {}
                });
                for (e, value, at) in reads {
                    if self.pass.places[value.at()].is_none() || seen.contains(&(value, at)) {
                        continue;
                    }
                    seen.push((value, at));
                    if let Some(access) = self.access(e)
                        && !access.bends(&bound)
                        && !access.bends(&[region.lane])
                        && !access.has_rest()
                    {
                        self.prepare(&access, &bound);
                    }
                }
                for access in self.stores_of(statement) {
                    self.prepare(&access, &bound);
                }
            }
        }
    }

    /// How many bytes the next block lies ahead; 0 behind the last one, where it is a load that asks.
    pub(super) fn ahead(&mut self, region: &Region) -> Value {
        let block = region.parts * self.width;
        let count = self.extent(region.lane);
        let size = i64::from(self.real.bytes());
        let ahead = self.int(block as i64 * size);
        if self.can_fetch() {
            // The next element of an index around the blocks begins where the row of this one ends.
            return ahead;
        }
        let at = self.index(region.lane);
        let more = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, at, count as i64 - block as i64);
        let none = self.int(0);
        self.b.ins().select(more, ahead, none)
    }

    /// Asks for an element of the next block of every row that this block uses, so that its cache line is there in time.
    ///
    /// Rows are far apart, so that no processor finds the pattern by itself. What goes past the caches is not to be in them.
    pub(super) fn touch(&mut self, region: &'a Region, ahead: Value) {
        let mut seen = Vec::new();
        let lane = region.lane;
        let mut accesses = Vec::new();
        for item in &region.items {
            let statements = match item {
                Item::One(statement) => std::slice::from_ref(statement),
                Item::Loop(_) => &[],
            };
            for statement in statements {
                accesses.extend(self.stores_of(statement));
            }
            let all = match item {
                Item::One(statement) => std::slice::from_ref(statement),
                Item::Loop(fused) => &fused.body[..],
            };
            for statement in all {
                statement.body.walk(&mut |e| {
                    if let ExprKind::Read { value, at } = &e.kind
                        && self.pass.places[value.at()].is_some()
                        && at.iter().all(|e| matches!(e.kind, ExprKind::Index(i) if self.env.contains_key(&i)))
                        && let Some(access) = self.access(e)
                    {
                        accesses.push(access);
                    }
                });
            }
        }
        let line = (region.parts * self.width) as i64 * i64::from(self.real.bytes());
        let asks = self.can_fetch();
        for access in accesses {
            let row = self.rows_of(access.value, access.place);
            // Where a block is a row, the next rows follow it: they are asked for further ahead than the processor does by itself,
            // and behind the last as well, which nothing but a prefetch may do.
            let follows =
                asks && matches!(access.place.buffer, Buffer::Input(_)) && row == Some((Rows::Sequence, line));
            let far = row.is_some_and(|(_, bytes)| bytes > 256) && !self.goes_past(&access);
            let wanted = (follows || far) && access.step(lane) == 1 && !access.has_rest();
            if !wanted || seen.contains(&access.value) {
                continue;
            }
            seen.push(access.value);
            for imaginary in [false, true].into_iter().take(if access.ty == Scalar::Complex { 2 } else { 1 }) {
                let (address, offset) = self.place(&access, imaginary);
                if follows {
                    self.fetch(address, offset + STREAM);
                } else {
                    let address = self.b.ins().iadd(address, ahead);
                    let lines = if asks { line.div_euclid(LINE).max(1) } else { 1 };
                    (0..lines).for_each(|n| self.fetch(address, offset + (n * LINE) as i32));
                }
            }
        }
    }

    /// Asks for this block's share of rows that phases of the next tile read.
    pub(super) fn fetch_tile(&mut self, region: &'a Region) {
        if region.fetches.is_empty() || !self.can_fetch() {
            return;
        }
        let lanes = region.parts * self.width;
        let across = self.extent(region.lane).div_ceil(lanes);
        let blocks = region.outer.iter().map(|&i| self.extent(i)).product::<usize>() * across;
        for &value in &region.fetches {
            let place = self.pass.places[value.at()].expect("inputs have places");
            let Some((Rows::Sequence, row)) = self.rows_of(value, place) else { continue };
            let size: usize = self.plan.instance.axes[value.at()].iter().product();
            let share = size as i64 * self.bytes(Scalar::Real) / blocks as i64;
            if share < LINE || (across > 1 && share % lanes as i64 != 0) {
                continue;
            }
            let (mut address, start) = self.first(value, place);
            let mut stride = share * across as i64;
            if across > 1 {
                let at = self.index(region.lane);
                let at = self.scaled(at, share / lanes as i64);
                address = self.b.ins().iadd(address, at);
            }
            for &i in region.outer.iter().rev() {
                let at = self.index(i);
                let at = self.scaled(at, stride);
                address = self.b.ins().iadd(address, at);
                stride *= self.extent(i) as i64;
            }
            let offset = start + row * self.pass.tile as i64;
            for line in 0..(share as u64).div_ceil(LINE as u64) as i64 {
                let address = self.plus(address, offset + line * LINE);
                self.fetch(address, 0);
            }
        }
    }

    fn stores_of(&self, statement: &'a Statement) -> Vec<Access<'a>> {
        let access = |place: &'a crate::plan::Place| {
            let key = std::ptr::from_ref(place).cast();
            self.access_at(key, statement.value, *place, statement.body.ty, &statement.at, None)
        };
        statement.stores.iter().map(access).collect()
    }

    /// Visits all elements of a state in registers, in order.
    fn elements(
        &mut self,
        carried: &'a Carried,
        mut visit: impl FnMut(&mut Self, &Access<'a>, Element) -> Val,
    ) -> Vec<Val> {
        let place = self.pass.places[carried.before.at()].expect("states have places");
        let ty = self.plan.instance.layer.value(carried.before).ty.scalar();
        let count: usize = carried.rest.iter().map(|&i| self.extent(i)).product();
        let mut found = Vec::new();
        for n in 0..count {
            let mut left = n;
            for &i in carried.rest.iter().rev() {
                let extent = self.extent(i);
                self.env.insert(i, At { base: None, add: (left % extent) as i64 });
                left /= extent;
            }
            let access = self.access_at(std::ptr::null(), carried.before, place, ty, &carried.at, None);
            let element = (carried.before, self.known_place(&carried.at).expect("all indices are known"));
            found.push(visit(self, &access, element));
        }
        for i in &carried.rest {
            self.env.remove(i);
        }
        found
    }

    pub(super) fn known_place(&self, at: &[Expr]) -> Option<Vec<(Option<IndexId>, i64)>> {
        at.iter()
            .map(|e| match e.kind {
                ExprKind::Int(n) => Some((None, n)),
                ExprKind::Index(i) => match self.env.get(&i) {
                    _ if self.lane.is_some_and(|lane| lane.index == i) => Some((Some(i), 0)),
                    Some(At { base: Some(_), add }) => Some((Some(i), *add)),
                    Some(At { base: None, add }) => Some((None, *add)),
                    // The index of a lane that is worked on by itself.
                    None => None,
                },
                _ => None,
            })
            .collect()
    }

    /// The element that a read is of, where registers may hold it.
    pub(super) fn element_of(&self, e: &Expr) -> Option<Element> {
        if !self.in_region {
            return None;
        }
        let ExprKind::Read { value, at } = &e.kind else { return None };
        let lane = self.picked.map(|(lane, _)| lane);
        let place: Option<Vec<_>> = at
            .iter()
            .map(|e| match e.kind {
                ExprKind::Index(i) if lane == Some(i) => Some((Some(i), 0)),
                _ => self.known_place(std::slice::from_ref(e)).map(|place| place[0]),
            })
            .collect();
        Some(self.element(*value, place?))
    }

    /// The key of an element, which is another one in each of the steps side by side.
    pub(super) fn element(&self, value: ValueId, mut place: Vec<(Option<IndexId>, i64)>) -> Element {
        let varies = || self.pass.places[value.at()].is_none_or(|place| self.rows_of(value, place).is_some());
        if self.later > 0 && varies() {
            place.push((None, self.later));
        }
        (value, place)
    }

    /// Each of the steps side by side.
    pub(super) fn each_step(&mut self, mut body: impl FnMut(&mut Self)) {
        if self.together == 1 {
            return body(self);
        }
        for later in 0..self.together {
            self.later = later;
            let calls = self.calls.len();
            body(self);
            // What another step computes is another value.
            self.calls.truncate(calls);
        }
        self.later = 0;
    }

    /// The step behind this one, or each of those side by side.
    pub(super) fn in_steps(&mut self, ahead: bool, mut body: impl FnMut(&mut Self)) {
        if !ahead {
            return self.each_step(body);
        }
        self.later = 1;
        let calls = std::mem::take(&mut self.calls);
        body(self);
        self.calls = calls;
        self.later = 0;
    }

    /// Whether a known position lies outside of its value.
    pub(super) fn is_outside(&self, (value, place): &Element) -> bool {
        let shape = &self.plan.instance.axes[value.at()];
        place.iter().zip(shape).any(|((index, at), &extent)| index.is_none() && !(0..extent as i64).contains(at))
    }

    pub(super) fn items(&mut self, items: &'a [Item]) {
        for item in items {
            match item {
                Item::One(statement) => self.statement(statement),
                Item::Loop(fused) => self.fused(fused, None),
            }
        }
    }

    pub(super) fn statement(&mut self, statement: &'a Statement) {
        self.each_step(|this| {
            let value = this.emit(&statement.body);
            this.define(statement, value);
        });
    }

    pub(super) fn define(&mut self, statement: &'a Statement, value: Val) {
        for access in self.stores_of(statement) {
            self.write(&access, &value);
        }
        if let Some(place) = self.known_place(&statement.at) {
            self.registers.insert(self.element(statement.value, place), value);
        }
    }

    /// Whether a value differs between lanes.
    pub(super) fn varies(&self, e: &Expr) -> bool {
        self.lane.is_some_and(|lane| crate::plan::shape::mentions(e, &[lane.index]))
    }
}
