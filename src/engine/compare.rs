//! Exact comparison of many queries with the same rows.
//!
//! Rows are turned into flat blocks and meet four queries at once (with AVX2 and AVX-512), so that a value is loaded once
//! for four multiply-adds, where a query alone has one. Scores are those of [`Kernels::flat_tile`], whose error grows with
//! the dimension where that of rows grows with an eighth of it.
//!
//! [`Kernels::flat_tile`]: crate::kernels::Kernels::flat_tile

use crate::buffer::Buffer;
use crate::error::{Result, try_zeroed};
use crate::exec::Watch;
use crate::ivf::{Kept, Sieve};
use crate::kernels::{LANES, best};
use crate::quant::Quantizer;
use crate::types::{Similarity, VectorPrecision};

/// Bytes of rows that are compared at a time, at most [`ROWS`] of them and a block at least; and of queries, at most
/// [`QUERIES`] and [`TOGETHER`] at least. Both stay in the L2 cache up to 4,096 dimensions.
const ROW_BYTES: usize = 128 << 10;
const ROWS: usize = 256;
const QUERY_BYTES: usize = 64 << 10;
const QUERIES: usize = 32;
/// Queries that share a load.
const TOGETHER: usize = 4;

/// Some rows, and memory to compare them in.
pub(super) struct Comparison {
    flat: Quantizer,
    first: u32,
    n: usize,
    /// Positions of rows that are left out.
    dead: Vec<u32>,
    blocks: Buffer,
    /// Queries side by side.
    gathered: Buffer,
    scores: Vec<f32>,
    sieve: Sieve,
}

impl Comparison {
    /// For rows and queries of `dim` values.
    pub(super) fn new(similarity: Similarity, dim: usize) -> Result<Self> {
        let flat = Quantizer::flat(similarity, dim, VectorPrecision::F32);
        let (rows, queries) = (most_rows(dim), most_queries(dim));
        Ok(Self {
            first: 0,
            n: 0,
            dead: Vec::new(),
            blocks: Buffer::zeroed(rows / LANES * flat.block_bytes(), "comparison")?,
            gathered: Buffer::zeroed(queries * dim * 4, "comparison")?,
            scores: try_zeroed(queries * rows, "comparison")?,
            sieve: Sieve::default(),
            flat,
        })
    }

    /// Bytes of a comparison of rows of `dim` values, about.
    pub(super) fn memory(dim: usize) -> usize {
        let (rows, queries) = (most_rows(dim), most_queries(dim));
        (rows * dim + queries * dim + rows * queries) * 4
    }

    /// Rows that [`Self::take_rows`] can take.
    pub(super) fn most_rows(&self) -> usize {
        most_rows(self.flat.dim())
    }

    /// Takes `rows`, row-major, which are known as `first` and so on. Positions that are `dead` are left out.
    pub(super) fn take_rows(&mut self, rows: &[f32], first: u32, dead: impl Fn(u32) -> bool) {
        (self.first, self.n) = (first, rows.len() / self.flat.dim());
        self.flat.encode(&[], rows, 0, self.blocks.bytes_mut());
        self.dead.clear();
        self.dead.extend((0..self.n as u32).filter(|&i| dead(i)));
    }

    /// Offers each query of `queries` its scores of the rows.
    pub(super) fn offer_to<'q>(
        &mut self,
        queries: impl Iterator<Item = (&'q [f32], &'q mut Kept)>,
        watch: &Watch,
    ) -> Result<()> {
        if self.n == 0 {
            return Ok(());
        }
        let (dim, lanes) = (self.flat.dim(), self.n.next_multiple_of(LANES));
        let (most, mut queries) = (self.gathered.len() / (dim * 4), queries.fuse());
        let mut offered = Vec::with_capacity(most);
        loop {
            watch.check()?;
            // Places first: a query that finds none stays for the next turn.
            for (place, (query, kept)) in self.gathered.f32s_mut().chunks_exact_mut(dim).zip(&mut queries) {
                place.copy_from_slice(query);
                offered.push(kept);
            }
            if offered.is_empty() {
                return Ok(());
            }
            let queries = &self.gathered.f32s()[..offered.len() * dim];
            let scores = &mut self.scores[..offered.len() * lanes];
            best().flat_tile(self.flat.similarity(), queries, dim, &self.blocks.f32s()[..lanes * dim], scores);
            for (kept, scores) in offered.drain(..).zip(scores.chunks_exact_mut(lanes)) {
                self.dead.iter().for_each(|&i| scores[i as usize] = f32::NEG_INFINITY);
                kept.offer(&scores[..self.n], self.first, &mut self.sieve);
            }
        }
    }
}

/// Rows of `dim` values that are compared at a time: whole blocks.
fn most_rows(dim: usize) -> usize {
    (ROW_BYTES / (dim * 4) / LANES * LANES).clamp(LANES, ROWS)
}

/// Queries of `dim` values that meet them together: whole fours.
fn most_queries(dim: usize) -> usize {
    (QUERY_BYTES / (dim * 4) / TOGETHER * TOGETHER).clamp(TOGETHER, QUERIES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::exec::CancelToken;
    use crate::rng::Rng;

    /// Whatever the numbers of rows and queries are, each query keeps what it would keep alone, to the bit and under the
    /// right numbers; rows that are dead and what the blocks held before are not among it.
    #[test]
    fn queries_together_keep_what_each_would_alone() {
        let mut rng = Rng::new(7);
        for (dim, n, m) in [(1, 300, 5), (3, 40, 150), (100, 600, 65), (384, 16, 1), (384, 177, 33), (20_000, 37, 6)] {
            for similarity in [Similarity::Dot, Similarity::L2] {
                let mut values = |n: usize| (0..n * dim).map(|_| rng.unit_f32() - 0.5).collect::<Vec<f32>>();
                let (queries, before, rows) = (values(m), values(most_rows(dim)), values(n));
                let mut kept: Vec<Kept> = (0..m).map(|_| Kept::new(9).unwrap()).collect();
                let mut comparison = Comparison::new(similarity, dim).unwrap();
                comparison.take_rows(&before, 0, |_| true);
                let most = comparison.most_rows();
                for (piece, first) in rows.chunks(most * dim).zip((1000..).step_by(most)) {
                    comparison.take_rows(piece, first, |i| (first + i) % 5 == 1);
                    comparison.offer_to(queries.chunks_exact(dim).zip(&mut kept), &Watch::default()).unwrap();
                }
                let flat = Quantizer::flat(similarity, dim, VectorPrecision::F32);
                let mut blocks = Buffer::zeroed(n.div_ceil(LANES) * flat.block_bytes(), "test").unwrap();
                flat.encode(&[], &rows, 0, blocks.bytes_mut());
                for (query, kept) in queries.chunks_exact(dim).zip(&mut kept) {
                    let mut scores = vec![0.0; n.next_multiple_of(LANES)];
                    best().flat_blocks(similarity, query, blocks.f32s(), &mut scores);
                    let mut alone: Vec<(f32, u32)> =
                        scores.into_iter().take(n).zip(1000..).filter(|(_, row)| row % 5 != 1).collect();
                    alone.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                    alone.truncate(9);
                    assert_eq!(kept.best().collect::<Vec<_>>(), alone, "{dim} {n} {m} {similarity:?}");
                }
            }
        }
    }

    #[test]
    fn a_comparison_without_rows_offers_nothing_and_a_cancelled_one_says_so() {
        let mut comparison = Comparison::new(Similarity::Dot, 2).unwrap();
        let mut kept = Kept::new(1).unwrap();
        comparison.offer_to([(&[1.0, 2.0][..], &mut kept)].into_iter(), &Watch::default()).unwrap();
        assert_eq!(kept.best().count(), 0);
        comparison.take_rows(&[3.0, 4.0], 7, |_| false);
        let watch = Watch { cancel: Some(CancelToken::new()), deadline: None };
        watch.cancel.as_ref().unwrap().cancel();
        let refused = comparison.offer_to([(&[1.0, 2.0][..], &mut kept)].into_iter(), &watch);
        assert!(matches!(refused, Err(Error::Cancelled)) && kept.best().count() == 0);
    }
}
