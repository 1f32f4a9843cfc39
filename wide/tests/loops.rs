//! Loops as the emitter writes them: results, and what the registers come to.
//!
//! `cargo test --release -p ssmc-wide --test loops -- --ignored --nocapture` times the tiled scan.

#![allow(unsafe_code, reason = "runs machine code")]

mod support;

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{
    AbiParam, ExtFuncData, ExternalName, FuncRef, Function, InstBuilder, MemFlagsData, Signature, Type, UserFuncName,
    Value, types,
};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use iced_x86::{Decoder, DecoderOptions, Encoder};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ssmc_wide::{Level, Primitive};
use support::{assert_same, by_cranelift, by_wide, grid, isa, levels, mapped, numbers, place, signature, vectors};

/// `L`, `D` and how many states each channel has.
#[derive(Clone, Copy)]
struct Scan {
    steps: i64,
    channels: i64,
    tile: i64,
}

const STATES: i64 = 16;

/// A constant vector, made where it is used.
fn constant(b: &mut FunctionBuilder<'_>, ty: Type, x: f32) -> Value {
    let x = b.ins().f32const(x);
    b.ins().splat(ty, x)
}

/// The exponential as the emitter has it, where the machine can scale.
fn exp(b: &mut FunctionBuilder<'_>, ty: Type, x: Value, scale: Option<FuncRef>) -> Value {
    let cast = |b: &mut FunctionBuilder<'_>, to: Type, v: Value| b.ins().bitcast(to, MemFlagsData::new(), v);
    let clamp = |b: &mut FunctionBuilder<'_>, x: Value, bound: f32, above: bool| {
        let bound = constant(b, ty, bound);
        let beyond = match above {
            true => b.ins().fcmp(FloatCC::LessThan, bound, x),
            false => b.ins().fcmp(FloatCC::LessThan, x, bound),
        };
        let beyond = cast(b, ty, beyond);
        b.ins().bitselect(beyond, bound, x)
    };
    let mut top = clamp(b, x, 89.0, true);
    if scale.is_none() {
        top = clamp(b, top, -176.1, false);
    }
    let step = if scale.is_some() { 2.0 } else { 1.0 };
    let (log, rounder) = (constant(b, ty, 0.721_347_5 * step), constant(b, ty, (12_582_912.0 + 127.0) * step));
    let shifted = b.ins().fma(top, log, rounder);
    let factor = b.ins().fsub(shifted, rounder);
    let (high, low) = (constant(b, ty, -1.386_230_5 / step), constant(b, ty, (-6.389_5e-5 + 5.0e-8) / step));
    let near = b.ins().fma(factor, high, top);
    let r = b.ins().fma(factor, low, near);
    let mut sum = constant(b, ty, 1.0 / 5040.0);
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        let c = constant(b, ty, c);
        sum = b.ins().fma(sum, r, c);
    }
    if let Some(scale) = scale {
        let (lowest, zero) = (constant(b, ty, -104.0), constant(b, ty, 0.0));
        let lasts = b.ins().fcmp(FloatCC::UnorderedOrGreaterThanOrEqual, x, lowest);
        let lasts = cast(b, ty, lasts);
        let call = b.ins().call(scale, &[sum, factor]);
        let scaled = b.inst_results(call)[0];
        return b.ins().bitselect(lasts, scaled, zero);
    }
    let bits = cast(b, ty.as_int(), shifted);
    let bits = b.ins().ishl_imm_u(bits, 23);
    let scale = cast(b, ty, bits);
    let once = b.ins().fmul(sum, scale);
    b.ins().fmul(once, scale)
}

/// [`Primitive::Scale`] on vectors of a type.
fn scale(b: &mut FunctionBuilder<'_>, ty: Type) -> FuncRef {
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params = vec![AbiParam::new(ty); 2];
    signature.returns = vec![AbiParam::new(ty)];
    let signature = b.import_signature(signature);
    let name = b.func.declare_imported_user_function(Primitive::Scale.name());
    let name = ExternalName::user(name);
    b.import_function(ExtFuncData { name, signature, colocated: false, patchable: false })
}

type Inner<'a> = &'a mut dyn FnMut(&mut FunctionBuilder<'_>, Value, Vec<Value>) -> Vec<Value>;

/// `for at in from..to step by`, carrying values.
fn each(b: &mut FunctionBuilder<'_>, range: [Value; 2], by: i64, carried: &[Value], inner: Inner<'_>) -> Vec<Value> {
    let (head, done) = (b.create_block(), b.create_block());
    let at = b.append_block_param(head, types::I64);
    let mut params = Vec::new();
    for &value in carried {
        let ty = b.func.dfg.value_type(value);
        params.push(b.append_block_param(head, ty));
        b.append_block_param(done, ty);
    }
    let start: Vec<_> = [range[0]].iter().chain(carried).map(|&v| v.into()).collect();
    b.ins().jump(head, &start);
    b.switch_to_block(head);
    let results = inner(b, at, params);
    let next = b.ins().iadd_imm_s(at, by);
    let more = b.ins().icmp(IntCC::SignedLessThan, next, range[1]);
    let again: Vec<_> = [next].iter().chain(&results).map(|&v| v.into()).collect();
    let out: Vec<_> = results.iter().map(|&v| v.into()).collect();
    b.ins().brif(more, head, &again, done, &out);
    b.switch_to_block(done);
    b.block_params(done).to_vec()
}

/// Mamba's scan in tiles of time: inputs `delta, u [L, D]`, `B, C [L, N]`, `A, h [D / lanes, N, lanes]`.
fn scan(ty: Type, Scan { channels, tile, .. }: Scan, level: Level) -> Function {
    let mut function = Function::with_name_signature(UserFuncName::user(0, 1), signature());
    let mut context = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut function, &mut context);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    let [table, out, steps] = b.block_params(entry)[..] else { panic!() };
    let scale = Primitive::Scale.is_at(level).then(|| scale(&mut b, ty));
    let bytes = i64::from(ty.bytes());
    let input = MemFlagsData::new().with_notrap().with_readonly().with_can_move();
    let memory = MemFlagsData::new().with_notrap();
    let p: Vec<Value> = (0..6).map(|n| b.ins().load(types::I64, input, table, n * 8)).collect();
    let (delta, u, inputs, outputs, decay, state) = (p[0], p[1], p[2], p[3], p[4], p[5]);
    let zero = b.ins().iconst(types::I64, 0);
    let row = b.ins().iconst(types::I64, channels * 4);
    each(&mut b, [zero, steps], tile, &[], &mut |b, first, _| {
        let last = b.ins().iadd_imm_s(first, tile);
        let at = b.ins().imul(first, row);
        let end = b.ins().imul(last, row);
        each(b, [zero, row], bytes, &[], &mut |b, channel, _| {
            let block = b.ins().imul_imm_s(channel, STATES);
            let (decay, state) = (b.ins().iadd(decay, block), b.ins().iadd(state, block));
            let h: Vec<Value> = (0..STATES).map(|n| b.ins().load(ty, memory, state, (n * bytes) as i32)).collect();
            let (from, to) = (b.ins().iadd(at, channel), b.ins().iadd(end, channel));
            let small = b.ins().imul_imm_s(first, STATES * 4);
            let carried: Vec<Value> = [small].into_iter().chain(h).collect();
            let after = each(b, [from, to], channels * 4, &carried, &mut |b, at, mut carried| {
                let small = carried[0];
                let (d, x) = (b.ins().iadd(delta, at), b.ins().iadd(u, at));
                let (d, x) = (b.ins().load(ty, input, d, 0), b.ins().load(ty, input, x, 0));
                let dx = b.ins().fmul(d, x);
                let (bs, cs) = (b.ins().iadd(inputs, small), b.ins().iadd(outputs, small));
                let mut y = constant(b, ty, 0.0);
                for n in 0..STATES {
                    let a = b.ins().load(ty, input, decay, (n * bytes) as i32);
                    let a = b.ins().fmul(d, a);
                    let a = exp(b, ty, a, scale);
                    let weight = b.ins().load(types::F32, input, bs, n as i32 * 4);
                    let weight = b.ins().splat(ty, weight);
                    let new = b.ins().fmul(dx, weight);
                    let h = b.ins().fma(a, carried[n as usize + 1], new);
                    let weight = b.ins().load(types::F32, input, cs, n as i32 * 4);
                    let weight = b.ins().splat(ty, weight);
                    y = b.ins().fma(h, weight, y);
                    carried[n as usize + 1] = h;
                }
                let to = b.ins().iadd(out, at);
                b.ins().store(memory, y, to, 0);
                carried[0] = b.ins().iadd_imm_s(small, STATES * 4);
                carried
            });
            for (n, &h) in (0..).zip(&after[1..]) {
                b.ins().store(memory, h, state, n * bytes as i32);
            }
            Vec::new()
        });
        Vec::new()
    });
    b.ins().return_(&[]);
    b.seal_all_blocks();
    b.finalize(isa().frontend_config());
    function
}

struct Data {
    inputs: Vec<Vec<f32>>,
    y: Vec<f32>,
}

fn data(scan: Scan, lanes: i64) -> Data {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut fill =
        |count: i64, from: f32, to: f32| -> Vec<f32> { (0..count).map(|_| random.random_range(from..to)).collect() };
    let (l, d) = (scan.steps, scan.channels);
    let mut inputs =
        vec![fill(l * d, 0.01, 0.2), fill(l * d, -1.0, 1.0), fill(l * STATES, -1.0, 1.0), fill(l * STATES, -1.0, 1.0)];
    let decay = fill(d * STATES, -16.0, -0.5);
    // [D, N] to [D / lanes, N, lanes]
    let packed = (0..d * STATES)
        .map(|at| {
            let (lane, n, block) = (at % lanes, at / lanes % STATES, at / lanes / STATES);
            decay[((block * lanes + lane) * STATES + n) as usize]
        })
        .collect();
    inputs.push(packed);
    inputs.push(vec![0.0; (d * STATES) as usize]);
    Data { inputs, y: vec![0.0; (l * d) as usize] }
}

fn expected(scan: Scan, data: &Data, lanes: i64) -> Vec<f64> {
    let (l, d) = (scan.steps as usize, scan.channels as usize);
    let (n, lanes) = (STATES as usize, lanes as usize);
    let mut h = vec![0f64; d * n];
    let mut y = Vec::new();
    let get = |input: usize, at: usize| f64::from(data.inputs[input][at]);
    for t in 0..l {
        for c in 0..d {
            let (delta, x) = (get(0, t * d + c), get(1, t * d + c));
            let mut sum = 0.0;
            for s in 0..n {
                let decay = get(4, (c / lanes * n + s) * lanes + c % lanes);
                let h = &mut h[c * n + s];
                *h = (delta * decay).exp() * *h + delta * x * get(2, t * n + s);
                sum += get(3, t * n + s) * *h;
            }
            y.push(sum);
        }
    }
    y
}

fn lanes_of(ty: Type) -> i64 {
    i64::from(ty.lane_count())
}

#[test]
fn the_scan_is_right_and_keeps_its_state_in_registers() {
    let size = Scan { steps: 48, channels: 32, tile: 16 };
    for level in levels() {
        for ty in vectors(level, types::F32) {
            let function = scan(ty, size, level);
            let mut data = data(size, lanes_of(ty));
            let expected = expected(size, &data, lanes_of(ty));
            let compiled = by_wide(&function, level);
            let pointers: Vec<*const u8> = data.inputs.iter().map(|i| i.as_ptr().cast()).collect();
            compiled.call(&pointers, data.y.as_mut_ptr().cast(), size.steps);
            let error = data.y.iter().zip(&expected).map(|(y, e)| (f64::from(*y) - e).abs()).fold(0.0, f64::max);
            assert!(error < 1e-5, "{level:?} {ty}: {error}");
            let stats = ssmc_wide::compile(&function, level).unwrap().stats;
            println!("{level:?} {ty}: {stats:?}");
            if level == Level::Avx512 {
                assert_eq!((stats.inner_moves, stats.inner_spills), (0, 0), "{ty}: {stats:?}");
                // Per state: a product, a clamp, 4 for the reduction, 7 of the polynomial, a comparison, the scale, 3 of
                // the recurrence, the two constants that are written over, and one that several chains side by side leave
                // no register for.
                assert!(stats.inner_instructions <= 16 * 21 + 16, "{ty}: {stats:?}");
            } else {
                assert!(stats.inner_moves <= 4, "{ty}: {stats:?}");
            }
        }
    }
}

/// The delta rule with one vector of values: `p = S k, u = b (v - p), S += k u, y = S q`, S of 16 vectors in registers.
/// Inputs: `v, [L, lanes]`, and `k, q [L, 16]`.
fn delta(ty: Type) -> Function {
    let mut function = Function::with_name_signature(UserFuncName::user(0, 1), signature());
    let mut context = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut function, &mut context);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    let [table, out, steps] = b.block_params(entry)[..] else { panic!() };
    let input = MemFlagsData::new().with_notrap().with_readonly().with_can_move();
    let p: Vec<Value> = (0..3).map(|n| b.ins().load(types::I64, input, table, n * 8)).collect();
    let zero = b.ins().iconst(types::I64, 0);
    let start: Vec<Value> = (0..16).map(|_| constant(&mut b, ty, 0.0)).collect();
    each(&mut b, [zero, steps], 1, &start, &mut |b, step, mut s| {
        let (wide, small) = (b.ins().imul_imm_s(step, i64::from(ty.bytes())), b.ins().ishl_imm_u(step, 6));
        let broadcast = |b: &mut FunctionBuilder<'_>, from: Value, n: usize| {
            let at = b.ins().iadd(from, small);
            let x = b.ins().load(types::F32, input, at, n as i32 * 4);
            b.ins().splat(ty, x)
        };
        let dot = |b: &mut FunctionBuilder<'_>, s: &[Value], from: Value| {
            // Two chains.
            let mut sums = [constant(b, ty, 0.0), constant(b, ty, 0.0)];
            for (n, &s) in s.iter().enumerate() {
                let x = broadcast(b, from, n);
                sums[n % 2] = b.ins().fma(s, x, sums[n % 2]);
            }
            b.ins().fadd(sums[0], sums[1])
        };
        let seen = dot(b, &s, p[1]);
        let at = b.ins().iadd(p[0], wide);
        let v = b.ins().load(ty, input, at, 0);
        let (rest, half) = (b.ins().fsub(v, seen), constant(b, ty, 0.5));
        let update = b.ins().fmul(rest, half);
        for (n, s) in s.iter_mut().enumerate() {
            let x = broadcast(b, p[1], n);
            *s = b.ins().fma(update, x, *s);
        }
        let y = dot(b, &s, p[2]);
        let at = b.ins().iadd(out, wide);
        b.ins().store(MemFlagsData::new().with_notrap(), y, at, 0);
        s
    });
    b.ins().return_(&[]);
    b.seal_all_blocks();
    b.finalize(isa().frontend_config());
    function
}

#[test]
fn the_delta_rule_is_right_and_reads_its_vectors_as_operands() {
    let steps = 40usize;
    for level in levels() {
        for ty in vectors(level, types::F32) {
            let lanes = lanes_of(ty) as usize;
            let mut random = ChaCha8Rng::seed_from_u64(7);
            let mut fill = |count: usize| -> Vec<f32> { (0..count).map(|_| random.random_range(-0.4..0.4)).collect() };
            let (v, k, q) = (fill(steps * lanes), fill(steps * 16), fill(steps * 16));
            let function = delta(ty);
            let mut out = vec![0f32; steps * lanes];
            let pointers: Vec<*const u8> = [&v, &k, &q].iter().map(|i| i.as_ptr().cast()).collect();
            by_wide(&function, level).call(&pointers, out.as_mut_ptr().cast(), steps as i64);
            for lane in 0..lanes {
                let mut s = [0f64; 16];
                for t in 0..steps {
                    let dot =
                        |s: &[f64; 16], x: &[f32]| -> f64 { s.iter().zip(x).map(|(s, &x)| s * f64::from(x)).sum() };
                    let (k, q) = (&k[t * 16..][..16], &q[t * 16..][..16]);
                    let update = 0.5 * (f64::from(v[t * lanes + lane]) - dot(&s, k));
                    s.iter_mut().zip(k).for_each(|(s, &k)| *s += update * f64::from(k));
                    let error = (f64::from(out[t * lanes + lane]) - dot(&s, q)).abs();
                    assert!(error < 1e-5, "{level:?} {ty} {t} {lane}: {error}");
                }
            }
            let stats = ssmc_wide::compile(&function, level).unwrap().stats;
            if level == Level::Avx512 {
                // The number of the step is taken twice, shifted.
                assert!(stats.inner_moves <= 1 && stats.inner_spills == 0, "{ty}: {stats:?}");
                // 48 multiplications and additions that read memory; four sums start, two end; the update; the loop.
                assert!(stats.inner_instructions <= 48 + 20, "{ty}: {stats:?}");
            }
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn time_of_the_scan() {
    for tile in [16, 32, 64] {
        let size = Scan { steps: 2048, channels: 1024, tile };
        for level in levels() {
            for ty in vectors(level, types::F32) {
                let function = scan(ty, size, level);
                let mut data = data(size, lanes_of(ty));
                let compiled = place(&function, &ssmc_wide::compile(&function, level).unwrap());
                let pointers: Vec<*const u8> = data.inputs.iter().map(|i| i.as_ptr().cast()).collect();
                let mut best = f64::INFINITY;
                for _ in 0..12 {
                    let start = std::time::Instant::now();
                    compiled.call(&pointers, data.y.as_mut_ptr().cast(), size.steps);
                    best = best.min(start.elapsed().as_secs_f64() * 1e3);
                }
                println!("tile {tile}, {level:?} {ty}: {best:.2} ms");
            }
        }
    }
}

/// A random body: operations on earlier values, with an inner loop that carries some.
fn random_body(b: &mut FunctionBuilder<'_>, inputs: &[Value], seed: u64) -> Value {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let ty = b.func.dfg.value_type(inputs[0]);
    let mut known = inputs.to_vec();
    let mut some = |b: &mut FunctionBuilder<'_>, known: &mut Vec<Value>, count: usize| {
        for _ in 0..count {
            let mut pick = || known[random.random_range(0..known.len())];
            let (x, y, z) = (pick(), pick(), pick());
            let value = match random.random_range(0..14) {
                0 => b.ins().fadd(x, y),
                1 => b.ins().fsub(x, y),
                2 | 3 => b.ins().fmul(x, y),
                4..=7 => b.ins().fma(x, y, z),
                8 => b.ins().fneg(x),
                9 => b.ins().fabs(x),
                10 => {
                    let c = b.ins().fcmp(FloatCC::LessThan, x, y);
                    let c = b.ins().bitcast(ty, MemFlagsData::new(), c);
                    b.ins().bitselect(c, z, x)
                }
                11 => {
                    let (c, d) = (b.ins().fcmp(FloatCC::GreaterThan, x, y), b.ins().fcmp(FloatCC::NotEqual, z, x));
                    let c = b.ins().band(c, d);
                    let c = b.ins().bitcast(ty, MemFlagsData::new(), c);
                    b.ins().bitselect(c, y, z)
                }
                12 => {
                    let lane = ty.lane_type();
                    let n = f64::from(random.random_range(-8..8));
                    let c = if lane == types::F32 { b.ins().f32const(n as f32) } else { b.ins().f64const(n) };
                    b.ins().splat(ty, c)
                }
                _ => b.ins().trunc(x),
            };
            known.push(value);
        }
    };
    some(b, &mut known, 20);
    let (zero, three) = (b.ins().iconst(types::I64, 0), b.ins().iconst(types::I64, 3));
    let carried: Vec<Value> = known.iter().rev().take(6).copied().collect();
    let outside = known.clone();
    let after = each(b, [zero, three], 1, &carried, &mut |b, _, carried| {
        let mut known: Vec<Value> = outside.iter().rev().take(5).copied().chain(carried).collect();
        some(b, &mut known, 30);
        known.iter().rev().take(6).copied().collect()
    });
    known.extend(after);
    some(b, &mut known, 15);
    known.iter().rev().take(30).copied().reduce(|x, y| b.ins().fadd(x, y)).expect("there are values")
}

#[test]
fn random_functions_agree() {
    for seed in 0..40 {
        let lane = if seed % 2 == 0 { types::F32 } else { types::F64 };
        let (data, bytes) = grid(&numbers(lane == types::F64)[..12], 2, lane.bytes() as usize);
        let narrow = lane.by(16 / lane.bytes()).unwrap();
        let body = |b: &mut FunctionBuilder<'_>, v: &[Value]| random_body(b, v, seed);
        let expected = by_cranelift(&mapped(narrow, 2, &body)).run(&data, bytes);
        for level in levels() {
            for ty in vectors(level, lane) {
                let got = by_wide(&mapped(ty, 2, &body), level).run(&data, bytes);
                assert_same(&format!("seed {seed}, {level:?}"), ty, true, &expected, &got, &data);
            }
        }
    }
}

#[test]
fn routines_are_called_with_all_registers_saved() {
    let body = |b: &mut FunctionBuilder<'_>, v: &[Value]| {
        let mut signature = cranelift_codegen::ir::Signature::new(cranelift_codegen::isa::CallConv::SystemV);
        signature.params = vec![cranelift_codegen::ir::AbiParam::new(types::F32); 2];
        signature.returns = vec![cranelift_codegen::ir::AbiParam::new(types::F32)];
        let signature = b.import_signature(signature);
        let name = cranelift_codegen::ir::UserExternalName { namespace: 0, index: support::ROUTINE };
        let name = b.func.declare_imported_user_function(name);
        let callee = b.import_function(cranelift_codegen::ir::ExtFuncData {
            name: cranelift_codegen::ir::ExternalName::user(name),
            signature,
            colocated: false,
            patchable: false,
        });
        let ty = b.func.dfg.value_type(v[0]);
        let mut out = v[0];
        let product = b.ins().fmul(v[0], v[1]);
        let mask = b.ins().fcmp(FloatCC::LessThan, v[0], v[1]);
        for n in 0..ty.lane_count() as u8 {
            let (x, y) = (b.ins().extractlane(v[0], n), b.ins().extractlane(v[1], n));
            let call = b.ins().call(callee, &[x, y]);
            let value = b.inst_results(call)[0];
            out = b.ins().insertlane(out, value, n);
        }
        let mask = b.ins().bitcast(ty, MemFlagsData::new(), mask);
        let chosen = b.ins().bitselect(mask, out, product);
        b.ins().fadd(chosen, product)
    };
    let (data, bytes) = grid(&numbers(false), 2, 4);
    let expected = by_cranelift(&mapped(types::F32X4, 2, &body)).run(&data, bytes);
    for level in levels() {
        for ty in vectors(level, types::F32) {
            let got = by_wide(&mapped(ty, 2, &body), level).run(&data, bytes);
            assert_same(&format!("{level:?}"), ty, true, &expected, &got, &data);
        }
    }
}

#[test]
fn what_is_encoded_decodes_and_encodes_to_the_same() {
    for level in levels() {
        for ty in vectors(level, types::F32) {
            let code = ssmc_wide::compile(&scan(ty, Scan { steps: 32, channels: 32, tile: 16 }, level), level).unwrap();
            let mut decoder = Decoder::new(64, &code.bytes[..code.code_size], DecoderOptions::NONE);
            let mut encoder = Encoder::new(64);
            for instruction in &mut decoder {
                assert!(!instruction.is_invalid(), "{level:?} {ty} at {}", instruction.ip());
                encoder.encode(&instruction, instruction.ip()).unwrap();
            }
            assert_eq!(encoder.take_buffer(), code.bytes[..code.code_size], "{level:?} {ty}");
        }
    }
}

#[test]
fn what_has_no_code_is_refused() {
    for level in levels() {
        let function = mapped(types::I8X16, 1, &|b, v| b.ins().popcnt(v[0]));
        let refused = ssmc_wide::compile(&function, level).unwrap_err();
        assert!(refused.to_string().contains("popcnt"), "{refused}");
    }
    let wide = mapped(types::F32X16, 1, &|b, v| b.ins().fneg(v[0]));
    assert!(ssmc_wide::compile(&wide, Level::Avx2).is_err());
}
