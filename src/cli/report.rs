//! What is said to the user on stderr.

use std::io::{IsTerminal, Write};

use ssmc::diag::{Code, Diagnostic, render};

/// Prints diagnostics, errors and notes in the order given.
///
/// Colours are used on a terminal only, and not where `NO_COLOR` is set. Nothing is said about a stderr that cannot
/// be written to: there is nobody to say it to.
pub fn print(diagnostics: &[Diagnostic], path: &str, source: &str) {
    let stderr = std::io::stderr();
    let colours = stderr.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut stderr = stderr.lock();
    for diagnostic in diagnostics {
        let text = if colours {
            render::render_coloured(diagnostic, path, source)
        } else {
            render::render(diagnostic, path, source)
        };
        let _ = writeln!(stderr, "{}", text.trim_end());
    }
}

/// Writes to stdout.
///
/// A reader that went away is no error: what was asked for was done.
///
/// # Errors
/// S401 where stdout cannot be written to for another reason.
pub fn out(text: &str) -> Result<(), Diagnostic> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(stdout_fault(&error)),
    }
}

/// The diagnostic for a stdout that cannot be written to.
pub fn stdout_fault(error: &std::io::Error) -> Diagnostic {
    Diagnostic::error_at(Code::S401, "standard output", format!("cannot write: {error}"))
}
