//! Scalar codes against the bounds stated at their head.

use super::*;

const WIDTHS: [QuantizerSpec; 3] = [QuantizerSpec::SQ8, QuantizerSpec::SQ4, QuantizerSpec::SQ2];

#[test]
fn codes_decode_and_score_within_the_stated_bounds() {
    for (spec, similarity) in WIDTHS.into_iter().flat_map(|spec| SIMILARITIES.map(|similarity| (spec, similarity))) {
        for dim in DIMS {
            // Far from the origin too: residuals must not drown in the size of the numbers.
            for offset in [0.0, 200.0] {
                let t = trained(spec, similarity, dim, offset);
                let Quantizer::Sq(sq) = &t.quantizer else { panic!("asked for SQ") };
                assert_eq!(t.quantizer.spec(), spec);
                let mut prepared = Prepared::default();
                let mut decoded = vec![0.0; dim];
                for list in 0..t.centroids.len() {
                    let centroid = t.centroids.row(list);
                    let (rows, codes) = t.list(list);
                    let mut scores = vec![0.0; (rows.len() / dim).next_multiple_of(LANES)];
                    for query in t.rows.chunks_exact(dim).step_by(97) {
                        t.quantizer.prepare(query, &mut prepared);
                        t.quantizer.score(best(), &prepared, centroid, codes.bytes(), &mut scores);
                        for (i, row) in rows.chunks_exact(dim).enumerate() {
                            t.quantizer.decode(centroid, codes.bytes(), i, &mut decoded);
                            let mut levels = 0.0;
                            let mut coding = 0.0;
                            for j in 0..dim {
                                let (residual, step) = (row[j] - centroid[j], f64::from(sq.step(j)));
                                let beyond =
                                    f64::from((residual - sq.middle(j)).abs()) - f64::from(sq.half() + 0.5) * step;
                                let off = f64::from(decoded[j]) - f64::from(row[j]);
                                let rounding = 1e-6 * f64::from(row[j].abs().max(1.0));
                                assert!(off.abs() <= 0.5 * step + beyond.max(0.0) + rounding, "dim {dim}, {j}: {off}");
                                let coded = f64::from(decoded[j] - centroid[j] - sq.middle(j));
                                levels += (coded / step).abs();
                                coding += off * off;
                            }
                            let half = 0.5 * f64::from(prepared.scale) * levels;
                            let mut want = exact(similarity, query, &decoded);
                            if similarity == Similarity::L2 {
                                want += coding;
                            }
                            let rounding = 4e-6 * (exact(Similarity::Dot, query, query) + want.abs() + 1.0);
                            let off = (f64::from(scores[i]) - want).abs();
                            assert!(
                                off <= half + rounding,
                                "{spec:?} {similarity:?} dim {dim}: {off} above {half} + {rounding}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn codes_are_the_same_bits_again_and_scores_at_every_level() {
    for spec in WIDTHS {
        let t = trained(spec, Similarity::Dot, 33, 1.0);
        let (_, codes) = t.list(1);
        let again = trained(spec, Similarity::Dot, 33, 1.0);
        assert!(again.quantizer == t.quantizer && again.list(1).1.bytes() == codes.bytes());
        let mut prepared = Prepared::default();
        t.quantizer.prepare(&t.rows[..33], &mut prepared);
        // The product with the centroid is the one float sum that levels round differently; with zeros it is exact.
        let score = |kernels: &Kernels| {
            let mut scores = vec![0.0; LANES];
            t.quantizer.score(kernels, &prepared, &[0.0; 33], codes.bytes(), &mut scores);
            scores.iter().map(|score| score.to_bits()).collect::<Vec<_>>()
        };
        let all: Vec<_> = Level::ALL.into_iter().filter_map(at).map(score).collect();
        assert!(all.iter().all(|scores| *scores == all[0]));
    }
}

#[test]
fn a_known_score_of_the_centroid_moves_all_scores_of_its_list() {
    for (spec, similarity) in WIDTHS.into_iter().flat_map(|spec| SIMILARITIES.map(|similarity| (spec, similarity))) {
        let t = trained(spec, similarity, 33, 1.0);
        let (centroid, (rows, codes)) = (t.centroids.row(1), t.list(1));
        let lanes = (rows.len() / 33).next_multiple_of(LANES);
        let prepared = t.prepared(7);
        let prepared: Vec<&Prepared> = prepared.iter().collect();
        let own: Vec<f32> =
            t.rows.chunks_exact(33).take(7).map(|query| exact(similarity, query, centroid) as f32).collect();
        let (mut gathered, mut known, mut computed) = (Vec::new(), vec![0.0; 7 * lanes], vec![0.0; 7 * lanes]);
        for n in 1..=7 {
            for (scores, out) in [(Some(&own[..n]), &mut known), (None, &mut computed)] {
                let mut group = Group { prepared: &prepared[..n], centroid_scores: scores, gathered: &mut gathered };
                t.quantizer.score_many(best(), &mut group, centroid, codes.bytes(), &mut out[..n * lanes]);
            }
            let off = known[..n * lanes].iter().zip(&computed).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(
                off <= 1e-4 * (1.0 + own[..n].iter().fold(0.0, |most: f32, x| most.max(x.abs()))),
                "{spec:?}: {off}"
            );
            let beyond = [f32::NEG_INFINITY, f32::NAN, f32::INFINITY].into_iter().cycle().take(n).collect::<Vec<_>>();
            let mut group = Group { prepared: &prepared[..n], centroid_scores: Some(&beyond), gathered: &mut gathered };
            let mut out = vec![0.0; n * lanes];
            t.quantizer.score_many(best(), &mut group, centroid, codes.bytes(), &mut out);
            assert_eq!(out, computed[..n * lanes], "a score that is no number is not taken");
            let moved: Vec<f32> = own[..n].iter().map(|score| score + 8.0).collect();
            let mut group = Group { prepared: &prepared[..n], centroid_scores: Some(&moved), gathered: &mut gathered };
            let mut out = vec![0.0; n * lanes];
            t.quantizer.score_many(best(), &mut group, centroid, codes.bytes(), &mut out);
            assert!(out.iter().zip(&known).all(|(a, b)| (a - b - 8.0).abs() < 1e-3), "{spec:?} {similarity:?}");
        }
    }
}

#[test]
fn the_spread_of_scores_is_what_normal_residuals_show() {
    let dim = 64;
    let mut rng = Rng::new(8);
    let mut unit = move || f64::from(rng.unit_f32()).max(1e-9);
    let mut normal = |n: usize| -> Vec<f32> {
        (0..n).map(|_| ((-2.0 * unit().ln()).sqrt() * (std::f64::consts::TAU * unit()).cos()) as f32).collect()
    };
    let (rows, queries) = (normal(4000 * dim), normal(20 * dim));
    let centroids = Centroids::new(dim, vec![0.0; dim]).unwrap();
    for (spec, similarity) in WIDTHS.into_iter().flat_map(|spec| SIMILARITIES.map(|similarity| (spec, similarity))) {
        let q = train(spec, similarity, &rows, &[0; 4000], &centroids).unwrap();
        let mut codes = vec![0; 4000 / LANES * q.block_bytes()];
        q.encode(&[0.0; 64], &rows, 0, &mut codes);
        let (mut prepared, mut scores) = (Prepared::default(), vec![0.0; 4000]);
        let (mut off, mut square, mut told) = (0.0, 0.0, 0.0);
        for query in queries.chunks_exact(dim) {
            q.prepare(query, &mut prepared);
            q.score(best(), &prepared, &[0.0; 64], &codes, &mut scores);
            for (row, &score) in rows.chunks_exact(dim).zip(&scores) {
                let error = f64::from(score) - exact(similarity, query, row);
                off += error;
                square += error * error;
                told += f64::from(q.spread(&prepared, score).unwrap()).powi(2);
            }
        }
        // Left out of the spread: the rounding of the query, as great as that of codes of 8 bits; and under L2, what all
        // scores of a query are off alike, and that residuals beyond the levels are far from the query as well.
        let n = 4000.0 * 20.0;
        let ratio = ((square - off * off / n) / told).sqrt();
        let most = if spec == QuantizerSpec::SQ8 || similarity == Similarity::L2 { 1.6 } else { 1.15 };
        assert!((0.85..most).contains(&ratio), "{spec:?} {similarity:?}: {ratio}");
    }
}

#[test]
fn the_error_of_codes_is_what_coding_makes_of_even_residuals() {
    let mut rng = Rng::new(6);
    let rows: Vec<f32> = (0..4000 * 3).map(|_| rng.unit_f32() - 0.5).collect();
    let centroids = Centroids::new(3, vec![0.0; 3]).unwrap();
    for (spec, levels) in WIDTHS.into_iter().zip([256.0, 16.0, 4.0]) {
        let q = train(spec, Similarity::Dot, &rows, &[0; 4000], &centroids).unwrap();
        let (found, want) = (q.code_error().unwrap(), 3.0 / 12.0 / f64::powi(levels, 2));
        assert!((found / want - 1.0).abs() < 0.1, "{spec:?}: {found} for {want}");
    }
    let without =
        [QuantizerSpec::Flat, QuantizerSpec::RaBitQ { bits: 1 }, QuantizerSpec::Pq { m: 1, bits: 8, rotation: false }];
    for spec in without {
        assert_eq!(train(spec, Similarity::Dot, &rows, &[0; 4000], &centroids).unwrap().code_error(), None);
    }
}

/// The mean squared error of coding `values`, one dimension, about a centroid at 0, over their mean square.
fn relative_error(spec: QuantizerSpec, values: &[f32]) -> f64 {
    let centroids = Centroids::new(1, vec![0.0]).unwrap();
    let q = train(spec, Similarity::Dot, values, &vec![0; values.len()], &centroids).unwrap();
    let mut codes = vec![0; values.len().div_ceil(LANES) * q.block_bytes()];
    q.encode(&[0.0], values, 0, &mut codes);
    let (mut error, mut size) = (0.0, 0.0);
    for (i, &value) in values.iter().enumerate() {
        let mut out = [0.0];
        q.decode(&[0.0], &codes, i, &mut out);
        error += f64::from(value - out[0]).powi(2);
        size += f64::from(value).powi(2);
    }
    error / size
}

#[test]
fn levels_suit_normal_and_skewed_dimensions() {
    let mut rng = Rng::new(5);
    let mut unit = || f64::from(rng.unit_f32()).max(1e-9);
    let normal: Vec<f32> =
        (0..6000).map(|_| ((-2.0 * unit().ln()).sqrt() * (std::f64::consts::TAU * unit()).cos()) as f32).collect();
    // Even levels of least error for a normal distribution: 0.1188 for 4 of them, 0.01154 for 16 (Max, 1960).
    assert!(relative_error(QuantizerSpec::SQ2, &normal) < 0.1188 * 1.04);
    assert!(relative_error(QuantizerSpec::SQ4, &normal) < 0.01154 * 1.04);
    assert!(relative_error(QuantizerSpec::SQ8, &normal) < 0.0002);
    // All on one side with a long tail; the step for a normal distribution of this spread loses 0.05 with 4 bits.
    let skewed: Vec<f32> = (0..6000).map(|_| -unit().ln() as f32).collect();
    assert!(relative_error(QuantizerSpec::SQ4, &skewed) < 0.012);
    assert!(relative_error(QuantizerSpec::SQ2, &skewed) < 0.12);
}

#[test]
fn training_survives_data_without_spread() {
    let equal = vec![2.5f32; 50 * 6];
    let centroids = Centroids::new(6, vec![2.5; 6]).unwrap();
    for (spec, similarity) in WIDTHS.into_iter().flat_map(|spec| SIMILARITIES.map(|similarity| (spec, similarity))) {
        let q = train(spec, similarity, &equal, &[0; 50], &centroids).unwrap();
        let mut codes = vec![0; q.block_bytes()];
        q.encode(centroids.row(0), &equal[..6], 0, &mut codes);
        let mut out = [0.0; 6];
        q.decode(centroids.row(0), &codes, 0, &mut out);
        assert!(out.iter().all(|x| (x - 2.5).abs() < 1e-3), "{out:?}");
        let mut bytes = Vec::new();
        q.write(&mut bytes);
        assert_eq!(Quantizer::read(&bytes).unwrap(), q);
    }
    let refused =
        |rows: &[f32], lists: &[u32]| train(QuantizerSpec::SQ8, Similarity::Dot, rows, lists, &centroids).is_err();
    assert!(refused(&[], &[]) && refused(&equal[..7], &[0]) && refused(&equal[..6], &[1]));
}
