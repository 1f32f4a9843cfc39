//! One sequence on several threads: whatever way they share its work, results are the interpreter's, and the same to the bit
//! for every number of threads.

#[allow(dead_code, reason = "other tests need more of it")]
#[path = "kernels/data.rs"]
mod data;

use data::{Data, rounded_all, rounded_carry, rows};
use ssmc::ir::{Instance, interp};
use ssmc::jit::{self, Form, Isa};
use ssmc::{sema, syntax};
use ssmc_runtime::kernel::Way;
use ssmc_runtime::{Bound, Carry, Elements, Sequences, Tensor};

/// A small matrix made in every step, and a recurrence that is short beside it.
const SELECTED: &str = "layer selected(N, K) {
    param A[K, N, N]
    input logits[K], drive[N]
    state x[N] = 0
    let w[k] = softmax[k](logits[k])
    let T[i, j] = sum[k](w[k] * A[k, i, j])
    x[i] <- sum[j](T[i, j] / norm[i](T[i, j], 1.2) * x[j]) + drive[i]
    output y[i] = x[i]
}";

/// Long sums before and behind a recurrence.
const PROJECTED: &str = "layer projected(H, P) {
    param a[P]: complex, B[P, H]: complex, C[H, P]: complex
    input u[H]
    state x[P]: complex = 0
    x[p] <- 0.1 * a[p] * x[p] + sum[h](B[p, h] * u[h])
    output y[h] = re(sum[p](C[h, p] * x[p])) + u[h]
}";

/// Functions ahead of a recurrence of many elements, which lies in blocks.
const SELECTIVE: &str = "layer selective(D, N) {
    param A[D, N], bias[D]
    input x[D], dt[D], z[D], B[N], C[N]
    state h[D, N] = 0
    let step[d] = softplus(dt[d] + bias[d])
    h[d, n] <- exp(-step[d] * abs(A[d, n])) * h[d, n] + step[d] * x[d] * B[n]
    output y[d] = sum[n](C[n] * h[d, n]) * silu(z[d])
}";

/// Matrices that do not meet.
const HEADS: &str = "layer heads(H, K, V) {
    input q[H, K], k[H, K], v[H, V], beta[H]
    state S[H, K, V] = 0
    let error[h, j] = v[h, j] - sum[i](S[h, i, j] * k[h, i])
    S[h, i, j] <- S[h, i, j] + beta[h] * k[h, i] * error[h, j]
    output y[h, j] = sum[i](q[h, i] * S[h, i, j])
}";

/// Two recurrences with blocks of their own, and a long function behind them that reads all of both.
const BOTH: &str = "layer both(D, E) {
    input x[D], z[E], w[E]
    state a[D] = 0, b[E] = 0
    a[d] <- sigmoid(x[d]) * a[d] + x[d]
    b[e] <- tanh(z[e]) * b[e] + w[e]
    output y[d] = silu(a[d]), m = max[e](b[e]), t[e] = tanh(b[e]) * exp(-abs(z[e]))
}";

/// Its functions ahead reach back in time.
const DELAYED: &str = "layer delayed(D, N) {
    param A[D, N]
    input x[D], B[N]
    state h[D, N] = 0
    let u[d] = silu(x[d] + past(x[d], 3))
    h[d, n] <- exp(-abs(A[d, n])) * h[d, n] + u[d] * B[n]
    output y[d] = sum[n](B[n] * h[d, n])
}";

fn instance(text: &str, dims: &[i64]) -> Instance {
    let (layers, problems) = sema::lower(&syntax::parse(text).0);
    assert!(problems.is_empty(), "{problems:?}");
    Instance::new(layers[0].clone(), dims.to_vec()).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn near(what: &str, got: &Tensor<f32>, expected: &Tensor<f64>) {
    let (Elements::Real(got), Elements::Real(expected)) = (&got.elements, &expected.elements) else {
        panic!("{what}: another element type");
    };
    let largest = expected.iter().fold(1.0_f64, |most, x| most.max(x.abs()));
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        let off = (f64::from(*got) - expected).abs();
        assert!(off <= 1e-4 * largest, "{what}[{at}]: {got}, expected {expected}");
    }
}

/// `way` is how two threads share the widest kernel's work.
fn check(text: &str, dims: &[i64], way: impl Fn(Way) -> bool) {
    let instance = instance(text, dims);
    let name = &instance.layer.name;
    let most = 300;
    let data = Data::new(&instance, &Sequences::batch(1, most), 0);
    let bound = Bound { params: rounded_all(&data.bound.params), initial: rounded_all(&data.bound.initial) };
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_here()) {
        let kernel = jit::compile_for::<f32>(&instance, Form::Sequence, isa).expect("it compiles");
        let shared = kernel.signature().passes[0].way(2);
        assert!(way(shared), "{name} {isa:?}: {shared:?}");
        for length in [1, 5, 67, most] {
            let sequences = Sequences::batch(1, length);
            let wide: Vec<Tensor<f64>> = data.inputs.iter().map(|t| rows(t, 0..length)).collect();
            let mut carry = data.carry.clone();
            let expected = interp::run(&instance, &data.bound, &sequences, &wide, &mut carry);
            let inputs: Vec<Tensor<f32>> = rounded_all(&wide);
            let run = |threads: usize, cuts: &[usize]| -> (Vec<Vec<Tensor<f32>>>, Carry<f32>) {
                let mut carried = rounded_carry(&data.carry);
                let pieces = cuts.windows(2).map(|cut| {
                    let piece: Vec<Tensor<f32>> = inputs.iter().map(|t| rows(t, cut[0]..cut[1])).collect();
                    let sequences = Sequences::batch(1, cut[1] - cut[0]);
                    kernel.run(&bound, &sequences, &piece, &mut carried, threads, &|_| {}).expect("the tensors fit")
                });
                (pieces.collect(), carried)
            };
            let alone = run(1, &[0, length]);
            for (got, expected) in alone.0[0].iter().zip(&expected) {
                near(&format!("{name} {isa:?} {length}"), got, expected);
            }
            let half = [0, length / 2, length];
            let in_pieces = run(1, &half);
            for threads in [2, 3, 7] {
                assert_eq!(run(threads, &[0, length]), alone, "{name} {isa:?}: {threads} threads, {length} steps");
                assert_eq!(run(threads, &half), in_pieces, "{name} {isa:?}: {threads} threads, in pieces");
            }
        }
    }
}

#[test]
fn tiles_in_turn() {
    check(SELECTED, &[32, 4], |way| matches!(way, Way::Tiles(..)));
    check(SELECTED, &[37, 3], |way| matches!(way, Way::Tiles(..)));
    check(PROJECTED, &[40, 24], |way| matches!(way, Way::Tiles(..)));
}

#[test]
fn blocks_through_all_tiles() {
    check(SELECTIVE, &[200, 16], |way| way == Way::Blocks);
    check(HEADS, &[5, 16, 24], |way| way == Way::Blocks);
}

#[test]
fn phase_by_phase() {
    check(BOTH, &[300, 700], |way| way == Way::Pieces);
    check(DELAYED, &[130, 8], |way| way == Way::Pieces);
}
