//! Scalar codes against the bounds stated at their head.

use super::*;

#[test]
fn sq8_decodes_and_scores_within_the_stated_bounds() {
    for similarity in SIMILARITIES {
        for dim in DIMS {
            // Far from the origin too: residuals must not drown in the size of the numbers.
            for offset in [0.0, 200.0] {
                let t = trained(QuantizerSpec::SQ8, similarity, dim, offset);
                let Quantizer::Sq8(sq8) = &t.quantizer else { panic!("asked for SQ8") };
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
                                let (residual, step) = (row[j] - centroid[j], f64::from(sq8.step(j)));
                                let beyond = f64::from((residual - sq8.middle(j)).abs()) - 127.5 * step;
                                let off = f64::from(decoded[j]) - f64::from(row[j]);
                                let rounding = 1e-6 * f64::from(row[j].abs().max(1.0));
                                assert!(off.abs() <= 0.5 * step + beyond.max(0.0) + rounding, "dim {dim}, {j}: {off}");
                                let coded = f64::from(decoded[j] - centroid[j] - sq8.middle(j));
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
                                "{similarity:?} dim {dim}: {off} above {half} + {rounding}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn sq8_scores_are_the_same_bits_at_every_level() {
    let t = trained(QuantizerSpec::SQ8, Similarity::Dot, 33, 1.0);
    let (_, codes) = t.list(1);
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

#[test]
fn training_survives_data_without_spread() {
    let equal = vec![2.5f32; 50 * 6];
    let centroids = Centroids::new(6, vec![2.5; 6]).unwrap();
    for similarity in SIMILARITIES {
        let q = train(QuantizerSpec::SQ8, similarity, &equal, &[0; 50], &centroids).unwrap();
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
