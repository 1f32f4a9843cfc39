//! Elementary functions over slices: what the kernels use inside, for measuring and for use on their own.

use crate::simd::{Isa, Kernel, Simd, math};

/// Which function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// e^x for -104 <= x <= 88.7, within 1.5 ulp.
    Exp,
    /// 2^x, within 2 ulp.
    Exp2,
    /// log(1 + e^x), within 2 ulp.
    Softplus,
    /// 1 / (1 + e^-x), within 2 ulp.
    Sigmoid,
    /// x / (1 + e^-x), within 2.5 ulp.
    Silu,
}

impl Function {
    /// Applies the function to every value; results below 2^-126 may be 0.
    pub fn apply(self, isa: Isa, x: &mut [f32]) {
        let done = isa.run(Apply { function: self, x: &mut *x });
        if done.is_none() {
            for x in x {
                *x = self.plain(*x);
            }
        }
    }

    /// The function by the standard library.
    pub fn plain(self, x: f32) -> f32 {
        match self {
            Self::Exp => x.exp(),
            Self::Exp2 => x.exp2(),
            Self::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Silu => x / (1.0 + (-x).exp()),
        }
    }
}

struct Apply<'a> {
    function: Function,
    x: &'a mut [f32],
}

impl Kernel for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for chunk in self.x.chunks_mut(4 * S::LANES) {
            let mut v = [s.splat(0.0); 4];
            for (v, part) in v.iter_mut().zip(chunk.chunks(S::LANES)) {
                // SAFETY: the part has as many values as it says.
                *v = unsafe { s.load_up_to(part.as_ptr(), part.len()) };
            }
            let v = match self.function {
                Function::Exp => math::exp(s, v),
                Function::Exp2 => math::exp2(s, v),
                Function::Softplus => math::softplus(s, v),
                Function::Sigmoid => math::sigmoid(s, v),
                Function::Silu => math::silu(s, v),
            };
            for (v, part) in v.into_iter().zip(chunk.chunks_mut(S::LANES)) {
                // SAFETY: the part has as many values as it says.
                unsafe { s.store_up_to(part.as_mut_ptr(), v, part.len()) };
            }
        }
    }
}
