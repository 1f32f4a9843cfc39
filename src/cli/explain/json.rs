//! What is explained, as JSON.

use serde_json::{Map, Value, json};
use ssmc::predict::{PhaseTime, Prediction};

use super::{Entry, Explained};

/// One object.
pub fn json(explained: &Explained) -> String {
    let Explained { instance, profile, bits, seq, batch, threads, backend, cost, stages, outline, plans } = explained;
    let layer = &instance.layer;
    let dims: Map<String, Value> =
        layer.dims.iter().zip(&instance.dims).map(|(dim, value)| (dim.name.clone(), json!(value))).collect();
    let stages: Map<String, Value> =
        stages.iter().map(|(stage, names)| (stage.name().to_owned(), json!(names))).collect();
    let object = json!({
        "layer": layer.name,
        "dims": dims,
        "dtype": format!("f{bits}"),
        "seq": seq,
        "batch": batch,
        "threads": threads,
        "processor": profile.model,
        "isa": backend.isa.to_string(),
        "vector_bits": backend.vector_bits,
        "flops_per_step": cost.step.flops(),
        "bytes": {
            "inputs": cost.bytes.inputs,
            "outputs": cost.bytes.outputs,
            "state": cost.bytes.state,
            "params": cost.bytes.params,
        },
        "stages": stages,
        "plan": plans[0].plan,
        "loops": outline,
        "plans": plans.iter().map(entry).collect::<Vec<_>>(),
    });
    format!("{object:#}\n")
}

fn entry(entry: &Entry) -> Value {
    let ms = |seconds: f64| seconds * 1e3;
    let sum = |what: fn(&PhaseTime) -> f64, of: &Prediction| ms(of.phases.iter().map(what).sum::<f64>());
    match &entry.time {
        Ok(time) => json!({
            "plan": entry.plan,
            "lanes": entry.lanes,
            "chosen": entry.chosen,
            "predicted_ms": ms(time.seconds()),
            "bound": time.limit().name(),
            "arithmetic_ms": sum(|phase| phase.arithmetic, time),
            "memory_ms": sum(|phase| phase.memory, time),
            "latency_ms": sum(|phase| phase.latency, time),
            "overhead_ms": ms(time.overhead),
            "instructions_per_step": time.instructions(),
            "bytes_per_step": time.bytes(),
            "phases": time.phases.iter().map(phase).collect::<Vec<_>>(),
        }),
        Err(why) => json!({ "plan": entry.plan, "chosen": entry.chosen, "refused": why }),
    }
}

fn phase(phase: &PhaseTime) -> Value {
    json!({
        "phase": phase.name,
        "predicted_ms": phase.seconds * 1e3,
        "arithmetic_ms": phase.arithmetic * 1e3,
        "memory_ms": phase.memory * 1e3,
        "latency_ms": phase.latency * 1e3,
        "instructions_per_step": phase.instructions,
        "bytes_per_step": phase.bytes,
    })
}
