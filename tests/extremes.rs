//! The largest and smallest of many, against the interpreter, to the bit: with NaN in every place, alone and with others, zeros
//! of both signs, infinities; short and long, along the lanes and across them.

use ssmc::ir::interp::Real;
use ssmc::ir::{Instance, bind, interp};
use ssmc::jit::{self, Form, Isa};
use ssmc::{sema, syntax};
use ssmc_runtime::{Elements, Float, Sequences, Tensor};

const ACROSS: &str = "layer across(N, W) {
    input x[N, W]
    state seen = 0
    seen <- seen
    output high[w] = max[i](x[i, w])
    output low[w] = min[i](x[i, w])
    output all = max[i, w](x[i, w])
}";

/// The state comes back from what it cannot hold.
const REACH: &str = "layer reach(N, W) {
    input x[N, W]
    state v[W] = 0
    let r[w] = max[u](v[u] + x[0, w] * 0.5) + min[i, k in 2](x[i, w] * (1 - 2 * k))
    v[w] <- if r[w] > -100 and r[w] < 100 then r[w] * 0.5 else 0
    output r
}";

fn instance(source: &str, dims: &[i64]) -> Instance {
    let (file, diagnostics) = syntax::parse(source);
    assert!(diagnostics.is_empty(), "{source}: {diagnostics:?}");
    let (mut layers, diagnostics) = sema::lower(&file);
    assert!(diagnostics.is_empty(), "{source}: {diagnostics:?}");
    Instance::new(layers.remove(0), dims.to_vec()).expect("the sizes can be run")
}

/// Steps of `n` numbers: in one after the other, and in every second one only, a special one in every place.
fn steps(n: usize, specials: &[f64]) -> Vec<f64> {
    let mut all = Vec::new();
    let plain = |t: usize, at: usize| match (t * 7 + at * 13) % 11 {
        0 => 0.0,
        1 => -0.0,
        k => (k as f64 - 5.0) * 0.25,
    };
    for at in 0..n {
        for (k, special) in specials.iter().enumerate() {
            let t = all.len() / n;
            all.extend((0..n).map(|other| if other == at { *special } else { plain(t, other) }));
            if k % 2 == 0 {
                all.extend((0..n).map(|other| plain(t + 1, other)));
            }
        }
    }
    // Nothing but NaN, zeros of both signs in either order, infinities on all sides of NaN.
    let zeros = [0.0, -0.0];
    for k in 0..2 {
        all.extend((0..n).map(|at| zeros[(at + k) % 2]));
        all.extend((0..n).map(|at| [f64::NAN, f64::INFINITY, f64::NEG_INFINITY][(at + k) % 3]));
    }
    all.extend((0..n).map(|_| f64::NAN));
    all.extend((0..n).map(|_| f64::NEG_INFINITY));
    all.extend((0..n).map(|at| plain(1, at)));
    all
}

fn bits(tensor: &Tensor<impl Float>) -> Vec<u64> {
    let Elements::Real(v) = &tensor.elements else { panic!("reals") };
    v.iter().map(|x| x.to_f64()).map(|x| if x.is_nan() { u64::MAX } else { x.to_bits() }).collect()
}

fn agree<F: Float + Real>(source: &str, n: usize, w: usize) {
    let instance = instance(source, &[n as i64, w as i64]);
    let specials = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0];
    let data: Vec<F> = steps(n * w, &specials).into_iter().map(Float::from_f64).collect();
    let total = data.len() / (n * w);
    let sequences = Sequences::batch(1, total);
    let inputs = vec![Tensor { shape: vec![total, n, w], elements: Elements::Real(data) }];
    let bound = bind::bind::<F>(&instance, Vec::new(), 0).expect("there is nothing to bind");
    let start = interp::initial_carry(&instance, &bound, 1);
    let mut carry = start.clone();
    let expected = interp::run(&instance, &bound, &sequences, &inputs, &mut carry);
    for form in [Form::Sequence, Form::Step] {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_here()) {
            let kernel = jit::compile_for::<F>(&instance, form, isa).expect("the layer compiles");
            let mut after = start.clone();
            let got = kernel.run(&bound, &sequences, &inputs, &mut after, 1, &|_| ()).expect("the tensors fit");
            let what = format!("{}({n}, {w}) f{} {form:?} {isa}", instance.layer.name, F::BITS);
            for (got, expected) in got.iter().zip(&expected).chain(after.states.iter().zip(&carry.states)) {
                assert!(bits(got) == bits(expected), "{what}");
            }
        }
    }
}

/// Lengths around what is taken together, and around what is long; widths around one, two and four vectors.
const SIZES: [(usize, usize); 15] = [
    (1, 16),
    (3, 17),
    (4, 1),
    (5, 32),
    (15, 3),
    (16, 1),
    (16, 16),
    (17, 1),
    (17, 16),
    (18, 33),
    (19, 8),
    (23, 4),
    (33, 17),
    (64, 1),
    (19, 32),
];

#[test]
fn largest_and_smallest_of_all_are_those_of_the_interpreter() {
    for (n, w) in SIZES {
        agree::<f32>(ACROSS, n, w);
        agree::<f64>(ACROSS, n, w);
    }
}

#[test]
fn states_that_are_largest_are_those_of_the_interpreter() {
    for (n, w) in SIZES {
        agree::<f32>(REACH, n, w);
        agree::<f64>(REACH, n, w);
    }
}

/// Whatever was raised before a kernel runs.
#[test]
fn what_others_have_raised_does_not_count() {
    for _ in 0..3 {
        assert!((std::hint::black_box(0.0_f32) / std::hint::black_box(0.0)).is_nan());
        agree::<f32>(REACH, 17, 16);
    }
}
