//! Oracles: sorting for the top-k, float64 distances for probes and assignment.

use super::bytes::{ByteCentroids, ByteSpace, stride};
use super::{Centroids, Kept, ProbeScratch, Sieve, TOGETHER, TopK};
use crate::error::Error;
use crate::exec::Exec;
use crate::kernels::{Best, Kernels, Level, at, best};
use crate::rng::Rng;
use crate::types::Similarity;

fn levels() -> impl Iterator<Item = &'static Kernels> {
    Level::ALL.into_iter().filter_map(at)
}

/// `n` rows about 20 middles, all `offset` away from the origin.
fn rows(n: usize, dim: usize, offset: f32, seed: u64) -> Vec<f32> {
    let mut middles = Rng::new(99);
    let middles: Vec<f32> = (0..20 * dim).map(|_| middles.unit_f32() * 2.0).collect();
    let mut rng = Rng::new(seed);
    (0..n)
        .flat_map(|_| {
            let m = rng.below(20) * dim;
            (0..dim).map(|j| middles[m + j] + rng.unit_f32() + offset).collect::<Vec<_>>()
        })
        .collect()
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
}

fn sorted_pairs(pairs: &[(f32, u32)]) -> Vec<(f32, u32)> {
    let mut pairs = pairs.to_vec();
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    pairs
}

fn sorted(scores: &[f32], k: usize) -> Vec<(f32, u32)> {
    let mut all: Vec<(f32, u32)> = scores.iter().copied().zip(0..).filter(|(s, _)| *s > f32::NEG_INFINITY).collect();
    all.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap().then(a.1.cmp(&b.1)));
    all.truncate(k);
    all
}

#[test]
fn top_k_is_a_sort_at_every_level_whatever_the_order_of_offers() {
    let mut rng = Rng::new(1);
    // Few distinct values, so that ties decide; lengths about the filter's chunk of 512 and the registers of 16.
    for (n, values) in [(0, 1), (1, 1), (15, 3), (700, 5), (5000, 40), (5000, 100_000), (2000, 1)] {
        let scores: Vec<f32> = (0..n).map(|_| rng.below(values) as f32 - 2.0).collect();
        for k in [0, 1, 2, 10, 511, 3000] {
            for kernels in levels() {
                let want = sorted(&scores, k);
                let (mut got, mut top) = (Vec::new(), TopK::with_kernels(kernels, k));
                top.offer(&scores, 0);
                assert!(want.len() < k || k == 0 || top.threshold() <= want[k - 1].0);
                top.finish(&mut got);
                assert_eq!(got, want, "n {n} k {k}");
                top.offer_all(&scores);
                top.finish(&mut got);
                assert_eq!(got, want, "all at once, n {n} k {k}");
                for (i, part) in scores.chunks(37).enumerate().collect::<Vec<_>>().into_iter().rev() {
                    top.offer(part, i as u32 * 37);
                }
                top.finish(&mut got);
                assert_eq!(got, want, "backwards, n {n} k {k}");
                for (i, score) in scores.iter().enumerate() {
                    top.offer(&[*score], i as u32);
                }
                top.finish(&mut got);
                assert_eq!(got, want, "one by one, n {n} k {k}");
                for front in [0, 1, k / 8, k] {
                    top.offer_all(&scores);
                    top.finish_unsorted(front, &mut got);
                    let first = front.min(got.len());
                    assert_eq!(sorted_pairs(&got[..first]), want[..first], "the front, n {n} k {k}");
                    assert_eq!(sorted_pairs(&got), want, "unsorted, n {n} k {k}");
                }
            }
        }
    }
}

#[test]
fn top_k_maps_rows_leaves_out_the_dropped_and_never_keeps_a_nan() {
    let scores = [1.0, f32::NAN, 3.0, f32::NEG_INFINITY, 2.0, -0.0, 0.0, f32::INFINITY];
    let (mut kept, mut sieve) = (Kept::new(5).unwrap(), Sieve::default());
    kept.offer_with(&scores, |i| (i != 2).then_some(100 - i), &mut sieve);
    // The two zeros are equal, so their rows decide.
    assert_eq!(kept.best().map(|x| x.1).collect::<Vec<_>>(), [93, 96, 100, 94, 95]);
    kept.reset(5);
    assert_eq!(kept.best().count(), 0, "a reset forgets");
    let (mut top, mut found) = (TopK::new(5), vec![1, 2]);
    top.best_rows(&[f32::NEG_INFINITY, 1.0, f32::NAN], 5, &mut found);
    assert_eq!(found, [1]);
}

#[test]
fn rows_of_the_best_are_those_of_a_sort_in_rising_order() {
    let mut rng = Rng::new(21);
    let mut top = TopK::new(3);
    let mut found = Vec::new();
    for n in [0usize, 1, 15, 64, 300, 1309] {
        // Few different scores, so that ties abound at the border, or many.
        for different in [4, 1 << 20] {
            let scores: Vec<f32> = (0..n).map(|_| rng.below(different) as f32 - 2.0).collect();
            let mut order: Vec<u32> = (0..n as u32).collect();
            order.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]).then(a.cmp(&b)));
            for k in [0, 1, 2, 8, 64, 256, 1309, 2000] {
                let mut want = order[..k.min(n)].to_vec();
                want.sort_unstable();
                top.offer(&[9.0; 7], 0);
                top.best_rows(&scores, k, &mut found);
                assert_eq!(found, want, "{k} of {n}");
            }
        }
    }
}

#[test]
fn byte_scores_are_distances() {
    for dim in [1, 3, 17, 100, 129] {
        let rows = rows(300, dim, 5.0, 3);
        let space = ByteSpace::fit(&rows, dim, &Exec::new(1));
        let mut units = vec![0.0; 20 * dim];
        for (c, unit) in rows.chunks_exact(dim).zip(units.chunks_exact_mut(dim)) {
            space.units(c, unit);
        }
        let centroids = ByteCentroids::new(&units, dim, &Exec::new(1)).unwrap();
        let mut bytes = vec![0; stride(dim)];
        for kernels in levels() {
            for row in rows.chunks_exact(dim).take(50) {
                let (norm, clipped) = space.encode(best(), row, &mut bytes[..dim]);
                assert!(!clipped);
                let mut out = [Best::default()];
                for (i, c) in rows.chunks_exact(dim).take(20).enumerate() {
                    let mut panels = crate::kernels::Panels::new(1, dim).unwrap();
                    centroids.pack(&[i as u32], &mut panels);
                    kernels.assign(&bytes, stride(dim), &[0], &panels, &mut out);
                    let units = f64::from(norm) - 2.0 * f64::from(out[0].score) / centroids.factor();
                    let found = units * f64::from(space.step()).powi(2);
                    // Row and centroid are each off by at most half a step a dimension, the bias by half a unit.
                    let slack = f64::from(space.step()) * ((dim as f64).sqrt() + 1.0) * 1.01;
                    assert!((found.max(0.0).sqrt() - distance(row, c).sqrt()).abs() <= slack, "dim {dim}");
                }
            }
        }
    }
}

#[test]
fn the_byte_space_survives_outliers_and_equal_rows() {
    let mut data = rows(20_000, 4, 0.0, 5);
    data[17] = 1e9;
    let space = ByteSpace::fit(&data, 4, &Exec::new(1));
    assert!(space.step() < 0.05, "{}", space.step());
    let mut out = [0; 4];
    assert!(space.encode(best(), &data[16..20], &mut out).1, "the outlier is reported as clipped");
    assert_eq!(out[1], 255);
    let equal = vec![3.5; 40];
    let space = ByteSpace::fit(&equal, 4, &Exec::new(1));
    assert_eq!(space.encode(best(), &equal[..4], &mut out), (0, false));
    assert_eq!(out, [128; 4]);
}

#[test]
fn scores_fit_32_bits_at_the_largest_dimension() {
    let dim = 65_536;
    // The worst case: every value at an end, row and centroid opposite or equal.
    let ends: Vec<f32> = (0..4 * dim).map(|i| if (i / dim) % 2 == 0 { 1.0 } else { -1.0 }).collect();
    let space = ByteSpace::fit(&ends, dim, &Exec::new(1));
    let mut units = vec![0.0; 2 * dim];
    for (c, unit) in ends.chunks_exact(dim).zip(units.chunks_exact_mut(dim)) {
        space.units(c, unit);
    }
    let panels = ByteCentroids::new(&units, dim, &Exec::new(1)).unwrap().panels().unwrap();
    let mut bytes = vec![0; dim];
    for kernels in levels() {
        for (row, want) in ends.chunks_exact(dim).zip([0, 1]) {
            space.encode(best(), row, &mut bytes);
            let mut two = [[Best::default(); 2]];
            kernels.assign2(&bytes, dim, &[0], &panels, &mut two);
            assert_eq!(two[0][0].position, want);
            assert_eq!(i64::from(two[0][0].score) > 0, i64::from(two[0][1].score) < 0);
        }
    }
}

#[test]
fn probes_come_nearest_first_and_all_of_them_when_asked() {
    for dim in [1, 3, 17, 100, 129] {
        for offset in [0.0, 1000.0] {
            let data = rows(333, dim, offset, 11);
            let centroids = Centroids::new(dim, data.clone()).unwrap();
            let queries = rows(40, dim, offset, 12);
            let (mut near, mut total) = (0, 0);
            for kernels in levels() {
                let mut scratch = ProbeScratch::with_kernels(kernels);
                let (mut out, mut all) = (Vec::new(), Vec::new());
                for query in queries.chunks_exact(dim) {
                    centroids.probe(query, 20, &mut scratch, &mut out);
                    centroids.probe(query, 1000, &mut scratch, &mut all);
                    assert_eq!(out, all[..20], "fewer probes are the first of more");
                    centroids.score(std::iter::once(query), &mut scratch);
                    let relative = centroids.choose(0, 20, &[], &mut scratch, &mut out);
                    out.iter_mut().for_each(|(score, _)| *score = relative.half_square(*score));
                    assert_eq!(sorted_pairs(&out[..2]), all[..2], "the nearest eighth");
                    assert_eq!(sorted_pairs(&out), all[..20]);
                    let mut want: Vec<usize> = (0..333).collect();
                    want.sort_by(|&a, &b| {
                        distance(query, centroids.row(a)).total_cmp(&distance(query, centroids.row(b)))
                    });
                    near += out.iter().filter(|&&(_, i)| want[..22].contains(&(i as usize))).count();
                    total += 20;
                    for &(half, i) in &all {
                        let exact = -0.5 * distance(query, centroids.row(i as usize));
                        let size = dim as f64 * (1.0 + 1e-6 * f64::from(offset).powi(2));
                        assert!((f64::from(half) - exact).abs() <= 0.05 * size, "dim {dim}: {half} for {exact}");
                    }
                    let mut all: Vec<u32> = all.iter().map(|&(_, i)| i).collect();
                    all.sort_unstable();
                    assert!(all.iter().copied().eq(0..333), "every list once");
                }
                centroids.probe(&queries[..dim], 0, &mut scratch, &mut out);
                assert!(out.is_empty());
            }
            let share = near as f64 / total as f64;
            assert!(share > 0.97, "dim {dim} offset {offset}: {share} of the probes are among the nearest 22");
        }
    }
}

#[test]
fn coarse_scores_are_those_of_a_query_alone_and_give_the_centroids_own_within_bounds() {
    for (dim, offset) in [(1, 0.0), (3, 10.0), (17, 0.0), (100, 300.0), (129, 0.0)] {
        let centroids = Centroids::new(dim, rows(77, dim, offset, 13)).unwrap();
        let queries = rows(TOGETHER, dim, offset, 14);
        let each: Vec<&[f32]> = queries.chunks_exact(dim).collect();
        let mean: Vec<f64> = (0..dim)
            .map(|j| centroids.rows().iter().skip(j).step_by(dim).map(|&x| f64::from(x)).sum::<f64>() / 77.0)
            .collect();
        let from_mean = |row: &[f32], j: usize| f64::from(row[j]) - mean[j];
        let step: Vec<f64> = (0..dim)
            .map(|j| (0..77).map(|i| from_mean(centroids.row(i), j).abs()).fold(0.0, f64::max) / 127.0)
            .collect();
        let rounding: f64 = step.iter().map(|step| step * step / 12.0).sum();
        assert!((centroids.rounding() / rounding - 1.0).abs() < 0.01, "{} for {rounding}", centroids.rounding());
        for kernels in levels() {
            let (mut alone, mut together) = (ProbeScratch::with_kernels(kernels), ProbeScratch::with_kernels(kernels));
            for n in 1..=TOGETHER {
                centroids.score(each[..n].iter().copied(), &mut together);
                for (i, &query) in each[..n].iter().enumerate() {
                    centroids.score(std::iter::once(query), &mut alone);
                    let (scores, relative) = centroids.scores(i, &together);
                    assert_eq!(scores, centroids.scores(0, &alone).0, "query {i} of {n}, dim {dim}");
                    let greatest = (0..dim).map(|j| (from_mean(query, j) * step[j]).abs()).fold(0.0, f64::max);
                    for (list, &score) in (0..).zip(scores) {
                        let centroid = centroids.row(list as usize);
                        let pairs = query.iter().zip(centroid).map(|(&q, &c)| (f64::from(q), f64::from(c)));
                        let product: f64 = pairs.clone().map(|(q, c)| q * c).sum();
                        let size: f64 = pairs.clone().map(|(q, c)| q * q + c * c).sum();
                        let of_centroid: f64 = pairs.zip(&step).map(|((q, c), step)| (q - c).abs() * step / 2.0).sum();
                        let of_query: f64 = (0..dim)
                            .map(|j| greatest / 254.0 * (from_mean(centroid, j).abs() / step[j].max(1e-9) + 1.0))
                            .sum();
                        let bound = of_centroid + of_query + 4e-6 * size;
                        let l2 = centroids.own_score(Similarity::L2, list, score, &relative);
                        let dot = centroids.own_score(Similarity::Dot, list, score, &relative);
                        let off = (f64::from(l2) + distance(query, centroid)).abs() / 2.0;
                        assert!(off <= bound, "dim {dim} list {list}: {off} above {bound}");
                        let off = (f64::from(dot) - product).abs();
                        assert!(off <= bound, "dim {dim} list {list}, product: {off} above {bound}");
                    }
                }
            }
        }
    }
}

#[test]
fn biases_move_lists_in_the_order_and_leave_their_scores() {
    let (dim, n) = (17, 333);
    let centroids = Centroids::new(dim, rows(n, dim, 0.0, 11)).unwrap();
    let queries = rows(TOGETHER, dim, 0.0, 12);
    let biases = rows(n, 1, 0.0, 13);
    let (mut out, mut ranked, mut unbiased) = (Vec::new(), Vec::new(), Vec::new());
    for kernels in levels() {
        let mut scratch = ProbeScratch::with_kernels(kernels);
        centroids.score(queries.chunks_exact(dim), &mut scratch);
        for i in 0..TOGETHER {
            let scores = centroids.scores(i, &scratch).0.to_vec();
            let mut want: Vec<(f32, u32)> = scores.iter().copied().zip(0..).collect();
            want.sort_by(|a, b| {
                let value = |&(score, list): &(f32, u32)| score + biases[list as usize];
                value(b).total_cmp(&value(a)).then(a.1.cmp(&b.1))
            });
            centroids.rank(i, 20, &biases, &mut scratch, &mut ranked);
            assert_eq!(ranked, want[..20], "in order, each with its own score");
            centroids.choose(i, 20, &biases, &mut scratch, &mut out);
            assert_eq!(sorted_pairs(&out), sorted_pairs(&ranked));
            assert_eq!(sorted_pairs(&out[..2]), sorted_pairs(&ranked[..2]), "the first eighth");
            centroids.rank(i, 20, &[], &mut scratch, &mut unbiased);
            assert_ne!(unbiased, ranked);
            centroids.rank(i, 20, &vec![0.0; n], &mut scratch, &mut out);
            assert_eq!(out, unbiased);
        }
    }
}

/// Under inner product lists were ranked by distance, so which were looked into depended on the length of the query, of
/// which the results do not: queries a thousand times shorter than the items found 6 % of their neighbours.
#[test]
fn lists_ranked_by_product_are_those_of_the_greatest_products_whatever_the_length_of_the_query() {
    for (dim, offset) in [(1, 0.0), (3, 1.0), (17, 0.0), (100, 3.0), (129, 0.0)] {
        let by_distance = Centroids::new(dim, rows(333, dim, offset, 13)).unwrap();
        let centroids = Centroids::new(dim, by_distance.rows().to_vec()).unwrap().ranked_by_product().unwrap();
        let queries = rows(20, dim, 0.0, 14);
        let (mut near, mut all, mut short) = (0, Vec::new(), Vec::new());
        for kernels in levels() {
            let mut scratch = ProbeScratch::with_kernels(kernels);
            for query in queries.chunks_exact(dim) {
                let product = |list: u32| -> f64 {
                    query.iter().zip(centroids.row(list as usize)).map(|(&q, &c)| f64::from(q) * f64::from(c)).sum()
                };
                centroids.probe(query, 333, &mut scratch, &mut all);
                let mut want: Vec<u32> = (0..333).collect();
                want.sort_by(|&a, &b| product(b).total_cmp(&product(a)));
                near += all[..20].iter().filter(|&&(_, list)| want[..22].contains(&list)).count();
                // A scale that is a power of two: the same to the bit.
                let shorter: Vec<f32> = query.iter().map(|q| q / 1024.0).collect();
                centroids.probe(&shorter, 333, &mut scratch, &mut short);
                assert!(all.iter().zip(&short).all(|(a, b)| (a.0 / 1024.0, a.1) == *b), "dim {dim} offset {offset}");
                // What is told of a list is its product, and what it is scored with likewise.
                centroids.score(std::iter::once(query), &mut scratch);
                let relative = centroids.choose(0, 333, &[], &mut scratch, &mut short);
                let size = query.iter().map(|q| f64::from(q.abs())).sum::<f64>() * f64::from(offset + 4.0);
                for (&(told, list), &(score, other)) in all.iter().zip(&short) {
                    assert!((f64::from(told) - product(list)).abs() <= 0.02 * size, "{told} for {}", product(list));
                    let own = f64::from(centroids.own_score(Similarity::Dot, other, score, &relative));
                    assert!((own - product(other)).abs() <= 0.02 * size, "{own} for {}", product(other));
                }
            }
        }
        let share = near as f64 / (levels().count() * 20 * 20) as f64;
        assert!(share > 0.97, "dim {dim} offset {offset}: {share} of the probes are among the greatest 22");
        // Rows belong where they did.
        let items = rows(100, dim, offset, 15);
        let (mut a, mut b) = ([0; 100], [0; 100]);
        by_distance.assign(&items, &Exec::new(1), &mut a).unwrap();
        centroids.assign(&items, &Exec::new(1), &mut b).unwrap();
        assert_eq!(a, b);
    }
}

#[test]
fn rows_go_to_their_nearest_centroid() {
    for dim in [1, 3, 17, 100, 129] {
        for n in [1, 40, 700] {
            let centroids = Centroids::new(dim, rows(150, dim, 3.0, 21)).unwrap();
            let mut data = rows(n, dim, 3.0, 22);
            if n == 700 {
                data[5 * dim] = 1e6; // An outlier that would take the resolution from the others.
            }
            let mut first = None;
            for kernels in levels() {
                for threads in [1, 2, 3] {
                    let mut out = vec![9999; n];
                    centroids.assign_with(kernels, &data, &Exec::new(threads), &mut out).unwrap();
                    let mut exact = 0;
                    for (row, &list) in data.chunks_exact(dim).zip(&out) {
                        let got = distance(row, centroids.row(list as usize));
                        let least = (0..150).map(|i| distance(row, centroids.row(i))).fold(f64::INFINITY, f64::min);
                        exact += usize::from(got <= least * 1.000_01 + 1e-9);
                        assert!(got <= least * 1.2 + 1e-3, "dim {dim}: {got} against {least}");
                    }
                    assert!(exact * 100 >= n * 98, "dim {dim} n {n}: {exact} exact");
                    // Levels round floats differently, which may decide between equally near lists.
                    let first = first.get_or_insert_with(|| out.clone());
                    let same = out.iter().zip(first.iter()).filter(|(a, b)| a == b).count();
                    assert!(same * 100 >= n * 99);
                }
            }
        }
    }
}

#[test]
fn wrong_shapes_are_refused() {
    assert!(matches!(Centroids::new(0, vec![]), Err(Error::InvalidArgument { .. })));
    assert!(matches!(Centroids::new(3, vec![]), Err(Error::InvalidArgument { .. })));
    assert!(matches!(Centroids::new(3, vec![0.0; 4]), Err(Error::InvalidArgument { .. })));
    assert!(matches!(Centroids::new(1, vec![f32::NAN]), Err(Error::InvalidArgument { .. })));
    let one = Centroids::new(2, vec![1.0, 2.0]).unwrap();
    let mut out = [7; 2];
    assert!(one.assign(&[0.0; 3], &Exec::new(1), &mut out).is_err());
    one.assign(&[0.0; 4], &Exec::new(1), &mut out).unwrap();
    assert_eq!(out, [0, 0]);
    let mut probes = vec![(0.0, 4)];
    one.probe(&[0.0, 0.0], 9, &mut ProbeScratch::new(), &mut probes);
    assert_eq!(probes, [(-2.5, 0)]);
}

#[test]
fn a_selection_makes_the_threshold_exact_whatever_came_before() {
    let scores: Vec<f32> = (0..1000).map(|i| ((i * 7919) % 1000) as f32).collect();
    let (mut kept, mut sieve) = (Kept::new(10).unwrap(), Sieve::default());
    kept.offer(&scores[..9], 0, &mut sieve);
    kept.select();
    assert_eq!(kept.threshold(), f32::NEG_INFINITY, "fewer than k");
    for step in [1, 37, 1000] {
        kept.reset(10);
        for (i, part) in scores.chunks(step).enumerate() {
            kept.offer(part, (i * step) as u32, &mut sieve);
        }
        assert!(kept.threshold() <= 990.0);
        kept.select();
        assert_eq!(kept.threshold(), 990.0, "{step}");
    }
}

// Memory of one great query was kept for ever, since only what was found was counted.
#[test]
fn a_scan_tells_the_memory_that_a_great_one_left() {
    let (mut kept, mut sieve) = (Kept::new(10_000).unwrap(), Sieve::default());
    kept.offer(&vec![1.0; 20_000], 0, &mut sieve);
    kept.reset(10);
    assert!(kept.capacity() >= 20_000, "{}", kept.capacity());
    assert!(Kept::new(10).unwrap().capacity() < 2000);
}
