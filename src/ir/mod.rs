//! The typed IR in index notation.
