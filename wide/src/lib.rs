//! Machine code for x86-64 with AVX2 or AVX-512, from Cranelift IR with vectors of any width.
//!
//! In: one CLIF function in SSA form (any that Cranelift's verifier accepts). Out: [`Code`]: bytes with their constant
//! pool behind them, and the places where the addresses of external functions go. What this selector does not know is
//! an [`Unsupported`], never a panic; the caller can then take Cranelift's own back end, which selects vectors up to
//! 128 bits only.
//!
//! `repeats` drops what a block computes twice. [`isel`] makes machine instructions, block by block from the last
//! instruction to the first, so that a load or a comparison can go into the instruction that uses it, and what nobody
//! uses is never made. `schedule` orders the instructions of each block, so that chains of operations that wait for
//! one another run side by side. `consts` decides which constants live in registers, by the pressure in each loop. `ra` hands the
//! result to `regalloc2`. `emit` lays out the frame and the blocks and encodes with `iced-x86`.
//!
//! What a machine can do and CLIF cannot say are [`Primitive`]s: calls that become instructions.
//!
//! # Invariants
//! - The calling convention is System V. Upper halves are cleared (`vzeroupper`) before every call and return.
//! - A load moves down to its use only within its block, where it has one use and nothing is written in between (or
//!   it is `readonly`).
//! - A load that nothing uses is left out; a prefetch never is.
//! - Floating-point operations are those of the CLIF, one for one, rounded as it says; results are the same to the bit
//!   as Cranelift's, except for the bits of NaNs. The exceptions that give the same results are in `isel::idiom`.
//! - The same function gives the same bytes.

mod consts;
mod emit;
mod inst;
mod isel;
mod live;
mod primitive;
mod ra;
mod repeats;
mod schedule;
mod table;

use cranelift_codegen::ir::{ExternalName, Function};

pub use primitive::Primitive;

/// What the processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// AVX2, FMA, BMI1 and BMI2: 16 registers of 256 bits.
    Avx2,
    /// The above and AVX-512 F, BW, DQ and VL: 32 registers of 512 bits, and masks.
    Avx512,
}

impl Level {
    /// The bytes of the widest vector.
    pub fn vector_bytes(self) -> u32 {
        match self {
            Level::Avx2 => 32,
            Level::Avx512 => 64,
        }
    }

    /// How many vector registers there are.
    pub fn registers(self) -> usize {
        match self {
            Level::Avx2 => 16,
            Level::Avx512 => 32,
        }
    }
}

/// Machine code that can be put anywhere.
#[derive(Clone, Debug)]
pub struct Code {
    /// The instructions and, behind them, the constants; wants an alignment of 64.
    pub bytes: Vec<u8>,
    /// How many of the bytes are instructions.
    pub code_size: usize,
    /// Where the 8-byte addresses of external functions go.
    pub relocations: Vec<Relocation>,
    /// What the code is like.
    pub stats: Stats,
}

#[cfg(feature = "text")]
impl Code {
    /// The instructions in Intel's notation, one a line, with their places.
    pub fn text(&self) -> String {
        use iced_x86::Formatter;
        let mut decoder = iced_x86::Decoder::new(64, &self.bytes[..self.code_size], iced_x86::DecoderOptions::NONE);
        let mut formatter = iced_x86::IntelFormatter::new();
        let (mut text, mut line) = (String::new(), String::new());
        for instruction in &mut decoder {
            line.clear();
            formatter.format(&instruction, &mut line);
            text.push_str(&format!("{:6x}  {line}\n", instruction.ip()));
        }
        text
    }
}

/// A place for the address of an external function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relocation {
    /// Where the 8 bytes are.
    pub offset: u32,
    /// The function, as the CLIF names it.
    pub name: ExternalName,
}

/// What became of the innermost loops (those without a loop inside), cold blocks left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Instructions of all innermost loops.
    pub inner_instructions: usize,
    /// Moves between registers that the allocator put there.
    pub inner_moves: usize,
    /// Loads and stores of spill slots there, operands included.
    pub inner_spills: usize,
    /// Bytes of the frame.
    pub frame: usize,
}

/// CLIF that this selector has no code for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the wide selector has no code for {0}")]
pub struct Unsupported(pub String);

/// Compiles a function.
///
/// # Errors
/// What the selector does not know, and functions that the register allocator refuses.
pub fn compile(function: &Function, level: Level) -> Result<Code, Unsupported> {
    compiled(function, level, false)
}

/// Compiles a function and checks the register allocation symbolically.
///
/// # Errors
/// As for [`compile`], and what the checker finds.
pub fn compile_checked(function: &Function, level: Level) -> Result<Code, Unsupported> {
    compiled(function, level, true)
}

fn compiled(function: &Function, level: Level, checked: bool) -> Result<Code, Unsupported> {
    let mut function = function.clone();
    repeats::remove(&mut function);
    let mut machine = isel::select(&function, level)?;
    schedule::order(&mut machine, level);
    consts::place(&mut machine, level);
    let allocated = ra::allocate(&machine, level)?;
    if checked {
        ra::check(&machine, &allocated, level)?;
    }
    emit::emit(&function, &machine, &allocated, level)
}
