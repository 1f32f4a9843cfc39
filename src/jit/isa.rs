//! The machine that code is made for. Nothing else that makes code asks what the host has.

use std::sync::Arc;

use cranelift_codegen::isa::{OwnedTargetIsa, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};

use crate::diag::{Code, Diagnostic};

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
