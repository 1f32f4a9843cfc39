//! Buffers and drivers under the kernels that `ssmc` compiles.
