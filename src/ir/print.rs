//! The text of a layer. (To be continued.)

use super::{Extent, Layer};

/// The extent as text.
pub fn extent(layer: &Layer, extent: &Extent) -> String {
    let mut text = String::new();
    write_extent(layer, extent, 0, &mut text);
    text
}

/// The extents of all axes, in brackets.
pub fn shape(layer: &Layer, axes: &[Extent]) -> String {
    let axes: Vec<String> = axes.iter().map(|axis| extent(layer, axis)).collect();
    format!("[{}]", axes.join(", "))
}

/// `least` is how tightly the surroundings bind: 0 nothing, 1 a sum, 2 a product.
fn write_extent(layer: &Layer, e: &Extent, least: u8, out: &mut String) {
    let (a, sign, b, level) = match e {
        Extent::Lit(n) => return out.push_str(&n.to_string()),
        Extent::Dim(d) => return out.push_str(&layer.dims[d.at()].name),
        Extent::Add(a, b) => (a, " + ", b, 1),
        Extent::Sub(a, b) => (a, " - ", b, 1),
        Extent::Mul(a, b) => (a, " * ", b, 2),
        Extent::FloorDiv(a, b) => (a, " // ", b, 2),
        Extent::Mod(a, b) => (a, " % ", b, 2),
    };
    if level < least {
        out.push('(');
    }
    write_extent(layer, a, level, out);
    out.push_str(sign);
    write_extent(layer, b, level + 1, out);
    if level < least {
        out.push(')');
    }
}
