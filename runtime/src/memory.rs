//! Memory for kernels.

/// Zeroed memory, aligned to a cache line.
pub(crate) struct Memory {
    lines: Vec<Line>,
}

#[repr(align(64))]
#[derive(Clone, Copy)]
struct Line(#[allow(dead_code, reason = "only its address is used")] [u8; 64]);

impl Memory {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { lines: vec![Line([0; 64]); bytes.div_ceil(64)] }
    }

    pub(crate) fn base(&mut self) -> *mut u8 {
        self.lines.as_mut_ptr().cast()
    }

    /// The same for those who only read.
    pub(crate) fn start(&self) -> *mut u8 {
        self.lines.as_ptr().cast_mut().cast()
    }
}
