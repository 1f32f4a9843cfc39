//! The text of a plan: one nest a line, with its loops, its lanes and its place.

use std::fmt;

use super::{Nest, PassPlan, Plan, lanes};
use crate::ir::IndexId;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layer = &self.instance.layer;
        writeln!(f, "plan {} {:?} f{} x {}", layer.name, self.form, self.target.bits, self.target.width)?;
        for (n, (pass, signature)) in self.passes.iter().zip(&self.signature.passes).enumerate() {
            let direction = if pass.reverse { "backward" } else { "forward" };
            writeln!(f, "pass {n} {direction} scratch {}", signature.scratch)?;
            for nest in &pass.cone {
                write!(f, "  reset ")?;
                self.nest(f, nest)?;
            }
            self.reset(f, pass)?;
            for nest in &pass.body {
                write!(f, "  ")?;
                self.nest(f, nest)?;
            }
        }
        Ok(())
    }
}

impl Plan {
    fn reset(&self, f: &mut fmt::Formatter<'_>, pass: &PassPlan) -> fmt::Result {
        match pass.reset {
            Some(reset) => writeln!(f, "  reset when {}", self.instance.layer.value(reset).name),
            None => Ok(()),
        }
    }

    fn index(&self, i: IndexId) -> String {
        format!("{}:{}", self.instance.layer.index(i).name, self.instance.extents[i.at()])
    }

    fn nest(&self, f: &mut fmt::Formatter<'_>, nest: &Nest) -> fmt::Result {
        let value = self.instance.layer.value(nest.value);
        write!(f, "{} -> {:?}", value.name, nest.target.buffer)?;
        if nest.target.offset != 0 {
            write!(f, "+{}", nest.target.offset)?;
        }
        let loops: Vec<String> = nest.loops.iter().map(|&i| self.index(i)).collect();
        write!(f, " loops [{}]", loops.join(", "))?;
        let left = lanes::on_left(nest).is_some();
        for lanes in &nest.lanes {
            let over = if left { "lanes" } else { "reduced lanes" };
            write!(f, " {over} {} x {}", self.index(lanes.index), lanes.unroll)?;
        }
        writeln!(f)
    }
}
