//! The sets of labelled sequences in the files of `--data`.
//!
//! In: the names and shapes in the files. Out: sequences end to end, each with what is expected at some of its steps.
//!
//! | tensors (each may have `data.` before its name) | what it is |
//! | --- | --- |
//! | `tokens_S [n, length]`, `labels_S [n]` | a label for the last step of each sequence |
//! | the same, `labels_S [n, length]` | a label for each step; negative ones do not count |
//! | `tokens_S [total]`, `cu_seqlens_S [n + 1]`, `labels_S [n]` or `[total]` | sequences of different lengths |
//! | `S.input_ids [n, length]`, `S.mask` of the same shape | each token where the mask is 1 is expected of the step before it |
//!
//! `S` names the set; `tokens`, `labels`, `cu_seqlens`, `input_ids` and `mask` alone are a set without a name.

use std::collections::BTreeMap;
use std::ops::Range;

use ssmc::diag::{Code, Diagnostic};
use ssmc_runtime::Elements;

use crate::cli::files::{Files, Found};
use crate::cli::program::listed;
use crate::cli::tensors::{Kind, shape_text};

/// How a set's labels are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    /// `tokens` and `labels`.
    Labels,
    /// `input_ids` and `mask`.
    Mask,
}

/// A set that was found, before its elements are read.
#[derive(Debug)]
pub struct Located {
    name: String,
    scheme: Scheme,
    tokens: Found,
    /// The labels, or the mask.
    labels: Found,
    cuts: Option<Found>,
}

/// A set of sequences with what is expected of them.
#[derive(Debug)]
pub struct Set {
    /// Its name, empty for the set without one.
    pub name: String,
    /// All sequences, end to end.
    pub tokens: Vec<i32>,
    /// Where each sequence lies.
    pub sequences: Vec<Range<usize>>,
    /// What is expected, sequence by sequence.
    pub answers: Vec<Answer>,
}

/// What is right or wrong as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which sequence.
    pub sequence: usize,
    /// How long it is: the steps of the sequence, or the tokens of one run of the mask.
    pub length: usize,
    /// What is expected at which steps of the sequence, ascending.
    pub targets: Vec<(usize, i32)>,
}

/// Finds all sets, or those with the names that are given, with or without the length at the end.
///
/// # Errors
/// S403 where there is none, or a tensor of one is missing.
pub fn locate(files: &mut Files, chosen: &[String]) -> Result<Vec<Located>, Vec<Diagnostic>> {
    let mut names: BTreeMap<(String, bool), String> = BTreeMap::new();
    for name in files.names() {
        let bare = name.strip_prefix("data.").unwrap_or(&name);
        let set = match bare.strip_prefix("tokens") {
            Some("") => Some((String::new(), false)),
            Some(rest) => rest.strip_prefix('_').map(|set| (set.to_owned(), false)),
            None if bare == "input_ids" => Some((String::new(), true)),
            None => bare.strip_suffix(".input_ids").map(|set| (set.to_owned(), true)),
        };
        if let Some(set) = set {
            names.insert(set, name);
        }
    }
    if names.is_empty() {
        return Err(vec![
            files
                .missing("data", "tokens", "the tensor", &[])
                .help("`tokens` and `labels`, or `input_ids` and `mask`, make a set of sequences"),
        ]);
    }
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for name in chosen {
        if !names.keys().any(|(set, _)| set == name || stem(set) == name) {
            let known: Vec<&str> = names.keys().map(|(set, _)| set.as_str()).collect();
            let error = Diagnostic::error_at(Code::S403, "--set", format!("there is no set `{name}`"));
            errors.push(error.help(format!("the files have {}", listed(known.into_iter()))));
        }
    }
    names.retain(|(set, _), _| chosen.is_empty() || chosen.iter().any(|name| set == name || stem(set) == name));
    for ((set, masked), tokens) in names {
        match locate_one(files, set, masked, &tokens) {
            Ok(located) => found.push(located),
            Err(error) => errors.push(error),
        }
    }
    // By the number in the name, then by the name.
    found.sort_by_key(|set| (stem(&set.name).to_owned(), number(&set.name), set.name.clone()));
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// The name of a set without the length that it ends in: `copy` of `copy_L20`.
pub fn stem(name: &str) -> &str {
    let short = name.trim_end_matches(|c: char| c.is_ascii_digit());
    match short.strip_suffix('L') {
        Some(stem) if short.len() < name.len() => stem.trim_end_matches(['_', '.']),
        _ => name,
    }
}

fn number(name: &str) -> u64 {
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    name[name.len() - digits..].parse().unwrap_or(0)
}

fn locate_one(files: &mut Files, name: String, masked: bool, tokens: &str) -> Result<Located, Diagnostic> {
    let scheme = if masked { Scheme::Mask } else { Scheme::Labels };
    let beside = |what: &str| match (masked, name.is_empty()) {
        (_, true) => what.to_owned(),
        (false, false) => format!("{what}_{name}"),
        (true, false) => format!("{name}.{what}"),
    };
    let found = files.find_exact(tokens)?.expect("it is one of the files' names");
    let wanted = beside(if masked { "mask" } else { "labels" });
    let Some(labels) = files.find("data", &wanted)? else {
        return Err(files.missing("data", &wanted, "the tensor", &[]));
    };
    let cuts = if masked { None } else { files.find("data", &beside("cu_seqlens"))? };
    let rank = found.entry.shape.len();
    let expected = match (masked, &cuts) {
        (true, _) => (rank == 2).then_some(()).ok_or("`[n, length]`"),
        (false, Some(_)) => (rank == 1).then_some(()).ok_or("`[total]`, as `cu_seqlens` cuts it"),
        (false, None) => (1..=2).contains(&rank).then_some(()).ok_or("`[n, length]` or `[length]`"),
    };
    if let Err(expected) = expected {
        let message = format!("expected {expected}, found {}", shape_text(&found.entry.shape));
        return Err(files.error(&found, Code::S404, message));
    }
    Ok(Located { name, scheme, tokens: found, labels, cuts })
}

impl Located {
    /// Reads the set; tokens lie below `tokens`, and labels below `labels` where there is such a bound.
    ///
    /// # Errors
    /// S404, S405 and S406 for tensors that do not fit, and those of the files.
    pub fn read(&self, files: &mut Files, tokens: i64, labels: Option<i64>) -> Result<Set, Diagnostic> {
        let values = integers(files, &self.tokens, Some(tokens))?;
        let sequences = self.sequences(files, values.len())?;
        let answers = match self.scheme {
            Scheme::Labels => self.by_labels(files, &sequences, values.len(), labels)?,
            Scheme::Mask => self.by_mask(files, &sequences, &values, labels)?,
        };
        Ok(Set { name: self.name.clone(), tokens: values, sequences, answers })
    }

    fn sequences(&self, files: &mut Files, total: usize) -> Result<Vec<Range<usize>>, Diagnostic> {
        let Some(cuts) = &self.cuts else {
            let (count, length) = match self.tokens.entry.shape[..] {
                [count, length] => (count, length),
                _ => (1, total),
            };
            if length == 0 {
                return Err(files.error(&self.tokens, Code::S404, "the sequences have no steps"));
            }
            return Ok((0..count).map(|at| at * length..(at + 1) * length).collect());
        };
        if cuts.entry.shape.len() != 1 || cuts.entry.shape[0] == 0 {
            let message = format!("expected `[n + 1]`, found {}", shape_text(&cuts.entry.shape));
            return Err(files.error(cuts, Code::S404, message));
        }
        let at = files.read_integers(cuts)?;
        let ends = at[0] == 0 && at[at.len() - 1] == total as i64;
        if !ends || at.windows(2).any(|pair| pair[0] >= pair[1]) {
            let message = format!("the elements must ascend from 0 to {total}, every sequence with at least one step");
            return Err(files.error(cuts, Code::S406, message));
        }
        Ok(at.windows(2).map(|pair| pair[0] as usize..pair[1] as usize).collect())
    }

    /// A label for every sequence, or for every step.
    fn by_labels(
        &self,
        files: &mut Files,
        sequences: &[Range<usize>],
        total: usize,
        below: Option<i64>,
    ) -> Result<Vec<Answer>, Diagnostic> {
        let shape = &self.labels.entry.shape;
        let whole = shape[..] == [sequences.len()] || (sequences.len() == 1 && shape.is_empty());
        let steps = *shape == self.tokens.entry.shape;
        if !whole && !steps {
            let message = format!(
                "expected `[{}]`, a label for each sequence, or {}, one for each step; found {}",
                sequences.len(),
                shape_text(&self.tokens.entry.shape),
                shape_text(shape)
            );
            return Err(files.error(&self.labels, Code::S404, message));
        }
        let labels = integers(files, &self.labels, None)?;
        // Steps that do not count have negative labels; a sequence always counts.
        let wrong = |&label: &i32| below.is_some_and(|n| i64::from(label) >= n) || (label < 0 && whole);
        if let Some(at) = labels.iter().position(wrong) {
            let range = below.map_or("at least 0".to_owned(), |n| format!("in the range 0 to {}", n - 1));
            let message = format!("element {at} is {}, which is not {range}", labels[at]);
            return Err(files.error(&self.labels, Code::S406, message));
        }
        debug_assert!(whole || labels.len() == total);
        let mut answers = Vec::new();
        for (sequence, steps) in sequences.iter().enumerate() {
            let targets: Vec<(usize, i32)> = match whole {
                true => vec![(steps.len() - 1, labels[sequence])],
                false => steps.clone().map(|at| (at - steps.start, labels[at])).filter(|(_, l)| *l >= 0).collect(),
            };
            if !targets.is_empty() {
                answers.push(Answer { sequence, length: steps.len(), targets });
            }
        }
        Ok(answers)
    }

    /// Every run of the mask is an answer; its tokens are expected one step before they stand there.
    fn by_mask(
        &self,
        files: &mut Files,
        sequences: &[Range<usize>],
        tokens: &[i32],
        below: Option<i64>,
    ) -> Result<Vec<Answer>, Diagnostic> {
        if self.labels.entry.shape != self.tokens.entry.shape {
            let (expected, found) = (&self.tokens.entry.shape, &self.labels.entry.shape);
            let message = format!("expected {}, found {}", shape_text(expected), shape_text(found));
            return Err(files.error(&self.labels, Code::S404, message));
        }
        let Elements::Bool(mask) = files.read::<f32>(&self.labels, Kind::Bool)? else {
            unreachable!("truth values were asked for")
        };
        let mut answers: Vec<Answer> = Vec::new();
        for (sequence, steps) in sequences.iter().enumerate() {
            let mut open = false;
            for at in steps.clone() {
                if mask[at] == 0 {
                    open = false;
                    continue;
                }
                if at == steps.start {
                    let message = format!("element {at} is 1, but no step stands before it to give that token");
                    return Err(files.error(&self.labels, Code::S406, message));
                }
                if below.is_some_and(|n| i64::from(tokens[at]) >= n) {
                    let message = format!("element {at} is {}: the layer's output has no such place", tokens[at]);
                    return Err(files.error(&self.tokens, Code::S406, message));
                }
                if !std::mem::replace(&mut open, true) {
                    answers.push(Answer { sequence, length: 0, targets: Vec::new() });
                }
                let answer = answers.last_mut().expect("one is open");
                answer.targets.push((at - steps.start - 1, tokens[at]));
                answer.length += 1;
            }
        }
        Ok(answers)
    }
}

fn integers(files: &mut Files, found: &Found, below: Option<i64>) -> Result<Vec<i32>, Diagnostic> {
    match files.read::<f32>(found, Kind::Int { below })? {
        Elements::Int(values) => Ok(values),
        _ => unreachable!("integers were asked for"),
    }
}
