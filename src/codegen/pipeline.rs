//! The steps of a region where the first loop of each runs with the last one of the step before.
//!
//! In: a region with [`Pipelined`] loops. Out: the first loop of the first step; for all steps but the last what is left of them, with
//! the first loop of the next; what is left of the last. What the first loop sums up goes from turn to turn in registers; in the one
//! that computes it, it is that of a later step, as with steps side by side.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{BlockArg, InstBuilder, Value, types};

use super::Emitter;
use super::region::Call;
use super::turns::summed;
use crate::ir::Scalar;
use crate::plan::{Item, Pipelined, Region};

impl<'a> Emitter<'a, '_> {
    /// The steps of the tile, for one block, where the first loop of each runs with the last one of the step before.
    pub(super) fn pipelined_of(&mut self, region: &'a Region, pipelined: &'a Pipelined, call: Call) {
        self.prepare_all(region);
        let ahead = self.ahead(region);
        let Some((reading, rest)) = region.items.split_first() else { return };
        let start = self.scoped(|this| {
            this.enter(call.begin, call);
            this.items(std::slice::from_ref(reading));
            this.found(pipelined, 0)
        });
        self.times.clear();
        let (header, exit) = (self.b.create_block(), self.b.create_block());
        let time = self.b.append_block_param(header, types::I64);
        let (mut params, mut results) = (Vec::new(), Vec::new());
        for &value in &start {
            let ty = self.b.func.dfg.value_type(value);
            params.push(self.b.append_block_param(header, ty));
            results.push(self.b.append_block_param(exit, ty));
        }
        let last = self.b.ins().iadd_imm_s(call.end, -1);
        let more = self.b.ins().icmp(IntCC::SignedLessThan, call.begin, last);
        let again: Vec<BlockArg> = [call.begin].iter().chain(&start).map(|&v| v.into()).collect();
        let done: Vec<BlockArg> = start.iter().map(|&v| v.into()).collect();
        self.b.ins().brif(more, header, &again, exit, &done);
        self.b.switch_to_block(header);
        let found = self.scoped(|this| {
            this.enter(time, call);
            this.touch(region, ahead);
            this.fetch_tile(region);
            this.know(pipelined, &params);
            for (n, item) in rest.iter().enumerate() {
                match item {
                    Item::One(statement) => this.statement(statement),
                    Item::Loop(_) if rest[n + 1..].iter().all(|item| matches!(item, Item::One(_))) => {
                        this.fused(&pipelined.fused, Some(pipelined));
                    }
                    Item::Loop(fused) => this.fused(fused, None),
                }
            }
            this.found(pipelined, 1)
        });
        self.times.clear();
        let next = self.b.ins().iadd_imm_s(time, 1);
        let more = self.b.ins().icmp(IntCC::SignedLessThan, next, last);
        let again: Vec<BlockArg> = [next].iter().chain(&found).map(|&v| v.into()).collect();
        let done: Vec<BlockArg> = found.iter().map(|&v| v.into()).collect();
        self.b.ins().brif(more, header, &again, exit, &done);
        self.b.switch_to_block(exit);
        self.scoped(|this| {
            this.enter(last, call);
            this.touch(region, ahead);
            this.fetch_tile(region);
            this.know(pipelined, &results);
            this.items(rest);
        });
        self.times.clear();
    }

    /// What the first loop of a step has summed up, of this step or of one behind it.
    fn found(&mut self, pipelined: &'a Pipelined, later: i64) -> Vec<Value> {
        self.later = later;
        let mut found = Vec::new();
        for statement in pipelined.ahead.iter().filter(|statement| statement.sums) {
            let place = self.known_place(&statement.at).expect("a sum is outside of its loop");
            let value = self.registers[&self.element(statement.value, place)].clone();
            let vectors = self.varies(summed(statement).1);
            found.extend(self.carried_of(&value, vectors));
        }
        self.later = 0;
        found
    }

    /// Takes what was found before as that of this step.
    fn know(&mut self, pipelined: &'a Pipelined, found: &[Value]) {
        let mut left = found;
        for statement in pipelined.ahead.iter().filter(|statement| statement.sums) {
            let place = self.known_place(&statement.at).expect("a sum is outside of its loop");
            let (ty, vectors) = (statement.body.ty, self.varies(summed(statement).1));
            let planes = if ty == Scalar::Complex { 2 } else { 1 };
            let (mine, others) = left.split_at(planes * if vectors { self.parts() } else { 1 });
            left = others;
            let value = self.value_of(ty, mine, self.parts(), vectors);
            self.registers.insert(self.element(statement.value, place), value);
        }
    }

    /// What this step has made of an element of a state is what the one behind it starts with.
    pub(super) fn hand_over(&mut self, pipelined: &'a Pipelined) {
        for &(before, after) in &pipelined.states {
            for statement in pipelined.fused.body.iter().filter(|statement| statement.value == after) {
                let place = self.known_place(&statement.at).expect("the loops of a region have all its indices");
                let value = self.registers[&(after, place.clone())].clone();
                self.registers.insert((before, place), value);
            }
        }
    }
}
