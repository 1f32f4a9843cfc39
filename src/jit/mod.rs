//! Callable machine code.
