//! Rows as lines: time per element over what is swept.

use plotters::prelude::*;

use super::row::Row;
use crate::cli::results::number;

/// What rows are swept over.
#[derive(Clone, Copy)]
enum Axis {
    Seq,
    Batch,
    Threads,
    Lanes,
}

impl Axis {
    fn of(self, row: &Row) -> f64 {
        let [threads, seq, batch] = row.counts;
        match self {
            Axis::Seq => seq as f64,
            Axis::Batch => batch as f64,
            Axis::Threads => threads as f64,
            Axis::Lanes => f64::from(row.lanes),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Axis::Seq => "steps",
            Axis::Batch => "sequences",
            Axis::Threads => "threads",
            Axis::Lanes => "lanes",
        }
    }
}

/// The first axis that has several values; steps, where none has.
fn axis(rows: &[Row]) -> Axis {
    let axes = [Axis::Seq, Axis::Batch, Axis::Threads, Axis::Lanes];
    let swept = |axis: &Axis| rows.iter().any(|row| axis.of(row) != axis.of(&rows[0]));
    axes.into_iter().find(swept).unwrap_or(Axis::Seq)
}

/// A line with its name; points ascend along the axis.
#[derive(Debug, PartialEq)]
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
    bound: bool,
}

/// One line for each plan and for each bound, in nanoseconds per element; what else differs between rows makes
/// further lines, and stands in their names.
fn lines(rows: &[Row], axis: Axis) -> Vec<Line> {
    let differs = |value: &dyn Fn(&Row) -> String| rows.iter().any(|row| value(row) != value(&rows[0]));
    let layers = differs(&|row| row.layer.clone());
    let bits = differs(&|row| row.bits.to_string());
    let mut lines: Vec<Line> = Vec::new();
    for row in rows {
        let mut tail = String::new();
        if layers {
            tail.push_str(&format!(" {}", row.layer));
        }
        if bits {
            tail.push_str(&format!(" f{}", row.bits));
        }
        let [threads, seq, batch] = row.counts;
        let mut differing = |other: Axis, name: &str, value: String| {
            if std::mem::discriminant(&other) != std::mem::discriminant(&axis)
                && rows.iter().any(|r| other.of(r) != other.of(&rows[0]))
            {
                tail.push_str(&format!(" {name} {value}"));
            }
        };
        differing(Axis::Seq, "seq", seq.to_string());
        differing(Axis::Batch, "batch", batch.to_string());
        differing(Axis::Threads, "threads", threads.to_string());
        if !bits {
            differing(Axis::Lanes, "lanes", row.lanes.to_string());
        }
        let each = 1e9 / row.elements.max(1) as f64;
        let bound = row.bounds.machine.seconds();
        for (name, seconds, bound) in
            [(format!("{}{tail}", row.plan), row.timing.min, false), (format!("bound{tail}"), bound, true)]
        {
            // A logarithm needs something above 0.
            let point = (axis.of(row), (seconds * each).max(1e-9));
            match lines.iter_mut().find(|line| line.name == name) {
                Some(line) if line.points.iter().any(|(x, _)| *x == point.0) => {}
                Some(line) => line.points.push(point),
                None => lines.push(Line { name, points: vec![point], bound }),
            }
        }
    }
    for line in &mut lines {
        line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    // Bounds last, so that the plans have the first colours.
    lines.sort_by_key(|line| line.bound);
    lines
}

/// The picture as SVG.
pub fn draw(rows: &[Row]) -> String {
    let mut text = String::new();
    if !rows.is_empty() {
        let axis = axis(rows);
        let root = SVGBackend::with_string(&mut text, (960, 600)).into_drawing_area();
        // Drawing into a string fails only where the picture makes no sense; an empty one is left then.
        let _ = fill(&root, &lines(rows, axis), axis, &rows[0].layer);
        let _ = root.present();
    }
    if text.is_empty() {
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"960\" height=\"600\"/>\n".to_owned()
    } else {
        text
    }
}

fn fill(
    root: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    lines: &[Line],
    axis: Axis,
    title: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let range = |of: &dyn Fn(&(f64, f64)) -> f64, margin: f64| {
        let low = points().map(of).fold(f64::INFINITY, f64::min);
        let high = points().map(of).fold(0.0, f64::max);
        low / margin..high * margin
    };
    root.fill(&WHITE)?;
    let x = range(&|point| point.0, 1.1);
    let y = range(&|point| point.1, 1.5);
    let mut chart = ChartBuilder::on(root)
        .caption(title, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(x.log_scale(), y.log_scale())?;
    chart
        .configure_mesh()
        .x_desc(axis.name())
        .y_desc("ns per element of inputs and outputs")
        .x_label_formatter(&|x| number(*x))
        .y_label_formatter(&|y| number(*y))
        .draw()?;
    for (at, line) in lines.iter().enumerate() {
        let colour = if line.bound { BLACK.mix(0.5).to_rgba() } else { Palette99::pick(at).to_rgba() };
        let style = colour.stroke_width(if line.bound { 1 } else { 2 });
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), style))?
            .label(line.name.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
        chart.draw_series(line.points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
    Ok(())
}
