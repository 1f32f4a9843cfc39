//! Compiled kernels against the interpreter: every form, both widths of reals, awkward lengths and extents.
//!
//! The kernel runs on the same numbers as the `f64` interpreter. The bound on an error grows with the number of steps
//! and with the roundings of one step, relative to the largest expected value.

#[path = "kernels/data.rs"]
mod data;
#[path = "kernels/layers.rs"]
mod layers;

use data::{Data, compare, rounded_all, rounded_carry, rows};
use layers::{CASES, Case};
use ssmc::ir::{Instance, Layer, interp, parse};
use ssmc::jit::{self, Form, Isa, Kernel};
use ssmc_runtime::{Bound, Carry, Elements, Float, RunError, Sequences, Tensor};

const LENGTHS: [usize; 8] = [0, 1, 2, 3, 4, 5, 7, 33];

fn layer(text: &str) -> Layer {
    parse::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn instance(text: &str, dims: &[i64]) -> Instance {
    Instance::new(layer(text), dims.to_vec()).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn quiet(_: u64) {}

fn compile<F: Float>(instance: &Instance, form: Form) -> Kernel<F> {
    jit::compile(instance, form).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// The kernels for each form, within each of the machine's instructions.
fn kernels<F: Float>(instance: &Instance) -> Vec<(Form, Isa, Kernel<F>)> {
    let here = || Isa::ALL.into_iter().filter(|isa| isa.is_here());
    let all = forms(instance).iter().flat_map(|&form| here().map(move |isa| (form, isa)));
    all.map(|(form, isa)| {
        let kernel = jit::compile_for(instance, form, isa).unwrap_or_else(|problems| panic!("{problems:?}"));
        (form, isa, kernel)
    })
    .collect()
}

fn forms(instance: &Instance) -> &'static [Form] {
    let turns = instance.layer.states.iter().any(|state| state.reverse);
    if turns { &[Form::Sequence] } else { &[Form::Sequence, Form::Step] }
}

/// Two sequences of different lengths, twice, with the carry of the first run.
fn against_interpreter<F: Float>(case: &Case, dims: &[i64]) {
    let instance = instance(case.text, dims);
    let name = &instance.layer.name;
    let kernels = kernels::<F>(&instance);
    for length in LENGTHS {
        let sequences = Sequences::packed(vec![0, length, length + 3]).expect("ascending offsets");
        let data = Data::new(&instance, &sequences, 0);
        let (mut expected, mut carries) = (Vec::new(), Vec::new());
        let mut carry = data.carry.clone();
        for _ in 0..2 {
            expected.push(interp::run(&instance, &data.bound, &sequences, &data.inputs, &mut carry));
            carries.push(carry.clone());
        }
        let bound = Bound { params: rounded_all(&data.bound.params), initial: rounded_all(&data.bound.initial) };
        let inputs: Vec<Tensor<F>> = rounded_all(&data.inputs);
        for (form, isa, kernel) in &kernels {
            let mut carry = rounded_carry(&data.carry);
            for (round, (expected, after)) in expected.iter().zip(&carries).enumerate() {
                let what = format!("{name}{dims:?} f{} {form:?} {isa} length {length} run {round}", F::BITS);
                let roundings = case.ops + 2.0 * (length * (round + 1)) as f64;
                let got = kernel.run(&bound, &sequences, &inputs, &mut carry, 1, &quiet).expect("the tensors fit");
                compare(&format!("{what} outputs"), &got, expected, roundings);
                compare(&format!("{what} states"), &carry.states, &after.states, roundings);
                compare(&format!("{what} delays"), &carry.delays, &after.delays, roundings);
                assert_eq!(carry.steps, after.steps, "{what}");
            }
        }
    }
}

#[test]
fn f32_kernels_agree_with_the_interpreter() {
    for case in CASES {
        for dims in case.dims {
            against_interpreter::<f32>(case, dims);
        }
    }
}

#[test]
fn f64_kernels_agree_with_the_interpreter() {
    for case in CASES {
        for dims in case.dims {
            against_interpreter::<f64>(case, dims);
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    for case in CASES {
        let instance = instance(case.text, case.dims[3]);
        let sequences = Sequences::packed(vec![0, 5, 5, 12, 13, 40]).expect("ascending offsets");
        let data = Data::new(&instance, &sequences, 0);
        let bound = Bound { params: rounded_all(&data.bound.params), initial: rounded_all(&data.bound.initial) };
        let inputs: Vec<Tensor<f32>> = rounded_all(&data.inputs);
        let kernel = compile::<f32>(&instance, Form::Sequence);
        let mut runs = Vec::new();
        for threads in [1, 2, 0] {
            let mut carry = rounded_carry(&data.carry);
            let outputs =
                kernel.run(&bound, &sequences, &inputs, &mut carry, threads, &quiet).expect("the tensors fit");
            runs.push((outputs, carry));
        }
        assert_eq!(runs[0], runs[1], "{}", instance.layer.name);
        assert_eq!(runs[0], runs[2], "{}", instance.layer.name);
    }
}

#[test]
fn pieces_give_what_one_run_gives() {
    for case in CASES {
        let instance = instance(case.text, case.dims[case.dims.len() - 1]);
        if forms(&instance).len() == 1 {
            continue;
        }
        let whole = Sequences::batch(1, 11);
        let data = Data::new(&instance, &whole, 0);
        let bound = Bound { params: rounded_all(&data.bound.params), initial: rounded_all(&data.bound.initial) };
        let inputs: Vec<Tensor<f32>> = rounded_all(&data.inputs);
        let (sequence, step) = (compile::<f32>(&instance, Form::Sequence), compile::<f32>(&instance, Form::Step));
        for kernel in [&sequence, &step] {
            let mut carry = rounded_carry(&data.carry);
            let expected = kernel.run(&bound, &whole, &inputs, &mut carry, 1, &quiet).expect("the tensors fit");
            for cuts in [vec![0, 4, 4, 11], (0..12).collect()] {
                let mut carried = rounded_carry(&data.carry);
                for cut in cuts.windows(2) {
                    let piece: Vec<Tensor<f32>> = inputs.iter().map(|t| rows(t, cut[0]..cut[1])).collect();
                    let sequences = Sequences::batch(1, cut[1] - cut[0]);
                    let got = kernel.run(&bound, &sequences, &piece, &mut carried, 1, &quiet).expect("the tensors fit");
                    let part: Vec<Tensor<f32>> = expected.iter().map(|t| rows(t, cut[0]..cut[1])).collect();
                    assert_eq!(got, part, "{} {cuts:?}", instance.layer.name);
                }
                assert_eq!(carried, carry, "{} {cuts:?}", instance.layer.name);
            }
        }
    }
}

/// A session keeps the state to itself from step to step, and shows it when it is asked for.
#[test]
fn sessions_agree_with_the_interpreter() {
    for case in CASES {
        for dims in case.dims {
            let instance = instance(case.text, dims);
            if forms(&instance).len() == 1 {
                continue;
            }
            let whole = Sequences::batch(1, 11);
            let data = Data::new(&instance, &whole, 0);
            let bound = Bound { params: rounded_all(&data.bound.params), initial: rounded_all(&data.bound.initial) };
            let inputs: Vec<Tensor<f64>> = rounded_all(&data.inputs);
            for (form, isa, kernel) in &kernels::<f64>(&instance) {
                let mut session = kernel.session(&bound, rounded_carry(&data.carry)).expect("the tensors fit");
                let mut outputs = session.blank_outputs();
                let mut carry: Carry<f64> = data.carry.clone();
                for step in 0..11 {
                    let what = format!("{}{dims:?} {form:?} {isa} step {step}", instance.layer.name);
                    let row: Vec<Tensor<f64>> = data.inputs.iter().map(|t| rows(t, step..step + 1)).collect();
                    let single = Sequences::batch(1, 1);
                    let expected = interp::run(&instance, &data.bound, &single, &row, &mut carry);
                    let row: Vec<Tensor<f64>> = inputs.iter().map(|t| rows(t, step..step + 1)).collect();
                    session.step(&row, &mut outputs).expect("the row fits");
                    let roundings = case.ops + 2.0 * (step + 1) as f64;
                    compare(&format!("{what} outputs"), &outputs, &expected, roundings);
                    if step % 4 == 2 {
                        let seen = session.carry();
                        compare(&format!("{what} states"), &seen.states, &carry.states, roundings);
                        compare(&format!("{what} delays"), &seen.delays, &carry.delays, roundings);
                        assert_eq!(seen.steps, carry.steps, "{what}");
                    }
                }
                let wrong: Vec<Tensor<f64>> = data.inputs.iter().map(|t| rows(t, 0..2)).collect();
                let before = session.carry().clone();
                assert!(wrong.is_empty() || session.step(&wrong, &mut outputs).is_err(), "two rows are no step");
                assert_eq!(*session.carry(), before, "nothing was computed");
            }
        }
    }
}

#[test]
fn nan_and_infinity_pass_as_in_the_interpreter() {
    for case in CASES.iter().filter(|case| !case.text.contains("complex") && !case.text.contains("index")) {
        let instance = instance(case.text, case.dims[3]);
        let sequences = Sequences::batch(1, 4);
        for special in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut data = Data::new(&instance, &sequences, 0);
            for tensor in &mut data.inputs {
                if let Elements::Real(v) = &mut tensor.elements {
                    let middle = v.len() / 2;
                    v[middle] = special;
                }
            }
            let mut carry = data.carry.clone();
            let expected = interp::run(&instance, &data.bound, &sequences, &data.inputs, &mut carry);
            let kernel = compile::<f64>(&instance, Form::Sequence);
            let mut got = data.carry.clone();
            let outputs =
                kernel.run(&data.bound, &sequences, &data.inputs, &mut got, 1, &quiet).expect("the tensors fit");
            let what = format!("{} with {special}", instance.layer.name);
            compare(&what, &outputs, &expected, case.ops);
            compare(&what, &got.states, &carry.states, case.ops);
        }
    }
}

/// A real scales a complex number: it is no complex number whose other part is 0, which would make of an infinite part no number.
#[test]
fn reals_scale_complex_numbers() {
    let text = "layer a { param z[3]: complex input x[5] state h: complex = 0
        h <- 0.5 * h + sum[i in 5](z[1] * x[i]) output y[i] = z[0] * x[i], r = re(sum[i in 5](x[i] * z[2])), h }";
    let (layers, problems) = ssmc::sema::lower(&ssmc::syntax::parse(text).0);
    assert!(problems.is_empty(), "{problems:?}");
    let instance = Instance::new(layers[0].clone(), Vec::new()).expect("sizes that can be run");
    let sequences = Sequences::batch(1, 3);
    let mut data = Data::new(&instance, &sequences, 0);
    let Elements::Complex { re, .. } = &mut data.bound.params[0].elements else { panic!("a complex parameter") };
    re[0] = f64::INFINITY;
    let mut carry = data.carry.clone();
    let expected = interp::run(&instance, &data.bound, &sequences, &data.inputs, &mut carry);
    let Elements::Complex { re, im } = &expected[0].elements else { panic!("a complex output") };
    assert!(re.iter().all(|x| x.is_infinite()) && im.iter().all(|x| x.is_finite()), "both parts are scaled");
    let kernel = compile::<f64>(&instance, Form::Sequence);
    let mut got = data.carry.clone();
    let outputs = kernel.run(&data.bound, &sequences, &data.inputs, &mut got, 1, &quiet).expect("the tensors fit");
    compare("outputs", &outputs, &expected, 16.0);
    compare("states", &got.states, &carry.states, 16.0);
}

#[test]
fn what_does_not_fit_is_refused() {
    let case = CASES.iter().find(|case| case.text.contains("integers")).expect("the layer is there");
    let instance = instance(case.text, &[3, 4]);
    let sequences = Sequences::batch(2, 3);
    let kernel = compile::<f64>(&instance, Form::Sequence);
    let run = |change: &dyn Fn(&mut Data)| {
        let mut data = Data::new(&instance, &sequences, 0);
        change(&mut data);
        kernel.run(&data.bound, &sequences, &data.inputs, &mut data.carry, 1, &quiet).map(|_| ())
    };
    assert_eq!(run(&|_| ()), Ok(()));
    let set = |tensor: &mut Tensor<f64>, x: i32| match &mut tensor.elements {
        Elements::Int(v) => v[0] = x,
        _ => panic!("integers"),
    };
    for x in [-1, 3, i32::MAX] {
        assert!(matches!(run(&|data| set(&mut data.inputs[0], x)), Err(RunError::Range { .. })));
    }
    assert!(matches!(run(&|data| set(&mut data.bound.params[0], 4)), Err(RunError::Range { .. })));
    assert!(matches!(run(&|data| set(&mut data.bound.initial[0], 4)), Err(RunError::Range { .. })));
    assert!(matches!(run(&|data| set(&mut data.carry.states[0], -1)), Err(RunError::Range { .. })));
    assert!(matches!(run(&|data| data.inputs[0].shape[0] = 5), Err(RunError::Shape { .. })));
    assert!(matches!(run(&|data| data.inputs.truncate(1)), Err(RunError::Count { .. })));
    assert!(matches!(run(&|data| data.carry.steps.truncate(1)), Err(RunError::Count { .. })));
    let real = |data: &mut Data| data.inputs[0].elements = Elements::Real(vec![0.0; 6]);
    assert!(matches!(run(&real), Err(RunError::Elements { .. })));
    let short = |data: &mut Data| data.inputs[0].elements = Elements::Int(vec![0; 5]);
    assert!(matches!(run(&short), Err(RunError::Elements { .. })));
    let untruth = |data: &mut Data| data.inputs[1].elements = Elements::Bool(vec![2; 18]);
    assert!(matches!(run(&untruth), Err(RunError::Elements { .. })));
}

#[test]
fn reverse_states_have_no_step_kernel() {
    let case = CASES.iter().find(|case| case.text.contains("reverse")).expect("the layer is there");
    let problems = jit::compile::<f32>(&instance(case.text, &[3]), Form::Step).err().expect("it is refused");
    assert_eq!(problems[0].code, ssmc::diag::Code::S301);
}

#[test]
fn dumps_are_deterministic() {
    for case in CASES {
        let instance = instance(case.text, case.dims[2]);
        for bits in [32, 64] {
            let clif = jit::clif(&instance, Form::Sequence, bits, Isa::widest()).expect("it compiles");
            assert_eq!(clif, jit::clif(&instance, Form::Sequence, bits, Isa::widest()).expect("it compiles"));
            let asm = jit::asm(&instance, Form::Sequence, bits, Isa::widest()).expect("it compiles");
            assert_eq!(asm, jit::asm(&instance, Form::Sequence, bits, Isa::widest()).expect("it compiles"));
        }
    }
}

#[test]
fn progress_counts_all_steps() {
    let instance = instance(CASES[0].text, &[3, 4]);
    let sequences = Sequences::batch(2, 5000);
    let mut data = Data::new(&instance, &sequences, 0);
    let kernel = compile::<f64>(&instance, Form::Sequence);
    let most = std::sync::atomic::AtomicU64::new(0);
    let note = |done: u64| {
        most.fetch_max(done, std::sync::atomic::Ordering::Relaxed);
    };
    kernel.run(&data.bound, &sequences, &data.inputs, &mut data.carry, 2, &note).expect("the tensors fit");
    assert_eq!(most.into_inner(), 10_000);
}
