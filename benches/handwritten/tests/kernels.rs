//! Every kernel on every instruction set against its recurrence in f64, at extents around the lane counts.

use ssmc_handwritten::finite_map::Table;
use ssmc_handwritten::random::Random;
use ssmc_handwritten::{Error, Isa, biquad, delta, diagonal, first_order, longhorn, mamba, s5, sdssm, ssd, viterbi};

/// Lengths of time: nothing, one, around passes and tiles (16, 32 and 64 steps).
const STEPS: [usize; 15] = [0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 67, 130];

/// Widths: nothing, one, around both lane counts and a line.
const WIDTHS: [usize; 10] = [0, 1, 3, 7, 8, 15, 16, 17, 40, 81];

fn isas() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_available())
}

/// Compares with f64: the largest difference over the largest magnitude.
fn close(what: &str, found: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(found.len(), want.len(), "{what}");
    let scale = want.iter().fold(1e-3_f64, |m, w| m.max(w.abs()));
    for (i, (found, want)) in found.iter().zip(want).enumerate() {
        let error = (f64::from(*found) - want).abs() / scale;
        assert!(error <= tolerance, "{what}: {found} for {want} at {i}, {error:.1e} of {scale:.1e}");
    }
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// Room for `n` values from the start of a line of the cache ([`line`]).
fn lined(n: usize) -> Vec<f32> {
    vec![0.0; n + 16]
}

fn line(of: &mut [f32], n: usize) -> &mut [f32] {
    let from = of.as_ptr().align_offset(64);
    &mut of[from..][..n]
}

/// The transpose of `[rows, columns]`.
fn transpose(x: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns).map(|i| x[i % rows * columns + i / rows]).collect()
}

struct MambaData {
    a: Vec<f32>,
    skip: Vec<f32>,
    bias: Vec<f32>,
    x: Vec<f32>,
    dt: Vec<f32>,
    z: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
    state: Vec<f32>,
}

impl MambaData {
    fn new(steps: usize, d: usize, n: usize, gates: bool) -> Self {
        let mut r = Random::new(7 + steps as u64);
        Self {
            a: r.uniforms(d * n, -4.0, -0.1),
            skip: r.normals(d),
            bias: r.uniforms(d, -3.0, -1.0),
            x: r.normals(steps * d),
            dt: if gates { r.normals(steps * d) } else { r.uniforms(steps * d, 0.001, 0.3) },
            z: if gates { r.normals(steps * d) } else { Vec::new() },
            b: r.normals(steps * n),
            c: r.normals(steps * n),
            state: r.normals(d * n),
        }
    }

    fn inputs(&self) -> mamba::Inputs<'_> {
        mamba::Inputs { x: &self.x, dt: &self.dt, z: &self.z, b: &self.b, c: &self.c }
    }

    /// Outputs and the last state, `[d, n]`.
    fn exact(&self, steps: usize, d: usize, n: usize) -> (Vec<f64>, Vec<f64>) {
        let (mut h, mut y) = (wide(&self.state), Vec::new());
        for t in 0..steps {
            for c in 0..d {
                let (x, mut dt) = (f64::from(self.x[t * d + c]), f64::from(self.dt[t * d + c]));
                if !self.z.is_empty() {
                    dt = (dt + f64::from(self.bias[c])).exp().ln_1p();
                }
                let mut sum = f64::from(self.skip[c]) * x;
                for k in 0..n {
                    let h = &mut h[c * n + k];
                    *h = (dt * f64::from(self.a[c * n + k])).exp() * *h + dt * x * f64::from(self.b[t * n + k]);
                    sum += *h * f64::from(self.c[t * n + k]);
                }
                if let Some(&z) = self.z.get(t * d + c) {
                    sum *= f64::from(z) / (1.0 + (-f64::from(z)).exp());
                }
                y.push(sum);
            }
        }
        (y, h)
    }
}

#[test]
fn mamba() {
    for (steps, d, n, gates) in STEPS
        .into_iter()
        .flat_map(|steps| [(steps, 40, 16, false), (steps, 17, 5, true)])
        .chain(
            WIDTHS
                .into_iter()
                .flat_map(|d| [(35, d, 16, true), (35, d, 21, false), (5, d, 3, false), (5, 17, d, true)]),
        )
        // Large enough to be streamed; a part of one line among them.
        .chain([(515, 1040, 16, false), (515, 1040, 5, false), (515, 1040, 1, true), (515, 1040, 0, false)])
    {
        let data = MambaData::new(steps, d, n, gates);
        let layer = mamba::Mamba::new(d, n, &data.a, &data.skip).unwrap();
        let layer = if gates { layer.with_gates(&data.bias).unwrap() } else { layer };
        let (want, last) = data.exact(steps, d, n);
        for (isa, threads) in isas().flat_map(|isa| [(isa, 1), (isa, 2)]) {
            let plain = isa == Isa::Plain;
            let mut state = if plain { data.state.clone() } else { transpose(&data.state, d, n) };
            let mut y = lined(steps * d);
            let y = line(&mut y, steps * d);
            layer.run(isa, threads, steps, &data.inputs(), &mut state, y).unwrap();
            let what = format!("mamba {steps} {d} {n} {isa} {threads}");
            close(&what, y, &want, 2e-6);
            let state = if plain { state } else { transpose(&state, n, d) };
            close(&what, &state, &last, 2e-6);
        }
    }
}

#[test]
fn decoder() {
    for (d, n) in WIDTHS.into_iter().filter(|d| *d > 0).flat_map(|d| [(d, 16), (d, 6), (d, 0)]) {
        let steps = 7;
        let mut data = MambaData::new(steps, d, n, true);
        data.state.fill(0.0);
        let layer = mamba::Mamba::new(d, n, &data.a, &data.skip).unwrap().with_gates(&data.bias).unwrap();
        let (want, last) = data.exact(steps, d, n);
        for isa in isas().filter(|&isa| isa != Isa::Plain) {
            let mut decoder = mamba::Decoder::new(layer.clone()).unwrap();
            let mut y = vec![0.0; steps * d];
            for (t, y) in y.chunks_exact_mut(d).enumerate() {
                let (row, states) = (t * d..(t + 1) * d, t * n..(t + 1) * n);
                let inputs = mamba::Inputs {
                    x: &data.x[row.clone()],
                    dt: &data.dt[row.clone()],
                    z: &data.z[row],
                    b: &data.b[states.clone()],
                    c: &data.c[states],
                };
                decoder.step(isa, &inputs, y).unwrap();
            }
            let state: Vec<f32> = (0..d * n).map(|i| decoder.state(i / n, i % n)).collect();
            close(&format!("decoder {d} {n} {isa}"), &y, &want, 2e-6);
            close(&format!("decoder {d} {n} {isa}"), &state, &last, 2e-6);
        }
    }
}

#[test]
fn diagonal_scan() {
    // The last is large enough to be streamed, if it comes to lie on a line.
    let extents = STEPS.into_iter().map(|t| (t, 40)).chain(WIDTHS.into_iter().map(|d| (35, d))).chain([(700, 1024)]);
    for (steps, d) in extents {
        let mut r = Random::new(3);
        let (a, b, start) = (r.uniforms(steps * d, -0.9, 1.0), r.normals(steps * d), r.normals(d));
        let mut h = wide(&start);
        let want: Vec<f64> = (0..steps * d)
            .map(|i| {
                h[i % d] = f64::from(a[i]) * h[i % d] + f64::from(b[i]);
                h[i % d]
            })
            .collect();
        for (isa, threads) in isas().flat_map(|isa| [(isa, 1), (isa, 2)]) {
            let mut state = start.clone();
            let mut y = lined(steps * d);
            diagonal::run(isa, threads, d, &a, &b, &mut state, line(&mut y, steps * d)).unwrap();
            close(&format!("diagonal {steps} {d} {isa} {threads}"), line(&mut y, steps * d), &want, 2e-6);
            close(&format!("diagonal {steps} {d} {isa} {threads}"), &state, &h, 2e-6);
        }
    }
}

#[test]
fn first_order_scans() {
    for len in (0..40).chain([63, 64, 65, 200, 4095, 4096, 9001, 600_000]) {
        let mut r = Random::new(11);
        let (a, x) = (r.uniforms(len, 0.8, 1.0), r.normals(len));
        for constant in [0.99, 0.3, -0.7, 0.0, 1.0] {
            let (mut s, b) = (0.5_f64, 0.25);
            let want: Vec<f64> = x
                .iter()
                .map(|&x| {
                    s = f64::from(constant) * s + b * f64::from(x);
                    s
                })
                .collect();
            for (isa, threads) in isas().flat_map(|isa| [(isa, 1), (isa, 2)]) {
                let mut y = lined(len);
                let y = line(&mut y, len);
                let last = first_order::constant(isa, threads, constant, b as f32, &x, 0.5, y).unwrap();
                // With a = 1 errors add up over the whole length.
                let tolerance = if constant == 1.0 { 1e-4 } else { 5e-6 };
                close(&format!("constant {constant} {len} {isa} {threads}"), y, &want, tolerance);
                assert_eq!(last, y.last().copied().unwrap_or(0.5));
            }
        }
        let mut s = 0.5_f64;
        let want: Vec<f64> = (0..len)
            .map(|i| {
                s = f64::from(a[i]) * s + f64::from(x[i]);
                s
            })
            .collect();
        for (isa, threads) in isas().flat_map(|isa| [(isa, 1), (isa, 2)]) {
            let mut y = lined(len);
            let y = line(&mut y, len);
            let last = first_order::varying(isa, threads, &a, &x, 0.5, y).unwrap();
            close(&format!("varying {len} {isa} {threads}"), y, &want, 2e-6);
            assert_eq!(last, y.last().copied().unwrap_or(0.5));
        }
    }
}

const SECTION: [f64; 5] = [0.0675, 0.1349, 0.0675, -1.143, 0.4128];

fn biquad_exact(c: impl Fn(usize) -> [f64; 5], x: &[f64]) -> Vec<f64> {
    let mut y: Vec<f64> = Vec::new();
    for t in 0..x.len() {
        let back = |of: &[f64], k: usize| t.checked_sub(k).map_or(0.0, |i| of[i]);
        let c = c(t);
        let drive = c[0] * x[t] + c[1] * back(x, 1) + c[2] * back(x, 2);
        y.push(drive - c[3] * back(&y, 1) - c[4] * back(&y, 2));
    }
    y
}

#[test]
fn biquads() {
    let narrow = SECTION.map(|c| c as f32);
    for len in (0..40).chain([63, 64, 65, 255, 256, 257, 1000, 4095, 4096, 9001]) {
        let mut r = Random::new(5);
        let x = r.normals(len);
        let (x64, want) = (wide(&x), biquad_exact(|_| narrow.map(f64::from), &wide(&x)));
        let arrays: Vec<Vec<f32>> =
            narrow.iter().map(|&c| (0..len).map(|_| c * r.uniform(1.0, 1.02)).collect()).collect();
        let arrays: [&[f32]; 5] = std::array::from_fn(|k| arrays[k].as_slice());
        let varying = biquad_exact(|t| arrays.map(|c| f64::from(c[t])), &x64);
        let section = narrow.map(f64::from);
        for (isa, threads) in isas().flat_map(|isa| [(isa, 1), (isa, 2)]) {
            let what = format!("biquad {len} {isa} {threads}");
            let mut y = vec![0.0; len];
            biquad::constant_f32(isa, threads, &narrow, &x, &mut y).unwrap();
            close(&what, &y, &want, 2e-6);
            let mut y64 = vec![0.0; len];
            biquad::constant_f64(isa, threads, &section, &x64, &mut y64).unwrap();
            let off = y64.iter().zip(&want).map(|(y, w)| (y - w).abs()).fold(0.0, f64::max);
            assert!(off < 1e-13, "{what}: {off:.1e}");
            biquad::varying(isa, arrays, &x, &mut y).unwrap();
            close(&what, &y, &varying, 2e-6);
        }
    }
}

#[test]
fn longhorn_scan() {
    let extents = STEPS
        .into_iter()
        .map(|t| (t, 40, 16))
        .chain(WIDTHS.into_iter().flat_map(|d| [(35, d, 16), (20, d, 7), (9, 20, d)]));
    // Large enough to be streamed; a part of one line among them.
    let extents = extents.chain([(515, 1040, 16), (515, 1040, 5)]);
    for (steps, d, n) in extents {
        let mut r = Random::new(9);
        let (x, beta, q) = (r.normals(steps * d), r.uniforms(steps * d, 0.0, 1.0), r.normals(steps * n));
        let (k, start) = (r.uniforms(steps * n, -0.8, 0.8), r.normals(d * n));
        let (mut s, mut want) = (wide(&start), Vec::new());
        for t in 0..steps {
            let norm: f64 = k[t * n..][..n].iter().map(|&k| f64::from(k).powi(2)).sum();
            for c in 0..d {
                let b = f64::from(beta[t * d + c]);
                let (e, mut sum) = (b / (1.0 + b * norm), 0.0);
                for j in 0..n {
                    let (k, s) = (f64::from(k[t * n + j]), &mut s[c * n + j]);
                    *s = (1.0 - e * k * k) * *s + e * f64::from(x[t * d + c]) * k;
                    sum += *s * f64::from(q[t * n + j]);
                }
                want.push(sum);
            }
        }
        let inputs = longhorn::Inputs { x: &x, beta: &beta, k: &k, q: &q };
        for (isa, threads) in isas().flat_map(|isa| [(isa, 1), (isa, 2)]) {
            let plain = isa == Isa::Plain;
            let mut state = if plain { start.clone() } else { transpose(&start, d, n) };
            let mut y = lined(steps * d);
            let y = line(&mut y, steps * d);
            longhorn::run(isa, threads, d, n, steps, &inputs, &mut state, y).unwrap();
            let what = format!("longhorn {steps} {d} {n} {isa} {threads}");
            close(&what, y, &want, 2e-6);
            close(&what, &if plain { state } else { transpose(&state, n, d) }, &s, 2e-6);
        }
    }
}

#[test]
fn delta_rule() {
    let extents = STEPS
        .into_iter()
        .map(|t| (t, 3, 20, 40))
        .chain(WIDTHS.into_iter().flat_map(|d| [(35, 2, d, 17), (20, 1, 9, d)]))
        // The last is large enough to be streamed.
        .chain([(130, 2, 64, 64), (131, 65, 5, 64)]);
    for (steps, heads, keys, values) in extents {
        let mut r = Random::new(13);
        let (q, mut k) = (r.normals(steps * heads * keys), r.normals(steps * heads * keys));
        for k in k.chunks_exact_mut(keys.max(1)) {
            let norm = k.iter().map(|k| k * k).sum::<f32>().sqrt().max(1e-3);
            k.iter_mut().for_each(|k| *k /= norm);
        }
        let (v, beta) = (r.normals(steps * heads * values), r.uniforms(steps * heads, 0.0, 1.0));
        let start = r.normals(heads * values * keys);
        let (mut s, mut want) = (wide(&start), Vec::new());
        for i in 0..steps * heads {
            for c in 0..values {
                let s = &mut s[(i % heads * values + c) * keys..][..keys];
                let read: f64 = (0..keys).map(|j| s[j] * f64::from(k[i * keys + j])).sum();
                let u = f64::from(beta[i]) * (f64::from(v[i * values + c]) - read);
                let mut sum = 0.0;
                for j in 0..keys {
                    s[j] += u * f64::from(k[i * keys + j]);
                    sum += s[j] * f64::from(q[i * keys + j]);
                }
                want.push(sum);
            }
        }
        let extents = delta::Extents { heads, keys, values };
        let row = extents.row();
        let inputs = delta::Inputs { q: &q, k: &k, v: &v, beta: &beta };
        for (isa, threads) in isas().flat_map(|isa| [(isa, 1), (isa, 2)]) {
            let mut state = start.clone();
            if isa != Isa::Plain {
                state = vec![0.0; extents.state_len()];
                for (i, &s) in start.iter().enumerate() {
                    let (head, value, key) = (i / keys / values, i / keys % values, i % keys);
                    state[(head * keys + key) * row + value] = s;
                }
            }
            let mut y = lined(steps * heads * values);
            let y = line(&mut y, steps * heads * values);
            delta::run(isa, threads, extents, steps, &inputs, &mut state, y).unwrap();
            if isa != Isa::Plain {
                let place = |i: usize| (i / keys / values * keys + i % keys) * row + i / keys % values;
                state = (0..start.len()).map(|i| state[place(i)]).collect();
            }
            let what = format!("delta {steps} {heads} {keys} {values} {isa} {threads}");
            close(&what, y, &want, 5e-6);
            close(&what, &state, &s, 5e-6);
        }
    }
}

#[test]
fn ssd_scan() {
    let extents = STEPS
        .into_iter()
        .map(|t| (t, 3, 40, 20, 0.3))
        .chain(WIDTHS.into_iter().flat_map(|d| [(35, 2, d, 17, 0.3), (20, 1, 9, d, 0.3)]))
        // Decays of which four would leave the range of quotients, and of 0.
        .chain([(130, 2, 64, 64, 0.3), (67, 2, 33, 5, 80.0), (67, 2, 33, 5, 1e4)])
        // Large enough to be streamed.
        .chain([(131, 65, 64, 5, 0.3)]);
    for (steps, heads, channels, states, rate) in extents {
        let mut r = Random::new(17);
        let x = r.normals(steps * heads * channels);
        let (dt, b, c) = (r.uniforms(steps * heads, 0.01, 0.5), r.normals(steps * states), r.normals(steps * states));
        let a: Vec<f32> = dt.iter().map(|dt| (-dt * rate).exp()).collect();
        let start = r.normals(heads * channels * states);
        let (mut h, mut want) = (wide(&start), Vec::new());
        for i in 0..steps * heads {
            for p in 0..channels {
                let (a, dx) = (f64::from(a[i]), f64::from(dt[i]) * f64::from(x[i * channels + p]));
                let mut sum = 0.0;
                for n in 0..states {
                    let at = i / heads * states + n;
                    let h = &mut h[(i % heads * channels + p) * states + n];
                    *h = a * *h + dx * f64::from(b[at]);
                    sum += *h * f64::from(c[at]);
                }
                want.push(sum);
            }
        }
        let extents = ssd::Extents { heads, channels, states };
        let row = extents.row();
        let inputs = ssd::Inputs { x: &x, dt: &dt, a: &a, b: &b, c: &c };
        for (isa, threads) in isas().flat_map(|isa| [(isa, 1), (isa, 2)]) {
            let place = |i: usize| (i / states / channels * states + i % states) * row + i / states % channels;
            let mut state = start.clone();
            if isa != Isa::Plain {
                state = vec![0.0; extents.state_len()];
                for (i, &s) in start.iter().enumerate() {
                    state[place(i)] = s;
                }
            }
            let mut y = lined(steps * heads * channels);
            let y = line(&mut y, steps * heads * channels);
            ssd::run(isa, threads, extents, steps, &inputs, &mut state, y).unwrap();
            if isa != Isa::Plain {
                state = (0..start.len()).map(|i| state[place(i)]).collect();
            }
            let what = format!("ssd {steps} {heads} {channels} {states} {rate} {isa} {threads}");
            close(&what, y, &want, 5e-6);
            close(&what, &state, &h, 5e-6);
        }
    }
}

#[test]
fn sdssm_scan() {
    let extents = STEPS
        .into_iter()
        .map(|t| (1, t, 20, 3))
        .chain(WIDTHS.into_iter().filter(|n| *n > 0).map(|n| (3, 11, n, 4)))
        .chain([(1, 100, 64, 8), (2, 17, 33, 1)]);
    for (batch, steps, n, mixed) in extents {
        let mut r = Random::new(19);
        // Scales beyond the table of exponents, on both sides; logits that need their maximum taken off.
        for (power, scale, shift) in [(1.2, 0.3, 0.0), (2.0, 50.0, 200.0), (1.0, 1e-9, 0.0), (3.5, 1.0, -100.0)] {
            let a: Vec<f32> = r.normals(mixed * n * n).into_iter().map(|a| a * scale).collect();
            let logits: Vec<f32> = r.normals(batch * steps * mixed).into_iter().map(|l| l + shift).collect();
            let (drive, start) = (r.normals(batch * steps * n), r.normals(batch * n));
            let (mut x, mut want) = (wide(&start), Vec::new());
            for t in 0..batch * steps {
                let logits = &logits[t * mixed..][..mixed];
                let weights: Vec<f64> = logits.iter().map(|l| f64::from(l - logits[0]).exp()).collect();
                let total: f64 = weights.iter().sum();
                let entry = |i: usize, j: usize| -> f64 {
                    (0..mixed).map(|k| weights[k] / total * f64::from(a[(k * n + i) * n + j])).sum()
                };
                let norm = |j: usize| {
                    (0..n).map(|i| entry(i, j).abs().powf(f64::from(power))).sum::<f64>().powf(1.0 / f64::from(power))
                };
                let x = &mut x[t / steps * n..][..n];
                let scaled: Vec<f64> = (0..n).map(|j| x[j] / norm(j)).collect();
                for i in 0..n {
                    x[i] = f64::from(drive[t * n + i]) + (0..n).map(|j| entry(i, j) * scaled[j]).sum::<f64>();
                }
                want.extend_from_slice(x);
            }
            let layer = sdssm::SdSsm::new(n, mixed, power, &a).unwrap();
            let inputs = sdssm::Inputs { logits: &logits, drive: &drive };
            for (isa, threads) in isas().flat_map(|isa| [(isa, 1), (isa, 2)]) {
                // A single loop has no table: its powers of small entries are subnormal.
                if isa == Isa::Plain && scale < 1e-3 {
                    continue;
                }
                let mut state = start.clone();
                let mut y = vec![0.0; batch * steps * n];
                layer.run(isa, threads, batch, steps, &inputs, &mut state, &mut y).unwrap();
                let what = format!("sdssm {batch} {steps} {n} {mixed} {power} {scale} {isa} {threads}");
                // Columns keep their norm, so what each step rounds stays.
                let tolerance = 5e-6 + 2e-7 * steps as f64;
                close(&what, &y, &want, tolerance);
                close(&what, &state, &x, tolerance);
            }
        }
    }
}

#[test]
fn s5_scan() {
    let extents = STEPS
        .into_iter()
        .map(|t| (t, 20, 33))
        .chain(WIDTHS.into_iter().flat_map(|d| [(70, d, 17), (20, 9, d)]))
        .chain([(300, 64, 128)]);
    for (steps, states, width) in extents {
        let mut r = Random::new(23);
        let polar: Vec<(f32, f32)> = (0..states).map(|_| (r.uniform(0.8, 0.999), r.uniform(0.0, 3.0))).collect();
        let ar: Vec<f32> = polar.iter().map(|(m, angle)| m * angle.cos()).collect();
        let ai: Vec<f32> = polar.iter().map(|(m, angle)| m * angle.sin()).collect();
        let [br, bi, cr, ci] = std::array::from_fn(|_| r.uniforms(states * width, -0.2, 0.2));
        let (d, u, start) = (r.normals(width), r.normals(steps * width), r.normals(2 * states));
        let (mut x, mut want) = (wide(&start), Vec::new());
        for t in 0..steps {
            let u: Vec<f64> = wide(&u[t * width..][..width]);
            for p in 0..states {
                let dot = |b: &[f32]| (0..width).map(|h| f64::from(b[p * width + h]) * u[h]).sum::<f64>();
                let (a, b, re, im) = (f64::from(ar[p]), f64::from(ai[p]), x[p], x[states + p]);
                (x[p], x[states + p]) = (a * re - b * im + dot(&br), a * im + b * re + dot(&bi));
            }
            for h in 0..width {
                let at = h * states;
                let sum: f64 =
                    (0..states).map(|p| f64::from(cr[at + p]) * x[p] - f64::from(ci[at + p]) * x[states + p]).sum();
                want.push(2.0 * sum + f64::from(d[h]) * u[h]);
            }
        }
        let layer = s5::S5::new(states, width, [&ar, &ai], [&br, &bi], [&cr, &ci], &d).unwrap();
        for (isa, threads) in isas().flat_map(|isa| [(isa, 1), (isa, 2)]) {
            let mut state = start.clone();
            let mut y = vec![0.0; steps * width];
            layer.run(isa, threads, steps, &u, &mut state, &mut y).unwrap();
            let what = format!("s5 {steps} {states} {width} {isa} {threads}");
            close(&what, &y, &want, 5e-6);
            close(&what, &state, &x, 5e-6);
        }
    }
}

#[test]
fn viterbi_scores() {
    for (steps, states) in STEPS
        .into_iter()
        .map(|t| (t, 40))
        .chain(WIDTHS.into_iter().filter(|n| *n > 0).map(|n| (21, n)))
        .chain([(50, 64)])
    {
        let mut r = Random::new(29);
        let (a, e) = (r.uniforms(states * states, -5.0, 0.0), r.uniforms(steps * states, -1.0, 0.0));
        let start = r.uniforms(states, -1.0, 0.0);
        let mut want = wide(&start);
        for e in e.chunks_exact(states) {
            want = (0..states)
                .map(|j| {
                    let arrive = |i: usize| want[i] + f64::from(a[i * states + j]);
                    (0..states).map(arrive).fold(f64::NEG_INFINITY, f64::max) + f64::from(e[j])
                })
                .collect();
        }
        for isa in isas() {
            let mut scores = start.clone();
            viterbi::run(isa, states, &a, &e, &mut scores).unwrap();
            close(&format!("viterbi {steps} {states} {isa}"), &scores, &want, 2e-6);
        }
    }
}

#[test]
fn finite_maps() {
    let mut r = Random::new(31);
    let mut maps = [[0_u8; 16]; 256];
    maps.iter_mut().flatten().for_each(|s| *s = (r.bits() >> 60) as u8);
    // Permutations too, so that not all states fall together.
    for map in maps.iter_mut().skip(1).step_by(2) {
        let turn = (r.bits() >> 60) as u8;
        *map = std::array::from_fn(|s| (s as u8 * 5 + turn) % 16);
    }
    let table = Table::new(&maps).unwrap();
    for (len, odd) in (0..70).chain([127, 1000, 1023, 5000]).flat_map(|len| [(len, false), (len, true)]) {
        // Odd tokens only: permutations.
        let tokens: Vec<u8> = (0..len).map(|_| (r.bits() >> 56) as u8 | u8::from(odd)).collect();
        for start in 0..16 {
            let mut want = usize::from(start as u8);
            for &token in &tokens {
                want = usize::from(maps[usize::from(token)][want]);
            }
            assert_eq!(usize::from(table.plain(&tokens, start as u8)), want);
            for (isa, threads) in isas().flat_map(|isa| [(isa, 1), (isa, 2)]) {
                assert_eq!(usize::from(table.compose(isa, threads, &tokens)[start]), want, "{len} {isa} {threads}");
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let length = |name, expected, found| Err(Error::Length { name, expected, found });
    assert_eq!(mamba::Mamba::new(2, 2, &[0.0; 3], &[0.0; 2]).map(|_| ()), length("a", 4, 3));
    assert_eq!(viterbi::run(Isa::best(), 2, &[0.0; 4], &[0.0; 3], &mut [0.0; 2]), length("e", 2, 3));
    assert_eq!(first_order::plain_varying(&[0.0; 2], &[0.0; 3], 0.0, &mut [0.0; 2]).map(|_| ()), length("b", 2, 3));
    assert!(matches!(Table::new(&[[16; 16]; 256]), Err(Error::Value { .. })));
    assert!(matches!(sdssm::SdSsm::new(1, 1, 0.5, &[1.0]), Err(Error::Value { .. })));
    assert!(matches!(sdssm::SdSsm::new(0, 1, 1.2, &[]), Err(Error::Value { .. })));
    assert!(matches!(viterbi::run(Isa::best(), 0, &[], &[], &mut []), Err(Error::Value { .. })));
    let layer = mamba::Mamba::new(1, 1, &[0.0], &[0.0]).unwrap();
    assert!(matches!(mamba::Decoder::new(layer), Err(Error::Value { .. })));
    let error = diagonal::plain(2, &[0.0; 4], &[0.0; 3], &mut [0.0; 2], &mut [0.0; 4]).unwrap_err();
    assert_eq!(error.to_string(), "expected 4 values in `b`, found 3");
}
