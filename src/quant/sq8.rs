//! SQ8: the residual of a vector from its centroid, one byte a dimension, scored as an integer product.
//!
//! `x ~ c + r^`, `r^[j] = middle[j] + step[j] * (u[j] - 128)`. The query is folded with the steps and rounded to
//! signed bytes of one scale, once a query: `step[j] * q[j] ~ scale * w[j]`; then
//! `<q, r^> ~ scale * sum u w + offset`.
//! * Dot: `<q, x> ~ <q, c> + <q, r^>`: one product with the centroid a list, no term.
//! * L2: `-|q - x|^2 ~ -|q - c|^2 + 2 <q - m, r^> + term`, with `term = -2 <c - m, r^> - |r^|^2 + |e|^2` kept per
//!   vector, where `e` is the coding error: with `|e|^2` what remains of it is `2 <q - x, e>`, which is unbiased and
//!   vanishes near the query. `m`, the mean of the centroids, keeps numbers small when data lies far from the origin.
//!
//! Errors, beside float32 rounding: a decoded value is within `step[j] / 2` of the vector's where the residual is
//! inside `middle +- 127.5 step`, else at the nearer end. A score is within `scale / 2 * sum |u - 128|` (L2: twice
//! that) of the score of the decoded vector (L2: plus `|e|^2`).
//!
//! Block: `ceil(dim / 4)` groups of 64 bytes, see [`crate::kernels`]; L2 adds 16 float32 terms.

use super::{Prepared, Sample, Scheme, each_lane};
use crate::error::Result;
use crate::ivf::bytes::{round, stride};
use crate::ivf::quantise_query;
use crate::kernels::{Kernels, LANES};
use crate::types::{QuantizerSpec, Similarity};

/// Candidates ranked again, times k. On `GloVe` (331,479 x 100, k 10) once k holds 0.982 of the true neighbours and
/// twice k all of 5000.
const RERANK: u32 = 2;
/// Residuals a dimension is trained on.
const SAMPLE: usize = 8192;
/// How far the range of a sample of one row is widened; it falls with the root of the rows.
const WIDEN: f32 = 8.0;
/// Values of the sample sorted in all.
const SAMPLE_VALUES: usize = 1 << 24;
/// Shares of the residuals cut off at each end that training tries.
const CUTS: [f64; 5] = [0.0, 0.0001, 0.0005, 0.002, 0.005];

/// Residual codes of 8 bits with a range of its own for each dimension.
#[derive(Clone, Debug, PartialEq)]
pub struct Sq8 {
    similarity: Similarity,
    /// Middle of the residual's range per dimension.
    middle: Vec<f32>,
    /// Distance of two codes per dimension, positive.
    step: Vec<f32>,
    /// Mean of the centroids.
    origin: Vec<f32>,
}

impl Sq8 {
    /// Chooses per dimension the range of least squared error among some that cut off outliers.
    pub(super) fn train(similarity: Similarity, sample: &Sample<'_>) -> Result<Self> {
        let Sample { rows, lists, centroids, .. } = *sample;
        let (n, dim) = (lists.len(), centroids.dim());
        let mut sums = vec![0f64; dim];
        for centroid in centroids.rows().chunks_exact(dim) {
            sums.iter_mut().zip(centroid).for_each(|(sum, &c)| *sum += f64::from(c));
        }
        let origin = sums.iter().map(|sum| (sum / centroids.len() as f64) as f32).collect();
        let taken = n.min(SAMPLE).min((SAMPLE_VALUES / dim).max(1));
        // Few rows understate what later ones bring; thousands do so by some percent.
        let widen = 1.0 + WIDEN / (taken.max(1) as f32).sqrt();
        let largest = rows.iter().fold(0.0f32, |m, x| m.max(x.abs())).clamp(1e-6, f32::MAX / 512.0);
        let (mut middle, mut step) = (Vec::with_capacity(dim), Vec::with_capacity(dim));
        let mut residuals = Vec::with_capacity(taken);
        for j in 0..dim {
            residuals.clear();
            residuals.extend((0..taken).map(|i| {
                let i = i * n / taken;
                rows[i * dim + j] - centroids.rows()[lists[i] as usize * dim + j]
            }));
            let (low, high) = best_range(&mut residuals);
            let width = (high - low) / 255.0 * widen;
            // A dimension without any spread is exact in its middle and still codes vectors that come later.
            step.push(if width.is_normal() { width } else { largest / 128.0 });
            middle.push(0.5 * (low + high));
        }
        Ok(Self { similarity, middle, step, origin })
    }

    #[cfg(test)]
    pub(super) fn middle(&self, j: usize) -> f32 {
        self.middle[j]
    }

    #[cfg(test)]
    pub(super) fn step(&self, j: usize) -> f32 {
        self.step[j]
    }

    /// Bytes of the codes of a block, before the terms.
    fn code_bytes(&self) -> usize {
        stride(self.dim()) * LANES
    }

    fn has_terms(&self) -> bool {
        self.similarity == Similarity::L2
    }

    /// The inverse of [`Sq8::write`]; `None` when the bytes cannot be from it.
    pub(super) fn read(similarity: Similarity, dim: usize, bytes: &[u8]) -> Option<Self> {
        let (values, []) = bytes.as_chunks::<4>() else { return None };
        if values.len() != dim * 3 {
            return None;
        }
        let mut values: Vec<f32> = values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        let origin = values.split_off(dim * 2);
        let step = values.split_off(dim);
        let finite = values.iter().chain(&origin).all(|x| x.is_finite());
        let steps = step.iter().all(|x| x.is_normal() && *x > 0.0);
        (finite && steps).then_some(Self { similarity, middle: values, step, origin })
    }

    fn encode_row(&self, centroid: &[f32], row: &[f32], lane: usize, block: &mut [u8]) {
        let mut term = 0f64;
        for (j, (&x, &c)) in row.iter().zip(centroid).enumerate() {
            let residual = x - c;
            let level = round(((residual - self.middle[j]) / self.step[j]).clamp(-128.0, 127.0));
            block[j / 4 * 64 + lane * 4 + j % 4] = (level + 128) as u8;
            let coded = f64::from(self.middle[j]) + f64::from(level) * f64::from(self.step[j]);
            let error = coded - f64::from(residual);
            term += error * error - coded * (coded + 2.0 * (f64::from(c) - f64::from(self.origin[j])));
        }
        for j in self.dim()..stride(self.dim()) {
            block[j / 4 * 64 + lane * 4 + j % 4] = 0;
        }
        if self.has_terms() {
            block[self.code_bytes() + lane * 4..][..4].copy_from_slice(&(term as f32).to_le_bytes());
        }
    }
}

impl Scheme for Sq8 {
    fn spec(&self) -> QuantizerSpec {
        QuantizerSpec::SQ8
    }

    fn dim(&self) -> usize {
        self.step.len()
    }

    fn similarity(&self) -> Similarity {
        self.similarity
    }

    fn default_rerank_mult(&self) -> u32 {
        RERANK
    }

    fn block_bytes(&self) -> usize {
        self.code_bytes() + if self.has_terms() { LANES * 4 } else { 0 }
    }

    fn encode(&self, centroid: &[f32], rows: &[f32], first_lane: usize, out: &mut [u8]) {
        each_lane((self.dim(), self.block_bytes()), rows, first_lane, out, |row, lane, block| {
            self.encode_row(centroid, row, lane, block);
        });
    }

    /// Folds `prepared.query` with the steps.
    fn prepare(&self, prepared: &mut Prepared) {
        let l2 = self.has_terms();
        let mut constant = 0f64;
        prepared.weights.clear();
        for (j, &q) in prepared.query.iter().enumerate() {
            let q = if l2 { q - self.origin[j] } else { q };
            constant += f64::from(q) * f64::from(self.middle[j]);
            prepared.weights.push(q * self.step[j]);
        }
        prepared.codes.clear();
        prepared.codes.resize(stride(self.dim()), 0);
        let (scale, sum) = quantise_query(&prepared.weights, &mut prepared.codes);
        let double = if l2 { 2.0 } else { 1.0 };
        prepared.scale = double * scale;
        prepared.offset = (f64::from(double) * (constant - 128.0 * f64::from(scale) * f64::from(sum))) as f32;
    }

    fn score(&self, kernels: &Kernels, prepared: &Prepared, centroid: &[f32], blocks: &[u8], out: &mut [f32]) {
        let list = match self.similarity {
            Similarity::L2 => -kernels.l2(&prepared.query, centroid),
            Similarity::Dot => kernels.dot(&prepared.query, centroid),
        };
        let offset = prepared.offset + list;
        kernels.sq_blocks(8, &prepared.codes, prepared.scale, offset, blocks, self.has_terms(), out);
    }

    fn decode(&self, centroid: &[f32], block: &[u8], lane: usize, out: &mut [f32]) {
        for (j, (x, &c)) in out.iter_mut().zip(centroid).enumerate() {
            let level = f32::from(block[j / 4 * 64 + lane * 4 + j % 4]) - 128.0;
            *x = c + (self.middle[j] + level * self.step[j]);
        }
    }

    /// Appends middles, steps and origin, `dim` float32 each.
    fn write(&self, out: &mut Vec<u8>) {
        for x in self.middle.iter().chain(&self.step).chain(&self.origin) {
            out.extend_from_slice(&x.to_le_bytes());
        }
    }
}

/// The range of least squared error when `values` are coded in 256 levels across it.
fn best_range(values: &mut [f32]) -> (f32, f32) {
    values.sort_unstable_by(f32::total_cmp);
    let last = values.len() - 1;
    let mut chosen = (values[0], values[last]);
    let mut least = f64::INFINITY;
    for cut in CUTS {
        let out = (cut * values.len() as f64) as usize;
        let (low, high) = (values[out], values[last - out]);
        let step = f64::from(high - low) / 255.0;
        let below: f64 = values[..out].iter().map(|&x| f64::from(low - x).powi(2)).sum();
        let above: f64 = values[last + 1 - out..].iter().map(|&x| f64::from(x - high).powi(2)).sum();
        let error = below + above + step * step / 12.0 * (values.len() - 2 * out) as f64;
        if error < least {
            (least, chosen) = (error, (low, high));
        }
    }
    chosen
}
