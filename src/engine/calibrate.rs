//! Exact neighbours of held-out rows, found while their index is being encoded.
//!
//! A query is compared with every row of the quarter of the lists nearest to it, and of 128 lists at least: where its
//! neighbours are on clustered data, for a quarter of the price of comparing it with everything. Where the curve would
//! need more than half of those lists it is not believed, and all lists are probed instead. Under inner product, where
//! near items may lie in any list, a query is compared with all.

use std::ops::Range;

use zeroize::Zeroizing;

use super::curve::{CURVE_K, RecallCurve};
use super::extents::Extents;
use super::rebuild::Rebuilt;
use crate::error::Result;
use crate::exec::{Exec, Watch};
use crate::ivf::{Centroids, ProbeScratch, TopK};
use crate::kernels;
use crate::types::{Metric, Similarity};

/// A held-out row and its vector.
pub(super) type HeldOut = (u32, Zeroizing<Vec<f32>>);

/// Share of the lists that a query is compared with, as a divisor, and the fewest.
const NEAR_SHARE: usize = 4;
const NEAR_LEAST: usize = 128;
/// Queries that one work item prepares or evaluates.
const GRAIN: usize = 64;

/// Held-out rows as queries, with the best rows seen so far.
pub(super) struct Calibrator {
    similarity: Similarity,
    /// Nearest lists that every query is compared with.
    near: usize,
    queries: Vec<Query>,
}

/// Rows of one list that lie side by side.
pub(super) struct Part<'a> {
    pub(super) list: usize,
    /// Number of the first row; the others follow.
    pub(super) first: u32,
    pub(super) vectors: &'a [f32],
}

struct Query {
    /// In the snapshot that the rebuild reads.
    row: u32,
    vector: Zeroizing<Vec<f32>>,
    /// A bit for each list: whether the query is compared with it.
    near: Vec<u64>,
    top: TopK,
}

impl Calibrator {
    /// Uses `held_out` rows with their vectors as queries.
    pub(super) fn new(
        metric: Metric,
        centroids: &Centroids,
        held_out: &[HeldOut],
        exec: &Exec,
        watch: &Watch,
    ) -> Result<Self> {
        // One more than is counted: each query finds itself.
        let k = CURVE_K[CURVE_K.len() - 1] + 1;
        let near = match metric {
            Metric::InnerProduct => centroids.len(),
            _ => (centroids.len() / NEAR_SHARE).max(NEAR_LEAST).min(centroids.len()),
        };
        let parts: Vec<&[HeldOut]> = held_out.chunks(GRAIN).collect();
        let queries = exec.map(parts.len(), |i| {
            let (mut scratch, mut order) = (ProbeScratch::new(), Vec::new());
            let query = |(row, vector): &HeldOut| {
                watch.check()?;
                centroids.probe(vector, near, &mut scratch, &mut order);
                let mut near = vec![0u64; centroids.len().div_ceil(64)];
                order.iter().for_each(|&list| near[list as usize / 64] |= 1 << (list % 64));
                Ok(Query { row: *row, vector: vector.clone(), near, top: TopK::new(k) })
            };
            parts[i].iter().map(query).collect::<Result<Vec<_>>>()
        });
        let mut all = Vec::with_capacity(held_out.len());
        for part in queries {
            all.extend(part?);
        }
        Ok(Self { similarity: metric.similarity(), near, queries: all })
    }

    /// Compares every query with its near ones of the extents `range`, whose vectors are `staged` from the first on.
    pub(super) fn observe(
        &mut self,
        extents: &Extents,
        range: Range<usize>,
        staged: &[f32],
        exec: &Exec,
        watch: &Watch,
    ) -> Result<()> {
        let Some(dim) = self.queries.first().map(|q| q.vector.len()) else { return Ok(()) };
        let first = extents.rows(range.start).start;
        let parts = range.map(|e| {
            let rows = extents.rows(e);
            let vectors = &staged[(rows.start - first) as usize * dim..(rows.end - first) as usize * dim];
            Part { list: extents.list_of(e), first: rows.start, vectors }
        });
        self.compare(&parts.collect::<Vec<_>>(), exec, watch)
    }

    /// Compares every query with its near ones of `parts`.
    pub(super) fn compare(&mut self, parts: &[Part<'_>], exec: &Exec, watch: &Watch) -> Result<()> {
        let similarity = self.similarity;
        let part = self.queries.len().div_ceil(exec.threads()).max(1);
        exec.for_each_chunk(&mut self.queries, part, |_, queries| {
            let mut scores = Vec::new();
            // Part by part, so that each is compared with all its queries while it is in the cache.
            for part in parts {
                if watch.check().is_err() {
                    return;
                }
                for q in queries.iter_mut().filter(|q| q.near[part.list / 64] >> (part.list % 64) & 1 == 1) {
                    scores.resize(part.vectors.len() / q.vector.len(), 0.0);
                    kernels::best().rows(similarity, &q.vector, part.vectors, &mut scores);
                    q.top.offer(&scores, part.first);
                }
            }
        });
        watch.check()
    }

    /// The curve, once `rebuilt` was encoded.
    pub(super) fn curve(
        self,
        centroids: &Centroids,
        rebuilt: &Rebuilt,
        exec: &Exec,
        watch: &Watch,
    ) -> Result<RecallCurve> {
        let Some(run) = &rebuilt.run else { return Ok(RecallCurve::default()) };
        let list_of = |found| run.extents.list_of(run.extents.of_row(found));
        let is_itself = |found, query: u32| found == rebuilt.map[(query - rebuilt.first) as usize];
        self.measure(centroids, list_of, is_itself, exec, watch)
    }

    /// The curve, once all rows were compared: `list_of` tells the list of one that was found, `is_itself` whether it is
    /// the held-out row that a query was made from.
    pub(super) fn measure(
        mut self,
        centroids: &Centroids,
        list_of: impl Fn(u32) -> usize + Sync,
        is_itself: impl Fn(u32, u32) -> bool + Sync,
        exec: &Exec,
        watch: &Watch,
    ) -> Result<RecallCurve> {
        let mut near: Vec<Vec<u32>> = vec![Vec::new(); self.queries.len()];
        let mut work: Vec<(&mut Query, &mut Vec<u32>)> = self.queries.iter_mut().zip(&mut near).collect();
        exec.for_each_chunk(&mut work, GRAIN, |_, work| {
            let mut scratch = ProbeScratch::new();
            let (mut order, mut found) = (Vec::new(), Vec::new());
            let mut rank = vec![0u32; centroids.len()];
            for (q, near) in work {
                if watch.check().is_err() {
                    return;
                }
                centroids.probe(&q.vector, centroids.len(), &mut scratch, &mut order);
                order.iter().enumerate().for_each(|(i, &list)| rank[list as usize] = i as u32);
                q.top.finish(&mut found);
                let others = found.iter().map(|&(_, row)| row).filter(|&row| !is_itself(row, q.row));
                near.extend(others.map(|row| rank[list_of(row)]));
            }
        });
        let ranks = CURVE_K.map(|k| near.iter().map(|near| near[..near.len().min(k)].to_vec()).collect::<Vec<_>>());
        watch.check()?;
        let believed = if self.near == centroids.len() { self.near } else { self.near / 2 };
        Ok(RecallCurve::measure([&ranks[0], &ranks[1]], centroids.len(), believed))
    }
}
