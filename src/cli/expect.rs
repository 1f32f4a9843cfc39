//! Results against expected ones.
//!
//! An element passes where `|found - expected| <= atol + rtol * m`, with `m` the largest finite magnitude of the
//! expected tensor; where one of the two is not finite, only the same value passes. Integers and truth values
//! must be equal. Everything is compared in `f64`.

use ssmc::diag::{Code, Diagnostic};
use ssmc_runtime::{Elements, Float};

use super::files::{Files, Found};
use super::layout::Layout;
use super::results::{Named, Results, number, table};
use super::tensors::{Kind, shape_text};

/// How far off an element may be.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Times the largest expected magnitude.
    pub relative: f64,
    /// In any case.
    pub absolute: f64,
}

/// One comparison.
struct Compared {
    name: String,
    elements: usize,
    /// The largest error; infinite where one is finite and the other is not.
    error: f64,
    /// The largest finite expected magnitude.
    scale: f64,
    /// How many elements fail, and the first of them with what was found and expected.
    failed: usize,
    first: Option<(usize, String, String)>,
    place: String,
}

/// Compares every output and every final state that the files hold.
///
/// Returns the table of errors, and a diagnostic for each tensor that is past the tolerance.
///
/// # Errors
/// S403 where the files hold nothing to compare; S404, S405 and S406 where something cannot be compared.
pub fn compare<F: Float>(
    results: &Results<'_, F>,
    files: &mut Files,
    tolerance: Tolerance,
) -> Result<(String, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut compared = Vec::new();
    let mut errors = Vec::new();
    let outputs: Vec<Named<'_, F>> = results.outputs().collect();
    for named in &outputs {
        match compare_output(results, named, files, tolerance) {
            Ok(result) => compared.extend(result),
            Err(error) => errors.push(error),
        }
    }
    for named in results.states() {
        // A bare name is the output's, where there is one.
        let output = outputs.iter().any(|output| output.name == named.name);
        match compare_state(results, &named, output, files, tolerance) {
            Ok(result) => compared.extend(result),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    if compared.is_empty() {
        let place = format!("--expect {}", files.paths());
        let message = "there is nothing to compare: no output and no final state of the layer is in there";
        let names = results.returned().iter().map(|named| format!("`{}`", named.name)).collect::<Vec<_>>();
        let error = Diagnostic::error_at(Code::S403, place, message);
        return Err(vec![error.help(format!("the layer returns {}", names.join(", ")))]);
    }
    let failures = compared.iter().filter_map(|c| c.failure(tolerance)).collect();
    let rows = compared.iter().map(Compared::row);
    Ok((table(&["expected", "elements", "largest error", "over largest", ""], rows), failures))
}

impl Compared {
    fn row(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.elements.to_string(),
            format!("{:.3e}", self.error),
            self.relative(),
            if self.failed == 0 { "ok" } else { "FAILED" }.to_owned(),
        ]
    }

    fn relative(&self) -> String {
        if self.scale > 0.0 { format!("{:.3e}", self.error / self.scale) } else { "-".to_owned() }
    }

    fn failure(&self, tolerance: Tolerance) -> Option<Diagnostic> {
        let (at, found, expected) = self.first.as_ref()?;
        let message = format!(
            "`{}` is off: {} of {} elements are past the tolerance; element {at} is {found}, expected {expected} \
             (largest error {:.3e}, over the largest expected value {}, allowed {} and {} of it)",
            self.name,
            self.failed,
            self.elements,
            self.error,
            self.relative(),
            number(tolerance.absolute),
            number(tolerance.relative),
        );
        Some(Diagnostic::error_at(Code::S409, self.place.clone(), message))
    }
}

fn kind_of<F>(elements: &Elements<F>) -> Kind {
    match elements {
        Elements::Real(_) => Kind::Real,
        Elements::Complex { .. } => Kind::Complex,
        Elements::Int(_) | Elements::Byte(_) => Kind::Int { below: None },
        Elements::Bool(_) => Kind::Bool,
    }
}

/// Whether a file's shape is that of a result. What is not batched may have a batch axis of 1 there.
fn fits(shape: &[usize], result: &[usize], layout: &Layout) -> bool {
    let single = matches!(layout, Layout::Single { .. });
    shape == result || single && shape.split_first().is_some_and(|(&batch, rest)| batch == 1 && rest == result)
}

fn compare_state<F: Float>(
    results: &Results<'_, F>,
    named: &Named<'_, F>,
    is_output: bool,
    files: &mut Files,
    tolerance: Tolerance,
) -> Result<Option<Compared>, Diagnostic> {
    let role = format!("final.{}", named.name);
    let found = if is_output { files.find_exact(&role)? } else { files.find("final", named.name)? };
    let Some(found) = found else { return Ok(None) };
    let shape = files.shape(&found, kind_of(named.elements))?;
    if !fits(&shape, &named.shape, results.layout) {
        return Err(unlike(files, &found, &[&named.shape], &shape));
    }
    let at: Vec<usize> = (0..named.elements.len()).collect();
    elements(named, &role, &at, files, &found, tolerance).map(Some)
}

fn compare_output<F: Float>(
    results: &Results<'_, F>,
    named: &Named<'_, F>,
    files: &mut Files,
    tolerance: Tolerance,
) -> Result<Option<Compared>, Diagnostic> {
    let Some(found) = files.find("out", named.name)? else { return Ok(None) };
    let shape = files.shape(&found, kind_of(named.elements))?;
    let (lead, slice) = named.shape.split_at(named.lead);
    let seq = lead[named.lead - 1];
    let batch = &lead[..named.lead - 1];
    let kept = match files.find_exact(&format!("idx.{}", named.name))? {
        Some(idx) => time_steps(files, &idx, seq)?,
        None => (0..seq).collect(),
    };
    let whole = [batch, &[kept.len()], slice].concat();
    let last = [batch, slice].concat();
    let packed = matches!(results.layout, Layout::Packed(_));
    let steps: Vec<usize> = if fits(&shape, &whole, results.layout) {
        kept
    } else if packed || !fits(&shape, &last, results.layout) {
        let shapes: &[&[usize]] = if packed { &[&whole] } else { &[&whole, &last] };
        return Err(unlike(files, &found, shapes, &shape));
    } else {
        match seq.checked_sub(1) {
            Some(last) => vec![last],
            None => return Err(files.error(&found, Code::S404, "the run has no last step")),
        }
    };
    let row: usize = slice.iter().product();
    let sequences: usize = batch.iter().product();
    let mut at = Vec::with_capacity(sequences * steps.len() * row);
    for sequence in 0..sequences {
        for step in &steps {
            let start = (sequence * seq + step) * row;
            at.extend(start..start + row);
        }
    }
    elements(named, &format!("out.{}", named.name), &at, files, &found, tolerance).map(Some)
}

/// The time steps at which an output is held.
fn time_steps(files: &mut Files, idx: &Found, seq: usize) -> Result<Vec<usize>, Diagnostic> {
    if idx.entry.shape.len() != 1 {
        let message = format!("expected one axis, found {}", shape_text(&idx.entry.shape));
        return Err(files.error(idx, Code::S404, message));
    }
    let values = files.read_integers(idx)?;
    let mut steps = Vec::with_capacity(values.len());
    for (at, value) in values.into_iter().enumerate() {
        match usize::try_from(value) {
            Ok(step) if step < seq => steps.push(step),
            _ => {
                let message = format!("element {at} is {value}; the run has {seq} steps");
                return Err(files.error(idx, Code::S406, message));
            }
        }
    }
    Ok(steps)
}

fn unlike(files: &Files, found: &Found, expected: &[&[usize]], shape: &[usize]) -> Diagnostic {
    let expected: Vec<String> = expected.iter().map(|shape| shape_text(shape)).collect();
    let message = format!("the run gives {}, the file has {}", expected.join(" or "), shape_text(shape));
    files.error(found, Code::S404, message)
}

/// Compares the elements at these places with all that the file has.
fn elements<F: Float>(
    named: &Named<'_, F>,
    name: &str,
    at: &[usize],
    files: &mut Files,
    found: &Found,
    tolerance: Tolerance,
) -> Result<Compared, Diagnostic> {
    let expected: Elements<f64> = files.read(found, kind_of(named.elements))?;
    let mut compared = Compared {
        name: name.to_owned(),
        elements: at.len(),
        error: 0.0,
        scale: 0.0,
        failed: 0,
        first: None,
        place: files.place(found),
    };
    match (named.elements, &expected) {
        (Elements::Real(a), Elements::Real(b)) => {
            let pairs = || at.iter().zip(b).map(|(&i, b)| ([a[i].to_f64(), 0.0], [*b, 0.0]));
            compared.numbers(pairs, tolerance);
        }
        (Elements::Complex { re, im }, Elements::Complex { re: b_re, im: b_im }) => {
            let pairs = || {
                at.iter()
                    .zip(b_re.iter().zip(b_im))
                    .map(|(&i, (b_re, b_im))| ([re[i].to_f64(), im[i].to_f64()], [*b_re, *b_im]))
            };
            compared.numbers(pairs, tolerance);
        }
        (Elements::Int(a), Elements::Int(b)) => {
            compared.exact(at.iter().zip(b).map(|(&i, b)| (f64::from(a[i]), f64::from(*b))));
        }
        (Elements::Bool(a), Elements::Bool(b)) => {
            compared.exact(at.iter().zip(b).map(|(&i, b)| (f64::from(a[i]), f64::from(*b))));
        }
        _ => unreachable!("the file was read as what the run gave"),
    }
    Ok(compared)
}

impl Compared {
    fn numbers<I: Iterator<Item = ([f64; 2], [f64; 2])>>(&mut self, pairs: impl Fn() -> I, tolerance: Tolerance) {
        let finite = pairs().map(|(_, b)| b[0].hypot(b[1])).filter(|m| m.is_finite());
        self.scale = finite.fold(0.0, f64::max);
        let allowed = tolerance.absolute + tolerance.relative * self.scale;
        for (at, (a, b)) in pairs().enumerate() {
            let error = if a.iter().chain(&b).all(|x| x.is_finite()) {
                (a[0] - b[0]).hypot(a[1] - b[1])
            } else if same(a[0], b[0]) && same(a[1], b[1]) {
                0.0
            } else {
                f64::INFINITY
            };
            self.take(at, error, error <= allowed, || (complex(a), complex(b)));
        }
    }

    fn exact(&mut self, pairs: impl Iterator<Item = (f64, f64)>) {
        for (at, (a, b)) in pairs.enumerate() {
            self.scale = self.scale.max(b.abs());
            self.take(at, (a - b).abs(), a == b, || (a.to_string(), b.to_string()));
        }
    }

    fn take(&mut self, at: usize, error: f64, passes: bool, text: impl FnOnce() -> (String, String)) {
        self.error = self.error.max(error);
        if !passes {
            self.failed += 1;
            if self.first.is_none() {
                let (found, expected) = text();
                self.first = Some((at, found, expected));
            }
        }
    }
}

fn same(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan())
}

fn complex([re, im]: [f64; 2]) -> String {
    if im == 0.0 { re.to_string() } else { format!("{re} + {im}i") }
}
