//! `ssmc check`: everything that is wrong with a program, and what each layer takes, keeps and gives; and by what
//! algebra its groups of states compose.

use ssmc::analysis::verdict;
use ssmc::diag::{Code, Diagnostic};
use ssmc::ir::{self, Instance, Type, ValueId, instance, print};
use ssmc::scan::{self, Plan};

use super::args::CheckArgs;
use super::carried::carried;
use super::program::{Program, check_dims, given_dims, has_errors, listed};
use super::results::table;
use super::{Outcome, Verdict, report};

/// Checks all layers, or the one that is named, and prints a table for each.
pub fn execute(program: &Program, args: &CheckArgs) -> Outcome {
    if args.json {
        let text = super::verdict::json(program, &args.layer, fixed)?;
        report::out(&text).map_err(|error| vec![error])?;
        return Ok(Verdict::Done);
    }
    let (mut layers, mut diagnostics) = program.layers();
    if let Some(name) = &args.layer.layer
        && !has_errors(&diagnostics)
    {
        let names = listed(layers.iter().map(|layer| layer.name.as_str()));
        layers.retain(|layer| layer.name == *name);
        if layers.is_empty() {
            let error = Diagnostic::error_at(Code::S410, "--layer", format!("there is no layer `{name}`"));
            diagnostics.push(if names.is_empty() { error } else { error.help(format!("the program has {names}")) });
        }
    }
    if !has_errors(&diagnostics)
        && let Err(errors) = check_dims(&args.layer.dims, &layers)
    {
        diagnostics.extend(errors);
    }
    let mut texts = Vec::new();
    for layer in &layers {
        match fixed(layer, &args.layer.dims) {
            Ok(instance) => texts.push(describe(layer, instance.as_ref(), &program.text)),
            Err(errors) => diagnostics.extend(errors),
        }
    }
    if has_errors(&diagnostics) {
        return Err(diagnostics);
    }
    program.report(&diagnostics);
    report::out(&texts.join("\n")).map_err(|error| vec![error])?;
    Ok(Verdict::Done)
}

/// The layer with numbers, where options and defaults give all of them.
fn fixed(layer: &ir::Layer, dims: &[(String, i64)]) -> Result<Option<Instance>, Vec<Diagnostic>> {
    let given = given_dims(layer, dims);
    let known = layer.dims.iter().zip(&given).all(|(dim, value)| value.is_some() || dim.default.is_some());
    if !known {
        return Ok(None);
    }
    let values = instance::solve_dims(layer, &given, &[])?;
    Instance::new(layer.clone(), values).map(Some)
}

fn describe(layer: &ir::Layer, instance: Option<&Instance>, source: &str) -> String {
    let dims = layer.dims.iter().enumerate().map(|(at, dim)| match (instance, &dim.default) {
        (Some(instance), _) => format!("{} = {}", dim.name, instance.dims[at]),
        (None, Some(default)) => format!("{} = {}", dim.name, print::extent(layer, default)),
        (None, None) => dim.name.clone(),
    });
    let dims: Vec<String> = dims.collect();
    let mut text = format!("layer {}", layer.name);
    if !dims.is_empty() {
        text.push_str(&format!("({})", dims.join(", ")));
    }
    text.push('\n');
    let mut rows: Vec<Vec<String>> = Vec::new();
    for param in &layer.params {
        let value = layer.value(param.value);
        let mut note = Vec::new();
        if param.key != value.name {
            note.push(format!("from \"{}\"", param.key));
        }
        if param.init.is_some() {
            note.push("has an initialiser".to_owned());
        }
        rows.push(row(layer, "param", &value.name, param.value, note.join(", ")));
    }
    for &input in &layer.inputs {
        rows.push(row(layer, "input", &layer.value(input).name, input, String::new()));
    }
    for state in &layer.states {
        let note = if state.reverse { "reverse" } else { "" };
        rows.push(row(layer, "state", &state.name, state.value, note.to_owned()));
    }
    for (at, &delay) in layer.delays.iter().enumerate() {
        let depth = instance.map(|instance| format!("the last {} steps", instance.depths[at]));
        rows.push(row(layer, "delay", &format!("delay.{at}"), delay, depth.unwrap_or_default()));
    }
    for output in &layer.outputs {
        rows.push(row(layer, "output", &output.name, output.value, String::new()));
    }
    let size = carried(layer, instance);
    let size = format!("{} bytes a sequence in f32, {} in f64", size.f32, size.f64);
    rows.push(vec!["carried".to_owned(), String::new(), String::new(), size]);
    text.push_str(&table(&[], rows));
    let derived = verdict::print::derived(layer);
    if !derived.is_empty() {
        text.push_str("derived\n");
        derived.iter().for_each(|line| text.push_str(&format!("    {line}\n")));
    }
    text.push_str(&verdict::print::verdict(&verdict::judge(layer), source));
    text.push_str(&plans(layer, instance));
    text
}

/// The plans that the verdict allows, and why not the others.
fn plans(layer: &ir::Layer, instance: Option<&Instance>) -> String {
    let plans = allowed(layer, instance);
    let names = plans.iter().filter(|(_, refusal)| refusal.is_none()).map(|(plan, _)| plan.name());
    let mut text = format!("plans: {}\n", names.collect::<Vec<_>>().join(", "));
    for (plan, refusal) in &plans {
        if let Some(refusal) = refusal {
            text.push_str(&format!("    {} is refused: {}\n", plan.name(), refusal.message));
        }
    }
    text
}

/// All plans with why they are refused: for the dimensions that are known, else for all.
pub fn allowed(layer: &ir::Layer, instance: Option<&Instance>) -> Vec<(Plan, Option<Diagnostic>)> {
    instance.map_or_else(|| scan::plans(layer), scan::plans_of)
}

fn row(layer: &ir::Layer, role: &str, name: &str, value: ValueId, note: String) -> Vec<String> {
    let value = layer.value(value);
    let axes = if value.axes.is_empty() { String::new() } else { print::shape(layer, &value.axes) };
    let ty = match &value.ty {
        Type::Real => "real".to_owned(),
        Type::Complex => "complex".to_owned(),
        Type::Bool => "bool".to_owned(),
        Type::Int => "integer".to_owned(),
        Type::Index(extent) => format!("index({})", print::extent(layer, extent)),
    };
    vec![role.to_owned(), format!("{name}{axes}"), ty, note]
}
