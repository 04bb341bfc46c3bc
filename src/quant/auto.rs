//! `quantizer = AUTO`: which scheme an index gets that was not told one. Asked anew by every training, so the answer
//! may change as an index grows.

use crate::types::{QuantizerSpec, Similarity};

impl QuantizerSpec {
    /// The scheme for `n_items` vectors of `dim` values: scalar codes of 4 bits, whatever the data.
    #[must_use]
    pub fn automatic(_dim: u32, _n_items: u64, _similarity: Similarity) -> Self {
        Self::SQ4
    }
}
