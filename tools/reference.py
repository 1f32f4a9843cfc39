#!/usr/bin/env python3
"""Writes reference values of the f64 functions: `name x y result fraction` a line.

    pip install mpmath
    python3 tools/reference.py --count 60 > tests/math/reference.txt

Arguments and result as hexadecimal bits; the exact value is result + fraction·ulp(result).
"""

import argparse
import random
import struct

from mpmath import atan2, cos, erf, erfc, exp, expm1, log, log1p, mp, mpf, sin, sqrt, tanh


def bits(x):
    return struct.unpack("<Q", struct.pack("<d", x))[0]


def unbits(n):
    return struct.unpack("<d", struct.pack("<Q", n))[0]


def rounded(value):
    """The nearest f64 and what is missing, in ulp."""
    if value == 0:
        return 0.0, 0.0
    exponent = max(int(mp.floor(log(abs(value), 2))), -1022)
    unit = mpf(2) ** (exponent - 52)
    whole = mp.nint(value / unit)
    if abs(whole) * unit >= mpf(2) ** 1024:
        return float("inf") if value > 0 else float("-inf"), 0.0
    number = float(mpf(whole) * unit) if whole else (0.0 if value > 0 else -0.0)
    return number, float((value - whole * unit) / unit)


def sigmoid(x):
    return 1 / (1 + exp(-x))


FUNCTIONS = {
    "exp": (exp, "exp"),
    "exp2": (lambda x: mpf(2) ** x, "exp"),
    "expm1": (expm1, "exp"),
    "log": (log, "positive"),
    "log1p": (log1p, "above -1"),
    "sin": (sin, "angle"),
    "cos": (cos, "angle"),
    "tanh": (tanh, "exp"),
    "sigmoid": (sigmoid, "exp"),
    "silu": (lambda x: x * sigmoid(x), "exp"),
    "softplus": (lambda x: log1p(exp(x)), "exp"),
    "gelu": (lambda x: x * erfc(-x / sqrt(mpf(2))) / 2, "normal"),
    "erf": (erf, "normal"),
    "sqrt": (sqrt, "positive"),
    "rsqrt": (lambda x: 1 / sqrt(x), "positive"),
    "pow": (lambda x, y: x**y, "power"),
    "atan2": (atan2, "pair"),
}


def any_number(low=-1074, high=1023):
    return (1 + random.random()) * 2.0 ** random.randint(max(low, -1022), high) * random.choice((-1.0, 1.0))


def arguments(kind, index):
    """One sample of the arguments: the busy range mostly, all magnitudes sometimes."""
    if kind == "exp":
        pick = index % 6
        width = (1.0, 3.0, 40.0, 720.0, 0.0, 0.0)[pick]
        if pick == 4:
            return (random.uniform(-746, -700),)
        return (random.uniform(-width, width),) if width else (any_number(-70, 9),)
    if kind == "positive":
        return ((random.uniform(0.5, 2), abs(any_number()), unbits(random.randrange(1, 1 << 52)))[index % 3],)
    if kind == "above -1":
        pick = index % 4
        return ((random.uniform(-1, 1), abs(any_number()), any_number(-60, -2), random.uniform(-0.5, 3))[pick],)
    if kind == "angle":
        pick = index % 4
        return ((random.uniform(-10, 10), random.uniform(-131072, 131072), any_number(-30, 1023),
                 float(random.randint(1, 83000) * mp.pi / 2))[pick],)
    if kind == "normal":
        pick = index % 4
        return ((random.uniform(-2, 2), random.uniform(-9, 9), random.uniform(-39, 0), any_number(-60, 2))[pick],)
    if kind == "power":
        x = (abs(any_number()), random.uniform(0.01, 4), 1 + random.uniform(-1, 1) * 2.0 ** random.randint(-50, -2),
             unbits(random.randrange(1, 1 << 52)))[index % 4]
        return x, float(random.uniform(-1080, 1024) / log(mpf(x), 2)) if x != 1 else 2.0
    y = any_number(-500, 500)
    return y, y * any_number(-30, 30)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    random.seed(20)
    for name, (function, kind) in FUNCTIONS.items():
        if options.names and name not in options.names:
            continue
        # Large angles, and 1 less next to nothing, need many digits; most arguments do not.
        mp.prec = 1200 if kind == "angle" else 400 if name in ("tanh", "erf") else 200
        for index in range(options.count):
            x = arguments(kind, index)
            number, fraction = rounded(function(*(mpf(a) for a in x)))
            y = x[1] if len(x) > 1 else 0.0
            print(f"{name} {bits(x[0]):016x} {bits(y):016x} {bits(number):016x} {fraction:.4f}")


main()
