//! SQ: the residual of a vector from its centroid in 8, 4 or 2 bits a dimension, scored as an integer product.
//!
//! `x ~ c + r^`, `r^[j] = middle[j] + step[j] * (u[j] - half)`, `half = (2^bits - 1) / 2`: evenly spaced levels, as
//! many above the middle as below. The query is folded with the steps and rounded to signed bytes of one scale, once a
//! query: `step[j] * q[j] ~ scale * w[j]`; then `<q, r^> ~ scale * sum u w + offset`.
//! * Dot: `<q, x> ~ <q, c> + <q, r^>`: one product with the centroid a list, no term.
//! * L2: `-|q - x|^2 ~ -|q - c|^2 + 2 <q - m, r^> + term`, with `term = -2 <c - m, r^> - |r^|^2 + |e|^2` kept per
//!   vector, where `e` is the coding error: with `|e|^2` what remains of it is `2 <q - x, e>`, which is unbiased and
//!   vanishes near the query. `m`, the mean of the centroids, keeps numbers small when data lies far from the origin.
//!
//! Errors, beside float32 rounding: a decoded value is within `step[j] / 2` of the vector's where the residual is
//! inside `middle +- (half + 0.5) step`, else at the nearer end. A score is within `scale / 2 * sum |u - half|` (L2:
//! `scale` includes the factor 2) of the score of the decoded vector (L2: plus `|e|^2`).
//!
//! Block: code groups of `bits`, see [`crate::kernels`]; L2 adds 16 float32 terms. `fronts` scores by the first groups.

mod fit;
mod fronts;

use super::auto::LONG;
use super::{Fronts, Group, Prepared, Sample, Scheme, each_lane};
use crate::error::Result;
use crate::ivf::bytes::round;
use crate::ivf::quantise_query;
use crate::kernels::{CodeBlocks, CodeQuery, Kernels, LANES, code_bytes, get_codes, group_dims, put_codes};
use crate::types::{QuantizerSpec, Similarity};

/// Dimensions coded at once: whole groups of every width.
const CHUNK: usize = 32;
/// Queries whose codes are laid beside each other.
const TILE: usize = 4;

/// Residual codes with a middle and a step of its own for each dimension.
#[derive(Clone, Debug, PartialEq)]
pub struct Sq {
    bits: u32,
    similarity: Similarity,
    /// Middle of the levels per dimension.
    middle: Vec<f32>,
    /// Distance of two levels per dimension, positive.
    step: Vec<f32>,
    /// `1 / step`.
    inverse: Vec<f32>,
    /// Mean of the centroids.
    origin: Vec<f32>,
    /// Expected squared error of a code inside the levels: values fall evenly between two steps.
    error: f64,
}

impl Sq {
    /// Chooses the levels of every dimension.
    pub(super) fn train(bits: u8, similarity: Similarity, sample: &Sample<'_>) -> Result<Self> {
        let (middle, step) = fit::levels(bits.into(), sample)?.into_iter().unzip();
        Ok(Self::new(bits.into(), similarity, middle, step, sample.origin()))
    }

    fn new(bits: u32, similarity: Similarity, middle: Vec<f32>, step: Vec<f32>, origin: Vec<f32>) -> Self {
        let inverse = step.iter().map(|step| 1.0 / step).collect();
        let error = step.iter().map(|&step| f64::from(step).powi(2) / 12.0).sum();
        Self { bits, similarity, middle, step, inverse, origin, error }
    }

    #[cfg(test)]
    pub(super) fn middle(&self, j: usize) -> f32 {
        self.middle[j]
    }

    #[cfg(test)]
    pub(super) fn step(&self, j: usize) -> f32 {
        self.step[j]
    }

    /// The middle of all codes: what a code is above it, in steps, is its level.
    pub(super) fn half(&self) -> f32 {
        half(self.bits)
    }

    /// How much greater the squared error of codes is than that inside the levels, `step^2 / 12`, because some residuals
    /// lie beyond them: for normal ones and the levels of least error (Max, 1960), 0.1188 for 0.9957^2 / 12 and 0.01154 for
    /// 0.3352^2 / 12.
    fn overload(&self) -> f32 {
        match self.bits {
            2 => 1.44,
            4 => 1.23,
            _ => 1.1,
        }
    }

    /// Bytes of the codes of a block, before the terms.
    fn code_bytes(&self) -> usize {
        code_bytes(self.dim(), self.bits)
    }

    fn has_terms(&self) -> bool {
        self.similarity == Similarity::L2
    }

    /// The inverse of [`Sq::write`]; `None` when the bytes cannot be from it.
    pub(super) fn read(similarity: Similarity, dim: usize, bytes: &[u8]) -> Option<Self> {
        let (&bits, values) = bytes.split_first()?;
        let (values, []) = values.as_chunks::<4>() else { return None };
        if ![8, 4, 2].contains(&bits) || values.len() != dim * 3 {
            return None;
        }
        let mut values: Vec<f32> = values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        let origin = values.split_off(dim * 2);
        let step = values.split_off(dim);
        let finite = values.iter().chain(&origin).all(|x| x.is_finite());
        let steps = step.iter().all(|x| x.is_normal() && *x > 0.0);
        (finite && steps).then(|| Self::new(bits.into(), similarity, values, step, origin))
    }

    /// Codes `row` and puts it into `lane`, some dimensions at a time: coding them is vector code, putting them is not.
    fn encode_row(&self, centroid: &[f32], row: &[f32], lane: usize, block: &mut [u8]) {
        let mut term = 0f64;
        for first in (0..row.len()).step_by(CHUNK) {
            let end = row.len().min(first + CHUNK);
            let (row, centroid) = (&row[first..end], &centroid[first..end]);
            let mut codes = [0; CHUNK];
            self.code(first, centroid, row, &mut codes);
            let padded = row.len().next_multiple_of(group_dims(self.bits));
            put_codes(self.bits, &codes[..padded], lane, &mut block[code_bytes(first, self.bits)..]);
            if self.has_terms() {
                term += self.term(first, centroid, row, &codes);
            }
        }
        if self.has_terms() {
            block[self.code_bytes() + lane * 4..][..4].copy_from_slice(&(term as f32).to_le_bytes());
        }
    }

    /// The codes of the dimensions from `first` on that `row` holds.
    fn code(&self, first: usize, centroid: &[f32], row: &[f32], codes: &mut [u8; CHUNK]) {
        let half = self.half();
        let levels = self.middle[first..].iter().zip(&self.inverse[first..]);
        for (((&x, &c), (&middle, &inverse)), code) in row.iter().zip(centroid).zip(levels).zip(codes) {
            *code = round(((x - c - middle) * inverse).clamp(-half, half) + half) as u8;
        }
    }

    /// What the dimensions from `first` on that `row` holds add to the term. Sums of a fixed order: one result on all
    /// machines.
    fn term(&self, first: usize, centroid: &[f32], row: &[f32], codes: &[u8; CHUNK]) -> f64 {
        let half = self.half();
        let mut terms = [0f32; CHUNK];
        let levels = self.middle[first..].iter().zip(&self.step[first..]).zip(&self.origin[first..]);
        let values = row.iter().zip(centroid).zip(codes);
        for (((&x, &c), &code), (((&middle, &step), &origin), term)) in values.zip(levels.zip(&mut terms)) {
            let coded = middle + (f32::from(code) - half) * step;
            let error = coded - (x - c);
            *term = error * error - coded * (coded + 2.0 * (c - origin));
        }
        terms.iter().map(|&term| f64::from(term)).sum()
    }
}

impl Sq {
    /// What `centroid` itself scores, which may be known. A score beyond float32 is not: the exact one may be inside.
    fn own(&self, kernels: &Kernels, prepared: &Prepared, centroid: &[f32], known: Option<f32>) -> f32 {
        known.filter(|own| own.is_finite()).unwrap_or_else(|| match self.similarity {
            Similarity::L2 => -kernels.l2(&prepared.query, centroid),
            Similarity::Dot => kernels.dot(&prepared.query, centroid),
        })
    }

    /// A prepared query as it meets the codes of the list of `centroid`, whose own score may be known.
    fn to_list<'a>(
        &self,
        kernels: &Kernels,
        prepared: &'a Prepared,
        centroid: &[f32],
        known: Option<f32>,
    ) -> CodeQuery<'a> {
        let own = self.own(kernels, prepared, centroid, known);
        CodeQuery { codes: &prepared.codes, scale: prepared.scale, offset: prepared.offset + own }
    }

    /// Scores the `n` queries that `query` gives, some at once, against `bytes`.
    fn score_tiles<'a>(
        &self,
        kernels: &Kernels,
        n: usize,
        mut query: impl FnMut(usize) -> CodeQuery<'a>,
        bytes: &[u8],
        out: &mut [f32],
    ) {
        let blocks = CodeBlocks::new(self.bits, self.dim(), self.has_terms(), bytes);
        if n == 1 {
            return kernels.sq_blocks(self.bits, &query(0), blocks, out);
        }
        let each = out.len() / n;
        for (first, out) in (0..n).step_by(TILE).zip(out.chunks_mut(TILE * each)) {
            let n = out.len() / each;
            let none = CodeQuery { codes: &[], scale: 0.0, offset: 0.0 };
            let queries: [_; TILE] = std::array::from_fn(|i| if i < n { query(first + i) } else { none });
            kernels.sq_tile(self.bits, &queries[..n], blocks, out);
        }
    }
}

impl Scheme for Sq {
    fn spec(&self) -> QuantizerSpec {
        QuantizerSpec::Sq { bits: self.bits as u8 }
    }

    fn dim(&self) -> usize {
        self.step.len()
    }

    fn similarity(&self) -> Similarity {
        self.similarity
    }

    /// So many that ranking again loses at most 0.2 % of recall. Measured on `GloVe` (331,479 x 100, dot, k 10, 2304
    /// lists, 120 read for recall 0.964): with 4 bits 40 candidates lose 0.0010, 30 lose 0.0023; with 2 bits 100 lose
    /// 0.022, 200 lose 0.008, 300 lose 0.0023. With 8 bits 20 lose none of 5000, 10 lose 0.018.
    /// Of long vectors (171,928 x 256, 107,174 x 384, all lists) fewer do: 2 bits keep 0.998 and 0.999 of recall@10 with 6
    /// times k, 4 bits all of it with 3 times.
    fn default_rerank_mult(&self) -> u32 {
        let long = self.dim() >= LONG as usize;
        match self.bits {
            8 => 2,
            4 if long => 3,
            4 => 4,
            _ if long => 6,
            _ => 30,
        }
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
        let (mut constant, mut spread) = (0f64, 0f32);
        prepared.weights.clear();
        for (j, &q) in prepared.query.iter().enumerate() {
            let q = if l2 { q - self.origin[j] } else { q };
            constant += f64::from(q) * f64::from(self.middle[j]);
            let weight = q * self.step[j];
            spread += weight * weight;
            prepared.weights.push(weight);
        }
        prepared.spread = (spread * self.overload() / 12.0).sqrt();
        prepared.codes.clear();
        prepared.codes.resize(self.dim().next_multiple_of(group_dims(self.bits)), 0);
        let (scale, sum) = quantise_query(&prepared.weights, &mut prepared.codes);
        let double = if l2 { 2.0 } else { 1.0 };
        prepared.scale = double * scale;
        let middle = f64::from(self.half()) * f64::from(scale) * f64::from(sum);
        prepared.offset = (f64::from(double) * (constant - middle)) as f32;
        self.prepare_front(prepared);
    }

    fn fronts(&self) -> Option<&dyn Fronts> {
        (self.front_dims() > 0).then_some(self)
    }

    fn code_error(&self) -> Option<f64> {
        Some(self.error)
    }

    /// Dot: of `<q, e>`. L2: of `2 <q - x, e>`, where `score` tells the length of `q - x`, taken as alike in all dimensions.
    fn spread(&self, prepared: &Prepared, score: f32) -> Option<f32> {
        let error = self.error as f32 * self.overload() / self.dim() as f32;
        Some(if self.has_terms() { 2.0 * (score.abs() * error).sqrt() } else { prepared.spread })
    }

    fn score(&self, kernels: &Kernels, prepared: &Prepared, centroid: &[f32], blocks: &[u8], out: &mut [f32]) {
        self.score_tiles(kernels, 1, |_| self.to_list(kernels, prepared, centroid, None), blocks, out);
    }

    fn score_many(&self, kernels: &Kernels, group: &mut Group<'_>, centroid: &[f32], blocks: &[u8], out: &mut [f32]) {
        let (prepared, known) = (group.prepared, group.centroid_scores);
        let query = |i: usize| self.to_list(kernels, prepared[i], centroid, known.map(|scores| scores[i]));
        self.score_tiles(kernels, prepared.len(), query, blocks, out);
    }

    fn decode(&self, centroid: &[f32], block: &[u8], lane: usize, out: &mut [f32]) {
        let half = self.half();
        let mut codes = [0; CHUNK];
        for (i, out) in out.chunks_mut(CHUNK).enumerate() {
            let first = i * CHUNK;
            get_codes(self.bits, &block[code_bytes(first, self.bits)..], lane, &mut codes[..out.len()]);
            for (k, (x, &code)) in out.iter_mut().zip(&codes).enumerate() {
                let j = first + k;
                *x = centroid[j] + (self.middle[j] + (f32::from(code) - half) * self.step[j]);
            }
        }
    }

    /// Appends the bits, then middles, steps and origin, `dim` float32 each.
    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.bits as u8);
        for x in self.middle.iter().chain(&self.step).chain(&self.origin) {
            out.extend_from_slice(&x.to_le_bytes());
        }
    }
}

/// Half of the greatest code of `bits`.
fn half(bits: u32) -> f32 {
    ((1 << bits) - 1) as f32 / 2.0
}
