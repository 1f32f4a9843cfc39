//! Names, index extents and types: from the syntax tree to the IR.
//!
//! In: [`ast::File`]. Out: an [`ir::Layer`] for every layer without an error, and the diagnostics of all. Layers that
//! did not parse are left out: what they lack would only repeat the parser's words.
//!
//! The way through a layer: [`declare`] enters dimensions, parameters, inputs and states; [`layer`] goes through the
//! statements in order, and through [`expr`] and [`call`] for their expressions, with the indices in [`scope`];
//! [`delay`] turns `past` into delays; [`implicit`] has the closed forms of implicit updates; [`settle`] ends a statement: index extents are known there, and every access is
//! shown by [`range`] to stay inside.
//!
//! Guarantees: the layer passes [`ir::verify`]; all integer arithmetic in positions is in range for all dimensions
//! that fulfil [`ir::Layer::requirements`].

mod call;
mod declare;
mod delay;
mod expr;
mod functions;
mod implicit;
mod layer;
pub mod range;
mod rewrite;
mod scope;
mod settle;

use std::collections::HashMap;

use crate::diag::{Diagnostic, Span};
use crate::ir;
use crate::syntax::{MAX_DIAGNOSTICS, ast};
use functions::Functions;

/// Lowers all layers of a file: those without an error, and what is wrong with the others.
pub fn lower(file: &ast::File) -> (Vec<ir::Layer>, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let functions = Functions::of(file, &mut diagnostics);
    let sound_functions = diagnostics.is_empty();
    let mut layers: Vec<ir::Layer> = Vec::new();
    let mut seen: HashMap<&str, Span> = HashMap::new();
    for item in &file.items {
        let ast::Item::Layer(layer) = item else {
            continue;
        };
        if diagnostics.len() > MAX_DIAGNOSTICS {
            break;
        }
        if let Some(other) = seen.insert(&layer.name.text, layer.name.span) {
            diagnostics.push(functions::declared_twice(&layer.name, other));
        }
        if layer.statements.iter().any(|s| matches!(s, ast::Statement::Error(_))) {
            continue;
        }
        let (lowered, found) = layer::lower(layer, &functions);
        let sound = found.is_empty() && sound_functions;
        diagnostics.extend(found);
        if let Some(lowered) = lowered.filter(|_| sound) {
            layers.push(lowered);
        }
    }
    // A function that is called twice says what is wrong in it once.
    let place = |d: &Diagnostic| d.primary.as_ref().map(|label| label.span);
    diagnostics.sort_by_key(place);
    diagnostics.dedup_by(|a, b| a.code == b.code && place(a) == place(b));
    if diagnostics.len() > MAX_DIAGNOSTICS {
        let last = diagnostics.swap_remove(MAX_DIAGNOSTICS);
        diagnostics.truncate(MAX_DIAGNOSTICS);
        let place = last.primary.map(|label| label.span).unwrap_or_default();
        let message = format!("more than {MAX_DIAGNOSTICS} errors; those from here on are not shown");
        diagnostics.push(Diagnostic::error(last.code, place, message).into_note());
    }
    (layers, diagnostics)
}
