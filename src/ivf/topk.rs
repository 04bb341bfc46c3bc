//! The k best of a scan: a running threshold and a buffer of 2k places, no heap.
//!
//! Scores above the threshold pass a SIMD filter and are appended; when 2k wait, a selection keeps the k best and the
//! worst of them becomes the threshold. Invariant: the result is the k greatest by (score, then lower row), whatever
//! the order and the cut of the offers; a NaN or an infinitely bad score is never kept.

use crate::error::{Result, try_with_capacity};
use crate::kernels::{Kernels, LANES, best};

/// Scores filtered between two looks at the buffer.
const CHUNK: usize = 512;

/// Keeps the `k` best of all scores offered. Scores are greater = nearer.
#[derive(Debug)]
pub struct TopK {
    kept: Kept,
    sieve: Sieve,
}

impl TopK {
    /// For the `k` best; 0 keeps nothing.
    #[must_use]
    pub fn new(k: usize) -> Self {
        Self::with_kernels(best(), k)
    }

    /// As [`TopK::new`] with the filter of one SIMD level.
    #[must_use]
    pub fn with_kernels(kernels: &'static Kernels, k: usize) -> Self {
        Self { kept: Kept { k, ..Kept::default() }, sieve: Sieve::with_kernels(kernels) }
    }

    /// Forgets what was offered, for the `k` best of a new scan. Keeps its memory.
    pub fn reset(&mut self, k: usize) {
        self.kept.reset(k);
    }

    /// A lower bound of the k-th best score so far: a vector of a lower score will not be kept. Minus infinity at
    /// first; it rises when 2k candidates have gathered.
    #[must_use]
    pub fn threshold(&self) -> f32 {
        self.kept.threshold()
    }

    /// Offers `scores[i]` for row `first + i`.
    pub fn offer(&mut self, scores: &[f32], first: u32) {
        self.kept.offer(scores, first, &mut self.sieve);
    }

    /// As [`TopK::offer`] for row `i`, after a [`TopK::reset`] and before [`TopK::finish`]: all scores there will be are at
    /// hand, so that most are left out before the first selection.
    pub fn offer_all(&mut self, scores: &[f32]) {
        self.kept.floor = self.sieve.kth_at_least(scores, self.kept.k);
        self.offer(scores, 0);
    }

    /// Appends to `out`, in rising order of `i`, every `(scores[i], i)` of a score of `least` or greater, whatever was offered.
    pub fn at_least(&mut self, scores: &[f32], least: f32, out: &mut Vec<(f32, u32)>) {
        self.sieve.above(scores, least.next_down(), |score, i| out.push((score, i)));
    }

    /// Writes the best into `out` (emptied first): greatest score first, of equal scores the lower row first. The
    /// scan is forgotten.
    pub fn finish(&mut self, out: &mut Vec<(f32, u32)>) {
        out.clear();
        out.extend(self.kept.best());
        self.reset(self.kept.k);
    }

    /// As [`TopK::finish`], but only the nearest `front` come first, and neither they nor the rest in any order.
    pub fn finish_unsorted(&mut self, front: usize, out: &mut Vec<(f32, u32)>) {
        self.kept.select();
        if front < self.kept.keys.len() {
            self.kept.keys.select_nth_unstable(front);
        }
        out.clear();
        out.extend(self.kept.keys.iter().map(|&key| unkey(key)));
        self.reset(self.kept.k);
    }

    /// Writes the rows of the `k` best of `scores` into `out` (emptied first), in rising order of row. What was offered
    /// before is forgotten.
    pub fn best_rows(&mut self, scores: &[f32], k: usize, out: &mut Vec<u32>) {
        let Self { kept, sieve } = self;
        kept.reset(k);
        out.clear();
        if k == 0 {
            return;
        }
        let least = sieve.kth_at_least(scores, k).next_down();
        sieve.above(scores, least, |score, row| kept.keys.push(key(score, row)));
        let mut last = u64::MAX;
        if kept.keys.len() > k {
            // Chosen in a copy: the candidates are in order already, and the last one in says which stay.
            let count = kept.keys.len();
            kept.keys.extend_from_within(..);
            last = *kept.keys[count..].select_nth_unstable(k - 1).1;
            kept.keys.truncate(count);
        }
        out.extend(kept.keys.iter().filter(|&&key| key <= last).map(|&key| unkey(key).1));
        kept.reset(k);
    }
}

/// What [`TopK`] keeps, without the memory of the filter: 16 bytes for each of the `k`, for long scans of many queries at
/// once. By [`Kept::default`] it keeps nothing.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    k: usize,
    /// No score below it can still be among the best.
    floor: f32,
    /// Of up to 2k candidates, see [`key`].
    keys: Vec<u64>,
}

impl Default for Kept {
    fn default() -> Self {
        Self { k: 0, floor: f32::NEG_INFINITY, keys: Vec::new() }
    }
}

/// The filter's memory, shared by all [`Kept`] of a thread.
#[derive(Debug)]
pub(crate) struct Sieve {
    kernels: &'static Kernels,
    scores: Vec<f32>,
    rows: Vec<u32>,
    maxima: Vec<f32>,
}

impl Default for Sieve {
    fn default() -> Self {
        Self::with_kernels(best())
    }
}

impl Sieve {
    fn with_kernels(kernels: &'static Kernels) -> Self {
        Self { kernels, scores: vec![0.0; CHUNK + LANES], rows: vec![0; CHUNK + LANES], maxima: Vec::new() }
    }

    /// A lower bound of the k-th greatest of `scores`: the k-th of their maxima in groups of some 16 or fewer, of which there
    /// are at least 2 k. Each of k groups has a score as great, and of twice as many the k-th is not far below. Minus infinity
    /// where there are too few scores for groups.
    fn kth_at_least(&mut self, scores: &[f32], k: usize) -> f32 {
        let mut groups = [LANES, LANES / 2, LANES / 4, LANES / 8].into_iter();
        let Some(group) = groups.find(|group| (1..=scores.len() / group / 2).contains(&k)) else {
            return f32::NEG_INFINITY;
        };
        // Scores `count` apart are a group: all maxima go on side by side, and rows that follow each other, which are often
        // alike, fall into different groups.
        let count = scores.len() / group;
        self.maxima.clear();
        self.maxima.resize(count, f32::NEG_INFINITY);
        for turn in scores.chunks(count) {
            self.maxima
                .iter_mut()
                .zip(turn)
                .for_each(|(most, &score)| *most = if score > *most { score } else { *most });
        }
        *self.maxima.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1
    }

    /// Calls `f(scores[i], i)` for the scores greater than `threshold`.
    pub(crate) fn above(&mut self, scores: &[f32], threshold: f32, mut f: impl FnMut(f32, u32)) {
        for (chunk, first) in scores.chunks(CHUNK).zip((0u32..).step_by(CHUNK)) {
            let found = self.kernels.above(chunk, threshold, first, &mut self.scores, &mut self.rows);
            self.scores[..found].iter().zip(&self.rows).for_each(|(&score, &i)| f(score, i));
        }
    }
}

impl Kept {
    /// For the `k` best, at least 1, with all the memory they will take.
    pub(crate) fn new(k: usize) -> Result<Self> {
        Ok(Self { k, keys: try_with_capacity(2 * k, "nearest rows")?, ..Self::default() })
    }

    /// Forgets what was offered, for the `k` best of a new scan. Keeps its memory.
    pub(crate) fn reset(&mut self, k: usize) {
        (self.k, self.floor) = (k, f32::NEG_INFINITY);
        self.keys.clear();
    }

    /// Candidates there is memory for.
    pub(crate) fn capacity(&self) -> usize {
        self.keys.capacity()
    }

    /// As [`TopK::threshold`].
    pub(crate) fn threshold(&self) -> f32 {
        self.floor
    }

    /// Offers `scores[i]` for row `first + i`.
    pub(crate) fn offer(&mut self, scores: &[f32], first: u32, sieve: &mut Sieve) {
        self.offer_with(scores, |i| Some(first.wrapping_add(i)), sieve);
    }

    /// Offers `scores[i]` for row `row(i)`; `None` leaves the vector out. `row` is asked only about scores that pass
    /// the threshold.
    pub(crate) fn offer_with(&mut self, scores: &[f32], row: impl Fn(u32) -> Option<u32>, sieve: &mut Sieve) {
        if self.k == 0 {
            return;
        }
        for (chunk, first) in scores.chunks(CHUNK).zip((0u32..).step_by(CHUNK)) {
            // The filter is strict, and an equal score may still win by its row.
            let below = self.floor.next_down();
            let found = sieve.kernels.above(chunk, below, first, &mut sieve.scores, &mut sieve.rows);
            for (&score, &i) in sieve.scores[..found].iter().zip(&sieve.rows) {
                // A selection since the filter looked may have raised the threshold.
                if score >= self.floor
                    && let Some(row) = row(i)
                {
                    if self.keys.len() == 2 * self.k {
                        self.select();
                    }
                    self.keys.push(key(score, row));
                }
            }
        }
    }

    /// Keeps the best `k` and raises the threshold to the worst of them: from here on it is exact, and does not depend on
    /// the order of offers.
    pub(crate) fn select(&mut self) {
        if self.k == 0 || self.keys.len() < self.k {
            return;
        }
        let (_, &mut worst, _) = self.keys.select_nth_unstable(self.k - 1);
        self.floor = unkey(worst).0;
        self.keys.truncate(self.k);
    }

    /// The `rank`-th best score of all offered, exactly; minus infinity while there are fewer. `rank` is 1 to k.
    pub(crate) fn nth_best(&mut self, rank: usize) -> f32 {
        self.select();
        if rank == self.k {
            return self.floor;
        }
        match self.keys.get(..rank) {
            Some(_) => unkey(*self.keys.select_nth_unstable(rank - 1).1).0,
            None => f32::NEG_INFINITY,
        }
    }

    /// The best with their scores, best first, of equal scores the lower row first.
    pub(crate) fn best(&mut self) -> impl Iterator<Item = (f32, u32)> {
        self.select();
        self.keys.sort_unstable();
        self.keys.iter().map(|&key| unkey(key))
    }
}

/// A number that rises from the best candidate to the worst.
fn key(score: f32, row: u32) -> u64 {
    // Plus zero, so that the two zeros are one score.
    let bits = (score + 0.0).to_bits();
    let rising = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
    u64::from(!rising) << 32 | u64::from(row)
}

/// The inverse of [`key`].
fn unkey(key: u64) -> (f32, u32) {
    let rising = !((key >> 32) as u32);
    let bits = if rising >> 31 == 1 { rising & !(1 << 31) } else { !rising };
    (f32::from_bits(bits), key as u32)
}
