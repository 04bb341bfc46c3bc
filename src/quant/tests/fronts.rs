//! Fronts of codes: which quantizers score them, and that they seldom hide what is looked for.

use super::*;

/// Dimensions from which fronts of 2-bit codes are scored, and around groups.
const DIMS: [usize; 3] = [113, 200, 385];

#[test]
fn only_long_codes_of_two_bits_have_fronts() {
    let fronts = |kind, similarity, dim| trained(kind, similarity, dim, 0.0).quantizer.fronts().is_some();
    assert!(KINDS.into_iter().all(|kind| !fronts(kind, Similarity::Dot, 112)));
    assert!(KINDS.into_iter().all(|kind| fronts(kind, Similarity::Dot, 113) == (kind == QuantizerSpec::SQ2)));
    assert!(KINDS.into_iter().all(|kind| !fronts(kind, Similarity::L2, 128)));
}

/// Of vectors looked for by their own scores few are hidden: 2.3 % of normal values lie more than two deviations below, and
/// these are not quite normal. What is far below the wanted score mostly is.
#[test]
fn few_vectors_are_hidden_by_their_fronts() {
    for dim in DIMS {
        let t = trained(QuantizerSpec::SQ2, Similarity::Dot, dim, 0.5);
        let fronts = t.quantizer.fronts().unwrap();
        assert!((1..t.quantizer.block_bytes()).contains(&fronts.front_bytes()));
        let (mut hidden, mut total, mut other, mut far) = (0, 0, 0, 0);
        let mut prepared = Prepared::default();
        for list in 0..t.centroids.len() {
            let (rows, codes) = t.list(list);
            let n = rows.len() / dim;
            let lanes = n.next_multiple_of(LANES);
            let (mut scores, mut whole, mut gathered) = (vec![0.0; lanes], vec![0.0; lanes], Vec::new());
            for query in t.rows.chunks_exact(dim).step_by(97) {
                t.quantizer.prepare(query, &mut prepared);
                let prepared = &[&prepared];
                let centroid = t.centroids.row(list);
                let mut group = Group { prepared, centroid_scores: None, gathered: &mut gathered };
                t.quantizer.score_many(best(), &mut group, centroid, codes.bytes(), &mut whole);
                // Each vector is looked for by its own score, and by one that is far above.
                for (own, &wanted) in whole[..n].iter().enumerate() {
                    let mut least = [wanted];
                    fronts.score_fronts(best(), &group, centroid, codes.bytes(), &mut least, &mut scores);
                    hidden += usize::from(scores[own] < least[0]);
                    total += 1;
                }
                let best_score = whole[..n].iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
                let spread = best_score - whole[..n].iter().fold(f32::INFINITY, |a, &b| a.min(b));
                let mut least = [best_score + 2.0 * spread];
                fronts.score_fronts(best(), &group, centroid, codes.bytes(), &mut least, &mut scores);
                far += scores[..n].iter().filter(|&&score| score >= least[0]).count();
                other += n;
                let mut none = [f32::NEG_INFINITY];
                fronts.score_fronts(best(), &group, centroid, codes.bytes(), &mut none, &mut scores);
                assert_eq!(none, [f32::NEG_INFINITY]);
            }
        }
        println!("{dim}: {hidden} of {total} hidden, {far} of {other} open");
        assert!(hidden * 100 <= total * 5, "{dim}: {hidden} of {total} hidden");
        assert!(far * 4 <= other, "{dim}: {far} of {other} are open though far from what is wanted");
    }
}

/// On average a front scores what the whole does, to a quarter of their deviation, and one query what it does beside others.
#[test]
fn fronts_score_the_usual_whole() {
    for dim in DIMS {
        let t = trained(QuantizerSpec::SQ2, Similarity::Dot, dim, 0.5);
        let fronts = t.quantizer.fronts().unwrap();
        let (rows, codes) = t.list(1);
        let n = rows.len() / dim;
        let lanes = n.next_multiple_of(LANES);
        let prepared = t.prepared(5);
        let prepared: Vec<&Prepared> = prepared.iter().collect();
        let mut gathered = Vec::new();
        let centroid = t.centroids.row(1);
        let (mut together, mut whole) = (vec![0.0; 5 * lanes], vec![0.0; 5 * lanes]);
        let mut least = [whole[0], 1.0, f32::NEG_INFINITY, -1.0, 0.5];
        let wanted = least;
        let mut group = Group { prepared: &prepared, centroid_scores: None, gathered: &mut gathered };
        fronts.score_fronts(best(), &group, centroid, codes.bytes(), &mut least, &mut together);
        t.quantizer.score_many(best(), &mut group, centroid, codes.bytes(), &mut whole);
        for q in 0..5 {
            let mut alone = vec![0.0; lanes];
            let mut own = [wanted[q]];
            let group = Group { prepared: &prepared[q..=q], centroid_scores: None, gathered: &mut gathered };
            fronts.score_fronts(best(), &group, centroid, codes.bytes(), &mut own, &mut alone);
            assert_eq!((&alone[..], own[0]), (&together[q * lanes..][..lanes], least[q]));
            let whole = &whole[q * lanes..][..n];
            let mean = |scores: &[f32]| scores.iter().map(|&x| f64::from(x)).sum::<f64>() / scores.len() as f64;
            let far = whole.iter().map(|&x| (f64::from(x) - mean(whole)).powi(2)).sum::<f64>() / n as f64;
            let off = (mean(&alone[..n]) - mean(whole)).abs();
            assert!(off <= far.sqrt() / 4.0, "{dim}: {off} off, deviation {}", far.sqrt());
        }
    }
}
