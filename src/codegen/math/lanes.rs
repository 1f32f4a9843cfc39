//! Floating-point, integer and mask vectors as values that know how to emit themselves.
//!
//! [`Float`], [`Int`] and [`Mask`] wrap a CLIF value and the place it is emitted to, so that a formula reads as one:
//! `r.fma(q, one) * scale`. The lane count is nowhere in this file or in those that use it: it comes from the type of
//! the argument. Only plain vector operations are emitted, and shifts by constants; no conversion between integers and
//! floats (it is poor for 64-bit lanes), which adding a large number replaces.

use std::cell::RefCell;
use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Not, Sub};

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{ConstantData, FuncRef, InstBuilder, MemFlagsData, Type, Value, types};
use cranelift_frontend::FunctionBuilder;

use ssmc_wide::Primitive;

use super::{Environment, Routine};

/// Numbers for both formats: a polynomial (lowest power first) or a constant in parts.
pub(super) struct Table {
    /// For 32-bit lanes.
    pub(super) f32: &'static [f32],
    /// For 64-bit lanes.
    pub(super) f64: &'static [f64],
}

/// Where operations go: a builder at some place, behind a shared reference so that expressions nest.
pub(super) struct Lanes<'a, 'f> {
    state: RefCell<(&'a mut FunctionBuilder<'f>, &'a mut dyn Environment)>,
    float: Type,
}

impl<'a, 'f> Lanes<'a, 'f> {
    /// Emits operations on vectors of type `float` at the builder's place.
    pub(super) fn new(
        builder: &'a mut FunctionBuilder<'f>,
        environment: &'a mut dyn Environment,
        float: Type,
    ) -> Lanes<'a, 'f> {
        assert!(float.is_vector() && float.lane_type().is_float(), "math on {float}");
        Lanes { state: RefCell::new((builder, environment)), float }
    }

    /// A value of this type.
    pub(super) fn value(&self, value: Value) -> Float<'_> {
        Float { lanes: self, value }
    }
}

/// What [`Float`] needs of [`Lanes`], without its lifetimes.
pub(super) trait Emit {
    fn build(&self, make: &mut dyn FnMut(&mut FunctionBuilder<'_>) -> Value) -> Value;
    fn constant(&self, ty: Type, bits: u64) -> Value;
    fn routine(&self, routine: Routine) -> FuncRef;
    fn primitive(&self, primitive: Primitive) -> Option<FuncRef>;
    fn float(&self) -> Type;
}

impl Emit for Lanes<'_, '_> {
    fn build(&self, make: &mut dyn FnMut(&mut FunctionBuilder<'_>) -> Value) -> Value {
        make(self.state.borrow_mut().0)
    }

    fn constant(&self, ty: Type, bits: u64) -> Value {
        let (builder, environment) = &mut *self.state.borrow_mut();
        environment.constant(builder, ty, bits)
    }

    fn routine(&self, routine: Routine) -> FuncRef {
        let (builder, environment) = &mut *self.state.borrow_mut();
        environment.routine(builder, routine, self.float.lane_type())
    }

    fn primitive(&self, primitive: Primitive) -> Option<FuncRef> {
        let (builder, environment) = &mut *self.state.borrow_mut();
        environment.primitive(builder, primitive, self.float)
    }

    fn float(&self) -> Type {
        self.float
    }
}

/// A vector of floats.
#[derive(Clone, Copy)]
pub(super) struct Float<'e> {
    lanes: &'e dyn Emit,
    pub(super) value: Value,
}

/// A vector of integers as wide as the floats.
#[derive(Clone, Copy)]
pub(super) struct Int<'e> {
    lanes: &'e dyn Emit,
    value: Value,
}

/// Lanes of ones where a condition holds, of zeros where not.
#[derive(Clone, Copy)]
pub(super) struct Mask<'e> {
    lanes: &'e dyn Emit,
    value: Value,
}

impl<'e> Float<'e> {
    fn with(self, value: Value) -> Float<'e> {
        Float { value, ..self }
    }

    fn emit(self, mut make: impl FnMut(&mut FunctionBuilder<'_>) -> Value) -> Float<'e> {
        self.with(self.lanes.build(&mut make))
    }

    fn compare(self, condition: FloatCC, other: Float<'e>) -> Mask<'e> {
        let value = self.lanes.build(&mut |b| b.ins().fcmp(condition, self.value, other.value));
        Mask { lanes: self.lanes, value }
    }

    /// Whether lanes have 64 bits.
    pub(super) fn is_double(self) -> bool {
        self.lanes.float().lane_type() == types::F64
    }

    /// The first for 32-bit lanes, the second for 64-bit lanes.
    pub(super) fn either<T>(self, single: T, double: T) -> T {
        if self.is_double() { double } else { single }
    }

    /// Bits of the fraction: 23 or 52.
    pub(super) fn fraction_bits(self) -> u32 {
        self.either(23, 52)
    }

    /// The exponent's offset: 127 or 1023.
    pub(super) fn bias(self) -> u32 {
        self.either(127, 1023)
    }

    /// A constant of this vector's type, rounded to it.
    pub(super) fn number(self, number: f64) -> Float<'e> {
        #[allow(clippy::cast_possible_truncation)]
        let bits = self.either(u64::from((number as f32).to_bits()), number.to_bits());
        self.with(self.lanes.constant(self.lanes.float(), bits))
    }

    /// The constant `2^exponent`.
    pub(super) fn power(self, exponent: i32) -> Float<'e> {
        self.number(2f64.powi(exponent))
    }

    /// One entry of a table, times a factor that must keep it exact.
    pub(super) fn scaled(self, table: &Table, index: usize, factor: f64) -> Float<'e> {
        let entry = self
            .either(f64::from(table.f32[index.min(table.f32.len() - 1)]), table.f64[index.min(table.f64.len() - 1)]);
        self.number(entry * factor)
    }

    /// One entry of a table.
    pub(super) fn entry(self, table: &Table, index: usize) -> Float<'e> {
        self.scaled(table, index, 1.0)
    }

    /// The polynomial of the table's entries from `first` on, in this variable, by Horner's rule.
    pub(super) fn polynomial(self, table: &Table, first: usize) -> Float<'e> {
        let count = self.either(table.f32.len(), table.f64.len());
        let highest = self.entry(table, count - 1);
        (first..count - 1).rev().fold(highest, |sum, i| sum.fma(self, self.entry(table, i)))
    }

    /// `self · factor + term`, rounded once.
    pub(super) fn fma(self, factor: Float<'e>, term: Float<'e>) -> Float<'e> {
        self.emit(|b| b.ins().fma(self.value, factor.value, term.value))
    }

    /// `term - self · factor`, rounded once.
    pub(super) fn negated_fma(self, factor: Float<'e>, term: Float<'e>) -> Float<'e> {
        (-self).fma(factor, term)
    }

    fn call(self, primitive: Primitive, arguments: &[Value]) -> Option<Float<'e>> {
        let callee = self.lanes.primitive(primitive)?;
        Some(self.emit(|b| {
            let call = b.ins().call(callee, arguments);
            b.inst_results(call)[0]
        }))
    }

    /// Whether the machine has [`Primitive::Scale`].
    pub(super) fn can_scale(self) -> bool {
        self.lanes.primitive(Primitive::Scale).is_some()
    }

    /// `self · 2^⌊exponent⌋`, rounded once, where the machine [can](Float::can_scale).
    pub(super) fn scale_by(self, exponent: Float<'e>) -> Float<'e> {
        self.call(Primitive::Scale, &[self.value, exponent.value]).expect("asked for before")
    }

    /// What is above the next lower integer.
    pub(super) fn fraction(self) -> Float<'e> {
        self.call(Primitive::Fraction, &[self.value]).unwrap_or_else(|| self - self.floor())
    }

    /// How many lanes there are.
    pub(super) fn count(self) -> usize {
        self.lanes.float().lane_count() as usize
    }

    /// Whether the machine has [`Primitive::Mantissa`] and [`Primitive::LookUp`].
    pub(super) fn can_look_up(self) -> bool {
        [Primitive::Mantissa, Primitive::LookUp].iter().all(|&primitive| self.lanes.primitive(primitive).is_some())
    }

    /// The number from 1 to below 2 that is this times a power of 2, where the machine [has it](Float::can_look_up).
    pub(super) fn mantissa(self) -> Float<'e> {
        self.call(Primitive::Mantissa, &[self.value]).expect("asked for before")
    }

    /// The square root, correctly rounded.
    pub(super) fn sqrt(self) -> Float<'e> {
        self.emit(|b| b.ins().sqrt(self.value))
    }

    /// The largest integer that is not above.
    pub(super) fn floor(self) -> Float<'e> {
        self.emit(|b| b.ins().floor(self.value))
    }

    /// The integer part.
    pub(super) fn trunc(self) -> Float<'e> {
        self.emit(|b| b.ins().trunc(self.value))
    }

    /// The absolute value.
    pub(super) fn abs(self) -> Float<'e> {
        self.emit(|b| b.ins().fabs(self.value))
    }

    /// The number with a sign, whatever it had.
    pub(super) fn negative(self) -> Float<'e> {
        (self.bits() | self.number(-0.0).bits()).float()
    }

    /// `self` where it is below `bound`, or NaN; else `bound`.
    pub(super) fn at_most(self, bound: Float<'e>) -> Float<'e> {
        bound.lt(self).select(bound, self)
    }

    /// `self` where it is above `bound`, or NaN; else `bound`.
    pub(super) fn at_least(self, bound: Float<'e>) -> Float<'e> {
        self.lt(bound).select(bound, self)
    }

    pub(super) fn lt(self, other: Float<'e>) -> Mask<'e> {
        self.compare(FloatCC::LessThan, other)
    }

    pub(super) fn gt(self, other: Float<'e>) -> Mask<'e> {
        other.lt(self)
    }

    pub(super) fn eq(self, other: Float<'e>) -> Mask<'e> {
        self.compare(FloatCC::Equal, other)
    }

    pub(super) fn ne(self, other: Float<'e>) -> Mask<'e> {
        self.compare(FloatCC::NotEqual, other)
    }

    /// Where it is at least `other`, or either is NaN.
    pub(super) fn not_below(self, other: Float<'e>) -> Mask<'e> {
        self.compare(FloatCC::UnorderedOrGreaterThanOrEqual, other)
    }

    /// Where either is NaN.
    pub(super) fn unordered(self, other: Float<'e>) -> Mask<'e> {
        self.compare(FloatCC::Unordered, other)
    }

    /// The bit pattern.
    pub(super) fn bits(self) -> Int<'e> {
        let ty = self.lanes.float().as_int();
        Int {
            lanes: self.lanes,
            value: self.lanes.build(&mut |b| b.ins().bitcast(ty, MemFlagsData::new(), self.value)),
        }
    }

    /// The sign bit alone.
    pub(super) fn sign(self) -> Int<'e> {
        self.bits() & self.number(-0.0).bits()
    }

    /// Flips the sign where the bit of `sign` is set.
    pub(super) fn flip(self, sign: Int<'e>) -> Float<'e> {
        (self.bits() ^ sign).float()
    }

    /// A branch to a cold block where any lane of `rare` is set: there `other` replaces those lanes.
    ///
    /// Leaves the builder in a new block.
    pub(super) fn unless(self, rare: Mask<'e>, other: impl FnOnce() -> Float<'e>) -> Float<'e> {
        let ty = self.lanes.float();
        let mut blocks = None;
        self.lanes.build(&mut |b| {
            let (cold, join) = (b.create_block(), b.create_block());
            b.set_cold_block(cold);
            let result = b.append_block_param(join, ty);
            let any = b.ins().vany_true(rare.value);
            b.ins().brif(any, cold, &[], join, &[self.value.into()]);
            b.seal_block(cold);
            b.switch_to_block(cold);
            blocks = Some(join);
            result
        });
        let join = blocks.expect("the blocks were made");
        let mixed = rare.select(other(), self);
        self.emit(|b| {
            b.ins().jump(join, &[mixed.value.into()]);
            b.seal_block(join);
            b.switch_to_block(join);
            b.block_params(join)[0]
        })
    }

    /// Calls a scalar routine for every lane, with one or two arguments.
    pub(super) fn by_lane(self, routine: Routine, second: Option<Float<'e>>) -> Float<'e> {
        let callee = self.lanes.routine(routine);
        let ty = self.lanes.float();
        self.emit(|b| {
            let mut result = self.value;
            for lane in 0..u8::try_from(ty.lane_count()).expect("few lanes") {
                let mut arguments = vec![b.ins().extractlane(self.value, lane)];
                arguments.extend(second.map(|second| b.ins().extractlane(second.value, lane)));
                let call = b.ins().call(callee, &arguments);
                let value = b.inst_results(call)[0];
                result = b.ins().insertlane(result, value, lane);
            }
            result
        })
    }
}

impl<'e> Int<'e> {
    fn with(self, value: Value) -> Int<'e> {
        Int { value, ..self }
    }

    /// A constant of this vector's type.
    pub(super) fn number(self, bits: u64) -> Int<'e> {
        self.with(self.lanes.constant(self.lanes.float().as_int(), bits))
    }

    /// The float with these bits.
    pub(super) fn float(self) -> Float<'e> {
        let ty = self.lanes.float();
        Float {
            lanes: self.lanes,
            value: self.lanes.build(&mut |b| b.ins().bitcast(ty, MemFlagsData::new(), self.value)),
        }
    }

    /// Every lane shifted to the left.
    pub(super) fn shift_left(self, bits: u32) -> Int<'e> {
        self.with(self.lanes.build(&mut |b| {
            let bits = b.ins().iconst(types::I32, i64::from(bits));
            b.ins().ishl(self.value, bits)
        }))
    }

    /// Every lane shifted to the right, zeros coming in.
    pub(super) fn shift_right(self, bits: u32) -> Int<'e> {
        self.with(self.lanes.build(&mut |b| {
            let bits = b.ins().iconst(types::I32, i64::from(bits));
            b.ins().ushr(self.value, bits)
        }))
    }

    /// The entries that the lowest bits number, of a table of twice as many as there are lanes, where the machine
    /// [can](Float::can_look_up); shorter ones are repeated.
    pub(super) fn look_up(self, table: &[f32]) -> Float<'e> {
        let at = self.float();
        let mut bytes = table.iter().cycle().map(|entry| entry.to_le_bytes());
        let mut half = || -> Vec<u8> { bytes.by_ref().take(at.count()).flatten().collect() };
        let [low, high] = [half(), half()].map(|half| {
            self.lanes.build(&mut |b| {
                let pool = b.func.dfg.constants.insert(ConstantData::from(&half[..]));
                b.ins().vconst(self.lanes.float(), pool)
            })
        });
        at.call(Primitive::LookUp, &[at.value, low, high]).expect("asked for before")
    }

    /// Where all bits are zero.
    pub(super) fn is_zero(self) -> Mask<'e> {
        let zero = self.number(0);
        let value = self.lanes.build(&mut |b| b.ins().icmp(IntCC::Equal, self.value, zero.value));
        Mask { lanes: self.lanes, value }
    }
}

impl<'e> Mask<'e> {
    fn with(self, value: Value) -> Mask<'e> {
        Mask { value, ..self }
    }

    /// `yes` where set, else `no`.
    pub(super) fn select(self, yes: Float<'e>, no: Float<'e>) -> Float<'e> {
        let ty = self.lanes.float();
        let value = self.lanes.build(&mut |b| {
            // The form in which Cranelift finds blends, minima and maxima: a cast comparison between the same floats.
            let mask = b.ins().bitcast(ty, MemFlagsData::new(), self.value);
            b.ins().bitselect(mask, yes.value, no.value)
        });
        Float { lanes: self.lanes, value }
    }
}

impl BitAnd for Mask<'_> {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        self.with(self.lanes.build(&mut |b| b.ins().band(self.value, other.value)))
    }
}

impl BitOr for Mask<'_> {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.with(self.lanes.build(&mut |b| b.ins().bor(self.value, other.value)))
    }
}

impl Not for Mask<'_> {
    type Output = Self;
    fn not(self) -> Self {
        self.with(self.lanes.build(&mut |b| b.ins().bnot(self.value)))
    }
}

impl Neg for Float<'_> {
    type Output = Self;
    fn neg(self) -> Self {
        self.emit(|b| b.ins().fneg(self.value))
    }
}

macro_rules! operators {
    ($($ty:ident $operator:ident $method:ident $instruction:ident;)*) => {$(
        impl $operator for $ty<'_> {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                self.with(self.lanes.build(&mut |b| b.ins().$instruction(self.value, other.value)))
            }
        }
    )*};
}

operators! {
    Float Add add fadd;
    Float Sub sub fsub;
    Float Mul mul fmul;
    Float Div div fdiv;
    Int Add add iadd;
    Int Sub sub isub;
    Int BitAnd bitand band;
    Int BitOr bitor bor;
    Int BitXor bitxor bxor;
}
