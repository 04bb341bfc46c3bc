//! `quantizer = AUTO`: which scheme an index gets that was not told one. Asked anew by every training.
//!
//! The rule is what `make bench-auto` showed to answer most queries a second at recall@10 0.95, one at a time from a
//! plain cache, against SQ8 timed in turns (benches/results/2026-11-20-auto.md; 20,000 vectors: -auto-20k.md):
//!
//! | | SQ4 | SQ2 | PQ4 | RaBitQ 2 | RaBitQ 4 |
//! |---|---|---|---|---|---|
//! | 331,479 x 100 | 1.19 | 0.83 | 0.93 | 1.01 | 1.23 |
//! | 171,928 x 256 | 1.52 | 1.98 | 1.86 | 2.09 | 1.42 |
//! | 107,174 x 384 | 1.30 | 1.98 | 1.56 | 1.74 | 1.56 |
//! | 20,000 x 100 | 1.17 | 0.71 | | 0.86 | |
//! | 20,000 x 256 | 1.45 | 1.97 | | 1.85 | |
//! | 20,000 x 384 | 1.34 | 1.06 | | 1.23 | |
//!
//! Scalar codes of 4 bits win at 100 dimensions (RaBitQ's lead there is within the noise of such runs, and it is coded
//! slower), those of 2 bits where vectors are long and the scan reads most. The size changed the winner once (384
//! dimensions, 20,000 vectors), against the trend of 256 dimensions: no rule is made of that. All data was compared by
//! cosine. Where between 100 and 256 dimensions the border lies is not known; it is put in the middle.

use crate::types::{QuantizerSpec, Similarity};

/// Dimensions from which vectors count as long.
pub(super) const LONG: u32 = 192;

impl QuantizerSpec {
    /// The scheme for `n_items` vectors of `dim` values: scalar codes of 4 bits, of 2 bits for long vectors. Number and
    /// similarity do not matter as far as is known.
    #[must_use]
    pub fn automatic(dim: u32, _n_items: u64, _similarity: Similarity) -> Self {
        if dim < LONG { Self::SQ4 } else { Self::SQ2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_vectors_get_two_bits() {
        for (dim, spec) in [(1, QuantizerSpec::SQ4), (100, QuantizerSpec::SQ4), (256, QuantizerSpec::SQ2)] {
            assert_eq!(QuantizerSpec::automatic(dim, 1_000_000, Similarity::Dot), spec);
        }
    }
}
