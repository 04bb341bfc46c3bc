//! What holds for every scheme, and the data its own tests share: one file a scheme.
//!
//! Oracles: float64 scores of the vectors and of their decoded codes, and the bounds stated at the head of the scheme.

mod flat;
mod fronts;
mod sq;

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::buffer::Buffer;
use crate::exec::{Exec, Progress, Watch};
use crate::ivf::TopK;
use crate::kernels::{Level, at, best};
use crate::kmeans::{Params, cluster};
use crate::rng::Rng;

/// Odd dimensions around the group of 4 and the lanes of 16.
const DIMS: [usize; 5] = [1, 3, 17, 100, 129];
/// Every scheme.
const KINDS: [QuantizerSpec; 9] = [
    QuantizerSpec::Flat,
    QuantizerSpec::SQ8,
    QuantizerSpec::SQ4,
    QuantizerSpec::SQ2,
    QuantizerSpec::Pq { m: 0, bits: 4, rotation: true },
    QuantizerSpec::Pq { m: 0, bits: 8, rotation: false },
    QuantizerSpec::RaBitQ { bits: 2 },
    QuantizerSpec::RaBitQ { bits: 7 },
    QuantizerSpec::RaBitQ { bits: 8 },
];
const SIMILARITIES: [Similarity; 2] = [Similarity::L2, Similarity::Dot];

fn rows(n: usize, dim: usize, offset: f32, seed: u64) -> Vec<f32> {
    let mut middles = Rng::new(31);
    let middles: Vec<f32> = (0..12 * dim).map(|_| middles.unit_f32() * 3.0).collect();
    let mut rng = Rng::new(seed);
    let mut rows = Vec::new();
    for _ in 0..n {
        let m = rng.below(12) * dim;
        rows.extend((0..dim).map(|j| middles[m + j] + offset + (rng.unit_f32() - 0.5) * (1 + j % 3) as f32));
    }
    rows
}

fn train(
    spec: QuantizerSpec,
    similarity: Similarity,
    rows: &[f32],
    lists: &[u32],
    centroids: &Centroids,
) -> Result<Quantizer> {
    let exec = Exec::new(1);
    Quantizer::train(spec, similarity, &Sample { rows, lists, centroids, seed: 1, exec: &exec, watch: &Watch::NONE })
}

/// A sample, its lists and a quantizer for them.
struct Trained {
    rows: Vec<f32>,
    lists: Vec<u32>,
    centroids: Centroids,
    quantizer: Quantizer,
}

fn trained(spec: QuantizerSpec, similarity: Similarity, dim: usize, offset: f32) -> Trained {
    let rows = rows(600, dim, offset, 1);
    let params = Params { k: 9, max_iters: 8, tolerance: 0.0, seed: 1, spherical: false };
    let found = cluster(&rows, dim, &params, &Exec::new(1), &Watch::NONE, &Progress::default()).unwrap();
    let centroids = Centroids::new(dim, found.centroids).unwrap();
    let quantizer = train(spec, similarity, &rows, &found.assignment, &centroids).unwrap();
    Trained { rows, lists: found.assignment, centroids, quantizer }
}

impl Trained {
    /// The first `n` rows as queries.
    fn prepared(&self, n: usize) -> Vec<Prepared> {
        let made_ready = |query: &[f32]| {
            let mut prepared = Prepared::default();
            self.quantizer.prepare(query, &mut prepared);
            prepared
        };
        self.rows.chunks_exact(self.quantizer.dim()).take(n).map(made_ready).collect()
    }

    /// The rows of a list, and their codes.
    fn list(&self, list: usize) -> (Vec<f32>, Buffer) {
        let dim = self.quantizer.dim();
        let members = self.rows.chunks_exact(dim).zip(&self.lists).filter(|(_, l)| **l as usize == list);
        let rows: Vec<f32> = members.flat_map(|(row, _)| row.to_vec()).collect();
        let blocks = (rows.len() / dim).div_ceil(LANES);
        let mut codes = Buffer::zeroed(blocks * self.quantizer.block_bytes(), "test").unwrap();
        self.quantizer.encode(self.centroids.row(list), &rows, 0, codes.bytes_mut());
        (rows, codes)
    }
}

fn exact(similarity: Similarity, a: &[f32], b: &[f32]) -> f64 {
    let terms = a.iter().zip(b).map(|(&a, &b)| (f64::from(a), f64::from(b)));
    match similarity {
        Similarity::L2 => -terms.map(|(a, b)| (a - b).powi(2)).sum::<f64>(),
        Similarity::Dot => terms.map(|(a, b)| a * b).sum(),
    }
}

#[test]
fn a_block_is_filled_up_without_touching_other_lanes() {
    for kind in KINDS {
        for similarity in SIMILARITIES {
            for dim in DIMS {
                let t = trained(kind, similarity, dim, 0.0);
                let centroid = t.centroids.row(0);
                let rows = &t.rows[..40 * dim];
                let bytes = 3 * t.quantizer.block_bytes();
                let mut whole = vec![0xa5; bytes];
                t.quantizer.encode(centroid, rows, 0, &mut whole);
                let mut parts = vec![0xa5; bytes];
                // Backwards, in pieces that end inside blocks.
                for range in [33..40, 16..33, 15..16, 3..15, 0..3] {
                    let piece = &rows[range.start * dim..range.end * dim];
                    let block = range.start / LANES * t.quantizer.block_bytes();
                    t.quantizer.encode(centroid, piece, range.start % LANES, &mut parts[block..]);
                }
                assert_eq!(parts, whole, "{kind:?} {similarity:?} dim {dim}");
                let untouched = whole.iter().filter(|&&b| b == 0xa5).count();
                assert!(untouched >= 8 * (t.quantizer.block_bytes() / LANES), "the last 8 lanes keep their bytes");
            }
        }
    }
}

#[test]
fn reranked_candidates_hold_the_true_neighbours() {
    for (kind, similarity) in KINDS.into_iter().flat_map(|kind| SIMILARITIES.map(|similarity| (kind, similarity))) {
        let dim = 48;
        let t = trained(kind, similarity, dim, 0.5);
        let mult = t.quantizer.default_rerank_mult().max(1) as usize;
        let (mut found, mut total) = (0, 0);
        let (mut prepared, mut top) = (Prepared::default(), TopK::new(10 * mult));
        let (mut candidates, mut truth) = (Vec::new(), Vec::new());
        let lists: Vec<_> = (0..t.centroids.len()).map(|list| t.list(list)).collect();
        let queries = rows(60, dim, 0.5, 77);
        for query in queries.chunks_exact(dim) {
            t.quantizer.prepare(query, &mut prepared);
            truth.clear();
            let mut first = 0u32;
            for (list, (rows, codes)) in lists.iter().enumerate() {
                let n = rows.len() / dim;
                let mut scores = vec![0.0; n.next_multiple_of(LANES)];
                t.quantizer.score(best(), &prepared, t.centroids.row(list), codes.bytes(), &mut scores);
                top.offer(&scores[..n], first);
                truth.extend(rows.chunks_exact(dim).map(|row| exact(similarity, query, row)).zip(first..));
                first += n as u32;
            }
            top.finish(&mut candidates);
            truth.sort_by(|a, b| b.0.total_cmp(&a.0));
            total += 10;
            found += truth[..10].iter().filter(|(_, row)| candidates.iter().any(|c| c.1 == *row)).count();
        }
        assert!(found * 500 >= total * 499, "{kind:?} {similarity:?}: {found} of {total}");
    }
}

#[test]
fn what_is_written_is_read_and_every_cut_is_corrupt() {
    for kind in KINDS {
        for similarity in SIMILARITIES {
            let q = trained(kind, similarity, 5, 0.0).quantizer;
            let mut bytes = Vec::new();
            q.write(&mut bytes);
            assert_eq!(Quantizer::read(&bytes).unwrap(), q);
            for cut in 0..bytes.len() {
                assert!(matches!(Quantizer::read(&bytes[..cut]), Err(Error::Corrupt { .. })), "cut at {cut}");
            }
            bytes.push(0);
            assert!(matches!(Quantizer::read(&bytes), Err(Error::Corrupt { .. })), "a byte too many");
        }
    }
}

/// A quantizer of every kind for 5 dimensions, as written.
static WRITTEN: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let written = |kind| {
        let mut bytes = Vec::new();
        trained(kind, Similarity::L2, 5, 0.0).quantizer.write(&mut bytes);
        bytes
    };
    KINDS.into_iter().map(written).collect()
});

proptest! {
    #[test]
    fn damaged_bytes_never_panic(
        start in 0usize..=400, flip in proptest::collection::vec((0usize..400, any::<u8>()), 1..6),
        noise in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        for written in &*WRITTEN {
            let mut bytes = written.clone();
            let len = bytes.len();
            for &(at, value) in &flip {
                bytes[at % len] ^= value;
            }
            for bytes in [&bytes[..], &bytes[..start.min(len)], &noise[..]] {
                match Quantizer::read(bytes) {
                    Ok(q) => {
                        prop_assert!(q.block_bytes() > 0 && q.dim() > 0);
                        // What is read can be used, whatever it says.
                        if q.dim() == 5 {
                            let (mut block, mut out) = (vec![0x5a; q.block_bytes()], [0.0; 5]);
                            q.encode(&[0.0; 5], &[1.0; 5], 3, &mut block);
                            q.decode(&[0.0; 5], &block, 4, &mut out);
                        }
                    }
                    Err(Error::Corrupt { .. }) => {}
                    Err(error) => prop_assert!(false, "{}", error),
                }
            }
        }
    }
}
