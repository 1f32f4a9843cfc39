//! Values at other elements of the index on the lanes.
//!
//! The plan sees to it that such an index fills one vector, so that these are moves of lanes.

use cranelift_codegen::ir::{ConstantData, InstBuilder, Value};
use ssmc_wide::Primitive;

use super::math::Environment;
use super::value::{Parts, Val};
use super::{At, Emitter, Lane};
use crate::ir::{Expr, ExprKind};

impl<'a> Emitter<'a, '_> {
    /// [`ExprKind::Shift`] and [`ExprKind::Last`].
    pub(super) fn across(&mut self, e: &'a Expr) -> Val {
        let (place, of, before, first) = match &e.kind {
            ExprKind::Shift(parts, by) => (&parts[0], &parts[1], &parts[2], self.width - by),
            ExprKind::Last(parts) => (&parts[0], &parts[1], &parts[1], 2 * self.width - 1),
            _ => unreachable!("the caller has looked"),
        };
        let ExprKind::Index(index) = place.kind else { panic!("codegen: a shift along {place:?}") };
        if let Some((picked, n)) = self.picked
            && picked == index
        {
            // Of one lane of it, all are needed.
            let all = self.scoped(|this| {
                let here = this.env[&index];
                this.picked = None;
                this.env.insert(index, At { add: here.add - n as i64, ..here });
                this.lane = Some(Lane { index, parts: 1, live: this.width });
                let all = this.emit(e);
                this.env.insert(index, here);
                (this.picked, this.lane) = (Some((index, n)), None);
                all
            });
            return self.picked_of(&all, n);
        }
        let lane = self.lane.filter(|lane| lane.index == index && lane.parts == 1 && lane.live == self.width);
        assert!(lane.is_some(), "codegen: a shift along an index that does not fill the lanes");
        let last = matches!(e.kind, ExprKind::Last(_));
        let of = self.emit(of);
        let before = if last { of.clone() } else { self.emit(before) };
        let mut plane = |of: &Parts, before: &Parts| {
            let (of, before) = (self.spread(of)[0], self.spread(before)[0]);
            let from = |lane| if last { first } else { first + lane };
            Parts::Each(vec![self.moved(Primitive::Move, before, of, from)])
        };
        let re = plane(&of.re, &before.re);
        let im = of.im.as_ref().zip(before.im.as_ref()).map(|(of, before)| plane(of, before));
        Val { ty: e.ty, re, im }
    }

    /// Lanes of `low`, and behind them of `high`: for each lane the one that `from` says, by [`Primitive::Move`] or
    /// [`Primitive::LookUp`].
    pub(super) fn moved(
        &mut self,
        primitive: Primitive,
        low: Value,
        high: Value,
        from: impl Fn(usize) -> usize,
    ) -> Value {
        self.routines.machine = Some(self.machine);
        if let Some(look_up) = self.routines.primitive(&mut self.b, primitive, self.vector) {
            let bytes = self.real.bytes() as usize;
            let places = (0..self.width).flat_map(|lane| (from(lane) as u64).to_le_bytes()[..bytes].to_vec());
            let pool = self.b.func.dfg.constants.insert(ConstantData::from(places.collect::<Vec<u8>>()));
            let at = self.b.ins().vconst(self.vector, pool);
            let call = self.b.ins().call(look_up, &[at, low, high]);
            return self.b.inst_results(call)[0];
        }
        let each = (0..self.width)
            .map(|lane| match from(lane) {
                n if n < self.width => self.b.ins().extractlane(low, n as u8),
                n => self.b.ins().extractlane(high, (n - self.width) as u8),
            })
            .collect();
        self.vectors_of(each)[0]
    }
}
