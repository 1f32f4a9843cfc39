//! Profiles as JSON.

use serde_json::{Value, json};

use super::{Bandwidth, Calibration, Level, Profile, Width};

/// Raised whenever what is measured changes: older profiles are then measured anew.
const VERSION: u64 = 1;

impl Profile {
    /// The profile as JSON.
    pub fn to_json(&self) -> Value {
        let bandwidth = |b: &Bandwidth| json!({ "load": b.load, "store": b.store, "copy": b.copy });
        json!({
            "version": VERSION,
            "model": self.model,
            "threads": self.threads,
            "portable": self.portable,
            "latency": self.latency,
            "widths": self.widths.iter().map(|width| json!({
                "bits": width.bits,
                "ghz": width.ghz,
                "multiply_adds_per_cycle": width.multiply_adds,
                "divisions_per_cycle_f32": width.divisions[0],
                "divisions_per_cycle_f64": width.divisions[1],
            })).collect::<Vec<_>>(),
            "levels": self.levels.iter().map(|level| json!({
                "name": level.name,
                "bytes": level.bytes,
                "gb_per_second_one_thread": bandwidth(&level.one),
                "gb_per_second_all_threads": bandwidth(&level.all),
            })).collect::<Vec<_>>(),
            "calibration": { "wait": self.calibration.wait, "work": self.calibration.work },
            "speeds": self.speeds,
            "seconds": self.seconds,
        })
    }

    /// Reads what [`Profile::to_json`] has written.
    ///
    /// # Errors
    /// The field that is missing or makes no sense.
    pub fn from_json(value: &Value) -> Result<Self, String> {
        if value["version"] != VERSION {
            return Err("version".to_owned());
        }
        let list = |name: &str| value[name].as_array().filter(|all| !all.is_empty()).ok_or_else(|| name.to_owned());
        let bandwidth = |value: &Value| {
            Ok::<_, String>(Bandwidth {
                load: positive(value, "load")?,
                store: positive(value, "store")?,
                copy: positive(value, "copy")?,
            })
        };
        let widths: Result<Vec<Width>, String> = list("widths")?
            .iter()
            .map(|width| {
                Ok(Width {
                    bits: u32::try_from(count(width, "bits")?).map_err(|_| "bits")?,
                    ghz: positive(width, "ghz")?,
                    multiply_adds: positive(width, "multiply_adds_per_cycle")?,
                    divisions: [
                        positive(width, "divisions_per_cycle_f32")?,
                        positive(width, "divisions_per_cycle_f64")?,
                    ],
                })
            })
            .collect();
        let levels: Result<Vec<Level>, String> = list("levels")?
            .iter()
            .map(|level| {
                Ok(Level {
                    name: text(level, "name")?,
                    bytes: count(level, "bytes")?,
                    one: bandwidth(&level["gb_per_second_one_thread"])?,
                    all: bandwidth(&level["gb_per_second_all_threads"])?,
                })
            })
            .collect();
        let calibration = &value["calibration"];
        Ok(Self {
            model: text(value, "model")?,
            threads: count(value, "threads")?,
            portable: value["portable"].as_bool().ok_or("portable")?,
            latency: positive(value, "latency")?,
            widths: widths?,
            levels: levels?,
            calibration: Calibration { wait: positive(calibration, "wait")?, work: positive(calibration, "work")? },
            speeds: positive(value, "speeds")?,
            seconds: positive(value, "seconds")?,
        })
    }
}

fn text(value: &Value, name: &str) -> Result<String, String> {
    value[name].as_str().map(ToOwned::to_owned).ok_or_else(|| name.to_owned())
}

fn count(value: &Value, name: &str) -> Result<usize, String> {
    value[name].as_u64().and_then(|n| usize::try_from(n).ok()).ok_or_else(|| name.to_owned())
}

fn positive(value: &Value, name: &str) -> Result<f64, String> {
    value[name].as_f64().filter(|x| x.is_finite() && *x > 0.0).ok_or_else(|| name.to_owned())
}
