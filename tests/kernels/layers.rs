//! The layers that the tests run, as IR text, with the dimensions to try.

/// A layer, and numbers for its dimensions.
pub struct Case {
    pub text: &'static str,
    pub dims: &'static [&'static [i64]],
    /// How many roundings an element takes in one step, about.
    pub ops: f64,
}

const TAILS: &[&[i64]] = &[&[1], &[3], &[4], &[5], &[8], &[17]];
const PAIRS: &[&[i64]] = &[&[1, 1], &[3, 4], &[4, 3], &[5, 17], &[17, 5], &[8, 8], &[1, 33], &[33, 1]];

/// With sums long enough to be contractions, and rows of whole vectors.
const MIXTURES: &[&[i64]] =
    &[&[1, 1], &[3, 4], &[5, 17], &[17, 5], &[8, 8], &[33, 1], &[17, 8], &[16, 9], &[32, 16], &[40, 8]];

pub const CASES: &[Case] = &[
    Case {
        text: "layer mamba(D, N)
  %0 param A: real[D, N]
  %1 param skip: real[D]
  %2 input x: real[D]
  %3 input dt: real[D]
  %4 input B: real[N]
  %5 input C: real[N]
  %6 state h: real[D, N] next %7
  %7 next of %6 h: real[D, N]
    [d.0 < D, n.1 < N] = exp(dt%3[d.0] * A%0[d.0, n.1]) * h%6[d.0, n.1] + dt%3[d.0] * B%4[n.1] * x%2[d.0]
  %8 output y: real[D]
    [d.2 < D] = sum[n.3 < N](C%5[n.3] * h%7[d.2, n.3]) + skip%1[d.2] * x%2[d.2]
  return y = %8
  return old = %6
",
        dims: PAIRS,
        ops: 100.0,
    },
    Case {
        text: "layer dense(N)
  %0 param A: real[N, N]
  %1 param T: real[N, N]
  %2 input u: real[N]
  %3 input go: bool
  %4 state h: real[N] next %5
  %5 next of %4 h: real[N]
    [i.0 < N] = 0.3 * sum[j.1 < N](A%0[i.0, j.1] * h%4[j.1]) + mean[k.2 < N](T%1[k.2, i.0] * u%2[k.2])
  %6 output w: real[N]
    [i.3 < N] = softmax[j.4 < N](h%5[j.4] * u%2[j.4])[i.3]
  %7 output z: real[N]
    [i.5 < N] = layernorm[j.6 < N](h%5[j.6], 1e-1)[N - 1 - i.5] + rmsnorm[j.7 < N](h%5[j.7] * 2.0, 1e-1)[i.5]
  %8 output l: real
    = logsumexp[i.8 < N, j.9 < N](h%5[i.8] + A%0[j.9, i.8])
  %9 output shift: real[N]
    [i.10 < N] = if i.10 == 0 then u%2[0] else h%5[i.10 - 1]
  %10 output chosen: real[N]
    [i.11 < N] = if h%5[i.11] > 0.0 then u%2[i.11] else widen(i.11)
  %11 output most: real[N]
    [i.12 < N] = max[j.13 < N](A%0[j.13, i.12] + h%4[j.13]) - min[j.14 < N](A%0[i.12, j.14])
  %12 output guarded: real[N]
    [i.15 < N] = if i.15 > 0 then softmax[j.16 < N](A%0[i.15 - 1, j.16] * h%5[j.16])[i.15] else logsumexp[j.17 < N](h%5[j.17])
  %13 output back: real[N]
    [i.18 < N] = h%5[N - 1 - i.18] * prod[j.19 < N](1.0 + 0.1 * u%2[j.19])
  return w = %6
  return z = %7
  return l = %8
  return shift = %9
  return chosen = %10
  return most = %11
  return guarded = %12
  return back = %13
  return h = %5
  return before = %4
  return u = %2
  reset %3
",
        dims: TAILS,
        ops: 400.0,
    },
    Case {
        text: "layer columns(N, K)
  %0 param dict: real[N, N, K]
  %1 param scale: real[N]
  %2 input w: real[K]
  %3 input u: real[N]
  %4 state x: real[N] next %6
  %5 let A: real[N, N]
    [i.0 < N, j.1 < N] = sum[k.2 < K](w%2[k.2] * dict%0[i.0, j.1, k.2])
  %6 next of %4 x: real[N]
    [i.3 < N] = sum[j.4 < N](A%5[i.3, j.4] / (1.0 + sum[i.5 < N](abs(A%5[i.5, j.4]))) * x%4[j.4]) + u%3[i.3] * exp(scale%1[i.3])
  return x = %6
",
        dims: MIXTURES,
        ops: 200.0,
    },
    Case {
        text: "layer norms(N, K)
  %0 param dict: real[K, N, N]
  %1 input w: real[K]
  %2 input u: real[N]
  %3 state x: real[N] next %6
  %4 let T: real[N, N]
    [i.0 < N, j.1 < N] = sum[k.2 < K](w%1[k.2] * dict%0[k.2, i.0, j.1])
  %5 output most: real[N]
    [j.3 < N] = max[i.4 < N](T%4[i.4, j.3]) + sum[i.5 < N](T%4[i.5, j.3])
  %6 next of %3 x: real[N]
    [i.6 < N] = sum[j.7 < N](T%4[i.6, j.7] / (0.5 + pow(sum[i.8 < N](pow(abs(T%4[i.8, j.7]), 1.2)), 1.0 / 1.2)) * x%3[j.7]) + u%2[i.6]
  return x = %6
  return most = %5
",
        dims: MIXTURES,
        ops: 200.0,
    },
    Case {
        text: "layer light(D, N)
  %0 input a: real[D]
  %1 input k: real[N]
  %2 input q: real[N]
  %3 state h: real[D, N] next %4
  %4 next of %3 h: real[D, N]
    [d.0 < D, n.1 < N] = 0.9 * h%3[d.0, n.1] + a%0[d.0] * k%1[n.1]
  %5 output y: real[D]
    [d.2 < D] = sum[n.3 < N](h%4[d.2, n.3] * q%2[n.3])
  %6 output rows: real[D]
    [d.4 < D] = max[n.5 < N](h%4[d.4, n.5]) + mean[n.6 < N](h%4[d.4, n.6] * q%2[n.6])
  return y = %5
  return rows = %6
",
        dims: &[&[1, 1], &[3, 8], &[5, 16], &[17, 12], &[9, 32], &[33, 20]],
        ops: 100.0,
    },
    Case {
        text: "layer turns(N)
  %0 param w: real[N, 4]
  %1 input x: real[N]
  %2 state f: real[N] next %6
  %3 reverse q: real[N] next %7
  %4 delay 0 \"delay.0\": real[N]
    [i.0 < N] = x%1[i.0] * 2.0
  %5 let conv: real[N]
    [d.1 < N] = silu(sum[k.2 < 4](w%0[d.1, k.2] * past(%4[d.1], 3 - k.2)))
  %6 next of %2 f: real[N]
    [d.3 < N] = 0.5 * f%2[d.3] + conv%5[d.3]
  %7 next of %3 q: real[N]
    [d.4 < N] = 0.5 * q%3[d.4] + past(%4[d.4], 2) + f%2[d.4]
  %8 output both: real[N]
    [d.5 < N] = q%7[d.5] + f%6[d.5] * q%3[d.5] + (if d.5 > 0 then past(%4[d.5 - 1], 1) else 0.0)
  %9 let go: bool
    = sum[d.6 < N](x%1[d.6]) > 0.4
  %10 output start: real
    = real(first)
  return both = %8
  return conv = %5
  return start = %10
  reset %9
",
        dims: TAILS,
        ops: 100.0,
    },
    Case {
        text: "layer complexes(P, H)
  %0 param L: complex[P]
  %1 param B: complex[P, H]
  %2 param C: complex[H, P]
  %3 input u: real[H]
  %4 state x: complex[P] next %5
  %5 next of %4 x: complex[P]
    [p.0 < P] = exp(L%0[p.0]) * x%4[p.0] * widen(0.5) + (exp(L%0[p.0]) - widen(1.0)) / L%0[p.0] * sum[h.1 < H](B%1[p.0, h.1] * widen(u%3[h.1]))
  %6 output y: real[H]
    [h.2 < H] = 2.0 * re(sum[p.3 < P](C%2[h.2, p.3] * x%5[p.3]))
  %7 output m: real[P]
    [p.4 < P] = abs(x%5[p.4]) + im(conj(sqrt(x%5[p.4]))) + arg(L%0[p.4] ^ -2) + re(cis(arg(L%0[p.4]))) + im(log(L%0[p.4]))
  return y = %6
  return m = %7
  return x = %5
",
        dims: PAIRS,
        ops: 400.0,
    },
    Case {
        text: "layer integers(V, S)
  %0 param next: index(S)[V, S]
  %1 param value: real[S, V]
  %2 input tok: index(V)
  %3 input go: bool[V]
  %4 state s: index(S) next %6
  %5 state seen: bool[V] next %7
  %6 next of %4 s: index(S)
    = (next%0[tok%2, s%4] + tok%2 * 3) % S
  %7 next of %5 seen: bool[V]
    [v.0 < V] = (seen%5[v.0] or v.0 == tok%2) and not (go%3[v.0] and v.0 // 2 != 1)
  %8 output place: int
    = argmax[v.1 < V](value%1[s%6, v.1]) * 2 - argmin_index[v.2 < V, w.3 < S](value%1[w.3, v.2])
  %9 output row: real[V]
    [v.4 < V] = value%1[s%4, v.4] + (if seen%7[v.4] then widen(-v.4 // 3 + -v.4 % 3) else real(go%3[v.4]))
  %10 output any: bool
    = max[v.5 < V](seen%7[v.5]) == min[v.6 < V](go%3[v.6])
  %11 output count: int[V]
    [v.7 < V] = sum[w.8 < V](if w.8 <= v.7 then next%0[w.8, s%6] ^ 2 else -1) + max(min(v.7, 2), abs(-1))
  %12 output far: real[V]
    [v.9 < V] = value%1[next%0[v.9, s%6], V - 1 - v.9]
  return s = %6
  return seen = %7
  return place = %8
  return row = %9
  return any = %10
  return count = %11
  return far = %12
",
        dims: PAIRS,
        ops: 10.0,
    },
    Case {
        text: "layer functions(N)
  %0 input x: real[N]
  %1 state h: real[N] next %2
  %2 next of %1 h: real[N]
    [i.0 < N] = 0.5 * h%1[i.0] + tanh(x%0[i.0]) * sigmoid(h%1[i.0])
  %3 let a: real[N]
    [i.1 < N] = exp(x%0[i.1]) + expm1(x%0[i.1]) + log(1.5 + x%0[i.1]) + log1p(x%0[i.1]) + sqrt(1.5 + x%0[i.1]) + rsqrt(1.5 + x%0[i.1])
  %4 let b: real[N]
    [i.2 < N] = abs(x%0[i.2]) + sign(x%0[i.2]) + floor(x%0[i.2] * 4.0) + min(x%0[i.2], h%2[i.2]) + max(x%0[i.2], 0.1) + pow(1.0 + abs(x%0[i.2]), x%0[i.2])
  %5 let c: real[N]
    [i.3 < N] = sin(x%0[i.3]) + cos(x%0[i.3]) + silu(x%0[i.3]) + softplus(x%0[i.3]) + relu(x%0[i.3]) + gelu(x%0[i.3]) + erf(x%0[i.3]) + clamp(x%0[i.3], -0.1, 0.2)
  %6 let d: real[N]
    [i.4 < N] = x%0[i.4] % 0.3 + x%0[i.4] // 0.3 - (x%0[i.4] / 0.7) ^ 3
  return h = %2
  return a = %3
  return b = %4
  return c = %5
  return d = %6
",
        dims: TAILS,
        ops: 400.0,
    },
    Case {
        text: "layer versions(N)
  %0 input x: real[N]
  %1 state h: real[N] next %4
  %2 state g: real[N - 1, N] next %6
  %3 next of %1 h: real[N]
    [i.0 < N] = h%1[i.0] * 0.5 + x%0[i.0]
  %4 next of %1 h: real[N]
    [i.1 < N] = h%3[N - 1 - i.1] - h%1[i.1] * 0.25
  %5 next of %2 g: real[N - 1, N]
    [i.2 < N - 1, j.3 < N] = 0.5 * g%2[i.2, j.3] + h%4[i.2 + 1] * x%0[j.3]
  %6 next of %2 g: real[N - 1, N]
    [i.4 < N - 1, j.5 < N] = g%5[i.4, j.5] - 0.1 * sum[k.6 < N](g%5[i.4, k.6] * x%0[k.6]) * x%0[j.5]
  %7 output y: real[N]
    [j.7 < N] = sum[i.8 < N - 1](g%6[i.8, j.7]) + max[i.9 < N - 1](relu(g%6[i.9, j.7])) * 0.0 + h%1[j.7]
  return g = %6
  return h = %4
",
        dims: &[&[1], &[2], &[3], &[4], &[5], &[8], &[17]],
        ops: 100.0,
    },
];
