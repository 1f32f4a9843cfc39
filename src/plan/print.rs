//! The text of a plan: what runs once, then for every pass its phases with their loops, lanes and places.

use std::fmt;

use super::{Fused, Item, Layout, Nest, PassPlan, Phase, Place, Plan, Region, Statement, lanes};
use crate::ir::{Expr, ExprKind, IndexId};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layer = &self.instance.layer;
        write!(f, "plan {} {:?} f{} x {}", layer.name, self.form, self.target.bits, self.target.width)?;
        match self.instance.steps {
            1 => writeln!(f)?,
            steps => writeln!(f, ", {steps} steps as one")?,
        }
        if let (Some(pass), Some(signature)) = (&self.prologue, &self.signature.prologue) {
            writeln!(f, "once, {} bytes", signature.bytes)?;
            self.phases(f, pass, &pass.begin)?;
        }
        for (n, (pass, signature)) in self.passes.iter().zip(&self.signature.passes).enumerate() {
            let direction = if pass.reverse { "backward" } else { "forward" };
            write!(f, "pass {n} {direction}")?;
            if pass.tile > 0 {
                write!(f, " in tiles of {}", pass.tile)?;
            }
            writeln!(f, ", home {}, scratch {}, local {}", signature.home, signature.scratch, signature.local)?;
            for (name, phases) in [("begin", &pass.begin), ("tile", &pass.phases), ("end", &pass.end)] {
                if !phases.is_empty() {
                    writeln!(f, " {name}")?;
                    self.phases(f, pass, phases)?;
                }
            }
        }
        Ok(())
    }
}

impl Plan {
    fn phases(&self, f: &mut fmt::Formatter<'_>, pass: &PassPlan, phases: &[Phase]) -> fmt::Result {
        for phase in phases {
            match phase {
                Phase::Steps(steps) => {
                    writeln!(f, "  steps{}", if steps.apart { ", in any order" } else { "" })?;
                    for nest in &steps.cone {
                        write!(f, "    reset ")?;
                        self.nest(f, nest)?;
                    }
                    if let Some(reset) = pass.reset {
                        writeln!(f, "    reset when {}", self.instance.layer.value(reset).name)?;
                    }
                    for nest in &steps.body {
                        write!(f, "    ")?;
                        self.nest(f, nest)?;
                    }
                }
                Phase::Region(region) => self.region(f, region)?,
            }
        }
        Ok(())
    }

    fn index(&self, i: IndexId) -> String {
        format!("{}:{}", self.instance.layer.index(i).name, self.instance.extents[i.at()])
    }

    fn indices(&self, indices: &[IndexId]) -> String {
        indices.iter().map(|&i| self.index(i)).collect::<Vec<_>>().join(", ")
    }

    fn nest(&self, f: &mut fmt::Formatter<'_>, nest: &Nest) -> fmt::Result {
        let value = self.instance.layer.value(nest.value);
        write!(f, "{} -> {} loops [{}]", value.name, place(nest.target), self.indices(&nest.loops))?;
        let left = lanes::on_left(nest).map(|lanes| lanes.index);
        for lanes in &nest.lanes {
            let over = if left == Some(lanes.index) { "lanes" } else { "reduced lanes" };
            write!(f, " {over} {} x {}", self.index(lanes.index), lanes.unroll)?;
        }
        writeln!(f)
    }

    fn region(&self, f: &mut fmt::Formatter<'_>, region: &Region) -> fmt::Result {
        write!(f, "  blocks [{}] lanes {} x {}", self.indices(&region.outer), self.index(region.lane), region.parts)?;
        if region.timed {
            match region.together {
                1 => write!(f, ", steps inside")?,
                together => write!(f, ", {together} steps at a time inside")?,
            }
        }
        if region.apart {
            write!(f, ", in any order")?;
        }
        let held: Vec<&str> =
            region.carried.iter().map(|c| self.instance.layer.value(c.before).name.as_str()).collect();
        if !held.is_empty() {
            write!(f, ", in registers: {}", held.join(", "))?;
        }
        if !region.fetches.is_empty() {
            let names: Vec<&str> = region.fetches.iter().map(|&v| self.instance.layer.value(v).name.as_str()).collect();
            write!(f, ", asks for the next tile of {}", names.join(", "))?;
        }
        writeln!(f)?;
        for item in &region.items {
            match item {
                Item::One(statement) => {
                    write!(f, "    ")?;
                    self.statement(f, statement)?;
                }
                Item::Loop(fused) => self.fused(f, fused)?,
            }
        }
        if let Some(pipelined) = &region.pipelined {
            writeln!(f, "    between two steps, the last loop with the first one of the next:")?;
            self.fused(f, &pipelined.fused)?;
            for statement in &pipelined.ahead {
                write!(f, "      next ")?;
                self.statement(f, statement)?;
            }
        }
        Ok(())
    }

    fn fused(&self, f: &mut fmt::Formatter<'_>, fused: &Fused) -> fmt::Result {
        let turns = if fused.whole { "written out".to_owned() } else { format!("by {}", fused.unroll) };
        writeln!(f, "    loop [{}] {turns}", self.indices(&fused.indices))?;
        for statement in &fused.body {
            write!(f, "      ")?;
            self.statement(f, statement)?;
        }
        Ok(())
    }

    fn statement(&self, f: &mut fmt::Formatter<'_>, statement: &Statement) -> fmt::Result {
        let value = self.instance.layer.value(statement.value);
        let name = |e: &Expr| match e.kind {
            ExprKind::Index(i) => self.instance.layer.index(i).name.clone(),
            _ => "_".to_owned(),
        };
        let at: Vec<String> = statement.at.iter().map(name).collect();
        write!(f, "{}{}[{}]", if statement.sums { "sum " } else { "" }, value.name, at.join(", "))?;
        for to in &statement.stores {
            write!(f, " -> {}", place(*to))?;
        }
        writeln!(f)
    }
}

fn place(place: Place) -> String {
    let mut text = format!("{:?}", place.buffer);
    if place.offset != 0 {
        text += &format!("+{}", place.offset);
    }
    if place.row != 0 {
        text += " a row per step";
    }
    match place.layout {
        Layout::RowMajor => {}
        Layout::Blocked { axis, block } => text += &format!(" in blocks of {block} along axis {axis}"),
        Layout::Local { block, .. } => text += &format!(" of {block} lanes"),
    }
    text
}
