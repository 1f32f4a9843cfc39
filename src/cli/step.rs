//! `ssmc step`: JSON lines in, JSON lines out, one step each.

use std::io::{BufRead, ErrorKind, Read, Write};

use serde_json::{Map, Value};
use ssmc::diag::{Code, Diagnostic};
use ssmc::ir::{self, Instance, interp};
use ssmc::jit::Kernel;
use ssmc_runtime::{Bound, Carry, Sequences, Session, Tensor};

use super::args::{Dtype, Isa, Plan, StepArgs};
use super::engine::{Engine, Number, check_plan, check_step, note};
use super::layout::Layout;
use super::program::Program;
use super::results::write_state;
use super::setup::{Setup, output_file};
use super::tensors::Kind;
use super::{Outcome, Verdict, json, report};

/// The longest line, whatever the inputs are.
const MAX_LINE: usize = 256 << 20;

/// Runs one step for each line, until the input ends.
pub fn execute(program: &Program, args: &StepArgs) -> Outcome {
    let layer = program.layer(&args.layer)?;
    check_step(&layer, "ssmc step").map_err(|error| vec![error])?;
    let message = match args.plan {
        Plan::Sequential => Some("a sequence kernel does not run single steps"),
        Plan::Parallel => Some("a scan does not run single steps"),
        Plan::Chunked => Some("blocks of time are no single steps"),
        _ => None,
    };
    if let Some(message) = message {
        let place = format!("--plan {}", args.plan.name());
        return Err(vec![Diagnostic::error_at(Code::S301, place, message)]);
    }
    check_plan(&layer, args.plan, args.data.isa).map_err(|error| vec![error])?;
    match args.data.dtype {
        Dtype::F32 => step::<f32>(program, args, &layer),
        Dtype::F64 => step::<f64>(program, args, &layer),
    }
}

fn step<F: Number>(program: &Program, args: &StepArgs, layer: &ir::Layer) -> Outcome {
    let state_out = output_file(args.data.state_out.as_ref())?;
    let mut setup = Setup::locate(program, layer, &args.data, &[])?;
    if let Some(batch) = setup.states.batch.filter(|&batch| batch != 1) {
        let place = format!("--state-in {}", setup.state_files.paths());
        let message = format!("the states have a batch axis of {batch}; `step` runs one sequence");
        return Err(vec![Diagnostic::error_at(Code::S404, place, message)]);
    }
    let (instance, bound) = setup.bind::<F>(layer, &args.layer, &Layout::Single { seq: 1 }, args.data.seed)?;
    let mut carry = interp::initial_carry(&instance, &bound, 1);
    setup.states.read(&instance, &mut carry, &mut setup.state_files)?;
    let isa = Isa::limit(args.data.isa).map_err(|error| vec![error])?;
    let plan = if args.plan == Plan::Interp { Plan::Interp } else { Plan::Step };
    let engine = Engine::<F>::prepare(&instance, plan, isa)?;
    let session = match &engine {
        Engine::Step(kernel) => {
            let session = kernel.session(&bound, carry.clone());
            let session =
                session.map_err(|error| vec![Diagnostic::error_at(Code::S408, "the run", error.to_string())])?;
            Some((kernel, session))
        }
        _ => None,
    };
    let mut stepper = Stepper { instance: &instance, bound: &bound, session, carry, reports: Vec::new() };
    let verdict = stepper.lines(std::io::stdin().lock(), std::io::stdout().lock());
    stepper.settle();
    if let Some(file) = state_out {
        write_state(&instance, &Layout::Single { seq: 0 }, &stepper.carry, file).map_err(|error| vec![error])?;
    }
    program.report(&stepper.reports.iter().map(ir::Report::diagnostic).collect::<Vec<_>>());
    verdict.map_err(|error| vec![error])
}

struct Stepper<'a, F: Number> {
    instance: &'a Instance,
    bound: &'a Bound<F>,
    /// The step kernel; without it the interpreter steps.
    session: Option<(&'a Kernel<F>, Session<'a, F>)>,
    /// The carry behind the last step, where it was asked for.
    carry: Carry<F>,
    /// What is to be said about the data at the end.
    reports: Vec<ir::Report>,
}

impl<F: Number> Stepper<'_, F> {
    /// Takes the carry, and what is to be said, from the session.
    fn settle(&mut self) {
        if let Some((kernel, session)) = &mut self.session {
            self.carry.clone_from(session.carry());
            self.reports = kernel.reports_of(session);
        }
    }

    /// Answers every line. Lines are counted from 1, blank ones too.
    fn lines(&mut self, mut input: impl BufRead, mut output: impl Write) -> Result<Verdict, Diagnostic> {
        let limit = self.line_limit();
        let mut refused: Option<(u64, String)> = None;
        let mut line = Vec::new();
        for number in 1u64.. {
            line.clear();
            let whole = read_line(&mut input, limit, &mut line)
                .map_err(|error| Diagnostic::error_at(Code::S401, "standard input", format!("cannot read: {error}")))?;
            if line.is_empty() {
                break;
            }
            if whole && line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let answer = if whole { self.answer(&line) } else { Err(format!("the line is longer than {limit} bytes")) };
            let text = answer.unwrap_or_else(|message| {
                let text = error_object(number, &message);
                refused.get_or_insert((number, message));
                text
            });
            let written = writeln!(output, "{text}").and_then(|()| output.flush());
            match written {
                Ok(()) => {}
                // Nobody reads on: no need to run on.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
                Err(error) => return Err(report::stdout_fault(&error)),
            }
        }
        // Who reads the answers by a program sees it there; who looks at stderr, here.
        let Some((number, message)) = refused else { return Ok(Verdict::Done) };
        let place = format!("standard input: line {number}");
        report::print(&[Diagnostic::error_at(Code::S411, place, message)], "", "");
        Ok(Verdict::Failed)
    }

    /// More than any sensible text of the inputs has.
    fn line_limit(&self) -> usize {
        let inputs = &self.instance.layer.inputs;
        let elements: usize = inputs.iter().map(|&input| self.instance.elements(input)).sum();
        elements.saturating_mul(128).saturating_add(1 << 20).min(MAX_LINE)
    }

    /// Runs one step. The state changes only if it can be run.
    fn answer(&mut self, line: &[u8]) -> Result<String, String> {
        let value: Value = serde_json::from_slice(line).map_err(|error| {
            // Where in the line, without the number of the line that serde counts.
            let text = error.to_string();
            let what = text.split(" at line ").next().unwrap_or_default();
            format!("not JSON: {what} at column {}", error.column())
        })?;
        let Value::Object(object) = value else {
            return Err("expected an object of the inputs by name".to_owned());
        };
        let inputs = self.inputs(&object)?;
        let outputs = match &mut self.session {
            Some((_, session)) => {
                let mut outputs = session.blank_outputs();
                session.step(&inputs, &mut outputs).map_err(|error| error.to_string())?;
                outputs
            }
            None => {
                let single = Sequences::batch(1, 1);
                let (outputs, reports) =
                    interp::run_reporting(self.instance, self.bound, &single, &inputs, &mut self.carry);
                reports.into_iter().for_each(|report| note(&mut self.reports, report));
                outputs
            }
        };
        Ok(self.object(&outputs))
    }

    fn inputs(&self, object: &Map<String, Value>) -> Result<Vec<Tensor<F>>, String> {
        let layer = &self.instance.layer;
        let names = || layer.inputs.iter().map(|&input| layer.value(input).name.as_str());
        if let Some(unknown) = object.keys().find(|key| !names().any(|name| name == *key)) {
            return Err(format!("there is no input `{unknown}`"));
        }
        let dims: Vec<Option<i64>> = self.instance.dims.iter().copied().map(Some).collect();
        let read = |&input: &ir::ValueId| {
            let declared = layer.value(input);
            let name = &declared.name;
            let value = object.get(name).ok_or_else(|| format!("the input `{name}` is missing"))?;
            let shape = &self.instance.axes[input.at()];
            json::read(value, shape, Kind::of(&declared.ty, &dims)).map_err(|error| {
                let between = if error.starts_with('[') { "" } else { ": " };
                format!("`{name}`{between}{error}")
            })
        };
        layer.inputs.iter().map(read).collect()
    }

    /// The outputs, or the states of a layer without outputs.
    fn object(&mut self, outputs: &[Tensor<F>]) -> String {
        if self.instance.layer.outputs.is_empty() {
            self.settle();
        }
        let layer = &self.instance.layer;
        let names = layer.outputs.iter().map(|output| &output.name);
        let mut named: Vec<(&String, &Tensor<F>)> = names.zip(outputs).collect();
        if named.is_empty() {
            named = layer.states.iter().map(|state| &state.name).zip(&self.carry.states).collect();
        }
        let mut text = String::from("{");
        for (at, (name, tensor)) in named.into_iter().enumerate() {
            if at > 0 {
                text.push_str(", ");
            }
            text.push_str(&Value::from(name.as_str()).to_string());
            text.push_str(": ");
            json::write(&tensor.shape[1..], &tensor.elements, &mut text);
        }
        text.push('}');
        text
    }
}

fn error_object(line: u64, message: &str) -> String {
    serde_json::json!({"error": {"code": Code::S411.name(), "message": message, "line": line}}).to_string()
}

/// Reads a line with its end. Of one that is longer than the limit, the rest is skipped and the result is false.
fn read_line(input: &mut impl BufRead, limit: usize, line: &mut Vec<u8>) -> std::io::Result<bool> {
    input.by_ref().take(limit as u64 + 1).read_until(b'\n', line)?;
    if line.len() <= limit || line.ends_with(b"\n") {
        return Ok(true);
    }
    loop {
        let piece = input.fill_buf()?;
        let (used, end) = match piece.iter().position(|&byte| byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (piece.len(), piece.is_empty()),
        };
        input.consume(used);
        if end {
            return Ok(false);
        }
    }
}
