//! Inputs: pairs for functions of two arguments, and lines of reference values.

use ssmc::codegen::math::Elementary;

use super::exact;
use super::kernel::Kernel;

/// A number that looks random, from its index (the finaliser of SplitMix64, Steele et al. 2014).
pub fn scramble(index: u64) -> u64 {
    let mut z = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Arguments that hurt.
pub const SPECIAL: [f32; 40] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    2.0,
    -2.0,
    0.5,
    -0.5,
    3.0,
    -3.0,
    1.5,
    -1.5,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    f32::MAX,
    f32::MIN,
    f32::MIN_POSITIVE,
    -f32::MIN_POSITIVE,
    1e-45,
    -1e-45,
    1.175_494_2e-38,
    0.999_999_94,
    -0.999_999_94,
    1.000_000_1,
    -1.000_000_1,
    1e-10,
    -1e-10,
    88.722_83,
    88.722_84,
    -87.336_55,
    -103.972_08,
    -103.972_1,
    8_388_607.5,
    -8_388_607.5,
    16_777_215.0,
    16_777_216.0,
    -16_777_217.0,
    131_072.0,
    1e30,
];

/// Two arguments for a function: half of them within its busy range, the rest anywhere, or special.
#[allow(clippy::cast_possible_truncation)]
pub fn pair(function: Elementary, index: u64) -> (f32, f32) {
    let (a, b) = (scramble(2 * index), scramble(2 * index + 1));
    let unit = |bits: u64| (bits >> 11) as f64 / 2f64.powi(53);
    let anywhere = (f32::from_bits(a as u32), f32::from_bits(b as u32));
    match index % 8 {
        0 => (SPECIAL[a as usize % SPECIAL.len()], SPECIAL[b as usize % SPECIAL.len()]),
        1 => (SPECIAL[a as usize % SPECIAL.len()], anywhere.1),
        2 => (anywhere.0, SPECIAL[b as usize % SPECIAL.len()]),
        3 => anywhere,
        _ if function == Elementary::Pow => {
            // A result that neither overflows nor vanishes.
            let x = match index % 3 {
                0 => f32::from_bits((a as u32) & 0x7fff_ffff),
                1 => (unit(a) * 2.0) as f32,
                _ => (1.0 + (unit(a) - 0.5) * 2f64.powi(-((a % 20) as i32))) as f32,
            };
            let exponent = (unit(b) * 240.0 - 151.0) / f64::from(x).log2();
            (x, exponent as f32)
        }
        4 | 5 => ((unit(a) * 200.0 - 100.0) as f32, (unit(b) * 20.0 - 10.0) as f32),
        _ => {
            let y = anywhere.0;
            (y, y * ((unit(b) - 0.5) * 2f64.powi((b % 12) as i32)) as f32)
        }
    }
}

/// Arguments in f64, the result and what rounding took from it, in ulp.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub x: f64,
    pub y: f64,
    pub exact: f64,
    pub fraction: f64,
}

/// Reads `name x y result fraction`, floats as hexadecimal bits but for the last.
pub fn parse(line: &str) -> Option<(&str, Sample)> {
    let mut words = line.split(' ');
    let name = words.next()?;
    let mut bits = || Some(f64::from_bits(u64::from_str_radix(words.next()?, 16).ok()?));
    let (x, y, exact) = (bits()?, bits()?, bits()?);
    let fraction = words.next()?.parse().ok()?;
    Some((name, Sample { x, y, exact, fraction }))
}

/// The largest error over samples, where, and what came out.
pub fn worst(kernel: &Kernel<f64>, function: Elementary, samples: &[Sample]) -> (f64, Sample, f64) {
    let padded = samples.len().next_multiple_of(4);
    let sample = |i: usize| samples[i.min(samples.len() - 1)];
    let x: Vec<f64> = (0..padded).map(|i| sample(i).x).collect();
    let y: Vec<f64> = (0..padded).map(|i| sample(i).y).collect();
    let mut out = [Vec::new()];
    let inputs: &[&[f64]] = if function.arity() == 1 { &[&x] } else { &[&x, &y] };
    kernel.run(inputs, &mut out);
    let error = |i: &usize| exact::ulp_f64(out[0][*i], sample(*i).exact, sample(*i).fraction);
    let at = (0..samples.len()).max_by(|a, b| error(a).total_cmp(&error(b))).expect("samples");
    (error(&at), samples[at], out[0][at])
}
