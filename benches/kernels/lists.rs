//! Scans as an index makes them: lists of 144 vectors, where starts and ends of loops count.

use std::hint::black_box;

use cyborg::buffer::Buffer;
use cyborg::kernels::{Kernels, LANES};
use cyborg::types::Similarity;

use super::{CACHED, Case, Limit, case, next};

/// Blocks of a list.
const LIST: usize = 9;

/// Flat lists met by several queries each, in multiply-adds.
pub fn tile_cases<'a>(kernels: &'static Kernels, dim: usize, memory: &'a Buffer, cases: &mut Vec<Case<'a>>) {
    for (similarity, form) in [(Similarity::Dot, "dot"), (Similarity::L2, "l2")] {
        for (half, shape) in [(false, "flat_tile"), (true, "flat16_tile")] {
            for (count, cached) in [(1, true), (8, true), (32, true), (128, true), (8, false), (32, false)] {
                let width = if half { 2 } else { 4 };
                let (row, mut at) = (LIST * LANES, 0);
                let queries: Vec<f32> = (0..count * dim).map(|j| j as f32 / dim as f32 - 0.5).collect();
                let mut out = vec![0.0; count * row];
                let lists = if cached { &memory.bytes()[..CACHED] } else { memory.bytes() };
                let work = move || {
                    let list = next(lists, &mut at, row * dim * width);
                    match half {
                        true => kernels.flat16_tile(similarity, &queries, dim, bytemuck::cast_slice(list), &mut out),
                        false => kernels.flat_tile(similarity, &queries, dim, bytemuck::cast_slice(list), &mut out),
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
