//! Assignment of byte rows to centroids with AVX-512 VNNI, near the peak rate of `vpdpbusd`.
//!
//! A tile is 12 rows x 32 centroids: 24 accumulators that start at the bias, 2 registers of a panel, 1 of a spread
//! row. Rows are read in place by pointer, 4 bytes spread over a register; panels come from L2. After each panel
//! every lane keeps its own best (two), so positions in a lane only rise and a strict comparison leaves ties to the
//! lower one; lanes are merged once a run of panels.

use std::arch::x86_64::*;
use std::ops::Range;

use crate::kernels::panels::{PANEL_GROUP, Rows, WIDTH, offer2};
use crate::kernels::{Best, GROUP, LANES, Panels};

/// Lines of 64 bytes of each row of the next tile that are prefetched; more would push the panel out of L1.
const AHEAD: usize = 16;
/// Lines asked for in a turn of the inner loop: all at once they would wait for each other, and the products for them.
const ASKED: usize = 4;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn assign(rows: Rows, panels: &Panels, out: &mut [Best]) {
    out.fill(Best::NONE);
    each_tile::<1>(rows, panels, |row, found| out[row].offer(found));
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn assign2(rows: Rows, panels: &Panels, out: &mut [[Best; 2]]) {
    out.fill([Best::NONE; 2]);
    each_tile::<2>(rows, panels, |row, found| offer2(&mut out[row], found));
}

/// Runs all rows over each run of panels and gives the best `N` of every row and run to `take`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn each_tile<const N: usize>(rows: Rows, panels: &Panels, mut take: impl FnMut(usize, Best)) {
    for run in panels.runs() {
        let mut row = 0;
        while row < rows.len() {
            let left = rows.len() - row;
            // A short tile is filled up with its last row, whose result is then not taken again.
            let done = match left {
                1..=4 => tile::<4, N>(rows, row, panels, run.clone(), &mut take),
                5..=8 => tile::<8, N>(rows, row, panels, run.clone(), &mut take),
                _ => tile::<12, N>(rows, row, panels, run.clone(), &mut take),
            };
            row += done;
        }
    }
}

/// The best `N` of each lane of one row so far.
#[derive(Clone, Copy)]
struct Lanes<const N: usize> {
    score: [__m512i; N],
    position: [__m512i; N],
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn tile<const R: usize, const N: usize>(
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
    let mut lines = [[std::ptr::null::<u8>(); AHEAD]; R];
    let lines = lines.as_flattened_mut();
    let mut asked = 0;
    for next in first + count..(first + count + R).min(rows.len()) {
        for line in rows.row(next).chunks(64).take(AHEAD) {
            lines[asked] = line.as_ptr();
            asked += 1;
        }
    }
    let mut ahead = &lines[..asked];
    let none = _mm512_set1_epi32(i32::MIN);
    let start = positions(run.start * WIDTH);
    let mut found = [Lanes { score: [none; N], position: [start; N] }; R];
    for p in run {
        // SAFETY: `Rows::row` gives 4 bytes for each group of a panel.
        ahead = unsafe { panel::<R, N>(&starts, panels, p, &mut found, ahead) };
    }
    ask(ahead);
    for (turn, four) in found.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        for rank in 0..N {
            for (r, best) in take_best(four, rank + 1 < N).into_iter().enumerate() {
                if turn * 4 + r < count {
                    take(first + turn * 4 + r, best);
                }
            }
        }
    }
    count
}

/// Positions of 16 centroids from `first` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn positions(first: usize) -> __m512i {
    let lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    _mm512_add_epi32(lanes, _mm512_set1_epi32(first as i32))
}

/// Takes the scores of `R` rows (given by their starts) against the 32 centroids of panel `p` into their lanes.
///
/// Asks for lines of `ahead` meanwhile, and gives those left. Not inlined: the lanes must stay in memory, where the
/// accumulators need every register. Each row must have 4 bytes for each group of a panel.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn panel<'a, const R: usize, const N: usize>(
    starts: &[*const u8; R],
    panels: &Panels,
    p: usize,
    found: &mut [Lanes<N>; R],
    ahead: &'a [*const u8],
) -> &'a [*const u8] {
    let bias = panels.bias(p).as_ptr();
    // SAFETY: a panel has 32 biases.
    let bias = unsafe { [_mm512_loadu_si512(bias.cast()), _mm512_loadu_si512(bias.add(LANES).cast())] };
    let mut scores = [bias; R];
    let (groups, _) = panels.codes(p).as_chunks::<PANEL_GROUP>();
    let (fours, rest) = groups.as_chunks::<4>();
    let (turns, _) = ahead.as_chunks::<ASKED>();
    let asked = &turns[..turns.len().min(fours.len())];
    let mut at = 0;
    // Four groups a turn: the row pointers move once for 96 products.
    for (turn, four) in fours.iter().enumerate() {
        if let Some(lines) = asked.get(turn) {
            ask(lines);
        }
        for (g, group) in four.iter().enumerate() {
            // SAFETY: the caller knows that the rows have 4 bytes for each group; `at / 4 + g` is one.
            scores = unsafe { add_group(scores, starts, at + g * GROUP, group) };
        }
        at += 4 * GROUP;
    }
    for (g, group) in rest.iter().enumerate() {
        // SAFETY: as above.
        scores = unsafe { add_group(scores, starts, at + g * GROUP, group) };
    }
    let (low, high) = (positions(p * WIDTH), positions(p * WIDTH + LANES));
    for (found, [first, second]) in found.iter_mut().zip(scores) {
        *found = keep(keep(*found, first, low), second, high);
    }
    &ahead[asked.len() * ASKED..]
}

/// Asks for lines of memory.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn ask(lines: &[*const u8]) {
    lines.iter().for_each(|line| _mm_prefetch::<_MM_HINT_T0>(line.cast()));
}

/// Adds the products of one group: 4 bytes at `at` of each row, which must be there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn add_group<const R: usize>(
    mut scores: [[__m512i; 2]; R],
    starts: &[*const u8; R],
    at: usize,
    group: &[i8; PANEL_GROUP],
) -> [[__m512i; 2]; R] {
    let group = group.as_ptr();
    // SAFETY: a group of a panel is 128 bytes.
    let (low, high) = unsafe { (_mm512_loadu_si512(group.cast()), _mm512_loadu_si512(group.add(64).cast())) };
    for r in 0..R {
        // SAFETY: the caller knows that each row has 4 bytes at `at`.
        let u = _mm512_set1_epi32(unsafe { starts[r].add(at).cast::<i32>().read_unaligned() });
        scores[r][0] = _mm512_dpbusd_epi32(scores[r][0], u, low);
        scores[r][1] = _mm512_dpbusd_epi32(scores[r][1], u, high);
    }
    scores
}

/// Takes 16 new scores of higher positions into the lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn keep<const N: usize>(mut old: Lanes<N>, score: __m512i, position: __m512i) -> Lanes<N> {
    let first = _mm512_cmpgt_epi32_mask(score, old.score[0]);
    if N == 2 {
        let second = _mm512_cmpgt_epi32_mask(score, old.score[1]);
        let third = _mm512_mask_mov_epi32(old.position[1], second, position);
        old.position[1] = _mm512_mask_mov_epi32(third, first, old.position[0]);
        old.score[1] = _mm512_max_epi32(old.score[1], _mm512_min_epi32(score, old.score[0]));
    }
    old.score[0] = _mm512_max_epi32(score, old.score[0]);
    old.position[0] = _mm512_mask_mov_epi32(old.position[0], first, position);
    old
}

/// The best of all lanes of four rows: greatest score, then lowest position. With `again` the lane it came from
/// moves on to its second best, so that the next call finds the second of all.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn take_best<const N: usize>(rows: &mut [Lanes<N>; 4], again: bool) -> [Best; 4] {
    let mut all = [_mm512_setzero_si512(); 4];
    for (all, row) in all.iter_mut().zip(rows.iter()) {
        *all = row.score[0];
    }
    let scores = to_array(across::<true>(all));
    for (r, all) in all.iter_mut().enumerate() {
        let equal = _mm512_cmpeq_epi32_mask(*all, _mm512_set1_epi32(scores[r]));
        *all = _mm512_mask_mov_epi32(_mm512_set1_epi32(-1), equal, rows[r].position[0]);
    }
    let positions = to_array(across::<false>(all));
    let mut best = [Best::NONE; 4];
    for r in 0..4 {
        best[r] = Best { score: scores[r], position: positions[r] as u32 };
        if again {
            // The position left in a lane of the greatest score, all ones in the others: one lane fits.
            let lane = _mm512_cmpeq_epi32_mask(all[r], _mm512_set1_epi32(positions[r]));
            rows[r].score[0] = _mm512_mask_mov_epi32(rows[r].score[0], lane, rows[r].score[1]);
            rows[r].position[0] = _mm512_mask_mov_epi32(rows[r].position[0], lane, rows[r].position[1]);
        }
    }
    best
}

/// The greatest (as signed) or least (as unsigned) lane of each of four registers, found together.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn across<const GREATEST: bool>(r: [__m512i; 4]) -> __m128i {
    let ab = pick::<GREATEST>(_mm512_unpacklo_epi32(r[0], r[1]), _mm512_unpackhi_epi32(r[0], r[1]));
    let cd = pick::<GREATEST>(_mm512_unpacklo_epi32(r[2], r[3]), _mm512_unpackhi_epi32(r[2], r[3]));
    let abcd = pick::<GREATEST>(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    let half = pick::<GREATEST>(abcd, _mm512_shuffle_i64x2::<0b01_00_11_10>(abcd, abcd));
    let quarter = pick::<GREATEST>(half, _mm512_shuffle_i64x2::<0b10_11_00_01>(half, half));
    _mm512_castsi512_si128(quarter)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn pick<const GREATEST: bool>(a: __m512i, b: __m512i) -> __m512i {
    if GREATEST { _mm512_max_epi32(a, b) } else { _mm512_min_epu32(a, b) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn to_array(register: __m128i) -> [i32; 4] {
    let mut out = [0; 4];
    // SAFETY: `out` is four integers.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), register) };
    out
}
