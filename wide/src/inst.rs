//! Machine instructions before and after register allocation.
//!
//! An [`Ins`] is an `iced_x86::Code`, its operands in Intel's order, and what the allocator has to know of them. A
//! function is a list of [`Block`]s whose critical edges are split; the first is the entry.

use iced_x86::Code;
use regalloc2::{Operand, OperandConstraint, OperandKind, OperandPos, PReg, PRegSet, RegClass, VReg};
use smallvec::SmallVec;

/// General registers.
pub(crate) const INT: RegClass = RegClass::Int;
/// Vector registers, scalars included.
pub(crate) const VEC: RegClass = RegClass::Float;
/// Mask registers.
pub(crate) const MASK: RegClass = RegClass::Vector;

/// Which part of a register an operand names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum View {
    R8,
    R16,
    R32,
    R64,
    Xmm,
    Ymm,
    Zmm,
    K,
}

/// What a memory operand of an instruction may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// How many bytes it reads.
    pub(crate) bytes: u8,
    /// The size of the lane that it may read into all lanes instead; 0 where it may not.
    pub(crate) broadcast: u8,
}

/// What an address starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base<R> {
    Reg(R),
    /// A place in the constant pool, in bytes.
    Pool(u32),
    /// An explicit stack slot.
    Stack(u32),
}

/// `base + index·scale + disp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mem<R> {
    pub(crate) base: Base<R>,
    pub(crate) index: Option<(R, u8)>,
    pub(crate) disp: i32,
    /// Whether one lane is read into all.
    pub(crate) broadcast: bool,
}

/// A register or memory.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rm {
    Reg(VReg),
    Mem(Mem<VReg>),
}

/// An operand as it is encoded. Slots are places in [`Ins::operands`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arg {
    Reg(u8, View),
    /// A register, or the spill slot where it lives.
    Rm(u8, View, Access),
    Mem(Mem<u8>),
    Imm(i64),
}

/// When a conditional jump is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flag {
    Below,
    AboveOrEqual,
    Equal,
    NotEqual,
    BelowOrEqual,
    Above,
    Parity,
    NotParity,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    Greater,
}

impl Flag {
    /// When it is not.
    pub(crate) fn not(self) -> Flag {
        use Flag::*;
        match self {
            Below => AboveOrEqual,
            AboveOrEqual => Below,
            Equal => NotEqual,
            NotEqual => Equal,
            BelowOrEqual => Above,
            Above => BelowOrEqual,
            Parity => NotParity,
            NotParity => Parity,
            Less => GreaterOrEqual,
            GreaterOrEqual => Less,
            LessOrEqual => Greater,
            Greater => LessOrEqual,
        }
    }
}

/// What an instruction is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// One machine instruction.
    Code(Code),
    /// The function's parameters arrive.
    Entry,
    /// To the block's only successor.
    Jump,
    /// To the first successor where the flag holds, else to the second.
    Branch(Flag),
    /// A call through a register of the `n`-th external function.
    Call,
    /// The address of an external function.
    Symbol(u32),
    Return,
}

/// A machine instruction.
#[derive(Clone, Debug)]
pub(crate) struct Ins {
    pub(crate) kind: Kind,
    pub(crate) args: SmallVec<[Arg; 4]>,
    pub(crate) operands: SmallVec<[Operand; 5]>,
    /// The slot of the mask register under which it works.
    pub(crate) mask: Option<u8>,
    /// Whether lanes outside of the mask become zero.
    pub(crate) zeroing: bool,
    pub(crate) clobbers: PRegSet,
}

impl Ins {
    pub(crate) fn of(kind: Kind) -> Ins {
        Ins {
            kind,
            args: SmallVec::new(),
            operands: SmallVec::new(),
            mask: None,
            zeroing: false,
            clobbers: PRegSet::empty(),
        }
    }

    pub(crate) fn new(code: Code) -> Ins {
        Ins::of(Kind::Code(code))
    }

    pub(crate) fn operand(&mut self, operand: Operand) -> u8 {
        self.operands.push(operand);
        u8::try_from(self.operands.len() - 1).expect("few operands")
    }

    /// An encoded register that is written.
    pub(crate) fn def(mut self, r: VReg, view: View) -> Ins {
        let slot = self.operand(Operand::reg_def(r));
        self.args.push(Arg::Reg(slot, view));
        self
    }

    /// An encoded register that is read.
    pub(crate) fn reg(mut self, r: VReg, view: View) -> Ins {
        let slot = self.operand(Operand::reg_use(r));
        self.args.push(Arg::Reg(slot, view));
        self
    }

    /// An encoded register that is read and then written.
    pub(crate) fn tied(mut self, from: VReg, to: VReg, view: View) -> Ins {
        let slot = self.operand(Operand::reg_use(from));
        let slot = self.operand(Operand::reg_reuse_def(to, usize::from(slot)));
        self.args.push(Arg::Reg(slot, view));
        self
    }

    /// The same register as an earlier operand.
    pub(crate) fn again(mut self, slot: u8, view: View) -> Ins {
        self.args.push(Arg::Reg(slot, view));
        self
    }

    pub(crate) fn rm(mut self, rm: Rm, view: View, access: Access) -> Ins {
        match rm {
            Rm::Reg(r) => {
                let any = Operand::new(r, OperandConstraint::Any, OperandKind::Use, OperandPos::Early);
                let slot = self.operand(any);
                self.args.push(Arg::Rm(slot, view, access));
                self
            }
            Rm::Mem(mem) => self.mem(mem),
        }
    }

    pub(crate) fn mem(mut self, mem: Mem<VReg>) -> Ins {
        let base = match mem.base {
            Base::Reg(r) => Base::Reg(self.operand(Operand::reg_use(r))),
            Base::Pool(at) => Base::Pool(at),
            Base::Stack(at) => Base::Stack(at),
        };
        let index = mem.index.map(|(r, scale)| (self.operand(Operand::reg_use(r)), scale));
        self.args.push(Arg::Mem(Mem { base, index, disp: mem.disp, broadcast: mem.broadcast }));
        self
    }

    pub(crate) fn imm(mut self, value: i64) -> Ins {
        self.args.push(Arg::Imm(value));
        self
    }

    /// Works under a mask register.
    pub(crate) fn under(mut self, mask: VReg) -> Ins {
        self.mask = Some(self.operand(Operand::reg_use(mask)));
        self
    }

    /// Reads a certain register that is not encoded.
    pub(crate) fn fixed_use(mut self, r: VReg, at: PReg) -> Ins {
        self.operand(Operand::reg_fixed_use(r, at));
        self
    }

    /// Writes a certain register that is not encoded.
    pub(crate) fn fixed_def(mut self, r: VReg, at: PReg) -> Ins {
        self.operand(Operand::reg_fixed_def(r, at));
        self
    }
}

/// A block's way on, with the values for the parameters of the one it leads to.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    pub(crate) to: usize,
    pub(crate) args: Vec<VReg>,
}

/// A block of machine instructions; the last one leads on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Block {
    pub(crate) insts: Vec<Ins>,
    pub(crate) params: Vec<VReg>,
    pub(crate) succs: Vec<Edge>,
    /// How many loops it is in.
    pub(crate) depth: usize,
    /// The innermost loop around it, by number.
    pub(crate) within: Option<usize>,
    /// Whether it hardly ever runs.
    pub(crate) cold: bool,
}

/// A loop of blocks.
#[derive(Clone, Debug)]
pub(crate) struct Loop {
    pub(crate) header: usize,
    pub(crate) parent: Option<usize>,
}

/// Where a constant is told from other values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Constant {
    /// One lane of 4 or 8 bytes in all lanes.
    Splat { lane: u8, bits: u64 },
    /// All bytes.
    Bytes(Vec<u8>),
}

/// A function for the allocator and the encoder.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    pub(crate) blocks: Vec<Block>,
    pub(crate) loops: Vec<Loop>,
    pub(crate) vregs: usize,
    /// The constants behind virtual registers that nothing defines yet, with the width in bytes that uses need.
    pub(crate) constants: Vec<(VReg, Constant, u8)>,
    pub(crate) pool: Pool,
    /// The offsets of explicit stack slots, and how many bytes they take.
    pub(crate) stack: u32,
    /// The bytes of the widest vector in the function; 0 without any.
    pub(crate) widest: u8,
}

impl Machine {
    /// Whether a block starts a loop that has none inside.
    pub(crate) fn is_inner_header(&self, block: usize) -> bool {
        let Some(around) = self.blocks[block].within.filter(|_| !self.blocks[block].cold) else { return false };
        self.loops[around].header == block && self.loops.iter().all(|l| l.parent != Some(around))
    }

    pub(crate) fn vreg(&mut self, class: RegClass) -> VReg {
        self.vregs += 1;
        VReg::new(self.vregs - 1, class)
    }
}

/// Constants in memory, each at a multiple of its size.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    pub(crate) bytes: Vec<u8>,
    known: std::collections::HashMap<Vec<u8>, u32>,
}

impl Pool {
    /// Where these bytes are; their number is a power of two.
    pub(crate) fn place(&mut self, bytes: &[u8]) -> u32 {
        if let Some(&at) = self.known.get(bytes) {
            return at;
        }
        let at = self.bytes.len().next_multiple_of(bytes.len());
        self.bytes.resize(at, 0);
        self.bytes.extend(bytes);
        let at = u32::try_from(at).expect("a small pool");
        self.known.insert(bytes.to_vec(), at);
        at
    }
}

impl Constant {
    /// The first bytes.
    pub(crate) fn bytes(&self, count: usize) -> Vec<u8> {
        match self {
            Constant::Splat { lane, bits } => {
                let lane = bits.to_le_bytes()[..usize::from(*lane)].to_vec();
                lane.iter().copied().cycle().take(count).collect()
            }
            Constant::Bytes(bytes) => bytes.iter().copied().chain(std::iter::repeat(0)).take(count).collect(),
        }
    }

    /// The lane of that many bytes that fills it, where one does.
    pub(crate) fn lane(&self, bytes: u8) -> Option<Vec<u8>> {
        match self {
            Constant::Splat { lane, .. } if *lane <= bytes => Some(self.bytes(usize::from(bytes))),
            Constant::Splat { bits, .. } if bits >> 32 == bits & 0xffff_ffff => Some(self.bytes(usize::from(bytes))),
            _ => None,
        }
    }

    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Constant::Splat { bits, .. } => *bits == 0,
            Constant::Bytes(bytes) => bytes.iter().all(|&b| b == 0),
        }
    }
}
