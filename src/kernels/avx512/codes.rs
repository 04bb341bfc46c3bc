//! Code blocks with AVX-512 VNNI: one `vpdpbusd` adds 4 dimensions of 16 vectors, exactly, in 32 bits.
//!
//! Codes of less than 8 bits are masked where they stand, not shifted down: part `p` of a group is summed in a chain
//! of its own, `2^(p bits)` times too great, and the chain is shifted once at the end. A sum fits 32 bits all the
//! same, because no product is greater than that of a whole byte, so every chain is its multiple exactly.

use std::arch::x86_64::*;

use crate::kernels::codes::one_by_one;
use crate::kernels::{CodeBlocks, CodeQuery, GROUP, GROUP_BYTES, LANES, TERM_BYTES};

/// Blocks ahead of which codes are asked for where several queries are scored: few, as each block takes longer.
const TILE_AHEAD: usize = 4;

/// Sums of `B` blocks of `PARTS` codes a byte from the front of `blocks`, in `CHAINS` chains each, a multiple of
/// `PARTS`. The next `B` blocks are prefetched, because the CPU's own prefetchers start anew with each short stream. If
/// `LONE`, nothing behind the last block is: it would come from memory for nothing. (The queries of a batch go from list to
/// list as memory does.)
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn sums<const PARTS: usize, const CHAINS: usize, const B: usize, const LONE: bool>(
    query: &[i8],
    blocks: &[u8],
    stride: usize,
) -> [__m512i; B] {
    let bits = 8 / PARTS;
    let (fours, _) = query.as_chunks::<GROUP>();
    assert!(fours.len().is_multiple_of(PARTS));
    assert!(blocks.len() >= (B - 1) * stride + fours.len() / PARTS * GROUP_BYTES);
    let last_line = if LONE { blocks.len().saturating_sub(GROUP_BYTES) } else { usize::MAX };
    let blocks = blocks.as_ptr();
    let (steps, last) = fours.as_chunks::<CHAINS>();
    let mut sums = [[_mm512_setzero_si512(); B]; CHAINS];
    for (s, step) in steps.iter().enumerate() {
        for c in 0..CHAINS {
            let (q, mask) = (spread(step[c]), part_mask(c % PARTS, bits));
            for b in 0..B {
                let line = b * stride + (s * CHAINS + c) / PARTS * GROUP_BYTES;
                if B > 1 && c % PARTS == 0 {
                    let ahead = (B * stride + line).min(last_line);
                    _mm_prefetch::<_MM_HINT_T0>(blocks.wrapping_add(ahead).cast());
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
fn each<const PARTS: usize, const CHAINS: usize, const B: usize, const ALONE: usize, const LONE: bool>(
    (query, blocks, stride): (&[i8], &[u8], usize),
    n: usize,
    mut take: impl FnMut(usize, __m512i),
) {
    let mut b = 0;
    while b + B <= n {
        let sums = sums::<PARTS, CHAINS, B, LONE>(query, &blocks[b * stride..], stride);
        (b..).zip(sums).for_each(|(b, sum)| take(b, sum));
        b += B;
    }
    for b in b..n {
        let [sum] = sums::<PARTS, ALONE, 1, LONE>(query, &blocks[b * stride..], stride);
        take(b, sum);
    }
}

/// As [`each`], for a width known when it runs: 8 chains or more in all, to hide the 5 cycles of `vpdpbusd`, and no
/// more than fit the registers. A `LONE` query takes two blocks of 2 bits at once: what is not prefetched of a list, its
/// first ones, is less then. (With 4 bits two took longer than four.)
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn each_of<const LONE: bool>(bits: u32, blocks: (&[i8], &[u8], usize), n: usize, take: impl FnMut(usize, __m512i)) {
    match bits {
        1 => each::<8, 8, 2, 8, LONE>(blocks, n, take),
        2 if LONE => each::<4, 4, 2, 8, LONE>(blocks, n, take),
        2 => each::<4, 4, 4, 8, LONE>(blocks, n, take),
        4 => each::<2, 2, 4, 8, LONE>(blocks, n, take),
        _ => each::<1, 2, 4, 8, LONE>(blocks, n, take),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn code_blocks(bits: u32, query: &[i8], blocks: &[u8], stride: usize, out: &mut [i32]) {
    let out = out.as_chunks_mut::<LANES>().0;
    each_of::<false>(bits, (query, blocks, stride), out.len(), |b, sum| {
        // SAFETY: 16 places a block.
        unsafe { _mm512_storeu_si512(out[b].as_mut_ptr().cast(), sum) };
    });
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn sq_blocks(bits: u32, query: &CodeQuery<'_>, blocks: CodeBlocks<'_>, out: &mut [f32]) {
    sq_blocks_of::<true>(bits, query, blocks, out);
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn sq_blocks_of<const LONE: bool>(bits: u32, query: &CodeQuery<'_>, blocks: CodeBlocks<'_>, out: &mut [f32]) {
    let out = out.as_chunks_mut::<LANES>().0;
    each_of::<LONE>(bits, (query.codes, blocks.bytes, blocks.stride), out.len(), |b, sum| {
        finish(sum, query, blocks.block(b), blocks.terms, &mut out[b]);
    });
}

/// Sums of `B` blocks from the front of `blocks` for `Q` queries, in a chain for each part, query and block: codes are
/// loaded and masked once for all queries. `Q B PARTS` is at most 16, which fills the registers beside codes and masks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn tile_sums<const PARTS: usize, const Q: usize, const B: usize>(
    queries: [&[i8]; Q],
    blocks: &[u8],
    stride: usize,
) -> [[__m512i; B]; Q] {
    let bits = 8 / PARTS;
    let queries = queries.map(|query| query.as_chunks::<GROUP>().0.as_chunks::<PARTS>().0);
    let groups = queries[0].len();
    assert!(queries.iter().all(|query| query.len() == groups));
    assert!(blocks.len() >= (B - 1) * stride + groups * GROUP_BYTES);
    let blocks = blocks.as_ptr();
    let mut sums = [[[_mm512_setzero_si512(); B]; Q]; PARTS];
    for g in 0..groups {
        let mut codes = [_mm512_setzero_si512(); B];
        for b in 0..B {
            let line = b * stride + g * GROUP_BYTES;
            // SAFETY: the group is one of the query's, so its 64 bytes lie inside block `b`.
            codes[b] = unsafe { _mm512_loadu_si512(blocks.add(line).cast()) };
            _mm_prefetch::<_MM_HINT_T0>(blocks.wrapping_add(TILE_AHEAD * stride + line).cast());
        }
        for p in 0..PARTS {
            let u = codes.map(|codes| _mm512_and_si512(codes, part_mask(p, bits)));
            for q in 0..Q {
                let four = spread(queries[q][g][p]);
                for b in 0..B {
                    sums[p][q][b] = _mm512_dpbusd_epi32(sums[p][q][b], u[b], four);
                }
            }
        }
    }
    let mut total = [[_mm512_setzero_si512(); B]; Q];
    for p in 0..PARTS {
        let shift = _mm_cvtsi32_si128((p * bits) as i32);
        for q in 0..Q {
            for b in 0..B {
                total[q][b] = _mm512_add_epi32(total[q][b], _mm512_sra_epi32(sums[p][q][b], shift));
            }
        }
    }
    total
}

/// Scores `Q` queries, `B` blocks at once and those left over one by one.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn tile<const PARTS: usize, const Q: usize, const B: usize>(
    queries: &[CodeQuery<'_>; Q],
    blocks: CodeBlocks<'_>,
    out: &mut [f32],
) {
    let codes = queries.map(|query| query.codes);
    let n = out.len() / Q / LANES;
    let out = out.as_chunks_mut::<LANES>().0;
    let mut put = |q: usize, b: usize, sum: __m512i| {
        finish(sum, &queries[q], blocks.block(b), blocks.terms, &mut out[q * n + b]);
    };
    let mut b = 0;
    while b + B <= n {
        let sums = tile_sums::<PARTS, Q, B>(codes, &blocks.bytes[b * blocks.stride..], blocks.stride);
        for q in 0..Q {
            (b..).zip(sums[q]).for_each(|(b, sum)| put(q, b, sum));
        }
        b += B;
    }
    for b in b..n {
        let sums = tile_sums::<PARTS, Q, 1>(codes, &blocks.bytes[b * blocks.stride..], blocks.stride);
        sums.into_iter().enumerate().for_each(|(q, [sum])| put(q, b, sum));
    }
}

/// [`tile`] for all `queries`: four by four, then two, then one.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn tiles<const PARTS: usize, const B4: usize, const B2: usize>(
    queries: &[CodeQuery<'_>],
    blocks: CodeBlocks<'_>,
    out: &mut [f32],
) {
    let each = out.len() / queries.len().max(1);
    let (fours, rest) = queries.as_chunks::<4>();
    let (out, rest_out) = out.split_at_mut(fours.len() * 4 * each);
    for (queries, out) in fours.iter().zip(out.chunks_exact_mut((4 * each).max(1))) {
        tile::<PARTS, 4, B4>(queries, blocks, out);
    }
    let (twos, rest) = rest.as_chunks::<2>();
    let (out, rest_out) = rest_out.split_at_mut(twos.len() * 2 * each);
    for queries in twos {
        tile::<PARTS, 2, B2>(queries, blocks, out);
    }
    for query in rest {
        sq_blocks_of::<false>(8 / PARTS as u32, query, blocks, rest_out);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn sq_tile(bits: u32, queries: &[CodeQuery<'_>], blocks: CodeBlocks<'_>, out: &mut [f32]) {
    match bits {
        1 => one_by_one(queries, out, |query, out| sq_blocks_of::<false>(bits, query, blocks, out)),
        2 => tiles::<4, 1, 2>(queries, blocks, out),
        4 => tiles::<2, 2, 4>(queries, blocks, out),
        _ => tiles::<1, 4, 4>(queries, blocks, out),
    }
}

/// `scale * sum + offset (+ term)`, rounded after each step as the scalar level does: no FMA.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn finish(sum: __m512i, query: &CodeQuery<'_>, block: &[u8], terms: bool, out: &mut [f32; LANES]) {
    let scaled = _mm512_mul_ps(_mm512_set1_ps(query.scale), _mm512_cvtepi32_ps(sum));
    let mut score = _mm512_add_ps(scaled, _mm512_set1_ps(query.offset));
    if terms && let Some(term) = block.last_chunk::<TERM_BYTES>() {
        // SAFETY: 64 bytes are 16 floats; any alignment.
        score = _mm512_add_ps(score, unsafe { _mm512_loadu_ps(term.as_ptr().cast()) });
    }
    // SAFETY: `out` is 16 floats.
    unsafe { _mm512_storeu_ps(out.as_mut_ptr(), score) };
}
