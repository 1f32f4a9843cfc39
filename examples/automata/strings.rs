//! Generated strings with their labels.
//!
//! In: a task or a length, how many strings, a seed. Out: tensors as `ssmc eval --data` takes them.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::tasks::Task;
use super::tensors::Tensor;

/// How many letters strings to be copied are made of; behind them the authors' `$`, `|`, `.`, and what fills up.
pub const LETTERS: u8 = 26;

/// `tokens_LN` and `labels_LN`: strings of a task, uniform among those of that length, with a label for every step.
/// Expressions of modular arithmetic alternate between digits and operators; their length is odd, one less than asked
/// for where that is even.
pub fn of_task(task: &Task, length: usize, count: usize, seed: u64) -> Vec<Tensor> {
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ (length as u64) << 32);
    let arithmetic = task.name == "modular_arithmetic";
    let steps = if arithmetic && length.is_multiple_of(2) { length.saturating_sub(1) } else { length };
    let (mut tokens, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let mut state = 0;
        for at in 0..steps {
            let token = match (arithmetic, at % 2) {
                (true, 0) => random.random_range(0..5),
                (true, _) => random.random_range(5..8),
                (false, _) => random.random_range(0..task.tokens()),
            };
            state = task.next[token][state];
            tokens.push(token as u8);
            labels.push(task.label[state] as u8);
        }
    }
    vec![
        Tensor::bytes(&format!("data.tokens_L{length}"), &[count, steps], tokens),
        Tensor::bytes(&format!("data.labels_L{length}"), &[count, steps], labels),
    ]
}

/// `copy_LN.input_ids` and `.mask`: `$ s | s .` for strings `s` of that many letters, the second one and the stop as targets.
pub fn to_copy(length: usize, count: usize, seed: u64) -> Vec<Tensor> {
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ (length as u64) << 32);
    let width = 2 * length + 3;
    let (mut ids, mut mask) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let string: Vec<u8> = (0..length).map(|_| random.random_range(0..LETTERS)).collect();
        ids.push(LETTERS);
        ids.extend(&string);
        ids.push(LETTERS + 1);
        ids.extend(&string);
        ids.push(LETTERS + 2);
        mask.extend((0..width).map(|at| u8::from(at >= length + 2)));
    }
    vec![
        Tensor::bytes(&format!("data.copy_L{length}.input_ids"), &[count, width], ids),
        Tensor::bytes(&format!("data.copy_L{length}.mask"), &[count, width], mask),
    ]
}
