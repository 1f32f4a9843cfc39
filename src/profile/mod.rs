//! What the machine can do: clock, multiply-adds, divisions and bandwidth.
//!
//! [`measure()`] takes the figures with the loops of [`ssmc_runtime::probe`]; [`Profile::to_json`] and
//! [`Profile::from_json`] write them down and read them back. Where they are kept is not decided here. [`bound`] says
//! what a run on such a machine takes at least.
//!
//! A clock is found from chains of operations that take a known number of cycles: additions of integers take one, and
//! how many a multiply-add takes at 128 bits follows from the two. That number is taken for the same at all widths.
//!
//! Processors that are shared with others switch between speeds. [`calibrate`] takes a tenth of a millisecond for work
//! that is always the same, so that what was timed between two calibrations can be judged by them.

pub mod bound;
mod json;
mod measure;

pub use measure::{Calibration, calibrate, measure};

/// What one machine can do.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The processor, as it names itself.
    pub model: String,
    /// How many threads it was measured with at most.
    pub threads: usize,
    /// Whether the loops were the portable ones: the figures are then what plain Rust reaches.
    pub portable: bool,
    /// How many cycles a multiply-add takes from operand to result.
    pub latency: f64,
    /// The widths of vectors, ascending; at least one.
    pub widths: Vec<Width>,
    /// The caches from the inside out, then memory; at least one.
    pub levels: Vec<Level>,
    /// What the calibration takes when the machine is fast.
    pub calibration: Calibration,
    /// The slowest calibration over the fastest: 1 on a machine that keeps its speed.
    pub speeds: f64,
    /// How long the measuring took, in seconds.
    pub seconds: f64,
}

/// What a width of vectors reaches on one thread.
#[derive(Clone, Debug, PartialEq)]
pub struct Width {
    /// The width in bits.
    pub bits: u32,
    /// The clock in GHz while vectors of that width are busy.
    pub ghz: f64,
    /// Multiply-adds of whole vectors a cycle; additions and multiplications are taken for the same.
    pub multiply_adds: f64,
    /// Divisions of whole vectors a cycle, of `f32` and of `f64`.
    pub divisions: [f64; 2],
}

impl Width {
    /// Divisions of whole vectors a cycle, of reals of that many bits.
    pub fn divisions(&self, bits: u32) -> f64 {
        self.divisions[usize::from(bits == 64)]
    }
}

/// A cache, or memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// `L1`, `L2`, `L3` or `memory`.
    pub name: String,
    /// How many bytes it holds; for memory, how many were walked over.
    pub bytes: usize,
    /// Bandwidth on one thread.
    pub one: Bandwidth,
    /// Bandwidth of all threads together.
    pub all: Bandwidth,
}

/// Bandwidths in 10^9 bytes a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bandwidth {
    /// Reading; from memory with lines that are asked for ahead, where that is faster.
    pub load: f64,
    /// Writing; in memory past the caches, where that is faster.
    pub store: f64,
    /// Reading and writing as much, both counted.
    pub copy: f64,
}

impl Profile {
    /// A processor that stands for all where none was measured: choices that follow from it are the same everywhere.
    ///
    /// Two multiply-adds of any width a cycle, four cycles each; caches of 48 KiB, 2 MiB and 32 MiB.
    pub fn reference() -> Self {
        let width = |bits, f32, f64| Width { bits, ghz: 2.5, multiply_adds: 2.0, divisions: [f32, f64] };
        // Threads add up in the caches that each has for itself, and to four times and twice behind them.
        let level = |name: &str, bytes, load, store, copy, all: f64| Level {
            name: name.to_owned(),
            bytes,
            one: Bandwidth { load, store, copy },
            all: Bandwidth { load: load * all, store: store * all, copy: copy * all },
        };
        Profile {
            model: "reference".to_owned(),
            threads: 1,
            portable: false,
            latency: 4.0,
            widths: vec![width(128, 1.0 / 3.0, 0.25), width(256, 0.2, 0.125), width(512, 0.1, 0.0625)],
            levels: vec![
                level("L1", 48 << 10, 300.0, 150.0, 280.0, 64.0),
                level("L2", 2 << 20, 120.0, 40.0, 60.0, 64.0),
                level("L3", 32 << 20, 25.0, 18.0, 20.0, 4.0),
                level("memory", 256 << 20, 9.0, 14.0, 12.0, 2.0),
            ],
            calibration: Calibration { wait: 5e-5, work: 2e-5 },
            speeds: 1.0,
            seconds: 1.0,
        }
    }

    /// The widest vectors of at most that many bits; the narrowest there are, if none is.
    pub fn width(&self, bits: u32) -> &Width {
        self.widths.iter().rev().find(|width| width.bits <= bits).unwrap_or(&self.widths[0])
    }

    /// The widest vectors.
    pub fn widest(&self) -> &Width {
        &self.widths[self.widths.len() - 1]
    }

    /// Where data of that many bytes lie when they are used again and again; each of `threads` has its part of
    /// them in caches of its own.
    pub fn level(&self, bytes: f64, threads: usize) -> &Level {
        let fits = |level: &&Level| {
            let own = if level.name == "L1" || level.name == "L2" { threads.max(1) as f64 } else { 1.0 };
            bytes <= level.bytes as f64 * own
        };
        self.levels.iter().find(fits).unwrap_or(&self.levels[self.levels.len() - 1])
    }
}

impl Level {
    /// The bandwidth of that many threads.
    pub fn bandwidth(&self, threads: usize) -> Bandwidth {
        if threads <= 1 {
            return self.one;
        }
        let rate = |one: f64, all: f64| (one * threads as f64).min(all.max(one));
        Bandwidth {
            load: rate(self.one.load, self.all.load),
            store: rate(self.one.store, self.all.store),
            copy: rate(self.one.copy, self.all.copy),
        }
    }
}

impl Bandwidth {
    /// The seconds that reading and writing so many bytes take.
    pub fn seconds(&self, read: f64, written: f64) -> f64 {
        let both = read.min(written);
        (2.0 * both / self.copy + (read - both) / self.load + (written - both) / self.store) * 1e-9
    }
}

/// The processor as it names itself, with what tells apart those of one name.
pub fn model() -> String {
    #[cfg(target_arch = "x86_64")]
    {
        let cpuid = raw_cpuid::CpuId::new();
        let brand = cpuid.get_processor_brand_string().map(|brand| brand.as_str().trim().to_owned());
        let version = cpuid.get_feature_info().map(|info| {
            format!("family {} model {} stepping {}", info.family_id(), info.model_id(), info.stepping_id())
        });
        let parts: Vec<String> = brand.into_iter().chain(version).collect();
        if !parts.is_empty() {
            return parts.join(", ");
        }
    }
    format!("{} processor", std::env::consts::ARCH)
}

/// The sizes of the data caches from the inside out, where the processor tells; else sizes that are usual.
fn cache_sizes() -> Vec<usize> {
    #[cfg(target_arch = "x86_64")]
    {
        let cpuid = raw_cpuid::CpuId::new();
        let mut sizes = Vec::new();
        if let Some(caches) = cpuid.get_cache_parameters() {
            for cache in caches {
                let data =
                    !matches!(cache.cache_type(), raw_cpuid::CacheType::Instruction | raw_cpuid::CacheType::Null);
                let bytes = cache.sets() * cache.associativity() * cache.coherency_line_size();
                if data && bytes > 0 && sizes.last().is_none_or(|&last| bytes > last) {
                    sizes.push(bytes);
                }
            }
        }
        if sizes.is_empty()
            && let Some(info) = cpuid.get_l1_cache_and_tlb_info()
            && let Some(more) = cpuid.get_l2_l3_cache_and_tlb_info()
        {
            let all = [
                usize::from(info.dcache_size()) << 10,
                usize::from(more.l2cache_size()) << 10,
                usize::from(more.l3cache_size()) << 19,
            ];
            sizes = all.into_iter().filter(|&bytes| bytes > 0).collect();
        }
        if sizes.len() >= 2 && sizes.is_sorted() {
            sizes.truncate(3);
            return sizes;
        }
    }
    vec![32 << 10, 1 << 20, 16 << 20]
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn sample() -> Profile {
        let level = |name: &str, bytes, rate| Level {
            name: name.to_owned(),
            bytes,
            one: Bandwidth { load: rate, store: rate / 2.0, copy: rate },
            all: Bandwidth { load: 1.5 * rate, store: rate, copy: 2.0 * rate },
        };
        Profile {
            model: "a processor".to_owned(),
            threads: 2,
            portable: false,
            latency: 4.0,
            widths: vec![
                Width { bits: 128, ghz: 3.0, multiply_adds: 2.0, divisions: [0.25, 0.125] },
                Width { bits: 512, ghz: 2.0, multiply_adds: 2.0, divisions: [0.1, 0.05] },
            ],
            levels: vec![level("L1", 1 << 15, 100.0), level("L2", 1 << 20, 50.0), level("memory", 1 << 28, 10.0)],
            calibration: Calibration { wait: 1e-5, work: 2e-5 },
            speeds: 1.25,
            seconds: 2.5,
        }
    }

    #[test]
    fn data_lie_where_they_fit() {
        let profile = sample();
        assert_eq!(profile.level(1000.0, 1).name, "L1");
        assert_eq!(profile.level(60000.0, 1).name, "L2");
        assert_eq!(profile.level(60000.0, 2).name, "L1");
        assert_eq!(profile.level(1e12, 2).name, "memory");
        assert_eq!((profile.width(512).bits, profile.width(256).bits, profile.width(64).bits), (512, 128, 128));
    }

    #[test]
    fn threads_add_up_to_what_all_reach() {
        let level = sample().levels[0].clone();
        assert_eq!(level.bandwidth(1).load, 100.0);
        assert_eq!(level.bandwidth(2).load, 150.0);
        assert_eq!(level.bandwidth(2).copy, 200.0);
        // 4 bytes copied at 100, 6 read at 100, in GB/s.
        assert!((level.one.seconds(10.0, 4.0) - 0.14e-9).abs() < 1e-15);
        assert!((level.one.seconds(0.0, 5.0) - 0.1e-9).abs() < 1e-15);
    }

    #[test]
    fn a_profile_survives_being_written_down() {
        let profile = sample();
        assert_eq!(Profile::from_json(&profile.to_json()), Ok(profile));
    }

    #[test]
    fn what_is_no_profile_is_refused() {
        let good = sample().to_json();
        for (key, value) in [
            ("version", serde_json::json!(0)),
            ("model", serde_json::json!(1)),
            ("widths", serde_json::json!([])),
            ("levels", serde_json::json!([{"name": "L1"}])),
            ("latency", serde_json::json!(-1)),
            ("latency", serde_json::json!("NaN")),
            ("calibration", serde_json::Value::Null),
        ] {
            let mut bad = good.clone();
            bad[key] = value;
            assert!(Profile::from_json(&bad).is_err(), "{key}");
        }
        assert!(Profile::from_json(&serde_json::json!([])).is_err());
    }

    #[test]
    fn the_machine_is_known() {
        assert!(!model().is_empty());
        let sizes = cache_sizes();
        assert!(sizes.len() >= 2 && sizes.is_sorted(), "{sizes:?}");
    }
}
