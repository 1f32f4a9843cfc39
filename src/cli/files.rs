//! The tensor files of one option, looked through by name.

use ssmc::diag::{Code, Diagnostic, nearest};
use ssmc_runtime::{Elements, Float};

use super::args::TensorFileArg;
use super::tensors::{Entry, Fault, Kind, TensorFile};

/// The files that were given with one option. Of several that have a tensor, the last counts.
pub struct Files {
    option: &'static str,
    files: Vec<TensorFile>,
}

/// A tensor in one of the files.
#[derive(Clone, Debug)]
pub struct Found {
    file: usize,
    /// What the file says about it.
    pub entry: Entry,
}

impl Files {
    /// Opens all files of an option.
    ///
    /// # Errors
    /// Those of every file that cannot be opened.
    pub fn open(option: &'static str, args: &[TensorFileArg]) -> Result<Self, Vec<Diagnostic>> {
        let (mut files, mut errors) = (Vec::new(), Vec::new());
        for arg in args {
            match TensorFile::open(arg) {
                Ok(file) => files.push(file),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Self { option, files }) } else { Err(errors) }
    }

    /// Whether there is no file.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The names of all tensors.
    pub fn names(&self) -> Vec<String> {
        self.files.iter().flat_map(TensorFile::names).map(ToOwned::to_owned).collect()
    }

    /// The paths, in a sentence.
    pub fn paths(&self) -> String {
        self.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Looks a tensor up: with its role first, then bare.
    ///
    /// # Errors
    /// Those of a file whose tensor of that name is damaged.
    pub fn find(&mut self, role: &str, name: &str) -> Result<Option<Found>, Diagnostic> {
        let with_role = format!("{role}.{name}");
        for (at, file) in self.files.iter_mut().enumerate().rev() {
            for name in [with_role.as_str(), name] {
                if let Some(entry) = file.entry(name)? {
                    return Ok(Some(Found { file: at, entry }));
                }
            }
        }
        Ok(None)
    }

    /// Looks a tensor up under one name only.
    ///
    /// # Errors
    /// As for [`Files::find`].
    pub fn find_exact(&mut self, name: &str) -> Result<Option<Found>, Diagnostic> {
        for (at, file) in self.files.iter_mut().enumerate().rev() {
            if let Some(entry) = file.entry(name)? {
                return Ok(Some(Found { file: at, entry }));
            }
        }
        Ok(None)
    }

    /// The diagnostic for a tensor that must be there and is not, with the name that was perhaps meant.
    pub fn missing(&self, role: &str, name: &str, what: &str, others: &[&Files]) -> Diagnostic {
        let message = format!("{what} `{name}` is missing");
        let place = if self.is_empty() { self.option.to_owned() } else { format!("{} {}", self.option, self.paths()) };
        let error = Diagnostic::error_at(Code::S403, place, message);
        let with_role = format!("{role}.{name}");
        if let Some((path, option)) = others.iter().find_map(|files| files.holder(&with_role, name)) {
            let option_here = self.option;
            return error.help(format!("{path} has it: give that file with {option_here}, not only {option}"));
        }
        if self.is_empty() {
            return error.help(format!("give a file that has it with {}", self.option));
        }
        let known: Vec<&str> = self.files.iter().flat_map(TensorFile::names).collect();
        let close =
            nearest(&with_role, known.iter().copied()).or_else(|| nearest(name, known.iter().copied())).or_else(|| {
                // A tensor of the same name below some prefix.
                let tail = format!(".{name}");
                known.iter().copied().find(|known| known.ends_with(&tail))
            });
        match close {
            Some(close) if self.option == "--params" && close.ends_with(&format!(".{name}")) => {
                error.help(format!("there is `{close}`; --prefix is put before the names of parameters"))
            }
            Some(close) => error.help(format!("there is `{close}`")),
            None => error,
        }
    }

    fn holder(&self, with_role: &str, name: &str) -> Option<(&str, &'static str)> {
        let has = |file: &&TensorFile| file.names().iter().any(|known| *known == with_role || *known == name);
        self.files.iter().find(has).map(|file| (file.path.as_str(), self.option))
    }

    /// The file and the tensor, for messages.
    pub fn place(&self, found: &Found) -> String {
        format!("{}: {}", self.files[found.file].path, found.entry.name)
    }

    /// The path of the file that has the tensor.
    pub fn path(&self, found: &Found) -> &str {
        &self.files[found.file].path
    }

    /// A diagnostic about the tensor.
    pub fn error(&self, found: &Found, code: Code, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error_at(code, self.place(found), message)
    }

    /// Its shape, without the axis of real and imaginary part.
    ///
    /// # Errors
    /// S404 where that axis is not what it must be.
    pub fn shape(&self, found: &Found, kind: Kind) -> Result<Vec<usize>, Diagnostic> {
        found.entry.value_shape(kind).map(<[usize]>::to_vec).map_err(|fault| self.fault(found, fault))
    }

    fn fault(&self, found: &Found, fault: Fault) -> Diagnostic {
        self.files[found.file].diagnostic(&found.entry.name, fault)
    }

    /// Its elements.
    ///
    /// # Errors
    /// Those of [`TensorFile::read`].
    pub fn read<F: Float>(&mut self, found: &Found, kind: Kind) -> Result<Elements<F>, Diagnostic> {
        self.files[found.file].read(&found.entry, kind)
    }

    /// Its elements as integers.
    ///
    /// # Errors
    /// Those of [`TensorFile::read_integers`].
    pub fn read_integers(&mut self, found: &Found) -> Result<Vec<i64>, Diagnostic> {
        self.files[found.file].read_integers(&found.entry)
    }
}
