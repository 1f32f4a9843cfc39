//! The seven regular languages as automata.
//!
//! In: nothing. Out: for each task its tokens, states, transitions and labels, numbered from the start state in the
//! order in which words of growing length reach them. What is commutative also has its characters: a state is then a
//! tuple of residues, and a token adds to each.
//!
//! The labels are those of the authors' task generators (Terzić et al. 2024, `tasks/regular`).

use std::collections::HashMap;
use std::hash::Hash;

/// A task as an automaton. The start state is 0.
pub struct Task {
    /// Its name, as in `task_NAME.safetensors`.
    pub name: &'static str,
    /// The state behind each state, by token: `next[token][state]`.
    pub next: Vec<Vec<usize>>,
    /// The label of each state.
    pub label: Vec<usize>,
    /// The characters of a commutative task; else none.
    pub characters: Vec<Character>,
    /// Two words with different labels, equally many of each token, and a common tail in which all of their tokens
    /// stand: a diagonal form with finitely many states cannot tell them apart. Empty for commutative tasks.
    pub witness: [&'static [usize]; 2],
}

/// A residue that every token adds to.
pub struct Character {
    /// The modulus.
    pub order: usize,
    /// What each token adds.
    pub adds: Vec<usize>,
}

impl Task {
    /// How many tokens there are.
    pub fn tokens(&self) -> usize {
        self.next.len()
    }

    /// How many states there are.
    pub fn states(&self) -> usize {
        self.label.len()
    }

    /// How many labels there are.
    pub fn labels(&self) -> usize {
        self.label.iter().max().map_or(0, |largest| largest + 1)
    }

    /// The label of a word.
    pub fn run(&self, word: &[usize]) -> usize {
        self.label[word.iter().fold(0, |state, &token| self.next[token][state])]
    }
}

/// All tasks.
pub fn all() -> Vec<Task> {
    vec![parity(), even_pairs(), cycle_navigation(), modular_arithmetic(), c2xc4(), d4(), a5()]
}

/// The task of that name.
pub fn named(name: &str) -> Option<Task> {
    all().into_iter().find(|task| task.name == name)
}

/// Numbers the states that words reach from `start`, and tabulates what tokens do to them.
fn explore<S: Clone + Eq + Hash>(
    name: &'static str,
    tokens: usize,
    start: S,
    step: impl Fn(&S, usize) -> S,
    label: impl Fn(&S) -> usize,
) -> Task {
    let mut states = vec![start.clone()];
    let mut numbers = HashMap::from([(start, 0)]);
    let mut next = vec![Vec::new(); tokens];
    let mut at = 0;
    while at < states.len() {
        for (token, row) in next.iter_mut().enumerate() {
            let to = step(&states[at], token);
            let number = *numbers.entry(to.clone()).or_insert_with(|| {
                states.push(to);
                states.len() - 1
            });
            row.push(number);
        }
        at += 1;
    }
    Task { name, next, label: states.iter().map(label).collect(), characters: Vec::new(), witness: [&[], &[]] }
}

/// The number of ones modulo 2.
fn parity() -> Task {
    let task = explore("parity", 2, 0, |s, token| (s + token) % 2, |s| *s);
    Task { characters: vec![Character { order: 2, adds: vec![0, 1] }], ..task }
}

/// Whether the number of unequal neighbours is odd, that is, whether the first and the last token differ.
fn even_pairs() -> Task {
    let step = |s: &Option<(usize, usize)>, token| Some((s.map_or(token, |(first, _)| first), token));
    let label = |s: &Option<(usize, usize)>| s.map_or(0, |(first, last)| usize::from(first != last));
    Task { witness: [&[0, 1, 0, 1], &[1, 0, 0, 1]], ..explore("even_pairs", 2, None, step, label) }
}

/// A walk on a cycle of five: back, stay, forth.
fn cycle_navigation() -> Task {
    let task = explore("cycle_navigation", 3, 0, |s, token| (s + token + 4) % 5, |s| *s);
    Task { characters: vec![Character { order: 5, adds: vec![4, 0, 1] }], ..task }
}

/// The value modulo 5 of digits (0 to 4), `+` (5), `-` (6) and `*` (7), products first; 8 is a blank.
///
/// A state is the sum of the finished terms and the product so far of the last one, which starts as 1 behind `+` and
/// as -1 behind `-`.
fn modular_arithmetic() -> Task {
    let step = |&(sum, term): &(usize, usize), token| match token {
        0..5 => (sum, term * token % 5),
        5 => ((sum + term) % 5, 1),
        6 => ((sum + term) % 5, 4),
        _ => (sum, term),
    };
    let label = |&(sum, term): &(usize, usize)| (sum + term) % 5;
    let witness: [&[usize]; 2] = [
        // 2 + 3 * 4 + .. and 3 + 2 * 4 + .., and one tail in which every token stands.
        &[2, 5, 3, 7, 4, 5, 0, 6, 1, 7, 2, 5, 3, 6, 4],
        &[3, 5, 2, 7, 4, 5, 0, 6, 1, 7, 2, 5, 3, 6, 4],
    ];
    Task { witness, ..explore("modular_arithmetic", 9, (0, 1), step, label) }
}

/// Token 0 toggles, token 1 goes on by one modulo 4.
fn c2xc4() -> Task {
    let step = |&(toggle, place): &(usize, usize), token| match token {
        0 => (1 - toggle, place),
        _ => (toggle, (place + 1) % 4),
    };
    let task = explore("C2xC4", 2, (0, 0), step, |s| 4 * s.0 + s.1);
    let characters = vec![Character { order: 2, adds: vec![1, 0] }, Character { order: 4, adds: vec![0, 1] }];
    Task { characters, ..task }
}

/// Token 0 toggles, token 1 goes on by one modulo 4, or back while toggled.
fn d4() -> Task {
    let step = |&(toggle, place): &(usize, usize), token| match token {
        0 => (1 - toggle, place),
        _ => (toggle, (place + if toggle == 1 { 3 } else { 1 }) % 4),
    };
    Task { witness: [&[0, 1, 0, 1], &[1, 0, 0, 1]], ..explore("D4", 2, (0, 0), step, |s| 4 * s.0 + s.1) }
}

/// Even permutations of five: token 0 appends a cycle of all, token 1 two transpositions. The label is the place
/// among the even permutations in lexicographic order.
fn a5() -> Task {
    let mut even: Vec<[usize; 5]> = Vec::new();
    let mut digits = [0; 5];
    for number in 0..5usize.pow(5) {
        for (at, digit) in digits.iter_mut().enumerate() {
            *digit = number / 5usize.pow(4 - at as u32) % 5;
        }
        let permutation = (0..5).all(|n| digits.contains(&n));
        let inversions = (0..5).flat_map(|j| (0..j).map(move |i| (i, j))).filter(|&(i, j)| digits[i] > digits[j]);
        if permutation && inversions.count() % 2 == 0 {
            even.push(digits);
        }
    }
    let step = |s: &[usize; 5], token| match token {
        0 => [s[1], s[2], s[3], s[4], s[0]],
        _ => [s[1], s[0], s[3], s[2], s[4]],
    };
    let label = move |s: &[usize; 5]| even.iter().position(|e| e == s).expect("products of even ones are even");
    Task { witness: [&[0, 1, 0, 1], &[1, 0, 0, 1]], ..explore("A5", 2, [0, 1, 2, 3, 4], step, label) }
}
