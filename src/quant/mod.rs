//! Quantizers: how the vectors of a list are coded, and how a block of codes is scored.
//!
//! One scheme a file ([`Flat`], [`Sq8`]), closed under [`Quantizer`]. All code 16 vectors to a block in the layouts
//! of [`crate::kernels`]. Scores are on the scale of [`Similarity`], greater = nearer, so lists of either scheme
//! rank together with exact scores. Knows no files: [`Quantizer::write`] and [`Quantizer::read`] are the bytes the
//! engine seals, drawn in FORMAT.md.

mod flat;
mod sq8;
#[cfg(test)]
mod tests;

pub use flat::Flat;
pub use sq8::Sq8;

use zeroize::Zeroize;

use crate::error::{Error, Result};
use crate::ivf::Centroids;
use crate::kernels::{Kernels, LANES};
use crate::types::{MAX_DIMENSION, QuantizerKind, Similarity};

/// Bytes of the head of a written quantizer: kind u8, similarity u8, zero u16, dimension u32.
const HEAD: usize = 8;

/// How the vectors of an index are coded.
#[derive(Clone, Debug, PartialEq)]
pub enum Quantizer {
    /// Full float32 vectors.
    Flat(Flat),
    /// Residuals of one byte a dimension.
    Sq8(Sq8),
}

/// A query made ready for scoring; reused from query to query.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    query: Vec<f32>,
    weights: Vec<f32>,
    codes: Vec<i8>,
    scale: f32,
    offset: f32,
}

impl Prepared {
    /// Overwrites the query.
    pub fn wipe(&mut self) {
        self.query.zeroize();
        self.weights.zeroize();
        self.codes.zeroize();
    }
}

impl Quantizer {
    /// Fits a quantizer to a sample: `rows` (`n x dim`), the list of each row and the lists' centroids.
    pub fn train(
        kind: QuantizerKind,
        similarity: Similarity,
        dim: usize,
        rows: &[f32],
        assignment: &[u32],
        centroids: &Centroids,
    ) -> Result<Self> {
        check_dim(dim)?;
        match kind {
            QuantizerKind::Flat => Ok(Self::flat(similarity, dim)),
            QuantizerKind::Sq8 => Sq8::train(similarity, dim, rows, assignment, centroids).map(Self::Sq8),
        }
    }

    /// The quantizer that codes nothing: exact scores, nothing to train.
    #[must_use]
    pub fn flat(similarity: Similarity, dim: usize) -> Self {
        Self::Flat(Flat::new(similarity, dim))
    }

    /// Which scheme.
    #[must_use]
    pub fn kind(&self) -> QuantizerKind {
        match self {
            Self::Flat(_) => QuantizerKind::Flat,
            Self::Sq8(_) => QuantizerKind::Sq8,
        }
    }

    /// Values of a vector.
    #[must_use]
    pub fn dim(&self) -> usize {
        match self {
            Self::Flat(flat) => flat.dim(),
            Self::Sq8(sq8) => sq8.dim(),
        }
    }

    /// What its scores are.
    #[must_use]
    pub fn similarity(&self) -> Similarity {
        match self {
            Self::Flat(flat) => flat.similarity(),
            Self::Sq8(sq8) => sq8.similarity(),
        }
    }

    /// Bytes of a block of 16 vectors, a multiple of 64.
    #[must_use]
    pub fn block_bytes(&self) -> usize {
        match self {
            Self::Flat(flat) => flat.block_bytes(),
            Self::Sq8(sq8) => sq8.block_bytes(),
        }
    }

    /// Whether scores are estimates, so that the best must be ranked again by the vectors themselves.
    #[must_use]
    pub fn needs_rerank(&self) -> bool {
        matches!(self, Self::Sq8(_))
    }

    /// Candidates to rank again, as a multiple of k; 0 for exact scores.
    #[must_use]
    pub fn default_rerank_mult(&self) -> u32 {
        match self {
            Self::Flat(_) => 0,
            Self::Sq8(_) => sq8::RERANK,
        }
    }

    /// Codes `rows` (`n x dim`), vectors of the list of `centroid`, into the lanes `first_lane..first_lane + n` of the
    /// blocks `out`. Other lanes keep their bytes, so a partly filled block can be filled up.
    pub fn encode(&self, centroid: &[f32], rows: &[f32], first_lane: usize, out: &mut [u8]) {
        let n = rows.len() / self.dim();
        assert_eq!(rows.len(), n * self.dim(), "rows are not whole");
        assert!((first_lane + n).div_ceil(LANES) * self.block_bytes() <= out.len(), "blocks shorter than rows");
        for (i, row) in rows.chunks_exact(self.dim()).enumerate() {
            let position = first_lane + i;
            let block = &mut out[position / LANES * self.block_bytes()..][..self.block_bytes()];
            match self {
                Self::Flat(flat) => flat.encode(row, position % LANES, block),
                Self::Sq8(sq8) => sq8.encode(centroid, row, position % LANES, block),
            }
        }
    }

    /// Makes `query` (`dim` values) ready; once a query, whatever the number of lists.
    pub fn prepare(&self, query: &[f32], out: &mut Prepared) {
        assert_eq!(query.len(), self.dim(), "query of another dimension");
        out.query.clear();
        out.query.extend_from_slice(query);
        if let Self::Sq8(sq8) = self {
            sq8.prepare(out);
        }
    }

    /// Scores the `out.len()` lanes of `blocks` (on a 4-byte border; 64 is faster), codes of the list of `centroid`.
    /// Lanes that were never filled score arbitrarily.
    pub fn score(&self, kernels: &Kernels, prepared: &Prepared, centroid: &[f32], blocks: &[u8], out: &mut [f32]) {
        match self {
            Self::Flat(flat) => flat.score(kernels, &prepared.query, blocks, out),
            Self::Sq8(sq8) => sq8.score(kernels, prepared, centroid, blocks, out),
        }
    }

    /// Writes into `out` (`dim` values) the vector at `position` of the list of `centroid`, as its code says: exact
    /// for flat codes, see [`Sq8`] for the error of the others.
    pub fn decode(&self, centroid: &[f32], blocks: &[u8], position: usize, out: &mut [f32]) {
        assert_eq!(out.len(), self.dim(), "vector of another dimension");
        let block = &blocks[position / LANES * self.block_bytes()..][..self.block_bytes()];
        match self {
            Self::Flat(flat) => flat.decode(block, position % LANES, out),
            Self::Sq8(sq8) => sq8.decode(centroid, block, position % LANES, out),
        }
    }

    /// Appends the bytes that [`Quantizer::read`] takes.
    pub fn write(&self, out: &mut Vec<u8>) {
        let similarity = match self.similarity() {
            Similarity::L2 => 1,
            Similarity::Dot => 2,
        };
        out.extend_from_slice(&[self.kind() as u8, similarity, 0, 0]);
        out.extend_from_slice(&(self.dim() as u32).to_le_bytes());
        if let Self::Sq8(sq8) = self {
            sq8.write(out);
        }
    }

    /// The quantizer of `bytes`, which hold it and nothing else; anything else is `Corrupt`.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let corrupt = Error::Corrupt { what: "quantizer" };
        let Some((head, body)) = bytes.split_first_chunk::<HEAD>() else { return Err(corrupt) };
        let [kind, similarity, 0, 0, d0, d1, d2, d3] = *head else { return Err(corrupt) };
        let similarity = match similarity {
            1 => Similarity::L2,
            2 => Similarity::Dot,
            _ => return Err(corrupt),
        };
        let dim = u32::from_le_bytes([d0, d1, d2, d3]);
        if dim == 0 || dim > MAX_DIMENSION {
            return Err(corrupt);
        }
        let dim = dim as usize;
        match kind {
            k if k == QuantizerKind::Flat as u8 && body.is_empty() => Ok(Self::flat(similarity, dim)),
            k if k == QuantizerKind::Sq8 as u8 => Sq8::read(similarity, dim, body).map(Self::Sq8).ok_or(corrupt),
            _ => Err(corrupt),
        }
    }
}

/// The first 4 bytes of `bytes`, which the caller knows to be there.
fn four(bytes: &[u8]) -> [u8; 4] {
    bytes.first_chunk().copied().unwrap_or_default()
}

fn check_dim(dim: usize) -> Result<()> {
    if dim == 0 || dim > MAX_DIMENSION as usize {
        return Err(Error::invalid("dimension", dim, "1 to 65536"));
    }
    Ok(())
}
