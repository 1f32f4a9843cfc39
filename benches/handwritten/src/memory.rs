//! Arrays as kernels see them: lengths checked once, then places that are not, and outputs that threads share.

use std::marker::PhantomData;

/// What does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An array of another length.
    #[error("expected {expected} values in `{name}`, found {found}")]
    Length {
        /// The argument.
        name: &'static str,
        /// What its length should be.
        expected: usize,
        /// What it is.
        found: usize,
    },
    /// A value outside of its range.
    #[error("`{name}` is out of range: {reason}")]
    Value {
        /// The argument.
        name: &'static str,
        /// What it has to be.
        reason: &'static str,
    },
}

/// Compares a length.
pub(crate) fn expect(name: &'static str, found: usize, expected: usize) -> Result<(), Error> {
    if found == expected { Ok(()) } else { Err(Error::Length { name, expected, found }) }
}

/// The least multiple of `unit` that is not below `n`.
pub(crate) const fn round_up(n: usize, unit: usize) -> usize {
    n.div_ceil(unit) * unit
}

/// The address of `n` values from `i` on.
///
/// Looks at the bounds in debug builds only, which is where the tests run.
#[inline(always)]
pub(crate) fn place<T>(from: &[T], i: usize, n: usize) -> *const T {
    debug_assert!(i + n <= from.len(), "{i} + {n} is outside of {}", from.len());
    from.as_ptr().wrapping_add(i)
}

/// An array that several threads write, each its own part.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: it is the address of a slice that is borrowed for as long; who writes through it says why nobody else does.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(crate) fn new(of: &'a mut [T]) -> Self {
        Self { start: of.as_mut_ptr(), len: of.len(), borrow: PhantomData }
    }

    /// The address of `n` values from `i` on, which may be used as long as no other thread uses the same ones.
    #[inline(always)]
    pub(crate) fn place(self, i: usize, n: usize) -> *mut T {
        debug_assert!(i + n <= self.len, "{i} + {n} is outside of {}", self.len);
        self.start.wrapping_add(i)
    }
}

/// Calls `part` with 0 to `parts - 1`, on that many threads.
pub(crate) fn parallel(parts: usize, part: impl Fn(usize) + Sync) {
    if parts <= 1 {
        part(0);
        return;
    }
    rayon::scope(|scope| {
        for n in 0..parts {
            let part = &part;
            scope.spawn(move |_| part(n));
        }
    });
}

/// Part `n` of `parts` of `0..len`, cut at multiples of `unit`.
pub(crate) fn share(len: usize, unit: usize, n: usize, parts: usize) -> std::ops::Range<usize> {
    let units = len.div_ceil(unit);
    let cut = |n: usize| (units * n / parts * unit).min(len);
    cut(n)..cut(n + 1)
}

/// The alignment of the buffers that kernels make for themselves: a line of the cache.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Zeros from the start of a line of the cache.
#[derive(Clone)]
pub(crate) struct Aligned(Vec<Line>);

impl Aligned {
    pub(crate) fn zeros(len: usize) -> Self {
        Self(vec![Line([0.0; 16]); len.div_ceil(16)])
    }
}

impl std::ops::Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: a line is 16 values without padding.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * 16) }
    }
}

impl std::ops::DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and borrowed as a whole.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * 16) }
    }
}

/// Whether stores past the caches are possible and worth it: the output is aligned and more than the second level holds.
pub(crate) fn streams(y: &[f32], row: usize) -> bool {
    (y.as_ptr() as usize).is_multiple_of(64) && row.is_multiple_of(16) && y.len() > 1 << 19
}
