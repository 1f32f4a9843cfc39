//! What a run gave: its outputs and final states, with the axes that the user knows, as text and in files.

use comfy_table::{CellAlignment, Table, presets};
use ssmc::diag::Diagnostic;
use ssmc::ir::Instance;
use ssmc_runtime::{Carry, Elements, Float, Tensor};

use super::layout::Layout;
use super::tensors::{OutputFile, Values, Written};

/// The outputs and the final states of a run.
pub struct Results<'a, F> {
    /// The layer.
    pub instance: &'a Instance,
    /// How its sequences lie.
    pub layout: &'a Layout,
    /// In the layer's order, each `[total, ..]`.
    pub outputs: Vec<Tensor<F>>,
    /// After the last step.
    pub carry: Carry<F>,
}

/// A result by its name.
pub struct Named<'a, F> {
    /// Its name.
    pub name: &'a str,
    /// The extents of its axes, those of the layout first.
    pub shape: Vec<usize>,
    /// How many of the axes are the layout's.
    pub lead: usize,
    /// Its elements.
    pub elements: &'a Elements<F>,
}

impl<F: Float> Results<'_, F> {
    /// The outputs.
    pub fn outputs(&self) -> impl Iterator<Item = Named<'_, F>> {
        let lead = self.layout.output_axes();
        let named = self.instance.layer.outputs.iter().map(|output| output.name.as_str());
        self.named(named.zip(&self.outputs), lead)
    }

    /// The final states.
    pub fn states(&self) -> impl Iterator<Item = Named<'_, F>> {
        let lead = self.layout.state_axes();
        let named = self.instance.layer.states.iter().map(|state| state.name.as_str());
        self.named(named.zip(&self.carry.states), lead)
    }

    /// What the layer returns: its outputs, or its final states where it has none.
    pub fn returned(&self) -> Vec<Named<'_, F>> {
        if self.outputs.is_empty() { self.states().collect() } else { self.outputs().collect() }
    }

    fn named<'a>(
        &self,
        items: impl Iterator<Item = (&'a str, &'a Tensor<F>)>,
        lead: Vec<usize>,
    ) -> impl Iterator<Item = Named<'a, F>> {
        items.map(move |(name, tensor)| Named {
            name,
            // The run's own first axis is all that the layout's axes hold.
            shape: lead.iter().chain(&tensor.shape[1..]).copied().collect(),
            lead: lead.len(),
            elements: &tensor.elements,
        })
    }

    /// Writes what the layer returns.
    ///
    /// # Errors
    /// S401
    pub fn write_output(&self, file: OutputFile) -> Result<(), Diagnostic> {
        file.finish(self.returned().into_iter().map(written).collect())
    }

    /// Writes everything that the next piece of the sequences needs.
    ///
    /// # Errors
    /// S401
    pub fn write_state(&self, file: OutputFile) -> Result<(), Diagnostic> {
        write_state(self.instance, self.layout, &self.carry, file)
    }
}

/// Writes everything that the next piece of the sequences needs.
///
/// # Errors
/// S401
pub fn write_state<F: Float>(
    instance: &Instance,
    layout: &Layout,
    carry: &Carry<F>,
    file: OutputFile,
) -> Result<(), Diagnostic> {
    let lead = layout.state_axes();
    let states = instance.layer.states.iter().map(|state| state.name.clone()).zip(&carry.states);
    let delays = carry.delays.iter().enumerate().map(|(at, tensor)| (format!("delay.{at}"), tensor));
    let mut tensors: Vec<Written<'_, F>> = states
        .chain(delays)
        .map(|(name, tensor)| Written {
            name,
            shape: lead.iter().chain(&tensor.shape[1..]).copied().collect(),
            values: Values::Elements(&tensor.elements),
        })
        .collect();
    if !tensors.iter().any(|tensor| tensor.name == "step") {
        let steps = carry.steps.iter().map(|&steps| i64::try_from(steps).unwrap_or(i64::MAX)).collect();
        tensors.push(Written { name: "step".to_owned(), shape: lead, values: Values::Long(steps) });
    }
    file.finish(tensors)
}

fn written<F>(named: Named<'_, F>) -> Written<'_, F> {
    Written { name: named.name.to_owned(), shape: named.shape, values: Values::Elements(named.elements) }
}

/// A table without frames; an empty head is left out.
pub fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    if !head.is_empty() {
        table.set_header(head.to_vec());
    }
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2)).set_cell_alignment(CellAlignment::Left);
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

/// The smallest and the largest element, and how many are not numbers.
pub fn range_text<F: Float>(elements: &Elements<F>) -> String {
    match elements {
        Elements::Real(values) => reals(values.iter().map(|x| x.to_f64()), ""),
        Elements::Complex { re, im } => reals(re.iter().zip(im).map(|(re, im)| re.to_f64().hypot(im.to_f64())), "abs "),
        Elements::Int(values) => match (values.iter().min(), values.iter().max()) {
            (Some(min), Some(max)) => format!("{min} to {max}"),
            _ => "empty".to_owned(),
        },
        Elements::Byte(values) => match (values.iter().min(), values.iter().max()) {
            (Some(min), Some(max)) => format!("{min} to {max}"),
            _ => "empty".to_owned(),
        },
        Elements::Bool(values) => {
            format!("{} of {} true", values.iter().filter(|&&b| b != 0).count(), values.len())
        }
    }
}

fn reals(values: impl Iterator<Item = f64>, what: &str) -> String {
    let (mut min, mut max, mut nan, mut count) = (f64::INFINITY, f64::NEG_INFINITY, 0usize, 0usize);
    for value in values {
        count += 1;
        if value.is_nan() {
            nan += 1;
        } else {
            min = min.min(value);
            max = max.max(value);
        }
    }
    match (count, nan) {
        (0, _) => "empty".to_owned(),
        (_, 0) => format!("{what}{} to {}", number(min), number(max)),
        _ if nan == count => "NaN only".to_owned(),
        _ => format!("{what}{} to {}, {nan} NaN", number(min), number(max)),
    }
}

/// A number in few characters.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        value.to_string()
    } else if value == 0.0 || (1e-3..1e5).contains(&value.abs()) {
        let text = format!("{value:.4}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{value:.3e}")
    }
}

/// The name of an element type as it is printed.
pub fn dtype_name<F: Float>(elements: &Elements<F>) -> String {
    match elements {
        Elements::Real(_) => format!("f{}", F::BITS),
        Elements::Complex { .. } => format!("complex{}", 2 * F::BITS),
        Elements::Int(_) => "i32".to_owned(),
        Elements::Bool(_) => "bool".to_owned(),
        Elements::Byte(_) => "u8".to_owned(),
    }
}
