//! Copies in the layout in which a region's lanes are contiguous: of parameters in the prologue, of states before the
//! first tile and after the last one. And copies of parameters that begin at a cache line, for nests: a vector that lies on
//! two lines is read twice.

use std::collections::HashMap;

use ssmc_runtime::kernel::Buffer;

use super::region::new_index;
use super::shape::mentions;
use super::{Fused, Item, Layout, Nest, Phase, Place, Region, Statement, Steps, Target, cost, element_bytes, lanes};
use crate::diag::Span;
use crate::ir::{Expr, ExprKind, Extent, IndexId, Instance, Scalar, Type, Value, ValueId, ValueKind};

/// Makes packed copies of parameters, and of what the prologue derives from them.
pub struct Packer {
    /// What it is planned for.
    pub target: Target,
    /// How many bytes the prologue writes.
    pub bytes: usize,
    /// Where the values that the prologue makes lie.
    pub places: HashMap<ValueId, Place>,
    /// What the prologue runs.
    pub phases: Vec<Phase>,
    copies: HashMap<(ValueId, usize, usize), ValueId>,
    aligned: HashMap<ValueId, ValueId>,
}

/// A new definition with the axes of these indices.
pub fn new_value(
    instance: &mut Instance,
    places: &mut Vec<Option<Place>>,
    name: &str,
    axes: &[IndexId],
    ty: Scalar,
) -> ValueId {
    let shape = axes.iter().map(|i| instance.extents[i.at()]).collect();
    new_value_of(instance, places, name, shape, ty)
}

fn new_value_of(
    instance: &mut Instance,
    places: &mut Vec<Option<Place>>,
    name: &str,
    shape: Vec<usize>,
    ty: Scalar,
) -> ValueId {
    let id = ValueId(instance.layer.values.len() as u32);
    let ty = match ty {
        Scalar::Bool => Type::Bool,
        Scalar::Int => Type::Int,
        Scalar::Real => Type::Real,
        Scalar::Complex => Type::Complex,
    };
    let axes = shape.iter().map(|&n| Extent::Lit(n as i64)).collect();
    let name = format!("{name}.{}", id.0);
    instance.layer.values.push(Value { name, kind: ValueKind::Let, axes, ty, span: Span::default() });
    instance.axes.push(shape);
    places.resize(instance.layer.values.len(), None);
    id
}

impl Packer {
    /// Nothing yet.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            bytes: 0,
            places: HashMap::new(),
            phases: Vec::new(),
            copies: HashMap::new(),
            aligned: HashMap::new(),
        }
    }

    /// Room for a value in the prologue's memory.
    pub fn room(&mut self, instance: &Instance, value: ValueId, layout: Layout) -> Place {
        let ty = instance.layer.value(value).ty.scalar();
        let size = layout.size(&instance.axes[value.at()]) * element_bytes(ty, self.target.bits);
        let plane = size.next_multiple_of(64);
        let place = Place { buffer: Buffer::Derived, offset: self.bytes, plane, row: 0, layout };
        self.bytes += if ty == Scalar::Complex { 2 * plane } else { plane };
        self.places.insert(value, place);
        place
    }

    /// The copy of a value whose elements along an axis are contiguous in blocks; `None` where they are so already, or
    /// where the value is not one of the prologue.
    pub fn packed(
        &mut self,
        instance: &mut Instance,
        places: &mut Vec<Option<Place>>,
        value: ValueId,
        axis: usize,
        parts: usize,
    ) -> Option<ValueId> {
        let place = places[value.at()]?;
        let (shape, ty) = (instance.axes[value.at()].clone(), instance.layer.value(value).ty.scalar());
        let fixed = matches!(place.buffer, Buffer::Param(_) | Buffer::Derived);
        let real = matches!(ty, Scalar::Real | Scalar::Complex);
        if !fixed || !real || place.layout != Layout::RowMajor || axis + 1 == shape.len() {
            return None;
        }
        let block = parts * self.target.width;
        if let Some(&copy) = self.copies.get(&(value, axis, block)) {
            places.resize(instance.layer.values.len(), None);
            places[copy.at()] = Some(self.places[&copy]);
            return Some(copy);
        }
        let copy = new_value_of(instance, places, "packed", shape, ty);
        let place = self.room(instance, copy, Layout::Blocked { axis, block });
        places[copy.at()] = Some(place);
        let region = copied(instance, value, copy, place, axis, parts);
        self.phases.push(Phase::Region(region));
        self.copies.insert((value, axis, block), copy);
        Some(copy)
    }

    /// Lets nests read parameters from copies that begin at a cache line, where all vectors are within lines then.
    pub fn align(&mut self, instance: &mut Instance, places: &mut Vec<Option<Place>>, nests: &mut [Nest]) {
        for nest in nests.iter_mut().filter(|nest| !matches!(nest.body.kind, ExprKind::Read { .. })) {
            for lanes in nest.lanes.clone() {
                self.align_reads(instance, places, &mut nest.body, lanes.index);
            }
        }
    }

    fn align_reads(&mut self, instance: &mut Instance, places: &mut Vec<Option<Place>>, e: &mut Expr, lane: IndexId) {
        if let ExprKind::Read { value, at } = &mut e.kind {
            let contiguous = |at: &[Expr]| match at.split_last() {
                Some((last, rest)) => last.kind == ExprKind::Index(lane) && !rest.iter().any(|e| mentions(e, &[lane])),
                None => false,
            };
            if contiguous(at)
                && let Some(copy) = self.at_a_line(instance, places, *value)
            {
                *value = copy;
            }
            return;
        }
        for operand in e.operands_mut() {
            self.align_reads(instance, places, operand, lane);
        }
    }

    /// The copy of a parameter that begins at a cache line; `None` where rows do not, or where it is large: its lines
    /// come from far away then.
    fn at_a_line(
        &mut self,
        instance: &mut Instance,
        places: &mut Vec<Option<Place>>,
        value: ValueId,
    ) -> Option<ValueId> {
        let place = places[value.at()]?;
        let (shape, ty) = (instance.axes[value.at()].clone(), instance.layer.value(value).ty.scalar());
        let bytes = instance.elements(value) * element_bytes(ty, self.target.bits);
        let whole = shape.last().is_some_and(|&row| row > 0 && row % self.target.width == 0);
        let real = matches!(ty, Scalar::Real | Scalar::Complex);
        if !matches!(place.buffer, Buffer::Param(_)) || !real || !whole || bytes > cost::Machine::default().far {
            return None;
        }
        if let Some(&copy) = self.aligned.get(&value) {
            places.resize(instance.layer.values.len(), None);
            places[copy.at()] = Some(self.places[&copy]);
            return Some(copy);
        }
        let indices: Vec<IndexId> = (0..shape.len()).map(|n| new_index(instance, &format!("i{n}"), shape[n])).collect();
        let copy = new_value_of(instance, places, "aligned", shape, ty);
        let to = self.room(instance, copy, Layout::RowMajor);
        places[copy.at()] = Some(to);
        let at = indices.iter().map(|&i| Expr { kind: ExprKind::Index(i), ty: Scalar::Int, span: Span::default() });
        let kind = ExprKind::Read { value, at: at.collect() };
        let body = Expr { kind, ty, span: Span::default() };
        let nest = lanes::nest(instance, self.target, copy, to, indices, body);
        self.phases.push(Phase::Steps(Steps { body: vec![nest], ..Steps::default() }));
        self.aligned.insert(value, copy);
        Some(copy)
    }
}

/// A region that copies one value to another, with an axis on the lanes.
pub fn copied(instance: &mut Instance, from: ValueId, to: ValueId, place: Place, axis: usize, parts: usize) -> Region {
    let shape = instance.axes[from.at()].clone();
    let indices: Vec<IndexId> =
        shape.into_iter().enumerate().map(|(n, extent)| new_index(instance, &format!("i{n}"), extent)).collect();
    let at: Vec<Expr> =
        indices.iter().map(|&i| Expr { kind: ExprKind::Index(i), ty: Scalar::Int, span: Span::default() }).collect();
    let ty = instance.layer.value(from).ty.scalar();
    let body = Expr { kind: ExprKind::Read { value: from, at: at.clone() }, ty, span: Span::default() };
    let lane = indices[axis];
    let others: Vec<IndexId> = indices.into_iter().filter(|i| *i != lane).collect();
    let statement = Statement { value: to, at, body, sums: false, stores: vec![place] };
    let item = match others.is_empty() {
        true => Item::One(statement),
        false => Item::Loop(Fused { indices: others, unroll: 1, whole: false, body: vec![statement] }),
    };
    Region {
        outer: Vec::new(),
        lane,
        parts,
        timed: false,
        apart: false,
        together: 1,
        carried: Vec::new(),
        items: vec![item],
        pipelined: None,
        fetches: Vec::new(),
    }
}
