//! Assignment of byte rows to centroids with AVX-512 VNNI, near the peak rate of `vpdpbusd`.
//!
//! A tile is 12 rows x 32 centroids: 24 accumulators that start at the bias, 2 registers of a panel, 1 of a spread
//! row. Rows are read in place by pointer, 4 bytes spread over a register; panels come from L2. After each panel
//! every lane keeps its own best (two), so positions in a lane only rise and a strict comparison leaves ties to the
//! lower one; lanes are merged once a run of panels.

use std::arch::x86_64::*;

use crate::kernels::panels::{PANEL_GROUP, Rows, WIDTH, offer2};
use crate::kernels::{Best, GROUP, LANES, Panels};

/// Bytes of each row of the next tile that are prefetched; more would push the panel out of L1.
const AHEAD: usize = 1024;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn assign(rows: Rows, panels: &Panels, out: &mut [Best]) {
    out.fill(Best::NONE);
    each_tile::<false>(rows, panels, |row, [best, _]| out[row].offer(best));
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn assign2(rows: Rows, panels: &Panels, out: &mut [[Best; 2]]) {
    out.fill([Best::NONE; 2]);
    each_tile::<true>(rows, panels, |row, two| two.into_iter().for_each(|found| offer2(&mut out[row], found)));
}

/// Runs all rows over each run of panels and gives the best (two) of every row and run to `take`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn each_tile<const TWO: bool>(rows: Rows, panels: &Panels, mut take: impl FnMut(usize, [Best; 2])) {
    for run in panels.runs() {
        let mut row = 0;
        while row < rows.len() {
            let left = rows.len() - row;
            // A short tile is filled up with its last row, whose result is then not taken again.
            let done = match left {
                1 => tile::<1, TWO>(rows, row, panels, run.clone(), &mut take),
                2..=4 => tile::<4, TWO>(rows, row, panels, run.clone(), &mut take),
                _ => tile::<12, TWO>(rows, row, panels, run.clone(), &mut take),
            };
            row += done;
        }
    }
}

/// The best (two) of each lane of one row so far.
#[derive(Clone, Copy)]
struct Lanes {
    score: [__m512i; 2],
    position: [__m512i; 2],
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn tile<const R: usize, const TWO: bool>(
    rows: Rows,
    first: usize,
    panels: &Panels,
    run: std::ops::Range<usize>,
    take: &mut impl FnMut(usize, [Best; 2]),
) -> usize {
    let count = R.min(rows.len() - first);
    let mut ends = [std::ptr::null::<u8>(); R];
    for (r, end) in ends.iter_mut().enumerate() {
        *end = rows.row(first + r.min(count - 1)).as_ptr_range().end;
    }
    for next in first + count..(first + count + R).min(rows.len()) {
        for line in rows.row(next).chunks(64).take(AHEAD / 64) {
            _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast());
        }
    }
    let lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    let start = _mm512_add_epi32(lanes, _mm512_set1_epi32((run.start * WIDTH) as i32));
    let none = _mm512_set1_epi32(i32::MIN);
    let mut found = [Lanes { score: [none; 2], position: [start; 2] }; R];
    for p in run {
        let scores = product::<R>(&ends, panels, p);
        for half in 0..2 {
            let position = _mm512_add_epi32(lanes, _mm512_set1_epi32((p * WIDTH + half * LANES) as i32));
            for (r, found) in found.iter_mut().enumerate() {
                *found = keep::<TWO>(*found, scores[r][half], position);
            }
        }
    }
    for (r, found) in found.iter().enumerate().take(count) {
        take(first + r, merge::<TWO>(*found));
    }
    count
}

/// Scores of `R` rows (given by their ends) against the 32 centroids of panel `p`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn product<const R: usize>(ends: &[*const u8; R], panels: &Panels, p: usize) -> [[__m512i; 2]; R] {
    let bias = panels.bias(p).as_ptr();
    // SAFETY: a panel has 32 biases.
    let bias = unsafe { [_mm512_loadu_si512(bias.cast()), _mm512_loadu_si512(bias.add(LANES).cast())] };
    let mut scores = [bias; R];
    let (codes, _) = panels.codes(p).as_chunks::<PANEL_GROUP>();
    // Counted up to 0 from the ends: one register less, so that 12 row pointers stay in registers.
    let mut at = -((codes.len() * GROUP) as isize);
    for group in codes {
        let group = group.as_ptr();
        // SAFETY: a group of a panel is 128 bytes.
        let (low, high) = unsafe { (_mm512_loadu_si512(group.cast()), _mm512_loadu_si512(group.add(64).cast())) };
        for r in 0..R {
            // SAFETY: `Rows::row` gives as many bytes before the end as the panel has groups of 4.
            let u = _mm512_set1_epi32(unsafe { ends[r].offset(at).cast::<i32>().read_unaligned() });
            scores[r][0] = _mm512_dpbusd_epi32(scores[r][0], u, low);
            scores[r][1] = _mm512_dpbusd_epi32(scores[r][1], u, high);
        }
        at += GROUP as isize;
    }
    scores
}

/// Takes 16 new scores of higher positions into the lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn keep<const TWO: bool>(mut old: Lanes, score: __m512i, position: __m512i) -> Lanes {
    let first = _mm512_cmpgt_epi32_mask(score, old.score[0]);
    if TWO {
        let second = _mm512_cmpgt_epi32_mask(score, old.score[1]);
        let third = _mm512_mask_mov_epi32(old.position[1], second, position);
        old.position[1] = _mm512_mask_mov_epi32(third, first, old.position[0]);
        old.score[1] = _mm512_max_epi32(old.score[1], _mm512_min_epi32(score, old.score[0]));
    }
    old.score[0] = _mm512_max_epi32(score, old.score[0]);
    old.position[0] = _mm512_mask_mov_epi32(old.position[0], first, position);
    old
}

/// The best (two) of all lanes: greatest score, then lowest position.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn merge<const TWO: bool>(found: Lanes) -> [Best; 2] {
    let (best, lane) = winner(found.score[0], found.position[0]);
    if !TWO {
        return [best, Best::NONE];
    }
    let score = _mm512_mask_mov_epi32(found.score[0], lane, found.score[1]);
    let position = _mm512_mask_mov_epi32(found.position[0], lane, found.position[1]);
    [best, winner(score, position).0]
}

/// The best lane and its mask.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn winner(scores: __m512i, positions: __m512i) -> (Best, __mmask16) {
    let score = _mm512_reduce_max_epi32(scores);
    let equal = _mm512_cmpeq_epi32_mask(scores, _mm512_set1_epi32(score));
    let position = _mm512_mask_reduce_min_epu32(equal, positions);
    let lane = _mm512_mask_cmpeq_epi32_mask(equal, positions, _mm512_set1_epi32(position as i32));
    (Best { score, position }, lane)
}
