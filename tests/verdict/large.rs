//! Programs whose normal forms would grow without end if definitions were copied wherever they are read.

use ssmc::analysis::verdict::judge;

use super::{layers, stretch, summary};

/// The most nodes that judging any of them may copy: about a tenth of a second.
const WORK: usize = 600_000;

/// `let`s that each read the one before.
fn chain(length: usize, head: &str, first: &str, next: &str, last: &str) -> String {
    let mut text = format!("{head} let t0{first} ");
    for k in 1..length {
        let (one, two) = (format!("t{}", k - 1), format!("t{}", k.saturating_sub(2)));
        text += &format!("let t{k}{} ", next.replace('A', &one).replace('B', &two).replace('K', &k.to_string()));
    }
    format!("{text} {}", last.replace('A', &format!("t{}", length - 1)))
}

/// States whose updates read each other's.
fn coupled(count: usize, update: impl Fn(usize, usize) -> String) -> String {
    let mut text = "{ input a, x ".to_owned();
    (0..count).for_each(|k| text += &format!("state s{k} = 0.1 * {k} "));
    (0..count).for_each(|k| text += &format!("s{k} <- {} ", update(k, (k + count - 1) % count)));
    text + "}"
}

/// The same update many times.
fn composed(count: usize, head: &str, update: impl Fn(usize) -> String) -> String {
    let mut text = format!("{head} ");
    (0..count).for_each(|k| text += &format!("{} ", update(k)));
    text + "}"
}

/// Programs of a length, with their classes.
fn programs(lets: usize, states: usize, updates: usize) -> Vec<(String, &'static str)> {
    let all: Vec<String> = (0..states).map(|k| format!("s{k}")).collect();
    let all = all.join(" + ");
    let scalar = "{ input a, x, p[1000] state h = 0.5";
    let two = "{ input a, x, p[1000] state h = 0.5, g = 1";
    let vector = "(N) { input a[N], x state h[N] = 0.5";
    vec![
        (chain(lets, scalar, "= a * h + x", "= a * A + x", "h <- A }"), "affine-diagonal"),
        (chain(lets, scalar, "= h", "= A * x + A * a", "h <- A }"), "affine-diagonal"),
        (chain(lets, scalar, "= h", "= if p[K] > 0 then a * A else x", "h <- A }"), "affine-diagonal"),
        (
            chain(lets, two, "= h", "= if p[K] > 0 then a * A else if x < 0 then B else g", "h <- A g <- h }"),
            "affine-dense",
        ),
        (
            chain(lets, two, "= h", "= if p[K] > 0 then max(x, A) else max(B, g)", "h <- A g <- h + x }"),
            "semiring-max-plus",
        ),
        (chain(lets, scalar, "= max(h, x)", "= max(A + a, x)", "h <- A }"), "semiring-max-plus"),
        (chain(lets, scalar, "= h", "= log(exp(A) + exp(x)) - a", "h <- A }"), "semiring-log-sum-exp"),
        (
            chain(lets, vector, "[i] = h[i]", "[i] = 0.1 * sum[j](a[j] * A[j]) + A[i]", "h[i] <- A[i] }"),
            "affine-low-rank",
        ),
        (
            chain(lets, vector, "[i] = h[i]", "[i] = max(max[j](a[j] + A[j]), A[i])", "h[i] <- A[i] }"),
            "semiring-max-plus",
        ),
        (chain(lets, "{ input x state h: complex = 0.5", "= h", "= conj(A) * x + 1i * A", "h <- A }"), "affine-dense"),
        (coupled(states, |k, before| format!("a * s{k} + x * s{before}")), "affine-dense"),
        (coupled(states, |k, _| format!("a * s{k} + 0.1 * ({all})")), "affine-dense"),
        (coupled(states, |k, before| format!("max(s{k} + a, s{before} + x)")), "semiring-max-plus"),
        (coupled(states, |k, before| format!("log(exp(s{k} + a) + exp(s{before} + x))")), "semiring-log-sum-exp"),
        (
            composed(updates, "(N) { input x[N] state h[N] = 0.5", |_| "h[i] <- h[i] - sum[j](h[j]) * x[i]".to_owned()),
            "affine-low-rank",
        ),
        (
            composed(updates, "(N) { input a[N, N] state h[N] = 0.5", |_| {
                "h[i] <- h[i] + sum[j](a[i, j] * h[j])".to_owned()
            }),
            "affine-dense",
        ),
        (
            composed(updates, "(N) { input a[N, N] state h[N] = 0.5", |_| {
                "h[j] <- max(h[j], max[i](a[i, j] + h[i]))".to_owned()
            }),
            "semiring-max-plus",
        ),
        (
            composed(updates, "(N, M) { input k[40, N], v[M] state S[N, M] = 0.5", |r| {
                format!("S[i, j] <- S[i, j] - k[{r}, i] * (sum[l](k[{r}, l] * S[l, j]) - v[j])")
            }),
            if updates > 6 { "affine-dense" } else { "affine-low-rank" },
        ),
    ]
}

#[test]
fn large_programs_are_judged() {
    for (source, expected) in programs(1000, 30, 30) {
        let layer = layers(&format!("layer test {source}")).remove(0);
        let verdict = judge(&layer);
        let start: String = source.chars().take(120).collect();
        assert_eq!(verdict.groups[0].class.name(), expected, "{start}: {}", summary(&verdict));
        assert!(verdict.work <= WORK, "{start}: {} nodes were copied", verdict.work);
    }
}

/// What grows beyond all limits is given up after bounded work.
#[test]
fn what_is_too_large_is_refused() {
    let vector = "(N) { input a[N], x state h[N] = 0.5";
    for source in [
        chain(1000, vector, "[i] = h[i]", "[i] = A[(i + 1) % N] + A[i] * a[i]", "h[i] <- A[i] }"),
        chain(1000, vector, "[i] = h[i]", "[i] = A[i] + (if i > 0 then a[i] * A[i - 1] else 0)", "h[i] <- A[i] }"),
        chain(
            1000,
            "(N) { input x state h[N]: bool = false",
            "[i] = h[i]",
            "[i] = A[i] or (if i > 0 then A[i - 1] else false)",
            "h[i] <- A[i] }",
        ),
    ] {
        let layer = layers(&format!("layer test {source}")).remove(0);
        let verdict = judge(&layer);
        assert_eq!(verdict.groups[0].class.name(), "nonlinear");
        assert!(verdict.work <= 8 * WORK, "{} nodes were copied", verdict.work);
    }
}

/// Shared definitions keep the values of forms.
#[test]
fn large_transitions_agree_with_stepping() {
    for (source, _) in programs(24, 5, 8) {
        let layer = layers(&format!("layer test {source}")).remove(0);
        let classes = stretch::check(&source, &layer);
        assert_eq!(classes.len(), layer.states.len().min(1), "{source}");
    }
}
