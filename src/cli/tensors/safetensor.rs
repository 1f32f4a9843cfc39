//! `.safetensors`: a table of contents in JSON, then the bytes of all tensors.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use safetensors::tensor::Metadata;

use super::{Dtype, Entry, Fault, Location, count};

/// The longest table of contents that is read; the reference implementation has the same limit.
const MAX_HEADER: u64 = 100_000_000;

/// An open `.safetensors` file.
pub struct Archive {
    file: File,
    metadata: Metadata,
    names: Vec<String>,
    /// Where the bytes of tensors start.
    data: u64,
}

impl Archive {
    /// Reads the table of contents and checks it against the length of the file.
    pub fn open(mut file: File) -> Result<Self, Fault> {
        let length = file.metadata().map_err(|error| Fault::reading(&error))?.len();
        let mut prefix = [0; 8];
        file.read_exact(&mut prefix).map_err(|error| Fault::reading(&error))?;
        let header = u64::from_le_bytes(prefix);
        if header > MAX_HEADER || header > length - 8 {
            return Err(Fault::damaged(format!("the table of contents claims {header} bytes; the file has {length}")));
        }
        let mut text = vec![0; header as usize];
        file.read_exact(&mut text).map_err(|error| Fault::reading(&error))?;
        // Reading it checks that tensors lie end to end and have the bytes that their shapes need.
        let metadata: Metadata = serde_json::from_slice(&text)
            .map_err(|error| Fault::damaged(format!("the table of contents is damaged: {error}")))?;
        let data = 8 + header;
        let expected = data.checked_add(metadata.data_len() as u64);
        if expected != Some(length) {
            return Err(Fault::damaged(format!(
                "the table of contents describes {} bytes of tensors; the file has {}",
                metadata.data_len(),
                length - data
            )));
        }
        let names = metadata.offset_keys();
        for name in &names {
            if let Some(info) = metadata.info(name) {
                count(&info.shape, info.dtype.bitsize() / 8)?;
            }
        }
        Ok(Self { file, metadata, names, data })
    }

    /// The names of all tensors.
    pub fn names(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).collect()
    }

    /// What the table of contents says about a tensor.
    pub fn entry(&self, name: &str) -> Option<Entry> {
        let info = self.metadata.info(name)?;
        let dtype = Dtype::from_safetensors(info.dtype);
        Some(Entry {
            name: name.to_owned(),
            shape: info.shape.clone(),
            dtype,
            dtype_name: dtype.map_or_else(|| info.dtype.to_string(), |known| known.name().to_owned()),
            big_endian: false,
            column_major: false,
            location: Location::Offset(self.data + info.data_offsets.0 as u64),
        })
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
