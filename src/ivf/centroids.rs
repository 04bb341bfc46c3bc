//! The centroids of a generation: which lists a query visits and which list a vector belongs to.
//!
//! Two byte forms of the same rows. *Coarse choice* of a query: see [`super::coarse`]. *Assignment* of
//! many rows: panels for the integer product of [`crate::ivf::bytes`], whose space is fitted to the batch, then the
//! best two are ranked again in float32 (the exact list for 99.95 % of the rows). Rows are assigned by L2, under any metric:
//! so lists are made. Queries rank lists by L2 as well, but under inner product by the product with the centroid.

use std::sync::OnceLock;

use super::bytes::{ByteCentroids, ByteSpace, stride};
use super::coarse::{Coarse, ProbeScratch, Relative, biased};
use crate::error::{Error, Result, try_zeroed};
use crate::exec::Exec;
use crate::kernels::{Best, Kernels, Panels, best};
use crate::types::{MAX_DIMENSION, MAX_LISTS, Similarity};

/// Share of the lists of a query that come first, as a divisor: the nearest, biases counted.
pub const NEAREST_SHARE: usize = 8;
/// Rows assigned together: they stay in the L1 cache while a panel passes.
const ROWS: usize = 480;
/// Batches below this are assigned row by row through the coarse blocks: no panels to build, no thread to wake.
const SMALL: usize = 128;
/// Coarse candidates that are ranked exactly when a row is assigned alone.
const EXACT: usize = 4;
/// Below this dimension 256 levels a dimension are too few to tell many lists apart, and exact distances cost little.
const LOW_DIM: usize = 8;
/// Centroids of `len` lists, `dim` values each. Immutable, shared by all threads.
#[derive(Debug)]
pub struct Centroids {
    dim: usize,
    rows: Vec<f32>,
    coarse: Coarse,
    /// Where queries rank lists by product.
    products: Option<Coarse>,
}

impl Centroids {
    /// Takes `rows`: 1 to 2^20 centroids of `dim` (1 to 65536) finite values each.
    pub fn new(dim: usize, rows: Vec<f32>) -> Result<Self> {
        if dim == 0 || dim > MAX_DIMENSION as usize {
            return Err(Error::invalid("dimension", dim, "1 to 65536"));
        }
        let n = rows.len() / dim;
        if n == 0 || n > MAX_LISTS as usize || n * dim != rows.len() {
            return Err(Error::invalid("centroid values", rows.len(), "1 to 2^20 whole centroids"));
        }
        if !rows.iter().all(|x| x.is_finite()) {
            return Err(Error::invalid("centroid value", "not finite", "finite float32"));
        }
        let coarse = Coarse::of_distances(dim, &rows)?;
        Ok(Self { dim, rows, coarse, products: None })
    }

    /// The same, whose lists queries rank by the product with the centroid: for inner products, where the nearest list by
    /// distance is that of a query's length.
    pub fn ranked_by_product(self) -> Result<Self> {
        let products = Some(Coarse::of_products(self.dim, &self.rows)?);
        Ok(Self { products, ..self })
    }

    /// What queries rank lists with.
    fn ranking(&self) -> &Coarse {
        self.products.as_ref().unwrap_or(&self.coarse)
    }

    /// Number of lists, at least 1.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "there is at least one")]
    pub fn len(&self) -> usize {
        self.rows.len() / self.dim
    }

    /// Values of a centroid.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Centroid of list `i`.
    #[must_use]
    pub fn row(&self, i: usize) -> &[f32] {
        &self.rows[i * self.dim..][..self.dim]
    }

    /// All centroids, list by list.
    #[must_use]
    pub fn rows(&self) -> &[f32] {
        &self.rows
    }

    /// Leaves the coarse scores of all lists for `queries` (1 to [`super::TOGETHER`], of `dim` values each) in `scratch`.
    /// A query's scores do not depend on the others.
    pub fn score<'q>(&self, queries: impl ExactSizeIterator<Item = &'q [f32]>, scratch: &mut ProbeScratch) {
        self.ranking().scores(self.dim, queries, scratch);
    }

    /// The coarse scores of all lists, in order of lists, for query `i` of the last [`Self::score`], and what they are
    /// relative to.
    #[must_use]
    pub fn scores<'s>(&self, i: usize, scratch: &'s ProbeScratch) -> (&'s [f32], Relative) {
        scratch.row(i, self.len())
    }

    /// Writes into `out` the up to `n_probes` first lists of query `i` of the last [`Self::score`], with their coarse scores:
    /// those of the greatest score and bias. `biases` has one for each list, in units of `|q - c|^2 / 2`, or none. Only the
    /// first eighth comes first, and neither it nor the rest in any order.
    pub fn choose(
        &self,
        i: usize,
        n_probes: usize,
        biases: &[f32],
        scratch: &mut ProbeScratch,
        out: &mut Vec<(f32, u32)>,
    ) -> Relative {
        let relative = self.offer(i, n_probes, biases, scratch);
        scratch.top.finish_unsorted(n_probes / NEAREST_SHARE, out);
        self.without_biases(i, biases, scratch, out);
        relative
    }

    /// As [`Self::choose`], in order: of lists with the same score and bias the lower comes first.
    pub fn rank(
        &self,
        i: usize,
        n_probes: usize,
        biases: &[f32],
        scratch: &mut ProbeScratch,
        out: &mut Vec<(f32, u32)>,
    ) -> Relative {
        let relative = self.offer(i, n_probes, biases, scratch);
        scratch.top.finish(out);
        self.without_biases(i, biases, scratch, out);
        relative
    }

    /// Puts back the coarse scores of lists that were chosen with `biases`.
    fn without_biases(&self, i: usize, biases: &[f32], scratch: &ProbeScratch, lists: &mut [(f32, u32)]) {
        if !biases.is_empty() {
            let (scores, _) = self.scores(i, scratch);
            lists.iter_mut().for_each(|(score, list)| *score = scores[*list as usize]);
        }
    }

    /// Writes into `out` the up to `n_probes` lists nearest to `query` (`dim` values), nearest first, each with
    /// `-|query - centroid|^2 / 2` (ranked by product: with the product). Order and values are those of centroids rounded to a byte a dimension: the error of
    /// a squared distance is about 1 % of a list's radius.
    pub fn probe(&self, query: &[f32], n_probes: usize, scratch: &mut ProbeScratch, out: &mut Vec<(f32, u32)>) {
        let relative = self.nearest(self.ranking(), query, n_probes, scratch);
        out.clear();
        out.extend(scratch.found.iter().map(|&(score, list)| (relative.half_square(score), list)));
    }

    /// What the centroid of `list` itself scores, from its coarse `score`: see [`Self::rounding`] for the error.
    #[must_use]
    pub fn own_score(&self, similarity: Similarity, list: u32, score: f32, relative: &Relative) -> f32 {
        match similarity {
            Similarity::L2 => 2.0 * relative.half_square(score),
            Similarity::Dot => self.ranking().product(list, score, relative),
        }
    }

    /// The expected squared distance of a centroid from the one that coarse scores are of.
    #[must_use]
    pub fn rounding(&self) -> f64 {
        self.coarse.rounding
    }

    /// Leaves the `count` lists nearest to `query` by `coarse` in `scratch.found`.
    fn nearest(&self, coarse: &Coarse, query: &[f32], count: usize, scratch: &mut ProbeScratch) -> Relative {
        coarse.scores(self.dim, std::iter::once(query), scratch);
        let relative = self.offer(0, count, &[], scratch);
        scratch.top.finish(&mut scratch.found);
        relative
    }

    /// Offers the scores of query `i`, with `biases` where there are any, to `scratch.top`, for the `count` first lists.
    fn offer(&self, i: usize, count: usize, biases: &[f32], scratch: &mut ProbeScratch) -> Relative {
        let ProbeScratch { top, scores, relative, lanes, spare, .. } = scratch;
        let scores = &scores[i * *lanes..][..self.len()];
        top.reset(count.min(self.len()));
        if biases.is_empty() {
            top.offer_all(scores);
        } else {
            assert_eq!(biases.len(), self.len(), "biases of other lists");
            spare.clear();
            spare.extend(scores.iter().zip(biases).map(|(&score, &bias)| biased(score, bias)));
            top.offer_all(spare);
        }
        relative[i]
    }

    /// Writes into `out` the list of every row of `rows` (`out.len() x dim`, finite): the nearest centroid, of equally
    /// near ones the lower. Exact for all but about 1 row in 2000, whose list is nearly as near. Depends on the batch
    /// only in those rows. A small batch runs on the caller's thread.
    pub fn assign(&self, rows: &[f32], exec: &Exec, out: &mut [u32]) -> Result<()> {
        self.assign_with(best(), rows, exec, out)
    }

    pub(super) fn assign_with(
        &self,
        kernels: &'static Kernels,
        rows: &[f32],
        exec: &Exec,
        out: &mut [u32],
    ) -> Result<()> {
        if Some(rows.len()) != out.len().checked_mul(self.dim) {
            return Err(Error::invalid("row values", rows.len(), "one row of the index's dimension per result"));
        }
        if self.len() == 1 {
            out.fill(0);
            return Ok(());
        }
        let one_by_one = |rows: &[f32], out: &mut [u32]| {
            let mut scratch = ProbeScratch::with_kernels(kernels);
            for (row, out) in rows.chunks_exact(self.dim).zip(out) {
                *out = self.assign_one(row, &mut scratch);
            }
        };
        if out.len() < SMALL {
            one_by_one(rows, out);
            return Ok(());
        }
        if self.dim < LOW_DIM {
            exec.for_each_chunk(out, ROWS, |i, out| one_by_one(&rows[i * ROWS * self.dim..], out));
            return Ok(());
        }
        let space = ByteSpace::fit(rows, self.dim, exec);
        let panels = self.panels(&space, exec)?;
        let failed = OnceLock::new();
        exec.for_each_chunk(out, ROWS, |i, out| {
            let rows = &rows[i * ROWS * self.dim..][..out.len() * self.dim];
            if let Err(error) = self.assign_block(kernels, &space, &panels, rows, out) {
                failed.get_or_init(|| error);
            }
        });
        failed.into_inner().map_or(Ok(()), Err)
    }

    /// All centroids packed in `space`.
    fn panels(&self, space: &ByteSpace, exec: &Exec) -> Result<Panels> {
        let mut units: Vec<f32> = try_zeroed(self.rows.len(), "centroids")?;
        for (centroid, units) in self.rows.chunks_exact(self.dim).zip(units.chunks_exact_mut(self.dim)) {
            space.units(centroid, units);
        }
        ByteCentroids::new(&units, self.dim, exec)?.panels()
    }

    fn assign_block(
        &self,
        kernels: &'static Kernels,
        space: &ByteSpace,
        panels: &Panels,
        rows: &[f32],
        out: &mut [u32],
    ) -> Result<()> {
        let stride = stride(self.dim);
        let mut bytes: Vec<u8> = try_zeroed(out.len() * stride, "byte rows")?;
        let mut clipped = Vec::new();
        for (i, (row, bytes)) in rows.chunks_exact(self.dim).zip(bytes.chunks_exact_mut(stride)).enumerate() {
            if space.encode(kernels, row, &mut bytes[..self.dim]).1 {
                clipped.push(i);
            }
        }
        let index: Vec<u32> = (0..out.len() as u32).collect();
        let mut two = vec![[Best::default(); 2]; out.len()];
        kernels.assign2(&bytes, stride, &index, panels, &mut two);
        for ((row, two), out) in rows.chunks_exact(self.dim).zip(&two).zip(out.iter_mut()) {
            *out = self.exact(kernels, row, two.iter().map(|best| best.position));
        }
        // An outlier does not fit the bytes of its batch; alone it has a scale of its own.
        if !clipped.is_empty() {
            let mut scratch = ProbeScratch::with_kernels(kernels);
            for i in clipped {
                out[i] = self.assign_one(&rows[i * self.dim..][..self.dim], &mut scratch);
            }
        }
        Ok(())
    }

    fn assign_one(&self, row: &[f32], scratch: &mut ProbeScratch) -> u32 {
        if self.dim < LOW_DIM {
            return self.exact(scratch.kernels, row, 0..self.len() as u32);
        }
        self.nearest(&self.coarse, row, EXACT, scratch);
        self.exact(scratch.kernels, row, scratch.found.iter().map(|&(_, list)| list))
    }

    /// The candidate nearest to `row` in float32.
    fn exact(&self, kernels: &Kernels, row: &[f32], candidates: impl Iterator<Item = u32>) -> u32 {
        let distance = |list: u32| kernels.l2(row, self.row(list as usize));
        let ranked = candidates.map(|list| (distance(list), list));
        ranked.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))).map_or(0, |(_, list)| list)
    }
}
