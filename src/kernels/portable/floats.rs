//! Float kernels on `wide`: pairs, rows, flat blocks, the candidate filter, float16.
//!
//! Stored vectors are float32 or float16, which a load widens: one body for both, but for flat blocks of float16, which
//! are widened to memory first.

use bytemuck::cast;
use wide::{f32x4, f32x8, i32x8};

use crate::kernels::LANES;
use crate::kernels::halves::{narrow, widen};
use crate::types::Similarity;

/// Floats in a register (two of the machine's).
const WIDTH: usize = 8;

/// From the exponent of a float16 to that of a float32.
const REBIAS: i32 = 112 << 23;
/// The greatest finite float16, its bits where those of a float32 are.
const LAST: i32 = 0x7bff << 13;
/// The least normal float16, 2^-14.
const LEAST: f32 = f32::from_bits(113 << 23);

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
        widen_eight(values)
    }
}

/// As [`widen`], eight side by side; a signalling NaN may stay one.
#[inline(always)]
fn widen_eight(halves: [u16; WIDTH]) -> f32x8 {
    let halves = i32x8::from_i16x8(cast(halves));
    let bits: i32x8 = (halves << 13_u32) & i32x8::splat(0x0fff_e000);
    let infinite = bits.simd_gt(i32x8::splat(LAST)) & i32x8::splat(REBIAS);
    let value: f32x8 = cast(bits + i32x8::splat(REBIAS) + infinite);
    // Below 2^-14 a value was read with a leading one that it does not have, and with half its step.
    let small: f32x8 = cast(bits.simd_lt(i32x8::splat(1 << 23)));
    let value = value + ((value - f32x8::splat(LEAST)) & small);
    cast(cast::<f32x8, i32x8>(value) | (halves & i32x8::splat(i32::MIN)))
}

pub(super) fn dot<T: Stored>(a: &[f32], b: &[T]) -> f32 {
    let [sum] = some_rows::<T, 1, 4, false>(a, b);
    sum.reduce_add()
}

pub(super) fn l2<T: Stored>(a: &[f32], b: &[T]) -> f32 {
    let [sum] = some_rows::<T, 1, 4, true>(a, b);
    sum.reduce_add()
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
        *out = (four_sums(some_rows::<T, 4, 1, L2>(query, &rows[i * 4 * dim..][..4 * dim])) * sign).to_array();
    }
    let done = four.len() * 4;
    for (i, out) in rest.iter_mut().enumerate() {
        let [sum] = some_rows::<T, 1, 4, L2>(query, &rows[(done + i) * dim..][..dim]);
        *out = sum.reduce_add() * sign;
    }
}

/// What is in four registers together, in order: turned about, they are added side by side, where one after the other
/// takes twice the instructions.
#[inline(always)]
fn four_sums(sums: [f32x8; 4]) -> f32x4 {
    let halves = sums.map(|sum| {
        let [a, b, c, d, e, f, g, h] = sum.to_array();
        f32x4::from([a, b, c, d]) + f32x4::from([e, f, g, h])
    });
    let [a, b, c, d] = f32x4::transpose(halves);
    (a + b) + (c + d)
}

/// Sums of `R` rows that follow each other, in 8 parts each, of `C` chains. Slices of one length, cut before the loop, leave no
/// bounds to check in it.
#[inline(always)]
fn some_rows<T: Stored, const R: usize, const C: usize, const L2: bool>(query: &[f32], rows: &[T]) -> [f32x8; R] {
    let dim = query.len();
    let steps = query.as_chunks::<WIDTH>().0.as_chunks::<C>().0;
    let mut whole = [&[][..]; R];
    for (r, whole) in whole.iter_mut().enumerate() {
        *whole = &rows[r * dim..][..dim].as_chunks::<WIDTH>().0.as_chunks::<C>().0[..steps.len()];
    }
    let mut sums = [[f32x8::ZERO; R]; C];
    for (s, step_values) in steps.iter().enumerate() {
        for c in 0..C {
            let q = f32x8::from(step_values[c]);
            for r in 0..R {
                sums[c][r] = step::<L2>(sums[c][r], T::load(whole[r][s][c]), q);
            }
        }
    }
    let row = |r: usize| &rows[r * dim..][..dim];
    for j in (steps.len() * C..dim / WIDTH).map(|eight| eight * WIDTH) {
        let q = load(&query[j..j + WIDTH]);
        for r in 0..R {
            sums[0][r] = step::<L2>(sums[0][r], load(&row(r)[j..j + WIDTH]), q);
        }
    }
    if !dim.is_multiple_of(WIDTH) {
        let q = load_last(query, dim % WIDTH);
        for r in 0..R {
            sums[0][r] = step::<L2>(sums[0][r], load_last(row(r), dim % WIDTH), q);
        }
    }
    let mut out = sums[0];
    for r in 0..R {
        out[r] = (1..C).fold(out[r], |sum, c| sum + sums[c][r]);
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

/// The last `left` (fewer than 8) values, the other lanes 0: of 8 values where there are as many, because copying a
/// length known only when it runs is a call.
#[inline(always)]
fn load_last<T: Stored>(values: &[T], left: usize) -> f32x8 {
    let Some(last) = values.last_chunk::<WIDTH>() else { return load(values) };
    let mask: [u32; WIDTH] = std::array::from_fn(|lane| if lane + left >= WIDTH { u32::MAX } else { 0 });
    T::load(*last) & cast::<[u32; WIDTH], f32x8>(mask)
}

pub(super) fn flat_blocks(similarity: Similarity, query: &[f32], blocks: &[f32], out: &mut [f32]) {
    match similarity {
        Similarity::L2 => flat_by::<true>(query, blocks, out),
        Similarity::Dot => flat_by::<false>(query, blocks, out),
    }
}

/// Blocks scored at once: their sums are 12 of the 16 registers.
const AT_ONCE: usize = 3;

fn flat_by<const L2: bool>(query: &[f32], blocks: &[f32], out: &mut [f32]) {
    let size = query.len() * LANES;
    let (some, rest) = out.as_chunks_mut::<{ AT_ONCE * LANES }>();
    for (i, out) in some.iter_mut().enumerate() {
        some_blocks::<AT_ONCE, L2>(query, &blocks[i * AT_ONCE * size..][..AT_ONCE * size], out);
    }
    let done = some.len() * AT_ONCE;
    for (i, out) in rest.chunks_exact_mut(LANES).enumerate() {
        some_blocks::<1, L2>(query, &blocks[(done + i) * size..][..size], out);
    }
}

/// Scores of `B` blocks at once: each query value is spread over a register once for all of them.
#[inline(always)]
fn some_blocks<const B: usize, const L2: bool>(query: &[f32], blocks: &[f32], out: &mut [f32]) {
    let lines = blocks.as_chunks::<WIDTH>().0.as_chunks::<2>().0;
    let mut starts = [&[][..]; B];
    for (b, start) in starts.iter_mut().enumerate() {
        *start = &lines[b * query.len()..][..query.len()];
    }
    let mut sums = [[f32x8::ZERO; 2]; B];
    for (j, &value) in query.iter().enumerate() {
        let q = f32x8::splat(value);
        for b in 0..B {
            for half in 0..2 {
                sums[b][half] = step::<L2>(sums[b][half], f32x8::from(starts[b][j][half]), q);
            }
        }
    }
    for (&sum, out) in sums.as_flattened().iter().zip(out.as_chunks_mut::<WIDTH>().0) {
        *out = (if L2 { f32x8::ZERO - sum } else { sum }).to_array();
    }
}

/// One query after the other: its sums alone keep the adders busy, so that reading the blocks once gains nothing.
pub(super) fn flat_tile(similarity: Similarity, queries: &[f32], dim: usize, blocks: &[f32], out: &mut [f32]) {
    for (query, out) in queries.chunks_exact(dim).zip(out.chunks_exact_mut(blocks.len() / dim)) {
        flat_blocks(similarity, query, blocks, out);
    }
}

/// Dimensions of a block that are widened at a time: 4 KiB.
const WIDENED: usize = 64;

pub(super) fn flat16_blocks(similarity: Similarity, query: &[f32], blocks: &[u16], out: &mut [f32]) {
    flat16_tile(similarity, query, query.len(), blocks, out);
}

/// Numbers are widened to memory, once for all queries: beside sums there are too few registers for it.
pub(super) fn flat16_tile(similarity: Similarity, queries: &[f32], dim: usize, blocks: &[u16], out: &mut [f32]) {
    match similarity {
        Similarity::L2 => flat16_by::<true>(queries, dim, blocks, out),
        Similarity::Dot => flat16_by::<false>(queries, dim, blocks, out),
    }
}

/// Sums so far stand in `out`; each grows by its dimensions in order, as in [`some_blocks`].
fn flat16_by<const L2: bool>(queries: &[f32], dim: usize, blocks: &[u16], out: &mut [f32]) {
    out.fill(0.0);
    let Some(row) = blocks.len().checked_div(dim) else { return };
    let mut wide = [[f32x8::ZERO; 2]; WIDENED];
    for (b, block) in blocks.chunks_exact(dim * LANES).enumerate() {
        for (p, piece) in block.as_chunks::<WIDTH>().0.as_chunks::<2>().0.chunks(WIDENED).enumerate() {
            for (wide, &[low, high]) in wide.iter_mut().zip(piece) {
                *wide = [widen_eight(low), widen_eight(high)];
            }
            for (query, out) in queries.chunks_exact(dim).zip(out.chunks_exact_mut(row)) {
                let (low, high) = out[b * LANES..][..LANES].split_at_mut(WIDTH);
                let mut sums = [load(low), load(high)];
                for (x, &value) in wide.iter().zip(&query[p * WIDENED..][..piece.len()]) {
                    let q = f32x8::splat(value);
                    sums = [step::<L2>(sums[0], x[0], q), step::<L2>(sums[1], x[1], q)];
                }
                low.copy_from_slice(&sums[0].to_array());
                high.copy_from_slice(&sums[1].to_array());
            }
        }
    }
    if L2 {
        out.iter_mut().for_each(|sum| *sum = 0.0 - *sum);
    }
}

/// Scores that are tested together.
const TESTED: usize = 4 * WIDTH;

/// Candidates are few, so one branch tests 32 scores, and the bits of the rare hits are walked.
pub(super) fn above(
    scores: &[f32],
    threshold: f32,
    first: u32,
    out_scores: &mut [f32],
    out_index: &mut [u32],
) -> usize {
    let least = f32x8::splat(threshold);
    let mut count = 0;
    let mut walk = |scores: &[f32], mut over: u32, before: usize| {
        while over != 0 {
            let lane = over.trailing_zeros() as usize;
            out_scores[count] = scores[lane];
            out_index[count] = first.wrapping_add((before + lane) as u32);
            count += 1;
            over &= over - 1;
        }
    };
    let (many, rest) = scores.as_chunks::<TESTED>();
    for (i, scores) in many.iter().enumerate() {
        let mut over = 0;
        for (g, values) in scores.as_chunks::<WIDTH>().0.iter().enumerate() {
            over |= f32x8::from(*values).simd_gt(least).to_bitmask() << (g * WIDTH);
        }
        walk(scores, over, i * TESTED);
    }
    for (i, scores) in rest.chunks(WIDTH).enumerate() {
        let over = load(scores).simd_gt(least).to_bitmask() & ((1 << scores.len()) - 1);
        walk(scores, over, many.len() * TESTED + i * WIDTH);
    }
    count
}

pub(super) fn to_f16(values: &[f32], out: &mut [u16]) {
    values.iter().zip(out).for_each(|(&value, out)| *out = narrow(value));
}

pub(super) fn from_f16(values: &[u16], out: &mut [f32]) {
    values.iter().zip(out).for_each(|(&value, out)| *out = widen(value));
}
