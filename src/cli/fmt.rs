//! `ssmc fmt`: programs in the standard format.

use std::io::Write;
use std::path::Path;

use ssmc::diag::{Code, Diagnostic};

use super::args::FmtArgs;
use super::program::Program;
use super::{Verdict, report};

/// Formats every file, or with `--check` tells which are not in the standard format.
///
/// A file that does not parse is left as it is and reported; the others are still formatted.
pub fn execute(args: &FmtArgs) -> Verdict {
    let mut verdict = Verdict::Done;
    for path in &args.files {
        if let Err((diagnostics, text)) = format_file(path, args.check) {
            report::print(&diagnostics, &path.display().to_string(), &text);
            verdict = Verdict::Failed;
        }
    }
    verdict
}

/// Formats one file. What is wrong comes with the text that it is about.
fn format_file(path: &Path, check: bool) -> Result<(), (Vec<Diagnostic>, String)> {
    let program = Program::load(path).map_err(|error| (vec![error], String::new()))?;
    let formatted = match ssmc::syntax::format(&program.text) {
        Ok(formatted) => formatted,
        Err(diagnostics) => return Err((diagnostics, program.text)),
    };
    if formatted == program.text {
        return Ok(());
    }
    if check {
        let error = Diagnostic::error_at(Code::S413, program.path.clone(), "the file is not in the standard format");
        return Err((vec![error.help(format!("run `ssmc fmt {}`", program.path))], program.text));
    }
    replace(path, &formatted).map_err(|error| {
        let message = format!("cannot write: {error}");
        (vec![Diagnostic::error_at(Code::S401, program.path.clone(), message)], String::new())
    })
}

/// Replaces the contents of a file at once, so that there is never half a program. A link is followed, and the file
/// keeps its permissions.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let path = path.canonicalize()?;
    let permissions = std::fs::metadata(&path)?.permissions();
    if permissions.readonly() {
        return Err(std::io::ErrorKind::PermissionDenied.into());
    }
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(permissions)?;
    file.persist(&path).map_err(|error| error.error)?;
    Ok(())
}
