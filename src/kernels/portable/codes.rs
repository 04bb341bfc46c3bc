//! Code blocks on `wide`: exact, by 16-bit products.
//!
//! The bytes of a group are read as 16-bit words: one half of each word holds dimensions 0 and 2 of a vector, the
//! other 1 and 3. [`i16x8::dot`] with the query split the same way gives one 32-bit sum a vector each. Codes of less
//! than 8 bits are shifted down part by part and masked before that.

use bytemuck::{cast, pod_read_unaligned};
use wide::{f32x4, i16x8, i32x4, u16x8};

use crate::kernels::codes::one_by_one;
use crate::kernels::{CodeBlocks, CodeQuery, GROUP, GROUP_BYTES, LANES, TERM_BYTES};

/// Vectors in a register.
pub(super) const WIDTH: usize = 4;
/// Bytes of a register.
pub(super) const BYTES: usize = WIDTH * GROUP;
/// Registers of a block.
const QUARTERS: usize = LANES / WIDTH;
/// Blocks summed at once: each split group of the query serves both.
const AT_ONCE: usize = 2;

/// The sums of one block.
type Sums = [i32x4; QUARTERS];

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

/// Sums of `B` blocks from the front of `blocks`.
#[inline(always)]
fn sums<const BITS: u32, const B: usize>(query: &[i8], blocks: &[u8], stride: usize) -> [Sums; B] {
    let parts = (8 / BITS) as usize;
    let fours = query.as_chunks::<GROUP>().0;
    let mut starts = [&[][..]; B];
    for (b, start) in starts.iter_mut().enumerate() {
        *start = &blocks[b * stride..].as_chunks::<GROUP_BYTES>().0[..fours.len() / parts];
    }
    let mask = i16x8::splat((1 << BITS) - 1);
    let mut sums = [[i32x4::ZERO; QUARTERS]; B];
    for (i, four) in fours.iter().enumerate() {
        let q = split_signed(spread(four.map(|q| q as u8)));
        let (g, shift) = (i / parts, (i % parts) as u32 * BITS);
        for b in 0..B {
            let quarters = starts[b][g].as_chunks::<BYTES>().0;
            for (sum, bytes) in sums[b].iter_mut().zip(quarters) {
                let u = split_unsigned(pod_read_unaligned(bytes));
                let u = if BITS == 8 { u } else { u.map(|u| u >> shift & mask) };
                *sum = add_products(*sum, u, q);
            }
        }
    }
    sums
}

/// Hands the sums of `n` blocks to `take`, with their position.
#[inline(always)]
fn each<const BITS: u32>(query: &[i8], blocks: &[u8], stride: usize, n: usize, mut take: impl FnMut(usize, Sums)) {
    let mut b = 0;
    while b + AT_ONCE <= n {
        let sums = sums::<BITS, AT_ONCE>(query, &blocks[b * stride..], stride);
        (b..).zip(sums).for_each(|(b, sums)| take(b, sums));
        b += AT_ONCE;
    }
    for b in b..n {
        let [sums] = sums::<BITS, 1>(query, &blocks[b * stride..], stride);
        take(b, sums);
    }
}

/// As [`each`], for a width known when it runs.
#[inline(always)]
fn each_of(bits: u32, (query, blocks, stride): (&[i8], &[u8], usize), n: usize, take: impl FnMut(usize, Sums)) {
    match bits {
        1 => each::<1>(query, blocks, stride, n, take),
        2 => each::<2>(query, blocks, stride, n, take),
        4 => each::<4>(query, blocks, stride, n, take),
        _ => each::<8>(query, blocks, stride, n, take),
    }
}

pub(super) fn code_blocks(bits: u32, query: &[i8], blocks: &[u8], stride: usize, out: &mut [i32]) {
    let out = out.as_chunks_mut::<LANES>().0;
    each_of(bits, (query, blocks, stride), out.len(), |b, sums| out[b] = cast(sums));
}

pub(super) fn sq_blocks(bits: u32, query: &CodeQuery<'_>, blocks: CodeBlocks<'_>, out: &mut [f32]) {
    let out = out.as_chunks_mut::<LANES>().0;
    each_of(bits, (query.codes, blocks.bytes, blocks.stride), out.len(), |b, sums| {
        out[b] = finish(sums, query, blocks.block(b), blocks.terms);
    });
}

pub(super) fn sq_tile(bits: u32, queries: &[CodeQuery<'_>], blocks: CodeBlocks<'_>, out: &mut [f32]) {
    one_by_one(queries, out, |query, out| sq_blocks(bits, query, blocks, out));
}

/// `scale * sum + offset (+ term)`, rounded after each step as the scalar level does.
#[inline(always)]
fn finish(sums: Sums, query: &CodeQuery<'_>, block: &[u8], terms: bool) -> [f32; LANES] {
    let mut scores = sums.map(|sum| f32x4::splat(query.scale) * f32x4::from_i32x4(sum) + f32x4::splat(query.offset));
    if terms && let Some(term) = block.last_chunk::<TERM_BYTES>() {
        for (score, bytes) in scores.iter_mut().zip(term.as_chunks::<4>().0.as_chunks::<WIDTH>().0) {
            *score += f32x4::from(bytes.map(f32::from_le_bytes));
        }
    }
    cast(scores)
}
