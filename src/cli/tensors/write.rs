//! Writing files of tensors.
//!
//! What is written does not depend on the time or the host: tensors are sorted, and dates are left out.

use std::io::{self, BufWriter, Seek, Write};

use safetensors::tensor::{Metadata, TensorInfo};
use ssmc::diag::Diagnostic;
use ssmc_runtime::{Elements, Float};

use crate::cli::args::{Format, OutputFileArg};
use crate::cli::replace::Replacement;

/// A tensor to write.
pub struct Written<'a, F> {
    /// Its name in the file.
    pub name: String,
    /// The extents of its axes.
    pub shape: Vec<usize>,
    /// Its elements.
    pub values: Values<'a, F>,
}

/// The elements of a tensor to write.
pub enum Values<'a, F> {
    /// As a run gives them; integers have 32 bits.
    Elements(&'a Elements<F>),
    /// Integers of 64 bits.
    Long(Vec<i64>),
}

/// A file that will be written.
pub struct OutputFile {
    format: Format,
    file: Replacement,
}

impl OutputFile {
    /// Makes sure that the file can be written, before anything is computed for it.
    ///
    /// # Errors
    /// S401 where the directory cannot be written to.
    pub fn create(arg: &OutputFileArg) -> Result<Self, Diagnostic> {
        Ok(Self { format: arg.format, file: Replacement::create(&arg.path)? })
    }

    /// Writes the tensors and gives the file its name.
    ///
    /// # Errors
    /// S401
    pub fn finish<F: Float>(self, mut tensors: Vec<Written<'_, F>>) -> Result<(), Diagnostic> {
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        let format = self.format;
        self.file.finish(|file| {
            let mut writer = BufWriter::with_capacity(1 << 20, file);
            match format {
                Format::Npz => write_npz(&mut writer, &tensors)?,
                Format::Safetensors | Format::Npy => write_safetensors(&mut writer, &tensors)?,
            }
            writer.flush()
        })
    }
}

fn write_safetensors<F: Float>(writer: &mut impl Write, tensors: &[Written<'_, F>]) -> io::Result<()> {
    // The widest types first, so that all are aligned; among one type by name. The sort is stable.
    let mut ordered: Vec<&Written<'_, F>> = tensors.iter().collect();
    ordered.sort_by_key(|tensor| std::cmp::Reverse(tensor.values.safetensors_dtype().bitsize()));
    let mut offset = 0;
    let infos = ordered
        .iter()
        .map(|tensor| {
            let mut shape = tensor.shape.clone();
            if let Values::Elements(Elements::Complex { .. }) = tensor.values {
                shape.push(2);
            }
            let start = offset;
            offset += tensor.values.byte_len();
            let dtype = tensor.values.safetensors_dtype();
            (tensor.name.clone(), TensorInfo { dtype, shape, data_offsets: (start, offset) })
        })
        .collect();
    let metadata = Metadata::new(None, infos).map_err(io::Error::other)?;
    let mut header = serde_json::to_vec(&metadata)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    writer.write_all(&(header.len() as u64).to_le_bytes())?;
    writer.write_all(&header)?;
    ordered.iter().try_for_each(|tensor| tensor.values.write(writer))
}

fn write_npz<F: Float>(writer: &mut (impl Write + Seek), tensors: &[Written<'_, F>]) -> io::Result<()> {
    let mut archive = zip::ZipWriter::new(writer);
    for tensor in tensors {
        let options = zip::write::FileOptions::default()
            .compression_method(zip::CompressionMethod::Stored)
            .last_modified_time(zip::DateTime::default())
            .large_file(true);
        archive.start_file(format!("{}.npy", tensor.name), options).map_err(io::Error::other)?;
        let shape: Vec<String> = tensor.shape.iter().map(|extent| format!("{extent},")).collect();
        let mut header = format!(
            "{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}",
            tensor.values.numpy_descr(),
            shape.join(" ")
        );
        // Version 1.0: the header ends with a line break, and elements start at a multiple of 64.
        let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
        header.extend(std::iter::repeat_n(' ', length - header.len() - 1));
        header.push('\n');
        archive.write_all(b"\x93NUMPY\x01\x00")?;
        archive.write_all(&(length as u16).to_le_bytes())?;
        archive.write_all(header.as_bytes())?;
        tensor.values.write(&mut archive)?;
    }
    archive.finish().map_err(io::Error::other)?;
    Ok(())
}

impl<F: Float> Values<'_, F> {
    fn safetensors_dtype(&self) -> safetensors::Dtype {
        match self {
            Values::Elements(Elements::Real(_) | Elements::Complex { .. }) if F::BITS == 64 => safetensors::Dtype::F64,
            Values::Elements(Elements::Real(_) | Elements::Complex { .. }) => safetensors::Dtype::F32,
            Values::Elements(Elements::Int(_)) => safetensors::Dtype::I32,
            Values::Elements(Elements::Bool(_)) => safetensors::Dtype::BOOL,
            Values::Elements(Elements::Byte(_)) => safetensors::Dtype::U8,
            Values::Long(_) => safetensors::Dtype::I64,
        }
    }

    fn numpy_descr(&self) -> &'static str {
        match self {
            Values::Elements(Elements::Real(_)) if F::BITS == 64 => "<f8",
            Values::Elements(Elements::Real(_)) => "<f4",
            Values::Elements(Elements::Complex { .. }) if F::BITS == 64 => "<c16",
            Values::Elements(Elements::Complex { .. }) => "<c8",
            Values::Elements(Elements::Int(_)) => "<i4",
            Values::Elements(Elements::Bool(_)) => "|b1",
            Values::Elements(Elements::Byte(_)) => "|u1",
            Values::Long(_) => "<i8",
        }
    }

    fn byte_len(&self) -> usize {
        let float = F::BITS as usize / 8;
        match self {
            Values::Elements(Elements::Real(v)) => v.len() * float,
            Values::Elements(Elements::Complex { re, .. }) => re.len() * 2 * float,
            Values::Elements(Elements::Int(v)) => v.len() * 4,
            Values::Elements(Elements::Bool(v) | Elements::Byte(v)) => v.len(),
            Values::Long(v) => v.len() * 8,
        }
    }

    fn write(&self, writer: &mut impl Write) -> io::Result<()> {
        match self {
            Values::Elements(Elements::Real(v)) => v.iter().try_for_each(|x| write_float(writer, *x)),
            Values::Elements(Elements::Complex { re, im }) => re.iter().zip(im).try_for_each(|(re, im)| {
                write_float(writer, *re)?;
                write_float(writer, *im)
            }),
            Values::Elements(Elements::Int(v)) => v.iter().try_for_each(|x| writer.write_all(&x.to_le_bytes())),
            Values::Elements(Elements::Bool(v) | Elements::Byte(v)) => writer.write_all(v),
            Values::Long(v) => v.iter().try_for_each(|x| writer.write_all(&x.to_le_bytes())),
        }
    }
}

fn write_float<F: Float>(writer: &mut impl Write, value: F) -> io::Result<()> {
    if F::BITS == 64 {
        writer.write_all(&value.to_f64().to_le_bytes())
    } else {
        writer.write_all(&(value.to_f64() as f32).to_le_bytes())
    }
}
