//! The tables and charts of `docs/expressiveness.md`: made again, by the commands that the document names, and compared
//! with what it says. `BLESS=1` writes them into the document; what must be 100 % is asserted all the same.

#[path = "../examples/automata/strings.rs"]
#[allow(dead_code, reason = "the example uses the rest")]
mod strings;
#[path = "../examples/automata/tasks.rs"]
#[allow(dead_code, reason = "the example uses the rest")]
mod tasks;
#[path = "../examples/automata/tensors.rs"]
#[allow(dead_code, reason = "the example uses the rest")]
mod tensors;
#[path = "../examples/automata/weights.rs"]
#[allow(dead_code, reason = "the example uses the rest")]
mod weights;

mod command;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use command::ssmc;
use serde_json::Value;
use tasks::Task;
use tensors::Tensor;

const DOCUMENT: &str = "docs/expressiveness.md";

/// The forms of examples/regular, in the order of the tables' columns.
const FORMS: [&str; 3] = ["sdssm", "diagonal", "automaton"];

/// A folder that is gone when the test ends.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn write(&self, name: &str, tensors: &[Tensor]) -> PathBuf {
        let path = self.0.path().join(name);
        tensors::write(&path, tensors).expect("the file can be written");
        path
    }

    /// The weights of a task in a form that has it.
    fn weights(&self, task: &Task, form: &str, gap: f32) -> Option<PathBuf> {
        let tensors = match form {
            "sdssm" => weights::sdssm(task, gap),
            "diagonal" => weights::diagonal(task)?,
            _ => weights::automaton(task),
        };
        Some(self.write(&format!("{form}-{}.safetensors", task.name), &tensors))
    }
}

/// A row of `ssmc eval --json`.
#[derive(Debug)]
struct Row {
    length: u64,
    answers: u64,
    right: u64,
    steps: u64,
    steps_right: u64,
    at_most: Option<f64>,
}

/// The result of `ssmc eval`: its rows, and the object.
fn eval(args: &str) -> (Vec<Row>, Value) {
    let result: Value = serde_json::from_str(&ssmc(&format!("eval {args} --json")).done()).expect("JSON");
    let number = |row: &Value, name: &str| row[name].as_u64().unwrap_or_else(|| panic!("{name}: {row}"));
    let rows = result["rows"].as_array().expect("rows").iter().map(|row| Row {
        length: number(row, "length"),
        answers: number(row, "answers"),
        right: number(row, "right"),
        steps: number(row, "steps"),
        steps_right: number(row, "steps_right"),
        at_most: row["at_most"].as_f64(),
    });
    (rows.collect(), result)
}

/// The program, the weights and the data as arguments.
fn regular(form: &str, weights: &Path, data: &str) -> String {
    format!("examples/regular/{form}.ssm --params {} --data {data}", weights.display())
}

fn percent(right: u64, all: u64) -> String {
    match right == all {
        true => "100 %".to_owned(),
        false => format!("{:.2} %", (right * 10_000 / all) as f64 / 100.0),
    }
}

/// Compares the table behind a mark with what it must be, or writes it.
fn compare(mark: &str, head: &[&str], rows: &[Vec<String>]) {
    static DOCUMENTS: Mutex<()> = Mutex::new(());
    let line = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
    let mut table = line(head.to_vec()) + &line(vec!["---"; head.len()]);
    for row in rows {
        table += &line(row.iter().map(String::as_str).collect());
    }
    let _one = DOCUMENTS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let text = fs::read_to_string(DOCUMENT).expect("the document");
    let opening = format!("<!-- table: {mark} -->\n");
    let start = text.find(&opening).unwrap_or_else(|| panic!("{DOCUMENT} has no {opening}")) + opening.len();
    let end = start + text[start..].find("\n\n").map_or(text.len() - start, |at| at + 1);
    if text[start..end] == table {
        return;
    }
    assert!(std::env::var_os("BLESS").is_some(), "{DOCUMENT}: the table `{mark}` must be\n{table}");
    fs::write(DOCUMENT, format!("{}{table}{}", &text[..start], &text[end..])).expect("it can be written");
}

/// Compares a chart with the one that is committed, or writes it.
fn compare_chart(name: &str, made: &Path) {
    let made = fs::read_to_string(made).expect("a chart was drawn");
    let path = format!("docs/{name}");
    if fs::read_to_string(&path).is_ok_and(|there| there == made) {
        return;
    }
    assert!(std::env::var_os("BLESS").is_some(), "{path} is not what the command draws");
    fs::write(path, made).expect("it can be written");
}

#[test]
fn automata_give_the_authors_labels() {
    for task in tasks::all() {
        let path = format!("tests/vectors/task_{}.safetensors", task.name);
        let bytes = fs::read(&path).expect("the authors' data");
        let file = safetensors::SafeTensors::deserialize(&bytes).expect("a sound file");
        for set in ["L40", "L500"] {
            let tokens = file.tensor(&format!("data.tokens_{set}")).expect("tokens");
            let labels = file.tensor(&format!("data.labels_{set}")).expect("labels");
            let length = tokens.shape()[1];
            assert_eq!(tokens.shape()[0], 200);
            for (word, &label) in tokens.data().chunks_exact(length).zip(labels.data()) {
                let word: Vec<usize> = word.iter().map(|&token| usize::from(token)).collect();
                assert_eq!(task.run(&word), usize::from(label), "{} {word:?}", task.name);
            }
        }
    }
}

/// What the header of diagonal.ssm says of the tasks that it does not have.
#[test]
fn what_has_no_diagonal_form_has_a_witness() {
    let count = |word: &[usize], token| word.iter().filter(|&&t| t == token).count();
    for task in tasks::all() {
        let [a, b] = task.witness;
        assert_eq!(a.is_empty(), weights::diagonal(&task).is_some(), "{}", task.name);
        if a.is_empty() {
            // Any two tokens commute in every state.
            for state in 0..task.states() {
                for (x, y) in (0..task.tokens()).flat_map(|x| (0..task.tokens()).map(move |y| (x, y))) {
                    let next = &task.next;
                    assert_eq!(next[x][next[y][state]], next[y][next[x][state]], "{}", task.name);
                }
            }
            continue;
        }
        let common = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
        let tail = &a[a.len() - common..];
        for token in 0..task.tokens() {
            assert_eq!(count(a, token), count(b, token), "{}", task.name);
            assert!(tail.contains(&token) || count(a, token) == 0, "{}: {token}", task.name);
        }
        assert_ne!(task.run(a), task.run(b), "{}", task.name);
    }
}

#[test]
fn every_form_gets_the_authors_sequences_right() {
    let folder = Folder::new();
    let mut rows = Vec::new();
    for task in tasks::all() {
        let data = format!("tests/vectors/task_{}.safetensors", task.name);
        let mut row = vec![task.name.to_owned(), task.tokens().to_string(), task.states().to_string()];
        for form in FORMS {
            let Some(weights) = folder.weights(&task, form, weights::GAP) else {
                row.push("none".to_owned());
                continue;
            };
            let (result, _) = eval(&regular(form, &weights, &data));
            let lengths: Vec<u64> = result.iter().map(|row| row.length).collect();
            let expected = if task.name == "modular_arithmetic" { [39, 499] } else { [40, 500] };
            assert_eq!(lengths, expected, "{}", task.name);
            assert!(
                result.iter().all(|row| row.answers == 200 && row.right == 200),
                "{form} {}: {result:?}",
                task.name
            );
            row.push("100 %, 100 %".to_owned());
        }
        rows.push(row);
    }
    let head = ["task", "tokens", "states", "SD-SSM", "complex diagonal", "finite map"];
    compare("tasks", &head, &rows);
}

#[test]
fn a_million_tokens() {
    let folder = Folder::new();
    let tasks = tasks::all();
    let rows = std::thread::scope(|scope| {
        let each: Vec<_> = tasks.iter().map(|task| scope.spawn(|| a_million_tokens_of(task, &folder))).collect();
        each.into_iter().map(|row| row.join().expect("every step is right")).collect::<Vec<_>>()
    });
    let head = ["task", "SD-SSM, `sequential`", "SD-SSM, `parallel`", "complex diagonal", "finite map"];
    compare("million", &head, &rows);
}

/// The row of a task.
fn a_million_tokens_of(task: &Task, folder: &Folder) -> Vec<String> {
    let data = folder.write(&format!("{}.safetensors", task.name), &strings::of_task(task, 1_000_000, 1, 0));
    let mut row = vec![task.name.to_owned()];
    for form in FORMS {
        let Some(weights) = folder.weights(task, form, weights::GAP) else {
            row.push("none".to_owned());
            continue;
        };
        let run = regular(form, &weights, &data.display().to_string());
        // Dense transitions of whole stretches are multiplied: only these could lose anything by it.
        let plans: &[&str] = if form == "sdssm" { &["sequential", "parallel"] } else { &["sequential"] };
        for plan in plans {
            let (result, object) = eval(&format!("{run} --plan {plan}"));
            assert_eq!(object["plan"].as_str(), Some(*plan));
            assert!(result.len() == 1 && result[0].steps >= 999_999, "{result:?}");
            let Row { steps, steps_right, .. } = result[0];
            assert_eq!(steps, steps_right, "{form} {} {plan}", task.name);
            row.push(percent(steps_right, steps));
        }
    }
    row
}

#[test]
fn a_blunt_softmax_forgets() {
    const LENGTHS: [usize; 4] = [100, 1000, 10_000, 100_000];
    let folder = Folder::new();
    let task = tasks::named("D4").expect("a task");
    let strings: Vec<Tensor> = LENGTHS.iter().flat_map(|&length| strings::of_task(&task, length, 4, 0)).collect();
    let data = folder.write("strings.safetensors", &strings).display().to_string();
    let mut rows = Vec::new();
    // Where labels are lost depends on every rounding, so on the order of sums, so on the width of the vectors.
    for gap in [4.0, 6.0, 8.0, 10.0, 12.0, 16.0, weights::GAP] {
        let weights = folder.weights(&task, "sdssm", gap).expect("a form that has it");
        let plot = folder.0.path().join("chart.svg");
        let (result, _) = eval(&format!("{} --isa sse2 --plot {}", regular("sdssm", &weights, &data), plot.display()));
        assert_eq!(result.iter().map(|row| row.length as usize).collect::<Vec<_>>(), LENGTHS);
        let cells = result.iter().map(|row| percent(row.steps_right, row.steps));
        rows.push(std::iter::once(gap.to_string()).chain(cells).collect());
        if gap == 8.0 {
            compare_chart("sharpness.svg", &plot);
        }
    }
    compare("sharpness", &["gap", "100", "1000", "10000", "100000"], &rows);
}

const COPY: &str = "examples/copy/copy.ssm --alphabet 26";

#[test]
fn copies_as_far_as_the_state_reaches() {
    let folder = Folder::new();
    let lengths = [10, 40, 80, 81, 82, 84, 88, 96, 112, 124, 125, 160];
    let strings: Vec<Tensor> = lengths.iter().flat_map(|&length| strings::to_copy(length, 1000, 0)).collect();
    let data = folder.write("copy.safetensors", &strings);
    let plot = folder.0.path().join("chart.svg");
    let (result, _) = eval(&format!("{COPY} --data {} --plot {}", data.display(), plot.display()));
    let mut rows = Vec::new();
    for (row, length) in result.iter().zip(lengths) {
        assert_eq!((row.length, row.answers), (length as u64, 1000));
        if length <= 80 {
            assert_eq!(row.right, row.answers, "{length}");
        }
        let bound = row.at_most.expect("an alphabet was given");
        let share = row.right as f64 / row.answers as f64;
        // Three standard deviations of as many strings.
        assert!(share <= bound + 3.0 * (bound * (1.0 - bound) / 1000.0).sqrt(), "{row:?}");
        let bound = if bound < 1e-3 { format!("{:.1e} %", bound * 100.0) } else { format!("{:.2} %", bound * 100.0) };
        rows.push(vec![
            length.to_string(),
            format!("{:.0}", length as f64 * 26f64.log2()),
            percent(row.right, row.answers),
            percent(row.steps_right, row.steps),
            bound.replace("100.00 %", "100 %"),
        ]);
    }
    assert_eq!(rows.len(), lengths.len());
    compare("copy", &["letters", "bits", "whole strings", "tokens", "no model can exceed"], &rows);
    compare_chart("copy.svg", &plot);
}

#[test]
fn what_states_of_each_size_hold() {
    let folder = Folder::new();
    let mut rows = Vec::new();
    for (n, p, dtype) in [(4, 5, "f32"), (16, 5, "f32"), (64, 5, "f32"), (16, 11, "f64"), (64, 11, "f64")] {
        let holds = n * p;
        let lengths = [holds, holds + 1, holds + 2];
        let strings: Vec<Tensor> = lengths.iter().flat_map(|&length| strings::to_copy(length, 500, 1)).collect();
        let data = folder.write("copy.safetensors", &strings);
        let dims = format!("--dim N={n} --dim P={p} --dtype {dtype}");
        let (result, object) = eval(&format!("{COPY} --data {} {dims}", data.display()));
        assert_eq!(result[0].right, result[0].answers, "{n} {p} {dtype}");
        let bytes = object["state_bytes"].as_u64().expect("a size");
        let check: Value =
            serde_json::from_str(&ssmc(&format!("check examples/copy/copy.ssm --json --dim N={n} --dim P={p}")).done())
                .expect("JSON");
        assert_eq!(check["carried"][dtype].as_u64(), Some(bytes));
        let crossing = object["state_letters"].as_f64().expect("an alphabet was given");
        let mut row = vec![format!("{n} x {dtype}"), bytes.to_string(), (8 * bytes).to_string()];
        row.extend([format!("{crossing:.1}"), holds.to_string()]);
        row.extend(result.iter().map(|row| percent(row.right, row.answers)));
        rows.push(row);
    }
    let head =
        ["state", "bytes", "bits", "letters of as many bits", "letters it copies", "right", "one more", "two more"];
    compare("capacity", &head, &rows);
}

#[test]
fn the_authors_strings_are_copied() {
    let data = "--data tests/vectors/task_copying.safetensors";
    // Up to 50 letters; `train_copy` has several strings to a row.
    for set in ["eval_copy", "train_copy"] {
        let (rows, _) = eval(&format!("{COPY} {data} --set {set}"));
        assert!(rows.len() > 10 && rows.iter().all(|row| row.right == row.answers), "{set}: {rows:?}");
    }
    let (rows, _) = eval(&format!("{COPY} {data} --set eval_copy --dim N=4"));
    assert!(rows.iter().all(|row| (row.right == row.answers) == (row.length <= 20)), "{rows:?}");
}
