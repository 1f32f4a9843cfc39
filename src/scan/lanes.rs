//! Time on the lanes of vectors: IR to IR.
//!
//! In: a layer. Out: the same layer for many stretches at once: all that changes over time (inputs, states, delays,
//! outputs, and the definitions that depend on them) has one more axis, the innermost, with an element for each
//! stretch. The planner finds that axis contiguous in every access and puts it on the lanes.
//!
//! What such a layer cannot say is left out by [`suits`]: what is reported of single steps; a reset is one for all lanes, and reverse states enter from
//! the other end. `first` is false in all of its steps: the first step of a sequence is run by the layer itself.

use ssmc_runtime::{Bound, Run, RunError, Sequences, lanes};

use super::Scan;
use super::delays::reach;
use super::group::{Layers, derived, unread};
use crate::analysis::verdict::summary::restrict;
use crate::diag::{Diagnostic, Span};
use crate::ir::interp::Real;
use crate::ir::{
    Equation, Expr, ExprKind, Extent, Index, IndexId, Instance, Layer, Scalar, StateId, ValueId, ValueKind,
};
use crate::jit::{Form, Isa, Kernel, compile_for};

/// How many elements the states of a layer may have for lanes to be worth it.
const NARROW: usize = 8;

/// How many lanes there are if not asked for: a multiple of every vector's, and enough to hide the latency of
/// operations that wait for the step before.
pub(super) const LANES: usize = 64;

/// The bytes of a line of the cache.
const LINE: usize = 64;

/// How many lines of the cache a stretch has at least, of whatever has the fewest bytes in a step, if not asked for.
const LINES: usize = 7;

/// How many steps it has at least.
const STEPS: usize = 40;

/// How many steps a lane's stretch has if not asked for: few, so that a segment of one channel stays in the first cache but
/// for its inputs; as many as delays reach back. It has an odd number of lines of the cache, so that the same step of all
/// stretches lies in different sets.
pub(super) fn steps(instance: &Instance, bits: u32) -> usize {
    let layer = &instance.layer;
    let moved = layer.inputs.iter().copied().chain(layer.outputs.iter().map(|output| output.value));
    let bytes = |v: ValueId| match layer.value(v).ty.scalar() {
        Scalar::Bool => 0,
        Scalar::Real | Scalar::Complex => instance.elements(v) * bits as usize / 8,
        _ => instance.elements(v) * 4,
    };
    let least = moved.map(bytes).filter(|&bytes| bytes > 0).min().unwrap_or(LINE);
    let line = LINE.div_ceil(least);
    let lines = STEPS.max(reach(instance).unwrap_or(0)).div_ceil(line).max(LINES);
    (lines | 1) * line
}

/// Whether a layer can run on lanes.
pub(super) fn suits(layer: &Layer) -> bool {
    let turns = layer.states.iter().any(|state| state.reverse);
    let timeless = layer.outputs.iter().any(|o| layer.value(o.value).kind == ValueKind::Param);
    layer.reset.is_none() && !turns && !timeless && !reports(layer)
}

/// Whether there is something to report: it is about a step, and lanes run several.
fn reports(layer: &Layer) -> bool {
    let mut solves = false;
    for equation in &layer.equations {
        equation.body.walk(&mut |e| solves |= matches!(e.kind, ExprKind::Solve { .. }));
    }
    solves || !layer.checks.is_empty()
}

/// Whether a layer that can should: it has a few channels, so that vectors would be empty otherwise.
pub(super) fn narrow(instance: &Instance) -> bool {
    let layer = &instance.layer;
    let states: usize = layer.states.iter().map(|state| instance.elements(state.value)).sum();
    suits(layer) && states > 0 && states <= NARROW
}

/// Whether the layer asks for the first step.
pub(super) fn asks_for_first(layer: &Layer) -> bool {
    let mut asks = false;
    for equation in &layer.equations {
        equation.body.walk(&mut |e| asks |= matches!(e.kind, ExprKind::First));
    }
    asks
}

/// A layer that is made of another one, for that many stretches at once, which one thread runs.
pub(super) fn wide(layer: &Layer, whole: &Instance, lanes: usize) -> Result<Instance, Vec<Diagnostic>> {
    let mut instance = derived(&widen(layer, lanes), whole)?;
    instance.one_thread = true;
    Ok(instance)
}

/// The layer for that many stretches at once.
pub(super) fn widen(layer: &Layer, lanes: usize) -> Layer {
    let mut wide = layer.clone();
    let extent = Extent::Lit(lanes as i64);
    let mut varies = vec![false; layer.values.len()];
    for (varies, value) in varies.iter_mut().zip(&layer.values) {
        *varies = !matches!(value.kind, ValueKind::Param | ValueKind::Let);
    }
    layer.outputs.iter().for_each(|output| varies[output.value.at()] = true);
    for equation in &layer.equations {
        let mut timed = equation.body.reads().iter().any(|v| varies[v.at()]);
        equation.body.walk(&mut |e| timed |= matches!(e.kind, ExprKind::First));
        varies[equation.value.at()] |= timed;
    }
    for (value, _) in wide.values.iter_mut().zip(&varies).filter(|(_, varies)| **varies) {
        value.axes.push(extent.clone());
    }
    let fresh = |indices: &mut Vec<Index>| {
        indices.push(Index { name: "lane".to_owned(), extent: extent.clone(), span: Span::default() });
        IndexId(indices.len() as u32 - 1)
    };
    for state in &mut wide.states {
        if let Some(init) = &mut state.init {
            init.indices.push(fresh(&mut wide.indices));
        }
    }
    for Equation { value, indices, body, .. } in &mut wide.equations {
        if varies[value.at()] {
            let lane = fresh(&mut wide.indices);
            indices.push(lane);
            pick(body, lane, &varies);
        }
    }
    wide
}

/// Reads everything that varies at the lane.
fn pick(e: &mut Expr, lane: IndexId, varies: &[bool]) {
    e.operands_mut().into_iter().for_each(|operand| pick(operand, lane, varies));
    let span = e.span;
    if let ExprKind::Read { value: ValueId(v), at } | ExprKind::Past { delay: ValueId(v), at, .. } = &mut e.kind
        && varies[*v as usize]
    {
        at.push(Expr { kind: ExprKind::Index(lane), ty: Scalar::Int, span });
    }
}

/// A layer's kernels on lanes.
pub(super) struct Lanes<F> {
    lanes: usize,
    steps: usize,
    /// How many steps at the start of a sequence are run by the layer itself.
    head: usize,
    whole: Kernel<F>,
    /// The groups that are summarised: those whose states are not recent.
    groups: Vec<usize>,
    /// By such a group.
    summaries: Vec<Kernel<F>>,
    /// By such a group: what applies summaries, where all states are scalars. With an axis, these stay in registers.
    applies: Vec<Option<Kernel<F>>>,
    /// The layer of delays and recent states, and how many steps it runs.
    recent: Option<(Kernel<F>, usize)>,
    /// The states that it has.
    states: Vec<usize>,
}

/// A state is recent if it is known after so many steps, whatever it was before.
const RECENT: usize = 8;

/// The states that a few steps determine: those that hold inputs of the steps before, above all. With them, how many
/// steps that takes.
pub(super) fn recent(instance: &Instance, steps: usize) -> (Vec<StateId>, usize) {
    let layer = &instance.layer;
    // By value: how many steps back it reaches, as far as that is bounded.
    let mut back: Vec<Option<usize>> = layer.values.iter().map(|_| Some(0)).collect();
    layer.states.iter().for_each(|state| back[state.value.at()] = None);
    let most = RECENT.min(steps);
    // A state that reads others is known one step after them.
    for _ in 0..=layer.states.len() {
        for equation in &layer.equations {
            let mut reaches = Some(0);
            equation.body.walk(&mut |e| {
                let of = match &e.kind {
                    ExprKind::Read { value, .. } => back[value.at()],
                    ExprKind::Past { delay, .. } => {
                        let place = layer.delays.iter().position(|d| d == delay).expect("`past` reads a delay");
                        back[delay.at()].map(|steps| steps.saturating_add(instance.depths[place]))
                    }
                    ExprKind::First => None,
                    _ => Some(0),
                };
                reaches = reaches.zip(of).map(|(a, b)| a.max(b));
            });
            back[equation.value.at()] = reaches;
        }
        for state in layer.states.iter().filter(|state| state.next != state.value) {
            back[state.value.at()] = back[state.next.at()].map(|steps| steps + 1).filter(|&steps| steps <= most);
        }
    }
    let found = (0..layer.states.len() as u32).map(StateId);
    let found: Vec<StateId> = found.filter(|s| back[layer.states[s.at()].value.at()].is_some()).collect();
    let steps = found.iter().filter_map(|s| back[layer.states[s.at()].value.at()]).max().unwrap_or(0);
    (found, steps)
}

impl<F: Real> Lanes<F> {
    /// Compiles a layer that [`suits`]; `None` where delays reach further back than a stretch.
    pub(super) fn new(
        instance: &Instance,
        groups: &[(Vec<usize>, Layers)],
        lanes: usize,
        steps: usize,
        isa: Isa,
    ) -> Result<Option<Self>, Vec<Diagnostic>> {
        let layer = &instance.layer;
        let kernel = |layer: &Layer| compile_for(&wide(layer, instance, lanes)?, Form::Sequence, isa);
        let (states, known) = recent(instance, steps);
        let recent = match reach(instance) {
            Some(0) if states.is_empty() => None,
            Some(reach) if reach <= steps => {
                let mut layer = layer.clone();
                restrict(&mut layer, &states);
                Some((kernel(&layer)?, reach.max(known)))
            }
            _ => return Ok(None),
        };
        let states: Vec<usize> = states.into_iter().map(StateId::at).collect();
        let all = groups.iter().enumerate();
        let (chosen, groups): (Vec<usize>, Vec<&Layers>) = all
            .filter(|(_, (own, _))| own.iter().any(|s| !states.contains(s)))
            .map(|(g, (_, group))| (g, group))
            .unzip();
        let summaries = groups.iter().map(|group| kernel(&group.summary)).collect::<Result<_, _>>()?;
        let apply = |group: &Layers| {
            let layer = &group.apply;
            let mut values = layer.inputs.iter().copied().chain(layer.states.iter().map(|state| state.value));
            let scalars = values.all(|v| layer.value(v).axes.is_empty());
            scalars.then(|| compile_for(&wide(layer, instance, 1)?, Form::Sequence, isa)).transpose()
        };
        let applies = groups.into_iter().map(apply).collect::<Result<_, _>>()?;
        let head = usize::from(asks_for_first(layer));
        Ok(Some(Self { lanes, steps, head, whole: kernel(layer)?, groups: chosen, summaries, applies, recent, states }))
    }

    /// How many steps a segment has.
    pub(super) fn segment(&self) -> usize {
        self.lanes * self.steps
    }

    /// Runs all sequences: the first step where the layer asks for it, then segments, then what is left.
    pub(super) fn run(&self, scan: &Scan<F>, mut run: Run<'_, F>) -> Result<(), RunError> {
        let sequences = run.sequences;
        let ranges: Vec<_> = (0..sequences.count()).map(|s| sequences.range(s)).collect();
        let head = |(range, &steps): (&std::ops::Range<usize>, &u64)| {
            range.start..range.start + if steps == 0 { self.head.min(range.len()) } else { 0 }
        };
        let heads: Vec<_> = ranges.iter().zip(&run.carry.steps).map(head).collect();
        let segments: Vec<usize> =
            ranges.iter().zip(&heads).map(|(range, head)| (range.end - head.end) / self.segment()).collect();
        let first: Vec<usize> = heads.iter().map(|head| head.end).collect();
        let rest = ranges.iter().zip(&first).zip(&segments);
        let rests = rest.map(|((range, first), n)| first + n * self.segment()..range.end).collect();
        let part = |ranges| Sequences::spaced(sequences.total(), ranges).expect("parts of sequences lie apart");
        scan.whole.perform(run.part(&part(heads)))?;
        self.segments(scan, &first, &segments, run.lent())?;
        scan.whole.perform(run.part(&part(rests)))?;
        Ok(())
    }

    fn segments(&self, scan: &Scan<F>, first: &[usize], segments: &[usize], run: Run<'_, F>) -> Result<(), RunError> {
        let bound = run.bound;
        let bind = |kernel: &Kernel<F>| Bound {
            params: bound.params.clone(),
            initial: kernel.signature().states.iter().map(unread).collect(),
        };
        let (whole, summaries) = (bind(&self.whole), self.summaries.iter().map(bind).collect::<Vec<_>>());
        let mut applies = Vec::new();
        for (&g, own) in self.groups.iter().zip(&self.applies) {
            let bound = scan.groups[g].apply_bound(bound, self.steps)?;
            applies.push(match own {
                Some(kernel) => Bound { params: bound.params, ..bind(kernel) },
                None => bound,
            });
        }
        let recent = self.recent.as_ref().map(|(kernel, steps)| (kernel, bind(kernel), *steps));
        let mut groups = Vec::new();
        for (g, group) in self.groups.iter().map(|&g| &scan.groups[g]).enumerate() {
            groups.push(lanes::Group {
                summary: self.summaries[g].program(&summaries[g])?,
                apply: self.applies[g].as_ref().unwrap_or(&group.apply).program(&applies[g])?,
                states: &group.states,
                earlier: group.earlier,
                neutral: &group.neutral,
            });
        }
        let plan = lanes::Lanes {
            lanes: self.lanes,
            steps: self.steps,
            recent: match &recent {
                Some((kernel, bound, steps)) => {
                    Some(lanes::Recent { program: kernel.program(bound)?, steps: *steps, states: &self.states })
                }
                None => None,
            },
            groups,
            whole: self.whole.program(&whole)?,
        };
        lanes::run(&plan, first, segments, run);
        Ok(())
    }
}
