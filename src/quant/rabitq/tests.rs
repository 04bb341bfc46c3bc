//! Oracles: float64 scores of the vectors and of their decoded codes, the exact search for the best scale, and the
//! figures stated at the head of `rabitq`.

use super::encode::{Lanes, encode};
use super::*;
use crate::exec::{Exec, Watch};
use crate::ivf::Centroids;
use crate::kernels::{Level, at, best};
use crate::quant::Quantizer;
use crate::rng::Rng;

const DIMS: [usize; 5] = [1, 3, 17, 100, 129];
const SIMILARITIES: [Similarity; 2] = [Similarity::L2, Similarity::Dot];

/// Rows of nearly normal values about `middle`.
fn noise(n: usize, dim: usize, middle: f32, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    (0..n * dim).map(|_| middle + (0..4).map(|_| rng.unit_f32() - 0.5).sum::<f32>()).collect()
}

fn trained(bits: u8, similarity: Similarity, centroids: &[f32], dim: usize, seed: u64) -> Quantizer {
    let centroids = Centroids::new(dim, centroids.to_vec()).unwrap();
    let (exec, spec) = (Exec::new(1), QuantizerSpec::RaBitQ { bits });
    let sample =
        Sample { rows: centroids.row(0), lists: &[0], centroids: &centroids, seed, exec: &exec, watch: &Watch::NONE };
    Quantizer::train(spec, similarity, &sample).unwrap()
}

fn inner(quantizer: &Quantizer) -> &RaBitQ {
    let Quantizer::RaBitQ(rabitq) = quantizer else { panic!("asked for RaBitQ") };
    rabitq
}

fn codes(quantizer: &Quantizer, centroid: &[f32], rows: &[f32]) -> Vec<u8> {
    let blocks = (rows.len() / centroid.len()).div_ceil(LANES);
    let mut codes = vec![0; blocks * quantizer.block_bytes()];
    quantizer.encode(centroid, rows, 0, &mut codes);
    codes
}

fn product(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
}

fn exact(similarity: Similarity, a: &[f32], b: &[f32]) -> f64 {
    match similarity {
        Similarity::L2 => -distance(a, b),
        Similarity::Dot => product(a, b),
    }
}

/// The estimate and the upper bound of every vector in `codes`.
fn scored(quantizer: &Quantizer, centroid: &[f32], codes: &[u8], query: &[f32]) -> (Prepared, Vec<f32>, Vec<f32>) {
    let lanes = codes.len() / quantizer.block_bytes() * LANES;
    let (mut estimates, mut bounds, mut prepared) = (vec![0.0; lanes], vec![0.0; lanes], Prepared::default());
    quantizer.prepare(query, &mut prepared);
    quantizer.score(best(), &prepared, centroid, codes, &mut bounds);
    let list = List { slack: 0.0, ..inner(quantizer).list(best(), &prepared, centroid) };
    inner(quantizer).bounds(best(), &prepared, list, codes, &mut estimates);
    (prepared, estimates, bounds)
}

#[test]
fn estimates_are_the_scores_of_decoded_vectors_within_the_stated_bounds() {
    for similarity in SIMILARITIES {
        for dim in DIMS {
            for bits in 1..=8 {
                // Far from the origin too: residuals must not drown in the size of the numbers.
                for middle in [0.0, 200.0] {
                    let centroids = noise(3, dim, middle, 1);
                    let centroid = &centroids[dim..2 * dim];
                    let quantizer = trained(bits, similarity, &centroids, dim, 7);
                    let rows = noise(37, dim, middle, 2);
                    let codes = codes(&quantizer, centroid, &rows);
                    for query in noise(5, dim, middle, 3).chunks_exact(dim) {
                        let (prepared, estimates, bounds) = scored(&quantizer, centroid, &codes, query);
                        let rounded = prepared.codes.iter().map(|&q| f32::from(q) * prepared.scale);
                        let lost = rounded.zip(&prepared.weights).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
                        let mut decoded = vec![0.0; dim];
                        for (i, row) in rows.chunks_exact(dim).enumerate() {
                            quantizer.decode(centroid, &codes, i, &mut decoded);
                            let mut want = exact(similarity, query, &decoded);
                            let mut bound = (lost * distance(&decoded, centroid)).sqrt() * 1.5;
                            if similarity == Similarity::L2 {
                                let (d, r) = (distance(&decoded, centroid), distance(row, centroid));
                                want += d - r;
                                bound *= 2.0;
                            } else {
                                let weight = product(query, centroid) / product(centroid, centroid);
                                want += weight * (product(centroid, row) - product(centroid, &decoded));
                            }
                            bound += 3e-5 * (product(query, query) + product(row, row) + want.abs() + 1.0);
                            let off = (f64::from(estimates[i]) - want).abs();
                            assert!(off <= bound, "{similarity:?} {bits} bits, {dim}: {off} above {bound}");
                            assert!(bounds[i] >= estimates[i]);
                        }
                    }
                }
            }
        }
    }
}

/// What holds of the errors of estimates of `rows` for `queries`, over some rotations.
#[derive(Default, Debug)]
struct Errors {
    pairs: f64,
    /// Sums of the error, and of its square, in units of the stated bound.
    sum: f64,
    squares: f64,
    /// Pairs whose bound holds from above, and from both sides.
    above: f64,
    within: f64,
}

fn errors(bits: u8, similarity: Similarity, centroid: &[f32], rows: &[f32], queries: &[f32]) -> Errors {
    let dim = centroid.len();
    let mut errors = Errors::default();
    for seed in 0..4 {
        let quantizer = trained(bits, similarity, centroid, dim, seed);
        let codes = codes(&quantizer, centroid, rows);
        for query in queries.chunks_exact(dim) {
            let (_, estimates, bounds) = scored(&quantizer, centroid, &codes, query);
            for (i, row) in rows.chunks_exact(dim).enumerate() {
                let off = f64::from(estimates[i]) - exact(similarity, query, row);
                let unit = off / f64::from(bounds[i] - estimates[i]);
                errors.pairs += 1.0;
                errors.sum += unit;
                errors.squares += unit * unit;
                errors.above += f64::from(u8::from(unit >= -1.0));
                errors.within += f64::from(u8::from(unit.abs() <= 1.0));
            }
        }
    }
    errors
}

impl Errors {
    fn check(&self, what: &str) {
        let (n, mean) = (self.pairs, self.sum / self.pairs);
        // Errors of one query or one vector go together: a twentieth of the pairs are taken as independent.
        let limit = 4.0 * (self.squares / n).sqrt() / (n / 20.0).sqrt();
        assert!(mean.abs() < limit, "{what}: mean error {mean} of the bound, limit {limit}");
        assert!(self.above > 0.96 * n && self.within > 0.93 * n, "{what}: {self:?}");
    }
}

#[test]
fn estimates_are_unbiased_and_bounds_hold_on_noise() {
    let dim = 100;
    let (rows, queries) = (noise(160, dim, 0.3, 5), noise(40, dim, 0.3, 6));
    for similarity in SIMILARITIES {
        for bits in 1..=8 {
            let found = errors(bits, similarity, &noise(1, dim, 0.3, 4), &rows, &queries);
            found.check(&format!("{similarity:?}, {bits} bits"));
        }
    }
}

/// Words of GloVe, of length 1, see `tests/words.rs`.
fn words() -> (usize, Vec<f32>) {
    let file = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/words.bin")).unwrap();
    let number = |at: usize| u32::from_le_bytes(four(&file[at..])) as usize;
    let (count, dim) = (number(12), number(16));
    let mut rows: Vec<f32> =
        file[24 + 4 * count..][..count * dim].iter().map(|&c| f32::from(c.cast_signed())).collect();
    for row in rows.chunks_exact_mut(dim) {
        let norm = product(row, row).sqrt() as f32;
        row.iter_mut().for_each(|x| *x /= norm);
    }
    (dim, rows)
}

#[test]
fn estimates_are_unbiased_and_bounds_hold_on_words() {
    let (dim, words) = words();
    let n = words.len() / dim;
    let centroid: Vec<f32> = (0..dim).map(|j| words.iter().skip(j).step_by(dim).sum::<f32>() / n as f32).collect();
    let some = |step: usize| words.chunks_exact(dim).step_by(step).flatten().copied().collect::<Vec<_>>();
    let (rows, queries) = (some(n / 300), some(n / 41));
    for similarity in SIMILARITIES {
        for bits in 1..=8 {
            let found = errors(bits, similarity, &centroid, &rows, &queries);
            found.check(&format!("{similarity:?}, {bits} bits"));
        }
    }
}

#[test]
fn the_error_about_halves_with_every_bit() {
    let dim = 128;
    let (rows, centroid) = (noise(320, dim, 0.0, 8), vec![0.1; dim]);
    let mut decoded = vec![0.0; dim];
    let mut all = Vec::new();
    for bits in 1..=8 {
        let quantizer = trained(bits, Similarity::Dot, &centroid, dim, 3);
        let codes = codes(&quantizer, &centroid, &rows);
        let mut squares = 0.0;
        for (i, row) in rows.chunks_exact(dim).enumerate() {
            quantizer.decode(&centroid, &codes, i, &mut decoded);
            squares += distance(&decoded, row) / distance(&centroid, row);
        }
        all.push((squares / 320.0).sqrt());
    }
    let stated = [0.75, 0.36, 0.19, 0.099, 0.050, 0.025, 0.012, 0.0063];
    for (found, stated) in all.iter().zip(stated) {
        assert!((found / stated - 1.0).abs() < 0.08, "{all:?}");
    }
    assert!(all.windows(2).all(|pair| (0.42..0.56).contains(&(pair[1] / pair[0]))), "{all:?}");
}

/// The least squared sine there is: every scale at which the rounding of some value changes.
fn least_sine(z: &[f64], bits: u8) -> f64 {
    let top = f64::from(1u32 << (bits - 1)) - 0.5;
    let mut changes: Vec<(f64, usize)> = Vec::new();
    for (j, z) in z.iter().enumerate().filter(|(_, z)| **z != 0.0) {
        changes.extend((1..1 << (bits - 1)).map(|k| (f64::from(k) / z.abs(), j)));
    }
    changes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut y = vec![0.5; z.len()];
    let mut zy: f64 = z.iter().map(|z| z.abs() * 0.5).sum();
    let mut yy = 0.25 * z.len() as f64;
    let zz: f64 = z.iter().map(|z| z * z).sum();
    let mut cosine = zy * zy / yy;
    for (_, j) in changes {
        assert!(y[j] < top);
        zy += z[j].abs();
        yy += 2.0 * y[j] + 1.0;
        y[j] += 1.0;
        cosine = cosine.max(zy * zy / yy);
    }
    1.0 - cosine / zz
}

#[test]
fn few_scales_lose_little_against_the_exact_search() {
    let lost = |dim: usize, bits: u8| {
        let mut u = vec![[0; LANES]; dim];
        let (mut found, mut least) = (0.0, 0.0);
        for group in 0..6 {
            let rows = noise(LANES, dim, 0.0, group);
            let z: Vec<Lanes> = (0..dim).map(|j| std::array::from_fn(|v| rows[v * dim + j])).collect();
            encode(&z, &[1.0; LANES], &vec![0.0; dim], (Similarity::Dot, bits), &mut u);
            for (v, row) in rows.chunks_exact(dim).enumerate() {
                let row: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
                let middle = f64::from((1u32 << bits) - 1) / 2.0;
                let y = u.iter().map(|u| f64::from(u[v]) - middle);
                let (zy, yy) = y.zip(&row).fold((0.0, 0.0), |(zy, yy), (y, z)| (zy + y * z, yy + y * y));
                found += 1.0 - zy * zy / yy / row.iter().map(|z| z * z).sum::<f64>();
                least += least_sine(&row, bits);
            }
        }
        found / least - 1.0
    };
    for dim in [32, 104, 384] {
        assert!(lost(dim, 1).abs() < 1e-9);
        for (bits, most) in [(2, 0.002), (3, 0.002), (4, 0.002), (5, 0.012), (6, 0.03), (7, 0.1), (8, 0.25)] {
            let lost = lost(dim, bits);
            assert!((-1e-6..most).contains(&lost), "{dim} dimensions, {bits} bits: {lost}");
        }
    }
}

/// With the weight of 1 that a term of `|q - c|` takes, small queries of great vectors, which rank as great ones do,
/// had errors of the size of the vectors.
#[test]
fn a_product_ranks_alike_whatever_the_size_of_query_and_vectors() {
    let (dim, centroid) = (100, noise(1, 100, 0.5, 1));
    let (rows, query) = (noise(64, dim, 0.5, 2), noise(1, dim, 0.5, 3));
    for bits in 1..=8 {
        let score = |large: f32, far: f32| {
            let times = |x: &[f32], by: f32| x.iter().map(|x| x * by).collect::<Vec<_>>();
            let centroid = times(&centroid, large);
            let quantizer = trained(bits, Similarity::Dot, &centroid, dim, 1);
            let codes = codes(&quantizer, &centroid, &times(&rows, large));
            let (_, estimates, bounds) = scored(&quantizer, &centroid, &codes, &times(&query, far));
            [estimates, bounds].map(|scores| times(&scores, 1.0 / (large * far)))
        };
        let plain = score(1.0, 1.0);
        // Powers of two: not a bit is lost.
        for (large, far) in [(1024.0, 1.0), (1.0, 1024.0), (1.0 / 1024.0, 4.0)] {
            assert_eq!(score(large, far), plain, "{bits} bits");
        }
    }
}

#[test]
fn bounds_shrink_as_the_query_nears_its_centroid() {
    let (dim, centroid) = (100, noise(1, 100, 0.5, 1));
    let rows = noise(64, dim, 0.5, 2);
    let near: Vec<f32> = centroid.iter().zip(noise(1, dim, 0.0, 3)).map(|(c, x)| c + x * 0.1).collect();
    for similarity in SIMILARITIES {
        let quantizer = trained(1, similarity, &centroid, dim, 1);
        let codes = codes(&quantizer, &centroid, &rows);
        let width = |query: &[f32]| {
            let (_, estimates, bounds) = scored(&quantizer, &centroid, &codes, query);
            bounds.iter().zip(&estimates).map(|(bound, estimate)| bound - estimate).sum::<f32>()
        };
        let (close, far) = (width(&near), width(&noise(1, dim, 0.5, 4)));
        assert!(close < far / 5.0, "{similarity:?}: {close} and {far}");
    }
}

#[test]
fn scores_are_the_same_bits_at_every_level() {
    for bits in 1..=8 {
        let centroid = vec![0.0; 129];
        let quantizer = trained(bits, Similarity::Dot, &centroid, 129, 1);
        let codes = codes(&quantizer, &centroid, &noise(48, 129, 0.1, 2));
        let mut prepared = Prepared::default();
        quantizer.prepare(&noise(1, 129, 0.1, 3), &mut prepared);
        // The product with the centroid is the one float sum that levels round differently; with zeros it is exact.
        let score = |kernels: &Kernels| {
            let mut scores = vec![0.0; 48];
            quantizer.score(kernels, &prepared, &centroid, &codes, &mut scores);
            scores.iter().map(|score: &f32| score.to_bits()).collect::<Vec<_>>()
        };
        let all: Vec<_> = Level::ALL.into_iter().filter_map(at).map(score).collect();
        assert!(all.iter().all(|scores| *scores == all[0]), "{bits} bits");
    }
}

#[test]
fn many_blocks_score_as_each_alone() {
    let (dim, centroid) = (20, vec![0.1; 20]);
    for bits in [1, 7, 8] {
        let quantizer = trained(bits, Similarity::L2, &centroid, dim, 1);
        let codes = codes(&quantizer, &centroid, &noise((2 * BATCH + 3) * LANES, dim, 0.0, 2));
        let query = noise(1, dim, 0.0, 3);
        let (_, _, all) = scored(&quantizer, &centroid, &codes, &query);
        for (block, scores) in codes.chunks_exact(quantizer.block_bytes()).zip(all.chunks_exact(LANES)) {
            assert_eq!(scored(&quantizer, &centroid, block, &query).2, scores);
        }
    }
}

#[test]
fn a_vector_at_its_centroid_and_any_size_score_without_nan() {
    for similarity in SIMILARITIES {
        for dim in DIMS {
            for bits in 1..=8 {
                for size in [0.0, 1e-44, 1e-30, 1e-12, 1.0, 1e12, 1e16] {
                    let centroid = vec![0.5 * size; dim];
                    let quantizer = trained(bits, similarity, &centroid, dim, 1);
                    let mut rows = centroid.clone();
                    rows.extend(noise(1, dim, 0.0, 2).iter().map(|x| x * size));
                    let codes = codes(&quantizer, &centroid, &rows);
                    let query: Vec<f32> = noise(1, dim, 0.0, 3).iter().map(|x| x * size).collect();
                    let (_, estimates, bounds) = scored(&quantizer, &centroid, &codes, &query);
                    let mut decoded = vec![0.0; dim];
                    for i in 0..2 {
                        assert!(
                            estimates[i].is_finite() && bounds[i].is_finite(),
                            "{similarity:?} {size}, {bits} bits, {dim}"
                        );
                        quantizer.decode(&centroid, &codes, i, &mut decoded);
                        assert!(decoded.iter().all(|x| x.is_finite()));
                        assert!(i > 0 || decoded == centroid, "no residual, no error");
                    }
                }
            }
        }
    }
}

#[test]
fn what_cannot_have_been_written_is_corrupt() {
    for similarity in SIMILARITIES {
        for bits in 1..=8 {
            let quantizer = trained(bits, similarity, &noise(2, 5, 0.0, 1), 5, 99);
            let mut bytes = Vec::new();
            quantizer.write(&mut bytes);
            assert_eq!(Quantizer::read(&bytes).unwrap(), quantizer);
            for (place, wrong) in [(8, 0), (8, 9), (0, 9), (2, 1)] {
                let mut damaged = bytes.clone();
                damaged[place] = wrong;
                assert!(Quantizer::read(&damaged).is_err());
            }
            if similarity == Similarity::L2 {
                bytes[17..21].copy_from_slice(&f32::NAN.to_le_bytes());
                assert!(Quantizer::read(&bytes).is_err());
            }
        }
    }
}
