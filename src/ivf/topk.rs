//! The k best of a scan: a running threshold and a buffer of 2k places, no heap.
//!
//! Scores above the threshold are appended by a SIMD filter; when 2k wait, a selection keeps the k best and the
//! worst of them becomes the threshold. Invariant: the result is the k greatest by (score, then lower row), whatever
//! the order and the cut of the offers; a NaN or an infinitely bad score is never kept.

use crate::error::{Result, try_with_capacity};
use crate::kernels::{Kernels, LANES, best};

/// Scores filtered between two looks at the buffer.
const CHUNK: usize = 512;

/// Keeps the `k` best of all scores offered. Scores are greater = nearer.
#[derive(Debug)]
pub struct TopK {
    kernels: &'static Kernels,
    k: usize,
    /// No score below it can still be among the best.
    floor: f32,
    len: usize,
    scores: Vec<f32>,
    rows: Vec<u32>,
    keys: Vec<u64>,
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
        let mut top = Self { kernels, k, floor: 0.0, len: 0, scores: Vec::new(), rows: Vec::new(), keys: Vec::new() };
        top.reset(k);
        top
    }

    /// Forgets what was offered, for the `k` best of a new scan. Keeps its memory.
    pub fn reset(&mut self, k: usize) {
        let places = 2 * k + CHUNK + LANES;
        self.scores.resize(places, 0.0);
        self.rows.resize(places, 0);
        self.k = k;
        self.len = 0;
        self.floor = f32::NEG_INFINITY;
    }

    /// Candidates there is memory for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.scores.capacity().max(self.keys.capacity())
    }

    /// A lower bound of the k-th best score so far: a vector of a lower score will not be kept. Minus infinity at
    /// first; it rises when 2k candidates have gathered.
    #[must_use]
    pub fn threshold(&self) -> f32 {
        self.floor
    }

    /// Offers `scores[i]` for row `first + i`.
    pub fn offer(&mut self, scores: &[f32], first: u32) {
        self.offer_with(scores, |i| Some(first.wrapping_add(i)));
    }

    /// Offers `scores[i]` for row `row(i)`; `None` leaves the vector out. `row` is asked only about scores that pass
    /// the threshold.
    pub fn offer_with(&mut self, scores: &[f32], row: impl Fn(u32) -> Option<u32>) {
        if self.k == 0 {
            return;
        }
        for (c, chunk) in scores.chunks(CHUNK).enumerate() {
            // The filter is strict, and an equal score may still win by its row.
            let below = self.floor.next_down();
            let (new_scores, new_rows) = (&mut self.scores[self.len..], &mut self.rows[self.len..]);
            let found = self.kernels.above(chunk, below, (c * CHUNK) as u32, new_scores, new_rows);
            let mut kept = self.len;
            for place in self.len..self.len + found {
                if let Some(row) = row(self.rows[place]) {
                    (self.scores[kept], self.rows[kept]) = (self.scores[place], row);
                    kept += 1;
                }
            }
            self.len = kept;
            if self.len >= 2 * self.k {
                self.select();
            }
        }
    }

    /// Offers one score.
    pub fn push(&mut self, score: f32, row: u32) {
        if self.k > 0 && score >= self.floor && score > f32::NEG_INFINITY {
            (self.scores[self.len], self.rows[self.len]) = (score, row);
            self.len += 1;
            if self.len >= 2 * self.k {
                self.select();
            }
        }
    }

    /// Writes the best into `out` (emptied first): greatest score first, of equal scores the lower row first. The
    /// scan is forgotten.
    pub fn finish(&mut self, out: &mut Vec<(f32, u32)>) {
        self.select();
        self.keys.sort_unstable();
        out.clear();
        out.extend(self.keys.iter().map(|&key| unkey(key)));
        self.reset(self.k);
    }

    /// Writes the rows of the best into `out` (emptied first), in rising order of row. The scan is forgotten.
    pub fn finish_rows(&mut self, out: &mut Vec<u32>) {
        self.select();
        out.clear();
        out.extend_from_slice(&self.rows[..self.len]);
        out.sort_unstable();
        self.reset(self.k);
    }

    /// Keeps the best `k` and raises the floor to the worst of them. Leaves their keys in `keys`.
    fn select(&mut self) {
        self.keys.clear();
        self.keys.extend(self.scores[..self.len].iter().zip(&self.rows[..self.len]).map(|(&s, &r)| key(s, r)));
        if self.len < self.k || self.k == 0 {
            return;
        }
        let (_, &mut worst, _) = self.keys.select_nth_unstable(self.k - 1);
        self.floor = unkey(worst).0;
        self.keys.truncate(self.k);
        for (place, &key) in self.keys.iter().enumerate() {
            (self.scores[place], self.rows[place]) = unkey(key);
        }
        self.len = self.k;
    }
}

/// The `k` best of a long scan of many queries at once: as [`TopK`], in 16 bytes for each of the `k`, with the memory of the
/// filter apart.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    k: usize,
    floor: f32,
    keys: Vec<u64>,
}

/// The filter's memory, shared by all [`Kept`] of a thread.
pub(crate) struct Sieve {
    kernels: &'static Kernels,
    scores: [f32; CHUNK + LANES],
    rows: [u32; CHUNK + LANES],
}

impl Sieve {
    pub(crate) fn new() -> Self {
        Self { kernels: best(), scores: [0.0; CHUNK + LANES], rows: [0; CHUNK + LANES] }
    }
}

impl Kept {
    /// For the `k` best, at least 1.
    pub(crate) fn new(k: usize) -> Result<Self> {
        Ok(Self { k, floor: f32::NEG_INFINITY, keys: try_with_capacity(2 * k, "nearest rows")? })
    }

    /// Offers `scores[i]` for row `first + i`.
    pub(crate) fn offer(&mut self, scores: &[f32], first: u32, sieve: &mut Sieve) {
        for (chunk, first) in scores.chunks(CHUNK).zip((first..).step_by(CHUNK)) {
            let below = self.floor.next_down();
            let found = sieve.kernels.above(chunk, below, first, &mut sieve.scores, &mut sieve.rows);
            for (&score, &row) in sieve.scores[..found].iter().zip(&sieve.rows) {
                if self.keys.len() == 2 * self.k {
                    let (_, &mut worst, _) = self.keys.select_nth_unstable(self.k - 1);
                    self.floor = unkey(worst).0;
                    self.keys.truncate(self.k);
                }
                self.keys.push(key(score, row));
            }
        }
    }

    /// The best with their scores, best first, of equal scores the lower row first.
    pub(crate) fn best(&mut self) -> impl Iterator<Item = (f32, u32)> {
        self.keys.sort_unstable();
        self.keys.truncate(self.k);
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
