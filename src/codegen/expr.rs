//! One element.
//!
//! An expression that depends on the index on the lanes becomes vectors; all others stay scalars. What has no vector
//! form is computed lane by lane.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{BlockArg, InstBuilder, Value, types};

use super::math::Elementary;
use super::math::complex::Complex;
use super::value::{Parts, Val};
use super::{At, Emitter};
use crate::ir::{BinaryOp, Expr, ExprKind, Function, ReduceOp, Scalar, UnaryOp};
use crate::plan::Phase;
use crate::plan::shape::{is_guard, is_natural, mentions, weight};

/// Up to how many nodes both branches of an `if` are computed, and one chosen.
const CHOSEN: usize = 8;

impl<'a> Emitter<'a, '_> {
    pub(super) fn is_cached(&self, e: &Expr) -> bool {
        self.cache.contains_key(&(std::ptr::from_ref(e), self.later))
    }

    pub(super) fn emit(&mut self, e: &'a Expr) -> Val {
        if let Some(value) = self.cache.get(&(std::ptr::from_ref(e), self.later)).cloned() {
            let Some((_, lane)) = self.picked else { return value };
            return self.picked_of(&value, lane);
        }
        match &e.kind {
            ExprKind::Int(n) => Val::one(e.ty, self.int(*n)),
            ExprKind::Real(x) => Val::one(e.ty, self.float(*x)),
            ExprKind::Imaginary(x) => {
                let (re, im) = (self.float(0.0), self.float(*x));
                Val::complex(Parts::One(re), Parts::One(im))
            }
            ExprKind::Bool(b) => Val::one(e.ty, self.b.ins().iconst(types::I8, i64::from(*b))),
            ExprKind::Index(i) => {
                let base = self.index(*i);
                match self.lane {
                    Some(lane) if lane.index == *i => {
                        let count = lane.parts * self.width;
                        let each = (0..count as i64).map(|n| self.plus(base, n)).collect();
                        Val::plane(e.ty, Parts::Each(each))
                    }
                    _ => Val::one(e.ty, base),
                }
            }
            ExprKind::First => Val::one(e.ty, self.first),
            ExprKind::Read { .. } | ExprKind::Past { .. } => self.read(e),
            ExprKind::Widen(inner) => {
                let inner = self.emit(inner);
                self.widen(inner)
            }
            ExprKind::Unary(op, inner) => {
                let inner = self.emit(inner);
                self.unary(*op, inner)
            }
            ExprKind::Binary(op, a, b) => self.binary_of(*op, a, b),
            ExprKind::Powi(base, exponent) => {
                let base = self.emit(base);
                self.powi(base, *exponent)
            }
            ExprKind::Call(f, args) => {
                let costly = weight(*f, args[0].ty == Scalar::Complex) > 4 && self.picked.is_none();
                if costly && let Some((_, value)) = self.calls.iter().find(|(known, _)| *known == e) {
                    return value.clone();
                }
                let value = match (f, &args[..]) {
                    (Function::Pow, [Expr { kind: ExprKind::Real(2.0), .. }, exponent]) => {
                        let exponent = self.emit(exponent);
                        self.real(Elementary::Exp2, &exponent)
                    }
                    (Function::Pow, [base, exponent])
                        if let Some(exponent) = root_of(exponent)
                            && self.adds_powers(base) =>
                    {
                        let base = self.emit(base);
                        self.near_root(&base, exponent)
                    }
                    _ => {
                        let args = args.iter().map(|arg| self.emit(arg)).collect();
                        self.call(*f, args)
                    }
                };
                if costly {
                    self.calls.push((e, value.clone()));
                }
                value
            }
            ExprKind::If(parts) => self.choice(e, parts),
            ExprKind::Reduce { .. } => self.reduce(e),
            ExprKind::Shift(..) | ExprKind::Last(_) => self.across(e),
            ExprKind::Dim(_) | ExprKind::Normalise { .. } | ExprKind::Solve { .. } => {
                panic!("codegen: the plan has left {e:?} in place")
            }
            ExprKind::Random(..) | ExprKind::HippoLegs(_) | ExprKind::HippoN(_) => {
                panic!("codegen: an initialiser's function outside of one: {e:?}")
            }
        }
    }

    /// Whether a value is a sum of powers whose terms are not precise to the last bit either.
    fn adds_powers(&self, e: &Expr) -> bool {
        match &e.kind {
            ExprKind::Read { value, .. } => {
                let equations = self.plan.instance.layer.equations.iter().map(|e| (e.value, &e.body));
                let statements = self.phases.iter().flat_map(Phase::statements).map(|s| (s.value, &s.body));
                let mut defined = equations.chain(statements).filter(|(defined, _)| defined == value);
                defined.any(|(_, body)| !matches!(body.kind, ExprKind::Read { .. }) && self.adds_powers(body))
            }
            ExprKind::Reduce { op, body, .. } => power_in_sum(*op, body).is_some(),
            _ => false,
        }
    }

    /// One lane of a value.
    pub(super) fn picked_of(&mut self, value: &Val, lane: usize) -> Val {
        let re = Parts::One(self.pick(value.ty, &value.re, lane));
        let im = value.im.as_ref().map(|im| Parts::One(self.pick(value.ty, im, lane)));
        Val { ty: value.ty, re, im }
    }

    /// What has no vector form, for every lane apart.
    pub(super) fn lane_by_lane(&mut self, e: &'a Expr) -> Val {
        let lane = self.lane.take().expect("lanes are active");
        let base = self.env[&lane.index];
        let (mut re, mut im) = (Vec::new(), Vec::new());
        for n in 0..lane.live {
            self.scoped(|this| {
                this.addresses.retain(|_, address| !address.includes.contains(&lane.index));
                this.env.insert(lane.index, super::At { add: base.add + n as i64, ..base });
                let before = this.picked.replace((lane.index, n));
                let value = this.emit(e);
                this.picked = before;
                re.push(value.scalar());
                if let Some(Parts::One(value)) = value.im {
                    im.push(value);
                }
            });
        }
        self.env.insert(lane.index, base);
        self.lane = Some(lane);
        re.resize(lane.parts * self.width, re[0]);
        if let Some(&first) = im.first() {
            im.resize(lane.parts * self.width, first);
        }
        let re = self.gathered(e.ty, re);
        let im = (e.ty == Scalar::Complex).then(|| self.gathered(e.ty, im));
        Val { ty: e.ty, re, im }
    }

    fn widen(&mut self, inner: Val) -> Val {
        if inner.ty == Scalar::Real {
            let zero = self.float(0.0);
            return Val::complex(inner.re, Parts::One(zero));
        }
        let real = self.real;
        let re = match &inner.re {
            Parts::One(n) => Parts::One(self.b.ins().fcvt_from_sint(real, *n)),
            Parts::Each(each) => {
                let each = each.iter().map(|&n| self.b.ins().fcvt_from_sint(real, n)).collect();
                self.gathered(Scalar::Real, each)
            }
        };
        Val::plane(Scalar::Real, re)
    }

    fn unary(&mut self, op: UnaryOp, a: Val) -> Val {
        match (op, a.ty) {
            (UnaryOp::Neg, Scalar::Int) => {
                let re = self.map(&a.re, |this, a| this.b.ins().ineg(a));
                Val::plane(a.ty, re)
            }
            (UnaryOp::Neg, _) => {
                let re = self.map(&a.re, |this, a| this.b.ins().fneg(a));
                let im = a.im.map(|im| self.map(&im, |this, a| this.b.ins().fneg(a)));
                Val { ty: a.ty, re, im }
            }
            (UnaryOp::Not, _) => {
                let re = match &a.re {
                    Parts::One(c) => Parts::One(self.b.ins().bxor_imm_u(*c, 1)),
                    Parts::Each(masks) => Parts::Each(masks.iter().map(|&m| self.b.ins().bnot(m)).collect()),
                };
                Val::plane(a.ty, re)
            }
        }
    }

    /// Products that something is added to, or taken from, are contracted where the machine can; and those that are added or
    /// taken.
    fn binary_of(&mut self, op: BinaryOp, a: &'a Expr, b: &'a Expr) -> Val {
        let sum = matches!(op, BinaryOp::Add | BinaryOp::Sub);
        if sum && a.ty == Scalar::Real && self.machine.fma {
            for (product, other, taken) in [(a, b, false), (b, a, op == BinaryOp::Sub)] {
                if let ExprKind::Binary(BinaryOp::Mul, x, y) = &product.kind
                    && !self.is_cached(product)
                {
                    let (mut x, y, mut other) = (self.emit(x), self.emit(y), self.emit(other));
                    match op {
                        BinaryOp::Sub if taken => x = self.negated(&x),
                        BinaryOp::Sub => other = self.negated(&other),
                        _ => {}
                    }
                    let re = self.zip3(&x.re, &y.re, &other.re, |this, x, y, c| this.b.ins().fma(x, y, c));
                    return Val::plane(Scalar::Real, re);
                }
            }
        }
        if matches!(op, BinaryOp::FloorDiv | BinaryOp::Mod) && a.ty == Scalar::Int {
            let natural = is_natural(a) && is_natural(b);
            let (a, b) = (self.emit(a), self.emit(b));
            let re = self.zip_int(&a.re, &b.re, |this, a, b| this.divide(op, a, b, natural));
            return Val::plane(Scalar::Int, re);
        }
        if op == BinaryOp::Mul
            && let Some((scale, z)) = Expr::scaled(a, b)
        {
            let (scale, (re, im)) = (self.emit(scale).re, self.emit(z).planes());
            let mut mul = |x: &Parts| self.zip(&scale, x, |this, a, b| this.b.ins().fmul(a, b));
            return Val::complex(mul(&re), mul(&im));
        }
        let (a, b) = (self.emit(a), self.emit(b));
        self.binary(op, a, b)
    }

    fn negated(&mut self, value: &Val) -> Val {
        let re = self.map(&value.re, |this, x| this.b.ins().fneg(x));
        Val::plane(Scalar::Real, re)
    }

    /// The quotient of integers, rounded down, or the remainder with the divisor's sign.
    fn divide(&mut self, op: BinaryOp, a: Value, b: Value, natural: bool) -> Value {
        if natural {
            return match op {
                BinaryOp::FloorDiv => self.b.ins().udiv(a, b),
                _ => self.b.ins().urem(a, b),
            };
        }
        let quotient = self.b.ins().sdiv(a, b);
        let product = self.b.ins().imul(quotient, b);
        let rest = self.b.ins().isub(a, product);
        let signs = self.b.ins().bxor(rest, b);
        let differ = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, signs, 0);
        let some = self.b.ins().icmp_imm_s(IntCC::NotEqual, rest, 0);
        let correct = self.b.ins().band(differ, some);
        match op {
            BinaryOp::FloorDiv => {
                let correct = self.b.ins().uextend(types::I64, correct);
                self.b.ins().isub(quotient, correct)
            }
            _ => {
                let moved = self.b.ins().iadd(rest, b);
                self.b.ins().select(correct, moved, rest)
            }
        }
    }

    pub(super) fn binary(&mut self, op: BinaryOp, a: Val, b: Val) -> Val {
        match a.ty {
            Scalar::Bool => {
                let re = self.zip_bool(&a.re, &b.re, |this, a, b| match op {
                    BinaryOp::Or => this.b.ins().bor(a, b),
                    BinaryOp::And => this.b.ins().band(a, b),
                    _ => this.b.ins().bxor(a, b),
                });
                let differ = Val::plane(Scalar::Bool, re);
                if op == BinaryOp::Eq { self.unary(UnaryOp::Not, differ) } else { differ }
            }
            Scalar::Int => self.integers(op, a, b),
            Scalar::Real => self.reals(op, a, b),
            Scalar::Complex => self.complexes(op, a, b),
        }
    }

    fn integers(&mut self, op: BinaryOp, a: Val, b: Val) -> Val {
        let order = match op {
            BinaryOp::Lt => IntCC::SignedLessThan,
            BinaryOp::Le => IntCC::SignedLessThanOrEqual,
            BinaryOp::Gt => IntCC::SignedGreaterThan,
            BinaryOp::Ge => IntCC::SignedGreaterThanOrEqual,
            BinaryOp::Eq => IntCC::Equal,
            BinaryOp::Ne => IntCC::NotEqual,
            _ => {
                let re = self.zip_int(&a.re, &b.re, |this, a, b| match op {
                    BinaryOp::Add => this.b.ins().iadd(a, b),
                    BinaryOp::Sub => this.b.ins().isub(a, b),
                    BinaryOp::Mul => this.b.ins().imul(a, b),
                    op => this.divide(op, a, b, false),
                });
                return Val::plane(Scalar::Int, re);
            }
        };
        let re = match self.zip_int(&a.re, &b.re, |this, a, b| this.b.ins().icmp(order, a, b)) {
            Parts::Each(each) => Parts::Each(self.masks_of(&each)),
            one => one,
        };
        Val::plane(Scalar::Bool, re)
    }

    fn reals(&mut self, op: BinaryOp, a: Val, b: Val) -> Val {
        let order = match op {
            BinaryOp::Lt => FloatCC::LessThan,
            BinaryOp::Le => FloatCC::LessThanOrEqual,
            BinaryOp::Gt => FloatCC::GreaterThan,
            BinaryOp::Ge => FloatCC::GreaterThanOrEqual,
            BinaryOp::Eq => FloatCC::Equal,
            BinaryOp::Ne => FloatCC::NotEqual,
            _ => {
                let re = self.zip(&a.re, &b.re, |this, a, b| match op {
                    BinaryOp::Add => this.b.ins().fadd(a, b),
                    BinaryOp::Sub => this.b.ins().fsub(a, b),
                    BinaryOp::Mul => this.b.ins().fmul(a, b),
                    BinaryOp::Div => this.b.ins().fdiv(a, b),
                    BinaryOp::FloorDiv => {
                        let quotient = this.b.ins().fdiv(a, b);
                        this.b.ins().floor(quotient)
                    }
                    _ => this.elementary(Elementary::Remainder, &[a, b]),
                });
                return Val::plane(Scalar::Real, re);
            }
        };
        let re = self.zip(&a.re, &b.re, |this, a, b| this.b.ins().fcmp(order, a, b));
        Val::plane(Scalar::Bool, re)
    }

    fn complexes(&mut self, op: BinaryOp, a: Val, b: Val) -> Val {
        if op == BinaryOp::Div {
            return self.complex(Complex::Divide, vec![a, b]);
        }
        let ((ar, ai), (br, bi)) = (a.planes(), b.planes());
        let real = |parts: Parts| Val::plane(Scalar::Real, parts);
        match op {
            BinaryOp::Eq | BinaryOp::Ne => {
                let re = self.reals(op, real(ar), real(br));
                let im = self.reals(op, real(ai), real(bi));
                self.binary(if op == BinaryOp::Eq { BinaryOp::And } else { BinaryOp::Or }, re, im)
            }
            BinaryOp::Mul => {
                let mut mul = |a: &Parts, b: &Parts| self.zip(a, b, |this, a, b| this.b.ins().fmul(a, b));
                let (rr, ii, ri, ir) = (mul(&ar, &br), mul(&ai, &bi), mul(&ar, &bi), mul(&ai, &br));
                let re = self.zip(&rr, &ii, |this, a, b| this.b.ins().fsub(a, b));
                let im = self.zip(&ri, &ir, |this, a, b| this.b.ins().fadd(a, b));
                Val::complex(re, im)
            }
            _ => {
                let re = self.reals(op, real(ar), real(br)).re;
                let im = self.reals(op, real(ai), real(bi)).re;
                Val::complex(re, im)
            }
        }
    }

    /// By repeated squaring, lowest bit first; the reciprocal for a negative exponent.
    fn powi(&mut self, base: Val, exponent: i32) -> Val {
        let mut left = exponent.unsigned_abs();
        let mut square = base.clone();
        let mut result: Option<Val> = None;
        while left > 0 {
            if left & 1 == 1 {
                result = Some(match result {
                    Some(result) => self.binary(BinaryOp::Mul, result, square.clone()),
                    None => square.clone(),
                });
            }
            left >>= 1;
            if left > 0 {
                square = self.binary(BinaryOp::Mul, square.clone(), square);
            }
        }
        let result = match result {
            Some(result) => result,
            None => self.unit(base.ty),
        };
        match (exponent < 0, base.ty) {
            (false, _) => result,
            (true, Scalar::Int) => {
                // 1 / x, rounded toward zero: x itself for 1 and -1, else 0.
                let re = self.map(&result.re, |this, x| {
                    let near = this.b.ins().iadd_imm_s(x, 1);
                    let unit = this.b.ins().icmp_imm_u(IntCC::UnsignedLessThanOrEqual, near, 2);
                    let zero = this.int(0);
                    this.b.ins().select(unit, x, zero)
                });
                Val::plane(Scalar::Int, re)
            }
            (true, _) => {
                let one = self.unit(base.ty);
                self.binary(BinaryOp::Div, one, result)
            }
        }
    }

    fn unit(&mut self, ty: Scalar) -> Val {
        match ty {
            Scalar::Int | Scalar::Bool => Val::one(Scalar::Int, self.int(1)),
            Scalar::Real => Val::one(ty, self.float(1.0)),
            Scalar::Complex => {
                let (re, im) = (self.float(1.0), self.float(0.0));
                Val::complex(Parts::One(re), Parts::One(im))
            }
        }
    }

    /// The value of an integer or a truth value that written-out loops decide.
    fn known(&self, e: &Expr) -> Option<i64> {
        Some(match &e.kind {
            ExprKind::Int(n) => *n,
            ExprKind::Bool(b) => i64::from(*b),
            ExprKind::Index(i) if self.lane.is_none_or(|lane| lane.index != *i) => match self.env.get(i)? {
                At { base: None, add } => *add,
                At { base: Some(_), .. } => return None,
            },
            ExprKind::Binary(op, a, b) if a.ty == Scalar::Int => {
                let (a, b) = (self.known(a)?, self.known(b)?);
                match op {
                    BinaryOp::Add => a.checked_add(b)?,
                    BinaryOp::Sub => a.checked_sub(b)?,
                    BinaryOp::Mul => a.checked_mul(b)?,
                    BinaryOp::Eq => i64::from(a == b),
                    BinaryOp::Ne => i64::from(a != b),
                    BinaryOp::Lt => i64::from(a < b),
                    BinaryOp::Le => i64::from(a <= b),
                    BinaryOp::Gt => i64::from(a > b),
                    BinaryOp::Ge => i64::from(a >= b),
                    _ => return None,
                }
            }
            ExprKind::Binary(BinaryOp::And, a, b) => match (self.known(a), self.known(b)) {
                (Some(0), _) | (_, Some(0)) => 0,
                (Some(_), Some(_)) => 1,
                _ => return None,
            },
            ExprKind::Binary(BinaryOp::Or, a, b) => match (self.known(a), self.known(b)) {
                (Some(1), _) | (_, Some(1)) => 1,
                (Some(_), Some(_)) => 0,
                _ => return None,
            },
            _ => return None,
        })
    }

    fn choice(&mut self, e: &'a Expr, parts: &'a [Expr; 3]) -> Val {
        let [condition, then, other] = parts;
        if let Some(holds) = self.known(condition) {
            return self.emit(if holds != 0 { then } else { other });
        }
        let guard = is_guard(condition);
        let varies = self.lane.is_some_and(|lane| mentions(condition, &[lane.index]));
        if guard && varies {
            return self.lane_by_lane(e);
        }
        let c = self.emit(condition);
        let uniform = c.is_uniform();
        if !uniform || (!guard && size(then) + size(other) <= CHOSEN) {
            let (a, b) = (self.emit(then), self.emit(other));
            let re = self.choose(e.ty, &c.re, &a.re, &b.re);
            let im = match (&a.im, &b.im) {
                (Some(a), Some(b)) => Some(self.choose(e.ty, &c.re, a, b)),
                _ => None,
            };
            return Val { ty: e.ty, re, im };
        }
        let vectors = self.lane.is_some_and(|lane| mentions(e, &[lane.index]));
        let blocks = [self.b.create_block(), self.b.create_block()];
        let join = self.b.create_block();
        self.b.ins().brif(c.scalar(), blocks[0], &[], blocks[1], &[]);
        let mut planes = 0;
        let splats = self.splats.clone();
        for (block, branch) in blocks.into_iter().zip([then, other]) {
            self.b.switch_to_block(block);
            self.splats.clone_from(&splats);
            let value = self.scoped(|this| this.emit(branch));
            let mut flat = Vec::new();
            for plane in [Some(&value.re), value.im.as_ref()].into_iter().flatten() {
                flat.extend(match (vectors, plane, e.ty) {
                    (false, Parts::One(value), _) => vec![*value],
                    (_, plane, Scalar::Int) => self.spread_int(plane),
                    (_, plane, Scalar::Bool) => self.spread_mask(plane),
                    (_, plane, _) => self.spread(plane),
                });
            }
            if planes == 0 {
                for value in &flat {
                    let ty = self.b.func.dfg.value_type(*value);
                    self.b.append_block_param(join, ty);
                }
            }
            planes = flat.len();
            let arguments: Vec<BlockArg> = flat.into_iter().map(BlockArg::from).collect();
            self.b.ins().jump(join, &arguments);
        }
        self.splats = splats;
        self.b.switch_to_block(join);
        let flat = self.b.block_params(join).to_vec();
        let count = if e.ty == Scalar::Complex { flat.len() / 2 } else { flat.len() };
        let plane = |n: usize| match vectors {
            true => Parts::Each(flat[n * count..(n + 1) * count].to_vec()),
            false => Parts::One(flat[n]),
        };
        let im = (e.ty == Scalar::Complex).then(|| plane(1));
        Val { ty: e.ty, re: plane(0), im }
    }
}

/// The number that an expression is, if it is one that a near root takes: `1 / p` is two numbers still.
fn root_of(e: &Expr) -> Option<f64> {
    let exponent = match &e.kind {
        ExprKind::Real(x) => *x,
        ExprKind::Binary(BinaryOp::Div, a, b) => match (&a.kind, &b.kind) {
            (ExprKind::Real(a), ExprKind::Real(b)) => a / b,
            _ => return None,
        },
        _ => return None,
    };
    // Nearer to 1, the root of the largest numbers is one too large for `near_root` on its way.
    (exponent > 0.0 && exponent <= 0.95).then_some(exponent)
}

/// The magnitude and the exponent of a power that a sum adds up as [`Emitter::add_power`] does.
pub(super) fn power_in_sum(op: ReduceOp, body: &Expr) -> Option<(&Expr, f64)> {
    if let ExprKind::Call(Function::Pow, arguments) = &body.kind
        && let [base, Expr { kind: ExprKind::Real(exponent), .. }] = &arguments[..]
        && matches!(base.kind, ExprKind::Call(Function::Abs, _))
        && matches!(op, ReduceOp::Sum | ReduceOp::Mean)
        && body.ty == Scalar::Real
        && (1.0..=8.0).contains(exponent)
    {
        return Some((base, *exponent));
    }
    None
}

/// How many nodes an expression has; loops and functions count as many.
fn size(e: &Expr) -> usize {
    let mut nodes = 0;
    e.walk(&mut |e| {
        nodes += match e.kind {
            ExprKind::Reduce { .. } | ExprKind::Call(..) => 100,
            _ => 1,
        }
    });
    nodes
}
