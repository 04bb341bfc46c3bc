//! Byte rows in blocks of 16, the layout in which many of them are scored against one code.

use crate::buffer::Buffer;
use crate::error::Result;
use crate::kernels::{Kernels, LANES};

/// Room for rows of bytes.
pub(super) struct Blocks {
    bytes: Buffer,
    stride: usize,
}

impl Blocks {
    /// For `n` rows of `stride` bytes, a multiple of 4.
    pub(super) fn new(n: usize, stride: usize) -> Result<Self> {
        let stride = stride * LANES;
        Ok(Self { bytes: Buffer::zeroed(n.div_ceil(LANES) * stride, "byte blocks")?, stride })
    }

    /// Makes `row` the row at `i`.
    pub(super) fn set(&mut self, i: usize, row: impl Iterator<Item = u8>) {
        let block = &mut self.bytes.bytes_mut()[i / LANES * self.stride..][..self.stride];
        for (j, byte) in row.enumerate() {
            block[j / 4 * (LANES * 4) + i % LANES * 4 + j % 4] = byte;
        }
    }

    /// Places that [`Blocks::products`] fills.
    pub(super) fn lanes(&self) -> usize {
        self.bytes.len() / self.stride * LANES
    }

    /// Writes `sum u code` of every row into `out`, a place for each lane.
    pub(super) fn products(&self, kernels: &Kernels, code: &[i8], out: &mut [i32]) {
        kernels.code_blocks(8, code, self.bytes.bytes(), self.stride, out);
    }
}
