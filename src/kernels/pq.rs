//! Kernels of product quantization: sums of table entries picked by codes, and the choice of the codes.
//!
//! Owns the safe door and the layouts; the levels have their own files. A block holds the codes of 16 vectors:
//! * *8 bits*: the code of sub-quantizer `j` of vector `v` at byte `j * 16 + v`;
//! * *4 bits*: groups of 64 bytes, 8 sub-quantizers each: byte `l * 16 + v` of group `g` (`l` 0 to 3) has sub-quantizer
//!   `8 g + l` in its low half and `8 g + 4 + l` in its high half, so that the tables of a group are two registers.
//!
//! A block is whole lines of 64 bytes, places behind the last sub-quantizer 0; then come 16 float32 terms if any.
//! Tables are one byte an entry and sums whole numbers: they are equal bit for bit at every level, and scores too.

#[cfg(test)]
mod tests;

use super::{Kernels, LANES, TERM_BYTES};

/// Entries of a table of 8 bits.
pub(super) const ENTRIES: usize = 256;
/// Bytes of the tables of a group of 8 sub-quantizers of 4 bits.
pub(super) const GROUP_TABLES: usize = 8 * 16;
/// Bytes of a line: a group of 4 bits, or 4 sub-quantizers of 8.
pub(super) const LINE: usize = 64;

/// Tables of a query and what turns their sums into scores.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tables<'a> {
    /// 16 or 256 entries a sub-quantizer.
    pub bytes: &'a [u8],
    pub scale: f32,
    pub offset: f32,
    /// Whether blocks carry terms.
    pub terms: bool,
}

impl Tables<'_> {
    /// Bytes of a block of 4 bits.
    pub(super) fn stride4(&self) -> usize {
        self.bytes.len() / GROUP_TABLES * LINE + if self.terms { TERM_BYTES } else { 0 }
    }

    /// Bytes of a block of 8 bits.
    pub(super) fn stride8(&self) -> usize {
        (self.bytes.len() / ENTRIES * LANES).next_multiple_of(LINE) + if self.terms { TERM_BYTES } else { 0 }
    }

    /// The score of a sum, each step rounded to f32: what the registers of every level do.
    #[inline(always)]
    pub(super) fn score(&self, sum: u32, block: &[u8], lane: usize) -> f32 {
        let score = self.scale * sum as f32 + self.offset;
        if !self.terms {
            return score;
        }
        let term = block.last_chunk::<TERM_BYTES>().map_or([0; 4], |terms| terms.as_chunks().0[lane]);
        score + f32::from_le_bytes(term)
    }
}

impl Kernels {
    /// `(scale * sum of entries) + offset`, and with `terms` plus the vector's term, of each vector of the blocks of 4
    /// bits that follow each other; `out` has 16 places a block. `tables` has 16 bytes a sub-quantizer, whole groups of
    /// 8 (128 bytes), at most 65536 sub-quantizers. Each step is rounded to f32 in this order.
    pub fn pq4_blocks(&self, tables: &[u8], scale: f32, offset: f32, blocks: &[u8], terms: bool, out: &mut [f32]) {
        assert!(
            tables.len().is_multiple_of(GROUP_TABLES) && tables.len() <= 65_536 * 16,
            "tables are not whole groups"
        );
        let tables = Tables { bytes: tables, scale, offset, terms };
        check(blocks, tables.stride4(), out.len());
        // SAFETY: `at` gave the table out, so the CPU has its instructions; `blocks` holds `out.len() / 16` blocks.
        unsafe { (self.table.pq4_blocks)(&tables, blocks, out) }
    }

    /// As [`Kernels::pq4_blocks`] for blocks of 8 bits: `tables` has 256 bytes a sub-quantizer, at most 65536 of them.
    pub fn pq8_blocks(&self, tables: &[u8], scale: f32, offset: f32, blocks: &[u8], terms: bool, out: &mut [f32]) {
        assert!(tables.len().is_multiple_of(ENTRIES) && tables.len() <= 65_536 * ENTRIES, "tables are not whole");
        let tables = Tables { bytes: tables, scale, offset, terms };
        check(blocks, tables.stride8(), out.len());
        // SAFETY: as in `pq4_blocks`.
        unsafe { (self.table.pq8_blocks)(&tables, blocks, out) }
    }

    /// For each vector `x` of some flat blocks the codeword `c` of greatest `bias + <x, c>`, ties to the lower; with
    /// `-|c|^2 / 2` as bias the nearest. `codewords` are flat blocks too, 16 to 256 codewords by 16, and `out` has 16
    /// places a block of vectors. Products are rounded and added in order of dimension, so codes are the same at every
    /// level; codeword 0 where none compares (NaN).
    pub fn nearest(&self, codewords: &[f32], bias: &[f32], blocks: &[f32], out: &mut [u8]) {
        assert!((16..=256).contains(&bias.len()) && bias.len().is_multiple_of(LANES), "codewords are not whole blocks");
        assert!(codewords.len().is_multiple_of(bias.len()), "codewords are not bias x dim");
        assert!(out.len().is_multiple_of(LANES), "out is not whole blocks");
        let dim = codewords.len() / bias.len();
        assert_eq!(Some(blocks.len()), out.len().checked_mul(dim), "blocks are not out x dim");
        // SAFETY: as in `pq4_blocks`; codewords and vectors have `dim` values each.
        unsafe { (self.table.nearest)(codewords, bias, blocks, out) }
    }
}

/// Panics unless `lanes / 16` blocks lie inside `blocks`.
fn check(blocks: &[u8], stride: usize, lanes: usize) {
    assert!(lanes.is_multiple_of(LANES), "out is not whole blocks");
    assert!((lanes / LANES).checked_mul(stride).is_some_and(|end| end <= blocks.len()), "blocks shorter than out");
}
