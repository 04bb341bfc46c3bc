//! Distance kernels: pure compute on slices, one table of function pointers per instruction set, chosen once.
//!
//! This file owns the safe door: every method checks lengths, then calls the pointer of its table. Invariants: a
//! table is handed out only when the CPU has all its instructions ([`at`]), integer results are equal bit for bit at
//! every level, and no kernel reads or writes outside the slices it was given. The scalar level is the oracle.
//!
//! Layouts (the rest of the library stores them, so they never change):
//! * *flat block*: `dim x 16` float32 or float16, value of vector `v` in dimension `j` at `[j * 16 + v]`;
//! * *code block* of 1, 2, 4 or 8 bits a dimension: groups of 64 bytes, each of `W = 32 / bits` dimensions, so
//!   `ceil(dim / W)` of them. Byte `v * 4 + k` of group `g` holds, of vector `v`, dimension `g * W + p * 4 + k` at bit
//!   `p * bits`, for the parts `p = 0..8 / bits`; missing dimensions are 0. So 4 dimensions of a vector are 4 bytes
//!   masked alike, which is what byte products take, and they meet 4 query values that follow each other. SQ blocks
//!   may carry 16 float32 terms (64 bytes) after the groups;
//! * blocks of product codes: see `pq.rs`.
//!
//! A score is always greater = nearer, see [`Similarity`].

#![allow(clippy::needless_range_loop, reason = "registers are named by row, block and chain in several arrays at once")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod bounds;
mod codes;
mod halves;
mod level;
mod pages;
mod panels;
mod portable;
mod pq;
mod prefetch;
mod sample;
mod scalar;
#[cfg(test)]
mod tests;

pub use bounds::{Finish, pack_factors, unpack_factors};
pub use codes::{CodeBlocks, CodeQuery, code_bytes, get_codes, group_dims, put_codes};
pub use level::{Level, at, best};
pub use pages::{HUGE_PAGE, huge_pages};
pub use panels::{Best, Panels};
pub use prefetch::prefetch;
pub use sample::{BYTE_ROWS, RowSums, round};

use crate::types::{MAX_DIMENSION, Similarity};
use panels::Rows;

/// Vectors in a block.
pub const LANES: usize = 16;
/// Dimensions in one part of a group of a code block, and bytes of a vector in a group.
const GROUP: usize = 4;
/// Bytes of a group of a code block.
const GROUP_BYTES: usize = LANES * GROUP;
/// Bytes of the float32 terms after a block.
const TERM_BYTES: usize = LANES * 4;

/// The kernels of one level. The pointers are unsafe to call only because their instructions must exist on the CPU
/// and because they trust the lengths that the methods of [`Kernels`] check.
#[allow(clippy::type_complexity, reason = "the signatures of the methods below")]
struct Table {
    dot: unsafe fn(&[f32], &[f32]) -> f32,
    l2: unsafe fn(&[f32], &[f32]) -> f32,
    rows: unsafe fn(Similarity, &[f32], &[f32], &mut [f32]),
    flat_blocks: unsafe fn(Similarity, &[f32], &[f32], &mut [f32]),
    flat_tile: unsafe fn(Similarity, &[f32], usize, &[f32], &mut [f32]),
    dot16: unsafe fn(&[f32], &[u16]) -> f32,
    l2_16: unsafe fn(&[f32], &[u16]) -> f32,
    rows16: unsafe fn(Similarity, &[f32], &[u16], &mut [f32]),
    flat16_blocks: unsafe fn(Similarity, &[f32], &[u16], &mut [f32]),
    flat16_tile: unsafe fn(Similarity, &[f32], usize, &[u16], &mut [f32]),
    to_f16: unsafe fn(&[f32], &mut [u16]),
    from_f16: unsafe fn(&[u16], &mut [f32]),
    code_blocks: unsafe fn(u32, &[i8], &[u8], usize, &mut [i32]),
    sq_blocks: unsafe fn(u32, &CodeQuery<'_>, CodeBlocks<'_>, &mut [f32]),
    sq_tile: unsafe fn(u32, &[CodeQuery<'_>], CodeBlocks<'_>, &mut [f32]),
    finish: unsafe fn(&Finish, &[i32], &[u8], &mut [f32]),
    above: unsafe fn(&[f32], f32, u32, &mut [f32], &mut [u32]) -> usize,
    assign: unsafe fn(Rows, &Panels, &mut [Best]),
    assign2: unsafe fn(Rows, &Panels, &mut [[Best; 2]]),
    pq4_blocks: unsafe fn(&pq::Tables, &[u8], &mut [f32]),
    pq8_blocks: unsafe fn(&pq::Tables, &[u8], &mut [f32]),
    nearest: unsafe fn(&[f32], &[f32], &[f32], &mut [u8]),
    to_bytes: unsafe fn(&[f32], &[f32], f32, &mut [u8]) -> (i32, bool),
    add_bytes: unsafe fn([&[u8]; 4], &mut [u16]),
    add_rows: unsafe fn([&[f32]; 4], &[f32], &mut RowSums),
}

/// The kernels of one level, safe to call: wrong lengths panic with a message before anything is read.
pub struct Kernels {
    level: Level,
    table: Table,
}

impl Kernels {
    /// The level these kernels are written for.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// The level's name, for reports.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.level.name()
    }

    /// `sum a b`. Lengths are equal. The error is at most `2^-24 (len / 8 + 8) sum |a b|`.
    #[must_use]
    pub fn dot(&self, a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len(), "dot of vectors of two lengths");
        // SAFETY: `at` gave the table out, so the CPU has its instructions; the lengths are equal.
        unsafe { (self.table.dot)(a, b) }
    }

    /// `sum (a - b)^2`, not negative. Lengths are equal. The relative error is at most `2^-24 (len / 8 + 8)`.
    #[must_use]
    pub fn l2(&self, a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len(), "distance of vectors of two lengths");
        // SAFETY: as in `dot`.
        unsafe { (self.table.l2)(a, b) }
    }

    /// Scores of `out.len()` row-major rows of `query.len()` values against `query`. Errors as for [`Kernels::dot`] and
    /// [`Kernels::l2`].
    pub fn rows(&self, similarity: Similarity, query: &[f32], rows: &[f32], out: &mut [f32]) {
        assert_eq!(Some(rows.len()), out.len().checked_mul(query.len()), "rows are not out x dim");
        // SAFETY: as in `dot`; `rows` holds `out.len()` rows of `query.len()` values.
        unsafe { (self.table.rows)(similarity, query, rows, out) }
    }

    /// Scores of the vectors in flat blocks that follow each other; `out` has 16 places a block. Dimensions are added in
    /// order, so the error is at most `2^-24 (dim + 4)` times the sum of the absolute terms.
    pub fn flat_blocks(&self, similarity: Similarity, query: &[f32], blocks: &[f32], out: &mut [f32]) {
        assert_eq!(out.len() % LANES, 0, "out is not whole blocks");
        assert_eq!(Some(blocks.len()), out.len().checked_mul(query.len()), "blocks are not out x dim");
        // SAFETY: as in `dot`; `blocks` holds `out.len() / 16` blocks of `query.len() * 16` values.
        unsafe { (self.table.flat_blocks)(similarity, query, blocks, out) }
    }

    /// Scores of several queries against the same flat blocks, which are read once for all of them: `queries` are
    /// row-major, `dim` values each, and `out` holds for each of them a row of 16 places a block. Equal bit for bit to
    /// [`Kernels::flat_blocks`] of each query at the same level, so that a batch answers as single queries do.
    pub fn flat_tile(&self, similarity: Similarity, queries: &[f32], dim: usize, blocks: &[f32], out: &mut [f32]) {
        if check_tile(queries.len(), dim, blocks.len(), out.len()) {
            // SAFETY: as in `dot`; `check_tile` saw whole queries, whole blocks and a place for every score.
            unsafe { (self.table.flat_tile)(similarity, queries, dim, blocks, out) }
        }
    }

    /// As [`Kernels::dot`], `b` in float16: it is widened exactly, so the error is that of `dot`.
    #[must_use]
    pub fn dot16(&self, a: &[f32], b: &[u16]) -> f32 {
        assert_eq!(a.len(), b.len(), "dot of vectors of two lengths");
        // SAFETY: as in `dot`.
        unsafe { (self.table.dot16)(a, b) }
    }

    /// As [`Kernels::l2`], `b` in float16.
    #[must_use]
    pub fn l2_16(&self, a: &[f32], b: &[u16]) -> f32 {
        assert_eq!(a.len(), b.len(), "distance of vectors of two lengths");
        // SAFETY: as in `dot`.
        unsafe { (self.table.l2_16)(a, b) }
    }

    /// As [`Kernels::rows`], the rows in float16.
    pub fn rows16(&self, similarity: Similarity, query: &[f32], rows: &[u16], out: &mut [f32]) {
        assert_eq!(Some(rows.len()), out.len().checked_mul(query.len()), "rows are not out x dim");
        // SAFETY: as in `rows`.
        unsafe { (self.table.rows16)(similarity, query, rows, out) }
    }

    /// As [`Kernels::flat_blocks`], the blocks in float16.
    pub fn flat16_blocks(&self, similarity: Similarity, query: &[f32], blocks: &[u16], out: &mut [f32]) {
        assert_eq!(out.len() % LANES, 0, "out is not whole blocks");
        assert_eq!(Some(blocks.len()), out.len().checked_mul(query.len()), "blocks are not out x dim");
        // SAFETY: as in `flat_blocks`.
        unsafe { (self.table.flat16_blocks)(similarity, query, blocks, out) }
    }

    /// As [`Kernels::flat_tile`], the blocks in float16: equal bit for bit to [`Kernels::flat16_blocks`].
    pub fn flat16_tile(&self, similarity: Similarity, queries: &[f32], dim: usize, blocks: &[u16], out: &mut [f32]) {
        if check_tile(queries.len(), dim, blocks.len(), out.len()) {
            // SAFETY: as in `flat_tile`.
            unsafe { (self.table.flat16_tile)(similarity, queries, dim, blocks, out) }
        }
    }

    /// Rounds each of `values` to the nearest float16, of two equally near ones the even; 65520 and more in size
    /// become infinite, which is for the caller to prevent. Equal bit for bit at every level. Lengths are equal.
    pub fn to_f16(&self, values: &[f32], out: &mut [u16]) {
        assert_eq!(values.len(), out.len(), "as many values as places");
        // SAFETY: as in `dot`.
        unsafe { (self.table.to_f16)(values, out) }
    }

    /// The float32 values of float16 `values`, exactly. Lengths are equal.
    pub fn from_f16(&self, values: &[u16], out: &mut [f32]) {
        assert_eq!(values.len(), out.len(), "as many values as places");
        // SAFETY: as in `dot`.
        unsafe { (self.table.from_f16)(values, out) }
    }

    /// `sum u q` of each vector in code blocks of `bits` (1, 2, 4 or 8); `out` has 16 places a block. `query` is padded
    /// with 0 to a multiple of [`group_dims`] and has at most 65536 values, so that sums fit 32 bits. Block `b` starts
    /// at byte `b * stride`, `stride` is at least [`code_bytes`].
    pub fn code_blocks(&self, bits: u32, query: &[i8], blocks: &[u8], stride: usize, out: &mut [i32]) {
        check_codes(bits, query, blocks, stride, out.len());
        // SAFETY: as in `dot`; `check_codes` saw that every block lies inside `blocks`.
        unsafe { (self.table.code_blocks)(bits, query, blocks, stride, out) }
    }

    /// Scores of vectors in code blocks: `(scale * sum u q) + offset`, and with terms plus the vector's. Each step is
    /// rounded to f32 in this order, so results are equal bit for bit at every level. `query.codes` as for
    /// [`Kernels::code_blocks`]: they meet the first groups of a block. For a lone query, whose blocks come from memory.
    pub fn sq_blocks(&self, bits: u32, query: &CodeQuery<'_>, blocks: CodeBlocks<'_>, out: &mut [f32]) {
        check_sq(bits, query.codes, blocks, out.len());
        // SAFETY: as in `code_blocks`; the terms of the last block are inside as well.
        unsafe { (self.table.sq_blocks)(bits, query, blocks, out) }
    }

    /// Scores of several queries, whose codes are equally long, against the same code blocks: what [`Kernels::sq_blocks`]
    /// gives for each, bit for bit. `out` holds for each of them a row of 16 places a block. A single query is one of a batch.
    pub fn sq_tile(&self, bits: u32, queries: &[CodeQuery<'_>], blocks: CodeBlocks<'_>, out: &mut [f32]) {
        let Some(first) = queries.first() else { return assert!(out.is_empty(), "scores of no query") };
        assert!(queries.iter().all(|query| query.codes.len() == first.codes.len()), "queries of two lengths");
        assert!(out.len().is_multiple_of(queries.len()), "places are not alike");
        check_sq(bits, first.codes, blocks, out.len() / queries.len());
        // SAFETY: as in `sq_blocks`, for every query.
        unsafe { (self.table.sq_tile)(bits, queries, blocks, out) }
    }

    /// Scores of the vectors in `RaBitQ` blocks that follow each other, from the sums of their codes, 16 a block:
    /// `offset + mul * (scale * (2 sum - centre) + ratio * slack)`, and with `terms` plus the vector's float32 term.
    /// Each step is rounded to f32 in this order, so results are equal bit for bit at every level.
    pub fn finish(&self, with: &Finish, sums: &[i32], blocks: &[u8], out: &mut [f32]) {
        assert_eq!(sums.len(), out.len(), "one sum a score");
        assert_eq!(out.len() % LANES, 0, "out is not whole blocks");
        // SAFETY: as in `dot`; the loop looks at its bounds itself.
        unsafe { (self.table.finish)(with, sums, blocks, out) }
    }

    /// Copies every score greater than `threshold` to the front of `out_scores`, in order, and its index
    /// (`first` + position) to `out_index`; gives their number. A NaN is never greater. Both outputs need
    /// `scores.len() + 16` places: kernels store whole registers, places behind the count are left arbitrary.
    #[must_use]
    pub fn above(
        &self,
        scores: &[f32],
        threshold: f32,
        first: u32,
        out_scores: &mut [f32],
        out_index: &mut [u32],
    ) -> usize {
        let room = out_scores.len().min(out_index.len());
        assert!(room >= scores.len() + LANES, "fewer than {} free places", scores.len() + LANES);
        // SAFETY: as in `dot`; both outputs have the free places the kernels count on.
        unsafe { (self.table.above)(scores, threshold, first, out_scores, out_index) }
    }

    /// The centroid of greatest `bias + sum u q` for each row `index[i]`, ties to the lower position. Row `r` starts at
    /// byte `r * stride`; `stride` is a multiple of 4 and at least `panels.dim()`; bytes of a row behind `dim`
    /// meet zeros and may hold anything. Sums wrap at 32 bits.
    pub fn assign(&self, rows: &[u8], stride: usize, index: &[u32], panels: &Panels, out: &mut [Best]) {
        assert_eq!(index.len(), out.len(), "one result a row");
        let rows = Rows::new(rows, stride, index, panels);
        // SAFETY: as in `dot`; `Rows::new` saw that every named row lies inside `rows`, and `out` has its places.
        unsafe { (self.table.assign)(rows, panels, out) }
    }

    /// As [`Kernels::assign`], the best and the second best centroid. Of a single centroid both are it.
    pub fn assign2(&self, rows: &[u8], stride: usize, index: &[u32], panels: &Panels, out: &mut [[Best; 2]]) {
        assert_eq!(index.len(), out.len(), "one result a row");
        let rows = Rows::new(rows, stride, index, panels);
        // SAFETY: as in `assign`.
        unsafe { (self.table.assign2)(rows, panels, out) }
        if panels.len() == 1 {
            out.iter_mut().for_each(|pair| pair[1] = pair[0]);
        }
    }
}

impl std::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kernels({})", self.name())
    }
}

/// Panics unless values of these numbers are whole queries and whole blocks, with one place for each score. Whether
/// there is a score at all.
fn check_tile(queries: usize, dim: usize, blocks: usize, out: usize) -> bool {
    assert!(dim > 0 && queries.is_multiple_of(dim), "queries are not rows of {dim}");
    assert!(blocks.is_multiple_of(LANES) && (blocks / LANES).is_multiple_of(dim), "blocks are not whole");
    assert_eq!(Some(out), (queries / dim).checked_mul(blocks / dim), "out is not queries x vectors");
    out > 0
}

/// Panics unless `lanes / 16` SQ blocks lie inside their bytes, the terms of the last one as well.
fn check_sq(bits: u32, query: &[i8], CodeBlocks { bytes, stride, terms }: CodeBlocks<'_>, lanes: usize) {
    check_codes(bits, query, bytes, stride, lanes);
    assert!(
        stride >= CodeBlocks::new(bits, query.len(), terms, &[]).stride,
        "stride {stride} leaves no room for terms"
    );
    assert!(bytes.len() / stride.max(1) >= lanes / LANES, "blocks shorter than out");
}

/// Panics unless `lanes / 16` code blocks of `query.len()` dimensions lie inside `blocks`.
fn check_codes(bits: u32, query: &[i8], blocks: &[u8], stride: usize, lanes: usize) {
    assert!([1, 2, 4, 8].contains(&bits), "codes of {bits} bits");
    assert_eq!(query.len() % group_dims(bits), 0, "query is not padded to whole groups");
    assert!(query.len() <= MAX_DIMENSION as usize, "sums of {} dimensions may not fit", query.len());
    assert_eq!(lanes % LANES, 0, "out is not whole blocks");
    let block = code_bytes(query.len(), bits);
    assert!(stride >= block, "stride {stride} is less than a block of {block} bytes");
    if let Some(before) = (lanes / LANES).checked_sub(1) {
        let end = before.checked_mul(stride).and_then(|start| start.checked_add(block));
        assert!(end.is_some_and(|end| end <= blocks.len()), "blocks shorter than out");
    }
}
