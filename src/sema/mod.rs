//! Names, index extents and types: from the syntax tree to the IR.
