//! Wrong programs, wrong commands and damaged files through the binary, under limits of memory and time: each ends
//! with exit code 1, a diagnostic and its place (2 for wrong usage), and leaves nothing behind.

#![cfg(unix)]

mod command;
#[path = "command/limited.rs"]
mod limited;

use command::Ran;
use limited::{Directory, Raw};
use safetensors::tensor::Dtype;

const PROGRAM: &str = "
layer a(D, G = 1) {
    param k[D], table[4]: index(4), w: complex = 1
    input x[D], tok: index(4), go: bool
    state h[D] = 0, s: index(4), z: complex = 1i, seen: bool
    reset when go
    h[d] <- k[d] * h[d] + past(x[d], 2) + x[d // (D // G)]
    s <- table[(s + tok) % 4]
    z <- z * w + x[0]
    seen <- seen or tok == 3
    output y[d] = h[d], s, z, seen
}
layer clock(N = 1) { state t[N] = 0 t[n] <- t[n] + 1 output t }
layer wide(N) { param a[N] = normal(0, 1), b[n in N] = a[n] output y = sum[n](b[n]) }
layer hidden(N) { state h = 0 let g[a in N] = a * h, f[a in N] = g[N - 1 - a] h <- sum[a](f[a]) }
layer deep(N) { state h = 1 h <- h + past(1, N) output h }
layer poles(N) { param p[n in N]: complex = hippo_n(N)[n] output y[n] = p[n] }
layer short(N) { input x[N - 1] state h = 0 h <- h + 1 }
layer back { input x state b = 0 reverse b <- b + x output b }
";

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn i64s(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

const GOOD: &str = "--params @p.safetensors --input @x.safetensors";

fn here() -> Directory {
    let here = Directory::new();
    here.write("p.ssm", PROGRAM);
    here.tensors(
        "p.safetensors",
        &[("k", Dtype::F32, &[2], f32s(&[0.5, 0.25])), ("table", Dtype::U8, &[4], vec![1, 2, 3, 0])],
    );
    let x = f32s(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let rest: [Raw<'_>; 2] = [("tok", Dtype::U8, &[3], vec![0, 3, 1]), ("go", Dtype::BOOL, &[3], vec![0, 0, 1])];
    here.tensors("x.safetensors", &[("x", Dtype::F32, &[3, 2], x), rest[0].clone(), rest[1].clone()]);
    here
}

fn run(here: &Directory, args: &str) -> Ran {
    here.ssmc(&format!("run @p.ssm --layer a {args}"), b"")
}

#[test]
fn wrong_programs_are_refused_with_a_place() {
    let here = Directory::new();
    let table = std::fs::read_to_string("tests/wrong/programs.txt").expect("the table can be read");
    let cases: Vec<&str> = table.split("\n--- ").skip(1).collect();
    assert!(cases.len() >= 200, "only {} programs", cases.len());
    for case in cases {
        let (head, text) = case.split_once('\n').expect("a head and a program");
        here.write("wrong.ssm", text.replace('@', ""));
        let ran = here.ssmc("check @wrong.ssm", b"");
        ran.refused(head);
        // The place is one of the program.
        assert!(ran.err.contains("wrong.ssm:") && ran.err.contains(&head[..4]), "{head}: {}", ran.err);
    }
}

#[test]
fn hostile_programs_are_refused_in_short() {
    let here = Directory::new();
    let nested =
        |open: &str, close: &str| format!("layer l {{ output y = {}1{} }}", open.repeat(10_000), close.repeat(10_000));
    let long = "x".repeat(10_000_000);
    let programs: Vec<(&str, Vec<u8>)> = vec![
        ("a line of 10 MB", format!("layer l {{ output y = {long} }}").into_bytes()),
        ("long names alike", format!("layer l {{ input {long} output y = {long}x }}").into_bytes()),
        ("a long number", format!("layer l {{ output y = {} }}", "9".repeat(10_000_000)).into_bytes()),
        ("a long string", format!("layer l {{ param a from \"{long}\" = z output y = a }}").into_bytes()),
        ("spaces", format!("layer l {{ output y = {}@ }}", " ".repeat(10_000_000)).into_bytes()),
        ("a long comment", format!("#{long}\nlayer l {{ output y = z }}").into_bytes()),
        ("parentheses", nested("(", ")").into_bytes()),
        ("open parentheses", nested("(", "").into_bytes()),
        ("closed parentheses", nested("", ")").into_bytes()),
        ("brackets", nested("x[", "]").into_bytes()),
        ("signs", nested("-", "").into_bytes()),
        ("negations", nested("not ", "").into_bytes()),
        ("powers", nested("2 ^ ", "").into_bytes()),
        ("conditions", nested("if true then ", " else 2").into_bytes()),
        ("binders", nested("sum[i in 1](", ")").into_bytes()),
        ("calls", nested("exp(", ")").into_bytes()),
        ("tokens", format!("layer l {{ output y = 1{} }}", " + 1".repeat(600_000)).into_bytes()),
        ("layers", "layer l {".repeat(10_000).into_bytes()),
        ("not UTF-8", b"layer l { output y = \xff }".to_vec()),
        ("half a character", b"layer l { output y = 1 } \xf0\x9f".to_vec()),
        ("zeros", vec![0; 100_000]),
        ("UTF-16", "layer l {}".encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("an archive", std::fs::read("examples/data/mamba.safetensors").expect("a file")),
        ("a carriage return", b"layer l {\r output y = \r z }".to_vec()),
        ("directions of text", "layer l { output y = \u{202e}z }".as_bytes().to_vec()),
        (
            "an overflow",
            b"layer l(N) { input x[N * 9223372036854775807 * N] output y = 1 }  layer m { output y = z }".to_vec(),
        ),
        ("a huge extent", b"layer l { state h[4611686018427387904, 4] = 0 h[i, j] <- 1 }".to_vec()),
        ("a huge exponent", b"layer l { output y = 1e999999999 + z }".to_vec()),
    ];
    for (name, text) in programs {
        here.write("hostile.ssm", text);
        for command in ["check", "dump --stage ir", "fmt --check", "run"] {
            let ran = here.ssmc(&format!("{command} @hostile.ssm"), b"");
            // What is only wrong in its names can be formatted, and dimensions without numbers have no size.
            if !matches!(command, "fmt --check" | "dump --stage ir") || ran.code != 0 {
                ran.refused(&format!("{command}: {name}"));
            }
        }
    }
    here.write("empty.ssm", "");
    here.ssmc("run @empty.ssm", b"").refused("empty");
    for command in ["check", "run", "step", "fmt"] {
        here.ssmc(&format!("{command} @"), b"").refused("a directory");
        here.ssmc(&format!("{command} @nowhere.ssm"), b"").refused("no file");
        here.ssmc(&format!("{command} @empty.ssm/a.ssm"), b"").refused("a file for a directory");
    }
}

#[test]
fn commands_that_do_not_fit_are_refused() {
    let here = here();
    run(&here, GOOD).done();
    // Wrong usage.
    for usage in [
        "--dim D=0",
        "--dim D=-1",
        "--dim D=",
        "--dim D",
        "--dim =3",
        "--dim D=2.5",
        "--dim D=1e3",
        "--threads 0",
        "--dim D=99999999999999999999",
        "--threads 1000000",
        "--seq -1",
        "--seq x",
        "--rtol 1",
        "--seed -1",
        "--rtol nan --expect @x.safetensors",
        "--atol inf --expect @x.safetensors",
        "--dtype f16",
        "--plan best",
        "--output @y.txt",
        "--output @y",
        "--params @p.ssm",
        "--input @x.npy",
        "--input =@x.npy",
        "--isa neon",
        "extra",
    ] {
        assert_eq!(run(&here, &format!("{GOOD} {usage}")).code, 2, "{usage}");
    }
    // What parses, and does not fit the program, the data or the system.
    for args in [
        "--dim D=3",
        "--dim D=1099511627776",
        "--dim Q=3",
        "--dim d=2",
        "--dim D=2 --dim D=3",
        "--dim G=3",
        "--dim G=1099511627776",
        "--seq 3",
        "--seq 0",
        "--prefix q.",
        "--layer b",
        "--plan chunked",
        "--output @no/y.npz",
        "--output @p.ssm/y.npz",
        "--output @dir.npz",
        "--output /proc/y.npz",
        "--state-out @no/s.npz",
        "--output @y.npz --state-out @y.npz",
        "--output @y.npz --state-out @./y.npz",
        "--output @kept.npz",
        "--params @no.safetensors",
        "--input @no.npz",
        "--state-in x=@no.npy",
        "--expect @no.npz",
        "--input @dir.npz",
        "--expect @p.safetensors",
        "--params @empty.npz",
        "--params @empty.safetensors",
        "--input x=@empty.npy",
    ] {
        std::fs::create_dir_all(here.path("dir.npz")).expect("a directory");
        for empty in ["empty.npz", "empty.npy", "empty.safetensors", "kept.npz"] {
            let _ = std::fs::write(here.path(empty), "");
        }
        let kept = here.path("kept.npz");
        let mut permissions = std::fs::metadata(&kept).expect("a file").permissions();
        permissions.set_readonly(true);
        std::fs::set_permissions(&kept, permissions).expect("a file of ours");
        let before = here.names();
        // Of an option that may stand once only, the last counts for clap; give the layer where it is not the point.
        let layer = if args.contains("--layer") { "" } else { "--layer a" };
        here.ssmc(&format!("run @p.ssm {layer} {GOOD} {args}"), b"").refused(args);
        assert_eq!(here.names(), before, "{args} leaves files behind");
        assert!(here.read("kept.npz").is_empty());
    }
    // Sizes.
    for args in [
        "clock --dim N=1099511627776",
        "clock --dim N=2147483648",
        "clock --dim N=2147483647",
        "clock --dim N=268435457",
        "clock --dim N=268435456",
        "clock --dim N=268435456 --plan interp",
        "clock --dim N=268435456 --plan step",
        "clock --seq 18446744073709551615",
        "clock --seq 281474976710657",
        "clock --seq 281474976710656",
        "clock --seq 1000000000000 --plan interp",
        "clock --dim N=1000 --seq 1000000000",
        "wide --dim N=268435456",
        "hidden --dim N=268435456",
        "hidden --dim N=268435456 --plan interp",
        "deep --dim N=268435456",
        "deep --dim N=268435457",
        "deep --dim N=2147483647",
        "poles --dim N=2049",
        "poles --dim N=100000000",
        "poles",
        "wide",
    ] {
        here.ssmc(&format!("run @p.ssm --layer {args}"), b"").refused(args);
        if !args.contains("--seq") {
            here.ssmc(&format!("step @p.ssm --layer {args}"), b"{}\n").refused(args);
        }
    }
    for dim in ["1099511627776", "2147483647"] {
        here.ssmc(&format!("check @p.ssm --layer clock --dim N={dim}"), b"").refused(dim);
        here.ssmc(&format!("dump @p.ssm --layer clock --stage clif --dim N={dim}"), b"").refused(dim);
    }
    here.ssmc("step @p.ssm --layer back", b"{}\n").refused("step of a reverse state");
    here.ssmc("run @p.ssm", b"").refused("several layers");
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    let here = here();
    let f32 = Dtype::F32;
    let inputs: Vec<Raw<'_>> = vec![
        ("x", f32, &[3, 3], f32s(&[0.0; 9])),
        ("x", f32, &[3], f32s(&[0.0; 3])),
        ("x", f32, &[], f32s(&[0.0])),
        ("x", f32, &[1, 1, 3, 2], f32s(&[0.0; 6])),
        ("x", f32, &[2, 2], f32s(&[0.0; 4])),
        ("x", f32, &[0, 2], vec![]),
        ("x", f32, &[3, 0], vec![]),
        ("x", f32, &[1, 3, 2], f32s(&[0.0; 6])),
        ("x", Dtype::I64, &[3, 2], i64s(&[0; 6])),
        ("x", Dtype::BOOL, &[3, 2], vec![0; 6]),
        ("tok", Dtype::U8, &[3], vec![0, 4, 0]),
        ("tok", Dtype::I64, &[3], i64s(&[0, -1, 0])),
        ("tok", Dtype::I64, &[3], i64s(&[0, i64::MIN, 0])),
        ("tok", Dtype::I64, &[3], i64s(&[0, 1 << 32, 0])),
        ("tok", Dtype::U64, &[3], i64s(&[0, -1, 0])),
        ("tok", f32, &[3], f32s(&[0.0; 3])),
        ("tok", Dtype::BOOL, &[3], vec![0; 3]),
        ("go", Dtype::U8, &[3], vec![0, 2, 0]),
        ("go", Dtype::BOOL, &[3], vec![0, 255, 0]),
        ("go", f32, &[3], f32s(&[0.0; 3])),
        ("go", Dtype::I32, &[3], vec![0; 12]),
        ("cu_seqlens", Dtype::I64, &[2], i64s(&[0, 4])),
        ("cu_seqlens", Dtype::I64, &[2], i64s(&[0, 2])),
        ("cu_seqlens", Dtype::I64, &[2], i64s(&[1, 3])),
        ("cu_seqlens", Dtype::I64, &[3], i64s(&[0, -1, 3])),
        ("cu_seqlens", Dtype::I64, &[3], i64s(&[0, i64::MAX, 3])),
        ("cu_seqlens", Dtype::I64, &[4], i64s(&[0, 2, 1, 3])),
        ("cu_seqlens", Dtype::I64, &[0], vec![]),
        ("cu_seqlens", Dtype::I64, &[], i64s(&[3])),
        ("cu_seqlens", Dtype::I64, &[1, 2], i64s(&[0, 3])),
        ("cu_seqlens", f32, &[2], f32s(&[0.0, 3.0])),
        ("cu_seqlens", Dtype::U64, &[2], i64s(&[0, 3])),
    ];
    for tensor in inputs {
        let what = format!("{:?}", (tensor.0, tensor.1, tensor.2));
        here.tensors("bad.safetensors", &[tensor]);
        run(&here, &format!("{GOOD} --input @bad.safetensors")).refused(&what);
    }
    let params: Vec<Raw<'_>> = vec![
        ("k", f32, &[3], f32s(&[0.0; 3])),
        ("k", f32, &[], f32s(&[0.0])),
        ("k", f32, &[1, 2], f32s(&[0.0; 2])),
        ("k", f32, &[0], vec![]),
        ("k", Dtype::I32, &[2], vec![0; 8]),
        ("k", Dtype::F8_E4M3, &[2], vec![0; 2]),
        ("table", Dtype::U8, &[4], vec![0, 1, 2, 4]),
        ("table", Dtype::U8, &[3], vec![0, 1, 2]),
        ("table", f32, &[4], f32s(&[0.0; 4])),
        ("w", f32, &[], f32s(&[0.0])),
        ("w", f32, &[3], f32s(&[0.0; 3])),
        ("w", f32, &[2, 2], f32s(&[0.0; 4])),
    ];
    for tensor in params {
        let what = format!("{:?}", (tensor.0, tensor.1, tensor.2));
        here.tensors("bad.safetensors", &[tensor]);
        run(&here, &format!("{GOOD} --params @bad.safetensors")).refused(&what);
    }
    let states: Vec<Raw<'_>> = vec![
        ("h", f32, &[3], f32s(&[0.0; 3])),
        ("h", f32, &[2, 2], f32s(&[0.0; 4])),
        ("h", f32, &[1, 1, 2], f32s(&[0.0; 2])),
        ("h", f32, &[0, 2], vec![]),
        ("h", Dtype::I64, &[2], i64s(&[0; 2])),
        ("s", Dtype::U8, &[], vec![4]),
        ("s", f32, &[], f32s(&[0.0])),
        ("z", f32, &[], f32s(&[0.0])),
        ("seen", Dtype::U8, &[], vec![2]),
        ("delay.0", f32, &[1, 2], f32s(&[0.0; 2])),
        ("delay.0", f32, &[3, 2], f32s(&[0.0; 6])),
        ("delay.0", f32, &[2], f32s(&[0.0; 2])),
        ("step", Dtype::I64, &[], i64s(&[-1])),
        ("step", Dtype::I64, &[], i64s(&[i64::MAX])),
        ("step", Dtype::I64, &[2], i64s(&[0; 2])),
        ("step", f32, &[], f32s(&[0.0])),
    ];
    for tensor in states {
        let what = format!("{:?}", (tensor.0, tensor.1, tensor.2));
        here.tensors("bad.safetensors", &[tensor]);
        run(&here, &format!("{GOOD} --state-in @bad.safetensors")).refused(&what);
        let step = "step @p.ssm --layer a --params @p.safetensors --state-in @bad.safetensors";
        here.ssmc(step, b"").refused(&what);
    }
    // More steps and more sequences than anyone has, in files that hold nothing.
    let empty: [&[usize]; 4] = [&[1 << 40, 0], &[1 << 20, 1 << 20, 0], &[1 << 40, 0, 0], &[1 << 32, 1 << 32, 0]];
    for shape in empty {
        let axes = format!("{shape:?}");
        here.write(
            "bad.safetensors",
            safetensors_file(&format!("{{\"x\":{{\"dtype\":\"F32\",\"shape\":{axes},\"data_offsets\":[0,0]}}}}"), b""),
        );
        for plan in ["sequential", "step", "interp"] {
            here.ssmc(&format!("run @p.ssm --layer short --input @bad.safetensors --plan {plan}"), b"").refused(&axes);
        }
    }
    // Nothing at all is a sequence, too.
    here.tensors(
        "none.safetensors",
        &[("x", f32, &[0, 2], vec![]), ("tok", Dtype::U8, &[0], vec![]), ("go", Dtype::U8, &[0], vec![])],
    );
    for plan in ["sequential", "step", "interp"] {
        run(&here, &format!("--params @p.safetensors --input @none.safetensors --plan {plan} --output @y.npz")).done();
    }
}

fn safetensors_file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

#[test]
fn lying_headers_are_refused() {
    let here = here();
    let one = |name: &str, shape: &str, offsets: &str| {
        format!("{{\"{name}\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":{offsets}}}}}")
    };
    let many: Vec<String> =
        (0..100_000).map(|i| format!("\"t{i}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}")).collect();
    let k = one("k", "[1]", "[0,4]");
    let files: Vec<Vec<u8>> = vec![
        safetensors_file(&one("k", "[2]", "[0,4]"), b"abcd"),
        safetensors_file(&one("k", "[1099511627776]", "[0,4398046511104]"), b"abcd"),
        safetensors_file(&one("k", "[1099511627776,1099511627776]", "[0,4]"), b"abcd"),
        safetensors_file(&one("k", "[-1]", "[0,4]"), b"abcd"),
        safetensors_file(&one("k", "[1]", "[4,0]"), b"abcd"),
        safetensors_file(&one("k", "[1]", "[18446744073709551612,0]"), b"abcd"),
        safetensors_file(&one("k", "[1]", "[8,12]"), b"abcd"),
        safetensors_file(&one(&"n".repeat(5_000_000), "[1]", "[0,4]"), b"abcd"),
        safetensors_file(&one(&format!("{}.k", "n".repeat(5_000_000)), "[1]", "[0,4]"), b"abcd"),
        safetensors_file(&one("k", &format!("[{}1]", "1,".repeat(1_000_000)), "[0,4]"), b"abcd"),
        safetensors_file(&format!("{{{}}}", many.join(",")), b""),
        safetensors_file(&"[".repeat(1_000_000), b""),
        safetensors_file(&"{\"a\":".repeat(100_000), b""),
        safetensors_file("{}", b""),
        safetensors_file("", b""),
        [&u64::MAX.to_le_bytes()[..], k.as_bytes()].concat(),
        [&(1u64 << 40).to_le_bytes()[..], k.as_bytes()].concat(),
        vec![0; 8],
        vec![0xff; 4096],
        b"PK\x03\x04 not here".to_vec(),
    ];
    for (at, bytes) in files.into_iter().enumerate() {
        here.write("bad.safetensors", bytes);
        here.ssmc("run @p.ssm --layer a --params @bad.safetensors --input @x.safetensors", b"")
            .refused(&format!("header {at}"));
    }
    let npy = |shape: &str, descr: &str, data: &[u8]| {
        let header = format!("{{'descr': '{descr}', 'fortran_order': True, 'shape': {shape}, }}\n");
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
    };
    let files: Vec<Vec<u8>> = vec![
        npy("(2,)", "<f4", b"abcd"),
        npy("(1099511627776,)", "<f4", b"abcd"),
        npy("(1099511627776, 1099511627776)", "<f4", b"abcd"),
        npy("(1099511627776, 0)", "<f4", b""),
        npy("(2,)", "|O", b"abcdabcd"),
        npy("(2,)", "<U9", b"abcdabcd"),
        npy("(-2,)", "<f4", b"abcdabcd"),
        npy("2", "<f4", b"abcdabcd"),
        npy(&format!("({})", "1, ".repeat(20_000)), "<f4", b"abcd"),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff{".to_vec(),
        b"\x93NUMPY\x09\x00\x01\x00{".to_vec(),
        b"\x93NUMPY".to_vec(),
    ];
    for (at, bytes) in files.into_iter().enumerate() {
        here.write("bad.npy", bytes);
        run(&here, &format!("{GOOD} --params k=@bad.npy")).refused(&format!("array {at}"));
    }
}

#[test]
fn damaged_files_are_refused() {
    let here = here();
    run(&here, &format!("{GOOD} --state-out @s.npz --output @y.npz")).done();
    run(&here, &format!("{GOOD} --state-out @s.safetensors")).done();
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n";
    let length = (header.len() as u16).to_le_bytes();
    here.write("h.npy", [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), &[0; 8]].concat());
    for file in ["s.npz", "s.safetensors", "h.npy"] {
        let whole = here.read(file);
        let option = if file == "h.npy" { "h=@bad-h.npy".to_owned() } else { format!("@bad-{file}") };
        let args = format!("{GOOD} --state-in {option}");
        for at in 0..24 {
            here.write(&format!("bad-{file}"), &whole[..at * whole.len() / 24]);
            run(&here, &args).refused(&format!("{file}, {at} of 24"));
        }
        // What is changed may still be sound; it never stops the process in another way.
        for at in 0..24 {
            let mut bytes = whole.clone();
            bytes[at * whole.len() / 24] ^= 1 << (at % 8);
            here.write(&format!("bad-{file}"), bytes);
            run(&here, &args);
        }
        here.write(&format!("bad-{file}"), [&whole[..], b"more"].concat());
        run(&here, &args);
    }
}
