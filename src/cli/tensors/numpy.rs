//! `.npy`, one array behind a header that is a Python literal, and `.npz`, a zip archive of them.
//!
//! The header is read here and not by a crate: those at hand multiply the extents unchecked and allocate what a
//! header claims.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use super::{Dtype, Entry, Fault, Location, count};

/// The longest header that is read. NumPy itself stops at 10000 bytes.
const MAX_HEADER: usize = 1 << 16;

/// No more than this many bytes come out of one byte of a deflated stream.
const MAX_DEFLATE_RATIO: u64 = 1032;

/// What the header of an array says.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    dtype: Option<Dtype>,
    descr: String,
    big_endian: bool,
    column_major: bool,
    shape: Vec<usize>,
    /// How many bytes the header has.
    bytes: u64,
}

impl Header {
    fn read(reader: &mut dyn Read) -> Result<Self, Fault> {
        let mut start = [0; 8];
        reader.read_exact(&mut start).map_err(|error| Fault::reading(&error))?;
        if !start.starts_with(b"\x93NUMPY") {
            return Err(Fault::damaged("the array does not start as a .npy file does"));
        }
        let (length, prefix) = match start[6] {
            1 => {
                let mut bytes = [0; 2];
                reader.read_exact(&mut bytes).map_err(|error| Fault::reading(&error))?;
                (usize::from(u16::from_le_bytes(bytes)), 10)
            }
            2 | 3 => {
                let mut bytes = [0; 4];
                reader.read_exact(&mut bytes).map_err(|error| Fault::reading(&error))?;
                (u32::from_le_bytes(bytes) as usize, 12)
            }
            version => {
                return Err(Fault::damaged(format!("version {version} of .npy is not known")));
            }
        };
        if length > MAX_HEADER {
            return Err(Fault::damaged(format!("the header claims {length} bytes")));
        }
        let mut text = vec![0; length];
        reader.read_exact(&mut text).map_err(|error| Fault::reading(&error))?;
        let text = std::str::from_utf8(&text).map_err(|_| Fault::damaged("the header of the array is not text"))?;
        let mut header =
            parse_header(text).ok_or_else(|| Fault::damaged("the header of the array cannot be understood"))?;
        header.bytes = (prefix + length) as u64;
        count(&header.shape, header.dtype.map_or(1, Dtype::size))?;
        Ok(header)
    }

    /// How many bytes of elements follow; `None` where the type is not known.
    fn data_len(&self) -> Option<u64> {
        let elements: usize = self.shape.iter().product();
        self.dtype.map(|dtype| elements as u64 * dtype.size() as u64)
    }

    fn entry(self, name: &str, location: Location) -> Entry {
        Entry {
            name: name.to_owned(),
            shape: self.shape,
            dtype: self.dtype,
            dtype_name: self.dtype.map_or(self.descr, |known| known.name().to_owned()),
            big_endian: self.big_endian,
            column_major: self.column_major,
            location,
        }
    }
}

/// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
fn parse_header(text: &str) -> Option<Header> {
    let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
    let (mut descr, mut column_major, mut shape) = (None, None, None);
    while !rest.is_empty() {
        let (key, after) = quoted(rest)?;
        rest = after.trim_start().strip_prefix(':')?.trim_start();
        match key {
            "descr" => {
                let (text, after) = quoted(rest).or_else(|| structured(rest))?;
                descr.replace(text).is_none().then_some(())?;
                rest = after;
            }
            "fortran_order" => {
                let (value, after) = match rest.strip_prefix("True") {
                    Some(after) => (true, after),
                    None => (false, rest.strip_prefix("False")?),
                };
                column_major.replace(value).is_none().then_some(())?;
                rest = after;
            }
            "shape" => {
                let (inside, after) = rest.strip_prefix('(')?.split_once(')')?;
                shape.replace(parse_shape(inside)?).is_none().then_some(())?;
                rest = after;
            }
            _ => return None,
        }
        rest = rest.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None if rest.is_empty() => {}
            None => return None,
        }
    }
    let descr = descr?;
    let known = Dtype::from_numpy(descr);
    Some(Header {
        dtype: known.map(|(dtype, _)| dtype),
        descr: descr.chars().take(40).collect(),
        big_endian: known.is_some_and(|(_, big)| big),
        column_major: column_major?,
        shape: shape?,
        bytes: 0,
    })
}

fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text[1..].split_once(quote)
}

/// A structured type: read over, so that its array can be ignored or refused by name.
fn structured(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '[' | '(' => depth += 1,
            ']' | ')' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return (at > 0).then(|| text.split_at(at + 1));
        }
    }
    None
}

fn parse_shape(inside: &str) -> Option<Vec<usize>> {
    let inside = inside.trim();
    if inside.is_empty() {
        return Some(Vec::new());
    }
    let inside = inside.strip_suffix(',').unwrap_or(inside);
    inside.split(',').map(|extent| extent.trim().trim_end_matches('L').parse().ok()).collect()
}

/// A `.npy` file.
pub struct Single {
    file: File,
    entry: Entry,
}

impl Single {
    /// Reads the header and checks it against the length of the file.
    pub fn open(mut file: File, name: String) -> Result<Self, Fault> {
        let length = file.metadata().map_err(|error| Fault::reading(&error))?.len();
        let header = Header::read(&mut file)?;
        if let Some(expected) = header.data_len()
            && header.bytes.checked_add(expected) != Some(length)
        {
            return Err(Fault::damaged(format!(
                "the header describes {expected} bytes of elements; the file has {}",
                length.saturating_sub(header.bytes)
            )));
        }
        let location = Location::Offset(header.bytes);
        Ok(Self { file, entry: header.entry(&name, location) })
    }

    /// The name that the user gave the array.
    pub fn name(&self) -> &str {
        &self.entry.name
    }

    /// What the header says, where the array has that name.
    pub fn entry(&self, name: &str) -> Option<Entry> {
        (self.entry.name == name).then(|| self.entry.clone())
    }

    /// Calls `read` with the file from that offset on.
    pub fn read_at(
        &mut self,
        offset: u64,
        read: &mut dyn FnMut(&mut dyn Read) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.file.seek(SeekFrom::Start(offset)).map_err(|error| Fault::reading(&error))?;
        read(&mut self.file)
    }
}

/// A `.npz` file.
pub struct Archive {
    zip: zip::ZipArchive<BufReader<File>>,
    members: HashMap<String, Member>,
    length: u64,
}

/// A file of the archive, as the directory has it.
struct Member {
    index: usize,
    packed: u64,
    unpacked: u64,
    method: zip::CompressionMethod,
}

impl Archive {
    /// Reads the directory of the archive.
    pub fn open(mut file: File) -> Result<Self, Fault> {
        let length = file.metadata().map_err(|error| Fault::reading(&error))?.len();
        check_directory(&mut file, length)?;
        let mut zip = zip::ZipArchive::new(BufReader::new(file)).map_err(|error| zip_fault(&error))?;
        let mut members = HashMap::new();
        for index in 0..zip.len() {
            let member = zip.by_index_raw(index).map_err(|error| zip_fault(&error))?;
            let Some(name) = member.name().strip_suffix(".npy") else { continue };
            let entry = Member {
                index,
                packed: member.compressed_size(),
                unpacked: member.size(),
                method: member.compression(),
            };
            if members.insert(name.to_owned(), entry).is_some() {
                return Err(Fault::damaged(format!("the archive has two arrays named `{name}`")));
            }
        }
        Ok(Self { zip, members, length })
    }

    /// The names of all arrays.
    pub fn names(&self) -> Vec<&str> {
        self.members.keys().map(String::as_str).collect()
    }

    /// Reads the header of an array.
    pub fn entry(&mut self, name: &str) -> Result<Option<Entry>, Fault> {
        let Some(&Member { index, packed, unpacked, method }) = self.members.get(name) else {
            return Ok(None);
        };
        let bearable = match method {
            zip::CompressionMethod::Stored => packed,
            zip::CompressionMethod::Deflated => packed.saturating_mul(MAX_DEFLATE_RATIO),
            other => {
                return Err(Fault::damaged(format!("arrays packed with {other} are not read")));
            }
        };
        if packed > self.length || unpacked > bearable {
            return Err(Fault::damaged(format!(
                "the archive claims {unpacked} bytes in {packed}, of a file of {}",
                self.length
            )));
        }
        let mut member = self.zip.by_index(index).map_err(|error| zip_fault(&error))?;
        let header = Header::read(&mut member)?;
        if let Some(expected) = header.data_len()
            && header.bytes.checked_add(expected) != Some(unpacked)
        {
            return Err(Fault::damaged(format!(
                "the header describes {expected} bytes of elements; the archive has {}",
                unpacked.saturating_sub(header.bytes)
            )));
        }
        let location = Location::Member { index, header: header.bytes };
        Ok(Some(header.entry(name, location)))
    }

    /// Calls `read` with an array from behind its header on, then checks that it ends there.
    pub fn read_member(
        &mut self,
        index: usize,
        header: u64,
        read: &mut dyn FnMut(&mut dyn Read) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut member = self.zip.by_index(index).map_err(|error| zip_fault(&error))?;
        let skipped = std::io::copy(&mut (&mut member).take(header), &mut std::io::sink())
            .map_err(|error| Fault::reading(&error))?;
        if skipped != header {
            return Err(Fault::damaged("the file ends early"));
        }
        read(&mut member)?;
        // Reading over the end also checks the sum of the bytes.
        match member.read(&mut [0]).map_err(|error| Fault::reading(&error))? {
            0 => Ok(()),
            _ => Err(Fault::damaged("the array has more bytes than its header describes")),
        }
    }
}

/// Refuses a 64-bit directory that is not where its locator says, or claims more files than the archive can hold:
/// the zip reader would search the whole file for the one and allocate for the other.
fn check_directory(file: &mut File, length: u64) -> Result<(), Fault> {
    const END: u64 = 22;
    let tail_len = length.min(END + u64::from(u16::MAX) + 20);
    let tail_start = length - tail_len;
    let mut tail = vec![0; tail_len as usize];
    let mut read_at = |offset: u64, bytes: &mut [u8]| {
        file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(bytes)).map_err(|error| Fault::reading(&error))
    };
    read_at(tail_start, &mut tail)?;
    let end = tail
        .windows(4)
        .rposition(|four| four == b"PK\x05\x06")
        .ok_or_else(|| Fault::damaged("this is no archive: it has no directory"))?;
    if let Some(at) = end.checked_sub(20)
        && tail[at..].starts_with(b"PK\x06\x07")
    {
        let eight = |bytes: &[u8]| bytes.first_chunk::<8>().map_or(0, |b| u64::from_le_bytes(*b));
        let offset = eight(&tail[at + 8..]);
        let mut record = [0; 40];
        if offset.checked_add(40).is_none_or(|behind| behind > length) {
            return Err(Fault::damaged("the directory of the archive is not where it should be"));
        }
        read_at(offset, &mut record)?;
        // A file takes at least 46 bytes of the directory.
        if !record.starts_with(b"PK\x06\x06") || eight(&record[32..]) > length / 46 {
            return Err(Fault::damaged("the directory of the archive is damaged"));
        }
    }
    file.rewind().map_err(|error| Fault::reading(&error))
}

fn zip_fault(error: &zip::result::ZipError) -> Fault {
    match error {
        zip::result::ZipError::Io(error) => Fault::reading(error),
        other => Fault::damaged(format!("the archive is damaged: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_or_refused() {
        let parse = |text: &str| parse_header(text).map(|h| (h.dtype, h.column_major, h.shape));
        let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }  \n";
        assert_eq!(parse(good), Some((Some(Dtype::F32), false, vec![3, 4])));
        let scalar = "{\"shape\": (), \"fortran_order\": True, \"descr\": \">i8\"}";
        assert_eq!(parse(scalar), Some((Some(Dtype::I64), true, vec![])));
        let record = "{'descr': [('a', '<u2'), ('b', '<f4', (2,))], 'fortran_order': False, 'shape': (3,)}";
        assert_eq!(parse(record), Some((None, false, vec![3])));
        for bad in [
            "",
            "{}",
            "{",
            "}",
            "{'descr': '<f4'}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, -4)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,, 4)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
            "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (3,)}",
            "{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': (3,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'more': 1}",
            "{'descr': [[[[, 'fortran_order': False, 'shape': (3,)}",
            "{'descr': \u{e9}, 'fortran_order': False, 'shape': (3,)}",
            "{\u{e9}: '<f4'}",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
