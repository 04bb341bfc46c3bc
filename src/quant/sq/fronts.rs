//! Scores by the first groups of SQ blocks.
//!
//! What is known of a vector by its front: let `X = <w, z>` be what its residual adds to the score of its centroid, `z` its
//! values in their usual deviations and `w` the query's weight of each, and `share` the part of `|w|^2` that lies in the
//! rest. Of vectors with a given `X`, the fronts add `(1 - share) X` on average, with a variance of `share (1 - share) |w|^2`:
//! exactly so for independent normal values, nearly so for residuals. So a vector that scores `t` in all is looked for where
//! the front says `own + (1 - share) (t - own)` less a few deviations, `own` being the centroid's score: the farther the
//! list, the lower.
//!
//! Not under L2, whose terms already hold a part of what the rest says: what is left of it depends on the list.

use super::{Sq, half};
use crate::kernels::{CodeQuery, Kernels, code_bytes, group_dims};
use crate::quant::fronts::FrontQuery;
use crate::quant::{Fronts, Group, Prepared, Scheme};
use crate::types::Similarity;

/// Groups from which fronts are scored.
const LEAST_GROUPS: usize = 8;
/// The usual deviation of a residual in steps of 2 bits: levels of least error for normal ones (Max, 1960).
const DEVIATION: f32 = 1.0 / 0.9957;
/// How many deviations below what is usual a front may be.
const DEVIATIONS: f32 = 2.0;

impl Sq {
    /// Dimensions in a front, half of the groups; 0 where fronts are not scored.
    pub(super) fn front_dims(&self) -> usize {
        let groups = self.dim().div_ceil(group_dims(self.bits));
        match (self.similarity, self.bits) {
            (Similarity::Dot, 2) if groups >= LEAST_GROUPS => groups.div_ceil(2) * group_dims(self.bits),
            _ => 0,
        }
    }

    /// Fills in what fronts need, of a query whose codes and weights are there.
    pub(super) fn prepare_front(&self, prepared: &mut Prepared) {
        let dims = self.front_dims();
        if dims == 0 {
            return;
        }
        let square = |weights: &[f32]| weights.iter().map(|w| w * w).sum::<f32>();
        let (front, rest) = (square(&prepared.weights[..dims]), square(&prepared.weights[dims..]));
        let share = if front + rest > 0.0 { rest / (front + rest) } else { 0.0 };
        let sum: i32 = prepared.codes[dims..].iter().map(|&w| i32::from(w)).sum();
        prepared.front = FrontQuery {
            middle: half(self.bits) * prepared.scale * sum as f32,
            share,
            deviation: DEVIATION * (rest * (1.0 - share)).sqrt(),
        };
    }
}

/// The score of a front below which a vector of a whole score of `least` is hardly ever found in a list whose centroid scores
/// `own`.
fn least_front(FrontQuery { share, deviation, .. }: &FrontQuery, own: f32, least: f32) -> f32 {
    let front = own + (1.0 - share) * (least - own) - DEVIATIONS * deviation;
    if front.is_nan() { f32::NEG_INFINITY } else { front }
}

impl Fronts for Sq {
    fn front_bytes(&self) -> usize {
        code_bytes(self.front_dims(), self.bits)
    }

    fn score_fronts(
        &self,
        kernels: &Kernels,
        group: &Group<'_>,
        centroid: &[f32],
        blocks: &[u8],
        least: &mut [f32],
        out: &mut [f32],
    ) {
        let dims = self.front_dims();
        let query = |i: usize| {
            let prepared = group.prepared[i];
            let own = self.own(kernels, prepared, centroid, group.centroid_scores.map(|scores| scores[i]));
            if least[i] > f32::NEG_INFINITY {
                least[i] = least_front(&prepared.front, own, least[i]);
            }
            let offset = prepared.offset + own + prepared.front.middle;
            CodeQuery { codes: &prepared.codes[..dims], scale: prepared.scale, offset }
        };
        self.score_tiles(kernels, group.prepared.len(), query, blocks, out);
    }
}
