//! A finite automaton of 8 states over 64 million bytes: the compiled layer against a table look-up per token.
//!
//! `cargo bench --bench finite`
//!
//! Prints the least of some wall times on one thread, in tokens per second. The layer takes a token as a byte, and as the
//! integer of 32 bits that files of other types become. Outputs go where they are, as those of the look-up do. Results
//! are compared before anything is timed.

use std::time::Instant;

use ssmc::ir::{Instance, bind, interp};
use ssmc::jit::{self, Form};
use ssmc::{sema, syntax};
use ssmc_runtime::{Bound, Elements, Sequences, Tensor};

const TOKENS: usize = 64 << 20;
const STATES: usize = 8;
const TIMES: usize = 7;

/// So few steps that maps are not worth their tables.
const FEW: usize = 4096;

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
    let wide = Elements::Int(tokens.iter().map(|&t| t.into()).collect());
    let [wide, bytes] =
        [wide, Elements::Byte(tokens.clone())].map(|elements| [Tensor { shape: vec![TOKENS], elements }]);
    let sequences = Sequences::batch(1, TOKENS);

    let mut states = vec![0; TOKENS];
    look_up_all(&next, &tokens, &mut states);
    assert_eq!(states[TOKENS - 1], i32::from(look_up(&next, &tokens)));
    println!("{STATES} states, {TOKENS} byte tokens, one thread, the least of {TIMES}");
    report("table look-up, last state", seconds(|| assert!(usize::from(look_up(&next, &tokens)) < STATES)));
    report("table look-up, every state", seconds(|| look_up_all(&next, &tokens, &mut states)));

    for (what, source) in [("last state", STATE), ("every state", EVERY_STATE)] {
        let (file, _) = syntax::parse(source);
        let layer = sema::lower(&file).0.remove(0);
        let instance = Instance::new(layer, vec![256, STATES as i64]).expect("the sizes can be run");
        let table = Elements::Int(next.iter().map(|&s| s.into()).collect());
        let param = Tensor { shape: vec![256, STATES], elements: table };
        let bound: Bound<f32> = bind::bind(&instance, vec![Some(param)], 0).expect("the parameters fit");
        let kernel = jit::compile(&instance, Form::Sequence).expect("the layer compiles");
        let before = interp::initial_carry(&instance, &bound, 1);
        let few = Sequences::batch(1, FEW);
        let first = [Tensor { shape: vec![FEW], elements: Elements::Int(vec![1; FEW]) }];
        let mut carry = before.clone();
        let step = seconds(|| {
            for _ in 0..100 {
                kernel.run(&bound, &few, &first, &mut carry, 1, &|_| {}).expect("they fit");
            }
        });
        println!("compiled layer, as it is written, {what}: {:.2} ns a step", step / (100 * FEW) as f64 * 1e9);
        let start = Instant::now();
        kernel.maps(&bound, &few, &first, 1).expect("it has maps").expect("they fit");
        println!("its tables: {:.3} ms", start.elapsed().as_secs_f64() * 1e3);
        for (kind, inputs) in [("bytes", &bytes), ("32 bits", &wide)] {
            let mut outputs = kernel.blank_outputs(&sequences);
            let mut run = || {
                let mut carry = before.clone();
                kernel.run_into(&bound, &sequences, inputs, &mut outputs, &mut carry, 1, &|_| {}).expect("they fit");
                carry
            };
            assert_eq!(run().states[0].elements, Elements::Int(vec![states[TOKENS - 1]]), "the last state");
            report(&format!("compiled layer, {kind}, {what}"), seconds(|| drop(run())));
            if let [output] = &outputs[..] {
                assert!(output.elements == Elements::Int(states.clone()), "every state");
            }
        }
    }
}
