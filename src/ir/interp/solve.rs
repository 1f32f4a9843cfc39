//! Linear systems: Cholesky's factorisation, a column at a time.

use super::eval::{Env, each};
use super::math::{Real as Number, zero};
use super::node::Solve;

impl<F: Number> Solve<F> {
    pub(super) fn eval(&self, env: &mut Env<F>) -> F {
        let at = self.at.eval(env);
        let n = self.row.extent;
        assert!(
            0 <= at && (at as usize) < n,
            "the interpreter was given a layer with an access outside a solution: {at} of {n}"
        );
        let at = at as usize;
        let Some(memo) = &self.memo else { return self.solution(env)[at] };
        if let Some(element) = env.kept(memo, at) {
            return element;
        }
        let solution = self.solution(env);
        env.keep(memo, &solution);
        solution[at]
    }

    fn solution(&self, env: &mut Env<F>) -> Vec<F> {
        let n = self.row.extent;
        let mut x = Vec::with_capacity(n);
        each(&[self.row], env, &mut |env| x.push(self.right.eval(env)));
        let mut matrix = Vec::with_capacity(n * n);
        each(&[self.row, self.column], env, &mut |env| matrix.push(self.matrix.eval(env)));
        if !factorise(&mut matrix, n) {
            env.happened(self.report);
            return vec![F::from_f64(f64::NAN); n];
        }
        // L y = b, then Lᵀ x = y.
        for j in 0..n {
            x[j] = x[j] / matrix[j * n + j];
            for i in j + 1..n {
                x[i] = x[i] - matrix[i * n + j] * x[j];
            }
        }
        for j in (0..n).rev() {
            x[j] = x[j] / matrix[j * n + j];
            for i in 0..j {
                x[i] = x[i] - matrix[j * n + i] * x[j];
            }
        }
        x
    }
}

/// Puts `L` with `L Lᵀ == matrix` into the lower triangle; whether there is one.
fn factorise<F: Number>(matrix: &mut [F], n: usize) -> bool {
    for j in 0..n {
        let pivot = matrix[j * n + j];
        if !(pivot > zero() && pivot.to_f64().is_finite()) {
            return false;
        }
        let root = F::from_f64(libm::sqrt(pivot.to_f64()));
        matrix[j * n + j] = root;
        for i in j + 1..n {
            matrix[i * n + j] = matrix[i * n + j] / root;
        }
        for i in j + 1..n {
            for k in j + 1..=i {
                matrix[i * n + k] = matrix[i * n + k] - matrix[i * n + j] * matrix[k * n + j];
            }
        }
    }
    true
}
