//! Exact neighbours of held-out rows, found while their index is being encoded.
//!
//! A query is compared with every row of the quarter of the lists nearest to it, and of 128 lists at least: where its
//! neighbours are, but for one in thousands, for a quarter of the price of comparing it with everything.

use std::ops::Range;

use zeroize::Zeroizing;

use super::curve::{CURVE_K, RecallCurve};
use super::extents::Extents;
use super::rebuild::Rebuilt;
use crate::exec::Exec;
use crate::ivf::{Centroids, ProbeScratch, TopK};
use crate::kernels;
use crate::types::Similarity;

/// Share of the lists that a query is compared with, as a divisor, and the fewest.
const NEAR_SHARE: usize = 4;
const NEAR_LEAST: usize = 128;

/// Held-out rows as queries, with the best rows seen so far.
pub(super) struct Calibrator {
    similarity: Similarity,
    queries: Vec<Query>,
}

struct Query {
    /// In the snapshot that the rebuild reads.
    row: u32,
    vector: Zeroizing<Vec<f32>>,
    /// A bit for each list: whether the query is compared with it.
    near: Vec<u64>,
    top: TopK,
    scores: Vec<f32>,
}

impl Calibrator {
    /// Uses `held_out` rows with their vectors as queries.
    pub(super) fn new(similarity: Similarity, centroids: &Centroids, held_out: Vec<(u32, Vec<f32>)>) -> Self {
        // One more than is counted: each query finds itself.
        let k = CURVE_K[CURVE_K.len() - 1] + 1;
        let count = (centroids.len() / NEAR_SHARE).max(NEAR_LEAST);
        let (mut scratch, mut order) = (ProbeScratch::new(), Vec::new());
        let query = |(row, vector): (u32, Vec<f32>)| {
            centroids.probe(&vector, count, &mut scratch, &mut order);
            let mut near = vec![0u64; centroids.len().div_ceil(64)];
            order.iter().for_each(|&list| near[list as usize / 64] |= 1 << (list % 64));
            Query { row, vector: Zeroizing::new(vector), near, top: TopK::new(k), scores: Vec::new() }
        };
        Self { similarity, queries: held_out.into_iter().map(query).collect() }
    }

    /// Compares every query with its near ones of the extents `range`, whose vectors are `staged` from the first on.
    pub(super) fn observe(&mut self, extents: &Extents, range: Range<usize>, staged: &[f32], exec: &Exec) {
        let similarity = self.similarity;
        let first = extents.rows(range.start).start;
        let part = self.queries.len().div_ceil(exec.threads()).max(1);
        exec.for_each_chunk(&mut self.queries, part, |_, queries| {
            // Extent by extent, so that each is compared with all its queries while it is in the cache.
            for e in range.clone() {
                let (rows, list) = (extents.rows(e), extents.list_of(e));
                for q in queries.iter_mut().filter(|q| q.near[list / 64] >> (list % 64) & 1 == 1) {
                    let dim = q.vector.len();
                    let vectors = &staged[(rows.start - first) as usize * dim..(rows.end - first) as usize * dim];
                    q.scores.resize(rows.len().max(q.scores.len()), 0.0);
                    kernels::best().rows(similarity, &q.vector, vectors, &mut q.scores[..rows.len()]);
                    q.top.offer(&q.scores[..rows.len()], rows.start);
                }
            }
        });
    }

    /// The curve, once `rebuilt` was encoded.
    pub(super) fn curve(&mut self, centroids: &Centroids, rebuilt: &Rebuilt) -> RecallCurve {
        let mut scratch = ProbeScratch::new();
        let (mut order, mut found) = (Vec::new(), Vec::new());
        let mut rank = vec![0u32; centroids.len()];
        let mut ranks = CURVE_K.map(|_| Vec::with_capacity(self.queries.len()));
        let Some(run) = &rebuilt.run else { return RecallCurve::default() };
        for q in &mut self.queries {
            centroids.probe(&q.vector, centroids.len(), &mut scratch, &mut order);
            order.iter().enumerate().for_each(|(i, &list)| rank[list as usize] = i as u32);
            q.top.finish(&mut found);
            let itself = rebuilt.map[(q.row - rebuilt.first) as usize];
            let others = found.iter().map(|&(_, row)| row).filter(|&row| row != itself);
            let near: Vec<u32> = others.map(|row| rank[run.extents.list_of(run.extents.of_row(row))]).collect();
            for (ranks, k) in ranks.iter_mut().zip(CURVE_K) {
                ranks.push(near.iter().take(k).copied().collect());
            }
        }
        RecallCurve::measure([&ranks[0], &ranks[1]], centroids.len())
    }
}
