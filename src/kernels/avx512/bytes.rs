//! Byte blocks with AVX-512 VNNI: one `vpdpbusd` adds 4 dimensions of 16 vectors, exactly, in 32 bits.

use std::arch::x86_64::*;

use crate::kernels::{GROUP, GROUP_BYTES, LANES, TERM_BYTES, sq8_stride};

/// Blocks summed at once: each spread group of the query serves all of them.
const AT_ONCE: usize = 4;

/// Sums of `B` blocks from the front of `blocks`. Two chains a block hide the 5 cycles of `vpdpbusd`. The next `B`
/// blocks are prefetched, because the CPU's own prefetchers start anew with each short stream.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn sums<const B: usize>(query: &[i8], blocks: &[u8], stride: usize) -> [__m512i; B] {
    assert!(blocks.len() >= (B - 1) * stride + query.len() * LANES);
    let blocks = blocks.as_ptr();
    let (groups, _) = query.as_chunks::<GROUP>();
    let (pairs, last) = groups.as_chunks::<2>();
    let mut sums = [[_mm512_setzero_si512(); B]; 2];
    for (g, pair) in pairs.iter().enumerate() {
        for c in 0..2 {
            let q = spread(pair[c]);
            for b in 0..B {
                let line = b * stride + (2 * g + c) * GROUP_BYTES;
                // SAFETY: group `2 g + c` is one of the query's, so its 64 bytes lie inside block `b`.
                let u = unsafe { _mm512_loadu_si512(blocks.add(line).cast()) };
                if B > 1 {
                    _mm_prefetch::<_MM_HINT_T0>(blocks.wrapping_add(B * stride + line).cast());
                }
                sums[c][b] = _mm512_dpbusd_epi32(sums[c][b], u, q);
            }
        }
    }
    let mut total = [_mm512_setzero_si512(); B];
    for b in 0..B {
        if let &[group] = last {
            // SAFETY: the last group of block `b`.
            let u = unsafe { _mm512_loadu_si512(blocks.add(b * stride + pairs.len() * 2 * GROUP_BYTES).cast()) };
            sums[0][b] = _mm512_dpbusd_epi32(sums[0][b], u, spread(group));
        }
        total[b] = _mm512_add_epi32(sums[0][b], sums[1][b]);
    }
    total
}

/// Four query values in every lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn spread(group: [i8; GROUP]) -> __m512i {
    _mm512_set1_epi32(i32::from_ne_bytes(group.map(|q| q as u8)))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn u8_blocks(query: &[i8], blocks: &[u8], stride: usize, out: &mut [i32]) {
    let (some, rest) = out.as_chunks_mut::<{ AT_ONCE * LANES }>();
    for (i, out) in some.iter_mut().enumerate() {
        let sums = sums::<AT_ONCE>(query, &blocks[i * AT_ONCE * stride..], stride);
        for b in 0..AT_ONCE {
            // SAFETY: `out` has 16 places for each of the blocks.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().add(b * LANES).cast(), sums[b]) };
        }
    }
    let done = some.len() * AT_ONCE;
    for (i, out) in rest.chunks_exact_mut(LANES).enumerate() {
        let [sum] = sums::<1>(query, &blocks[(done + i) * stride..], stride);
        // SAFETY: `out` has 16 places.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sum) };
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
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
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn finish(sum: __m512i, scale: f32, offset: f32, block: &[u8], terms: bool, out: &mut [f32; LANES]) {
    let scaled = _mm512_mul_ps(_mm512_set1_ps(scale), _mm512_cvtepi32_ps(sum));
    let mut score = _mm512_add_ps(scaled, _mm512_set1_ps(offset));
    if terms && let Some(term) = block.last_chunk::<TERM_BYTES>() {
        // SAFETY: 64 bytes are 16 floats; any alignment.
        score = _mm512_add_ps(score, unsafe { _mm512_loadu_ps(term.as_ptr().cast()) });
    }
    // SAFETY: `out` is 16 floats.
    unsafe { _mm512_storeu_ps(out.as_mut_ptr(), score) };
}
