//! Text of diagnostics: an excerpt of the source with the marked places.

use super::Diagnostic;

/// Renders a diagnostic for people.
///
/// `path` names the source, `source` is its text. Lines are cut around the marked places, so that the length of
/// the result does not depend on the length of the lines.
pub fn render(_diagnostic: &Diagnostic, _path: &str, _source: &str) -> String {
    String::new()
}
