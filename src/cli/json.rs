//! Tensors of one step as JSON: nested arrays by shape, complex numbers as `[re, im]`, and strings for numbers that
//! are not finite.

use std::fmt::Write;

use serde_json::Value;
use ssmc_runtime::{Elements, Float, Tensor};

use super::tensors::Kind;

/// Reads a tensor of one step.
///
/// The result has the shape `[1, ..]`, as a run of one step takes it.
///
/// # Errors
/// What does not fit, with its place in the value.
pub fn read<F: Float>(value: &Value, shape: &[usize], kind: Kind) -> Result<Tensor<F>, String> {
    let elements = match kind {
        Kind::Real => {
            let mut values = Vec::new();
            each(value, shape, &mut |leaf| {
                values.push(real(leaf)?);
                Ok(())
            })?;
            Elements::Real(values)
        }
        Kind::Complex => {
            let (mut re, mut im) = (Vec::new(), Vec::new());
            each(value, shape, &mut |leaf| match leaf {
                Value::Array(parts) if parts.len() == 2 => {
                    re.push(real(&parts[0])?);
                    im.push(real(&parts[1])?);
                    Ok(())
                }
                other => Err(format!("expected a complex number as `[re, im]`, found {}", describe(other))),
            })?;
            Elements::Complex { re, im }
        }
        Kind::Int { .. } | Kind::Token { .. } => {
            let mut values = Vec::new();
            each(value, shape, &mut |leaf| {
                values.push(integer(leaf, kind.below())?);
                Ok(())
            })?;
            Elements::Int(values)
        }
        Kind::Bool => {
            let mut values = Vec::new();
            each(value, shape, &mut |leaf| match leaf {
                Value::Bool(value) => {
                    values.push(u8::from(*value));
                    Ok(())
                }
                other => Err(format!("expected true or false, found {}", describe(other))),
            })?;
            Elements::Bool(values)
        }
    };
    Ok(Tensor { shape: [&[1], shape].concat(), elements })
}

/// Visits the elements of nested arrays.
fn each(value: &Value, shape: &[usize], take: &mut dyn FnMut(&Value) -> Result<(), String>) -> Result<(), String> {
    let Some((&extent, rest)) = shape.split_first() else { return take(value) };
    let Value::Array(values) = value else {
        return Err(format!("expected an array of {extent}, found {}", describe(value)));
    };
    if values.len() != extent {
        return Err(format!("expected an array of {extent}, found one of {}", values.len()));
    }
    values.iter().enumerate().try_for_each(|(at, value)| {
        each(value, rest, take).map_err(|error| {
            // `[1][2]: expected ..`: places are put together from the inside out.
            let between = if error.starts_with('[') { "" } else { ": " };
            format!("[{at}]{between}{error}")
        })
    })
}

fn real<F: Float>(value: &Value) -> Result<F, String> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => return Ok(F::from_f64(f64::NAN)),
            "Infinity" => return Ok(F::from_f64(f64::INFINITY)),
            "-Infinity" => return Ok(F::from_f64(f64::NEG_INFINITY)),
            _ => None,
        },
        _ => None,
    };
    let Some(number) = number else {
        return Err(format!("expected a number, found {}", describe(value)));
    };
    let rounded = F::from_f64(number);
    if rounded.to_f64().is_infinite() {
        return Err(format!("{number:e} is beyond f{}", F::BITS));
    }
    Ok(rounded)
}

fn integer(value: &Value, below: Option<i64>) -> Result<i32, String> {
    let Some(number) = value.as_i64() else {
        return Err(format!("expected an integer, found {}", describe(value)));
    };
    match below {
        Some(below) if !(0..below).contains(&number) => Err(format!("{number} is not in the range 0 to {}", below - 1)),
        _ => i32::try_from(number).map_err(|_| format!("{number} does not fit into 32 bits")),
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("{:?}", text.chars().take(40).collect::<String>()),
        Value::Array(values) => format!("an array of {}", values.len()),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// Writes a tensor: nested arrays by shape.
pub fn write<F: Float>(shape: &[usize], elements: &Elements<F>, out: &mut String) {
    let mut next = 0;
    nest(shape, out, &mut |out| {
        match elements {
            Elements::Real(values) => write_real(values[next], out),
            Elements::Complex { re, im } => {
                out.push('[');
                write_real(re[next], out);
                out.push_str(", ");
                write_real(im[next], out);
                out.push(']');
            }
            Elements::Int(values) => _ = write!(out, "{}", values[next]),
            Elements::Byte(values) => _ = write!(out, "{}", values[next]),
            Elements::Bool(values) => out.push_str(if values[next] != 0 { "true" } else { "false" }),
        }
        next += 1;
    });
}

fn nest(shape: &[usize], out: &mut String, leaf: &mut dyn FnMut(&mut String)) {
    let Some((&extent, rest)) = shape.split_first() else { return leaf(out) };
    out.push('[');
    for at in 0..extent {
        if at > 0 {
            out.push_str(", ");
        }
        nest(rest, out, leaf);
    }
    out.push(']');
}

/// The shortest text that reads back as the same number.
fn write_real<F: Float>(value: F, out: &mut String) {
    let wide = value.to_f64();
    if wide.is_nan() {
        out.push_str("\"NaN\"");
    } else if wide.is_infinite() {
        out.push_str(if wide > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" });
    } else {
        let _ = write!(out, "{value:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str, shape: &[usize], kind: Kind) -> Result<String, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let tensor: Tensor<f32> = read(&value, shape, kind)?;
        let mut out = String::new();
        write(&tensor.shape[1..], &tensor.elements, &mut out);
        Ok(out)
    }

    #[test]
    fn tensors_come_back_as_they_were() {
        let real = |text: &str, shape: &[usize]| round_trip(text, shape, Kind::Real);
        assert_eq!(real("0.1", &[]).as_deref(), Ok("0.1"));
        assert_eq!(real("[1, -0.0, 1e30]", &[3]).as_deref(), Ok("[1.0, -0.0, 1e30]"));
        assert_eq!(real("[[1, 2], [3, 4]]", &[2, 2]).as_deref(), Ok("[[1.0, 2.0], [3.0, 4.0]]"));
        assert_eq!(real("[]", &[0]).as_deref(), Ok("[]"));
        let strings = "[\"NaN\", \"Infinity\", \"-Infinity\"]";
        assert_eq!(real(strings, &[3]).as_deref(), Ok(strings));
        let complex = round_trip("[[1, 2], [0.5, \"NaN\"]]", &[2], Kind::Complex);
        assert_eq!(complex.as_deref(), Ok("[[1.0, 2.0], [0.5, \"NaN\"]]"));
        assert_eq!(round_trip("[true, false]", &[2], Kind::Bool).as_deref(), Ok("[true, false]"));
        assert_eq!(round_trip("3", &[], Kind::Int { below: Some(4) }).as_deref(), Ok("3"));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_place() {
        let index = Kind::Int { below: Some(4) };
        for (text, shape, kind, expected) in [
            ("[[1, 2], [3, \"x\"]]", &[2, 2][..], Kind::Real, "[1][1]: expected a number, found \"x\""),
            ("[1, 2, 3]", &[2], Kind::Real, "expected an array of 2, found one of 3"),
            ("1", &[1], Kind::Real, "expected an array of 1, found 1"),
            ("1e300", &[], Kind::Real, "1e300 is beyond f32"),
            ("4", &[], index, "4 is not in the range 0 to 3"),
            ("-1", &[], index, "-1 is not in the range 0 to 3"),
            ("1.0", &[], index, "expected an integer, found 1.0"),
            ("18446744073709551615", &[], index, "expected an integer, found 18446744073709551615"),
            ("1", &[], Kind::Bool, "expected true or false, found 1"),
            ("[1]", &[], Kind::Complex, "expected a complex number as `[re, im]`, found an array of 1"),
            ("null", &[], Kind::Real, "expected a number, found null"),
        ] {
            assert_eq!(round_trip(text, shape, kind), Err(expected.to_owned()), "{text}");
        }
    }
}
