//! A training job's numbers: lists, sample, memory. Worked out and refused before any work starts.

use super::index::Index;
use super::manifest::Config;
use super::merge::{BUDGET, PAGE_ROWS};
use super::options::TrainOptions;
use crate::error::{Error, Result};
use crate::kmeans;
use crate::types::MAX_LISTS;

/// Vectors that training needs for every list.
const MIN_ROWS_PER_LIST: u64 = 2;
/// Rows a list keeps in the sample, however little memory there is.
const LEAST_SAMPLE_PER_LIST: u64 = 16;
/// Most held-out rows, and their most share of the items as a divisor.
const HELD_OUT: usize = 2000;
const HELD_OUT_SHARE: u64 = 20;
/// Bytes of vectors read and processed at a time, whatever the batch size.
const MAX_PAGE_BYTES: usize = 4 << 20;

/// A job's numbers, checked before it starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TrainPlan {
    pub(super) n_lists: usize,
    /// Rows to cluster.
    pub(super) sample: usize,
    pub(super) held_out: usize,
    pub(super) page_rows: usize,
    /// Bytes of vectors held while encoding.
    pub(super) budget: u64,
    pub(super) max_iters: u32,
    pub(super) tolerance: f64,
    pub(super) seed: u64,
}

impl Index {
    /// The numbers of a job over `n` items whose ids take `ids` bytes.
    pub(super) fn plan(&self, o: &TrainOptions, config: &Config, n: u64, ids: u64) -> Result<TrainPlan> {
        if o.n_lists > MAX_LISTS {
            return Err(Error::invalid("n_lists", o.n_lists, "1 to 1048576, or 0 for automatic"));
        }
        if !o.tolerance.is_finite() || o.tolerance < 0.0 {
            return Err(Error::invalid("tolerance", o.tolerance, "0 or more, 0 for 1e-6"));
        }
        let n_lists = match o.n_lists {
            0 => u64::from(kmeans::auto_lists(n)),
            lists => u64::from(lists),
        };
        if n < MIN_ROWS_PER_LIST * n_lists {
            return Err(Error::InsufficientVectors { needed: MIN_ROWS_PER_LIST * n_lists, got: n });
        }
        let held_out = (n / HELD_OUT_SHARE).min(HELD_OUT as u64).min(n - MIN_ROWS_PER_LIST * n_lists);
        let most = if o.max_training_vectors == 0 {
            u64::MAX
        } else {
            o.max_training_vectors.max(MIN_ROWS_PER_LIST * n_lists)
        };
        let wanted = (n - held_out).min(n_lists * kmeans::ROWS_PER_LIST as u64).min(most);
        let dim = config.dimension as usize;
        let page_rows = page_rows(if o.batch_size == 0 { PAGE_ROWS } else { o.batch_size as usize }, dim);
        let limit = match o.max_memory_mb {
            0 => self.shared.job_memory,
            mb => mb.saturating_mul(1 << 20).min(self.shared.job_memory),
        };
        let fixed = fixed_memory(n, dim, n_lists, held_out, page_rows as u64, ids);
        let (sample, budget) = fit(limit, fixed, dim, n_lists as usize, wanted)?;
        Ok(TrainPlan {
            n_lists: n_lists as usize,
            sample: sample as usize,
            held_out: held_out as usize,
            page_rows,
            budget,
            max_iters: if o.max_iters == 0 { 100 } else { o.max_iters },
            tolerance: if o.tolerance == 0.0 { 1e-6 } else { o.tolerance },
            seed: if o.seed == 0 { config.seed } else { o.seed },
        })
    }
}

/// Rows read at a time where `wanted` are asked for: no more than are soon read, so that a cancellation is noticed soon.
pub(super) fn page_rows(wanted: usize, dim: usize) -> usize {
    wanted.min((MAX_PAGE_BYTES / (dim * 4).max(1)).max(1))
}

/// Bytes a job needs beside the sample and the vectors held while encoding: row and list tables, pages, ids in their new
/// order, what calibration keeps.
fn fixed_memory(n: u64, dim: usize, n_lists: u64, held_out: u64, page_rows: u64, ids: u64) -> u64 {
    let dim = dim as u64;
    // Lists, places, order; entries of payload; ids in memory and as written.
    let tables = n * (4 + 4 + 4 + 24) + 3 * ids;
    let pages = page_rows * dim * 4 * 2;
    let centroids = n_lists * dim * 4 * 4;
    let calibration = held_out * (2 * dim * 4 + n_lists / 8 + 12 * 1024);
    tables + pages + centroids + calibration + (32 << 20)
}

/// The sample and the encoding budget that a memory limit leaves room for.
fn fit(limit: u64, fixed: u64, dim: usize, n_lists: usize, wanted: u64) -> Result<(u64, u64)> {
    let row = dim as u64 * 4;
    let needs = |sample: u64| fixed + sample * row + kmeans::memory_estimate(sample as usize, dim, n_lists);
    let least = wanted.min(n_lists as u64 * LEAST_SAMPLE_PER_LIST).max(wanted.min(MIN_ROWS_PER_LIST * n_lists as u64));
    if needs(least) > limit {
        return Err(Error::NoMemory { what: "training", needed: needs(least), got: limit });
    }
    let (mut low, mut high) = (least, wanted);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if needs(middle) <= limit {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    // Encoding comes after clustering, which has given its memory back.
    Ok((low, (limit - fixed).min(BUDGET)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_limit_shrinks_the_sample_and_is_kept() {
        let fixed = fixed_memory(1_000_000, 100, 4000, 2000, 2048, 18_000_000);
        let all = fit(u64::MAX, fixed, 100, 4000, 1_000_000).unwrap();
        assert_eq!(all, (1_000_000, BUDGET));
        let limit = fixed + (200 << 20);
        let (sample, budget) = fit(limit, fixed, 100, 4000, 1_000_000).unwrap();
        assert!((64_000..1_000_000).contains(&sample), "{sample}");
        assert!(fixed + sample * 400 + kmeans::memory_estimate(sample as usize, 100, 4000) <= limit);
        assert!(budget <= 200 << 20);
        let e = fit(64 << 20, fixed, 100, 4000, 1_000_000).unwrap_err();
        let (needed, got) = e.needed_got().unwrap();
        assert!(needed > got && got == 64 << 20);
    }
}
