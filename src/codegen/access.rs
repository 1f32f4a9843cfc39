//! Loads and stores.
//!
//! The address of an element is that of its buffer, plus the part of each index, outermost first, plus what is not
//! linear. Before a loop, `Emitter::prepare` computes the part that the loop does not change.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use ssmc_runtime::kernel::{Buffer, Slot};

use super::value::{Parts, Val};
use super::{Address, Emitter, Key};
use crate::ir::{Expr, ExprKind, IndexId, Scalar, ValueId};
use crate::plan::place::plane_bytes;
use crate::plan::shape::{Linear, mentions};
use crate::plan::{Nest, Place, element_bytes};

/// An element of a tensor.
pub(super) struct Access<'e> {
    key: Key,
    value: ValueId,
    place: Place,
    ty: Scalar,
    linear: Linear<'e>,
    /// How many steps ago; delays only.
    steps: Option<&'e Expr>,
}

impl<'e> Access<'e> {
    /// Whether more than the linear part depends on these indices.
    pub(super) fn bends(&self, indices: &[IndexId]) -> bool {
        self.linear.bends(indices) || self.steps.is_some_and(|steps| mentions(steps, indices))
    }
}

impl<'a> Emitter<'a, '_> {
    /// The access that a read makes; `None` for other expressions.
    pub(super) fn access<'e>(&self, e: &'e Expr) -> Option<Access<'e>> {
        let (value, at, steps) = match &e.kind {
            ExprKind::Read { value, at } => (*value, at, None),
            ExprKind::Past { delay, at, steps } => (*delay, at, Some(&**steps)),
            _ => return None,
        };
        let place = self.pass.places[value.at()].expect("what is read has a place");
        let linear = Linear::of_access(at, &self.plan.instance.axes[value.at()]);
        Some(Access { key: e, value, place, ty: e.ty, linear, steps })
    }

    /// The access that a nest's target makes.
    pub(super) fn target(&self, nest: &'a Nest) -> Access<'a> {
        let linear = Linear::of_access(&nest.at, &self.plan.instance.axes[nest.value.at()]);
        let ty = nest.body.ty;
        Access { key: std::ptr::null(), value: nest.value, place: nest.target, ty, linear, steps: None }
    }

    fn bytes(&self, ty: Scalar) -> i64 {
        element_bytes(ty, self.plan.target.bits) as i64
    }

    /// Where a buffer starts in this step, and what is to be added.
    pub(super) fn base(&self, value: ValueId, place: Place, imaginary: bool) -> (Value, i64) {
        if place.buffer == Buffer::Scratch {
            let plane = if imaginary { plane_bytes(&self.plan.instance, value, self.plan.target.bits) } else { 0 };
            return (self.pointers[&Slot { buffer: Buffer::Scratch, imaginary: false }], (place.offset + plane) as i64);
        }
        let slot = Slot { buffer: place.buffer, imaginary };
        (self.rows.get(&slot).copied().unwrap_or_else(|| self.pointers[&slot]), 0)
    }

    /// The address without what these indices change.
    fn address(&mut self, access: &Access<'a>, imaginary: bool, without: &[IndexId]) -> Address {
        let (base, _) = self.base(access.value, access.place, imaginary);
        let nothing = Address { value: base, includes: Vec::new(), rest: false };
        let mut address = self.addresses.get(&(access.key, imaginary)).cloned().unwrap_or(nothing);
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
            if factor != 0 && !address.includes.contains(&i) && !without.contains(&i) {
                let part = self.scaled(self.env[&i], factor * size);
                address.value = self.b.ins().iadd(address.value, part);
                address.includes.push(i);
            }
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
            self.addresses.insert((access.key, imaginary), address);
        }
    }

    /// The address and the constant that is to be added.
    fn place(&mut self, access: &Access<'a>, imaginary: bool) -> (Value, i32) {
        let address = self.address(access, imaginary, &[]).value;
        let (_, start) = self.base(access.value, access.place, imaginary);
        let offset = start + access.linear.offset * self.bytes(access.ty);
        match i32::try_from(offset) {
            // Room for the vectors that follow.
            Ok(small) if small.unsigned_abs() < 1 << 30 => (address, small),
            _ => (self.plus(address, offset), 0),
        }
    }

    pub(super) fn read(&mut self, e: &'a Expr) -> Val {
        let access = self.access(e).expect("only reads are read");
        if let Some(lane) = self.lane
            && access.bends(&[lane.index])
        {
            return self.lane_by_lane(e);
        }
        let re = self.load(&access, false);
        let im = (e.ty == Scalar::Complex).then(|| self.load(&access, true));
        Val { ty: e.ty, re, im }
    }

    fn load(&mut self, access: &Access<'a>, imaginary: bool) -> Parts {
        let (address, offset) = self.place(access, imaginary);
        let size = self.bytes(access.ty);
        let factor = self.lane.map_or(0, |lane| access.linear.factor(lane.index));
        let float = matches!(access.ty, Scalar::Real | Scalar::Complex);
        let buffer = access.place.buffer;
        match factor {
            0 => Parts::One(self.load_one(access.ty, buffer, address, offset)),
            1 if float => {
                let flags = self.flags(buffer, false);
                let step = (size * self.width as i64) as i32;
                let load = |n| self.b.ins().load(self.vector, flags, address, offset + n * step);
                Parts::Each((0..self.lane.map_or(1, |lane| lane.parts) as i32).map(load).collect())
            }
            factor => {
                let count = self.parts() * self.width;
                let each = (0..count as i64)
                    .map(|n| {
                        let (at, add) = self.beside(address, offset, n * factor * size);
                        self.load_one(access.ty, buffer, at, add)
                    })
                    .collect();
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
        let factor = access.linear.factor(lane.index);
        if factor == 1 {
            let flags = self.flags(buffer, false);
            let step = (size * self.width as i64) as i32;
            for (n, vector) in vectors.into_iter().enumerate() {
                self.b.ins().store(flags, vector, address, offset + n as i32 * step);
            }
            return;
        }
        let vectors = Parts::Each(vectors);
        for n in 0..lane.parts * self.width {
            let value = self.pick(access.ty, &vectors, n);
            let (at, add) = self.beside(address, offset, n as i64 * factor * size);
            self.store_one(access.ty, buffer, value, at, add);
        }
    }
}
