//! One line of the result: a plan on a workload.

use serde_json::{Value, json};
use ssmc::analysis::cost::Bytes;
use ssmc::jit::Backend;
use ssmc::profile::bound::Bound;

use super::judge::Checked;
use super::percent;
use super::timing::Timing;
use super::workload::Workload;
use crate::cli::args::Plan;
use crate::cli::engine::Number;
use crate::cli::results::{number, table as framed};

/// What bounds a run, and what is predicted for it.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// On the machine, at its widest vectors and on as many threads as were asked for.
    pub machine: Bound,
    /// For the plan, in seconds.
    pub predicted: f64,
    /// Floating-point operations of the whole run.
    pub flops: f64,
}

/// What was compiled.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// The plan.
    pub plan: Plan,
    /// Whether it is the one that `auto` picks.
    pub auto: bool,
    /// What has made its code.
    pub backend: Backend,
    /// How long that took, in seconds.
    pub compile: f64,
}

/// One line of the result.
#[derive(Clone, Debug)]
pub struct Row {
    /// The layer.
    pub layer: String,
    /// The plan.
    pub plan: &'static str,
    /// Whether it is the one that `auto` picks.
    pub auto: bool,
    /// The vector instructions.
    pub isa: String,
    /// How many reals a vector of the kernel holds.
    pub lanes: u32,
    /// The width of reals.
    pub bits: u32,
    /// Threads, steps of the longest sequence, sequences.
    pub counts: [usize; 3],
    /// Elements of inputs and outputs.
    pub elements: usize,
    /// Bytes of inputs, outputs, states and parameters, each moved once.
    pub bytes: f64,
    /// How long the kernel took to be made, in seconds.
    pub compile: f64,
    /// What was compared with the interpreter.
    pub checked: Checked,
    /// What repetitions amount to.
    pub timing: Timing,
    /// What bounds it.
    pub bounds: Bounds,
    /// Whether the machine was too noisy.
    pub noisy: bool,
}

impl Row {
    /// Puts a row together.
    pub fn new<F: Number>(
        work: &Workload<F>,
        made: Made,
        threads: usize,
        checked: Checked,
        timing: &Timing,
        bounds: Bounds,
    ) -> Self {
        let Made { plan, auto, backend, compile } = made;
        let sequences = work.layout.sequences();
        let longest = (0..sequences.count()).map(|i| sequences.range(i).len()).max().unwrap_or(0);
        let Bytes { inputs, outputs, state, params } = ssmc::analysis::cost::Cost::of(&work.instance, F::BITS).bytes;
        let total = sequences.total();
        let bytes = (inputs as f64 + outputs as f64) * total as f64
            + 2.0 * state as f64 * sequences.count() as f64
            + params as f64;
        Self {
            layer: work.instance.layer.name.clone(),
            plan: plan.name(),
            auto,
            isa: backend.isa.to_string(),
            lanes: backend.vector_bits / F::BITS,
            bits: F::BITS,
            counts: [threads, longest, sequences.count()],
            elements: work.elements(),
            bytes,
            compile,
            checked,
            timing: timing.clone(),
            bounds,
            noisy: timing.noisy,
        }
    }

    /// How much of the machine's bound is reached.
    fn fraction(&self) -> f64 {
        self.bounds.machine.seconds() / self.timing.min
    }

    /// A rate in 10^9 a second.
    fn giga(&self, amount: f64) -> f64 {
        amount / self.timing.min * 1e-9
    }

    fn json(&self) -> Value {
        let [threads, seq, batch] = self.counts;
        let ms = |seconds: f64| seconds * 1e3;
        let machine = &self.bounds.machine;
        json!({
            "layer": self.layer,
            "plan": self.plan,
            "isa": self.isa,
            "lanes": self.lanes,
            "threads": threads,
            "seq": seq,
            "batch": batch,
            "dtype": format!("f{}", self.bits),
            "ms_min": ms(self.timing.min),
            "ms_median": ms(self.timing.median),
            "ms_low": ms(self.timing.interval[0]),
            "ms_high": ms(self.timing.interval[1]),
            "ms_first": ms(self.timing.first),
            "samples": self.timing.samples,
            "spread": if self.timing.spread.is_finite() { json!(self.timing.spread) } else { Value::Null },
            "noisy": self.noisy,
            "slower": self.timing.slower,
            "predicted_ms": ms(self.bounds.predicted),
            "bound": machine.limit().name(),
            "bound_ms": ms(machine.seconds()),
            "arithmetic_ms": ms(machine.arithmetic),
            "memory_ms": ms(machine.memory),
            "latency_ms": ms(machine.latency),
            "compile_ms": ms(self.compile),
            "auto": self.auto,
            "elements_per_second": self.elements as f64 / self.timing.min,
            "gb_per_second": self.giga(self.bytes),
            "gflops": self.giga(self.bounds.flops),
            "checked_steps": self.checked.steps,
            "error": self.checked.error,
        })
    }

    fn cells(&self) -> Vec<String> {
        let [threads, seq, batch] = self.counts;
        let ms = |seconds: f64| number(round(seconds * 1e3));
        let [low, high] = self.timing.interval;
        let machine = &self.bounds.machine;
        vec![
            format!("{}{}", self.plan, if self.auto { " (auto)" } else { "" }),
            format!("f{} x {} {}", self.bits, self.lanes, self.isa),
            threads.to_string(),
            format!("{batch} x {seq}"),
            format!("{}{}", ms(self.timing.min), if self.noisy { " ~" } else { "" }),
            format!("{} [{}, {}]", ms(self.timing.median), ms(low), ms(high)),
            ms(self.bounds.predicted),
            format!("{} {}", ms(machine.seconds()), machine.limit().name()),
            percent(self.fraction()),
            number(round(self.elements as f64 / self.timing.min * 1e-6)),
            number(round(self.giga(self.bytes))),
            number(round(self.giga(self.bounds.flops))),
            ms(self.compile),
            ms(self.timing.first),
            if self.checked.steps == seq { "all".to_owned() } else { format!("{} steps", self.checked.steps) },
        ]
    }
}

/// Three or four digits that count.
fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let unit = 10f64.powi(3 - value.abs().log10().floor() as i32);
    (value * unit).round() / unit
}

/// All rows as an array.
pub fn json(rows: &[Row]) -> String {
    let rows: Vec<Value> = rows.iter().map(Row::json).collect();
    format!("{:#}\n", Value::Array(rows))
}

/// All rows as tables, one for each layer.
fn tables(rows: &[Row]) -> Vec<(String, String)> {
    let mut tables: Vec<(String, Vec<Vec<String>>)> = Vec::new();
    for row in rows {
        match tables.iter_mut().find(|(layer, _)| *layer == row.layer) {
            Some((_, cells)) => cells.push(row.cells()),
            None => tables.push((row.layer.clone(), vec![row.cells()])),
        }
    }
    let head = [
        "plan",
        "reals",
        "threads",
        "batch x seq",
        "min ms",
        "median ms [95 %]",
        "predicted",
        "bound ms",
        "of bound",
        "10^6/s",
        "GB/s",
        "GFLOP/s",
        "compile ms",
        "first ms",
        "checked",
    ];
    tables.into_iter().map(|(layer, cells)| (layer, framed(&head, cells))).collect()
}

/// All rows as text.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    for (layer, table) in tables(rows) {
        text.push_str(&format!("layer {layer}\n{table}"));
    }
    if rows.iter().any(|row| row.noisy) {
        text.push_str("~ the machine was too noisy to tell\n");
    }
    text
}
