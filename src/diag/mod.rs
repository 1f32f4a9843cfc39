//! Diagnostics: what the user did wrong, where, and the way out.
//!
//! In: a [`Code`], a message, labels on the source (or the name of a data file). Out: [`render::render`] turns
//! them into text. A diagnostic always has a code and a place. Nothing here prints or exits.

mod codes;
pub mod render;

pub use codes::Code;

/// A half-open range of byte offsets in the source text.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset behind the last byte.
    pub end: u32,
}

impl Span {
    /// The span of `start..end`.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    /// The smallest span that holds both.
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

impl std::fmt::Debug for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// A place in the source with what is to be said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The marked text.
    pub span: Span,
    /// What is said about it; may be empty.
    pub message: String,
}

/// How much a diagnostic matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The program or the data cannot be used.
    Error,
    /// It can be used, and what comes out may not be what is wanted.
    Warning,
    /// It can be used, and the user should know this.
    Note,
}

/// Something that the user has to know about the program or the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it stops the run.
    pub severity: Severity,
    /// The number under which the documentation explains it.
    pub code: Code,
    /// One sentence: lower case, no full stop.
    pub message: String,
    /// Marks the cause. `None` where the cause is not in the source text.
    pub primary: Option<Label>,
    /// Marks what the cause conflicts with.
    pub secondary: Vec<Label>,
    /// The place where there is no source text: a file and a tensor, an option, a line of input.
    pub place: Option<String>,
    /// At most one way out, and only one that works.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at a place in the source text.
    pub fn error(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            primary: Some(Label { span, message: String::new() }),
            secondary: Vec::new(),
            place: None,
            help: None,
        }
    }

    /// An error in something that is not source text: a data file, an option.
    pub fn error_at(code: Code, place: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            primary: None,
            secondary: Vec::new(),
            place: Some(place.into()),
            help: None,
        }
    }

    /// The same diagnostic as a warning.
    pub fn into_warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// The same diagnostic as a note.
    pub fn into_note(mut self) -> Self {
        self.severity = Severity::Note;
        self
    }

    /// Says something about the marked cause.
    pub fn label(mut self, message: impl Into<String>) -> Self {
        if let Some(primary) = &mut self.primary {
            primary.message = message.into();
        }
        self
    }

    /// Marks a second place.
    pub fn also(mut self, span: Span, message: impl Into<String>) -> Self {
        self.secondary.push(Label { span, message: message.into() });
        self
    }

    /// Adds the way out.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// The longest name, in bytes, that is compared with others: the comparison takes the product of the lengths.
const LONGEST_NAME: usize = 256;

/// The name among `known` that a misspelt `name` most likely meant; none for names of absurd length.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > LONGEST_NAME {
        return None;
    }
    let limit = (name.chars().count() / 3).max(1);
    known
        .into_iter()
        .filter(|candidate| *candidate != name && candidate.len() <= LONGEST_NAME)
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
