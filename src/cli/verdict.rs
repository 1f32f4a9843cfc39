//! `ssmc check --json`: the verdict on the groups of states of one layer, as the contract says.

use serde_json::{Map, Value, json};
use ssmc::analysis::verdict::{self, Group, Verdict};
use ssmc::diag::{Diagnostic, Span};
use ssmc::ir::Instance;
use ssmc::jit::{self, Form};

use super::args::LayerArgs;
use super::carried::{Carried, carried};
use super::check::allowed;
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
    let judged = verdict::judge(&layer);
    let mut dims = Map::new();
    for (at, dim) in layer.dims.iter().enumerate() {
        let given = args.dims.iter().rev().find(|(name, _)| *name == dim.name).map(|(_, value)| *value);
        let value = instance.as_ref().map(|instance| instance.dims[at]).or(given);
        dims.insert(dim.name.clone(), json!(value));
    }
    let groups: Vec<Value> = judged.groups.iter().map(|g| group(&judged, g, &program.text)).collect();
    let backend = match &instance {
        Some(instance) => backend(instance)?,
        None => Value::Null,
    };
    let Carried { f32, f64 } = carried(&layer, instance.as_ref());
    // Bytes where they are known, else formulas over the dimensions.
    let size = |text: String| text.parse::<u64>().map_or_else(|_| json!(text), |bytes| json!(bytes));
    let carried = json!({ "f32": size(f32), "f64": size(f64) });
    let plans: Map<String, Value> = allowed(&layer, instance.as_ref())
        .into_iter()
        .map(|(plan, refusal)| {
            let reason = refusal.map(|refusal| refusal.message);
            (plan.name().to_owned(), json!({ "allowed": reason.is_none(), "reason": reason }))
        })
        .collect();
    let mut object = json!({
        "layer": layer.name, "dims": dims, "groups": groups, "plans": plans, "backend": backend, "carried": carried
    });
    let derived = verdict::print::derived(&layer);
    if !derived.is_empty() {
        object["derived"] = json!(derived);
    }
    Ok(format!("{object:#}\n"))
}

/// What makes the sequence kernel of a layer on this machine, for each type of reals.
fn backend(instance: &Instance) -> Result<Value, Vec<Diagnostic>> {
    let mut object = Map::new();
    for bits in [32, 64] {
        let backend = jit::backend_of(instance, Form::Sequence, bits, jit::Isa::widest())?;
        let by = if backend.by_cranelift { "cranelift" } else { "wide" };
        let what = json!({ "by": by, "isa": backend.isa.to_string(), "vector_bits": backend.vector_bits });
        object.insert(format!("f{bits}"), what);
    }
    Ok(Value::Object(object))
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
    if let Some(low_rank) = group.transition.as_ref().and_then(|t| t.low_rank.as_ref()) {
        let rank = verdict::print::rank(&verdict.layer, low_rank);
        object["rank"] = rank.parse::<u64>().map_or_else(|_| json!(rank), |rank| json!(rank));
    }
    if let Some(stability) = &group.stability {
        object["stability"] = json!({ "bounded": stability.name(), "reason": stability.reason() });
    }
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
