//! How much a sequence carries from step to step: its states and delays.
//!
//! In: a layer, with or without numbers for its dimensions. Out: bytes in f32 and f64, or formulas over the dimensions.

use ssmc::ir::{self, BinaryOp, Expr, ExprKind, Extent, Instance, Type, ValueId, print};

/// The size of what is carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// In words, as `4 * D * N + 1`, or a number of bytes, with reals of 32 bits.
    pub f32: String,
    /// The same with reals of 64 bits.
    pub f64: String,
}

/// What a layer carries: numbers of bytes where dimensions are known, else formulas.
pub fn carried(layer: &ir::Layer, instance: Option<&Instance>) -> Carried {
    let text = |bits| match instance {
        Some(instance) => bytes(instance, bits).to_string(),
        None => formula(layer, bits),
    };
    Carried { f32: text(32), f64: text(64) }
}

/// How many bytes a sequence carries, with reals of that many bits.
pub fn bytes(instance: &Instance, bits: u32) -> usize {
    let layer = &instance.layer;
    let states = layer.states.iter().map(|state| (state.value, 1));
    let delays = layer.delays.iter().copied().zip(instance.depths.iter().copied());
    let sizes = states
        .chain(delays)
        .map(|(value, rows)| element(layer, value, bits).saturating_mul(instance.elements(value)).saturating_mul(rows));
    sizes.fold(0, usize::saturating_add)
}

fn element(layer: &ir::Layer, value: ValueId, bits: u32) -> usize {
    match layer.value(value).ty {
        Type::Real => bits as usize / 8,
        Type::Complex => bits as usize / 4,
        Type::Bool => 1,
        Type::Int | Type::Index(_) => 4,
    }
}

/// The bytes over the dimensions.
fn formula(layer: &ir::Layer, bits: u32) -> String {
    let mut fixed = 0i64;
    let mut terms: Vec<String> = Vec::new();
    let states = layer.states.iter().map(|state| (state.value, Some(Extent::Lit(1))));
    let delays = layer.delays.iter().enumerate().map(|(at, &delay)| (at, delay, depth(layer, delay)));
    let delays = delays.map(|(at, delay, depth)| (delay, depth.ok_or(at)));
    let all = states.map(|(value, one)| (value, one.ok_or(0))).chain(delays);
    for (value, rows) in all {
        let mut known = element(layer, value, bits) as i64;
        let mut factors = Vec::new();
        let axes = &layer.value(value).axes;
        for extent in rows.iter().chain(axes) {
            match extent {
                Extent::Lit(n) => known = known.saturating_mul(*n),
                Extent::Dim(_) | Extent::Mul(..) => factors.push(print::extent(layer, extent)),
                _ => factors.push(format!("({})", print::extent(layer, extent))),
            }
        }
        if let Err(at) = rows {
            factors.push(format!("(the steps of delay.{at})"));
        }
        if factors.is_empty() {
            fixed = fixed.saturating_add(known);
        } else {
            terms.push(format!("{known} * {}", factors.join(" * ")));
        }
    }
    if fixed > 0 || terms.is_empty() {
        terms.push(fixed.to_string());
    }
    terms.join(" + ")
}

/// How many steps a delay is kept; `None` where that is more than a sum of indices and dimensions says.
fn depth(layer: &ir::Layer, delay: ValueId) -> Option<Extent> {
    let mut deepest: Option<Extent> = None;
    let mut known = true;
    for equation in &layer.equations {
        equation.body.walk(&mut |e| {
            if let ExprKind::Past { delay: of, steps, .. } = &e.kind
                && *of == delay
            {
                match (bound(layer, steps, true), &deepest) {
                    (Some(steps), None) => deepest = Some(steps),
                    (Some(Extent::Lit(a)), Some(Extent::Lit(b))) => deepest = Some(Extent::Lit(a.max(*b))),
                    (Some(steps), Some(other)) if steps == *other => {}
                    _ => known = false,
                }
            }
        });
    }
    match deepest? {
        _ if !known => None,
        Extent::Lit(n) => Some(Extent::Lit(n.max(1))),
        other => Some(other),
    }
}

/// The largest or the smallest value of an integer expression over literals, dimensions and indices.
fn bound(layer: &ir::Layer, e: &Expr, largest: bool) -> Option<Extent> {
    Some(match &e.kind {
        ExprKind::Int(n) => Extent::Lit(*n),
        ExprKind::Dim(d) => Extent::Dim(*d),
        ExprKind::Index(i) if largest => minus(layer.index(*i).extent.clone(), Extent::Lit(1)),
        ExprKind::Index(_) => Extent::Lit(0),
        ExprKind::Binary(BinaryOp::Add, a, b) => plus(bound(layer, a, largest)?, bound(layer, b, largest)?),
        ExprKind::Binary(BinaryOp::Sub, a, b) => minus(bound(layer, a, largest)?, bound(layer, b, !largest)?),
        _ => return None,
    })
}

fn plus(a: Extent, b: Extent) -> Extent {
    match (a, b) {
        (Extent::Lit(a), Extent::Lit(b)) => Extent::Lit(a.saturating_add(b)),
        (a, Extent::Lit(0)) | (Extent::Lit(0), a) => a,
        (a, b) => Extent::Add(Box::new(a), Box::new(b)),
    }
}

fn minus(a: Extent, b: Extent) -> Extent {
    match (a, b) {
        (Extent::Lit(a), Extent::Lit(b)) => Extent::Lit(a.saturating_sub(b)),
        (a, Extent::Lit(0)) => a,
        (a, b) => Extent::Sub(Box::new(a), Box::new(b)),
    }
}
