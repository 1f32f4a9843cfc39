//! Layers that run as maps of their states, against the interpreter: long enough for the maps to be used.

use ssmc::ir::{Instance, bind, interp};
use ssmc::jit::{self, Form, finite::Map};
use ssmc::scan::{self, Options};
use ssmc::{sema, syntax};
use ssmc_runtime::{Bound, Carry, Elements, RunError, Sequences, Tensor};

/// Layers with the dimensions they run at; each has at most 16 joint states.
const LAYERS: &[(&str, &[i64])] = &[
    (
        "layer automaton(V, S) {
            param next[V, S]: index(S)
            input tok: index(V)
            state s: index(S) = 0
            s <- next[tok, s]
            output s
        }",
        &[5, 7],
    ),
    // The output of a step reads the state before it, and is real; the start is a parameter.
    (
        "layer mealy(V, S, O) {
            param next[V, S]: index(S), emit[V, S, O], start: index(S)
            input tok: index(V)
            state s: index(S) = start
            output y[o] = emit[tok, s, o] + 1
            s <- next[tok, s]
        }",
        &[3, 16, 5],
    ),
    // No output; bools and integers; a state with an axis; two inputs, one with an axis.
    (
        "layer bits(N) {
            input on: bool, flip[N]: bool
            state b[N]: bool
            state n: index(3) = 1
            b[i] <- if on then (b[i] != flip[i]) else b[i]
            n <- (n + (if on then 1 else 2)) % 3
        }",
        &[2],
    ),
    // Resets, and outputs of every type.
    (
        "layer resets {
            param a: complex
            input tok: index(4), stop: bool
            state s: index(5) = 3
            state odd: bool
            reset when stop
            s <- (s * 2 + tok) % 5
            odd <- odd != (tok == 1)
            output s, odd
            output z[k in 3] = a * k + s
            output r[k in 3, l in 2] = s * k - l
        }",
        &[],
    ),
    // A letter that is nothing but the step: no inputs.
    ("layer clock { state s: index(12) = 0 s <- (s + 5) % 12 output s }", &[]),
];

/// Layers that look alike and must not run as maps.
const OTHERS: &[(&str, &[i64])] = &[
    (
        "layer starts { input tok: index(2) state s: index(3) = 0 s <- if first then 2 else (s + tok) % 3 output s }",
        &[],
    ),
    ("layer large { input tok: index(2) state s: index(17) = 0 s <- (s + tok) % 17 output s }", &[]),
    ("layer late { input tok: index(2) state s: index(3) = 0 s <- (s + past(tok, 1)) % 3 output s }", &[]),
    ("layer real { input x state s: index(3) = 0 s <- if x > 0 then (s + 1) % 3 else s output s }", &[]),
    ("layer back { input tok: index(2) state s: index(3) = 0 reverse s <- (s + tok) % 3 output s }", &[]),
];

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as i64 % n
    }
}

fn instance(source: &str, dims: &[i64]) -> Instance {
    let (file, diagnostics) = syntax::parse(source);
    assert!(diagnostics.is_empty(), "{source}: {diagnostics:?}");
    let (mut layers, diagnostics) = sema::lower(&file);
    assert!(diagnostics.is_empty(), "{source}: {diagnostics:?}");
    Instance::new(layers.remove(0), dims.to_vec()).expect("the sizes can be run")
}

/// Random elements of a value, `rows` times.
fn tensor(instance: &Instance, value: ssmc::ir::ValueId, rows: Option<usize>, random: &mut Rng) -> Tensor<f32> {
    use ssmc::ir::Type;
    let shape: Vec<usize> = rows.into_iter().chain(instance.axes[value.at()].iter().copied()).collect();
    let n: usize = shape.iter().product();
    let mut reals = || (0..n).map(|_| random.below(100) as f32 / 7.0).collect();
    let elements = match &instance.layer.value(value).ty {
        Type::Real => Elements::Real(reals()),
        Type::Complex => Elements::Complex { re: reals(), im: reals() },
        Type::Bool => Elements::Bool((0..n).map(|_| random.below(2) as u8).collect()),
        Type::Int => Elements::Int((0..n).map(|_| random.below(9) as i32).collect()),
        Type::Index(extent) => {
            let below = instance.extent(extent).expect("a number");
            Elements::Int((0..n).map(|_| random.below(below) as i32).collect())
        }
    };
    Tensor { shape, elements }
}

/// A layer with random parameters, and inputs for so many steps.
fn data(instance: &Instance, steps: usize, seed: u64) -> (Bound<f32>, Vec<Tensor<f32>>) {
    let mut random = Rng(seed);
    let params = instance.layer.params.iter().map(|p| Some(tensor(instance, p.value, None, &mut random))).collect();
    let bound = bind::bind(instance, params, 0).expect("the parameters fit");
    let inputs = instance.layer.inputs.iter().map(|&i| tensor(instance, i, Some(steps), &mut random)).collect();
    (bound, inputs)
}

#[test]
fn maps_give_what_the_interpreter_gives() {
    // Lengths around the unrolled loop and the driver's pieces, and sequences without a step.
    let lengths = [0, 1, 7, 8, 9, 100, 4095, 4097, 0, 9000];
    let offsets: Vec<usize> = (0..=lengths.len()).map(|n| lengths[..n].iter().sum()).collect();
    let sequences = Sequences::packed(offsets).expect("they ascend");
    for (source, dims) in LAYERS {
        let instance = instance(source, dims);
        let kernel = jit::compile::<f32>(&instance, Form::Sequence).expect("the layer compiles");
        assert!(kernel.finite().is_some(), "{source}");
        // Other parameters need other tables.
        for seed in [1, 2] {
            let (bound, inputs) = data(&instance, sequences.total(), seed);
            let mut expected = interp::initial_carry(&instance, &bound, sequences.count());
            let outputs = interp::run(&instance, &bound, &sequences, &inputs, &mut expected);
            for threads in [1, 2] {
                let mut carry = interp::initial_carry(&instance, &bound, sequences.count());
                let got = kernel.run(&bound, &sequences, &inputs, &mut carry, threads, &|_| {}).expect("they fit");
                assert!(got == outputs, "{source}");
                assert_eq!(carry, expected, "{source}");
                // The next piece goes on from there.
                let got = kernel.run(&bound, &sequences, &inputs, &mut carry, threads, &|_| {}).expect("they fit");
                let mut twice = expected.clone();
                assert!(got == interp::run(&instance, &bound, &sequences, &inputs, &mut twice), "{source}");
                assert_eq!(carry, twice, "{source}");
            }
        }
    }
}

#[test]
fn stretches_compose() {
    let stretches = Sequences::packed(vec![0, 1, 1, 10, 500, 4100, 5000]).expect("they ascend");
    for (source, dims) in LAYERS {
        let instance = instance(source, dims);
        let kernel = jit::compile::<f32>(&instance, Form::Sequence).expect("the layer compiles");
        let finite = kernel.finite().expect("it has maps");
        let (bound, inputs) = data(&instance, stretches.total(), 3);
        let maps = kernel.maps(&bound, &stretches, &inputs, 2).expect("it has maps").expect("the tensors fit");
        assert_eq!(maps.len(), stretches.count());
        // Stretch by stretch, and all at once, from the start.
        let whole = Sequences::batch(1, stretches.total());
        let mut expected = interp::initial_carry(&instance, &bound, 1);
        interp::run(&instance, &bound, &whole, &inputs, &mut expected);
        let mut one_by_one: Carry<f32> = interp::initial_carry(&instance, &bound, 1);
        for &map in &maps {
            finite.apply(map, &mut one_by_one, 0);
        }
        assert_eq!(one_by_one.states, expected.states, "{source}");
        let all = maps.iter().fold(Map::IDENTITY, |before, &map| before.then(map));
        let mut at_once = interp::initial_carry(&instance, &bound, 1);
        finite.apply(all, &mut at_once, 0);
        assert_eq!(at_once.states, expected.states, "{source}");
        let one = kernel.maps(&bound, &whole, &inputs, 1).expect("it has maps").expect("the tensors fit");
        assert_eq!(one[0].0[..finite.states()], all.0[..finite.states()], "{source}");
    }
}

/// The same tensors, integers in bytes.
fn in_bytes(inputs: &[Tensor<f32>]) -> Vec<Tensor<f32>> {
    let narrow = |tensor: &Tensor<f32>| match &tensor.elements {
        Elements::Int(values) => {
            let bytes = values.iter().map(|&x| u8::try_from(x).expect("it fits")).collect();
            Tensor { shape: tensor.shape.clone(), elements: Elements::Byte(bytes) }
        }
        _ => tensor.clone(),
    };
    inputs.iter().map(narrow).collect()
}

#[test]
fn inputs_may_be_bytes() {
    let sequences = Sequences::packed(vec![0, 1, 37, 20_000]).expect("they ascend");
    for (source, dims) in LAYERS.iter().chain(OTHERS) {
        let instance = instance(source, dims);
        let kernel = jit::compile::<f32>(&instance, Form::Sequence).expect("the layer compiles");
        // Too few steps for maps, and enough.
        for steps in [37, sequences.total()] {
            let sequences = if steps == 37 { Sequences::batch(1, 37) } else { sequences.clone() };
            let (bound, inputs) = data(&instance, steps, 5);
            let mut expected = interp::initial_carry(&instance, &bound, sequences.count());
            let mut carry = expected.clone();
            let mut interpreted = expected.clone();
            let outputs = interp::run(&instance, &bound, &sequences, &inputs, &mut expected);
            let bytes = in_bytes(&inputs);
            let got = kernel.run(&bound, &sequences, &bytes, &mut carry, 1, &|_| {}).expect("they fit");
            assert!(got == outputs && carry == expected, "{source}");
            let got = interp::run(&instance, &bound, &sequences, &bytes, &mut interpreted);
            assert!(got == outputs && interpreted == expected, "{source}");
        }
    }
}

#[test]
fn stretches_run_on_threads() {
    let sequences = Sequences::packed(vec![0, 0, 1, 100, 101, 4000, 20_001]).expect("they ascend");
    for (source, dims) in LAYERS {
        let instance = instance(source, dims);
        let (bound, inputs) = data(&instance, sequences.total(), 6);
        let before = interp::initial_carry(&instance, &bound, sequences.count());
        let mut expected = before.clone();
        let outputs = interp::run(&instance, &bound, &sequences, &inputs, &mut expected);
        let again = interp::run(&instance, &bound, &sequences, &inputs, &mut expected);
        for stretch in [None, Some(3), Some(100), Some(3000)] {
            let options = Options { stretch, ..Options::default() };
            let scan = scan::compile::<f32>(&instance, options).expect("the layer composes");
            for (threads, inputs) in [(1, &inputs), (2, &inputs), (3, &in_bytes(&inputs))] {
                let mut carry = before.clone();
                let got = scan.run(&bound, &sequences, inputs, &mut carry, threads, &|_| {}).expect("they fit");
                assert!(got == outputs, "{source} {stretch:?} {threads}");
                let got = scan.run(&bound, &sequences, inputs, &mut carry, threads, &|_| {}).expect("they fit");
                assert!(got == again && carry == expected, "{source} {stretch:?} {threads}");
            }
        }
    }
}

#[test]
fn what_is_no_map_of_the_states_runs_as_a_step() {
    for (source, dims) in OTHERS {
        let kernel = jit::compile::<f32>(&instance(source, dims), Form::Sequence).expect("the layer compiles");
        assert!(kernel.finite().is_none(), "{source}");
    }
}

#[test]
fn integers_out_of_range_are_refused() {
    let (source, dims) = LAYERS[0];
    let instance = instance(source, dims);
    let kernel = jit::compile::<f32>(&instance, Form::Sequence).expect("the layer compiles");
    let steps = 20_000;
    let (bound, mut inputs) = data(&instance, steps, 4);
    for wrong in [-1, 5, i32::MIN, i32::MAX] {
        let Elements::Int(tokens) = &mut inputs[0].elements else { panic!("tokens are integers") };
        tokens[4321] = wrong;
        let mut carry = interp::initial_carry(&instance, &bound, 1);
        let refused = kernel.run(&bound, &Sequences::batch(1, steps), &inputs, &mut carry, 1, &|_| {});
        assert!(matches!(refused, Err(RunError::Range { at: 4321, found, .. }) if found == wrong), "{refused:?}");
        let scan = scan::compile::<f32>(&instance, Options::default()).expect("the layer composes");
        let refused = scan.run(&bound, &Sequences::batch(1, steps), &inputs, &mut carry, 1, &|_| {});
        assert!(matches!(refused, Err(RunError::Range { at: 4321, found, .. }) if found == wrong), "{refused:?}");
    }
    let mut bytes = vec![0; steps];
    bytes[4321] = 5;
    inputs[0].elements = Elements::Byte(bytes);
    let mut carry = interp::initial_carry(&instance, &bound, 1);
    let refused = kernel.run(&bound, &Sequences::batch(1, steps), &inputs, &mut carry, 1, &|_| {});
    assert!(matches!(refused, Err(RunError::Range { at: 4321, found: 5, .. })), "{refused:?}");
}
