//! Flat codes: the vectors themselves, 16 to a block, so that a scan uses every lane and needs no horizontal sum.
//!
//! Value of vector `v` in dimension `j` at `[j * 16 + v]`, float32 or float16, little-endian; an odd number of float16
//! dimensions is followed by one of zeroes, so that blocks are whole lines. Not residual. Scores of
//! float32 codes are exact; float16 rounds a value by at most 2^-11 of its size (2^-25 below 2^-14), and clamps it to
//! +-65504; scores are exact for what it gives.

use super::{Group, Prepared, Scheme, each_lane};
use crate::kernels::{Kernels, LANES, best};
use crate::types::{QuantizerSpec, Similarity, VectorPrecision};

/// The greatest float16.
const GREATEST: f32 = 65_504.0;
/// Values converted at once.
const CHUNK: usize = 64;

/// Full vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Flat {
    similarity: Similarity,
    dim: usize,
    precision: VectorPrecision,
}

impl Flat {
    pub(super) fn new(similarity: Similarity, dim: usize, precision: VectorPrecision) -> Self {
        Self { similarity, dim, precision }
    }

    pub(super) fn precision(&self) -> VectorPrecision {
        self.precision
    }

    /// The inverse of [`Flat::write`]; `None` when the bytes cannot be from it.
    pub(super) fn read(similarity: Similarity, dim: usize, bytes: &[u8]) -> Option<Self> {
        let precision = match bytes {
            [1] => VectorPrecision::F32,
            [2] => VectorPrecision::F16,
            _ => return None,
        };
        Some(Self::new(similarity, dim, precision))
    }
}

/// Puts each of `values` into its place of `lane`.
fn put<const WIDTH: usize>(values: impl Iterator<Item = [u8; WIDTH]>, lane: usize, block: &mut [u8]) {
    let dimensions = block.as_chunks_mut::<WIDTH>().0.as_chunks_mut::<LANES>().0;
    dimensions.iter_mut().zip(values).for_each(|(places, value)| places[lane] = value);
}

/// The values in `lane`, the inverse of [`put`].
fn get<const WIDTH: usize>(block: &[u8], lane: usize) -> impl Iterator<Item = [u8; WIDTH]> {
    block.as_chunks::<WIDTH>().0.iter().skip(lane).step_by(LANES).copied()
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
        match self.precision {
            VectorPrecision::F32 => self.dim * LANES * 4,
            VectorPrecision::F16 => self.dim.next_multiple_of(2) * LANES * 2,
        }
    }

    fn default_rerank_mult(&self) -> u32 {
        0
    }

    fn encode(&self, _centroid: &[f32], rows: &[f32], first_lane: usize, out: &mut [u8]) {
        let kernels = best();
        each_lane((self.dim, self.block_bytes()), rows, first_lane, out, |row, lane, block| match self.precision {
            VectorPrecision::F32 => put(row.iter().map(|x| x.to_le_bytes()), lane, block),
            VectorPrecision::F16 => {
                for (row, block) in row.chunks(CHUNK).zip(block.chunks_mut(CHUNK * LANES * 2)) {
                    let (mut values, mut halves) = ([0.0; CHUNK], [0; CHUNK]);
                    values.iter_mut().zip(row).for_each(|(value, x)| *value = x.clamp(-GREATEST, GREATEST));
                    kernels.to_f16(&values[..row.len()], &mut halves[..row.len()]);
                    put(halves.iter().map(|half| half.to_le_bytes()), lane, block);
                }
            }
        });
    }

    /// Pads the query as the blocks are.
    fn prepare(&self, prepared: &mut Prepared) {
        if self.precision == VectorPrecision::F16 {
            prepared.query.resize(self.dim.next_multiple_of(2), 0.0);
        }
    }

    fn score(&self, kernels: &Kernels, prepared: &Prepared, _centroid: &[f32], blocks: &[u8], out: &mut [f32]) {
        let blocks = &blocks[..out.len() / LANES * self.block_bytes()];
        match self.precision {
            VectorPrecision::F32 => {
                kernels.flat_blocks(self.similarity, &prepared.query, bytemuck::cast_slice(blocks), out);
            }
            VectorPrecision::F16 => {
                kernels.flat16_blocks(self.similarity, &prepared.query, bytemuck::cast_slice(blocks), out);
            }
        }
    }

    fn score_many(&self, kernels: &Kernels, group: &mut Group<'_>, _centroid: &[f32], blocks: &[u8], out: &mut [f32]) {
        let gathered = &mut *group.gathered;
        gathered.clear();
        group.prepared.iter().for_each(|prepared| gathered.extend_from_slice(&prepared.query));
        let dim = gathered.len() / group.prepared.len();
        let blocks = &blocks[..out.len() / group.prepared.len() / LANES * self.block_bytes()];
        match self.precision {
            VectorPrecision::F32 => {
                kernels.flat_tile(self.similarity, gathered, dim, bytemuck::cast_slice(blocks), out);
            }
            VectorPrecision::F16 => {
                kernels.flat16_tile(self.similarity, gathered, dim, bytemuck::cast_slice(blocks), out);
            }
        }
    }

    fn decode(&self, _centroid: &[f32], block: &[u8], lane: usize, out: &mut [f32]) {
        match self.precision {
            VectorPrecision::F32 => out.iter_mut().zip(get(block, lane)).for_each(|(x, v)| *x = f32::from_le_bytes(v)),
            VectorPrecision::F16 => {
                for (out, block) in out.chunks_mut(CHUNK).zip(block.chunks(CHUNK * LANES * 2)) {
                    let mut halves = [0; CHUNK];
                    halves.iter_mut().zip(get(block, lane)).for_each(|(half, v)| *half = u16::from_le_bytes(v));
                    best().from_f16(&halves[..out.len()], out);
                }
            }
        }
    }

    /// Appends the precision.
    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.precision as u8);
    }
}
