//! Code blocks with AVX2: exact, by 16-bit products.
//!
//! Codes of 8 bits: the bytes of a group are read as 16-bit words, whose low halves are dimensions 0 and 2 of each
//! vector and whose high halves 1 and 3; `vpmaddwd` with the query split the same way gives one 32-bit sum a vector
//! each. Codes of 4 bits and less fit `vpmaddubsw`, whose pairs stay within `2 * 15 * 128`: nothing saturates.

use std::arch::x86_64::*;

use crate::kernels::codes::one_by_one;
use crate::kernels::{CodeBlocks, CodeQuery, GROUP, GROUP_BYTES, LANES, TERM_BYTES};

/// Blocks summed at once: each spread group of the query serves all of them.
const AT_ONCE: usize = 4;

/// The sums of one block.
type Sums = [__m256i; 2];

/// Signed bytes of four dimensions as words: (0, 2) and (1, 3).
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn split_signed(four: __m256i) -> [__m256i; 2] {
    [_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(four)), _mm256_srai_epi16::<8>(four)]
}

/// Unsigned bytes of four dimensions as words: (0, 2) and (1, 3).
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn split_unsigned(four: __m256i) -> [__m256i; 2] {
    [_mm256_and_si256(four, _mm256_set1_epi16(0xff)), _mm256_srli_epi16::<8>(four)]
}

/// `sum` plus the four products of each 32-bit lane.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn add_products(sum: __m256i, u: [__m256i; 2], q: [__m256i; 2]) -> __m256i {
    let products = _mm256_add_epi32(_mm256_madd_epi16(u[0], q[0]), _mm256_madd_epi16(u[1], q[1]));
    _mm256_add_epi32(sum, products)
}

/// Sums of `B` blocks of `PARTS` codes of `BITS` a byte from the front of `blocks`. The next `B` blocks are prefetched,
/// because the CPU's own prefetchers start anew with each short stream. Loops over registers count to constants, as in
/// `some_blocks` of flat blocks.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn sums<const BITS: i32, const PARTS: usize, const B: usize>(query: &[i8], blocks: &[u8], stride: usize) -> [Sums; B] {
    let groups = query.as_chunks::<GROUP>().0.as_chunks::<PARTS>().0;
    assert!(blocks.len() >= (B - 1) * stride + groups.len() * GROUP_BYTES);
    let blocks = blocks.as_ptr();
    let mut sums = [[_mm256_setzero_si256(); 2]; B];
    for (g, group) in groups.iter().enumerate() {
        let mut q = [_mm256_setzero_si256(); PARTS];
        for p in 0..PARTS {
            q[p] = _mm256_set1_epi32(bytemuck::cast(group[p]));
        }
        for b in 0..B {
            let line = b * stride + g * GROUP_BYTES;
            if B > 1 {
                _mm_prefetch::<_MM_HINT_T0>(blocks.wrapping_add(B * stride + line).cast());
            }
            for half in 0..2 {
                // SAFETY: group `g` is one of the query's, so its 64 bytes lie inside block `b`.
                let u = unsafe { _mm256_loadu_si256(blocks.add(line + half * 32).cast()) };
                sums[b][half] = if BITS == 8 {
                    add_products(sums[b][half], split_unsigned(u), split_signed(q[0]))
                } else {
                    _mm256_add_epi32(sums[b][half], part_products::<BITS, PARTS>(u, q))
                };
            }
        }
    }
    sums
}

/// The sums of the products of all parts of a group. Those of pairs of dimensions are added as words first: `PARTS`
/// times `2 * (2^BITS - 1) * 128` at most, which is 7680.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn part_products<const BITS: i32, const PARTS: usize>(mut u: __m256i, q: [__m256i; PARTS]) -> __m256i {
    let mask = _mm256_set1_epi8(((1 << BITS) - 1) as i8);
    let mut pairs = _mm256_setzero_si256();
    for p in 0..PARTS {
        pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(_mm256_and_si256(u, mask), q[p]));
        // Bits of a neighbour that come down are masked.
        u = _mm256_srli_epi16::<BITS>(u);
    }
    _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))
}

/// Hands the sums of `n` blocks to `take`, with their position.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn each<const BITS: i32, const PARTS: usize>(
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
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn each_of(bits: u32, blocks: (&[i8], &[u8], usize), n: usize, take: impl FnMut(usize, Sums)) {
    match bits {
        1 => each::<1, 8>(blocks, n, take),
        2 => each::<2, 4>(blocks, n, take),
        4 => each::<4, 2>(blocks, n, take),
        _ => each::<8, 1>(blocks, n, take),
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn code_blocks(bits: u32, query: &[i8], blocks: &[u8], stride: usize, out: &mut [i32]) {
    let out = out.as_chunks_mut::<LANES>().0;
    each_of(bits, (query, blocks, stride), out.len(), |b, sums| {
        for (sum, out) in sums.into_iter().zip(out[b].as_chunks_mut::<8>().0) {
            // SAFETY: `out` is 8 integers.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), sum) };
        }
    });
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn sq_blocks(bits: u32, query: &CodeQuery<'_>, blocks: CodeBlocks<'_>, out: &mut [f32]) {
    let out = out.as_chunks_mut::<LANES>().0;
    each_of(bits, (query.codes, blocks.bytes, blocks.stride), out.len(), |b, sums| {
        finish(sums, query, blocks.block(b), blocks.terms, &mut out[b]);
    });
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn sq_tile(bits: u32, queries: &[CodeQuery<'_>], blocks: CodeBlocks<'_>, out: &mut [f32]) {
    one_by_one(queries, out, |query, out| sq_blocks(bits, query, blocks, out));
}

/// `scale * sum + offset (+ term)`, rounded after each step as the scalar level does: no FMA.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn finish(sums: Sums, query: &CodeQuery<'_>, block: &[u8], terms: bool, out: &mut [f32; LANES]) {
    for (half, sum) in sums.into_iter().enumerate() {
        let scaled = _mm256_mul_ps(_mm256_set1_ps(query.scale), _mm256_cvtepi32_ps(sum));
        let mut score = _mm256_add_ps(scaled, _mm256_set1_ps(query.offset));
        if terms && let Some(term) = block.last_chunk::<TERM_BYTES>() {
            // SAFETY: the half is 32 of 64 bytes, 8 floats; any alignment.
            score = _mm256_add_ps(score, unsafe { _mm256_loadu_ps(term.as_ptr().add(half * 32).cast()) });
        }
        // SAFETY: the half is 8 of 16 floats.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr().add(half * 8), score) };
    }
}
