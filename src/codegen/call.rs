//! Functions.

use std::collections::HashMap;

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{
    AbiParam, ExtFuncData, ExternalName, FuncRef, Inst, InstBuilder, MemFlagsData, Signature, Type, UserExternalName,
    Value, types,
};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::FunctionBuilder;
use ssmc_wide::Primitive;

use super::math::complex::{self, Complex};
use super::math::{self, Elementary, Environment, Routine};
use super::value::{Parts, Val};
use super::{Emitter, Machine};
use crate::ir::{Function, Scalar};

/// The functions that kernels call, in the order of their ids: the number of one is its place here.
pub const ROUTINES: [(Routine, Type); 8] = [
    (Routine::Sin, types::F32),
    (Routine::Sin, types::F64),
    (Routine::Cos, types::F32),
    (Routine::Cos, types::F64),
    (Routine::Remainder, types::F32),
    (Routine::Remainder, types::F64),
    (Routine::Solve, types::F32),
    (Routine::Solve, types::F64),
];

/// The type of a routine.
pub fn routine_signature(routine: Routine, lane: Type, call_conv: CallConv) -> Signature {
    let mut signature = Signature::new(call_conv);
    if routine == Routine::Solve {
        signature.params.extend((0..routine.arity()).map(|_| AbiParam::new(types::I64)));
        return signature;
    }
    signature.params.extend((0..routine.arity()).map(|_| AbiParam::new(lane)));
    signature.returns.push(AbiParam::new(lane));
    signature
}

/// The references to routines that a function has.
#[derive(Default)]
pub(super) struct Routines {
    pub(super) machine: Option<Machine>,
    known: HashMap<(Routine, Type), FuncRef>,
    primitives: HashMap<(Primitive, Type), FuncRef>,
}

impl Environment for Routines {
    fn routine(&mut self, builder: &mut FunctionBuilder<'_>, routine: Routine, lane: Type) -> FuncRef {
        let call_conv = self.machine.expect("set before anything is emitted").call_conv;
        *self.known.entry((routine, lane)).or_insert_with(|| {
            let index = ROUTINES.iter().position(|known| *known == (routine, lane)).expect("every routine is listed");
            let name = UserExternalName { namespace: 0, index: index as u32 };
            let name = builder.func.declare_imported_user_function(name);
            let signature = builder.import_signature(routine_signature(routine, lane, call_conv));
            let name = ExternalName::user(name);
            builder.import_function(ExtFuncData { name, signature, colocated: false, patchable: false })
        })
    }

    fn primitive(&mut self, builder: &mut FunctionBuilder<'_>, primitive: Primitive, ty: Type) -> Option<FuncRef> {
        let machine = self.machine.expect("set before anything is emitted");
        machine.level.filter(|&level| primitive.is_at(level))?;
        let known = self.primitives.entry((primitive, ty));
        Some(*known.or_insert_with(|| math::import_primitive(builder, primitive, ty, machine.call_conv)))
    }
}

impl Emitter<'_, '_> {
    /// Whether the machine's code can ask for a cache line wherever it is, there or not.
    pub(super) fn can_fetch(&mut self) -> bool {
        self.routines.machine = Some(self.machine);
        self.routines.primitive(&mut self.b, Primitive::Prefetch, self.vector).is_some()
    }

    /// Asks for a cache line; where the machine's code cannot, by loading an element of a buffer that nobody waits for.
    pub(super) fn fetch(&mut self, address: Value, offset: i32) {
        self.routines.machine = Some(self.machine);
        match self.routines.primitive(&mut self.b, Primitive::Prefetch, self.vector) {
            Some(callee) => {
                let address = self.plus(address, offset.into());
                self.b.ins().call(callee, &[address]);
            }
            None => {
                let flags = MemFlagsData::new().with_aligned();
                self.b.ins().load(self.real, flags, address, offset);
            }
        }
    }

    /// Writes a vector past the caches, if the machine's code can; the place is a multiple of its size.
    pub(super) fn stream(&mut self, value: Value, address: Value, offset: i32) -> bool {
        self.routines.machine = Some(self.machine);
        let Some(callee) = self.routines.primitive(&mut self.b, Primitive::Stream, self.vector) else { return false };
        let address = self.plus(address, offset.into());
        self.b.ins().call(callee, &[value, address]);
        true
    }

    /// The thread's word of control and status.
    pub(super) fn status(&mut self) -> Value {
        let word = self.status_call(Primitive::Status, &[]);
        self.b.inst_results(word)[0]
    }

    pub(super) fn set_status(&mut self, word: Value) {
        self.status_call(Primitive::SetStatus, &[word]);
    }

    fn status_call(&mut self, primitive: Primitive, arguments: &[Value]) -> Inst {
        let (key, call_conv) = ((primitive, types::I32), self.machine.call_conv);
        let import = |b: &mut _| math::import_primitive(b, primitive, types::I32, call_conv);
        let callee = *self.routines.primitives.entry(key).or_insert_with(|| import(&mut self.b));
        self.b.ins().call(callee, arguments)
    }

    pub(super) fn elementary(&mut self, f: Elementary, args: &[Value]) -> Value {
        self.routines.machine = Some(self.machine);
        math::emit(&mut self.b, &mut self.routines, f, args)
    }

    /// A sum and the power of a magnitude, with an exponent from 1 to 8.
    pub(super) fn add_power(&mut self, sum: &Val, base: &Val, exponent: f64) -> Val {
        self.routines.machine = Some(self.machine);
        let re = self
            .zip(&sum.re, &base.re, |this, sum, x| math::add_power(&mut this.b, &mut this.routines, sum, x, exponent));
        Val::plane(Scalar::Real, re)
    }

    /// A sum of powers to a power between 0 and 0.95.
    pub(super) fn near_root(&mut self, base: &Val, exponent: f64) -> Val {
        self.routines.machine = Some(self.machine);
        let re = self.map(&base.re, |this, x| math::near_root(&mut this.b, &mut this.routines, x, exponent));
        Val::plane(Scalar::Real, re)
    }

    pub(super) fn real(&mut self, f: Elementary, a: &Val) -> Val {
        let re = self.map(&a.re, |this, a| this.elementary(f, &[a]));
        Val::plane(Scalar::Real, re)
    }

    pub(super) fn complex(&mut self, f: Complex, args: Vec<Val>) -> Val {
        self.routines.machine = Some(self.machine);
        if args.iter().all(Val::is_uniform) {
            let parts: Vec<complex::Parts> = args
                .iter()
                .map(|arg| match (&arg.re, &arg.im) {
                    (Parts::One(re), Some(Parts::One(im))) => (*re, *im),
                    _ => unreachable!("uniform complex values have two scalars"),
                })
                .collect();
            let (re, im) = complex::emit(&mut self.b, &mut self.routines, f, &parts);
            return Val::complex(Parts::One(re), Parts::One(im));
        }
        let args: Vec<(Vec<Value>, Vec<Value>)> = args
            .into_iter()
            .map(|arg| {
                let (re, im) = arg.planes();
                (self.spread(&re), self.spread(&im))
            })
            .collect();
        let (mut re, mut im) = (Vec::new(), Vec::new());
        for n in 0..args[0].0.len() {
            let parts: Vec<complex::Parts> = args.iter().map(|(re, im)| (re[n], im[n])).collect();
            let value = complex::emit(&mut self.b, &mut self.routines, f, &parts);
            re.push(value.0);
            im.push(value.1);
        }
        Val::complex(Parts::Each(re), Parts::Each(im))
    }

    pub(super) fn call(&mut self, f: Function, mut args: Vec<Val>) -> Val {
        self.routines.machine = Some(self.machine);
        match args[0].ty {
            Scalar::Real => self.of_reals(f, &args),
            Scalar::Complex => self.of_complexes(f, args),
            Scalar::Int => self.of_integers(f, &args),
            Scalar::Bool if f == Function::Real => {
                let (one, zero) = (self.float(1.0), self.float(0.0));
                let re = self.choose(Scalar::Real, &args[0].re, &Parts::One(one), &Parts::One(zero));
                Val::plane(Scalar::Real, re)
            }
            Scalar::Bool => {
                let (a, b) = (args.remove(0), args.remove(0));
                let re = self.zip_bool(&a.re, &b.re, |this, a, b| match f {
                    Function::Max => this.b.ins().bor(a, b),
                    _ => this.b.ins().band(a, b),
                });
                Val::plane(Scalar::Bool, re)
            }
        }
    }

    fn of_reals(&mut self, f: Function, args: &[Val]) -> Val {
        let a = &args[0];
        let elementary = match f {
            Function::Exp => Elementary::Exp,
            Function::Expm1 => Elementary::Expm1,
            Function::Log => Elementary::Log,
            Function::Log1p => Elementary::Log1p,
            Function::Sqrt => Elementary::Sqrt,
            Function::Rsqrt => Elementary::Rsqrt,
            Function::Sin => Elementary::Sin,
            Function::Cos => Elementary::Cos,
            Function::Tanh => Elementary::Tanh,
            Function::Sigmoid => Elementary::Sigmoid,
            Function::Silu => Elementary::Silu,
            Function::Softplus => Elementary::Softplus,
            Function::Gelu => Elementary::Gelu,
            Function::Erf => Elementary::Erf,
            Function::Pow => {
                let re = self.zip(&a.re, &args[1].re, |this, a, b| this.elementary(Elementary::Pow, &[a, b]));
                return Val::plane(Scalar::Real, re);
            }
            Function::Cis => return self.cis(a),
            _ => {
                let re = self.plain(f, args);
                return Val::plane(Scalar::Real, re);
            }
        };
        self.real(elementary, a)
    }

    fn plain(&mut self, f: Function, args: &[Val]) -> Parts {
        let a = &args[0].re;
        match f {
            Function::Abs => self.map(a, |this, a| this.b.ins().fabs(a)),
            Function::Floor => self.map(a, |this, a| this.b.ins().floor(a)),
            Function::Relu => self.map(a, |this, a| {
                let zero = this.float_like(a, 0.0);
                let below = this.b.ins().fcmp(FloatCC::LessThan, a, zero);
                this.blend(below, zero, a)
            }),
            Function::Sign => self.map(a, |this, a| {
                let zero = this.float_like(a, 0.0);
                let one = this.float_like(a, 1.0);
                let above = this.b.ins().fcmp(FloatCC::GreaterThan, a, zero);
                let below = this.b.ins().fcmp(FloatCC::LessThan, a, zero);
                let minus = this.b.ins().fneg(one);
                let negative = this.blend(below, minus, a);
                this.blend(above, one, negative)
            }),
            Function::Max | Function::Min => {
                let larger = f == Function::Max;
                self.zip(a, &args[1].re, |this, a, b| this.extreme(larger, a, b))
            }
            Function::Clamp => {
                let raised = self.zip(a, &args[1].re, |this, a, b| this.extreme(true, a, b));
                self.zip(&raised, &args[2].re, |this, a, b| this.extreme(false, a, b))
            }
            _ => panic!("codegen: {f:?} takes no reals"),
        }
    }

    fn cis(&mut self, a: &Val) -> Val {
        let each = match &a.re {
            Parts::One(angle) => {
                let (re, im) = complex::emit_cis(&mut self.b, &mut self.routines, *angle);
                return Val::complex(Parts::One(re), Parts::One(im));
            }
            Parts::Each(each) => each.clone(),
        };
        let parts: Vec<complex::Parts> =
            each.into_iter().map(|angle| complex::emit_cis(&mut self.b, &mut self.routines, angle)).collect();
        let (re, im) = parts.into_iter().unzip();
        Val::complex(Parts::Each(re), Parts::Each(im))
    }

    fn of_complexes(&mut self, f: Function, args: Vec<Val>) -> Val {
        let function = match f {
            Function::Exp => Complex::Exp,
            Function::Log => Complex::Log,
            Function::Sqrt => Complex::Sqrt,
            Function::Sin => Complex::Sin,
            Function::Cos => Complex::Cos,
            Function::Pow => Complex::Pow,
            _ => {
                let z = args.into_iter().next().expect("a function has an argument");
                return self.part(f, z);
            }
        };
        self.complex(function, args)
    }

    fn part(&mut self, f: Function, z: Val) -> Val {
        let (re, im) = z.planes();
        let real = |parts| Val::plane(Scalar::Real, parts);
        match f {
            Function::Re => real(re),
            Function::Im => real(im),
            Function::Conj => {
                let im = self.map(&im, |this, a| this.b.ins().fneg(a));
                Val::complex(re, im)
            }
            Function::Abs => {
                let parts =
                    self.zip(&re, &im, |this, re, im| complex::emit_abs(&mut this.b, &mut this.routines, (re, im)));
                real(parts)
            }
            Function::Arg => {
                let parts = self.zip(&im, &re, |this, im, re| this.elementary(Elementary::Atan2, &[im, re]));
                real(parts)
            }
            _ => panic!("codegen: {f:?} takes no complex numbers"),
        }
    }

    fn of_integers(&mut self, f: Function, args: &[Val]) -> Val {
        let a = &args[0].re;
        let zero = Parts::One(self.int(0));
        let re = match f {
            Function::Abs => self.map(a, |this, a| {
                let negative = this.b.ins().ineg(a);
                this.b.ins().smax(a, negative)
            }),
            Function::Sign => self.map(a, |this, a| {
                let above = this.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, a, 0);
                let below = this.b.ins().icmp_imm_s(IntCC::SignedLessThan, a, 0);
                let (above, below) = (this.b.ins().uextend(types::I64, above), this.b.ins().uextend(types::I64, below));
                this.b.ins().isub(above, below)
            }),
            Function::Relu => self.zip_int(a, &zero, |this, a, b| this.b.ins().smax(a, b)),
            Function::Max => self.zip_int(a, &args[1].re, |this, a, b| this.b.ins().smax(a, b)),
            Function::Min => self.zip_int(a, &args[1].re, |this, a, b| this.b.ins().smin(a, b)),
            Function::Clamp => {
                let raised = self.zip_int(a, &args[1].re, |this, a, b| this.b.ins().smax(a, b));
                self.zip_int(&raised, &args[2].re, |this, a, b| this.b.ins().smin(a, b))
            }
            _ => panic!("codegen: {f:?} takes no integers"),
        };
        Val::plane(Scalar::Int, re)
    }
}
