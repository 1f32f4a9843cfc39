//! Charts of lines as SVG.
//!
//! In: a [`Chart`]. Out: the text of an SVG file, the same for the same chart.

use std::ops::Range;

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

/// A chart of lines over one axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// What stands above.
    pub title: String,
    /// What stands below.
    pub x: Axis,
    /// What stands on the left.
    pub y: Axis,
    /// The lines.
    pub lines: Vec<Line>,
}

/// An axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What is counted.
    pub label: String,
    /// Whether equal distances are equal factors.
    pub log: bool,
    /// From where to where; `None` for all that the lines have.
    pub range: Option<Range<f64>>,
}

/// A line through points.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its name.
    pub label: String,
    /// Its points, by ascending x.
    pub points: Vec<(f64, f64)>,
}

const SIZE: (u32, u32) = (720, 400);

/// Colours that those who see few colours can tell apart (Okabe and Ito 2008).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
];

/// Draws a chart.
///
/// # Errors
/// What the drawing library says.
pub fn svg(chart: &Chart) -> Result<String, String> {
    let mut text = String::new();
    let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
    let x = extent(&chart.x, chart.lines.iter().flat_map(|line| &line.points).map(|p| p.0));
    let y = extent(&chart.y, chart.lines.iter().flat_map(|line| &line.points).map(|p| p.1));
    let drawn = root.fill(&WHITE).map_err(|error| error.to_string()).and_then(|()| {
        match (chart.x.log, chart.y.log) {
            (false, false) => draw(chart, &root, x, y),
            (true, false) => draw(chart, &root, x.log_scale(), y),
            (false, true) => draw(chart, &root, x, y.log_scale()),
            (true, true) => draw(chart, &root, x.log_scale(), y.log_scale()),
        }?;
        root.present().map_err(|error| error.to_string())
    });
    drop(root);
    drawn.map(|()| text)
}

/// From where to where an axis goes: never nothing, and above 0 where it is logarithmic.
fn extent(axis: &Axis, values: impl Iterator<Item = f64>) -> Range<f64> {
    if let Some(range) = &axis.range {
        return range.clone();
    }
    let shown = values.filter(|v| v.is_finite() && (!axis.log || *v > 0.0));
    let (low, high) = shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    match (low <= high, axis.log) {
        (false, _) => 1.0..10.0,
        (true, true) if low == high => low / 2.0..high * 2.0,
        (true, false) if low == high => low - 1.0..high + 1.0,
        (true, _) => low..high,
    }
}

fn draw<X, Y>(
    chart: &Chart,
    root: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    x: X,
    y: Y,
) -> Result<(), String>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let mut context = ChartBuilder::on(root)
        .caption(&chart.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(56)
        .build_cartesian_2d(x, y)
        .map_err(|error| failed(&error))?;
    context
        .configure_mesh()
        .x_desc(&chart.x.label)
        .y_desc(&chart.y.label)
        .x_label_formatter(&|value| tick(*value))
        .y_label_formatter(&|value| tick(*value))
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(|error| failed(&error))?;
    for (line, colour) in chart.lines.iter().zip(COLOURS.iter().cycle()) {
        let points = line.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite()).copied();
        context
            .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))
            .map_err(|error| failed(&error))?
            .label(&line.label)
            .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        context
            .draw_series(points.map(|point| Circle::new(point, 3, colour.filled())))
            .map_err(|error| failed(&error))?;
    }
    if chart.lines.len() > 1 {
        context
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.4))
            .draw()
            .map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// A number on an axis, in few characters.
fn tick(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if (1e-3..1e6).contains(&size) => {
            let text = format!("{value:.3}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => format!("{value:e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>, log: bool) -> Chart {
        let axis = |label: &str| Axis { label: label.to_owned(), log, range: None };
        let line = |label: &str, points| Line { label: label.to_owned(), points };
        let lines = vec![line("one & <two>", points), line("empty", Vec::new())];
        Chart { title: "title".to_owned(), x: axis("x"), y: axis("y"), lines }
    }

    #[test]
    fn every_point_is_drawn_and_names_are_escaped() {
        let text = svg(&chart(vec![(1.0, 2.0), (10.0, 3.0), (100.0, 1.0)], true)).expect("a chart");
        assert_eq!(text.matches("<circle").count(), 3, "{text}");
        assert!(text.contains("one &amp; &lt;two&gt;"), "{text}");
        assert_eq!(text, svg(&chart(vec![(1.0, 2.0), (10.0, 3.0), (100.0, 1.0)], true)).expect("the same"));
    }

    #[test]
    fn odd_points_are_no_fault() {
        let nan = f64::NAN;
        for log in [false, true] {
            for points in [vec![], vec![(1.0, 1.0)], vec![(0.0, 0.0)], vec![(nan, 1.0), (1.0, f64::INFINITY)]] {
                assert!(svg(&chart(points.clone(), log)).expect("a chart").contains("</svg>"), "{points:?}");
            }
        }
    }
}
