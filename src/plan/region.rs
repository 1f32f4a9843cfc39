//! The statements of a region, and their loops.
//!
//! In: the equations of a region with its batch indices. Out: a [`Region`]. Reductions become statements of their own;
//! a statement joins the first loop of its extents that stands behind all that it reads, so that the loop that
//! updates a state also sums what is read from it. Where a value is read in the same turn of the loop that defines
//! it, or all loops around it are written out, it stays in registers; else it gets memory.
//!
//! Invariants: a statement stands behind what it reads; what is written over a state stands behind all that read it.

use std::collections::HashMap;

use ssmc_runtime::kernel::Buffer;

use super::cost::{self, Machine};
use super::pack::{self, Packer};
use super::place::forget_spans;
use super::shape::{is_guard, substitute};
use super::split::Draft;
use super::{Carried, Fused, Item, Layout, Place, Region, Statement, Target, element_bytes};
use crate::ir::{Expr, ExprKind, Extent, Index, IndexId, Instance, ReduceOp, Scalar, ValueId};

/// Up to how many turns a loop is written out.
const WRITTEN_OUT: usize = 32;

/// What a region is built with.
pub struct Builder<'a> {
    /// The lowered layer; gets indices and values.
    pub instance: &'a mut Instance,
    /// What it is planned for.
    pub target: Target,
    /// The costs.
    pub machine: Machine,
    /// Where values lie; by [`ValueId`].
    pub places: &'a mut Vec<Option<Place>>,
    /// How much local memory is taken.
    pub local: &'a mut usize,
    /// Packs parameters.
    pub packer: &'a mut Packer,
    /// The batch indices, the one on the lanes last.
    pub outer: Vec<IndexId>,
    /// The index on the lanes.
    pub lane: IndexId,
    /// How many vectors a block has.
    pub parts: usize,
}

/// A statement before it has a loop.
struct Piece {
    value: ValueId,
    axes: Vec<IndexId>,
    /// The indices that it loops over itself.
    loops: Vec<IndexId>,
    body: Expr,
    sums: bool,
    stores: Vec<Place>,
    /// The state that it writes over.
    over: Option<ValueId>,
    item: usize,
}

struct Spot {
    extents: Vec<usize>,
    indices: Vec<IndexId>,
    pieces: Vec<usize>,
    whole: bool,
}

/// The states of a region, for [`Builder::build`].
pub struct StateOf {
    /// Its value before the step.
    pub before: ValueId,
    /// Its value after the step.
    pub after: ValueId,
    /// Where it lies between tiles.
    pub home: Place,
}

/// An index as an expression.
pub fn index(i: IndexId) -> Expr {
    Expr { kind: ExprKind::Index(i), ty: Scalar::Int, span: crate::diag::Span::default() }
}

fn planes(ty: Scalar) -> usize {
    if ty == Scalar::Complex { 2 } else { 1 }
}

/// A new index with a name and an extent.
pub fn new_index(instance: &mut Instance, name: &str, extent: usize) -> IndexId {
    let id = IndexId(instance.layer.indices.len() as u32);
    let span = crate::diag::Span::default();
    instance.layer.indices.push(Index { name: name.to_owned(), extent: Extent::Lit(extent as i64), span });
    instance.extents.push(extent);
    id
}

impl Builder<'_> {
    fn extent(&self, i: IndexId) -> usize {
        self.instance.extents[i.at()]
    }

    fn is_batch(&self, i: IndexId) -> bool {
        i == self.lane || self.outer.contains(&i)
    }

    /// Makes the region. `stores` are the places outside of it at which a value is written.
    pub fn build(
        &mut self,
        draft: &Draft,
        states: &[StateOf],
        stores: &dyn Fn(ValueId) -> Vec<Place>,
        early: Vec<(ValueId, ValueId, Vec<Place>)>,
    ) -> Region {
        let mut pieces = self.pieces(draft, stores, early);
        self.write_over(&mut pieces, states);
        let mut spots: Vec<Spot> = Vec::new();
        let (mut defined, mut readers) = (HashMap::new(), HashMap::new());
        for n in 0..pieces.len() {
            self.put(n, &mut pieces, &mut spots, &mut defined, &mut readers, states);
        }
        self.write_out(&mut spots, &pieces);
        let carried = self.carried(states, &spots, &pieces);
        for (n, piece) in pieces.iter().enumerate() {
            // What is written over a state that stays in no register has the state's place.
            let at_home = piece.over.is_some() && !carried.iter().any(|c| Some(c.before) == piece.over);
            if !piece.loops.is_empty()
                && !piece.sums
                && !at_home
                && self.places[piece.value.at()].is_none()
                && self.needs_memory(n, &spots, &pieces)
            {
                let place = self.memory(piece.value, &piece.axes);
                self.places[piece.value.at()] = Some(place);
            }
        }
        for piece in &mut pieces {
            let own = self.places[piece.value.at()].filter(|place| place.buffer == Buffer::Local);
            piece.stores.extend(own);
            if let Some(state) = states.iter().find(|s| piece.over == Some(s.before))
                && !carried.iter().any(|c| c.before == state.before)
            {
                piece.stores.push(state.home);
                self.places[piece.value.at()].get_or_insert(state.home);
            }
            self.pack(&mut piece.body);
        }
        let items = self.items(spots, &mut pieces);
        let together = self.together(draft, &items);
        let (outer, lane, parts) = (self.outer.clone(), self.lane, self.parts);
        Region {
            outer,
            lane,
            parts,
            timed: true,
            apart: false,
            together,
            carried,
            items,
            pipelined: None,
            fetches: Vec::new(),
        }
    }

    /// How many steps can run side by side: as many as have room for their sums in registers.
    fn together(&self, draft: &Draft, items: &[Item]) -> usize {
        let mut sums = 0;
        for item in items {
            let statements = match item {
                Item::One(statement) => std::slice::from_ref(statement),
                Item::Loop(fused) => &fused.body[..],
            };
            for statement in statements {
                let mut alone = self.places[statement.value.at()].is_some_and(|place| place.buffer == Buffer::Local);
                statement.body.walk(&mut |e| alone |= matches!(e.kind, ExprKind::First | ExprKind::Past { .. }));
                if alone {
                    return 1;
                }
                let adds = statement.sums || (matches!(item, Item::Loop(_)) && reduction(&statement.body).is_some());
                sums += if adds { self.parts * planes(statement.body.ty) } else { 0 };
            }
        }
        if draft.states.is_empty() { self.machine.together(self.target, sums) } else { 1 }
    }

    /// The equations as statements, in order.
    fn pieces(
        &mut self,
        draft: &Draft,
        stores: &dyn Fn(ValueId) -> Vec<Place>,
        early: Vec<(ValueId, ValueId, Vec<Place>)>,
    ) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for (value, source, stores) in early {
            pieces.push(self.copy(draft, value, source, stores));
        }
        for &e in &draft.equations {
            let equation = self.instance.layer.equations[e].clone();
            let (mut body, mut axes) = (equation.body.clone(), equation.indices.clone());
            forget_spans(&mut body);
            let batches: Vec<IndexId> = self.outer.iter().copied().chain([self.lane]).collect();
            for (batch, canonical) in ordered(draft).zip(batches) {
                if let Some(axis) = batch.axis(&self.instance.layer, equation.value) {
                    body = substitute(&body, equation.indices[axis], &index(canonical));
                    axes[axis] = canonical;
                }
            }
            let loops: Vec<IndexId> = axes.iter().copied().filter(|i| !self.is_batch(*i)).collect();
            let (value, stores) = (equation.value, stores(equation.value));
            if loops.is_empty() {
                self.part(value, axes, body, stores, &mut pieces);
            } else {
                pieces.push(Piece { value, axes, loops, body, sums: false, stores, over: None, item: 0 });
            }
        }
        pieces
    }

    /// `value[..] = source[..]`, with the axes of the source.
    fn copy(&mut self, draft: &Draft, value: ValueId, source: ValueId, stores: Vec<Place>) -> Piece {
        let batches: Vec<IndexId> = self.outer.iter().copied().chain([self.lane]).collect();
        let shape = self.instance.axes[source.at()].clone();
        let mut axes: Vec<Option<IndexId>> = vec![None; shape.len()];
        for (batch, canonical) in ordered(draft).zip(batches) {
            if let Some(axis) = batch.axis(&self.instance.layer, source) {
                axes[axis] = Some(canonical);
            }
        }
        let axes: Vec<IndexId> = axes
            .into_iter()
            .zip(shape)
            .enumerate()
            .map(|(n, (i, extent))| i.unwrap_or_else(|| new_index(self.instance, &format!("i{n}"), extent)))
            .collect();
        let loops = axes.iter().copied().filter(|i| !self.is_batch(*i)).collect();
        let at = axes.iter().map(|&i| index(i)).collect();
        let ty = self.instance.layer.value(source).ty.scalar();
        let body = Expr { kind: ExprKind::Read { value: source, at }, ty, span: crate::diag::Span::default() };
        Piece { value, axes, loops, body, sums: false, stores, over: None, item: 0 }
    }

    /// A statement without loops of its own; its reductions become statements.
    fn part(&mut self, value: ValueId, axes: Vec<IndexId>, body: Expr, stores: Vec<Place>, to: &mut Vec<Piece>) {
        let (mut body, mut sums) = (body, Vec::new());
        if reduction(&body).is_none() {
            self.take_reductions(&mut body, &axes, &mut sums);
        }
        to.extend(sums);
        to.push(match reduction(&body).cloned() {
            Some(loops) => Piece { value, axes, loops, body, sums: true, stores, over: None, item: 0 },
            None => Piece { value, axes, loops: Vec::new(), body, sums: false, stores, over: None, item: 0 },
        });
    }

    fn take_reductions(&mut self, e: &mut Expr, axes: &[IndexId], sums: &mut Vec<Piece>) {
        if let Some(loops) = reduction(e).cloned() {
            let value = pack::new_value(self.instance, self.places, "sum", axes, e.ty);
            let at = axes.iter().map(|&i| index(i)).collect();
            let read = Expr { kind: ExprKind::Read { value, at }, ty: e.ty, span: e.span };
            let body = std::mem::replace(e, read);
            let axes = axes.to_vec();
            sums.push(Piece { value, axes, loops, body, sums: true, stores: Vec::new(), over: None, item: 0 });
            return;
        }
        match &mut e.kind {
            ExprKind::If(parts) if is_guard(&parts[0]) => {}
            ExprKind::Reduce { .. } | ExprKind::Read { .. } => {}
            _ => e.operands_mut().into_iter().for_each(|operand| self.take_reductions(operand, axes, sums)),
        }
    }

    /// Lets the last version of each state be written over the one before, or copies it there at the end.
    fn write_over(&mut self, pieces: &mut Vec<Piece>, states: &[StateOf]) {
        for state in states {
            let Some(last) = pieces.iter().position(|p| p.value == state.after) else { continue };
            let own = |piece: &Piece| {
                let mut only = true;
                piece.body.walk(&mut |e| {
                    if let ExprKind::Read { value, at } = &e.kind
                        && *value == state.before
                    {
                        only &= at.iter().map(|e| &e.kind).eq(piece
                            .axes
                            .iter()
                            .map(|i| ExprKind::Index(*i))
                            .collect::<Vec<_>>()
                            .iter());
                    }
                });
                only
            };
            let later = pieces[last + 1..].iter().any(|p| p.body.reads().contains(&state.before));
            if !later && own(&pieces[last]) && !pieces[last].sums {
                pieces[last].over = Some(state.before);
                continue;
            }
            let axes = pieces[last].axes.clone();
            let fresh: Vec<IndexId> =
                axes.iter()
                    .map(|&i| {
                        if self.is_batch(i) { i } else { new_index(self.instance, "i", self.instance.extents[i.at()]) }
                    })
                    .collect();
            let ty = pieces[last].body.ty;
            let value = pack::new_value(self.instance, self.places, "next", &fresh, ty);
            let at = fresh.iter().map(|&i| index(i)).collect();
            let kind = ExprKind::Read { value: state.after, at };
            let body = Expr { kind, ty, span: crate::diag::Span::default() };
            let loops = fresh.iter().copied().filter(|i| !self.is_batch(*i)).collect();
            let over = Some(state.before);
            pieces.push(Piece { value, axes: fresh, loops, body, sums: false, stores: Vec::new(), over, item: 0 });
        }
    }

    /// Finds the statement its loop.
    fn put(
        &mut self,
        n: usize,
        pieces: &mut [Piece],
        spots: &mut Vec<Spot>,
        defined: &mut HashMap<ValueId, usize>,
        readers: &mut HashMap<ValueId, Vec<(usize, bool)>>,
        states: &[StateOf],
    ) {
        let mut least = 0;
        let mut old = Vec::new();
        for (value, at) in reads(&pieces[n].body) {
            if let Some(&d) = defined.get(&value) {
                let same = aligned(&at, &pieces[d], &pieces[n].loops);
                let within = same && !pieces[d].loops.is_empty() && !pieces[d].sums;
                least = least.max(pieces[d].item + usize::from(!within));
            }
            if states.iter().any(|state| state.before == value) {
                let rest: Vec<&ExprKind> = at
                    .iter()
                    .map(|e| &e.kind)
                    .filter(|k| !matches!(k, ExprKind::Index(i) if self.is_batch(*i)))
                    .collect();
                let own: Vec<ExprKind> = pieces[n].loops.iter().map(|i| ExprKind::Index(*i)).collect();
                old.push((value, rest.into_iter().eq(own.iter())));
            }
        }
        if let Some(before) = pieces[n].over {
            for &(item, same) in readers.get(&before).map_or(&[][..], |r| r) {
                least = least.max(item + usize::from(!same));
            }
        }
        let extents: Vec<usize> = pieces[n].loops.iter().map(|&i| self.extent(i)).collect();
        let known = (least..spots.len()).find(|&s| !extents.is_empty() && spots[s].extents == extents);
        let spot = known.unwrap_or_else(|| {
            let indices = pieces[n].loops.clone();
            spots.push(Spot { extents, indices, pieces: Vec::new(), whole: false });
            spots.len() - 1
        });
        spots[spot].pieces.push(n);
        for (from, to) in pieces[n].loops.clone().into_iter().zip(spots[spot].indices.clone()) {
            pieces[n].body = substitute(&pieces[n].body, from, &index(to));
            if let ExprKind::Reduce { indices, .. } = &mut pieces[n].body.kind
                && pieces[n].sums
            {
                indices.iter_mut().filter(|i| **i == from).for_each(|i| *i = to);
            }
            pieces[n].axes.iter_mut().filter(|i| **i == from).for_each(|i| *i = to);
        }
        pieces[n].loops = spots[spot].indices.clone();
        pieces[n].item = spot;
        defined.insert(pieces[n].value, n);
        for (value, same) in old {
            readers.entry(value).or_default().push((spot, same));
        }
    }

    /// Decides which loops are written out.
    fn write_out(&mut self, spots: &mut [Spot], pieces: &[Piece]) {
        for spot in spots {
            let turns: usize = spot.extents.iter().product();
            let each = self.operations(spot, pieces);
            spot.whole = turns <= WRITTEN_OUT && turns.saturating_mul(each) <= self.machine.code;
        }
    }

    /// The operations of one turn, for all vectors of a block.
    fn operations(&self, spot: &Spot, pieces: &[Piece]) -> usize {
        let extent = |i: IndexId| self.instance.extents[i.at()];
        let body = |n: &usize| match &pieces[*n].body.kind {
            ExprKind::Reduce { body, .. } if pieces[*n].sums => cost::operations(body, &extent) + 1,
            _ => cost::operations(&pieces[*n].body, &extent),
        };
        spot.pieces.iter().map(body).sum::<usize>() * self.parts
    }

    /// The states that stay in registers over a tile.
    fn carried(&self, states: &[StateOf], spots: &[Spot], pieces: &[Piece]) -> Vec<Carried> {
        let mut vectors = 0;
        let mut carried = Vec::new();
        for state in states {
            let Some(last) = pieces.iter().find(|p| p.value == state.after) else { continue };
            let rest: Vec<IndexId> = last.axes.iter().copied().filter(|i| !self.is_batch(*i)).collect();
            let size: usize = rest.iter().map(|&i| self.extent(i)).product();
            vectors += size * self.parts * planes(last.body.ty);
            let mut sound = rest.is_empty() || (spots[last.item].whole && !last.sums);
            for piece in pieces {
                for (value, at) in reads(&piece.body) {
                    if value == state.before {
                        sound &= self.is_known(&at, piece, spots);
                    }
                }
            }
            if !sound {
                return Vec::new();
            }
            let at = last.axes.iter().map(|&i| index(i)).collect();
            carried.push(Carried { before: state.before, after: state.after, at, rest });
        }
        if self.machine.in_registers(self.target, vectors) { carried } else { Vec::new() }
    }

    /// Whether the place of an element is known when code is made, but for the batch indices.
    fn is_known(&self, at: &[Expr], piece: &Piece, spots: &[Spot]) -> bool {
        at.iter().all(|e| match e.kind {
            ExprKind::Int(_) => true,
            ExprKind::Index(i) => self.is_batch(i) || (piece.loops.contains(&i) && spots[piece.item].whole),
            _ => false,
        })
    }

    /// Whether some statement reads the value when it is in no register any more.
    fn needs_memory(&self, n: usize, spots: &[Spot], pieces: &[Piece]) -> bool {
        let mine = &pieces[n];
        pieces.iter().any(|piece| {
            reads(&piece.body).into_iter().any(|(value, at)| {
                if value != mine.value {
                    return false;
                }
                let turn = piece.item == mine.item && aligned(&at, mine, &piece.loops);
                let known = spots[mine.item].whole && self.is_known(&at, piece, spots);
                !turn && !known
            })
        })
    }

    /// Memory for a value of one block.
    fn memory(&mut self, value: ValueId, axes: &[IndexId]) -> Place {
        let axis = axes.iter().position(|i| *i == self.lane).expect("values of a region have its index");
        let outer = axes.iter().enumerate().filter(|(_, i)| self.outer.contains(i)).fold(0, |m, (a, _)| m | 1 << a);
        let layout = Layout::Local { axis, block: self.parts * self.target.width, outer };
        let ty = self.instance.layer.value(value).ty.scalar();
        let plane = (layout.size(&self.instance.axes[value.at()]) * element_bytes(ty, self.target.bits))
            .next_multiple_of(self.machine.line);
        let place = Place { buffer: Buffer::Local, offset: *self.local, plane, row: 0, layout };
        *self.local += plane * planes(ty);
        place
    }

    /// Reads parameters from a copy in which the lanes are contiguous.
    fn pack(&mut self, e: &mut Expr) {
        if let ExprKind::Read { value, at } = &mut e.kind {
            let lane = ExprKind::Index(self.lane);
            let mut places = at.iter().enumerate().filter(|(_, e)| super::shape::mentions(e, &[self.lane]));
            if let (Some((axis, Expr { kind, .. })), None) = (places.next(), places.next())
                && *kind == lane
                && let Some(packed) = self.packer.packed(self.instance, self.places, *value, axis, self.parts)
            {
                *value = packed;
            }
            return;
        }
        for operand in e.operands_mut() {
            self.pack(operand);
        }
    }

    fn items(&self, spots: Vec<Spot>, pieces: &mut [Piece]) -> Vec<Item> {
        let mut items = Vec::new();
        for spot in spots {
            let each = self.operations(&spot, pieces);
            let mut body: Vec<Statement> = Vec::new();
            for &n in &spot.pieces {
                let piece = &mut pieces[n];
                let nothing = Expr { kind: ExprKind::Bool(false), ty: Scalar::Bool, span: Default::default() };
                body.push(Statement {
                    value: piece.value,
                    at: piece.axes.iter().map(|&i| index(i)).collect(),
                    body: std::mem::replace(&mut piece.body, nothing),
                    sums: piece.sums,
                    stores: std::mem::take(&mut piece.stores),
                });
            }
            items.push(match (spot.indices.is_empty(), body.pop()) {
                (true, Some(statement)) => Item::One(statement),
                (_, last) => {
                    body.extend(last);
                    let turns = spot.extents.last().copied().unwrap_or(1);
                    let inside = body.iter().any(|statement| !statement.sums && reduction(&statement.body).is_some());
                    let unroll = if inside { 1 } else { self.machine.unroll(turns, each) };
                    Item::Loop(Fused { indices: spot.indices, unroll, whole: spot.whole, body })
                }
            });
        }
        items
    }
}

/// The batch indices of a draft, the one on the lanes last.
fn ordered(draft: &Draft) -> impl Iterator<Item = &super::batch::Batch> {
    let others = draft.batches.iter().enumerate().filter(|(b, _)| *b != draft.lane).map(|(_, batch)| batch);
    others.chain([&draft.batches[draft.lane]])
}

/// The indices of a reduction that can run in a shared loop.
pub(super) fn reduction(e: &Expr) -> Option<&Vec<IndexId>> {
    match &e.kind {
        ExprKind::Reduce { op, indices, body } if is_plain_sum(*op, body.ty) && !indices.is_empty() => Some(indices),
        _ => None,
    }
}

/// Whether a reduction can be carried through a loop on vectors.
pub fn is_plain_sum(op: ReduceOp, ty: Scalar) -> bool {
    let plain = matches!(op, ReduceOp::Sum | ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min | ReduceOp::Mean);
    plain && matches!(ty, Scalar::Real | Scalar::Complex)
}

fn reads(e: &Expr) -> Vec<(ValueId, Vec<Expr>)> {
    let mut found = Vec::new();
    e.walk(&mut |e| {
        if let ExprKind::Read { value, at } = &e.kind {
            found.push((*value, at.clone()));
        }
    });
    found
}

/// Whether a read is at the element that `definition` defines in the same turn of a loop over `loops`.
fn aligned(at: &[Expr], definition: &Piece, loops: &[IndexId]) -> bool {
    definition.loops.len() == loops.len()
        && at.iter().zip(&definition.axes).all(|(e, axis)| {
            let own = definition.loops.iter().position(|i| i == axis).map_or(*axis, |n| loops[n]);
            e.kind == ExprKind::Index(own)
        })
}
