//! Numbers for tests and measurements: the same on every machine.

/// A xorshift generator.
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    /// # Panics
    /// If the seed is 0.
    pub fn new(seed: u64) -> Self {
        assert_ne!(seed, 0, "a xorshift generator never leaves 0");
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Uniform in `[low, high)`.
    pub fn uniform(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * (self.bits() >> 40) as f32 / (1 << 24) as f32
    }

    /// `n` values, uniform in `[low, high)`.
    pub fn uniforms(&mut self, n: usize, low: f32, high: f32) -> Vec<f32> {
        (0..n).map(|_| self.uniform(low, high)).collect()
    }

    /// Roughly normal with variance 1: the sum of four uniform values.
    pub fn normal(&mut self) -> f32 {
        (0..4).map(|_| self.uniform(-0.5, 0.5)).sum::<f32>() * 3.0_f32.sqrt()
    }

    /// `n` values, roughly normal with variance 1.
    pub fn normals(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.normal()).collect()
    }
}
