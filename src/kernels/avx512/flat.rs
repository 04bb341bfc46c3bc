//! Flat blocks with AVX-512: one query or a tile of several against the same blocks, by one loop.
//!
//! A block is one register wide, so a register of it is read once and serves every query of the tile.

use std::arch::x86_64::*;

use super::floats::{Stored, step};
use crate::buffer::LINE;
use crate::kernels::LANES;
use crate::types::Similarity;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn flat_blocks<T: Stored>(similarity: Similarity, query: &[f32], blocks: &[T], out: &mut [f32]) {
    match similarity {
        Similarity::L2 => flat_by::<T, true>(query, blocks, out),
        Similarity::Dot => flat_by::<T, false>(query, blocks, out),
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn flat_by<T: Stored, const L2: bool>(query: &[f32], blocks: &[T], out: &mut [f32]) {
    let size = query.len() * LANES;
    let (four, rest) = out.as_chunks_mut::<{ 4 * LANES }>();
    for (i, out) in four.iter_mut().enumerate() {
        store(some_blocks::<T, 1, 4, L2>([query], &blocks[i * 4 * size..][..4 * size], None)[0], out);
    }
    let done = four.len() * 4;
    for (i, out) in rest.chunks_exact_mut(LANES).enumerate() {
        store(some_blocks::<T, 1, 1, L2>([query], &blocks[(done + i) * size..][..size], None)[0], out);
    }
}

/// Queries of a tile.
const QUERIES: usize = 4;
/// Blocks of a tile: with two sums for each query and block, 24 of the 32 registers.
const ACROSS: usize = 3;
/// Dimensions for each line that is prefetched.
const FETCH: usize = 2;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn flat_tile<T: Stored>(similarity: Similarity, queries: &[f32], dim: usize, blocks: &[T], out: &mut [f32]) {
    match similarity {
        Similarity::L2 => tile_by::<T, true>(queries, dim, blocks, out),
        Similarity::Dot => tile_by::<T, false>(queries, dim, blocks, out),
    }
}

/// Few blocks meet all queries before the next ones, so they come from the first cache for all queries but the first.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn tile_by<T: Stored, const L2: bool>(queries: &[f32], dim: usize, blocks: &[T], out: &mut [f32]) {
    let (size, row) = (dim * LANES, blocks.len() / dim);
    let mut at = 0;
    while at + ACROSS * size <= blocks.len() {
        tiles::<T, ACROSS, L2>(queries, dim, &blocks[at..], &mut out[at / dim..], row);
        at += ACROSS * size;
    }
    while at < blocks.len() {
        tiles::<T, 1, L2>(queries, dim, &blocks[at..], &mut out[at / dim..], row);
        at += size;
    }
}

/// Scores of all queries against `B` blocks from the front of `blocks`; those of a query stand `row` places behind those
/// of the one before it. Each tile prefetches a piece of the next blocks while it computes, at about the pace of memory.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn tiles<T: Stored, const B: usize, const L2: bool>(
    queries: &[f32],
    dim: usize,
    blocks: &[T],
    out: &mut [f32],
    row: usize,
) {
    let (now, behind) = blocks.split_at(B * dim * LANES);
    let query = |i: usize| &queries[i * dim..][..dim];
    let pieces = behind[..now.len().min(behind.len())].chunks(dim.div_ceil(FETCH) * LINE / size_of::<T>());
    let (count, mut next) = (queries.len() / dim, pieces.map(<[T]>::as_ptr));
    let mut first = 0;
    while first < count {
        let left = count - first;
        if left == 1 {
            store(some_blocks::<T, 1, B, L2>([query(first)], now, next.next())[0], &mut out[first * row..]);
        } else {
            // A short tile is filled up with its last query, whose scores are then not stored again.
            let tile = std::array::from_fn(|q| query(first + q.min(left - 1)));
            let scores = some_blocks::<T, QUERIES, B, L2>(tile, now, next.next());
            for (q, scores) in scores.into_iter().enumerate().take(left) {
                store(scores, &mut out[(first + q) * row..]);
            }
        }
        first += QUERIES;
    }
}

/// Scores of `Q` queries against `B` blocks at once: each query value is spread over a register once for all the
/// blocks, and each register of a block loaded once for all the queries. Even and odd dimensions are summed apart,
/// whatever `Q` and `B` are, so that every tile gives the same bits. Lines from `ahead` on are prefetched.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn some_blocks<T: Stored, const Q: usize, const B: usize, const L2: bool>(
    queries: [&[f32]; Q],
    blocks: &[T],
    ahead: Option<*const T>,
) -> [[__m512; B]; Q] {
    let dim = queries[0].len();
    let size = dim * LANES;
    assert!(blocks.len() == B * size && queries.iter().all(|query| query.len() == dim));
    let blocks = blocks.as_ptr();
    let mut sums = [[[_mm512_setzero_ps(); B]; Q]; 2];
    let mut j = 0;
    while j + 2 <= dim {
        for (c, sums) in sums.iter_mut().enumerate() {
            // Asked for in each dimension, though the line is the same in two: as a border between them it keeps the
            // compiler from mixing both, which takes more registers than there are.
            if let Some(ahead) = ahead {
                _mm_prefetch::<_MM_HINT_T0>(ahead.cast::<u8>().wrapping_add(j / FETCH * LINE).cast());
            }
            // SAFETY: dimension `j + c` is less than `dim`, so its 16 values lie in each of the `B` blocks.
            unsafe { add_dimension::<T, Q, B, L2>(sums, &queries, j + c, blocks, size) };
        }
        j += 2;
    }
    if j < dim {
        // SAFETY: as above.
        unsafe { add_dimension::<T, Q, B, L2>(&mut sums[0], &queries, j, blocks, size) };
    }
    let [mut even, odd] = sums;
    for (even, odd) in even.as_flattened_mut().iter_mut().zip(odd.as_flattened()) {
        let sum = _mm512_add_ps(*even, *odd);
        *even = if L2 { _mm512_sub_ps(_mm512_setzero_ps(), sum) } else { sum };
    }
    even
}

/// Adds dimension `j` of `Q` queries and `B` blocks, which are `size` values apart, to their sums.
///
/// # Safety
/// The CPU has the instructions of this level; the queries have a value `j` and the blocks 16 in that dimension.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn add_dimension<T: Stored, const Q: usize, const B: usize, const L2: bool>(
    sums: &mut [[__m512; B]; Q],
    queries: &[&[f32]; Q],
    j: usize,
    blocks: *const T,
    size: usize,
) {
    let mut x = [_mm512_setzero_ps(); B];
    for (b, x) in x.iter_mut().enumerate() {
        // SAFETY: as the caller says.
        *x = unsafe { T::load(blocks.add(b * size + j * LANES)) };
    }
    for (query, sums) in queries.iter().zip(sums) {
        // SAFETY: as the caller says.
        let q = _mm512_set1_ps(unsafe { *query.get_unchecked(j) });
        for (x, sum) in x.into_iter().zip(sums) {
            *sum = step::<L2>(*sum, x, q);
        }
    }
}

/// Stores the scores of blocks that follow each other at the front of `out`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn store<const B: usize>(scores: [__m512; B], out: &mut [f32]) {
    for (score, out) in scores.into_iter().zip(out.as_chunks_mut::<LANES>().0) {
        // SAFETY: `out` is 16 floats.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), score) };
    }
}
