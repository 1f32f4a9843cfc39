//! `ssmc check --json`: the verdict on the groups of states of one layer, as the contract says.

use serde_json::{Map, Value, json};
use ssmc::analysis::verdict::{self, Group, Verdict};
use ssmc::diag::{Diagnostic, Span};
use ssmc::ir::Instance;

use super::args::LayerArgs;
use super::carried::{Carried, carried};
use super::program::Program;

/// The object of the layer that is meant, with the dimensions that are known (`null` for the others).
///
/// # Errors
/// Those of choosing the layer, and of the dimensions that are given.
pub fn json(
    program: &Program,
    args: &LayerArgs,
    fixed: impl Fn(&ssmc::ir::Layer, &[(String, i64)]) -> Result<Option<Instance>, Vec<Diagnostic>>,
) -> Result<String, Vec<Diagnostic>> {
    let layer = program.layer(args)?;
    let instance = fixed(&layer, &args.dims)?;
    let verdict = verdict::judge(&layer);
    let mut dims = Map::new();
    for (at, dim) in layer.dims.iter().enumerate() {
        let given = args.dims.iter().rev().find(|(name, _)| *name == dim.name).map(|(_, value)| *value);
        let value = instance.as_ref().map(|instance| instance.dims[at]).or(given);
        dims.insert(dim.name.clone(), json!(value));
    }
    let groups: Vec<Value> = verdict.groups.iter().map(|g| group(&verdict, g, &program.text)).collect();
    let Carried { f32, f64 } = carried(&layer, instance.as_ref());
    // Bytes where they are known, else formulas over the dimensions.
    let size = |text: String| text.parse::<u64>().map_or_else(|_| json!(text), |bytes| json!(bytes));
    let carried = json!({ "f32": size(f32), "f64": size(f64) });
    let object = json!({ "layer": layer.name, "dims": dims, "groups": groups, "carried": carried });
    Ok(format!("{object:#}\n"))
}

fn group(verdict: &Verdict, group: &Group, text: &str) -> Value {
    let states: Vec<&str> = group.states.iter().map(|s| verdict.layer.states[s.at()].name.as_str()).collect();
    let batch: Vec<&str> = group.batch.iter().map(|b| b.name.as_str()).collect();
    let mut object = json!({
        "states": states,
        "class": group.class.name(),
        "field": group.field.name(),
        "time_invariant": group.time_invariant,
        "mixed": group.mixed,
        "batch": batch,
    });
    if let Some(failure) = &group.failure {
        object["reason"] = json!(failure.reason);
        object["span"] = span(failure.span, text);
    }
    object
}

fn span(span: Span, text: &str) -> Value {
    let place = |offset: u32| {
        let before = text.get(..offset as usize).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        json!({ "line": line, "column": column })
    };
    json!({ "start": place(span.start), "end": place(span.end) })
}
