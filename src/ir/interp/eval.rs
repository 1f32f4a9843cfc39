//! Evaluation of one element.

use ssmc_runtime::{Elements, Event};

use super::draw::Draws;
use super::math::{self, Complex, Real as Number, beats, complex, zero};
use super::node::*;
use crate::ir::{NormaliseOp, Random as Distribution, ReduceOp};

/// What expressions read.
pub(super) struct Env<F> {
    /// The value of each index in scope.
    index: Vec<i64>,
    /// The elements of each value, as far as they are known.
    pub(super) values: Vec<Elements<F>>,
    /// The rows of each delay, the youngest first.
    pub(super) delays: Vec<Elements<F>>,
    pub(super) first: bool,
    /// The sequence of the run, and the step in it, counted from its very start.
    pub(super) sequence: usize,
    pub(super) step: u64,
    /// Where each thing that is reported happened first.
    pub(super) events: Vec<Option<Event>>,
    tables: Vec<Table<F>>,
    /// Counts evaluations of equations; what a table holds of earlier ones is stale.
    now: u64,
    /// What initialisers may use.
    pub(super) draws: Draws,
}

struct Table<F> {
    written: Vec<u64>,
    cells: Vec<(F, F, i64)>,
}

impl<F: Number> Env<F> {
    pub(super) fn new(indices: usize, values: Vec<Elements<F>>, tables: &[usize]) -> Self {
        let table = |&n: &usize| Table { written: vec![0; n], cells: vec![(zero(), zero(), 0); n] };
        Self {
            index: vec![0; indices],
            values,
            delays: Vec::new(),
            first: false,
            sequence: 0,
            step: 0,
            events: Vec::new(),
            tables: tables.iter().map(table).collect(),
            now: 0,
            draws: Draws::none(),
        }
    }

    /// Evaluates a definition, and stores its value.
    pub(super) fn define(&mut self, program: &Program<F>) {
        self.now += 1;
        // No definition reads its own value.
        let mut elements = std::mem::replace(&mut self.values[program.value], Elements::Bool(Vec::new()));
        let mut at = 0;
        match (&program.body, &mut elements) {
            (Body::Real(body), Elements::Real(into)) => each(&program.loops, self, &mut |env| {
                into[at] = body.eval(env);
                at += 1;
            }),
            (Body::Complex(body), Elements::Complex { re, im }) => each(&program.loops, self, &mut |env| {
                let z = body.eval(env);
                (re[at], im[at]) = (z.re, z.im);
                at += 1;
            }),
            (Body::Int(body), Elements::Int(into)) => each(&program.loops, self, &mut |env| {
                into[at] = i32::try_from(body.eval(env)).expect("an instance stores no integer beyond 32 bits");
                at += 1;
            }),
            (Body::Bool(body), Elements::Bool(into)) => each(&program.loops, self, &mut |env| {
                into[at] = body.eval(env).into();
                at += 1;
            }),
            _ => panic!("the interpreter was given an ill-typed layer: a value and its definition differ in type"),
        }
        self.values[program.value] = elements;
    }

    /// An element of the solution that the table has for the current indices, if it has one.
    pub(super) fn kept(&self, memo: &Memo, at: usize) -> Option<F> {
        let place = self.place(memo) + at;
        let table = &self.tables[memo.table];
        (table.written[place] == self.now).then(|| table.cells[place].0)
    }

    /// Puts a solution into the table.
    pub(super) fn keep(&mut self, memo: &Memo, solution: &[F]) {
        let place = self.place(memo);
        let table = &mut self.tables[memo.table];
        for (n, &element) in solution.iter().enumerate() {
            table.written[place + n] = self.now;
            table.cells[place + n] = (element, zero(), 0);
        }
    }

    fn place(&self, memo: &Memo) -> usize {
        memo.keys.iter().map(|&(index, stride)| self.index[index] as usize * stride).sum()
    }

    /// A truth value without axes.
    pub(super) fn holds(&self, value: crate::ir::ValueId) -> bool {
        match &self.values[value.at()] {
            Elements::Bool(holds) => holds[0] != 0,
            _ => panic!("the interpreter was given a layer whose reset or check is no truth value"),
        }
    }

    /// Makes the report on a value where that is a truth value that does not hold.
    pub(super) fn check(&mut self, report: Option<usize>, value: crate::ir::ValueId) {
        if let Some(report) = report.filter(|_| !self.holds(value)) {
            self.happened(report);
        }
    }

    /// Notes that something is to be reported about the current step.
    pub(super) fn happened(&mut self, report: usize) {
        let here = Event { sequence: self.sequence, step: self.step };
        if let Some(event) = self.events.get_mut(report) {
            *event = Some(event.map_or(here, |there| there.min(here)));
        }
    }

    /// The result that the table has for the current indices, or else the one that is computed now.
    fn remember<V: Cell<F>>(&mut self, memo: &Option<Memo>, compute: impl FnOnce(&mut Self) -> V) -> V {
        let Some(memo) = memo else { return compute(self) };
        let at = self.place(memo);
        let table = &self.tables[memo.table];
        if table.written[at] == self.now {
            return V::unpack(table.cells[at]);
        }
        let value = compute(self);
        let table = &mut self.tables[memo.table];
        table.written[at] = self.now;
        table.cells[at] = value.pack();
        value
    }
}

/// What a table can hold.
trait Cell<F>: Copy {
    fn pack(self) -> (F, F, i64);
    fn unpack(cell: (F, F, i64)) -> Self;
}

impl<F: Number> Cell<F> for i64 {
    fn pack(self) -> (F, F, i64) {
        (zero(), zero(), self)
    }
    fn unpack(cell: (F, F, i64)) -> Self {
        cell.2
    }
}

impl<F: Number> Cell<F> for bool {
    fn pack(self) -> (F, F, i64) {
        (zero(), zero(), self.into())
    }
    fn unpack(cell: (F, F, i64)) -> Self {
        cell.2 != 0
    }
}

/// A real number, or two.
impl<F: Number> Cell<F> for [F; 2] {
    fn pack(self) -> (F, F, i64) {
        (self[0], self[1], 0)
    }
    fn unpack(cell: (F, F, i64)) -> Self {
        [cell.0, cell.1]
    }
}

impl<F: Number> Cell<F> for Complex<F> {
    fn pack(self) -> (F, F, i64) {
        (self.re, self.im, 0)
    }
    fn unpack(cell: (F, F, i64)) -> Self {
        complex(cell.0, cell.1)
    }
}

/// Runs over the ranges of the indices, the last one fastest.
pub(super) fn each<F>(loops: &[Loop], env: &mut Env<F>, visit: &mut impl FnMut(&mut Env<F>)) {
    match loops {
        [] => visit(env),
        [only] => {
            for i in 0..only.extent {
                env.index[only.index] = i as i64;
                visit(env);
            }
        }
        [outer, inner @ ..] => {
            for i in 0..outer.extent {
                env.index[outer.index] = i as i64;
                each(inner, env, visit);
            }
        }
    }
}

impl<F: Number> Access<F> {
    fn offset(&self, env: &mut Env<F>) -> usize {
        let mut offset = 0;
        for &(index, stride) in &self.plain {
            offset += env.index[index] as usize * stride;
        }
        for axis in &self.general {
            let at = axis.at.eval(env);
            assert!(
                0 <= at && (at as usize) < axis.extent,
                "the interpreter was given a layer with an access outside its tensor: {at} of {}",
                axis.extent
            );
            offset += at as usize * axis.stride;
        }
        offset
    }
}

impl<N> Across<N> {
    fn eval<F: Number, V>(&self, env: &mut Env<F>, of: impl Fn(&N, &mut Env<F>) -> V) -> V {
        let Loop { index, extent } = self.index;
        let here = env.index[index];
        let (there, node) = match &self.to {
            Element::Before([node, _], by) if here >= *by as i64 => (here - *by as i64, node),
            Element::Before([_, before], by) => (here - *by as i64 + extent as i64, before),
            Element::Last(node) => (extent as i64 - 1, node),
        };
        env.index[index] = there;
        let value = of(node, env);
        env.index[index] = here;
        value
    }
}

/// Where [`Past`] finds its element.
enum Then {
    /// In the value of this step.
    Now(usize),
    /// In the kept rows.
    Kept(usize),
}

impl<F: Number> Past<F> {
    fn find(&self, env: &mut Env<F>) -> Then {
        let offset = self.now.offset(env);
        let steps = self.steps.eval(env);
        assert!(
            0 <= steps && steps as usize <= self.depth,
            "the interpreter was given a layer that looks {steps} steps back, of {}",
            self.depth
        );
        match steps as usize {
            0 => Then::Now(offset),
            steps => Then::Kept((steps - 1) * self.size + offset),
        }
    }
}

/// Reads an element of a tensor of the right type.
macro_rules! read {
    ($env:expr, $access:expr, $elements:pat => $element:expr) => {{
        let at = $access.offset($env);
        match &$env.values[$access.tensor] {
            $elements => $element(at),
            _ => wrong_elements(),
        }
    }};
}

/// Reads an element of a delay of the right type.
macro_rules! past {
    ($env:expr, $past:expr, $elements:pat => $element:expr) => {{
        let (tensor, at) = match $past.find($env) {
            Then::Now(at) => (&$env.values[$past.now.tensor], at),
            Then::Kept(at) => (&$env.delays[$past.delay], at),
        };
        match tensor {
            $elements => $element(at),
            _ => wrong_elements(),
        }
    }};
}

fn wrong_elements() -> ! {
    panic!("the interpreter was given a tensor whose elements are not of the declared type")
}

impl<F: Number> Int<F> {
    pub(super) fn eval(&self, env: &mut Env<F>) -> i64 {
        match self {
            Int::Const(n) => *n,
            Int::Index(i) => env.index[*i],
            Int::Read(access) => read!(env, access, Elements::Int(v) => |at: usize| v[at].into()),
            Int::Past(past) => past!(env, past, Elements::Int(v) => |at: usize| v[at].into()),
            Int::Neg(a) => a.eval(env).wrapping_neg(),
            Int::Powi(a, n) => {
                let inverse = |x: i64| 1i64.checked_div(x).unwrap_or(0);
                math::powi(a.eval(env), *n, 1, i64::wrapping_mul, inverse)
            }
            Int::Call1(f, a) => f(a.eval(env)),
            Int::Call2(f, ab) => f(ab[0].eval(env), ab[1].eval(env)),
            Int::Clamp(parts) => parts[0].eval(env).max(parts[1].eval(env)).min(parts[2].eval(env)),
            Int::If(choice) => {
                if choice.condition.eval(env) {
                    choice.then.eval(env)
                } else {
                    choice.other.eval(env)
                }
            }
            Int::Reduce(reduce) => env.remember(&reduce.memo, |env| reduce.over_ints(env)),
            Int::PlaceAmongInts(reduce) => env.remember(&reduce.memo, |env| match reduce.op {
                ReduceOp::ArgMin => reduce.place(env, Int::eval, |a, b| a < b),
                _ => reduce.place(env, Int::eval, |a, b| a > b),
            }),
            Int::PlaceAmongReals(reduce) => env.remember(&reduce.memo, |env| match reduce.op {
                ReduceOp::ArgMin => reduce.place(env, Real::eval, |a, b| beats(-a, -b)),
                _ => reduce.place(env, Real::eval, beats),
            }),
        }
    }
}

impl<F: Number> Bool<F> {
    pub(super) fn eval(&self, env: &mut Env<F>) -> bool {
        match self {
            Bool::Const(b) => *b,
            Bool::First => env.first,
            Bool::Read(access) => read!(env, access, Elements::Bool(v) => |at: usize| v[at] != 0),
            Bool::Past(past) => past!(env, past, Elements::Bool(v) => |at: usize| v[at] != 0),
            Bool::Not(a) => !a.eval(env),
            Bool::Or(ab) => ab[0].eval(env) || ab[1].eval(env),
            Bool::And(ab) => ab[0].eval(env) && ab[1].eval(env),
            Bool::OfBools(f, ab) => f(ab[0].eval(env), ab[1].eval(env)),
            Bool::OfInts(f, ab) => f(ab[0].eval(env), ab[1].eval(env)),
            Bool::OfReals(f, ab) => f(ab[0].eval(env), ab[1].eval(env)),
            Bool::OfComplex(f, ab) => f(ab[0].eval(env), ab[1].eval(env)),
            Bool::If(choice) => {
                if choice.condition.eval(env) {
                    choice.then.eval(env)
                } else {
                    choice.other.eval(env)
                }
            }
            Bool::Reduce(reduce) => env.remember(&reduce.memo, |env| match reduce.op {
                ReduceOp::Min => reduce.fold(env, true, Bool::eval, |a, b| a && b),
                _ => reduce.fold(env, false, Bool::eval, |a, b| a || b),
            }),
        }
    }
}

impl<F: Number> Real<F> {
    pub(super) fn eval(&self, env: &mut Env<F>) -> F {
        match self {
            Real::Const(x) => *x,
            Real::OfInt(a) => F::from_f64(a.eval(env) as f64),
            Real::OfBool(a) => F::from_f64(if a.eval(env) { 1.0 } else { 0.0 }),
            Real::Read(access) => read!(env, access, Elements::Real(v) => |at: usize| v[at]),
            Real::Past(past) => past!(env, past, Elements::Real(v) => |at: usize| v[at]),
            Real::Neg(a) => -a.eval(env),
            Real::Add(ab) => ab[0].eval(env) + ab[1].eval(env),
            Real::Sub(ab) => ab[0].eval(env) - ab[1].eval(env),
            Real::Mul(ab) => ab[0].eval(env) * ab[1].eval(env),
            Real::Div(ab) => ab[0].eval(env) / ab[1].eval(env),
            Real::Powi(a, n) => {
                let one: F = math::one();
                math::powi(a.eval(env), *n, one, |a, b| a * b, |x| one / x)
            }
            Real::Call1(f, a) => F::from_f64(f(a.eval(env).to_f64())),
            Real::Call2(f, ab) => f(ab[0].eval(env), ab[1].eval(env)),
            Real::Clamp(parts) => {
                let (x, low, high) = (parts[0].eval(env), parts[1].eval(env), parts[2].eval(env));
                math::min(math::max(x, low), high)
            }
            Real::OfComplex(f, a) => F::from_f64(f(a.eval(env).widen())),
            Real::If(choice) => {
                if choice.condition.eval(env) {
                    choice.then.eval(env)
                } else {
                    choice.other.eval(env)
                }
            }
            Real::Across(across) => across.eval(env, Real::eval),
            Real::Reduce(reduce) => env.remember(&reduce.memo, |env| [reduce.over_reals(env), zero()])[0],
            Real::Normalise(normalise) => normalise.eval(env),
            Real::Solve(solve) => solve.eval(env),
            Real::Random(random) => random.eval(env),
            Real::HippoLegs(parts) => {
                let [_, n, k] = [0, 1, 2].map(|i| parts[i].eval(env));
                F::from_f64(crate::ir::hippo::legs(n, k))
            }
        }
    }
}

impl<F: Number> Cplx<F> {
    pub(super) fn eval(&self, env: &mut Env<F>) -> Complex<F> {
        match self {
            Cplx::Const(z) => *z,
            Cplx::OfReal(a) => complex(a.eval(env), zero()),
            Cplx::Read(access) => {
                read!(env, access, Elements::Complex { re, im } => |at: usize| complex(re[at], im[at]))
            }
            Cplx::Past(past) => past!(env, past, Elements::Complex { re, im } => |at: usize| complex(re[at], im[at])),
            Cplx::Neg(a) => a.eval(env).neg(),
            Cplx::Add(ab) => ab[0].eval(env).add(ab[1].eval(env)),
            Cplx::Sub(ab) => ab[0].eval(env).sub(ab[1].eval(env)),
            Cplx::Mul(ab) => ab[0].eval(env).mul(ab[1].eval(env)),
            Cplx::Scale(both) => {
                let (scale, z) = (both.0.eval(env), both.1.eval(env));
                complex(scale * z.re, scale * z.im)
            }
            Cplx::Div(ab) => ab[0].eval(env).div(ab[1].eval(env)),
            Cplx::Powi(a, n) => {
                let one = complex(math::one(), zero());
                math::powi(a.eval(env), *n, one, Complex::mul, |z| one.div(z))
            }
            Cplx::Call1(f, a) => Complex::narrow(f(a.eval(env).widen())),
            Cplx::Call2(f, ab) => Complex::narrow(f(ab[0].eval(env).widen(), ab[1].eval(env).widen())),
            Cplx::Cis(f, a) => Complex::narrow(f(a.eval(env).to_f64())),
            Cplx::If(choice) => {
                if choice.condition.eval(env) {
                    choice.then.eval(env)
                } else {
                    choice.other.eval(env)
                }
            }
            Cplx::Across(across) => across.eval(env, Cplx::eval),
            Cplx::Reduce(reduce) => env.remember(&reduce.memo, |env| reduce.over_complex(env)),
            Cplx::Random(random) => {
                let re = random.eval(env);
                complex(re, random.eval(env))
            }
            Cplx::HippoN(parts) => {
                let [n, i] = [0, 1].map(|p| parts[p].eval(env));
                Complex::narrow(complex(-0.5, env.draws.hippo_n(n, i)))
            }
        }
    }
}

impl<N> Reduce<N> {
    /// Folds in ascending order of the indices, the last one fastest.
    fn fold<F: Number, V: Copy>(
        &self,
        env: &mut Env<F>,
        start: V,
        eval: impl Fn(&N, &mut Env<F>) -> V,
        combine: impl Fn(V, V) -> V,
    ) -> V {
        let mut result = start;
        each(&self.loops, env, &mut |env| result = combine(result, eval(&self.body, env)));
        result
    }

    /// The row-major place of the first element that none beats; 0 where there is none.
    fn place<F: Number, V: Copy>(
        &self,
        env: &mut Env<F>,
        eval: impl Fn(&N, &mut Env<F>) -> V,
        beats: impl Fn(V, V) -> bool,
    ) -> i64 {
        let mut best: Option<(V, i64)> = None;
        let mut at = 0;
        each(&self.loops, env, &mut |env| {
            let element = eval(&self.body, env);
            if best.is_none_or(|(most, _)| beats(element, most)) {
                best = Some((element, at));
            }
            at += 1;
        });
        best.map_or(0, |(_, at)| at)
    }

    fn count(&self) -> f64 {
        self.loops.iter().map(|l| l.extent as f64).product()
    }
}

impl<F: Number> Reduce<Int<F>> {
    fn over_ints(&self, env: &mut Env<F>) -> i64 {
        match self.op {
            ReduceOp::Sum => self.fold(env, 0, Int::eval, i64::wrapping_add),
            ReduceOp::Prod => self.fold(env, 1, Int::eval, i64::wrapping_mul),
            ReduceOp::Max => self.fold(env, i64::MIN, Int::eval, i64::max),
            ReduceOp::Min => self.fold(env, i64::MAX, Int::eval, i64::min),
            op => panic!("the interpreter was given an ill-typed layer: {op:?} of integers"),
        }
    }
}

impl<F: Number> Reduce<Real<F>> {
    fn over_reals(&self, env: &mut Env<F>) -> F {
        match self.op {
            ReduceOp::Sum => self.sum(env),
            ReduceOp::Prod => self.fold(env, math::one(), Real::eval, |a, b| a * b),
            ReduceOp::Max => self.max(env),
            ReduceOp::Min => self.fold(env, F::from_f64(f64::INFINITY), Real::eval, math::min),
            ReduceOp::Mean => self.sum(env) / F::from_f64(self.count()),
            ReduceOp::LogSumExp => {
                let max = self.max(env);
                if max.to_f64().is_finite() {
                    let exp =
                        |body: &Real<F>, env: &mut Env<F>| F::from_f64(libm::exp((body.eval(env) - max).to_f64()));
                    let sum = self.fold(env, zero(), exp, |a, b| a + b);
                    max + F::from_f64(libm::log(sum.to_f64()))
                } else {
                    max
                }
            }
            op => panic!("the interpreter was given an ill-typed layer: {op:?} of reals"),
        }
    }

    fn sum(&self, env: &mut Env<F>) -> F {
        self.fold(env, zero(), Real::eval, |a, b| a + b)
    }

    fn max(&self, env: &mut Env<F>) -> F {
        self.fold(env, F::from_f64(f64::NEG_INFINITY), Real::eval, math::max)
    }
}

impl<F: Number> Reduce<Cplx<F>> {
    fn over_complex(&self, env: &mut Env<F>) -> Complex<F> {
        let zeros = complex(zero(), zero());
        match self.op {
            ReduceOp::Sum => self.fold(env, zeros, Cplx::eval, Complex::add),
            ReduceOp::Prod => self.fold(env, complex(math::one(), zero()), Cplx::eval, Complex::mul),
            ReduceOp::Mean => {
                let sum = self.fold(env, zeros, Cplx::eval, Complex::add);
                let count = F::from_f64(self.count());
                complex(sum.re / count, sum.im / count)
            }
            op => panic!("the interpreter was given an ill-typed layer: {op:?} of complex numbers"),
        }
    }
}

impl<F: Number> Normalise<F> {
    fn eval(&self, env: &mut Env<F>) -> F {
        let at = self.at.eval(env);
        assert!(
            0 <= at && (at as usize) < self.vector.extent,
            "the interpreter was given a layer with an access outside a normalised vector: {at} of {}",
            self.vector.extent
        );
        let [offset, scale] = env.remember(&self.memo, |env| self.statistics(env));
        env.index[self.vector.index] = at;
        let element = self.body.eval(env);
        match self.op {
            NormaliseOp::Softmax => F::from_f64(libm::exp((element - offset).to_f64())) / scale,
            NormaliseOp::LayerNorm | NormaliseOp::RmsNorm => (element - offset) / scale,
        }
    }

    /// What is subtracted from, and what divides, every element.
    fn statistics(&self, env: &mut Env<F>) -> [F; 2] {
        let eps: F = self.eps.as_ref().map_or(zero(), |eps| eps.eval(env));
        let count: F = F::from_f64(self.vector.extent as f64);
        let root = |square: F| F::from_f64(libm::sqrt((square / count + eps).to_f64()));
        match self.op {
            NormaliseOp::Softmax => {
                let max = self.fold(env, F::from_f64(f64::NEG_INFINITY), math::max);
                let exp = |sum: F, x: F| sum + F::from_f64(libm::exp((x - max).to_f64()));
                [max, self.fold(env, zero(), exp)]
            }
            NormaliseOp::LayerNorm => {
                let mean = self.fold(env, zero(), |sum, x| sum + x) / count;
                let squares = self.fold(env, zero(), |sum, x| sum + (x - mean) * (x - mean));
                [mean, root(squares)]
            }
            NormaliseOp::RmsNorm => [zero(), root(self.fold(env, zero(), |sum, x| sum + x * x))],
        }
    }

    fn fold(&self, env: &mut Env<F>, start: F, combine: impl Fn(F, F) -> F) -> F {
        let mut result = start;
        each(&[self.vector], env, &mut |env| result = combine(result, self.body.eval(env)));
        result
    }
}

impl<F: Number> Random<F> {
    fn eval(&self, env: &mut Env<F>) -> F {
        let [a, b] = [0, 1].map(|i| self.parameters[i].eval(env).to_f64());
        F::from_f64(match self.distribution {
            Distribution::Normal => a + b * env.draws.normal(),
            Distribution::Uniform => a + (b - a) * env.draws.uniform(),
        })
    }
}
