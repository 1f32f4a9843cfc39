//! The program that a command works on: its text, its layers, and the one that is meant.

use std::path::Path;

use ssmc::diag::{Code, Diagnostic, Severity, nearest};
use ssmc::ir;

use super::args::LayerArgs;
use super::report;

/// The longest program that is read. Places in the text are counted in 32 bits.
const MAX_SOURCE: u64 = 1 << 28;

/// The text of a program.
pub struct Program {
    /// Its path as the user gave it.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl Program {
    /// Reads a program.
    ///
    /// # Errors
    /// S401 where it cannot be read, S402 where it is no text.
    pub fn load(path: &Path) -> Result<Self, Diagnostic> {
        let place = path.display().to_string();
        let failed =
            |error: std::io::Error| Diagnostic::error_at(Code::S401, place.clone(), format!("cannot read: {error}"));
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(failed)?;
        let mut limited = std::io::Read::take(file, MAX_SOURCE + 1);
        std::io::Read::read_to_end(&mut limited, &mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_SOURCE {
            let message = format!("the program is longer than {MAX_SOURCE} bytes");
            return Err(Diagnostic::error_at(Code::S408, place, message));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { path: place, text }),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let message = format!("the program is not UTF-8: byte {at} fits no character");
                Err(Diagnostic::error_at(Code::S402, place, message))
            }
        }
    }

    /// All layers of the program that are sound, and all there is to say about it.
    pub fn layers(&self) -> (Vec<ir::Layer>, Vec<Diagnostic>) {
        let (file, mut diagnostics) = ssmc::syntax::parse(&self.text);
        if has_errors(&diagnostics) {
            return (Vec::new(), diagnostics);
        }
        let (layers, more) = ssmc::sema::lower(&file);
        diagnostics.extend(more);
        (layers, diagnostics)
    }

    /// The one layer that is meant.
    ///
    /// # Errors
    /// Everything that is wrong with the program; S410 where it does not have the layer, or several and none is
    /// named; S407 for a value of a dimension that the layer does not have.
    pub fn layer(&self, args: &LayerArgs) -> Result<ir::Layer, Vec<Diagnostic>> {
        let (layers, diagnostics) = self.layers();
        if has_errors(&diagnostics) {
            return Err(diagnostics);
        }
        report::print(&diagnostics, &self.path, &self.text);
        let layer = self.choose(layers, args.layer.as_deref()).map_err(|error| vec![error])?;
        check_dims(&args.dims, std::slice::from_ref(&layer))?;
        Ok(layer)
    }

    fn choose(&self, mut layers: Vec<ir::Layer>, name: Option<&str>) -> Result<ir::Layer, Diagnostic> {
        let names = listed(layers.iter().map(|layer| layer.name.as_str()));
        let Some(name) = name else {
            return match layers.len() {
                0 => Err(Diagnostic::error_at(Code::S410, self.path.clone(), "the program has no layer")),
                1 => Ok(layers.remove(0)),
                _ => Err(Diagnostic::error_at(
                    Code::S410,
                    self.path.clone(),
                    format!("the program has several layers: {names}"),
                )
                .help("choose one with --layer NAME")),
            };
        };
        match layers.iter().position(|layer| layer.name == name) {
            Some(at) => Ok(layers.remove(at)),
            None => {
                let error = Diagnostic::error_at(Code::S410, "--layer", format!("there is no layer `{name}`"));
                let close = nearest(name, layers.iter().map(|layer| layer.name.as_str()));
                Err(match close {
                    Some(close) => error.help(format!("did you mean `{close}`?")),
                    None if names.is_empty() => error,
                    None => error.help(format!("the program has {names}")),
                })
            }
        }
    }

    /// Prints diagnostics about this program.
    pub fn report(&self, diagnostics: &[Diagnostic]) {
        report::print(diagnostics, &self.path, &self.text);
    }
}

/// Whether any diagnostic is more than a note.
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|d| d.severity == Severity::Error)
}

/// Makes sure that every given value is of a dimension of some layer, and given once.
///
/// # Errors
/// S407
pub fn check_dims(given: &[(String, i64)], layers: &[ir::Layer]) -> Result<(), Vec<Diagnostic>> {
    let known: Vec<&str> = layers.iter().flat_map(|layer| &layer.dims).map(|dim| dim.name.as_str()).collect();
    let mut errors = Vec::new();
    for (at, (name, value)) in given.iter().enumerate() {
        let place = format!("--dim {name}={value}");
        if !known.contains(&name.as_str()) {
            let error = Diagnostic::error_at(Code::S407, place, format!("there is no dimension `{name}`"));
            errors.push(match nearest(name, known.iter().copied()) {
                Some(close) => error.help(format!("did you mean `{close}`?")),
                None => error,
            });
        } else if let Some((_, other)) = given[..at].iter().find(|(earlier, other)| earlier == name && other != value) {
            let message = format!("the dimension `{name}` is given twice, as {other} and as {value}");
            errors.push(Diagnostic::error_at(Code::S407, place, message));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// The given values in the order of the layer's dimensions.
pub fn given_dims(layer: &ir::Layer, given: &[(String, i64)]) -> Vec<Option<i64>> {
    let value = |name: &str| given.iter().find(|(n, _)| n == name).map(|(_, value)| *value);
    layer.dims.iter().map(|dim| value(&dim.name)).collect()
}

/// Names in a sentence.
pub fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
