//! `ssmc run`: a layer over sequences from tensor files.

use std::path::Path;
use std::time::{Duration, Instant};

use ssmc::diag::{Code, Diagnostic};
use ssmc::ir::{self, Instance, interp};
use ssmc_runtime::{Elements, Tensor};

use super::args::{Dtype, Isa, RunArgs};
use super::data::Inputs;
use super::engine::{Engine, Number, Task, check_plan};
use super::expect::{self, Tolerance};
use super::files::Files;
use super::program::Program;
use super::results::{Results, dtype_name, number, range_text, table};
use super::setup::{Setup, both, output_file};
use super::tensors::shape_text;
use super::{Outcome, Verdict, progress, report};

/// Runs the layer, writes what is asked for, and prints a table.
pub fn execute(program: &Program, args: &RunArgs) -> Outcome {
    let layer = program.layer(&args.layer)?;
    check_plan(&layer, args.plan, args.data.isa).map_err(|error| vec![error])?;
    if let (Some(output), Some(state_out)) = (&args.output, &args.data.state_out)
        && same_file(&output.path, &state_out.path)
    {
        let message = "--output and --state-out name the same file";
        return Err(vec![Diagnostic::error_at(Code::S401, "--state-out", message)]);
    }
    match args.data.dtype {
        Dtype::F32 => run::<f32>(program, args, &layer, 1e-4),
        Dtype::F64 => run::<f64>(program, args, &layer, 1e-10),
    }
}

fn run<F: Number>(program: &Program, args: &RunArgs, layer: &ir::Layer, rtol: f64) -> Outcome {
    let (mut input_files, mut expected) =
        both(Files::open("--input", &args.input), Files::open("--expect", &args.expect))?;
    let (output, state_out) = both(output_file(args.output.as_ref()), output_file(args.data.state_out.as_ref()))?;
    let mut setup = Setup::locate(program, layer, &args.data, &[&input_files, &expected])?;
    // The parameters' files may hold the inputs too; each option only looks in its own.
    let param_files = Files::open("--params", &args.data.params)?;
    let (inputs, layout) = Inputs::locate(
        layer,
        &mut input_files,
        &[&param_files, &expected],
        args.seq,
        setup.states.batch,
        &mut setup.shapes,
    )?;
    drop(param_files);
    let (instance, bound) = setup.bind::<F>(layer, &args.layer, &layout, args.data.seed)?;
    let inputs = inputs.read::<F>(&instance, &layout, &mut input_files)?;
    let sequences = layout.sequences();
    let mut carry = interp::initial_carry(&instance, &bound, sequences.count());
    setup.states.read(&instance, &mut carry, &mut setup.state_files)?;

    let threads = args.threads.map_or(0, usize::from);
    let isa = Isa::limit(args.data.isa).map_err(|error| vec![error])?;
    let (engine, notes) = Engine::<F>::prepare_run(&instance, args.plan, isa, &sequences, threads)?;
    program.report(&notes);
    let started = Instant::now();
    let (outputs, reports) = progress::with_bar(sequences.total(), |progress| {
        let task =
            Task { instance: &instance, bound: &bound, sequences: &sequences, inputs: &inputs, threads, progress };
        engine.run(&task, &mut carry)
    })
    .map_err(|error| vec![Diagnostic::error_at(Code::S408, "the run", error.to_string())])?;
    let time = started.elapsed();

    let results = Results { instance: &instance, layout: &layout, outputs, carry };
    if let Some(file) = output {
        results.write_output(file).map_err(|error| vec![error])?;
    }
    if let Some(file) = state_out {
        results.write_state(file).map_err(|error| vec![error])?;
    }
    let mut text = summary(&results, engine.plan(), &inputs, time);
    let mut failures = Vec::new();
    let mut wrong = None;
    if !expected.is_empty() {
        let tolerance = Tolerance { relative: args.rtol.unwrap_or(rtol), absolute: args.atol };
        match expect::compare(&results, &mut expected, tolerance) {
            Ok((table, failed)) => {
                text.push('\n');
                text.push_str(&table);
                failures = failed;
            }
            Err(errors) => wrong = Some(errors),
        }
    }
    report::out(&text).map_err(|error| vec![error])?;
    if let Some(errors) = wrong {
        return Err(errors);
    }
    program.report(&reports.iter().map(ir::Report::diagnostic).collect::<Vec<_>>());
    program.report(&failures);
    Ok(if failures.is_empty() { Verdict::Done } else { Verdict::Failed })
}

/// Whether two paths lead to one file, or to one entry of one directory, however they are spelt.
fn same_file(a: &Path, b: &Path) -> bool {
    if matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b) {
        return true;
    }
    let entry = |path: &Path| {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        (parent.canonicalize().ok(), path.file_name().map(ToOwned::to_owned))
    };
    a == b || matches!(entry(a), (Some(_), _)) && entry(a) == entry(b)
}

/// What ran, how fast, and what came out.
///
/// The rate counts the elements of inputs and outputs.
fn summary<F: Number>(results: &Results<'_, F>, plan: &str, inputs: &[Tensor<F>], time: Duration) -> String {
    let layer = &results.instance.layer;
    let moved: usize = inputs.iter().chain(&results.outputs).map(|tensor| tensor.elements.len()).sum();
    let seconds = time.as_secs_f64();
    let mut rows = vec![vec!["layer".to_owned(), layer.name.clone()]];
    if !layer.dims.is_empty() {
        rows.push(vec!["dimensions".to_owned(), dims_text(results.instance)]);
    }
    rows.push(vec!["plan".to_owned(), format!("{plan}, f{}", F::BITS)]);
    rows.push(vec!["sequences x steps".to_owned(), results.layout.text()]);
    rows.push(vec!["time".to_owned(), format!("{:.3} ms", seconds * 1e3)]);
    if seconds > 0.0 {
        let rate = format!("{} elements of inputs and outputs per second", number(moved as f64 / seconds));
        rows.push(vec!["rate".to_owned(), rate]);
    }
    let mut text = table(&[], rows);
    text.push('\n');
    let what = if results.outputs.is_empty() { "final state" } else { "output" };
    let rows = results.returned().into_iter().map(|named| {
        let shape = shape_text(&named.shape);
        vec![
            named.name.to_owned(),
            dtype_name(named.elements),
            shape.trim_matches('`').to_owned(),
            range_of(named.elements),
        ]
    });
    text.push_str(&table(&[what, "type", "shape", "range"], rows));
    text
}

fn range_of<F: Number>(elements: &Elements<F>) -> String {
    range_text(elements)
}

/// `D = 16, N = 4`
pub fn dims_text(instance: &Instance) -> String {
    let dims = instance.layer.dims.iter().zip(&instance.dims);
    dims.map(|(dim, value)| format!("{} = {value}", dim.name)).collect::<Vec<_>>().join(", ")
}
