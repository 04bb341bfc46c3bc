//! Byte rows in blocks of 16, the layout in which many of them are scored against a few codes at once.

use crate::buffer::Buffer;
use crate::error::Result;
use crate::ivf::bytes::ByteCentroids;
use crate::kernels::{CodeBlocks, CodeQuery, Kernels, LANES, put_codes};

/// Codes scored in one pass over the blocks at best: they share each load.
pub(super) const TOGETHER: usize = 4;
/// Bytes of the terms of a block.
const TERMS: usize = LANES * 4;

/// Room for rows of bytes, each with a term of its own.
pub(super) struct Blocks {
    bytes: Buffer,
    codes: usize,
}

impl Blocks {
    /// For `n` rows of `width` bytes, a multiple of 4.
    pub(super) fn new(n: usize, width: usize) -> Result<Self> {
        let codes = width * LANES;
        Ok(Self { bytes: Buffer::zeroed(n.div_ceil(LANES) * (codes + TERMS), "byte blocks")?, codes })
    }

    /// Centroids with the term that `term` gives to each.
    pub(super) fn of(centroids: &ByteCentroids, term: impl Fn(usize) -> f32) -> Result<Self> {
        let width = centroids.codes(0).len();
        let mut blocks = Self::new(centroids.len(), width)?;
        let mut row = vec![0; width];
        for i in 0..centroids.len() {
            row.iter_mut().zip(centroids.codes(i)).for_each(|(u, &code)| *u = code.cast_unsigned() ^ 0x80);
            blocks.set(i, &row, term(i));
        }
        Ok(blocks)
    }

    /// Makes `row`, of `width` bytes, the row at `i`. `term` is added to its scores.
    pub(super) fn set(&mut self, i: usize, row: &[u8], term: f32) {
        let stride = self.codes + TERMS;
        let block = &mut self.bytes.bytes_mut()[i / LANES * stride..][..stride];
        put_codes(8, row, i % LANES, block);
        block[self.codes + i % LANES * 4..][..4].copy_from_slice(&term.to_le_bytes());
    }

    /// Places of the scores of one code.
    pub(super) fn lanes(&self) -> usize {
        self.bytes.len() / (self.codes + TERMS) * LANES
    }

    /// Writes `2 sum (u - 128) code + term` of every row for every code into `out`, code after code, [`Blocks::lanes`]
    /// places each. Each step is rounded to float32 in an order that is the same at every SIMD level.
    pub(super) fn scores<'a>(&self, kernels: &Kernels, codes: impl IntoIterator<Item = &'a [i8]>, out: &mut [f32]) {
        let query = |codes: &'a [i8]| {
            let sum: i32 = codes.iter().map(|&q| i32::from(q)).sum();
            CodeQuery { codes, scale: 2.0, offset: -256.0 * sum as f32 }
        };
        let queries: Vec<CodeQuery<'_>> = codes.into_iter().map(query).collect();
        let blocks = CodeBlocks { bytes: self.bytes.bytes(), stride: self.codes + TERMS, terms: true };
        kernels.sq_tile(8, &queries, blocks, out);
    }
}
