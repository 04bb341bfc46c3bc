//! Every level against the oracle, bit for bit: sums are whole numbers and floats are rounded in one order.
//!
//! Inputs start at odd offsets, so that no kernel can count on alignment, and outputs are compared whole.

use super::*;
use crate::kernels::{Level, at, best};
use crate::rng::Rng;

const COUNTS: [usize; 8] = [0, 1, 2, 3, 4, 5, 9, 11];

fn levels() -> Vec<&'static Kernels> {
    Level::ALL.into_iter().skip(1).filter_map(at).collect()
}

fn oracle() -> &'static Kernels {
    at(Level::Scalar).unwrap()
}

fn bytes(n: usize, rng: &mut Rng) -> Vec<u8> {
    (0..n).map(|_| rng.next_u64() as u8).collect()
}

fn floats(n: usize, rng: &mut Rng) -> Vec<f32> {
    (0..n).map(|_| rng.unit_f32() * 2.0 - 1.0).collect()
}

type Scan = fn(&Kernels, &[u8], f32, f32, &[u8], bool, &mut [f32]);

/// Both scans, with the bytes of a block of `m` sub-quantizers and the bytes of its tables.
fn scans(m: usize) -> [(Scan, usize, usize); 2] {
    [
        (Kernels::pq4_blocks, m.div_ceil(8) * LINE, m.div_ceil(8) * GROUP_TABLES),
        (Kernels::pq8_blocks, (m * LANES).next_multiple_of(LINE), m * ENTRIES),
    ]
}

#[test]
fn scans_equal_the_oracle_bit_for_bit() {
    let mut rng = Rng::new(1);
    // Around the groups of 8, and around the sums that are kept in 16 bits: 256 to 1024 sub-quantizers.
    for m in [1, 3, 7, 8, 9, 16, 25, 50, 100, 255, 256, 257, 513, 1024, 1025, 2100] {
        for n in COUNTS.into_iter().take(if m > 200 { 6 } else { 8 }) {
            for terms in [false, true] {
                for (scan, codes, tables) in scans(m) {
                    let stride = codes + if terms { TERM_BYTES } else { 0 };
                    let tables = &bytes(tables + 1, &mut rng)[1..];
                    let mut blocks = bytes(n * stride + 1, &mut rng);
                    for block in blocks[1..].chunks_exact_mut(stride).filter(|_| terms) {
                        block[codes..].copy_from_slice(bytemuck::cast_slice(&floats(LANES, &mut rng)));
                    }
                    let (scale, offset) = (rng.unit_f32(), rng.unit_f32());
                    let mut want = vec![0.0; n * LANES];
                    scan(oracle(), tables, scale, offset, &blocks[1..], terms, &mut want);
                    for k in levels() {
                        let mut out = vec![7.0; n * LANES + 2];
                        scan(k, tables, scale, offset, &blocks[1..], terms, &mut out[1..=n * LANES]);
                        assert_eq!((out[0], out[n * LANES + 1]), (7.0, 7.0));
                        assert_eq!(&out[1..=n * LANES], want, "{k:?} {n} blocks, m {m}, terms {terms}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_oracle_picks_the_entries_of_the_layout() {
    let mut rng = Rng::new(2);
    for m in [5usize, 21] {
        let codes: Vec<[u8; LANES]> = (0..m).map(|_| bytes(LANES, &mut rng).try_into().unwrap()).collect();
        let [(scan4, bytes4, tables4), (scan8, bytes8, tables8)] = scans(m);
        let (mut block4, mut block8) = (vec![0; bytes4], vec![0; bytes8]);
        for (j, codes) in codes.iter().enumerate() {
            for (v, code) in codes.iter().enumerate() {
                block4[j / 8 * 64 + j % 4 * 16 + v] |= (code % 16) << (j % 8 / 4 * 4);
                block8[j * 16 + v] = *code;
            }
        }
        let mut tables = bytes(tables8, &mut rng);
        let mut out = [0.0; LANES];
        let want = |entries: usize, tables: &[u8], v: usize| -> u32 {
            let entry = |(j, codes): (usize, &[u8; LANES])| tables[j * entries + usize::from(codes[v]) % entries];
            codes.iter().enumerate().map(entry).map(u32::from).sum()
        };
        scan8(oracle(), &tables, 1.0, 0.0, &block8, false, &mut out);
        (0..LANES).for_each(|v| assert_eq!(out[v], want(256, &tables, v) as f32, "m {m}"));
        // Entries of sub-quantizers that do not exist are 0.
        tables.truncate(m * 16);
        tables.resize(tables4, 0);
        scan4(oracle(), &tables, 1.0, 0.0, &block4, false, &mut out);
        (0..LANES).for_each(|v| assert_eq!(out[v], want(16, &tables, v) as f32, "m {m}"));
    }
}

#[test]
fn sums_of_the_greatest_entries_are_exact() {
    for m in [8, 256, 1024, 1032, 65_536] {
        for (scan, block, tables) in scans(m) {
            let (tables, blocks) = (vec![255; tables], vec![0xff; 5 * block]);
            for k in levels().into_iter().chain([oracle()]) {
                let mut out = [0.0; 5 * LANES];
                scan(k, &tables, 1.0, 0.0, &blocks, false, &mut out);
                assert_eq!(out, [(m * 255) as f32; 5 * LANES], "{k:?}, m {m}");
            }
        }
    }
}

#[test]
fn the_nearest_codeword_is_the_same_at_every_level() {
    let mut rng = Rng::new(3);
    for dim in [1, 2, 3, 4, 5, 8, 17, 100] {
        for words in [16, 32, 256] {
            for n in COUNTS {
                // Every other codebook has few values, so that ties abound.
                let coarse = |x: f32| if n % 2 == 0 { (x * 2.0).round() } else { x };
                let codewords: Vec<f32> = floats(words * dim + 1, &mut rng).into_iter().map(coarse).collect();
                let blocks: Vec<f32> = floats(n * LANES * dim + 1, &mut rng).into_iter().map(coarse).collect();
                let bias: Vec<f32> = floats(words + 1, &mut rng).into_iter().map(coarse).collect();
                let mut want = vec![0; n * LANES];
                oracle().nearest(&codewords[1..], &bias[1..], &blocks[1..], &mut want);
                for k in levels() {
                    let mut out = vec![7; n * LANES + 2];
                    k.nearest(&codewords[1..], &bias[1..], &blocks[1..], &mut out[1..=n * LANES]);
                    assert_eq!((out[0], out[n * LANES + 1]), (7, 7));
                    assert_eq!(&out[1..=n * LANES], want, "{k:?} {n} blocks, {words} x {dim}");
                }
            }
        }
    }
}

#[test]
fn what_does_not_compare_gets_codeword_0() {
    for k in levels().into_iter().chain([oracle()]) {
        let mut out = [7; LANES];
        k.nearest(&[1.0; 16], &[f32::NEG_INFINITY; 16], &[f32::INFINITY; LANES], &mut out);
        assert_eq!(out, [0; LANES], "{k:?}");
    }
}

#[test]
fn wrong_lengths_panic_before_anything_is_read() {
    let k = best();
    let calls: [&(dyn Fn() + std::panic::RefUnwindSafe); 9] = [
        &|| k.pq4_blocks(&[0; 127], 1.0, 0.0, &[0; 64], false, &mut [0.0; 16]),
        &|| k.pq4_blocks(&[0; 128], 1.0, 0.0, &[0; 127], true, &mut [0.0; 16]),
        &|| k.pq4_blocks(&[0; 128], 1.0, 0.0, &[0; 64], false, &mut [0.0; 15]),
        &|| k.pq8_blocks(&[0; 255], 1.0, 0.0, &[0; 64], false, &mut [0.0; 16]),
        &|| k.pq8_blocks(&[0; 512], 1.0, 0.0, &[0; 127], false, &mut [0.0; 32]),
        &|| k.nearest(&[0.0; 8], &[0.0; 8], &[0.0; 16], &mut [0; 16]),
        &|| k.nearest(&[0.0; 17], &[0.0; 16], &[0.0; 16], &mut [0; 16]),
        &|| k.nearest(&[0.0; 32], &[0.0; 16], &[0.0; 16], &mut [0; 16]),
        &|| k.nearest(&[0.0; 512], &[0.0; 512], &[0.0; 16], &mut [0; 16]),
    ];
    for (i, call) in calls.into_iter().enumerate() {
        assert!(std::panic::catch_unwind(call).is_err(), "call {i} went through");
    }
}
