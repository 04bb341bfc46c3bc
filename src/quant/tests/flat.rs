//! Flat codes: exact in float32, rounded once in float16.

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

/// Vectors that float16 holds exactly.
fn rounded(rows: &[f32]) -> Vec<f32> {
    let (mut halves, mut out) = (vec![0; rows.len()], vec![0.0; rows.len()]);
    best().to_f16(rows, &mut halves);
    best().from_f16(&halves, &mut out);
    out
}

#[test]
fn flat_codes_of_float16_are_the_rounded_vectors_and_score_exactly() {
    for similarity in SIMILARITIES {
        for dim in DIMS.into_iter().chain([64, 65, 128, 130]) {
            let q = Quantizer::flat(similarity, dim, VectorPrecision::F16);
            assert_eq!((q.spec(), q.precision()), (QuantizerSpec::Flat, Some(VectorPrecision::F16)));
            assert_eq!(q.block_bytes(), dim.next_multiple_of(2) * 32);
            let rows = rows(40, dim, 0.0, 3);
            let want = rounded(&rows);
            let centroid = vec![0.0; dim];
            // Lanes are filled in two goes, into blocks that were not zero.
            let mut codes = Buffer::zeroed(3 * q.block_bytes(), "test").unwrap();
            codes.bytes_mut().fill(0x3c);
            q.encode(&centroid, &rows[..19 * dim], 0, codes.bytes_mut());
            q.encode(&centroid, &rows[19 * dim..], 3, &mut codes.bytes_mut()[q.block_bytes()..]);
            let mut prepared = Prepared::default();
            q.prepare(&rows[..dim], &mut prepared);
            let (mut scores, mut decoded) = (vec![0.0; 48], vec![0.0; dim]);
            for kernels in Level::ALL.into_iter().filter_map(at) {
                q.score(kernels, &prepared, &centroid, codes.bytes(), &mut scores);
                for (i, row) in want.chunks_exact(dim).enumerate() {
                    q.decode(&centroid, codes.bytes(), i, &mut decoded);
                    assert_eq!(decoded, row);
                    let want = exact(similarity, &rows[..dim], row);
                    assert!((f64::from(scores[i]) - want).abs() <= 1e-5 * want.abs().max(dim as f64), "dim {dim}");
                }
            }
        }
    }
}

#[test]
fn values_beyond_float16_become_its_greatest() {
    let q = Quantizer::flat(Similarity::Dot, 3, VectorPrecision::F16);
    let mut block = vec![0; q.block_bytes()];
    q.encode(&[0.0; 3], &[1e30, -65_520.0, 65_503.0], 5, &mut block);
    let mut out = [0.0; 3];
    q.decode(&[0.0; 3], &block, 5, &mut out);
    assert_eq!(out, [65_504.0, -65_504.0, 65_504.0]);
}

#[test]
fn precision_is_written_and_read() {
    for precision in [VectorPrecision::F32, VectorPrecision::F16] {
        let q = Quantizer::flat(Similarity::L2, 7, precision);
        let mut bytes = Vec::new();
        q.write(&mut bytes);
        assert_eq!(Quantizer::read(&bytes).unwrap(), q);
        for wrong in [0, 3, 255] {
            *bytes.last_mut().unwrap() = wrong;
            assert!(matches!(Quantizer::read(&bytes), Err(Error::Corrupt { .. })), "precision {wrong}");
        }
    }
}
