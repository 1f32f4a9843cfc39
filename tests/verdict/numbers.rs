//! Counterexamples as they are printed, taken apart and run again.

use ssmc::analysis::verdict::counterexample::Outcome;
use ssmc::analysis::verdict::judge;
use ssmc::ir::{Instance, Layer, Type, ValueId, bind, interp};
use ssmc_runtime::{Bound, Elements, Sequences, Tensor};

/// Numbers are printed with six digits.
const PRECISION: f64 = 1e-5;

/// What a line says.
struct Printed {
    changed: String,
    values: [f64; 2],
    element: String,
    results: [f64; 2],
    combination: String,
    found: f64,
    expected: f64,
    given: Vec<(String, String)>,
}

fn number(text: &str) -> f64 {
    text.trim().parse().unwrap_or_else(|_| panic!("`{text}` is no number"))
}

/// The number behind the last ` = `, or the one that stands there alone.
fn result(text: &str) -> f64 {
    number(text.rsplit(" = ").next().unwrap())
}

fn parse(line: &str) -> Option<Printed> {
    let line = line.strip_prefix("counterexample: ")?;
    let (law, given) = line.split_once(", with ").unwrap_or((line, ""));
    let (first, second) = law.split_once("; ")?;
    let (changed, rest) = first.split_once(" = ")?;
    let (x, rest) = rest.split_once(" leads to ")?;
    let (of_x, rest) = rest.split_once(" for ")?;
    let (element, rest) = rest.split_once(&format!(", {changed} = "))?;
    let (y, of_y) = rest.split_once(" to ")?;
    let (combination, rest) = second.split_once(" leads to ")?;
    let (found, expected) = rest.split_once(", not to ")?;
    // Commas inside of brackets are no separators.
    let mut items = vec![String::new()];
    let mut depth = 0;
    for c in given.chars() {
        depth += i32::from(c == '[') - i32::from(c == ']');
        if c == ',' && depth == 0 { items.push(String::new()) } else { items.last_mut().unwrap().push(c) }
    }
    let pair = |item: &String| {
        let (name, value) = item.split_once(" = ")?;
        Some((name.trim().to_owned(), value.trim_matches(['[', ']']).to_owned()))
    };
    Some(Printed {
        changed: changed.to_owned(),
        values: [number(x), number(y)],
        element: element.to_owned(),
        results: [number(of_x), number(of_y)],
        combination: combination.to_owned(),
        found: number(found),
        expected: result(expected),
        given: items.iter().filter(|item| !item.is_empty()).map(pair).collect::<Option<_>>()?,
    })
}

/// A tensor of zeros, or of the numbers that are printed.
fn tensor(instance: &Instance, value: ValueId, before: &[usize], given: &[(String, String)]) -> Tensor<f64> {
    let shape: Vec<usize> = before.iter().chain(&instance.axes[value.at()]).copied().collect();
    let count: usize = shape.iter().product();
    let declared = instance.layer.value(value);
    let text = given.iter().find(|(name, _)| *name == declared.name).map(|(_, text)| text.as_str());
    let items: Vec<&str> = text.map_or(vec!["0"; count], |text| text.split(", ").collect());
    assert_eq!(items.len(), count, "`{}`", declared.name);
    let elements = match declared.ty {
        Type::Real => Elements::Real(items.iter().map(|x| number(x)).collect()),
        Type::Complex => {
            let part = |x: &str| match x.strip_suffix('i').and_then(|x| x.rfind(['+', '-']).map(|at| x.split_at(at))) {
                Some((re, im)) => (number(re), number(im)),
                None => (number(x), 0.0),
            };
            let (re, im) = items.iter().map(|x| part(x)).unzip();
            Elements::Complex { re, im }
        }
        Type::Bool => Elements::Bool(items.iter().map(|&x| u8::from(x == "true")).collect()),
        _ => Elements::Int(items.iter().map(|x| number(x) as i32).collect()),
    };
    Tensor { shape, elements }
}

/// A name with its part and its place: `re(h[0, 1])`.
fn place<'a>(instance: &Instance, name: &'a str) -> (&'a str, bool, Option<usize>) {
    let (inner, imaginary) = match (name.strip_prefix("re("), name.strip_prefix("im(")) {
        (Some(inner), _) => (inner.trim_end_matches(')'), false),
        (_, Some(inner)) => (inner.trim_end_matches(')'), true),
        _ => (name, false),
    };
    let inner = inner.trim_end_matches('\'');
    let Some((state, indices)) = inner.split_once('[') else { return (inner, imaginary, None) };
    let value = instance.layer.states.iter().find(|s| s.name == state).expect("it is a state").value;
    let axes = &instance.axes[value.at()];
    let indices = indices.trim_end_matches(']').split(", ").map(|x| number(x) as usize);
    (state, imaginary, Some(indices.zip(axes).fold(0, |at, (i, n)| at * n + i)))
}

/// Runs the step from one value of what is changed; gives the new element.
fn step(layer: &Layer, printed: &Printed, value: f64) -> f64 {
    let dims = layer.dims.iter().map(|dim| {
        let (_, text) = printed.given.iter().find(|(name, _)| *name == dim.name).expect("dimensions are printed");
        number(text) as i64
    });
    let instance = Instance::new(layer.clone(), dims.collect()).unwrap();
    let params = layer.params.iter().map(|p| Some(tensor(&instance, p.value, &[], &printed.given))).collect();
    let bound: Bound<f64> = bind::bind(&instance, params, 0).unwrap();
    let inputs: Vec<_> = layer.inputs.iter().map(|&i| tensor(&instance, i, &[1], &printed.given)).collect();
    let mut carry = interp::initial_carry(&instance, &bound, 1);
    carry.steps = vec![1];
    for (own, state) in carry.states.iter_mut().zip(&layer.states) {
        *own = tensor(&instance, state.value, &[1], &printed.given);
    }
    let names = printed.changed.trim_start_matches("every element of ");
    let names: Vec<&str> = if names == printed.changed { vec![names] } else { names.split(", ").collect() };
    for name in names {
        let (state, _, at) = place(&instance, name);
        let k = layer.states.iter().position(|s| s.name == state).expect("it is a state");
        let (Elements::Real(numbers) | Elements::Complex { re: numbers, .. }) = &mut carry.states[k].elements else {
            panic!("`{state}` has no numbers")
        };
        match at {
            Some(at) => numbers[at] = value,
            None => numbers.fill(value),
        }
    }
    interp::run(&instance, &bound, &Sequences::batch(1, 1), &inputs, &mut carry);
    let (state, imaginary, at) = place(&instance, &printed.element);
    let k = layer.states.iter().position(|s| s.name == state).expect("it is a state");
    match &carry.states[k].elements {
        Elements::Real(v) => v[at.unwrap_or(0)],
        Elements::Complex { re, im } => {
            let part = if imaginary { im } else { re };
            part[at.unwrap_or(0)]
        }
        _ => panic!("`{state}` has no numbers"),
    }
}

/// The combination that the line speaks of.
fn combine(combination: &str, [x, y]: [f64; 2]) -> f64 {
    let shift = || {
        let inner = combination.split(['(', ')']).nth(1).expect("it has operands");
        let (_, sum) = inner.split_once(", ").expect("it has two");
        match (sum.rsplit_once(" + "), sum.rsplit_once(" - ")) {
            (Some((_, c)), _) => number(c),
            (_, Some((_, c))) => -number(c),
            _ => panic!("`{sum}` adds nothing"),
        }
    };
    match combination {
        _ if combination.starts_with("their mean") => (x + y) / 2.0,
        _ if combination.starts_with("max") => x.max(y + shift()),
        _ if combination.starts_with("min") => x.min(y + shift()),
        _ if combination.starts_with("log") => ((x.exp() + y.exp()) / 2.0).ln(),
        _ => panic!("`{combination}` is no law"),
    }
}

/// Runs what is printed about the groups of a layer; gives how many lines there were, and those groups without.
pub fn check(source: &str, layer: &Layer) -> (usize, Vec<String>) {
    let (mut seen, mut without) = (0, Vec::new());
    for group in judge(layer).groups {
        let found = match group.counterexample {
            Some(Outcome::Found(found)) => found,
            Some(Outcome::None(why)) => {
                without.push(format!("{source}: {why}"));
                continue;
            }
            None => continue,
        };
        let line = found.text();
        if line.contains(" numbers") {
            continue; // a tensor is left out
        }
        let printed = parse(&line).unwrap_or_else(|| panic!("{source}: {line}"));
        let close = |x: f64, y: f64| (x - y).abs() <= PRECISION * (1.0 + y.abs());
        let [x, y] = printed.values;
        let results = [step(layer, &printed, x), step(layer, &printed, y)];
        assert!(close(results[0], printed.results[0]) && close(results[1], printed.results[1]), "{source}: {line}");
        let combined = combine(&printed.combination, printed.values);
        let word = printed.combination.rsplit([' ', '=']).next().expect("it ends with a number");
        assert!(close(combined, number(word)), "{source}: {line}");
        let of_both = step(layer, &printed, combined);
        let expected = combine(&printed.combination, results);
        assert!(close(of_both, printed.found) && close(expected, printed.expected), "{source}: {line}");
        assert!((of_both - expected).abs() > 5.0 * PRECISION, "{source}: the law holds in {line}");
        seen += 1;
    }
    (seen, without)
}
