//! A training job's numbers: lists, sample, memory. Worked out and refused before any work starts.
//!
//! Counted as memory of a job is all that is allocated above what the index and its db held when it began: the tables of
//! the rebuild, what is learned from, the new run's ids and directories (while the old ones are still there), objects on
//! their way to the store, and a flat share for the page caches of the store. Not counted: what queries and upserts take
//! meanwhile, one item's metadata and contents, and the items that come during the job. `tests/memory.rs` measures it.

use super::bias;
use super::compare::Comparison;
use super::drafts::WAITING_BYTES;
use super::index::Index;
use super::manifest::Config;
use super::merge::{BUDGET, PAGE_ROWS};
use super::options::TrainOptions;
use super::parts::PART_BYTES;
use super::run::GRANULE;
use crate::error::{Error, Result};
use crate::kernels::LANES;
use crate::kmeans;
use crate::quant::Quantizer;
use crate::types::{MAX_LISTS, QuantizerSpec};

/// Vectors that training needs for every list.
const MIN_ROWS_PER_LIST: u64 = 2;
/// Rows a list keeps in the sample, however little memory there is.
const LEAST_SAMPLE_PER_LIST: u64 = 16;
/// Most held-out rows, and their most share of the items as a divisor.
const HELD_OUT: usize = 2000;
const HELD_OUT_SHARE: u64 = 20;
/// Page caches of the file store: 8 MiB of the writer and 1 MiB of a reader, and what SQLite needs to write a row.
const STORE: u64 = 10 << 20;
/// Bytes of the nearest rows that calibration keeps of a query: twice 101 keys.
const KEPT: u64 = 2 * 101 * 8;
/// Bytes of the lists of its neighbours.
const NEIGHBOURS: u64 = 128 * 4;
/// Objects being written: a part of codes and one of vectors filled, another grown; one sealed, one waiting for the thread
/// that stores, one being stored; and those that wait for the commit.
const WRITING: u64 = 6;
/// Bytes of vectors read and processed at a time, whatever the batch size.
const MAX_PAGE_BYTES: usize = 4 << 20;

/// A job's numbers, checked before it starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TrainPlan {
    pub(super) n_lists: usize,
    /// Rows to learn from.
    pub(super) learned: usize,
    /// Those of them that are held in memory; the others pass by.
    pub(super) sample: usize,
    pub(super) held_out: usize,
    /// Rows read at a time.
    pub(super) page_rows: usize,
    /// Rows of a mini-batch.
    pub(super) batch_rows: usize,
    /// Bytes of vectors held while encoding.
    pub(super) budget: u64,
    pub(super) max_iters: u32,
    pub(super) tolerance: f64,
    pub(super) seed: u64,
}

/// What a job is asked to do.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) options: &'a TrainOptions,
    /// How what is learned from will be coded, which the index's own coding need not be; `None` = automatic.
    pub(super) quantizer: Option<QuantizerSpec>,
    /// Rows read at a time; 0 = a mini-batch.
    pub(super) page_rows: u32,
}

impl Index {
    /// What a training of this index is asked to do.
    pub(super) fn wanted<'a>(&self, options: &'a TrainOptions) -> Wanted<'a> {
        Wanted { options, quantizer: self.snapshot.load().config.quantizer, page_rows: 0 }
    }

    /// The numbers of a job over `n` items whose ids take `ids` bytes.
    pub(super) fn plan(&self, wanted: &Wanted<'_>, config: &Config, n: u64, ids: u64) -> Result<TrainPlan> {
        let o = wanted.options;
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
        let learned = (n - held_out).min(n_lists * kmeans::ROWS_PER_LIST as u64).min(most);
        let dim = config.dimension as usize;
        let batch_rows = page_rows(if o.batch_size == 0 { PAGE_ROWS } else { o.batch_size as usize }, dim);
        let page_rows = if wanted.page_rows == 0 { batch_rows } else { page_rows(wanted.page_rows as usize, dim) };
        let limit = match o.max_memory_mb {
            0 => self.shared.job_memory,
            mb => mb.saturating_mul(1 << 20).min(self.shared.job_memory),
        };
        let automatic = || QuantizerSpec::automatic(config.dimension, n, config.metric.similarity());
        let memory = Memory {
            n,
            dim: dim as u64,
            n_lists,
            held_out,
            page_rows: page_rows as u64,
            batch_rows: batch_rows as u64,
            ids,
            quantizer: wanted.quantizer.unwrap_or_else(automatic),
            threads: self.shared.exec.threads(),
        };
        let (sample, budget) = memory.fit(limit, learned)?;
        Ok(TrainPlan {
            n_lists: n_lists as usize,
            learned: learned as usize,
            sample: sample as usize,
            held_out: held_out as usize,
            page_rows,
            batch_rows,
            budget,
            max_iters: if o.max_iters == 0 { 100 } else { o.max_iters },
            tolerance: if o.tolerance == 0.0 { 1e-6 } else { o.tolerance },
            seed: if o.seed == 0 { config.seed } else { o.seed },
        })
    }
}

/// Rows read at a time where `wanted` are asked for: no more than are soon read, so that a cancellation is noticed soon.
fn page_rows(wanted: usize, dim: usize) -> usize {
    wanted.min((MAX_PAGE_BYTES / (dim * 4).max(1)).max(1))
}

/// What the memory of a job depends on.
#[derive(Clone, Copy)]
struct Memory {
    n: u64,
    dim: u64,
    n_lists: u64,
    held_out: u64,
    page_rows: u64,
    batch_rows: u64,
    /// Bytes of all ids.
    ids: u64,
    /// What is fitted, and on how many threads.
    quantizer: QuantizerSpec,
    threads: usize,
}

impl Memory {
    fn row(&self) -> u64 {
        self.dim * 4
    }

    /// Largest extent of a run: what is read at a time.
    fn extent(&self) -> u64 {
        (1 << 20).max(self.row() * LANES as u64)
    }

    /// What every phase needs: the store's caches, the held-out rows, the new centroids.
    fn common(&self) -> u64 {
        STORE + self.held_out * (self.row() + 64) + self.n_lists * self.row()
    }

    /// While rows are read: the page at hand while it grows, frames sealed and opened.
    fn reading(&self) -> u64 {
        2 * (self.page_rows * self.row() + self.extent()) + 3 * self.extent()
    }

    /// While clustering a resident sample of `sample` rows, and while refining its centroids.
    fn learning(&self, sample: u64) -> u64 {
        let k = self.n_lists as usize;
        let clustering = kmeans::memory_estimate(sample as usize, self.dim as usize, k, self.threads);
        // A mini-batch as vectors and bytes; centroids as they are, in byte units and packed.
        let refining = self.batch_rows * (self.row() + self.dim + 16) + self.n_lists * (self.dim * 12 + 16) + (1 << 20);
        let fitting = Quantizer::fit_memory(self.quantizer, self.dim as usize, sample, self.threads);
        let working = clustering.max(self.reading() + refining).max(fitting);
        with_slack(self.common() + sample * (self.row() + 8) + working)
    }

    /// While encoding with `budget` bytes of vectors in hand: row and list tables, ids and directories of the new run,
    /// near lists and nearest rows of the held-out, what they are compared in or codes of a quarter of the budget, packed
    /// centroids, the quantizer, and the parts of blobs and cuts on their way to the store.
    fn encoding(&self, budget: u64) -> u64 {
        let extents = self.n_lists + self.n * self.row() / self.extent();
        let tables = self.n * (4 + 4) + self.ids + extents * 128;
        let held_out = self.held_out * (self.n_lists / 8 + KEPT + 64);
        let learned = self.n_lists * (self.dim * 8 + 16) + Quantizer::memory(self.quantizer, self.dim as usize);
        // What the codes of lists of the usual length are rounded up by, in a step of a quarter of the budget.
        let rounded = budget / 4 / self.row().max(1) * self.n_lists / self.n.max(1) * GRANULE as u64;
        let writing = WRITING * self.extent().max(PART_BYTES as u64) + WAITING_BYTES as u64;
        // Of a step the held-out rows are compared with its rows first, and then its rows are coded.
        let comparing = self.held_out.min(self.threads as u64) * Comparison::memory(self.dim as usize) as u64;
        let encoded = budget + (budget / 4 + rounded).max(comparing) + writing;
        // Biases are learned and the curve is measured when all is encoded.
        let calibrated =
            bias::memory(self.n_lists, self.threads as u64) + self.held_out * NEIGHBOURS + WAITING_BYTES as u64;
        with_slack(self.common() + self.reading() + tables + held_out + learned + encoded.max(calibrated))
    }

    /// The resident sample, of at most `learned` rows, and the encoding budget that a limit leaves room for. They are not
    /// there at the same time.
    fn fit(&self, limit: u64, learned: u64) -> Result<(u64, u64)> {
        let least = learned.min(self.n_lists * LEAST_SAMPLE_PER_LIST);
        let least_budget = (2 * self.extent()).min((self.n * self.row()).max(1));
        let needed = self.learning(least).max(self.encoding(least_budget));
        if needed > limit {
            return Err(Error::NoMemory { what: "training", needed, got: limit });
        }
        let sample = most(least, learned, |sample| self.learning(sample) <= limit);
        Ok((sample, most(least_budget, BUDGET.max(least_budget), |budget| self.encoding(budget) <= limit)))
    }
}

/// What the process grows by when `bytes` are asked of the allocator: it keeps some of what is freed in between.
fn with_slack(bytes: u64) -> u64 {
    bytes + bytes / 6
}

/// The greatest number of `low..=high` that fits, where `low` does and no number after one that does not.
fn most(mut low: u64, mut high: u64, fits: impl Fn(u64) -> bool) -> u64 {
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_limit_shrinks_the_sample_and_the_budget_and_is_kept() {
        let m = Memory {
            n: 1_000_000,
            dim: 100,
            n_lists: 4000,
            held_out: 2000,
            page_rows: 2048,
            batch_rows: 2048,
            ids: 18_000_000,
            quantizer: QuantizerSpec::SQ8,
            threads: 2,
        };
        assert_eq!(m.fit(u64::MAX, 998_000).unwrap(), (998_000, BUDGET));
        let limit = 128 << 20;
        let (sample, budget) = m.fit(limit, 998_000).unwrap();
        assert!((64_000..998_000).contains(&sample) && budget < BUDGET, "{sample} {budget}");
        assert!(m.learning(sample) <= limit && m.learning(sample + 1) > limit);
        assert!(m.encoding(budget) <= limit && m.encoding(budget + 8) > limit);
        let (needed, got) = m.fit(32 << 20, 998_000).unwrap_err().needed_got().unwrap();
        assert!(needed > got && got == 32 << 20);
        assert!(m.fit(needed, 998_000).is_ok() && m.fit(needed - 1, 998_000).is_err());
    }

    /// Fitting codebooks was counted for rotations alone: 65,536 rows of each part held by a thread were not.
    #[test]
    fn what_fits_the_quantizer_counts() {
        let pq = |rotation| QuantizerSpec::Pq { m: 2, bits: 8, rotation };
        let of = |quantizer| Memory {
            n: 200_000,
            dim: 2048,
            n_lists: 50,
            held_out: 0,
            page_rows: 2048,
            batch_rows: 2048,
            ids: 0,
            quantizer,
            threads: 8,
        };
        // Two parts, so two threads at most, of 65,536 rows of 50 values.
        assert!(Quantizer::fit_memory(pq(false), 100, 200_000, 8) > 2 * 65_536 * 50 * 4);
        assert!(Quantizer::fit_memory(pq(true), 100, 200_000, 8) > Quantizer::fit_memory(pq(false), 100, 200_000, 8));
        let (sample, limit) = (12_800, 1 << 40);
        assert!(of(pq(true)).learning(sample) > of(QuantizerSpec::SQ8).learning(sample));
        assert!(of(pq(true)).fit(limit, sample).is_ok());
    }

    #[test]
    fn the_public_dataset_trains_within_64_mib() {
        let m = Memory {
            n: 331_479,
            dim: 100,
            n_lists: 2303,
            held_out: 2000,
            page_rows: 2048,
            batch_rows: 2048,
            ids: 8 * 331_479,
            quantizer: QuantizerSpec::SQ8,
            threads: 2,
        };
        let (sample, budget) = m.fit(64 << 20, 329_479).unwrap();
        assert!(sample > 20 * 2303 && budget > 7 << 20, "{sample} {budget}");
    }
}
