//! The leading axes of a run: one sequence, a batch of equal length, or packed sequences.

use ssmc_runtime::Sequences;

/// How the sequences of a run lie in its tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Inputs and outputs are `[seq, ..]`, states `[..]`.
    Single {
        /// How many steps.
        seq: usize,
    },
    /// Inputs and outputs are `[batch, seq, ..]`, states `[batch, ..]`.
    Batch {
        /// How many sequences.
        batch: usize,
        /// How many steps each.
        seq: usize,
    },
    /// Inputs and outputs are `[total, ..]`, states `[n, ..]`.
    Packed(Sequences),
}

impl Layout {
    /// The sequences for a run, which sees batches end to end.
    pub fn sequences(&self) -> Sequences {
        match self {
            Layout::Single { seq } => Sequences::batch(1, *seq),
            Layout::Batch { batch, seq } => Sequences::batch(*batch, *seq),
            Layout::Packed(sequences) => sequences.clone(),
        }
    }

    /// How many sequences there are.
    pub fn count(&self) -> usize {
        match self {
            Layout::Single { .. } => 1,
            Layout::Batch { batch, .. } => *batch,
            Layout::Packed(sequences) => sequences.count(),
        }
    }

    /// How many steps all sequences have together.
    pub fn total(&self) -> usize {
        match self {
            Layout::Single { seq } => *seq,
            Layout::Batch { batch, seq } => batch * seq,
            Layout::Packed(sequences) => sequences.total(),
        }
    }

    /// The axes of outputs before those of one step's slice.
    pub fn output_axes(&self) -> Vec<usize> {
        match self {
            Layout::Single { seq } => vec![*seq],
            Layout::Batch { batch, seq } => vec![*batch, *seq],
            Layout::Packed(sequences) => vec![sequences.total()],
        }
    }

    /// The axes of final states before those of one step's slice.
    pub fn state_axes(&self) -> Vec<usize> {
        match self {
            Layout::Single { .. } => Vec::new(),
            Layout::Batch { batch, .. } => vec![*batch],
            Layout::Packed(sequences) => vec![sequences.count()],
        }
    }

    /// In words, for the table of a run.
    pub fn text(&self) -> String {
        match self {
            Layout::Single { seq } => format!("1 x {seq}"),
            Layout::Batch { batch, seq } => format!("{batch} x {seq}"),
            Layout::Packed(sequences) => {
                format!("{} packed, {} in all", sequences.count(), sequences.total())
            }
        }
    }
}
