//! Product quantization with AVX2: 32 table entries of 4 bits by one `vpshufb`; entries of 8 bits one by one.
//!
//! Bytes are added as 16-bit words, odd places apart: `a` takes whole words, whose high halves carry the odd bytes
//! along, `odd` the odd bytes alone; `a - (odd << 8)` are the even ones, whatever wrapped on the way.

use std::arch::x86_64::*;

use crate::kernels::pq::{ENTRIES, GROUP_TABLES, LINE, Tables};
use crate::kernels::{LANES, TERM_BYTES};

/// Blocks summed at once: the tables of a group are loaded for all of them.
const AT_ONCE: usize = 2;
/// Groups whose sums of entries stay within 16 bits: 4 entries a group go to each place.
const FLUSH: usize = 64;

#[target_feature(enable = "avx2,fma")]
pub(super) fn pq4_blocks(tables: &Tables, blocks: &[u8], out: &mut [f32]) {
    let stride = tables.stride4();
    let (some, rest) = out.as_chunks_mut::<{ AT_ONCE * LANES }>();
    for (i, out) in some.iter_mut().enumerate() {
        some_blocks::<AT_ONCE>(tables, &blocks[i * AT_ONCE * stride..][..AT_ONCE * stride], out);
    }
    let done = some.len() * AT_ONCE;
    for (i, out) in rest.chunks_exact_mut(LANES).enumerate() {
        some_blocks::<1>(tables, &blocks[(done + i) * stride..][..stride], out);
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn some_blocks<const B: usize>(tables: &Tables, blocks: &[u8], out: &mut [f32]) {
    let stride = tables.stride4();
    assert!(blocks.len() == B * stride && out.len() == B * LANES);
    let mut sums = [[_mm256_setzero_si256(); 2]; B];
    for (r, run) in tables.bytes.chunks(FLUSH * GROUP_TABLES).enumerate() {
        let (mut whole, mut odd) = ([_mm256_setzero_si256(); B], [_mm256_setzero_si256(); B]);
        for (g, tables) in run.as_chunks::<GROUP_TABLES>().0.iter().enumerate() {
            for half in 0..2 {
                let at = tables[half * 32..].as_ptr();
                // SAFETY: of the 128 bytes of `tables` the 32 at `half * 32` and the 32 behind 64 more.
                let [low, high] = unsafe { [_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.add(64).cast())] };
                for b in 0..B {
                    let line = b * stride + (r * FLUSH + g) * LINE + half * 32;
                    // SAFETY: the block has a line for each group of the tables.
                    let codes = unsafe { _mm256_loadu_si256(blocks.as_ptr().add(line).cast()) };
                    let mask = _mm256_set1_epi8(15);
                    let low = _mm256_shuffle_epi8(low, _mm256_and_si256(codes, mask));
                    let high = _mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi16::<4>(codes), mask));
                    whole[b] = _mm256_add_epi16(whole[b], _mm256_add_epi16(low, high));
                    let odds = _mm256_add_epi16(_mm256_srli_epi16::<8>(low), _mm256_srli_epi16::<8>(high));
                    odd[b] = _mm256_add_epi16(odd[b], odds);
                }
            }
        }
        for b in 0..B {
            let even = _mm256_sub_epi16(whole[b], _mm256_slli_epi16::<8>(odd[b]));
            // Vectors 0 to 7 and 8 to 15, of the sub-quantizers of each half.
            let parts = [_mm256_unpacklo_epi16(even, odd[b]), _mm256_unpackhi_epi16(even, odd[b])];
            for (sum, part) in sums[b].iter_mut().zip(parts) {
                let first = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(part));
                let second = _mm256_cvtepu16_epi32(_mm256_extracti128_si256::<1>(part));
                *sum = _mm256_add_epi32(*sum, _mm256_add_epi32(first, second));
            }
        }
    }
    for (b, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
        finish(tables, sums[b], &blocks[b * stride..][..stride], out);
    }
}

/// Scores of 16 sums, rounded as [`Tables::score`] does: no FMA.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn finish(tables: &Tables, sums: [__m256i; 2], block: &[u8], out: &mut [f32; LANES]) {
    for (half, sum) in sums.into_iter().enumerate() {
        let scaled = _mm256_mul_ps(_mm256_set1_ps(tables.scale), _mm256_cvtepi32_ps(sum));
        let mut score = _mm256_add_ps(scaled, _mm256_set1_ps(tables.offset));
        if tables.terms
            && let Some(term) = block.last_chunk::<TERM_BYTES>()
        {
            // SAFETY: the half is 32 of 64 bytes, 8 floats; any alignment.
            score = _mm256_add_ps(score, unsafe { _mm256_loadu_ps(term.as_ptr().add(half * 32).cast()) });
        }
        // SAFETY: the half is 8 of 16 floats.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr().add(half * 8), score) };
    }
}

#[target_feature(enable = "avx2,fma")]
pub(in crate::kernels) fn pq8_blocks(tables: &Tables, blocks: &[u8], out: &mut [f32]) {
    let (lookups, last) =
        tables.bytes.as_chunks::<ENTRIES>().0.split_at(tables.bytes.len().div_ceil(ENTRIES).saturating_sub(1));
    for (block, out) in blocks.chunks_exact(tables.stride8()).zip(out.as_chunks_mut::<LANES>().0) {
        let mut sums = [_mm256_setzero_si256(); 2];
        let mut codes = block.as_chunks::<LANES>().0.iter();
        for (table, codes) in lookups.iter().zip(&mut codes) {
            for (half, sum) in sums.iter_mut().enumerate() {
                // SAFETY: 8 of the 16 codes; a gathered word begins inside `table` and ends inside the next one.
                let words = unsafe {
                    let codes = _mm_loadl_epi64(codes.as_ptr().add(half * 8).cast());
                    _mm256_i32gather_epi32::<1>(table.as_ptr().cast(), _mm256_cvtepu8_epi32(codes))
                };
                *sum = _mm256_add_epi32(*sum, _mm256_and_si256(words, _mm256_set1_epi32(255)));
            }
        }
        if let ([table], Some(codes)) = (last, codes.next()) {
            let entries = codes.map(|code| u32::from(table[usize::from(code)]));
            for (half, sum) in sums.iter_mut().enumerate() {
                // SAFETY: 8 of 16 integers.
                let entries = unsafe { _mm256_loadu_si256(entries.as_ptr().add(half * 8).cast()) };
                *sum = _mm256_add_epi32(*sum, entries);
            }
        }
        finish(tables, sums, block, out);
    }
}

/// Codewords whose sums are in flight together.
const WORDS: usize = 4;

/// Vectors are the lanes, 8 at a time, so nothing is summed or compared across them. Products are rounded: no FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) fn nearest(codewords: &[f32], bias: &[f32], blocks: &[f32], out: &mut [u8]) {
    let dim = codewords.len() / bias.len();
    for (h, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let block = &blocks[h / 2 * dim * LANES..][..dim * LANES].as_chunks::<LANES>().0[..dim];
        let mut best = _mm256_set1_ps(f32::NEG_INFINITY);
        let mut code = _mm256_setzero_ps();
        for (w, bias) in bias.as_chunks::<WORDS>().0.iter().enumerate() {
            let first = w / 4 * dim * LANES + w % 4 * WORDS;
            let mut sums = bias.map(|bias| _mm256_set1_ps(bias));
            for (j, x) in block.iter().enumerate() {
                // SAFETY: 8 of 16 floats.
                let x = unsafe { _mm256_loadu_ps(x.as_ptr().add(h % 2 * 8)) };
                let words: &[f32; WORDS] = &codewords[first + j * LANES..].as_chunks().0[0];
                for c in 0..WORDS {
                    sums[c] = _mm256_add_ps(sums[c], _mm256_mul_ps(x, _mm256_set1_ps(words[c])));
                }
            }
            for c in 0..WORDS {
                let better = _mm256_cmp_ps::<_CMP_GT_OQ>(sums[c], best);
                best = _mm256_blendv_ps(best, sums[c], better);
                let position = _mm256_castsi256_ps(_mm256_set1_epi32((w * WORDS + c) as i32));
                code = _mm256_blendv_ps(code, position, better);
            }
        }
        let mut codes = [0u32; 8];
        // SAFETY: `codes` is 8 integers.
        unsafe { _mm256_storeu_si256(codes.as_mut_ptr().cast(), _mm256_castps_si256(code)) };
        *out = codes.map(|code| code as u8);
    }
}
