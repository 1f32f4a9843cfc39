//! Pieces of tensors.

use std::ops::Range;

use ssmc_runtime::{Elements, Float};

use super::math::{Real, zero};
use crate::ir::Type;

/// Elements of that type that are all 0 (false).
pub(crate) fn zeros<F: Real>(ty: &Type, count: usize) -> Elements<F> {
    match ty {
        Type::Real => Elements::Real(vec![zero(); count]),
        Type::Complex => Elements::Complex { re: vec![zero(); count], im: vec![zero(); count] },
        Type::Bool => Elements::Bool(vec![0; count]),
        Type::Int | Type::Index(_) => Elements::Int(vec![0; count]),
    }
}

/// Copies elements to where `into` says.
///
/// # Panics
/// If the types differ, or a range does not lie inside.
pub(super) fn copy<F: Copy>(into: &mut Elements<F>, at: usize, from: &Elements<F>, range: Range<usize>) {
    let to = at..at + range.len();
    match (into, from) {
        (Elements::Real(into), Elements::Real(from)) => into[to].copy_from_slice(&from[range]),
        (Elements::Complex { re, im }, Elements::Complex { re: from_re, im: from_im }) => {
            re[to.clone()].copy_from_slice(&from_re[range.clone()]);
            im[to].copy_from_slice(&from_im[range]);
        }
        (Elements::Int(into), Elements::Int(from)) => into[to].copy_from_slice(&from[range]),
        (Elements::Bool(into), Elements::Bool(from)) => into[to].copy_from_slice(&from[range]),
        (Elements::Int(into), Elements::Byte(from)) => {
            into[to].iter_mut().zip(&from[range]).for_each(|(into, &from)| *into = from.into());
        }
        _ => panic!("a tensor's elements are not of the declared type"),
    }
}

/// Makes room for one row at the front; the last one falls off.
pub(super) fn shift<F: Copy>(rows: &mut Elements<F>, size: usize) {
    fn shift<T: Copy>(rows: &mut [T], size: usize) {
        let kept = rows.len() - size;
        rows.copy_within(..kept, size);
    }
    match rows {
        Elements::Real(v) => shift(v, size),
        Elements::Complex { re, im } => {
            shift(re, size);
            shift(im, size);
        }
        Elements::Int(v) => shift(v, size),
        Elements::Bool(v) | Elements::Byte(v) => shift(v, size),
    }
}

/// Sets all elements in the range to 0 (false).
pub(super) fn clear<F: Real>(elements: &mut Elements<F>, range: Range<usize>) {
    match elements {
        Elements::Real(v) => v[range].fill(zero()),
        Elements::Complex { re, im } => {
            re[range.clone()].fill(zero());
            im[range].fill(zero());
        }
        Elements::Int(v) => v[range].fill(0),
        Elements::Bool(v) | Elements::Byte(v) => v[range].fill(0),
    }
}

/// The same elements with other real numbers, rounded where they have to be.
pub(super) fn convert<F: Float, G: Float>(elements: &Elements<F>) -> Elements<G> {
    let reals = |v: &[F]| v.iter().map(|x| G::from_f64(x.to_f64())).collect();
    match elements {
        Elements::Real(v) => Elements::Real(reals(v)),
        Elements::Complex { re, im } => Elements::Complex { re: reals(re), im: reals(im) },
        Elements::Int(v) => Elements::Int(v.clone()),
        Elements::Bool(v) => Elements::Bool(v.clone()),
        Elements::Byte(v) => Elements::Byte(v.clone()),
    }
}
