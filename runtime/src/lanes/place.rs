//! Where the values of kernels on lanes stand, and rows that move between there and tensors.

use std::ops::Range;

use super::Program;
use crate::addresses::{Planes, all_planes};
use crate::kernel::{Buffer, Kind, Slot, Tensors};
use crate::memory::Memory;
use crate::pass::{Room as PassRoom, Running};
use crate::tensor::Float;
use crate::transpose::transpose;

/// The number of the first step of every stretch. None is the first of its sequence; delays count from it.
pub(super) const NUMBER: u64 = 1;

/// The bytes of a slice's plane.
pub(super) fn bytes<F: Float>(slice: &Tensors) -> usize {
    slice.size() * slice.kind.bytes(F::BITS)
}

pub(super) fn planes(kind: Kind) -> Range<usize> {
    if kind == Kind::Complex { 0..2 } else { 0..1 }
}

/// Memory for rows of slices; it stays where it is as long as this lives.
#[derive(Default)]
pub(super) struct Room(Vec<[Memory; 2]>);

impl Room {
    /// The planes of so many rows.
    pub(super) fn rows<F: Float>(&mut self, slice: &Tensors, rows: usize) -> Planes {
        let bytes = bytes::<F>(slice) * rows;
        let imaginary = if slice.kind == Kind::Complex { bytes } else { 0 };
        let mut planes = [Memory::new(bytes), Memory::new(imaginary)];
        let bases = planes.each_mut().map(Memory::base);
        self.0.push(planes);
        bases
    }
}

/// A program with memory of its own; inputs and outputs may be another's.
pub(super) struct Bench<'a> {
    running: Running<'a>,
    /// Where the pass has the planes of its outputs: slot, output, plane.
    slots: Vec<(usize, usize, usize)>,
    pub(super) states: Vec<Planes>,
    pub(super) rings: Vec<Planes>,
    _room: Room,
    _reports: Memory,
}

impl<'a> Bench<'a> {
    /// Without outputs, somebody has to [`Bench::point`] to some before anything runs.
    pub(super) fn new<F: Float>(program: &Program<'a, F>, rows: usize, inputs: &[Planes], outputs: &[Planes]) -> Self {
        let signature = program.signature;
        let mut room = Room::default();
        let mut own = |slice: &Tensors, rows: usize| room.rows::<F>(slice, rows);
        let states: Vec<Planes> = signature.states.iter().map(|slice| own(slice, 1)).collect();
        let rings: Vec<Planes> = signature.delays.iter().map(|line| own(&line.slice, line.depth + 1)).collect();
        let kept: Vec<Planes> = signature.kept.iter().map(|slice| own(slice, rows)).collect();
        let (params, initial) = (all_planes(&program.bound.params), all_planes(&program.bound.initial));
        let pass = &signature.passes[0];
        // Whatever is reported here happened in a step that is not to be known.
        let mut reports = Memory::new(8 * signature.reports);
        let address = |slot: &Slot| {
            let plane = usize::from(slot.imaginary);
            match slot.buffer {
                Buffer::Param(i) => params[i][plane],
                Buffer::Initial(i) => initial[i][plane],
                Buffer::Input(i) => inputs[i][plane],
                Buffer::Output(i) => outputs.get(i).map_or(std::ptr::null_mut(), |output| output[plane]),
                Buffer::State(i) => states[i][plane],
                Buffer::Delay(i) => rings[i][plane],
                Buffer::Kept(i) => kept[i][plane],
                Buffer::Derived => program.derived.base(),
                Buffer::Report => reports.base(),
                Buffer::Home | Buffer::Scratch | Buffer::Local => unreachable!("a pass has its own"),
            }
        };
        let running = Running::new(pass, program.entries, PassRoom::new(pass, 1), address);
        let output = |(n, slot): (usize, &Slot)| match slot.buffer {
            Buffer::Output(i) => Some((n, i, usize::from(slot.imaginary))),
            _ => None,
        };
        let slots = pass.slots.iter().enumerate().filter_map(output).collect();
        Self { running, slots, states, rings, _room: room, _reports: reports }
    }

    /// Puts the outputs' first rows where that says for an output and a plane.
    pub(super) fn point(&mut self, mut to: impl FnMut(usize, usize) -> *mut u8) {
        for &(slot, output, plane) in &self.slots {
            self.running.point(slot, to(output, plane));
        }
    }

    /// What stands before the first of all rows.
    ///
    /// # Safety
    /// The rows are inside of the inputs and outputs.
    pub(super) unsafe fn begin(&self, all: usize) {
        // SAFETY: the addresses are those of the slots, with room for these rows.
        unsafe { self.running.begin((0, all), NUMBER) };
    }

    /// Runs some rows.
    ///
    /// # Safety
    /// As for [`Bench::begin`].
    pub(super) unsafe fn steps(&self, rows: Range<usize>) {
        // SAFETY: as for `begin`.
        unsafe { self.running.steps((rows.start, rows.end), NUMBER) };
    }

    /// What stands behind the last of all rows.
    ///
    /// # Safety
    /// As for [`Bench::begin`].
    pub(super) unsafe fn end(&self, all: usize) {
        // SAFETY: as for `begin`.
        unsafe { self.running.end((0, all), NUMBER) };
    }

    /// Runs all rows.
    ///
    /// # Safety
    /// As for [`Bench::begin`].
    pub(super) unsafe fn run(&self, all: usize) {
        // SAFETY: as for `begin`.
        unsafe {
            self.begin(all);
            self.steps(0..all);
            self.end(all);
        }
    }
}

/// # Safety
/// Both buffers have these rows of the slice.
pub(super) unsafe fn copy_row<F: Float>(slice: &Tensors, from: &Planes, row: usize, to: &Planes, at: usize) {
    let bytes = bytes::<F>(slice);
    for plane in planes(slice.kind) {
        // SAFETY: as for this function.
        unsafe {
            std::ptr::copy_nonoverlapping(from[plane].add(row * bytes), to[plane].add(at * bytes), bytes);
        }
    }
}

/// Rows, one a stretch, to lanes; `slice` has the lanes.
///
/// # Safety
/// The buffers have as many elements.
pub(super) unsafe fn to_lanes<F: Float>(slice: &Tensors, lanes: usize, from: &Planes, row: usize, to: &Planes) {
    let (size, elements) = (slice.kind.bytes(F::BITS), slice.size() / lanes);
    for plane in planes(slice.kind) {
        // SAFETY: as for this function.
        unsafe {
            transpose(size, from[plane].add(row * elements * size), elements, to[plane], lanes, lanes, elements);
        }
    }
}

/// Lanes to rows, one a stretch; `slice` has the lanes.
///
/// # Safety
/// The buffers have as many elements.
pub(super) unsafe fn from_lanes<F: Float>(slice: &Tensors, lanes: usize, from: &Planes, to: &Planes, row: usize) {
    let (size, elements) = (slice.kind.bytes(F::BITS), slice.size() / lanes);
    for plane in planes(slice.kind) {
        // SAFETY: as for this function.
        unsafe {
            transpose(size, from[plane], lanes, to[plane].add(row * elements * size), elements, elements, lanes);
        }
    }
}

/// Where the value of `j + 1` steps before step `now` stands in a ring.
pub(super) fn ring_row(now: u64, j: usize, depth: usize) -> usize {
    let rows = depth as u64 + 1;
    ((now % rows + rows - (j as u64 + 1)) % rows) as usize
}
