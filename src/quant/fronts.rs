//! Scores by the front of codes, for vectors that are most likely far from a query.
//!
//! A front is the codes of the first dimensions. Most vectors of a list are so far from the query that these say so, and the
//! rest of their codes is neither read nor scored (dimension-pruned scans: PDX, arXiv 2503.04422, ADSampling, arXiv
//! 2303.09855; here with codes, by blocks of 16 vectors, where they stand).

use super::Group;
use crate::kernels::Kernels;

/// A quantizer that scores fronts.
pub trait Fronts: Sync {
    /// Bytes of the front of a block, where it begins.
    fn front_bytes(&self) -> usize;

    /// As [`super::Quantizer::score_many`], by the fronts of `blocks` alone: what a vector scores if the rest of its code is
    /// as usual. `least` has for each query the score that a vector is looked for with; it becomes the front's below which
    /// one is hardly ever found. Minus infinity stays.
    fn score_fronts(
        &self,
        kernels: &Kernels,
        group: &Group<'_>,
        centroid: &[f32],
        blocks: &[u8],
        least: &mut [f32],
        out: &mut [f32],
    );
}

/// What fronts meet of a query.
#[derive(Clone, Debug, Default)]
pub(super) struct FrontQuery {
    /// What the rest of a vector's codes adds if all of them are in the middle, not counting their share of the offset.
    pub(super) middle: f32,
    /// The part of the squared weights of a query that lies in the rest.
    pub(super) share: f32,
    /// The usual deviation of a front from what its whole score lets expect.
    pub(super) deviation: f32,
}
