//! Text of diagnostics: an excerpt of the source with the marked places.
//!
//! In: a diagnostic and the source that its labels point into. Out: a few lines, the same for the same input on every
//! machine. Long lines are cut around the marked places, a place of several lines is marked on its first, and characters
//! that would move a terminal's cursor are replaced: the result is as short as it is harmless.

use std::ops::Range;

use codespan_reporting::diagnostic as codespan;
use codespan_reporting::files::{Error, Files};
use codespan_reporting::term::{self, Chars, Config};

use super::{Diagnostic, Severity, Span};

/// The longest line that is shown whole, in characters.
const WHOLE_LINE: usize = 160;
/// The longest word that a message has whole, in bytes: a path may be long.
const LONGEST_WORD: usize = 1000;
/// How much of a longer line is shown around a marked place, in bytes.
const AROUND: usize = 60;
/// How much of a long marked place is shown, in bytes.
const MARKED: usize = 80;

/// Renders a diagnostic for people.
///
/// `path` names the source, `source` is its text. Lines are cut around the marked places, so that the length of
/// the result does not depend on the length of the lines.
pub fn render(diagnostic: &Diagnostic, path: &str, source: &str) -> String {
    let text = render_with(diagnostic, path, source, |config, excerpt, report| {
        term::emit_into_string(config, excerpt, report).expect("an excerpt holds all that its labels mark")
    });
    text.lines().flat_map(|line| [line.trim_end(), "\n"]).collect()
}

/// Renders a diagnostic with the escape sequences of a terminal's colours.
pub fn render_coloured(diagnostic: &Diagnostic, path: &str, source: &str) -> String {
    render_with(diagnostic, path, source, |config, excerpt, report| {
        let mut buffer = term::termcolor::Buffer::ansi();
        term::emit_to_write_style(&mut buffer, config, excerpt, report)
            .expect("an excerpt holds all that its labels mark");
        String::from_utf8_lossy(buffer.as_slice()).into_owned()
    })
}

fn render_with(
    diagnostic: &Diagnostic,
    path: &str,
    source: &str,
    emit: impl Fn(&Config, &Excerpt<'_>, &codespan::Diagnostic<()>) -> String,
) -> String {
    let mut report = match diagnostic.severity {
        Severity::Error => codespan::Diagnostic::error(),
        Severity::Warning => codespan::Diagnostic::warning(),
        Severity::Note => codespan::Diagnostic::note(),
    };
    report = report.with_code(diagnostic.code).with_message(printable(&diagnostic.message));
    let labels: Vec<(&super::Label, codespan::LabelStyle)> = diagnostic
        .primary
        .iter()
        .map(|label| (label, codespan::LabelStyle::Primary))
        .chain(diagnostic.secondary.iter().map(|label| (label, codespan::LabelStyle::Secondary)))
        .collect();
    let excerpt = Excerpt::new(path, source, labels.iter().map(|(label, _)| label.span));
    for ((label, style), range) in labels.iter().zip(&excerpt.marked) {
        report =
            report.with_label(codespan::Label::new(*style, (), range.clone()).with_message(printable(&label.message)));
    }
    if let Some(help) = &diagnostic.help {
        report = report.with_note(format!("help: {}", printable(help)));
    }
    if let Some(place) = &diagnostic.place {
        let place = printable(place);
        if !labels.is_empty() {
            report = report.with_note(format!("in {place}"));
        } else {
            return without_source(&emit(&config(), &excerpt, &report), &place);
        }
    }
    emit(&config(), &excerpt, &report)
}

fn config() -> Config {
    Config { chars: Chars::ascii(), ..Config::default() }
}

/// Puts the place behind the first line.
fn without_source(text: &str, place: &str) -> String {
    let (head, rest) = text.split_once('\n').unwrap_or((text, ""));
    // Without line numbers the notes stand one column further left than the arrow.
    format!("{head}\n  --> {place}\n{}", rest.replace(" = help", "  = help"))
}

/// The text with other characters for those that a terminal does not show as they are, and very long words cut.
fn printable(text: &str) -> String {
    let text: String =
        text.chars().map(|character| if character == '\n' { character } else { shown(character) }).collect();
    // The end of a word has the quotation mark and what else belongs to the sentence.
    let ends = |word: &str| (boundary(word, AROUND), boundary(word, word.len() - AROUND));
    let words = text.split_inclusive(char::is_whitespace).map(|word| match word.len() {
        ..=LONGEST_WORD => word.to_owned(),
        _ => format!("{}\u{2026}{}", &word[..ends(word).0], &word[ends(word).1..]),
    });
    words.collect()
}

fn shown(character: char) -> char {
    match character {
        '\t' => ' ',
        '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => char::REPLACEMENT_CHARACTER,
        character if character.is_control() => char::REPLACEMENT_CHARACTER,
        character => character,
    }
}

/// The lines of a source that labels mark, cut to a readable length.
struct Excerpt<'a> {
    path: &'a str,
    text: String,
    lines: Vec<Line>,
    /// The labels' places in `text`.
    marked: Vec<Range<usize>>,
    /// Where the first label starts, in characters of its line from 1.
    column: usize,
}

/// A line of the excerpt.
struct Line {
    number: usize,
    range: Range<usize>,
}

/// What of a source line the labels mark.
struct MarkedLine {
    number: usize,
    range: Range<usize>,
    /// Labels: their position in the diagnostic, and the marked part of the line.
    labels: Vec<(usize, Range<usize>)>,
}

impl<'a> Excerpt<'a> {
    fn new(path: &'a str, source: &str, spans: impl Iterator<Item = Span>) -> Self {
        let mut marked_lines: Vec<MarkedLine> = Vec::new();
        let (mut count, mut column) = (0, 1);
        for (label, span) in spans.enumerate() {
            count += 1;
            let start = boundary(source, span.start as usize);
            let line_start = source[..start].rfind('\n').map_or(0, |newline| newline + 1);
            let line_end = source[start..].find('\n').map_or(source.len(), |newline| start + newline);
            let line_end = line_start + source[line_start..line_end].trim_end_matches('\r').len();
            let end = boundary(source, span.end as usize).clamp(start, line_end.max(start));
            if label == 0 {
                column = source[line_start..start].chars().count() + 1;
            }
            match marked_lines.iter_mut().find(|line| line.range.start == line_start) {
                Some(line) => line.labels.push((label, start..end)),
                None => {
                    let number = source[..line_start].bytes().filter(|byte| *byte == b'\n').count() + 1;
                    let range = line_start..line_end.max(end);
                    marked_lines.push(MarkedLine { number, range, labels: vec![(label, start..end)] });
                }
            }
        }
        marked_lines.sort_by_key(|line| line.number);
        let mut excerpt = Self { path, text: String::new(), lines: Vec::new(), marked: vec![0..0; count], column };
        let mut previous: Option<MarkedLine> = None;
        for line in marked_lines {
            if let Some(previous) = previous {
                excerpt.between(source, &previous, &line);
            }
            excerpt.line(source, &line);
            previous = Some(line);
        }
        if excerpt.lines.is_empty() {
            excerpt.lines.push(Line { number: 1, range: 0..0 });
        }
        excerpt
    }

    /// Stands for the lines between two marked ones: the renderer shows a single one and leaves out more.
    fn between(&mut self, source: &str, before: &MarkedLine, after: &MarkedLine) {
        match after.number - before.number {
            1 => {}
            2 => {
                let start =
                    source[before.range.end..].find('\n').map_or(before.range.end, |at| before.range.end + at + 1);
                let end = after.range.start.saturating_sub(1).max(start);
                let end = start + source[start..end].trim_end_matches('\r').len();
                self.line(source, &MarkedLine { number: before.number + 1, range: start..end, labels: Vec::new() });
            }
            _ => {
                for number in [before.number + 1, after.number - 1] {
                    self.line(source, &MarkedLine { number, range: 0..0, labels: Vec::new() });
                }
            }
        }
    }

    fn line(&mut self, source: &str, line: &MarkedLine) {
        let start = self.text.len();
        let windows = windows(source, line);
        let mut shown_to = line.range.start;
        for window in windows {
            if window.start > shown_to {
                self.text.push('…');
            }
            let mut offset = window.start;
            loop {
                for (label, range) in &line.labels {
                    if range.start == offset {
                        self.marked[*label].start = self.text.len();
                    }
                    if range.end == offset || offset == window.end && range.contains(&offset) {
                        self.marked[*label].end = self.text.len();
                    }
                }
                let Some(character) = source[offset..window.end].chars().next() else {
                    break;
                };
                self.text.push(shown(character));
                offset += character.len_utf8();
            }
            shown_to = window.end;
        }
        if shown_to < line.range.end {
            self.text.push('…');
        }
        self.text.push('\n');
        self.lines.push(Line { number: line.number, range: start..self.text.len() });
    }
}

/// The parts of a line that are shown, ascending and apart.
fn windows(source: &str, line: &MarkedLine) -> Vec<Range<usize>> {
    let range = line.range.clone();
    if source[range.clone()].chars().nth(WHOLE_LINE).is_none() {
        return vec![range];
    }
    let mut wanted: Vec<Range<usize>> = line
        .labels
        .iter()
        .map(|(_, marked)| {
            let start = marked.start.saturating_sub(AROUND).max(range.start);
            let end = (marked.end.min(marked.start + MARKED) + AROUND).min(range.end);
            boundary(source, start)..boundary(source, end)
        })
        .collect();
    if wanted.is_empty() {
        wanted.push(range.start..boundary(source, (range.start + MARKED).min(range.end)));
    }
    wanted.sort_by_key(|window| window.start);
    let mut windows: Vec<Range<usize>> = Vec::new();
    for window in wanted {
        match windows.last_mut() {
            Some(last) if window.start <= last.end => last.end = last.end.max(window.end),
            _ => windows.push(window),
        }
    }
    windows
}

/// The nearest place at or in front of `offset` where a character starts.
fn boundary(source: &str, offset: usize) -> usize {
    let mut offset = offset.min(source.len());
    while !source.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

impl<'a> Files<'a> for Excerpt<'_> {
    type FileId = ();
    type Name = &'a str;
    type Source = &'a str;

    fn name(&'a self, (): ()) -> Result<&'a str, Error> {
        Ok(self.path)
    }

    fn source(&'a self, (): ()) -> Result<&'a str, Error> {
        Ok(&self.text)
    }

    fn line_index(&'a self, (): (), offset: usize) -> Result<usize, Error> {
        Ok(self.lines.partition_point(|line| line.range.start <= offset).saturating_sub(1))
    }

    fn line_number(&'a self, (): (), line: usize) -> Result<usize, Error> {
        Ok(self.lines[line].number)
    }

    fn column_number(&'a self, (): (), _line: usize, _offset: usize) -> Result<usize, Error> {
        Ok(self.column)
    }

    fn line_range(&'a self, (): (), line: usize) -> Result<Range<usize>, Error> {
        self.lines
            .get(line)
            .map(|line| line.range.clone())
            .ok_or(Error::LineTooLarge { given: line, max: self.lines.len().saturating_sub(1) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::diag::Code;

    fn error(span: Range<usize>) -> Diagnostic {
        Diagnostic::error(Code::S201, Span::new(span.start, span.end), "a message")
    }

    #[test]
    fn a_place_without_source_stands_behind_the_arrow() {
        let missing = Diagnostic::error_at(Code::S403, "params.safetensors", "tensor `A` is missing");
        let head = "error[S403]: tensor `A` is missing\n  --> params.safetensors\n";
        assert_eq!(render(&missing, "a.ssm", ""), format!("{head}\n"));
        let text = render(&missing.into_note().help("give it"), "a.ssm", "");
        assert_eq!(text, format!("{}  = help: give it\n\n", head.replace("error", "note")));
    }

    #[test]
    fn columns_count_characters() {
        let source = "\u{e9}\u{e9}x\r\ny";
        let expected = "error[S201]: a message\n  --> a.ssm:1:3\n  |\n1 | \u{e9}\u{e9}x\n  |   ^\n\n";
        assert_eq!(render(&error(4..5), "a.ssm", source), expected);
    }

    #[test]
    fn lines_between_labels_are_left_out() {
        let source = "first\nsecond\nthird\nfourth\nfifth";
        let near = render(&error(0..5).also(Span::new(13, 18), "here"), "a.ssm", source);
        assert!(near.contains("2 | second\n3 | third"), "{near}");
        let far = render(&error(0..5).also(Span::new(26, 31), "here"), "a.ssm", source);
        assert!(far.contains("1 | first") && far.contains("5 | fifth") && !far.contains("third"), "{far}");
    }

    #[test]
    fn a_place_of_several_lines_is_marked_on_its_first() {
        let text = render(&error(2..20), "a.ssm", "abcd\nefgh\nijkl\nmnop\nqrst");
        assert!(text.contains("1 | abcd\n  |   ^^\n"), "{text}");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let text = render(&error(0..1), "a.ssm", "\u{1b}[31m\u{0}\u{202e}");
        assert!(text.chars().all(|character| character == '\n' || !character.is_control()), "{text:?}");
    }

    #[test]
    fn long_names_are_cut_in_messages() {
        let name = "\u{e9}".repeat(1_000_000);
        let missing = Diagnostic::error_at(Code::S403, name.clone(), format!("there is no `{name}` here"));
        let text = render(&missing.help(format!("not `{name}`")), "a.ssm", "");
        assert!(text.len() < 1000 && text.contains("\u{e9}` here"), "{text}");
    }

    #[test]
    fn colours_are_escape_sequences() {
        assert!(render_coloured(&error(0..1), "a.ssm", "a").contains("\u{1b}["));
    }

    proptest! {
        #[test]
        fn any_place_can_be_rendered(source in "[a\u{e9}\u{1F600}\r\n\t ]{0,400}", a in 0_usize..900, b in 0_usize..900, c in 0_usize..900) {
            let text = render(&error(a..b).also(Span::new(c, c + 7), "here"), "a.ssm", &source);
            prop_assert!(text.lines().count() < 20);
        }
    }
}
