//! Loads and stores.
//!
//! The address of an element is that of its buffer, plus the part of each index, outermost first, plus what is not
//! linear. Before a loop, `Emitter::prepare` computes the part that the loop does not change.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use ssmc_runtime::kernel::{Buffer, Slot};

use super::value::{Parts, Val};
use super::{Address, Emitter, Key, Rows};
use crate::ir::{Expr, ExprKind, IndexId, Scalar, ValueId};
use crate::plan::shape::{Linear, mentions};
use crate::plan::{Layout, Nest, Place, element_bytes};

/// An element of a tensor.
pub(super) struct Access<'e> {
    key: Key,
    pub(super) value: ValueId,
    pub(super) place: Place,
    pub(super) ty: Scalar,
    linear: Linear<'e>,
    /// The index along which lanes are contiguous, where the layout has such an axis.
    contiguous: Option<IndexId>,
    /// How many steps ago; delays only.
    steps: Option<&'e Expr>,
}

impl<'e> Access<'e> {
    /// Whether more than the linear part depends on these indices.
    pub(super) fn bends(&self, indices: &[IndexId]) -> bool {
        self.linear.bends(indices) || self.steps.is_some_and(|steps| mentions(steps, indices))
    }

    /// Whether something in it is not linear.
    pub(super) fn has_rest(&self) -> bool {
        !self.linear.rest.is_empty() || self.steps.is_some()
    }

    /// Whether values decide which element it is.
    fn reads(&self) -> bool {
        self.steps.is_some() || self.linear.rest.iter().any(|(e, _)| !e.reads().is_empty())
    }

    /// How far apart the elements of neighbouring lanes are.
    pub(super) fn step(&self, index: IndexId) -> i64 {
        match self.place.layout {
            Layout::RowMajor => self.linear.factor(index),
            _ => i64::from(self.contiguous == Some(index)),
        }
    }
}

impl<'a> Emitter<'a, '_> {
    /// The access that a read makes; `None` for other expressions, and for values that are in registers only.
    pub(super) fn access<'e>(&self, e: &'e Expr) -> Option<Access<'e>> {
        let (value, at, steps) = match &e.kind {
            ExprKind::Read { value, at } => (*value, at, None),
            ExprKind::Past { delay, at, steps } => (*delay, at, Some(&**steps)),
            _ => return None,
        };
        let place = match self.pass.places[value.at()] {
            Some(place) => place,
            // What stays in registers.
            None if self.in_region => return None,
            None => panic!("codegen: a value without a place is read: {e:?}"),
        };
        Some(self.access_at(e, value, place, e.ty, at, steps))
    }

    /// The access to an element of a value at a place.
    pub(super) fn access_at<'e>(
        &self,
        key: Key,
        value: ValueId,
        place: Place,
        ty: Scalar,
        at: &'e [Expr],
        steps: Option<&'e Expr>,
    ) -> Access<'e> {
        let linear = Linear::with_strides(at, &place.layout.strides(&self.plan.instance.axes[value.at()]));
        let contiguous = match place.layout {
            Layout::RowMajor => None,
            Layout::Blocked { axis, .. } | Layout::Local { axis, .. } => match at[axis].kind {
                ExprKind::Index(i) => Some(i),
                _ => None,
            },
        };
        Access { key, value, place, ty, linear, contiguous, steps }
    }

    /// The access that a nest's target makes.
    pub(super) fn target(&self, nest: &'a Nest) -> Access<'a> {
        self.access_at(std::ptr::null(), nest.value, nest.target, nest.body.ty, &nest.at, None)
    }

    pub(super) fn bytes(&self, ty: Scalar) -> i64 {
        element_bytes(ty, self.plan.target.bits) as i64
    }

    /// How many bytes lie between the rows of two steps, where a place has rows.
    pub(super) fn rows_of(&self, value: ValueId, place: Place) -> Option<(Rows, i64)> {
        let ty = self.plan.instance.layer.value(value).ty.scalar();
        match place.buffer {
            Buffer::Input(_) | Buffer::Output(_) | Buffer::Kept(_) => {
                let size: usize = self.plan.instance.axes[value.at()].iter().product();
                let steps = if matches!(place.buffer, Buffer::Kept(_)) { 1 } else { self.plan.instance.steps };
                Some((Rows::Sequence, (size * steps) as i64 * self.bytes(ty)))
            }
            _ if place.row > 0 => Some((Rows::Tile, place.row as i64)),
            _ => None,
        }
    }

    /// Where a buffer starts, whether that is in this step, and what is to be added.
    pub(super) fn base(&self, place: Place, imaginary: bool) -> (Value, bool, i64) {
        if matches!(place.buffer, Buffer::Home | Buffer::Scratch | Buffer::Local | Buffer::Derived) {
            let plane = if imaginary { place.plane } else { 0 };
            let pointer = self.pointers[&Slot { buffer: place.buffer, imaginary: false }];
            return (pointer, false, (place.offset + plane) as i64);
        }
        let slot = Slot { buffer: place.buffer, imaginary };
        match self.rows.get(&slot) {
            Some(row) => (*row, true, 0),
            None => (self.pointers[&slot], false, 0),
        }
    }

    /// Where a value's first element lies in this step, and what is to be added.
    pub(super) fn first(&mut self, value: ValueId, place: Place) -> (Value, i64) {
        let (base, timed, add) = self.base(place, false);
        let time = self.rows_of(value, place).filter(|_| !timed).and_then(|rows| self.times.get(&rows).copied());
        (time.map_or(base, |time| self.b.ins().iadd(base, time)), add)
    }

    /// Steps side by side share an address but for their rows, unless values decide which element is meant.
    fn address_key(&self, access: &Access<'_>, imaginary: bool) -> (Key, bool, i64) {
        (access.key, imaginary, if access.reads() { self.later } else { 0 })
    }

    /// The address without what these indices change.
    fn address(&mut self, access: &Access<'a>, imaginary: bool, without: &[IndexId]) -> Address {
        let (base, timed, _) = self.base(access.place, imaginary);
        let nothing = Address { value: base, includes: Vec::new(), rest: false, timed };
        let mut address = self.addresses.get(&self.address_key(access, imaginary)).cloned().unwrap_or(nothing);
        let size = self.bytes(access.ty);
        if !address.rest && !access.bends(without) {
            address.rest = true;
            for &(e, by) in &access.linear.rest {
                let at = self.emit(e).scalar();
                let at = self.scaled(at, by * size);
                address.value = self.b.ins().iadd(address.value, at);
            }
            if let Buffer::Delay(d) = access.place.buffer {
                let row = self.row(d, access.steps);
                let bytes = self.plan.signature.delays[d].slice.size() as i64 * size;
                let row = self.scaled(row, bytes);
                address.value = self.b.ins().iadd(address.value, row);
            }
        }
        for i in self.order.clone() {
            let factor = access.linear.factor(i);
            if factor != 0
                && !address.includes.contains(&i)
                && !without.contains(&i)
                && let Some(base) = self.env[&i].base
            {
                let part = self.scaled(base, factor * size);
                address.value = self.b.ins().iadd(address.value, part);
                address.includes.push(i);
            }
        }
        if !address.timed
            && let Some(rows) = self.rows_of(access.value, access.place)
            && let Some(&time) = self.times.get(&rows)
        {
            address.value = self.b.ins().iadd(address.value, time);
            address.timed = true;
        }
        address
    }

    /// The row of a delay that many steps ago.
    fn row(&mut self, delay: usize, steps: Option<&'a Expr>) -> Value {
        let now = self.rings[&delay];
        let Some(steps) = steps else { return now };
        let steps = self.emit(steps).scalar();
        let rows = self.plan.signature.delays[delay].depth as i64 + 1;
        let row = self.b.ins().isub(now, steps);
        let wrapped = self.b.ins().iadd_imm_s(row, rows);
        let below = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, row, 0);
        self.b.ins().select(below, wrapped, row)
    }

    /// Computes, before loops over these indices, what they do not change of the address.
    pub(super) fn prepare(&mut self, access: &Access<'a>, loops: &[IndexId]) {
        let planes = if access.ty == Scalar::Complex { 2 } else { 1 };
        for imaginary in [false, true].into_iter().take(planes) {
            let address = self.address(access, imaginary, loops);
            self.addresses.insert(self.address_key(access, imaginary), address);
        }
    }

    /// The address and the constant that is to be added.
    pub(super) fn place(&mut self, access: &Access<'a>, imaginary: bool) -> (Value, i32) {
        let address = self.address(access, imaginary, &[]).value;
        let (_, _, start) = self.base(access.place, imaginary);
        let add = |i: IndexId| self.env.get(&i).map_or(0, |at| at.add);
        let inner = access.contiguous.map_or(0, add);
        let others = access.linear.factors.iter().filter(|(i, _)| access.contiguous != Some(*i));
        let known = inner + others.map(|(i, factor)| factor * add(*i)).sum::<i64>();
        let time = match self.later {
            0 => 0,
            later => later * self.rows_of(access.value, access.place).map_or(0, |(_, bytes)| bytes),
        };
        let offset = start + time + (access.linear.offset + known) * self.bytes(access.ty);
        match i32::try_from(offset) {
            // Room for the vectors that follow.
            Ok(small) if small.unsigned_abs() < 1 << 30 => (address, small),
            _ => (self.plus(address, offset), 0),
        }
    }

    pub(super) fn read(&mut self, e: &'a Expr) -> Val {
        let element = self.element_of(e);
        if let Some(known) = element.as_ref().and_then(|element| self.registers.get(element).cloned()) {
            return match self.picked {
                Some((_, lane)) => self.picked_of(&known, lane),
                None => known,
            };
        }
        let Some(access) = self.access(e) else {
            // A written-out loop reaches behind the last element where a condition guards the read: nothing uses it.
            let outside = element.is_some_and(|element| self.is_outside(&element));
            assert!(outside, "codegen: a value that is not there yet is read: {e:?}\n{}", self.plan);
            return self.nothing(e.ty);
        };
        if let Some(lane) = self.lane
            && access.bends(&[lane.index])
        {
            return self.lane_by_lane(e);
        }
        let value = self.load_value(&access);
        if let Some(element) = element
            && self.picked.is_none()
        {
            self.registers.insert(element, value.clone());
        }
        value
    }

    fn nothing(&mut self, ty: Scalar) -> Val {
        let zero = match ty {
            Scalar::Real | Scalar::Complex => self.float(0.0),
            Scalar::Int => self.int(0),
            Scalar::Bool => self.b.ins().iconst(types::I8, 0),
        };
        let im = (ty == Scalar::Complex).then_some(Parts::One(zero));
        Val { ty, re: Parts::One(zero), im }
    }

    pub(super) fn load_value(&mut self, access: &Access<'a>) -> Val {
        let re = self.load(access, false);
        let im = (access.ty == Scalar::Complex).then(|| self.load(access, true));
        Val { ty: access.ty, re, im }
    }

    fn load(&mut self, access: &Access<'a>, imaginary: bool) -> Parts {
        let (address, offset) = self.place(access, imaginary);
        let size = self.bytes(access.ty);
        let step = self.lane.map_or(0, |lane| access.step(lane.index));
        let float = matches!(access.ty, Scalar::Real | Scalar::Complex);
        let buffer = access.place.buffer;
        let (parts, width) = (self.parts(), self.width);
        let live = self.lane.map_or(width, |lane| lane.live);
        match step {
            0 => Parts::One(self.load_one(access.ty, buffer, address, offset)),
            1 if float => {
                let flags = self.flags(buffer, false);
                let mut vectors = Vec::new();
                for part in 0..parts {
                    let at = offset + (part * width) as i32 * size as i32;
                    if (part + 1) * width <= live || access.place.layout.is_padded() {
                        vectors.push(self.b.ins().load(self.vector, flags, address, at));
                        continue;
                    }
                    let each = (0..live - part * width)
                        .map(|n| self.load_one(access.ty, buffer, address, at + n as i32 * size as i32))
                        .collect();
                    vectors.extend(self.vectors_of(each));
                }
                Parts::Each(vectors)
            }
            step => {
                let mut each: Vec<Value> = (0..live as i64)
                    .map(|n| {
                        let (at, add) = self.beside(address, offset, n * step * size);
                        self.load_one(access.ty, buffer, at, add)
                    })
                    .collect();
                if !float {
                    each.resize(parts * width, each[0]);
                }
                self.gathered(access.ty, each)
            }
        }
    }

    fn beside(&mut self, address: Value, offset: i32, by: i64) -> (Value, i32) {
        match i32::try_from(by).ok().and_then(|by| offset.checked_add(by)) {
            Some(offset) => (address, offset),
            None => (self.plus(address, by), offset),
        }
    }

    pub(super) fn load_one(&mut self, ty: Scalar, buffer: Buffer, address: Value, offset: i32) -> Value {
        let flags = self.flags(buffer, true);
        match ty {
            Scalar::Real | Scalar::Complex => self.b.ins().load(self.real, flags, address, offset),
            Scalar::Int => self.b.ins().sload32(flags, address, offset),
            Scalar::Bool => self.b.ins().load(types::I8, flags, address, offset),
        }
    }

    pub(super) fn store_one(&mut self, ty: Scalar, buffer: Buffer, value: Value, address: Value, offset: i32) {
        let flags = self.flags(buffer, true);
        let value = if ty == Scalar::Int { self.b.ins().ireduce(types::I32, value) } else { value };
        self.b.ins().store(flags, value, address, offset);
    }

    pub(super) fn write(&mut self, access: &Access<'a>, value: &Val) {
        self.store(access, &value.re, false);
        if let Some(im) = &value.im {
            self.store(access, im, true);
        }
    }

    /// Whether what is written there goes past the caches.
    pub(super) fn goes_past(&self, access: &Access<'_>) -> bool {
        self.past && matches!(access.place.buffer, Buffer::Output(_)) && self.pass.past.contains(&access.value)
    }

    fn store(&mut self, access: &Access<'a>, parts: &Parts, imaginary: bool) {
        let (address, offset) = self.place(access, imaginary);
        let buffer = access.place.buffer;
        let size = self.bytes(access.ty);
        let Some(lane) = self.lane else {
            let Parts::One(value) = parts else { panic!("codegen: vectors outside of lanes") };
            self.store_one(access.ty, buffer, *value, address, offset);
            return;
        };
        let vectors = self.spread(parts);
        let step = access.step(lane.index);
        let mut left = 0;
        if step == 1 {
            let flags = self.flags(buffer, false);
            let past = self.goes_past(access);
            while left < vectors.len() && ((left + 1) * self.width <= lane.live || access.place.layout.is_padded()) {
                let at = offset + (left * self.width) as i32 * size as i32;
                if !(past && self.stream(vectors[left], address, at)) {
                    self.b.ins().store(flags, vectors[left], address, at);
                }
                left += 1;
            }
        }
        let vectors = Parts::Each(vectors);
        for n in left * self.width..lane.live {
            let value = self.pick(access.ty, &vectors, n);
            let (at, add) = self.beside(address, offset, n as i64 * step * size);
            self.store_one(access.ty, buffer, value, at, add);
        }
    }
}
