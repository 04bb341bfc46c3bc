//! Assignment of byte rows to centroids on `wide`: the scheme of the AVX-512 level in tiles of 4 rows x 8 centroids.
//!
//! Each lane keeps its own best (two) with strict comparisons over rising positions; lanes are merged once a run.

use std::ops::Range;

use bytemuck::pod_read_unaligned;
use wide::i32x4;

use super::codes::{BYTES, WIDTH as LANES, add_products, split_signed, split_unsigned, spread};
use crate::kernels::panels::{PANEL_GROUP, Rows, WIDTH, offer2};
use crate::kernels::{Best, GROUP, Panels};

/// Rows of a tile.
const ROWS: usize = 4;
/// Centroids of a tile.
const ACROSS: usize = 2 * LANES;

pub(super) fn assign(rows: Rows, panels: &Panels, out: &mut [Best]) {
    out.fill(Best::NONE);
    each_tile::<false>(rows, panels, |row, found| out[row].offer(found));
}

pub(super) fn assign2(rows: Rows, panels: &Panels, out: &mut [[Best; 2]]) {
    out.fill([Best::NONE; 2]);
    each_tile::<true>(rows, panels, |row, found| offer2(&mut out[row], found));
}

/// Runs all rows over each run of panels and gives the lanes' best (two) of every row to `take`.
#[inline(always)]
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
    score: [i32x4; 2],
    position: [i32x4; 2],
}

fn tile<const R: usize, const TWO: bool>(
    rows: Rows,
    first: usize,
    panels: &Panels,
    run: Range<usize>,
    take: &mut impl FnMut(usize, Best),
) -> usize {
    let count = R.min(rows.len() - first);
    let mut tile: [&[[u8; GROUP]]; R] = [&[]; R];
    for (r, row) in tile.iter_mut().enumerate() {
        *row = rows.row(first + r.min(count - 1)).as_chunks().0;
    }
    let lanes = i32x4::from([0, 1, 2, 3]);
    let start = lanes + i32x4::splat((run.start * WIDTH) as i32);
    let mut found = [Lanes { score: [i32x4::splat(i32::MIN); 2], position: [start; 2] }; R];
    for p in run {
        for across in (0..WIDTH).step_by(ACROSS) {
            let scores = product::<R>(&tile, panels, p, across);
            for half in 0..2 {
                let position = lanes + i32x4::splat((p * WIDTH + across + half * LANES) as i32);
                for (r, found) in found.iter_mut().enumerate() {
                    *found = keep::<TWO>(*found, scores[r][half], position);
                }
            }
        }
    }
    for (r, found) in found.iter().enumerate().take(count) {
        for rank in 0..=usize::from(TWO) {
            let (scores, positions) = (found.score[rank].to_array(), found.position[rank].to_array());
            for (score, position) in scores.into_iter().zip(positions) {
                take(first + r, Best { score, position: position as u32 });
            }
        }
    }
    count
}

/// Scores of `R` rows against the 8 centroids of panel `p` from `across` on.
#[inline(always)]
fn product<const R: usize>(rows: &[&[[u8; GROUP]]; R], panels: &Panels, p: usize, across: usize) -> [[i32x4; 2]; R] {
    let bias: [[i32; LANES]; 2] =
        bytemuck::pod_read_unaligned(bytemuck::cast_slice(&panels.bias(p)[across..][..ACROSS]));
    let mut scores = [bias.map(i32x4::from); R];
    let groups = panels.codes(p).as_chunks::<PANEL_GROUP>().0;
    let rows = rows.map(|row| &row[..groups.len()]);
    for (g, group) in groups.iter().enumerate() {
        let codes: &[u8] = bytemuck::cast_slice(&group[across * GROUP..][..ACROSS * GROUP]);
        let (low, high) = codes.split_at(BYTES);
        let (low, high) = (split_signed(pod_read_unaligned(low)), split_signed(pod_read_unaligned(high)));
        for r in 0..R {
            let u = split_unsigned(spread(rows[r][g]));
            scores[r] = [add_products(scores[r][0], u, low), add_products(scores[r][1], u, high)];
        }
    }
    scores
}

/// Takes 4 new scores of higher positions into the lanes.
#[inline(always)]
fn keep<const TWO: bool>(mut old: Lanes, score: i32x4, position: i32x4) -> Lanes {
    let first = score.simd_gt(old.score[0]);
    if TWO {
        let second = score.simd_gt(old.score[1]);
        let third = second.select(position, old.position[1]);
        old.position[1] = first.select(old.position[0], third);
        old.score[1] = first.select(old.score[0], second.select(score, old.score[1]));
    }
    old.score[0] = first.select(score, old.score[0]);
    old.position[0] = first.select(position, old.position[0]);
    old
}
