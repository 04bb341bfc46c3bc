//! Scans as an index makes them: lists of 144 vectors, where starts and ends of loops count.

use std::hint::black_box;

use cyborg::buffer::Buffer;
use cyborg::kernels::{CodeBlocks, CodeQuery, Kernels, LANES, code_bytes, group_dims};
use cyborg::rng::Rng;
use cyborg::types::Similarity;

use super::{CACHED, Case, Limit, case, next};

/// Blocks of a list.
const LIST: usize = 9;
/// Short calls in one look at the clock.
const CALLS: usize = 100;

/// Flat lists met by several queries each, in multiply-adds; by one query with the kernel for one.
pub fn tile_cases<'a>(kernels: &'static Kernels, dim: usize, memory: &'a Buffer, cases: &mut Vec<Case<'a>>) {
    for (similarity, form) in [(Similarity::Dot, "dot"), (Similarity::L2, "l2")] {
        for (half, shape) in [(false, "flat_tile"), (true, "flat16_tile")] {
            for (count, cached) in [(1, true), (8, true), (32, true), (128, true), (1, false), (8, false), (32, false)]
            {
                let width = if half { 2 } else { 4 };
                let (row, mut at) = (LIST * LANES, 0);
                let queries: Vec<f32> = (0..count * dim).map(|j| j as f32 / dim as f32 - 0.5).collect();
                let mut out = vec![0.0; count * row];
                let lists = if cached { &memory.bytes()[..CACHED] } else { memory.bytes() };
                let work = move || {
                    let list = next(lists, &mut at, row * dim * width);
                    match (count, half) {
                        (1, true) => kernels.flat16_blocks(similarity, &queries, bytemuck::cast_slice(list), &mut out),
                        (1, false) => kernels.flat_blocks(similarity, &queries, bytemuck::cast_slice(list), &mut out),
                        (_, true) => {
                            kernels.flat16_tile(similarity, &queries, dim, bytemuck::cast_slice(list), &mut out);
                        }
                        (_, false) => {
                            kernels.flat_tile(similarity, &queries, dim, bytemuck::cast_slice(list), &mut out);
                        }
                    }
                    black_box(&mut out);
                    (count * row * dim) as u64
                };
                let place = if cached { "cache" } else { "memory" };
                let name = format!("{:<9} {shape} {form}, {count} queries, {place}", kernels.name());
                cases.push(case(name, Limit::Floats, "G madd/s", work));
            }
        }
    }
}

/// Lists of codes: one list again and again, lists that follow each other in L2, one long list in L2.
pub fn sq_cases<'a>(kernels: &'static Kernels, dim: usize, memory: &'a Buffer, cases: &mut Vec<Case<'a>>) {
    let mut rng = Rng::new(2);
    for bits in [8, 4, 2] {
        let stride = code_bytes(dim, bits) + 64;
        let query: Vec<i8> = (0..dim.next_multiple_of(group_dims(bits))).map(|_| rng.next_u64() as i8).collect();
        let cases_of = [(LIST, "L1", 1), (LIST, "L2", 1), (CACHED / stride, "L2", 1), (LIST, "L2", 2), (LIST, "L2", 4)];
        for (blocks, place, queries) in cases_of {
            let (query, mut out, mut at) = (query.clone(), vec![0.0; queries * blocks * LANES], 0);
            let lists = if place == "L1" { &memory.bytes()[..LIST * stride] } else { &memory.bytes()[..CACHED] };
            let work = move || {
                for _ in 0..CALLS {
                    let list = next(lists, &mut at, blocks * stride);
                    let query = CodeQuery { codes: &query, scale: 0.5, offset: 1.0 };
                    match queries {
                        1 => kernels.sq_blocks(bits, &query, CodeBlocks::new(bits, dim, true, list), &mut out),
                        _ => kernels.sq_tile(
                            bits,
                            &[query; 4][..queries],
                            CodeBlocks::new(bits, dim, true, list),
                            &mut out,
                        ),
                    }
                    black_box(&mut out);
                }
                (CALLS * queries * blocks * LANES * query.len()) as u64
            };
            let name = format!("{:<9} list of {blocks} blocks, {queries} x sq {bits} bits, {place}", kernels.name());
            let bytes = Some(f64::from(bits) / 8.0);
            cases.push(Case { bytes, ..case(name, Limit::Bytes, "G madd/s", work) });
        }
    }
}

/// The candidate filter over the scores of lists, none of which is met twice before the branches are forgotten.
pub fn above_cases(kernels: &'static Kernels, cases: &mut Vec<Case<'_>>) {
    let mut rng = Rng::new(3);
    let scores: Vec<f32> = (0..1 << 16).map(|_| rng.unit_f32()).collect();
    let list = LIST * LANES;
    for (share, name) in [(0.0, "none"), (0.001, "0.1 %"), (0.01, "1 %"), (1.0, "all")] {
        let (scores, threshold, mut at) = (scores.clone(), 1.0 - share, 0);
        let (mut found, mut index) = (vec![0.0; list + LANES], vec![0; list + LANES]);
        let work = move || {
            for _ in 0..CALLS {
                at = if at + list > scores.len() { 0 } else { at };
                black_box(kernels.above(&scores[at..at + list], threshold, 0, &mut found, &mut index));
                at += list;
            }
            (CALLS * list) as u64
        };
        let name = format!("{:<9} above, {list} scores, {name} pass", kernels.name());
        cases.push(case(name, Limit::None, "G scores/s", work));
    }
}
