//! The syntax: filetests of trees, formatting, and inputs that hurt.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use ssmc::diag::{Code, Diagnostic, render::render};
use ssmc::syntax::{self, ast};

/// The files of a folder below `tests/` that end in `.ssm`, in order.
fn programs(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder exists")
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ssm"))
        .collect();
    paths.sort();
    paths
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("the file can be read")
}

fn codes(source: &str) -> Vec<Code> {
    syntax::parse(source).1.iter().map(|diagnostic| diagnostic.code).collect()
}

/// The tree of an expression that stands alone.
fn expression(text: &str) -> String {
    let (file, diagnostics) = syntax::parse(&format!("fn f() = {text}"));
    assert_eq!(diagnostics, [], "{text}");
    let dump = syntax::dump_ast(&file);
    dump.strip_prefix("(fn f [] ").and_then(|dump| dump.strip_suffix(")\n")).expect("one function").to_owned()
}

/// Each file's first line is `# test parse`; the comments `#>` at its end hold the dump of its tree.
#[test]
fn files() {
    let mut failed = Vec::new();
    for path in programs("files/parse") {
        let text = read(&path);
        assert!(text.starts_with("# test parse\n"), "{}", path.display());
        let end = text.find("\n#>").map_or(text.len(), |at| at + 1);
        let source = text[..end].trim_end();
        let dump = syntax::dump_ast(&syntax::parse(source).0);
        let mut expected = format!("{source}\n\n");
        for line in dump.lines() {
            expected += &format!("#> {line}\n");
        }
        if text != expected {
            if std::env::var_os("BLESS").is_some() {
                fs::write(&path, &expected).expect("the file can be written");
            } else {
                failed.push(format!("{}:\n{expected}", path.display()));
            }
        }
    }
    assert!(failed.is_empty(), "run with BLESS=1 to accept:\n{}", failed.join("\n"));
}

#[test]
fn only_the_file_on_recovery_has_errors() {
    for path in programs("files/parse") {
        let source = read(&path);
        let shown: Vec<String> =
            syntax::parse(&source).1.iter().map(|found| render(found, &path.to_string_lossy(), &source)).collect();
        assert_eq!(!shown.is_empty(), path.ends_with("recovery.ssm"), "{}", shown.join("\n"));
    }
}

#[test]
fn errors_are_reported_once_each() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files/parse/recovery.ssm");
    let source = read(&path);
    let lines: Vec<usize> = syntax::parse(&source)
        .1
        .iter()
        .map(|found| {
            let start = found.primary.as_ref().map_or(0, |label| label.span.start);
            source[..start as usize].matches('\n').count() + 1
        })
        .collect();
    assert_eq!(lines, [3, 5, 7, 8, 8, 9, 11, 11, 12, 13, 15, 17, 20, 21]);
}

#[test]
fn precedence() {
    for (text, expected) in [
        ("-x^2", "(neg (^ x 2))"),
        ("2^-x", "(^ 2 (neg x))"),
        ("a^b^c", "(^ a (^ b c))"),
        ("a - b - c", "(- (- a b) c)"),
        ("-a * b", "(* (neg a) b)"),
        ("not a == b", "(not (== a b))"),
        ("a or b and c", "(or a (and b c))"),
        ("a + if c then x else y + 1", "(+ a (if c x (+ y 1)))"),
        ("a < -b", "(< a (neg b))"),
    ] {
        assert_eq!(expression(text), expected, "{text}");
    }
}

/// Formats, checks what formatting promises, and gives the text.
fn formatted(source: &str) -> String {
    let text = syntax::format(source).unwrap_or_else(|found| panic!("{found:?}\n{source}"));
    let comments = |text: &str| {
        let mut comments: Vec<String> =
            text.lines().filter_map(|line| line.find('#').map(|at| line[at..].trim_end().to_owned())).collect();
        comments.sort();
        comments
    };
    let tree = |text: &str| syntax::dump_ast(&syntax::parse(text).0);
    assert_eq!(tree(source), tree(&text), "{source}\n{text}");
    assert_eq!(comments(source), comments(&text));
    assert_eq!(syntax::format(&text).as_deref(), Ok(text.as_str()), "formatting twice changes the text");
    assert!(!text.contains("\n\n\n") && !text.contains(" \n"), "{text}");
    text
}

#[test]
fn formatting_keeps_trees_and_comments() {
    let corpus = programs("files/parse").into_iter().filter(|path| !path.ends_with("recovery.ssm"));
    for path in corpus.chain(programs("../examples")) {
        formatted(&read(&path));
    }
}

#[test]
fn formatting_normalises() {
    let source = "
# about f
fn f ( x,y )=x^ - y   # power


# about l
layer l(D,N=16,){ # open

  # the matrix
  param A [ D,N ] :complex from \"x\"=1,B[d in D]=-( d+1 )
  state h[D]=0 reverse   let g=h [ 0 ]
    h[d]<-if x[d]< -1 then(a)else sum[ n in N ]( A[d,n] *-x[n] )  # trailing
    # inside the layer
    output y[d] =  # why
      h[d] +
      # the rest
      g

    reset when(not a)or first
  # last
}
# end";
    let expected = "\
# about f
fn f(x, y) = x^-y  # power

# about l
layer l(D, N = 16,) {  # open
    # the matrix
    param A[D, N]: complex from \"x\" = 1, B[d in D] = -(d + 1)
    state h[D] = 0 reverse
    let g = h[0]
    h[d] <- if x[d] < -1 then (a) else sum[n in N](A[d, n] * -x[n])  # trailing
    # inside the layer
    output y[d] =  # why
            h[d] +
            # the rest
            g

    reset when (not a) or first
    # last
}
# end
";
    assert_eq!(formatted(source), expected);
    assert_eq!(formatted(""), "");
    assert_eq!(formatted("# a\n\n\n\n# b"), "# a\n\n# b\n");
    assert_eq!(formatted("layer a{}"), "layer a {\n}\n");
}

#[test]
fn long_lines_break_at_the_outermost_operator() {
    let source = "layer l { S[d, n] <- diagonal(argmin[Z](sum[d, n]((Z[d, n] - S[d, n]) ^ 2) + sum[d](beta[d] * (sum[n](Z[d, n] * k[n]) - x[d]) ^ 2))) }";
    let expected = "\
layer l {
    S[d, n] <- diagonal(argmin[Z](sum[d, n]((Z[d, n] - S[d, n])^2)
            + sum[d](beta[d] * (sum[n](Z[d, n] * k[n]) - x[d])^2)))
}
";
    assert_eq!(formatted(source), expected);
    let names: Vec<String> = (0..60).map(|number| format!("weight_{number}[D, N]")).collect();
    let text = formatted(&format!("layer l {{ param {} }}", names.join(", ")));
    assert!(text.lines().all(|line| line.len() <= 100), "{text}");
    let terms: Vec<String> = (0..60).map(|number| format!("a[{number}] * b")).collect();
    let text = formatted(&format!("layer l {{ let x = {} }}", terms.join(" + ")));
    assert!(text.lines().all(|line| line.len() <= 100), "{text}");
    formatted(&format!("layer l {{ let x = {} }}", "long".repeat(100)));
}

/// Parses, formats and renders; panics and runaway times are what it looks for.
fn survives(source: &str) -> Vec<Diagnostic> {
    let start = Instant::now();
    let (file, diagnostics) = syntax::parse(source);
    let _ = syntax::dump_ast(&file);
    let _ = syntax::format(source);
    for diagnostic in &diagnostics {
        let text = render(diagnostic, "hostile.ssm", source);
        assert!(text.len() < 4000, "{}", text.len());
    }
    assert!(diagnostics.len() <= syntax::MAX_DIAGNOSTICS + 1);
    // Not a measurement: only what grows with the square of the input takes this long.
    assert!(start.elapsed() < Duration::from_secs(30));
    diagnostics
}

#[test]
fn nesting_is_limited() {
    let deep = |open: &str, close: &str, count: usize| {
        let source = format!("layer l {{ let x = {}a{} }}", open.repeat(count), close.repeat(count));
        survives(&source).iter().map(|diagnostic| diagnostic.code).collect::<Vec<_>>()
    };
    for (open, close) in [
        ("(", ")"),
        ("f(", ")"),
        ("a[", "]"),
        ("sum[i](", ")"),
        ("-", ""),
        ("not ", ""),
        ("a^", ""),
        ("a + ", ""),
        ("if a then ", " else b"),
        ("if a then b else ", ""),
        ("a + if c then b else ", ""),
    ] {
        assert_eq!(deep(open, close, 10_000), [Code::S105], "{open}");
        assert_eq!(deep(open, close, 100_000), [Code::S105], "{open}");
        assert_eq!(deep(open, close, ast::MAX_DEPTH as usize / 4), [], "{open}");
    }
    assert_eq!(deep("a + ", "", 250), []);
    assert!(deep("(", "", 100_000).contains(&Code::S105));
    deep("", ")", 100_000);
    deep("[", ")", 100_000);
}

#[test]
fn large_inputs_end() {
    for unit in
        ["a+", "$", "é", "(", "a ", "h[d] <- ", "layer a {", "}", "let ", "stat x\n", "\"", "1.", "a\n", "a[b] <-\n"]
    {
        survives(&unit.repeat(100_000));
        survives(&format!("layer a {{ let x = {}", unit.repeat(100_000)));
    }
    let line = format!("layer a {{ let x = {} ]", " ".repeat(10 << 20));
    assert!(!survives(&line).is_empty());
    assert!(!survives(&format!("layer a {{ let x = {} ]", "a+".repeat(200_000))).is_empty());
    assert_eq!(codes(&" ".repeat((16 << 20) + 1)), [Code::S408]);
}

#[test]
fn the_number_of_errors_is_limited() {
    let found = survives(&format!("layer a {{ {} }}", "let x = ]\n".repeat(1000)));
    assert_eq!(found.len(), syntax::MAX_DIAGNOSTICS + 1);
    assert_eq!(found.last().map(|last| last.severity), Some(ssmc::diag::Severity::Note));
}

#[test]
fn rendering_cuts_long_lines() {
    let source =
        format!("layer a {{ {} let x = ] {} }}", "é".repeat(5_000_000).replace('é', " "), "a".repeat(5_000_000));
    let (_, found) = syntax::parse(&source);
    let text = render(&found[0], "long.ssm", &source);
    assert!(text.lines().all(|line| line.chars().count() < 260), "{text}");
    assert!(text.contains("--> long.ssm:1:5000020") && text.contains('^'), "{text}");
}

fn pieces() -> impl Strategy<Value = String> {
    let words = [
        "layer", "fn", "param", "input", "state", "let", "output", "reset", "when", "if", "then", "else", "in", "and",
        "or", "not", "true", "complex", "index", "bool", "reverse", "from", "first", "x", "h", "sum", "1", "2.5i",
        "\"k\"", "<-", "+", "-", "*", "^", "<", "==", "=", "(", ")", "[", "]", "{", "}", ",", ":", "# c\n", "\n",
        "\n\n", "é", "$",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..60).prop_map(|words| words.join(" "))
}

fn expressions() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "x",
        "dt[d]",
        "1",
        "0.5",
        "2i",
        "true",
        "first",
        "A[d, n - 1]",
        "a_rather_long_name[d]",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(5, 40, 3, |inner| {
        let operators =
            vec!["+", "-", "*", "/", "//", "%", "^", "<", "==", "and", "or", "# c\n+", "\n-", "* # d\n\n # e\n"];
        prop_oneof![
            (inner.clone(), prop::sample::select(operators), inner.clone())
                .prop_map(|(a, op, b)| format!("({a}) {op} ({b})")),
            inner.clone().prop_map(|e| format!("-({e})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("f({a},\n{b})")),
            inner.clone().prop_map(|e| format!("sum[j in N, k]({e})")),
            (inner.clone(), inner.clone(), inner).prop_map(|(c, a, b)| format!("if {c} then {a} else {b}")),
        ]
        .prop_map(|text| if text.starts_with("if") { format!("({text})") } else { text })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_ends_in_a_tree(text in "\\PC*") {
        survives(&text);
    }

    #[test]
    fn any_tokens_end_in_a_tree(text in pieces()) {
        survives(&text);
        if syntax::format(&text).is_ok() {
            formatted(&text);
        }
    }

    #[test]
    fn formatting_is_stable(bodies in prop::collection::vec(expressions(), 1..4)) {
        let mut source = "layer l(D) { # open\n".to_owned();
        for body in bodies {
            source += &format!("  let x = {body} # behind\n\n\n # own\n h[d] <- {body}");
        }
        formatted(&(source + "}"));
    }
}
