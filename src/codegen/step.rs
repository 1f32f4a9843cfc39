//! The loop over time, and the reset.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type, Value, types};
use ssmc_runtime::kernel::{Arguments, Buffer, Slot, Tensors, WHOLE};

use super::Emitter;
use super::region::Call;
use crate::ir::Scalar;
use crate::plan::{Form, Phase, Steps};

impl<'a> Emitter<'a, '_> {
    /// The whole function.
    pub(super) fn function(&mut self) {
        let entry = self.b.current_block().expect("the builder stands in the entry");
        let arguments = self.b.block_params(entry)[0];
        let flags = MemFlagsData::trusted().with_readonly().with_can_move();
        let field = |this: &mut Self, offset: usize| this.b.ins().load(types::I64, flags, arguments, offset as i32);
        let table = field(self, std::mem::offset_of!(Arguments, pointers));
        let begin = field(self, std::mem::offset_of!(Arguments, begin));
        let end = field(self, std::mem::offset_of!(Arguments, end));
        let number = field(self, std::mem::offset_of!(Arguments, number));
        let from = field(self, std::mem::offset_of!(Arguments, from));
        let to = field(self, std::mem::offset_of!(Arguments, to));
        for (n, slot) in self.slots.iter().enumerate() {
            let pointer = self.b.ins().load(types::I64, flags, table, n as i32 * 8);
            self.pointers.insert(*slot, pointer);
        }
        for phase in self.phases {
            let call = match phase.is_apart() {
                true => {
                    let (first, last) = (self.b.ins().iadd(begin, from), self.b.ins().iadd(begin, to));
                    let all = (self.int(0), self.int(WHOLE as i64));
                    Call { tile: begin, begin: first, end: self.b.ins().smin(last, end), number, blocks: all }
                }
                false => Call { tile: begin, begin, end, number, blocks: (from, to) },
            };
            match phase {
                Phase::Steps(steps) if self.plan.form == Form::Step => self.step(steps, begin, call),
                Phase::Steps(steps) => self.steps(steps, call),
                Phase::Region(region) => self.region(region, call),
            }
        }
        self.b.ins().return_(&[]);
    }

    /// One step after the other.
    fn steps(&mut self, steps: &'a Steps, call: Call) {
        let (header, body, exit) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let time = self.b.append_block_param(header, types::I64);
        // Backwards, the parameter is the step behind the one that runs.
        let start = if self.pass.reverse { call.end } else { call.begin };
        self.b.ins().jump(header, &[start.into()]);
        self.b.switch_to_block(header);
        let more = match self.pass.reverse {
            true => self.b.ins().icmp(IntCC::SignedGreaterThan, time, call.begin),
            false => self.b.ins().icmp(IntCC::SignedLessThan, time, call.end),
        };
        self.b.ins().brif(more, body, &[], exit, &[]);
        self.b.switch_to_block(body);
        let (now, next) = match self.pass.reverse {
            true => {
                let now = self.b.ins().iadd_imm_s(time, -1);
                (now, now)
            }
            false => (time, self.b.ins().iadd_imm_s(time, 1)),
        };
        self.step(steps, now, call);
        self.b.ins().jump(header, &[next.into()]);
        self.b.switch_to_block(exit);
        self.rows.clear();
        self.times.clear();
    }

    /// One step, the `time`-th of the tensors.
    fn step(&mut self, steps: &'a Steps, time: Value, call: Call) {
        for slot in self.slots {
            let signature = &self.plan.signature;
            let (slice, steps) = match slot.buffer {
                Buffer::Input(i) => (&signature.inputs[i], signature.steps),
                Buffer::Output(i) => (&signature.outputs[i], signature.steps),
                Buffer::Kept(i) => (&signature.kept[i], 1),
                _ => continue,
            };
            let bytes = slice.size() * steps * slice.kind.bytes(signature.bits);
            let offset = self.scaled(time, bytes as i64);
            let row = self.b.ins().iadd(self.pointers[slot], offset);
            self.rows.insert(*slot, row);
        }
        self.enter(time, call);
        let step = self.b.ins().iadd(call.number, time);
        for &d in &self.pass.delays {
            let rows = self.plan.signature.delays[d].depth as i64 + 1;
            let ring = self.b.ins().urem_imm_u(step, rows);
            self.rings.insert(d, ring);
        }
        self.now = step;
        for nest in &steps.cone {
            self.nest(nest);
        }
        let reset = self.pass.reset.map(|value| {
            let place = self.pass.places[value.at()].expect("the condition of the reset has a place");
            let (base, offset) = self.first(value, place);
            self.load_one(Scalar::Bool, place.buffer, base, offset as i32)
        });
        if let Some(reset) = reset {
            if !self.pass.reverse {
                self.reset_if(reset);
            }
            self.first = self.b.ins().bor(self.first, reset);
        }
        for nest in &steps.body {
            self.nest(nest);
        }
        // Seen backwards, the step before a reset is the first one after it.
        if let Some(reset) = reset
            && self.pass.reverse
        {
            self.reset_if(reset);
        }
    }

    fn reset_if(&mut self, reset: Value) {
        let (cold, on) = (self.b.create_block(), self.b.create_block());
        self.b.set_cold_block(cold);
        self.b.ins().brif(reset, cold, &[], on, &[]);
        self.b.switch_to_block(cold);
        for &s in &self.pass.states {
            let slice = self.plan.signature.states[s].clone();
            self.copy_all(&slice, Buffer::Initial(s), Buffer::State(s));
        }
        for &d in &self.pass.delays {
            self.forget(d);
        }
        self.b.ins().jump(on, &[]);
        self.b.switch_to_block(on);
    }

    fn planes(slice: &Tensors) -> &'static [bool] {
        if slice.kind == ssmc_runtime::kernel::Kind::Complex { &[false, true] } else { &[false] }
    }

    fn copy_all(&mut self, slice: &Tensors, from: Buffer, to: Buffer) {
        let size = slice.kind.bytes(self.plan.signature.bits);
        let ty = Type::int(size as u16 * 8).expect("elements have 1, 4 or 8 bytes");
        for &imaginary in Self::planes(slice) {
            let from = self.pointers[&Slot { buffer: from, imaginary }];
            let to = self.pointers[&Slot { buffer: to, imaginary }];
            self.bytes_loop(slice.size(), size, &mut |this, at| {
                let flags = MemFlagsData::new().with_notrap().with_aligned();
                let (from, to) = (this.b.ins().iadd(from, at), this.b.ins().iadd(to, at));
                let value = this.b.ins().load(ty, flags, from, 0);
                this.b.ins().store(flags, value, to, 0);
            });
        }
    }

    /// Zeroes the rows of all earlier steps.
    fn forget(&mut self, delay: usize) {
        let line = self.plan.signature.delays[delay].clone();
        let size = line.slice.kind.bytes(self.plan.signature.bits);
        let ty = Type::int(size as u16 * 8).expect("elements have 1, 4 or 8 bytes");
        let rows = line.depth + 1;
        let row = line.slice.size();
        let now = self.rings[&delay];
        let now = self.scaled(now, (row * size) as i64);
        for &imaginary in Self::planes(&line.slice) {
            let base = self.pointers[&Slot { buffer: Buffer::Delay(delay), imaginary }];
            self.bytes_loop(rows * row, size, &mut |this, at| {
                // The row of this step keeps what it has.
                let flags = MemFlagsData::new().with_notrap().with_aligned();
                let address = this.b.ins().iadd(base, at);
                let old = this.b.ins().load(ty, flags, address, 0);
                let zero = this.b.ins().iconst(ty, 0);
                let into = this.b.ins().isub(at, now);
                let mine = this.b.ins().icmp_imm_u(IntCC::UnsignedLessThan, into, (row * size) as i64);
                let value = this.b.ins().select(mine, old, zero);
                this.b.ins().store(flags, value, address, 0);
            });
        }
    }

    /// A loop over the byte offsets of `count` elements.
    fn bytes_loop(&mut self, count: usize, size: usize, body: &mut dyn FnMut(&mut Self, Value)) {
        if count == 0 {
            return;
        }
        let (header, exit) = (self.b.create_block(), self.b.create_block());
        self.b.set_cold_block(header);
        let at = self.b.append_block_param(header, types::I64);
        let zero = self.int(0);
        self.b.ins().jump(header, &[zero.into()]);
        self.b.switch_to_block(header);
        body(self, at);
        let next = self.b.ins().iadd_imm_s(at, size as i64);
        let more = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, next, (count * size) as i64);
        self.b.ins().brif(more, header, &[next.into()], exit, &[]);
        self.b.switch_to_block(exit);
        self.b.set_cold_block(exit);
    }
}

/// Keeps the sizes that the plan and the runtime give to elements in step.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::element_bytes;
    use ssmc_runtime::kernel::Kind;

    #[test]
    fn elements_have_one_size() {
        let pairs = [(Scalar::Real, Kind::Real), (Scalar::Int, Kind::Int), (Scalar::Bool, Kind::Bool)];
        for (scalar, kind) in pairs {
            for bits in [32, 64] {
                assert_eq!(element_bytes(scalar, bits), kind.bytes(bits));
            }
        }
    }
}
