//! Pieces of tensors along their first axis.

use std::ops::Range;

use ssmc_runtime::{Carry, Elements, Tensor};

/// The rows of a tensor, copied.
pub fn rows<F: Copy>(tensor: &Tensor<F>, range: Range<usize>) -> Tensor<F> {
    let row: usize = tensor.shape[1..].iter().product();
    let at = range.start * row..range.end * row;
    let elements = match &tensor.elements {
        Elements::Real(v) => Elements::Real(v[at].to_vec()),
        Elements::Complex { re, im } => Elements::Complex { re: re[at.clone()].to_vec(), im: im[at].to_vec() },
        Elements::Int(v) => Elements::Int(v[at].to_vec()),
        Elements::Bool(v) => Elements::Bool(v[at].to_vec()),
        Elements::Byte(v) => Elements::Byte(v[at].to_vec()),
    };
    let mut shape = tensor.shape.clone();
    shape[0] = range.len();
    Tensor { shape, elements }
}

/// Puts the rows of another tensor behind those of this one. Both have the same type and the same other axes.
pub fn append<F: Copy>(tensor: &mut Tensor<F>, more: &Tensor<F>) {
    match (&mut tensor.elements, &more.elements) {
        (Elements::Real(to), Elements::Real(from)) => to.extend_from_slice(from),
        (Elements::Complex { re, im }, Elements::Complex { re: more_re, im: more_im }) => {
            re.extend_from_slice(more_re);
            im.extend_from_slice(more_im);
        }
        (Elements::Int(to), Elements::Int(from)) => to.extend_from_slice(from),
        (Elements::Bool(to), Elements::Bool(from)) | (Elements::Byte(to), Elements::Byte(from)) => {
            to.extend_from_slice(from);
        }
        (to, from) => unreachable!("{} elements of one type, {} of another", to.len(), from.len()),
    }
    tensor.shape[0] += more.shape[0];
}

/// What one sequence carries.
pub fn carry_of<F: Copy>(carry: &Carry<F>, sequence: usize) -> Carry<F> {
    let one = |tensor| rows(tensor, sequence..sequence + 1);
    Carry {
        steps: vec![carry.steps[sequence]],
        states: carry.states.iter().map(one).collect(),
        delays: carry.delays.iter().map(one).collect(),
    }
}

/// What no sequence carries: all shapes, with nothing in them.
pub fn no_carry<F: Copy>(carry: &Carry<F>) -> Carry<F> {
    let none = |tensor| rows(tensor, 0..0);
    Carry {
        steps: Vec::new(),
        states: carry.states.iter().map(none).collect(),
        delays: carry.delays.iter().map(none).collect(),
    }
}

/// Puts what further sequences carry behind what the others do.
pub fn append_carry<F: Copy>(carry: &mut Carry<F>, more: &Carry<F>) {
    carry.steps.extend(&more.steps);
    for (to, from) in carry.states.iter_mut().zip(&more.states) {
        append(to, from);
    }
    for (to, from) in carry.delays.iter_mut().zip(&more.delays) {
        append(to, from);
    }
}
