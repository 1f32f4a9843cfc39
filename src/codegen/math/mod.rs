//! Elementary functions, emitted inline for vectors of any lane count.
//!
//! In: a function, the values of its arguments (`F32X4`, `F64X2`, a wider vector, or a scalar `F32` or `F64`), a builder
//! at the place where they are wanted. Out: the value of the result, of the same type. Bounds on the error are in
//! `docs/numerics.md`, measured against exact values; special values are those of C's library.
//!
//! # Invariants
//! - A lane's result depends on nothing but that lane's arguments. A scalar is lane 0 of a 128-bit vector, so scalar and
//!   vector results agree to the bit.
//! - Nothing is flushed: subnormal arguments and results count.
//! - Functions with a slow path ([`Elementary::has_branch`]) leave the builder in a new block, sealed like those before it; all
//!   others emit one straight line.
//!
//! # Instructions
//! `vconst fadd fsub fmul fdiv fma fneg fabs sqrt floor trunc fcmp` (`eq ne lt uno`) `icmp` (`eq`) `iadd isub ishl ushr
//! band bor bxor bnot bitselect bitcast`; a blend is `bitselect` on a cast comparison, the form that Cranelift turns into
//! minima, maxima and blends. Slow paths also use `vany_true brif jump call extractlane insertlane`; scalars `splat`,
//! `scalar_to_vector` and `extractlane`. Where [`Environment::primitive`] offers them, calls of [`Primitive`]s and `fcmp uge`.
//!
//! Left to others: where constants live ([`Environment::constant`]) and how scalar routines are found
//! ([`Environment::routine`]).

mod coefficients;
pub mod complex;
mod exp;
mod lanes;
mod log;
mod normal;
mod pair;
mod power;
mod trig;

use cranelift_codegen::ir::{ConstantData, ExtFuncData, ExternalName, FuncRef, InstBuilder, Type, Value, types};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::FunctionBuilder;
use ssmc_wide::Primitive;

use lanes::{Float, Lanes};

/// A function of one or two real arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Elementary {
    /// `e^x`.
    Exp,
    /// `2^x`. The language has none: it is for exponentials of products with something that can be scaled before.
    Exp2,
    /// `e^x - 1`, with small relative error near 0.
    Expm1,
    /// The natural logarithm.
    Log,
    /// `ln(1 + x)`, with small relative error near 0.
    Log1p,
    /// The sine of an angle in radians, of any size.
    Sin,
    /// The cosine of an angle in radians, of any size.
    Cos,
    /// The hyperbolic tangent.
    Tanh,
    /// `1/(1 + e^-x)`.
    Sigmoid,
    /// `x/(1 + e^-x)`.
    Silu,
    /// `ln(1 + e^x)`.
    Softplus,
    /// `x·Φ(x)`, Φ the normal distribution function.
    Gelu,
    /// The error function.
    Erf,
    /// The square root, correctly rounded.
    Sqrt,
    /// `1/√x`.
    Rsqrt,
    /// `x^y`, as C's `pow`.
    Pow,
    /// The angle of the point `(x, y)`, for the arguments `y, x`, as C's `atan2`.
    Atan2,
    /// `x - y·floor(x/y)`, with the sign of `y`.
    Remainder,
}

impl Elementary {
    /// All of them.
    pub const ALL: [Elementary; 18] = {
        use Elementary::*;
        [
            Exp, Exp2, Expm1, Log, Log1p, Sin, Cos, Tanh, Sigmoid, Silu, Softplus, Gelu, Erf, Sqrt, Rsqrt, Pow, Atan2,
            Remainder,
        ]
    };

    /// The name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Elementary::Exp => "exp",
            Elementary::Exp2 => "exp2",
            Elementary::Expm1 => "expm1",
            Elementary::Log => "log",
            Elementary::Log1p => "log1p",
            Elementary::Sin => "sin",
            Elementary::Cos => "cos",
            Elementary::Tanh => "tanh",
            Elementary::Sigmoid => "sigmoid",
            Elementary::Silu => "silu",
            Elementary::Softplus => "softplus",
            Elementary::Gelu => "gelu",
            Elementary::Erf => "erf",
            Elementary::Sqrt => "sqrt",
            Elementary::Rsqrt => "rsqrt",
            Elementary::Pow => "pow",
            Elementary::Atan2 => "atan2",
            Elementary::Remainder => "remainder",
        }
    }

    /// The number of arguments.
    pub fn arity(self) -> usize {
        match self {
            Elementary::Pow | Elementary::Atan2 | Elementary::Remainder => 2,
            _ => 1,
        }
    }

    /// Whether the function branches to a slow path, which may call a [`Routine`].
    pub fn has_branch(self) -> bool {
        matches!(self, Elementary::Sin | Elementary::Cos | Elementary::Remainder)
    }
}

/// A scalar routine that slow paths call, lane by lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Routine {
    /// The sine.
    Sin,
    /// The cosine.
    Cos,
    /// `x mod y` for positive `x` and `y`, exact.
    Remainder,
    /// Linear systems: takes addresses and numbers of 64 bits, and returns nothing.
    Solve,
}

impl Routine {
    /// The symbol of the routine for a lane type; `ssmc_runtime::scalar` has its address.
    ///
    /// # Panics
    /// If `lane` is neither `F32` nor `F64`.
    pub fn symbol(self, lane: Type) -> &'static str {
        match (self, lane) {
            (Routine::Sin, types::F32) => "ssmc_sin_f32",
            (Routine::Sin, types::F64) => "ssmc_sin_f64",
            (Routine::Cos, types::F32) => "ssmc_cos_f32",
            (Routine::Cos, types::F64) => "ssmc_cos_f64",
            (Routine::Remainder, types::F32) => "ssmc_fmod_f32",
            (Routine::Remainder, types::F64) => "ssmc_fmod_f64",
            (Routine::Solve, types::F32) => "ssmc_solve_f32",
            (Routine::Solve, types::F64) => "ssmc_solve_f64",
            _ => panic!("no routine for {lane}"),
        }
    }

    /// The number of arguments; but for [`Routine::Solve`] all are of the lane type, as is the result.
    pub fn arity(self) -> usize {
        match self {
            Routine::Sin | Routine::Cos => 1,
            Routine::Remainder => 2,
            Routine::Solve => 8,
        }
    }
}

/// What the surroundings of the emitted code provide.
pub trait Environment {
    /// A reference to a routine of signature `fn(lane, ..) -> lane`, in the system's calling convention.
    fn routine(&mut self, builder: &mut FunctionBuilder<'_>, routine: Routine, lane: Type) -> FuncRef;

    /// A reference to an operation on vectors of type `ty`, where the code may use it. Results do not depend on it, but those of
    /// `exp2` and of powers in sums.
    fn primitive(&mut self, _: &mut FunctionBuilder<'_>, _primitive: Primitive, _ty: Type) -> Option<FuncRef> {
        None
    }

    /// A vector with `bits` in every lane.
    ///
    /// Made where it is used; an implementation may keep constants at the entry instead.
    fn constant(&mut self, builder: &mut FunctionBuilder<'_>, ty: Type, bits: u64) -> Value {
        let lane = usize::try_from(ty.lane_bits() / 8).expect("few bytes");
        let bytes = bits.to_le_bytes()[..lane].repeat(usize::try_from(ty.lane_count()).expect("few lanes"));
        let pool = builder.func.dfg.constants.insert(ConstantData::from(bytes));
        builder.ins().vconst(ty, pool)
    }
}

/// The function whose calls are `primitive` on values of type `ty`.
pub fn import_primitive(
    builder: &mut FunctionBuilder<'_>,
    primitive: Primitive,
    ty: Type,
    call_conv: CallConv,
) -> FuncRef {
    let signature = builder.import_signature(primitive.signature(ty, call_conv));
    let name = builder.func.declare_imported_user_function(primitive.name());
    let name = ExternalName::user(name);
    builder.import_function(ExtFuncData { name, signature, colocated: false, patchable: false })
}

/// Emits `function` at the builder's place; the type comes from the arguments.
///
/// # Numerics
/// At most 2 ulp for 32-bit lanes and 4 ulp for 64-bit lanes, `pow` 8 (`docs/numerics.md`).
///
/// # Panics
/// If the number of arguments is not [`Elementary::arity`], or they are not floats of one type.
pub fn emit(
    builder: &mut FunctionBuilder<'_>,
    environment: &mut dyn Environment,
    function: Elementary,
    arguments: &[Value],
) -> Value {
    assert_eq!(arguments.len(), function.arity(), "arguments of {}", function.name());
    on_vectors(builder, environment, arguments, |x| vec![apply(function, x)])[0]
}

/// Emits `sum + |x|^exponent`, for an exponent from 1 to 8: in a sum of such powers each may be less precise than
/// [`Elementary::Pow`].
///
/// # Numerics
/// A relative error of the power of at most 1e-6 for 32-bit lanes, 1e-14 for 64-bit lanes.
pub fn add_power(
    builder: &mut FunctionBuilder<'_>,
    environment: &mut dyn Environment,
    sum: Value,
    x: Value,
    exponent: f64,
) -> Value {
    on_vectors(builder, environment, &[sum, x], |x| vec![power::add_power(x[0], x[1], exponent)])[0]
}

/// Emits `x^exponent` for an `x` that is not negative and an exponent between 0 and 0.95, which need not be precise: what is taken of
/// a sum of powers. `x` is a scalar or vector of `f32` or `f64`.
///
/// # Numerics
/// A relative error of at most 1e-6 for 32-bit lanes, 1e-14 for 64-bit lanes. Zero, infinity and NaN are themselves, 1 is exact;
/// of subnormal numbers it is no larger than that of the smallest normal one.
pub fn near_root(
    builder: &mut FunctionBuilder<'_>,
    environment: &mut dyn Environment,
    x: Value,
    exponent: f64,
) -> Value {
    on_vectors(builder, environment, &[x], |x| vec![power::near_root(x[0], exponent)])[0]
}

fn apply<'e>(function: Elementary, x: &[Float<'e>]) -> Float<'e> {
    match function {
        Elementary::Exp => exp::exp(x[0]),
        Elementary::Exp2 => exp::exp2(x[0]),
        Elementary::Expm1 => exp::expm1(x[0]),
        Elementary::Log => log::log(x[0]),
        Elementary::Log1p => log::log1p(x[0]),
        Elementary::Sin => trig::sin(x[0]),
        Elementary::Cos => trig::cos(x[0]),
        Elementary::Tanh => exp::tanh(x[0]),
        Elementary::Sigmoid => exp::sigmoid(x[0]),
        Elementary::Silu => exp::silu(x[0]),
        Elementary::Softplus => exp::softplus(x[0]),
        Elementary::Gelu => normal::gelu(x[0]),
        Elementary::Erf => normal::erf(x[0]),
        Elementary::Sqrt => power::sqrt(x[0]),
        Elementary::Rsqrt => power::rsqrt(x[0]),
        Elementary::Pow => power::pow(x[0], x[1]),
        Elementary::Atan2 => trig::atan2(x[0], x[1]),
        Elementary::Remainder => power::remainder(x[0], x[1]),
    }
}

/// Runs `formula` on the arguments as vectors: scalars go into lane 0 and come out of it.
fn on_vectors(
    builder: &mut FunctionBuilder<'_>,
    environment: &mut dyn Environment,
    arguments: &[Value],
    formula: impl for<'e> FnOnce(&[Float<'e>]) -> Vec<Float<'e>>,
) -> Vec<Value> {
    let ty = builder.func.dfg.value_type(arguments[0]);
    let scalar = !ty.is_vector();
    let vector = if scalar { ty.by(128 / ty.bits()).expect("a vector of 128 bits") } else { ty };
    let arguments: Vec<Value> = arguments
        .iter()
        .map(|&argument| match scalar {
            // Zeros in the other lanes might take a slow path: 0 mod 0 does.
            true if arguments.len() > 1 => builder.ins().splat(vector, argument),
            true => builder.ins().scalar_to_vector(vector, argument),
            false => argument,
        })
        .collect();
    let results: Vec<Value> = {
        let lanes = Lanes::new(builder, environment, vector);
        let arguments: Vec<Float<'_>> = arguments.iter().map(|&argument| lanes.value(argument)).collect();
        formula(&arguments).iter().map(|result| result.value).collect()
    };
    results.into_iter().map(|result| if scalar { builder.ins().extractlane(result, 0) } else { result }).collect()
}
