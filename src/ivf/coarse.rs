//! The coarse step of a query: all centroids scored in bytes, of which the nearest lists are chosen.
//!
//! Blocks of 16 centroids about their mean m, a byte a dimension, the step of each dimension folded into the query, which
//! gets a scale of its own: `c ~ m + step (u - 128)`. The *coarse score* of a list is `<q - m, c - m> - |c - m|^2 / 2`, to
//! within rounding: greater = nearer, and [`Relative`] turns it into a distance or a product. Up to [`TOGETHER`] queries are
//! scored in one pass over the blocks, since those of all lists (0.4 MB for 1,659 of 256 dimensions) leave the L1 cache.
//!
//! Under inner product a query's lists are ranked by `<q, c>` instead ([`Coarse::of_products`]): the same blocks without the
//! term, met by the query as it is. So the error is in proportion to the query, and a short query ranks lists as a long one
//! does.
//!
//! The error of a distance, beside that of float32: with e the rounding of the centroid, `<q - c, e>`, least for near lists (a term kept
//! with the list takes the rest); and the rounding of the query, `<d, c - m>` with `|d[j] step[j]|` at most half of the
//! scale, which is alike for lists near each other.

use super::TopK;
use super::bytes::{round, stride};
use crate::buffer::{Buffer, wipe_values};
use crate::error::Result;
use crate::kernels::{CodeBlocks, CodeQuery, Kernels, LANES, best};

/// Most queries whose coarse scores are taken in one pass.
pub const TOGETHER: usize = 4;
/// Bytes of the terms of a block.
const TERMS: usize = LANES * 4;

/// Byte blocks of the centroids about their mean.
#[derive(Debug)]
pub(super) struct Coarse {
    blocks: Buffer,
    mean: Vec<f32>,
    step: Vec<f32>,
    /// `(|c|^2 - |m|^2) / 2` of each centroid; empty where lists are ranked by products.
    half_squares: Vec<f32>,
    /// Expected `|e|^2`, as values fall evenly between two steps.
    pub(super) rounding: f64,
}

/// What the coarse scores of one query are relative to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Relative {
    /// `|q - m|^2 / 2`, or where lists are ranked by products `-<q, m>`.
    from_mean: f32,
    /// `<q, m>`.
    product: f32,
}

impl Relative {
    /// `-|q - c|^2 / 2` of the centroid with this coarse score, or where lists are ranked by products `<q, c>`.
    #[must_use]
    pub fn half_square(&self, score: f32) -> f32 {
        score - self.from_mean
    }
}

/// Memory that the coarse step reuses from query to query.
#[derive(Debug)]
pub struct ProbeScratch {
    pub(super) kernels: &'static Kernels,
    weights: Vec<f32>,
    codes: Vec<i8>,
    /// Of each query of the last pass, `lanes` apart.
    pub(super) scores: Vec<f32>,
    pub(super) lanes: usize,
    pub(super) relative: [Relative; TOGETHER],
    /// For who chooses among all scores.
    pub(crate) top: TopK,
    /// As long as there are lists, likewise.
    pub(crate) spare: Vec<f32>,
    pub(super) found: Vec<(f32, u32)>,
}

impl Default for ProbeScratch {
    fn default() -> Self {
        Self::with_kernels(best())
    }
}

impl ProbeScratch {
    /// Overwrites what came from queries.
    pub fn wipe(&mut self) {
        wipe_values(&mut self.weights);
        wipe_values(&mut self.codes);
        self.relative = Default::default();
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
            lanes: 0,
            relative: Default::default(),
            top: TopK::with_kernels(kernels, 0),
            spare: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Bytes held, about: scores of all lists, of which the scratch of a great index keeps some megabytes.
    pub(crate) fn memory(&self) -> usize {
        (self.scores.capacity() + self.spare.capacity()) * 4 + self.found.capacity() * 8
    }

    /// The scores of query `i` of the last pass, over `lists` lists.
    pub(super) fn row(&self, i: usize, lists: usize) -> (&[f32], Relative) {
        (&self.scores[i * self.lanes..][..lists], self.relative[i])
    }
}

impl Coarse {
    /// For lists ranked by distance.
    pub(super) fn of_distances(dim: usize, rows: &[f32]) -> Result<Self> {
        Self::new(dim, rows, false)
    }

    /// For lists ranked by product.
    pub(super) fn of_products(dim: usize, rows: &[f32]) -> Result<Self> {
        Self::new(dim, rows, true)
    }

    fn new(dim: usize, rows: &[f32], products: bool) -> Result<Self> {
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
        let mut half_squares = Vec::with_capacity(n);
        for (i, row) in rows.chunks_exact(dim).enumerate() {
            let (lane, block) = (i % LANES, &mut blocks.bytes_mut()[i / LANES * block_bytes..][..block_bytes]);
            // -|c|^2 / 2 - <c, e> with e = c^ - c: what is left of the error is <q - c, e>, least for near lists.
            let (mut term, mut half_square) = (0f64, 0f64);
            for (j, &x) in row.iter().enumerate() {
                let centred = x - mean[j];
                let code = if step[j] > 0.0 { (centred / step[j]).round().clamp(-127.0, 127.0) } else { 0.0 };
                block[j / 4 * 64 + lane * 4 + j % 4] = (code as i32 + 128) as u8;
                let error = f64::from(code) * f64::from(step[j]) - f64::from(centred);
                term -= f64::from(centred) * (0.5 * f64::from(centred) + error);
                half_square += 0.5 * f64::from(centred) * (f64::from(x) + f64::from(mean[j]));
            }
            if !products {
                block[groups * 64 + lane * 4..][..4].copy_from_slice(&(term as f32).to_le_bytes());
                half_squares.push(half_square as f32);
            }
        }
        let rounding = step.iter().map(|&step| f64::from(step).powi(2) / 12.0).sum();
        Ok(Self { blocks, mean, step, half_squares, rounding })
    }

    /// `<q, c>` of the centroid of `list`, from its coarse score.
    pub(super) fn product(&self, list: u32, score: f32, relative: &Relative) -> f32 {
        relative.product + (score + self.half_squares.get(list as usize).copied().unwrap_or(0.0))
    }

    /// Leaves the coarse scores of `queries` (up to [`TOGETHER`], of `dim` values) in `scratch`.
    pub(super) fn scores<'q>(
        &self,
        dim: usize,
        queries: impl ExactSizeIterator<Item = &'q [f32]>,
        scratch: &mut ProbeScratch,
    ) {
        let ProbeScratch { kernels, weights, codes, scores, lanes, relative, .. } = scratch;
        let n = queries.len();
        assert!(n <= TOGETHER, "{n} queries in one pass");
        codes.clear();
        codes.resize(n * stride(dim), 0);
        let mut scales = [(0.0, 0.0); TOGETHER];
        for (i, query) in queries.enumerate() {
            assert_eq!(query.len(), dim, "query of another dimension");
            weights.clear();
            let products = self.half_squares.is_empty();
            if products {
                weights.extend(query.iter().zip(&self.step).map(|(q, step)| q * step));
            } else {
                weights.extend(query.iter().zip(&self.mean).zip(&self.step).map(|((q, mean), step)| (q - mean) * step));
            }
            let (scale, sum) = quantise_query(weights, &mut codes[i * stride(dim)..][..stride(dim)]);
            scales[i] = (scale, -128.0 * scale * sum as f32);
            let product = kernels.dot(query, &self.mean);
            let from_mean = if products { -product } else { 0.5 * kernels.l2(query, &self.mean) };
            relative[i] = Relative { from_mean, product };
        }
        let queries: [CodeQuery<'_>; TOGETHER] = std::array::from_fn(|i| {
            let codes = codes.chunks_exact(stride(dim)).nth(i).unwrap_or_default();
            CodeQuery { codes, scale: scales[i].0, offset: scales[i].1 }
        });
        *lanes = self.blocks.len() / (stride(dim) * LANES + TERMS) * LANES;
        scores.resize(n * *lanes, 0.0);
        kernels.sq_tile(8, &queries[..n], CodeBlocks::new(8, dim, true, self.blocks.bytes()), scores);
    }
}

/// `score` with `bias`, not below the least finite value: the k best never keep minus infinity.
#[must_use]
pub fn biased(score: f32, bias: f32) -> f32 {
    (score + bias).max(f32::MIN)
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
