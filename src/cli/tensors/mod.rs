//! Files of tensors: `.safetensors`, `.npz` and `.npy`.
//!
//! In: a path. Out: what a file says about a tensor ([`Entry`]), then its elements in the type that a layer
//! expects. Only what is asked for is read.
//!
//! Files are not trusted. Nothing here panics on any contents, and no allocation is larger than what the size of
//! the file bears out: a header is checked against the file's length before anything is made of it, and what is
//! compressed may not claim to be more than its method can pack.

mod decode;
mod dtype;
mod numpy;
mod safetensor;
#[cfg(test)]
mod tests;
mod write;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ssmc::diag::{Code, Diagnostic};
use ssmc_runtime::{Elements, Float};

use super::args::{Format, TensorFileArg};
pub use decode::Kind;
pub use dtype::Dtype;
pub use write::{OutputFile, Values, Written};

/// What is wrong with a tensor; the place is added where it is known.
#[derive(Debug)]
pub struct Fault {
    code: Code,
    message: String,
}

impl Fault {
    /// A fault with its code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Damaged contents.
    fn damaged(message: impl Into<String>) -> Self {
        Self::new(Code::S402, message)
    }

    /// An error of the system while reading; a file that ends early is damaged.
    fn reading(error: &std::io::Error) -> Self {
        use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        match error.kind() {
            UnexpectedEof => Self::damaged("the file ends early"),
            InvalidData | InvalidInput => Self::damaged(format!("the contents are damaged: {error}")),
            _ => Self::new(Code::S401, format!("cannot read: {error}")),
        }
    }
}

/// What a file says about one of its tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name in the file.
    pub name: String,
    /// The extents of its axes, as the file has them.
    pub shape: Vec<usize>,
    /// The type of its elements; `None` where it is one that nothing here reads.
    pub dtype: Option<Dtype>,
    /// The name of that type in messages.
    pub dtype_name: String,
    /// Whether numbers are big-endian.
    big_endian: bool,
    /// Whether elements are in column-major order.
    column_major: bool,
    /// Where the bytes are.
    location: Location,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Location {
    /// At this offset of the file.
    Offset(u64),
    /// In this file of the archive, behind a header of this many bytes.
    Member { index: usize, header: u64 },
}

impl Entry {
    /// How many elements it has. The product was checked when the entry was made.
    fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The shape without the axis of real and imaginary part that `kind` may have.
    ///
    /// # Errors
    /// A last axis that is not 2 where it must be.
    pub fn value_shape(&self, kind: Kind) -> Result<&[usize], Fault> {
        if !kind.has_pair_axis(self.dtype) {
            return Ok(&self.shape);
        }
        match self.shape.split_last() {
            Some((2, rest)) => Ok(rest),
            _ => Err(Fault::new(
                Code::S404,
                format!(
                    "expected a last axis of 2 (real, imaginary) or a complex type, found {} of {}",
                    shape_text(&self.shape),
                    self.dtype_name
                ),
            )),
        }
    }
}

/// A shape as it is printed; of very many axes the first ones.
pub fn shape_text(shape: &[usize]) -> String {
    const SHOWN: usize = 16;
    let mut extents: Vec<String> = shape.iter().take(SHOWN).map(usize::to_string).collect();
    if let Some(more @ 1..) = shape.len().checked_sub(SHOWN) {
        extents.push(format!("and {more} more"));
    }
    format!("`[{}]`", extents.join(", "))
}

/// An open file of tensors.
pub struct TensorFile {
    /// The path as the user gave it.
    pub path: String,
    contents: Contents,
}

enum Contents {
    Safetensors(safetensor::Archive),
    Npz(Box<numpy::Archive>),
    Npy(numpy::Single),
}

impl TensorFile {
    /// Opens a file and reads its table of contents.
    ///
    /// # Errors
    /// S401 where it cannot be read, S402 where it is damaged.
    pub fn open(arg: &TensorFileArg) -> Result<Self, Diagnostic> {
        let path = arg.path.display().to_string();
        Self::open_contents(arg)
            .map(|contents| Self { path: path.clone(), contents })
            .map_err(|fault| Diagnostic::error_at(fault.code, path, fault.message))
    }

    fn open_contents(arg: &TensorFileArg) -> Result<Contents, Fault> {
        let file = open_regular(&arg.path)?;
        Ok(match arg.format {
            Format::Safetensors => Contents::Safetensors(safetensor::Archive::open(file)?),
            Format::Npz => Contents::Npz(Box::new(numpy::Archive::open(file)?)),
            Format::Npy => Contents::Npy(numpy::Single::open(file, arg.name.clone().unwrap_or_default())?),
        })
    }

    /// The names of the tensors, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names = match &self.contents {
            Contents::Safetensors(archive) => archive.names(),
            Contents::Npz(archive) => archive.names(),
            Contents::Npy(single) => vec![single.name()],
        };
        names.sort_unstable();
        names
    }

    /// What the file says about the tensor of that name; `None` where it has none.
    ///
    /// # Errors
    /// S401 and S402, where the tensor has a header of its own.
    pub fn entry(&mut self, name: &str) -> Result<Option<Entry>, Diagnostic> {
        match &mut self.contents {
            Contents::Safetensors(archive) => Ok(archive.entry(name)),
            Contents::Npz(archive) => archive.entry(name),
            Contents::Npy(single) => Ok(single.entry(name)),
        }
        .map_err(|fault| self.diagnostic(name, fault))
    }

    /// A diagnostic about one tensor of this file.
    pub fn diagnostic(&self, name: &str, fault: Fault) -> Diagnostic {
        Diagnostic::error_at(fault.code, format!("{}: {name}", self.path), fault.message)
    }

    /// The elements of a tensor as `kind`.
    ///
    /// # Errors
    /// S405 where `kind` does not accept the type, S406 and S414 where a value does not fit, S401 and S402 as for
    /// the file.
    pub fn read<F: Float>(&mut self, entry: &Entry, kind: Kind) -> Result<Elements<F>, Diagnostic> {
        self.read_elements(entry, kind).map_err(|fault| self.diagnostic(&entry.name, fault))
    }

    fn read_elements<F: Float>(&mut self, entry: &Entry, kind: Kind) -> Result<Elements<F>, Fault> {
        let dtype = match entry.dtype {
            Some(dtype) if kind.accepts(dtype) => dtype,
            _ => {
                return Err(Fault::new(
                    Code::S405,
                    format!("expected {}, found {}", kind.expected(), entry.dtype_name),
                ));
            }
        };
        entry.value_shape(kind)?;
        let mut decoder = Decoder::new(dtype, kind, entry.len().min(self.room(dtype)));
        self.pieces(entry, dtype, &mut |bytes| decoder.push(bytes))?;
        Ok(decoder.finish())
    }

    /// The elements of an integer tensor, whatever their width.
    ///
    /// # Errors
    /// S405 for a type that is no integer, S401 and S402 as for the file.
    pub fn read_integers(&mut self, entry: &Entry) -> Result<Vec<i64>, Diagnostic> {
        let mut values = Vec::new();
        match entry.dtype {
            Some(dtype) if dtype.is_integer() => self.pieces(entry, dtype, &mut |bytes| {
                decode::integers(dtype, bytes, |v| {
                    values.push(v);
                    Ok(())
                })
            }),
            _ => Err(Fault::new(Code::S405, format!("expected an integer type, found {}", entry.dtype_name))),
        }
        .map_err(|fault| self.diagnostic(&entry.name, fault))?;
        Ok(values)
    }

    /// How many elements of a type to make room for before the first is read: no more than the file's bytes, if
    /// it is not compressed; the rest grows as it is read.
    fn room(&self, dtype: Dtype) -> usize {
        match &self.contents {
            Contents::Npz(_) => PIECE / dtype.size(),
            // Their entries were checked against the file's length.
            Contents::Safetensors(_) | Contents::Npy(_) => usize::MAX,
        }
    }

    /// Calls `take` with the tensor's bytes, little-endian and row-major, in pieces of an even number of elements.
    fn pieces(
        &mut self,
        entry: &Entry,
        dtype: Dtype,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let length = entry.len() as u64 * dtype.size() as u64;
        let read = &mut |reader: &mut dyn Read| {
            if !entry.column_major {
                return each_piece(reader, length, |piece| {
                    if entry.big_endian {
                        decode::swap_bytes(dtype, piece);
                    }
                    take(piece)
                });
            }
            let mut bytes = Vec::new();
            each_piece(reader, length, |piece| {
                bytes.extend_from_slice(piece);
                Ok(())
            })?;
            if entry.big_endian {
                decode::swap_bytes(dtype, &mut bytes);
            }
            take(&decode::row_major(&entry.shape, dtype.size(), &bytes))
        };
        match (&mut self.contents, &entry.location) {
            (Contents::Safetensors(archive), Location::Offset(at)) => archive.read_at(*at, read),
            (Contents::Npy(single), Location::Offset(at)) => single.read_at(*at, read),
            (Contents::Npz(archive), Location::Member { index, header }) => archive.read_member(*index, *header, read),
            _ => Err(Fault::damaged("the tensor is of another file")),
        }
    }
}

use decode::Decoder;

/// How many bytes are read at a time: a multiple of two of every element.
const PIECE: usize = 1 << 16;

fn each_piece(
    reader: &mut dyn Read,
    length: u64,
    mut take: impl FnMut(&mut [u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut buffer = vec![0; length.min(PIECE as u64) as usize];
    let mut left = length;
    while left > 0 {
        let piece = &mut buffer[..left.min(PIECE as u64) as usize];
        reader.read_exact(piece).map_err(|error| Fault::reading(&error))?;
        take(piece)?;
        left -= piece.len() as u64;
    }
    Ok(())
}

fn open_regular(path: &Path) -> Result<File, Fault> {
    let unreadable = |error: std::io::Error| Fault::new(Code::S401, format!("cannot read: {error}"));
    // A pipe has no length to check its contents against, and opening one may wait for ever.
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Fault::new(Code::S401, "cannot read: not a regular file"));
    }
    File::open(path).map_err(unreadable)
}

/// The number of elements of a shape and a check that their bytes can be counted.
fn count(shape: &[usize], size: usize) -> Result<u64, Fault> {
    // An empty tensor may have any other extents; their product must still be countable.
    let elements = shape.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent));
    elements
        .and_then(|n| n.checked_mul(size.max(1)))
        .filter(|bytes| isize::try_from(*bytes).is_ok())
        .and(elements)
        .map(|n| n as u64)
        .ok_or_else(|| Fault::damaged(format!("the shape {} has no sensible size", shape_text(shape))))
}
