//! Where tensors lie.
//!
//! In: the tensors of a run. Out: the addresses of their planes, which kernels get. Who asks for addresses vouches for how long
//! they are used, and for whether anyone else writes there.

use crate::tensor::{Elements, Tensor};

/// The addresses of the planes of a tensor.
pub(crate) type Planes = [*mut u8; 2];

/// The planes of a tensor that is read.
pub(crate) fn planes_of<F>(tensor: &Tensor<F>) -> Planes {
    let null = std::ptr::null_mut();
    match &tensor.elements {
        Elements::Real(v) => [v.as_ptr() as *mut u8, null],
        Elements::Complex { re, im } => [re.as_ptr() as *mut u8, im.as_ptr() as *mut u8],
        Elements::Int(v) => [v.as_ptr() as *mut u8, null],
        Elements::Bool(v) | Elements::Byte(v) => [v.as_ptr() as *mut u8, null],
    }
}

/// The planes of a tensor that is written.
pub(crate) fn planes_of_mut<F>(tensor: &mut Tensor<F>) -> Planes {
    let null = std::ptr::null_mut();
    match &mut tensor.elements {
        Elements::Real(v) => [v.as_mut_ptr().cast(), null],
        Elements::Complex { re, im } => [re.as_mut_ptr().cast(), im.as_mut_ptr().cast()],
        Elements::Int(v) => [v.as_mut_ptr().cast(), null],
        Elements::Bool(v) | Elements::Byte(v) => [v.as_mut_ptr(), null],
    }
}

/// The planes of tensors that are read.
pub(crate) fn all_planes<F>(tensors: &[Tensor<F>]) -> Vec<Planes> {
    tensors.iter().map(planes_of).collect()
}

/// The planes of tensors that are written.
pub(crate) fn all_planes_mut<F>(tensors: &mut [Tensor<F>]) -> Vec<Planes> {
    tensors.iter_mut().map(planes_of_mut).collect()
}

/// The planes of a tensor of scalars, so many steps before.
pub(crate) fn earlier<F>(tensor: &Tensor<F>, back: usize) -> Planes {
    let bytes = match &tensor.elements {
        Elements::Real(_) | Elements::Complex { .. } => size_of::<F>(),
        Elements::Int(_) => 4,
        Elements::Bool(_) | Elements::Byte(_) => 1,
    };
    planes_of(tensor).map(|plane| plane.wrapping_sub(back * bytes))
}

/// The tensors of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Params,
    Initial,
    Inputs,
    Outputs,
    States,
    Delays,
}

/// The planes of all tensors of a run, in one list.
#[derive(Default)]
pub(crate) struct Bases {
    all: Vec<Planes>,
    /// Where each kind's begin.
    starts: [usize; 6],
}

impl Bases {
    /// Forgets all tensors.
    pub(crate) fn clear(&mut self) {
        self.all.clear();
    }

    /// Adds all tensors of a kind.
    pub(crate) fn add(&mut self, of: Of, planes: impl Iterator<Item = Planes>) {
        self.starts[of as usize] = self.all.len();
        self.all.extend(planes);
    }

    /// The planes of a tensor.
    pub(crate) fn at(&self, of: Of, tensor: usize) -> &Planes {
        &self.all[self.starts[of as usize] + tensor]
    }
}
