//! Flat blocks with AVX2: one query or a tile of several against the same blocks, by one loop.

use std::arch::x86_64::*;

use super::floats::{Stored, WIDTH, step};
use crate::buffer::LINE;
use crate::kernels::LANES;
use crate::types::Similarity;

/// The scores of a block.
type Block = [__m256; 2];

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn flat_blocks<T: Stored>(similarity: Similarity, query: &[f32], blocks: &[T], out: &mut [f32]) {
    match similarity {
        Similarity::L2 => flat_by::<T, true>(query, blocks, out),
        Similarity::Dot => flat_by::<T, false>(query, blocks, out),
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
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
/// Blocks of a tile.
const ACROSS: usize = 1;
/// Dimensions for each line that is prefetched.
const FETCH: usize = 4;

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn flat_tile<T: Stored>(similarity: Similarity, queries: &[f32], dim: usize, blocks: &[T], out: &mut [f32]) {
    match similarity {
        Similarity::L2 => tile_by::<T, true>(queries, dim, blocks, out),
        Similarity::Dot => tile_by::<T, false>(queries, dim, blocks, out),
    }
}

/// Few blocks meet all queries before the next ones, so they come from the first cache for all queries but the first.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
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
#[target_feature(enable = "avx2,fma,f16c")]
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
/// blocks, and each register of a block loaded once for all the queries. Lines from `ahead` on are prefetched.
///
/// Loops over registers count to constants. Over slices of them they stayed loops, with all sums in memory, in builds
/// without link-time optimization (`lto = "off"`).
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn some_blocks<T: Stored, const Q: usize, const B: usize, const L2: bool>(
    queries: [&[f32]; Q],
    blocks: &[T],
    ahead: Option<*const T>,
) -> [[Block; B]; Q] {
    let dim = queries[0].len();
    let size = dim * LANES;
    assert!(blocks.len() == B * size && queries.iter().all(|query| query.len() == dim));
    let blocks = blocks.as_ptr();
    let mut sums = [[[_mm256_setzero_ps(); 2]; B]; Q];
    for j in 0..dim {
        if let Some(ahead) = ahead
            && j % FETCH == 0
        {
            _mm_prefetch::<_MM_HINT_T0>(ahead.cast::<u8>().wrapping_add(j / FETCH * LINE).cast());
        }
        let mut x = [[_mm256_setzero_ps(); 2]; B];
        for b in 0..B {
            for half in 0..2 {
                // SAFETY: dimension `j` is less than `dim`, so each of the `B` blocks holds its 16 values.
                x[b][half] = unsafe { T::load(blocks.add(b * size + j * LANES + half * WIDTH)) };
            }
        }
        for i in 0..Q {
            // SAFETY: every query has `dim` values.
            let q = _mm256_set1_ps(unsafe { *queries[i].get_unchecked(j) });
            for b in 0..B {
                for half in 0..2 {
                    sums[i][b][half] = step::<L2>(sums[i][b][half], x[b][half], q);
                }
            }
        }
    }
    if L2 {
        for i in 0..Q {
            for b in 0..B {
                for half in 0..2 {
                    sums[i][b][half] = _mm256_sub_ps(_mm256_setzero_ps(), sums[i][b][half]);
                }
            }
        }
    }
    sums
}

/// Stores the scores of blocks that follow each other at the front of `out`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn store<const B: usize>(scores: [Block; B], out: &mut [f32]) {
    for (&score, out) in scores.as_flattened().iter().zip(out.as_chunks_mut::<WIDTH>().0) {
        // SAFETY: `out` is 8 floats.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), score) };
    }
}
