//! Flat codes: the vectors themselves, 16 to a block, so that a scan uses every lane and needs no horizontal sum.
//!
//! Value of vector `v` in dimension `j` at `[j * 16 + v]`, float32 little-endian. Not residual: scores are exact.

use super::{Prepared, Scheme, each_lane, four};
use crate::kernels::{Kernels, LANES};
use crate::types::{QuantizerSpec, Similarity};

/// Full float32 vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Flat {
    similarity: Similarity,
    dim: usize,
}

impl Flat {
    pub(super) fn new(similarity: Similarity, dim: usize) -> Self {
        Self { similarity, dim }
    }
}

impl Scheme for Flat {
    fn spec(&self) -> QuantizerSpec {
        QuantizerSpec::Flat
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn similarity(&self) -> Similarity {
        self.similarity
    }

    fn block_bytes(&self) -> usize {
        self.dim * LANES * 4
    }

    fn default_rerank_mult(&self) -> u32 {
        0
    }

    fn encode(&self, _centroid: &[f32], rows: &[f32], first_lane: usize, out: &mut [u8]) {
        each_lane((self.dim, self.block_bytes()), rows, first_lane, out, |row, lane, block| {
            for (values, x) in block.chunks_exact_mut(LANES * 4).zip(row) {
                values[lane * 4..][..4].copy_from_slice(&x.to_le_bytes());
            }
        });
    }

    fn score(&self, kernels: &Kernels, prepared: &Prepared, _centroid: &[f32], blocks: &[u8], out: &mut [f32]) {
        let blocks: &[f32] = bytemuck::cast_slice(&blocks[..out.len() / LANES * self.block_bytes()]);
        kernels.flat_blocks(self.similarity, &prepared.query, blocks, out);
    }

    fn decode(&self, _centroid: &[f32], block: &[u8], lane: usize, out: &mut [f32]) {
        for (values, x) in block.chunks_exact(LANES * 4).zip(out) {
            *x = f32::from_le_bytes(four(&values[lane * 4..]));
        }
    }
}
