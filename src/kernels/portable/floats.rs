//! Float kernels on `wide`: pairs, rows, flat blocks, the candidate filter, float16.
//!
//! Stored vectors are float32 or float16, which a load widens: one body for both.

use wide::f32x8;

use crate::kernels::LANES;
use crate::kernels::halves::{narrow, widen};
use crate::types::Similarity;

/// Floats in a register (two of the machine's).
const WIDTH: usize = 8;

/// A stored number; `u16` holds the bits of a float16.
pub(super) trait Stored: Copy + Default {
    /// 8 values.
    fn load(values: [Self; WIDTH]) -> f32x8;
}

impl Stored for f32 {
    #[inline(always)]
    fn load(values: [Self; WIDTH]) -> f32x8 {
        f32x8::from(values)
    }
}

impl Stored for u16 {
    #[inline(always)]
    fn load(values: [Self; WIDTH]) -> f32x8 {
        f32x8::from(values.map(widen))
    }
}

pub(super) fn dot<T: Stored>(a: &[f32], b: &[T]) -> f32 {
    let [sum] = some_rows::<T, 1, false>(a, b);
    sum
}

pub(super) fn l2<T: Stored>(a: &[f32], b: &[T]) -> f32 {
    let [sum] = some_rows::<T, 1, true>(a, b);
    sum
}

/// `sum` plus the products (or squared differences) of 8 values.
#[inline(always)]
fn step<const L2: bool>(sum: f32x8, x: f32x8, y: f32x8) -> f32x8 {
    if L2 {
        let d = x - y;
        sum + d * d
    } else {
        sum + x * y
    }
}

pub(super) fn rows<T: Stored>(similarity: Similarity, query: &[f32], rows: &[T], out: &mut [f32]) {
    match similarity {
        Similarity::L2 => rows_by::<T, true>(query, rows, out),
        Similarity::Dot => rows_by::<T, false>(query, rows, out),
    }
}

fn rows_by<T: Stored, const L2: bool>(query: &[f32], rows: &[T], out: &mut [f32]) {
    let dim = query.len();
    let sign = if L2 { -1.0 } else { 1.0 };
    let (four, rest) = out.as_chunks_mut::<4>();
    for (i, out) in four.iter_mut().enumerate() {
        *out = some_rows::<T, 4, L2>(query, &rows[i * 4 * dim..][..4 * dim]).map(|sum| sum * sign);
    }
    let done = four.len() * 4;
    for (i, out) in rest.iter_mut().enumerate() {
        let [sum] = some_rows::<T, 1, L2>(query, &rows[(done + i) * dim..][..dim]);
        *out = sum * sign;
    }
}

/// Sums of `R` rows that follow each other, in four registers together: `4 / R` chains a row.
#[inline(always)]
fn some_rows<T: Stored, const R: usize, const L2: bool>(query: &[f32], rows: &[T]) -> [f32; R] {
    let dim = query.len();
    let chains = 4 / R;
    let mut sums = [f32x8::ZERO; 4];
    let mut j = 0;
    while j + chains * WIDTH <= dim {
        for c in 0..chains {
            let at = j + c * WIDTH;
            let q = load(&query[at..at + WIDTH]);
            for r in 0..R {
                let x = load(&rows[r * dim + at..r * dim + at + WIDTH]);
                sums[c * R + r] = step::<L2>(sums[c * R + r], x, q);
            }
        }
        j += chains * WIDTH;
    }
    while j < dim {
        let end = dim.min(j + WIDTH);
        let q = load(&query[j..end]);
        for r in 0..R {
            sums[r] = step::<L2>(sums[r], load(&rows[r * dim + j..r * dim + end]), q);
        }
        j = end;
    }
    for other in R..4 {
        sums[other % R] += sums[other];
    }
    let mut out = [0.0; R];
    for r in 0..R {
        out[r] = sums[r].reduce_add();
    }
    out
}

/// Up to 8 values, the others 0.
#[inline(always)]
fn load<T: Stored>(values: &[T]) -> f32x8 {
    if let Some(whole) = values.first_chunk::<WIDTH>() {
        return T::load(*whole);
    }
    let mut part = [T::default(); WIDTH];
    part[..values.len()].copy_from_slice(values);
    T::load(part)
}

pub(super) fn flat_blocks<T: Stored>(similarity: Similarity, query: &[f32], blocks: &[T], out: &mut [f32]) {
    match similarity {
        Similarity::L2 => flat_by::<T, true>(query, blocks, out),
        Similarity::Dot => flat_by::<T, false>(query, blocks, out),
    }
}

fn flat_by<T: Stored, const L2: bool>(query: &[f32], blocks: &[T], out: &mut [f32]) {
    let size = query.len() * LANES;
    let (two, rest) = out.as_chunks_mut::<{ 2 * LANES }>();
    for (i, out) in two.iter_mut().enumerate() {
        let (first, second) = blocks[i * 2 * size..][..2 * size].split_at(size);
        some_blocks::<T, 2, L2>(query, [first, second], out);
    }
    let done = two.len() * 2;
    for (i, out) in rest.chunks_exact_mut(LANES).enumerate() {
        some_blocks::<T, 1, L2>(query, [&blocks[(done + i) * size..][..size]], out);
    }
}

/// Scores of `B` blocks at once: each query value is spread over a register once for all of them.
#[inline(always)]
fn some_blocks<T: Stored, const B: usize, const L2: bool>(query: &[f32], blocks: [&[T]; B], out: &mut [f32]) {
    let blocks = blocks.map(|block| &block.as_chunks::<LANES>().0[..query.len()]);
    let mut sums = [[f32x8::ZERO; 2]; B];
    for (j, &value) in query.iter().enumerate() {
        let q = f32x8::splat(value);
        for b in 0..B {
            let (low, high) = blocks[b][j].split_at(WIDTH);
            sums[b] = [step::<L2>(sums[b][0], load(low), q), step::<L2>(sums[b][1], load(high), q)];
        }
    }
    for (&sum, out) in sums.as_flattened().iter().zip(out.chunks_exact_mut(WIDTH)) {
        out.copy_from_slice(&(if L2 { f32x8::ZERO - sum } else { sum }).to_array());
    }
}

/// One query after the other: its sums alone keep the adders busy, so that reading the blocks once gains nothing.
pub(super) fn flat_tile<T: Stored>(similarity: Similarity, queries: &[f32], dim: usize, blocks: &[T], out: &mut [f32]) {
    for (query, out) in queries.chunks_exact(dim).zip(out.chunks_exact_mut(blocks.len() / dim)) {
        flat_blocks(similarity, query, blocks, out);
    }
}

/// Candidates are few, so whole registers are tested and the bits of the rare hits walked.
pub(super) fn above(
    scores: &[f32],
    threshold: f32,
    first: u32,
    out_scores: &mut [f32],
    out_index: &mut [u32],
) -> usize {
    let least = f32x8::splat(threshold);
    let mut count = 0;
    for (i, scores) in scores.chunks(WIDTH).enumerate() {
        let mut over = load(scores).simd_gt(least).to_bitmask() & ((1 << scores.len()) - 1);
        while over != 0 {
            let lane = over.trailing_zeros() as usize;
            out_scores[count] = scores[lane];
            out_index[count] = first.wrapping_add((i * WIDTH + lane) as u32);
            count += 1;
            over &= over - 1;
        }
    }
    count
}

pub(super) fn to_f16(values: &[f32], out: &mut [u16]) {
    values.iter().zip(out).for_each(|(&value, out)| *out = narrow(value));
}

pub(super) fn from_f16(values: &[u16], out: &mut [f32]) {
    values.iter().zip(out).for_each(|(&value, out)| *out = widen(value));
}
