//! How many answers are right, as a table, as JSON and as a chart.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use ssmc::diag::{Code, Diagnostic};
use ssmc::ir;

use super::sets::{Set, stem};
use crate::cli::plot::{Axis, Chart, Line, svg};
use crate::cli::report;
use crate::cli::results::table;

/// The answers of one length in one set.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    set: String,
    length: usize,
    answers: usize,
    right: usize,
    targets: usize,
    targets_right: usize,
}

/// The result of an evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    layer: String,
    plan: &'static str,
    bits: u32,
    state_bytes: usize,
    alphabet: Option<u16>,
    /// Whether some answers have several targets.
    several: bool,
    rows: Vec<Row>,
}

impl Report {
    /// Sums up. `right` has how many targets of each answer of each set are right.
    pub fn of(
        layer: &ir::Layer,
        plan: &'static str,
        bits: u32,
        state_bytes: usize,
        alphabet: Option<u16>,
        sets: &[Set],
        right: &[Vec<usize>],
    ) -> Self {
        let mut rows: Vec<Row> = Vec::new();
        for (set, right) in sets.iter().zip(right) {
            let mut by_length: BTreeMap<usize, Row> = BTreeMap::new();
            for (answer, &right) in set.answers.iter().zip(right) {
                let letters = |n| answer.targets.iter().filter(|(_, label)| *label < i32::from(n)).count();
                let length = alphabet.map_or(answer.length, letters);
                let row = by_length.entry(length).or_insert_with(|| Row {
                    set: set.name.clone(),
                    length,
                    answers: 0,
                    right: 0,
                    targets: 0,
                    targets_right: 0,
                });
                row.answers += 1;
                row.right += usize::from(right == answer.targets.len());
                row.targets += answer.targets.len();
                row.targets_right += right;
            }
            rows.extend(by_length.into_values());
        }
        let several = rows.iter().any(|row| row.targets > row.answers);
        Self { layer: layer.name.clone(), plan, bits, state_bytes, alphabet, several, rows }
    }

    /// Prints it, and draws it where asked for.
    ///
    /// # Errors
    /// S401
    pub fn write(&self, as_json: bool, plot: Option<&Path>) -> Result<(), Diagnostic> {
        if let Some(path) = plot {
            let failed = |why: String| {
                Diagnostic::error_at(Code::S401, path.display().to_string(), format!("cannot write: {why}"))
            };
            let text = svg(&self.chart()).map_err(failed)?;
            std::fs::write(path, text).map_err(|error| failed(error.to_string()))?;
        }
        report::out(&if as_json { format!("{:#}\n", self.json()) } else { self.text() })
    }

    /// How many bits the state has.
    fn state_bits(&self) -> f64 {
        self.state_bytes as f64 * 8.0
    }

    /// The length where the bits of a string are those of the state.
    fn crossing(&self) -> Option<f64> {
        self.alphabet.map(|n| self.state_bits() / f64::from(n).log2())
    }

    /// The most strings of this length that a model with this state can get right: the number of its states over
    /// the number of strings (Jelassi et al. 2024, the bound on generalised state space models).
    fn bound(&self, length: usize) -> Option<f64> {
        self.alphabet.map(|n| (self.state_bits() - length as f64 * f64::from(n).log2()).exp2().min(1.0))
    }

    fn text(&self) -> String {
        let mut facts = vec![
            vec!["layer".to_owned(), self.layer.clone()],
            vec!["plan".to_owned(), format!("{}, f{}", self.plan, self.bits)],
            vec!["carried state".to_owned(), format!("{} bytes, {} bits", self.state_bytes, self.state_bytes * 8)],
        ];
        if let (Some(n), Some(length)) = (self.alphabet, self.crossing()) {
            let text = format!("{length:.1} letters of {n} have as many bits");
            facts.push(vec![String::new(), text]);
        }
        let named = self.rows.iter().any(|row| !row.set.is_empty());
        let mut head = Vec::new();
        head.extend(named.then_some("set"));
        head.extend(["length", "answers", "right", "accuracy"]);
        head.extend(self.several.then_some("steps right"));
        head.extend(self.alphabet.map(|_| ["bits", "at most"]).into_iter().flatten());
        let rows = self.rows.iter().map(|row| {
            let mut cells = Vec::new();
            cells.extend(named.then(|| row.set.clone()));
            cells.extend([row.length.to_string(), row.answers.to_string(), row.right.to_string()]);
            cells.push(percent(row.right, row.answers));
            cells.extend(self.several.then(|| percent(row.targets_right, row.targets)));
            if let (Some(n), Some(bound)) = (self.alphabet, self.bound(row.length)) {
                cells.push(format!("{:.0}", row.length as f64 * f64::from(n).log2()));
                cells.push(format!("{} %", crate::cli::results::number(bound * 100.0)));
            }
            cells
        });
        format!("{}\n{}", table(&[], facts), table(&head, rows))
    }

    fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let mut object = json!({
                    "set": row.set,
                    "length": row.length,
                    "answers": row.answers,
                    "right": row.right,
                    "accuracy": share(row.right, row.answers),
                    "steps": row.targets,
                    "steps_right": row.targets_right,
                });
                if let (Some(n), Some(bound)) = (self.alphabet, self.bound(row.length)) {
                    object["bits"] = json!(row.length as f64 * f64::from(n).log2());
                    object["at_most"] = json!(bound);
                }
                object
            })
            .collect();
        let mut object = json!({
            "layer": self.layer,
            "plan": self.plan,
            "dtype": format!("f{}", self.bits),
            "state_bytes": self.state_bytes,
            "rows": rows,
        });
        if let Some(length) = self.crossing() {
            object["state_letters"] = json!(length);
        }
        object
    }

    /// Accuracy over length: a line for each kind of set, whose names differ in the length only.
    fn chart(&self) -> Chart {
        let mut lines: Vec<Line> = Vec::new();
        let stems: Vec<&str> = self.rows.iter().map(|row| stem(&row.set)).collect();
        let mut kinds = stems.clone();
        kinds.sort_unstable();
        kinds.dedup();
        for kind in &kinds {
            let mut add = |what: &str, y: &dyn Fn(&Row) -> f64| {
                let rows = self.rows.iter().zip(&stems).filter(|(_, stem)| *stem == kind).map(|(row, _)| row);
                let mut points: Vec<(f64, f64)> = rows.map(|row| (row.length as f64, y(row))).collect();
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
                let name = [*kind, what].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
                lines.push(Line { label: name.join(": "), points });
            };
            let whole = if self.several { "whole answers" } else { "" };
            add(whole, &|row| 100.0 * share(row.right, row.answers));
            if self.several {
                add("steps", &|row| 100.0 * share(row.targets_right, row.targets));
            }
        }
        let lengths = self.rows.iter().map(|row| row.length);
        let spread = lengths.clone().max().unwrap_or(1) / lengths.min().unwrap_or(1).max(1);
        Chart {
            title: format!("{}, f{}, a state of {} bytes", self.layer, self.bits, self.state_bytes),
            x: Axis { label: "length".to_owned(), log: spread > 30, range: None },
            y: Axis { label: "right, %".to_owned(), log: false, range: Some(0.0..105.0) },
            lines,
        }
    }
}

fn share(right: usize, all: usize) -> f64 {
    right as f64 / all.max(1) as f64
}

/// `99.5 %`; never 100 where something is wrong.
fn percent(right: usize, all: usize) -> String {
    if right == all {
        return "100 %".to_owned();
    }
    // Rounded down, to hundredths.
    let hundredths = (right as u128 * 10_000 / all as u128) as f64 / 100.0;
    format!("{hundredths} %")
}
