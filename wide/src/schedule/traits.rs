//! What the order of instructions depends on: memory, flags, latencies.

use iced_x86::Mnemonic;
use regalloc2::{Operand, OperandKind, VReg};

use crate::inst::{Arg, Base, INT, Ins, Kind, Mem, View};

/// Where an access of memory is, as far as it is known.
#[derive(Clone, Copy)]
pub(super) struct Place {
    mem: Mem<VReg>,
    bytes: i32,
}

impl Place {
    /// Whether two accesses certainly touch different bytes.
    pub(super) fn is_apart(&self, other: &Place) -> bool {
        let (a, b) = (self, other);
        match (a.mem.base, b.mem.base) {
            (Base::Reg(x), Base::Reg(y)) => x == y && a.mem.index == b.mem.index && a.is_beside(b),
            (Base::Stack(x), Base::Stack(y)) => x != y || (a.mem.index == b.mem.index && a.is_beside(b)),
            // Nothing writes the pool.
            (Base::Pool(_), _) | (_, Base::Pool(_)) => true,
            // The address of a slot may be in a register.
            (Base::Reg(_), Base::Stack(_)) | (Base::Stack(_), Base::Reg(_)) => false,
        }
    }

    fn is_beside(&self, other: &Place) -> bool {
        let (low, high) = if self.mem.disp <= other.mem.disp { (self, other) } else { (other, self) };
        i64::from(low.mem.disp) + i64::from(low.bytes) <= i64::from(high.mem.disp)
    }
}

/// What an instruction reads or writes in memory, and whether it writes.
pub(super) fn access(ins: &Ins) -> Option<(Place, bool)> {
    if is_prefetch(ins) {
        return None;
    }
    let mut size = 8;
    let mut found = None;
    for (n, arg) in ins.args.iter().enumerate() {
        match arg {
            Arg::Mem(mem) => found = Some((*mem, n == 0)),
            Arg::Reg(_, view) | Arg::Rm(_, view, _) => size = size.max(bytes(*view)),
            Arg::Imm(_) => {}
        }
    }
    let (mem, writes) = found?;
    let reg = |slot: u8| ins.operands[usize::from(slot)].vreg();
    let base = match mem.base {
        Base::Reg(slot) => Base::Reg(reg(slot)),
        Base::Pool(at) => Base::Pool(at),
        Base::Stack(at) => Base::Stack(at),
    };
    let index = mem.index.map(|(slot, scale)| (reg(slot), scale));
    let mem = Mem { base, index, disp: mem.disp, broadcast: mem.broadcast };
    Some((Place { mem, bytes: size }, writes))
}

fn bytes(view: View) -> i32 {
    match view {
        View::R8 | View::R16 | View::R32 | View::R64 | View::K => 8,
        View::Xmm => 16,
        View::Ymm => 32,
        View::Zmm => 64,
    }
}

/// Whether an instruction only asks for a cache line.
pub(super) fn is_prefetch(ins: &Ins) -> bool {
    mnemonic(ins) == Mnemonic::Prefetcht0
}

/// Whether an instruction works on vector or mask registers.
pub(super) fn is_vector(ins: &Ins) -> bool {
    ins.operands.iter().any(|o| o.class() != INT)
}

fn mnemonic(ins: &Ins) -> Mnemonic {
    match ins.kind {
        Kind::Code(code) => code.mnemonic(),
        _ => Mnemonic::INVALID,
    }
}

/// Whether an instruction fills a vector register from memory, from a general register, or with zeros.
pub(super) fn is_load(ins: &Ins) -> bool {
    let reads = |o: &Operand| o.kind() == OperandKind::Use && o.class() != INT;
    is_vector(ins) && !ins.operands.iter().any(reads)
}

/// Whether an instruction only writes to memory.
pub(super) fn is_store(ins: &Ins) -> bool {
    access(ins).is_some_and(|(_, writes)| writes)
}

pub(super) fn touches_flags(ins: &Ins) -> bool {
    use Mnemonic::*;
    (!is_vector(ins) && !is_prefetch(ins))
        || matches!(
            mnemonic(ins),
            Vucomiss
                | Vucomisd
                | Vcomiss
                | Vcomisd
                | Vptest
                | Vtestps
                | Vtestpd
                | Kortestb
                | Kortestw
                | Kortestd
                | Kortestq
                | Ktestb
                | Ktestw
                | Ktestd
                | Ktestq
        )
}

/// After how many cycles a result can be used, on processors of today.
pub(super) fn latency(ins: &Ins) -> u32 {
    use Mnemonic::*;
    let name = mnemonic(ins);
    let loaded = if ins.args.iter().any(|arg| matches!(arg, Arg::Mem(_))) { 5 } else { 0 };
    if !is_vector(ins) || is_load(ins) {
        return loaded + 1;
    }
    let own = match name {
        Vdivps | Vdivss | Vdivpd | Vdivsd | Vsqrtps | Vsqrtss | Vsqrtpd | Vsqrtsd => 14,
        Vrndscaleps | Vrndscalepd | Vroundps | Vroundpd | Vpmulld => 8,
        Vpermps | Vpermd | Vperm2f128 | Vextractf128 | Vinsertf128 | Vbroadcastss | Vbroadcastsd | Vmovd | Vmovq => 3,
        Vandps | Vorps | Vxorps | Vandnps | Vpand | Vpor | Vpxor | Vpandd | Vpord | Vpxord | Vpternlogd | Vpaddd
        | Vpaddq | Vpsubd | Vpsubq | Vpslld | Vpsrld | Vpsrad | Vpsllq | Vpsrlq | Vblendmps | Vblendmpd | Vmovups
        | Vmovaps | Vshufps | Vunpcklps | Vunpckhps | Vpermilps => 1,
        Vblendvps | Vblendvpd => 2,
        _ => 4,
    };
    own + loaded
}
