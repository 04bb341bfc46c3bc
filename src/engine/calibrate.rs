//! Exact neighbours of held-out rows, found while their index is being encoded.

use zeroize::Zeroizing;

use super::curve::{CURVE_K, RecallCurve};
use super::rebuild::Rebuilt;
use super::tombstones::Tombstones;
use crate::error::Result;
use crate::exec::Exec;
use crate::ivf::{Centroids, ProbeScratch, TopK};
use crate::kernels;
use crate::types::Similarity;

/// Queries that one work item compares with a page.
const GRAIN: usize = 16;

/// Held-out rows as queries, with the best rows seen so far.
pub(super) struct Calibrator {
    similarity: Similarity,
    /// Rows that are no neighbours.
    dead: Tombstones,
    queries: Vec<Query>,
}

struct Query {
    row: u32,
    vector: Zeroizing<Vec<f32>>,
    top: TopK,
    scores: Vec<f32>,
}

impl Calibrator {
    /// Uses `held_out` rows with their vectors as queries; `dead` rows do not count.
    pub(super) fn new(similarity: Similarity, dim: usize, held_out: Vec<(u32, Vec<f32>)>, dead: &Tombstones) -> Self {
        debug_assert!(held_out.iter().all(|(_, v)| v.len() == dim));
        // One more than is counted: each query finds itself.
        let k = CURVE_K[CURVE_K.len() - 1] + 1;
        let query =
            |(row, vector)| Query { row, vector: Zeroizing::new(vector), top: TopK::new(k), scores: Vec::new() };
        Self { similarity, dead: dead.clone(), queries: held_out.into_iter().map(query).collect() }
    }

    /// Compares every query with a page of rows `first..`.
    pub(super) fn observe(&mut self, first: u32, page: &[f32], exec: &Exec) -> Result<()> {
        let (similarity, dead) = (self.similarity, &self.dead);
        exec.for_each_chunk(&mut self.queries, GRAIN, |_, queries| {
            for q in queries {
                let n = page.len() / q.vector.len();
                q.scores.resize(n.max(q.scores.len()), 0.0);
                kernels::best().rows(similarity, &q.vector, page, &mut q.scores[..n]);
                q.top.offer_with(&q.scores[..n], |i| Some(first + i).filter(|&row| !dead.contains(row)));
            }
        });
        Ok(())
    }

    /// The curve, once all rows were seen; `rebuilt` tells the list of each.
    pub(super) fn curve(&mut self, centroids: &Centroids, rebuilt: &Rebuilt) -> RecallCurve {
        let mut scratch = ProbeScratch::new();
        let (mut order, mut found) = (Vec::new(), Vec::new());
        let mut rank = vec![0u32; centroids.len()];
        let mut ranks = CURVE_K.map(|_| Vec::with_capacity(self.queries.len()));
        for q in &mut self.queries {
            centroids.probe(&q.vector, centroids.len(), &mut scratch, &mut order);
            order.iter().enumerate().for_each(|(i, &list)| rank[list as usize] = i as u32);
            q.top.finish(&mut found);
            let list = |row: u32| rebuilt.lists[(row - rebuilt.first) as usize] as usize;
            let others = found.iter().map(|&(_, row)| row).filter(|&row| row != q.row);
            let near: Vec<u32> = others.filter_map(|row| rank.get(list(row)).copied()).collect();
            for (ranks, k) in ranks.iter_mut().zip(CURVE_K) {
                ranks.push(near.iter().take(k).copied().collect());
            }
        }
        RecallCurve::measure([&ranks[0], &ranks[1]], centroids.len())
    }
}
