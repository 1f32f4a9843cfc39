//! What is explained, as text.

use ssmc::predict::{PhaseTime, Prediction};

use super::Explained;
use crate::cli::bench::percent;
use crate::cli::results::table;

/// Everything, for people.
pub fn text(explained: &Explained) -> String {
    let mut text = head(explained);
    text.push_str("\nstages\n");
    let stages = explained.stages.iter().filter(|(_, names)| !names.is_empty());
    text.push_str(&table(&[], stages.map(|(stage, names)| vec![stage.name().to_owned(), names.join(", ")])));
    let chosen = &explained.plans[0];
    text.push_str(&format!("\nplan {}\n", chosen.plan));
    for line in &explained.outline {
        text.push_str(&format!("    {line}\n"));
    }
    if let Ok(prediction) = &chosen.time {
        text.push_str(&predicted(prediction, explained));
    }
    text.push_str("\nall plans\n");
    text.push_str(&plans(explained));
    text
}

fn head(explained: &Explained) -> String {
    let layer = &explained.instance.layer;
    let dims: Vec<String> =
        layer.dims.iter().zip(&explained.instance.dims).map(|(dim, value)| format!("{} = {value}", dim.name)).collect();
    let dims = if dims.is_empty() { String::new() } else { format!("({})", dims.join(", ")) };
    let Explained { batch, seq, threads, bits, backend, .. } = explained;
    let threads = if *threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
    let bytes = &explained.cost.bytes;
    let per_step = [
        vec!["operations".to_owned(), amount(explained.cost.step.flops()), "a step, as the layer says".to_owned()],
        vec!["inputs".to_owned(), size(bytes.inputs as f64), "a step".to_owned()],
        vec!["outputs".to_owned(), size(bytes.outputs as f64), "a step".to_owned()],
        vec!["state".to_owned(), size(bytes.state as f64), "a sequence".to_owned()],
        vec!["parameters".to_owned(), size(bytes.params as f64), "in all".to_owned()],
    ];
    format!(
        "layer {}{dims}, f{bits}, {batch} x {seq} steps, {threads}\n{backend}, on {}\n{}",
        layer.name,
        explained.profile.model,
        table(&[], per_step)
    )
}

fn predicted(prediction: &Prediction, explained: &Explained) -> String {
    let steps = (explained.batch * explained.seq) as f64;
    let mut text = format!(
        "predicted {}, bound by {}: {} a step, {} instructions, {} moved\n",
        time(prediction.seconds()),
        prediction.limit().name(),
        time(prediction.seconds() / steps),
        amount(prediction.instructions()),
        size(prediction.bytes()),
    );
    let phase = |phase: &PhaseTime| {
        vec![
            phase.name.clone(),
            time(phase.seconds),
            time(phase.arithmetic),
            time(phase.memory),
            time(phase.latency),
            amount(phase.instructions),
            size(phase.bytes),
        ]
    };
    let mut rows: Vec<Vec<String>> = prediction.phases.iter().map(phase).collect();
    rows.push(vec!["calls, threads".to_owned(), time(prediction.overhead)]);
    let head = ["phase", "predicted", "arithmetic", "memory", "latency", "instructions a step", "bytes a step"];
    text.push_str(&table(&head, rows));
    text
}

fn plans(explained: &Explained) -> String {
    let best = explained.plans[0].time.as_ref().map(Prediction::seconds).ok();
    let rows = explained.plans.iter().map(|entry| {
        let name = format!("{}{}", entry.plan, if entry.chosen { " (chosen)" } else { "" });
        match &entry.time {
            Ok(prediction) => {
                let seconds = prediction.seconds();
                let over = best.map_or_else(String::new, |best| percent(seconds / best));
                let reals = format!("f{} x {}", explained.bits, entry.lanes);
                vec![name, reals, time(seconds), over, prediction.limit().name().to_owned()]
            }
            Err(why) if entry.lanes == 0 => vec![name, String::new(), "refused".to_owned(), String::new(), why.clone()],
            Err(why) => vec![name, String::new(), String::new(), String::new(), why.clone()],
        }
    });
    table(&["plan", "reals", "predicted", "of the chosen one", "bound by"], rows)
}

/// A time with three digits.
fn time(seconds: f64) -> String {
    let (value, unit) = match seconds {
        0.0 => return "0".to_owned(),
        s if s >= 1.0 => (s, "s"),
        s if s >= 1e-3 => (s * 1e3, "ms"),
        s if s >= 1e-6 => (s * 1e6, "us"),
        s => (s * 1e9, "ns"),
    };
    format!("{} {unit}", digits(value))
}

/// A number of bytes with three digits.
fn size(bytes: f64) -> String {
    match bytes {
        b if b >= 1e9 => format!("{} GB", digits(b * 1e-9)),
        b if b >= 1e6 => format!("{} MB", digits(b * 1e-6)),
        b if b >= 1e4 => format!("{} kB", digits(b * 1e-3)),
        b => format!("{} bytes", digits(b)),
    }
}

/// A number of things with three digits.
fn amount(n: f64) -> String {
    match n {
        n if n >= 1e9 => format!("{} * 10^9", digits(n * 1e-9)),
        n if n >= 1e6 => format!("{} * 10^6", digits(n * 1e-6)),
        n => digits(n),
    }
}

fn digits(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v if v == v.trunc() => format!("{v:.0}"),
        v => format!("{v:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let times: Vec<String> = [0.0, 2.5e-9, 1.234e-6, 45.67e-3, 123.4].into_iter().map(time).collect();
        assert_eq!(times, ["0", "2.50 ns", "1.23 us", "45.7 ms", "123 s"]);
        assert_eq!(
            (size(9999.0), size(12_345.0), size(2.5e9)),
            ("9999 bytes".into(), "12.3 kB".into(), "2.50 GB".into())
        );
        assert_eq!(
            (amount(12.0), amount(65_536.0), amount(1.5e6)),
            ("12.0".into(), "65536".into(), "1.50 * 10^6".into())
        );
    }
}
