//! `ssmc bench --compare A.json B.json`: ratios of two results, with their uncertainty.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use ssmc::diag::{Code, Diagnostic};

use super::timing::AGREE;
use crate::cli::results::table;
use crate::cli::{Outcome, Verdict, report};

/// The longest result that is read.
const MOST_BYTES: u64 = 256 << 20;

/// What of a row has to be the same for two rows to be of the same thing.
const KEY: [&str; 8] = ["layer", "plan", "dtype", "isa", "lanes", "threads", "seq", "batch"];

/// A row of a result, as far as it is compared.
#[derive(Clone, Debug, PartialEq)]
struct Measured {
    key: Vec<String>,
    min: f64,
    median: f64,
    /// The 95 % interval of the median.
    interval: [f64; 2],
    /// How far the minima of two halves were apart.
    spread: f64,
    noisy: bool,
}

/// Two rows of the same thing: the second over the first.
#[derive(Clone, Debug, PartialEq)]
struct Ratio {
    key: Vec<String>,
    times: [f64; 2],
    /// Of the minima, with what it may be off.
    min: f64,
    uncertainty: f64,
    /// Of the medians, with its interval.
    median: f64,
    interval: [f64; 2],
    noisy: bool,
}

/// Prints the ratios of two results.
///
/// # Errors
/// S401 and S402 for the files; S403 where they have no row in common.
pub fn execute(files: &[PathBuf], as_json: bool) -> Outcome {
    let [a, b] = files else {
        return Err(vec![Diagnostic::error_at(Code::S401, "--compare", "expected two files")]);
    };
    let (a, b) = crate::cli::setup::both(read(a).map_err(|error| vec![error]), read(b).map_err(|error| vec![error]))?;
    let (ratios, alone) = pair(&a, &b);
    if ratios.is_empty() {
        let message = "the two results have no row in common";
        return Err(vec![Diagnostic::error_at(Code::S403, "--compare", message)]);
    }
    report::out(&if as_json { to_json(&ratios) } else { to_text(&ratios) }).map_err(|error| vec![error])?;
    if alone > 0 {
        let message = format!("{alone} rows are in one of the two results only");
        report::print(&[Diagnostic::error_at(Code::S403, "--compare", message).into_note()], "", "");
    }
    Ok(Verdict::Done)
}

fn read(path: &Path) -> Result<Vec<Measured>, Diagnostic> {
    let place = path.display().to_string();
    let failed = |code, message: String| Diagnostic::error_at(code, place.clone(), message);
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| failed(Code::S401, format!("cannot read: {error}")))?;
    let mut limited = file.take(MOST_BYTES + 1);
    limited.read_to_string(&mut text).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => failed(Code::S402, "it is no text".to_owned()),
        _ => failed(Code::S401, format!("cannot read: {error}")),
    })?;
    if text.len() as u64 > MOST_BYTES {
        return Err(failed(Code::S408, format!("it is longer than {MOST_BYTES} bytes")));
    }
    let value: Value =
        serde_json::from_str(&text).map_err(|error| failed(Code::S402, format!("it is not JSON: {error}")))?;
    let rows = value.as_array().ok_or_else(|| failed(Code::S402, "expected an array of rows".to_owned()))?;
    let measured = rows.iter().enumerate().map(|(at, row)| {
        measured(row).map_err(|field| failed(Code::S402, format!("row {at}: `{field}` is missing or makes no sense")))
    });
    measured.collect()
}

/// A row; or the field that is wrong. Rows that others have written may lack all but the contract's fields.
fn measured(row: &Value) -> Result<Measured, &'static str> {
    let time = |name: &'static str| row[name].as_f64().filter(|x| x.is_finite() && *x > 0.0).ok_or(name);
    let (min, median) = (time("ms_min")?, time("ms_median")?);
    let key = KEY.iter().map(|&name| match &row[name] {
        Value::String(text) => Ok(text.clone()),
        Value::Number(n) => Ok(n.to_string()),
        Value::Null if name == "layer" || name == "dtype" => Ok(String::new()),
        _ => Err(name),
    });
    Ok(Measured {
        key: key.collect::<Result<_, _>>()?,
        min,
        median,
        interval: [time("ms_low").unwrap_or(min.min(median)), time("ms_high").unwrap_or(median)],
        spread: row["spread"].as_f64().filter(|x| x.is_finite() && *x >= 0.0).unwrap_or(AGREE),
        noisy: row["noisy"].as_bool().unwrap_or(false),
    })
}

/// The ratios of rows that both have, and how many only one has.
fn pair(a: &[Measured], b: &[Measured]) -> (Vec<Ratio>, usize) {
    let mut ratios = Vec::new();
    for first in a {
        let Some(second) = b.iter().find(|row| row.key == first.key) else { continue };
        ratios.push(Ratio {
            key: first.key.clone(),
            times: [first.min, second.min],
            min: second.min / first.min,
            uncertainty: first.spread.hypot(second.spread),
            median: second.median / first.median,
            interval: [second.interval[0] / first.interval[1], second.interval[1] / first.interval[0]],
            noisy: first.noisy || second.noisy,
        });
    }
    let alone = a.len() + b.len() - 2 * ratios.len().min(a.len()).min(b.len());
    (ratios, alone)
}

impl Ratio {
    /// What the ratio shows: less than 3 % is never called a difference.
    fn verdict(&self) -> &'static str {
        let least = self.uncertainty.max(AGREE);
        if self.noisy {
            "too noisy to tell"
        } else if (self.min - 1.0).abs() <= least {
            "the same"
        } else if self.min < 1.0 {
            "faster"
        } else {
            "slower"
        }
    }
}

fn to_text(ratios: &[Ratio]) -> String {
    let head = [
        "layer",
        "plan",
        "type",
        "isa",
        "lanes",
        "threads",
        "seq",
        "batch",
        "A ms",
        "B ms",
        "min B/A",
        "median B/A [95 %]",
        "",
    ];
    let rows = ratios.iter().map(|ratio| {
        let mut cells = ratio.key.clone();
        cells.extend(ratio.times.iter().map(|ms| format!("{ms:.4}")));
        cells.push(format!("{:.3} ± {:.3}", ratio.min, ratio.min * ratio.uncertainty));
        cells.push(format!("{:.3} [{:.3}, {:.3}]", ratio.median, ratio.interval[0], ratio.interval[1]));
        cells.push(ratio.verdict().to_owned());
        cells
    });
    table(&head, rows)
}

fn to_json(ratios: &[Ratio]) -> String {
    let rows = ratios.iter().map(|ratio| {
        let mut row = serde_json::Map::new();
        for (name, value) in KEY.iter().zip(&ratio.key) {
            let number = value.parse::<u64>().ok().filter(|_| !matches!(*name, "layer" | "plan" | "dtype" | "isa"));
            row.insert((*name).to_owned(), number.map_or(json!(value), |n| json!(n)));
        }
        for (name, value) in [
            ("ms_min_a", json!(ratio.times[0])),
            ("ms_min_b", json!(ratio.times[1])),
            ("ratio_min", json!(ratio.min)),
            ("uncertainty_min", json!(ratio.min * ratio.uncertainty)),
            ("ratio_median", json!(ratio.median)),
            ("ratio_low", json!(ratio.interval[0])),
            ("ratio_high", json!(ratio.interval[1])),
            ("verdict", json!(ratio.verdict())),
        ] {
            row.insert(name.to_owned(), value);
        }
        Value::Object(row)
    });
    format!("{:#}\n", Value::Array(rows.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(plan: &str, min: f64, spread: f64) -> Value {
        json!({
            "layer": "a", "plan": plan, "dtype": "f32", "isa": "sse2", "lanes": 4, "threads": 1, "seq": 8, "batch": 1,
            "ms_min": min, "ms_median": min * 1.1, "ms_low": min * 1.05, "ms_high": min * 1.2, "spread": spread,
            "noisy": false,
        })
    }

    fn ratios(a: &[Value], b: &[Value]) -> (Vec<Ratio>, usize) {
        let all = |rows: &[Value]| rows.iter().map(|row| measured(row).expect("a row")).collect::<Vec<_>>();
        pair(&all(a), &all(b))
    }

    #[test]
    fn ratios_come_with_their_uncertainty() {
        let (ratios, alone) =
            ratios(&[row("step", 2.0, 0.003), row("x", 1.0, 0.0)], &[row("y", 1.0, 0.0), row("step", 3.0, 0.004)]);
        assert_eq!((ratios.len(), alone), (1, 2));
        let ratio = &ratios[0];
        assert_eq!((ratio.min, ratio.verdict()), (1.5, "slower"));
        assert!((ratio.uncertainty - 0.005).abs() < 1e-12);
        assert!((ratio.interval[0] - 3.0 * 1.05 / (2.0 * 1.2)).abs() < 1e-12);
        assert!((ratio.interval[1] - 3.0 * 1.2 / (2.0 * 1.05)).abs() < 1e-12);
    }

    #[test]
    fn small_differences_are_none() {
        let verdict = |min: f64, spread: f64| ratios(&[row("p", 1.0, 0.0)], &[row("p", min, spread)]).0[0].verdict();
        assert_eq!((verdict(1.029, 0.0), verdict(0.971, 0.0)), ("the same", "the same"));
        assert_eq!((verdict(1.05, 0.0), verdict(0.95, 0.0)), ("slower", "faster"));
        assert_eq!(verdict(1.05, 0.06), "the same");
        let mut noisy = row("p", 2.0, 0.0);
        noisy["noisy"] = json!(true);
        assert_eq!(ratios(&[row("p", 1.0, 0.0)], &[noisy]).0[0].verdict(), "too noisy to tell");
    }

    #[test]
    fn rows_that_make_no_sense_are_refused() {
        for (name, value) in [
            ("ms_min", json!(0)),
            ("ms_min", json!("1")),
            ("ms_median", json!(-1)),
            ("plan", json!(null)),
            ("seq", json!([1])),
        ] {
            let mut bad = row("p", 1.0, 0.0);
            bad[name] = value;
            assert_eq!(measured(&bad), Err(name));
        }
        assert!(measured(&json!(3)).is_err());
        // The contract's fields are enough.
        let mut plain = row("p", 1.0, 0.0);
        for extra in ["layer", "dtype", "ms_low", "ms_high", "spread", "noisy"] {
            plain.as_object_mut().expect("an object").remove(extra);
        }
        assert!(measured(&plain).is_ok());
    }
}
