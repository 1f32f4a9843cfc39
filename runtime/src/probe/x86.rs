//! The loops for x86-64 with AVX2 and FMA, in assembly.
//!
//! `has` stands before every call: it says whether the processor has the instructions. The loops touch no memory but
//! the lines that they are given, and leave the upper halves of the vector registers clean.

use std::arch::asm;

use super::{Line, Load, Width, portable};

/// Whether the processor has the loops of that width.
pub(super) fn has(width: Width) -> bool {
    match width {
        Width::W128 | Width::W256 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
        Width::W512 => has(Width::W256) && is_x86_feature_detected!("avx512f"),
    }
}

/// Some lines of assembly for each number.
macro_rules! each {
    ($begin:expr, $prefix:expr, $suffix:expr, [$($n:literal)*]) => {
        concat!($($begin, $prefix, $n, $suffix, "\n"),*)
    };
}

/// The function of a width, which the processor has.
macro_rules! by_width {
    ($width:expr, $a:ident | $b:ident | $c:ident ($($argument:expr),*)) => {
        // SAFETY: `has` was asked about this width before.
        unsafe {
            match $width {
                Width::W128 => $a($($argument),*),
                Width::W256 => $b($($argument),*),
                Width::W512 => $c($($argument),*),
            }
        }
    };
}

pub(super) fn chain(_width: Width, rounds: u64) {
    if rounds == 0 {
        return;
    }
    // SAFETY: only the registers that are named change.
    unsafe {
        asm!(
            "2:",
            concat!(
                "add {x}, {y}\n", "add {x}, {y}\n", "add {x}, {y}\n", "add {x}, {y}\n",
                "add {x}, {y}\n", "add {x}, {y}\n", "add {x}, {y}\n", "add {x}, {y}\n",
                "add {x}, {y}\n", "add {x}, {y}\n", "add {x}, {y}\n", "add {x}, {y}\n",
                "add {x}, {y}\n", "add {x}, {y}\n", "add {x}, {y}\n", "add {x}, {y}\n",
            ),
            "dec {n}",
            "jnz 2b",
            n = inout(reg) rounds => _,
            x = inout(reg) 0u64 => _,
            y = in(reg) 1u64,
            options(nomem, nostack),
        );
    }
}

/// Operations on registers only, again and again; all vector registers may change.
macro_rules! register_loop {
    ($name:ident, $feature:literal, $setup:expr, $body:expr) => {
        /// # Safety
        /// The processor has the feature.
        #[target_feature(enable = $feature)]
        unsafe fn $name(rounds: u64, constants: [u64; 2]) {
            if rounds == 0 {
                return;
            }
            // SAFETY: only registers that are named change.
            unsafe {
                asm!(
                    "vmovq xmm14, {a}",
                    "vmovq xmm15, {b}",
                    $setup,
                    "2:",
                    $body,
                    "dec {n}",
                    "jnz 2b",
                    "vzeroupper",
                    n = inout(reg) rounds => _,
                    a = in(reg) constants[0],
                    b = in(reg) constants[1],
                    out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                    out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                    out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                    out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                    options(nomem, nostack),
                );
            }
        }
    };
}

macro_rules! arithmetic {
    ($reg:literal, $feature:literal, $waiting:ident, $full:ident, $divide32:ident, $divide64:ident) => {
        // x = x * a + a, from 0: stays finite and normal for a small `a`.
        register_loop!(
            $waiting,
            $feature,
            concat!(
                "vpbroadcastd ", $reg, "14, xmm14\n",
                "vpbroadcastd ", $reg, "15, xmm15\n",
                each!("vxorps ", "xmm", ", xmm14, xmm14", [0 1 2 3])
            ),
            each!("vfmadd213ps ", $reg, concat!(", ", $reg, "14, ", $reg, "15"), [0 1 2 3])
        );
        register_loop!(
            $full,
            $feature,
            concat!(
                "vpbroadcastd ", $reg, "14, xmm14\n",
                "vpbroadcastd ", $reg, "15, xmm15\n",
                each!("vxorps ", "xmm", ", xmm14, xmm14", [0 1 2 3 4 5 6 7 8 9 10 11])
            ),
            each!("vfmadd213ps ", $reg, concat!(", ", $reg, "14, ", $reg, "15"), [0 1 2 3 4 5 6 7 8 9 10 11])
        );
        register_loop!(
            $divide32,
            $feature,
            concat!("vpbroadcastd ", $reg, "14, xmm14\n", "vpbroadcastd ", $reg, "15, xmm15\n"),
            each!("vdivps ", $reg, concat!(", ", $reg, "14, ", $reg, "15"), [0 1 2 3 4 5 6 7 8 9 10 11])
        );
        register_loop!(
            $divide64,
            $feature,
            concat!("vpbroadcastq ", $reg, "14, xmm14\n", "vpbroadcastq ", $reg, "15, xmm15\n"),
            each!("vdivpd ", $reg, concat!(", ", $reg, "14, ", $reg, "15"), [0 1 2 3 4 5 6 7 8 9 10 11])
        );
    };
}

arithmetic!("xmm", "avx2,fma", waiting_128, full_128, divide32_128, divide64_128);
arithmetic!("ymm", "avx2,fma", waiting_256, full_256, divide32_256, divide64_256);
arithmetic!("zmm", "avx512f", waiting_512, full_512, divide32_512, divide64_512);

fn singles(a: f32, b: f32) -> [u64; 2] {
    [a.to_bits().into(), b.to_bits().into()]
}

pub(super) fn multiply_add(width: Width, load: Load, rounds: u64) {
    let constants = singles(0.5, 0.25);
    match load {
        Load::Waiting => by_width!(width, waiting_128 | waiting_256 | waiting_512(rounds, constants)),
        Load::Full => by_width!(width, full_128 | full_256 | full_512(rounds, constants)),
    }
}

pub(super) fn divide(width: Width, bits: u32, rounds: u64) {
    if bits == 64 {
        let constants = [1.5f64.to_bits(), 1.25f64.to_bits()];
        by_width!(width, divide64_128 | divide64_256 | divide64_512(rounds, constants));
    } else {
        by_width!(width, divide32_128 | divide32_256 | divide32_512(rounds, singles(1.5, 1.25)));
    }
}

/// How many lines a turn of a walk has.
const BLOCK: usize = 4;

/// Walks over blocks of lines.
macro_rules! walk {
    ($name:ident, $feature:literal, $body:expr) => {
        /// # Safety
        /// The processor has the feature; `blocks` blocks may be read at `from` and written at `to`, as far as the
        /// body does either.
        #[target_feature(enable = $feature)]
        unsafe fn $name(from: *const Line, to: *mut Line, blocks: usize) {
            if blocks == 0 {
                return;
            }
            // SAFETY: the addresses stay inside of the blocks that the caller vouches for.
            unsafe {
                asm!(
                    "vxorps xmm0, xmm0, xmm0",
                    "2:",
                    $body,
                    "add {from}, 256",
                    "add {to}, 256",
                    "dec {n}",
                    "jnz 2b",
                    "vzeroupper",
                    "sfence",
                    n = inout(reg) blocks => _,
                    from = inout(reg) from => _,
                    to = inout(reg) to => _,
                    out("xmm0") _, out("xmm1") _,
                    options(nostack),
                );
            }
        }
    };
}

/// Asks for the lines of a later turn.
macro_rules! ahead {
    () => {
        "prefetcht0 [{from} + 2048]
        prefetcht0 [{from} + 2112]
        prefetcht0 [{from} + 2176]
        prefetcht0 [{from} + 2240]
        "
    };
}

macro_rules! walks {
    ($feature:literal, $reg:literal, [$($at:literal)*], $load:ident, $store:ident, $stream:ident, $copy:ident, $past:ident,
        $load_ahead:ident, $past_ahead:ident) => {
        walk!($load, $feature, concat!($("vmovaps ", $reg, "1, [{from} + ", $at, "]\n"),*));
        walk!($store, $feature, concat!($("vmovaps [{to} + ", $at, "], ", $reg, "0\n"),*));
        walk!($stream, $feature, concat!($("vmovntps [{to} + ", $at, "], ", $reg, "0\n"),*));
        walk!($copy, $feature, concat!(
            $("vmovaps ", $reg, "1, [{from} + ", $at, "]\n", "vmovaps [{to} + ", $at, "], ", $reg, "1\n"),*));
        walk!($past, $feature, concat!(
            $("vmovaps ", $reg, "1, [{from} + ", $at, "]\n", "vmovntps [{to} + ", $at, "], ", $reg, "1\n"),*));
        walk!($load_ahead, $feature, concat!(ahead!(), $("vmovaps ", $reg, "1, [{from} + ", $at, "]\n"),*));
        walk!($past_ahead, $feature, concat!(ahead!(),
            $("vmovaps ", $reg, "1, [{from} + ", $at, "]\n", "vmovntps [{to} + ", $at, "], ", $reg, "1\n"),*));
    };
}

walks!("avx2", "xmm", [0 16 32 48 64 80 96 112 128 144 160 176 192 208 224 240],
    load_128, store_128, stream_128, copy_128, past_128,
    load_ahead_128, past_ahead_128);
walks!("avx2", "ymm", [0 32 64 96 128 160 192 224], load_256, store_256, stream_256, copy_256, past_256,
    load_ahead_256, past_ahead_256);
walks!("avx512f", "zmm", [0 64 128 192], load_512, store_512, stream_512, copy_512, past_512,
    load_ahead_512, past_ahead_512);

pub(super) fn load(width: Width, from: &[Line]) {
    let (blocks, rest) = from.as_chunks::<BLOCK>();
    let to = std::ptr::null_mut::<Line>();
    by_width!(width, load_128 | load_256 | load_512(blocks.as_ptr().cast(), to, blocks.len()));
    portable::load(rest);
}

pub(super) fn load_ahead(width: Width, from: &[Line]) {
    let (blocks, rest) = from.as_chunks::<BLOCK>();
    let to = std::ptr::null_mut::<Line>();
    by_width!(width, load_ahead_128 | load_ahead_256 | load_ahead_512(blocks.as_ptr().cast(), to, blocks.len()));
    portable::load(rest);
}

pub(super) fn store(width: Width, to: &mut [Line]) {
    let (blocks, rest) = to.as_chunks_mut::<BLOCK>();
    let (to, count) = (blocks.as_mut_ptr().cast(), blocks.len());
    by_width!(width, store_128 | store_256 | store_512(to, to, count));
    portable::store(rest);
}

pub(super) fn stream(width: Width, to: &mut [Line]) {
    let (blocks, rest) = to.as_chunks_mut::<BLOCK>();
    let (to, count) = (blocks.as_mut_ptr().cast(), blocks.len());
    by_width!(width, stream_128 | stream_256 | stream_512(to, to, count));
    portable::stream(rest);
}

pub(super) fn copy(width: Width, from: &[Line], to: &mut [Line], past_caches: bool) {
    let count = from.len().min(to.len());
    let (blocks, rest) = from[..count].as_chunks::<BLOCK>();
    let (to_blocks, to_rest) = to[..count].as_chunks_mut::<BLOCK>();
    let (from, to, count) = (blocks.as_ptr().cast(), to_blocks.as_mut_ptr().cast(), blocks.len());
    if past_caches {
        by_width!(width, past_128 | past_256 | past_512(from, to, count));
    } else {
        by_width!(width, copy_128 | copy_256 | copy_512(from, to, count));
    }
    portable::copy(rest, to_rest, past_caches);
}

pub(super) fn copy_ahead(width: Width, from: &[Line], to: &mut [Line]) {
    let count = from.len().min(to.len());
    let (blocks, rest) = from[..count].as_chunks::<BLOCK>();
    let (to_blocks, to_rest) = to[..count].as_chunks_mut::<BLOCK>();
    let (from, to, count) = (blocks.as_ptr().cast(), to_blocks.as_mut_ptr().cast(), blocks.len());
    by_width!(width, past_ahead_128 | past_ahead_256 | past_ahead_512(from, to, count));
    portable::copy(rest, to_rest, true);
}
