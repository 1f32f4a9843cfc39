//! An automaton of up to 16 states over bytes: `s = table[token][s]`.
//!
//! Walking it waits five cycles a token for a load. Here the maps are composed instead: a map of 16 states is a
//! register of 16 bytes, and a byte shuffle, of one cycle, puts one behind the other. The maps of a stretch compose to a
//! map, whatever the state it starts from, so two stretches go side by side in one thread, and threads take their own.
//!
//! Source: Mytkowicz, Musuvathi and Schulte 2014.

use crate::memory::{Error, Shared, parallel, place, share};
use crate::simd::Isa;

/// Where each of 16 states goes.
pub type Map = [u8; 16];

/// The map that changes nothing.
const IDENTITY: Map = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// A transition for every byte.
#[derive(Clone)]
#[repr(C, align(64))]
pub struct Table([Map; 256]);

impl Table {
    /// The table of an automaton.
    ///
    /// # Errors
    /// A state of 16 or more.
    pub fn new(maps: &[Map; 256]) -> Result<Self, Error> {
        if maps.iter().flatten().any(|&s| s > 15) {
            return Err(Error::Value { name: "maps", reason: "states below 16" });
        }
        Ok(Self(*maps))
    }

    /// The automaton as it stands; gives the state after all tokens.
    pub fn plain(&self, tokens: &[u8], start: u8) -> u8 {
        tokens.iter().fold(start & 15, |s, &token| self.0[usize::from(token)][usize::from(s)])
    }

    /// The map of all tokens in their order.
    pub fn compose(&self, isa: Isa, threads: usize, tokens: &[u8]) -> Map {
        let threads = threads.max(1);
        let mut maps = vec![IDENTITY; threads];
        let shared = Shared::new(&mut maps);
        parallel(threads, |n| {
            let part = self.stretch(isa, &tokens[share(tokens.len(), 64, n, threads)]);
            // SAFETY: every thread has a map of its own.
            unsafe { *shared.place(n, 1) = part };
        });
        maps.into_iter().fold(IDENTITY, |first, then| first.map(|s| then[usize::from(s)]))
    }

    #[cfg(target_arch = "x86_64")]
    fn stretch(&self, isa: Isa, tokens: &[u8]) -> Map {
        if isa.lanes() == 1 || !isa.is_available() {
            return self.plain_compose(tokens);
        }
        // SAFETY: all vector instruction sets of this crate have AVX2.
        unsafe { compose(self, tokens) }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn stretch(&self, _: Isa, tokens: &[u8]) -> Map {
        self.plain_compose(tokens)
    }

    fn plain_compose(&self, tokens: &[u8]) -> Map {
        IDENTITY.map(|s| self.plain(tokens, s))
    }
}

/// Composes two halves side by side, eight tokens of each at a time.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2")]
fn compose(table: &Table, tokens: &[u8]) -> Map {
    use std::arch::x86_64::*;

    let half = tokens.len() / 16 * 8;
    let (first, rest) = tokens.split_at(half);
    let (second, tail) = rest.split_at(half);
    let start = table.0.as_ptr().cast::<u8>();
    // SAFETY: a map has 16 bytes; a token times 16 is the place of its map; eight tokens are read below `half`.
    let (mut a, mut b) = unsafe {
        let identity = _mm_loadu_si128(IDENTITY.as_ptr().cast());
        let (mut a, mut b) = (identity, identity);
        let mut i = 0;
        while i < half {
            let p = place(first, i, 8).cast::<u64>().read_unaligned();
            let q = place(second, i, 8).cast::<u64>().read_unaligned();
            macro_rules! step {
                ($($shift:literal)*) => { $(
                    let map = _mm_load_si128(start.add(((p >> $shift) as u8 as usize) * 16).cast());
                    a = _mm_shuffle_epi8(map, a);
                    let map = _mm_load_si128(start.add(((q >> $shift) as u8 as usize) * 16).cast());
                    b = _mm_shuffle_epi8(map, b);
                )* };
            }
            step!(0 8 16 24 32 40 48 56);
            i += 8;
        }
        (a, b)
    };
    // The first half is what the second one starts from.
    a = _mm_shuffle_epi8(b, a);
    for &token in tail {
        // SAFETY: as above.
        b = unsafe { _mm_load_si128(start.add(usize::from(token) * 16).cast()) };
        a = _mm_shuffle_epi8(b, a);
    }
    let mut map = IDENTITY;
    // SAFETY: a map has 16 bytes.
    unsafe { _mm_storeu_si128(map.as_mut_ptr().cast(), a) };
    map
}
