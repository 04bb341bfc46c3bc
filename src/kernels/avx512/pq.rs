//! Product quantization with AVX-512: 64 table entries of 4 bits by one `vpshufb`, of 8 bits by two `vpermi2b`.
//!
//! Bytes are added as 16-bit words, odd places apart: `whole` takes whole words, whose high halves carry the odd bytes
//! along, `odd` the odd bytes alone; `whole - (odd << 8)` are the even ones, whatever wrapped on the way.

use std::arch::x86_64::*;

use crate::kernels::avx2;
use crate::kernels::pq::{ENTRIES, GROUP_TABLES, LINE, Tables};
use crate::kernels::{LANES, TERM_BYTES};

/// Blocks summed at once: tables are loaded for all of them.
const AT_ONCE: usize = 4;
/// Groups of 4 bits whose sums of entries stay within 16 bits: 2 entries a group go to each place.
const FLUSH4: usize = 128;
/// Sub-quantizers of 8 bits whose sums of entries stay within 16 bits.
const FLUSH8: usize = 256;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
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

/// The next `B` blocks are prefetched, because the CPU's own prefetchers start anew with each short stream.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn some_blocks<const B: usize>(tables: &Tables, blocks: &[u8], out: &mut [f32]) {
    let stride = tables.stride4();
    assert!(blocks.len() == B * stride && out.len() == B * LANES);
    let mask = _mm512_set1_epi8(15);
    let mut sums = [_mm512_setzero_si512(); B];
    for (r, run) in tables.bytes.chunks(FLUSH4 * GROUP_TABLES).enumerate() {
        let (mut whole, mut odd) = ([_mm512_setzero_si512(); B], [_mm512_setzero_si512(); B]);
        for (g, tables) in run.as_chunks::<GROUP_TABLES>().0.iter().enumerate() {
            let at = tables.as_ptr();
            // SAFETY: `tables` is 128 bytes.
            let [low, high] = unsafe { [_mm512_loadu_si512(at.cast()), _mm512_loadu_si512(at.add(64).cast())] };
            for b in 0..B {
                let line = b * stride + (r * FLUSH4 + g) * LINE;
                // SAFETY: the block has a line for each group of the tables.
                let codes = unsafe { _mm512_loadu_si512(blocks.as_ptr().add(line).cast()) };
                if B > 1 {
                    _mm_prefetch::<_MM_HINT_T0>(blocks.as_ptr().wrapping_add(B * stride + line).cast());
                }
                let low = _mm512_shuffle_epi8(low, _mm512_and_si512(codes, mask));
                let high = _mm512_shuffle_epi8(high, _mm512_and_si512(_mm512_srli_epi16::<4>(codes), mask));
                whole[b] = _mm512_add_epi16(whole[b], _mm512_add_epi16(low, high));
                let odds = _mm512_add_epi16(_mm512_srli_epi16::<8>(low), _mm512_srli_epi16::<8>(high));
                odd[b] = _mm512_add_epi16(odd[b], odds);
            }
        }
        for b in 0..B {
            // A quarter holds vectors 0 to 7, or 8 to 15, of the sub-quantizers of its place.
            let [first, second] = interleave(whole[b], odd[b]);
            let quarters = |part: __m512i| {
                let low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(part));
                _mm512_add_epi32(low, _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64::<1>(part)))
            };
            let (first, second) = (quarters(first), quarters(second));
            let low = _mm512_inserti64x4::<1>(first, _mm512_castsi512_si256(second));
            let high = _mm512_shuffle_i64x2::<0b1110_1110>(first, second);
            let high = _mm512_inserti64x4::<1>(high, _mm512_extracti64x4_epi64::<1>(second));
            sums[b] = _mm512_add_epi32(sums[b], _mm512_add_epi32(low, high));
        }
    }
    for (b, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
        finish(tables, sums[b], &blocks[b * stride..][..stride], out);
    }
}

/// The sums of bytes in their order, as words: bytes 0 to 7 and 8 to 15 of every quarter.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn interleave(whole: __m512i, odd: __m512i) -> [__m512i; 2] {
    let even = _mm512_sub_epi16(whole, _mm512_slli_epi16::<8>(odd));
    [_mm512_unpacklo_epi16(even, odd), _mm512_unpackhi_epi16(even, odd)]
}

/// Scores of 16 sums, rounded as [`Tables::score`] does: no FMA.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn finish(tables: &Tables, sum: __m512i, block: &[u8], out: &mut [f32; LANES]) {
    let scaled = _mm512_mul_ps(_mm512_set1_ps(tables.scale), _mm512_cvtepi32_ps(sum));
    let mut score = _mm512_add_ps(scaled, _mm512_set1_ps(tables.offset));
    if tables.terms
        && let Some(term) = block.last_chunk::<TERM_BYTES>()
    {
        // SAFETY: 64 bytes are 16 floats; any alignment.
        score = _mm512_add_ps(score, unsafe { _mm512_loadu_ps(term.as_ptr().cast()) });
    }
    // SAFETY: `out` is 16 floats.
    unsafe { _mm512_storeu_ps(out.as_mut_ptr(), score) };
}

/// VBMI is younger than this level; without it gathers, as with AVX2, which AVX-512 includes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn pq8_blocks(tables: &Tables, blocks: &[u8], out: &mut [f32]) {
    if is_x86_feature_detected!("avx512vbmi") {
        // SAFETY: the CPU has VBMI.
        unsafe { permuted(tables, blocks, out) }
    } else {
        avx2::pq::pq8_blocks(tables, blocks, out);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn permuted(tables: &Tables, blocks: &[u8], out: &mut [f32]) {
    let stride = tables.stride8();
    for (i, out) in out.chunks_mut(AT_ONCE * LANES).enumerate() {
        let blocks = &blocks[i * AT_ONCE * stride..][..out.len() / LANES * stride];
        four_blocks(tables, blocks, out);
    }
}

/// One to four blocks, a quarter of a register each; missing ones are read as the last.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn four_blocks(tables: &Tables, blocks: &[u8], out: &mut [f32]) {
    let stride = tables.stride8();
    let n = out.len() / LANES;
    assert!((1..=AT_ONCE).contains(&n) && blocks.len() == n * stride);
    let starts: [*const u8; AT_ONCE] = std::array::from_fn(|b| blocks[b.min(n - 1) * stride..].as_ptr());
    let mut sums = [_mm512_setzero_si512(); AT_ONCE];
    for (r, run) in tables.bytes.chunks(FLUSH8 * ENTRIES).enumerate() {
        let (mut whole, mut odd) = (_mm512_setzero_si512(), _mm512_setzero_si512());
        for (j, table) in run.as_chunks::<ENTRIES>().0.iter().enumerate() {
            let line = (r * FLUSH8 + j) * LANES;
            // SAFETY: every block has 16 codes for each sub-quantizer of the tables.
            let [c0, c1, c2, c3] = starts.map(|start| unsafe { _mm_loadu_si128(start.add(line).cast()) });
            let codes = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(c0), c1);
            let codes = _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(codes, c2), c3);
            // SAFETY: `table` is 256 bytes.
            let [t0, t1, t2, t3] =
                [0, 64, 128, 192].map(|at| unsafe { _mm512_loadu_si512(table.as_ptr().add(at).cast()) });
            let low = _mm512_permutex2var_epi8(t0, codes, t1);
            let high = _mm512_permutex2var_epi8(t2, codes, t3);
            let entries = _mm512_mask_blend_epi8(_mm512_movepi8_mask(codes), low, high);
            whole = _mm512_add_epi16(whole, entries);
            odd = _mm512_add_epi16(odd, _mm512_srli_epi16::<8>(entries));
        }
        let [first, second] = interleave(whole, odd);
        let quarter = |sum: &mut __m512i, first: __m128i, second: __m128i| {
            let words = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(first), second);
            *sum = _mm512_add_epi32(*sum, _mm512_cvtepu16_epi32(words));
        };
        let [s0, s1, s2, s3] = &mut sums;
        quarter(s0, _mm512_castsi512_si128(first), _mm512_castsi512_si128(second));
        quarter(s1, _mm512_extracti32x4_epi32::<1>(first), _mm512_extracti32x4_epi32::<1>(second));
        quarter(s2, _mm512_extracti32x4_epi32::<2>(first), _mm512_extracti32x4_epi32::<2>(second));
        quarter(s3, _mm512_extracti32x4_epi32::<3>(first), _mm512_extracti32x4_epi32::<3>(second));
    }
    for (b, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
        finish(tables, sums[b], &blocks[b * stride..][..stride], out);
    }
}

/// Codewords whose sums are in flight together.
const WORDS: usize = 8;

/// Vectors are the lanes, so nothing is summed or compared across them. Products are rounded: no FMA.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn nearest(codewords: &[f32], bias: &[f32], blocks: &[f32], out: &mut [u8]) {
    let dim = codewords.len() / bias.len();
    for (b, out) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let block = &blocks[b * dim * LANES..][..dim * LANES].as_chunks::<LANES>().0[..dim];
        // Two chains, of even and odd codewords: one would wait for itself.
        let mut best = [_mm512_set1_ps(f32::NEG_INFINITY); 2];
        let mut code = [_mm512_setzero_si512(); 2];
        for (w, bias) in bias.as_chunks::<WORDS>().0.iter().enumerate() {
            let first = w / 2 * dim * LANES + w % 2 * WORDS;
            let mut sums = bias.map(|bias| _mm512_set1_ps(bias));
            for (j, x) in block.iter().enumerate() {
                // SAFETY: 16 floats.
                let x = unsafe { _mm512_loadu_ps(x.as_ptr()) };
                let words: &[f32; WORDS] = &codewords[first + j * LANES..].as_chunks().0[0];
                for c in 0..WORDS {
                    sums[c] = _mm512_add_ps(sums[c], _mm512_mul_ps(x, _mm512_set1_ps(words[c])));
                }
            }
            for c in 0..WORDS {
                let better = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(sums[c], best[c % 2]);
                best[c % 2] = _mm512_mask_mov_ps(best[c % 2], better, sums[c]);
                let position = _mm512_set1_epi32((w * WORDS + c) as i32);
                code[c % 2] = _mm512_mask_mov_epi32(code[c % 2], better, position);
            }
        }
        // The odd chain where it is greater, or equal with the lower code.
        let greater = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(best[1], best[0]);
        let equal = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(best[1], best[0]);
        let lower = _mm512_mask_cmplt_epi32_mask(equal, code[1], code[0]);
        let code = _mm512_mask_mov_epi32(code[0], greater | lower, code[1]);
        // SAFETY: `out` is 16 bytes.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(code)) };
    }
}
