//! Whether transitions can grow: a table with what must not be said among it, and the claims against runs.

use ssmc::analysis::verdict::stability::Stability;
use ssmc::analysis::verdict::{Class, judge};
use ssmc::ir::{Instance, Layer, bind, interp};
use ssmc_runtime::{Carry, Elements, Sequences, Tensor};

use super::stretch::Draws;

/// A layer without its name, what is said of its last group, and a part of the reason.
pub const TABLE: &[(&str, &str, &str)] = &[
    // One number.
    ("{ input g, x state h = 0 h <- sigmoid(g) * h + x }", "always", "[0, 1]"),
    ("{ input g, x state h = 0 let a = sigmoid(g) h <- (1 - a) * h + x }", "always", ""),
    ("{ input g, x state h = 0 let a = sigmoid(g) h <- (a - 2 * a * sigmoid(x)) * h }", "always", ""),
    ("{ param A input d, x state h = 0 h <- exp(-softplus(d) * exp(A)) * h + x }", "always", ""),
    ("{ param t state h: complex = 0 h <- cis(t) * h }", "always", "[1, 1]"),
    ("{ param t state h: complex = 0 h <- exp(-exp(t) + 1i * t) * h }", "always", ""),
    ("{ input x state h = 0 h <- h + x }", "always", ""),
    ("{ input x state h = 0 h <- x }", "always", "does not depend"),
    ("{ input x state a = 0, b = 0 b <- a a <- x }", "always", "does not depend"),
    ("{ input x state h = 0 h <- 2 * h + x }", "never", "[2, 2]"),
    ("{ input x state h = 0 h <- (1.5 + x * x) * h }", "never", "at least 1.5"),
    ("{ input x, go: bool state h = 0 reset when go h <- 2 * h + x }", "unknown", "reset"),
    ("{ input x state h = 0 h <- (1 + exp(x)) * h }", "unknown", ""),
    ("{ param A input d, x state h = 0 h <- exp(d * A) * h + x }", "unknown", ""),
    ("{ input x, g state h = 0 h <- (x / (g + x)) * h }", "unknown", ""),
    ("{ input x, g state h = 0 h <- (exp(x) / (exp(g) + exp(x))) * h }", "always", ""),
    ("{ input x, g state h = 0 h <- (2 * exp(x) / (exp(g) + exp(x))) * h }", "unknown", ""),
    // Sums of rows and of columns.
    ("(N) { input A[N, N] state h[N] = 0 h[i] <- sum[j](softmax[i](A[i, j]) * h[j]) }", "always", "1-norm"),
    ("(N) { input A[N, N] state h[N] = 0 h[i] <- sum[j](softmax[j](A[i, j]) * h[j]) }", "always", "infinity-norm"),
    (
        "(N) { input A[N, N], x[N] state h[N] = 0 let P[i, j] = softmax[i](A[i, j]) h[i] <- sum[j](P[i, j] * h[j]) + x[i] }",
        "always",
        "1-norm",
    ),
    (
        "(N, K) { input w[K] param A[N, N, K] state h[N] = 0 let s[k] = softmax[k](w[k]) let P[i, j, k] = softmax[i](A[i, j, k]) let T[i, j] = sum[k](s[k] * P[i, j, k]) h[i] <- sum[j](T[i, j] * h[j]) }",
        "always",
        "1-norm",
    ),
    ("(N, K) { input A[N, N, K] state h[N] = 0 h[i] <- sum[j, k](softmax[k](A[i, j, k]) * h[j]) }", "unknown", ""),
    (
        "(N, M) { input A[N, N, M] state h[N, M] = 0 h[i, m] <- sum[j](softmax[m](A[i, j, m]) * h[j, m]) }",
        "unknown",
        "",
    ),
    ("(N) { input A[N, N] state h[N] = 0 h[i] <- 1.5 * sum[j](softmax[j](A[i, j]) * h[j]) }", "unknown", ""),
    ("(N) { input A[N, N] state h[N] = 0 h[i] <- h[i] + sum[j](softmax[j](A[i, j]) * h[j]) }", "unknown", ""),
    (
        "(N) { input A[N, N], r state h[N] = 0 let g = sigmoid(r) h[i] <- (1 - g) * h[i] + g * sum[j](softmax[j](A[i, j]) * h[j]) }",
        "always",
        "infinity-norm",
    ),
    (
        "(N) { input A[N, N], r state h[N] = 0 let g = sigmoid(r) h[i] <- (1 - g) * h[i] + 2 * g * sum[j](softmax[j](A[i, j]) * h[j]) }",
        "unknown",
        "",
    ),
    ("(N) { input A[N, N] state h[N] = 0 h[i] <- sum[j](A[i, j] / norm[i](A[i, j], 1) * h[j]) }", "always", "1-norm"),
    (
        "(N) { input A[N, N] state h[N] = 0 h[i] <- sum[j](A[i, j] / norm[j](A[i, j], 1) * h[j]) }",
        "always",
        "infinity-norm",
    ),
    ("(N) { input A[N, N] state h[N] = 0 h[i] <- sum[j](A[i, j] / norm[i](A[i, j], 0.5) * h[j]) }", "always", "1-norm"),
    (
        "(N) { input A[N, N] state h[N] = 0 h[i] <- sum[j](A[i, j] / norm[i](A[i, j], 1.2) * h[j]) }",
        "unknown",
        "p = 1.2",
    ),
    (
        "(N) { input A[N, N] state h[N] = 0 h[i] <- sum[j](A[i, j] / norm[j](A[i, j], 2) * h[j]) }",
        "unknown",
        "each row",
    ),
    (
        "(N) { input A[N, N] state h[N] = 0 h[i] <- sum[j](A[i, j] / sqrt(sum[k, l](A[k, l] ^ 2)) * h[j]) }",
        "always",
        "2-norm",
    ),
    (
        "(N) { input A[N, N] state h[N] = 0 h[i] <- sum[j](1.1 * A[i, j] / sqrt(sum[k, l](A[k, l] ^ 2)) * h[j]) }",
        "unknown",
        "",
    ),
    ("(N) { input A[N, N] state h[N] = 0 h[i] <- sum[j](A[i, j] / norm[k](A[k, i], 1) * h[j]) }", "unknown", ""),
    ("(N) { input A[N, N] state h[N] = 0 h[i] <- sum[j](A[i, j] / sum[k in 1](abs(A[k, j])) * h[j]) }", "unknown", ""),
    ("(N) { input A[N, N] state h[N] = 0 h[i] <- sum[j](A[i, j] / sum[k](A[k, j]) * h[j]) }", "unknown", ""),
    ("(N) { input A[N, N] state h[N] = 0 h[i] <- sum[j](A[i, j]^2 / sum[k](A[k, j])^2 * h[j]) }", "unknown", ""),
    ("(N) { input A[N, N] state h[N] = 0 h[i] <- sum[j](A[i, j]^3 / sum[k](A[k, j]^3) * h[j]) }", "unknown", ""),
    ("(N) { input A[N, N] state h[N] = 0 h[i] <- sum[j](A[i, j]^2 / sum[k](A[k, j]^2) * h[j]) }", "always", "1-norm"),
    (
        "(N) { input A[N, N] state h[N] = 0 h[i] <- sum[j](exp(A[i, j]) / sum[k](exp(A[k, j])) * h[j]) }",
        "always",
        "1-norm",
    ),
    (
        "(N) { input A[N, N], x state h[N] = 0 h[i] <- sum[j](relu(A[i, j]) / (x * x + sum[k](relu(A[k, j]))) * h[j]) }",
        "always",
        "1-norm",
    ),
    (
        "(N) { input A[N, N], x state h[N] = 0 h[i] <- sum[j](relu(A[i, j]) / (x + sum[k](relu(A[k, j]))) * h[j]) }",
        "unknown",
        "",
    ),
    ("(N) { param perm[N]: index(N) input x state h[N] = 0 h[i] <- 0.5 * h[perm[i]] + x }", "always", "infinity-norm"),
    ("(N) { input x state h[N] = 0 h[i] <- if i == 0 then x else h[i - 1] }", "always", ""),
    ("(N) { input x[N] state h[N] = 0 h[i] <- cos(x[i]) * h[(i + 1) % N] }", "always", ""),
    ("(N) { input x[N] state h[N] = 0 h[i] <- sum[j](if i == j then sin(x[i]) * h[j] else 0) }", "always", ""),
    ("(N) { input x state h[N] = 0 h[i] <- 0.5 * h[i] + 0.5 * h[N - 1 - i] + x }", "always", ""),
    ("(N) { input x state h[N] = 0 h[i] <- 0.5 * h[i] + 0.6 * h[N - 1 - i] + x }", "unknown", ""),
    ("(N) { param w[N] state h[N] = 0 h[i] <- sum[j](sigmoid(w[j]) * h[j]) }", "unknown", ""),
    ("(N) { state h[N] = 0 h[i] <- mean[j](h[j]) }", "always", ""),
    // Diagonal plus rank 1.
    (
        "(N, M) { input k[N], b state S[N, M] = 0 let q[i] = k[i] / norm[l](k[l], 2) S[i, m] <- S[i, m] - 2 * sigmoid(b) * q[i] * sum[l](q[l] * S[l, m]) }",
        "always",
        "eigenvalue",
    ),
    (
        "(N, M) { input k[N], b state S[N, M] = 0 let q[i] = k[i] / norm[l](k[l], 2) S[i, m] <- S[i, m] - 3 * sigmoid(b) * q[i] * sum[l](q[l] * S[l, m]) }",
        "unknown",
        "along k",
    ),
    (
        "(N, M) { input k[N], b state S[N, M] = 0 S[i, m] <- S[i, m] - sigmoid(b) * k[i] * sum[l](k[l] * S[l, m]) }",
        "unknown",
        "along k",
    ),
    (
        "(N, M) { input k[N], b state S[N, M] = 0 let q[i] = k[i] / norm[l](k[l], 2) S[i, m] <- S[i, m] + sigmoid(b) * q[i] * sum[l](q[l] * S[l, m]) }",
        "unknown",
        "",
    ),
    (
        "(N, M) { input k[N], b state S[N, M] = 0 let q[i] = k[i] * rsqrt(sum[l](k[l] * k[l]) + 0.001) S[i, m] <- S[i, m] - 2 * sigmoid(b) * q[i] * sum[l](q[l] * S[l, m]) }",
        "always",
        "",
    ),
    (
        "(N, M) { input k[N], b state S[N, M] = 0 let q[i] = k[i] / max(norm[l](k[l], 2), 0.001) S[i, m] <- S[i, m] - 2 * sigmoid(b) * q[i] * sum[l](q[l] * S[l, m]) }",
        "always",
        "",
    ),
    (
        "(N, M) { input k[N], b state S[N, M] = 0 let q[i] = k[i] / norm[l](k[l], 1) S[i, m] <- S[i, m] - 2 * sigmoid(b) * q[i] * sum[l](q[l] * S[l, m]) }",
        "always",
        "",
    ),
    (
        "(N, M) { input k[N], b state S[N, M] = 0 let q[i] = k[i] / norm[l](k[l], 3) S[i, m] <- S[i, m] - 2 * sigmoid(b) * q[i] * sum[l](q[l] * S[l, m]) }",
        "unknown",
        "",
    ),
    (
        "(N, M) { input k[N], b state S[N, M] = 0 let q[i] = k[i] / sum[l](k[l]) S[i, m] <- S[i, m] - 2 * sigmoid(b) * q[i] * sum[l](q[l] * S[l, m]) }",
        "unknown",
        "along k",
    ),
    (
        "(N, M) { input k[N], b state S[N, M] = 0 let q[i] = k[i] / sqrt(sum[l in 1](k[l] ^ 2)) S[i, m] <- S[i, m] - 2 * sigmoid(b) * q[i] * sum[l](q[l] * S[l, m]) }",
        "unknown",
        "along k",
    ),
    (
        "(N, M) { input k[N, M], b state S[N, M] = 0 let q[i] = k[i, 0] / norm[m](k[i, m], 2) S[i, m] <- S[i, m] - 2 * sigmoid(b) * q[i] * sum[l](q[l] * S[l, m]) }",
        "unknown",
        "",
    ),
    (
        "(N, M) { input k[N] state S[N, M] = 0 S[i, m] <- S[i, m] - 2 * k[i] * sum[l](k[l] * S[l, m]) / sum[l](k[l] ^ 2) }",
        "always",
        "",
    ),
    (
        "(N, M) { input k[N] state S[N, M] = 0 S[i, m] <- S[i, m] - 2.5 * k[i] * sum[l](k[l] * S[l, m]) / sum[l](k[l] ^ 2) }",
        "never",
        "-1.5",
    ),
    (
        "(N, M) { input k[N], b state S[N, M] = 0 let e = softplus(b) / (1 + softplus(b) * sum[l](k[l] * k[l])) S[i, m] <- S[i, m] - e * k[i] * sum[l](k[l] * S[l, m]) }",
        "always",
        "",
    ),
    (
        "(N, M) { input k[N], b state S[N, M] = 0 let e = b / (1 + b * sum[l](k[l] * k[l])) S[i, m] <- S[i, m] - e * k[i] * sum[l](k[l] * S[l, m]) }",
        "unknown",
        "",
    ),
    (
        "(N, M) { input k[N], b, g state S[N, M] = 0 let q[i] = k[i] / norm[l](k[l], 2) let a = sigmoid(g) S[i, m] <- a * (S[i, m] - 2 * sigmoid(b) * q[i] * sum[l](q[l] * S[l, m])) }",
        "always",
        "",
    ),
    (
        "(N, M) { input k[N], b, g[N] state S[N, M] = 0 let q[i] = k[i] / norm[l](k[l], 2) S[i, m] <- sigmoid(g[i]) * S[i, m] S[i, m] <- S[i, m] - 2 * sigmoid(b) * q[i] * sum[l](q[l] * S[l, m]) }",
        "always",
        "times I + c k",
    ),
    (
        "(N, M) { input k[N], b, g[N] state S[N, M] = 0 let q[i] = k[i] / norm[l](k[l], 2) S[i, m] <- exp(g[i]) * S[i, m] S[i, m] <- S[i, m] - 2 * sigmoid(b) * q[i] * sum[l](q[l] * S[l, m]) }",
        "unknown",
        "",
    ),
    (
        "(N, M) { input k[N], b, g[N] state S[N, M] = 0 let q[i] = k[i] / norm[l](k[l], 2) S[i, m] <- sigmoid(g[i]) * S[i, m] - sigmoid(b) * q[i] * sum[l](q[l] * S[l, m]) }",
        "always",
        "Weyl",
    ),
    (
        "(N, M) { input k[N], b, g[N] state S[N, M] = 0 let q[i] = k[i] / norm[l](k[l], 2) S[i, m] <- sigmoid(g[i]) * S[i, m] - 2 * sigmoid(b) * q[i] * sum[l](q[l] * S[l, m]) }",
        "unknown",
        "",
    ),
    (
        "(N, M) { input k[N], a[N], g[N] state S[N, M] = 0 let q[i] = k[i] / norm[l](k[l], 2) S[i, m] <- sigmoid(g[i]) * S[i, m] - q[i] * sum[l](sigmoid(a[l]) * q[l] * S[l, m]) }",
        "unknown",
        "no multiple of k",
    ),
    (
        "(N, M) { input k[N], p[N], b state S[N, M] = 0 let q[i] = k[i] / norm[l](k[l], 2) let r[i] = p[i] / norm[l](p[l], 2) S[i, m] <- S[i, m] - sigmoid(b) * q[i] * sum[l](r[l] * S[l, m]) }",
        "unknown",
        "",
    ),
    (
        "(N, M) { input k[N], p[N], b[2] state S[N, M] = 0 let q[i] = k[i] / norm[l](k[l], 2) let r[i] = p[i] / norm[l](p[l], 2) S[i, m] <- S[i, m] - 2 * sigmoid(b[0]) * q[i] * sum[l](q[l] * S[l, m]) S[i, m] <- S[i, m] - 2 * sigmoid(b[1]) * r[i] * sum[l](r[l] * S[l, m]) }",
        "always",
        "each of the 2 updates",
    ),
    (
        "(N, M) { input k[N], p[N], b[2] state S[N, M] = 0 let q[i] = k[i] / norm[l](k[l], 2) let r[i] = p[i] / norm[l](p[l], 2) S[i, m] <- S[i, m] - 2 * sigmoid(b[0]) * q[i] * sum[l](q[l] * S[l, m]) S[i, m] <- S[i, m] - 3 * sigmoid(b[1]) * r[i] * sum[l](r[l] * S[l, m]) }",
        "unknown",
        "update 2 of 2",
    ),
    (
        "(N, M) { input k[N], p[N], b[2] state S[N, M] = 0 let o[i, m] = S[i, m] let q[i] = k[i] / norm[l](k[l], 2) let r[i] = p[i] / norm[l](p[l], 2) S[i, m] <- S[i, m] - 2 * sigmoid(b[0]) * q[i] * sum[l](q[l] * S[l, m]) S[i, m] <- S[i, m] - 2 * sigmoid(b[1]) * r[i] * sum[l](r[l] * o[l, m]) }",
        "unknown",
        "",
    ),
    // A softmax along the rows in one update, along the columns in the next: no norm for both.
    (
        "(N) { input A[N, N], B[N, N] state h[N] = 0 h[i] <- sum[j](softmax[i](A[i, j]) * h[j]) h[i] <- sum[j](softmax[j](B[i, j]) * h[j]) }",
        "unknown",
        "",
    ),
    ("(N) { state h[N] = 0 h[i] <- h[i] - mean[j](h[j]) }", "always", "eigenvalue"),
    // Two numbers.
    (
        "{ input t, x state u = 0, v = 0 let o = u u <- cos(t) * u - sin(t) * v + x v <- sin(t) * o + cos(t) * v }",
        "always",
        "rotation",
    ),
    (
        "(N) { input t[N], g[N] state u[N] = 0, v[N] = 0 let r[i] = sigmoid(g[i]) let o[i] = u[i] u[i] <- r[i] * (cos(t[i]) * u[i] - sin(t[i]) * v[i]) v[i] <- r[i] * (sin(t[i]) * o[i] + cos(t[i]) * v[i]) }",
        "always",
        "rotation",
    ),
    (
        "{ input t state u = 0, v = 0 let o = u u <- cos(t) * u + sin(t) * v v <- sin(t) * o - cos(t) * v }",
        "always",
        "reflection",
    ),
    (
        "{ input t, w state u = 0, v = 0 let o = u u <- cos(t) * u - sin(w) * v v <- sin(w) * o + cos(t) * v }",
        "unknown",
        "",
    ),
    (
        "{ input t, w state u = 0, v = 0 let o = u u <- cos(t) * u - sin(t) * v v <- sin(w) * o + cos(w) * v }",
        "unknown",
        "",
    ),
    (
        "{ input t state u = 0, v = 0 let o = u u <- cos(t) * u + sin(t) * v v <- sin(t) * o + cos(t) * v }",
        "unknown",
        "",
    ),
    (
        "{ input t state u = 0, v = 0 let o = u u <- 1.5 * (cos(t) * u - sin(t) * v) v <- 1.5 * (sin(t) * o + cos(t) * v) }",
        "never",
        "1.5",
    ),
    ("{ input x, w state u = 0, v = 0 let t = u u <- x * u - w * v v <- x * v + w * t }", "unknown", ""),
    ("{ state u = 0, v = 1 let o = u u <- v v <- o }", "always", ""),
    ("{ input x state h: complex = 0 h <- conj(h) + x }", "always", ""),
    ("{ input x state h: complex = 0 h <- x * re(h) + 1i * im(h) }", "unknown", ""),
    ("{ input x state h: complex = 0 h <- 2 * re(h) + x + 1i * im(h) }", "never", ""),
    // A few numbers.
    ("{ input x state u = 0, v = 0 let o = u u <- 1.6 * u - 0.8 * v + x v <- o }", "always", "spectral radius"),
    ("{ input x state u = 0, v = 0 let o = u u <- 2.1 * u - 1.2 * v + x v <- o }", "never", ""),
    ("{ input x state u = 0, v = 0 let o = u u <- 2 * u - v + x v <- o }", "unknown", "too near to 1"),
    (
        "{ input x state u = 0, v = 0 let o = u u <- 0.6 * u - 0.8 * v + x v <- 0.8 * o + 0.6 * v }",
        "always",
        "rotation",
    ),
    ("{ param a input x state u = 0, v = 0 let o = u u <- a * u - 1.5 * v + x v <- o }", "never", "determinant"),
    ("{ param a input x state u = 0, v = 0 let o = u u <- tanh(a) * u - 0.5 * v + x v <- o }", "always", "Jury"),
    ("{ input a, x state u = 0, v = 0 let o = u u <- tanh(a) * u - 0.5 * v + x v <- o }", "unknown", ""),
    ("{ param a, b input x state u = 0, v = 0 let o = u u <- a * u - b * v + x v <- o }", "unknown", "parameters"),
    ("{ input x state h[2] = 0 h[i] <- h[i] + (if i == 0 then h[1] else 0) }", "unknown", "too near to 1"),
    ("{ input x state h[3] = 0 h[i] <- (if i == 0 then 0.2 * h[2] + x else h[i - 1]) }", "always", ""),
    ("{ input x state h[3] = 0 h[i] <- (if i == 0 then 1.2 * h[2] + x else h[i - 1]) }", "never", "trace"),
    // Triangles.
    ("(N) { state h[N] = 0 h[i] <- 2 * h[i] + (if i > 0 then h[i - 1] else 0) }", "never", "diagonal"),
    ("(N) { input x state h[N] = 0 h[i] <- (2 + exp(x)) * h[i] + (if i > 0 then x * h[i - 1] else 0) }", "never", ""),
    (
        "(N) { param w state h[N] = 0 h[i] <- 0.5 * h[i] + (if i > 0 then w * h[i - 1] else 0) }",
        "always",
        "spectral radius",
    ),
    ("(N) { input w state h[N] = 0 h[i] <- 0.5 * h[i] + (if i > 0 then w * h[i - 1] else 0) }", "unknown", ""),
    ("(N) { param w state h[N] = 0 h[i] <- h[i] + (if i > 0 then w * h[i - 1] else 0) }", "unknown", "products grow"),
    ("(N) { input A[N, N] state h[N] = 0 h[i] <- sum[j](if j < i then A[i, j] * h[j] else 0) }", "always", "nilpotent"),
    ("(N) { input A[N, N] state h[N] = 0 h[i] <- sum[j](if j <= i then A[i, j] * h[j] else 0) }", "unknown", ""),
    ("(N) { input x state h[N] = 0 h[i] <- sum[j](if j <= i then h[j] else 0) + x }", "unknown", ""),
    (
        "(N) { param A[N, N] state h[N] = 0 h[i] <- sum[j](if j <= i then (if i == j then 3 else A[i, j]) * h[j] else 0) }",
        "unknown",
        "",
    ),
    (
        "(N) { input g: bool, A[N, N] state h[N] = 0 h[i] <- sum[j](if j <= i and g then 3 * h[j] else 0) }",
        "unknown",
        "",
    ),
    ("(N) { param A[N, N] input x state h[N] = 0 h[i] <- sum[j](A[i, j] * h[j]) + x }", "unknown", "parameters"),
];

/// What is said of a group.
pub fn said(stability: Option<&Stability>) -> (&'static str, String) {
    stability.map_or(("none", String::new()), |s| (s.name(), s.reason().to_owned()))
}

/// The numbers of a state.
fn numbers(tensor: &Tensor<f64>) -> Vec<f64> {
    match &tensor.elements {
        Elements::Real(v) => v.clone(),
        Elements::Complex { re, im } => [re.as_slice(), im].concat(),
        _ => Vec::new(),
    }
}

/// Compares what is said of each group with two runs that differ in where the group starts: their difference is the product
/// of the transitions times the difference of the starts. `grows` asks for growth where a group is said to grow.
pub fn growth(source: &str, layer: &Layer, grows: bool) {
    const STEPS: usize = 40;
    let verdict = judge(layer);
    let Some(dims) = [[3, 2], [2, 2]]
        .map(|[n, m]| (0..layer.dims.len()).map(|k| if k == 1 { m } else { n }).collect::<Vec<i64>>())
        .into_iter()
        .find(|dims| Instance::new(layer.clone(), dims.clone()).is_ok())
    else {
        return;
    };
    for group in &verdict.groups {
        let affine = [Class::AffineDiagonal, Class::AffineDense, Class::AffineLowRank].contains(&group.class);
        let (name, reason) = said(group.stability.as_ref());
        assert_eq!(affine, name != "none", "{source}");
        if !affine || name == "unknown" {
            continue;
        }
        let instance = Instance::new(layer.clone(), dims.clone()).unwrap();
        for seed in 0..6 {
            let mut draws = Draws(seed + 3);
            let scale = [1.0, 4.0][seed as usize % 2];
            let scaled = |mut tensor: Tensor<f64>| {
                if let Elements::Real(v) = &mut tensor.elements {
                    v.iter_mut().for_each(|x| *x *= scale);
                }
                tensor
            };
            let params: Vec<_> =
                layer.params.iter().map(|p| Some(scaled(draws.tensor(&instance, p.value, &[])))).collect();
            let bound = bind::bind(&instance, params, 0).expect("the parameters fit");
            let mut starts = [(); 2].map(|()| interp::initial_carry(&instance, &bound, 1));
            for (at, state) in layer.states.iter().enumerate() {
                let own = group.states.iter().any(|s| s.at() == at);
                let first = draws.tensor(&instance, state.value, &[1]);
                starts[1].states[at] = if own { draws.tensor(&instance, state.value, &[1]) } else { first.clone() };
                starts[0].states[at] = first;
            }
            let apart = |a: &Carry<f64>, b: &Carry<f64>| {
                let each = group.states.iter().flat_map(|s| {
                    let (a, b) = (numbers(&a.states[s.at()]), numbers(&b.states[s.at()]));
                    a.into_iter().zip(b).map(|(a, b)| (a - b).abs()).collect::<Vec<f64>>()
                });
                each.fold(0.0, f64::max)
            };
            let size = |a: &Carry<f64>| {
                group.states.iter().flat_map(|s| numbers(&a.states[s.at()])).fold(0.0, |m: f64, x| m.max(x.abs()))
            };
            let count: usize = group.states.iter().map(|s| numbers(&starts[0].states[s.at()]).len()).sum();
            // A norm bounds every product; a spectral radius and a nilpotent one bound long ones.
            let most = if reason.contains("-norm is") || reason.contains("|a|") || reason.contains("-norm 1") {
                2.0 * count as f64
            } else {
                1e5
            };
            let begun = apart(&starts[0], &starts[1]);
            let [mut a, mut b] = starts;
            let mut largest: f64 = size(&a).max(1.0);
            for step in 0..STEPS {
                let inputs: Vec<_> = layer.inputs.iter().map(|&i| scaled(draws.tensor(&instance, i, &[1]))).collect();
                for carry in [&mut a, &mut b] {
                    interp::run(&instance, &bound, &Sequences::batch(1, 1), &inputs, carry);
                }
                largest = largest.max(size(&a)).max(size(&b));
                let now = apart(&a, &b);
                if !now.is_finite() || largest > 1e12 {
                    break;
                }
                if name == "always" {
                    let allowed = most * begun + 1e-9 * largest * count as f64;
                    assert!(now <= allowed, "{source}\n{reason}\nstep {step}: {now} from {begun}");
                }
            }
            if name == "never" && grows {
                let now = apart(&a, &b);
                assert!(now.is_nan() || now > 10.0 * begun, "{source}\n{reason}\n{now} from {begun}");
            }
        }
    }
}
