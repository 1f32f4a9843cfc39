//! The binary, run as a user runs it.

use std::io::Write;
use std::process::{Command, Stdio};

/// What a run of the binary gave.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; never 101, and never absent.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs the binary with arguments separated by white space.
#[allow(dead_code, reason = "not every test needs it")]
pub fn ssmc(args: &str) -> Ran {
    ssmc_with(args, "")
}

/// The same with text on standard input.
#[allow(dead_code, reason = "not every test needs it")]
pub fn ssmc_with(args: &str, input: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ssmc"))
        .args(args.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // A command that does not read its input may be gone already.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("the binary ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let ran = Ran {
        code: output.status.code().expect("it was not killed"),
        out: text(output.stdout),
        err: text(output.stderr),
    };
    assert!(matches!(ran.code, 0..=2), "{args}: {ran:?}");
    assert!(!ran.err.contains("Please report it"), "{args}: {ran:?}");
    ran
}

impl Ran {
    /// Makes sure that it succeeded, and said nothing on stderr.
    #[allow(dead_code, reason = "not every test needs it")]
    #[track_caller]
    pub fn done(self) -> String {
        assert!(self.code == 0 && self.err.is_empty(), "{self:?}");
        self.out
    }

    /// Makes sure that it failed with exit code 1 and this on stderr.
    #[allow(dead_code, reason = "not every test needs it")]
    #[track_caller]
    pub fn failed(self, expected: &str) -> String {
        assert!(self.code == 1 && self.err.contains(expected), "expected {expected}: {self:?}");
        self.err
    }
}
