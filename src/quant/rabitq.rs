//! `RaBitQ`: the rotated residual of a vector in 1 to 8 bits a dimension, with an error bound for each vector
//! (Gao, Long, SIGMOD 2024, arXiv 2405.12497; Gao et al., arXiv 2409.09913).
//!
//! `r = x - c` is padded with zeros to D places, which fill the groups of the widest plane of the code (more places
//! are more bits, so padding is not wasted), and rotated at random. Its code `y`, halves of odd numbers, is the one of
//! least angle, and the vector is taken as `r^ = mul y`, `mul = |r|^2 / <y, R r>`: then `<r, r^> = |r|^2`, so the
//! error `e = r^ - r` is a random direction across `r`, and `<q, r^>` is unbiased for any `q`. The rotated query is
//! rounded to signed bytes of one scale, once a query, and `y` is never unpacked: `<q, r^> ~ mul scale <q', y>`,
//! summed in integers.
//! * Dot: `<q, x> ~ <q, c> + <q, r^> + t term`, `term = <c, r> - <c, r^>` kept per vector, `t = <q, c> / |c|^2` once
//!   a list. Any `t` is unbiased: what remains of the error is `<q - t c, e>`, and this one makes `|q - t c|` least,
//!   whatever the lengths of queries and vectors; with `t = 1` it would be `|q - c|`.
//! * L2: `-|q - x|^2 ~ -|q - c|^2 + 2 <q - m, r^> + term`, with `term = -2 <c - m, r^> - |r|^2` kept per vector and
//!   `m` the mean of the centroids, as in `sq`. What remains of the error is `2 <q - c, e>`.
//!
//! A score is the upper bound: the estimate plus `|r^| sqrt(g^2 s + |d|^2) eps / sqrt(D - 1)` (L2: twice that), where
//! `g` is `|q - t c|` (L2: `|q - c|`), `s` the squared sine of the angle of `r` and `r^` (`|e| = |r^| sqrt(s)`), and
//! `d` what the rounding took from this query: `d` is no noise, but the rotation makes its direction one, as it does
//! that of `e`. `s` is taken as `s0` at least ([`LEAST_SINES`], just below the usual), so the root is at most
//! `sqrt(s) sqrt(g^2 + |d|^2 / s0)`: one factor of the vector, one of query and list. `eps` = [`EPSILON`] makes it a
//! bound for 97 % of the vectors.
//!
//! Errors, beside float32 rounding: `mul` is rounded by at most `2^-13` of itself. An estimate is within
//! `|d| |r^| + |q - t c| |e|` of the Dot score of the decoded vector, within `2 |d| |r^|` of its L2 score plus `|e|^2`.
//! The root mean square of `|e| / |r|` about halves with every bit: 0.75, 0.36, 0.19, 0.098, 0.050, 0.025, 0.012,
//! 0.0062.
//!
//! Block: the planes of [`layout`], then 16 words of factors ([`crate::kernels::pack_factors`]), then 16 float32
//! terms: beside the codes 8 bytes a vector.

mod encode;
mod layout;
#[cfg(test)]
mod tests;

use zeroize::Zeroizing;

use super::rotation::Rotation;
use super::{Prepared, Sample, Scheme, four};
use crate::ivf::quantise_query;
use crate::kernels::{Finish, Kernels, LANES, unpack_factors};
use crate::types::{QuantizerSpec, Similarity};
use encode::Lanes;

/// Most candidates ranked again, times k, for 1 to 8 bits; the bounds end it sooner. On `GloVe` (331,479 x 100, dot, k 10,
/// 2304 lists of which 128 are probed) the caps lose less than 0.2 % of recall, and of 2, 3 and 4 bits 59, 23 and 16
/// candidates are ranked again.
const RERANK: [u32; 8] = [64, 12, 3, 2, 2, 2, 2, 2];
/// Standard deviations of the error bound: the `eps_0` of the paper.
const EPSILON: f64 = 1.9;
/// Squared sines of the angle of a residual and its code that most vectors exceed, for 1 to 8 bits.
const LEAST_SINES: [f64; 8] = [0.33, 0.105, 0.031, 0.0085, 0.0022, 5.5e-4, 1.3e-4, 3.5e-5];
/// Blocks whose sums are made before they become scores.
const BATCH: usize = 32;
/// Dimensions of the widest group of a bit block: the query is padded to it.
const WIDEST: usize = 32;

/// Rotated residual codes of 1 to 8 bits with an error bound a vector.
#[derive(Clone, Debug, PartialEq)]
pub struct RaBitQ {
    similarity: Similarity,
    dim: usize,
    bits: u8,
    rotation: Rotation,
    /// Mean of the centroids; empty under Dot.
    origin: Vec<f32>,
}

/// What scores of a list share.
#[derive(Clone, Copy)]
struct List {
    /// Added to every score.
    offset: f32,
    /// What terms are multiplied with.
    weight: f32,
    /// What error bounds are multiplied with.
    slack: f32,
}

impl RaBitQ {
    /// Nothing is fitted but the mean of the centroids.
    pub(super) fn train(bits: u8, similarity: Similarity, sample: &Sample<'_>) -> Self {
        let (dim, lists) = (sample.centroids.dim(), sample.centroids.len());
        let mut origin = Vec::new();
        if similarity == Similarity::L2 {
            let mut sums = vec![0f64; dim];
            for centroid in sample.centroids.rows().chunks_exact(dim) {
                sums.iter_mut().zip(centroid).for_each(|(sum, &c)| *sum += f64::from(c));
            }
            origin.extend(sums.iter().map(|sum| (sum / lists as f64) as f32));
        }
        Self { similarity, dim, bits, rotation: Rotation::new(sample.seed, layout::rotated(dim, bits)), origin }
    }

    /// The inverse of [`RaBitQ::write`]; `None` when the bytes cannot be from it.
    pub(super) fn read(similarity: Similarity, dim: usize, bytes: &[u8]) -> Option<Self> {
        let (&[bits, seed @ ..], rest) = bytes.split_first_chunk::<9>()?;
        let (values, []) = rest.as_chunks::<4>() else { return None };
        let origin: Vec<f32> = values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        let whole = origin.len() == if similarity == Similarity::L2 { dim } else { 0 };
        if !(1..=8).contains(&bits) || !whole || !origin.iter().all(|x| x.is_finite()) {
            return None;
        }
        let rotation = Rotation::new(u64::from_le_bytes(seed), layout::rotated(dim, bits));
        Some(Self { similarity, dim, bits, rotation, origin })
    }

    /// Where in a block the factors begin.
    fn plane_bytes(&self) -> usize {
        layout::plane_bytes(self.rotation.len(), self.bits)
    }

    /// `x - m`, rotated; without an origin `x`, rotated.
    fn rotated(&self, x: &[f32], out: &mut Vec<f32>) {
        out.clear();
        out.extend_from_slice(x);
        out.iter_mut().zip(&self.origin).for_each(|(x, m)| *x -= m);
        out.resize(self.rotation.len(), 0.0);
        self.rotation.apply::<1>(out.as_chunks_mut().0);
    }

    /// What the scores of the list of `centroid` share.
    fn list(&self, kernels: &Kernels, prepared: &Prepared, centroid: &[f32]) -> List {
        let (offset, weight, square) = match self.similarity {
            Similarity::L2 => {
                let far = kernels.l2(&prepared.query, centroid);
                (-far, 1.0, f64::from(far))
            }
            Similarity::Dot => {
                let product = kernels.dot(&prepared.query, centroid);
                let length = kernels.dot(centroid, centroid);
                // A centroid too small or too great to be squared has no say.
                let weight = if length.is_normal() { product / length } else { 0.0 };
                // What cancels here is less than what the rounding of the query adds.
                let across = prepared.square - f64::from(weight) * f64::from(product);
                (product, weight, across.max(0.0))
            }
        };
        List { offset, weight, slack: (square + f64::from(prepared.slack).powi(2)).sqrt() as f32 }
    }

    /// Writes the estimates of `blocks` + their bounds.
    fn bounds(&self, kernels: &Kernels, prepared: &Prepared, list: List, blocks: &[u8], out: &mut [f32]) {
        let double = if self.similarity == Similarity::L2 { 2.0 } else { 1.0 };
        let (stride, factors) = (self.block_bytes(), self.plane_bytes());
        let finish = Finish {
            // Twice a level of y is a whole number: 2 u - (2^bits - 1).
            scale: double * prepared.scale * 0.5,
            centre: ((1 << self.bits) - 1) * prepared.sum,
            slack: double * list.slack,
            offset: list.offset,
            weight: list.weight,
            factors,
            stride,
        };
        let (mut sums, mut part) = ([0; BATCH * LANES], [0; BATCH * LANES]);
        for (out, blocks) in out.chunks_mut(BATCH * LANES).zip(blocks.chunks(BATCH * stride)) {
            for (i, plane) in layout::planes(self.rotation.len(), self.bits).enumerate() {
                let query = &prepared.codes[..plane.padded()];
                let codes = &blocks[plane.start..];
                if i == 0 {
                    let sums = &mut sums[..out.len()];
                    kernels.code_blocks(plane.bits, query, codes, stride, sums);
                    sums.iter_mut().for_each(|sum| *sum <<= plane.shift);
                } else {
                    let part = &mut part[..out.len()];
                    kernels.code_blocks(plane.bits, query, codes, stride, part);
                    sums.iter_mut().zip(part).for_each(|(sum, part)| *sum = sum.wrapping_add(*part << plane.shift));
                }
            }
            kernels.finish(&finish, &sums[..out.len()], blocks, out);
        }
    }
}

impl Scheme for RaBitQ {
    fn spec(&self) -> QuantizerSpec {
        QuantizerSpec::RaBitQ { bits: self.bits }
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn similarity(&self) -> Similarity {
        self.similarity
    }

    fn block_bytes(&self) -> usize {
        self.plane_bytes() + LANES * 8
    }

    fn default_rerank_mult(&self) -> u32 {
        RERANK[usize::from(self.bits) - 1]
    }

    fn scores_are_bounds(&self) -> bool {
        true
    }

    fn encode(&self, centroid: &[f32], rows: &[f32], first_lane: usize, out: &mut [u8]) {
        let len = self.rotation.len();
        let mut z = Zeroizing::new(vec![[0f32; LANES]; len]);
        let mut u = Zeroizing::new(vec![[0u8; LANES]; len]);
        let mut part = Zeroizing::new(Vec::with_capacity(len.next_multiple_of(WIDEST)));
        let mut centre = Vec::new();
        self.rotated(centroid, &mut centre);
        let (mut rows, mut position) = (rows, first_lane);
        while !rows.is_empty() {
            let lane = position % LANES;
            let (taken, rest) = rows.split_at(rows.len().min((LANES - lane) * self.dim));
            let lanes = lane..lane + taken.len() / self.dim;
            let block = &mut out[position / LANES * self.block_bytes()..][..self.block_bytes()];
            let unit = residuals(centroid, taken, lane, &mut z);
            self.rotation.apply(&mut z);
            let factors = encode::encode(&z, &unit, &centre, (self.similarity, self.bits), &mut u);
            layout::put(&u, self.bits, lanes.clone(), &mut part, block);
            let (words, terms) = block[self.plane_bytes()..].split_at_mut(LANES * 4);
            for lane in lanes.clone() {
                words[lane * 4..][..4].copy_from_slice(&factors[lane].word.to_le_bytes());
                terms[lane * 4..][..4].copy_from_slice(&factors[lane].term.to_le_bytes());
            }
            position += lanes.len();
            rows = rest;
        }
    }

    /// Rotates the query and rounds it to bytes.
    fn prepare(&self, prepared: &mut Prepared) {
        let Prepared { query, weights, codes, scale, sum, slack, square, .. } = prepared;
        self.rotated(query, weights);
        codes.clear();
        codes.resize(weights.len().next_multiple_of(WIDEST), 0);
        (*scale, *sum) = quantise_query(weights, codes);
        let step = f64::from(*scale);
        let lost = weights.iter().zip(codes).map(|(&w, q)| (f64::from(w) - step * f64::from(*q)).powi(2)).sum::<f64>();
        *slack = (lost / LEAST_SINES[usize::from(self.bits) - 1]).sqrt() as f32;
        *square = query.iter().map(|&q| f64::from(q).powi(2)).sum();
    }

    fn score(&self, kernels: &Kernels, prepared: &Prepared, centroid: &[f32], blocks: &[u8], out: &mut [f32]) {
        let list = self.list(kernels, prepared, centroid);
        self.bounds(kernels, prepared, list, blocks, out);
    }

    fn decode(&self, centroid: &[f32], block: &[u8], lane: usize, out: &mut [f32]) {
        let len = self.rotation.len();
        let (mul, _) = unpack_factors(u32::from_le_bytes(four(&block[self.plane_bytes() + lane * 4..])));
        let middle = ((1u32 << self.bits) - 1) as f32 * 0.5;
        let mut u = Zeroizing::new(vec![0; len]);
        layout::get(block, self.bits, lane, &mut u);
        let mut x = Zeroizing::new(u.iter().map(|&u| [mul * (f32::from(u) - middle)]).collect::<Vec<_>>());
        self.rotation.undo(&mut x);
        for ((out, c), [x]) in out.iter_mut().zip(centroid).zip(x.iter()) {
            *out = c + x;
        }
    }

    /// Appends bits (u8), seed (u64) and under L2 the origin, `dim` float32.
    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.bits);
        out.extend_from_slice(&self.rotation.seed().to_le_bytes());
        for m in &self.origin {
            out.extend_from_slice(&m.to_le_bytes());
        }
    }
}

/// Writes the residuals of `rows` from `centroid` into the lanes of `z` from `first` on, zeros into all others, each in
/// units of its greatest value, which it gives: sums of squares then fit float32 whatever the size of the vectors.
fn residuals(centroid: &[f32], rows: &[f32], first: usize, z: &mut [Lanes]) -> Lanes {
    let mut unit = [0f32; LANES];
    z.fill([0.0; LANES]);
    for (lane, row) in (first..).zip(rows.chunks_exact(centroid.len())) {
        for ((z, x), c) in z.iter_mut().zip(row).zip(centroid) {
            let residual = (x - c).clamp(f32::MIN, f32::MAX);
            z[lane] = residual;
            unit[lane] = unit[lane].max(residual.abs());
        }
    }
    let divisor = unit.map(|unit| if unit > 0.0 { unit } else { 1.0 });
    for z in &mut z[..centroid.len()] {
        for v in 0..LANES {
            z[v] /= divisor[v];
        }
    }
    unit
}
