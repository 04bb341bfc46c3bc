//! A random orthogonal rotation in `O(d log d)`, made again from its seed: it spreads what is special about some
//! dimensions evenly over all of them.
//!
//! Four rounds of random signs and a fast Hadamard transform (Ailon, Chazelle, STOC 2006; three rounds suffice where
//! it covers all places, Andoni et al., arXiv 1509.02897). It needs a power of two, so in other dimensions it covers
//! the leading and the trailing such block in turn, and a round ends with `(x + y, x - y) / sqrt 2` of the two halves
//! (a step of Kac's walk). Invariant: every step is orthogonal, so norms and products of rotated vectors are those
//! of the vectors, to float32 rounding: at most `2^-24 * 8 (log2 len + 3)` relative to the norms.

use crate::rng::Rng;

/// Rounds, even in number: the leading and the trailing block come equally often.
const ROUNDS: usize = 4;

/// A rotation of vectors of `len` values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rotation {
    seed: u64,
    len: usize,
    /// Of each round `len` values: the random sign times the scales that make the round orthogonal.
    factors: Vec<f32>,
}

impl Rotation {
    /// The rotation of `seed`. `len` is even, 2 at least. The same seed gives the same rotation on every platform
    /// and in every version: codes are stored under it.
    pub(super) fn new(seed: u64, len: usize) -> Self {
        assert!(len >= 2 && len.is_multiple_of(2), "rotation of {len} values");
        let mut rotation = Self { seed, len, factors: Vec::with_capacity(ROUNDS * len) };
        let block = 1.0 / (rotation.block() as f64).sqrt();
        let halves = if rotation.is_whole() { 1.0 } else { std::f64::consts::FRAC_1_SQRT_2 };
        let mut rng = Rng::new(seed);
        for round in 0..ROUNDS {
            let start = rotation.start(round);
            let covered = start..start + rotation.block();
            for j in 0..len {
                let scale = (if covered.contains(&j) { block } else { 1.0 } * halves) as f32;
                rotation.factors.push(if rng.next_u64() >> 63 == 0 { scale } else { -scale });
            }
        }
        rotation
    }

    /// What it was made from.
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// Values of a vector.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Rotates `N` vectors at once: `x[j][v]` is value `j` of vector `v`. Each vector comes out the same whatever `N`.
    pub(super) fn apply<const N: usize>(&self, x: &mut [[f32; N]]) {
        assert_eq!(x.len(), self.len, "vector of another length");
        for (round, factors) in self.factors.chunks_exact(self.len).enumerate() {
            multiply(x, factors);
            hadamard(&mut x[self.start(round)..][..self.block()]);
            if !self.is_whole() {
                let (low, high) = x.split_at_mut(self.len / 2);
                butterfly(low, high);
            }
        }
    }

    /// The inverse of [`Rotation::apply`]: its steps, all symmetric, in the opposite order.
    pub(super) fn undo<const N: usize>(&self, x: &mut [[f32; N]]) {
        assert_eq!(x.len(), self.len, "vector of another length");
        for (round, factors) in self.factors.chunks_exact(self.len).enumerate().rev() {
            if !self.is_whole() {
                let (low, high) = x.split_at_mut(self.len / 2);
                butterfly(low, high);
            }
            hadamard(&mut x[self.start(round)..][..self.block()]);
            multiply(x, factors);
        }
    }

    /// Places of the Hadamard transform: the greatest power of two within `len`.
    fn block(&self) -> usize {
        1 << self.len.ilog2()
    }

    /// Whether that is all of them.
    fn is_whole(&self) -> bool {
        self.block() == self.len
    }

    /// Where the block of a round begins.
    fn start(&self, round: usize) -> usize {
        if round.is_multiple_of(2) { 0 } else { self.len - self.block() }
    }
}

fn multiply<const N: usize>(x: &mut [[f32; N]], factors: &[f32]) {
    for (x, &factor) in x.iter_mut().zip(factors) {
        x.iter_mut().for_each(|x| *x *= factor);
    }
}

/// The Hadamard transform without its scale; `x.len()` is a power of two.
fn hadamard<const N: usize>(x: &mut [[f32; N]]) {
    let mut half = 1;
    while half < x.len() {
        for pair in x.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            butterfly(low, high);
        }
        half *= 2;
    }
}

/// Sums to `low`, differences to `high`.
fn butterfly<const N: usize>(low: &mut [[f32; N]], high: &mut [[f32; N]]) {
    for (low, high) in low.iter_mut().zip(high) {
        for (low, high) in low.iter_mut().zip(high) {
            (*low, *high) = (*low + *high, *low - *high);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENS: [usize; 9] = [2, 4, 6, 32, 100, 104, 128, 1000, 4096];

    fn noise(len: usize, seed: u64) -> Vec<[f32; 1]> {
        let mut rng = Rng::new(seed);
        (0..len).map(|_| [rng.unit_f32() * 2.0 - 1.0]).collect()
    }

    fn product(a: &[[f32; 1]], b: &[[f32; 1]]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(a[0]) * f64::from(b[0])).sum()
    }

    #[test]
    fn norms_and_products_stay_and_the_inverse_brings_vectors_back() {
        for len in LENS {
            let rotation = Rotation::new(len as u64, len);
            let (a, b) = (noise(len, 1), noise(len, 2));
            let (mut ra, mut rb) = (a.clone(), b.clone());
            rotation.apply(&mut ra);
            rotation.apply(&mut rb);
            let bound = 8.0 * (f64::from(len.ilog2()) + 3.0) / f64::from(1 << 24);
            let norm = product(&a, &a).sqrt();
            assert!((product(&ra, &ra).sqrt() / norm - 1.0).abs() < bound, "norm at {len}");
            let size = norm * product(&b, &b).sqrt();
            assert!((product(&ra, &rb) - product(&a, &b)).abs() < bound * size, "product at {len}");
            assert!(len < 32 || product(&ra, &a).abs() < 0.6 * norm * norm, "{len} is not rotated");
            rotation.undo(&mut ra);
            let off: f64 = ra.iter().zip(&a).map(|(x, y)| f64::from(x[0] - y[0]).powi(2)).sum();
            assert!(off.sqrt() < bound * norm, "inverse at {len}");
        }
    }

    #[test]
    fn vectors_of_a_group_come_out_as_alone() {
        let rotation = Rotation::new(5, 104);
        let mut group = vec![[0.0; 16]; 104];
        let mut alone: Vec<_> = (0..16).map(|v| noise(104, v)).collect();
        for (v, x) in alone.iter_mut().enumerate() {
            group.iter_mut().zip(&*x).for_each(|(to, from)| to[v] = from[0]);
            rotation.apply(x);
        }
        rotation.apply(&mut group);
        for (v, x) in alone.iter().enumerate() {
            assert!(group.iter().zip(x).all(|(a, b)| a[v].to_bits() == b[0].to_bits()));
        }
    }

    #[test]
    fn each_axis_is_spread_like_noise() {
        // The fourth moment of a gaussian is 3; of an axis left as it was, `len`.
        for len in [96usize, 104, 128, 384] {
            for axis in [0, 1, len / 2, len - 1] {
                let mut moments = 0.0;
                for seed in 0..20 {
                    let mut x = vec![[0.0]; len];
                    x[axis] = [1.0];
                    Rotation::new(seed, len).apply(&mut x);
                    moments += x.iter().map(|x| f64::from(x[0]).powi(4)).sum::<f64>() * len as f64 / 20.0;
                }
                assert!((2.2..3.6).contains(&moments), "axis {axis} of {len}: {moments}");
            }
        }
    }

    #[test]
    fn a_seed_means_one_rotation_for_ever() {
        let mut x = noise(12, 3);
        Rotation::new(9, 12).apply(&mut x);
        assert_eq!(Rotation::new(9, 12), Rotation::new(9, 12));
        assert_ne!(Rotation::new(9, 12), Rotation::new(10, 12));
        let bits: Vec<u32> = x.iter().map(|x| x[0].to_bits()).collect();
        assert_eq!(bits[..4], [1_051_932_083, 1_061_009_743, 1_045_216_379, 3_203_150_176]);
        assert_eq!(bits[8..], [3_207_598_397, 1_063_629_302, 3_199_588_380, 1_062_085_204]);
    }
}
