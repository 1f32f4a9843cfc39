use super::*;
use crate::{sema, syntax};

fn cost(source: &str, dims: &[i64]) -> Cost {
    let (file, diagnostics) = syntax::parse(source);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let (mut layers, diagnostics) = sema::lower(&file);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let instance = Instance::new(layers.remove(0), dims.to_vec()).expect("an instance");
    Cost::of(&instance, 32)
}

fn plain(operations: &Operations) -> [u64; 6] {
    let Operations { adds, multiplies, fused, divisions, roots, simple, .. } = *operations;
    [adds, multiplies, fused, divisions, roots, simple]
}

#[test]
fn a_selective_scan_costs_what_it_says() {
    let source = "layer mamba(D, N) {
        param A[D, N], skip[D]
        input x[D], dt[D], B[N], C[N]
        state h[D, N] = 0
        h[d, n] <- exp(dt[d] * A[d, n]) * h[d, n] + dt[d] * B[n] * x[d]
        output y[d] = sum[n](C[n] * h[d, n]) + skip[d] * x[d]
    }";
    let cost = cost(source, &[8, 4]);
    let cells = 8 * 4;
    // dt A, dt B and (dt B) x; the fused ones are a h + b and C h + .. over the cells, and skip x + .. over d.
    assert_eq!(plain(&cost.step), [0, 3 * cells - cells + cells, 2 * cells + 8, 0, 0, 0]);
    assert_eq!(cost.step.functions, BTreeMap::from([("exp", cells)]));
    assert_eq!(plain(&cost.once), [0; 6]);
    assert_eq!(cost.bytes, Bytes { inputs: 4 * (8 + 8 + 4 + 4), outputs: 4 * 8, state: 4 * 32, params: 4 * (32 + 8) });
    // From h to h: one fused multiply-add.
    assert_eq!(cost.chain.operations, 1.0);
}

#[test]
fn what_depends_on_parameters_only_is_counted_once_for_a_run() {
    let source = "layer a(D) {
        param log_a[D]
        input x[D]
        state h[D] = 0
        let a[d] = exp(-exp(log_a[d]))
        h[d] <- a[d] * h[d] + (1 - a[d]) * x[d]
        output h
    }";
    let cost = cost(source, &[10]);
    assert_eq!(cost.once.functions, BTreeMap::from([("exp", 20)]));
    assert_eq!(plain(&cost.once), [10, 0, 0, 0, 0, 0]);
    assert_eq!(plain(&cost.step), [0, 10, 10, 0, 0, 0]);
    assert_eq!(cost.step.flops(), 30.0);
}

#[test]
fn equal_expressions_are_counted_once() {
    let source = "layer a(D, N) {
        input x[D], k[N]
        state h[D, N] = 0
        h[d, n] <- exp(x[d]) * h[d, n] + k[n]
        output y[e] = exp(x[e]) + sum[j](k[j] * k[j]), z[f] = x[f] * sum[m](k[m] * k[m])
    }";
    let cost = cost(source, &[8, 4]);
    // The exponential has one index wherever it stands; the sum is the same under other names.
    assert_eq!(cost.step.functions, BTreeMap::from([("exp", 8)]));
    assert_eq!(plain(&cost.step), [8, 8, 32 + 4, 0, 0, 0]);
}

#[test]
fn complex_numbers_count_by_their_parts() {
    let source = "layer a(D) {
        param a[D]: complex
        input x[D]: complex
        state h[D]: complex = 0
        h[d] <- a[d] * h[d] + x[d]
        output y[d] = re(h[d])
    }";
    let cost = cost(source, &[3]);
    assert_eq!(plain(&cost.step), [6, 6, 6, 0, 0, 0]);
    assert_eq!(cost.bytes, Bytes { inputs: 24, outputs: 12, state: 24, params: 24 });
    // The product, two deep, then the sum.
    assert_eq!(cost.chain.operations, 3.0);
}

#[test]
fn normalised_vectors_are_computed_once() {
    let source = "layer a(K) {
        input x[K]
        state h = 0
        let w[k] = softmax[k](x[k])
        h <- h + w[0]
        output w, h
    }";
    let cost = cost(source, &[5]);
    assert_eq!(plain(&cost.step), [2 * 5 + 1, 0, 0, 5, 0, 5]);
    assert_eq!(cost.step.functions, BTreeMap::from([("exp", 5)]));
}

#[test]
fn branches_powers_and_divisions_count() {
    let source = "layer a(D) {
        input x[D], go: bool
        output y[d] = if go then x[d] ^ 5 else sqrt(x[d]) / x[d], z = max[d](x[d])
    }";
    let cost = cost(source, &[4]);
    // x^5: x^2, x^4, x^4 x; a selection for each d, a maximum for each d.
    assert_eq!(plain(&cost.step), [0, 12, 0, 4, 4, 8]);
    assert_eq!(cost.chain.operations, 0.0);
}

#[test]
fn chains_go_through_other_states_and_over_steps() {
    // Each state waits for the other's step before: the mean of a product and a sum.
    let turn = "layer a {
        param a
        input x
        state p = 0, q = 0
        let before = p
        p <- q + x
        q <- tanh(before)
        output p
    }";
    let tanh = Unit::call(Function::Tanh, Scalar::Real).depth(Scalar::Real);
    let chain = cost(turn, &[]).chain.operations;
    assert!((chain - (tanh + 1.0) / 2.0).abs() < 1e-9, "{chain}");
    // What only hears of a state without being heard adds nothing.
    let tail = "layer a(N) {
        input x[N]
        state p = 0, q = 0
        p <- p + x[0]
        q <- exp(p)
        output q
    }";
    assert_eq!(cost(tail, &[4]).chain.operations, 1.0);
    // A product with a dense matrix: log2(8) levels, the first of which is fused with the products.
    let dense = "layer a(N) {
        param A[N, N]
        input x[N]
        state h[N] = 0
        h[i] <- sum[j](A[i, j] * h[j]) + x[i]
        output h
    }";
    assert_eq!(cost(dense, &[8]).chain.operations, 1.0 + 2.0 + 1.0);
}

#[test]
fn sizes_beyond_64_bits_saturate() {
    let source = "layer a(N) {
        input x
        output y = sum[i in N, j in N, k in N](x * i + j + k)
    }";
    let cost = cost(source, &[2_000_000_000]);
    assert_eq!(cost.step.adds, u64::MAX);
    assert!(cost.step.flops().is_finite());
}
