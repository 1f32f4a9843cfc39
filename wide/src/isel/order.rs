//! The order of blocks: as they are laid out, cold ones last, with blocks on critical edges.

use std::collections::HashMap;

use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::ir::{self, Function};
use cranelift_codegen::loop_analysis::LoopAnalysis;
use regalloc2::VReg;

use crate::inst::{Block, Edge, Ins, Kind, Loop};

/// The order of blocks, those on critical edges included.
pub(super) struct Order {
    pub(super) blocks: Vec<Block>,
    pub(super) index: HashMap<ir::Block, usize>,
    /// The block on an edge, by the block that it leaves and the number of its successor.
    pub(super) edges: HashMap<(ir::Block, usize), usize>,
    pub(super) loops: Vec<Loop>,
}

impl Order {
    pub(super) fn new(f: &Function, domtree: &DominatorTree, loops: &LoopAnalysis, entry: ir::Block) -> Order {
        let mut arrivals: HashMap<ir::Block, usize> = HashMap::new();
        let reached: Vec<ir::Block> = f.layout.blocks().filter(|&b| domtree.is_reachable(b)).collect();
        for &block in &reached {
            for to in successors(f, block) {
                *arrivals.entry(to).or_default() += 1;
            }
        }
        let numbers: HashMap<_, usize> = loops.loops().enumerate().map(|(n, l)| (l, n)).collect();
        let (mut blocks, mut index, mut edges) = (Vec::new(), HashMap::new(), HashMap::new());
        let is_cold = |b: ir::Block| f.layout.is_cold(b);
        let (warm, cold): (Vec<_>, Vec<_>) = reached.iter().partition(|&&b| b == entry || !is_cold(b));
        for block in warm.into_iter().chain(cold) {
            let within = loops.innermost_loop(block);
            let depth = loops.loop_level(block).level();
            index.insert(block, blocks.len());
            let cold = is_cold(block);
            blocks.push(Block { depth, within: within.map(|l| numbers[&l]), cold, ..Block::default() });
            let to = successors(f, block);
            for (n, &to) in to.iter().enumerate().filter(|(_, to)| arrivals[to] > 1) {
                if successors(f, block).len() < 2 {
                    continue;
                }
                let mut around = within;
                while let Some(inner) = around
                    && !loops.is_in_loop(to, inner)
                {
                    around = loops.loop_parent(inner);
                }
                let depth = around.map_or(0, |l| loops.loop_level(loops.loop_header(l)).level());
                edges.insert((block, n), blocks.len());
                let cold = cold || is_cold(to);
                blocks.push(Block { depth, within: around.map(|l| numbers[&l]), cold, ..Block::default() });
            }
        }
        let loops = loops
            .loops()
            .map(|l| Loop { header: index[&loops.loop_header(l)], parent: loops.loop_parent(l).map(|p| numbers[&p]) })
            .collect();
        Order { blocks, index, edges, loops }
    }
}

fn successors(f: &Function, block: ir::Block) -> Vec<ir::Block> {
    let last = f.layout.last_inst(block).expect("blocks are filled");
    f.dfg.insts[last]
        .branch_destination(&f.dfg.jump_tables, &f.dfg.exception_tables)
        .iter()
        .map(|call| call.block(&f.dfg.value_lists))
        .collect()
}

/// An edge, and what has to be done on it.
pub(super) fn edge(to: usize, args: Vec<VReg>) -> Edge {
    Edge { to, args }
}

/// The end of a block that has one way on.
pub(super) fn jump() -> Ins {
    Ins::of(Kind::Jump)
}
