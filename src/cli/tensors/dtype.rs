//! Element types of tensor files.

/// The type of a tensor's elements in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the type of its name")]
pub enum Dtype {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    Bf16,
    F32,
    F64,
    C64,
    C128,
}

impl Dtype {
    /// The type of that name in safetensors.
    pub fn from_safetensors(dtype: safetensors::Dtype) -> Option<Self> {
        use safetensors::Dtype as S;
        Some(match dtype {
            S::BOOL => Dtype::Bool,
            S::U8 => Dtype::U8,
            S::I8 => Dtype::I8,
            S::U16 => Dtype::U16,
            S::I16 => Dtype::I16,
            S::U32 => Dtype::U32,
            S::I32 => Dtype::I32,
            S::U64 => Dtype::U64,
            S::I64 => Dtype::I64,
            S::F16 => Dtype::F16,
            S::BF16 => Dtype::Bf16,
            S::F32 => Dtype::F32,
            S::F64 => Dtype::F64,
            S::C64 => Dtype::C64,
            _ => return None,
        })
    }

    /// The type of that description in NumPy, and whether its bytes are in big-endian order.
    pub fn from_numpy(descr: &str) -> Option<(Self, bool)> {
        let big = descr.starts_with('>');
        let dtype = match descr.strip_prefix(['<', '>', '|', '='])? {
            "b1" | "?" => Dtype::Bool,
            "u1" => Dtype::U8,
            "i1" => Dtype::I8,
            "u2" => Dtype::U16,
            "i2" => Dtype::I16,
            "u4" => Dtype::U32,
            "i4" => Dtype::I32,
            "u8" => Dtype::U64,
            "i8" => Dtype::I64,
            "f2" => Dtype::F16,
            "f4" => Dtype::F32,
            "f8" => Dtype::F64,
            "c8" => Dtype::C64,
            "c16" => Dtype::C128,
            _ => return None,
        };
        Some((dtype, big))
    }

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::Bool => "bool",
            Dtype::U8 => "u8",
            Dtype::I8 => "i8",
            Dtype::U16 => "u16",
            Dtype::I16 => "i16",
            Dtype::U32 => "u32",
            Dtype::I32 => "i32",
            Dtype::U64 => "u64",
            Dtype::I64 => "i64",
            Dtype::F16 => "f16",
            Dtype::Bf16 => "bf16",
            Dtype::F32 => "f32",
            Dtype::F64 => "f64",
            Dtype::C64 => "complex64",
            Dtype::C128 => "complex128",
        }
    }

    /// How many bytes one element has.
    pub fn size(self) -> usize {
        if self.is_complex() { 2 * self.unit() } else { self.unit() }
    }

    /// How many bytes are in one number of it: half an element of a complex type.
    pub fn unit(self) -> usize {
        match self {
            Dtype::Bool | Dtype::U8 | Dtype::I8 => 1,
            Dtype::U16 | Dtype::I16 | Dtype::F16 | Dtype::Bf16 => 2,
            Dtype::U32 | Dtype::I32 | Dtype::F32 | Dtype::C64 => 4,
            Dtype::U64 | Dtype::I64 | Dtype::F64 | Dtype::C128 => 8,
        }
    }

    /// Whether its elements are real numbers.
    pub fn is_real(self) -> bool {
        matches!(self, Dtype::F16 | Dtype::Bf16 | Dtype::F32 | Dtype::F64)
    }

    /// Whether its elements are complex numbers.
    pub fn is_complex(self) -> bool {
        matches!(self, Dtype::C64 | Dtype::C128)
    }

    /// Whether its elements are integers.
    pub fn is_integer(self) -> bool {
        !self.is_real() && !self.is_complex() && self != Dtype::Bool
    }
}
