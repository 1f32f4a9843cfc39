//! What a run on lanes relies on: that kernels and tensors belong together.
//!
//! In: the kernels, and the tensors of a run. The run reads and writes what the signatures say; here they are shown to be
//! about the same tensors, so that nothing is read or written outside of them.

use super::Lanes;
use crate::kernel::{Kind, Tensors};
use crate::tensor::{Carry, Elements, Float, Tensor};

impl<F: Float> Lanes<'_, F> {
    /// Panics where what the kernels' signatures say does not belong together, or the rows are not inside of the tensors.
    pub(super) fn check(
        &self,
        first: &[usize],
        segments: &[usize],
        inputs: &[Tensor<F>],
        outputs: &[Tensor<F>],
        carry: &Carry<F>,
    ) {
        let lanes = self.lanes;
        assert!(lanes > 0 && self.steps > 0 && first.len() == segments.len() && carry.steps.len() == first.len());
        let widened = |slice: &Tensors, tensor: &Tensor<F>, before: usize| {
            let shape: Vec<usize> = tensor.shape[before..].iter().copied().chain([lanes]).collect();
            assert_eq!((&slice.shape, slice.kind), (&shape, kind(tensor)), "`{}` has lanes", slice.name);
            assert!(sound(slice, tensor), "`{}` has as many elements as its shape says, in its range", slice.name);
        };
        let all = |slices: &[Tensors], tensors: &[Tensor<F>], before: usize| {
            assert_eq!(slices.len(), tensors.len(), "as many tensors as the kernel has");
            slices.iter().zip(tensors).for_each(|(slice, tensor)| widened(slice, tensor, before));
        };
        let whole = self.whole.signature;
        all(&whole.inputs, inputs, 1);
        all(&whole.outputs, outputs, 1);
        all(&whole.states, &carry.states, 1);
        for tensor in inputs.iter().chain(outputs) {
            let fits = |(first, segments): (&usize, &usize)| first + segments * lanes * self.steps <= tensor.shape[0];
            assert!(first.iter().zip(segments).all(fits), "the rows are inside of the tensors");
        }
        for tensor in carry.states.iter().chain(&carry.delays) {
            assert_eq!(tensor.shape[0], first.len(), "the carry has a row for each sequence");
        }
        assert_eq!(whole.delays.len(), carry.delays.len(), "as many delays as the kernel has");
        for (line, tensor) in whole.delays.iter().zip(&carry.delays) {
            widened(&line.slice, tensor, 2);
            assert_eq!(line.depth, tensor.shape[1], "the depth of `{}`", line.slice.name);
        }
        for group in &self.groups {
            let (summary, apply) = (group.summary.signature, group.apply.signature);
            let own = group.states.len() - group.earlier;
            assert!(group.states.iter().all(|&s| s < carry.states.len()), "the group's states are the layer's");
            for (slice, &state) in summary.states.iter().zip(&group.states[..group.earlier]) {
                assert_eq!(slice, &Tensors { name: slice.name.clone(), ..whole.states[state].clone() });
            }
            let (sums, offsets) = (&summary.states[group.earlier..], own);
            assert_eq!(sums.len(), group.neutral.len(), "a neutral value for each part of the summary");
            sums.iter().zip(group.neutral).for_each(|(slice, tensor)| widened(slice, tensor, 0));
            assert_eq!(sums.len(), apply.inputs.len(), "the parts of the summary are what is applied");
            for (slice, input) in sums.iter().zip(&apply.inputs) {
                let (shape, last) = slice.shape.split_at(slice.shape.len() - 1);
                let same = alike(&input.shape, shape) && last == [lanes] && slice.kind == input.kind;
                assert!(same, "`{}`", slice.name);
            }
            assert!(apply.states.len() == offsets && apply.outputs.len() == offsets, "the scan gives the own states");
            for (n, &state) in group.states[group.earlier..].iter().enumerate() {
                let shape = &carry.states[state].shape[1..];
                let (state, output) = (&apply.states[n], &apply.outputs[n]);
                assert!(alike(&state.shape, shape) && output.shape == state.shape && state.kind == output.kind);
                assert_eq!(state.kind, kind(&carry.states[group.states[group.earlier + n]]));
            }
            assert!(summary.inputs == whole.inputs && summary.delays == whole.delays, "one packed input serves all");
        }
        if let Some(recent) = &self.recent {
            let signature = recent.program.signature;
            assert!(signature.inputs == whole.inputs && signature.delays == whole.delays);
            assert!(recent.steps <= self.steps, "they reach into the stretch before, no further");
            assert_eq!(signature.states.len(), recent.states.len(), "the states are those that are listed");
            for (slice, &state) in signature.states.iter().zip(recent.states) {
                assert_eq!(slice, &Tensors { name: slice.name.clone(), ..whole.states[state].clone() });
            }
        } else {
            assert!(whole.delays.is_empty(), "delays are filled");
        }
        let programs = self.groups.iter().flat_map(|g| [&g.summary, &g.apply]);
        for program in programs.chain(self.recent.iter().map(|recent| &recent.program)).chain([&self.whole]) {
            let signature = program.signature;
            assert!(signature.bits == F::BITS && !signature.step && signature.functions() == program.entries.len());
            assert!(signature.passes.len() == 1 && !signature.passes[0].reverse, "one pass, forward");
        }
    }
}

/// Whether what is applied has this shape, or one more axis, with one element.
fn alike(applied: &[usize], shape: &[usize]) -> bool {
    applied == shape || applied.strip_suffix(&[1]) == Some(shape)
}

/// Whether the elements are as many as the shape says, and integers in the range that kernels rely on.
fn sound<F>(slice: &Tensors, tensor: &Tensor<F>) -> bool {
    let count = tensor.shape.iter().product::<usize>();
    match &tensor.elements {
        Elements::Real(v) => v.len() == count,
        Elements::Complex { re, im } => re.len() == count && im.len() == count,
        Elements::Int(v) => {
            let inside = |x: &i32| slice.below.is_none_or(|below| (0..below).contains(&i64::from(*x)));
            v.len() == count && v.iter().all(inside)
        }
        Elements::Bool(v) => v.len() == count && v.iter().all(|&x| x <= 1),
        Elements::Byte(v) => {
            v.len() == count && v.iter().all(|&x| slice.below.is_none_or(|below| i64::from(x) < below))
        }
    }
}

fn kind<F>(tensor: &Tensor<F>) -> Kind {
    match tensor.elements {
        Elements::Real(_) => Kind::Real,
        Elements::Complex { .. } => Kind::Complex,
        Elements::Int(_) => Kind::Int,
        Elements::Bool(_) => Kind::Bool,
        Elements::Byte(_) => Kind::Byte,
    }
}
