//! What a run says about its data: nothing that stops it, but what its results are not to be trusted for.

use ssmc_runtime::Event;

use crate::diag::{Code, Diagnostic, Span};

/// Something that happened in a run, and where it happened first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The expression that it is about.
    pub span: Span,
    /// What happened: lower case, no full stop.
    pub message: String,
    /// The sequence of the run and the step of the sequence.
    pub event: Event,
}

/// What is said of a linear system whose matrix is not positive definite.
pub(crate) const NOT_DEFINITE: &str = "the matrix of `solve` is not positive definite: its solution is NaN";

impl Report {
    /// The report as a warning.
    pub fn diagnostic(&self) -> Diagnostic {
        let Event { sequence, step } = self.event;
        Diagnostic::error(Code::S415, self.span, &self.message)
            .label(format!("first in step {step} of sequence {sequence}"))
            .into_warning()
    }
}
