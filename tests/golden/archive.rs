//! Golden vectors: named tensors with the reference's tolerances.

use std::collections::HashMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use ssmc::ir::{Instance, Layer, Type, ValueId};
use ssmc_runtime::{Elements, Float, Tensor};

/// One file of golden vectors.
pub struct Archive {
    /// The tensors by name.
    pub tensors: HashMap<String, Raw>,
    /// The largest error that a float32 implementation may have, relative to the largest expected value.
    pub tolerance_f32: f64,
    /// The same for float64.
    pub tolerance_f64: f64,
}

/// A tensor as it stands in the file.
#[derive(Clone)]
pub struct Raw {
    /// Its shape in the file.
    pub shape: Vec<usize>,
    /// Its elements; all element types fit into `f64`.
    pub values: Vec<f64>,
}

impl Archive {
    /// Reads `tests/vectors/NAME.safetensors`.
    pub fn read(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
        let bytes = std::fs::read(folder.join(format!("{name}.safetensors"))).expect("the vector is there");
        let (_, metadata) = SafeTensors::read_metadata(&bytes).expect("the header is sound");
        let notes = metadata.metadata().clone().expect("the vector has notes");
        let tolerance = |key: &str| notes.get(key).and_then(|t| t.parse().ok()).unwrap_or(0.0);
        let file = SafeTensors::deserialize(&bytes).expect("the vector is sound");
        let tensors = file
            .tensors()
            .into_iter()
            .map(|(name, view)| {
                let values = numbers(view.dtype(), view.data());
                (name, Raw { shape: view.shape().to_vec(), values })
            })
            .collect();
        Self { tensors, tolerance_f32: tolerance("tol_f32_nme"), tolerance_f64: tolerance("tol_f64_nme") }
    }

    /// The tensor of that role and name, else the one of the bare name.
    pub fn find(&self, role: &str, name: &str) -> Option<&Raw> {
        self.tensors.get(&format!("{role}.{name}")).or_else(|| self.tensors.get(name))
    }

    /// The tensor of that role and name only.
    pub fn with_role(&self, role: &str, name: &str) -> Option<&Raw> {
        self.tensors.get(&format!("{role}.{name}"))
    }
}

fn numbers(dtype: Dtype, bytes: &[u8]) -> Vec<f64> {
    macro_rules! read {
        ($ty:ty) => {
            bytes
                .chunks_exact(size_of::<$ty>())
                .map(|b| <$ty>::from_le_bytes(b.try_into().expect("the chunk has this size")) as f64)
                .collect()
        };
    }
    match dtype {
        Dtype::F32 => read!(f32),
        Dtype::F64 => read!(f64),
        Dtype::I32 => read!(i32),
        Dtype::I64 => read!(i64),
        Dtype::U8 | Dtype::BOOL => read!(u8),
        other => panic!("no golden vector holds {other:?}"),
    }
}

impl Raw {
    /// The shape as a tensor of that type: a complex one has no last axis of 2.
    pub fn shape_as(&self, ty: &Type) -> Vec<usize> {
        let axes = self.shape.len() - usize::from(*ty == Type::Complex);
        self.shape[..axes].to_vec()
    }

    /// The tensor in the runtime's form.
    pub fn tensor<F: Float>(&self, ty: &Type) -> Tensor<F> {
        let plane = |from: usize, step: usize| -> Vec<F> {
            self.values.iter().skip(from).step_by(step).map(|&x| F::from_f64(x)).collect()
        };
        let elements = match ty {
            Type::Real => Elements::Real(plane(0, 1)),
            Type::Complex => Elements::Complex { re: plane(0, 2), im: plane(1, 2) },
            Type::Bool => Elements::Bool(self.values.iter().map(|&x| x as u8).collect()),
            Type::Int | Type::Index(_) => Elements::Int(self.values.iter().map(|&x| x as i32).collect()),
        };
        Tensor { shape: self.shape_as(ty), elements }
    }
}

/// All elements of a tensor as `f64`, complex ones as pairs.
pub fn flat<F: Float>(tensor: &Tensor<F>) -> Vec<f64> {
    match &tensor.elements {
        Elements::Real(v) => v.iter().map(|x| x.to_f64()).collect(),
        Elements::Complex { re, im } => re.iter().zip(im).flat_map(|(re, im)| [re.to_f64(), im.to_f64()]).collect(),
        Elements::Int(v) => v.iter().map(|&x| f64::from(x)).collect(),
        Elements::Bool(v) | Elements::Byte(v) => v.iter().map(|&x| f64::from(x)).collect(),
    }
}

/// Rows `range` of a tensor's first axis, taken as `[count, length, ..]`.
pub fn piece<F: Float>(tensor: &Tensor<F>, count: usize, length: usize, range: std::ops::Range<usize>) -> Tensor<F> {
    let row: usize = tensor.elements.len() / (count * length).max(1);
    fn cut<T: Copy>(v: &[T], count: usize, length: usize, row: usize, range: std::ops::Range<usize>) -> Vec<T> {
        (0..count)
            .flat_map(|s| v[(s * length + range.start) * row..(s * length + range.end) * row].iter().copied())
            .collect()
    }
    let cut_plane = |v: &Vec<F>| cut(v, count, length, row, range.clone());
    let elements = match &tensor.elements {
        Elements::Real(v) => Elements::Real(cut_plane(v)),
        Elements::Complex { re, im } => Elements::Complex { re: cut_plane(re), im: cut_plane(im) },
        Elements::Int(v) => Elements::Int(cut(v, count, length, row, range.clone())),
        Elements::Bool(v) => Elements::Bool(cut(v, count, length, row, range.clone())),
        Elements::Byte(v) => Elements::Byte(cut(v, count, length, row, range.clone())),
    };
    let mut shape = tensor.shape.clone();
    shape[0] = count * range.len();
    Tensor { shape, elements }
}

/// The dimensions of a layer on a file, its instance, and how the run is cut: batch and steps.
pub fn instance(layer: &Layer, archive: &Archive) -> (Instance, usize, usize) {
    let mut shapes: Vec<(ValueId, Vec<usize>, String)> = Vec::new();
    for param in &layer.params {
        if let Some(raw) = archive.find("param", &param.key) {
            let shape = raw.shape_as(&layer.value(param.value).ty);
            shapes.push((param.value, shape, param.key.clone()));
        }
    }
    let (mut batch, mut seq) = (1, 1);
    for &input in &layer.inputs {
        let value = layer.value(input);
        let raw = archive.find("in", &value.name).unwrap_or_else(|| panic!("no input {}", value.name));
        let shape = raw.shape_as(&value.ty);
        let lead = shape.len() - value.axes.len();
        assert!(lead == 1 || lead == 2, "{} has {lead} leading axes", value.name);
        (batch, seq) = if lead == 2 { (shape[0], shape[1]) } else { (1, shape[0]) };
        shapes.push((input, shape[lead..].to_vec(), value.name.clone()));
    }
    for state in &layer.states {
        if let Some(raw) = archive.with_role("state0", &state.name) {
            let value = layer.value(state.value);
            let shape = raw.shape_as(&value.ty);
            let lead = shape.len() - value.axes.len();
            shapes.push((state.value, shape[lead..].to_vec(), state.name.clone()));
        }
    }
    let given = vec![None; layer.dims.len()];
    let dims = ssmc::ir::instance::solve_dims(layer, &given, &shapes).expect("the dimensions are known");
    (Instance::new(layer.clone(), dims).expect("the sizes can be run"), batch, seq)
}
