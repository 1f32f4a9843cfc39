//! Cutting sequences into stretches of time.
//!
//! In: the sequences of a run, and the length of a stretch. Out: ranges of rows that a kernel can be run on as if each
//! were a sequence of its own. The cut follows from lengths alone, never from the number of threads.

use std::ops::Range;

use crate::tensor::Sequences;

/// Sequences in stretches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretches {
    total: usize,
    /// The rows of all stretches, in the order of time, sequence by sequence.
    rows: Vec<Range<usize>>,
    /// The stretches of each sequence.
    of: Vec<Range<usize>>,
}

impl Stretches {
    /// Cuts every sequence into stretches of `length` steps; the last of each is what is left. A sequence without
    /// steps has none.
    ///
    /// # Panics
    /// If the length is 0.
    pub fn cut(sequences: &Sequences, length: usize) -> Self {
        assert!(length > 0, "a stretch has steps");
        let (mut rows, mut of) = (Vec::new(), Vec::new());
        for sequence in 0..sequences.count() {
            let range = sequences.range(sequence);
            let first = rows.len();
            rows.extend(range.clone().step_by(length).map(|start| start..(start + length).min(range.end)));
            of.push(first..rows.len());
        }
        Self { total: sequences.total(), rows, of }
    }

    /// How many stretches there are.
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// The stretches of each sequence.
    pub fn of(&self) -> &[Range<usize>] {
        &self.of
    }

    /// The rows of a stretch.
    pub fn rows(&self, stretch: usize) -> Range<usize> {
        self.rows[stretch].clone()
    }

    /// The sequence of each stretch.
    pub fn owners(&self) -> Vec<usize> {
        self.of.iter().enumerate().flat_map(|(s, stretches)| stretches.clone().map(move |_| s)).collect()
    }

    /// All stretches as sequences.
    pub fn sequences(&self) -> Sequences {
        self.pick(&(0..self.count()).collect::<Vec<_>>())
    }

    /// Some stretches, ascending, as sequences.
    ///
    /// # Panics
    /// If they do not ascend.
    pub fn pick(&self, stretches: &[usize]) -> Sequences {
        self.spaced(stretches.iter().map(|&s| self.rows(s)).collect())
    }

    /// The `steps` rows before each of some stretches, ascending, as sequences.
    ///
    /// # Panics
    /// If there are fewer rows before one of them, or they reach into each other.
    pub fn before(&self, stretches: &[usize], steps: usize) -> Sequences {
        self.spaced(stretches.iter().map(|&s| self.rows[s].start - steps..self.rows[s].start).collect())
    }

    fn spaced(&self, ranges: Vec<Range<usize>>) -> Sequences {
        Sequences::spaced(self.total, ranges).expect("stretches ascend and lie apart")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_stretch_is_what_is_left() {
        let sequences = Sequences::packed(vec![0, 7, 7, 8, 14]).expect("ascending");
        let cut = Stretches::cut(&sequences, 3);
        let rows: Vec<_> = (0..cut.count()).map(|s| cut.rows(s)).collect();
        assert_eq!(rows, [0..3, 3..6, 6..7, 7..8, 8..11, 11..14]);
        assert_eq!(cut.of(), [0..3, 3..3, 3..4, 4..6]);
        assert_eq!(cut.owners(), [0, 0, 0, 2, 3, 3]);
        assert_eq!(cut.before(&[1, 5], 2).range(1), 9..11);
        assert_eq!(cut.sequences().steps(), 14);
    }
}
