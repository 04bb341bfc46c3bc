//! Product quantization on `wide`: 16 table entries by one shuffle, or one at a time where tables have 256.

use bytemuck::cast;
use wide::{u8x16, u16x8};

use crate::kernels::LANES;
use crate::kernels::pq::{ENTRIES, GROUP_TABLES, LINE, Tables};

/// Groups whose sums of entries stay within 16 bits: 4 entries a group go to each place.
const FLUSH: usize = 32;

pub(super) fn pq4_blocks(tables: &Tables, blocks: &[u8], out: &mut [f32]) {
    for (block, out) in blocks.chunks_exact(tables.stride4()).zip(out.as_chunks_mut::<LANES>().0) {
        let mut sums = [0u32; LANES];
        let runs = tables.bytes.chunks(FLUSH * GROUP_TABLES).zip(block.chunks(FLUSH * LINE));
        for (tables, codes) in runs {
            let [low, high] = run_sums(tables.as_chunks().0.as_chunks().0, codes.as_chunks().0.as_chunks().0);
            for (sum, &part) in sums.iter_mut().zip(cast::<_, [u16; LANES]>([low, high]).iter()) {
                *sum += u32::from(part);
            }
        }
        for (v, (out, sum)) in out.iter_mut().zip(sums).enumerate() {
            *out = tables.score(sum, block, v);
        }
    }
}

/// Sums of the entries of at most [`FLUSH`] groups, of vectors 0 to 7 and 8 to 15.
#[inline(always)]
fn run_sums(tables: &[[[u8; 16]; 8]], codes: &[[[u8; LANES]; 4]]) -> [u16x8; 2] {
    let mut sums = [u16x8::ZERO; 2];
    for (tables, codes) in tables.iter().zip(codes) {
        for l in 0..4 {
            let code: u16x8 = cast(codes[l]);
            let mask = u16x8::splat(0x0f0f);
            let low = u8x16::from(tables[l]).shuffle(cast(code & mask));
            let high = u8x16::from(tables[4 + l]).shuffle(cast((code >> 4) & mask));
            sums[0] += u16x8::from_u8x16_low(low) + u16x8::from_u8x16_low(high);
            sums[1] += u16x8::from_u8x16_high(low) + u16x8::from_u8x16_high(high);
        }
    }
    sums
}

pub(super) fn pq8_blocks(tables: &Tables, blocks: &[u8], out: &mut [f32]) {
    for (block, out) in blocks.chunks_exact(tables.stride8()).zip(out.as_chunks_mut::<LANES>().0) {
        let mut sums = [0u32; LANES];
        for (table, codes) in tables.bytes.as_chunks::<ENTRIES>().0.iter().zip(block.as_chunks::<LANES>().0) {
            for (sum, &code) in sums.iter_mut().zip(codes) {
                *sum += u32::from(table[usize::from(code)]);
            }
        }
        for (v, (out, sum)) in out.iter_mut().zip(sums).enumerate() {
            *out = tables.score(sum, block, v);
        }
    }
}

/// Codewords whose sums are in flight together.
const AT_ONCE: usize = 2;

/// Plain loops over 16 lanes, which the compiler turns into registers: vectors are the lanes, so nothing is summed or
/// compared across them.
pub(super) fn nearest(codewords: &[f32], bias: &[f32], blocks: &[f32], out: &mut [u8]) {
    let dim = codewords.len() / bias.len();
    for (block, out) in blocks.chunks_exact(dim * LANES).zip(out.as_chunks_mut::<LANES>().0) {
        nearest_of(dim, codewords, bias, block.as_chunks().0, out);
    }
}

#[inline(always)]
fn nearest_of(dim: usize, codewords: &[f32], bias: &[f32], block: &[[f32; LANES]], out: &mut [u8; LANES]) {
    let mut best = [f32::NEG_INFINITY; LANES];
    let mut code = [0u32; LANES];
    for (b, bias) in bias.as_chunks::<LANES>().0.iter().enumerate() {
        let words = &codewords[b * dim * LANES..][..dim * LANES].as_chunks::<LANES>().0[..dim];
        for half in 0..LANES / AT_ONCE {
            let first = half * AT_ONCE;
            let mut sums = [[0f32; LANES]; AT_ONCE];
            for (c, sum) in sums.iter_mut().enumerate() {
                *sum = [bias[first + c]; LANES];
            }
            for (x, words) in block.iter().zip(words) {
                for (c, sum) in sums.iter_mut().enumerate() {
                    let word = words[first + c];
                    for v in 0..LANES {
                        sum[v] += x[v] * word;
                    }
                }
            }
            for (c, sum) in sums.iter().enumerate() {
                let position = (b * LANES + first + c) as u32;
                for v in 0..LANES {
                    let better = sum[v] > best[v];
                    code[v] = if better { position } else { code[v] };
                    best[v] = if better { sum[v] } else { best[v] };
                }
            }
        }
    }
    *out = code.map(|code| code as u8);
}
