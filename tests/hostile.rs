//! Inputs that hurt: the front end neither panics nor takes long on any of them.

use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

use ssmc::{sema, syntax};

/// The number of layers and of diagnostics.
fn front_end(source: &str) -> (usize, usize) {
    let (file, mut diagnostics) = syntax::parse(source);
    let (layers, found) = sema::lower(&file);
    diagnostics.extend(found);
    (layers.len(), diagnostics.len())
}

/// Repeats a piece of text for each number below `count`.
fn each(count: usize, piece: impl Fn(usize) -> String) -> String {
    (0..count).map(piece).collect()
}

#[test]
fn large_programs_take_bounded_time() {
    let chain = |count: usize| {
        let functions = each(count, |i| format!("fn f{}(x) = f{i}(x)\n", i + 1));
        format!("fn f0(x) = x\n{functions}layer l {{ output y = f{count}(1) }}")
    };
    let statements = |count: usize, piece: &dyn Fn(usize) -> String| {
        format!("layer l(N) {{ input x[N]\n{} output y = x[0] }}", each(count, piece))
    };
    let programs: Vec<(&str, bool, String)> = vec![
        ("parentheses", false, {
            let (open, close) = ("(".repeat(10_000), ")".repeat(10_000));
            format!("layer l {{ output y = {open}1{close} }}")
        }),
        ("terms", false, format!("layer l {{ output y = 1{} }}", " + 1".repeat(100_000))),
        ("a line", false, format!("layer l {{ output y = {} }}", "x".repeat(10_000_000))),
        ("dims", true, format!("layer l({}) {{ output y = 1 }}", each(10_000, |i| format!("N{i},")))),
        ("lets", true, statements(10_000, &|i| format!("let a{i} = x[0] * {i}\n"))),
        (
            "lets of lets",
            true,
            statements(5_000, &|i| {
                let before = i.checked_sub(1).map_or("x[0]".to_owned(), |b| format!("a{b}"));
                format!("let a{i} = {before} + 1\n")
            }),
        ),
        ("integers of integers", false, {
            let lets = each(5_000, |i| match i {
                0 => "let a0 = 1\n".to_owned(),
                _ => format!("let a{i} = a{} + a{}\n", i - 1, i - 1),
            });
            format!("layer l(N) {{ input x[N]\n{lets} output y = x[a4999] + x[a40] }}")
        }),
        ("states", true, {
            let states = each(5_000, |i| format!("state h{i}[N] = 0 h{i}[n] <- h{i}[n] * x[n]\n"));
            format!("layer l(N) {{ input x[N]\n{states} }}")
        }),
        ("outputs", true, statements(5_000, &|i| format!("output a{i} = x[0] * {i}\n"))),
        ("unknown names", false, statements(5_000, &|i| format!("let a{i} = x{i}\n"))),
        ("failing accesses", false, statements(2_000, &|i| format!("let a{i}[n in N] = x[n + {i} + 1]\n"))),
        ("functions", false, chain(10_000)),
        ("guards", true, {
            let (open, close) = (each(80, |i| format!("if i != {i} then ")), " else 0".repeat(80));
            format!("layer l(N) {{ input x[N] output y[i in N] = {open}x[i]{close} }}")
        }),
    ];
    let mut slow = String::new();
    for (name, sound, text) in &programs {
        let before = Instant::now();
        let (layers, diagnostics) = front_end(text);
        let took = before.elapsed();
        println!("{name}: {took:?}");
        if (layers == 1 && diagnostics == 0) != *sound || diagnostics > 60 {
            let _ = writeln!(slow, "{name}: {layers} layers, {diagnostics} diagnostics");
        }
        // Generous: the machine may be busy, and what is quadratic takes minutes.
        if took > Duration::from_secs(20) {
            let _ = writeln!(slow, "{name} took {took:?}");
        }
    }
    assert!(slow.is_empty(), "{slow}");
}

/// A xorshift generator.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// Cuts a text into words, signs and spaces.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    for c in text.chars() {
        let word = c.is_alphanumeric() || c == '_';
        match pieces.last_mut() {
            Some(last) if word && last.ends_with(|l: char| l.is_alphanumeric() || l == '_') => {
                last.push(c);
            }
            _ => pieces.push(c.to_string()),
        }
    }
    pieces
}

#[test]
fn mutated_programs_do_not_panic() {
    let mut texts: Vec<Vec<String>> = Vec::new();
    let mut files: Vec<_> = fs::read_dir("examples")
        .expect("the examples are there")
        .map(|entry| entry.expect("an entry can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ssm"))
        .collect();
    files.sort();
    for path in files {
        texts.push(pieces(&fs::read_to_string(path).expect("an example can be read")));
    }
    for table in ["tests/right/programs.txt", "tests/wrong/programs.txt"] {
        let table = fs::read_to_string(table).expect("the table can be read");
        let programs = table.split("--- ").skip(1).filter_map(|case| case.split_once('\n'));
        texts.extend(programs.map(|(_, program)| pieces(&program.replace('@', ""))));
    }
    let words: Vec<String> = texts.concat();
    let mut rng = Rng(0x2545_F491_4F6C_DD1D);
    let start = Instant::now();
    for _ in 0..20_000 {
        if start.elapsed() > Duration::from_secs(15) {
            break;
        }
        let mut text = texts[rng.below(texts.len())].clone();
        for _ in 0..=rng.below(3) {
            let (at, other) = (rng.below(text.len()), rng.below(text.len()));
            match rng.below(4) {
                0 => text[at] = words[rng.below(words.len())].clone(),
                1 => text[at].clear(),
                2 => text.swap(at, other),
                _ => text.insert(at, text[other].clone()),
            }
        }
        front_end(&text.concat());
    }
    for _ in 0..2_000 {
        let count = 1 + rng.below(60);
        let soup = (0..count).map(|_| words[rng.below(words.len())].as_str());
        let soup: Vec<&str> = soup.collect();
        front_end(&format!("layer l(N) {{ output y = {} }}", soup.join(" ")));
    }
}
