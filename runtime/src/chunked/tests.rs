use super::*;

/// SplitMix64 as numbers from -1 to 1.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) as f64 / u64::MAX as f64 * 2.0 - 1.0
    }
}

/// What a case has: its extents, and how its decays and writes look.
#[derive(Clone, Copy, Debug)]
struct Case {
    shape: Shape,
    decay: Form,
    writes: usize,
    answers: bool,
    steps: usize,
    restart: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    One,
    Head,
    Key,
}

/// The factors of a case: for each how many elements a head has, and all elements by step and head.
struct Data {
    sizes: Vec<usize>,
    elements: Vec<Vec<f64>>,
    state: Vec<Vec<f64>>,
}

/// Decay, then for each write key, value, probe, scale; then two queries.
fn data(case: &Case) -> Data {
    let Shape { heads, keys, values, .. } = case.shape;
    let mut numbers = Numbers(7);
    let mut sizes = vec![if case.decay == Form::Key { keys } else { 1 }];
    (0..case.writes).for_each(|_| sizes.extend([keys, values, keys, if case.writes == 1 { 1 } else { values }]));
    sizes.extend([keys, keys]);
    let mut elements: Vec<Vec<f64>> =
        sizes.iter().map(|n| (0..n * heads * case.steps).map(|_| numbers.next()).collect()).collect();
    for (at, decay) in elements[0].iter_mut().enumerate() {
        // Some forget all, and some next to all.
        *decay = match at % 13 {
            4 => 0.0,
            9 => 1e-40,
            _ => 0.75 + 0.25 * *decay,
        };
    }
    // Keys of about unit length, so that answers do not grow.
    let scale = (3.0 / keys as f64).sqrt();
    for w in 0..case.writes {
        elements[1 + 4 * w].iter_mut().for_each(|x| *x *= scale);
        elements[3 + 4 * w].iter_mut().for_each(|x| *x *= scale);
        elements[4 + 4 * w].iter_mut().for_each(|x| *x *= 0.5);
    }
    let state = (0..heads).map(|_| (0..keys * values).map(|_| numbers.next()).collect()).collect();
    Data { sizes, elements, state }
}

/// Step after step: the rows of both reads, and the states at the end.
fn plain(case: &Case, data: &Data) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let Shape { heads, keys, values, .. } = case.shape;
    let mut found = vec![vec![0.0; case.steps * heads * values]; 2];
    let mut states = data.state.clone();
    for t in 0..case.steps {
        for (head, state) in states.iter_mut().enumerate() {
            let at = |f: usize, i: usize| {
                let n = data.sizes[f];
                data.elements[f][(t * heads + head) * n + i.min(n - 1)]
            };
            if case.restart && t % 20 == 5 {
                state.clone_from(&data.state[head]);
            }
            let contract = |state: &[f64], f: usize, v: usize| -> f64 {
                (0..keys).map(|k| at(f, k) * state[k * values + v]).sum()
            };
            let old = state.clone();
            let last = data.sizes.len() - 1;
            for k in 0..keys {
                for v in 0..values {
                    let decay = if case.decay == Form::One { 1.0 } else { at(0, k) };
                    let mut sum = decay * old[k * values + v];
                    for w in 0..case.writes {
                        let mut x = at(2 + 4 * w, v);
                        if case.answers {
                            x += at(4 + 4 * w, v) * contract(&old, 3 + 4 * w, v);
                        }
                        sum += at(1 + 4 * w, k) * x;
                    }
                    state[k * values + v] = sum;
                }
            }
            for v in 0..values {
                found[0][(t * heads + head) * values + v] = contract(state, last - 1, v);
                found[1][(t * heads + head) * values + v] = contract(&old, last, v);
            }
        }
    }
    (found, states)
}

fn close<F: Float>(what: &str, case: &Case, found: F, expected: f64, tolerance: f64) {
    let found = found.to_f64();
    assert!((found - expected).abs() <= tolerance * (1.0 + expected.abs()), "{what} of {case:?}: {found}, {expected}");
}

fn check<F: Float>(case: &Case, vectors: Vectors, tolerance: f64) {
    let Shape { heads, keys, values, .. } = case.shape;
    let data = data(case);
    let (expected, ends) = plain(case, &data);
    let accesses: Vec<Access> = data
        .sizes
        .iter()
        .map(|n| Access { row: n * heads, heads: (0..heads).map(|h| h * n).collect(), inner: (0..*n).collect() })
        .collect();
    let elements: Vec<Vec<F>> = data.elements.iter().map(|v| v.iter().map(|&x| F::from_f64(x)).collect()).collect();
    let factors: Vec<Factor<'_, F>> =
        elements.iter().zip(&accesses).map(|(elements, access)| Factor { elements, access, start: &[0] }).collect();
    let write = |w: usize| Write {
        key: 1 + 4 * w,
        value: Some(2 + 4 * w),
        answers: if case.answers { vec![Answer { probe: 3 + 4 * w, scale: Some(4 + 4 * w) }] } else { Vec::new() },
    };
    let last = data.sizes.len() - 1;
    let program = Program {
        shape: case.shape,
        decay: match case.decay {
            Form::One => Decay::One,
            Form::Head => Decay::Head(0),
            Form::Key => Decay::Key(0),
        },
        writes: (0..case.writes).map(write).collect(),
        reads: vec![Read { query: last - 1, after: true }, Read { query: last, after: false }],
        vectors,
    };
    let restarts: Vec<usize> = (0..case.steps).filter(|t| case.restart && t % 20 == 5).collect();
    let initial: Vec<State<F>> =
        data.state.iter().map(|state| case.shape.state(|k, v| F::from_f64(state[k * values + v]))).collect();
    let mut seen = Vec::new();
    for threads in [1, 2] {
        let units: Vec<Mutex<Unit<F>>> =
            initial.iter().map(|state| Mutex::new(Unit { state: state.clone(), rows: Vec::new() })).collect();
        let task = Task {
            lengths: &[case.steps],
            factors: &factors,
            restarts: std::slice::from_ref(&restarts),
            initial: &initial,
            threads,
        };
        program.run(&task, &units, &Workspace::default());
        let units: Vec<Unit<F>> = units.into_iter().map(|unit| unit.into_inner().expect("no task panics")).collect();
        for (head, unit) in units.iter().enumerate() {
            for (rows, expected) in unit.rows.iter().zip(&expected) {
                for t in 0..case.steps {
                    for v in 0..values {
                        let expected = expected[(t * heads + head) * values + v];
                        close("a read", case, rows[t * values + v], expected, tolerance);
                    }
                }
            }
            for k in 0..keys {
                for v in 0..values {
                    let expected = ends[head][k * values + v];
                    close("the state", case, case.shape.element(&unit.state, k, v), expected, tolerance);
                }
            }
        }
        seen.push(format!("{units:?}"));
    }
    assert_eq!(seen[0], seen[1], "threads change the result of {case:?}");
}

#[test]
fn blocks_agree_with_steps() {
    for vectors in Vectors::ALL.into_iter().filter(|v| v.is_here()) {
        for decay in [Form::One, Form::Head, Form::Key] {
            for (writes, answers) in [(1, false), (2, false), (1, true), (2, true)] {
                for (keys, values, block) in
                    [(5, 7, 16), (16, 16, 32), (33, 20, 48), (8, 1, 64), (0, 4, 16), (4, 0, 16)]
                {
                    for (steps, restart) in
                        [(0, false), (1, false), (block - 1, false), (block, true), (block + 1, false), (150, true)]
                    {
                        let shape = Shape { heads: 3, keys, values, block };
                        let case = Case { shape, decay, writes, answers, steps, restart };
                        check::<f64>(&case, vectors, 1e-11);
                        check::<f32>(&case, vectors, 2e-3);
                    }
                }
            }
        }
    }
}

/// What a later step brings does not reach an earlier one, be it infinite.
#[test]
fn nothing_comes_from_later_steps() {
    let shape = Shape { heads: 1, keys: 4, values: 3, block: 32 };
    let steps = 32;
    for poison in [f64::NAN, f64::INFINITY] {
        for decay in [Decay::Head(0), Decay::Key(0)] {
            let by_key = matches!(decay, Decay::Key(_));
            let access = |n: usize| Access { row: n, heads: vec![0], inner: (0..n).collect() };
            let accesses = [access(if by_key { 4 } else { 1 }), access(4), access(3)];
            let mut elements = [vec![0.5; steps * accesses[0].row], vec![0.5; steps * 4], vec![1.0; steps * 3]];
            elements[2][20 * 3 + 1] = poison;
            let factors: Vec<Factor<'_, f64>> = elements
                .iter()
                .zip(&accesses)
                .map(|(elements, access)| Factor { elements, access, start: &[0] })
                .collect();
            let program = Program {
                shape,
                decay,
                writes: vec![Write { key: 1, value: Some(2), answers: vec![Answer { probe: 1, scale: None }] }],
                reads: vec![Read { query: 1, after: true }, Read { query: 1, after: false }],
                vectors: Vectors::Narrow,
            };
            let units = [Mutex::new(Unit { state: shape.state(|_, _| 0.0), rows: Vec::new() })];
            let task = Task { lengths: &[steps], factors: &factors, restarts: &[], initial: &[], threads: 1 };
            program.run(&task, &units, &Workspace::default());
            let unit = units[0].lock().expect("no task panics");
            for t in 0..steps {
                for v in 0..3 {
                    let finite = |read: usize| unit.rows[read][t * 3 + v].is_finite();
                    assert_eq!(finite(0), v != 1 || t < 20, "step {t}, value {v}");
                    assert_eq!(finite(1), v != 1 || t < 21, "step {t}, value {v}");
                }
            }
        }
    }
}
