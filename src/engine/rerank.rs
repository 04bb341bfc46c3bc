//! Ranking the candidates of a query again by their stored vectors.
//!
//! Where code scores are estimates the best by code are scored first, and of the rest those whose estimate is not so far
//! below the k-th best exact score that it cannot well be off by as much. How far estimates are off follows from the
//! quantizer; what the first were off says whether it is more. (That alone would not do: members of a cluster narrower
//! than the steps of codes are all off by the same.) Where code scores are upper bounds (they hold with high
//! probability: RaBitQ, arXiv 2405.12497) candidates are taken by falling bound, a few at a time, and once the next
//! bound is below the k-th best exact score or outside the radius the rest is left unread: it holds no result.

use super::generation::Generation;
use super::region::Scratch;
use super::run::Values;
use super::snapshot::{Place, Snapshot};
use crate::error::Result;
use crate::kernels;
use crate::quant::Prepared;
use crate::types::{Metric, Similarity};

/// Candidates scored between two looks at the bounds: enough that neighbours in a list are read together.
const GROUP: usize = 8;
/// Candidates whose vectors are asked for together.
const AHEAD: usize = 64;
/// Estimates scored before it is decided how far off they are: so many times k, and at least so many.
const FIRST_MULT: usize = 2;
const FIRST_LEAST: usize = 20;
/// How many times the usual error an estimate may be off. Measured with 60, 60 and 40 candidates for 10 results (171,928 x
/// 256 and 107,174 x 384 with 2 bits, 331,479 x 100 with 4): 3 scores 39, 35 and 31 of them and loses 0.0010, 0.0003 and
/// 0.0001 of recall; 2.5 scores 34, 30 and 29 and loses 0.0025, 0.0017 and 0.0001.
const SPREADS: f32 = 3.0;

/// What to keep.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    /// Most results.
    pub(super) top_k: usize,
    /// Greatest distance of a result.
    pub(super) radius: f32,
    /// Whether estimates are all to be scored.
    pub(super) all: bool,
}

/// Scores rows of a snapshot exactly.
pub(super) struct Reranker<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) generation: &'a Generation,
    /// Prepared as stored vectors are: of length 1 under cosine.
    pub(super) query: &'a [f32],
    /// The same, made ready for codes.
    pub(super) prepared: &'a Prepared,
    pub(super) scratch: &'a mut Scratch,
}

impl Reranker<'_> {
    /// Leaves the nearest of `found` (code scores, greatest first) with their exact scores, nearest first. Gives how
    /// many were scored exactly.
    pub(super) fn rank(&mut self, wanted: Wanted, found: &mut Vec<(f32, u32)>) -> Result<u32> {
        if self.generation.quantizer.scores_are_bounds() {
            return self.rank_by_bound(wanted, found);
        }
        let quantizer = &self.generation.quantizer;
        let mut scored = found.len();
        if !wanted.all && quantizer.spread(self.prepared, 0.0).is_some() {
            scored = scored.min((wanted.top_k * FIRST_MULT).max(FIRST_LEAST));
        }
        let off = self.score(&mut found[..scored])?;
        sort(&mut found[..scored]);
        if scored < found.len() {
            let worst = found[wanted.top_k - 1].0;
            // As the quantizer expects it, or as it was here if that is more.
            let usual = quantizer.spread(self.prepared, worst).unwrap_or(f32::INFINITY);
            let least = worst - SPREADS * usual.max((off / scored as f32).sqrt());
            // Where scores are beyond float32 nothing is known of their error, and all are scored.
            let least = if off.is_nan() || least.is_nan() { f32::NEG_INFINITY } else { least };
            let rest = found[scored..].partition_point(|&(estimate, _)| estimate >= least);
            self.score(&mut found[scored..scored + rest])?;
            scored += rest;
            found.truncate(scored);
            sort(found);
        }
        found.truncate(wanted.top_k);
        Ok(scored as u32)
    }

    /// The front of `found` becomes the best so far; behind it the candidates wait in order of falling bound.
    fn rank_by_bound(&mut self, wanted: Wanted, found: &mut Vec<(f32, u32)>) -> Result<u32> {
        let metric = self.snapshot.config.metric;
        let (mut kept, mut next) = (0, 0);
        while next < found.len() {
            let group = &found[next..found.len().min(next + GROUP.max(wanted.top_k - kept))];
            let worst = if kept == wanted.top_k { found[kept - 1].0 } else { f32::NEG_INFINITY };
            let n = group.partition_point(|&(bound, _)| bound >= worst && within(metric, bound, wanted.radius));
            if n == 0 {
                break;
            }
            self.score(&mut found[next..next + n])?;
            found.copy_within(next..next + n, kept);
            next += n;
            sort(&mut found[..kept + n]);
            kept = (kept + n).min(wanted.top_k);
        }
        found.truncate(kept);
        Ok(next as u32)
    }

    /// Replaces the scores of `candidates` by exact ones; their order is lost. Gives the sum of the squares of what that
    /// changed.
    fn score(&mut self, candidates: &mut [(f32, u32)]) -> Result<f32> {
        let mut off = 0.0;
        // Rows stand in list order: rising rows are rising addresses.
        candidates.sort_unstable_by_key(|&(_, row)| row);
        for group in candidates.chunks_mut(AHEAD) {
            // All are asked for before the first is looked at: memory answers them together.
            let places: [_; AHEAD] = std::array::from_fn(|i| {
                let place = group.get(i).map(|&(_, row)| self.snapshot.locate(row))?;
                let extent = match place {
                    Place::Delta(..) => 0,
                    Place::Run(run, row) => run.find_vector(row),
                };
                Some((place, extent))
            });
            for (place, extent) in places.iter().flatten() {
                if let Place::Run(run, row) = place {
                    run.prefetch_vector(*extent, *row);
                }
            }
            for ((score, _), place) in group.iter_mut().zip(places) {
                let Some((place, extent)) = place else { break };
                let exact = self.exact(&place, extent)?;
                off += (exact - *score).powi(2);
                *score = exact;
                // Beyond the range of float32: as far as can be, but never in the way of others.
                if score.is_nan() {
                    *score = f32::NEG_INFINITY;
                }
            }
        }
        Ok(off)
    }

    /// The score of the vector at `place`, of a run in its `extent`.
    fn exact(&mut self, place: &Place<'_>, extent: usize) -> Result<f32> {
        let (kernels, query) = (kernels::best(), self.query);
        let stored;
        let values = match place {
            Place::Delta(delta, row) => Values::F32(delta.vector(*row)),
            Place::Run(run, row) => {
                stored = run.stored_vector(extent, *row, self.scratch)?;
                stored.values()
            }
        };
        Ok(match (self.generation.quantizer.similarity(), values) {
            (Similarity::L2, Values::F32(vector)) => -kernels.l2(query, vector),
            (Similarity::Dot, Values::F32(vector)) => kernels.dot(query, vector),
            (Similarity::L2, Values::F16(vector)) => -kernels.l2_16(query, vector),
            (Similarity::Dot, Values::F16(vector)) => kernels.dot16(query, vector),
        })
    }
}

/// Whether a result of this score would be inside `radius`: compared as distances, as results are.
fn within(metric: Metric, score: f32, radius: f32) -> bool {
    metric.distance(score) <= radius
}

/// Nearest first, of equal scores the lower row.
fn sort(found: &mut [(f32, u32)]) {
    found.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
}
