//! Loops whose work is known, for measuring the machine.
//!
//! In: how often to go round, or which memory to walk over. Out: nothing; whoever calls takes the time. On x86-64 with
//! AVX2 and FMA the loops are written in assembly, so that what runs depends neither on the compiler nor on its
//! settings; elsewhere they are plain Rust, and show what plain Rust reaches.
//!
//! | loop | one round is |
//! | --- | --- |
//! | [`chain`] | [`CHAIN`] additions of integers, each of which waits for the one before |
//! | [`multiply_add`] | one multiply-add of `f32` vectors on each of 4 or [`CHAINS`] chains |
//! | [`divide`] | [`CHAINS`] independent divisions of vectors |
//! | [`load`], [`store`], [`stream`], [`copy`] | every line of the memory once |

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

/// How many additions a round of [`chain`] has, one after the other: as many cycles on every processor that adds in
/// one cycle.
pub const CHAIN: u64 = 16;

/// How many independent chains [`multiply_add`] has where nothing is to wait, and [`divide`] always.
pub const CHAINS: u64 = 12;

/// The width of vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Width {
    /// 128 bits
    W128,
    /// 256 bits
    W256,
    /// 512 bits
    W512,
}

impl Width {
    /// All widths, ascending.
    pub const ALL: [Width; 3] = [Width::W128, Width::W256, Width::W512];

    /// The width in bits.
    pub fn bits(self) -> u32 {
        match self {
            Width::W128 => 128,
            Width::W256 => 256,
            Width::W512 => 512,
        }
    }
}

/// How many multiply-adds are under way at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Four chains: each waits for itself, and the vector units are busy.
    Waiting,
    /// [`CHAINS`] chains: as many as it takes that nothing waits.
    Full,
}

/// A cache line of memory.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub struct Line([u64; 8]);

impl Line {
    /// All bits zero.
    pub const ZERO: Line = Line([0; 8]);
}

/// Whether the loops are the portable ones.
pub fn is_portable() -> bool {
    #[cfg(target_arch = "x86_64")]
    return !x86::has(Width::W256);
    #[cfg(not(target_arch = "x86_64"))]
    true
}

/// The widths of vectors that this processor has; of the portable loops only the narrowest.
pub fn widths() -> Vec<Width> {
    if is_portable() {
        return vec![Width::W128];
    }
    #[cfg(target_arch = "x86_64")]
    return Width::ALL.into_iter().filter(|width| x86::has(*width)).collect();
    #[cfg(not(target_arch = "x86_64"))]
    vec![Width::W128]
}

/// Calls the loop of the processor where there is one, else the portable one.
macro_rules! choose {
    ($width:expr, $name:ident($($argument:expr),*)) => {{
        #[cfg(target_arch = "x86_64")]
        if x86::has($width) {
            return x86::$name($width, $($argument),*);
        }
        let _ = $width;
        portable::$name($($argument),*)
    }};
}

/// Additions of integers, each of which waits for the one before.
pub fn chain(rounds: u64) {
    choose!(Width::W128, chain(rounds));
}

/// Multiply-adds of `f32` vectors. Widths that the processor has not fall back to the portable loop.
pub fn multiply_add(width: Width, load: Load, rounds: u64) {
    choose!(width, multiply_add(load, rounds));
}

/// Divisions of vectors of reals of `bits`.
pub fn divide(width: Width, bits: u32, rounds: u64) {
    choose!(width, divide(bits, rounds));
}

/// Reads all lines.
pub fn load(width: Width, from: &[Line]) {
    choose!(width, load(from));
}

/// Reads all lines, asking for each some time before.
pub fn load_ahead(width: Width, from: &[Line]) {
    choose!(width, load_ahead(from));
}

/// Writes all lines.
pub fn store(width: Width, to: &mut [Line]) {
    choose!(width, store(to));
}

/// Writes all lines past the caches, where the processor can.
pub fn stream(width: Width, to: &mut [Line]) {
    choose!(width, stream(to));
}

/// Copies as many lines as both have; past the caches, where that is asked for and the processor can.
pub fn copy(width: Width, from: &[Line], to: &mut [Line], past_caches: bool) {
    choose!(width, copy(from, to, past_caches));
}

/// Copies as many lines as both have past the caches, where the processor can, asking for each some time before.
pub fn copy_ahead(width: Width, from: &[Line], to: &mut [Line]) {
    choose!(width, copy_ahead(from, to));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(count: usize) -> Vec<Line> {
        (0..count as u64).map(|i| Line([i; 8])).collect()
    }

    #[test]
    fn memory_is_read_and_written_where_it_is_said() {
        for width in Width::ALL {
            for count in [0, 1, 3, 4, 5, 64, 67] {
                let from = numbered(count);
                for past_caches in [false, true] {
                    let mut to = vec![Line([7; 8]); count + 2];
                    copy(width, &from, &mut to[1..=count], past_caches);
                    assert!(to[1..=count].iter().zip(&from).all(|(a, b)| a.0 == b.0), "{width:?} {count}");
                    assert!(to[0].0 == [7; 8] && to[count + 1].0 == [7; 8], "{width:?} {count}");
                }
                for write in [store, stream] {
                    let mut to = vec![Line([7; 8]); count + 2];
                    write(width, &mut to[1..=count]);
                    assert!(to[1..=count].iter().all(|line| line.0 == [0; 8]), "{width:?} {count}");
                    assert!(to[0].0 == [7; 8] && to[count + 1].0 == [7; 8], "{width:?} {count}");
                }
                let mut to = vec![Line([7; 8]); count + 2];
                copy_ahead(width, &from, &mut to[1..=count]);
                assert!(to[1..=count].iter().zip(&from).all(|(a, b)| a.0 == b.0), "{width:?} {count}");
                assert!(to[0].0 == [7; 8] && to[count + 1].0 == [7; 8], "{width:?} {count}");
                load(width, &from);
                load_ahead(width, &from);
            }
        }
    }

    #[test]
    fn loops_end() {
        for width in Width::ALL {
            for rounds in [0, 1, 1000] {
                chain(rounds);
                multiply_add(width, Load::Waiting, rounds);
                multiply_add(width, Load::Full, rounds);
                divide(width, 32, rounds);
                divide(width, 64, rounds);
            }
        }
        portable::chain(1000);
        portable::multiply_add(Load::Full, 1000);
        portable::divide(64, 1000);
        assert_eq!(widths()[0], Width::W128);
    }

    #[test]
    fn the_portable_loops_move_the_same_bytes() {
        let from = numbered(9);
        let mut to = vec![Line([7; 8]); 9];
        portable::copy(&from, &mut to, false);
        assert!(to.iter().zip(&from).all(|(a, b)| a.0 == b.0));
        portable::load(&from);
        portable::store(&mut to[..4]);
        assert!(to[..4].iter().all(|line| line.0 == [0; 8]) && to[4].0 == [4; 8]);
        portable::stream(&mut to);
        assert!(to.iter().all(|line| line.0 == [0; 8]));
    }
}
