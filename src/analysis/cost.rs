//! What a step costs: operations, bytes, and the chain that each step waits for.
//!
//! In: an [`Instance`]. Out: its [`Cost`]. Nothing here knows of loops, lanes or plans: what is counted is what the
//! layer says, done once and at the right place. So these are counts that a good kernel reaches, and none beats
//! without changing what is computed:
//!
//! - A sub-expression is computed once for each value of the indices that occur in it, not of those around it
//!   (`exp(dt[d])` costs `D` in an equation over `d` and `n`), and equal sub-expressions of a step are computed once.
//! - What depends on parameters only is computed once for a run, all else once a step ([`Cost::once`], [`Cost::step`]).
//! - A real multiplication whose result is only added is one fused operation with the addition, if there are
//!   as many of either.
//! - A complex product is two multiplications and two fused operations, a complex quotient is Smith's, and a complex
//!   function is counted by the real ones that it is made of.
//! - Both branches of an `if` count, and a selection: that is what lanes do.
//! - Reads, widenings, and the arithmetic of places (`h[i - 1]`) are free.
//!
//! The chain is the time from a step's states to the next step's, in operations that wait for each other
//! ([`Chain`]). Reductions fold as a tree there: `log2` of their length. Where states feed each other in turn over
//! several steps, it is the mean of a step.

mod chain;
mod count;

use std::collections::BTreeMap;

use crate::ir::{Function, Instance, Scalar, Type, ValueId};

/// What a layer costs.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Cost {
    /// Operations on what depends on parameters only; once for a run.
    pub once: Operations,
    /// Operations of one step of one sequence.
    pub step: Operations,
    /// Bytes.
    pub bytes: Bytes,
    /// What one step has to wait for in the one before.
    pub chain: Chain,
}

/// Counts of operations on real numbers, integers and truth values.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Operations {
    /// Additions and subtractions that are not part of a fused pair.
    pub adds: u64,
    /// Multiplications that are not part of a fused pair.
    pub multiplies: u64,
    /// Multiplications with the addition that follows.
    pub fused: u64,
    /// Divisions, remainders included.
    pub divisions: u64,
    /// Square roots, reciprocal ones included (these also count as a division).
    pub roots: u64,
    /// What takes one plain instruction: comparisons, selections, minima and maxima, absolute values, changes of sign
    /// that no sum absorbs, roundings, operations on integers and truth values.
    pub simple: u64,
    /// Elementary functions, by name.
    pub functions: BTreeMap<&'static str, u64>,
}

/// Bytes, with reals of the width that was asked for, complex numbers as two, integers of 4 and truth values of 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Bytes {
    /// Of the inputs of a step.
    pub inputs: u64,
    /// Of the outputs of a step.
    pub outputs: u64,
    /// Of what a sequence carries: states and delays.
    pub state: u64,
    /// Of the parameters.
    pub params: u64,
}

/// The longest chain of operations that leads from one step to the next, in counts that a step has on average.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Chain {
    /// Additions, multiplications and fused pairs, each as long as a multiply-add; plain ones included.
    pub operations: f64,
}

impl Cost {
    /// Counts what an instance costs with reals of that many bits.
    pub fn of(instance: &Instance, bits: u32) -> Self {
        let (once, step) = count::count(instance);
        Self { once, step, bytes: Bytes::of(instance, bits), chain: chain::chain(instance) }
    }
}

impl Chain {
    /// The length in cycles, where a multiply-add takes `latency` of them.
    pub fn cycles(&self, latency: f64) -> f64 {
        self.operations * latency
    }
}

impl Bytes {
    /// The bytes of an instance with reals of that many bits.
    pub fn of(instance: &Instance, bits: u32) -> Self {
        let layer = &instance.layer;
        let sum = |values: &mut dyn Iterator<Item = (ValueId, usize)>| {
            values.fold(0u64, |sum, (value, rows)| {
                let size = match layer.value(value).ty {
                    Type::Real => u64::from(bits / 8),
                    Type::Complex => u64::from(bits / 4),
                    Type::Int | Type::Index(_) => 4,
                    Type::Bool => 1,
                };
                sum.saturating_add(size.saturating_mul(instance.elements(value) as u64).saturating_mul(rows as u64))
            })
        };
        let delays = layer.delays.iter().copied().zip(instance.depths.iter().copied());
        Self {
            inputs: sum(&mut layer.inputs.iter().map(|&input| (input, 1))),
            outputs: sum(&mut layer.outputs.iter().map(|output| (output.value, 1))),
            state: sum(&mut layer.states.iter().map(|state| (state.value, 1)).chain(delays)),
            params: sum(&mut layer.params.iter().map(|param| (param.value, 1))),
        }
    }
}

/// About how many plain vector instructions a function takes, in `f32` and in `f64`: what a good polynomial to the
/// accuracy of a library needs, divisions and roots apart. Kernels may take more.
pub fn instructions(function: &str, bits: u32) -> f64 {
    let (single, double) = match function {
        "exp" => (8, 14),
        "expm1" => (11, 17),
        "log" => (12, 18),
        "log1p" => (14, 20),
        "sin" | "cos" => (14, 20),
        "tanh" => (12, 18),
        "erf" => (20, 34),
        "atan" => (14, 24),
        _ => (1, 1),
    };
    f64::from(if bits == 64 { double } else { single })
}

impl Operations {
    /// Floating-point operations: a fused pair is two, an elementary function one.
    pub fn flops(&self) -> f64 {
        let plain = [self.adds, self.multiplies, self.fused, self.fused, self.divisions, self.roots];
        plain.into_iter().chain(self.functions.values().copied()).map(|n| n as f64).sum()
    }

    /// All that is computed, each function as one operation.
    pub fn all(&self) -> f64 {
        self.flops() - self.fused as f64 + self.simple as f64
    }

    /// The vector instructions that all lanes take together, divisions and roots left out.
    pub fn instructions(&self, bits: u32) -> f64 {
        let plain = self.adds as f64 + self.multiplies as f64 + self.fused as f64 + self.simple as f64;
        self.functions.iter().fold(plain, |sum, (function, n)| sum + *n as f64 * instructions(function, bits))
    }

    /// Divisions and roots.
    pub fn divided(&self) -> f64 {
        self.divisions as f64 + self.roots as f64
    }

    fn call(&mut self, function: &'static str, times: u64) {
        let count = self.functions.entry(function).or_default();
        *count = count.saturating_add(times);
    }

    /// Adds operations, each as often as it is said.
    fn add(&mut self, unit: &Unit, times: u64) {
        let add = |sum: &mut u64, n: u32| *sum = sum.saturating_add(u64::from(n).saturating_mul(times));
        add(&mut self.adds, unit.adds);
        add(&mut self.multiplies, unit.multiplies);
        add(&mut self.fused, unit.fused);
        add(&mut self.divisions, unit.divisions);
        add(&mut self.roots, unit.roots);
        add(&mut self.simple, unit.simple);
        for function in unit.functions {
            self.call(function, times);
        }
    }
}

/// What one evaluation of an operator takes.
#[derive(Clone, Copy, Debug, Default)]
struct Unit {
    adds: u32,
    multiplies: u32,
    fused: u32,
    divisions: u32,
    roots: u32,
    simple: u32,
    functions: &'static [&'static str],
}

impl Unit {
    const NONE: Unit = Unit { adds: 0, multiplies: 0, fused: 0, divisions: 0, roots: 0, simple: 0, functions: &[] };

    const fn adds(n: u32) -> Self {
        Unit { adds: n, ..Self::NONE }
    }

    const fn simple(n: u32) -> Self {
        Unit { simple: n, ..Self::NONE }
    }

    const fn function(functions: &'static [&'static str]) -> Self {
        Unit { functions, ..Self::NONE }
    }

    /// A product of two numbers.
    fn product(ty: Scalar) -> Self {
        match ty {
            Scalar::Complex => Unit { multiplies: 2, fused: 2, ..Self::NONE },
            Scalar::Real => Unit { multiplies: 1, ..Self::NONE },
            Scalar::Int | Scalar::Bool => Self::simple(1),
        }
    }

    /// A sum of two numbers.
    fn sum(ty: Scalar) -> Self {
        match ty {
            Scalar::Complex => Self::adds(2),
            Scalar::Real => Self::adds(1),
            Scalar::Int | Scalar::Bool => Self::simple(1),
        }
    }

    /// A quotient of two numbers.
    fn quotient(ty: Scalar) -> Self {
        match ty {
            // Smith's: two of a ratio and its scale, and three fused.
            Scalar::Complex => Unit { divisions: 3, fused: 3, simple: 4, ..Self::NONE },
            Scalar::Real => Unit { divisions: 1, ..Self::NONE },
            Scalar::Int | Scalar::Bool => Self::simple(1),
        }
    }

    /// A built-in function of operands of type `of`.
    fn call(function: Function, of: Scalar) -> Self {
        use Function as F;
        if of == Scalar::Complex {
            return match function {
                F::Exp => Unit { multiplies: 2, ..Self::function(&["exp", "cos", "sin"]) },
                F::Log => Unit { multiplies: 1, fused: 1, ..Self::function(&["log", "atan"]) },
                F::Sqrt => Unit { multiplies: 2, fused: 1, divisions: 1, roots: 2, simple: 4, ..Self::NONE },
                F::Sin | F::Cos => {
                    Unit { multiplies: 2, adds: 2, divisions: 1, ..Self::function(&["exp", "sin", "cos"]) }
                }
                F::Pow => Unit { multiplies: 4, fused: 3, ..Self::function(&["log", "atan", "exp", "cos", "sin"]) },
                F::Abs => Unit { multiplies: 1, fused: 1, roots: 1, ..Self::NONE },
                F::Arg => Self::function(&["atan"]),
                F::Conj => Self::simple(1),
                _ => Self::NONE,
            };
        }
        if of != Scalar::Real {
            return match function {
                F::Real => Self::simple(1),
                F::Clamp => Self::simple(2),
                _ => Self::simple(1),
            };
        }
        match function {
            F::Exp => Self::function(&["exp"]),
            F::Expm1 => Self::function(&["expm1"]),
            F::Log => Self::function(&["log"]),
            F::Log1p => Self::function(&["log1p"]),
            F::Sqrt => Unit { roots: 1, ..Self::NONE },
            F::Rsqrt => Unit { roots: 1, divisions: 1, ..Self::NONE },
            F::Pow => Unit { multiplies: 1, ..Self::function(&["log", "exp"]) },
            F::Sin => Self::function(&["sin"]),
            F::Cos => Self::function(&["cos"]),
            F::Tanh => Unit { divisions: 1, ..Self::function(&["tanh"]) },
            F::Sigmoid => Unit { adds: 1, divisions: 1, ..Self::function(&["exp"]) },
            F::Silu => Unit { adds: 1, divisions: 1, ..Self::function(&["exp"]) },
            F::Softplus => Unit { adds: 1, simple: 2, ..Self::function(&["exp", "log1p"]) },
            F::Gelu => Unit { multiplies: 2, fused: 1, ..Self::function(&["erf"]) },
            F::Erf => Self::function(&["erf"]),
            F::Cis => Self::function(&["cos", "sin"]),
            F::Clamp => Self::simple(2),
            F::Re | F::Im | F::Conj | F::Real => Self::NONE,
            F::Arg | F::Abs | F::Sign | F::Floor | F::Min | F::Max | F::Relu => Self::simple(1),
        }
    }

    /// How many operations wait for each other in it; divisions count as three and functions as by their instructions.
    fn depth(&self, ty: Scalar) -> f64 {
        let functions: f64 =
            self.functions.iter().map(|function| instructions(function, 32)).fold(0.0, f64::max) * 0.75;
        let divided = if self.divisions + self.roots > 0 { 3.0 } else { 0.0 };
        let plain = match (ty, self.adds + self.multiplies + self.fused) {
            (_, 0) => 0.0,
            (Scalar::Complex, _) if self.multiplies > 0 => 2.0,
            _ => 1.0,
        };
        // A plain instruction takes about a quarter of a multiply-add.
        let simple = if self.simple > 0 && plain + functions + divided == 0.0 { 0.25 } else { 0.0 };
        functions + divided + plain + simple
    }
}

#[cfg(test)]
mod tests;
