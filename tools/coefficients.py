#!/usr/bin/env python3
"""Writes src/codegen/math/coefficients.rs: near-minimax polynomials and split constants.

    pip install mpmath
    python3 tools/coefficients.py | rustfmt --edition 2024 > src/codegen/math/coefficients.rs

Each polynomial is fitted by least squares on Chebyshev nodes under the weight with which its error reaches the
result. That is within a small factor of the minimax polynomial (Trefethen 2013, ch. 4 and 16), and linear, so the
coefficients can be rounded one after the other, lowest power first, and the rest fitted again: the error of each
rounding is taken up by the powers above it (Brisebarre and Chevillard 2007 do this optimally).
"""

import struct
import sys

from mpmath import atan, cos, cosh, erf, erfc, exp, log, log1p, matrix, mp, mpf, lu_solve, pi, sin, sqrt

mp.dps = 60


def single(x):
    """x rounded to f32."""
    return mpf(struct.unpack("f", struct.pack("f", float(x)))[0])


def double(x):
    """x rounded to f64."""
    return mpf(float(x))


def shortest(x, rounding):
    """The shortest decimal number that reads back as x."""
    for digits in range(1, 18):
        text = f"{float(x):.{digits - 1}e}"
        if rounding(mpf(text)) == x:
            break
    mantissa, exponent = text.split("e")
    value = int(exponent)
    if -5 < value < 6:
        text = f"{float(text):.{max(digits - 1 - value, 1)}f}"
        return text
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{value}"


def fit(f, weight, low, high, count, rounding):
    """Coefficients of a polynomial for f on [low, high], lowest power first, and its largest weighted error."""
    nodes = 4 * count + 20
    points = [(low + high) / 2 + (high - low) / 2 * cos((2 * i + 1) * pi / (2 * nodes)) for i in range(nodes)]
    points = [x if x != 0 else mpf(10) ** -20 for x in points]
    rest = [f(x) for x in points]
    weights = [weight(x) for x in points]
    targets, done = list(rest), []
    for first in range(count):
        rows = matrix(nodes, count - first)
        right = matrix(nodes, 1)
        for i, x in enumerate(points):
            right[i] = rest[i] * weights[i]
            power = weights[i] * x**first
            for j in range(count - first):
                rows[i, j] = power
                power *= x
        c = rounding(lu_solve(rows, right)[0])
        done.append(c)
        rest = [r - c * x**first for r, x in zip(rest, points)]
    error = max(abs(r * w) for r, w in zip(rest, weights))
    return done, error


TAIL_SHIFT = {"f32": mpf(3), "f64": mpf(4)}
TAIL_MIDDLE = {"f32": mpf("0.1953125"), "f64": mpf("0.13671875")}
TAIL_END = {"f32": 15, "f64": 40}


def tail(kind):
    """(t + c)·g(t) - P0 over z = 1/(t + c) - middle, where g(t) = exp(t²/2)·Q(t)."""
    c, middle, end = TAIL_SHIFT[kind], TAIL_MIDDLE[kind], TAIL_END[kind]

    def f(z):
        t = 1 / (z + middle) - c
        return (t + c) * exp(t * t / 2) * erfc(t / sqrt(mpf(2))) / 2

    return f, lambda z: 1 / f(z), 1 / (end + c) - middle, 1 / c - middle


def tail_slope(kind):
    """The derivative of `tail` in z."""
    f, weight, low, high = tail(kind)
    step = mpf(10) ** -20
    return lambda z: (f(z + step) - f(z - step)) / (2 * step), weight, low, high


def at_zero(limit, f):
    """f, with its limit where cancellation would ruin it."""
    return lambda x: limit if abs(x) < mpf(10) ** -12 else f(x)


def log_rest(z):
    s = sqrt(z)
    return ((log((1 + s) / (1 - s)) / s - 2) / z - mpf(2) / 3) / z


TABLES = [
    ("EXP", "`(exp(r) - 1 - r) / r²` in r, for |r| ≤ ln 2.",
     lambda kind: (at_zero(mpf(1) / 2, lambda r: (exp(r) - 1 - r) / r**2), lambda r: r * r / exp(r),
                   mpf("-0.6935"), mpf("0.6935")), {"f32": 6, "f64": 12}),
    ("EXPM1", "`(exp(r) - 1 - r) / r²` in r, for |r| ≤ ln 2 / 2; the error is that of `exp(r) - 1`.",
     lambda kind: (at_zero(mpf(1) / 2, lambda r: (exp(r) - 1 - r) / r**2), at_zero(mpf(0), lambda r: r * r / (exp(r) - 1)),
                   mpf("-0.3467"), mpf("0.3467")), {"f32": 5, "f64": 11}),
    ("EXP2", "`(2^f - 1)/f` in f, for 0 ≤ f ≤ 1.",
     lambda kind: (at_zero(log(mpf(2)), lambda x: (mpf(2)**x - 1) / x), lambda x: x / mpf(2)**x, mpf(0), mpf(1)),
     {"f32": 6, "f64": 11}),
    ("LOG", "`((ln((1+s)/(1-s))/s - 2)/z - 2/3)/z` in z = s², for s = f/(2+f), 1 + f within √½ to √2.",
     lambda kind: (at_zero(mpf(2) / 5, log_rest), lambda z: z * z / 2, mpf(0), mpf("0.0296")), {"f32": 3, "f64": 7}),
    ("LOG_NEAR", "`(ln(1+f) - f)/f²` in f, 1 + f within √½ to √2; the error is that of `ln(1+f)`, absolute.",
     lambda kind: (at_zero(-mpf(1) / 2, lambda f: (log(1 + f) - f) / f**2), lambda f: f * f,
                   mpf("-0.2930"), mpf("0.4143")), {"f32": 8, "f64": 19}),
    ("LOG1P", "`(ln(1 + e) - e)/e²` in e, for 0 ≤ e ≤ 1.",
     lambda kind: (at_zero(-mpf(1) / 2, lambda e: (log1p(e) - e) / e**2), lambda e: e * e / log1p(e), mpf(0), mpf(1)),
     {"f32": 9, "f64": 20}),
    ("SIN", "`(sin(r)/r - 1)/z` in z = r², for |r| ≤ π/4.",
     lambda kind: (at_zero(-mpf(1) / 6, lambda z: (sin(sqrt(z)) / sqrt(z) - 1) / z), lambda z: z,
                   mpf(0), mpf("0.6195")), {"f32": 3, "f64": 6}),
    ("COS", "`(cos(r) - 1 + z/2)/z²` in z = r², for |r| ≤ π/4.",
     lambda kind: (at_zero(mpf(1) / 24, lambda z: (cos(sqrt(z)) - 1 + z / 2) / z**2), lambda z: z * z,
                   mpf(0), mpf("0.6195")), {"f32": 3, "f64": 6}),
    ("ATAN", "`(atan(t)/t - 1)/z` in z = t², for |t| ≤ tan(π/8).",
     lambda kind: (at_zero(-mpf(1) / 3, lambda z: (atan(sqrt(z)) / sqrt(z) - 1) / z), lambda z: z,
                   mpf(0), mpf("0.1717")), {"f32": 5, "f64": 12}),
    ("ERF", "`erf(x)/x - 1` in z = x², for |x| ≤ 1.",
     lambda kind: (at_zero(2 / sqrt(pi) - 1, lambda z: erf(sqrt(z)) / sqrt(z) - 1), lambda z: mpf(1),
                   mpf(0), mpf("1.001")), {"f32": 8, "f64": 15}),
    ("TAIL", "`(t + c)·exp(t²/2)·Q(t)` in z = 1/(t + c) - middle, for t ≥ 0, Q the tail of the normal distribution.",
     tail, {"f32": 12, "f64": 26}),
    ("TAIL_SLOPE", "The derivative of [`TAIL`], to some percent.", tail_slope, {"f32": 4, "f64": 5}),
]

ROUND = {"f32": single, "f64": double}


def split(x, parts, rounding):
    out = []
    for _ in range(parts):
        out.append(rounding(x))
        x -= out[-1]
    return out


def short_split(x, bits):
    """x as a head of the given number of bits (so that small integers times it are exact) and a rest."""
    scale = mpf(2) ** (bits - 1 - int(mp.floor(log(x, 2))))
    head = mp.floor(x * scale) / scale
    return head


def constants():
    two = lambda x: {k: split(x, 2, r) for k, r in ROUND.items()}
    three = lambda x: {k: split(x, 3, r) for k, r in ROUND.items()}
    ln2 = {}
    for kind, bits in (("f32", 15), ("f64", 41)):
        head = short_split(log(mpf(2)), bits)
        ln2[kind] = [head] + split(log(mpf(2)) - head, 2, ROUND[kind])
    return [
        ("LN_2", "ln 2; the head is short, so that its product with an exponent is exact.", ln2),
        ("HALF_PI", "π/2.", {k: split(pi / 2, 4, r) for k, r in ROUND.items()}),
        ("QUARTER_PI", "π/4.", two(pi / 4)),
        ("TWO_THIRDS", "2/3.", two(mpf(2) / 3)),
        ("TAIL_AT", "The shift `c` and the `middle` of [`TAIL`].",
         {k: [TAIL_SHIFT[k], TAIL_MIDDLE[k]] for k in ROUND}),
    ]


def array(values, rounding):
    return "&[" + ", ".join(shortest(v, rounding) for v in values) + "]"


def main():
    print("//! Polynomials and split constants, written by `tools/coefficients.py`: edit that.")
    print("//!")
    print("//! Lowest power first; a split constant is its rounded value, then what that leaves.\n")
    print("// The parts of a constant are no constants.")
    print("#![allow(clippy::approx_constant)]\n")
    print("use super::lanes::Table;\n")
    names = sys.argv[1:]
    for name, doc, make, counts in TABLES:
        if names and name not in names:
            continue
        fields, errors = [], []
        for kind, rounding in ROUND.items():
            f, weight, low, high = make(kind)
            values, error = fit(f, weight, low, high, counts[kind], rounding)
            errors.append(f"2^{float(log(error, 2)):.1f} ({kind})")
            fields.append((kind, array(values, rounding)))
        print(f"/// {doc}\n///\n/// Largest relative error of the result: {', '.join(errors)}.")
        print(f"pub(super) const {name}: Table = Table {{")
        for kind, text in fields:
            print(f"    {kind}: {text},")
        print("};\n")
    for name, doc, values in constants():
        if names:
            continue
        print(f"/// {doc}\npub(super) const {name}: Table = Table {{")
        for kind, rounding in ROUND.items():
            print(f"    {kind}: {array(values[kind], rounding)},")
        print("};\n")


main()
