//! PQ: the residual of a vector from its centroid in `m` parts, each coded by the nearest of 16 or 256 codewords
//! (Jégou, Douze, Schmid, TPAMI 2011), scored by sums of table entries picked in registers (André, Kermarrec, Le
//! Scouarnec, VLDB 2015).
//!
//! `x ~ c + r^`, `r^` the codewords one behind the other. With a rotation (`rotation`) parts are those of `R (x - c)`
//! and `r^ = R^T` of the codewords. The query is folded into one table of products a sub-quantizer, and tables are
//! rounded to bytes, `<q_j, codeword> ~ low_j + scale * u`, of one scale for all, so a scan adds whole numbers:
//! * Dot: `<q, x> ~ <q, c> + <q, r^>`: one product with the centroid a list, no term.
//! * L2: `-|q - x|^2 ~ -|q - c|^2 + 2 <q - m, r^> + term` with the term and the mean `m` of the centroids of
//!   [`super::sq`], so tables are made once a query and not once a list.
//!
//! Errors, beside float32 rounding: a decoded vector is the centroid plus its codewords. A score is within
//! `m * scale / 2` (`scale` the greatest range of a table / 255; L2: twice that) of the score of the decoded vector
//! (L2: plus `|e|^2`, `e` the coding error). No sum saturates.
//!
//! Codes are the same for any number of threads, and at any SIMD level if there is no rotation.
//! Block: codes as in [`crate::kernels`], whole lines of 64 bytes; L2 adds 16 float32 terms.

mod codebooks;
mod procrustes;
mod rotation;
#[cfg(test)]
mod tests;

use zeroize::Zeroizing;

use super::{Prepared, Sample, Scheme};
use crate::error::Result;
use crate::ivf::bytes::round;
use crate::kernels::{Kernels, LANES, best};
use crate::types::{MAX_ROTATED_DIMENSION, QuantizerSpec, Similarity};
use codebooks::{Codebooks, Residuals, Split};

/// Candidates ranked again, times k. On `GloVe` (331,479 x 100, k 10, the whole set scanned) of 50 codes of 4 bits k
/// candidates hold 0.58 of the true neighbours, 10 k 0.970 and 20 k 0.993; of 25 codes of 8 bits 0.63, 0.986 and, 15 k,
/// 0.996.
const RERANK4: u32 = 20;
const RERANK8: u32 = 15;
/// Bytes before the codewords: m u32, bits u8, rotation u8, zero u16.
const HEAD: usize = 8;
/// The places of the query's sub-quantizers are padded to whole groups of these.
const GROUP: usize = 8;

/// Product quantization.
#[derive(Clone, Debug, PartialEq)]
pub struct Pq {
    similarity: Similarity,
    books: Codebooks,
    /// Mean of the centroids.
    origin: Vec<f32>,
    /// Rows of an orthogonal matrix: what residuals are multiplied with before they are cut.
    rotation: Option<Vec<f32>>,
}

impl Pq {
    /// Fits the codebooks, and the rotation first where there is one, to the residuals of the sample.
    pub(super) fn train(
        similarity: Similarity,
        (m, bits, rotated): (u32, u8, bool),
        sample: &Sample<'_>,
    ) -> Result<Self> {
        let split = Split { dim: sample.centroids.dim(), m: m as usize };
        let words = 1 << bits;
        let rotation = if rotated { Some(rotation::learn(split, words, sample)?) } else { None };
        let residuals = Residuals::new(sample, rotation.as_deref(), words);
        let books = Codebooks::train(split, words, &residuals)?;
        Ok(Self { similarity, books, origin: sample.origin(), rotation })
    }

    /// See [`super::Quantizer::fit_memory`]: the rotation is learned first, and is there while codewords are fitted.
    pub(super) fn fit_memory(dim: usize, (m, bits, rotated): (u32, u8, bool), rows: u64, threads: u64) -> u64 {
        let (split, words) = (Split { dim, m: m as usize }, 1 << bits);
        let books = Codebooks::fit_memory(split, words, rows, threads);
        if !rotated {
            return books;
        }
        rotation::fit_memory(split, words, rows, threads).max(books + (dim * dim * 4) as u64)
    }

    /// See [`super::Quantizer::memory`].
    pub(super) fn memory(dim: u64, (m, bits, rotated): (u32, u8, bool)) -> u64 {
        (dim << bits) * 4 + (u64::from(m) << bits) * 4 + dim * 4 + if rotated { dim * dim * 4 } else { 0 }
    }

    fn split(&self) -> Split {
        self.books.split()
    }

    /// Codewords of a sub-quantizer: 16 or 256.
    fn words(&self) -> usize {
        self.books.words()
    }

    fn has_terms(&self) -> bool {
        self.similarity == Similarity::L2
    }

    /// Bytes of the codes of a block, before the terms.
    fn code_bytes(&self) -> usize {
        let m = self.split().m;
        if self.words() == 16 { m.div_ceil(GROUP) * 64 } else { (m * LANES).next_multiple_of(64) }
    }

    /// The inverse of [`Pq::write`]; `None` when the bytes cannot be from it.
    pub(super) fn read(similarity: Similarity, dim: usize, bytes: &[u8]) -> Option<Self> {
        let (&[m0, m1, m2, m3, bits, rotated, 0, 0], body) = bytes.split_first_chunk::<HEAD>()? else { return None };
        let m = u32::from_le_bytes([m0, m1, m2, m3]) as usize;
        let (values, []) = body.as_chunks::<4>() else { return None };
        if m == 0 || m > dim || ![4, 8].contains(&bits) || rotated > 1 {
            return None;
        }
        if rotated == 1 && dim > MAX_ROTATED_DIMENSION as usize {
            return None;
        }
        let words = 1 << bits;
        if values.len() != dim * (words + 1) + usize::from(rotated) * dim * dim {
            return None;
        }
        let mut values: Vec<f32> = values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        if !values.iter().all(|x| x.is_finite()) {
            return None;
        }
        let rotation = values.split_off(dim * (words + 1));
        let origin = values.split_off(dim * words);
        let books = Codebooks::new(Split { dim, m }, words, values);
        Some(Self { similarity, books, origin, rotation: (rotated == 1).then_some(rotation) })
    }

    /// `row` as codebooks see it.
    fn rotate(&self, row: &mut Vec<f32>, spare: &mut Vec<f32>) {
        if let Some(rotation) = &self.rotation {
            spare.resize(row.len(), 0.0);
            best().rows(Similarity::Dot, row, rotation, spare);
            std::mem::swap(row, spare);
        }
    }

    /// Where the code of sub-quantizer `j` of `lane` lies in a block, and by how many bits it is shifted there.
    fn place(&self, j: usize, lane: usize) -> (usize, u32) {
        if self.words() == 16 {
            (j / GROUP * 64 + j % 4 * LANES + lane, if j % GROUP < 4 { 0 } else { 4 })
        } else {
            (j * LANES + lane, 0)
        }
    }

    /// Puts codes (16 lanes a sub-quantizer) into some lanes of a block.
    fn store(&self, codes: &[[u8; LANES]], lanes: std::ops::Range<usize>, block: &mut [u8]) {
        for places in block[..self.code_bytes()].as_chunks_mut::<LANES>().0 {
            places[lanes.clone()].fill(0);
        }
        for (j, codes) in codes.iter().enumerate() {
            for lane in lanes.clone() {
                let (at, shift) = self.place(j, lane);
                block[at] |= codes[lane] << shift;
            }
        }
    }
}

/// What coding a block works with. Residuals and codes are wiped.
struct Scratch {
    /// `c - origin`, as the codebooks see it.
    centre: Vec<f32>,
    row: Zeroizing<Vec<f32>>,
    spare: Zeroizing<Vec<f32>>,
    /// Residuals of 16 vectors, a flat block.
    residuals: Zeroizing<Vec<f32>>,
    codes: Zeroizing<Vec<[u8; LANES]>>,
}

impl Pq {
    /// Codes at most 16 `rows` into the lanes from `first` on.
    fn encode_block(&self, centroid: &[f32], rows: &[f32], first: usize, scratch: &mut Scratch, block: &mut [u8]) {
        let dim = self.dim();
        let lanes = first..first + rows.len() / dim;
        for (lane, row) in lanes.clone().zip(rows.chunks_exact(dim)) {
            scratch.row.clear();
            scratch.row.extend(row.iter().zip(centroid).map(|(x, c)| x - c));
            self.rotate(&mut scratch.row, &mut scratch.spare);
            for (values, &x) in scratch.residuals.as_chunks_mut::<LANES>().0.iter_mut().zip(scratch.row.iter()) {
                values[lane] = x;
            }
        }
        for (j, codes) in scratch.codes.iter_mut().enumerate() {
            let part = self.split().part(j);
            self.books.nearest(j, &scratch.residuals[part.start * LANES..part.end * LANES], codes);
        }
        self.store(&scratch.codes, lanes.clone(), block);
        if self.has_terms() {
            let terms = self.terms(scratch, lanes.clone());
            for lane in lanes {
                block[self.code_bytes() + lane * 4..][..4].copy_from_slice(&(terms[lane] as f32).to_le_bytes());
            }
        }
    }

    /// `-2 <c - origin, r^> - |r^|^2 + |e|^2` of some lanes.
    fn terms(&self, scratch: &Scratch, lanes: std::ops::Range<usize>) -> [f64; LANES] {
        let mut terms = [0f64; LANES];
        for (j, codes) in scratch.codes.iter().enumerate() {
            for (i, at) in self.split().part(j).enumerate() {
                let centre = 2.0 * f64::from(scratch.centre[at]);
                for lane in lanes.clone() {
                    let coded = f64::from(self.books.value(j, codes[lane], i));
                    let error = coded - f64::from(scratch.residuals[at * LANES + lane]);
                    terms[lane] += error * error - coded * (coded + centre);
                }
            }
        }
        terms
    }
}

impl Scheme for Pq {
    fn spec(&self) -> QuantizerSpec {
        let bits = self.words().ilog2() as u8;
        QuantizerSpec::Pq { m: self.split().m as u32, bits, rotation: self.rotation.is_some() }
    }

    fn dim(&self) -> usize {
        self.split().dim
    }

    fn similarity(&self) -> Similarity {
        self.similarity
    }

    fn default_rerank_mult(&self) -> u32 {
        if self.words() == 16 { RERANK4 } else { RERANK8 }
    }

    fn block_bytes(&self) -> usize {
        self.code_bytes() + if self.has_terms() { LANES * 4 } else { 0 }
    }

    fn encode(&self, centroid: &[f32], rows: &[f32], first_lane: usize, out: &mut [u8]) {
        let dim = self.dim();
        let mut spare = Zeroizing::new(Vec::new());
        let mut centre: Vec<f32> = centroid.iter().zip(&self.origin).map(|(c, m)| c - m).collect();
        if self.has_terms() {
            self.rotate(&mut centre, &mut spare);
        }
        let residuals = Zeroizing::new(vec![0.0; dim * LANES]);
        let codes = Zeroizing::new(vec![[0; LANES]; self.split().m]);
        let mut scratch = Scratch { centre, row: Zeroizing::new(Vec::new()), spare, residuals, codes };
        let mut rest = rows;
        let mut position = first_lane;
        while !rest.is_empty() {
            let lane = position % LANES;
            let (now, later) = rest.split_at(rest.len().min((LANES - lane) * dim));
            let block = &mut out[position / LANES * self.block_bytes()..][..self.block_bytes()];
            self.encode_block(centroid, now, lane, &mut scratch, block);
            position += LANES - lane;
            rest = later;
        }
    }

    /// Makes the tables of `prepared.query`.
    fn prepare(&self, prepared: &mut Prepared) {
        let double = if self.has_terms() { 2.0 } else { 1.0 };
        let Prepared { query, weights, products, tables, .. } = prepared;
        weights.clear();
        match self.similarity {
            Similarity::Dot => weights.extend_from_slice(query),
            Similarity::L2 => weights.extend(query.iter().zip(&self.origin).map(|(q, m)| q - m)),
        }
        self.rotate(weights, products);
        products.clear();
        products.resize(self.split().m * self.words(), 0.0);
        for (j, products) in products.chunks_exact_mut(self.words()).enumerate() {
            best().flat_blocks(Similarity::Dot, &weights[self.split().part(j)], self.books.of(j), products);
        }
        let padded = if self.words() == 16 { self.split().m.next_multiple_of(GROUP) } else { self.split().m };
        tables.clear();
        tables.resize(padded * self.words(), 0);
        let (scale, low) = round_tables(products, self.words(), tables);
        prepared.scale = double * scale;
        prepared.offset = (f64::from(double) * low) as f32;
    }

    fn score(&self, kernels: &Kernels, prepared: &Prepared, centroid: &[f32], blocks: &[u8], out: &mut [f32]) {
        let list = match self.similarity {
            Similarity::L2 => -kernels.l2(&prepared.query, centroid),
            Similarity::Dot => kernels.dot(&prepared.query, centroid),
        };
        let (tables, scale, offset) = (&prepared.tables, prepared.scale, prepared.offset + list);
        if self.words() == 16 {
            kernels.pq4_blocks(tables, scale, offset, blocks, self.has_terms(), out);
        } else {
            kernels.pq8_blocks(tables, scale, offset, blocks, self.has_terms(), out);
        }
    }

    fn decode(&self, centroid: &[f32], block: &[u8], lane: usize, out: &mut [f32]) {
        for j in 0..self.split().m {
            let (at, shift) = self.place(j, lane);
            let code = block[at] >> shift & (self.words() - 1) as u8;
            let part = self.split().part(j);
            for (i, x) in out[part].iter_mut().enumerate() {
                *x = self.books.value(j, code, i);
            }
        }
        if let Some(rotation) = &self.rotation {
            // The transposed product: a sum of rows.
            let mut sums = Zeroizing::new(vec![0f64; out.len()]);
            for (row, &y) in rotation.chunks_exact(out.len()).zip(out.iter()) {
                sums.iter_mut().zip(row).for_each(|(sum, &r)| *sum += f64::from(y) * f64::from(r));
            }
            out.iter_mut().zip(sums.iter()).for_each(|(x, &sum)| *x = sum as f32);
        }
        out.iter_mut().zip(centroid).for_each(|(x, &c)| *x += c);
    }

    /// Appends the head, codewords, origin and rotation if any.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.split().m as u32).to_le_bytes());
        out.extend_from_slice(&[self.words().ilog2() as u8, u8::from(self.rotation.is_some()), 0, 0]);
        for x in self.books.values().iter().chain(&self.origin).chain(self.rotation.iter().flatten()) {
            out.extend_from_slice(&x.to_le_bytes());
        }
    }
}

/// Rounds tables of `words` products each to bytes of one scale: `product ~ low + scale * byte`, `low` the least of a
/// table. Gives the scale and the sum of the lows.
fn round_tables(products: &[f32], words: usize, out: &mut [u8]) -> (f32, f64) {
    let ends = |table: &[f32]| {
        // Lane by lane first: a single running minimum would wait for itself.
        let (mut low, mut high) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
        for values in table.as_chunks::<LANES>().0 {
            for v in 0..LANES {
                low[v] = if values[v] < low[v] { values[v] } else { low[v] };
                high[v] = if values[v] > high[v] { values[v] } else { high[v] };
            }
        }
        (low.into_iter().fold(f32::INFINITY, f32::min), high.into_iter().fold(f32::NEG_INFINITY, f32::max))
    };
    let (mut lows, mut range) = (0f64, 0f32);
    for table in products.chunks_exact(words) {
        let (low, high) = ends(table);
        lows += f64::from(low);
        range = range.max(high - low);
    }
    let scale = range / 255.0;
    let factor = if scale.is_normal() { 1.0 / scale } else { 0.0 };
    for (table, out) in products.chunks_exact(words).zip(out.chunks_exact_mut(words)) {
        let (low, _) = ends(table);
        for (out, &product) in out.iter_mut().zip(table) {
            *out = round((product - low) * factor) as u8;
        }
    }
    (scale, lows)
}
