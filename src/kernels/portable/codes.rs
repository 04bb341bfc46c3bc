//! Code blocks on `wide`: exact, by 16-bit products.
//!
//! The bytes of a group are read as 16-bit words: one half of each word holds dimensions 0 and 2 of a vector, the
//! other 1 and 3. [`i16x8::dot`] with the query split the same way gives one 32-bit sum a vector each. Codes of less
//! than 8 bits are masked where they stand: part `p` is `2^(p bits)` times too great, and the query values that it
//! meets are multiplied by what is missing to `2^(8 - bits)`, up to `128 * 128`, which fits words. So all products are
//! too great by that, and sums are shifted once. They fit 32 bits before, too: at most `65536 * 15 * 128 * 16`, which
//! is of 4 bits, and less than `2^31`.
//!
//! Loops over groups count to constants inside and map no arrays: otherwise there are loops and calls in them in builds
//! without link-time optimization (`lto = "off"`).

use bytemuck::cast;
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

/// Sums of `B` blocks of `PARTS` codes of `BITS` a byte from the front of `blocks`.
#[inline(always)]
fn sums<const BITS: u32, const PARTS: usize, const B: usize>(query: &[i8], blocks: &[u8], stride: usize) -> [Sums; B] {
    let groups = query.as_chunks::<GROUP>().0.as_chunks::<PARTS>().0;
    let mut starts = [&[][..]; B];
    for (b, start) in starts.iter_mut().enumerate() {
        *start = &blocks[b * stride..].as_chunks::<GROUP_BYTES>().0[..groups.len()];
    }
    let mut sums = [[i32x4::ZERO; QUARTERS]; B];
    for (g, group) in groups.iter().enumerate() {
        let mut q = [[i16x8::ZERO; 2]; PARTS];
        for p in 0..PARTS {
            let missing = 8 - BITS - p as u32 * BITS;
            let [even, odd] = split_signed(spread(cast(group[p])));
            q[p] = [even << missing, odd << missing];
        }
        for b in 0..B {
            let quarters: [[u8; BYTES]; QUARTERS] = cast(starts[b][g]);
            for i in 0..QUARTERS {
                let [even, odd] = split_unsigned(cast(quarters[i]));
                for p in 0..PARTS {
                    let mask = i16x8::splat(((1 << BITS) - 1) << (p as u32 * BITS));
                    sums[b][i] = add_products(sums[b][i], [even & mask, odd & mask], q[p]);
                }
            }
        }
    }
    for b in 0..B {
        for i in 0..QUARTERS {
            sums[b][i] >>= 8 - BITS;
        }
    }
    sums
}

/// Hands the sums of `n` blocks to `take`, with their position.
#[inline(always)]
fn each<const BITS: u32, const PARTS: usize>(
    (query, blocks, stride): (&[i8], &[u8], usize),
    n: usize,
    mut take: impl FnMut(usize, Sums),
) {
    let mut b = 0;
    while b + AT_ONCE <= n {
        let sums = sums::<BITS, PARTS, AT_ONCE>(query, &blocks[b * stride..], stride);
        (b..).zip(sums).for_each(|(b, sums)| take(b, sums));
        b += AT_ONCE;
    }
    for b in b..n {
        let [sums] = sums::<BITS, PARTS, 1>(query, &blocks[b * stride..], stride);
        take(b, sums);
    }
}

/// As [`each`], for a width known when it runs.
#[inline(always)]
fn each_of(bits: u32, blocks: (&[i8], &[u8], usize), n: usize, take: impl FnMut(usize, Sums)) {
    match bits {
        1 => each::<1, 8>(blocks, n, take),
        2 => each::<2, 4>(blocks, n, take),
        4 => each::<4, 2>(blocks, n, take),
        _ => each::<8, 1>(blocks, n, take),
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
    let mut scores = [f32x4::ZERO; QUARTERS];
    for i in 0..QUARTERS {
        scores[i] = f32x4::splat(query.scale) * f32x4::from_i32x4(sums[i]) + f32x4::splat(query.offset);
    }
    if terms && let Some(term) = block.last_chunk::<TERM_BYTES>() {
        let terms: [[[u8; 4]; WIDTH]; QUARTERS] = cast(*term);
        for i in 0..QUARTERS {
            scores[i] += f32x4::from(terms[i].map(f32::from_le_bytes));
        }
    }
    cast(scores)
}
