//! The ranges of integer expressions, for given dimensions.
//!
//! In: an [`Instance`] whose sizes are known. Out: diagnostics for integers that may leave 64 bits (or 32, where
//! they are stored), for reductions over nothing that have no value, and how far back each delay is read.
//!
//! Intervals in `i128`: every operand was shown to fit 64 bits before it is used, so that no step overflows. The
//! analysis does not look at the conditions of `if`s; what may only happen in a branch that is never taken is
//! reported too.

use super::{BinaryOp, Expr, ExprKind, Function, Init, Instance, ReduceOp, Type, UnaryOp, ValueId};
use crate::diag::{Code, Diagnostic, Span};

/// All integers from `lo` to `hi`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) lo: i128,
    pub(crate) hi: i128,
}

/// How many unknowns a linear system may have.
const MAX_UNKNOWNS: usize = ssmc_runtime::cholesky::MAX_UNKNOWNS;

const WORD: Range = Range { lo: i64::MIN as i128, hi: i64::MAX as i128 };
const STORED: Range = Range { lo: i32::MIN as i128, hi: i32::MAX as i128 };

impl Range {
    fn new(lo: i128, hi: i128) -> Self {
        Self { lo, hi }
    }

    fn of_extent(extent: i128) -> Self {
        Self { lo: 0, hi: (extent - 1).max(0) }
    }

    fn hull(self, other: Range) -> Range {
        Range { lo: self.lo.min(other.lo), hi: self.hi.max(other.hi) }
    }

    fn inside(self, other: Range) -> bool {
        other.lo <= self.lo && self.hi <= other.hi
    }

    fn max(self, other: Range) -> Range {
        Range { lo: self.lo.max(other.lo), hi: self.hi.max(other.hi) }
    }

    fn min(self, other: Range) -> Range {
        Range { lo: self.lo.min(other.lo), hi: self.hi.min(other.hi) }
    }

    fn around(values: impl IntoIterator<Item = i128>) -> Option<Range> {
        values.into_iter().map(|v| Range::new(v, v)).reduce(Range::hull)
    }

    fn corners(self, other: Range, op: impl Fn(i128, i128) -> Option<i128>) -> Option<Range> {
        let pairs = [(self.lo, other.lo), (self.lo, other.hi), (self.hi, other.lo), (self.hi, other.hi)];
        let values: Option<Vec<i128>> = pairs.into_iter().map(|(a, b)| op(a, b)).collect();
        Range::around(values?)
    }

    /// Without zero: the negative and the positive part.
    fn signed(self) -> impl Iterator<Item = Range> {
        let negative = (self.lo < 0).then(|| Range::new(self.lo, self.hi.min(-1)));
        let positive = (self.hi > 0).then(|| Range::new(self.lo.max(1), self.hi));
        negative.into_iter().chain(positive)
    }

    fn floor_div(self, divisor: Range) -> Range {
        let quotient = |part| self.corners(part, |a, b| Some(a.div_euclid(b) - correction(a, b)));
        divisor.signed().filter_map(quotient).reduce(Range::hull).unwrap_or(Range::new(0, 0))
    }

    fn floor_mod(self, divisor: Range) -> Range {
        let rest = |part: Range| {
            if part.lo > 0 {
                // What is smaller than every divisor stays as it is.
                if self.lo >= 0 && self.hi < part.lo { self } else { Range::new(0, part.hi - 1) }
            } else {
                Range::new(part.lo + 1, 0)
            }
        };
        divisor.signed().map(rest).reduce(Range::hull).unwrap_or(Range::new(0, 0))
    }

    fn pow(self, exponent: u64) -> Option<Range> {
        let exponent = match u32::try_from(exponent) {
            Ok(exponent) => exponent,
            Err(_) if Range::new(-1, 1).hull(self) == Range::new(-1, 1) => 2 + (exponent % 2) as u32,
            Err(_) => return None,
        };
        let ends = Range::around([self.lo.checked_pow(exponent)?, self.hi.checked_pow(exponent)?])?;
        let through_zero = exponent > 0 && exponent % 2 == 0 && self.lo <= 0 && self.hi >= 0;
        Some(if through_zero { ends.hull(Range::new(0, 0)) } else { ends })
    }
}

/// What Euclidean division gives beyond rounding down.
fn correction(a: i128, b: i128) -> i128 {
    i128::from(b < 0 && a.rem_euclid(b) != 0)
}

/// What the analysis finds.
pub(crate) struct Ranges<'a> {
    instance: &'a Instance,
    dims: Vec<Option<i64>>,
    values: Vec<Range>,
    /// The largest number of steps that each delay is read back; in the order of the layer's delays.
    pub(super) steps: Vec<i128>,
    problems: &'a mut Vec<Diagnostic>,
}

impl<'a> Ranges<'a> {
    /// Analyses all initialisers and equations.
    pub(crate) fn of(instance: &'a Instance, problems: &'a mut Vec<Diagnostic>) -> Self {
        let layer = &instance.layer;
        let mut ranges = Ranges {
            instance,
            dims: super::instance::known(&instance.dims),
            values: vec![STORED; layer.values.len()],
            steps: vec![0; layer.delays.len()],
            problems,
        };
        for (at, value) in layer.values.iter().enumerate() {
            if let Type::Index(extent) = &value.ty {
                let extent = extent.eval(&ranges.dims).unwrap_or(1);
                ranges.values[at] = Range::of_extent(extent.into());
            }
        }
        for param in &layer.params {
            ranges.init(param.value, param.init.as_ref());
        }
        for state in &layer.states {
            ranges.init(state.value, state.init.as_ref());
        }
        for equation in &layer.equations {
            ranges.stored(equation.value, &equation.body);
        }
        ranges
    }

    /// What is known of the elements of each value at every place where it is read; by [`ValueId`]. Of delays,
    /// which are handed from run to run, only the type is known.
    pub(crate) fn values(self) -> Vec<Range> {
        let mut values = self.values;
        let layer = &self.instance.layer;
        for &delay in layer.delays.iter().filter(|d| layer.value(**d).ty == Type::Int) {
            values[delay.at()] = STORED;
        }
        values
    }

    /// The range of an integer expression, where that is known: given the ranges of all values.
    pub(crate) fn known(instance: &Instance, values: &[Range], e: &Expr) -> Option<Range> {
        if e.ty != super::Scalar::Int {
            return None;
        }
        let operands: Vec<Option<Range>> =
            e.operands().into_iter().map(|operand| Self::known(instance, values, operand)).collect();
        combine(instance, values, e, &operands)?.filter(|range| range.inside(WORD))
    }

    fn init(&mut self, value: ValueId, init: Option<&Init>) {
        if let Some(init) = init {
            let before = self.values[value.at()];
            self.stored(value, &init.body);
            self.values[value.at()] = before;
        }
    }

    fn stored(&mut self, value: ValueId, body: &Expr) {
        let range = self.range(body);
        if self.instance.layer.value(value).ty != Type::Int {
            return;
        }
        if let Some(range) = range {
            if range.inside(STORED) {
                self.values[value.at()] = range;
            } else {
                self.beyond(body.span, range, 32);
            }
        }
    }

    fn beyond(&mut self, span: Span, range: Range, bits: u32) {
        let message = format!("this may be as low as {} or as high as {}: it must fit {bits} bits", range.lo, range.hi);
        self.problems.push(Diagnostic::error(Code::S414, span, message));
    }

    /// The range of an integer expression; `None` for other types and where a problem was reported.
    fn range(&mut self, e: &Expr) -> Option<Range> {
        let operands: Vec<Option<Range>> = e.operands().into_iter().map(|operand| self.range(operand)).collect();
        match &e.kind {
            ExprKind::Past { delay, .. } => self.note_steps(*delay, operands.last().copied().flatten()),
            ExprKind::Reduce { op, indices, .. } => self.check_empty(e, *op, count(self.instance, indices)),
            ExprKind::Solve { row, .. } => self.check_unknowns(e, *row),
            _ => {}
        }
        if e.ty != super::Scalar::Int {
            return None;
        }
        let range = combine(self.instance, &self.values, e, &operands)?;
        match range {
            Some(range) if range.inside(WORD) => Some(range),
            Some(range) => {
                self.beyond(e.span, range, 64);
                None
            }
            None => {
                let message = "this may be an integer beyond 64 bits";
                self.problems.push(Diagnostic::error(Code::S414, e.span, message));
                None
            }
        }
    }

    fn check_empty(&mut self, e: &Expr, op: ReduceOp, count: Option<i128>) {
        let name = match op {
            ReduceOp::ArgMax => "argmax",
            ReduceOp::ArgMin => "argmin_index",
            ReduceOp::Mean => "mean",
            ReduceOp::Max if e.ty == super::Scalar::Int => "max",
            ReduceOp::Min if e.ty == super::Scalar::Int => "min",
            _ => return,
        };
        if count == Some(0) {
            let message = format!("`{name}` over no elements has no value");
            self.problems.push(Diagnostic::error(Code::S408, e.span, message));
        }
    }

    fn check_unknowns(&mut self, e: &Expr, row: super::IndexId) {
        let count = self.instance.extents[row.at()];
        if count > MAX_UNKNOWNS {
            let message = format!("`solve` has {count} unknowns; there may be up to {MAX_UNKNOWNS}");
            self.problems.push(Diagnostic::error(Code::S408, e.span, message));
        }
    }

    fn note_steps(&mut self, delay: ValueId, steps: Option<Range>) {
        let place = self.instance.layer.delays.iter().position(|d| *d == delay);
        if let (Some(place), Some(steps)) = (place, steps) {
            self.steps[place] = self.steps[place].max(steps.hi);
        }
    }
}

/// The range of an integer expression from those of its operands: `None` where one of them is missing,
/// `Some(None)` where it is beyond all bounds.
fn combine(instance: &Instance, values: &[Range], e: &Expr, operands: &[Option<Range>]) -> Option<Option<Range>> {
    let all = || operands.iter().copied().collect::<Option<Vec<Range>>>();
    Some(match &e.kind {
        ExprKind::Int(n) => Some(Range::new((*n).into(), (*n).into())),
        ExprKind::Dim(d) => {
            let n = instance.dims[d.at()].into();
            Some(Range::new(n, n))
        }
        ExprKind::Index(i) => Some(Range::of_extent(instance.extents[i.at()] as i128)),
        ExprKind::Read { value, .. } => Some(values[value.at()]),
        ExprKind::Past { delay, .. } => Some(values[delay.at()].hull(Range::new(0, 0))),
        ExprKind::Unary(UnaryOp::Neg, _) => all().map(|a| Range::new(-a[0].hi, -a[0].lo)),
        ExprKind::Powi(_, n) => match u64::try_from(*n) {
            Ok(n) => all()?[0].pow(n),
            Err(_) => Some(Range::new(-1, 1)),
        },
        ExprKind::Binary(op, ..) => binary(*op, &all()?),
        ExprKind::Call(function, _) => Some(call(*function, &all()?)),
        ExprKind::If(_) => Some(operands[1]?.hull(operands[2]?)),
        ExprKind::Reduce { op: ReduceOp::ArgMax | ReduceOp::ArgMin, indices, .. } => {
            count(instance, indices).map(Range::of_extent)
        }
        ExprKind::Reduce { op, indices, .. } => reduce(*op, operands[0]?, count(instance, indices)),
        _ => None,
    })
}

/// How many elements a reduction runs over.
fn count(instance: &Instance, indices: &[super::IndexId]) -> Option<i128> {
    let extent = |i: &super::IndexId| instance.extents[i.at()] as i128;
    if indices.iter().any(|i| extent(i) == 0) {
        return Some(0);
    }
    indices.iter().map(extent).try_fold(1i128, |product, n| product.checked_mul(n))
}

fn binary(op: BinaryOp, operands: &[Range]) -> Option<Range> {
    let [a, b] = operands else { return None };
    match op {
        BinaryOp::Add => Some(Range::new(a.lo + b.lo, a.hi + b.hi)),
        BinaryOp::Sub => Some(Range::new(a.lo - b.hi, a.hi - b.lo)),
        BinaryOp::Mul => a.corners(*b, i128::checked_mul),
        BinaryOp::FloorDiv => Some(a.floor_div(*b)),
        BinaryOp::Mod => Some(a.floor_mod(*b)),
        _ => None,
    }
}

fn call(function: Function, a: &[Range]) -> Range {
    let zero = Range::new(0, 0);
    match function {
        Function::Abs => {
            let ends = Range::new(a[0].lo.abs().min(a[0].hi.abs()), a[0].lo.abs().max(a[0].hi.abs()));
            if a[0].lo <= 0 && a[0].hi >= 0 { ends.hull(zero) } else { ends }
        }
        Function::Sign => Range::new(a[0].lo.signum(), a[0].hi.signum()),
        Function::Relu => a[0].max(zero),
        Function::Clamp => a[0].max(a[1]).min(a[2]),
        Function::Min => a[0].min(a[1]),
        Function::Max => a[0].max(a[1]),
        _ => WORD,
    }
}

/// The hull of all partial results of a reduction; `None` beyond all bounds.
fn reduce(op: ReduceOp, body: Range, count: Option<i128>) -> Option<Range> {
    match op {
        ReduceOp::Sum => {
            let count = count?;
            Some(Range::new(body.lo.checked_mul(count)?, body.hi.checked_mul(count)?).hull(Range::new(0, 0)))
        }
        ReduceOp::Prod => {
            let one = Range::new(1, 1);
            let count = u64::try_from(count?).ok()?;
            if count == 0 {
                return Some(one);
            }
            let largest = body.lo.abs().max(body.hi.abs());
            let bound = Range::new(largest, largest).pow(count)?.hi.max(1);
            let lowest = if body.lo >= 1 {
                1
            } else if body.lo == 0 {
                0
            } else {
                -bound
            };
            Some(Range::new(lowest, bound))
        }
        _ => Some(body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hull of what an operation gives on all pairs.
    fn exhaustive(a: Range, b: Range, op: impl Fn(i128, i128) -> i128) -> Range {
        let pairs = (a.lo..=a.hi).flat_map(|x| (b.lo..=b.hi).map(move |y| (x, y)));
        Range::around(pairs.filter(|p| p.1 != 0).map(|(x, y)| op(x, y))).unwrap_or(Range::new(0, 0))
    }

    #[test]
    fn division_covers_all_pairs_and_is_tight() {
        for a in [(-7, 5), (0, 3), (2, 9), (-9, -4)] {
            for b in [(-3, 4), (1, 1), (2, 5), (-6, -2), (0, 0), (0, 4)] {
                let (a, b) = (Range::new(a.0, a.1), Range::new(b.0, b.1));
                let floor = |x: i128, y: i128| (x as f64 / y as f64).floor() as i128;
                assert_eq!(a.floor_div(b), exhaustive(a, b, floor), "{a:?} // {b:?}");
                let rest = exhaustive(a, b, |x, y| x - y * floor(x, y));
                assert!(rest.inside(a.floor_mod(b)), "{a:?} % {b:?}");
            }
        }
        assert_eq!(Range::new(0, 2).floor_mod(Range::new(3, 3)), Range::new(0, 2));
    }

    #[test]
    fn powers_cover_all_bases() {
        for (lo, hi) in [(-3, 2), (0, 4), (-5, -1), (2, 3)] {
            for n in 0..5u64 {
                let expected = Range::around((lo..=hi).map(|x: i128| x.pow(n as u32)));
                assert_eq!(Range::new(lo, hi).pow(n), expected, "({lo}..={hi}) ^ {n}");
            }
        }
        assert_eq!(Range::new(2, 2).pow(u64::MAX), None);
        assert_eq!(Range::new(-1, 1).pow(u64::MAX), Some(Range::new(-1, 1)));
    }
}
