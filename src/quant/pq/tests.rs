//! Oracles: float64 scores of decoded codes with the bounds stated at the head of `pq`.

use super::codebooks::Part;
use super::*;
use crate::error::Error;
use crate::exec::{CancelToken, Exec, Watch};
use crate::ivf::Centroids;
use crate::kernels::{Level, at};
use crate::quant::Quantizer;
use crate::rng::Rng;

const SIMILARITIES: [Similarity; 2] = [Similarity::L2, Similarity::Dot];

fn spec(m: u32, bits: u8, rotation: bool) -> QuantizerSpec {
    QuantizerSpec::Pq { m, bits, rotation }
}

/// Rows of 3 lists, neighbouring dimensions alike, with the centroids they were scattered about.
struct Data {
    dim: usize,
    rows: Vec<f32>,
    lists: Vec<u32>,
    centroids: Centroids,
}

impl Data {
    fn new(n: usize, dim: usize, offset: f32) -> Self {
        let mut rng = Rng::new(7);
        let centroids: Vec<f32> = (0..3 * dim).map(|_| offset + rng.unit_f32()).collect();
        let (mut rows, mut lists) = (Vec::new(), Vec::new());
        for i in 0..n {
            let (list, mut drift) = (i % 3, 0.0);
            rows.extend(centroids[list * dim..][..dim].iter().map(|c| {
                drift = 0.5 * drift + rng.unit_f32() - 0.5;
                c + drift
            }));
            lists.push(list as u32);
        }
        Self { dim, rows, lists, centroids: Centroids::new(dim, centroids).unwrap() }
    }

    fn row(&self, i: usize) -> &[f32] {
        &self.rows[i * self.dim..][..self.dim]
    }

    fn train_on(&self, spec: QuantizerSpec, similarity: Similarity, exec: &Exec, watch: &Watch) -> Result<Quantizer> {
        let Self { rows, lists, centroids, .. } = self;
        Quantizer::train(spec, similarity, &Sample { rows, lists, centroids, seed: 1, exec, watch })
    }

    fn train(&self, spec: QuantizerSpec, similarity: Similarity) -> Quantizer {
        self.train_on(spec, similarity, &Exec::new(1), &Watch::NONE).unwrap()
    }

    /// The rows of list 1 behind each other, and their codes.
    fn list(&self, q: &Quantizer) -> (Vec<f32>, Vec<u8>) {
        let rows: Vec<f32> = (1..self.lists.len()).step_by(3).flat_map(|i| self.row(i).to_vec()).collect();
        let mut codes = vec![0; (rows.len() / self.dim).div_ceil(LANES) * q.block_bytes()];
        q.encode(self.centroids.row(1), &rows, 0, &mut codes);
        (rows, codes)
    }

    /// Mean squared coding error of list 1.
    fn error(&self, q: &Quantizer) -> f64 {
        let (rows, codes) = self.list(q);
        let mut decoded = vec![0.0; self.dim];
        let mut sum = 0.0;
        for (i, row) in rows.chunks_exact(self.dim).enumerate() {
            q.decode(self.centroids.row(1), &codes, i, &mut decoded);
            sum -= exact(Similarity::L2, row, &decoded);
        }
        sum / (rows.len() / self.dim) as f64
    }
}

fn exact(similarity: Similarity, a: &[f32], b: &[f32]) -> f64 {
    let terms = a.iter().zip(b).map(|(&a, &b)| (f64::from(a), f64::from(b)));
    match similarity {
        Similarity::L2 => -terms.map(|(a, b)| (a - b).powi(2)).sum::<f64>(),
        Similarity::Dot => terms.map(|(a, b)| a * b).sum(),
    }
}

fn pq(q: &Quantizer) -> &Pq {
    let Quantizer::Pq(pq) = q else { panic!("asked for PQ") };
    pq
}

#[test]
fn parts_cover_every_dimension_once() {
    for (dim, m) in [(1, 1), (5, 5), (5, 2), (100, 7), (129, 128), (65_536, 3)] {
        let split = Split { dim, m };
        let parts: Vec<_> = (0..m).map(|j| split.part(j)).collect();
        assert_eq!((parts[0].start, parts[m - 1].end), (0, dim));
        assert!(parts.windows(2).all(|p| p[0].end == p[1].start && p[0].len() - p[1].len() <= 1));
    }
}

#[test]
fn decodes_and_scores_within_the_stated_bounds() {
    for (dim, m) in [(1, 1), (3, 1), (3, 2), (17, 5), (17, 17), (100, 25), (129, 9)] {
        for (bits, rotation) in [(4, false), (8, false), (4, true)] {
            // Far from the origin too: residuals must not drown in the size of the numbers.
            let data = Data::new(400, dim, if m % 2 == 0 { 0.0 } else { 100.0 });
            for similarity in SIMILARITIES {
                let q = data.train(spec(m, bits, rotation), similarity);
                assert!(q.needs_rerank() && q.block_bytes().is_multiple_of(64));
                assert_eq!(q.spec(), spec(m, bits, rotation));
                let (centroid, (rows, codes)) = (data.centroids.row(1), data.list(&q));
                let mut scores = vec![0.0; (rows.len() / dim).next_multiple_of(LANES)];
                let mut decoded = vec![0.0; dim];
                let mut prepared = Prepared::default();
                for query in data.rows.chunks_exact(dim).step_by(41) {
                    q.prepare(query, &mut prepared);
                    let mut first: Option<Vec<f32>> = None;
                    for kernels in Level::ALL.into_iter().filter_map(at) {
                        q.score(kernels, &prepared, centroid, &codes, &mut scores);
                        for (i, row) in rows.chunks_exact(dim).enumerate() {
                            q.decode(centroid, &codes, i, &mut decoded);
                            let mut want = exact(similarity, query, &decoded);
                            if similarity == Similarity::L2 {
                                want -= exact(Similarity::L2, row, &decoded);
                            }
                            // `prepared.scale` is doubled under L2 already.
                            let bound = 0.5 * f64::from(prepared.scale) * f64::from(m);
                            let rounding = 4e-6 * (exact(Similarity::Dot, query, query) + want.abs() + 1.0);
                            let off = (f64::from(scores[i]) - want).abs();
                            assert!(
                                off <= bound + rounding,
                                "{similarity:?} dim {dim}, m {m}, {bits} bits: {off} above {bound} + {rounding}"
                            );
                        }
                        // Levels differ by their product with the centroid alone.
                        let first = first.get_or_insert_with(|| scores.clone());
                        let size = exact(Similarity::Dot, query, query) as f32 + 1.0;
                        assert!(first.iter().zip(&scores).all(|(a, b)| (a - b).abs() <= 4e-6 * size), "{kernels:?}");
                    }
                }
            }
        }
    }
}

/// Without a rotation a decoded vector is the centroid plus codewords, rounded once, and no codeword is nearer.
#[test]
fn the_code_is_the_nearest_codeword() {
    for (dim, m, bits) in [(3, 2, 4), (17, 5, 4), (17, 5, 8), (100, 33, 8)] {
        let data = Data::new(300, dim, 1.0);
        let q = data.train(spec(m, bits, false), Similarity::L2);
        let (rows, codes) = data.list(&q);
        let (books, centroid) = (&pq(&q).books, data.centroids.row(1));
        let mut decoded = vec![0.0; dim];
        for (i, row) in rows.chunks_exact(dim).enumerate() {
            q.decode(centroid, &codes, i, &mut decoded);
            for j in 0..m as usize {
                let part = books.split().part(j);
                let word = |k: u8| (0..part.len()).map(|i| books.value(j, k, i)).collect::<Vec<f32>>();
                let residual: Vec<f32> =
                    row[part.clone()].iter().zip(&centroid[part.clone()]).map(|(x, c)| x - c).collect();
                let all = (0..=((1u32 << bits) - 1) as u8).map(|k| (-exact(Similarity::L2, &residual, &word(k)), k));
                let (least, _) = all.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
                let block = &codes[i / LANES * q.block_bytes()..];
                let (at, shift) = pq(&q).place(j, i % LANES);
                let code = block[at] >> shift & ((1u32 << bits) - 1) as u8;
                let found = -exact(Similarity::L2, &residual, &word(code));
                assert!(found <= least + 1e-5 * (1.0 + least), "row {i}, part {j}: {found} and {least}");
                for (i, w) in part.clone().zip(word(code)) {
                    assert_eq!(decoded[i], centroid[i] + w);
                }
            }
        }
    }
}

#[test]
fn seed_and_rows_decide_the_quantizer_not_the_threads() {
    let data = Data::new(500, 33, 0.0);
    for spec in [spec(7, 4, false), spec(7, 8, false), spec(7, 4, true)] {
        let with = |threads| {
            let q = data.train_on(spec, Similarity::L2, &Exec::new(threads), &Watch::NONE).unwrap();
            let (_, codes) = data.list(&q);
            (q, codes)
        };
        assert_eq!(with(1), with(2), "{spec:?}");
    }
}

#[test]
fn a_block_is_filled_up_without_touching_other_lanes() {
    for (m, bits) in [(1, 4), (9, 4), (17, 4), (3, 8), (17, 8)] {
        for similarity in SIMILARITIES {
            let data = Data::new(200, 17, 0.0);
            let q = data.train(spec(m, bits, false), similarity);
            let (centroid, rows) = (data.centroids.row(0), &data.rows[..40 * 17]);
            let mut whole = vec![0xa5; 3 * q.block_bytes()];
            let mut parts = whole.clone();
            q.encode(centroid, rows, 0, &mut whole);
            // Backwards, in pieces that end inside blocks.
            for range in [33..40, 16..33, 15..16, 3..15, 0..3] {
                let piece = &rows[range.start * 17..range.end * 17];
                q.encode(centroid, piece, range.start % LANES, &mut parts[range.start / LANES * q.block_bytes()..]);
            }
            assert_eq!(parts, whole, "m {m}, {bits} bits");
            let last = &whole[2 * q.block_bytes()..];
            let codes = &last[..pq(&q).code_bytes()];
            assert!(codes.chunks(LANES).all(|places| places[8..].iter().all(|&b| b == 0xa5)));
        }
    }
}

#[test]
fn fewer_rows_than_codewords_and_rows_without_spread_are_coded_exactly() {
    for n in [1, 5, 40] {
        for (bits, rotation) in [(4, false), (8, false), (8, true), (4, true)] {
            let mut data = Data::new(n, 6, 2.0);
            if n == 40 {
                data.rows = data.row(0).repeat(40);
                data.lists = vec![0; 40];
            }
            let q = data.train(spec(3, bits, rotation), Similarity::L2);
            let mut codes = vec![0; q.block_bytes()];
            q.encode(data.centroids.row(0), data.row(0), 0, &mut codes);
            let mut decoded = [0.0; 6];
            q.decode(data.centroids.row(0), &codes, 0, &mut decoded);
            let off = -exact(Similarity::L2, data.row(0), &decoded);
            assert!(off < 1e-9, "{n} rows, {bits} bits: {off}");
        }
    }
}

/// Codes of two dimensions that vary together must lie about their line.
#[test]
fn training_lowers_the_error() {
    let data = Data::new(3000, 16, 0.0);
    let spread = |bits, m, rotation| data.error(&data.train(spec(m, bits, rotation), Similarity::L2));
    let (coarse, fine, finest) = (spread(4, 4, false), spread(4, 8, false), spread(8, 8, false));
    let variance = 16.0 / 12.0 / (1.0 - 0.25);
    assert!(coarse < 0.5 * variance && fine < 0.5 * coarse && finest < 0.4 * fine, "{coarse} {fine} {finest}");
}

/// All spread lies in half of the dimensions: a rotation shares it out among the parts.
#[test]
fn a_rotation_pays_where_parts_are_uneven() {
    let mut data = Data::new(2000, 16, 0.0);
    for (row, &list) in data.rows.chunks_exact_mut(16).zip(&data.lists) {
        let centroid = &data.centroids.row(list as usize)[8..];
        row[8..].iter_mut().zip(centroid).for_each(|(x, c)| *x = c + (*x - c) * 0.01);
    }
    let [plain, rotated] = [false, true].map(|rotation| data.error(&data.train(spec(4, 4, rotation), Similarity::L2)));
    assert!(rotated < 0.8 * plain, "{rotated} against {plain}");
    let q = data.train(spec(4, 4, true), Similarity::L2);
    let rotation = pq(&q).rotation.as_ref().unwrap();
    for (i, a) in rotation.chunks_exact(16).enumerate() {
        for (j, b) in rotation.chunks_exact(16).enumerate() {
            let want = if i == j { 1.0 } else { 0.0 };
            assert!((exact(Similarity::Dot, a, b) - want).abs() < 1e-6, "rows {i} and {j}");
        }
    }
}

#[test]
fn training_ends_when_it_is_cancelled() {
    let data = Data::new(300, 8, 0.0);
    let watch = Watch { cancel: Some(CancelToken::new()), deadline: None };
    watch.cancel.as_ref().unwrap().cancel();
    for rotation in [false, true] {
        let ended = data.train_on(spec(2, 8, rotation), Similarity::Dot, &Exec::new(2), &watch);
        assert!(matches!(ended, Err(Error::Cancelled)));
    }
    // Each step looks by itself: the start alone may take a second where parts are wide.
    let part = Part { values: &vec![1.0; 320 * 8], rows: 320, dim: 8, words: 16 };
    assert!(matches!(part.start(&mut Rng::new(1), &watch), Err(Error::Cancelled)));
    let mut book = part.start(&mut Rng::new(1), &Watch::NONE).unwrap();
    assert!(matches!(part.lloyd(&mut book, 0, &watch), Err(Error::Cancelled)));
}

#[test]
fn parameters_out_of_range_are_refused() {
    let data = Data::new(20, 8, 0.0);
    let refused = |spec| data.train_on(spec, Similarity::Dot, &Exec::new(1), &Watch::NONE).is_err();
    assert!(refused(spec(9, 4, false)) && refused(spec(2, 5, false)));
    assert_eq!(data.train(spec(0, 4, false), Similarity::Dot).spec(), spec(0, 4, false).resolve(8));
    assert!(spec(4, 4, true).check(2048).is_ok() && spec(4, 4, true).check(2049).is_err());
}

#[test]
fn numbers_of_any_size_are_coded_without_a_panic() {
    let mut data = Data::new(60, 4, 0.0);
    data.rows.iter_mut().enumerate().for_each(|(i, x)| *x *= [1e-38, 1.0, 1e30, f32::MAX][i % 4]);
    for similarity in SIMILARITIES {
        let q = data.train(spec(2, 4, true), similarity);
        let (_, codes) = data.list(&q);
        let mut prepared = Prepared::default();
        q.prepare(data.row(0), &mut prepared);
        let mut scores = vec![0.0; LANES];
        q.score(best(), &prepared, data.centroids.row(1), &codes, &mut scores);
        let mut bytes = Vec::new();
        q.write(&mut bytes);
        assert_eq!(Quantizer::read(&bytes).unwrap(), q);
    }
}
