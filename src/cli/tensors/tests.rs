//! Files that are made here, sound ones and hostile ones.

use std::io::Write as _;
use std::path::PathBuf;

use ssmc::diag::{Code, Diagnostic};
use ssmc_runtime::Elements;

use super::*;
use crate::cli::args::OutputFileArg;

/// A directory of files for one test.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn arg(&self, name: &str, bytes: &[u8]) -> TensorFileArg {
        let path: PathBuf = self.0.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        let format = match name.rsplit_once('.') {
            Some((_, "safetensors")) => Format::Safetensors,
            Some((_, "npz")) => Format::Npz,
            _ => Format::Npy,
        };
        TensorFileArg { name: (format == Format::Npy).then(|| "x".to_owned()), path, format }
    }

    /// Opens the file, finds `x`, and reads it.
    fn read<F: Float>(&self, name: &str, bytes: &[u8], kind: Kind) -> Result<(Vec<usize>, Elements<F>), Diagnostic> {
        let mut file = TensorFile::open(&self.arg(name, bytes))?;
        let _ = file.names();
        let entry = file.entry("x")?;
        let entry = entry.ok_or_else(|| Diagnostic::error_at(Code::S403, "test", "no x"))?;
        let elements = file.read(&entry, kind)?;
        Ok((entry.shape, elements))
    }
}

fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn one_safetensor(dtype: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!(r#"{{"x":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{}]}}}}"#, data.len());
    safetensors(&header, data)
}

fn npy(descr: &str, order: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn npz(members: &[(&str, &[u8])], method: zip::CompressionMethod) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut archive = zip::ZipWriter::new(&mut bytes);
    for (name, data) in members {
        let options = zip::write::FileOptions::default().compression_method(method);
        archive.start_file(*name, options).expect("a member");
        archive.write_all(data).expect("its bytes");
    }
    archive.finish().expect("a directory");
    drop(archive);
    bytes.into_inner()
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

const STORED: zip::CompressionMethod = zip::CompressionMethod::Stored;
const DEFLATED: zip::CompressionMethod = zip::CompressionMethod::Deflated;
const ANY_INT: Kind = Kind::Int { below: None };

#[test]
fn reals_are_read_from_every_real_type() {
    let files = Files::new();
    let f16: Vec<u8> = [0x3c00u16, 0xc000].iter().flat_map(|v| v.to_le_bytes()).collect();
    let bf16: Vec<u8> = [0x3f80u16, 0xc000].iter().flat_map(|v| v.to_le_bytes()).collect();
    let f64: Vec<u8> = [1f64, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let expected = (vec![2], Elements::Real(vec![1f32, -2.0]));
    for (dtype, data) in [("F16", &f16), ("BF16", &bf16), ("F32", &f32s(&[1.0, -2.0])), ("F64", &f64)] {
        let bytes = one_safetensor(dtype, "[2]", data);
        assert_eq!(files.read("a.safetensors", &bytes, Kind::Real).as_ref(), Ok(&expected), "{dtype}");
    }
    for (descr, data) in [("<f2", &f16), ("<f4", &f32s(&[1.0, -2.0])), ("<f8", &f64)] {
        let bytes = npy(descr, "False", "(2,)", data);
        assert_eq!(files.read("a.npy", &bytes, Kind::Real).as_ref(), Ok(&expected), "{descr}");
        for method in [STORED, DEFLATED] {
            let bytes = npz(&[("x.npy", &bytes)], method);
            assert_eq!(files.read("a.npz", &bytes, Kind::Real).as_ref(), Ok(&expected), "{descr}");
        }
    }
}

#[test]
fn orders_of_axes_and_bytes_are_undone() {
    let files = Files::new();
    let column_major = npy("<f4", "True", "(2, 3)", &f32s(&[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]));
    let expected = (vec![2, 3], Elements::Real(vec![1f64, 2.0, 3.0, 4.0, 5.0, 6.0]));
    assert_eq!(files.read("a.npy", &column_major, Kind::Real), Ok(expected));
    let big: Vec<u8> = [258i32, -2].iter().flat_map(|v| v.to_be_bytes()).collect();
    let read = files.read::<f32>("a.npy", &npy(">i4", "False", "(2,)", &big), ANY_INT);
    assert_eq!(read, Ok((vec![2], Elements::Int(vec![258, -2]))));
    let complex: Vec<u8> = [1f32, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_be_bytes()).collect();
    let read = files.read::<f32>("a.npy", &npy(">c8", "True", "(2,)", &complex), Kind::Complex);
    assert_eq!(read, Ok((vec![2], Elements::Complex { re: vec![1.0, 3.0], im: vec![2.0, 4.0] })));
    // The pair axis is the last one also where it is outermost in memory.
    let pairs = npy("<f4", "True", "(2, 2)", &f32s(&[1.0, 3.0, 2.0, 4.0]));
    let read = files.read::<f32>("a.npy", &pairs, Kind::Complex);
    assert_eq!(read, Ok((vec![2, 2], Elements::Complex { re: vec![1.0, 3.0], im: vec![2.0, 4.0] })));
}

#[test]
fn integers_and_truth_values_are_checked() {
    let files = Files::new();
    let read = |dtype: &str, data: &[u8], kind| {
        let bytes = one_safetensor(dtype, &format!("[{}]", data.len()), data);
        files.read::<f32>("a.safetensors", &bytes, kind).map(|(_, e)| e).map_err(|e| (e.code, e.message))
    };
    let below = Kind::Int { below: Some(3) };
    assert_eq!(read("U8", &[0, 2, 1], below), Ok(Elements::Int(vec![0, 2, 1])));
    let error = (Code::S406, "element 1 is 3, which is not in the range 0 to 2".to_owned());
    assert_eq!(read("U8", &[0, 3, 1], below), Err(error.clone()));
    let token = Kind::Token { below: 3 };
    assert_eq!(read("U8", &[0, 2, 1], token), Ok(Elements::Byte(vec![0, 2, 1])));
    assert_eq!(read("U8", &[0, 3, 1], token), Err(error));
    assert_eq!(read("I8", &[0, 2, 1], token), Ok(Elements::Int(vec![0, 2, 1])));
    assert_eq!(read("I8", &[255], below).map_err(|e| e.0), Err(Code::S406));
    assert_eq!(read("BOOL", &[1, 0], Kind::Bool), Ok(Elements::Bool(vec![1, 0])));
    assert_eq!(read("U8", &[1, 2], Kind::Bool).map_err(|e| e.0), Err(Code::S406));
    assert_eq!(read("BOOL", &[1, 255], Kind::Bool).map_err(|e| e.0), Err(Code::S406));
    for (dtype, kind) in [("BOOL", ANY_INT), ("I8", Kind::Bool), ("U8", Kind::Real), ("U8", Kind::Complex)] {
        assert_eq!(read(dtype, &[1, 1], kind).map_err(|e| e.0), Err(Code::S405), "{dtype} as {kind:?}");
    }
    let wide = one_safetensor("U64", "[1]", &u64::MAX.to_le_bytes());
    let error = files.read::<f32>("a.safetensors", &wide, ANY_INT).map_err(|e| e.code);
    assert_eq!(error, Err(Code::S414));
    let real = one_safetensor("F32", "[1]", &f32s(&[1.0]));
    for kind in [ANY_INT, Kind::Bool] {
        assert_eq!(files.read::<f32>("a.safetensors", &real, kind).map_err(|e| e.code), Err(Code::S405));
    }
    let error = files.read::<f32>("a.safetensors", &real, Kind::Complex).map_err(|e| e.code);
    assert_eq!(error, Err(Code::S404));
}

#[test]
fn pieces_do_not_tear_elements() {
    let files = Files::new();
    let values: Vec<f32> = (0..100_000).map(|i| i as f32).collect();
    let bytes = npz(&[("x.npy", &npy("<f4", "False", "(50000, 2)", &f32s(&values)))], DEFLATED);
    let (_, elements) = files.read::<f64>("a.npz", &bytes, Kind::Complex).expect("complex numbers");
    let Elements::Complex { re, im } = elements else { panic!("{elements:?}") };
    assert!((0..50_000).all(|i| (re[i], im[i]) == ((2 * i) as f64, (2 * i + 1) as f64)));
}

#[test]
fn what_is_written_is_read_back() {
    let files = Files::new();
    let tensors: [(&str, Vec<usize>, Elements<f32>); 4] = [
        ("real", vec![2], Elements::Real(vec![0.1, f32::NAN])),
        ("complex", vec![1, 2], Elements::Complex { re: vec![1.0, 2.0], im: vec![3.0, -0.0] }),
        ("int", vec![], Elements::Int(vec![-7])),
        ("bool", vec![3], Elements::Bool(vec![1, 0, 1])),
    ];
    for name in ["a.safetensors", "a.npz"] {
        let write = |path: &str| {
            let path = files.0.path().join(path);
            let format = if name.ends_with("npz") { Format::Npz } else { Format::Safetensors };
            let written = |(name, shape, elements)| {
                let (name, shape): (&&str, &Vec<usize>) = (name, shape);
                Written { name: (*name).to_owned(), shape: shape.clone(), values: Values::Elements(elements) }
            };
            let mut all: Vec<Written<'_, f32>> =
                tensors.iter().map(|(name, shape, elements)| written((name, shape, elements))).collect();
            all.push(Written { name: "step".into(), shape: vec![], values: Values::Long(vec![1 << 40]) });
            OutputFile::create(&OutputFileArg { path: path.clone(), format })
                .and_then(|file| file.finish(all))
                .expect("a file");
            std::fs::read(path).expect("its bytes")
        };
        let bytes = write(name);
        assert_eq!(bytes, write(&format!("again.{name}")), "writing does not depend on the time");
        let mut file = TensorFile::open(&files.arg(name, &bytes)).expect("a sound file");
        assert_eq!(file.names(), ["bool", "complex", "int", "real", "step"]);
        for (tensor, shape, elements) in &tensors {
            let kind = match elements {
                Elements::Real(_) => Kind::Real,
                Elements::Complex { .. } => Kind::Complex,
                Elements::Int(_) => ANY_INT,
                Elements::Bool(_) => Kind::Bool,
                Elements::Byte(_) => Kind::Token { below: 256 },
            };
            let entry = file.entry(tensor).expect("sound").expect("there");
            assert_eq!(entry.value_shape(kind).expect("a pair axis"), shape);
            let read: Elements<f32> = file.read(&entry, kind).expect("its elements");
            assert_eq!(format!("{read:?}"), format!("{elements:?}"), "{tensor} in {name}");
        }
        let step = file.entry("step").expect("sound").expect("there");
        assert_eq!(file.read_integers(&step), Ok(vec![1 << 40]));
    }
    let leftover = std::fs::read_dir(files.0.path()).expect("the directory").count();
    assert_eq!(leftover, 4, "no temporary files stay behind");
}

#[test]
fn other_tensors_of_a_file_do_not_matter() {
    let files = Files::new();
    let good = npy("<f4", "False", "(1,)", &f32s(&[1.0]));
    let archive = npz(&[("bad.npy", b"nonsense"), ("x.npy", &good), ("readme.txt", b"hello")], STORED);
    assert!(files.read::<f32>("a.npz", &archive, Kind::Real).is_ok());
    let header = r#"{"__metadata__":{"a":"b"},"odd":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]},"x":{"dtype":"F32","shape":[],"data_offsets":[4,8]}}"#;
    let mixed = safetensors(header, &[0; 8]);
    assert!(files.read::<f32>("a.safetensors", &mixed, Kind::Real).is_ok());
}

/// Everything hostile is refused with a code of the data; nothing panics, nothing allocates what is only claimed.
fn refused(name: &str, bytes: &[u8], what: &str) {
    let files = Files::new();
    for kind in [Kind::Real, Kind::Complex, ANY_INT, Kind::Bool] {
        match files.read::<f64>(name, bytes, kind) {
            Ok(read) => panic!("{what} was read: {:?}", read.0),
            Err(error) => assert!(
                matches!(error.code, Code::S401 | Code::S402 | Code::S403 | Code::S404 | Code::S405),
                "{what}: {error:?}"
            ),
        }
    }
}

#[test]
fn hostile_safetensors_are_refused() {
    let info = |shape: &str, begin: &str, end: &str| {
        format!(r#"{{"x":{{"dtype":"F32","shape":{shape},"data_offsets":[{begin},{end}]}}}}"#)
    };
    let nested = "[".repeat(100_000);
    let headers = [
        ("no object", "[]".to_owned(), 0),
        ("no JSON", "{\"x\":".to_owned(), 0),
        ("nesting", nested.clone(), 0),
        ("nesting in a tensor", format!("{{\"x\":{nested}"), 0),
        ("a shape that overflows", info("[4294967296,4294967296,4294967296]", "0", "4"), 4),
        ("a shape of bytes that overflow", info("[9223372036854775807]", "0", "4"), 4),
        ("an empty shape that overflows", info("[4294967296,4294967296,0]", "0", "0"), 0),
        ("a shape beyond 64 bits", info("[99999999999999999999]", "0", "4"), 4),
        ("a negative extent", info("[-1]", "0", "4"), 4),
        ("a fractional extent", info("[1.5]", "0", "4"), 4),
        ("more bytes than the file has", info("[1000000000000]", "0", "4000000000000"), 4),
        ("fewer bytes than the shape", info("[2]", "0", "4"), 4),
        ("offsets that run backwards", info("[1]", "4", "0"), 4),
        ("a hole before the tensor", info("[1]", "4", "8"), 8),
        ("bytes behind the tensor", info("[1]", "0", "4"), 8),
        ("offsets beyond 64 bits", info("[1]", "0", "99999999999999999999"), 4),
        ("huge offsets", info("[1]", "18446744073709551612", "18446744073709551615"), 4),
        ("an unknown type", r#"{"x":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}"#.to_owned(), 4),
        ("half an element", r#"{"x":{"dtype":"F4","shape":[1],"data_offsets":[0,1]}}"#.to_owned(), 1),
        ("a missing shape", r#"{"x":{"dtype":"F32","data_offsets":[0,4]}}"#.to_owned(), 4),
        (
            "the same bytes twice",
            r#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"y":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#.to_owned(),
            4,
        ),
        ("no tensor", "{}".to_owned(), 0),
    ];
    for (what, header, data) in headers {
        refused("a.safetensors", &safetensors(&header, &vec![0; data]), what);
    }
    let sound = safetensors(&info("[2]", "0", "8"), &[0; 8]);
    for length in 0..sound.len() {
        refused("a.safetensors", &sound[..length], &format!("a file cut at {length}"));
    }
    for claim in [u64::MAX, u64::MAX - 7, 1 << 62, 100_000_001, 99_999_999] {
        let mut lying = sound.clone();
        lying[..8].copy_from_slice(&claim.to_le_bytes());
        refused("a.safetensors", &lying, &format!("a table of contents of {claim} bytes"));
    }
    let mut not_text = sound.clone();
    not_text[12] = 0xff;
    refused("a.safetensors", &not_text, "a table of contents that is no text");
}

#[test]
fn hostile_arrays_are_refused() {
    let data = f32s(&[1.0, 2.0]);
    let bad = [
        ("no magic", b"NUMPY\x93\x01\x00 some text here".to_vec()),
        ("an unknown version", [b"\x93NUMPY\x09\x00".as_slice(), &[0; 80]].concat()),
        ("a header of 4 GB", [b"\x93NUMPY\x02\x00".as_slice(), &[0xff; 84]].concat()),
        ("too many elements claimed", npy("<f4", "False", "(1000000000000,)", &data)),
        ("too few elements claimed", npy("<f4", "False", "(1,)", &data)),
        ("extents that overflow", npy("<f4", "False", "(4294967296, 4294967296, 2)", &data)),
        ("empty extents that overflow", npy("<f4", "False", "(4294967296, 4294967296, 0)", &[])),
        ("bytes that overflow", npy("<f8", "False", "(4611686018427387904,)", &data)),
        ("a negative extent", npy("<f4", "False", "(-2,)", &data)),
        ("nested parentheses", npy("<f4", "False", &"(".repeat(30_000), &data)),
        ("a text type", npy("<U8", "False", "(2,)", &data)),
        ("pickled objects", npy("|O", "False", "(2,)", &data)),
        ("a long double", npy("<f16", "False", "(2,)", &[0; 32])),
    ];
    for (what, bytes) in &bad {
        refused("a.npy", bytes, what);
        for method in [STORED, DEFLATED] {
            refused("a.npz", &npz(&[("x.npy", bytes)], method), what);
        }
    }
    let sound = npy("<f4", "False", "(2,)", &data);
    for length in 0..sound.len() {
        refused("a.npy", &sound[..length], &format!("an array cut at {length}"));
    }
}

#[test]
fn hostile_archives_are_refused() {
    let array = npy("<f4", "False", "(1000,)", &f32s(&vec![0.0; 1000]));
    for method in [STORED, DEFLATED] {
        let sound = npz(&[("x.npy", &array)], method);
        for length in (0..sound.len()).step_by(23) {
            refused("a.npz", &sound[..length], &format!("an archive cut at {length}"));
        }
        // Any single damaged byte is refused, or does not matter to `x`; it never panics.
        let files = Files::new();
        let array = npy("<f4", "False", "(20,)", &f32s(&[0.0; 20]));
        let sound = npz(&[("x.npy", &array)], method);
        for at in 0..sound.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut damaged = sound.clone();
                damaged[at] ^= change;
                if let Ok((shape, _)) = files.read::<f32>("a.npz", &damaged, Kind::Real) {
                    assert_eq!(shape, [20], "byte {at}");
                }
            }
        }
    }
    // A name twice: which one is meant?
    let mut twice = npz(&[("x.npy", &array), ("y.npy", &array)], STORED);
    for at in 0..twice.len() - 5 {
        if twice[at..].starts_with(b"y.npy") {
            twice[at] = b'x';
        }
    }
    refused("a.npz", &twice, "two arrays of one name");
    // A size in the directory that no compression reaches.
    let mut bomb = npz(&[("x.npy", &array)], DEFLATED);
    let directory = bomb.windows(4).rposition(|four| four == b"PK\x01\x02").expect("a directory");
    bomb[directory + 24..directory + 28].copy_from_slice(&0xffff_fff0u32.to_le_bytes());
    refused("a.npz", &bomb, "a claim of 4 GB in a few bytes");
    // A 64-bit directory of more files than the archive has bytes.
    let mut record = b"PK\x06\x06".to_vec();
    record.extend([0; 28]);
    record.extend(u64::MAX.to_le_bytes());
    record.extend([0; 16]);
    record.extend(b"PK\x06\x07\0\0\0\0");
    record.extend([0; 12]);
    record.extend(b"PK\x05\x06");
    record.extend([0xff; 16]);
    record.extend([0; 2]);
    refused("a.npz", &record, "a directory of 2^64 files");
    let located_nowhere = [&record[..56], b"PK\x06\x07\0\0\0\0", &[0xee; 12], &record[76..]].concat();
    refused("a.npz", &located_nowhere, "a directory beyond the file");
    refused("a.npz", b"", "an empty file");
    refused("a.npz", &array, "an array that is no archive");
}

#[test]
fn what_is_no_file_is_refused() {
    let open = |path: &str| {
        let arg = TensorFileArg { name: None, path: path.into(), format: Format::Npz };
        TensorFile::open(&arg).map(|_| ()).map_err(|error| error.code)
    };
    assert_eq!(open("/"), Err(Code::S401));
    assert_eq!(open("/nowhere/x.npz"), Err(Code::S401));
    assert_eq!(open("/dev/zero"), Err(Code::S401));
}
