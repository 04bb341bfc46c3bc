//! Code blocks with AVX-512 VNNI: one `vpdpbusd` adds 4 dimensions of 16 vectors, exactly, in 32 bits.
//!
//! Codes of less than 8 bits are masked where they stand, not shifted down: part `p` of a group is summed in a chain
//! of its own, `2^(p bits)` times too great, and the chain is shifted once at the end. A sum fits 32 bits all the
//! same, because no product is greater than that of a whole byte, so every chain is its multiple exactly.

use std::arch::x86_64::*;

use crate::kernels::{GROUP, GROUP_BYTES, LANES, TERM_BYTES, sq_stride};

/// Sums of `B` blocks of `PARTS` codes a byte from the front of `blocks`, in `CHAINS` chains each, a multiple of
/// `PARTS`. The next `B` blocks are prefetched, because the CPU's own prefetchers start anew with each short stream.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn sums<const PARTS: usize, const CHAINS: usize, const B: usize>(
    query: &[i8],
    blocks: &[u8],
    stride: usize,
) -> [__m512i; B] {
    let bits = 8 / PARTS;
    let (fours, _) = query.as_chunks::<GROUP>();
    assert!(fours.len().is_multiple_of(PARTS));
    assert!(blocks.len() >= (B - 1) * stride + fours.len() / PARTS * GROUP_BYTES);
    let blocks = blocks.as_ptr();
    let (steps, last) = fours.as_chunks::<CHAINS>();
    let mut sums = [[_mm512_setzero_si512(); B]; CHAINS];
    for (s, step) in steps.iter().enumerate() {
        for c in 0..CHAINS {
            let (q, mask) = (spread(step[c]), part_mask(c % PARTS, bits));
            for b in 0..B {
                let line = b * stride + (s * CHAINS + c) / PARTS * GROUP_BYTES;
                if B > 1 && c % PARTS == 0 {
                    _mm_prefetch::<_MM_HINT_T0>(blocks.wrapping_add(B * stride + line).cast());
                }
                // SAFETY: the group is one of the query's, so its 64 bytes lie inside block `b`.
                let u = unsafe { _mm512_loadu_si512(blocks.add(line).cast()) };
                sums[c][b] = _mm512_dpbusd_epi32(sums[c][b], _mm512_and_si512(u, mask), q);
            }
        }
    }
    for c in 0..CHAINS {
        let Some(&four) = last.get(c) else { break };
        for b in 0..B {
            let line = b * stride + (steps.len() * CHAINS + c) / PARTS * GROUP_BYTES;
            // SAFETY: as above.
            let u = unsafe { _mm512_loadu_si512(blocks.add(line).cast()) };
            sums[c][b] = _mm512_dpbusd_epi32(sums[c][b], _mm512_and_si512(u, part_mask(c % PARTS, bits)), spread(four));
        }
    }
    let mut total = [_mm512_setzero_si512(); B];
    for c in 0..CHAINS {
        let shift = _mm_cvtsi32_si128((c % PARTS * bits) as i32);
        for b in 0..B {
            total[b] = _mm512_add_epi32(total[b], _mm512_sra_epi32(sums[c][b], shift));
        }
    }
    total
}

/// Four query values in every lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn spread(four: [i8; GROUP]) -> __m512i {
    _mm512_set1_epi32(bytemuck::cast(four))
}

/// The bits of part `part` of every byte.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn part_mask(part: usize, bits: usize) -> __m512i {
    _mm512_set1_epi8((((1 << bits) - 1) << (part * bits)) as u8 as i8)
}

/// Hands the sums of `n` blocks to `take`, with their position: `B` blocks at once, those left over one by one in
/// `ALONE` chains, because a short list ends as often as it begins.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn each<const PARTS: usize, const CHAINS: usize, const B: usize, const ALONE: usize>(
    (query, blocks, stride): (&[i8], &[u8], usize),
    n: usize,
    mut take: impl FnMut(usize, __m512i),
) {
    let mut b = 0;
    while b + B <= n {
        let sums = sums::<PARTS, CHAINS, B>(query, &blocks[b * stride..], stride);
        (b..).zip(sums).for_each(|(b, sum)| take(b, sum));
        b += B;
    }
    for b in b..n {
        let [sum] = sums::<PARTS, ALONE, 1>(query, &blocks[b * stride..], stride);
        take(b, sum);
    }
}

/// As [`each`], for a width known when it runs: 8 chains or more in all, to hide the 5 cycles of `vpdpbusd`, and no
/// more than fit the registers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn each_of(bits: u32, blocks: (&[i8], &[u8], usize), n: usize, take: impl FnMut(usize, __m512i)) {
    match bits {
        1 => each::<8, 8, 2, 8>(blocks, n, take),
        2 => each::<4, 4, 4, 8>(blocks, n, take),
        4 => each::<2, 2, 4, 8>(blocks, n, take),
        _ => each::<1, 2, 4, 8>(blocks, n, take),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn code_blocks(bits: u32, query: &[i8], blocks: &[u8], stride: usize, out: &mut [i32]) {
    let out = out.as_chunks_mut::<LANES>().0;
    each_of(bits, (query, blocks, stride), out.len(), |b, sum| {
        // SAFETY: 16 places a block.
        unsafe { _mm512_storeu_si512(out[b].as_mut_ptr().cast(), sum) };
    });
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn sq_blocks(bits: u32, query: &[i8], scale: f32, offset: f32, blocks: &[u8], terms: bool, out: &mut [f32]) {
    let stride = sq_stride(bits, query, terms);
    let out = out.as_chunks_mut::<LANES>().0;
    each_of(bits, (query, blocks, stride), out.len(), |b, sum| {
        finish(sum, scale, offset, &blocks[b * stride..][..stride], terms, &mut out[b]);
    });
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
