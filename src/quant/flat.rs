//! Flat codes: the vectors themselves, 16 to a block, so that a scan uses every lane and needs no horizontal sum.
//!
//! Value of vector `v` in dimension `j` at `[j * 16 + v]`, float32 little-endian. Not residual: scores are exact.

use crate::kernels::{Kernels, LANES};
use crate::types::Similarity;

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

    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    pub(super) fn similarity(&self) -> Similarity {
        self.similarity
    }

    pub(super) fn block_bytes(&self) -> usize {
        self.dim * LANES * 4
    }

    pub(super) fn encode(&self, row: &[f32], lane: usize, block: &mut [u8]) {
        for (values, x) in block.chunks_exact_mut(LANES * 4).zip(row) {
            values[lane * 4..][..4].copy_from_slice(&x.to_le_bytes());
        }
    }

    pub(super) fn score(&self, kernels: &Kernels, query: &[f32], blocks: &[u8], out: &mut [f32]) {
        let blocks: &[f32] = bytemuck::cast_slice(&blocks[..out.len() / LANES * self.block_bytes()]);
        kernels.flat_blocks(self.similarity, query, blocks, out);
    }

    pub(super) fn decode(&self, block: &[u8], lane: usize, out: &mut [f32]) {
        for (values, x) in block.chunks_exact(LANES * 4).zip(out) {
            *x = f32::from_le_bytes(super::four(&values[lane * 4..]));
        }
    }
}
