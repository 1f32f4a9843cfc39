//! Viterbi scores: the max-plus product with a dense matrix.
//!
//! ```text
//! d[j] = max[i](d[i] + A[i, j]) + e[t, j]
//! ```
//!
//! The lanes lie along the destinations j, so the maximum over i never crosses lanes: `d[i]` is broadcast and meets row i
//! of A, which stays in the first level. Eight running maxima hide the latency of the comparison.
//!
//! Source: Viterbi 1967.

use crate::memory::{Aligned, Error, expect, place, round_up};
use crate::simd::{Isa, Kernel, Simd};

fn check(states: usize, a: &[f32], e: &[f32], scores: &[f32]) -> Result<(), Error> {
    if states == 0 {
        return Err(Error::Value { name: "states", reason: "at least 1" });
    }
    expect("a", a.len(), states * states)?;
    expect("e", e.len(), e.len() / states * states)?;
    expect("scores", scores.len(), states)
}

/// The recurrence as it stands.
///
/// # Shapes
/// a: `[from, to]`; e: `[steps, to]`; scores: `[to]`, in and out
/// # Errors
/// An array of another length, no states.
pub fn plain(states: usize, a: &[f32], e: &[f32], scores: &mut [f32]) -> Result<(), Error> {
    check(states, a, e, scores)?;
    let mut next = vec![0.0; states];
    for e in e.chunks_exact(states) {
        for (j, next) in next.iter_mut().enumerate() {
            let mut best = f32::NEG_INFINITY;
            for (i, d) in scores.iter().enumerate() {
                best = best.max(d + a[i * states + j]);
            }
            *next = best + e[j];
        }
        scores.copy_from_slice(&next);
    }
    Ok(())
}

/// The recurrence on lanes.
///
/// # Shapes
/// As for [`plain`].
/// # Errors
/// As for [`plain`].
pub fn run(isa: Isa, states: usize, a: &[f32], e: &[f32], scores: &mut [f32]) -> Result<(), Error> {
    check(states, a, e, scores)?;
    if isa.lanes() == 1 || !isa.is_available() {
        return plain(states, a, e, scores);
    }
    let row = round_up(states, 16);
    let mut packed = Aligned::zeros(states * row);
    for (to, from) in packed.chunks_exact_mut(row).zip(a.chunks_exact(states)) {
        to[..states].copy_from_slice(from);
    }
    let mut buffers = [Aligned::zeros(row), Aligned::zeros(row)];
    buffers[0][..states].copy_from_slice(scores);
    isa.run(Scores { states, row, a: &packed, e, buffers: &mut buffers });
    scores.copy_from_slice(&buffers[e.len() / states % 2][..states]);
    Ok(())
}

struct Scores<'a> {
    states: usize,
    row: usize,
    /// `[from, row]`.
    a: &'a [f32],
    e: &'a [f32],
    /// The scores and those of the next step, in turn.
    buffers: &'a mut [Aligned; 2],
}

impl Kernel for Scores<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let [even, odd] = self.buffers;
        let mut buffers = [even.as_mut_ptr(), odd.as_mut_ptr()];
        for t in 0..self.e.len() / self.states {
            let mut j = 0;
            while j < self.states {
                if j + 4 * S::LANES <= self.states {
                    block::<S, 4>(s, self.states, self.row, self.a, self.e, buffers, t, j);
                    j += 4 * S::LANES;
                } else {
                    block::<S, 1>(s, self.states, self.row, self.a, self.e, buffers, t, j);
                    j += S::LANES;
                }
            }
            buffers.swap(0, 1);
        }
    }
}

/// `NV` vectors of destinations from `j` on.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the arrays and the coordinates of a block")]
fn block<S: Simd, const NV: usize>(
    s: S,
    states: usize,
    row: usize,
    a: &[f32],
    e: &[f32],
    [old, new]: [*mut f32; 2],
    t: usize,
    j: usize,
) {
    let w = S::LANES;
    let n = states - j;
    let valid = if NV == 1 { n.min(w) } else { w };
    let least = s.splat(f32::NEG_INFINITY);
    let (mut even, mut odd) = ([least; NV], [least; NV]);
    // SAFETY: rows of `a` and both buffers are whole lines; `valid` emissions from `j` on are in row `t`.
    unsafe {
        let mut i = 0;
        while i + 2 <= states {
            let (d0, d1) = (s.broadcast(old.add(i)), s.broadcast(old.add(i + 1)));
            for v in 0..NV {
                even[v] = s.max(s.add(d0, s.load(place(a, i * row + j + v * w, w))), even[v]);
                odd[v] = s.max(s.add(d1, s.load(place(a, (i + 1) * row + j + v * w, w))), odd[v]);
            }
            i += 2;
        }
        if i < states {
            let d = s.broadcast(old.add(i));
            for v in 0..NV {
                even[v] = s.max(s.add(d, s.load(place(a, i * row + j + v * w, w))), even[v]);
            }
        }
        for v in 0..NV {
            let from = place(e, t * states + j + v * w, valid);
            let emission = if NV == 1 { s.load_up_to(from, n) } else { s.load(from) };
            s.store(new.add(j + v * w), s.add(s.max(even[v], odd[v]), emission));
        }
    }
}
