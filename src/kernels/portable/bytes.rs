//! Byte blocks on `wide`: exact, by 16-bit products.
//!
//! The bytes of a group are read as 16-bit words: one half of each word holds dimensions 0 and 2 of a vector, the
//! other 1 and 3. [`i16x8::dot`] with the query split the same way gives one 32-bit sum a vector each.

use bytemuck::{cast, pod_read_unaligned};
use wide::{f32x4, i16x8, i32x4, u16x8};

use crate::kernels::{GROUP, GROUP_BYTES, LANES, TERM_BYTES, sq8_stride};

/// Vectors in a register.
pub(super) const WIDTH: usize = 4;
/// Bytes of a register.
pub(super) const BYTES: usize = WIDTH * GROUP;
/// Registers of a block.
const QUARTERS: usize = LANES / WIDTH;
/// Blocks summed at once: each split group of the query serves both.
const AT_ONCE: usize = 2;

/// Signed bytes of four dimensions as words.
#[inline(always)]
pub(super) fn split_signed(four: i16x8) -> [i16x8; 2] {
    [(four << 8) >> 8, four >> 8]
}

/// Unsigned bytes of four dimensions as words.
#[inline(always)]
pub(super) fn split_unsigned(four: i16x8) -> [i16x8; 2] {
    [four & i16x8::splat(0xff), cast(cast::<i16x8, u16x8>(four) >> 8)]
}

/// `sum` plus the four products of each 32-bit lane.
#[inline(always)]
pub(super) fn add_products(sum: i32x4, u: [i16x8; 2], q: [i16x8; 2]) -> i32x4 {
    sum + (u[0].dot(q[0]) + u[1].dot(q[1]))
}

/// Four bytes in every lane.
#[inline(always)]
pub(super) fn spread(four: [u8; GROUP]) -> i16x8 {
    cast(i32x4::splat(i32::from_ne_bytes(four)))
}

/// Sums of `B` blocks from the front of `blocks`, four registers each.
#[inline(always)]
fn sums<const B: usize>(query: &[i8], blocks: &[u8], stride: usize) -> [[i32x4; QUARTERS]; B] {
    let groups = query.as_chunks::<GROUP>().0;
    let mut starts = [&[][..]; B];
    for (b, start) in starts.iter_mut().enumerate() {
        *start = &blocks[b * stride..].as_chunks::<GROUP_BYTES>().0[..groups.len()];
    }
    let mut sums = [[i32x4::ZERO; QUARTERS]; B];
    for (g, group) in groups.iter().enumerate() {
        let q = split_signed(spread(group.map(|q| q as u8)));
        for b in 0..B {
            let quarters = starts[b][g].as_chunks::<BYTES>().0;
            for (sum, bytes) in sums[b].iter_mut().zip(quarters) {
                *sum = add_products(*sum, split_unsigned(pod_read_unaligned(bytes)), q);
            }
        }
    }
    sums
}

pub(super) fn u8_blocks(query: &[i8], blocks: &[u8], stride: usize, out: &mut [i32]) {
    let (some, rest) = out.as_chunks_mut::<{ AT_ONCE * LANES }>();
    for (i, out) in some.iter_mut().enumerate() {
        *out = cast(sums::<AT_ONCE>(query, &blocks[i * AT_ONCE * stride..], stride));
    }
    let done = some.len() * AT_ONCE;
    for (i, out) in rest.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        *out = cast(sums::<1>(query, &blocks[(done + i) * stride..], stride));
    }
}

pub(super) fn sq8_blocks(query: &[i8], scale: f32, offset: f32, blocks: &[u8], terms: bool, out: &mut [f32]) {
    let stride = sq8_stride(query, terms);
    let (some, rest) = out.as_chunks_mut::<{ AT_ONCE * LANES }>();
    for (i, out) in some.iter_mut().enumerate() {
        let blocks = &blocks[i * AT_ONCE * stride..];
        let sums = sums::<AT_ONCE>(query, blocks, stride);
        for (b, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
            *out = finish(sums[b], scale, offset, &blocks[b * stride..][..stride], terms);
        }
    }
    let done = some.len() * AT_ONCE;
    for (i, out) in rest.as_chunks_mut().0.iter_mut().enumerate() {
        let block = &blocks[(done + i) * stride..][..stride];
        let [sum] = sums::<1>(query, block, stride);
        *out = finish(sum, scale, offset, block, terms);
    }
}

/// `scale * sum + offset (+ term)`, rounded after each step as the scalar level does.
#[inline(always)]
fn finish(sums: [i32x4; QUARTERS], scale: f32, offset: f32, block: &[u8], terms: bool) -> [f32; LANES] {
    let mut scores = sums.map(|sum| f32x4::splat(scale) * f32x4::from_i32x4(sum) + f32x4::splat(offset));
    if terms && let Some(term) = block.last_chunk::<TERM_BYTES>() {
        for (score, bytes) in scores.iter_mut().zip(term.as_chunks::<4>().0.as_chunks::<WIDTH>().0) {
            *score += f32x4::from(bytes.map(f32::from_le_bytes));
        }
    }
    cast(scores)
}
