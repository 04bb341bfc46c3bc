//! Product quantization, the oracle: one table entry, one codeword, one vector at a time.

use crate::kernels::LANES;
use crate::kernels::pq::{ENTRIES, GROUP_TABLES, LINE, Tables};

pub(in crate::kernels) fn pq4_blocks(tables: &Tables, blocks: &[u8], out: &mut [f32]) {
    for (block, out) in blocks.chunks_exact(tables.stride4()).zip(out.chunks_exact_mut(LANES)) {
        for (v, out) in out.iter_mut().enumerate() {
            let mut sum = 0;
            for (tables, codes) in tables.bytes.chunks_exact(GROUP_TABLES).zip(block.chunks_exact(LINE)) {
                for l in 0..4 {
                    let code = usize::from(codes[l * LANES + v]);
                    sum += u32::from(tables[l * 16 + code % 16]) + u32::from(tables[(4 + l) * 16 + code / 16]);
                }
            }
            *out = tables.score(sum, block, v);
        }
    }
}

pub(in crate::kernels) fn pq8_blocks(tables: &Tables, blocks: &[u8], out: &mut [f32]) {
    for (block, out) in blocks.chunks_exact(tables.stride8()).zip(out.chunks_exact_mut(LANES)) {
        for (v, out) in out.iter_mut().enumerate() {
            let codes = block.iter().skip(v).step_by(LANES);
            let entries = tables.bytes.chunks_exact(ENTRIES).zip(codes);
            let sum = entries.map(|(table, &code)| u32::from(table[usize::from(code)])).sum();
            *out = tables.score(sum, block, v);
        }
    }
}

pub(in crate::kernels) fn nearest(codewords: &[f32], bias: &[f32], blocks: &[f32], out: &mut [u8]) {
    let dim = codewords.len() / bias.len();
    for (i, out) in out.iter_mut().enumerate() {
        let value = |blocks: &[f32], i: usize, j: usize| blocks[(i / LANES * dim + j) * LANES + i % LANES];
        let (mut best, mut code) = (f32::NEG_INFINITY, 0);
        for (k, &bias) in bias.iter().enumerate() {
            let score = (0..dim).fold(bias, |sum, j| sum + value(blocks, i, j) * value(codewords, k, j));
            if score > best {
                (best, code) = (score, k as u8);
            }
        }
        *out = code;
    }
}
