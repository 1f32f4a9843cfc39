//! What one thread does with a segment.
//!
//! In: a segment of a sequence, the state after the segment before. Out: the segment's outputs, the state after it.
//! Turn by turn, inputs are packed and the first group is summarised; further groups are summarised from what is packed;
//! then turns are run, and their outputs go back. The next segment's inputs are fetched from memory meanwhile, as many
//! lines for each block that is transposed: in bursts, fetches wait for each other.

use std::ops::Range;

use super::back::Back;
use super::place::{Bench, NUMBER, Room, bytes, copy_row, from_lanes, planes, ring_row, to_lanes};
use super::{Group, Lanes, Recent, Segments, Shared};
use crate::addresses::{Planes, all_planes};
use crate::kernel::Tensors;
use crate::tensor::Float;
use crate::transpose::{Far, LINE, Reach, transpose, transpose_and};

/// The memory of one thread.
pub(super) struct Worker<'a, F> {
    run: &'a Segments<'a, F>,
    shared: &'a Shared<'a>,
    turn: usize,
    packed: Vec<Planes>,
    window: Vec<Planes>,
    /// The delays at the starts of a segment's stretches: `[depth, .., lanes]`.
    before: Vec<Planes>,
    recent: Option<Bench<'a>>,
    /// By state of the layer: a row for the start of each stretch, and one behind the last.
    starts: Vec<Planes>,
    groups: Vec<Scanned<'a, F>>,
    whole: Bench<'a>,
    /// By output, its planes.
    back: Vec<Vec<Back>>,
    reach: Reach,
    _room: Room,
}

/// A group of states, and where its summaries are.
struct Scanned<'a, F> {
    group: &'a Group<'a, F>,
    summary: Bench<'a>,
    /// The neutral summary, for all lanes.
    neutral: Vec<Planes>,
    /// A row for each stretch.
    summaries: Vec<Planes>,
    scan: Bench<'a>,
}

/// How many lines of the cache a turn has in a stretch, of whatever has the fewest bytes in a step: what two calls of a
/// kernel cost is little beside them.
const LINES: usize = 2;

/// How many steps a turn has.
fn turn<F: Float>(plan: &Lanes<'_, F>) -> usize {
    let whole = plan.whole.signature;
    let moved = whole.inputs.iter().chain(&whole.outputs).filter(|slice| slice.kind.bytes(F::BITS) > 1);
    let step = moved.map(|slice| bytes::<F>(slice) / plan.lanes).filter(|&bytes| bytes > 0).min();
    (LINES * LINE.div_ceil(step.unwrap_or(LINE))).clamp(1, plan.steps)
}

/// Steps in turns, of which the first is given; the last has at least a half.
fn turns(first: usize, turn: usize, steps: usize) -> impl Iterator<Item = Range<usize>> {
    let first = first.min(steps);
    let whole = steps - (steps - first) % turn;
    let last = if steps - whole < turn.div_ceil(2) { whole } else { steps };
    let more = (first..last).step_by(turn).map(move |at| at..if at + turn >= last { steps } else { at + turn });
    std::iter::once(0..if first >= last { steps } else { first }).chain(more)
}

impl<'a, F: Float> Worker<'a, F> {
    pub(super) fn new(run: &'a Segments<'a, F>, shared: &'a Shared<'a>) -> Self {
        let plan = run.plan;
        let (lanes, steps, whole) = (plan.lanes, plan.steps, plan.whole.signature);
        let mut room = Room::default();
        let mut own = |slice: &Tensors, rows: usize| room.rows::<F>(slice, rows);
        let packed: Vec<Planes> = whole.inputs.iter().map(|slice| own(slice, steps)).collect();
        let reach = plan.recent.as_ref().map_or(0, |recent| recent.steps);
        let window: Vec<Planes> = whole.inputs.iter().map(|slice| own(slice, reach)).collect();
        let before = whole.delays.iter().map(|line| own(&line.slice, line.depth)).collect();
        let recent = plan.recent.as_ref().map(|recent| Bench::new(&recent.program, reach, &window, &[]));
        let narrow =
            |slice: &Tensors| Tensors { shape: slice.shape[..slice.shape.len() - 1].to_vec(), ..slice.clone() };
        let starts: Vec<Planes> = whole.states.iter().map(|slice| own(&narrow(slice), lanes + 1)).collect();
        let groups = plan.groups.iter().map(|group| {
            let summary = Bench::new(&group.summary, steps, &packed, &[]);
            let parts = &group.summary.signature.states[group.earlier..];
            let neutral: Vec<Planes> = parts.iter().map(|slice| own(slice, 1)).collect();
            for ((slice, from), to) in parts.iter().zip(all_planes(group.neutral)).zip(&neutral) {
                let (size, elements) = (slice.kind.bytes(F::BITS), slice.size() / lanes);
                for plane in planes(slice.kind) {
                    // SAFETY: a neutral value has as many elements as a lane of its part; with a stride of 0 it is that of all.
                    unsafe { transpose(size, from[plane], 0, to[plane], lanes, lanes, elements) };
                }
            }
            let apply = group.apply.signature;
            let summaries: Vec<Planes> = apply.inputs.iter().map(|slice| own(slice, lanes)).collect();
            let after = group.states[group.earlier..].iter().zip(&apply.outputs);
            let after = after.map(|(&s, slice)| starts[s].map(|plane| plane.wrapping_add(bytes::<F>(slice))));
            let scan = Bench::new(&group.apply, lanes, &summaries, &after.collect::<Vec<_>>());
            Scanned { group, summary, neutral, summaries, scan }
        });
        let groups = groups.collect();
        let turn = turn(plan);
        let back = whole
            .outputs
            .iter()
            .map(|slice| planes(slice.kind).map(|_| Back::new::<F>(slice, lanes, steps, turn)).collect::<Vec<_>>());
        let (back, whole) = (back.collect(), Bench::new(&plan.whole, steps, &packed, &[]));
        let reach = Reach::nothing();
        Self { run, shared, turn, packed, window, before, recent, starts, groups, whole, back, reach, _room: room }
    }

    /// The first row of a segment.
    fn row(&self, segment: usize) -> usize {
        self.shared.first + segment * self.run.plan.lanes * self.run.plan.steps
    }

    /// The turns of a segment's run. The first ends where a line of the outputs does, if there is such a step.
    fn turns(&self) -> impl Iterator<Item = Range<usize>> + use<F> {
        let mut lines = self.back.iter().flatten().map(Back::line);
        let line = lines.next().flatten().filter(|line| lines.all(|other| other == Some(*line)));
        let first = line.filter(|&line| line < self.turn).unwrap_or(0) + self.turn;
        turns(first, self.turn, self.run.plan.steps)
    }

    /// Works on one segment.
    ///
    /// # Safety
    /// [`Lanes::check`] has shown that kernels and tensors fit; the segment is inside of the sequence, it is this thread's
    /// alone, and those before it are worked on.
    pub(super) unsafe fn segment(&mut self, segment: usize) {
        let Segments { plan, outputs, moved, past, .. } = self.run;
        self.fetch_next(segment);
        self.reach.pace(moved.0.div_ceil(LINE), moved.0 + moved.1);
        let segment_rows = plan.lanes * plan.steps;
        for ((slice, to), back) in plan.whole.signature.outputs.iter().zip(outputs).zip(&mut self.back) {
            let row = bytes::<F>(slice) / plan.lanes;
            let first = (self.shared.first + segment * segment_rows) * row;
            let ahead = self.shared.workers * segment_rows * row;
            for (back, to) in back.iter_mut().zip(to) {
                back.begin(to.wrapping_add(first), *past, ahead);
            }
        }
        // SAFETY: as for this function; groups are scanned in order.
        unsafe {
            self.look_back(segment);
            for g in 0..self.groups.len() {
                self.summarise(segment, g);
                self.scan(segment, g);
            }
            self.run(segment);
            if segment + 1 == self.shared.segments {
                self.carry_recent();
            }
        }
    }

    /// Reaches for the inputs of this thread's next segment.
    fn fetch_next(&mut self, segment: usize) {
        let (next, segment_rows) = (segment + self.shared.workers, self.run.plan.lanes * self.run.plan.steps);
        self.reach.forget();
        if next >= self.shared.segments {
            return;
        }
        let first = self.row(next);
        for (slice, from) in self.run.plan.whole.signature.inputs.iter().zip(&self.run.inputs) {
            let bytes = bytes::<F>(slice) / self.run.plan.lanes;
            for plane in planes(slice.kind) {
                self.reach.also(from[plane].wrapping_add(first * bytes), segment_rows * bytes);
            }
        }
    }

    /// Finds what delays, and states that only hold what was lately, are before each stretch.
    ///
    /// # Safety
    /// As for [`Worker::segment`].
    unsafe fn look_back(&mut self, segment: usize) {
        let Segments { plan, inputs, .. } = self.run;
        let (Some(bench), Some(Recent { steps: reach, states, .. })) = (&self.recent, &plan.recent) else { return };
        let (lanes, steps, row) = (plan.lanes, plan.steps, self.row(segment));
        for ((slice, from), to) in plan.whole.signature.inputs.iter().zip(inputs).zip(&self.window) {
            let (size, width) = (slice.kind.bytes(F::BITS), slice.size() / lanes);
            // Before the first stretch stands what was carried in.
            let skip = usize::from(segment == 0);
            for plane in planes(slice.kind) {
                let from = from[plane].wrapping_add((row + skip * steps - reach) * width * size);
                let to = to[plane].wrapping_add(skip * size);
                // SAFETY: the rows before a stretch are those of another, which are at least as many.
                unsafe { transpose(size, from, steps * width, to, lanes, lanes - skip, reach * width) };
            }
        }
        // SAFETY: the window has `reach` rows.
        unsafe { bench.run(*reach) };
        for ((n, &state), from) in states.iter().enumerate().zip(&bench.states) {
            let slice = &plan.whole.signature.states[state];
            let to = &self.starts[state];
            let carried = Tensors { shape: vec![slice.size() / lanes], ..slice.clone() };
            // SAFETY: the starts have a row for each lane; the first was carried in.
            unsafe {
                from_lanes::<F>(slice, lanes, from, to, 0);
                if segment == 0 {
                    copy_row::<F>(&carried, &self.shared.recent[n], 0, to, 0);
                }
            }
        }
        let now = NUMBER + *reach as u64;
        for (d, line) in plan.whole.signature.delays.iter().enumerate() {
            let (size, slice) = (line.slice.kind.bytes(F::BITS), line.slice.size());
            for plane in planes(line.slice.kind) {
                let to = self.before[d][plane];
                for j in 0..line.depth {
                    let row = ring_row(now, j, line.depth);
                    let from = bench.rings[d][plane].wrapping_add(row * slice * size);
                    // SAFETY: both rows have a slice.
                    unsafe { std::ptr::copy_nonoverlapping(from, to.add(j * slice * size), slice * size) };
                }
                if segment == 0 {
                    let elements = line.depth * slice / lanes;
                    let from = self.shared.delays[d][plane];
                    // SAFETY: what was carried in becomes the first lane.
                    unsafe { transpose(size, from, elements, to, lanes, 1, elements) };
                }
            }
        }
    }

    /// Fills a bench's delays with what they hold before each stretch.
    ///
    /// # Safety
    /// As for [`Worker::segment`].
    unsafe fn fill(&self, bench: &Bench<'_>) {
        for (d, line) in self.run.plan.whole.signature.delays.iter().enumerate() {
            let bytes = bytes::<F>(&line.slice);
            for plane in planes(line.slice.kind) {
                for j in 0..line.depth {
                    let to = bench.rings[d][plane].wrapping_add(ring_row(NUMBER, j, line.depth) * bytes);
                    // SAFETY: both rows have a slice.
                    unsafe { std::ptr::copy_nonoverlapping(self.before[d][plane].add(j * bytes), to, bytes) };
                }
            }
        }
    }

    /// Brings some steps of the inputs to the lanes.
    ///
    /// # Safety
    /// As for [`Worker::segment`].
    unsafe fn pack(&mut self, segment: usize, turn: Range<usize>) {
        let Segments { plan, inputs, .. } = self.run;
        let (lanes, steps, row) = (plan.lanes, plan.steps, self.row(segment));
        for ((slice, from), to) in plan.whole.signature.inputs.iter().zip(inputs).zip(&self.packed) {
            let (size, width) = (slice.kind.bytes(F::BITS), slice.size() / lanes);
            for plane in planes(slice.kind) {
                let from = from[plane].wrapping_add((row + turn.start) * width * size);
                let to = to[plane].wrapping_add(turn.start * width * lanes * size);
                let (stride, columns) = (steps * width, turn.len() * width);
                // SAFETY: `lanes` stretches of `steps` rows follow in the input; the packed one has as many elements.
                unsafe {
                    transpose_and(size, from, stride, to, lanes, lanes, columns, Far::None, &mut self.reach);
                }
            }
        }
    }

    /// Summarises the stretches of a segment; packs the inputs for the first group.
    ///
    /// # Safety
    /// As for [`Worker::segment`]; earlier groups have been scanned.
    unsafe fn summarise(&mut self, segment: usize, g: usize) {
        let (lanes, steps) = (self.run.plan.lanes, self.run.plan.steps);
        let Scanned { group, summary, neutral, .. } = &self.groups[g];
        let slices = &group.summary.signature.states;
        let earlier = group.earlier;
        // SAFETY: all rows are those of this segment's stretches; what a turn runs is packed.
        unsafe {
            for ((slice, state), to) in slices.iter().zip(group.states).zip(&summary.states[..earlier]) {
                to_lanes::<F>(slice, lanes, &self.starts[*state], 0, to);
            }
            for ((slice, from), to) in slices[earlier..].iter().zip(neutral).zip(&summary.states[earlier..]) {
                copy_row::<F>(slice, from, 0, to, 0);
            }
            self.fill(summary);
            summary.begin(steps);
            for turn in turns(self.turn, self.turn, steps) {
                if g == 0 {
                    self.pack(segment, turn.clone());
                }
                self.groups[g].summary.steps(turn);
            }
            let Scanned { summary, summaries, .. } = &self.groups[g];
            summary.end(steps);
            for ((slice, from), to) in slices[earlier..].iter().zip(&summary.states[earlier..]).zip(summaries) {
                from_lanes::<F>(slice, lanes, from, to, 0);
            }
        }
    }

    /// Finds the starts of a group's states, and what stands behind the last of the segment's stretches.
    ///
    /// # Safety
    /// As for [`Worker::segment`]; the group has been summarised.
    unsafe fn scan(&self, segment: usize, g: usize) {
        let Scanned { group, scan, .. } = &self.groups[g];
        let own = &group.states[group.earlier..];
        let slices = &group.apply.signature.states;
        let states = || slices.iter().zip(own).zip(&scan.states);
        let others = self.shared.workers > 1;
        if others {
            self.shared.turns[g].wait(segment);
        }
        // SAFETY: it is the segment's turn, so that no other thread uses the carry's rows of these states.
        unsafe {
            for ((slice, &s), state) in states() {
                copy_row::<F>(slice, &self.run.states[s], self.shared.sequence, state, 0);
                copy_row::<F>(slice, state, 0, &self.starts[s], 0);
            }
            scan.run(self.run.plan.lanes);
            for ((slice, &s), state) in states() {
                copy_row::<F>(slice, state, 0, &self.run.states[s], self.shared.sequence);
            }
        }
        if others {
            self.shared.turns[g].pass();
        }
    }

    /// Runs the stretches of a segment from their starts.
    ///
    /// # Safety
    /// As for [`Worker::segment`]; all groups have been scanned.
    unsafe fn run(&mut self, segment: usize) {
        let (lanes, steps, whole) = (self.run.plan.lanes, self.run.plan.steps, self.run.plan.whole.signature);
        // SAFETY: all rows are those of this segment's stretches; what a turn runs is packed.
        unsafe {
            for ((slice, starts), state) in whole.states.iter().zip(&self.starts).zip(&self.whole.states) {
                to_lanes::<F>(slice, lanes, starts, 0, state);
            }
            self.fill(&self.whole);
            self.whole.begin(steps);
            for turn in self.turns() {
                if self.groups.is_empty() {
                    self.pack(segment, turn.clone());
                }
                let Self { whole, back, reach, .. } = self;
                whole.point(|output, plane| back[output][plane].rows_before(turn.start));
                whole.steps(turn.clone());
                back.iter_mut().flatten().for_each(|back| back.take(turn.len(), reach));
            }
            self.whole.end(steps);
            let Self { back, reach, .. } = self;
            back.iter_mut().flatten().for_each(|back| back.end(reach));
        }
    }

    /// Takes the delays of the last lane into the carry, and the states that no group has.
    ///
    /// # Safety
    /// As for [`Worker::segment`]; it is the last one, and was run.
    unsafe fn carry_recent(&self) {
        let lanes = self.run.plan.lanes;
        for &s in self.run.plan.recent.iter().flat_map(|recent| recent.states) {
            let slice = &self.run.plan.whole.signature.states[s];
            let (size, elements) = (slice.kind.bytes(F::BITS), slice.size() / lanes);
            for plane in planes(slice.kind) {
                let from = self.whole.states[s][plane].wrapping_add((lanes - 1) * size);
                let to = self.run.states[s][plane].wrapping_add(self.shared.sequence * elements * size);
                // SAFETY: one lane of the state becomes a row of the carry.
                unsafe { transpose(size, from, lanes, to, elements, elements, 1) };
            }
        }
        let now = NUMBER + self.run.plan.steps as u64;
        for (d, line) in self.run.plan.whole.signature.delays.iter().enumerate() {
            let (size, elements) = (line.slice.kind.bytes(F::BITS), line.slice.size() / lanes);
            for plane in planes(line.slice.kind) {
                for j in 0..line.depth {
                    let row = ring_row(now, j, line.depth);
                    let from = self.whole.rings[d][plane].wrapping_add((row * elements * lanes + lanes - 1) * size);
                    let at = (self.shared.sequence * line.depth + j) * elements;
                    let to = self.run.delays[d][plane].wrapping_add(at * size);
                    // SAFETY: one lane of a ring's row becomes a row of the carry.
                    unsafe { transpose(size, from, lanes, to, elements, elements, 1) };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::turns;

    #[test]
    fn turns_follow_each_other_to_the_last_step() {
        let all = |first, turn, steps| turns(first, turn, steps).collect::<Vec<_>>();
        assert_eq!(all(16, 16, 48), [0..16, 16..32, 32..48]);
        assert_eq!(all(28, 16, 80), [0..28, 28..44, 44..60, 60..80]);
        assert_eq!(all(20, 16, 48), [0..20, 20..36, 36..48]);
        for (first, turn) in [(1, 1), (8, 8), (16, 16), (19, 16), (31, 16)] {
            for steps in 1..100 {
                let turns = all(first, turn, steps);
                assert!(turns.windows(2).all(|two| two[0].end == two[1].start), "{turns:?}");
                assert_eq!((turns[0].start, turns[turns.len() - 1].end), (0, steps), "{turns:?}");
                assert!(turns.iter().all(|of| !of.is_empty() && of.len() < first.max(turn) + turn), "{turns:?}");
            }
        }
    }
}
