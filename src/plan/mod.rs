//! Which loops a layer becomes.
