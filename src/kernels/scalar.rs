//! The scalar level: plain loops, the oracle every other level is tested against.
//!
//! It owns the meaning of each kernel. Floats are summed in float64 and rounded once; integers are exact.

mod pq;

use crate::types::Similarity;

use super::bounds::finish;
use super::codes::one_by_one;
use super::halves::{narrow, widen};
use super::panels::{PANEL_GROUP, Rows, WIDTH, offer2};
use super::{
    Best, CodeBlocks, CodeQuery, GROUP, GROUP_BYTES, Kernels, LANES, Level, Panels, TERM_BYTES, Table, sample,
};

pub(super) static KERNELS: Kernels = Kernels {
    level: Level::Scalar,
    table: Table {
        dot,
        l2,
        rows,
        flat_blocks,
        flat_tile,
        dot16: |a, b| dot(a, &widened(b)),
        l2_16: |a, b| l2(a, &widened(b)),
        rows16: |similarity, query, all, out| rows(similarity, query, &widened(all), out),
        flat16_blocks: |similarity, query, blocks, out| flat_blocks(similarity, query, &widened(blocks), out),
        flat16_tile: |similarity, all, dim, blocks, out| flat_tile(similarity, all, dim, &widened(blocks), out),
        to_f16: |values, out| values.iter().zip(out).for_each(|(&value, out)| *out = narrow(value)),
        from_f16: |values, out| values.iter().zip(out).for_each(|(&value, out)| *out = widen(value)),
        code_blocks,
        sq_blocks,
        sq_tile: |bits, queries, blocks, out| {
            one_by_one(queries, out, |query, out| sq_blocks(bits, query, blocks, out));
        },
        finish,
        above,
        assign,
        assign2,
        pq4_blocks: pq::pq4_blocks,
        pq8_blocks: pq::pq8_blocks,
        nearest: pq::nearest,
        to_bytes: sample::to_bytes,
        add_bytes: sample::add_bytes,
        add_rows: sample::add_rows,
    },
};

/// The values of float16 numbers.
fn widened(halves: &[u16]) -> Vec<f32> {
    halves.iter().map(|&half| widen(half)).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>() as f32
}

fn l2(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum::<f64>() as f32
}

fn score(similarity: Similarity, a: &[f32], b: &[f32]) -> f32 {
    match similarity {
        Similarity::L2 => -l2(a, b),
        Similarity::Dot => dot(a, b),
    }
}

fn rows(similarity: Similarity, query: &[f32], rows: &[f32], out: &mut [f32]) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = score(similarity, query, &rows[i * query.len()..][..query.len()]);
    }
}

fn flat_blocks(similarity: Similarity, query: &[f32], blocks: &[f32], out: &mut [f32]) {
    for (b, out) in out.chunks_exact_mut(LANES).enumerate() {
        let block = &blocks[b * query.len() * LANES..][..query.len() * LANES];
        for (v, out) in out.iter_mut().enumerate() {
            let vector: Vec<f32> = block.iter().skip(v).step_by(LANES).copied().collect();
            *out = score(similarity, query, &vector);
        }
    }
}

fn flat_tile(similarity: Similarity, queries: &[f32], dim: usize, blocks: &[f32], out: &mut [f32]) {
    for (query, out) in queries.chunks_exact(dim).zip(out.chunks_exact_mut(blocks.len() / dim)) {
        flat_blocks(similarity, query, blocks, out);
    }
}

fn code_blocks(bits: u32, query: &[i8], blocks: &[u8], stride: usize, out: &mut [i32]) {
    for (b, out) in out.chunks_exact_mut(LANES).enumerate() {
        block_sums(bits, query, &blocks[b * stride..], out);
    }
}

/// `sum u q` of the 16 vectors of the block at the front of `block`.
fn block_sums(bits: u32, query: &[i8], block: &[u8], sums: &mut [i32]) {
    let parts = 8 / bits as usize;
    sums.fill(0);
    for (i, q) in query.chunks_exact(GROUP).enumerate() {
        let (group, shift) = (&block[i / parts * GROUP_BYTES..][..GROUP_BYTES], (i % parts) as u32 * bits);
        for (sum, bytes) in sums.iter_mut().zip(group.as_chunks::<GROUP>().0) {
            let u = bytes.map(|byte| byte >> shift & (u8::MAX >> (8 - bits)));
            *sum = sum.wrapping_add(group_dot(&u, q));
        }
    }
}

/// Products of one group of 4 dimensions: it cannot overflow.
fn group_dot(u: &[u8], q: &[i8]) -> i32 {
    u.iter().zip(q).map(|(&u, &q)| i32::from(u) * i32::from(q)).sum()
}

fn sq_blocks(bits: u32, query: &CodeQuery<'_>, blocks: CodeBlocks<'_>, out: &mut [f32]) {
    let &CodeQuery { codes: query, scale, offset } = query;
    let mut sums = [0; LANES];
    for (b, out) in out.chunks_exact_mut(LANES).enumerate() {
        let block = blocks.block(b);
        block_sums(bits, query, block, &mut sums);
        for (v, (out, &sum)) in out.iter_mut().zip(&sums).enumerate() {
            *out = scale * sum as f32 + offset;
            if blocks.terms {
                let term = block[blocks.stride - TERM_BYTES + v * 4..].first_chunk();
                *out += term.map_or(0.0, |&bytes| f32::from_le_bytes(bytes));
            }
        }
    }
}

fn above(scores: &[f32], threshold: f32, first: u32, out_scores: &mut [f32], out_index: &mut [u32]) -> usize {
    let mut count = 0;
    for (i, &score) in scores.iter().enumerate() {
        if score > threshold {
            (out_scores[count], out_index[count]) = (score, first.wrapping_add(i as u32));
            count += 1;
        }
    }
    count
}

fn assign(rows: Rows, panels: &Panels, out: &mut [Best]) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = Best::NONE;
        each_score(rows.row(i), panels, |found| out.offer(found));
    }
}

fn assign2(rows: Rows, panels: &Panels, out: &mut [[Best; 2]]) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = [Best::NONE; 2];
        each_score(rows.row(i), panels, |found| offer2(out, found));
    }
}

/// Scores of one row against every centroid, in order of position.
fn each_score(row: &[u8], panels: &Panels, mut take: impl FnMut(Best)) {
    for position in 0..panels.len() {
        let codes = &panels.codes(position / WIDTH)[position % WIDTH * GROUP..];
        let mut score = panels.bias(position / WIDTH)[position % WIDTH];
        for (u, q) in row.chunks_exact(GROUP).zip(codes.chunks(PANEL_GROUP)) {
            score = score.wrapping_add(group_dot(u, &q[..GROUP]));
        }
        take(Best { score, position: position as u32 });
    }
}
