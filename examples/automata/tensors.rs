//! Tensors in `.safetensors` files.

use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// A tensor to write.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// The extents of its axes.
    pub shape: Vec<usize>,
    dtype: Dtype,
    data: Vec<u8>,
}

impl Tensor {
    /// Reals of 32 bits.
    pub fn reals(name: &str, shape: &[usize], values: Vec<f32>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "{name}");
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { name: name.to_owned(), shape: shape.to_vec(), dtype: Dtype::F32, data }
    }

    /// Integers of 8 bits.
    pub fn bytes(name: &str, shape: &[usize], values: Vec<u8>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "{name}");
        Self { name: name.to_owned(), shape: shape.to_vec(), dtype: Dtype::U8, data: values }
    }
}

/// Writes a file. The same tensors give the same bytes.
pub fn write(path: &Path, tensors: &[Tensor]) -> Result<(), Box<dyn std::error::Error>> {
    let views = tensors
        .iter()
        .map(|tensor| Ok((tensor.name.clone(), TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.data)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    safetensors::serialize_to_file(views, None, path).map_err(|error| format!("{}: {error}", path.display()).into())
}
