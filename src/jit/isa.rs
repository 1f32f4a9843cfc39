//! The machine that code is made for. Nothing else that makes code asks what the host has.

use std::fmt;
use std::sync::Arc;

use cranelift_codegen::isa::{OwnedTargetIsa, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use ssmc_wide::Level;

use crate::diag::{Code, Diagnostic};

/// Vector instructions that code may stay within, narrowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// 128 bits, on any processor that Cranelift knows.
    Narrow,
    /// x86-64 with AVX2, FMA and BMI: 256 bits.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL: 512 bits.
    Avx512,
}

impl Isa {
    /// All of them.
    pub const ALL: [Isa; 3] = [Isa::Narrow, Isa::Avx2, Isa::Avx512];

    /// The widest that the host has.
    pub fn widest() -> Isa {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            match (avx2, avx512) {
                (true, true) => return Isa::Avx512,
                (true, false) => return Isa::Avx2,
                _ => {}
            }
        }
        Isa::Narrow
    }

    /// Whether the host has it.
    pub fn is_here(self) -> bool {
        self <= Isa::widest()
    }

    /// What the wide selector calls it; `None` where Cranelift selects.
    pub(super) fn level(self) -> Option<Level> {
        match self {
            Isa::Narrow => None,
            Isa::Avx2 => Some(Level::Avx2),
            Isa::Avx512 => Some(Level::Avx512),
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Isa::Narrow if cfg!(target_arch = "x86_64") => "sse2",
            Isa::Narrow => "128 bits",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        })
    }
}

/// The host, with the settings that kernels are compiled under.
///
/// # Errors
/// S302 where Cranelift has no back end for the host.
pub fn host() -> Result<OwnedTargetIsa, Vec<Diagnostic>> {
    let unsupported = |why: String| {
        vec![Diagnostic::error_at(Code::S302, "this machine", format!("no code can be made for its processor: {why}"))]
    };
    let mut flags = settings::builder();
    let verify = if cfg!(debug_assertions) { "true" } else { "false" };
    // Known names and values, as the tests show.
    // The emitter has hoisted what is worth it; the optimiser would hoist constants too, and spill them.
    for (name, value) in
        [("opt_level", "none"), ("enable_verifier", verify), ("is_pic", "false"), ("enable_probestack", "false")]
    {
        flags.set(name, value).map_err(|error| unsupported(error.to_string()))?;
    }
    let builder = cranelift_native::builder().map_err(|error| unsupported(error.to_owned()))?;
    let isa: Arc<dyn TargetIsa> =
        builder.finish(settings::Flags::new(flags)).map_err(|error| unsupported(error.to_string()))?;
    Ok(isa)
}
