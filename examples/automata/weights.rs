//! Weights that make each form compute a task, derived from its automaton. Nothing is trained.
//!
//! In: a [`Task`]. Out: the parameters of `examples/regular/sdssm.ssm`, `diagonal.ssm` and `automaton.ssm`.

use super::tasks::Task;
use super::tensors::Tensor;

/// How far the selected logit lies above the others: `exp(-128)` is below every f32, so that the softmax is one-hot.
pub const GAP: f32 = 128.0;

/// The parameters of the SD-SSM.
///
/// The state is the one-hot vector of the automaton's state minus that of its start, so that it starts at 0. With
/// `T` the 0-1 matrix of a token, `(T - 1) e_0` is what that token has to add. A column of `T` has one 1, and so unit
/// p-norm for every p. A token's logit lies `gap` above the others.
pub fn sdssm(task: &Task, gap: f32) -> Vec<Tensor> {
    let (n, k) = (task.states(), task.tokens());
    let mut selector = vec![0.0; k * k];
    let mut dict = vec![0.0; n * n * k];
    let mut b = vec![0.0; n * k];
    for token in 0..k {
        selector[token * k + token] = gap;
        for state in 0..n {
            dict[(task.next[token][state] * n + state) * k + token] = 1.0;
        }
        b[task.next[token][0] * k + token] += 1.0;
        b[token] -= 1.0;
    }
    let mut readout = vec![0.0; task.labels() * n];
    for (state, &label) in task.label.iter().enumerate() {
        readout[label * n + state] = 1.0;
    }
    // Behind the layer norm, the state's own element is `high`, the start's `-high`; half of that decides for the start's
    // label where there is nothing else.
    let high = 1.0 / (2.0 / n as f32 + 1e-5).sqrt();
    let mut bias = vec![0.0; task.labels()];
    bias[task.label[0]] = high / 2.0;
    vec![
        Tensor::reals("param.selector", &[k, k], selector),
        Tensor::reals("param.selector_bias", &[k], vec![0.0; k]),
        Tensor::reals("param.dict", &[n, n, k], dict),
        Tensor::reals("param.B", &[n, k], b),
        Tensor::reals("param.readout", &[task.labels(), n], readout),
        Tensor::reals("param.readout_bias", &[task.labels()], bias),
    ]
}

/// The parameters of the complex diagonal form: a root of unity for each character, which each token turns. The
/// readout of a label is its state, conjugated, so that it is largest where the state is that one.
///
/// `None` for a task that is not commutative.
pub fn diagonal(task: &Task) -> Option<Vec<Tensor>> {
    let characters = &task.characters;
    if characters.is_empty() {
        return None;
    }
    let n = characters.len();
    let mut rotation = Vec::new();
    for character in characters {
        for &adds in &character.adds {
            rotation.extend(root(adds, character.order));
        }
    }
    // The residues of each state, along the first path that reaches it.
    let mut residues: Vec<Option<Vec<usize>>> = vec![None; task.states()];
    residues[0] = Some(vec![0; n]);
    for state in 0..task.states() {
        let here = residues[state].clone().expect("states are numbered in the order in which they are reached");
        for token in 0..task.tokens() {
            let step = here.iter().zip(characters).map(|(r, c)| (r + c.adds[token]) % c.order);
            residues[task.next[token][state]].get_or_insert(step.collect());
        }
    }
    let mut readout = vec![0.0; task.labels() * n * 2];
    for (state, &label) in task.label.iter().enumerate() {
        let here = residues[state].as_ref().expect("every state is reached");
        for (at, (r, c)) in here.iter().zip(characters).enumerate() {
            let [re, im] = root(*r, c.order);
            readout[(label * n + at) * 2] += re;
            readout[(label * n + at) * 2 + 1] -= im;
        }
    }
    Some(vec![
        Tensor::reals("param.rotation", &[n, task.tokens(), 2], rotation),
        Tensor::reals("param.readout", &[task.labels(), n, 2], readout),
    ])
}

/// `exp(2 pi i r / order)`; exact on the axes.
fn root(r: usize, order: usize) -> [f32; 2] {
    match (4 * r % (4 * order), order) {
        (0, _) => [1.0, 0.0],
        (at, _) if at == order => [0.0, 1.0],
        (at, _) if at == 2 * order => [-1.0, 0.0],
        (at, _) if at == 3 * order => [0.0, -1.0],
        _ => {
            let angle = std::f64::consts::TAU * r as f64 / order as f64;
            [angle.cos() as f32, angle.sin() as f32]
        }
    }
}

/// The parameters of the finite map: the automaton itself.
pub fn automaton(task: &Task) -> Vec<Tensor> {
    let next = task.next.iter().flatten().map(|&state| state as u8).collect();
    let label = task.label.iter().map(|&label| label as u8).collect();
    vec![
        Tensor::bytes("param.next", &[task.tokens(), task.states()], next),
        Tensor::bytes("param.label", &[task.states()], label),
    ]
}
