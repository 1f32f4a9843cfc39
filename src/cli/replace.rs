//! Files that are written at once.
//!
//! A file is written under another name in the same directory and takes its own when it is complete, so that there
//! is never half a file, and what fails leaves what was there before.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use ssmc::diag::{Code, Diagnostic};

/// A file that will be written.
pub struct Replacement {
    path: PathBuf,
    /// What a link at `path` leads to.
    target: PathBuf,
    file: tempfile::NamedTempFile,
}

impl Replacement {
    /// Makes sure that the file can be written, before anything is computed for it.
    ///
    /// # Errors
    /// S401 where the directory cannot be written to.
    pub fn create(path: &Path) -> Result<Self, Diagnostic> {
        let failed = |why: String| fault(path, &why);
        if path.is_dir() {
            return Err(failed("it is a directory".into()));
        }
        if std::fs::metadata(path).is_ok_and(|there| there.permissions().readonly()) {
            return Err(failed("the file may only be read".into()));
        }
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let directory = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".ssmc-");
        #[cfg(unix)]
        {
            // As any new file: what the user's mask leaves of it.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let file = builder.tempfile_in(directory).map_err(|error| failed(plain(&error)))?;
        Ok(Self { path: path.to_owned(), target, file })
    }

    /// Writes the contents and gives the file its name.
    ///
    /// # Errors
    /// S401
    pub fn finish(self, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), Diagnostic> {
        let Self { path, target, mut file } = self;
        let written = write(file.as_file_mut()).and_then(|()| {
            file.persist(&target).map_err(|error| error.error)?;
            Ok(())
        });
        written.map_err(|error| fault(&path, &plain(&error)))
    }
}

fn fault(path: &Path, why: &str) -> Diagnostic {
    Diagnostic::error_at(Code::S401, path.display().to_string(), format!("cannot write: {why}"))
}

/// The message of the system, without the temporary file's path.
fn plain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code).to_string(),
        None => error.kind().to_string(),
    }
}
