//! What CLIF has no operation for, at every width, against models in `f64`: primitives, and trees over all lanes of a vector.

#![allow(unsafe_code, reason = "runs machine code")]

mod support;

use cranelift_codegen::ir::{ExtFuncData, ExternalName, InstBuilder, Value, types};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::FunctionBuilder;
use ssmc_wide::Primitive;
use support::{by_wide, grid, levels, mapped, numbers, ty, vectors};

#[test]
fn trees_over_all_lanes_are_folded_by_halves() {
    for lane in [types::F32, types::F64] {
        for level in levels() {
            for ty in vectors(level, lane) {
                for product in [false, true] {
                    let lanes = ty.lane_count() as usize;
                    let tree = |b: &mut FunctionBuilder<'_>, v: &[Value]| {
                        let mut each: Vec<Value> = (0..lanes).map(|n| b.ins().extractlane(v[0], n as u8)).collect();
                        while each.len() > 1 {
                            let half = each.split_off(each.len() / 2);
                            let pairs = each.into_iter().zip(half);
                            each = pairs
                                .map(|(x, y)| if product { b.ins().fmul(x, y) } else { b.ins().fadd(x, y) })
                                .collect();
                        }
                        b.ins().splat(ty, each[0])
                    };
                    let function = mapped(ty, 1, &tree);
                    // Sums whose rounding depends on the order.
                    let number = |i: usize| 1.0 + ((i * 7919) % 1013) as f64 / 977.0;
                    let count = 64 * lanes;
                    let numbers: Vec<f64> = (0..count).map(number).collect();
                    let single: Vec<u8> = numbers.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect();
                    let double: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
                    let data = if lane == types::F32 { single } else { double };
                    let got = by_wide(&function, level).run(std::slice::from_ref(&data), data.len());
                    let join = |x: f64, y: f64| if product { x * y } else { x + y };
                    for (n, chunk) in numbers.chunks(lanes).enumerate() {
                        let mut each = chunk.to_vec();
                        while each.len() > 1 {
                            let half = each.split_off(each.len() / 2);
                            let round = |x: f64| if lane == types::F32 { f64::from(x as f32) } else { x };
                            each = each.into_iter().zip(half).map(|(x, y)| round(join(round(x), round(y)))).collect();
                        }
                        let at = n * ty.bytes() as usize;
                        let found = match lane {
                            types::F32 => f64::from(f32::from_le_bytes(got[at..at + 4].try_into().unwrap())),
                            _ => f64::from_le_bytes(got[at..at + 8].try_into().unwrap()),
                        };
                        assert_eq!(found, each[0], "{level:?} {ty} {n}");
                    }
                    // A load, a shuffle and a sum for each halving, the broadcast, the store, and the loop.
                    let stats = ssmc_wide::compile(&function, level).unwrap().stats;
                    let most = 2 * lanes.ilog2() as usize + 8;
                    assert!(stats.inner_instructions <= most, "{level:?} {ty}: {stats:?}");
                }
            }
        }
    }
}

/// Emits a call of a primitive.
fn primitive(b: &mut FunctionBuilder<'_>, primitive: Primitive, v: &[Value]) -> Value {
    let to = ty(b, v[0]);
    let signature = primitive.signature(to, CallConv::SystemV);
    let signature = b.import_signature(signature);
    let name = b.func.declare_imported_user_function(primitive.name());
    let name = ExternalName::user(name);
    let callee = b.import_function(ExtFuncData { name, signature, colocated: false, patchable: false });
    let call = b.ins().call(callee, &v[..primitive.arity()]);
    b.inst_results(call)[0]
}

/// What a primitive is, in f64; of f32 arguments this is exact before it is rounded.
fn model(primitive: Primitive, x: f64, y: f64) -> f64 {
    match primitive {
        Primitive::Scale if y.is_nan() => y,
        Primitive::Scale if x.is_nan() && y.is_infinite() => y.max(0.0),
        Primitive::Scale => {
            // In steps that underflow in the last only.
            let n = y.floor().clamp(-3000.0, 3000.0) as i32;
            let sum = if y == f64::NEG_INFINITY {
                x * 0.0
            } else if y == f64::INFINITY {
                x * y
            } else {
                x
            };
            let steps = (n.abs() / 1000 + 1, n.signum() * 1000);
            (1..steps.0).fold(sum, |p, _| p * 2f64.powi(steps.1)) * 2f64.powi(n % 1000)
        }
        Primitive::Fraction if x.is_infinite() => 0.0,
        Primitive::Fraction => x - x.floor(),
        Primitive::Mantissa if x.is_nan() => x,
        Primitive::Mantissa if x == 0.0 || x.is_infinite() => 1.0,
        Primitive::Mantissa => {
            let mut m = x.abs();
            while m < 1.0 {
                m *= 2.0;
            }
            while m >= 2.0 {
                m /= 2.0;
            }
            m
        }
        _ => unreachable!("not lane by lane"),
    }
}

#[test]
fn lanes_are_looked_up_in_two_vectors() {
    for level in levels() {
        for lane in [types::F32, types::F64] {
            let size = lane.bytes() as usize;
            for ty in vectors(level, lane) {
                let function = mapped(ty, 3, &|b, v| primitive(b, Primitive::LookUp, v));
                if !Primitive::LookUp.is_at(level) {
                    assert!(ssmc_wide::compile(&function, level).is_err());
                    continue;
                }
                // Any bits above those that count.
                let (count, turns) = (ty.lane_count() as usize, 3);
                let numbers: Vec<u64> =
                    (0..(count * turns) as u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
                let bytes = |of: &dyn Fn(usize) -> u64| -> Vec<u8> {
                    (0..count * turns).flat_map(|i| of(i).to_le_bytes()[..size].to_vec()).collect()
                };
                let entry = |i: usize| if size == 4 { u64::from((i as f32).to_bits()) } else { (i as f64).to_bits() };
                let data = [bytes(&|i| numbers[i]), bytes(&entry), bytes(&|i| entry(1000 + i))];
                let got = by_wide(&function, level).run(&data, data[0].len());
                let expected = bytes(&|i| {
                    let (at, first) = (numbers[i] as usize % (2 * count), i / count * count);
                    if at < count { entry(first + at) } else { entry(1000 + first + at - count) }
                });
                assert_eq!(got, expected, "{level:?} {ty}");
            }
        }
    }
}

#[test]
fn lanes_move_to_places_that_are_known() {
    for level in levels() {
        for lane in [types::F32, types::F64] {
            let size = lane.bytes() as usize;
            for ty in vectors(level, lane) {
                let (count, turns) = (ty.lane_count() as usize, 3);
                let bytes = |of: &dyn Fn(usize) -> u64, n: usize| -> Vec<u8> {
                    (0..n).flat_map(|i| of(i).to_le_bytes()[..size].to_vec()).collect()
                };
                let entry = |i: usize| 0x3f80_0000_u64 + i as u64;
                // Lanes that follow each other, from each; and behind them the last for all.
                for first in 1..=count {
                    let from = |at: usize| if first == count { 2 * count - 1 } else { first + at };
                    let function = mapped(ty, 2, &|b, v| {
                        let places = b.func.dfg.constants.insert(bytes(&|at| from(at) as u64, count).into());
                        let at = b.ins().vconst(ty, places);
                        primitive(b, Primitive::Move, &[at, v[0], v[1]])
                    });
                    let data = [bytes(&entry, count * turns), bytes(&|i| entry(1000 + i), count * turns)];
                    let got = by_wide(&function, level).run(&data, data[0].len());
                    let moved = |i: usize| match (from(i % count), i / count * count) {
                        (at, start) if at < count => entry(start + at),
                        (at, start) => entry(1000 + start + at - count),
                    };
                    assert_eq!(got, bytes(&moved, count * turns), "{level:?} {ty} from {first}");
                }
            }
        }
    }
}

#[test]
fn primitives_are_what_they_say() {
    for which in [Primitive::Scale, Primitive::Fraction, Primitive::Mantissa] {
        for level in levels() {
            for lane in [types::F32, types::F64] {
                let double = lane == types::F64;
                let mut list = numbers(double);
                // Exponents in the middle and at the ends of the range.
                for n in [-1080.0, -1022.5, -150.0, -149.5, -127.0, -126.0, -3.5, 5.0, 127.5, 128.0, 1023.0, 1024.0] {
                    list.push(if double { f64::to_bits(n) } else { u64::from((n as f32).to_bits()) });
                }
                // Products of subnormals round twice in the model.
                list.retain(|&bits| !double || f64::from_bits(bits).is_normal() || bits << 1 == 0);
                let (data, bytes) = grid(&list, 2, lane.bytes() as usize);
                for ty in vectors(level, lane) {
                    let function = mapped(ty, 2, &|b, v| primitive(b, which, v));
                    if !which.is_at(level) {
                        assert!(ssmc_wide::compile(&function, level).is_err());
                        continue;
                    }
                    let got = by_wide(&function, level).run(&data, bytes);
                    for at in (0..bytes).step_by(lane.bytes() as usize) {
                        let word = |bytes: &[u8]| match double {
                            false => f64::from(f32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())),
                            true => f64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()),
                        };
                        let (x, y, found) = (word(&data[0]), word(&data[1]), word(&got));
                        let exact = model(which, x, y);
                        let mut expected = if double { exact } else { f64::from(exact as f32) };
                        // The fraction is rounded down.
                        if which == Primitive::Fraction && x.is_finite() && expected + x.floor() > x {
                            expected = match double {
                                true => expected.next_down(),
                                false => f64::from((expected as f32).next_down()),
                            };
                        }
                        let same = expected == found || expected.is_nan() && found.is_nan();
                        assert!(same, "{which:?} of {x:e}, {y:e} at {ty}: {found:e}, not {expected:e}");
                    }
                }
            }
        }
    }
}
