//! What an expression becomes.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type, Value, types};

use super::Emitter;
use crate::ir::Scalar;

/// One plane of a value.
#[derive(Clone, Debug)]
pub(super) enum Parts {
    /// The same on all lanes: a float, an `i64`, or an `i8` that is 0 or 1.
    One(Value),
    /// Different on every lane: vectors of floats; masks for truth values; integers one by one, as `i64`.
    Each(Vec<Value>),
}

/// The value of an expression. Complex numbers have a second plane.
#[derive(Clone, Debug)]
pub(super) struct Val {
    pub(super) ty: Scalar,
    pub(super) re: Parts,
    pub(super) im: Option<Parts>,
}

impl Val {
    pub(super) fn plane(ty: Scalar, re: Parts) -> Self {
        Self { ty, re, im: None }
    }

    pub(super) fn one(ty: Scalar, re: Value) -> Self {
        Self::plane(ty, Parts::One(re))
    }

    pub(super) fn complex(re: Parts, im: Parts) -> Self {
        Self { ty: Scalar::Complex, re, im: Some(im) }
    }

    /// The real and the imaginary part.
    pub(super) fn planes(self) -> (Parts, Parts) {
        (self.re, self.im.expect("a complex value has two planes"))
    }

    /// The scalar, where it is one.
    pub(super) fn scalar(&self) -> Value {
        match &self.re {
            Parts::One(value) => *value,
            Parts::Each(_) => panic!("codegen: a value that differs between lanes where one is needed"),
        }
    }

    pub(super) fn is_uniform(&self) -> bool {
        matches!(self.re, Parts::One(_)) && !matches!(self.im, Some(Parts::Each(_)))
    }
}

impl Emitter<'_, '_> {
    /// How many vectors are worked on.
    pub(super) fn parts(&self) -> usize {
        self.lane.map_or(1, |lane| lane.parts)
    }

    /// The type of masks.
    pub(super) fn mask(&self) -> Type {
        self.vector.as_truthy()
    }

    /// The float on all lanes of all vectors.
    pub(super) fn spread(&mut self, parts: &Parts) -> Vec<Value> {
        match parts {
            Parts::Each(values) => values.clone(),
            Parts::One(value) => {
                let known = self.splats.get(value).copied();
                let vector = known.unwrap_or_else(|| self.b.ins().splat(self.vector, *value));
                if self.in_region {
                    self.splats.insert(*value, vector);
                }
                vec![vector; self.parts()]
            }
        }
    }

    /// The truth value as masks.
    pub(super) fn spread_mask(&mut self, parts: &Parts) -> Vec<Value> {
        match parts {
            Parts::Each(values) => values.clone(),
            Parts::One(value) => {
                let mask = self.mask();
                let wide = self.b.ins().uextend(mask.lane_type(), *value);
                let wide = self.b.ins().ineg(wide);
                let value = self.b.ins().splat(mask, wide);
                vec![value; self.parts()]
            }
        }
    }

    /// The integer lane by lane.
    pub(super) fn spread_int(&self, parts: &Parts) -> Vec<Value> {
        match parts {
            Parts::Each(values) => values.clone(),
            Parts::One(value) => vec![*value; self.parts() * self.width],
        }
    }

    /// Masks of truth values that stand one by one.
    pub(super) fn masks_of(&mut self, bools: &[Value]) -> Vec<Value> {
        let mask = self.mask();
        let lane = mask.lane_type();
        let chunks = bools.chunks(self.width);
        let mut masks = Vec::new();
        for chunk in chunks {
            let zero = self.b.ins().iconst(lane, 0);
            let mut vector = self.b.ins().splat(mask, zero);
            for (n, &value) in chunk.iter().enumerate() {
                let wide = self.b.ins().uextend(lane, value);
                let wide = self.b.ins().ineg(wide);
                vector = self.b.ins().insertlane(vector, wide, n as u8);
            }
            masks.push(vector);
        }
        masks
    }

    /// Vectors of floats that stand one by one.
    pub(super) fn vectors_of(&mut self, floats: Vec<Value>) -> Vec<Value> {
        let mut vectors = Vec::new();
        for chunk in floats.chunks(self.width) {
            let mut vector = self.b.ins().scalar_to_vector(self.vector, chunk[0]);
            for (n, &value) in chunk.iter().enumerate().skip(1) {
                vector = self.b.ins().insertlane(vector, value, n as u8);
            }
            vectors.push(vector);
        }
        vectors
    }

    /// One lane of a plane.
    pub(super) fn pick(&mut self, ty: Scalar, parts: &Parts, lane: usize) -> Value {
        let values = match parts {
            Parts::One(value) => return *value,
            Parts::Each(values) => values,
        };
        if ty == Scalar::Int {
            return values[lane];
        }
        let value = self.b.ins().extractlane(values[lane / self.width], (lane % self.width) as u8);
        if ty == Scalar::Bool { self.b.ins().icmp_imm_s(IntCC::NotEqual, value, 0) } else { value }
    }

    /// Values that stand one by one as a plane.
    pub(super) fn gathered(&mut self, ty: Scalar, each: Vec<Value>) -> Parts {
        Parts::Each(match ty {
            Scalar::Int => each,
            Scalar::Bool => self.masks_of(&each),
            Scalar::Real | Scalar::Complex => self.vectors_of(each),
        })
    }

    /// A float operation on one plane.
    pub(super) fn map(&mut self, a: &Parts, mut op: impl FnMut(&mut Self, Value) -> Value) -> Parts {
        match a {
            Parts::One(a) => Parts::One(op(self, *a)),
            Parts::Each(a) => Parts::Each(a.iter().map(|&a| op(self, a)).collect()),
        }
    }

    /// A float operation on two planes.
    pub(super) fn zip(&mut self, a: &Parts, b: &Parts, mut op: impl FnMut(&mut Self, Value, Value) -> Value) -> Parts {
        if let (Parts::One(a), Parts::One(b)) = (a, b) {
            return Parts::One(op(self, *a, *b));
        }
        let (a, b) = (self.spread(a), self.spread(b));
        Parts::Each(a.into_iter().zip(b).map(|(a, b)| op(self, a, b)).collect())
    }

    /// A float operation on three planes.
    pub(super) fn zip3(
        &mut self,
        a: &Parts,
        b: &Parts,
        c: &Parts,
        mut op: impl FnMut(&mut Self, Value, Value, Value) -> Value,
    ) -> Parts {
        if let (Parts::One(a), Parts::One(b), Parts::One(c)) = (a, b, c) {
            return Parts::One(op(self, *a, *b, *c));
        }
        let (a, b, c) = (self.spread(a), self.spread(b), self.spread(c));
        Parts::Each((0..a.len()).map(|n| op(self, a[n], b[n], c[n])).collect())
    }

    /// An operation on integers.
    pub(super) fn zip_int(
        &mut self,
        a: &Parts,
        b: &Parts,
        mut op: impl FnMut(&mut Self, Value, Value) -> Value,
    ) -> Parts {
        if let (Parts::One(a), Parts::One(b)) = (a, b) {
            return Parts::One(op(self, *a, *b));
        }
        let (a, b) = (self.spread_int(a), self.spread_int(b));
        Parts::Each(a.into_iter().zip(b).map(|(a, b)| op(self, a, b)).collect())
    }

    /// An operation on truth values or masks.
    pub(super) fn zip_bool(
        &mut self,
        a: &Parts,
        b: &Parts,
        mut op: impl FnMut(&mut Self, Value, Value) -> Value,
    ) -> Parts {
        if let (Parts::One(a), Parts::One(b)) = (a, b) {
            return Parts::One(op(self, *a, *b));
        }
        let (a, b) = (self.spread_mask(a), self.spread_mask(b));
        Parts::Each(a.into_iter().zip(b).map(|(a, b)| op(self, a, b)).collect())
    }

    /// `if c then a else b`, lane by lane, of planes of one type.
    pub(super) fn choose(&mut self, ty: Scalar, c: &Parts, a: &Parts, b: &Parts) -> Parts {
        if let Parts::One(c) = c {
            let pair = match (a, b) {
                (Parts::One(a), Parts::One(b)) => return Parts::One(self.b.ins().select(*c, *a, *b)),
                _ => match ty {
                    Scalar::Int => (self.spread_int(a), self.spread_int(b)),
                    Scalar::Bool => (self.spread_mask(a), self.spread_mask(b)),
                    _ => (self.spread(a), self.spread(b)),
                },
            };
            let both = pair.0.into_iter().zip(pair.1);
            return Parts::Each(both.map(|(a, b)| self.b.ins().select(*c, a, b)).collect());
        }
        match ty {
            Scalar::Int => {
                let (a, b) = (self.spread_int(a), self.spread_int(b));
                let each = (0..a.len()).map(|n| {
                    let c = self.pick(Scalar::Bool, c, n);
                    self.b.ins().select(c, a[n], b[n])
                });
                Parts::Each(each.collect())
            }
            Scalar::Bool => {
                let (c, a, b) = (self.spread_mask(c), self.spread_mask(a), self.spread_mask(b));
                Parts::Each((0..c.len()).map(|n| self.b.ins().bitselect(c[n], a[n], b[n])).collect())
            }
            Scalar::Real | Scalar::Complex => {
                let (c, a, b) = (self.spread_mask(c), self.spread(a), self.spread(b));
                Parts::Each((0..c.len()).map(|n| self.blend(c[n], a[n], b[n])).collect())
            }
        }
    }

    /// `if c then a else b` on floats: vectors under a mask, or scalars under a truth value.
    pub(super) fn blend(&mut self, c: Value, a: Value, b: Value) -> Value {
        let ty = self.b.func.dfg.value_type(a);
        if !ty.is_vector() {
            return self.b.ins().select(c, a, b);
        }
        let c = self.b.ins().bitcast(ty, MemFlagsData::new(), c);
        self.b.ins().bitselect(c, a, b)
    }

    /// A real constant.
    pub(super) fn float(&mut self, x: f64) -> Value {
        match self.real {
            types::F32 => self.b.ins().f32const(x as f32),
            _ => self.b.ins().f64const(x),
        }
    }

    /// A real constant like `like`: a vector or a scalar.
    pub(super) fn float_like(&mut self, like: Value, x: f64) -> Value {
        let ty = self.b.func.dfg.value_type(like);
        let value = self.float(x);
        if ty.is_vector() { self.b.ins().splat(ty, value) } else { value }
    }
}
