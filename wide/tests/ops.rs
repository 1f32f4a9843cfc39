//! Every operation at every width, against Cranelift at 128 bits, on the same CLIF. Long because the operations are many:
//! one list of them stands in one place.

#![allow(unsafe_code, reason = "runs machine code")]

mod support;

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{
    ConstantData, InstBuilder, MemFlagsData, StackSlotData, StackSlotKind, Type, Value, types,
};
use cranelift_frontend::FunctionBuilder;
use support::{Body, assert_same, by_cranelift, by_wide, grid, levels, mapped, numbers, ty, vectors};

/// Runs a body of `inputs` vectors of this lane type on a grid of numbers, at all widths.
fn agree(what: &str, lane: Type, inputs: usize, floats: bool, body: Body<'_>) {
    let (data, bytes) = grid(&numbers(lane.bits() == 64), inputs, lane.bytes() as usize);
    let narrow = lane.by(16 / lane.bytes()).unwrap();
    let expected = by_cranelift(&mapped(narrow, inputs, body)).run(&data, bytes);
    for level in levels() {
        for ty in vectors(level, lane) {
            let got = by_wide(&mapped(ty, inputs, body), level).run(&data, bytes);
            assert_same(&format!("{what}, {level:?}"), ty, floats, &expected, &got, &data);
        }
    }
}

/// The same for a body of scalars.
fn agree_scalar(what: &str, lane: Type, inputs: usize, floats: bool, body: Body<'_>) {
    let (data, bytes) = grid(&numbers(lane.bits() == 64), inputs, lane.bytes() as usize);
    let function = mapped(lane, inputs, body);
    let expected = by_cranelift(&function).run(&data, bytes);
    for level in levels() {
        let got = by_wide(&function, level).run(&data, bytes);
        assert_same(&format!("scalar {what}, {level:?}"), lane, floats, &expected, &got, &data);
    }
}

fn both(what: &str, inputs: usize, body: Body<'_>) {
    for lane in [types::F32, types::F64] {
        agree(what, lane, inputs, true, body);
        agree_scalar(what, lane, inputs, true, body);
    }
}

fn cast(b: &mut FunctionBuilder<'_>, to: Type, v: Value) -> Value {
    b.ins().bitcast(to, MemFlagsData::new(), v)
}

fn ints(b: &mut FunctionBuilder<'_>, v: Value) -> Value {
    let to = ty(b, v).as_int();
    cast(b, to, v)
}

/// An operation on two vectors.
type Pair = Box<dyn Fn(&mut FunctionBuilder<'_>, Value, Value) -> Value>;

/// A vector or scalar of floats with this number in all lanes.
fn constant(b: &mut FunctionBuilder<'_>, like: Value, x: f64) -> Value {
    let to = ty(b, like);
    let scalar = match to.lane_type() {
        types::F32 => b.ins().f32const(x as f32),
        _ => b.ins().f64const(x),
    };
    if to.is_vector() { b.ins().splat(to, scalar) } else { scalar }
}

const FLOAT_CONDITIONS: [FloatCC; 14] = [
    FloatCC::Ordered,
    FloatCC::Unordered,
    FloatCC::Equal,
    FloatCC::NotEqual,
    FloatCC::OrderedNotEqual,
    FloatCC::UnorderedOrEqual,
    FloatCC::LessThan,
    FloatCC::LessThanOrEqual,
    FloatCC::GreaterThan,
    FloatCC::GreaterThanOrEqual,
    FloatCC::UnorderedOrLessThan,
    FloatCC::UnorderedOrLessThanOrEqual,
    FloatCC::UnorderedOrGreaterThan,
    FloatCC::UnorderedOrGreaterThanOrEqual,
];

const INT_CONDITIONS: [IntCC; 10] = [
    IntCC::Equal,
    IntCC::NotEqual,
    IntCC::SignedLessThan,
    IntCC::SignedLessThanOrEqual,
    IntCC::SignedGreaterThan,
    IntCC::SignedGreaterThanOrEqual,
    IntCC::UnsignedLessThan,
    IntCC::UnsignedLessThanOrEqual,
    IntCC::UnsignedGreaterThan,
    IntCC::UnsignedGreaterThanOrEqual,
];

#[test]
fn arithmetic() {
    both("fadd", 2, &|b, v| b.ins().fadd(v[0], v[1]));
    both("fsub", 2, &|b, v| b.ins().fsub(v[0], v[1]));
    both("fmul", 2, &|b, v| b.ins().fmul(v[0], v[1]));
    both("fdiv", 2, &|b, v| b.ins().fdiv(v[0], v[1]));
    both("fmin", 2, &|b, v| b.ins().fmin(v[0], v[1]));
    both("fmax", 2, &|b, v| b.ins().fmax(v[0], v[1]));
    both("fcopysign", 2, &|b, v| {
        let (mut x, mut y) = (ints(b, v[0]), ints(b, v[1]));
        if ty(b, v[0]).is_vector() {
            // Cranelift has it for scalars only; this is what it means.
            let to = ty(b, v[0]);
            let sign = constant(b, v[0], -0.0);
            let sign = cast(b, to.as_int(), sign);
            let rest = b.ins().bnot(sign);
            x = b.ins().band(x, rest);
            y = b.ins().band(y, sign);
            let both = b.ins().bor(x, y);
            return cast(b, to, both);
        }
        b.ins().fcopysign(v[0], v[1])
    });
    both("sqrt", 1, &|b, v| b.ins().sqrt(v[0]));
    both("floor", 1, &|b, v| b.ins().floor(v[0]));
    both("ceil", 1, &|b, v| b.ins().ceil(v[0]));
    both("trunc", 1, &|b, v| b.ins().trunc(v[0]));
    both("nearest", 1, &|b, v| b.ins().nearest(v[0]));
    both("fneg", 1, &|b, v| b.ins().fneg(v[0]));
    both("fabs", 1, &|b, v| b.ins().fabs(v[0]));
}

#[test]
fn fused_multiplication_in_every_form() {
    both("fma", 3, &|b, v| b.ins().fma(v[0], v[1], v[2]));
    both("fma, factor negated", 3, &|b, v| {
        let n = b.ins().fneg(v[0]);
        b.ins().fma(n, v[1], v[2])
    });
    both("fma, both factors negated", 3, &|b, v| {
        let (n, m) = (b.ins().fneg(v[0]), b.ins().fneg(v[1]));
        b.ins().fma(n, m, v[2])
    });
    both("fma, addend negated", 3, &|b, v| {
        let n = b.ins().fneg(v[2]);
        b.ins().fma(v[0], v[1], n)
    });
    both("fma, all negated", 3, &|b, v| {
        let (n, m) = (b.ins().fneg(v[0]), b.ins().fneg(v[2]));
        b.ins().fma(n, v[1], m)
    });
    // Operands that live on, so that each in turn is the one to be overwritten.
    for kept in 0..3 {
        for more in 0..3 {
            both("fma, operands kept", 3, &move |b, v| {
                let f = b.ins().fma(v[0], v[1], v[2]);
                let sum = b.ins().fadd(f, v[kept]);
                b.ins().fsub(sum, v[more])
            });
        }
    }
    both("fma of one value", 1, &|b, v| b.ins().fma(v[0], v[0], v[0]));
    both("fma of two", 2, &|b, v| b.ins().fma(v[0], v[1], v[0]));
    both("fma with constants", 1, &|b, v| {
        let (x, y) = (constant(b, v[0], 1.25), constant(b, v[0], -3.0));
        let first = b.ins().fma(x, v[0], y);
        b.ins().fma(first, v[0], x)
    });
}

#[test]
fn comparisons_and_choices() {
    for cond in FLOAT_CONDITIONS {
        for lane in [types::F32, types::F64] {
            // Cranelift has no vectors for these two.
            let vectors = !matches!(cond, FloatCC::OrderedNotEqual | FloatCC::UnorderedOrEqual);
            let agree = |what: &str, lane, inputs, floats, body: Body<'_>| {
                if vectors {
                    agree(what, lane, inputs, floats, body);
                }
            };
            agree(&format!("fcmp {cond}"), lane, 2, false, &|b, v| b.ins().fcmp(cond, v[0], v[1]));
            agree(&format!("choice by {cond}"), lane, 2, true, &|b, v| {
                let mask = b.ins().fcmp(cond, v[0], v[1]);
                let to = ty(b, v[0]);
                let mask = cast(b, to, mask);
                let one = constant(b, v[0], 1.0);
                b.ins().bitselect(mask, v[1], one)
            });
            agree(&format!("extreme by {cond}"), lane, 2, true, &|b, v| {
                let mask = b.ins().fcmp(cond, v[0], v[1]);
                let to = ty(b, v[0]);
                let mask = cast(b, to, mask);
                b.ins().bitselect(mask, v[0], v[1])
            });
            agree(&format!("other extreme by {cond}"), lane, 2, true, &|b, v| {
                let mask = b.ins().fcmp(cond, v[0], v[1]);
                let to = ty(b, v[0]);
                let mask = cast(b, to, mask);
                b.ins().bitselect(mask, v[1], v[0])
            });
            agree_scalar(&format!("select by {cond}"), lane, 2, true, &|b, v| {
                let c = b.ins().fcmp(cond, v[0], v[1]);
                let one = constant(b, v[0], 1.0);
                b.ins().select(c, v[1], one)
            });
            agree_scalar(&format!("scalar extreme by {cond}"), lane, 2, true, &|b, v| {
                let c = b.ins().fcmp(cond, v[0], v[1]);
                b.ins().select(c, v[0], v[1])
            });
            agree_scalar(&format!("branch by {cond}"), lane, 2, true, &|b, v| {
                let c = b.ins().fcmp(cond, v[0], v[1]);
                let to = ty(b, v[0]);
                let join = b.create_block();
                let result = b.append_block_param(join, to);
                let two = constant(b, v[0], 2.0);
                b.ins().brif(c, join, &[v[0].into()], join, &[two.into()]);
                b.switch_to_block(join);
                result
            });
            agree_scalar(&format!("set by {cond}"), lane, 2, false, &|b, v| {
                let c = b.ins().fcmp(cond, v[0], v[1]);
                b.ins().uextend(if lane == types::F32 { types::I32 } else { types::I64 }, c)
            });
        }
    }
}

#[test]
fn truth_vectors() {
    for lane in [types::F32, types::F64] {
        for n in 0..6 {
            agree("logic of masks", lane, 2, true, &move |b, v| {
                let zero = constant(b, v[0], 0.0);
                let x = b.ins().fcmp(FloatCC::LessThan, v[0], v[1]);
                let y = b.ins().fcmp(FloatCC::Unordered, v[0], zero);
                let mask = match n {
                    0 => b.ins().band(x, y),
                    1 => b.ins().bor(x, y),
                    2 => b.ins().bxor(x, y),
                    3 => b.ins().bnot(x),
                    4 => {
                        let not = b.ins().bnot(y);
                        b.ins().band(not, x)
                    }
                    _ => {
                        // Wanted as bits and as a mask.
                        let to = ty(b, x);
                        let one = constant(b, v[0], 1.0);
                        let one = cast(b, to, one);
                        let some = b.ins().band(x, one);
                        b.ins().bor(some, y)
                    }
                };
                let to = ty(b, v[0]);
                let chosen = cast(b, to, mask);
                let chosen = b.ins().bitselect(chosen, v[0], zero);
                if n % 2 == 0 {
                    return chosen;
                }
                let bits = cast(b, to, mask);
                b.ins().bitselect(bits, v[1], chosen)
            });
        }
        agree("bits that are no masks", lane, 3, true, &|b, v| b.ins().bitselect(v[0], v[1], v[2]));
    }
}

#[test]
fn integers_in_lanes() {
    for lane in [types::F32, types::F64] {
        let mut pairs: Vec<(&str, Pair)> = vec![
            ("iadd", Box::new(|b, x, y| b.ins().iadd(x, y))),
            ("isub", Box::new(|b, x, y| b.ins().isub(x, y))),
            ("band", Box::new(|b, x, y| b.ins().band(x, y))),
            ("bor", Box::new(|b, x, y| b.ins().bor(x, y))),
            ("bxor", Box::new(|b, x, y| b.ins().bxor(x, y))),
            ("bnot", Box::new(|b, x, _| b.ins().bnot(x))),
            ("ineg", Box::new(|b, x, _| b.ins().ineg(x))),
        ];
        if lane == types::F32 {
            pairs.push(("imul", Box::new(|b, x, y| b.ins().imul(x, y))));
            pairs.push(("smin", Box::new(|b, x, y| b.ins().smin(x, y))));
            pairs.push(("umax", Box::new(|b, x, y| b.ins().umax(x, y))));
            pairs.push((
                "fcvt",
                Box::new(|b, x, _| {
                    let to = ty(b, x).lane_count();
                    b.ins().fcvt_from_sint(types::F32.by(to).unwrap(), x)
                }),
            ));
        }
        for by in [0, 1, 23, 31, 33] {
            pairs.push(("ishl", Box::new(move |b, x, _| b.ins().ishl_imm_u(x, by))));
            pairs.push(("ushr", Box::new(move |b, x, _| b.ins().ushr_imm_u(x, by))));
        }
        for (name, op) in &pairs {
            agree(name, lane, 2, false, &|b, v| {
                let (x, y) = (ints(b, v[0]), ints(b, v[1]));
                op(b, x, y)
            });
        }
        for cond in INT_CONDITIONS {
            agree(&format!("icmp {cond}"), lane, 2, false, &|b, v| {
                let (x, y) = (ints(b, v[0]), ints(b, v[1]));
                b.ins().icmp(cond, x, y)
            });
        }
    }
    agree("sshr", types::F32, 1, false, &|b, v| {
        let x = ints(b, v[0]);
        b.ins().sshr_imm_u(x, 5)
    });
}

#[test]
fn scalar_integers() {
    for lane in [types::F32, types::F64] {
        let int = lane.as_int();
        for cond in INT_CONDITIONS {
            agree_scalar(&format!("icmp {cond}"), lane, 2, false, &|b, v| {
                let (x, y) = (ints(b, v[0]), ints(b, v[1]));
                let c = b.ins().icmp(cond, x, y);
                let wide = b.ins().uextend(int, c);
                let chosen = b.ins().select(c, x, y);
                b.ins().iadd(chosen, wide)
            });
            agree_scalar(&format!("icmp {cond} with constants"), lane, 1, false, &|b, v| {
                let x = ints(b, v[0]);
                let c = b.ins().icmp_imm_s(cond, x, 0);
                let d = b.ins().icmp_imm_s(cond, x, -1000);
                let (c, d) = (b.ins().uextend(int, c), b.ins().uextend(int, d));
                let d = b.ins().ishl_imm_u(d, 3);
                b.ins().bor(c, d)
            });
        }
        agree_scalar("arithmetic", lane, 2, false, &|b, v| {
            let (x, y) = (ints(b, v[0]), ints(b, v[1]));
            let sum = b.ins().iadd(x, y);
            let product = b.ins().imul(sum, x);
            let difference = b.ins().isub(product, y);
            let shifted = b.ins().ishl_imm_u(difference, 3);
            let other = b.ins().ushr(shifted, y);
            let third = b.ins().sshr_imm_u(other, 2);
            let more = b.ins().imul_imm_s(third, -37);
            let not = b.ins().bnot(more);
            let negative = b.ins().ineg(not);
            let mixed = b.ins().bxor(negative, y);
            b.ins().iadd_imm_s(mixed, 12_345)
        });
        agree_scalar("division", lane, 2, false, &|b, v| {
            let (x, y) = (ints(b, v[0]), ints(b, v[1]));
            let y = b.ins().bor_imm_u(y, 2);
            let y = b.ins().band_imm_u(y, 0xffff);
            let (q, r) = (b.ins().sdiv(x, y), b.ins().urem(x, y));
            let u = b.ins().udiv(x, y);
            let p = b.ins().urem_imm_u(x, 8);
            let sum = b.ins().iadd(q, r);
            let sum = b.ins().imul(sum, u);
            b.ins().iadd(sum, p)
        });
        agree_scalar("widths", lane, 1, false, &|b, v| {
            let x = ints(b, v[0]);
            let byte = b.ins().ireduce(types::I8, x);
            let signed = b.ins().sextend(int, byte);
            let unsigned = b.ins().uextend(int, byte);
            let back = b.ins().imul(signed, unsigned);
            let doubled = b.ins().iadd(byte, byte);
            let doubled = b.ins().uextend(int, doubled);
            b.ins().bxor(back, doubled)
        });
        agree_scalar("from integers", lane, 1, true, &|b, v| {
            let x = ints(b, v[0]);
            b.ins().fcvt_from_sint(lane, x)
        });
        agree_scalar("largest", lane, 2, false, &|b, v| {
            let (x, y) = (ints(b, v[0]), ints(b, v[1]));
            let (a, c) = (b.ins().smax(x, y), b.ins().smin(x, y));
            let d = b.ins().umax(a, y);
            b.ins().isub(c, d)
        });
    }
}

#[test]
fn lanes() {
    for lane in [types::F32, types::F64] {
        let count = |b: &FunctionBuilder<'_>, v: Value| ty(b, v).lane_count() as u8;
        // Each lane by itself, so that the result does not depend on the width.
        agree("taken apart and put together", lane, 1, true, &|b, v| {
            let mut out = v[0];
            for n in 0..count(b, v[0]) {
                let x = b.ins().extractlane(v[0], n);
                let x = b.ins().fadd(x, x);
                out = b.ins().insertlane(out, x, n);
            }
            out
        });
        agree("put together from nothing", lane, 1, true, &|b, v| {
            let to = ty(b, v[0]);
            let x = b.ins().extractlane(v[0], 0);
            let mut out = b.ins().scalar_to_vector(to, x);
            for n in 1..count(b, v[0]) {
                let x = b.ins().extractlane(v[0], n);
                out = b.ins().insertlane(out, x, n);
            }
            out
        });
        agree("integers", lane, 1, false, &|b, v| {
            let x = ints(b, v[0]);
            let mut out = x;
            for n in 0..count(b, v[0]) {
                let y = b.ins().extractlane(x, n);
                let y = b.ins().iadd_imm_s(y, 1);
                out = b.ins().insertlane(out, y, n);
            }
            out
        });
        agree("lanes that stay", lane, 2, true, &|b, v| {
            let mut out = v[0];
            for n in (1..count(b, v[0])).step_by(2) {
                let y = b.ins().extractlane(v[1], n);
                out = b.ins().insertlane(out, y, n);
            }
            out
        });
        agree_scalar("a lane in a vector", lane, 1, true, &|b, v| {
            let wide = lane.by(16 / lane.bytes()).unwrap();
            let x = b.ins().fmul(v[0], v[0]);
            let vector = b.ins().scalar_to_vector(wide, x);
            let zero = constant(b, vector, 0.0);
            let sum = b.ins().fadd(vector, zero);
            let other = b.ins().extractlane(sum, 1);
            let first = b.ins().extractlane(sum, 0);
            b.ins().fadd(first, other)
        });
        agree("any", lane, 2, true, &|b, v| {
            let nan = b.ins().fcmp(FloatCC::Unordered, v[0], v[0]);
            let never = b.ins().bnot(nan);
            let never = b.ins().band(nan, never);
            let any = b.ins().vany_true(never);
            let to = ty(b, v[0]);
            let (rare, join) = (b.create_block(), b.create_block());
            b.set_cold_block(rare);
            let result = b.append_block_param(join, to);
            b.ins().brif(any, rare, &[], join, &[v[1].into()]);
            b.switch_to_block(rare);
            let wrong = constant(b, v[0], 77.0);
            b.ins().jump(join, &[wrong.into()]);
            b.switch_to_block(join);
            result
        });
        agree("select of vectors", lane, 2, true, &|b, v| {
            let yes = b.ins().iconst(types::I64, 5);
            let yes = b.ins().icmp_imm_s(IntCC::SignedLessThan, yes, 6);
            let x = b.ins().select(yes, v[0], v[1]);
            let no = b.ins().bxor_imm_u(yes, 1);
            let y = b.ins().select(no, v[0], v[1]);
            b.ins().fadd(x, y)
        });
    }
}

#[test]
fn constants() {
    for lane in [types::F32, types::F64] {
        agree("a vector of different lanes", lane, 1, true, &|b, v| {
            // The same four lanes (or two) again and again.
            let to = ty(b, v[0]);
            let each: Vec<u8> = match lane {
                types::F32 => [1.0f32, -2.0, 1e30, 0.25].iter().flat_map(|x| x.to_le_bytes()).collect(),
                _ => [3.0f64, -1e300].iter().flat_map(|x| x.to_le_bytes()).collect(),
            };
            let bytes = each.repeat(to.bytes() as usize / 16);
            let handle = b.func.dfg.constants.insert(ConstantData::from(bytes));
            let c = b.ins().vconst(to, handle);
            b.ins().fmul(v[0], c)
        });
        agree("more constants than registers", lane, 1, true, &|b, v| {
            let mut sum = v[0];
            for n in 0..60 {
                let c = constant(b, v[0], 0.5 + f64::from(n % 45) / 64.0);
                sum = b.ins().fma(sum, v[0], c);
            }
            sum
        });
        agree("more values than registers", lane, 2, true, &|b, v| {
            let all: Vec<Value> = (0..50)
                .map(|n| {
                    let c = constant(b, v[0], f64::from(n) - 20.0);
                    b.ins().fma(v[0], c, v[1])
                })
                .collect();
            let products: Vec<Value> = all.iter().rev().zip(&all).map(|(&x, &y)| b.ins().fmul(x, y)).collect();
            products.into_iter().chain(all).reduce(|x, y| b.ins().fadd(x, y)).unwrap()
        });
    }
}

#[test]
fn operations_under_a_mask_leave_zeros() {
    let both = |what: &str, body: Body<'_>| {
        for lane in [types::F32, types::F64] {
            agree(what, lane, 3, true, body);
        }
    };
    type Op = fn(&mut FunctionBuilder<'_>, &[Value]) -> Value;
    let ops: [(&str, Op); 5] = [
        ("fadd", |b, v| b.ins().fadd(v[1], v[2])),
        ("fsub", |b, v| b.ins().fsub(v[1], v[2])),
        ("fmul", |b, v| b.ins().fmul(v[1], v[2])),
        ("fdiv", |b, v| b.ins().fdiv(v[1], v[2])),
        ("fma", |b, v| b.ins().fma(v[0], v[1], v[2])),
    ];
    for (name, op) in ops {
        both(&format!("{name} or zero"), &|b, v| {
            let mask = b.ins().fcmp(FloatCC::UnorderedOrGreaterThanOrEqual, v[0], v[1]);
            let to = ty(b, v[0]);
            let mask = cast(b, to, mask);
            let (value, zero) = (op(b, v), constant(b, v[0], 0.0));
            b.ins().bitselect(mask, value, zero)
        });
        both(&format!("{name} or zero, and used again"), &|b, v| {
            let mask = b.ins().fcmp(FloatCC::LessThan, v[0], v[1]);
            let to = ty(b, v[0]);
            let mask = cast(b, to, mask);
            let (value, zero) = (op(b, v), constant(b, v[0], 0.0));
            let chosen = b.ins().bitselect(mask, value, zero);
            b.ins().fadd(chosen, value)
        });
    }
}

#[test]
fn fixed_elements_and_repeats_cost_nothing() {
    // Every address is a base and a distance.
    let body = |b: &mut FunctionBuilder<'_>, v: &[Value]| {
        let slot = b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, 256, 6));
        let base = b.ins().stack_addr(types::I64, slot, 0);
        let readonly = MemFlagsData::trusted().with_readonly();
        let mut sum = v[0];
        for n in [0, 1, 1, 2] {
            let index = b.ins().iconst(types::I64, n);
            let offset = b.ins().ishl_imm_u(index, 6);
            let at = b.ins().iadd(base, offset);
            if n == 0 {
                b.ins().store(MemFlagsData::trusted(), sum, at, 64);
                continue;
            }
            let to = ty(b, v[0]);
            let x = b.ins().load(to, if n == 1 { readonly } else { MemFlagsData::trusted() }, at, 0);
            if n == 2 {
                b.ins().store(MemFlagsData::trusted(), sum, at, 0);
            }
            sum = b.ins().fadd(sum, x);
        }
        sum
    };
    for level in levels() {
        let stats = ssmc_wide::compile(&mapped(types::F32X8, 1, &body), level).unwrap().stats;
        // A load, three stores, three additions that read memory, and the loop: no addresses.
        assert!(stats.inner_instructions <= 14, "{level:?}: {stats:?}");
    }
}
