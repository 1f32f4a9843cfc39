use iced_x86::Code;

use super::traits::access;
use super::*;
use crate::inst::{Access, Arg, Base, Block, INT, Mem, Rm, VEC, View};

const ACCESS: Access = Access { bytes: 64, broadcast: 4 };

/// A function of one block.
#[derive(Default)]
struct Straight(Machine, Vec<Ins>);

impl Straight {
    fn reg(&mut self) -> VReg {
        self.0.vreg(VEC)
    }

    fn mem(&mut self, base: VReg, disp: i32) -> Mem<VReg> {
        Mem { base: Base::Reg(base), index: None, disp, broadcast: false }
    }

    fn load(&mut self, base: VReg, disp: i32) -> VReg {
        let (to, mem) = (self.reg(), self.mem(base, disp));
        self.1.push(Ins::new(Code::EVEX_Vmovups_zmm_k1z_zmmm512).def(to, View::Zmm).mem(mem));
        to
    }

    fn store(&mut self, base: VReg, disp: i32, value: VReg) {
        let mem = self.mem(base, disp);
        self.1.push(Ins::new(Code::EVEX_Vmovups_zmmm512_k1z_zmm).mem(mem).reg(value, View::Zmm));
    }

    fn product(&mut self, a: VReg, b: VReg) -> VReg {
        let to = self.reg();
        let ins = Ins::new(Code::EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er).def(to, View::Zmm).reg(a, View::Zmm);
        self.1.push(ins.rm(Rm::Reg(b), View::Zmm, ACCESS));
        to
    }

    /// `sum + a·b`, in the register of the sum.
    fn add_product(&mut self, sum: VReg, a: VReg, b: VReg) -> VReg {
        let to = self.reg();
        let code = Code::EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er;
        let ins = Ins::new(code).tied(sum, to, View::Zmm).reg(a, View::Zmm);
        self.1.push(ins.rm(Rm::Reg(b), View::Zmm, ACCESS));
        to
    }

    /// Where each instruction came to stand.
    fn places(mut self) -> Vec<usize> {
        // An immediate that nothing encodes tells one instruction from another.
        for (n, ins) in self.1.iter_mut().enumerate() {
            ins.args.push(Arg::Imm(n as i64));
        }
        let count = self.1.len();
        self.1.push(Ins::of(Kind::Return));
        self.0.blocks = vec![Block { insts: self.1, ..Block::default() }];
        order(&mut self.0, Level::Avx512);
        let mut places = vec![usize::MAX; count];
        for (place, ins) in self.0.blocks[0].insts.iter().enumerate() {
            if let Some(Arg::Imm(n)) = ins.args.last() {
                places[usize::try_from(*n).unwrap()] = place;
            }
        }
        assert!(places.iter().all(|&place| place < count), "an instruction is lost: {places:?}");
        places
    }
}

#[test]
fn chains_run_side_by_side() {
    let mut f = Straight::default();
    let (base, length) = (f.0.vreg(INT), 10);
    for chain in 0..8 {
        let mut value = f.load(base, chain * 64);
        for _ in 0..length {
            value = f.product(value, value);
        }
        f.store(base, 4096 + chain * 64, value);
    }
    let places = f.places();
    let starts = (0..8).filter(|chain| places[chain * (length + 2) + 1] < 24).count();
    assert!(starts >= 6, "{places:?}");
    for chain in places.chunks(length + 2) {
        assert!(chain.is_sorted(), "{places:?}");
    }
}

#[test]
fn registers_suffice() {
    let mut f = Straight::default();
    let base = f.0.vreg(INT);
    let mut sum = f.load(base, 0);
    // Each term needs two registers for a while; all at once would need far more than there are.
    for n in 1..60 {
        let (a, b) = (f.load(base, n * 64), f.load(base, 8192 + n * 64));
        let (c, d) = (f.product(a, b), f.product(b, a));
        sum = f.add_product(sum, c, d);
    }
    f.store(base, 0, sum);
    let stretch = f.1.clone();
    let places = f.places();
    let mut ordered: Vec<usize> = (0..places.len()).collect();
    ordered.sort_by_key(|&n| places[n]);
    let graph = Graph::new(&stretch, &Live::from([base]), &Live::new(), &|_| true);
    let peak = graph.peak(&ordered)[1];
    assert!((6..=32 - SPARE).contains(&peak), "{peak}");
}

#[test]
fn accesses_of_the_same_bytes_keep_their_order() {
    let mut f = Straight::default();
    let (base, other) = (f.0.vreg(INT), f.0.vreg(INT));
    let mut slow = f.load(base, 0);
    for _ in 0..10 {
        slow = f.product(slow, slow);
    }
    f.store(base, 128, slow);
    let apart = f.load(base, 192);
    let apart = f.product(apart, apart);
    let same = f.load(base, 160);
    let same = f.product(same, same);
    let unknown = f.load(other, 0);
    let unknown = f.product(unknown, unknown);
    for (n, value) in [apart, same, unknown].into_iter().enumerate() {
        f.store(base, 1024 + 64 * n as i32, value);
    }
    let place = |n: usize| access(&f.1[n]).unwrap();
    assert!(place(11).0.is_apart(&place(12).0), "64 bytes further on");
    assert!(!place(11).0.is_apart(&place(14).0), "32 bytes further on");
    assert!(!place(11).0.is_apart(&place(16).0), "from another base");
    let places = f.places();
    assert!(places[14] > places[11] && places[16] > places[11], "{places:?}");
}

#[test]
fn what_is_overwritten_has_been_read() {
    let mut f = Straight::default();
    let base = f.0.vreg(INT);
    let (x, mut slow) = (f.load(base, 0), f.load(base, 64));
    for _ in 0..10 {
        slow = f.product(slow, slow);
    }
    let late = f.product(slow, x);
    let sum = f.add_product(x, x, x);
    let sum = f.add_product(sum, late, late);
    f.store(base, 0, sum);
    let places = f.places();
    assert!(places[12] < places[13], "{places:?}");
}
