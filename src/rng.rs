//! A small seeded generator for sampling and seeding. Never for keys, salts or nonces.
//!
//! `SplitMix64` (Steele, Lea, Flood, OOPSLA 2014): its output for a seed is part of our promise that the same seed
//! and data give the same lists, so it is fixed here and not taken from a crate that may change its stream.

/// Seeded generator. The same seed gives the same numbers on every platform and in every version.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator for `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A generator for part `stream` of a job with `seed`, independent of the other parts.
    #[must_use]
    pub fn stream(seed: u64, stream: u64) -> Self {
        let mut r = Self(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        Self(r.next_u64())
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..n` (Lemire's multiplication; the bias is below `n / 2^64`). `n` must not be 0.
    pub fn below(&mut self, n: usize) -> usize {
        debug_assert!(n > 0);
        ((u128::from(self.next_u64()) * n as u128) >> 64) as usize
    }

    /// A number in `[0, 1)` with 24 random bits.
    pub fn unit_f32(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 * (1.0 / (1u64 << 24) as f32)
    }
}

/// Which `k` of `n` rows to take: a uniform sample without replacement (reservoir, Vitter's algorithm R), in rising
/// order. All of them when `k >= n`.
#[must_use]
pub fn sample_indices(n: usize, k: usize, seed: u64) -> Vec<u32> {
    debug_assert!(n <= u32::MAX as usize);
    let mut chosen: Vec<u32> = (0..n.min(k) as u32).collect();
    if k < n && k > 0 {
        let mut rng = Rng::new(seed);
        for i in k..n {
            let j = rng.below(i + 1);
            if j < k {
                chosen[j] = i as u32;
            }
        }
        chosen.sort_unstable();
    }
    chosen
}

/// Takes `k` of `n` things that pass by one after the other, every choice equally likely, in a few bytes (selection
/// sampling: Fan, Muller and Rezucha, 1962). The same seed takes the same ones, however often they pass.
#[derive(Clone, Debug)]
pub struct Selection {
    rng: Rng,
    to_come: usize,
    to_take: usize,
}

impl Selection {
    /// For `k` of `n`; all of them when `k >= n`.
    #[must_use]
    pub fn new(n: usize, k: usize, seed: u64) -> Self {
        Self { rng: Rng::new(seed), to_come: n, to_take: k.min(n) }
    }

    /// Whether the next one is taken. None after the `n`-th.
    pub fn take(&mut self) -> bool {
        if self.to_come == 0 {
            return false;
        }
        let taken = self.to_take == self.to_come || self.rng.below(self.to_come) < self.to_take;
        self.to_come -= 1;
        self.to_take -= usize::from(taken);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_frozen() {
        let mut r = Rng::new(0);
        assert_eq!([r.next_u64(), r.next_u64()], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
    }

    #[test]
    fn a_selection_takes_exactly_its_number_evenly_and_always_the_same() {
        let mut hits = [0u32; 10];
        for seed in 0..2000 {
            let taken = |mut s: Selection| (0..12).map(|_| s.take()).collect::<Vec<_>>();
            let (first, again) = (taken(Selection::new(10, 3, seed)), taken(Selection::new(10, 3, seed)));
            assert_eq!(first, again);
            assert_eq!(first.iter().filter(|&&t| t).count(), 3);
            (0..10).for_each(|i| hits[i] += u32::from(first[i]));
        }
        assert!(hits.iter().all(|&h| (520..680).contains(&h)), "{hits:?}");
        assert!((0..1).all(|_| Selection::new(5, 9, 1).take()) && !Selection::new(0, 9, 1).take());
    }

    #[test]
    fn a_sample_is_distinct_sorted_and_covers_evenly() {
        let s = sample_indices(1000, 100, 7);
        assert_eq!(s.len(), 100);
        assert!(s.windows(2).all(|w| w[0] < w[1]));
        assert_eq!(sample_indices(5, 9, 1), [0, 1, 2, 3, 4]);
        let mut hits = [0u32; 10];
        for seed in 0..2000 {
            for i in sample_indices(10, 3, seed) {
                hits[i as usize] += 1;
            }
        }
        assert!(hits.iter().all(|&h| (480..720).contains(&h)), "{hits:?}");
    }
}
