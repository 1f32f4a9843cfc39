//! Runs of layers in blocks: tile after tile, part after part.

use std::sync::Mutex;

use ssmc_runtime::chunked::{Access, Factor, State, Task, Unit, Workspace, collect};
use ssmc_runtime::{Bound, Carry, Elements, Float, Run, RunError, Sequences, Tensor, check};

use super::{Chunked, Part, Running};
use crate::ir::{Report, ValueId};
use crate::jit::Backend;

/// How many sequences share a tile, where there are so many.
const TOGETHER: usize = 8;

/// The sequences that run together, with what they carry.
struct Batch<'a, F: Float> {
    chunked: &'a Chunked<F>,
    /// What the parts are bound to.
    bounds: Vec<Bound<F>>,
    inputs: &'a [Tensor<F>],
    threads: usize,
    /// The rows of the tensors of the run that each has.
    rows: Vec<std::ops::Range<usize>>,
    /// Of each part.
    carries: Vec<Carry<F>>,
    /// Of each core, by sequence and head.
    units: Vec<Vec<Mutex<Unit<F>>>>,
    /// What each core restarts from, by head; nothing where nothing restarts.
    initial: Vec<Vec<State<F>>>,
    workspaces: Vec<Workspace<F>>,
    /// By value: what the parts of a tile hand on.
    between: Vec<Option<Tensor<F>>>,
}

/// The steps of a tile.
struct Tile {
    lengths: Vec<usize>,
    /// The rows of each sequence in the tile's own tensors.
    own: Sequences,
    /// The first row in the tensors of the run, and in the tile's own.
    starts: [Vec<usize>; 2],
}

impl<F: Float> Chunked<F> {
    /// Outputs for such sequences, all of them 0.
    pub fn blank_outputs(&self, sequences: &Sequences) -> Vec<Tensor<F>> {
        self.signature.blank_outputs(sequences.total())
    }

    /// What has made the code around the products.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Runs all sequences; the carry goes in and comes out.
    ///
    /// `threads` is the number of threads, 0 for all of the machine; results do not depend on it. `progress` is
    /// told, now and then, how many steps are done.
    ///
    /// # Errors
    /// A tensor that does not fit the layer, an integer outside of its range: nothing was computed.
    pub fn run(
        &self,
        bound: &Bound<F>,
        sequences: &Sequences,
        inputs: &[Tensor<F>],
        carry: &mut Carry<F>,
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Tensor<F>>, RunError> {
        self.run_reporting(bound, sequences, inputs, carry, threads, progress).map(|(outputs, _)| outputs)
    }

    /// Runs all sequences, as [`Self::run`] does, and says what is to be said about the data.
    ///
    /// # Errors
    /// As for [`Chunked::run`].
    pub fn run_reporting(
        &self,
        bound: &Bound<F>,
        sequences: &Sequences,
        inputs: &[Tensor<F>],
        carry: &mut Carry<F>,
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(Vec<Tensor<F>>, Vec<Report>), RunError> {
        let mut outputs = self.blank_outputs(sequences);
        let reports = self.run_into(bound, sequences, inputs, &mut outputs, carry, threads, progress)?;
        Ok((outputs, reports))
    }

    /// As [`Chunked::run_reporting`], into outputs that are there.
    ///
    /// # Errors
    /// As for [`Chunked::run`], the outputs included.
    #[allow(clippy::too_many_arguments, reason = "what a run takes")]
    pub fn run_into(
        &self,
        bound: &Bound<F>,
        sequences: &Sequences,
        inputs: &[Tensor<F>],
        outputs: &mut [Tensor<F>],
        carry: &mut Carry<F>,
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Report>, RunError> {
        self.perform(Run { bound, sequences, inputs, outputs, carry, threads, progress })
    }

    /// As [`Chunked::run_into`].
    fn perform(&self, run: Run<'_, F>) -> Result<Vec<Report>, RunError> {
        let inputs = &Tensor::all_widened(run.inputs);
        let run = Run { inputs, ..run };
        check::check(&self.signature, run.bound, run.sequences, inputs, run.carry)?;
        check::check_outputs(&self.signature, run.sequences, run.outputs)?;
        let (mut reports, mut done) = (Vec::new(), 0);
        let mut first = 0;
        while first < run.sequences.count() {
            let members = first..(first + TOGETHER).min(run.sequences.count());
            let mut batch = self.batch(&run, members.clone());
            let longest = batch.rows.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
            // Blocks begin where a sequence does, and at whole blocks from there.
            let steps = (self.rows / members.len()).max(1).next_multiple_of(self.block);
            for start in (0..longest).step_by(steps) {
                let tile = batch.tile(start, steps);
                for mut report in batch.run(&tile, run.outputs)? {
                    report.event.sequence += members.start;
                    if !reports
                        .iter()
                        .any(|known: &Report| known.span == report.span && known.message == report.message)
                    {
                        reports.push(report);
                    }
                }
                done += tile.lengths.iter().sum::<usize>() as u64;
                (run.progress)(done);
            }
            batch.finish(run.carry, members.clone());
            first = members.end;
        }
        Ok(reports)
    }

    fn batch<'a>(&'a self, run: &Run<'a, F>, members: std::ops::Range<usize>) -> Batch<'a, F> {
        let Run { bound, sequences, inputs, ref carry, threads, .. } = *run;
        let rows = |tensor: &Tensor<F>| tensor.rows(members.clone());
        let carry_of = |part: &Option<Part<F>>| {
            let (states, delays) =
                part.as_ref().map_or((&[][..], &[][..]), |p| (&p.stage.states[..], &p.stage.delays[..]));
            Carry {
                steps: carry.steps[members.clone()].to_vec(),
                states: states.iter().map(|&s| rows(&carry.states[s])).collect(),
                delays: delays.iter().map(|&d| rows(&carry.delays[d])).collect(),
            }
        };
        let bound_of = |part: &Option<Part<F>>| {
            let states = part.as_ref().map_or(&[][..], |p| &p.stage.states[..]);
            let params = if part.is_some() { bound.params.clone() } else { Vec::new() };
            Bound { params, initial: states.iter().map(|&s| bound.initial[s].clone()).collect() }
        };
        let units = |core: &Running| {
            let state = reals(&carry.states[core.state]);
            let size = core.heads.len() * core.keys.len() * core.values.len();
            let each = members.clone().flat_map(|s| core.states(&state[s * size..]));
            each.map(|state| Mutex::new(Unit { state, rows: Vec::new() })).collect()
        };
        let initial = |core: &Running| match self.reset {
            Some(_) => core.states(reals(&bound.initial[core.state])).collect(),
            None => Vec::new(),
        };
        Batch {
            chunked: self,
            bounds: self.stages.iter().map(bound_of).collect(),
            inputs,
            threads,
            rows: members.clone().map(|s| sequences.range(s)).collect(),
            carries: self.stages.iter().map(carry_of).collect(),
            units: self.cores.iter().map(units).collect(),
            initial: self.cores.iter().map(initial).collect(),
            workspaces: self.cores.iter().map(|_| Workspace::default()).collect(),
            between: vec![None; self.inputs.len()],
        }
    }
}

impl Running {
    /// The states of all heads, from the elements of a state's tensor.
    fn states<'a, F: Float>(&'a self, elements: &'a [F]) -> impl Iterator<Item = State<F>> + 'a {
        self.heads
            .iter()
            .map(|head| self.program.shape.state(|key, value| elements[head + self.keys[key] + self.values[value]]))
    }
}

impl<F: Float> Batch<'_, F> {
    fn tile(&self, first: usize, steps: usize) -> Tile {
        let lengths: Vec<usize> = self.rows.iter().map(|rows| rows.len().saturating_sub(first).min(steps)).collect();
        let mut offsets = vec![0];
        offsets.extend(lengths.iter().scan(0, |sum, n| {
            *sum += n;
            Some(*sum)
        }));
        let global = self.rows.iter().map(|rows| rows.start + first).collect();
        let local = offsets[..lengths.len()].to_vec();
        Tile { lengths, own: Sequences::packed(offsets).expect("offsets ascend"), starts: [global, local] }
    }

    /// Runs a tile: part 0, the cores of rank 1, part 1, and so on.
    fn run(&mut self, tile: &Tile, outputs: &mut [Tensor<F>]) -> Result<Vec<Report>, RunError> {
        let mut reports = Vec::new();
        for rank in 0..self.chunked.stages.len() {
            let restarts = if rank == 0 { Vec::new() } else { self.restarts(tile) };
            for n in 0..self.chunked.cores.len() {
                if self.chunked.cores[n].rank == rank {
                    self.core(n, tile, &restarts, outputs);
                }
            }
            reports.extend(self.part(rank, tile)?);
        }
        for (output, value) in outputs.iter_mut().zip(&self.chunked.outputs) {
            let Some(from) = value.and_then(|v| self.between[v.at()].as_ref()) else { continue };
            for (s, &n) in tile.lengths.iter().enumerate().filter(|(_, n)| **n > 0) {
                copy_rows(output, tile.starts[0][s], from, tile.starts[1][s], n);
            }
        }
        Ok(reports)
    }

    /// Before which steps of the tile each sequence restarts.
    fn restarts(&self, tile: &Tile) -> Vec<Vec<usize>> {
        let Some(reset) = self.chunked.reset else { return Vec::new() };
        let (tensor, starts) = self.tensor(reset, tile);
        let Elements::Bool(flags) = &tensor.elements else { unreachable!("the condition of a reset is a truth value") };
        let of = |(&start, &n): (&usize, &usize)| (0..n).filter(|t| flags[start + t] != 0).collect();
        starts.iter().zip(&tile.lengths).map(of).collect()
    }

    /// A value for all steps of a tile, with the first row of each sequence.
    fn tensor<'t>(&'t self, value: ValueId, tile: &'t Tile) -> (&'t Tensor<F>, &'t [usize]) {
        // An input may be an output too, of which there is a copy then.
        match self.chunked.inputs[value.at()] {
            Some(input) => (&self.inputs[input], &tile.starts[0]),
            None => {
                let tensor = self.between[value.at()].as_ref();
                (tensor.expect("what is no input was computed before"), &tile.starts[1])
            }
        }
    }

    fn core(&mut self, n: usize, tile: &Tile, restarts: &[Vec<usize>], outputs: &mut [Tensor<F>]) {
        let core = &self.chunked.cores[n];
        let mut factors = Vec::new();
        for (value, access) in &core.factors {
            let (tensor, start) = self.tensor(*value, tile);
            factors.push(Factor { elements: reals(tensor), access, start });
        }
        let task = Task {
            lengths: &tile.lengths,
            factors: &factors,
            restarts,
            initial: &self.initial[n],
            threads: self.threads,
        };
        core.program.run(&task, &self.units[n], &self.workspaces[n]);
        let shape = core.program.shape;
        for (read, found) in core.reads.iter().enumerate() {
            let mut put = |access: &Access, to: &mut [F], starts: &[usize]| {
                collect(shape, read, &tile.lengths, &mut self.units[n], access, to, starts, self.threads);
            };
            for (output, access) in &found.outputs {
                put(access, reals_mut(&mut outputs[*output]), &tile.starts[0]);
            }
            if let Some((row, access)) = &found.row {
                let mut tensor = self.between[found.result.at()].take().unwrap_or_else(|| blank(row));
                lengthen(&mut tensor, tile.own.total());
                put(access, reals_mut(&mut tensor), &tile.starts[1]);
                self.between[found.result.at()] = Some(tensor);
            }
        }
    }

    /// The part behind the cores of a rank.
    fn part(&mut self, rank: usize, tile: &Tile) -> Result<Vec<Report>, RunError> {
        let Some(part) = &self.chunked.stages[rank] else { return Ok(Vec::new()) };
        let mut inputs = Vec::new();
        for &value in &part.stage.layer.inputs {
            // A value that was computed before is lent.
            let tensor = match self.chunked.inputs[value.at()] {
                Some(input) => {
                    let rows = tile.starts[0].iter().zip(&tile.lengths).flat_map(|(&start, &n)| start..start + n);
                    self.inputs[input].rows(rows)
                }
                None => self.between[value.at()].take().expect("what is no input was computed before"),
            };
            inputs.push(tensor);
        }
        let kernel = &part.kernel;
        let mut outputs = Vec::new();
        for (slice, value) in kernel.signature().outputs.iter().zip(&part.outputs) {
            let mut tensor = self.between[value.at()].take().unwrap_or_else(|| slice.zeros(&[0]));
            lengthen(&mut tensor, tile.own.total());
            outputs.push(tensor);
        }
        let (bound, carry) = (&self.bounds[rank], &mut self.carries[rank]);
        let (sequences, threads, progress) = (&tile.own, self.threads, &|_| {});
        let run = Run { bound, sequences, inputs: &inputs, outputs: &mut outputs, carry, threads, progress };
        let result = kernel.perform(run);
        for (&value, tensor) in part.stage.layer.inputs.iter().zip(inputs) {
            if self.chunked.inputs[value.at()].is_none() {
                self.between[value.at()] = Some(tensor);
            }
        }
        for (value, tensor) in part.outputs.iter().zip(outputs) {
            self.between[value.at()] = Some(tensor);
        }
        result
    }

    /// Puts what stands behind the sequences into the carry.
    fn finish(self, carry: &mut Carry<F>, members: std::ops::Range<usize>) {
        for ((part, own), _) in self.chunked.stages.iter().zip(&self.carries).zip(&self.bounds) {
            let Some(part) = part else { continue };
            for (&s, from) in part.stage.states.iter().zip(&own.states) {
                carry.states[s].set_rows(members.clone(), from);
            }
            for (&d, from) in part.stage.delays.iter().zip(&own.delays) {
                carry.delays[d].set_rows(members.clone(), from);
            }
        }
        for (core, units) in self.chunked.cores.iter().zip(self.units) {
            let shape = core.program.shape;
            let size = core.heads.len() * core.keys.len() * core.values.len();
            let to = reals_mut(&mut carry.states[core.state]);
            for (at, unit) in units.into_iter().enumerate() {
                let unit = unit.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
                let (s, head) = (members.start + at / shape.heads, at % shape.heads);
                let to = &mut to[s * size..(s + 1) * size];
                for (key, k) in core.keys.iter().enumerate() {
                    for (value, v) in core.values.iter().enumerate() {
                        to[core.heads[head] + k + v] = shape.element(&unit.state, key, value);
                    }
                }
            }
        }
        for (s, rows) in members.zip(&self.rows) {
            carry.steps[s] += rows.len() as u64;
        }
    }
}

fn reals<F>(tensor: &Tensor<F>) -> &[F] {
    match &tensor.elements {
        Elements::Real(elements) => elements,
        _ => unreachable!("what blocks compute with is real"),
    }
}

fn reals_mut<F>(tensor: &mut Tensor<F>) -> &mut [F] {
    match &mut tensor.elements {
        Elements::Real(elements) => elements,
        _ => unreachable!("what blocks compute with is real"),
    }
}

/// A tensor without rows.
fn blank<F>(row: &[usize]) -> Tensor<F> {
    let shape = [0].iter().chain(row).copied().collect();
    Tensor { shape, elements: Elements::Real(Vec::new()) }
}

/// Gives a tensor that many rows; what is in them is to be written.
fn lengthen<F: Float>(tensor: &mut Tensor<F>, rows: usize) {
    tensor.shape[0] = rows;
    let n = tensor.shape.iter().product();
    match &mut tensor.elements {
        Elements::Real(v) => v.resize(n, F::default()),
        Elements::Complex { re, im } => {
            re.resize(n, F::default());
            im.resize(n, F::default());
        }
        Elements::Int(v) => v.resize(n, 0),
        Elements::Bool(v) | Elements::Byte(v) => v.resize(n, 0),
    }
}

/// Copies rows from one tensor to another of the same slices.
fn copy_rows<F: Copy>(to: &mut Tensor<F>, to_row: usize, from: &Tensor<F>, from_row: usize, rows: usize) {
    let size: usize = from.shape[1..].iter().product();
    let (there, here) = (to_row * size..(to_row + rows) * size, from_row * size..(from_row + rows) * size);
    match (&mut to.elements, &from.elements) {
        (Elements::Real(to), Elements::Real(from)) => to[there].copy_from_slice(&from[here]),
        (Elements::Complex { re, im }, Elements::Complex { re: from_re, im: from_im }) => {
            re[there.clone()].copy_from_slice(&from_re[here.clone()]);
            im[there].copy_from_slice(&from_im[here]);
        }
        (Elements::Int(to), Elements::Int(from)) => to[there].copy_from_slice(&from[here]),
        (Elements::Bool(to), Elements::Bool(from)) => to[there].copy_from_slice(&from[here]),
        _ => unreachable!("outputs are of the type that the layer gives them"),
    }
}
