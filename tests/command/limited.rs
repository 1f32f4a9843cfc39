//! The binary under a limit of memory and of time: what allocates by what a file claims, or does not end, fails.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use safetensors::tensor::{Dtype, TensorView, serialize};

use crate::command::Ran;

/// Address space in kilobytes: the stack of the working thread and little more than a gigabyte.
const MEMORY: &str = "1600000";
/// Seconds of computing.
const TIME: &str = "20";

/// A tensor to be written: name, type, shape, bytes.
pub type Raw<'a> = (&'a str, Dtype, &'a [usize], Vec<u8>);

/// A directory for the files of one test.
pub struct Directory(tempfile::TempDir);

impl Directory {
    /// An empty one.
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).expect("written");
    }

    /// Writes tensors as `.safetensors`.
    #[allow(dead_code, reason = "not every test needs it")]
    pub fn tensors(&self, name: &str, tensors: &[Raw<'_>]) {
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            (*name, TensorView::new(*dtype, shape.to_vec(), bytes).expect("a tensor"))
        });
        self.write(name, serialize(views, None).expect("a file"));
    }

    /// The bytes of a file.
    #[allow(dead_code, reason = "not every test needs it")]
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("a file")
    }

    /// The names of all files.
    #[allow(dead_code, reason = "not every test needs it")]
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).expect("a directory");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Runs the binary; `@` in the arguments stands for the directory.
    pub fn ssmc(&self, args: &str, input: &[u8]) -> Ran {
        let here = format!("{}/", self.0.path().display());
        let args: Vec<String> = args.split_whitespace().map(|arg| arg.replace('@', &here)).collect();
        limited(&args, input)
    }
}

/// Runs the binary under the limits, and makes sure that it ends with a code that it may have.
pub fn limited(args: &[String], input: &[u8]) -> Ran {
    let limit = format!("ulimit -v {MEMORY}; ulimit -t {TIME}; exec \"$@\"");
    let binary = Path::new(env!("CARGO_BIN_EXE_ssmc"));
    let mut child = Command::new("sh")
        .args(["-c", &limit, "limited"])
        .arg(binary)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let output = std::thread::scope(|scope| {
        // Not before reading: what is written may wait for what is read.
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().expect("the binary ends")
    });
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (out, err) = (text(output.stdout), text(output.stderr));
    let brief: String = err.chars().take(2000).collect();
    let code = output.status.code().unwrap_or_else(|| panic!("{args:?} was killed: {:?}\n{brief}", output.status));
    assert!(matches!(code, 0..=2), "{args:?} ended with {code}:\n{brief}");
    assert!(!err.contains("Please report it"), "{args:?}: {brief}");
    Ran { code, out, err }
}

impl Ran {
    /// Makes sure that it ended with exit code 1, a code and a place, and that the message is short.
    #[track_caller]
    #[allow(dead_code, reason = "not every test needs it")]
    pub fn refused(&self, what: &str) {
        let brief: String = self.err.chars().take(2000).collect();
        assert_eq!(self.code, 1, "{what}: {brief}");
        let placed = self.err.lines().any(|line| line.trim_start().strip_prefix("--> ").is_some_and(|p| !p.is_empty()));
        assert!(self.err.contains("error[S") && placed, "{what}: {brief}");
        assert!(self.err.len() < 100_000, "{what}: a message of {} bytes", self.err.len());
    }
}
