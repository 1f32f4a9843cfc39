//! From the IR to the form that is evaluated ([`super::node`]), for one instance.

use super::math::{self, Complex, Real as Number, complex};
use super::node::*;
use crate::diag::Span;
use crate::ir::extent::{floor_div, floor_mod};
use crate::ir::report::NOT_DEFINITE;
use crate::ir::{BinaryOp, Equation, Expr, ExprKind, Function, IndexId, Init, Instance, ReduceOp, Scalar, UnaryOp};
use crate::ir::{Random as Distribution, ValueId};

/// Tables larger than this are not kept.
const MAX_MEMO: usize = 1 << 22;

/// Turns equations and initialisers into programs.
pub(super) struct Lowering<'a> {
    instance: &'a Instance,
    scope: Vec<IndexId>,
    /// The sizes of the tables that the programs ask for.
    pub(super) tables: Vec<usize>,
    /// What the programs report.
    pub(super) reports: Vec<(Span, String)>,
}

impl<'a> Lowering<'a> {
    pub(super) fn new(instance: &'a Instance) -> Self {
        Self { instance, scope: Vec::new(), tables: Vec::new(), reports: Vec::new() }
    }

    pub(super) fn equation<F: Number>(&mut self, equation: &Equation) -> Program<F> {
        self.program(equation.value, &equation.indices, &equation.body)
    }

    pub(super) fn init<F: Number>(&mut self, value: ValueId, init: &Init) -> Program<F> {
        self.program(value, &init.indices, &init.body)
    }

    fn program<F: Number>(&mut self, value: ValueId, indices: &[IndexId], body: &Expr) -> Program<F> {
        self.scope = indices.to_vec();
        let body = match body.ty {
            Scalar::Int => Body::Int(self.int(body)),
            Scalar::Bool => Body::Bool(self.bool(body)),
            Scalar::Real => Body::Real(self.real(body)),
            Scalar::Complex => Body::Complex(self.cplx(body)),
        };
        Program { value: value.at(), loops: self.loops(indices), body }
    }

    fn loops(&self, indices: &[IndexId]) -> Vec<Loop> {
        let one = |i: &IndexId| Loop { index: i.at(), extent: self.instance.extents[i.at()] };
        indices.iter().map(one).collect()
    }

    fn int<F: Number>(&mut self, e: &Expr) -> Int<F> {
        match &e.kind {
            ExprKind::Int(n) => Int::Const(*n),
            ExprKind::Dim(d) => Int::Const(self.instance.dims[d.at()]),
            ExprKind::Index(i) => Int::Index(i.at()),
            ExprKind::Read { value, at } => Int::Read(self.access(*value, at)),
            ExprKind::Past { delay, at, steps } => Int::Past(self.past(*delay, at, steps)),
            ExprKind::Unary(UnaryOp::Neg, a) => Int::Neg(Box::new(self.int(a))),
            ExprKind::Powi(a, n) => Int::Powi(Box::new(self.int(a)), *n),
            ExprKind::Binary(op, a, b) => {
                let operands = Box::new([self.int(a), self.int(b)]);
                let f: fn(i64, i64) -> i64 = match op {
                    BinaryOp::Add => i64::wrapping_add,
                    BinaryOp::Sub => i64::wrapping_sub,
                    BinaryOp::Mul => i64::wrapping_mul,
                    BinaryOp::FloorDiv => |a, b| floor_div(a, b).unwrap_or(0),
                    BinaryOp::Mod => |a, b| floor_mod(a, b).unwrap_or(0),
                    _ => ill_typed(e),
                };
                Int::Call2(f, operands)
            }
            ExprKind::Call(function, args) => self.int_call(e, *function, args),
            ExprKind::If(parts) => Int::If(self.choice(parts, Self::int)),
            ExprKind::Reduce { op: op @ (ReduceOp::ArgMax | ReduceOp::ArgMin), indices, body } => match body.ty {
                Scalar::Int => Int::PlaceAmongInts(self.reduce(e, *op, indices, body, Self::int)),
                Scalar::Real => Int::PlaceAmongReals(self.reduce(e, *op, indices, body, Self::real)),
                _ => ill_typed(e),
            },
            ExprKind::Reduce { op, indices, body } => Int::Reduce(self.reduce(e, *op, indices, body, Self::int)),
            _ => ill_typed(e),
        }
    }

    fn int_call<F: Number>(&mut self, e: &Expr, function: Function, args: &[Expr]) -> Int<F> {
        let mut args: Vec<Int<F>> = args.iter().map(|a| self.int(a)).collect();
        match (function, args.len()) {
            (Function::Clamp, 3) => Int::Clamp(Box::new(array(args))),
            (Function::Min, 2) => Int::Call2(i64::min, Box::new(array(args))),
            (Function::Max, 2) => Int::Call2(i64::max, Box::new(array(args))),
            (Function::Abs, 1) => Int::Call1(i64::wrapping_abs, Box::new(args.remove(0))),
            (Function::Sign, 1) => Int::Call1(i64::signum, Box::new(args.remove(0))),
            (Function::Relu, 1) => Int::Call1(|a| a.max(0), Box::new(args.remove(0))),
            _ => ill_typed(e),
        }
    }

    fn bool<F: Number>(&mut self, e: &Expr) -> Bool<F> {
        match &e.kind {
            ExprKind::Bool(b) => Bool::Const(*b),
            ExprKind::First => Bool::First,
            ExprKind::Read { value, at } => Bool::Read(self.access(*value, at)),
            ExprKind::Past { delay, at, steps } => Bool::Past(self.past(*delay, at, steps)),
            ExprKind::Unary(UnaryOp::Not, a) => Bool::Not(Box::new(self.bool(a))),
            ExprKind::Binary(BinaryOp::Or, a, b) => Bool::Or(Box::new([self.bool(a), self.bool(b)])),
            ExprKind::Binary(BinaryOp::And, a, b) => Bool::And(Box::new([self.bool(a), self.bool(b)])),
            ExprKind::Binary(op, a, b) => match a.ty {
                Scalar::Int => Bool::OfInts(compare(*op), Box::new([self.int(a), self.int(b)])),
                Scalar::Real => Bool::OfReals(compare(*op), Box::new([self.real(a), self.real(b)])),
                Scalar::Bool => Bool::OfBools(compare(*op), Box::new([self.bool(a), self.bool(b)])),
                Scalar::Complex => {
                    let f: fn(Complex<F>, Complex<F>) -> bool = match op {
                        BinaryOp::Eq => |a, b| a == b,
                        BinaryOp::Ne => |a, b| a != b,
                        _ => ill_typed(e),
                    };
                    Bool::OfComplex(f, Box::new([self.cplx(a), self.cplx(b)]))
                }
            },
            ExprKind::Call(Function::Min, args) => Bool::And(Box::new([self.bool(&args[0]), self.bool(&args[1])])),
            ExprKind::Call(Function::Max, args) => Bool::Or(Box::new([self.bool(&args[0]), self.bool(&args[1])])),
            ExprKind::If(parts) => Bool::If(self.choice(parts, Self::bool)),
            ExprKind::Reduce { op, indices, body } => Bool::Reduce(self.reduce(e, *op, indices, body, Self::bool)),
            _ => ill_typed(e),
        }
    }

    fn real<F: Number>(&mut self, e: &Expr) -> Real<F> {
        match &e.kind {
            ExprKind::Real(x) => Real::Const(F::from_f64(*x)),
            ExprKind::Widen(a) => match self.int(a) {
                Int::Const(n) => Real::Const(F::from_f64(n as f64)),
                a => Real::OfInt(Box::new(a)),
            },
            ExprKind::Read { value, at } => Real::Read(self.access(*value, at)),
            ExprKind::Past { delay, at, steps } => Real::Past(self.past(*delay, at, steps)),
            ExprKind::Unary(UnaryOp::Neg, a) => Real::Neg(Box::new(self.real(a))),
            ExprKind::Powi(a, n) => Real::Powi(Box::new(self.real(a)), *n),
            ExprKind::Binary(op, a, b) => {
                let operands = Box::new([self.real(a), self.real(b)]);
                match op {
                    BinaryOp::Add => Real::Add(operands),
                    BinaryOp::Sub => Real::Sub(operands),
                    BinaryOp::Mul => Real::Mul(operands),
                    BinaryOp::Div => Real::Div(operands),
                    BinaryOp::FloorDiv => Real::Call2(math::floor_div, operands),
                    BinaryOp::Mod => Real::Call2(math::floor_mod, operands),
                    _ => ill_typed(e),
                }
            }
            ExprKind::Call(function, args) => self.real_call(e, *function, args),
            ExprKind::If(parts) => Real::If(self.choice(parts, Self::real)),
            ExprKind::Shift(..) | ExprKind::Last(_) => Real::Across(self.across(e, Self::real)),
            ExprKind::Reduce { op, indices, body } => Real::Reduce(self.reduce(e, *op, indices, body, Self::real)),
            ExprKind::Normalise { op, index, at, body, eps } => {
                let at = self.int(at);
                let eps_node = eps.as_deref().map(|e| self.real(e));
                let memo = self.memo(body, eps.as_deref());
                self.scope.push(*index);
                let body = self.real(body);
                self.scope.pop();
                let vector = self.loops(&[*index])[0];
                Real::Normalise(Box::new(Normalise { op: *op, vector, at, body, eps: eps_node, memo }))
            }
            ExprKind::Solve { row, column, at, matrix, right } => {
                let at = self.int(at);
                let memo = self.memo_of_solutions(*row, matrix, right);
                self.scope.push(*row);
                let right = self.real(right);
                self.scope.push(*column);
                let matrix = self.real(matrix);
                self.scope.truncate(self.scope.len() - 2);
                let loops = self.loops(&[*row, *column]);
                let report = self.reports.len();
                self.reports.push((e.span, NOT_DEFINITE.to_owned()));
                Real::Solve(Box::new(Solve { row: loops[0], column: loops[1], at, matrix, right, memo, report }))
            }
            ExprKind::Random(d, parameters) => Real::Random(self.random(*d, parameters)),
            ExprKind::HippoLegs(parts) => Real::HippoLegs(Box::new([0, 1, 2].map(|i| self.int(&parts[i])))),
            _ => ill_typed(e),
        }
    }

    fn real_call<F: Number>(&mut self, e: &Expr, function: Function, args: &[Expr]) -> Real<F> {
        if let [only] = args {
            match only.ty {
                Scalar::Bool if function == Function::Real => return Real::OfBool(Box::new(self.bool(only))),
                Scalar::Complex => {
                    let f: fn(Complex<f64>) -> f64 = match function {
                        Function::Abs => math::abs,
                        Function::Arg => math::arg,
                        Function::Re => |z| z.re,
                        Function::Im => |z| z.im,
                        _ => ill_typed(e),
                    };
                    return Real::OfComplex(f, Box::new(self.cplx(only)));
                }
                _ => {}
            }
        }
        let mut nodes: Vec<Real<F>> = args.iter().map(|a| self.real(a)).collect();
        match (function, nodes.len()) {
            (Function::Clamp, 3) => Real::Clamp(Box::new(array(nodes))),
            (Function::Min, 2) => Real::Call2(math::min, Box::new(array(nodes))),
            (Function::Max, 2) => Real::Call2(math::max, Box::new(array(nodes))),
            (Function::Pow, 2) => {
                let f = |a: F, b: F| F::from_f64(libm::pow(a.to_f64(), b.to_f64()));
                Real::Call2(f, Box::new(array(nodes)))
            }
            (_, 1) => {
                let f = real_function(function).unwrap_or_else(|| ill_typed(e));
                Real::Call1(f, Box::new(nodes.remove(0)))
            }
            _ => ill_typed(e),
        }
    }

    fn cplx<F: Number>(&mut self, e: &Expr) -> Cplx<F> {
        match &e.kind {
            ExprKind::Imaginary(x) => Cplx::Const(complex(math::zero(), F::from_f64(*x))),
            ExprKind::Widen(a) => Cplx::OfReal(Box::new(self.real(a))),
            ExprKind::Read { value, at } => Cplx::Read(self.access(*value, at)),
            ExprKind::Past { delay, at, steps } => Cplx::Past(self.past(*delay, at, steps)),
            ExprKind::Unary(UnaryOp::Neg, a) => Cplx::Neg(Box::new(self.cplx(a))),
            ExprKind::Powi(a, n) => Cplx::Powi(Box::new(self.cplx(a)), *n),
            ExprKind::Binary(op, a, b) => {
                if let (BinaryOp::Mul, Some((Expr { kind: ExprKind::Widen(real), .. }, z))) = (op, Expr::scaled(a, b)) {
                    return Cplx::Scale(Box::new((self.real(real), self.cplx(z))));
                }
                let operands = Box::new([self.cplx(a), self.cplx(b)]);
                match op {
                    BinaryOp::Add => Cplx::Add(operands),
                    BinaryOp::Sub => Cplx::Sub(operands),
                    BinaryOp::Mul => Cplx::Mul(operands),
                    BinaryOp::Div => Cplx::Div(operands),
                    _ => ill_typed(e),
                }
            }
            ExprKind::Call(Function::Cis, args) => Cplx::Cis(math::cis, Box::new(self.real(&args[0]))),
            ExprKind::Call(Function::Pow, args) => {
                Cplx::Call2(math::pow, Box::new([self.cplx(&args[0]), self.cplx(&args[1])]))
            }
            ExprKind::Call(function, args) => {
                let f: fn(Complex<f64>) -> Complex<f64> = match function {
                    Function::Exp => math::exp,
                    Function::Log => math::log,
                    Function::Sqrt => math::sqrt,
                    Function::Sin => math::sin,
                    Function::Cos => math::cos,
                    Function::Conj => |z| complex(z.re, -z.im),
                    _ => ill_typed(e),
                };
                Cplx::Call1(f, Box::new(self.cplx(&args[0])))
            }
            ExprKind::If(parts) => Cplx::If(self.choice(parts, Self::cplx)),
            ExprKind::Shift(..) | ExprKind::Last(_) => Cplx::Across(self.across(e, Self::cplx)),
            ExprKind::Reduce { op, indices, body } => Cplx::Reduce(self.reduce(e, *op, indices, body, Self::cplx)),
            ExprKind::Random(d, parameters) => Cplx::Random(self.random(*d, parameters)),
            ExprKind::HippoN(parts) => Cplx::HippoN(Box::new([0, 1].map(|i| self.int(&parts[i])))),
            _ => ill_typed(e),
        }
    }

    fn random<F: Number>(&mut self, distribution: Distribution, parameters: &[Expr; 2]) -> Box<Random<F>> {
        let parameters = [0, 1].map(|i| self.real(&parameters[i]));
        Box::new(Random { distribution, parameters })
    }

    fn choice<F: Number, N>(&mut self, parts: &[Expr; 3], lower: impl Fn(&mut Self, &Expr) -> N) -> Box<If<F, N>> {
        let condition = self.bool(&parts[0]);
        Box::new(If { condition, then: lower(self, &parts[1]), other: lower(self, &parts[2]) })
    }

    fn across<N>(&mut self, e: &Expr, lower: impl Fn(&mut Self, &Expr) -> N) -> Box<Across<N>> {
        let (place, to) = match &e.kind {
            ExprKind::Shift(parts, by) => {
                (&parts[0], Element::Before([lower(self, &parts[1]), lower(self, &parts[2])], *by))
            }
            ExprKind::Last(parts) => (&parts[0], Element::Last(lower(self, &parts[1]))),
            _ => ill_typed(e),
        };
        let ExprKind::Index(index) = place.kind else { ill_typed(e) };
        Box::new(Across { index: self.loops(&[index])[0], to })
    }

    fn reduce<N>(
        &mut self,
        whole: &Expr,
        op: ReduceOp,
        indices: &[IndexId],
        body: &Expr,
        lower: impl Fn(&mut Self, &Expr) -> N,
    ) -> Box<Reduce<N>> {
        let memo = self.memo(whole, None);
        let outside = self.scope.len();
        self.scope.extend(indices);
        let body = lower(self, body);
        self.scope.truncate(outside);
        Box::new(Reduce { op, loops: self.loops(indices), body, memo })
    }

    /// A table for a result that depends on these expressions, where that spares work.
    fn memo(&mut self, body: &Expr, other: Option<&Expr>) -> Option<Memo> {
        let (used, random) = self.used(&[body].into_iter().chain(other).collect::<Vec<_>>());
        let extent = |at: usize| self.instance.extents[self.scope[at].at()];
        let shared = (0..used.len()).any(|at| !used[at] && extent(at) > 1);
        if random || !shared {
            return None;
        }
        self.table(&used, 1)
    }

    /// A table for whole solutions, the elements of each next to each other.
    fn memo_of_solutions(&mut self, row: IndexId, matrix: &Expr, right: &Expr) -> Option<Memo> {
        let (used, random) = self.used(&[matrix, right]);
        if random { None } else { self.table(&used, self.instance.extents[row.at()]) }
    }

    /// Which indices in scope expressions mention; and whether they are random.
    fn used(&self, all: &[&Expr]) -> (Vec<bool>, bool) {
        let mut used = vec![false; self.scope.len()];
        let mut random = false;
        for e in all {
            e.walk(&mut |e| match e.kind {
                ExprKind::Index(i) => {
                    if let Some(at) = self.scope.iter().position(|s| *s == i) {
                        used[at] = true;
                    }
                }
                ExprKind::Random(..) => random = true,
                _ => {}
            });
        }
        (used, random)
    }

    /// A table of cells for each value of the indices that are used.
    fn table(&mut self, used: &[bool], cells: usize) -> Option<Memo> {
        let extent = |at: usize| self.instance.extents[self.scope[at].at()];
        let mut keys = Vec::new();
        let mut size = cells;
        for at in (0..used.len()).filter(|&at| used[at]) {
            keys.push((self.scope[at].at(), size));
            size = size.checked_mul(extent(at)).filter(|&n| n <= MAX_MEMO)?;
        }
        self.tables.push(size);
        Some(Memo { table: self.tables.len() - 1, keys })
    }

    fn access<F: Number>(&mut self, value: ValueId, at: &[Expr]) -> Access<F> {
        let shape = &self.instance.axes[value.at()];
        let mut access = Access { tensor: value.at(), plain: Vec::new(), general: Vec::new() };
        for (axis, e) in at.iter().enumerate() {
            let extent = shape[axis];
            let stride = shape[axis + 1..].iter().product();
            match self.int(e) {
                Int::Index(i) if self.instance.extents[i] <= extent => access.plain.push((i, stride)),
                at => access.general.push(Axis { at, extent, stride }),
            }
        }
        access
    }

    fn past<F: Number>(&mut self, delay: ValueId, at: &[Expr], steps: &Expr) -> Box<Past<F>> {
        let place = self.instance.layer.delays.iter().position(|d| *d == delay);
        let place = place.expect("the layer lists its delays");
        Box::new(Past {
            now: self.access(delay, at),
            delay: place,
            size: self.instance.elements(delay),
            depth: self.instance.depths[place],
            steps: self.int(steps),
        })
    }
}

fn array<T, const N: usize>(items: Vec<T>) -> [T; N] {
    items.try_into().ok().expect("the number of arguments was matched")
}

fn compare<T: PartialOrd>(op: BinaryOp) -> fn(T, T) -> bool {
    match op {
        BinaryOp::Lt => |a, b| a < b,
        BinaryOp::Le => |a, b| a <= b,
        BinaryOp::Gt => |a, b| a > b,
        BinaryOp::Ge => |a, b| a >= b,
        BinaryOp::Eq => |a, b| a == b,
        BinaryOp::Ne => |a, b| a != b,
        _ => panic!("the interpreter was given an ill-typed layer: {op:?} does not compare"),
    }
}

fn real_function(function: Function) -> Option<fn(f64) -> f64> {
    Some(match function {
        Function::Exp => libm::exp,
        Function::Expm1 => libm::expm1,
        Function::Log => libm::log,
        Function::Log1p => libm::log1p,
        Function::Sqrt => libm::sqrt,
        Function::Rsqrt => math::rsqrt,
        Function::Abs => libm::fabs,
        Function::Sign => math::sign,
        Function::Floor => libm::floor,
        Function::Sin => libm::sin,
        Function::Cos => libm::cos,
        Function::Tanh => libm::tanh,
        Function::Sigmoid => math::sigmoid,
        Function::Silu => math::silu,
        Function::Softplus => math::softplus,
        Function::Relu => math::relu,
        Function::Gelu => math::gelu,
        Function::Erf => libm::erf,
        _ => return None,
    })
}

fn ill_typed(e: &Expr) -> ! {
    panic!("the interpreter was given an ill-typed layer: {:?} at {:?}", e.kind, e.span)
}
