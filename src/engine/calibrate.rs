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
use super::margin::{Margins, half_square};
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
    /// The R of [`Margins`]; 0 under inner product, where lists are not visited in the order of what they hold.
    rank: usize,
    /// Nearest lists that every query is compared with.
    near: usize,
    queries: Vec<Query>,
}

struct Query {
    /// In the snapshot that the rebuild reads.
    row: u32,
    vector: Zeroizing<Vec<f32>>,
    /// A bit for each list: whether the query is compared with it.
    near: Vec<u64>,
    top: TopK,
}

/// Where the true neighbours of a query lie: the ranks of their lists, and what the first of them ask of a margin.
#[derive(Clone, Default)]
struct Found {
    ranks: Vec<u32>,
    gaps: Vec<f32>,
}

impl Calibrator {
    /// Uses `held_out` rows with their vectors as queries. `candidates` is how many a query for 10 results ranks again.
    pub(super) fn new(
        metric: Metric,
        centroids: &Centroids,
        held_out: &[HeldOut],
        candidates: usize,
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
                order.iter().for_each(|&(_, list)| near[list as usize / 64] |= 1 << (list % 64));
                Ok(Query { row: *row, vector: vector.clone(), near, top: TopK::new(k) })
            };
            parts[i].iter().map(query).collect::<Result<Vec<_>>>()
        });
        let mut all = Vec::with_capacity(held_out.len());
        for part in queries {
            all.extend(part?);
        }
        let rank = match metric {
            Metric::InnerProduct => 0,
            _ => candidates.clamp(CURVE_K[0], k - 1),
        };
        Ok(Self { similarity: metric.similarity(), rank, near, queries: all })
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
        let similarity = self.similarity;
        let first = extents.rows(range.start).start;
        let part = self.queries.len().div_ceil(exec.threads()).max(1);
        exec.for_each_chunk(&mut self.queries, part, |_, queries| {
            let mut scores = Vec::new();
            // Extent by extent, so that each is compared with all its queries while it is in the cache.
            for e in range.clone() {
                if watch.check().is_err() {
                    return;
                }
                let (rows, list) = (extents.rows(e), extents.list_of(e));
                scores.resize(rows.len(), 0.0);
                for q in queries.iter_mut().filter(|q| q.near[list / 64] >> (list % 64) & 1 == 1) {
                    let dim = q.vector.len();
                    let vectors = &staged[(rows.start - first) as usize * dim..(rows.end - first) as usize * dim];
                    kernels::best().rows(similarity, &q.vector, vectors, &mut scores);
                    q.top.offer(&scores, rows.start);
                }
            }
        });
        watch.check()
    }

    /// The curve, once `rebuilt` was encoded.
    pub(super) fn curve(
        mut self,
        centroids: &Centroids,
        rebuilt: &Rebuilt,
        exec: &Exec,
        watch: &Watch,
    ) -> Result<RecallCurve> {
        let Some(run) = &rebuilt.run else { return Ok(RecallCurve::default()) };
        let (similarity, rank) = (self.similarity, self.rank);
        let mut near: Vec<Found> = vec![Found::default(); self.queries.len()];
        let mut work: Vec<(&mut Query, &mut Found)> = self.queries.iter_mut().zip(&mut near).collect();
        exec.for_each_chunk(&mut work, GRAIN, |_, work| {
            let mut scratch = ProbeScratch::new();
            let (mut order, mut found) = (Vec::new(), Vec::new());
            let mut place = vec![(0u32, 0f32); centroids.len()];
            for (q, near) in work {
                if watch.check().is_err() {
                    return;
                }
                centroids.probe(&q.vector, centroids.len(), &mut scratch, &mut order);
                (0..).zip(&order).for_each(|(i, &(half, list))| place[list as usize] = (i, half));
                q.top.finish(&mut found);
                let itself = rebuilt.map[(q.row - rebuilt.first) as usize];
                found.retain(|&(_, row)| row != itself);
                let places = found.iter().map(|&(_, row)| place[run.extents.list_of(run.extents.of_row(row))]);
                near.ranks.extend(places.clone().map(|(rank, _)| rank));
                if let Some(&(score, _)) = rank.checked_sub(1).and_then(|last| found.get(last)) {
                    let reached = half_square(similarity, score);
                    near.gaps.extend(places.take(CURVE_K[0]).map(|(_, half)| reached - half));
                }
            }
        });
        let gaps: Vec<f32> = near.iter().flat_map(|near| near.gaps.iter().copied()).collect();
        let margins = Margins::measure(self.rank as u32, gaps);
        let ranks =
            CURVE_K.map(|k| near.iter().map(|near| near.ranks[..near.ranks.len().min(k)].to_vec()).collect::<Vec<_>>());
        watch.check()?;
        let believed = if self.near == centroids.len() { self.near } else { self.near / 2 };
        Ok(RecallCurve::measure([&ranks[0], &ranks[1]], centroids.len(), believed, margins))
    }
}
