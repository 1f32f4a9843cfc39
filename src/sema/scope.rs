//! What names mean: the tensors and dimensions of a layer, and the indices in scope.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::Functions;
use super::range::same_extent;
use super::settle::Pending;
use crate::diag::{Code, Diagnostic, Span, nearest};
use crate::ir::{self, DimId, Expr, Extent, Index, IndexId, StateId, Type, Value, ValueId, ValueKind};
use crate::syntax::{MAX_DIAGNOSTICS, ast};

/// What a name of the layer stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Named {
    Dim(DimId),
    Param(ValueId),
    Input(ValueId),
    State(StateId),
    /// A `let` or an `output`; `None` until its statement has run.
    Definition(Option<ValueId>),
    /// A declaration that was in error: whatever uses it says nothing.
    Poisoned,
}

/// What is in scope beyond the layer's own names, outermost first.
pub(super) enum Frame {
    Index(IndexFrame),
    /// The arguments of a function that is being inlined: nothing outside is visible from inside.
    Arguments(Vec<(String, Option<Expr>)>),
}

/// An index in scope.
pub(super) struct IndexFrame {
    pub(super) name: String,
    pub(super) id: IndexId,
    /// Whether its extent is given, by `in` or by the state's axis.
    pub(super) fixed: bool,
    /// The axes in which it stands alone.
    pub(super) alone: Vec<(Extent, Span)>,
}

/// Which expression is being lowered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    /// The step.
    Step,
    /// The initial value of a parameter or a state; whether it is complex.
    Init { complex: bool },
}

/// A layer on its way to the IR.
pub(super) struct Lowering<'a> {
    pub(super) functions: &'a Functions<'a>,
    pub(super) layer: ir::Layer,
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) names: HashMap<String, (Named, Span)>,
    /// The current version of each state.
    pub(super) versions: Vec<ValueId>,
    /// Whether each value depends on a state of this step.
    pub(super) stateful: Vec<bool>,
    /// Whether each integer value comes from values of an index type.
    pub(super) from_index: Vec<bool>,
    pub(super) frames: Vec<Frame>,
    /// The conditions of the enclosing `if`s, and which branch this is.
    pub(super) guards: Vec<(Rc<Expr>, bool)>,
    pub(super) pending: Vec<Pending>,
    /// Values that were lifted out of the statement: their indices have the extents of these.
    pub(super) lifted: Vec<(ValueId, Vec<(IndexId, IndexId)>)>,
    /// The delays of whole values.
    pub(super) delays_of: HashMap<ValueId, ValueId>,
    pub(super) context: Context,
    /// The update that is being lowered.
    pub(super) update: Option<super::implicit::Update>,
    /// How many parameters an initialiser may use: those that are declared before it.
    pub(super) params_in_sight: usize,
    /// All dimensions, those that are declared further down among them.
    pub(super) later_dims: Vec<(String, Span)>,
    /// The names that were reported as unknown: once is enough.
    pub(super) unknown: HashSet<String>,
    /// The indices that were reported as unknown in this statement.
    pub(super) unknown_indices: HashSet<String>,
    /// Whether each state has an update, sound or not.
    pub(super) updated: Vec<bool>,
    pub(super) has_reverse: bool,
    /// The calls that are being inlined.
    pub(super) calls: Vec<Span>,
    /// Whether an expression inside brackets is being lowered.
    pub(super) in_brackets: bool,
    pub(super) depth: u32,
    pub(super) nodes: u32,
    /// Whether an equation is missing: the parser, or the check of the functions, may have said why.
    pub(super) damaged: bool,
}

impl<'a> Lowering<'a> {
    pub(super) fn new(name: &str, functions: &'a Functions<'a>) -> Self {
        Self {
            functions,
            layer: ir::Layer { name: name.to_owned(), ..ir::Layer::default() },
            diagnostics: Vec::new(),
            names: HashMap::new(),
            versions: Vec::new(),
            stateful: Vec::new(),
            from_index: Vec::new(),
            frames: Vec::new(),
            guards: Vec::new(),
            pending: Vec::new(),
            lifted: Vec::new(),
            delays_of: HashMap::new(),
            context: Context::Step,
            update: None,
            params_in_sight: 0,
            later_dims: Vec::new(),
            unknown: HashSet::new(),
            unknown_indices: HashSet::new(),
            updated: Vec::new(),
            has_reverse: false,
            calls: Vec::new(),
            in_brackets: false,
            depth: 0,
            nodes: 0,
            damaged: false,
        }
    }

    /// Reports an error, with the calls that led to it.
    pub(super) fn report(&mut self, mut diagnostic: Diagnostic) {
        for call in self.calls.iter().rev().take(3) {
            diagnostic = diagnostic.also(*call, "in the function called here");
        }
        if !self.full() {
            self.diagnostics.push(diagnostic);
        }
    }

    /// Whether so much was reported that more would not help.
    pub(super) fn full(&self) -> bool {
        self.diagnostics.len() > MAX_DIAGNOSTICS
    }

    /// Enters a name; reports where it is taken.
    pub(super) fn declare(&mut self, name: &ast::Name, named: Named) -> bool {
        if let Some((_, first)) = self.names.get(&name.text) {
            let twice = super::functions::declared_twice(name, *first);
            self.report(twice);
            return false;
        }
        self.names.insert(name.text.clone(), (named, name.span));
        true
    }

    pub(super) fn rename(&mut self, name: &str, named: Named) {
        if let Some(entry) = self.names.get_mut(name) {
            entry.0 = named;
        }
    }

    pub(super) fn add_value(
        &mut self,
        name: &str,
        kind: ValueKind,
        axes: Vec<Extent>,
        ty: Type,
        span: Span,
    ) -> ValueId {
        let id = ValueId(self.layer.values.len() as u32);
        self.layer.values.push(Value { name: name.to_owned(), kind, axes, ty, span });
        self.stateful.push(matches!(kind, ValueKind::State(_) | ValueKind::Next(_)));
        self.from_index.push(false);
        id
    }

    pub(super) fn add_index(&mut self, name: &str, extent: Extent, span: Span) -> IndexId {
        let id = IndexId(self.layer.indices.len() as u32);
        self.layer.indices.push(Index { name: name.to_owned(), extent, span });
        id
    }

    /// Whether an expression depends on a state of this step.
    pub(super) fn is_stateful(&self, expr: &Expr) -> bool {
        expr.reads().iter().any(|v| self.stateful[v.at()])
    }

    pub(super) fn show(&self, extent: &Extent) -> String {
        extent.text(&self.layer.dims)
    }

    /// The place in [`Self::frames`] of the index of that name.
    pub(super) fn find_index(&self, name: &str) -> Option<usize> {
        for (place, frame) in self.frames.iter().enumerate().rev() {
            match frame {
                Frame::Index(index) if index.name == name => return Some(place),
                Frame::Index(_) => {}
                Frame::Arguments(_) => return None,
            }
        }
        None
    }

    /// The argument of that name of the function that is being inlined; `Err` outside of functions.
    pub(super) fn find_argument(&self, name: &str) -> Result<Option<Option<Expr>>, ()> {
        for frame in self.frames.iter().rev() {
            if let Frame::Arguments(args) = frame {
                return Ok(args.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone()));
            }
        }
        Err(())
    }

    /// Checks that a name may serve as an index.
    pub(super) fn check_index_name(&mut self, name: &str, span: Span) -> bool {
        let inlining = self.frames.iter().any(|f| matches!(f, Frame::Arguments(_)));
        if !inlining && let Some((named, place)) = self.names.get(name) {
            let what = match named {
                Named::Dim(_) => "a dimension",
                _ => "a tensor",
            };
            let error = Diagnostic::error(
                Code::S203,
                span,
                format!("`{name}` names {what} of this layer, so it cannot serve as an index"),
            )
            .also(*place, "declared here")
            .help("choose another name for the index");
            self.report(error);
            return false;
        }
        if !name.starts_with(|c: char| c.is_lowercase() || c == '_') {
            let message = format!("`{name}` cannot serve as an index");
            let error = Diagnostic::error(Code::S203, span, message).label("an index starts with a lower-case letter");
            self.report(error);
            return false;
        }
        true
    }

    /// Brings indices into scope; returns their ids, or `None` where one is in error.
    ///
    /// `extents` gives the extent of each where it is known beforehand (a state's axis).
    pub(super) fn bind(&mut self, bindings: &[ast::Binding], extents: Option<&[Extent]>) -> Option<Vec<IndexId>> {
        let mut entered = Vec::new();
        let mut sound = true;
        for (place, binding) in bindings.iter().enumerate() {
            let ast::ExprKind::Name(name) = &binding.index.kind else {
                let error = Diagnostic::error(Code::S223, binding.index.span, "expected an index name");
                self.report(error.label("only a plain name can be bound here"));
                sound = false;
                continue;
            };
            sound &= self.check_index_name(name, binding.index.span);
            let again =
                bindings[..place].iter().find(|b| matches!(&b.index.kind, ast::ExprKind::Name(other) if other == name));
            if let Some(first) = again {
                let message = format!("index `{name}` is bound twice");
                let error = Diagnostic::error(Code::S223, binding.index.span, message)
                    .also(first.index.span, "first bound here");
                self.report(error);
                sound = false;
            }
            let written = match &binding.extent {
                Some(extent) => {
                    let lowered = self.lower_extent(extent);
                    sound &= lowered.is_some();
                    lowered.map(|e| (e, extent.span))
                }
                None => None,
            };
            let axis = extents.and_then(|extents| extents.get(place)).cloned();
            if let (Some((written, span)), Some(axis)) = (&written, &axis)
                && !same_extent(&self.layer, written, axis)
            {
                let message =
                    format!("index `{name}` has two extents: `{}` and `{}`", self.show(written), self.show(axis));
                let error = Diagnostic::error(Code::S205, *span, message)
                    .also(binding.index.span, format!("the axis has `{}`", self.show(axis)));
                self.report(error);
                sound = false;
            }
            let extent = axis.or(written.map(|(e, _)| e));
            let fixed = extent.is_some();
            let span = binding.index.span;
            let id = self.add_index(name, extent.unwrap_or(Extent::Lit(1)), span);
            entered.push(IndexFrame { name: name.clone(), id, fixed, alone: Vec::new() });
        }
        if !sound {
            return None;
        }
        let ids = entered.iter().map(|frame| frame.id).collect();
        self.frames.extend(entered.into_iter().map(Frame::Index));
        Some(ids)
    }

    /// Ends the scope of the innermost `count` indices: their extents are decided.
    pub(super) fn unbind(&mut self, count: usize) -> bool {
        let start = self.frames.len() - count;
        let mut sound = true;
        for frame in self.frames.split_off(start) {
            if let Frame::Index(index) = frame {
                sound &= self.decide_extent(index);
            }
        }
        sound
    }

    fn decide_extent(&mut self, index: IndexFrame) -> bool {
        if index.fixed {
            return true;
        }
        let name = &index.name;
        let Some((extent, first)) = index.alone.first().cloned() else {
            let span = self.layer.index(index.id).span;
            let size = self.layer.dims.first().map_or("4", |dim| &dim.name);
            let error = Diagnostic::error(Code::S206, span, format!("index `{name}` has no extent"))
                .label("it stands alone in no axis")
                .help(format!("say how far it runs: `{name} in {size}`"));
            self.report(error);
            return false;
        };
        for (other, place) in &index.alone[1..] {
            if !same_extent(&self.layer, &extent, other) {
                let (one, two) = (self.show(&extent), self.show(other));
                let message = format!("index `{name}` has two extents: `{one}` and `{two}`");
                let error = Diagnostic::error(Code::S205, *place, message)
                    .label(format!("`{two}` elements here"))
                    .also(first, format!("`{one}` elements here"));
                self.report(error);
                return false;
            }
        }
        self.layer.indices[index.id.at()].extent = extent;
        true
    }

    /// Whether a name can stand in brackets: an index or an integer.
    fn may_be_position(&self, name: &str) -> bool {
        let value = match self.names.get(name) {
            Some((Named::Param(value) | Named::Input(value), _)) => *value,
            Some((Named::Definition(Some(value)), _)) => *value,
            Some((Named::State(state), _)) => self.versions[state.at()],
            _ => return self.find_index(name).is_some(),
        };
        self.layer.value(value).ty.scalar() == ir::Scalar::Int
    }

    /// Says that a name is not known, and which one may be meant.
    pub(super) fn unknown_name(&mut self, name: &str, span: Span) {
        let lower = name.starts_with(|c: char| c.is_lowercase() || c == '_');
        let as_index = self.in_brackets && lower;
        let said = match as_index {
            true => &mut self.unknown_indices,
            false => &mut self.unknown,
        };
        if !said.insert(name.to_owned()) {
            return;
        }
        let mut known: Vec<String> = self.names.keys().cloned().collect();
        known.extend(self.frames.iter().filter_map(|frame| match frame {
            Frame::Index(index) => Some(index.name.clone()),
            Frame::Arguments(_) => None,
        }));
        known.sort_unstable();
        let near = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
        if as_index {
            let message = format!("index `{name}` is neither on the left nor bound");
            let mut error = Diagnostic::error(Code::S204, span, message);
            error = match near.filter(|n| self.may_be_position(n)) {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None if self.context != Context::Step => {
                    error.help(format!("name the index in the declaration: `[{name} in N]`"))
                }
                None => error.help(format!("reduce over it: `sum[{name}](..)`")),
            };
            self.report(error);
            return;
        }
        let mut error = Diagnostic::error(Code::S201, span, format!("unknown name `{name}`"));
        if let Some(near) = near {
            error = error.help(format!("did you mean `{near}`?"));
        } else if self.functions.names().any(|f| f == name) {
            error = error.label("this is a function: it needs arguments");
        }
        self.report(error);
    }
}
