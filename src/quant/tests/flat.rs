//! Flat codes: exact.

use super::*;

#[test]
fn flat_codes_are_the_vectors_and_score_exactly() {
    for similarity in SIMILARITIES {
        for dim in DIMS {
            let t = trained(QuantizerSpec::Flat, similarity, dim, 0.0);
            assert!(!t.quantizer.needs_rerank() && t.quantizer.block_bytes().is_multiple_of(64));
            let (rows, codes) = t.list(2);
            let query = &t.rows[..dim];
            let mut prepared = Prepared::default();
            t.quantizer.prepare(query, &mut prepared);
            let mut scores = vec![0.0; (rows.len() / dim).next_multiple_of(LANES)];
            let mut decoded = vec![0.0; dim];
            for kernels in Level::ALL.into_iter().filter_map(at) {
                t.quantizer.score(kernels, &prepared, t.centroids.row(2), codes.bytes(), &mut scores);
                for (i, row) in rows.chunks_exact(dim).enumerate() {
                    t.quantizer.decode(t.centroids.row(2), codes.bytes(), i, &mut decoded);
                    assert_eq!(decoded, row);
                    let want = exact(similarity, query, row);
                    assert!((f64::from(scores[i]) - want).abs() <= 1e-5 * want.abs().max(dim as f64), "dim {dim}");
                }
            }
        }
    }
}
