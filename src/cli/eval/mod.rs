//! `ssmc eval`: a layer's answers against labels, by the length of the sequences.
//!
//! In: a program, parameters, and files of labelled sequences ([`sets`]). Out: which answers are right ([`score`]), as
//! a table, as JSON, and as a chart ([`report`]).

mod report;
mod score;
mod sets;

use ssmc::diag::{Code, Diagnostic};
use ssmc::ir::{self, Instance, Type, ValueId};

use super::args::{Dtype, EvalArgs, Isa};
use super::engine::{Engine, Number, check_plan};
use super::files::Files;
use super::layout::Layout;
use super::program::{Program, listed};
use super::setup::Setup;
use super::{Outcome, Verdict, carried, memory, progress};
use score::{Question, Source, Subject};
use sets::Set;

/// Evaluates the layer and prints how many answers are right.
pub fn execute(program: &Program, args: &EvalArgs) -> Outcome {
    let layer = program.layer(&args.layer)?;
    check_plan(&layer, args.plan, args.isa).map_err(|error| vec![error])?;
    let question = question(&layer, args.score.as_deref()).map_err(|error| vec![error])?;
    match args.dtype {
        Dtype::F32 => evaluate::<f32>(program, args, &layer, &question),
        Dtype::F64 => evaluate::<f64>(program, args, &layer, &question),
    }
}

fn evaluate<F: Number>(program: &Program, args: &EvalArgs, layer: &ir::Layer, question: &Question) -> Outcome {
    let data_args = args.data_args();
    let mut files = Files::open("--data", &args.data)?;
    let mut setup = Setup::locate(program, layer, &data_args, &[&files])?;
    let located = sets::locate(&mut files, &args.sets)?;
    let (instance, bound) = setup.bind::<F>(layer, &args.layer, &Layout::Single { seq: 1 }, args.seed)?;

    let tokens = range(&instance, question.input).unwrap_or(0);
    let labels = range(&instance, answer_value(layer, question.answer));
    let (mut read, mut errors): (Vec<Set>, Vec<Diagnostic>) = (Vec::new(), Vec::new());
    for set in &located {
        match set.read(&mut files, tokens, labels) {
            Ok(set) => read.push(set),
            Err(error) => errors.push(error),
        }
    }
    if let Source::State(_) = question.answer {
        errors.extend(read.iter().filter_map(|set| refuse_steps(layer, set, &files)));
    }
    if !errors.is_empty() {
        return Err(errors);
    }

    let isa = Isa::limit(args.isa).map_err(|error| vec![error])?;
    let engine = Engine::<F>::prepare(&instance, args.plan, isa)?;
    let threads = args.threads.map_or(0, usize::from);
    let subject = Subject { instance: &instance, bound: &bound, engine: &engine, threads, question };
    let most = read.iter().map(|set| subject.most_steps(set)).max().unwrap_or(0);
    memory::check::<F>(&instance, &Layout::Single { seq: most })?;
    let total = read.iter().map(|set| set.tokens.len()).sum();
    let mut right = Vec::new();
    let scored = progress::with_bar(total, |progress| {
        let mut done = 0;
        read.iter().try_for_each(|set| {
            right.push(subject.score(set, &|steps| progress(done + steps))?);
            done += set.tokens.len() as u64;
            Ok(())
        })
    });
    scored.map_err(|error: Diagnostic| vec![error])?;

    let state_bytes = carried::bytes(&instance, F::BITS);
    let report = report::Report::of(layer, engine.plan(), F::BITS, state_bytes, args.alphabet, &read, &right);
    report.write(args.json, args.plot.as_deref()).map_err(|error| vec![error])?;
    Ok(Verdict::Done)
}

/// Finds the input that gets the tokens, and where the answer is.
fn question(layer: &ir::Layer, score: Option<&str>) -> Result<Question, Diagnostic> {
    let refused = |value: Option<ValueId>, message: String| match value {
        Some(value) => Diagnostic::error(Code::S410, layer.value(value).span, message),
        None => Diagnostic::error_at(Code::S410, format!("layer `{}`", layer.name), message),
    };
    let [input] = layer.inputs[..] else {
        let names = listed(layer.inputs.iter().map(|&input| layer.value(input).name.as_str()));
        let found = if layer.inputs.is_empty() { "none".to_owned() } else { names };
        return Err(refused(None, format!("only layers with one input can be evaluated; this one has {found}")));
    };
    let value = layer.value(input);
    match (&value.ty, value.axes.len()) {
        (Type::Index(_) | Type::Bool, 0) | (Type::Real, 1) => {}
        _ => {
            let message = format!("tokens cannot be given to `{}`", value.name);
            let help = "an input of type `index(N)` or `bool`, or a vector of reals, takes them";
            return Err(refused(Some(input), message).help(help));
        }
    }
    let answer = match (score, &layer.outputs[..]) {
        (Some(name), outputs) => match outputs.iter().position(|output| output.name == name) {
            Some(at) => Source::Output(at),
            None => {
                let message = format!("there is no output `{name}`");
                let names = listed(outputs.iter().map(|output| output.name.as_str()));
                let error = Diagnostic::error_at(Code::S410, "--score", message);
                return Err(if names.is_empty() { error } else { error.help(format!("the layer has {names}")) });
            }
        },
        (None, [_]) => Source::Output(0),
        (None, []) if layer.states.len() == 1 => Source::State(0),
        (None, []) => return Err(refused(None, "the layer has several states and no output to compare".to_owned())),
        (None, outputs) => {
            let names = listed(outputs.iter().map(|output| output.name.as_str()));
            return Err(
                refused(None, format!("the layer has several outputs: {names}")).help("choose one with --score")
            );
        }
    };
    let value = answer_value(layer, answer);
    match (&layer.value(value).ty, layer.value(value).axes.len()) {
        (Type::Index(_) | Type::Int | Type::Bool, 0) | (Type::Real | Type::Index(_) | Type::Int, 1) => {
            Ok(Question { input, answer })
        }
        _ => {
            let message = format!("`{}` names no label", layer.value(value).name);
            let help = "an integer does, or a vector of numbers: the place of its largest element";
            Err(refused(Some(value), message).help(help))
        }
    }
}

fn answer_value(layer: &ir::Layer, answer: Source) -> ValueId {
    match answer {
        Source::Output(at) => layer.outputs[at].value,
        Source::State(at) => layer.states[at].value,
    }
}

/// How many values a scalar has, or how many elements lie along a vector's axis; nothing for any integer.
fn range(instance: &Instance, value: ValueId) -> Option<i64> {
    match (&instance.axes[value.at()][..], &instance.layer.value(value).ty) {
        ([extent, ..], _) => Some(*extent as i64),
        ([], Type::Bool) => Some(2),
        ([], Type::Index(extent)) => instance.extent(extent),
        ([], Type::Int | Type::Real | Type::Complex) => None,
    }
}

/// A layer without outputs gives nothing to compare but its state behind the last step.
fn refuse_steps(layer: &ir::Layer, set: &Set, files: &Files) -> Option<Diagnostic> {
    let last = |answer: &sets::Answer| set.sequences[answer.sequence].len() - 1;
    let early = set.answers.iter().any(|answer| answer.targets.iter().any(|&(step, _)| step != last(answer)));
    early.then(|| {
        let message = format!("`{}` has no output, so only a label for the last step can be compared", layer.name);
        Diagnostic::error_at(Code::S404, format!("--data {}", files.paths()), message)
    })
}
