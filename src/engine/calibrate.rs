//! Exact neighbours of some rows, found while the vectors of their index pass by: in training as they are encoded, and
//! when the recall curve is measured anew (`drift`) as they are read.
//!
//! A query is compared with every row of the half of the lists nearest to it, and of 128 lists at least: where its
//! neighbours are on clustered data, for half of the price of comparing it with everything. Where the curve would
//! need more than three quarters of those lists it is not believed, and all lists are probed instead: what lies beyond makes a
//! measured recall too high, and near the end by most. Under inner product, where near items may lie in any list, a
//! query is compared with all. Where neighbours lie teaches the biases of lists (`bias`) as well; the nearest half is that without
//! biases, and what biases bring from beyond it into the ranks of the curve is not seen.

use std::ops::Range;
use std::sync::OnceLock;

use zeroize::Zeroizing;

use super::bias::{self, Biases};
use super::compare::Comparison;
use super::curve::{CURVE_K, RecallCurve};
use super::extents::Extents;
use super::generation::Generation;
use super::margin::{Margins, RANK, half_square};
use super::rebuild::Rebuilt;
use crate::error::{Result, try_with_capacity, try_zeroed};
use crate::exec::{Exec, Watch};
use crate::ivf::{Kept, ProbeScratch};
use crate::types::{Metric, Similarity};

/// A held-out row and its vector.
pub(super) type HeldOut = (u32, Zeroizing<Vec<f32>>);

/// Share of the lists that a query is compared with, as a divisor, and the fewest.
const NEAR_SHARE: usize = 2;
const NEAR_LEAST: usize = 128;
/// Queries that one work item prepares or evaluates.
const GRAIN: usize = 64;

/// Held-out rows as queries, with the best rows seen so far.
pub(super) struct Calibrator {
    similarity: Similarity,
    dim: usize,
    /// The R of [`Margins`]; 0 under inner product, where lists are not visited in the order of what they hold.
    rank: usize,
    /// Nearest lists that every query is compared with.
    near: usize,
    pub(super) queries: Vec<Query>,
}

/// A held-out row as a query.
pub(super) struct Query {
    /// In the snapshot that the rebuild reads.
    row: u32,
    pub(super) vector: Zeroizing<Vec<f32>>,
    /// A bit for each list: whether the query is compared with it.
    near: Vec<u64>,
    top: Kept,
    /// The lists of its neighbours, nearest first, once all were seen.
    pub(super) lists: Vec<u32>,
    /// Then `-|q - x|^2 / 2` of the R-th of them.
    pub(super) reached: Option<f32>,
}

impl Query {
    /// Whether it is compared with the rows of `list`.
    pub(super) fn compared(&self, list: usize) -> bool {
        self.near[list / 64] >> (list % 64) & 1 == 1
    }
}

/// Where the true neighbours of a query lie: the ranks of their lists, and what the first of them ask of a margin.
#[derive(Clone, Default)]
struct Found {
    ranks: Vec<u32>,
    gaps: Vec<f32>,
}

impl Calibrator {
    /// Uses `held_out` rows with their vectors as queries.
    pub(super) fn new(
        metric: Metric,
        g: &Generation,
        held_out: Vec<HeldOut>,
        exec: &Exec,
        watch: &Watch,
    ) -> Result<Self> {
        // One more than is counted: each query finds itself.
        let k = CURVE_K[CURVE_K.len() - 1] + 1;
        let centroids = &g.centroids;
        let rank = if metric == Metric::InnerProduct { 0 } else { RANK };
        let near = match metric {
            Metric::InnerProduct => centroids.len(),
            _ => (centroids.len() / NEAR_SHARE).max(NEAR_LEAST).min(centroids.len()),
        };
        let mut queries = try_with_capacity(held_out.len(), "held-out rows")?;
        for (row, vector) in held_out {
            let words = try_zeroed(centroids.len().div_ceil(64), "held-out rows")?;
            let (lists, reached) = (Vec::new(), None);
            queries.push(Query { row, vector, near: words, top: Kept::new(k)?, lists, reached });
        }
        exec.for_each_chunk(&mut queries, GRAIN, |_, queries| {
            let (mut scratch, mut order) = (ProbeScratch::new(), Vec::new());
            for q in queries {
                if watch.check().is_err() {
                    return;
                }
                centroids.probe(&q.vector, near, &mut scratch, &mut order);
                order.iter().for_each(|&(_, list)| q.near[list as usize / 64] |= 1 << (list % 64));
            }
        });
        watch.check()?;
        Ok(Self { similarity: metric.similarity(), dim: centroids.dim(), rank, near, queries })
    }

    /// Compares every query with its near ones of the extents `range`, whose vectors are `staged` from the first on.
    /// Rows are known by `base` plus their number in [`Self::calibrate`]; those that are `dead` are left out.
    #[allow(clippy::too_many_arguments, reason = "a stretch of rows and who looks at it")]
    pub(super) fn observe(
        &mut self,
        extents: &Extents,
        range: Range<usize>,
        staged: &[f32],
        base: u32,
        dead: impl Fn(u32) -> bool + Sync,
        exec: &Exec,
        watch: &Watch,
    ) -> Result<()> {
        let (similarity, dim) = (self.similarity, self.dim);
        let first = extents.rows(range.start).start;
        let part = self.queries.len().div_ceil(exec.threads()).max(1);
        let failed = OnceLock::new();
        exec.for_each_chunk(&mut self.queries, part, |_, queries| {
            let mut all = || {
                let mut comparison = Comparison::new(similarity, dim)?;
                // Piece by piece, so that each is compared with all its queries while it is in the cache.
                for e in range.clone() {
                    if failed.get().is_some() {
                        break;
                    }
                    let (rows, list) = (extents.rows(e), extents.list_of(e));
                    for start in rows.clone().step_by(comparison.most_rows()) {
                        let rows = start..rows.end.min(start.saturating_add(comparison.most_rows() as u32));
                        let near = queries.iter_mut().filter(|q| q.compared(list));
                        let mut near = near.map(|q| (&q.vector[..], &mut q.top)).peekable();
                        if near.peek().is_none() {
                            break;
                        }
                        let at = |row: u32| (row - first) as usize * dim;
                        let vectors = &staged[at(rows.start)..at(rows.end)];
                        comparison.take_rows(vectors, base + rows.start, |i| dead(base + rows.start + i));
                        comparison.offer_to(near, watch)?;
                    }
                }
                Ok(())
            };
            if let Err(error) = all() {
                failed.get_or_init(|| error);
            }
        });
        failed.into_inner().map_or(Ok(()), Err)
    }

    /// As [`Self::calibrate`], once `rebuilt` was encoded: its rows were observed under their numbers in the new run.
    pub(super) fn calibrate_on(
        self,
        rebuilt: &Rebuilt,
        g: &Generation,
        exec: &Exec,
        watch: &Watch,
    ) -> Result<(Biases, RecallCurve)> {
        let Some(run) = &rebuilt.run else { return Ok(Default::default()) };
        let itself = |row: u32| rebuilt.map[(row - rebuilt.first) as usize];
        let list_of = |row: u32| run.extents.list_of(run.extents.of_row(row));
        self.calibrate(g, itself, list_of, |list| run.extents.list_len(list), exec, watch)
    }

    /// The biases of the lists of `g` and its curve with them, once everything was observed. `itself` gives the number under
    /// which the row of a query was observed, `list_of` the list of such a number, `len` the rows of a list.
    pub(super) fn calibrate(
        mut self,
        g: &Generation,
        itself: impl Fn(u32) -> u32 + Sync,
        list_of: impl Fn(u32) -> usize + Sync,
        len: impl Fn(usize) -> u32,
        exec: &Exec,
        watch: &Watch,
    ) -> Result<(Biases, RecallCurve)> {
        self.locate(itself, list_of, exec);
        if self.rank == 0 {
            let none = Biases::default();
            let curve = self.measure(g, |_| &none, exec, watch)?;
            return Ok((none, curve));
        }
        let mut lens = try_with_capacity(g.lists(), "list lengths")?;
        lens.extend((0..g.lists()).map(len));
        let learned = bias::learn(&self.queries, g, &lens, exec, watch)?;
        let curve = self.measure(g, |query| &learned.of_others[query % 2], exec, watch)?;
        Ok((learned.all, curve))
    }

    /// Tells every query where its neighbours lie.
    pub(super) fn locate(
        &mut self,
        itself: impl Fn(u32) -> u32 + Sync,
        list_of: impl Fn(u32) -> usize + Sync,
        exec: &Exec,
    ) {
        let (similarity, rank) = (self.similarity, self.rank);
        exec.for_each_chunk(&mut self.queries, GRAIN, |_, queries| {
            for q in queries {
                let itself = itself(q.row);
                for (i, (score, row)) in q.top.best().filter(|&(_, row)| row != itself).enumerate() {
                    q.lists.push(list_of(row) as u32);
                    if i + 1 == rank {
                        q.reached = Some(half_square(similarity, score));
                    }
                }
            }
        });
    }

    /// The curve of `g`, of query i with the biases `of(i)`.
    pub(super) fn measure<'b>(
        &self,
        g: &Generation,
        of: impl Fn(usize) -> &'b Biases + Sync,
        exec: &Exec,
        watch: &Watch,
    ) -> Result<RecallCurve> {
        let mut near: Vec<Found> = vec![Found::default(); self.queries.len()];
        exec.for_each_chunk(&mut near, GRAIN, |piece, near| {
            let (mut scratch, mut order) = (ProbeScratch::new(), Vec::new());
            let (mut place, mut halves) = (vec![0u32; g.lists()], Vec::new());
            for (i, near) in (piece * GRAIN..).zip(near) {
                if watch.check().is_err() {
                    return;
                }
                let (q, biases) = (&self.queries[i], of(i));
                g.centroids.score(std::iter::once(&q.vector[..]), &mut scratch);
                let relative = g.centroids.rank(0, g.lists(), &biases.order, &mut scratch, &mut order);
                (0..).zip(&order).for_each(|(i, &(_, list))| place[list as usize] = i);
                near.ranks.extend(q.lists.iter().map(|&list| place[list as usize]));
                g.half_squares(g.centroids.scores(0, &scratch).0, &relative, &mut halves);
                biases.judge(&mut halves);
                if let Some(reached) = q.reached {
                    let first = q.lists.iter().take(CURVE_K[0]);
                    near.gaps.extend(first.map(|&list| reached - halves[list as usize]));
                }
            }
        });
        let gaps: Vec<f32> = near.iter().flat_map(|near| near.gaps.iter().copied()).collect();
        let margins = Margins::measure(self.rank as u32, gaps);
        let first = |near: &Found, k: usize| near.ranks[..near.ranks.len().min(k)].to_vec();
        let ranks = CURVE_K.map(|k| near.iter().map(|near| first(near, k)).collect::<Vec<_>>());
        watch.check()?;
        let believed = if self.near == g.lists() { self.near } else { self.near * 3 / 4 };
        Ok(RecallCurve::measure([&ranks[0], &ranks[1]], g.lists(), believed, margins))
    }
}
