//! Byte blocks with AVX2: exact, by 16-bit products.
//!
//! The bytes of a group are read as 16-bit words: the low halves are dimensions 0 and 2 of each vector, the high
//! halves 1 and 3. `vpmaddwd` with the query split the same way gives one 32-bit sum a vector each: no widening
//! shuffle and nothing that saturates.

use std::arch::x86_64::*;

use crate::kernels::{GROUP, GROUP_BYTES, LANES, TERM_BYTES, sq8_stride};

/// Blocks summed at once: each split group of the query serves all of them.
const AT_ONCE: usize = 4;

/// Signed bytes of four dimensions as words: (0, 2) and (1, 3).
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn split_signed(four: __m256i) -> [__m256i; 2] {
    [_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(four)), _mm256_srai_epi16::<8>(four)]
}

/// Unsigned bytes of four dimensions as words: (0, 2) and (1, 3).
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn split_unsigned(four: __m256i) -> [__m256i; 2] {
    [_mm256_and_si256(four, _mm256_set1_epi16(0xff)), _mm256_srli_epi16::<8>(four)]
}

/// `sum` plus the four products of each 32-bit lane.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn add_products(sum: __m256i, u: [__m256i; 2], q: [__m256i; 2]) -> __m256i {
    let products = _mm256_add_epi32(_mm256_madd_epi16(u[0], q[0]), _mm256_madd_epi16(u[1], q[1]));
    _mm256_add_epi32(sum, products)
}

/// Sums of `B` blocks from the front of `blocks`, two registers each. The next `B` blocks are prefetched, because the
/// CPU's own prefetchers start anew with each short stream.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn sums<const B: usize>(query: &[i8], blocks: &[u8], stride: usize) -> [[__m256i; 2]; B] {
    assert!(blocks.len() >= (B - 1) * stride + query.len() * LANES);
    let blocks = blocks.as_ptr();
    let mut sums = [[_mm256_setzero_si256(); 2]; B];
    for (g, group) in query.as_chunks::<GROUP>().0.iter().enumerate() {
        let q = split_signed(_mm256_set1_epi32(i32::from_ne_bytes(group.map(|q| q as u8))));
        for (b, sums) in sums.iter_mut().enumerate() {
            if B > 1 {
                _mm_prefetch::<_MM_HINT_T0>(blocks.wrapping_add((B + b) * stride + g * GROUP_BYTES).cast());
            }
            for (half, sum) in sums.iter_mut().enumerate() {
                // SAFETY: group `g` is one of the query's, so its 64 bytes lie inside block `b`.
                let u = unsafe { _mm256_loadu_si256(blocks.add(b * stride + g * GROUP_BYTES + half * 32).cast()) };
                *sum = add_products(*sum, split_unsigned(u), q);
            }
        }
    }
    sums
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn u8_blocks(query: &[i8], blocks: &[u8], stride: usize, out: &mut [i32]) {
    let (some, rest) = out.as_chunks_mut::<{ AT_ONCE * LANES }>();
    for (i, out) in some.iter_mut().enumerate() {
        store(sums::<AT_ONCE>(query, &blocks[i * AT_ONCE * stride..], stride), out);
    }
    let done = some.len() * AT_ONCE;
    for (i, out) in rest.chunks_exact_mut(LANES).enumerate() {
        store(sums::<1>(query, &blocks[(done + i) * stride..], stride), out);
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn store<const B: usize>(sums: [[__m256i; 2]; B], out: &mut [i32]) {
    for (&sum, out) in sums.as_flattened().iter().zip(out.chunks_exact_mut(8)) {
        // SAFETY: `out` is 8 integers.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), sum) };
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn sq8_blocks(query: &[i8], scale: f32, offset: f32, blocks: &[u8], terms: bool, out: &mut [f32]) {
    let stride = sq8_stride(query, terms);
    let (some, rest) = out.as_chunks_mut::<{ AT_ONCE * LANES }>();
    for (i, out) in some.iter_mut().enumerate() {
        let blocks = &blocks[i * AT_ONCE * stride..];
        let sums = sums::<AT_ONCE>(query, blocks, stride);
        for (b, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
            finish(sums[b], scale, offset, &blocks[b * stride..][..stride], terms, out);
        }
    }
    let done = some.len() * AT_ONCE;
    for (i, out) in rest.as_chunks_mut().0.iter_mut().enumerate() {
        let block = &blocks[(done + i) * stride..][..stride];
        let [sum] = sums::<1>(query, block, stride);
        finish(sum, scale, offset, block, terms, out);
    }
}

/// `scale * sum + offset (+ term)`, rounded after each step as the scalar level does: no FMA.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn finish(sums: [__m256i; 2], scale: f32, offset: f32, block: &[u8], terms: bool, out: &mut [f32; LANES]) {
    for (half, sum) in sums.into_iter().enumerate() {
        let scaled = _mm256_mul_ps(_mm256_set1_ps(scale), _mm256_cvtepi32_ps(sum));
        let mut score = _mm256_add_ps(scaled, _mm256_set1_ps(offset));
        if terms && let Some(term) = block.last_chunk::<TERM_BYTES>() {
            // SAFETY: the half is 32 of 64 bytes, 8 floats; any alignment.
            score = _mm256_add_ps(score, unsafe { _mm256_loadu_ps(term.as_ptr().add(half * 32).cast()) });
        }
        // SAFETY: the half is 8 of 16 floats.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr().add(half * 8), score) };
    }
}
