//! Functions of complex numbers, as pairs of real and imaginary parts, made of the real ones.
//!
//! Intermediate squares are scaled by powers of two, so that nothing overflows or underflows before the result does
//! (quotients: as long as the numerator is four times below overflow). Parts of quotients are rounded from sums of two
//! products with one extra product's error known (Kahan's method), hence accurate each for itself. The argument of a
//! complex number is [`super::Elementary::Atan2`] of its imaginary and real part.

use cranelift_codegen::ir::Value;
use cranelift_frontend::FunctionBuilder;

use super::exp::{Power, exp_pair, exp_range, expm1};
use super::lanes::Float;
use super::log::log_of_sum;
use super::pair::Pair;
use super::trig::{atan2, sin_cos};
use super::{Environment, on_vectors};

/// A complex number as `(real part, imaginary part)`.
pub type Parts = (Value, Value);

/// A function of one or two complex arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Complex {
    /// `e^z`.
    Exp,
    /// The principal logarithm.
    Log,
    /// The principal square root.
    Sqrt,
    /// The sine.
    Sin,
    /// The cosine.
    Cos,
    /// `z^w = e^(w·log z)`, 1 for `w = 0`, and 0 for `z = 0` where `w` has a positive real part.
    Pow,
    /// `z/w`.
    Divide,
}

impl Complex {
    /// The number of arguments.
    pub fn arity(self) -> usize {
        match self {
            Complex::Pow | Complex::Divide => 2,
            _ => 1,
        }
    }

    /// Whether the function branches to a slow path (see the module above).
    pub fn has_branch(self) -> bool {
        matches!(self, Complex::Exp | Complex::Sin | Complex::Cos | Complex::Pow)
    }
}

/// Emits `function` at the builder's place; the type comes from the arguments.
///
/// # Panics
/// If the number of arguments is not [`Complex::arity`], or they are not floats of one type.
pub fn emit(
    builder: &mut FunctionBuilder<'_>,
    environment: &mut dyn Environment,
    function: Complex,
    arguments: &[Parts],
) -> Parts {
    assert_eq!(arguments.len(), function.arity(), "arguments of {function:?}");
    let flat: Vec<Value> = arguments.iter().flat_map(|&(re, im)| [re, im]).collect();
    let parts = on_vectors(builder, environment, &flat, |x| {
        let z = Number { re: x[0], im: x[1] };
        let result = match function {
            Complex::Exp => exp(z),
            Complex::Log => log(z),
            Complex::Sqrt => sqrt(z),
            Complex::Sin => sin(z),
            Complex::Cos => cos(z),
            Complex::Pow => pow(z, Number { re: x[2], im: x[3] }),
            Complex::Divide => divide(z, Number { re: x[2], im: x[3] }),
        };
        vec![result.re, result.im]
    });
    (parts[0], parts[1])
}

/// `|z|`, without overflow on the way.
pub fn emit_abs(builder: &mut FunctionBuilder<'_>, environment: &mut dyn Environment, z: Parts) -> Value {
    on_vectors(builder, environment, &[z.0, z.1], |x| vec![abs(Number { re: x[0], im: x[1] })])[0]
}

/// `e^(i·angle)`. Branches as the sine does.
pub fn emit_cis(builder: &mut FunctionBuilder<'_>, environment: &mut dyn Environment, angle: Value) -> Parts {
    let parts = on_vectors(builder, environment, &[angle], |x| {
        let (sine, cosine) = sin_cos(x[0]);
        vec![cosine, sine]
    });
    (parts[0], parts[1])
}

#[derive(Clone, Copy)]
struct Number<'e> {
    re: Float<'e>,
    im: Float<'e>,
}

/// `larger` and `smaller` magnitude times `2^-exponent`, which brings their squares into range.
struct Scaled<'e> {
    larger: Float<'e>,
    smaller: Float<'e>,
    /// Even.
    exponent: Float<'e>,
    /// `2^(exponent/2)`.
    half_scale: Float<'e>,
}

fn scaled(z: Number<'_>) -> Scaled<'_> {
    let (re, im) = (z.re.abs(), z.im.abs());
    let swap = re.lt(im);
    let (larger, smaller) = (swap.select(im, re), swap.select(re, im));
    let (limit, down, up) = z.re.either((60, 80, 90), (500, 600, 700));
    let (huge, tiny) = (larger.gt(larger.power(limit)), larger.lt(larger.power(-limit)));
    let pick =
        |high, low, middle| huge.select(larger.number(high), tiny.select(larger.number(low), larger.number(middle)));
    let scale = pick(2f64.powi(-down), 2f64.powi(up), 1.0);
    Scaled {
        larger: larger * scale,
        smaller: smaller * scale,
        exponent: pick(f64::from(down), f64::from(-up), 0.0),
        half_scale: pick(2f64.powi(down / 2), 2f64.powi(-up / 2), 1.0),
    }
}

/// `larger² + smaller²` in two parts.
fn square<'e>(z: &Scaled<'e>) -> Pair<'e> {
    let (a, b) = (Pair::product(z.larger, z.larger), Pair::product(z.smaller, z.smaller));
    Pair::fast_sum(a.high, b.high).nudge(a.low + b.low)
}

/// Where a part is infinite, infinity; else `value`.
fn or_infinite<'e>(z: Number<'e>, value: Float<'e>) -> Float<'e> {
    let infinity = value.number(f64::INFINITY);
    (z.re.abs().eq(infinity) | z.im.abs().eq(infinity)).select(infinity, value)
}

fn abs(z: Number<'_>) -> Float<'_> {
    let scaled = scaled(z);
    or_infinite(z, square(&scaled).round().sqrt() * scaled.half_scale * scaled.half_scale)
}

/// `e^high·(1 + low)`, as the product of a number with the cosine and sine of an angle: both parts go through the range.
fn polar<'e>(high: Float<'e>, low: Float<'e>, angle: Float<'e>) -> Number<'e> {
    let (least, most) = exp_range(high);
    // Up to twice as far as real results: a small sine brings them back.
    let inside = high.at_most(most + most).at_least(least + least);
    let low = inside.eq(high).select(low, high.number(0.0));
    let half = inside * high.number(0.5);
    let e = exp_pair(Pair::new(half, low * high.number(0.5)));
    let value = e.value.times(e.value).round();
    let (sine, cosine) = sin_cos(angle);
    let part = |factor: Float<'e>| e.apply(e.apply(factor * value));
    Number { re: part(cosine), im: part(sine) }
}

fn exp(z: Number<'_>) -> Number<'_> {
    polar(z.re, z.re.number(0.0), z.im)
}

fn log(z: Number<'_>) -> Number<'_> {
    let scaled = scaled(z);
    let zero = z.re.number(0.0);
    let sum = square(&scaled);
    // ln|z| = ln(|z|²)/2, whose exponent counts twice.
    let value = log_of_sum(sum, scaled.exponent + scaled.exponent) * z.re.number(0.5);
    let value = scaled.larger.eq(zero).select(z.re.number(f64::NEG_INFINITY), value);
    let value = z.re.unordered(z.im).select(z.re + z.im, value);
    Number { re: or_infinite(z, value), im: atan2(z.im, z.re) }
}

fn sqrt(z: Number<'_>) -> Number<'_> {
    let scaled = scaled(z);
    let (zero, half) = (z.re.number(0.0), z.re.number(0.5));
    // √z = a + i·b/2a with a = √((|z| + |re z|)/2), for a real part that is not negative; else the parts change places.
    let down = scaled.half_scale * scaled.half_scale;
    let modulus = square(&scaled).round().sqrt();
    let along = z.re.abs() / down;
    let root = ((modulus + along) * half).sqrt();
    let other = (z.im.abs() / down * half) / root;
    let none = root.eq(zero);
    let (root, other) = (root * scaled.half_scale, none.select(zero, other * scaled.half_scale));
    let behind = z.re.lt(zero);
    let infinity = z.re.number(f64::INFINITY);
    let endless = z.im.abs().eq(infinity);
    let re = endless.select(infinity, behind.select(other, root));
    let im = endless.select(infinity, behind.select(root, other)).flip(z.im.sign());
    Number { re, im }
}

/// The hyperbolic sine and cosine, each without a power that is the third.
fn hyperbolic(x: Float<'_>) -> (Float<'_>, Float<'_>, Power<'_>) {
    let (one, half, magnitude) = (x.number(1.0), x.number(0.5), x.abs());
    let far = magnitude.gt(x.number(x.either(20.0, 40.0)));
    let (_, most) = exp_range(x);
    // Beyond, both are half the exponential.
    let e = exp_pair(Pair::new(magnitude.at_most(most + one), x.number(0.0)));
    let large = e.value.round() * half;
    let grown = expm1(far.select(one, magnitude));
    let inverse = grown / (grown + one);
    let sinh = far.select(large, (grown + inverse) * half);
    let cosh = far.select(large, one + grown * inverse * half);
    (sinh.flip(x.sign()), cosh, e.power.or_one(far))
}

fn sin(z: Number<'_>) -> Number<'_> {
    let (sinh, cosh, power) = hyperbolic(z.im);
    let (sine, cosine) = sin_cos(z.re);
    Number { re: power.times(sine * cosh), im: power.times(cosine * sinh) }
}

fn cos(z: Number<'_>) -> Number<'_> {
    let (sinh, cosh, power) = hyperbolic(z.im);
    let (sine, cosine) = sin_cos(z.re);
    Number { re: power.times(cosine * cosh), im: power.times(-(sine * sinh)) }
}

/// `a·b + c·d` to about one rounding.
fn sum_of_products<'e>(a: Float<'e>, b: Float<'e>, c: Float<'e>, d: Float<'e>) -> Float<'e> {
    let second = Pair::product(c, d);
    a.fma(b, second.high) + second.low
}

fn pow<'e>(z: Number<'e>, w: Number<'e>) -> Number<'e> {
    let (zero, one) = (z.re.number(0.0), z.re.number(1.0));
    let l = log(z);
    let magnitude = sum_of_products(w.re, l.re, -w.im, l.im);
    let angle = sum_of_products(w.re, l.im, w.im, l.re);
    let value = polar(magnitude, zero, angle);
    let nothing = z.re.eq(zero) & z.im.eq(zero) & w.re.gt(zero);
    let unit = w.re.eq(zero) & w.im.eq(zero);
    Number { re: unit.select(one, nothing.select(zero, value.re)), im: (unit | nothing).select(zero, value.im) }
}

/// `2^-e` for a number around `2^e`, within the normal range.
fn inverse_power(x: Float<'_>) -> Float<'_> {
    let infinity = x.number(f64::INFINITY).bits();
    let field = x.bits() & infinity;
    let twice_bias = x.bits().number((2 * u64::from(x.bias())) << x.fraction_bits());
    (twice_bias - field).float()
}

fn divide<'e>(z: Number<'e>, w: Number<'e>) -> Number<'e> {
    let (re, im) = (w.re.abs(), w.im.abs());
    let larger = re.lt(im).select(im, re);
    // Within the normal range, and so that the inverse power is, too.
    let (least, most) = z.re.either((-126, 126), (-1022, 1022));
    let scale = inverse_power(larger.at_least(larger.power(least)).at_most(larger.power(most)));
    let (c, d) = (w.re * scale, w.im * scale);
    let below = c.fma(c, d * d);
    let re = sum_of_products(z.re, c, z.im, d) / below * scale;
    let im = sum_of_products(z.im, c, -z.re, d) / below * scale;
    // An infinite divisor gives zero, a zero one NaN.
    let zero = larger.number(0.0);
    let endless = larger.eq(larger.number(f64::INFINITY));
    Number { re: endless.select(z.re * zero, re), im: endless.select(z.im * zero, im) }
}
