//! A finite automaton of 8 states over 64 million bytes: the compiled layer against a table look-up per token.
//!
//! `cargo bench --bench finite`
//!
//! Prints the least of some wall times on one thread, in tokens per second; a token is a byte, which the layer takes as
//! an integer of 32 bits. Results are compared before anything is timed.

use std::time::Instant;

use ssmc::ir::{Instance, bind, interp};
use ssmc::jit::{self, Form};
use ssmc::{sema, syntax};
use ssmc_runtime::{Bound, Elements, Sequences, Tensor};

const TOKENS: usize = 64 << 20;
const STATES: usize = 8;
const TIMES: usize = 7;

const STATE: &str = "layer automaton(V, S) {
    param next[V, S]: index(S)
    input tok: index(V)
    state s: index(S) = 0
    s <- next[tok, s]
}";

const EVERY_STATE: &str = "layer automaton(V, S) {
    param next[V, S]: index(S)
    input tok: index(V)
    state s: index(S) = 0
    s <- next[tok, s]
    output s
}";

/// The next number of a linear congruential generator (Knuth's MMIX), its upper bits.
fn random(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 40) as usize
}

fn seconds(mut action: impl FnMut()) -> f64 {
    let once = |action: &mut dyn FnMut()| {
        let start = Instant::now();
        action();
        start.elapsed().as_secs_f64()
    };
    (0..TIMES).map(|_| once(&mut action)).fold(f64::INFINITY, f64::min)
}

fn report(what: &str, seconds: f64) {
    println!("{what:<44} {:7.3} ms  {:6.3} GB/s", seconds * 1e3, TOKENS as f64 / seconds / 1e9);
}

/// A table look-up per token.
fn look_up(next: &[u8], tokens: &[u8]) -> u8 {
    let next: &[u8; 256 * STATES] = next.try_into().expect("a table of all bytes");
    tokens.iter().fold(0, |state, &token| next[usize::from(token) * STATES + usize::from(state) % STATES])
}

fn look_up_all(next: &[u8], tokens: &[u8], states: &mut [i32]) {
    let next: &[u8; 256 * STATES] = next.try_into().expect("a table of all bytes");
    let mut state = 0;
    for (&token, out) in tokens.iter().zip(states) {
        state = next[usize::from(token) * STATES + usize::from(state) % STATES];
        *out = i32::from(state);
    }
}

fn main() {
    let mut seed = 1;
    let next: Vec<u8> = (0..256 * STATES).map(|_| (random(&mut seed) % STATES) as u8).collect();
    let tokens: Vec<u8> = (0..TOKENS).map(|_| random(&mut seed) as u8).collect();
    let inputs = [Tensor { shape: vec![TOKENS], elements: Elements::Int(tokens.iter().map(|&t| t.into()).collect()) }];
    let sequences = Sequences::batch(1, TOKENS);

    let mut states = vec![0; TOKENS];
    look_up_all(&next, &tokens, &mut states);
    assert_eq!(states[TOKENS - 1], i32::from(look_up(&next, &tokens)));
    println!("{STATES} states, {TOKENS} byte tokens, one thread, the least of {TIMES}");
    report("table look-up, last state", seconds(|| assert!(usize::from(look_up(&next, &tokens)) < STATES)));
    report("table look-up, every state", seconds(|| look_up_all(&next, &tokens, &mut states)));

    for (what, source) in [("compiled layer, last state", STATE), ("compiled layer, every state", EVERY_STATE)] {
        let (file, _) = syntax::parse(source);
        let layer = sema::lower(&file).0.remove(0);
        let instance = Instance::new(layer, vec![256, STATES as i64]).expect("the sizes can be run");
        let table = Elements::Int(next.iter().map(|&s| s.into()).collect());
        let param = Tensor { shape: vec![256, STATES], elements: table };
        let bound: Bound<f32> = bind::bind(&instance, vec![Some(param)], 0).expect("the parameters fit");
        let kernel = jit::compile(&instance, Form::Sequence).expect("the layer compiles");
        let before = interp::initial_carry(&instance, &bound, 1);
        let run = || {
            let mut carry = before.clone();
            let outputs = kernel.run(&bound, &sequences, &inputs, &mut carry, 1, &|_| {}).expect("the tensors fit");
            (outputs, carry)
        };
        let (outputs, carry) = run();
        assert_eq!(carry.states[0].elements, Elements::Int(vec![states[TOKENS - 1]]), "the last state");
        if let [output] = &outputs[..] {
            assert!(output.elements == Elements::Int(states.clone()), "every state");
        }
        report(what, seconds(|| drop(run())));
    }
}
