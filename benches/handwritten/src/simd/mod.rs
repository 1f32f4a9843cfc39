//! Vectors of `f32` and `f64` behind one trait, so that a kernel is written once for every instruction set.
//!
//! A value of a type that is [`Simd`] is the proof that the host has its instructions: only [`Isa::run`] makes one,
//! after it has asked the processor. That is why arithmetic on vectors is safe here, and only accesses to memory are not.
//!
//! A kernel is a [`Kernel`]: its `run` is inlined into a function that has the target features, and with it everything
//! that it calls, as long as all of that is `#[inline(always)]`. A closure or a function that is not would be compiled
//! without those features, and every operation in it would become a call.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512vl;
pub mod math;

/// The instructions that a kernel is built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Loops in plain Rust, for whatever the crate is compiled for: the opponent that every kernel has.
    Plain,
    /// 256 bits, 16 registers: AVX2, FMA, BMI1 and BMI2.
    Avx2,
    /// 256 bits, 32 registers and the instructions of AVX-512 (F, BW, DQ, VL).
    Avx512Vl,
    /// 512 bits: AVX-512 (F, BW, DQ, VL).
    Avx512,
}

impl Isa {
    /// All of them, the narrowest first.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Avx2, Self::Avx512Vl, Self::Avx512];

    /// Whether the host has these instructions.
    pub fn is_available(self) -> bool {
        match self {
            Self::Plain => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("bmi1")
                    && is_x86_feature_detected!("bmi2")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vl | Self::Avx512 => {
                Self::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// The widest that the host has.
    pub fn best() -> Self {
        Self::ALL.into_iter().rev().find(|isa| isa.is_available()).unwrap_or(Self::Plain)
    }

    /// `f32` values in a vector; 1 for [`Isa::Plain`].
    pub fn lanes(self) -> usize {
        match self {
            Self::Plain => 1,
            Self::Avx2 | Self::Avx512Vl => 8,
            Self::Avx512 => 16,
        }
    }

    /// Runs a kernel with these instructions; `None` for [`Isa::Plain`] and where the host lacks them.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> Option<K::Output> {
        if !self.is_available() {
            return None;
        }
        // SAFETY: the host has the instructions.
        unsafe {
            match self {
                Self::Plain => None,
                Self::Avx2 => Some(avx2::run(kernel)),
                Self::Avx512Vl => Some(avx512vl::run(kernel)),
                Self::Avx512 => Some(avx512::run(kernel)),
            }
        }
    }

    /// Without x86 there is nothing to run a vector kernel with.
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn run<K: Kernel>(self, _: K) -> Option<K::Output> {
        None
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Plain => "plain",
            Self::Avx2 => "avx2",
            Self::Avx512Vl => "avx512vl",
            Self::Avx512 => "avx512",
        })
    }
}

/// Something to be compiled for every instruction set.
pub(crate) trait Kernel {
    /// What it gives.
    type Output;

    /// Must be `#[inline(always)]`, as all that it calls.
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// The vector operations of one instruction set.
///
/// `V` holds [`Simd::LANES`] values of `f32`, `D` half as many of `f64`. Products and sums are fused only where the name
/// says so. Nothing here is approximate but [`Simd::reciprocal_estimate`].
pub(crate) trait Simd: Copy {
    /// `LANES` values of `f32`.
    type V: Copy;
    /// `LANES / 2` values of `f64`.
    type D: Copy;
    /// A table of 32 values in registers.
    type Table: Copy;
    /// `f32` values in a vector.
    const LANES: usize;
    /// Vector registers: how much state a loop may keep in them.
    const REGISTERS: usize;

    fn splat(self, x: f32) -> Self::V;
    /// # Safety
    /// `LANES` values can be read at `from`.
    unsafe fn load(self, from: *const f32) -> Self::V;
    /// The first `n < LANES` values, zeros behind them.
    /// # Safety
    /// `n` values can be read at `from`.
    unsafe fn load_part(self, from: *const f32, n: usize) -> Self::V;
    /// # Safety
    /// `LANES` values can be written at `to`.
    unsafe fn store(self, to: *mut f32, v: Self::V);
    /// # Safety
    /// `n < LANES` values can be written at `to`.
    unsafe fn store_part(self, to: *mut f32, v: Self::V, n: usize);
    /// A store past the caches; a fence must follow before another thread reads ([`fence`]).
    /// # Safety
    /// As for `store`, and `to` is a multiple of the vector's size.
    unsafe fn stream(self, to: *mut f32, v: Self::V);

    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a·b + c`, rounded once.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `c - a·b`, rounded once.
    fn fnma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a·b - c`, rounded once.
    fn fms(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger one; `b` where either is NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `-|a|`.
    fn negative_abs(self, a: Self::V) -> Self::V;
    /// `a` where the sign bit of `sign` is clear, `b` where it is set.
    fn select_by_sign(self, sign: Self::V, a: Self::V, b: Self::V) -> Self::V;
    /// 1/a with a relative error of at most 2^-14; not for subnormal numbers.
    fn reciprocal_estimate(self, a: Self::V) -> Self::V;
    /// Cuts `z` into its fraction in `[0, 1]` and something that [`Simd::scale`] takes.
    fn split(self, z: Self::V) -> (Self::V, Self::V);
    /// `p·2^⌊z⌋`, with `z` as [`Simd::split`] gave it; below 2^-126 it may be 0.
    fn scale(self, p: Self::V, z: Self::V) -> Self::V;
    /// The exponent e and the mantissa m in `[1, 2)` of normal positive numbers, `a = m·2^e`.
    fn exponent_mantissa(self, a: Self::V) -> (Self::V, Self::V);
    /// Lane `i` of the result is lane `i - K` of `high`, and lane `LANES + i - K` of `low` where that is negative.
    fn shift_in<const K: usize>(self, high: Self::V, low: Self::V) -> Self::V;
    /// Lane `i` of the result is the sum of the lanes of `rows[i]`, for the first `LANES` rows.
    fn sums(self, rows: &[Self::V]) -> Self::V;
    /// The sum of all lanes.
    fn sum(self, a: Self::V) -> f32;
    /// Puts a table into registers.
    fn table(self, values: &[f32; 32]) -> Self::Table;
    /// Lane `i` of the result is the entry whose place is the exponent of lane `i` of `a`, with its bias of 127, modulo
    /// 32.
    fn look_up_exponent(self, table: Self::Table, a: Self::V) -> Self::V;
    /// The larger one of the absolute values.
    fn larger_abs(self, a: Self::V, b: Self::V) -> Self::V;
    /// Takes `a` out of sight of the optimiser, which then keeps the order of what is around it.
    fn pin(self, a: Self::V) -> Self::V;

    fn splat_f64(self, x: f64) -> Self::D;
    /// # Safety
    /// `LANES / 2` values can be read at `from`.
    unsafe fn load_f64(self, from: *const f64) -> Self::D;
    /// # Safety
    /// `LANES / 2` values can be written at `to`.
    unsafe fn store_f64(self, to: *mut f64, v: Self::D);
    fn add_f64(self, a: Self::D, b: Self::D) -> Self::D;
    fn mul_f64(self, a: Self::D, b: Self::D) -> Self::D;
    fn fma_f64(self, a: Self::D, b: Self::D, c: Self::D) -> Self::D;
    /// Lane `i` of the result is lane `LANES / 2 - 1 - K` of `a`.
    fn splat_from_end_f64<const K: usize>(self, a: Self::D) -> Self::D;
    /// Lane `i` of the result is lane `LANES - 1 - K` of `a`.
    fn splat_from_end<const K: usize>(self, a: Self::V) -> Self::V;

    /// A value in all lanes.
    /// # Safety
    /// One value can be read at `from`.
    #[inline(always)]
    unsafe fn broadcast(self, from: *const f32) -> Self::V {
        // SAFETY: as required of the caller.
        self.splat(unsafe { *from })
    }

    /// `load`, or `load_part` where fewer values are there.
    /// # Safety
    /// `min(n, LANES)` values can be read at `from`.
    #[inline(always)]
    unsafe fn load_up_to(self, from: *const f32, n: usize) -> Self::V {
        // SAFETY: as required of the caller.
        unsafe { if n >= Self::LANES { self.load(from) } else { self.load_part(from, n) } }
    }

    /// `store`, or `store_part` where fewer values have room.
    /// # Safety
    /// `min(n, LANES)` values can be written at `to`.
    #[inline(always)]
    unsafe fn store_up_to(self, to: *mut f32, v: Self::V, n: usize) {
        // SAFETY: as required of the caller.
        unsafe { if n >= Self::LANES { self.store(to, v) } else { self.store_part(to, v, n) } }
    }
}

/// Repeats a block with a constant index, so that arrays of vectors become registers before any loop pass.
macro_rules! unroll {
    ($k:ident in [$($n:literal)*] $body:block) => { $({ const $k: usize = $n; $body })* };
}
pub(crate) use unroll;

/// Brings a line close; any address will do.
#[inline(always)]
pub(crate) fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which never faults.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast())
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Brings a line into the second level.
#[inline(always)]
pub(crate) fn prefetch_l2<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which never faults.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(address.cast())
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Stores `v` past the caches, a whole line at once: half a line at a time would write it to memory twice.
///
/// Where a vector is half a line, the first half waits in `kept` for the second.
///
/// # Safety
/// As for [`Simd::stream`]. Where `to` is the second half of a line, the first half may be written too, and the last call
/// with the same `kept` was for that.
#[inline(always)]
pub(crate) unsafe fn stream_line<S: Simd>(s: S, to: *mut f32, v: S::V, kept: &mut S::V) {
    // SAFETY: as required of the caller.
    unsafe {
        if S::LANES == 16 {
            s.stream(to, v);
        } else if (to as usize).is_multiple_of(64) {
            *kept = v;
        } else {
            s.stream(to.sub(S::LANES), *kept);
            s.stream(to, v);
        }
    }
}

/// Orders streamed stores before whatever follows.
#[inline(always)]
pub(crate) fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has it.
    unsafe {
        std::arch::x86_64::_mm_sfence()
    }
}
