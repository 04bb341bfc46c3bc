//! The centroids of a generation: which lists a query visits and which list a vector belongs to.
//!
//! Two byte forms of the same rows. *Coarse choice* of one query: blocks of 16 centroids, a step per dimension
//! folded into the query, which gets its own scale; about 10 us for 2300 lists of 100 dimensions. *Assignment* of
//! many rows: panels for the integer product of [`crate::ivf::bytes`], whose space is fitted to the batch, then the
//! best two are ranked again in float32 (the exact list for 99.95 % of the rows). Both rank by L2, also for inner
//! products, because lists are made by L2.

use std::sync::OnceLock;

use super::TopK;
use super::bytes::{ByteCentroids, ByteSpace, round, stride};
use crate::buffer::{Buffer, wipe_values};
use crate::error::{Error, Result, try_zeroed};
use crate::exec::Exec;
use crate::kernels::{Best, CodeQuery, Kernels, LANES, Panels, best};
use crate::types::{MAX_DIMENSION, MAX_LISTS};

/// Rows assigned together: they stay in the L1 cache while a panel passes.
const ROWS: usize = 480;
/// Batches below this are assigned row by row through the coarse blocks: no panels to build, no thread to wake.
const SMALL: usize = 128;
/// Coarse candidates that are ranked exactly when a row is assigned alone.
const EXACT: usize = 4;
/// Below this dimension 256 levels a dimension are too few to tell many lists apart, and exact distances cost little.
const LOW_DIM: usize = 8;
/// Bytes of the terms of a coarse block.
const TERMS: usize = LANES * 4;

/// Centroids of `len` lists, `dim` values each. Immutable, shared by all threads.
#[derive(Debug)]
pub struct Centroids {
    dim: usize,
    rows: Vec<f32>,
    coarse: Coarse,
}

/// Byte blocks of the centroids about their mean: `c[j] ~ mean[j] + step[j] * (u - 128)`.
#[derive(Debug)]
struct Coarse {
    blocks: Buffer,
    mean: Vec<f32>,
    step: Vec<f32>,
}

/// Memory that [`Centroids::probe`] reuses from query to query.
#[derive(Debug)]
pub struct ProbeScratch {
    kernels: &'static Kernels,
    weights: Vec<f32>,
    codes: Vec<i8>,
    scores: Vec<f32>,
    /// For who chooses among what [`Centroids::all`] gave.
    pub(crate) top: TopK,
    /// As long as there are lists, likewise.
    pub(crate) spare: Vec<f32>,
    found: Vec<(f32, u32)>,
}

impl Default for ProbeScratch {
    fn default() -> Self {
        Self::with_kernels(best())
    }
}

impl ProbeScratch {
    /// Overwrites what came from the query.
    pub fn wipe(&mut self) {
        wipe_values(&mut self.weights);
        wipe_values(&mut self.codes);
    }

    /// Empty scratch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Scratch whose queries run on one SIMD level.
    #[must_use]
    pub fn with_kernels(kernels: &'static Kernels) -> Self {
        Self {
            kernels,
            weights: Vec::new(),
            codes: Vec::new(),
            scores: Vec::new(),
            top: TopK::with_kernels(kernels, 0),
            spare: Vec::new(),
            found: Vec::new(),
        }
    }
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
        let coarse = Coarse::new(dim, &rows)?;
        Ok(Self { dim, rows, coarse })
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

    /// Writes into `out` the up to `n_probes` lists nearest to `query` (`dim` values), nearest first, each with
    /// `-|query - centroid|^2 / 2`. Order and values are those of centroids rounded to a byte a dimension: the error of
    /// a squared distance is about 1 % of a list's radius.
    pub fn probe(&self, query: &[f32], n_probes: usize, scratch: &mut ProbeScratch, out: &mut Vec<(f32, u32)>) {
        self.nearest(query, n_probes, scratch);
        let from_mean = 0.5 * scratch.kernels.l2(query, &self.coarse.mean);
        out.clear();
        out.extend(scratch.found.iter().map(|&(score, list)| (score - from_mean, list)));
    }

    /// As [`Centroids::probe`], but only the nearest eighth comes first, and neither it nor the rest in any order.
    pub fn probe_unsorted(
        &self,
        query: &[f32],
        n_probes: usize,
        scratch: &mut ProbeScratch,
        out: &mut Vec<(f32, u32)>,
    ) {
        self.choose(query, n_probes, scratch);
        scratch.top.finish_unsorted(n_probes / 8, out);
        let from_mean = 0.5 * scratch.kernels.l2(query, &self.coarse.mean);
        out.iter_mut().for_each(|(score, _)| *score -= from_mean);
    }

    /// Writes into `out` what [`Centroids::probe`] gives for every list, in order of lists.
    pub fn all(&self, query: &[f32], scratch: &mut ProbeScratch, out: &mut Vec<f32>) {
        assert_eq!(query.len(), self.dim, "query of another dimension");
        self.coarse.scores(query, scratch);
        let from_mean = 0.5 * scratch.kernels.l2(query, &self.coarse.mean);
        out.clear();
        out.extend(scratch.scores[..self.len()].iter().map(|score| score - from_mean));
    }

    /// Leaves the `count` nearest lists in `scratch.found`.
    fn nearest(&self, query: &[f32], count: usize, scratch: &mut ProbeScratch) {
        self.choose(query, count, scratch);
        scratch.top.finish(&mut scratch.found);
    }

    /// Offers all lists to `scratch.top`, for the `count` nearest.
    fn choose(&self, query: &[f32], count: usize, scratch: &mut ProbeScratch) {
        assert_eq!(query.len(), self.dim, "query of another dimension");
        self.coarse.scores(query, scratch);
        scratch.top.reset(count.min(self.len()));
        scratch.top.offer_all(&scratch.scores[..self.len()]);
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
        let space = ByteSpace::fit(rows, self.dim);
        let panels = self.panels(&space)?;
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
    fn panels(&self, space: &ByteSpace) -> Result<Panels> {
        let mut units: Vec<f32> = try_zeroed(self.rows.len(), "centroids")?;
        for (centroid, units) in self.rows.chunks_exact(self.dim).zip(units.chunks_exact_mut(self.dim)) {
            space.units(centroid, units);
        }
        ByteCentroids::new(&units, self.dim)?.panels()
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
            if space.encode(row, bytes).1 {
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
        self.nearest(row, EXACT, scratch);
        self.exact(scratch.kernels, row, scratch.found.iter().map(|&(_, list)| list))
    }

    /// The candidate nearest to `row` in float32.
    fn exact(&self, kernels: &Kernels, row: &[f32], candidates: impl Iterator<Item = u32>) -> u32 {
        let distance = |list: u32| kernels.l2(row, self.row(list as usize));
        let ranked = candidates.map(|list| (distance(list), list));
        ranked.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))).map_or(0, |(_, list)| list)
    }
}

impl Coarse {
    fn new(dim: usize, rows: &[f32]) -> Result<Self> {
        let n = rows.len() / dim;
        let mut sums = vec![0f64; dim];
        for row in rows.chunks_exact(dim) {
            sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        let mean: Vec<f32> = sums.iter().map(|sum| (sum / n as f64) as f32).collect();
        let mut step = vec![0f32; dim];
        for row in rows.chunks_exact(dim) {
            for ((step, x), m) in step.iter_mut().zip(row).zip(&mean) {
                *step = step.max((x - m).abs() / 127.0);
            }
        }
        let groups = stride(dim) / 4;
        let block_bytes = groups * 64 + TERMS;
        let mut blocks = Buffer::zeroed(n.div_ceil(LANES) * block_bytes, "coarse centroids")?;
        for (i, row) in rows.chunks_exact(dim).enumerate() {
            let (lane, block) = (i % LANES, &mut blocks.bytes_mut()[i / LANES * block_bytes..][..block_bytes]);
            // -|c|^2 / 2 - <c, e> with e = c^ - c: what is left of the error is <q - c, e>, least for near lists.
            let mut term = 0f64;
            for (j, &x) in row.iter().enumerate() {
                let centred = x - mean[j];
                let code = if step[j] > 0.0 { (centred / step[j]).round().clamp(-127.0, 127.0) } else { 0.0 };
                block[j / 4 * 64 + lane * 4 + j % 4] = (code as i32 + 128) as u8;
                let error = f64::from(code) * f64::from(step[j]) - f64::from(centred);
                term -= f64::from(centred) * (0.5 * f64::from(centred) + error);
            }
            block[groups * 64 + lane * 4..][..4].copy_from_slice(&(term as f32).to_le_bytes());
        }
        Ok(Self { blocks, mean, step })
    }

    /// Leaves `<q, c> - |c|^2 / 2` about the mean, for every lane, in `scratch.scores`.
    fn scores(&self, query: &[f32], scratch: &mut ProbeScratch) {
        let dim = query.len();
        scratch.weights.clear();
        scratch.weights.extend(query.iter().zip(&self.mean).zip(&self.step).map(|((q, mean), step)| (q - mean) * step));
        scratch.codes.clear();
        scratch.codes.resize(stride(dim), 0);
        let (scale, sum) = quantise_query(&scratch.weights, &mut scratch.codes);
        let block_bytes = stride(dim) * LANES + TERMS;
        scratch.scores.resize(self.blocks.len() / block_bytes * LANES, 0.0);
        let offset = -128.0 * scale * sum as f32;
        let query = CodeQuery { codes: &scratch.codes, scale, offset };
        scratch.kernels.sq_blocks(8, &query, self.blocks.bytes(), true, &mut scratch.scores);
    }
}

/// Rounds `weights` to signed bytes of one scale: `weights[j] ~ scale * codes[j]`. Gives the scale and the sum of
/// the codes. The error of a weight is at most `scale / 2`.
pub(crate) fn quantise_query(weights: &[f32], codes: &mut [i8]) -> (f32, i32) {
    let greatest = weights.iter().fold(0f32, |most, w| most.max(w.abs()));
    let scale = greatest / 127.0;
    if !scale.is_normal() {
        codes.fill(0);
        return (0.0, 0);
    }
    let mut sum = 0;
    for (w, code) in weights.iter().zip(codes) {
        let q = round((w / scale).clamp(-127.0, 127.0));
        sum += q;
        *code = q as i8;
    }
    (scale, sum)
}
