//! Assignment of byte rows to centroids with AVX2: the scheme of the AVX-512 level in tiles of 4 rows x 16
//! centroids, 8 accumulators of 16 registers.
//!
//! Each lane keeps its own best (two) with strict comparisons over rising positions; lanes are merged once a run.

use std::arch::x86_64::*;
use std::ops::Range;

use super::codes::{add_products, split_signed, split_unsigned};
use crate::kernels::panels::{PANEL_GROUP, Rows, WIDTH, offer2};
use crate::kernels::{Best, GROUP, Panels};

/// Rows of a tile.
const ROWS: usize = 4;
/// Lanes of a register.
const LANES: usize = 8;

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn assign(rows: Rows, panels: &Panels, out: &mut [Best]) {
    out.fill(Best::NONE);
    each_tile::<false>(rows, panels, |row, found| out[row].offer(found));
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn assign2(rows: Rows, panels: &Panels, out: &mut [[Best; 2]]) {
    out.fill([Best::NONE; 2]);
    each_tile::<true>(rows, panels, |row, found| offer2(&mut out[row], found));
}

/// Runs all rows over each run of panels and gives the lanes' best (two) of every row to `take`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn each_tile<const TWO: bool>(rows: Rows, panels: &Panels, mut take: impl FnMut(usize, Best)) {
    for run in panels.runs() {
        let mut row = 0;
        while row < rows.len() {
            // A short tile is filled up with its last row, whose result is then not taken again.
            row += match rows.len() - row {
                1 => tile::<1, TWO>(rows, row, panels, run.clone(), &mut take),
                _ => tile::<ROWS, TWO>(rows, row, panels, run.clone(), &mut take),
            };
        }
    }
}

/// The best (two) of each lane of one row so far.
#[derive(Clone, Copy)]
struct Lanes {
    score: [__m256i; 2],
    position: [__m256i; 2],
}

#[target_feature(enable = "avx2,fma,f16c")]
fn tile<const R: usize, const TWO: bool>(
    rows: Rows,
    first: usize,
    panels: &Panels,
    run: Range<usize>,
    take: &mut impl FnMut(usize, Best),
) -> usize {
    let count = R.min(rows.len() - first);
    let mut starts = [std::ptr::null::<u8>(); R];
    for (r, start) in starts.iter_mut().enumerate() {
        *start = rows.row(first + r.min(count - 1)).as_ptr();
    }
    let lanes = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
    let start = _mm256_add_epi32(lanes, _mm256_set1_epi32((run.start * WIDTH) as i32));
    let mut found = [Lanes { score: [_mm256_set1_epi32(i32::MIN); 2], position: [start; 2] }; R];
    for p in run {
        for half in 0..2 {
            // SAFETY: `Rows::row` gives 4 bytes for each group of a panel.
            let scores = unsafe { product::<R>(&starts, panels, p, half) };
            for quarter in 0..2 {
                let position = p * WIDTH + half * 2 * LANES + quarter * LANES;
                let position = _mm256_add_epi32(lanes, _mm256_set1_epi32(position as i32));
                for (r, found) in found.iter_mut().enumerate() {
                    *found = keep::<TWO>(*found, scores[r][quarter], position);
                }
            }
        }
    }
    for (r, found) in found.iter().enumerate().take(count) {
        for rank in 0..=usize::from(TWO) {
            let (scores, positions) = (to_array(found.score[rank]), to_array(found.position[rank]));
            for (score, position) in scores.into_iter().zip(positions) {
                take(first + r, Best { score, position: position as u32 });
            }
        }
    }
    count
}

/// Scores of `R` rows (given by their starts) against 16 centroids of panel `p`: its first or second half. Each row
/// must have 4 bytes for each group of a panel.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn product<const R: usize>(
    starts: &[*const u8; R],
    panels: &Panels,
    p: usize,
    half: usize,
) -> [[__m256i; 2]; R] {
    let bias = panels.bias(p)[half * 2 * LANES..][..2 * LANES].as_ptr();
    // SAFETY: 16 biases from there.
    let bias = unsafe { [_mm256_loadu_si256(bias.cast()), _mm256_loadu_si256(bias.add(LANES).cast())] };
    let mut scores = [bias; R];
    for (g, group) in panels.codes(p).as_chunks::<PANEL_GROUP>().0.iter().enumerate() {
        let codes = group[half * 64..][..64].as_ptr();
        // SAFETY: 64 bytes from there.
        let (low, high) = unsafe { (_mm256_loadu_si256(codes.cast()), _mm256_loadu_si256(codes.add(32).cast())) };
        let (low, high) = (split_signed(low), split_signed(high));
        for r in 0..R {
            // SAFETY: the caller knows that each row has 4 bytes for group `g`.
            let four = unsafe { starts[r].add(g * GROUP).cast::<i32>().read_unaligned() };
            let u = split_unsigned(_mm256_set1_epi32(four));
            scores[r] = [add_products(scores[r][0], u, low), add_products(scores[r][1], u, high)];
        }
    }
    scores
}

/// Takes 8 new scores of higher positions into the lanes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn keep<const TWO: bool>(mut old: Lanes, score: __m256i, position: __m256i) -> Lanes {
    let first = _mm256_cmpgt_epi32(score, old.score[0]);
    if TWO {
        let second = _mm256_cmpgt_epi32(score, old.score[1]);
        let third = _mm256_blendv_epi8(old.position[1], position, second);
        old.position[1] = _mm256_blendv_epi8(third, old.position[0], first);
        old.score[1] = _mm256_max_epi32(old.score[1], _mm256_min_epi32(score, old.score[0]));
    }
    old.score[0] = _mm256_max_epi32(score, old.score[0]);
    old.position[0] = _mm256_blendv_epi8(old.position[0], position, first);
    old
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn to_array(register: __m256i) -> [i32; LANES] {
    let mut out = [0; LANES];
    // SAFETY: `out` is 8 integers.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), register) };
    out
}
