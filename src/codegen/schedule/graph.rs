//! What has to stay in order.
//!
//! A unit is an instruction together with those before it that the selector takes into it: a load, a broadcast, a
//! comparison or a negation that nothing else uses.

use std::collections::{HashMap, HashSet};

use cranelift_codegen::ir::{Function, Inst, InstructionData, Opcode, Value};

use super::live::{Marks, register};
use super::{definition, is_access, is_free, latency};

/// How many accesses are told apart before a store is put behind all of them.
const ACCESSES: usize = 256;

/// A unit.
#[derive(Debug, Default)]
pub(super) struct Unit {
    /// Its instructions, in order.
    pub(super) insts: Vec<Inst>,
    /// How many cycles after it its result can be used.
    pub(super) latency: u32,
    /// The units that it waits for, and whether it uses their results.
    pub(super) before: Vec<(usize, bool)>,
    /// The units that wait for it, and whether they use its result.
    pub(super) next: Vec<(usize, bool)>,
    /// The vector registers that it reads, each once.
    pub(super) reads: Vec<usize>,
    /// The vector register that it writes, if the result is of use.
    pub(super) writes: Option<usize>,
    /// Whether it takes a vector unit.
    pub(super) computes: bool,
    /// The longest way from the start to here, in cycles.
    pub(super) depth: u32,
}

/// Instructions between two that keep their places.
pub(super) struct Graph<'a> {
    insts: &'a [Inst],
    pub(super) units: Vec<Unit>,
    /// By instruction: the unit that it is in.
    unit_of: HashMap<Inst, usize>,
    free: HashSet<Inst>,
    /// The numbers of the values in vector registers.
    pub(super) registers: HashMap<Value, usize>,
}

/// An access of memory that is not read-only.
struct Access {
    unit: usize,
    base: Option<Value>,
    from: i64,
    to: i64,
    stores: bool,
}

impl<'a> Graph<'a> {
    /// The units of some instructions of a block.
    pub(super) fn new(f: &Function, marks: &Marks, insts: &'a [Inst]) -> Graph<'a> {
        let free: HashSet<Inst> = insts.iter().copied().filter(|&inst| is_free(f, inst)).collect();
        let mut graph = Graph { insts, units: Vec::new(), unit_of: HashMap::new(), free, registers: HashMap::new() };
        graph.join(f, marks);
        graph.connect(f);
        graph.order_memory(f);
        for unit in &mut graph.units {
            unit.next.sort_unstable();
            // The use of a result counts, where there is more than one reason.
            unit.next.reverse();
            unit.next.dedup_by_key(|next| next.0);
        }
        for n in 0..graph.units.len() {
            let Unit { depth, latency, ref next, .. } = graph.units[n];
            for (next, uses) in next.clone() {
                let behind = depth + if uses { latency } else { 0 };
                let next = &mut graph.units[next];
                next.depth = next.depth.max(behind);
                next.before.push((n, uses));
            }
        }
        graph
    }

    /// Finds the units.
    fn join(&mut self, f: &Function, marks: &Marks) {
        let mut stores = 0;
        let mut writes_before = HashMap::new();
        let mut users: HashMap<Value, Inst> = HashMap::new();
        for &inst in self.insts {
            writes_before.insert(inst, stores);
            stores += usize::from(is_access(f, inst) && f.dfg.insts[inst].opcode().can_store());
            for value in f.dfg.inst_values(inst) {
                users.insert(f.dfg.resolve_aliases(value), inst);
            }
        }
        // From the end: a unit may be taken in by a later one.
        let mut last: HashMap<Inst, Inst> = HashMap::new();
        for &inst in self.insts.iter().rev().filter(|inst| !self.free.contains(inst)) {
            let user = f.dfg.inst_results(inst).first().and_then(|result| {
                let alone = marks.uses[result.as_u32() as usize] == 1;
                users.get(result).filter(|user| alone && !self.free.contains(user))
            });
            let leader = user.and_then(|user| last.get(user)).filter(|leader| {
                let data = &f.dfg.insts[inst];
                match data.opcode() {
                    Opcode::Load => {
                        let readonly = data.memflags().is_some_and(|flags| f.dfg.mem_flags[flags].readonly());
                        let float = register(f, f.dfg.first_result(inst)).is_some();
                        float && (readonly || writes_before[&inst] == writes_before[*leader])
                    }
                    Opcode::Splat | Opcode::Fcmp | Opcode::Icmp | Opcode::Fneg => true,
                    _ => false,
                }
            });
            last.insert(inst, leader.copied().unwrap_or(inst));
        }
        for &inst in self.insts.iter().filter(|inst| last.get(inst) == Some(inst)) {
            self.unit_of.insert(inst, self.units.len());
            self.units.push(Unit::default());
        }
        for &inst in self.insts {
            let Some(leader) = last.get(&inst) else { continue };
            let unit = self.unit_of[leader];
            self.unit_of.insert(inst, unit);
            self.units[unit].insts.push(inst);
        }
        for unit in &mut self.units {
            let leader = *unit.insts.last().expect("a unit has instructions");
            unit.latency = latency(f, leader);
            unit.computes = !is_access(f, leader);
            let result = f.dfg.inst_results(leader).first().copied();
            let register = result.filter(|r| marks.uses[r.as_u32() as usize] > 0).and_then(|r| register(f, r));
            let count = self.registers.len();
            unit.writes = register.map(|value| *self.registers.entry(value).or_insert(count));
        }
    }

    /// Notes what each unit uses.
    fn connect(&mut self, f: &Function) {
        let mut through: HashMap<Inst, Vec<usize>> = HashMap::new();
        for &inst in self.insts {
            let mut from = Vec::new();
            for value in f.dfg.inst_values(inst) {
                let Some(def) = definition(f, value) else { continue };
                match self.unit_of.get(&def) {
                    Some(&unit) => from.push(unit),
                    None => from.extend(through.get(&def).into_iter().flatten()),
                }
            }
            from.sort_unstable();
            from.dedup();
            let Some(&unit) = self.unit_of.get(&inst) else {
                through.insert(inst, from);
                continue;
            };
            for before in from.into_iter().filter(|&before| before != unit) {
                self.units[before].next.push((unit, true));
            }
            for value in f.dfg.inst_values(inst) {
                let inside = definition(f, value).and_then(|def| self.unit_of.get(&def)) == Some(&unit);
                let Some(value) = register(f, value).filter(|_| !inside) else { continue };
                let count = self.registers.len();
                let number = *self.registers.entry(value).or_insert(count);
                if !self.units[unit].reads.contains(&number) {
                    self.units[unit].reads.push(number);
                }
            }
        }
    }

    /// Keeps accesses of memory in order, where one of two writes and they may meet.
    fn order_memory(&mut self, f: &Function) {
        let mut seen: Vec<Access> = Vec::new();
        for &inst in self.insts {
            let Some(&unit) = self.unit_of.get(&inst) else { continue };
            let Some(access) = access(f, unit, inst) else { continue };
            // A store: the units of loads before it stand before it too, which is not so between loads.
            let all = access.stores && seen.len() >= ACCESSES;
            for before in seen.iter().filter(|before| before.unit != unit && (all || may_meet(before, &access))) {
                self.units[before.unit].next.push((unit, false));
            }
            if all {
                // All that follow wait for this one.
                seen.clear();
                seen.push(Access { base: None, stores: true, ..access });
            } else {
                seen.push(access);
            }
        }
    }

    /// Writes the instructions of the units in an order; what is free goes in front of its first use.
    pub(super) fn emit(&self, f: &Function, order: &[usize], to: &mut Vec<Inst>) {
        let mut left = self.free.clone();
        let mut demand = |inst: Inst, to: &mut Vec<Inst>| {
            let mut stack = vec![(inst, false)];
            while let Some((inst, done)) = stack.pop() {
                if done {
                    if left.remove(&inst) || !self.free.contains(&inst) {
                        to.push(inst);
                    }
                    continue;
                }
                stack.push((inst, true));
                for value in f.dfg.inst_values(inst) {
                    if let Some(def) = definition(f, value).filter(|def| left.contains(def)) {
                        stack.push((def, false));
                    }
                }
            }
        };
        for &unit in order {
            for &inst in &self.units[unit].insts {
                demand(inst, to);
            }
        }
        for &inst in self.insts.iter().filter(|inst| self.free.contains(inst)) {
            demand(inst, to);
        }
    }
}

fn access(f: &Function, unit: usize, inst: Inst) -> Option<Access> {
    let (pointer, offset, bytes, stores) = match f.dfg.insts[inst] {
        InstructionData::Load { flags, arg, offset, .. } => {
            if f.dfg.mem_flags[flags].readonly() {
                return None;
            }
            (arg, offset, f.dfg.value_type(f.dfg.first_result(inst)).bytes(), false)
        }
        InstructionData::Store { args, offset, .. } => (args[1], offset, f.dfg.value_type(args[0]).bytes(), true),
        _ => return None,
    };
    let from = i64::from(i32::from(offset));
    // Some operations access fewer bytes than their values have; none accesses more.
    let to = from + i64::from(bytes);
    Some(Access { unit, base: Some(f.dfg.resolve_aliases(pointer)), from, to, stores })
}

fn may_meet(a: &Access, b: &Access) -> bool {
    let apart = a.base.is_some() && a.base == b.base && (a.to <= b.from || b.to <= a.from);
    (a.stores || b.stores) && !apart
}
