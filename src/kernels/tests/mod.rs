//! One suite, run for every level the CPU has, against the scalar oracle.
//!
//! Inputs start at odd offsets of their allocation, so that no kernel can count on alignment, and outputs are
//! compared whole, so that a write outside the places asked for shows.

mod halves;
mod sample;
mod tiles;

use super::*;
use crate::rng::Rng;
use crate::types::Similarity::{Dot, L2};

const DIMS: [usize; 22] = [1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 127, 384, 1537];
/// Widths of codes.
const WIDTHS: [u32; 4] = [1, 2, 4, 8];
const COUNTS: [usize; 10] = [0, 1, 2, 3, 4, 5, 7, 8, 9, 13];

/// Every level of this CPU beside the oracle.
fn levels() -> Vec<&'static Kernels> {
    Level::ALL.into_iter().skip(1).filter_map(at).collect()
}

fn oracle() -> &'static Kernels {
    at(Level::Scalar).unwrap()
}

fn floats(n: usize, rng: &mut Rng) -> Vec<f32> {
    (0..n).map(|_| rng.unit_f32() * 2.0 - 1.0).collect()
}

fn bytes(n: usize, rng: &mut Rng) -> Vec<u8> {
    (0..n).map(|_| rng.next_u64() as u8).collect()
}

fn signed(n: usize, rng: &mut Rng) -> Vec<i8> {
    (0..n).map(|_| rng.next_u64() as i8).collect()
}

/// A query of `dim` values padded to whole groups of codes of `bits`.
fn query(bits: u32, dim: usize, rng: &mut Rng) -> Vec<i8> {
    let mut query = signed(dim, rng);
    query.resize(dim.next_multiple_of(group_dims(bits)), 0);
    query
}

/// Whether `got` is within the documented bound of the float64 sum, given `sum |terms|` and the roundings of a term.
/// One rounding more for the oracle's own.
fn close(got: f32, want: f32, magnitude: f32, roundings: usize) -> bool {
    (got - want).abs() <= magnitude * (roundings + 1) as f32 * f32::EPSILON / 2.0
}

fn magnitude(similarity: Similarity, a: &[f32], b: &[f32]) -> f32 {
    match similarity {
        L2 => a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum(),
        Dot => a.iter().zip(b).map(|(x, y)| (x * y).abs()).sum(),
    }
}

#[test]
fn levels_are_what_they_say() {
    for level in Level::ALL {
        if let Some(kernels) = at(level) {
            assert_eq!((kernels.level(), kernels.name()), (level, level.name()));
        }
    }
    assert!(at(Level::Scalar).is_some() && at(Level::Portable).is_some());
    assert!(levels().iter().any(|k| std::ptr::eq(*k, best())));
}

#[test]
fn pairs_and_rows_agree_with_the_oracle() {
    let mut rng = Rng::new(1);
    for dim in DIMS {
        for n in COUNTS {
            let (query, rows) = (&floats(dim + 1, &mut rng)[1..], &floats(n * dim + 3, &mut rng)[3..]);
            for similarity in [L2, Dot] {
                let mut want = vec![0.0; n];
                oracle().rows(similarity, query, rows, &mut want);
                for k in levels() {
                    let mut out = vec![7.0; n + 2];
                    k.rows(similarity, query, rows, &mut out[1..=n]);
                    assert_eq!((out[0], out[n + 1]), (7.0, 7.0));
                    for i in 0..n {
                        let row = &rows[i * dim..][..dim];
                        let size = magnitude(similarity, query, row);
                        let one = if similarity == L2 { -k.l2(query, row) } else { k.dot(row, query) };
                        assert!(close(out[i + 1], want[i], size, dim / 8 + 8), "{k:?} row {i} of {n}, dim {dim}");
                        assert!(close(one, want[i], size, dim / 8 + 8), "{k:?} pair, dim {dim}");
                    }
                }
            }
        }
    }
    assert!(levels().iter().all(|k| k.dot(&[], &[]) == 0.0 && k.l2(&[], &[]) == 0.0));
}

#[test]
fn flat_blocks_agree_with_the_oracle() {
    let mut rng = Rng::new(2);
    for dim in DIMS {
        for n in COUNTS {
            let (query, blocks) = (&floats(dim + 1, &mut rng)[1..], &floats(n * dim * LANES + 1, &mut rng)[1..]);
            for similarity in [L2, Dot] {
                let mut want = vec![0.0; n * LANES];
                oracle().flat_blocks(similarity, query, blocks, &mut want);
                for k in levels() {
                    let mut out = vec![7.0; n * LANES + 2];
                    k.flat_blocks(similarity, query, blocks, &mut out[1..=n * LANES]);
                    assert_eq!((out[0], out[n * LANES + 1]), (7.0, 7.0));
                    for (v, (&got, &want)) in out[1..].iter().zip(&want).enumerate() {
                        let block = &blocks[v / LANES * dim * LANES..][..dim * LANES];
                        let vector: Vec<f32> = block.iter().skip(v % LANES).step_by(LANES).copied().collect();
                        let size = magnitude(similarity, query, &vector);
                        assert!(close(got, want, size, dim + 4), "{k:?} {n} blocks, dim {dim}: {got} {want}");
                    }
                }
            }
        }
    }
}

#[test]
fn float_extremes_pass_through() {
    for k in levels() {
        for dim in [1, 16, 100] {
            let (big, zero) = (vec![f32::MAX; dim], vec![0.0; dim]);
            assert_eq!((k.dot(&big, &big), k.l2(&big, &zero)), (f32::INFINITY, f32::INFINITY));
            assert_eq!((k.dot(&big, &zero), k.l2(&big, &big)), (0.0, 0.0));
            let mut hole = zero.clone();
            hole[dim - 1] = f32::NAN;
            assert!(k.dot(&hole, &big).is_nan() && k.l2(&zero, &hole).is_nan());
        }
    }
}

#[test]
fn the_oracle_sums_what_the_layout_says() {
    let mut rng = Rng::new(7);
    for bits in WIDTHS {
        for dim in DIMS {
            let query = query(bits, dim, &mut rng);
            let mut block = vec![0xa5; code_bytes(dim, bits)];
            let (mut want, mut dims) = ([0; LANES], vec![0; dim]);
            for (v, want) in want.iter_mut().enumerate() {
                let mut codes: Vec<u8> = bytes(dim, &mut rng).iter().map(|u| u >> (8 - bits)).collect();
                codes.resize(query.len(), 0);
                put_codes(bits, &codes, v, &mut block);
                for (j, &code) in codes.iter().enumerate() {
                    let (width, bits) = (group_dims(bits), bits as usize);
                    let byte = block[j / width * 64 + v * 4 + j % 4];
                    assert_eq!(byte >> (j % width / 4 * bits) & ((1 << bits) - 1) as u8, code, "{bits} bits, {j}");
                }
                get_codes(bits, &block, v, &mut dims);
                assert_eq!(dims, codes[..dim]);
                *want = codes.iter().zip(&query).map(|(&u, &q)| i32::from(u) * i32::from(q)).sum();
            }
            let mut out = [0; LANES];
            oracle().code_blocks(bits, &query, &block, block.len(), &mut out);
            assert_eq!(out, want, "{bits} bits, dim {dim}");
        }
    }
}

#[test]
fn code_blocks_equal_the_oracle() {
    let mut rng = Rng::new(3);
    for (bits, dim) in WIDTHS.iter().flat_map(|&bits| DIMS.map(|dim| (bits, dim))) {
        for n in COUNTS {
            let query = query(bits, dim, &mut rng);
            let gap = [0, 64, 3][n % 3];
            let stride = code_bytes(dim, bits) + gap;
            let blocks = &bytes((n * stride).saturating_sub(gap) + 1, &mut rng)[1..];
            let mut want = vec![0; n * LANES];
            oracle().code_blocks(bits, &query, blocks, stride, &mut want);
            for k in levels() {
                let mut out = vec![7; n * LANES + 2];
                k.code_blocks(bits, &query, blocks, stride, &mut out[1..=n * LANES]);
                assert_eq!((out[0], out[n * LANES + 1]), (7, 7));
                assert_eq!(&out[1..=n * LANES], want, "{k:?} {bits} bits, {n} blocks, dim {dim}");
            }
        }
    }
}

#[test]
fn bytes_never_saturate() {
    for dim in [32, 64, 1024, 65_536] {
        for value in [-128i8, -127, 127] {
            let (query, block) = (vec![value; dim], vec![255u8; dim * LANES]);
            for bits in WIDTHS {
                let want = ((1 << bits) - 1) * i32::from(value) * dim as i32;
                for k in levels() {
                    let mut out = [0; LANES];
                    k.code_blocks(bits, &query, &block, block.len(), &mut out);
                    assert_eq!(out, [want; LANES], "{k:?} {bits} bits, {value} x {dim}");
                }
            }
            let mut panels = Panels::new(33, dim).unwrap();
            (0..33).for_each(|p| panels.set(p, &query, 0));
            let want = 255 * i32::from(value) * dim as i32;
            for k in levels() {
                let mut best = [[Best::default(); 2]; 1];
                k.assign2(&block, dim, &[3], &panels, &mut best);
                assert_eq!(best[0], [Best { score: want, position: 0 }, Best { score: want, position: 1 }], "{k:?}");
            }
        }
    }
}

#[test]
fn sq_scores_equal_the_oracle_bit_for_bit() {
    let mut rng = Rng::new(4);
    for (bits, dim) in WIDTHS.iter().flat_map(|&bits| DIMS.map(|dim| (bits, dim))) {
        for (n, terms) in COUNTS.iter().flat_map(|&n| [(n, false), (n, true)]) {
            let query = query(bits, dim, &mut rng);
            let stride = CodeBlocks::new(bits, dim, terms, &[]).stride;
            let mut blocks = bytes(n * stride + 1, &mut rng);
            for block in blocks[1..].chunks_exact_mut(stride).filter(|_| terms) {
                let term = floats(LANES, &mut rng);
                block[stride - TERM_BYTES..].copy_from_slice(bytemuck::cast_slice(&term));
            }
            let (scale, offset) = (rng.unit_f32(), rng.unit_f32());
            let mut want = vec![0.0; n * LANES];
            let coded = CodeBlocks { bytes: &blocks[1..], stride, terms };
            oracle().sq_blocks(bits, &CodeQuery { codes: &query, scale, offset }, coded, &mut want);
            for k in levels() {
                let mut out = vec![7.0; n * LANES + 2];
                let query = CodeQuery { codes: &query, scale, offset };
                k.sq_blocks(bits, &query, coded, &mut out[1..=n * LANES]);
                assert_eq!((out[0], out[n * LANES + 1]), (7.0, 7.0));
                assert_eq!(&out[1..=n * LANES], want, "{k:?} {bits} bits, {n} blocks, dim {dim}, terms {terms}");
            }
        }
    }
}

#[test]
fn above_keeps_what_is_greater() {
    let mut rng = Rng::new(5);
    for n in [0, 1, 7, 15, 16, 17, 32, 100, 333] {
        let mut scores = floats(n + 1, &mut rng);
        scores.iter_mut().step_by(9).for_each(|s| *s = f32::NAN);
        let median = scores[n / 2];
        for threshold in [f32::NEG_INFINITY, -0.5, 0.0, 0.9, median, f32::INFINITY, f32::NAN] {
            let scores = &scores[1..];
            let want: Vec<(u32, f32)> =
                (0..).map(|i: u32| i.wrapping_sub(5)).zip(scores.iter().copied()).filter(|p| p.1 > threshold).collect();
            for k in levels().into_iter().chain([oracle()]) {
                let (mut found, mut index) = (vec![0.0; n + LANES], vec![0; n + LANES]);
                let count = k.above(scores, threshold, 5u32.wrapping_neg(), &mut found, &mut index);
                let got: Vec<(u32, f32)> = index.into_iter().zip(found).take(count).collect();
                assert_eq!(got, want, "{k:?} {n} scores above {threshold}");
            }
        }
    }
}

#[test]
fn assignment_equals_the_oracle() {
    let mut rng = Rng::new(6);
    for dim in [1usize, 3, 4, 6, 16, 100, 129, 16_000] {
        for n in [1, 2, 15, 16, 17, 32, 33, 65, 200] {
            let stride = dim.next_multiple_of(4) + 4 * (n % 3);
            // Few different values, so that ties abound.
            let spread = if n % 2 == 0 { 3 } else { 256 };
            let rows: Vec<u8> =
                bytes(40 * stride + 1, &mut rng).into_iter().map(|u| (u64::from(u) % spread) as u8).collect();
            let mut panels = Panels::new(n, dim).unwrap();
            for p in 0..n {
                let centroid: Vec<i8> = signed(dim, &mut rng).iter().map(|q| q % spread.min(128) as i8).collect();
                panels.set(p, &centroid, rng.below(5) as i32 - 1_000_000);
            }
            assert_eq!((panels.len(), panels.dim()), (n, dim));
            for count in [0, 1, 2, 4, 5, 12, 13, 29] {
                let index: Vec<u32> = (0..count).map(|_| rng.below(40) as u32).collect();
                let (mut want, mut want2) = (vec![Best::default(); count], vec![[Best::default(); 2]; count]);
                oracle().assign(&rows[1..], stride, &index, &panels, &mut want);
                oracle().assign2(&rows[1..], stride, &index, &panels, &mut want2);
                for k in levels() {
                    let (mut out, mut out2) = (vec![Best::NONE; count], vec![[Best::NONE; 2]; count]);
                    k.assign(&rows[1..], stride, &index, &panels, &mut out);
                    k.assign2(&rows[1..], stride, &index, &panels, &mut out2);
                    assert_eq!(out, want, "{k:?} {count} rows, {n} centroids, dim {dim}");
                    assert_eq!(out2, want2, "{k:?} {count} rows, {n} centroids, dim {dim}");
                }
            }
        }
    }
}

#[test]
fn panels_filled_at_once_are_those_set_one_by_one() {
    let mut rng = Rng::new(3);
    for dim in [1, 4, 7, 16, 19, 100] {
        let stride = usize::next_multiple_of(dim, 4) + 8;
        let mut codes: Vec<i8> = (0..50 * stride).map(|_| rng.next_u64() as i8).collect();
        codes.chunks_mut(stride).for_each(|code| code[dim..].fill(0));
        for n in [1, 3, 4, 31, 32, 33, 70] {
            let ids: Vec<u32> = (0..n).map(|_| rng.below(50) as u32).collect();
            let (mut filled, mut set) = (Panels::new(n, dim).unwrap(), Panels::new(n, dim).unwrap());
            // What was there before is replaced.
            filled.fill(&vec![7; n], &codes, stride, |_| 1);
            filled.fill(&ids, &codes, stride, |id| -(id as i32));
            for (p, &id) in ids.iter().enumerate() {
                set.set(p, &codes[id as usize * stride..][..dim], -(id as i32));
            }
            for p in 0..set.count() {
                assert_eq!((filled.codes(p), filled.bias(p)), (set.codes(p), set.bias(p)), "{n} of {dim}");
            }
        }
    }
}

#[test]
fn a_single_centroid_is_best_and_second() {
    let mut panels = Panels::new(1, 3).unwrap();
    panels.set(0, &[1, -1, 2], 5);
    for k in levels().into_iter().chain([oracle()]) {
        let mut out = [[Best::default(); 2]; 1];
        // The fourth byte of the row is behind its dimensions and does not count.
        k.assign2(&[3, 4, 5, 255], 4, &[0], &panels, &mut out);
        assert_eq!(out, [[Best { score: 14, position: 0 }; 2]], "{k:?}");
    }
    assert!(Panels::new(0, 3).is_err() && Panels::new(1, 0).is_err() && Panels::new(1, 65_537).is_err());
}

#[test]
fn wrong_lengths_panic_before_anything_is_read() {
    let k = best();
    let of = |codes: &'static [i8]| CodeQuery { codes, scale: 1.0, offset: 0.0 };
    let calls: [&(dyn Fn() + std::panic::RefUnwindSafe); 13] = [
        &|| _ = k.dot(&[0.0; 3], &[0.0; 4]),
        &|| _ = k.l2(&[0.0; 5], &[0.0; 4]),
        &|| k.rows(L2, &[0.0; 3], &[0.0; 5], &mut [0.0; 2]),
        &|| k.flat_blocks(Dot, &[0.0; 3], &[0.0; 48], &mut [0.0; 17]),
        &|| k.code_blocks(8, &[0; 4], &[0; 127], 64, &mut [0; 32]),
        &|| k.code_blocks(8, &[0; 3], &[0; 640], 64, &mut [0; 32]),
        &|| k.code_blocks(8, &[0; 8], &[0; 640], 64, &mut [0; 32]),
        &|| k.code_blocks(4, &[0; 12], &[0; 640], 128, &mut [0; 32]),
        &|| k.code_blocks(3, &[0; 32], &[0; 6400], 640, &mut [0; 32]),
        &|| k.code_blocks(1, &[0; 65_568], &vec![0; 2049 * 64], 2049 * 64, &mut [0; 16]),
        &|| k.sq_blocks(8, &of(&[0; 4]), CodeBlocks::new(8, 4, true, &[0; 255]), &mut [0.0; 32]),
        &|| _ = k.above(&[0.0; 4], 0.0, 0, &mut [0.0; 20], &mut [0; 19]),
        &|| panels_call(k),
    ];
    for (i, call) in calls.into_iter().enumerate() {
        assert!(std::panic::catch_unwind(call).is_err(), "call {i} went through");
    }
}

/// An assignment whose last row ends one byte behind its slice.
fn panels_call(k: &Kernels) {
    let panels = Panels::new(2, 8).unwrap();
    k.assign(&[0; 31], 8, &[1, 3], &panels, &mut [Best::default(); 2]);
}
