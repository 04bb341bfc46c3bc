//! Tiles of several queries: at every level the bits of one query after the other.

use super::*;

/// Numbers of queries around the tiles of all levels.
const QUERIES: [usize; 9] = [0, 1, 2, 3, 4, 5, 7, 8, 13];

/// Asserts that `tile` fills a row of scores for each query as `single` does, and nothing beside them.
fn assert_rows(
    (queries, dim, vectors): (&[f32], usize, usize),
    tile: impl Fn(&[f32], &mut [f32]),
    single: impl Fn(&[f32], &mut [f32]),
    what: &str,
) {
    let n = queries.len() / dim * vectors;
    let (mut got, mut want) = (vec![7.0; n + 2], vec![7.0; n + 2]);
    tile(queries, &mut got[1..=n]);
    for (q, query) in queries.chunks_exact(dim).enumerate() {
        single(query, &mut want[1 + q * vectors..][..vectors]);
    }
    let bits = |scores: &[f32]| scores.iter().map(|score| score.to_bits()).collect::<Vec<u32>>();
    assert_eq!(bits(&got), bits(&want), "{what}");
}

#[test]
fn a_tile_scores_each_query_as_alone() {
    let mut rng = Rng::new(10);
    for dim in DIMS {
        for n in COUNTS {
            // Every number of queries would make the long dimensions slow: they go through all of them in turn.
            for count in QUERIES.into_iter().filter(|count| dim <= 33 || count % 3 == n % 3) {
                let queries = &floats(count * dim + 1, &mut rng)[1..];
                let blocks = &floats(n * dim * LANES + 1, &mut rng)[1..];
                let mut halves = vec![0; blocks.len()];
                best().to_f16(blocks, &mut halves);
                for similarity in [L2, Dot] {
                    for k in Level::ALL.into_iter().filter_map(at) {
                        let what = format!("{k:?} {similarity:?} {count} queries, {n} blocks, dim {dim}");
                        assert_rows(
                            (queries, dim, n * LANES),
                            |queries, out| k.flat_tile(similarity, queries, dim, blocks, out),
                            |query, out| k.flat_blocks(similarity, query, blocks, out),
                            &what,
                        );
                        assert_rows(
                            (queries, dim, n * LANES),
                            |queries, out| k.flat16_tile(similarity, queries, dim, &halves, out),
                            |query, out| k.flat16_blocks(similarity, query, &halves, out),
                            &format!("{what}, halves"),
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_tile_of_codes_scores_each_query_as_alone() {
    let mut rng = Rng::new(11);
    for (bits, dim) in WIDTHS.iter().flat_map(|&bits| DIMS.map(|dim| (bits, dim))) {
        for (n, terms) in COUNTS.iter().flat_map(|&n| [(n, false), (n, true)]) {
            for count in QUERIES.into_iter().filter(|count| dim <= 33 || count % 3 == n % 3) {
                let codes: Vec<Vec<i8>> = (0..count).map(|_| query(bits, dim, &mut rng)).collect();
                let queries: Vec<CodeQuery<'_>> = codes
                    .iter()
                    .map(|codes| CodeQuery { codes, scale: rng.unit_f32(), offset: rng.unit_f32() })
                    .collect();
                let stride = code_bytes(dim, bits) + if terms { TERM_BYTES } else { 0 };
                let mut blocks = bytes(n * stride + 1, &mut rng);
                for block in blocks[1..].chunks_exact_mut(stride).filter(|_| terms) {
                    let term = floats(LANES, &mut rng);
                    block[stride - TERM_BYTES..].copy_from_slice(bytemuck::cast_slice(&term));
                }
                let mut want = vec![7.0; count * n * LANES + 2];
                for (q, query) in queries.iter().enumerate() {
                    let out = &mut want[1 + q * n * LANES..][..n * LANES];
                    oracle().sq_blocks(bits, query, CodeBlocks { bytes: &blocks[1..], stride, terms }, out);
                }
                for k in Level::ALL.into_iter().filter_map(at) {
                    let mut got = vec![7.0; want.len()];
                    k.sq_tile(
                        bits,
                        &queries,
                        CodeBlocks { bytes: &blocks[1..], stride, terms },
                        &mut got[1..=count * n * LANES],
                    );
                    assert_eq!(got, want, "{k:?} {bits} bits, {count} queries, {n} blocks, dim {dim}, terms {terms}");
                }
            }
        }
    }
}

/// Codes of fewer dimensions than blocks hold meet the first groups and the terms at the end: as if the groups between were
/// not there.
#[test]
fn fewer_codes_meet_the_front_of_blocks() {
    let mut rng = Rng::new(12);
    for (bits, dim) in WIDTHS.iter().flat_map(|&bits| DIMS.map(|dim| (bits, dim))) {
        for (n, terms) in COUNTS.iter().flat_map(|&n| [(n, false), (n, true)]) {
            let codes: Vec<Vec<i8>> = (0..3).map(|_| query(bits, dim, &mut rng)).collect();
            let queries: Vec<CodeQuery<'_>> =
                codes.iter().map(|codes| CodeQuery { codes, scale: rng.unit_f32(), offset: 1.0 }).collect();
            let front = code_bytes(dim, bits);
            let short = CodeBlocks::new(bits, dim, terms, &[]).stride;
            let mut fronts = bytes(n * short, &mut rng);
            for block in fronts.chunks_exact_mut(short).filter(|_| terms) {
                block[front..].copy_from_slice(bytemuck::cast_slice(&floats(LANES, &mut rng)));
            }
            let stride = short + 2 * GROUP_BYTES;
            let mut whole = bytes(n * stride, &mut rng);
            for (whole, block) in whole.chunks_exact_mut(stride).zip(fronts.chunks_exact(short)) {
                whole[..front].copy_from_slice(&block[..front]);
                whole[front + 2 * GROUP_BYTES..].copy_from_slice(&block[front..]);
            }
            let mut want = vec![7.0; 3 * n * LANES];
            oracle().sq_tile(bits, &queries, CodeBlocks { bytes: &fronts, stride: short, terms }, &mut want);
            for k in Level::ALL.into_iter().filter_map(at) {
                let blocks = CodeBlocks { bytes: &whole, stride, terms };
                let mut got = vec![7.0; want.len()];
                k.sq_tile(bits, &queries, blocks, &mut got);
                assert_eq!(got, want, "{k:?} {bits} bits, {n} blocks, dim {dim}, terms {terms}");
                let mut got = vec![7.0; n * LANES];
                k.sq_blocks(bits, &queries[0], blocks, &mut got);
                assert_eq!(got, want[..n * LANES], "{k:?} {bits} bits, {n} blocks, dim {dim}, terms {terms}, alone");
            }
        }
    }
}

#[test]
fn wrong_lengths_of_tiles_panic() {
    let k = best();
    let of = |codes: &'static [i8]| CodeQuery { codes, scale: 1.0, offset: 0.0 };
    let calls: [&(dyn Fn() + std::panic::RefUnwindSafe); 12] = [
        &|| k.sq_tile(8, &[], CodeBlocks::new(8, 4, false, &[0; 64]), &mut [0.0; 16]),
        &|| k.sq_tile(8, &[of(&[0; 4]), of(&[0; 8])], CodeBlocks::new(8, 4, false, &[0; 128]), &mut [0.0; 32]),
        &|| k.sq_tile(8, &[of(&[0; 4]); 2], CodeBlocks::new(8, 4, true, &[0; 127]), &mut [0.0; 32]),
        &|| k.sq_tile(8, &[of(&[0; 4]); 2], CodeBlocks { bytes: &[0; 256], stride: 64, terms: true }, &mut [0.0; 32]),
        &|| k.sq_tile(8, &[of(&[0; 4]); 2], CodeBlocks { bytes: &[0; 256], stride: 0, terms: false }, &mut [0.0; 32]),
        &|| k.sq_tile(8, &[of(&[0; 4]); 3], CodeBlocks::new(8, 4, false, &[0; 640]), &mut [0.0; 32]),
        &|| k.flat_tile(L2, &[0.0; 7], 3, &[0.0; 48], &mut [0.0; 32]),
        &|| k.flat_tile(L2, &[0.0; 6], 3, &[0.0; 47], &mut [0.0; 32]),
        &|| k.flat_tile(Dot, &[0.0; 6], 3, &[0.0; 64], &mut [0.0; 32]),
        &|| k.flat_tile(Dot, &[0.0; 6], 3, &[0.0; 48], &mut [0.0; 33]),
        &|| k.flat_tile(Dot, &[], 0, &[], &mut []),
        &|| k.flat16_tile(Dot, &[0.0; 6], 3, &[0; 48], &mut [0.0; 16]),
    ];
    for (i, call) in calls.into_iter().enumerate() {
        assert!(std::panic::catch_unwind(call).is_err(), "call {i} went through");
    }
}
